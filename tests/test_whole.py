"""A converted network inside torch.compile: one operator of one graph."""

import copy
import gc

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn import whole


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.map, self.classes = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 2, 3), nn.Linear(5, 4)

    def forward(self, x):
        x = self.trunk(x).relu()
        return {"map": self.map(x), "classes": self.classes(x.mean((2, 3)))}


@pytest.fixture(scope="module")
def x():
    return torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def snn(x):
    torch.manual_seed(0)
    return fastsnn.convert(Heads().eval(), x, timesteps=10)


def compiled(function):
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend="aot_eager")


def test_it_compiles_as_one_graph_with_what_is_around_it(snn, x):
    run = compiled(lambda x: {name: out * 2 for name, out in snn(x + 1).items()})
    for batch in (x, x[:2]):
        want = snn(batch + 1)
        got = run(batch)
        assert got.keys() == want.keys()
        for name, out in want.items():
            assert torch.equal(got[name], out * 2) and got[name].shape == out.shape


def test_curves_over_several_chunks_compile_too(snn, x):
    want = snn.logits_over_time(x, 40)
    got = compiled(lambda x: snn.logits_over_time(x, 40))(x)
    assert all(torch.equal(got[name], out) for name, out in want.items())


def test_wrong_images_raise_while_tracing(snn, x):
    with pytest.raises(Exception, match=r"takes inputs \[B, 3, 8, 8\]"):
        compiled(snn)(x[:, :2])


@pytest.mark.parametrize("over_time", [False, True])
def test_the_operator_keeps_its_contract(snn, x, over_time):
    torch.library.opcheck(torch.ops.fastsnn.network.default, (x, snn._number, 10, over_time))


def test_a_copy_is_a_network_of_its_own(snn, x):
    twin = copy.deepcopy(snn)
    assert twin._number != snn._number
    with torch.no_grad():
        twin.program.neurons["relu"].threshold *= 2
    twin._ready = None
    assert not torch.equal(compiled(twin)(x)["classes"], snn(x)["classes"])


def test_a_network_that_is_gone_is_not_kept(x):
    number = fastsnn.convert(Heads().eval(), x)._number
    gc.collect()
    assert number not in whole._networks
