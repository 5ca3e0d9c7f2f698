"""Which of a GPU's backends takes a call first: the one that was measured to be the fastest for calls of its kind."""

import pytest
import torch

from fastsnn import _env, _order, _registry
from fastsnn._order import MEASURED, fastest, measured, remember, sized
from fastsnn._registry import Backend, able, pick
from fastsnn.ops import _layer_gpu
from fastsnn.ops._layer_gpu import GpuPlan

CPU = torch.device("cpu")
SMALL, LARGE = torch.zeros(2**6, dtype=torch.int16), torch.zeros(2**20, dtype=torch.int16)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_env, "CACHE", str(tmp_path))
    return tmp_path


class OnGpu:
    """Words on a GPU, as far as they are looked at."""

    is_cuda, device, dtype = True, CPU, torch.int16

    def __init__(self, count):
        self._count = count

    def numel(self):
        return self._count


BACKENDS = tuple(Backend(name, "math:floor", lambda x: None) for name in ("triton", "cuda", "native", "reference"))


def order(count):
    return [b.name for b in able("pool_or", BACKENDS, OnGpu(count))]


def test_without_a_measurement_the_order_is_the_declared_one():
    assert order(64) == ["triton", "cuda", "native", "reference"]


def test_the_faster_one_comes_first_for_the_nearest_size_and_kind():
    remember("pool_or", (SMALL,), {"triton": 5e-6, "cuda": 2e-6})
    assert order(64) == order(2**30) == ["cuda", "triton", "native", "reference"]
    remember("pool_or", (LARGE,), {"triton": 1e-4, "cuda": 2e-4})
    assert order(100)[0] == "cuda" and order(2**12)[0] == "cuda"
    assert order(2**14)[0] == "triton" and order(2**20 + 9)[0] == "triton"
    # another operator, and words of another width, were not measured
    assert fastest("pool_gate", sized([SMALL]), CPU) == ()
    assert fastest("pool_or", sized([SMALL.int()]), CPU) == ()
    assert pick("pool_or", BACKENDS, OnGpu(64)).name == "cuda"


def test_a_forced_backend_and_a_cpu_take_no_notice(monkeypatch):
    remember("pool_or", (SMALL,), {"triton": 5e-6, "cuda": 2e-6})
    assert pick("pool_or", BACKENDS, SMALL).name == "triton"
    monkeypatch.setattr(_env, "BACKEND", "triton")
    assert order(64) == ["triton"]


def test_the_fastest_is_passed_over_where_it_refuses(monkeypatch):
    remember("pool_or", (SMALL,), {"triton": 5e-6, "cuda": 2e-6})
    backends = (BACKENDS[0], Backend("cuda", "math:floor", lambda x: "not this one"), *BACKENDS[2:])
    assert [b.name for b in able("pool_or", backends, OnGpu(64))] == ["triton", "native", "reference"]


def test_measurements_are_kept_for_other_processes(folder):
    remember("conv_if", (LARGE, SMALL), {"triton": 5e-6, "cuda": 2e-6})
    MEASURED.forget()
    assert measured("conv_if", CPU) == {"conv_if int16 int16 @ 20 6": {"triton": 5e-6, "cuda": 2e-6}}
    assert measured("conv", CPU) == {}
    [file] = folder.iterdir()
    assert "order" in file.name and "cupy" in file.name and "triton" in file.name


@pytest.mark.parametrize(
    "content", ["{", "[1]", '{"a": 3}', '{"a": {}}', '{"a": {"gpu": 1}}', '{"a": {"cuda": "fast"}}', '{"a": null}']
)
def test_a_broken_or_foreign_file_reads_as_empty(folder, content):
    MEASURED.path(CPU).write_text(content)
    MEASURED.forget()
    assert MEASURED.all(CPU) == {} and order(64)[0] == "triton"
    remember("pool_or", (SMALL,), {"triton": 2.0, "cuda": 1.0})
    MEASURED.forget()
    assert order(64)[0] == "cuda"


