"""The rows of a GPU as text: what was wanted and what was measured, then every row in a line."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rows import Row, latest

from fastsnn._registry import OPERATORS
from gpu.ceilings import CASE as CEILING
from gpu.elementwise import CASE as ELEMENTWISE
from gpu.families import CASE as FAMILY
from gpu.layers import CASE as LAYER
from gpu.targets import MET, MISSED, TARGETS, UNKNOWN


def write(path: Path) -> Path:
    """The summary of a file of rows, beside it: <device>.txt."""
    to = path.with_suffix(".txt")
    to.write_text(text(latest(path)))
    return to


def text(rows: Sequence[Row]) -> str:
    """Targets first, then the figures; rows of other cases are left out."""
    judged = [target.judged(rows) for target in TARGETS]
    total = ", ".join(f"{judged.count(verdict)} {verdict}" for verdict in (MET, MISSED, UNKNOWN))
    lines = [*_machine(rows), "", f"Targets: {total}", *(target.line(rows) for target in TARGETS)]

    def each(case: str, line: Callable[[Row], str]) -> list[str]:
        return [line(row) for row in rows if row["case"] == case]

    # which backend an older row is of is not known
    passes = [_elementwise(row) for row in rows if row["case"] == ELEMENTWISE and row.get("backend")]
    for title, found in (
        ("Ceilings", each(CEILING, _ceiling)),
        ("Kernels of one pass", passes),
        ("CUDA against Triton, family by family", _families([row for row in rows if row["case"] == FAMILY])),
        ("Layers, T = 16", each(LAYER, _layer)),
        ("Networks", each("network", _network)),
        ("Memory", each("gpu_memory", _memory)),
    ):
        lines += ["", title, *(found or ["nothing measured"])]
    return "\n".join(lines) + "\n"


def _machine(rows: Sequence[Row]) -> list[str]:
    def all_of(name: str) -> str:
        return ", ".join(sorted({str(row[name]) for row in rows if row.get(name) is not None})) or "unknown"

    return [
        f"{all_of('gpu')}, driver {all_of('driver')}, CUDA {all_of('cuda')}, torch {all_of('torch')}, "
        f"Triton {all_of('triton')}, commit {all_of('commit')}"
        + (" with changes" if any(row.get("dirty") for row in rows) else ""),
        _when(rows),
    ]


def _when(rows: Sequence[Row]) -> str:
    times = sorted(row["utc"] for row in rows if "utc" in row)
    return f"measured {times[0]} to {times[-1]}" if times else "nothing measured"


def _ceiling(row: Row) -> str:
    rate = row["rate"] / (1e9 if row["unit"] == "byte/s" else 1e12)
    return f"{row['operator']:<20}{rate:8.1f} {'GB/s' if row['unit'] == 'byte/s' else 'TOP/s'}"


def _elementwise(row: Row) -> str:
    name = f"{row['operator']:<20}{row['backend']:<8}"
    return f"{name}{row['rate'] / 1e9:8.0f} GB/s{_share(row['share_of_copy'])} of the copy"


def _families(rows: Sequence[Row]) -> list[str]:
    """A line a row, those of an op and a kind of numbers together, then how often CUDA is ahead in each family."""
    ops = list(dict.fromkeys(row["op"] for row in rows))

    def place(row: Row) -> tuple:
        layer = row["size"].split(",")[0]
        return ops.index(row["op"]), row["kind"], -row["T"], row["batch"], layer, -row.get("rate", 0.0)

    lines, ahead = [], {}
    for row in sorted(rows, key=place):
        lines.append(
            f"{row['op']:<13}{row['kind']:<16}{row['size']:<38}T = {row['T']:<4}Triton{_number(row['triton_ms'])} ms"
            f"  CUDA{_number(row['cuda_ms'])} ms{_number(row['cuda_speedup'])}x"
        )
        family, _ = OPERATORS[row["op"]]
        ahead.setdefault(family, []).append(row["cuda_speedup"] > 1)
    return lines + [f"{family}: cuda ahead in {sum(found)} of {len(found)}" for family, found in ahead.items()]


def _layer(row: Row) -> str:
    return (
        f"{row['layer']:<14}{row['precision']:<9}{_number(row['snn_median_ms'])} ms {row['rate'] / 1e12:7.0f} TOP/s"
        f"{_share(row['share_of_bf16'])} of bfloat16{_share(row['share_of_int8'])} of int8"
        f"{_number(row['rival_speedup'])}x the rival   {row['tile']}"
    )


def _network(row: Row) -> str:
    parts = [f"{row['network']:<10}{row['precision']:<9}batch {row['batch']:<5}{_number(row['snn_ms'])} ms"]
    parts.append(f"{row.get('images_per_s') or 0:9.0f} images/s")
    taken = row.get("run_bytes")
    parts.append(f"{taken / 2**20:7.0f} MiB" if taken else "      - MiB")
    for label, field in (
        ("dense compiled", "compiled16_ms"),
        ("dense graph", "graph16_ms"),
        ("dense float32", "eager32_ms"),
        ("rival", "rival_ms"),
        ("SpikingJelly", "spikingjelly_ms"),
    ):
        parts.append(f"{label}{_number(row.get(field))} ms")
    return "  ".join(parts) + ("" if row.get("tuned") else "  (usual tiles)")


def _memory(row: Row) -> str:
    gib = row["peak_gib"]
    return f"{row['network']} {row['precision']}, batch {row['batch']}, T = {row['T']}: {_number(gib)} GiB"


def _number(value: float | None) -> str:
    return f"{'-':>8}" if value is None else f"{value:8.3g}"


def _share(value: float | None) -> str:
    return f"{'-':>6}  " if value is None else f"{100 * value:6.1f} %"
