"""Processes that train together: the weights of one process, where each step sees the same images."""

import json
import os
import sys

import closing
import numpy as np
import pytest
import torch
from safetensors.torch import load_file as read
from test_distributed import PATIENCE, started

from fastsnn import train
from fastsnn.cli import main

pytest.importorskip("torchvision")

MODELS = '''
"""A network without batch norm, whose statistics would be those of each process's share; others."""
import os
import signal

from torch import nn


def net():
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AvgPool2d(6), nn.Flatten(), nn.Linear(6, 3))


def normed():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(6), nn.Flatten(), nn.Linear(6, 3)
    )


def deep():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(6, 3)
    )


class Killed(nn.Module):
    def forward(self, x):
        # which a trace cannot see through
        if x.sum() < 1e9 and self.training and os.environ.get("RANK") == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return x


def killed():
    return nn.Sequential(Killed(), net())
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "nets.py").write_text(MODELS)
    images, labels = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8), np.arange(30) % 3
    names = ("train_images", "train_labels", "test_images", "test_labels")
    np.savez("d.npz", **dict(zip(names, (images, labels, images[:7], labels[:7]), strict=True)))
    return tmp_path


def trains(model: str, out: str, *more: str) -> list[str]:
    given = ["--model", f"nets.py:{model}", "--data", "d.npz", "--out", out, "--epochs", "2", "--batch-size", "6"]
    return ["train", *given, "--workers", "0", "--augment", "crop,flip", *more]


def finished(model: str, out: str, *more: str) -> list[tuple[int, str, str]]:
    """(exit code, stderr, stdout) of two processes."""
    runs = started([closing.__file__, *trains(model, out, *more)])
    try:
        return [(*run.communicate(timeout=PATIENCE), run.returncode)[::-1] for run in runs]
    finally:
        for run in runs:
            run.kill()


def test_two_processes_train_as_one(here):
    assert main(trains("net", "one")) == 0
    found = finished("net", "two")
    assert [code for code, _, _ in found] == [0, 0], found
    # the second process says nothing
    assert "epoch 2: loss" in found[0][2] and found[1][2] == ""
    space: dict = {}
    exec(MODELS, space)
    one, two = (train.load(f"{out}/weights.safetensors", space["net"]()) for out in ("one", "two"))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        # the same sums, in another order
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)
    rows = [[json.loads(line) for line in open(f"{out}/metrics.jsonl")] for out in ("one", "two")]
    for a, b in zip(*rows, strict=True):
        assert (
            a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-4) and a["train_accuracy"] == b["train_accuracy"]
        )
        assert a["test_accuracy"] == b["test_accuracy"]


def test_statistics_are_those_of_the_first_process(here):
    found = finished("normed", "out", "--ema", "0.9")
    assert [code for code, _, _ in found] == [0, 0], found
    assert sorted(os.listdir("out")) == ["checkpoint.pt", "curves.png", "metrics.jsonl", "weights.safetensors"]


def test_noise_that_is_measured_is_the_same_each_time(here):
    found = finished("deep", "noisy", "--recipe", "nq", "--bound", "0.5")
    assert [code for code, _, _ in found] == [0, 0], found
    noise = [json.loads(line)["noise_mean"] for line in open("noisy/metrics.jsonl")]
    assert len(noise) == 2 and noise[1] > 0
    assert [code for code, _, _ in finished("deep", "again", "--recipe", "nq", "--bound", "0.5")] == [0, 0]
    a, b = (read(f"{out}/weights.safetensors") for out in ("noisy", "again"))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_where_one_process_is_killed_the_other_says_so(here):
    (code, err, _), (other, _, _) = finished("killed", "out")
    assert code == 2 and other < 0
    assert "process 0 of 2 stopped in epoch 1, by itself or because another one ended" in err and err.count("\n") == 1


def test_a_mistake_is_said_once(here):
    (code, err, _), (other, silent, _) = finished("net", "out", "--batch-size", "5")
    assert (code, other) == (2, 2) and silent == ""
    assert err.strip() == "fastsnn train: 2 processes cannot share a batch of 5 images evenly"
