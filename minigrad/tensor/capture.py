"""Stage: front. In: what a thread does while ``minigrad.jit`` records a function. Out: ``Capture``, what the function
does beside computing: the Storages it writes, the random numbers it draws, the numbers it computes in Python. Nothing
runs meanwhile; the function's values are computed together when it has returned.
Next: ``body.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from minigrad.dtype import DType
from minigrad.engine import deferred, leaf_from_numpy, to_numpy
from minigrad.errors import ValueNeeded
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.promotion import number
from minigrad.tensor.replay import OFF, Trace, thread

if TYPE_CHECKING:
    from minigrad.tensor.storage import Storage
    from minigrad.tensor.view import View

Again = tuple[Callable[[], "Sequence[Any] | None"], tuple[LazyBuffer, ...]]
"""What is done in Python at each call before the run, and the leaves that take what it gives. None: it gives something
else now, for which the recording does not hold."""

called_everywhere: dict[int, Any] = {}
"""What is called in between though no function names it, like the hooks of all Modules. As long as there is any, jitted
functions are called as they are."""


class Capture:
    """One recording of the function called ``name``. ``written``: by id, each Storage that was written and its
    value before. ``copies``: by value, the copy that was read in place of memory that others may change, with the
    Storage. ``before``: what each call does before its run; ``after``: what it does when that succeeded."""

    __slots__ = ("after", "before", "copies", "name", "written")

    def __init__(self, name: str) -> None:
        self.name = name
        self.written: dict[int, tuple[Storage, LazyBuffer]] = {}
        self.copies: dict[LazyBuffer, tuple[LazyBuffer, Storage]] = {}
        self.before: list[Again] = []
        self.after: list[Callable[[], None]] = []

    def __enter__(self) -> Capture:
        thread.trace = Trace(thread.root, OFF)
        thread.trace.capture = self
        deferred.on = True
        return self

    def __exit__(self, *error: object) -> None:
        deferred.on = False
        thread.begin()

    def write(self, storage: Storage, lazy: LazyBuffer, view: View | None) -> None:
        """Replace a Storage's value, or what a view sees of it, and remember what it was. What NumPy sees changes after
        the run."""
        if view is not None:
            buffer = storage.lazy.buffer
            lazy = view.written(self.copy_of(storage) if buffer is not None and buffer.exported else storage.lazy, lazy)
        if id(storage) not in self.written:
            self.written[id(storage)] = storage, storage.lazy
        storage.put(lazy)
        storage.version += 1

    def copy_of(self, storage: Storage) -> LazyBuffer:
        """The value of memory that NumPy sees, as it is now."""
        lazy = storage.lazy
        found = self.copies.get(lazy)
        if found is None:
            found = self.copies[lazy] = leaf_from_numpy(to_numpy(lazy), lazy.dtype, lazy.device), storage
        return found[0]

    def undo(self) -> None:
        """Give every Storage the value that it had before. It is a new version: views remember what they saw of the
        others."""
        for storage, lazy in self.written.values():
            storage.put(lazy)
            storage.version += 1

    def refuse(self, what: str) -> NoReturn:
        """``ValueNeeded``: Python code asks for a value, which is not known yet."""
        raise ValueNeeded(
            f"{self.name}(): {what} needs the value of a tensor, and there are no values while minigrad.jit records a "
            "function: they are computed when it has returned. Return the tensor and look at it outside, and in place "
            "of a branch on a value use where()")

    # --- what has to be done in Python at each call

    def drawn(self, draw: Callable[[], LazyBuffer]) -> LazyBuffer:
        """The leaf that ``draw`` gives, memory or a run-time argument; each call has one of its own."""
        leaf = draw()
        self.before.append((lambda: (draw().value,) if leaf.op == Op.SCALAR else (draw(),), (leaf,)))
        return leaf

    def numbers(self, compute: Callable[[], Sequence[Any]], dtype: DType, device: str) -> list[LazyBuffer | None]:
        """Run-time arguments, computed anew at each call: the leaves made of them. A number may be missing (None); if
        others are than in the recording, that does not hold."""

        def numbers() -> list[Any] | None:
            now = compute()
            if [value is None for value in now] != missing:
                return None
            return [number(float(value), dtype) for value in now if value is not None]

        values = self.aside(compute)
        missing = [value is None for value in values]
        leaves = [None if v is None else LazyBuffer.scalar(number(float(v), dtype), dtype, device) for v in values]
        self.before.append((numbers, tuple([x for x in leaves if x is not None])))
        return leaves

    def repeated(self, action: Callable[[], Any]) -> None:
        """Something to do before each later run."""

        def act() -> tuple[()]:
            action()
            return ()

        self.before.append((act, ()))

    def counted(self, count: Callable[[], None]) -> None:
        """Count something in Python, now and after each later run."""
        self.aside(count)
        self.after.append(count)

    def aside(self, compute: Callable[[], Any]) -> Any:
        """What ``compute`` gives; it may look at values, since it will at each call."""
        trace, deferred.on = thread.trace, False
        thread.begin()
        try:
            return compute()
        finally:
            thread.trace, deferred.on = trace, True


def capturing() -> Capture | None:
    """The recording that this thread makes now."""
    return thread.trace.capture
