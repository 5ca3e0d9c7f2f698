"""Every kind of layer, in a file and read again: the same outputs and spikes, to the last bit."""

import pytest
import torch
from zoo import SPELLINGS, ZOO, images, network

import fastsnn

T = 3


@pytest.mark.parametrize("name", [name for name in ZOO if name not in {f"spelt_{s}" for s in SPELLINGS}])
def test_a_file_gives_the_same_network(name, tmp_path):
    x = images(6, seed=5).float()
    snn = fastsnn.convert(network(name), x, timesteps=T)
    other = fastsnn.load(snn.save(tmp_path / "net.safetensors"))
    for (one, train), (known, found) in zip(snn.spikes(x).items(), other.spikes(x).items(), strict=True):
        assert one == known and torch.equal(train.words[0], found.words[0])
    leaves = [torch.utils._pytree.tree_leaves(net(x)) for net in (snn, other)]
    assert all(torch.equal(a, b) for a, b in zip(*leaves, strict=True))
    assert snn.report == other.report
