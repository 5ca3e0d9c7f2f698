"""fastsnn.fuse: somebody's spiking network as one that computes the same with fused layers."""

from typing import Any

from torch import Tensor, nn

from fastsnn.convert.quantise import FLOATING
from fastsnn.errors import ConversionError
from fastsnn.fuse.inside import replaced, takes_sequences
from fastsnn.fuse.loop import loops, unrolled
from fastsnn.fuse.network import FusedNetwork
from fastsnn.fuse.report import FUSED, STAYED, FuseReport, Row
from fastsnn.fuse.single import found, fused
from fastsnn.fuse.stages import FusedChain, chain


def fuse(model: nn.Module, example: Tensor, *, precision: str = "float32", spikes: bool = False) -> Any:
    """A spiking network as one that computes the same, all steps of a layer in one call; the given one is untouched.

    model      of SpikingJelly, snnTorch, Norse, sinabs or `fastsnn.nn`, in which a call is one step or, with neurons
               that take sequences (step mode "m"), all of them; used in eval mode, from its reset state
    example    a sequence [T, B, ...] floating, as the network sees it step by step; where neurons take sequences, or
               `forward` loops over the steps and hands states on (snnTorch), what `forward` takes
    precision  "float32" or "float64"
    spikes     the input is 0 or 1 at each step (events, rate-coded images): the first layer then adds a weight a spike.
               For networks that become one `FusedNetwork`

    Returns a `FusedNetwork` where the whole network is one step without anything that stays: it takes [T, B, ...] or,
    with timesteps=T, [B, ...]. Of a chain (nn.Sequential) in which some modules stay, a `FusedChain`, which takes
    [T, B, ...]. Of a network that loops over the steps a `FusedLoop`, and of another one whose own code handles them a
    copy with modules replaced: both are called as before. Each has a `report`.

    Weights are batch-normed, scaled and divided by thresholds once, in float64, so that sums differ from the library's
    by rounding: a potential that comes within that of its threshold may fire a step earlier or later.

    Raises ConversionError where nothing can be fused, with the reasons; TypeError or ValueError for bad arguments.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"fuse: model must be a torch.nn.Module, got {type(model).__name__}")
    if not isinstance(example, Tensor) or not example.is_floating_point() or example.ndim < 2:
        got = f"{example.dtype} {list(example.shape)}" if isinstance(example, Tensor) else type(example).__name__
        raise TypeError(f"fuse: example must be a floating-point tensor [T, B, ...], got {got}")
    if precision not in FLOATING:
        raise ValueError(f"fuse: precision must be one of {', '.join(FLOATING)}, got {precision!r}")
    if spikes and loops(model):
        raise ValueError(
            "fuse: spikes=True is for networks that become one FusedNetwork, and this one loops over steps"
        )
    if takes_sequences(model) and not spikes:
        return _inside(model, example, precision)
    if loops(model):
        network = unrolled(model, example, precision)
        network.report = FuseReport(_title(model), _rows(model, {""}, {}), (network.step.report,))
        return network
    try:
        whole = fused(model, example[0], precision, spikes)
    except ConversionError as error:
        if spikes:
            raise
        return _chain(model, example, precision, error)
    whole.report = FuseReport(_title(model), _rows(model, {""}, {}), (whole.report,))
    return whole


def _chain(model: nn.Module, example: Tensor, precision: str, reason: ConversionError) -> FusedChain:
    if not isinstance(model, nn.Sequential):
        raise reason
    try:
        parts = chain(model, example, precision)
    except ConversionError as error:
        raise ConversionError(f"{reason}; nor in parts: {error}") from error
    layers = tuple(part.report for part in parts.parts if isinstance(part, FusedNetwork))
    parts.report = FuseReport(_title(model), _rows(model, {""}, {}), layers)
    return parts


def _inside(model: nn.Module, example: Tensor, precision: str) -> nn.Module:
    network, done, why = replaced(model, example, precision)
    if not done:
        raise ConversionError("; ".join(f"{path or type(model).__name__}: {reason}" for path, reason in why.items()))
    report = FuseReport(_title(model), _rows(model, set(done), why), tuple(part.report for part in done.values()))
    network.report = report  # type: ignore[assignment]
    return network


def _rows(model: nn.Module, done: set[str], why: dict[str, str]) -> tuple[Row, ...]:
    """One row for each layer of neurons; `done` are the paths of what was fused."""
    rows = []
    for each in found(model):
        inside = any(path == "" or each.path == path or each.path.startswith(f"{path}.") for path in done)
        stays = each.what.stays or ("" if inside else why.get(each.path, "it is in no part that was fused"))
        if each.what.instead is None:
            rows.append(Row(each.path, type(each.module).__name__, STAYED if stays else FUSED, stays))
    return tuple(rows)


def _title(model: nn.Module) -> str:
    return f"{type(model).__name__}, fused"
