"""Stage: front. In: pairs of vectors. Out: the formulas of how far apart they are.
Next: ``sparse.py``."""

from __future__ import annotations

import math

from minigrad.autograd.keeps import OWN
from minigrad.autograd.node import Ending, kind
from minigrad.graph.lazy import LazyBuffer
from minigrad.nn.composites.precision import narrow, wide
from minigrad.ops import Op
from minigrad.tensor import Tensor, composite, where
from minigrad.tensor.extrema import largest_size
from minigrad.tensor.function import Function


def length(x: Tensor, axis: int, p: float, keepdim: bool = False) -> Tensor:
    """(sum |x|^p)^(1/p) along an axis, with slope 0 where x or the sum is 0. That of one number is its size, though a
    power of it may overflow."""
    if p == 0:
        return (x != 0).to(x.dtype.part).sum(axis, keepdim)
    size = x.abs()
    if x.ndim == 0 or x.shape[axis] == 1:
        return size if keepdim else size.squeeze(axis)
    if p == math.inf:
        return size.amax(axis, keepdim)
    if p == 1:
        return size.sum(axis, keepdim)
    if p == 2:
        square = x.real * x.real + x.imag * x.imag if x.is_complex() else x * x
        return _root(square.sum(axis, keepdim), 0.5)
    nothing = size == 0
    return _root(where(nothing, 0.0, where(nothing, 1.0, size) ** p).sum(axis, keepdim), 1 / p)


def _root(total: Tensor, exponent: float) -> Tensor:
    """total^exponent, and 0 with slope 0 where the total is not above 0."""
    nothing = total <= 0
    return where(nothing, 0.0, where(nothing, 1.0, total) ** exponent)


@composite(node="NormBackward1", keeps=((OWN,),) * 2)
def pairwise_distance(x1: Tensor, x2: Tensor, *, p: float, eps: float, keepdim: bool) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last dimension."""
    (x1, x2), dtype = wide(x1, x2)
    difference = x1 - x2 + eps
    return narrow(length(difference, -1, p, keepdim) if difference.ndim else difference.abs(), dtype)


@composite
def count_of_differences(x1: Tensor, x2: Tensor, *, eps: float, keepdim: bool) -> Tensor:
    """The number of elements of x1 - x2 + eps along the last dimension that are not 0: its norm of order 0. PyTorch
    gives it no gradient, not one of zeros."""
    (x1, x2), dtype = wide(x1, x2)
    difference = x1 - x2 + eps
    vectors = difference if difference.ndim else difference[None]
    return narrow(length(vectors, -1, 0, keepdim and difference.ndim > 0), dtype)


count_of_differences.recorded.node = kind("NormBackward1", Ending)  # type: ignore[attr-defined]


@composite(node="SumBackward1", keeps=((0, OWN), (1, OWN)))
def cosine_similarity(x1: Tensor, x2: Tensor, *, dim: int, eps: float) -> Tensor:
    """x1 . x2 / (|x1| |x2|) along ``dim``, with lengths of at least eps; they are numbers of x's type: in float16 1e-8
    is 0."""
    wider, dtype = wide(x1, x2)
    one, two = (x / _AT_LEAST((narrow(length(w, dim, 2, True), dtype),), (eps,))
                for x, w in zip((x1, x2), wider, strict=True))
    return (one * two).sum(dim)


def _at_least(size: LazyBuffer, least: float) -> LazyBuffer:
    return size.binary(Op.MAXIMUM, size.like(least))


_AT_LEAST = Function("clamp_min", _at_least, "ClampMinBackward0", lambda inputs, outputs, grads, least: (grads[0],),
                     ahead=True)
"""A length of at least so much, whose slope is that of the length, as in PyTorch, but for forward mode."""


def _between(difference: Tensor, p: float, nan: bool) -> Tensor:
    """The p-norm along the last dimension, of cdist and pdist: with p = 0 NaN counts as NaN; with p = inf elements of
    one size have the whole slope each, and NaN does not count without ``nan``. NaN has the slope NaN, and so have its
    neighbours where the formula of PyTorch divides by the norm, zeros included."""
    if p == 0:
        return where(difference == difference, (difference != 0).to(difference.dtype), math.nan).sum(-1)
    if p == math.inf:
        return largest_size(difference, nan)
    if p == 2:
        return _root((difference * difference).sum(-1), 0.5)
    size = difference.abs()
    if p == 1:
        known = difference == difference
        return where(known, size, difference * where(known, 0.0, math.nan)).sum(-1)
    nothing = difference == 0
    zeros = difference * 0.0 if p > 1 else 0.0
    return _root(where(nothing, zeros, where(nothing, 1.0, size) ** p).sum(-1), 1 / p)


@composite
def pdist(x: Tensor, first: Tensor, second: Tensor, *, p: float) -> Tensor:
    """The p-norms of x[first] - x[second]."""
    return _between(x[first] - x[second], p, True)


@composite
def cdist(x1: Tensor, x2: Tensor, *, p: float, by_product: bool) -> Tensor:
    """The p-norms of the differences of every row of x1 (..., P, M) and every row of x2 (..., R, M): (..., P, R).

    ``by_product``: |a|^2 + |b|^2 - 2 a . b instead of |a - b|^2, a matrix product.
    """
    if by_product:
        squares = (x1 * x1).sum(-1, keepdim=True) + (x2 * x2).sum(-1, keepdim=True).mT
        return _root(squares - 2 * (x1 @ x2.mT), 0.5)
    return _between(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, False)
