"""What a spiking network is compared with: the dense network it came from, and its simulation in plain PyTorch."""

import copy
from collections.abc import Callable, Sequence

import torch
from timing import fastest
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse
from torch.nn import functional as F

RELUS = (F.relu, torch.relu, "relu")
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def folded(model: nn.Module, activation: Callable[[int], nn.Module] | None = None) -> fx.GraphModule:
    """A copy in eval mode, batch norms folded into convolutions, every ReLU a module `activations.<i>` of its own.

    activation  i -> what stands for the i-th ReLU, in order of execution; default: nn.ReLU that works in place
    """
    net = fuse(model.eval())
    activations = nn.ModuleList()
    for node in [node for node in net.graph.nodes if _is_relu(node, net)]:
        activations.append(nn.ReLU(inplace=True) if activation is None else activation(len(activations)))
        with net.graph.inserting_before(node):
            new = net.graph.call_module(f"activations.{len(activations) - 1}", (node.args[0],))
        node.replace_all_uses_with(new)
        net.graph.erase_node(node)
    net.activations = activations
    net.graph.lint()
    net.delete_all_unused_submodules()
    net.recompile()
    return net.eval()


class IF(nn.Module):
    """Soft-reset integrate-and-fire neurons over T steps, from theta / 2; currents [T * B, C, *S], or [B, C, *S] of every step.

    threshold  [C], or one number

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
        out = x.new_empty((T * batch, *x.shape[1:])).to(memory_format=_format(x))
        v = (0.5 * theta).expand_as(currents[0]).clone(memory_format=_format(x))
        for current, spikes in zip(currents, out.split(batch), strict=True):
            v += current
            torch.mul(v >= theta, theta, out=spikes)
            v -= spikes
        return out


class Steps(nn.Module):
    """T steps of a converted network in plain PyTorch: each layer runs all steps as one batch, then its neurons in a loop.

    What depends on the image alone is computed once.

    thresholds  of the neurons in order of execution, in units of the dense network's activations
    """

    def __init__(self, model: nn.Module, thresholds: Sequence[Tensor], T: int) -> None:
        super().__init__()
        self.T = T
        dtype = next(model.parameters()).dtype
        self.net = folded(model, lambda i: IF(thresholds[i].to(dtype), T, i == 0))
        if len(self.net.activations) != len(thresholds):
            raise ValueError(f"{len(self.net.activations)} activations and {len(thresholds)} thresholds")
        self.neurons: list[IF] = list(self.net.activations)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).unflatten(0, (self.T, -1)).mean(0)


def dense(model: nn.Module, x: Tensor) -> tuple[Callable[[], Tensor], str]:
    """The fastest way to run the dense network on x, and what it is in words."""
    runs = {}
    for name, layout in FORMATS.items():
        net, image = folded(model).to(memory_format=layout), x.to(memory_format=layout)
        runs[name] = lambda net=net, image=image: net(image)
    best = fastest(runs)
    return runs[best], f"the dense network: eager, float32, batch norm folded, {best}, same threads"
