"""Stage: realise, tier 0. In: a dtype and a Target. Out: the loops of a batch of matrix products of any size, around a
register tile: rows of one operand, broadcast, times vectors of the other (BLIS, Van Zee and van de Geijn, 2015).
Next: ``views.py``.

``out[batch, row, column] = sum over k of a[batch, row, k] * b[batch, k, column]``; neighbouring columns of b and of the
result are neighbours in memory. A tile that would reach past the last row, or a vector past the last column, begins
earlier instead and computes some results a second time, in the same order and by the same iteration. So sizes need no
masks, and little code."""

from __future__ import annotations

from collections.abc import Callable

from minigrad.dtype import accumulator, bool_, int64
from minigrad.engine.tier0.names import tile_of
from minigrad.kernel.ir import Alloc, Apply, Array, Const, For, If, Index, LetIndex, Load, Statement, Store, Value
from minigrad.lower.scalar import convert
from minigrad.ops import Op
from minigrad.symbolic import Sym, eq, minimum, num, var
from minigrad.target import Target

NUMBERS = ("M", "N", "K", "k_block", "a_batch", "a_row", "a_k", "b_batch", "b_k", "row_tiles", "row_blocks",
           "column_tiles", "column_blocks")
"""What a call is given. An iteration takes ``row_tiles`` × ``column_tiles`` whole tiles; those with the last rows or
columns take what is left too."""

NARROW_LANES = 4
"""Vectors for results that have fewer columns than a register has lanes."""

_ZERO = num(0)


