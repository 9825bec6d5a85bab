"""Layers drawn around those of real networks, so that no list can be learnt by heart.

The families take turns, so every seed holds all of them. A draw takes one layer of a family, then

- changes height and width by up to 2 in half of the draws, where the image has more than 6 rows,
- multiplies the channels by 3/4 or 5/4, each in one draw of five (a width multiplier), to a multiple of 8,
- draws the batch from 1, 2, 4, ..., 64, and halves it until it has at most `MOST_MACS` multiply-adds and no array of
  more than `MOST_ELEMENTS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle

import numpy as np

from fastconv.testing import ConvCase

MOST_MACS = 1 << 30
MOST_ELEMENTS = 1 << 24
BATCHES = (1, 2, 4, 8, 16, 32, 64)
SHIFTS = (0, 0, 0, 0, -2, -1, 1, 2)
WIDTHS = (1, 1, 1, 3 / 4, 5 / 4)

Layer = tuple[int, int, int]  # input channels, output channels, rows and columns


@dataclass(frozen=True)
class Family:
    """Layers of one sort.

    Attributes
    ----------
    layers : tuple of (int, int, int)
        Input channels, output channels, size of the square image (of the row, in one dimension).
    kernels : tuple of (int, int)
        One is drawn; the padding keeps the size, as in the networks.
    stride : int
    groups : int
        0 gives every channel a group of its own.
    line : bool
        Whether the image has one row.
    """

    layers: tuple[Layer, ...]
    kernels: tuple[tuple[int, int], ...]
    stride: int = 1
    groups: int = 1
    line: bool = False


def _channelwise(*layers: tuple[int, int]) -> tuple[Layer, ...]:
    return tuple((channels, channels, size) for channels, size in layers)


FAMILIES: dict[str, Family] = {
    "3x3 of ResNet-18": Family(((64, 64, 56), (128, 128, 28), (256, 256, 14)), ((3, 3),)),
    "3x3 of VGG": Family(((64, 128, 112), (128, 256, 56), (256, 512, 28), (512, 512, 14)), ((3, 3),)),
    "3x3 of GoogLeNet": Family(((64, 192, 56), (96, 128, 28), (96, 208, 14), (160, 320, 14)), ((3, 3),)),
    # the deep end of ResNet-18, the layers of ResNet-20
    "3x3 small": Family(((512, 512, 7), (16, 16, 32), (32, 32, 16), (64, 64, 8), (256, 256, 8)), ((3, 3),)),
    # ResNet-50's bottlenecks, MobileNet-v1 and -v2
    "1x1": Family(
        ((64, 256, 56), (256, 64, 56), (512, 128, 28), (1024, 256, 14), (512, 2048, 7), (512, 512, 14), (480, 192, 14)),
        ((1, 1),),
    ),
    "1x1 narrow": Family(((24, 144, 56), (144, 24, 56), (32, 16, 112), (96, 24, 56), (32, 192, 28)), ((1, 1),)),
    # where ResNets halve the image, and their shortcuts
    "3x3 strided": Family(((64, 128, 56), (128, 128, 56), (128, 256, 28), (256, 512, 14), (16, 32, 32)), ((3, 3),), 2),
    "1x1 strided": Family(((64, 128, 56), (256, 512, 56), (512, 1024, 28), (1024, 2048, 14)), ((1, 1),), 2),
    # ResNet, AlexNet and ZFNet, LeNet, MobileNet, CIFAR networks
    "first 7x7": Family(((3, 64, 224), (3, 96, 224), (3, 64, 112)), ((7, 7),), 2),
    "first 11x11": Family(((3, 64, 224), (3, 96, 227)), ((11, 11),), 4),
    "first 5x5": Family(((1, 6, 28), (1, 20, 28), (1, 32, 28)), ((5, 5),)),
    "first 3x3": Family(((3, 32, 224), (3, 32, 160), (3, 24, 224)), ((3, 3),), 2),
    # MobileNet-v2 and -v3, EfficientNet
    "depthwise 3x3": Family(_channelwise((32, 112), (144, 56), (192, 28), (384, 14), (960, 7)), ((3, 3),), 1, 0),
    "depthwise 3x3 strided": Family(_channelwise((96, 112), (144, 56), (192, 28), (576, 14)), ((3, 3),), 2, 0),
    "depthwise 5x5": Family(_channelwise((120, 28), (240, 28), (480, 14), (672, 14), (960, 7)), ((5, 5),), 1, 0),
    "depthwise 5x5 strided": Family(_channelwise((72, 56), (144, 56), (240, 28), (672, 14)), ((5, 5),), 2, 0),
    # ResNeXt-50, AlexNet's two towers
    "grouped 32": Family(_channelwise((128, 56), (256, 28), (512, 14), (1024, 7)), ((3, 3),), 1, 32),
    "grouped 32 strided": Family(_channelwise((256, 56), (512, 28), (1024, 14)), ((3, 3),), 2, 32),
    "grouped 2": Family(((96, 256, 27), (384, 384, 13), (384, 256, 13)), ((5, 5), (3, 3)), 1, 2),
    # AlexNet's second layer, GoogLeNet, small networks of large kernels
    "5x5": Family(((64, 192, 27), (16, 32, 28), (32, 96, 28), (48, 128, 14), (32, 64, 28)), ((5, 5),)),
    "7x7": Family(((32, 64, 22), (64, 128, 16), (128, 128, 14), (16, 32, 28)), ((7, 7),)),
    # Inception-v3
    "asymmetric 7": Family(((128, 128, 17), (160, 192, 17), (192, 192, 17)), ((1, 7), (7, 1))),
    "asymmetric 3": Family(((384, 384, 8), (64, 96, 35), (448, 384, 8)), ((1, 3), (3, 1))),
    # signals: speech, vibration, accelerometers
    "1D": Family(
        ((64, 64, 512), (32, 64, 1024), (128, 128, 256), (16, 32, 2048)),
        ((1, 7), (1, 9), (1, 15), (1, 25)),
        line=True,
    ),
}


def sample(seed: int, count: int) -> list[ConvCase]:
    """Draw `count` different layers, the same for the same `seed`.

    Parameters
    ----------
    seed : int
        From 0 up.
    count : int
        48 hold every family twice.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, ConvCase] = {}
    draws = (_draw(rng, family) for family in cycle(FAMILIES.values()))
    while len(found) < count:
        case = next(draws)
        found.setdefault(case.id, case)
    return list(found.values())


