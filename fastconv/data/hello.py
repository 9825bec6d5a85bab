"""Signals in which a word may occur, somewhere: made up, so that nothing need be recorded."""

from collections.abc import Sequence

import numpy as np

WORD = 64  # samples
HELLO = (2, 5, 3, 1)  # syllables: the tones of a word, in cycles
TONES = 7


def hello_signals(
    count: int,
    length: int = 256,
    *,
    places: tuple[int, int] | None = None,
    noise: float = 0.2,
    seed: int | np.random.Generator = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return signals of two words and noise; in half of them, one is the word that is asked for.

    A word is four syllables of sixteen samples, each one of seven tones that swells and fades; other words have other
    syllables, or the same in another order, so that neither loudness nor a single tone tells the classes apart. Words
    do not overlap; their loudness varies by half.

    Parameters
    ----------
    count : int
    length : int
        Samples of a signal.
    places : tuple of int, optional
        First and last place where the word asked for may start; anywhere by default.
    noise : float
        Standard deviation of the noise; the words' amplitude is near 1.
    seed : int or Generator

    Returns
    -------
    signals : (count, 1, length) float32 ndarray
    labels : (count,) int64 ndarray
        1 where the word occurs.

    Raises
    ------
    ValueError
        A word at these places does not lie inside the signal, or leaves no room for another one.
    """
    low, high = (0, length - WORD) if places is None else places
    if not 0 <= low <= high <= length - WORD or length < 3 * WORD:
        raise ValueError(
            f"hello_signals: a word of {WORD} samples must start between 0 and length - {WORD}, and length must be at "
            f"least {3 * WORD}, got places {places} and length {length}"
        )
    rng = np.random.default_rng(seed)
    signals = rng.normal(0, noise, (count, length))
    labels = rng.permutation(np.arange(count) % 2)
    for signal, label in zip(signals, labels, strict=True):
        place = rng.integers(low, high + 1)
        other = rng.choice([*range(place - WORD + 1), *range(place + WORD, length - WORD + 1)])
        for start, syllables in ((place, HELLO if label else other_word(rng)), (other, other_word(rng))):
            signal[start : start + WORD] += rng.uniform(0.8, 1.25) * word(syllables)
    return signals[:, None].astype(np.float32), labels.astype(np.int64)


def word(syllables: Sequence[int]) -> np.ndarray:
    """Return the samples of a word: (WORD,) float64, between -1 and 1."""
    samples = WORD // len(syllables)
    time = (np.arange(samples) + 0.5) / samples
    return np.concatenate([np.sin(np.pi * time) * np.sin(2 * np.pi * tone * time) for tone in syllables])


def other_word(rng: np.random.Generator) -> tuple[int, ...]:
    """Return the syllables of any word but `HELLO`."""
    while True:
        syllables = tuple(int(tone) for tone in rng.integers(1, TONES + 1, len(HELLO)))
        if syllables != HELLO:
            return syllables
