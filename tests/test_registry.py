"""Which backend runs a call: the first that can, the one that is forced, or none, with every reason."""

from importlib import import_module

import pytest
import torch

from fastsnn import _env, _registry
from fastsnn._registry import FAMILIES, NAMES, Backend, choose, load, table
from fastsnn.errors import BackendUnavailable, FastSNNError

CAN = Backend("reference", "math:floor", lambda x: None)
REFUSES = Backend("triton", "math:ceil", lambda x: f"{x} is odd" if x % 2 else None)
ABSENT = Backend("native", "no.such.module:f", lambda x: pytest.fail("asked although absent"), lambda: "not built")


@pytest.fixture
def force(monkeypatch):
    monkeypatch.setattr(_env, "BACKEND", None)
    return lambda name: monkeypatch.setattr(_env, "BACKEND", name)


def test_the_first_that_accepts_the_call_runs_it(force):
    import math

    assert choose("op", (REFUSES, ABSENT, CAN), 2) is math.ceil
    assert choose("op", (REFUSES, ABSENT, CAN), 3) is math.floor
    assert choose("op", (ABSENT, CAN), 3) is math.floor


def test_a_forced_backend_runs_although_another_comes_first(force):
    import math

    force("reference")
    assert choose("op", (REFUSES, CAN), 2) is math.floor


@pytest.mark.parametrize(
    "name, reason",
    [("triton", "triton: 3 is odd"), ("native", "native: not built"), ("cuda", "cuda: this family has no cuda impl")],
)
def test_a_forced_backend_that_cannot_run_raises_with_every_reason(force, name, reason):
    force(name)
    with pytest.raises(BackendUnavailable) as caught:
        choose("op", (REFUSES, ABSENT, CAN), 3)
    message = str(caught.value)
    assert message.startswith("op: no backend takes this call: ") and reason in message
    assert f"reference: FASTSNN_BACKEND={name}" in message
    assert all(f"{other}: " in message for other in NAMES)
    assert isinstance(caught.value, FastSNNError) and isinstance(caught.value, RuntimeError)


def test_no_backend_for_the_call_raises_with_every_reason(force):
    with pytest.raises(BackendUnavailable, match=r"op: .*triton: 3 is odd; native: not built; cuda: .*reference: "):
        choose("op", (REFUSES, ABSENT), 3)


def test_a_name_that_is_no_backend_is_said_to_be_none(force):
    force("gpu")
    with pytest.raises(BackendUnavailable, match="must be one of cuda, triton, native, reference, got 'gpu'"):
        choose("op", (CAN,), 3)


def test_targets_are_loaded_when_chosen_and_once():
    assert load("math:floor") is load("math:floor")
    with pytest.raises(ModuleNotFoundError):
        choose("op", (Backend("reference", "no.such.module:f", lambda x: None),), 3)


def test_the_table_has_every_family_and_backend():
    rows = table()
    assert tuple(family for family, _ in rows) == FAMILIES
    for _, row in rows:
        assert tuple(row) == NAMES
        assert row["reference"] is None
        assert all(reason is None or (isinstance(reason, str) and reason) for reason in row.values())


def test_the_table_gives_the_reason_of_the_machine(monkeypatch):
    op = import_module("fastsnn.ops.pack.op")
    monkeypatch.setattr(op, "BACKENDS", (ABSENT, CAN))
    row = dict(_registry.table())["pack"]
    assert row == {
        "cuda": "this family has no cuda implementation",
        "triton": "this family has no triton implementation",
        "native": "not built",
        "reference": None,
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_reference_that_comes_last_and_takes_everything(family):
    backends = import_module(f"fastsnn.ops.{family}.op").BACKENDS
    assert backends[-1].name == "reference" and callable(load(backends[-1].target))
    assert backends[-1].absent() is None and backends[-1].refuse(torch.zeros(0)) is None
    assert len({b.name for b in backends}) == len(backends) and {b.name for b in backends} <= set(NAMES)
