"""The peak is that of the run: not less because memory was kept from before, and nothing where it takes none."""

import ctypes
import sys
import threading

import pytest
import torch

from fastsnn.profile import memory, schema

CPU = torch.device("cpu")
MIB = 2**20
# a huge page more or less (2 MiB), and two readings of counters that may lag by 64 pages of 4 KiB on four processors
TOLERANCE = 4 * MIB

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc of Linux")


@pytest.fixture
def kept():
    """Memory that the C library keeps: blocks too small to be mapped one by one, freed in the middle of its heap."""
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("the C library of this system has no malloc_trim")
    for _ in range(3):
        blocks()
    return blocks


def blocks():
    return [torch.ones(3 * MIB) for _ in range(8)]


@linux
def test_a_tensor_of_known_size_is_seen():
    peak = memory.peak_bytes(lambda: torch.ones(16 * MIB), CPU)
    assert abs(peak - 64 * MIB) < TOLERANCE


@linux
def test_what_is_freed_within_the_run_counts():
    def run():
        torch.ones(16 * MIB)
        torch.ones(4 * MIB)

    # what was freed may be used again for the second tensor, or still be resident beside it
    assert 64 * MIB - TOLERANCE < memory.peak_bytes(run, CPU) < 80 * MIB + TOLERANCE


@linux
def test_a_run_that_takes_nothing_adds_nothing():
    held = torch.ones(16 * MIB)
    assert 0 <= memory.peak_bytes(lambda: held.add_(1), CPU) < TOLERANCE


@linux
def test_kept_memory_of_earlier_runs_hides_nothing(kept):
    # with a heap full of holes the C library makes more resident than is held: at most another block
    assert 96 * MIB - TOLERANCE < memory.peak_bytes(kept, CPU) < 108 * MIB + TOLERANCE


@linux
def test_it_would_hide_the_peak_if_it_were_not_given_back(kept, monkeypatch):
    monkeypatch.setattr(memory, "_give_back", lambda: None)
    assert memory.peak_bytes(kept, CPU) < 96 * MIB - TOLERANCE


@linux
def test_what_a_run_keeps_for_the_next_one_counts_if_it_is_dropped_before():
    buffers = []

    def run():
        if not buffers:
            buffers.append(torch.ones(16 * MIB))

    assert memory.peak_bytes(run, CPU) < TOLERANCE
    assert abs(memory.peak_bytes(run, CPU, before=buffers.clear) - 64 * MIB) < TOLERANCE


@linux
def test_no_gradients_are_kept():
    seen = []
    memory.peak_bytes(lambda: seen.append(torch.is_inference_mode_enabled()), CPU)
    assert set(seen) == {True}


@linux
def test_another_thread_is_told_why_not():
    found = []
    thread = threading.Thread(target=lambda: found.append(memory.peak_bytes(lambda: None, CPU)))
    thread.start()
    thread.join()
    assert schema.missing(found[0]) and "main thread" in found[0]["not_measurable"]


@linux
def test_a_system_without_the_files_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "clear_refs")
    found = memory.peak_bytes(lambda: None, CPU)
    assert schema.missing(found) and "needs" in found["not_measurable"] and "status" in found["not_measurable"]
    (tmp_path / "status").write_text("VmRSS:\t  12 kB\n")
    assert "there is no VmHWM" in memory.peak_bytes(lambda: None, CPU)["not_measurable"]


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_say_so(platform, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    found = memory.peak_bytes(lambda: None, CPU)
    assert schema.missing(found) and "needs /proc of Linux" in found["not_measurable"]


def test_other_devices_say_so():
    found = memory.peak_bytes(lambda: None, torch.device("meta"))
    assert schema.missing(found) and "meta" in found["not_measurable"]


def test_a_gpu_counts_what_torch_gave_out(monkeypatch):
    """The calls, on a pretended allocator: the first run is not the one that counts."""
    held, peak, log = [100], [0], []

    def reset(_):
        peak[0] = held[0]
        log.append("reset")

    def run():
        log.append("run")
        peak[0] = held[0] + (50 if log.count("run") > 1 else 70)

    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: log.append("wait"))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: held[0])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: peak[0])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
    assert memory.peak_bytes(run, torch.device("cuda", 0)) == 50
    assert log == ["wait", "reset", "run", "wait"] * 2


def test_how_names_the_counter():
    assert "VmHWM" in memory.how(CPU)
    assert "max_memory_allocated" in memory.how(torch.device("cuda", 0))
