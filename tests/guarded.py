"""What tests of plans share: outputs whose surroundings must not change, and scratch memory that holds NaN."""

import numpy as np
import pytest

from fastconv import runtime
from fastconv.cpu.axes import Side
from fastconv.testing import exact_integers

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
FILL = 12345.0  # around and in every output: what is not written, or written beside it, shows


@pytest.fixture
def spoiled_memory(monkeypatch):
    """Give kernels scratch memory that holds NaN."""
    empty = runtime.empty

    def spoiled(shape, dtype):
        array = empty(shape, dtype)
        array.view(np.uint8).fill(255)
        return array

    monkeypatch.setattr(runtime, "empty", spoiled)


def sides(geometry):
    return Side.forward(geometry), Side.backward(geometry)


class Guarded:
    """An output between elements that must not change."""

    def __init__(self, shape, dtype):
        self.memory = np.full(int(np.prod(shape)) + 128, FILL, dtype)
        self.array = self.memory[64:-64].reshape(shape)

    def taken(self):
        assert np.all(self.memory[:64] == FILL) and np.all(self.memory[-64:] == FILL)
        return self.array


def run(plan, shape, dtype, *arrays):
    out = Guarded(shape, dtype)
    plan(*arrays, out.array)
    return out.taken()


def draw(case, dtype, rng):
    x, w, b = case.arrays(lambda shape: exact_integers(rng, shape, dtype))
    return x, w, b, exact_integers(rng, case.geometry.y_shape, dtype)


def weight_gradients(module, geometry, dtype, x, dy):
    dw, db = Guarded(geometry.w_shape, dtype), Guarded((geometry.out_channels,), dtype)
    module.backward_weight_plan(geometry, dtype)(x, dy, dw.array, db.array)
    return dw.taken(), db.taken()
