"""Stage: front. In: a trace, at a place where values are needed. Out: the values. The first time the graph runs in the
ordinary way and what ran is kept as a ``Point``; when the same calls have led here again, it runs on the memory of the
leaves of today, with no graph.
Next: ``operands.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from minigrad import lazily
from minigrad.autograd.backward import run as run_backward
from minigrad.autograd.backward import run_grad
from minigrad.autograd.protocol import Front
from minigrad.engine import Run, graphs_are_shown, realise
from minigrad.errors import IndexOutOfRange, OutOfMemoryError
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.runtime.locks import computing
from minigrad.tensor.base import made
from minigrad.tensor.entry import Entry
from minigrad.tensor.making import keep, make_point, stays_open
from minigrad.tensor.pending import put, settle, undo
from minigrad.tensor.point import (
    GRADIENT,
    TARGET,
    VALUE,
    Point,
    Where,
    fill,
    nothing_ran,
)
from minigrad.tensor.replay import FOLLOW, OFF, RECORD, Trace, several, thread
from minigrad.tensor.storage import Storage, Writes, tracing
from minigrad.tensor.unfold import unfold

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

ENOUGH_RUNS = 16
"""Runs after which a point is written down as a function."""


def _find(trace: Trace, place: Any) -> Point | None:
    for known, point in trace.entry.points:
        if known == place and (not (point.fixed or point.dead or point.same) or point.fits(trace)):
            if graphs_are_shown(point.executable):
                return None
            point.runs += 1
            if point.runs == ENOUGH_RUNS and place[0] in ("backward", "value"):
                point.again = lazily.module("minigrad.tensor.again").written_again(point, place, trace)
            return point
    return None


def _again(kind: str, asked: Any) -> bool:
    """Have a function that was written for a place of this kind do it all; False if there is none, if an index is out
    of range, or if there is no room. Nothing has changed then: what is recorded fails again, and says where."""
    trace = thread.trace
    if trace.state != FOLLOW:
        return False
    try:
        for place, point in trace.entry.points:
            again = point.again
            if again is not None and place[0] == kind and again(trace, asked):
                return True
    except (IndexOutOfRange, OutOfMemoryError) as error:
        if not nothing_ran(error):
            raise
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
        # else one ``.grad`` was that of two leaves, or a hook has needed values meanwhile
        if plain and len(old) == len(before) and trace.state == RECORD and trace is thread.trace:
            given = [(i, leaf._grad._whole()) for i, leaf in leaves if leaf._grad is not None]
            new = {id(value): (GRADIENT, i) for i, value in reversed(given)}
            open_ = t._slot in trace.leads_out() or stays_open(trace, place[2])
            point = None if open_ else make_point(trace, watch, old, new, place[2])
            keep(trace, place, point if point is not None and _hands_out(point, given, old, new) else None)


def _hands_out(point: Point, given: Sequence[tuple[int, LazyBuffer]], old: dict[int, Where], new: dict[int, Where],
               ) -> bool:
    """Have the point give each leaf its gradient, also where one value is that of several, as those of the terms of a
    sum are; False if it does not compute one of them."""
    firsts = [(i, new[id(value)][1]) for i, value in given if id(value) not in old]
    made = {slot for what, slot in point.results if what == GRADIENT}
    had = {slot for _, slot in old.values()}
    point.twins = [(i, first) for i, first in firsts if i != first]
    return all([first in made for _, first in firsts]) and not any([i in had for pair in point.twins for i in pair])


def gradients(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
    """``autograd.grad`` of one result of the trace, with respect to leaves; None for others."""
    trace = thread.trace
    if tracing.names or trace.state == OFF or len(outputs) != 1 or _slots(trace, outputs) is None:
        return None
    t, slots, tracked = outputs[0], _slots(trace, inputs), dict(trace.tracked)
    if slots is None or len({*slots}) < len(slots) or not tracked.keys() >= {*slots} or any([x._hooks for x in inputs]):
        return None
    try:
        with computing:
            return _gradients(trace, t, inputs, slots)
    except Exception:
        undo(trace)
        raise


def _gradients(trace: Trace, t: Tensor, inputs: Sequence[Tensor], slots: tuple[int, ...]) -> tuple[Tensor, ...]:
    place = "gradients", (t._slot, slots), trace.alive()
    if trace.state == FOLLOW:
        point = _find(trace, place)
        found = None if point is None else _replay_gradients(trace, point, place[2])
        if found is not None:
            return found
        trace.diverge("this autograd.grad() was not seen here before")
    watch: list[Run] = []
    with _ending("backward"):
        along = _pending(trace, place[2]) + Writes.take()
        found = run_grad((t,), inputs, (None,), along=along, watch=watch)
        if trace.state == RECORD and trace is thread.trace:
            new = {id(g._whole()): (TARGET, i) for i, g in enumerate(found)}
            open_ = t._slot in trace.leads_out() or stays_open(trace, place[2])
            point = None if open_ else make_point(trace, watch, {}, new, place[2])
            told = point is not None and [at for at in point.results if at[0] == TARGET]
            if told and len(told) == len(found):  # else two are one value, or one was there before
                keep(trace, place, point)
    return found


def _replay_gradients(trace: Trace, point: Point, alive: Sequence[int]) -> tuple[Tensor, ...] | None:
    buffers = point.run(trace)
    if buffers is None:
        return None
    found: dict[int, Tensor] = {}
    for (what, number), (shape, dtype, look), buffer in zip(point.results, point.types, buffers, strict=True):
        lazy = LazyBuffer.from_buffer(buffer, shape, dtype, point.device)
        if what == VALUE:
            trace.values[number] = lazy
        else:
            found[number] = gradient = made(lazy)
            gradient._look = lazy, look
    _replayed(trace, point, "backward", alive)
    return tuple([found[i] for i in range(len(found))])


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
    for slot, first in point.twins:
        holders[slot]._grad = gradient = made(holders[first]._grad._storage.lazy)
        gradient._look = holders[first]._grad._look
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
        _quicken()


def _quicken() -> None:
    """The compiled ``follow`` is loaded when a program first repeats itself."""
    lazily.module("minigrad.tensor.quick").quicken()


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
            point = None if stays_open(trace, others) else make_point(trace, watch, {}, new, others)
            if point is not None and sum(what == TARGET for what, _ in point.results) == len(targets):
                keep(trace, place, point)  # else one is memory that NumPy sees, and was written at once


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
    point = make_point(trace, watch, {}, {}, place[2])
    settle(trace)
    known = next((p for where, p in trace.entry.points if where == place), None)
    keep(trace, place, point)
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
Trace.quicken = _quicken
Front.gradients = staticmethod(gradients)
Trace.valued = value
Trace.computer = staticmethod(compute_changes)
Storage.compute = staticmethod(compute)


def _is_done(result: Tensor | None) -> bool:
    """Whether a result needs nothing of its trace any more."""
    if result is None:
        return True
    lazy = result._whole()
    return not result._tracked() and (lazy.buffer is not None or not lazy.srcs)
