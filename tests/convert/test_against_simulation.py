"""Converted networks against the zoo they come from, and against simulations that share no code with fastsnn."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from simulator import simulate
from torch import nn
from torch.utils._pytree import tree_leaves
from zoo import SPELLINGS, ZOO, Body, Lambda, conv, gap, images, network, randomise

import fastsnn
from fastsnn.program import ConvTerm, InputLayer, LinearTerm, NeuronLayer, RouteLayer

T = 12
RULE = "percentile:99.5"
# one spelling of the activation is as good as another once float64 spikes agree
WHOLE = [name for name in ZOO if name not in {f"spelt_{s}" for s in SPELLINGS}]

every = pytest.mark.parametrize("name", ZOO)
whole = pytest.mark.parametrize("name", WHOLE)


def calibration():
    return images(16, seed=5)


@cache
def converted(name, precision):
    return fastsnn.convert(network(name), calibration(), precision=precision, timesteps=T, threshold=RULE)


@cache
def simulated(name):
    return simulate(network(name), images(4), T, list(converted(name, "float64").thresholds.values()))


def channels_first(train):
    """[T, B, C, *S] of a spike train."""
    spikes = train.unpack()[0].bool()
    return spikes.movedim(-1, 2) if spikes.ndim > 3 else spikes


def all_spikes(snn, x, timesteps=None):
    return [channels_first(train) for train in snn.spikes(x, timesteps).values()]


def same(left, right):
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def relative(got, want):
    pairs = zip(tree_leaves(got), tree_leaves(want), strict=True)
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)


def far_from(snn, x, reference):
    """Share of spikes that differ from the simulation's, and per image whether any does."""
    differ = [a != b for a, b in zip(all_spikes(snn, x), reference.spikes, strict=True)]
    images_hit = torch.stack([d.transpose(0, 1).flatten(1).any(1) for d in differ]).any(0)
    return sum(d.sum().item() for d in differ) / sum(d.numel() for d in differ), images_hit


@every
def test_without_clipping_it_is_the_network(name):
    with torch.no_grad():
        wanted = network(name)(images(4))
    got = converted(name, "float64").analog(images(4), clip=False)
    assert torch.utils._pytree.tree_structure(got) == torch.utils._pytree.tree_structure(wanted)
    assert relative(got, wanted) < 1e-9


@every
def test_float64_spikes_are_those_of_the_simulation(name):
    snn, reference = converted(name, "float64"), simulated(name)
    assert same(all_spikes(snn, images(4)), reference.spikes)
    rates = [s.double().mean().item() for s in reference.spikes]
    assert all(0.01 < rate < 0.9 for rate in rates), f"the network should be neither silent nor saturated: {rates}"
    over_time = tree_leaves(snn.logits_over_time(images(4)))
    for got, wanted in zip(over_time, reference.logits, strict=True):
        assert got.shape == wanted.shape and (got - wanted).abs().max() < 1e-9
    for got, wanted in zip(tree_leaves(snn(images(4))), reference.logits, strict=True):
        assert (got - wanted[-1]).abs().max() < 1e-9


@whole
@pytest.mark.parametrize("precision", ["float32", "int32"])
def test_rounding_moves_few_spikes(name, precision):
    # where no spike of an image moves, its logits are those of the simulation; where one does, they cannot be
    snn, reference = converted(name, precision), simulated(name)
    rate, hit = far_from(snn, images(4), reference)
    assert rate < 1e-3
    assert hit.sum() <= 2
    for got, wanted in zip(tree_leaves(snn.logits_over_time(images(4))), reference.logits, strict=True):
        error = (got.double() - wanted).abs()[:, ~hit].max()
        assert error < 1e-5 * max(1, wanted.abs().max())


@whole
def test_int32_spikes_do_not_depend_on_how_they_are_run(name):
    snn, x = converted(name, "int32"), images(4)
    together = all_spikes(snn, x)
    assert same([torch.cat(parts, 1) for parts in zip(*(all_spikes(snn, one[None]) for one in x))], together)
    assert same(all_spikes(snn, x, 5), [s[:5] for s in together])
    assert same([s[:T] for s in all_spikes(snn, x[:2], 40)], [s[:, :2] for s in together])
    threads = torch.get_num_threads()
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            assert same(all_spikes(snn, x), together)
    finally:
        torch.set_num_threads(threads)


@whole
def test_conversion_leaves_the_model_alone(name):
    model = network(name).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    parameters, modes = list(model.parameters()), [m.training for m in model.modules()]
    fastsnn.convert(model, calibration()[:2], timesteps=2, threshold="max")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(a is b and a.grad is None for a, b in zip(model.parameters(), parameters, strict=True))
    assert [m.training for m in model.modules()] == modes


