"""Training for conversion: the activation with all its options, prepared networks, models, and that they convert."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fastsnn
from fastsnn import models
from fastsnn.train import BoundedReLU, parameter_groups, prepare


def test_levels_are_those_of_qcfs():
    layer, x = BoundedReLU(2.0, levels=4), torch.linspace(-1, 3, 401)
    wanted = 2.0 * (x * 4 / 2.0 + 0.5).floor().div(4).clamp(0, 1)
    assert torch.equal(layer(x), wanted)
    assert layer(x).unique().numel() == 5


def test_gradients_pass_the_floor_and_reach_the_bound():
    layer = BoundedReLU(2.0, levels=4)
    x = torch.tensor([-1.0, 0.3, 1.1, 5.0], requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 0.0]
    # d/dbound of bound floor(4 x / bound + 1/2) / 4, the floor as if it were not there: 0 inside but for what is
    # rounded, 1 above
    rounded = [(y * 4 + 0.5).floor() / 4 - y for y in torch.tensor([0.15, 0.55])]
    assert layer.bound.grad.item() == pytest.approx(1 + sum(r.item() for r in rounded), abs=1e-6)


@pytest.mark.parametrize("options", [{"slope": 0.25, "levels": 4}, {"shift": 8}, {"noise": 0.5}], ids=str)
def test_other_options(options):
    layer, x = BoundedReLU(2.0, **options), torch.rand(16, 125) * 2
    y = (x / 2 + (1 / 16 if "shift" in options else 0)).clamp(0, 1)
    if "slope" in options:
        y = 0.25 * y + 0.75 * (y * 4 + 0.5).floor() / 4
    assert torch.allclose(layer.eval()(x), 2 * y)
    spread = (layer.train()(x) - 2 * y).std().item()
    # a tenth is six standard errors of the deviation of 2,000 draws
    assert spread == pytest.approx(1.0 if "noise" in options else 0.0, abs=0.1)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"bound": 0.0}, "bound must be above 0"),
        ({"levels": 0}, "levels must be a whole number of at least 1"),
        ({"shift": 1.5}, "shift must be a whole number"),
        ({"slope": 0.5}, "needs levels"),
        ({"noise": -1.0}, "noise must not be negative"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        BoundedReLU(**options)


class Mixed(nn.Module):
    """A ReLU that is called twice, one that is a function, one that is a method, pools of both kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(16, 5)
        self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(2)

    def forward(self, x):
        x = self.pool(self.relu(self.conv1(x)))
        x = F.max_pool2d(self.relu(self.conv2(x)), kernel_size=2)
        return self.fc(F.relu(x.flatten(1)).relu())


class Branching(Mixed):
    def forward(self, x):
        # what a trace cannot see through
        return super().forward(x) if x.mean() > -100 else x


def test_every_call_has_an_activation_of_its_own():
    found = prepare(Mixed(), lambda: BoundedReLU(levels=4))
    assert sum(isinstance(module, BoundedReLU) for module in found.model.modules()) == 4
    assert sum(isinstance(module, nn.AvgPool2d) for module in found.model.modules()) == 2
    assert [change.was for change in found.changes] == ["ReLU", "MaxPool2d", "ReLU", "max_pool2d", "relu", "relu"]
    assert "relu_2: ReLU -> BoundedReLU(bound=8, levels=4)" in str(found)
    found.model(torch.randn(2, 3, 8, 8)).sum().backward()


def test_what_cannot_be_traced_has_its_modules_replaced():
    found = prepare(Branching())
    assert isinstance(found.model, Branching)
    assert [change.place for change in found.changes] == ["relu", "pool"]


def test_the_given_network_and_its_mode_are_left():
    model = Mixed().eval()
    found = prepare(model, max_pool="max")
    assert isinstance(model.relu, nn.ReLU) and not found.model.training
    assert isinstance(found.model.pool, nn.MaxPool2d)


def test_a_relu6_keeps_its_bound():
    model = prepare(nn.Sequential(nn.Linear(3, 3), nn.ReLU6())).model
    assert [m.bound.item() for m in model.modules() if isinstance(m, BoundedReLU)] == [6.0]


@pytest.mark.parametrize(
    "model, options, error, message",
    [
        (nn.Linear(3, 3), {}, ValueError, "Linear has no ReLU"),
        ("net", {}, TypeError, "must be a torch.nn.Module, got str"),
        (nn.ReLU(), {"max_pool": "mean"}, ValueError, "max_pool must be one of average, max"),
        (nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, dilation=2)), {}, ValueError, "an average pool has no dilation"),
    ],
)
def test_what_cannot_be_prepared(model, options, error, message):
    with pytest.raises(error, match=message):
        prepare(model, **options)


def test_groups_have_every_parameter_once():
    model = prepare(models.resnet20()).model
    groups = parameter_groups(model, 1e-3, 1e-4)
    assert [group["weight_decay"] for group in groups] == [1e-4, 1e-3, 0.0]
    assert len(groups[0]["params"]) == 19
    found = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(found) == sorted(id(parameter) for parameter in model.parameters())


@pytest.mark.parametrize(
    "make, parameters",
    [
        # He et al. 2016 give 0.27 million
        (models.resnet20, 269_722),
        (lambda: models.resnet20(shortcut="B"), 272_474),
        (models.resnet18, 11_173_962),
        # 14.7 million of convolutions, 19 million of linear layers
        (models.vgg16, 33_646_666),
    ],
)
def test_models_are_those_of_the_papers(make, parameters):
    model = make().eval()
    assert sum(p.numel() for p in model.parameters()) == parameters
    with torch.no_grad():
        assert model(torch.randn(1, 3, 32, 32)).shape == (1, 10)


def test_resnet20_holds_published_weights(data):
    """The same network as the one whose weights are at hand, under other names."""
    weights = torch.load(data / "resnet20-cifar10.th", weights_only=True, map_location="cpu")["state_dict"]
    model = models.resnet20()
    found = model.state_dict()
    kept = [value for name, value in weights.items() if not name.endswith("num_batches_tracked")]
    names = [name for name in found if not name.endswith("num_batches_tracked")]
    assert [tuple(found[name].shape) for name in names] == [tuple(value.shape) for value in kept]


@pytest.mark.parametrize("options", [{}, {"levels": 4}, {"levels": 4, "slope": 0.3}, {"noise": 0.1}], ids=str)
def test_a_prepared_network_converts_with_its_bounds(options):
    model = prepare(Mixed(), lambda: BoundedReLU(1.5, **options)).model.eval()
    snn = fastsnn.convert(model, torch.randn(16, 3, 8, 8), timesteps=8, precision="float64")
    assert {round(theta.item(), 5) for theta in snn.thresholds.values()} == {1.5}
    snn(torch.randn(2, 3, 8, 8))


def test_as_many_steps_as_levels_are_the_trained_network():
    """QCFS with parallel neurons: equal counts, so equal logits (Bu et al., ICLR 2022; Hao et al., ICML 2025)."""
    layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    model = prepare(layers, lambda: BoundedReLU(1.3, levels=8)).model.double().eval()
    x = torch.randn(64, 3, 2, 2, dtype=torch.float64)
    snn = fastsnn.convert(model, x, method="parallel", timesteps=8, precision="float64")
    # means over 8 steps of sums of 16 products below 2
    assert torch.allclose(snn(x), model(x), rtol=0, atol=1e-12)
