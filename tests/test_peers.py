"""Whether all that fastsnn is measured beside computes the same network, and whether what does not is noticed."""

import copy
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    *(
        "ahead",
        "chart",
        "dense",
        "environments",
        "heat",
        "jelly",
        "judge",
        "matrix",
        "memory",
        "neurons",
        "opponents",
        "prepare",
    ),
    *("report", "run", "simulated", "unit", "worker"),
)
CPU = torch.device("cpu")
T, BATCH = 5, 3


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        checks, rows = import_module("checks"), import_module("rows")
        yield SimpleNamespace(checks=checks, rows=rows, **{name: import_module(f"peers.{name}") for name in PARTS})


@pytest.fixture(scope="module")
def folder(bench, tmp_path_factory):
    made = tmp_path_factory.mktemp("peers")
    bench.prepare.prepare(made, "tiny", [T], CPU)
    return made


@pytest.fixture(scope="module")
def dense(bench, folder):
    return bench.prepare.read(folder, "tiny")


@pytest.fixture(scope="module")
def spiking(bench, folder):
    return bench.prepare.read_spiking(folder, "tiny", T)


def here(bench, name):
    """Skips where the peer does not load in this process."""
    peer = {"spikingjelly-converted": "spikingjelly"}.get(name, name)
    neuron, why = bench.neurons.found(peer)
    if neuron is None:
        pytest.skip(why)


# --- the network that all get


def test_thresholds_in_the_weights_change_nothing(bench, dense, spiking):
    # with ReLUs in place of neurons it is the dense network still
    made = bench.unit.unit(dense.model, spiking.thresholds, lambda i: nn.ReLU())
    x = dense.images.double()
    torch.testing.assert_close(made.body(made.stem(x)), dense.logits)
    louder = bench.unit.unit(dense.model, spiking.thresholds, lambda i: nn.ReLU(), gain=8.0)
    assert torch.equal(louder.stem(x), 8 * made.stem(x))
    # 3x3 of 3 channels; of 4 channels, or the shortcut; of 8, or the shortcut; 32 inputs: each with its bias
    assert made.terms == [28, 39, 75, 33]


def test_as_many_thresholds_as_activations(bench, dense):
    with pytest.raises(ValueError, match="4 activations and 1 thresholds"):
        bench.unit.unit(dense.model, [torch.ones(1)], lambda i: nn.ReLU())


def test_an_image_that_is_needed_later_is_refused(bench):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.conv(x).relu() + x

    with pytest.raises(ValueError, match="needs the images beside"):
        bench.unit.unit(Twice(), [torch.ones(3)], lambda i: nn.ReLU())


# --- the peers


@pytest.mark.parametrize(
    "name", ["torch", "torch-compiled", "spikingjelly", "spikingjelly-converted", "snntorch", "norse", "sinabs"]
)
@pytest.mark.parametrize("order", ["layers", "steps"])
def test_a_peer_fires_as_the_reference_does(bench, dense, spiking, name, order):
    here(bench, name)
    if name == "spikingjelly-converted":
        if order == "steps":
            pytest.skip("what its converter makes runs layer by layer")
        net = bench.jelly.Converted(copy.deepcopy(dense.model).float(), dense.calibration[:1], spiking.thresholds, T)
    else:
        net = bench.simulated.Simulated(dense.model, spiking.thresholds, T, bench.neurons.NEURONS[name], order).float()
    x = dense.images[:BATCH]
    with torch.inference_mode():
        for _ in range(2):  # the second run starts afresh
            logits, spikes = net.recorded(x)
        found = bench.judge.judged(dense.model, spiking.thresholds, x, spikes, T, name)
        torch.testing.assert_close(net(x).double(), spiking.logits[:BATCH], rtol=0, atol=1e-5)
        assert torch.equal(net(x), logits)
    assert found.near < 0.01 and found.differs <= found.near
    first = bench.prepare.JUDGED
    for train, count in zip(spikes, spiking.counts, strict=True):
        assert train.shape[:2] == (T, BATCH) and torch.equal(train[:, :first].sum(0), count.long())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spikingjelly-0.0.0.0.14", "snntorch", "norse", "sinabs"])
def test_a_peer_in_an_environment_of_its_own(bench, folder, name):
    python = bench.environments.ready(name)
    if not python:
        pytest.skip(f"{name} has no environment in build/peers yet: make peers ARGS=--check")
    session = bench.run.Session(folder, CPU, 1, timed=False)
    (row,) = session.compare("tiny", name, [bench.matrix.Case("tiny", T, BATCH, memory=True)])
    assert "reason" not in row, row["reason"]
    assert row["version"] == f"{name.split('-')[0]} {bench.environments.PACKAGES[name][0].split('==')[1]}"
    assert row["counts_differ"] == 0 and row["drift"] < 1e-6 and row["settings"]


def test_the_dense_network_in_each_way(bench, dense, spiking):
    x = dense.batch(BATCH)
    with torch.inference_mode():
        for name in ("dense", "dense-int8"):
            opponent = bench.opponents.build(name, dense, spiking, x)
            found = bench.worker.check(name, opponent, dense, spiking, BATCH)
            assert 0 <= found["drift"] <= found["allowed"] and opponent.settings
        assert found["drift"] > 1e-5, "8 bits are not float32"


