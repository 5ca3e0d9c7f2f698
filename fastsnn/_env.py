"""Every environment variable that fastsnn reads: name, default, meaning. No other file reads the environment."""

import os

# FASTSNN_BACKEND: reference | native | triton | cuda; unset: the first that accepts the call.
BACKEND: str | None = os.environ.get("FASTSNN_BACKEND") or None

# FASTSNN_DATA: folder with the data sets and weights that the example and the data tests use.
DATA: str | None = os.environ.get("FASTSNN_DATA") or None

# FASTSNN_CPU_ISA: baseline | avx2 | avx512; unset: the best instruction set that the processor has.
CPU_ISA: str | None = os.environ.get("FASTSNN_CPU_ISA") or None
