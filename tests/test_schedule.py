"""A bias of its own for each step: every driver, precision and backend against a plain loop, and what goes with it."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from odd_network import Odd, odd_images
from torch import nn

import fastsnn
from fastsnn import _cuda, _env, _native, _triton, currents, engine, network
from fastsnn.drive import Constant, Events, Steps
from fastsnn.engine import Simulation
from fastsnn.program import GateLayer, InputLayer, NeuronLayer
from fastsnn.program.axes import channels_last
from fastsnn.program.fixed import fixed_input, saturated

INTEGERS, FLOATS = ["int32", "int16", "int8"], ["float32", "float16", "bfloat16", "float64"]
REASONS = {"reference": lambda: None, "native": _native.reason, "triton": _triton.reason, "cuda": _cuda.reason}
BACKENDS = [
    pytest.param(name, marks=pytest.mark.skipif(why() is not None, reason=str(why()))) for name, why in REASONS.items()
]
ON_GPU = torch.cuda.is_available()
LIMIT, LIMIT_16 = 2**30, 2**14


class Rich(nn.Module):
    """Neurons that read spikes and the image, neurons that read numbers which change, and those with the image too."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.image = (nn.Conv2d(n, 5, 3, padding=1) for n in (3, 5, 3))
        self.third, self.bare, self.more = nn.Conv2d(5, 5, 3, padding=1), nn.Conv2d(3, 5, 1), nn.Conv2d(5, 5, 1)
        self.out = nn.Linear(5, 4)

    def forward(self, x):
        a = F.relu(self.first(x))
        b = F.relu(self.second(a) + self.image(x))
        y = b + self.third(a)
        z = F.relu(y + self.bare(x)) + F.relu(self.more(F.relu(y)))
        return self.out(z.mean((2, 3)))


@pytest.fixture(scope="module")
def x():
    """Multiples of 1/16: what floating point adds up without rounding."""
    return (16 * odd_images()).round() / 16


@pytest.fixture(scope="module")
def networks(x):
    """(model, precision) -> a network without a schedule."""
    made = {}
    for model in (Odd, Rich):
        torch.manual_seed(0)
        trained = model().eval()
        for precision in INTEGERS + FLOATS:
            made[model, precision] = fastsnn.convert(trained, x, precision=precision, timesteps=5)
    return made


def scheduled(snn, steps, seed=0, size=0.4):
    """A copy in which every neuron layer has a schedule of up to `size` thresholds; multiples of 1/16 in floats."""
    g = torch.Generator().manual_seed(seed)
    snn = copy.deepcopy(snn)
    for layer in snn.program.neurons.values():
        values = size * (2 * torch.rand(steps, layer.shape[-1], generator=g, dtype=torch.float64) - 1)
        if layer.bias.is_floating_point():
            values = (16 * values).round() / 16
        else:
            values = (values * layer.threshold).round()
        layer.schedule = values.to(layer.bias.dtype)
    return snn


def on_lattice(snn):
    """A copy whose weights and biases are multiples of 1/16."""
    snn = copy.deepcopy(snn)

    def near(values):
        return ((16 * values.double()).round() / 16).clamp(-4, 4).to(values.dtype)

    for layer in snn.program.layers.values():
        if hasattr(layer, "terms"):
            layer.bias = near(layer.bias)
            for term in layer.terms:
                term.weight = near(term.weight)
    return snn


def taken(snn, x, T):
    """Spikes [T, B, *S, C] of everything that spikes, in one run."""
    names = [n for n, layer in snn.program.layers.items() if isinstance(layer, NeuronLayer | GateLayer)]
    steps = {name: [] for name in names}
    with torch.inference_mode():
        for length, words, _ in snn.chunks(x, T, record=names):
            for name, word in words.items():
                steps[name] += [(word.cpu().long() >> t) & 1 for t in range(length)]
    return {name: torch.stack(found) for name, found in steps.items()}


