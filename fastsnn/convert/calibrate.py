"""What the network does on calibration images: the statistics of each activation, and the largest value of each sum."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from fastsnn.convert.statistics import Activation
from fastsnn.program import Layer, NeuronLayer, Program
from fastsnn.program.axes import channels_last

BATCH = 64
KEPT = 128


@dataclass
class Calibration:
    """activations  neuron name -> what it did, before any clipping but its own bound
    peaks        layer name -> largest absolute value, of layers that hold numbers
    samples      the first images, [at most KEPT, C, *S], for what has to be run again
    """

    activations: dict[str, Activation] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)
    samples: Tensor = field(default_factory=lambda: torch.zeros(0))


def batches(data: Any) -> Iterator[Tensor]:
    """Image batches [B, C, ...] from a tensor, or from an iterable of tensors or of (images, ...) tuples."""
    if isinstance(data, Tensor):
        data = data.split(BATCH) if data.ndim else [data]
    if not isinstance(data, Iterable):
        raise TypeError(f"calibration must be a tensor or an iterable of batches, got {type(data).__name__}")
    for item in data:
        images = item[0] if isinstance(item, list | tuple) and item else item
        if not isinstance(images, Tensor):
            raise TypeError(
                f"calibration batches must be tensors or (images, labels) tuples, got {type(images).__name__}"
            )
        if not images.is_floating_point():
            raise TypeError(
                f"calibration images must be floating point, as the network will take them, got {images.dtype}"
            )
        if images.ndim < 2:
            raise ValueError(f"calibration batches must be [B, ...], got a tensor of shape {list(images.shape)}")
        if len(images):
            yield images


def first_batch(data: Any) -> tuple[Tensor, Iterator[Tensor]]:
    """The first batch, and all of them, the first again included: works for streams that can be read once."""
    stream = batches(data)
    first = next(stream, None)
    if first is None:
        raise ValueError("calibration needs at least one image, got none")
    return first, chain([first], stream)


def calibrate(program: Program, stream: Iterable[Tensor], device: torch.device, progress: bool) -> Calibration:
    """Runs a program whose neurons have threshold 1 over all images, in float32.

    Raises ValueError that names the layer where an activation is not finite.
    """
    found = Calibration()
    kept: list[Tensor] = []

    def watch(layer: Layer, out: Tensor) -> None:
        if not bool(torch.isfinite(out).all()):
            raise ValueError(f"calibration: {layer.name} has values that are NaN or infinite")
        if isinstance(layer, NeuronLayer):
            found.activations.setdefault(layer.name, Activation()).update(out)
        elif not layer.spiking and out.numel():
            found.peaks[layer.name] = max(found.peaks.get(layer.name, 0.0), out.abs().max().item())

    with torch.inference_mode():
        for images in tqdm(stream, desc="calibrate", unit="batch", disable=not progress):
            if tuple(images.shape[1:]) != program.image:
                shapes = f"first {list(program.image)}, then {list(images.shape[1:])}"
                raise ValueError(f"calibration: images must all have one shape, got {shapes}")
            x = images.to(device, torch.float32)
            if sum(map(len, kept)) < KEPT:
                kept.append(x[: KEPT - sum(map(len, kept))])
            for part in x.split(BATCH):
                program.dense(channels_last(part), clip=False, watch=watch)
    found.samples = torch.cat(kept)
    return found
