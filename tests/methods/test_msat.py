"""MSAT: its equations written out, in float64; what is carried from chunk to chunk; networks; what is refused."""

import pytest
import torch
from methods.test_srp_parallel import Net, images
from odd_network import Odd, odd_images
from torch import nn

import fastsnn
from fastsnn import _cuda, _env, _native, _triton, drive_adaptive
from fastsnn.convert.measure import fired
from fastsnn.drive_adaptive import AdaptiveSteps, Read
from fastsnn.emission import emitted
from fastsnn.engine import Simulation
from fastsnn.errors import ConversionError
from fastsnn.methods import build
from fastsnn.neurons import Adaptive
from fastsnn.ops.adaptive import adaptive_steps
from fastsnn.ops.if_steps import if_steps
from fastsnn.program import ConvTerm

VGG, RESNET = (0.03, 1.0, 1.0, 5.0, 1.0, 1.0), (0.3, 1.0, 1.0, 5.0, 0.2, 0.1)
NAMES = ("a", "ka", "ki", "c", "tau_mp", "tau_rd")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Net().eval()


def written_out(currents, constants, start=0.0):
    """The equations in units of theta: (output at each step, potentials, distance of each neuron to another choice).

    A choice is to fire, and which multiple of 1/256 a threshold is rounded to.
    """
    a, ka, ki, c, tau_mp, tau_rd = constants
    v, seen, out, near = torch.full_like(currents[0], start), [], [], torch.full_like(currents[0], torch.inf)
    for t, x in enumerate(currents):
        h = torch.ones_like(v)
        if t:
            above = v - sum(seen) / len(seen)
            follows = tau_mp * (a * above - 1 + ka * torch.log(1 + torch.exp(above / ki)))
            h = 256 * torch.sigmoid(tau_rd * torch.exp(-x / c) + follows)
            near = near.minimum((h - h.floor() - 0.5).abs() / 256)
            h = h.round().clamp(1, 255) / 256
        v = v + x
        near = near.minimum((v - h).abs())
        s = (v >= h).double()
        v = v - h * s
        seen.append(v)
        out.append(h * s)
    return torch.stack(out), v, near


def run(currents, neuron, start=0.0):
    """(output at each step in units of theta, state) of neurons that currents in these units drive."""
    words, state = adaptive_steps(256 * currents, len(currents), 256 * start, neuron)
    amplitudes = neuron.firing.amplitudes
    return torch.stack([emitted(words, amplitudes, t) for t in range(len(currents))]).double() / 256, state