def wanted(program, x, seen, name):
    """Spikes of a neuron layer by a plain loop over the steps, from the spikes that were seen of the layers before."""
    layer, layers, timed = program.neurons[name], program.layers, program.timed()
    exact = program.exponent is not None
    kind = torch.int64 if exact else torch.float64

    def number(source, t):
        if isinstance(layers[source], InputLayer):
            return fixed_input(channels_last(x), program.exponent) if exact else channels_last(x).double()
        if source in seen:
            return seen[source][t].to(kind)
        return saturated(layers[source].dense([number(s, t) for s in layers[source].sources]))

    def total(terms, t):
        return sum(
            (term.exact if exact else torch.nn.Module.__call__.__get__(term))(number(term.source, t)) for term in terms
        )

    constant = [term for term in layer.terms if term.source not in timed]
    others = [term for term in layer.terms if term.source in timed]
    numbers = any(not layers[term.source].spiking for term in others)
    limit = LIMIT_16 if layer.threshold.dtype == torch.int16 else LIMIT
    threshold, added = layer.threshold.to(kind), layer.bias.to(kind)
    v = layer.initial_potential.to(kind).expand(seen[name].shape[1:])
    if constant:
        added = saturated(total(constant, 0) + added)
    spikes = []
    for t in range(len(seen[name])):
        current = saturated(added + layer.schedule[t].to(kind))
        if others:
            parts = total(others, t)
            current = current + (saturated(parts) if numbers else parts)
        v = v + saturated(current)
        fired = v >= threshold if layer.neuron.comparator == ">=" else v > threshold
        v = torch.where(fired, v - threshold, v)
        v = v.clamp(-limit, limit) if exact else v
        spikes.append(fired)
    return torch.stack(spikes).long()


def check(snn, x, T):
    """Runs a network and compares each of its neuron layers with the plain loop; gives the spikes."""
    device = "cuda" if ON_GPU and _env.BACKEND in ("triton", "cuda") else "cpu"
    seen = taken(snn.to(device), x.to(device), T)
    snn.to("cpu")
    for name in snn.program.neurons:
        want = wanted(snn.program, x, seen, name)
        assert torch.equal(seen[name], want), f"{name}: {int((seen[name] != want).sum())} spikes differ"
    return seen


def real(snn, x):
    return x.to(snn.real())


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def forced(monkeypatch, backend):
    monkeypatch.setattr(_env, "BACKEND", None if ON_GPU and backend == "triton" else backend)


def test_the_two_networks_have_every_driver(networks):
    kinds = {}
    for model in (Odd, Rich):
        for driver in networks[model, "int32"].prepared().drivers.values():
            constant = bool(getattr(driver, "bias", None) and driver.bias.constant)
            kinds.setdefault((type(driver), constant), []).append(driver.layer.name)
    assert set(kinds) == {(Constant, False), (Events, False), (Events, True), (Steps, False), (Steps, True)}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("precision", INTEGERS)
@pytest.mark.parametrize("model", [Odd, Rich])
def test_whole_numbers_are_those_of_a_plain_loop(networks, x, model, precision, backend, monkeypatch):
    snn, images = scheduled(networks[model, precision], 6), x[:2]
    forced(monkeypatch, "reference")
    reference = taken(snn, images, 5)
    logits = snn(images, 5)
    forced(monkeypatch, backend)
    seen = check(snn, images, 5)
    assert same(seen, reference)
    assert all(0 < spikes.double().mean() < 1 for spikes in seen.values())
    if not ON_GPU:
        # the head is one float32 product of counts
        torch.testing.assert_close(snn(images, 5), logits)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("precision", FLOATS)
@pytest.mark.parametrize("model", [Odd, Rich])
def test_numbers_that_add_up_without_rounding_too(networks, x, model, precision, backend, monkeypatch):
    if backend == "triton" and precision == "float64":
        pytest.skip("layers of float64 have no kernels in Triton")
    snn = scheduled(on_lattice(networks[model, precision]), 6)
    forced(monkeypatch, backend)
    seen = check(snn, real(snn, x[:2]), 5)
    assert all(0 < spikes.double().mean() < 1 for spikes in seen.values())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_on_top_of_a_bias_of_each_position(networks, x, precision, backend, monkeypatch):
    base = networks[Odd, precision]
    snn = scheduled(on_lattice(base) if precision == "float32" else base, 4)
    g = torch.Generator().manual_seed(7)
    for layer in snn.program.neurons.values():
        more = (4 * torch.randn(layer.shape, generator=g)).round() / 16 * layer.threshold
        layer.bias = layer.bias + more.to(layer.bias.dtype)
    forced(monkeypatch, backend)
    check(snn, x[:2], 4)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("room", [2**30, 2**31], ids=["saturates", "leaves 32 bits"])
