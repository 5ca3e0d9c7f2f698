"""What converted networks cost beside the dense networks they came from, and beside simulations of them.

    python -m pytest benchmarks/bench_networks.py --benchmark-only

Checks each result before it takes a time, takes times in turn in one process, and appends one row a case to
benchmarks/results/<device>.jsonl.
"""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import product

import networks
import pytest
import torch
from baselines import BASELINE, FORMATS, Steps, dense
from checks import agreement, exact, mean_rate, near, same_rates, same_spikes, usual_rate
from peers import jelly
from rows import Row, append
from timing import Busy, Times, interleaved
from torch import Tensor

import fastsnn
from fastsnn import SpikingNetwork

PRECISIONS = ("int32", "int16")
STEPS = (16, 8)
BATCHES = (1, 16)
THREADS = tuple(n for n in (1, 2) if n <= (os.cpu_count() or 1))
# the simulations take many times as long: one thread and one T are enough
SLOW_T, SLOW_THREADS = 16, 1
CASES = [
    pytest.param(*case, id="{}-T{}-batch{}-threads{}-{}".format(*case))
    for case in product(networks.NAMES, STEPS, BATCHES, THREADS, PRECISIONS)
]


@dataclass(frozen=True)
class Checked:
    """Networks of one T whose results are right, by precision; and what was seen on the way.

    logits     on all test images
    rate       mean over the layers of the share of steps in which a neuron fires
    drift      mean absolute difference of logits: of int32 from float64, of int16 from int32
    agreement  share of images with the same top class, of the same pairs
    """

    snn: dict[str, SpikingNetwork]
    logits: dict[str, Tensor]
    rate: dict[str, float]
    drift: dict[str, float | None]
    agreement: dict[str, float | None]


@pytest.mark.parametrize("name, T, batch, threads, precision", CASES)
def test_network(benchmark, name: str, T: int, batch: int, threads: int, precision: str) -> None:
    try:
        net = networks.network(name)
    except networks.Absent as absent:
        pytest.skip(str(absent))
    torch.set_num_threads(threads)
    checked = check(name, T)
    try:
        times = measure(name, T, batch, threads)
        ann, snn = times["ann"], times[precision]
        others = slower(name, T, batch, threads, snn.least)
    except Busy as busy:
        pytest.skip(str(busy))
    row: Row = {
        "case": "network",
        "network": name,
        "weights": net.weights,
        "images": net.pictures,
        "precision": precision,
        "batch": batch,
        "T": T,
        "rate": checked.rate[precision],
        "drift": checked.drift[precision],
        "agreement": checked.agreement[precision],
        "baseline": BASELINE,
        "layout": fastest_dense(name, batch, threads)[1],
        "rounds": snn.rounds,
        "ann_ms": ann.least,
        "ann_median_ms": ann.median,
        "snn_ms": snn.least,
        "snn_median_ms": snn.median,
        "ratio": snn.least / ann.least,
        **others,
    }
    x = net.images[:batch]
    benchmark.pedantic(checked.snn[precision], (x,), rounds=2, warmup_rounds=1)
    benchmark.extra_info.update(row)
    append(row)


def slower(name: str, T: int, batch: int, threads: int, milliseconds: float) -> Row:
    """The simulations' part of a row: times, and how many times as long they take; None where not measured."""
    measured = {}
    if (T, threads) == (SLOW_T, SLOW_THREADS):
        measured = {peer: times.least for peer, times in simulate(name, batch).items()}
    _, version = jelly.found()
    row: Row = {"spikingjelly": version}
    for peer in ("torch_steps", "spikingjelly"):
        row[f"{peer}_ms"] = measured.get(peer)
        row[f"{peer}_speedup"] = measured[peer] / milliseconds if peer in measured else None
    return row


@cache
def measure(name: str, T: int, batch: int, threads: int) -> dict[str, Times]:
    """Times of the dense network and of every precision, in turn."""
    checked = check(name, T)
    x = networks.network(name).images[:batch]
    runs: dict[str, Callable] = {"ann": fastest_dense(name, batch, threads)[0]}
    for precision, snn in checked.snn.items():
        want = checked.logits[precision][:batch]
        near(snn(x), want, 1e-5 * want.abs().max().item(), f"{precision}: logits of {batch} and of all images")
        runs[precision] = partial(snn, x)
    return interleaved(runs, rounds=25, least=3, budget=1.5)


