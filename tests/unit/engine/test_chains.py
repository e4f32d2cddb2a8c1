"""Stage: tests of realise. In: very long graphs. Out: they run, without recursion and in a time that grows with their
length. Next: ``tests/conformance/``."""

from __future__ import annotations

import numpy as np

import minigrad
from minigrad.conformance.sources import leaf
from minigrad.dtype import float32
from minigrad.engine import inspect, realise, to_numpy
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op


def _chain(length: int) -> LazyBuffer:
    """x + x + … + x, over 1,000 elements."""
    x = y = leaf(np.ones(1000, np.float32), float32, "CPU")
    for _ in range(length):
        y = y.binary(Op.ADD, x)
    return y


def test_a_chain_of_ten_thousand_on_the_cpu() -> None:
    with minigrad.config(VERIFY=0, TIERS=0):
        y = _chain(10_000)
        with inspect() as seen:
            realise([y])
    assert (to_numpy(y) == 10_001).all() and seen.native_calls <= 3


def test_many_outputs_at_once() -> None:
    x = leaf(np.arange(64, dtype=np.float32), float32, "CPU")
    outputs = [x.binary(Op.ADD, x.like(float(i))) for i in range(200)]
    realise(outputs)
    assert [float(to_numpy(y)[1]) for y in outputs] == [float(i + 1) for i in range(200)]


def test_nested_reductions_a_hundred_deep() -> None:
    x = leaf(np.ones((6, 5), np.float32), float32, "CPU")
    for _ in range(100):
        x = x.reduce(Op.MAX, (1,)).expand((6, 5)).binary(Op.ADD, x)
        x = x.binary(Op.MUL, x.like(0.5))
    realise([x])
    assert (to_numpy(x) == 1).all()
