"""Stage: conformance. In: nothing. Out: cases of several stages: softmax, layer norm and their like over every axis,
programs with several outputs, in-place updates, attention.
Next: ``compositions.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from minigrad.conformance.case import Case, Program
from minigrad.conformance.contractions import matmul
from minigrad.conformance.sources import Shape, Source
from minigrad.dtype import DType, bfloat16, float16, float32, float64, int64
from minigrad.grad import vjp
from minigrad.graph.function import Subgraph
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.loop import Loop, loop_outputs
from minigrad.ops import Op

Rows = Callable[[LazyBuffer, tuple[int, ...]], LazyBuffer]


def _full(reduced: LazyBuffer, like: LazyBuffer) -> LazyBuffer:
    return reduced.expand(like.shape)


def mean(x: LazyBuffer, axes: tuple[int, ...]) -> LazyBuffer:
    """Σ x / n, for the n elements that share a result; 0/0 if there are none."""
    total = x.reduce(Op.SUM, axes)
    count = x.size // max(1, total.size)
    return total.binary(Op.DIV, total.like(float(count)))


def softmax(x: LazyBuffer, axes: tuple[int, ...]) -> LazyBuffer:
    """exp(x - max) / Σ exp(x - max)"""
    e = x.binary(Op.SUB, _full(x.reduce(Op.MAX, axes), x)).unary(Op.EXP)
    return e.binary(Op.DIV, _full(e.reduce(Op.SUM, axes), x))


def log_softmax(x: LazyBuffer, axes: tuple[int, ...]) -> LazyBuffer:
    """x - max - log Σ exp(x - max)"""
    centred = x.binary(Op.SUB, _full(x.reduce(Op.MAX, axes), x))
    return centred.binary(Op.SUB, _full(centred.unary(Op.EXP).reduce(Op.SUM, axes).unary(Op.LOG), x))


def log_sum_exp(x: LazyBuffer, axes: tuple[int, ...]) -> LazyBuffer:
    """max + log Σ exp(x - max)"""
    top = x.reduce(Op.MAX, axes)
    return x.binary(Op.SUB, _full(top, x)).unary(Op.EXP).reduce(Op.SUM, axes).unary(Op.LOG).binary(Op.ADD, top)


def variance(x: LazyBuffer, axes: tuple[int, ...]) -> LazyBuffer:
    """Σ (x - mean)² / n: the biased one, as normalisation layers use it."""
    centred = x.binary(Op.SUB, _full(mean(x, axes), x))
    return mean(centred.binary(Op.MUL, centred), axes)


def layer_norm(x: LazyBuffer, axes: tuple[int, ...]) -> LazyBuffer:
    """(x - mean) / √(variance + ε)"""
    centred = x.binary(Op.SUB, _full(mean(x, axes), x))
    spread = variance(x, axes)
    spread = spread.binary(Op.ADD, spread.like(1e-5)).unary(Op.SQRT)
    return centred.binary(Op.DIV, _full(spread, x))


def normalised(x: LazyBuffer, axes: tuple[int, ...]) -> LazyBuffer:
    """x / max |x|, then its sum taken away: three stages of different kinds."""
    y = x.binary(Op.DIV, _full(x.unary(Op.ABS).reduce(Op.MAX, axes), x))
    return y.binary(Op.SUB, _full(y.reduce(Op.SUM, axes), y))


ROWS: dict[str, Rows] = {"softmax": softmax, "log_softmax": log_softmax, "log_sum_exp": log_sum_exp,
                         "variance": variance,
                         "layer_norm": layer_norm, "normalised": normalised}
SPACES: tuple[tuple[Shape, tuple[int, ...]], ...] = (
    ((5, 17), (1,)), ((5, 17), (0,)), ((5, 17), (0, 1)), ((3, 4, 5), (1,)), ((64, 33), (1,)), ((300, 257), (1,)),
                                                     ((300, 257), (0,)),
    ((1,), (0,)), ((2, 3, 40, 5), (0, 2, 3)), ((1, 5_000), (1,)), ((2, 70_000), (1,)))


def programs() -> Iterator[Case]:
    """All of them."""
    for name, build in ROWS.items():
        for shape, axes in SPACES:
            for dtype in (float32,) if shape != (5, 17) else (float16, bfloat16, float32, float64):
                text = f"{name}-{'x'.join(map(str, shape))}-over-{'x'.join(map(str, axes))}"
                yield Case("program", text, dtype, partial(_rows, dtype, build, shape, axes))
    for name, (make, ulps) in WHOLE.items():
        for dtype in (float32, float64):
            yield Case("program", name, dtype, partial(_whole, name, make, ulps, dtype))


def _rows(dtype: DType, build: Rows, shape: Shape, axes: tuple[int, ...], device: str) -> Program:
    x = Source(device, dtype, "plain", "rows", shape).view("transposed-memory" if len(shape) == 3 else "plain", shape)
    out = build(x, axes)
    # where exp or a sum differs in its last bit, its rounding to a half may differ by one of the half's
    ulps = 24.0 if dtype.size > 2 else 8.0
    return Program([out], None, [x.cast(float64).like(4.0 if dtype.size > 2 else 2.0**16).shrink(_box(out))], ulps, 8.0)


def _box(x: LazyBuffer) -> tuple[tuple[int, int], ...]:
    return tuple((0, n) for n in x.shape)


def _whole(name: str, make: Callable[[Source], list[LazyBuffer]], ulps: float, dtype: DType, device: str) -> Program:
    outputs = make(Source(device, dtype, "plain", name))
    if not ulps:
        return Program(outputs, signed_zero=False)
    scales = [LazyBuffer.const(16.0, float64, o.shape, device) for o in outputs]
    return Program(outputs, None, scales, ulps, ulps)


def _side_by_side(s: Source) -> list[LazyBuffer]:
    """Sums, maxima and a map of one input."""
    x = s.leaf((40, 33))
    return [x.reduce(Op.SUM, (1,)), x.reduce(Op.MAX, (1,)), x.binary(Op.MUL, x).reduce(Op.SUM, (1,)), x.unary(Op.NEG),
            x.binary(Op.MUL, x.like(2.0))]


def _neighbours(s: Source) -> list[LazyBuffer]:
    """x[1:] + x[:-1], again and again: each step reads the one before twice."""
    x = s.leaf((300,))
    for _ in range(12):
        n = x.shape[0]
        x = x.shrink(((1, n),)).binary(Op.ADD, x.shrink(((0, n - 1),))).binary(Op.MUL, x.like(0.5).shrink(((1, n),)))
    return [x]


def _attention(s: Source) -> list[LazyBuffer]:
    """softmax(q kᵀ / √d) v over 2 heads of 9 queries and 17 keys"""
    q, k, v = s.leaf((2, 9, 20)), s.leaf((2, 17, 20)), s.leaf((2, 17, 20))
    scores = matmul(q, k.permute((0, 2, 1)))
    return [matmul(softmax(scores.binary(Op.MUL, scores.like(20**-0.5)), (2,)), v)]


def _walks(s: Source) -> list[LazyBuffer]:
    """Causal attention whose scores are larger than a cache, and its gradients: kernels that walk along them."""
    q, k, v, g = (s.leaf((2, 389, 3)) for _ in range(4))
    scores = matmul(q, k.permute((0, 2, 1)))
    later = LazyBuffer.index(scores.shape, 1, s.device).binary(Op.LT, LazyBuffer.index(scores.shape, 2, s.device))
    out = matmul(softmax(later.where(scores.like(float("-inf")), scores), (2,)), v)
    grads = vjp([out], [g], [q, k, v], [True] * 3)
    return [out, *(x for x in grads if x is not None)]


def _causal(s: Source) -> list[LazyBuffer]:
    """Attention scores with the future masked by -inf."""
    x = s.leaf((17, 17))
    later = LazyBuffer.index(x.shape, 0, s.device).binary(Op.LT, LazyBuffer.index(x.shape, 1, s.device))
    return [softmax(later.where(x.like(float("-inf")), x), (1,))]


def _updates(s: Source) -> list[LazyBuffer]:
    """Momentum and weight of four parameters, as an optimizer steps them: the old ones are dead."""
    rate = LazyBuffer.scalar(0.01, s.dtype, s.device)
    outputs = []
    for shape in ((30, 20), (20,), (20, 10), (10,)):
        weight, gradient, momentum = s.leaf(shape), s.leaf(shape), s.leaf(shape)
        momentum = momentum.binary(Op.MUL, momentum.like(0.5)).binary(Op.ADD, gradient)
        step = momentum.binary(Op.MUL, rate.reshape((1,) * len(shape)).expand(shape))
        outputs += [momentum, weight.binary(Op.SUB, step)]
    return outputs


def _shifts_itself(s: Source) -> list[LazyBuffer]:
    """A buffer shifted by one: its old memory is dead, but must not be overwritten while it is read."""
    x = s.leaf((1000,))
    rolled = x.pad(((1, 0, 0),)).shrink(((0, 1000),))
    return [rolled.binary(Op.ADD, x.flip((0,)))]


def _swapped(s: Source) -> list[LazyBuffer]:
    """a, b = b, a: both dead, each output wants the other's memory."""
    a, b = s.leaf((100,)), s.leaf((100,))
    return [b.binary(Op.ADD, b.like(0.0)), a.binary(Op.ADD, a.like(0.0))]


