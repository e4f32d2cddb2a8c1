"""Stage: front. In: nothing. Out: the form of a ``Program``: what a recorded function computes, changes and returns,
said of places, so that it can be done again on other memory.
Next: ``writer.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from minigrad.dtype import DType
from minigrad.graph.lines import Call
from minigrad.tensor import Tensor
from minigrad.tensor.storage import Storage


@dataclass(frozen=True, eq=False, slots=True)
class Place:
    """Where a value lives between calls: a Storage outside (``HELD``), the argument of a number, or the ``.grad`` of
    the Tensor ``what``, or of the argument of that number."""

    HELD: ClassVar[str] = "held"
    ARGUMENT: ClassVar[str] = "argument"
    GRADIENT: ClassVar[str] = "gradient"

    kind: str
    what: Any

    def name(self) -> tuple[str, int]:
        """What tells it from others."""
        return self.kind, self.what if type(self.what) is int else id(self.what)


@dataclass(frozen=True, eq=False, slots=True)
class Source:
    """Where a leaf of the run comes from: ``what`` is a place, of whose kind it is then, the number of what is
    ``DRAWN``, or a ``CONSTANT``. ``shift``: bytes from the beginning of the value there. ``look``: that value's shape,
    dtype and strides. ``made_of``: of a constant, the object behind it."""

    DRAWN: ClassVar[str] = "drawn"
    CONSTANT: ClassVar[str] = "constant"

    kind: str
    what: Any
    shift: int = 0
    look: Any = None
    made_of: Any = None

    def name(self) -> Any:
        """What tells it from others; for a constant, its contents."""
        what = self.what
        if self.kind == self.CONSTANT:
            what = what.buffer.as_numpy(what.dtype, what.shape, what.arg, what.offset).tobytes()
        return self.kind, what.name() if isinstance(what, Place) else what, self.shift, self.look


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """A value after the run: its result, or its leaf, of a number. Tensors with one Value share memory."""

    RESULT: ClassVar[str] = "result"
    LEAF: ClassVar[str] = "leaf"

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
    of the number ``same`` or an ``alias`` of it; the gradient at a ``place``; or a new Tensor with a ``value``. Aliases
    of arguments and new Tensors are perhaps seen through a ``view``."""

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
        return (tensor, self.alias, self.same, self.place and self.place.name(),
                self.value and self.value.name(), self.view, self.requires_grad)


@dataclass(eq=False)
class Program:
    """What a function did. ``sources``: of the leaves, of which the run takes the first ``taken``; ``numbers``: the
    run-time arguments, of which those at ``computed`` (position, number of what is computed) and ``watched`` (position,
    Storage) change; ``dead``: the leaves that the run may overwrite; ``writes``, ``gradients``, ``results``: what
    changes after it; ``before``, ``after``: what is done in Python (what is done before may give None: then the program
    does not hold); ``donated``: the arguments that are used up. ``key``: what the graph was. ``calls``: where the
    function indexed, for an error of a run."""

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
    before: list[Callable[[], Sequence[Any] | None]] = field(default_factory=list)
    after: list[Callable[[], None]] = field(default_factory=list)
    donated: Sequence[int] = ()
    calls: Sequence[Call] = ()

    def name(self) -> Any:
        """What it does, to compare it with another recording of the function."""
        return (self.key, [s.name() for s in self.sources], [(p.name(), v.name()) for p, v in self.writes],
                [(p.name(), m and m.name()) for p, m in self.gradients], [m.name() for m in self.results],
                self.structure, len(self.before), len(self.after))

    def constants(self) -> list[Any]:
        """What the leaves that stay as they are were made of. It was made in the function, or could not be found."""
        return [s.made_of for s in self.sources if s.kind == Source.CONSTANT]
