"""Stage: tests of lower. In: kernels for a GPU, of any kind but contractions. Out: that each strategy takes the threads
it says, that the interpreter finds no race, access outside an array or lonely barrier in them, and that the results
are NumPy's. (The tests of the other files run for a GPU too.) Next: ``test_gpu_contraction.py``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from minigrad.conformance import cases
from minigrad.conformance import check as conform
from minigrad.dtype import float16, float32, float64, int64
from minigrad.kernel.interpret import interpret
from minigrad.kernel.ir import Alloc, Barrier, For
from minigrad.kernel.show import show
from minigrad.kernel.verify import verify
from minigrad.kernel.walk import statements
from minigrad.lower import lower
from minigrad.ops import Op
from minigrad.runtime import device as devices
from minigrad.target import GPU, Target
from tests.unit.lower.interpreter import Interpreter
from tests.unit.lower.specs import KernelSpec, Memory, StackedSpec, Stage, buffer, memory_of, run, spec_of

TINY = replace(GPU, workgroup=16, subgroup=4, shared=1 << 10, parallel_min=4)
"""So little of everything that a few elements reach every corner."""


def result(spec, values, target=GPU):
    """What a kernel with one output in global memory stores."""
    got = run(spec, values, target=target)
    (node,) = [n for s in spec.stages for n in s.stores if spec.memory[n].scope == "global"]
    return got[node]


def count(lowered, kind):
    """How many statements of a kind a kernel has."""
    return sum(isinstance(s, kind) for s in statements(lowered.kernel))


def shared(lowered) -> int:
    """Bytes of shared memory."""
    return sum(s.array.size * s.array.dtype.size for s in statements(lowered.kernel)
               if isinstance(s, Alloc) and s.array.scope == "shared")


# --- map


def test_neighbouring_threads_take_neighbours_four_at_a_time():
    text = show(lower(spec_of(buffer((100, 64)).unary(Op.NEG)), GPU).kernel)
    assert "grid p0 in 0..7" in text
    assert "out0[4*i0 + l0] = -in0[4*i0 + l0]" in text


@pytest.mark.parametrize(("dtype", "size", "lanes"), [(float32, 64, 4), (float32, 66, 2), (float32, 67, 1),
                                                      (float64, 64, 2), (float16, 64, 4)])
def test_a_thread_takes_as_many_as_one_load_holds(dtype, size, lanes):
    (note,) = lower(spec_of(buffer((size,), dtype).unary(Op.NEG)), GPU).strategies
    assert (f"lanes(x0, {lanes})" in note) == (lanes > 1)


def test_wide_accesses_begin_at_multiples_of_their_width():
    view = buffer((8, 66)).unary(Op.NEG).move(Op.SHRINK, ((0, 8), (1, 65)))
    (note,) = lower(spec_of(view), GPU).strategies
    assert "lanes" not in note


def test_large_spaces_are_walked_in_strides():
    lowered = lower(spec_of(buffer((1 << 24,)).unary(Op.NEG)), GPU)
    assert lowered.iterations == 8192
    assert "serial i0 in 256*p0 + t0..4194304 by 2097152" in show(lowered.kernel)


@pytest.mark.parametrize("shape", [(64, 96), (50, 37), (16, 100)])
def test_what_is_read_across_is_turned_in_shared_memory(shape, rng):
    a, b = buffer(shape), buffer(shape[::-1])
    x, y = rng.standard_normal(shape).astype("f"), rng.standard_normal(shape[::-1]).astype("f")
    spec = spec_of(a.permute((1, 0)).binary(Op.ADD, b))
    np.testing.assert_array_equal(result(spec, {a: x, b: y}), x.T + y)
    lowered = lower(spec, GPU)
    assert "split(x0, 32)" in lowered.strategies[0]
    assert count(lowered, Barrier) == 1


# --- rows


@pytest.mark.parametrize(("shape", "axis", "threads"), [
    ((4096, 1024), 1, 32), ((8, 4096), 1, 256), ((5000, 3), 1, 1), ((1024, 4096), 0, 32), ((1024, 16384), 0, 8),
    ((4096, 70), 0, 32)])
def test_threads_that_share_a_result(shape, axis, threads):
    (note,) = lower(spec_of(buffer(shape).reduce(Op.SUM, (axis,))), GPU).strategies
    assert (f"accumulate(r0, {threads})" in note) == (threads > 1)
    assert ("coalesce(r0)" in note) == (axis == 1 and threads > 1)


@pytest.mark.parametrize("target", [GPU, TINY], ids=lambda t: t.name + str(t.workgroup))
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("shape", [(4, 5, 21), (3, 40, 16)])
def test_sums(shape, axes, target, rng):
    a = buffer(shape)
    x = rng.standard_normal(shape).astype("f")
    got = result(spec_of(a.reduce(Op.SUM, axes)), {a: x}, target)
    np.testing.assert_allclose(got, x.sum(axes, keepdims=True, dtype="f8"), 1e-5, 1e-5)


@pytest.mark.parametrize(("shape", "axes"), [((1, 300_000), (1,)), ((20_000, 16), (0,)), ((300, 50, 20), (0, 2))])
def test_long_sums_are_cut(shape, axes):
    """A chain of so many additions of 0.1 would be off in the fourth digit."""
    a = buffer(shape)
    x = np.full(shape, 0.1, "f")
    got = result(spec_of(a.reduce(Op.SUM, axes)), {a: x}, TINY if shape[0] == 300 else GPU)
    np.testing.assert_allclose(got, x.sum(axes, keepdims=True, dtype="f8"), 2e-6)


def test_many_reductions_share_what_memory_there_is(rng):
    a = buffer((5, 700), float64)
    x = rng.standard_normal((5, 700))
    nodes = [a.binary(Op.MUL, a.like(float(k))).reduce(op, (1,))
             for k, op in enumerate((Op.SUM, Op.MAX, Op.MIN) * 2, 1)]
    target = replace(GPU, shared=5000)  # two arrays of 256 doubles
    spec = spec_of(*nodes)
    lowered = lower(spec, target)
    assert shared(lowered) == 4096
    got = run(spec, {a: x}, target=target)
    for k, (node, function) in enumerate(zip(nodes, (np.sum, np.max, np.min) * 2, strict=True), 1):
        np.testing.assert_allclose(got[node], function(x * k, axis=1, keepdims=True), 1e-12)


@pytest.mark.parametrize(("shape", "axis", "texts"), [
    ((1, 244), 1, ("if [t0 == 0]",)),
    ((732, 3), 0, ("if [t0 < 3]",)),
    ((1366, 2198), 0, ("if [t0 < 8 && 8*p0 + t0 < 2198]", "if [t0 < 32]"))])
def test_conditions_are_as_short_as_a_person_would_write_them(shape, axis, texts):
    shown = show(lower(spec_of(buffer(shape).reduce(Op.SUM, (axis,))), GPU).kernel)
    for text in texts:
        assert text in shown, shown


# --- several stages


def rows_of_softmax(shape, name="softmax"):
    """Three stages: the rows' maxima, sums and results."""
    x = buffer(shape)
    top = x.reduce(Op.MAX, (1,))
    e = x.binary(Op.SUB, top.expand(shape)).unary(Op.EXP)
    y = e.binary(Op.DIV, e.reduce(Op.SUM, (1,)).expand(shape))
    total = y.srcs[1].srcs[0]
    memory = {x: Memory("x", float32, shape), y: Memory("y", float32, shape, written=True),
              e: Memory("e", float32, shape, "scratch", None, (1,))}
    memory |= {n: Memory(text, float32, n.shape, "scratch", None, (1,)) for n, text in ((top, "top"), (total, "sum"))}
    return KernelSpec(name, (shape[0],), tuple(Stage((n,), (0,)) for n in (top, e, total, y)), memory), x


