"""What the tests of several families share: the neuron written out, backends called directly, the door's contract."""

from math import prod

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from fastsnn import _cuda, _env, _registry
from fastsnn.errors import BackendUnavailable
from fastsnn.testing.cases import CASES

LIMIT = 2**30
LIMIT_16 = 2**14
WORD = {8: torch.uint8, 16: torch.int16, 32: torch.int32}


def pairs(op, backends):
    """Every backend with every case of an op."""
    return pytest.mark.parametrize(
        "backend, case", [pytest.param(b, c, id=f"{b.name}-{c.name}") for b in backends for c in CASES[op]]
    )


def call_directly(backend, args, *more):
    """One backend's own function, not the dispatcher's choice; checks that inputs are untouched and not returned."""
    if why := cannot(backend, args):
        pytest.skip(f"{backend.name}: {why}")
    before = [x.clone() for x in tensors(args)]
    result = _registry.load(backend.target)(*args, *more)
    for given, copy in zip(tensors(args), before, strict=True):
        assert torch.equal(given, copy), "an input was changed"
    for out in tensors([result]):
        assert out.is_contiguous()
        assert out.numel() == 0 or all(out.data_ptr() != given.data_ptr() for given in tensors(args))
    return result


def cannot(backend, args):
    """Why a backend does not take these arguments even when it is asked for, or None."""
    first = [a[0] for a in args[:2]] if isinstance(args[0], list) else args[:1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_env, "BACKEND", backend.name)
        return backend.absent() or backend.refuse(*first)


def tensors(args):
    for x in args:
        if isinstance(x, torch.Tensor):
            yield x
        elif isinstance(x, list | tuple):
            yield from tensors(x)


def dense(words, T):
    """Words into spikes [T, *N] int64, as the bits of 64-bit numbers."""
    return torch.stack([(words.cpu().long() >> t) & 1 for t in range(T)])


def words_of(spikes):
    """Spikes [T, *N] into words, as sums of powers of two."""
    T = spikes.shape[0]
    width = next(w for w in WORD if w >= T)
    total = torch.zeros(spikes.shape[1:], dtype=torch.int64)
    for t in range(T):
        total += spikes[t].cpu().long() * 2**t
    return total.to(WORD[width])


def naive_if(current, v, threshold, bias=None, reset="soft", comparator=">="):
    """One neuron after the other in Python's own numbers: (words [*N], v [*N] in 64 bits), from currents [T, *N].

    Potentials v of int16 mean sums that wrap at 16 bits.
    """
    T, *shape = current.shape
    narrow = v.dtype == torch.int16
    limit = LIMIT_16 if narrow else LIMIT
    exact = not current.is_floating_point()
    wide = torch.int64 if exact else torch.float64
    current = current.cpu().to(wide)
    if bias is not None:
        current = current + bias.cpu().to(wide)
    columns = current.reshape(T, prod(shape)).T.tolist()
    start, theta = (x.cpu().to(wide).expand(shape).reshape(-1).tolist() for x in (v, threshold))
    spikes, ends = [], []
    for n, column in enumerate(columns):
        V, fired = start[n], []
        for drive in column:
            V += drive if narrow or not exact else min(max(drive, 1 - LIMIT), LIMIT - 1)
            V = (V + 2**15) % 2**16 - 2**15 if narrow else V
            fired.append(V > theta[n] or (comparator == ">=" and V == theta[n]))
            if fired[-1]:
                V = V - theta[n] if reset == "soft" else 0
            V = min(max(V, -limit), limit) if exact else V
        spikes.append(fired)
        ends.append(V)
    spikes = torch.tensor(spikes, dtype=torch.int64).reshape(*shape, T).movedim(-1, 0)
    return words_of(spikes), torch.tensor(ends, dtype=wide).reshape(shape)


