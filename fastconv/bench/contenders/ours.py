"""fastconv."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import fastconv
from fastconv.bench.contenders.base import Contender, Declined, Runs
from fastconv.bench.network import folded
from fastconv.bench.rows import Row, operands
from fastconv.layers import Arena, prepack
from fastconv.models import MODELS
from fastconv.ops.packed import PackedConv2d
from fastconv.optim import SGD


def _op(name: str) -> tuple[Callable, Callable]:
    """Return an operation and its gradient."""
    if not hasattr(fastconv, name):
        raise Declined(f"fastconv has no {name}")
    return getattr(fastconv, name), getattr(fastconv, f"{name}_backward")


class Fastconv(Contender):
    """See the package."""

    form = "weights packed and transformed in every call; once in the passes 'prepacked'"

    def __init__(self, threads: int):
        fastconv.set_num_threads(threads)
        self.version = fastconv.__version__

    def conv2d(self, row: Row) -> Runs:
        """Convolution."""
        x, w, b, dy = operands(row)
        options, (convolve, convolve_backward) = row.case.options, _op(row.case.op)

        def gradients(*needs: bool):
            return convolve_backward(dy, x, w, b, **options, needs=needs)

        runs = {
            "forward": lambda: convolve(x, w, b, **options),
            "dx": lambda: gradients(True, False, False),
            "dw": lambda: gradients(False, True, b is not None),
        }
        if "prepacked" in row.passes:
            packed = PackedConv2d(w, b, **options)
            runs["prepacked"] = lambda: packed(x)
        return runs

    conv_nd = conv_transpose = conv2d

    def max_pool2d(self, row: Row) -> Runs:
        """Maxima, with what the gradient needs, as PyTorch always computes them."""
        (x, dy), options = operands(row), row.case.options
        _, saved = fastconv.max_pool2d(x, **options, return_saved=True)
        return {
            "forward": lambda: fastconv.max_pool2d(x, **options, return_saved=True)[0],
            "dx": lambda: fastconv.max_pool2d_backward(dy, x, **options, saved=saved),
        }

    def avg_pool2d(self, row: Row) -> Runs:
        """Averages."""
        (x, dy), options = operands(row), row.case.average_options
        return {
            "forward": lambda: fastconv.avg_pool2d(x, **options),
            "dx": lambda: fastconv.avg_pool2d_backward(dy, x, **options),
        }

    def one_array(self, row: Row) -> Runs:
        """Pooling along one or three axes or to a size, and interpolation."""
        (x, dy), options, saved = operands(row), row.case.options, {}
        (forward, backward), wanted = _op(row.case.op), {"return_saved": True} if "max" in row.case.op else {}
        if wanted:
            saved = {"saved": forward(x, **options, **wanted)[1]}
        return {
            "forward": lambda: forward(x, **options, **wanted)[0] if wanted else forward(x, **options),
            "dx": lambda: backward(dy, x, **options, **saved),
        }

    def batch_norm(self, row: Row) -> Runs:
        """Normalisation with the statistics of the batch, an addend, and ReLU, in one operation."""
        norm, norm_backward = _op("batch_norm")
        x, weight, bias, residual, dy = operands(row)
        mean, var = np.zeros_like(weight), np.ones_like(weight)
        arguments, options = (x, mean, var, weight, bias), {"training": True, "residual": residual, "relu": True}
        _, saved = norm(*arguments, **options, return_saved=True)
        return {
            "forward": lambda: norm(*arguments, **options, return_saved=True)[0],
            "dx": lambda: norm_backward(dy, *arguments, **options, saved=saved),
        }

    def inference(self, row: Row) -> Runs:
        """Batch normalisation folded; weights packed in every call, or once."""
        (x,), model = operands(row), folded(row)
        packed = prepack(model)
        return {"forward": lambda: model(x), "prepacked": lambda: packed(x)}

    def training(self, row: Row) -> Runs:
        """One step of SGD with momentum."""
        case, (x, labels) = row.case, operands(row)
        if case.model not in MODELS:
            raise Declined(f"fastconv.models has no {case.model}")
        model = MODELS[case.model](case.classes, case.x[1], seed=0)
        count = float(sum(array.size for _, array in model.named_parameters()))
        optimizer = SGD(Arena(model), lr=1e-3, momentum=0.9)

        def step() -> float:
            scores, backward = model.forward(x)
            loss, saved = fastconv.cross_entropy(scores, labels, return_saved=True)
            optimizer.zero_grad()
            backward(fastconv.cross_entropy_backward(1.0, scores, labels, saved=saved), input_gradient=False)
            optimizer.step()
            return np.array([count if np.isfinite(loss) else np.nan])

        return {"step": step}
