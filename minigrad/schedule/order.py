"""Stage: schedule, step 4. In: groups. Out: launches in order (independent map kernels stacked into one), and which
outputs are written over inputs that nobody needs any more.
Next: ``checks.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.schedule.draft import Group
from minigrad.schedule.group import MAX_LENGTH
from minigrad.schedule.limits import WORK_FIRM, WORK_PER_COPIED_BYTE
from minigrad.target import Target

MAX_PARTS = 64
MAX_STACK_LENGTH = 4 * MAX_LENGTH
"""Instructions of a stack: a C compiler needs much more than twice the memory for a function twice as long."""


def launches(groups: Sequence[Group], target: Target) -> list[list[Group]]:
    """Groups by level: a group's level is one more than the highest among those it reads. At one level nothing depends
    on anything, so all map kernels and all small ones there become one launch."""
    of = {n: g for g in groups for n in g.stores}
    level: dict[Group, int] = {}
    for group in groups:
        level[group] = 1 + max((level[of[n]] for n in group.reads if n in of and of[n] is not group), default=-1)
    by_level: dict[int, list[Group]] = {}
    for group in groups:
        by_level.setdefault(level[group], []).append(group)
    result: list[list[Group]] = []
    for depth in sorted(by_level):
        stacks: dict[str, list[Group]] = {}
        lengths: dict[str, int] = {}
        for group in by_level[depth]:
            stack = stacks.get(group.device)
            stackable = group.simple or (not group.alone and group.work <= target.small_work)
            if stackable and stack is not None and len(stack) < MAX_PARTS and (
                    lengths[group.device] + group.code_length <= MAX_STACK_LENGTH):
                stack.append(group)
                lengths[group.device] += group.code_length
                group.notes.append("stacked: independent of the others in its launch")
                continue
            result.append([group])
            if stackable:
                stacks[group.device], lengths[group.device] = result[-1], group.code_length
    return result


def donations(order: Sequence[Sequence[Group]], outputs: Sequence[LazyBuffer], dead: set[LazyBuffer],
              first_writer: Callable[[LazyBuffer], LazyBuffer], after: int = -1) -> dict[LazyBuffer, LazyBuffer]:
    """For outputs of launches that come ``after`` one: the dead leaf whose memory each takes over. Only where every
    read of the leaf comes in an earlier launch, or in the output's own stage at the very place that is written."""
    result: dict[LazyBuffer, LazyBuffer] = {}
    taken: set[LazyBuffer] = set()
    readers: dict[LazyBuffer, list[tuple[int, Group]]] = {}
    where: dict[LazyBuffer, tuple[int, Group]] = {}
    for position, parts in enumerate(order):
        for group in parts:
            for node in group.reads:
                readers.setdefault(node, []).append((position, group))
            for node in group.stores:
                where[node] = position, group

    def give(output: LazyBuffer, leaves: Sequence[LazyBuffer]) -> None:
        target = first_writer(output)
        position, group = where[target]
        for leaf in sorted(leaves, key=lambda n: n.shape != output.shape):
            if leaf not in taken and all(at < position or (g is group and _only_in_place(group, target, leaf))
                                         for at, g in reversed(readers[leaf])):
                result[output] = leaf
                taken.add(leaf)
                return

    candidates: dict[LazyBuffer, list[LazyBuffer]] = {}
    own: dict[LazyBuffer, list[LazyBuffer]] = {}
    for output in outputs:
        target = first_writer(output)
        if target not in where or where[target][0] <= after:
            continue
        group = where[target][1]
        candidates[output] = [n for n in group.inputs if n in dead and n.op == Op.BUFFER and n.arg is None
                              and n.dtype is output.dtype and n.size == output.size and prod(n.shape) > 0]
        reads = {n for d in group.drafts for a in d.accesses if a.node is target for n in a.reads}
        own[output] = [n for n in candidates[output] if n in reads]
    # what is computed from one leaf only, like a moment from the last one, comes first: the weight, which is computed
    # from all of them, is left with its own
    for output in sorted(own, key=lambda o: len(own[o])):
        give(output, own[output])
    for output, leaves in candidates.items():
        if output not in result:
            give(output, leaves)
    return result


def overwriting_last(order: Sequence[Sequence[Group]], donated: dict[LazyBuffer, LazyBuffer],
                     first_writer: Callable[[LazyBuffer], LazyBuffer],
                     ) -> tuple[list[list[Group]], dict[LazyBuffer, LazyBuffer]]:
    """The launches in an order in which those that overwrite a leaf come last, if nobody reads what they store: a run
    can be left at any time before the first of them. Those that reduce stay where they are, so that what they read is
    not kept for longer; and they overwrite nothing if so much is done after them that a run would copy the leaves
    first. Also what is left of ``donated``."""
    outputs = {first_writer(o): o for o in donated}
    read = {n for parts in order for g in parts for n in g.reads}
    found = [{outputs[n] for g in parts for n in g.stores if n in outputs} for parts in order]
    stays = [not given or any([n in read for g in parts for n in g.stores]) or any(
        [a.reduces for g in parts for d in g.drafts for a in d.accesses])
        for parts, given in zip(order, found, strict=True)]
    while True:  # what reads a leaf that one which stays overwrites must not come after that
        early = {o for given, here in zip(found, stays, strict=True) if here for o in given}
        gone = {donated[o] for o in early}
        more = [here or any([not gone.isdisjoint(g.reads) for g in parts])
                for parts, here in zip(order, stays, strict=True)]
        if more == stays:
            break
        stays = more
    first = next((i for i, (given, here) in enumerate(zip(found, stays, strict=True)) if here and given), len(order))
    work = sum([g.work for parts in order[first:] for g in parts])
    if work > max(WORK_FIRM, WORK_PER_COPIED_BYTE * sum([o.size * o.dtype.size for o in donated])):
        donated = {o: leaf for o, leaf in donated.items() if o not in early}
    return [list(parts) for late in (False, True) for parts, here in zip(order, stays, strict=True)
            if here is not late], donated


def _only_in_place(group: Group, store: LazyBuffer, leaf: LazyBuffer) -> bool:
    """Whether the group reads the leaf only in the store's stage (or, if it runs in one piece, before it), in place."""
    passed = False
    for draft in group.drafts:
        here = store in draft.stores
        for a in draft.accesses:
            for index in a.reads.get(leaf, ()):
                if here and leaf.shape == store.shape and index == a.coordinate and not a.reduces:
                    continue
                if passed or here or group.columns:
                    return False
        passed = passed or here
    return True
