"""Stage: front. In: the values that a Tensor takes one after another. Out: ``Storage``, the cell that holds the
current one. Also memory that NumPy can see: reads of it are snapshots, writes go through into it.
Next: ``view.py``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol
from weakref import ref

import numpy as np

from minigrad.dtype import DType
from minigrad.engine import leaf_from_numpy, realise, to_numpy
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.strides import Steps
from minigrad.ops import Op
from minigrad.runtime.locks import record_lock
from minigrad.tensor.replay import FOLLOW, OFF, thread

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor
    from minigrad.tensor.view import View

# A read of shared memory up to this size is a copy; an op that reads more runs at once.
SNAPSHOT_BYTES = 1 << 20


INFERENCE = -(1 << 62)


class Storage:
    """The cell behind one or several Tensors: its current value and how often that was replaced. ``history`` counts
    how often an in-place op changed what the value was computed from, so that views know when to ask again."""

    __slots__ = ("__weakref__", "counter", "edits", "former", "history", "lazy", "pending", "version")

    edits: int
    """How often programs have changed it in place, but not by ``.data``: what PyTorch calls its version. The tape looks
    at it. Below 0 for memory that was made in inference mode."""

    counter: list[int] | None
    """``edits``, once an op's backward reads this memory: the op has this list, which outlives the Storage."""

    former: tuple[Any, int, Any]
    """After ``detach_`` of a Tensor: a reference to it, the ``history`` until then, and the edge that it had."""

    pending: Any
    """While there is no ``lazy``: the trace that will have the value."""

    compute: ClassVar[Callable[[Sequence[LazyBuffer]], None]]
    """Runs pending values. ``points.py`` fills it in, which needs Tensors."""

    def __init__(self, lazy: LazyBuffer) -> None:
        self.lazy = lazy
        self.version = self.history = self.edits = 0
        self.counter = None
        lazy.owners += 1

    wake: ClassVar[Callable[[Storage], LazyBuffer]]
    """Gives a Storage that has none a value. ``pending.py`` fills it in."""

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            """The value, where a replayed call has changed it and nobody has asked for it yet."""
            if name != "lazy":
                raise AttributeError(f"'Storage' object has no attribute {name!r}")
            return Storage.wake(self)

    def changed(self) -> None:
        """Count a change in place."""
        self.edits += 1
        if self.counter is not None:
            self.counter[0] = self.edits

    def is_known(self) -> bool:
        """Whether there is a value, computed or not."""
        try:
            _lazy_of(self)
        except AttributeError:
            return False
        return True

    def __del__(self) -> None:
        if _lazy_of is None:  # Python is ending, and has taken the names of this module away
            return
        try:
            lazy = _lazy_of(self)
        except (AttributeError, TypeError):  # nobody has asked for its value; Python ends, and this module is gone
            return
        lazy.owners -= 1

    def write(self, lazy: LazyBuffer, view: View | None = None) -> None:
        """Replace the value, or what a view sees of it. If NumPy sees the memory, run now and change that very
        memory."""
        trace, level = thread.trace, tracing.level
        if level is not None:
            level.check_write(self, lazy)
            if level.is_unknown(lazy) or level.is_unknown(self.lazy):
                self.put(lazy if view is None else view.written(self.lazy, lazy))
                self.version += 1
                return
        if trace.capture is not None:
            trace.capture.write(self, lazy, view)
            return
        if trace.path and not trace.busy and trace.state != OFF:
            trace.stop("a Tensor was changed in place")
        old = self.lazy
        if old.buffer is not None and old.buffer.exported:
            self._write_through(lazy, view)
            return
        if view is not None:
            lazy = view.written(old, lazy)
        if lazy.srcs:
            Writes.note(self)
        self.put(lazy)
        self.version += 1

    def put(self, lazy: LazyBuffer) -> None:
        """Hold another value."""
        lazy.owners += 1
        self.lazy.owners -= 1
        self.lazy = lazy

    def _write_through(self, lazy: LazyBuffer, view: View | None = None) -> None:
        buffer = self.lazy.buffer
        if not buffer.writable:
            raise RuntimeError("this tensor shares the memory of a read-only NumPy array and can't be changed in "
                               "place; change a clone() of it")
        if buffer.on_host:
            realise([lazy])
            memory = to_numpy(self.lazy) if view is None else view.array(self)
            memory[...] = to_numpy(lazy)
        else:
            lazy = (lazy if view is None else view.written(self.lazy, lazy)).contiguous()
            realise([lazy])
            buffer.copy_from(lazy.buffer, lazy.size * lazy.dtype.size, self.lazy.offset, lazy.offset)
        _unsettled.clear()
        self.version += 1

    def array(self) -> np.ndarray:
        """The value as a NumPy array on the same memory, computed if it was pending."""
        look("a line of it")
        lazy = self.lazy
        if lazy.buffer is None:
            compute(lazy, "this")
        return to_numpy(lazy)

    def make_private(self) -> None:
        """Before memory is shown to NumPy: if others may read this value later, or it has gaps, move to a copy. What
        views have stored of it holds no longer, nor does what the trace knows: the memory may change without a word."""
        with record_lock:
            trace = thread.trace
            if trace.state == FOLLOW and any([trace.holders[i]._storage is self for i in trace.leaves]):
                trace.stop("an operand's memory is shown to NumPy")
            lazy = self.lazy
            if lazy.buffer.exported:
                return
            if lazy.arg is not None or lazy.owners > 1 or lazy.readers or lazy.buffer.is_shared:
                self._move_to_copy()
            else:  # another value on the same memory
                self.put(LazyBuffer.from_buffer(lazy.buffer, lazy.shape, lazy.dtype, lazy.device, lazy.offset))

    def make_contiguous(self) -> None:
        """Move a value in memory to a copy in row-major order, if it is not in that order."""
        if self.lazy.arg is not None:
            with record_lock:
                if self.lazy.arg is not None:  # another thread may have been faster
                    self._move_to_copy()

    def _move_to_copy(self) -> None:
        lazy = self.lazy
        self.put(leaf_from_numpy(to_numpy(lazy), lazy.dtype, lazy.device))

    # --- copies

    def __deepcopy__(self, memo: dict[int, Any]) -> Storage:
        """A cell of its own with the value of now: nothing is copied before one of the two is written."""
        lazy = self.lazy
        return Storage(snapshot(self) if lazy.buffer is not None and lazy.buffer.exported else lazy)

    def __reduce__(self) -> tuple[Any, ...]:
        """For ``pickle``: all elements, also those that no view sees. A pickler takes a Storage once."""
        array = np.ascontiguousarray(self.array()).reshape(self.lazy.shape)
        return _restored, (np.array(array.reshape(-1).view(np.uint8)), self.lazy.shape, self.lazy.dtype,
                            self.lazy.device)


