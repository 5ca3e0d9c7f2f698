"""Training: recipes, images that repeat, a loss that falls, and runs that are interrupted and gone on with."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn import train
from fastsnn.data.prepare import Prepare
from fastsnn.train import checkpoint, trained
from fastsnn.train.images import augmentation
from fastsnn.train.loop import CHECKPOINT, METRICS, How, Training

pytest.importorskip("torchvision")

SMALL = train.Recipe(epochs=3, batch_size=8, learning_rate=0.05, bound=2.0, augment=("crop", "flip"))


def images(count: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 [N, 3, 8, 8] of two classes that differ in colour, and their labels."""
    generator = torch.Generator().manual_seed(0)
    found = torch.randint(0, 120, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % 2
    found[labels == 1, 0] += 120
    return found, labels


class Labelled:
    """Images prepared when they are asked for; Ctrl-C comes at the n-th."""

    def __init__(self, prepare, stop_at: int | None = None) -> None:
        self.images, self.labels = images()
        self.prepare, self.left = prepare, stop_at

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        return self.prepare(self.images[index]), int(self.labels[index])


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(4)),
        *(nn.Flatten(), nn.Dropout(0.2), nn.Linear(24, 2)),
    )


def training(folder, recipe=SMALL, stop_at=None, workers=0, model=None, model_name="net") -> Training:
    prepare = Prepare(mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.2))
    drawn = Labelled(augmentation(recipe, prepare, (8, 8)), stop_at)
    model = trained.prepared(net(), recipe) if model is None else model
    about = {"model": model_name, "classes": 2, "recipe": trained.fields_of(recipe)}
    return Training(model, (drawn, Labelled(prepare)), 2, recipe, folder, about, 3, How(workers=workers))


def weights(run: Training) -> list[torch.Tensor]:
    return list(run.result.state_dict().values())


