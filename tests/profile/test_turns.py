"""Runs take turns on one clock, as often as was asked or the budget allows; percentiles are those of the definition."""

import pytest
import torch

from fastsnn.profile import turns

CPU = torch.device("cpu")


class Clock:
    """A clock that only runs move."""

    def __init__(self, monkeypatch):
        self.now, self.log = 100.0, []
        monkeypatch.setattr(turns, "perf_counter", lambda: self.now)

    def run(self, name, *seconds):
        """A run that takes these seconds, one after the other, and the last ones from then on."""
        left = list(seconds)

        def run():
            self.log.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_runs_take_turns_after_warming_up(clock):
    runs = {"a": clock.run("a", 9.0, 1.0, 2.0, 3.0), "b": clock.run("b", 9.0, 0.5)}
    found = turns.interleaved(runs, CPU, rounds=3, warm_up=1, budget=1000.0)
    assert clock.log == ["a", "b"] + ["a", "b"] * 3
    assert found == {"a": [1.0, 2.0, 3.0], "b": [0.5, 0.5, 0.5]}


@pytest.mark.parametrize("budget, rounds", [(0.0, 3), (3.5, 4), (5.0, 5), (100.0, 7)])
def test_a_budget_ends_rounds_but_not_the_least(clock, budget, rounds):
    found = turns.interleaved({"a": clock.run("a", 1.0)}, CPU, rounds=7, warm_up=5, budget=budget)
    assert found == {"a": [1.0] * rounds}


def test_progress_is_told_after_each_round(clock):
    told = []
    runs = {"a": clock.run("a", 1.0), "b": clock.run("b", 1.0)}
    turns.interleaved(runs, CPU, rounds=4, warm_up=0, progress=lambda *x: told.append((*x, len(clock.log))))
    assert told == [(1, 4, 2), (2, 4, 4), (3, 4, 6), (4, 4, 8)]


def test_a_gpu_is_waited_for_around_each_run(clock, monkeypatch):
    def wait(device):
        assert device == torch.device("cuda", 1)
        clock.log.append("wait")
        # what was launched takes its time until then
        clock.now += 0.25

    monkeypatch.setattr(torch.cuda, "synchronize", wait)
    found = turns.interleaved({"a": clock.run("a", 1.0)}, torch.device("cuda", 1), rounds=3, warm_up=0)
    assert clock.log == ["wait", "a", "wait"] * 3
    assert found == {"a": [1.25] * 3}


def test_nothing_is_recorded_for_gradients():
    weight = torch.ones(3, requires_grad=True)
    results = []
    turns.interleaved({"a": lambda: results.append(weight * 2)}, CPU, rounds=3)
    assert not any(result.requires_grad for result in results)
    assert (weight * 2).requires_grad


@pytest.mark.parametrize(
    "runs, settings, message",
    [
        ({}, {}, "at least one run"),
        ({"a": int}, {"rounds": 2}, "3 rounds or more and warm_up >= 0, got 2 and 2"),
        ({"a": int}, {"warm_up": -1}, "got 15 and -1"),
    ],
)
def test_what_makes_no_sense_is_refused(runs, settings, message):
    with pytest.raises(ValueError, match=message):
        turns.interleaved(runs, CPU, **settings)


def test_percentiles_by_hand():
    # places 0.2 * 4 = 0.8, 2 and 3.2 of 1, 2, 4, 8, 16 seconds
    found = turns.percentiles([16.0, 1.0, 8.0, 2.0, 4.0])
    assert found == pytest.approx({"p20": 1800.0, "p50": 4000.0, "p80": 9600.0})
    assert turns.percentiles([0.003]) == pytest.approx({"p20": 3.0, "p50": 3.0, "p80": 3.0})
    with pytest.raises(ValueError, match="at least one time"):
        turns.percentiles([])


def test_percentiles_are_plain_numbers():
    assert {type(value) for value in turns.percentiles([1.0, 2.0]).values()} == {float}
