"""Stage: realise, tier 0. In: a node that is not elementwise, or not simply so. Out: its value, by strides where
nothing need move, else by calls of generic kernels.
Next: ``program.py``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from minigrad.dtype import accumulator, float32, int64
from minigrad.engine.tier0.builder import (
    IOTA,
    SHIFT,
    STATUS,
    Builder,
    Declined,
    Product,
    View,
    as_value,
    constant,
    tile,
)
from minigrad.engine.tier0.composite import function, output
from minigrad.engine.tier0.contraction import contraction
from minigrad.engine.tier0.views import Strides, moved, placed
from minigrad.graph.lazy import LazyBuffer, contiguous_strides
from minigrad.ops import MOVEMENT, REDUCE, Op
from minigrad.target import k_block

At = dict[LazyBuffer, Any]

# --- sources -------------------------------------------------------------------------------------------------------


def _const(b: Builder, node: LazyBuffer, at: At) -> None:
    """A constant inside a composite: the others have their values from the start."""
    at[node] = constant(b.constant(node.arg, node.dtype), node.size)


def _index(b: Builder, node: LazyBuffer, at: At) -> None:
    b.iota = max(b.iota, node.shape[node.arg])
    strides = tuple([int(axis == node.arg) for axis in range(len(node.shape))])
    at[node] = as_value(IOTA << SHIFT, strides, node.shape) if node.size else 0


def _random_bits(b: Builder, node: LazyBuffer, at: At) -> None:
    n = node.size
    if not n:
        at[node] = 0
        return
    key, _ = b.view(node.srcs[0], at)
    at[node] = b.new(4 * n)
    b.elementwise(("random",), n, [at[node], key])


# --- elementwise ops with something special ------------------------------------------------------------------------


def _cast(b: Builder, node: LazyBuffer, at: At) -> None:
    source = node.srcs[0]
    if source.dtype is node.dtype:
        _same(b, node, at)
        return
    _one_operand(b, node, at, ("map", Op.CAST, (source.dtype.name,), node.dtype.name))


def _power(b: Builder, node: LazyBuffer, at: At) -> None:
    exponent = b.exponent(node.srcs[1]) if node.dtype.is_float else None
    if exponent is not None:
        _one_operand(b, node, at, ("map", Op.POW, (node.dtype.name,), node.dtype.name), exponent)
        return
    n = node.size
    refs = [b.plain(s, at) for s in node.srcs]
    if n:
        out = b.new(n * node.dtype.size)
        name = node.dtype.name
        b.elementwise(("map", Op.POW, (name, name), name, 0, None), n, [out, *refs])
        at[node] = out
    else:
        at[node] = 0


def _one_operand(b: Builder, node: LazyBuffer, at: At, name: tuple[Any, ...], exponent: Any = None) -> None:
    value, n = at[node.srcs[0]], node.size
    uniform = value.__class__ is View and value.strides is None
    if not n:
        at[node] = 0
        return
    ref = value.ref if uniform else b.plain(node.srcs[0], at)
    count = 1 if uniform else n
    out = b.new(count * node.dtype.size)
    b.elementwise((*name, 0, exponent), count, [out, ref])
    at[node] = View(out, None) if uniform and n > 1 else out


def _same(b: Builder, node: LazyBuffer, at: At) -> None:
    """The value is the source's: CONTIGUOUS, and BITCAST, which only reads it as another type."""
    source = node.srcs[0]
    at[node] = b.plain(source, at) if at[source].__class__ is Product else at[source]


# --- movement ------------------------------------------------------------------------------------------------------


def _move(b: Builder, node: LazyBuffer, at: At) -> None:
    source = node.srcs[0]
    value = at[source]
    if value.__class__ is int and (node.op == Op.RESHAPE or not node.size):
        at[node] = value
        return
    if not node.size:
        at[node] = 0
        return
    if value.__class__ is View and value.strides is None:
        at[node] = value if node.size > 1 else value.ref
        return
    if value.__class__ is Product:
        value = b.plain(source, at)
    ref, strides = (value, None) if value.__class__ is int else value
    found = placed(node.op, node.arg, source.shape, strides, node.shape)
    if found is None:
        at[node] = b.plain(source, at)
        return
    offset, steps, plain = found
    ref += offset * node.dtype.size
    at[node] = ref if plain else View(ref, steps)


def _pad(b: Builder, node: LazyBuffer, at: At) -> None:
    n, source, size = node.size, node.srcs[0], node.dtype.size
    if not n:
        at[node] = 0
        return
    out = b.new(n * size)
    b.fill(out, b.constant(0, int64), n, size)
    if source.size:
        ref, strides = b.view(source, at)
        whole = contiguous_strides(node.shape)
        offset = sum([low * step for (low, _, _), step in zip(node.arg, whole, strict=True)])
        steps = tuple([(gap + 1) * step for (_, _, gap), step in zip(node.arg, whole, strict=True)])
        b.copy(out + offset * size, steps, ref, strides, source.shape, size)
    at[node] = out


