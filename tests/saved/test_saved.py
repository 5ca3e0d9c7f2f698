"""A converted network in a file is the same network, to the last bit; other files are refused."""

import json
from dataclasses import dataclass

import pytest
import torch
from odd_network import Odd, odd_images
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import fastsnn
from fastsnn import _env
from fastsnn.convert.quantise import PRECISIONS
from fastsnn.methods import METHODS, build

T = 5
OPTIONS = {"dc": {"max_pool": "average"}, "st-bif": {"levels": 3}}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Odd().eval()


def same(one, other, x, steps=T):
    """Both networks give the same spikes and outputs, and say the same of themselves."""
    for (name, train), (known, found) in zip(one.spikes(x, steps).items(), other.spikes(x, steps).items(), strict=True):
        assert name == known and train.amplitudes == found.amplitudes
        assert all(torch.equal(a, b) for a, b in zip(train.words, found.words, strict=True)), name
    leaves = [torch.utils._pytree.tree_leaves(snn.logits_over_time(x, steps)) for snn in (one, other)]
    assert all(torch.equal(a, b) for a, b in zip(*leaves, strict=True))
    assert str(one.report) == str(other.report) and one.report == other.report
    assert (one.timesteps, one.precision, str(one.method)) == (other.timesteps, other.precision, str(other.method))
    assert one.reading == other.reading and one.thresholds.keys() == other.thresholds.keys()


@pytest.mark.parametrize("name", METHODS)
def test_every_method(model, name, tmp_path):
    x = odd_images()
    precision = "float32" if build(name).neuron.floating else "int32"
    options = OPTIONS.get(name, {})
    snn = fastsnn.convert(model, x, method=name, timesteps=T, precision=precision, **options)
    path = snn.save(tmp_path / "net.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]
    other = fastsnn.load(path)
    same(snn, other, x)
    assert other.method.options == snn.method.options


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision(model, precision, tmp_path):
    x = odd_images().to(torch.float64 if precision == "float64" else torch.float32)
    snn = fastsnn.convert(model, x, timesteps=T, precision=precision)
    same(snn, fastsnn.load(snn.save(tmp_path / "net.safetensors")), x)


def test_a_loaded_network_is_a_network(model, tmp_path, monkeypatch):
    x = odd_images()
    snn = fastsnn.convert(model, x, timesteps=T)
    other = fastsnn.load(snn.save(tmp_path / "net.safetensors"))
    # saved again it is the same; the order of entries in a header is not defined
    again = other.save(tmp_path / "again.safetensors")
    found = []
    for path in (tmp_path / "net.safetensors", again):
        with safe_open(str(path), "pt") as file:
            found.append(file.metadata())
    assert found[0] == found[1] and found[0]["sha256"]
    loader = [(x, torch.zeros(len(x), dtype=torch.int64))]
    assert torch.equal(other.accuracy_over_time(loader, progress=False), snn.accuracy_over_time(loader, progress=False))
    monkeypatch.setattr(_env, "BACKEND", "reference")
    same(snn, other, x[:2])


class Outputs(nn.Module):
    def __init__(self, structure):
        super().__init__()
        self.body, self.one, self.two = nn.Linear(6, 5), nn.Linear(5, 3), nn.Linear(5, 2)
        self.structure = structure

    def forward(self, x):
        x = self.body(x).relu()
        return self.structure(self.one(x), self.two(x))


@pytest.mark.parametrize(
    "structure",
    [lambda a, b: (a, b), lambda a, b: {"a": a, "more": [b, None, 3]}, lambda a, b: a],
    ids=["tuple", "dict", "tensor"],
)
def test_outputs_keep_their_structure(structure, tmp_path):
    x = torch.randn(8, 6)
    snn = fastsnn.convert(Outputs(structure), x, timesteps=T)
    got, want = fastsnn.load(snn.save(tmp_path / "net.safetensors"))(x), snn(x)
    leaves, spec = torch.utils._pytree.tree_flatten(got)
    known, wanted = torch.utils._pytree.tree_flatten(want)
    assert spec == wanted and len(leaves) == len(known)
    assert all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(leaves, known, strict=True))


def test_a_method_of_ones_own_is_kept_in_words(model, tmp_path):
    class Mine(type(build("opi"))):
        name = "mine"

    x = odd_images()
    snn = fastsnn.convert(model, x, method=Mine(), timesteps=T)
    other = fastsnn.load(snn.save(tmp_path / "net.safetensors"))
    assert other.method == str(snn.method) and torch.equal(other(x), snn(x))


def test_other_files_are_refused(model, tmp_path):
    x = odd_images()
    snn = fastsnn.convert(model, x, timesteps=T)
    path = snn.save(tmp_path / "net.safetensors")
    with pytest.raises(FileNotFoundError, match="no such network file"):
        fastsnn.load(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match=r"output file should end in .safetensors"):
        snn.save(tmp_path / "net.pt")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        fastsnn.load(cut)
    with pytest.raises(ValueError, match=r"not a converted network: its metadata should say fastsnn\.network"):
        fastsnn.load(snn.calibration.save(tmp_path / "calibration.safetensors"))
    changed = bytearray(path.read_bytes())
    changed[-5] ^= 1
    cut.write_bytes(bytes(changed))
    with pytest.raises(ValueError, match="was changed after it was written"):
        fastsnn.load(cut)
    with safe_open(str(path), "pt") as file:
        metadata = file.metadata()
    for change, message in (
        ({"version": "99"}, r"has version 99 of fastsnn\.network, this fastsnn reads 1"),
        ({"network": metadata["network"].replace('"timesteps": 5', '"timesteps": 6')}, "was changed after"),
        ({"sha256": "0" * 64}, "was changed after"),
    ):
        save_file(load_file(path), cut, metadata | change)
        with pytest.raises(ValueError, match=message):
            fastsnn.load(cut)


def test_whole_files_with_other_contents_are_refused(tmp_path):
    """Such as a later version might write under the same number: named, not guessed at."""
    from fastsnn._files import digest

    for document in ({}, {"layers": [{"kind": "Unknown", "name": "a", "shape": [1], "folded": [], "source": "a"}]}):
        text = json.dumps(document)
        metadata = {"schema": "fastsnn.network", "version": "1", "network": text, "sha256": digest(text, {})}
        save_file({}, tmp_path / "net.safetensors", metadata)
        with pytest.raises(ValueError, match="is not a whole network"):
            fastsnn.load(tmp_path / "net.safetensors")


@dataclass
class Named:
    one: torch.Tensor
    two: torch.Tensor


def test_outputs_without_a_form_in_a_file_are_refused(tmp_path):
    torch.utils._pytree.register_dataclass(Named)
    snn = fastsnn.convert(Outputs(Named), torch.randn(8, 6), timesteps=T)
    with pytest.raises(TypeError, match="outputs of this structure have no form in a file"):
        snn.save(tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())
