"""Stage: tests. In: every scalar op on every dtype it takes, at edge values. Out: that LLVM IR (vector and scalar
form) and C have the interpreter's bits, and that the interpreter means what ``ops.py`` says.
Next: ``test_c.py``, ``test_llvm.py``."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from minigrad.dtype import ALL, HALVES, DType, bfloat16, bool_, float32, int32, uint32
from minigrad.errors import CompileError
from minigrad.kernel.compute import apply
from minigrad.kernel.ir import DOT2, DOT2I, DOT4, Apply, Array, If, Index, Kernel, Load, Store, Value
from minigrad.kernel.verify import verify
from minigrad.ops import KERNEL_OPS, Op, cast
from minigrad.render import render_c, render_llvm
from minigrad.runtime.llvm import host_target
from minigrad.symbolic import eq, var
from minigrad.target import AVX512
from tests.unit.render.harness import GCC, TARGETS, assert_same, compile_c, compile_llvm
from tests.unit.render.samples import kernel, loop

LANES = 16
LOWERED = frozenset((Op.POW, Op.EXP, Op.LOG, Op.SIN, Op.COS, Op.TANH, Op.ERF))


def edges(dtype: DType) -> np.ndarray:
    """Values of ``dtype`` where operations go wrong, and a few plain ones."""
    if dtype is bool_:
        return np.array([False, True])
    if dtype.is_int:
        values = [0, 1, 2, 3, 5, 7, 8, 13, 63, dtype.max, dtype.max - 1, dtype.max // 2, dtype.bits, dtype.bits - 1]
        if dtype.kind == "i":
            values += [-1, -2, -7, -8, dtype.min, dtype.min + 1, -13]
        return np.array(values, dtype.numpy)
    tiny = 2.0 ** {"float16": -24, "bfloat16": -133, "float32": -149, "float64": -1074}[dtype.name]
    values = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 3.7, -7.3, 1e-3, np.inf, -np.inf, np.nan, dtype.max, dtype.min,
              tiny, -3 * tiny, 255.0, 256.5, -129.0, 2049.0, 2.0**31, -(2.0**31), 2.0**63, 2.0**64, 1 / 3, 65519.0]
    return cast(np.array(values), dtype)


def operands(name: str, dtype: DType) -> list[np.ndarray]:
    """All pairs of edges (triples of some), as one array an operand, its length a multiple of LANES."""
    x, arity = edges(dtype), KERNEL_OPS[name].arity
    if name == Op.WHERE:
        arrays = [g.reshape(-1) for g in np.meshgrid(np.array([False, True]), x, x[:7], indexing="ij")]
    elif arity == 3:
        arrays = [g.reshape(-1) for g in np.meshgrid(x, x[::2], x[1::2], indexing="ij")]
    else:
        arrays = [g.reshape(-1) for g in np.meshgrid(*[x] * arity, indexing="ij")]
    size = -(-len(arrays[0]) // LANES) * LANES
    return [np.resize(a, size) for a in arrays]


def op_kernel(label: str, name: str, sources: list[DType], result: DType, size: int) -> Kernel:
    """One op over whole arrays: odd blocks of 16 in a vector loop, even ones in a serial loop."""
    arrays = tuple(Array(f"x{n}", d, size) for n, d in enumerate(sources))
    y = Array("y", result, size, written=True)
    i, l, s = var("i", 0, size // LANES - 1), var("l", 0, LANES - 1), var("s", 0, LANES - 1)

    def body(at) -> Store:
        srcs: tuple[Value, ...] = tuple(Load(a, at) for a in arrays)
        return Store(y, at, Apply(name, srcs, result))

    return verify(kernel(label, (*arrays, y), i, size // LANES, If(
        Index(eq(i % 2, 1), bool_), (loop("vector", l, LANES, body(LANES * i + l)),),
        (loop("serial", s, LANES, body(LANES * i + s)),))))


def cases():
    """(kernel, operands) of every op and dtype, and of every conversion."""
    out = []
    for name, row in KERNEL_OPS.items():
        for dtype in ALL:
            if dtype.kind not in row.kinds or name in LOWERED or name in (Op.CAST, Op.BITCAST) or (
                    dtype in HALVES and name != Op.WHERE):
                continue
            arrays = operands(name, dtype)
            sources = [bool_, dtype, dtype] if name == Op.WHERE else [dtype] * row.arity
            result = bool_ if row.result == "bool" else dtype
            out.append((op_kernel(f"{name}_{dtype.name}".lower(), name, sources, result, len(arrays[0])), arrays))
    for source in ALL:
        for dtype in ALL:
            (array,) = operands(Op.CAST, source)
            out.append((op_kernel(f"cast_{source.name}_{dtype.name}", Op.CAST, [source], dtype, len(array)), [array]))
            if source.size == dtype.size and bool_ not in (source, dtype):
                label = f"bitcast_{source.name}_{dtype.name}"
                out.append((op_kernel(label, Op.BITCAST, [source], dtype, len(array)), [array]))
    return out


@cache
def all_cases():
    """All cases and what the interpreter makes of them."""
    made = cases()
    return [(case, expected(case)) for case in made]


def root(case) -> Apply:
    stores = case[0].loop.body[0].then[0].body
    return stores[0].value


def expected(case) -> np.ndarray:
    value, arrays = root(case), case[1]
    return np.concatenate([apply(value.op, [a[n:n + LANES] for a in arrays], value.dtype)
                           for n in range(0, len(arrays[0]), LANES)])


def check(runs, what: str) -> None:
    for run, (case, want) in zip(runs, all_cases()):
        got = np.zeros(len(want), want.dtype)
        run([*case[1], got], (), 0, len(want) // LANES)
        assert_same([got], [want], f"{case[0].name} {what}; operands {case[1]}")


@pytest.mark.sample(2)
@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_llvm_has_the_bits_of_the_interpreter(target):
    check(compile_llvm([case[0] for case, _ in all_cases()], target), f"for {target.name}")


@pytest.mark.skipif(GCC is None, reason="needs gcc")
def test_c_has_the_bits_of_the_interpreter(tmp_path):
    check(compile_c([case[0] for case, _ in all_cases()], tmp_path), "in C")


def test_two_products_have_the_bits_of_the_interpreter(rng, tmp_path):
    """Machines that have an instruction for it take numbers next to 0 as 0; here are none."""
    size = 64 * LANES
    words = [(rng.integers(0, 1 << 32, size) & 0xBFFFBFFF | 0x20002000).astype(np.uint32) for _ in range(2)]
    total = rng.standard_normal(size).astype(np.float32)
    dot = op_kernel("dot2", DOT2, [uint32, uint32, float32], float32, size)
    want = apply(DOT2, [*words, total], float32)
    halves = [[(w & 0xFFFF0000).view("f").astype("f8"), (w << 16).view("f").astype("f8")] for w in words]
    np.testing.assert_allclose(want, total + halves[0][0] * halves[1][0] + halves[0][1] * halves[1][1], 1e-5)
    same_everywhere(dot, [*words, total], want, tmp_path)


@pytest.mark.parametrize(("op", "left", "right"), [(DOT4, "u1", "i1"), (DOT2I, "<i2", "<i2")])
def test_products_of_integers_have_the_bits_of_the_interpreter(op, left, right, rng, tmp_path):
    """Sums wrap; none saturates, be it that of two products in 16 bits or that of all in 32."""
    size, count = 64 * LANES, 4 // np.dtype(left).itemsize
    a, b = (rng.choice([0, 1, 2, 127, info.max, info.min, info.max - 1], (size, count)).astype(info.dtype)
            for info in map(np.iinfo, (left, right)))
    a[:LANES], b[:LANES] = np.iinfo(left).max if op == DOT4 else np.iinfo(left).min, np.iinfo(right).min
    total = rng.choice([0, 5, int32.min, int32.max, -7], size).astype(np.int32)
    words = [x.copy().view("<u4").reshape(size) for x in (a, b)]
    dot = op_kernel(op.lower(), op, [uint32, uint32, int32], int32, size)
    want = apply(op, [*words, total], int32)
    exact = total + (a.astype(np.int64) * b).sum(-1)
    assert np.array_equal(want, exact.astype(np.int32)) and not np.array_equal(want, exact)
    same_everywhere(dot, [*words, total], want, tmp_path)


def same_everywhere(dot: Kernel, arrays: list[np.ndarray], want: np.ndarray, folder: Path) -> None:
    """What a kernel with one op gives, written out, by this machine's instruction, and in C."""
    targets = [*TARGETS, *([host_target()] if host_target().dots else [])]
    runs = {target.name + str(target.dots): compile_llvm([dot], target)[0] for target in targets}
    if GCC is not None:
        runs["c"] = compile_c([dot], folder)[0]
    for name, run in runs.items():
        got = np.zeros_like(want)
        run([*arrays, got], (), 0, len(want) // LANES)
        assert_same([got], [want], name)


@pytest.mark.parametrize("name", sorted(KERNEL_OPS))
def test_the_interpreter_means_what_the_table_says(name):
    """Equal values, where -0 equals 0, and FMA rounds once."""
    for case, got in all_cases():
        value = root(case)
        if value.op != name or name in (Op.CAST, Op.BITCAST, Op.FMA) or case[0].arrays[-2].dtype is bfloat16:
            continue
        want = np.asarray(KERNEL_OPS[name].numpy(*case[1])).astype(got.dtype)
        assert np.array_equal(got, want, equal_nan=got.dtype.kind == "f"), case[0].name


@pytest.mark.parametrize("name", sorted(LOWERED))
def test_ops_that_a_pass_lowers_are_refused(name):
    dtype = float32
    bad = op_kernel("bad", name, [dtype] * KERNEL_OPS[name].arity, dtype, 16)
    for renderer in (render_c, lambda kernels: render_llvm(kernels, AVX512)):
        with pytest.raises(CompileError, match=f"has no form of {name} on float32; a pass lowers it"):
            renderer([bad])
