"""Networks of many architectures, with random weights, and the images that go through them."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import torch
import torchvision
from networks import Network, cifar
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, relu

# Bias of every batch norm, in units of the standard deviation that it normalises to, as in `networks.BIAS`.
BIAS = -0.3
SIZE, CALIBRATION, TEST = 96, 16, 4


def double(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with batch norm and ReLU."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """A U-Net of 16 to 128 channels (Ronneberger et al. 2015), of which pixels' classes are the output.

    mode  how its decoder doubles the size: "transposed" convolutions, or one of `interpolate`
    """

    def __init__(self, mode: str, widths: tuple[int, ...] = (16, 32, 64, 128)) -> None:
        super().__init__()
        self.mode, pairs = mode, [(wide, narrow) for narrow, wide in pairwise(widths)][::-1]
        self.down = nn.ModuleList(double(i, o) for i, o in pairwise((3, *widths)))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(w, n, 2, 2) if mode == "transposed" else nn.Identity() for w, n in pairs
        )
        self.merge = nn.ModuleList(double((n if mode == "transposed" else w) + n, n) for w, n in pairs)
        self.head = nn.Conv2d(widths[0], 10, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for i, block in enumerate(self.down):
            x = block(max_pool2d(x, 2) if i else x)
            skips.append(x)
        skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = up(x) if self.mode == "transposed" else interpolate(x, scale_factor=2.0, mode=self.mode)
            x = merge(torch.cat([skips.pop(), x], 1))
        return self.head(x).mean((2, 3))


class Preactivated(nn.Module):
    """A residual block with batch norm and ReLU in front of each convolution (He et al., ECCV 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = relu(self.bn1(x))
        beside = x if self.shortcut is None else self.shortcut(y)
        return self.conv2(relu(self.bn2(self.conv1(y)))) + beside


def preactivated() -> nn.Sequential:
    """ResNet-18 of such blocks, 32 to 256 wide."""
    blocks, channels = [], 32
    for width, stride in ((32, 1), (64, 2), (128, 2), (256, 2)):
        blocks += [Preactivated(channels, width, stride), Preactivated(width, width, 1)]
        channels = width
    tail = (nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
    return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1, bias=False), *blocks, *tail)


def _torchvision(name: str) -> Callable[[], nn.Module]:
    options = {"init_weights": False} if name == "googlenet" else {}
    return lambda: getattr(torchvision.models, name)(weights=None, **options)


TORCHVISION = (
    *("resnet50", "resnext50_32x4d", "regnet_x_400mf", "mobilenet_v2", "mnasnet1_0", "shufflenet_v2_x1_0"),
    *("squeezenet1_1", "googlenet", "densenet121", "regnet_y_400mf", "mobilenet_v3_small"),
    *("efficientnet_b0", "convnext_tiny", "swin_t"),
)
MODELS: dict[str, Callable[[], nn.Module]] = {name: _torchvision(name) for name in TORCHVISION} | {
    "U-Net, transposed convolutions": lambda: UNet("transposed"),
    "U-Net, bilinear": lambda: UNet("bilinear"),
    "pre-activation ResNet-18": preactivated,
}


@cache
def architecture(name: str) -> Network:
    """One of MODELS, its batch norms with the statistics of the calibration images."""
    calibration, test, pictures = cifar()
    calibration, test = (interpolate(x, size=SIZE, mode="bilinear") for x in (calibration[:CALIBRATION], test[:TEST]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MODELS[name]()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            nn.init.constant_(module.bias, BIAS)
    with torch.no_grad():
        model.train()(calibration)
    pictures += f", enlarged to {SIZE}x{SIZE}"
    return Network(name, model.eval(), "random", calibration, test, pictures)
