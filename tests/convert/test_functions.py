"""Smooth activations, gates, norms and products: functions of means over time, against simulations of the module."""

import math
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from simulator import in_order, simulate
from torch import nn
from zoo import Body, Lambda, conv, gap, images, randomise

import fastsnn
from fastsnn.convert.bounds import RANGES
from fastsnn.errors import ConversionError
from fastsnn.profile.layout import layout
from fastsnn.program import FunctionLayer, MaxPoolLayer, NeuronLayer

T = 12
RULE = "percentile:99.5"
SILU = RANGES["silu"][0]
ENTRIES = {}


def entry(**functions):
    """A network, and the functions in it: the least value of those with neurons behind them, None for the others."""

    def register(make):
        ENTRIES[make.__name__] = make, functions
        return make

    return register


@entry(silu=SILU)
def smooth():
    return nn.Sequential(conv(3, 6), nn.SiLU(), conv(6, 5), nn.SiLU(), Lambda(gap), nn.Linear(5, 4))


@entry(gelu=RANGES["gelu"][0])
def smooth_between_pools():
    layers = conv(3, 6), nn.GELU(), nn.AvgPool2d(2), conv(6, 5, padding=0), nn.BatchNorm2d(5), nn.GELU()
    return nn.Sequential(*layers, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(20, 4))


@entry(elu=-0.7)
def smooth_with_an_argument():
    return nn.Sequential(conv(3, 6), nn.ELU(0.7), conv(6, 5), nn.ReLU(), Lambda(gap), nn.Linear(5, 4))


@entry(silu=SILU, sigmoid=None, mul=SILU)
def squeeze_and_excite():
    def forward(m, x):
        x = F.silu(m.n(m.a(x)))
        gate = torch.sigmoid(m.up(F.relu(m.down(x.mean((2, 3), keepdim=True)))))
        return m.fc(gap(F.relu(m.b(gate * x) + x)))

    return Body(
        forward, a=conv(3, 6), n=nn.BatchNorm2d(6), down=conv(6, 3, 1), up=conv(3, 6, 1), b=conv(6, 6),
        fc=nn.Linear(6, 4),
    )  # fmt: skip


@entry(hardswish=-0.375, hardsigmoid=None, mul=-0.375)
def mobile():
    """What has kernels of its own."""

    def forward(m, x):
        x = F.hardswish(m.n(m.a(x)))
        gate = F.hardsigmoid(m.up(F.relu(m.down(x.mean((2, 3), keepdim=True)))))
        return m.fc(gap(F.hardswish(m.b(gate * x))))

    return Body(
        forward, a=conv(3, 6), n=nn.BatchNorm2d(6), down=conv(6, 3, 1), up=conv(3, 6, 1), b=conv(6, 6),
        fc=nn.Linear(6, 4),
    )  # fmt: skip


@entry(hardsigmoid=None, mul=None)
def gate_in_front_of_a_sum():
    def forward(m, x):
        x = F.relu(m.a(x))
        y = m.b(x)
        return m.fc(gap(F.relu(x + y * F.hardsigmoid(m.c(y.mean((2, 3), True))))))

    return Body(forward, a=conv(3, 5), b=conv(5, 5), c=conv(5, 5, 1), fc=nn.Linear(5, 4))


@entry(native_layer_norm=None, bmm=None, _softmax=None, gelu=RANGES["gelu"][0])
def transformer():
    def forward(m, x):
        x = F.relu(m.patches(x)).flatten(2).transpose(1, 2)
        y = m.norm(x)
        scores = torch.bmm(m.q(y), m.k(y).transpose(1, 2)) / 2
        x = x + torch.bmm(scores.softmax(-1), m.v(y))
        x = x + m.down(F.gelu(m.up(m.other(x))))
        return m.fc(x.mean(1))

    return Body(
        forward, patches=nn.Conv2d(3, 8, 4, 4), norm=nn.LayerNorm(8), q=nn.Linear(8, 4), k=nn.Linear(8, 4),
        v=nn.Linear(8, 8), other=nn.LayerNorm(8), up=nn.Linear(8, 12), down=nn.Linear(12, 8), fc=nn.Linear(8, 4),
    )  # fmt: skip


