"""The layers behind the last neurons as one matrix, where they are one: applied to spike counts in a single product."""

import copy

import torch
from torch import Tensor

from fastsnn.program import InputLayer, Layer, Program, RouteLayer, ValueLayer

# beyond this many neurons the matrix is not worth its memory, and the layers run one by one
MOST_INPUTS = 2**14
# outputs whose rows are made at once
BLOCK = 64


class Readout:
    """logits = weight @ (mean spikes of layer `source`) + bias:  weight [O, K], bias [O]."""

    def __init__(self, source: str, weight: Tensor, bias: Tensor, shape: tuple[int, ...]) -> None:
        self.source, self.weight, self.bias, self.shape = source, weight, bias, shape


@torch.inference_mode(False)
@torch.enable_grad()
def readout_of(program: Program, inner: set[str], real: torch.dtype) -> Readout | None:
    """The head of a program with one output that is an affine map of one spiking layer's mean; None otherwise."""
    layers = program.layers
    head = {name: layer for name, layer in layers.items() if name not in inner and not isinstance(layer, InputLayer)}
    read = {source for layer in head.values() for source in layer.sources} - set(head)
    if len(program.outputs) != 1 or program.outputs[0] not in head or len(read) != 1:
        return None
    (source,) = read
    size = torch.Size(layers[source].shape).numel()
    affine = all(isinstance(layer, ValueLayer | RouteLayer) for layer in head.values())
    if not layers[source].spiking or not affine or size > MOST_INPUTS:
        return None
    exact = {name: _double(layer) for name, layer in head.items()}
    shape = layers[program.outputs[0]].shape
    outputs, device = torch.Size(shape).numel(), next(program.buffers()).device
    rows, bias = [], torch.zeros(0)
    for start in range(0, outputs, BLOCK):
        # row i of the matrix is the gradient of output i
        count = min(BLOCK, outputs - start)
        x = torch.zeros(count, size, dtype=torch.float64, device=device, requires_grad=True)
        results = {source: x.reshape(-1, *layers[source].shape)}
        for name, layer in exact.items():
            results[name] = layer.dense([results[s] for s in layer.sources])
        y = results[program.outputs[0]].flatten(1)
        bias = y[0].detach()
        rows.append(torch.autograd.grad(y[:, start : start + count].diagonal().sum(), x)[0])
    return Readout(source, torch.cat(rows).to(real), bias.to(real), shape)


def _double(layer: Layer) -> Layer:
    """A copy in float64 that gradients may pass through, whatever mode the original was made in."""
    twin = copy.deepcopy(layer).double()
    for module in twin.modules():
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.clone())
    return twin
