"""The steps of input that a card's words stand for; words that are no formula are no number."""

import pytest

from fastsnn.comparison.latency import input_steps
from fastsnn.methods import METHODS, build


@pytest.mark.parametrize(
    "latency, steps",
    [
        ("T", 8),
        ("T + 4", 12),
        ("2 T", 16),
        ("2T", 16),
        ("2 * T - 1", 15),
        ("T + L", 11),
        ("4 (T + 1)", 36),
        ("(L + 1) T", 32),
        ("L T", None),
        ("T + tau", None),
        ("until the first spike", None),
        ("", None),
        ("T - 9", None),
        ("T ** 2", None),
        ("T + 0.5", None),
        ("__import__('os')", None),
    ],
)
def test_input_steps(latency, steps):
    assert input_steps(latency, 8, 3) == steps


@pytest.mark.parametrize("name", METHODS)
def test_every_methods_latency_is_understood(name):
    assert input_steps(build(name).card.latency, 8, 3) >= 8
