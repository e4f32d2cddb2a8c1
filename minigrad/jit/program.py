"""Stage: front. In: a function that was recorded: what it computed, wrote and returned. Out: ``Program``, which does the
same again on other memory, in one run.
Next: ``recording.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from minigrad.dtype import DType
from minigrad.engine import realise, run_again
from minigrad.graph.lazy import LazyBuffer
from minigrad.jit.trees import TENSOR, fill
from minigrad.ops import Op
from minigrad.runtime.buffer import Buffer
from minigrad.runtime.device import get_device
from minigrad.tensor import Tensor
from minigrad.tensor.base import made, plain_alias, plain_view
from minigrad.tensor.capture import Again
from minigrad.tensor.storage import Storage, donated

HELD, ARGUMENT, GRADIENT, DRAWN, CONSTANT = "held", "argument", "gradient", "drawn", "constant"
RESULT, LEAF = "result", "leaf"


@dataclass(frozen=True, eq=False, slots=True)
class Place:
    """Where a value lives between calls: a Storage outside (``HELD``), the argument of a number, or the ``.grad`` of the
    Tensor ``what``, or of the argument of that number."""

    kind: str
    what: Any

    def storage(self, arguments: Sequence[Tensor]) -> Storage | None:
        """The Storage, if there is one now."""
        if self.kind == HELD:
            return self.what  # type: ignore[no-any-return]
        if self.kind == ARGUMENT:
            return arguments[self.what]._storage
        gradient = self.owner(arguments)._grad
        return None if gradient is None or gradient._view is not None else gradient._storage

    def owner(self, arguments: Sequence[Tensor]) -> Tensor:
        """The Tensor whose gradient it is."""
        return arguments[self.what] if type(self.what) is int else self.what

    def name(self) -> tuple[str, int]:
        """What tells it from others."""
        return self.kind, self.what if type(self.what) is int else id(self.what)


@dataclass(frozen=True, eq=False, slots=True)
class Source:
    """Where a leaf of the run comes from: ``what`` is a place (``HELD``, ``ARGUMENT``, ``GRADIENT``), the number of what
    is drawn, or a constant. ``shift``: bytes from the beginning of the value there. ``look``: that value's shape, dtype
    and strides."""

    kind: str
    what: Any
    shift: int = 0
    look: Any = None

    def name(self) -> Any:
        """What tells it from others; for a constant, its contents."""
        what = self.what
        if self.kind == CONSTANT:
            what = what.buffer.as_numpy(what.dtype, what.shape, what.arg, what.offset).tobytes()
        return self.kind, what.name() if isinstance(what, Place) else what, self.shift, self.look


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """A value after the run: its result, or its leaf, of a number. Tensors with one Value share memory."""

    kind: str
    number: int
    shape: tuple[int, ...]
    dtype: DType
    device: str

    def name(self) -> Any:
        """What tells it from others."""
        return self.kind, self.number, self.shape, self.dtype, self.device


@dataclass(frozen=True, eq=False, slots=True)
class Made:
    """How a returned Tensor, or a new gradient, is made: a ``tensor`` from outside or an ``alias`` of it; the argument
    of the number ``same``; the gradient at a ``place``; or a new Tensor with a ``value``, perhaps seen through a
    ``view``."""

    tensor: Tensor | None = None
    alias: bool = False
    same: int = -1
    place: Place | None = None
    value: Value | None = None
    view: Any = None
    requires_grad: bool = False

    def name(self) -> Any:
        """What tells it from others."""
        tensor = None if self.tensor is None else id(self.tensor._storage if self.alias else self.tensor)
        return (tensor, self.alias, self.same, self.place and self.place.name(), self.value and self.value.name(),
                self.view, self.requires_grad)


@dataclass(eq=False, slots=True)
class Program:
    """What a function did. ``sources``: of the leaves, of which the run takes the first ``taken``; ``numbers``: the
    run-time arguments, of which those at ``computed`` (position, number of what is computed) and ``watched`` (position,
    Storage) change; ``dead``: the leaves that the run may overwrite; ``writes``, ``gradients``, ``results``: what changes
    after it; ``before``, ``after``: what is done in Python; ``donated``: the arguments that are used up. ``key``: what
    the graph was."""

    key: Any = None
    executable: Any = None
    device: str = ""
    sources: list[Source] = field(default_factory=list)
    taken: int = 0
    numbers: list[Any] = field(default_factory=list)
    computed: list[tuple[int, int]] = field(default_factory=list)
    watched: list[tuple[int, Storage]] = field(default_factory=list)
    dead: list[int] = field(default_factory=list)
    writes: list[tuple[Place, Value]] = field(default_factory=list)
    gradients: list[tuple[Place, Made | None]] = field(default_factory=list)
    results: list[Made] = field(default_factory=list)
    structure: Any = None
    before: list[Again] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)
    donated: Sequence[int] = ()

    def gather(self, arguments: Sequence[Tensor], given: Sequence[LazyBuffer]) -> list[Any] | None:
        """The leaves of today, None for those that are drawn; None in place of all if one is not what it was like."""
        found: list[Any] = []
        for source in self.sources:
            kind = source.kind
            if kind == ARGUMENT:
                found.append(given[source.what.what])
                continue
            if kind == DRAWN or kind == CONSTANT:
                found.append(source.what if kind == CONSTANT else None)
                continue
            storage = source.what.what if kind == HELD else source.what.storage(arguments)
            if storage is None:
                return None
            lazy = storage.lazy
            if lazy.buffer is None:
                realise([lazy])
            shape, dtype, strides = source.look
            if lazy.shape != shape or lazy.dtype is not dtype or lazy.arg != strides:
                return None
            found.append(lazy)
        for _, storage in self.watched:
            if storage.lazy.op != Op.SCALAR:
                return None
        if self.executable is not None and self.executable.tier == 0 and not self.executable.account():
            return None  # it has run so often that it is worth a compiler
        return found

    def run(self, arguments: Sequence[Tensor], leaves: list[Any]) -> Any:
        """Run on these leaves, change what the function changes, and return what it returns."""
        again: list[Any] = []
        for compute, _ in self.before:
            again += compute()
        results = self._results(arguments, leaves, again)
        made: dict[Any, Tensor] = {}
        fresh = [None if g is None else self._make(g, arguments, leaves, results, made) for _, g in self.gradients]
        returned = [self._make(r, arguments, leaves, results, made) for r in self.results]
        self._write(arguments, leaves, results)
        for (place, _), gradient in zip(self.gradients, fresh, strict=True):
            place.owner(arguments)._grad = gradient
        for count in self.after:
            count()
        for i in self.donated:
            storage = arguments[i]._storage
            storage.put(donated(storage.lazy))
        if self.structure is TENSOR:
            return returned[0]
        return fill(self.structure, iter(returned))

    def _results(self, arguments: Sequence[Tensor], leaves: list[Any], again: Sequence[Any]) -> Sequence[Buffer]:
        """The memory of the results."""
        buffers, addresses = [], []
        for i, source in enumerate(self.sources):
            lazy = leaves[i]
            if lazy is None:
                lazy = leaves[i] = again[source.what]
            if i < self.taken:
                buffers.append(lazy.buffer)
                addresses.append(lazy.buffer.address + lazy.offset + source.shift)
        if self.executable is None:
            return ()
        for i in self.dead:
            if not self._is_ours(self.sources[i], leaves[i], arguments):
                buffers[i] = _copy(leaves[i])
                addresses[i] = buffers[i].address
        numbers = self.numbers.copy()
        for position, i in self.computed:
            numbers[position] = again[i]
        for position, storage in self.watched:
            numbers[position] = storage.lazy.value
        return run_again(self.executable, buffers, addresses, numbers, self.device)

    @staticmethod
    def _is_ours(source: Source, lazy: LazyBuffer, arguments: Sequence[Tensor]) -> bool:
        """Whether nobody but the place where it is held can read a leaf."""
        if source.kind == CONSTANT or (source.kind == ARGUMENT and arguments[source.what.what]._view is not None):
            return False
        return lazy.owners <= 1 and not lazy.readers and not lazy.buffer.exports and not lazy.buffer.is_shared

    def _write(self, arguments: Sequence[Tensor], leaves: Sequence[Any], results: Sequence[Buffer]) -> None:
        for place, value in self.writes:
            if place.kind == ARGUMENT:
                arguments[place.what]._replace(self._lazy(value, leaves, results))
                continue
            storage = place.what if place.kind == HELD else place.storage(arguments)
            if value.kind == RESULT and storage.lazy.buffer is results[value.number]:
                storage.version += 1  # the memory of the old contents, which nobody else could read
            else:
                storage.write(self._lazy(value, leaves, results))

    @staticmethod
    def _lazy(value: Value, leaves: Sequence[Any], results: Sequence[Buffer]) -> Any:
        if value.kind == LEAF:
            return leaves[value.number]
        return LazyBuffer.from_buffer(results[value.number], value.shape, value.dtype, value.device)

    def _make(self, how: Made, arguments: Sequence[Tensor], leaves: Sequence[Any], results: Sequence[Buffer],
              known: dict[Any, Tensor]) -> Tensor:
        value = how.value
        if value is None:
            if how.same >= 0:
                return arguments[how.same]
            if how.place is not None:
                gradient = how.place.owner(arguments)._grad
                assert gradient is not None
                return gradient
            assert how.tensor is not None
            return plain_alias(how.tensor) if how.alias else how.tensor
        tensor = known.get(how)
        if tensor is None:
            tensor = known.get(value)
            if tensor is None:
                tensor = known[value] = made(self._lazy(value, leaves, results))
            elif how.view is None:
                tensor = plain_alias(tensor)
            if how.view is not None:
                tensor = plain_view(tensor, *how.view)
            tensor._requires_grad = how.requires_grad
            known[how] = tensor
        return tensor

    def name(self) -> Any:
        """What it does, to compare it with another recording of the function."""
        return (self.key, [s.name() for s in self.sources], [(p.name(), v.name()) for p, v in self.writes],
                [(p.name(), m and m.name()) for p, m in self.gradients], [m.name() for m in self.results],
                self.structure, len(self.before), len(self.after))

    def constants(self) -> list[LazyBuffer]:
        """The leaves that stay as they are. They were made in the function, or it could not be followed."""
        return [s.what for s in self.sources if s.kind == CONSTANT]


def _copy(lazy: LazyBuffer) -> Any:
    nbytes = lazy.size * lazy.dtype.size
    copy = get_device(lazy.device).allocate(nbytes)
    copy.copy_from(lazy.buffer, nbytes, 0, lazy.offset)
    return copy
