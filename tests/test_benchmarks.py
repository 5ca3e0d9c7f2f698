"""Whether the benchmarks measure what they say, notice wrong results, and print the rows that they took."""

import json
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fastsnn

ROOT = Path(__file__).resolve().parents[1]
MODULES = ("baselines", "checks", "memory", "networks", "rows", "table", "timing")
T = 8


class Small(nn.Module):
    """What the measured networks consist of: functional ReLUs, batch norm, a zero-padded shortcut, global pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 8, 3, 2, padding=1, bias=False), nn.BatchNorm2d(8)
        self.linear = nn.Linear(8, 5)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(x)) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        return self.linear(F.adaptive_avg_pool2d(F.relu(y), 1).flatten(1))


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield SimpleNamespace(**{name: import_module(name) for name in MODULES}, jelly=import_module("peers.jelly"))


@pytest.fixture(scope="module")
def images():
    return torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def small(images):
    torch.manual_seed(0)
    net = Small()
    with torch.no_grad():
        net.train()(images)
    return net.eval()


@pytest.fixture(scope="module")
def double(small, images):
    return fastsnn.convert(small, images, timesteps=T, precision="float64")


@pytest.fixture
def steps(bench, small, double):
    return bench.baselines.Steps(small, list(double.thresholds.values()), T, torch.float64)


# --- the dense network and the simulation of the spiking one


def test_folding_leaves_the_network_as_it_is(bench, small, images):
    folded = bench.baselines.folded(small)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert len(folded.activations) == 2
    run, layout = bench.baselines.dense(small, images)
    assert layout in bench.baselines.FORMATS
    with torch.no_grad():
        want = small(images)
        for got in (folded(images), run()):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_the_simulation_fires_as_the_network_does(bench, double, steps, images):
    with torch.no_grad():
        bench.checks.same_spikes(double, steps, images.double())
        channels_last = steps.to(memory_format=torch.channels_last)
        bench.checks.same_spikes(double, channels_last, images.double().to(memory_format=torch.channels_last))


def test_a_neuron_of_the_simulation_by_hand(bench):
    neuron = bench.baselines.IF(torch.tensor([1.0, 2.0]), 3, constant=True)
    spikes = neuron(torch.tensor([[0.5, 0.5]]))
    # 1 - 0.5 - 1;   1.5 - 2 - 0.5
    assert spikes.tolist() == [[1.0, 0.0], [0.0, 2.0], [1.0, 0.0]]
    varying = bench.baselines.IF(torch.tensor([1.0, 2.0]), 3, constant=False)
    assert torch.equal(varying(torch.full((3, 2), 0.5)), spikes)


def test_as_many_thresholds_as_activations(bench, small):
    with pytest.raises(ValueError, match="2 activations and 3 thresholds"):
        bench.baselines.Steps(small, [torch.ones(1)] * 3, T)


def test_spikingjelly_computes_the_same(bench, small, double, images):
    ann2snn, why = bench.jelly.found()
    if ann2snn is None:
        pytest.skip(why)
    run = bench.jelly.Converted(small, images, list(double.thresholds.values()), T)
    with torch.no_grad():
        want = double(images.double())
        for _ in range(2):  # the second run starts afresh as well
            # in float32 a spike here and there may differ, each worth at most a few hundredths of a logit
            bench.checks.near(run(images), want, 0.01 * want.abs().max().item(), "logits")


def test_a_missing_peer_says_what_to_do(bench, monkeypatch):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(bench.jelly, "import_module", absent)
    bench.jelly.found.cache_clear()
    found, why = bench.jelly.found()
    bench.jelly.found.cache_clear()
    assert found is None and "No module named" in why and "fastsnn[peers]" in why


# --- what notices a wrong result


def test_a_wrong_simulation_is_noticed(bench, small, double, images):
    thresholds = [1.1 * theta for theta in double.thresholds.values()]
    wrong = bench.baselines.Steps(small, thresholds, T, torch.float64)
    with torch.no_grad(), pytest.raises(bench.checks.WrongResult, match="neurons of relu fire as often"):
        bench.checks.same_spikes(double, wrong, images.double())


@pytest.mark.parametrize("precision", ["int32", "int16"])
def test_a_run_is_compared_with_the_reference(bench, small, images, precision):
    snn = fastsnn.convert(small, images, timesteps=T, precision=precision)
    logits, spikes = snn(images), snn.spikes(images)
    bench.checks.exact(snn, images, logits, spikes, (0, 15))
    with pytest.raises(bench.checks.WrongResult, match="logits"):
        bench.checks.exact(snn, images, logits + 0.1, spikes, (0, 15))
    with pytest.raises(bench.checks.WrongResult, match="words of relu are not the reference's"):
        bench.checks.exact(snn, images, logits, snn.spikes(images.flip(0)), (0, 15))


def test_drift_is_bounded_and_nan_never_passes(bench):
    one = torch.ones(2, 3)
    assert bench.checks.near(one + 0.5, one, 0.5, "x") == 0.5
    for wrong in (one + 0.6, one * torch.nan):
        with pytest.raises(bench.checks.WrongResult, match="x differ by"):
            bench.checks.near(wrong, one, 0.5, "x")


def test_rates_are_compared_layer_by_layer(bench):
    often, seldom = ({"a": fastsnn.SpikeTrain.pack(torch.arange(100).reshape(4, 25) < n)} for n in (50, 40))
    bench.checks.same_rates(often, often)
    with pytest.raises(bench.checks.WrongResult, match=r"a fires in 50.00% of the steps instead of 40.00%"):
        bench.checks.same_rates(often, seldom)
    bench.checks.usual_rate("vgg16", 16, 0.1)
    bench.checks.usual_rate("vgg16", 4, 0.3)
    bench.checks.usual_rate("resnet20", 16, 0.3)
    with pytest.raises(bench.checks.WrongResult, match=r"vgg16-224 was to fire in 8% to 14% .* not in 15\.2%"):
        bench.checks.usual_rate("vgg16-224", 16, 0.152)
    assert bench.checks.mean_rate(often | {"b": seldom["a"]}) == pytest.approx(0.45)


# --- the networks


def test_the_networks_have_the_usual_sizes(bench):
    # with a 3x3 stem and 10 classes; VGG with one linear layer
    assert sum(p.numel() for p in bench.networks.resnet18().parameters()) == 11_173_962
    assert sum(p.numel() for p in bench.networks.vgg16().parameters()) == 14_728_266
    large = {name: sum(p.numel() for p in build().parameters()) for name, build in bench.networks.LARGE.items()}
    assert large == {"resnet34-224": 21_797_672, "vgg16-224": 15_236_136}
    for build in bench.networks.RANDOM.values():
        assert build()(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_absent_weights_are_said(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(bench.networks, "DATA", tmp_path)
    with pytest.raises(bench.networks.Absent, match=r"resnet20-cifar10.th in \$FASTSNN_DATA"):
        bench.networks._resnet20()


# --- times and memory


def test_callables_take_turns(bench):
    calls = []
    runs = {name: (lambda name=name: calls.append(name)) for name in "ab"}
    times = bench.timing.interleaved(runs, rounds=3, least=3, alone=False)
    assert calls == list("ab" * 4)  # one round to warm up
    assert set(times) == {"a", "b"} and times["a"].rounds == 3
    assert 0 < times["a"].least <= times["a"].median < 1000


def test_the_budget_ends_the_rounds(bench):
    times = bench.timing.interleaved({"a": lambda: None}, rounds=1000, least=2, budget=0, warm=False, alone=False)
    assert times["a"].rounds == 2
    with pytest.raises(ValueError, match="needs callables"):
        bench.timing.interleaved({})


def test_a_busy_machine_gives_no_times(bench, monkeypatch):
    assert 0 <= bench.timing.free_processors()
    monkeypatch.setattr(bench.timing, "PATIENCE", 0.0)
    monkeypatch.setattr(bench.timing, "free_processors", lambda: 0.3)
    with pytest.raises(bench.timing.Busy, match=r"1 threads need as many free processors, but only 0.3 are free"):
        bench.timing.interleaved({"a": lambda: None})


def test_the_fastest_is_found(bench):
    assert bench.timing.fastest({"slow": lambda: sum(range(100_000)), "fast": lambda: None}) == "fast"


def test_memory_of_a_run(bench, tmp_path):
    if not bench.memory.CLEAR.exists():
        pytest.skip("reads /proc/self, which Linux has")
    net = nn.Sequential(nn.Linear(1, 2**20), nn.Linear(2**20, 1))
    found = bench.memory.measured(net, torch.randn(16, 1), tmp_path)
    # 16 times 2^20 float32; the small rest is the allocator's
    assert 60 < found["peak"] < 72
    assert found["idle"] > 50 and len(found["logits"]) == 16


# --- rows and the table


def fake(**change):
    row = {
        "case": "network",
        "network": "net",
        "weights": "published",
        "images": "noise",
        "precision": "int32",
        "batch": 1,
        "T": 16,
        "threads": 1,
        "rate": 0.1234,
        "ann_ms": 2.0,
        "snn_ms": 5.0,
        "ratio": 2.5,
        "torch_steps_speedup": 4.0,
        "spikingjelly_speedup": None,
        "spikingjelly": "SpikingJelly 2.0.0",
        "baseline": "the dense one",
        "processor": "CPU X",
        "instruction_set": "avx2",
        "torch": "2.11.0",
        "commit": "abc1234",
        "dirty": False,
        "utc": "2026-01-02T03:04:05+00:00",
    }
    return row | change


def test_rows_are_appended_and_the_newest_counts(bench, tmp_path):
    first = {"case": "network", "network": "a", "precision": "int32", "batch": 1, "T": 16, "snn_ms": 1.0}
    path = bench.rows.append(first, tmp_path)
    bench.rows.append({"case": "layer", "layer": "b", "precision": "int32"}, tmp_path)
    assert bench.rows.append(first | {"snn_ms": 2.0}, tmp_path) == path == tmp_path / f"{bench.rows.device()}.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line.get("snn_ms") for line in lines] == [1.0, None, 2.0]
    assert {"device", "processor", "threads", "torch", "python", "fastsnn", "commit", "dirty", "utc"} <= set(lines[0])
    assert lines[0]["threads"] == torch.get_num_threads()
    assert [row.get("snn_ms") for row in bench.rows.latest(path)] == [2.0, None]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_rows_of_other_threads_or_precisions_are_other_cases(bench, tmp_path):
    path = tmp_path / "x.jsonl"
    rows = [fake(), fake(threads=2), fake(precision="int16"), fake(batch=16), fake(T=8), fake(ratio=3.0)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    newest = bench.rows.latest(path)
    assert len(newest) == 5 and newest[0]["ratio"] == 3.0


def test_the_table_of_fake_rows(bench):
    rows = [
        fake(case="layer"),
        fake(T=8, batch=16, ann_ms=12.34, snn_ms=1234.5, torch_steps_speedup=None),
        fake(),
        fake(precision="int16", snn_ms=3.0, ratio=1.5, torch_steps_speedup=8.0, spikingjelly_speedup=None),
    ]
    head, rule, *lines = bench.table.render(rows).split("\n\n")[0].splitlines()
    assert head.count("|") == rule.count("|") == 12
    assert lines == [
        "| net | published | 12.3% | 16 | 1 | 1 | 2.00 | 5.00 (2.50) | 3.00 (1.50) | 4.0 / 8.0 | - |",
        "| net | published | 12.3% | 8 | 16 | 1 | 12.3 | 1234 (2.50) | - | - | - |",
    ]
    conditions = bench.table.render(rows).split("\n\n")[1]
    for said in ("CPU X (avx2)", "torch 2.11.0", "2026-01-02", "abc1234.", "the dense one", "noise"):
        assert said in conditions
    assert "with changes" in bench.table.render([fake(dirty=True)])
    with pytest.raises(ValueError, match="no rows of networks"):
        bench.table.render([fake(case="layer")])


def test_the_table_of_architectures(bench):
    rows = [
        fake(),
        fake(case="architecture", network="one"),
        fake(case="architecture", network="one", precision="int16", snn_ms=3.0, ratio=1.5),
        fake(case="architecture", network="two", ann_ms=12.34),
    ]
    table, conditions = bench.table.architectures(rows).split("\n\n")
    head, rule, *lines = table.splitlines()
    assert head.count("|") == rule.count("|") == 6
    assert lines == [
        "| one | 12.3% | 2.00 | 5.00 (2.50) | 3.00 (1.50) |",
        "| two | 12.3% | 12.3 | 5.00 (2.50) | - |",
    ]
    for said in ("CPU X (avx2)", "2026-01-02", "abc1234.", "T = 16, batch 1, 1 threads, published weights", "noise"):
        assert said in conditions
    with pytest.raises(ValueError, match="no rows of architectures"):
        bench.table.architectures([fake()])


def test_the_tables_go_between_their_markers(bench, tmp_path, monkeypatch, capsys):
    table, readme = bench.table, tmp_path / "README.md"
    monkeypatch.setattr(table, "RESULTS", tmp_path)
    other = fake(case="architecture")
    (tmp_path / "x.jsonl").write_text(f"{json.dumps(fake())}\n{json.dumps(other)}\n")
    begin, end = table.ARCHITECTURES
    arguments = ["--device", "x", "--readme", str(readme)]
    readme.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\n{begin}\nold\n{end}\nafter\n")
    assert table.main([*arguments, "--check"]) == 1
    assert "has another table than x.jsonl" in capsys.readouterr().err
    assert table.main(arguments) == 0
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith(f"{end}\nafter\n") and "\nold\n" not in text
    assert table.render([fake()]) in text and table.architectures([other]) in text
    assert table.main([*arguments, "--check"]) == 0

    # of a device without networks only the other table is written
    (tmp_path / "y.jsonl").write_text(f"{json.dumps(other | {'processor': 'CPU Y'})}\n")
    assert table.main(["--device", "y", "--readme", str(readme)]) == 0
    assert table.render([fake()]) in readme.read_text() and "CPU Y" in readme.read_text()

    (tmp_path / "z.jsonl").write_text(f"{json.dumps(fake(case='layer'))}\n")
    assert table.main(["--device", "z", "--readme", str(readme)]) == 2
    assert "there are no rows of networks" in capsys.readouterr().err

    for broken in ("no markers", f"{table.END}\n{table.BEGIN}", text + text):
        readme.write_text(broken)
        assert table.main(arguments) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and f"should have one line {table.BEGIN}" in err
        assert readme.read_text() == broken
    assert table.main(["--device", "nowhere", "--readme", str(readme)]) == 2
    assert "no rows of nowhere; there are those of: x" in capsys.readouterr().err


def test_the_readme_has_the_table_of_a_device(bench):
    text = (ROOT / "README.md").read_text()
    assert bench.table.BEGIN in text, "the README has no place for the table of benchmarks"
    files = [bench.rows.latest(path) for path in bench.rows.RESULTS.glob("*.jsonl")]
    # a GPU's file may have layers only, and its networks are in a table of its own
    networks = [rows for rows in files if any(row["case"] == "network" and "ann_ms" in row for row in rows)]
    table = bench.table
    assert any(table.rewritten(text, table.render(rows)) == text for rows in networks)
    others = [rows for rows in files if any(row["case"] == "architecture" for row in rows)]
    assert any(table.rewritten(text, table.architectures(rows), *table.ARCHITECTURES) == text for rows in others)
