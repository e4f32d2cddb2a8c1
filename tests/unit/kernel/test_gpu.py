"""Stage: tests. In: kernels in the GPU form, right ones and ones with a planted fault. Out: that ``interpret`` computes
what NumPy says, and that it or ``verify`` names the fault. Next: ``tests/unit/lower``."""

from __future__ import annotations

import numpy as np
import pytest

from minigrad.dtype import bool_, int64
from minigrad.errors import RaceError, VerifyError
from minigrad.kernel.interpret import interpret
from minigrad.kernel.ir import (
    Alloc,
    Array,
    Barrier,
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
    Scalar,
    Store,
)
from minigrad.kernel.show import show
from minigrad.kernel.verify import verify
from minigrad.symbolic import both, eq, minimum, num, var
from tests.unit.render.samples import F, f, loop, op, out

THREADS = 8
P, T, K = var("p", 0, 2), var("t", 0, THREADS - 1), var("k", 0, 3)
X, Y = Array("x", F, 64), out("y", 64)
S = Array("s", F, THREADS, "shared")
SHARED = (Alloc(S),)
STORE = Store(Y, T, f(1.0))


def gpu(*body, groups=3, head=SHARED, arrays=(X, Y), scalars=(), threads=THREADS) -> Kernel:
    block = loop("block", T, threads, *body)
    return Kernel("k", arrays, scalars, loop("grid", P, groups, *head, block))


def one(*body, **given) -> Kernel:
    return gpu(*body, groups=1, **given)


def run(kernel, *arrays, scalars=(), **given):
    interpret(verify(kernel), list(arrays), scalars, **given)
    return arrays[-1]


def numbers(n=64) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(n).astype(np.float32)


# --- what is right -------------------------------------------------------------------------------------------------


def test_a_strided_map():
    """Grid-stride: 61 elements by 3 workgroups of 8 threads."""
    i = var("i", 0, 60)
    kernel = gpu(For(i, P * THREADS + T, num(61), 3 * THREADS, "serial",
                     (Store(Y, i, op("FMA", Load(X, i), f(2.0), f(1.0))),)), head=())
    x = numbers()
    got = run(kernel, x, np.zeros(64, np.float32))
    assert np.array_equal(got[:61], np.float32(2 * x[:61].astype(float) + 1))
    assert not got[61:].any()
    part = run(kernel, x, np.zeros(64, np.float32), begin=1, end=2)
    assert np.flatnonzero(part).tolist() == [*range(8, 16), *range(32, 40), *range(56, 61)]


def tree(*, barrier=True, rows=3) -> Kernel:
    """Each workgroup adds a row of 20: threads add every eighth element, then halves of halves meet in shared memory;
    the bounds of the serial loop over halvings are the same for all threads."""
    i, h, w = var("i", 0, 19), var("h", 0, 2), var("w", 1, 4)
    acc = Array("acc", F, 1, "register")
    total = op("ADD", Load(acc, num(0)), Load(X, P * 20 + i))
    near = w > T
    step = If(Index(near, bool_), (Store(S, T, op("ADD", Load(S, T), Load(S, T + w, near))),))
    four = Const(4, int64)
    width = LetIndex(w, op("SHR", four, Index(h, int64)))
    meet = (Barrier(),) if barrier else ()
    return gpu(Alloc(acc, f(0.0)), For(i, T, num(20), THREADS, "serial", (Store(acc, num(0), total),)),
               Store(S, T, Load(acc, num(0))), Barrier(), loop("serial", h, 3, width, step, *meet),
               If(Index(T < 1, bool_), (Store(Y, P, Load(S, num(0))),)), groups=rows)


def test_a_tree_reduction():
    x = numbers()
    got = run(tree(), x, np.zeros(64, np.float32))
    assert np.allclose(got[:3], x[:60].reshape(3, 20).sum(1), atol=1e-5)


