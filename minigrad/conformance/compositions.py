"""Stage: conformance. In: nothing. Out: cases that compose ops which each work alone: an index made by a reduction,
scan, contraction, sort, scatter or other gather, what is looked up or written there, and what is done with it. Results
agree to the bit.
Next: ``random_graphs.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from minigrad.conformance.case import Case, Program
from minigrad.conformance.contractions import matmul
from minigrad.conformance.sources import Shape, Source, indexes, key, plain_zero, rng_of
from minigrad.dtype import DType, bfloat16, float16, float32, float64, int32, int64, uint8, uint32
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op

DTYPES = (float32, float64, float16, bfloat16, int32, int64, uint8)
SIZES: tuple[tuple[int, int, int], ...] = ((6, 8, 5), (37, 50, 3), (1, 4, 2), (70, 9, 33), (300, 40, 129))
"""Indexes, rows of what they look into, its columns."""


class Maker:
    """Makes indexes below ``n``, in each of several ways."""

    def __init__(self, device: str, *seed: object) -> None:
        self.device, self.rng = device, rng_of("composition", *seed)
        self.numbers = Source(device, float32, "plain", *seed)

    def ints(self, shape: Shape, n: int) -> LazyBuffer:
        """Random indexes in memory."""
        return indexes(self.rng.integers(0, n, shape), self.device)

    def index(self, name: str, shape: Shape, n: int) -> LazyBuffer:
        """Indexes of a shape below ``n``."""
        found = INDEXES[name](self, shape, n)
        return found.binary(Op.MOD, found.like(n))


def _over(m: Maker, shape: Shape) -> tuple[LazyBuffer, tuple[int, ...]]:
    """Numbers with an axis more, in front or behind, and that axis."""
    k = int(m.rng.choice([3, 4, 17, 64]))
    front = bool(m.rng.random() < 0.5)
    return m.numbers.leaf((k, *shape) if front else (*shape, k)), (0 if front else len(shape),)


def _largest(x: LazyBuffer, axes: tuple[int, ...]) -> LazyBuffer:
    """Where the first of the largest elements is."""
    size, place = x.shape[axes[0]], LazyBuffer.index(x.shape, axes[0], x.device)
    found = x.binary(Op.EQ, x.reduce(Op.MAX, axes).expand(x.shape))
    return found.where(place, place.like(size - 1)).reduce(Op.MIN, axes)


def _argmax(m: Maker, shape: Shape, n: int) -> LazyBuffer:
    x, axes = _over(m, shape)
    return _largest(x, axes).reshape(shape)


def _positive(x: LazyBuffer) -> LazyBuffer:
    return x.like(0.0).binary(Op.LT, x).cast(int64)


def _count(m: Maker, shape: Shape, n: int) -> LazyBuffer:
    x, axes = _over(m, shape)
    return _positive(x).reduce(Op.SUM, axes).reshape(shape)


def _constant_sum(m: Maker, shape: Shape, n: int) -> LazyBuffer:
    ones = LazyBuffer.const(1.0, float32, (*shape, 3), m.device)
    return ones.reduce(Op.SUM, (len(shape),)).reshape(shape).cast(int64)


def _product(m: Maker, shape: Shape, n: int) -> LazyBuffer:
    x = _positive(m.numbers.leaf((*shape, 20)))
    return matmul(x.reshape((-(-x.size // 20), 20)), m.ints((20, 1), n)).reshape(shape)


def _wide_product(m: Maker, shape: Shape, n: int) -> LazyBuffer:
    """A contraction with rows and columns of its own, whose results are the indexes."""
    size = int(np.prod(shape))
    columns = next(c for c in (15, 10, 5, 3, 2, 1) if size % c == 0)
    return matmul(_positive(m.numbers.leaf((size // columns, 30))), m.ints((30, columns), n)).reshape(shape)


def _scan(m: Maker, shape: Shape, n: int) -> LazyBuffer:
    return _positive(m.numbers.leaf(shape)).scan(Op.SUM, 0)


def _gathered(m: Maker, shape: Shape, n: int) -> LazyBuffer:
    x, axes = _over(m, shape)
    at = _positive(x).reduce(Op.SUM, axes).reshape(shape)
    return m.ints((65,), n).gather([at])


def _sorted(m: Maker, shape: Shape, n: int) -> LazyBuffer:
    x = m.numbers.leaf(shape)
    return LazyBuffer(Op.HOST, (x,), ("argsort", (0, False)), shape, int64, m.device)


def _scattered(m: Maker, shape: Shape, n: int) -> LazyBuffer:
    size = int(np.prod(shape))
    flat = m.ints((size,), n).scatter(m.ints((7,), n), [m.index("count", (7,), size)], "set")
    return flat.reshape(shape)


def _random(m: Maker, shape: Shape, n: int) -> LazyBuffer:
    bits = LazyBuffer(Op.RANDOM_BITS, (key(12345, m.device),), None, shape, uint32, m.device)
    return bits.cast(int64)


def _maximum(m: Maker, shape: Shape, n: int) -> LazyBuffer:
    """The largest of whole numbers, cut and turned to an integer: reductions of floats make indexes too."""
    x, axes = _over(m, shape)
    return x.unary(Op.ABS).reduce(Op.MAX, axes).reshape(shape).unary(Op.FLOOR).cast(int64)


INDEXES: dict[str, Callable[[Maker, Shape, int], LazyBuffer]] = {
    "memory": lambda m, shape, n: m.ints(shape, n), "argmax": _argmax, "count": _count, "constant-sum": _constant_sum,
    "product": _product, "wide-product": _wide_product, "scan": _scan, "gather": _gathered, "sort": _sorted,
    "scatter": _scattered, "random": _random, "maximum": _maximum}
"""By name: int64 numbers, not below 0, of a shape."""


Use = Callable[[Maker, Source, str, tuple[int, int, int]], LazyBuffer]


def _rows(m: Maker, s: Source, name: str, sizes: tuple[int, int, int]) -> LazyBuffer:
    """E[i]: index_select, embedding."""
    count, n, columns = sizes
    return s.leaf((n, columns)).gather([m.index(name, (count,), n)])


def _take(m: Maker, s: Source, name: str, sizes: tuple[int, int, int]) -> LazyBuffer:
    count, n, _ = sizes
    return s.leaf((n,)).gather([m.index(name, (count,), n)])


def _take_square(m: Maker, s: Source, name: str, sizes: tuple[int, int, int]) -> LazyBuffer:
    count, n, columns = sizes
    return s.leaf((n,)).gather([m.index(name, (count, columns), n)])


def _along(m: Maker, s: Source, name: str, sizes: tuple[int, int, int]) -> LazyBuffer:
    """out[i, j] = x[index[i, j], j]"""
    count, n, columns = sizes
    at = m.index(name, (count, columns), n)
    return s.leaf((n, columns)).gather([at, LazyBuffer.index(at.shape, 1, s.device)])


def _picked(m: Maker, s: Source, name: str, sizes: tuple[int, int, int]) -> LazyBuffer:
    """One element of each row, as cross entropy picks them."""
    count, _, columns = sizes
    at = m.index(name, (count,), columns)
    return s.leaf((count, columns)).gather([LazyBuffer.index(at.shape, 0, s.device), at])


def _pairs(m: Maker, s: Source, name: str, sizes: tuple[int, int, int]) -> LazyBuffer:
    """Two indexes of different origin."""
    count, n, columns = sizes
    return s.leaf((n, columns)).gather([m.index(name, (count,), n), m.index("count", (count,), columns)])


def _bags(m: Maker, s: Source, name: str, sizes: tuple[int, int, int]) -> LazyBuffer:
    """The largest of several rows, as an embedding bag has it."""
    count, n, columns = sizes
    return plain_zero(s.leaf((n, columns)).gather([m.index(name, (count, 3), n)]).reduce(Op.MAX, (1,)))


def _written(mode: str) -> Use:
    def write(m: Maker, s: Source, name: str, sizes: tuple[int, int, int]) -> LazyBuffer:
        count, n, columns = sizes
        base, value = whole(s.leaf((n, columns))), whole(s.leaf((count, columns)))
        return plain_zero(base.scatter(value, [m.index(name, (count,), n)], mode))
    return write


def _written_one(m: Maker, s: Source, name: str, sizes: tuple[int, int, int]) -> LazyBuffer:
    """x[i] = v for a vector x: setitem, bincount."""
    count, n, _ = sizes
    base = LazyBuffer.const(0, s.dtype, (n,), s.device)
    return base.scatter(base.like(1).shrink(((0, 1),)).expand((count,)), [m.index(name, (count,), n)], "add")


USES: dict[str, Use] = {
    "rows": _rows, "take": _take, "take2d": _take_square, "along": _along, "picked": _picked, "pairs": _pairs,
    "bags": _bags, "set": _written("set"), "add": _written("add"), "max": _written("max"), "bincount": _written_one}
"""By name: what is looked up, or written, at indexes that are made by the named way."""


def whole(x: LazyBuffer) -> LazyBuffer:
    """Small whole numbers: their sums and products are exact in any order."""
    return x.unary(Op.ROUND).binary(Op.MAXIMUM, x.like(-4.0)).binary(Op.MINIMUM, x.like(4.0)) if x.dtype.is_float else x


def _negated(x: LazyBuffer) -> list[LazyBuffer]:
    return [x.binary(Op.ADD, x.like(1)).binary(Op.MUL, x)]


def _largest_of(x: LazyBuffer) -> list[LazyBuffer]:
    return [plain_zero(x.reduce(Op.MAX, (len(x.shape) - 1,))).expand(x.shape).binary(Op.SUB, x)]


def _total(x: LazyBuffer) -> list[LazyBuffer]:
    return [whole(x).reduce(Op.SUM, (0,))]


def _multiplied(x: LazyBuffer) -> list[LazyBuffer]:
    """A contraction of it with itself."""
    y = whole(x).reshape((x.shape[0], x.size // x.shape[0]))
    return [matmul(y.permute((1, 0)), y)]


def _running(x: LazyBuffer) -> list[LazyBuffer]:
    return [plain_zero(x.scan(Op.MAX, 0))]


def _looked_up_again(x: LazyBuffer) -> list[LazyBuffer]:
    """Its largest elements by their place, which is computed from it."""
    rows = x.reshape((x.shape[0], x.size // x.shape[0]))
    at = _largest(rows, (0,)).reshape(rows.shape[1:])
    return [rows.gather([at, LazyBuffer.index(at.shape, 0, x.device)]), x]


AFTER: dict[str, Callable[[LazyBuffer], list[LazyBuffer]]] = {
    "alone": lambda x: [x], "arithmetic": _negated, "rows-max": _largest_of, "total": _total, "matmul": _multiplied,
    "scan": _running, "again": _looked_up_again, "stored": lambda x: [x.contiguous(), x.flip((0,))]}
"""By name: what is fused with it."""


def compositions() -> Iterator[Case]:
    """Each use of an index × each way to make it, twice; sizes, dtypes and what comes after go round. And indexes
    out of range."""
    turn = 0
    yield from out_of_range()
    for use in USES:
        for made in INDEXES:
            for _ in range(2):
                turn += 1
                sizes = SIZES[turn * 3 // 2 % len(SIZES)]
                dtype = DTYPES[turn * 5 // 3 % len(DTYPES)]
                after = list(AFTER)[turn * 7 // 4 % len(AFTER)]
                name = f"{use}-at-{made}-{'x'.join(map(str, sizes))}-{after}"
                yield Case("composition", name, dtype, partial(_compose, use, made, sizes, after, dtype))


def _assigned(x: LazyBuffer) -> LazyBuffer:
    """Written to a part of another buffer."""
    base = LazyBuffer.const(0, x.dtype, (x.shape[0] + 3, *x.shape[1:]), x.device).contiguous()
    box = ((2, 2 + x.shape[0]), *((0, n) for n in x.shape[1:]))
    return base.assign(x.binary(Op.MUL, x.like(2)), ((Op.SHRINK, box),))


READERS: dict[str, Callable[[LazyBuffer], LazyBuffer]] = {
    "plain": lambda x: x, "rows-sum": lambda x: x.reduce(Op.SUM, (len(x.shape) - 1,)),
    "sum": lambda x: x.reduce(Op.SUM, tuple(range(len(x.shape)))), "columns-sum": lambda x: x.reduce(Op.SUM, (0,)),
    "scan": lambda x: x.scan(Op.SUM, 0), "assign": _assigned,
    "matmul": lambda x: matmul(x.reshape((x.shape[0], -(-x.size // x.shape[0]))).permute((1, 0)),
                               LazyBuffer.const(2, x.dtype, (x.shape[0], 9), x.device).contiguous())}
"""By name: what reads values that are looked up out of range."""


def out_of_range() -> Iterator[Case]:
    """An index too large, from memory or made on the way, of memory and of a constant, whoever reads the value."""
    for made in ("memory", "count", "gather"):
        for table in ("memory", "constant"):
            for reader in READERS:
                for shape in ((6,), (37,), (9, 20)):
                    text = "x".join(map(str, shape))
                    yield Case("out-of-range", f"{reader}-{table}-at-{made}-{text}", float32,
                               partial(_out_of_range, made, table, reader, shape), raises=IndexError, alone=True)


def _out_of_range(made: str, table: str, reader: str, shape: Shape, device: str) -> Program:
    m = Maker(device, "out of range", made, table, reader, shape)
    at = m.index(made, shape, 5)
    x = m.numbers.leaf((4,))
    least = np.zeros(shape, np.int64)
    least[(-1,) * len(shape)] = 4  # out of range
    at = at.binary(Op.MOD, at.like(4)).binary(Op.MAXIMUM, indexes(least, device))
    found = (x if table == "memory" else x.like(1.0)).gather([at])
    return Program([READERS[reader](found)])


def _compose(use: str, made: str, sizes: tuple[int, int, int], after: str, dtype: DType, device: str) -> Program:
    seed = (use, made, sizes, after)
    x = USES[use](Maker(device, *seed), Source(device, dtype, "plain", *seed), made, sizes)
    return Program(AFTER[after](x), signed_zero=False)
