"""Stage: lower, GPU form, strategy ``contraction`` by matrix instructions. In: a contraction that has its sizes. Out:
other sizes, where the machine multiplies tiles of such operands in one instruction and that is estimated to take less
time: each subgroup of a workgroup multiplies a tile of its own.
Next: ``matrix_tile.py``, which writes the loops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from minigrad.dtype import DType, float16, float32, uint16
from minigrad.errors import ScheduleError
from minigrad.kernel.ir import (
    COPIED,
    MATRIX_DEPTH,
    MATRIX_LANES,
    MATRIX_SIDE,
    SWIZZLED,
    TOGETHER,
    Apply,
    Array,
    Load,
    Tile,
    Value,
)
from minigrad.lower.gpu.contraction import COPY, MEETING, Side, Tiling, given_depth, takes_lanes
from minigrad.lower.gpu.threads import SharedMemory, Threads
from minigrad.lower.steps import Space, Step, Steps
from minigrad.lower.tiling import contiguous
from minigrad.ops import Op
from minigrad.symbolic import Sym

SUMS = 64
"""Results that a thread keeps, at most."""

WIDE_SUMS = 128
"""As ``SUMS``, of what subgroups multiply together: they read their operands from shared memory, not from registers."""

LEAST_TOGETHER = 3
"""Tiles of a pipeline of those, at least: one that is multiplied, one whose products are to end, one to come."""

MOST_WIDE = 256
"""Columns that subgroups multiply together, at most."""

BEGIN = 3.0
"""As ``COPY``, where a thread only begins the copy. Nobody has measured it."""

WIDEST = 16
"""Bytes of the widest access of a thread."""

FREE = 8
"""Elements left free after each row of a tile, or each step of K, so that those next to each other lie in different
banks of shared memory; of float32 rows half as many."""


@dataclass(eq=False)
class MatrixTiling(Tiling):
    """The sizes of a contraction whose operands are ``dtype``: each subgroup multiplies ``high`` rows and ``wide``
    columns of a tile. A tile lies in shared memory as its operand does in global memory: with steps of K side by side
    (``turned``), or with rows, or columns, side by side. ``pipeline``: how many tiles of each operand there are, where
    copies to them go on by themselves; 0 where they go through registers. ``together``: subgroups that multiply a tile
    together: then the tiles are swizzled, and products go on by themselves, too."""

    high: int = MATRIX_SIDE
    wide: int = MATRIX_SIDE
    dtype: DType = float16
    pipeline: int = 0
    together: int = 1

    @property
    def buffers(self) -> int:
        """Tiles of each operand: in a pipeline the others are copied while one is multiplied."""
        return min(self.pipeline, max(self.steps, LEAST_TOGETHER if self.together > 1 else 2)) or super().buffers

    @property
    def is_long(self) -> bool:
        """Where the result is no more exact than the operands, the error of the sum does not show in it."""
        return (super().is_long and self.dtype is not float32 and self.reduction.node.dtype is float32
                and self.together == 1)  # there are no registers for two sums of what many subgroups multiply

    @property
    def is_swizzled(self) -> bool:
        """Whether the tiles lie as subgroups that multiply together want them."""
        return self.together > 1

    @property
    def tile_dtype(self) -> DType:
        """The half types stay bits."""
        return float32 if self.dtype is float32 else uint16

    def pitch(self, side: Side) -> int:
        """From one row of a tile to the next, or, where rows lie side by side, from one step of K to the next."""
        if self.together > 1:
            return SWIZZLED
        if not side.turned:
            return side.block + FREE
        return self.depth + (FREE // 2 if self.dtype is float32 else FREE)

    def tile_size(self, side: Side) -> int:
        if self.together > 1:
            return side.block * self.depth
        return (side.block if side.turned else self.depth) * self.pitch(side)

    def steps_of(self, side: Side) -> tuple[int, int]:
        return (self.pitch(side), 1) if side.turned else (1, self.pitch(side))

    def apart(self, side: Side) -> int:
        """From one block of 64 rows, or columns, to the next, where they don't follow each other."""
        return SWIZZLED * self.depth if self.together > 1 and not side.turned else 0

    def tile(self, side: Side, array: Array, first: Sym) -> Tile:
        """The tile that begins at an index of an array."""
        return Tile(array, first, *self.steps_of(side), self.apart(side))

    def step_time(self) -> float:
        """As for other tilings: it counts in products without matrix instructions, of which one thread makes as many as
        32 of half types, or 16 of tf32, take with them; together, half as long. Reading a tile takes as long as shared
        memory needs; subgroups that multiply together read while they do."""
        products = self.rows.own * self.columns.own * self.dtype.size / (32 if self.together == 1 else 64)
        reads = (self.high + self.wide) * self.dtype.size / 64 if self.together == 1 else 0.0
        each = BEGIN if self.pipeline else COPY
        copies = sum(s.block * (each / s.together + 0.5) for s in (self.rows, self.columns)) / self.threads
        waiting = 0.5 + 1 / self.pipeline if self.pipeline else 1.0  # the more is on its way, the less
        return products + reads + copies + MEETING / self.depth * waiting

    def multiplied(self, m: str, n: str) -> Step:
        return Step("matrix" if self.together == 1 else "warpgroup", (m, self.high, n, self.wide))

    def steps_of_tile(self, space: Space) -> list[Step]:
        found = super().steps_of_tile(space)
        return [*found, Step("pipeline", (space.name(self.k[-1]), self.pipeline))] if self.pipeline else found

    def fits(self, memory: SharedMemory) -> bool:
        room = memory.at_launch if self.pipeline else memory.room
        wanted = [(self.tile_dtype, size) for size in self.shared_sizes()]
        return replace(memory, room=room).fits(wanted, self.together > 1)


