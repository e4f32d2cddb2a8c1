"""Stage: lower, GPU form, strategy ``contraction``. In: a body that sums the products of two operands. Out: the sizes
of its tiles: what a workgroup copies to shared memory at a time, and how many results each thread keeps in registers.
Next: ``tile.py``, which writes the loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from minigrad.dtype import DType
from minigrad.errors import ScheduleError
from minigrad.kernel.ir import Load
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body
from minigrad.lower.contraction import find_product, gathers_along, given_product
from minigrad.lower.gpu.threads import SharedMemory, Threads, power_of_two
from minigrad.lower.reductions import Domain
from minigrad.lower.scalar import unconverted
from minigrad.lower.steps import Space, Step, Steps, Strategy
from minigrad.lower.tiling import Operand, contiguous
from minigrad.lower.values import Reduction
from minigrad.target import BLOCK_K

LANES = 4
"""Neighbouring columns that a thread takes together, to load and store them at once."""

COPY = 6.0
"""Products that copying an element of an operand to shared memory costs as much as."""

GROUP = 8
"""Tiles of a group of workgroups. Nobody has measured it."""

SEVERAL = 2
"""Tiles for each multiprocessor from which their order counts."""

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
        return isinstance(unconverted(self.operand.value), Load)


@dataclass(eq=False)
class Tiling:
    """The sizes of a contraction: ``threads`` threads multiply tiles of ``rows.block`` × ``depth`` and ``depth`` ×
    ``columns.block``. ``outer``: axes of which each point is a contraction of its own. ``group``: workgroups next to
    each other take so many tiles side by side along the rows before the next along the columns, so that those that run
    at a time read less."""

    body: Body
    reduction: Reduction
    rows: Side
    columns: Side
    outer: list[Axis]
    k: list[Axis]
    threads: int
    depth: int = 1
    group: int = 1

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

    @property
    def is_swizzled(self) -> bool:
        """Whether the tiles' elements lie in another order."""
        return False

    def pitch(self, side: Side) -> int:
        """From one step of K to the next in a tile. Where neighbouring threads write neighbouring steps, a vector is
        left free after each, so that they lie in different banks."""
        return side.block + (LANES if side.turned else 0)

    def steps_of(self, side: Side) -> tuple[int, int]:
        """From one row, or column, of a tile to the next, and from one step of K to the next."""
        return 1, self.pitch(side)

    def tile_size(self, side: Side) -> int:
        """Elements of a tile."""
        return self.depth * self.pitch(side)

    def shared_sizes(self) -> list[int]:
        """Elements of the shared arrays."""
        return [self.buffers * self.tile_size(s) for s in (self.rows, self.columns) if s.copied]

    def fits(self, memory: SharedMemory) -> bool:
        """Whether there is shared memory for the tiles."""
        return memory.fits([(self.tile_dtype, size) for size in self.shared_sizes()])

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

    def steps_of_tile(self, space: Space) -> list[Step]:
        """The sizes in steps: what a thread multiplies, at a time, and a workgroup."""
        m, n, k = (space.name(axes[-1]) for axes in (self.rows.axes, self.columns.axes, self.k))
        found = [self.multiplied(m, n), Step("split", (m, self.rows.block)), Step("split", (n, self.columns.block)),
                 Step("split", (k, self.depth))]
        found += [Step("lanes", (n, self.columns.lanes))] * (self.columns.lanes > 1)
        found += [Step("group", (m, self.group))] * (self.group > 1)
        return found + [Step("keep", (name, "shared")) for name, side in (("a", self.rows), ("b", self.columns))
                        if side.copied]

    def multiplied(self, m: str, n: str) -> Step:
        """The step that says how many rows and columns are multiplied together."""
        return Step("multiply", (m, self.rows.own, n, self.columns.own))


PRODUCTS = ("multiply", "matrix", "warpgroup")
"""Steps that say how many rows and columns are multiplied at a time."""

STEPS = Strategy("contraction", ("block", "multiply", "matrix", "warpgroup", "split", "lanes", "keep",
                                   "pipeline", "group"),
                 (("a", "shared"), ("b", "shared")))


def find_tiling(body: Body, kept: Sequence[Axis], domains: Sequence[Domain], threads: Threads, space: Space,
                given: Steps | None = None) -> Tiling | None:
    """The sizes, given by steps or chosen. None if there is no contraction in the body, or, without steps, none that
    tiles are good for."""
    product = find_product(body, kept, domains)
    if given is not None:
        space.check(given, STEPS)
        product, *_ = given_product(product, _product_step(given), space)
    if product is None:
        return None
    rows, columns = (_side(o, body) for o in (product.a, product.b))
    if given is None and takes_lanes(body, columns, LANES):
        columns.lanes = LANES
    tiling = Tiling(body, product.reduction, rows, columns, product.outer, product.k, threads.count)
    if given is not None:
        return given_sizes(tiling, given, space, threads) if given.named("multiply") else tiling
    if tiling.length < 4 or min(rows.size, columns.size) < 2 or rows.size * columns.size < 16:
        return None
    return _with_sizes(tiling, threads)


