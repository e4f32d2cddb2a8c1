"""Stage: lower, after ``values.py``. In: what a stage stores, as values over coordinate variables. Out: copies of it
with loop variables in their place: a strategy writes the same body for its main loop and for what is left over.
Next: ``axes.py``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from minigrad.dtype import bool_, int64, uint64
from minigrad.kernel.ir import (
    DOTS,
    Apply,
    Array,
    Const,
    If,
    Index,
    Let,
    LetIndex,
    Load,
    Local,
    Statement,
    Store,
    Value,
)
from minigrad.kernel.walk import values
from minigrad.lower.axes import Axis, Names
from minigrad.lower.nest import vectorised
from minigrad.lower.scalar import convert
from minigrad.lower.values import Gathered, Reduction, Values
from minigrad.ops import SCALAR_OPS, Op
from minigrad.symbolic import Sym, both, conjuncts, num, substitute, variables


@dataclass(frozen=True, eq=False, slots=True)
class Output:
    """One store of a stage: ``array[index] = value``, over the stage's coordinate variables."""

    array: Array
    index: Sym
    value: Value


@dataclass
class Body:
    """What a stage computes at one point. ``axes`` are its free coordinate variables with their sizes."""

    names: Names
    axes: tuple[tuple[Sym, int], ...]
    outputs: tuple[Output, ...]
    reductions: tuple[Reduction, ...]
    gathers: tuple[Gathered, ...]
    status: Array | None
    mapping: dict[Sym, Sym] = field(default_factory=dict)
    simple: dict[Sym, Sym] = field(default_factory=dict)

    def index(self, e: Sym) -> Sym:
        """An index expression over the axes that ``Axes`` made of the original ones."""
        if not self.mapping:
            return e
        found = self.simple.get(e)
        if found is None:
            found = self.simple[e] = substitute(e, self.mapping)
        return found

    @property
    def stored_at(self) -> list[Sym]:
        """Where the outputs are stored, over the merged axes."""
        return [self.index(o.index) for o in self.outputs]

    def read_at(self, work: Traffic) -> list[Sym]:
        """Where memory is read, over the merged axes."""
        return [self.index(x.index) for x in work.loads]

    def gathering(self) -> set[Sym]:
        """The variables that gathered indices depend on: none of them can count the lanes of a vector loop."""
        return {v for g in self.gathers for v in self.depends(g)}

    def depends(self, g: Gathered) -> set[Sym]:
        """The variables that the value of a gathered index depends on, be it by way of another one. A reduction in it
        stands for all axes of the stage: each point has a result of its own."""
        gathers = {other.var: other for other in self.gathers}
        found: set[Sym] = set()
        pending = [g]
        while pending:
            g = pending.pop()
            read = [*traffic((g.value,)).indices(), *(() if g.guard is None else (g.guard,))]
            if any(v.__class__ is Local for v in values((g.value,))):
                read += [axis for axis, _ in self.axes]
            new = {v for e in read for v in variables(self.index(e))} - found
            found |= new
            pending += [gathers[v] for v in new if v in gathers]
        return found

    def unread(self, over: set[Sym] | None = None) -> list[Gathered]:
        """The gathered indices that must be in range though no value is read with them, as in ``zeros(5)[i]``: those
        that depend on variables that reductions run ``over``, or, without it, all others."""
        if not self.gathers:
            return []
        used = {g.var for root in [*(o.value for o in self.outputs), *(r.value for r in self.reductions)]
                for g in used_gathers(self.gathers, root)}
        left = [g for g in self.gathers if g.check is not None and g.var not in used]
        if over is not None:
            return [g for g in left if self.depends(g) & over]
        reduced = {v for r in self.reductions for axis in r.vars for v in variables(self.index(axis))}
        return [g for g in left if not self.depends(g) & reduced]

    @classmethod
    def of(cls, values: Values, axes: Sequence[tuple[Sym, int]], outputs: Sequence[Output],
           status: Array | None) -> Body:
        """The body with these outputs, over ``axes``, of which ``values`` has made the values."""
        gathers = tuple([g for found in values.gathers.values() for g in found])
        return cls(values.names, tuple(axes), tuple(outputs), tuple(values.reductions.values()), gathers, status)

    def stored(self, mapping: Mapping[Sym, Sym], locals: Mapping[str, Value] | None = None,
               lane: Axis | None = None) -> list[Statement]:
        """The stores at a place, or, with a lane, at as many neighbours, after what looks up their indices."""
        copy = self.instance(mapping, locals)
        stores = copy.stores()
        return [*copy.statements, *vectorised(lane, stores)]

    def instance(self, mapping: Mapping[Sym, Sym], locals: Mapping[str, Value] | None = None,
                 guard: Sym | None = None) -> Instance:
        """A copy with variables replaced by expressions and reductions by values."""
        return Instance(self, mapping, locals or {}, guard)


