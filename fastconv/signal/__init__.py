"""Convolution and correlation of signals and images, with the names, arguments and results of SciPy and NumPy.

Who imports these functions in the place of theirs has nothing else to change:

==================================  ======================================================
``scipy.signal``                    ``fastconv.signal``: convolve, correlate, convolve2d,
                                    correlate2d
``scipy.ndimage``                   ``fastconv.signal.ndimage``: convolve, correlate,
                                    convolve1d, correlate1d
``numpy``                           ``fastconv.signal.numpy``: convolve, correlate
==================================  ======================================================

All number types are accepted and results have the types that SciPy gives them: sums of integers wrap around, complex
numbers are conjugated where they should be. What has no kernel here, such as float16, longdouble and objects, is handed
to SciPy, or NumPy, whose errors then come through as well.

Unlike the rest of fastconv these functions follow mathematics: a convolution turns its kernel around.
"""

from fastconv.signal import ndimage, numpy
from fastconv.signal.convolution import convolve, correlate
from fastconv.signal.planar import convolve2d, correlate2d

__all__ = ["convolve", "convolve2d", "correlate", "correlate2d", "ndimage", "numpy"]
