"""Every environment variable that fastsnn reads: name, default, meaning. No other file reads the environment."""

import os

# FASTSNN_BACKEND: reference | native | triton | cuda; unset: the first that accepts the call.
BACKEND: str | None = os.environ.get("FASTSNN_BACKEND") or None

# FASTSNN_DATA: folder with the data sets and weights that the example and the data tests use.
DATA: str | None = os.environ.get("FASTSNN_DATA") or None
