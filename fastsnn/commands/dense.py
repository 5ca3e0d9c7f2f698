"""How accurate the dense network is, on the images that the spiking one will see."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader


@dataclass(frozen=True)
class OnDevice:
    """Batches of (images, labels), moved to a device as they come."""

    batches: DataLoader
    device: torch.device

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self.batches:
            yield images.to(self.device), labels.to(self.device)

    def __len__(self) -> int:
        return len(self.batches)


def dense_accuracy(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, int]:
    """Fraction of images classified correctly, and how many images there were.

    Raises ValueError where the images do not fit the model, or the labels its classes.
    """
    return share(*dense_correct(model, batches))


def share(correct: int, total: int) -> tuple[float, int]:
    """(correct / total, total). Raises ValueError where there are no images."""
    if total == 0:
        raise ValueError("there are no images to evaluate on")
    return correct / total, total


@torch.inference_mode()
def dense_correct(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[int, int]:
    """How many images are classified correctly, of how many; raises as `dense_accuracy`, but takes no images too."""
    correct = total = 0
    for images, labels in batches:
        logits = _logits(model, images)
        if labels.max() >= logits.shape[1]:
            raise ValueError(
                f"labels should be below {logits.shape[1]}, the number of classes that the model tells apart, "
                f"got {labels.max().item()}"
            )
        correct += int((logits.argmax(1) == labels).sum())
        total += len(labels)
    return correct, total


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    try:
        logits = model(images)
    except RuntimeError as e:
        raise ValueError(
            f"the model does not take images of shape {tuple(images.shape[1:])}: {str(e).splitlines()[0]}"
        ) from e
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
        came = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"the model should return logits [{len(images)}, classes], got {came}")
    return logits
