"""What fastsnn.compare_methods gives: the networks' own answers, in rows, whatever fails or interrupts it."""

import json

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import fastsnn
from fastsnn.comparison import Comparison, Interrupted, run
from fastsnn.comparison.schema import Conditions, Dense, Document, Row
from fastsnn.errors import ConversionError, OutOfMemory
from fastsnn.methods.opi import OPI

ZERO = {"V(0) = 0": ("opi", {"initial_potential": 0.0})}


class Net(nn.Module):
    """A convolution, a residual block, a pool and a head."""

    def __init__(self):
        super().__init__()
        self.a, self.bn, self.relu = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU()
        self.b, self.relu2 = nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()
        self.pool, self.head = nn.AvgPool2d(4), nn.Linear(24, 3)

    def forward(self, x):
        x = self.relu(self.bn(self.a(x)))
        return self.head(self.pool(self.relu2(self.b(x) + x)).flatten(1))


def images(n, seed=1):
    return torch.randn(n, 2, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def labels(model):
    """The dense network is right on all images but one."""
    with torch.no_grad():
        found = model(images(20)).argmax(1)
    found[0] = (found[0] + 1) % 3
    return found


@pytest.fixture
def loader(labels):
    return DataLoader(TensorDataset(images(20), labels), batch_size=8)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(run, "ROUNDS", 3)
    monkeypatch.setattr(run, "WARM_UP", 0)


def compared(model, loader, *args, **more):
    return fastsnn.compare_methods(model, loader, *args, **{"calibration": images(32, 2), "progress": False, **more})


@pytest.fixture(scope="module")
def whole(model, labels):
    return compared(model, [(images(20)[:8], labels[:8]), (images(20)[8:], labels[8:])], {"opi": "opi", **ZERO}, [5, 2])


def test_the_document_is_what_the_schema_says(whole):
    document = whole.document
    assert set(document) == Document.__required_keys__ and whole.partial is None
    assert all(set(row) == Row.__required_keys__ for row in whole.rows)
    assert set(whole.dense) == Dense.__required_keys__ and set(document["conditions"]) == Conditions.__required_keys__
    assert document["labels"] == ["opi", "V(0) = 0"] and document["timesteps"] == [2, 5]
    jobs = [(row["label"], row["timesteps"]) for row in whole.rows]
    assert jobs == [("opi", 2), ("V(0) = 0", 2), ("opi", 5), ("V(0) = 0", 5)]
    given = document["conditions"]
    assert (given["images"], given["calibration_images"], given["batch"], given["precision"]) == (20, 32, 8, "int32")
    assert document["command"] == "fastsnn.compare_methods(Net, loader, [opi, V(0) = 0], [2, 5])"
    json.dumps(document, allow_nan=False)


def test_rows_are_the_networks_own_answers(whole, model, labels):
    x = images(20)
    for row in whole.rows:
        start = {"opi": 0.5, "V(0) = 0": 0.0}[row["label"]]
        T = row["timesteps"]
        snn = fastsnn.convert(model, images(32, 2), timesteps=T, initial_potential=start)
        right = (snn(x).argmax(1) == labels).double().mean().item()
        assert row["accuracy"] == pytest.approx(right, abs=1e-12) and row["failed"] is None
        assert row["standard_error"] == pytest.approx((right * (1 - right) / 20) ** 0.5, abs=1e-12)
        spikes = sum(train.counts().sum().item() for train in snn.spikes(x).values())
        assert row["spikes"] == pytest.approx(spikes / 20, rel=1e-12)
        assert (row["images"], row["input_steps"], row["bits"], row["causal"]) == (20, T, 1, True)
        assert row["method"] == "opi" and row["settings"] == str(snn.method)
        assert 0 < row["milliseconds_p20"] <= row["milliseconds"] <= row["milliseconds_p80"] and row["seconds"] > 0


def test_additions_are_the_profiles(whole, model, labels):
    snn = fastsnn.convert(model, images(32, 2), timesteps=5)
    more = {"rounds": 3, "budget": 0.1, "compile": False, "progress": False, "energy_seconds": 0.01}
    document = fastsnn.profile(snn, (images(20), labels), dense=model, **more).document
    row = next(row for row in whole.rows if row["label"] == "opi" and row["timesteps"] == 5)
    assert row["additions"] == pytest.approx(sum(document["totals"]["operations"].values()) / 20, rel=1e-12)
    assert whole.dense["multiplications"] == document["totals"]["dense_macs"]


def test_the_dense_network_on_the_same_images(whole, model):
    dense = whole.dense
    assert dense["accuracy"] == 0.95 and dense["images"] == 20 and dense["name"] == "Net"
    assert dense["standard_error"] == pytest.approx((0.95 * 0.05 / 20) ** 0.5)
    assert dense["parameters"] == sum(p.numel() for p in model.parameters())
    assert 0 < dense["milliseconds_p20"] <= dense["milliseconds"] <= dense["milliseconds_p80"] and dense["how"]


def test_tables_show_every_number(whole):
    text = str(whole)
    assert "Net: 2 methods, int32, on cpu" in text and "20 images, calibrated on 32; timed on a batch of 8" in text
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    header = next(line for line in text.splitlines() if "T =" in line)
    assert [w for w in header.split() if w.isdigit()] == ["2", "5"]
    for row in whole.rows:
        shown = f"{100 * row['accuracy']:.1f} ± {100 * row['standard_error']:.1f}"
        assert next(c for c in cells if c[0] == row["label"])[[2, 5].index(row["timesteps"]) + 1] == shown
        (cost,) = [c for c in cells if c[0] == row["label"] and len(c) > 3 and c[1] == str(row["timesteps"])]
        assert cost[2:4] == [str(row["timesteps"]), "1"]
    assert [c for c in cells if len(c) == 3][-1] == ["dense", "95.0 ± 4.9", "95.0 ± 4.9"]
    assert cells[-1][0] == "dense" and "mult." in cells[-1][5]


def test_files_are_written_and_read(model, loader, tmp_path):
    pytest.importorskip("matplotlib")
    files = [tmp_path / f"c{suffix}" for suffix in (".json", ".png", ".svg", ".pdf")]
    result = compared(model, loader, ["opi"], 2, save=files, command="the command", notes=["a note"], batch=3)
    again = Comparison.load(files[0])
    assert again.document == result.document and str(again) == str(result)
    assert again.document["command"] == "the command" and "note: a note" in str(again)
    assert again.document["conditions"]["batch"] == 3
    begins = [file.read_bytes()[:5] for file in files[1:]]
    assert begins == [b"\x89PNG\r", b"<?xml", b"%PDF-"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.json", "c.pdf", "c.png", "c.svg"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "is not a comparison: Expecting"),
        ("[]", 'should say "schema": "fastsnn.comparison"'),
        ('{"schema": "fastsnn.comparison", "version": 9}', "has version 9 of fastsnn.comparison, this fastsnn reads 1"),
        ('{"schema": "fastsnn.comparison", "version": 1}', "is not a whole comparison: it lacks command"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        Comparison.load(tmp_path / "x.json")


class Refuses(OPI):
    """Cannot convert for more than 2 steps."""

    name = "refuses"

    def threshold(self, activation, bound, timesteps):
        if timesteps > 2:
            raise ConversionError("more than\n  2 steps")
        return super().threshold(activation, bound, timesteps)


def test_a_method_that_fails_is_a_row_that_says_why(model, loader, tmp_path):
    pytest.importorskip("matplotlib")
    result = compared(model, loader, [Refuses()], [2, 3, 4], save=tmp_path / "c.svg")
    good, *bad = result.rows
    assert good["failed"] is None and good["accuracy"] is not None
    assert [row["failed"] for row in bad] == ["more than 2 steps"] * 2
    assert all(row["accuracy"] is row["spikes"] is row["milliseconds"] is None for row in bad)
    assert "failed" in str(result) and "refuses, T = 3, 4: more than 2 steps" in str(result)


def test_what_was_known_before_a_failure_is_kept(model, loader, monkeypatch):
    calls = []

    def full(self, x, T=None):
        calls.append(T)
        raise OutOfMemory("1 image would fit")

    monkeypatch.setattr(run.Converted, "run", full)
    (row,) = compared(model, loader, ["opi"], 2).rows
    assert calls and row["failed"] == "1 image would fit" and row["accuracy"] is not None
    assert row["milliseconds"] is None


def test_a_figure_of_failures_alone_shows_the_dense_network(model, loader):
    pytest.importorskip("matplotlib")
    result = compared(model, loader, {"bound": ("opi", {"threshold": "bound"})}, 2)
    assert 'threshold="bound" needs bounded activations' in result.rows[0]["failed"]
    figure = result.plot()
    assert [line.get_gid() for line in figure.axes[0].lines] == ["dense"]


def test_the_figure_shows_the_rows(whole, tmp_path):
    pytest.importorskip("matplotlib")
    figure = whole.plot()
    figure.savefig(tmp_path / "f.png", dpi=50)
    for axes, key in zip(figure.axes, ("timesteps", "additions"), strict=True):
        lines = [line for line in axes.lines if line.get_gid() == "method" and line.get_linestyle() != "None"]
        for label, line in zip(("opi", "V(0) = 0"), lines, strict=True):
            rows = [row for row in whole.rows if row["label"] == label]
            assert list(line.get_xdata()) == [row[key] for row in rows]
            assert list(line.get_ydata()) == pytest.approx([100 * row["accuracy"] for row in rows])
        styles = {(line.get_color(), line.get_marker()) for line in lines}
        assert len(styles) == 2 and any(line.get_gid() == "dense" for line in axes.lines)
    assert figure.axes[0].get_xscale() == "log" and figure.axes[0].xaxis.get_transform().base == 2
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["2", "5"]
    assert not hasattr(figure.canvas, "manager") or figure.canvas.manager is None


def stops(monkeypatch, at, error=KeyboardInterrupt):
    """Conversion number `at` never ends."""
    real, count = run.convert, []

    def converting(*args, **kwargs):
        count.append(1)
        if len(count) == at:
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(run, "convert", converting)


def test_ctrl_c_keeps_finished_rows(model, loader, monkeypatch, tmp_path):
    stops(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt) as caught:
        compared(model, loader, {"opi": "opi", **ZERO}, [2, 3], save=tmp_path / "c.json")
    assert isinstance(caught.value, Interrupted)
    result = Comparison.load(tmp_path / "c.json")
    assert result.document == caught.value.comparison.document and len(result.rows) == 1
    assert result.partial == "interrupted while converting by V(0) = 0 for T = 2, after 1 of 4 rows"
    assert f"PARTIAL: {result.partial}" in str(result)


def test_ctrl_c_before_the_first_row_leaves_nothing(model, loader, monkeypatch, tmp_path):
    stops(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt) as caught:
        compared(model, loader, ["opi"], [2], save=tmp_path / "c.json")
    assert not isinstance(caught.value, Interrupted) and not list(tmp_path.iterdir())


def test_an_unforeseen_error_saves_what_was_finished(model, loader, monkeypatch, tmp_path):
    stops(monkeypatch, 2, RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        compared(model, loader, ["opi"], [2, 3], save=tmp_path / "c.json")
    assert Comparison.load(tmp_path / "c.json").partial.startswith("stopped by RuntimeError: broken, while converting")


def test_streams_are_read_once_and_the_model_is_left_as_it_was(labels):
    model = Net().train()
    result = compared(model, iter([(images(20), labels)]), ["opi"], [2, 3], calibration=iter([images(8), images(4)]))
    assert [row["images"] for row in result.rows] == [20, 20] and model.training and model.bn.training
    assert result.document["conditions"]["calibration_images"] == 12


class Once:
    """Gives its batches to the first two readers only: the look at the first batch, and the dense network."""

    def __init__(self, batches):
        self.batches, self.readers = batches, 0

    def __iter__(self):
        self.readers += 1
        return iter(self.batches if self.readers <= 2 else [])


def test_a_loader_that_runs_dry_is_noticed(model, labels):
    with pytest.raises(TypeError, match="it gave 20 images at first, 0 later; give one that can be read again"):
        compared(model, Once([(images(20), labels)]), ["opi"], [2])


def test_mistakes_are_answered_before_anything_is_converted(model, labels, monkeypatch, tmp_path):
    monkeypatch.setattr(run.Run, "all", lambda self: pytest.fail("the run began"))
    good = (images(20), labels)
    for loader, args, more, error, message in [
        ([], ["opi"], {}, ValueError, "compare_methods needs at least one image, got none"),
        (images(4), ["opi"], {}, ValueError, "compare_methods needs labels: batches .*; got one tensor"),
        ([images(4)], ["opi"], {}, ValueError, "compare_methods needs labels: .*; got a batch of images only"),
        (3, ["opi"], {}, TypeError, r"compare_methods needs batches \(images, labels\).*; got int"),
        (good, ["magic"], {}, ValueError, "unknown method 'magic'"),
        (good, ["opi"], {"timesteps": [4, 0]}, ValueError, "timesteps must be an integer of at least 1, got 0"),
        (good, ["opi"], {"timesteps": []}, ValueError, "timesteps must name at least one T, got none"),
        (good, ["opi"], {"timesteps": "4"}, ValueError, "timesteps must be an integer of at least 1, got '4'"),
        (good, ["opi"], {"batch": 0}, ValueError, "batch must be at least 1 image, got 0"),
        (good, ["opi"], {"precision": "int4"}, ValueError, "precision must be one of int32.*got 'int4'"),
        (good, ["opi"], {"options": {"max_pool": "sum"}}, ValueError, "max_pool must be one of .*got 'sum'"),
        (good, ["opi"], {"options": {"colour": 1}}, TypeError, "method opi has no option 'colour'"),
        (good, ["opi"], {"calibration": []}, ValueError, "calibration needs at least one image, got none"),
        (good, ["opi"], {"save": tmp_path / "c.html"}, ValueError, "output file should end in .json or .png"),
        (good, ["opi"], {"save": tmp_path / "absent" / "c.json"}, ValueError, "no folder"),
        ((images(4)[:, :1], labels[:4]), ["opi"], {}, ValueError, r"does not take images of shape \[1, 8, 8\]"),
        ((images(4).to("meta"), labels[:4]), ["opi"], {}, ValueError, "the network is on cpu and the images on meta"),
    ]:
        with pytest.raises(error, match=message):
            compared(model, loader, args, **more)
    with pytest.raises(TypeError, match=r"model must be the dense torch\.nn\.Module, got int"):
        compared(3, good)
    with pytest.raises(ValueError, match=r"needs a model that gives logits \[20, classes\], got tuple"):
        compared(Pair(), good)


class Pair(nn.Module):
    def forward(self, x):
        return x, x


def test_labels_beyond_the_classes(model, labels):
    with pytest.raises(ValueError, match="labels should be below 3, the number of classes that the dense network"):
        compared(model, (images(20), labels + 2), ["opi"], [2])
