"""Stage: tests of lower. In: loop nests. Out: that a pass changes what it promises and no result.
Next: ``../render/``."""

from __future__ import annotations

import numpy as np

from minigrad.dtype import float32
from minigrad.kernel.interpret import interpret
from minigrad.kernel.ir import Apply, Array, Const, For, Kernel, Let, Load, Store
from minigrad.kernel.verify import verify
from minigrad.kernel.walk import statements
from minigrad.lower.passes.bind import bind
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
