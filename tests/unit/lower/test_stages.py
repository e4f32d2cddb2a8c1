"""Stage: tests of lower. In: kernels of several stages, stacked kernels, scans, scatters and assignments. Out: that
they give NumPy's results, whatever the order of their parallel iterations. Next: ``test_passes.py``."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from minigrad.dtype import float32, int8, int32, int64
from minigrad.errors import ScheduleError
from minigrad.graph.lazy import LazyBuffer
from minigrad.kernel.interpret import interpret
from minigrad.kernel.show import show
from minigrad.lower import lower
from minigrad.ops import Op
from minigrad.target import AVX512
from tests.unit.lower.specs import (
    TARGETS,
    KernelSpec,
    Memory,
    StackedSpec,
    Stage,
    buffer,
    check,
    memory_of,
    spec_of,
)


def softmax(shape, axis):
    """A softmax of four stages, all but the input and the result in scratch memory."""
    rows = 1 - axis
    x = buffer(shape)
    top = x.reduce(Op.MAX, (axis,))
    e = x.binary(Op.SUB, top.expand(shape)).unary(Op.EXP)
    total = e.reduce(Op.SUM, (axis,))
    y = e.binary(Op.DIV, total.expand(shape))
    memory = {x: Memory("x", float32, shape), y: Memory("y", float32, shape, written=True)}
    memory |= {n: Memory(name, float32, n.shape, "scratch", None, (axis,)) for n, name in
               ((top, "top"), (e, "e"), (total, "total"))}
    return KernelSpec("softmax", (shape[rows],), tuple(Stage((n,), (rows,)) for n in (top, e, total, y)), memory), x


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", [(7, 53), (3, 130), (1, 8), (40, 3)])
def test_softmax(shape, axis, rng):
    spec, x = softmax(shape, axis)
    v = rng.standard_normal(shape).astype("f")
    e = np.exp(v - v.max(axis, keepdims=True))
    check(spec, {x: v}, [e / e.sum(axis, keepdims=True)], 1e-5)


def test_columns_are_taken_together():
    spec, _ = softmax((9, 64), 0)
    notes = lower(spec, AVX512).strategies
    assert "64 points of outer axis 0 at once" in notes[0]
    assert "lanes(x0, 16), unroll(x0, 4)" in notes[0]


@pytest.mark.parametrize("size", [(2, 9, 8), (1, 20, 16)])
def test_attention_rows_fill_the_tiles_of_a_contraction(size, rng):
    b, t, d = size
    q, k, v = (buffer(size) for _ in range(3))
    scores = q.reshape((b, t, 1, d)).expand((b, t, t, d)).binary(
        Op.MUL, k.reshape((b, 1, t, d)).expand((b, t, t, d))).reduce(Op.SUM, (3,)).reshape((b, t, t))
    e = scores.unary(Op.EXP)
    total = e.reduce(Op.SUM, (2,))
    p = e.binary(Op.DIV, total.expand((b, t, t)))
    out = p.reshape((b, t, t, 1)).expand((b, t, t, d)).binary(
        Op.MUL, v.reshape((b, 1, t, d)).expand((b, t, t, d))).reduce(Op.SUM, (2,)).reshape((b, t, d))
    memory = {n: Memory(name, float32, size) for n, name in ((q, "q"), (k, "k"), (v, "v"), (out, "out"))}
    memory |= {e: Memory("e", float32, e.shape, "scratch", None, (2,)),
               total: Memory("total", float32, total.shape, "scratch", None, (2,))}
    spec = KernelSpec("attention", (b, t), tuple(Stage((n,), (0, 1)) for n in (e, total, out)), memory)
    x, y, z = (rng.standard_normal(size).astype("f") for _ in range(3))
    s = np.exp(x @ y.transpose(0, 2, 1))
    check(spec, {q: x, k: y, v: z}, [s / s.sum(2, keepdims=True) @ z], 1e-4, native=t > 10)
    notes = lower(spec, AVX512).strategies
    assert notes[0].startswith("contraction") and notes[-1].startswith("contraction")


def test_a_stage_without_outer_space_runs_once(rng):
    a = buffer((6, 5))
    x = rng.standard_normal((6, 5)).astype("f")
    total = a.reduce(Op.SUM, (0,))
    node = total.reduce(Op.MAX, (1,))
    memory = {a: Memory("a", float32, (6, 5)), total: Memory("t", float32, (1, 5), "scratch", None, (0, 1)),
              node: Memory("out", float32, (1, 1))}
    spec = KernelSpec("k", (), (Stage((total,), ()), Stage((node,), ())), memory)
    check(spec, {a: x}, [x.sum(0, keepdims=True).max(1, keepdims=True)])
    assert lower(spec, AVX512).iterations == 1


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("op", [Op.SUM, Op.MAX])
def test_scan(axis, op, rng):
    a = buffer((4, 5, 21))
    x = rng.standard_normal((4, 5, 21)).astype("f")
    node = a.scan(op, axis)
    want = np.cumsum(x, axis) if op == Op.SUM else np.maximum.accumulate(x, axis)
    memory = {a: Memory("a", float32, a.shape), node: Memory("out", float32, a.shape)}
    check(KernelSpec("k", (), (Stage((node,), ()),), memory), {a: x}, [want])


@pytest.mark.parametrize(("shape", "dtype"), [((45, 5), float32), ((70, 33), float32), ((21, 8), float32), (
    (40, 3), int64), ((37, 40), int32), ((19, 1), float32), ((3, 23, 17), float32)])
def test_scans_along_rows_are_turned(shape, dtype, rng):
    """The lanes run across the rows, and LLVM gets what they read and store in whole vectors."""
    a = buffer(shape, dtype)
    x = (rng.standard_normal(shape) * 9).astype(dtype.numpy)
    for op, want in ((Op.SUM, np.cumsum(x, -1, dtype=x.dtype)), (Op.MAX, np.maximum.accumulate(x, -1))):
        node = a.unary(Op.NEG).unary(Op.NEG).scan(op, len(shape) - 1)
        memory = {a: Memory("a", dtype, shape), node: Memory("out", dtype, shape)}
        check(KernelSpec("k", (), (Stage((node,), ()),), memory), {a: x}, [want], native=True)


@pytest.mark.parametrize(("shape", "dtype", "op", "blocks"), [
    ((9000,), float32, Op.SUM, True), ((3968,), float32, Op.SUM, True), ((257,), int64, Op.MAX, True),
    ((3, 700), float32, Op.SUM, True), ((2, 2001), int32, Op.PROD, True), ((1, 4100), int64, Op.SUM, True),
    ((255,), float32, Op.SUM, False), ((40, 300), float32, Op.SUM, False), ((8, 300), int8, Op.SUM, False)])
def test_parts_of_a_long_row_are_scanned_side_by_side(shape, dtype, op, blocks, rng):
    """In blocks, shorter at the end, and what is left of it."""
    a, axis = buffer(shape, dtype), len(shape) - 1
    x = (rng.standard_normal(shape) * 9).astype(dtype.numpy)
    node = a.unary(Op.NEG).scan(op, axis)
    want = {Op.SUM: np.add, Op.PROD: np.multiply, Op.MAX: np.maximum}[op].accumulate(
        (-x).astype(np.float64 if dtype is float32 else x.dtype), axis)
    memory = {a: Memory("a", dtype, shape), node: Memory("out", dtype, shape)}
    spec = KernelSpec("k", (), (Stage((node,), ()),), memory)
    check(spec, {a: x}, [want.astype(x.dtype)], 1e-4, native=True)
    assert ("lanes(r0, " in lower(spec, AVX512).strategies[0]) == blocks


def test_columns_across_memory_are_scanned_together(rng):
    """All that an iteration has, with their running values in memory; of several outer places, and divided."""
    for shape in ((20, 45), (3, 17, 100), (2, 30, 1100)):
        a, axis = buffer(shape), len(shape) - 2
        x = rng.standard_normal(shape).astype("f")
        node = a.scan(Op.SUM, axis)
        memory = {a: Memory("a", float32, shape), node: Memory("out", float32, shape)}
        spec = KernelSpec("k", (), (Stage((node,), ()),), memory)
        check(spec, {a: x}, [np.cumsum(x, axis)], 1e-4, native=True)
        assert "keep(sums, scratch)" in lower(spec, AVX512).strategies[0]


@pytest.mark.parametrize(("steps", "reason"), [
    ("lanes(r0, 8)", "split into blocks, of a multiple of 64"),
    ("keep(sums, scratch)", "wants lanes along a kept axis"),
    ("lanes(r0, 8), split(r0, 63)", "split into blocks, of a multiple of 64"),
    ("lanes(x0, 8), lanes(r0, 8)", "x0 has the lanes already"),
    ("lanes(r0, 4), split(r0, 16), keep(sums, scratch)", "wants lanes along a kept axis")])
def test_steps_that_a_scan_cannot_have(steps, reason):
    node = buffer((21, 300)).scan(Op.SUM, 1)
    with pytest.raises(ScheduleError, match=re.escape(reason)):
        lower(spec_of(node), replace(AVX512, steps=(("*", (steps,)),)))


@pytest.mark.parametrize(("steps", "written"), [
    ("lanes(x0, 8), keep(sums, scratch)", False), ("lanes(x0, 4), keep(sums, scratch), parallel(x0, 2)", False),
    ("lanes(r0, 4), split(r0, 16), parallel(x0, 5)", False), ("lanes(x0, 8), unroll(r0, 3)", True),
    ("lanes(x0, 4)", False), ("unroll(r0, 7)", True)])
def test_other_steps_of_a_scan(steps, written, rng):
    a = buffer((21, 17))
    x = rng.standard_normal(a.shape).astype("f")
    node = a.scan(Op.SUM, 1)
    spec = KernelSpec("k", (), (Stage((node,), ()),), {a: Memory("a", float32, a.shape),
                                                       node: Memory("out", float32, a.shape)})
    target = replace(AVX512, steps=(("*", (steps,)),))
    check(spec, {a: x}, [np.cumsum(x, 1)], targets=[target])
    assert ("unroll r0" in show(lower(spec, target).kernel)) == written


def in_place(node, base, values, checks=()):
    """What a SCATTER or ASSIGN makes of ``base``, on every target; and the status word."""
    memory = {n: Memory(f"in{i}", n.dtype, n.shape) for i, n in enumerate(node.srcs[1:]) if n.op == Op.BUFFER}
    memory[node] = Memory("out", node.dtype, node.shape, written=True)
    status = Memory("status", int64, (1,)) if checks else None
    spec = KernelSpec("k", (), (Stage((node,), ()),), memory, (), status, {n: 0 for n in checks})
    results = []
    for target in TARGETS:
        lowered = lower(spec, target)
        arrays = memory_of(lowered, spec, {**values, node: base})
        for at in range(lowered.iterations - 1, -1, -1):
            interpret(lowered.kernel, arrays, (), at, at + 1)
        results.append((arrays["out"].reshape(node.shape), arrays.get("status")))
    for out, _ in results[1:]:
        np.testing.assert_array_equal(out, results[0][0])
    return results[0]


def test_assign_through_a_view(rng):
    a, v = buffer((5, 37)), buffer((2, 18))
    x, y = rng.standard_normal((5, 37)).astype("f"), rng.standard_normal((2, 18)).astype("f")
    node = a.assign(v, ((Op.SHRINK, ((1, 4), (1, 37))), (Op.STRIDE, (2, 2)), (Op.FLIP, (1,))))
    want = x.copy()
    want[1:4:2, 1::2] = y[:, ::-1]
    np.testing.assert_array_equal(in_place(node, x, {v: y})[0], want)


@pytest.mark.sample(7)
@pytest.mark.parametrize(("rows", "tail", "entries"), [(10, 3, 20), (40, 20, 300), (8, 300, 9), (7, 1, 50)])
@pytest.mark.parametrize("mode", ["set", "add", "mul", "max", "min"])
def test_scatter_in_order_and_out_of_range(rows, tail, entries, mode, rng):
    base, value, at = buffer((rows, tail)), buffer((entries, tail)), buffer((entries,), int64)
    x, y = rng.standard_normal((rows, tail)).astype("f"), rng.standard_normal((entries, tail)).astype("f")
    places = rng.integers(0, rows, entries)
    places[3], places[5] = rows, -1
    node = base.scatter(value, [at], mode)
    want = x.copy()
    for i, row in enumerate(places):
        if 0 <= row < rows:
            want[row] = {"set": y[i], "add": want[row] + y[i], "max": np.maximum(want[row], y[i]),
                         "mul": want[row] * y[i], "min": np.minimum(want[row], y[i])}[mode]
    got, status = in_place(node, x, {value: y, at: places}, [node])
    np.testing.assert_array_equal(got, want)
    assert status.tolist() == [1]


@pytest.mark.parametrize("axis", [0, 1])
def test_scatter_along_an_axis_is_divided_by_the_other(axis, rng):
    shape = (70, 66)
    base, value, at = buffer(shape), buffer(shape), buffer(shape, int64)
    x, y = rng.standard_normal(shape).astype("f"), rng.standard_normal(shape).astype("f")
    places, want = rng.integers(0, shape[axis], shape), x.copy()
    own = LazyBuffer.index(shape, 1 - axis, "CPU")
    node = base.scatter(value, [at, own] if axis == 0 else [own, at], "add")
    rows, columns = np.indices(shape)
    np.add.at(want, (places, columns) if axis == 0 else (rows, places), y)
    got, status = in_place(node, x, {value: y, at: places}, [node])
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert status.tolist() == [0]
    spec = KernelSpec("k", (), (Stage((node,), ()),), {
        **{n: Memory(f"in{i}", n.dtype, n.shape) for i, n in enumerate((value, at))},
        node: Memory("out", node.dtype, shape, written=True)})
    for target in TARGETS:
        if not target.workgroup:
            assert "their own coordinates" in lower(spec, target).strategies[0]


def test_scatter_by_two_indices(rng):
    base, value, i, j = buffer((5, 6)), buffer((4,)), buffer((4,), int64), buffer((4,), int64)
    x, y = rng.standard_normal((5, 6)).astype("f"), rng.standard_normal(4).astype("f")
    rows, columns = np.array([0, 4, 4, 2]), np.array([5, 0, 0, 3])
    want = x.copy()
    np.add.at(want, (rows, columns), y)
    got, _ = in_place(base.scatter(value, [i, j], "add"), x, {value: y, i: rows, j: columns})
    np.testing.assert_allclose(got, want, 1e-6)


def test_stacked_kernels_share_scalars_and_nothing_else(rng):
    rate = LazyBuffer.scalar(0.1, float32, "CPU")
    parts, arrays, wanted = [], [], []
    for shape in [(180, 190), (40,), (7, 5), (0,)]:
        w, g = buffer(shape), buffer(shape)
        y = w.binary(Op.SUB, g.binary(Op.MUL, rate.reshape((1,) * len(shape)).expand(shape)))
        memory = {w: Memory("in0", float32, shape), g: Memory("in1", float32, shape), y: Memory("out", float32, shape)}
        parts.append(KernelSpec("part", (), (Stage((y,), ()),), memory, (rate,)))
        a, b = rng.standard_normal(shape).astype("f"), rng.standard_normal(shape).astype("f")
        arrays += [a, b, np.zeros(shape, "f")]
        wanted.append(a - b * np.float32(0.1))
    lowered = lower(StackedSpec("stacked", tuple(parts)), AVX512)
    assert len(lowered.kernel.arrays) == 12
    assert len(lowered.kernel.scalars) == 1
    small = [np.ascontiguousarray(a.reshape(-1)) if a.size else np.zeros(1, "f") for a in arrays]
    interpret(lowered.kernel, small, (0.1,), 2, lowered.iterations)
    interpret(lowered.kernel, small, (0.1,), 0, 2)
    for got, want in zip(small[2::3], wanted, strict=True):
        np.testing.assert_allclose(got[:want.size], want.reshape(-1), 1e-6)
