"""Stage: tests of recording. In: random chains of movement ops. Out: the index maps say which element NumPy puts where.
Next: ``test_reference.py``."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.conformance.movements import move_at_random
from minigrad.dtype import int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.movement import Coordinate, flatten, source_index, unflatten
from minigrad.graph.reference import move
from minigrad.ops import MOVEMENT, Op
from minigrad.symbolic import Sym, evaluate, num, var

SHAPES = ((), (1,), (7,), (3, 4), (2, 1, 5), (0, 3), (2, 3, 2, 2))


def _leaf(shape: tuple[int, ...]) -> LazyBuffer:
    return LazyBuffer(Op.BUFFER, (), None, shape, int64, "NUMPY")


def _chain(x: LazyBuffer) -> list[LazyBuffer]:
    nodes = []
    while x.op in MOVEMENT:
        nodes.append(x)
        x = x.srcs[0]
    return nodes


def _read(x: LazyBuffer, at: tuple[int, ...], base: np.ndarray) -> int:
    """The element at ``at`` by way of index maps; numbers go in, so every map is evaluated."""
    names = [f"v{i}" for i in range(len(at))]
    index: Coordinate = tuple(var(n, 0, s - 1) for n, s in zip(names, x.shape, strict=True))
    values = dict(zip(names, at, strict=True))
    for node in _chain(x):
        index, inside = source_index(node.op, node.arg, node.srcs[0].shape, index)
        if inside is not None and not evaluate(inside, values):
            return 0
        for i, size in zip(index, node.srcs[0].shape, strict=True):
            assert i.lo <= evaluate(i, values) <= i.hi
            assert 0 <= evaluate(i, values) < size
    return int(base[tuple(evaluate(i, values) for i in index)])


@given(st.sampled_from(SHAPES), st.integers(0, 100_000), st.integers(1, 5))
def test_index_maps_compose_as_numpy_views_do(shape: tuple[int, ...], seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    base = np.arange(1, 1 + int(np.prod(shape))).reshape(shape)
    x, expected = _leaf(shape), base
    for _ in range(length):
        x = move_at_random(x, rng)
    for node in reversed(_chain(x)):
        expected = move(node.op, node.arg, expected)
    assert expected.shape == x.shape
    points = list(np.ndindex(x.shape))
    for at in [points[i] for i in rng.permutation(len(points))[:12]]:
        assert _read(x, at, base) == expected[at]


@pytest.mark.parametrize("shape", [(), (5,), (1, 5), (3, 1, 4), (2, 3, 4)])
def test_unflatten_undoes_flatten(shape: tuple[int, ...]) -> None:
    index = tuple(num(0) if n == 1 else var(f"i{k}", 0, n - 1) for k, n in enumerate(shape))
    assert unflatten(flatten(index, shape), shape) == index


def test_a_guard_is_given_only_where_it_is_needed() -> None:
    i = var("i", 0, 4)
    assert source_index(Op.PAD, ((0, 0, 0),), (5,), (i,))[1] is None
    assert str(source_index(Op.PAD, ((2, 0, 0),), (3,), (i,))[1]) == "1 < i"
    inside = source_index(Op.PAD, ((1, 1, 1),), (2,), (i,))[1]
    assert isinstance(inside, Sym)
    assert [evaluate(inside, {"i": n}) for n in range(5)] == [0, 1, 0, 1, 0]
