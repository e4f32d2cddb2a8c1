"""Stage: tests. In: kernels whose threads copy to shared memory while they go on, right ones and ones with a planted
fault. Out: that ``interpret`` computes what NumPy says, and that it or ``verify`` names the fault. Next:
``test_multiply.py``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from minigrad.dtype import bool_, float32, int64
from minigrad.errors import RaceError, VerifyError
from minigrad.kernel.interpret import interpret
from minigrad.kernel.ir import Alloc, Array, Barrier, Commit, Copy, If, Index, Kernel, LetIndex, Load, Store, Wait
from minigrad.kernel.show import show
from minigrad.kernel.verify import verify
from minigrad.kernel.walk import rebuild, statements
from minigrad.lower.passes.bind import bind
from minigrad.lower.passes.hoist import hoist
from minigrad.symbolic import num, var
from tests.unit.render.samples import loop

THREADS, STEPS, STAGES, WIDE = 8, 6, 3, 4
P, T, STEP = var("p", 0, 0), var("t", 0, THREADS - 1), var("step", 0, STEPS - 1)
NEXT = var("next", 0, STEPS - 1)
SIZE = THREADS * WIDE
X, Y = Array("x", float32, STEPS * SIZE), Array("y", float32, STEPS * SIZE, written=True)
TILE = Array("tile", float32, STAGES * SIZE, "shared")


def begin(step, inside=None) -> Copy:
    return Copy(TILE, step % STAGES * SIZE + T * WIDE, X, step * SIZE + T * WIDE, WIDE, inside)


def pipeline() -> Kernel:
    """Each step, each thread stores what its neighbour copied: y is x with the parts of the threads turned by one."""
    i = var("i", 0, WIDE - 1)
    place = (T + 1) % THREADS * WIDE + i
    stored = loop("serial", i, WIDE, Store(Y, STEP * SIZE + T * WIDE + i, Load(TILE, STEP % STAGES * SIZE + place)))
    more = If(Index(STEP < STEPS - STAGES + 1, bool_),
              (LetIndex(NEXT, Index(STEP + STAGES - 1, int64)), begin(NEXT)))
    ahead = [s for n in range(STAGES - 1) for s in (begin(num(n)), Commit())]
    body = (Wait(STAGES - 2), Barrier(), more, Commit(), stored)
    return Kernel("pipeline", (X, Y), (), loop("grid", P, 1, Alloc(TILE), loop(
        "block", T, THREADS, *ahead, loop("serial", STEP, STEPS, *body))))


def memory(rng) -> list[np.ndarray]:
    return [rng.standard_normal(X.size).astype("f4"), np.zeros(Y.size, "f4")]


def want(x: np.ndarray) -> np.ndarray:
    return np.roll(x.reshape(STEPS, THREADS, WIDE), -1, 1).reshape(-1)


def without(kernel: Kernel, kind: type, change=lambda s: ()) -> Kernel:
    return rebuild(kernel, statement=lambda s: change(s) if isinstance(s, kind) else s)


def test_a_pipeline(rng):
    x, y = memory(rng)
    interpret(hoist(bind(verify(pipeline()))), [x, y])
    assert np.array_equal(y, want(x))


def test_it_is_shown_and_rebuilt():
    text = show(pipeline())
    assert "begin tile[4*t] = x[4*t], 4 elements" in text
    assert "wait for all but 1 groups of copies" in text and "commit copies" in text
    guarded = without(pipeline(), Copy, lambda s: replace(s, inside=T < 3))
    assert "begin tile[4*t] = x[4*t], 4 elements if t < 3, else 0" in show(guarded)
    kernel = pipeline()
    assert rebuild(kernel, index=lambda e: e) is kernel
    moved = rebuild(kernel, index=lambda e: num(0) if e is T * WIDE else e)
    assert "begin tile[0] = x[0], 4" in show(moved)


def test_where_a_guard_is_0_zeros_are_copied(rng):
    x, y = memory(rng)
    interpret(verify(without(pipeline(), Copy, lambda s: replace(s, inside=T < 3))), [x, y])
    kept = np.where(np.arange(THREADS)[:, None] < 3, x.reshape(STEPS, THREADS, WIDE), 0)
    assert np.array_equal(y, np.roll(kept, -1, 1).reshape(-1))


@pytest.mark.parametrize("kind", [Wait, Barrier])
def test_a_read_before_its_wait_is_no_kernel(kind):
    with pytest.raises(VerifyError, match="tile is read with no Wait and then a Barrier behind the copies to it"):
        verify(without(pipeline(), kind))


def test_copies_that_are_never_committed_are_no_kernel():
    with pytest.raises(VerifyError, match="no Commit stands behind it"):
        verify(without(pipeline(), Commit))


def test_a_wait_for_too_few_is_found_when_it_runs(rng):
    """The order of the statements is right, so that only the run shows it."""
    loose = verify(without(pipeline(), Wait, lambda s: Wait(STAGES - 1)))
    with pytest.raises(RaceError, match=r"thread 0 reads tile\[4\], and the copy of thread 1 to it is under way"):
        interpret(loose, memory(rng))


def test_a_copy_over_what_is_still_read_is_found(rng):
    """The next copies go where this step reads."""
    near = without(pipeline(), Copy, lambda s: replace(s, at=(NEXT + 1) % STAGES * SIZE + T * WIDE)
                   if s.first.hi > 3 * SIZE else s)
    with pytest.raises(RaceError, match="the copy of thread 1 to it is under way"):
        interpret(verify(near), memory(rng))
    late = rebuild(pipeline(), statement=lambda s: replace(s, body=(*s.body[:2], s.body[4], *s.body[2:4]))
                   if hasattr(s, "var") and s.var is STEP else s)
    x, y = memory(rng)
    interpret(verify(late), [x, y])  # read first, then copied over: in time, for it is another tile
    late = without(late, Copy, lambda s: replace(s, at=(NEXT + 1) % STAGES * SIZE + T * WIDE)
                   if s.first.hi > 3 * SIZE else s)
    with pytest.raises(RaceError, match=r"reads tile\[\d+\].*writes|writes tile\[\d+\], thread \d+ reads it"):
        interpret(verify(late), memory(rng))


def test_a_copy_that_nobody_waits_for(rng):
    """The last groups are not empty."""
    endless = without(pipeline(), If, lambda s: (begin(STEP),))
    with pytest.raises(RaceError):
        interpret(endless, memory(rng))
    alone = Kernel("k", (X,), (), loop("grid", P, 1, Alloc(TILE), loop("block", T, THREADS, begin(num(0)), Commit())))
    with pytest.raises(RaceError, match="it ends while copies to tile are under way"):
        interpret(verify(alone), [memory(rng)[0]])


@pytest.mark.parametrize(("changes", "message"), [
    ({"to": X}, "from global to shared memory"), ({"source": TILE}, "from global to shared memory"),
    ({"size": 1}, None), ({"size": 3}, "a copy is of 4, 8, 16 bytes, not 12"),
    ({"at": T * WIDE + 1}, "not at a multiple"),
    ({"at": num(STAGES * SIZE)}, "a copy can reach"), ({"first": num(STEPS * SIZE - 1)}, "a copy can read"),
    ({"inside": T}, "is not 0 or 1"), ({"at": STEP * WIDE}, "the index variable step is not bound")])
def test_what_a_copy_may_be(changes, message):
    first = next(s for s in statements(pipeline()) if isinstance(s, Copy))
    changed = without(pipeline(), Copy, lambda s: replace(s, **changes) if s.at is first.at else s)
    if message is None:
        verify(changed)
        return
    with pytest.raises(VerifyError, match=message):
        verify(changed)
