"""Pooling over packed spikes on the CPU, in C++."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn import _native
from fastsnn.ops import _three
from fastsnn.spikes import word_dtype
from fastsnn.windows import output_size

Size = Sequence[int]


def _run(
    kind: str, words: Tensor, so_far: Tensor | None, T: int, geometry: tuple[Size, Size, Size, Size], ceil_mode: bool
) -> Tensor:
    cpu = _native.load()
    batch, *sizes, channels = words.shape
    out = list(map(output_size, sizes, *geometry, [ceil_mode] * len(sizes)))
    result = torch.empty((batch, *out, channels), dtype=torch.int32 if kind == "counts" else word_dtype(T))
    cpu.pool(
        getattr(cpu.PoolKind, kind),
        words.data_ptr(),
        words.element_size(),
        batch,
        _three.sizes(sizes),
        _three.sizes(out),
        channels,
        *_three.geometry(*geometry),
        T,
        0 if so_far is None else so_far.data_ptr(),
        result.data_ptr(),
        result.element_size(),
        torch.get_num_threads(),
    )
    return result


def pool_or(
    words: Tensor, T: int, kernel: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool
) -> Tensor:
    return _run("any", words, None, T, (kernel, stride, padding, dilation), ceil_mode)


def pool_gate(
    words: Tensor, counts: Tensor, T: int, kernel: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    passed = _run("gate", words, counts, T, (kernel, stride, padding, dilation), ceil_mode)
    ones = (1,) * (words.ndim - 2)
    return passed, _run("counts", words, counts, T, (ones, ones, (0,) * len(ones), ones), False)


def pool_lateral(
    words: Tensor, sums: Tensor, T: int, amplitudes: Size, kernel: Size, stride: Size, padding: Size, dilation: Size,
    ceil_mode: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    batch, *sizes, channels = sums.shape
    geometry = (kernel, stride, padding, dilation)
    out = list(map(output_size, sizes, *geometry, [ceil_mode] * len(sizes)))
    planes = words.shape[: words.ndim - sums.ndim]
    result, after = torch.empty((*planes, batch, *out, channels), dtype=word_dtype(T)), torch.empty_like(sums)
    _native.load().lateral(
        words.data_ptr(),
        words.element_size(),
        batch,
        _three.sizes(sizes),
        _three.sizes(out),
        channels,
        *_three.geometry(*geometry),
        T,
        list(amplitudes),
        sums.data_ptr(),
        after.data_ptr(),
        result.data_ptr(),
        result.element_size(),
        torch.get_num_threads(),
    )
    return result, after


def pool_counts(
    words: Tensor, T: int, kernel: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool
) -> Tensor:
    return _run("counts", words, None, T, (kernel, stride, padding, dilation), ceil_mode)
