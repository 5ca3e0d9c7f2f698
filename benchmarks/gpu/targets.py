"""What the GPU engine is to reach, and which rows tell whether it does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rows import Row

MET, MISSED, UNKNOWN = "met", "missed", "not measured"


@dataclass(frozen=True)
class Target:
    """A figure of one row and the bound that it is to keep.

    where     fields that tell the row
    field     the figure;  scale  what it is multiplied by to be shown
    at_least  the bound is the least that is wanted; otherwise the most
    unit      what follows the number
    """

    what: str
    where: dict[str, Any]
    field: str
    bound: float
    at_least: bool = True
    unit: str = ""
    scale: float = 1.0

    def value(self, rows: Sequence[Row]) -> float | None:
        """The newest row's figure, or None where there is none."""
        found = [r for r in rows if all(r.get(name) == wanted for name, wanted in self.where.items())]
        return found[-1].get(self.field) if found else None

    def judged(self, rows: Sequence[Row]) -> str:
        """One of MET, MISSED and UNKNOWN."""
        value = self.value(rows)
        if value is None:
            return UNKNOWN
        return MET if (value >= self.bound if self.at_least else value <= self.bound) else MISSED

    def line(self, rows: Sequence[Row]) -> str:
        value = self.value(rows)
        shown = "-" if value is None else self._number(value)
        sign = ">=" if self.at_least else "<="
        return f"{self.judged(rows):<13}{self.what}: {shown} (wanted {sign} {self._number(self.bound)})"

    def _number(self, value: float) -> str:
        return f"{value * self.scale:.3g}{self.unit}"


ELEMENTWISE = ("if_steps float32", "if_steps int32", "if_constant int32", "pack", "unpack", "counts", "pool_or 2x2")
# of the backend `cuda`
CUDA = ("if_steps float32", "if_steps int32")
WIDE = ("3x3 128@16", "3x3 256@8", "3x3 512@4")
NETWORKS = ("resnet18", "vgg16")
PERCENT = {"unit": " %", "scale": 100.0}
TIMES = {"unit": "x"}


def _network(name: str, precision: str, batch: int = 256) -> Row:
    return {"case": "network", "network": name, "precision": precision, "batch": batch, "T": 16}


def _elementwise(op: str, backend: str) -> Row:
    return {"case": "gpu_elementwise", "operator": op, "backend": backend}


def _all() -> list[Target]:
    found = [
        Target(f"{op}, share of the copy's speed", _elementwise(op, "triton"), "share_of_copy", 0.85, **PERCENT)
        for op in ELEMENTWISE
    ]
    found += [
        Target(f"{op} in CUDA, share of the copy's speed", _elementwise(op, "cuda"), "share_of_copy", 0.9, **PERCENT)
        for op in CUDA
    ]
    for layer in WIDE:
        where = {"case": "gpu_layer", "layer": layer}
        half, int8 = where | {"precision": "float16"}, where | {"precision": "int8"}
        found.append(
            Target(f"{layer} float16, share of the bfloat16 matrix rate", half, "share_of_bf16", 0.6, **PERCENT)
        )
        what = f"{layer} int8, share of twice the bfloat16 matrix rate"
        found.append(Target(what, int8, "share_of_twice_bf16", 0.55, **PERCENT))
    # of each precision: times SpikingJelly's speed, times the hand-made rival's, cost in dense networks a step
    bounds = {"int8": (8.0, 2.0, 0.35), "float16": (4.0, 1.1, 0.65)}
    for name in NETWORKS:
        for precision, (jelly, rival, cost) in bounds.items():
            where, what = _network(name, precision), f"{name} {precision}, batch 256"
            found += [
                Target(f"{what}, as fast as SpikingJelly", where, "spikingjelly_speedup", jelly, **TIMES),
                Target(f"{what}, as fast as the hand-made rival", where, "rival_speedup", rival, **TIMES),
                Target(f"{what}, cost of a step in compiled dense networks", where, "cost_per_step", cost, False),
            ]
        what = f"{name}, bytes moved of those of float32 layer by layer"
        found.append(Target(what, _network(name, "int8"), "moved_share", 1 / 30, False, **PERCENT))
    one = _network("resnet18", "int8", 1)
    found += [
        Target("resnet18 int8, batch 1", one, "snn_ms", 0.25, False, " ms"),
        Target("resnet18 int8, batch 1, time of the dense network's CUDA graph", one, "graph_ratio", 3.0, False, "x"),
        Target("resnet18 int8, batch 512, T = 32, memory", {"case": "gpu_memory"}, "peak_gib", 4.0, False, " GiB"),
    ]
    return found


TARGETS = _all()
