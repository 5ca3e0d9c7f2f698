"""Methods that correct layers one after another: by hand, interrupted and gone on with, saved and loaded."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import fastsnn
from fastsnn.convert import parameters
from fastsnn.errors import ConversionError
from fastsnn.methods import METHODS, Correcting, build
from fastsnn.neurons import Graded

T = 6
CORRECTING = [name for name in METHODS if isinstance(build(name), Correcting)]


class Net(nn.Module):
    """A residual block with an average pool in front of it, and two layers of vectors."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1), nn.Linear(24, 12)
        self.head, self.pool = nn.Linear(12, 3), nn.AvgPool2d(4)
        self.relu1, self.relu2, self.relu3 = nn.ReLU(), nn.ReLU(), nn.ReLU6()

    def forward(self, x):
        x = self.relu1(self.a(x))
        x = self.relu2(self.b(x) + x)
        return self.head(self.relu3(self.c(self.pool(x).flatten(1))))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Net().eval()


def images(n=40, seed=1):
    return torch.randn(n, 2, 8, 8, generator=torch.Generator().manual_seed(seed))


def dense(model, x):
    """Activations of the dense network by layer, channels last."""
    found = {}
    hooks = [
        getattr(model, name).register_forward_hook(lambda m, a, out, name=name: found.update({name: out.clone()}))
        for name in ("relu1", "relu2", "relu3")
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return {name: out.movedim(1, -1).double() for name, out in found.items()}


def rates(snn, x):
    """Mean spikes a step over images, by layer."""
    return {name: train.counts().double().mean(0) / train.T for name, train in snn.spikes(x).items()}


def error(snn, model, x, over):
    """Of each layer, the root mean square of what is off in the means over `over`, in units of the threshold."""
    wanted = {name: out.mean(0) / snn.thresholds[name].double() for name, out in dense(model, x).items()}
    off = {name: wanted[name] - rate for name, rate in rates(snn, x).items()}
    return {name: over(d.reshape(-1, d.shape[-1])).square().mean().sqrt().item() for name, d in off.items()}


def channels(d):
    return d.mean(0)


def neurons(d):
    return d


@pytest.mark.parametrize("method, over", [("lcp", channels), ("acp", neurons), ("ftbc", channels)])
def test_means_come_closer_to_the_dense_ones(model, method, over):
    x = images()
    plain, corrected = (fastsnn.convert(model, x, method=m, timesteps=T) for m in ("opi", method))
    before, after = error(plain, model, x, over), error(corrected, model, x, over)
    # the bound of 6 is far above what the third layer's neurons ever reach
    assert before.pop("relu3") == after.pop("relu3")
    assert sum(after.values()) < 0.7 * sum(before.values())


def test_the_first_layers_shift_is_the_error_of_its_mean(model):
    x = images()
    plain, corrected = (fastsnn.convert(model, x, method=m, timesteps=T) for m in ("opi", "lcp"))
    wanted = dense(model, x)["relu1"].mean(0) / plain.thresholds["relu1"].double()
    shift = (wanted - rates(plain, x)["relu1"]).mean((0, 1))
    # means of float32 activations over 2560 values: 2^-24 each, random signs
    assert torch.allclose(corrected.calibration.corrections["relu1"].shift, shift, atol=1e-6)
    step = corrected.program.neurons["relu1"].bias - plain.program.neurons["relu1"].bias
    assert torch.allclose(step.double() / 2**24, shift, atol=1e-6)


def test_the_first_layers_potentials_are_the_error_of_each_neuron(model):
    x = images()
    plain, corrected = (fastsnn.convert(model, x, method=m, timesteps=T) for m in ("opi", "acp"))
    wanted = dense(model, x)["relu1"].mean(0) / plain.thresholds["relu1"].double()
    expected = 0.5 + T * (wanted - rates(plain, x)["relu1"])
    assert torch.allclose(corrected.initial_potentials["relu1"], expected, atol=1e-5)


def test_rts_adds_half_a_threshold_by_the_last_step(model):
    x = images()
    opi, rts = (fastsnn.convert(model, x, method=m, timesteps=T, precision="float64") for m in ("opi", "rts"))
    assert all((v == 0).all() for v in rts.initial_potentials.values())
    # under a constant current a neuron has fired floor((T I + theta / 2) / theta) times either way, unless it is a tie
    same = opi.spikes(x)["relu1"].counts() == rts.spikes(x)["relu1"].counts()
    assert same.double().mean() > 0.999
    assert not torch.equal(opi.spikes(x, 1)["relu1"].counts(), rts.spikes(x, 1)["relu1"].counts())
    with pytest.raises(ValueError, match=r"rts starts its neurons at 0, got initial_potential=0\.5"):
        build("rts", initial_potential=0.5)


def replayed(current, wanted, rate, beta):
    """FTBC's replay of one layer, neuron by neuron."""
    batch, *_, last = wanted.shape
    v = [[0.5] * wanted[0].numel() for _ in range(batch)]
    for t in range(len(current)):
        errors = [[] for _ in range(last)]
        for b in range(batch):
            for i, (now, a) in enumerate(
                zip(current[t][b].flatten().tolist(), wanted[b].flatten().tolist(), strict=True)
            ):
                m = v[b][i] + now - beta[t][i % last]
                d = float(m >= 1) - a
                errors[i % last].append(d)
                m -= d
                v[b][i] = m - float(m >= 1)
        # the bias of this step is what the next batch sees
        beta[t] = [old + rate * sum(e) / len(e) for old, e in zip(beta[t], errors, strict=True)]
    return beta


def test_ftbc_is_its_replay(model):
    x = images(12)
    plain = fastsnn.convert(model, x, timesteps=T, precision="float64")
    wanted = dense(model, x)["relu1"] / plain.thresholds["relu1"].double()
    layer = plain.program.neurons["relu1"]
    (term,) = layer.terms
    current = term(x.movedim(1, -1).double()) + layer.bias
    beta = [[0.0] * 6 for _ in range(T)]
    for k, part in enumerate((slice(0, 5), slice(5, 10), slice(10, 12))):
        beta = replayed([current[part]] * T, wanted[part], 0.5 / (1 + 0.5 * k), beta)
    found = fastsnn.convert(model, list(x.split(5)), method="ftbc", timesteps=T).calibration.corrections["relu1"]
    # sums of at most 500 float32 numbers; a neuron within rounding of its threshold may fire otherwise: 1 in 320 * 0.5
    assert torch.allclose(found.schedule, -torch.tensor(beta, dtype=torch.float64), atol=4e-3)
    assert found.schedule.shape == (T, 6)


@pytest.mark.parametrize("method", CORRECTING)
def test_how_images_are_given_does_not_matter(model, method):
    x = images(24)
    loader = DataLoader(TensorDataset(x, torch.zeros(24)), batch_size=24)
    whole, loaded, listed = (fastsnn.convert(model, data, method=method, timesteps=T) for data in (x, loader, [x]))
    for other in (loaded, listed):
        assert all(
            torch.equal(a.words[0], b.words[0])
            for a, b in zip(whole.spikes(x).values(), other.spikes(x).values(), strict=True)
        )
    if build(method).rereads:
        with pytest.raises(TypeError, match=f"method {method} reads the calibration images several times"):
            fastsnn.convert(model, iter([x]), method=method)


@pytest.mark.parametrize("precision", ["int32", "int16", "float64"])
@pytest.mark.parametrize("method", METHODS)
def test_a_calibration_file_gives_the_same_spikes(model, method, precision, tmp_path):
    if method in ("cos", "parallel", "pascal", "tpp") and precision == "int16":
        pytest.skip("refused: it needs more than 16 bits")
    if build(method).neuron.floating and precision != "float64":
        pytest.skip("refused: its neurons have no fixed point")
    if isinstance(build(method).neuron, Graded) and precision == "float64":
        pytest.skip("keeps what int32 does")
    if method == "dc":
        pytest.skip("refused: an activation of this network has an upper bound")
    x = images()
    snn = fastsnn.convert(model, x, method=method, timesteps=T, precision=precision, max_pool="average")
    path = snn.calibration.save(tmp_path / "c.safetensors")
    again = fastsnn.convert(model, path, precision=precision)
    assert (again.timesteps, str(again.method)) == (T, str(snn.method)) and str(again.report) == str(snn.report)
    for name, train in snn.spikes(x).items():
        assert torch.equal(train.words[0], again.spikes(x)[name].words[0])
    assert torch.equal(snn(x), again(x))
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


def test_files_that_do_not_fit_are_refused(model, tmp_path):
    path = fastsnn.convert(model, images(), method="lcp", timesteps=T).calibration.save(tmp_path / "c.safetensors")
    other = Net().eval()
    cases = [
        ({}, other, "is of another network, or other weights"),
        ({"timesteps": 8}, model, r"is of T = 6, asked for was 8"),
        ({"max_pool": "or"}, model, "is of max_pool='lateral', asked for was 'or'"),
        ({"method": "opi"}, model, "is of method lcp with"),
        ({"threshold": "max"}, model, "is of method lcp with"),
    ]
    for more, network, message in cases:
        with pytest.raises(ConversionError, match=message):
            fastsnn.convert(network, path, **more)
    with pytest.raises(ValueError, match='lacks what int16 needs: calibrate with precision="int16"'):
        fastsnn.convert(model, path, precision="int16")
    with pytest.raises(FileNotFoundError, match="no such calibration file"):
        fastsnn.convert(model, tmp_path / "absent.safetensors")
    broken = tmp_path / "b.safetensors"
    broken.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match="is not a calibration file"):
        fastsnn.convert(model, broken)
    save_file(load_file(path), broken)
    with pytest.raises(ValueError, match=r"its metadata should say fastsnn\.calibration"):
        fastsnn.convert(model, broken)
    with pytest.raises(ValueError, match=r"output file should end in \.safetensors"):
        fastsnn.convert(model, images(), checkpoint=tmp_path / "c.pt")


