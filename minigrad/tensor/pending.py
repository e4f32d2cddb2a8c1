"""Stage: front. In: Tensors to change and their new values, in the middle of a trace. Out: the change as a call of the
trace, so that a step that has running statistics can be replayed.

From the call on, such a Tensor stands for the slot of its new value. Its Storage has no value before one is known: the
next point of the trace (``point.py``) gives it one, or recording does, or whoever reads it before, which ends the short
cut (``Storage.__getattr__``). What is not as simple as it was when the call was recorded (others on the same memory,
NumPy) is changed in the ordinary way, which is always right.
Next: ``point.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minigrad.autograd.mode import mode
from minigrad.engine import realise
from minigrad.graph.lazy import LazyBuffer
from minigrad.runtime.locks import computing, record_lock
from minigrad.tensor.entry import WRITE, Entry
from minigrad.tensor.looks import look_of_memory
from minigrad.tensor.replay import FOLLOW, OFF, Trace, thread
from minigrad.tensor.storage import Storage, Writes, tracing

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

MOST_WRITES = 8
"""How often a Tensor is changed before what it becomes is computed though nobody asked for it: else a program that only
calls a model in training mode would keep everything that the running statistics were computed from."""


def update_(targets: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Replace the contents of Tensors by others of the same shape and dtype, outside autograd, which does not count it,
    and without running anything: the new values are computed along with what is needed next.

    >>> import minigrad
    >>> x = minigrad.zeros(2)
    >>> update_([x], [x + 1])
    >>> x
    tensor([1., 1.])
    """
    trace = thread.trace
    with record_lock:
        if trace.state != OFF and trace.capture is None and not tracing.names and _is_simple(trace, targets, values):
            _traced(trace, targets, values)
        else:
            put(targets, values, counts=False)
    if trace.writes:
        if max([trace.writes[id(t._storage)].count for t in targets]) > MOST_WRITES:
            Trace.computer(trace)
    elif trace.capture is None and not tracing.names and targets and Writes.times(targets[0]._storage) > MOST_WRITES:
        with computing:
            realise(Writes.take())


def put(targets: Sequence[Tensor], values: Sequence[Tensor], counts: bool = True) -> None:
    """``update_`` in the ordinary way, which ends a trace that is followed, unless it is part of a point. ``counts``:
    autograd may find that the Tensors were changed in place."""
    lazies = [v._read() for v in values]
    for target, lazy in zip(targets, lazies, strict=True):
        old = target._storage.lazy
        if lazy.shape != target._shape():
            raise RuntimeError(f"update_(): a target of shape {list(target._shape())} got a value of shape "
                               f"{list(lazy.shape)}")
        target._replace(lazy.cast(old.dtype), counts)
        Writes.keep(target._storage, old)


# --- as a call of the trace


def _is_simple(trace: Trace, targets: Sequence[Tensor], values: Sequence[Tensor]) -> bool:
    """Whether all are of this trace, and each target is the one Tensor of the trace on its memory."""
    tag = trace.tag
    for v in values:
        if v._tag != tag:
            return False
    for t in targets:
        if t._tag != tag or t._spec is not None or t._view is not None or t._requires_grad:
            return False
        if trace.specs[t._slot] is not None and id(t._storage) not in trace.writes:  # a result of the trace
            return False
        if not _is_alone(trace, t):
            return False
    return True


def _is_alone(trace: Trace, t: Tensor) -> bool:
    """Whether no other leaf of the trace is on this Storage, and NumPy does not see it."""
    storage = t._storage
    if not storage.is_known():  # whoever asks gives it a value
        return True
    value, slot = storage.lazy, t._slot
    buffer = value.buffer
    if value is not trace.values[slot] or (buffer is not None and buffer.exports):
        return False
    if value.readers == (trace.specs[slot] is None) and (buffer is None or not buffer.is_shared):
        return True  # a leaf is read by its trace, and nothing reads this one beside that
    return all([trace.holders[i] is t or trace.holders[i]._storage is not storage for i in trace.leaves])