@entry(bmm=None, _softmax=None)
def einsums():
    """Attention of two heads, and linear layers whose features are two dimensions or come first."""

    def forward(m, x):
        x = F.relu(m.patches(x)).flatten(2).transpose(1, 2)
        q, k, v = (part(x).unflatten(2, (2, 4)) for part in (m.q, m.k, m.v))
        scores = torch.einsum("n i h d, n j h d -> n h i j", q, k) / 2
        x = F.relu(torch.einsum("hdk,nihd->nki", m.weight, torch.einsum("nhij,njhd->nihd", scores.softmax(-1), v)))
        return m.fc(torch.einsum("ck,aki", m.matrix, x).mean(2))

    body = Body(
        forward, patches=nn.Conv2d(3, 8, 4, 4), q=nn.Linear(8, 8), k=nn.Linear(8, 8), v=nn.Linear(8, 8),
        fc=nn.Linear(5, 4),
    )  # fmt: skip
    body.weight = nn.Parameter(torch.linspace(-9, 9, 48).sin().reshape(2, 4, 6))
    body.matrix = nn.Parameter(torch.linspace(-5, 5, 30).cos().reshape(5, 6))
    return body


@entry(native_group_norm=None)
def group_norm():
    layers = conv(3, 6), nn.ReLU(), conv(6, 6), nn.GroupNorm(2, 6), nn.ReLU(), Lambda(gap), nn.Linear(6, 4)
    return nn.Sequential(*layers)


@entry(maximum=None)
def largest_of_two_branches():
    def forward(m, x):
        x = F.relu(m.a(x))
        return m.fc(gap(F.relu(torch.maximum(m.b(x), m.c(x)))))

    return Body(forward, a=conv(3, 5), b=conv(5, 5), c=conv(5, 5, 1), fc=nn.Linear(5, 4))


@entry(amax=None, sigmoid=None, mul=None)
def attention_over_channels_and_positions():
    """CBAM (Woo et al., ECCV 2018)."""

    def forward(m, x):
        x = F.relu(m.a(x))
        gate = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return m.fc(gap(F.relu(x * torch.sigmoid(m.b(gate)) - 0.1)))

    return Body(forward, a=conv(3, 5), b=conv(2, 1, 5), fc=nn.Linear(5, 4))


@entry(glu=None)
def gated_linear_units():
    """Half of the channels by the sigmoids of the others (Dauphin et al., ICML 2017)."""

    def forward(m, x):
        x = F.relu(m.a(x))
        return m.fc(gap(F.relu(F.glu(m.b(x), 1) + x)))

    return Body(forward, a=conv(3, 5), b=conv(5, 10), fc=nn.Linear(5, 4))


@entry(logsumexp=None, topk=None, cumsum=None)
def over_positions():
    """Smooth maxima, the largest few, and running sums."""

    def forward(m, x):
        x = F.relu(m.a(x))
        y = torch.cat([x.logsumexp((2, 3)), x.flatten(2).topk(3)[0].mean(2)], 1)
        return m.fc(F.relu(m.up(y)) + gap(F.relu(x.cumsum(2) - 1)))

    return Body(forward, a=conv(3, 4), up=nn.Linear(8, 4), fc=nn.Linear(4, 4))


@entry(div=None, linalg_vector_norm=None)
def normalised():
    """Channels by their norms over positions, which are zero in steps without spikes."""

    def forward(m, x):
        x = F.relu(m.a(x))
        return m.fc(gap(F.relu(m.b(x) + x / (torch.linalg.vector_norm(x, dim=(2, 3), keepdim=True) + 1e-6))))

    return Body(forward, a=conv(3, 5), b=conv(5, 5), fc=nn.Linear(5, 4))


def network(name):
    torch.manual_seed(0)
    return randomise(ENTRIES[name][0]()).double().eval()


@cache
def converted(name, precision="float64"):
    return fastsnn.convert(network(name), images(16, seed=5), precision=precision, timesteps=T, threshold=RULE)


def channels_first(train):
    spikes = train.unpack()[0].bool()
    return spikes.movedim(-1, 2) if spikes.ndim > 3 else spikes


every = pytest.mark.parametrize("name", ENTRIES)


@every
def test_without_clipping_it_is_the_network(name):
    with torch.no_grad():
        wanted = network(name)(images(4))
    got = converted(name).analog(images(4), clip=False)
    assert (got - wanted).abs().max() < 1e-9 * wanted.abs().max()


@every
def test_float64_spikes_are_those_of_the_simulation(name):
    snn, x = converted(name), images(4)
    reference = simulate(network(name), x, T, list(snn.thresholds.values()), functions=ENTRIES[name][1])
    for train, wanted in zip(snn.spikes(x).values(), in_order(reference, snn.program), strict=True):
        assert torch.equal(channels_first(train), wanted)
    assert all(0.01 < spikes.double().mean() < 0.9 for spikes in reference.spikes)
    assert (snn.logits_over_time(x) - reference.logits[0]).abs().max() < 1e-9


