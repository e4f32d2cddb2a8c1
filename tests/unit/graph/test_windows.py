"""The adjoint of windows: which element meets which window, and index expressions that stay simple."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from minigrad.dtype import float32
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.movement import source_index
from minigrad.graph.windows import Overlap, overlapped
from minigrad.ops import Op
from minigrad.symbolic import Sym, inside, num, var


def _read(root: LazyBuffer, index: tuple[Sym, ...]) -> tuple[tuple[Sym, ...], list[Sym]]:
    """Where the leaf is read for an element of ``root``, and the guards on the way."""
    guards = []
    while root.srcs:
        index, guard = source_index(root.op, root.arg, root.srcs[0].shape, index)
        guards += [] if guard is None else [guard]
        root = root.srcs[0]
    return index, guards


@pytest.mark.parametrize("stride, dilation, start", [(1, 1, 0), (1, 2, 1), (2, 1, 0), (2, 1, 1), (3, 1, 2), (2, 2, 1)])
def test_each_element_meets_the_windows_that_reach_it(stride: int, dilation: int, start: int) -> None:
    positions, places = 4, 3
    length = (positions - 1) * stride + dilation * (places - 1) + 1 - start
    leaf = LazyBuffer(Op.PARAM, (), 0, (positions, places), float32, "CPU")
    made, summed = overlapped(leaf, [Overlap(0, 1, stride, dilation, start, length)])
    assert summed == (1,) and length <= made.shape[0] < length + stride
    met = np.zeros((length, positions, places), int)
    for element, place in itertools.product(range(length), range(made.shape[1])):
        index, guards = _read(made, (num(element), num(place)))
        if all(g.lo == 1 for g in guards):
            met[element, index[0].lo, index[1].lo] += 1
    for element, o, k in itertools.product(range(length), range(positions), range(places)):
        assert met[element, o, k] == (o * stride + k * dilation - start == element)


def test_indexes_are_sums() -> None:
    """Only a stride divides: by it, and only the element's own coordinate. What kernels read in lanes follows from
    this."""
    leaf = LazyBuffer(Op.PARAM, (), 0, (5, 40, 3), float32, "CPU")
    made, _ = overlapped(leaf, [Overlap(1, 2, 1, 2, 2, 40)])
    index, guards = _read(made, (var("a", 0, 4), var("i", 0, 39), var("k", 0, 2)))
    assert [str(i) for i in index] == ["a", "i - 2*k + 2", "k"]
    assert not any(e.kind in ("floordiv", "mod") for e in inside([*index, *guards]))
    made, _ = overlapped(leaf, [Overlap(1, 2, 2, 1, 1, 80)])
    index, _ = _read(made, (var("a", 0, 4), var("i", 0, 79), var("k", 0, 1)))
    assert [str(i) for i in index] == ["a", "i/2 - k + 1", "2*k + i % 2 - 1"]


def test_a_reshape_leaves_axes_alone_that_both_shapes_have() -> None:
    """Under a guard a coordinate may be out of range: it must not spill over into the next axis."""
    a, i = var("a", 0, 4), var("i", 0, 39) - 3
    assert source_index(Op.RESHAPE, (5, 1, 40, 1, 3), (5, 40, 3), (a, num(0), i, num(0), num(2)))[0] == (a, i, num(2))
    index, _ = source_index(Op.RESHAPE, (5, 8, 5, 3), (5, 40, 3), (a, var("p", 0, 7), var("q", 0, 4), num(1)))
    assert [str(e) for e in index] == ["a", "5*p + q", "1"]
