"""Stage: conformance. In: nothing. Out: cases for sums of products: matrix products in all four layouts, batched, of
odd sizes and every dtype, with what comes before and after, and convolution.
Next: ``programs.py``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import sqrt

from minigrad.conformance.case import Case, Program
from minigrad.conformance.reductions import magnitude
from minigrad.conformance.sources import Shape, Source
from minigrad.dtype import ALL, DType, accumulator, float16, float32, float64, int8, int32, uint8
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.windows import Overlap, overlapped
from minigrad.ops import Op

SIZES = ((1, 1, 1), (2, 3, 4), (5, 17, 33), (16, 16, 16), (17, 1, 65), (1, 70, 129), (70, 1, 3), (64, 33, 40),
         (33, 130, 7),
         (96, 80, 300), (3, 4, 0), (0, 4, 5))
LAYOUTS = ("nn", "nt", "tn", "tt")


def matmul(a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
    """a (…, m, k) times b (…, k, n): expand both to (…, m, n, k), multiply, sum over k; halves in float32, rounded
    once."""
    lead, (m, k), n = a.shape[:-2], a.shape[-2:], b.shape[-1]
    rank = len(lead)
    wide = accumulator(a.dtype)
    turned = b.cast(wide).permute((*range(rank), rank + 1, rank))
    left = a.cast(wide).reshape((*lead, m, 1, k)).expand((*lead, m, n, k))
    right = turned.reshape((*lead, 1, n, k)).expand((*lead, m, n, k))
    return left.binary(Op.MUL, right).reduce(Op.SUM, (rank + 2,)).reshape((*lead, m, n)).cast(a.dtype)


def product(a: LazyBuffer, b: LazyBuffer) -> Program:
    """The product and how far it may be off: each of k terms is rounded, in float32 for halves."""
    out = matmul(a, b)
    if not a.dtype.is_float:
        return Program([out])
    return Program([out], None, [matmul(magnitude(a), magnitude(b))], 1.0, 3 + 2 * sqrt(a.shape[-1]))


def _rounded(dtype: DType) -> float:
    """What rounding to a half ``dtype`` on the way adds: its unit in the last place, in those of float32."""
    return 2.0 ** (13 if dtype is float16 else 16) if dtype.size == 2 else 0.0


def contractions() -> Iterator[Case]:
    """All of them."""
    for size in SIZES:
        for layout in LAYOUTS:
            for dtype in (float32, float64) if size != (5, 17, 33) else ALL:
                if dtype.kind != "b":
                    name = f"{'x'.join(map(str, size))}-{layout}"
                    yield Case("contraction", name, dtype, partial(_matmul, dtype, (), size, layout))
    for lead in ((3,), (2, 5), (0,), (1, 1)):
        for layout in LAYOUTS:
            name = f"batch-{'x'.join(map(str, lead))}-{layout}"
            yield Case("contraction", name, float32, partial(_matmul, float32, lead, (9, 17, 20), layout))
    for left, right in ((int8, int8), (int8, uint8), (uint8, int8), (uint8, uint8)):
        for size in ((9, 17, 37), (33, 24, 40), (8, 40, 1100)):
            for layout in LAYOUTS:
                name = f"{left.name}-{right.name}-{'x'.join(map(str, size))}-{layout}"
                yield Case("contraction", name, int32, partial(_bytes, left, right, size, layout), since=2)
    for name, build in VARIANTS.items():
        for dtype in (float32, float64, int32, float16):
            yield Case("contraction", name, dtype, partial(_variant, name, dtype, build))


def _matmul(dtype: DType, lead: Shape, size: tuple[int, int, int], layout: str, device: str) -> Program:
    source = Source(device, dtype, "plain", "matmul", lead, size)
    return product(*_factors((source, source), lead, size, layout))


def _factors(sources: tuple[Source, Source], lead: Shape, size: tuple[int, int, int],
             layout: str) -> tuple[LazyBuffer, LazyBuffer]:
    """(…, m, k) and (…, k, n), each as it is or transposed in memory."""
    m, n, k = size
    rank = len(lead)
    swap = (*range(rank), rank + 1, rank)
    a = sources[0].leaf((*lead, m, k)) if layout[0] == "n" else sources[0].leaf((*lead, k, m)).permute(swap)
    b = sources[1].leaf((*lead, k, n)) if layout[1] == "n" else sources[1].leaf((*lead, n, k)).permute(swap)
    return a, b


def _bytes(left: DType, right: DType, size: tuple[int, int, int], layout: str, device: str) -> Program:
    """Bytes of extreme values, widened to int32 on the way in: exact."""
    sources = Source(device, left, "edge", "bytes", size), Source(device, right, "edge", "bytes", size)
    a, b = _factors(sources, (), size, layout)
    return product(a.cast(int32), b.cast(int32))


def _relu(x: LazyBuffer) -> LazyBuffer:
    return x.binary(Op.MAXIMUM, x.like(0))


def _bias_relu(s: Source) -> Program:
    """relu(a @ b + bias)"""
    program = product(s.leaf((33, 40)), s.leaf((40, 17)))
    bias = s.leaf((17,)).expand((33, 17))
    return _after(program, lambda x: _relu(x.binary(Op.ADD, bias)), bias)


def _after(program: Program, function: object, extra: LazyBuffer) -> Program:
    assert callable(function)
    output = function(program.outputs[0])
    scales = None
    if program.scales is not None:
        scales = [program.scales[0].binary(Op.ADD, magnitude(extra))]
    return Program([output], None, scales, program.ulps + 1,
                   program.scale_ulps + 2 + _rounded(output.dtype), signed_zero=False)


def _residual(s: Source) -> Program:
    x = s.leaf((33, 40))
    return _after(product(x, s.leaf((40, 40))), lambda y: y.binary(Op.ADD, x), x)


def _prologue(s: Source) -> Program:
    """relu(x) @ w, x transposed in memory"""
    return product(_relu(s.leaf((40, 33)).permute((1, 0))), s.leaf((40, 17)))


def _of_a_gather(s: Source) -> Program:
    at = LazyBuffer.index((20,), 0, s.device)
    rows = at.binary(Op.MUL, at).binary(Op.MOD, at.like(11))
    return product(s.leaf((11, 33)).gather([rows]), s.leaf((33, 18)))


def _cast_before(s: Source) -> Program:
    """Operands widened on the way in."""
    wide = float64 if s.dtype.is_float else next(d for d in ALL if d.name == "int64")
    return product(s.leaf((18, 33)).cast(wide), s.leaf((33, 20)).cast(wide))


def _same_operand(s: Source) -> Program:
    x = s.leaf((21, 34))
    return product(x, x.permute((1, 0)))


def _dot(s: Source) -> Program:
    return product(s.leaf((1, 5_000)), s.leaf((5_000, 1)))


def _outer(s: Source) -> Program:
    return product(s.leaf((130, 1)), s.leaf((1, 33)))


def _matrix_vector(s: Source) -> Program:
    return product(s.leaf((130, 257)), s.leaf((257, 1)))


def _vector_matrix(s: Source) -> Program:
    return product(s.leaf((1, 257)), s.leaf((257, 130)))


def _broadcast_batch(s: Source) -> Program:
    return product(s.leaf((3, 9, 17)), s.leaf((1, 17, 10)).expand((3, 17, 10)))


def _strided_operand(s: Source) -> Program:
    a = s.leaf((40, 66)).stride((2, 2))
    return product(a, s.leaf((33, 30)).flip((0,)).shrink(((0, 33), (4, 21))))


def _two_in_a_row(s: Source) -> Program:
    """(a @ b) @ c: the outer product's error counts the inner one's."""
    a, b, c = s.leaf((9, 20)), s.leaf((20, 30)), s.leaf((30, 8))
    program = product(matmul(a, b), c)
    if program.scales is not None:
        program.scales = [matmul(matmul(magnitude(a), magnitude(b)), magnitude(c))]
        program.scale_ulps = 4 * program.scale_ulps + _rounded(s.dtype)
    return program


def _convolution(s: Source) -> Program:
    """x (2, 3, 9, 10), w (5, 3, 3, 2), stride 2 and 1, one zero around."""
    x, w = s.leaf((2, 3, 9, 10)), s.leaf((5, 3, 3, 2))

    def convolve(x: LazyBuffer, w: LazyBuffer) -> LazyBuffer:
        padded = x.pad(((0, 0, 0), (0, 0, 0), (1, 1, 0), (1, 1, 0)))
        windows = padded.window(((2, 3, 2, 1), (3, 2, 1, 1)))  # (2, 3, 5, 11, 3, 2)
        full = (2, 5, 3, 5, 11, 3, 2)
        left = windows.reshape((2, 1, 3, 5, 11, 3, 2)).expand(full)
        right = w.reshape((1, 5, 3, 1, 1, 3, 2)).expand(full)
        return left.binary(Op.MUL, right).reduce(Op.SUM, (2, 5, 6)).reshape((2, 5, 5, 11))

    one = product(s.leaf((1, 18)), s.leaf((18, 1)))
    out = convolve(x, w)
    scales = [convolve(magnitude(x), magnitude(w))] if s.dtype.is_float else None
    return Program([out], None, scales, one.ulps, one.scale_ulps + _rounded(s.dtype))


def _adjoint(s: Source) -> Program:
    """A convolution's gradient: x (2, 20, 5, 7), w (20, 9, 3, 3), stride 2 and 1: each product counts only where a
    window reaches."""
    x, w = s.leaf((2, 20, 5, 7)), s.leaf((20, 9, 3, 3))

    def spread(x: LazyBuffer, w: LazyBuffer) -> LazyBuffer:
        full = (2, 20, 9, 5, 7, 3, 3)
        left = x.reshape((2, 20, 1, 5, 7, 1, 1)).expand(full)
        right = w.reshape((1, 20, 9, 1, 1, 3, 3)).expand(full)
        shares, places = overlapped(left.binary(Op.MUL, right), [Overlap(3, 5, 2, 1, 1, 10), Overlap(4, 6, 1, 1, 1, 7)])
        return shares.reduce(Op.SUM, (1, *places)).reshape((2, 9, 10, 7))

    one = product(s.leaf((1, 80)), s.leaf((80, 1)))
    scales = [spread(magnitude(x), magnitude(w))] if s.dtype.is_float else None
    return Program([spread(x, w)], None, scales, one.ulps, one.scale_ulps + _rounded(s.dtype))


VARIANTS = {
    "bias-relu": _bias_relu, "residual": _residual, "relu-before": _prologue, "of-a-gather": _of_a_gather,
    "cast-before": _cast_before, "same-operand": _same_operand, "dot": _dot, "outer": _outer,
    "matrix-vector": _matrix_vector, "vector-matrix": _vector_matrix, "broadcast-batch": _broadcast_batch,
    "strided-operand": _strided_operand, "two-in-a-row": _two_in_a_row, "convolution": _convolution,
    "adjoint": _adjoint,
}


def _variant(name: str, dtype: DType, build: object, device: str) -> Program:
    assert callable(build)
    program: Program = build(Source(device, dtype, "plain", name))
    return program
