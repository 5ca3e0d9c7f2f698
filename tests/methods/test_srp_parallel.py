"""Parallel neurons are the quantised network in every count; SRP is its two stages, written out."""

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn.engine import Simulation
from fastsnn.errors import ConversionError
from fastsnn.methods import build
from fastsnn.ops.if_steps import if_steps
from fastsnn.ops.pack import unpack
from fastsnn.ops.restart import restart
from fastsnn.program import GateLayer, InputLayer, NeuronLayer, RouteLayer
from fastsnn.program.axes import channels_last
from fastsnn.program.fixed import fixed_input

T = 6


class Net(nn.Module):
    """A residual block, a max pool, a concatenation, a layer of vectors."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 4, 1)
        self.d, self.head = nn.Linear(160, 12), nn.Linear(12, 3)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        x = self.a(x).relu()
        x = (self.b(x) + x).relu()
        x = self.pool(torch.cat([x, self.c(x).relu()], 1))
        return self.head(self.d(x.flatten(1)).relu())


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Net().eval()


def images(n=16):
    return torch.randn(n, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def quantised(program, x, T, start):
    """Counts of the network with T + 1 levels, in exact integers, from the weights of the spiking one."""
    found = {}
    for name, layer in program.layers.items():
        inputs = [found.get(source) for source in layer.sources]
        if isinstance(layer, InputLayer):
            found[name] = start
        elif isinstance(layer, NeuronLayer):
            total = layer.bias.long() * T
            for term, counts in zip(layer.terms, inputs, strict=True):
                image = isinstance(program.layers[term.source], InputLayer)
                part = term.exact(counts) * T if image else term.linear(counts.double(), term.weight.double()).long()
                total = total + part.reshape(len(x), *layer.shape)
            level = (total + layer.initial_potential.long()).div(layer.threshold.long(), rounding_mode="floor")
            found[name] = level.clamp(0, T)
        elif isinstance(layer, RouteLayer):
            found[name] = layer.dense(inputs)
        elif isinstance(layer, GateLayer):
            found[name] = layer.dense(inputs)
    return found


@pytest.mark.parametrize("steps", [1, 2, 6, 8, 16, 32])
def test_parallel_is_the_quantised_network_in_every_count(model, steps):
    x = images()
    snn = fastsnn.convert(model, x, method="parallel", timesteps=steps)
    start = fixed_input(channels_last(x), snn.program.exponent)
    expected = quantised(snn.program, x, steps, start)
    for name, train in snn.spikes(x, steps).items():
        assert torch.equal(train.counts().long(), expected[name].long()), name
        # all spikes come first
        dense = train.unpack()[0].int()
        assert (dense[1:] <= dense[:-1]).all()
    plain = fastsnn.convert(model, x, timesteps=steps)
    if steps > 1:
        assert any(not torch.equal(t.counts().long(), expected[n].long()) for n, t in plain.spikes(x, steps).items())


@pytest.mark.parametrize("precision", ["int8", "float32", "float64"])
def test_parallel_in_other_precisions_counts_nearly_the_same(model, precision):
    x = images()
    exact, other = (
        fastsnn.convert(model, x, method="parallel", timesteps=T, precision=p) for p in ("int32", precision)
    )
    counts = [[train.counts() for train in snn.spikes(x).values()] for snn in (exact, other)]
    same = [(a == b).double().mean() for a, b in zip(*counts, strict=True)]
    # int8 rounds weights to 1/127 of the largest; float32 decides ties only
    assert min(same) > (0.8 if precision == "int8" else 0.999)


def test_what_parallel_refuses(model):
    with pytest.raises(ConversionError, match="neurons that know all of their input need more than 16 bits"):
        fastsnn.convert(model, images(), method="parallel", precision="int16")
    snn = fastsnn.convert(model, images(), method="parallel", timesteps=16)
    with pytest.raises(ValueError, match="these neurons need all 33 steps at once, and 32 fit: run at most 32 steps"):
        snn(images(2), 33)
    run = snn.simulation(images(2))
    with torch.inference_mode():
        run.advance(4)
        with pytest.raises(ValueError, match="need all steps of a run at once: 4 were run, and 12 more cannot follow"):
            run.advance(12)
    for more in ({"reset": "hard"}, {"comparator": ">"}):
        with pytest.raises(ValueError, match='emission "ordered" needs reset "soft" and comparator ">="'):
            build("parallel", **more)


def stages(snn, x, tau, steps):
    """SRP's stages with two simulations: words of the second one, and which neurons are not silenced in it."""
    first = Simulation(snn.program, x)
    first.advance(tau)
    keep = {name: v > 1e-3 * snn.program.neurons[name].threshold.double() for name, v in first.potential.items()}
    second = Simulation(snn.program, x)
    second.silent = {name: ~mask for name, mask in keep.items()}
    return second.advance(steps, list(snn.program.neurons))[0], keep


