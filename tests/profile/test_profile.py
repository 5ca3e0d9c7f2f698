"""What fastsnn.profile gives as a whole: consistent with the network's own answers, and clear about what it lacks."""

import json

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import fastsnn
from fastsnn.profile import EnergyModel, Interrupted, Profile
from fastsnn.profile import dense as denses
from fastsnn.profile import run as stages
from fastsnn.profile.schema import Document, missing
from fastsnn.profile.schema_layers import Layer

T = 5
PEAKS = {"bytes_a_second": 1e9, "operations_a_second": 1e9, "how": "of the test"}


class Dense(nn.Module):
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
    return Dense().eval()


@pytest.fixture(scope="module")
def snn(model):
    return fastsnn.convert(model, images(32), timesteps=T)


@pytest.fixture
def labels(model):
    with torch.no_grad():
        return model(images(20)).argmax(1)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No micro-benchmark, no watching of an idle machine."""
    monkeypatch.setattr(stages, "peaks", lambda *_: dict(PEAKS))
    monkeypatch.setattr(stages, "measured", lambda *_: {"not_measurable": "the test"})


def profiled(network, loader, **more):
    given = {"rounds": 3, "budget": 0.1, "compile": False, "progress": False, **more}
    return fastsnn.profile(network, loader, **given)


def batched(labels, size=8):
    return DataLoader(TensorDataset(images(20), labels), batch_size=size)


def test_the_document_is_what_the_schema_says_and_what_the_network_says(snn, model, labels):
    profile = profiled(snn, batched(labels), dense=model, batch=4, command="the command", notes=["a note"])
    document = profile.document
    assert set(document) == Document.__required_keys__ and profile.partial is None
    assert all(set(layer) == Layer.__required_keys__ for layer in document["layers"])
    assert document["command"] == "the command" and document["notes"][0] == "a note"
    assert document["conditions"] == {"images": 20, "batches": 3, "batch": 4, "threads": 1, "labelled": True}
    assert document["network"]["dense"] == "Dense" and document["network"]["timesteps"] == T
    assert document["network"]["parameters"] == sum(p.numel() for p in model.parameters())
    (curve,) = document["accuracy"]["curves"]
    assert curve["accuracy"] == snn.accuracy_over_time(batched(labels), progress=False).tolist()
    assert document["accuracy"]["dense"] == 1.0
    trains = snn.spikes(images(20))
    by_name = {layer["name"]: layer for layer in document["layers"]}
    for name, train in trains.items():
        layer = by_name[name]
        assert layer["rate"] == pytest.approx(train.firing_rate(), rel=1e-12)
        assert sum(layer["spikes"]) == train.counts().sum()
        assert layer["spread"]["silent"] == (train.counts().sum(0) == 0).sum()
        assert sum(layer["spread"]["histogram"]) == layer["neurons"] == train.shape[1:].numel()
    json.dumps(document, allow_nan=False)


def test_totals_are_sums_and_the_curve_ends_there(snn, model, labels):
    document = profiled(snn, batched(labels), dense=model, energy_models=["horowitz-fp32"]).document
    totals, layers, images_ = document["totals"], document["layers"], 20
    additions = sum(sum(o["by_step"]) for layer in layers for o in layer["operations"])
    assert sum(totals["operations"].values()) == additions > 0
    assert set(totals["operations"]) == {"synapses", "residual", "pooling"}
    assert set(totals["macs"]) == {"first layer", "readout"}
    assert totals["neuron_updates"] == T * totals["neurons"] == T * 2 * 6 * 64
    assert totals["dense_flops"] == 2 * totals["dense_macs_with_borders"] > 2 * totals["dense_macs"]
    (curve,), (modelled,) = document["accuracy"]["curves"], document["energy"]["modelled"]
    assert curve["operations"][-1] == pytest.approx(additions / images_, rel=1e-12)
    assert curve["spikes"][-1] == pytest.approx(totals["spikes"] / images_, rel=1e-12)
    assert curve["joules"]["horowitz-fp32"] == modelled["spiking_by_step"]
    assert curve["joules"]["horowitz-fp32"][-1] == pytest.approx(modelled["spiking"], rel=1e-12)
    assert sum(modelled["parts"].values()) == pytest.approx(modelled["spiking"], rel=1e-12)
    # by hand: every addition and update 0.9 pJ, every multiplication 4.6 pJ
    by_hand = 0.9 * (additions / images_ + totals["neuron_updates"]) + 4.6 * sum(totals["macs"].values())
    assert modelled["spiking"] == pytest.approx(by_hand * 1e-12, rel=1e-12)
    assert modelled["dense"] == pytest.approx(4.6e-12 * totals["dense_macs"], rel=1e-12) and modelled["bits"] == 3


def test_what_was_timed(snn, model, labels):
    document = profiled(snn, batched(labels), dense=model).document
    time = document["time"]
    assert [run["name"] for run in time["runs"]] == ["spiking", "dense, eager", "dense, compiled"]
    spiking, eager, compiled = time["runs"]
    assert compiled["milliseconds"] == {"not_measurable": "it was not asked for"} and compiled["ratio"] is None
    assert spiking["ratio"] == spiking["milliseconds"]["p50"] / eager["milliseconds"]["p50"] and eager["ratio"] == 1
    assert spiking["images_a_second"] == pytest.approx(8e3 / spiking["milliseconds"]["p50"])
    assert [t for t, _ in time["by_steps"]] == [1, 2, 4, 5]
    layers = {layer["name"]: layer for layer in document["layers"]}
    assert layers["relu"]["milliseconds"] > 0 and layers["relu"]["dense_milliseconds"] > 0
    assert [layer["layer"] for layer in document["roofline"]["layers"]] == ["relu2"]
    assert {"spiking", "dense, eager"} == set(document["memory"]["peak_bytes"])


def test_one_network_without_a_dense_one_and_without_labels(snn):
    profile = profiled(snn, images(6))
    document = profile.document
    assert document["accuracy"] == {"not_measurable": "the data has no labels"}
    assert "the data has no labels: accuracy is left out" in document["notes"]
    assert [run["name"] for run in document["time"]["runs"]] == ["spiking"]
    assert missing(document["totals"]["dense_flops"])
    activation = document["layers"][0]["activation"]
    assert activation == {"not_measurable": "precision int32 holds no activations; give the dense network"}
    assert "not measurable here: the data has no labels" in str(profile)


@pytest.mark.parametrize("size", [1, 7, 20])
def test_counts_do_not_depend_on_batches(snn, labels, size):
    document, whole = (profiled(snn, batched(labels, n)).document for n in (size, 20))
    for key in ("spikes", "operations", "rate", "spread"):
        assert [layer[key] for layer in document["layers"]] == [layer[key] for layer in whole["layers"]]
    assert document["accuracy"]["curves"] == whole["accuracy"]["curves"]


def test_other_networks_are_overlaid(snn, model, labels):
    other = fastsnn.convert(model, images(32), timesteps=3, initial_potential=0.0)
    document = profiled(snn, batched(labels), beside={"V(0) = 0": other}).document
    first, second = document["accuracy"]["curves"]
    assert second["name"] == "V(0) = 0" and len(second["accuracy"]) == 3 and len(first["accuracy"]) == T
    assert second["accuracy"] == other.accuracy_over_time(batched(labels), progress=False).tolist()
    assert second["spikes"][-1] != first["spikes"][2]


def test_a_model_of_the_users_own(snn):
    mine = EnergyModel("mine", mac=1.0, accumulate=1.0, source="my chip")
    document = profiled(snn, images(4), energy_models=[mine, "neuromorphic"]).document
    assert [m["model"] for m in document["energy"]["modelled"]] == ["mine", "neuromorphic"]


def test_a_module_around_a_converted_network(snn, model, labels):
    document = profiled(nn.Sequential(nn.Identity(), snn), batched(labels), dense=model).document
    assert document["network"]["source"] == "module" and document["network"]["timesteps"] == T
    assert document["accuracy"]["not_measurable"].startswith("Sequential gives its output at the end only")
    alone = profiled(snn, batched(labels)).document
    assert document["totals"]["operations"] == alone["totals"]["operations"]
    assert missing(document["roofline"]) and document["time"]["by_steps"] == []


@pytest.mark.parametrize("method", ["cos", "ftbc", "srp"])
def test_methods_that_need_more_steps_or_allow_fewer(model, labels, method):
    snn = fastsnn.convert(model, images(32), method=method, timesteps=T)
    document = profiled(snn, batched(labels)).document
    assert [t for t, _ in document["time"]["by_steps"]] == ([4, 5] if method == "cos" else [1, 2, 4, 5])


def test_the_network_is_left_as_it_was(snn, labels):
    model = Dense().train()
    profiled(snn, batched(labels), dense=model)
    assert model.training and model.bn.training and not model._forward_hooks


def test_files_are_written_and_read(snn, model, labels, tmp_path):
    files = [tmp_path / "p.json", tmp_path / "p.html"]
    profile = profiled(snn, batched(labels), dense=model, save=files)
    again = Profile.load(files[0])
    assert again.document == json.loads(json.dumps(profile.document)) and str(again) == str(profile)
    assert files[1].read_text().startswith("<!DOCTYPE html>")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.html", "p.json"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "is not a profile: Expecting"),
        ("[]", 'should say "schema": "fastsnn.profile"'),
        ('{"schema": "fastsnn.profile", "version": 9}', "has version 9 of fastsnn.profile, this fastsnn reads 1"),
        ('{"schema": "fastsnn.profile", "version": 1, "layers": []}', "is not a whole profile: it lacks accuracy"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        Profile.load(path)


def fails(monkeypatch):
    monkeypatch.setattr(stages, "step", lambda *_: pytest.fail("the run began"))


@pytest.mark.parametrize("name", ["absent/p.json", "p.txt", "p"])
def test_paths_are_checked_before_the_run(snn, tmp_path, monkeypatch, name):
    fails(monkeypatch)
    with pytest.raises(ValueError, match="output file"):
        profiled(snn, images(4), save=tmp_path / name)


def test_data_that_cannot_be_used(snn, model, labels):
    with pytest.raises(ValueError, match="profile needs at least one image, got none"):
        profiled(snn, [])
    with pytest.raises(ValueError, match="profile needs at least one image, got none"):
        profiled(snn, images(0))
    with pytest.raises(ValueError, match="the network is on cpu and the images on meta; move one of them"):
        profiled(snn, images(4).to("meta"))
    with pytest.raises(ValueError, match="the network is on cpu and the dense network on meta; move one of them"):
        profiled(snn, images(4), dense=Dense().to("meta"))
    with pytest.raises(TypeError, match=r"profile needs batches \(images, labels\), .*, got a batch of type str"):
        profiled(snn, ["image"])
    with pytest.raises(TypeError, match="got int"):
        profiled(snn, 3)
    with pytest.raises(ValueError, match=r"this network takes inputs \[B, 2, 8, 8\]"):
        profiled(snn, torch.randn(3, 2, 9, 9))
    with pytest.raises(ValueError, match="labels should be below 3"):
        profiled(snn, [(images(20), labels + 2)])
    with pytest.raises(ValueError, match=r"needs one label an image, \[20\], got \[19\]"):
        profiled(snn, [(images(20), labels[1:])])


def test_arguments_that_make_no_sense(snn, model):
    for more, error, message in [
        ({"rounds": 2}, ValueError, "rounds of at least 3"),
        ({"batch": 0}, ValueError, "batch must be at least 1 image, got 0"),
        ({"timesteps": 0}, ValueError, "timesteps must be an integer of at least 1, got 0"),
        ({"dense": snn}, TypeError, "dense must be the dense torch.nn.Module, got SpikingNetwork"),
        ({"beside": {"it": model}}, TypeError, "beside must hold converted networks, it is none"),
        ({"energy_models": ["free"]}, ValueError, "energy model must be one of"),
    ]:
        with pytest.raises(error, match=message):
            profiled(snn, images(2), **more)
    with pytest.raises(TypeError, match=r"network must be a torch\.nn\.Module, got int"):
        profiled(3, images(2))
    with pytest.raises(ValueError, match="Sequential decides by itself, got timesteps=3"):
        profiled(nn.Sequential(snn), images(2), timesteps=3)


def test_nan_logits_are_named(snn, model, labels):
    x = images(20)
    x[13, 0, 0, 0] = torch.nan
    # fixed point takes NaN for 0; the dense network does not
    with pytest.raises(ValueError, match="got NaN: a logit of the dense network on image 13 of the data"):
        profiled(snn, list(x.split(8)), dense=model)
    broken = fastsnn.convert(model, images(32), timesteps=T)
    next(layer for layer in broken.program.layers.values() if layer.name == "head").bias[0] = torch.nan
    with pytest.raises(ValueError, match=r"got NaN: a logit of opi.* on image 0 of the data"):
        profiled(broken, images(4))


class Stops:
    """Batches, and then Ctrl-C."""

    def __init__(self, batches, after):
        self.batches, self.after = batches, after

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        yield from list(self.batches)[: self.after]
        raise KeyboardInterrupt


def test_ctrl_c_while_counting_keeps_whole_batches(snn, labels, tmp_path):
    batches = list(batched(labels))
    with pytest.raises(KeyboardInterrupt) as caught:
        profiled(snn, Stops(batches, 2), save=[tmp_path / "p.json", tmp_path / "p.html"])
    assert isinstance(caught.value, Interrupted)
    document = Profile.load(tmp_path / "p.json").document
    assert document["partial"] == "interrupted while counting spikes, after 2 of 3 batches"
    whole = profiled(snn, batches[:2]).document
    assert [layer["spikes"] for layer in document["layers"]] == [layer["spikes"] for layer in whole["layers"]]
    assert document["accuracy"] == whole["accuracy"]
    assert document["time"] == {"not_measurable": "interrupted before it was measured"}
    assert "PARTIAL: interrupted while counting spikes" in str(caught.value.profile)
    assert "interrupted while counting spikes" in (tmp_path / "p.html").read_text()


def test_ctrl_c_before_the_first_batch_leaves_nothing(snn, labels, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "step", stop)
    with pytest.raises(KeyboardInterrupt) as caught:
        profiled(snn, batched(labels), save=tmp_path / "p.json")
    assert not isinstance(caught.value, Interrupted) and not list(tmp_path.iterdir())


def test_ctrl_c_while_measuring_keeps_what_was_measured(snn, model, labels, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "peak_bytes", stop)
    with pytest.raises(Interrupted) as caught:
        profiled(snn, batched(labels), dense=model)
    document = caught.value.profile.document
    assert document["partial"] == "interrupted while measuring memory, after 3 of 3 batches"
    assert not missing(document["time"]) and missing(document["memory"]) and missing(document["roofline"])
    assert document["layers"][0]["milliseconds"] > 0 and document["layers"][0]["activation"] is None
    assert not model.training and model._forward_hooks == {}


@pytest.mark.slow
def test_everything_for_real(snn, model, labels, monkeypatch):
    monkeypatch.undo()
    document = fastsnn.profile(snn, batched(labels), dense=model, rounds=3, progress=False).document
    compiled = document["time"]["runs"][2]
    assert compiled["name"] == denses.COMPILED and (missing(compiled["milliseconds"]) or compiled["ratio"] > 0)
    assert document["roofline"]["peaks"]["operations_a_second"] > 0
    measured = document["energy"]["measured"]
    assert missing(measured) or {run["name"] for run in measured["runs"]} == {"spiking", "dense, eager"}
