"""How a real ResNet-20 for CIFAR-10 fares when it is converted without retraining.

    python examples/cifar10_resnet20.py --data DIR

DIR holds `resnet20-cifar10.th`, the weights of github.com/akamaster/pytorch_resnet_cifar10, and `cifar10-lossless.npz`,
original CIFAR-10 images as uint8 arrays train_images [N, 32, 32, 3], train_labels, test_images, test_labels.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

import fastsnn
from fastsnn import _env, data
from fastsnn.commands.dense import dense_accuracy
from fastsnn.weights import load_into

WEIGHTS, IMAGES = "resnet20-cifar10.th", "cifar10-lossless.npz"
PREPARE = data.Prepare(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
SHOWN = (4, 8, 16, 32, 64)
ROWS = {
    "V(0) = 0, percentile 99.9": (0.0, "percentile:99.9"),
    "V(0) = theta/2, percentile 99.9": (0.5, "percentile:99.9"),
    "V(0) = theta/2, least squared error": (0.5, "mse"),
}
# Measured with the same weights and test images: rate coding, thresholds a channel, percentile 99.9.
SPIKINGJELLY = {
    "SpikingJelly 2.0.0, V(0) = 0": {4: 12.0, 8: 10.5, 16: 25.5, 32: 77.0, 64: 88.0},
    "SpikingJelly 2.0.0, V(0) = theta/2": {4: 32.0, 8: 50.8, 16: 79.8, 32: 90.8, 64: 91.8},
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without weights (He et al. 2016, option A)."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride, self.added = stride, out - channels

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.stride != 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added // 2, self.added // 2))
        return F.relu(y + x)


class ResNet20(nn.Module):
    """ResNet-20 for 32x32 images (He et al. 2016, section 4.2): three stages of three blocks, 16, 32 and 64 wide."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, stride=1)
        self.layer2 = _stage(16, 32, stride=2)
        self.layer3 = _stage(32, 64, stride=2)
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, 32, 32] -> logits [B, classes]."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _stage(channels: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(channels, out, stride), BasicBlock(out, out, 1), BasicBlock(out, out, 1))


def resnet20() -> ResNet20:
    """What `fastsnn eval --model examples/cifar10_resnet20.py:resnet20` calls."""
    return ResNet20()


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    folder = Path(args.data)
    absent = [name for name in (WEIGHTS, IMAGES) if not (folder / name).is_file()]
    if absent:
        print(f"{folder} should hold {' and '.join(absent)}: give --data or set FASTSNN_DATA", file=sys.stderr)
        return 2
    model = load_into(resnet20(), folder / WEIGHTS).eval()
    calibration, _ = data.calibration_images(folder / IMAGES, args.calibration_images, PREPARE)
    batches = data.batches(data.load(folder / IMAGES, "test", PREPARE), args.batch_size, args.images)
    dense, count = dense_accuracy(model, batches)

    steps = sorted({t for t in SHOWN if t < args.timesteps} | {args.timesteps})
    measured = {}
    for name, (start, threshold) in ROWS.items():
        # The threshold of least squared error depends on T; with the others one run gives the accuracy at every t.
        runs = [[t] for t in steps] if threshold == "mse" else [steps]
        measured[name] = {}
        for shown in runs:
            snn = fastsnn.convert(
                model,
                calibration,
                timesteps=shown[-1],
                threshold=threshold,
                initial_potential=start,
                precision=args.precision,
            )
            curve = snn.accuracy_over_time(batches, progress=sys.stderr.isatty())
            measured[name] |= {t: 100 * curve[t - 1].item() for t in shown}
    _print(steps, measured | SPIKINGJELLY, 100 * dense, count)
    return 0


def _print(steps: list[int], rows: dict[str, dict[int, float]], dense: float, count: int) -> None:
    print(f"ResNet-20: accuracy in percent on {count} CIFAR-10 test images")
    print("(SpikingJelly's rows: the same weights, the first 400 test images, dense network 91.2)")
    table = Table()
    table.add_column("T =", no_wrap=True)
    for t in steps:
        table.add_column(str(t), justify="right", no_wrap=True)
    for name, accuracy in rows.items():
        table.add_row(name, *(f"{accuracy[t]:.1f}" if t in accuracy else "-" for t in steps))
    table.add_row("dense network", *[f"{dense:.1f}"] * len(steps))
    Console(highlight=False).print(table)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser = argparse.ArgumentParser(description="Accuracy over time of a converted ResNet-20 on CIFAR-10.")
    parser.add_argument("--data", default=_env.DATA or str(beside), metavar="DIR", help="default: $FASTSNN_DATA")
    parser.add_argument("--images", type=int, default=400, metavar="N", help="default: %(default)s")
    parser.add_argument("--calibration-images", type=int, default=512, metavar="N", help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=100, metavar="N", help="default: %(default)s")
    parser.add_argument("--timesteps", type=int, default=64, metavar="T", help="default: %(default)s")
    parser.add_argument("--precision", default="float32", help="int32, float32 or float64 (default: %(default)s)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
