"""Stage: lower, GPU form, strategy ``scatter``. In: a SCATTER node whose memory holds its base already. Out: threads
that each own a part of the destination, a column of every so many rows, and go through all entries in order, applying
those that come to it: the result is the same however many threads there are. Next: ``contraction.py``."""

from __future__ import annotations

from math import prod

from minigrad.dtype import bool_, int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.kernel.ir import Apply, Array, Const, Index, Statement
from minigrad.lower.access import Access
from minigrad.lower.axes import Axis
from minigrad.lower.gpu.threads import Lowering, Threads, power_of_two, unflatten, walk
from minigrad.lower.scatter import entries, joined
from minigrad.ops import Op
from minigrad.symbolic import Sym, num

OWNERS = 1 << 13
"""Threads that are wanted for a scatter of many entries."""


def scatter_stage(node: LazyBuffer, access: Access, status: Array | None, threads: Threads) -> Lowering:
    """Lower a SCATTER. Out of range, an entry is left out and noted."""
    return _Scatter(node, access, status, threads).lower()


class _Scatter:
    def __init__(self, node: LazyBuffer, access: Access, status: Array | None, threads: Threads) -> None:
        self.node, self.access, self.status, self.threads = node, access, status, threads
        self.names = threads.names
        self.count, self.mode = node.arg
        self.columns = [Axis(self.names.var("x", n), n) for n in node.shape[self.count:] if n != 1]
        tail = prod(a.size for a in self.columns)
        self.entries = prod(node.srcs[2].shape)
        rows = node.shape[0] if self.count and 0 not in node.shape else 1
        wanted = min(OWNERS // max(1, tail), max(1, self.entries // 4), rows)
        self.shares = power_of_two(max(1, wanted) + 1) // 2

    def lower(self) -> Lowering:
        """A walk over the owners."""
        tail = prod(a.size for a in self.columns)
        total = self.entries * (tail + 4 * self.shares)
        note = f"scatter {self.mode}: {self.entries} entries of {tail}; {self.shares} × {tail} owners"
        share = Axis(self.names.var("share", self.shares), self.shares)
        owners = [share, *self.columns]
        steps, groups = walk(self.threads, "owner", prod(a.size for a in owners))
        mapping = unflatten(steps.at, owners)
        return Lowering(steps.around(self._entries(mapping, mapping[share.var])), note, total, groups)

    def _entries(self, mapping: dict[Sym, Sym], share: Sym) -> list[Statement]:
        """All entries, in order; only those to rows of this share."""
        found = entries(self.node, self.access, self.names, self.status)
        inside = found.inside
        if self.shares > 1:  # rows are dealt out like cards, so that neighbours go to different owners
            mine = Apply(Op.AND, (found.places[0][1], Const(self.shares - 1, int64)), int64)
            inside = Apply(Op.AND, (inside, Apply(Op.EQ, (mine, Index(share, int64)), bool_)), bool_)
        columns = iter(self.columns)
        tail = tuple([mapping[next(columns).var] if n != 1 else num(0) for n in self.node.shape[self.count:]])
        return found.loops(inside, lambda row: [joined(self.node, self.access, row, found.at, tail)])