def columns_of_softmax(shape):
    """The same of the columns."""
    x = buffer(shape)
    top = x.reduce(Op.MAX, (0,))
    e = x.binary(Op.SUB, top.expand(shape)).unary(Op.EXP)
    total = e.reduce(Op.SUM, (0,))
    y = e.binary(Op.DIV, total.expand(shape))
    memory = {x: Memory("x", float32, shape), y: Memory("y", float32, shape, written=True)}
    memory |= {n: Memory(text, float32, n.shape, "scratch", None, (0,)) for n, text in ((top, "top"), (total, "sum"))}
    return KernelSpec("softmax", (shape[1],), tuple(Stage((n,), (1,)) for n in (top, total, y)), memory), x


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("shape", [(3, 500), (131, 8), (200, 3), (64, 1)])
@pytest.mark.parametrize("target", [GPU, TINY], ids=lambda t: t.name + str(t.workgroup))
def test_rows_hand_on_in_shared_memory(shape, target, rng):
    spec, x = rows_of_softmax(shape)
    v = rng.standard_normal(shape).astype("f")
    np.testing.assert_allclose(result(spec, {x: v}, target), softmax(v), 1e-5)


def test_short_rows_share_a_workgroup():
    lowered = lower(rows_of_softmax((4096, 16))[0], GPU)
    assert "64 points of outer axis 0 at once" in lowered.strategies[0]
    assert lowered.iterations == 64
    assert lower(rows_of_softmax((4096, 1000))[0], GPU).iterations == 4096