class Product:
    """The loops for one dtype. ``number``: the variable of a run-time number; ``most``: more than any of them."""

    def __init__(self, target: Target, out: Array, a: Array, b: Array, number: Callable[[str], Sym], most: int) -> None:
        self.target, self.out, self.a, self.b, self.most = target, out, a, b, most
        self.dtype, self.wide = out.dtype, accumulator(out.dtype)
        self.number = {name: number(name) for name in NUMBERS}
        self.lanes = target.lanes(self.wide.size)
        self.height, self.vectors = tile_of(target)
        self.names = 0

    def body(self, p: Sym) -> list[Statement]:
        """What iteration ``p`` does."""
        n = self.number
        batch, block_m, block_n = (var(name, 0, self.most) for name in ("batch", "m", "n"))
        self.first_a, self.first_b = batch * n["a_batch"], batch * n["b_batch"]
        self.first_out = batch * (n["M"] * n["N"])
        self.first_row = block_m * n["row_tiles"]
        self.last_row = minimum(self.first_row + n["row_tiles"] + eq(block_m, n["row_blocks"] - 1),
                                (n["M"] + self.height - 1) // self.height)
        width = self.vectors * self.lanes
        tile, first = self._var("j"), block_n * n["column_tiles"]
        whole = n["N"] // width
        return [LetIndex(block_n, Index(p % n["column_blocks"], int64)),
                LetIndex(block_m, Index(p // n["column_blocks"] % n["row_blocks"], int64)),
                LetIndex(batch, Index(p // (n["column_blocks"] * n["row_blocks"]), int64)),
                For(tile, first, minimum(first + n["column_tiles"], whole), 1, "serial",
                    tuple(self._rows(tile * width, self.lanes, self.vectors))),
                If(Index(eq(block_n, n["column_blocks"] - 1), bool_), tuple(self._rest(whole * width)))]

    def _var(self, stem: str, last: int | None = None) -> Sym:
        self.names += 1
        return var(f"{stem}{self.names}", 0, self.most if last is None else last)

    def _rest(self, start: Sym) -> list[Statement]:
        """The columns from ``start`` on, by single vectors. All columns by narrow ones, if they do not fill a vector;
        the few results that do not even fill those one by one."""
        columns = self.number["N"]
        row, column = self._var("row"), self._var("column")
        inside = For(column, _ZERO, columns, 1, "serial", tuple(self._tile(row, 1, column, 1, 1)))
        made: list[Statement] = [For(row, _ZERO, self.number["M"], 1, "serial", (inside,))]
        for lanes in sorted({min(NARROW_LANES, self.lanes), self.lanes} - {1}):
            step, column = self._var("v"), self._var("column")
            first = start if lanes == self.lanes else _ZERO
            count = (columns - first + (lanes - 1)) // lanes
            place = LetIndex(column, Index(minimum(first + step * lanes, columns - lanes), int64))
            wide = Index(num(lanes - 1) < columns, bool_)
            high = Index(num(self.height - 1) < self.number["M"], bool_)
            enough = wide if lanes == self.lanes else Apply(Op.AND, (wide, high), bool_)
            rows = self._rows(column, lanes, 1) if lanes == self.lanes else [self._tiles(column, lanes, 1)]
            made = [If(enough, (For(step, _ZERO, count, 1, "serial", (place, *rows)),), tuple(made))]
        return made

    def _rows(self, column: Sym, lanes: int, vectors: int) -> list[Statement]:
        """The iteration's rows, in tiles; one by one if they do not fill a tile."""
        rows, row = self.number["M"], self._var("row")
        singly = For(row, _ZERO, rows, 1, "serial", tuple(self._tile(row, 1, column, lanes, vectors)))
        return [If(Index(num(self.height - 1) < rows, bool_), (self._tiles(column, lanes, vectors),), (singly,))]

    def _tiles(self, column: Sym, lanes: int, vectors: int) -> For:
        """The iteration's tiles."""
        tile, row = self._var("i"), self._var("row")
        place = LetIndex(row, Index(minimum(tile * self.height, self.number["M"] - self.height), int64))
        return For(tile, self.first_row, self.last_row, 1, "serial",
                   (place, *self._tile(row, self.height, column, lanes, vectors)))

    def _tile(self, row: Sym, height: int, column: Sym, lanes: int, vectors: int) -> list[Statement]:
        """``height`` rows of ``vectors`` vectors: the sum of each block of K in registers, then those sums in order.
        Where the result is narrower than they are, there is one block."""
        n, wide = self.number, self.wide
        u, v, k, block = self._var("u", height - 1), self._var("w", vectors - 1), self._var("k"), self._var("b")
        lane = self._var("l", lanes - 1) if lanes > 1 else _ZERO
        acc = Array(f"acc{self.names}", wide, height * vectors * lanes, "register", lanes)
        across = v * lanes + lane
        total = Load(acc, (u * vectors + v) * lanes + lane)
        x = convert(Load(self.a, self.first_a + (row + u) * n["a_row"] + k * n["a_k"]), wide)
        y = convert(Load(self.b, self.first_b + k * n["b_k"] + column + across), wide)
        fused = wide.is_float and self.target.has_fma
        value: Value = (Apply(Op.FMA, (x, y, total), wide) if fused
                        else Apply(Op.ADD, (total, Apply(Op.MUL, (x, y), wide)), wide))

        def unrolled(store: Store) -> For:
            inner: Statement = store if lanes == 1 else For(lane, _ZERO, num(lanes), 1, "vector", (store,))
            return For(u, _ZERO, num(height), 1, "unroll", (For(v, _ZERO, num(vectors), 1, "unroll", (inner,)),))

        place = self.first_out + (row + u) * n["N"] + column + across
        start, stop, result = _ZERO, n["K"], convert(total, self.dtype)
        if wide is self.dtype:
            start = block * n["k_block"]
            stop = minimum(start + n["k_block"], n["K"])
            result = Apply(Op.ADD, (Load(self.out, place, block > _ZERO), total), wide)
        made: list[Statement] = [Alloc(acc, Const(0.0 if wide.is_float else 0, wide)),
                                 For(k, start, stop, 1, "serial", (unrolled(Store(acc, total.index, value)),)),
                                 unrolled(Store(self.out, place, result))]
        if wide is not self.dtype:
            return made
        return [For(block, _ZERO, (n["K"] + n["k_block"] - 1) // n["k_block"], 1, "serial", tuple(made))]
