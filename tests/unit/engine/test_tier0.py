"""Stage: tests of realise. In: graphs run by generic kernels. Out: their values, whatever shares memory with whatever;
how much memory they take; the same bits each time. Next: ``test_tier0_programs.py``."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

import minigrad
from minigrad.conformance.sources import indexes, leaf
from minigrad.dtype import DType, bool_, float16, float32, float64, int32, int64, uint8
from minigrad.engine import inspect, plans, realise, to_numpy
from minigrad.engine.tier0 import build
from minigrad.engine.tier0.contraction import contraction
from minigrad.engine.tier0.views import merged, moved
from minigrad.engine.walk import walk
from minigrad.graph.function import Subgraph, call, param
from minigrad.graph.lazy import LazyBuffer, contiguous_strides
from minigrad.graph.reference import evaluate, move
from minigrad.ops import Op


@pytest.fixture(autouse=True)
def _at_once() -> Iterator[None]:
    plans.clear()
    with minigrad.config(TIERS=2):
        yield
    plans.clear()


def _leaf(*shape: int, dtype: DType = float32) -> LazyBuffer:
    return leaf(np.arange(int(np.prod(shape))).reshape(shape).astype(dtype.numpy), dtype, "CPU")


def _agree(*outputs: LazyBuffer) -> None:
    """Realised by tier 0, they are what the reference says."""
    want = [np.array(v) for v in evaluate(outputs, to_numpy)]
    with inspect() as seen:
        realise(outputs)
    assert seen.tier0 == 1
    for output, value in zip(outputs, want, strict=True):
        np.testing.assert_array_equal(to_numpy(output), value)


def test_a_chain_of_twenty_thousand_takes_little_memory() -> None:
    for n in (8, 1000):
        x = y = _leaf(n)
        for _ in range(10_000):
            y = y.binary(Op.MUL, y.like(0.5)).binary(Op.ADD, x)
        pending = walk([y])
        gc.collect()
        tracemalloc.start()
        program = build(pending)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(program) == 20_000 and program.arena_bytes < 2 << 20 and peak < 20 << 20
        realise([y])
        np.testing.assert_allclose(to_numpy(y), np.arange(n) * 2.0)


def test_memory_that_is_used_again_is_not_in_use() -> None:
    """Values that live long beside many that do not, in more memory than is left alone."""
    rng = np.random.default_rng(0)
    values = [_leaf(4000)]
    for i in range(1200):
        a, b = (values[j] for j in rng.integers(max(0, i - 40 if i % 3 else 0), i + 1, 2))
        values.append(a.binary(Op.MINIMUM, b).binary(Op.ADD, a.like(float(i))))
    outputs = [values[-1], values[700], values[300]]
    assert build(walk(outputs)).arena_bytes < 1200 * 16_000
    _agree(*outputs)


def test_writes_into_memory_leave_what_others_read() -> None:
    x, v = _leaf(6), _leaf(2)
    box = (("SHRINK", ((1, 3),)),)
    once = x.assign(v, box)
    twice = once.assign(v.unary(Op.NEG), (("SHRINK", ((2, 4),)),))
    shifted = twice.assign(twice.shrink(((0, 2),)), box)  # overlaps what it reads
    early, late = once.binary(Op.ADD, x), once.flip((0,))
    _agree(shifted, early.binary(Op.MUL, twice), late.binary(Op.ADD, shifted))
    assert to_numpy(x).tolist() == list(range(6)), "leaves are not overwritten"


def test_a_view_taken_before_a_write_keeps_its_value() -> None:
    base = _leaf(4, 4).unary(Op.NEG)
    view = base.permute((1, 0))
    written = base.assign(_leaf(4), (("SHRINK", ((1, 2), (0, 4))), ("RESHAPE", (4,))))
    _agree(written.binary(Op.ADD, view))
    base = _leaf(4).unary(Op.NEG)
    _agree(base.assign(base, (("FLIP", (0,)),)))
    base = _leaf(4).unary(Op.NEG)
    _agree(base.scatter(base, [indexes(np.array([3, 2, 1, 0]), "CPU")], "set"))


def test_writes_in_a_row_are_in_place() -> None:
    y = _leaf(500).unary(Op.NEG)
    for i in range(500):
        y = y.assign(y.like(float(i)).shrink(((0, 1),)), (("SHRINK", ((i, i + 1),)),))
    program = build(walk([y]))
    assert program.arena_bytes == 0 and len(program) == 501
    _agree(y)


def test_results_have_memory_of_their_own() -> None:
    with minigrad.config(TIERS=2):
        x = minigrad.tensor([[1.0, 2.0]])
        flat = x.reshape(-1)
        flat[...] = 1
        twin = flat.clone()
        twin.realize()
        array = x.numpy()
        twin[0] = 5
    assert array.tolist() == [[1, 1]] and twin.tolist() == [5, 1]


def test_results_that_are_views_of_each_other_or_of_leaves() -> None:
    x = _leaf(3, 4)
    y = x.unary(Op.NEG)
    outputs = [y, y.reshape((12,)), y.permute((1, 0)), x.reshape((12,)),
               LazyBuffer(Op.CONTIGUOUS, (x,), None, x.shape, float32, "CPU"), x.expand((2, 3, 4)), y.like(2.0),
               y.bitcast(int32), y.shrink(((1, 3), (0, 4)))]
    _agree(*outputs)
    before = to_numpy(x).copy()
    to_numpy(outputs[3])[:] = 7
    to_numpy(outputs[4])[:] = 7
    np.testing.assert_array_equal(to_numpy(x), before)


def test_mixed_dtypes() -> None:
    x = _leaf(40)
    mask = x.binary(Op.LT, x.like(20.0))
    half = x.cast(float16).binary(Op.MUL, LazyBuffer.const(0.1, float16, (40,), "CPU"))
    count = mask.cast(int64).scan(Op.SUM, 0).cast(uint8)
    chosen = mask.where(half.cast(float64), x.cast(float64).unary(Op.SQRT))
    flags = mask.binary(Op.XOR, LazyBuffer.const(True, bool_, (40,), "CPU")).reduce(Op.MAX, (0,))
    wrapped = LazyBuffer.const(200, uint8, (40,), "CPU")
    _agree(mask, half, count.binary(Op.ADD, wrapped), chosen, flags, half.reduce(Op.MAX, (0,)))


def test_a_matrix_product_makes_no_memory_for_the_products() -> None:
    a, b = _leaf(300, 200), _leaf(200, 150)
    wide = (300, 200, 150)
    product = a.reshape((300, 200, 1)).expand(wide).binary(Op.MUL, b.reshape((1, 200, 150)).expand(wide))
    total = product.reduce(Op.SUM, (1,))
    assert build(walk([total])).arena_bytes <= 300 * 150 * 4
    realise([total])
    np.testing.assert_allclose(to_numpy(total)[:, 0], to_numpy(a).astype(float) @ to_numpy(b), rtol=1e-5)


def test_contractions_find_the_roles_of_axes() -> None:
    found = contraction((5, 4, 8, 3), (3,), (12, 3, 0, 1), (24, 0, 1, 8))
    assert found is not None and (found.batches, found.rows, found.columns, found.depth) == (5, 4, 8, 3)
    assert found.a == ((12, 3, 1), None) and found.b == ((24, 8, 1), None)
    column = contraction((4, 1, 3), (2,), (3, 0, 1), (0, 0, 1))
    assert column is not None and column.swapped and column.columns == 4 and column.b.copy == ((3, 4), (1, 3), (4, 1))
    assert contraction((5, 3), (1,), (3, 1), (3, 1)) is None, "nothing is repeated"


def test_operands_that_do_not_fit_the_cache_are_copied() -> None:
    """Long sums whose terms lie apart, and rows that take each other's place."""
    def of(rows: int, columns: int, depth: int, swap: bool) -> tuple[object, object]:
        x = (1, 0, rows) if swap else (depth, 0, 1)
        found = contraction((rows, columns, depth), (2,), x, (0, 1, columns))
        assert found is not None
        return found.a.copy, found.b.copy

    assert of(100, 100, 200, True) == of(100, 100, 1000, False) == of(100, 1024, 300, False) == (None, None)
    assert of(100, 100, 256, True) == (((100, 256), (1, 100), (256, 1)), None)
    assert of(100, 1024, 600, False) == (None, ((600, 1024), (1024, 1), (1040, 1)))
    assert of(10, 1024, 600, False) == (None, None), "few rows read it again"


