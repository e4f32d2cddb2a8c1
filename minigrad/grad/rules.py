"""Stage: gradients. In: an op, its operands, its result and the gradient g of the result. Out: the gradient of each
operand. One row for each differentiable primitive.
Next: ``batching.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from minigrad.grad.products import VJP, product_gradient, running_product_gradient
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.windows import Overlap, overlapped
from minigrad.ops import Op

Gradients = tuple[LazyBuffer | None, ...]


class Applied(NamedTuple):
    """A node as it was recorded (realising it may have cleared its sources since): ``out = op(*srcs, arg)``; and the
    walk that applies the rules."""

    out: LazyBuffer
    op: str
    srcs: tuple[LazyBuffer, ...]
    arg: Any
    vjp: VJP


class GradientRule(NamedTuple):
    """``formula`` is for people; ``apply(node, g)`` gives a gradient (or None) for each source.
    ``saves``: whether it needs values of the forward pass."""

    op: str
    formula: str
    saves: bool
    apply: Callable[[Applied, LazyBuffer], Gradients]


def _times(g: LazyBuffer, number: float) -> LazyBuffer:
    return g.binary(Op.MUL, g.like(number))


def _zero(g: LazyBuffer) -> LazyBuffer:
    return g.like(0.0)


def _mul(node: Applied, g: LazyBuffer) -> Gradients:
    a, b = node.srcs[:2]
    return g.binary(Op.MUL, b.conj()), g.binary(Op.MUL, a.conj())


def _div(node: Applied, g: LazyBuffer) -> Gradients:
    a, b = node.srcs
    slope = a.binary(Op.DIV, b).binary(Op.DIV, b)
    return g.binary(Op.DIV, b.conj()), g.binary(Op.MUL, slope.conj()).unary(Op.NEG)


def _pow(node: Applied, g: LazyBuffer) -> Gradients:
    a, b = node.srcs
    one, zero = a.like(1.0), a.like(0.0)
    if b.op == Op.CONST:
        if b.arg == 0:
            return zero, None
        if b.arg == 2:
            return g.binary(Op.MUL, _times(a, 2.0)), None
        return g.binary(Op.MUL, _times(a.binary(Op.POW, b.like(b.arg - 1)), b.arg)), None
    none = b.binary(Op.EQ, zero)
    slope = b.binary(Op.MUL, a.binary(Op.POW, none.where(one, b).binary(Op.SUB, one)))
    base = none.where(zero, g.binary(Op.MUL, slope))
    at_zero = a.binary(Op.EQ, zero).binary(Op.AND, none.binary(Op.OR, zero.binary(Op.LT, b)))
    safe = at_zero.where(one, a)
    exponent = g.binary(Op.MUL, at_zero.where(zero, node.out.binary(Op.MUL, safe.unary(Op.LOG))))
    return base, exponent


def _extremum(node: Applied, g: LazyBuffer) -> Gradients:
    a, b = node.srcs
    shared = a.binary(Op.EQ, b).where(_times(g, 0.5), g)
    less, more = (a, b) if node.op == Op.MAXIMUM else (b, a)
    return less.binary(Op.LT, more).where(_zero(g), shared), more.binary(Op.LT, less).where(_zero(g), shared)


def _abs(node: Applied, g: LazyBuffer) -> Gradients:
    a, zero = node.srcs[0], _zero(g)
    neither = _times(g, 0.0)  # 0 and NaN; NaN where g is not finite
    return (zero.binary(Op.LT, a).where(g, a.binary(Op.LT, zero).where(g.unary(Op.NEG), neither)),)


def _where(node: Applied, g: LazyBuffer) -> Gradients:
    condition, zero = node.srcs[0], _zero(g)
    return None, condition.where(g, zero), condition.where(zero, g)


def _tanh(node: Applied, g: LazyBuffer) -> Gradients:
    out = node.out
    return (g.binary(Op.MUL, out.like(1.0).binary(Op.SUB, out.binary(Op.MUL, out))),)


def _erf(node: Applied, g: LazyBuffer) -> Gradients:
    a = node.srcs[0]
    bell = a.binary(Op.MUL, a).unary(Op.NEG).unary(Op.EXP)
    return (g.binary(Op.MUL, _times(bell, 2 / math.sqrt(math.pi))),)


def _mod(node: Applied, g: LazyBuffer) -> Gradients:
    a, b = node.srcs
    return g, g.binary(Op.MUL, a.binary(Op.FLOORDIV, b)).unary(Op.NEG)


def _cast(node: Applied, g: LazyBuffer) -> Gradients:
    source = node.srcs[0].dtype
    return (g.cast(source) if source.is_inexact else None,)


def _bitcast(node: Applied, g: LazyBuffer) -> Gradients:
    source = node.srcs[0]
    if source.dtype.part is not node.out.dtype.part or not source.dtype.is_inexact:
        return (None,)
    return (LazyBuffer(Op.BITCAST, (g,), source.dtype, source.shape, source.dtype, g.device),)


def _prod(node: Applied, g: LazyBuffer) -> Gradients:
    return (product_gradient(node.vjp, node.srcs[0], node.out, g, node.arg),)


def _extreme_of_axis(node: Applied, g: LazyBuffer) -> Gradients:
    a = node.srcs[0]
    equal = a.binary(Op.EQ, node.out.expand(a.shape))
    is_it = equal.binary(Op.OR, a.binary(Op.EQ, a).unary(Op.NOT)).cast(a.dtype)  # a NaN is the largest and the smallest
    count = is_it.reduce(Op.SUM, node.arg)
    return (g.binary(Op.DIV, count).expand(a.shape).binary(Op.MUL, is_it),)


def _permute(node: Applied, g: LazyBuffer) -> Gradients:
    inverse = [0] * len(node.arg)
    for i, axis in enumerate(node.arg):
        inverse[axis] = i
    return (g.permute(tuple(inverse)),)


def _expand(node: Applied, g: LazyBuffer) -> Gradients:
    shape = node.srcs[0].shape
    added = len(g.shape) - len(shape)
    axes = [i for i, s in enumerate(g.shape) if s != 1 and (i < added or shape[i - added] == 1)]
    return (g.reduce(Op.SUM, axes).reshape(shape),)


def _pad(node: Applied, g: LazyBuffer) -> Gradients:
    box, steps = [], []
    for size, out, (low, _, interior) in zip(node.srcs[0].shape, g.shape, node.arg, strict=True):
        box.append((low, low + size + max(0, size - 1) * interior if size else min(low, out)))
        steps.append(interior + 1)
    return (g.shrink(tuple(box)).stride(tuple(steps)),)


def _shrink(node: Applied, g: LazyBuffer) -> Gradients:
    shape = node.srcs[0].shape
    return (g.pad(tuple((begin, size - end, 0) for size, (begin, end) in zip(shape, node.arg, strict=True))),)


def _stride(node: Applied, g: LazyBuffer) -> Gradients:
    padding = tuple((0, size - ((n - 1) * step + 1) if n else size, step - 1)
                    for size, n, step in zip(node.srcs[0].shape, g.shape, node.arg, strict=True))
    return (g.pad(padding),)


def _window(node: Applied, g: LazyBuffer) -> Gradients:
    """Each element takes its share of every window that reaches it; then the sum over the places in the windows."""
    shape = node.srcs[0].shape
    g, places = overlapped(g, [Overlap(axis, len(shape) + i, stride, dilation, 0, shape[axis])
                               for i, (axis, _, stride, dilation) in enumerate(node.arg)])
    summed = g.reduce(Op.SUM, places)
    summed = summed.reshape(summed.shape[:len(shape)])
    return (summed.shrink(tuple([(0, s) for s in shape])),)


def _gather(node: Applied, g: LazyBuffer) -> Gradients:
    source, *indexes = node.srcs
    return (source.like(0.0).scatter(g, indexes, "add"), *[None] * len(indexes))


def _scatter(node: Applied, g: LazyBuffer) -> Gradients:
    _, value, *indexes = node.srcs
    if node.arg[1] in ("max", "min"):
        base, to_value = _extreme_of_places(node, g)
    elif node.arg[1] == "mul":
        base, to_value = _product_of_places(node, g)
    else:
        base = g if node.arg[1] == "add" else g.scatter(value.like(0.0), indexes, "set")
        to_value = g.gather(indexes)
    return (base, to_value, *[None] * len(indexes))


def _extreme_of_places(node: Applied, g: LazyBuffer) -> tuple[LazyBuffer, LazyBuffer]:
    """All elements that equal the result of a place share its gradient equally."""
    base, value, *indexes = node.srcs
    kept, won = [a.binary(Op.EQ, b).cast(a.dtype) for a, b in ((base, node.out), (value, node.out.gather(indexes)))]
    share = g.binary(Op.DIV, kept.scatter(won, indexes, "add"))
    return kept.binary(Op.MUL, share), won.binary(Op.MUL, share.gather(indexes))


def _product_of_places(node: Applied, g: LazyBuffer) -> tuple[LazyBuffer, LazyBuffer]:
    """The product of the others, without a division by 0: of an element of the base that is 0, and of a value that is
    the only 0 of its place, it is computed without them."""
    base, value, *indexes = node.srcs
    ones = base.binary(Op.EQ, base.like(0.0)).where(base.like(1.0), base)
    to_base = g.binary(Op.MUL, ones.scatter(value, indexes, "mul")).binary(Op.DIV, ones)
    zero = value.binary(Op.EQ, value.like(0.0))
    zeros = base.like(0.0).scatter(zero.cast(value.dtype), indexes, "add").gather(indexes)
    single = zero.binary(Op.AND, zeros.binary(Op.EQ, zeros.like(1.0)))
    without = g.binary(Op.MUL, base.scatter(single.where(value.like(1.0), value), indexes, "mul")).gather(indexes)
    others = g.binary(Op.MUL, node.out).gather(indexes).binary(Op.DIV, zero.where(value.like(1.0), value))
    return to_base, single.where(without, others)


def _assign(node: Applied, g: LazyBuffer) -> Gradients:
    value = g
    for op, arg in node.arg:
        value = value.move(op, arg)
    return g.assign(value.like(0.0), node.arg), value


def _scan(node: Applied, g: LazyBuffer) -> Gradients:
    op, axis = node.arg
    if op == Op.SUM:
        return (g.flip((axis,)).scan(Op.SUM, axis).flip((axis,)),)
    if op == Op.PROD:
        return (running_product_gradient(node.vjp, node.srcs[0], node.out, g, axis),)
    raise NotImplementedError(f"the gradient of a running {op} is not implemented")


def _flat(node: Applied, g: LazyBuffer) -> Gradients:
    """Nothing flows, so that a gradient of this gradient leads nowhere."""
    return (None,) * len(node.srcs)


FLAT = (Op.FLOORDIV, Op.FLOOR, Op.CEIL, Op.TRUNC, Op.ROUND)
"""Ops with steps: nothing flows through them."""

_ROWS = (
    *[GradientRule(op, "0", False, _flat) for op in FLAT],
    GradientRule(Op.ADD, "∂a = g, ∂b = g", False, lambda n, g: (g, g)),
    GradientRule(Op.SUB, "∂a = g, ∂b = -g", False, lambda n, g: (g, g.unary(Op.NEG))),
    GradientRule(Op.MUL, "∂a = g·conj b, ∂b = g·conj a", True, _mul),
    GradientRule(Op.DIV, "∂a = g/conj b, ∂b = -g·conj(a/b²)", True, _div),
    GradientRule(Op.FMA, "∂a = g·b, ∂b = g·a, ∂c = g", True, lambda n, g: (*_mul(n, g), g)),
    GradientRule(Op.POW, "∂a = g·b·a^(b-1), ∂b = g·(a^b·ln a, 0 where a = 0 ≤ b)", True, _pow),
    GradientRule(Op.MOD, "∂a = g, ∂b = -g·(a//b)", True, _mod),
    GradientRule(Op.MAXIMUM, "g to the larger, half to each of equals", True, _extremum),
    GradientRule(Op.MINIMUM, "g to the smaller, half to each of equals", True, _extremum),
    GradientRule(Op.NEG, "-g", False, lambda n, g: (g.unary(Op.NEG),)),
    GradientRule(Op.ABS, "g·sign(a)", True, _abs),
    GradientRule(Op.SQRT, "g/(2·√a)", True, lambda n, g: (g.binary(Op.DIV, _times(n.out, 2.0)),)),
    GradientRule(Op.EXP, "g·eᵃ", True, lambda n, g: (g.binary(Op.MUL, n.out),)),
    GradientRule(Op.LOG, "g/a", True, lambda n, g: (g.binary(Op.DIV, n.srcs[0]),)),
    GradientRule(Op.SIN, "g·cos a", True, lambda n, g: (g.binary(Op.MUL, n.srcs[0].unary(Op.COS)),)),
    GradientRule(Op.COS, "-g·sin a", True, lambda n, g: (g.binary(Op.MUL, n.srcs[0].unary(Op.SIN)).unary(Op.NEG),)),
    GradientRule(Op.TANH, "g·(1 - tanh²a)", True, _tanh),
    GradientRule(Op.ERF, "g·2/√π·exp(-a²)", True, _erf),
    GradientRule(Op.WHERE, "g where chosen, else 0", True, _where),
    GradientRule(Op.CAST, "g in a's type", False, _cast),
    GradientRule(Op.BITCAST, "g read as a's type, between floats and complex numbers", False, _bitcast),
    GradientRule(Op.REAL, "g + 0i", False, lambda n, g: (g.with_imag(_zero(g)),)),
    GradientRule(Op.IMAG, "0 + gi", False, lambda n, g: (_zero(g).with_imag(g),)),
    GradientRule(Op.COMPLEX, "∂a = real part of g, ∂b = imaginary part of g", False, lambda n, g: (g.real(), g.imag())),
    GradientRule(Op.SUM, "g, repeated", False, lambda n, g: (g.expand(n.srcs[0].shape),)),
    GradientRule(Op.PROD, "g·conj(product of the others)", True, _prod),
    GradientRule(Op.MAX, "g, in equal parts to the largest", True, _extreme_of_axis),
    GradientRule(Op.MIN, "g, in equal parts to the smallest", True, _extreme_of_axis),
    GradientRule(Op.RESHAPE, "g in a's shape", False, lambda n, g: (g.reshape(n.srcs[0].shape),)),
    GradientRule(Op.PERMUTE, "g by the inverse permutation", False, _permute),
    GradientRule(Op.EXPAND, "g summed over the repeated axes", False, _expand),
    GradientRule(Op.PAD, "g cut out", False, _pad),
    GradientRule(Op.SHRINK, "g with zeros around", False, _shrink),
    GradientRule(Op.FLIP, "g flipped", False, lambda n, g: (g.flip(n.arg),)),
    GradientRule(Op.STRIDE, "g with zeros between", False, _stride),
    GradientRule(Op.WINDOW, "each g added where its window read", False, _window),
    GradientRule(Op.CONTIGUOUS, "g", False, lambda n, g: (g,)),
    GradientRule(Op.COPY, "g on a's device", False, lambda n, g: (g.copy_to(n.srcs[0].device),)),
    GradientRule(Op.GATHER, "each g added where it was read", True, _gather),
    GradientRule(Op.SCATTER, "set, add: ∂base = g, 0 where set; ∂value = g gathered; else as MAX", True, _scatter),
    GradientRule(Op.ASSIGN, "∂base = g, but 0 in the view; ∂value = the view of g", False, _assign),
    GradientRule(Op.SCAN, "sum: g summed from the end; product: g times the product of the others, so summed", True,
                 _scan),
)
RULES: dict[str, GradientRule] = {row.op: row for row in _ROWS}
SAVES: frozenset[str] = frozenset(op for op, row in RULES.items() if row.saves) | {Op.FUNCTION}
