"""Stage: tests of recording. In: LazyBuffers. Out: shapes and dtypes follow from the ops, views of realised memory stay
memory, and broken graphs are refused with the reason. Next: ``test_lines.py``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from minigrad.dtype import bool_, float32, float64, int32, int64
from minigrad.engine import leaf_from_numpy, to_numpy, wrap_numpy
from minigrad.errors import VerifyError
from minigrad.graph.function import Subgraph, call, inline, param
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.graph.show import show
from minigrad.graph.verify import verify
from minigrad.ops import Op


def _x(*shape: int, dtype=float32) -> LazyBuffer:
    return LazyBuffer(Op.BUFFER, (), None, shape, dtype, "CPU")


def _buffer(*shape: int) -> LazyBuffer:
    return leaf_from_numpy(np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape), float32, "CPU")


@pytest.mark.parametrize("made, shape", [
    (lambda: _x(3, 4).reduce(Op.SUM, (1,)), (3, 1)),
    (lambda: _x(3, 4).reduce(Op.MAX, (1, 0)), (1, 1)),
    (lambda: _x(3, 4).pad(((1, 2, 0), (0, 3, 2))), (6, 13)),
    (lambda: _x(0, 4).pad(((1, 2, 1), (0, 0, 0))), (3, 4)),
    (lambda: _x(5, 8).stride((2, 3)), (3, 3)),
    (lambda: _x(2, 9, 7).window(((1, 3, 2, 1), (2, 2, 1, 3))), (2, 4, 4, 3, 2)),
    (lambda: _x(4, 3, 5).gather([_x(2, 6, dtype=int64), _x(2, 6, dtype=int64)]), (2, 6, 5)),
    (lambda: _x(3, 1).expand((2, 3, 4)), (2, 3, 4)),
    (lambda: _x(2, 3, 4).permute((2, 0, 1)), (4, 2, 3)),
    (lambda: _x(6, 5).shrink(((1, 4), (5, 5))), (3, 0)),
])
def test_shapes(made: Callable[[], LazyBuffer], shape: tuple[int, ...]) -> None:
    node = made()
    assert node.shape == shape and node.size == int(np.prod(shape))
    verify([node])


def test_ops_that_change_nothing_make_no_node() -> None:
    x = _x(3, 4)
    assert x.reshape((3, 4)) is x and x.permute((0, 1)) is x and x.expand((3, 4)) is x and x.flip(()) is x
    assert x.pad(((0, 0, 0), (0, 0, 0))) is x and x.shrink(((0, 3), (0, 4))) is x and x.stride((1, 1)) is x
    assert x.cast(float32) is x and x.reduce(Op.SUM, ()) is x and x.copy_to("CPU") is x and x.contiguous() is x
    assert x.assign(x, ()) is x
    assert x.like(2.0).expand((5, 3, 4)).op == Op.CONST


def test_comparisons_are_bool_and_where_takes_the_branch_type() -> None:
    x = _x(3)
    condition = x.binary(Op.LT, x)
    assert condition.dtype is bool_ and condition.where(x, x).dtype is float32
    assert x.cast(int32).dtype is int32 and x.bitcast(int32).op == Op.BITCAST


def test_boxes_and_steps_of_realised_memory_are_memory() -> None:
    x = _buffer(6, 8)
    view = x.shrink(((1, 6), (2, 8))).stride((2, 3))
    assert view.op == Op.BUFFER and view.buffer is x.buffer and view.strides == (16, 3)
    np.testing.assert_array_equal(to_numpy(view), np.arange(48).reshape(6, 8)[1:6, 2:8][::2, ::3])
    whole_rows = x.shrink(((2, 4), (0, 8)))
    assert whole_rows.arg is None and whole_rows.contiguous() is whole_rows
    assert view.contiguous().op == Op.CONTIGUOUS


def test_zero_dimensions_survive_memory() -> None:
    x = leaf_from_numpy(np.float32(3), float32, "CPU")
    assert x.shape == () and to_numpy(x).shape == () and to_numpy(x) == 3


def test_wrapped_arrays_share_memory() -> None:
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    x = wrap_numpy(a.T, float32, "CPU")
    assert x.shape == (4, 3) and x.strides == (1, 4)
    a[0, 1] = 50
    assert to_numpy(x)[1, 0] == 50


def test_realised_nodes_reach_nothing() -> None:
    x = _buffer(4)
    y = x.unary(Op.NEG)
    assert repr(y) == "<LazyBuffer NEG (4,) float32 CPU>"
    y.realised(x.buffer)
    assert (y.op, y.srcs, y.arg) == (Op.BUFFER, (), None)
    assert repr(y) == "<LazyBuffer realised (4,) float32 CPU>"


def test_toposort_is_deep_and_complete() -> None:
    x = y = _x(2)
    for _ in range(10_000):
        y = y.binary(Op.ADD, x)
    order = toposort([y])
    position = {n: i for i, n in enumerate(order)}
    assert len(order) == 10_001
    assert all(position[s] < position[n] for n in order for s in n.srcs)


A, B, I = _x(3, 4), _x(4, 3), _x(5, dtype=int64)
BROKEN: list[tuple[str, LazyBuffer]] = [
    ("ADD takes 2 sources, has 1", LazyBuffer(Op.ADD, (A,), None, (3, 4), float32, "CPU")),
    ("operands have one shape", LazyBuffer(Op.ADD, (A, B), None, (3, 4), float32, "CPU")),
    ("operands have one dtype", LazyBuffer(Op.ADD, (A, _x(3, 4, dtype=float64)), None, (3, 4), float32, "CPU")),
    ("AND is not for float32", LazyBuffer(Op.AND, (A, A), None, (3, 4), float32, "CPU")),
    ("the result is bool", LazyBuffer(Op.LT, (A, A), None, (3, 4), float32, "CPU")),
    ("the condition is bool", LazyBuffer(Op.WHERE, (A, A, A), None, (3, 4), float32, "CPU")),
    ("the argument is the result's dtype", LazyBuffer(Op.CAST, (A,), float64, (3, 4), int32, "CPU")),
    ("the argument is the result's dtype", LazyBuffer(Op.BITCAST, (A,), float64, (3, 4), float64, "CPU")),
    ("axes are sorted and in range", LazyBuffer(Op.SUM, (A,), (1, 0), (1, 1), float32, "CPU")),
    ("axes are sorted and in range", LazyBuffer(Op.SUM, (A,), (2,), (3, 4), float32, "CPU")),
    ("reduced axes keep size 1", LazyBuffer(Op.SUM, (A,), (1,), (3,), float32, "CPU")),
    ("a size is negative", LazyBuffer(Op.RESHAPE, (A,), (-1,), (-1,), float32, "CPU")),
    ("the number of elements changes", LazyBuffer(Op.RESHAPE, (A,), (5,), (5,), float32, "CPU")),
    ("only axes of size 1 are repeated", LazyBuffer(Op.EXPAND, (A,), (6, 4), (6, 4), float32, "CPU")),
    ("the box lies inside", LazyBuffer(Op.SHRINK, (A,), ((0, 4), (0, 4)), (4, 4), float32, "CPU")),
    ("padding is not negative", LazyBuffer(Op.PAD, (A,), ((-1, 0, 0), (0, 0, 0)), (2, 4), float32, "CPU")),
    ("a permutation of the axes", LazyBuffer(Op.PERMUTE, (A,), (0, 0), (3, 3), float32, "CPU")),
    ("movement keeps the dtype", LazyBuffer(Op.FLIP, (A,), (0,), (3, 4), float64, "CPU")),
    ("the shape does not follow from the argument", LazyBuffer(Op.STRIDE, (A,), (2, 1), (3, 4), float32, "CPU")),
    ("indexes are int64 of one shape", LazyBuffer(Op.GATHER, (A, _x(5, dtype=int32)), 1, (5, 4), float32, "CPU")),
    ("the values have the indexes' shape", LazyBuffer(Op.GATHER, (A, I), 1, (5, 3), float32, "CPU")),
    ("the key is one uint64", LazyBuffer(Op.RANDOM_BITS, (A,), None, (3,), float32, "CPU")),
    ("a SCALAR has shape", LazyBuffer(Op.SCALAR, (), None, (3,), float32, "CPU")),
]


@pytest.mark.parametrize("problem, node", BROKEN, ids=[p[:30] for p, _ in BROKEN])
def test_verify_says_what_is_wrong(problem: str, node: LazyBuffer) -> None:
    with pytest.raises(VerifyError, match=problem):
        verify([node.unary(Op.NEG)])


def _body() -> Subgraph:
    x, y = (param(i, (4,), float32, "CPU") for i in range(2))
    return Subgraph("pair", [x, y], [x.binary(Op.MUL, y), y.reduce(Op.MAX, (0,))])


def test_a_call_is_one_node_and_inlines() -> None:
    body = _body()
    a, b = _x(4), _x(4)
    first, second = call(body, [a, b])
    assert (first.op, second.op, second.arg, second.shape) == (Op.OUTPUT, Op.OUTPUT, 1, (1,))
    assert first.srcs[0] is second.srcs[0] and first.srcs[0].op == Op.FUNCTION
    product, top = inline(body, [a, b])
    assert product.srcs == (a, b) and top.srcs == (b,)
    assert call(Subgraph("one", body.params, body.outputs[:1]), [a, b])[0].op == Op.FUNCTION
    assert repr(body) == "<Subgraph pair: 2 in, 2 out, 4 nodes>"


def test_show_numbers_nodes_and_marks_outputs() -> None:
    x = _x(3, 4)
    text = show([x.unary(Op.EXP).reduce(Op.SUM, (1,))])
    assert text.splitlines() == ["%0 = BUFFER()            float32 (3, 4)", "%1 = EXP(%0)             float32 (3, 4)",
                                 "%2 = SUM[(1,)](%1)       float32 (3, 1)  <- output"]
