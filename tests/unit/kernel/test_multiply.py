"""Stage: tests. In: kernels in which subgroups multiply tiles in shared memory, right ones and ones with a planted
fault. Out: that ``interpret`` computes what NumPy says, and that it or ``verify`` names the fault. Next:
``tests/unit/lower/test_gpu_matrix.py``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from minigrad.dtype import DType, bfloat16, bool_, float16, float32, float64, int64, uint16
from minigrad.errors import RaceError, VerifyError
from minigrad.kernel.compute import round_to_tf32
from minigrad.kernel.interpret import interpret
from minigrad.kernel.ir import Alloc, Array, Barrier, If, Index, Kernel, LetIndex, Load, Multiply, Store, Tile
from minigrad.kernel.show import show
from minigrad.kernel.verify import verify
from minigrad.kernel.walk import rebuild
from minigrad.lower.passes.bind import bind
from minigrad.lower.passes.hoist import hoist
from minigrad.symbolic import num, var
from tests.unit.render.samples import f, loop

THREADS = 64
P, T = var("p", 0, 0), var("t", 0, THREADS - 1)
W, G, M = var("w", 0, 1), var("g", 0, 7), var("m", 0, 3)
NUMBERS = (LetIndex(W, Index(T // 32, int64)), LetIndex(G, Index(T % 32 // 4, int64)), LetIndex(M, Index(T % 4, int64)))
ROWS, COLUMNS = 32, 16
SUMS = Array("sums", float32, ROWS * COLUMNS // 32, "register")


def product(dtype: DType = float16, depth: int = 16, *, barrier: bool = True, threads: int = THREADS) -> Kernel:
    """Two subgroups, each 32 x 16 of the result. A lies row after row, B with its rows side by side; both are copied to
    shared memory as they are."""
    held = float32 if dtype is float32 else uint16
    x, y = Array("x", held, 2 * ROWS * depth), Array("y", held, COLUMNS * depth)
    out = Array("out", float32, 2 * ROWS * COLUMNS, written=True)
    left, right = Array("left", held, x.size, "shared"), Array("right", held, y.size, "shared")
    copies = [loop("serial", i, n.size, Store(to, i, Load(n, i)), start=T, step=THREADS)
              for n, to, i in ((x, left, var("i", 0, x.size - 1)), (y, right, var("j", 0, y.size - 1)))]
    multiply = Multiply(SUMS, ROWS, COLUMNS, depth, Tile(left, W * (ROWS * depth), depth, 1),
                        Tile(right, num(0), 1, COLUMNS), dtype)
    u, v, h, e = (var(n, 0, 1) for n in "uvhe")
    row, column = W * ROWS + u * 16 + h * 8 + G, v * 8 + M * 2 + e
    store = Store(out, row * COLUMNS + column, Load(SUMS, (u * 2 + v) * 4 + h * 2 + e))
    stored = loop("unroll", u, 2, loop("unroll", v, 2, loop("unroll", h, 2, loop("unroll", e, 2, store))))
    body = (*NUMBERS, Alloc(SUMS, f(0.5)), *copies, *([Barrier()] if barrier else []), multiply, stored)
    return Kernel("product", (x, y, out), (), loop("grid", P, 1, Alloc(left), Alloc(right),
                                                   loop("block", T, threads, *body)))


@pytest.mark.parametrize(("dtype", "depth"), [(float16, 16), (float16, 48), (bfloat16, 32), (float32, 8),
                                              (float32, 24)])
def test_it_adds_the_product_of_two_tiles(dtype, depth, rng):
    x = rng.standard_normal((2 * ROWS, depth)).astype(dtype.numpy)
    y = rng.standard_normal((depth, COLUMNS)).astype(dtype.numpy)
    out = np.zeros((2 * ROWS, COLUMNS), np.float32)
    held = np.float32 if dtype is float32 else np.uint16
    interpret(verify(product(dtype, depth)), [x.view(held), y.view(held), out])
    a, b = (round_to_tf32(n) if dtype is float32 else n for n in (x, y))
    np.testing.assert_allclose(out, a.astype("f8") @ b.astype("f8") + 0.5, 1e-5, 1e-5)
    assert dtype is not float32 or not np.allclose(out, x.astype("f8") @ y + 0.5, 1e-6, 1e-6)


def test_tf32_keeps_infinities_and_nans():
    x = np.float32([np.inf, -np.inf, np.nan, 3.4028235e38, -0.0, 1e-45])
    assert np.array_equal(round_to_tf32(x), np.float32([np.inf, -np.inf, np.nan, np.inf, -0.0, 0.0]), equal_nan=True)
    assert np.signbit(round_to_tf32(x)[4])


def test_it_is_shown():
    assert "sums += float16 product of left[512*w] (32 × 16, by 16 and 1) and right[0] (16 × 16, by 1 and 16)" in show(
        product())


def test_its_indices_are_rebuilt():
    kernel = product()
    assert rebuild(kernel, index=lambda e: e) is kernel
    moved = rebuild(kernel, index=lambda e: num(0) if e is W * (ROWS * 16) else e)
    assert "product of left[0] (32" in show(moved)


def test_a_missing_barrier_is_a_race():
    with pytest.raises(RaceError, match=r"reads left\[\d+\], thread \d+ writes it, and no barrier is between"):
        interpret(verify(product(barrier=False)), memory())


def memory() -> list[np.ndarray]:
    return [np.ones(1024, np.uint16), np.ones(256, np.uint16), np.zeros(1024, np.float32)]


def changed(kernel: Kernel, **fields) -> Kernel:
    """The kernel with fields of its Multiply replaced; ``a``: with these fields of that tile."""
    def change(s):
        if not isinstance(s, Multiply):
            return s
        return replace(s, **{n: replace(s.a, **v) if n == "a" else v for n, v in fields.items()})
    return rebuild(kernel, statement=change)


def test_what_is_unset_or_outside_is_seen():
    """``verify`` refuses what can be outside; here it is not asked."""
    unset = rebuild(product(), statement=lambda s: [] if isinstance(s, Store) and s.array.name == "right" else s)
    with pytest.raises(ValueError, match=r"right\[0\] is read but was never set \(workgroup 0, thread 0\)"):
        interpret(unset, memory())
    with pytest.raises(IndexError, match=r"left\[1024\] is outside the array's 0..1023 \(workgroup 0, thread 32\)"):
        interpret(changed(product(), a={"index": W * 520}), memory())
    with pytest.raises(RaceError, match="threads of a subgroup multiply different tiles of left"):
        interpret(changed(product(), a={"index": G * 8}), memory())
    divided = rebuild(product(), statement=lambda s: If(Index(W < 1, bool_), (s,)) if isinstance(s, Multiply) else s)
    with pytest.raises(RaceError, match="thread 0 multiplies tiles, thread 32 does not come to it"):
        interpret(divided, memory())


BROKEN = {
    "the threads of a subgroup could multiply different tiles: an index depends on t, the number": {
        "a": {"index": T // 16 * 128}},
    "could multiply different tiles: an index depends on g, which comes from t": {"a": {"index": G * 8}},
    r"a tile of left can reach from 0 to 1279, outside 0..1023": {"a": {"index": W * 768}},
    r"left\[508\*w\] does not begin a row of a tile at a multiple of 16 bytes": {"a": {"index": W * 508}},
    r"left\[512\*w\] does not begin a row of a tile": {"a": {"row": 12}},
    "a tile of left has steps 16 and 8; neither is 1": {"a": {"step": 8}},
    "Multiply takes multiples of 16 × 16 × 16 of float16": {"depth": 8},
    "Multiply of float64": {"dtype": float64},
    "Multiply of float32 reads shared memory of uint16": {"dtype": float32},
    "Multiply of float16 reads register memory of float32": {"a": {"array": SUMS}},
    "the sums of Multiply are 8 float32 in registers": {"rows": 16},
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_rule_is_named(message):
    with pytest.raises(VerifyError, match=message):
        verify(changed(product(), **BROKEN[message]))


def test_all_threads_come_to_it_or_none():
    divided = rebuild(product(), statement=lambda s: If(Index(W < 1, bool_), (s,)) if isinstance(s, Multiply) else s)
    with pytest.raises(VerifyError, match="could miss a Multiply: the If around it depends on w, which comes from t"):
        verify(divided)


def with_reads(*, again: bool) -> Kernel:
    """The kernel with a product in each of two steps of a loop, and the first sum stored before and after it."""
    first, more, step = Load(SUMS, num(0)), Array("more", float32, 2 * THREADS, written=True), var("step", 0, 1)

    def change(s):
        if not isinstance(s, Multiply):
            return s
        at = [T, T + THREADS] if again else [T + THREADS * step]
        stores = [Store(more, at[0], first), s, *(Store(more, at[1], first) for _ in at[1:])]
        return stores if again else loop("serial", step, 2, *stores)

    kernel = rebuild(product(), statement=change)
    return replace(kernel, arrays=(*kernel.arrays, more))


@pytest.mark.parametrize("again", [False, True])
def test_sums_are_read_anew_after_it(again, rng):
    """``bind`` and ``hoist`` know that it changes them."""
    kernel = verify(hoist(verify(bind(with_reads(again=again)))))
    x, y = (rng.standard_normal(n).astype(np.float16).view(np.uint16) for n in (1024, 256))
    more = np.zeros(2 * THREADS, np.float32)
    interpret(kernel, [x, y, np.zeros(1024, np.float32), more])
    assert (more[:THREADS] == 0.5).all() and (more[THREADS:] != 0.5).all()


def test_it_needs_whole_subgroups():
    with pytest.raises(VerifyError, match="Multiply needs whole subgroups of 32, the workgroup has 48 threads"):
        verify(product(threads=48))