# --- reductions ----------------------------------------------------------------------------------------------------


def _reduce(b: Builder, node: LazyBuffer, at: At) -> None:
    source = node.srcs[0]
    shape, axes = source.shape, node.arg
    value = at[source]
    rows = node.size
    if not rows:
        at[node] = 0
        return
    count = math.prod([shape[a] for a in axes])
    if value.__class__ is Product:
        if node.op == Op.SUM and count and _contract(b, node, value, at):
            return
        value = b.plain(source, at)
    if count == 1:
        at[node] = value  # the axes that go have size 1 already
        return
    kept = [a for a in range(len(shape)) if a not in axes]
    order = [*kept, *axes]
    ref = 0
    if count:
        ref, strides = b.view(source, at)
        turned = as_value(ref, tuple([strides[a] for a in order]), tuple([shape[a] for a in order]))
        if turned.__class__ is not int:
            ref = b.copied(turned, tuple([shape[a] for a in order]), node.dtype.size)
    out = b.new(rows * node.dtype.size)
    b.call(("reduce", node.op, node.dtype.name), (count,), rows, max(1, count), [out, ref])
    at[node] = out


def _contract(b: Builder, node: LazyBuffer, product: Product, at: At) -> bool:
    """A sum of products as a matrix product, without memory for the products. False if that would save nothing."""
    x, y = product
    assert x.strides is not None and y.strides is not None
    c = contraction(node.srcs[0].shape, node.arg, x.strides, y.strides)
    if c is None or node.dtype.kind == "b":
        return False
    if c.swapped:
        x, y = y, x
    size = node.dtype.size
    x_ref, y_ref = (v.ref if o.copy is None else b.copied(View(v.ref, o.copy.strides), o.copy.sizes, size, o.copy.to)
                    for v, o in ((x, c.a), (y, c.b)))
    out = b.new(c.batches * c.rows * c.columns * size)
    row_tiles, row_blocks, column_tiles, column_blocks = c.blocks(*tile(node.device, node.dtype))
    iterations = c.batches * row_blocks * column_blocks
    b.call(("dot", node.dtype.name), (c.rows, c.columns, c.depth, k_block(c.depth), *c.a.steps, *c.b.steps[:2],
                                      row_tiles, row_blocks, column_tiles, column_blocks),
           iterations, -(-c.batches * c.rows * c.columns * c.depth // iterations), [out, x_ref, y_ref])
    steps, plain = c.strides
    at[node] = out if plain else View(out, steps)
    return True


def _scan(b: Builder, node: LazyBuffer, at: At) -> None:
    op, axis = node.arg
    source, size = node.srcs[0], node.dtype.size
    if not node.size:
        at[node] = 0
        return
    shape = node.shape
    order = [*[a for a in range(len(shape)) if a != axis], axis]
    sizes = tuple([shape[a] for a in order])
    ref, strides = b.view(source, at)
    turned = as_value(ref, tuple([strides[a] for a in order]), sizes)
    if turned.__class__ is not int:
        ref = b.copied(turned, sizes, size)
    out = b.new(node.size * size)
    n = shape[axis]
    b.call(("scan", op, node.dtype.name), (n,), node.size // n, n, [out, ref])
    result = [0] * len(shape)
    for a, step in zip(order, contiguous_strides(sizes), strict=True):
        result[a] = step
    at[node] = as_value(out, tuple(result), shape)


# --- memory --------------------------------------------------------------------------------------------------------


def _locations(b: Builder, node: LazyBuffer, indexes: Sequence[LazyBuffer], at: At) -> int:
    """The row of the flattened source that each index means; a check that they are in range."""
    base, count = node.srcs[0].shape, indexes[0].size
    status = (STATUS << SHIFT) + 8 * len(b.checks)
    b.checks.append(node)
    ref = 0
    for position, index in enumerate(indexes):
        refs = [b.new(8 * count), b.plain(index, at), status]
        b.call(("locate", position == 0), (base[position], position + 1), count, 1,
               refs if position == 0 else [*refs, ref])
        ref = refs[0]
    return ref


def _gather(b: Builder, node: LazyBuffer, at: At) -> None:
    base, indexes = node.srcs[0], node.srcs[1:]
    if not node.size:
        at[node] = 0
        return
    if not base.size:
        raise Declined("a gather from an empty tensor")
    where = _locations(b, node, indexes, at)
    inner, size = math.prod(base.shape[len(indexes):]), node.dtype.size
    out = b.new(node.size * size)
    b.call(("take", size), (inner,), node.size // inner, inner, [out, b.plain(base, at), where])
    at[node] = out


def _scatter(b: Builder, node: LazyBuffer, at: At) -> None:
    base, value, *indexes = node.srcs
    mode, dtype = node.arg[1], node.dtype
    if not node.size:
        if value.size:
            raise Declined("a scatter into an empty tensor")
        at[node] = 0
        return
    if not value.size:
        at[node] = b.plain(base, at)
        return
    wide = accumulator(dtype) if mode in ("add", "mul") else dtype
    where = _locations(b, node, indexes, at)
    ref = b.plain(value, at)
    if wide is not dtype:  # halves are summed and multiplied in float32 and rounded once
        assert wide is float32
        out = _converted(b, b.plain(base, at), node.size, dtype.name, wide.name)
        ref = _converted(b, ref, value.size, dtype.name, wide.name)
    else:
        out = _own(b, node, at, ref)
    count = indexes[0].size
    inner = value.size // count
    b.call(("put", mode, wide.name), (count, inner), 1, value.size, [out, ref, where])
    at[node] = out if wide is dtype else _converted(b, out, node.size, wide.name, dtype.name)


def _converted(b: Builder, ref: int, n: int, source: str, to: str) -> int:
    out = b.new(n * (4 if to == "float32" else 2))
    b.elementwise(("map", Op.CAST, (source,), to, 0, None), n, [out, ref])
    return out


def _own(b: Builder, node: LazyBuffer, at: At, read: int) -> int:
    """The value of a node's first source in memory that the node may write while it reads ``read``: its own if nobody
    reads that later, else a copy."""
    base = node.srcs[0]
    value = at[base]
    if b.writable(value, node, base) and read >> SHIFT != value >> SHIFT:
        return value
    ref, strides = b.view(base, at)
    out = b.new(base.size * base.dtype.size)
    if value.__class__ is View and value.strides is None:
        b.fill(out, ref, base.size, base.dtype.size)
    else:
        b.copy(out, None, ref, strides, base.shape, base.dtype.size)
    return out


def _assign(b: Builder, node: LazyBuffer, at: At) -> None:
    base, value = node.srcs
    if not value.size:
        at[node] = b.plain(base, at)
        return
    target = _region(node.arg, base.shape)
    if target is None:
        raise Declined("a write through a view that has no strides")
    offset, strides = target
    ref, steps = b.view(value, at)
    if b.writable(at[base], node, base) and ref >> SHIFT == at[base] >> SHIFT:  # it reads what it would overwrite
        ref, steps = b.plain(value, at), contiguous_strides(value.shape)
    out = _own(b, node, at, ref)
    b.copy(out + offset * node.dtype.size, strides, ref, steps, value.shape, node.dtype.size)
    at[node] = out


@lru_cache(1 << 12)
def _region(chain: tuple[tuple[str, Any], ...], shape: tuple[int, ...]) -> tuple[int, Strides] | None:
    """Where movement ops lead in memory of a shape: offset and strides; None if those can't say it. They lead each
    element elsewhere: an ASSIGN writes none twice."""
    strides: Strides = contiguous_strides(shape)
    offset = 0
    for op, arg in chain:
        found = moved(op, arg, shape, strides)
        if found is None:
            return None
        offset, strides = offset + found[0], found[1]
        shape = LazyBuffer(Op.PARAM, (), 0, shape, int64, "CPU").move(op, arg).shape
    return offset, strides


# --- the table ----------------------------------------------------------------------------------------------------


def _declined(b: Builder, node: LazyBuffer, at: At) -> None:
    raise Declined(f"{node.op} has no generic kernel")


_HANDLERS: dict[str, Callable[[Builder, LazyBuffer, At], None]] = {
    **dict.fromkeys(MOVEMENT, _move), **dict.fromkeys(REDUCE, _reduce),
    Op.CONST: _const, Op.INDEX: _index, Op.RANDOM_BITS: _random_bits,
    Op.CAST: _cast, Op.BITCAST: _same, Op.POW: _power, Op.CONTIGUOUS: _same, Op.PAD: _pad, Op.SCAN: _scan,
    Op.GATHER: _gather, Op.SCATTER: _scatter, Op.ASSIGN: _assign, Op.FUNCTION: function, Op.OUTPUT: output,
    Op.HOST: _declined, Op.COPY: _declined, Op.LOOP: _declined}


class NodeBuilder(Builder):
    """The builder with what it does for each op that is not simply elementwise."""

    handlers = _HANDLERS
