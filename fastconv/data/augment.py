"""Random affine maps: rotation, scale, shear and shift, a different one for every sample and epoch."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Affine:
    """Limits of random affine maps; every quantity is drawn uniformly from -limit to +limit.

    Parameters
    ----------
    rotation : float
        Degrees.
    scale : float
        Relative: 0.1 gives sizes from 90 % to 110 %, drawn for height and width separately.
    shear : float
        Columns that a row moves per row of height.
    shift : float
        Fraction of the image's height and width.
    """

    rotation: float = 12.0
    scale: float = 0.12
    shear: float = 0.15
    shift: float = 0.08

    def draw(self, count: int, seed: int, epoch: int) -> np.ndarray:
        """Draw a map for each of `count` samples.

        Row ``i`` depends on (`seed`, `epoch`, ``i``) alone.

        Returns
        -------
        (count, 2, 3) float32 ndarray
            Rotation @ scale @ shear, and the shift, for :func:`fastconv.data.warp`.
        """
        rng = np.random.default_rng((seed, epoch, _STREAM))
        angle, height, width, shear, down, right = rng.uniform(-1, 1, (count, 6)).T
        cos, sin = np.cos(np.deg2rad(self.rotation) * angle), np.sin(np.deg2rad(self.rotation) * angle)
        height, width, shear = 1 + self.scale * height, 1 + self.scale * width, self.shear * shear
        maps = [
            [cos * height + sin * width * shear, sin * width, self.shift * down],
            [cos * width * shear - sin * height, cos * width, self.shift * right],
        ]
        return np.asarray(maps, np.float32).transpose(2, 0, 1)


_STREAM = 1  # keeps these numbers apart from others drawn with the same seed and epoch
