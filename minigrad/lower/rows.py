"""Stage: lower, strategy ``rows``. In: a body with reductions. Out: loops over the kept axes, in each of them loops
over the reduced axes with accumulators in registers. The lanes run along a reduced axis (and are folded at the end) or
along a kept one (each lane is a result). All combine in an order that only shapes and constants decide.
Next: ``contraction.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from minigrad.dtype import DType, bool_
from minigrad.kernel.ir import Alloc, Apply, Array, Const, Fold, Index, Load, Local, Statement, Store, Value
from minigrad.lower.axes import Axes, Axis
from minigrad.lower.body import Body, Instance, Traffic, traffic
from minigrad.lower.cost import AHEAD, axis_cost, lanes_for, per_vector
from minigrad.lower.map import Lowering
from minigrad.lower.nest import CHUNK, Part, loop, loops, parallel, parts, share, when
from minigrad.lower.values import Reduction
from minigrad.ops import REDUCE_OPS, Op
from minigrad.symbolic import Sym, coefficient, minimum, num
from minigrad.target import Target

WIDE = 512
"""Results of a block of columns that are added up in memory."""

LONGEST = 64
"""Additions in a row that one float accumulator takes before it is added to the next level's: errors grow with the
longest chain, not with the length of the sum."""


@dataclass
class Domain:
    """Reductions that share one loop nest: over ``axes``."""

    reductions: list[Reduction]
    axes: list[Axis]
    work: Traffic

    @property
    def size(self) -> int:
        n = 1
        for a in self.axes:
            n *= a.size
        return n


def identity(reduction: Reduction) -> Const:
    """The neutral element of a reduction, in the dtype it accumulates in."""
    dtype = reduction.value.dtype
    value = REDUCE_OPS[reduction.node.op].identity(dtype)
    return Const(float(value) if dtype.is_float else value, dtype)


def combine(reduction: Reduction, partial: Value, value: Value) -> Value:
    """``partial`` joined with one more value; a product goes into a sum with one rounding."""
    op = REDUCE_OPS[reduction.node.op].combine
    if op == Op.ADD and isinstance(value, Apply) and value.op == Op.MUL and value.dtype.is_float:
        return Apply(Op.FMA, (*value.srcs, partial), value.dtype)
    return Apply(op, (partial, value), value.dtype)


def simplify_axes(body: Body) -> tuple[list[Axis], list[Domain]]:
    """Split, order and merge kept axes and the reduced axes of each domain."""
    gathered = list(traffic([g.value for g in body.gathers]).indices())
    stores = list(dict.fromkeys(o.index for o in body.outputs))
    epilogue = traffic([o.value for o in body.outputs])
    whole = traffic([r.value for r in body.reductions])
    kept = Axes(body.names, body.axes, [*stores, *epilogue.indices(), *whole.indices(), *gathered])
    kept.split()
    kept.order([e for e in kept.indices[:len(stores)]])
    kept.merge()
    body.mapping = dict(kept.mapping)
    domains = []
    groups: dict[tuple[Sym, ...], list[Reduction]] = {}
    for r in body.reductions:
        groups.setdefault(r.vars, []).append(r)
    for variables, group in groups.items():
        work = traffic([r.value for r in group])
        reduced = Axes(body.names, list(zip(variables, group[0].sizes, strict=True)), [*work.indices(), *gathered])
        reduced.split()
        reduced.order([x.index for x in work.loads] if not reduced.mapping else [])
        reduced.merge()
        body.mapping.update(reduced.mapping)
        domains.append(Domain(group, reduced.list, work))
    return kept.list, domains


def rows_stage(body: Body, kept: list[Axis], domains: list[Domain], target: Target, divide: bool) -> Lowering:
    """Lower a body with reductions; ``divide`` its space among parallel iterations, or write it whole."""
    rows = _Rows(body, target, kept, domains)
    lane_axis = rows.choose()
    total = sum((d.work.cost + len(d.reductions)) * d.size for d in domains)
    total += traffic([o.value for o in body.outputs]).cost + len(body.outputs)
    per_result = total
    for axis in kept:
        total *= axis.size
    note = f"rows: kept {[a.size for a in kept]}, reduced {[[a.size for a in d.axes] for d in domains]}"
    if lane_axis is not None:
        return rows.along_kept(lane_axis, per_result, total, note, divide)
    return rows.along_reduced(per_result, total, note, divide)


class _Rows:
    def __init__(self, body: Body, target: Target, kept: list[Axis], domains: list[Domain]) -> None:
        self.body, self.target, self.kept, self.domains = body, target, kept, domains
        self.names = body.names
        self.streams = False
        self.blocked = body.gathering()
        self.lanes = lanes_for(target, max([d.work.widest for d in domains] + [
            r.value.dtype.size for r in body.reductions]))

    # --- which axis the lanes run along

    def choose(self) -> Axis | None:
        """The kept axis for the lanes, or None for the reduced ones (each domain then has its own)."""
        if not self.domains or any(d.size == 0 for d in self.domains):
            return None
        along_reduced = sum(self._reduced_choice(d)[1] for d in self.domains)
        stores = [self.body.index(o.index) for o in self.body.outputs]
        best, least = None, along_reduced
        for axis in reversed(self.kept):
            if axis.var in self.blocked or axis.size < 2 or self.lanes == 1:
                continue
            cost = sum(d.size * axis_cost(self.body, d.work, (), axis, self.lanes) for d in self.domains)
            cost += axis_cost(self.body, traffic([o.value for o in self.body.outputs]), stores, axis, self.lanes)
            if cost < least:
                best, least = axis, cost
        return best

    def _reduced_choice(self, d: Domain) -> tuple[Axis | None, float]:
        """The reduced axis for the lanes of a domain (None: single elements), and what a result costs."""
        best, least = None, d.size * (d.work.cost + 3.0 * len(d.reductions)) + 2
        for axis in reversed(d.axes):
            if axis.var in self.blocked or axis.size < 4 or self.lanes == 1:
                continue
            cost = d.size * axis_cost(self.body, d.work, (), axis, self.lanes, masked=True) + 12 * len(d.reductions)
            if cost < least:
                best, least = axis, cost
        return best, least

    # --- lanes along a reduced axis

    def along_reduced(self, per_result: int, total: int, note: str, divide: bool) -> Lowering:
        """Each result by itself."""
        note += "".join(f", {self._width(a)} lanes along a reduced axis of {a.size}" if a else ", single elements"
                        for a in (self._reduced_choice(d)[0] for d in self.domains))
        if not divide:
            return Lowering(loops(self.kept, self._result({})), note, total)
        s = share(self.kept, per_result)
        head = parallel(self.names, s)
        inside = self._result({})
        if self.kept:
            inside = [loop(s.axes[s.cut], loops(s.axes[s.cut + 1:], inside), start=head.start, stop=head.stop)]
        return Lowering(inside, note + f"; {s.extent} iterations", total, head)

    def _result(self, mapping: dict[Sym, Sym]) -> list[Statement]:
        statements: list[Statement] = []
        found: dict[str, Value] = {}
        for d in self.domains:
            statements += self._reduce(d, mapping, found)
        copy = self.body.instance(mapping, found)
        stores = copy.stores()
        return [*statements, *copy.statements, *stores]

    def _width(self, axis: Axis) -> int:
        width = self.lanes
        while width // 2 >= axis.size:
            width //= 2
        return width

    def _reduce(self, d: Domain, mapping: dict[Sym, Sym], found: dict[str, Value]) -> list[Statement]:
        """One domain's reductions at one result: ``found`` gets their values."""
        if d.size == 0:
            found.update({r.local.name: identity(r) for r in d.reductions})
            return []
        lane_axis = self._reduced_choice(d)[0]
        if lane_axis is None:
            return self._reduce_single(d, mapping, found)
        lanes = self._width(lane_axis)
        full = lane_axis.size // lanes
        unroll = 4 if len(d.reductions) <= 2 else 2
        while unroll > 1 and full < unroll:
            unroll //= 2
        group = _Group(self, d, mapping)
        accumulators = group.accumulators(unroll, lanes)
        allocs = group.allocs(accumulators)

        def along(into: list[Array]) -> list[Statement]:
            return group.along_lanes(lane_axis, lanes, unroll, into)

        outer = [a for a in d.axes if a is not lane_axis]
        inside = group.levels(outer, min(LONGEST, full // unroll + 1), along, accumulators)
        return allocs + inside + group.fold(accumulators, found)

    def _reduce_single(self, d: Domain, mapping: dict[Sym, Sym], found: dict[str, Value]) -> list[Statement]:
        group = _Group(self, d, mapping)
        accumulators = group.accumulators(1, 1)
        inside = group.levels(d.axes, 1, lambda into: group.add({}, into, num(0)), accumulators)
        found.update({r.local.name: Load(array, num(0)) for r, array in zip(d.reductions, accumulators, strict=True)})
        return group.allocs(accumulators) + inside

    # --- lanes along a kept axis

    def along_kept(self, lane_axis: Axis, per_result: int, total: int, note: str, divide: bool) -> Lowering:
        """A vector of results at a time, several vectors side by side."""
        count = sum(len(d.reductions) for d in self.domains)
        self.streams = self._streams(lane_axis)
        unroll = max(1, min(8 // count, AHEAD // sum(self.per_vector(d, lane_axis) for d in self.domains)))
        unroll = 1 << unroll.bit_length() - 1
        if self.streams:
            unroll = WIDE // self.lanes
            results = prod(a.size for a in self.kept)
            while divide and unroll > 4 and total > 4 * CHUNK and (
                    results < self.target.parallel_min * unroll * self.lanes):
                unroll //= 2
        while unroll > 1 and unroll * self.lanes > lane_axis.size:
            unroll //= 2
        pieces = parts(lane_axis.size, self.lanes, unroll)
        outer = [a for a in self.kept if a is not lane_axis]
        main = pieces[0]
        note += f", {unroll} × {main.lanes} lanes along a kept axis of {lane_axis.size}"
        steps = Axis(self.names.var("v", main.count), main.count)
        inside = self._columns(lane_axis, main, steps.var * (main.lanes * main.unroll))
        rest: list[Statement] = []
        for part in pieces[1:]:
            if part.count == 1:
                rest += self._columns(lane_axis, part, num(part.start))
            else:
                axis = Axis(self.names.var("v", part.count), part.count)
                rest.append(loop(axis, self._columns(lane_axis, part, axis.var * part.lanes + part.start)))
        looped = main.count > 1
        if not divide:
            return Lowering(loops(outer, ([loop(steps, inside)] if looped else inside) + rest), note, total)
        if not looped:
            s = share(outer, per_result * lane_axis.size)
            head = parallel(self.names, s)
            body = inside + rest
            if outer:
                body = [loop(s.axes[s.cut], loops(s.axes[s.cut + 1:], body), start=head.start, stop=head.stop)]
            return Lowering(body, note + f"; {s.extent} iterations", total, head)
        s = share([*outer, steps], per_result * main.lanes * main.unroll)
        head = parallel(self.names, s)
        if s.cut == len(outer):
            body = [loop(steps, inside, start=head.start, stop=head.stop), *when(head.last, rest)]
        else:
            body = loops(s.axes[s.cut + 1:-1], [loop(steps, inside), *rest])
            body = [loop(s.axes[s.cut], body, start=head.start, stop=head.stop)]
        return Lowering(body, note + f"; {s.extent} iterations", total, head)

    def _streams(self, lane_axis: Axis) -> bool:
        """Whether many rows are added up that lie one after the other in memory, and little else is done: then wide
        blocks of results, in the first cache, let a row be read in long runs."""
        d = self.domains[0]
        indices = [self.body.index(x.index) for x in d.work.loads]
        return (len(self.domains) == 1 and lane_axis.size >= WIDE // 4 and d.size >= 64 and d.work.cost <= 8
                and bool(indices) and all(coefficient(e, lane_axis.var) in (0, 1) for e in indices))

    def per_vector(self, d: Domain, lane_axis: Axis) -> int:
        """Instructions that a vector of a domain takes, roughly."""
        return len(d.reductions) + per_vector(self.body, d.work, lane_axis, self.lanes)

    def _columns(self, lane_axis: Axis, part: Part, at: Sym) -> list[Statement]:
        """``unroll`` vectors of results from ``at``."""
        statements: list[Statement] = []
        found: list[tuple[str, Array]] = []
        register = Axis(self.names.var("u", part.unroll), part.unroll) if part.unroll > 1 else None
        lane = Axis(self.names.var("l", part.lanes), part.lanes) if part.lanes > 1 else None
        slot = register.var * part.lanes if register else num(0)
        for d in self.domains:
            group = _Group(self, d, {}, in_memory=self.streams and part.unroll >= 4)
            accumulators = group.accumulators(part.unroll, part.lanes)
            statements += group.allocs(accumulators)
            statements += group.along_steps(lane_axis, part, at, accumulators)
            found += [(r.local.name, array) for r, array in zip(d.reductions, accumulators, strict=True)]
        position = at + slot + (lane.var if lane else 0)
        own = slot + (lane.var if lane else 0)
        copy = self.body.instance({lane_axis.var: position}, {name: Load(array, own) for name, array in found})
        stores = copy.stores()
        inside = [*copy.statements, *([loop(lane, stores, "vector")] if lane else stores)]
        kind = "serial" if self.streams and part.unroll >= 4 else "unroll"
        return statements + ([loop(register, inside, kind)] if register else inside)


class _Group:
    """The reductions of one domain at one place of the kept axes; accumulators are registers, or memory if they are
    many."""

    def __init__(self, rows: _Rows, domain: Domain, mapping: dict[Sym, Sym], in_memory: bool = False) -> None:
        self.rows, self.domain, self.mapping = rows, domain, mapping
        self.kind = "serial" if in_memory else "unroll"
        self.in_memory, self.lanes = in_memory, 1
        self.body, self.names = rows.body, rows.names
        self.unread = self.body.unread({a.var for a in domain.axes})

    def accumulators(self, unroll: int, lanes: int) -> list[Array]:
        """An array for each reduction: ``unroll`` vectors."""
        self.lanes = lanes
        return [self._array("acc", r.value.dtype, unroll * lanes) for r in self.domain.reductions]

    def _array(self, stem: str, dtype: DType, size: int) -> Array:
        scope, lanes = ("scratch", 1) if self.in_memory else ("register", self.lanes)
        return Array(self.names.fresh(stem), dtype, size, scope, lanes, True)

    def allocs(self, accumulators: Sequence[Array]) -> list[Statement]:
        """Bring accumulators to life, neutral."""
        return [Alloc(a, identity(r)) for r, a in zip(self.domain.reductions, accumulators, strict=True)]

    def levels(self, axes: Sequence[Axis], chain: int, inside: Callable[[list[Array]], list[Statement]],
               into: list[Array]) -> list[Statement]:
        """Loops over ``axes`` around what ``inside`` adds to accumulators (``chain`` additions in a row). Long chains
        of float additions are cut: each block is summed by itself, then added to ``into``; blocks of blocks
        likewise."""
        total = chain
        for a in axes:
            total *= a.size
        dtypes: list[DType] = [r.value.dtype for r in self.domain.reductions]
        if total <= LONGEST or not any(d.is_float for d in dtypes) or all(
                r.node.op in (Op.MAX, Op.MIN) for r in self.domain.reductions):
            return loops(axes, inside(into))
        cut = len(axes) - 1
        while cut > 0 and chain * axes[cut].size <= LONGEST:
            chain *= axes[cut].size
            cut -= 1
        axis = axes[cut]
        block = max(1, LONGEST // chain)
        blocks = Axis(self.names.var("b", -(-axis.size // block)), -(-axis.size // block))
        start = blocks.var * block
        stop = minimum(start + block, num(axis.size))

        def one_block(into: list[Array]) -> list[Statement]:
            partial = [self._array("part", a.dtype, a.size) for a in into]
            body = loop(axis, loops(axes[cut + 1:], inside(partial)), start=start, stop=stop)
            return [*self.allocs(partial), body, *self._join(into, partial)]

        return self.levels([*axes[:cut], blocks], 1, one_block, into)

    def along_steps(self, lane_axis: Axis, part: Part, at: Sym, accumulators: list[Array]) -> list[Statement]:
        """All loops over the reduced axes for vectors of results. Several steps of the innermost are taken at once:
        they read as many streams of memory side by side."""
        axes = self.domain.axes
        width = 8 if self.in_memory else part.unroll
        many = max(1, min(8, AHEAD // (width * self.rows.per_vector(self.domain, lane_axis))))

        def add(mapping: dict[Sym, Sym], into: list[Array], step: Sym | None = None) -> list[Statement]:
            u = Axis(self.names.var("u", part.unroll), part.unroll) if part.unroll > 1 else None
            position = u.var * part.lanes if u else num(0)
            at_lane = {**mapping, lane_axis.var: at + position}
            if step is None:
                inside = self.add(at_lane, into, position, part.lanes, lane_axis)
            else:
                steps = [{axes[-1].var: step * many + n} for n in range(many)]
                inside = self.add_together(at_lane, steps, into, position, part.lanes, lane_axis)
            return [loop(u, inside, self.kind)] if u else inside

        if not axes or axes[-1].size < 2 * many or many == 1:
            return self.levels(axes, 1, lambda into: add({}, into), accumulators)
        last = axes[-1]

        def along(into: list[Array]) -> list[Statement]:
            steps = Axis(self.names.var("r", last.size // many), last.size // many)
            statements = self.levels([steps], 1, lambda into: add({}, into, steps.var), into)
            rest = Axis(self.names.var("r", last.size % many), last.size % many)
            if rest.size:
                first = last.size - rest.size
                statements.append(loop(rest, add({last.var: rest.var + first}, into)))
            return statements

        return self.levels(axes[:-1], min(LONGEST, last.size), along, accumulators)

    def _join(self, into: Sequence[Array], partial: Sequence[Array]) -> list[Statement]:
        statements: list[Statement] = []
        for r, a, b in zip(self.domain.reductions, into, partial, strict=True):
            lane = Axis(self.names.var("l", self.lanes), self.lanes) if self.lanes > 1 else None
            registers = a.size // self.lanes
            u = Axis(self.names.var("u", registers), registers) if registers > 1 else None
            at = (u.var * self.lanes if u else num(0)) + (lane.var if lane else 0)
            op = REDUCE_OPS[r.node.op].combine
            inside: list[Statement] = [Store(a, at, Apply(op, (Load(a, at), Load(b, at)), a.dtype))]
            if lane:
                inside = [loop(lane, inside, "vector")]
            statements += [loop(u, inside, self.kind)] if u else inside
        return statements

    def along_lanes(self, lane_axis: Axis, lanes: int, unroll: int, into: list[Array]) -> list[Statement]:
        """Everything along the lane axis: unrolled vectors, then vectors, then one that is masked."""
        full, left = divmod(lane_axis.size, lanes)
        rounds, single = divmod(full, unroll)
        statements: list[Statement] = []
        if rounds:
            steps = Axis(self.names.var("v", rounds), rounds)

            def step(accumulators: list[Array]) -> list[Statement]:
                return self._unrolled(lane_axis, steps.var * (unroll * lanes), lanes, unroll, accumulators)

            if rounds == 1:
                statements += self._unrolled(lane_axis, num(0), lanes, unroll, into)
            else:
                statements += self.levels([steps], 1, step, into)
        at = rounds * unroll * lanes
        if single:
            statements += self._unrolled(lane_axis, num(at), lanes, single, into)
            at += single * lanes
        if left:
            slot = num(single % unroll * lanes)
            statements += self.add({lane_axis.var: num(at)}, into, slot, lanes, lane_axis, left)
        return statements

    def _unrolled(self, lane_axis: Axis, at: Sym, lanes: int, unroll: int, into: list[Array]) -> list[Statement]:
        if unroll == 1:
            return self.add({lane_axis.var: at}, into, num(0), lanes, lane_axis)
        u = Axis(self.names.var("u", unroll), unroll)
        slot = u.var * lanes
        return [loop(u, self.add({lane_axis.var: at + slot}, into, slot, lanes, lane_axis), "unroll")]

    def add(self, mapping: dict[Sym, Sym], into: Sequence[Array], slot: Sym, lanes: int = 1,
            lane_axis: Axis | None = None, left: int | None = None) -> list[Statement]:
        """One vector (or element) more in the accumulators; of a masked one only the first ``left`` lanes."""
        mapping = {**self.mapping, **mapping}
        lane = Axis(self.names.var("l", lanes), lanes) if lanes > 1 else None
        guard = None
        if lane is not None and lane_axis is not None:
            mapping[lane_axis.var] = mapping[lane_axis.var] + lane.var
            slot = slot + lane.var
            guard = lane.var < left if left is not None else None
        copy: Instance = self.body.instance(mapping, guard=guard)
        statements: list[Statement] = []
        for r, array in zip(self.domain.reductions, into, strict=True):
            value = copy.value(r.value)
            if guard is not None:
                value = Apply(Op.WHERE, (Index(guard, bool_), value, identity(r)), value.dtype)
            statements.append(Store(array, slot, combine(r, Load(array, slot), value)))
        copy.check(self.unread)
        return [*copy.statements, *([loop(lane, statements, "vector")] if lane else statements)]

    def add_together(self, mapping: dict[Sym, Sym], steps: Sequence[dict[Sym, Sym]], into: Sequence[Array], slot: Sym,
                     lanes: int, lane_axis: Axis) -> list[Statement]:
        """Several steps of a reduced axis at once: joined pair by pair, then with the accumulator."""
        lane = Axis(self.names.var("l", lanes), lanes) if lanes > 1 else None
        mapping = {**self.mapping, **mapping}
        if lane is not None:
            mapping[lane_axis.var] = mapping[lane_axis.var] + lane.var
            slot = slot + lane.var
        copies = [self.body.instance({**mapping, **step}) for step in steps]
        stores: list[Statement] = []
        for r, array in zip(self.domain.reductions, into, strict=True):
            made = [copy.value(r.value) for copy in copies]
            op = REDUCE_OPS[r.node.op].combine
            while len(made) > 1:
                made = [Apply(op, (a, b), a.dtype) for a, b in zip(made[::2], made[1::2], strict=False)] + (
                    made[-1:] if len(made) % 2 else [])
            stores.append(Store(array, slot, Apply(op, (Load(array, slot), made[0]), array.dtype)))
        for copy in copies:
            copy.check(self.unread)
        head = [s for copy in copies for s in copy.statements]
        return [*head, *([loop(lane, stores, "vector")] if lane else stores)]

    def fold(self, accumulators: Sequence[Array], found: dict[str, Value]) -> list[Statement]:
        """Each accumulator's registers and lanes joined to one value."""
        statements: list[Statement] = []
        for r, array in zip(self.domain.reductions, accumulators, strict=True):
            name = self.names.fresh("total")
            statements.append(Fold(name, array, REDUCE_OPS[r.node.op].combine))
            found[r.local.name] = Local(name, array.dtype)
        return statements
