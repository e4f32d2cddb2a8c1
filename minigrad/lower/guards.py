"""Stage: lower, strategy ``contraction``. In: a product that counts only under a condition, as the adjoint of a window
makes it: its factors are read at places that may not be there. Out: the factors, each with the conditions that are its
own.
Next: ``packed.py``."""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.dtype import bool_
from minigrad.kernel.ir import Apply, Const, Index, Load, Value
from minigrad.kernel.walk import rebuild_values
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body, traffic
from minigrad.lower.scalar import unconverted
from minigrad.ops import Op
from minigrad.symbolic import Sym, both, conjuncts, variables


def under_conditions(value: Value) -> tuple[Value, list[Sym]]:
    """A value that is 0 where a condition fails: what it is elsewhere, and the conditions, each a single comparison."""
    found: dict[Sym, None] = {}
    while isinstance(value, Apply) and value.op == Op.WHERE:
        condition, inside, other = value.srcs
        if not isinstance(condition, Index) or not isinstance(other, Const) or other.value != 0:
            break
        found.update(dict.fromkeys(conjuncts(condition.index)))
        value = inside
    return value, list(found)


def divide_conditions(body: Body, kept: Sequence[Axis], factors: Sequence[Value],
                      conditions: Sequence[Sym]) -> tuple[list[Value], list[Sym]]:
    """The factors, each 0 where a condition fails that speaks of its own axes only, and without the others in its
    guards; and the conditions that are not with both. No factors if a condition fits none, or if one would be
    read where it is not."""
    if not conditions:
        return list(factors), []
    axes = {x.var for x in kept}
    without = [reguarded(f, conditions, ()) for f in factors]
    own = [{v for e in traffic((f,)).indices() for v in variables(body.index(e))} & axes for f in without]
    held: list[list[Sym]] = [[], []]
    for condition in conditions:
        about = set(variables(body.index(condition))) & axes
        fits = [about <= o for o in own]
        if not any(fits):
            return [], []
        for i in (0, 1):
            if fits[i]:
                held[i].append(condition)
    made = [reguarded(f, conditions, h) for f, h in zip(factors, held, strict=True)]
    if not all(_inside(body, load) for f in made for load in traffic((f,)).loads):
        return [], []
    for i, h in enumerate(held):
        if h and not isinstance(unconverted(made[i]), Load):  # under a guard a load is 0 outside
            made[i] = Apply(Op.WHERE, (Index(both(*h), bool_), made[i], Const(0, made[i].dtype)), made[i].dtype)
    return made, [c for c in conditions if not all(c in h for h in held)]


def reguarded(root: Value, conditions: Sequence[Sym], kept: Sequence[Sym]) -> Value:
    """The value with those of its loads' guards that are among ``conditions`` left out unless they are ``kept``."""
    def one(v: Value) -> Value:
        if not isinstance(v, Load) or v.guard is None:
            return v
        parts = [p for p in conjuncts(v.guard) if p not in conditions] + list(kept)
        return Load(v.array, v.index, both(*parts) if parts else None)
    return rebuild_values([root], one)[0]


def _inside(body: Body, load: Load) -> bool:
    """Whether what is read without a guard is inside the array wherever the axes are."""
    if load.guard is not None:
        return True
    index = body.index(load.index)
    return index.lo >= 0 and index.hi < load.array.size