def test_views_move_as_arrays_do() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        shape = tuple(int(n) for n in rng.integers(1, 5, rng.integers(1, 4)))
        array = np.arange(int(np.prod(shape))).reshape(shape)
        node = LazyBuffer(Op.PARAM, (), 0, shape, int64, "CPU")
        offset, strides = 0, contiguous_strides(shape)
        for _ in range(4):
            op, arg = _movement(rng, node.shape)
            found = moved(op, arg, node.shape, strides)
            moved_node = node.move(op, arg)
            if found is None:
                continue
            offset, strides = offset + found[0], found[1]
            array, node = move(op, arg, array), moved_node
            sizes, (steps,) = merged(node.shape, [strides])
            at = offset + sum([np.arange(n).reshape([-1 if i == a else 1 for i in range(len(sizes))]) * steps[a]
                               for a, n in enumerate(sizes)], np.zeros([1] * len(sizes), int))
            np.testing.assert_array_equal(np.broadcast_to(at, sizes).reshape(-1), array.reshape(-1))


def _movement(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[str, object]:
    axes = list(range(len(shape)))
    kind = rng.integers(7)
    if kind == 6:
        axis, size, stride = int(rng.integers(len(shape))), int(rng.integers(1, 3)), int(rng.integers(1, 4))
        dilation = int(rng.integers(1, 3))
        if dilation * (size - 1) < shape[axis]:
            return Op.WINDOW, ((axis, size, stride, dilation),)
        kind = 0
    if kind == 0:
        return Op.PERMUTE, tuple(int(a) for a in rng.permutation(axes))
    if kind == 1:
        return Op.FLIP, tuple(a for a in axes if rng.integers(2)) or (0,)
    if kind == 2:
        begin = [int(rng.integers(n)) for n in shape]
        return Op.SHRINK, tuple((b, int(rng.integers(b, n)) + 1) for b, n in zip(begin, shape, strict=True))
    if kind == 3:
        return Op.STRIDE, tuple(int(rng.integers(1, 3)) for _ in shape)
    if kind == 4:
        return Op.RESHAPE, (int(np.prod(shape)),)
    return Op.EXPAND, (2, *[int(rng.integers(1, 4)) if n == 1 else n for n in shape])


def test_an_index_out_of_range_changes_nothing() -> None:
    x = _leaf(4)
    at = indexes(np.array([1, 9]), "CPU")
    y = x.gather([at])
    with pytest.raises(IndexError, match=r"dimension 0 is not in 0 … 3, the tensor has shape \[4\]"):
        realise([y, x.unary(Op.NEG)])
    assert y.buffer is None
    good = x.gather([indexes(np.array([1, 3]), "CPU")])
    realise([good])
    assert to_numpy(good).tolist() == [1, 3]


def test_what_tier_0_cannot_do_is_compiled() -> None:
    x = _leaf(2, 3).unary(Op.NEG)
    y = x.assign(_leaf(3), (("PERMUTE", (1, 0)), ("RESHAPE", (6,)), ("SHRINK", ((0, 3),))))
    want = np.array(evaluate([y], to_numpy)[0])
    with inspect() as seen:
        realise([y])
    assert seen.tier0 == 0
    np.testing.assert_array_equal(to_numpy(y), want)


def _program(n: int) -> list[LazyBuffer]:
    x = leaf(np.random.default_rng(n).standard_normal((n, 70)).astype(np.float32), float32, "CPU")
    y = x.unary(Op.EXP).reduce(Op.SUM, (1,)).expand((n, 70)).binary(Op.DIV, x)
    wide = (n, 70, 50)
    other = x.reshape((n * 70,)).shrink(((0, 3500),)).reshape((1, 70, 50)).expand(wide)
    return [y.reduce(Op.SUM, (0,)), x.reshape((n, 70, 1)).expand(wide).binary(Op.MUL, other).reduce(Op.SUM, (1,))]


def test_the_same_bits_each_time_and_for_any_number_of_threads() -> None:
    found = []
    for threads in (1, 2, 3, 1):
        with minigrad.config(THREADS=threads):
            outputs = _program(700)
            realise(outputs)
            found.append([to_numpy(o).tobytes() for o in outputs])
        plans.clear()
    assert all(f == found[0] for f in found[1:])


def _body(build, *shapes: tuple[int, ...]) -> Subgraph:
    inputs = [param(i, s, float32, "CPU") for i, s in enumerate(shapes)]
    return Subgraph("body", inputs, build(*inputs))


def test_composites_with_inputs_of_every_form() -> None:
    """One body, called with plain memory, views, constants and products; it calls another, twice."""
    inner = _body(lambda a, b: [a.binary(Op.MUL, b).binary(Op.ADD, a.like(0.5)), b.flip((0,))], (3, 4), (3, 4))

    def outer(a: LazyBuffer, b: LazyBuffer) -> list[LazyBuffer]:
        c, d = call(inner, [a, b])
        e, f = call(inner, [d, c.permute((1, 0)).reshape((3, 4))])
        return [e.reduce(Op.SUM, (0,)), f, a, c.reshape((12,)), c]

    body = _body(outer, (3, 4), (3, 4))
    x, y = _leaf(3, 4), _leaf(4, 3).permute((1, 0))
    one = LazyBuffer.const(2.0, float32, (3, 4), "CPU")
    row = _leaf(1, 4).expand((3, 4)).binary(Op.MUL, _leaf(3, 1).expand((3, 4)))
    inputs = [x, y, one, row, x.unary(Op.NEG)]
    _agree(*[o for a in inputs for b in inputs for o in call(body, [a, b])])


def test_composites_that_copy_the_same_view_of_their_input() -> None:
    bodies = [_body(lambda a, i=i: [a.permute((1, 0)).unary(Op.NEG).binary(Op.ADD, a.permute((1, 0)).like(i))], (3, 4))
              for i in (1.0, 2.0)]
    _agree(*[o for body in bodies for x in (_leaf(3, 4), _leaf(3, 4).unary(Op.ABS)) for o in call(body, [x])])


def test_outputs_of_a_composite_that_share_memory_are_not_written() -> None:
    body = _body(lambda a: [a.unary(Op.NEG), a.unary(Op.NEG), a], (4,))
    shared = _body(lambda a: (lambda n: [a, n, n.reshape((2, 2))])(a.unary(Op.NEG)), (4,))
    for made in (call(body, [_leaf(4)]), call(shared, [_leaf(4)])[1:], call(shared, [_leaf(4).unary(Op.ABS)])):
        first = made[0].assign(_leaf(1), (("SHRINK", ((2, 3),)),))
        _agree(first.reduce(Op.SUM, (0,)).binary(Op.ADD, made[1].reshape((4,)).reduce(Op.SUM, (0,))))


def test_gathers_inside_composites_are_checked_each() -> None:
    x, at = param(0, (4,), float32, "CPU"), param(1, (2,), int64, "CPU")
    body = Subgraph("take", [x, at], [x.gather([at])])
    good, bad = indexes(np.array([0, 3]), "CPU"), indexes(np.array([0, 4]), "CPU")
    _agree(*call(body, [_leaf(4), good]), *call(body, [_leaf(4), indexes(np.array([2, 1]), "CPU")]))
    with pytest.raises(IndexError):
        realise([*call(body, [_leaf(4), good]), *call(body, [_leaf(4), bad])])


def test_scatters_inside_composites_leave_what_others_read() -> None:
    x, value, at = param(0, (4,), float32, "CPU"), param(1, (2,), float32, "CPU"), param(2, (2,), int64, "CPU")
    negative = x.unary(Op.NEG)
    written = negative.scatter(value, [at], "set")
    body = Subgraph("put", [x, value, at], [written, written.binary(Op.SUB, negative)])
    inside = indexes(np.array([0, 3]), "CPU")
    _agree(*call(body, [_leaf(4), _leaf(2), inside]))
    base = _leaf(4).unary(Op.ABS)
    _agree(*call(body, [base, _leaf(2), inside]), base.scatter(_leaf(2), [inside], "add"))


def test_run_time_numbers() -> None:
    for value in (1.5, -2.0):
        x = _leaf(5)
        s = LazyBuffer.scalar(value, float32, "CPU")
        _agree(x.binary(Op.MUL, s.reshape((1,)).expand((5,))))


def test_a_program_keeps_no_memory_alive() -> None:
    x = _leaf(1000)
    gone = weakref.ref(x)
    y = x.unary(Op.NEG)
    realise([y])
    del x
    gc.collect()
    assert gone() is None and y.buffer is not None and plans.programs


def test_empty_and_zero_dimensional() -> None:
    empty, one = _leaf(0, 3), _leaf()
    _agree(empty.unary(Op.NEG), empty.reduce(Op.SUM, (0,)), one.unary(Op.NEG).binary(Op.ADD, one),
           empty.pad(((1, 1, 0), (0, 0, 0))), one.reshape((1, 1)).expand((2, 3)))
