"""One pass over the data: what is counted of each network, and how often each was right after each step."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from fastsnn.profile.counts import Observed
from fastsnn.profile.subject import Subject


@dataclass(frozen=True)
class Seen:
    """Of one network over the images so far. correct: [T], or [1] where only the last step's output is known."""

    observed: Observed
    correct: Tensor


@dataclass
class Gathered:
    """What is known after some batches. A batch is in all of it or in none."""

    images: int = 0
    batches: int = 0
    labelled: bool = True
    networks: dict[str, Seen] = field(default_factory=dict)
    dense_correct: int = 0


@torch.inference_mode()
def step(
    so_far: Gathered, networks: Mapping[str, Subject], dense: nn.Module | None, images: Tensor, labels: Tensor | None
) -> Gathered:
    """With one more batch.

    Raises ValueError for a logit that is NaN, logits of another shape than [B, classes], and labels beyond the classes.
    """
    found: dict[str, Seen] = {}
    for name, network in networks.items():
        observed, logits = network.observe(images)
        correct = torch.zeros(0, dtype=torch.int64)
        if logits is not None:
            _require_numbers(name, logits, so_far.images, len(images))
            correct = _correct(name, logits, labels, network.T)
        before = so_far.networks.get(name)
        if before is not None:
            observed, correct = before.observed.plus(observed), before.correct + correct
        found[name] = Seen(observed, correct)
    right = so_far.dense_correct
    if dense is not None:
        logits = dense(images)
        if isinstance(logits, Tensor):
            _require_numbers("the dense network", logits, so_far.images, len(images))
            right += int(_correct("the dense network", logits, labels, 1).sum())
    labelled = so_far.labelled and labels is not None
    return Gathered(so_far.images + len(images), so_far.batches + 1, labelled, found, right)


def _require_numbers(name: str, logits: Tensor, before: int, batch: int) -> None:
    wrong = torch.isnan(logits)
    if not wrong.any():
        return
    # of [T, B, ...] or [B, ...]: the dimension that is as long as the batch, from the right where both are
    dim = 1 if logits.ndim > 2 and logits.shape[1] == batch else 0
    image = int(torch.nonzero(wrong)[:, dim].min())
    raise ValueError(
        f"profile needs numbers, got NaN: a logit of {name} on image {before + image} of the data; look at its "
        "weights and at that image"
    )


def _correct(name: str, logits: Tensor, labels: Tensor | None, T: int) -> Tensor:
    """How many of the batch are right, after each step or at the end; nothing without labels."""
    if labels is None:
        return torch.zeros(T if logits.ndim > 2 else 1, dtype=torch.int64)
    shapes = {2: logits.shape[:1], 3: logits.shape[1:2]}
    if shapes.get(logits.ndim) != labels.shape:
        raise ValueError(
            f"profile needs logits [B, classes] or [T, B, classes] to compare with {len(labels)} labels; {name} "
            f"returns {list(logits.shape)}; leave the labels out to profile it without accuracy"
        )
    if labels.max() >= logits.shape[-1]:
        raise ValueError(
            f"labels should be below {logits.shape[-1]}, the number of classes that {name} tells apart, got "
            f"{labels.max().item()}"
        )
    right = (logits.argmax(-1) == labels).sum(-1)
    return right.reshape(-1).cpu()
