"""Sequences: dense [T, B, C, *S], or packed with channels last as kernels take them."""

import torch
from torch import Tensor

from fastsnn.spikes import SpikeTrain

Sequence = Tensor | SpikeTrain


def pack(spikes: Tensor) -> SpikeTrain:
    """Spikes [T, B, C, *S] of 0 and 1 as words [B, *S, C]. Raises ValueError for other numbers."""
    if not bool(((spikes == 0) | (spikes == 1)).all()):
        raise ValueError("pack: spikes are 0 or 1, got other numbers")
    return SpikeTrain.pack(last(spikes))


def unpack(spikes: SpikeTrain, dtype: torch.dtype = torch.float32) -> Tensor:
    """What a packed sequence emits at each step, [T, B, C, *S]."""
    return second(spikes.to_dense(dtype))


def last(x: Tensor) -> Tensor:
    """[T, B, C, *S] -> [T, B, *S, C], contiguous."""
    return x.movedim(2, -1).contiguous()


def second(x: Tensor) -> Tensor:
    """[T, B, *S, C] -> [T, B, C, *S]."""
    return x.movedim(-1, 2)


def require(name: str, x: Tensor, dims: int | None = None) -> None:
    """Raises TypeError or ValueError for what is no sequence; dims: of an image [C, *S]."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name} takes a floating-point sequence [T, B, ...] or a SpikeTrain, got {got}")
    if x.ndim < 3 or len(x) < 1 or (dims is not None and x.ndim != dims + 2):
        sizes = "..." if dims is None else ", ".join(("C", "H", "W", "D")[:dims])
        raise ValueError(f"{name} takes a sequence [T, B, {sizes}] with T >= 1, got {list(x.shape)}")