@pytest.mark.parametrize(
    "options",
    [
        {"reset": "hard"},
        {"comparator": ">"},
        {"per_channel": False},
        {"initial_potential": 0.3},
        {"initial_potential": "uniform", "seed": 3},
        {"initial_potential": "gaussian"},
        {"threshold": "mse"},
        {"threshold": "max", "initial_potential": 0.0},
    ],
    ids=lambda options: "-".join(f"{k}={v}" for k, v in options.items()),
)
def test_every_kind_of_neuron_is_simulated_alike(options):
    model, x = network("resnet_option_b"), images(3)
    snn = fastsnn.convert(model, calibration(), precision="float64", timesteps=T, **options)
    start = [v if v.ndim == 0 else v.movedim(-1, 0) for v in snn.initial_potentials.values()]
    thresholds = list(snn.thresholds.values())
    assert all(theta.ndim == (0 if options.get("per_channel") is False else 1) for theta in thresholds)
    reset, comparator = options.get("reset", "soft"), options.get("comparator", ">=")
    reference = simulate(model, x, T, thresholds, start, reset, comparator)
    assert same(all_spikes(snn, x), reference.spikes)
    assert (snn.logits_over_time(x) - reference.logits[0]).abs().max() < 1e-9


# ---- max pooling


def pooled(pool, pool_first, kinds=(dict(kernel_size=2), dict(kernel_size=3, stride=2, padding=1))):
    """Two blocks, the second with branches that are concatenated; `pool_first` puts the pool before the ReLU."""

    def block(m, x, i):
        return m.pools[i](F.relu(x)) if not pool_first else F.relu(m.pools[i](x))

    def forward(m, x):
        x = block(m, m.a(x), 0)
        if pool_first:
            x = torch.cat([F.relu(m.pools[1](m.b(x))), F.relu(m.pools[1](m.c(x)))], 1)
        else:
            x = m.pools[1](torch.cat([F.relu(m.b(x)), F.relu(m.c(x))], 1))
        return m.fc(gap(F.relu(m.d(x))))

    pools = nn.ModuleList([pool(**kind) for kind in kinds])
    model = Body(forward, a=conv(3, 4), b=conv(4, 3), c=conv(4, 2, 1), d=conv(5, 4), fc=nn.Linear(4, 4), pools=pools)
    return randomise(model).double().eval()


@pytest.mark.parametrize("policy", ["before", "gate", "or", "average"])
def test_max_pooling_is_what_its_policy_says(policy):
    x = images(4)
    model = pooled(nn.MaxPool2d, False)
    snn = fastsnn.convert(model, calibration(), precision="float64", timesteps=T, max_pool=policy, threshold=RULE)
    twin = {
        "before": pooled(nn.MaxPool2d, True),
        "gate": model,
        "or": model,
        "average": pooled(lambda **kind: nn.AvgPool2d(count_include_pad=False, **kind), False),
    }[policy]
    reference = simulate(twin, x, T, list(snn.thresholds.values()), gate=policy == "gate")
    assert same(all_spikes(snn, x), reference.spikes)
    assert (snn.logits_over_time(x) - reference.logits[0]).abs().max() < 1e-9
    fixed = fastsnn.convert(model, calibration(), timesteps=T, max_pool=policy, threshold=RULE)
    assert far_from(fixed, x, reference)[0] < 1e-3
    alone = [torch.cat(parts, 1) for parts in zip(*(all_spikes(fixed, one[None], 35) for one in x))]
    assert same(alone, all_spikes(fixed, x, 35))
    if policy != "average":
        with torch.no_grad():
            assert relative(snn.analog(x, clip=False), model(x)) < 1e-9


def test_max_pooling_of_numbers_takes_the_largest_of_each_step():
    def forward(m, x):
        x = m.n(F.relu(m.a(x)))
        x = F.relu(m.b(F.max_pool2d(x, 2)))
        return m.fc(gap(F.relu(F.max_pool2d(m.b(x) + x, 3, 2, 1, ceil_mode=True))))

    model = Body(forward, a=conv(3, 4), n=nn.BatchNorm2d(4), b=conv(4, 4), fc=nn.Linear(4, 4))
    model, x = randomise(model).double().eval(), images(4)
    snn = fastsnn.convert(model, calibration(), precision="float64", timesteps=T, threshold=RULE)
    reference = simulate(model, x, T, list(snn.thresholds.values()))
    assert same(all_spikes(snn, x), reference.spikes)
    assert (snn.logits_over_time(x) - reference.logits[0]).abs().max() < 1e-9
    assert far_from(fastsnn.convert(model, calibration(), timesteps=T, threshold=RULE), x, reference)[0] < 1e-3


def test_a_neuron_that_a_max_pool_and_a_skip_read_stays_for_the_skip():
    def forward(m, x):
        x = F.relu(m.a(x))
        y = F.relu(m.b(F.max_pool2d(x, 2)))
        return m.fc(gap(F.relu(m.c(torch.cat([x, F.interpolate(y, scale_factor=2.0)], 1)))))

    model = Body(forward, a=conv(3, 4), b=conv(4, 4), c=conv(8, 4), fc=nn.Linear(4, 4))
    model, x = randomise(model).double().eval(), images(4)
    snn = fastsnn.convert(model, calibration(), precision="float64", timesteps=T, threshold=RULE)
    assert len(snn.thresholds) == 4
    with torch.no_grad():
        assert relative(snn.analog(x, clip=False), model(x)) < 1e-9


