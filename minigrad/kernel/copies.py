"""Stage: the checker asks it. In: a kernel in the GPU form. Out: a read of shared memory that copies may still be under
way to, copies that nothing commits, or sums that are touched while products are added to them. It looks at the order
of statements, not at which elements are copied: ``interpret`` checks those.
Next: ``show.py``."""

from __future__ import annotations

from collections.abc import Iterable

from minigrad.kernel.ir import (
    Alloc,
    Array,
    Barrier,
    Commit,
    Copy,
    Fold,
    For,
    If,
    Kernel,
    Load,
    Multiply,
    Statement,
    Store,
    Wait,
)
from minigrad.kernel.walk import statements, values, values_of


def unfinished_copy(kernel: Kernel) -> tuple[Statement, str] | None:
    """The first statement that reads what is copied with no ``Wait`` and then a ``Barrier`` before it (in a loop that
    begins copies: in its iteration), or behind which begun copies are never committed, and why; None if there is none.

    >>> from minigrad.dtype import float32
    >>> from minigrad.kernel.ir import Store
    >>> from minigrad.symbolic import num, var
    >>> x, y = Array("x", float32, 4), Array("y", float32, 4, written=True)
    >>> tile, p, t = Array("tile", float32, 4, "shared"), var("p", 0, 0), var("t", 0, 0)
    >>> body = (Copy(tile, num(0), x, num(0), 4), Commit(), Wait(0), Store(y, num(0), Load(tile, num(0))))
    >>> unfinished_copy(Kernel("k", (x, y), (), For(p, num(0), num(1), 1, "grid", (
    ...     For(t, num(0), num(1), 1, "block", body),))))[1]
    'tile is read with no Wait and then a Barrier behind the copies to it'
    """
    if not _copied((kernel.loop,)) and not _sums((kernel.loop,)):
        return None
    worker = _Copies()
    worker.block((kernel.loop,), frozenset())
    worker.check_committed()
    return worker.found


class _Copies:
    def __init__(self) -> None:
        self.begun: frozenset[str] = frozenset()  # arrays that something was copied to
        self.waited: frozenset[str] = frozenset()  # those behind whose last Wait no Barrier came yet
        self.open: Statement | None = None  # a copy that is not committed
        self.multiplying: frozenset[str] = frozenset()  # sums that products are added to
        self.found: tuple[Statement, str] | None = None

    def block(self, block: tuple[Statement, ...], ready: frozenset[str]) -> frozenset[str]:
        """The arrays that may be read behind a block, given those that may be before it."""
        for s in block:
            bad = next((name for name in _read(s) if name in self.begun - ready), None)
            if bad is not None:
                self.fail(s, f"{bad} is read with no Wait and then a Barrier behind the copies to it")
            for name in sorted(self.multiplying & _touched(s)):
                self.fail(s, f"{name} is touched with no Wait for the products that are added to it")
            if isinstance(s, Multiply) and s.together > 1:
                self.multiplying |= {s.sums.name}
            elif isinstance(s, Copy):
                self.begun |= {s.to.name}
                self.open = self.open or s
            elif isinstance(s, Commit):
                self.open = None
            elif isinstance(s, Wait) and s.products:
                self.multiplying = frozenset() if not s.groups else self.multiplying
            elif isinstance(s, Wait):
                self.check_committed()
                self.waited = self.begun
            elif isinstance(s, Barrier):
                ready |= self.waited
            elif isinstance(s, For):
                copied = _copied(s.body)
                again = copied & {name for x in statements(s.body) for name in _read(x)}  # copied in the one before
                self.begun |= again
                self.waited -= again
                own = {x.array.name for x in statements(s.body) if isinstance(x, Alloc)}
                self.multiplying |= _sums(s.body) - own
                inside = self.block(s.body, ready - again)
                ready = inside if again else ready | inside
                for name in sorted(self.multiplying & own):
                    self.fail(s, f"{name} ends with no Wait for the products that are added to it")
                if any(isinstance(x, Wait) and not x.products for x in statements(s.body)):
                    self.check_committed()
            elif isinstance(s, If):
                ready = self.block(s.then, ready) & self.block(s.otherwise, ready)
        return ready

    def check_committed(self) -> None:
        """At a Wait, or where the next iteration of a loop comes to one, and at the end."""
        if self.open is not None:
            self.fail(self.open, "no Commit stands behind it")

    def fail(self, s: Statement, why: str) -> None:
        self.found = self.found or (s, why)


def _copied(block: Iterable[Statement]) -> frozenset[str]:
    return frozenset(s.to.name for s in statements(block) if isinstance(s, Copy))


def _sums(block: Iterable[Statement]) -> frozenset[str]:
    return frozenset(s.sums.name for s in statements(block) if isinstance(s, Multiply) and s.together > 1)


def _touched(s: Statement) -> frozenset[str]:
    """The arrays that a statement itself reads or writes; a Multiply may add to sums while another does."""
    found = {v.array.name for v in values(values_of(s)) if isinstance(v, Load)}
    return frozenset(found | {s.array.name} if isinstance(s, (Store, Fold, Alloc)) else found)


def _read(s: Statement) -> list[str]:
    """The shared arrays that a statement itself reads."""
    found: list[Array] = [s.a.array, s.b.array] if isinstance(s, Multiply) else []
    found += [v.array for v in values(values_of(s)) if isinstance(v, Load)]
    return [a.name for a in found if a.scope == "shared"]
