"""Neurons that emit more than a binary spike, or leak: the definition against a naive one, backends against it."""

from math import floor, prod

import pytest
import torch
from graded import ALL, GAINS, NEURONS, elementwise, layer, rules
from support import call_directly, keeps_the_contract, tensors

from fastsnn._registry import load
from fastsnn.neurons import code_of
from fastsnn.ops import conv_if, if_constant, if_steps, linear_if
from fastsnn.ops._step import count_unit

FAMILIES = {"if_steps": if_steps, "if_constant": if_constant, "conv_if": conv_if, "linear_if": linear_if}
OTHERS = [
    pytest.param(op, backend, id=f"{op}-{backend.name}")
    for op, family in FAMILIES.items()
    for backend in family.op.BACKENDS
    if backend.name != "reference"
]
NAMES = pytest.mark.parametrize("name", ALL)
LAYERS = {"conv_if": ("3x3", "residual", "grouped"), "linear_if": (1, 3)}


def slow(backend):
    """Whether a kernel is interpreted here: its steps are written out, and each takes a while."""
    return backend.name == "triton" and not torch.cuda.is_available()


def calls(*ops):
    """(op, backend, T), T of each word and of a single step; one of them where kernels are interpreted."""
    found = [p for p in OTHERS if p.values[0] in ops]
    return [
        pytest.param(op, backend, T, id=f"{op}-{backend.name}-T{T}")
        for op, backend in (p.values for p in found)
        for T in ((9,) if slow(backend) else (9, 32))
    ]


def reference(op, args):
    backend = next(b for b in FAMILIES[op].op.BACKENDS if b.name == "reference")
    return load(backend.target)(*args)


def naive(current, v, threshold, bias, neuron, first=0):
    """One neuron after the other in Python's own numbers: (emitted [T, *N], v, count in levels)."""
    T, *shape = current.shape
    exact = not current.is_floating_point()
    kind = torch.int64 if exact else torch.float64
    columns = (current.to(kind) + (0 if bias is None else bias.to(kind))).reshape(T, prod(shape)).T.tolist()
    start, theta = (x.to(kind).expand(shape).reshape(-1).tolist() for x in (v, threshold))
    firing, narrow = neuron.firing, v.dtype == torch.int16
    unit = count_unit(v.dtype)
    emitted, ends, counts = [], [], []
    for n, column in enumerate(columns):
        V, N, out = start[n], 0, []
        for i, drive in enumerate(column):
            t = first + i + 1
            gain = (1 / (t - 1) if t > 1 else 0) if firing.differential else firing.leak - 1
            if exact:
                fixed = round(gain * 2**15)
                V = grown(V, fixed)
                N = grown(N, fixed) if firing.differential else N
            else:
                V, N = V + V * gain, N + (N * gain if firing.differential else 0)
            V += drive
            V = (V + 2**15) % 2**16 - 2**15 if narrow else V
            k, fired = 0, False
            for amplitude, level in firing.planes:
                at = (theta[n] * level) // 4 if exact else theta[n] * level / 4
                if firing.single and fired:
                    continue
                if amplitude > 0:
                    on = V >= at if neuron.comparator == ">=" else V > at
                    cap = firing.most if not firing.by_step else min(firing.most, t)
                    on = on and (cap is None or N + amplitude * unit <= cap * unit)
                else:
                    on = (V < -at if firing.below else V <= -at) and N >= -amplitude * unit
                if on:
                    fired, k, N = True, k + amplitude, N + amplitude * unit
                    V = V - amplitude * theta[n] if firing.reset == "soft" else V
            V = 0 if fired and firing.reset == "hard" else V
            if exact:
                limit = 2**14 if narrow else 2**30
                V = min(max(V, -limit), limit)
            out.append(k)
        emitted.append(out)
        ends.append(V)
        counts.append(N)
    emitted = torch.tensor(emitted).reshape(*shape, T).movedim(-1, 0)
    return emitted, torch.tensor(ends, dtype=kind).reshape(shape), torch.tensor(counts, dtype=kind).reshape(shape)


def grown(V, fixed):
    """A whole number with a gain in units of 2^-15, within what fits 32 bits."""
    held = min(max(V, -(2**29)), 2**29)
    return min(max(V + floor(held * fixed / 2**15), -(2**30)), 2**30)


def emitted(words, neuron, T):
    """What the planes of a neuron are worth at each step: int64 [T, *N]."""
    planes = words if len(neuron.firing.planes) > 1 else words[None]
    bits = torch.stack([torch.stack([(w.long() >> t) & 1 for t in range(T)]) for w in planes])
    return torch.tensordot(torch.tensor(neuron.firing.amplitudes), bits, dims=1)


def dtypes(name):
    floats_and_wide = (torch.int32, torch.float64, torch.float32)
    return floats_and_wide if name in GAINS else (*floats_and_wide, torch.int16)


