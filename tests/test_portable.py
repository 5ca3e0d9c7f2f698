"""The kernels away from this machine: for 64-bit ARM in an emulator, and built by clang, where these are installed."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
SOURCES = [CSRC / "isa" / "baseline.cpp", CSRC / "common" / "executable.cpp", *sorted((CSRC / "layer").glob("*.cpp"))]
FLAGS = ["-std=c++17", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
X86 = platform.machine() in ("x86_64", "AMD64")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CSRC.is_dir(), reason="csrc is not beside the tests: an installed copy is tested"),
]


def needs(*programs):
    absent = [p for p in programs if shutil.which(p) is None]
    return pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)}")


def run(*words):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def built(tmp_path, compiler, *more):
    program = tmp_path / "check"
    run(compiler, *FLAGS, *more, f"-I{CSRC}", *SOURCES, ROOT / "tests" / "native" / "check_layer.cpp", "-o", program)
    return program


@needs("g++")
def test_the_layer_without_python(tmp_path):
    assert run(built(tmp_path, "g++")).endswith("all equal\n")


@needs("clang++")
def test_the_layer_built_by_clang(tmp_path):
    assert run(built(tmp_path, "clang++")).endswith("all equal\n")


@needs("aarch64-linux-gnu-g++", "qemu-aarch64")
def test_the_layer_on_64_bit_arm(tmp_path):
    program = built(tmp_path, "aarch64-linux-gnu-g++", "-static")
    assert run("qemu-aarch64", program).endswith("all equal\n")


@needs("clang++")
@pytest.mark.skipif(not X86, reason="the flags are those of x86-64")
@pytest.mark.parametrize("name", ["avx2", "avx512", "avx512vbmi2"])
def test_clang_compiles_every_instruction_set(tmp_path, name):
    more = ["-mavx2"]
    more += ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"] if name != "avx2" else []
    more += ["-mavx512vbmi2", "-mavx512vpopcntdq", "-mamx-tile", "-mamx-int8"] if name == "avx512vbmi2" else []
    run("clang++", *FLAGS, *more, "-mbmi", "-mbmi2", "-mpopcnt", f"-I{CSRC}", "-c", CSRC / "isa" / f"{name}.cpp",
        "-o", tmp_path / "kernels.o")  # fmt: skip
