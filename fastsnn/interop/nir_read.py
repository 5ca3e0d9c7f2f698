"""NIR graphs as networks that run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fastsnn._extras import need
from fastsnn.convert.quantise import FLOATING
from fastsnn.convert.rules.call import Refusal
from fastsnn.errors import ConversionError
from fastsnn.fuse.mark import Mark
from fastsnn.fuse.network import FusedNetwork
from fastsnn.fuse.single import fused_from
from fastsnn.fuse.spec import Spec
from fastsnn.interop.nir_neurons import INTEGRATORS, WRITERS, spec

NEURONS = ("IF", "LIF", "CubaLIF")


def from_nir(graph: Any, *, writer: str = "nir", dt: float | None = None, precision: str = "float32") -> FusedNetwork:
    """A NIR graph as a network that takes sequences [T, B, ...] and gives what the graph puts out at each step.

    graph      a nir.NIRGraph, or the path of a file of one
    writer     whose conventions hold where the standard leaves them open or the library departs from it: "nir",
               "snntorch" (spikes are subtracted), or "norse"
    dt         length of a step, in the units of the graph's time constants; None: the writer's (1e-4; Norse's 1e-6)
    precision  "float32" or "float64"

    Nodes: Input, Output, Affine, Linear, Scale, Conv1d, Conv2d, SumPool2d, AvgPool2d, Flatten, IF, LIF, CubaLIF, and I,
    LI, CubaLI, whose output is their potential; where several edges end, their values are added. What `to_nir` wrote is
    read as it was, by the metadata of its neurons.

    Raises ConversionError that names every node which cannot be run, and for recurrent graphs; MissingExtra without
    the package nir; ValueError for a file that is no graph.
    Source: Pedersen et al., Nature Communications 2024 (NIR); see `fastsnn.interop.nir_neurons` for the steps.
    """
    nir = need("nir", "from_nir", "nir")
    if writer not in WRITERS:
        raise ValueError(f"from_nir: writer must be one of {', '.join(WRITERS)}, got {writer!r}")
    if precision not in FLOATING:
        raise ValueError(f"from_nir: precision must be one of {', '.join(FLOATING)}, got {precision!r}")
    said = WRITERS[writer]
    if dt is not None:
        if not dt > 0:
            raise ValueError(f"from_nir: dt must be above 0, got {dt}")
        said = type(said)(dt, said.soft, said.jumps)
    if isinstance(graph, str | Path):
        graph = _file(nir, Path(graph))
    if not isinstance(graph, nir.NIRGraph):
        raise TypeError(f"from_nir: graph must be a nir.NIRGraph or the path of one, got {type(graph).__name__}")
    model = _Network(graph, lambda node: spec(node, said))
    example = torch.zeros(1, *model.shape, dtype=torch.float64)
    return fused_from(model.double().eval(), model.specs, example, precision, "NIR graph")


def _file(nir: Any, path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"from_nir: there is no file {path}")
    try:
        return nir.read(path)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a file of a NIR graph: {type(error).__name__}: {error}") from error


class _Network(nn.Module):
    """A graph as a module of one step, with marks in place of its neurons."""

    def __init__(self, graph: Any, neurons: Callable[[Any], Spec]) -> None:
        super().__init__()
        self.specs: dict[str, Spec] = {}
        self.sources: dict[str, list[str]] = {name: [] for name in graph.nodes}
        for source, target in graph.edges:
            self.sources[target].append(source)
        kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
        ends = {kind: [name for name, k in kinds.items() if k == kind] for kind in ("Input", "Output")}
        if [len(names) for names in ends.values()] != [1, 1]:
            got = " and ".join(str(len(names)) for names in ends.values())
            raise ConversionError(f"a NIR graph needs one Input and one Output to be run, got {got}")
        (self.first,), (self.last,) = ends["Input"], ends["Output"]
        self.shape = tuple(int(n) for n in graph.nodes[self.first].input_type["input"])
        modules, refused = {}, []
        for name, node in graph.nodes.items():
            try:
                modules[name] = self._module(name, node, kinds[name], neurons)
            except Refusal as reason:
                refused.append(f"  {name} ({kinds[name]}): {reason}")
        if refused:
            raise ConversionError(f"{len(refused)} node(s) of this NIR graph cannot be run:\n" + "\n".join(refused))
        self.order = _order(self.sources)
        # names may have dots, which those of modules may not
        self.places = {name: f"node{i}" for i, name in enumerate(modules)}
        self.nodes = nn.ModuleDict({self.places[name]: module for name, module in modules.items()})

    def _module(self, name: str, node: Any, kind: str, neurons: Callable[[Any], Spec]) -> nn.Module:
        if kind in (*NEURONS, *INTEGRATORS):
            self.specs[name] = neurons(node)
            silent = self.specs[name].silent
            return Mark(name, silent=silent, readout=silent)
        if kind not in MODULES:
            raise Refusal(f"nodes that run are {', '.join((*MODULES, *NEURONS, *INTEGRATORS))}")
        return MODULES[kind](node)

    def forward(self, x: Tensor) -> Tensor:
        values = {self.first: x}
        for name in self.order:
            if name == self.first:
                continue
            total: Any = sum(values[source] for source in self.sources[name])
            values[name] = self.nodes[self.places[name]](total)
        return values[self.last]


class _Scale(nn.Module):
    scale: Tensor

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def _linear(node: Any) -> nn.Module:
    if node.weight.ndim != 2:
        raise Refusal(f"its weight has {node.weight.ndim} dimensions, not 2")
    outputs, inputs = node.weight.shape
    layer = nn.Linear(inputs, outputs, hasattr(node, "bias"))
    layer.weight.data = _tensor(node.weight)
    if hasattr(node, "bias"):
        layer.bias.data = _tensor(node.bias)
    return layer


def _conv(kind: Any) -> Callable[[Any], nn.Module]:
    def module(node: Any) -> nn.Module:
        weight = _tensor(node.weight)
        geometry = {name: _whole(getattr(node, name)) for name in ("stride", "padding", "dilation")}
        groups = int(node.groups)
        layer = kind(weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:]), groups=groups, **geometry)
        layer.weight.data, layer.bias.data = weight, _tensor(node.bias)
        return layer

    return module


def _pool(total: bool) -> Callable[[Any], nn.Module]:
    def module(node: Any) -> nn.Module:
        kernel, stride, padding = (_whole(n) for n in (node.kernel_size, node.stride, node.padding))
        return nn.AvgPool2d(kernel, stride, padding, divisor_override=1 if total else None)

    return module


def _flatten(node: Any) -> nn.Module:
    # dimensions are counted without the batch
    start, end = int(node.start_dim), int(node.end_dim)
    return nn.Flatten(start + 1 if start >= 0 else start, end + 1 if end >= 0 else end)


MODULES: Mapping[str, Callable[[Any], nn.Module]] = {
    "Input": lambda node: nn.Identity(),
    "Output": lambda node: nn.Identity(),
    "Affine": _linear,
    "Linear": _linear,
    "Scale": lambda node: _Scale(_tensor(node.scale)),
    "Conv1d": _conv(nn.Conv1d),
    "Conv2d": _conv(nn.Conv2d),
    "SumPool2d": _pool(total=True),
    "AvgPool2d": _pool(total=False),
    "Flatten": _flatten,
}


def _tensor(value: Any) -> Tensor:
    return torch.as_tensor(value).detach().clone().double()


def _whole(value: Any) -> Any:
    """Geometry as PyTorch takes it: a number, a tuple, or "same" and "valid"."""
    if isinstance(value, bytes | str):
        return value.decode() if isinstance(value, bytes) else value
    numbers = torch.as_tensor(value).flatten().tolist()
    return int(numbers[0]) if len(numbers) == 1 else tuple(int(n) for n in numbers)


def _order(sources: Mapping[str, list[str]]) -> list[str]:
    """Nodes, each behind those that it reads. Raises ConversionError where they read each other."""
    done: list[str] = []
    waiting = list(sources)
    while waiting:
        ready = [name for name in waiting if all(source in done for source in sources[name])]
        if not ready:
            names = ", ".join(sorted(waiting))
            raise ConversionError(f"this NIR graph is recurrent, which kernels do not run: {names}")
        done += ready
        waiting = [name for name in waiting if name not in ready]
    return done
