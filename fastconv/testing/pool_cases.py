"""Pooling, and what changes the size of maps."""

from dataclasses import dataclass, field
from typing import Any

from fastconv.geometry import PoolGeometry


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


@dataclass(frozen=True)
class OpCase:
    """Arguments of an operation on one array.

    Attributes
    ----------
    id : str
        Name in reports.
    op : str
        Name of the operation.
    x : tuple of int
        Shape of the array.
    options : dict
        Keyword arguments.
    network : bool
        Whether it is a layer of a real network: for benchmarks, far too slow for the reference.
    """

    id: str
    op: str
    x: tuple[int, ...]
    options: dict[str, Any] = field(hash=False)
    network: bool = False


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


def _cases(rows: tuple, network: bool = False) -> tuple[OpCase, ...]:
    return tuple(OpCase(id, op, x, options, network) for id, op, x, options in rows)


LINE_3 = {"kernel_size": 3, "stride": 2, "padding": 1}

# Pooling along one and three axes, LP pooling, and pooling to a given size.
WINDOW_CASES = _cases((
    ("line", "max_pool1d", (2, 3, 40), {"kernel_size": 2}),
    ("line_padded", "max_pool1d", (2, 3, 37), LINE_3 | {"dilation": 3, "ceil_mode": True}),
    ("line_over_the_end", "avg_pool1d", (2, 3, 36), LINE_3 | {"ceil_mode": True, "count_include_pad": False}),
    ("whole_line", "avg_pool1d", (2, 3, 19), {"kernel_size": 19}),
    ("cubes", "max_pool3d", (2, 3, 4, 6, 20), {"kernel_size": 2}),
    ("cubes_overlapping", "max_pool3d", (1, 2, 5, 7, 21), LINE_3),
    ("cubes_neighbours", "max_pool3d", (1, 2, 4, 6, 18), LINE_3 | {"stride": 1}),
    ("cubes_dilated", "max_pool3d", (1, 2, 7, 8, 9), {"kernel_size": (2, 3, 2), "stride": (1, 2, 3), "dilation": 3}),
    ("cubes_mean", "avg_pool3d", (2, 3, 4, 6, 20), {"kernel_size": 2}),
    ("cubes_mean_overlapping", "avg_pool3d", (1, 2, 6, 7, 20), LINE_3 | {"ceil_mode": True}),
    ("flat_cubes", "max_pool3d", (1, 2, 5, 9, 20), {"kernel_size": (1, 3, 3), "stride": 2, "padding": (0, 1, 1)}),
    ("whole_cube", "max_pool3d", (2, 5, 3, 4, 5), {"kernel_size": (3, 4, 5)}),
    ("sum", "lp_pool2d", (2, 3, 8, 9), {"norm_type": 1, "kernel_size": 2}),
    ("euclidean", "lp_pool2d", (2, 3, 9, 20), {"norm_type": 2, "kernel_size": 3, "stride": 2}),
    ("euclidean_over_the_end", "lp_pool2d", (2, 3, 8, 9), {"norm_type": 2, "kernel_size": 3, "ceil_mode": True}),
    ("fourth_root", "lp_pool1d", (2, 3, 30), {"norm_type": 4, "kernel_size": 3}),
    ("cubes_root", "lp_pool3d", (1, 2, 4, 5, 6), {"norm_type": 2, "kernel_size": 2}),
    ("tiling", "adaptive_max_pool2d", (2, 3, 8, 12), {"output_size": 4}),
    ("uneven", "adaptive_max_pool2d", (2, 3, 13, 40), {"output_size": (5, 23)}),
    ("more_windows_than_elements", "adaptive_max_pool2d", (1, 2, 3, 4), {"output_size": (7, 18)}),
    ("uneven_line", "adaptive_max_pool1d", (2, 3, 41), {"output_size": 7}),
    ("uneven_cube", "adaptive_max_pool3d", (1, 2, 5, 7, 18), {"output_size": (2, None, 5)}),
    ("mean_tiling", "adaptive_avg_pool2d", (2, 3, 8, 12), {"output_size": (2, 3)}),
    ("mean_uneven", "adaptive_avg_pool2d", (2, 3, 13, 40), {"output_size": (5, 23)}),
    ("mean_of_one", "adaptive_avg_pool2d", (2, 3, 5, 6), {"output_size": 1}),
    ("mean_to_more", "adaptive_avg_pool2d", (1, 2, 3, 4), {"output_size": (7, 18)}),
    ("mean_uneven_line", "adaptive_avg_pool1d", (2, 3, 41), {"output_size": 7}),
    ("mean_uneven_cube", "adaptive_avg_pool3d", (1, 2, 5, 7, 18), {"output_size": (2, None, 5)}),
    ("empty_batch", "adaptive_avg_pool2d", (0, 3, 5, 6), {"output_size": 2}),
    ("empty_batch_max", "adaptive_max_pool2d", (0, 3, 5, 6), {"output_size": 2}),
)) + _cases((
    ("audio", "max_pool1d", (8, 64, 16000), {"kernel_size": 2}),
    ("m5", "max_pool1d", (32, 128, 8000), {"kernel_size": 4}),
    ("resnet1d", "max_pool1d", (32, 128, 4096), LINE_3),
    ("c3d_1", "max_pool3d", (2, 64, 16, 112, 112), {"kernel_size": (1, 2, 2)}),
    ("c3d_2", "max_pool3d", (2, 128, 16, 56, 56), {"kernel_size": 2}),
    ("i3d_stem", "max_pool3d", (2, 64, 16, 56, 56), LINE_3),
    ("i3d_28", "max_pool3d", (2, 192, 8, 28, 28), LINE_3 | {"stride": 1}),
    ("audio", "avg_pool1d", (8, 64, 16000), {"kernel_size": 2}),
    ("unet3d", "avg_pool3d", (2, 32, 32, 64, 64), {"kernel_size": 2}),
    ("densenet3d", "avg_pool3d", (2, 64, 16, 56, 56), LINE_3),
    ("i3d_head", "avg_pool3d", (8, 1024, 4, 7, 7), {"kernel_size": (2, 7, 7), "stride": 1}),
    ("euclidean_56", "lp_pool2d", (8, 64, 56, 56), {"norm_type": 2, "kernel_size": 2}),
    ("alexnet_6", "adaptive_avg_pool2d", (32, 256, 13, 13), {"output_size": 6}),
    ("vgg_7", "adaptive_avg_pool2d", (8, 512, 10, 10), {"output_size": 7}),
    ("pyramid_60", "adaptive_avg_pool2d", (2, 512, 60, 60), {"output_size": 7}),
    ("spp_4", "adaptive_max_pool2d", (8, 256, 13, 13), {"output_size": 4}),
    ("roi_7", "adaptive_max_pool2d", (64, 256, 16, 16), {"output_size": 7}),
    ("video", "adaptive_avg_pool3d", (8, 256, 8, 14, 14), {"output_size": (1, 7, 7)}),
), network=True)  # fmt: skip

