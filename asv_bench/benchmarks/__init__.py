"""Benchmarks for asv; their shapes are those of `fastconv.testing.CASES`."""
