"""Stage: realise, tier 0. In: the name of a generic kernel, as ``names.py`` lists them. Out: its loop nest, for all
sizes: extents and strides are run-time numbers. It goes through the same passes and renderers as any kernel, so
elementwise ops give the same bits as in compiled graphs. Loaded when the disk cache does not have a kernel, or when
somebody wants to see one.
Next: ``product.py``.

Reductions are in a fixed order, whatever the number of threads. SUM and PROD of floats run in float64 and are rounded
once: of n elements in a row, element i goes to accumulator i mod L (L: the lanes of a vector), those are folded in
halves, then the n mod L last elements are added one by one. SCAN runs in order, in float64 as well. A dot product adds
its terms in order of k by FMA, in the dtype itself, in blocks of ``target.k_block`` whose sums are added in order: as a
compiled one does. Halves are summed in float32, in one block."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from minigrad.dtype import BY_NAME, DType, accumulator, bool_, float64, int64, uint8, uint16, uint32, uint64
from minigrad.engine.tier0.names import BLOCK, Name, title
from minigrad.engine.tier0.product import NUMBERS, Product
from minigrad.kernel.ir import (
    Alloc,
    Apply,
    Array,
    Const,
    Fold,
    For,
    If,
    Index,
    Kernel,
    LetIndex,
    Load,
    Local,
    Scalar,
    Statement,
    Store,
    Value,
)
from minigrad.lower.lower import Lowered, finish
from minigrad.lower.scalar import constant, convert, fold, random_bits
from minigrad.ops import REDUCE_OPS, Op, running_dtype, scatter_combine
from minigrad.symbolic import Sym, maximum, minimum, num, var
from minigrad.target import Target

MOST = 1 << 40
"""More than any extent. Strides are declared from 0 to here, which keeps them int64; those of flipped axes are
negative when the kernel runs, and nothing depends on the sign."""

_SPACE = 1 << 200
_BY_SIZE = {1: uint8, 2: uint16, 4: uint32, 8: uint64}
_ZERO = num(0)


def nest(name: Name, target: Target) -> Lowered:
    """The loop nest of a generic kernel, after the passes."""
    return finish(Lowered(_MAKERS[name[0]](target, *name[1:]), (), 0, 0, 1), target)


def _number(name: str) -> Sym:
    return var(name, 0, MOST)


def _array(name: str, dtype: DType, written: bool = False) -> Array:
    return Array(name, dtype, _SPACE, written=written)


def _finished(name: Name, arrays: Sequence[Array], numbers: Sequence[str], iteration: Sym,
              body: Sequence[Statement]) -> Kernel:
    scalars = tuple(Scalar(n, int64, i) for i, n in enumerate(numbers))
    return Kernel(title(name), tuple(arrays), scalars, For(iteration, _ZERO, num(MOST), 1, "parallel", tuple(body)))


def _run(stop: Sym, lanes: int, store: Callable[[Sym], Store], start: Sym = _ZERO, stem: str = "") -> list[Statement]:
    """``store(i)`` for i in start..stop, in vectors and a rest; ``start`` is a multiple of ``lanes``."""
    rest = var(f"r{stem}", 0, MOST)
    if lanes == 1:
        return [For(rest, start, stop, 1, "serial", (store(rest),))]
    step, lane = var(f"v{stem}", 0, MOST), var(f"l{stem}", 0, lanes - 1)
    inside = For(lane, _ZERO, num(lanes), 1, "vector", (store(step * lanes + lane),))
    whole = stop // lanes
    return [For(step, start // lanes, whole, 1, "serial", (inside,)),
            For(rest, maximum(start, whole * lanes), stop, 1, "serial", (store(rest),))]


# --- one element for each ------------------------------------------------------------------------------------------


def _map(target: Target, op: str, dtypes: tuple[str, ...], to: str, same: int, exponent: float | None) -> Kernel:
    out, operands = _array("out", BY_NAME[to], True), _operands(dtypes)
    store = _elementwise(op, out, operands, same, [_ZERO] * len(operands), exponent)
    return _blocks(("map", op, dtypes, to, same, exponent), (out, *operands), _lanes(target, out, operands), store)


def _rows(target: Target, op: str, dtypes: tuple[str, ...], to: str, same: int) -> Kernel:
    """Rows of ``n`` elements; those of operand i begin ``step{i}`` elements after one another."""
    out, operands = _array("out", BY_NAME[to], True), _operands(dtypes)
    steps = [f"step{i}" for i in range(len(operands))]
    p, n = var("p", 0, MOST), _number("n")
    store = _elementwise(op, out, operands, same, [p * _number(s) for s in steps])
    body = _run(n, _lanes(target, out, operands), lambda at: store(at, p * n))
    return _finished(("rows", op, dtypes, to, same), (out, *operands), ("n", *steps), p, body)


def _operands(dtypes: Sequence[str]) -> list[Array]:
    return [_array(f"in{i}", BY_NAME[d]) for i, d in enumerate(dtypes)]


def _lanes(target: Target, out: Array, operands: Sequence[Array]) -> int:
    return target.lanes(max(accumulator(a.dtype).size for a in (out, *operands)))


def _elementwise(op: str, out: Array, operands: Sequence[Array], same: int, starts: Sequence[Sym],
                 exponent: float | None = None) -> Callable[..., Store]:
    """What stores element ``at`` of a row that begins at ``start`` in the result and at ``starts`` in the operands."""
    def store(at: Sym, start: Sym = _ZERO) -> Store:
        srcs: list[Value] = [convert(Load(a, first if same >> i & 1 else first + at), accumulator(a.dtype))
                             for i, (a, first) in enumerate(zip(operands, starts, strict=True))]
        if exponent is not None:
            srcs.append(constant(exponent, operands[0].dtype))
        value = srcs[0] if op == Op.CONTIGUOUS else fold(op, tuple(srcs), out.dtype)
        return Store(out, start + at, convert(value, out.dtype))

    return store


def _random(target: Target) -> Kernel:
    key, out = _array("key", uint64), _array("out", uint32, True)

    def store(at: Sym) -> Store:
        return Store(out, at, random_bits(Load(key, _ZERO), at, 1 << 32))

    return _blocks(("random",), (out, key), target.lanes(4), store)


def _blocks(name: Name, arrays: Sequence[Array], lanes: int, store: Callable[[Sym], Store]) -> Kernel:
    n, p = _number("n"), var("p", 0, MOST)
    body = _run(minimum(p * BLOCK + BLOCK, n), lanes, store, p * BLOCK)
    return _finished(name, arrays, ("n",), p, body)


# --- movement ------------------------------------------------------------------------------------------------------


def _copy(target: Target, size: int, axes: int, to_dense: bool, from_dense: bool) -> Kernel:
    """``to_dense``, ``from_dense``: neighbours along the last axis are neighbours in memory. Elements that lie apart
    are gathered into vectors, if there are such instructions for their size."""
    dtype = _BY_SIZE[size]
    out, source = _array("out", dtype, True), _array("in", dtype)
    sizes = [f"n{i}" for i in range(1, axes)]
    outer = [f"{side}{i}" for side in ("to", "from") for i in range(axes)]
    p = var("p", 0, MOST)
    index = [p, *(var(f"i{i}", 0, MOST) for i in range(1, axes))]

    dense = {"to": to_dense, "from": from_dense}

    def position(side: str, last: Sym) -> Sym:
        at = _ZERO
        for i in range(axes):
            x = last if i == axes - 1 else index[i]
            at = at + (x if dense[side] and i == axes - 1 else x * _number(f"{side}{i}"))
        return at

    def store(at: Sym) -> Store:
        return Store(out, position("to", at), Load(source, position("from", at)))

    if axes == 1:
        body: list[Statement] = [store(p)]
    else:
        vectors = to_dense and (from_dense or size >= 4)
        body = _run(_number(sizes[-1]), target.lanes(size) if vectors else 1, store)
        for i in range(axes - 2, 0, -1):
            body = [For(index[i], _ZERO, _number(sizes[i - 1]), 1, "serial", tuple(body))]
    return _finished(("copy", size, axes, to_dense, from_dense), (out, source), (*sizes, *outer), p, body)


# --- reductions ----------------------------------------------------------------------------------------------------


def _reduce(target: Target, op: str, dtype_name: str) -> Kernel:
    dtype, row = BY_NAME[dtype_name], REDUCE_OPS[op]
    wide = float64 if dtype.is_float and op in (Op.SUM, Op.PROD) else accumulator(dtype)
    out, source = _array("out", dtype, True), _array("in", dtype)
    lanes = target.lanes(wide.size)
    n, p, step, rest = _number("n"), var("p", 0, MOST), var("v", 0, MOST), var("r", 0, MOST)
    lane, whole = var("l", 0, lanes - 1), n // lanes
    partial, total = Array("acc", wide, lanes, "register", lanes), Array("total", wide, 1, "register")

    def joined(a: Value, at: Sym) -> Value:
        return Apply(row.combine, (a, convert(Load(source, at), wide)), wide)

    several = For(lane, _ZERO, num(lanes), 1, "vector",
                  (Store(partial, lane, joined(Load(partial, lane), p * n + step * lanes + lane)),))
    body: list[Statement] = [
        Alloc(partial, Const(row.identity(wide), wide)),
        For(step, _ZERO, whole, 1, "serial", (several,)),
        Fold("folded", partial, row.combine),
        Alloc(total, Const(row.identity(wide), wide)),
        Store(total, _ZERO, Local("folded", wide)),
        For(rest, whole * lanes, n, 1, "serial", (Store(total, _ZERO, joined(Load(total, _ZERO), p * n + rest)),)),
        Store(out, p, convert(Load(total, _ZERO), dtype))]
    return _finished(("reduce", op, dtype_name), (out, source), ("n",), p, body)


def _scan(target: Target, op: str, dtype_name: str) -> Kernel:
    dtype, row = BY_NAME[dtype_name], REDUCE_OPS[op]
    narrow = accumulator(dtype)
    wide = running_dtype(op, narrow) if target.float64 else narrow
    out, source = _array("out", dtype, True), _array("in", dtype)
    n, p, i = _number("n"), var("p", 0, MOST), var("i", 0, MOST)
    total = Array("total", wide, 1, "register")
    value = Apply(row.combine, (Load(total, _ZERO), convert(convert(Load(source, p * n + i), narrow), wide)), wide)
    step = (Store(total, _ZERO, value), Store(out, p * n + i, convert(convert(Load(total, _ZERO), narrow), dtype)))
    body = (Alloc(total, Const(row.identity(wide), wide)), For(i, _ZERO, n, 1, "serial", step))
    return _finished(("scan", op, dtype_name), (out, source), ("n",), p, body)


def _dot(target: Target, dtype_name: str) -> Kernel:
    dtype = BY_NAME[dtype_name]
    out, a, b = _array("out", dtype, True), _array("a", dtype), _array("b", dtype)
    p = var("p", 0, MOST)
    body = Product(target, out, a, b, _number, MOST).body(p)
    return _finished(("dot", dtype_name), (out, a, b), NUMBERS, p, body)


# --- memory by index -----------------------------------------------------------------------------------------------


def _locate(target: Target, first: bool) -> Kernel:
    """``out = so_far * size + index``, with the index clamped; one out of range writes ``position`` to the status."""
    out, index = _array("out", int64, True), _array("index", int64)
    status, so_far = _array("status", int64, True), _array("so_far", int64)
    p, size, position = var("p", 0, MOST), _number("size"), _number("position")
    at, low, high = Load(index, p), Const(0, int64), Index(size - 1, int64)
    outside = Apply(Op.OR, (Apply(Op.LT, (at, low), bool_), Apply(Op.LT, (high, at), bool_)), bool_)
    value: Value = Apply(Op.MAXIMUM, (Apply(Op.MINIMUM, (at, high), int64), low), int64)
    if not first:
        value = Apply(Op.ADD, (Apply(Op.MUL, (Load(so_far, p), Index(size, int64)), int64), value), int64)
    body: list[Statement] = [If(outside, (Store(status, _ZERO, Index(position, int64)),)), Store(out, p, value)]
    arrays = (out, index, status) if first else (out, index, status, so_far)
    return _finished(("locate", first), arrays, ("size", "position"), p, body)


def _take(target: Target, size: int) -> Kernel:
    """Row ``p`` of the result is row ``at[p]`` of the source; rows have ``inner`` elements."""
    dtype = _BY_SIZE[size]
    out, source, at = _array("out", dtype, True), _array("in", dtype), _array("at", int64)
    p, row, inner = var("p", 0, MOST), var("row", 0, MOST), _number("inner")
    body: list[Statement] = [
        LetIndex(row, Load(at, p)),
            *_run(inner, target.lanes(size), lambda i: Store(out, p * inner + i, Load(source, row * inner + i)))]
    return _finished(("take", size), (out, source, at), ("inner",), p, body)


def _put(target: Target, mode: str, dtype_name: str) -> Kernel:
    """Row ``at[j]`` of the result is set to, or joined with, row j of the value, for all j in order."""
    dtype = BY_NAME[dtype_name]
    out, source, at = _array("out", dtype, True), _array("value", dtype), _array("at", int64)
    p, j, row = var("p", 0, MOST), var("j", 0, MOST), var("row", 0, MOST)
    count, inner = _number("count"), _number("inner")

    def store(i: Sym) -> Store:
        value: Value = Load(source, j * inner + i)
        if mode != "set":
            combine = scatter_combine(mode, dtype)
            wide = accumulator(dtype)
            operands = (convert(Load(out, row * inner + i), wide), convert(value, wide))
            value = convert(Apply(combine, operands, wide), dtype)
        return Store(out, row * inner + i, value)

    inside = (LetIndex(row, Load(at, j)), *_run(inner, target.lanes(accumulator(dtype).size), store))
    return _finished(("put", mode, dtype_name), (out, source, at), ("count", "inner"), p,
                     (For(j, _ZERO, count, 1, "serial", inside),))


_MAKERS: dict[str, Callable[..., Kernel]] = {
    "map": _map, "rows": _rows, "random": _random, "copy": _copy, "reduce": _reduce, "scan": _scan, "dot": _dot,
    "locate": _locate, "take": _take, "put": _put}
