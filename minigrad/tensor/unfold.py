"""Stage: front. In: a trace that was followed. Out: the graph and the tape that its calls make when they are recorded,
behind the Tensors that were shells. After ``backward()`` only the tape is left, and it is released.
Next: ``pending.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import ref

from minigrad.autograd.mode import mode
from minigrad.graph.lazy import LazyBuffer
from minigrad.tensor.aliases import plain_alias, plain_view
from minigrad.tensor.base import made
from minigrad.tensor.entry import PUT, WRITE, Entry
from minigrad.tensor.function import made_at, recorded
from minigrad.tensor.replay import Trace
from minigrad.tensor.storage import Writes

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def unfold(trace: Trace) -> None:
    """Give every shell of the trace what an ordinary Tensor has."""
    tensors = [trace.leaf(slot) for slot in range(len(trace.specs))]
    numbers = iter(trace.numbers)
    enabled = mode.enabled
    put = {} if trace.released else trace.put  # a tape that is used up is that of what they stand for in the end
    at_last: dict[int, int] = {}
    for now, slot in reversed(put.items()):
        at_last[slot] = at_last.get(now, now)
    try:
        for entry in trace.path:
            mode.enabled = entry.enabled
            if entry.view == PUT:
                _put_again(trace, tensors, *entry.operands)
                continue
            results = _call(trace, entry, tensors, [next(numbers) for _ in range(entry.numbers)])
            for slot, fresh in enumerate(results, entry.first):
                tensors[slot] = _filled(trace, slot, fresh, None if slot in put else at_last.get(slot, slot))
    finally:
        mode.enabled = enabled


def _call(trace: Trace, entry: Entry, tensors: list[Tensor | None], numbers: Sequence[Any]) -> list[Tensor]:
    body, operands = entry.body, entry.operands
    if entry.view == WRITE:
        return []
    if body is None:
        parent = _known(tensors[operands[0]], entry.specs[0].placeholder())
        if type(entry.view) is str:
            return [plain_alias(parent, entry.view)]
        view = plain_view(parent, *entry.view)
        view._tracked()  # what is recorded next asks for its edge, but may not read it
        return [view]
    if trace.released:  # only the shapes of values are known, and only they matter
        values: list[LazyBuffer] = list(body.params)
    else:
        values = [trace.values[s] for s in operands]
        constants = [LazyBuffer.const(number, p.dtype, (), p.device)
                     for number, p in zip(numbers, body.params[len(operands):], strict=True)]
        trace.keep(constants)
        values += constants
    given = [_known(tensors[s], values[i]) for i, s in enumerate(operands)]
    results = recorded(entry.node, body, given, values)
    if entry.line is not None:
        made_at(results, (entry.line, body))
    if trace.released:
        for result in results:
            if result._edge is not None:
                result._edge[0].release(entirely=True)
    return results


def _known(tensor: Tensor | None, value: LazyBuffer) -> Tensor:
    """The Tensor; or, for a leaf that needs no gradient and is not kept any more, one that only has its value."""
    return made(value) if tensor is None else tensor


def _put_again(trace: Trace, tensors: list[Tensor | None], slot: int, now: int) -> None:
    """A result takes another value in place, as it did when that was recorded."""
    t, value = tensors[slot], tensors[now]
    if trace.released or t is None or value is None:
        return
    storage, lazy = t._storage, value._read()
    storage.put(lazy)
    storage.version += 1
    storage.changed()
    if lazy.srcs:
        Writes.note(storage)
    if mode.enabled and value._requires_grad:
        t._took(value)
        t._set_edge(value._source())
        storage.history += 1
    t._tag, t._slot = trace.tag, now
    tensors[now] = t


def _filled(trace: Trace, slot: int, fresh: Tensor, place: int | None) -> Tensor:
    """The shell in a place, turned into what was recorded for this slot; if nobody holds it, what was recorded. The
    place is another slot if the shell was changed in place later, None if it is turned into that already."""
    shell = None if place is None else trace.result(place)
    known = None if trace.released else trace.values[slot]
    if not trace.released:
        lazy = fresh._read()
        if known is not None and known.buffer is not None and lazy.buffer is None:  # a copy of a constant is one
            lazy.realised(known.buffer, known.offset)
            known.buffer.views += [ref(known), ref(lazy)]  # two nodes have this memory now; both may be read
        trace.values[slot] = lazy
    if shell is None:
        shared = trace.shared[slot]() if slot in trace.shared else None
        if shared is not None:  # its aliases have memory already
            fresh._storage = shared
        return fresh
    if place in trace.filled:
        if place != slot:  # it has the value of later: it gets to that again
            shell._storage.put(fresh._read())
            shell._storage.edits = 0
        if fresh._view is not None and shell._view is not None:  # it is made after what has been changed in place
            shell._view.history, shell._view.edits = fresh._view.history, fresh._view.edits
    else:
        shell._storage, shell._view, shell._grad, shell._hooks = fresh._storage, fresh._view, None, None
        shell._look = None
    if fresh._edge is not None and shell._storage is not None:
        fresh._edge[0].lies_in(fresh._storage, shell)
    shell._edge, shell._requires_grad = fresh._edge, fresh._requires_grad
    shell._spec = shell._owner = shell._parent = None
    return shell
