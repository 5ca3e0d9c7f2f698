"""A network made ready to be trained for conversion: bounded activations in place of ReLUs, average in place of max."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from fastsnn.train.activation import BoundedReLU

RELUS = (F.relu, torch.relu, torch.relu_, F.relu_, "relu", "relu_")
# that are bounded already: as many as their bound
SIXES = (F.relu6,)
MAX_POOLS = (F.max_pool2d, torch.max_pool2d)
POOLS = ("average", "max")


@dataclass(frozen=True)
class Change:
    """What stands at one place: where, what was there, what is there now."""

    place: str
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.place}: {self.was} -> {self.now}"


@dataclass(frozen=True)
class Prepared:
    """A network with its changes; print them."""

    model: nn.Module
    changes: tuple[Change, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.changes))


def prepare(model: nn.Module, activation: Callable[[], nn.Module] = BoundedReLU, max_pool: str = "average") -> Prepared:
    """A copy in which every ReLU is an activation of its own and max pools are average pools.

    model       any module; where torch.fx can trace it, each call of a ReLU, module or function, becomes an activation
                of its own, and the copy is a torch.fx.GraphModule. Otherwise modules are replaced where they are: one
                that is called twice then has one bound
    activation  makes one: `BoundedReLU`, or `lambda: BoundedReLU(levels=4)`
    max_pool    "average", as Bu et al. train (spikes have no maximum), or "max" to leave them

    Raises ValueError where there is no ReLU, and TypeError for what is no module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"prepare: model must be a torch.nn.Module, got {type(model).__name__}")
    if max_pool not in POOLS:
        raise ValueError(f"prepare: max_pool must be one of {', '.join(POOLS)}, got {max_pool!r}")
    copied = copy.deepcopy(model)
    try:
        traced = fx.symbolic_trace(copied)
    except Exception:  # tracing raises whatever the module's code raises when it sees a proxy
        changes = tuple(_modules(copied, activation, max_pool == "average"))
        found: nn.Module = copied
    else:
        changes = tuple(_nodes(traced, activation, max_pool == "average"))
        traced.recompile()
        traced.delete_all_unused_submodules()
        found = traced
    if not any(change.was.lower().startswith("relu") for change in changes):
        raise ValueError(
            f"prepare: {type(model).__name__} has no ReLU, as a module or as a function that can be traced"
        )
    return Prepared(found.train(model.training), changes)


def parameter_groups(model: nn.Module, weight_decay: float = 5e-4, bound_decay: float = 5e-4) -> list[dict[str, Any]]:
    """Parameters for an optimiser: bounds with their own weight decay, weights, and norms and biases without any.

    Source: the lineage's code decays all three by 5e-4 (bounds are thresholds: decay is what makes them small).
    """
    bounds, weights, rest = [], [], []
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            if isinstance(module, BoundedReLU):
                bounds.append(parameter)
            elif parameter.ndim > 1:
                weights.append(parameter)
            else:
                rest.append(parameter)
    groups = ((bounds, bound_decay), (weights, weight_decay), (rest, 0.0))
    return [{"params": parameters, "weight_decay": decay} for parameters, decay in groups if parameters]


def _average(pool: nn.MaxPool2d) -> nn.AvgPool2d:
    if pool.dilation not in (1, (1, 1)):
        raise ValueError(f"prepare: an average pool has no dilation, and this max pool has {pool.dilation}")
    return nn.AvgPool2d(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode, count_include_pad=False)


def _instead(module: nn.Module, activation: Callable[[], nn.Module], average: bool) -> nn.Module | None:
    """What stands in place of a module; None where it stays."""
    if isinstance(module, nn.ReLU | nn.ReLU6):
        new = activation()
        if isinstance(module, nn.ReLU6) and isinstance(new, BoundedReLU):
            new.bound.data.fill_(6.0)
        return new
    return _average(module) if average and isinstance(module, nn.MaxPool2d) else None


def _modules(model: nn.Module, activation: Callable[[], nn.Module], average: bool) -> Iterator[Change]:
    for place, module in list(model.named_modules()):
        new = _instead(module, activation, average)
        if new is not None and place:
            model.set_submodule(place, new)
            yield Change(place, type(module).__name__, repr(new))


def _nodes(model: fx.GraphModule, activation: Callable[[], nn.Module], average: bool) -> Iterator[Change]:
    called: dict[str, int] = {}
    modules = dict(model.named_modules())
    for node in list(model.graph.nodes):
        new, was, place = None, "", str(node.target)
        if node.op == "call_module":
            module = modules[place]
            new, was = _instead(module, activation, average), type(module).__name__
        elif node.op in ("call_function", "call_method") and node.target in RELUS:
            new, was, place = activation(), "relu", f"{node.name}_bounded"
        elif node.op == "call_function" and node.target in SIXES:
            new, was, place = _instead(nn.ReLU6(), activation, average), "relu6", f"{node.name}_bounded"
        elif node.op == "call_function" and node.target in MAX_POOLS and average:
            new, was, place = _pool_of(node), "max_pool2d", f"{node.name}_average"
        if new is None:
            continue
        called[place] = called.get(place, 0) + 1
        if called[place] > 1:
            place = f"{place}_{called[place]}"
        model.add_submodule(place, new)
        with model.graph.inserting_before(node):
            instead = model.graph.call_module(place, (node.args[0],))
        node.replace_all_uses_with(instead)
        model.graph.erase_node(node)
        yield Change(place, was, repr(new))


def _pool_of(node: fx.Node) -> nn.AvgPool2d:
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    options = dict(zip(names, node.args[1:], strict=False)) | {k: v for k, v in node.kwargs.items() if k in names}
    if options.pop("return_indices", False):
        raise ValueError(f"prepare: {node.name} returns indices, which an average pool has not")
    return _average(nn.MaxPool2d(**options))  # type: ignore[arg-type]
