"""The checks that every family's door shares: raised alike by the op and by its fake, before an address is taken."""

import torch
from torch import Tensor

from fastsnn.firing import firing_of
from fastsnn.neurons import COMPARATORS
from fastsnn.ops._step import VALUES, goes_on, value_dtype
from fastsnn.spikes import MAX_STEPS, WORD_DTYPES, word_dtype

VALUE_DTYPES = (torch.float32, torch.float64, torch.int32, torch.int16)


def steps(op: str, T: int) -> None:
    if not 1 <= T <= MAX_STEPS:
        raise ValueError(f"{op}: T must be 1 to {MAX_STEPS} time-steps (longer runs go in chunks), got {T}")


def words(op: str, words: Tensor, T: int) -> None:
    steps(op, T)
    if words.dtype not in WORD_DTYPES:
        raise TypeError(f"{op}: words must be uint8, int16 or int32, got {words.dtype}")
    if T > 8 * words.element_size():
        raise ValueError(f"{op}: T={T} time-steps do not fit words of {words.dtype}")


def values(op: str, dtype: torch.dtype) -> None:
    if dtype not in VALUE_DTYPES:
        raise TypeError(f"{op}: values must be float32, float64, int32 or int16 (fixed point), got {dtype}")


def same(op: str, name: str, tensor: Tensor, dtype: torch.dtype, device: torch.device) -> None:
    if tensor.dtype != dtype:
        raise TypeError(f"{op}: {name} must be {dtype} like the other values, got {tensor.dtype}")
    if tensor.device != device:
        raise ValueError(f"{op}: {name} must be on {device} like the other tensors, got {tensor.device}")


def spreads(op: str, name: str, tensor: Tensor, shape: tuple[int, ...], meaning: str) -> None:
    """`tensor` broadcasts against the trailing dimensions of `shape`."""
    fits = tensor.ndim <= len(shape) and all(
        have in (1, want) for have, want in zip(reversed(tensor.shape), reversed(shape), strict=False)
    )
    if not fits:
        raise ValueError(f"{op}: {name} must spread over {meaning} {tuple(shape)}, got {tuple(tensor.shape)}")


def neuron(
    op: str,
    T: int,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
    v: Tensor,
    threshold: Tensor,
    bias: Tensor | None,
    reset: str,
    comparator: str,
) -> None:
    """Everything a neuron of shape *N needs over T steps, whatever produces its current."""
    steps(op, T)
    values(op, dtype)
    try:
        firing = firing_of(reset)
    except ValueError as error:
        raise ValueError(f"{op}: {error}") from error
    if dtype == torch.int16 and firing.gains(T) is not None:
        raise TypeError(f"{op}: potentials that leak or grow need more than the 16 bits of {dtype}")
    for name, tensor in (("v", v), ("threshold", threshold)):
        same(op, name, tensor, dtype, device)
        if name == "v" and goes_on(firing, v, shape):
            if tuple(v.shape) != firing.state_of(shape):
                raise ValueError(
                    f"{op}: v must be potentials and counts [2, *N] = {firing.state_of(shape)}, got {tuple(v.shape)}"
                )
            continue
        spreads(op, name, tensor, shape, "the neurons [*N] =")
    if bias is not None:
        same(op, "bias", bias, dtype, device)
        spreads(op, "bias", bias, (T, *shape), "[T, *N] =")
    if comparator not in COMPARATORS:
        raise ValueError(f"{op}: comparator must be one of {COMPARATORS}, got {comparator!r}")


def terms(op: str, words_list: list[Tensor], weights: list[Tensor], T: int) -> None:
    """Several inputs of one neuron: as many weights as words, one dtype of values, one device, one batch size."""
    if not words_list or len(words_list) != len(weights):
        raise ValueError(
            f"{op}: needs one weight for each words tensor, got {len(words_list)} words, {len(weights)} weights"
        )
    device, dtype = words_list[0].device, value_dtype(weights[0].dtype)
    values(op, dtype)
    for i, (w, weight) in enumerate(zip(words_list, weights, strict=True)):
        words(op, w, T)
        if value_dtype(weight.dtype) != dtype:
            narrow = [str(narrow) for narrow, wide in VALUES.items() if wide == dtype]
            wanted = " or ".join([str(dtype), *narrow])
            raise TypeError(f"{op}: weights[{i}] must be {wanted} like the other values, got {weight.dtype}")
        same(op, f"weights[{i}]", weight, weight.dtype, device)
        if w.device != device or w.ndim < 2 or w.shape[0] != words_list[0].shape[0]:
            raise ValueError(
                f"{op}: every words tensor must be [B, ..., C] with one batch size on one device, got "
                f"{[(tuple(x.shape), str(x.device)) for x in words_list]}"
            )


def results(like: Tensor, dtype: torch.dtype, shape: tuple[int, ...], T: int, reset: str) -> tuple[Tensor, Tensor]:
    """What an operator gives for neurons of a shape, not filled in: words and states, on the device of `like`."""
    firing = firing_of(reset)
    words = like.new_empty(firing.words_of(shape), dtype=word_dtype(T))
    return words, like.new_empty(firing.state_of(shape), dtype=dtype)
