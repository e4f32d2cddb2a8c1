"""Stage: tests of schedule, between steps 1 and 2. In: long reductions. Out: they are cut in two levels where that
widens them, with the same values. Next: ``tests/unit/schedule/``."""

from __future__ import annotations

import numpy as np
import pytest

from minigrad.conformance.sources import Shape, Source
from minigrad.dtype import DType, bool_, float32, float64, int32
from minigrad.engine import to_numpy
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.graph.reference import evaluate
from minigrad.graph.show import show
from minigrad.graph.verify import verify
from minigrad.ops import REDUCE, Op
from minigrad.schedule.split import ROW, split_reductions
from minigrad.target import AVX2, AVX512, SCALAR

LONG: list[tuple[Shape, tuple[int, ...]]] = [
    ((100_000,), (0,)), ((1, 65_537), (0, 1)), ((300, 300), (0, 1)), ((2, 60_000), (1,)), ((50_000, 3), (0,)),
                                             ((5, 40, 700), (1, 2)),
    ((131, 7, 131), (0, 2)), ((16, 1, 4_099), (0, 1, 2))]
SHORT: list[tuple[Shape, tuple[int, ...]]] = [((1_000,), (0,)), ((64, 70_000), (1,)), ((16, 16_384), (1,)),
                                              ((0, 70_000), (1,)),
                                              ((70_000, 0), (0,)), ((0,), (0,))]


def _levels(node: LazyBuffer) -> int:
    """The most reductions on one way through the graph."""
    depth: dict[LazyBuffer, int] = {}
    for n in toposort([node]):
        depth[n] = max((depth[s] for s in n.srcs), default=0) + (n.op in REDUCE)
    return depth[node]


@pytest.mark.parametrize("op, dtype", [(Op.SUM, float32), (Op.SUM, int32), (Op.PROD, float64), (Op.PROD, int32),
                                       (Op.MAX, float32),
                                       (Op.MIN, int32), (Op.MAX, bool_)], ids=str)
@pytest.mark.parametrize("shape, axes", LONG, ids=str)
def test_long_reductions_are_split_and_keep_their_value(op: str, dtype: DType, shape: Shape,
                                                        axes: tuple[int, ...]) -> None:
    x = Source("NUMPY", dtype, "plain", op).leaf(shape)
    if op == Op.PROD and dtype.is_float:
        x = x.binary(Op.MUL, x.like(1e-7)).unary(Op.EXP)
    whole = x.reduce(op, axes)
    (split,) = split_reductions([whole], AVX2)
    verify([split])
    assert _levels(split) == 2 and split.shape == whole.shape
    want, got = evaluate([whole, split], to_numpy)
    if dtype.is_float and op in (Op.SUM, Op.PROD):
        scale = np.abs(to_numpy(x)).sum() if op == Op.SUM else np.abs(want)
        np.testing.assert_array_less(np.abs(got - want), 1e-5 * scale)
    else:
        np.testing.assert_array_equal(got, want)


def test_what_a_part_adds_up_lies_together_in_memory() -> None:
    """Outer axes, though too few to make parts by themselves, are not added up across memory."""
    whole = Source("NUMPY", float32, "plain", 0).leaf((50, 4192, 31)).reduce(Op.SUM, (0, 1, 2))
    (split,) = split_reductions([whole], AVX512)
    first = next(n for n in toposort([split]) if n.op in REDUCE)
    assert first.arg == (2, 3) and first.shape == (50, 16, 1, 1)


@pytest.mark.parametrize("shape, axes", LONG, ids=str)
def test_first_level_is_wide_and_its_parts_worth_their_while(shape: Shape, axes: tuple[int, ...]) -> None:
    (split,) = split_reductions([Source("NUMPY", float32, "plain", 0).leaf(shape).reduce(Op.SUM, axes)], AVX512)
    first = [n for n in toposort([split]) if n.op in REDUCE and not any(s.op in REDUCE for s in toposort(list(n.srcs)))]
    assert sum(n.size for n in first) >= AVX512.parallel_min
    assert all(n.srcs[0].size // n.size >= ROW for n in first if n.size > 16)


@pytest.mark.parametrize("shape, axes", SHORT, ids=str)
def test_others_are_left_alone(shape: Shape, axes: tuple[int, ...]) -> None:
    outputs = [LazyBuffer(Op.BUFFER, (), None, shape, float32, "CPU").reduce(Op.SUM, axes)]
    assert split_reductions(outputs, AVX512) == outputs


ACROSS: list[tuple[Shape, tuple[int, ...], int]] = [
    ((4096, 1024), (0,), 32), ((40_000, 32), (0,), 64), ((5000, 300), (0,), 25), ((100, 200, 64), (0, 1), 100),
    ((3, 1500, 300), (0, 1), 30), ((4, 4096, 100), (1,), 32), ((1 << 16, 17), (0,), 64)]
"""Sums over many rows: shape, axes, and parts of the rows."""


@pytest.mark.parametrize("op, dtype", [(Op.SUM, float32), (Op.SUM, int32), (Op.MAX, float32)], ids=str)
@pytest.mark.parametrize("shape, axes, parts", ACROSS, ids=str)
def test_sums_across_memory_are_made_in_parts_of_the_rows(op: str, dtype: DType, shape: Shape, axes: tuple[int, ...],
                                                          parts: int) -> None:
    whole = Source("NUMPY", dtype, "plain", op).leaf(shape).reduce(op, axes)
    (split,) = split_reductions([whole], AVX2)
    verify([split])
    assert _levels(split) == 2 and split.shape == whole.shape
    first = [n for n in toposort([split]) if n.op in REDUCE and not any(s.op in REDUCE for s in toposort(list(n.srcs)))]
    assert first[0].size == parts * whole.size, "neighbouring results stay side by side"
    want, got = evaluate([whole, split], to_numpy)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-3)


