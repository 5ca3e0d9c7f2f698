"""`fastsnn train` from the command line: what it writes, how it goes on, and that a mistake is answered in one line."""

import json
import os
import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import fastsnn
from fastsnn import train
from fastsnn.cli import main
from fastsnn.train import trained
from fastsnn.train.loop import Training

pytest.importorskip("torchvision")
pytest.importorskip("matplotlib")

MODELS = '''
"""Networks for colour images, two classes."""
import time

from torch import nn


def net():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(24, 2)
    )


class Slow(nn.Module):
    def forward(self, x):
        # which a trace cannot see through
        if x.sum() < 1e9 and self.training:
            time.sleep(0.5)
        return x


def slow():
    return nn.Sequential(net(), Slow())


def one():
    return nn.Sequential(net(), nn.Linear(2, 1))


def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a model file and a tree of images; the current folder."""
    image = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "nets.py").write_text(MODELS)
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 5)):
        for number, name in enumerate(("blue", "red")):
            folder = tmp_path / "tree" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 120, (8, 8, 3), dtype=np.uint8)
                pixels[..., 0 if number else 2] += 120
                image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path


def trains(*more, model="nets.py:net", data="tree", out="out", epochs="1"):
    given = ["--model", model, "--data", data, "--out", out, "--epochs", epochs, "--batch-size", "8"]
    return ["train", *given, "--workers", "0", "--augment", "crop,flip", *more]


def refused(argv, capsys) -> str:
    try:
        code = main(argv)
    except SystemExit as e:
        code = e.code
    err = capsys.readouterr().err
    assert code == 2 and err.startswith("fastsnn train: ") and err.count("\n") == 1, err
    return err


def test_one_epoch_writes_everything_and_eval_takes_it(here, capsys):
    assert main(trains("--recipe", "qcfs", "--levels", "8", "--threads", "1")) == 0
    shown = capsys.readouterr()
    assert not shown.err and "epoch 1: loss" in shown.out
    out = here / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        *("checkpoint.pt", "curves.png", "metrics.jsonl", "weights.safetensors"),
    ]
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    (row,) = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    about = trained.about(out / "weights.safetensors")
    assert about["accuracy"] == row["test_accuracy"] and about["recipe"]["levels"] == 8 and about["classes"] == 2
    assert about["images"] == [24, 10] and about["mean"] == [0.485, 0.456, 0.406]
    # the command that it names is one that runs
    line = next(line for line in shown.out.splitlines() if line.startswith("convert it with: "))
    assert main([*shlex.split(line.removeprefix("convert it with: fastsnn ")), "--out", "r.json"]) == 0
    result = json.loads(Path("r.json").read_text())
    assert result["dense_accuracy"] == row["test_accuracy"]
    sys.path.insert(0, str(here))
    from nets import net

    model = train.load(out / "weights.safetensors", net())
    snn = fastsnn.convert(model, torch.randn(8, 3, 8, 8), timesteps=8)
    bound = next(m.bound.item() for m in model.modules() if isinstance(m, train.BoundedReLU))
    assert snn.thresholds["2_1"].max().item() == pytest.approx(bound, rel=1e-4)


def test_a_network_of_ours_needs_no_model_file(here, capsys):
    assert main(trains("--bound", "3", "--augment", "none", model="resnet20")) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("convert it with: "))
    assert "--model out/weights.safetensors --data" in line
    assert trained.about("out/weights.safetensors")["recipe"]["augment"] == []
    argv = shlex.split(line.removeprefix("convert it with: fastsnn "))
    assert main([*argv, "--precision", "float32"]) == 0
    assert "no --weights" not in capsys.readouterr().out


def test_cifar_is_fetched_where_asked_and_has_its_own_statistics(here, capsys, monkeypatch):
    calls = []

    class Fake:
        def __init__(self, root, train, download):
            calls.append((root, train, download))
            self.data, self.targets = np.zeros((8, 32, 32, 3), dtype=np.uint8), [0, 1] * 4

    monkeypatch.setattr("torchvision.datasets.CIFAR10", Fake)
    assert main(trains("--download", model="resnet20", data="cifar10:root")) == 0
    assert calls[:2] == [("root", True, True), ("root", False, True)] and not any(call[2] for call in calls[2:])
    about = trained.about("out/weights.safetensors")
    assert about["mean"] == [0.4914, 0.4822, 0.4465] and about["std"] == [0.2023, 0.1994, 0.201]


def test_an_interrupted_run_goes_on_to_the_same_weights(here, capsys, monkeypatch):
    assert main(trains(out="whole", epochs="3")) == 0
    epoch = Training._one_epoch

    def stop(self):
        if self.epoch == 2:
            raise KeyboardInterrupt
        return epoch(self)

    monkeypatch.setattr(Training, "_one_epoch", stop)
    capsys.readouterr()
    argv = trains(epochs="3")
    assert main(argv) == 130
    err = capsys.readouterr().err
    assert err == f"fastsnn train: stopped after 2 of 3 epochs; go on with: fastsnn {shlex.join(argv)} --resume\n"
    assert not Path("out/weights.safetensors").exists()
    monkeypatch.setattr(Training, "_one_epoch", epoch)
    assert "holds a checkpoint: --resume goes on with it" in refused(argv, capsys)
    assert "of another training: recipe learning_rate was 0.1, is now 0.2" in refused(
        [*argv, "--resume", "--lr", "0.2"], capsys
    )
    assert main(shlex.split(err.split("go on with: fastsnn ")[1])) == 0
    one, other = (trained.load(f"{folder}/weights.safetensors", _net(here)) for folder in ("whole", "out"))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    assert len(Path("out/metrics.jsonl").read_text().splitlines()) == 3


def _net(folder: Path):
    space: dict = {}
    exec((folder / "nets.py").read_text(), space)
    return space["net"]()


def test_ctrl_c_in_the_first_epoch_is_answered_too(here, capsys, monkeypatch):
    def stop(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Training, "_one_epoch", stop)
    assert main(trains()) == 130
    assert capsys.readouterr().err == "fastsnn train: stopped in the first epoch: nothing to go on with in out\n"
    assert list(Path("out").iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="sends the signal of Ctrl-C")
def test_a_real_ctrl_c_leaves_a_whole_checkpoint(here):
    argv = [sys.executable, "-m", "fastsnn", *trains("--workers", "1", model="nets.py:slow", epochs="50")]
    root = str(Path(fastsnn.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    # a shell's background processes ignore the signal, and so would those that they start
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    options = {"stdout": pipe, "stderr": pipe, "text": True, "start_new_session": True, "preexec_fn": heed}
    run = subprocess.Popen(argv, env=environment, **options)
    try:
        assert run.stdout.readline().startswith("epoch 1: loss")
        # as a terminal does: to this process and to those that load images
        os.killpg(run.pid, signal.SIGINT)
        _, err = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 130 and "stopped after" in err and "Traceback" not in err, err
    found = torch.load("out/checkpoint.pt", weights_only=True)
    assert found["epoch"] >= 1 and [path.name for path in Path("out").iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    "argv, message",
    [
        (
            trains(model="resnet19"),
            "model should be resnet18, resnet20, vgg16, vgg16-half, vgg16-narrow, module:function",
        ),
        (trains(model="absent.py:net"), "no such file: absent.py"),
        (trains(model="nets.py:linear"), "has no ReLU"),
        (trains(model="nets.py:one"), "the model tells 1 classes apart, the images are of 2"),
        (trains(model="vgg16"), "the model does not take images of shape (3, 8, 8)"),
        (trains(data="absent"), "no such file or folder: absent"),
        (trains(data="tree/train"), "training needs training images apart from those of the test"),
        (trains(data="cifar10:absent"), "nothing is downloaded"),
        (trains("--download"), "only cifar10:ROOT and cifar100:ROOT can be downloaded, got tree"),
        (trains("--mean", "1,2"), "the images have 3 channels, got 2 numbers"),
        (trains("--batch-size", "25"), "at least one batch of 25 images, got 24 images"),
        (trains("--resume"), "there is nothing to go on with, out holds no checkpoint.pt"),
        (trains("--recipe", "magic"), "invalid choice: 'magic'"),
        (trains("--augment", "crop,mixup"), "augment takes crop, flip, autoaugment, cutout, got 'mixup'"),
        (trains("--lr", "fast"), "--lr: should be a number, got 'fast'"),
        (trains("--lr", "-1"), "learning_rate must be above 0, got -1.0"),
        (trains("--warm-up", "1"), "shorter than the 1 epochs"),
        (trains(out="nets.py"), "output folder nets.py cannot be written"),
        (["train", "--model", "resnet20"], "the following arguments are required: --data, --out"),
    ],
    ids=lambda v: " ".join(v[-2:]) if isinstance(v, list) else "",
)
def test_mistakes_are_answered_in_one_line(here, capsys, argv, message):
    assert message in refused(argv, capsys)


def test_classes_that_differ_are_refused(here, capsys):
    (here / "tree" / "val" / "red").rename(here / "tree" / "val" / "green")
    assert "training and test should have the same classes, but differ in ['green', 'red']" in refused(trains(), capsys)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_an_image_that_cannot_be_read_is_named(here, capsys, workers):
    (here / "tree" / "train" / "red" / "3.png").write_text("no image")
    err = refused(trains("--workers", workers), capsys)
    assert err.startswith("fastsnn train: data: tree/train/red/3.png is not a readable image: ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is available")
def test_cuda_is_refused_where_there_is_none(here, capsys):
    assert "--device cuda: no CUDA device is available" in refused(trains("--device", "cuda"), capsys)
