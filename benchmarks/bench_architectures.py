"""What converted networks of many architectures cost beside the dense networks they came from.

    python -m pytest benchmarks/bench_architectures.py --benchmark-only

Checks each result before it takes a time, takes times in turn in one process, and appends one row a case to
benchmarks/results/<device>.jsonl.
"""

import os
from collections.abc import Callable
from functools import cache, partial

import pytest
import torch
from architectures import MODELS, architecture
from baselines import BASELINE, dense
from checks import exact, mean_rate, near
from rows import append
from timing import Busy, Times, interleaved

import fastsnn
from fastsnn import SpikingNetwork

PRECISIONS = ("int32", "int16")
# whose neurons all read numbers, which are of 32 bits
SMOOTH = ("efficientnet_b0", "convnext_tiny", "swin_t")
T, BATCH = 16, 1
THREADS = min(2, os.cpu_count() or 1)


def precisions(name: str) -> tuple[str, ...]:
    return PRECISIONS[:1] if name in SMOOTH else PRECISIONS


@pytest.mark.parametrize("name, precision", [(name, precision) for name in MODELS for precision in precisions(name)])
def test_architecture(benchmark, name: str, precision: str) -> None:
    torch.set_num_threads(THREADS)
    snn, rate = checked(name, precision)
    try:
        times = measure(name)
    except Busy as busy:
        pytest.skip(str(busy))
    net, ann, own = architecture(name), times["ann"], times[precision]
    row = {
        "case": "architecture",
        "network": name,
        "weights": net.weights,
        "images": net.pictures,
        "precision": precision,
        "batch": BATCH,
        "T": T,
        "rate": rate,
        "baseline": BASELINE,
        "rounds": own.rounds,
        "ann_ms": ann.least,
        "ann_median_ms": ann.median,
        "snn_ms": own.least,
        "snn_median_ms": own.median,
        "ratio": own.least / ann.least,
    }
    benchmark.pedantic(snn, (net.images[:BATCH],), rounds=2, warmup_rounds=1)
    benchmark.extra_info.update(row)
    append(row)


@cache
def measure(name: str) -> dict[str, Times]:
    """Times of the dense network and of every precision, in turn."""
    net = architecture(name)
    x = net.images[:BATCH]
    with torch.inference_mode():
        run, _ = dense(net.model, x)
        want = net.model(x)
        # folded weights round at 2^-24, and so does each of up to some hundred layers
        near(run(), want, 1e-3 * want.abs().max().item(), "logits of the dense network with batch norm folded")
    runs: dict[str, Callable] = {"ann": run}
    runs |= {precision: partial(checked(name, precision)[0], x) for precision in precisions(name)}
    return interleaved(runs, rounds=25, least=3, budget=1.5)


@cache
def checked(name: str, precision: str) -> tuple[SpikingNetwork, float]:
    """The converted network, whose spikes are those of the reference operators, and how often it fires."""
    net = architecture(name)
    snn = fastsnn.convert(net.model, net.calibration, timesteps=T, precision=precision, progress=False)
    spikes = snn.spikes(net.images)
    exact(snn, net.images, snn(net.images), spikes, (len(net.images) - 1,))
    return snn, mean_rate(spikes)
