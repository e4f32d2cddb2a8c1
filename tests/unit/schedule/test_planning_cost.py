"""Stage: tests of schedule. In: graphs of one form, short and ten times as long. Out: planning the long one takes about
ten times as many calls: nothing looks at the whole graph for each of its nodes. Next: ``test_plan.py``."""

from __future__ import annotations

from collections.abc import Callable
from cProfile import Profile

import pytest

from minigrad.conformance.contractions import matmul
from minigrad.dtype import float32, int64
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.ops import Op
from minigrad.schedule.linked import LinkedOrder
from minigrad.schedule.plan import schedule
from minigrad.target import AVX512
from tests.unit.schedule.planning import buffer


def _side(size: int = 256) -> LazyBuffer:
    return buffer((size, size), float32)


def _layers(count: int) -> list[LazyBuffer]:
    """x = relu(x @ w), w another each time."""
    x = _side()
    for _ in range(count):
        x = matmul(x, _side()).binary(Op.MAXIMUM, x.like(0.0))
    return [x]


def _steps(count: int) -> list[LazyBuffer]:
    """h = tanh(h @ w + x[i] @ u), always the same w and u: all steps read them."""
    h, w, u, x = _side(64), _side(64), _side(64), buffer((count, 64, 64), float32)
    for i in range(count):
        now = x.shrink(((i, i + 1), (0, 64), (0, 64))).reshape((64, 64)) if count > 1 else h
        h = matmul(now, u).binary(Op.ADD, matmul(h, w)).unary(Op.TANH)
    return [h]


def _residuals(count: int) -> list[LazyBuffer]:
    """x = x + normalised(x) @ w: every value has two readers."""
    x = _side()
    for _ in range(count):
        scaled = x.binary(Op.DIV, x.unary(Op.ABS).reduce(Op.MAX, (1,)).expand(x.shape))
        x = x.binary(Op.ADD, matmul(scaled, _side()))
    return [x]


def _tower(count: int) -> list[LazyBuffer]:
    """Reductions along the axes in turn, each next to a value that all read."""
    x, shared = _side(), _side()
    for i in range(count):
        x = x.binary(Op.SUB, x.binary(Op.MUL, shared).reduce(Op.SUM, (i % 2,)).expand(x.shape)).unary(Op.EXP)
    return [x]


def _sums(count: int) -> list[LazyBuffer]:
    """One number: the sum of so many sums."""
    total = _side().reduce(Op.SUM, (0, 1))
    for _ in range(count):
        total = total.binary(Op.ADD, _side().reduce(Op.SUM, (0, 1)))
    return [total]


def _penalties(count: int) -> list[LazyBuffer]:
    """Beside a result, one number of each value on the way to it."""
    x, numbers = _side(), []
    for _ in range(count):
        x = matmul(x, _side()).unary(Op.TANH)
        numbers.append(x.reduce(Op.MAX, (0, 1)))
    return [x, *numbers]


def _wide(count: int) -> list[LazyBuffer]:
    """Independent values that read one input."""
    x = _side()
    return [x.binary(Op.ADD, _side()).reduce(Op.SUM, (1,)) for _ in range(count)]


def _writes(count: int) -> list[LazyBuffer]:
    """y[i] = 1."""
    y = _side()
    row = LazyBuffer.const(1.0, float32, (1, 256), "CPU")
    for i in range(count):
        y = y.assign(row, ((Op.SHRINK, ((i % 256, i % 256 + 1), (0, 256))),))
    return [y]


def _look_ups(count: int) -> list[LazyBuffer]:
    """Each writes at the places that the one before it found."""
    x, rows = _side(), buffer((256,), int64)
    for _ in range(count):
        x = x.scatter(x.gather([rows]), [rows], "add")
    return [x]


def _calls(outputs: list[LazyBuffer]) -> int:
    """Function calls that planning takes."""
    leaves = [n for n in toposort(outputs) if n.op == Op.BUFFER]
    with Profile() as profile:
        schedule(outputs, leaves, set(), AVX512)
    return sum(entry.callcount for entry in profile.getstats())


@pytest.mark.sample(4)
@pytest.mark.parametrize("graph", [_layers, _steps, _residuals, _tower, _sums, _penalties, _wide, _writes, _look_ups])
def test_ten_times_the_kernels_take_ten_times_the_calls(graph: Callable[[int], list[LazyBuffer]]) -> None:
    short, long = _calls(graph(40)), _calls(graph(400))
    assert long < 15 * short  # at most 13.6 was seen: _tower of 40 has more ends than middle


def test_a_linked_order_keeps_its_order() -> None:
    """Also where so many items are put into one place that the labels run out."""
    order: LinkedOrder[int] = LinkedOrder([0, 1])
    expected = [0, 1]
    for i in range(2, 100):
        order.put_after(0, [i])
        expected.insert(1, i)
    order.put_after(None, [100, 101])
    order.remove(50)
    expected = [100, 101, *(i for i in expected if i != 50)]
    assert list(order) == expected and sorted(order, key=order.label.__getitem__) == expected
    assert 50 not in order and 51 in order
