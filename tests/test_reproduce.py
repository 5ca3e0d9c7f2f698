"""The papers' tables: what theory predicts of V(0), what is trained and measured, and how it is shown."""

import json
from math import sqrt

import numpy as np
import pytest
import torch
from torch import nn

from fastsnn import cli_reproduce, train
from fastsnn.cli import main
from fastsnn.commands import reproduce as command
from fastsnn.convert.api import convert
from fastsnn.reproduce import EXPERIMENTS, Subject, markdown, plan, reproduce
from fastsnn.reproduce.ablation import measured, predicted
from fastsnn.reproduce.plan import STARTS, curve_steps
from fastsnn.reproduce.published import ROWS, rows

pytest.importorskip("torchvision")
pytest.importorskip("matplotlib")


class Even(nn.Module):
    """Its first neurons' input is the image itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(self.conv.weight)
        self.activation = train.BoundedReLU(1.0)
        self.linear = nn.Linear(32 * 32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.activation(self.conv(x)).flatten(1))


@pytest.fixture
def even():
    torch.manual_seed(0)
    return Even().eval(), torch.rand(20, 1, 32, 32)


# of a normal V(0), some are below 0 or above theta, whose counts are clipped: theory does not hold to the last bit
@pytest.mark.parametrize("start", [start for start in STARTS if start != "gaussian"])
def test_the_error_of_a_neuron_is_what_theory_predicts(even, start):
    model, images = even
    snn = convert(model, images, timesteps=16, initial_potential=start)
    found, logits = measured(model, snn, [(images, None)], 16)
    # the square of an error in [-1, 1] has a deviation of at most 1/2: five standard errors of the mean
    assert found == pytest.approx(predicted(start), abs=5 * 0.5 / sqrt(images.numel()))
    assert logits > 0


def test_what_theory_predicts():
    assert [round(predicted(start), 4) for start in (0.5, 0.25, 0.75, "uniform", 0.0)] == [
        *(0.0833, 0.1458, 0.1458, 0.1667, 0.3333),
    ]
    assert predicted("gaussian") == predicted(0.25)


def test_an_error_needs_neurons_between_their_bounds(even):
    model, images = even
    snn = convert(model, images, timesteps=4)
    with pytest.raises(ValueError, match="no neuron between 0 and its bound"):
        measured(model, snn, [(images * 0, None)], 4)


def about(**more):
    weights = {"file": "w.safetensors", "sha256": "0" * 64, "command": "fastsnn train"}
    given = {"title": "t", "model": "vgg16-narrow", "recipe": "qcfs", "dense": 0.9, "images": 20, "weights": weights}
    return given | {"command": "fastsnn reproduce", "reduced": None, "note": None, **more}


def test_every_table_is_there_and_grows(even):
    model, images = even
    subject = Subject(model, lambda: [(images, torch.arange(20) % 3)], images)
    grown = []
    document = reproduce(subject, about(), (1, 2, 4), keep=lambda found: grown.append(len(json.dumps(found))))
    assert grown == sorted(set(grown)) and len(grown) == len(STARTS) + 3 + 10
    text = markdown(document)
    # as it is read again from its file
    assert json.loads(json.dumps(document)) == document
    assert "| published: QCFS (Bu et al., ICLR 2022), vgg16 | 95.52 | - | 91.18 | 93.96 |" in text
    assert "| published: COS (Hao et al., ICLR 2023), vgg16 | - | 94.90* | 95.36* | 95.46* |" in text
    assert "*: as recalled, not read in the paper" in text
    (ours,) = [row for row in document["starts"] if row["start"] == 0.5]
    shown = " | ".join(f"{100 * ours['accuracy'][T]:.2f}" for T in "124")
    assert f"| measured: V(0) = theta/2 (OPI) | 90.00 | {shown} |" in text
    assert text.count("`lcp`, V(0) = ") == 2 and "REDUCED" not in text


def test_an_unfinished_run_goes_on(even):
    model, images = even
    subject = Subject(model, lambda: [(images, torch.arange(20) % 3)], images)
    whole, kept = [], []

    def stops(document):
        kept.append(json.dumps(document))
        if len(kept) == len(STARTS) + 2:
            raise KeyboardInterrupt

    document = reproduce(subject, about(threads=1), (1, 2), say=whole.append)
    with pytest.raises(KeyboardInterrupt):
        reproduce(subject, about(threads=1), (1, 2), keep=stops)
    unfinished = json.loads(kept[-1])
    said: list[str] = []
    # a mark by which rows that are not measured again are known
    unfinished["starts"][0]["accuracy"]["1"] = 2.0
    again = reproduce(subject, about(threads=2), (1, 2), unfinished, say=said.append)
    assert said[0] == "8 of 19 results are those of the run that was not finished" and len(said) == 1 + len(whole) - 10
    assert again["threads"] == 2 and again["starts"][0]["accuracy"].pop("1") == 2.0
    document["starts"][0]["accuracy"].pop("1")
    assert again == document | {"threads": 2}
    # of something else, or finished
    for other, steps, found in (
        (about(dense=0.8), (1, 2), unfinished),
        (about(), (1, 4), unfinished),
        (about(), (1, 2), document),
        (about(), (1, 2), {"schema": "other"}),
    ):
        said.clear()
        assert len(reproduce(subject, other, steps, found, say=said.append)["added"]) == 10
        assert "results are those" not in said[0]


def test_what_fails_has_a_reason(even, monkeypatch):
    model, images = even
    monkeypatch.setattr("fastsnn.reproduce.run.ADDED", ("msat",))
    subject = Subject(model, lambda: [(images, torch.arange(20) % 3)], images)
    document = reproduce(subject, about(recipe="opi"), (1, 4))
    text = markdown(document)
    assert "`msat` at T = 4: " in text and "float64" in text
    assert [row["published"] for row in document["methods"]] == [[], [], []]


def test_plans():
    assert tuple(EXPERIMENTS) == cli_reproduce.EXPERIMENTS
    for name, experiment in EXPERIMENTS.items():
        whole, short = plan(experiment, True), plan(experiment, False)
        assert whole.recipe == train.RECIPES[name.split("-")[0]] and whole.reduced is None and whole.images is None
        assert short.reduced.startswith("REDUCED: ") and short.recipe.epochs < whole.recipe.epochs
        assert short.recipe.levels == whole.recipe.levels and short.recipe.bound == whole.recipe.bound
    assert curve_steps(512) == (1, 2, 4, 8, 16, 32, 64, 128, 256, 512) and curve_steps(6) == (1, 2, 4, 6)
    assert curve_steps(1) == (1,)


def test_published_rows_are_of_networks_that_we_have():
    assert {row.network for row in ROWS} <= set(train.trained.MODELS)
    assert all(set(row.read) <= set(row.accuracy) and min(row.accuracy.values()) > 50 for row in ROWS)
    (opi,) = rows("opi", "vgg16-narrow")
    assert opi.accuracy[16] == 93.38 and opi.read == (16,) and rows("opi", "resnet18") == []


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (130, 32, 32, 3), dtype=np.uint8), np.arange(130) % 10
    test = {"test_images": images[:20], "test_labels": labels[:20]}
    np.savez("c.npz", train_images=images, train_labels=labels, **test)
    return tmp_path


REPRODUCE = ("reproduce", "opi-cifar10", "--data", "c.npz", "--timesteps", "2", "--calibration-images", "8")


def test_without_weights_a_network_is_trained_once(here, capsys, monkeypatch):
    monkeypatch.setattr("fastsnn.reproduce.run.ADDED", ("lcp",))
    assert main([*REPRODUCE, "--out", "out"]) == 0
    shown = capsys.readouterr()
    assert "REDUCED" in shown.out and "fastsnn train --model vgg16-narrow" in shown.out
    assert "measuring: V(0) = 0.5, 2 time-steps" in shown.err
    out = here / "out"
    assert sorted(path.name for path in out.iterdir()) == ["curves.png", "table.json", "table.md", "training"]
    document = json.loads((out / "table.json").read_text())
    assert document["schema"] == "fastsnn.reproduction" and document["images"] == 20
    assert document["weights"]["command"].startswith("fastsnn train --model vgg16-narrow")
    assert (out / "table.md").read_text() == markdown(document) and (out / "curves.png").read_bytes()[1:4] == b"PNG"
    monkeypatch.setattr(command.train, "run", lambda args: pytest.fail("trained again"))
    assert main([*REPRODUCE, "--out", "out", "--images", "10"]) == 0
    assert json.loads((out / "table.json").read_text())["images"] == 10


@pytest.mark.parametrize(
    "more, message",
    [
        (("--weights", "nowhere.safetensors"), "no such weights file"),
        (("--data", "nowhere"), "nowhere"),
        (("--device", "cuda"), "no CUDA device"),
    ],
)
def test_mistakes_are_answered_in_one_line(here, capsys, more, message):
    if "cuda" in more and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main([*REPRODUCE, "--out", "out", *more]) == 2
    shown = capsys.readouterr()
    assert message in shown.err and shown.err.count("\n") == 1
