"""Every environment variable that fastsnn reads: name, default, meaning. No other file reads the environment."""

import os

# FASTSNN_BACKEND: reference | native | triton | cuda; unset: the first that accepts the call.
BACKEND: str | None = os.environ.get("FASTSNN_BACKEND") or None

# FASTSNN_DATA: folder with the data sets and weights that the example and the data tests use.
DATA: str | None = os.environ.get("FASTSNN_DATA") or None

# FASTSNN_CPU_ISA: baseline | avx2 | avx512 | avx512vbmi2 | amx; unset: the best instruction set that the processor has.
CPU_ISA: str | None = os.environ.get("FASTSNN_CPU_ISA") or None

# FASTSNN_CACHE: folder for what was measured on this machine, such as tile sizes; unset: ~/.cache/fastsnn.
CACHE: str = os.environ.get("FASTSNN_CACHE") or os.path.join(os.path.expanduser("~"), ".cache", "fastsnn")

# FASTSNN_TIMEOUT: seconds that a process waits for the others of its run, which includes calibration on the first of
# them; unset: half an hour.
TIMEOUT: str = os.environ.get("FASTSNN_TIMEOUT") or "1800"

# RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE: torchrun's own; which process this is of how many, in all and on this
# machine. Unset: the only one.
RANK: str = os.environ.get("RANK") or "0"
WORLD_SIZE: str = os.environ.get("WORLD_SIZE") or "1"
LOCAL_RANK: str = os.environ.get("LOCAL_RANK") or "0"
LOCAL_WORLD_SIZE: str = os.environ.get("LOCAL_WORLD_SIZE") or "1"

# TRITON_INTERPRET=1: Triton's own switch; its kernels then run on the CPU, for tests.
TRITON_INTERPRET: bool = os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "on", "yes", "y")

# FASTSNN_SANITIZE=1: emulated CUDA kernels are compiled with AddressSanitizer and UndefinedBehaviorSanitizer, for tests
# in a process that has loaded both. A build of fastsnn reads the same variable.
SANITIZE: bool = os.environ.get("FASTSNN_SANITIZE") == "1"

# CXX: the C++ compiler that emulates CUDA kernels for tests, as for a build; unset: g++, c++ or clang++.
CXX: str | None = os.environ.get("CXX") or None
