"""Stage: lower, GPU form, strategy ``contraction``. In: a body that sums the products of two operands. Out: the sizes
of its tiles: what a workgroup copies to shared memory at a time, and how many results each thread keeps in registers.
Next: ``tile.py``, which writes the loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from minigrad.dtype import DType
from minigrad.kernel.ir import Apply, Load, Value
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body
from minigrad.lower.contraction import Operand, contiguous, find_product, gathers_along
from minigrad.lower.gpu.threads import SharedMemory, Threads
from minigrad.lower.reductions import Domain
from minigrad.lower.values import Reduction
from minigrad.ops import Op
from minigrad.target import BLOCK_K

LANES = 4
"""Neighbouring columns that a thread takes together, to load and store them at once."""

COPY = 6.0
"""Products that copying an element of an operand to shared memory costs as much as."""

MEETING = 30.0
"""Products that a barrier costs each thread as much as."""


@dataclass(eq=False)
class Side:
    """One operand and the axes that only it depends on: rows of the result, or columns. A workgroup takes ``block`` of
    them at a time and each of its threads ``own``: rows are neighbours; columns come in vectors of ``lanes``, between
    which lie those of the other threads, so that neighbouring threads have neighbouring columns. ``turned``: neighbours
    in memory are steps of K; ``copied``: tiles are copied to shared memory, else the operand is there already.
    ``together``: neighbours that a thread copies at once."""

    operand: Operand
    axes: list[Axis]
    turned: bool
    copied: bool
    block: int = 1
    own: int = 1
    lanes: int = 1
    together: int = 1

    @property
    def size(self) -> int:
        """Rows, or columns, in all."""
        return prod(x.size for x in self.axes)

    @property
    def threads(self) -> int:
        """Threads side by side."""
        return self.block // self.own

    @property
    def blocks(self) -> int:
        """Tiles side by side."""
        return -(-self.size // self.block)

    @property
    def plain(self) -> bool:
        """Whether the operand is a load, perhaps converted: 0 wherever nothing is loaded."""
        value: Value = self.operand.value
        while isinstance(value, Apply) and value.op == Op.CAST:
            value = value.srcs[0]
        return isinstance(value, Load)


@dataclass(eq=False)
class Tiling:
    """The sizes of a contraction: ``threads`` threads multiply tiles of ``rows.block`` × ``depth`` and ``depth`` ×
    ``columns.block``. ``outer``: axes of which each point is a contraction of its own."""

    body: Body
    reduction: Reduction
    rows: Side
    columns: Side
    outer: list[Axis]
    k: list[Axis]
    threads: int
    depth: int = 1

    @property
    def length(self) -> int:
        """Products in a sum."""
        return prod(x.size for x in self.k)

    @property
    def steps(self) -> int:
        """Tiles along K."""
        return -(-self.length // self.depth)

    @property
    def is_long(self) -> bool:
        """Whether sums of ``BLOCK_K`` products are added up apart: an error grows with the longest chain of
        additions."""
        return self.reduction.value.dtype.is_float and self.length > 2 * BLOCK_K

    @property
    def tiles(self) -> int:
        """Tiles of the result, in all."""
        return self.rows.blocks * self.columns.blocks * prod(x.size for x in self.outer)

    @property
    def buffers(self) -> int:
        """Tiles of each operand: the next one is copied while one is multiplied."""
        return 2 if self.steps > 1 else 1

    @property
    def tile_dtype(self) -> DType:
        """Of the tiles' elements."""
        return self.reduction.value.dtype

    def pitch(self, side: Side) -> int:
        """From one step of K to the next in a tile. Where neighbouring threads write neighbouring steps, a vector is
        left free after each, so that they lie in different banks."""
        return side.block + (LANES if side.turned else 0)

    def tile_size(self, side: Side) -> int:
        """Elements of a tile."""
        return self.depth * self.pitch(side)

    def shared_sizes(self) -> list[int]:
        """Elements of the shared arrays."""
        return [self.buffers * self.tile_size(s) for s in (self.rows, self.columns) if s.copied]

    def fits(self, memory: SharedMemory) -> bool:
        """Whether there is shared memory for the tiles."""
        free = sorted(a.size for a in memory.free if a.dtype is self.tile_dtype)
        needed = 0
        for size in self.shared_sizes():
            found = next((n for n in free if n >= size), None)
            if found is None:
                needed += size
            else:
                free.remove(found)
        return needed * self.tile_dtype.size <= memory.left

    def step_time(self) -> float:
        """Estimated time of a step of K of a tile, in products of one thread."""
        rows, columns = self.rows, self.columns
        copied = sum(s.block for s in (rows, columns) if s.copied) / self.threads
        step = rows.own * columns.own + 0.5 * (rows.own + columns.own) + COPY * copied + MEETING / self.depth
        return step * 1.05 if copied * self.depth > 8 else step  # the next tiles wait in registers

    def time(self, threads: Threads) -> float:
        """Estimated time of it all."""
        time = self.tiles * self.step_time() * self.steps * self.depth
        return time / min(1.0, self.tiles / (2 * threads.target.parallel_min)) if threads.divide else time

    def note(self) -> str:
        """One line for DEBUG=3."""
        m, n, k, outer = ([x.size for x in axes] for axes in (self.rows.axes, self.columns.axes, self.k, self.outer))
        return (f"contraction: M {m}, N {n}, K {k}, outer {outer}; tiles of {self.rows.block} × {self.columns.block} × "
                f"{self.depth}, {self.rows.own} × {self.columns.own} results a thread")


