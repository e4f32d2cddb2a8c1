"""Stage: engine and conformance use it. In: a loop nest. Out: how long its code will be.
Next: ``shared.py``."""

from __future__ import annotations

from minigrad.kernel.ir import Apply, Copy, For, Kernel, Load, Prefetch, Statement, Store
from minigrad.kernel.walk import bodies_of, values, values_of
from minigrad.symbolic import Sym, coefficient

Lane = tuple[Sym, int] | None
"""The variable of the vector loop around a statement, and how many lanes it has."""

LOOP = 6
"""Instructions that a loop takes beside its body."""


def instructions(kernel: Kernel) -> int:
    """Instructions of a kernel's code, roughly: what is written out counts as often as it is written, and an access
    to elements that lie apart once for each lane. In LLVM's text one takes 15 to 95 characters.

    >>> from minigrad.dtype import float32
    >>> from minigrad.kernel.ir import Array, Const
    >>> from minigrad.symbolic import num, var
    >>> out, u, p = Array("out", float32, 8, "global", 1, True), var("u", 0, 7), var("p", 0, 0)
    >>> body = For(u, num(0), num(8), 1, "unroll", (Store(out, u, Const(0.0, float32)),))
    >>> instructions(Kernel("zeros", (out,), (), For(p, num(0), num(1), 1, "parallel", (body,))))
    28
    """
    total = 0
    counted: set[int] = set()
    waiting: list[tuple[tuple[Statement, ...], int, Lane]] = [((kernel.loop,), 1, None)]
    while waiting:
        block, times, lane = waiting.pop()
        for statement in block:
            inner, lanes = times, lane
            if isinstance(statement, For):
                total += LOOP * times
                extent = statement.stop.hi - statement.start.lo
                if statement.kind == "unroll":
                    inner = times * extent
                elif statement.kind == "vector":
                    lanes = statement.var, extent
            elif isinstance(statement, (Store, Prefetch)):
                total += times * _accesses(statement.index, lane)
            elif isinstance(statement, Copy):
                total += 3 * times
            for value in values(values_of(statement)):
                if id(value) not in counted:
                    counted.add(id(value))
                    total += times * (_accesses(value.index, lane) if isinstance(value, Load) else
                                      isinstance(value, Apply))
            waiting += [(body, inner, lanes) for body in bodies_of(statement)]
    return total


def _accesses(index: Sym, lane: Lane) -> int:
    """An address and an access; or as many as there are lanes, where they lie apart."""
    return 2 if lane is None or coefficient(index, lane[0]) in (0, 1) else 2 * lane[1]
