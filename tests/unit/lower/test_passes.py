"""Stage: tests of lower. In: loop nests. Out: that a pass changes what it promises and no result.
Next: ``../render/``."""

from __future__ import annotations

import numpy as np

from minigrad.dtype import bool_, float32, int64
from minigrad.kernel.interpret import interpret
from minigrad.kernel.ir import Alloc, Apply, Array, Const, For, If, Index, Kernel, Let, Load, Local, Store
from minigrad.kernel.verify import verify
from minigrad.kernel.walk import statements
from minigrad.lower.passes.bind import bind
from minigrad.lower.passes.hoist import hoist
from minigrad.symbolic import num, var

A = Array("a", float32, 4, written=True)
B = Array("b", float32, 4, written=True)
I = var("i", 0, 3)


def kernel(*body):
    return Kernel("k", (A, B), (), For(I, num(0), num(4), 1, "parallel", body))


def test_bind_names_what_is_used_twice():
    x = Load(A, I)
    y = Apply("MUL", (x, x), float32)
    before = kernel(Store(A, I, y), Store(B, I, Apply("ADD", (y, x), float32)))
    after = verify(bind(before))
    assert sum(isinstance(s, Let) for s in statements(after)) == 2
    memory = [np.arange(4, dtype="f"), np.zeros(4, "f")]
    interpret(after, memory)
    assert memory[0].tolist() == [0, 1, 4, 9]


def test_bind_reads_again_what_was_stored_between():
    x = Load(A, I)
    before = kernel(Store(A, I, Apply("ADD", (x, Const(1.0, float32)), float32)), Store(B, I, x))
    want, got = ([np.arange(4, dtype="f"), np.zeros(4, "f")] for _ in range(2))
    interpret(before, want)
    interpret(bind(before), got)
    assert [a.tolist() for a in got] == [a.tolist() for a in want]


def test_bind_returns_the_kernel_if_nothing_is_shared():
    before = kernel(Store(A, I, Load(B, I)), Store(B, I, Const(0.0, float32)))
    assert bind(before) is before


J = var("j", 0, 3)


def test_hoist_moves_what_a_loop_does_not_change():
    """sqrt(b[i]) stands before the loop over j, a name that is used inside goes with it, a[j] stays."""
    b = Array("b", float32, 4)
    inner = For(J, num(0), num(4), 1, "serial", (
        Let("r", Apply("SQRT", (Load(b, I),), float32)),
        Store(A, J, Apply("ADD", (Load(A, J), Local("r", float32)), float32))))
    before = Kernel("k", (A, b), (), For(I, num(0), num(4), 1, "parallel", (inner,)))
    after = verify(hoist(before))
    assert [type(s) for s in after.loop.body] == [Let, For]
    assert [type(s) for s in after.loop.body[1].body] == [Store]
    want, got = ([np.zeros(4, "f"), np.arange(4, dtype="f")] for _ in range(2))
    interpret(before, want)
    interpret(after, got)
    assert got[0].tolist() == want[0].tolist()


def test_hoist_leaves_what_is_stored_in_the_loop_and_what_is_under_a_condition():
    load = Load(A, num(0))
    stored = For(J, num(0), num(4), 1, "serial", (Store(A, J, Apply("NEG", (load,), float32)),))
    guarded = For(J, num(0), num(4), 1, "serial", (
        If(Index(J < 2, bool_), (Store(B, J, Apply("NEG", (load,), float32)),)),))
    for loop in (stored, guarded):
        before = Kernel("k", (A, B), (), For(I, num(0), num(1), 1, "parallel", (loop,)))
        assert hoist(before) is before


def test_hoist_leaves_accumulators_in_their_loop():
    total = Array("total", int64, 1, "register", 1, True)
    add = Store(total, num(0), Apply("ADD", (Load(total, num(0)), Index(J, int64)), int64))
    before = Kernel("k", (), (), For(I, num(0), num(1), 1, "parallel", (
        Alloc(total, Const(0, int64)), For(J, num(0), num(4), 1, "serial", (add,)))))
    assert hoist(before) is before