def test_sums_that_only_the_schedule_makes_too_large(networks, x, backend, room, monkeypatch):
    """A plan that is told of the bias alone takes no care of them."""
    snn = scheduled(networks[Odd, "int32"], 3, size=0)
    *before, layer = list(snn.program.neurons.values())[:3]
    for other in before:
        # they spike at every step
        other.schedule[:] = LIMIT - 1
    layer.schedule[0], layer.schedule[1] = 1 - LIMIT, LIMIT - 1
    layer.bias = torch.zeros_like(layer.bias)
    scale = 0.9 * room / sum(term.reach() for term in layer.terms)
    for term in layer.terms:
        term.weight = (term.weight.abs() * scale).int()
    forced(monkeypatch, backend)
    check(snn, x[:1], 3)
    # where each begins to take more care
    if {"native": 2**30, "triton": 2**31, "cuda": 2**31}.get(backend) == room:
        whole = Events._layer
        monkeypatch.setattr(Events, "_layer", lambda driver: whole(driver) | {"bias": driver.layer.bias})
        snn._ready = None
        with pytest.raises(AssertionError, match="spikes differ"):
            check(snn, x[:1], 3)


@pytest.mark.parametrize("precision", ["int32", "int16", "int8", "float64"])
@pytest.mark.parametrize("model", [Odd, Rich])
def test_a_run_of_several_chunks_goes_on_where_the_last_one_stopped(networks, x, model, precision):
    snn = networks[model, precision]
    snn = scheduled(on_lattice(snn) if precision == "float64" else snn, 45)
    whole = check(snn, real(snn, x[:2]), 40)
    shorter = taken(snn, real(snn, x[:2]), 7)
    assert all(torch.equal(spikes[:7], shorter[name]) for name, spikes in whole.items())
    images, pieces = real(snn, x[:2]), {name: [] for name in snn.program.neurons}
    simulation = Simulation(snn.program, images)
    with torch.inference_mode():
        for T in (5, 1, 8, 26):
            words, _ = simulation.advance(T, pieces, over_time=T == 8)
            for name, word in words.items():
                pieces[name] += [(word.long() >> t) & 1 for t in range(T)]
    assert all(torch.equal(torch.stack(found), whole[name]) for name, found in pieces.items())


@pytest.mark.parametrize("backend", [b for b in BACKENDS if b.values[0] in ("triton", "cuda")])
def test_chunks_on_the_kernels_of_a_gpu(networks, x, backend, monkeypatch):
    forced(monkeypatch, backend)
    check(scheduled(networks[Rich, "int32"], 33), x[:1], 33)


def test_chunks_that_memory_makes_short(networks, x, monkeypatch):
    snn = scheduled(networks[Rich, "int32"], 20)
    whole = check(snn, x[:3], 20)
    monkeypatch.setattr(engine, "CHUNK_BYTES", 1)
    assert Simulation(snn.program, x[:3]).longest_chunk() == 1
    assert same(check(snn, x[:3], 20), whole)


@pytest.mark.parametrize("precision", INTEGERS + FLOATS)
@pytest.mark.parametrize("model", [Odd, Rich])
def test_zeros_change_nothing(networks, x, model, precision):
    plain = networks[model, precision]
    zeros = scheduled(plain, 40, size=0)
    images = real(plain, x[:3])
    for T in (5, 33):
        assert same(taken(plain, images, T), taken(zeros, images, T))
        assert torch.equal(plain(images, T), zeros(images, T))


@pytest.mark.parametrize("precision", [*INTEGERS, "float32", "float64"])
@pytest.mark.parametrize("model", [Odd, Rich])
def test_the_same_at_every_step_is_a_bias(networks, x, model, precision):
    base = networks[model, precision]
    base = base if precision in INTEGERS else on_lattice(base)
    steady, biased = scheduled(base, 1), copy.deepcopy(base)
    for layer, other in zip(steady.program.neurons.values(), biased.program.neurons.values(), strict=True):
        other.bias = other.bias + layer.schedule[0]
        layer.schedule = layer.schedule.repeat(40, 1)
    images = real(base, x[:3])
    got = taken(steady, images, 40)
    assert same(got, taken(biased, images, 40)) and not same(got, taken(base, images, 40))


