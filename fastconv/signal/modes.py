"""Which outputs of a full convolution the modes ask for."""

from __future__ import annotations

from collections.abc import Sequence

MODES = ("full", "same", "valid")


def extent(mode: str, n: Sequence[int], k: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the first output and the number of outputs, axis by axis, for inputs of sizes n and k."""
    pairs = list(zip(n, k, strict=True))
    if mode == "full":
        return [0] * len(pairs), [a + b - 1 for a, b in pairs]
    if mode == "same":
        return [(b - 1) // 2 for _, b in pairs], [a for a, _ in pairs]
    return [min(a, b) - 1 for a, b in pairs], [abs(a - b) + 1 for a, b in pairs]


def check_valid(op: str, mode: str, n: Sequence[int], k: Sequence[int]) -> None:
    """Raise ValueError unless one input lies wholly within the other, where the mode asks for it."""
    if mode != "valid":
        return
    pairs = list(zip(n, k, strict=True))
    if any(a < b for a, b in pairs) and any(a > b for a, b in pairs):
        raise ValueError(
            f"{op}: for mode 'valid' one input must be at least as large as the other along every axis, "
            f"got {tuple(n)} and {tuple(k)}"
        )
