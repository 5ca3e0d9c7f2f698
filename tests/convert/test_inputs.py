"""What people hand to convert, and to what it returns, by accident or not."""

import copy
import sys
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from zoo import Body, Lambda, conv, gap, images, randomise

import fastsnn
from fastsnn.errors import ConversionError


def small(*tail):
    layers = conv(3, 5), nn.BatchNorm2d(5), nn.ReLU(), conv(5, 5), nn.ReLU(), Lambda(gap), nn.Linear(5, 4)
    return randomise(nn.Sequential(*layers, *tail)).eval()


def photos(n=8):
    return images(n).float()


def convert(model, calibration=None, **options):
    calibration = photos() if calibration is None else calibration
    return fastsnn.convert(model, calibration, **{"timesteps": 4, "threshold": "max", **options})


@pytest.fixture(scope="module")
def snn():
    return convert(small())


# ---- models


def test_a_model_in_training_mode_is_converted_as_in_eval_mode():
    model = small(nn.Dropout(0.5))
    wanted = convert(model)(photos())
    assert torch.equal(convert(model.train())(photos()), wanted)
    assert model.training


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_floating_type(dtype):
    model = small().to(dtype)
    snn = convert(model, precision="float64")
    with torch.no_grad():
        wanted = copy.deepcopy(model).double()(photos().double())
    assert (snn.analog(photos(), clip=False) - wanted).abs().max() < 1e-9
    assert convert(model)(photos()).dtype == torch.float32


def test_a_model_without_parameters():
    snn = convert(Lambda(lambda x: F.relu(x - 0.5).mean((2, 3))), precision="float64")
    x = photos().double()
    assert (snn.analog(x, clip=False) - F.relu(x - 0.5).mean((2, 3))).abs().max() < 1e-9


class Switch(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = small()

    def forward(self, x):
        return self.net(x) if x.sum() > 0 else -self.net(x)


class Pair(Switch):
    def forward(self, x, y):
        return self.net(x) + self.net(y)


def test_what_cannot_be_traced_is_said_once(capfd):
    with pytest.raises(ConversionError, match=r"line \d+ of .*test_inputs.py: return self.net"):
        convert(Switch().eval())
    assert capfd.readouterr() == ("", ""), "torch's own log beside the error"


class Chatty(nn.Sequential):
    def forward(self, x):
        print("forward", file=sys.stderr)
        return super().forward(x)


def test_what_a_network_prints_is_printed(capfd):
    convert(Chatty(conv(3, 4), nn.ReLU()).eval())
    assert "forward" in capfd.readouterr().err


@pytest.mark.parametrize(
    "model, reasons",
    [
        pytest.param(nn.Sequential(nn.Flatten(), nn.Linear(432, 4)), ["no activation"], id="no_activation"),
        pytest.param(
            Switch(),
            ["Switch cannot be traced", "data-dependent", "return self.net(x) if x.sum() > 0"],
            id="control_flow",
        ),
        pytest.param(Pair(), ["Pair cannot be traced", "'y'"], id="two_inputs"),
        pytest.param(
            nn.Sequential(conv(3, 4), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU()),
            ["1 (", "without running statistics"],
            id="batch_norm_without_statistics",
        ),
        pytest.param(nn.Sequential(nn.ReLU(), nn.Softmax(0)), ["samples"], id="softmax_of_a_batch"),
        pytest.param(nn.Sequential(nn.ReLU(), Lambda(lambda x: x.amax((0, 1)))), ["samples"], id="largest_of_a_batch"),
        pytest.param(
            nn.Sequential(nn.ReLU(), Lambda(lambda x: torch.div(x, 2, rounding_mode="floor"))),
            ["rounding"],
            id="rounded",
        ),
        pytest.param(
            nn.Sequential(nn.ReLU(), Lambda(lambda x: x[:, :2] * x.mean(1))),
            ["number of samples"],
            id="other_dimensions",
        ),
        pytest.param(
            nn.Sequential(nn.ReLU(), Lambda(lambda x: torch.ones(12, 12) @ x)),
            ["products of matrices"],
            id="matrix_first",
        ),
        pytest.param(nn.Sequential(nn.ReLU(), Lambda(lambda x: x.mean(0, keepdim=True))), ["samples"], id="batch_mean"),
        pytest.param(nn.Sequential(nn.ReLU(), Lambda(lambda x: x.flip(0))), ["samples"], id="batch_flip"),
        pytest.param(nn.Sequential(nn.ReLU(), Lambda(lambda x: x - x.mean())), ["mean"], id="mean_of_everything"),
        pytest.param(nn.Sequential(nn.ReLU(), Lambda(torch.sort)), ["sort"], id="sort"),
        pytest.param(nn.Sequential(nn.ReLU(), Lambda(F.dropout)), ["dropout", "random"], id="dropout_left_on"),
        pytest.param(
            nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, return_indices=True)), ["only the first result"], id="indices"
        ),
        pytest.param(nn.Sequential(nn.ReLU(), Lambda(lambda x: torch.where(x > 1, x, 0.0))), ["where"], id="where"),
        pytest.param(nn.Sequential(nn.ReLU(), Lambda(torch.digamma)), ["digamma"], id="digamma"),
        pytest.param(nn.Sequential(nn.Flatten(2), nn.LSTM(144, 4, batch_first=True)), ["recurrent"], id="recurrent"),
    ],
)
def test_a_model_with_no_spiking_form_is_refused_with_its_reasons(model, reasons):
    with pytest.raises(ConversionError) as caught:
        convert(model.eval())
    for reason in reasons:
        assert reason in str(caught.value)


