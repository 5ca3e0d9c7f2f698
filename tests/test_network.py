"""What users see of a converted network: logits, accuracy and spikes over time, thresholds, the report, copies."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import fastsnn

PRECISIONS = ["int32", "int16", "int8", "float32", "float16", "bfloat16", "float64"]


def build():
    torch.manual_seed(2)
    layers = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3), nn.ReLU()
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(45, 8), nn.Hardtanh(0, 1.5), nn.Linear(8, 4)).eval()
    with torch.no_grad():
        # so that the last neurons are neither silent nor always on
        model[4].weight *= 3
        model[7].weight *= 3
    return model


@pytest.fixture(scope="module")
def x():
    return torch.randn(6, 3, 12, 12, generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def networks(x):
    model = build()
    return {p: fastsnn.convert(model, x, timesteps=10, precision=p, max_pool="before") for p in PRECISIONS}


@pytest.fixture(params=PRECISIONS)
def snn(request, networks):
    return networks[request.param]


def dense(snn, x, timesteps=None):
    return {name: train.unpack() for name, train in snn.spikes(x, timesteps).items()}


def test_the_last_entry_over_time_is_the_answer(snn, x):
    over_time = snn.logits_over_time(x)
    assert over_time.shape == (10, 6, 4)
    assert torch.equal(over_time[-1], snn(x))
    for T in (1, 3, 31, 32, 33):
        assert torch.equal(snn.logits_over_time(x, T)[-1], snn(x, T))


def test_every_entry_over_time_is_a_run_of_that_length(snn, x):
    over_time = snn.logits_over_time(x)
    for t in range(1, 11):
        assert torch.equal(over_time[t - 1], snn(x, t))


def test_long_runs_go_in_chunks(snn, x):
    whole = snn.spikes(x, 70)
    assert all(train.T == 70 and len(train.words) == 3 for train in whole.values())
    over_time = snn.logits_over_time(x, 70)
    assert over_time.shape == (70, 6, 4)
    for T in (10, 40):
        assert all(torch.equal(spikes[:, :T], dense(snn, x, T)[k]) for k, spikes in dense(snn, x, 70).items())
        assert torch.equal(over_time[:T], snn.logits_over_time(x, T))
    assert torch.equal(over_time[-1], snn(x, 70))


def test_logits_are_the_head_on_the_firing_rates(networks, x):
    snn, model = networks["float64"], build()
    last = list(snn.thresholds)[-1]
    rates = snn.spikes(x)[last].counts().double() / 10 * snn.thresholds[last]
    with torch.no_grad():
        assert (snn(x) - model[-1].double()(rates)).abs().max() < 1e-9


def test_every_call_starts_afresh(snn, x):
    first = snn(x)
    snn(torch.zeros_like(x), 3)
    assert torch.equal(snn(x), first)
    assert all(torch.equal(a, b) for a, b in zip(dense(snn, x).values(), dense(snn, x).values(), strict=True))


def test_spikes_have_the_shape_of_their_layer(snn, x):
    found = snn.spikes(x)
    assert list(found) == list(snn.thresholds) == list(snn.initial_potentials)
    assert [tuple(train.shape) for train in found.values()] == [(6, 5, 5, 6), (6, 3, 3, 5), (6, 8)]
    for train in found.values():
        assert train.T == 10 and train.planes == 1
        assert train.unpack().shape == (1, 10, *train.shape)
        assert 0 < train.firing_rate() < 1


def test_thresholds_and_potentials_are_those_of_the_model(networks):
    for snn in networks.values():
        thresholds = snn.thresholds
        assert [tuple(theta.shape) for theta in thresholds.values()][:2] == [(6,), (5,)]
        assert list(thresholds.values())[2] == 1.5
        assert all(torch.all(v == 0.5) for v in snn.initial_potentials.values())
        for name, theta in thresholds.items():
            assert torch.allclose(theta.double(), networks["float64"].thresholds[name], rtol=1e-6)


def test_accuracy_over_time_is_counted_image_by_image(snn, x):
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    wanted = (snn.logits_over_time(x).argmax(2) == labels).double().mean(1)
    assert wanted.min() < wanted.max() or wanted.max() > 0
    data = TensorDataset(x, labels)
    for batch in (1, 4, 6):
        got = snn.accuracy_over_time(DataLoader(data, batch_size=batch), progress=False)
        assert got.dtype == torch.float64 and torch.equal(got, wanted)
    assert torch.equal(snn.accuracy_over_time([(x, labels.tolist())], 3, progress=False), wanted[:3])


def test_accuracy_over_time_refuses_what_it_cannot_count(networks, x):
    snn = networks["int32"]
    for loader, error, match in (
        ([], ValueError, "at least one image"),
        ([x], TypeError, "images, labels"),
        ([(x,)], TypeError, "images, labels"),
        ([(x, torch.zeros(6, 4))], ValueError, r"\[6, 4\]"),
        ([(x, torch.zeros(5))], ValueError, r"\[5\]"),
    ):
        with pytest.raises(error, match=match):
            snn.accuracy_over_time(loader, progress=False)


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.early, self.late = nn.Conv2d(3, 4, 3), nn.Linear(4, 3), nn.Linear(4, 5)

    def forward(self, x):
        x = torch.relu(self.conv(x))
        return {"map": x, "heads": [self.early(x.mean((2, 3))), self.late(x.mean((2, 3)))]}


def test_several_outputs_keep_their_structure(x):
    snn = fastsnn.convert(Heads(), x, timesteps=5)
    out, over_time = snn(x), snn.logits_over_time(x)
    assert list(out) == ["map", "heads"] and isinstance(out["heads"], list)
    assert out["map"].shape == (6, 4, 10, 10) and over_time["map"].shape == (5, 6, 4, 10, 10)
    assert torch.equal(over_time["map"][-1], out["map"])
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    for output, key in ((1, 0), (2, 1)):
        wanted = (over_time["heads"][key].argmax(2) == labels).double().mean(1)
        assert torch.equal(snn.accuracy_over_time([(x, labels)], progress=False, output=output), wanted)


def test_outputs_that_are_no_tensors_come_back(x):
    class Noted(Heads):
        def forward(self, x):
            return {**super().forward(x), "scale": 2.5, "none": None}

    snn = fastsnn.convert(Noted(), x, timesteps=3)
    for out in (snn(x), snn.logits_over_time(x)):
        assert list(out) == ["map", "heads", "scale", "none"] and out["scale"] == 2.5 and out["none"] is None


def test_analog_clips_at_the_thresholds(networks, x):
    for precision in ("float32", "float64"):
        snn = networks[precision]
        with torch.no_grad():
            wanted = build().double()(x.double())
        assert (snn.analog(x, clip=False) - wanted).abs().max() < 1e-5
        # what a long run comes near to
        assert (snn(x, 2000) - snn.analog(x)).abs().max() < 0.05 * wanted.abs().max()
    with pytest.raises(ValueError, match="int32"):
        networks["int32"].analog(x)


def test_the_report_names_every_layer(networks):
    text = str(networks["int32"].report)
    lines = text.splitlines()
    assert lines[0].startswith("Sequential -> opi(") and "T=10" in lines[0] and "int32" in lines[0]
    for words in (
        ["conv", "conv2d+batch_norm", "6x10x10", "once, constant over time"],
        ["max pool", "6x5x5", "once, constant over time"],
        ["IF", "6x5x5", "constant current, computed once"],
        ["conv + IF", "conv2d+relu", "5x3x3"],
        ["linear + IF", "linear+hardtanh", "8", "1.5"],
        ["linear", "once, on the mean over time"],
    ):
        assert any(all(word in line for word in words) for line in lines), f"{words}\n{text}"
    assert all(len(line) == len(line.rstrip()) for line in lines)


def test_repr_is_short_about_what_matters(networks):
    first = repr(networks["int32"]).splitlines()[1]
    assert "timesteps=10" in first and "precision=int32" in first and "opi" in first


def test_copies_and_moves_keep_the_spikes(snn, x):
    wanted = snn(x)
    assert torch.equal(copy.deepcopy(snn)(x), wanted)
    assert snn.to("cpu") is snn and torch.equal(snn(x), wanted)
    assert str(snn.device) == "cpu"
    assert torch.equal(pickle.loads(pickle.dumps(snn))(x), wanted)
    file = io.BytesIO()
    torch.save(snn, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x), wanted)


def test_the_state_is_all_there_is(x):
    # of two networks with the same structure, one takes over all numbers of the other
    source, target = (fastsnn.convert(build(), data, timesteps=10, precision="float32") for data in (x, 0.3 * x))
    assert not torch.equal(source(x), target(x))
    target.load_state_dict(source.state_dict())
    assert torch.equal(source(x), target(x))
