"""Stage: tests of fusion. In: nothing. Out: every graph is compiled, be it ever so long or of sizes that vary: kernels
are what is counted here. Next: ``test_kernel_counts.py``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import minigrad


@pytest.fixture(autouse=True)
def _compiled() -> Iterator[None]:
    with minigrad.config(TIERS=0):
        yield
