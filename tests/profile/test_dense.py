"""The dense network as a baseline: the same result, however it is run."""

import pytest
import torch
from torch import nn

from fastsnn.profile import dense


def net():
    torch.manual_seed(0)
    relu = nn.ReLU()
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), relu, nn.Conv2d(4, 4, 3), relu, nn.Flatten())


def test_the_fastest_eager_run_gives_the_same():
    model, x = net().eval(), torch.randn(3, 2, 8, 8)
    model[1].running_mean.normal_()
    run, how = dense.eager(model, x)
    assert "batch norms folded" in how
    # folding rounds each product once more: a few units in the last place of float32
    with torch.inference_mode():
        torch.testing.assert_close(run(), model(x), rtol=1e-5, atol=1e-5)


class Untraceable(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


class Changed(nn.Module):
    """torch.fx traces a copy, and takes the number of calls for a constant: that is not what runs."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x * (self.calls if type(x) is torch.Tensor else 7)


@pytest.mark.parametrize("kind", [Untraceable, Changed])
def test_what_cannot_be_traced_runs_as_it_is(kind):
    _, how = dense.eager(kind(), torch.ones(2, 3))
    assert how == "as it is"


def test_flops_are_of_one_image():
    model, x = net().eval(), torch.randn(3, 2, 8, 8)
    assert dense.flops(model, x) == dense.flops(model, x[:1]) == 2 * (36 * 9 * 2 * 4 + 16 * 9 * 4 * 4)
    assert "not_measurable" in dense.flops(nn.ReLU(), x)


def test_calls_of_modules_are_timed_in_order():
    model, x = net().eval(), torch.randn(3, 2, 8, 8)
    found = dense.call_milliseconds(model, x, 3)
    assert {path: len(calls) for path, calls in found.items()} == {"0": 1, "1": 1, "2": 2, "3": 1, "5": 1}
    assert all(time >= 0 for calls in found.values() for time in calls)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_eval_mode_is_for_a_while_only():
    model = net().train()
    model[1].eval()
    with pytest.raises(RuntimeError), dense.evaluated(model):
        assert not any(m.training for m in model.modules())
        raise RuntimeError
    assert model.training and not model[1].training and model[0].training


def test_why_something_does_not_compile():
    class Refuses(nn.Module):
        def forward(self, x):
            raise ValueError("not this one")

    assert "not this one" in dense.compiled(Refuses(), torch.ones(2))["not_measurable"]
