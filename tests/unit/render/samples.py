"""Stage: tests of kernel and render. In: nothing. Out: small kernels written by hand, one for each shape of loop nest
that lowering makes. Next: ``harness.py``, which runs them in three ways."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minigrad.dtype import DType, bool_, float16, float32, float64, int64
from minigrad.kernel.ir import (
    Alloc,
    Apply,
    Array,
    Const,
    Fold,
    For,
    If,
    Index,
    Kernel,
    Let,
    LetIndex,
    Load,
    Local,
    Prefetch,
    Scalar,
    Statement,
    Store,
    Value,
)
from minigrad.symbolic import Sym, both, eq, maximum, minimum, num, var

F = float32


def f(value: float, dtype: DType = F) -> Const:
    return Const(value, dtype)


def op(name: str, *srcs: Value, dtype: DType | None = None) -> Apply:
    return Apply(name, srcs, dtype or srcs[-1].dtype)


def loop(kind: str, v: Sym, n: int | Sym, *body: Statement, start: int | Sym = 0, step: int = 1) -> For:
    start, n = (num(x) if isinstance(x, int) else x for x in (start, n))
    return For(v, start, n, step, kind, tuple(body))


def kernel(name: str, arrays: tuple[Array, ...], v: Sym, n: int | Sym, *body: Statement, scalars=()) -> Kernel:
    return Kernel(name, arrays, tuple(scalars), loop("parallel", v, n, *body))


def out(name: str, size: int, dtype: DType = F) -> Array:
    return Array(name, dtype, size, written=True)


def map_with_tail() -> Kernel:
    """``y = max(2*x + 1, 0)`` over 100 elements: 6 vectors of 16 and a rest of 4."""
    x, y = Array("x", F, 100), out("y", 100)
    i, l, j = var("i", 0, 5), var("l", 0, 15), var("j", 96, 99)

    def body(e: Sym, name: str) -> tuple[Statement, ...]:
        total = op("FMA", Load(x, e), f(2.0), f(1.0))
        return Let(name, total), Store(y, e, op("MAXIMUM", Local(name, F), f(0.0)))

    tail = loop("serial", j, 100, *body(j, "b"), start=96)
    return kernel("map_with_tail", (x, y), i, 6, loop("vector", l, 16, *body(16 * i + l, "a")),
                  If(Index(eq(i, 5), bool_), (tail,)))


def guarded() -> Kernel:
    """A 5×16 array padded by 3 in front of each row and 4 at its end, and by 1 row on both sides; the mask depends on
    the row, then on the lane."""
    x, y = Array("x", F, 5 * 16), out("y", 7 * 32)
    i, l, h = var("i", 0, 6), var("l", 0, 15), var("h", 0, 1)
    row, column = i - 1, 16 * h + l - 3
    guard = both(i > 0, i < 6, column > -1, column < 16)
    return kernel("guarded", (x, y), i, 7, loop("vector", l, 16, loop("unroll", h, 2, Store(
        y, 32 * i + 16 * h + l, op("ADD", Load(x, 16 * row + column, guard), f(1.0))))))


def guarded_wide() -> Kernel:
    """32 lanes of every element size under guards by lane, where some registers have every lane off."""
    dtypes = (bool_, float16, F, float64)
    arrays = tuple(Array(f"x{n}", d, 3 * 32, written=False) for n, d in enumerate(dtypes))
    outs = tuple(out(f"y{n}", 3 * 32, d) for n, d in enumerate(dtypes))
    i, l = var("i", 0, 2), var("l", 0, 31)
    at = 32 * i + l + 90 - 90 * i
    guard = both(i < 2, i + l > 0, l < 5)
    return kernel("guarded_wide", (*arrays, *outs), i, 3, loop("vector", l, 32, *[
        Store(y, 32 * i + l, Load(x, at, guard)) for x, y in zip(arrays, outs)]))


def guarded_rows() -> Kernel:
    """Whole rows under a guard that is the same for all lanes, from a large array, a small one and an empty one."""
    x, s, e, y = Array("x", F, 64), Array("s", F, 8), Array("e", F, 0), out("y", 6 * 16)
    i, l = var("i", 0, 5), var("l", 0, 15)
    inside = both(i > 0, i < 5)
    return kernel("guarded_rows", (x, s, e, y), i, 6, loop("vector", l, 16, Store(y, 16 * i + l, op(
        "ADD", op("ADD", Load(x, 16 * i + l - 16, inside), Load(s, l, both(eq(i, 3), l < 8))),
        op("ADD", Load(s, 2 * i - 6, both(i > 2, l > 3)), Load(e, 16 * i + l, i < 0 * i))))))


def strided() -> Kernel:
    """Reads backwards, by threes, in a nonlinear way, one for all lanes; stores by twos."""
    x, y = Array("x", F, 200), out("y", 128)
    i, l = var("i", 0, 3), var("l", 0, 15)
    at = 16 * i + l
    total = op("ADD", op("ADD", Load(x, 99 - at), Load(x, 3 * at)), op("ADD", Load(x, at // 3 + at % 7), Load(x, i)))
    return kernel("strided", (x, y), i, 4, loop("vector", l, 16, Store(y, 2 * at, total),
                                                Store(y, 127 - 2 * at, op("NEG", total))))


def guarded_strided() -> Kernel:
    """Guards by lane over backwards, strided and nonlinear reads that would leave the array."""
    x, y = Array("x", F, 20), out("y", 64)
    i, l = var("i", 0, 3), var("l", 0, 15)
    at = 16 * i + l
    two, back, odd = 2 * at - 5, 30 - at, (at * 5) // 3
    parts = [Load(x, e, both(e > -1, e < 20)) for e in (two, back, odd, at + 0)]
    parts.append(Load(x, l + 3, both(i < 2, l < 9)))
    total: Value = f(0.0)
    for part in parts:
        total = op("ADD", total, part)
    return kernel("guarded_strided", (x, y), i, 4, loop("vector", l, 16, Store(y, at, total)))


def gather() -> Kernel:
    """``y[i] = x[index[i]]``, clamped, row by row."""
    x, index, y = Array("x", F, 5 * 8), Array("index", int64, 7), out("y", 7 * 8)
    i, l, at = var("i", 0, 6), var("l", 0, 7), var("at", 0, 4)
    clamped = op("MAXIMUM", op("MINIMUM", Load(index, i), Const(4, int64)), Const(0, int64))
    return kernel("gather", (x, index, y), i, 7, LetIndex(at, clamped),
                  loop("vector", l, 8, Store(y, 8 * i + l, Load(x, 8 * at + l))))


def row_sum() -> Kernel:
    """Sums of 10 rows of 133 elements, with 4 vector accumulators of 8 lanes and a rest."""
    n, lanes, count = 133, 8, 4
    x, y = Array("x", F, 10 * n), out("y", 10)
    i, k, l, u, j = var("i", 0, 9), var("k", 0, 96), var("l", 0, 7), var("u", 0, 3), var("j", 128, n - 1)
    acc, rest = Array("acc", F, lanes * count, "register", lanes), Array("rest", F, 1, "register")
    at, zero = lanes * u + l, num(0)
    return kernel(
        "row_sum", (x, y), i, 10, Alloc(acc, f(0.0)), Alloc(rest, f(0.0)),
        loop("serial", k, 128, loop("vector", l, lanes, loop("unroll", u, count, Store(
            acc, at, op("ADD", Load(acc, at), Load(x, n * i + k + at))))), step=lanes * count),
        loop("serial", j, n, Store(rest, zero, op("ADD", Load(rest, zero), Load(x, n * i + j))), start=128),
        Fold("total", acc, "ADD"), Store(y, i, op("ADD", Local("total", F), Load(rest, zero))))


def softmax_like() -> Kernel:
    """Two stages over rows of 40: the row's maximum, then a rational function of the distance kept in scratch,
    divided by its sum; scalars scale and shift it."""
    n, lanes = 40, 8
    x, y = Array("x", F, 6 * n), out("y", 6 * n)
    scale, shift = Scalar("scale", F, 0), Scalar("shift", int64, 1)
    i, l, k, k2, k3 = var("i", 0, 5), var("l", 0, 7), var("k", 0, n - 8), var("k2", 0, n - 8), var("k3", 0, n - 8)
    top, total = (Array(name, F, lanes, "register", lanes) for name in ("top", "total"))
    scratch = Array("scratch", F, n, "scratch")
    away = op("MUL", op("SUB", Load(x, n * i + k2 + l), Local("most", F)), scale)
    grown = op("DIV", f(1.0), op("FMA", away, away, Apply("CAST", (shift,), F)))
    return kernel(
        "softmax_like", (x, y), i, 6, Alloc(top, f(float("-inf"))), Alloc(total, f(0.0)), Alloc(scratch),
        loop("serial", k, n, loop("vector", l, lanes, Store(
            top, l, op("MAXIMUM", Load(top, l), Load(x, n * i + k + l)))), step=lanes),
        Fold("most", top, "MAXIMUM"),
        loop("serial", k2, n, loop("vector", l, lanes, Let("e", grown), Store(scratch, k2 + l, Local("e", F)),
                                   Store(total, l, op("ADD", Load(total, l), Local("e", F)))), step=lanes),
        Fold("sum", total, "ADD"),
        loop("serial", k3, n, loop("vector", l, lanes, Store(
            y, n * i + k3 + l, op("DIV", Load(scratch, k3 + l), Local("sum", F)))), step=lanes),
        scalars=(scale, shift))


def fetched_rows() -> Kernel:
    """The largest of each of 5 rows of 64 elements, while the next row is fetched."""
    x, y = Array("x", F, 5 * 64), out("y", 5)
    i, k, l, later = var("i", 0, 4), var("k", 0, 3), var("l", 0, 15), var("later", 1, 4)
    top = Array("top", F, 16, "register", 16)
    return kernel(
        "fetched_rows", (x, y), i, 5, LetIndex(later, Index(minimum(i + 1, num(4)), int64)), Alloc(top, f(-9.0)),
        loop("serial", k, 4, Prefetch(x, 64 * later + 16 * k), loop("vector", l, 16, Store(
            top, l, op("MAXIMUM", Load(top, l), Load(x, 64 * i + 16 * k + l))))),
        Fold("most", top, "MAXIMUM"), Store(y, i, Local("most", F)))


def matmul() -> Kernel:
    """(8×24) @ (24×64): tiles of 4 rows by 2 vectors of 16 in registers, K in a serial loop."""
    m, n, count = 8, 64, 24
    a, b, c = Array("a", F, m * count), Array("b", F, count * n), out("c", m * n)
    i, k, l, r, v = var("i", 0, 3), var("k", 0, count - 1), var("l", 0, 15), var("r", 0, 3), var("v", 0, 1)
    acc, row, column = Array("acc", F, 128, "register", 16), i // 2 * 4, i % 2 * 32
    at = (2 * r + v) * 16 + l
    one, two = Load(a, (row + r) * count + k), Load(b, k * n + column + v * 16 + l)
    step = Store(acc, at, op("FMA", one, two, Load(acc, at)))
    write = Store(c, (row + r) * n + column + v * 16 + l, Load(acc, at))
    return kernel("matmul", (a, b, c), i, 4, Alloc(acc, f(0.0)),
                  loop("serial", k, count, loop("vector", l, 16, loop("unroll", r, 4, loop("unroll", v, 2, step)))),
                  loop("vector", l, 16, loop("unroll", r, 4, loop("unroll", v, 2, write))))


def branches() -> Kernel:
    """Registers that change in one branch, in both, in a loop that may not run, in a loop inside a branch."""
    x, y = Array("x", F, 12), out("y", 24)
    n = Scalar("given", int64, 0)
    count, i, j, k = var("n", 0, 12), var("i", 0, 11), var("j", 0, 11), var("k", 0, 11)
    a, b, zero = Array("a", F, 1, "register"), Array("b", F, 1, "register"), num(0)
    bump = Store(a, zero, op("ADD", Load(a, zero), Load(x, j)))
    inner = Store(b, zero, op("SUB", Load(b, zero), op("MUL", Load(x, k), Load(a, zero))))
    positive = op("LT", f(0.0), Load(x, i), dtype=bool_)
    return kernel(
        "branches", (x, y), i, 12, LetIndex(count, n), Alloc(a, f(1.0)), Alloc(b, f(-2.0)),
        loop("serial", j, minimum(count, i), bump, If(op("LT", Load(x, j), Load(a, zero), dtype=bool_), (
            Store(b, zero, Load(a, zero)), loop("serial", k, maximum(i - 3, 0), inner)), (
            Store(b, zero, op("ADD", Load(b, zero), f(3.0))),))),
        If(positive, (Store(a, zero, op("NEG", Load(a, zero))),)),
        Store(y, 2 * i, Load(a, zero)), Store(y, 2 * i + 1, Load(b, zero), eq(i % 3, 1)), scalars=(n,))


def indices() -> Kernel:
    """Index expressions as values: quotients of negative numbers, comparisons, least and greatest, by lane and not."""
    y, z, w = out("y", 64, int64), out("z", 64), out("w", 64, bool_)
    i, l = var("i", 0, 3), var("l", 0, 15)
    at, n = 16 * i + l, var("n", 1, 5)
    number = (at - 40) // 7 + 3 * ((at - 30) % 11) + maximum(at - 20, minimum(i * i, 9)) + (at < 20) + eq(at % 5, 2) * i
    by_scalar = (at - 9) // n + at % n
    as_float = Apply("CAST", (Index(at // 3 - 5, int64),), F)
    return kernel("indices", (y, z, w), i, 4, loop(
        "vector", l, 16, Store(y, at, op("ADD", Index(number, int64), Index(by_scalar, int64))), Store(z, at, as_float),
        Store(w, at, Index(both(at < 50, at > 3, (at * 7) % 5 < 3), bool_))), scalars=(Scalar("n", int64, 0),))


def scratch_fill() -> Kernel:
    """Scratch that starts with a value, and registers of bool and integer."""
    y, z = out("y", 4 * 21), out("z", 4, bool_)
    i, j, j2 = var("i", 0, 3), var("j", 0, 20), var("j2", 0, 20)
    s, seen, zero = Array("s", F, 21, "scratch"), Array("seen", bool_, 4, "register", 4), num(0)
    l = var("l", 0, 3)
    even = op("EQ", op("MOD", Index(l, int64), Const(2, int64)), Const(0, int64), dtype=bool_)
    late = op("LT", Const(1, int64), Index(i, int64), dtype=bool_)
    return kernel("scratch_fill", (y, z), i, 4, Alloc(s, f(1.5)), Alloc(seen, Const(False, bool_)),
                  loop("serial", j, 21, Store(s, j, op("ADD", Load(s, zero), Load(s, j))), step=4),
                  loop("serial", j2, 21, Store(y, 21 * i + j2, Load(s, j2))),
                  loop("vector", l, 4, Store(seen, l, op("AND", even, late))),
                  Fold("some", seen, "OR"), Store(z, i, Local("some", bool_)))


def unrolled_choices() -> Kernel:
    """Run-time indices inside an unrolled loop; registers that start unset; a loop that runs once and one that never
    does; registers carried through two loops."""
    x, index, y = Array("x", F, 8), Array("index", int64, 12), out("y", 4 * 8)
    i, u, l, l2, k, j, once = (var("i", 0, 3), var("u", 0, 2), var("l", 0, 3), var("l2", 0, 3), var("k", 0, 2),
                               var("j", 0, 4), var("once", 5, 5))
    at = var("at", 0, 7)
    picked, sums = Array("picked", F, 3, "register"), Array("sums", F, 8, "register", 4)
    chosen = op("MINIMUM", op("MAXIMUM", Load(index, 3 * i + u), Const(0, int64)), Const(7, int64))
    v = var("v", 0, 1)
    place = 4 * v + l
    return kernel(
        "unrolled_choices", (x, index, y), i, 4, Alloc(picked), Alloc(sums),
        loop("unroll", u, 3, LetIndex(at, chosen), Store(picked, u, op("ADD", Load(x, at), Load(x, 7 - at)))),
        loop("vector", l, 4, loop("unroll", v, 2, Store(sums, place, Load(x, place)))),
        loop("serial", k, 3, loop("serial", j, i + 1, loop("vector", l, 4, loop("unroll", v, 2, Store(
            sums, place, op("FMA", Load(sums, place), Load(x, k + j), Load(picked, num(1)))))))),
        loop("serial", once, 6, Store(picked, num(2), op("MUL", Load(picked, num(2)), Load(x, once))), start=5),
        loop("serial", var("never", 3, 4), 3, Store(picked, num(2), f(0.0)), start=3),
        loop("vector", l2, 4, Store(y, 8 * i + l2, op("ADD", Load(sums, l2), Load(picked, num(2)))),
             Store(y, 8 * i + 4 + l2, op("SUB", Load(sums, l2 + 4), Load(picked, num(0))))))


def in_place() -> Kernel:
    """``x += x[reversed]`` through one array: a load after a store reads the new value."""
    x = out("x", 32)
    i, l = var("i", 0, 1), var("l", 0, 15)
    value = op("ADD", Load(x, 16 * i + l), f(1.0))
    return kernel("in_place", (x,), i, 2, loop("vector", l, 16, Store(x, 16 * i + l, value),
                                               Store(x, 16 * i + l, op("MUL", Load(x, 16 * i + l), value))))


def random_arrays(kernel: Kernel, rng: np.random.Generator) -> list[np.ndarray]:
    arrays = []
    for a in kernel.arrays:
        if a.dtype is bool_:
            arrays.append(rng.integers(0, 2, a.size).astype(bool))
        elif a.dtype.is_int:
            arrays.append(rng.integers(-3, 9, a.size).astype(a.dtype.numpy))
        else:
            arrays.append(rng.standard_normal(a.size).astype(a.dtype.numpy))
    return arrays


SAMPLES: dict[Callable[[], Kernel], tuple[float, ...]] = {
    map_with_tail: (), guarded: (), guarded_wide: (), guarded_rows: (), strided: (), guarded_strided: (), gather: (),
    row_sum: (), fetched_rows: (), softmax_like: (0.3, 2), matmul: (), branches: (7,), indices: (3,), scratch_fill: (),
    unrolled_choices: (), in_place: (),
}
