"""Stage: front. In: a Storage. Out: ``View``, how a Tensor that is an alias of a part of it is read and written.
Next: ``capture.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.dtype import DType, bool_, uint8
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.strides import Steps, Window, overlaps, strided_steps
from minigrad.ops import Op
from minigrad.runtime.locks import holds_lock, record_lock
from minigrad.tensor.replay import several
from minigrad.tensor.storage import Storage, compute, moved, snapshot

REPEATED = ("unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
            "Please clone() the tensor before performing the operation.")
SEVERAL = ("SplitBackward0", "SplitWithSizesBackward0", "UnbindBackward0")
"""Views that come several at a time. They may not be changed in place where the tape records it."""


class View:
    """How a Tensor sees a part of its Storage. It is said twice: as a window of the memory (``shape``, and PyTorch's
    ``strides`` and ``offset``, in elements of ``dtype``), which decides what may be viewed and written, and where NumPy
    looks; and as ``steps`` of LazyBuffers from the value of its ``parent``, a Tensor on that Storage, which is how it
    is read. What movement ops do not say directly is a step ``"STRIDED"``, another type of the elements ``"BITCAST"``.

    A ``differentiable`` view passes gradients on to its parent, whatever that has become by in-place ops: ``history``
    is that of the Storage for which the view's own edge was made. Until that changes it is a ``leaf`` if it or its base
    was asked for a gradient after it was made. ``enabled``: whether the tape
    recorded where it was made, None in inference mode. Another type can't be differentiated, but for the parts of
    complex numbers. ``lazy`` is what was read last, from the value ``whole`` of the Storage in its ``version``.
    ``above`` is the parent's view when this one was made: ``parent`` itself may turn into a view of what it was
    (``t_()``), and ``find_parent`` finds that. ``alone``: it is such a parent, which was no view before, or a
    window of memory that others made; nobody else has its base, and it does not count as a view. ``edits``: of one of
    several views made by one call, or a view of such a one, how often the memory had been changed before; else -1.
    ``cut``: it is what ``detach()`` gave of a view, and to the tape no view.
    ``sequence``: the number that its tape node has, though that is made later; 0 if it needed none then.
    """

    __slots__ = ("above", "alone", "base", "cut", "differentiable", "dtype", "edits", "enabled", "history", "kind",
                 "lazy", "leaf", "offset", "parent", "sequence", "shape", "steps", "strides", "version", "whole")

    def __init__(self, parent: Any, steps: Steps, shape: tuple[int, ...], strides: tuple[int, ...], offset: int,
                 kind: str, dtype: DType | None, differentiable: bool) -> None:
        self.parent = parent
        self.above = view = parent._view
        self.base = parent if view is None else view.base
        self.steps = steps
        self.shape = shape
        self.strides = strides
        self.offset = offset
        self.kind = kind
        before = (parent._storage.lazy if view is None else view).dtype
        self.dtype: DType = dtype or before
        self.differentiable = differentiable and (dtype is None or (dtype.part is before.part and before.is_inexact))
        self.enabled: bool | None = True
        self.leaf = False
        self.alone = self.cut = False
        self.sequence = 0
        self.history = parent._storage.history
        several = kind in SEVERAL or (view is not None and view.edits >= 0)
        self.edits: int = parent._storage.edits if several else -1
        self.lazy: LazyBuffer | None = None
        self.whole: LazyBuffer | None = None
        self.version = -1

    def find_parent(self) -> Any:
        """The Tensor that this is a view of, as it was when the view was made."""
        parent = self.parent
        while parent._view is not self.above and parent._view is not None:
            parent = parent._view.parent
        self.parent = parent
        return parent

    def find_root(self) -> Any:
        """The Tensor at which this view begins for the tape: its base, or what ``detach()`` gave of a view."""
        view = self
        while True:
            parent = view.find_parent()
            if parent._view is None or parent._view.cut:
                return parent
            view = parent._view

    def is_recorded(self) -> bool:
        """Whether the tape recorded where this view was made, and all that it was made from."""
        view: View | None = self
        while view is not None and view.enabled:
            view = view.above
        return view is None

    def chain(self) -> Steps:
        """All steps from the Storage's value to this view."""
        if self.above is None:  # the common case
            return self.steps
        parts, view = [], self
        while view is not None:
            parts.append(view.steps)
            view = view.above
        return tuple([step for steps in reversed(parts) for step in steps])

    def read(self, storage: Storage) -> LazyBuffer:
        """The value seen through the view."""
        whole = storage.lazy
        if whole.buffer is not None and whole.buffer.exported:
            return snapshot(storage, self)
        version = storage.version
        if self.lazy is not None and self.whole is whole and self.version == version:
            return self.lazy
        if several and not holds_lock():
            with record_lock:
                return self.read(storage)
        pending, view = [self], self.above
        while view is not None and not (view.whole is whole and view.version == version):
            pending.append(view)
            view = view.above
        lazy = whole if view is None else view.lazy
        for view in reversed(pending):
            for op, arg in view.steps:
                lazy = lazy.move(op, arg)
            view._remember(lazy, whole, version)
        return lazy

    def in_memory(self, storage: Storage) -> LazyBuffer | None:
        """The value as memory, with strides, from now on; None where it is not in memory, or repeats elements."""
        whole, lazy = storage.lazy, self.lazy
        if whole.buffer is None or whole.buffer.exports or whole.arg is not None or self.dtype is not whole.dtype:
            return None
        if lazy is not None and self.whole is whole and self.version == storage.version and lazy.buffer is not None:
            return lazy
        for n, step in zip(self.shape, self.strides, strict=True):
            if not step and n > 1:
                return None
        lazy = whole.strided((self.shape, self.strides, self.offset))
        self._remember(lazy, whole, storage.version)
        return lazy

    def written(self, base: LazyBuffer, value: LazyBuffer) -> LazyBuffer:
        """``base``, a value of the Storage, with what the view sees replaced."""
        return write_window(base, value, self.dtype, (self.shape, self.strides, self.offset))

    def check_writable(self) -> None:
        """``RuntimeError`` if two elements are one in memory: which of two values it would take is not defined."""
        if overlaps(self.shape, self.strides):
            raise RuntimeError(REPEATED)

    def array(self, storage: Storage, shown: bool = False) -> np.ndarray:
        """The view as a NumPy array on the memory, computed if it was pending. ``shown``: it goes to code outside
        minigrad."""
        if storage.lazy.buffer is None:
            compute(storage.lazy, "this")
        storage.make_contiguous()
        lazy = storage.lazy
        offset = lazy.offset + self.offset * self.dtype.size
        return lazy.buffer.as_numpy(self.dtype, self.shape, self.strides, offset, shown=shown)

    def _remember(self, lazy: LazyBuffer | None, whole: LazyBuffer | None, version: int) -> None:
        """Keep the value seen now, as one of its readers."""
        if lazy is not None:
            lazy.readers += 1
        if self.lazy is not None:
            self.lazy.readers -= 1
        self.lazy, self.whole, self.version = lazy, whole, version

    def __del__(self) -> None:
        try:
            lazy = self.lazy
        except AttributeError:  # its making has failed
            return
        if lazy is not None:
            lazy.readers -= 1


