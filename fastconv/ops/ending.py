"""What may follow the sums of a convolution in the same pass over memory: an addend, and ReLU or ReLU6."""

from collections.abc import Callable

import numpy as np

from fastconv import runtime
from fastconv.arguments import as_relu
from fastconv.arrays import check_shape
from fastconv.cpu.epilogue import PLAIN, Epilogue, limits_backward


class Ending:
    """The end of one call.

    Parameters
    ----------
    op : str
        Function that an error message names.
    y_shape : tuple of int
        Shape of the result.
    residual : ndarray, optional
        What is added.
    relu : bool or float
        See `fastconv.arguments.as_relu`.

    Attributes
    ----------
    epilogue : Epilogue
        What a plan has to know of it.
    arrays : tuple of ndarray
        What its program takes in addition.
    """

    __slots__ = ("arrays", "epilogue", "_op", "_rectifies", "_y_shape")

    def __init__(
        self, op: str, y_shape: tuple[int, ...], residual: np.ndarray | None = None, relu: bool | float = False
    ):
        ceiling = as_relu(op, relu)
        if residual is not None:
            check_shape(op, "residual", residual, y_shape)
        self.arrays = () if residual is None else (residual,)
        self.epilogue = Epilogue(added=True) if self.arrays else PLAIN
        if ceiling is not None:
            self.epilogue = Epilogue(0.0, ceiling, bool(self.arrays))
        self._op, self._y_shape, self._rectifies = op, y_shape, ceiling is not None

    def backward(
        self, dy: np.ndarray, y: np.ndarray | None, compute: Callable[[], np.ndarray]
    ) -> tuple[np.ndarray, ...]:
        """Return the gradient of the sums, and that of the addend if there is one, by the result.

        Parameters
        ----------
        dy : ndarray
            Gradient of the result.
        y : ndarray, optional
            The result.
        compute : callable
            Computes it, if it is needed and there is none.
        """
        if y is not None:
            check_shape(self._op, "saved", y, self._y_shape)
        if not self._rectifies:
            return (dy, dy.copy()) if self.arrays else (dy,)
        y = compute() if y is None else y
        g = runtime.empty(y.shape, y.dtype)
        limits_backward(dy, y, g, self.epilogue)
        return (g, g) if self.arrays else (g,)


NO_ENDING = Ending("", ())
