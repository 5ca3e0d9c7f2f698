"""A converted network as plain PyTorch: thresholds are in the weights, so that every neuron fires at 1 and emits 1.

That is the form in which any simulator takes it: its neurons need no scaling of their own.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from baselines import folded
from torch import Tensor, fx, nn
from torch.nn import functional as F

POOLS = (F.avg_pool2d, F.adaptive_avg_pool2d)
FLATTENS = (torch.flatten, "flatten")


class Scale(nn.Module):
    """One factor a channel, where no weights can take it: on a shortcut without weights."""

    def __init__(self, factor: Tensor) -> None:
        super().__init__()
        self.register_buffer("factor", factor)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor.reshape(-1, *[1] * (x.ndim - 2))


@dataclass(frozen=True)
class Unit:
    """Images -> currents of the first neurons, once; and from there to the logits, at every step.

    terms  of each activation: how many numbers are summed up for one current, at most
    """

    stem: fx.GraphModule
    body: fx.GraphModule
    terms: list[int]


def unit(
    model: nn.Module, thresholds: Sequence[Tensor], neurons: Callable[[int], nn.Module], gain: float = 1.0
) -> Unit:
    """The network with neurons(i) in place of the i-th ReLU, in the precision of the model.

    thresholds  of the neurons in order of execution, in units of the model's activations
    gain        factor of all currents, for neurons that want them so; a power of two, so that nothing is rounded
    """
    net = folded(model, neurons)
    acts = [node for node in net.graph.nodes if _module(net, node, nn.Module) and "activations." in str(node.target)]
    if len(acts) != len(thresholds):
        raise ValueError(f"{len(acts)} activations and {len(thresholds)} thresholds")
    terms = [_terms(net, act.args[0]) for act in acts]
    with torch.no_grad():
        for act, theta in zip(acts, thresholds, strict=True):
            _before(net, act.args[0], act, gain / theta)
        for act, theta in zip(acts, thresholds, strict=True):
            for user in list(act.users):
                _after(net, act, user, theta)
    net.graph.lint()
    net.recompile()
    return Unit(*_split(net, acts[0]), terms)


def _before(net: fx.GraphModule, node: fx.Node, user: fx.Node, factor: Tensor) -> None:
    """Multiplies what `node` gives to `user`, in weights where that is possible."""
    alone = len(node.users) == 1
    if alone and (layer := _module(net, node, nn.Conv2d, nn.Linear)):
        factor = factor.to(layer.weight.dtype)
        layer.weight.mul_(_per(factor.expand(len(layer.weight)), layer.weight, 0))
        if layer.bias is not None:
            layer.bias.mul_(factor)
    elif alone and node.target in (operator.add, torch.add, "add", operator.iadd):
        for part in node.args:
            _before(net, part, node, factor)
    else:
        _insert(net, node, user, factor)


def _after(net: fx.GraphModule, node: fx.Node, user: fx.Node, factor: Tensor) -> None:
    """Multiplies what `user` gets from `node`, further down where nothing but weights or factors stand between."""
    if layer := _module(net, user, nn.Conv2d, nn.Linear):
        if getattr(layer, "groups", 1) != 1:
            raise ValueError(f"{user.target}: grouped convolutions are not folded")
        # a flattened map has each channel's numbers side by side
        wide = factor.to(layer.weight.dtype).repeat_interleave(layer.weight.shape[1] // len(factor))
        layer.weight.mul_(_per(wide if len(factor) > 1 else factor.to(layer.weight.dtype), layer.weight, 1))
    elif scale := _module(net, user, Scale):
        scale.factor.mul_(factor)
    elif _module(net, user, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Dropout, nn.Identity) or user.target in (
        *POOLS,
        *FLATTENS,
        operator.getitem,
        F.pad,
    ):
        if user.target is F.pad and len(user.args[1]) == 6 and len(factor) > 1:
            # added channels are zeros, whatever they are multiplied by
            factor = F.pad(factor, tuple(user.args[1][4:]), value=1.0)
        for further in list(user.users):
            _after(net, user, further, factor)
    else:
        _insert(net, node, user, factor)


def _insert(net: fx.GraphModule, node: fx.Node, user: fx.Node, factor: Tensor) -> None:
    name = f"scale{sum(isinstance(m, Scale) for m in net.modules())}"
    dtype = next(net.parameters()).dtype
    net.add_submodule(name, Scale(factor.to(dtype, copy=True)))
    with net.graph.inserting_before(user):
        user.replace_input_with(node, net.graph.call_module(name, (node,)))


def _split(net: fx.GraphModule, first: fx.Node) -> tuple[fx.GraphModule, fx.GraphModule]:
    """What leads to the first neurons, and the rest. Raises ValueError where the rest needs the images as well."""
    stem, body = fx.Graph(), fx.Graph()
    mapping: dict[fx.Node, fx.Node] = {}
    for node in net.graph.nodes:
        if node is first:
            break
        mapping[node] = stem.node_copy(node, mapping.__getitem__)
    stem.output(mapping[first.args[0]])
    mapping = {first.args[0]: body.placeholder("current")}
    begun = False
    for node in net.graph.nodes:
        begun |= node is first
        if begun:
            if any(source not in mapping for source in node.all_input_nodes):
                raise ValueError(f"{node} needs the images beside the currents of the first neurons")
            copied = body.node_copy(node, mapping.__getitem__)
            mapping[node] = copied
    halves = fx.GraphModule(net, stem), fx.GraphModule(net, body)
    for half in halves:
        half.graph.eliminate_dead_code()
        half.delete_all_unused_submodules()
        half.recompile()
    return halves


def _terms(net: fx.GraphModule, node: fx.Node) -> int:
    if layer := _module(net, node, nn.Conv2d, nn.Linear):
        return layer.weight[0].numel() + 1
    if "activations." in str(node.target):
        return 1
    return len(node.all_input_nodes) + max((_terms(net, source) for source in node.all_input_nodes), default=0)


def _module(net: fx.GraphModule, node: fx.Node, *types: type) -> nn.Module | None:
    module = net.get_submodule(str(node.target)) if node.op == "call_module" else None
    return module if isinstance(module, types) else None


def _per(factor: Tensor, weight: Tensor, dim: int) -> Tensor:
    return factor.reshape([-1 if d == dim else 1 for d in range(weight.ndim)])
