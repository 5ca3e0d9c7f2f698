"""What `fastsnn methods` and `fastsnn compare-methods` print and write, and that a mistake is answered in one line."""

import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
from rich.console import Console

import fastsnn
from fastsnn.cli import main
from fastsnn.commands import compare_methods as verb
from fastsnn.commands import methods as listing
from fastsnn.commands import output
from fastsnn.comparison import Comparison, run
from fastsnn.methods import METHODS, build
from fastsnn.methods.card import Card

MODEL = '''
"""A network for 8x8 colour images, three classes."""
import torch
from torch import nn


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(24, 3)
    )
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a model file, its weights, and data; the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(run, "ROUNDS", 3)
    monkeypatch.setattr(run, "WARM_UP", 0)
    (tmp_path / "nets.py").write_text(MODEL)
    space: dict = {}
    exec(MODEL, space)
    torch.save(space["net"]().state_dict(), "w.pt")
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8), np.arange(40) % 3
    np.savez(
        "d.npz", train_images=images[:20], train_labels=labels[:20], test_images=images[20:], test_labels=labels[20:]
    )
    return tmp_path


def compared(*more):
    return ["compare-methods", "--model", "nets.py:net", "--weights", "w.pt", "--data", "d.npz", *more]


def refused(argv, capsys) -> str:
    """The message of a call that must fail with exit code 2, one line on stderr and nothing after it."""
    try:
        code = main(argv)
    except SystemExit as e:
        code = e.code
    err = capsys.readouterr().err
    assert code == 2
    assert err.startswith("fastsnn compare-methods: ") and err.endswith("\n") and err.count("\n") == 1, err
    return err


def test_methods_are_listed(capsys, monkeypatch):
    # wide enough that no text is broken into lines
    monkeypatch.setattr(output, "console", lambda: Console(width=600))
    assert main(["methods"]) == 0
    shown = capsys.readouterr().out
    words = shown.split()
    for name in METHODS:
        assert words.count(name) >= 2
    for column in (
        "what it does",
        "state",
        "data",
        "passes",
        "causal",
        "bits a spike",
        "latency",
        "source",
        "verified",
    ):
        assert column in shown
    assert build("opi").card.title in shown and build("opi").card.source in shown


def test_a_method_that_was_compared_with_nothing_says_so(capsys, monkeypatch):
    card = Card("a [bold] title", "a paper", "v", "none", "1", False, 0.5, "T + 4")
    monkeypatch.setattr(listing, "METHODS", {"mine": ""})
    monkeypatch.setattr(listing, "build", lambda name: type("Mine", (), {"card": card}))
    assert main(["methods"]) == 0
    shown = capsys.readouterr().out
    for text in ("mine", "a [bold] title", "a paper", "T + 4", "0.5", "no", listing.UNVERIFIED):
        assert text in shown, text


def test_methods_as_json(capsys):
    assert main(["methods", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [method["name"] for method in found] == list(METHODS)
    opi, card = found[0], build("opi").card
    assert set(opi) == {"name", *Card.__dataclass_fields__}
    assert opi["source"] == card.source and opi["causal"] is True and opi["verified"] == card.verified
    assert all(method["verified"] for method in found)


def test_tables_and_files(here, capsys):
    pytest.importorskip("matplotlib")
    zero = "opi:initial-potential=0,threshold=percentile:99.9"
    argv = compared("--methods", "opi", zero, "--timesteps", "4", "2", "--batch-size", "7", "--batch", "3")
    argv += ["--images", "10", "--precision", "float32", "--out", "c.json", "--out", "c.png"]
    assert main(argv) == 0
    shown = capsys.readouterr()
    assert not shown.err
    for text in ("Sequential: 2 methods, float32, on cpu", "10 images, calibrated on 20", "batch of 3", zero, "dense"):
        assert text in shown.out, text
    assert "comparison: c.json" in shown.out and "plot: c.png" in shown.out
    assert "note: d.npz has 20 images to calibrate on, not 512" in shown.out
    result = Comparison.load("c.json")
    assert result.document["command"] == "fastsnn " + shlex.join(argv)
    assert [(row["label"], row["timesteps"]) for row in result.rows] == [("opi", 2), (zero, 2), ("opi", 4), (zero, 4)]
    assert result.rows[1]["settings"] == "opi(threshold=percentile:99.9 per channel, initial potential=0.0)"
    assert (here / "c.png").read_bytes().startswith(b"\x89PNG")


def test_methods_and_options_of_the_command_line():
    given = ["opi", "opi:per-channel=false,seed=3", "opi:comparator=>=", "opi:initial-potential=-0.5"]
    assert verb.named(given) == {
        "opi": ("opi", {}),
        "opi:per-channel=false,seed=3": ("opi", {"per_channel": False, "seed": 3}),
        "opi:comparator=>=": ("opi", {"comparator": ">="}),
        "opi:initial-potential=-0.5": ("opi", {"initial_potential": -0.5}),
    }


def test_without_methods_all_are_compared(here, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(fastsnn, "compare_methods", lambda *args, **more: asked.append((args, more)) or stop())
    assert main(compared()) == 130
    ((_, _, methods, timesteps), more) = asked[0]
    assert methods is None and timesteps == [4, 8, 16, 32] and more["options"] == {"max_pool": None}


def stop():
    raise KeyboardInterrupt


def test_ctrl_c_shows_and_writes_what_is_finished(here, capsys, monkeypatch):
    real, calls = run.convert, []

    def converting(*args, **kwargs):
        calls.append(1)
        return real(*args, **kwargs) if len(calls) < 2 else stop()

    monkeypatch.setattr(run, "convert", converting)
    assert main(compared("--methods", "opi", "--timesteps", "2", "3", "--out", "c.json")) == 130
    shown = capsys.readouterr().out
    assert "PARTIAL: interrupted while converting by opi for T = 3, after 1 of 2 rows" in shown
    assert "comparison: c.json" in shown and len(Comparison.load("c.json").rows) == 1


def test_one_failure_is_a_row_and_failures_alone_are_an_error(here, capsys):
    assert main(compared("--methods", "opi", "opi:threshold=bound", "--timesteps", "2")) == 0
    assert 'opi:threshold=bound, T = 2: threshold="bound" needs bounded' in capsys.readouterr().out
    assert main(compared("--methods", "opi:threshold=bound", "--timesteps", "2")) == 2
    assert capsys.readouterr().err.startswith(
        "fastsnn compare-methods: no method has a result:\nopi:threshold=bound, T"
    )


@pytest.mark.parametrize(
    "more, message",
    [
        (["--methods", "magic"], "unknown method 'magic'; there is opi"),
        (["--methods", "opi", "opi"], "--methods: opi is there twice"),
        (["--methods", "opi:threshold"], "--methods should be NAME or NAME:OPTION=VALUE,OPTION=VALUE"),
        (["--methods", "opi:"], "--methods should be NAME or NAME:OPTION=VALUE,OPTION=VALUE"),
        (["--methods", "opi:threshold=nonsense"], "threshold must be max"),
        (["--methods", "opi:colour=red"], "method opi has no option 'colour'; it has threshold"),
        (["--timesteps", "4", "0"], "--timesteps: should be a whole number of at least 1, got '0'"),
        (["--precision", "int4"], "invalid choice: 'int4'"),
        (["--out", "c.html"], "output file should end in .json or .png or .svg or .pdf, got c.html"),
        (["--out", "absent/c.json"], "no folder absent"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_mistakes_are_answered_before_the_network_is_built(here, capsys, monkeypatch, more, message):
    monkeypatch.setattr("fastsnn.commands.setup.build", lambda spec: pytest.fail("the run began"))
    assert message in refused(compared(*more), capsys)


def test_help_says_how_options_are_written():
    done = subprocess.run(
        [sys.executable, "-m", "fastsnn", "compare-methods", "--help"], capture_output=True, text=True, check=True
    )
    assert "NAME:OPTION=VALUE,OPTION=VALUE" in " ".join(done.stdout.split())
