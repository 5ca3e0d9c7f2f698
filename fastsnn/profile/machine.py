"""Which machine, and which versions, a profile was taken on."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

import torch

from fastsnn import _native
from fastsnn.profile.schema import Machine

CPUINFO = Path("/proc/cpuinfo")
# imported names: CuPy is distributed under a name for each CUDA version
PACKAGES = ("fastsnn", "torch", "numpy", "triton", "cupy")
# seconds that a command may take to answer
PATIENCE = 10.0


def machine(device: torch.device) -> Machine:
    """Where a network on `device` runs. gpu and driver are None for a CPU; see `Machine`."""
    cuda = device.type == "cuda"
    return {
        "processor": processor(),
        "instruction_set": None if _native.reason() else _native.load().instruction_set(),
        "cores": cores(),
        "memory_bytes": memory_bytes(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}".strip(),
        "gpu": gpu(device) if cuda else None,
        "driver": driver() if cuda else None,
        "versions": dict(versions()),
    }


def processor() -> str:
    """The processor's name as its maker writes it, or the kind of machine where nothing tells it."""
    for line in CPUINFO.read_text().splitlines() if CPUINFO.is_file() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    named = _output("sysctl", "-n", "machdep.cpu.brand_string") if platform.system() == "Darwin" else ""
    return named or platform.processor() or platform.machine() or "unknown"


def cores() -> int:
    """Logical processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Main memory of the machine; None where the system does not tell."""
    if not hasattr(os, "sysconf") or not {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(os.sysconf_names):
        return None
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return size if size > 0 else None


def gpu(device: torch.device) -> str:
    """Name, memory and compute capability of a CUDA device."""
    has = torch.cuda.get_device_properties(device)
    return f"{has.name}, {has.total_memory / 2**30:.0f} GiB, sm_{has.major}{has.minor}"


@cache
def driver() -> str | None:
    """Version of NVIDIA's driver, or None where nothing tells it."""
    text = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return text.splitlines()[0].strip() if text else None


@cache
def versions() -> dict[str, str | None]:
    """Name -> version of what computes, None where a package is not installed. Imports nothing to find out."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    owners = packages_distributions()
    for package in PACKAGES:
        found[package] = _version(owners.get(package, [package])[0])
    # with the kind of build, which the package's own record may lack
    found["torch"] = torch.__version__
    return found


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _output(*command: str) -> str:
    """What a command prints; nothing where it is not installed, fails or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else done.stdout.strip()
