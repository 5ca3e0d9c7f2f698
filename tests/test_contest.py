"""The backends of a GPU against each other: all give the same, times are kept, and nothing is compared with nothing."""

import pytest
import torch

from fastsnn import _cuda, _env, _order, _triton, contest
from fastsnn._registry import OPERATORS
from fastsnn.cli import main
from fastsnn.contest import Pass, passes
from fastsnn.errors import BackendUnavailable

DEVICE = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_env, "CACHE", str(tmp_path))


@pytest.fixture
def both(monkeypatch):
    """Kernels of both backends run, on small inputs; on a CPU as if they were not only asked for."""
    for module in (_triton, _cuda):
        if why := module.reason():
            pytest.skip(why)
        monkeypatch.setattr(module, "refuse", lambda *_: None)
    monkeypatch.setattr(contest, "able", lambda device: list(_order.RIVALS))
    monkeypatch.setattr(contest, "IMAGE", (2, 2, 16))
    monkeypatch.setattr(contest, "FEATURES", 16)
    few = [Pass(p.op, p.T, 2, p.dtype) for p in passes() if p.T == 8 or p.dtype in (torch.int32, torch.int16)]
    small = list(dict.fromkeys(few))
    monkeypatch.setattr(contest, "passes", lambda: small)
    return small


def test_every_operator_without_weights_is_measured():
    assert {p.op for p in passes()} == set(OPERATORS) - {"conv_if", "linear_if"}
    assert len(set(map(str, passes()))) == len(passes())


def test_times_are_kept_for_the_registry(both):
    found = dict(contest.contest(DEVICE, rounds=1))
    assert list(found) == both and all(set(seconds) == set(_order.RIVALS) for seconds in found.values())
    words = torch.zeros(2, 2, 2, 16, dtype=torch.uint8)
    fastest = _order.fastest("pool_or", _order.sized([words]), DEVICE)
    assert set(fastest) == set(_order.RIVALS)
    [seconds] = [s for given, s in found.items() if given.op == "pool_or"]
    assert seconds[fastest[0]] == min(seconds.values())


def test_a_backend_that_gives_something_else_ends_it(both, monkeypatch):
    run = contest.called
    monkeypatch.setattr(
        contest, "called", lambda given, name, found: [x + (name == "cuda") for x in run(given, name, found)]
    )
    with pytest.raises(RuntimeError, match=r"if_steps .*: triton and cuda do not give the same"):
        list(contest.contest(DEVICE, rounds=1))
    assert _order.MEASURED.all(DEVICE) == {}


def test_one_backend_is_compared_with_nothing(monkeypatch):
    monkeypatch.setattr(_cuda, "reason", lambda: "not installed")
    # the registry asks each family's own list
    with pytest.raises(BackendUnavailable, match=r"nothing to compare on cpu: .*triton: .*; cuda: "):
        list(contest.contest(torch.device("cpu")))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_command_says_that_there_is_no_gpu(capsys):
    assert main(["measure"]) == 2
    assert capsys.readouterr().err == "fastsnn measure: torch sees no NVIDIA GPU here: there is nothing to measure\n"


def test_the_command_prints_a_line_a_measurement(both, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA Made Up")
    monkeypatch.setattr(
        "fastsnn.commands.measure.contest", lambda device, rounds: iter([(both[0], {"triton": 3e-6, "cuda": 2e-6})])
    )
    assert main(["measure", "--rounds", "2"]) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "NVIDIA Made Up, least of 2 rounds" and second.endswith(": cuda 2 us, triton 3 us")
    assert third.startswith("kept in ") and "nvidia-made-up-order" in third