def same(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def test_the_loss_falls_and_every_epoch_is_a_row(tmp_path):
    run = training(tmp_path, replace(SMALL, epochs=6))
    run.run()
    rows = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert rows == run.rows and [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["train_loss"] < 0.7 * rows[0]["train_loss"] and rows[-1]["test_accuracy"] > 0.9
    assert rows[0]["bound_min"] == rows[0]["bound_max"] != 2.0
    assert sorted(path.name for path in tmp_path.iterdir()) == [CHECKPOINT, METRICS]
    snn = fastsnn.convert(run.result.eval(), torch.rand(8, 3, 8, 8), timesteps=4)
    assert snn.thresholds["2_1"].max().item() == pytest.approx(rows[-1]["bound_max"], rel=1e-4)


EVERYTHING = replace(
    SMALL,
    levels=4,
    noise_steps=4,
    ema=0.9,
    label_smoothing=0.1,
    warm_up=1,
    augment=("crop", "flip", "autoaugment", "cutout"),
)


@pytest.mark.parametrize("recipe", [SMALL, EVERYTHING, replace(SMALL, schedule="one-cycle")], ids=["a", "b", "c"])
def test_a_resumed_run_gives_the_weights_of_an_uninterrupted_one(tmp_path, recipe):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    run = training(whole, recipe)
    run.run()
    # one image is looked at in the second epoch's second batch
    stopped = training(parts, recipe, stop_at=24 + 9)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    assert stopped.epoch == 1 and checkpoint.read(parts / CHECKPOINT, stopped.about)["epoch"] == 1
    # a line whose checkpoint was not written any more
    with (parts / METRICS).open("a") as file:
        file.write('{"epoch": 2}\n')
    torch.rand(5)
    again = training(parts, recipe)
    again.resume()
    again.run()
    assert again.epoch == 3 and same(weights(again), weights(run))
    assert [json.loads(line)["epoch"] for line in (parts / METRICS).read_text().splitlines()] == [1, 2, 3]
    assert [row["train_loss"] for row in again.rows] == [row["train_loss"] for row in run.rows]


def test_processes_that_load_images_change_nothing(tmp_path):
    runs = [training(tmp_path, replace(EVERYTHING, epochs=2, warm_up=0), workers=workers) for workers in (0, 2)]
    for run in runs:
        run.run()
    assert same(weights(runs[0]), weights(runs[1]))


def test_a_seed_is_left_as_it_was(tmp_path):
    run = training(tmp_path, replace(SMALL, epochs=1))
    before = torch.get_rng_state()
    run.run()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_running_mean_is_what_is_tested(tmp_path):
    recipe = replace(SMALL, epochs=1, ema=0.5)
    run = training(tmp_path, recipe)
    run.run()
    mean, last = run.result.get_parameter("0.weight"), run.model.get_parameter("0.weight")
    assert run.result is not run.model and not torch.equal(mean, last)


def test_checkpoints_of_another_training_are_refused(tmp_path):
    run = training(tmp_path, replace(SMALL, epochs=1))
    run.run()
    with pytest.raises(ValueError, match=r"of another training: recipe epochs was 1, is now 3$"):
        training(tmp_path).resume()
    with pytest.raises(ValueError, match=r"of another training: model was net, is now other$"):
        training(tmp_path, replace(SMALL, epochs=1), model=run.model, model_name="other").resume()


@pytest.mark.parametrize(
    "content, message",
    [
        (b"nothing", "is not a whole checkpoint"),
        (b"", "is not a whole checkpoint"),
        (None, "there is nothing to go on"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        training(tmp_path).resume()


def test_a_checkpoint_that_was_cut_off_or_is_something_else_is_refused(tmp_path):
    training(tmp_path, replace(SMALL, epochs=1)).run()
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="is not a whole checkpoint"):
        checkpoint.read(path, {})
    torch.save({"model": {}}, path)
    with pytest.raises(ValueError, match="is not a checkpoint of fastsnn train"):
        checkpoint.read(path, {})


def test_a_loss_that_is_no_number_keeps_the_last_checkpoint(tmp_path):
    run = training(tmp_path, replace(SMALL, epochs=2))
    run._test = lambda: [nn.init.constant_(run.model.get_parameter("0.weight"), float("nan")), (0, 1)][1]
    with pytest.raises(ValueError, match="the loss of epoch 2 is nan: train with a lower learning rate"):
        run.run()
    assert checkpoint.read(tmp_path / CHECKPOINT, run.about)["epoch"] == 1


@pytest.mark.parametrize(
    "model, message",
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), "prepare Sequential first"),
        (nn.Sequential(nn.Linear(5, 2), train.BoundedReLU()), r"does not take images of shape \(3, 8, 8\)"),
        (nn.Sequential(nn.Conv2d(3, 2, 1), train.BoundedReLU()), r"should return logits \[1, classes\]"),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 1), train.BoundedReLU()), "tells 1 classes apart, the images are"),
    ],
    ids=["bounds", "images", "logits", "classes"],
)
def test_networks_that_do_not_fit_are_refused(tmp_path, model, message):
    with pytest.raises(ValueError, match=message):
        training(tmp_path, model=model)


def test_trained_networks_come_back(tmp_path):
    path = tmp_path / "weights.safetensors"
    about = {"model": "resnet20", "classes": 7, "recipe": trained.fields_of(EVERYTHING), "accuracy": 0.5}
    model = trained.prepared(trained.named("resnet20", 7), EVERYTHING).eval()
    trained.save(path, model, about)
    assert train.is_trained(path) and trained.about(path) == about
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(train.load(path)(x), model(x))
    trained.save(path, trained.prepared(net(), SMALL), about | {"model": "nets.py:net"})
    with pytest.raises(ValueError, match=r"holds weights of nets.py:net: give that network"):
        train.load(path)
    assert not train.load(path, net()).training
    with pytest.raises(ValueError, match="does not fit"):
        train.load(path, nn.Sequential(nn.Linear(3, 3), nn.ReLU()))


def test_weights_that_were_changed_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    trained.save(path, trained.prepared(net(), SMALL), {"model": "net"})
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="was changed after it was written"):
        train.load(path, net())
    assert not train.is_trained(tmp_path / "absent") and not train.is_trained(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such weights file"):
        train.load(tmp_path / "absent")
