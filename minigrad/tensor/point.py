"""Stage: front. In: nothing. Out: ``Point``, what ran at a place of a trace, said of its slots, so that it can run
again on the memory of today's leaves.
Next: ``making.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import Any
from weakref import ref

import numpy as np

from minigrad import lazily
from minigrad.dtype import DType
from minigrad.engine import by_host, leaf_from_numpy, run_again, to_numpy
from minigrad.errors import IndexOutOfRange, OutOfMemoryError
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.base import apart_of, made
from minigrad.tensor.changes import is_filled
from minigrad.tensor.entry import Entry
from minigrad.tensor.pending import settle
from minigrad.tensor.replay import Trace
from minigrad.tensor.storage import INFERENCE, Storage
from minigrad.tensor.view import View

VALUE, GRADIENT, TARGET = "value", "gradient", "target"
NUMBER, ALWAYS = "number", "always"
Where = tuple[str, int]
"""A value of a slot, the ``.grad`` of the leaf in a slot, or the new contents of one of several targets."""


class Point:
    """What ran at a place. ``leaves`` and ``results`` say where the executable's memory comes from and goes to;
    ``numbers`` those it takes: at positions among the trace's numbers, leaves, or always the same; ``fixed`` those
    that are part of its code; ``same``: pairs of leaves that were one value, which it reads once; ``dead`` the leaves
    it may overwrite. ``types``: the shape and dtype of each result, and its look as a leaf. ``after``: where the trace
    continues. ``opens``: a result that somebody holds may yet be differentiated, through a leaf, so that it needs its
    tape. ``runs`` counts its runs; after some of them ``again`` is a function that does it all (``again.py``).
    ``spent``: it has run so often that another takes its place, with a compiled executable. ``twins``: slots of leaves
    whose ``.grad`` becomes the value that another leaf's becomes, with the slot of that.
    """

    __slots__ = ("after", "again", "dead", "device", "executable", "fixed", "leaves", "numbers", "opens", "results",
                 "runs", "same", "spent", "twins", "types")

    def __init__(self, executable: Any, device: str, leaves: list[Where], numbers: list[tuple[str, Any]],
                 fixed: list[tuple[str, int, str]], results: list[Where],
                 types: list[tuple[tuple[int, ...], DType, int]], dead: list[int],
                 same: list[tuple[Where, Where]]) -> None:
        self.executable, self.device = executable, device
        self.leaves, self.numbers, self.fixed, self.dead, self.same = leaves, numbers, fixed, dead, same
        self.results, self.types = results, types
        self.after: Entry | None = None
        self.opens, self.runs, self.spent = False, 0, False
        self.again: Callable[[Trace, Any], bool] | None = None
        self.twins: Sequence[tuple[int, int]] = ()

    def fits(self, trace: Trace) -> bool:
        """Whether it may run on the leaves of this trace."""
        given, values = trace.numbers, trace.values
        for what, i, number in self.fixed:
            if repr(given[i] if what == NUMBER else number_of(values[i])) != number:
                return False
        if any([_value_at(trace, one) is not _value_at(trace, other) for one, other in self.same]):
            return False
        return not self.dead or all([is_ours(values[slot]) or (values[slot] is None and is_by_host(trace, slot))
                                     for slot in self.dead])

    def run(self, trace: Trace) -> list[Any] | None:
        """The results' buffers; None if a leaf is not in memory, an index is out of range, or there is no room."""
        buffers: list[Any] = []
        addresses: list[int] = []
        values = trace.values
        for what, slot in self.leaves:
            value = (values[slot] or seen_through(trace, slot)) if what == VALUE else _gradient(trace, slot)
            if value is None:
                return None
            buffer = value.buffer
            if buffer is None:
                return None
            buffers.append(buffer)
            addresses.append(buffer.address + value.offset)
        executable = self.executable
        if executable.tier == 0 and not executable.account():
            self.spent = True  # it has run so often that it is worth a compiler
            return None
        numbers: list[Any] = []
        for what, x in self.numbers:
            numbers.append(trace.numbers[x] if what == NUMBER else number_of(values[x]) if what == VALUE else x)
        try:
            return run_again(executable, buffers, addresses, numbers, self.device)
        except (IndexOutOfRange, OutOfMemoryError) as error:
            if not nothing_ran(error):
                raise
            return None  # what is recorded fails again, and says where