def find_tiling(body: Body, kept: Sequence[Axis], domains: Sequence[Domain], threads: Threads) -> Tiling | None:
    """The sizes, or None if there is no contraction in the body, or none that tiles are good for."""
    product = find_product(body, kept, domains)
    if product is None:
        return None
    rows, columns = (_side(o, body) for o in (product.a, product.b))
    last, stores = columns.axes[-1], [body.index(o.index) for o in body.outputs]
    if last.size % LANES == 0 and contiguous(stores, [last]) and not gathers_along(body, columns.axes):
        columns.lanes = LANES
    tiling = Tiling(body, product.reduction, rows, columns, product.outer, product.k, threads.count)
    if tiling.length < 4 or min(rows.size, columns.size) < 2 or rows.size * columns.size < 16:
        return None
    return _with_sizes(tiling, threads)


def _side(operand: Operand, body: Body) -> Side:
    """The rows or columns of an operand: in the order of the results in memory, or where those run along the other
    operand, with the axis last along which this one is contiguous."""
    loads, axes = operand.loads(body), list(operand.own)
    along = next((x for x in reversed(axes) if contiguous(loads, [x])), None)
    if along is not None and not contiguous([body.index(o.index) for o in body.outputs], axes):
        axes.remove(along)
        axes.append(along)
    in_shared = isinstance(operand.value, Load) and operand.value.array.scope == "shared"
    return Side(operand, axes, axes[-1] is not along, not in_shared)


# --- the choice of sizes


def _with_sizes(tiling: Tiling, threads: Threads) -> Tiling | None:
    """The tiling with the sizes, all powers of two, that take the least estimated time; None if there is no memory for
    any."""
    rows, columns = tiling.rows, tiling.columns
    ways = [(high, wide, 1 << n) for high in (8, 4, 2, 1) for wide in (8, 4, 2, 1)
            for n in range(tiling.threads.bit_length()) if _in_registers(tiling, high, wide, threads)]
    ranked: list[tuple[float, int, Tiling]] = []
    for high, wide, across in ways:
        sides = (replace(rows, block=high * (tiling.threads // across), own=high),
                 replace(columns, block=wide * across, own=wide, lanes=columns.lanes if wide % LANES == 0 else 1))
        for depth in (8, 16, 32):
            if depth < max(16, 2 * tiling.length):
                made = replace(tiling, rows=sides[0], columns=sides[1], depth=depth)
                ranked.append((made.time(threads), len(ranked), made))
    return next((made for _, _, made in sorted(ranked) if made.fits(threads.memory)), None)


def _in_registers(tiling: Tiling, high: int, wide: int, threads: Threads) -> bool:
    """Whether a thread has room for so many results and a row and a column of operands."""
    words = tiling.reduction.value.dtype.size / 4
    return (high * wide + high + wide) * words <= threads.target.vector_registers

