"""Early exit: every image leaves with the answer that the whole run had at that step."""

import pytest
import torch
from torch import nn

import fastsnn
from fastsnn.early import CRITERIA, certainty, confidence, early_exit, exit_threshold, margin

T = 12


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 4)
    )
    with torch.no_grad():
        net[6].weight.mul_(30)
    return net.eval()


@pytest.fixture(scope="module")
def snn(model):
    return fastsnn.convert(model, images(32), timesteps=T)


def images(n=23):
    return torch.randn(n, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def expected(snn, x, threshold, criterion, scale, steps):
    """First step at which the criterion is met, and the logits there, from the whole run."""
    logits = snn.logits_over_time(x, steps)
    found, at = [], []
    for i in range(len(x)):
        step = next((t for t in range(steps) if CRITERIA[criterion](scale * logits[t, i]) > threshold), steps - 1)
        found.append(logits[step, i])
        at.append(step + 1)
    return torch.stack(found), torch.tensor(at)


@pytest.mark.parametrize("chunk", [1, 3, 4, 32])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_everybody_leaves_with_the_answer_of_the_whole_run(snn, criterion, chunk):
    x = images()
    for threshold in (0.0, 0.4, 0.8, 1.0):
        logits, steps = expected(snn, x, threshold, criterion, 0.5, T)
        exits = early_exit(snn, x, threshold, criterion=criterion, scale=0.5, chunk=chunk)
        assert torch.equal(exits.steps, steps)
        # float32 sums of 32 spikes times weights, perhaps in another order in a smaller batch
        assert torch.allclose(exits.logits, logits, rtol=1e-5, atol=1e-4)
        assert torch.equal(exits.computed, (-(-steps // chunk) * chunk).clamp(max=T))
    assert early_exit(snn, x, 1.0, chunk=chunk).steps.tolist() == [T] * len(x)
    assert len(set(early_exit(snn, x, 0.6, scale=0.5).steps.tolist())) > 2


def test_batches_and_long_runs(snn):
    x = images(9)
    whole = early_exit(snn, x, 0.9, timesteps=40)
    alone = [early_exit(snn, one[None], 0.9, timesteps=40) for one in x]
    assert whole.steps.tolist() == [exits.steps.item() for exits in alone]
    empty = early_exit(snn, x[:0], 0.9)
    assert empty.logits.shape == (0, 4) and empty.steps.shape == (0,)


def test_methods_that_settle(model):
    x = images()
    srp = fastsnn.convert(model, images(32), method="srp", timesteps=T)
    logits, steps = expected(srp, x, 0.8, "confidence", 0.5, T)
    exits = early_exit(srp, x, 0.8, scale=0.5, chunk=2)
    assert torch.equal(exits.steps, steps) and torch.allclose(exits.logits, logits, rtol=1e-5, atol=1e-4)


def test_criteria_by_hand():
    logits = torch.tensor([[0.7, 0.2, 0.1], [1 / 3] * 3]).log()
    assert torch.allclose(confidence(logits), torch.tensor([0.7, 1 / 3]))
    assert torch.allclose(margin(logits), torch.tensor([0.5, 0.0]), atol=1e-6)
    entropy = -sum(p * torch.tensor(p).log().item() for p in (0.7, 0.2, 0.1))
    assert torch.allclose(
        certainty(logits), torch.tensor([1 - entropy / torch.tensor(3.0).log().item(), 0.0]), atol=1e-6
    )


@pytest.mark.parametrize("loss", [0.0, 0.05, 0.3])
def test_the_threshold_costs_no_more_than_was_allowed(snn, model, loss):
    x = images(200)
    with torch.no_grad():
        labels = model(x).argmax(1)
    data = list(zip(x.split(50), labels.split(50), strict=True))
    threshold = exit_threshold(snn, data, loss=loss)
    exits = early_exit(snn, x, threshold)
    full = (snn(x).argmax(1) == labels).double().mean()
    assert (exits.logits.argmax(1) == labels).double().mean() >= full - loss - 1e-9
    if loss:
        assert exits.steps.double().mean() < T


def test_what_is_refused(snn, model):
    x = images(2)
    for more, message in [
        ({"threshold": 1.5}, "threshold must be between 0 and 1, got 1.5"),
        ({"criterion": "hope"}, "criterion must be one of confidence, entropy, margin, got 'hope'"),
        ({"chunk": 33}, "chunk 1 to 32, got 1.0 and 33"),
        ({"scale": 0}, "scale must be above 0"),
        ({"timesteps": 0}, "timesteps must be an integer of at least 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            early_exit(snn, x, **{"threshold": 0.5, **more})
    parallel = fastsnn.convert(model, images(32), method="parallel")
    with pytest.raises(ValueError, match="early exit needs an answer after each step, which method parallel"):
        early_exit(parallel, x, 0.5)
    maps = fastsnn.convert(model[:5], images(32))
    with pytest.raises(ValueError, match="one output of logits"):
        early_exit(maps, x, 0.5)
    with pytest.raises(ValueError, match="exit_threshold needs at least one image, got none"):
        exit_threshold(snn, [])
    with pytest.raises(ValueError, match="loss must be at least 0 and below 1"):
        exit_threshold(snn, [], loss=1)
