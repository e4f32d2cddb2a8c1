"""Stage: lower, below ``walk.py``. In: what the stages of a walk compute for a block. Out: under which condition the
block adds anything: where a mask hides all of it, as a causal mask does half of all blocks, it can be left out.
Next: ``values.py``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from minigrad.kernel.ir import Apply, Array, Const, Index, Load, Value
from minigrad.kernel.walk import values
from minigrad.lower.body import Body
from minigrad.ops import Op
from minigrad.symbolic import Sym, both, conjuncts, linear, negate, num, variables
from minigrad.symbolic.kinds import LESS

NEUTRAL = {Op.MAX: -math.inf, Op.SUM: 0.0}


def live(stages: Sequence[tuple[str, Body]]) -> Sym:
    """What must hold for a block to change anything that is reduced. ``stages``: what each does on the walk, and its
    body. Where a condition hides a value it is -inf or 0: what is then 0 times a value that is read counts as 0, were
    that value infinite."""
    found: dict[Sym, None] = {}
    sizes = {v: size for _, body in stages for v, size in body.axes}
    for condition in _conditions(body for _, body in stages):
        if _hides_all(condition, stages):
            found[_somewhere(condition, sizes)] = None
    return both(*found) if found else num(1)


def _conditions(bodies: Iterable[Body]) -> list[Sym]:
    """The single comparisons that values are chosen by, and their opposites."""
    found: dict[Sym, None] = {}
    for body in bodies:
        for v in values([o.value for o in body.outputs] + [r.value for r in body.reductions]):
            if isinstance(v, Apply) and v.op == Op.WHERE and isinstance(v.srcs[0], Index):
                condition = v.srcs[0].index
                found.update(dict.fromkeys(conjuncts(condition)))
                if condition.kind == LESS:
                    found[negate(condition)] = None
    return [c for c in found if c.kind == LESS]


def _hides_all(condition: Sym, stages: Sequence[tuple[str, Body]]) -> bool:
    """Whether all that is reduced is neutral where the condition fails."""
    known: dict[Array, float] = {}
    for kind, body in stages:
        if kind == "along":
            for o in body.outputs:
                value = _where_it_fails(o.value, condition, known)
                if value is not None:
                    known[o.array] = value
        elif kind in ("top", "sum", "relative"):
            for r in body.reductions:
                if r.node.op not in NEUTRAL or _where_it_fails(r.value, condition, known) != NEUTRAL[r.node.op]:
                    return False
    return True


def _where_it_fails(root: Value, condition: Sym, known: Mapping[Array, float]) -> float | None:
    """The value where the condition fails: 0, -inf or another constant; None if it may be anything."""
    found: dict[int, float | None] = {}
    for v in values((root,)):
        made: float | None = None
        if isinstance(v, Const):
            made = float(v.value)
        elif isinstance(v, Load):
            made = known.get(v.array)
        elif isinstance(v, Apply):
            made = _applied(v, [found[id(s)] for s in v.srcs], condition)
        found[id(v)] = made
    return found[id(root)]


def _applied(v: Apply, of: Sequence[float | None], condition: Sym) -> float | None:
    if v.op == Op.WHERE and isinstance(v.srcs[0], Index):
        chosen = v.srcs[0].index
        if condition in conjuncts(chosen):
            return of[2]
        if chosen.kind == LESS and negate(chosen) is condition:
            return of[1]
    if v.op == Op.WHERE:
        return of[1] if of[1] == of[2] else None
    if v.op == Op.MUL:
        return 0.0 if 0.0 in of else None
    if v.op in (Op.ADD, Op.SUB, Op.DIV) and of[0] is not None:
        return of[0] if of[0] == {Op.DIV: 0.0}.get(v.op, -math.inf) else None
    if v.op == Op.ADD and of[1] == -math.inf:
        return of[1]
    if v.op == Op.EXP:
        return 0.0 if of[0] == -math.inf else None
    if v.op == Op.CAST and v.dtype.is_float:
        return of[0]
    return None


def _somewhere(condition: Sym, sizes: Mapping[Sym, int]) -> Sym:
    """Whether the comparison a < b holds for some values of these variables: for those that make a - b least."""
    a, b = condition.args
    terms, constant = linear(a - b)
    least = num(constant)
    for term, factor in terms.items():
        if term in sizes:
            least = least + (min(0, factor * (sizes[term] - 1)))
        elif sizes.keys().isdisjoint(variables(term)):
            least = least + term * factor
        else:
            return num(1)
    return least < 0
