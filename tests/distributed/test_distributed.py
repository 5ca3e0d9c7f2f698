"""Several processes give the numbers of one, whatever is left over, and all end where one does."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import worker
from safetensors import safe_open

from fastsnn import _env, data
from fastsnn.cli import main
from fastsnn.convert import parameters
from fastsnn.distributed import Group, joined, launched
from fastsnn.errors import ProcessError, SaidElsewhere

ROOT = Path(__file__).resolve().parents[2]
# a process that ends leaves at once; this is for slow machines
PATIENCE = 60

MODELS = '''
"""Networks for 8x8 colour images, three classes, some of which go wrong in the second process."""
import os
import signal

import torch
from torch import nn

SECOND = os.environ.get("RANK") == "1"


def _net(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AvgPool2d(6), nn.Flatten(), nn.Linear(6, 3))


def net():
    return _net(0)


def unseeded():
    return _net(int(SECOND))


def broken():
    if SECOND:
        raise ValueError("no network here")
    return _net(0)


class Signalled(nn.Sequential):
    signal = 0

    def forward(self, x):
        if SECOND:
            os.kill(os.getpid(), self.signal)
        return super().forward(x)


def killed():
    Signalled.signal = signal.SIGKILL
    return Signalled(_net(0))


def stopped():
    Signalled.signal = signal.SIGSTOP
    return Signalled(_net(0))
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with networks and seven test images; the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "nets.py").write_text(MODELS)
    images = np.random.default_rng(0).integers(0, 256, (37, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(37) % 3
    parts = {
        "train_images": images[7:],
        "train_labels": labels[7:],
        "test_images": images[:7],
        "test_labels": labels[:7],
    }
    np.savez("d.npz", **parts)
    return tmp_path


def evaluate(model: str, *more: str) -> list[str]:
    given = ["--model", f"nets.py:{model}", "--data", "d.npz", "--timesteps", "8", "--batch-size", "2"]
    return ["eval", *given, *more]


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | more


def started(command: list[str], size: int = 2, **more: str) -> list[subprocess.Popen]:
    """The processes of one run on this machine, without torchrun, which would end the others where one ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        shared = {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1"}
        shared |= {"MASTER_PORT": str(free.getsockname()[1])} | more
    pipe, each = subprocess.PIPE, map(str, range(size))
    return [
        subprocess.Popen(
            [sys.executable, *command],
            env=environment(RANK=rank, LOCAL_RANK=rank, **shared),
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        for rank in each
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count, batch", [(1, 1), (1, 5), (7, 2), (6, 3), (9, 4)])
def test_every_image_is_in_one_share_and_batches_stay_whole(size, count, batch):
    images = [(torch.full((1,), i), i) for i in range(20)]
    whole = [labels.tolist() for _, labels in data.batches(images, batch, count)]
    shares = [[y.tolist() for _, y in data.batches(images, batch, count, rank, size)] for rank in range(size)]
    assert sorted(b for share in shares for b in share) == whole
    assert [i for labels in whole for i in labels] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_network_and_the_numbers_are_those_of_one_process(tmp_path):
    for process in started([worker.__file__, str(tmp_path)]):
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second and set(first) == set(worker.METHODS)
    for method in worker.METHODS:
        alone = worker.converted(method)
        wanted = digest(alone.save(tmp_path / "alone.safetensors"))
        assert [digest(tmp_path / f"{method}-{rank}.safetensors") for rank in (0, 1)] == [wanted, wanted]
        assert first[method] == worker.curves(alone)


def test_the_command_of_the_readme_gives_what_one_process_gives(here, capsys):
    (line,) = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("torchrun ")]
    launch, command = line.split(" -m fastsnn ")
    words = shlex.split(launch)[1:]
    assert shlex.split(command)[0] == "eval" and "--standalone" in words
    number = words.index("--nproc-per-node") + 1
    words[number] = "2"
    argv = evaluate("net", "--out", "two.json", "--checkpoint", "two.safetensors", "--report")
    run = [sys.executable, "-m", "torch.distributed.run", *words, "-m", "fastsnn", *argv]
    done = subprocess.run(run, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    for text in ("7 images", "T =", "2 processes", "note: no --weights", "results: two.json", "conv + IF"):
        assert done.stdout.count(text) == 1, done.stdout
    argv = [word.replace("two", "one") for word in argv]
    assert main(argv) == 0
    one, two = (json.loads((here / f"{name}.json").read_text()) for name in ("one", "two"))
    for key in ("dense_accuracy", "accuracy_over_time", "images", "calibrated_on", "notes"):
        assert one[key] == two[key], key
    assert (one["processes"], two["processes"]) == (1, 2)
    found = [parameters.load(here / f"{name}.safetensors").units for name in ("one", "two")]
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(unit, found[1][name]) for name, unit in found[0].items())
    assert sorted(path.name for path in here.glob("*.json")) == ["one.json", "two.json"]


@pytest.mark.parametrize(
    "model, message",
    [
        ("broken", "fastsnn eval: process 1 of 2: no network here"),
        ("unseeded", "fastsnn eval: process 1 of 2 has weights of fingerprint"),
        (
            "killed",
            "fastsnn eval: process 0 of 2: another process ended, which its own message may explain, or did not",
        ),
        ("stopped", "did not answer for 5 s (FASTSNN_TIMEOUT)"),
    ],
)
def test_where_one_process_fails_all_end_and_one_says_why(here, model, message):
    argv = ["-m", "fastsnn", *evaluate(model, "--out", "r.json")]
    first, second = started(argv, FASTSNN_TIMEOUT="5" if model == "stopped" else "600")
    start = time.monotonic()
    try:
        out, err = first.communicate(timeout=PATIENCE)
        assert first.returncode == 2 and not out
        assert message in err and err.count("\n") == 1, err
        if model in ("broken", "unseeded"):
            assert second.communicate(timeout=PATIENCE) == ("", "") and second.returncode == 2
    finally:
        first.kill(), second.kill()
        first.communicate(), second.communicate()
    assert time.monotonic() - start < PATIENCE
    assert not (here / "r.json").exists()


def digest(path: Path) -> str:
    """Of all settings and of every bit of the tensors of a saved network."""
    with safe_open(str(path), "pt") as file:
        return file.metadata()["sha256"]


def set_environment(monkeypatch, **values):
    for name, value in values.items():
        monkeypatch.setattr(_env, name, value)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"RANK": "one"}, "RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE should be whole numbers.*'RANK': 'one'"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK should be below WORLD_SIZE.*'RANK': '2'"),
        ({"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "3"}, "RANK should be below WORLD_SIZE.*'LOCAL_WORLD_SIZE': '3'"),
        ({"WORLD_SIZE": "2", "TIMEOUT": "soon"}, "FASTSNN_TIMEOUT should be a number of seconds above 0, got 'soon'"),
        ({"WORLD_SIZE": "2", "TIMEOUT": "0"}, "FASTSNN_TIMEOUT should be a number of seconds above 0, got '0'"),
        ({"WORLD_SIZE": "2"}, "MASTER_ADDR"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_an_environment_that_makes_no_sense_is_refused(monkeypatch, values, message):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    set_environment(monkeypatch, **values)
    with pytest.raises(ValueError, match=message), joined("cpu"):
        pytest.fail("joined")


def test_processes_that_do_not_come_are_given_up(monkeypatch):
    set_environment(monkeypatch, WORLD_SIZE="2", RANK="1", TIMEOUT="1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        given = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(closed.getsockname()[1]),
            "WORLD_SIZE": "2",
            "RANK": "1",
        }
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ProcessError, match=r"process 1 of 2: not all processes came within 1 s"), joined("cpu"):
            pytest.fail("joined")


def test_other_verbs_take_one_process_only(monkeypatch, capsys):
    set_environment(monkeypatch, WORLD_SIZE="2")
    assert main(["info"]) == 2
    assert re.fullmatch(r"fastsnn info: runs in one process, WORLD_SIZE is 2: .*\n", capsys.readouterr().err)
    set_environment(monkeypatch, RANK="1")
    assert main(["info"]) == 2 and capsys.readouterr().err == ""
    with pytest.raises(SaidElsewhere):
        main(["info", "--traceback"])


def test_a_mistake_in_the_arguments_is_said_once(monkeypatch, capsys):
    set_environment(monkeypatch, WORLD_SIZE="2")
    said = []
    for rank in ("0", "1"):
        set_environment(monkeypatch, RANK=rank)
        with pytest.raises(SystemExit, match="2"):
            main(["eval"])
        said.append(capsys.readouterr().err)
    assert said[0].startswith("fastsnn eval: the following arguments are required") and said[1] == ""


def test_one_process_needs_no_connection():
    assert launched() == Group()
    with joined("cpu") as group:
        assert group.first and group.together(lambda: 3) == 3
        counts = torch.arange(3)
        assert torch.equal(group.sum(counts), counts)
        group.require_same("a number of", lambda: pytest.fail("compared"))
