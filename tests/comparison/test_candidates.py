"""What can be given as methods, and what is refused with which words."""

import pytest

from fastsnn.comparison.candidates import candidates
from fastsnn.methods import METHODS
from fastsnn.methods.opi import OPI


def labels(methods, **options):
    return [candidate.label for candidate in candidates(methods, options)]


def test_names_mappings_and_methods():
    mine = OPI(initial_potential=0.25)
    assert labels(None) == list(METHODS)
    assert labels("opi") == labels(["opi"]) == labels([mine]) == ["opi"]
    given = {"a": "opi", "V(0) = 0": ("opi", {"initial_potential": 0.0}), "mine": mine}
    a, zero, third = candidates(given, {})
    assert [c.label for c in (a, zero, third)] == list(given) and {c.name for c in (a, zero, third)} == {"opi"}
    assert a.make().start == 0.5 and zero.make().start == 0.0 and third.make() is mine
    assert "initial potential=0.0" in zero.settings and zero.card is OPI.card
    assert a.make() is not a.make()


def test_options_of_all_come_behind_a_methods_own():
    a, b, mine = candidates(
        {"a": "opi", "b": ("opi", {"threshold": "max"}), "mine": OPI()}, {"threshold": "percentile:99", "seed": 3}
    )
    assert (a.make().spec, a.make().seed) == ("percentile:99", 3)
    assert (b.make().spec, b.make().seed) == ("max", 3)
    assert (mine.make().spec, mine.make().seed) == ("mse", 0)


@pytest.mark.parametrize(
    "methods, error, message",
    [
        (["opi", "magic"], ValueError, "unknown method 'magic'; there is opi"),
        ([], ValueError, "compare_methods needs at least one method, got none"),
        (["opi", "opi"], ValueError, "opi is there twice; give a mapping from labels to methods"),
        ({"a": ("opi", {"threshold": "nonsense"})}, ValueError, "threshold must be max.*got 'nonsense'"),
        ({"a": ("opi", {"colour": 1})}, TypeError, "method opi has no option 'colour'; it has threshold, per_channel"),
        ({"a": ("opi", 3)}, TypeError, "methods should be names.*got a tuple"),
        ([3], TypeError, "methods should be names.*got a int"),
        (3, TypeError, "methods should be names.*got int"),
    ],
)
def test_what_is_no_method(methods, error, message):
    with pytest.raises(error, match=message):
        candidates(methods, {})
