"""Large batches on a CPU run in parts: how large these are, that nothing changes, and what memory is used again."""

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn import _native, parts
from fastsnn.engine import Simulation
from fastsnn.memory import bytes_an_image
from fastsnn.parts import images_at_once

pytestmark = pytest.mark.skipif(_native.reason() is not None, reason=str(_native.reason()))


def images(n, seed=1):
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def network(tail=(), **options):
    torch.manual_seed(0)
    body = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 9, 3), nn.ReLU(), nn.Flatten(), nn.Linear(324, 4)
    return fastsnn.convert(nn.Sequential(*body, *tail).eval(), images(8), **{"timesteps": 6, **options})


@pytest.fixture
def room(monkeypatch):
    """Sets how many images of a network fit into a part of T steps."""

    def sized(snn, T, fit):
        monkeypatch.setattr(parts, "THREAD_BYTES", 0)
        monkeypatch.setattr(parts, "LEAST_BYTES", fit * bytes_an_image(snn.prepared(), T))

    return sized


def seen(snn, monkeypatch):
    """The batches of all simulations from here on."""
    batches, begin = [], Simulation.__init__

    def init(self, program, x, *args, **kwargs):
        batches.append(len(x))
        begin(self, program, x, *args, **kwargs)

    monkeypatch.setattr(Simulation, "__init__", init)
    return batches


def test_parts_are_of_one_size_but_for_the_last(room):
    snn = network()
    room(snn, 6, 4)
    sizes = {n: images_at_once(snn.prepared(), n, 6) for n in (0, 1, 4, 5, 8, 9, 10, 13, 128)}
    assert sizes == {0: 0, 1: 1, 4: 4, 5: 3, 8: 4, 9: 3, 10: 4, 13: 4, 128: 4}
    room(snn, 6, 0)
    assert images_at_once(snn.prepared(), 3, 6) == 1, "at least one"


def test_more_threads_take_more(monkeypatch):
    prepared = network().prepared()
    each = bytes_an_image(prepared, 6)
    monkeypatch.setattr(parts, "THREAD_BYTES", 3 * each)
    monkeypatch.setattr(parts, "LEAST_BYTES", 5 * each)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(images_at_once(prepared, 9, 6))
    finally:
        torch.set_num_threads(before)
    assert found == [5, 5, 9]


@pytest.mark.parametrize("precision", ["int32", "int16", "float32", "float64"])
@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("over_time", [True, False])
@pytest.mark.parametrize("T", [6, 40])
def test_parts_change_nothing(room, monkeypatch, precision, graphs, over_time, T):
    snn = network(precision=precision)
    snn.graphs = graphs
    run = snn.logits_over_time if over_time else snn
    wanted = [run(images(11, seed), T) for seed in range(3)]
    room(snn, T, 4)
    batches = seen(snn, monkeypatch)
    assert all(torch.equal(run(images(11, seed), T), out) for seed, out in enumerate(wanted))
    assert set(batches) <= {4, 3}
    assert graphs or batches == [4, 4, 3] * 3


def test_several_outputs_are_put_together(room):
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.one, self.two = nn.Conv2d(3, 4, 3), nn.Linear(4, 3), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            x = self.body(x).relu()
            return {"one": self.one(x.mean((2, 3))), "two": self.two(x)}

    torch.manual_seed(0)
    snn = fastsnn.convert(Heads().eval(), images(8), timesteps=4)
    for run in (snn, snn.logits_over_time):
        wanted = run(images(5))
        room(snn, 4, 2)
        found = run(images(5))
        assert all(torch.equal(found[key], wanted[key]) for key in ("one", "two"))


def test_what_is_drawn_by_the_number_of_the_image_is_not_cut(room, monkeypatch):
    snn = network(method="tpp")
    wanted = snn(images(5))
    room(snn, 6, 2)
    batches = seen(snn, monkeypatch)
    assert torch.equal(snn(images(5)), wanted) and batches == [5]


def test_ways_are_measured_at_the_size_of_a_part(room, monkeypatch):
    snn = network()
    room(snn, 6, 4)
    batches = seen(snn, monkeypatch)
    snn.tune(images(9), rounds=1)
    assert set(batches) == {3}


def test_parts_of_all_batches_are_recorded(room):
    snn = network()
    room(snn, 6, 4)
    for n in (8, 8, 11, 11, 4):
        snn(images(n))
    assert sorted(key[0] for key in snn._graphs[1]._kept.tapes) == [3, 4]
