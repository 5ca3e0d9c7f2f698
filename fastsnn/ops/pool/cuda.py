"""Pooling over packed spikes in CUDA."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastsnn import _cuda
from fastsnn.firing import MOST_PLANES
from fastsnn.ops import _three
from fastsnn.spikes import word_dtype
from fastsnn.windows import output_size

Size = Sequence[int]
BYTES = 16


def pool_or(
    words: Tensor, T: int, kernel: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool
) -> Tensor:
    return _windows("pool", words, None, word_dtype(T), T, (kernel, stride, padding, dilation), ceil_mode)


def pool_gate(
    words: Tensor, counts: Tensor, T: int, kernel: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    passed = _windows("gate", words, counts, word_dtype(T), T, (kernel, stride, padding, dilation), ceil_mode)
    after, ones = torch.empty_like(counts), (1,) * (words.ndim - 2)
    geometry = (ones, ones, (0,) * len(ones), ones)
    if counts.numel():
        n = BYTES // words.element_size()
        n = n if _cuda.divides(n, words.numel()) and _cuda.divides(BYTES, *addresses(words, counts, after)) else 1
        run = counted(words.dtype, n)
        sizes = (words.shape[0], words.shape[-1], *_sizes(words, words.shape[1:-1], geometry))
        grid = (_cuda.blocks(words.numel(), run.threads * n),)
        _cuda.launch(run, grid, (*addresses(words, counts, after), T, *sizes), words)
    return passed, after


def pool_lateral(
    words: Tensor, sums: Tensor, T: int, amplitudes: Size, kernel: Size, stride: Size, padding: Size, dilation: Size,
    ceil_mode: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    batch, *sizes, channels = sums.shape
    geometry = (kernel, stride, padding, dilation)
    out = list(map(output_size, sizes, *geometry, [ceil_mode] * len(sizes)))
    planes = words.shape[: words.ndim - sums.ndim]
    result, after = words.new_empty((*planes, batch, *out, channels), dtype=word_dtype(T)), torch.empty_like(sums)
    windows = result.numel() // len(amplitudes)
    numbers = (T, batch, channels, *_sizes(sums, out, geometry), len(amplitudes), sums.numel(), windows)
    worth = [*amplitudes, *[0] * (MOST_PLANES - len(amplitudes))]
    if windows:
        run = lateral(words.dtype, result.dtype)
        grid = (_cuda.blocks(windows, run.threads),)
        _cuda.launch(run, grid, (*addresses(words, sums, result), *numbers, *worth), words)
    if sums.numel():
        n = BYTES // words.element_size()
        n = n if _cuda.divides(n, sums.numel()) and _cuda.divides(BYTES, *addresses(words, sums, after)) else 1
        run = lateral_sums(words.dtype, n)
        grid = (_cuda.blocks(sums.numel(), run.threads * n),)
        _cuda.launch(run, grid, (*addresses(words, sums, after), *numbers, *worth), words)
    return result, after


def pool_counts(
    words: Tensor, T: int, kernel: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool
) -> Tensor:
    return _windows("pool", words, None, torch.int32, T, (kernel, stride, padding, dilation), ceil_mode, count=True)


def _windows(
    function: str,
    words: Tensor,
    counts: Tensor | None,
    dtype: torch.dtype,
    T: int,
    geometry: tuple[Size, Size, Size, Size],
    ceil_mode: bool,
    count: bool = False,
) -> Tensor:
    """A kernel over the windows of words [B, *S, C]: its result [B, *S', C]."""
    batch, *sizes, channels = words.shape
    out = list(map(output_size, sizes, *geometry, [ceil_mode] * len(sizes)))
    result = torch.empty((batch, *out, channels), dtype=dtype, device=words.device)
    if not result.numel():
        return result
    n = 1
    if function == "pool":
        wide = BYTES // words.element_size()
        n = wide if _cuda.divides(wide, channels) and _cuda.divides(BYTES, *addresses(words, result)) else 1
    run = pool(words.dtype, dtype, n, count) if function == "pool" else gate(words.dtype, dtype)
    grid = (_cuda.blocks(result.numel(), run.threads * n),)
    values = (*addresses(words, counts, result), T, batch, channels, *_sizes(words, out, geometry))
    _cuda.launch(run, grid, values, words)
    return result


def addresses(*tensors: Tensor | None) -> list[int]:
    return [_cuda.address(x) for x in tensors]


def _sizes(words: Tensor, out: Sequence[int], geometry: tuple[Size, Size, Size, Size]) -> list[int]:
    """Sizes of input, output and windows in three dimensions, as the kernels' struct has them."""
    windows = [n for numbers in _three.geometry(*geometry) for n in numbers]
    return [*_three.sizes(words.shape[1:-1]), *_three.sizes(out), *windows]


def _instance(function: str, *arguments: str) -> _cuda.Kernel:
    return _cuda.Kernel("pool/pool.cu", f"{function}<{', '.join(arguments)}>", "PoolCall", "<6q18i")


def pool(words: torch.dtype, result: torch.dtype, n: int, count: bool) -> _cuda.Kernel:
    """The OR of windows, or the number of their spikes; n channels a thread."""
    kind = _cuda.TYPES[result] if count else _cuda.WORDS[result]
    return _instance("pool", _cuda.WORDS[words], kind, str(n), str(count).lower())


def gate(words: torch.dtype, result: torch.dtype) -> _cuda.Kernel:
    """The gate, for as many steps as its result has room for."""
    return _instance("gate", _cuda.WORDS[words], _cuda.WORDS[result], str(8 * result.itemsize))


def counted(words: torch.dtype, n: int) -> _cuda.Kernel:
    return _instance("counted", _cuda.WORDS[words], str(n))


def _lateral(function: str, *arguments: str) -> _cuda.Kernel:
    form = f"<6q18i3q{MOST_PLANES}i"
    return _cuda.Kernel("pool/lateral.cu", f"{function}<{', '.join(arguments)}>", "LateralCall", form)


def lateral(words: torch.dtype, result: torch.dtype) -> _cuda.Kernel:
    """What the largest sums change by, for as many steps as its result has room for."""
    return _lateral("lateral", _cuda.WORDS[words], _cuda.WORDS[result], str(8 * result.itemsize))


def lateral_sums(words: torch.dtype, n: int) -> _cuda.Kernel:
    return _lateral("lateral_sums", _cuda.WORDS[words], str(n))
