"""VGG-16 for 32x32 images, as the conversion literature has it."""

from torch import Tensor, nn

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
HIDDEN = 4096


class VGG(nn.Module):
    """[B, 3, 32, 32] -> logits [B, classes]: 3x3 convolutions with batch norm, a pool behind each stage, three linear
    layers with dropout.

    stages   widths of the convolutions; `hidden` of the linear layers
    max_pool False: average pools, as networks for conversion are trained
    """

    def __init__(
        self, stages: tuple[tuple[int, ...], ...], hidden: int, classes: int, dropout: float, max_pool: bool
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage in stages:
            for width in stage:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2) if max_pool else nn.AvgPool2d(2))
        self.features = nn.Sequential(*layers)
        size = 32 // 2 ** len(stages)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * size**2, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


def vgg16(classes: int = 10, dropout: float = 0.1, max_pool: bool = False) -> VGG:
    """Thirteen convolutions and three linear layers 512 -> 4096 -> 4096 -> classes: the QCFS lineage's.

    SNNC, MSAT and RTS have other heads under the same name.
    """
    return VGG(STAGES, HIDDEN, classes, dropout, max_pool)


def vgg16_half(classes: int = 10, dropout: float = 0.1, max_pool: bool = False) -> VGG:
    """`vgg16` with half of all widths, head included: 8.4 million parameters."""
    return _narrowed(2, classes, dropout, max_pool)


def vgg16_narrow(classes: int = 10, dropout: float = 0.1, max_pool: bool = False) -> VGG:
    """`vgg16` with a quarter of all widths, head included: 2.1 million parameters, for training without a GPU."""
    return _narrowed(4, classes, dropout, max_pool)


def _narrowed(by: int, classes: int, dropout: float, max_pool: bool) -> VGG:
    stages = tuple(tuple(width // by for width in stage) for stage in STAGES)
    return VGG(stages, HIDDEN // by, classes, dropout, max_pool)
