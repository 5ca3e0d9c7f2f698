"""The images of a comparison: read again for each network, always with labels."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from fastsnn.convert import calibrate
from fastsnn.profile.batches import batches

KINDS = "batches (images, labels), labels being class numbers"


def readable(loader: Any) -> Any:
    """The loader, or its batches where it could be read once only. Raises TypeError for what is no loader."""
    if isinstance(loader, Tensor):
        raise ValueError(f"compare_methods needs labels: {KINDS}; got one tensor")
    if not isinstance(loader, Iterable):
        raise TypeError(f"compare_methods needs {KINDS}; got {type(loader).__name__}")
    return list(loader) if isinstance(loader, Iterator) else loader


def labelled(loader: Any, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """(images [B, C, *S], labels [B]), batch after batch. Raises ValueError for one without labels."""
    for images, labels in batches(loader, device):
        if labels is None:
            raise ValueError(f"compare_methods needs labels: {KINDS}; got a batch of images only")
        yield images, labels


def first(model: nn.Module, loader: Any, device: torch.device) -> Tensor:
    """The images of the first batch.

    Raises ValueError where there is none, or the model does not give logits [B, classes] for it.
    """
    found = next(labelled(loader, device), None)
    if found is None:
        raise ValueError("compare_methods needs at least one image, got none")
    images, _ = found
    try:
        with torch.inference_mode():
            logits = model(images)
    except RuntimeError as error:
        because = str(error).splitlines()[0]
        raise ValueError(f"the model does not take images of shape {list(images.shape[1:])}: {because}") from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
        came = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"compare_methods needs a model that gives logits [{len(images)}, classes], got {came}")
    return images


def calibration_images(given: Any) -> tuple[Any, int]:
    """The same images for every conversion, and how many. Raises ValueError or TypeError as `fastsnn.convert` does."""
    found = list(calibrate.batches(given))
    if not found:
        raise ValueError("calibration needs at least one image, got none")
    return (given if isinstance(given, Tensor) else found), sum(map(len, found))
