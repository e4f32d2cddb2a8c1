"""Stage: front. In: a Tensor and dimensions. Out: sums, products, extrema, means, variances, softmax over them,
recorded. No dimension means all. The half types accumulate in float32.
Next: ``movement.py``."""

from __future__ import annotations

import math
from typing import Any

from minigrad.autograd.node import Node, kind
from minigrad.dtype import DType, accumulator, bool_, int64, uint8
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.base import Tensor, both, make, record, record_unary
from minigrad.tensor.operands import dim_index, dim_indices
from minigrad.tensor.promotion import type_name


def without(shape: tuple[int, ...], axes: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    """The shape that is left when ``axes`` are reduced."""
    if keepdim:
        return tuple([1 if i in axes else s for i, s in enumerate(shape)])
    return tuple([s for i, s in enumerate(shape) if i not in axes])


def reduce(x: LazyBuffer, op: str, axes: tuple[int, ...], keepdim: bool) -> LazyBuffer:
    """``op`` over ``axes``, which stay with size 1 only if ``keepdim``."""
    out = x.reduce(op, axes)
    return out if keepdim or not axes else out.reshape(without(x.shape, axes, False))


def sum_values(x: LazyBuffer, axes: tuple[int, ...]) -> LazyBuffer:
    """The sum, with ``axes`` of size 1; half types are added up in float32."""
    wide = accumulator(x.dtype)
    return x.reduce(Op.SUM, axes) if wide is x.dtype else x.cast(wide).reduce(Op.SUM, axes).cast(x.dtype)


def count(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """The number of elements that one result is made of."""
    return math.prod([shape[a] for a in axes])


def named(name: str, saves: str = "") -> tuple[type[Node], type[Node]]:
    return kind(f"{name}Backward0", saves), kind(f"{name}Backward1", saves)


_SUM, _MEAN, _PROD = named("Sum"), named("Mean"), named("Prod", "both")


@both("sum")
def sum_(self: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None,
         axis: Any = None) -> Tensor:
    """The sum over ``dim``. Integers and bools add up in int64.

    >>> import minigrad
    >>> minigrad.tensor([[1, 2], [3, 4]]).sum(), minigrad.tensor([[1, 2], [3, 4]]).sum(1)
    (tensor(10), tensor([3, 7]))
    """
    la = self._read()
    shape = la.shape
    if dim is None and axis is None:
        axes: tuple[int, ...] = tuple(range(len(shape)))
        node = _SUM[0]
    else:
        axes = dim_indices(axis if dim is None else dim, len(shape))
        node = _SUM[1]
    x = la.cast(dtype if dtype is not None else la.dtype if la.dtype.kind == "f" else int64)
    out = sum_values(x, axes)
    return record_unary(node, out if keepdim else out.reshape(without(shape, axes, False)), self, la)


@both("nansum")
def nansum(self: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The sum over ``dim`` with NaN as 0."""
    return self.masked_fill(self.isnan(), 0).sum(dim, keepdim)


@both("mean")
def mean(self: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None,
         axis: Any = None) -> Tensor:
    """The sum over ``dim`` divided by the number of elements; only of floats."""
    la = self._read()
    if dtype is not None:
        la_typed = la.cast(dtype)
    elif la.dtype.kind == "f":
        la_typed = la
    else:
        raise RuntimeError("mean(): could not infer output dtype. Input dtype must be either a floating point or "
                           f"complex dtype. Got: {type_name(la.dtype)}")
    if dim is None:
        dim = axis
    axes = dim_indices(dim, len(la.shape))
    out = mean_values(la_typed, axes)
    return record_unary(_MEAN[dim is not None],
                        out if keepdim else out.reshape(without(la.shape, axes, False)), self, la)


def mean_values(x: LazyBuffer, axes: tuple[int, ...]) -> LazyBuffer:
    """The mean, with ``axes`` of size 1."""
    wide = x.cast(accumulator(x.dtype))
    total = wide.reduce(Op.SUM, axes)
    n = count(x.shape, axes)
    return total.binary(Op.DIV, total.like(float(n))).cast(x.dtype)


@both("nanmean")
def nanmean(self: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The mean over ``dim`` of what is not NaN."""
    return self.nansum(dim, keepdim) / (~self.isnan()).sum(dim, keepdim)


@both("prod")
def prod(self: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The product over one dimension, or of all elements."""
    la = self._read()
    axes = dim_indices(None, len(la.shape)) if dim is None else (dim_index(dim, len(la.shape)),)[:len(la.shape)]
    x = la.cast(dtype if dtype is not None else la.dtype if la.dtype.kind == "f" else int64)
    wide = x.cast(accumulator(x.dtype))
    return record_unary(_PROD[dim is not None], reduce(wide, Op.PROD, axes, keepdim).cast(x.dtype), self, la)


# --- variance


_VAR, _STD = kind("VarBackward0", "inputs"), kind("StdBackward0", "both")
_VAR_MEAN, _STD_MEAN = kind("VarMeanBackward0", "inputs"), kind("StdMeanBackward0", "inputs")


def _variance(self: Tensor, dim: Any, unbiased: Any, keepdim: bool, correction: Any,
              name: str) -> tuple[LazyBuffer, LazyBuffer, LazyBuffer]:
    """What was read, the variance and the mean, over the dimensions asked for."""
    la = self._read()
    if la.dtype.kind != "f":
        raise RuntimeError(f"{'std and var' if name in ('std', 'var') else name} only support floating point and "
                           "complex dtypes")
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    axes = dim_indices(dim, len(la.shape))
    x = la.cast(accumulator(la.dtype))
    middle = x.reduce(Op.SUM, axes)
    n = count(x.shape, axes)
    middle = middle.binary(Op.DIV, middle.like(float(n)))
    centred = x.binary(Op.SUB, middle.expand(x.shape))
    total = centred.binary(Op.MUL, centred).reduce(Op.SUM, axes)
    variance = total.binary(Op.DIV, total.like(float(max(0.0, n - correction))))
    shape = without(x.shape, axes, keepdim)
    return la, variance.reshape(shape), middle.reshape(shape)


def _split_unbiased(dim: Any, unbiased: Any) -> tuple[Any, Any]:
    """``x.var(False)`` means unbiased=False, as in PyTorch."""
    return (None, dim) if isinstance(dim, bool) else (dim, unbiased)


@both("var")
def var(self: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
        correction: float | None = None) -> Tensor:
    """The mean squared distance from the mean, divided by n - correction instead of n; correction is 1 by default.

    >>> import minigrad
    >>> minigrad.tensor([1.0, 3.0]).var(), minigrad.tensor([1.0, 3.0]).var(correction=0)
    (tensor(2.), tensor(1.))
    """
    dim, unbiased = _split_unbiased(dim, unbiased)
    la, out, _ = _variance(self, dim, unbiased, keepdim, correction, "var")
    return record_unary(_VAR, out.cast(la.dtype), self, la)


@both("std")
def std(self: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
        correction: float | None = None) -> Tensor:
    """The square root of ``var``."""
    dim, unbiased = _split_unbiased(dim, unbiased)
    la, out, _ = _variance(self, dim, unbiased, keepdim, correction, "std")
    return record_unary(_STD, out.unary(Op.SQRT).cast(la.dtype), self, la)


@both("var_mean")
def var_mean(self: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
             correction: float | None = None) -> tuple[Tensor, Tensor]:
    """``var`` and ``mean``."""
    dim, unbiased = _split_unbiased(dim, unbiased)
    la, out, middle = _variance(self, dim, unbiased, keepdim, correction, "var_mean")
    first, second = record(_VAR_MEAN, (out.cast(la.dtype), middle.cast(la.dtype)), (self,), (la,))
    return first, second


@both("std_mean")
def std_mean(self: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
             correction: float | None = None) -> tuple[Tensor, Tensor]:
    """``std`` and ``mean``."""
    dim, unbiased = _split_unbiased(dim, unbiased)
    la, out, middle = _variance(self, dim, unbiased, keepdim, correction, "std_mean")
    first, second = record(_STD_MEAN, (out.unary(Op.SQRT).cast(la.dtype), middle.cast(la.dtype)), (self,), (la,))
    return first, second


# --- questions


def _quantifier(name: str, op: str, doc: str) -> None:
    def over(self: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
        la = self._read()
        axes = dim_indices(dim, len(la.shape))
        out = reduce(la.cast(bool_), op, axes, keepdim)
        return make(out.cast(uint8) if la.dtype is uint8 else out)

    over.__doc__ = doc
    both(name)(over)


_quantifier("any", Op.MAX, "Whether an element over ``dim`` is not 0.")
_quantifier("all", Op.MIN, "Whether no element over ``dim`` is 0.")


@both("count_nonzero")
def count_nonzero(self: Tensor, dim: Any = None) -> Tensor:
    """How many elements over ``dim`` are not 0."""
    return self.ne(0).sum(dim)
