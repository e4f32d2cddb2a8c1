"""Stage: schedule, step 4. In: launches in order. Out: of which GATHER and SCATTER nodes each kernel checks the
indexes: each index once in a plan, though several kernels may read by it.
Next: ``memory.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.movement import Coordinate
from minigrad.ops import Op
from minigrad.schedule.draft import Group
from minigrad.symbolic import linear

_SAME_VALUES = frozenset((Op.RESHAPE, Op.PERMUTE, Op.CONTIGUOUS))


def find_checks(order: Sequence[Sequence[Group]]) -> dict[Group, tuple[LazyBuffer, ...]]:
    """The nodes whose indexes each kernel checks. A kernel that reads by all of an index speaks for those after it, a
    scatter by the same index, too: backward of an embedding has nothing to check."""
    known: set[tuple[LazyBuffer, int]] = set()
    found: dict[Group, tuple[LazyBuffer, ...]] = {}
    for group in [group for parts in order for group in parts]:
        made = []
        for node, whole in _indexed(group).items():
            keys = list(_indexes(node))
            if known.issuperset(keys):
                continue
            made.append(node)
            if whole:
                known.update(keys)
        found[group] = tuple(made)
    return found


def _indexed(group: Group) -> dict[LazyBuffer, bool]:
    """The nodes with indexes that a kernel computes, and whether it looks at every element of these."""
    found: dict[LazyBuffer, bool] = {}
    for access in [a for draft in group.drafts for a in draft.accesses]:
        for node, coordinates in access.gathers.items():
            whole = 0 not in access.node.shape and 0 not in node.shape and any(
                [covers(at, node.srcs[1].shape) for at in coordinates])
            found[node] = found.get(node, False) or whole
    found.update({node: 0 not in node.shape for node in group.stores if node.op == Op.SCATTER})
    return found


def _indexes(node: LazyBuffer) -> Iterator[tuple[LazyBuffer, int]]:
    """Each index, as it was before it was reshaped, and the size of the dimension that it is for."""
    first = 1 if node.op == Op.GATHER else 2
    shape = node.srcs[0].shape if node.op == Op.GATHER else node.shape
    for source, size in zip(node.srcs[first:], shape, strict=False):
        while source.op in _SAME_VALUES:
            source = source.srcs[0]
        yield source, size


def covers(coordinate: Coordinate, shape: tuple[int, ...]) -> bool:
    """Whether a coordinate comes to all places of a shape; False if that is not plain to see.

    >>> from minigrad.symbolic import num, var
    >>> i, j = var("i", 0, 3), var("j", 0, 15)
    >>> covers((i, j), (4, 16)), covers((16*i + j,), (64,)), covers((i, num(0)), (4, 1))
    (True, True, True)
    >>> covers((i, i), (4, 4)), covers((i,), (5,)), covers((2*i,), (8,)), covers((j//4,), (4,))
    (False, False, False, False)
    """
    seen = set()
    for e, size in zip(coordinate, shape, strict=True):
        terms, constant = linear(e)
        count = 1
        for v, step in sorted(terms.items(), key=lambda term: term[1]):
            if v.kind != "var" or v in seen or step != count or v.lo:
                return False
            seen.add(v)
            count *= v.hi + 1
        if constant or count != size:
            return False
    return True
