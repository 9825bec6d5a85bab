"""The shapes that tests and benchmarks share, one table for each kind of op."""

from fastconv.testing.conv_cases import CONV1D_CASES, CONV3D_CASES, CONV_CASES, TRANSPOSE_CASES
from fastconv.testing.deform_cases import DEFORM_CASES
from fastconv.testing.pool_cases import POOL_CASES, RESAMPLE_CASES, WINDOW_CASES

CASES = {
    "conv2d": CONV_CASES,
    "conv1d": CONV1D_CASES,
    "conv3d": CONV3D_CASES,
    "conv_transpose": TRANSPOSE_CASES,
    "deform_conv2d": DEFORM_CASES,
    "pool2d": POOL_CASES,
    "windows": WINDOW_CASES,
    "resample": RESAMPLE_CASES,
}
"""Shapes by the kind of op; benchmarks take those with `network`, tests of the results the others."""
