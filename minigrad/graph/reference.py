"""Stage: recording. In: outputs of a graph and a way to read its memory. Out: their values, op by op, by NumPy.
This is the device NUMPY, the oracle of the tests and the living definition of the ops.
Next: ``grad/``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from minigrad.dtype import DType, accumulator
from minigrad.errors import IndexOutOfRange
from minigrad.graph.function import inline
from minigrad.graph.host import run_host
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.graph.loop import Loop
from minigrad.ops import ELEMENTWISE, MOVEMENT, REDUCE, REDUCE_OPS, SCALAR_OPS, SOURCES, Op, cast, scatter_combine

Read = Callable[[LazyBuffer], np.ndarray]

Tell = Callable[[LazyBuffer, Sequence[np.ndarray], float, int], None]
"""Takes a node that was computed, its values, how many seconds that took, and how many bytes it has read."""


def evaluate(outputs: Sequence[LazyBuffer], read: Read, tell: Tell | None = None) -> list[np.ndarray]:
    """The values of ``outputs``; ``read`` gives those of BUFFER and PARAM nodes. ``tell`` is told of each node that
    computes something.

    >>> from minigrad.dtype import float32
    >>> a = LazyBuffer.const(2.0, float32, (3,), "NUMPY")
    >>> evaluate([a.binary("ADD", a).reduce("SUM", (0,))], lambda leaf: None)[0].tolist()
    [12.0]
    """
    values: dict[LazyBuffer, Any] = {}
    for node in toposort(outputs):
        if node.op in (Op.BUFFER, Op.PARAM):
            values[node] = read(node)
        elif node.op == Op.OUTPUT:
            values[node] = values[node.srcs[0]][node.arg]
        else:
            operands = [_first(values[s]) for s in node.srcs]
            start = perf_counter()
            values[node] = _value(node, operands)
            if tell is not None and node.op not in MOVEMENT and node.op not in SOURCES:
                seconds, value = perf_counter() - start, values[node]
                tell(node, value if isinstance(value, list) else [value], seconds, sum([a.nbytes for a in operands]))
    return [_first(values[o]) for o in outputs]


def _value(node: LazyBuffer, operands: list[np.ndarray]) -> Any:
    """The value of a node; a list if it has several."""
    if node.op == Op.FUNCTION:
        return _function(node, operands)
    if node.op == Op.LOOP:
        return _loop(node.arg, operands)
    if node.op == Op.HOST:
        first, *others = run_host(node.arg, operands)
        return [np.asarray(first).astype(node.dtype.numpy, copy=False), *others]
    return np.asarray(compute(node, operands)).astype(node.dtype.numpy, copy=False)


def _first(value: Any) -> np.ndarray:
    return value[0] if isinstance(value, list) else value


def _function(node: LazyBuffer, operands: list[np.ndarray]) -> list[np.ndarray]:
    given = dict(zip(node.arg.params, operands, strict=True))
    return evaluate(inline(node.arg, node.arg.params), given.__getitem__)


def _loop(loop: Loop, operands: list[np.ndarray]) -> list[np.ndarray]:
    states, sequences = operands[:loop.states], operands[loop.states:loop.states + loop.sequences]
    constants = operands[loop.states + loop.sequences:]
    outputs = inline(loop.body, loop.body.params)
    rows: dict[int, list[np.ndarray]] = {}
    for t in loop.order:
        given = dict(zip(loop.body.params, [*states, *[s[t] for s in sequences], *constants], strict=True))
        rows[t] = evaluate(outputs, given.__getitem__)
        states = rows[t][:loop.states]
    return [np.stack(column) for column in zip(*[rows[t] for t in range(loop.steps)], strict=True)]


def compute(node: LazyBuffer, operands: list[np.ndarray]) -> Any:
    """The value of one node from the values of its sources."""
    if node.op in ELEMENTWISE:
        return _elementwise(node, operands)
    if node.op in REDUCE:
        return _reduce(node, operands[0])
    if node.op in MOVEMENT:
        return move(node.op, node.arg, operands[0])
    return _OTHERS[node.op](node, operands)


def _elementwise(node: LazyBuffer, operands: list[np.ndarray]) -> Any:
    """The half types are computed in float32 and rounded after every op, as in kernels."""
    if node.op == Op.CAST:
        return cast(operands[0], node.dtype)
    if node.op == Op.BITCAST:
        bits = SCALAR_OPS[node.op].numpy(operands[0], node.dtype)
        return bits.reshape(operands[0].shape if node.dtype.size == node.srcs[0].dtype.size else node.shape)
    wide = [_widen(o, s.dtype) for o, s in zip(operands, node.srcs, strict=True)]
    result = np.asarray(SCALAR_OPS[node.op].numpy(*wide))
    with np.errstate(all="ignore"):
        return result.astype(node.dtype.numpy)


def _widen(array: np.ndarray, dtype: DType) -> np.ndarray:
    wide = accumulator(dtype)
    return array if wide is dtype else array.astype(wide.numpy)


def _reduce(node: LazyBuffer, array: np.ndarray) -> Any:
    row, source = REDUCE_OPS[node.op], node.srcs[0].dtype
    wide = _widen(array, source)
    with np.errstate(all="ignore"):
        if source.is_inexact and node.op == Op.SUM:
            widest = np.complex128 if source.is_complex else np.float64
            return np.add.reduce(wide.astype(widest), axis=node.arg, keepdims=True).astype(node.dtype.numpy)
        return row.numpy(wide, axis=node.arg, keepdims=True, dtype=wide.dtype,
                         initial=np.asarray(row.identity(source)).astype(wide.dtype)).astype(node.dtype.numpy)


def move(op: str, arg: Any, a: np.ndarray) -> np.ndarray:
    """A movement op on an array."""
    if op == Op.RESHAPE:
        return a.reshape(arg)
    if op == Op.PERMUTE:
        return a.transpose(arg)
    if op == Op.EXPAND:
        return np.broadcast_to(a, arg)
    if op == Op.SHRINK:
        return a[tuple(slice(b, e) for b, e in arg)]
    if op == Op.FLIP:
        return np.flip(a, arg)
    if op == Op.STRIDE:
        return a[tuple(slice(None, None, step) for step in arg)]
    if op == Op.PAD:
        shape = tuple(low + high + (s + (s - 1) * gap if s else 0)
                      for s, (low, high, gap) in zip(a.shape, arg, strict=True))
        out = np.zeros(shape, a.dtype)
        if a.size:
            out[tuple(slice(low, low + (s - 1) * (gap + 1) + 1, gap + 1)
                      for s, (low, _, gap) in zip(a.shape, arg, strict=True))] = a
        return out
    assert op == Op.WINDOW, op
    for axis, size, stride, dilation in arg:
        reach = dilation * (size - 1) + 1
        windows = np.lib.stride_tricks.sliding_window_view(a, reach, axis=axis)
        a = windows[(slice(None),) * axis + (slice(None, None, stride),)][..., ::dilation]
    return a


def number(value: Any, dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
    """A constant or run-time number in every element; rounded to a half type by way of float32."""
    with np.errstate(all="ignore"):
        return np.full(shape, np.asarray(value).astype(accumulator(dtype).numpy)).astype(dtype.numpy)


SCALAR_UFUNCS: dict[str, Any] = {Op.ADD: np.add, Op.MUL: np.multiply, Op.MAXIMUM: np.maximum, Op.MINIMUM: np.minimum,
                                Op.OR: np.logical_or, Op.AND: np.logical_and}
"""How a SCATTER joins values."""


def _scatter(node: LazyBuffer, operands: list[np.ndarray]) -> np.ndarray:
    base, value, *indexes = operands
    mode = node.arg[1]
    out = _widen(base, node.dtype).copy()
    _check(indexes, base.shape)
    at = tuple(indexes)
    if mode == "set":
        out[at] = value
    else:
        with np.errstate(all="ignore"):
            SCALAR_UFUNCS[scatter_combine(mode, node.dtype)].at(out, at, _widen(value, node.dtype))
    return out


def _check(indexes: Sequence[np.ndarray], shape: tuple[int, ...]) -> None:
    for axis, (index, size) in enumerate(zip(indexes, shape, strict=False)):
        if index.size and (index.min() < 0 or index.max() >= size):
            raise IndexOutOfRange(f"index out of range: a value of the index tensor for dimension {axis} is not in "
                                  f"0 … {size - 1}, the tensor has shape {list(shape)}", shape)


def _gather(node: LazyBuffer, operands: list[np.ndarray]) -> np.ndarray:
    _check(operands[1:], operands[0].shape)
    return operands[0][tuple(operands[1:])]


def _assign(node: LazyBuffer, operands: list[np.ndarray]) -> np.ndarray:
    out = np.array(operands[0], order="C")  # in row-major order, so that the flat view is one
    out.reshape(-1)[_positions(out.shape, node.arg)] = operands[1]
    return out


def _positions(shape: tuple[int, ...], chain: Any) -> np.ndarray:
    size = int(np.prod(shape, dtype=np.int64))
    at = np.arange(size).reshape(shape)
    for op, arg in chain:
        at = move(op, arg, at)
    return at


def _scan(node: LazyBuffer, operands: list[np.ndarray]) -> np.ndarray:
    op, axis = node.arg
    ufunc = {Op.SUM: np.add, Op.PROD: np.multiply, Op.MAX: np.maximum, Op.MIN: np.minimum}[op]
    wide = _widen(operands[0], node.dtype)
    with np.errstate(all="ignore"):
        if wide.dtype == np.float32 and op in (Op.SUM, Op.PROD):  # see ops.running_dtype
            return ufunc.accumulate(wide, axis=axis, dtype=np.float64).astype(np.float32)
        return ufunc.accumulate(wide, axis=axis, dtype=wide.dtype)


def random_bits(key: int, count: int) -> np.ndarray:
    """The RANDOM_BITS op: ``count`` uint32 numbers for a 64-bit key. Number p is the first word of Threefry-2x32 with
    20 rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011) on the counter
    (p mod 2³², p div 2³²) with the key (key mod 2³², key div 2³²)."""
    position = np.arange(count, dtype=np.uint64)
    low, high = key & 0xFFFFFFFF, key >> 32
    keys = [np.uint32(low), np.uint32(high), np.uint32(low ^ high ^ 0x1BD11BDA)]
    with np.errstate(over="ignore"):
        x0 = position.astype(np.uint32) + keys[0]
        x1 = (position >> np.uint64(32)).astype(np.uint32) + keys[1]
        for i in range(5):
            for r in ((13, 15, 26, 6), (17, 29, 16, 24))[i % 2]:
                x0 = x0 + x1
                x1 = ((x1 << np.uint32(r)) | (x1 >> np.uint32(32 - r))) ^ x0
            x0 = x0 + keys[(i + 1) % 3]
            x1 = x1 + keys[(i + 2) % 3] + np.uint32(i + 1)
    return x0


_OTHERS: dict[str, Callable[[LazyBuffer, list[np.ndarray]], Any]] = {
    Op.CONST: lambda n, v: number(n.arg, n.dtype, n.shape),
    Op.SCALAR: lambda n, v: number(n.value, n.dtype, ()),
    Op.INDEX: lambda n, v: np.broadcast_to(
        np.arange(n.shape[n.arg]).reshape([-1 if a == n.arg else 1 for a in range(len(n.shape))]), n.shape),
    Op.RANDOM_BITS: lambda n, v: random_bits(int(v[0]), n.size).reshape(n.shape),
    Op.CONTIGUOUS: lambda n, v: v[0],
    Op.COPY: lambda n, v: v[0],
    Op.GATHER: _gather,
    Op.SCATTER: _scatter,
    Op.ASSIGN: _assign,
    Op.SCAN: _scan,
}
