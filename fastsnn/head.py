"""The layers behind the last neurons as one matrix, where they are one: applied to spike counts in a single product."""

import copy

import torch
from torch import Tensor

from fastsnn.program import InputLayer, Layer, Program, RouteLayer, ValueLayer

# beyond this many neurons the matrix is not worth its memory, and the layers run one by one
MOST_INPUTS = 2**14
BLOCK = 256


class Readout:
    """logits = weight @ (mean spikes of layer `source`) + bias:  weight [O, K], bias [O]."""

    def __init__(self, source: str, weight: Tensor, bias: Tensor, shape: tuple[int, ...]) -> None:
        self.source, self.weight, self.bias, self.shape = source, weight, bias, shape


@torch.inference_mode()
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
    exact = {name: copy.deepcopy(layer).double() for name, layer in head.items()}
    device = next(program.buffers()).device
    zero = torch.zeros(1, size, dtype=torch.float64, device=device)
    bias = _apply(exact, source, layers[source], zero, program.outputs[0])
    columns = []
    for start in range(0, size, BLOCK):
        basis = torch.zeros(min(BLOCK, size - start), size, dtype=torch.float64, device=device)
        basis[:, start:].fill_diagonal_(1.0)
        columns.append(_apply(exact, source, layers[source], basis, program.outputs[0]).flatten(1) - bias.flatten(1))
    weight = torch.cat(columns).T.contiguous()
    return Readout(source, weight.to(real), bias.flatten().to(real), tuple(bias.shape[1:]))


def _apply(head: dict[str, Layer], source: str, layer: Layer, x: Tensor, output: str) -> Tensor:
    results = {source: x.reshape(-1, *layer.shape)}
    for name, step in head.items():
        results[name] = step.dense([results[s] for s in step.sources])
    return results[output]
