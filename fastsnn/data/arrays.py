"""How images and labels are read from a .npz file."""

from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fastsnn.data.prepare import Prepare

KEYS = "train_images, train_labels, test_images, test_labels, or images, labels"


class Arrays(Dataset):
    """Images [N, *] and labels [N] in memory; each image prepared when it is asked for."""

    def __init__(self, images: Tensor, labels: Tensor, prepare: Prepare) -> None:
        self.images, self.labels, self.prepare = images, labels, prepare

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.prepare(self.images[index]), int(self.labels[index])


def splits(path: Path) -> set[str]:
    """Which of "train" and "test" the file keeps apart; empty where it holds plain images, labels."""
    try:
        with ZipFile(path) as file:
            names = {n.removesuffix(".npy") for n in file.namelist()}
    except BadZipFile as e:
        raise ValueError(f"data: {path} is not a .npz file: {e}") from e
    return {s for s in ("train", "test") if f"{s}_images" in names}


def load_npz(path: Path, split: str, prepare: Prepare) -> Arrays:
    """The images of one split: uint8 [N, H, W] or [N, H, W, C], or float [N, C, H, W] (any [N, *])."""
    prefix = f"{split}_" if splits(path) else ""
    with np.load(path, allow_pickle=False) as file:
        names = (f"{prefix}images", f"{prefix}labels")
        if any(n not in file.files for n in names):
            found = ", ".join(file.files)
            raise ValueError(f"data: {path} should hold {KEYS}; wanted {' and '.join(names)}, got {found}")
        try:
            images, labels = (file[n] for n in names)
        except (ValueError, BadZipFile) as e:
            raise ValueError(f"data: {path}: cannot read {' and '.join(names)}: {e}") from e
    return Arrays(_images(path, images), _labels(path, labels, len(images)), prepare)


def _images(path: Path, images: np.ndarray) -> Tensor:
    """Channels first."""
    if images.ndim < 2 or len(images) == 0:
        raise ValueError(f"data: {path}: images should be [N, ...] with N >= 1, got {images.shape}")
    if images.dtype == np.uint8:
        if images.ndim == 3:
            images = images[..., None]
        if images.ndim != 4 or images.shape[-1] not in (1, 3):
            raise ValueError(
                f"data: {path}: uint8 images should be [N, H, W], [N, H, W, 1] or [N, H, W, 3], got {images.shape}"
            )
        return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    if images.dtype not in (np.float16, np.float32, np.float64):
        raise ValueError(f"data: {path}: images should be uint8 or float, got {images.dtype}")
    if images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[-1] in (1, 3):
        raise ValueError(f"data: {path}: float images should be [N, C, H, W], channels first, got {images.shape}")
    if not np.isfinite(images).all():
        raise ValueError(f"data: {path}: images hold NaN or infinite values")
    return torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))


def _labels(path: Path, labels: np.ndarray, count: int) -> Tensor:
    if labels.shape not in ((count,), (count, 1)):
        raise ValueError(f"data: {path}: labels should be [{count}], one an image, got {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"data: {path}: labels should be whole numbers (class indices), got {labels.dtype}")
    if labels.min() < 0:
        raise ValueError(f"data: {path}: labels should be 0 or more, got {labels.min()}")
    return torch.from_numpy(labels.reshape(count).astype(np.int64))
