"""What of a run does not change over time and neurons depend on: the image, and what is computed from it alone."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn.currents import CONSTANT, constant_of
from fastsnn.ops._changes import changes, takes
from fastsnn.ops._image import image
from fastsnn.prepared import Prepared
from fastsnn.program import FunctionLayer, InputLayer, Layer, Program, ValueLayer
from fastsnn.program.axes import channels_last
from fastsnn.program.fixed import fixed_input, saturated
from fastsnn.program.terms import total_of

# behind the name of an input: as it is given, for exact first layers to round
IMAGE = ".image"


def still(program: Program, prepared: Prepared, x: Tensor) -> dict[str, Tensor]:
    """By name, for images x [B, C, *S]: results of layers, channels last."""
    x = x.to(prepared.real)
    results: dict[str, Tensor] = {}
    for name, layer in prepared.still:
        if not isinstance(layer, InputLayer):
            results[name] = saturated(_of(prepared, layer, [results[s] for s in layer.sources]))
        elif program.exponent is None or name not in prepared.inner:
            results[name] = channels_last(x)
        elif prepared.narrow:
            results[name + IMAGE] = x
        else:
            results[name] = fixed_input(channels_last(x), program.exponent)
    return results


def _of(prepared: Prepared, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    """What a layer makes of numbers [N, *S, C], in the native module where that has it."""
    if isinstance(layer, ValueLayer) and layer.name in prepared.maps:
        return total_of(prepared.maps[layer.name], inputs) + layer.bias
    if isinstance(layer, FunctionLayer) and prepared.exact and prepared.native and layer.known is not None:
        one_step = [x.int().unsqueeze(0).contiguous() for x in inputs]
        if takes(layer.known, one_step):
            steps = torch.arange(2, dtype=torch.float64)
            return changes(layer.known, one_step, steps, layer.exponent or 0, None)[0][0].long()
    return layer.dense(inputs)


def still_with_currents(program: Program, prepared: Prepared, x: Tensor) -> dict[str, Tensor]:
    """The same, and the constant currents that torch computes from it, otherwise a part of their layers."""
    results, exact = still(program, prepared, x), program.exponent is not None
    for driver in prepared.summing:
        results[driver.layer.name + CONSTANT] = constant_of(driver.layer, driver.constant, results, exact)
    return results


def narrow(results: dict[str, Tensor], name: str, exponent: int | None) -> Tensor:
    """A fixed-point input as numbers of 32 bits, channels last."""
    if name in results:
        return results[name].int()
    return image(results[name + IMAGE], exponent or 0)