# --- layers, of which each backend has a plan


class Plan:
    """Stands in for a backend's plan; says what it is told."""

    def __init__(self, **layer):
        self.told, self.label = [], f"by {self.name}"

    def choices(self, batch, T):
        return (None, f"{self.name} at {batch}")

    def choose(self, way):
        self.told.append(("choose", way))

    def remember(self, way, batch, T):
        self.told.append(("remember", way, batch, T))

    def __call__(self, words, T, *args, **kwargs):
        return self.name, args, kwargs


@pytest.fixture
def plan(monkeypatch):
    kinds = {name: type(name, (Plan,), {"name": name}) for name in ("triton", "cuda")}
    monkeypatch.setattr(_layer_gpu, "load", lambda target: kinds[target])
    monkeypatch.setattr(_layer_gpu, "PLANS", {name: name for name in kinds})
    layer = {
        "inputs": [(8, 8, 3)], "weights": [torch.zeros(4, 3, 3, 3, dtype=torch.int8)], "shape": (1, 8, 8, 4),
        "threshold": torch.zeros((), dtype=torch.int32), "stride": [1, 1], "padding": [1, 1], "dilation": [1, 1],
        "groups": [1],
    }  # fmt: skip
    return lambda *names: GpuPlan("conv_if", names or ("triton", "cuda"), **layer)


def words(batch):
    return [torch.zeros(batch, 8, 8, 3, dtype=torch.int16)]


def test_a_layer_offers_the_ways_of_every_backend(plan):
    assert plan().choices(5, 16) == (
        ("triton", None), ("triton", "triton at 5"), ("cuda", None), ("cuda", "cuda at 5"),
    )  # fmt: skip
    assert plan("cuda").choices(1, 16) == (("cuda", None), ("cuda", "cuda at 1"))


def test_each_batch_goes_to_the_backend_that_was_fastest_for_it(plan):
    first = plan()
    assert first(words(1), 16, None, keep=False) == ("triton", (None,), {"keep": False})
    times = {("triton", None): 3.0, ("triton", "a"): 2.0, ("cuda", None): 4.0, ("cuda", "b"): 1.0}
    first.remember(times, 1, 16)
    assert first.plan("triton").told == [("remember", "a", 1, 16)]
    assert first.plan("cuda").told == [("remember", "b", 1, 16)]
    for each in (first, plan()):
        MEASURED.forget()
        assert each(words(1), 16)[0] == "cuda" and each(words(2), 16)[0] == each(words(1), 8)[0] == "triton"
    # only where both can run
    assert plan("triton")(words(1), 16)[0] == "triton"


def test_a_layer_that_was_not_measured_goes_where_its_kind_goes(plan):
    remember("conv_if", (words(4)[0], torch.zeros(4, 3, 3, 3, dtype=torch.int8)), {"triton": 2.0, "cuda": 1.0})
    assert plan()(words(1), 16)[0] == "cuda"
    measured = plan()
    measured.remember({("triton", None): 1.0, ("cuda", None): 2.0}, 1, 16)
    assert measured(words(1), 16)[0] == "triton" and measured(words(2), 16)[0] == "cuda"


def test_a_layer_says_which_backend_a_batch_goes_to(plan):
    first = plan()
    assert first.backend(1, 16) == first.backend(1, 8) == "triton"
    first.remember({("triton", None): 2.0, ("cuda", None): 1.0}, 1, 16)
    assert first.backend(1, 16) == "cuda" and first.backend(2, 16) == first.backend(1, 8) == "triton"
    assert plan("cuda").backend(1, 8) == "cuda"


def test_one_way_can_be_taken_for_every_batch(plan):
    chosen = plan()
    chosen.choose(("cuda", "b"))
    assert chosen(words(3), 16)[0] == "cuda" and chosen.label == "by cuda"
    assert chosen.plan("cuda").told == [("choose", "b")] and "triton" not in chosen._plans


def test_the_registry_knows_who_competes():
    assert set(_order.RIVALS) <= set(_registry.NAMES)
