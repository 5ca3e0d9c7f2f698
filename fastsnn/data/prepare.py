"""What happens to an image before a network sees it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import interpolate


class Images(Protocol):
    """Labelled images that can be counted and picked: (image float32 [C, H, W], label)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Tensor, int]: ...


@dataclass(frozen=True)
class Prepare:
    """Resize, crop, scale to [0, 1], normalise; called on one image, [C, H, W] (or any float input, [*N]).

    image_size  side of the square that is cut from the centre, in pixels; None keeps images as they are
    resize      length of the shorter side before the cut (256 with image_size 224 is ImageNet's usual pair);
                None: image_size
    mean, std   one number a channel, or one for all, in units of [0, 1]; None leaves that step out

    uint8 is divided by 255; floats are taken as already scaled.
    Raises ValueError for numbers that make no sense or do not fit the image.
    """

    image_size: int | None = None
    resize: int | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.image_size is not None and self.image_size < 1:
            raise ValueError(f"image size must be at least 1 pixel, got {self.image_size}")
        if self.resize is not None and (self.image_size is None or self.resize < self.image_size):
            raise ValueError(
                f"resize ({self.resize}) is the size before the cut to image size ({self.image_size}): "
                "it needs an image size, and cannot be below it"
            )
        if self.std is not None and any(not s > 0 for s in self.std):
            raise ValueError(f"std must be above 0, got {tuple(self.std)}")

    def __call__(self, image: Tensor) -> Tensor:
        if not image.is_floating_point():
            image = image.float() / 255
        if self.image_size is not None:
            image = _square(image, self.image_size, self.resize or self.image_size)
        if self.mean is not None:
            image = image - self._per_channel("mean", self.mean, image)
        if self.std is not None:
            image = image / self._per_channel("std", self.std, image)
        return image.float()

    def _per_channel(self, name: str, numbers: Sequence[float], image: Tensor) -> Tensor:
        if len(numbers) not in (1, image.shape[0]):
            raise ValueError(
                f"{name} should be one number, or one a channel: the images have {image.shape[0]} channels, "
                f"got {len(numbers)} numbers"
            )
        return torch.tensor(numbers, dtype=image.dtype).reshape(-1, *[1] * (image.ndim - 1))


def _square(image: Tensor, side: int, short: int) -> Tensor:
    """The shorter side resized to `short`, then a square cut from the centre."""
    if image.ndim != 3:
        raise ValueError(f"only images [C, H, W] can be resized, got {tuple(image.shape)}")
    height, width = image.shape[-2:]
    scale = short / min(height, width)
    if scale != 1:
        size = (max(short, round(height * scale)), max(short, round(width * scale)))
        image = interpolate(image[None], size=size, mode="bilinear", antialias=True)[0].clamp_(0, 1)
    top, left = ((length - side) // 2 for length in image.shape[-2:])
    return image[:, top : top + side, left : left + side]
