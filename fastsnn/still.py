"""What of a run does not change over time and neurons depend on: the image, and what is computed from it alone."""

from torch import Tensor

from fastsnn.currents import CONSTANT, NARROW, constant_of
from fastsnn.ops._image import image
from fastsnn.prepared import Prepared
from fastsnn.program import InputLayer, Program
from fastsnn.program.fixed import fixed_input, saturated
from fastsnn.program.program import channels_last


def still(program: Program, prepared: Prepared, x: Tensor) -> dict[str, Tensor]:
    """By name, for images x [B, C, *S]: results of layers, channels last."""
    x = x.to(prepared.real)
    results: dict[str, Tensor] = {}
    for name, layer in prepared.still:
        if not isinstance(layer, InputLayer):
            results[name] = saturated(layer.dense([results[s] for s in layer.sources]))
        elif program.exponent is None or name not in prepared.inner:
            results[name] = channels_last(x)
        elif prepared.narrow:
            results[name + NARROW] = image(x, program.exponent)
        else:
            results[name] = fixed_input(channels_last(x), program.exponent)
    return results


def still_with_currents(program: Program, prepared: Prepared, x: Tensor) -> dict[str, Tensor]:
    """The same, and the constant currents that torch computes from it, otherwise a part of their layers."""
    results, exact = still(program, prepared, x), program.exponent is not None
    for name, driver in prepared.drivers.items():
        if driver.constant:
            results[name + CONSTANT] = constant_of(driver.layer, driver.constant, results, exact)
    return results
