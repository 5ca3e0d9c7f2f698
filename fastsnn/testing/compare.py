"""Whether two results are the same, and if not, where they differ first."""

import torch
from torch import Tensor

SHOWN = 5


def spikes_equal(got: Tensor, want: Tensor, T: int) -> None:
    """Every spike equal, and no bit set beyond the T steps.

    got, want  words [*N] of one dtype

    Raises AssertionError naming the first neurons and steps that differ, with both values.
    """
    flips = _flips(got, want)
    beyond = _bits(got.cpu(), flips.shape[0])[T:].any(0).nonzero()
    if len(beyond):
        raise AssertionError(f"{len(beyond)} words have bits set beyond T={T}, first at {beyond[0].tolist()}")
    _report(flips, got, want, "spikes differ")


def spikes_equal_outside(got: Tensor, want: Tensor, T: int, margins: Tensor, bound: float | Tensor) -> None:
    """Spikes equal, except from a step on where rounding alone can have decided.

    got, want  words [*N] of one dtype
    margins    [T, *N]: |V - threshold| at each step, of the run that gave `want`
    bound      how far V may be off, a number or a tensor [T, *N]

    Of each neuron only the first differing step is judged: from there on the two potentials are a threshold apart.
    Raises AssertionError naming the first neurons and steps at fault, with both values.
    """
    flips = _flips(got, want)[:T]
    first = flips & (flips.cumsum(0) == 1)
    _report(first & (margins.cpu() > torch.as_tensor(bound).cpu()), got, want, "spikes differ beyond rounding")


def membranes_close(got: Tensor, want: Tensor, atol: float = 0.0) -> None:
    """Potentials equal to within `atol`, compared in 64 bits; NaN and infinity never pass.

    Raises AssertionError naming the first neurons that differ, with both values.
    """
    if got.shape != want.shape:
        raise AssertionError(f"membranes have different shapes: got {tuple(got.shape)}, want {tuple(want.shape)}")
    wide = torch.float64 if got.is_floating_point() or want.is_floating_point() else torch.int64
    got, want = got.detach().cpu().to(wide), want.detach().cpu().to(wide)
    # written so that a comparison with NaN counts as a difference
    wrong = (~((got - want).abs() <= atol)).nonzero()
    if len(wrong):
        rows = [f"{i} got {got[tuple(i)].item()!r}, want {want[tuple(i)].item()!r}" for i in wrong[:SHOWN].tolist()]
        raise AssertionError(f"{len(wrong)} of {got.numel()} membranes differ by more than {atol}: " + "; ".join(rows))


def _bits(words: Tensor, width: int) -> Tensor:
    return torch.stack([((words >> t) & 1).bool() for t in range(width)])


def _flips(got: Tensor, want: Tensor) -> Tensor:
    """[width, *N]: bits that differ, those beyond T included."""
    if got.shape != want.shape or got.dtype != want.dtype:
        raise AssertionError(
            f"words differ in form: got {tuple(got.shape)} {got.dtype}, want {tuple(want.shape)} {want.dtype}"
        )
    width = 8 * got.element_size()
    return _bits(got.cpu(), width) ^ _bits(want.cpu(), width)


def _report(flips: Tensor, got: Tensor, want: Tensor, what: str) -> None:
    at = flips.movedim(0, -1).nonzero()
    if not len(at):
        return
    rows = []
    for *neuron, t in at[:SHOWN].tolist():
        values = [(int(words[tuple(neuron)]) >> t) & 1 for words in (got, want)]
        rows.append(f"neuron {neuron} step {t}: got {values[0]}, want {values[1]}")
    neurons = int(flips.any(0).sum())
    raise AssertionError(f"{len(at)} {what}, in {neurons} of {got.numel()} neurons: " + "; ".join(rows))
