"""Stage: tests of lower. In: loop nests. Out: that a pass changes what it promises and no result.
Next: ``../render/``."""

from __future__ import annotations

import numpy as np

from minigrad.dtype import bool_, float32, int64
from minigrad.kernel.interpret import interpret
from minigrad.kernel.ir import Alloc, Apply, Array, Barrier, Const, For, If, Index, Kernel, Let, Load, Local, Store
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


T = var("t", 0, 3)
SHARED = Array("s", float32, 4, "shared")


C = Array("c", float32, 4)
OWN = Array("own", float32, 1, "scratch")
ZERO, ONE = num(0), Const(1.0, float32)


def threads(*body):
    """One workgroup of four threads, with shared memory and an element of each thread."""
    p = var("p", 0, 0)
    block = For(T, num(0), num(4), 1, "block", (Alloc(OWN, ONE), *body, Store(A, T, ONE), Store(B, T, Load(OWN, ZERO))))
    return Kernel("k", (A, B, C), (), For(p, num(0), num(1), 1, "grid", (Alloc(SHARED), block)))


def same_results(before, *passes):
    """The kernel after the passes. Before and after it must keep the grammar, race nowhere and agree."""
    after = verify(before)
    for run in passes:
        after = verify(run(after))
    want, got = ([np.arange(1, 5, dtype="f"), np.zeros(4, "f"), np.arange(3, 7, dtype="f")] for _ in range(2))
    interpret(before, want)
    interpret(after, got)
    assert [a.tolist() for a in got] == [a.tolist() for a in want]
    return after


def loads_named(kernel, array):
    return sum(isinstance(s, Let) and isinstance(s.value, Load) and s.value.array is array for s in statements(kernel))


def plus(x, y):
    return Apply("ADD", (x, y), float32)


def test_bind_reads_again_what_other_threads_may_have_stored():
    """This thread stores nothing that it loads, but between the two barriers its neighbour stores a[t + 1]."""
    x = Load(A, (T + 1) % 4)
    before = threads(Store(SHARED, T, plus(x, x)), Barrier(), Store(A, T, ONE), Barrier(),
                     Store(OWN, ZERO, plus(plus(x, x), Load(SHARED, T))), Barrier())
    assert loads_named(same_results(before, bind, hoist), A) == 2


def test_bind_names_nothing_across_a_barrier_in_a_block_without_stores():
    x = Load(SHARED, ZERO)
    step = If(Index(T < 1, bool_), (Store(SHARED, ZERO, Apply("CAST", (Index(J, int64),), float32)),))
    body = (Let("first", x), Barrier(), step, Barrier(), Let("second", x), Store(OWN, ZERO, plus(
        Load(OWN, ZERO), plus(Local("first", float32), Local("second", float32)))))
    before = threads(Store(SHARED, T, ONE), Barrier(), For(J, num(0), num(4), 1, "serial", body))
    after = same_results(before, bind, hoist)
    assert loads_named(after, SHARED) == 2
    meeting = Barrier()
    without_stores = threads(Store(SHARED, T, ONE), Barrier(), If(Index(num(1), bool_), (
        Let("first", x), meeting, Let("second", x))))
    assert bind(without_stores) is without_stores


def test_hoist_leaves_shared_and_written_memory_in_a_loop_with_a_barrier():
    """The loop stores to none of them, but its barrier is what makes s[3 - t] and a[3 - t] readable. What no thread
    writes may leave."""
    for array, before_it, leaves in ((SHARED, (Store(SHARED, T, ONE),), False), (A, (Store(A, T, ONE),), False),
                                     (C, (), True)):
        load = Apply("SQRT", (Load(array, 3 - T),), float32)
        loop = For(J, num(0), num(4), 1, "serial", (Barrier(), Store(OWN, ZERO, load)))
        before = threads(*before_it, loop, Barrier())
        assert (same_results(before, hoist) is before) == (not leaves)


def test_hoist_moves_uniform_values_out_of_the_block_loop():
    before = threads(Store(OWN, ZERO, Apply("SQRT", (Load(C, num(1)),), float32)))
    assert [type(s) for s in same_results(before, hoist).loop.body] == [Alloc, Let, For]


def test_a_loop_of_one_iteration_is_its_body():
    j, k, other = var("j", 0, 3), var("k", 0, 0), var("m", 0, 3)
    inner = For(k, num(0), num(1), 1, "serial", (Store(A, I, Load(B, j + k)),))
    once = For(j, I, I + 1, 1, "serial", (inner,))
    twice = For(other, num(2), num(4), 1, "serial", (Store(B, other, Const(0.0, float32)),))
    changed = bind(kernel(once, twice))
    verify(changed)
    store, kept = changed.loop.body
    assert isinstance(store, Store) and store.value.index is I and kept is twice