def compiles(function, *args, dynamic=False, backend="aot_eager"):
    """Compiled as one graph, the function gives what it gives without; returns that."""
    torch._dynamo.reset()
    got = torch.compile(function, fullgraph=True, dynamic=dynamic, backend=backend)(*args)
    want = function(*args)
    for a, b in zip(tensors([got]), tensors([want]), strict=True):
        assert a.dtype == b.dtype and a.stride() == b.stride() and torch.equal(a, b)
    return want


def keeps_the_contract(op, args):
    """torch's own check, and the fake's strides, which that check does not compare."""
    torch.library.opcheck(op.default, args)
    with FakeTensorMode() as mode:
        fakes = op(*(_fake(mode, x) for x in args))
    for real, fake in zip(tensors([op(*args)]), tensors([fakes]), strict=True):
        assert (real.shape, real.dtype, real.stride()) == (fake.shape, fake.dtype, fake.stride())


def refuses(op, arguments, error, match):
    """The op and its fake raise the same words."""
    with pytest.raises(error, match=match):
        op(**arguments)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = {k: _fake(mode, x) for k, x in arguments.items()}
        with pytest.raises(error, match=match):
            op(**fake)


def _fake(mode, x):
    if isinstance(x, list):
        return [_fake(mode, y) for y in x]
    return mode.from_tensor(x) if isinstance(x, torch.Tensor) else x


# What every family with neurons refuses, of a call with T=4 and float32 neurons [2, 3], or [2, 1, 1, 3]
NEURON_REFUSALS = pytest.mark.parametrize(
    "change, error, match",
    [
        ({"v": torch.zeros(3, dtype=torch.float64)}, TypeError, "v must be torch.float32 .*got torch.float64"),
        ({"threshold": torch.ones((), dtype=torch.int32)}, TypeError, "threshold must be torch.float32 .*torch.int32"),
        ({"bias": torch.zeros(3, dtype=torch.float16)}, TypeError, "bias must be torch.float32 .*got torch.float16"),
        ({"v": torch.zeros(3, device="meta")}, ValueError, "v must be on cpu like the other tensors, got meta"),
        ({"threshold": torch.ones(3, device="meta")}, ValueError, "threshold must be on cpu .*got meta"),
        ({"bias": torch.zeros(3, device="meta")}, ValueError, "bias must be on cpu .*got meta"),
        ({"v": torch.zeros(2)}, ValueError, r"v must spread over the neurons \[\*N\] = \(2, .*3\), got \(2,\)"),
        ({"v": torch.zeros(1, 2, 3)}, ValueError, r"v must spread over .*got \(1, 2, 3\)"),
        ({"threshold": torch.ones(3, 2)}, ValueError, r"threshold must spread over the neurons .*got \(3, 2\)"),
        (
            {"bias": torch.zeros(5, 1, 3)},
            ValueError,
            r"bias must spread over \[T, \*N\] = \(4, 2, .*3\), got \(5, 1, 3\)",
        ),
        ({"reset": "zero"}, ValueError, r"reset must be one of \('soft', 'hard'\), got 'zero'"),
        ({"comparator": "=>"}, ValueError, r"comparator must be one of \('>=', '>'\), got '=>'"),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, dict) else None,
)


def forced_backends_answer(monkeypatch, call, backends):
    """Each backend that cannot run here raises when forced, with every backend's reason; none falls back."""
    monkeypatch.setattr(_cuda, "EMULATOR", None)
    able = {b.name for b in backends if b.absent() is None}
    unable = [name for name in _registry.NAMES if name not in able]
    assert unable
    for name in unable:
        monkeypatch.setattr(_env, "BACKEND", name)
        with pytest.raises(BackendUnavailable) as caught:
            call()
        for other in _registry.NAMES:
            assert f"{other}: " in str(caught.value)
        assert f"reference: FASTSNN_BACKEND={name}" in str(caught.value)
    monkeypatch.setattr(_env, "BACKEND", "reference")
    call()