class Instance:
    """One copy of a body. ``statements`` must come before the values that were asked for: they look up gathered
    indices, and are no statements for a vector loop."""

    def __init__(self, body: Body, mapping: Mapping[Sym, Sym], locals: Mapping[str, Value], guard: Sym | None) -> None:
        self.body = body
        self.mapping: dict[Sym, Sym] = dict(mapping)
        self.locals = locals
        self.guard = guard
        self.statements: list[Statement] = []
        self.memo: dict[int, Value] = {}
        self.symbols: dict[Sym, Sym] = {}
        self.gathers = {g.var: g for g in body.gathers}

    def index(self, e: Sym) -> Sym:
        """An index expression with this copy's variables in place."""
        found = self.symbols.get(e)
        if found is None:
            if self.gathers:
                for v in variables(e):
                    if v in self.gathers and v not in self.mapping:
                        self._look_up(self.gathers[v])
            found = self.symbols[e] = substitute(self.body.index(e), self.mapping)
        return found

    def value(self, root: Value) -> Value:
        """A value with this copy's variables and reductions in place."""
        memo = self.memo
        if id(root) in memo:
            return memo[id(root)]
        for v in values((root,)):
            if id(v) in memo:
                continue
            new: Value = v
            if v.__class__ is Apply:
                srcs = tuple([memo[id(s)] for s in v.srcs])
                if any([a is not b for a, b in zip(srcs, v.srcs)]):
                    new = Apply(v.op, srcs, v.dtype)
            elif v.__class__ is Load:
                new = self._load(v)
            elif v.__class__ is Index:
                new = Index(self.index(v.index), v.dtype)
            elif v.__class__ is Local:
                new = self.locals.get(v.name, v)
            memo[id(v)] = new
        return memo[id(root)]

    def _load(self, v: Load) -> Value:
        guard = None if v.guard is None else self.index(v.guard)
        if self.guard is not None:
            guard = self.guard if guard is None else both(guard, self.guard)
        if guard is not None and guard.lo == 1:
            guard = None
        return Load(v.array, self.index(v.index), guard)

    def stores(self) -> list[Statement]:
        """The stage's stores, in their memory's dtypes. Of several, all values are computed before the first is stored:
        one may write where another reads (arrays of different names may be the same memory)."""
        outputs = self.body.outputs
        self.check(self.body.unread() if self.body.reductions else self.body.gathers)
        made = [convert(self.value(o.value), o.array.dtype) for o in outputs]
        lets: list[Statement] = []
        if len(outputs) > 1 and any(isinstance(v, Load) for v in values(made)):
            names = [self.body.names.fresh("y") for _ in made]
            lets = [Let(name, v) for name, v in zip(names, made, strict=True)]
            made = [Local(name, v.dtype) for name, v in zip(names, made, strict=True)]
        return lets + [Store(o.array, self.index(o.index), v) for o, v in zip(outputs, made, strict=True)]

    def check(self, gathers: Sequence[Gathered]) -> None:
        """Look up indices that must be in range even if no value depends on them."""
        for g in gathers:
            if g.check is not None and g.var not in self.mapping:
                self._look_up(g)

    def _guard_of(self, g: Gathered) -> Sym | None:
        """The part of this copy's guard that says something about what the gathered index is read from: the rest may
        count lanes, and the index is looked up before the vector loop."""
        if self.guard is None:
            return None
        read = {v for e in traffic([g.value]).indices() for v in variables(self.index(e))}
        kept = [p for p in conjuncts(self.guard) if read.intersection(variables(p))]
        return both(*kept) if kept else None

    def _look_up(self, g: Gathered) -> None:
        names, status = self.body.names, self.body.status
        guard, self.guard = self.guard, self._guard_of(g)
        value = convert(self.value(g.value), int64)
        self.guard = guard
        if isinstance(value, Index) and value.index.lo >= 0 and value.index.hi < max(1, g.size):
            self.mapping[g.var] = value.index  # known to be in range
            return
        bound = Local(names.fresh("at"), int64)
        self.statements.append(Let(bound.name, value))
        last = Const(max(0, g.size - 1), uint64)
        unsigned = Apply(Op.CAST, (bound,), uint64)  # a negative index is larger than any then: one comparison
        if g.check is not None and status is not None:
            outside: Value = last < unsigned
            if g.guard is not None:
                outside = Index(self.index(g.guard), bool_) & outside
            self.statements.append(If(outside, (Store(status, num(g.check), Const(g.position, status.dtype)),)))
        self.mapping[g.var] = num(0)
        if g.size > 1:
            self.mapping[g.var] = fresh = names.var("g", g.size)
            nearest = Apply(Op.MINIMUM, (unsigned, last), uint64)
            self.statements.append(LetIndex(fresh, Apply(Op.CAST, (nearest,), int64)))


def used_gathers(gathers: Sequence[Gathered], root: Value) -> list[Gathered]:
    """Those that ``root`` is read with, be it by way of another."""
    known = {g.var: g for g in gathers}
    used: set[Sym] = set()
    pending = [root]
    while pending:
        for e in traffic([pending.pop()]).indices():
            for v in variables(e):
                if v in known and v not in used:
                    used.add(v)
                    pending.append(known[v].value)
    return [g for g in gathers if g.var in used]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a set of values reads, and costs: ``loads``, index expressions used as values, guards, and ``cost`` in
    scalar operations; ``widest`` bytes of an element that arithmetic or memory touches."""

    loads: tuple[Load, ...]
    others: tuple[Sym, ...]
    cost: int
    widest: int

    def indices(self) -> Iterator[Sym]:
        """Every index expression, guards and values included."""
        for load in self.loads:
            yield load.index
        yield from self.others


def traffic(roots: Iterable[Value]) -> Traffic:
    """Look through the values below ``roots`` once."""
    loads: list[Load] = []
    others: list[Sym] = []
    cost, widest = 0, 1
    for v in values(roots):
        if v.__class__ is Apply:
            cost += 1 if v.op in DOTS else SCALAR_OPS[v.op].cost
            if any(s.__class__ is not Index and s.__class__ is not Const for s in v.srcs):
                widest = max(widest, v.dtype.size)
        elif v.__class__ is Load:
            loads.append(v)
            widest = max(widest, v.dtype.size)
            cost += 1
            if v.guard is not None:
                others.append(v.guard)
        elif v.__class__ is Index:
            others.append(v.index)
    return Traffic(tuple(loads), tuple(others), cost, widest)