def nothing_ran(error: Exception) -> bool:
    """Whether a run with this error has changed nothing."""
    return not isinstance(error, OutOfMemoryError) or error.output is not None


def _value_at(trace: Trace, at: Where) -> LazyBuffer | None:
    return trace.values[at[1]] if at[0] == VALUE else _gradient(trace, at[1])


def _gradient(trace: Trace, slot: int) -> LazyBuffer | None:
    """The ``.grad`` of a leaf, if it is plain memory."""
    leaf = trace.leaf(slot)
    gradient = None if leaf is None else leaf._grad
    if gradient is None or gradient._view is not None:
        return None
    value = gradient._storage.lazy
    return None if value.arg is not None or value.buffer is None or value.buffer.exports else value


def _operand(trace: Trace, slot: int) -> LazyBuffer | None:
    """What a call reads, if it is in memory, or a number."""
    value = trace.values[slot] or seen_through(trace, slot)
    return value if value is not None and _is_there(value) else None


def _is_there(value: LazyBuffer) -> bool:
    return value.buffer is not None or value.op in (Op.CONST, Op.SCALAR)


def seen_through(trace: Trace, slot: int) -> LazyBuffer | None:
    """The value of a result that needs no kernel: an operand's memory, or its number, as that of a clone; a part of it,
    as that of a view; or what a HOST function finds in it."""
    if trace.specs[slot] is None:
        return None
    entry, source = trace.entry_of(slot), 0
    if is_by_host(trace, slot):
        return _found_by_host(trace, slot)
    if entry.view is None:
        output = _output(entry, slot)
        if output.op != Op.PARAM:
            return None
        source = output.arg
    if source >= len(entry.operands):  # a number
        return None
    value = _operand(trace, entry.operands[source])
    if value is None:
        return None
    if type(entry.view) is tuple:
        for op, arg in entry.view[0]:
            value = value.move(op, arg)
    if not _is_there(value):  # what strides do not show
        array, = lazily.module("minigrad.graph.reference").evaluate([value], to_numpy)
        value = leaf_from_numpy(array, value.dtype, value.device)
    trace.values[slot] = value
    return value


def is_found(trace: Trace, slot: int, known: Set[int]) -> bool:
    """Whether ``seen_through`` finds the value of a result once those in the slots ``known`` are."""
    if slot in known or trace.specs[slot] is None:
        return True
    entry = trace.entry_of(slot)
    if entry.view is not None:
        return is_found(trace, entry.operands[0], known)
    output = _output(entry, slot)
    return (output.op == Op.PARAM or (output.op == Op.HOST and len(output.arg) == 2)) and all([
        s.op == Op.PARAM and s.arg < len(entry.operands) and is_found(trace, entry.operands[s.arg], known)
        for s in output.srcs or (output,)])


def _output(entry: Entry, slot: int) -> LazyBuffer:
    """What a call that is no view has in this slot, in its body."""
    return entry.body.outputs[slot - entry.first]  # type: ignore[union-attr]


def is_by_host(trace: Trace, slot: int) -> bool:
    """Whether a result is what a HOST function gives: memory that nobody else knows, if it is computed again."""
    entry = trace.entry_of(slot)
    return trace.specs[slot] is not None and entry.view is None and _output(entry, slot).op == Op.HOST


def _found_by_host(trace: Trace, slot: int) -> LazyBuffer | None:
    """What the HOST function gives, if it has one result and what it reads is in memory, or a number."""
    entry = trace.entry_of(slot)
    node = _output(entry, slot)
    arrays: list[np.ndarray] = []
    for source in node.srcs:
        if source.op != Op.PARAM or source.arg >= len(entry.operands):
            return None
        value = _operand(trace, entry.operands[source.arg])
        if value is None:
            return None
        arrays += lazily.module("minigrad.graph.reference").evaluate([value], to_numpy)
    if len(node.arg) > 2:
        return None
    trace.values[slot] = value = by_host(node, arrays, entry)[0]
    return value


