"""How much memory a run takes at its highest, on top of what the process held before."""

import ctypes
import gc
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from fastsnn.profile.schema import NotMeasurable, unavailable

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
ATTEMPTS = 3


def how(device: torch.device) -> str:
    """What `peak_bytes` reads on a device, in words."""
    if device.type == "cuda":
        return (
            "highest torch.cuda.max_memory_allocated of a run, after one to warm up, minus what was allocated before: "
            "what PyTorch's allocator gave out on the GPU, without CUDA's own memory"
        )
    return (
        f"median of {ATTEMPTS} runs, after one to warm up, of VmHWM after the run minus VmRSS before it "
        "(/proc/self/status), after memory that had been freed was given back to the system"
    )


@torch.inference_mode()
def peak_bytes(
    run: Callable[[], Any], device: torch.device, before: Callable[[], Any] | None = None
) -> int | NotMeasurable:
    """Bytes that a run adds at its highest to what the process held before, as `how` says; the reason where unknown.

    before  called ahead of each run, to let go of what runs keep for the next one and what would then count as held

    On a CPU these are resident pages of the whole process: work of other threads in the meantime counts as well. The
    counters of the kernel are exact to some hundred KiB for each processor that the threads ran on. The median is
    taken because errors go both ways: other threads add, memory that the C library did not give back hides.
    """
    if device.type == "cuda":
        return _cuda(run, device, before)
    if device.type != "cpu":
        return unavailable(f"the memory of a run can be read on a CPU or a CUDA device, not on {device}")
    if why := _absent():
        return unavailable(why)
    peaks = [_resident(run, before) for _ in range(1 + ATTEMPTS)]
    return max(int(median(peaks[1:])), 0)


def _cuda(run: Callable[[], Any], device: torch.device, before: Callable[[], Any] | None) -> int:
    # the first one warms up
    for _ in range(2):
        if before is not None:
            before()
        gc.collect()
        torch.cuda.synchronize(device)
        held = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - held


def _absent() -> str | None:
    """Why the peak of this process cannot be read, or None."""
    if not sys.platform.startswith("linux"):
        return f"the memory of a run on a CPU needs /proc of Linux, this is {sys.platform}"
    if threading.current_thread() is not threading.main_thread():
        return "the memory of a run on a CPU is read in the main thread: what others free stays with the C library"
    try:
        CLEAR.write_text("5")
        _level("VmHWM"), _level("VmRSS")
    except (OSError, ValueError) as error:
        return f"the memory of a run on a CPU needs {CLEAR} and {STATUS} of Linux ({error})"
    return None


def _resident(run: Callable[[], Any], before: Callable[[], Any] | None) -> int:
    if before is not None:
        before()
    _give_back()
    # from here on the highest level is that of the run
    CLEAR.write_text("5")
    held = _level("VmRSS")
    run()
    return _level("VmHWM") - held


def _give_back() -> None:
    """Lets go of memory that nothing uses: what a run takes from there would not be seen."""
    gc.collect()
    # other C libraries than GNU's have no such function
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _level(name: str) -> int:
    """A line of /proc/self/status in bytes. Raises ValueError where there is none."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"there is no {name}")
