"""What every test runs under: a fixed seed, poisoned memory, GPU kernels interpreted or emulated without a GPU."""

import gc
import os
import random
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# Read when fastsnn and when a kernel is first imported, hence before any test is.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

import exporting

from fastsnn import _env, _triton
from fastsnn.testing import emulator

exporting.quicken()

if not torch.cuda.is_available():
    emulator.install()
if _env.TRITON_INTERPRET and _triton.unfit() is None:
    from interpreting import quicken

    quicken()

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()

# files whose tests take long, few as they are
LONG = ("tests/gpu/", "test_portable", "test_methods_backends", "test_network_triton", "test_exported", "distributed/")


@pytest.hookimpl(hookwrapper=True)
def pytest_collection():
    # nothing of what is imported is garbage
    gc.disable()
    yield
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # processes take files in this order: none is left with a long one when the others have finished
    items.sort(key=lambda item: not any(part in item.nodeid for part in LONG))


settings.register_profile("fastsnn", max_examples=25, deadline=None, derandomize=True)
settings.load_profile("fastsnn")


@pytest.fixture(autouse=True)
def seeded():
    random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="module", autouse=True)
def only_young_garbage():
    # half a million objects are there before the first test: to go through them takes half a second each time, which
    # is most of a test that looks at memory, and a quarter of one that captures a network
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def one_thread_from_the_start():
    # what a module shares is made before any test's own fixtures
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_thread():
    # the tensors are small: on a busy machine, threads that wait for each other take three to ten times as long
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def poisoned_memory():
    # torch.empty* now holds NaN or the largest integer, so an output that is not written shows; warn_only, because
    # some operations of a GPU would otherwise raise
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(params=DEVICES)
def device(request) -> str:
    return request.param


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder with real data sets and weights."""
    folder = Path(_env.DATA) if _env.DATA else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: neither FASTSNN_DATA nor {folder} is a folder")
    return folder
