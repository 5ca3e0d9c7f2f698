"""restart: where neurons have to start to fire one spike more, or less, as a first run shows that they were off."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import call_directly, compiles, dense, forced_backends_answer, keeps_the_contract, pairs, refuses

from fastsnn.ops.if_steps import if_steps
from fastsnn.ops.pack import counts
from fastsnn.ops.restart import op, restart
from fastsnn.testing.cases import lattice, random_words

DOOR = torch.ops.fastsnn.restart


def arguments(**change):
    return {
        "words": [torch.zeros(2, 3, dtype=torch.uint8)] * 4,
        "v": [torch.zeros(2, 3)] * 4,
        "threshold": torch.ones(()),
        "start": torch.ones(()),
    } | change


def naive(words, v, threshold, start):
    """One neuron after the other, in fractions."""
    shape, whole = v[0].shape, not v[0].is_floating_point()
    spikes = torch.stack([dense(w, 1)[0].flatten() for w in words], 1).tolist()
    after = torch.stack([x.cpu().double().flatten() for x in v], 1).tolist()
    theta, begin = (x.cpu().double().expand(shape).flatten().tolist() for x in (threshold, start))
    found = []
    for n, (fires, ends) in enumerate(zip(spikes, after, strict=True)):
        unit = Fraction(theta[n])
        before = [Fraction(end) + unit * fired for end, fired in zip(ends, fires, strict=True)]
        fired = [x for x, spike in zip(before, fires, strict=True) if spike]
        missed = [x for x, spike in zip(before, fires, strict=True) if not spike]
        at = Fraction(begin[n])
        if ends[-1] < 0 and fired:
            at -= max(unit, min(fired) - Fraction(999, 1000) * unit)
        elif ends[-1] >= unit and missed:
            at += max(unit, Fraction(1001, 1000) * unit - max(missed))
        # ties go to the even number in Python too
        found.append(min(max(round(at), -(2**30)), 2**30) if whole else float(at))
    return torch.tensor(found, dtype=torch.float64).reshape(shape)


@pairs("restart", op.BACKENDS)
def test_matches_the_neuron_written_out(backend, case, device):
    args = case.arguments(device)
    out = call_directly(backend, args)
    assert out.dtype == args[1][0].dtype
    # 0.999 and 1.001 are no fractions of two: a sum of few doubles, and the rounding of a float32
    rounding = 0 if out.dtype == torch.int32 else 1e-14 if out.dtype == torch.float64 else 2**-23
    torch.testing.assert_close(out.cpu().double(), naive(*args), rtol=rounding, atol=rounding)
    # backends agree to the last bit
    assert torch.equal(out.cpu(), restart(*(_on_cpu(x) for x in args)))


def _on_cpu(x):
    return [y.cpu() for y in x] if isinstance(x, list) else x.cpu()


def test_hand_example():
    # threshold 1000, potentials after three steps, the spikes, and what is added to a start of 500
    rows = [
        ((100, 400, -50), (1, 1, 1), -1000),  # too many; the weakest spike was at 950, 49 less is less than 1000
        ((900, 1800, -10), (1, 1, 1), -1000),  # at 990
        ((1300, 1200, -1), (1, 1, 0), -1201),  # at 2200 - 999
        ((1200, 300, 1000), (1, 0, 1), 1000),  # too few; the closest was at 300, 701 are less than 1000
        ((-700, -600, 1000), (0, 0, 1), 1601),  # at -600
        ((300, 999, 0), (0, 1, 0), 0),  # right
        ((-9, -8, -7), (0, 0, 0), 0),  # nothing fired that could be kept from it
        ((2000, 2000, 2000), (1, 1, 1), 0),  # nothing did not fire
    ]
    v = [torch.tensor([row[0][t] for row in rows], dtype=torch.int32) for t in range(3)]
    words = [torch.tensor([row[1][t] for row in rows], dtype=torch.uint8) for t in range(3)]
    assert restart(words, v, 1000, 500).tolist() == [500 + row[2] for row in rows]
    # in fixed point starts stay within what a potential may be
    far = torch.tensor([2**30], dtype=torch.int32)
    assert restart([far & 0, far | 1], [-far, far], 1000, 2**30 - 1).tolist() == [2**30]


@given(st.integers(1, 8), st.integers(0, 2**32))
def test_laws(steps, seed):
    g = torch.Generator().manual_seed(seed)
    currents, start = lattice(g, (steps, 200), -6, 12, torch.float64), torch.tensor(0.5, dtype=torch.float64)
    words, potentials, v = [], [], start
    for current in currents:
        word, v = if_steps(current[None], 1.0, v)
        words.append(word)
        potentials.append(v)
    first, second = (counts(if_steps(currents, 1.0, at)[0]) for at in (start, restart(words, potentials, 1.0, start)))
    # who was right starts as before; who was not comes no further from what the sum allows
    right = (v >= 0) & (v < 1)
    assert torch.equal(first[right], second[right])
    ideal = (currents.sum(0) + 0.5).floor().clamp(0, steps)
    assert ((second - ideal).abs() <= (first - ideal).abs() + 1).all()
    # bits behind that of the step do not matter
    assert torch.equal(restart([w | 0b10 for w in words], potentials, 1.0, 0.5), restart(words, potentials, 1.0, 0.5))


def test_keeps_the_contract_with_torch():
    for steps, shape in ((4, (2, 3)), (1, (63,)), (2, (3, 0))):
        words = [random_words(torch.Generator().manual_seed(t), shape, 1) for t in range(steps)]
        keeps_the_contract(DOOR, (words, [torch.randn(shape) for _ in words], torch.ones(shape[-1:]), torch.ones(())))
    turned = [torch.zeros(2, 3, dtype=torch.int16).T], [torch.zeros(2, 3, dtype=torch.int32).T]
    keeps_the_contract(DOOR, (*turned, *[torch.ones((), dtype=torch.int32)] * 2))


def test_compiles_as_one_graph():
    def layer(current):
        words, v = if_steps(current[None], 1.0, 0.5)
        return restart([words], [v], 1.0, 0.5)

    compiles(layer, torch.rand(5, 3))


@pytest.mark.parametrize(
    "change, error, match",
    [
        ({"words": [], "v": []}, ValueError, "potentials of 1 to 32 steps, got 0 words, 0 potentials"),
        ({"words": [torch.zeros(2, 3, dtype=torch.uint8)]}, ValueError, "got 1 words, 4 potentials"),
        ({"words": [torch.zeros(2, 3)] * 4}, TypeError, "words must be uint8, int16 or int32, got torch.float32"),
        ({"v": [torch.zeros(2, 3, dtype=torch.int16)] * 4}, TypeError, "v must be float32, .* got torch.int16"),
        ({"v": [torch.zeros(2, 3)] * 3 + [torch.zeros(2, 3).double()]}, TypeError, r"v\[3\] must be torch.float32"),
        ({"v": [torch.zeros(2, 3)] * 3 + [torch.zeros(3)]}, ValueError,
         r"v\[3\] must have the shape of words\[0\] \(2, 3\), got \(3,\)"),
        ({"v": [torch.zeros(2, 3, device="meta")] * 4}, ValueError, r"v\[0\] must be on cpu .*got meta"),
        ({"threshold": torch.ones((), dtype=torch.int32)}, TypeError, "threshold must be torch.float32"),
        ({"start": torch.ones(3, device="meta")}, ValueError, "start must be on cpu .*got meta"),
        ({"start": torch.ones(2)}, ValueError, r"start must spread over the neurons \[\*N\] = \(2, 3\), got \(2,\)"),
    ],
)  # fmt: skip
def test_refuses(change, error, match):
    refuses(DOOR, arguments(**change), error, f"restart: .*{match}")


def test_no_steps_at_all_are_refused_before_anything_is_looked_at():
    with pytest.raises(ValueError, match="restart: needs the words and potentials of 1 to 32 steps, got none"):
        restart([], [])


def test_a_forced_backend_that_cannot_run_gives_every_reason(monkeypatch):
    words, v = torch.zeros(3, dtype=torch.uint8), torch.zeros(3)
    forced_backends_answer(monkeypatch, lambda: restart([words], [v]), op.BACKENDS)


def test_layout_does_not_matter(device):
    g = torch.Generator().manual_seed(4)
    words = [random_words(g, (7, 9, 4), 1).to(device).permute(2, 1, 0)[:, ::2] for _ in range(3)]
    v = [lattice(g, (7, 9, 4), -9, 20, torch.float32).to(device).permute(2, 1, 0)[:, ::2] for _ in range(3)]
    out, threshold = restart(words, v, 0.5, 0.25), torch.full((5, 7), 0.5, device=device)
    assert out.is_contiguous()
    assert torch.equal(out, restart([x.contiguous() for x in words], [x.contiguous() for x in v], threshold, 0.25))


def test_no_neurons_and_one_neuron(device):
    none = torch.zeros(0, 3, dtype=torch.int16, device=device)
    assert restart([none], [none.float()]).shape == (0, 3)
    one = torch.tensor(1, dtype=torch.uint8, device=device)
    assert restart([one], [torch.tensor(-0.5, device=device)]).item() == -1
