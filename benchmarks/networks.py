"""The dense networks that are measured, with their weights and the images that go through them."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from fastsnn import _env, data
from fastsnn.weights import load_into

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(_env.DATA) if _env.DATA else ROOT.parent / "shared" / "data"
WEIGHTS, IMAGES = "resnet20-cifar10.th", "cifar10-lossless.npz"
PREPARE = data.Prepare(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
CALIBRATION, TEST = 32, 32

# Bias of every batch norm of the networks with random weights, in units of the standard deviation that it normalises
# to. Below 0 fewer activations are positive: with these numbers neurons fire in 10 % of the steps at T = 16.
BIAS = {"resnet18": -0.1, "vgg16": -0.03, "resnet34-224": -0.27, "vgg16-224": -0.5}
# images of 224x224: fewer, because each is 49 times as large
LARGE_CALIBRATION, LARGE_TEST = 2, 2
# least and largest mean rate that a network with random weights may have, at this T
RATES, RATED_T = (0.08, 0.14), 16


class Absent(Exception):
    """The network needs a file that is not here; says which."""


@dataclass(frozen=True)
class Network:
    """A dense network in eval mode and what it is measured on.

    weights      where they come from, in words
    calibration  images [CALIBRATION, 3, 32, 32] or [LARGE_CALIBRATION, 3, 224, 224] float32, for thresholds
    images       other images [TEST, 3, 32, 32] or [LARGE_TEST, 3, 224, 224] float32, to run
    pictures     what the images are, in words
    """

    name: str
    model: nn.Module
    weights: str
    calibration: Tensor
    images: Tensor
    pictures: str


@cache
def network(name: str) -> Network:
    """One of NAMES or of LARGE. Raises Absent where its weights are not here."""
    calibration, images, pictures = cifar()
    if name in LARGE:
        calibration = interpolate(calibration[:LARGE_CALIBRATION], size=224, mode="bilinear")
        images = interpolate(images[:LARGE_TEST], size=224, mode="bilinear")
        pictures += ", enlarged to 224x224"
    if name == "resnet20":
        return Network(name, _resnet20(), "published", calibration, images, pictures)
    model = _random(name, calibration)
    weights = "random, calibrated to that rate"
    return Network(name, model, weights, calibration, images, pictures)


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes (He et al. 2016)."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.relu2 = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(y)) + self.shortcut(x))


def resnet18() -> nn.Sequential:
    """ResNet-18 for 32x32 images: a 3x3 stem, four stages of two blocks, 64 to 512 wide."""
    stages = [Block(64, 64, 1), Block(64, 64, 1)]
    for width in (128, 256, 512):
        stages += [Block(width // 2, width, 2), Block(width, width, 1)]
    stem = (nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def vgg16() -> nn.Sequential:
    """VGG-16 for 32x32 images: thirteen 3x3 convolutions, average pools, one linear layer."""
    layers: list[nn.Module] = []
    channels = 3
    for width, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convolutions):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        layers.append(nn.AvgPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))


def resnet34() -> nn.Sequential:
    """ResNet-34 for 224x224 images and 1000 classes; its stem's pool takes the mean, for which spikes have a form."""
    stem = (nn.Conv2d(3, 64, 7, 2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.AvgPool2d(3, 2, padding=1))
    stages, channels = [], 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for i in range(blocks):
            stages.append(Block(channels, width, 2 if i == 0 and width > 64 else 1))
            channels = width
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


def vgg16_large() -> nn.Sequential:
    """VGG-16 for 224x224 images and 1000 classes: the convolutions, where the work is, and one linear layer."""
    return nn.Sequential(*list(vgg16())[:-2], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


RANDOM: dict[str, Callable[[], nn.Sequential]] = {"resnet18": resnet18, "vgg16": vgg16}
LARGE: dict[str, Callable[[], nn.Sequential]] = {"resnet34-224": resnet34, "vgg16-224": vgg16_large}
NAMES = ("resnet20", *RANDOM)


def _random(name: str, calibration: Tensor) -> nn.Module:
    """A network with random weights whose batch norms have the statistics of the calibration images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = (RANDOM | LARGE)[name]()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # statistics become the mean over the batches
        nn.init.constant_(norm.bias, BIAS[name])
    with torch.no_grad():
        for batch in calibration.split(16):
            model.train()(batch)
    return model.eval()


def _resnet20() -> nn.Module:
    path = ROOT / "examples" / "cifar10_resnet20.py"
    spec = importlib.util.spec_from_file_location("cifar10_resnet20", path)
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    if not (DATA / WEIGHTS).is_file():
        raise Absent(f"resnet20 needs {WEIGHTS} in $FASTSNN_DATA")
    return load_into(example.resnet20(), DATA / WEIGHTS).eval()


@cache
def cifar() -> tuple[Tensor, Tensor, str]:
    """(calibration, test, what they are); noise where CIFAR-10 is not here."""
    if (DATA / IMAGES).is_file():
        calibration, _ = data.calibration_images(DATA / IMAGES, CALIBRATION, PREPARE)
        images, _ = next(iter(data.batches(data.load(DATA / IMAGES, "test", PREPARE), TEST, first=TEST)))
        return calibration, images, "CIFAR-10"
    # smooth, as photographs are: with white noise the same networks fire half as often again
    coarse = torch.randn(CALIBRATION + TEST, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    noise = interpolate(coarse, size=32, mode="bilinear")
    return noise[:CALIBRATION], noise[CALIBRATION:], "smooth noise"
