"""Stage: schedule, below step 3. In: what the nodes with memory read. Out: kernels in the making: stages, and what is
common to the stages of one kernel.
Next: ``walks.py``."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import MOVEMENT, Op
from minigrad.schedule.access import Access, is_variable
from minigrad.schedule.spec import Walked
from minigrad.symbolic import variables

ALONE = frozenset((Op.SCATTER, Op.ASSIGN, Op.OUTPUT))
"""They share a kernel with nothing: the memory of the first two holds their base already, the last are LOOPs'."""

LONG_COLUMN = 64
"""Rows of a sum beside which its result is little memory."""

VECTOR, SHORT = 16, 4
"""Fewer results at an outer point fill no vector, and lanes along fewer elements of a sum are not worth joining."""


@dataclass(eq=False)
class Draft:
    """A stage in the making: its stores, all of one shape, and what each reads. ``inlined``: nodes that were to be
    stored, but only this stage reads them, each where it computes it: they stay in registers."""

    stores: list[LazyBuffer]
    accesses: list[Access]
    inlined: set[LazyBuffer] = field(default_factory=set)

    def changed(self) -> None:
        """Forget what was derived from the stores and accesses."""
        for name in ("domain", "work", "reads", "is_contraction", "rows", "length"):
            vars(self).pop(name, None)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stores[0].shape

    @cached_property
    def domain(self) -> tuple[object, ...] | None:
        """What its reductions run over; None if it has none."""
        for a in self.accesses:
            for r in a.reduces:
                return r.srcs[0].shape, r.arg, a.reduces[r][0]
        return None

    @cached_property
    def work(self) -> int:
        """Scalar operations, roughly."""
        total = 0
        for a in self.accesses:
            points = max([a.node.size] + [r.srcs[0].size for r in a.reduces])
            total += points * (1 + a.operations + len(a.reduces))
        return total

    @cached_property
    def reads(self) -> set[LazyBuffer]:
        return {n for a in self.accesses for n in a.reads} - self.inlined

    @cached_property
    def is_contraction(self) -> bool:
        """Whether it sums a product of two operands that each lack an axis of the other."""
        return any(r.op == Op.SUM and _is_contraction(r, a) for a in self.accesses for r in a.reduces)

    @cached_property
    def rows(self) -> set[str]:
        """The coordinates that some operand of its sums lacks."""
        return {axis for a in self.accesses for lacking in _lacking(a) for axis in lacking}

    @cached_property
    def length(self) -> int:
        """Elements that its longest reduction takes for one result."""
        return max((r.srcs[0].size // max(1, r.size) for a in self.accesses for r in a.reduces), default=1)


def _is_contraction(reduction: LazyBuffer, a: Access) -> bool:
    node = reduction.srcs[0]
    while node.op == Op.CAST or node.op in MOVEMENT:
        node = node.srcs[0]
    if node.op != Op.MUL or len(a.reads) < 1:
        return False
    lacking = _lacking(a)
    return any(x and y and x - y and y - x for x in lacking for y in lacking)


def _lacking(a: Access) -> list[frozenset[str]]:
    """For each operand, the axes of the result that it lacks: none of the coordinates it is read at mentions the axis's
    variable."""
    used = [frozenset(str(v) for i in index for v in variables(i)) for indexes in a.reads.values() for index in indexes]
    axes = [str(c) for c in a.coordinate if is_variable(c)]
    return [frozenset(axis for axis in axes if axis not in u) for u in used if any(v.startswith("r") for v in u)]


@dataclass(eq=False)
class Group:
    """A kernel in the making. ``columns``: for each axis of its outer space the axis that it is in every stage;
    ``walk``: what its stages do on a walk, if it makes one."""

    drafts: list[Draft]
    columns: list[tuple[int, ...]]
    device: str
    work: int
    notes: list[str] = field(default_factory=list)
    walk: Walked | None = None

    def changed(self) -> None:
        """Forget what was derived from the drafts."""
        for name in ("stores", "reads", "operations", "code_length"):
            vars(self).pop(name, None)

    @property
    def outer(self) -> tuple[int, ...]:
        return tuple(self.drafts[0].shape[c[0]] for c in self.columns)

    @cached_property
    def stores(self) -> list[LazyBuffer]:
        return [s for d in self.drafts for s in d.stores]

    @cached_property
    def reads(self) -> set[LazyBuffer]:
        """What it reads and does not store itself."""
        return {n for d in self.drafts for n in d.reads} - set(self.stores)

    @property
    def inputs(self) -> list[LazyBuffer]:
        """``reads`` in an order that does not depend on addresses."""
        stores = set(self.stores)
        found = dict.fromkeys(n for d in self.drafts for a in d.accesses for n in a.reads if n not in d.inlined)
        return [n for n in found if n not in stores]

    @cached_property
    def operations(self) -> int:
        """What the elementwise nodes in all its stages are worth."""
        return sum(a.operations for d in self.drafts for a in d.accesses)

    @cached_property
    def code_length(self) -> int:
        """Instructions of its code, roughly."""
        return sum(a.code_length for d in self.drafts for a in d.accesses)

    @property
    def alone(self) -> bool:
        """Whether nothing is merged with it any more."""
        return self.walk is not None or self.drafts[0].stores[0].op in ALONE

    @property
    def simple(self) -> bool:
        """One stage without reductions or scans."""
        return len(self.drafts) == 1 and not self.alone and self.drafts[0].domain is None and (
            self.drafts[0].stores[0].op != Op.SCAN)


def keeps_contiguous(group: Group) -> bool:
    """Whether in every stage the last axis runs inside the outer point, or in none (then columns can be taken
    together)."""
    inside = set()
    for stage, draft in enumerate(group.drafts):
        domain = max((r.srcs[0].shape for a in draft.accesses for r in a.reduces), key=len, default=draft.shape)
        axes = [i for i, s in enumerate(domain) if s > 1]
        if axes:
            fixed = {c[stage] for c in group.columns}
            inside.add(axes[-1] not in fixed)
    return len(inside) <= 1


def narrows(group: Group) -> bool:
    """Whether sums over many rows are divided by columns alone, and so read in narrow pieces, though they have other
    axes by which they can be divided. What is kept of them is little beside what they read."""
    for stage, draft in enumerate(group.drafts):
        axes = [i for i, s in enumerate(draft.shape) if s > 1]
        held = {c[stage] for c in group.columns}
        if (axes and draft.length >= LONG_COLUMN and axes[-1] in held and not held.issuperset(axes)
                and any(_is_across(r) for a in draft.accesses for r in a.reduces)):
            return True
    return False


def _is_across(reduction: LazyBuffer) -> bool:
    """Whether a reduction keeps the last axis."""
    return max((i for i, n in enumerate(reduction.srcs[0].shape) if n > 1), default=0) not in reduction.arg


def is_thin(group: Group) -> bool:
    """Whether several stages have few results each at an outer point, and sum only along short axes, as a pooling with
    the places of its maxima does: nothing there fills a vector."""
    for stage, draft in enumerate(group.drafts):
        held = {c[stage] for c in group.columns}
        summed = [r.srcs[0].shape[axis] for a in draft.accesses for r in a.reduces for axis in r.arg]
        if prod(s for a, s in enumerate(draft.shape) if a not in held) >= VECTOR or any(s >= SHORT for s in summed):
            return False
    return len(group.drafts) > 1 and bool(group.columns)