# --- what notices a wrong result


def test_a_wrong_spike_is_noticed(bench, dense, spiking):
    x = dense.images[:BATCH]
    net = bench.simulated.Simulated(dense.model, spiking.thresholds, T, bench.neurons.Torch, "layers").float()
    with torch.inference_mode():
        _, spikes = net.recorded(x)
        for layer in range(len(spikes)):
            wrong = [train.clone() for train in spikes]
            wrong[layer][-1, 0].view(-1)[0] ^= True
            with pytest.raises(bench.checks.WrongResult, match=rf"net: 1 of \d+ .* of layer {layer} are"):
                bench.judge.judged(dense.model, spiking.thresholds, x, wrong, T, "net")
        bench.judge.judged(dense.model, spiking.thresholds, x, wrong, T - 1, "the first steps")


def test_other_thresholds_or_another_start_are_noticed(bench, dense, spiking, monkeypatch):
    few = [1.02 * theta for theta in spiking.thresholds]
    with torch.inference_mode():
        net = bench.simulated.Simulated(dense.model, few, T, bench.neurons.Torch, "layers").float()
        with pytest.raises(bench.checks.WrongResult):
            bench.judge.judged(dense.model, spiking.thresholds, dense.images, net.recorded(dense.images)[1], T, "net")
        monkeypatch.setattr(bench.neurons, "START", 0.0)
        net = bench.simulated.Simulated(dense.model, spiking.thresholds, T, bench.neurons.Torch, "layers").float()
        with pytest.raises(bench.checks.WrongResult):
            bench.judge.judged(dense.model, spiking.thresholds, dense.images, net.recorded(dense.images)[1], T, "net")


def test_a_wrong_result_has_a_reason_and_no_time(bench, folder, monkeypatch):
    def build(name, net, snn, x, way=None):
        return bench.opponents.Opponent(lambda x: torch.full((len(x), 5), torch.nan), x, "none", "none 1")

    monkeypatch.setattr(bench.opponents, "build", build)
    row = bench.worker.attempt(folder, "tiny", "dense", (T, BATCH), CPU, timed=True)
    assert set(row) == {"reason"} and row["reason"].startswith(
        "wrong result: logits of dense and of float64 differ by nan"
    )


# --- peers that are missing


def test_a_peer_that_does_not_load_is_said(bench, folder, monkeypatch):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(bench.neurons, "import_module", absent)
    row = bench.worker.attempt(folder, "tiny", "norse", (T, BATCH), CPU, timed=False)
    assert row == {"reason": "norse does not load: No module named 'norse.torch.functional.lif_box'"}


def test_a_peer_that_does_not_install_is_said(bench, folder, monkeypatch, tmp_path):
    monkeypatch.setattr(bench.environments, "FOLDER", tmp_path)
    monkeypatch.setattr(bench.environments, "make", lambda name: ("", "pip install norse: no network"))
    session = bench.run.Session(folder, CPU, 1, timed=True)
    (row,) = session.compare("tiny", "norse", [bench.matrix.Case("tiny", T, BATCH)])
    assert row["reason"] == "pip install norse: no network" and row["opponent"] == "norse"
    assert "no result: pip install norse: no network" in bench.report.sentence(row)


def test_an_environment_sees_this_one(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(bench.environments, "PACKAGES", {"nobody": ()})
    calls = []
    real = bench.environments._run
    monkeypatch.setattr(bench.environments, "_run", lambda *c: calls.append(c) or ("" if "install" in c else real(*c)))
    assert bench.environments.ready("nobody", tmp_path) == ""
    python, why = bench.environments.make("nobody", tmp_path)
    assert why == "" and Path(python).is_relative_to(tmp_path)
    done = subprocess.run(
        [python, "-c", "import torch.version, fastsnn.errors; print(torch.version.__version__)"],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )
    assert done.stdout.strip() == torch.__version__, done.stderr
    assert "--no-deps" in calls[-1]
    before = len(calls)
    assert bench.environments.make("nobody", tmp_path) == (python, "") and len(calls) == before
    assert bench.environments.make("torch", tmp_path) == (sys.executable, "")


def test_an_installation_that_fails_says_why(bench, monkeypatch, tmp_path):
    failing = [sys.executable, "-c", "import sys; sys.exit('ERROR: no such package\\nnote: none')"]
    assert bench.environments._run(*failing) == "no such package"


def test_ways_that_come_close_are_compared_at_all_steps(bench, monkeypatch):
    asked = []

    def times(make, T, x, ways, least):
        asked.append((T, len(ways)))
        return dict(zip(ways, {4: [1.0, 1.9, 3.0, 1.5], 16: [2.0, 5.0, 1.0]}[T], strict=True))

    monkeypatch.setattr(bench.simulated, "_times", times)
    best = bench.simulated.best_way(None, 16, None)
    assert (best.order, best.layout) == ("steps", "channels_last") and asked == [(4, 4), (16, 3)]
    assert bench.simulated.best_way(None, 4, None).order == "layers" and asked[2:] == [(4, 4)]
