"""Stage: lower, strategy ``rows``. In: reductions that share one loop nest. Out: their accumulators, and the statements
that add to them: what processors and GPUs have in common.
Next: ``rows.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from minigrad.dtype import DType, bool_
from minigrad.kernel.ir import Alloc, Apply, Array, Const, Fold, Index, Load, Local, Statement, Store, Value
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body
from minigrad.lower.nest import loop, update, vectorised
from minigrad.lower.reductions import Domain
from minigrad.lower.values import Reduction
from minigrad.lower.words import is_products
from minigrad.ops import REDUCE_OPS, Op
from minigrad.symbolic import Sym, num
from minigrad.target import Target

LONGEST = 64
"""Additions in a row that one float accumulator takes before it is added to the next level's: errors grow with the
longest chain, not with the length of the sum."""


def identity(reduction: Reduction) -> Const:
    """The neutral element of a reduction, in the dtype it accumulates in."""
    dtype = reduction.value.dtype
    value = REDUCE_OPS[reduction.node.op].identity(dtype)
    return Const(float(value) if dtype.is_float else value, dtype)


def combine(reduction: Reduction, partial: Value, value: Value) -> Value:
    """``partial`` joined with one more value; a product goes into a sum with one rounding, those of words at once."""
    op = REDUCE_OPS[reduction.node.op].combine
    if op == Op.ADD and isinstance(value, Apply) and value.op == Op.MUL and value.dtype.is_float:
        return Apply(Op.FMA, (*value.srcs, partial), value.dtype)
    if op == Op.ADD and isinstance(value, Apply) and is_products(value):
        return Apply(value.op, (*value.srcs[:-1], partial), value.dtype)
    return Apply(op, (partial, value), value.dtype)


def add_product(total: Value, a: Value, b: Value, target: Target) -> Value:
    """A sum with one more product, with one rounding where the machine does that."""
    if total.dtype.is_float and target.has_fma:
        return Apply(Op.FMA, (a, b, total), total.dtype)
    return total + a * b


Points = Sequence[dict[Sym, Sym]]
"""Places: what the kept axes are at each."""


class Group:
    """The reductions of one domain at some places of the kept axes, one place after the other."""

    def __init__(self, body: Body, domain: Domain, points: Points, in_memory: bool = False) -> None:
        self.body, self.names, self.domain, self.points = body, body.names, domain, points
        self.reductions = [r for _ in points for r in domain.reductions]
        self.kind = "serial" if in_memory else "unroll"
        self.in_memory, self.lanes = in_memory, 1
        self.unread = body.unread({a.var for a in domain.axes})

    @property
    def rounds(self) -> bool:
        """Whether errors grow with the chain of additions: it is cut then."""
        return any(r.value.dtype.is_float for r in self.domain.reductions) and not all(
            r.node.op in (Op.MAX, Op.MIN) for r in self.domain.reductions)

    def accumulators(self, unroll: int, lanes: int) -> list[Array]:
        """An array for each reduction: ``unroll`` vectors."""
        self.lanes = lanes
        return [self.array("acc", r.value.dtype, unroll * lanes) for r in self.reductions]

    def by_point(self, arrays: Sequence[Array]) -> list[Sequence[Array]]:
        """Those of each place."""
        many = len(self.domain.reductions)
        return [arrays[at:at + many] for at in range(0, len(arrays), many)]

    def array(self, stem: str, dtype: DType, size: int) -> Array:
        """``size`` elements, in registers of the group's lanes or in memory."""
        scope, lanes = ("scratch", 1) if self.in_memory else ("register", self.lanes)
        return Array(self.names.fresh(stem), dtype, size, scope, lanes, True)

    def allocs(self, accumulators: Sequence[Array]) -> list[Statement]:
        """Bring accumulators to life, neutral."""
        return [Alloc(a, identity(r)) for r, a in zip(self.reductions, accumulators, strict=True)]

    def join(self, into: Sequence[Array], partial: Sequence[Array]) -> list[Statement]:
        """Add partial sums to others."""
        statements: list[Statement] = []
        for r, a, b in zip(self.reductions, into, partial, strict=True):
            lane = self.names.axis("l", self.lanes) if self.lanes > 1 else None
            registers = a.size // self.lanes
            u = self.names.axis("u", registers) if registers > 1 else None
            at = (u.var * self.lanes if u else num(0)) + (lane.var if lane else 0)
            op = REDUCE_OPS[r.node.op].combine
            inside = vectorised(lane, [update(a, at, op, Load(b, at))])
            statements += [loop(u, inside, self.kind)] if u else inside
        return statements

    def fold(self, accumulators: Sequence[Array], found: Sequence[dict[str, Value]],
             stem: str = "total") -> list[Statement]:
        """Each accumulator's registers and lanes joined to one value, which ``found`` gets for each place."""
        statements: list[Statement] = []
        for values, arrays in zip(found, self.by_point(accumulators), strict=True):
            for r, array in zip(self.domain.reductions, arrays, strict=True):
                values[r.local.name] = Load(array, num(0))
                if array.size > 1:
                    name = self.names.fresh(stem)
                    statements.append(Fold(name, array, REDUCE_OPS[r.node.op].combine))
                    values[r.local.name] = Local(name, array.dtype)
        return statements

    def apart(self, into: Sequence[Array], inside: Callable[[list[Array]], list[Statement]]) -> list[Statement]:
        """What ``inside`` adds to the accumulators it is given, added up by itself before it is added to ``into``."""
        partial = [self.array("part", a.dtype, a.size) for a in into]
        made = inside(partial)
        return [*self.allocs(partial), *made, *self.join(into, partial)]

    def add(self, mapping: dict[Sym, Sym], into: Sequence[Array], slot: Sym, lanes: int = 1,
            lane_axis: Axis | None = None, left: int | None = None) -> list[Statement]:
        """One vector (or element) more in the accumulators; of a masked one only the first ``left`` lanes."""
        mapping = dict(mapping)
        lane = self.names.axis("l", lanes) if lanes > 1 else None
        guard = None
        if lane is not None and lane_axis is not None:
            mapping[lane_axis.var] = mapping[lane_axis.var] + lane.var
            slot = slot + lane.var
            guard = lane.var < left if left is not None else None
        head: list[Statement] = []
        statements: list[Statement] = []
        for point, arrays in zip(self.points, self.by_point(into), strict=True):
            copy = self.body.instance({**point, **mapping}, guard=guard)
            for r, array in zip(self.domain.reductions, arrays, strict=True):
                value = copy.value(r.value)
                if guard is not None:
                    value = Apply(Op.WHERE, (Index(guard, bool_), value, identity(r)), value.dtype)
                statements.append(Store(array, slot, combine(r, Load(array, slot), value)))
            copy.check(self.unread)
            head += copy.statements
        return [*head, *vectorised(lane, statements)]