def write_window(base: LazyBuffer, value: LazyBuffer, dtype: DType, window: Window) -> LazyBuffer:
    """``base`` with a window of it, in elements of ``dtype``, replaced."""
    shape, strides, offset = window
    size, count = base.dtype.size, dtype.size
    if size <= count:  # each element of the window is one or several of the base
        if size < count:
            parts = count // size
            shape, offset = (*shape, parts), offset * parts
            strides = (*[step * parts for step in strides], 1)
            value = value.reshape((*value.shape, 1))
        return base.assign(value.bitcast(base.dtype), strided_steps(base.size, shape, strides, offset))
    part = uint8 if dtype is bool_ else dtype
    flat = base.reshape((base.size,)).bitcast(part)
    steps = strided_steps(flat.size, shape, strides, offset)
    return flat.assign(value.bitcast(part), steps).bitcast(base.dtype).reshape(base.shape)


def write_in_part(part: LazyBuffer, value: LazyBuffer, dtype: DType, window: Window,
                  whole: tuple[tuple[int, ...], DType], steps: Steps) -> LazyBuffer:
    """``part``, which ``steps`` lead to from a ``whole`` of this shape and dtype, with a window of the whole replaced.
    """
    before, ones = [LazyBuffer.const(n, whole[1], whole[0], part.device) for n in (0, 1)]
    there = moved(write_window(before, moved(ones, window_steps(ones, dtype, window)), dtype, window), steps)
    return there.binary(Op.EQ, there.like(0)).where(part, moved(write_window(before, value, dtype, window), steps))


def window_steps(base: LazyBuffer, dtype: DType, window: Window) -> Steps:
    """The steps from a value to a window of it in elements of ``dtype``."""
    if dtype is base.dtype:
        return (("STRIDED", window),)
    used = base.size if dtype.size <= base.dtype.size else base.size - base.size % (dtype.size // base.dtype.size)
    return ((Op.RESHAPE, (base.size,)), (Op.SHRINK, ((0, used),)), (Op.BITCAST, dtype), ("STRIDED", window))
