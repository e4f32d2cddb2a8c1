"""Stage: tests. In: kernels that break one rule of the grammar each. Out: that ``verify`` says which.
Next: ``test_show.py``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from minigrad.dtype import bool_, complex64, float16, float32, float64, int32, int64
from minigrad.errors import VerifyError
from minigrad.kernel.ir import (
    Alloc,
    Apply,
    Array,
    Const,
    Fold,
    If,
    Index,
    Kernel,
    Let,
    LetIndex,
    Load,
    Local,
    Prefetch,
    Scalar,
    Store,
)
from minigrad.kernel.verify import verify
from minigrad.symbolic import eq, num, var
from tests.unit.render.samples import SAMPLES, F, f, kernel, loop, op, out

X, Y = Array("x", F, 64), out("y", 64)
I, L, U, K = var("i", 0, 3), var("l", 0, 15), var("u", 0, 1), var("k", 0, 7)
AT = 16 * I + L
ACC = Array("acc", F, 32, "register", 16)
ONE = Array("one", F, 1, "register")
STORE = Store(Y, I, f(1.0))


def made(*body, arrays=(X, Y), scalars=(), n=4) -> Kernel:
    return kernel("k", arrays, I, n, *body, scalars=scalars)


def vector(*body, n=16):
    return loop("vector", L, n, *body)


def apply(name, *srcs, dtype=F):
    return Store(Y, I, Apply(name, srcs, dtype))


BROKEN = {
    "'2x' is not a name": made(Let("2x", f(1.0)), STORE),
    "the name a is bound twice": made(Let("a", f(1.0)), Let("a", f(1.0)), STORE),
    "the name x is bound twice": made(Let("x", f(1.0)), STORE),
    "parameter acc has scope register, not global": made(STORE, arrays=(ACC, Y)),
    "parameter x has size -1": made(STORE, arrays=(Array("x", F, -1), Y)),
    "scalar s says position 1 but is number 0": made(STORE, scalars=(Scalar("s", F, 1),)),
    "its outermost statement is no parallel loop": Kernel("k", (Y,), (), loop("serial", I, 4, STORE)),
    "the parallel loop runs from 1 by 1, not from 0 by 1": Kernel(
        "k", (Y,), (), loop("parallel", I, 4, STORE, start=1)),
    "parameter y is never written": made(arrays=(X, Y)),
    "parameter x is stored into but not written": made(Store(X, I, f(1.0)), STORE),
    "a vector loop holds Fold; only Let, Store and unroll": made(
        Alloc(ACC, f(0.0)), vector(Fold("s", ACC, "ADD")), STORE),
    "a vector loop holds For": made(vector(loop("serial", K, 8, STORE))),
    "unknown loop kind 'tile'": made(loop("tile", K, 8, STORE)),
    "a parallel loop is the outermost statement": made(loop("parallel", K, 8, STORE)),
    "the step of a loop is at least 1, got 0": made(loop("serial", K, 8, STORE, step=0)),
    "the loop variable 3 is no variable": made(loop("serial", num(3), 8, STORE)),
    r"the loop runs k outside its range 0..7": made(loop("serial", K, 9, STORE)),
    "a loop of kind unroll needs constant bounds": made(loop("unroll", K, I, STORE)),
    "a vector loop runs from 0 by 1 to a power of two": made(vector(STORE, n=12)),
    "3 is no variable": made(LetIndex(num(3), Const(1, int64)), STORE),
    "an index is made of an int64, got int32": made(LetIndex(K, Const(1, int32)), STORE),
    "a float64 is stored into y, which holds float32": made(Store(Y, I, f(1.0, float64))),
    "a store inside a vector loop has no guard": made(vector(Store(Y, AT, f(1.0), L < 3))),
    "the condition of If is a float32, not a bool": made(If(f(1.0), (STORE,))),
    "Alloc of x, whose scope is global": made(Alloc(X), STORE),
    "bad has 20 elements, kept 16 at a time": made(Alloc(Array("bad", F, 20, "register", 16)), STORE),
    "bad has lanes but is no register array": made(Alloc(Array("bad", F, 32, "scratch", 16)), STORE),
    "vast has 2000000 elements, more than a thread's stack should hold": made(
        Alloc(Array("vast", F, 2_000_000, "scratch")), STORE),
    "acc starts with another dtype than its own": made(Alloc(ACC, f(0.0, float64)), STORE),
    "acc is not alive here, in:\ns = fold": made(Fold("s", ACC, "ADD"), STORE),
    "Fold reads a register array; t is scratch": made(
        Alloc(t := Array("t", F, 4, "scratch")), Fold("s", t, "ADD"), STORE),
    "Fold cannot combine by SUB": made(Alloc(ACC, f(0.0)), Fold("s", ACC, "SUB"), STORE),
    "Fold by AND of float32": made(Alloc(ACC, f(0.0)), Fold("s", ACC, "AND"), STORE),
    "Fold needs a power of two of elements, r has 3": made(
        Alloc(r := Array("r", F, 3, "register")), Fold("s", r, "ADD"),
                                                            STORE),
    "a is used where no Let has bound it": made(loop("serial", K, 8, Let("a", f(1.0))), Store(Y, I, Local("a", F))),
    "a is used as float32, not as it was bound": made(Let("a", f(1.0, float64)), Store(Y, I, Local("a", F))),
    "s is no scalar of this kernel": made(Store(Y, I, Scalar("s", F, 0))),
    "index i as a value is an int64": made(Store(Y, I, Index(I, F))),
    "index i as a value is an int64, or a bool if": made(If(Index(I, bool_), (STORE,))),
    "the bool constant 2 is not True or False": made(If(Const(2, bool_), (STORE,))),
    "the constant 300000000000 is no int32": made(Let("a", Const(300000000000, int32)), STORE),
    "SUM is no scalar op": made(apply("SUM", f(1.0))),
    "DOT2 is of two uint32 and float32": made(apply("DOT2", f(1.0), f(1.0), f(1.0))),
    "DOT4 is of two uint32 and int32": made(apply("DOT4", f(1.0), f(1.0), f(1.0))),
    "REAL is no scalar op": made(apply("REAL", f(1.0))),
    "IMAG is no scalar op": made(apply("IMAG", f(1.0))),
    "COMPLEX is no scalar op": made(apply("COMPLEX", f(1.0), f(1.0))),
    "a kernel has no complex64, only the real and": made(
        Let("a", Load(Array("z", complex64, 64), I)), STORE),
    "a kernel has no complex64": made(apply("CAST", f(1.0), dtype=complex64)),
    "ADD takes 2 operands: ADD of \\(float32\\) giving": made(apply("ADD", f(1.0))),
    "the condition of WHERE is a bool": made(apply("WHERE", f(1.0), f(1.0), f(1.0))),
    "operands of one dtype are needed": made(apply("ADD", f(1.0), f(1.0, float64))),
    "NEG does not take this dtype: NEG of \\(float16\\)": made(
        Let("h", Apply("CAST", (f(1.0),), float16)), apply("NEG", Local("h", float16), dtype=float16)),
    "float16 has no constants in kernels": made(Let("a", Const(1.0, float16)), STORE),
    "Fold by ADD of float16": made(
        Alloc(h := Array("h", float16, 4, "register")), Fold("s", h, "ADD"), STORE),
    "AND does not take this dtype": made(apply("AND", f(1.0), f(1.0))),
    "ADD gives the dtype of its operands": made(apply("ADD", f(1.0, float64), f(1.0, float64))),
    "LT gives a bool": made(apply("LT", f(1.0), f(1.0))),
    "BITCAST is between types of one size": made(apply("BITCAST", f(1.0, float64))),
    "the index variable k is not bound here": made(Store(Y, K, f(1.0))),
    "the guard i is not 0 or 1": made(Store(Y, I, f(1.0), I)),
    r"x\[i \+ 61\] can be 61..64, outside 0..63": made(Store(Y, I, Load(X, I + 61))),
    r"y\[i - 1\] can be -1..2, outside 0..63, in:\ny\[i - 1\] = 1.0": made(Store(Y, I - 1, f(1.0))),
    r"x\[16\*i \+ 16\] can be 16..64, outside 0..63, in:\nprefetch x": made(Prefetch(X, 16 * I + 16), STORE),
    "Prefetch is of global memory; t is scratch": made(Alloc(t), Prefetch(t, num(0)), STORE),
    "a vector loop holds Prefetch": made(vector(Prefetch(X, AT)), STORE),
    "a Prefetch in a grid": Kernel("k", (X, Y), (), loop("grid", I, 4, loop("block", L, 16, Prefetch(X, AT), STORE))),
    r"the register access one\[0\] has a guard": made(Alloc(ONE), Store(ONE, num(0), f(1.0), I < 3), STORE),
    r"one\[0\] stores a plain register inside a vector loop": made(
        Alloc(ONE), vector(Store(ONE, num(0), f(1.0))), STORE),
    r"acc is kept 16 at a time but acc\[0\] is in a loop of 1 lanes": made(
        Alloc(ACC), Store(ACC, num(0), f(1.0)), STORE),
    r"acc\[2\*l\] does not have the lane as its last part": made(Alloc(ACC), vector(Store(ACC, 2 * L, f(1.0))), STORE),
    r"acc\[i \+ l\] is not constant once unroll loops": made(Alloc(ACC), vector(Store(ACC, I + L, f(1.0))), STORE),
    r"acc\[l \+ u\] touches element 1 of 32": made(
        Alloc(ACC), vector(loop("unroll", U, 2, Store(ACC, U + L, f(1.0)))), STORE),
    r"acc\[l \+ 32\] touches element 32 of 32": made(Alloc(ACC), vector(Store(ACC, L + 32, f(1.0))), STORE),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_rule_is_named(message):
    with pytest.raises(VerifyError, match=message):
        verify(BROKEN[message])


def test_too_many_copies_are_refused():
    u, v = var("u", 0, 199), var("v", 0, 199)
    wide = Array("wide", F, 64, "register")
    body = loop("unroll", u, 200, loop("unroll", v, 200, Store(wide, (u + v) % 64, f(1.0))))
    with pytest.raises(VerifyError, match="is unrolled into too many copies"):
        verify(made(Alloc(wide), body, STORE))


def test_a_verified_kernel_is_returned():
    for build in SAMPLES:
        sample = build()
        assert verify(sample) is sample


def test_what_is_allowed():
    """Loops after one another share a name; guarded loads may leave the array; plain registers are read by lanes."""
    verify(made(loop("serial", K, 8, STORE), loop("serial", K, 8, STORE)))
    verify(made(Store(Y, I, Load(X, I + 61, I < 3))))
    verify(made(Alloc(ONE, f(1.0)), vector(Store(Y, AT, Load(ONE, num(0))))))
    verify(made(If(Index(eq(I, 1), bool_), (STORE,), (STORE,))))
    verify(made(Store(Y, var("n", 0, 9), f(1.0)), scalars=(Scalar("n", int64, 0),)))
    verify(made(loop("serial", var("k", 0, 6), 8, STORE, step=3)))
    verify(replace(made(STORE), name="another"))


def test_the_statement_is_shown():
    with pytest.raises(VerifyError) as caught:
        verify(made(loop("serial", K, 8, Store(Y, I, op("ADD", Load(X, I + 62), f(1.0))))))
    assert str(caught.value) == ("kernel k: x[i + 62] can be 62..65, outside 0..63, in:\ny[i] = x[i + 62] + 1.0")


def test_float_constants_may_be_anything():
    verify(made(Store(Y, I, Const(float("nan"), float32))))
