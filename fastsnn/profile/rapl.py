"""Joules of a CPU, from the RAPL counters that Linux shows under /sys/class/powercap.

Zones are named in the kernel's Documentation/power/powercap. AMD's processors have them under the same names.
"""

import re
from pathlib import Path

from fastsnn.profile.schema import NotMeasurable, unavailable

ROOT = Path("/sys/class/powercap")
# not intel-rapl-mmio, which counts the same packages once more
PACKAGE, PART = re.compile(r"intel-rapl:\d+"), re.compile(r"(intel-rapl:\d+):\d+")
# seconds; the smallest known range, 65 kJ, takes two minutes at 500 W
INTERVAL = 1.0


class Zone:
    """One counter, unwound: it starts again at 0 after `reach` microjoules."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "energy_uj"
        self.reach = _number(folder / "max_energy_range_uj")
        self.last = _number(self.file)
        self.total = 0

    def start(self) -> None:
        self.last, self.total = _number(self.file), 0

    def read(self) -> int:
        """Microjoules since the start; the counter may start again once between two calls."""
        now = _number(self.file)
        self.total += now - self.last + (self.reach if now < self.last else 0)
        self.last = now
        return self.total


class Rapl:
    """A meter of packages and, where they are counted, of their main memory; see `meters.Meter`."""

    interval = INTERVAL

    def __init__(self, packages: list[Path], memory: list[Path]) -> None:
        self.zones = [Zone(folder) for folder in (*packages, *memory)]
        self.how = f"RAPL counters (powercap) of {_names([*packages, *memory])}"
        self.covers = f"{_many(len(packages), 'processor package')} with everything that ran there, " + (
            "and main memory" if memory else "without main memory"
        )

    def start(self) -> None:
        for zone in self.zones:
            zone.start()

    def read(self) -> float:
        return sum(zone.read() for zone in self.zones) / 1e6


def find(root: Path = ROOT) -> Rapl | NotMeasurable:
    """The meter of this machine's CPUs, or why there is none.

    Counted are packages, and the zones "dram" next to them. "core" and "uncore" are inside their package; "psys" is
    the whole platform, with the packages.
    """
    if not root.is_dir():
        return unavailable(f"no RAPL counters: there is no {root} (Linux on a physical machine has it)")
    try:
        folders = sorted(root.iterdir())
        if not any(PACKAGE.fullmatch(folder.name) for folder in folders):
            return unavailable(
                f"no RAPL counters: {root} holds no intel-rapl zones (virtual machines do not have them; the kernel's "
                "module is intel_rapl_msr)"
            )
        packages = [f for f in folders if PACKAGE.fullmatch(f.name) and _text(f / "name").startswith("package-")]
        counted = {folder.name for folder in packages}
        parts = [(f, PART.fullmatch(f.name)) for f in folders]
        memory = [f for f, part in parts if part and part[1] in counted and _text(f / "name") == "dram"]
        if not packages:
            return unavailable(f"no RAPL counters: none of the zones in {root} is a package")
        return Rapl(packages, memory)
    except PermissionError as error:
        return unavailable(
            f"{error.filename} may be read by root only, as in all kernels since CVE-2020-8694: "
            f"sudo chmod a+r {root}/intel-rapl:*/energy_uj lets everyone read it until the next start"
        )
    except OSError as error:
        return unavailable(f"RAPL counters cannot be read ({error}); containers hide them")


def _text(file: Path) -> str:
    return file.read_text().strip()


def _number(file: Path) -> int:
    """Raises OSError where there is no number."""
    text = _text(file)
    try:
        return int(text)
    except ValueError:
        raise OSError(f"{file} must hold a whole number, it holds {text!r}") from None


def _names(folders: list[Path]) -> str:
    return ", ".join(f"{folder.name} ({_text(folder / 'name')})" for folder in folders)


def _many(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"