@every
@pytest.mark.parametrize("precision", ["float32", "int32"])
def test_rounding_moves_few_spikes(name, precision):
    x, differ, total = images(4), 0, 0
    for a, b in zip(converted(name).spikes(x).values(), converted(name, precision).spikes(x).values(), strict=True):
        pair = a.unpack()[0], b.unpack()[0]
        differ, total = differ + int((pair[0] != pair[1]).sum()), total + pair[0].numel()
    assert differ < 1e-3 * total


@every
def test_int32_spikes_do_not_depend_on_how_they_are_run(name):
    snn, x = converted(name, "int32"), images(3)
    together = {layer: train.unpack()[0] for layer, train in snn.spikes(x).items()}
    longer = {layer: train.unpack()[0] for layer, train in snn.spikes(x[1:2], 40).items()}
    simulation = snn.simulation(x)
    parts = [simulation.advance(n, list(together))[0] for n in (5, T - 5)]
    for layer, spikes in together.items():
        assert torch.equal(longer[layer][:T, :1], spikes[:, 1:2]), layer
        words = parts[0][layer].int() | parts[1][layer].int() << 5
        whole = sum((spikes[t].int() << t for t in range(T)), torch.zeros_like(words))
        assert torch.equal(words & (2**T - 1), whole), layer


@every
def test_more_steps_come_closer(name):
    with torch.no_grad():
        wanted = network(name)(images(4))
    clipped = converted(name).analog(images(4))
    errors = [(converted(name)(images(4), timesteps) - clipped).abs().mean() for timesteps in (8, 256)]
    assert errors[1] < 0.25 * errors[0] and errors[0] < wanted.abs().mean()


@every
@pytest.mark.parametrize("precision", ["float32", "int32"])
def test_a_file_gives_the_same_spikes(name, precision, tmp_path):
    snn, x = converted(name, precision), images(2)
    path = snn.save(tmp_path / "net.safetensors")
    again = fastsnn.load(path)
    assert torch.equal(again(x), snn(x))
    assert str(again.report) == str(snn.report)


def test_early_exit_keeps_the_images_that_go_on():
    snn, x = converted("squeeze_and_excite", "float32"), images(6).float()
    whole, simulation = snn.logits_over_time(x), snn.simulation(x)
    simulation.advance(5)
    left = torch.tensor([1, 4])
    simulation.keep(left)
    _, outputs = simulation.advance(T - 5, over_time=True)
    # sums of other images are added up in another order
    assert (outputs[0] - whole[5:, left]).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["squeeze_and_excite", "mobile"])
def test_several_threads_and_a_recorded_run_change_nothing(name):
    snn, threads = converted(name, "int32"), torch.get_num_threads()
    sets = [images(3, seed=seed) for seed in range(4)]
    wanted = [snn.simulation(x).advance(T, last=True)[1][0] for x in sets]
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            assert all(torch.equal(snn(x), out) for x, out in zip(sets, wanted, strict=True))
    finally:
        torch.set_num_threads(threads)


# ---- bounds, neurons, reports


# of one number each, and reaching their bounds between -30 and 30
@pytest.mark.parametrize("name", sorted(set(RANGES) - {"softmax", "linalg_vector_norm", "var", "std", "rsqrt"}))
def test_ranges_hold_and_are_no_wider_than_needed(name):
    x = torch.linspace(-30, 30, 2_000_001, dtype=torch.float64)
    got = getattr(torch.ops.aten, name)(x if name != "sqrt" else x.clamp(min=0))
    low, high = RANGES[name]
    # that of gelu is the least of its two forms
    assert low <= got.min() < low + 1e-4
    assert got.max() <= high and (math.isinf(high) or got.max() > high - 1e-9)


def test_neurons_are_where_a_linear_layer_reads():
    layers = converted("squeeze_and_excite").program.layers
    neurons = [name for name, layer in layers.items() if isinstance(layer, NeuronLayer)]
    assert neurons == ["silu.spikes", "relu", "mul.spikes", "relu_1"]
    assert not any(isinstance(la, FunctionLayer) and la.stepwise for la in layers.values())
    assert "of means over the steps so far" in str(converted("squeeze_and_excite").report)


