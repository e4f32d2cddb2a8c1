"""Stage: front. In: the values that a Tensor takes one after another. Out: ``Storage``, the cell that holds the
current one, and ``View``, how an alias of part of it is read. Also memory that NumPy can see: reads of it are
snapshots, writes go through into it.
Next: ``capture.py``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import ref

import numpy as np

from minigrad.engine import leaf_from_numpy, realise, to_numpy
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.runtime.device import get_device
from minigrad.tensor.replay import OFF, thread

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

Step = tuple[str, Any]
Steps = tuple[Step, ...]

# A read of shared memory up to this size is a copy; an op that reads more runs at once.
SNAPSHOT_BYTES = 1 << 20


class Storage:
    """The cell behind one or several Tensors: its current value and how often that was replaced. ``history`` counts
    how often an in-place op changed what the value was computed from, so that views know when to ask again."""

    __slots__ = ("__weakref__", "history", "lazy", "version")

    compute: ClassVar[Callable[[Sequence[LazyBuffer]], None]]
    """Runs pending values. ``points.py`` fills it in, which needs Tensors."""

    def __init__(self, lazy: LazyBuffer) -> None:
        self.lazy = lazy
        self.version = 0
        self.history = 0
        lazy.owners += 1

    def __del__(self) -> None:
        self.lazy.owners -= 1

    def write(self, lazy: LazyBuffer) -> None:
        """Replace the value. If NumPy sees the memory, run now and change that very memory."""
        trace = thread.trace
        if trace.capture is not None:
            trace.capture.write(self, lazy)
            return
        if trace.path and not trace.busy and trace.state != OFF:
            trace.stop("a Tensor was changed in place")
        if lazy.srcs:
            Writes.note(self)
        old = self.lazy
        if old.buffer is not None and old.buffer.exported:
            self._write_through(lazy)
            return
        self.put(lazy)
        self.version += 1

    def put(self, lazy: LazyBuffer) -> None:
        """Hold another value."""
        lazy.owners += 1
        self.lazy.owners -= 1
        self.lazy = lazy

    def _write_through(self, lazy: LazyBuffer) -> None:
        buffer = self.lazy.buffer
        if not buffer.writable:
            raise RuntimeError("this tensor shares the memory of a read-only NumPy array and can't be changed in "
                               "place; change a clone() of it")
        if buffer.on_host:
            realise([lazy])
            to_numpy(self.lazy)[...] = to_numpy(lazy)
        else:
            if self.lazy.arg is not None:
                raise RuntimeError("this tensor shares strided memory of another library on a device and can't be "
                                   "changed in place; change a clone() of it")
            lazy = lazy.contiguous()
            realise([lazy])
            buffer.copy_from(lazy.buffer, lazy.size * lazy.dtype.size, self.lazy.offset, lazy.offset)
        _unsettled.clear()
        self.version += 1

    def array(self) -> np.ndarray:
        """The value as a NumPy array on the same memory, computed if it was pending."""
        look("this")
        lazy = self.lazy
        if lazy.buffer is None:
            compute(lazy, "this")
        return to_numpy(lazy)

    def make_private(self) -> None:
        """Before memory is shown to NumPy: if others may read this value later, move to a copy of it."""
        lazy = self.lazy
        if lazy.buffer.exported:
            return
        if lazy.owners > 1 or lazy.readers or lazy.buffer.is_shared:
            self.put(leaf_from_numpy(to_numpy(lazy), lazy.dtype, lazy.device))


class _Donated:
    """The memory of a Tensor that was given to a jitted function for its results."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("this tensor was donated to a jitted function (donate=…), which has used up its memory; "
                           "pass a clone() to keep it")


def donated(lazy: LazyBuffer) -> LazyBuffer:
    """What is left of a value whose memory was donated."""
    return LazyBuffer.from_buffer(_Donated(), lazy.shape, lazy.dtype, lazy.device)


class Writes:
    """Storages that in-place ops have given a pending value. Nobody may ever ask for it (running statistics), so the
    next ``backward()``, ``step()`` or ``realize()`` computes it along with its own results, and no graph piles up."""

    _written: ClassVar[list[ref[Storage]]] = []
    _most = 64

    @classmethod
    def note(cls, storage: Storage) -> None:
        """Remember that the storage has been written."""
        if len(cls._written) >= cls._most:
            cls._written = [r for r in cls._written if r() is not None]
            cls._most = 64 + 2 * len(cls._written)
        cls._written.append(ref(storage))

    @classmethod
    def any(cls) -> bool:
        """Whether there may be some."""
        return bool(cls._written)

    @classmethod
    def take(cls) -> list[LazyBuffer]:
        """The values that are still pending and wanted."""
        written, cls._written = cls._written, []
        alive = {id(storage): storage for reference in written if (storage := reference()) is not None}
        return [s.lazy for s in alive.values() if s.lazy.srcs]


