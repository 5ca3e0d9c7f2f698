"""The cases, comparisons and timings that tests and benchmarks share; import from the modules inside."""