def test_a_model_that_cannot_be_copied_is_refused_with_a_way_out():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = nn.Sequential(torch.nn.utils.weight_norm(conv(3, 4)), nn.ReLU())
    # the weight is no leaf once the module has run
    model(photos())
    with pytest.raises(ConversionError, match="remove_weight_norm"):
        convert(model)
    torch.nn.utils.remove_weight_norm(model[0])
    assert convert(model)(photos()).isfinite().all()


def test_a_global_maximum_is_a_max_pool():
    model = randomise(Body(lambda m, x: m.fc(F.relu(m.a(x)).amax((2, 3))), a=conv(3, 4), fc=nn.Linear(4, 4))).double()
    snn = convert(model, precision="float64")
    with torch.no_grad():
        assert (snn.analog(photos(), clip=False) - model(photos().double())).abs().max() < 1e-9


def test_every_reason_is_listed():
    first, second, third, last = (Lambda(run) for run in (torch.digamma, torch.lgamma, torch.atan, torch.asinh))
    layers = conv(3, 4), first, conv(4, 4), second, third, nn.ReLU(), last
    with pytest.raises(ConversionError, match=r"^4 node\(s\) of Sequential") as caught:
        convert(nn.Sequential(*layers))
    lines = str(caught.value).splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["1", "3", "4", "6"]


@pytest.mark.parametrize(
    "inside, match",
    [
        (lambda x: x.to(torch.int32).float(), "_to_copy.* it rounds activations to torch.int32"),
        (lambda x: x.bool().float(), "_to_copy.* it rounds activations to torch.bool"),
        (lambda x: x + torch.rand(1), "rand.* it draws random numbers, which a conversion would freeze"),
        (lambda x: x + torch.randn(1, 4, 1, 1), "randn.* it draws random numbers"),
        (lambda x: x + torch.rand_like(x), "rand_like.* it draws random numbers"),
    ],
)
def test_what_would_be_silently_wrong_is_refused(inside, match):
    model = Body(lambda m, x: m.fc(inside(F.relu(m.a(x))).mean((2, 3))), a=conv(3, 4), fc=nn.Linear(4, 4))
    with pytest.raises(ConversionError, match=match):
        convert(model)


@pytest.mark.parametrize(
    "inside", [lambda x: x.double().float(), lambda x: x.clone(), lambda x: F.dropout(x, 0.5, False)]
)
def test_what_changes_nothing_is_not(inside):
    a, fc = conv(3, 4), nn.Linear(4, 4)
    plain, changed = (
        convert(Body(lambda m, x, f=f: m.fc(f(F.relu(m.a(x))).mean((2, 3))), a=a, fc=fc)) for f in (lambda x: x, inside)
    )
    assert torch.equal(plain(photos()), changed(photos()))


@pytest.mark.parametrize("tail", [nn.Softmax(1), nn.LogSoftmax(-1), nn.Sigmoid()], ids=lambda m: type(m).__name__)
def test_functions_of_the_output_apply_to_the_mean(tail):
    plain, ended = convert(small(), precision="float64"), convert(small(tail), precision="float64")
    x = photos()
    assert (ended(x) - tail(plain(x))).abs().max() < 1e-12
    over_time = [tail(logits) for logits in plain.logits_over_time(x)]
    assert (ended.logits_over_time(x) - torch.stack(over_time)).abs().max() < 1e-12


