"""Stage: front. In: what ran at a place of a trace. Out: the ``Point`` for it, kept there so that it can run again.
Next: ``again.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minigrad.autograd.node import is_open
from minigrad.engine import Run
from minigrad.ops import Op
from minigrad.tensor.looks import look_of_memory
from minigrad.tensor.point import ALWAYS, GRADIENT, NUMBER, VALUE, Point, Where, is_by_host, is_found
from minigrad.tensor.replay import Trace

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

MOST_VARIANTS = 4
"""Points for one place that differ in numbers only."""


def make_point(trace: Trace, watch: Sequence[Run], old: dict[int, Where], new: dict[int, Where],
          alive: Sequence[int]) -> Point | None:
    """The point for what ran; None if some of its memory is not known by slot, or it would not give all that somebody
    holds, which is in the slots ``alive``. ``old`` and ``new`` say of values, by ``id``, which leaf's gradient they
    were, and what they become."""
    if len(watch) != 1:
        return None
    pending, executable = watch[0]
    if pending.device != "CPU" or any([c.op != Op.CONST for c in pending.constants]):
        return None  # a constant that is a result is memory now, and its number is gone
    slots = {id(v): i for i, v in reversed(list(enumerate(trace.values))) if v is not None}
    where = {key: (VALUE, slot) for key, slot in slots.items()} | old
    leaves = [where.get(id(leaf)) for leaf in pending.leaves]
    results = [new.get(id(r)) or where.get(id(r)) for r in pending.results]
    dead = [where.get(id(leaf)) for leaf, d in zip(pending.leaves, pending.dead, strict=False) if d]
    if any([at is not None and at[0] == GRADIENT for at in dead]):
        return None
    if None in leaves or None in results or any([id(s) not in slots for s in pending.scalars]):
        return None
    known = {at[1] for at in results if at is not None and at[0] == VALUE}
    if not all([is_found(trace, slot, known) for slot in alive if is_by_host(trace, slot)]):
        return None  # what a HOST function found in a value that was computed for it alone
    scalars: list[tuple[str, Any]] = [(VALUE, slots[id(s)]) for s in pending.scalars]
    at = {id(constant): i for i, constant in enumerate(trace.constants)}
    # what an op gives is always the same
    given = {key: slot for key, slot in slots.items() if trace.specs[slot] is None}
    constants: list[tuple[str, Any]] = [
        (NUMBER, at[id(c)]) if id(c) in at else (VALUE, given[id(c)]) if id(c) in given else (ALWAYS, c.arg)
        for c in pending.constants]
    if executable.tier == 0:
        needed, numbers = list(executable.fixed), constants + scalars
    else:
        taken = executable.recipe.free
        needed, numbers = [i for i in range(len(constants)) if i not in taken], scalars + [constants[i] for i in taken]
    fixed = [(what, x, repr(pending.constants[i].arg)) for i in needed for what, x in (constants[i],) if what != ALWAYS]
    types = [(r.shape, r.dtype, look_of_memory(r.shape, r.dtype)) for r in pending.results]
    read = {id(v) for v in (*pending.leaves, *pending.scalars, *pending.constants)}
    return Point(executable, pending.device, leaves, numbers, fixed, results, types,  # type: ignore[arg-type]
                 [slot for _, slot in dead], _shared(trace, {key: at for key, at in where.items() if key in read}))


def _shared(trace: Trace, where: dict[int, Where]) -> list[tuple[Where, Where]]:
    """Pairs of leaves that are one value here, as a Tensor and its ``detach()`` are: next time they may be two."""
    leaves = [(where.get(id(trace.values[slot])), (VALUE, slot)) for slot in trace.leaves]
    return [(one, other) for one, other in leaves if one is not None and one != other]


def stays_open(trace: Trace, alive: Sequence[int]) -> bool:
    """Whether one of the results that somebody holds may yet be differentiated. A replayed trace ends with all of its
    tape used up, so such a one is recorded each time."""
    return any([t is not None and _is_open(t) for t in map(trace.result, alive)])


def _is_open(t: Tensor) -> bool:
    try:
        return is_open(t._source())
    except RuntimeError:  # one of several views, whose memory was changed: its tape must not be asked for
        return True


def keep(trace: Trace, place: Any, point: Point | None) -> None:
    """Have the point at this place of the trace from now on; None if what ran there can't be one."""
    if point is None:
        trace.count(False)
        return
    known = [p for p in trace.entry.points if p[0] != place or not p[1].spent]
    same = [p for p in known if p[0] == place]
    if len(same) >= MOST_VARIANTS:
        known = [p for p in known if p is not same[0]]
    trace.entry.points = [*known, (place, point)]
