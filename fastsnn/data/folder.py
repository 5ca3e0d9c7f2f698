"""How images are read from a tree of folders, one folder a class."""

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fastsnn._extras import need
from fastsnn.data.prepare import Images, Prepare

SPLITS = {"train": ("train",), "test": ("test", "val")}


def splits(root: Path) -> dict[str, Path]:
    """The subfolders that keep train and test apart; empty where the root holds the classes itself."""
    found = {}
    for split, names in SPLITS.items():
        for name in names:
            # A split holds folders; a class that happens to be called "train" holds images.
            if split not in found and (root / name).is_dir() and any(p.is_dir() for p in (root / name).iterdir()):
                found[split] = root / name
    return found


def load_folder(root: Path, split: str, prepare: Prepare) -> Images:
    """The images of one split as a torchvision ImageFolder; classes are numbered in the order of their names.

    Images are in an order in which each class has its first before any has its second, so that the first few are of
    all classes.
    """
    datasets = need("torchvision.datasets", "reading a folder of images")
    parts = splits(root)
    if parts and split not in parts:
        raise ValueError(f"data: {root} holds {', '.join(parts)} but no {' or '.join(SPLITS[split])} folder")
    folder = parts.get(split, root)
    try:
        found = datasets.ImageFolder(str(folder), transform=prepare, loader=_read)
    except FileNotFoundError as e:
        raise ValueError(f"data: {folder} should hold one folder of images a class: {str(e).splitlines()[0]}") from e
    found.samples = found.imgs = _in_turn(found.samples)
    found.targets = [label for _, label in found.samples]
    return found


def _in_turn(samples: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """One of each class after the other, as long as it has any."""
    seen: Counter[int] = Counter()
    place = []
    for number, (_, label) in enumerate(samples):
        place.append((seen[label], label, number))
        seen[label] += 1
    return [samples[number] for _, _, number in sorted(place)]


def _read(path: str) -> Tensor:
    """[3, H, W] uint8."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    except OSError as e:
        raise ValueError(f"data: {path} is not a readable image: {e}") from e
