"""Stage: schedule, below step 3. In: the stages that a walk consists of. Out: the kernel that makes it: which axes all
its stages share, which one is walked, and what each stage does on the way.
Next: ``linked.py``."""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.graph.lazy import LazyBuffer
from minigrad.schedule.draft import Draft, Group
from minigrad.schedule.spec import Walked
from minigrad.schedule.streaming import Walk

Axis = tuple[LazyBuffer, int]


def walking(groups: Sequence[Group], walk: Walk) -> Group | None:
    """The groups, in order, as one that walks; None if they don't fit together."""
    drafts = [d for g in groups for d in g.drafts]
    if any(len(d.stores) > 1 for d in drafts) or len({g.device for g in groups}) > 1:
        return None
    joined = _joined(drafts, walk)
    if joined is None:
        return None
    classes, walked = joined
    kinds, axes = _kinds(drafts, walk, walked)
    along = [d.stores[0].shape[a] for d, k, a in zip(drafts, kinds, axes, strict=True) if k == "along"]
    columns = _columns(drafts, classes, walked)
    if len(set(along)) != 1 or not columns or any(k == "along" and a < 0 for k, a in zip(kinds, axes, strict=True)):
        return None
    notes = [n for g in groups for n in g.notes] + [f"walks along an axis of {along[0]}: a block of it at a time"]
    return Group(drafts, columns, groups[0].device, sum(d.work for d in drafts), notes,
                 Walked(tuple(kinds), tuple(axes), along[0]))


def _joined(drafts: Sequence[Draft], walk: Walk) -> tuple[dict[Axis, Axis], set[Axis]] | None:
    """For each axis of each store the one that stands for all that are the same; and the axes that are walked, those of
    the sinks' sources as (sink, axis). None if a stage reads another elsewhere than at its own place."""
    stored = {d.stores[0] for d in drafts}
    parent: dict[Axis, Axis] = {}

    def find(axis: Axis) -> Axis:
        while parent.get(axis, axis) != axis:
            axis = parent[axis]
        return axis

    walked: list[Axis] = []
    for d in drafts:
        node, a = d.stores[0], d.accesses[0]
        own = {c: (node, i) for i, c in enumerate(a.coordinate) if c.kind == "var"}
        sink = next((r for r in a.reduces if r in walk.sinks), None)
        for read, indexes in a.reads.items():
            if read not in stored:
                continue
            for index in indexes:
                for axis, i in enumerate(index):
                    if read.shape[axis] == 1:
                        continue
                    if i in own:
                        parent[find((read, axis))] = find(own[i])
                    elif sink is not None and i.kind == "var" and str(i).startswith("r"):
                        walked += [(read, axis), (sink, int(str(i)[1:]))]
                    else:
                        return None
    ends = {find(w) for w in walked}
    classes = {(n, i): find((n, i)) for n in stored for i, s in enumerate(n.shape) if s > 1}
    return classes, {axis for axis, end in classes.items() if end in ends} | {w for w in walked if w[0] in walk.sinks}


def _kinds(drafts: Sequence[Draft], walk: Walk, walked: set[Axis]) -> tuple[list[str], list[int]]:
    kinds: list[str] = []
    axes: list[int] = []
    at: dict[LazyBuffer, str] = {}
    for d in drafts:
        node = d.stores[0]
        sinks = [r for r in d.accesses[0].reduces if r in walk.sinks]
        owner = sinks[0] if sinks else node
        axis = next((i for n, i in walked if n is owner), -1)
        if sinks:
            kind = walk.kind(sinks[0])
        elif axis >= 0:
            kind = "along"
        else:
            final = any(at.get(r) in ("sum", "relative", "after") for r in d.reads)
            kind = "after" if final else "each"
        at[node] = kind
        kinds.append(kind)
        axes.append(axis)
    return kinds, axes


def _columns(drafts: Sequence[Draft], classes: dict[Axis, Axis], walked: set[Axis]) -> list[tuple[int, ...]]:
    """The axes that every stage has, and that are not walked: for each the axis that it is in every stage."""
    columns = []
    first = drafts[0].stores[0]
    for i, size in enumerate(first.shape):
        if size == 1 or (first, i) in walked:
            continue
        column = []
        for d in drafts:
            node = d.stores[0]
            same = [j for j, s in enumerate(node.shape) if s > 1 and classes[node, j] == classes[first, i]]
            column += same if len(same) == 1 else [-1]
        if -1 not in column:
            columns.append(tuple(column))
    return columns
