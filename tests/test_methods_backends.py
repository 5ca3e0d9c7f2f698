"""Every conversion method gives the reference's spikes on every backend: the odd network, in fixed point."""

import pytest
import torch
from odd_network import Odd, odd_images, reference

import fastsnn
from fastsnn import _cuda, _env, _native, _triton
from fastsnn.methods import METHODS, build

T = 5
# neurons of exponentials have no fixed point: tests/methods/test_msat.py
FIXED = [name for name in METHODS if not build(name).neuron.floating]
ABSENT = {"native": _native.reason, "triton": _triton.reason, "cuda": _cuda.reason}
# interpreted kernels take long: one method of each way to run; all kinds of planes are in tests/ops/test_graded.py
SOME = ("opi", "ftbc", "cos", "parallel", "st-bif")
INTERPRETED = FIXED if torch.cuda.is_available() else SOME
CALLS = [(backend, name) for backend in ABSENT for name in (INTERPRETED if backend == "triton" else FIXED)]


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    model, x = Odd().eval(), odd_images()
    # with steps in which input is no longer given
    options = {"dc": {"max_pool": "average"}, "st-bif": {"levels": 3}, "casc": {"wake": 3}}
    return {
        name: fastsnn.convert(model, x, method=name, timesteps=T, precision="int32", **options.get(name, {}))
        for name in FIXED
    }


def device(backend):
    """Where a GPU's kernels run; interpreted or emulated without one."""
    return "cuda" if backend != "native" and torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("backend, method", CALLS)
def test_spikes_are_the_references(networks, backend, method, monkeypatch):
    if why := ABSENT[backend]():
        pytest.skip(str(why))
    snn, x = networks[method], odd_images()[:1]
    want, logits, curve = reference(snn, x, T, monkeypatch)
    monkeypatch.setattr(_env, "BACKEND", backend)
    snn = snn.to(device(backend))
    given = x.to(device(backend))
    for name, train in snn.spikes(given, T).items():
        assert torch.equal(train.unpack().cpu(), want[name].unpack()), name
    # the head is one float32 product of counts
    torch.testing.assert_close(snn(given, T).cpu(), logits)
    torch.testing.assert_close(snn.logits_over_time(given, T).cpu(), curve)
    snn.to("cpu")


def test_methods_differ(networks):
    """Or the tests above would compare one and the same."""
    x = odd_images()[:4]
    found = {
        name: torch.cat([train.counts().flatten() for train in snn.spikes(x, T).values()])
        for name, snn in networks.items()
    }
    # which computes the same
    names = [name for name in found if name != "pascal"]
    assert all(not torch.equal(found[a], found[b]) for i, a in enumerate(names) for b in names[:i])