# ---- calibration


def test_every_form_of_calibration_gives_the_same_network():
    model, x = small(), photos(8)
    labelled = TensorDataset(x, torch.arange(8))
    forms = {
        "tensor": x,
        "list": list(x.split(3)),
        "tuples": [(part, None) for part in x.split(5)],
        "loader": DataLoader(labelled, batch_size=3),
        "bare loader": DataLoader(x, batch_size=4),
    }
    spikes = {name: convert(model, data).spikes(x) for name, data in forms.items()}
    for name, found in spikes.items():
        assert all(torch.equal(found[k].unpack(), v.unpack()) for k, v in spikes["tensor"].items()), name


def test_a_generator_is_read_once_to_its_end():
    x, taken = photos(6), []

    def stream():
        for i in range(6):
            taken.append(i)
            yield x[i : i + 1]

    got = convert(small(), stream())
    assert taken == list(range(6))
    for name, theta in convert(small(), x).thresholds.items():
        assert torch.allclose(got.thresholds[name], theta)


def test_one_image_is_enough():
    snn = convert(small(), photos(1))
    assert snn(photos(3)).isfinite().all()


@pytest.mark.parametrize(
    "data, error, match",
    [
        ([], ValueError, "at least one image"),
        (torch.zeros(0, 3, 12, 12), ValueError, "at least one image"),
        (None, TypeError, "NoneType"),
        (7, TypeError, "int"),
        (["image"], TypeError, "str"),
        ([{"x": 1}], TypeError, "dict"),
        ([()], TypeError, "tuple"),
        ([torch.zeros(())], ValueError, r"\[B, ...\]"),
        ([torch.zeros(2, 3, 12, 12), torch.zeros(2, 3, 8, 8)], ValueError, r"3, 8, 8"),
        ([torch.zeros(2, 4, 12, 12)], ConversionError, "2, 4, 12, 12"),
        (torch.zeros(2, 3, 12, 12, dtype=torch.uint8), TypeError, "floating point.*uint8"),
    ],
    ids=[
        "empty",
        "no_rows",
        "none",
        "number",
        "strings",
        "dicts",
        "empty_tuple",
        "scalar",
        "two_sizes",
        "channels",
        "uint8",
    ],
)
def test_calibration_that_is_none(data, error, match):
    model = small()
    with pytest.raises(error, match=match):
        fastsnn.convert(model, data, timesteps=4)


def test_values_that_are_not_finite_name_their_layer():
    model = small()
    model[3].weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"calibration: 4 .*NaN"):
        convert(model)
    x = photos()
    x[5, 0, 0, 0] = float("inf")
    with pytest.raises(ValueError, match=r"calibration: input .*infinite"):
        convert(small(), x)


def test_a_silent_layer_converts_to_a_silent_layer():
    model = small()
    model[3].weight.data.zero_()
    model[3].bias.data.fill_(-1)
    for precision in ("int32", "float64"):
        snn = convert(model, precision=precision)
        assert torch.equal(snn.thresholds["4"].double(), torch.ones(5).double())
        assert snn.spikes(photos())["4"].firing_rate() == 0
        with torch.no_grad():
            assert (snn(photos()) - model(photos())).abs().max() < 1e-6


def test_a_silent_channel_has_a_usable_threshold():
    model = small()
    model[3].weight.data[1] = 0
    model[3].bias.data[1] = 0
    for rule in ("max", "mse", "percentile:99"):
        snn = convert(model, threshold=rule)
        theta = snn.thresholds["4"]
        # not far below the others: weights are divided by it, and fixed point has to hold them
        assert theta[1] >= theta.max() / 100
        assert snn.spikes(photos())["4"].counts()[..., 1].sum() == 0


def test_images_of_zeros_calibrate():
    snn = convert(small(), torch.zeros(4, 3, 12, 12))
    assert snn(torch.zeros(2, 3, 12, 12)).isfinite().all()


def test_small_images_keep_their_precision():
    net = nn.Sequential(Lambda(lambda x: x * 1e4), *small()).eval()
    x = photos() * 1e-4
    wanted, got = (convert(net, x, precision=p, timesteps=8).spikes(x) for p in ("float64", "int32"))
    for name, train in wanted.items():
        assert (train.unpack() != got[name].unpack()).double().mean() < 1e-3