@pytest.mark.parametrize("fault", ["no offset", "no bias", "another order", "nothing"])
@pytest.mark.parametrize("model", [Odd, Rich])
def test_a_schedule_that_is_read_wrongly_is_seen(networks, x, model, fault, monkeypatch):
    snn = scheduled(networks[model, "int32"], 40)
    steps_of = currents.steps_of
    wrong = {
        "no offset": ("steps_of", lambda schedule, run, T: schedule[:T]),
        "no bias": ("summed", lambda bias, schedule: 0 * bias + schedule),
        "another order": ("steps_of", lambda *args: steps_of(*args).flip(0)),
        "nothing": ("steps_of", lambda *args: 0 * steps_of(*args)),
    }
    with monkeypatch.context() as patch:
        patch.setattr(currents, *wrong[fault])
        snn._ready = None
        with pytest.raises(AssertionError, match="spikes differ"):
            check(snn, x[:2], 40)
    snn._ready = None
    check(snn, x[:2], 40)


def test_longer_runs_are_refused_before_anything_runs(networks, x, monkeypatch):
    snn = scheduled(networks[Odd, "int32"], 16)
    assert networks[Odd, "int32"].program.longest_run is None
    last = list(snn.program.neurons.values())[-1]
    last.schedule = last.schedule[:9]
    assert snn.program.longest_run == 9
    labels = torch.zeros(len(x), dtype=torch.int64)
    assert snn(x[:2], 9).shape == snn(x[:2], 1).shape == (2, 4)

    def never(*args):
        raise TypeError("it ran")

    monkeypatch.setattr(network, "Simulation", never)
    monkeypatch.setattr(network, "tuned", never)
    monkeypatch.setattr(network, "timed", never)
    for call in (
        lambda: snn(x, 10),
        lambda: snn.logits_over_time(x, 10),
        lambda: snn.spikes(x, 10),
        lambda: snn.accuracy_over_time([(x, labels)], 10, progress=False),
        lambda: snn.tune(x, 10, progress=False),
        lambda: snn.layer_seconds(x, 10),
    ):
        with pytest.raises(ValueError, match=r"^this network was calibrated for 9 time-steps, got 10$"):
            call()
    # what a call takes that names none
    snn.timesteps = 32
    with pytest.raises(ValueError, match="9 time-steps, got 32"):
        snn(x)


def test_copies_files_and_moves_keep_it(networks, x):
    base = networks[Odd, "int32"]
    snn, other = scheduled(base, 12), scheduled(base, 12, seed=1)
    want = taken(snn, x[:2], 12)
    assert not same(want, taken(other, x[:2], 12))
    for made in (copy.deepcopy(snn), pickle.loads(pickle.dumps(snn))):
        assert same(taken(made, x[:2], 12), want) and made.program.longest_run == 12
    file = io.BytesIO()
    torch.save(snn.state_dict(), file)
    file.seek(0)
    state = torch.load(file)
    assert sum(name.endswith("schedule") for name in state) == len(snn.program.neurons)
    assert not any(name.endswith("schedule") for name in base.state_dict())
    other.load_state_dict(state)
    assert same(taken(other, x[:2], 12), want)
    program = scheduled(networks[Odd, "float32"], 3).program.to(torch.float64)
    assert all(layer.schedule.dtype == torch.float64 for layer in program.neurons.values())


@pytest.mark.parametrize("model", [Odd, Rich])
def test_neither_the_batch_nor_the_threads_matter(networks, x, model):
    snn = scheduled(networks[model, "int32"], 40)
    whole = taken(snn, x[:5], 40)
    for i in range(5):
        alone = taken(snn, x[i : i + 1], 40)
        assert all(torch.equal(spikes[:, i : i + 1], alone[name]) for name, spikes in whole.items())
    for threads in (2, 5):
        torch.set_num_threads(threads)
        assert same(taken(snn, x[:5], 40), whole)


def test_activations_without_spikes_leave_it_out(networks, x):
    plain = networks[Odd, "float64"]
    snn, images = scheduled(plain, 8), real(plain, x[:3])
    assert torch.equal(snn.analog(images), plain.analog(images))
    assert not same(taken(snn, images, 8), taken(plain, images, 8))


def test_tuning_and_timing_run_it(networks, x):
    snn = scheduled(networks[Rich, "int32"], 8)
    want = taken(snn, x[:2], 8)
    snn.tune(x[:2], 8, rounds=1, progress=False)
    assert same(taken(snn, x[:2], 8), want)
    assert set(snn.layer_seconds(x[:2], 8, rounds=1)) >= set(snn.program.neurons)


def test_torch_compile_takes_it(networks, x):
    snn = scheduled(networks[Odd, "int32"], 8)
    want = snn(x[:2])
    torch._dynamo.reset()
    run = torch.compile(snn, fullgraph=True, backend="aot_eager")
    assert torch.equal(run(x[:2]), want)