def begin_step(tensors: Sequence[Tensor]) -> None:
    """If the tape is about to read a leaf that was changed in place, a training step written by hand begins: compute
    the updates before it, in a run of their own, so that the step can be replayed."""
    for t in tensors:
        if t._spec is None and t._requires_grad and t._edge is None and t._view is None and t._storage.lazy.srcs:
            realise(Writes.take() + thread.trace.held())
            thread.begin()
            return


class Tracing(threading.local):
    """``names``: those of the composites that this thread is tracing; other threads go on with values meanwhile."""

    def __init__(self) -> None:
        self.names: list[str] = []


tracing = Tracing()

_unsettled: list[LazyBuffer] = []


def look(what: str) -> None:
    """``RuntimeError`` while ``minigrad.jit`` records a function: then ``what`` can't look at values."""
    capture = thread.trace.capture
    if capture is not None and not tracing.names:
        capture.refuse(what)


def compute(lazy: LazyBuffer, what: str) -> None:
    """Run a pending value. ``RuntimeError`` for one that a composite's placeholders lead to: it has none yet."""
    if tracing.names and _reads_placeholder(lazy):
        raise RuntimeError(f"{what} needs the values of a tensor, which are not known while a composite is traced "
                           f"({tracing.names[-1]}); use where() or masked_fill(), whose shapes do not depend on "
                           "values, or compute it outside")
    Storage.compute([lazy])


def _reads_placeholder(lazy: LazyBuffer) -> bool:
    seen, stack = {lazy}, [lazy]
    while stack:
        node = stack.pop()
        if node.op == Op.PARAM:
            return True
        for s in node.srcs:
            if s not in seen:
                seen.add(s)
                stack.append(s)
    return False


def snapshot(storage: Storage, steps: Steps) -> LazyBuffer:
    """The current value of (a view of) memory that others may change at any time."""
    lazy = storage.lazy
    capture = thread.trace.capture
    if capture is not None:
        return _moved(capture.copy_of(storage), steps)
    size = lazy.size * lazy.dtype.size
    if not steps and lazy.arg is None and size <= SNAPSHOT_BYTES:
        copy = get_device(lazy.device).allocate(size)
        copy.copy_from(lazy.buffer, size, 0, lazy.offset)
        return LazyBuffer.from_buffer(copy, lazy.shape, lazy.dtype, lazy.device)
    if lazy.buffer.on_host:
        array = apply_to_array(to_numpy(lazy), steps)
        if array.nbytes <= SNAPSHOT_BYTES:
            return leaf_from_numpy(array, lazy.dtype, lazy.device)
    _unsettled.append(lazy)
    return _moved(lazy, steps)


def _moved(lazy: LazyBuffer, steps: Steps) -> LazyBuffer:
    for op, arg in steps:
        lazy = lazy.move(op, arg)
    return lazy


def settle(lazies: list[LazyBuffer]) -> list[LazyBuffer]:
    """Run an op that reads shared memory too large to copy, before that memory can change. A result that is that memory
    itself becomes a copy. While a composite is traced nothing runs: the call of what is traced settles it."""
    if tracing.names:
        return lazies
    _unsettled.clear()
    realise(lazies)
    return [leaf_from_numpy(to_numpy(v), v.dtype, v.device) if v.buffer.exported else v for v in lazies]


class View:
    """How a Tensor reads a part of its Storage: the movement ``steps`` from its ``parent``, a Tensor on that Storage.

    ``strides`` and ``offset`` are those of PyTorch, in elements of the Storage, and only decide what ``view`` allows.
    A ``differentiable`` view passes gradients on to its parent, whatever that has become by in-place ops: ``history``
    is that of the Storage for which the view's own edge was made.
    """

    __slots__ = ("base", "differentiable", "history", "kind", "lazy", "offset", "parent", "shape", "steps", "strides",
                 "version")

    def __init__(self, parent: Any, steps: Steps, shape: tuple[int, ...], strides: tuple[int, ...], offset: int,
                 kind: str, differentiable: bool) -> None:
        self.parent = parent
        view = parent._view
        self.base = parent if view is None else view.base
        self.steps = steps
        self.shape = shape
        self.strides = strides
        self.offset = offset
        self.kind = kind
        self.differentiable = differentiable
        self.history = parent._storage.history
        self.lazy: LazyBuffer | None = None
        self.version = -1

    def chain(self) -> Steps:
        """All steps from the Storage's value to this view."""
        parts, view = [], self
        while view is not None:
            parts.append(view.steps)
            view = view.parent._view
        return tuple([step for steps in reversed(parts) for step in steps])

    def read(self, storage: Storage) -> LazyBuffer:
        """The value seen through the view."""
        whole = storage.lazy
        if whole.buffer is not None and whole.buffer.exported:
            return snapshot(storage, self.chain())
        version = storage.version
        if self.version == version and self.lazy is not None:
            return self.lazy
        pending, view = [self], self.parent._view
        while view is not None and not (view.version == version and view.lazy is not None):
            pending.append(view)
            view = view.parent._view
        lazy = whole if view is None else view.lazy
        for view in reversed(pending):
            for op, arg in view.steps:
                lazy = lazy.move(op, arg)
            view._remember(lazy, version)
        return lazy

    def _remember(self, lazy: LazyBuffer | None, version: int) -> None:
        """Keep the value seen now, as one of its readers."""
        if lazy is not None:
            lazy.readers += 1
        if self.lazy is not None:
            self.lazy.readers -= 1
        self.lazy, self.version = lazy, version

    def __del__(self) -> None:
        self._remember(None, -1)


