"""What a spiking network is compared with: the dense network it came from, and its simulation in plain PyTorch."""

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch
from timing import fastest
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse
from torch.nn import functional as F

BASELINE = (
    "the dense network in eager PyTorch: float32, batch norm folded, the faster memory format, in inference mode, "
    "with as many threads"
)
RELUS = (F.relu, torch.relu, "relu")
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def folded(model: nn.Module, activation: Callable[[int], nn.Module] | None = None) -> fx.GraphModule:
    """A copy in eval mode, batch norms folded into convolutions, every ReLU a module `activations.<i>` of its own.

    activation  i -> what stands for the i-th ReLU, in order of execution; default: nn.ReLU that works in place
    """
    net = fuse(model.eval())
    relus = [node for node in net.graph.nodes if _is_relu(node, net)]
    # a network that was folded before has such a list already
    net.activations = activations = nn.ModuleList()
    for node in relus:
        activations.append(nn.ReLU(inplace=True) if activation is None else activation(len(activations)))
        with net.graph.inserting_before(node):
            new = net.graph.call_module(f"activations.{len(activations) - 1}", (node.args[0],))
        node.replace_all_uses_with(new)
        net.graph.erase_node(node)
    net.graph.lint()
    net.delete_all_unused_submodules()
    net.recompile()
    return net.eval()


class IF(nn.Module):
    """Soft-reset integrate-and-fire neurons over T steps, from theta / 2.

    threshold  [C], or one number
    constant   whether the current is the same at every step: [B, C, *S] instead of [T * B, C, *S]

    Returns spikes times the threshold, [T * B, C, *S].
    """

    def __init__(self, threshold: Tensor, T: int, constant: bool) -> None:
        super().__init__()
        self.T, self.constant = T, constant
        self.register_buffer("threshold", threshold)

    def forward(self, x: Tensor) -> Tensor:
        T = self.T
        theta = self.threshold.reshape(-1, *[1] * (x.ndim - 2))
        batch = len(x) if self.constant else len(x) // T
        currents = [x] * T if self.constant else x.split(batch)
        layout = _layout(x)
        out = torch.empty((T * batch, *x.shape[1:]), dtype=x.dtype, memory_format=layout)
        v = (0.5 * theta).expand_as(currents[0]).clone(memory_format=layout)
        for current, spikes in zip(currents, out.split(batch), strict=True):
            v += current
            torch.mul(v >= theta, theta, out=spikes)
            v -= spikes
        return out


class Steps(nn.Module):
    """T steps of a converted network in plain PyTorch: a layer runs all steps as one batch, then its neurons in a loop.

    The first layer, which reads nothing but the image, is computed once.

    thresholds  of the neurons in order of execution, in units of the dense network's activations
    """

    def __init__(
        self, model: nn.Module, thresholds: Sequence[Tensor], T: int, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.T = T
        self.net = folded(copy.deepcopy(model).to(dtype), lambda i: IF(thresholds[i].to(dtype), T, constant=i == 0))
        if len(self.net.activations) != len(thresholds):
            raise ValueError(f"{len(self.net.activations)} activations and {len(thresholds)} thresholds")
        self.neurons: list[IF] = list(self.net.activations)

    def forward(self, x: Tensor) -> Tensor:
        """Mean logits [B, classes] of images [B, C, *S]."""
        return self.net(x).unflatten(0, (self.T, -1)).mean(0)

    def counted(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Mean logits, and of each layer how often every neuron fired: [B, C, *S] int32."""
        counts: list[Tensor] = []

        def count(neuron: IF, _: tuple[Tensor, ...], out: Tensor) -> None:
            counts.append((out != 0).unflatten(0, (self.T, -1)).sum(0, dtype=torch.int32))

        hooks = [neuron.register_forward_hook(count) for neuron in self.neurons]
        try:
            return self(x), counts
        finally:
            for hook in hooks:
                hook.remove()


def dense(model: nn.Module, x: Tensor) -> tuple[Callable[[], Tensor], str]:
    """What BASELINE says: a way to run the dense network on x, and the name of its memory format in FORMATS."""
    runs = {}
    for name, layout in FORMATS.items():
        net, image = folded(model).to(memory_format=layout), x.to(memory_format=layout)
        runs[name] = partial(net, image)
    best = fastest(runs)
    return runs[best], best


def _layout(x: Tensor) -> torch.memory_format:
    last = x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _is_relu(node: fx.Node, net: fx.GraphModule) -> bool:
    if node.op == "call_module":
        return isinstance(net.get_submodule(str(node.target)), nn.ReLU)
    return node.target in RELUS
