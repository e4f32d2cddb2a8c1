"""Stage: gradients. In: the operand of a product, or of a running one, and the gradient g of the result, or the tangent
of the operand. Out: the operand's gradient or the result's tangent, in which zeros count as what they are. Its value is
computed quickly; its own derivatives are those of a longer expression, in which no element is divided by.
Next: ``rules.py``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from minigrad.dtype import accumulator, int64
from minigrad.graph.function import Subgraph, call, param
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op

VJP = Callable[[Sequence[LazyBuffer], Sequence[LazyBuffer | None], Sequence[LazyBuffer], Sequence[bool]],
               list[LazyBuffer | None]]
Expression = Callable[..., LazyBuffer]


def with_derivative_of(vjp: VJP, name: str, quick: Expression, exact: Expression, *values: LazyBuffer) -> LazyBuffer:
    """``quick(*values)``, whose gradient is that of ``exact(*values)``: the same value by another expression."""

    def gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                 grads: Sequence[LazyBuffer | None]) -> list[LazyBuffer | None]:
        return vjp([exact(*inputs)], grads, inputs, [v.dtype.kind in "fc" for v in inputs])

    params = [param(i, v.shape, v.dtype, v.device) for i, v in enumerate(values)]
    return call(Subgraph(name, params, [quick(*params)], gradient), values)[0]


def product_gradient(vjp: VJP, a: LazyBuffer, out: LazyBuffer, g: LazyBuffer, axes: tuple[int, ...]) -> LazyBuffer:
    """g times the product of the other elements."""

    def quick(a: LazyBuffer, out: LazyBuffer, g: LazyBuffer) -> LazyBuffer:
        """The result divided by the element; if any element of all rows is 0, as PyTorch has it, what the others give
        by their number of zeros and infinities."""
        others, some_zero = _others(a, axes)
        return g.binary(Op.MUL, some_zero.where(others, out.binary(Op.DIV, a)))

    def exact(a: LazyBuffer, out: LazyBuffer, g: LazyBuffer) -> LazyBuffer:
        """The product of those before the element times the product of those after it."""
        kept = tuple([i for i in range(len(a.shape)) if i not in axes])
        order = kept + axes
        turned = a.permute(order)
        size = math.prod([a.shape[i] for i in axes])
        row = turned.reshape((*[a.shape[i] for i in kept], size))
        last = len(kept)
        before = _ones_first(row.scan(Op.PROD, last), last)
        after = _ones_first(row.flip((last,)).scan(Op.PROD, last), last).flip((last,))
        inverse = tuple([order.index(i) for i in range(len(order))])
        return g.binary(Op.MUL, before.binary(Op.MUL, after).reshape(turned.shape).permute(inverse))

    operands = a.conj(), out.conj().expand(a.shape), g.expand(a.shape)
    return with_derivative_of(vjp, "prod_gradient", quick, exact, *operands)


def _others(a: LazyBuffer, axes: tuple[int, ...]) -> tuple[LazyBuffer, LazyBuffer]:
    """For each element the product of the others in its row, and whether any element at all is 0. Of complex numbers
    an infinite one counts as NaN: its parts say no more."""

    def elsewhere(chosen: LazyBuffer) -> LazyBuffer:
        numbers = chosen.cast(int64)
        return numbers.reduce(Op.SUM, axes).expand(a.shape).binary(Op.SUB, numbers)

    def some(count: LazyBuffer) -> LazyBuffer:
        return count.like(0).binary(Op.LT, count)

    zero, one = a.like(0.0), a.like(1.0)
    is_zero, is_number = a.binary(Op.EQ, zero), a.binary(Op.EQ, a)
    is_finite = a.binary(Op.MUL, zero).binary(Op.EQ, zero)
    ordinary = is_zero.where(one, is_finite.where(a, one))
    others = ordinary.reduce(Op.PROD, axes).expand(a.shape).binary(Op.DIV, ordinary)
    zeros = some(elsewhere(is_zero))
    if a.dtype.kind == "c":
        unknown = some(elsewhere(is_finite.unary(Op.NOT)))
        found = zeros.where(zero, others)
    else:
        infinite = some(elsewhere(is_number.binary(Op.AND, is_finite.unary(Op.NOT))))
        turned = elsewhere(a.binary(Op.EQ, a.like(-math.inf)))
        odd = turned.binary(Op.AND, turned.like(1)).binary(Op.EQ, turned.like(1))
        endless = others.binary(Op.MUL, odd.where(a.like(-math.inf), a.like(math.inf)))
        unknown = some(elsewhere(is_number.unary(Op.NOT))).binary(Op.OR, zeros.binary(Op.AND, infinite))
        found = zeros.where(zero, infinite.where(endless, others))
    every = tuple(range(len(a.shape)))
    return unknown.where(a.like(math.nan), found), is_zero.reduce(Op.MAX, every).expand(a.shape)


def running_product_gradient(vjp: VJP, a: LazyBuffer, out: LazyBuffer, g: LazyBuffer, axis: int) -> LazyBuffer:
    """The sum over j >= k of g[j] times the product of all a[i], i <= j, but a[k]."""
    if a.shape[axis] < 2 or not a.size:
        return g

    def quick(a: LazyBuffer, out: LazyBuffer, g: LazyBuffer) -> LazyBuffer:
        """Before the first 0 the sum of g[j] out[j] divided by a[k]; there the result before it times the sum of g[j]
        times the product of what is between; then 0. What comes after the first 0, or after the second, is left out: an
        infinite product there would make NaN of 0. One between the two does so: the second 0 is one of its factors."""
        zero, one = a.like(0.0), a.like(1.0)
        before, first, between = _zeros_so_far(a, axis)
        after = _scan(first.where(one, between.where(a, one)), Op.PROD, axis)
        plain = _from_the_end(before.where(g.binary(Op.MUL, out), zero), axis).binary(Op.DIV, before.where(a, one))
        there = _from_the_end(between.where(g, zero).binary(Op.MUL, after), axis)
        return before.where(plain, first.where(there.binary(Op.MUL, _ones_first(out, axis)), zero))

    def exact(a: LazyBuffer, out: LazyBuffer, g: LazyBuffer) -> LazyBuffer:
        """For each k the running product with a 1 in the place of a[k]."""
        square = _Square(a, axis)
        return square.total(square.rows(g).binary(Op.MUL, square.without()), 1)

    return with_derivative_of(vjp, "running_product_gradient", quick, exact, a.conj(), out.conj(), g)


def running_product_tangent(vjp: VJP, a: LazyBuffer, out: LazyBuffer, t: LazyBuffer, axis: int) -> LazyBuffer:
    """The sum over k <= j of t[k] times the product of all a[i], i <= j, but a[k]."""

    def quick(a: LazyBuffer, out: LazyBuffer, t: LazyBuffer) -> LazyBuffer:
        """Before the first 0 out[j] times the sum of t[k] / a[k]; from there on t at the 0 times the product of the
        others."""
        zero, one = a.like(0.0), a.like(1.0)
        before, first, _ = _zeros_so_far(a, axis)
        plain = before.where(t, zero).binary(Op.DIV, before.where(a, one)).scan(Op.SUM, axis).binary(Op.MUL, out)
        others = _scan(first.where(one, a), Op.PROD, axis)
        return before.where(plain, first.where(t, zero).scan(Op.SUM, axis).binary(Op.MUL, others))

    def exact(a: LazyBuffer, out: LazyBuffer, t: LazyBuffer) -> LazyBuffer:
        """For each k the running product with a 1 in the place of a[k]."""
        square = _Square(a, axis)
        return square.total(square.columns(t).binary(Op.MUL, square.without()), 0)

    return with_derivative_of(vjp, "running_product_tangent", quick, exact, a, out, t)


class _Square:
    """Pairs (k, j) of places along an axis of ``a``, as two last axes; each sum is over k <= j."""

    def __init__(self, a: LazyBuffer, axis: int) -> None:
        self.a, self.last = a, len(a.shape)
        self.order = tuple([i for i in range(self.last) if i != axis] + [axis])
        self.shape = tuple([a.shape[i] for i in self.order])
        square = (*self.shape, a.shape[axis])
        self.k, self.j = [LazyBuffer.index(square, i, a.device) for i in (self.last - 1, self.last)]

    def rows(self, x: LazyBuffer) -> LazyBuffer:
        """x[j] at (k, j)."""
        n = self.shape[-1]
        return x.permute(self.order).reshape((*self.shape[:-1], 1, n)).expand((*self.shape, n))

    def columns(self, x: LazyBuffer) -> LazyBuffer:
        """x[k] at (k, j)."""
        return x.permute(self.order).reshape((*self.shape, 1)).expand((*self.shape, self.shape[-1]))

    def without(self) -> LazyBuffer:
        """The product of all a[i], i <= j, but a[k], at (k, j)."""
        terms = self.rows(self.a)
        return _scan(self.k.binary(Op.EQ, self.j).where(terms.like(1.0), terms), Op.PROD, self.last)

    def total(self, x: LazyBuffer, over: int) -> LazyBuffer:
        """The sum over k (0) or j (1), in the order of axes of ``a``."""
        kept = self.j.binary(Op.LT, self.k).where(x.like(0.0), x).reduce(Op.SUM, (self.last - 1 + over,))
        return kept.reshape(self.shape).permute(tuple([self.order.index(i) for i in range(self.last)]))


def _zeros_so_far(a: LazyBuffer, axis: int) -> tuple[LazyBuffer, LazyBuffer, LazyBuffer]:
    """Along an axis: which elements have no 0 before them and are none, which is the first 0, and which stand between
    it, included, and the second."""
    is_zero = a.binary(Op.EQ, a.like(0.0))
    zeros = is_zero.cast(int64).scan(Op.SUM, axis)
    between = zeros.binary(Op.EQ, zeros.like(1))
    return zeros.binary(Op.EQ, zeros.like(0)), between.binary(Op.AND, is_zero), between


def _from_the_end(x: LazyBuffer, axis: int) -> LazyBuffer:
    return _scan(x.flip((axis,)), Op.SUM, axis).flip((axis,))


def _scan(x: LazyBuffer, op: str, axis: int) -> LazyBuffer:
    """In half types each result is rounded, what leads from one to the next is not."""
    return x.cast(accumulator(x.dtype)).scan(op, axis).cast(x.dtype)


def _ones_first(x: LazyBuffer, axis: int) -> LazyBuffer:
    """Moved by one place along the axis, with 1 at its start."""
    n = x.shape[axis]
    moved = x.pad(tuple([(1, 0, 0) if i == axis else (0, 0, 0) for i in range(len(x.shape))]))
    moved = moved.shrink(tuple([(0, n) if i == axis else (0, s) for i, s in enumerate(x.shape)]))
    start = LazyBuffer.index(x.shape, axis, x.device)
    return start.binary(Op.EQ, start.like(0)).where(moved.like(1.0), moved)