def _draw(rng: np.random.Generator, family: Family) -> ConvCase:
    in_channels, out_channels, size = family.layers[rng.integers(len(family.layers))]
    kernel = family.kernels[rng.integers(len(family.kernels))]
    size += SHIFTS[rng.integers(len(SHIFTS))] if size > 6 else 0
    width = WIDTHS[rng.integers(len(WIDTHS))]
    batch = BATCHES[rng.integers(len(BATCHES))]
    in_channels, out_channels = (_widened(channels, width, family.groups) for channels in (in_channels, out_channels))
    groups = family.groups or in_channels
    w = (out_channels, in_channels // groups, *kernel)
    image = (1 if family.line else size, size)
    while True:
        x = (batch, in_channels, *image)
        case = ConvCase(
            _name(x, out_channels, kernel, family.stride, groups),
            x,
            w,
            stride=(1, family.stride) if family.line else family.stride,
            padding=tuple(k // 2 for k in kernel),
            groups=groups,
        )
        if batch == 1 or _fits(case):
            return case
        batch //= 2


def _widened(channels: int, width: float, groups: int) -> int:
    """Scale channels to a multiple of 8, and of the groups; colours and other few channels stay."""
    step = max(8, groups)
    return channels if channels < 16 else max(step, round(channels * width / step) * step)


def _fits(case: ConvCase) -> bool:
    geometry = case.geometry
    elements = max(np.prod(shape) for shape in (geometry.x_shape, geometry.y_shape))
    return geometry.macs <= MOST_MACS and elements <= MOST_ELEMENTS


def _name(x: tuple[int, ...], out_channels: int, kernel: tuple[int, int], stride: int, groups: int) -> str:
    """Name a layer by its sizes: '8x64x56x56 to 128, 3x3 /2'."""
    shape, window = "x".join(map(str, x)), "x".join(map(str, kernel))
    text = f"{shape} to {out_channels}, {window}" if out_channels != x[1] else f"{shape}, {window}"
    text += f" /{stride}" if stride > 1 else ""
    if groups == x[1]:
        return f"{text} depthwise"
    return text + (f", {groups} groups" if groups > 1 else "")
