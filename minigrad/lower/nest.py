"""Stage: lower, below the strategies. In: axes and bodies. Out: loops around bodies: which part of the space an
iteration of the parallel loop takes, and how an extent falls into vectors and a rest.
Next: ``cost.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from minigrad.dtype import bool_, int64
from minigrad.kernel.ir import For, If, Index, LetIndex, Statement
from minigrad.lower.axes import Axis
from minigrad.lower.values import Names
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


def in_parts(names: Names, extent: int, lanes: int,
             inside: Callable[[Sym], tuple[Sequence[Statement], Sequence[Statement]]]) -> list[Statement]:
    """Loops over an extent, in whole vectors, then narrower ones, then single elements; ``inside``: what stands before
    the vector loop at a position, and what is in it."""
    statements: list[Statement] = []
    for part in parts(extent, lanes):
        step, lane = Axis(names.var("v", part.count), part.count), None
        at = (step.var if part.count > 1 else ZERO) * part.lanes + part.start
        if part.lanes > 1:
            lane = Axis(names.var("l", part.lanes), part.lanes)
            at = at + lane.var
        head, stores = inside(at)
        made = [*head, *vectorised(lane, stores)]
        statements += [loop(step, made)] if part.count > 1 else made
    return statements


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
    total = max(1, work)
    for axis in axes:
        total *= axis.size
    wanted = min(chunk, max(total // WANTED, chunk // 8, 1))
    inside = max(1, work)
    for cut in range(len(axes) - 1, -1, -1):
        size = axes[cut].size
        if inside * size >= wanted or cut == 0:
            block = min(size, max(1, wanted // inside))
            if cut == len(axes) - 1 and block > multiple:
                block -= block % multiple
            extent = -(-size // block)
            for axis in axes[:cut]:
                extent *= axis.size
            return Share(tuple(axes), cut, block, extent)
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
