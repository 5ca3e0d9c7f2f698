"""CUDA kernels run on a CPU under sanitizers and in either order of their threads, and planted faults are found."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from emulated import FAULTS, differences, planted

from fastsnn import _cuda, _env
from fastsnn.testing import emulator
from fastsnn.testing.cases import CASES

pytestmark = [
    pytest.mark.skipif(torch.cuda.is_available(), reason="kernels run on the GPU here"),
    pytest.mark.skipif(emulator.reason() is not None, reason=str(emulator.reason())),
]

SCRIPT = Path(__file__).with_name("emulated.py")


@pytest.fixture(autouse=True)
def forced(monkeypatch):
    monkeypatch.setattr(_env, "BACKEND", "cuda")


def sanitizers() -> list[str]:
    """The libraries that a sanitized kernel needs a process to have loaded; empty where the compiler has none."""
    compiler = next(c for c in (_env.CXX, "g++", "c++", "clang++") if c and shutil.which(c))
    found = []
    for name in ("libasan.so", "libubsan.so"):
        path = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=False)
        found += [path.stdout.strip()] if Path(path.stdout.strip()).is_absolute() else []
    return found if len(found) == 2 else []


def watched(*arguments: str) -> subprocess.CompletedProcess:
    """The script in a process that watches memory and undefined behaviour."""
    libraries = sanitizers()
    if not libraries:
        pytest.skip("the C++ compiler has no AddressSanitizer and UndefinedBehaviorSanitizer of its own")
    environment = os.environ | {
        "FASTSNN_SANITIZE": "1",
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=600)


@pytest.mark.slow
def test_no_kernel_leaves_its_memory_or_does_what_is_undefined():
    """The last cases of each op have the odd sizes and the most steps."""
    done = watched("--most", "5")
    assert done.returncode == 0 and done.stdout.strip() == "all are the reference's", done.stdout + done.stderr
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault, op, found", [("guard", "pack", "pack/pack.cu:"), ("row", "linear_if", "layer/layer.cu:")]
)
def test_a_planted_access_outside_is_found_with_its_line(fault, op, found):
    done = watched("--plant", fault, "--most", "2", op)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr and found in done.stderr


@pytest.mark.parametrize("fault, op", [("tail", "if_steps"), ("tail", "pack"), ("step", "if_constant")])
def test_a_planted_fault_gives_other_results(fault, op):
    with emulator.emulating(change=planted(fault)):
        assert list(differences([op], 12))
    assert list(differences([op], 12)) == []


@pytest.mark.parametrize(
    "fault, op, some, file",
    [
        ("barrier", "readout", "", "readout/readout.cu"),
        ("join", "linear_if", "", "layer/layer.cu"),
        ("stage", "conv_if", "wide-", "layer/products.cu"),
    ],
)
def test_a_missing_barrier_shows_in_one_order_or_the_other(fault, op, some, file):
    before, _ = FAULTS[fault]
    assert before in _cuda.source(file)
    found = []
    for reverse in (False, True):
        with emulator.emulating(reverse, planted(fault)):
            found += differences([op], 8, some)
    assert found


def test_the_order_of_threads_decides_nothing():
    with emulator.emulating(reverse=True):
        assert list(differences(list(CASES), 5)) == []


KERNEL = """
namespace fastsnn {
namespace device {
struct Call {
    int32_t* to;
    int64_t n;
};
namespace {
FASTSNN_DEVICE void waits(const Call& call) {
    FASTSNN_SHARED(bytes);
    int32_t* room = reinterpret_cast<int32_t*>(bytes);
    if (%s) {
        return;
    }
    room[threadIdx.x] = threadIdx.x;
    %s
    call.to[threadIdx.x] = room[blockDim.x - 1 - threadIdx.x] + __popc(__ballot_sync(~0u, threadIdx.x %% 2));
}
}  // namespace
}  // namespace device
}  // namespace fastsnn
"""


def run(early: str, barrier: str, threads: int = 64) -> torch.Tensor:
    kernel = _cuda.Kernel("common/device.cuh", "waits", "Call", "<2q", threads)
    text = _cuda.source(kernel.file) + KERNEL % (early, barrier) + kernel.text.removeprefix(_cuda.source(kernel.file))
    out = torch.full((threads,), -1, dtype=torch.int32)
    with emulator.emulating(change=lambda _: text):
        _cuda.launch(kernel, (1,), (out.data_ptr(), threads), out, shared=4 * threads)
    return out


def test_threads_wait_for_their_block_and_their_warp():
    assert run("false", "__syncthreads();").tolist() == [63 - i + 16 for i in range(64)]
    # shared memory is new, and full of what nobody wrote
    assert run("false", "").tolist() != [63 - i + 16 for i in range(64)]


@pytest.mark.parametrize(
    "early, barrier, found",
    [
        ("threadIdx.x == 40", "__syncthreads();", "block 0, 0: a thread has ended that others wait for"),
        ("false", "if (threadIdx.x < 5) __syncthreads();", "block 0, 0: threads wait at different places"),
    ],
)
def test_threads_that_wait_in_vain_are_reported(early, barrier, found):
    with pytest.raises(RuntimeError, match=found):
        run(early, barrier)
    # and the next launch begins afresh
    assert run("false", "__syncthreads();")[0] == 79


def test_a_text_that_does_not_compile_says_where():
    with pytest.raises(RuntimeError, match=r"does not compile a kernel: common/device\.cuh"):
        kernel = _cuda.Kernel("common/device.cuh", "waits", "Call", "<2q")
        with emulator.emulating(change=lambda text: text.replace("#pragma once", "").replace("int64_t thread()", "?")):
            _cuda.launch(kernel, (1,), (0, 0), torch.zeros(1))
