"""PyTorch, in one of its two memory layouts: NCHW and `channels_last`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx.experimental.optimization import fuse
from torch.nn import functional as F

from fastconv.bench.contenders.base import Contender, Declined, Runs, even_padding
from fastconv.bench.contenders.pytorch_networks import NETWORKS
from fastconv.bench.network import build
from fastconv.bench.rows import Row, operands
from fastconv.geometry import Window

aten = torch.ops.aten


class PyTorch(Contender):
    """PyTorch as its users call it: the operations themselves, without recording a graph."""

    def __init__(self, threads: int, channels_last: bool):
        torch.set_num_threads(threads)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.version = torch.__version__

    def arrays(self, result: Any) -> list[np.ndarray]:
        """See `Contender`."""
        results = result if isinstance(result, tuple | list) else (result,)
        return [np.ascontiguousarray(tensor.detach().numpy()) for tensor in results if tensor is not None]

    def tensors(self, row: Row) -> list[Tensor | None]:
        """Return the operands, images in the layout."""
        tensors = (None if array is None else torch.from_numpy(array) for array in operands(row))
        layouts = {4: self.layout}
        if self.layout is torch.channels_last:
            layouts[5] = torch.channels_last_3d
        return [
            t if t is None or t.dim() not in layouts else t.contiguous(memory_format=layouts[t.dim()]) for t in tensors
        ]

    def conv2d(self, row: Row) -> Runs:
        """Convolution."""
        window = row.case.geometry.window
        return self._convolution(row, window, even_padding(window), False, [0] * window.ndim)

    conv_nd = conv2d

    def conv_transpose(self, row: Row) -> Runs:
        """Transposed convolution."""
        geometry = row.case.geometry
        window = geometry.convolution.window
        return self._convolution(row, window, even_padding(window), True, list(geometry.output_padding))

    def _convolution(self, row: Row, window: Window, padding: list[int], transposed: bool, more: list[int]) -> Runs:
        x, w, b, dy = self.tensors(row)
        options = list(window.stride), padding, list(window.dilation), transposed, more, row.case.groups
        bias_sizes = None if b is None else [len(b)]

        def gradients(*needs: bool):
            return aten.convolution_backward(dy, x, w, bias_sizes, *options, needs)

        return {
            "forward": lambda: torch.convolution(x, w, b, *options),
            "dx": lambda: gradients(True, False, False)[0],
            "dw": lambda: gradients(False, True, b is not None)[1:],
        }

    def max_pool2d(self, row: Row) -> Runs:
        """Maxima and their places."""
        (x, dy), window = self.tensors(row), row.case.geometry.window
        options = window.kernel, window.stride, even_padding(window), window.dilation, window.ceil_mode
        _, places = aten.max_pool2d_with_indices(x, *options)
        return {
            "forward": lambda: aten.max_pool2d_with_indices(x, *options)[0],
            "dx": lambda: aten.max_pool2d_with_indices_backward(dy, x, *options, places),
        }

    def avg_pool2d(self, row: Row) -> Runs:
        """Averages."""
        (x, dy), window = self.tensors(row), row.case.geometry.window
        options = window.kernel, window.stride, even_padding(window), window.ceil_mode, True
        return {
            "forward": lambda: F.avg_pool2d(x, *options),
            "dx": lambda: aten.avg_pool2d_backward(dy, x, *options, None),
        }

    def one_array(self, row: Row) -> Runs:
        """Pooling along one or three axes or to a size, and interpolation."""
        (x, dy), function, options = self.tensors(row), getattr(F, row.case.op), row.case.options
        if x.dim() == 3 and self.layout == torch.channels_last:
            raise Declined("no such layout of three axes")
        if "max" in row.case.op:
            options = options | {"return_indices": True}

        def forward(x: Tensor) -> Tensor:
            y = function(x, **options)
            return y[0] if isinstance(y, tuple) else y

        leaf = x.detach().requires_grad_()
        y = forward(leaf)
        return {"forward": lambda: forward(x), "dx": lambda: torch.autograd.grad(y, leaf, dy, retain_graph=True)}

    def batch_norm(self, row: Row) -> Runs:
        """Normalisation with the statistics of the batch; an addend and ReLU, both in place."""
        *inputs, dy = self.tensors(row)
        mean, var = torch.zeros_like(inputs[1]), torch.ones_like(inputs[1])
        leaves = [None if tensor is None else tensor.detach().requires_grad_() for tensor in inputs]

        def forward(x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None) -> Tensor:
            y = F.batch_norm(x, mean, var, weight, bias, training=True)
            return F.relu(y if residual is None else y.add_(residual), inplace=True)

        y, used = forward(*leaves), [leaf for leaf in leaves if leaf is not None]
        return {
            "forward": lambda: forward(*inputs),
            "dx": lambda: torch.autograd.grad(y, used, dy, retain_graph=True),
        }

    def inference(self, row: Row) -> Runs:
        """Batch normalisation folded by torch.fx, as `torch.fx.experimental.optimization.fuse` does; then eager."""
        (x,) = self.tensors(row)
        model = NETWORKS[row.case.model](1000).eval()
        state = {name: array for name, array in build(row).state_dict().items() if array.ndim}
        own = [tensor for name, tensor in model.state_dict().items() if tensor.dim()]
        for tensor, array in zip(own, state.values(), strict=True):  # layers and their order are the same
            tensor.copy_(torch.from_numpy(array).reshape(tensor.shape))
        model = fuse(model).to(memory_format=self.layout)

        @torch.inference_mode()
        def forward() -> Tensor:
            return model(x)

        return {"forward": forward}

    def training(self, row: Row) -> Runs:
        """One step of SGD with momentum."""
        case, (x, labels) = row.case, self.tensors(row)
        if case.model not in NETWORKS:
            raise Declined(f"there is no {case.model} to compare with")
        torch.manual_seed(0)
        model = NETWORKS[case.model](case.classes).to(memory_format=self.layout)
        count = float(sum(parameter.numel() for parameter in model.parameters()))
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

        def step() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
            return torch.tensor([count if torch.isfinite(loss) else torch.nan])

        return {"step": step}