def test_columns_are_divided_among_enough_workgroups():
    """A subgroup's threads side by side, but no fewer than 32 bytes of them where that would make few workgroups."""
    for size, workgroups in ((2048, 256), (1 << 15, 1 << 10)):
        spec, _ = columns_of_softmax((512, size))
        assert lower(spec, GPU).iterations == workgroups


def test_a_row_too_large_for_shared_memory_is_one_threads(rng):
    spec, x = rows_of_softmax((2, 300))
    v = rng.standard_normal((2, 300)).astype("f")
    lowered = lower(spec, TINY)
    assert count(lowered, Barrier) == 0
    assert shared(lowered) == 0
    np.testing.assert_allclose(result(spec, {x: v}, TINY), softmax(v), 1e-5)


def test_small_work_has_small_workgroups():
    assert lower(spec_of(buffer((10,)).unary(Op.NEG)), GPU).kernel.workgroup == 32
    assert lower(spec_of(buffer((300,)).unary(Op.NEG)), GPU).kernel.workgroup == 128
    assert lower(spec_of(buffer((30_000,)).unary(Op.NEG)), GPU).kernel.workgroup == 256


def test_nothing_to_do():
    lowered = lower(spec_of(buffer((0, 3)).unary(Op.NEG)), GPU)
    verify(lowered.kernel)
    assert lowered.iterations == 0


def test_stacked_kernels_take_turns_in_shared_memory(rng):
    shapes = [(3, 40), (2, 100), (1, 220), (5, 7)]
    made = [rows_of_softmax(s, f"part{i}") for i, s in enumerate(shapes)]
    values = [rng.standard_normal(s).astype("f") for s in shapes]
    for target in (GPU, TINY):
        lowered = lower(StackedSpec("stacked", tuple(spec for spec, _ in made)), target)
        verify(lowered.kernel)
        assert lowered.iterations == 11
        assert shared(lowered) <= target.shared
        memory = [m for v in values for m in (v.reshape(-1).copy(), np.zeros(v.size, "f"))]
        interpret(lowered.kernel, memory)
        for got, v in zip(memory[1::2], values, strict=True):
            np.testing.assert_allclose(got.reshape(v.shape), softmax(v), 1e-5)


# --- scan, scatter


@pytest.mark.sample(10)
@pytest.mark.parametrize("op", [Op.SUM, Op.MAX, Op.PROD])
@pytest.mark.parametrize(("shape", "axis"), [((1000,), 0), ((3, 67), 1), ((130, 2), 0), ((5, 300), 0), ((90, 64), 1)])
@pytest.mark.parametrize("target", [GPU, TINY], ids=lambda t: t.name + str(t.workgroup))
def test_scans(op, shape, axis, target, rng):
    a = buffer(shape, int64)
    x = rng.integers(-3, 4, shape)
    node = a.scan(op, axis)
    memory = {a: Memory("a", int64, shape), node: Memory("out", int64, shape, written=True)}
    spec = KernelSpec("k", (), (Stage((node,), ()),), memory)
    want = {Op.SUM: np.cumsum, Op.PROD: np.cumprod, Op.MAX: np.maximum.accumulate}[op](x, axis)
    np.testing.assert_array_equal(result(spec, {a: x}, target), want)


def test_a_long_column_is_scanned_by_all_threads():
    def note(shape, axis):
        node = buffer(shape).scan(Op.SUM, axis)
        memory = {node.srcs[0]: Memory("a", float32, shape), node: Memory("out", float32, shape, written=True)}
        return lower(KernelSpec("k", (), (Stage((node,), ()),), memory), GPU).strategies[0]
    assert "accumulate(r0, 256)" in note((100_000,), 0)
    assert "accumulate" not in note((30, 100_000), 0)


