"""How much memory a run takes, beside a plain PyTorch simulation of the same spiking network.

python -m pytest benchmarks/bench_memory.py --benchmark-only
"""

from pathlib import Path

import memory
import networks
import pytest
import torch
from baselines import Steps
from checks import near
from rows import append

import fastsnn

NAME, BATCH, T = "resnet18", 16, 16


@pytest.mark.skipif(not memory.CLEAR.exists(), reason="reads /proc/self, which Linux has")
def test_memory(benchmark, tmp_path: Path) -> None:
    net = networks.network(NAME)
    x = net.images[:BATCH]
    snn = fastsnn.convert(net.model, net.calibration, timesteps=T, precision="int32")
    steps = Steps(net.model, list(snn.thresholds.values()), T).to(memory_format=torch.channels_last)
    ours = benchmark.pedantic(memory.measured, (snn, x, tmp_path), rounds=1)
    theirs = memory.measured(steps, x, tmp_path)
    with torch.inference_mode():
        want = snn(x)
        error = (want - net.model(x)).abs().mean().item()
    near(torch.tensor(ours["logits"]), want, 1e-5 * want.abs().max().item(), "logits of fastsnn in its own process")
    near(torch.tensor(theirs["logits"]), want, error, "logits of the simulation and of fastsnn")
    row = {
        "case": "memory",
        "network": NAME,
        "weights": net.weights,
        "precision": "int32",
        "batch": BATCH,
        "T": T,
        "baseline": "torch_steps: the same spiking network in plain PyTorch, all steps of a layer as one batch",
        "snn_mib": ours["peak"],
        "torch_steps_mib": theirs["peak"],
        "snn_idle_mib": ours["idle"],
        "torch_steps_idle_mib": theirs["idle"],
        "ratio": theirs["peak"] / ours["peak"],
    }
    benchmark.extra_info.update(row)
    append(row)
