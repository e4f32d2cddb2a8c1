"""Stage: conformance. In: the ops that complex numbers have. Out: cases for each of them, each type, on a few shapes
and behind all views: the kernels work on real and imaginary parts, the reference on NumPy's complex numbers.
Next: ``reductions.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import prod, sqrt

from minigrad.conformance.case import Case, Program
from minigrad.conformance.sources import VIEWS, Shape, Source, indexes, rng_of
from minigrad.dtype import ALL, COMPLEX, DType, bool_, complex128, int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import SCALAR_OPS, Op, ScalarOp

SHAPES: tuple[Shape, ...] = ((), (0,), (17,), (5, 3), (3, 37, 129))
MOVES: dict[str, Callable[[LazyBuffer], LazyBuffer]] = {
    "RESHAPE": lambda x: x.reshape((15, 4)), "PERMUTE": lambda x: x.permute((2, 0, 1)),
    "EXPAND": lambda x: x.reshape((1, 3, 1, 20)).expand((2, 3, 4, 20)),
    "PAD": lambda x: x.pad(((1, 0, 0), (0, 2, 1), (0, 0, 2))), "SHRINK": lambda x: x.shrink(((1, 3), (0, 4), (2, 5))),
    "FLIP": lambda x: x.flip((0, 2)), "STRIDE": lambda x: x.stride((2, 1, 3)),
    "WINDOW": lambda x: x.window(((2, 2, 1, 2), (1, 2, 2, 1))), "CONTIGUOUS": lambda x: x.flip((1,)).contiguous(),
    "as-real": lambda x: x.as_real(), "as-complex": lambda x: x.as_real().flip((0,)).as_complex(),
    "empty-as-real": lambda x: x.shrink(((0, 0), (0, 4), (0, 5))).as_real().reduce(Op.SUM, (0, 3)),
    "bits": lambda x: x.bitcast(int64).cast(int64),
}


def complex_numbers() -> Iterator[Case]:
    """Elementwise ops, casts, movement, reductions, gather, scatter, assign, products of matrices."""
    names, turn = [name for name in VIEWS if name not in ("reduced", "computed")], 0  # they have maxima
    for row in SCALAR_OPS.values():
        for dtype in COMPLEX:
            if row.name == Op.COMPLEX or ("c" in row.kinds and row.name not in (Op.CAST, Op.BITCAST)):
                for shape in SHAPES:
                    turn += 1
                    views = tuple([names[(turn + 3 * k) % len(names)] for k in range(row.arity)])
                    yield Case("complex", f"{row.name}-{_text(shape)}-{'-'.join(views)}", dtype,
                               partial(_apply, row, dtype, shape, views))
    for dtype in COMPLEX:
        for other in (*ALL, *COMPLEX):
            if other is not dtype:
                yield Case("complex", f"CAST-to-{other.name}", dtype, partial(_cast, dtype, other))
                yield Case("complex", f"CAST-from-{other.name}", dtype, partial(_cast, other, dtype))
        for name in MOVES:
            yield Case("complex", name, dtype, partial(_moved, name, dtype))
        for op in (Op.SUM, Op.PROD):
            for shape, axes in (((0,), (0,)), ((17,), (0,)), ((33, 5), (0,)), ((3, 37, 129), (0, 2))):
                yield Case("complex", f"{op}-{_text(shape)}-over-{_text(axes)}", dtype,
                           partial(_reduced, op, dtype, shape, axes))
            yield Case("complex", f"SCAN-{op}", dtype, partial(_scanned, op, dtype))
        for name in ("GATHER", "SCATTER-set", "SCATTER-add", "ASSIGN"):
            yield Case("complex", name, dtype, partial(_indexed, name, dtype))
        for m, k, n in ((1, 1, 1), (5, 17, 33), (64, 48, 40)):
            yield Case("complex", f"product-{m}x{k}x{n}", dtype, partial(_product, dtype, (m, k, n)))


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _apply(row: ScalarOp, dtype: DType, shape: Shape, views: tuple[str, ...], device: str) -> Program:
    source = Source(device, dtype.part if row.name == Op.COMPLEX else dtype, "edge", row.name, shape, views)
    operands = [source.view(v, shape) for v in views]
    if row.name == Op.WHERE:
        operands[0] = Source(device, bool_, "edge", shape).view(views[0], shape)
        return Program([operands[0].where(*operands[1:])])
    if row.arity == 2:
        return Program([operands[0].binary(row.name, operands[1])])
    return Program([{Op.REAL: LazyBuffer.real, Op.IMAG: LazyBuffer.imag}.get(
        row.name, lambda x: x.unary(row.name))(operands[0])])


def _cast(source: DType, target: DType, device: str) -> Program:
    return Program([Source(device, source, "edge", "complex cast", target.name).view("flipped", (33,)).cast(target)])


def _moved(name: str, dtype: DType, device: str) -> Program:
    x = Source(device, dtype, "plain", name).leaf((3, 4, 5))
    return Program([MOVES[name](x), MOVES[name](x.unary(Op.NEG))])


def _reduced(op: str, dtype: DType, shape: Shape, axes: tuple[int, ...], device: str) -> Program:
    x = Source(device, dtype, "plain" if op == Op.SUM else "positive", op, shape).leaf(shape)
    if op == Op.PROD:  # of magnitude 1 or so
        x = x.binary(Op.MUL, x.like(0.6 + 0.3j))
    n = prod([shape[a] for a in axes])
    exact = x.cast(complex128).reduce(op, axes)
    scale = _size(x).reduce(Op.SUM, axes) if op == Op.SUM else _size(exact)
    return Program([x.reduce(op, axes)], [exact.cast(dtype)], [scale], 1.0, 4 + (sqrt(n) if op == Op.SUM else 4 * n))


def _size(x: LazyBuffer) -> LazyBuffer:
    """|a| + |b|, in the type of the parts."""
    return x.real().unary(Op.ABS).binary(Op.ADD, x.imag().unary(Op.ABS))


def _scanned(op: str, dtype: DType, device: str) -> Program:
    x = Source(device, dtype, "positive", "complex scan").leaf((3, 29))
    x = x.binary(Op.MUL, x.like(0.6 + 0.3j))
    exact = x.cast(complex128).scan(op, 1)
    return Program([x.scan(op, 1)], [exact.cast(dtype)], [_size(exact)], 1.0, 120)


def _indexed(name: str, dtype: DType, device: str) -> Program:
    source, rng = Source(device, dtype, "plain", name), rng_of(name)
    base, value = source.leaf((7, 5)), source.leaf((4, 5))
    if name == "ASSIGN":
        chain = ((Op.SHRINK, ((1, 5), (0, 5))), (Op.FLIP, (0,)))
        return Program([base.assign(value, chain), base.unary(Op.NEG).assign(value, chain)])
    at = [indexes(rng.permutation(7)[:4] if name == "SCATTER-set" else rng.integers(0, 7, 4), device)]
    if name == "GATHER":
        return Program([base.gather(at), base.unary(Op.NEG).gather(at)])
    exact = base.cast(complex128).scatter(value.cast(complex128), at, name[8:]).cast(dtype)
    return Program([base.scatter(value, at, name[8:])], [exact], [_size(exact)], 1.0, 8)


def _product(dtype: DType, sizes: tuple[int, int, int], device: str) -> Program:
    m, k, n = sizes
    source = Source(device, dtype, "plain", "complex product", sizes)
    a, b = source.leaf((m, k)), source.leaf((k, n))

    def product(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
        x, y = x.reshape((m, k, 1)).expand((m, k, n)), y.reshape((1, k, n)).expand((m, k, n))
        return x.binary(Op.MUL, y).reduce(Op.SUM, (1,))

    exact = product(a.cast(complex128), b.cast(complex128)).cast(dtype)
    return Program([product(a, b)], [exact], [product(_size(a), _size(b))], 1.0, 8 + sqrt(k))
