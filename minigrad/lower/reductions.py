"""Stage: lower, strategy ``rows``. In: a body with reductions. Out: its axes, and the steps that are chosen for it: the
lanes run along a reduced axis (and are folded at the end) or along a kept one (each lane is a result).
Next: ``accumulate.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from minigrad.lower.axes import Axes, Axis
from minigrad.lower.body import Body, Traffic, traffic
from minigrad.lower.cost import axis_cost, per_vector
from minigrad.lower.nest import CHUNK, parts
from minigrad.lower.steps import Space, Step, Steps
from minigrad.lower.values import Reduction
from minigrad.symbolic import Sym, coefficient
from minigrad.target import Target

WIDE = 512
"""Results of a block of columns that are added up in memory."""


CHAINS = 16
"""Sums side by side that are enough for none to wait for the one before."""

WRITTEN = 56
"""Results that are written out at most, in tiles and in what is left of both axes: some 1.8 KB of text each. What is
made of a result after its sum counts, too."""

FOLD = 12
"""What it costs to join the lanes of an accumulator, one after the other, counted in operations."""


@dataclass
class Domain:
    """Reductions that share one loop nest: over ``axes``."""

    reductions: list[Reduction]
    axes: list[Axis]
    work: Traffic

    @property
    def size(self) -> int:
        return prod([a.size for a in self.axes])


def work_of_result(body: Body, domains: Sequence[Domain]) -> int:
    """Scalar operations of a result and of what it sums."""
    after = traffic([o.value for o in body.outputs]).cost + len(body.outputs)
    return after + sum((d.work.cost + len(d.reductions)) * d.size for d in domains)


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


class Choice:
    """Which axis the lanes run along, and how many vectors there are side by side."""

    def __init__(self, body: Body, kept: list[Axis], domains: list[Domain], space: Space, target: Target) -> None:
        self.body, self.kept, self.domains, self.space, self.target = body, kept, domains, space, target
        self.blocked = body.gathering()
        self.lanes = target.lanes(max([d.work.widest for d in domains] + [
            r.value.dtype.size for r in body.reductions]))

    def steps(self, total: int, divide: bool) -> Steps:
        """The steps, but for how the loops are divided among parallel iterations."""
        axis = self._kept_axis()[0]
        if axis is not None:
            return self._along_kept(axis, total, divide)
        found = []
        for d in self.domains:
            axis = self._reduced_axis(d)[0] if d.size else None
            if axis is not None:
                lanes = self.lanes
                while lanes // 2 >= axis.size:
                    lanes //= 2
                tile = self._tile(d)
                unroll = 4 if len(d.reductions) <= 2 else 2
                while unroll > 1 and unroll * prod(tile.values()) > CHAINS:
                    unroll //= 2
                while unroll > 1 and axis.size // lanes < unroll:
                    unroll //= 2
                found.append(Step("lanes", (self.space.name(axis), lanes)))
                found += [Step("accumulate", (self.space.name(axis), unroll))] * (unroll > 1)
                found += [Step("unroll", (self.space.name(x), n)) for x, n in tile.items()]
        return Steps(tuple(found))

    @property
    def cost(self) -> float:
        """What a result costs, roughly, with the lanes along the axis that is chosen."""
        return self._kept_axis()[1]

    def _kept_axis(self) -> tuple[Axis | None, float]:
        """The kept axis for the lanes, or None for the reduced ones (each domain then has its own), and what a result
        costs."""
        if not self.domains or any(d.size == 0 for d in self.domains):
            return None, 0.0
        along_reduced = sum(self._reduced_axis(d)[1] for d in self.domains)
        stores = self.body.stored_at
        best, least = None, along_reduced
        for axis in reversed(self.kept):
            if axis.var in self.blocked or axis.size < 2 or self.lanes == 1:
                continue
            cost = sum(d.size * axis_cost(self.body, d.work, (), axis, self.lanes) for d in self.domains)
            cost += axis_cost(self.body, traffic([o.value for o in self.body.outputs]), stores, axis, self.lanes)
            if cost < least:
                best, least = axis, cost
        return best, least

    def _reduced_axis(self, d: Domain) -> tuple[Axis | None, float]:
        """The reduced axis for the lanes of a domain (None: single elements), and what a result costs."""
        best, least = None, d.size * (d.work.cost + 3.0 * len(d.reductions)) + 2
        for axis in reversed(d.axes):
            if axis.var in self.blocked or axis.size < 4 or self.lanes == 1:
                continue
            cost = d.size * axis_cost(self.body, d.work, (), axis, self.lanes, masked=True) + FOLD * len(d.reductions)
            if cost < least:
                best, least = axis, cost
        return best, least

    def _tile(self, d: Domain) -> dict[Axis, int]:
        """How many results along one or two kept axes are found at once, so that what they read together is read once.
        Counted in instructions for a result and a vector of what it sums."""
        loads = self.body.read_at(d.work)
        shared = [x for x in self.kept if any(coefficient(e, x.var) == 0 for e in loads)
                  and any(coefficient(e, x.var) != 0 for e in loads)]
        if len(self.domains) != 1 or self.body.gathers or not shared or d.size < 4 * self.lanes:
            return {}
        axes = sorted(shared, key=lambda x: -x.size)[:2]
        arithmetic = max(1, d.work.cost - len(loads)) * len(d.reductions)
        after = 1 + traffic([o.value for o in self.body.outputs]).cost
        most = min(self.target.vector_registers * 3 // 4 // len(d.reductions), self.target.ahead // d.work.cost)
        written = min(WRITTEN, max(6, self.target.ahead // after))

        def cost(sizes: tuple[int, ...]) -> float:
            total = 0.0
            parts = [((n, x.size // n), (x.size % n, 1)) for x, n in zip(axes, sizes, strict=True)]
            for tile in product(*parts):
                own = {x.var: n for x, (n, _) in zip(axes, tile, strict=True)}
                read = sum(prod(n for v, n in own.items() if coefficient(e, v) != 0) for e in loads)
                total += prod(many for _, many in tile) * (read + arithmetic * prod(own.values())) * all(own.values())
            for (_, whole), (left, _) in parts:  # code for the rest, which little uses
                total *= 1 + (left > 0) * (0.02 + 0.1 / max(1, whole))
            return total

        tiles = [sizes for sizes in product(*(range(1, min(8, x.size) + 1) for x in axes)) if prod(sizes) <= most
                 and prod(n + x.size % n for x, n in zip(axes, sizes, strict=True)) <= written]
        best = min(tiles, key=lambda sizes: (cost(sizes), prod(sizes)), default=())
        return {x: n for x, n in zip(axes, best, strict=False) if n > 1}

    def _along_kept(self, axis: Axis, total: int, divide: bool) -> Steps:
        """A vector of results at a time, several vectors side by side."""
        count = sum(len(d.reductions) for d in self.domains)
        unroll = max(1, min(8 // count, self.target.ahead // sum(self._per_vector(d, axis) for d in self.domains)))
        unroll = 1 << unroll.bit_length() - 1
        streams = self._streams(axis)
        if streams:
            unroll = WIDE // self.lanes
            results = prod(a.size for a in self.kept)
            while divide and unroll > 4 and total > 4 * CHUNK and (
                    results < self.target.parallel_min * unroll * self.lanes):
                unroll //= 2
        while unroll > 1 and unroll * self.lanes > axis.size:
            unroll //= 2
        main, name = parts(axis.size, self.lanes, unroll)[0], self.space.name(axis)
        found = [Step("lanes", (name, main.lanes))]
        found += [Step("unroll", (name, main.unroll))] * (main.unroll > 1)
        in_memory = streams and main.unroll >= 4
        found += [Step("keep", ("sums", "scratch"))] * in_memory
        for d in self.domains:
            width = 8 if in_memory else main.unroll
            many = max(1, min(8, self.target.ahead // (width * self._per_vector(d, axis))))
            if d.axes and d.axes[-1].size <= many and (len(d.work.loads) > 1 or d.work.others):
                many = d.axes[-1].size  # a window: what its guards say is known step by step
            if d.axes and many > 1 and (d.axes[-1].size >= 2 * many or d.axes[-1].size == many):
                found.append(Step("unroll", (self.space.name(d.axes[-1]), many)))
        return Steps(tuple(found))

    def _streams(self, lane_axis: Axis) -> bool:
        """Whether many rows are added up that lie one after the other in memory, and little else is done: then wide
        blocks of results, in the first cache, let a row be read in long runs."""
        d = self.domains[0]
        indices = self.body.read_at(d.work)
        return (len(self.domains) == 1 and lane_axis.size >= WIDE // 4 and d.size >= 64 and d.work.cost <= 8
                and bool(indices) and all(coefficient(e, lane_axis.var) in (0, 1) for e in indices))

    def _per_vector(self, d: Domain, lane_axis: Axis) -> int:
        """Instructions that a vector of a domain takes, roughly."""
        return len(d.reductions) + per_vector(self.body, d.work, lane_axis, self.lanes)
