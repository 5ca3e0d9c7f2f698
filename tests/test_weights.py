"""Whether weights files are read, and refused, as fastsnn.weights says."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fastsnn.weights import load_into, load_state_dict


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


def same(got, want) -> bool:
    return got.keys() == want.keys() and all(torch.equal(got[k], want[k]) for k in want)


@pytest.mark.parametrize("wrap", [dict, *(lambda s, k=k: {k: s, "epoch": 3} for k in ("state_dict", "model", "net"))])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_state_dicts_are_found_and_prefixes_stripped(tmp_path, wrap, prefix):
    want = small().state_dict()
    torch.save(wrap({prefix + k: v for k, v in want.items()}), tmp_path / "w.pt")
    assert same(load_state_dict(tmp_path / "w.pt"), want)


def test_a_prefix_that_only_some_names_have_stays(tmp_path):
    want = {"module.a": torch.ones(1), "b": torch.ones(1)}
    torch.save(want, tmp_path / "w.pt")
    assert same(load_state_dict(tmp_path / "w.pt"), want)


def test_safetensors(tmp_path):
    want = small().state_dict()
    save_file({f"module.{k}": v for k, v in want.items()}, tmp_path / "w.safetensors")
    assert same(load_state_dict(tmp_path / "w.safetensors"), want)


def test_load_into_sets_every_tensor_and_does_not_miss_the_batch_counter(tmp_path):
    want = small().state_dict()
    torch.save({k: v for k, v in want.items() if not k.endswith("num_batches_tracked")}, tmp_path / "w.pt")
    model = load_into(small(), tmp_path / "w.pt")
    assert same(model.state_dict(), want)


def test_names_that_do_not_fit_are_listed(tmp_path):
    state = small().state_dict()
    state = {k.replace("3.", "head."): v for k, v in state.items()} | {"0.bias": torch.zeros(5)}
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(
        ValueError,
        match=r"2 missing: 3.weight, 3.bias; 2 unexpected: head.weight, head.bias; "
        r"1 of another shape: 0.bias should be \(2,\), got \(5,\)",
    ):
        load_into(small(), tmp_path / "w.pt")


def test_only_a_few_of_many_names_are_listed(tmp_path):
    torch.save({f"x{i}": torch.zeros(1) for i in range(9)}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="9 unexpected: x0, x1, x2 and 6 more"):
        load_into(small(), tmp_path / "w.pt")


class Whole:
    """Stands for a pickled model."""


@pytest.mark.parametrize(
    "content, message",
    [
        (lambda path: path.write_bytes(pickle.dumps(Whole())), "not a file of tensors only"),
        (lambda path: torch.save(Whole(), path), "not a file of tensors only"),
        (lambda path: path.write_text("hello"), "not a file of t"),
        (lambda path: path.write_bytes(b""), "not a file of torch.save"),
        (lambda path: torch.save([torch.zeros(1)], path), r"should hold a state dict \(name -> tensor\), got a list"),
        (lambda path: torch.save({}, path), "got an empty dict"),
        (
            lambda path: torch.save({"epoch": 1, "weights": {"a": torch.zeros(1)}}, path),
            "epoch, weights are not tensors",
        ),
    ],
    ids=["pickle", "object", "text", "empty", "list", "no-names", "elsewhere"],
)
def test_refuses(tmp_path, content, message):
    content(tmp_path / "w.pt")
    with pytest.raises(ValueError, match=message):
        load_state_dict(tmp_path / "w.pt")


def test_refuses_what_is_not_safetensors_and_what_is_not_there(tmp_path):
    (tmp_path / "w.safetensors").write_text("hello")
    with pytest.raises(ValueError, match="is not a safetensors file"):
        load_state_dict(tmp_path / "w.safetensors")
    with pytest.raises(FileNotFoundError, match=r"no such file: .*absent.pt"):
        load_state_dict(tmp_path / "absent.pt")
