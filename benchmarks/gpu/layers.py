"""How much of the matrix units' speed a layer of spiking neurons reaches, beside a dense convolution of its spikes.

    python benchmarks/gpu/run.py --only layers

The 3x3 layers of the four stages of ResNet-18 for 32x32 images; 10 % of the input neurons fire at each step.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from checks import WrongResult
from rows import RESULTS, Row, append
from timing import Times
from torch import Generator, Tensor, nn

from fastsnn.ops.conv_if import conv_if
from fastsnn.ops.pack import pack, unpack
from fastsnn.spikes import word_dtype
from gpu.backends import forced
from gpu.ceilings import BF16, INT8, measured
from gpu.clock import Deadline, Run, copies, interleaved, turns
from gpu.rival import Neurons
from gpu.tuning import fastest
from gpu.work import conv_macs

CASE, T, RATE, BATCH = "gpu_layer", 16, 0.1, 256
SHAPES = ((64, 32), (128, 16), (256, 8), (512, 4))
# threshold of each type of weights, and the type of thresholds
VALUES = {
    torch.int8: (None, torch.int32),
    torch.float16: (1.0, torch.float32),
    torch.int16: (2**12, torch.int16),
    torch.int32: (2**24, torch.int32),
}
# standard deviation of a current in thresholds, and its mean
SPREAD, MEAN = 0.3, 0.1
RIVAL = "cuDNN convolution in float16, channels last, of dense spikes, and one fused kernel of neurons"


@dataclass(frozen=True)
class Layer:
    """A 3x3 convolution of `channels` at size x size that keeps both, and the numbers of its neurons."""

    channels: int
    size: int
    weight: Tensor
    threshold: Tensor
    start: Tensor
    bias: Tensor

    @property
    def name(self) -> str:
        return f"3x3 {self.channels}@{self.size}"


def layer(channels: int, size: int, dtype: torch.dtype, on: torch.device) -> Layer:
    return Layer(channels, size, *numbers((channels, channels, 3, 3), dtype, on))


def numbers(shape: Sequence[int], dtype: torch.dtype, on: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(weights of a shape [O, K, ...] and type, threshold, initial potential, bias [O]) of a layer."""
    random = torch.randn(*shape, generator=Generator().manual_seed(0))
    theta, values = VALUES[dtype]
    fan = (RATE * random[0].numel()) ** 0.5
    if theta is None:
        # what 8 bits hold decides the threshold
        weight, theta = (random * 32).round().clamp(-127, 127), 32 * fan / SPREAD
    else:
        weight = random * (SPREAD * theta / fan)
        weight = weight if dtype.is_floating_point else weight.round()
    exact = not values.is_floating_point
    threshold, start, bias = (
        torch.tensor(round(x) if exact else x, dtype=values, device=on) for x in (theta, theta / 2, MEAN * theta)
    )
    return weight.to(dtype).to(on), threshold, start, bias.expand(shape[0]).contiguous()


def spikes(batch: int, channels: int, size: int, on: torch.device) -> Tensor:
    """Words [B, size, size, C]."""
    return fired((batch, size, size, channels), T, RATE, on)


def fired(shape: Sequence[int], steps: int, rate: float, on: torch.device) -> Tensor:
    """Words of a shape [B, ...] in which that share of the steps has a spike.

    Some images at a time, because dense spikes take T bytes a neuron and more.
    """
    generator = Generator(on).manual_seed(0)
    out = torch.empty(tuple(shape), dtype=word_dtype(steps), device=on)
    for words in out.split(32):
        words.copy_(pack(torch.rand((steps, *words.shape), device=on, generator=generator) < rate))
    return out


def plan_of(given: Layer, batch: int) -> Callable[[Tensor], Tensor]:
    """The layer as the engine runs it on a GPU: words -> words. On the CPU the operator, so that tests run it."""
    x = given
    if not x.weight.is_cuda:
        return lambda words: conv_if([words], [x.weight], T, x.threshold, x.start, padding=[1, 1], bias=x.bias)[0]
    from fastsnn.ops._layer_triton import TritonPlan

    shape = (batch, x.size, x.size, x.channels)
    twice = [1, 1]
    plan = TritonPlan(
        [shape[1:]], [x.weight], shape, x.threshold, x.start, x.bias, twice, twice, twice, [1], "soft", ">="
    )

    class Planned:
        """The plan, with its tile to be chosen."""

        tiled = plan

        def __call__(self, words: Tensor) -> Tensor:
            return plan([words], T, None, False)[0]

    return Planned()


