"""Pools of spikes that several layers read, or no convolution can take in: counted, as binary numbers on planes."""

from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from zoo import Body, conv, gap, images, network, randomise

import fastsnn
from fastsnn import _env
from fastsnn.convert import lower as lowering
from fastsnn.counted import counted
from fastsnn.drive import Events
from fastsnn.ops._step import spikes_at
from fastsnn.program import CountLayer, InputLayer, PlaneLayer, ValueLayer
from fastsnn.spikes import word_dtype
from fastsnn.windows import window_index

T = 12
INTEGERS = ("int32", "int16", "int8")
NARROW = {"int32": torch.int32, "int16": torch.int16, "int8": torch.int8}


def conversion(model, **options):
    options = {"timesteps": T, "threshold": "percentile:99.5", **options}
    return fastsnn.convert(model, images(16, seed=5).float(), **options)


@cache
def stem(precision):
    return conversion(network("resnet_stem"), precision=precision)


def kinds(snn, kind):
    """Layers of a kind that run over time."""
    over_time = snn.program.inner() & snn.program.timed()
    return [name for name, layer in snn.program.layers.items() if isinstance(layer, kind) and name in over_time]


def equal(left, right):
    return all(
        torch.equal(train.words[i], right[name].words[i])
        for name, train in left.items()
        for i in range(len(train.words))
    )


@pytest.mark.parametrize("precision", ["int32", "int16", "float32", "float64"])
def test_the_stem_of_a_resnet_keeps_no_numbers(precision):
    snn = stem(precision)
    assert kinds(snn, ValueLayer) == []
    (name,) = kinds(snn, CountLayer)
    pool = snn.program.layers[name]
    assert pool.amplitudes == (8, 4, 2, 1) and pool.shape == (6, 6, 6)
    readers = [n for n, layer in snn.program.neurons.items() if f"{name}.plane0" in layer.sources]
    assert len(readers) == 2
    assert all(isinstance(snn.prepared().drivers[n], Events) for n in readers)
    assert "pool of spikes (counts)" in str(snn.report)


def simulated(snn, x, steps):
    """Spikes [T, B, *S, C] of every neuron layer, from what it stores: pooled first, by one pass of PyTorch a step."""
    program, spikes = snn.program, {}
    wide = torch.float64 if program.exponent is None else torch.int64
    first, *others = program.neurons
    driven = snn.spikes(x, steps)[first].unpack()[0]
    spikes[first] = driven.to(wide)
    for name in others:
        layer = program.neurons[name]
        narrow = layer.bias.dtype == torch.int16
        v = layer.initial_potential.to(wide)
        fired = []
        for t in range(steps):
            total = layer.bias.to(wide)
            for term in layer.terms:
                read = program.layers[term.source]
                if isinstance(read, PlaneLayer):
                    pool = program.layers[read.source]
                    numbers = spikes[pool.source][t].double().movedim(-1, 1)
                    windows = F.avg_pool2d(numbers, 3, 2, 1, divisor_override=1).movedim(1, -1)
                    number = (windows.long() >> read.amplitude.bit_length() - 1) & 1
                else:
                    number = spikes[term.source][t]
                total = total + term.linear(number.double(), term.weight.double()).to(wide)
            if narrow:
                total = (total + 2**15) % 2**16 - 2**15
            v = v + total
            out = v >= layer.threshold.to(wide)
            v = v - out * layer.threshold.to(wide)
            fired.append(out)
        spikes[name] = torch.stack(fired).to(wide)
    return spikes


@pytest.mark.parametrize("precision", INTEGERS)
@pytest.mark.parametrize("steps, batch", [(1, 1), (7, 3), (16, 2), (45, 2)])
def test_integers_are_exactly_those_of_pooling_step_by_step(precision, steps, batch):
    snn, x = stem(precision), images(batch, seed=9).float()
    narrow = {term.weight.dtype for layer in snn.program.neurons.values() for term in layer.terms}
    assert NARROW[precision] in narrow
    wanted = simulated(snn, x, steps)
    for name, train in snn.spikes(x, steps).items():
        assert torch.equal(train.unpack()[0].long(), wanted[name]), name


def test_doubles_are_those_of_pooling_step_by_step():
    snn, x = stem("float64"), images(3, seed=9)
    for name, train in snn.spikes(x, 20).items():
        assert torch.equal(train.unpack()[0].double(), simulated(snn, x, 20)[name]), name


@pytest.mark.parametrize("precision", [*INTEGERS, "float32"])
def test_every_backend_and_batch_gives_the_same_spikes(precision, monkeypatch):
    snn, x = stem(precision), images(3, seed=9).float()
    whole = snn.spikes(x)
    # a floating first layer is rounded by the batch
    for i in range(3 if precision in INTEGERS else 0):
        for name, train in snn.spikes(x[i : i + 1]).items():
            assert torch.equal(train.unpack()[:, :, 0], whole[name].unpack()[:, :, i])
    monkeypatch.setattr(_env, "BACKEND", "reference")
    found = snn.spikes(x)
    if precision in INTEGERS:
        assert equal(found, whole)
    else:
        # a spike may differ where a potential is within rounding of its threshold, and then those behind it
        differ = [(found[name].unpack() != train.unpack()).double().mean() for name, train in whole.items()]
        assert max(differ) < 1e-3