def test_two_neurons_carry_what_has_two_signs():
    def model(activation):
        return randomise(nn.Sequential(conv(3, 6), activation, conv(6, 5), nn.ReLU(), Lambda(gap), nn.Linear(5, 4)))

    slopes = nn.PReLU(6)
    slopes.weight.data = torch.linspace(-0.2, 0.5, 6)
    for activation in (nn.LeakyReLU(0.2), slopes, nn.PReLU(), nn.RReLU()):
        net = model(activation).double().eval()
        snn = fastsnn.convert(net, images(16, seed=5), precision="float64", timesteps=T)
        with torch.no_grad():
            wanted = net(images(4))
        assert (snn.analog(images(4), clip=False) - wanted).abs().max() < 1e-9
        assert list(snn.thresholds) == ["1.above", "1.below", "3"]
        assert (snn(images(4), 512) - snn.analog(images(4))).abs().max() < 0.1 * wanted.abs().max()


def test_a_max_pool_passes_on_spikes_that_stand_for_values_below_zero():
    layers = conv(3, 6), nn.SiLU(), nn.MaxPool2d(3, 2, 1), conv(6, 5), nn.ReLU(), Lambda(gap), nn.Linear(5, 4)
    net = randomise(nn.Sequential(*layers)).double().eval()
    snn = fastsnn.convert(net, images(16, seed=5), precision="float64", timesteps=T)
    assert [layer.spiking for layer in snn.program.layers.values() if isinstance(layer, MaxPoolLayer)] == [True]
    with torch.no_grad():
        wanted = net(images(4))
    assert (snn.analog(images(4), clip=False) - wanted).abs().max() < 1e-9
    assert (snn(images(4), 512) - snn.analog(images(4))).abs().max() < 0.05 * wanted.abs().max()


def test_clamps_from_any_constant():
    for activation in (nn.Hardtanh(), Lambda(lambda x: x.clamp(min=-0.5)), Lambda(lambda x: x.clamp(0.25, 1.5))):
        net = randomise(nn.Sequential(conv(3, 6), activation, conv(6, 5), nn.ReLU(), Lambda(gap), nn.Linear(5, 4)))
        net = net.double().eval()
        snn = fastsnn.convert(net, images(16, seed=5), precision="float64", timesteps=T)
        with torch.no_grad():
            assert (snn.analog(images(4), clip=False) - net(images(4))).abs().max() < 1e-9
        assert len(snn.thresholds) == 2


def test_a_network_of_functions_alone_is_refused():
    with pytest.raises(ConversionError, match="no activation"):
        fastsnn.convert(nn.Sequential(nn.Flatten(), nn.LayerNorm(432), nn.Softmax(1)), images(4).float())


@pytest.mark.parametrize("method", ["dc", "srp", "ltb", "ecmt", "m-ht", "tpp", "cos"])
def test_other_methods(method):
    net, x = network("squeeze_and_excite").float(), images(4).float()
    snn = fastsnn.convert(net, images(16, seed=5).float(), method=method, precision="float32", timesteps=32)
    assert (snn(x) - snn.analog(x)).abs().mean() < 0.5 * snn.analog(x).abs().mean()


@pytest.mark.parametrize(
    ("equation", "shape", "why"),
    [
        ("nchw,mchw->nm", None, "mixes them"),
        ("nchw,nchw->cn", None, "mixes them"),
        ("...hw,...hw->...", None, "einsum with an ellipsis"),
        ("nchw,c->nchw", (4,), "what the two share is summed"),
        ("nchw,kh->nck", (5, 12), "nothing else is"),
        ("nchw,ck,kd->nhwd", (4, 4), "linear layers are supported"),
    ],
)
def test_einsums_that_are_refused(equation, shape, why):
    constants = [torch.ones(shape)] * (equation.count(",")) if shape else None

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv(3, 4)

        def forward(self, x):
            x = F.relu(self.conv(x))
            return torch.einsum(equation, x, *(constants or [x]))

    with pytest.raises(ConversionError, match=why):
        fastsnn.convert(Net().eval(), images(4).float())


def test_a_profile_counts_products_of_every_step():
    snn = converted("transformer", "int32")
    rows = {row.layer: row for row in snn.report.rows}
    found = {facts.name: facts for facts in layout(snn.program, snn.report.rows, T, False)}
    assert rows["bmm"].macs.existing == 9 * 9 * 4 and found["bmm"].role == "numbers"
    assert found["bmm"].macs == ({"kind": "numbers", "source": "q.out", "once": 9 * 9 * 4, "times": T},)
    snn = converted("einsums", "int32")
    rows = {row.layer: row for row in snn.report.rows}
    # two heads of four, of nine tokens; and each token's eight features become six
    assert rows["einsum"].macs.existing == rows["einsum_1"].macs.existing == 2 * 9 * 9 * 4
    assert sum(row.macs.existing for name, row in rows.items() if "einsum_2" in name or "relu_1" in name) == 9 * 8 * 6
