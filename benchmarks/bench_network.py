"""What a converted network costs beside the dense network it came from, on this machine.

    python -m pytest benchmarks --benchmark-only

Checks the result before it takes a time, interleaves the two networks, and appends one row a case to
benchmarks/results/<device>.jsonl.
"""

import time

import pytest
import torch
from rows import append
from torch import nn

import fastsnn

ROUNDS = 7
T = 16


def small_resnet() -> nn.Module:
    """Random weights: its firing rates are what a random network has, so this measures cost, not accuracy."""
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.relu(self.bn1(self.conv1(x)))
            return torch.relu(x + self.bn2(self.conv2(y)))

    stem = (nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    return nn.Sequential(*stem, Block(32), Block(32), *head).eval()


@pytest.mark.parametrize("precision", ["int32", "float32"])
@pytest.mark.parametrize("batch", [1, 16])
def test_network(benchmark, precision: str, batch: int) -> None:
    model = small_resnet()
    images = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    x = images[:batch]
    snn = fastsnn.convert(model, images, timesteps=T, precision=precision)
    exact = fastsnn.convert(model, images, timesteps=T, precision="float64")
    drift = (snn(x).double() - exact(x)).abs().max().item() / exact(x).abs().max().item()
    assert drift < 0.05, f"{precision} is {drift:.3f} away from float64: no time for a wrong result"

    dense_times, snn_times = [], []
    with torch.inference_mode():
        for _ in range(ROUNDS):
            dense_times.append(_seconds(lambda: model(x)))
            snn_times.append(_seconds(lambda: snn(x)))
    benchmark.pedantic(snn, (x,), rounds=3)
    row = {
        "case": "small_resnet",
        "precision": precision,
        "batch": batch,
        "T": T,
        "baseline": "the dense network: eager, float32, eval, batch norm not folded, same threads",
        "dense_ms": 1e3 * min(dense_times),
        "snn_ms": 1e3 * min(snn_times),
        "ratio": min(snn_times) / min(dense_times),
        "drift": drift,
    }
    benchmark.extra_info.update(row)
    append(row)


def _seconds(run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