@pytest.mark.parametrize("tau", [1, 4, 40])
@pytest.mark.parametrize("precision", ["int32", "int16", "float32"])
def test_srp_is_its_two_stages(model, tau, precision):
    x = images()
    snn = fastsnn.convert(model, x, method="srp", tau=tau, timesteps=T, precision=precision)
    with torch.inference_mode():
        if tau <= 32:
            words, keep = stages(snn, x, tau, T)
            for name, train in snn.spikes(x).items():
                assert torch.equal(train.words[0][0], words[name]), name
                # what is silenced says nothing
                assert not (train.counts()[~keep[name]] != 0).any() and not keep[name].all()
    plain = fastsnn.convert(model, x, timesteps=T, precision=precision)
    assert sum(int(t.counts().sum()) for t in snn.spikes(x).values()) < sum(
        int(t.counts().sum()) for t in plain.spikes(x).values()
    )
    assert snn.logits_over_time(x).shape == (T, 16, 3)
    assert torch.equal(snn(x), snn.logits_over_time(x)[-1])


def test_srps_readout_leaves_the_first_stage_out(model):
    x = images()
    snn = fastsnn.convert(model, x, method="srp", timesteps=T, precision="float64")
    last = list(snn.program.neurons)[-1]
    rate = snn.spikes(x)[last].counts().double() / T * snn.thresholds[last].double()
    with torch.no_grad():
        expected = model.double().head(rate)
    model.float()
    # float64 sums of 12 numbers
    assert torch.allclose(snn(x), expected, atol=1e-10)


def test_srp_says_how_long_it_takes(tmp_path, model):
    method = build("srp", tau=8)
    assert method.card.latency == "T + 8" and build("srp", **method.options).settling == 8
    snn = fastsnn.convert(model, images(), method="srp", tau=3)
    again = fastsnn.convert(model, snn.calibration.save(tmp_path / "c.safetensors"))
    assert again.reading.settling == 3 and torch.equal(again(images()), snn(images()))
    for tau in (0, 2.5):
        with pytest.raises(ValueError, match="srp needs tau of at least 1 step"):
            build("srp", tau=tau)


def test_tpp_repeats_exactly_and_follows_its_seed(model):
    x = images()
    first, again, other = (fastsnn.convert(model, x, method="tpp", timesteps=T, seed=s) for s in (0, 0, 1))
    trains = [snn.spikes(x) for snn in (first, again, other)]
    assert all(torch.equal(trains[0][n].words[0], trains[1][n].words[0]) for n in trains[0])
    assert any(not torch.equal(trains[0][n].words[0], trains[2][n].words[0]) for n in trains[0])
    # layers of one shape draw different numbers
    shapes = [train.shape for train in trains[0].values()]
    assert shapes[0] == shapes[1]
    with pytest.raises(ConversionError, match="neurons that know all of their input need more than 16 bits"):
        fastsnn.convert(model, x, method="tpp", precision="int16")
    # with many steps it says what the quantised network says
    many, exact = (fastsnn.convert(model, x, method=m, timesteps=32) for m in ("tpp", "parallel"))
    assert (many(x) - exact(x)).abs().mean() < 0.2 * exact(x).abs().mean()


@pytest.mark.parametrize("rho", [1, 4, 6])
def test_cos_is_two_runs_of_each_layer(rho):
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU()]
    x = images()
    snn = fastsnn.convert(nn.Sequential(*layers).eval(), x, method="cos", rho=rho, timesteps=T)
    image = fixed_input(channels_last(x), snn.program.exponent)
    spikes, moved = {name: train.unpack()[0].long() for name, train in snn.spikes(x).items()}, 0
    for name, layer in snn.program.neurons.items():
        (source,) = layer.sources
        given = [image] * T if source == "input" else spikes[source]
        currents = torch.stack([layer.total([now]) for now in given]).int()
        words, potentials, v = [], [], layer.initial_potential
        for current in currents[:rho]:
            word, v = if_steps(current[None].contiguous(), layer.threshold, v)
            words.append(word)
            potentials.append(v)
        start = restart(words, potentials, layer.threshold, layer.initial_potential)
        moved += int((start != layer.initial_potential).sum())
        words, _ = if_steps(currents, layer.threshold, start)
        assert torch.equal(unpack(words, T).long(), spikes[name]), name
    assert moved > 0 or rho == 1


def test_what_cos_refuses(model):
    snn = fastsnn.convert(model, images(), method="cos", timesteps=T)
    with pytest.raises(ValueError, match="these neurons need at least 4 steps, got 3"):
        snn(images(2), 3)
    with pytest.raises(ValueError, match="these neurons need all 33 steps at once"):
        snn(images(2), 33)
    for rho in (0, 33, 2.5):
        with pytest.raises(ValueError, match="cos needs rho of 1 to 32 steps"):
            build("cos", rho=rho)
    assert build("cos", **build("cos", rho=7).options).neuron.probe == 7


@pytest.mark.parametrize("method", ["srp", "parallel", "cos"])
def test_batches_and_threads_change_nothing(model, method):
    x = images()
    snn = fastsnn.convert(model, x, method=method, timesteps=T)
    whole = snn.spikes(x)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    for name in whole:
        parts = torch.cat([snn.spikes(part)[name].words[0][0] for part in x.split(5)])
        assert torch.equal(parts, whole[name].words[0][0])
    torch.set_num_threads(before)