def _in_place_twice(s: Source) -> list[LazyBuffer]:
    """Two views of one base written one after the other, the second reading what the first wrote."""
    x = s.leaf((8, 9))
    first = x.assign(s.leaf((3, 9)), ((Op.SHRINK, ((2, 5), (0, 9))),))
    column = first.shrink(((0, 8), (4, 5))).binary(Op.MUL, first.shrink(((0, 8), (3, 4))))
    return [first.assign(column, ((Op.SHRINK, ((0, 8), (0, 1))),))]


def _one_hot(s: Source) -> list[LazyBuffer]:
    """Rows chosen by a sum over a mask of coordinates, as an embedding's gradient may be written."""
    at = LazyBuffer.index((12, 7), 0, s.device).binary(Op.MOD, LazyBuffer.const(7, int64, (12, 7), s.device))
    mask = at.binary(Op.EQ, LazyBuffer.index((12, 7), 1, s.device)).cast(s.dtype)
    return [matmul(mask, s.leaf((7, 33)))]


def _diamond(s: Source) -> list[LazyBuffer]:
    """Statistics over rows and over columns of one value that is dear to compute, used together."""
    x = s.leaf((40, 33)).unary(Op.TANH).unary(Op.EXP)
    rows, columns = x.reduce(Op.MAX, (1,)), x.reduce(Op.MAX, (0,))
    return [rows.expand(x.shape).binary(Op.SUB, columns.expand(x.shape)).binary(Op.MUL, x), rows]


