"""Whole networks on the CUDA kernels: on a GPU where there is one, else emulated; without Triton, and beside it."""

import pytest
import torch
from odd_network import odd_images, odd_networks, reference

from fastsnn import _cuda, _env, _order, _triton, drive, engine, gates, prepared
from fastsnn._registry import load
from fastsnn.drive import Constant
from fastsnn.ops._layer_cuda import WAYS

pytestmark = pytest.mark.skipif(_cuda.reason() is not None, reason=str(_cuda.reason()))

PRECISIONS = ["int32", "int16", "int8", "float32", "float16", "bfloat16", "float64"]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="module")
def x():
    return odd_images()


@pytest.fixture(scope="module")
def networks(x):
    return odd_networks(x, PRECISIONS)


@pytest.fixture
def cuda(monkeypatch):
    """From here on the CUDA kernels run, on a GPU as well."""
    monkeypatch.setattr(_env, "BACKEND", "cuda")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_env, "CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("precision", PRECISIONS)
def test_spikes_and_logits_are_the_references(networks, x, precision, monkeypatch, cuda):
    snn = networks[precision]
    images = x[:2].to(torch.float64) if precision == "float64" else x[:2]
    want, logits, curve = reference(snn, images, 5, monkeypatch)
    snn = snn.to(DEVICE)
    for name, train in snn.spikes(images.to(DEVICE), 5).items():
        differ = (train.unpack().cpu() != want[name].unpack()).double().mean()
        # whole numbers are exact; the others are summed in another order
        assert differ == 0 if precision.startswith("int") else differ <= 1e-3
        assert 0 < train.firing_rate() < 1
    if precision.startswith("int"):
        # the head is one float32 product of counts
        torch.testing.assert_close(snn(images.to(DEVICE), 5).cpu(), logits)
        torch.testing.assert_close(snn.logits_over_time(images.to(DEVICE), 5).cpu(), curve)
    snn.to("cpu")


def test_potentials_carry_over_chunks_and_batches_do_not_matter(networks, x, monkeypatch, cuda):
    snn = networks["int8"]
    want, *_ = reference(snn, x[:2], 35, monkeypatch)
    snn = snn.to(DEVICE)
    for i in range(2):
        for name, train in snn.spikes(x[i : i + 1].to(DEVICE), 35).items():
            assert torch.equal(train.unpack()[:, :, 0].cpu(), want[name].unpack()[:, :, i])
    snn.to("cpu")


def test_every_layer_runs_in_one_kernel_and_the_first_in_whole_numbers(networks, cuda):
    snn = networks["int32"].to(DEVICE)
    drivers = snn.prepared().drivers
    first = next(iter(drivers.values()))
    assert isinstance(first, Constant) and first.backends == ["cuda"] and first._fixed["cuda"] is not None
    plans = {name: driver.plan.plan("cuda") for name, driver in drivers.items() if driver is not first}
    assert all(driver.plan.names == ("cuda",) for driver in drivers.values() if driver is not first)
    assert any(3 in p._windows[-3:] or 2 in p._windows[-3:] for p in plans.values()), "pools share weights"
    assert any(not p.events for p in plans.values()), "the depthwise layer needs no rows of weights"
    snn.to("cpu")


def test_tuning_keeps_the_spikes_and_is_in_the_report(networks, x, cuda, folder):
    snn = networks["int8"].to(DEVICE)
    images = x[:1].to(DEVICE)
    before = snn(images, 2)
    snn.tune(images, 2, rounds=1, progress=False)
    assert torch.equal(snn(images, 2), before)
    assert "CUDA, " in str(snn.report) and " ms" in str(snn.report)
    assert [path.name for path in folder.iterdir() if "layers" in path.name]
    assert len(WAYS.all(torch.device(DEVICE))) >= 4
    snn.to("cpu")


@pytest.mark.skipif(_triton.reason() is not None, reason=str(_triton.reason()))
def test_both_backends_of_a_gpu_give_the_same_and_are_both_measured(networks, x, monkeypatch):
    """As on a GPU that has both: the registry is told that they can run, whatever the device."""
    names = ("triton", "cuda")
    for module in (_triton, _cuda):
        monkeypatch.setattr(module, "refuse", lambda *_: None)
    monkeypatch.setattr(drive, "able", lambda op, backends, *_: [b for b in backends if b.name in names])
    monkeypatch.setattr(prepared, "pick", lambda op, backends, *_: backends[0])
    for module in (engine, gates):
        monkeypatch.setattr(module, "choose", lambda op, backends, *_: load(backends[0].target))
    snn = networks["int8"].to(DEVICE)
    snn._ready = None
    images = x[:1].to(DEVICE)
    want = snn(images, 2)
    drivers = snn.prepared().drivers
    driven = [driver for driver in drivers.values() if not isinstance(driver, Constant)]
    assert {driver.backend(1, 2) for driver in driven} == {"triton"}
    for driver in drivers.values():
        if isinstance(driver, Constant):
            assert driver.choices(1, 2) == names
        else:
            few = {name: driver.plan.plan(name) for name in names}
            for plan in few.values():
                monkeypatch.setattr(type(plan), "choices", lambda plan, batch, T: (None,))
    snn.tune(images, 2, rounds=1, progress=False)
    assert torch.equal(snn(images, 2), want)
    measured = _order.MEASURED.all(torch.device(DEVICE))
    assert len(measured) == len(drivers) - 1 and all(set(times) == set(names) for times in measured.values())
    fastest = {min(times, key=times.__getitem__) for times in measured.values()}
    assert {driver.backend(1, 2) for driver in driven} == fastest
    assert "constant, " in str(snn.report)
    snn._ready = None
    snn.to("cpu")
