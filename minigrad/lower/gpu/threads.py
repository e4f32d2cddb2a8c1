"""Stage: lower, GPU form. In: a workgroup. Out: what its strategies share: who the threads are, what memory they have
in common, which of them takes which part of a space.
Next: ``map.py``.

A strategy writes what ONE thread does, and every thread of the workgroup runs it. It is called as

    strategy(body, ..., threads) -> Lowering

``threads.t`` is the thread's number, ``threads.count`` how many there are (a power of two; 1 in the last resort of
``kernel.py``, where ``threads.workgroup`` is more). Where ``threads.divide`` holds, the stage is a kernel by itself:
the strategy divides its space among workgroups as it likes and returns them in ``Lowering.head``. Otherwise the stage
is one of several that a workgroup runs for a point, or a block of points, of the outer space: the workgroup does all of
it, ``groups`` is None, and the caller puts a barrier behind it. ``threads.take`` gives shared arrays, which are the
stage's until it ends; the caller brings them to life. Statements may hold barriers only where all threads of the
workgroup come by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from minigrad.dtype import DType, int64
from minigrad.kernel.ir import Alloc, Array, Barrier, For, Index, LetIndex, Load, Statement
from minigrad.lower.axes import Axis, Names
from minigrad.lower.body import Body, Output
from minigrad.lower.nest import Divided, when
from minigrad.lower.steps import Space, Step, Steps
from minigrad.symbolic import Sym, coefficient, num
from minigrad.target import Target

ZERO = num(0)

THREADS = 1 << 17
"""Threads that keep a machine busy: where results are fewer than that, several threads work on each."""

MOST_GROUPS = 8192
"""Divided that a flat space is divided among, at most: beyond, each thread takes several steps."""


@dataclass(eq=False)
class Threads:
    """The threads of a workgroup while they run one stage."""

    t: Sym
    count: int
    workgroup: int
    target: Target
    names: Names
    divide: bool
    memory: SharedMemory

    def take(self, stem: str, dtype: DType, size: int, apart: bool = False, swizzled: bool = False) -> Array | None:
        """A shared array for this stage; None if the workgroup's memory cannot hold it. ``apart``: a small one, which
        takes the place of another's only if there is no room for its own."""
        free = [a for a in self.memory.free if not apart or a.name.startswith(stem)]
        return self.memory.take(self.names.fresh(stem), dtype, size, free, swizzled) or (
            self.memory.take(stem, dtype, size, self.memory.free) if apart else None)

    def barrier(self) -> list[Statement]:
        """All threads of the workgroup meet."""
        return [Barrier()] if self.count > 1 else []

    def note(self, strategy: str, space: Space, steps: Steps, groups: Divided | None, walked: bool = False) -> str:
        """One line for DEBUG=3. ``walked``: the workgroups are steps' to choose."""
        ends = [Step("grid", (groups.extent,))] if groups and walked else []
        others = [step for step in steps if step.name not in ("block", "grid")]
        said = Steps((Step("block", (self.workgroup,)), *others, *ends))
        return space.note(strategy, said) + (f"; {groups.extent} workgroups" if groups else "")


@dataclass
class SharedMemory:
    """The shared arrays of a kernel: those in use, those that a later stage may use again. ``room``: bytes for them;
    ``at_launch``: those that a kernel may have if it is all that its workgroup does."""

    room: int
    arrays: list[Array] = field(default_factory=list)
    free: list[Array] = field(default_factory=list)
    at_launch: int = 0

    @property
    def left(self) -> int:
        """Bytes that no array takes yet."""
        return self.room - sum(a.size * a.dtype.size for a in self.arrays)

    def take(self, name: str, dtype: DType, size: int, free: Sequence[Array] | None = None,
             swizzled: bool = False) -> Array | None:
        """An array of at least ``size`` elements: one of the ``free`` ones (without a list: of all that are) if one
        fits, else a new one; None if there is no room for it."""
        fitting = [a for a in (self.free if free is None else free)
                   if a.dtype is dtype and a.size >= size and a.swizzled == swizzled]
        if fitting:
            found = min(fitting, key=lambda a: a.size)
            self.free.remove(found)
            return found
        if size * dtype.size > self.left:
            return None
        made = Array(name, dtype, size, "shared", 1, True, swizzled=swizzled)
        self.arrays.append(made)
        return made

    def fits(self, wanted: Sequence[tuple[DType, int]], swizzled: bool = False) -> bool:
        """Whether arrays of these sizes can all be taken."""
        tried = SharedMemory(self.room, list(self.arrays), list(self.free))
        return all([tried.take("", dtype, size, None, swizzled) is not None for dtype, size in wanted])

    def allocs(self) -> list[Statement]:
        """What brings the arrays to life."""
        return [Alloc(a) for a in self.arrays]

    def release(self, kept: Sequence[Array] = ()) -> None:
        """What is not ``kept`` may be used again: all threads have met since it was last read."""
        self.free = [a for a in self.arrays if not any(a is k for k in kept)]


def power_of_two(n: int) -> int:
    """The least power of two that is not below ``n``.

    >>> [power_of_two(n) for n in (0, 1, 5, 64)]
    [1, 1, 8, 64]
    """
    return 1 << max(0, n - 1).bit_length()


def wide_lanes(body: Body, loads: Sequence[Load], stores: Sequence[Output], axis: Axis, target: Target) -> int:
    """Neighbours along an axis that a thread takes at once: 4, 2 or 1. Every access is then one wide load or store, or
    the same element for all."""
    if axis.var in body.gathering():
        return 1
    guards = [body.index(x.guard) for x in loads if x.guard is not None]
    if any(coefficient(e, axis.var) != 0 for e in guards):
        return 1
    accesses = [*((x.array, x.index) for x in loads), *((o.array, o.index) for o in stores)]
    indices = [body.index(e) for _, e in accesses]
    widest = max(array.dtype.size for array, _ in accesses)
    for lanes in (4, 2):
        if axis.size % lanes == 0 and lanes <= target.lanes(widest) and all(
                _is_wide(e, axis.var, lanes) for e in indices):
            return lanes
    return 1


def _is_wide(e: Sym, v: Sym, lanes: int) -> bool:
    c = coefficient(e, v)
    return c == 0 or (c == 1 and (e - v) % lanes is ZERO)


@dataclass(frozen=True, eq=False, slots=True)
class Walk:
    """One thread's steps through a flat space: its position in terms of the thread, and the loop or condition that
    stands around what it does there."""

    at: Sym
    bound: Sym | None
    start: Sym
    size: int
    step: int

    def around(self, body: Sequence[Statement]) -> list[Statement]:
        """``body``, which is written for position ``at``, for every position of this thread."""
        if self.bound is None:
            return list(body)
        if self.step < self.size:
            return [For(self.bound, self.start, num(self.size), self.step, "serial", tuple(body))]
        return when(self.start < self.size, [LetIndex(self.bound, Index(self.start, int64)), *body])


def walk(threads: Threads, stem: str, size: int, most: int | None = None) -> tuple[Walk, Divided | None]:
    """Neighbouring threads at neighbouring positions of a flat space; all workgroups together, ``most`` at most, or the
    one."""
    first, groups, stride = threads.t, None, threads.count
    if threads.divide:
        count = max(1, min(most or MOST_GROUPS, -(-size // threads.count)))
        groups = Divided(threads.names.var("p", count), count)
        first, stride = groups.var * threads.count + threads.t, count * threads.count
    if size == stride:
        return Walk(first, None, first, size, stride), groups
    i = threads.names.var(stem, size)
    return Walk(i, i, first, size, stride), groups