def _nested_reductions(s: Source) -> list[LazyBuffer]:
    x = s.leaf((6, 7, 8))
    return [x.reduce(Op.MAX, (2,)).reduce(Op.MIN, (1,)).reduce(Op.MAX, (0,)),
            x.reduce(Op.MIN, (0,)).expand((6, 7, 8)).binary(Op.ADD, x).reduce(Op.MAX, (1, 2))]


def _max_pool(s: Source) -> list[LazyBuffer]:
    return [s.leaf((2, 3, 9, 10)).window(((2, 3, 2, 1), (3, 2, 2, 1))).reduce(Op.MAX, (4, 5))]


def _loops(s: Source) -> list[LazyBuffer]:
    """h = tanh(x + h w) along x, and back along what that gave: of the second, only what its steps give is wanted."""
    rows, h, w = s.leaf((9, 5, 12)), s.leaf((5, 12)), s.leaf((12, 12))

    def step(h: LazyBuffer, x: LazyBuffer, w: LazyBuffer) -> list[LazyBuffer]:
        h = x.binary(Op.ADD, matmul(h, w.binary(Op.MUL, w.like(0.125)))).unary(Op.TANH)
        return [h, h.reduce(Op.SUM, (1,))]

    params = [LazyBuffer(Op.PARAM, (), i, p.shape[-2:], p.dtype, p.device) for i, p in enumerate((h, rows, w))]
    body = Subgraph("recurrent", params, step(*params))
    states, _ = loop_outputs(Loop(body, 1, 1, 9), [h, rows, w])
    _, sums = loop_outputs(Loop(body, 1, 1, 9, backwards=True), [h, states, w])
    return [states, sums]


WHOLE: dict[str, tuple[Callable[[Source], list[LazyBuffer]], float]] = {
    "side-by-side": (_side_by_side, 16), "neighbours": (_neighbours, 0), "attention": (_attention, 32),
    "walks": (_walks, 256),
    "causal-softmax": (_causal, 16), "optimizer-updates": (_updates, 2), "shifts-itself": (_shifts_itself, 0),
    "swapped": (_swapped, 0), "in-place-twice": (_in_place_twice, 0), "one-hot": (_one_hot, 16),
                                                                        "diamond": (_diamond, 32),
    "nested-reductions": (_nested_reductions, 0), "max-pool": (_max_pool, 0),
    "loops": (_loops, 64),
}
"""By name: a program, and how many ulp it may be off; 0 means to the bit."""
