"""What single layers of spiking neurons cost beside the same dense layer with a ReLU.

    python -m pytest benchmarks/bench_layers.py --benchmark-only

Spikes and weights are synthetic; 10 % of the input neurons fire at each step, and about as many of the layer's own.
"""

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from baselines import FORMATS
from checks import WrongResult
from rows import append
from timing import Busy, fastest, interleaved
from torch import Generator, Tensor, nn

from fastsnn import _env
from fastsnn.ops._plan import Plan
from fastsnn.ops.conv_if import conv_if
from fastsnn.ops.linear_if import linear_if
from fastsnn.ops.pack import counts, pack

RATE, T, BATCH = 0.1, 16, 1
# threshold of a precision: weights and potentials are in units of it
THRESHOLDS = {torch.int32: 2**24, torch.int16: 2**12}
BASELINE = "the dense layer with a ReLU in eager PyTorch: float32, the faster memory format, with as many threads"


@dataclass(frozen=True)
class Layer:
    """A convolution with padding that keeps the size, or a linear map where size and kernel are 0."""

    channels: int
    out: int
    size: int = 0
    kernel: int = 0

    @property
    def name(self) -> str:
        if not self.size:
            return f"linear {self.channels}->{self.out}"
        width = f"{self.channels}" if self.channels == self.out else f"{self.channels}->{self.out}"
        return f"{self.kernel}x{self.kernel} {width}@{self.size}"

    @property
    def sizes(self) -> list[int]:
        return [self.size] * 2 if self.size else []

    @property
    def geometry(self) -> dict[str, list[int]]:
        twice = [self.kernel // 2] * len(self.sizes)
        return {"stride": [1] * len(twice), "padding": twice, "dilation": [1] * len(twice), "groups": [1]}


WIDTHS = ((16, 32), (32, 16), (64, 32), (64, 8), (128, 16), (256, 8), (512, 4))
LAYERS = (*(Layer(c, c, size, 3) for c, size in WIDTHS), Layer(128, 256, 8, 1), Layer(512, 512))


@pytest.mark.parametrize("dtype", THRESHOLDS, ids=lambda dtype: str(dtype).removeprefix("torch."))
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_layer(benchmark, layer: Layer, dtype: torch.dtype) -> None:
    generator = Generator().manual_seed(0)
    words = pack(torch.rand(T, BATCH, *layer.sizes, layer.channels, generator=generator) < RATE)
    weight, bias, threshold, start = parameters(layer, dtype, generator)
    plan = Plan(
        [words.shape[1:]],
        [weight],
        (BATCH, *layer.sizes, layer.out),
        threshold,
        start,
        bias,
        *layer.geometry.values(),
        "soft",
        ">=",
    )
    run = partial(plan, [words], T)
    out, after = run()
    want, potentials = reference(layer, words, weight, bias, threshold, start)
    if not (torch.equal(out, want) and torch.equal(after, potentials)):
        raise WrongResult(f"{layer.name} in {dtype} is not the reference's")

    # what the engine does in the last chunk of a run
    snn = partial(plan, [words], T, None, False)
    try:
        times = interleaved({"ann": dense(layer), "snn": snn}, rounds=200, least=5, budget=0.5)
    except Busy as busy:
        pytest.skip(str(busy))
    row = {
        "case": "layer",
        "layer": layer.name,
        "precision": str(dtype).removeprefix("torch."),
        "batch": BATCH,
        "T": T,
        "rate": counts(words).double().mean().item() / T,
        "rate_out": counts(out).double().mean().item() / T,
        "baseline": BASELINE,
        "rounds": times["snn"].rounds,
        "ann_ms": times["ann"].least,
        "ann_median_ms": times["ann"].median,
        "snn_ms": times["snn"].least,
        "snn_median_ms": times["snn"].median,
        "ratio": times["snn"].least / times["ann"].least,
    }
    benchmark.pedantic(snn, rounds=5, warmup_rounds=1)
    benchmark.extra_info.update(row)
    append(row)


def parameters(layer: Layer, dtype: torch.dtype, generator: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(weight, bias, threshold, V(0)): currents of 0.1 thresholds on average, 0.3 in standard deviation."""
    theta = THRESHOLDS[dtype]
    shape = (layer.out, layer.channels, *[layer.kernel] * len(layer.sizes))
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    spread = 0.3 * theta / (RATE * weight[0].numel()) ** 0.5
    bias = torch.full((layer.out,), theta // 10, dtype=dtype)
    return (
        (weight * spread).round().to(dtype),
        bias,
        torch.tensor(theta, dtype=dtype),
        torch.tensor(theta // 2).to(dtype),
    )


def reference(
    layer: Layer, words: Tensor, weight: Tensor, bias: Tensor, threshold: Tensor, start: Tensor
) -> tuple[Tensor, Tensor]:
    """Words and potentials that the reference operators give."""
    before = _env.BACKEND
    try:
        _env.BACKEND = "reference"
        if layer.size:
            return conv_if([words], [weight], T, threshold, start, bias=bias, **layer.geometry)
        return linear_if([words], [weight], T, threshold, start, bias=bias)
    finally:
        _env.BACKEND = before


def dense(layer: Layer) -> partial[Tensor]:
    """The dense layer, in the memory format that is the faster."""
    if not layer.size:
        net = nn.Sequential(nn.Linear(layer.channels, layer.out), nn.ReLU(inplace=True))
        return partial(net, torch.randn(BATCH, layer.channels))
    conv = nn.Conv2d(layer.channels, layer.out, layer.kernel, padding=layer.kernel // 2)
    x = torch.randn(BATCH, layer.channels, *layer.sizes)
    runs = {}
    for name, layout in FORMATS.items():
        net = nn.Sequential(conv, nn.ReLU(inplace=True)).to(memory_format=layout)
        runs[name] = partial(net, x.to(memory_format=layout))
    return runs[fastest(runs)]