_lazy_of: Any = Storage.__dict__["lazy"].__get__  # without asking ``__getattr__``


def _restored(data: np.ndarray, shape: tuple[int, ...], dtype: DType, device: str) -> Storage:
    """What ``pickle`` calls to make a Storage again."""
    return Storage(leaf_from_numpy(data.view(dtype.numpy).reshape(shape), dtype, device))


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
    _before: ClassVar[dict[int, tuple[ref[Storage], LazyBuffer]]] = {}
    _taken: ClassVar[dict[int, tuple[ref[Storage], LazyBuffer]]] = {}

    @classmethod
    def note(cls, storage: Storage) -> None:
        """Remember that the storage has been written."""
        if len(cls._written) >= cls._most:
            cls._written = [r for r in cls._written if r() is not None]
            cls._most = 64 + 2 * len(cls._written)
        cls._written.append(ref(storage))

    @classmethod
    def keep(cls, storage: Storage, before: LazyBuffer) -> None:
        """Remember what a storage held before it was written, in case that can't be computed."""
        cls._before.setdefault(id(storage), (ref(storage), before))

    @classmethod
    def undo(cls) -> None:
        """After an error: Storages whose new value can't be computed hold again what they held before."""
        changed = [*cls._taken.values(), *cls._before.values()]
        cls._taken, cls._before = {}, {}
        for reference, before in changed:
            storage = reference()
            if storage is not None and storage.lazy.srcs:
                try:
                    realise([storage.lazy])
                except Exception:
                    storage.put(before)
                    storage.version += 1

    @classmethod
    def times(cls, storage: Storage) -> int:
        """How often the storage has been written since values were computed."""
        return cls._written.count(ref(storage))

    @classmethod
    def any(cls) -> bool:
        """Whether there may be some."""
        return bool(cls._written)

    @classmethod
    def take(cls) -> list[LazyBuffer]:
        """The values that are still pending and wanted."""
        with record_lock:
            written, cls._written = cls._written, []
            cls._taken, cls._before = cls._before, {}
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
    """``names``: those of the composites that this thread is tracing; other threads go on with values meanwhile.
    ``level``: the ``vmap`` whose function this thread is calling, if no composite inside is being traced."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.level: Level | None = None


class Level(Protocol):
    """What this room asks of a ``vmap`` whose function is being called, on placeholders for one row."""

    def is_unknown(self, lazy: LazyBuffer) -> bool:
        """Whether there is no value, because placeholders lead to it."""
        ...

    def refuse(self, what: str) -> NoReturn:
        """``RuntimeError``: ``what`` needs a value."""
        ...

    def shown(self, tensor: Tensor) -> str:
        """How a Tensor without a value is printed."""
        ...

    def born(self, storage: Storage) -> None:
        """Remember that a Storage was made by the function: it may take values that differ from row to row."""
        ...

    def check_write(self, storage: Storage, new: LazyBuffer) -> None:
        """``RuntimeError`` if ``new`` differs from row to row, and the Storage, which was there before, does not."""
        ...

    def array(self, lazy: LazyBuffer) -> np.ndarray:
        """A value in all rows, computed now."""
        ...

    def each_row(self, function: Callable[..., Any], args: Any) -> Any:
        """What a function gives that asks for values, called for each row; None if no argument differs from row to row.
        ``args``: arguments and named ones."""
        ...

    def drawn(self, leaf: Callable[[tuple[int, ...]], LazyBuffer]) -> LazyBuffer:
        """Random numbers for one row: ``leaf`` gives them with more axes in front."""
        ...


tracing = Tracing()

_unsettled: list[LazyBuffer] = []


def look(what: str) -> None:
    """``RuntimeError`` while ``minigrad.jit`` records a function: then ``what`` can't look at values."""
    capture = thread.trace.capture
    if capture is not None and not tracing.names:
        capture.refuse(what)


