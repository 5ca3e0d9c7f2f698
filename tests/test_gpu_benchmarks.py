"""What can be known of the GPU benchmarks without a GPU: they count, check, judge and refuse as they should."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn import _env, _order, _registry, contest
from fastsnn.ops.pack import cuda as pack_cuda

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    *("backends", "ceilings", "clock", "converted", "dense", "elementwise", "families", "jelly", "kernels", "layers"),
    *("one", "rival", "run", "steps", "summary", "targets", "tuning", "whole", "work"),
)
CPU = torch.device("cpu")
# where kernels run, if need be interpreted and emulated
ON = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


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


@pytest.fixture
def both(bench):
    """Skips where the kernels of one of the backends cannot run."""
    if why := [why for name in _order.RIVALS if (why := bench.backends.why_not(name, ON))]:
        pytest.skip("; ".join(why))


@pytest.fixture
def tiny(bench, monkeypatch, tmp_path):
    """Of everything that is measured kernel by kernel as little as there can be, with files in tmp_path."""
    families = bench.families
    monkeypatch.setattr(bench.elementwise, "IMAGE", (8, 8, 8))
    monkeypatch.setattr(bench.elementwise, "BUDGET", 0.0)
    monkeypatch.setattr(contest, "IMAGE", (2, 2, 3))
    monkeypatch.setattr(families, "ROUNDS", 1)
    monkeypatch.setattr(families, "RATES", (0.1, 0.01))
    monkeypatch.setattr(_env, "CACHE", str(tmp_path / "cache"))
    passes = [families.Pass("if_steps", 3, 2, torch.int16), families.Pass("counts", 8, 2)]
    monkeypatch.setattr(families, "passes", lambda: passes)
    driven = [families.Driven(3, 2, 2, 3, 2, torch.int8), families.Driven(4, 3, None, 3, 1, torch.float16)]
    monkeypatch.setattr(families, "driven", lambda: driven)


@pytest.fixture
def wrong_pack(monkeypatch):
    """The pack family in CUDA writes nothing."""
    monkeypatch.setattr(pack_cuda, "_run", lambda *_: None)


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


def test_whole_parts_run_on_the_cpu(bench, small, images, tmp_path, monkeypatch, tiny):
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
    passes = 8 * len(bench.backends.able(CPU))
    assert len(path.read_text().splitlines()) == len(rows) == 4 + passes + 4 + 2 + 1 == len(bench.rows.latest(path))
    assert all(row["share_of_copy"] > 0 for row in rows if row["case"] == bench.elementwise.CASE)
    networks = [row for row in rows if row["case"] == "network"]
    assert all(row["rival_speedup"] > 0 and row["ratio"] > 0 and row["spikingjelly_ms"] is None for row in networks)
    assert all(set(row["backends"].values()) <= {"native", "reference"} and row["backends"] for row in networks)
    assert len(list((tmp_path / "kept").glob("*.pt"))) == 3
    assert bench.summary.text(rows).count("SpikingJelly       - ms") == 2
    assert "| net | random |" in import_module("table").render(bench.rows.latest(path))
    late = bench.clock.Deadline(0)
    for part in (bench.ceilings, bench.layers, bench.elementwise, bench.families):
        assert not [*part.main(CPU, late, folder)]


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


def test_kernels_of_cuda_are_compared_with_the_reference(bench, both, wrong_pack, monkeypatch):
    wrong = bench.kernels.main(ON, "cuda", most=1)
    assert [text.split()[0] for text in wrong] == ["pack", "unpack", "counts"]
    assert all(text.endswith("not the reference's") for text in wrong)
    # what is asked of a backend that takes nothing is not well
    refusing = [replace(b, refuse=lambda *_: "no") for b in _registry.backends("pack").values()]
    monkeypatch.setattr(bench.kernels, "CASES", {"pack": bench.kernels.CASES["pack"]})
    monkeypatch.setattr(_registry, "backends", lambda op: {b.name: b for b in refusing})
    assert bench.kernels.main(ON, "cuda", most=1) == ["pack: cuda takes none of its cases"]


def test_a_backend_that_is_not_here_is_left_out(bench, monkeypatch, capsys):
    one = bench.one
    found = {"": [], "cuda": ["pack T1: not the reference's"]}
    monkeypatch.setattr(bench.kernels, "main", lambda on, backend: found.get(backend, []))
    monkeypatch.setattr(bench.backends, "why_not", lambda name, on: None)
    command = ["--device", "cpu"]
    assert one.main(["kernels", *command]) == 0 and one.main(["kernels:cuda", *command]) == 1
    assert "pack T1: not the reference's" in capsys.readouterr().out
    monkeypatch.setattr(bench.backends, "why_not", lambda name, on: "not here" if name == "cuda" else None)
    assert one.main(["kernels:cuda", *command]) == one.LEFT_OUT
    assert capsys.readouterr().out == "left out: cuda: not here\n"
    assert bench.backends.able(CPU) == ["triton"] and not [*bench.families.main(CPU, bench.clock.Deadline(9))]
    with pytest.raises(SystemExit, match="no kernels of vulkan"):
        one.main(["kernels:vulkan", *command])


def test_a_kernel_that_is_wrong_on_one_backend_has_no_row_for_it(bench, both, tiny, wrong_pack, tmp_path, monkeypatch):
    few = {name: bench.elementwise.KERNELS[name] for name in ("counts", "if_constant int32")}
    monkeypatch.setattr(bench.elementwise, "KERNELS", few)
    found = []
    with pytest.raises(bench.checks.WrongResult, match=r"^counts, cuda: .* are not the reference's$"):
        found.extend(bench.elementwise.main(ON, bench.clock.Deadline(60), tmp_path, 1))
    (path,) = tmp_path.glob("*.jsonl")
    want = [("counts", "triton"), ("if_constant int32", "triton"), ("if_constant int32", "cuda")]
    assert [(row["operator"], row["backend"]) for row in bench.rows.latest(path)] == want


def test_families_are_compared_and_their_order_is_kept(bench, both, tiny, tmp_path):
    families = bench.families
    rows = [*families.main(ON, bench.clock.Deadline(60), tmp_path)]
    assert [(row["op"], row["kind"], row["size"], row.get("rate")) for row in rows] == [
        ("if_steps", "int16", "2x2x3, batch 2", None),
        ("counts", "uint8", "2x2x3, batch 2", None),
        ("conv_if", "uint8 int8", "3x3 2@2, batch 2, 10 % spikes", 0.1),
        ("linear_if", "uint8 float16", "4 -> 3, batch 1, 10 % spikes", 0.1),
        ("conv_if", "uint8 int8", "3x3 2@2, batch 2, 1 % spikes", 0.01),
        ("linear_if", "uint8 float16", "4 -> 3, batch 1, 1 % spikes", 0.01),
    ]
    assert all(row["cuda_speedup"] == row["triton_ms"] / row["cuda_ms"] for row in rows)
    assert all(row["cuda_choice"] and row["triton_choice"] for row in rows[2:])
    (path,) = tmp_path.glob("*.jsonl")
    assert len(bench.rows.latest(path)) == len(rows)
    for op, row in {row["op"]: row for row in reversed(rows)}.items():
        (times,) = _order.measured(op, ON).values()
        assert times == {name: row[f"{name}_ms"] / 1e3 for name in ("triton", "cuda")}
    assert "cuda_speedup" in bench.one._said(rows[2]) and "conv_if uint8 int8" in bench.one._said(rows[2])


def test_a_wrong_family_has_no_row_and_no_order(bench, both, tiny, wrong_pack, tmp_path, monkeypatch):
    from fastsnn.ops._layer_cuda import CudaPlan

    run = CudaPlan.__call__

    def wrong(self, words, *args):
        out, after = run(self, words, *args)
        # one neuron of the first image, which the reference is not run on
        out.view(-1)[0] ^= 1
        return out, after

    monkeypatch.setattr(CudaPlan, "__call__", wrong)
    found = []
    with pytest.raises(bench.checks.WrongResult) as raised:
        found.extend(bench.families.main(ON, bench.clock.Deadline(60), tmp_path))
    assert [row["op"] for row in found] == ["if_steps"]
    text = str(raised.value)
    assert "counts 2x2x3, batch 2, T = 8, cuda: " in text
    assert "conv_if torch.int8 3x3 2@2, batch 2, T = 3, rate 0.1, cuda: 1 of 16 numbers are not the other" in text
    assert (
        "linear_if torch.float16 4 -> 3, batch 1, T = 3, rate 0.01, cuda: 1 of 3 numbers are not the reference's"
        in text
    )
    assert not any(_order.measured(op, ON) for op in ("counts", "conv_if", "linear_if"))
    (path,) = tmp_path.glob("*.jsonl")
    assert len(path.read_text().splitlines()) == 1


def test_families_are_compiled_and_nothing_is_kept(bench, both, tiny):
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.families, "called", lambda given, name, found: seen.append((given.op, name)))
        bench.families.compile_all("passes", ON, bench.clock.Deadline(60))
        patch.setattr(bench.families, "fastest", lambda plan, *_: seen.append(type(plan).__name__))
        bench.families.compile_all("float16", ON, bench.clock.Deadline(60))
    both = ("triton", "cuda")
    assert seen == [*((op, name) for op in ("if_steps", "counts") for name in both), "TritonPlan", "CudaPlan"]
    assert not any(_order.measured(op, ON) for op in ("if_steps", "counts", "linear_if"))


def test_every_family_and_every_type_is_compared(bench):
    given = [*bench.families.passes(), *bench.families.driven()]
    assert {one.op for one in given} == set(bench.kernels.CASES)
    assert {one.T for one in given} == {8, 16} and len(set(given)) == len(given)
    assert {one.dtype for one in bench.families.driven()} == set(bench.layers.VALUES)


def test_a_plan_takes_the_fastest_way_that_runs(bench):
    plan = SimpleNamespace(choose=lambda choice: setattr(plan, "taken", choice))

    def run(_):
        if plan.taken == "broken":
            raise RuntimeError("too much shared memory")
        time.sleep({"slow": 0.02, "quick": 0.0, "late": 0.0}[plan.taken])

    late, long = bench.clock.Deadline(0), bench.clock.Deadline(60)
    assert bench.tuning.fastest(plan, ["slow", "broken", "quick"], run, CPU, long) == plan.taken == "quick"
    assert bench.tuning.fastest(plan, ["broken", "slow", "late"], run, CPU, late) == plan.taken == "slow"
    with pytest.raises(RuntimeError, match="none of 1 ways"):
        bench.tuning.fastest(plan, ["broken"], run, CPU, long)


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


def test_a_network_tries_few_ways_of_each_backend(bench):
    from fastsnn.ops._layer_cuda import CudaPlan
    from fastsnn.ops._products_cuda import Products

    given = bench.layers.layer(64, 4, torch.int8, CPU)
    numbers = (given.weight, given.threshold, given.start, given.bias)
    plan = CudaPlan([(4, 4, 64)], [numbers[0]], (1, 4, 4, 64), *numbers[1:], *[[1, 1]] * 3, [1], "soft", ">=")
    every = plan.choices(1, 16)
    with bench.tuning.few():
        few = plan.choices(1, 16)
    assert few == every[: bench.tuning.FEW_IN_CUDA] and len(every) > len(few) and plan.choices(1, 16) == every
    # by shape, and then what differs most from that
    assert few[0] is None and (Products() in few or plan.usual(1, 16) == Products())


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
    assert len(names) == len(set(names)) and "memcheck kernels" in names and "native module" in names
    by_name = {step.name: step for step in steps}
    for tool in ("memcheck", "racecheck"):
        step = by_name[f"{tool} kernels:cuda"]
        assert step.command[:3] == ["compute-sanitizer", "--tool", tool] and step.command[-1] == "kernels:cuda"
        assert step.optional and step.after == "kernels:cuda" and bench.one.LEFT_OUT in step.quiet
    assert not by_name["kernels:cuda"].optional and not by_name["kernels"].quiet
    compiled = {step.command[3].removeprefix("compile:families:") for step in steps if "families" in step.name}
    weights = {str(dtype).removeprefix("torch.") for dtype in bench.layers.VALUES}
    assert compiled == {bench.families.PASSES, *weights}
    assert all(step.after in ("", *names) for step in steps)
    tests = [step.command[-1] for step in steps if "pytest" in step.command]
    assert tests and all((ROOT / test).exists() for test in tests)
    parts = list(bench.run.PARTS)
    assert parts.index("families") == parts.index("elementwise") + 1
    assert sum(bench.run.PARTS.values()) == pytest.approx(1)


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
    copy = {"case": "gpu_elementwise", "operator": "pack", "backend": "triton", "share_of_copy": 0.9, "rate": 4e12}
    slow = copy | {"operator": "unpack", "share_of_copy": 0.5}
    # the same kernels on the other backend, and of which backend an old row is nobody knows
    cuda = copy | {"operator": "if_steps int32", "backend": "cuda", "share_of_copy": 0.88}
    other = copy | {"operator": "counts", "backend": "cuda", "share_of_copy": 0.1}
    old = {name: x for name, x in copy.items() if name != "backend"} | {"operator": "if_steps float32"}
    one = {"case": "network", "network": "resnet18", "precision": "int8", "batch": 1, "T": 16, "snn_ms": 0.2,
           "graph_ratio": 4.0, "dirty": False, "utc": "2026-01-02T03:04:05+00:00", "gpu": "NVIDIA H200"}  # fmt: skip
    text = bench.summary.text([copy, slow, cuda, other, old, one])
    total = len(bench.targets.TARGETS)
    assert f"Targets: 2 met, 3 missed, {total - 5} not measured" in text
    lines = {line.split(": ")[0]: line for line in text.splitlines()}
    assert lines["met          pack, share of the copy's speed"].endswith("90 % (wanted >= 85 %)")
    assert lines["missed       unpack, share of the copy's speed"].endswith("50 % (wanted >= 85 %)")
    assert lines["missed       if_steps int32 in CUDA, share of the copy's speed"].endswith("88 % (wanted >= 90 %)")
    assert "not measured if_steps float32, share of the copy's speed" in lines
    assert "not measured if_steps float32 in CUDA, share of the copy's speed" in lines
    shown = [line.split()[:2] for line in text.split("Kernels of one pass\n")[1].split("\n\n")[0].splitlines()]
    assert shown == [["pack", "triton"], ["unpack", "triton"], ["if_steps", "int32"], ["counts", "cuda"]]
    assert "met          resnet18 int8, batch 1: 0.2 ms (wanted <= 0.25 ms)" in text
    assert "missed       resnet18 int8, batch 1, time of the dense network's CUDA graph: 4x" in text
    assert text.startswith("NVIDIA H200, ") and "2026-01-02" in text
    # a row without the figure is not a missed target
    assert (
        bench.targets.TARGETS[0].judged([{"case": "gpu_elementwise", "operator": "if_steps float32"}]) == "not measured"
    )


def test_families_are_summed_up(bench):
    first = {"case": "gpu_family", "op": "pool_or", "kind": "int16", "size": "8x8x4, batch 1", "batch": 1, "T": 16,
             "triton_ms": 0.03, "cuda_ms": 0.02, "cuda_speedup": 1.5}  # fmt: skip
    conv = first | {"op": "conv_if", "kind": "int16 int8", "size": "3x3 64@32, batch 64, 10 % spikes", "rate": 0.1,
                    "triton_ms": 0.5, "cuda_ms": 1.0, "cuda_speedup": 0.5}  # fmt: skip
    sparse = conv | {"size": "3x3 64@32, batch 64, 1 % spikes", "rate": 0.01, "cuda_ms": 0.25, "cuda_speedup": 2.0}
    gate = first | {"op": "pool_gate", "cuda_ms": 0.06, "cuda_speedup": 0.5}
    text = bench.summary.text([first, sparse, conv, gate])
    table = text.split("CUDA against Triton, family by family\n")[1].split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in table] == ["pool_or", "conv_if", "conv_if", "pool_gate", "pool:", "conv_if:"]
    assert "10 % spikes" in table[1] and "Triton     0.5 ms  CUDA       1 ms     0.5x" in table[1]
    assert table[4:] == ["pool: cuda ahead in 1 of 2", "conv_if: cuda ahead in 1 of 2"]
    assert "CUDA against Triton, family by family\nnothing measured" in bench.summary.text([])