def tile(width: int) -> tuple[Array, Kernel]:
    """16×4 to 4×16, a 4×4 tile at a time, read along rows, written along rows: 16 threads."""
    t, p = var("t", 0, 15), var("p", 0, 3)
    tile = Array("tile", F, 4 * width, "shared")
    row, column = t // 4, t % 4
    body = (Store(tile, row * width + column, Load(X, (4 * p + row) * 4 + column)), Barrier(),
            Store(Y, row * 16 + 4 * p + column, Load(tile, column * width + row)))
    return tile, Kernel("transpose", (X, Y), (), loop("grid", p, 4, Alloc(tile), loop("block", t, 16, *body)))


def test_a_transposed_tile():
    x = numbers()
    for width in (4, 5):
        got = run(tile(width)[1], x, np.zeros(64, np.float32))
        assert np.array_equal(got.reshape(4, 16), x.reshape(16, 4).T)


def test_lanes_and_own_arrays_belong_to_each_thread():
    """Every thread adds four pairs of neighbours in registers kept two at a time, and folds them."""
    l, u = var("l", 0, 1), var("u", 0, 3)
    acc = Array("acc", F, 2, "register", 2)
    total = op("ADD", Load(acc, l), Load(X, T * 8 + u * 2 + l))
    kernel = one(Alloc(acc, f(0.0)), loop("unroll", u, 4, loop("vector", l, 2, Store(acc, l, total))),
                 Fold("sum", acc, "ADD"), Store(Y, T, Local("sum", F)), head=())
    x = numbers()
    assert np.allclose(run(kernel, x, np.zeros(64, np.float32))[:8], x.reshape(8, 8).sum(1), atol=1e-5)