def compute(lazy: LazyBuffer, what: str) -> None:
    """Run a pending value. ``RuntimeError`` for one that a composite's placeholders lead to: it has none yet; nor has
    any while ``minigrad.jit`` records, not even one that is the same in all rows of a ``vmap``."""
    if tracing.level is not None and tracing.level.is_unknown(lazy):
        tracing.level.refuse(what)
    if tracing.names and _reads_placeholder(lazy):
        raise RuntimeError(f"{what} needs the values of a tensor, which are not known while a composite is traced "
                           f"({tracing.names[-1]}); use where() or masked_fill(), whose shapes do not depend on "
                           "values, or compute it outside")
    Storage.compute([lazy])
    capture = thread.trace.capture
    if capture is not None and lazy.buffer is None:
        capture.refuse(what)


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


def snapshot(storage: Storage, view: View | None = None) -> LazyBuffer:
    """The current value of (a view of) memory that others may change at any time."""
    lazy = storage.lazy
    buffer = lazy.buffer
    capture = thread.trace.capture
    if capture is not None:
        return moved(capture.copy_of(storage), () if view is None else view.chain())
    if view is None:
        size = lazy.size * lazy.dtype.size
        if size <= SNAPSHOT_BYTES:
            return LazyBuffer.from_buffer(buffer.copy(size, lazy.offset), lazy.shape, lazy.dtype, lazy.device)
    elif buffer.on_host:
        array = view.array(storage)
        if array.nbytes <= SNAPSHOT_BYTES:
            return leaf_from_numpy(array, view.dtype, lazy.device)
    _unsettled.append(lazy)
    return moved(lazy, () if view is None else view.chain())


def moved(lazy: LazyBuffer, steps: Steps) -> LazyBuffer:
    """The value after some movement ops."""
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
