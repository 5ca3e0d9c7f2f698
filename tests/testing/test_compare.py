"""The comparison helpers: each passes on equals, and fails on the smallest difference it is there to find."""

import pytest
import torch

from fastsnn.testing.compare import membranes_close, spikes_equal, spikes_equal_outside


@pytest.mark.parametrize("T, dtype", [(8, torch.uint8), (9, torch.int16), (16, torch.int16), (32, torch.int32)])
def test_one_flipped_spike_at_the_last_step_of_the_last_neuron_is_named(T, dtype):
    want = torch.zeros(3, 257, dtype=torch.int64).to(dtype)
    got = want.clone()
    spikes_equal(got, want, T)
    got[-1, -1] = torch.tensor(1 << (T - 1)).to(dtype)
    with pytest.raises(AssertionError, match=rf"1 spikes differ, in 1 of 771 .*\[2, 256\] step {T - 1}: got 1, want 0"):
        spikes_equal(got, want, T)


def test_a_bit_beyond_the_steps_is_an_error_even_where_both_have_it():
    words = torch.tensor([0, 0b1000], dtype=torch.uint8)
    spikes_equal(words, words, 4)
    with pytest.raises(AssertionError, match=r"1 words have bits set beyond T=3, first at \[1\]"):
        spikes_equal(words, words, 3)


def test_words_of_another_form_are_not_compared():
    with pytest.raises(AssertionError, match=r"\(3,\) torch.uint8, want \(3,\) torch.int16"):
        spikes_equal(torch.zeros(3, dtype=torch.uint8), torch.zeros(3, dtype=torch.int16), 8)
    with pytest.raises(AssertionError, match=r"\(3,\) torch.uint8, want \(3, 1\) torch.uint8"):
        spikes_equal(torch.zeros(3, dtype=torch.uint8), torch.zeros(3, 1, dtype=torch.uint8), 8)


def test_only_the_first_flip_of_a_neuron_needs_the_excuse_of_rounding():
    want = torch.tensor([0b0001, 0b0000], dtype=torch.uint8)
    got = torch.tensor([0b1110, 0b0000], dtype=torch.uint8)
    margins = torch.ones(4, 2)
    margins[0, 0] = 1e-7
    spikes_equal_outside(got, want, 4, margins, 1e-6)
    with pytest.raises(AssertionError, match=r"beyond rounding, in 1 of 2 neurons: neuron \[0\] step 0: got 0, want 1"):
        spikes_equal_outside(got, want, 4, margins, 1e-8)


def test_a_last_flip_away_from_the_threshold_has_no_excuse():
    want = torch.zeros(5, dtype=torch.int16)
    got = want.clone()
    got[-1] = 1 << 8
    with pytest.raises(AssertionError, match=r"neuron \[4\] step 8: got 1, want 0"):
        spikes_equal_outside(got, want, 9, torch.ones(9, 5), 0.5)


def test_membranes_differ_from_the_last_digit_on():
    want = torch.ones(2, 3)
    got = want.clone()
    membranes_close(got, want)
    got[-1, -1] += 2**-23
    with pytest.raises(AssertionError, match=r"1 of 6 membranes .* \[1, 2\] got 1.00000011\d*, want 1.0"):
        membranes_close(got, want)
    membranes_close(got, want, atol=2**-23)


def test_large_whole_membranes_are_compared_without_rounding():
    want = torch.tensor([2**62], dtype=torch.int64)
    with pytest.raises(AssertionError, match="1 of 1 membranes"):
        membranes_close(want + 1, want)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_membrane_that_is_no_number_never_passes(value):
    x = torch.tensor([0.0, value])
    with pytest.raises(AssertionError, match="1 of 2 membranes"):
        membranes_close(x, x, atol=1.0)


def test_membranes_of_other_shapes_do_not_broadcast():
    with pytest.raises(AssertionError, match="different shapes"):
        membranes_close(torch.zeros(3), torch.zeros(1, 3))
