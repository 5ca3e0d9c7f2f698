"""One network in several Python threads at once, whatever else changes meanwhile."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn import _native

needs_native = pytest.mark.skipif(_native.reason() is not None, reason=str(_native.reason()))


@pytest.fixture(scope="module")
def x():
    return torch.randn(12, 3, 9, 9, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def snn(x):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 9, 3), nn.ReLU(), nn.Flatten()
    return fastsnn.convert(nn.Sequential(*layers, nn.Linear(36, 4)).eval(), x)


@pytest.mark.parametrize("threads", [1, 2])
def test_runs_side_by_side_do_not_meet(snn, x, threads):
    wanted = [snn(image[None], 40) for image in x]
    torch.set_num_threads(threads)
    with ThreadPoolExecutor(6) as pool:
        for _ in range(5):
            found = list(pool.map(lambda image: snn(image[None], 40), x))
            assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_the_first_run_may_be_in_several_threads(x):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(125, 3))
    fresh = fastsnn.convert(model.eval(), x)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: fresh(x), range(12)))
    assert all(torch.equal(out, found[0]) for out in found)


def test_tuning_never_changes_a_result(snn, x):
    logits, spikes = snn(x), snn.spikes(x)
    snn.tune(x[:2], rounds=1)
    assert torch.equal(snn(x), logits)
    for name, train in snn.spikes(x).items():
        assert torch.equal(train.words[0], spikes[name].words[0])
    if _native.reason() is None:
        assert " ms" in str(snn.report) and "registers" in str(snn.report)


def test_tune_says_what_it_needs(snn, x):
    with pytest.raises(ValueError, match="at least one image, got none"):
        snn.tune(x[:0])
    with pytest.raises(ValueError, match=r"takes inputs \[B, 3, 9, 9\]"):
        snn.tune(x[:, :2])


def isa(value):
    code = "from fastsnn import _native; print(_native.load().instruction_set())"
    environment = os.environ | {"FASTSNN_CPU_ISA": value}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


@needs_native
def test_the_instruction_set_can_be_forced_down():
    assert isa("baseline").stdout.strip() == "baseline"
    best = isa("")
    assert best.stdout.strip() == _native.load().instruction_sets()[0]


@needs_native
def test_an_instruction_set_that_is_not_there_is_refused():
    done = isa("avx1024")
    assert done.returncode == 1
    assert "FASTSNN_CPU_ISA must be one of" in done.stderr and "got 'avx1024'" in done.stderr
