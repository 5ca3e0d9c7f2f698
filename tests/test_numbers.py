"""Numbers of each step by the native kernels are those of the definition, and so are the neurons that read them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fastsnn
from fastsnn import _native
from fastsnn.drive import Steps
from fastsnn.engine import Simulation
from fastsnn.ops._step import LIMIT
from fastsnn.prepared import Prepared
from fastsnn.program import ScaleTerm, ValueLayer

pytestmark = pytest.mark.skipif(_native.reason() is not None, reason=str(_native.reason()))


class Dense(nn.Module):
    """Numbers of each step: concatenated, added to spikes and to numbers, pooled, moved, and read by several."""

    def __init__(self):
        super().__init__()
        self.stem, self.grown = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 5, 3, padding=1)
        self.deep = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.wide, self.more = nn.Conv2d(11, 6, 1), nn.Conv2d(6, 6, 3, padding=1, stride=2)
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) for n in (11, 6, 6))
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        x = F.relu(self.stem(x))
        grown = torch.cat([self.grown(x), self.deep(x)], 1)
        x = F.relu(self.wide(F.relu(self.norms[0](grown)))) + self.deep(x) + grown[:, 5:]
        y = F.relu(self.norms[1](x))
        x = self.more(y) + F.max_pool2d(x, 2)
        return self.fc(F.relu(self.norms[2](x)).mean((2, 3)))


def converted(precision):
    torch.manual_seed(0)
    model, x = Dense(), torch.randn(16, 3, 8, 8)
    with torch.no_grad():
        for _ in range(20):
            model(x)
    return fastsnn.convert(model.eval(), x, timesteps=16, precision=precision), x


def slow(prepared):
    """The same, in which every sum is of its terms one by one."""
    prepared.native = False
    drivers = [made.totals for made in prepared.drivers.values() if isinstance(made, Steps)]
    for totals in [*prepared.totals.values(), *drivers]:
        assert totals.fast
        totals.fast, totals.alone = False, None
        totals.rest = [*totals.rest, *totals.spikes, *totals.scaled]
        totals.maps = [term.exact for term in totals.rest]
    return prepared


@pytest.mark.parametrize("precision", ["int32", "int16"])
@pytest.mark.parametrize("T", [1, 5, 16, 32])
def test_numbers_and_spikes_are_those_of_the_terms_one_by_one(precision, T):
    snn, x = converted(precision)
    fast, defined = Prepared(snn.program), slow(Prepared(snn.program))
    names = [name for name, _ in fast.running]
    assert sum(isinstance(snn.program.layers[name], ValueLayer) for name in names) >= 3
    # numbers far beyond those of calibration saturate
    for scale in (1, 300):
        runs = [Simulation(snn.program, scale * x, prepared) for prepared in (fast, defined)]
        for _ in range(2):
            (words, outputs), (wanted, right) = (run.advance(T, list(snn.program.neurons)) for run in runs)
            assert all(torch.equal(words[name], wanted[name]) for name in wanted)
            assert all(torch.equal(a, b) for a, b in zip(outputs, right, strict=True))


def test_sums_that_could_leave_their_room_are_of_the_terms():
    snn, x = converted("int32")
    prepared = Prepared(snn.program)
    name, found = next((name, totals) for name, totals in prepared.totals.items() if totals.spikes)
    layer = snn.program.layers[name]
    assert found.spikes[0].reach() < LIMIT
    layer.terms[0].weight.fill_(LIMIT // 4)
    assert not Prepared(snn.program).totals[name].spikes
    with torch.no_grad():
        assert snn(x).isfinite().all()


def test_neurons_are_driven_by_numbers():
    snn, _ = converted("int32")
    drivers = Prepared(snn.program).drivers.values()
    steps = [made for made in drivers if isinstance(made, Steps)]
    assert len(steps) == 3 and all(made.totals.fast for made in steps)
    assert any(isinstance(term, ScaleTerm) for made in steps for term in made.totals.scaled)