@NAMES
@pytest.mark.parametrize("T", [1, 9, 32])
def test_the_reference_is_the_naive_neuron(name, T):
    neuron = ALL[name]
    for seed, dtype in enumerate(dtypes(name)):
        # Python's numbers are those of float64 and of whole numbers
        if dtype == torch.float32 and name in GAINS:
            continue
        current, v, threshold, bias, *_ = args = elementwise("if_steps", name, T, dtype, seed)
        words, after = reference("if_steps", args)
        want, end, count = naive(current, v, threshold, bias, neuron)
        assert torch.equal(emitted(words, neuron, T), want)
        state = after if neuron.firing.counted else after[None]
        assert torch.equal(state[0].to(end.dtype), end)
        if neuron.firing.counted:
            assert torch.equal(state[1].to(count.dtype), count)


def test_every_plane_is_used():
    """Otherwise what is compared would say little."""
    for name in NEURONS:
        words, _ = reference("if_steps", elementwise("if_steps", name, 32, torch.int32))
        assert all(bool(plane.any()) for plane in words), name


@NAMES
@pytest.mark.parametrize("op, backend, T", calls("if_steps", "if_constant"))
def test_neurons_of_every_backend(op, backend, name, T):
    for seed, dtype in enumerate(dtypes(name)):
        args = elementwise(op, name, T, dtype, seed)
        same(call_directly(backend, args), reference(op, args))


@NAMES
@pytest.mark.parametrize("op, backend, T", calls("conv_if", "linear_if"))
def test_layers_of_every_backend(op, backend, name, T):
    # with a gain, potentials are no lattice and sums of floating-point numbers depend on their order
    kinds = (torch.int32,) if name in GAINS else (torch.int32, torch.float32, torch.int16, torch.int8)
    cases = LAYERS[op]
    if slow(backend):
        kinds, cases = kinds[:1], cases[:1]
    for seed, dtype in enumerate(kinds):
        for case in cases:
            args, shape = layer(case, name, T, dtype, seed)
            more = (shape,) if op == "conv_if" else ()
            same(call_directly(backend, args, *more), reference(op, (*args, *more)))


@NAMES
@pytest.mark.parametrize("op, backend", [*OTHERS, pytest.param("if_steps", if_steps.op.BACKENDS[-1], id="reference")])
def test_a_run_in_two_parts_is_the_run(op, backend, name):
    T, first = (8, 3) if slow(backend) else (16, 5)
    if op in LAYERS:
        (words, weights, v, threshold, bias, _, *geometry, _, _), shape = layer(LAYERS[op][0], name, T, torch.int32, 1)
        more = (shape,) if op == "conv_if" else ()
        parts = [
            ([w & (2**first - 1) for w in words], first, 0),
            ([(w >> first) & (2 ** (T - first) - 1) for w in words], T - first, first),
        ]

        def run(part, steps, start, begun):
            return call_directly(
                backend, (part, weights, start, threshold, bias, steps, *geometry, *rules(name, begun)), *more
            )

        want = run(words, T, v, 0)
    else:
        current, v, threshold, bias, *_ = elementwise(op, name, T, torch.int32, 1)
        each = op == "if_steps"
        parts = [
            (current[:first] if each else current, first, 0),
            (current[first:] if each else current, T - first, first),
        ]

        def run(part, steps, start, begun):
            return call_directly(
                backend, (part, start, threshold, bias, *([] if each else [steps]), *rules(name, begun))
            )

        want = run(current, T, v, 0)
    joined = 0
    for part, steps, begun in parts:
        out, v = run(part, steps, v, begun)
        joined = joined | (out.long() << begun)
    assert torch.equal(joined & (2**T - 1), want[0].long() & (2**T - 1))
    assert torch.equal(v, want[1])


def same(got, want):
    """Words and states are the same numbers of the same kind."""
    for a, b in zip(tensors([got]), tensors([want]), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        assert torch.equal(a, b)


def test_the_comparison_can_fail():
    words, state = reference("if_steps", elementwise("if_steps", "signed", 9, torch.int32))
    other = words.clone()
    other[1, 0, 0, 0] ^= 1
    with pytest.raises(AssertionError):
        same((other, state), (words, state))


@pytest.mark.parametrize("name", ["burst", "signed", "leaky"])
def test_the_doors_keep_their_contract(name):
    current, v, threshold, bias, *_ = elementwise("if_steps", name, 4, torch.int32)
    keeps_the_contract(torch.ops.fastsnn.if_steps, (current, v, threshold, bias, *rules(name)))
    (words, weights, v, threshold, bias, T, *geometry, _, _), _ = layer("3x3", name, 4, torch.int32)
    keeps_the_contract(torch.ops.fastsnn.conv_if, (words, weights, v, threshold, bias, T, *geometry, *rules(name)))


def test_states_of_another_shape_and_narrow_gains_are_refused():
    current = torch.zeros(4, 2, 3, dtype=torch.int32)
    with pytest.raises(ValueError, match=r"v must be potentials and counts \[2, \*N\] = \(2, 2, 3\), got \(2, 2, 4\)"):
        if_steps.if_steps(current, 1, torch.zeros(2, 2, 4, dtype=torch.int32), neuron=ALL["signed"])
    with pytest.raises(TypeError, match="potentials that leak or grow need more than the 16 bits"):
        if_steps.if_steps(current.short(), 1, 0, neuron=ALL["leaky"])
    assert code_of(None, "hard", ">") == ("hard", ">")