def drive(T, n=3000, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(T, n, generator=g, dtype=torch.float64) * 0.7 + torch.rand(n, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("constants", [VGG, RESNET, (0.0, 3.0, 0.5, 0.3, 2.0, 0.0), (1.0, 0.0, 2.0, 1.0, 0.0, 4.0)])
@pytest.mark.parametrize("T, start", [(1, 0.0), (7, 0.0), (8, 0.5), (16, 0.0), (32, 0.0)])
def test_neurons_are_their_equations(constants, T, start):
    x = drive(T, seed=T)
    # some always below the threshold, some far above, and currents whose exponential is huge
    x[:, :10], x[:, 10:20], x[:, 20:30] = -0.3, 9.7, -99.9
    out, state = run(x, Adaptive(*constants), start)
    wanted, v, near = written_out(x, constants, start)
    # the two differ in how log(1 + exp) is found, by a few 2^-53 of numbers below 2^7: nothing here is that near
    assert near.min() > 1e-12
    assert torch.equal(out, wanted)
    assert torch.equal(state[0], 256 * v)
    assert len(out.unique()) > (1 if T == 1 else 20) and ((out == 1).any(0) == (out[0] == 1)).all()
    # nothing is lost: sums of at most 33 numbers below 2^12, in float64
    assert torch.allclose(out.sum(0) + v, start + x.sum(0), rtol=0, atol=1e-9)


@pytest.mark.parametrize("constants", [VGG, RESNET])
def test_float32_makes_the_same_choices_but_for_those_within_its_rounding(constants):
    T, x = 16, drive(16).float()
    out, _ = run(x, Adaptive(*constants))
    wanted, _, near = written_out(x.double(), constants)
    # with |v| <= M, a step's two sums round by 2^-24 M each, and those of the mean, T M at most, by T M 2^-24, divided
    # by T: v - mean is off by 5 T M 2^-24; h by less, its slope being below 1; its functions by a few 2^-24
    most = (x.double().cumsum(0) - wanted.cumsum(0)).abs().amax(0) + x.abs().amax(0)
    clear = near > (6 * T * most + 10) * 2.0**-24
    assert clear.double().mean() > 0.5
    assert torch.equal(out[:, clear], wanted[:, clear])


def test_kernels_of_tables_do_not_take_these_neurons():
    neuron, x = Adaptive(), drive(3)
    assert neuron.firing.amplitudes == (256, 128, 64, 32, 16, 8, 4, 2, 1)
    assert neuron.firing.counted and neuron.firing.state_of((2, 3)) == (2, 2, 3)
    for call in (lambda: neuron.firing.code, lambda: neuron.firing.at(3).code, lambda: if_steps(x, 1.0, neuron=neuron)):
        with pytest.raises(TypeError, match="operators cannot run neurons with a step of their own"):
            call()
    assert torch.equal(fired(256 * x, 0.0, neuron), adaptive_steps(256 * x, 3, 0.0, neuron)[0])


class Small(nn.Module):
    """Two maps that read the same neurons, a residual connection, a stride."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(2, 5, 3), nn.Conv2d(5, 5, 3, padding=1), nn.Conv2d(5, 5, 1)
        self.d, self.head = nn.Conv2d(5, 3, 3, stride=2), nn.Linear(12, 4)

    def forward(self, x):
        x = self.a(x).relu()
        x = (self.b(x) + self.c(x) + x).relu()
        return self.head(self.d(x).relu().flatten(1))


@pytest.mark.parametrize("options", [{}, dict(zip(NAMES, RESNET, strict=True), per_channel=False, threshold="mse")])
def test_a_network_is_its_layers_written_out(options):
    torch.manual_seed(3)
    net, T = Small().eval().double(), 24
    x = torch.randn(6, 2, 7, 7, dtype=torch.float64)
    snn = fastsnn.convert(net, x, method="msat", timesteps=T, precision="float64", initial_potential=0.25, **options)
    first, second, third = (t.movedim(-1, 0) if t.ndim else t for t in snn.thresholds.values())
    assert all((v == 64).all() for v in snn.initial_potentials.values())
    constants = [getattr(snn.method.neuron, name) for name in NAMES]

    def layer(current, unit, steps=T):
        theta = 256 * unit.reshape(-1, 1, 1)
        out, _, near = written_out((current / theta).expand(steps, *current.shape[-4:]), constants, 0.25)
        # sums of convolutions in another order differ by some 1e-14
        assert near.min() > 1e-11
        return out * theta

    with torch.no_grad():
        one = layer(net.a(x), first)
        two = layer(torch.stack([net.b(s) + net.c(s) + s for s in one]), second)
        three = layer(torch.stack([net.d(s) for s in two]), third)
        logits = torch.stack([net.head(s.flatten(1)) for s in three])
    for (name, train), wanted, unit in zip(
        snn.spikes(x).items(), (one, two, three), (first, second, third), strict=True
    ):
        levels = (wanted / unit.reshape(-1, 1, 1)).movedim(2, -1)
        assert torch.equal(train.to_dense(torch.float64), levels.round()), name
        torch.testing.assert_close(levels, levels.round())
    torch.testing.assert_close(snn.logits_over_time(x), logits.cumsum(0) / torch.arange(1, T + 1).reshape(-1, 1, 1))


def test_each_map_is_applied_once(monkeypatch):
    torch.manual_seed(3)
    net, x = Small().eval(), torch.randn(2, 2, 7, 7)
    snn = fastsnn.convert(net, x, method="msat", timesteps=4, precision="float32")
    drivers = list(snn.prepared().drivers.values())
    assert all(isinstance(d, AdaptiveSteps) for d in drivers)
    assert [[len(read.names) for read in d.reads] for d in drivers] == [[], [9, 9, 9], [9]]
    shapes, real = [], ConvTerm.linear
    monkeypatch.setattr(ConvTerm, "linear", lambda self, x, w: shapes.append((len(x), *w.shape)) or real(self, x, w))
    snn(x)
    assert sorted(shapes) == [(2, 5, 2, 3, 3), (8, 3, 5, 3, 3), (8, 5, 5, 1, 1), (8, 5, 5, 3, 3)]


def test_planes_together_are_planes_one_by_one(monkeypatch):
    torch.manual_seed(0)
    model, x = Odd().eval().double(), odd_images().double()
    snn = fastsnn.convert(model, x, method="msat", timesteps=9, precision="float64")
    together = snn.spikes(x)
    monkeypatch.setattr(drive_adaptive, "together", lambda terms, layers: [Read(t, [t.source], [1]) for t in terms])
    snn.to("cpu")
    assert [len(d.reads) for d in snn.prepared().drivers.values()] == [0, 9, 18, 9, 18, 9]
    apart = snn.spikes(x)
    assert all(torch.equal(together[name].words[0], apart[name].words[0]) for name in together)


@pytest.mark.parametrize("backend", ["native", "triton", "cuda"])
def test_every_backend_gives_the_same_spikes(backend, monkeypatch):
    why = {"native": _native, "triton": _triton, "cuda": _cuda}[backend].reason()
    if why or (backend != "native" and torch.cuda.is_available()):
        pytest.skip(why or "sums are other ones on a GPU")
    torch.manual_seed(3)
    net, x = Small().eval(), torch.randn(2, 2, 7, 7)
    snn = fastsnn.convert(net, x, method="msat", timesteps=9, precision="float32", initial_potential=0.25)
    spikes = []
    for name in ("reference", backend):
        monkeypatch.setattr(_env, "BACKEND", name)
        spikes.append(snn.to("cpu").spikes(x))
    for name, train in spikes[0].items():
        assert all(torch.equal(a, b) for a, b in zip(train.words, spikes[1][name].words, strict=True)), name


def error(model, x, T, **options):
    dense = model(x).detach()
    snn = fastsnn.convert(model, x, timesteps=T, **options)
    return ((snn(x) - dense).norm() / dense.norm()).item()


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("options", [{}, {"threshold": "percentile:99.9", "per_channel": False}])
def test_networks_approach_the_dense_one(model, precision, options):
    early, late = (error(model, images(), T, method="msat", precision=precision, **options) for T in (8, 64))
    # no charge is lost, but what a layer still holds grows with its inputs' unevenness: between 1 / sqrt(T) and 1 / T
    assert late < 8**-0.5 * early and late < 0.25


def test_pools_of_numbers_are_taken_at_every_step(model):
    # the largest of uneven currents is too large, whatever fires
    found = [error(model, images(), 64, method=m, precision="float32", max_pool="before") for m in ("msat", "opi")]
    assert found[0] < found[1]


def test_spikes_are_worth_their_threshold(model):
    x = images()
    snn = fastsnn.convert(model, x, method="msat", timesteps=12, precision="float32")
    for train in snn.spikes(x).values():
        out = train.to_dense()
        assert set(out[0].unique().tolist()) <= {0.0, 256.0}
        assert out[1:].max() < 256 and len(out.unique()) > 20


def test_runs_of_any_length_begin_alike_and_images_do_not_matter_to_each_other(model):
    x = images()
    snn = fastsnn.convert(model, x, method="msat", timesteps=40, precision="float64")
    long = snn.logits_over_time(x)
    torch.testing.assert_close(snn.logits_over_time(x, 7), long[:7])
    torch.testing.assert_close(snn(x), long[-1])
    torch.testing.assert_close(snn(x[3:5]), long[-1][3:5])
    with torch.inference_mode():
        by_hand = snn.simulation(x)
        parts = [by_hand.advance(T, over_time=True)[1][0] for T in (3, 7, 30)]
        fewer = Simulation(snn.program, x, snn.prepared())
        fewer.advance(5)
        fewer.keep(torch.tensor([9, 2]))
        _, (late,) = fewer.advance(30, over_time=True)
    torch.testing.assert_close(torch.cat(parts), long)
    torch.testing.assert_close(late, long[5:35, [9, 2]])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same():
    torch.manual_seed(0)
    model, x = Net().eval(), images()
    snn = fastsnn.convert(model, x, method="msat", timesteps=40, precision="float64")
    wanted = snn(x)
    # recorded at the first call, replayed at the second; sums in another order move few choices
    snn = snn.cuda()
    for _ in range(2):
        torch.testing.assert_close(snn(x.cuda()).cpu(), wanted, rtol=0, atol=1e-3)


def test_a_calibration_file_gives_the_same_spikes(model, tmp_path):
    x = images()
    options = {"a": 0.3, "tau_mp": 0.2, "initial_potential": "measured", "precision": "float64"}
    snn = fastsnn.convert(model, x, method="msat", timesteps=6, **options)
    assert all(0 <= v.item() <= 256 for v in snn.initial_potentials.values())
    assert any(v.item() > 1 for v in snn.initial_potentials.values())
    path = snn.calibration.save(tmp_path / "c.safetensors")
    with pytest.raises(ConversionError, match='needs precision="float32" or "float64", got "int32"'):
        fastsnn.convert(model, path)
    again = fastsnn.convert(model, path, precision="float64")
    for one, other in zip(snn.spikes(x).values(), again.spikes(x).values(), strict=True):
        assert torch.equal(one.words[0], other.words[0]) and one.amplitudes == other.amplitudes
    assert again.method.options == snn.method.options and again.method.neuron == snn.method.neuron


@pytest.mark.parametrize("precision", [None, "int32", "int16", "int8", "float16", "bfloat16"])
def test_other_precisions_are_refused_before_images_are_read(model, precision):
    images_read = iter(())
    got = precision or "int32"
    message = f'msat computes thresholds with exponentials, which needs precision="float32" or "float64", got "{got}"'
    with pytest.raises(ConversionError, match=message):
        fastsnn.convert(model, images_read, method="msat", precision=precision)


def test_options():
    default = build("msat")
    assert default.neuron == Adaptive(*VGG) and default.card.bits == 9
    assert default.options == {
        **dict(zip(NAMES, VGG, strict=True)),
        "threshold": "max",
        "per_channel": True,
        "initial_potential": 0.0,
        "seed": 0,
    }
    other = build("msat", **dict(zip(NAMES, RESNET, strict=True)), threshold="mse", initial_potential=0.5, seed=3)
    again = build("msat", **other.options)
    assert again.neuron == other.neuron == Adaptive(*RESNET)
    assert again.options == other.options and str(again) == str(other)
    for name, value, least in (("ki", 0, "above"), ("c", -1.0, "above"), ("a", -0.1, "at least")):
        with pytest.raises(ValueError, match=f"Adaptive: {name} must be a number {least} 0, got {value}"):
            build("msat", **{name: value})
    for value in (True, "1", float("nan"), float("inf"), None):
        with pytest.raises(ValueError, match="Adaptive: tau_rd must be a number at least 0, got"):
            build("msat", tau_rd=value)
    with pytest.raises(TypeError, match="comparator"):
        build("msat", comparator=">")