def find_matrix_tiling(tiling: Tiling, threads: Threads, space: Space, given: Steps | None = None
                       ) -> MatrixTiling | None:
    """The sizes, given by steps or those that take the least estimated time; None if steps give none, if the operands
    or the machine are not made for it, or if it takes no less time than ``tiling``."""
    step = given and next(iter(given.named("matrix") + given.named("warpgroup")), None)
    if given is not None and step is None:
        return None
    dtype, why_not = _operands_dtype(tiling, threads)
    if step and dtype is None:
        raise ScheduleError(f"{step}: {why_not}")
    if dtype is None or (given is None and not all(s.copied for s in (tiling.rows, tiling.columns))):
        return None
    sides = (tiling.rows, tiling.columns)
    rows, columns = (replace(s, lanes=1, together=_together(tiling, s, dtype)) for s in sides)
    if given is None and (tiling.columns.lanes > 1 or takes_lanes(tiling.body, columns, 2)):
        columns.lanes = 2
    shared = {**{f.name: getattr(tiling, f.name) for f in fields(tiling)}, "dtype": dtype}
    if given is not None and step:
        return _checked(MatrixTiling(**{**shared, **_given(rows, columns, dtype, tiling, given, space)}), step, given,
                        threads)
    made = [MatrixTiling(**{**shared, **found}) for found in _sizes(rows, columns, dtype, tiling.threads)]
    if not cannot_pipeline(made[0], threads):
        stages = range(3, min(threads.target.pipeline, made[0].length // made[0].depth) + 1)
        made += [replace(m, pipeline=n) for m in made for n in stages]
        wide = [MatrixTiling(**{**shared, **found}) for found in _wide_sizes(rows, columns, tiling.threads)]
        made += [m for w in wide for n in stages if not cannot_multiply_together(m := replace(w, pipeline=n), threads)]
    best = min((m for m in made if m.fits(threads.memory)), key=lambda m: m.time(threads), default=None)
    return best if best is not None and best.time(threads) < tiling.time(threads) else None


def _checked(tiling: MatrixTiling, step: Step, given: Steps, threads: Threads) -> MatrixTiling:
    """The tiling that steps give, if the machine can do it."""
    if tiling.pipeline and (why_not := cannot_pipeline(tiling, threads)):
        raise ScheduleError(f"{given.named('pipeline')[0]}: {why_not}")
    if tiling.together > 1 and (why_not := cannot_multiply_together(tiling, threads)):
        raise ScheduleError(f"{step}: {why_not}")
    if not tiling.fits(threads.memory):
        raise ScheduleError(f"{step}: the workgroup's memory does not hold the tiles")
    return tiling


def cannot_pipeline(tiling: MatrixTiling, threads: Threads) -> str:
    """Why tiles cannot be copied while others are multiplied; nothing if they can."""
    if not threads.target.pipeline:
        return "the machine has no copies that go on by themselves"
    if not threads.divide:
        return "it is for a product that is a kernel of its own"
    if tiling.steps < 2 or tiling.pipeline == 1:
        return f"the sum has {tiling.steps} tiles; two at least are on their way, or multiplied"
    narrow = [s for s in (tiling.rows, tiling.columns) if s.together * tiling.dtype.size not in COPIED]
    return "an element is copied by itself, which is too few bytes" if narrow else ""


def cannot_multiply_together(tiling: MatrixTiling, threads: Threads) -> str:
    """Why subgroups cannot multiply a tile together; nothing if they can."""
    if tiling.dtype.name not in threads.target.together:
        return f"the machine's subgroups don't multiply {tiling.dtype.name} together"
    if threads.count % (MATRIX_LANES * TOGETHER):
        return f"a workgroup of {threads.count} threads is no whole {TOGETHER} subgroups of {MATRIX_LANES}"
    if tiling.pipeline < LEAST_TOGETHER:
        return f"it takes a pipeline of {LEAST_TOGETHER} tiles at least"
    sides = (tiling.rows, tiling.columns)
    if tiling.depth != SWIZZLED or any(s.block % SWIZZLED for s in sides if not s.turned) or tiling.steps < 2:
        return (f"tiles are {SWIZZLED} steps of the sum, two at least, and multiples of {SWIZZLED} rows, or columns, "
                "that lie side by side")
    return "" if all(s.together == SWIZZLED // 8 for s in sides) else "operands are copied 16 bytes at a time"


def _operands_dtype(tiling: Tiling, threads: Threads) -> tuple[DType | None, str]:
    """What both operands are made of, if the machine multiplies that in one instruction; else why it does not."""
    a, b = (_dtype_of(s.operand.value) for s in (tiling.rows, tiling.columns))
    if a is None or b is not a or a.name not in threads.target.matrix:
        return None, "matrices are both loaded, of one dtype of " + (
            ", ".join(threads.target.matrix) or "none: the machine multiplies none in one instruction")
    if threads.target.subgroup != MATRIX_LANES or threads.count % MATRIX_LANES:
        return None, f"a workgroup of {threads.count} threads is no whole subgroups of {MATRIX_LANES}"
    if tiling.reduction.value.dtype is not float32:
        return None, f"products of {tiling.reduction.value.dtype.name} are not added up in float32"
    return a, ""


def _given(rows: Side, columns: Side, dtype: DType, tiling: Tiling, steps: Steps, space: Space) -> dict[str, object]:
    """The sizes that steps give."""
    step = (steps.named("matrix") + steps.named("warpgroup"))[0]
    together = 1 if step.name == "matrix" else TOGETHER
    side, lanes_of, most = MATRIX_SIDE * together, MATRIX_LANES * together, SUMS if together == 1 else WIDE_SUMS
    m, high, n, wide = str(step.args[0]), int(step.args[1]), str(step.args[2]), int(step.args[3])
    high_block, wide_block = max(high, steps.count("split", m)), max(wide, steps.count("split", n))
    least, depth = MATRIX_DEPTH[dtype.size], given_depth(tiling, steps, space, m, n)
    depth = depth if depth > 1 else least
    if high % side or wide % MATRIX_SIDE or depth % least or high * wide > most * lanes_of or (
            together > 1 and wide > MOST_WIDE):
        sides = "rows and columns are multiples of" if together == 1 else f"rows are multiples of {side}, columns of"
        raise ScheduleError(f"{step}: {sides} {MATRIX_SIDE}, for {most * lanes_of} results at most, and the sum is cut "
                            f"into multiples of {least}")
    if high_block % high or wide_block % wide or (
            (high_block // high) * (wide_block // wide) * lanes_of != tiling.threads):
        raise ScheduleError(f"{step}: tiles of a workgroup are as many times {high} and {wide}, in all, as it has "
                            f"subgroups{'' if together == 1 else f' by {together}'}, {tiling.threads // lanes_of}")
    lanes = steps.count("lanes", n)
    if lanes > 2 or (lanes == 2 and not takes_lanes(tiling.body, columns, 2)) or not (
            steps.keeps("a") and steps.keeps("b")):
        raise ScheduleError(f"{step}: both operands are kept in shared memory, and a thread stores 1 or 2 neighbours, "
                            "as memory allows")
    stages = steps.count("pipeline", space.name(tiling.k[-1])) if steps.named("pipeline") else 0
    return {"rows": replace(rows, block=high_block, own=high // (8 * together), copied=True), "high": high,
            "wide": wide, "pipeline": stages, "together": together,
            "columns": replace(columns, block=wide_block, own=wide // 4, lanes=lanes, copied=True), "depth": depth}


def _dtype_of(value: Value) -> DType | None:
    """What an operand is made of: a float32, or a half converted to one, that is loaded and nothing else."""
    if isinstance(value, Apply) and value.op == Op.CAST and value.dtype is float32:
        value = value.srcs[0]
        return value.dtype if isinstance(value, Load) and value.dtype.is_float and value.dtype.size == 2 else None
    return float32 if isinstance(value, Load) and value.dtype is float32 else None


def _together(tiling: Tiling, side: Side, dtype: DType) -> int:
    """How many neighbours in memory one access of a thread takes: all of them inside the matrix, or none."""
    axis = tiling.k[-1] if side.turned else side.axes[-1]
    loads = side.operand.work.loads
    if any(x.guard is not None for x in loads) or axis.var in tiling.body.gathering():
        return 1
    if not contiguous(side.operand.loads(tiling.body), [axis]):
        return 1
    return next((n for n in (8, 4, 2) if n * dtype.size <= WIDEST and axis.size % n == 0), 1)


def _sizes(rows: Side, columns: Side, dtype: DType, threads: int) -> Iterator[dict[str, object]]:
    """What subgroups can take, and how they can lie side by side in a workgroup's tile."""
    subgroups = threads // MATRIX_LANES
    for high in (64, 32, 16):
        for wide in (64, 32, 16):
            if high * wide > SUMS * MATRIX_LANES:
                continue
            for across in (1 << n for n in range(subgroups.bit_length())):
                sides = (replace(rows, block=high * (subgroups // across), own=high // 8),
                         replace(columns, block=wide * across, own=wide // 4))
                for depth in (2 * MATRIX_DEPTH[dtype.size], MATRIX_DEPTH[dtype.size]):
                    yield {"rows": sides[0], "columns": sides[1], "high": high, "wide": wide, "depth": depth}


def _wide_sizes(rows: Side, columns: Side, threads: int) -> Iterator[dict[str, object]]:
    """What subgroups can take together, and how they can lie side by side in a workgroup's tile."""
    groups = threads // (MATRIX_LANES * TOGETHER)
    for high, wide in ((64, 256), (128, 128), (64, 128), (64, 64)):
        for across in (1 << n for n in range(groups.bit_length())):
            if groups:
                yield {"rows": replace(rows, block=high * (groups // across), own=high // (8 * TOGETHER)), "high": high,
                       "columns": replace(columns, block=wide * across, own=wide // 4), "wide": wide,
                       "depth": SWIZZLED, "together": TOGETHER}
