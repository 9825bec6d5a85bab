"""What tests and benchmarks share: the shapes, numbers whose sums are exact, error bounds, and a check of gradients."""

from fastconv.testing.cases import (
    CASES,
    CONV1D_CASES,
    CONV3D_CASES,
    CONV_CASES,
    DEFORM_CASES,
    POOL_CASES,
    TRANSPOSE_CASES,
    ConvCase,
    ConvTransposeCase,
    DeformCase,
    PoolCase,
)
from fastconv.testing.compare import error_bound, gradcheck
from fastconv.testing.draw import (
    distinct_numbers,
    exact_integers,
    random_deform_case,
    random_geometry,
    random_transpose,
)

__all__ = [
    "CASES",
    "CONV1D_CASES",
    "CONV3D_CASES",
    "CONV_CASES",
    "DEFORM_CASES",
    "POOL_CASES",
    "TRANSPOSE_CASES",
    "ConvCase",
    "ConvTransposeCase",
    "DeformCase",
    "PoolCase",
    "distinct_numbers",
    "error_bound",
    "exact_integers",
    "gradcheck",
    "random_deform_case",
    "random_geometry",
    "random_transpose",
]
