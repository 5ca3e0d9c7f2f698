"""How much a run is said to take, and what is said where that is not there."""

from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn import _native
from fastsnn.engine import Simulation
from fastsnn.errors import OutOfMemory
from fastsnn.memory import bytes_an_image


@pytest.fixture(scope="module")
def x():
    return torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def snn(x):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)
    model = nn.Sequential(*layers, nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)).eval()
    return fastsnn.convert(model, x)


def test_what_is_live_at_once_is_counted(snn):
    # the image of 192 numbers and the current of 256 neurons; words of 256 and 384, or of 384 and 128, neurons
    constant = 4 * (192 + 256)
    for T, word in ((8, 1), (16, 2), (32, 4)):
        assert bytes_an_image(snn.prepared(), T) == constant + word * (256 + 384)
    # beyond 32 steps the potentials of all 768 neurons wait for the next chunk
    assert bytes_an_image(snn.prepared(), 40) == constant + 4 * (256 + 384) + 4 * 768


class Stem(nn.Module):
    """A pool that two layers read: its windows are counted."""

    def __init__(self):
        super().__init__()
        self.first, self.pool = nn.Conv2d(3, 4, 3, padding=1), nn.AvgPool2d(3, 2, 1)
        self.second, self.last = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(64, 4)

    def forward(self, x):
        x = self.pool(self.first(x).relu())
        return self.last((self.second(x).relu() + x).relu().flatten(1))


def test_windows_that_are_counted_take_memory_while_they_are(x):
    torch.manual_seed(0)
    snn = fastsnn.convert(Stem().eval(), x)
    # words of 256 neurons, four digits of 64 windows, and three times the nine words of each window
    assert bytes_an_image(snn.prepared(), 8) == 4 * (192 + 256) + 256 + 4 * 64 + 3 * 9 * 64


def test_what_was_given_back_is_used_again(snn):
    prepared = snn.prepared()
    prepared.forget()
    large, small = prepared.room((8, 4), torch.int32), prepared.room((3,), torch.uint8)
    at = large.data_ptr(), small.data_ptr()
    prepared.give_back(large)
    prepared.give_back(small)
    # the least that is large enough, for other shapes and dtypes
    again, bytes_ = prepared.room((2, 1), torch.int16), prepared.room((2,), torch.uint8)
    assert (again.data_ptr(), bytes_.data_ptr()) == at
    assert again.shape == (2, 1) and again.dtype == torch.int16 and bytes_.is_contiguous()
    for result in (again, bytes_):
        prepared.give_back(result)
    # all of it, and not only what was asked for last
    assert [room.numel() for room in prepared.free.memory] == [3, 128]
    larger = prepared.room((200,), torch.uint8)
    assert [room.numel() for room in prepared.free.memory] == [3], "what is too small makes room"
    prepared.give_back(larger)
    prepared.forget()
    assert prepared.free.memory == []


@pytest.mark.skipif(_native.reason() is not None, reason=str(_native.reason()))
def test_the_current_of_the_first_layer_becomes_words(snn, x):
    prepared = snn.prepared()
    for last, left in ((True, 4 * 256), (False, 384)):
        prepared.forget()
        Simulation(snn.program, x, prepared).advance(8, last=last)
        # the words of the second layer were there, and are no longer read; the third's are in the memory of the first's
        assert [room.numel() for room in prepared.free.memory] == [len(x) * left]


class Bottleneck(nn.Module):
    """Numbers at every step between spikes: words that are in memory of torch."""

    def __init__(self):
        super().__init__()
        self.first, self.narrow = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1)
        self.wide, self.second, self.last = nn.Conv2d(2, 4, 1), nn.Conv2d(2, 4, 1), nn.Linear(256, 4)

    def forward(self, x):
        x = self.narrow(self.first(x).relu())
        return self.last((self.wide(x).relu() + self.second(x).relu()).flatten(1))


@pytest.mark.parametrize("precision", ["int32", "float32"])
@pytest.mark.parametrize("method", ["opi", "tpp", "parallel"])
@pytest.mark.parametrize("model", [Bottleneck, Stem])
def test_memory_does_not_grow_with_the_runs(x, model, method, precision):
    torch.manual_seed(0)
    snn = fastsnn.convert(model().eval(), x, timesteps=6, precision=precision, method=method)
    snn.graphs = False
    kept = []
    for _ in range(5):
        snn(x)
        kept.append([room.numel() for room in snn.prepared().free.memory])
    assert kept[2] == kept[3] == kept[4]


def test_an_image_that_does_not_fit_says_what_would(snn, x, monkeypatch):
    def fails(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Simulation, "advance", fails)
    for call in (snn, snn.logits_over_time, snn.spikes):
        with pytest.raises(
            OutOfMemory, match=r"8 images over 16 time-steps need about 0 MiB on cpu.*run at most .* at"
        ):
            call(x)


@pytest.mark.slow
def test_512_images_of_resnet18_over_32_steps_take_less_than_4_gib(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[1] / "benchmarks")
    networks = import_module("networks")
    net = networks.network("resnet18")
    snn = fastsnn.convert(net.model, net.calibration, timesteps=32, precision="float32")
    weights = sum(b.nbytes for b in snn.program.buffers())
    assert 512 * bytes_an_image(snn.prepared(), 32) + 2 * weights < 4 * 2**30
