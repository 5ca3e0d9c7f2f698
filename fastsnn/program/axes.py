"""Where the channels are: first for users, last inside."""

from torch import Tensor


def logical(x: Tensor) -> Tensor:
    """[N, *S, C] -> [N, C, *S], the layout that users see."""
    return x.movedim(-1, 1) if x.ndim > 2 else x


def logical_steps(x: Tensor) -> Tensor:
    """[T, N, *S, C] -> [T, N, C, *S]: the same over time."""
    return x.movedim(-1, 2) if x.ndim > 3 else x


def channels_last(x: Tensor) -> Tensor:
    """[N, C, *S] -> [N, *S, C], contiguous."""
    return x.movedim(1, -1).contiguous() if x.ndim > 2 else x.contiguous()