@pytest.mark.parametrize("mode", ["set", "add", "max"])
@pytest.mark.parametrize(("rows", "tail"), [(300, 1), (37, 5), (9, 300)])
def test_scatter_has_many_owners(mode, rows, tail, rng):
    entries = 90
    base, value, at = buffer((rows, tail)), buffer((entries, tail)), buffer((entries,), int64)
    x, y = rng.standard_normal((rows, tail)).astype("f"), rng.standard_normal((entries, tail)).astype("f")
    places = rng.integers(-2, rows + 2, entries) // rng.integers(1, 3, entries)
    node = base.scatter(value, [at], mode)
    memory = {value: Memory("v", float32, value.shape), at: Memory("i", int64, at.shape),
              node: Memory("out", float32, node.shape, written=True)}
    spec = KernelSpec("k", (), (Stage((node,), ()),), memory, (), Memory("status", int64, (1,)), {node: 0})
    lowered = lower(spec, GPU)
    verify(lowered.kernel)
    arrays = memory_of(lowered, spec, {value: y, at: places, node: x})
    interpret(lowered.kernel, arrays)
    want = x.copy()
    for i, row in enumerate(places):
        if 0 <= row < rows:
            want[row] = {"set": y[i], "add": want[row] + y[i], "max": np.maximum(want[row], y[i])}[mode]
    np.testing.assert_array_equal(arrays["out"].reshape(rows, tail), want)
    assert arrays["status"].tolist() == [int(((places < 0) | (places >= rows)).any())]
    owners = int(lowered.strategies[0].split("; ")[1].split()[0]) * tail
    assert owners >= min(rows * tail // 2, 16)


@pytest.mark.parametrize("mode", ["set", "add"])
@pytest.mark.parametrize(("rows", "entries", "tail"), [
    ((40,), (300,), ()), ((9,), (257,), (5,)), ((3, 12), (13, 23), (2, 2)), ((2,), (260,), (40,))])
def test_entries_of_a_long_scatter_are_looked_up_together(mode, rows, entries, tail, rng):
    base, value = buffer((*rows, *tail)), buffer((*entries, *tail))
    at = [buffer(entries, int64) for _ in rows]
    x, y = rng.standard_normal(base.shape).astype("f"), rng.standard_normal(value.shape).astype("f")
    places = [rng.integers(0, n, entries) for n in rows]
    places[-1] += rng.integers(-1, 2, entries)  # some out of range
    node = base.scatter(value, at, mode)
    memory = {value: Memory("v", float32, value.shape), node: Memory("out", float32, node.shape, written=True)}
    memory |= {a: Memory(f"i{k}", int64, a.shape) for k, a in enumerate(at)}
    spec = KernelSpec("k", (), (Stage((node,), ()),), memory, (), Memory("status", int64, (1,)), {node: 0})
    lowered = lower(spec, replace(GPU, workgroup=32))
    verify(lowered.kernel)
    assert "entries at once" in lowered.strategies[0]
    arrays = memory_of(lowered, spec, {value: y, node: x, **dict(zip(at, places, strict=True))})
    interpret(lowered.kernel, arrays)
    want = x.copy()
    for i in np.ndindex(entries):
        row = tuple(p[i] for p in places)
        if all(0 <= r < n for r, n in zip(row, rows, strict=True)):
            want[row] = {"set": y[i], "add": want[row] + y[i]}[mode]
    np.testing.assert_array_equal(arrays["out"].reshape(want.shape), want)
    assert arrays["status"][0] > 0


# --- passes and whole programs


def test_native_functions_stay():
    text = show(lower(spec_of(buffer((64,)).unary(Op.EXP)), GPU).kernel)
    assert "= exp(in0[" in text
    assert "exp" not in show(lower(spec_of(buffer((64,)).unary(Op.EXP)), replace(GPU, native=())).kernel)


@pytest.mark.parametrize("target", [GPU, TINY], ids=lambda t: t.name + str(t.workgroup))
def test_programs(target: Target, monkeypatch):
    """Some of the conformance suite, with the scheduler's kernels."""
    monkeypatch.setattr(Interpreter, "target", target)
    for registry in (devices._registry, devices._devices, devices._names):
        for name in list(registry):
            monkeypatch.setitem(registry, name, registry[name])
    devices.register_device("INTERPRETER", Interpreter)
    chosen = [c for c in cases(1) if c.family in ("scatter", "scan", "reduce", "gather", "composite", "memory")]
    for r in conform(chosen, "INTERPRETER", 8):
        assert r.status != "failed", f"{r.case}: {r.reason}"


def test_one_block_loop_last():
    for node in (buffer((40, 30)).reduce(Op.SUM, (0,)), buffer((40,)).unary(Op.NEG)):
        loop = lower(spec_of(node), GPU).kernel.loop
        assert loop.kind == "grid"
        assert isinstance(loop.body[-1], For) and loop.body[-1].kind == "block"
