"""The machine is described from what the system tells, and where it does not tell, with None."""

import json
import os
import sys

import pytest
import torch

from fastsnn import _native
from fastsnn.profile import machine
from fastsnn.profile.schema import Machine

CPU = torch.device("cpu")


def test_it_has_the_keys_of_the_schema_and_is_json():
    found = machine.machine(CPU)
    assert set(found) == set(Machine.__annotations__)
    assert json.loads(json.dumps(found)) == found
    assert found["gpu"] is None and found["driver"] is None


def test_the_instruction_set_is_that_of_the_native_module(monkeypatch):
    expected = None if _native.reason() else _native.load().instruction_set()
    assert machine.machine(CPU)["instruction_set"] == expected
    monkeypatch.setattr(_native, "reason", lambda: "it was not built")
    assert machine.machine(CPU)["instruction_set"] is None


def test_cores_are_those_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 7}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert machine.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert machine.cores() == 64
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.cores() == 1


def test_memory_is_pages_times_their_size(monkeypatch):
    monkeypatch.setattr(os, "sysconf_names", {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 2}, raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1000}.__getitem__, raising=False)
    assert machine.memory_bytes() == 4096000
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": -1}.__getitem__)
    assert machine.memory_bytes() is None
    monkeypatch.delattr(os, "sysconf")
    assert machine.memory_bytes() is None


def test_the_processor_is_named_as_its_maker_does(monkeypatch, tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: Some CPU: 3 GHz\n\nprocessor\t: 1\nmodel name\t: Some CPU: 3 GHz\n")
    monkeypatch.setattr(machine, "CPUINFO", file)
    assert machine.processor() == "Some CPU: 3 GHz"


@pytest.mark.parametrize("system, said, expected", [("Darwin", "Apple M9", "Apple M9"), ("Windows", "", "x86 of some")])
def test_without_cpuinfo_the_system_is_asked(monkeypatch, tmp_path, system, said, expected):
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(machine.platform, "system", lambda: system)
    monkeypatch.setattr(machine.platform, "processor", lambda: "x86 of some")
    monkeypatch.setattr(machine, "_output", lambda *_: said)
    assert machine.processor() == expected


def test_versions_name_what_is_there_and_what_is_not(monkeypatch):
    monkeypatch.setattr(machine, "PACKAGES", ("numpy", "a_package_that_nobody_has"))
    machine.versions.cache_clear()
    found = machine.versions()
    machine.versions.cache_clear()
    assert found["numpy"] == sys.modules["numpy"].__version__
    assert found["torch"] == torch.__version__
    assert found["a_package_that_nobody_has"] is None


def test_the_packages_are_those_that_compute():
    assert {"python", "fastsnn", "torch", "numpy", "triton", "cupy"} == set(machine.versions())


def test_a_gpu_is_described_with_its_driver(monkeypatch):
    class Has:
        name, total_memory, major, minor = "A GPU", 80 * 2**30, 9, 0

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Has)
    monkeypatch.setattr(machine, "_output", lambda *_: "580.1\n580.1")
    machine.driver.cache_clear()
    found = machine.machine(torch.device("cuda", 1))
    machine.driver.cache_clear()
    assert found["gpu"] == "A GPU, 80 GiB, sm_90" and found["driver"] == "580.1"


def test_a_command_that_is_not_there_or_fails_says_nothing():
    assert machine._output("a-command-that-nobody-has") == ""
    assert machine._output(sys.executable, "-c", "print('x'); raise SystemExit(1)") == ""
    assert machine._output(sys.executable, "-c", "print('x')") == "x"
