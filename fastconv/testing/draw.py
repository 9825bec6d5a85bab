"""Random geometries, and numbers whose sums or differences are exact."""

from math import prod

import numpy as np
from numpy.typing import DTypeLike

from fastconv.testing.conv_cases import ConvCase, ConvTransposeCase
from fastconv.testing.deform_cases import DeformCase

LONGEST = (6, 12, 40)  # outputs along the last three axes


def random_geometry(rng: np.random.Generator, outputs: int = 3000, ndim: int = 2) -> ConvCase:
    """Draw legal arguments of a convolution: any groups, stride, dilation, uneven padding and kernel.

    Parameters
    ----------
    rng : numpy.random.Generator
    outputs : int
        Rough limit on the number of outputs, which the reference computes one by one.
    ndim : int
        Number of axes along which the window moves: 1, 2 or 3.
    """
    groups = int(rng.choice([1, 1, 1, 2, 3, 8]))
    group_in, group_out = (int(rng.integers(1, 40 // groups + 1)) for _ in range(2))
    batch = int(rng.integers(0, 4))
    rest, sizes = max(1, outputs // (max(1, batch) * groups * group_out)), []
    for longest in LONGEST[-ndim:]:
        sizes.append(int(rng.integers(1, min(longest, rest) + 1)))
        rest //= sizes[-1]
    axes = [_random_axis(rng, size) for size in sizes]
    size, kernel, stride, dilation, padding = zip(*axes, strict=True)
    x, w = (batch, groups * group_in, *size), (groups * group_out, group_in, *kernel)
    return ConvCase("random", x, w, stride, padding, dilation, groups, bias=bool(rng.integers(2)))


def random_transpose(rng: np.random.Generator, outputs: int = 3000, ndim: int = 2) -> ConvTransposeCase:
    """Draw legal arguments of a transposed convolution: one that leads back from what `random_geometry` draws."""
    case = random_geometry(rng, outputs, ndim)
    geometry, window = case.geometry, case.geometry.window
    axes = zip(geometry.input_size, geometry.output_size, window.stride, window.extent, window.padding, strict=True)
    more = tuple(size - ((out - 1) * s + extent - sum(pair)) for size, out, s, extent, pair in axes)
    x, pairs = geometry.y_shape, window.padding
    return ConvTransposeCase("random", x, case.w, case.stride, pairs, more, case.groups, case.dilation, case.bias)


def random_deform_case(rng: np.random.Generator) -> DeformCase:
    """Draw legal arguments of a small deformable convolution: any groups, of channels and of offsets, and options."""
    groups, offset_groups = (int(rng.choice([1, 1, 2, 3])) for _ in range(2))
    group_in = offset_groups * int(rng.integers(1, 40 // (groups * offset_groups) + 1))
    group_out, batch = int(rng.integers(1, 20 // groups + 1)), int(rng.integers(1, 3))
    axes = [_random_axis(rng, int(rng.integers(1, 6))) for _ in range(2)]
    size, kernel, stride, dilation, padding = zip(*axes, strict=True)
    x, w = (batch, groups * group_in, *size), (groups * group_out, group_in, *kernel)
    masked, bias = (bool(rng.integers(2)) for _ in range(2))
    return DeformCase("random", x, w, offset_groups, stride, padding, dilation, masked, bias)


def _random_axis(rng: np.random.Generator, outputs: int) -> tuple[int, int, int, int, tuple[int, int]]:
    """Return size, kernel, stride, dilation and padding of an axis that has about `outputs` outputs."""
    kernel = int(rng.integers(1, 6))
    stride, dilation = (int(rng.choice([1, 1, 2, 3])) for _ in range(2))
    extent = dilation * (kernel - 1) + 1
    before, after = (int(p) for p in rng.integers(0, extent + 1, 2))
    spare = int(rng.integers(0, stride))  # elements at the end that no window reaches
    size = (outputs - 1) * stride + extent + spare - before - after
    return max(1, size), kernel, stride, dilation, (before, max(after, extent - before - max(1, size)))


def exact_integers(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: DTypeLike = np.float32, largest: int = 4
) -> np.ndarray:
    """Draw integers from -`largest` to `largest`: float32 sums of up to a million of their products are exact.

    Results can then be compared with ``array_equal``, whatever the order of summation.
    """
    return rng.integers(-largest, largest, shape, endpoint=True).astype(dtype)


def distinct_numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw float64 numbers that lie 0.1 apart, none at 0: small changes move no maximum and cross no kink."""
    n = prod(shape)
    return ((rng.permutation(n) - n // 2 + 0.5) * 0.1).reshape(shape)
