"""Stage: lower, strategy ``rows``. In: a body with reductions. Out: loops over the kept axes, in each of them loops
over the reduced axes with accumulators in registers. The lanes run along a reduced axis (and are folded at the end) or
along a kept one (each lane is a result). All combine in an order that only shapes and constants decide.
Next: ``copied.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from minigrad.errors import ScheduleError
from minigrad.kernel.ir import Apply, Array, Load, Statement, Value
from minigrad.lower.accumulate import LONGEST, Group, Points, identity
from minigrad.lower.axes import Axis, Names
from minigrad.lower.body import Body
from minigrad.lower.contraction import ROWS
from minigrad.lower.copied import Factor, find_factor
from minigrad.lower.nest import CHUNK, ZERO, Lowering, Nest, Part, loop, loops, parts, update, vectorised, when
from minigrad.lower.reductions import Choice, Domain, work_of_result
from minigrad.lower.steps import Space, Step, Steps, Strategy
from minigrad.lower.words import in_words
from minigrad.ops import REDUCE_OPS
from minigrad.symbolic import Sym, minimum, num
from minigrad.target import Target

STEPS = Strategy("rows", ("lanes", "parallel", "unroll", "accumulate", "keep", "word"),
                 (("sums", "scratch"), ("b", "scratch")))

COPY = 1.5
"""What an element of a copied factor costs, counted as what results cost: a copy of 5 × 1000 numbers that lie 5 apart
took 1.2 µs where a row of 5 results took 0.05 (AVX-512)."""



def rows_stage(body: Body, kept: list[Axis], domains: list[Domain], space: Space, target: Target,
               divide: bool, given: Steps | None = None) -> Lowering:
    """Lower a body with reductions, by the given steps or those that are chosen; ``divide`` its space among parallel
    iterations, or write it whole."""
    choice, factor = Choice(body, kept, domains, space, target), find_factor(body, kept, domains)
    per_result = work_of_result(body, domains)
    total = per_result * prod(a.size for a in kept)
    steps = _in_words(choice, _choose(choice, factor, total, divide)) if given is None else space.check(given, STEPS)
    rows = _Rows(choice, steps, factor)
    chunk = max(CHUNK, 8 * ROWS * per_result * prod(x.size for x in factor.product.b.own)) if (
        factor and rows.copied) else CHUNK
    each = per_result * rows.results if given is None else None
    return rows.lowered("rows", space, steps, total, divide, each, chunk)


def _choose(choice: Choice, factor: Factor | None, total: int, divide: bool) -> Steps:
    """The steps that are chosen: with a copy of a factor if results cost less then."""
    steps = choice.steps(total, divide)
    if factor is None:
        return steps
    copy = factor.copy(choice.kept, Names())
    other = Choice(copy.body, choice.kept, [copy.domain], choice.space, choice.target)
    found = other.steps(total, divide)
    if (other.cost + COPY * copy.domain.size / min(ROWS, factor.rows) >= choice.cost
            or not factor.is_worth_copying(found, choice.space, choice.target)):
        return steps
    return found + [Step("keep", ("b", "scratch"))]


def _in_words(choice: Choice, steps: Steps) -> Steps:
    """The steps with words, where the lanes of whole vectors run along a sum of products that has some."""
    for domain in choice.domains:
        axis = choice.space.lanes(steps, domain.axes)
        if axis is not None and not steps.keeps("b") and in_words(choice.body, domain, axis, choice.target) and (
                steps.count("lanes", choice.space.name(axis)) >= choice.lanes):
            return steps + [Step("word", (choice.space.name(axis),))]
    return steps


def runs_along_sum(body: Body, kept: list[Axis], domains: list[Domain], space: Space, target: Target) -> bool:
    """Whether the lanes would run along the sum of a product, and read whole vectors of both factors."""
    factor = find_factor(body, kept, domains)
    steps = _choose(Choice(body, kept, domains, space, target), factor, 0, False)
    along = any(str(step.args[0])[0] == "r" for step in steps.named("lanes"))
    return factor is not None and along and (steps.keeps("b") or not factor.is_apart)


class _Rows(Nest):
    """The loops. ``results``: how many one step of the innermost of ``loops`` gives; ``copied``: what copies a
    factor."""

    def __init__(self, choice: Choice, steps: Steps, factor: Factor | None) -> None:
        self.body, self.kept, self.domains, self.space = choice.body, choice.kept, choice.domains, choice.space
        self.steps, self.names = steps, choice.body.names
        self.lane_axis = self.space.lanes(steps, self.kept, choice.blocked)
        self.reduced = [self.space.lanes(steps, d.axes, choice.blocked) for d in self.domains]
        if self.lane_axis is not None and any(self.reduced):
            raise ScheduleError(f"{steps}: the lanes run along a kept axis or along reduced ones")
        tiles = {a: n for a in self.kept if a is not self.lane_axis
                 and (n := steps.count("unroll", self.space.name(a))) > 1}
        divided = [self.space.axes[str(step.args[0])] for step in steps.named("parallel")]
        self.tiles = dict(sorted(tiles.items(), key=lambda item: (item[0] not in divided, -(item[0].size // item[1]))))
        if self.lane_axis is not None and self.tiles:
            raise ScheduleError(f"{steps}: several results at once are those of lanes, or those of kept axes where no "
                                "kept axis has the lanes")
        self.in_memory = steps.keeps("sums")
        self.copied: list[Statement] = []
        if steps.keeps("b"):
            self._keep_factor(factor, choice.target)
        self.words: dict[Axis, Axis] = {}
        for step in steps.named("word"):
            self._join_words(step, choice.target)
        self.parts: list[Part] = []
        self.loops = [(self.space.name(a), a) for a in self.kept if a is not self.lane_axis and a not in self.tiles]
        self.results = 1
        if self.tiles:  # the first of their loops may be divided, the others are inside
            first, *others = self.tiles
            self.results = self.tiles[first] * prod(a.size for a in others)
            if first.size >= 2 * self.tiles[first]:
                count = first.size // self.tiles[first]
                self.vectors = self.names.axis("t", count)
                self.loops.append((self.space.name(first), self.vectors))
        if self.lane_axis is not None:
            name = self.space.name(self.lane_axis)
            self.parts = parts(self.lane_axis.size, steps.count("lanes", name), steps.count("unroll", name))
            main = self.parts[0]
            self.results = self.lane_axis.size
            if main.count > 1:
                self.vectors = self.names.axis("v", main.count)
                self.loops.append((name, self.vectors))
                self.results = main.lanes * main.unroll

    def _keep_factor(self, factor: Factor | None, target: Target) -> None:
        """Read a factor of the sum from a copy of what all tiles need of it."""
        if factor is None or self.lane_axis is not None:
            raise ScheduleError(f"{self.steps}: keep(b, scratch) wants a sum of products of two factors with axes of "
                                "their own, and no lanes along a kept axis")
        copy = factor.copy(list(self.tiles), self.names)
        self.body, self.domains, self.copied = copy.body, [copy.domain], copy.statements(target)

    def _join_words(self, step: Step, target: Target) -> None:
        """Sum along words of neighbours, where they have the lanes."""
        axis = self.space.axes[str(step.args[0])]
        made = None if self.reduced != [axis] or self.copied else in_words(self.body, self.domains[0], axis, target)
        if made is None:
            raise ScheduleError(f"{self.steps}: word() wants the lanes along the sum of products of two factors that "
                                f"lie along it, of {' or '.join(target.dots) or 'no type here'}")
        self.body, domain, self.words[axis] = made
        self.domains = [domain]

    # --- the loops over the results

    def row(self, start: Sym = ZERO, stop: Sym | None = None, last: Sym | None = None,
            most: int = 0) -> list[Statement]:
        return [*self._inside(start, stop), *when(last, self._rest())]

    def _inside(self, start: Sym, stop: Sym | None) -> list[Statement]:
        """One result, or whole tiles of them, or all whole vectors of a row."""
        if self.lane_axis is None:
            if self.vectors is None:
                return self.copied + self._tiled(list(self.tiles), [{}])
            inside = self._tiles_at(list(self.tiles), [{}], self.vectors.var)
            return [*self.copied, loop(self.vectors, inside, start=start, stop=stop)]
        main = self.parts[0]
        if self.vectors is None:
            return self._columns(self.lane_axis, main, num(main.start))
        inside = self._columns(self.lane_axis, main, self.vectors.var * (main.lanes * main.unroll))
        return [loop(self.vectors, inside, start=start, stop=stop)]

    def _rest(self) -> list[Statement]:
        """What is left of a row."""
        rest: list[Statement] = []
        if self.vectors is not None and self.tiles:
            rest += self._tiles_left(list(self.tiles), [{}])
        for part in self.parts[1:]:
            assert self.lane_axis is not None
            if part.count == 1:
                rest += self._columns(self.lane_axis, part, num(part.start))
            else:
                axis = self.names.axis("v", part.count)
                rest.append(loop(axis, self._columns(self.lane_axis, part, axis.var * part.lanes + part.start)))
        return rest

    # --- lanes along a reduced axis

    def _tiled(self, axes: Sequence[Axis], points: Points) -> list[Statement]:
        """Results at all places along ``axes``, at each a tile of them, for all ``points`` of other axes."""
        if not axes:
            return self._results(points)
        count = axes[0].size // self.tiles[axes[0]]
        main = self.names.axis("t", count)
        whole = self._tiles_at(axes, points, main.var if count > 1 else num(0)) if count else []
        return ([loop(main, whole)] if count > 1 else whole) + self._tiles_left(axes, points)

    def _tiles_at(self, axes: Sequence[Axis], points: Points, number: Sym) -> list[Statement]:
        axis, size = axes[0], self.tiles[axes[0]]
        return self._tiled(axes[1:], [{**p, axis.var: number * size + u} for p in points for u in range(size)])

    def _tiles_left(self, axes: Sequence[Axis], points: Points) -> list[Statement]:
        axis = axes[0]
        left = range(axis.size - axis.size % self.tiles[axis], axis.size)
        return self._tiled(axes[1:], [{**p, axis.var: num(u)} for p in points for u in left]) if left else []

    def _results(self, points: Points) -> list[Statement]:
        statements: list[Statement] = []
        found: list[dict[str, Value]] = [{} for _ in points]
        for d in self.domains:
            statements += self._reduce(d, points, found)
        for mapping, values in zip(points, found, strict=True):
            statements += self.body.stored(mapping, values)
        return statements

    def _reduce(self, d: Domain, points: Points, found: list[dict[str, Value]]) -> list[Statement]:
        """One domain's reductions at some results: ``found`` gets the values of each."""
        if d.size == 0:
            for values in found:
                values.update({r.local.name: identity(r) for r in d.reductions})
            return []
        group = _Group(self, d, points)
        lane_axis = self.reduced[self.domains.index(d)]
        if lane_axis is None:
            accumulators = group.accumulators(1, 1)
            inside = group.levels(d.axes, 1, lambda into: group.add({}, into, num(0)), accumulators)
            return group.allocs(accumulators) + inside + group.fold(accumulators, found)
        name = self.space.name(lane_axis)
        lanes, unroll = self.steps.count("lanes", name), self.steps.count("accumulate", name)
        lane_axis = self.words.get(lane_axis, lane_axis)
        full = lane_axis.size // lanes
        accumulators = group.accumulators(unroll, lanes)

        def along(into: list[Array]) -> list[Statement]:
            return group.along_lanes(lane_axis, lanes, unroll, into)

        outer = [a for a in d.axes if a is not lane_axis]
        inside = group.levels(outer, min(LONGEST, full // unroll + 1), along, accumulators)
        return group.allocs(accumulators) + inside + group.fold(accumulators, found)

    # --- lanes along a kept axis

    def _columns(self, lane_axis: Axis, part: Part, at: Sym) -> list[Statement]:
        """``unroll`` vectors of results from ``at``."""
        statements: list[Statement] = []
        found: list[tuple[str, Array]] = []
        register = self.names.axis("u", part.unroll) if part.unroll > 1 else None
        lane = self.names.axis("l", part.lanes) if part.lanes > 1 else None
        slot = register.var * part.lanes if register else num(0)
        for d in self.domains:
            group = _Group(self, d, [{}], in_memory=self.in_memory and part.unroll >= 4)
            accumulators = group.accumulators(part.unroll, part.lanes)
            statements += group.allocs(accumulators)
            statements += group.along_steps(lane_axis, part, at, accumulators)
            found += [(r.local.name, array) for r, array in zip(d.reductions, accumulators, strict=True)]
        position = at + slot + (lane.var if lane else 0)
        own = slot + (lane.var if lane else 0)
        inside = self.body.stored({lane_axis.var: position}, {name: Load(array, own) for name, array in found}, lane)
        kind = "serial" if self.in_memory and part.unroll >= 4 else "unroll"
        return statements + ([loop(register, inside, kind)] if register else inside)


class _Group(Group):
    """The loops of a parallel iteration; accumulators may be memory if they are many."""

    def __init__(self, rows: _Rows, domain: Domain, points: Points, in_memory: bool = False) -> None:
        super().__init__(rows.body, domain, points, in_memory)
        self.rows = rows

    def levels(self, axes: Sequence[Axis], chain: int, inside: Callable[[list[Array]], list[Statement]],
               into: list[Array]) -> list[Statement]:
        """Loops over ``axes`` around what ``inside`` adds to accumulators (``chain`` additions in a row). Long chains
        of float additions are cut: each block is summed by itself, then added to ``into``; blocks of blocks
        likewise."""
        total = chain
        for a in axes:
            total *= a.size
        if total <= LONGEST or not self.rounds:
            return loops(axes, inside(into))
        cut = len(axes) - 1
        while cut > 0 and chain * axes[cut].size <= LONGEST:
            chain *= axes[cut].size
            cut -= 1
        axis = axes[cut]
        block = max(1, LONGEST // chain)
        blocks = self.names.axis("b", -(-axis.size // block))
        start = blocks.var * block
        stop = minimum(start + block, num(axis.size))

        def one_block(into: list[Array]) -> list[Statement]:
            return self.apart(into, lambda partial: [loop(axis, loops(axes[cut + 1:], inside(partial)), start=start,
                                                          stop=stop)])

        return self.levels([*axes[:cut], blocks], 1, one_block, into)

    def along_steps(self, lane_axis: Axis, part: Part, at: Sym, accumulators: list[Array]) -> list[Statement]:
        """All loops over the reduced axes for vectors of results. Several steps of the innermost are taken at once:
        they read as many streams of memory side by side."""
        axes = self.domain.axes
        many = self.rows.steps.count("unroll", self.rows.space.name(axes[-1])) if axes else 1

        def add(mapping: dict[Sym, Sym], into: list[Array], step: Sym | None = None) -> list[Statement]:
            u = self.names.axis("u", part.unroll) if part.unroll > 1 else None
            position = u.var * part.lanes if u else num(0)
            at_lane = {**mapping, lane_axis.var: at + position}
            if step is None:
                inside = self.add(at_lane, into, position, part.lanes, lane_axis)
            else:
                steps = [{axes[-1].var: step * many + n} for n in range(many)]
                inside = self.add_together(at_lane, steps, into, position, part.lanes, lane_axis)
            return [loop(u, inside, self.kind)] if u else inside

        if many == 1:
            return self.levels(axes, 1, lambda into: add({}, into), accumulators)
        last = axes[-1]

        def along(into: list[Array]) -> list[Statement]:
            steps = self.names.axis("r", last.size // many)
            statements = self.levels([steps], 1, lambda into: add({}, into, steps.var), into)
            rest = self.names.axis("r", last.size % many)
            if rest.size:
                first = last.size - rest.size
                statements.append(loop(rest, add({last.var: rest.var + first}, into)))
            return statements

        return self.levels(axes[:-1], min(LONGEST, last.size), along, accumulators)

    def along_lanes(self, lane_axis: Axis, lanes: int, unroll: int, into: list[Array]) -> list[Statement]:
        """Everything along the lane axis: unrolled vectors, then vectors, then one that is masked."""
        full, left = divmod(lane_axis.size, lanes)
        rounds, single = divmod(full, unroll)
        statements: list[Statement] = []
        if rounds:
            steps = self.names.axis("v", rounds)

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
        u = self.names.axis("u", unroll)
        slot = u.var * lanes
        return [loop(u, self.add({lane_axis.var: at + slot}, into, slot, lanes, lane_axis), "unroll")]

    def add_together(self, mapping: dict[Sym, Sym], steps: Sequence[dict[Sym, Sym]], into: Sequence[Array], slot: Sym,
                     lanes: int, lane_axis: Axis) -> list[Statement]:
        """Several steps of a reduced axis at once: joined pair by pair, then with the accumulator."""
        lane = self.names.axis("l", lanes) if lanes > 1 else None
        mapping = {**self.points[0], **mapping}
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
            stores.append(update(array, slot, op, made[0]))
        for copy in copies:
            copy.check(self.unread)
        head = [s for copy in copies for s in copy.statements]
        return [*head, *vectorised(lane, stores)]
