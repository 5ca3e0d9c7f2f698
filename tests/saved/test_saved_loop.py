"""A fused loop in a file is the same loop, and a file asks for nothing but operators that compute."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save as packed
from torch import fx, nn

import fastsnn
from fastsnn._files import digest
from fastsnn.fuse.loop import FusedLoop
from fastsnn.saved import save, traced

snn = pytest.importorskip("snntorch", reason="snnTorch is not installed")


class Loop(nn.Module):
    """Reads a sequence; what it does behind the loop needs constants, dtypes and infinite numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(6, 8), snn.Leaky(beta=0.9)
        self.fc2, self.lif2 = nn.Linear(8, 3), snn.Synaptic(alpha=0.5, beta=0.8)
        self.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0]))

    def forward(self, x):
        mem1, (syn, mem2) = self.lif1.init_leaky(), self.lif2.reset_mem()
        spikes, potentials = [], []
        for now in x:
            spk, mem1 = self.lif1(self.fc1(now), mem1)
            spk, syn, mem2 = self.lif2(self.fc2(spk), syn, mem2)
            spikes.append(spk)
            potentials.append(mem2)
        count, largest = torch.stack(spikes).sum(0) * self.scale, torch.stack(potentials).amax(0)
        return {"count": count, "largest": largest.masked_fill(count == 0, -torch.inf), "some": (count > 0).float()}


@pytest.fixture
def fused():
    torch.manual_seed(0)
    model = Loop().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return fastsnn.fuse(model, torch.rand(9, 4, 6))


def test_the_same_loop(fused, tmp_path):
    x = torch.rand(9, 4, 6)
    other = fastsnn.load(fused.save(tmp_path / "loop.safetensors"))
    assert isinstance(other, FusedLoop) and other.report == fused.report and str(other.report) == str(fused.report)
    wanted, found = fused(x), other(x)
    assert wanted.keys() == found.keys() and 0 < wanted["some"].mean() <= 1
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    with pytest.raises(ValueError, match="fused for 9 steps, got a sequence of 4"):
        other(x[:4])
    again = fastsnn.load(other.save(tmp_path / "again.safetensors"))
    assert torch.equal(again(x)["count"], wanted["count"])


def forged(path, change) -> None:
    """A file whose digest is that of what is in it, after a change."""
    with safe_open(str(path), "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}
    document = json.loads(metadata["network"])
    change(document["loop"]["nodes"])
    text = json.dumps(document)
    path.write_bytes(packed(tensors, metadata | {"network": text, "sha256": digest(text, tensors)}))


def renamed(kind: str, field: str, value) -> object:
    def change(nodes) -> None:
        node = next(node for node in nodes if node["op"] == kind)
        node[field] = value

    return change


@pytest.mark.parametrize(
    "change, message",
    [
        (renamed("call_function", "target", "aten.from_file.default"), "does more than compute"),
        (renamed("call_function", "target", "aten.add_.Tensor"), "does more than compute"),
        (renamed("call_function", "target", "os.system"), "no form in a file for the function os.system"),
        (renamed("call_function", "target", "aten.nothing.default"), "no form in a file for the function"),
        (renamed("call_function", "kwargs", {"a=1); print(": 1}), "is no name"),
        (renamed("placeholder", "target", "x, y=print()"), "is no name"),
        (renamed("get_attr", "target", 'a"), print("'), "is no name"),
        (renamed("call_function", "op", "call_method"), "is no name|no traced function has a 'call_method'"),
        (renamed("call_function", "args", [{"node": "unknown"}]), "unknown"),
        (renamed("call_function", "args", [{"dtype": "load"}]), "no dtype is 'load'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_asks_for_nothing_else(fused, tmp_path, change, message):
    path = fused.save(tmp_path / "loop.safetensors")
    forged(path, change)
    with pytest.raises(ValueError, match=f"is not a whole network: .*({message})"):
        fastsnn.load(path)


def test_what_has_no_form_in_a_file(tmp_path):
    for function in (lambda x: x.relu_(), lambda x: x.relu()):
        graph = fx.symbolic_trace(function)
        with pytest.raises(TypeError, match="no form in a file for call_method relu"):
            traced.described(graph)
    chain = nn.Sequential(nn.Linear(6, 4), snn.Leaky(beta=0.9, init_hidden=True), nn.Linear(4, 4), snn.Alpha(0.9, 0.8))
    chain[-1].init_hidden = True
    parts = fastsnn.fuse(chain, torch.rand(9, 4, 6))
    with pytest.raises(TypeError, match="a FusedChain has no form in a file"):
        save(parts, tmp_path / "chain.safetensors")
    assert not list(tmp_path.iterdir())
