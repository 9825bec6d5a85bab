"""Dropout, with the counter-based random words that say which elements stay."""

import numpy as np

LOW = 2**32 - 1


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the four words of a block: Philox 4x32 with seven rounds.

    J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, *Parallel random numbers: as easy as 1, 2, 3* (2011), section
    3.3. Counter and key are words, the lowest first.
    """
    a, b, c, d = counter
    k, m = key
    for _ in range(7):
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = q >> 32 ^ b ^ k, q & LOW, p >> 32 ^ d ^ m, p & LOW
        k, m = k + 0x9E3779B9 & LOW, m + 0xBB67AE85 & LOW
    return a, b, c, d


@np.errstate(all="ignore")
def dropout(x, p=0.5, training=True, *, seed, counter=0) -> np.ndarray:
    """Return x / (1 - p) where the element's word is at least p * 2**32, else x * 0."""
    x = np.asarray(x, np.float64)
    return x * _factors(x.size, p, training, seed, counter).reshape(x.shape)


@np.errstate(all="ignore")
def dropout_backward(dy, x, p=0.5, training=True, *, seed, counter=0) -> np.ndarray:
    """Return dy / (1 - p) where the element stayed, else dy * 0."""
    return dropout(dy, p, training, seed=seed, counter=counter)


@np.errstate(all="ignore")
def _dropout_channels(x, axes, p, training, seed, counter) -> np.ndarray:
    x = np.asarray(x, np.float64)
    shape = (*x.shape[:-axes], *[1] * axes)
    return x * _factors(int(np.prod(shape)), p, training, seed, counter).reshape(shape)


def dropout1d(x, p=0.5, training=True, *, seed, counter=0) -> np.ndarray:
    """Drop whole channels of ([n,] c, l), each by a word of its own."""
    return _dropout_channels(x, 1, p, training, seed, counter)


def dropout1d_backward(dy, x, p=0.5, training=True, *, seed, counter=0) -> np.ndarray:
    """Drop the same channels of dy."""
    return _dropout_channels(dy, 1, p, training, seed, counter)


def dropout2d(x, p=0.5, training=True, *, seed, counter=0) -> np.ndarray:
    """Drop whole channels of ([n,] c, h, w), each by a word of its own."""
    return _dropout_channels(x, 2, p, training, seed, counter)


def dropout2d_backward(dy, x, p=0.5, training=True, *, seed, counter=0) -> np.ndarray:
    """Drop the same channels of dy."""
    return _dropout_channels(dy, 2, p, training, seed, counter)


def dropout3d(x, p=0.5, training=True, *, seed, counter=0) -> np.ndarray:
    """Drop whole channels of ([n,] c, d, h, w), each by a word of its own."""
    return _dropout_channels(x, 3, p, training, seed, counter)


def dropout3d_backward(dy, x, p=0.5, training=True, *, seed, counter=0) -> np.ndarray:
    """Drop the same channels of dy."""
    return _dropout_channels(dy, 3, p, training, seed, counter)


def _factors(count, p, training, seed, counter) -> np.ndarray:
    """Return 0 or 1 / (1 - p) for each of `count` elements."""
    factors = np.ones(count)
    if training and p > 0:
        for i in range(count):
            block = i // 4
            words = philox((block & LOW, block >> 32, counter & LOW, counter >> 32), (seed & LOW, seed >> 32))
            factors[i] = 1 / (1 - p) if words[i % 4] >= round(p * 2**32) and p < 1 else 0
    return factors