def in_groups(tiling: Tiling, threads: Threads, space: Space, given: Steps | None) -> Tiling:
    """The tiling with the order in which workgroups take tiles: as steps say, or in groups, where there are several
    tiles for each multiprocessor. ``ScheduleError`` where tiles are no whole groups."""
    blocks, m = tiling.rows.blocks, space.name(tiling.rows.axes[-1])
    if given is not None:
        group = given.count("group", m)
        if given.named("group") and (blocks % group or not threads.divide or given.named("group")[0].args[0] != m):
            raise ScheduleError(f"{given.named('group')[0]}: there are {blocks} tiles along the rows, {m}, and groups "
                                "divide them, in a product that is a kernel of its own")
        return replace(tiling, group=group)
    several = threads.divide and tiling.tiles > SEVERAL * threads.target.parallel_min and tiling.columns.blocks > 1
    return replace(tiling, group=GROUP) if several and blocks > GROUP and blocks % GROUP == 0 else tiling


def _product_step(steps: Steps) -> Step:
    """The step that says what is multiplied at a time."""
    return next(step for name in PRODUCTS for step in steps.named(name))


def takes_lanes(body: Body, columns: Side, lanes: int) -> bool:
    """Whether a thread can store so many neighbouring columns by one access."""
    last, stores = columns.axes[-1], body.stored_at
    return last.size % lanes == 0 and contiguous(stores, [last]) and not gathers_along(body, columns.axes)


def given_sizes(tiling: Tiling, steps: Steps, space: Space, threads: Threads) -> Tiling:
    """The tiling with the sizes that steps give. Threads lie side by side along the columns as ``split`` says, or as
    many as there are columns for."""
    body, (step, *_) = tiling.body, steps.named("multiply")
    for other in steps.named("pipeline"):
        raise ScheduleError(f"{other}: only tiles of matrix instructions, by the step matrix, are copied meanwhile")
    rows, columns = tiling.rows, tiling.columns
    m, high, n, wide = str(step.args[0]), int(step.args[1]), str(step.args[2]), int(step.args[3])
    across = min(tiling.threads, power_of_two(-(-columns.size // wide)))
    blocks = {name: steps.count("split", name) for name in (m, n)}
    if blocks[n] > 1:
        across = blocks[n] // wide
    elif blocks[m] > 1:
        across = tiling.threads * high // blocks[m]
    down = tiling.threads // max(1, across)
    if down * across != tiling.threads or any(blocks[name] not in (1, size) for name, size in (
            (m, high * down), (n, wide * across))):
        raise ScheduleError(f"{step}: tiles of a workgroup are as many times {high} and {wide}, in all, as it has "
                            f"threads, {tiling.threads}")
    lanes = steps.count("lanes", n)
    if lanes > 1 and (wide % lanes or not takes_lanes(body, columns, lanes)):
        raise ScheduleError(f"{steps.named('lanes')[0]}: {wide} results a thread, of {columns.axes[-1].size} in a row, "
                            "that lie side by side in memory, would be vectors")
    made = replace(tiling, rows=replace(rows, block=high * down, own=high, copied=steps.keeps("a")),
                   columns=replace(columns, block=wide * across, own=wide, lanes=lanes, copied=steps.keeps("b")),
                   depth=given_depth(tiling, steps, space, m, n))
    if not made.fits(threads.memory):
        raise ScheduleError(f"{step}: the workgroup's memory does not hold the tiles of what is kept there")
    return made


def given_depth(tiling: Tiling, steps: Steps, space: Space, m: str, n: str) -> int:
    """How many steps of the sum are multiplied at a time."""
    k = space.name(tiling.k[-1])
    for step in steps.named("split"):
        if step.args[0] not in (m, n, k):
            raise ScheduleError(f"{step}: what can be cut are rows, columns and the last axis of the sum, {k}")
    return steps.count("split", k)


def _side(operand: Operand, body: Body) -> Side:
    """The rows or columns of an operand: in the order of the results in memory, or where those run along the other
    operand, with the axis last along which this one is contiguous."""
    loads, axes = operand.loads(body), list(operand.own)
    along = next((x for x in reversed(axes) if contiguous(loads, [x])), None)
    if along is not None and not contiguous(body.stored_at, axes):
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

