"""The shapes that tests and benchmarks share, one table for each kind of op."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv.geometry import ConvGeometry, DeformGeometry, PoolGeometry


@dataclass(frozen=True)
class ConvCase:
    """Arguments of a two-dimensional convolution.

    Attributes
    ----------
    id : str
        Name in reports.
    x, w : tuple of int
        Shapes, (n, ci, h, w) and (co, ci / groups, kh, kw).
    bias : bool
        Whether there is a bias, (co,).
    network : bool
        Whether it is a layer of a real network: for benchmarks, far too slow for the reference.
    """

    id: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1
    bias: bool = True
    network: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of `fastconv.conv2d`."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    @property
    def geometry(self) -> ConvGeometry:
        """All sizes."""
        return ConvGeometry.make(self.id, self.x, self.w, None, **self.options, ndim=len(self.x) - 2)

    def arrays(self, draw: Callable[[tuple[int, ...]], np.ndarray]) -> tuple[np.ndarray | None, ...]:
        """Return x, w and b, each made by ``draw(shape)``; b is None without a bias."""
        return draw(self.x), draw(self.w), draw(self.w[:1]) if self.bias else None


@dataclass(frozen=True)
class DeformCase:
    """Arguments of a deformable convolution: those of `ConvCase`, the parts that share offsets, and a mask or none."""

    id: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    offset_groups: int = 1
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    masked: bool = True
    bias: bool = True
    network: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of `fastconv.deform_conv2d`."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}

    @property
    def geometry(self) -> DeformGeometry:
        """All sizes."""
        groups = self.x[1] // self.w[1]
        conv = ConvGeometry.make(self.id, self.x, self.w, None, **self.options, groups=groups)
        return DeformGeometry(conv, self.offset_groups, self.masked)


@dataclass(frozen=True)
class PoolCase:
    """Arguments of a two-dimensional pooling of x, (n, c, h, w); `dilation` is for maxima only."""

    id: str
    x: tuple[int, ...]
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    ceil_mode: bool = False
    network: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of `fastconv.max_pool2d`."""
        return {**self.average_options, "dilation": self.dilation}

    @property
    def average_options(self) -> dict[str, Any]:
        """Keyword arguments of `fastconv.avg_pool2d`."""
        return {name: getattr(self, name) for name in ("kernel_size", "stride", "padding", "ceil_mode")}

    @property
    def geometry(self) -> PoolGeometry:
        """All sizes."""
        options = (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)
        return PoolGeometry.make(self.id, self.x, *options, ndim=len(self.x) - 2)