# ---- arguments


@pytest.mark.parametrize(
    "options, error, match",
    [
        ({"method": "magic"}, ValueError, "'magic'; there is opi"),
        ({"precision": "int4"}, ValueError, "int32, int16, int8, .*, float64, got 'int4'"),
        ({"max_pool": "most"}, ValueError, "lateral, before, gate, average, or, got 'most'"),
        ({"threshold": "median"}, ValueError, "threshold must be .*got 'median'"),
        ({"threshold": "percentile"}, ValueError, "threshold must be"),
        ({"threshold": "percentile:0"}, ValueError, "threshold must be"),
        ({"threshold": "percentile:101"}, ValueError, "threshold must be"),
        ({"threshold": "max:2"}, ValueError, "threshold must be"),
        ({"threshold": "bound"}, ConversionError, r"2, 4$"),
        ({"initial_potential": "half"}, ValueError, "initial_potential must be .*'half'"),
        ({"initial_potential": float("nan")}, ValueError, "within 16 thresholds"),
        ({"initial_potential": 17}, ValueError, "within 16 thresholds"),
        ({"reset": "zero"}, ValueError, "reset must be"),
        ({"comparator": "=>"}, ValueError, "comparator must be"),
        ({"timesteps": 0}, ValueError, "at least 1, got 0"),
        ({"timesteps": 2.0}, ValueError, "integer .*got 2.0"),
        ({"seed": "a"}, ValueError, "seed must be an integer, got 'a'"),
        ({"leak": 0.5}, TypeError, "leak"),
    ],
    ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None,
)
def test_unknown_arguments_are_refused(options, error, match):
    with pytest.raises(error, match=match):
        convert(small(), **options)


@pytest.mark.parametrize("model", [None, "resnet18", lambda x: x], ids=["none", "name", "function"])
def test_a_model_has_to_be_a_module(model):
    with pytest.raises(TypeError, match="Module"):
        convert(model)


# ---- the network that comes back


def test_inputs_that_do_not_fit_are_refused(snn):
    with pytest.raises(TypeError, match="int64"):
        snn(torch.zeros(2, 3, 12, 12, dtype=torch.int64))
    for shape in ((2, 2, 12, 12), (2, 3, 12, 11), (3, 12, 12), (1, 2, 3, 12, 12)):
        with pytest.raises(ValueError, match=r"takes inputs \[B, 3, 12, 12\]"):
            snn(torch.zeros(shape))
    with pytest.raises(ValueError, match="meta"):
        snn(torch.zeros(2, 3, 12, 12, device="meta"))
    for T in (0, -1, 1.5, "4"):
        with pytest.raises(ValueError, match="timesteps"):
            snn(photos(), T)


def test_images_in_any_layout_and_floating_type(snn):
    x = photos().half().float()
    wanted = snn(x)
    assert torch.equal(snn(x.to(memory_format=torch.channels_last)), wanted)
    assert torch.equal(snn(x.transpose(2, 3).contiguous().transpose(2, 3)), wanted)
    assert torch.equal(snn(x.repeat_interleave(2, 0)[::2]), wanted)
    assert torch.equal(snn(x.half()), wanted) and torch.equal(snn(x.double()), wanted)


def test_no_images_give_no_logits(snn):
    assert snn(torch.zeros(0, 3, 12, 12)).shape == (0, 4)
    assert snn.logits_over_time(torch.zeros(0, 3, 12, 12)).shape == (4, 0, 4)


def test_huge_pixels_saturate_at_their_own_sign(snn):
    for size in (1e4, 1e12, 1e30):
        x = torch.full((1, 3, 12, 12), size)
        for sign in (1, -1):
            large, larger = snn.spikes(sign * x), snn.spikes(sign * x * 2)
            assert all(torch.equal(large[k].unpack(), larger[k].unpack()) for k in large)


def test_it_cannot_be_trained(snn):
    with pytest.raises(RuntimeError, match="inference only"):
        snn.train()
    assert snn.eval() is snn and not snn.training
    x = photos().requires_grad_()
    out = snn(x)
    assert not out.requires_grad
    with pytest.raises(RuntimeError):
        out.sum().backward()
    assert not [p for p in snn.parameters() if p.requires_grad]
