"""Stage: explaining. In: a graph that needed a plan of its own, and those that have one. Out: how it differs from the
one most like it, in words.
Next: ``report.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minigrad.engine.walk import Pending
from minigrad.ops import Op


@dataclass(frozen=True)
class Outline:
    """A graph without its values: of each node the op, the shape, the dtype and where it comes from; the constants'
    numbers; and what else its key has: the device, settings, which leaves may be overwritten."""

    nodes: tuple[tuple[str, Any, str], ...]
    sites: tuple[Any, ...]
    numbers: tuple[Any, ...]
    dead: tuple[bool, ...]
    device: str
    results: frozenset[int]

    @staticmethod
    def of(pending: Pending, sites: Sequence[Any]) -> Outline:
        """``sites``: where each of its nodes comes from."""
        results = set(pending.results)
        nodes = tuple([(_word(n), n.shape, n.dtype.name) for n in pending.order])
        return Outline(nodes, tuple(sites), pending.numbers, pending.dead, pending.device,
                       frozenset([i for i, n in enumerate(pending.order) if n in results]))

    def line(self, at: int) -> str:
        """Where a node comes from, for people."""
        site = self.sites[at]
        return f" ({site.file.rpartition('/')[2]}:{site.number})" if site and site.file else ""


def _word(node: Any) -> str:
    return f"{node.op} {node.arg.name}" if node.op == Op.FUNCTION else str(node.op)


def difference(new: Outline, known: Mapping[int, Outline]) -> str:
    """How a graph differs from the one most like it; empty if there is none to compare it with. ``known``: those that
    had plans, by the numbers of these.

    >>> one, other = [Outline((("BUFFER", (n,), "float32"), ("EXP", (n,), "float32")), (None, None), (), (), "CPU",
    ...                       frozenset()) for n in (2, 3)]
    >>> difference(other, {0: one})
    'the same ops on other shapes: BUFFER has shape (3,), before (2,)'
    >>> difference(one, {})
    ''
    """
    if not known:
        return ""
    best = max(known, key=lambda number: (_likeness(new, known[number]), number))
    other = known[best]
    ops = [n[0] for n in new.nodes]
    if ops == [n[0] for n in other.nodes]:
        return _in_values(new, other)
    common = _common(new, other)
    if common * 4 < len(ops):
        return "no graph before begins like it"
    here = _named(new, common) if common < len(ops) else "it ends"
    there = _named(other, common) if common < len(other.nodes) else "it ended"
    return f"the first {common} nodes are those of plan {best}; then {here}, before {there}"


def _likeness(new: Outline, other: Outline) -> float:
    """0 … 1: the part of the nodes that are the same from the beginning on; more if all ops are."""
    if len(new.nodes) == len(other.nodes) and all([a[0] == b[0] for a, b in zip(new.nodes, other.nodes)]):
        same = sum([a == b for a, b in zip(new.nodes, other.nodes)])
        return 1.0 + same / max(1, len(new.nodes))
    return _common(new, other) / max(len(new.nodes), len(other.nodes), 1)


def _common(new: Outline, other: Outline) -> int:
    """How many nodes from the beginning on have the same op."""
    for i, (a, b) in enumerate(zip(new.nodes, other.nodes)):
        if a[0] != b[0]:
            return i
    return min(len(new.nodes), len(other.nodes))


def _named(outline: Outline, at: int) -> str:
    op, shape, _ = outline.nodes[at]
    return f"{op} {shape}{outline.line(at)}"


def _in_values(new: Outline, other: Outline) -> str:
    """How two graphs of the same ops differ."""
    for i, (a, b) in enumerate(zip(new.nodes, other.nodes)):
        if a[1] != b[1]:
            return f"the same ops on other shapes: {a[0]}{new.line(i)} has shape {a[1]}, before {b[1]}"
        if a[2] != b[2]:
            return f"the same ops on other dtypes: {a[0]}{new.line(i)} is {a[2]}, before {b[2]}"
    if new.device != other.device:
        return f"the same graph on {new.device}, before on {other.device}"
    changed = [(a, b) for a, b in zip(new.numbers, other.numbers) if a != b]
    if changed:
        return f"the same graph with another number: {changed[0][0]}, before {changed[0][1]}"
    if new.results != other.results:
        at = min(new.results ^ other.results)
        kept = "kept" if at in new.results else "not kept"
        return f"the same graph, but {_named(new, at)} is {kept} this time: somebody holds other values"
    if new.dead != other.dead:
        return "the same graph, but other inputs may be overwritten: somebody holds them, or no longer does"
    return "the same ops, with other arguments or in another order"