def test_parts_of_rows_that_leave_a_rest() -> None:
    whole = Source("NUMPY", float32, "plain", 0).leaf((32_771, 40)).reduce(Op.SUM, (0,))  # a prime number of rows
    (split,) = split_reductions([whole], AVX2)
    assert _levels(split) == 2 and split.op == Op.ADD
    want, got = evaluate([whole, split], to_numpy)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-3)


def test_which_sums_across_memory_stay_whole() -> None:
    def leaf(*shape: int) -> LazyBuffer:
        return LazyBuffer(Op.BUFFER, (), None, shape, float32, "CPU")

    x = leaf(4096, 1024)
    total = x.reduce(Op.SUM, (0,))
    beside = [x.binary(Op.SUB, total.expand(x.shape))]
    assert split_reductions(beside, AVX512) == beside, "blocks of columns are read again from the cache"
    scaled = [total.expand((8, 1024)).binary(Op.MUL, leaf(8, 1024))]
    assert _levels(split_reductions(scaled, AVX512)[0]) == 2, "but few rows beside it do not need that"
    narrow = leaf(1 << 16, 64)
    few = narrow.binary(Op.SUB, narrow.reduce(Op.SUM, (0,)).expand(narrow.shape))
    assert _levels(split_reductions([few], AVX512)[0]) == 2, "and of few columns there are no blocks"
    a, b = [leaf(4096, *shape).expand((4096, 16, 32)) for shape in ((16, 1), (1, 32))]
    product = [a.binary(Op.MUL, b).reduce(Op.SUM, (0,))]
    assert split_reductions(product, AVX512) == product, "a product of matrices has an order of its own"
    turned = [leaf(1024, 4096).permute((1, 0)).reshape((1, 4096, 1024, 1)).unary(Op.NEG).reduce(Op.SUM, (1,))]
    assert split_reductions(turned, AVX512) == turned, "in memory its rows are columns"
    whole = [leaf(4096, 1024).reshape((4096, 1, 1024)).permute((1, 0, 2)).binary(Op.MUL, leaf(4096, 1).reshape(
        (1, 4096, 1)).expand((1, 4096, 1024))).reduce(Op.SUM, (1,))]
    assert _levels(split_reductions(whole, AVX512)[0]) == 2, "and here they are rows"
    strided = LazyBuffer.from_buffer(object(), (4096, 1024), float32, "CPU", 0, (1, 4096)).reduce(Op.SUM, (0,))
    assert split_reductions([strided], AVX512) == [strided]
    for shape, axes in (((1024, 1000), (0,)), ((100, 40_000), (0,)), ((1024, 4096), (1,)), ((4096, 1), (0,))):
        others = [leaf(*shape).reduce(Op.SUM, axes)]
        assert split_reductions(others, AVX512) == others


def test_split_depends_on_shapes_alone() -> None:
    """Targets differ in vectors and caches: association must not follow them."""
    x = LazyBuffer(Op.BUFFER, (), None, (3, 70_000), float32, "CPU").reduce(Op.SUM, (1,))
    assert len({show(split_reductions([x], t)) for t in (SCALAR, AVX2, AVX512)}) == 1


def test_reductions_of_split_reductions() -> None:
    x = Source("NUMPY", int32, "plain", 0).leaf((40_000,))
    total = x.reduce(Op.SUM, (0,)).expand((40_000,)).binary(Op.MUL, x).reduce(Op.SUM, (0,))
    (split,) = split_reductions([total], AVX2)
    assert _levels(split) == 4
    np.testing.assert_array_equal(*evaluate([total, split], to_numpy))
