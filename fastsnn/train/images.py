"""Training images: augmented, in batches, the same for a seed whatever loads them."""

import hashlib
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fastsnn import data
from fastsnn._extras import need
from fastsnn.data.prepare import Images, Prepare
from fastsnn.train.recipe import Recipe

PADDING = 4
# of photographs, beside a random part of the image
JITTER = 0.1


def seed_of(*numbers: int) -> int:
    """A seed of 63 bits that any change of a number changes: neighbours have nothing in common."""
    digest = hashlib.sha256(" ".join(map(str, numbers)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Cutout:
    """A square of zeros whose centre is anywhere in the image, cut off at its edges; of float images [C, H, W].

    Source: DeVries, Taylor, arXiv 1708.04552.
    """

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        top, left = (int(torch.randint(size, ())) - self.side // 2 for size in (height, width))
        image = image.clone()
        image[..., max(top, 0) : max(top + self.side, 0), max(left, 0) : max(left + self.side, 0)] = 0
        return image


def augmentation(recipe: Recipe, prepare: Prepare, size: tuple[int, int]) -> Any:
    """What happens to a training image, uint8 [C, H, W] of that size (or of any, where `prepare` has an image size).

    Random numbers are those of torch's generator of the CPU. Raises MissingExtra where torchvision is absent.
    """
    v2 = need("torchvision.transforms.v2", "training")
    steps: list[Any] = []
    if prepare.image_size is not None:
        side, rest = prepare.image_size, Prepare(mean=prepare.mean, std=prepare.std)
        if "crop" in recipe.augment:
            steps += [v2.RandomResizedCrop(side, antialias=True), v2.ColorJitter(JITTER, JITTER, JITTER)]
        else:
            rest = prepare
    else:
        rest = prepare
        if "crop" in recipe.augment:
            steps.append(v2.RandomCrop(size, padding=PADDING))
    if "flip" in recipe.augment:
        steps.append(v2.RandomHorizontalFlip())
    if "autoaugment" in recipe.augment:
        steps.append(v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10))
    steps.append(rest)
    if "cutout" in recipe.augment:
        steps.append(Cutout(recipe.cutout))
    return v2.Compose(steps)


def training_images(spec: str, recipe: Recipe, prepare: Prepare) -> tuple[Images, Images, int]:
    """(training images, test images, classes); the former augmented each time that they are asked for.

    spec  as `fastsnn.data.load` takes it; it has to keep training images apart

    Raises ValueError or OSError where there are none, or images are not uint8, or the splits' classes differ.
    """
    if not data.has_split(spec, "train"):
        raise ValueError(f"data: training needs training images apart from those of the test, which {spec} has not")
    plain = data.load(spec, "train", cast(Any, _as_they_are))
    image, _ = plain[0]
    if image.dtype != torch.uint8 or image.ndim != 3:
        raise ValueError(f"data: images to train on should be uint8, got {image.dtype} {tuple(image.shape)} in {spec}")
    size = (image.shape[1], image.shape[2])
    images = data.load(spec, "train", augmentation(recipe, prepare, size))
    test = data.load(spec, "test", prepare)
    return images, test, _classes(spec, images, test)


class Order:
    """Batches of (epoch, index): all images in an order of that epoch; of each batch the share of one process.

    Set `epoch` before each iteration. Every process has the same number of batches, all of one size.
    Raises ValueError where the images fill no batch, or processes cannot share one evenly.
    """

    def __init__(self, count: int, batch_size: int, seed: int, rank: int = 0, size: int = 1) -> None:
        if count < batch_size:
            raise ValueError(f"training needs at least one batch of {batch_size} images, got {count} images")
        if batch_size % size:
            raise ValueError(f"{size} processes cannot share a batch of {batch_size} images evenly")
        self.count, self.batch_size, self.seed, self.rank, self.size = count, batch_size, seed, rank, size
        self.epoch = 0

    def __len__(self) -> int:
        return self.count // self.batch_size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = torch.randperm(self.count, generator=torch.Generator().manual_seed(seed_of(self.seed, self.epoch)))
        for batch in order[: len(self) * self.batch_size].split(self.batch_size):
            yield [(self.epoch, index) for index in batch[self.rank :: self.size].tolist()]


class Drawn(Dataset):
    """Images by (epoch, index), each with random numbers of its own: those of no other image, worker or process."""

    def __init__(self, images: Images, seed: int) -> None:
        self.images, self.seed = images, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        # not torch.manual_seed, which would seed GPUs too, where noise of the network is drawn
        generator = torch.default_generator
        before = generator.get_state()
        try:
            generator.manual_seed(seed_of(self.seed, *key))
            return self.images[key[1]]
        finally:
            generator.set_state(before)


def loader(images: Images, order: Order, workers: int, pinned: bool = False) -> DataLoader:
    """Batches (images float32 [B, C, H, W], labels int64 [B]) in that order.

    workers  processes that load images; 0: this one
    pinned   in memory from which a GPU copies while it computes
    """
    return DataLoader(
        Drawn(images, order.seed),
        batch_sampler=cast(Any, order),
        collate_fn=data.collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        # of its own, so that the network's random numbers do not depend on how images are loaded
        generator=torch.Generator(),
        pin_memory=pinned,
    )


def _as_they_are(image: Tensor) -> Tensor:
    return image


def _classes(spec: str, images: Any, test: Any) -> int:
    named = [getattr(split, "classes", None) for split in (images, test)]
    if named[0] != named[1]:
        odd = sorted(set(named[0] or ()) ^ set(named[1] or ()))
        raise ValueError(f"data: {spec}: training and test should have the same classes, but differ in {odd[:3]}")
    return len(named[0]) if named[0] is not None else 1 + int(max(images.labels.max(), test.labels.max()))