# What changes the size of maps, or moves pixels to channels and back.
RESAMPLE_CASES = _cases((
    ("nails_line", "unpool_bed_of_nails", (2, 3, 7), {"kernel_size": 3}),
    ("nails", "unpool_bed_of_nails", (2, 3, 4, 20), {"kernel_size": (3, 2)}),
    ("nails_cube", "unpool_bed_of_nails", (1, 2, 3, 4, 5), {"kernel_size": 2}),
    ("nearest_line", "interpolate", (2, 3, 17), {"scale_factor": 2.5}),
    ("nearest", "interpolate", (2, 3, 7, 20), {"scale_factor": 2}),
    ("nearest_down", "interpolate", (2, 3, 9, 40), {"size": (4, 17)}),
    ("nearest_cube", "interpolate", (1, 2, 3, 4, 19), {"size": (5, 3, 25)}),
    ("nearest_one", "interpolate", (2, 3, 1, 1), {"size": (3, 40)}),
    ("empty_batch", "interpolate", (0, 3, 7, 8), {"scale_factor": 2}),
    ("linear", "interpolate", (2, 3, 17), {"scale_factor": 2, "mode": "linear"}),
    ("linear_corners", "interpolate", (2, 3, 17), {"size": 40, "mode": "linear", "align_corners": True}),
    ("bilinear", "interpolate", (2, 3, 7, 20), {"scale_factor": 2, "mode": "bilinear"}),
    ("bilinear_corners", "interpolate", (2, 3, 7, 20), {"size": (13, 33), "mode": "bilinear", "align_corners": True}),
    ("bilinear_down", "interpolate", (2, 3, 9, 40), {"scale_factor": (0.4, 0.7), "mode": "bilinear"}),
    ("bilinear_mixed", "interpolate", (2, 3, 9, 40), {"size": (20, 11), "mode": "bilinear"}),
    ("bilinear_one", "interpolate", (2, 3, 5, 6), {"size": 1, "mode": "bilinear", "align_corners": True}),
    ("trilinear", "interpolate", (1, 2, 3, 4, 9), {"scale_factor": 2, "mode": "trilinear"}),
    ("trilinear_corners", "interpolate", (1, 2, 3, 4, 9), {"size": 6, "mode": "trilinear", "align_corners": True}),
    ("shuffle", "pixel_shuffle", (2, 12, 3, 20), {"upscale_factor": 2}),
    ("shuffle_by_three", "pixel_shuffle", (1, 18, 3, 17), {"upscale_factor": 3}),
    ("unshuffle", "pixel_unshuffle", (2, 3, 6, 40), {"downscale_factor": 2}),
    ("unshuffle_by_three", "pixel_unshuffle", (1, 2, 6, 9), {"downscale_factor": 3}),
    ("depth_to_space", "depth_to_space", (2, 12, 3, 20), {"block_size": 2}),
    ("depth_to_space_crd", "depth_to_space", (2, 18, 3, 5), {"block_size": 3, "mode": "CRD"}),
    ("space_to_depth", "space_to_depth", (2, 3, 6, 40), {"block_size": 2}),
    ("space_to_depth_spd", "space_to_depth", (2, 3, 9, 6), {"block_size": 3, "mode": "SPD"}),
)) + _cases((
    ("fpn_28", "interpolate", (8, 256, 28, 28), {"scale_factor": 2}),
    ("yolo_13", "interpolate", (8, 256, 13, 13), {"scale_factor": 2}),
    ("unet_56", "interpolate", (4, 128, 56, 56), {"scale_factor": 2}),
    ("unet_56_bilinear", "interpolate", (4, 128, 56, 56), {"scale_factor": 2, "mode": "bilinear"}),
    ("deeplab_65", "interpolate", (4, 21, 65, 65), {"size": (513, 513), "mode": "bilinear"}),
    ("segmenter_28", "interpolate", (4, 256, 28, 28), {"scale_factor": 2, "mode": "bilinear", "align_corners": True}),
    ("halved_112", "interpolate", (4, 64, 112, 112), {"scale_factor": 0.5, "mode": "bilinear"}),
    ("unet3d_28", "interpolate", (2, 64, 8, 28, 28), {"scale_factor": 2, "mode": "trilinear"}),
    ("unet3d_56", "interpolate", (1, 32, 16, 56, 56), {"scale_factor": 2, "mode": "trilinear"}),
    ("wave", "interpolate", (8, 64, 4000), {"scale_factor": 4, "mode": "linear"}),
    ("espcn", "pixel_shuffle", (4, 27, 128, 128), {"upscale_factor": 3}),
    ("edsr", "pixel_shuffle", (4, 256, 48, 48), {"upscale_factor": 2}),
    ("esrgan", "pixel_shuffle", (4, 1024, 24, 24), {"upscale_factor": 4}),
    ("spd_56", "space_to_depth", (8, 64, 56, 56), {"block_size": 2}),
    ("focus", "space_to_depth", (8, 3, 320, 320), {"block_size": 2}),
), network=True)  # fmt: skip
