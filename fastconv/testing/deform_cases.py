"""Deformable convolutions."""

from dataclasses import dataclass
from typing import Any

from fastconv.geometry import ConvGeometry, DeformGeometry


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
