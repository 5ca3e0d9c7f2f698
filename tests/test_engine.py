"""The engine by itself: advancing in any pieces, what is kept between them, and how long a piece may be."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fastsnn
from fastsnn import engine
from fastsnn.engine import Simulation


class Mixed(nn.Module):
    """Has all that the engine keeps over time: membranes, counts of gates, sums, numbers that several layers read."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 5, 3, padding=1), nn.Conv2d(5, 5, 1)
        self.fc = nn.Linear(5, 4)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.a(x)), 2)
        y = x + self.b(x)
        z = F.relu(y)
        return self.fc((F.relu(self.c(z) + y) + z).mean((2, 3))), F.relu(y)


@pytest.fixture(scope="module")
def x():
    return torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", params=["int32", "float64"])
def snn(request, x):
    return fastsnn.convert(Mixed(), x, timesteps=20, max_pool="gate", precision=request.param)


def run(snn, x, pieces, over_time=False):
    simulation = Simulation(snn.program, x)
    words = {name: [] for name in snn.program.neurons}
    outputs = []
    with torch.inference_mode():
        for T in pieces:
            recorded, out = simulation.advance(T, words, over_time)
            outputs.append(out)
            for name, word in recorded.items():
                words[name] += [(word.long() >> t) & 1 for t in range(T)]
    return {name: torch.stack(steps) for name, steps in words.items()}, outputs


@pytest.mark.parametrize("pieces", [[20], [1] * 20, [5, 7, 8], [17, 3], [8, 8, 4]], ids=str)
def test_any_pieces_give_the_same_run(snn, x, pieces):
    wanted = snn.spikes(x)
    spikes, outputs = run(snn, x, pieces)
    for name, found in spikes.items():
        assert torch.equal(found, wanted[name].unpack()[0].long())
    answer = snn(x)
    assert (outputs[-1][0] - answer[0]).abs().max() < 1e-6
    _, prefixes = run(snn, x, pieces, over_time=True)
    over_time = torch.cat([out[0] for out in prefixes])
    assert (over_time - snn.logits_over_time(x)[0]).abs().max() < 1e-6


def test_after_each_piece_the_output_is_the_mean_so_far(snn, x):
    _, outputs = run(snn, x, [5, 7, 8])
    over_time = snn.logits_over_time(x)
    for (logits, rates), t in zip(outputs, (5, 12, 20), strict=True):
        assert (logits - over_time[0][t - 1]).abs().max() < 1e-6
        assert (rates.movedim(-1, 1) - over_time[1][t - 1]).abs().max() < 1e-6


def test_two_simulations_do_not_meet(snn, x):
    first, second = Simulation(snn.program, x), Simulation(snn.program, -x)
    with torch.inference_mode():
        first.advance(4)
        second.advance(9)
        _, (logits, _) = first.advance(6)
    assert (logits - snn(x, 10)[0]).abs().max() < 1e-6


@pytest.mark.parametrize("longest", [1, 8])
@pytest.mark.parametrize("T", [20, 35])
def test_memory_bounds_the_pieces_but_not_the_result(snn, x, monkeypatch, longest, T):
    logits, spikes = snn(x, T), snn.spikes(x, T)
    assert Simulation(snn.program, x).longest_chunk() == 32
    while Simulation(snn.program, x).longest_chunk() > longest:
        monkeypatch.setattr(engine, "CHUNK_BYTES", engine.CHUNK_BYTES // 2)
    assert Simulation(snn.program, x).longest_chunk() == longest
    for got, want in zip(snn(x, T), logits, strict=True):
        assert (got - want).abs().max() < 1e-6
    for name, train in snn.spikes(x, T).items():
        assert train.T == T and torch.equal(train.unpack(), spikes[name].unpack())


def test_only_what_is_asked_for_is_recorded(snn, x):
    name = next(iter(snn.program.neurons))
    with torch.inference_mode():
        recorded, _ = Simulation(snn.program, x).advance(4, [name])
        assert list(recorded) == [name]
        assert Simulation(snn.program, x).advance(4)[0] == {}
