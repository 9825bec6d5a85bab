"""What tests and benchmarks share: the shapes, numbers whose sums are exact, error bounds, and a check of gradients."""

from fastconv.testing.cases import CASES
from fastconv.testing.compare import error_bound, gradcheck, gradcheck_layer
from fastconv.testing.conv_cases import (
    CONV1D_CASES,
    CONV3D_CASES,
    CONV_CASES,
    TRANSPOSE_CASES,
    ConvCase,
    ConvTransposeCase,
)
from fastconv.testing.deform_cases import DEFORM_CASES, DeformCase
from fastconv.testing.draw import (
    distinct_numbers,
    exact_integers,
    random_deform_case,
    random_geometry,
    random_transpose,
)
from fastconv.testing.pool_cases import POOL_CASES, RESAMPLE_CASES, WINDOW_CASES, OpCase, PoolCase

__all__ = [
    "CASES",
    "CONV1D_CASES",
    "CONV3D_CASES",
    "CONV_CASES",
    "DEFORM_CASES",
    "POOL_CASES",
    "RESAMPLE_CASES",
    "TRANSPOSE_CASES",
    "WINDOW_CASES",
    "ConvCase",
    "ConvTransposeCase",
    "DeformCase",
    "OpCase",
    "PoolCase",
    "distinct_numbers",
    "error_bound",
    "exact_integers",
    "gradcheck",
    "gradcheck_layer",
    "random_deform_case",
    "random_geometry",
    "random_transpose",
]
