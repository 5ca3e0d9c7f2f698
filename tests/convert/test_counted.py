"""What a profile counts in every network of the zoo, against spikes that go through layers with weights of 1."""

from functools import cache

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from zoo import SPELLINGS, ZOO, images, network

import fastsnn
from fastsnn.ops._step import spikes_at
from fastsnn.profile.converted import Converted
from fastsnn.program import CountLayer, InputLayer, MaxPoolLayer, NeuronLayer, PlaneLayer, RouteLayer, ValueLayer

T = 6
every = pytest.mark.parametrize("name", [name for name in ZOO if name not in {f"spelt_{s}" for s in SPELLINGS}])


@cache
def converted(name):
    return fastsnn.convert(network(name), images(8, seed=5).float(), timesteps=T)


def seen(name, x):
    with torch.inference_mode():
        subject = Converted(converted(name), T)
        return subject, subject.observe(x)


def spikes(program, words):
    """[T, B, *S, C] of every spiking layer, from the words of neurons and max pools; of counted pools the counts."""
    found = {}
    for name, layer in program.layers.items():
        if name in words:
            found[name] = torch.stack([spikes_at(words[name], t).double() for t in range(T)])
        elif isinstance(layer, RouteLayer) and layer.spiking:
            found[name] = torch.stack([layer.dense([found[s][t] for s in layer.sources]) for t in range(T)])
        elif isinstance(layer, CountLayer):
            found[name] = torch.stack([layer.dense([spikes]) for spikes in found[layer.source]])
        elif isinstance(layer, PlaneLayer):
            found[name] = found[layer.source] // layer.amplitude % 2
    return found


def brute_force(program, found):
    """Layer -> [T]: what its terms add up to where every weight that is not zero is 1; of max pools, the windows."""
    expected = {}
    for name, layer in program.layers.items():
        by_step = torch.zeros(T, dtype=torch.float64)
        if isinstance(layer, NeuronLayer | ValueLayer):
            for term in layer.terms:
                if term.source in found:
                    ones = (term.weight != 0).double()
                    by_step += torch.stack([term.linear(x, ones).sum() for x in found[term.source]])
        elif isinstance(layer, MaxPoolLayer | CountLayer) and layer.source in found:
            flat = found[layer.source].flatten(2, -2)
            inside = layer.index.flatten()[layer.index.flatten() >= 0]
            by_step += flat[:, :, inside].sum((1, 2, 3))
        expected[name] = by_step.long()
    return expected


@every
def test_spikes_and_additions_are_those_of_brute_force(name):
    x = images(3).float()
    snn = converted(name)
    _, (observed, _) = seen(name, x)
    gates = {n for n, la in snn.program.layers.items() if la.spiking and isinstance(la, MaxPoolLayer)}
    with torch.inference_mode():
        ((_, words, _),) = snn.chunks(x, T, record=gates | set(snn.program.neurons))
        found = spikes(snn.program, words)
        expected = brute_force(snn.program, found)
    for layer, train in snn.spikes(x).items():
        dense = train.unpack()[0].long()
        assert torch.equal(observed.counts[layer].spikes, dense.flatten(1).sum(1))
        assert torch.equal(observed.counts[layer].fired, dense.sum((0, 1)))
    additions = {layer: by_step.sum(0) for layer, by_step in observed.additions.items()}
    assert set(additions) == {n for n, la in snn.program.layers.items() if not isinstance(la, InputLayer | PlaneLayer)}
    assert {n: v.tolist() for n, v in additions.items()} == {n: expected[n].tolist() for n in additions}
    assert sum(v.sum() for v in additions.values()) > 0


@every
def test_dense_multiplications_are_those_that_pytorch_counts(name):
    subject, _ = seen(name, images(1).float())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(name).float()(images(1).float())
    assert 2 * sum(facts.dense_macs_with_borders for facts in subject.facts) == counter.get_total_flops()


@every
def test_counts_do_not_depend_on_how_images_come_in_batches(name):
    x = images(4).float()
    _, (whole, _) = seen(name, x)
    parts = [seen(name, part)[1][0] for part in x.split([1, 3])]
    joined = parts[0].plus(parts[1])
    assert joined.images == whole.images == 4
    for layer, counts in whole.counts.items():
        assert torch.equal(joined.counts[layer].spikes, counts.spikes)
        assert torch.equal(joined.counts[layer].fired, counts.fired)
    assert all(torch.equal(joined.additions[n], a) for n, a in whole.additions.items())


def test_long_runs_go_in_chunks_and_count_the_same_first_steps():
    x, snn = images(2).float(), converted("resnet_option_b")
    with torch.inference_mode():
        long, logits = Converted(snn, 40).observe(x)
        short, _ = Converted(snn, 6).observe(x)
    assert logits.shape[0] == 40
    for layer, counts in long.counts.items():
        assert torch.equal(counts.spikes[:6], short.counts[layer].spikes)
        assert counts.spikes.sum() == counts.fired.sum()
    for layer, by_step in long.additions.items():
        assert torch.equal(by_step[:, :6], short.additions[layer])


def test_a_miscount_would_be_noticed():
    """The oracle is not blind: one spike more is another number."""
    snn = converted("resnet_option_b")
    with torch.inference_mode():
        ((_, words, _),) = snn.chunks(images(1).float(), T, record=snn.program.neurons)
        before = brute_force(snn.program, spikes(snn.program, words))
        first = next(iter(words))
        words[first] = words[first].clone()
        words[first].view(-1)[0] ^= 1
        after = brute_force(snn.program, spikes(snn.program, words))
    assert any(not torch.equal(after[name], before[name]) for name in before)
