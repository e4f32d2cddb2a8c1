"""Stage: conformance. In: a shape, a dtype and a seed. Out: values that are likely to be got wrong, as arrays, and as
LazyBuffers behind every kind of view.
Next: ``elementwise.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from zlib import crc32

import numpy as np

from minigrad.dtype import DType, bool_, int64, uint64
from minigrad.engine.realise import leaf_from_numpy
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op, pair

Shape = tuple[int, ...]

SHAPES: tuple[Shape, ...] = ((), (0,), (1,), (3, 0, 2), (15,), (16,), (17,), (33,), (5, 3), (1, 1, 7), (2, 3, 5, 4),
                             (1025,),
                             (3, 37, 129))
"""0-d, empty, one element, at and around the widths of vectors, more axes, and one that takes more than one thread."""


def rng_of(*parts: object) -> np.random.Generator:
    """Random numbers that depend on these names only."""
    return np.random.default_rng(crc32(repr(parts).encode()))


def edge_values(dtype: DType) -> np.ndarray:
    """The values of a dtype at which kernels go wrong."""
    if dtype.is_complex:
        parts = np.array([0.0, -0.0, 1.0, -1.5, 3.0, 1e-3, -1e20, float(dtype.part.max), math.inf, -math.inf, math.nan])
        return pair(*np.meshgrid(parts, parts)).ravel().astype(dtype.numpy)
    if dtype is bool_:
        return np.array([False, True])
    if not dtype.is_float:
        low, high = int(dtype.min), int(dtype.max)
        around = [0, 1, 2, 3, 5, 7, 8, 13, dtype.bits - 1, dtype.bits, dtype.bits + 1, 100, high, high - 1, high // 2,
                  low,
                  low + 1, -1, -2, -3, -7, -100]
        return np.array(sorted({v for v in around if low <= v <= high}), dtype.numpy)
    largest = float(dtype.max)
    tiny = {"float16": 2.0**-14, "float64": 2.0**-1022}.get(dtype.name, 2.0**-126)
    values = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, -7.25, 1e-3, -1e-3, 3.14159265, 10.1, -10.1]
    values += [88.0, -88.0, 709.0, 1000.0, -1000.0, 127.5, 128.0, -128.9, 255.9, 256.0, 32767.5, -32769.0, 65535.9]
    values += [2.0**31, -(2.0**31), 2.0**32, 2.0**53, 2.0**63, -(2.0**63), 2.0**64, 1e20, -1e20, 1e38]
    values += [tiny, -tiny, tiny * 0.5, -tiny * 0.25, largest, -largest, float("inf"), float("-inf"), float("nan")]
    with np.errstate(over="ignore"):
        return np.array(values).astype(dtype.numpy)


def array(shape: Shape, dtype: DType, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Random values: ``"edge"`` half of them edge values; ``"plain"`` of moderate size; ``"positive"`` near 1."""
    if dtype.is_complex:
        made = pair(array(shape, dtype.part, kind, rng), array(shape, dtype.part, kind, rng))
        return made.astype(dtype.numpy)
    if dtype is bool_:
        return rng.random(shape) < 0.5
    if dtype.is_float:
        if kind == "positive":
            return rng.uniform(0.5, 1.5, shape).astype(dtype.numpy)
        plain = rng.normal(0.0, 2.0, shape).astype(dtype.numpy)
    else:
        plain = rng.integers(max(-9, int(dtype.min)), 10, shape).astype(dtype.numpy)
    if kind != "edge":
        return plain
    edges = edge_values(dtype)
    return np.where(rng.random(shape) < 0.7, edges[rng.integers(0, len(edges), shape)], plain).astype(dtype.numpy)


def leaf(values: np.ndarray, dtype: DType, device: str) -> LazyBuffer:
    """The array in memory of the device."""
    return leaf_from_numpy(values, dtype, device)


class Source:
    """Makes operands on one device: random values behind a named view. Two of the same seed make the same operands."""

    def __init__(self, device: str, dtype: DType, kind: str, *seed: object) -> None:
        self.device, self.dtype, self.kind, self.rng = device, dtype, kind, rng_of(dtype.name, *seed)

    def leaf(self, shape: Shape) -> LazyBuffer:
        return leaf(array(shape, self.dtype, self.kind, self.rng), self.dtype, self.device)

    def view(self, name: str, shape: Shape) -> LazyBuffer:
        return VIEWS[name](self, shape)


def _permuted(s: Source, shape: Shape) -> LazyBuffer:
    axes = tuple(reversed(range(len(shape))))
    return s.leaf(shape[::-1]).permute(axes)


def _flipped(s: Source, shape: Shape) -> LazyBuffer:
    return s.leaf(shape).flip(tuple(range(len(shape))))


