"""Sizes for the native module, which always has depth, height and width: the dimensions that are missing come first."""

from collections.abc import Sequence


def sizes(numbers: Sequence[int], blank: int = 1) -> list[int]:
    """Up to three numbers as three, `blank` for the dimensions that are missing."""
    return [*[blank] * (3 - len(numbers)), *numbers]


def geometry(
    kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> tuple[list[int], list[int], list[int], list[int]]:
    """The geometry of a window or a convolution in three dimensions."""
    return sizes(kernel), sizes(stride), sizes(padding, 0), sizes(dilation)
