"""pack: dense spikes into words and back, and how many spikes a word holds."""

import torch
from torch import Tensor

from fastsnn import _cuda, _native, _triton
from fastsnn._registry import Backend, choose
from fastsnn.ops import _checks
from fastsnn.spikes import word_dtype


def _backends(function: str) -> tuple[Backend, ...]:
    return (
        Backend("triton", f"fastsnn.ops.pack.triton_kernel:{function}", _triton.refuse, _triton.reason),
        Backend("cuda", f"fastsnn.ops.pack.cuda:{function}", _cuda.refuse, _cuda.reason),
        Backend("native", f"fastsnn.ops.pack.native:{function}", _native.refuse, _native.reason),
        Backend("reference", f"fastsnn.ops.pack.reference:{function}", lambda *_: None),
    )


BACKENDS = _backends("pack")
UNPACK_BACKENDS, COUNTS_BACKENDS = _backends("unpack"), _backends("counts")


def pack(spikes: Tensor) -> Tensor:
    """Dense spikes into words.

    spikes  [T, *N] any dtype, 0 and 1 (anything but 0 counts as a spike), T in 1..32

    Returns words [*N], uint8 for T <= 8, int16 for T <= 16, int32 beyond: bit t is the spike at step t.
    Raises ValueError for the shape.
    """
    return _pack(spikes.detach() if spikes.dtype == torch.uint8 else (spikes.detach() != 0).to(torch.uint8))


def unpack(words: Tensor, T: int) -> Tensor:
    """Words [*N] into dense spikes [T, *N] uint8. Raises ValueError where T does not fit the words."""
    return _unpack(words, T)


def counts(words: Tensor) -> Tensor:
    """Spikes in each word: [*N] int32, in 0..32."""
    return _counts(words)


def _check_spikes(spikes: Tensor) -> None:
    if spikes.dtype != torch.uint8:
        raise TypeError(f"pack: spikes must be uint8, got {spikes.dtype}")
    if spikes.ndim < 1:
        raise ValueError("pack: spikes must be [T, *N], got a scalar")
    _checks.steps("pack", spikes.shape[0])


@torch.library.custom_op("fastsnn::pack", mutates_args=())
def _pack(spikes: Tensor) -> Tensor:
    _check_spikes(spikes)
    return choose("pack", BACKENDS, spikes)(spikes.contiguous())


@_pack.register_fake
def _(spikes: Tensor) -> Tensor:
    _check_spikes(spikes)
    return spikes.new_empty(spikes.shape[1:], dtype=word_dtype(spikes.shape[0]))


@torch.library.custom_op("fastsnn::unpack", mutates_args=())
def _unpack(words: Tensor, T: int) -> Tensor:
    _checks.words("unpack", words, T)
    return choose("unpack", UNPACK_BACKENDS, words)(words.contiguous(), T)


@_unpack.register_fake
def _(words: Tensor, T: int) -> Tensor:
    _checks.words("unpack", words, T)
    return words.new_empty((T, *words.shape), dtype=torch.uint8)


@torch.library.custom_op("fastsnn::counts", mutates_args=())
def _counts(words: Tensor) -> Tensor:
    _checks.words("counts", words, 1)
    return choose("counts", COUNTS_BACKENDS, words)(words.contiguous())


@_counts.register_fake
def _(words: Tensor) -> Tensor:
    _checks.words("counts", words, 1)
    return words.new_empty(words.shape, dtype=torch.int32)
