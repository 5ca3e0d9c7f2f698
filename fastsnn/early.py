"""Early exit: an image leaves the run as soon as its answer is sure enough; the others go on as a smaller batch."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from fastsnn.network import SpikingNetwork
from fastsnn.spikes import MAX_STEPS, steps


def confidence(logits: Tensor) -> Tensor:
    """The largest probability, of softmax over the last dimension: SEENN-I's and Dynamic Confidence's."""
    return logits.softmax(-1).amax(-1)


def certainty(logits: Tensor) -> Tensor:
    """1 - entropy / log(classes): 0 where all classes are alike, 1 where one has it all."""
    entropy = -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)
    return 1 - entropy / math.log(logits.shape[-1])


def margin(logits: Tensor) -> Tensor:
    """The largest probability less the second largest."""
    first, second = logits.softmax(-1).topk(2, dim=-1).values.unbind(-1)
    return first - second


CRITERIA: dict[str, Callable[[Tensor], Tensor]] = {"confidence": confidence, "entropy": certainty, "margin": margin}


@dataclass(frozen=True)
class Exits:
    """Of each image: logits [B, classes] when it left, steps [B] after which it did, and steps [B] that it ran."""

    logits: Tensor
    steps: Tensor
    computed: Tensor


@torch.inference_mode()
def early_exit(
    snn: SpikingNetwork,
    x: Tensor,
    threshold: float,
    *,
    criterion: str = "confidence",
    scale: float = 1.0,
    chunk: int = 4,
    timesteps: int | None = None,
) -> Exits:
    """Runs images until the criterion of their mean logits exceeds a threshold, at most T steps.

    x          [B, C, *S]
    threshold  between 0 and 1
    criterion  of CRITERIA: "confidence", "entropy" or "margin", of softmax(scale * mean logits so far)
    scale      of the logits. SEENN takes the sum over steps divided by 8 instead of the mean
    chunk      steps that are computed between two looks, 1 to 32: images that are done are taken out then, and have run
               up to chunk - 1 steps more than they needed
    timesteps  T; None: the network's own

    Raises ValueError for arguments that make no sense, more than one output, or a network that knows its answer at the
    end only.
    Source: Li et al., NeurIPS 2023 (SEENN-I); Li et al., ICCV 2023 (Dynamic Confidence).
    """
    T = _checked(snn, threshold, criterion, scale, chunk, timesteps)
    rest = torch.arange(len(x), device=x.device)
    logits: Tensor | None = None
    left = torch.zeros(2, len(x), dtype=torch.int64, device=x.device)
    simulation, done = snn.simulation(x), 0
    while len(rest) and done < T:
        now = min(chunk, T - done)
        _, outputs = simulation.advance(now, over_time=True)
        sure = CRITERIA[criterion](scale * outputs[0]) > threshold
        # at the end everybody leaves
        sure[-1] |= done + now == T
        first = sure.int().argmax(0)
        leaves = sure.any(0)
        logits = outputs[0].new_zeros(len(x), outputs[0].shape[-1]) if logits is None else logits
        logits[rest[leaves]] = outputs[0][first[leaves], torch.nonzero(leaves)[:, 0]]
        left[0, rest[leaves]], left[1, rest[leaves]] = done + 1 + first[leaves], done + now
        done += now
        rest = rest[~leaves]
        if len(rest) and bool(leaves.any()):
            simulation.keep(torch.nonzero(~leaves)[:, 0])
    if logits is None:
        logits = torch.zeros(0, *snn.shapes(0, T, False)[0][1:], device=x.device)
    return Exits(logits, left[0], left[1])


@torch.inference_mode()
def exit_threshold(
    snn: SpikingNetwork,
    loader: Iterable[tuple[Tensor, Tensor]],
    *,
    loss: float = 0.005,
    criterion: str = "confidence",
    scale: float = 1.0,
    timesteps: int | None = None,
) -> float:
    """The least threshold with which early exit loses at most `loss` of the accuracy after all steps, on labelled data.

    loss   a fraction, 0.005 is half a point

    Found among the values of the criterion that occur, from one run over the data.
    Source: Li et al., ICCV 2023 (Dynamic Confidence), which takes a Pareto front of such points.
    """
    T = _checked(snn, 0.5, criterion, scale, 1, timesteps)
    if not 0 <= loss < 1:
        raise ValueError(f"loss must be at least 0 and below 1, got {loss}")
    sure, right = [], []
    for images, labels in loader:
        logits = snn.logits_over_time(images, T)
        sure.append(CRITERIA[criterion](scale * logits))
        right.append(logits.argmax(-1) == labels)
    if not sure:
        raise ValueError("exit_threshold needs at least one image, got none")
    values, correct = torch.cat(sure, 1), torch.cat(right, 1)
    wanted = correct[-1].double().mean() - loss
    candidates = torch.cat([values.flatten().new_zeros(1), values[:-1].flatten().unique()])
    low, high = 0, len(candidates) - 1
    # accuracy need not grow with the threshold everywhere: halving finds one of the points where it becomes enough
    while low < high:
        middle = (low + high) // 2
        if _accuracy(values, correct, candidates[middle].item()) >= wanted:
            high = middle
        else:
            low = middle + 1
    return candidates[low].item()


def _accuracy(values: Tensor, correct: Tensor, threshold: float) -> float:
    sure = values > threshold
    sure[-1] = True
    first = sure.int().argmax(0)
    return correct[first, torch.arange(len(first), device=first.device)].double().mean().item()


def _checked(
    snn: SpikingNetwork, threshold: float, criterion: str, scale: float, chunk: int, timesteps: int | None
) -> int:
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be between 0 and 1, got {threshold}")
    if criterion not in CRITERIA:
        raise ValueError(f"criterion must be one of {', '.join(CRITERIA)}, got {criterion!r}")
    if not scale > 0 or not 1 <= steps(chunk) <= MAX_STEPS:
        raise ValueError(f"scale must be above 0 and chunk 1 to {MAX_STEPS}, got {scale} and {chunk}")
    if len(snn.program.outputs) != 1 or len(snn.program.layers[snn.program.outputs[0]].shape) != 1:
        raise ValueError("early exit needs a network with one output of logits [B, classes]")
    if snn.program.waits or snn.reading.delay:
        raise ValueError(f"early exit needs an answer after each step, which method {snn.method} does not give")
    return snn.timesteps if timesteps is None else steps(timesteps)