def apply_to_array(array: np.ndarray, steps: Steps) -> np.ndarray:
    """The movement ops on a NumPy array, without copying (views in PyTorch's sense are views in NumPy's)."""
    for op, arg in steps:
        if op == Op.RESHAPE:
            array = _reshaped(array, arg)
        elif op == Op.PERMUTE:
            array = array.transpose(arg)
        elif op == Op.EXPAND:
            array = np.broadcast_to(array, arg)
        elif op == Op.SHRINK:
            array = array[tuple([slice(begin, end) for begin, end in arg])]
        elif op == Op.STRIDE:
            array = array[tuple([slice(None, None, step) for step in arg])]
        elif op == Op.FLIP:
            array = np.flip(array, arg)
        elif op == Op.WINDOW:
            shape, strides = list(array.shape), list(array.strides)
            for axis, size, step, dilation in arg:
                unit = strides[axis]
                shape[axis] = (shape[axis] - dilation * (size - 1) - 1) // step + 1
                strides[axis] = unit * step
                shape.append(size)
                strides.append(unit * dilation)
            array = np.lib.stride_tricks.as_strided(array, shape, strides)
        else:
            raise AssertionError(f"{op} makes no view")
    return array


def described(shape: tuple[int, ...], strides: tuple[int, ...], steps: Steps,
              ) -> tuple[tuple[int, ...], tuple[int, ...], int] | None:
    """Shape, strides and offset, in elements, of what movement ``steps`` make of memory like this; None if a reshape
    among them needs a copy.

    >>> described((4, 6), (6, 1), ((Op.PERMUTE, (1, 0)), (Op.SHRINK, ((2, 5), (0, 4)))))
    ((3, 4), (1, 6), 2)
    >>> described((4, 6), (1, 4), ((Op.RESHAPE, (24,)),)) is None
    True
    """
    array = np.lib.stride_tricks.as_strided(np.empty(1, np.uint8), shape, strides)  # never read
    start = array.__array_interface__["data"][0]
    for step in steps:
        if step[0] == Op.RESHAPE and view_strides(array.shape, array.strides, step[1]) is None:
            return None
        array = apply_to_array(array, (step,))
    return array.shape, array.strides, array.__array_interface__["data"][0] - start


def _reshaped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    strides = view_strides(array.shape, tuple([s // array.itemsize for s in array.strides]), shape)
    if strides is None:
        return array.reshape(shape)
    return np.lib.stride_tricks.as_strided(array, shape, [s * array.itemsize for s in strides],
                                           writeable=array.flags.writeable)


def view_strides(shape: tuple[int, ...], strides: tuple[int, ...], new: tuple[int, ...]) -> tuple[int, ...] | None:
    """The strides with which ``new`` sees the same memory, or None if no strides can: PyTorch's rule for ``view``.

    >>> view_strides((4, 6), (6, 1), (2, 2, 6)), view_strides((4, 6), (1, 4), (24,))
    ((12, 6, 1), None)
    """
    if prod(shape) == 0:
        return _row_major(new) if shape != new else strides
    if not shape:
        return (1,) * len(new)
    result = [0] * len(new)
    at = len(new) - 1
    unit = strides[-1]
    old_size = new_size = 1
    for axis in range(len(shape) - 1, -1, -1):
        old_size *= shape[axis]
        if axis == 0 or (shape[axis - 1] != 1 and strides[axis - 1] != old_size * unit):
            while at >= 0 and (new_size < old_size or new[at] == 1):
                result[at] = new_size * unit
                new_size *= new[at]
                at -= 1
            if new_size != old_size:
                return None
            if axis > 0:
                unit = strides[axis - 1]
                old_size = new_size = 1
    return tuple(result) if at == -1 else None


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [0] * len(shape), 1
    for i in range(len(shape) - 1, -1, -1):
        strides[i] = step
        step *= max(shape[i], 1)
    return tuple(strides)
