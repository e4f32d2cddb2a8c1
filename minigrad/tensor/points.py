"""Stage: front. In: a trace, at a place where values are needed. Out: the values. The first time the graph runs in the
ordinary way and what ran is kept as a ``Point``; when the same calls have led here again, it runs on the memory of the
leaves of today, with no graph.
Next: ``operands.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from minigrad.autograd.backward import run as run_backward
from minigrad.autograd.node import is_open
from minigrad.engine import Run, graphs_are_shown, realise
from minigrad.errors import IndexOutOfRange
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.runtime.locks import computing
from minigrad.tensor.again import written_again
from minigrad.tensor.base import made
from minigrad.tensor.entry import Entry
from minigrad.tensor.looks import look_of_memory
from minigrad.tensor.pending import put, settle, undo
from minigrad.tensor.point import (
    ALWAYS,
    GRADIENT,
    NUMBER,
    TARGET,
    VALUE,
    Point,
    Where,
    fill,
    is_by_host,
    is_found,
)
from minigrad.tensor.quick import quicken
from minigrad.tensor.replay import FOLLOW, OFF, RECORD, Trace, several, thread
from minigrad.tensor.storage import Storage, Writes, tracing
from minigrad.tensor.unfold import unfold

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

MOST_VARIANTS = 4
"""Points for one place that differ in numbers only."""

ENOUGH_RUNS = 16
"""Runs after which a point is written down as a function."""


def _find(trace: Trace, place: Any) -> Point | None:
    for known, point in trace.entry.points:
        if known == place and (not (point.fixed or point.dead or point.same) or point.fits(trace)):
            if graphs_are_shown(point.executable):
                return None
            point.runs += 1
            if point.runs == ENOUGH_RUNS and place[0] in ("backward", "value"):
                point.again = written_again(point, place, trace)
            return point
    return None


def _went(again: Callable[[Trace, Any], bool], trace: Trace, asked: Any) -> bool:
    """What the function says; False if an index is out of range. Nothing has changed then: what is recorded fails
    again, and says where."""
    try:
        return again(trace, asked)
    except IndexOutOfRange:
        return False


def _again(kind: str, asked: Any) -> bool:
    """Have a function that was written for a place of this kind do it all; False if there is none."""
    trace = thread.trace
    if trace.state != FOLLOW:
        return False
    for place, point in trace.entry.points:
        again = point.again
        if again is not None and place[0] == kind and _went(again, trace, asked):
            return True
    return False


def _ended(trace: Trace, after: str, held: bool = True) -> None:
    if trace.capture is None:
        if trace.writes and trace.state == FOLLOW and not settle(trace):
            trace.diverge("a Tensor that was changed in place has no value yet")
        trace.end(held)
        thread.begin(after)


@contextmanager
def _ending(after: str) -> Iterator[None]:
    """A block after which a new trace begins, also when it fails: what can't be computed is not tried again along with
    other things."""
    try:
        yield
    finally:
        _ended(thread.trace, after)


# --- making a point of what ran


def _made(trace: Trace, watch: Sequence[Run], old: dict[int, Where], new: dict[int, Where],
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


def _is_open(trace: Trace, alive: Sequence[int]) -> bool:
    """Whether one of the results that somebody holds may yet be differentiated. A replayed trace ends with all of its
    tape used up, so such a one is recorded each time."""
    return any([t is not None and is_open(t._source()) for t in map(trace.result, alive)])


def _keep(trace: Trace, place: Any, point: Point | None) -> None:
    if point is None:
        trace.count(False)
        return
    known = [p for p in trace.entry.points if p[0] != place or not p[1].spent]
    same = [p for p in known if p[0] == place]
    if len(same) >= MOST_VARIANTS:
        known = [p for p in known if p is not same[0]]
    trace.entry.points = [*known, (place, point)]


# --- backward()


def backward(t: Tensor) -> None:
    """``t.backward()``."""
    trace = thread.trace
    try:
        if not several and not tracing.names and _again("backward", t):
            return
        with computing:
            if not several or tracing.names or not _again("backward", t):
                _backward(t)
    except Exception:
        undo(trace)
        raise


def _backward(t: Tensor) -> None:
    trace = thread.trace
    if tracing.names or trace.state == OFF or t._tag != trace.tag:
        if trace.path:
            trace.stop("backward from a Tensor that this trace does not know")
        with _ending("backward"):
            run_backward((t,), (None,), along=trace.held() + Writes.take())
        return
    if trace.state == FOLLOW:
        place = _backward_place(trace, t._slot)
        point = _find(trace, place)
        if point is not None and _replay_backward(trace, point, place[2]):
            return
        trace.diverge("this backward() was not seen here before")
    _record_backward(trace, t)


def _backward_place(trace: Trace, slot: int) -> Any:
    grads: list[Any] = []
    for _, leaf in trace.tracked:
        value = None if leaf._grad is None else leaf._grad._whole()
        known: Any = value and (repr(value.arg) if value.op == Op.CONST else True)
        if value is not None and (value.shape != leaf._shape() or value.dtype is not leaf.dtype):
            known = value.shape, value.dtype  # the leaf was another when it got its gradient
        grads += known, not leaf._hooks
    return "backward", slot, trace.alive(), tuple(grads)


def _record_backward(trace: Trace, t: Tensor) -> None:
    place = _backward_place(trace, t._slot)
    leaves = trace.tracked
    before = [(leaf._grad._storage.lazy, i) for i, leaf in leaves if leaf._grad is not None]
    old = {id(value): (GRADIENT, i) for value, i in before}
    plain = all([not leaf._hooks for _, leaf in leaves])
    watch: list[Run] = []
    trace.busy = plain  # gradients that are there already are added to in place
    with _ending("backward"):
        run_backward((t,), (None,), along=_pending(trace, place[2]) + Writes.take(), watch=watch)
        # else one ``.grad`` is that of two leaves, or a hook has needed values meanwhile
        if plain and len(old) == len(before) and trace.state == RECORD and trace is thread.trace:
            new = {id(leaf._grad._whole()): (GRADIENT, i) for i, leaf in reversed(leaves) if leaf._grad is not None}
            open_ = t._slot in trace.leads_out() or _is_open(trace, place[2])
            _keep(trace, place, None if open_ else _made(trace, watch, old, new, place[2]))


def _pending(trace: Trace, alive: Sequence[int]) -> list[LazyBuffer]:
    """The values to compute along with what was asked for: all that somebody holds, or shows as an alias does, which
    does not hold it; a view has none of its own."""
    found: dict[LazyBuffer, None] = {}
    for i in alive:
        spec = trace.specs[i]
        if spec is None or type(spec.view) is tuple:
            continue
        value = trace.values[i if spec.view is None else trace.root_of(i)]
        if value is not None and value.srcs:
            found[value] = None
    return list(found)


def _replay_backward(trace: Trace, point: Point, alive: Sequence[int]) -> bool:
    buffers = point.run(trace)
    if buffers is None:
        return False
    trace.busy = True
    values, holders, device = trace.values, trace.holders, point.device
    for (what, slot), (shape, dtype, look), buffer in zip(point.results, point.types, buffers, strict=True):
        lazy = LazyBuffer.from_buffer(buffer, shape, dtype, device)
        if what == VALUE:
            values[slot] = lazy
            continue
        leaf = holders[slot]
        if leaf._grad is None:
            leaf._grad = gradient = made(lazy)
            gradient._look = lazy, look
        else:
            leaf._grad._replace(lazy)
    _replayed(trace, point, "backward", alive)
    return True


def _replayed(trace: Trace, point: Point, place: str, alive: Sequence[int]) -> None:
    """The end of a trace that ran again; ``alive``: the slots of results that somebody holds."""
    held = fill(trace, alive)
    if point.opens:
        trace.unfold()
        held = False
    trace.count(True)
    _ended(trace, place, held)
    if not Trace.quickened:
        quicken()


# --- step()


def update(targets: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Replace the contents of Tensors by others of the same shape, outside autograd, and compute them now, in one run.
    The values are used up: they can't be read afterwards."""
    with computing:
        _update(targets, values)


