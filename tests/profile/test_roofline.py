"""Layers against the peaks by hand; what the peaks are counted from; that every precision has peaks."""

import math

import pytest
import torch

from fastsnn.convert.quantise import PRECISIONS
from fastsnn.profile import peaks as peaking
from fastsnn.profile.roofline import roofline
from fastsnn.profile.schema import Attained, Peaks
from fastsnn.testing.cases import WEIGHTS

CPU = torch.device("cpu")
# 100 operations come with the bytes of a second where there are 5 for each byte
PEAKS: Peaks = {"bytes_a_second": 20.0, "operations_a_second": 100.0, "how": "by hand"}


def test_layers_by_hand():
    found = roofline(PEAKS, [("dense", 300, 10, 4.0), ("thin", 60, 40, 4.0), ("edge", 50, 10, 0.5)])
    assert found["peaks"] == PEAKS
    dense, thin, edge = found["layers"]
    # 30 operations a byte are more than the 5 where memory ends to matter: 75 of 100 a second
    assert dense == {
        "layer": "dense",
        "operations_a_second": 75.0,
        "bytes_a_second": 2.5,
        "intensity": 30.0,
        "bound": "additions",
        "share": 0.75,
    }
    # 1.5 a byte allow 30 a second, of which 15 are attained
    assert thin == {
        "layer": "thin",
        "operations_a_second": 15.0,
        "bytes_a_second": 10.0,
        "intensity": 1.5,
        "bound": "memory",
        "share": 0.5,
    }
    assert (edge["bound"], edge["share"], edge["intensity"]) == ("additions", 1.0, 5.0)
    assert set(dense) == set(Attained.__annotations__)


@pytest.mark.parametrize("left_out", [(0, 10, 1.0), (10, 0, 1.0), (10, 10, 0.0), (10, 10, None)])
def test_layers_without_work_or_time_are_left_out(left_out):
    found = roofline(PEAKS, [("none", *left_out), ("some", 10, 10, 1.0)])
    assert [layer["layer"] for layer in found["layers"]] == ["some"]


def test_a_share_is_not_cut_off():
    # twice the memory's pace, which is what a cache gives
    (layer,) = roofline(PEAKS, [("cached", 80, 80, 2.0)])["layers"]
    assert layer["share"] == pytest.approx(2.0) and layer["bound"] == "memory"


@pytest.mark.parametrize("ideal", [peaking.Ideal(6, 5, 3), peaking.Ideal(2, 3, 4, size=5)], ids=str)
def test_additions_are_spikes_times_synapses(ideal):
    """Counted one by one, from the words that the layer reads and the layer that reads them."""
    made, _, words = peaking.prepared(ideal, CPU, torch.int32)
    spikes = sum(int(((words["source"] >> t) & 1).sum()) for t in range(peaking.T))
    assert spikes == peaking.T * ideal.batch * math.prod(ideal.shape(ideal.inputs))
    (term,) = made.layer.terms
    reached = term.linear(torch.ones(1, *ideal.shape(ideal.inputs)), torch.ones_like(term.weight, dtype=torch.float32))
    assert ideal.additions == peaking.T * ideal.batch * int(reached.sum())


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
@pytest.mark.parametrize("size", [0, 5])
def test_ideal_layers_run_with_weights_of_every_precision(device, weights, size):
    ideal = peaking.Ideal(16, 32, 3, size)
    made, run, words = peaking.prepared(ideal, torch.device(device), weights)
    assert made.layer.terms[0].weight.dtype == weights
    out, potentials = made(run, words, peaking.T, None, True)
    assert out.shape == (3, *ideal.shape(32, border=2)) and not out.any()
    # without a spike, the potentials are all weights at all steps
    sums = made.layer.terms[0].weight.double().flatten(1).sum(1)
    assert torch.equal(potentials.double(), (peaking.T * sums).expand(out.shape))


def test_every_precision_of_a_conversion_has_peaks():
    assert tuple(peaking.WEIGHTS) == PRECISIONS
    with pytest.raises(ValueError, match=r"precision must be one of int32, int16.*got 'int4'"):
        peaking.peaks(CPU, "int4")


@pytest.fixture
def small(monkeypatch):
    """Peaks of small things, on a clock that only says what the test wants."""
    monkeypatch.setattr(peaking, "COPIED", 2**12)
    monkeypatch.setattr(peaking, "CACHED", 0)
    monkeypatch.setattr(peaking, "ON_CPU", (peaking.Ideal(8, 16, 2), peaking.Ideal(16, 16, 2)))


def test_peaks_are_the_best_of_what_was_measured(small, monkeypatch):
    ran = []

    def least(run, device):
        ran.append(run().shape)
        # the copy, then every layer and way at the same time: the larger layer is the best
        return 0.5 if len(ran) == 1 else 0.25

    monkeypatch.setattr(peaking, "_least", least)
    found = peaking.peaks(CPU, "int32")
    assert set(found) == set(Peaks.__annotations__)
    assert found["bytes_a_second"] == 2 * 2**12 / 0.5
    assert found["operations_a_second"] == peaking.T * 2 * 16 * 16 / 0.25
    assert "16 -> 16, batch 2" in found["how"] and "1 threads" in found["how"] and "int32" in found["how"]
    assert len(ran) >= 3


def test_peaks_end_when_they_take_too_long(small, monkeypatch):
    ran = []
    monkeypatch.setattr(peaking, "_least", lambda run, device: ran.append(1) or 0.25)
    monkeypatch.setattr(peaking, "PATIENCE", -1.0)
    assert peaking.peaks(CPU, "float32")["operations_a_second"] == peaking.T * 2 * 8 * 16 / 0.25
    assert len(ran) == 2


def test_peaks_for_real(device, monkeypatch):
    monkeypatch.setattr(peaking, "COPIED", 2**20)
    monkeypatch.setattr(peaking, "ON_CPU", (peaking.Ideal(64, 64, 8),))
    monkeypatch.setattr(peaking, "ON_GPU", (peaking.Ideal(64, 64, 64),))
    found = peaking.peaks(torch.device(device), "int16")
    assert found["bytes_a_second"] > 0 and found["operations_a_second"] > 0


def test_more_is_copied_than_caches_hold_and_less_than_memory(monkeypatch, tmp_path):
    for i, size in enumerate(("32K", "1024K", "100M", "")):
        (tmp_path / f"index{i}").mkdir()
        (tmp_path / f"index{i}" / "size").write_text(f"{size}\n")
    assert peaking.last_cache(tmp_path) == 100 * 2**20
    assert peaking.last_cache(tmp_path / "none") == 0
    monkeypatch.setattr(peaking, "last_cache", lambda: 100 * 2**20)
    for memory, copied in ((None, 400 * 2**20), (2**40, 400 * 2**20), (2**30, 64 * 2**20)):
        monkeypatch.setattr(peaking, "memory_bytes", lambda memory=memory: memory)
        assert peaking.copied_bytes(CPU) == copied
    monkeypatch.setattr(peaking, "last_cache", lambda: 2**20)
    monkeypatch.setattr(peaking, "memory_bytes", lambda: None)
    assert peaking.copied_bytes(CPU) == 2**28
