"""Stage: lower, GPU form, strategy ``contraction`` by matrix instructions. In: a contraction that has its sizes. Out:
other sizes, where the machine multiplies tiles of such operands in one instruction and that is estimated to take less
time: each subgroup of a workgroup multiplies a tile of its own.
Next: ``matrix_tile.py``, which writes the loops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from minigrad.dtype import DType, float16, float32, uint16
from minigrad.errors import ScheduleError
from minigrad.kernel.ir import COPIED, MATRIX_DEPTH, MATRIX_LANES, MATRIX_SIDE, Apply, Load, Value
from minigrad.lower.gpu.contraction import COPY, MEETING, Side, Tiling, given_depth, takes_lanes
from minigrad.lower.gpu.threads import SharedMemory, Threads
from minigrad.lower.steps import Space, Step, Steps
from minigrad.lower.tiling import contiguous
from minigrad.ops import Op

SUMS = 64
"""Results that a thread keeps, at most."""

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
    copies to them go on by themselves; 0 where they go through registers."""

    high: int = MATRIX_SIDE
    wide: int = MATRIX_SIDE
    dtype: DType = float16
    pipeline: int = 0

    @property
    def buffers(self) -> int:
        """Tiles of each operand: in a pipeline the others are copied while one is multiplied."""
        return min(self.pipeline, self.steps) or super().buffers

    @property
    def is_long(self) -> bool:
        """Where the result is no more exact than the operands, the error of the sum does not show in it."""
        return super().is_long and self.dtype is not float32 and self.reduction.node.dtype is float32

    @property
    def tile_dtype(self) -> DType:
        """The half types stay bits."""
        return float32 if self.dtype is float32 else uint16

    def pitch(self, side: Side) -> int:
        """From one row of a tile to the next, or, where rows lie side by side, from one step of K to the next."""
        if not side.turned:
            return side.block + FREE
        return self.depth + (FREE // 2 if self.dtype is float32 else FREE)

    def tile_size(self, side: Side) -> int:
        return (side.block if side.turned else self.depth) * self.pitch(side)

    def steps_of(self, side: Side) -> tuple[int, int]:
        """From one row, or column, of a tile to the next, and from one step of K to the next."""
        return (self.pitch(side), 1) if side.turned else (1, self.pitch(side))

    def step_time(self) -> float:
        """As for other tilings: it counts in products without matrix instructions, of which one thread makes as many as
        32 of half types, or 16 of tf32, take with them. Reading a tile takes as long as shared memory needs."""
        products = self.rows.own * self.columns.own * self.dtype.size / 32
        reads = (self.high + self.wide) * self.dtype.size / 64
        each = BEGIN if self.pipeline else COPY
        copies = sum(s.block * (each / s.together + 0.5) for s in (self.rows, self.columns)) / self.threads
        return products + reads + copies + MEETING / self.depth

    def multiplied(self, m: str, n: str) -> Step:
        return Step("matrix", (m, self.high, n, self.wide))

    def steps_of_tile(self, space: Space) -> list[Step]:
        found = super().steps_of_tile(space)
        return [*found, Step("pipeline", (space.name(self.k[-1]), self.pipeline))] if self.pipeline else found

    def fits(self, memory: SharedMemory) -> bool:
        room = memory.at_launch if self.pipeline else memory.room
        return replace(memory, room=room).fits([(self.tile_dtype, size) for size in self.shared_sizes()])


def find_matrix_tiling(tiling: Tiling, threads: Threads, space: Space, given: Steps | None = None
                       ) -> MatrixTiling | None:
    """The sizes, given by steps or those that take the least estimated time; None if steps give none, if the operands
    or the machine are not made for it, or if it takes no less time than ``tiling``."""
    if given is not None and not given.named("matrix"):
        return None
    dtype, why_not = _operands_dtype(tiling, threads)
    if given is not None and dtype is None:
        raise ScheduleError(f"{given.named('matrix')[0]}: {why_not}")
    if dtype is None or (given is None and not all(s.copied for s in (tiling.rows, tiling.columns))):
        return None
    sides = (tiling.rows, tiling.columns)
    rows, columns = (replace(s, lanes=1, together=_together(tiling, s, dtype)) for s in sides)
    if given is None and (tiling.columns.lanes > 1 or takes_lanes(tiling.body, columns, 2)):
        columns.lanes = 2
    shared = {f.name: getattr(tiling, f.name) for f in fields(tiling)}
    sizes = _sizes(rows, columns, dtype, tiling.threads) if given is None else [
        _given(rows, columns, dtype, tiling, given, space)]
    made = [MatrixTiling(**{**shared, **found}, dtype=dtype) for found in sizes]
    if given is None and not cannot_pipeline(made[0], threads):
        made += [replace(m, pipeline=n) for m in made for n in range(3, min(threads.target.pipeline, m.steps) + 1)]
    fitting = [m for m in made if m.fits(threads.memory)]
    best = min(fitting, key=lambda m: m.time(threads), default=None)
    if given is not None:
        why_not = cannot_pipeline(made[0], threads) if made[0].pipeline else ""
        if why_not:
            raise ScheduleError(f"{given.named('pipeline')[0]}: {why_not}")
        if best is None:
            raise ScheduleError(f"{given.named('matrix')[0]}: the workgroup's memory does not hold the tiles")
        return best
    return best if best is not None and best.time(threads) < tiling.time(threads) else None


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
    step = steps.named("matrix")[0]
    m, high, n, wide = str(step.args[0]), int(step.args[1]), str(step.args[2]), int(step.args[3])
    high_block, wide_block = max(high, steps.count("split", m)), max(wide, steps.count("split", n))
    least, depth = MATRIX_DEPTH[dtype.size], given_depth(tiling, steps, space, m, n)
    depth = depth if depth > 1 else least
    if high % MATRIX_SIDE or wide % MATRIX_SIDE or depth % least or high * wide > SUMS * MATRIX_LANES:
        raise ScheduleError(f"{step}: rows and columns are multiples of {MATRIX_SIDE}, for {SUMS * MATRIX_LANES} "
                            f"results at most, and the sum is cut into multiples of {least}")
    if high_block % high or wide_block % wide or (
            (high_block // high) * (wide_block // wide) * MATRIX_LANES != tiling.threads):
        raise ScheduleError(f"{step}: tiles of a workgroup are as many times {high} and {wide}, in all, as it has "
                            f"subgroups, {tiling.threads // MATRIX_LANES}")
    lanes = steps.count("lanes", n)
    if lanes > 2 or (lanes == 2 and not takes_lanes(tiling.body, columns, 2)) or not (
            steps.keeps("a") and steps.keeps("b")):
        raise ScheduleError(f"{step}: both operands are kept in shared memory, and a thread stores 1 or 2 neighbours, "
                            "as memory allows")
    stages = steps.count("pipeline", space.name(tiling.k[-1])) if steps.named("pipeline") else 0
    return {"rows": replace(rows, block=high_block, own=high // 8, copied=True), "high": high, "wide": wide,
            "pipeline": stages,
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
