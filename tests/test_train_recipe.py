"""Recipes of training, and images that are drawn anew each time, and alike for a seed."""

import json

import numpy as np
import pytest
import torch

from fastsnn import train
from fastsnn.data.arrays import Arrays
from fastsnn.data.prepare import Prepare
from fastsnn.train import trained
from fastsnn.train.images import Cutout, Order, augmentation, loader, seed_of, training_images

pytest.importorskip("torchvision")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"epochs": 0}, "epochs must be a whole number of at least 1"),
        ({"batch_size": 2.5}, "batch_size must be a whole number"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative"),
        ({"label_smoothing": 1.0}, "label_smoothing must be from 0 to below 1"),
        ({"ema": -0.1}, "ema must be from 0 to below 1"),
        ({"schedule": "steps"}, "schedule must be one of cosine, one-cycle"),
        ({"epochs": 5, "warm_up": 5}, "shorter than the 5 epochs"),
        ({"warm_up": 1, "schedule": "one-cycle"}, "warm_up is of the cosine schedule"),
        ({"augment": ("crop", "mixup")}, "augment takes crop, flip, autoaugment, cutout, got 'mixup'"),
        ({"levels": 0}, "levels must be a whole number"),
        ({"noise_steps": 0}, "noise_steps must be a whole number"),
        ({"noise_steps": 4, "noise": 0.1}, "noise is measured where there are noise_steps, got 0.1 as well"),
    ],
)
def test_recipes_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        train.Recipe(**options)


def test_rates():
    cosine = train.Recipe(epochs=10, learning_rate=0.1, warm_up=2)
    rates = [cosine.rate(step, 4) for step in range(40)]
    assert rates[:8] == pytest.approx([0.1 * (i + 1) / 8 for i in range(8)])
    assert rates[8] == 0.1 and rates[24] == pytest.approx(0.05) and 0 < rates[-1] < 0.001
    cycle = [train.Recipe(epochs=10, schedule="one-cycle").rate(step, 4) for step in range(40)]
    assert cycle[0] == pytest.approx(0.004) and cycle[12] == pytest.approx(0.1) and cycle[-1] < 0.001
    assert max(cycle) == cycle[12]


def test_recipes_come_back_from_a_file():
    for recipe in [*train.RECIPES.values(), train.Recipe(levels=4, noise=0.1, ema=0.9, augment=("flip",))]:
        assert trained.recipe_of(json.loads(json.dumps(trained.fields_of(recipe)))) == recipe


def test_an_epoch_has_its_own_order_and_processes_share_it():
    orders = [Order(23, 6, 1, rank, 3) for rank in range(3)]
    found = []
    for epoch in (0, 0, 1):
        for order in orders:
            order.epoch = epoch
        found.append([[key for part in parts for key in part] for parts in zip(*orders, strict=True)])
        assert [len(batch) for batch in found[-1]] == [6, 6, 6] and len(orders[0]) == 3
        assert len({key for batch in found[-1] for key in batch}) == 18
    assert found[0] == found[1]
    assert [i for batch in found[0] for _, i in batch] != [i for batch in found[2] for _, i in batch]
    with pytest.raises(ValueError, match="at least one batch of 6 images, got 5"):
        Order(5, 6, 1)
    with pytest.raises(ValueError, match="4 processes cannot share a batch of 6 images"):
        Order(9, 6, 1, 0, 4)


def test_an_image_is_drawn_anew_in_each_epoch_and_alike_for_a_seed():
    recipe = train.Recipe(batch_size=8, cutout=2)
    draw = augmentation(recipe, Prepare(), (8, 8))
    drawn = Arrays(torch.randint(0, 256, (24, 3, 8, 8), dtype=torch.uint8), torch.zeros(24), draw)
    batches = {}
    for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0)):
        order = Order(len(drawn), 8, seed)
        order.epoch = epoch
        batches.setdefault((seed, epoch), []).append(next(iter(loader(drawn, order, 0)))[0])
    first, again = batches[1, 0]
    assert torch.equal(first, again) and first.shape == (8, 3, 8, 8) and first.dtype == torch.float32
    assert not torch.equal(first, batches[1, 1][0]) and not torch.equal(first, batches[2, 0][0])
    assert len({seed_of(a, b) for a in range(30) for b in range(30)}) == 900


def test_cutout_is_a_square_cut_off_at_the_edges():
    holes = {int((Cutout(4)(torch.ones(1, 8, 8)) == 0).sum()) for _ in range(300)}
    assert max(holes) == 16 and min(holes) >= 4 and {w * h for w in (2, 3, 4) for h in (2, 3, 4)} >= holes


def test_photographs_are_cut_at_random():
    prepare = Prepare(image_size=6, resize=7)
    image = torch.randint(0, 256, (3, 9, 12), dtype=torch.uint8)
    for augment in (("crop", "flip"), ("flip",)):
        drawn = augmentation(train.Recipe(augment=augment), prepare, (9, 12))(image)
        assert drawn.shape == (3, 6, 6) and 0 <= drawn.min() and drawn.max() <= 1
    assert torch.equal(augmentation(train.Recipe(augment=()), prepare, (9, 12))(image), prepare(image))


def test_images_that_cannot_be_trained_on_are_refused(tmp_path):
    path, labels = tmp_path / "d.npz", np.arange(4)
    np.savez(path, images=np.zeros((4, 8, 8, 3), dtype=np.uint8), labels=labels)
    with pytest.raises(ValueError, match="needs training images apart"):
        training_images(str(path), train.Recipe(), Prepare())
    floats = np.zeros((4, 3, 8, 8), dtype=np.float32)
    np.savez(path, train_images=floats, train_labels=labels, test_images=floats, test_labels=labels)
    with pytest.raises(ValueError, match=r"should be uint8, got torch.float32 \(3, 8, 8\)"):
        training_images(str(path), train.Recipe(), Prepare())
