"""Stage: tests of plans. In: small graphs. Out: how many bytes their kernels are said to move.
Next: ``test_walk.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import minigrad

F = minigrad.nn.functional
X, TABLE = minigrad.rand(100, 40).realize(), minigrad.rand(5000, 16).realize().requires_grad_()
INDEX = minigrad.arange(8).realize()


def moved(compute: Callable[[], Any]) -> int:
    """Bytes of all kernels."""
    with minigrad.config(TIERS=0), minigrad.inspect() as seen:
        compute()
    return sum(kernel.bytes for kernel in seen.kernels)


@pytest.mark.parametrize(("compute", "elements"), [
    (lambda: (X * 2).realize(), 2 * 4000),
    (lambda: X.sum(1).realize(), 4000 + 100),
    (lambda: (X[:10] * 2).realize(), 2 * 400),
    (lambda: (X[:10].T * 2).realize(), 2 * 400),
    (lambda: (X[0] + X).realize(), 2 * 4000),
    (lambda: (X - X.mean(1, keepdim=True)).realize(), 2 * 4000),
    (lambda: F.embedding(INDEX, TABLE.detach()).realize(), 2 * 8 * 16 + 2 * 8),
], ids=["map", "sum", "slice", "transposed slice", "a row twice", "two stages", "gather"])
def test_what_is_read_and_written_counts_once(compute: Callable[[], Any], elements: int) -> None:
    assert elements * 4 <= moved(compute) <= elements * 4 + 800


def test_a_scatter_counts_what_it_changes() -> None:
    """The gradient of a table is filled with zeros as a whole, and changed at few places."""
    def compute() -> None:
        TABLE.grad = None
        F.embedding(INDEX, TABLE).sum().backward()

    whole = 5000 * 16 * 4
    assert whole <= moved(compute) < 1.2 * whole
