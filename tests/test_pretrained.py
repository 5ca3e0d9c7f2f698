"""Networks that come with fastsnn, training that begins with weights, and what commands know of trained networks."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import fastsnn
from fastsnn import data, models, train
from fastsnn.cli import main
from fastsnn.commands.dense import dense_accuracy
from fastsnn.train import trained
from fastsnn.train.loop import How

pytest.importorskip("torchvision")
pytest.importorskip("matplotlib")

DATA = Path(os.environ.get("FASTSNN_DATA") or Path(__file__).parents[2] / "shared" / "data")
LOSSLESS = DATA / "cifar10-lossless.npz"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (24, 32, 32, 3), dtype=np.uint8), np.arange(24) % 10
    np.savez("c.npz", train_images=images, train_labels=labels, test_images=images[:10], test_labels=labels[:10])
    return tmp_path


def trains(*more, out="out", model="resnet20"):
    given = ["--model", model, "--data", "c.npz", "--out", out, "--epochs", "1", "--batch-size", "8"]
    return ["train", *given, "--workers", "0", "--augment", "crop,flip", *more]


@pytest.mark.parametrize("name", train.PRETRAINED)
def test_a_network_that_comes_with_fastsnn_says_how_it_was_made(name):
    header = train.about(train.path_of(name))
    assert header["model"] == "resnet20" and header["command"].startswith("fastsnn train --model resnet20")
    assert [row["epoch"] for row in header["metrics"]] == list(range(1, header["epochs"] + 1))
    assert header["accuracy"] == header["metrics"][-1]["test_accuracy"] > 0.8
    assert train.path_of(name).stat().st_size < 1.2e6
    # that of another machine would help nobody
    assert "/" not in header["command"]
    assert not train.pretrained(name).training


@pytest.mark.data
@pytest.mark.parametrize("name", train.PRETRAINED)
def test_it_is_as_accurate_on_real_images_and_so_is_its_spiking_form(name):
    if not LOSSLESS.exists():
        pytest.skip(f"no {LOSSLESS}")
    header, model = train.about(train.path_of(name)), train.pretrained(name)
    prepare = data.Prepare(mean=header["mean"], std=header["std"])
    batches = list(data.batches(data.load(LOSSLESS, "test", prepare), 100))
    dense, count = dense_accuracy(model, batches)
    # three standard errors of a share of 500 images; these are the originals of the images that it was trained on
    assert dense > header["accuracy"] - 3 * (0.25 / count) ** 0.5
    snn = fastsnn.convert(model, batches[0][0], timesteps=32)
    assert snn.accuracy_over_time(batches, progress=False)[-1].item() > dense - 3 * (0.25 / count) ** 0.5


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="is resnet20-opi or resnet20-qcfs, got 'vgg'"):
        train.pretrained("vgg")


def test_eval_prepares_images_as_the_network_was_trained(here, capsys):
    header = train.about(train.path_of("resnet20-qcfs"))
    given = ["eval", "--model", "resnet20-qcfs", "--data", "c.npz", "--timesteps", "4"]
    mean, std = (",".join(map(str, header[name])) for name in ("mean", "std"))
    results = []
    for more in ([], ["--mean", mean, "--std", std], ["--mean", "0"]):
        assert main([*given, *more, "--out", "r.json"]) == 0
        results.append(json.loads(Path("r.json").read_text()))
    curves = [result["accuracy_over_time"] for result in results]
    assert curves[0] == curves[1] and results[0]["settings"]["model"] == "resnet20-qcfs"
    assert "no --weights" not in capsys.readouterr().out


def test_demo_on_cifar10(here, capsys):
    assert main(["demo", "--cifar10", "c.npz", "--images", "7", "--out", "shown"]) == 0
    shown = capsys.readouterr().out
    assert "CIFAR-10: 7 test images; resnet20-opi as it comes" in shown and "V(0) = theta/2" in shown
    assert (here / "shown" / "accuracy_over_time.png").read_bytes()[1:4] == b"PNG"


def test_demo_without_images_says_what_is_missing(here, capsys):
    assert main(["demo", "--cifar10", "--out", "shown"]) == 2
    assert "--download" in capsys.readouterr().err


@pytest.mark.parametrize("trained_file", [False, True], ids=["with ReLUs", "of fastsnn train"])
def test_training_begins_with_weights(here, trained_file):
    torch.manual_seed(5)
    plain = models.resnet20()
    if trained_file:
        assert main(trains(out="first")) == 0
        path, wanted = "first/weights.safetensors", train.load("first/weights.safetensors").state_dict()
    else:
        path, wanted = "w.pt", plain.state_dict()
        torch.save(wanted, path)
    # a rate at which nothing moves but the statistics of batch norm
    assert main(trains("--weights", path, "--lr", "1e-60", "--recipe", "qcfs")) == 0
    found = train.load("out/weights.safetensors").state_dict()
    kept = [name for name in wanted if "running" not in name and "tracked" not in name]
    assert len(kept) == len(list(plain.parameters())) + (19 if trained_file else 0)
    assert all(torch.equal(found[name], wanted[name]) for name in kept)
    about = trained.about("out/weights.safetensors")
    assert about["weights"] == path and about["recipe"]["levels"] == 4 and about["metrics"][0]["epoch"] == 1


def test_weights_that_do_not_fit_are_refused(here, capsys):
    torch.save(nn.Linear(2, 2).state_dict(), "w.pt")
    assert main(trains("--weights", "w.pt")) == 2
    assert "w.pt does not fit ResNet" in capsys.readouterr().err


def test_half_precision_is_of_the_training_and_of_its_checkpoint(here, capsys):
    assert main(trains("--precision", "bfloat16", out="half")) == 0
    assert main(trains(out="whole")) == 0
    half, whole = (train.load(f"{out}/weights.safetensors").state_dict() for out in ("half", "whole"))
    assert half["conv1.weight"].dtype == torch.float32 and not torch.equal(half["conv1.weight"], whole["conv1.weight"])
    assert trained.about("half/weights.safetensors")["precision"] == "bfloat16"
    capsys.readouterr()
    assert main(trains("--resume", out="half")) == 2
    assert "precision" in capsys.readouterr().err


def test_another_precision_is_refused():
    with pytest.raises(ValueError, match="precision must be one of float32, bfloat16, got 'float8'"):
        How(precision="float8")


@pytest.mark.parametrize("make, by, size", [(models.vgg16_narrow, 4, 2_114_842), (models.vgg16_half, 2, 8_427_562)])
def test_a_narrow_vgg(make, by, size):
    narrow, wide = make(), models.vgg16()
    assert sum(p.numel() for p in narrow.parameters()) == size
    shapes = [[m.weight.shape for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)] for net in (narrow, wide)]
    # all but colours and classes
    assert all(by * a[0] == b[0] for a, b in zip(*shapes, strict=True) if b[0] != 10)
    assert narrow.eval()(torch.rand(1, 3, 32, 32)).shape == (1, 10)
