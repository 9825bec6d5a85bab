"""What is measured: one row for each layer or network, with the kind of work that it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from fastconv.geometry import AdaptiveGeometry, PoolGeometry, ResampleGeometry
from fastconv.testing import CASES, ConvCase, ConvTransposeCase, OpCase, PoolCase

CONV_PASSES, BOTH, STEP = ("forward", "dx", "dw"), ("forward", "dx"), ("step",)
PLANE_PASSES, INFERENCE = ("forward", "prepacked", "dx", "dw"), ("forward", "prepacked")


@dataclass(frozen=True)
class NormCase:
    """Batch normalisation of x, (n, c, h, w), with the statistics of the batch; an addend, if asked for; and ReLU."""

    id: str
    x: tuple[int, ...]
    residual: bool = False


@dataclass(frozen=True)
class TrainingCase:
    """A step of SGD with momentum on one batch.

    Attributes
    ----------
    id : str
        Name in reports.
    model : str
        Name in ``fastconv.models.MODELS``.
    x : tuple of int
        Shape of the batch.
    classes : int
    parameters : int
        How many the network has: who has others did not train the same network.
    """

    id: str
    model: str
    x: tuple[int, ...]
    classes: int
    parameters: int


@dataclass(frozen=True)
class InferenceCase:
    """What a network gives for one batch, its batch normalisation folded into the layers before it.

    Attributes
    ----------
    id, model, x
        As of a `TrainingCase`.
    """

    id: str
    model: str
    x: tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One line of the comparison.

    Attributes
    ----------
    name : str
    kind : str
        The work that it belongs to in summaries.
    work : str
        What is called: 'conv2d', 'conv_nd' for one or three axes, 'conv_transpose', 'max_pool2d', 'avg_pool2d',
        'one_array', 'batch_norm', 'inference' or 'training'.
    case : ConvCase, ConvTransposeCase, PoolCase, OpCase, NormCase, InferenceCase or TrainingCase
    passes : tuple of str
    """

    name: str
    kind: str
    work: str
    case: Any
    passes: tuple[str, ...]


def _shape(case: ConvCase) -> tuple[int, ...]:
    return case.geometry.window.kernel


# A convolution is of the first kind that fits. Wide maps and many channels are where 3x3 transforms pay.
KINDS: dict[str, Callable[[ConvCase], bool]] = {
    "3D": lambda case: len(case.x) == 5,
    "1D": lambda case: len(case.x) == 3 or case.x[2] == 1,
    "dilated": lambda case: max(case.geometry.window.dilation) > 1,
    "depthwise": lambda case: case.groups == case.x[1] > 1,
    "grouped": lambda case: case.groups > 1,
    "first layers": lambda case: case.x[1] <= 4,
    "strided": lambda case: max(case.geometry.window.stride) > 1,
    "pointwise": lambda case: prod(case.w[2:]) == 1,
    "asymmetric": lambda case: case.w[2] != case.w[3],
    "3x3 stride 1": lambda case: case.w[2:] == (3, 3) and min(case.x[1], case.w[0]) >= 64 and min(case.x[2:]) >= 14,
    "3x3 small": lambda case: case.w[2:] == (3, 3),
    "5x5/7x7": lambda case: min(case.w[2:]) >= 5 and case.x[1] >= 16,
    "other": lambda case: True,
}


def kind_of(case: ConvCase) -> str:
    """Return the kind of work that a convolution is."""
    return next(kind for kind, fits in KINDS.items() if fits(case))


def conv_rows(cases: Iterable[ConvCase]) -> list[Row]:
    """Make a row of each convolution."""
    of_planes, others = ("conv2d", PLANE_PASSES), ("conv_nd", CONV_PASSES)
    return [
        Row(case.id, kind_of(case), work, case, passes)
        for case in cases
        for work, passes in [of_planes if len(case.x) == 4 else others]
    ]


def transpose_rows(cases: Iterable[ConvTransposeCase]) -> list[Row]:
    """Make a row of each transposed convolution."""
    return [Row(case.id, "transposed", "conv_transpose", case, CONV_PASSES) for case in cases]


POOLS = (
    *(case for case in CASES["pool2d"] if case.network),
    PoolCase("inception_28", (8, 192, 28, 28), 3, stride=1, padding=1),
    PoolCase("global_7", (8, 512, 7, 7), 7),
)
NORMS = (
    NormCase("resnet_56", (8, 64, 56, 56)),
    NormCase("resnet_14", (8, 256, 14, 14)),
    NormCase("resnet_7", (8, 512, 7, 7)),
    NormCase("mobilenet_112", (16, 64, 112, 112)),
    NormCase("cifar_32", (128, 16, 32, 32)),
    NormCase("resnet_56 + add", (8, 64, 56, 56), residual=True),
    NormCase("resnet_14 + add", (8, 256, 14, 14), residual=True),
)
TRAININGS = (
    TrainingCase("LeNet, batch 128", "lenet", (128, 1, 28, 28), 10, 61_706),
    TrainingCase("ResNet-20 on CIFAR, batch 128", "resnet20", (128, 3, 32, 32), 10, 272_474),
    TrainingCase("7x7 net, batch 64", "fashion_7x7", (64, 1, 28, 28), 10, 2_150_410),
    TrainingCase("ResNet-18 at 224, batch 8", "resnet18", (8, 3, 224, 224), 1000, 11_689_512),
    TrainingCase("MobileNet-v2 at 128, batch 16", "mobilenet_v2", (16, 3, 128, 128), 1000, 3_504_872),
)