@pytest.mark.parametrize("method", ["lcp", "ftbc"])
def test_an_interrupted_calibration_goes_on(model, method, tmp_path, monkeypatch):
    x, path = images(), tmp_path / "c.safetensors"
    cls = type(build(method))
    real, seen = cls.correct, []

    def stops(self, given, name):
        seen.append(name)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(self, given, name)

    monkeypatch.setattr(cls, "correct", stops)
    with pytest.raises(KeyboardInterrupt):
        fastsnn.convert(model, x, method=method, timesteps=T, checkpoint=path)
    assert list(parameters.load(path).corrections) == seen[:2]
    with pytest.raises(ValueError, match="calibration was interrupted before it was done: it lacks relu3"):
        fastsnn.convert(model, path)
    resumed = fastsnn.convert(model, x, method=method, timesteps=T, checkpoint=path)
    assert seen == ["relu1", "relu2", "relu3", "relu3"]
    monkeypatch.undo()
    whole = fastsnn.convert(model, x, method=method, timesteps=T)
    assert all(
        torch.equal(a.words[0], b.words[0])
        for a, b in zip(whole.spikes(x).values(), resumed.spikes(x).values(), strict=True)
    )
    finished = fastsnn.convert(model, path)
    assert torch.equal(finished(x), whole(x))
    with pytest.raises(ValueError, match="begun with other calibration images"):
        fastsnn.convert(model, images(seed=2), method=method, timesteps=T, checkpoint=path)


def test_every_method_has_a_card_that_says_what_it_needs():
    for name in METHODS:
        method = build(name)
        assert method.name == name and method.card.title and method.card.source
        assert (
            str(build(name, **method.options)) == str(method)
            and method.options == build(name, **method.options).options
        )
        # methods that read images several times say so
        assert ("L" in method.card.passes) == (name in CORRECTING and name != "rts")


@pytest.mark.parametrize("rate", [0, -1, 1.5])
def test_ftbc_refuses_rates_that_make_no_sense(rate):
    with pytest.raises(ValueError, match="rate must be above 0 and at most 1"):
        build("ftbc", rate=rate)
