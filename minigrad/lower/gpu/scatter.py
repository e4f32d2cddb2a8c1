"""Stage: lower, GPU form, strategy ``scatter``. In: a SCATTER node whose memory holds its base already. Out: threads
that each own a part of the destination, and apply what comes to it of all entries, in order: the result is the same
however many threads there are. What is owned: one place along the coordinates of the entries that are coordinates of
the destination, too, if there are many; else a column of every so many rows. Then a workgroup looks up many entries at
a time, puts those for its own rows into shared memory, and its threads pick theirs from there.
Next: ``lower/passes/``."""

from __future__ import annotations

from math import prod

from minigrad.dtype import bool_, int32, int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.movement import Coordinate
from minigrad.kernel.ir import (
    Apply,
    Array,
    Const,
    For,
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
from minigrad.lower.gpu.threads import MOST_GROUPS, ZERO, Threads, power_of_two, walk
from minigrad.lower.nest import Divided, Lowering, loop, unflatten, when
from minigrad.lower.scalar import convert
from minigrad.lower.scatter import Entries, coordinate, entries, joined
from minigrad.lower.values import Values
from minigrad.ops import Op
from minigrad.symbolic import Sym, num

OWNERS = 1 << 16
"""Threads that are wanted for a scatter of many entries."""

AT_ONCE = 4
"""Entries that a thread looks up before all threads apply them."""

RUN = 16
"""Entries that are passed over together if none of them is for this workgroup."""

FEW = 256
"""Entries that every thread may as well look up for itself."""

ENOUGH = 1 << 12
"""Owners that are worth having without dividing the looked-up rows."""


def scatter_stage(node: LazyBuffer, values: Values, status: Array | None, threads: Threads) -> Lowering:
    """Lower a SCATTER. Out of range, an entry is left out and noted."""
    return _Scatter(node, values, status, threads).lower()


class _Scatter:
    def __init__(self, node: LazyBuffer, values: Values, status: Array | None, threads: Threads) -> None:
        self.node, self.values, self.status, self.threads = node, values, status, threads
        self.names = threads.names
        self.count, self.mode = node.arg[:2]
        self.columns = [self.names.axis("x", n) for n in node.shape[self.count:] if n != 1]
        self.width = prod(a.size for a in self.columns)
        self.entries = prod(node.srcs[2].shape)
        self.found = entries(node, values, self.names, status)
        self.own = self.found.own
        apart = prod(a.size for a in self.own)
        if 0 in node.shape or not (apart * self.width >= ENOUGH or self.entries // apart < FEW):
            self.own, apart = [], 1
        rows = node.shape[0] if self.count and 0 not in node.shape and not self.own else 1
        wanted = min(OWNERS // max(1, self.width), max(1, self.entries // 4), rows)
        self.shares = power_of_two(max(1, wanted) + 1) // 2
        self.owners = [self.names.axis("share", self.shares), *self.own, *self.columns]

    def lower(self) -> Lowering:
        """A walk over the owners."""
        note = f"scatter {self.mode}: {self.entries} entries of {self.width}; {self.shares} × {self.width} owners"
        if self.own:
            note += f", each at {[a.size for a in self.own]}"
        total = self.entries * (self.width + 4 * self.shares)
        staged = self._staged()
        if staged is not None:
            return Lowering(staged[0], f"{note}, {AT_ONCE * self.threads.count} entries at once", total, staged[1])
        steps, groups = walk(self.threads, "owner", prod(a.size for a in self.owners))
        mapping = unflatten(steps.at, self.owners)
        return Lowering(steps.around(self._directly(mapping)), note, total, groups)

    # --- each thread looks all entries up

    def _directly(self, owner: dict[Sym, Sym]) -> list[Statement]:
        """All entries, in order; only those to rows of this owner."""
        found = self.found
        inside = found.inside
        if self.shares > 1:  # rows are dealt out like cards, so that neighbours go to different owners
            mine = found.places[0][1] & (self.shares - 1)
            inside = inside & Apply(Op.EQ, (mine, Index(owner[self.owners[0].var], int64)), bool_)
        made = found.loops(inside, lambda row: [joined(self.node, self.values, row, found.at, self._tail(owner))],
                           {a.var: (ZERO, ZERO) for a in self.own})
        return [*[LetIndex(a.var, Index(owner[a.var], int64)) for a in self.own], *made]

    def _tail(self, owner: dict[Sym, Sym]) -> Coordinate:
        """The columns of an owner as coordinates of the destination."""
        return coordinate(self.node.shape[self.count:], [owner[a.var] for a in self.columns])

    # --- a workgroup looks them up together

    def _staged(self) -> tuple[list[Statement], Divided] | None:
        """The statements and workgroups; None if that is not worth it, or if there is no room."""
        threads, size = self.threads, prod(a.size for a in self.owners)
        groups = -(-size // threads.count)
        many = AT_ONCE * threads.count
        if (self.own or not threads.divide or self.entries < FEW or threads.count < RUN or groups > MOST_GROUPS
                or prod(self.node.shape[:self.count]) >= 1 << 31 or 0 in self.node.shape):
            return None
        rows, marks = threads.take("rows", int32, many), threads.take("marks", int64, many // RUN)
        if rows is None or marks is None:
            return None
        group = self.names.var("p", groups)
        axis = self.names.axis("c", -(-self.entries // many))
        run = self.names.axis("run", many // RUN)
        first: Statement = For(run.var, threads.t, num(run.size), threads.count, "serial",
                               (Store(marks, run.var, Const(-1, int64)),))
        at = group * threads.count + threads.t
        head: list[Statement] = []
        own = at
        if at.hi >= size:
            own = self.names.var("owner", size)
            head = [LetIndex(own, Index(at, int64))]
        body = [*self._look_up(axis.var, group, rows, marks), *threads.barrier(),
                *when(at < size, [*head, *self._apply(axis.var, unflatten(own, self.owners), rows, marks)]),
                *threads.barrier()]
        return [first, *threads.barrier(), loop(axis, body)], Divided(group, groups)

    def _look_up(self, chunk: Sym, group: Sym, rows: Array, marks: Array) -> list[Statement]:
        """Where each of the next entries goes, or -1 if it is not for this workgroup; runs that have one are marked
        with the number of the chunk."""
        found = entries(self.node, self.values, self.names, self.status)
        i = self.names.axis("i", rows.size)
        mine, inside = self._for_group(found, group), found.inside
        if mine is not None:
            inside = inside & mine
        row: Value = found.places[0][1]
        for (_, place), n in zip(found.places[1:], self.node.shape[1:], strict=False):
            row = row * n + place
        store = If(inside, (Store(rows, i.var, convert(row, int32)),
                            Store(marks, i.var // RUN, Index(chunk, int64))))
        at = chunk * rows.size + i.var
        lets = [LetIndex(v, Index(e, int64)) for v, e in unflatten(at, found.axes).items()]
        body = [Store(rows, i.var, Const(-1, int32)), *when(at < self.entries, [*lets, *found.head, store])]
        return [For(i.var, self.threads.t, num(i.size), self.threads.count, "serial", tuple(body))]

    def _for_group(self, found: Entries, group: Sym) -> Value | None:
        """Whether an entry goes to a row that a thread of the workgroup owns; None if all do."""
        count, place = self.threads.count, found.places[0][1]
        if self.shares == 1 or group.hi == 0:
            return None
        if count % self.width == 0:  # its shares are those with the same upper bits
            own = count // self.width
            return Apply(Op.EQ, (place & (self.shares - own), Index(group * own, int64)), bool_)
        first, last = group * count // self.width, (group * count + count - 1) // self.width
        share = place & (self.shares - 1)
        return ~(share < Index(first, int64)) & ~(Index(last, int64) < share)

    def _apply(self, chunk: Sym, owner: dict[Sym, Sym], rows: Array, marks: Array) -> list[Statement]:
        """Of the entries that were looked up, in order, those that are this thread's."""
        names, node = self.names, self.node
        run = names.axis("run", marks.size)
        j = names.axis("j", RUN)
        row = Local(names.fresh("row"), int32)
        size = prod(node.shape[:self.count])
        to, e = names.var("g", size), names.var("e", self.entries)
        mine = ~(row < 0)
        leading = [names.axis("g", n) for n in node.shape[:self.count]]
        if self.shares > 1:
            inner = size // node.shape[0]
            first = row if inner == 1 else Apply(Op.FLOORDIV, (row, Const(inner, int32)), int32)
            share = convert(Index(owner[self.owners[0].var], int64), int32)
            mine = mine & Apply(Op.EQ, (first & (self.shares - 1), share), bool_)
        places = unflatten(to, leading)
        shape = node.srcs[2].shape
        entry = unflatten(e, axes := [names.axis("e", n) for n in shape if n != 1])
        at = coordinate(shape, [entry[a.var] for a in axes])
        position = run.var * RUN + j.var
        inside = If(mine, (
            LetIndex(to, convert(row, int64)), LetIndex(e, Index(chunk * rows.size + position, int64)),
            joined(node, self.values, tuple([places[a.var] for a in leading]), at, self._tail(owner))))
        marked = Apply(Op.EQ, (Load(marks, run.var), Index(chunk, int64)), bool_)
        return [loop(run, [If(marked, (loop(j, [Let(row.name, Load(rows, position)), inside]),))])]
