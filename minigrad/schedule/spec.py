"""Stage: schedule makes it, lower reads it. In: nothing. Out: the grammar of a schedule: what a kernel computes, in
which stages, over which outer space, and where its values lie.
Next: ``plan.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from minigrad.dtype import DType
from minigrad.graph.lazy import LazyBuffer

# --- the grammar -----------------------------------------------------------------------------------------------
#
#   kernel = KernelSpec(name, outer, stages, memory, scalars, walk)
#   stage  = Stage(stores, outer)          all stores have one shape, the stage's space
#   memory = Memory(...)                   where a node's value lies
#   walk   = Walked(kinds, axes)           or None
#
# A kernel runs its stages, in order, for every point of its outer space; points are independent of each other.
# A stage computes each of its stores over its space, with the coordinates that ``outer`` names held at the point.
# Between a store and the memory it reads lie movement and elementwise nodes, and reductions: each reduction that is
# not in memory is read at one coordinate only for each point of the space, and reads no other reduction.
# A kernel with a walk takes one block after another of a further axis, which some stages have and others reduce over:
# what has the axis lies in scratch memory a block at a time. A stage ``along`` the axis is computed for each block; a
# ``sum`` adds to what it has; ``top`` is a maximum that grows, and a ``relative`` sum is scaled when it does, as far as
# exp(old maximum - new one); an ``each`` stage is computed again for each block, an ``after`` stage once, at the end.
# A store of a SCAN, SCATTER or ASSIGN node stands alone in its stage; the memory of a SCATTER or ASSIGN holds its
# base already.


@dataclass(frozen=True, eq=False, slots=True)
class Memory:
    """Where a value lies. ``scope`` is ``"global"`` (a buffer the kernel is given) or ``"scratch"`` (of one outer
    point: then ``axes`` are the axes of ``shape`` that it holds, the others being fixed by the point).
    ``strides`` are in elements; None means contiguous (over ``axes``, for scratch).
    ``nontemporal``: it begins at a cache line, is as large as the caches, and the kernel does not read it: stores may
    go around them, so that no line is read first which is then written as a whole."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    scope: str = "global"
    strides: tuple[int, ...] | None = None
    axes: tuple[int, ...] = ()
    written: bool = False
    nontemporal: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Stage:
    """Computes ``stores``, nodes of one shape. ``outer[j]`` is the axis of that shape that outer axis j of the kernel
    is."""

    stores: tuple[LazyBuffer, ...]
    outer: tuple[int, ...]

    @property
    def space(self) -> tuple[int, ...]:
        return self.stores[0].shape


@dataclass(frozen=True, slots=True)
class Walked:
    """For each stage what it is on a walk (``along, top, sum, relative, each, after``), and the axis that is walked: of
    its space, or, if it reduces over it, of what it reduces (-1: it has none). ``size``: how long the axis is."""

    kinds: tuple[str, ...]
    axes: tuple[int, ...]
    size: int


@dataclass(frozen=True, eq=False, slots=True)
class KernelSpec:
    """One launch: one fork and join. ``memory`` gives, for each node that is stored or read from memory, where it lies
    (its global entries, in order, are the kernel's buffers); ``scalars`` are the SCALAR nodes, in order.
    ``checks`` numbers the GATHER and SCATTER nodes whose indexes must be checked: entry ``checks[node]`` of the
    int64 buffer ``status`` (a global Memory, or None) is set to 1 + the position of an index source when it is out of
    range."""

    name: str
    outer: tuple[int, ...]
    stages: tuple[Stage, ...]
    memory: Mapping[LazyBuffer, Memory]
    scalars: tuple[LazyBuffer, ...] = ()
    status: Memory | None = None
    checks: Mapping[LazyBuffer, int] = field(default_factory=dict)
    walk: Walked | None = None


@dataclass(frozen=True, eq=False, slots=True)
class StackedSpec:
    """Independent kernels launched as one over the concatenation of their outer spaces."""

    name: str
    parts: tuple[KernelSpec, ...]
