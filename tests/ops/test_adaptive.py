"""adaptive_steps: neurons whose threshold follows potential and current; every backend the same to the last bit."""

from dataclasses import astuple, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import call_directly, compiles, dense, forced_backends_answer, keeps_the_contract, pairs, refuses

from fastsnn.emission import emitted
from fastsnn.neurons import Adaptive
from fastsnn.ops.adaptive import adaptive_steps, op, reference

DOOR = torch.ops.fastsnn.adaptive_steps
NUMBERS = list(astuple(Adaptive()))
AMPLITUDES = Adaptive().firing.amplitudes
ROUNDING = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}


def arguments(**change):
    return {
        "currents": torch.zeros(4, 2, 3),
        "v": torch.zeros(()),
        "bias": None,
        "T": 4,
        "numbers": NUMBERS,
        "first": 0,
    } | change


def drawn(T, n=400, seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    return (180 * torch.randn(T, n, generator=g, dtype=torch.float64) + 256 * torch.rand(n, generator=g)).to(dtype)


@pairs("adaptive_steps", op.BACKENDS)
def test_is_the_definition(backend, case, device):
    args = case.arguments(device)
    words, state = call_directly(backend, args)
    wanted, after = reference.adaptive_steps(*case.arguments())
    assert words.dtype == wanted.dtype and state.dtype == args[0].dtype and words.device == args[0].device
    assert torch.equal(words.cpu(), wanted) and torch.equal(state.cpu(), after)


def test_cases_move_thresholds():
    from fastsnn.testing.cases import CASES

    levels = set()
    for case in CASES["adaptive_steps"]:
        args = case.arguments()
        words, _ = reference.adaptive_steps(*args)
        levels |= {n for t in range(args[3]) for n in emitted(words, AMPLITUDES, t).unique().tolist()}
    assert len(levels) > 200 and {0, 1, 255, 256} <= levels


def unlike(got, wanted, T, held, current, numbers):
    """Neurons that differ first where a threshold is not next to being rounded to another multiple of 1/256.

    got, wanted    words [9, N] of two runs
    held, current  [T, N] of the second: potentials and their means before each step, and what drives it
    """
    a, ka, ki, c, tau_mp, tau_rd = numbers
    unit = ROUNDING[current.dtype]
    v, mean, drive = (x.double() / 256 for x in (*held, current))
    above, soft = v - mean, torch.nn.functional.softplus((v - mean) / ki)
    exponent = (-drive / c).clamp(-80, 80)
    evoked = tau_rd * exponent.exp()
    z = tau_mp * (a * above - 1 + ka * soft) + evoked
    # until they first differ the two have the same v and sums. In units of the last place: means differ by 3 of
    # themselves, what is above them by 2 more, and its share in z is no steeper than a + ka / ki. Of the terms each
    # has at most 8 operations and functions on its way, of two runs, one unit each, two a function
    terms = tau_mp * (a * above.abs() + 1 + ka * soft + ka * above.abs() / ki)
    off = 3 * tau_mp * (a + ka / ki) * mean.abs() + 24 * terms + (8 * exponent.abs() + 16) * evoked + z.abs()
    # the sigmoid has a slope of h (256 - h) / 256; its exponential and its quotient are off by 4 units a run
    h = 256 * torch.sigmoid(z)
    most = unit * (1.01 * h * (256 - h) / 256 * (off + 8) + 8 * h)
    near = (h - h.floor() - 0.5).abs() <= most
    assert near.double().mean() < 1e-2, "most differences would be found to be rounding"
    differs = torch.stack([emitted(got, AMPLITUDES, t) != emitted(wanted, AMPLITUDES, t) for t in range(T)])
    first = differs & (differs.cumsum(0) == 1)
    return (first & ~near).any(0).nonzero().flatten().tolist()


def library(currents, numbers):
    """The definition with torch's exponentials in place of its own: words, and what thresholds were found from."""
    a, ka, ki, c, tau_mp, tau_rd = numbers
    v = total = torch.zeros_like(currents[0])
    words, held = torch.zeros((9, *v.shape), dtype=torch.int64), []
    shifts = torch.arange(8, -1, -1)[:, None]
    for t, current in enumerate(currents):
        mean = total / max(t, 1)
        held.append((v, mean))
        above = (v - mean) / 256
        follows = tau_mp * (a * above - 1 + ka * torch.logaddexp(above / ki, torch.zeros_like(v)))
        evoked = tau_rd * (-current / (256 * c)).clamp(max=80).exp()
        level = (256 * torch.sigmoid(follows + evoked)).round().clamp(1, 255) if t else torch.full_like(v, 256)
        v = v + current
        out = level * (v >= level)
        v = v - out
        total = total + v
        words |= ((out.long() >> shifts) & 1) << t
    return words, tuple(torch.stack(x) for x in zip(*held, strict=True))


@pytest.mark.parametrize("dtype", op.VALUES)
@pytest.mark.parametrize("numbers", [NUMBERS, [0.3, 1.0, 1.0, 5.0, 0.2, 0.1]])
def test_other_exponentials_differ_only_next_to_a_tie(numbers, dtype):
    T, x = 12, drawn(12, 100000, dtype=dtype)
    words, held = library(x, numbers)
    ours, _ = adaptive_steps(x, T, 0.0, Adaptive(*numbers))
    assert unlike(ours, words, T, held, x, numbers) == []
    # and what is more than rounding is found: a threshold that is off by a thousandth of its part
    other = replace(Adaptive(*numbers), tau_mp=numbers[4] * 1.001)
    assert len(unlike(adaptive_steps(x, T, 0.0, other)[0], words, T, held, x, numbers)) > 100


def test_hand_example():
    # without the two parts the threshold is half of theta, 128, after a first step of 256
    neuron = Adaptive(tau_mp=0.0, tau_rd=0.0)
    x = torch.tensor([[255.0, 256.0, 300.0], [0.0, 0.0, 84.0], [100.0, 0.0, 0.0]])
    words, (v, sums) = adaptive_steps(x, 3, 0.0, neuron)
    assert torch.stack([emitted(words, AMPLITUDES, t) for t in range(3)]).tolist() == [
        [0, 256, 256],
        [128, 0, 128],
        [128, 0, 0],
    ]
    assert v.tolist() == [99.0, 0.0, 0.0] and sums.tolist() == [255.0 + 127 + 99, 0.0, 44.0 + 0 + 0]


@given(st.integers(1, 32), st.integers(0, 2**32), st.sampled_from(op.VALUES))
def test_no_charge_is_lost(T, seed, dtype):
    x = drawn(T, 50, seed, dtype).round()
    words, state = adaptive_steps(x, T, 17.0, Adaptive())
    out = torch.stack([emitted(words, AMPLITUDES, t) for t in range(T)])
    # whole numbers: nothing is rounded
    assert torch.equal(out.sum(0) + state[0].double(), 17 + x.double().sum(0))
    assert out[1:].numel() == 0 or out[1:].max() < 256
    assert set(out[0].tolist()) <= {0, 256}


@pytest.mark.parametrize("backend", op.BACKENDS, ids=lambda b: b.name)
def test_chunks_are_the_whole_run(backend, device):
    x = drawn(32, 150).to(device)
    start = x.new_tensor(20.0)
    words, after = call_directly(backend, (x, start, None, 32, NUMBERS, 0))
    found, state, first = torch.zeros(words.shape, dtype=torch.int64, device=device), start, 0
    for T in (1, 10, 5, 16):
        part, state = call_directly(backend, (x[first : first + T].contiguous(), state, None, T, NUMBERS, first))
        found |= (part.long() & (2**T - 1)) << first
        first += T
    assert torch.equal(found, words.long() & (2**32 - 1)) and torch.equal(state, after)


def test_a_current_for_all_steps_and_a_bias_are_currents():
    x, bias = drawn(9), drawn(9, seed=1)
    neuron = Adaptive()
    wanted = adaptive_steps(x[0] + bias, 9, 0.0, neuron)
    for found in (
        adaptive_steps(x[:1], 9, 0.0, neuron, bias=bias),
        adaptive_steps(bias, 9, 0.0, neuron, bias=x[0]),
        adaptive_steps(x[:1].expand(9, -1), 9, torch.zeros(400).double(), neuron, bias=bias),
    ):
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert torch.equal(dense(wanted[0], 9).sum(0) > 0, wanted[0] != 0)


def test_keeps_the_contract_with_torch():
    for T, shape in ((4, (2, 3)), (9, (63,)), (32, (3, 0))):
        x = 100 * torch.randn(T, *shape)
        keeps_the_contract(DOOR, (x, torch.zeros(()), torch.zeros(shape[-1:]), T, NUMBERS, 0))
        keeps_the_contract(DOOR, (x[:1], torch.zeros(2, *shape), None, T, NUMBERS, 3))
    keeps_the_contract(DOOR, (torch.zeros(3, 2, 4).permute(1, 2, 0), torch.zeros(3), None, 2, NUMBERS, 0))


def test_compiles_as_one_graph():
    neuron = Adaptive()
    compiles(lambda x: adaptive_steps(x, 5, 0.0, neuron), 300 * torch.rand(5, 4, 3))


def test_spikes_carry_no_gradient():
    x = torch.ones(2, 3, requires_grad=True)
    with pytest.raises(RuntimeError, match="no autograd formula"):
        adaptive_steps(x, 2, 0.0, Adaptive())[1].sum().backward()


@pytest.mark.parametrize(
    "change, error, match",
    [
        ({"T": 0}, ValueError, "T must be 1 to 32 .*got 0"),
        ({"T": 33}, ValueError, "T must be 1 to 32 .*got 33"),
        ({"T": 3}, ValueError, r"currents must be \[T, \*N\] or \[1, \*N\] with T = 3, got \(4, 2, 3\)"),
        ({"currents": torch.zeros(())}, ValueError, r"currents must be .*got \(\)"),
        ({"currents": torch.zeros(4, 2, 3).int()}, TypeError, "currents must be float32 or float64, got torch.int32"),
        ({"v": torch.zeros(()).double()}, TypeError, "v must be torch.float32 .*got torch.float64"),
        ({"v": torch.zeros((), device="meta")}, ValueError, "v must be on cpu .*got meta"),
        ({"v": torch.zeros(2, 2, 3)}, ValueError, r"v must spread over the neurons \[\*N\] = \(2, 3\)"),
        ({"first": 2}, ValueError, r"v must be the state \[2, \*N\] = \(2, 2, 3\) .*got \(\)"),
        ({"first": -1}, ValueError, "first is how many steps were run before, got -1"),
        ({"bias": torch.zeros(3).double()}, TypeError, "bias must be torch.float32 .*got torch.float64"),
        ({"bias": torch.zeros(3, device="meta")}, ValueError, "bias must be on cpu .*got meta"),
        ({"bias": torch.zeros(2)}, ValueError, r"bias must spread over \[T, \*N\] = \(4, 2, 3\), got \(2,\)"),
        ({"numbers": NUMBERS[:5]}, ValueError, "a neuron has six numbers, got 5"),
    ],
)
def test_refuses(change, error, match):
    refuses(DOOR, arguments(**change), error, f"adaptive_steps: .*{match}")


def test_a_forced_backend_that_cannot_run_gives_every_reason(monkeypatch):
    forced_backends_answer(monkeypatch, lambda: adaptive_steps(torch.zeros(4, 3), 4, 0.0, Adaptive()), op.BACKENDS)


def test_layout_does_not_matter(device):
    x = drawn(9, 56).reshape(9, 7, 8).to(device)
    turned = x.permute(0, 2, 1)[:, ::2]
    out = adaptive_steps(turned, 9, 0.0, Adaptive())
    wanted = adaptive_steps(turned.contiguous(), 9, 0.0, Adaptive())
    assert all(a.is_contiguous() and torch.equal(a, b) for a, b in zip(out, wanted, strict=True))


def test_no_neurons_and_one_neuron(device):
    words, state = adaptive_steps(torch.zeros(4, 0, 3, device=device), 4, 0.0, Adaptive())
    assert words.shape == (9, 0, 3) and state.shape == (2, 0, 3)
    words, state = adaptive_steps(torch.tensor([300.0, 0.0], device=device), 2, 0.0, Adaptive())
    assert words.shape == (9,) and words[0].item() == 1
