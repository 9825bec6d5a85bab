"""Fixtures that several files share."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import settings

from fastconv import runtime

# A busy machine is no mistake of the code, and a run that fails must fail again.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@pytest.fixture
def rng() -> np.random.Generator:
    """The same numbers in every run, whatever the order of the tests."""
    return np.random.default_rng(20240229)


@pytest.fixture
def set_num_threads() -> Iterator[Callable[[int], None]]:
    """`fastconv.set_num_threads`, undone after the test."""
    before = runtime.get_num_threads()
    yield runtime.set_num_threads
    runtime.set_num_threads(before)
