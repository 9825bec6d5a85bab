"""Tiles by circular convolution: real Fourier transforms, whose products are the points of a family.

The transform of a circular correlation is ``X * conj(W)``, one complex product a frequency. Real data need half the
frequencies, and a complex product takes three real ones: with ``x = a + i b`` and ``w = c + i d`` ::

    p = (a + b) c,    q = a (c + d),    r = b (c - d);        x conj(w) = (p - r) + i (p - q)

So a tile of 16 x 16 has 382 points, which the engine multiplies like any others. Rows are transformed first: a row
becomes n // 2 + 1 complex rows, stored as real and imaginary parts. Of the complex row A + i B, the transforms of A and
of B, which are real, give the frequencies k and -k at once.

The usual tile of n inputs and r taps has n - r + 1 outputs that nothing wraps around into. Where one tile covers a
whole axis, what wraps around is padding: then all outputs are right if n is not less than their number and the input's
size plus its larger padding. The gradient for the input of a 7 x 7 kernel on 22 x 22 has tiles of 22, not 28.

Sources: H. J. Nussbaumer, *Fast Fourier Transform and Convolution Algorithms* (1982), chapters 3 and 4; for networks M.
Mathieu, M. Henaff and Y. LeCun, *Fast Training of Convolutional Networks through FFTs* (2014), arXiv:1312.5851.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from math import cos, pi, sin

from fastconv.cpu.points import Crossing, Family, Passage
from fastconv.cpu.transform import Recipe

Value = int | None  # of a recipe; None is zero
Complex = tuple[Value, Value]
Size = tuple[int, int]

# ---- real Fourier transforms -----------------------------------------------------------------------------------


def transform(recipe: Recipe, x: Sequence[Value]) -> list[Complex]:
    """Return ``X[k] = sum_j x[j] exp(-2 pi i j k / n)`` for k from 0 to n // 2, of n real values.

    An even n is split into two halves (J. W. Cooley and J. W. Tukey, 1965), an odd one is summed as it stands.
    """
    n = len(x)
    half = n // 2
    if n % 2:
        return _odd_transform(recipe, x)
    even, odd = transform(recipe, x[::2]), transform(recipe, x[1::2])
    result: list[Complex] = [(None, None)] * (half + 1)
    for k in range(half // 2 + 1):
        (a, b), (c, d) = even[k], turn(recipe, odd[k], -k / n)
        result[k] = recipe.add(a, c), recipe.add(b, d)
        if 2 * k != half:
            result[half - k] = recipe.subtract(a, c), recipe.subtract(d, b)
    return result


def _odd_transform(recipe: Recipe, x: Sequence[Value]) -> list[Complex]:
    n, half = len(x), len(x) // 2
    sums = [x[0], *(recipe.add(x[j], x[n - j]) for j in range(1, half + 1))]
    differences = [recipe.subtract(x[j], x[n - j]) for j in range(1, half + 1)]
    result: list[Complex] = [(recipe.dot([1] * (half + 1), sums), None)]
    for k in range(1, half + 1):
        angles = [2 * pi * (j * k % n) / n for j in range(half + 1)]
        real = recipe.dot([cos(angle) for angle in angles], sums)
        result.append((real, recipe.dot([-sin(angle) for angle in angles[1:]], differences)))
    return result


def invert(recipe: Recipe, spectrum: Sequence[Complex], n: int) -> list[Value]:
    """Return n times the real values with this transform."""
    half = n // 2
    if n % 2:
        return _odd_inverse(recipe, spectrum, n)
    even, odd = [], []
    for k in range(half // 2 + 1):
        (a, b), (c, d) = spectrum[k], spectrum[half - k]
        even.append((recipe.add(a, c), recipe.subtract(b, d)))
        odd.append(turn(recipe, (recipe.subtract(a, c), recipe.add(b, d)), k / n))
    halves = invert(recipe, even, half), invert(recipe, odd, half)
    return [value for pair in zip(*halves, strict=True) for value in pair]


def _odd_inverse(recipe: Recipe, spectrum: Sequence[Complex], n: int) -> list[Value]:
    reals, imaginaries = zip(*spectrum, strict=True)
    result = [recipe.dot([1] + [2] * (n // 2), reals)] + [None] * (n - 1)
    for j in range(1, n // 2 + 1):
        angles = [2 * pi * (j * k % n) / n for k in range(1, n // 2 + 1)]
        real = recipe.dot([1, *(2 * cos(angle) for angle in angles)], reals)
        imaginary = recipe.dot([-2 * sin(angle) for angle in angles], imaginaries[1:])
        result[j], result[n - j] = recipe.add(real, imaginary), recipe.subtract(real, imaginary)
    return result


def turn(recipe: Recipe, z: Complex, turns: float) -> Complex:
    """Return ``z * exp(2 pi i turns)``."""
    c, s = cos(2 * pi * turns), sin(2 * pi * turns)
    return recipe.dot([c, -s], z), recipe.dot([s, c], z)


# ---- points ----------------------------------------------------------------------------------------------------


def row_points(n: int) -> list[int]:
    """First point of each frequency of a real row of n; where all points end comes last."""
    counts = [1 if k in real_frequencies(n) else 3 for k in range(n // 2 + 1)]
    return [sum(counts[:k]) for k in range(len(counts) + 1)]


def real_frequencies(n: int) -> set[int]:
    """Frequencies from 0 to n // 2 at which the transform of real values is real."""
    return {0, n // 2} if n % 2 == 0 else {0}


def points_of(size: Size) -> int:
    """Products of a tile for each pair of channels."""
    tall, wide = size
    real = len(real_frequencies(tall))
    return real * row_points(wide)[-1] + (tall - real) // 2 * 3 * wide


Put = Callable[[Recipe, int, Complex], None]


def put_input(recipe: Recipe, point: int, z: Complex) -> None:
    """Store what an input brings to the three points of a frequency."""
    a, b = z
    for i, value in enumerate((recipe.add(a, b), a, b)):
        recipe.store(point + i, value)


def put_weight(recipe: Recipe, point: int, z: Complex) -> None:
    """Store what a weight brings to the three points of a frequency."""
    c, d = z
    for i, value in enumerate((c, recipe.add(c, d), recipe.subtract(c, d))):
        recipe.store(point + i, value)


def get_product(recipe: Recipe, point: int) -> Complex:
    """Load the three products of a frequency."""
    p, q, r = (recipe.load(point + i) for i in range(3))
    return recipe.subtract(p, r), recipe.subtract(p, q)


def _row_to_points(n: int, count: int, put: Put, scale: float) -> Recipe:
    """From `count` values of a real row of n, the rest being zeros."""
    recipe = Recipe()
    values = [recipe.scale(scale, recipe.load(j)) for j in range(count)] + [None] * (n - count)
    for k, (point, z) in enumerate(zip(row_points(n), transform(recipe, values), strict=False)):
        if k in real_frequencies(n):
            recipe.store(point, z[0])
        else:
            put(recipe, point, z)
    return recipe


def _pair_to_points(n: int, count: int, put: Put, scale: float) -> Recipe:
    """From `count` values of a complex row: all real parts, then all imaginary ones."""
    recipe = Recipe()
    rest = [None] * (n - count)
    first, second = ([recipe.scale(scale, recipe.load(i * count + j)) for j in range(count)] + rest for i in range(2))
    for k, ((a, b), (c, d)) in enumerate(zip(transform(recipe, first), transform(recipe, second), strict=True)):
        if k in real_frequencies(n):
            # The way back halves the other frequencies: `scale` has the half, which these do not need.
            twice = 1.0 if put is put_input else 2.0
            put(recipe, 3 * k, (recipe.scale(twice, a), recipe.scale(twice, c)))
        else:
            put(recipe, 3 * k, (recipe.subtract(a, d), recipe.add(b, c)))
            put(recipe, 3 * (n - k), (recipe.add(a, d), recipe.subtract(c, b)))
    return recipe


def _points_to_row(n: int, count: int) -> Recipe:
    recipe = Recipe()
    spectrum = [
        (recipe.load(point), None) if k in real_frequencies(n) else get_product(recipe, point)
        for k, point in enumerate(row_points(n)[:-1])
    ]
    _store(recipe, invert(recipe, spectrum, n)[:count])
    return recipe


def _points_to_pair(n: int, count: int) -> Recipe:
    recipe = Recipe()
    first: list[Complex] = []
    second: list[Complex] = []
    for k in range(n // 2 + 1):
        a, b = get_product(recipe, 3 * k)
        if k in real_frequencies(n):
            first.append((a, None))
            second.append((b, None))
        else:
            c, d = get_product(recipe, 3 * (n - k))
            first.append((recipe.add(a, c), recipe.subtract(b, d)))
            second.append((recipe.add(b, d), recipe.subtract(c, a)))
    _store(recipe, invert(recipe, first, n)[:count] + invert(recipe, second, n)[:count])
    return recipe


def _store(recipe: Recipe, values: Sequence[Value]) -> None:
    for i, value in enumerate(values):
        recipe.store(i, value)


# ---- passages --------------------------------------------------------------------------------------------------


def _rows(n: int) -> list[tuple[int, ...]]:
    """Rows of the transformed columns, by frequency: the real part, and the imaginary one if there is one."""
    rows, place = [], 0
    for k in range(n // 2 + 1):
        parts = 1 if k in real_frequencies(n) else 2
        rows.append(tuple(range(place, place + parts)))
        place += parts
    return rows


def _crossings(size: Size, count: int, row: Recipe, pair: Recipe) -> tuple[Crossing, ...]:
    """List the crossings of all frequencies of the columns, for tiles of `count` columns."""
    crossings, point = [], 0
    for rows in _rows(size[0]):
        recipe, points = (row, row_points(size[1])[-1]) if len(rows) == 1 else (pair, 3 * size[1])
        places = tuple(product(rows, range(count)))
        crossings.append(Crossing(recipe.map(), places, tuple(range(point, point + points))))
        point += points
    return tuple(crossings)


def _to_points(size: Size, tile: Size, put: Put, scale: float) -> Passage:
    """Return the way of a tile, the rest of `size` being zeros, to its points; scaled."""
    (tall, wide), (high, across) = size, tile
    down = Recipe()
    spectrum = transform(down, [down.load(i) for i in range(high)] + [None] * (tall - high))
    for rows, z in zip(_rows(tall), spectrum, strict=True):
        for i, part in zip(rows, z, strict=False):
            down.store(i, part)
    half = scale if put is put_input else scale / 2
    row, pair = _row_to_points(wide, across, put, scale), _pair_to_points(wide, across, put, half)
    return Passage(high, across, tall, down.map(), _crossings(size, across, row, pair))


def _from_points(size: Size, tile: Size, *, constant: bool) -> Passage:
    """Return the way back to the first rows and columns of a tile; with `constant`, plus a vector."""
    (tall, wide), (high, across) = size, tile
    down = Recipe()
    more = down.constant() if constant else None
    spectrum = [(*map(down.load, rows), None)[:2] for rows in _rows(tall)]
    _store(down, [down.add(value, more) for value in invert(down, spectrum, tall)[:high]])
    row, pair = _points_to_row(wide, across), _points_to_pair(wide, across)
    return Passage(high, across, tall, down.map(), _crossings(size, across, row, pair))


@cache
def fourier(size: Size, outputs: Size, taps: Size) -> Family:
    """Return the family of circular tiles.

    Parameters
    ----------
    size : (int, int)
        Inputs of a tile: even, or 1 along an axis that has one tap.
    outputs, taps : (int, int)
        Outputs of a tile, and taps of the kernel: neither more than `size`.
    """
    scale = 1 / (size[0] * size[1])
    return Family(
        points=points_of(size),
        inputs=_to_points(size, size, put_input, 1.0),
        taps=_to_points(size, taps, put_weight, scale),
        outputs=_from_points(size, outputs, constant=True),
        gradients=_to_points(size, outputs, put_weight, scale),
        sums=_from_points(size, taps, constant=False),
    )
