"""Stage: schedule, step 3. In: the nodes with memory. Out: groups, each of which becomes one kernel: first one for each
node, then merged: into one stage, by rows, side by side, and where the work is small one after the other.
Next: ``order.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from math import prod
from typing import Any

from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.schedule.access import scanned
from minigrad.schedule.draft import ALONE, Draft, Group, is_thin, keeps_contiguous, narrows
from minigrad.schedule.linked import LinkedOrder
from minigrad.schedule.materialise import Materialised
from minigrad.schedule.streaming import Walk
from minigrad.schedule.walks import walking
from minigrad.target import Target

MAX_STAGES = 24
MAX_STORES = 48
MAX_STAGE_OPERATIONS = 512
MAX_OPERATIONS = 1024
MAX_LENGTH = 768
"""Beyond these, compiling a kernel costs more than its launch. The length of the code counts where a launch is all that
is saved."""

LOOK = 256
"""Groups that a search looks at before it gives up, and so the two that were to be merged stay apart."""

NEIGHBOURS = 16
"""Groups, the nearest of those that read the same value, with which a group may be computed side by side."""

TILE_ROWS = 32
"""Rows that a contraction takes at once on a GPU where it is one of several stages."""

LEAST_ROWS = 16
"""Fewer, and its tiles are not worth their copies."""

TILE_BYTES = 12 << 10
"""Shared memory that its tiles take beside what the stages hand on to each other."""


class Grouping:
    """The groups of one graph, and the merges. ``order`` is a topological order of the groups throughout."""

    def __init__(self, graph: Materialised, target: Target) -> None:
        self.target = target
        self.graph = graph
        self.outputs = set(graph.outputs)
        self.initials = set(graph.initial.values())
        self.of: dict[LazyBuffer, Group] = {}
        self._readers: dict[LazyBuffer, dict[Group, None]] = {}
        loops: dict[LazyBuffer, list[LazyBuffer]] = {}
        for node in graph.stored:
            if node.op == Op.OUTPUT:
                loops.setdefault(node.srcs[0], []).append(node)
                continue
            draft = Draft([node], [graph.access(node)])
            axes = [i for i, s in enumerate(node.shape) if s > 1]
            if node.op in ALONE:
                axes = []
            elif node.op == Op.SCAN:
                axes.remove(node.arg[1]) if node.arg[1] in axes else None
            self._enter(Group([draft], [(a,) for a in axes], node.device, draft.work))
        for outputs in loops.values():
            drafts = [Draft([node], [graph.access(node)]) for node in outputs]
            self._enter(Group(drafts, [], outputs[0].device, sum(d.work for d in drafts)))
        self.order = LinkedOrder(dict.fromkeys(self.of[node] for node in graph.stored))

    # --- the graph of groups

    def needs(self, group: Group) -> set[Group]:
        """The groups that store what this one reads."""
        return {self.of[n] for n in group.reads if n in self.of} - {group}

    def needed_by(self, group: Group) -> set[Group]:
        """The groups that read what this one stores."""
        return {g for n in group.stores for g in self._readers.get(n, ())}

    def readers(self, node: LazyBuffer) -> Iterable[Group]:
        """The groups that read the node and do not store it."""
        return self._readers.get(node, ())

    def _enter(self, group: Group) -> None:
        for node in group.stores:
            self.of[node] = group
        for node in group.reads:
            self._readers.setdefault(node, {})[group] = None

    def _leave(self, group: Group) -> None:
        for node in group.reads:
            del self._readers[node][group]

    def _between(self, start: Group, end: Group, step: Callable[[Group], set[Group]]) -> list[Group] | None:
        """The groups between these two in the order that steps lead to from ``start``; None if steps lead to ``end``
        through one of them, or if they are too many to look at."""
        low, high = sorted((self.order.label[start], self.order.label[end]))
        found: set[Group] = set()
        stack = list(step(start) - {end})
        while stack:
            group = stack.pop()
            if group is end or len(found) > LOOK:
                return None
            if group not in found and low < self.order.label[group] < high:
                found.add(group)
                stack += step(group)
        return sorted(found, key=self.order.label.__getitem__)

    def _moves(self, first: Group, last: Group) -> tuple[Group, list[Group], list[Group]] | None:
        """Where what ``first`` and ``last`` become has to stand, what has to move before it and what after it: it
        stands where ``last`` does, and groups that need ``first`` come after, unless these are too many; or it stands
        where ``first`` does, and groups that ``last`` needs come before. None if ``last`` needs ``first`` by way of
        another group, or if it would take long to find out."""
        after = self._between(first, last, self.needed_by)
        if after is not None:
            return last, [], after
        before = self._between(last, first, self.needs)
        return None if before is None else (first, before, [])

    def can_merge(self, first: Group, last: Group) -> bool:
        """Whether no third group has to run between these two."""
        return self._moves(first, last) is not None

    def merge(self, first: Group, last: Group, new: Group) -> None:
        """Put ``new`` in the place of two groups that can merge."""
        moves = self._moves(first, last)
        assert moves is not None, "this merge would make a cycle"
        self._replace((first, last), new, *moves)

    def _replace(self, old: Sequence[Group], new: Group, place: Group, before: Sequence[Group] = (),
                 after: Sequence[Group] = ()) -> None:
        for group in old:
            self._leave(group)
        self._enter(new)
        for group in (*before, *after):
            self.order.remove(group)
        self.order.put_after(place, [*before, new, *after])
        for group in old:
            self.order.remove(group)

    # --- merges

    def _walk(self, walk: Walk) -> None:
        """Make one kernel of what a walk computes."""
        members = [self.of[n] for n in self.graph.stored if n in walk.nodes or not walk.sinks.keys().isdisjoint(
            self.graph.access(n).reduces)]
        members = list(dict.fromkeys(members))
        found = self._around(members)
        merged = None if found is None else walking(found[1], walk)
        if found is not None and merged is not None:
            before, members, after = found
            self._replace(members, merged, members[-1], before, after)

    def _around(self, members: Sequence[Group]) -> tuple[list[Group], list[Group], list[Group]] | None:
        """The groups between the first and the last of some: those that can stand before all of them; they themselves,
        and elementwise ones that some need and others feed; and those that can stand after them."""
        known = set(members)
        between: list[Group] = []
        first, last = (end(members, key=self.order.label.__getitem__) for end in (min, max))
        group: Group | None = first
        while group is not None:
            between.append(group)
            group = None if group is last else self.order.following[group]
        fed = set(known)
        for group in between:
            if not fed.isdisjoint(self.needs(group)):
                fed.add(group)
        needed: set[Group] = set()
        for group in reversed(between):
            if group in known or group in needed:
                needed |= self.needs(group)
        inside = [g for g in between if g in known or (g in fed and g in needed)]
        if any(g not in known and not (g.simple and len(g.stores) == 1) for g in inside):
            return None
        return [g for g in between if g not in fed], inside, [g for g in between if g in fed and g not in set(inside)]

    def run(self) -> list[Group]:
        """All merges, in the order that works best: cheap and certain ones first."""
        for walk in self.graph.walks:
            self._walk(walk)
        self._same_stage()
        self._by_rows()
        for group in self.order:
            self._thicken(group)
        self._side_by_side()
        self._small_runs()
        for group in self.order:
            if not group.alone:
                _join_stages(group)
        for group in self.order:
            self._keep_in_registers(group)
        return list(self.order)

    def _keep_in_registers(self, group: Group) -> None:
        """Drop the stores that only their own stage reads, in place."""
        for draft in group.drafts:
            for node in list(draft.stores):
                if node in self.outputs or node in self.initials or len(draft.stores) == 1 or self.readers(node):
                    continue
                readers = [(d, a) for d in group.drafts for a in d.accesses if node in a.reads]
                if readers and all(d is draft and a.reads[node] == [a.coordinate] for d, a in readers):
                    draft.stores.remove(node)
                    draft.inlined.add(node)
                    draft.changed()
                    group.changed()

    def _producers(self, group: Group) -> list[Group]:
        return sorted(self.needs(group), key=self.order.label.__getitem__)

    def _same_stage(self) -> None:
        """An elementwise store that reads another store of its shape only at its own place joins that store's stage. A
        SCAN, of which there is one a stage, computes there what nobody else reads."""
        for consumer in list(self.order):
            draft = consumer.drafts[0]
            scans = len(consumer.drafts) == 1 and draft.stores[0].op == Op.SCAN
            if not (consumer.simple or scans) or consumer not in self.order:
                continue
            for producer in self._producers(consumer):
                if (producer.alone or producer.device != consumer.device or len(producer.drafts) > 1
                        or producer.drafts[0].shape != draft.shape or producer.drafts[0].stores[0].op == Op.SCAN
                        or len(producer.stores) + len(consumer.stores) > MAX_STORES
                        or producer.operations + consumer.operations > MAX_STAGE_OPERATIONS
                        or not _reads_in_place(draft, producer.drafts[0].stores)
                        or (scans and not (producer.simple and self._feeds_only(producer, consumer)))
                        or not self.can_merge(producer, consumer)):
                    continue
                note = f"{name_of(draft.stores[0])} joins its stage: read in place"
                self.merge(producer, consumer, _joined(producer, consumer, note, scans))
                break

    def _feeds_only(self, producer: Group, consumer: Group) -> bool:
        """Whether nothing but this other group reads what the producer stores."""
        return self.needed_by(producer) == {consumer} and not self.outputs.union(self.initials) & {*producer.stores}

    def _by_rows(self) -> None:
        """A producer that its consumer reads only at its own outer coordinate becomes an earlier stage of it. What a
        merge makes is looked at again, and then what comes after it: those before do not read it."""
        apart: set[tuple[Group, Group]] = set()
        consumer = self.order.following[None]
        while consumer is not None:
            for producer in self._producers(consumer):
                if (producer, consumer) in apart:
                    continue
                merged = self._rows(producer, consumer)
                if merged is not None:
                    self.merge(producer, consumer, merged)
                    consumer = merged
                    break
                apart.add((producer, consumer))
            else:
                consumer = self.order.following[consumer]

    def _rows(self, producer: Group, consumer: Group) -> Group | None:
        if producer.alone or consumer.alone or producer.device != consumer.device:
            return None
        if (len(producer.drafts) + len(consumer.drafts) > MAX_STAGES
                or producer.operations + consumer.operations > MAX_OPERATIONS):
            return None
        columns = [u + v for u in producer.columns for v in consumer.columns
                   if producer.drafts[0].shape[u[0]] == consumer.drafts[0].shape[v[0]]
                   and _linked(producer, consumer, u, v)]
        merged = Group(producer.drafts + consumer.drafts, columns, producer.device, producer.work + consumer.work,
                       producer.notes + consumer.notes)
        small = merged.work <= self.target.small_work
        reason = None
        if not small:
            if self._large(merged) and not self._stays_in_tiles(merged, (producer, consumer)):
                reason = "a large contraction keeps its own kernel"
            elif prod(merged.outer) < self.target.parallel_min:
                reason = f"only {prod(merged.outer)} common outer points"
            elif not self.target.workgroup and narrows(merged):
                reason = "long columns are summed in wide pieces by themselves"
            elif not keeps_contiguous(merged):
                reason = "rows would be read across memory"
        if reason is None and self._scratch(merged, (producer, consumer)) > self.target.row_bytes:
            reason = "its row does not fit the cache"
        if reason is None and not self.can_merge(producer, consumer):
            reason = "another kernel stands between them"
        if reason is not None:
            note = f"apart from {name_of(producer.stores[-1])}: {reason}"
            if note not in consumer.notes:
                consumer.notes.append(note)
            return None
        merged.notes.append(f"{name_of(producer.stores[-1])} is an earlier stage: {prod(merged.outer)} common rows")
        return merged

    def _thicken(self, group: Group) -> None:
        """Processors: outer points that are thin become rows of points, in place."""
        while not self.target.workgroup and is_thin(group):
            inner = max(group.columns, key=lambda c: c[-1])
            rows = Group(group.drafts, [c for c in group.columns if c is not inner], group.device, group.work)
            if prod(rows.outer) < self.target.parallel_min or self._scratch(rows, (group,)) > self.target.row_bytes:
                break
            group.columns = rows.columns

    def _large(self, group: Group) -> list[int]:
        """The stages that are contractions of more than a little work."""
        return [i for i, d in enumerate(group.drafts) if d.is_contraction and d.work > self.target.small_work]

    def _stays_in_tiles(self, group: Group, of: Sequence[Group]) -> bool:
        """GPUs: whether the large contractions of a kernel can take blocks of rows, as attention does, and are better
        off: each block reads the whole of the other operand again, but what the stages hand on to each other is in
        shared memory, never written and read elsewhere."""
        if not self.target.workgroup:
            return False
        stages = self._large(group)
        common = set(range(len(group.columns)))
        again = 0
        for i in stages:
            draft, fixed = group.drafts[i], {c[i] for c in group.columns}
            common &= {j for j, c in enumerate(group.columns) if f"c{c[i]}" in draft.rows}
            inside = {a: n for a, n in enumerate(draft.shape) if a not in fixed}
            if not any(f"c{a}" in draft.rows for a in inside):
                return False
            again += prod(inside.values()) * draft.length
        if not common:
            return False
        extent = max(group.outer[j] for j in common)
        held = [n for i in stages for n in group.drafts[i].stores if any(n in d.reads for d in group.drafts)]
        row = self._scratch(group, of, held)
        count = min(TILE_ROWS, extent, (self.target.shared - TILE_BYTES) // max(1, row))
        # what a tile of 64 rows would not have read, at the price of a cache, against four accesses to memory
        return count >= min(LEAST_ROWS, extent) and again * (64 - count) // 128 <= row * count

    def _scratch(self, group: Group, of: Sequence[Group], held: Sequence[LazyBuffer] = ()) -> int:
        """Bytes of one outer point's values that no other group reads, or that are to be ``held``, once ``group`` has
        taken the place of ``of``."""
        total = 0
        taken = self.taken_over(group, of)
        for stage, draft in enumerate(group.drafts):
            fixed = {c[stage] for c in group.columns}
            for node in draft.stores:
                if node not in taken and (node in held or self.is_scratch(node, group, of)):
                    total += node.dtype.size * prod(s for a, s in enumerate(node.shape) if a not in fixed)
        return total

    def taken_over(self, group: Group, of: Sequence[Group] = ()) -> dict[LazyBuffer, LazyBuffer]:
        """GPUs: scratch values that take the memory of an earlier one, which is not read any more, or at the last only
        where the new one is written in its place."""
        taken: dict[LazyBuffer, LazyBuffer] = {}
        if not self.target.workgroup:
            return taken
        stages = [(i, n) for i, d in enumerate(group.drafts) for n in d.stores if self.is_scratch(n, group, of)]
        free: list[tuple[int, LazyBuffer]] = []
        for stage, node in stages:
            axes = {c[stage] for c in group.columns}
            for old in free:
                if (old[1].shape == node.shape and old[1].dtype is node.dtype and old[0] < stage
                        and {c[old[0]] for c in group.columns} == axes and _is_over(group, old[1], stage)):
                    taken[node] = taken.get(old[1], old[1])
                    free.remove(old)
                    break
            free.append((stage, node))
        return taken

    def is_scratch(self, node: LazyBuffer, group: Group, of: Sequence[Group] = ()) -> bool:
        """Whether only this group, or those ``of`` which it is made, read the node."""
        if node in self.outputs or node in self.initials or len(group.drafts) == 1 or (
                group.drafts[0].stores[0].op in ALONE):
            return False
        return all(g in (group, self.of[node], *of) for g in self.readers(node))

    def _side_by_side(self) -> None:
        """Independent groups of one space, with an input in common, become one stage with several stores: each joins
        the nearest after it that it can."""
        later: dict[Any, dict[Group, None]] = {}  # by what they read, and what must be equal

        def enter(group: Group) -> None:
            for node in group.reads:
                later.setdefault((node, *_like(group)), {})[group] = None

        for first in reversed(list(self.order)):
            if not _fits_beside(first):
                continue
            found = {g for n in first.reads
                     for g in islice(reversed(later.get((n, *_like(first)), {})), NEIGHBOURS)}
            for second in sorted(found, key=self.order.label.__getitem__):
                if self._beside(first, second):
                    note = f"{name_of(first.stores[0])} is computed beside it: same space, same inputs"
                    merged = _joined(second, first, note)
                    self.merge(*self._ordered(first, second), merged)
                    for node in second.reads:
                        del later[(node, *_like(second))][second]
                    first = merged
                    break
            enter(first)

    def _beside(self, first: Group, second: Group) -> bool:
        if len(first.stores) + len(second.stores) > MAX_STORES:
            return False
        if first.operations + second.operations > MAX_STAGE_OPERATIONS:
            return False
        first, second = self._ordered(first, second)
        return first not in self.needs(second) and self.can_merge(first, second)

    def _ordered(self, a: Group, b: Group) -> tuple[Group, Group]:
        return (a, b) if self.order.label[a] < self.order.label[b] else (b, a)

    def _small_runs(self) -> None:
        """Neighbours in the order whose work is small together become one kernel that runs them one after the other."""
        run: list[Group] = []
        for group in [*self.order, None]:
            if group is not None and not group.alone and (not run or group.device == run[0].device) and (
                    sum(g.work for g in run) + group.work <= self.target.small_work
                    and sum(len(g.drafts) for g in run) + len(group.drafts) <= MAX_STAGES
                    and sum(len(g.stores) for g in run) + len(group.stores) <= MAX_STORES
                    and sum(g.code_length for g in run) + group.code_length <= MAX_LENGTH):
                run.append(group)
                continue
            if len(run) > 1:
                merged = Group([d for g in run for d in g.drafts], [], run[0].device, sum(g.work for g in run),
                               [n for g in run for n in g.notes] + ["small work: one after the other"])
                if self._scratch(merged, run) <= self.target.row_bytes:
                    self._replace(run, merged, run[-1])
            run = [group] if group is not None and not group.alone and group.work <= self.target.small_work else []


def name_of(node: LazyBuffer) -> str:
    """What notes call a node: its op and shape."""
    return f"{node.op.lower()} {'x'.join(map(str, node.shape)) or 'scalar'}"


def _reads_in_place(draft: Draft, stores: Sequence[LazyBuffer]) -> bool:
    """Whether the draft reads these stores only at its own coordinate; a SCAN at those of all along its axis."""
    return all(index in (a.coordinate, scanned(a)) for a in draft.accesses for s in stores
               for index in a.reads.get(s, ()))


def _is_over(group: Group, node: LazyBuffer, stage: int) -> bool:
    """Whether nothing from this stage on reads the node, but for elementwise stores of the stage itself, in place."""
    draft = group.drafts[stage]
    if any(node in d.reads for d in group.drafts[stage + 1:]):
        return False
    plain = draft.domain is None and draft.stores[0].op not in (Op.SCAN, *ALONE)
    return node not in draft.reads or (plain and _reads_in_place(draft, [node]))


def _linked(producer: Group, consumer: Group, u: tuple[int, ...], v: tuple[int, ...]) -> bool:
    """Whether the consumer, held at its axes ``v``, reads the producer only where the producer's axes ``u`` are the
    same."""
    for stage, draft in enumerate(consumer.drafts):
        for a in draft.accesses:
            own = a.coordinate[v[stage]]
            for produced, producing in enumerate(producer.drafts):
                for node in producing.stores:
                    if any(index[u[produced]] is not own for index in a.reads.get(node, ())):
                        return False
    return True


def _like(group: Group) -> tuple[Any, ...]:
    """What must be equal for two groups to be computed side by side."""
    draft = group.drafts[0]
    return group.device, draft.shape, draft.domain


def _fits_beside(group: Group) -> bool:
    draft = group.drafts[0]
    return not (group.alone or len(group.drafts) > 1 or draft.is_contraction or draft.stores[0].op == Op.SCAN)


def _joined(first: Group, second: Group, note: str, scans: bool = False) -> Group:
    """Two groups of one stage each as one stage. One that scans computes what the first would have stored for it."""
    stage = _join(first.drafts[0], second.drafts[0])
    if scans:
        stage.stores, stage.inlined = second.stores, stage.inlined.union(first.stores)
    return Group([stage], (second if scans else first).columns, first.device, first.work + second.work,
                 [*first.notes, note])


def _join(first: Draft, second: Draft) -> Draft:
    return Draft(first.stores + second.stores, first.accesses + second.accesses, first.inlined | second.inlined)


def _join_stages(group: Group) -> None:
    """Inside a group: a stage joins an earlier one of the same space and domain if nothing between them forbids it."""
    stage = 1
    while stage < len(group.drafts):
        draft = group.drafts[stage]
        for earlier in range(stage - 1, -1, -1):
            target = group.drafts[earlier]
            same_place = all(c[earlier] == c[stage] for c in group.columns)
            kinds = target.domain == draft.domain or draft.domain is None
            blocked = target.is_contraction or draft.is_contraction or Op.SCAN in (
                target.stores[0].op, draft.stores[0].op)
            if (same_place and target.shape == draft.shape and kinds and not blocked
                    and (draft.domain is None or not draft.reads & set(target.stores))
                    and _reads_in_place(draft, target.stores)):
                group.drafts[earlier] = _join(target, draft)
                del group.drafts[stage]
                group.columns = [c[:stage] + c[stage + 1:] for c in group.columns]
                group.changed()
                stage -= 1
                break
            if draft.reads & set(target.stores):
                break
        stage += 1
