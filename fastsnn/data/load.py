"""Which data set a name or a path stands for, and how batches and calibration images are drawn from it."""

from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from fastsnn._extras import need
from fastsnn.data import arrays, folder
from fastsnn.data.prepare import Images, Prepare

NAMED = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}
KINDS = "a folder of images, a .npz file, cifar10:ROOT or cifar100:ROOT"


def load(spec: str | Path, split: str = "test", prepare: Prepare | None = None) -> Images:
    """Labelled images: pairs of (image float32 [C, H, W], label), with a length.

    spec     a folder with one folder a class, or with train/ and test/ (or val/) that hold such;
             a .npz with train_images, train_labels, test_images, test_labels, or images, labels
             (uint8 [N, H, W, C], or float [N, C, H, W]); cifar10:ROOT or cifar100:ROOT as torchvision keeps them
    split    "train" or "test"; without effect where the data does not keep the two apart
    prepare  what happens to each image; None: uint8 to [0, 1] and nothing else

    Raises ValueError for anything else, FileNotFoundError for no such path.
    """
    prepare = prepare or Prepare()
    if split not in ("train", "test"):
        raise ValueError(f'split should be "train" or "test", got {split!r}')
    kind, path = _kind(spec)
    if kind in NAMED:
        return _named(kind, path, split, prepare)
    if kind == "npz":
        return arrays.load_npz(path, split, prepare)
    return folder.load_folder(path, split, prepare)


def has_split(spec: str | Path, split: str) -> bool:
    """Whether the data keeps this split apart from the other."""
    kind, path = _kind(spec)
    if kind in NAMED:
        return True
    return split in (arrays.splits(path) if kind == "npz" else folder.splits(path))


def download(spec: str) -> None:
    """Fetches cifar10:ROOT or cifar100:ROOT through torchvision, where it is absent. Raises ValueError for others."""
    name, _, root = spec.partition(":")
    if name not in NAMED or not root:
        raise ValueError(f"only cifar10:ROOT and cifar100:ROOT can be downloaded, got {spec}")
    datasets = need("torchvision.datasets", f"{name}")
    for train in (True, False):
        getattr(datasets, NAMED[name])(root, train=train, download=True)


def calibration_images(
    spec: str | Path, count: int, prepare: Prepare | None = None, seed: int = 0
) -> tuple[Tensor, str | None]:
    """The first `count` of the shuffled training images, and a note where they are fewer, or not training images."""
    if count < 1:
        raise ValueError(f"calibration needs at least 1 image, got {count}")
    apart = has_split(spec, "train")
    data = load(spec, "train" if apart else "test", prepare)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:count]
    images, _ = collate([data[i] for i in order.tolist()])
    notes = [] if apart else [f"{spec} keeps no training images apart: calibrating on {len(images)} of the same images"]
    if len(images) < count:
        notes.append(f"{spec} has {len(images)} images to calibrate on, not {count}")
    return images, "; ".join(notes) or None


def some(data: Images, count: int | None, seed: int = 0) -> Images:
    """The first `count` of the shuffled images; all, in their order, for None or no fewer.

    The first of a file that is sorted would be of one class.
    """
    if count is None or count >= len(data):
        return data
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    return cast(Images, Subset(cast(Dataset, data), order[:count].tolist()))


def batches(
    data: Images, batch_size: int, first: int | None = None, rank: int = 0, size: int = 1, workers: int = 0
) -> DataLoader:
    """Batches in order, of all images or the first few; of these every size-th, from number `rank` on.

    workers  processes that load images; 0: this one

    Batches are whole whatever their number, because a network's rounding may depend on what is in one.
    """
    for name, number in (("batch size", batch_size), ("number of images", first)):
        if number is not None and number < 1:
            raise ValueError(f"{name} should be at least 1, got {number}")
    count = len(data) if first is None else min(first, len(data))
    starts = range(rank * batch_size, count, size * batch_size)
    taken = [list(range(start, min(start + batch_size, count))) for start in starts]
    return DataLoader(cast(Dataset, data), batch_sampler=taken, collate_fn=collate, num_workers=workers)


def _kind(spec: str | Path) -> tuple[str, Path]:
    name, colon, root = str(spec).partition(":")
    if colon and name in NAMED:
        return name, Path(root)
    path = Path(spec)
    if path.is_dir():
        return "folder", path
    if path.is_file() and path.suffix == ".npz":
        return "npz", path
    if path.exists():
        raise ValueError(f"data should be {KINDS}, got the file {path}")
    raise FileNotFoundError(f"data should be {KINDS}; no such file or folder: {path}")


def _named(name: str, root: Path, split: str, prepare: Prepare) -> arrays.Arrays:
    datasets = need("torchvision.datasets", f"{name}")
    try:
        data = getattr(datasets, NAMED[name])(str(root), train=split == "train", download=False)
    except RuntimeError as e:
        raise ValueError(
            f"data: {name} is not at {root} in torchvision's layout (nothing is downloaded, but with --download of "
            f"fastsnn demo, train and reproduce): {e}"
        ) from e
    return arrays.Arrays(torch.from_numpy(data.data).permute(0, 3, 1, 2), torch.tensor(data.targets), prepare)


def collate(pairs: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    """(images [B, *], labels [B]) of one batch. Raises ValueError where images differ in size."""
    images, labels = zip(*pairs, strict=True)
    sizes = sorted({tuple(i.shape) for i in images})
    if len(sizes) > 1:
        raise ValueError(
            f"data: images of a batch should have one size, got {sizes[0]} and {sizes[-1]}: give an image size"
        )
    return torch.stack(images), torch.tensor(labels)
