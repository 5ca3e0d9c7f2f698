"""Networks that come with fastsnn: small, trained by it, on images that anyone can get."""

from pathlib import Path

from torch import nn

from fastsnn.train.trained import load

FOLDER = Path(__file__).parent / "weights"
PRETRAINED = ("resnet20-opi", "resnet20-qcfs")
"""ResNet-20 (He et al. 2016) for CIFAR-10, trained by `fastsnn train` with the recipes `opi` and `qcfs`.

`fastsnn.train.about(path)` says of each with which command, on what, and how accurate it is after each epoch.
"""


def path_of(name: str) -> Path:
    """The file of one of PRETRAINED. Raises ValueError for another name."""
    if name not in PRETRAINED:
        raise ValueError(f"a network that comes with fastsnn is {' or '.join(PRETRAINED)}, got {name!r}")
    return FOLDER / f"{name}.safetensors"


def pretrained(name: str) -> nn.Module:
    """One of PRETRAINED in eval mode, for images [B, 3, 32, 32] normalised as `about(path_of(name))` says.

    Its bounds are thresholds: `fastsnn.convert(pretrained("resnet20-qcfs"), images)`. Raises ValueError for another
    name.
    """
    return load(path_of(name))