@cache
def fastest_dense(name: str, batch: int, threads: int) -> tuple[Callable, str]:
    """The dense network on a batch, checked, and its memory format; `threads` only tells the cases apart."""
    net = networks.network(name)
    x = net.images[:batch]
    with torch.inference_mode():
        run, layout = dense(net.model, x)
        want = net.model(x)
        # folded weights round at 2^-24, and so does each of some twenty layers
        near(run(), want, 1e-4 * want.abs().max().item(), "logits of the dense network with batch norm folded")
    return run, layout


@cache
def simulate(name: str, batch: int) -> dict[str, Times]:
    """Times of the plain PyTorch simulation, and of SpikingJelly where it is installed; T = SLOW_T."""
    net, snn, exact64 = networks.network(name), check(name, SLOW_T).snn["int32"], double(name)
    thresholds = list(snn.thresholds.values())
    x = net.images[:batch]
    layout = FORMATS[fastest_dense(name, batch, SLOW_THREADS)[1]]
    steps = Steps(net.model, thresholds, SLOW_T).to(memory_format=layout)
    image = x.to(memory_format=layout)
    runs: dict[str, Callable] = {"torch_steps": partial(steps, image)}
    ann2snn, why = jelly.found()
    if ann2snn is None:
        warnings.warn(f"the column of SpikingJelly stays empty: {why}", stacklevel=2)
    else:
        runs["spikingjelly"] = partial(jelly.Converted(net.model, net.calibration, thresholds, SLOW_T), x)
    with torch.inference_mode():
        want, target = exact64(x.double()), net.model(x)
    # in float32 single spikes differ; what that changes stays below what T steps change
    allowed = (want - target).abs().mean().item()

    def checked(peer: str) -> None:
        near(runs[peer](), want, allowed, f"logits of {peer} and of float64")

    # every round is checked, because one more would take longer than all else
    return interleaved({peer: partial(checked, peer) for peer in runs}, rounds=3, least=2, budget=8.0, warm=False)


@cache
def check(name: str, T: int) -> Checked:
    """Converts a network and makes sure of it; raises WrongResult.

    Spikes of both precisions are those of the reference operators, to the bit. In float64 the network fires as its
    simulation does in plain PyTorch, neuron by neuron. int32 is nearer to float64, and int16 to int32, than T steps are
    to the dense network, and int16 fires at the rates of int32: single spikes differ more from layer to layer, as they
    do whenever weights are rounded otherwise.
    """
    net = networks.network(name)
    few, pick = net.images[:8], (7,)
    snn = {p: fastsnn.convert(net.model, net.calibration, timesteps=T, precision=p) for p in PRECISIONS}
    logits = {p: s(net.images) for p, s in snn.items()}
    spikes = {p: s.spikes(few) for p, s in snn.items()}
    for precision, s in snn.items():
        exact(s, few, logits[precision][:8], spikes[precision], pick)
    with torch.inference_mode():
        error = (logits["int32"] - net.model(net.images)).abs().mean().item()
    same_rates(spikes["int16"], spikes["int32"])
    drift: dict[str, float | None] = {"int32": None}
    agrees: dict[str, float | None] = {"int32": None, "int16": agreement(logits["int16"], logits["int32"])}
    drift["int16"] = near(logits["int16"], logits["int32"], error, "logits of int16 and int32")
    if T == SLOW_T:
        want = double(name)(few.double())
        drift["int32"] = near(logits["int32"][:8], want, error, "logits of int32 and float64")
        agrees["int32"] = agreement(logits["int32"][:8], want)
    rate = {p: mean_rate(s) for p, s in spikes.items()}
    usual_rate(name, T, rate["int32"])
    return Checked(snn, logits, rate, drift, agrees)


@cache
def double(name: str) -> SpikingNetwork:
    """The float64 network at T = SLOW_T, which fires as its simulation in plain PyTorch does."""
    net = networks.network(name)
    snn = fastsnn.convert(net.model, net.calibration, timesteps=SLOW_T, precision="float64")
    with torch.inference_mode():
        steps = Steps(net.model, list(snn.thresholds.values()), SLOW_T, torch.float64)
        same_spikes(snn, steps, net.images[:1].double())
    return snn