def test_guards_conditions_and_gathered_indices_differ_by_thread():
    n, g = var("n", 0, 5), var("g", 0, 7)
    at = Array("at", int64, THREADS)
    kernel = one(
        LetIndex(g, Load(at, T)),
        If(Index(both(T > 1, g < 6), bool_), (Store(Y, 8 + T, Load(X, g, minimum(g, n) > 2)),),
           (Store(Y, 8 + T, op("NEG", Load(X, g // 2 + T % 3))),)),
        arrays=(X, at, Y), scalars=(Scalar("n", int64, 0),), head=(Let("unused", f(1.0)),))
    x, index = numbers(), np.array([0, 7, 5, 6, 3, 3, 1, 7])
    got = run(kernel, x, index, np.zeros(64, np.float32), scalars=(5,))
    want = [(x[g] if min(g, 5) > 2 else 0) if t > 1 and g < 6 else -x[g // 2 + t % 3] for t, g in enumerate(index)]
    assert got[8:16].tolist() == want


def test_loops_of_each_thread_have_its_own_bounds():
    g, i = var("g", 0, 8), var("i", 0, 63)
    length = Array("length", int64, THREADS)
    kernel = one(LetIndex(g, Load(length, T)),
                 For(i, T * 8, T * 8 + g, 1, "serial", (Let("a", Load(X, i)), Store(Y, i, Local("a", F), i % 2 < 1))),
                 arrays=(X, length, Y), head=())
    x, lengths = numbers(), np.array([0, 8, 3, 1, 0, 5, 7, 2])
    got = run(kernel, x, lengths, np.zeros(64, np.float32))
    want = [x[i] if i % 8 < lengths[i // 8] and i % 2 == 0 else 0 for i in range(64)]
    assert got.tolist() == want


def test_what_is_loaded_at_a_uniform_index_is_uniform():
    """All threads read s[0] and take the same way past the barrier."""
    flag = op("LT", Load(S, num(0)), f(100.0), dtype=bool_)
    kernel = one(Store(S, T, Load(X, T)), Barrier(), Let("flag", flag),
                 If(Local("flag", bool_), (Barrier(), Store(S, T, f(2.0)), Barrier())), Store(Y, T, Load(S, T)))
    assert run(kernel, numbers(), np.zeros(64, np.float32))[:8].tolist() == [2.0] * 8


def test_several_may_store_the_same_value():
    kernel = gpu(Store(Y, num(5), f(3.0)), Store(S, T // 2, f(1.0)), Store(S, T // 2, f(1.0)), Barrier(),
                 Store(Y, P * 8 + T + 8, Load(S, T // 2)))
    assert run(kernel, numbers(), np.zeros(64, np.float32))[5] == 3.0


def test_the_gpu_form_is_shown():
    assert show(tree(rows=2)) == """kernel k(x: float32[64], y: float32[64] written)
  grid p in 0..2:
    shared s: float32[8]
    block t in 0..8:
      register acc: float32[1] = 0.0
      serial i in t..20 by 8:
        acc[0] = acc[0] + x[20*p + i]
      s[t] = acc[0]
      barrier
      serial h in 0..3:
        index w (1..4) = 4 >> [h]
        if [t < w]:
          s[t] = s[t] + (s[t + w] if t < w else 0)
        barrier
      if [t < 1]:
        y[p] = s[0]"""


# --- what races ----------------------------------------------------------------------------------------------------


RACES = {
    # a missing barrier: thread 0 adds what thread 4 wrote
    r"kernel k, workgroup 0: thread 0 reads s\[2\], thread 2 writes it, and no barrier is between": tree(barrier=False),
    r"workgroup 0: thread 0 reads s\[7\], thread 7 writes it, and no barrier": one(
        Store(S, T, f(1.0)), Store(Y, T, Load(S, 7 - T))),
    r"thread 0 writes s\[0\], thread 7 reads it, and no barrier": one(
        Store(S, T, f(1.0)), Barrier(), Store(Y, T, Load(S, 7 - T)), Store(S, T, f(2.0))),
    r"thread 1 writes s\[0\], thread 0 writes another value, and no barrier": one(
        If(Index(T < 1, bool_), (Store(S, num(0), f(1.0)),)), If(Index(T > 0, bool_), (Store(S, num(0), f(2.0)),)),
        STORE),
    # in one statement
    r"thread \d writes s\[\d\], thread \d writes another value": one(Store(S, T // 2, Load(X, T)), STORE),
    # the last to store the same value may come between the two stores of the first
    r"thread 1 writes s\[0\], thread 0 writes another value": one(
        If(Index(T < 1, bool_), (Store(S, num(0), f(1.0)), Store(S, num(0), f(2.0)))),
        If(Index(T > 0, bool_), (Store(S, num(0), f(2.0)),)), STORE),
    # who writes the same may not read
    r"thread 0 reads s\[0\], thread 7 writes it": one(Store(S, num(0), f(1.0)), Store(Y, T, Load(S, num(0)))),
    # global memory
    r"thread 0 writes y\[0\], thread 1 reads it": one(Store(Y, T, Load(Y, (T + 7) % 8)), head=()),
    r"kernel k: workgroup 1 reads y\[7\], workgroup 0 writes it, and nothing orders workgroups": gpu(
        Store(Y, P * 8 + T, Load(Y, P * 8 - T - 1, P > 0)), head=()),
    # the first reader is not the only one
    r"thread 1 writes y\[9\], thread 0 reads it": one(
        Store(Y, T, Load(Y, num(9), T < 2)), Store(Y, num(9), f(1.0), eq(T, 1)), head=()),
}

@pytest.mark.parametrize("message", RACES)
def test_a_race_is_named(message):
    verify(RACES[message])
    with pytest.raises(RaceError, match=message):
        run(RACES[message], numbers(), np.zeros(64, np.float32))


def test_one_memory_by_two_names_is_one_memory():
    """A plan may store over an input: then the input's name says nothing of the stores."""
    kernel = one(Store(Y, T, Load(X, 7 - T)), head=())
    run(kernel, numbers(), np.zeros(64, np.float32))
    memory = numbers()
    with pytest.raises(RaceError, match=r"thread 0 writes y\[0\], thread 7 reads it"):
        run(kernel, memory, memory)


def test_threads_that_part_at_a_barrier_are_named():
    parting = one(If(Index(T < 5, bool_), (Barrier(),)), STORE)
    with pytest.raises(RaceError, match="kernel k, workgroup 0: thread 0 waits at a barrier that thread 5 does not"):
        interpret(parting, [numbers(), np.zeros(64, np.float32)])
    i = var("i", 0, 11)
    parting = one(For(i, T, num(12), THREADS, "serial", (Barrier(),)), STORE)
    with pytest.raises(RaceError, match="thread 0 waits at a barrier that thread 4 does not"):
        interpret(parting, [numbers(), np.zeros(64, np.float32)])


def test_accesses_outside_an_array_and_of_unset_elements_are_named():
    def check(error, message, *body, **given):
        with pytest.raises(error, match=message):
            interpret(gpu(*body, STORE, **given), [numbers(), np.zeros(64, np.float32)])

    check(IndexError, r"s\[8\] is outside the array's 0..7 \(workgroup 0, thread 7\)", Store(S, T + 1, f(1.0)))
    check(IndexError, r"s\[-2\] is outside the array's 0..7 \(workgroup 0, thread 0\)",
          Store(S, T, Load(S, T - 2)))
    check(ValueError, r"s\[0\] is read but was never set \(workgroup 0, thread 0\)", Store(Y, T + 8, Load(S, T)))
    # what one workgroup set is not set in the next
    first = If(Index(P < 1, bool_), (Store(S, T, f(1.0)),))
    check(ValueError, r"s\[0\] is read but was never set \(workgroup 1, thread 0\)", first, Barrier(),
          Let("a", Load(S, T)))
    own, register = Array("own", F, 2, "scratch"), Array("r", F, 2, "register")
    some = Store(own, num(0), f(1.0), T < 3)
    check(ValueError, r"own\[0\] is read but was never set \(workgroup 0, thread 3\)", Alloc(own), some,
          Let("a", Load(own, num(0))))
    check(ValueError, "Fold reads elements of r that were never set", Alloc(register),
          Store(register, num(0), f(1.0)), Fold("a", register, "ADD"))
    check(IndexError, r"index k is 4, outside its promised range 0..3 \(workgroup 0, thread 4\)",
          LetIndex(K, Index(T, int64)))


# --- what is no kernel ---------------------------------------------------------------------------------------------

BLOCK = loop("block", T, THREADS, STORE)
OWN = Array("own", F, 2, "scratch")
G, I = var("g", 0, 7), var("i", 0, 63)
FLAG = op("LT", Load(X, T), f(0.0), dtype=bool_)


def grid(*body) -> Kernel:
    return Kernel("k", (X, Y), (), loop("grid", P, 3, *body))


BROKEN = {
    "the grid loop runs from 1 by 1": Kernel("k", (X, Y), (), loop("grid", P, 3, BLOCK, start=1)),
    "a grid loop is the outermost statement": gpu(loop("grid", K, 4, STORE)),
    "a parallel loop is the outermost statement": gpu(loop("parallel", K, 4, STORE)),
    "a block loop stands in a grid loop and nowhere else": gpu(loop("block", K, 4, STORE)),
    "a block loop stands in a grid loop and nowhere": Kernel("k", (X, Y), (), loop("parallel", P, 3, BLOCK)),
    "a grid loop ends with a block loop": grid(),
    "a grid loop ends with a block": grid(STORE),
    "a grid loop ends with a": grid(loop("serial", T, THREADS, STORE)),
    "a grid loop holds For; only Let, LetIndex and Alloc": grid(BLOCK, BLOCK),
    "a grid loop holds Store; only Let, LetIndex and Alloc": grid(STORE, BLOCK),
    "a grid loop holds Barrier; only Let, LetIndex and Alloc": grid(Barrier(), BLOCK),
    "a block loop runs from 0 by 1 to a constant, got 1..8 by 1": grid(loop("block", T, THREADS, STORE, start=1)),
    "a block loop runs from 0 by 1 to a constant, got 0..8 by 2": grid(loop("block", T, THREADS, STORE, step=2)),
    "a block loop runs from 0 by 1 to a constant, got 0..p": grid(loop("block", T, P, STORE)),
    "a block loop runs from 0 by 1 to a constant, got 0..0": grid(loop("block", T, 0, STORE)),
    "the shared array s does not come to life in the grid loop itself": gpu(Alloc(S), STORE, head=()),
    "the shared array s does not come to life in the grid loop": Kernel(
        "k", (X, Y), (), loop("parallel", P, 3, Alloc(S), Store(Y, P, f(1.0)))),
    "own in the grid loop is scratch, not shared": gpu(STORE, head=(Alloc(OWN),)),
    "the shared array s starts unset; it has no init": gpu(STORE, head=(Alloc(S, f(0.0)),)),
    "a barrier in a parallel loop: only threads of a workgroup meet": Kernel(
        "k", (X, Y), (), loop("parallel", P, 3, Barrier(), Store(Y, P, f(1.0)))),
    "a vector loop holds Barrier": gpu(loop("vector", K, 4, Barrier()), STORE),
    r"could miss a barrier: the If around it depends on t, the number of the thread, in:\nif \[t < 5\]": gpu(
        If(Index(T < 5, bool_), (Barrier(),)), STORE),
    "the If around it depends on t, the number": gpu(
        If(Index(P < 1, bool_), (If(Index(T < 5, bool_), (), (loop("serial", K, 4, Barrier()),)),)), STORE),
    r"the loop around it depends on t, the number of the thread, in:\nserial i in t..64": gpu(
        loop("serial", I, 64, If(Index(P < 1, bool_), (Barrier(),)), start=T, step=THREADS), STORE),
    "the loop around it depends on t, ": gpu(loop("serial", I, T, Barrier()), STORE),
    "the If around it depends on a, which comes from t, ": gpu(Let("a", FLAG), If(Local("a", bool_), (Barrier(),)),
                                                              STORE),
    "the loop around it depends on g, which comes from t, ": gpu(
        LetIndex(G, Index(T, int64)), loop("serial", I, G, Barrier()), STORE),
    "the If around it depends on c, which comes from r, memory of each thread": gpu(
        Alloc(r := Array("r", bool_, 1, "register"), Const(True, bool_)), Fold("c", r, "AND"),
        If(Local("c", bool_), (Barrier(),)), STORE),
    "the If around it depends on b, which comes from own, memory of each thread": gpu(
        Alloc(OWN, f(0.0)), Let("b", op("LT", Load(OWN, num(0)), f(0.0), dtype=bool_)),
        If(Local("b", bool_), (Barrier(),)), STORE),
    "the If around it depends on r, memory of each thread": gpu(
        Alloc(r := Array("r", F, 1, "register"), f(0.0)),
        If(op("LT", Load(r, num(0)), f(0.0), dtype=bool_), (Barrier(),)), STORE),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_rule_is_named(message):
    with pytest.raises(VerifyError, match=message):
        verify(BROKEN[message])


def test_barriers_may_stand_where_all_threads_come():
    n = var("n", 0, 9)
    verify(gpu(Barrier(), loop("serial", I, n, Barrier()), loop("unroll", K, 4, Barrier()), If(Index(P < 1, bool_), (
        Barrier(),)), If(op("LT", Load(X, P), f(0.0), dtype=bool_), (Barrier(),)), STORE,
        scalars=(Scalar("n", int64, 0),)))
    # a name of a loop that is over says nothing of the next
    verify(gpu(loop("serial", I, 64, STORE, start=T), loop("serial", I, 64, If(Index(I < 9, bool_), (Barrier(),)))))
