"""Whole networks on the Triton kernels: on a GPU where there is one, else interpreted."""

import pytest
import torch
from odd_network import odd_images, odd_networks, reference

from fastsnn import _env, _triton, engine, gates
from fastsnn.ops._tile_cache import TILES

pytestmark = pytest.mark.skipif(_triton.reason() is not None, reason=str(_triton.reason()))

PRECISIONS = ["int32", "int16", "int8", "float32", "float16", "bfloat16"]
# where interpreted kernels run they are asked for
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="module")
def x():
    return odd_images()


@pytest.fixture(scope="module")
def networks(x):
    return odd_networks(x, PRECISIONS)


@pytest.fixture
def triton(monkeypatch):
    """From here on the kernels run; before, the reference did."""
    if DEVICE == "cpu":
        monkeypatch.setattr(_env, "BACKEND", "triton")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_spikes_and_logits_are_the_references(networks, x, precision, monkeypatch, triton):
    snn = networks[precision]
    want, logits, curve = reference(snn, x[:2], 5, monkeypatch)
    snn = snn.to(DEVICE)
    for name, train in snn.spikes(x[:2].to(DEVICE), 5).items():
        differ = (train.unpack().cpu() != want[name].unpack()).double().mean()
        # whole numbers are exact; the others are summed in another order, and a GPU may flip what lies on a threshold
        assert differ == 0 if precision.startswith("int") else differ <= 1e-3
        assert 0 < train.firing_rate() < 1
    if precision.startswith("int"):
        # the head is one float32 product of counts
        torch.testing.assert_close(snn(x[:2].to(DEVICE), 5).cpu(), logits)
        torch.testing.assert_close(snn.logits_over_time(x[:2].to(DEVICE), 5).cpu(), curve)
    snn.to("cpu")


def test_potentials_carry_over_chunks_and_batches_do_not_matter(networks, x, monkeypatch, triton):
    snn = networks["int8"]
    want, *_ = reference(snn, x[:2], 35, monkeypatch)
    snn = snn.to(DEVICE)
    for i in range(2):
        for name, train in snn.spikes(x[i : i + 1].to(DEVICE), 35).items():
            assert torch.equal(train.unpack()[:, :, 0].cpu(), want[name].unpack()[:, :, i])
    snn.to("cpu")


def test_words_of_odd_channels_are_padded_where_they_are_made(networks, x, triton):
    snn, half = (networks[p].to(DEVICE) for p in ("int8", "float16"))
    prepared = snn.prepared()
    words = prepared.words((2, 8, 8, 9), torch.uint8)
    assert words.shape == (2, 8, 8, 9) and words.stride() == (8 * 8 * 16, 8 * 16, 16, 1)
    assert prepared.word(5) == torch.uint8 and half.prepared().word(5) == torch.int16
    # what users see is packed, in the narrowest words
    for network in (snn, half):
        words = [w for train in network.spikes(x[:1].to(DEVICE), 2).values() for w in train.words]
        assert all(w.is_contiguous() and w.dtype == torch.uint8 for w in words)
        network.to("cpu")


def test_neither_the_pool_nor_the_head_copies_padded_words(networks, x, triton, monkeypatch):
    """Both read the unused channels as well, which no weight and no reader looks at."""
    snn = networks["int8"].to(DEVICE)
    seen = {}

    def spied(run, op):
        def call(words, *args):
            seen[op] = (words.shape, words.is_contiguous())
            return run(words, *args)

        return call

    choose = engine.choose
    for module in (engine, gates):
        monkeypatch.setattr(module, "choose", lambda op, *args: spied(choose(op, *args), op))
    snn(x[:2].to(DEVICE), 2)
    # inside a graph as well, where there is a GPU
    assert seen == {"pool_lateral": ((2, 4, 4, 16), True), "readout": ((2, 16), True)}
    snn.to("cpu")


def test_the_layers_run_in_one_kernel_each(networks, triton):
    snn = networks["int8"].to(DEVICE)
    drivers = snn.prepared().drivers
    assert next(d.label for d in drivers.values()) == "constant"
    kinds = {name: driver.plan.plan("triton") for name, driver in drivers.items() if name != "relu"}
    assert all(plan is not None for plan in kinds.values())
    pooled = [name for name, plan in kinds.items() if plan.pooled]
    assert pooled, "the average pools are read as windows of words, not as larger kernels"
    assert any(not plan.products for plan in kinds.values()), "the depthwise layer needs no matrix product"
    snn.to("cpu")


def test_tuning_keeps_the_spikes_and_remembers_the_tiles(networks, x, triton, tmp_path, monkeypatch):
    monkeypatch.setattr(_env, "CACHE", str(tmp_path))
    TILES.forget()
    snn = networks["int8"].to(DEVICE)
    images = x[:1].to(DEVICE)
    before = snn(images, 2)
    for driver in snn.prepared().drivers.values():
        if getattr(driver, "plan", None) is not None:
            # two tiles are enough to choose from
            plan = driver.plan.plan("triton")
            few = plan.tiles(1, 2)[:2]
            monkeypatch.setattr(type(plan), "tiles", lambda plan, batch, T, few=few: few)
    snn.tune(images, 2, rounds=1)
    assert torch.equal(snn(images, 2), before)
    (written,) = tmp_path.iterdir()
    assert "rows" not in written.name and written.suffix == ".json"
    assert "int8 x 1, tiles" in str(snn.report)
    snn.to("cpu")
    TILES.forget()