def _traced(trace: Trace, targets: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    operands = (*targets, *values)
    known = None
    if trace.state == FOLLOW:
        known = trace.quick(trace, WRITE, len(targets), mode.enabled, operands, ())
    if known is None:
        known = trace.follow(WRITE, len(targets), operands)
    if known is not None:
        for t, v in zip(targets, values, strict=True):
            _let_stand(trace, t, v._slot)
    elif trace.state == OFF or trace is not thread.trace or not _may_be_noted(trace, targets, values):
        put(targets, values, counts=False)
    else:
        _note(trace, targets, values)


def _may_be_noted(trace: Trace, targets: Sequence[Tensor], values: Sequence[Tensor]) -> bool:
    """Whether the new values fit, and no view of a target is a result of this trace."""
    for t, v in zip(targets, values, strict=True):
        if v._shape() != t._shape() or v.dtype is not t.dtype or v.device != t.device:
            return False
    slots = {t._slot for t in targets}
    return not any([entry.body is None and not slots.isdisjoint(entry.operands) for entry in trace.path
                    if entry.view != WRITE])


def _note(trace: Trace, targets: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Change the Tensors, and remember that as a call."""
    key = trace.asked
    for t, v in zip(targets, values, strict=True):
        storage, lazy = t._storage, v._read()
        trace.wrote(storage, t, v._slot, storage.lazy)
        storage.put(lazy)
        storage.version += 1
        if lazy.srcs:
            Writes.note(storage)
        Writes.keep(storage, trace.writes[id(storage)].before)
        t._slot, t._look = v._slot, None
    trace.note(key, Entry(view=WRITE), [])


def _let_stand(trace: Trace, t: Tensor, slot: int) -> None:
    """The Tensor stands for what is in a slot, whether that is known or not."""
    storage, old = t._storage, None
    if storage.is_known():
        old = storage.lazy
        old.owners -= 1
        del storage.lazy
    trace.wrote(storage, t, slot, old)
    storage.pending = trace
    storage.version += 1
    t._slot, t._look = slot, None
    value = trace.values[slot]
    if value is not None:
        _give(storage, value)


# --- the values


def _give(storage: Storage, value: LazyBuffer) -> None:
    value.owners += 1
    storage.lazy, storage.pending = value, None


def settle(trace: Trace) -> bool:
    """Give the Storages that were changed the values that are known now. Whether all have one."""
    done = True
    for change in trace.writes.values():
        storage, t, slot = change.storage, change.tensor, change.slot
        if not storage.is_known():
            value = trace.values[slot]
            if value is None:
                done = False
                continue
            _give(storage, value)
            if value.buffer is not None and value.arg is None and storage.edits >= 0:
                t._look = value, look_of_memory(value.shape, value.dtype)
        change.count = 0
    return done


def settle_recorded(trace: Trace) -> None:
    """Give the Storages that were changed what was recorded for them."""
    for change in trace.writes.values():
        storage = change.storage
        if not storage.is_known():
            value: Any = trace.values[change.slot]
            _give(storage, value)
            if value.srcs:
                Writes.note(storage)
                Writes.keep(storage, change.before)


def undo(trace: Trace) -> None:
    """After an error: what can't be computed was not written."""
    if trace.state == FOLLOW:
        trace.diverge("its values could not be computed")
    settle_recorded(trace)
    Writes.undo()


def wake(storage: Storage) -> LazyBuffer:
    """Somebody reads a Storage before the new value is known: record what leads to it."""
    with record_lock:
        if not storage.is_known():
            trace = storage.pending
            if trace.state == FOLLOW and not trace.released:
                trace.diverge("a Tensor that was changed in place was looked at before the new value was needed")
            else:
                trace.unfold()
        return storage.lazy


Storage.wake = staticmethod(wake)
Trace.settler = staticmethod(settle_recorded)
