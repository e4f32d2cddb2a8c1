"""Stage: schedule, step 3. In: the nodes with memory. Out: groups, each of which becomes one kernel: first one for each
node, then merged: into one stage, by rows, side by side, and where the work is small one after the other.
Next: ``order.py``."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.schedule.access import access
from minigrad.schedule.draft import ALONE, Draft, Group
from minigrad.schedule.materialise import Materialised
from minigrad.target import Target

MAX_STAGES = 24
MAX_STORES = 48
MAX_STAGE_OPERATIONS = 512
MAX_OPERATIONS = 1024
"""Beyond these, compiling a kernel costs more than its launch."""

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
        stored = set(graph.stored)
        self.order: list[Group] = []
        self.of: dict[LazyBuffer, Group] = {}
        for node in graph.stored:
            draft = Draft([node], [access(node, stored)])
            axes = [i for i, s in enumerate(node.shape) if s > 1]
            if node.op in ALONE:
                axes = []
            elif node.op == Op.SCAN:
                axes.remove(node.arg[1]) if node.arg[1] in axes else None
            group = Group([draft], [(a,) for a in axes], node.device, draft.work)
            self.order.append(group)
            self.of[node] = group
        self._position: dict[Group, int] = {g: i for i, g in enumerate(self.order)}
        self._readers: dict[LazyBuffer, list[Group]] | None = None

    # --- the graph of groups

    def needs(self, group: Group) -> set[Group]:
        """The groups that store what this one reads."""
        return {self.of[n] for n in group.reads if n in self.of} - {group}

    def reachable(self, start: Group, goal: Group, skip_direct: bool) -> bool:
        """Whether ``goal`` depends on ``start``; with ``skip_direct``, by way of another group."""
        position = self._position
        stack = [g for g in self.needs(goal) if not (skip_direct and g is start)]
        seen: set[Group] = set()
        while stack:
            g = stack.pop()
            if g is start:
                return True
            if g in seen or position[g] < position[start]:
                continue
            seen.add(g)
            stack += self.needs(g)
        return False

    def readers(self, node: LazyBuffer) -> list[Group]:
        """The groups that read the node and do not store it."""
        if self._readers is None:
            self._readers = {}
            for group in self.order:
                for n in group.reads:
                    self._readers.setdefault(n, []).append(group)
        return self._readers.get(node, [])

    def replace(self, old: Sequence[Group], new: Group) -> None:
        """Put ``new`` in the place of ``old``. Of what stood between them, that which needs ``new`` comes after it."""
        new.changed()
        for node in new.stores:
            self.of[node] = new
        positions = [self._position[g] for g in old]
        first, last = min(positions), max(positions)
        before: list[Group] = []
        after: dict[Group, None] = {}
        for group in self.order[first:last + 1]:
            if group in old:
                continue
            needs = self.needs(group)
            if new in needs or not needs.isdisjoint(after):
                after[group] = None
            else:
                before.append(group)
        assert self.needs(new).isdisjoint(after), "a merge made a cycle"
        self.order = [*self.order[:first], *before, new, *after, *self.order[last + 1:]]
        self._position = {g: i for i, g in enumerate(self.order)}
        self._readers = None

    # --- merges

    def run(self) -> list[Group]:
        """All merges, in the order that works best: cheap and certain ones first."""
        self._same_stage()
        self._by_rows()
        self._side_by_side()
        self._small_runs()
        for group in self.order:
            _join_stages(group)
            group.changed()
        self._readers = None
        for group in self.order:
            self._keep_in_registers(group)
        return self.order

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
        return sorted(self.needs(group), key=self._position.__getitem__)

    def _same_stage(self) -> None:
        """An elementwise store that reads another store of its shape only at its own place joins that store's stage."""
        for consumer in list(self.order):
            if not consumer.simple or consumer not in self._position:
                continue
            draft = consumer.drafts[0]
            for producer in self._producers(consumer):
                if (producer.alone or producer.device != consumer.device or len(producer.drafts) > 1
                        or producer.drafts[0].shape != draft.shape or producer.drafts[0].stores[0].op == Op.SCAN
                        or len(producer.stores) + len(consumer.stores) > MAX_STORES
                        or producer.operations + consumer.operations > MAX_STAGE_OPERATIONS
                        or not _reads_in_place(draft, producer.drafts[0].stores)
                        or self.reachable(producer, consumer, skip_direct=True)):
                    continue
                _join(producer.drafts[0], draft)
                producer.work += consumer.work
                producer.notes.append(f"{_name(draft.stores[0])} joins its stage: read in place")
                self.replace([producer, consumer], producer)
                break

    def _by_rows(self) -> None:
        """A producer that its consumer reads only at its own outer coordinate becomes an earlier stage of it."""
        changed = True
        apart: set[tuple[Group, Group]] = set()
        while changed:
            changed = False
            for consumer in self.order:
                for producer in self._producers(consumer):
                    if (producer, consumer) in apart:
                        continue
                    merged = self._rows(producer, consumer)
                    if merged is None:
                        apart.add((producer, consumer))
                    else:
                        self.replace([producer, consumer], merged)
                        changed = True
                        break
                if changed:
                    break

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
            elif not _keeps_contiguous(merged):
                reason = "rows would be read across memory"
        if reason is None and self._scratch(merged, (producer, consumer)) > self.target.row_bytes:
            reason = "its row does not fit the cache"
        if reason is None and self.reachable(producer, consumer, skip_direct=True):
            reason = "another kernel stands between them"
        if reason is not None:
            note = f"apart from {_name(producer.stores[-1])}: {reason}"
            if note not in consumer.notes:
                consumer.notes.append(note)
            return None
        merged.notes.append(f"{_name(producer.stores[-1])} is an earlier stage: {prod(merged.outer)} common rows")
        return merged

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
        if node in self.outputs or node in self.initials or len(group.drafts) == 1:
            return False
        return all(g in (group, self.of[node], *of) for g in self.readers(node))

    def _side_by_side(self) -> None:
        """Independent groups of one space, with an input in common, become one stage with several stores."""
        for second in list(self.order):
            if second not in self._position or second.alone or len(second.drafts) > 1:
                continue
            sharing = {g for n in second.reads for g in self.readers(n)} - {second}
            for first in sorted(sharing, key=self._position.__getitem__):
                if self._beside(first, second):
                    _join(first.drafts[0], second.drafts[0])
                    first.work += second.work
                    first.notes.append(f"{_name(second.stores[0])} is computed beside it: same space, same inputs")
                    self.replace([first, second], first)
                    break

    def _beside(self, first: Group, second: Group) -> bool:
        if first.alone or len(first.drafts) > 1 or first.device != second.device:
            return False
        a, b = first.drafts[0], second.drafts[0]
        if a.shape != b.shape or a.domain != b.domain or not a.reads & b.reads or len(first.stores) >= MAX_STORES:
            return False
        if first.operations + second.operations > MAX_STAGE_OPERATIONS:
            return False
        if a.is_contraction or b.is_contraction or Op.SCAN in (a.stores[0].op, b.stores[0].op):
            return False
        return not self.reachable(first, second, False) and not self.reachable(second, first, False)

    def _small_runs(self) -> None:
        """Neighbours in the order whose work is small together become one kernel that runs them one after the other."""
        run: list[Group] = []
        for group in [*self.order, None]:
            if group is not None and not group.alone and (not run or group.device == run[0].device) and (
                    sum(g.work for g in run) + group.work <= self.target.small_work
                    and sum(len(g.drafts) for g in run) + len(group.drafts) <= MAX_STAGES
                    and sum(len(g.stores) for g in run) + len(group.stores) <= MAX_STORES
                    and sum(g.operations for g in run) + group.operations <= MAX_OPERATIONS):
                run.append(group)
                continue
            if len(run) > 1:
                merged = Group([d for g in run for d in g.drafts], [], run[0].device, sum(g.work for g in run),
                               [n for g in run for n in g.notes] + ["small work: one after the other"])
                if self._scratch(merged, run) <= self.target.row_bytes:
                    self.replace(run, merged)
            run = [group] if group is not None and not group.alone and group.work <= self.target.small_work else []


def _name(node: LazyBuffer) -> str:
    return f"{node.op.lower()} {'x'.join(map(str, node.shape)) or 'scalar'}"


def _reads_in_place(draft: Draft, stores: Sequence[LazyBuffer]) -> bool:
    """Whether the draft reads these stores only at its own coordinate."""
    return all(index == a.coordinate for a in draft.accesses for s in stores for index in a.reads.get(s, ()))


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


def _keeps_contiguous(group: Group) -> bool:
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


def _join(first: Draft, second: Draft) -> None:
    first.stores += second.stores
    first.accesses += second.accesses
    first.inlined |= second.inlined
    first.changed()


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
                _join(target, draft)
                del group.drafts[stage]
                group.columns = [c[:stage] + c[stage + 1:] for c in group.columns]
                stage -= 1
                break
            if draft.reads & set(target.stores):
                break
        stage += 1
