"""Stage: lower, below the strategies. In: axes and bodies. Out: loops around bodies: which part of the space an
iteration of the parallel loop takes, and how an extent falls into vectors and a rest.
Next: ``cost.py``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

from minigrad.dtype import bool_, int64
from minigrad.errors import ScheduleError
from minigrad.kernel.ir import Apply, Array, For, If, Index, LetIndex, Load, Statement, Store, Value
from minigrad.lower.axes import Axis, Names
from minigrad.lower.steps import Space, Step, Steps
from minigrad.symbolic import Sym, eq, minimum, num

ZERO, ONE = num(0), num(1)
CHUNK = 256 << 10
"""Scalar operations that one iteration of a parallel loop is worth, at least, where there is enough work for many."""

WANTED = 64
"""Iterations of a parallel loop over large work."""


def loop(axis: Axis, body: Sequence[Statement], kind: str = "serial", start: Sym = ZERO,
         stop: Sym | None = None) -> For:
    """A loop over an axis, or over a part of it."""
    return For(axis.var, start, num(axis.size) if stop is None else stop, 1, kind, tuple(body))


def update(array: Array, at: Sym, op: str, value: Value) -> Store:
    """An element joined with a value: ``array[at] = array[at] op value``."""
    return Store(array, at, Apply(op, (Load(array, at), value), array.dtype))


def vectorised(lane: Axis | None, body: Sequence[Statement]) -> list[Statement]:
    """The body for all lanes at once; just the body if there is a single one."""
    return [loop(lane, body, "vector")] if lane is not None and lane.size > 1 else list(body)


def repeated(axis: Axis, body: Sequence[Statement]) -> list[Statement]:
    """The body written out for each point of the axis."""
    return [loop(axis, body, "unroll")] if axis.size > 1 else list(body)


def loops(axes: Sequence[Axis], body: Sequence[Statement]) -> list[Statement]:
    """Serial loops, the first axis outermost. Nothing at all if there is nothing in them."""
    inside = list(body)
    if not inside:
        return []
    for axis in reversed(axes):
        inside = [loop(axis, inside)]
    return inside


@dataclass(frozen=True, slots=True)
class Part:
    """``count`` steps of ``unroll`` vectors of ``lanes`` from position ``start``."""

    start: int
    count: int
    unroll: int
    lanes: int


def parts(extent: int, lanes: int, unroll: int = 1, narrow: bool = True) -> list[Part]:
    """Cut an extent into steps of whole vectors, then narrower ones, then single elements.

    >>> parts(100, 16, 4)
    [Part(start=0, count=1, unroll=4, lanes=16), Part(start=64, count=1, unroll=2, lanes=16), Part(start=96, count=1, \
unroll=1, lanes=4)]
    >>> parts(3, 16)
    [Part(start=0, count=3, unroll=1, lanes=1)]
    """
    result: list[Part] = []
    at = 0
    while lanes > 1:
        left = extent - at
        steps = left // (lanes * unroll)
        if steps:
            result.append(Part(at, steps, unroll, lanes))
            at += steps * lanes * unroll
            left = extent - at
        if unroll > 1 and left >= lanes:
            result.append(Part(at, 1, left // lanes, lanes))
            at += left // lanes * lanes
        lanes, unroll = (lanes // 2 if narrow else 1), 1
        if lanes == 2:
            break
    if extent > at:
        result.append(Part(at, extent - at, 1, 1))
    return result


Inside = Callable[[Sym, Axis | None], list[Statement]]
"""What is done at a position, or at as many neighbours from it as an axis has lanes: the position holds the lane."""


class Pieces:
    """An axis in whole vectors, whose number ``steps`` counts if there are several, then narrower ones, then single
    elements."""

    def __init__(self, names: Names, extent: int, lanes: int) -> None:
        self.names = names
        self.main, *self.rest = parts(extent, lanes)
        self.steps = names.axis("v", self.main.count) if self.main.count > 1 else None

    def row(self, inside: Inside, start: Sym = ZERO, stop: Sym | None = None,
            last: Sym | None = None) -> list[Statement]:
        """All of it; or the steps from ``start`` to ``stop``, and what is left where ``last`` holds."""
        made = self.part(self.main, inside, self.steps, start, stop)
        return made + when(last, [s for part in self.rest for s in self.part(part, inside)])

    def part(self, part: Part, inside: Inside, steps: Axis | None = None, start: Sym = ZERO,
             stop: Sym | None = None) -> list[Statement]:
        """What is done at each vector of a part."""
        if steps is None and part.count > 1:
            steps = self.names.axis("v", part.count)
        lane = self.names.axis("l", part.lanes) if part.lanes > 1 else None
        at = (steps.var if steps else ZERO) * part.lanes + part.start
        made = inside(at + lane.var if lane else at, lane)
        return [loop(steps, made, start=start, stop=stop)] if steps else made


def unflatten(flat: Sym, axes: Sequence[Axis]) -> dict[Sym, Sym]:
    """The axes' variables in terms of a row-major position in their space.

    >>> from minigrad.symbolic import var
    >>> unflatten(var("i", 0, 11), [Axis(var("y", 0, 2), 3), Axis(var("x", 0, 3), 4)])
    {x: i % 4, y: i/4}
    """
    found: dict[Sym, Sym] = {}
    for position, axis in reversed(list(enumerate(axes))):
        found[axis.var] = flat % axis.size if position else flat
        flat = flat // axis.size
    return found


def bind_axes(flat: Sym, axes: Sequence[Axis]) -> list[Statement]:
    """The axes' variables, bound to a row-major position in their space."""
    return [LetIndex(v, Index(e, int64)) for v, e in reversed(unflatten(flat, axes).items())]