def _update(targets: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    trace = thread.trace
    used, changed = _slots(trace, values), _slots(trace, targets)
    if used is None or changed is None or tracing.names or any([t._view is not None for t in targets]):
        if trace.path:
            trace.stop("an update of a Tensor that this trace does not know")
        with _ending("update"):
            put(targets, values)
            realise([t._storage.lazy for t in targets] + trace.held() + Writes.take())
        return
    others = tuple([i for i in trace.alive() if i not in used])
    place = "update", changed, used, others
    if trace.state == FOLLOW:
        point = _find(trace, place)
        if point is not None and _replay_update(trace, point, targets, others):
            return
        trace.diverge("this update was not seen here before")
    trace.busy = True
    trace.let_go()
    put(targets, values)
    new = {id(t._storage.lazy): (TARGET, i) for i, t in enumerate(targets)}
    watch: list[Run] = []
    along = _pending(trace, others)
    with _ending("update"):
        realise([t._storage.lazy for t in targets] + along + Writes.take(), watch)
        if trace.state == RECORD:
            point = None if _is_open(trace, others) else _made(trace, watch, {}, new, others)
            if point is not None and sum(what == TARGET for what, _ in point.results) == len(targets):
                _keep(trace, place, point)  # else one is memory that NumPy sees, and was written at once


def _slots(trace: Trace, tensors: Sequence[Tensor]) -> tuple[int, ...] | None:
    """The slots of Tensors, if all are of this trace."""
    tag, slots = trace.tag, []
    for t in tensors:
        if t._tag != tag:
            return None
        slots.append(t._slot)
    return tuple(slots) if trace.state != OFF else None


def _replay_update(trace: Trace, point: Point, targets: Sequence[Tensor], others: Sequence[int]) -> bool:
    for target in targets:
        value = target._storage.lazy
        if value is not trace.values[target._slot] or value.buffer is None or value.buffer.exports:
            return False
    buffers = point.run(trace)
    if buffers is None:
        return False
    trace.busy = True
    for (what, number), (shape, dtype, _), buffer in zip(point.results, point.types, buffers, strict=True):
        if what == VALUE:
            trace.values[number] = LazyBuffer.from_buffer(buffer, shape, dtype, point.device)
            continue
        storage = targets[number]._storage
        storage.changed()
        if buffer is storage.lazy.buffer:
            storage.version += 1  # the memory of the old contents, which nobody else could read
        else:
            storage.write(LazyBuffer.from_buffer(buffer, shape, dtype, point.device))
    _replayed(trace, point, "update", others)
    return True


# --- item(), print, numpy() …


def value(shells: Sequence[Tensor]) -> bool:
    """Compute shells that somebody wants to see; False if what ran here before can't run again, or while a composite is
    traced."""
    if tracing.names:
        return False
    if not several and _again("value", shells):
        return True
    with computing:
        return (bool(several) and _again("value", shells)) or _value_again(thread.trace, shells)


def _value_again(trace: Trace, shells: Sequence[Tensor]) -> bool:
    if trace.state != FOLLOW:
        return False
    slots = []
    for s in shells:
        if s._owner is not trace:
            return False
        slots.append(s._slot)
    return _run_again(trace, ("value", tuple(slots), trace.alive())) and all([slot in trace.filled for slot in slots])


def _run_again(trace: Trace, place: Any) -> bool:
    """Run what was asked for at this place of the trace before; False if it can't run again."""
    alive = place[2]
    point = _find(trace, place)
    buffers = None if point is None else point.run(trace)
    if point is None or buffers is None:
        return False
    for (_, slot), (shape, dtype, _), buffer in zip(point.results, point.types, buffers, strict=True):
        trace.values[slot] = LazyBuffer.from_buffer(buffer, shape, dtype, point.device)
    if point.after is None:
        _replayed(trace, point, "value", alive)
    else:
        fill(trace, alive)
        trace.count(True)
        trace.entry = point.after
    return True


def compute(lazies: Sequence[LazyBuffer]) -> None:
    """Run pending values that somebody wants to see."""
    with computing:
        _compute([lazy for lazy in lazies if lazy.buffer is None])  # another thread may have computed some meanwhile


def _compute(lazies: Sequence[LazyBuffer], kind: str = "value") -> None:
    trace = thread.trace
    if not lazies and not trace.writes:
        return
    if trace.state == OFF:
        realise(lazies)
        if not tracing.names:
            thread.begin()
        return
    at = {id(v): i for i, v in reversed(list(enumerate(trace.values)))}
    slots = tuple([at.get(id(lazy)) for lazy in lazies])
    if trace.state != RECORD or None in slots:
        realise(lazies)
        return
    place = kind, slots, trace.alive()
    watch: list[Run] = []
    realise([*lazies, *_changed(trace)], watch)
    point = _made(trace, watch, {}, {}, place[2])
    settle(trace)
    known = next((p for where, p in trace.entry.points if where == place), None)
    _keep(trace, place, point)
    unfinished = [slot for slot in range(len(trace.specs)) if not _is_done(trace.result(slot))]
    if not unfinished:
        _ended(trace, "value")
    elif point is None:
        trace.stop("")
    elif trace.leads_out().issuperset(unfinished):
        point.opens = True
        _ended(trace, "value")
    else:
        point.after = Entry() if known is None or known.after is None else known.after
        point.after.first, point.after.through = len(trace.values), trace.entry.through
        trace.entry = point.after


def _changed(trace: Trace) -> list[LazyBuffer]:
    """The pending values of Storages that calls of the trace have changed."""
    return [change.storage.lazy for change in trace.writes.values()]


def compute_changes(trace: Trace) -> None:
    """Compute what Storages were changed to, though nobody has asked for it, and all that somebody holds, so that the
    trace may end here."""
    with computing:
        alive = trace.alive()
        if trace.state == FOLLOW:
            slots = [i for i in alive if trace.values[i] is None and trace.specs[i].view is None]  # type: ignore[union-attr]
            if _run_again(trace, ("changes", tuple(slots), alive)):
                return
            trace.diverge("Tensors were changed in place time and again, and computed here")
        _compute(_pending(trace, alive), "changes")
        trace.ending, trace.look_again = True, 0


Trace.unfolder = unfold
Trace.valued = value
Trace.computer = staticmethod(compute_changes)
Storage.compute = staticmethod(compute)


def _is_done(result: Tensor | None) -> bool:
    """Whether a result needs nothing of its trace any more."""
    if result is None:
        return True
    lazy = result._whole()
    return result._source() is None and (lazy.buffer is not None or not lazy.srcs)
