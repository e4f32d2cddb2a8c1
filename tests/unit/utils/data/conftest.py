"""Stage: tests of utils. In: whatever start method this Python prefers. Out: forked workers, which need no pickles: the
data sets of these tests are made of local functions.
Next: ``test_loader.py``."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def forked() -> Iterator[None]:
    """Workers are forked, where nothing else is asked for."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("fork", force=True)
    yield
    multiprocessing.set_start_method(before, force=True)