def number_of(leaf: LazyBuffer | None) -> Any:
    """The number that a leaf without memory is: of a run-time argument, or of a constant."""
    assert leaf is not None
    return leaf.value if leaf.op == Op.SCALAR else leaf.arg


def is_ours(value: LazyBuffer | None) -> bool:
    """Whether nobody but one Storage, and this trace, can read the value."""
    return value is not None and value.owners == 1 and value.readers == 1 and not value.buffer.exports and (
        not value.buffer.is_shared)


def _shared(trace: Trace, alias: int) -> Storage | None:
    """The Storage that an alias shows, which may be all that is left of it; None if it has no value yet."""
    slot = trace.root_of(alias)
    leaf = trace.leaf(slot)
    whole = trace.result(slot) if leaf is None else leaf
    if whole is not None:
        return whole._storage if is_filled(whole) else None
    storage = trace.shared[slot]() if slot in trace.shared else None
    if storage is None:
        value = trace.values[slot] or seen_through(trace, slot)
        if value is None:
            return None
        storage = Storage(value)
        if trace.specs[slot].enabled is None:  # type: ignore[union-attr]
            storage.edits = INFERENCE
        trace.shared = {**trace.shared, slot: ref(storage)}
    return storage


def _seen(trace: Trace, alias: int, storage: Storage) -> View | None:
    """How an alias sees a Storage: as what it is an alias of, outside autograd."""
    views: list[Any] = []
    slot = alias
    while (spec := trace.specs[slot]) is not None and spec.view is not None:
        views += [spec.view] if type(spec.view) is tuple else []
        slot = trace.entry_of(slot).operands[0]
    if not views:
        return None
    whole, spec = made(storage.lazy), trace.specs[alias]
    whole._storage = storage
    assert spec is not None and spec.strides is not None
    steps = tuple([step for view in reversed(views) for step in view[0]])
    dtype = None if spec.dtype is storage.lazy.dtype else spec.dtype
    view = View(whole, steps, spec.shape, spec.strides, spec.offset, views[0][4], dtype, False)
    view.cut = True
    return view


def _changes(trace: Trace, slot: int) -> int:
    """How often what is in a slot was changed in place."""
    count = 0
    while slot in trace.put:
        slot, count = trace.put[slot], count + 1
    return count


def fill(trace: Trace, alive: Sequence[int]) -> bool:
    """Give the shells in these slots the values that are known now. Whether one of them is a shell still: it may have
    to show its tape."""
    held = False
    trace.filled = set(trace.filled)
    if trace.writes:
        settle(trace)
    for slot in alive:
        spec: Any = trace.specs[slot]
        if slot in trace.filled:
            held = held or spec.requires_grad
            continue
        shell = trace.holders[slot]()
        if shell is None:  # it has gone since
            continue
        arguments = spec.view
        value = trace.values[slot] or (seen_through(trace, slot) if arguments is None else None)
        if type(arguments) is tuple:
            parent = shell._parent
            if not is_filled(parent):
                held = True
                continue
            shell._storage = parent._storage
            shell._view = View(parent, *arguments, differentiable=bool(spec.enabled))  # its edge is left to unfolding
            shell._view.enabled = spec.enabled
        elif arguments is not None:
            storage = _shared(trace, slot)
            if storage is None:
                held = True
                continue
            counter, view = apart_of(shell), _seen(trace, slot, storage)
            shell._storage, shell._view = storage, view
            if counter is not None and view is not None:
                view.base._apart = counter
        elif value is not None:
            shell._storage, shell._view = Storage(value), None
            shell._storage.edits = INFERENCE if spec.enabled is None else _changes(trace, slot)
        else:
            held = True
            continue
        trace.filled.add(slot)
        shell._grad = shell._hooks = shell._look = None
        if spec.requires_grad:
            held = True
        else:
            shell._edge, shell._requires_grad = None, False
            shell._spec = shell._owner = None
    return held
