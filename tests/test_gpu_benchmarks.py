"""What can be known of the GPU benchmarks without a GPU: they count, check, judge and refuse as they should."""

import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn import _env

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    *("ceilings", "clock", "converted", "dense", "elementwise", "jelly", "kernels", "layers", "one", "rival", "run"),
    *("steps", "summary", "targets", "tuning", "whole", "work"),
)
CPU = torch.device("cpu")


class Residual(nn.Module):
    """A stem, a block whose shortcut is a convolution, one whose shortcut is the identity, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, 2, padding=1)
        self.short, self.b = nn.Conv2d(4, 8, 1, 2), nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(self.a(x) + self.short(x))
        x = torch.relu(self.b(x) + x)
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        rows, checks = import_module("rows"), import_module("checks")
        networks = import_module("networks")
        parts = {name: import_module(f"gpu.{name}") for name in PARTS}
        yield SimpleNamespace(rows=rows, checks=checks, networks=networks, **parts)


@pytest.fixture(scope="module")
def images():
    return torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return Residual().eval()


@pytest.fixture
def reference(monkeypatch):
    monkeypatch.setattr(_env, "BACKEND", "reference")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_run():
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu" / "run.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "sees no NVIDIA GPU here: nothing was run" in done.stderr


# --- how much work there is


def test_products_are_counted_as_a_loop_does(bench, small, images):
    layers = fastsnn.convert(small, images, timesteps=4).program.layers
    found = {name: bench.work.macs(layer) for name, layer in layers.items() if layer.spiking}
    # positions, outputs, then inputs and kernel of each term
    want = [8 * 8 * 4 * 3 * 9, 4 * 4 * 8 * (4 * 9 + 4), 4 * 4 * 8 * (8 * 9 + 1)]
    assert list(found.values()) == want
    count = sum(1 for _ in range(2) for _ in range(5 * 5) for _ in range(7) for _ in range(3) for _ in range(3 * 3))
    assert bench.work.conv_macs(2, 5, 3, 7, 3) == count


def test_bytes_are_counted_as_a_loop_does(bench, small, images):
    batch, T = 3, 16
    layers = fastsnn.convert(small, images, timesteps=T).program.layers
    image, stem, out = (batch * n for n in (3 * 64, 4 * 64, 8 * 16))
    weights = [4 * 3 * 9, 8 * 4 * 9, 8 * 4, 8 * 8 * 9]
    moved = bench.work.moved(layers, batch, T)
    # what is read, in order: the image; the stem twice, and its words; the first block twice
    assert moved.packed == 4 * image + 2 * stem + 2 * 2 * stem + 2 * out + 2 * 2 * out + 2 * out + 4 * sum(weights)
    first = image + stem + stem + T * stem
    block = T * (2 * stem + 2 * out + out + out)
    last = T * (2 * out + out + out + out)
    assert moved.layerwise == 4 * (first + block + last + sum(weights))


# --- the hand-made rival


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_rival_fires_as_the_reference_does(bench, small, images, reference, dtype):
    snn = fastsnn.convert(small, images, timesteps=8, precision=str(dtype).removeprefix("torch."))
    rival = bench.rival.LayerByLayer(small, list(snn.thresholds.values()), 8, dtype)
    with torch.no_grad():
        found, want = rival.words(images), snn.spikes(images.to(dtype))
        torch.testing.assert_close(rival(images), snn(images.to(dtype)), rtol=1e-4, atol=1e-4)
    for words, (name, train) in zip(found, want.items(), strict=True):
        assert torch.equal(words, train.words[0][0]), name
    assert all(m.bias is None for m in rival.net.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("constant, added", [(True, False), (False, False), (False, True)])
def test_the_rivals_kernel_does_what_its_loop_does(bench, dtype, constant, added):
    pytest.importorskip("triton")
    kernel = import_module("gpu.rival_kernel")
    T, batch, channels = 5, 3, 7
    on = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    make = {"memory_format": torch.channels_last}
    current, more = (torch.randn((1 if constant else T) * batch, channels, 6, 6).to(dtype).to(**make) for _ in "ab")
    theta, bias = torch.rand(channels) + 0.5, torch.randn(channels) / 4
    want, got = (torch.empty(T * batch, channels, 6, 6, dtype=dtype).to(**make) for _ in "ab")
    more = more if added else None
    bench.rival._fire(current, more, bias, theta, want, T, constant)
    given = [None if x is None else x.to(on) for x in (current, more, bias, theta, got)]
    assert torch.equal(kernel.fire(*given, T, constant).cpu(), want)
    assert 0.05 < (want != 0).float().mean() < 0.95


def test_layers_of_every_type_and_their_rival_fire_alike(bench):
    for dtype in bench.layers.VALUES:
        given = bench.layers.layer(16, 4, dtype, CPU)
        words = bench.layers.spikes(4, 16, 4, CPU)
        run = bench.layers.plan_of(given, 4)
        bench.layers.check(given, run, words)
        out = bench.layers.Rival(given)(bench.layers.dense(words, torch.float32))
        rate = bench.rival.pack((out != 0).unflatten(0, (bench.layers.T, -1)).movedim(2, -1).contiguous())
        assert (rate != run(words)).float().mean() < 0.01
        with pytest.raises(bench.checks.WrongResult, match="not the reference's"):
            bench.layers.check(given, lambda w, run=run: run(w) ^ 1, words)


# --- measuring, on the CPU


def test_whole_parts_run_on_the_cpu(bench, small, images, tmp_path, monkeypatch):
    monkeypatch.setattr(bench.layers, "SHAPES", ((8, 4),))
    net = bench.networks.Network("net", small, "random", images[:8], images[8:], "noise")
    monkeypatch.setattr(bench.networks, "network", lambda name: net)
    monkeypatch.setattr(bench.jelly, "found", lambda: (None, "not here"))
    monkeypatch.setattr(bench.whole, "PRECISIONS", ("int8", "float16"))
    folder, long = tmp_path / "rows", bench.clock.Deadline(60)
    rows = [*bench.ceilings.main(CPU, long, folder, scale=256), *bench.elementwise.main(CPU, long, folder, 1)]
    rows += [*bench.layers.main(CPU, long, folder, batch=2)]
    rows += [*bench.whole.main("net", 4, CPU, long, tmp_path / "kept", folder)]
    rows += [*bench.whole.memory(CPU, tmp_path / "kept", folder, 4)]
    path = folder / f"{bench.rows.device()}.jsonl"
    assert len(path.read_text().splitlines()) == len(rows) == 4 + 8 + 4 + 2 + 1 == len(bench.rows.latest(path))
    assert all(row["share_of_copy"] > 0 for row in rows if row["case"] == bench.elementwise.CASE)
    networks = [row for row in rows if row["case"] == "network"]
    assert all(row["rival_speedup"] > 0 and row["ratio"] > 0 and row["spikingjelly_ms"] is None for row in networks)
    assert len(list((tmp_path / "kept").glob("*.pt"))) == 3
    assert bench.summary.text(rows).count("SpikingJelly       - ms") == 2
    assert "| net | random |" in import_module("table").render(bench.rows.latest(path))
    late = bench.clock.Deadline(0)
    assert not [*bench.ceilings.main(CPU, late, folder), *bench.layers.main(CPU, late, folder)]


def test_a_wrong_network_is_noticed(bench, small, images):
    snn = fastsnn.convert(small, images, timesteps=16, precision="int32")
    bench.converted.check(snn, images)
    before = snn.spikes

    def wrong(x):
        flip = int(_env.BACKEND != "reference")
        return {n: fastsnn.SpikeTrain(tuple(w ^ flip for w in t.words), t.T) for n, t in before(x).items()}

    object.__setattr__(snn, "spikes", wrong)
    with pytest.raises(bench.checks.WrongResult, match="words of"):
        bench.converted.check(snn, images)


def test_kernels_are_compared_with_the_reference(bench):
    assert bench.kernels.main(CPU, "reference", most=1) == []
    weights = {case.arguments()[1][0].dtype for case in bench.kernels.few("conv_if")}
    assert {torch.int8, torch.float16, torch.int16, torch.int32} <= weights


def test_times_and_limits(bench):
    seen = []
    times = bench.clock.interleaved({"a": seen.append}, CPU, rounds=3, least=3, warm=1)
    assert seen == [0, 0, 1, 2] and times["a"].rounds == 3
    run = bench.clock.turns(seen.append, ["x", "y"])
    run(0), run(1), run(2)
    assert seen[-3:] == ["x", "y", "x"]
    with pytest.raises(bench.clock.Slow, match="longer than"), bench.clock.limited(0.05):
        time.sleep(5)
    with pytest.raises(ValueError, match="needs callables"):
        bench.clock.interleaved({}, CPU)


def test_the_shortlist_has_the_usual_tile_first(bench):
    from fastsnn.ops._tiles import Problem, choices

    tiles = choices(Problem(2**20, 128, 1, 1152, 8, 16), 132, 227 * 2**10)
    few = bench.tuning.shortlist(tiles)
    assert few[0] == tiles[0] and len(few) == len(set(few)) == bench.tuning.FEW and set(few) <= set(tiles)
    assert bench.tuning.shortlist(()) == ()


# --- the driver


def test_steps_end_fail_or_are_late(bench, tmp_path):
    def python(code):
        return [sys.executable, "-c", code]

    Step = bench.steps.Step
    steps = [
        Step("good", python("print('fine')"), 30),
        Step("bad", python("print('why'); raise SystemExit(3)"), 30, after="good"),
        Step("slow", python("import time; time.sleep(60)"), 0.5),
        Step("preparing", python("import time; time.sleep(60)"), 0.5, optional=True),
        Step("quiet", python("raise SystemExit(5)"), 30, quiet=(5,)),
        Step("absent", ["no-such-program-here"], 30),
    ]
    said = []
    until = time.monotonic() + 40
    outcomes = bench.steps.together(steps, tmp_path, until, 2, dict(os.environ), said.append)
    verdicts = {outcome.step.name: (outcome.verdict, outcome.failed) for outcome in outcomes}
    ok, failed, late = bench.steps.OK, bench.steps.FAILED, bench.steps.LATE
    assert verdicts == {
        "good": (ok, False),
        "bad": (failed, True),
        "slow": (late, True),
        "preparing": (late, False),
        "quiet": (ok, False),
        "absent": (failed, True),
    }
    assert any(line.startswith("good: ok") and "fine" in line for line in said) and "    why" in said


def test_what_is_run_is_there(bench, monkeypatch):
    monkeypatch.setattr(bench.run.shutil, "which", lambda name: f"/bin/{name}")
    steps = bench.run.checks(sys.executable, build=True)
    names = [step.name for step in steps]
    assert len(names) == len(set(names)) and "compute-sanitizer" in names and "native module" in names
    assert all(step.after in ("", *names) for step in steps)
    tests = [step.command[-1] for step in steps if "pytest" in step.command]
    assert tests and all((ROOT / test).exists() for test in tests)


# --- rows and what they say


def test_rows_of_a_gpu_go_to_its_own_file(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda gpu: "NVIDIA H200")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda gpu: (9, 0))
    monkeypatch.setattr(bench.rows, "driver", lambda: "570.1")
    path = bench.rows.append({"case": "x"}, tmp_path, torch.device("cuda"))
    assert path.name == "nvidia-h200.jsonl"
    row = json.loads(path.read_text())
    assert (row["gpu"], row["driver"], row["instruction_set"], row["threads"]) == (
        "NVIDIA H200",
        "570.1",
        "sm_90",
        None,
    )
    assert "cuda" in row and "triton" in row and row["device"] == "nvidia-h200"
    here = bench.rows.append({"case": "x"}, tmp_path)
    assert here != path and "gpu" not in json.loads(here.read_text())


def test_targets_are_judged(bench):
    copy = {"case": "gpu_elementwise", "operator": "pack", "share_of_copy": 0.9, "rate": 4e12}
    slow = copy | {"operator": "unpack", "share_of_copy": 0.5}
    one = {"case": "network", "network": "resnet18", "precision": "int8", "batch": 1, "T": 16, "snn_ms": 0.2,
           "graph_ratio": 4.0, "dirty": False, "utc": "2026-01-02T03:04:05+00:00", "gpu": "NVIDIA H200"}  # fmt: skip
    text = bench.summary.text([copy, slow, one])
    total = len(bench.targets.TARGETS)
    assert f"Targets: 2 met, 2 missed, {total - 4} not measured" in text
    lines = {line.split(": ")[0]: line for line in text.splitlines()}
    assert lines["met          pack, share of the copy's speed"].endswith("90 % (wanted >= 85 %)")
    assert lines["missed       unpack, share of the copy's speed"].endswith("50 % (wanted >= 85 %)")
    assert "met          resnet18 int8, batch 1: 0.2 ms (wanted <= 0.25 ms)" in text
    assert "missed       resnet18 int8, batch 1, time of the dense network's CUDA graph: 4x" in text
    assert text.startswith("NVIDIA H200, ") and "2026-01-02" in text
    # a row without the figure is not a missed target
    assert (
        bench.targets.TARGETS[0].judged([{"case": "gpu_elementwise", "operator": "if_steps float32"}]) == "not measured"
    )