@dataclass(frozen=True, slots=True)
class Share:
    """What one iteration of the parallel loop takes of ``axes``: those before ``cut`` are fixed, ``block`` steps of
    axis ``cut``, all of the others. ``extent`` iterations in all."""

    axes: tuple[Axis, ...]
    cut: int
    block: int
    extent: int

    def blocks(self) -> int:
        """How many blocks the cut axis has."""
        return -(-self.axes[self.cut].size // self.block) if self.axes else 1


def share(axes: Sequence[Axis], work: int, chunk: int = CHUNK, multiple: int = 1) -> Share:
    """Divide loops over ``axes``, whose body costs ``work`` scalar operations, among parallel iterations of about
    ``chunk``; less for small work, and a multiple of ``multiple`` steps of the last axis."""
    total = max(1, work) * prod([axis.size for axis in axes])
    wanted = min(chunk, max(total // WANTED, chunk // 8, 1))
    inside = max(1, work)
    for cut in range(len(axes) - 1, -1, -1):
        size = axes[cut].size
        if inside * size >= wanted or cut == 0:
            block = min(size, max(1, wanted // inside))
            if cut == len(axes) - 1 and block > multiple:
                block -= block % multiple
            return Share(tuple(axes), cut, block, prod([axis.size for axis in axes[:cut]]) * -(-size // block))
        inside *= size
    return Share((), 0, 1, 1)


@dataclass(eq=False)
class Divided:
    """How a kernel's space is divided: ``var`` counts iterations of the parallel loop, or workgroups; ``head`` binds
    what is fixed in one of them."""

    var: Sym
    extent: int
    head: list[Statement] = field(default_factory=list)

    def loop(self, body: Sequence[Statement], kind: str = "parallel") -> For:
        """The parallel loop, or the grid, around ``body``."""
        return For(self.var, ZERO, num(self.extent), 1, kind, (*self.head, *body))


@dataclass(eq=False)
class Parallel(Divided):
    """Iterations that share the steps of one axis: ``start`` and ``stop`` bound them, ``last`` tells whether this is
    the last block (None: it is the only one)."""

    start: Sym = ZERO
    stop: Sym = ONE
    last: Sym | None = None


def dealt(names: Names, space: Sequence[Axis], body: Sequence[Statement],
          divide: bool) -> tuple[list[Statement], Divided | None]:
    """What is done at each point of a space: a point for each iteration, or workgroup; or all, in loops."""
    if not divide:
        return loops(space, body), None
    count = prod([axis.size for axis in space])
    p = names.var("p", count)
    return list(body), Divided(p, count, bind_axes(p, space))


@dataclass
class Lowering:
    """What a strategy made of a stage: ``statements`` for inside a parallel loop, or for a workgroup's threads; how it
    divided the space, if it did that itself; one line for DEBUG=3; ``work`` in scalar operations (``flops`` if they
    differ)."""

    statements: list[Statement]
    note: str
    work: int
    head: Divided | None = None
    flops: int | None = None


def parallel(names: Names, s: Share) -> Parallel:
    """Bind what an iteration of the parallel loop takes."""
    var = names.var("p", s.extent)
    if not s.axes:
        return Parallel(var, 1)
    cut = s.axes[s.cut]
    blocks = s.blocks()
    block = var % blocks
    head = bind_axes(var // blocks, s.axes[:s.cut])
    start = block * s.block
    if blocks == 1:
        return Parallel(var, s.extent, head, ZERO, num(cut.size))
    if block is not var:
        bound = names.var("b", blocks)
        head.append(LetIndex(bound, Index(block, int64)))
        block = bound
        start = block * s.block
    stop = minimum(start + s.block, num(cut.size))
    return Parallel(var, s.extent, head, start, stop, eq(block, num(blocks - 1)))


def when(condition: Sym | None, body: Sequence[Statement]) -> list[Statement]:
    """``body`` where a 0/1 expression holds; None is always."""
    if condition is None or condition.lo == 1 or not body:
        return list(body)
    return [If(Index(condition, bool_), tuple(body))]


# --- loops that may be divided


def parallel_step(loops: Sequence[tuple[str, Axis]], s: Share) -> list[Step]:
    """The step that says how loops, by the names of their axes, are divided among parallel iterations."""
    return [Step("parallel", (loops[s.cut][0], s.block))] if loops else []


def shared(steps: Steps, loops: Sequence[tuple[str, Axis]]) -> Share:
    """How steps divide loops among parallel iterations; one iteration takes all if no step says so."""
    axes, found = tuple([axis for _, axis in loops]), steps.named("parallel")
    if not axes or not found:
        return Share(axes, 0, axes[0].size if axes else 1, 1)
    name, count = str(found[0].args[0]), int(found[0].args[1])
    cut = next((i for i, (known, _) in enumerate(loops) if known == name), None)
    if cut is None:
        raise ScheduleError(f"{found[0]}: {name} has no loop to divide; {', '.join(known for known, _ in loops)} have")
    block = min(count, axes[cut].size)
    return Share(axes, cut, block, prod([a.size for a in axes[:cut]]) * -(-axes[cut].size // block))


class Nest(ABC):
    """A strategy's loops on a processor: ``loops``, outermost first, each with the name of its axis, around rows of
    results. The innermost may be ``vectors``, which counts those of a row."""

    names: Names
    loops: list[tuple[str, Axis]]
    vectors: Axis | None = None

    def cut(self, space: Space, steps: Steps, axis: Axis) -> Pieces:
        """The pieces of an axis that has the lanes; the innermost loop counts its vectors, if there are several."""
        name = space.name(axis)
        pieces = Pieces(self.names, axis.size, steps.count("lanes", name))
        self.vectors = pieces.steps
        self.loops += [(name, self.vectors)] if self.vectors else []
        return pieces

    @abstractmethod
    def row(self, start: Sym = ZERO, stop: Sym | None = None, last: Sym | None = None,
            most: int = 0) -> list[Statement]:
        """A row; or its vectors from ``start`` to ``stop``, at most ``most``, and what is left of it where ``last``
        holds."""

    def whole(self) -> list[Statement]:
        """All of the space."""
        return loops([a for _, a in self.loops if a is not self.vectors], self.row())

    def divided(self, s: Share) -> tuple[Parallel, list[Statement]]:
        """One parallel iteration's part of the space."""
        head = parallel(self.names, s)
        if not s.axes:
            return head, self.whole()
        cut = s.axes[s.cut]
        if cut is self.vectors:
            return head, self.row(head.start, head.stop, head.last, s.block)
        inside = loops([a for a in s.axes[s.cut + 1:] if a is not self.vectors], self.row())
        return head, [loop(cut, inside, start=head.start, stop=head.stop)]

    def lowered(self, strategy: str, space: Space, steps: Steps, total: int, divide: bool, each: int | None = None,
                chunk: int = CHUNK) -> Lowering:
        """The loops, divided as steps say; or so that iterations are worth a ``chunk``, if a step of the innermost loop
        is worth ``each``; or whole, if they are not to be divided."""
        if not divide:
            return Lowering(self.whole(), space.note(strategy, steps), total)
        if each is not None:
            steps += parallel_step(self.loops, share([a for _, a in self.loops], each, chunk))
        s = shared(steps, self.loops)
        head, statements = self.divided(s)
        return Lowering(statements, f"{space.note(strategy, steps)}; {s.extent} iterations", total, head)
