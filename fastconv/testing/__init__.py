"""What tests and benchmarks share: the shapes, numbers whose sums are exact, error bounds, and a check of gradients."""

from fastconv.testing.cases import (
    CASES,
    CONV_CASES,
    POOL_CASES,
    RESAMPLE_CASES,
    WINDOW_CASES,
    ConvCase,
    OpCase,
    PoolCase,
)
from fastconv.testing.compare import error_bound, gradcheck
from fastconv.testing.draw import distinct_numbers, exact_integers, random_geometry

__all__ = [
    "CASES",
    "CONV_CASES",
    "POOL_CASES",
    "RESAMPLE_CASES",
    "WINDOW_CASES",
    "ConvCase",
    "OpCase",
    "PoolCase",
    "distinct_numbers",
    "error_bound",
    "exact_integers",
    "gradcheck",
    "random_geometry",
]