def best_tile(run: Callable, inputs: Sequence[Tensor], on: torch.device, deadline: Deadline) -> str | None:
    """Takes the fastest tile of those that run and that there is time for; its name, or None without tiles."""
    plan = getattr(run, "tiled", None)
    if plan is None:
        return None
    tile = fastest(plan, plan.tiles(len(inputs[0]), T), turns(run, inputs), on, deadline)
    return f"{tile}, {tile.warps} warps, {tile.stages} stages"


def check(given: Layer, run: Callable[[Tensor], Tensor], words: Tensor) -> None:
    """Two images of a batch give what the reference gives; raises WrongResult.

    In float16 the order of a sum may decide a spike, and nothing after it: of the words at most one in a thousand.
    """
    pick = [0, len(words) - 1]
    got = run(words)[pick].cpu()
    weight, theta, start, bias = (x.cpu() for x in (given.weight, given.threshold, given.start, given.bias))
    with forced("reference"):
        want = conv_if([words[pick].cpu()], [weight], T, theta, start, padding=[1, 1], bias=bias)[0]
    wrong = int((got != want).sum())
    if wrong > (want.numel() // 1000 if given.weight.is_floating_point() else 0):
        raise WrongResult(
            f"{given.name}, {given.weight.dtype}: {wrong} of {want.numel()} words are not the reference's"
        )


class Rival(nn.Module):
    """RIVAL: dense spikes [T * B, C, S, S] -> dense spikes."""

    def __init__(self, given: Layer) -> None:
        super().__init__()
        half = torch.float16 if given.weight.is_cuda else torch.float32
        theta = given.threshold.float()
        weight = (given.weight.float() / theta).to(half)
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self.neurons = Neurons(torch.ones(1, device=theta.device), T, constant=False)
        self.neurons.bias = given.bias.float() / theta

    def forward(self, x: Tensor) -> Tensor:
        return self.neurons(nn.functional.conv2d(x.to(self.weight.dtype), self.weight, padding=1))


def dense(words: Tensor, dtype: torch.dtype) -> Tensor:
    """Spikes [T * B, C, S, S], channels last in memory."""
    steps = torch.cat([s.to(dtype) for s in unpack(words, T)])
    return steps.movedim(-1, 1)


def times_of(given: Layer, run: Callable, words: list[Tensor], on: torch.device, rival: bool) -> dict[str, Times]:
    runs: dict[str, Run] = {"snn": turns(run, words)}
    if rival:
        other = Rival(given)
        half = other.weight.dtype
        inputs = [dense(w, half) for w in words[:2]]
        runs["rival"] = turns(other, inputs)
    return interleaved(runs, on, rounds=50, budget=1.5, ahead=True)


def main(on: torch.device, deadline: Deadline, folder: Path = RESULTS, batch: int = BATCH) -> Iterator[Row]:
    """Rows as they are measured, the types that matter most first."""
    bf16, int8 = measured(on, folder, BF16), measured(on, folder, INT8)
    every = [(dtype, shape) for dtype in VALUES for shape in SHAPES]
    for number, (dtype, (channels, size)) in enumerate(every):
        if not deadline.left:
            print(f"left out for want of time: {len(every) - number} of {len(every)} layers", flush=True)
            return
        given = layer(channels, size, dtype, on)
        run = plan_of(given, batch)
        words = copies(spikes(batch, channels, size, on))
        # no layer may take the time of those after it
        tile = best_tile(run, words, on, Deadline(2 * deadline.left / (len(every) - number)))
        check(given, run, words[0])
        times = times_of(given, run, words, on, rival=True)
        snn, rival = times["snn"], times["rival"]
        rate = 2 * conv_macs(batch, size, channels, channels, 3) * T / snn.median * 1e3
        row: Row = {
            "case": CASE,
            "layer": given.name,
            "precision": str(dtype).removeprefix("torch."),
            "batch": batch,
            "T": T,
            "tile": tile,
            "baseline": RIVAL,
            "rounds": snn.rounds,
            "snn_ms": snn.least,
            "snn_median_ms": snn.median,
            "rival_ms": rival.least,
            "rival_median_ms": rival.median,
            "rival_speedup": rival.median / snn.median,
            "rate": rate,
            "share_of_bf16": rate / bf16 if bf16 else None,
            "share_of_twice_bf16": rate / (2 * bf16) if bf16 else None,
            "share_of_int8": rate / int8 if int8 else None,
        }
        append(row, folder, on if on.type == "cuda" else None)
        yield row


def compile_all(on: torch.device, dtype: torch.dtype, deadline: Deadline) -> None:
    """Every tile of every shape once, on a small batch: Triton keeps what it compiled for other processes."""
    for channels, size in SHAPES:
        given = layer(channels, size, dtype, on)
        run = plan_of(given, BATCH)
        if deadline.left:
            best_tile(run, [spikes(BATCH, channels, size, on)], on, deadline)
