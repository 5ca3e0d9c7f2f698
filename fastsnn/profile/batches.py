"""How images come out of whatever a user gives: batches of images, with labels or without."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

KINDS = "batches (images, labels), batches of images, or one tensor of images"


def batches(loader: Any, device: torch.device, sequences: bool = False) -> Iterator[tuple[Tensor, Tensor | None]]:
    """(images [B, C, *S], labels [B] or None), batch after batch; batches without images are left out.

    sequences   what comes is [T, B, C, *S] in place of images, and is given batch first

    Raises TypeError for anything else, ValueError for images on another device than the network.
    """
    if isinstance(loader, Tensor):
        loader = [loader]
    elif _pair(loader):
        loader = [tuple(loader)]
    if not isinstance(loader, Iterable):
        raise TypeError(f"profile needs {KINDS}, got {type(loader).__name__}")
    for batch in loader:
        images, labels = (batch[0], batch[1]) if _pair(batch) else (batch, None)
        if isinstance(images, list | tuple) and len(images) == 1:
            (images,) = images
        if not isinstance(images, Tensor):
            raise TypeError(f"profile needs {KINDS}, got a batch of type {type(images).__name__}")
        if images.device != device:
            raise ValueError(f"the network is on {device} and the images on {images.device}; move one of them")
        if sequences:
            if images.ndim < 3:
                raise ValueError(f"profile with sequences=True needs sequences [T, B, ...], got {list(images.shape)}")
            images = images.transpose(0, 1)
        if len(images):
            yield images, None if labels is None else _labels(labels, len(images)).to(device)


def _pair(batch: Any) -> bool:
    """Whether something is images and labels, and not a list of batches."""
    if not isinstance(batch, list | tuple) or len(batch) != 2 or not isinstance(batch[0], Tensor):
        return False
    second = batch[1]
    if isinstance(second, Tensor):
        return second.ndim <= 1 and not second.is_floating_point()
    return isinstance(second, list | tuple) and all(isinstance(n, int) for n in second)


def _labels(labels: Any, images: int) -> Tensor:
    labels = torch.as_tensor(labels)
    if labels.shape != (images,):
        raise ValueError(f"profile needs one label an image, [{images}], got {list(labels.shape)}")
    return labels
