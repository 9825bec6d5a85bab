"""Convolutions along one to three axes, and transposed ones."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv.geometry import ConvGeometry, ConvTransposeGeometry


@dataclass(frozen=True)
class ConvCase:
    """Arguments of a convolution along one, two or three axes.

    Attributes
    ----------
    id : str
        Name in reports.
    x, w : tuple of int
        Shapes, (n, ci, *size) and (co, ci / groups, *kernel).
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
    def op(self) -> str:
        """Name of the function: 'conv2d' for a plane."""
        return f"conv{len(self.x) - 2}d"

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of the function."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    @property
    def geometry(self) -> ConvGeometry:
        """All sizes."""
        return ConvGeometry.make(self.id, self.x, self.w, None, **self.options, ndim=len(self.x) - 2)

    def arrays(self, draw: Callable[[tuple[int, ...]], np.ndarray]) -> tuple[np.ndarray | None, ...]:
        """Return x, w and b, each made by ``draw(shape)``; b is None without a bias."""
        return draw(self.x), draw(self.w), draw(self.w[:1]) if self.bias else None


@dataclass(frozen=True)
class ConvTransposeCase:
    """Arguments of a transposed convolution of x, (n, ci, *size), with w, (ci, co / groups, *kernel)."""

    id: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: Any = 1
    padding: Any = 0
    output_padding: Any = 0
    groups: int = 1
    dilation: Any = 1
    bias: bool = True
    network: bool = False

    @property
    def op(self) -> str:
        """Name of the function: 'conv_transpose2d' for a plane."""
        return f"conv_transpose{len(self.x) - 2}d"

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of the function."""
        names = ("stride", "padding", "output_padding", "groups", "dilation")
        return {name: getattr(self, name) for name in names}

    @property
    def geometry(self) -> ConvTransposeGeometry:
        """All sizes."""
        return ConvTransposeGeometry.make(self.id, self.x, self.w, None, **self.options, ndim=len(self.x) - 2)

    def arrays(self, draw: Callable[[tuple[int, ...]], np.ndarray]) -> tuple[np.ndarray | None, ...]:
        """Return x, w and b, each made by ``draw(shape)``; b is None without a bias."""
        return draw(self.x), draw(self.w), draw((self.w[1] * self.groups,)) if self.bias else None


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
    ConvCase("deeplab_28", (4, 256, 28, 28), (256, 256, 3, 3), padding=2, dilation=2, network=True),
    ConvCase("deeplab_aspp_33", (1, 512, 33, 33), (256, 512, 3, 3), padding=12, dilation=12, network=True),
    ConvCase("context_64", (4, 64, 64, 64), (64, 64, 3, 3), padding=4, dilation=4, network=True),
)

CONV1D_CASES = (
    ConvCase("one_number", (1, 1, 1), (1, 1, 1)),
    ConvCase("signal", (2, 3, 40), (5, 3, 7), padding=3),
    ConvCase("causal", (2, 4, 33), (6, 4, 3), padding=((4, 0),), dilation=2, bias=False),
    ConvCase("strided_same", (2, 3, 31), (4, 3, 5), stride=3, padding="same"),
    ConvCase("grouped", (2, 6, 20), (8, 3, 4), groups=2),
    ConvCase("depthwise", (3, 18, 25), (36, 1, 5), padding=2, groups=18),
    ConvCase("many_channels", (2, 33, 19), (35, 33, 3), stride=2, padding=1),
    ConvCase("pointwise", (2, 5, 17), (7, 5, 1)),
    ConvCase("empty_batch", (0, 3, 12), (4, 3, 3)),
    # Speech (wav2vec 2.0), accelerometers, causal convolutions of sound (TCN).
    ConvCase("speech_front", (4, 512, 3199), (512, 512, 3), stride=2, bias=False, network=True),
    ConvCase("accelerometer", (64, 64, 512), (64, 64, 9), padding=4, network=True),
    ConvCase("temporal", (8, 128, 1024), (128, 128, 3), padding=16, dilation=16, network=True),
)

CONV3D_CASES = (
    ConvCase("one_number", (1, 1, 1, 1, 1), (1, 1, 1, 1, 1)),
    ConvCase("cube", (2, 3, 5, 6, 7), (4, 3, 3, 3, 3), padding=1),
    ConvCase("cube_strided", (1, 4, 6, 7, 9), (17, 4, 3, 3, 3), stride=2, padding=1),
    ConvCase("dilated", (1, 3, 7, 8, 9), (5, 3, 3, 2, 3), dilation=(3, 2, 2), padding=(3, 1, 2)),
    ConvCase("depth_stride_and_dilation", (1, 2, 11, 5, 6), (3, 2, 3, 3, 2), stride=(2, 1, 1), dilation=(3, 1, 1)),
    ConvCase("same", (1, 3, 6, 5, 7), (4, 3, 2, 3, 4), stride=(1, 2, 1), padding="same"),
    ConvCase("planes", (2, 5, 4, 6, 6), (6, 5, 1, 3, 3), padding=(0, 1, 1)),
    ConvCase("time", (2, 5, 6, 4, 5), (6, 5, 3, 1, 1), padding=(1, 0, 0)),
    ConvCase("rows", (2, 5, 3, 4, 9), (6, 5, 1, 1, 3), padding=(0, 0, 1), bias=False),
    ConvCase("one_plane", (2, 5, 1, 6, 7), (6, 5, 1, 3, 3), padding=(0, 1, 1)),
    ConvCase("pointwise", (2, 9, 3, 4, 5), (18, 9, 1, 1, 1)),
    ConvCase("pointwise_strided", (2, 9, 3, 6, 5), (18, 9, 1, 1, 1), stride=2),
    ConvCase("grouped", (2, 6, 4, 5, 5), (8, 3, 2, 3, 3), padding=1, groups=2),
    ConvCase("depthwise", (2, 7, 4, 6, 5), (14, 1, 3, 3, 3), padding=1, groups=7),
    ConvCase("wide", (1, 17, 4, 5, 48), (33, 17, 3, 3, 3), padding=1),
    ConvCase("depth_in_padding", (1, 3, 2, 6, 6), (4, 3, 3, 3, 3), padding=((4, 3), 1, 1)),
    ConvCase("empty_batch", (0, 3, 4, 5, 6), (4, 3, 3, 3, 3)),
    # C3D, 3D ResNets for video and their stem, R(2+1)D, volumes of V-Net, MobileNet in three dimensions.
    ConvCase("c3d_56", (2, 16, 16, 56, 56), (32, 16, 3, 3, 3), padding=1, network=True),
    ConvCase("video_28", (1, 64, 8, 28, 28), (64, 64, 3, 3, 3), padding=1, network=True),
    ConvCase("video_14", (1, 128, 4, 14, 14), (256, 128, 3, 3, 3), padding=1, network=True),
    ConvCase("video_down_28", (2, 64, 8, 28, 28), (128, 64, 3, 3, 3), stride=2, padding=1, network=True),
    ConvCase("video_stem", (2, 3, 16, 112, 112), (64, 3, 3, 7, 7), (1, 2, 2), (1, 3, 3), bias=False, network=True),
    ConvCase("video_planes", (1, 64, 8, 56, 56), (144, 64, 1, 3, 3), padding=(0, 1, 1), bias=False, network=True),
    ConvCase("video_time", (1, 144, 8, 56, 56), (64, 144, 3, 1, 1), padding=(1, 0, 0), bias=False, network=True),
    ConvCase("volume_32", (1, 32, 32, 32, 32), (32, 32, 5, 5, 5), padding=2, network=True),
    ConvCase("video_depthwise", (2, 96, 8, 28, 28), (96, 1, 3, 3, 3), padding=1, groups=96, network=True),
)

TRANSPOSE_CASES = (
    ConvTransposeCase("one_number", (1, 1, 1, 1), (1, 1, 1, 1)),
    ConvTransposeCase("signal", (2, 3, 9), (3, 5, 4), stride=2, padding=1),
    ConvTransposeCase("signal_output_padding", (2, 18, 7), (18, 4, 3), stride=3, output_padding=2, bias=False),
    ConvTransposeCase("doubling", (2, 5, 4, 6), (5, 3, 2, 2), stride=2),
    ConvTransposeCase("overlapping", (2, 5, 4, 6), (5, 19, 4, 4), stride=2, padding=1),
    ConvTransposeCase("output_padding", (2, 4, 5, 5), (4, 3, 3, 3), stride=(2, 3), padding=1, output_padding=(1, 2)),
    ConvTransposeCase("output_padding_of_dilation", (1, 3, 6, 6), (3, 4, 3, 2), output_padding=(2, 1), dilation=(3, 2)),
    ConvTransposeCase("gaps", (2, 3, 4, 3), (3, 4, 2, 2), stride=(3, 5)),
    ConvTransposeCase("grouped", (2, 6, 5, 4), (6, 4, 3, 3), stride=2, groups=2),
    ConvTransposeCase("depthwise", (2, 7, 5, 6), (7, 1, 3, 3), stride=2, padding=1, output_padding=1, groups=7),
    ConvTransposeCase("pointwise", (2, 5, 4, 6), (5, 9, 1, 1)),
    ConvTransposeCase("pointwise_strided", (2, 5, 4, 6), (5, 9, 1, 1), stride=2, output_padding=1),
    ConvTransposeCase("padding_pairs", (1, 3, 6, 5), (3, 4, 3, 3), stride=2, padding=((0, 2), (3, 1))),
    ConvTransposeCase("stride_one", (2, 17, 6, 6), (17, 18, 3, 3), padding=1),
    ConvTransposeCase("volume", (1, 4, 3, 4, 5), (4, 6, 3, 3, 3), stride=2, padding=1, output_padding=1),
    ConvTransposeCase("volume_dilated", (1, 3, 3, 4, 4), (3, 2, 2, 3, 2), stride=(2, 1, 2), dilation=(3, 2, 1)),
    ConvTransposeCase("empty_batch", (0, 3, 4, 4), (3, 5, 3, 3), stride=2),
    # Generators (DCGAN), decoders (U-Net, FCN), V-Net, waveforms (HiFi-GAN).
    ConvTransposeCase("dcgan_8", (16, 512, 8, 8), (512, 256, 4, 4), stride=2, padding=1, bias=False, network=True),
    ConvTransposeCase("dcgan_image", (16, 64, 32, 32), (64, 3, 4, 4), stride=2, padding=1, network=True),
    ConvTransposeCase("unet_28", (4, 256, 28, 28), (256, 128, 2, 2), stride=2, network=True),
    ConvTransposeCase("unet_56", (4, 128, 56, 56), (128, 64, 3, 3), 2, 1, output_padding=1, network=True),
    ConvTransposeCase("fcn_16", (2, 21, 28, 28), (21, 21, 32, 32), stride=16, padding=8, bias=False, network=True),
    ConvTransposeCase("vnet_16", (1, 64, 16, 16, 16), (64, 32, 2, 2, 2), stride=2, network=True),
    ConvTransposeCase("waveform", (4, 256, 256), (256, 128, 16), stride=8, padding=4, network=True),
)
