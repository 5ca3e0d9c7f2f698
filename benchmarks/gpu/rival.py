"""What one would write by hand: cuDNN convolutions of dense spikes, and one fused kernel of neurons a layer."""

import copy
import operator
from collections.abc import Sequence

import torch
from baselines import folded
from torch import Tensor, fx, nn

from fastsnn.ops.pack import pack

NAME = "cuDNN in float16, channels last, on dense spikes, and one fused kernel of neurons a layer, as one CUDA graph"


class Neurons(nn.Module):
    """Soft-reset integrate-and-fire neurons over T steps, from theta / 2, which also add up what drives them.

    threshold  [C], or one number
    constant   the current is the same at every step: [B, C, *S] instead of [T * B, C, *S]

    Returns spikes times the threshold, [T * B, C, *S], channels last in memory. Potentials are float32, of float64
    currents float64.
    """

    def __init__(self, threshold: Tensor, T: int, constant: bool) -> None:
        super().__init__()
        self.T, self.constant = T, constant
        self.register_buffer("threshold", threshold.detach().clone().reshape(-1))
        self.register_buffer("bias", torch.zeros(()))

    def forward(self, current: Tensor, added: Tensor | None = None) -> Tensor:
        layout = torch.channels_last if current.ndim == 4 else torch.contiguous_format
        current = current.contiguous(memory_format=layout)
        added = None if added is None else added.contiguous(memory_format=layout)
        steps = self.T if self.constant else 1
        shape = (steps * len(current), *current.shape[1:])
        out = torch.empty(shape, dtype=current.dtype, device=current.device, memory_format=layout)
        channels = current.shape[1]
        real = torch.float64 if current.dtype == torch.float64 else torch.float32
        theta, bias = (x.to(real).expand(channels).contiguous() for x in (self.threshold, self.bias))
        if current.is_cuda:
            from gpu.rival_kernel import fire

            return fire(current, added, bias, theta, out, self.T, self.constant)
        return _fire(current, added, bias, theta, out, self.T, self.constant)


class LayerByLayer(nn.Module):
    """A spiking network that keeps every layer's dense spikes; biases and sums of two layers go into the neurons.

    thresholds  of the neurons in order of execution, in units of the dense network's activations
    dtype       of weights, currents and spikes
    """

    def __init__(self, model: nn.Module, thresholds: Sequence[Tensor], T: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.T = T
        self.net = folded(copy.deepcopy(model), lambda i: Neurons(thresholds[i], T, constant=i == 0))
        self.neurons: list[Neurons] = list(self.net.activations)
        if len(self.neurons) != len(thresholds):
            raise ValueError(f"{len(self.neurons)} activations and {len(thresholds)} thresholds")
        _gather(self.net)
        for module in self.net.modules():
            # thresholds and biases of neurons stay as exact as they are
            if not isinstance(module, Neurons | fx.GraphModule | nn.ModuleList):
                module.to(dtype)
        self.net.to(memory_format=torch.channels_last)
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """Mean logits [B, classes] of images [B, C, *S]."""
        x = x.to(self.dtype, memory_format=torch.channels_last)
        return self.net(x).unflatten(0, (self.T, -1)).mean(0)

    def words(self, x: Tensor) -> list[Tensor]:
        """The spikes of every layer in order, packed: [B, *S, C]."""
        found: list[Tensor] = []

        def keep(module: Neurons, _: tuple[Tensor, ...], out: Tensor) -> None:
            found.append(pack((out != 0).unflatten(0, (self.T, -1)).movedim(2, -1).contiguous()))

        hooks = [neurons.register_forward_hook(keep) for neurons in self.neurons]
        try:
            self(x)
        finally:
            for hook in hooks:
                hook.remove()
        return found


def _gather(net: fx.GraphModule) -> None:
    """What drives neurons goes to them as it is: sums of two, and biases of convolutions that nothing else reads."""
    for node in list(net.graph.nodes):
        module = net.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not isinstance(module, Neurons):
            continue
        (source,) = node.args
        parts = [source]
        if source.op == "call_function" and source.target in (operator.add, torch.add) and len(source.users) == 1:
            parts = list(source.args[:2])
            if all(isinstance(part, fx.Node) for part in parts) and not module.constant:
                node.args = tuple(parts)
                net.graph.erase_node(source)
            else:
                parts = [source]
        for part in parts:
            conv = net.get_submodule(str(part.target)) if part.op == "call_module" else None
            if isinstance(conv, nn.Conv2d) and conv.bias is not None and len(part.users) == 1:
                module.bias = module.bias + conv.bias.detach()
                conv.bias = None
    net.graph.lint()
    net.recompile()


def _fire(
    current: Tensor, added: Tensor | None, bias: Tensor, theta: Tensor, out: Tensor, T: int, constant: bool
) -> Tensor:
    """What the kernel does, in plain PyTorch."""
    spread = (-1, *[1] * (current.ndim - 2))
    theta, bias = theta.reshape(spread), bias.reshape(spread)
    batch = len(out) // T
    u = 0.5 * theta
    for t in range(T):
        step = slice(0, batch) if constant else slice(t * batch, (t + 1) * batch)
        drive = current[step].to(theta.dtype) + bias
        if added is not None:
            drive = drive + added[step].to(theta.dtype)
        u = u + drive
        fired = u >= theta
        out[t * batch : (t + 1) * batch] = torch.where(fired, theta, 0.0).to(out.dtype)
        u = torch.where(fired, u - theta, u)
    return out
