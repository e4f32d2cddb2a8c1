"""Stage: lower, below the strategies. In: what the next copy of an operand will read. Out: loops that fetch it, for a
place where the last copy is worked on: there memory has little to do.
Next: ``tile.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from minigrad.kernel.ir import Load, Prefetch, Statement, Value
from minigrad.lower.axes import Axis, Names
from minigrad.lower.body import traffic
from minigrad.lower.nest import ZERO, loops
from minigrad.symbolic import Sym, coefficient, maximum, minimum, num, substitute
from minigrad.target import Target


def fetches(values: Iterable[Value], axes: Sequence[Axis], names: Names, target: Target) -> list[Statement]:
    """Fetch, a cache line at a time, what the values are read from over ``axes``, outermost first, in memory that is
    larger than the cache next to a core. Places beyond an array's ends, as in the border of an image, stand for the
    element there."""
    far = [v for v in traffic(values).loads if v.array.scope == "global"
           and v.array.size * v.array.dtype.size > target.l2]
    return [s for v in far for s in _fetched(v, axes, names, target)] if target.fetched else []


def _fetched(v: Load, axes: Sequence[Axis], names: Names, target: Target) -> list[Statement]:
    """The inner axes that walk through memory with no more than a line between make a run, which goes on from line to
    line to its last element; the others are loops around it."""
    line = target.line // v.array.dtype.size
    outer: list[Axis] = []
    run, at = 1, dict[Sym, Sym]()
    for axis in reversed(axes):
        step = coefficient(v.index, axis.var)
        if step is None or not 0 <= step <= run + line:
            outer.insert(0, axis)
        else:
            run += step * (axis.size - 1)
            at[axis.var] = ZERO
    lines = names.axis("l", -(-run // line) + (run > 1))
    place = substitute(v.index, at) + minimum(lines.var * line, num(run - 1))
    return loops([*outer, lines], [Prefetch(v.array, maximum(ZERO, minimum(place, num(v.array.size - 1))))])
