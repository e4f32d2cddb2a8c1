"""Stage: lower, GPU form, strategy ``contraction`` by matrix instructions. In: a contraction that has its sizes. Out:
other sizes, where the machine multiplies tiles of such operands in one instruction and that is estimated to take less
time: each subgroup of a workgroup multiplies a tile of its own.
Next: ``matrix_tile.py``, which writes the loops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from minigrad.dtype import DType, float16, float32, uint16
from minigrad.kernel.ir import MATRIX_DEPTH, MATRIX_LANES, MATRIX_SIDE, Apply, Load, Value
from minigrad.lower.contraction import contiguous, gathers_along
from minigrad.lower.gpu.contraction import COPY, MEETING, Side, Tiling
from minigrad.lower.gpu.threads import Threads
from minigrad.ops import Op

SUMS = 64
"""Results that a thread keeps, at most."""

WIDEST = 16
"""Bytes of the widest access of a thread."""

FREE = 8
"""Elements left free after each row of a tile, or each step of K, so that those next to each other lie in different
banks of shared memory; of float32 rows half as many."""


@dataclass(eq=False)
class MatrixTiling(Tiling):
    """The sizes of a contraction whose operands are ``dtype``: each subgroup multiplies ``high`` rows and ``wide``
    columns of a tile. A tile lies in shared memory as its operand does in global memory: with steps of K side by side
    (``turned``), or with rows, or columns, side by side."""

    high: int = MATRIX_SIDE
    wide: int = MATRIX_SIDE
    dtype: DType = float16

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
        copies = sum(s.block * (COPY / s.together + 0.5) for s in (self.rows, self.columns)) / self.threads
        return products + reads + copies + MEETING / self.depth

    def note(self) -> str:
        return f"{super().note()}, by matrix instructions of {'tf32' if self.dtype is float32 else self.dtype.name}"


def find_matrix_tiling(tiling: Tiling, threads: Threads) -> MatrixTiling | None:
    """The sizes that take the least estimated time; None if the operands or the machine are not made for it, or if it
    takes no less time than ``tiling``."""
    sides = (tiling.rows, tiling.columns)
    dtypes = [_dtype_of(s.operand.value) for s in sides]
    dtype = dtypes[0]
    if dtype is None or dtypes[1] is not dtype or dtype.name not in threads.target.matrix:
        return None
    if threads.target.subgroup != MATRIX_LANES or threads.count % MATRIX_LANES or not all(s.copied for s in sides):
        return None
    if tiling.reduction.value.dtype is not float32:
        return None
    rows, columns = (replace(s, lanes=1, together=_together(tiling, s, dtype)) for s in sides)
    stores = [tiling.body.index(o.index) for o in tiling.body.outputs]
    if tiling.columns.lanes > 1 or (columns.axes[-1].size % 2 == 0 and contiguous(stores, columns.axes[-1:])
                                  and not gathers_along(tiling.body, columns.axes)):
        columns.lanes = 2
    shared = {f.name: getattr(tiling, f.name) for f in fields(tiling)}
    made = [MatrixTiling(**{**shared, **sizes}, dtype=dtype) for sizes in _sizes(rows, columns, dtype, tiling.threads)]
    fitting = [m for m in made if m.fits(threads.memory)]
    best = min(fitting, key=lambda m: m.time(threads), default=None)
    return best if best is not None and best.time(threads) < tiling.time(threads) else None


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
