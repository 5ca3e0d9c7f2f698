"""How a fitted program becomes one of a precision, and what is found out on the way."""

import torch
from torch import Tensor

from fastsnn.convert.mismatch import mismatch
from fastsnn.convert.narrow import HALVES, to_half, to_int8
from fastsnn.convert.parameters import Parameters
from fastsnn.convert.quantise import to_precision
from fastsnn.convert.quantise16 import measure, to_int16
from fastsnn.program import Program

# images that the range of int16 is measured on
RANGE_IMAGES = 64


def finish(
    program: Program,
    precision: str,
    found: Parameters,
    device: torch.device,
    samples: Tensor | None,
    progress: bool,
) -> tuple[Program, dict[str, str], dict[str, float]]:
    """(the program on a device, why layers stayed wider, share of each layer's spikes that rounding changed).

    found     has the peaks; and of a calibration that was kept also the ranges, and what differed. Filled in where
              there are samples
    samples   images that were calibrated on; None where only `found` is left of them
    progress  shows how far it is

    Raises ValueError where int16 is asked for, and its ranges were not kept.
    """
    final = to_precision(program, precision, found.peaks).to(device)
    wide: dict[str, str] = {}
    if precision == "int16":
        if samples is not None:
            found.ranges = measure(final, samples[:RANGE_IMAGES], found.timesteps, progress)
        elif not found.ranges:
            raise ValueError('this calibration file lacks what int16 needs: calibrate with precision="int16"')
        final, wide = to_int16(program, final, found.ranges)
    elif precision == "int8":
        final, wide = to_int8(program, final)
    elif precision in HALVES:
        final, wide = to_half(final, precision)
    if samples is not None and precision in ("int16", "int8", *HALVES):
        unrounded = to_precision(program, "float32", found.peaks).to(device)
        found.differ[precision] = mismatch(final, unrounded, samples, found.timesteps)
    return final, wide, found.differ.get(precision, {})