def _strided_memory(s: Source, shape: Shape) -> LazyBuffer:
    """A realised leaf with strides and an offset: a[1::2, 1::2]."""
    wide = s.leaf(tuple(2 * n + 1 for n in shape))
    return wide.shrink(tuple((1, 2 * n + 1) for n in shape)).stride((2,) * len(shape))


def _transposed_memory(s: Source, shape: Shape) -> LazyBuffer:
    """A realised leaf whose first axis is the contiguous one."""
    base = s.leaf(shape[::-1])
    return LazyBuffer.from_buffer(base.buffer, shape, s.dtype, s.device, 0,
                                  tuple(reversed(base.strides))) if shape else base


def _strided(s: Source, shape: Shape) -> LazyBuffer:
    wide = tuple(3 * n - 1 if n else 0 for n in shape)
    return _lazy(s, wide).stride((3,) * len(shape))


def _shrunk(s: Source, shape: Shape) -> LazyBuffer:
    return _lazy(s, tuple(n + 3 for n in shape)).shrink(tuple((1, n + 1) for n in shape))


def _lazy(s: Source, shape: Shape) -> LazyBuffer:
    """A leaf behind a RESHAPE, so that movement ops on it are recorded and not folded into its strides."""
    return s.leaf((*shape, 1)).reshape(shape)


def _windowed(s: Source, shape: Shape) -> LazyBuffer:
    """Overlapping windows along the last axis: element i is read by several windows."""
    if not shape or 0 in shape:
        return s.leaf(shape)
    if len(shape) == 1:
        windows = s.leaf((2 * shape[0] + 3,)).window(((0, 3, 2, 1),))  # (n + 1, 3)
        return windows.shrink(((1, shape[0] + 1), (1, 2))).reshape(shape)
    rows = (shape[-2] - 1) * 2 + shape[-1]
    return s.leaf((*shape[:-2], rows)).window(((len(shape) - 2, shape[-1], 2, 1),))


def _expanded(s: Source, shape: Shape) -> LazyBuffer:
    return s.leaf(tuple(1 if axis % 2 == 0 else n for axis, n in enumerate(shape))).expand(shape)


def _padded(s: Source, shape: Shape) -> LazyBuffer:
    """Zeros in front, behind and between."""
    padding, inner = [], []
    for n in shape:
        low, gap = (1, 1) if n >= 5 else (1, 0) if n >= 2 else (0, 0)
        size = (n - low) // (gap + 1) if gap else n - low
        inner.append(size)
        padding.append((low, n - low - (size + (size - 1) * gap if size else 0), gap))
    return s.leaf(tuple(inner)).pad(tuple(padding))


def _coordinate(s: Source, shape: Shape) -> LazyBuffer:
    if not shape:
        return s.leaf(())
    return LazyBuffer.index(shape, len(shape) - 1, s.device).cast(s.dtype)


def _constant(s: Source, shape: Shape) -> LazyBuffer:
    value = array((1,), s.dtype, s.kind, s.rng)[0].item()
    return LazyBuffer.const(value, s.dtype, shape, s.device)


def _scalar(s: Source, shape: Shape) -> LazyBuffer:
    value = array((1,), s.dtype, s.kind, s.rng)[0].item()
    return LazyBuffer.scalar(value, s.dtype, s.device).reshape((1,) * len(shape)).expand(shape)


def _computed(s: Source, shape: Shape) -> LazyBuffer:
    """The result of another op, so that the two are fused."""
    return plain_zero(s.leaf(shape).binary(Op.MAXIMUM, s.leaf(shape)))


def _reduced(s: Source, shape: Shape) -> LazyBuffer:
    return plain_zero(s.leaf((*shape, 3)).reduce(Op.MAX, (len(shape),)).reshape(shape))


def plain_zero(x: LazyBuffer) -> LazyBuffer:
    """x + 0.0: which zero a maximum or a sum gives is free, and must not spread."""
    return x.binary(Op.ADD, x.like(0.0)) if x.dtype.is_float else x


VIEWS: dict[str, Callable[[Source, Shape], LazyBuffer]] = {
    "plain": lambda s, shape: s.leaf(shape),
    "permuted": _permuted,
    "flipped": _flipped,
    "strided-memory": _strided_memory,
    "transposed-memory": _transposed_memory,
    "strided": _strided,
    "shrunk": _shrunk,
    "windowed": _windowed,
    "expanded": _expanded,
    "padded": _padded,
    "coordinate": _coordinate,
    "constant": _constant,
    "scalar": _scalar,
    "computed": _computed,
    "reduced": _reduced,
}
"""By name: a LazyBuffer of the shape, made of the source's leaves by one kind of view."""


def indexes(values: np.ndarray, device: str) -> LazyBuffer:
    """An index tensor."""
    return leaf(values.astype(np.int64), int64, device)


def key(value: int, device: str) -> LazyBuffer:
    """The key of RANDOM_BITS, a number that changes from run to run."""
    return LazyBuffer.scalar(value, uint64, device)
