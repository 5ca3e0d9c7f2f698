"""ResNets for 32x32 images, as the conversion literature has them."""

from torch import Tensor, nn
from torch.nn import functional as F


class Subsampled(nn.Module):
    """A shortcut without weights: every second position, and channels of zeros on both sides (He et al. 2016, A)."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.stride, self.added = stride, out - channels

    def forward(self, x: Tensor) -> Tensor:
        before = self.added // 2
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.added - before))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norms, and a shortcut.

    shortcut   "A": without weights; "B": a 1x1 convolution with batch norm, where the shape changes
    """

    def __init__(self, channels: int, out: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.bn1, self.relu1 = nn.BatchNorm2d(out), nn.ReLU()
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2, self.relu2 = nn.BatchNorm2d(out), nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            projected = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
            self.shortcut = projected if shortcut == "B" else Subsampled(channels, out, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(y + self.shortcut(x))


class ResNet(nn.Module):
    """[B, 3, 32, 32] -> logits [B, classes]: a 3x3 convolution, stages that halve the image, the mean, a linear layer.

    blocks, widths   of each stage
    """

    def __init__(self, blocks: tuple[int, ...], widths: tuple[int, ...], classes: int, shortcut: str) -> None:
        super().__init__()
        if shortcut not in ("A", "B"):
            raise ValueError(f'ResNet: shortcut must be "A" or "B", got {shortcut!r}')
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(widths[0]), nn.ReLU()
        layers: list[nn.Module] = []
        channels = widths[0]
        for stage, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            for i in range(count):
                stride = 2 if stage and not i else 1
                layers.append(BasicBlock(channels, width, stride, shortcut))
                channels = width
        self.blocks = nn.Sequential(*layers)
        self.pool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.relu(self.bn1(self.conv1(x))))
        return self.linear(self.flatten(self.pool(x)))


def resnet18(classes: int = 10, shortcut: str = "B") -> ResNet:
    """Four stages of two blocks, 64 to 512 wide, first stage at full size: 11.2 million parameters.

    That is the QCFS lineage's; SNNC's ResNet-18 has another stem and other blocks.
    """
    return ResNet((2, 2, 2, 2), (64, 128, 256, 512), classes, shortcut)


def resnet20(classes: int = 10, shortcut: str = "A") -> ResNet:
    """Three stages of three blocks, 16, 32, 64 wide: 0.27 million parameters (He et al. 2016, section 4.2).

    "A" is He's; the QCFS lineage trains "B". The "ResNet-20" of SNNC and MSAT is four times as wide: another network.
    """
    return ResNet((3, 3, 3), (16, 32, 64), classes, shortcut)
