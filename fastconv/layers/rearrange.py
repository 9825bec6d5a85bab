"""Layers that make pixels of channels, and channels of pixels."""

from collections.abc import Callable

import numpy as np

from fastconv import ops
from fastconv.geometry.rearrange import depth_shape, space_shape
from fastconv.layers.base import Layer, Pullback, Shape


class _Rearrangement(Layer):
    """Every number of the input, elsewhere. A subclass says by which function, and to which shape."""

    function: str
    shape: Callable[..., tuple[int, Shape]]

    def _options(self) -> dict[str, object]:
        """Keyword arguments of the function; the first is the size of a block."""
        raise NotImplementedError

    def apply(self, x: np.ndarray, train: bool) -> tuple[np.ndarray, Pullback]:
        """See `Layer.apply`."""
        function, backward = getattr(ops, self.function), getattr(ops, f"{self.function}_backward")
        options = self._options()
        return function(x, **options), lambda dy, _: backward(dy, x, **options)

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        name, block = next(iter(self._options().items()))
        return type(self).shape(type(self).__name__, input_shape, name, block)[1]


class PixelShuffle(_Rearrangement):
    """Blocks of pixels made of channels; see `fastconv.pixel_shuffle`.

    Parameters
    ----------
    upscale_factor : int
        Size of a block.
    """

    function, shape = "pixel_shuffle", staticmethod(space_shape)

    def __init__(self, upscale_factor: int):
        self.upscale_factor = upscale_factor
        super().__init__()

    def _options(self) -> dict[str, object]:
        return {"upscale_factor": self.upscale_factor}


class PixelUnshuffle(_Rearrangement):
    """Channels made of blocks of pixels; see `fastconv.pixel_unshuffle`.

    Parameters
    ----------
    downscale_factor : int
        Size of a block.
    """

    function, shape = "pixel_unshuffle", staticmethod(depth_shape)

    def __init__(self, downscale_factor: int):
        self.downscale_factor = downscale_factor
        super().__init__()

    def _options(self) -> dict[str, object]:
        return {"downscale_factor": self.downscale_factor}


class DepthToSpace(_Rearrangement):
    """Blocks of pixels made of channels; see `fastconv.depth_to_space`.

    Parameters
    ----------
    block_size : int
        Size of a block.
    mode : {'DCR', 'SPD', 'CRD'}
        Order of the channels.
    """

    function, shape = "depth_to_space", staticmethod(space_shape)

    def __init__(self, block_size: int, mode: str = "DCR"):
        self.block_size, self.mode = block_size, mode
        super().__init__()

    def _options(self) -> dict[str, object]:
        return {"block_size": self.block_size, "mode": self.mode}


class SpaceToDepth(_Rearrangement):
    """Channels made of blocks of pixels; see `fastconv.space_to_depth`.

    Parameters
    ----------
    block_size : int
        Size of a block.
    mode : {'DCR', 'SPD', 'CRD'}
        Order of the channels.
    """

    function, shape = "space_to_depth", staticmethod(depth_shape)

    def __init__(self, block_size: int, mode: str = "DCR"):
        self.block_size, self.mode = block_size, mode
        super().__init__()

    def _options(self) -> dict[str, object]:
        return {"block_size": self.block_size, "mode": self.mode}
