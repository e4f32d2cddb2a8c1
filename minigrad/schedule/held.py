"""Stage: schedule, beside step 2. In: a graph. Out: values that are summed along rows and then read again beside the
sum, as the powers of a softmax are: a kernel that does both keeps those of a row in scratch memory.
Next: ``draft.py``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import ELEMENTWISE, MOVEMENT, REDUCE, Op
from minigrad.target import Target

HELD_COST = 8
"""Scalar operations that a store and two loads of an element in the cache next to a core are worth, and a walk of its
own over the row. A softmax, whose powers cost 15, takes 0.74 of the time for rows of 16 to 1000 float32, 0.78 for
4096 and 0.91 for 50257 (one core of an AMD EPYC)."""

NEAR = 64
"""Nodes, at most, on the ways from a value to where it meets its sum again."""


def held_in_rows(order: Sequence[LazyBuffer], consumers: Mapping[LazyBuffer, Sequence[LazyBuffer]],
                 target: Target) -> set[LazyBuffer]:
    """The elementwise nodes that it can pay to keep for a row: a sum along rows of the last axes, enough rows of which
    fit the cache, reads what is made of them, and so does something that reads the sum."""
    found: set[LazyBuffer] = set()
    for node in order:
        if node.op not in REDUCE or not _has_rows(node, target):
            continue
        after = set(_onward(node, consumers, ELEMENTWISE | MOVEMENT))
        waiting = list(node.srcs)
        while waiting:
            source = waiting.pop()
            if source.op not in ELEMENTWISE or source.shape != node.srcs[0].shape or source in found:
                continue
            if len(consumers[source]) > 1 and not after.isdisjoint(_onward(source, consumers, ELEMENTWISE)):
                found.add(source)
            waiting += source.srcs if len(consumers[source]) == 1 else ()
    return found


def _has_rows(node: LazyBuffer, target: Target) -> bool:
    """Whether a reduction takes whole rows in one piece, many of them, and none too long."""
    shape = node.srcs[0].shape
    row = node.srcs[0].size // max(1, node.size)
    return (node.size >= target.parallel_min and row > 1
            and row == prod(shape[min(node.arg):]) and row * node.dtype.size <= target.row_bytes)


def _onward(node: LazyBuffer, consumers: Mapping[LazyBuffer, Sequence[LazyBuffer]],
            through: frozenset[str]) -> Iterator[LazyBuffer]:
    """What reads the node, and what reads that, as long as it is of the ops ``through``."""
    seen: set[LazyBuffer] = set()
    waiting = list(consumers[node])
    while waiting and len(seen) < NEAR:
        reader = waiting.pop()
        if reader not in seen and reader.op in through:
            seen.add(reader)
            waiting += consumers[reader]
            if reader.op != Op.EXPAND:
                yield reader
