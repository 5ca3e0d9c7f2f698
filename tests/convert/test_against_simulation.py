"""Converted networks against the zoo they come from, and against simulations that share no code with fastsnn."""

from contextlib import contextmanager
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from simulator import in_order, simulate
from torch import nn
from torch.utils._pytree import tree_leaves
from zoo import SPELLINGS, ZOO, Body, Lambda, conv, gap, images, network, randomise

import fastsnn
from fastsnn.program import (
    ConvTerm,
    CountLayer,
    InputLayer,
    LinearTerm,
    NeuronLayer,
    PlaneLayer,
    RouteLayer,
    WindowTerm,
)

T = 12
RULE = "percentile:99.5"
LIMIT = 2**30
# one spelling of the activation is as good as another once float64 spikes agree
WHOLE = [name for name in ZOO if name not in {f"spelt_{s}" for s in SPELLINGS}]

every = pytest.mark.parametrize("name", ZOO)
whole = pytest.mark.parametrize("name", WHOLE)


def calibration():
    return images(16, seed=5)


@contextmanager
def left_alone(model):
    """Whatever happens inside, the model is the same afterwards."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    parameters, modes = list(model.parameters()), [m.training for m in model.modules()]
    yield model
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(a is b and a.grad is None for a, b in zip(model.parameters(), parameters, strict=True))
    assert [m.training for m in model.modules()] == modes


@cache
def converted(name, precision):
    with left_alone(network(name).train()) as model:
        return fastsnn.convert(model, calibration(), precision=precision, timesteps=T, threshold=RULE)


@cache
def simulated(name):
    snn = converted(name, "float64")
    found = simulate(network(name), images(4), T, list(snn.thresholds.values()))
    found.spikes = in_order(found, snn.program)
    return found


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
    snn, x = converted(name, "int32"), images(3)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        together = all_spikes(snn, x)
        for one in (0, 2):
            assert same(all_spikes(snn, x[one : one + 1]), [s[:, one : one + 1] for s in together])
        assert same(all_spikes(snn, x[:1], 5), [s[:5, :1] for s in together])
        assert same([s[:T] for s in all_spikes(snn, x[1:2], 34)], [s[:, 1:2] for s in together])
        torch.set_num_threads(2)
        assert same(all_spikes(snn, x), together)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ["resnet_option_b", "counts_its_calls", "changes_its_input", "weight_norms"])
@pytest.mark.parametrize("training", [True, False])
def test_conversion_leaves_model_and_images_alone(name, training):
    x = calibration()
    with left_alone(network(name).train(training)) as model:
        snn = fastsnn.convert(model, x, timesteps=2, threshold="max")
    assert torch.equal(x, calibration())
    snn(x)
    snn.spikes(x)
    assert torch.equal(x, calibration())


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


@pytest.mark.parametrize("policy", ["lateral", "before", "gate", "or", "average"])
def test_max_pooling_is_what_its_policy_says(policy):
    x = images(4)
    model = pooled(nn.MaxPool2d, False)
    snn = fastsnn.convert(model, calibration(), precision="float64", timesteps=T, max_pool=policy, threshold=RULE)
    twin = {
        "before": pooled(nn.MaxPool2d, True),
        "lateral": model,
        "gate": model,
        "or": model,
        "average": pooled(lambda **kind: nn.AvgPool2d(count_include_pad=False, **kind), False),
    }[policy]
    reference = simulate(twin, x, T, list(snn.thresholds.values()), pooled=policy)
    assert same(all_spikes(snn, x), reference.spikes)
    assert (snn.logits_over_time(x) - reference.logits[0]).abs().max() < 1e-9
    fixed = fastsnn.convert(model, calibration(), timesteps=T, max_pool=policy, threshold=RULE)
    assert far_from(fixed, x, reference)[0] < 1e-3
    alone = [torch.cat(parts, 1) for parts in zip(*(all_spikes(fixed, one[None], 35) for one in x), strict=True)]
    assert same(alone, all_spikes(fixed, x, 35))
    if policy != "average":
        with torch.no_grad():
            assert relative(snn.analog(x, clip=False), model(x)) < 1e-9


@pytest.mark.parametrize("policy", ["lateral", "or"])
def test_max_pooling_of_numbers_is_that_of_sums_or_of_each_step(policy):
    def forward(m, x):
        x = m.n(F.relu(m.a(x)))
        x = F.relu(m.b(F.max_pool2d(x, 2)))
        return m.fc(gap(F.relu(m.n(F.max_pool2d(m.b(x) + x, 3, 2, 1, ceil_mode=True)))))

    model = Body(forward, a=conv(3, 4), n=nn.BatchNorm2d(4), b=conv(4, 4), fc=nn.Linear(4, 4))
    model, x = randomise(model).double().eval(), images(4)
    # a channel in which a spike is worth less than none
    nn.init.constant_(model.n.weight[:1], -0.8)
    options = {"timesteps": T, "threshold": RULE, "max_pool": policy}
    snn = fastsnn.convert(model, calibration(), precision="float64", **options)
    reference = simulate(model, x, T, list(snn.thresholds.values()), pooled=policy)
    assert same(all_spikes(snn, x), reference.spikes)
    assert (snn.logits_over_time(x) - reference.logits[0]).abs().max() < 1e-9
    assert far_from(fastsnn.convert(model, calibration(), **options), x, reference)[0] < 1e-3


@pytest.mark.parametrize("policy", ["lateral", "gate", "or"])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_max_pool_in_front_of_an_activation_is_one_of_spikes(policy, scaled):
    def body(before):
        def forward(m, x):
            x = F.relu(m.a(x))
            y = m.b(x)
            if before:
                y = F.max_pool2d(y, 3, 2, 1)
                y = F.relu(m.n(y) if scaled else y)
            else:
                y = F.max_pool2d(F.relu(m.n(y) if scaled else y), 3, 2, 1)
            return m.fc(gap(F.relu(m.c(y))))

        return Body(forward, a=conv(3, 4), b=conv(4, 4), n=nn.BatchNorm2d(4), c=conv(4, 4), fc=nn.Linear(4, 4))

    model, x = randomise(body(True)).double().eval(), images(4)
    nn.init.uniform_(model.n.weight, 0.2, 1)
    twin = body(False).double().eval()
    twin.load_state_dict(model.state_dict())
    options = {"timesteps": T, "threshold": RULE, "max_pool": policy}
    for precision in ("int32", "float64"):
        snn = fastsnn.convert(model, calibration(), precision=precision, **options)
        same_network = fastsnn.convert(twin, calibration(), precision=precision, **options)
        assert list(snn.thresholds) == list(same_network.thresholds)
        assert same(all_spikes(snn, x), all_spikes(same_network, x))
        assert torch.equal(snn(x), same_network(x))
    with torch.no_grad():
        assert relative(snn.analog(x, clip=False), model(x)) < 1e-9


def test_pools_that_several_activations_read_are_one_for_each():
    def forward(m, x):
        y = F.max_pool2d(m.b(F.relu(m.a(x))), 2)
        return m.fc(gap(F.relu(m.c(torch.cat([F.relu(y), F.relu6(y)], 1)))))

    model = Body(forward, a=conv(3, 4), b=conv(4, 4), c=conv(8, 4), fc=nn.Linear(4, 4))
    model, x = randomise(model).double().eval(), images(4)
    snn = fastsnn.convert(model, calibration(), precision="float64", timesteps=T, threshold=RULE)
    assert len(snn.thresholds) == 4
    assert str(snn.report).count("max pool of spikes (lateral)") == 2
    with torch.no_grad():
        assert relative(snn.analog(x, clip=False), model(x)) < 1e-9


def test_a_neuron_that_a_max_pool_and_a_skip_read_stays_for_the_skip():
    def forward(m, x):
        x = F.relu(m.a(x))
        y = F.relu(m.b(F.max_pool2d(x, 2)))
        return m.fc(gap(F.relu(m.c(torch.cat([x, F.interpolate(y, scale_factor=2.0)], 1)))))

    model = Body(forward, a=conv(3, 4), b=conv(4, 4), c=conv(8, 4), fc=nn.Linear(4, 4))
    model, x = randomise(model).double().eval(), images(4)
    snn = fastsnn.convert(model, calibration(), precision="float64", timesteps=T, threshold=RULE, max_pool="before")
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
        total = _integer_conv(term, weight, x)
    elif isinstance(term, LinearTerm):
        total = x @ weight.T
    elif isinstance(term, WindowTerm):
        total = (x.reshape(len(x), -1, x.shape[-1])[:, term.index.numpy()] * weight).sum(2)
    else:
        total = x * weight
    total = total.reshape(len(x), *term.shape)
    return (total + (1 << (term.shift - 1))) >> term.shift if term.shift > 0 else total << -term.shift


def _integer_conv(term, weight, x):
    windows = _windows(x, weight.shape[2:], term)
    channels = windows.ndim - weight.ndim + 1
    inner, parts = tuple(range(channels, windows.ndim)), []
    for g, group in enumerate(np.split(weight, term.groups)):
        window = windows[(*[slice(None)] * channels, slice(g * group.shape[1], (g + 1) * group.shape[1]))]
        parts.append(np.tensordot(window, group, (inner, tuple(range(1, group.ndim)))))
    return np.concatenate(parts, -1)


def plain_integers(program, x, T):
    """Spikes [T, B, *S, C] and last potential of each neuron layer, from nothing but the integers that it stores."""
    inner, stored, potential = program.inner(), {}, {}
    fired = {name: [] for name in program.neurons}
    for name, layer in program.neurons.items():
        potential[name] = layer.initial_potential.numpy().astype(np.int64)
    for _ in range(T):
        for name, layer in program.layers.items():
            if name not in inner:
                continue
            if isinstance(layer, InputLayer):
                image = np.round(x.movedim(1, -1).numpy() * 2.0**program.exponent)
                stored[name] = np.clip(image, 1 - LIMIT, LIMIT - 1).astype(np.int64)
            elif isinstance(layer, RouteLayer):
                flat = [stored[s].reshape(len(x), -1) for s in layer.sources]
                flat = np.concatenate([*flat, np.zeros((len(x), 1), np.int64)], 1)
                order = slice(-1) if layer.index is None else layer.index.numpy().ravel()
                stored[name] = flat[:, order].reshape(len(x), *layer.shape)
            elif isinstance(layer, CountLayer):
                flat = stored[layer.source].reshape(len(x), -1, layer.shape[-1])
                flat = np.concatenate([flat, np.zeros_like(flat[:, :1])], 1)
                stored[name] = flat[:, layer.index.numpy()].sum(2).reshape(len(x), *layer.shape)
            elif isinstance(layer, PlaneLayer):
                # a digit of a count
                stored[name] = stored[layer.source] // layer.amplitude % 2
            else:
                total = sum(_integer_term(term, stored[term.source]) for term in layer.terms)
                total = np.clip(total + layer.bias.numpy().astype(np.int64), 1 - LIMIT, LIMIT - 1)
                if isinstance(layer, NeuronLayer):
                    theta, v = layer.threshold.item(), potential[name] + total
                    total = (v >= theta).astype(np.int64)
                    potential[name] = np.clip(v - theta * total, -LIMIT, LIMIT)
                    fired[name].append(torch.from_numpy(total).bool())
                stored[name] = total
    return {name: torch.stack(steps) for name, steps in fired.items()}, potential


@pytest.mark.parametrize("name", [*WHOLE, "spelt_relu6"])
def test_int32_spikes_are_those_of_plain_integers(name):
    snn, x = converted(name, "int32"), images(2)
    got = snn.spikes(x)
    wanted, _ = plain_integers(snn.program, x.float().double(), T)
    for layer, spikes in wanted.items():
        assert torch.equal(got[layer].unpack()[0].bool(), spikes), layer


def test_plain_integers_saturate_alike():
    # numbers far beyond what calibration saw: images, currents and membranes all run against their limits
    snn, x = converted("sum_read_twice", "int32"), 200 * images(3)
    spikes = snn.spikes(x)
    wanted, potential = plain_integers(snn.program, x.float().double(), T)
    for layer in wanted:
        assert torch.equal(spikes[layer].unpack()[0].bool(), wanted[layer]), layer
    assert any((v == -LIMIT).any() for v in potential.values()) and any(
        (v > LIMIT / 2).any() for v in potential.values()
    )


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
