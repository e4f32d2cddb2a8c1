"""Stage: conformance. In: a seed. Out: cases that are random graphs of exact ops, so that results must agree to the
bit: what is shared, fused, stored or moved is left to chance.
Next: ``gradients.py``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from minigrad.conformance.case import Case, Program
from minigrad.conformance.movements import move_at_random
from minigrad.conformance.sources import VIEWS, Shape, Source, plain_zero
from minigrad.dtype import ALL, DType, bfloat16, bool_, float16, float32, float64, int16, int32, int64, uint8
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op

COUNT = 100
DTYPES = (float32, float16, float64, int32, bfloat16, float32, int64, int16, uint8)
_BINARY = {"f": (Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.MAXIMUM, Op.MINIMUM),
           "i": (Op.ADD, Op.SUB, Op.MUL, Op.FLOORDIV, Op.MOD, Op.MAXIMUM, Op.AND, Op.XOR, Op.SHL, Op.SHR)}
_UNARY = {"f": (Op.NEG, Op.ABS, Op.SQRT, Op.FLOOR, Op.CEIL, Op.TRUNC, Op.ROUND), "i": (Op.NEG, Op.ABS, Op.NOT)}


def random_graphs(seed: int = 0, count: int = COUNT) -> Iterator[Case]:
    """``count`` graphs; others for another seed."""
    for number in range(count):
        dtype = DTYPES[number % len(DTYPES)]
        yield Case("random", f"graph-{seed}-{number}", dtype, partial(_build, seed, number, dtype))


def _build(seed: int, number: int, dtype: DType, device: str) -> Program:
    maker = Maker(Source(device, dtype, "edge", "random", seed, number))
    return Program(maker.graph())


class Maker:
    """Grows a graph node by node from a pool of nodes that may be used again."""

    def __init__(self, source: Source) -> None:
        self.source, self.rng, self.dtype = source, source.rng, source.dtype
        # one in four is large enough for several threads, and for the merges that small work never needs
        rank, low, high = (2, 30, 90) if self.rng.random() < 0.25 else (int(self.rng.integers(1, 4)), 1, 9)
        self.shape: Shape = tuple(int(n) for n in self.rng.integers(low, high, rank))
        self.pool: list[LazyBuffer] = [self._source() for _ in range(3)]

    def _source(self) -> LazyBuffer:
        return self.source.view(str(self.rng.choice(list(VIEWS))), self.shape)

    def _pick(self) -> LazyBuffer:
        # newer nodes are likelier, so that graphs are deep
        return self.pool[min(len(self.pool) - 1, int(len(self.pool) * self.rng.random() ** 0.5))]

    def graph(self) -> list[LazyBuffer]:
        for _ in range(int(self.rng.integers(4, 16))):
            self.pool.append(self._step())
        outputs = [self.pool[-1]]
        if self.rng.random() < 0.5:
            outputs.append(self._pick())
        if self.rng.random() < 0.3:
            outputs.append(self._moved(outputs[0]))
        return outputs

    def _step(self) -> LazyBuffer:
        kind = str(self.rng.choice(["binary", "binary", "unary", "choose", "reduce", "move", "gather", "scatter",
                                    "scan", "cast", "store"]))
        x = self._pick()
        family = "f" if self.dtype.is_float else "i"
        if kind == "binary":
            return plain_zero(x.binary(str(self.rng.choice(_BINARY[family])), self._pick()))
        if kind == "unary":
            return x.unary(str(self.rng.choice(_UNARY[family])))
        if kind == "choose":
            return x.binary(Op.LT, self._pick()).where(self._pick(), x)
        if kind == "reduce":
            return self._back(self._reduced(x))
        if kind == "move":
            return self._back(self._moved(x))
        if kind == "gather":
            return x.gather(self._places())
        if kind == "scatter":
            return plain_zero(x.scatter(self._pick(), self._places(), str(self.rng.choice(["set", "max"]))))
        if kind == "scan":
            return plain_zero(x.scan(str(self.rng.choice([Op.MAX, Op.MIN])),
                                     int(self.rng.integers(0, len(self.shape)))))
        if kind == "cast":
            other = ALL[int(self.rng.integers(0, len(ALL)))]
            return x.cast(other).cast(self.dtype) if other is not bool_ else x.cast(bool_).cast(self.dtype)
        return self._stored(x)

    def _places(self) -> list[LazyBuffer]:
        """Indexes into the first axis, or into the first two: coordinates, or computed from what there is."""
        count = min(len(self.shape), int(self.rng.integers(1, 3)))
        shape = self.shape[:count]
        places = []
        for axis, size in enumerate(shape):
            at = LazyBuffer.index(shape, axis, self.source.device)
            at = at.binary(Op.MUL, at.like(3))
            if self.rng.random() < 0.7:
                x = self._pick()
                at = x.reduce(str(self.rng.choice([Op.MAX, Op.MIN])), tuple(range(count, len(x.shape)))).reshape(shape)
                at = at.cast(int64)
            places.append(at.binary(Op.MOD, at.like(size)))
        return places

    def _reduced(self, x: LazyBuffer) -> LazyBuffer:
        axes = tuple(a for a in range(len(x.shape)) if self.rng.random() < 0.5) or (0,)
        op = str(self.rng.choice([Op.SUM, Op.MAX, Op.MIN]))
        if op == Op.SUM and self.dtype.is_float:
            # whole numbers of small size: their sums are exact in any order
            x = x.binary(Op.MAXIMUM, x.like(-8.0)).binary(Op.MINIMUM, x.like(8.0)).unary(Op.ROUND)
        return plain_zero(x.reduce(op, axes))

    def _moved(self, x: LazyBuffer) -> LazyBuffer:
        for _ in range(int(self.rng.integers(1, 4))):
            x = move_at_random(x, self.rng)
        return x

    def _back(self, x: LazyBuffer) -> LazyBuffer:
        """Give the pool's shape to whatever this is: cut or padded along one flat axis."""
        if len(x.shape) == len(self.shape) and all(a in (1, b) for a, b in zip(x.shape, self.shape, strict=True)):
            return x.expand(self.shape)
        size = int(np.prod(self.shape))
        flat = x.reshape((x.size,))
        flat = flat.shrink(((0, size),)) if x.size >= size else flat.pad(((0, size - x.size, 0),))
        return flat.reshape(self.shape)

    def _stored(self, x: LazyBuffer) -> LazyBuffer:
        """A view of one node replaced by a view of another."""
        n = self.shape[0]
        chain = ((Op.SHRINK, ((n // 2, n), *((0, s) for s in self.shape[1:]))),)
        value = self._pick().shrink(((0, n - n // 2), *((0, s) for s in self.shape[1:])))
        return x.assign(value, chain) if n > 1 else x
