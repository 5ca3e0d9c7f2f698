"""Benchmarks on an NVIDIA GPU; `benchmarks/gpu/run.py` runs them all. They import what lies in benchmarks/ by name."""