INFERENCES = tuple(
    InferenceCase(f"{title} at 224, batch {batch}", model, (batch, 3, 224, 224))
    for title, model in (("ResNet-18", "resnet18"), ("MobileNet-v2", "mobilenet_v2"))
    for batch in (1, 8)
)

# Operations on one array, by the kind of work that they are: those of which `truth` knows a plain form.
ONE_ARRAY = {
    "max_pool1d": "pooling 1D",
    "avg_pool1d": "pooling 1D",
    "max_pool3d": "pooling 3D",
    "avg_pool3d": "pooling 3D",
    "adaptive_avg_pool2d": "adaptive pooling",
    "adaptive_avg_pool3d": "adaptive pooling",
    "interpolate": "interpolation",
}


def one_array_rows() -> list[Row]:
    """Make a row of each network layer that pools along one or three axes, pools to a size, or interpolates."""
    cases = (case for case in CASES["windows"] + CASES["resample"] if case.network and case.op in ONE_ARRAY)
    return [Row(f"{case.op} {case.id}", ONE_ARRAY[case.op], "one_array", case, BOTH) for case in cases]


def one_array_geometry(case: OpCase) -> PoolGeometry | AdaptiveGeometry | ResampleGeometry:
    """Return all sizes of an operation on one array."""
    ndim, options = len(case.x) - 2, dict(case.options)
    if case.op == "interpolate":
        return ResampleGeometry.make(case.op, case.x, **options)
    if case.op.startswith("adaptive"):
        return AdaptiveGeometry.make(case.op, case.x, **options, ndim=ndim)
    return PoolGeometry.make(case.op, case.x, options.pop("kernel_size"), **options, ndim=ndim)


def fixed_rows() -> list[Row]:
    """List what every comparison holds: network layers of `fastconv.testing.CASES`, pooling, norm, and networks."""
    rows = [row for op in ("conv2d", "conv1d", "conv3d") for row in conv_rows(filter(_of_network, CASES[op]))]
    rows += transpose_rows(filter(_of_network, CASES["conv_transpose"]))
    rows += [Row(f"max {case.id}", "pooling", "max_pool2d", case, BOTH) for case in POOLS]
    rows += [Row(f"average {case.id}", "pooling", "avg_pool2d", case, BOTH) for case in POOLS]
    rows += one_array_rows()
    rows += [Row(case.id, "norm + ReLU", "batch_norm", case, BOTH) for case in NORMS]
    rows += [Row(case.id, "inference", "inference", case, INFERENCE) for case in INFERENCES]
    return rows + [Row(case.id, "training step", "training", case, STEP) for case in TRAININGS]


def _of_network(case: ConvCase | ConvTransposeCase) -> bool:
    return case.network


def operands(row: Row) -> tuple[np.ndarray | None, ...]:
    """Draw the float32 arrays of a row, the same in every process.

    Returns
    -------
    tuple of ndarray or None
        Of a convolution x, w, b, dy; of pooling and interpolation x, dy; of batch norm x, weight, bias, residual, dy;
        of inference x; of training x and labels.
    """
    rng = np.random.default_rng(0)

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    case = row.case
    if row.work.startswith("conv"):
        return *case.arrays(draw), draw(case.geometry.y_shape)
    if row.work == "batch_norm":
        channels = case.x[1:2]
        residual = draw(case.x) if case.residual else None
        return _away_from_kink(draw(case.x), draw(channels), draw(channels), residual, draw(case.x))
    if row.work == "inference":
        return (draw(case.x),)
    if row.work == "training":
        return draw(case.x), rng.integers(0, case.classes, case.x[0])
    geometry = one_array_geometry(case) if row.work == "one_array" else case.geometry
    return draw(case.x), draw(geometry.y_shape)


def _away_from_kink(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, residual: np.ndarray | None, dy: np.ndarray
) -> tuple[np.ndarray | None, ...]:
    """Send no gradient to where rounding decides on which side of the kink of ReLU a number falls."""
    mean, deviation = (statistic((0, 2, 3), dtype=np.float64, keepdims=True) for statistic in (x.mean, x.std))
    y = (x - mean) / deviation * weight[:, None, None] + bias[:, None, None]
    dy[np.abs(y if residual is None else y + residual) < 1e-4] = 0
    return x, weight, bias, residual, dy
