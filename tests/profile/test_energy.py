"""Modelled joules against sums by hand."""

import pytest

from fastsnn.profile import energy
from fastsnn.profile.energy import MODELS, EnergyModel, Work

PJ = 1e-12
# a first layer with 10 neurons, and one behind it whose spikes cause 5, then 7 additions
FIRST = Work([0.0, 0.0], 0, 100, 10, 100, weights=20, activations=30, outputs=10, image=True)
SECOND = Work([5.0, 7.0], 0, 0, 4, 50, weights=12, activations=10, outputs=4, image=False)
PLAIN = EnergyModel("plain", mac=4.0, accumulate=1.0, source="the test")


def test_parts_and_steps_by_hand():
    parts, by_step = energy.spiking(PLAIN, [FIRST, SECOND], 2)
    assert parts == {
        "synaptic operations": 12 * PJ,
        "multiplications": pytest.approx(400 * PJ),
        "neuron updates": pytest.approx(28 * PJ),
        "memory": 0.0,
    }
    # the first step has what is done once
    assert by_step == pytest.approx([(400 + 14 + 5) * PJ, (400 + 28 + 12) * PJ])
    assert sum(parts.values()) == pytest.approx(by_step[-1])


def test_the_dense_network_and_the_quantised_one_by_hand():
    assert energy.dense(PLAIN, [FIRST, SECOND]) == pytest.approx(150 * 4 * PJ)
    # two bits for T = 2: two additions in place of a multiplication, but for the image
    assert energy.quantised(PLAIN, [FIRST, SECOND], 2) == pytest.approx((100 * 4 + 50 * 2) * PJ)
    # with many bits a multiplier is cheaper
    assert energy.quantised(PLAIN, [FIRST, SECOND], 31) == pytest.approx(150 * 4 * PJ)


def test_memory_by_hand():
    model = EnergyModel("memory", 4.0, 1.0, "the test", word=4)
    # everything fits 8 KB: 10 pJ for 8 bytes, so 5 for a word of 4
    parts, by_step = energy.spiking(model, [FIRST, SECOND], 2)
    assert parts["memory"] == pytest.approx((100 * 10 + 12 * 5 + 28 * 2 * 5) * PJ)
    assert sum(parts.values()) == pytest.approx(by_step[-1])
    assert energy.dense(model, [SECOND]) == pytest.approx(50 * (4 + 5 + 5) * PJ)
    # activations of two bits are a sixteenth of a word
    assert energy.quantised(model, [SECOND], 2) == pytest.approx(50 * (2 + 5 + 5 / 16) * PJ)


@pytest.mark.parametrize("numbers, cost", [(0, 10), (2048, 10), (2049, 20), (8192, 20), (8193, 100), (2**28, 100)])
def test_an_access_costs_what_the_memory_that_holds_all_does(numbers, cost):
    assert energy.access(numbers, 4) == cost * 4 / 8


def test_comparisons_are_additions():
    work = Work([0.0], 9, 0, 0, 0, weights=0, activations=9, outputs=3, image=False)
    assert energy.spiking(PLAIN, [work], 1)[0]["multiplications"] == pytest.approx(9 * PJ)


@pytest.mark.parametrize("T, bits", [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (15, 4), (16, 5), (32, 6)])
def test_bits_that_tell_as_many_levels_apart(T, bits):
    assert energy.bits(T) == bits and 2**bits >= T + 1 > 2 ** (bits - 1)


def test_every_model_says_where_it_is_from():
    assert {"horowitz-fp32", "horowitz-int8", "neuromorphic"} < set(MODELS)
    for model in MODELS.values():
        assert "ISSCC" in model.source or "ICLR" in model.source
    assert (MODELS["horowitz-fp32"].mac, MODELS["horowitz-fp32"].accumulate) == (4.6, 0.9)
    assert (MODELS["horowitz-int8"].mac, MODELS["horowitz-int8"].accumulate) == (0.23, 0.03)


def test_users_register_their_own(monkeypatch):
    monkeypatch.setattr(energy, "MODELS", dict(MODELS))
    energy.register(PLAIN)
    energy.register(PLAIN)
    assert energy.chosen(["plain", "neuromorphic"]) == [PLAIN, MODELS["neuromorphic"]]
    assert PLAIN in energy.chosen(None) and energy.chosen("plain") == energy.chosen(PLAIN) == [PLAIN]
    with pytest.raises(ValueError, match="there is an energy model called 'plain' already"):
        energy.register(EnergyModel("plain", 1.0, 1.0, "another"))


def test_mistakes():
    with pytest.raises(ValueError, match=r"energy model must be one of horowitz-fp32, .*, got 'free'"):
        energy.chosen(["free"])
    with pytest.raises(ValueError, match="needs a name and a source"):
        EnergyModel("x", 1.0, 1.0, "")
    with pytest.raises(ValueError, match="costs must not be negative, got mac=-1"):
        EnergyModel("x", -1.0, 1.0, "y")