# ---- fixed point, in 64-bit integers


def _windows(x, kernel, term):
    """[B, *S', C, *kernel] of a channels-last int64 array."""
    pad = [(0, 0), *((p, p) for p in term.padding), (0, 0)]
    spans = [d * (k - 1) + 1 for d, k in zip(term.dilation, kernel, strict=True)]
    dims = tuple(range(1, 1 + len(kernel)))
    view = sliding_window_view(np.pad(x, pad), spans, axis=dims)
    steps = (slice(None), *(slice(None, None, s) for s in term.stride), slice(None))
    return view[(*steps, *(slice(None, None, d) for d in term.dilation))]


def _integer_term(term, x):
    weight = term.weight.numpy().astype(np.int64)
    if isinstance(term, ConvTerm):
        windows = _windows(x, weight.shape[2:], term)
        inner = tuple(range(windows.ndim - weight.ndim + 1, windows.ndim))
        parts = []
        for g, group in enumerate(np.split(weight, term.groups)):
            channels = slice(g * group.shape[1], (g + 1) * group.shape[1])
            window = windows[(*[slice(None)] * inner[0], channels)]
            parts.append(np.tensordot(window, group, (inner, tuple(range(1, group.ndim)))))
        total = np.concatenate(parts, -1)
    elif isinstance(term, LinearTerm):
        total = x @ weight.T
    else:
        total = x * weight
    return (total + (1 << (term.shift - 1))) >> term.shift if term.shift else total


@dataclass
class _Integers:
    """The neuron layers of a fixed-point program, from nothing but the integers that it stores."""

    program: object

    def run(self, x, T):
        stored = {}
        fired = {name: [] for name in self.program.neurons}
        potential = {
            name: layer.initial_potential.numpy().astype(np.int64) for name, layer in self.program.neurons.items()
        }
        for _ in range(T):
            for name, layer in self.program.layers.items():
                if isinstance(layer, InputLayer):
                    image = np.round(x.movedim(1, -1).numpy() * 2.0**self.program.exponent)
                    stored[name] = image.astype(np.int64)
                elif isinstance(layer, RouteLayer) and layer.spiking and layer.index is not None:
                    flat = np.concatenate([stored[s].reshape(len(x), -1) for s in layer.sources], 1)
                    flat = np.concatenate([flat, np.zeros((len(x), 1), np.int64)], 1)
                    stored[name] = flat[:, layer.index.numpy().ravel()].reshape(len(x), *layer.shape)
                elif isinstance(layer, NeuronLayer):
                    current = sum(_integer_term(term, stored[term.source]) for term in layer.terms)
                    v = potential[name] + current + layer.bias.numpy().astype(np.int64)
                    theta = layer.threshold.item()
                    stored[name] = (v >= theta).astype(np.int64)
                    potential[name] = v - theta * stored[name]
                    # far from where numbers saturate, so that plain sums are the definition
                    assert np.abs(potential[name]).max() < 2**30 and np.abs(current).max() < 2**29
                    fired[name].append(torch.from_numpy(stored[name]).bool())
        return {name: torch.stack(steps) for name, steps in fired.items()}


@pytest.mark.parametrize(
    "name",
    ["resnet_option_a_pad", "resnet_option_b", "one_relu_for_all", "groups_dilation_even_kernels", "spelt_relu6"],
)
def test_int32_spikes_are_those_of_plain_integers(name):
    snn, x = converted(name, "int32"), images(3)
    wanted = _Integers(snn.program).run(x.float().double(), T)
    got = snn.spikes(x)
    for layer, spikes in wanted.items():
        assert torch.equal(got[layer].unpack()[0].bool(), spikes), layer


def test_a_linear_network_in_plain_integers():
    layers = [Lambda(lambda x: x.flatten(1)), nn.Linear(432, 20), nn.ReLU(), nn.Linear(20, 15), nn.ReLU()]
    model = randomise(nn.Sequential(*layers, nn.Linear(15, 4))).double()
    snn, x = fastsnn.convert(model, calibration(), timesteps=T, threshold=RULE), images(5)
    first, second = snn.program.neurons.values()
    spikes = {name: train.unpack()[0].long() for name, train in snn.spikes(x).items()}
    driven = spikes[first.name].numpy()
    v = second.initial_potential.numpy().astype(np.int64)
    for t in range(T):
        v = v + _integer_term(second.terms[0], driven[t]) + second.bias.numpy().astype(np.int64)
        fires = v >= second.threshold.item()
        v = v - second.threshold.item() * fires
        assert torch.equal(spikes[second.name][t].bool(), torch.from_numpy(fires))
