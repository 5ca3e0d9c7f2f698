"""How many images are classified correctly after each step: whole numbers, which add up over batches and processes."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm


def correct_over_time(
    logits_over_time: Callable[[Tensor], Any],
    loader: Iterable,
    T: int,
    device: torch.device,
    progress: bool,
    output: int = 0,
) -> tuple[Tensor, int]:
    """(images classified correctly after every step [T] int64 on the CPU, number of images).

    logits_over_time   images [B, C, *S] -> logits [T, B, classes], or a structure with several such
    loader             batches (images, labels), or none at all: labels [B] are class numbers
    device             where images are wanted
    output             which output to judge, where there are several

    Raises TypeError for batches that are no pairs, ValueError for logits or labels of another shape.
    """
    correct, total = torch.zeros(T, dtype=torch.int64), 0
    for batch in tqdm(loader, desc="evaluate", unit="batch", disable=not progress):
        if not isinstance(batch, list | tuple) or len(batch) < 2:
            raise TypeError(f"accuracy_over_time needs batches (images, labels), got {type(batch).__name__}")
        x, labels = batch[0].to(device), torch.as_tensor(batch[1]).to(device)
        logits = torch.utils._pytree.tree_leaves(logits_over_time(x))[output]
        if logits.ndim != 3 or labels.shape != logits.shape[1:2]:
            raise ValueError(
                "accuracy_over_time needs logits [T, B, classes] and labels [B], "
                f"got {list(logits.shape)} and {list(labels.shape)}"
            )
        correct += (logits.argmax(2) == labels).sum(1).cpu()
        total += len(labels)
    return correct, total


def fractions(correct: Tensor, total: int) -> Tensor:
    """float64 [T] from counts [T]. Raises ValueError where there were no images."""
    if total == 0:
        raise ValueError("accuracy_over_time needs at least one image, got none")
    return correct.double() / total