CONV_CASES = (
    # One idea each: what is odd about the shape stands in its name.
    ConvCase("one_number", (1, 1, 1, 1), (1, 1, 1, 1)),
    ConvCase("pointwise", (2, 5, 4, 3), (7, 5, 1, 1)),
    ConvCase("no_bias", (2, 3, 6, 6), (4, 3, 3, 3), padding=1, bias=False),
    ConvCase("empty_batch", (0, 3, 6, 6), (4, 3, 3, 3), padding=1),
    ConvCase("single_output", (3, 4, 5, 5), (6, 4, 5, 5)),
    ConvCase("row_kernel", (2, 3, 5, 9), (4, 3, 1, 7), padding=(0, 3)),
    ConvCase("column_kernel", (2, 3, 9, 5), (4, 3, 7, 1), padding=(3, 0)),
    ConvCase("even_kernel_same", (2, 3, 7, 6), (5, 3, 4, 2), padding="same"),
    ConvCase("strided_same", (2, 3, 10, 7), (5, 3, 3, 3), stride=2, padding="same"),
    ConvCase("stride_skips_input", (2, 3, 11, 12), (4, 3, 2, 2), stride=(3, 5)),
    ConvCase("stride_two", (2, 16, 9, 10), (17, 16, 3, 3), stride=2, padding=1),
    ConvCase("pointwise_strided", (2, 9, 8, 7), (18, 9, 1, 1), stride=2),
    ConvCase("dilated", (2, 4, 12, 11), (5, 4, 3, 2), dilation=(2, 4), padding=2),
    ConvCase("dilated_strided", (1, 3, 13, 14), (4, 3, 3, 3), stride=(2, 3), dilation=(3, 2), padding=(3, 1)),
    ConvCase("padding_pairs", (2, 3, 6, 7), (4, 3, 3, 3), padding=((0, 2), (3, 1))),
    ConvCase("padding_exceeds_kernel", (1, 2, 3, 3), (3, 2, 2, 2), padding=4),
    ConvCase("kernel_exceeds_input", (2, 3, 2, 3), (4, 3, 5, 5), padding=3),
    ConvCase("two_groups", (2, 6, 7, 6), (10, 3, 3, 3), padding=1, groups=2),
    ConvCase("depthwise", (2, 19, 8, 7), (19, 1, 3, 3), padding=1, groups=19),
    ConvCase("depth_multiplier", (2, 5, 8, 7), (15, 1, 3, 3), stride=2, padding=1, groups=5),
    ConvCase("wide_groups", (1, 34, 5, 18), (66, 17, 3, 3), padding=1, groups=2),
    ConvCase("many_channels", (2, 33, 5, 6), (35, 33, 3, 3), padding=1),
    ConvCase("long_rows", (1, 2, 3, 67), (3, 2, 3, 3), padding=1),
    ConvCase("lenet_1", (2, 1, 28, 28), (6, 1, 5, 5), padding=2),
    ConvCase("lenet_2", (2, 6, 14, 14), (16, 6, 5, 5)),
    # Layers of networks, with the batch that a benchmark gives them.
    ConvCase("lenet_1_batch", (128, 1, 28, 28), (6, 1, 5, 5), padding=2, network=True),
    ConvCase("lenet_2_batch", (128, 6, 14, 14), (16, 6, 5, 5), network=True),
    ConvCase("resnet_stem", (8, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3, network=True),
    ConvCase("resnet_56", (8, 64, 56, 56), (64, 64, 3, 3), padding=1, network=True),
    ConvCase("resnet_28", (8, 128, 28, 28), (128, 128, 3, 3), padding=1, network=True),
    ConvCase("resnet_14", (8, 256, 14, 14), (256, 256, 3, 3), padding=1, network=True),
    ConvCase("resnet_7", (8, 512, 7, 7), (512, 512, 3, 3), padding=1, network=True),
    ConvCase("resnet_pointwise_56", (8, 256, 56, 56), (64, 256, 1, 1), network=True),
    ConvCase("resnet_pointwise_14", (8, 1024, 14, 14), (256, 1024, 1, 1), network=True),
    ConvCase("resnet_down_56", (8, 128, 56, 56), (128, 128, 3, 3), stride=2, padding=1, network=True),
    ConvCase("vgg_224", (2, 64, 224, 224), (64, 64, 3, 3), padding=1, network=True),
    ConvCase("mobilenet_down_112", (8, 96, 112, 112), (96, 1, 3, 3), stride=2, padding=1, groups=96, network=True),
    ConvCase("mobilenet_56", (8, 144, 56, 56), (144, 1, 3, 3), padding=1, groups=144, network=True),
    ConvCase("resnext_56", (8, 128, 56, 56), (128, 4, 3, 3), padding=1, groups=32, network=True),
    ConvCase("large_kernel_22", (64, 32, 22, 22), (64, 32, 7, 7), network=True),
    ConvCase("long_signal", (1, 32, 1, 60000), (32, 32, 1, 9), padding=(0, 4), network=True),
    ConvCase("cifar_8", (64, 256, 8, 8), (512, 256, 3, 3), padding=1, network=True),
)

POOL_CASES = (
    PoolCase("one_number", (1, 1, 1, 1), 1),
    PoolCase("halves", (2, 3, 8, 6), 2),
    PoolCase("odd_input", (2, 3, 7, 5), 2),
    PoolCase("empty_batch", (0, 3, 8, 6), 2),
    PoolCase("overlapping", (2, 3, 9, 8), 3, stride=2, padding=1),
    PoolCase("stride_one", (1, 2, 6, 7), 3, stride=1, padding=1),
    PoolCase("gaps", (1, 2, 9, 10), 2, stride=(3, 4)),
    PoolCase("asymmetric", (2, 2, 7, 9), (1, 4), stride=(2, 3), padding=(0, 2)),
    PoolCase("padding_pairs", (1, 2, 6, 7), 4, stride=2, padding=((2, 0), (1, 2))),
    PoolCase("dilated", (1, 3, 10, 11), (3, 2), stride=2, padding=1, dilation=(2, 3)),
    PoolCase("ceil", (2, 2, 8, 7), 3, stride=2, ceil_mode=True),
    PoolCase("ceil_padded", (2, 2, 6, 5), 3, stride=(2, 3), padding=1, ceil_mode=True),
    PoolCase("ceil_drops_last", (1, 2, 5, 5), 2, stride=4, padding=1, ceil_mode=True),
    PoolCase("whole_plane", (2, 5, 7, 6), (7, 6)),
    PoolCase("many_places", (1, 2, 18, 20), 17, stride=1),
    PoolCase("wide", (1, 2, 4, 70), 2),
    PoolCase("lenet", (2, 6, 28, 28), 2),
    PoolCase("lenet_batch", (128, 6, 28, 28), 2, network=True),
    PoolCase("resnet_stem", (8, 64, 112, 112), 3, stride=2, padding=1, network=True),
    PoolCase("vgg_224", (2, 64, 224, 224), 2, network=True),
)

DEFORM_CASES = (
    DeformCase("plain", (2, 3, 5, 4), (4, 3, 3, 3), padding=1),
    DeformCase("one_number", (1, 1, 1, 1), (1, 1, 1, 1)),
    DeformCase("without_mask", (2, 3, 5, 4), (2, 3, 2, 3), masked=False, bias=False),
    DeformCase("empty_batch", (0, 3, 5, 4), (2, 3, 3, 3), padding=1),
    DeformCase("options", (1, 4, 7, 8), (6, 2, 3, 2), 2, stride=(2, 1), padding=((1, 0), (2, 1)), dilation=2),
    DeformCase("same", (1, 2, 6, 5), (2, 2, 3, 3), stride=2, padding="same"),
    DeformCase("more_groups_than_offsets", (1, 12, 4, 5), (6, 2, 1, 3), 3, masked=False),
    DeformCase("groups_that_cross", (1, 12, 4, 5), (6, 6, 2, 2), 3),
    DeformCase("depthwise", (1, 5, 4, 5), (5, 1, 3, 3), 5, padding=1),
    DeformCase("full_vectors", (2, 32, 4, 5), (32, 32, 2, 2)),
    DeformCase("wide", (1, 70, 6, 6), (35, 70, 3, 3), 2, padding=1),
    DeformCase("two_ranges", (1, 150, 3, 4), (3, 150, 2, 2)),
    DeformCase("many_outputs", (1, 2, 4, 4), (70, 2, 3, 3), padding=1),
    DeformCase("many_pixels", (1, 3, 16, 31), (4, 3, 2, 2), masked=False),
    # Layers of detectors, with 3 x 3 taps each.
    DeformCase("resnet_res3", (2, 128, 56, 56), (128, 128, 3, 3), padding=1, network=True),
    DeformCase("resnet_res4", (2, 256, 28, 28), (256, 256, 3, 3), padding=1, network=True),
    DeformCase("resnet_res5", (2, 512, 14, 14), (512, 512, 3, 3), padding=1, network=True),
    DeformCase("resnet_four_offsets", (2, 128, 38, 50), (128, 128, 3, 3), 4, padding=1, network=True),
    DeformCase("centernet_head", (1, 64, 128, 128), (64, 64, 3, 3), padding=1, network=True),
)

CASES = {"conv2d": CONV_CASES, "deform_conv2d": DEFORM_CASES, "pool2d": POOL_CASES}
"""Shapes by the kind of op; benchmarks take those with `network`, tests of the results the others."""