def float_bound(layer, drive):
    """How far a float32 potential may be from the exact one after so many steps: a sum of n numbers rounds n times."""
    terms = sum(term.weight[0].numel() if term.weight.ndim > 1 else 1 for term in layer.terms)
    return (terms + 3) * 2.0**-24 * drive


def test_floats_are_within_rounding_of_the_threshold_where_they_differ():
    """From the spikes that each layer was given, in float64: only potentials within the bound fire otherwise."""
    snn, x = stem("float32"), images(4, seed=9).float()
    trains = {name: train.unpack()[0].double() for name, train in snn.spikes(x).items()}
    layers = snn.program.layers
    for name, layer in list(snn.program.neurons.items())[1:]:
        v = layer.initial_potential.double()
        moved = torch.zeros(())
        for t in range(T):
            total, size = layer.bias.double(), layer.bias.double().abs()
            for term in layer.terms:
                read = layers[term.source]
                if isinstance(read, PlaneLayer):
                    numbers = trains[layers[read.source].source][t].movedim(-1, 1)
                    windows = F.avg_pool2d(numbers, 3, 2, 1, divisor_override=1).movedim(1, -1).long()
                    given = (windows // read.amplitude % 2).double()
                else:
                    given = trains[term.source][t]
                total = total + term.linear(given, term.weight.double())
                size = size + term.linear(given, term.weight.double().abs())
            v = v + total
            moved = moved + size + v.abs()
            fires = trains[name][t] == 1
            doubtful = (v - 1).abs() <= float_bound(layer, moved)
            assert bool((fires == (v >= 1))[~doubtful].all())
            assert doubtful.double().mean() < 1e-2
            v = v - fires.double()


GEOMETRIES = {
    "overlapping": dict(kernel_size=3, stride=1, padding=1),
    "padded": dict(kernel_size=2, stride=2, padding=1),
    "wide": dict(kernel_size=(4, 5), stride=(2, 3), padding=(2, 1)),
    "a rest": dict(kernel_size=5),
    "over the end": dict(kernel_size=3, stride=2, ceil_mode=True, divisor_override=4),
    "one position": dict(kernel_size=1, stride=2),
    "all": dict(kernel_size=12, padding=6, stride=12),
}


def read_twice(pool):
    def forward(m, x):
        x = pool(F.relu(m.a(x)))
        left = F.relu(m.b(x))
        return m.fc(gap(F.relu(m.c(left) + x + 0.3 * F.avg_pool2d(x, 1))))

    return Body(forward, a=conv(3, 5), b=conv(5, 4), c=conv(4, 5), fc=nn.Linear(5, 4))


def against_numbers(model, folder, **options):
    """The network with counted pools, and the same with the numbers of its pools at every step; in float64."""
    model = randomise(model).double().eval()
    options = {"precision": "float64", "threshold": "max"} | options
    counts = conversion(model, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lowering, "counts_of", lambda *_: None)
        # thresholds that are the same to the last bit
        kept = counts.calibration.save(folder / "calibration.safetensors")
        return counts, fastsnn.convert(model, kept, **options | {"timesteps": T})


@pytest.mark.parametrize("case", GEOMETRIES)
def test_any_window_counts_what_it_would_sum(case, tmp_path):
    counts, numbers = against_numbers(read_twice(nn.AvgPool2d(**GEOMETRIES[case])), tmp_path)
    assert kinds(counts, CountLayer) and not kinds(counts, ValueLayer)
    assert kinds(numbers, ValueLayer) and not kinds(numbers, CountLayer)
    x = images(3, seed=2)
    assert equal(counts.spikes(x), numbers.spikes(x))
    assert torch.allclose(counts(x), numbers(x), rtol=0, atol=1e-12)
    assert torch.allclose(counts.analog(x), numbers.analog(x), rtol=0, atol=1e-12)


def test_windows_that_differ_in_their_divisor_stay_numbers(tmp_path):
    pool = nn.AvgPool2d(3, 2, 1, count_include_pad=False)
    counts, _ = against_numbers(read_twice(pool), tmp_path)
    assert not kinds(counts, CountLayer)
    # all windows that are there have one size
    counts, _ = against_numbers(read_twice(nn.AvgPool2d(3, 3, 0, count_include_pad=False)), tmp_path)
    assert kinds(counts, CountLayer)


@pytest.mark.parametrize("method", ["gn", "ecmt", "burst", "snm", "dc"])
def test_neurons_of_several_planes_are_counted_by_what_they_emit(method, tmp_path):
    counts, numbers = against_numbers(read_twice(nn.AvgPool2d(3, 2, 1)), tmp_path, method=method)
    (name,) = kinds(counts, CountLayer)
    assert len(counts.program.layers[name].amplitudes) > 4
    x = images(3, seed=2)
    assert equal(counts.spikes(x), numbers.spikes(x))
    assert torch.allclose(counts(x), numbers(x), rtol=0, atol=1e-12)


def beside_numbers(m, x):
    x = F.avg_pool2d(F.relu(m.a(x)), 3, 2, 1)
    total = m.b(x) + x
    return m.fc(gap(F.relu(m.c(F.relu(m.n(total))) + total)))


def through_a_max_pool(m, x):
    x = F.avg_pool2d(F.relu(m.a(x)), 3, 1, 1)
    return m.fc(gap(F.relu(m.c(F.max_pool2d(x, 2)))))


def among_other_spikes(m, x):
    x = F.relu(m.a(x))
    x = torch.cat([F.avg_pool2d(x, 3, 1, 1)[:, :2], x[:, :3]], 1)
    return m.fc(gap(F.relu(m.c(x))))


@pytest.mark.parametrize("forward", [beside_numbers, through_a_max_pool, among_other_spikes])
def test_where_numbers_are_read_all_the_same_pools_are_not_counted(forward, tmp_path):
    modules = {"a": conv(3, 5), "b": conv(5, 5), "n": nn.BatchNorm2d(5), "c": conv(5, 5), "fc": nn.Linear(5, 4)}
    counts, numbers = against_numbers(Body(forward, **modules), tmp_path)
    assert not kinds(counts, CountLayer)
    assert list(counts.program.layers) == list(numbers.program.layers)
    assert equal(counts.spikes(images(2)), numbers.spikes(images(2)))


def test_pools_of_pools_movements_and_an_output_read_counts(tmp_path):
    def forward(m, x):
        x = F.avg_pool2d(F.relu(m.a(x)), 3, 2, 1)
        again = F.avg_pool2d(x, 3, 1, 1)
        flat = torch.cat([x, 2 * x], 1).flip(2).flatten(1) if m.flat else again.flatten(1)
        left, right = F.relu(m.l(flat)), F.relu(m.r(flat))
        return m.fc(left + right), again, F.relu(m.c(again) + again + x)

    for flat in (False, True):
        size = 5 * 36 * (2 if flat else 1)
        modules = {"a": conv(3, 5), "l": nn.Linear(size, 6), "r": nn.Linear(size, 6), "fc": nn.Linear(6, 4)}
        model = Body(forward, **modules, c=conv(5, 5))
        model.flat = flat
        counts, numbers = against_numbers(model, tmp_path)
        assert len(kinds(counts, CountLayer)) == 2 and not kinds(counts, ValueLayer)
        x = images(3, seed=2)
        assert equal(counts.spikes(x), numbers.spikes(x))
        for got, wanted in zip(counts(x), numbers(x), strict=True):
            assert torch.allclose(got, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("steps", [3, 8, 16, 32])
@pytest.mark.parametrize("amplitudes", [(1,), (4, 2, 1), (1, -1), (5, 2, -3), (2,)])
def test_digits_make_up_what_a_window_is_given(steps, amplitudes):
    index, _ = window_index((7, 6), (3, 2), (2, 3), (1, 1), (1, 2))
    source = InputLayer("x", (7, 6, 5), spiking=True)
    source.amplitudes = amplitudes
    layer = CountLayer("pool", (4, 2, 5), (), source, index, None)
    assert len(index) == 8 and len(set(layer.amplitudes)) == len(layer.amplitudes)
    generator = torch.Generator().manual_seed(steps)
    planes = torch.randint(-(2**31), 2**31, (len(amplitudes), 2, 7, 6, 5), generator=generator)
    words = (planes & (2**steps - 1)).to(word_dtype(steps))
    found = counted(layer, words if len(amplitudes) > 1 else words[0])
    assert found.dtype == words.dtype and found.shape == (len(layer.amplitudes), 2, 4, 2, 5)
    for t in range(steps):
        emitted = sum(spikes_at(plane, t).double() * a for plane, a in zip(words, amplitudes, strict=True))
        got = sum(spikes_at(plane, t).double() * a for plane, a in zip(found, layer.amplitudes, strict=True))
        assert torch.equal(got, layer.dense([emitted]))
    assert counted(layer, found.new_zeros((len(amplitudes), 0, 7, 6, 5)).squeeze(0)).shape[1] == 0


def test_a_run_is_saved_and_exported(tmp_path):
    snn, x = stem("int32"), images(2).float()
    other = fastsnn.load(snn.save(tmp_path / "net.safetensors"))
    assert equal(snn.spikes(x), other.spikes(x)) and torch.equal(snn(x), other(x))
    program = torch.export.export(snn, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    # the head adds up in another order
    assert torch.allclose(program.module()(images(3).float()), snn(images(3).float()), rtol=0, atol=1e-5)
