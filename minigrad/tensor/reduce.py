"""Stage: front. In: a Tensor and dimensions. Out: sums, products, extrema, means, variances, softmax over them, recorded.
No dimension means all. The half types accumulate in float32.
Next: ``movement.py``."""

from __future__ import annotations

import math
from typing import Any

from minigrad.autograd.node import Node, kind
from minigrad.dtype import DType, accumulator, bool_, int64, uint8
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor import return_types
from minigrad.tensor.base import Tensor, both, make, record, record_unary, twin
from minigrad.tensor.operands import dim_index, dim_indices
from minigrad.tensor.promotion import floating, type_name


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


def _named(name: str, saves: str = "") -> tuple[type[Node], type[Node]]:
    return kind(f"{name}Backward0", saves), kind(f"{name}Backward1", saves)


_SUM, _MEAN, _PROD = _named("Sum"), _named("Mean"), _named("Prod", "both")


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
        raise RuntimeError(f"{name} only support floating point and complex dtypes")
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


# --- extrema


_MAX, _MIN = _named("Max", "both"), _named("Min", "both")
_AMAX, _AMIN = kind("AmaxBackward0", "both"), kind("AminBackward0", "both")


def _check_not_empty(shape: tuple[int, ...], axes: tuple[int, ...], name: str, all_dims: bool) -> None:
    if all_dims:
        if 0 in shape:
            raise RuntimeError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
                               "reduction dim with the 'dim' argument.")
        return
    for axis in axes:
        if shape and shape[axis] == 0:
            raise IndexError(f"{name}(): Expected reduction dim {axis} to have non-zero size.")


def first_where(mask: LazyBuffer, axis: int) -> LazyBuffer:
    """The first coordinate along ``axis`` at which the mask holds; the axis keeps size 1."""
    index = LazyBuffer.index(mask.shape, axis, mask.device)
    return mask.where(index, index.like(max(mask.shape[axis], 1) - 1)).reduce(Op.MIN, (axis,))


def extreme_index(x: LazyBuffer, out: LazyBuffer, axis: int) -> LazyBuffer:
    """Where along ``axis`` the extremum ``out`` of x stands: the first place of several, and the first NaN."""
    mask = x.binary(Op.EQ, out.expand(x.shape))
    if x.dtype.kind == "f":
        mask = mask.binary(Op.OR, x.binary(Op.EQ, x).unary(Op.NOT))
    return first_where(mask, axis)


def _extreme_along(self: Tensor, dim: int, keepdim: bool, op: str, node: type[Node],
                   result: type[return_types.ReturnType]) -> return_types.ReturnType:
    """Values and indices. The gradient goes to the indexed elements."""
    la = self._read()
    axis = dim_index(dim, len(la.shape))
    if not la.shape:
        zero = LazyBuffer.const(0, int64, (), la.device)
        return result(*record(node, (la.contiguous(), zero), (self,), (la,)))
    _check_not_empty(la.shape, (axis,), result.__name__, False)
    out = la.reduce(op, (axis,))
    index = extreme_index(la, out, axis)
    shape = without(la.shape, (axis,), keepdim)
    values = out.reshape(shape)
    structure = None
    if la.dtype.kind == "f":
        chosen = LazyBuffer.index(la.shape, axis, la.device).binary(Op.EQ, index.expand(la.shape))
        only = chosen.where(la, la.like(0)).reduce(Op.SUM, (axis,))
        if values is out:  # the mask reads ``out``, so what is differentiated instead needs a node of its own
            values = twin(out)
        structure = {values: (Op.RESHAPE, (only,), shape)}
    return result(*record(node, (values, index.reshape(shape)), (self,), (la,), structure=structure))


def _extreme(self: Tensor, dim: Any, keepdim: bool, other: Any, name: str) -> Any:
    op, nodes = (Op.MAX, _MAX) if name == "max" else (Op.MIN, _MIN)
    if isinstance(dim, Tensor) or other is not None:
        pair = dim if other is None else other
        return self.maximum(pair) if name == "max" else self.minimum(pair)
    if dim is not None:
        return _extreme_along(self, dim, keepdim, op, nodes[0], getattr(return_types, name))
    la = self._read()
    axes = tuple(range(len(la.shape)))
    _check_not_empty(la.shape, axes, name, True)
    return record_unary(nodes[1], reduce(la, op, axes, False) if axes else la.contiguous(), self, la)


@both("max")
def max_(self: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The largest element, NaN if there is one; with ``dim`` the named tuple ``(values, indices)`` along it; with a
    Tensor the larger of each pair.

    >>> import minigrad
    >>> minigrad.tensor([[1, 5], [7, 2]]).max(1)
    minigrad.return_types.max(
    values=tensor([5, 7]),
    indices=tensor([1, 0]))
    """
    return _extreme(self, dim, keepdim, other, "max")


@both("min")
def min_(self: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The smallest element, NaN if there is one; with ``dim`` the named tuple ``(values, indices)`` along it."""
    return _extreme(self, dim, keepdim, other, "min")


@both("amax")
def amax(self: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The largest element over ``dim``; equal ones share the gradient."""
    la = self._read()
    axes = dim_indices(dim, len(la.shape))
    _check_not_empty(la.shape, axes, "amax", dim == ())
    return record_unary(_AMAX, reduce(la, Op.MAX, axes, keepdim), self, la)


@both("amin")
def amin(self: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The smallest element over ``dim``; equal ones share the gradient."""
    la = self._read()
    axes = dim_indices(dim, len(la.shape))
    _check_not_empty(la.shape, axes, "amin", dim == ())
    return record_unary(_AMIN, reduce(la, Op.MIN, axes, keepdim), self, la)


@both("aminmax")
def aminmax(self: Tensor, *, dim: int | None = None, keepdim: bool = False) -> return_types.ReturnType:
    """``(min, max)`` over ``dim``."""
    over = () if dim is None else dim
    return return_types.aminmax(self.amin(over, keepdim), self.amax(over, keepdim))


def _argument(self: Tensor, dim: Any, keepdim: bool, op: str, name: str) -> Tensor:
    la = self._read()
    if la.dtype is bool_:
        la = la.cast(uint8)
    if dim is None:
        if 0 in la.shape:
            raise IndexError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0.")
        flat = la.reshape((math.prod(la.shape),))
        index = extreme_index(flat, flat.reduce(op, (0,)), 0)
        return make(index.reshape((1,) * len(la.shape) if keepdim else ()))
    axis = dim_index(dim, len(la.shape))
    if not la.shape:
        return make(LazyBuffer.const(0, int64, (), la.device))
    _check_not_empty(la.shape, (axis,), name, False)
    index = extreme_index(la, la.reduce(op, (axis,)), axis)
    return make(index.reshape(without(la.shape, (axis,), keepdim)))


@both("argmax")
def argmax(self: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the first largest element along ``dim``, or in the flattened tensor; the first NaN wins.

    >>> import minigrad
    >>> minigrad.tensor([[1, 5], [7, 2]]).argmax(), minigrad.tensor([[1, 5], [7, 2]]).argmax(1)
    (tensor(2), tensor([1, 0]))
    """
    return _argument(self, dim, keepdim, Op.MAX, "argmax")


@both("argmin")
def argmin(self: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the first smallest element along ``dim``, or in the flattened tensor; the first NaN wins."""
    return _argument(self, dim, keepdim, Op.MIN, "argmin")


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


# --- exponentials


_SOFTMAX, _LOG_SOFTMAX = kind("SoftmaxBackward0", "inputs"), kind("LogSoftmaxBackward0", "inputs")
_LOGSUMEXP = kind("LogsumexpBackward0", "inputs")


def _shifted(self: Tensor, dim: Any, dtype: DType | None, name: str) -> tuple[LazyBuffer, LazyBuffer, LazyBuffer, Any]:
    """What was read, the values minus their maximum along ``dim``, that maximum, and the axes."""
    la = self._read()
    if dtype is None and la.dtype.kind != "f":
        raise RuntimeError(f"\"{name}_lastdim_kernel_impl\" not implemented for '{type_name(la.dtype)}'")
    if dim is None:
        dim = 0 if len(la.shape) in (0, 1, 3) else 1
    axes = dim_indices(dim_index(dim, len(la.shape)), len(la.shape))
    x = la.cast(la.dtype if dtype is None else dtype)
    wide = x.cast(accumulator(x.dtype))
    top = wide.reduce(Op.MAX, axes)
    return la, wide.binary(Op.SUB, top.expand(wide.shape)), top, (axes, x.dtype)


@both("softmax")
def softmax(self: Tensor, dim: int | None = None, dtype: DType | None = None, _stacklevel: int = 3) -> Tensor:
    """exp(self) / sum(exp(self)) along ``dim``.

    >>> import minigrad
    >>> minigrad.tensor([0.0, 0.0]).softmax(0)
    tensor([0.5000, 0.5000])
    """
    la, shifted, top, (axes, out_dtype) = _shifted(self, dim, dtype, "softmax")
    exp = shifted.unary(Op.EXP)
    out = exp.binary(Op.DIV, exp.reduce(Op.SUM, axes).expand(exp.shape)).cast(out_dtype)
    return record(_SOFTMAX, (out,), (self,), (la,), stops=(top,))[0]


@both("log_softmax")
def log_softmax(self: Tensor, dim: int | None = None, dtype: DType | None = None, _stacklevel: int = 3) -> Tensor:
    """log(softmax(self)) along ``dim``, without overflow."""
    la, shifted, top, (axes, out_dtype) = _shifted(self, dim, dtype, "log_softmax")
    total = shifted.unary(Op.EXP).reduce(Op.SUM, axes).unary(Op.LOG)
    out = shifted.binary(Op.SUB, total.expand(shifted.shape)).cast(out_dtype)
    return record(_LOG_SOFTMAX, (out,), (self,), (la,), stops=(top,))[0]


@both("logsumexp")
def logsumexp(self: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """log(sum(exp(self))) over ``dim``, without overflow; -inf where all are -inf."""
    la = self._read()
    x = la.cast(floating(la.dtype))
    axes = dim_indices(dim, len(x.shape))
    wide = x.cast(accumulator(x.dtype))
    top = wide.reduce(Op.MAX, axes)
    finite = top.unary(Op.ABS).binary(Op.LT, top.like(math.inf)).where(top, top.like(0.0))
    total = wide.binary(Op.SUB, finite.expand(wide.shape)).unary(Op.EXP).reduce(Op.SUM, axes)
    out = total.unary(Op.LOG).binary(Op.ADD, finite).reshape(without(x.shape, axes, keepdim)).cast(x.dtype)
    return record(_LOGSUMEXP, (out,), (self,), (la,), stops=(finite,))[0]


@both("softmin")
def softmin(self: Tensor, dim: int | None = None, dtype: DType | None = None) -> Tensor:
    """softmax(-self)."""
    return (-self).softmax(dim, dtype)


# --- norms


@both("norm")
def norm(self: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """(sum |x|^p)^(1/p) over ``dim``; ``"fro"`` is p = 2, infinities give the extrema of |x|, 0 counts nonzeros."""
    x = self if dtype is None else self.to(dtype)
    if x.dtype.kind != "f":
        raise RuntimeError("linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
                           f"{type_name(x.dtype)}")
    over = () if dim is None else dim
    if p is None or p == "fro" or p == 2:
        return _euclidean(x, over, keepdim)
    if p == math.inf:
        return x.abs().amax(over, keepdim)
    if p == -math.inf:
        return x.abs().amin(over, keepdim)
    if p == 0:
        return (x != 0).to(x.dtype).sum(over, keepdim)
    if p == 1:
        return x.abs().sum(over, keepdim)
    return x.abs().pow(p).sum(over, keepdim).pow(1.0 / p)


_NORM = kind("LinalgVectorNormBackward0", "both")


def _euclidean(self: Tensor, dim: Any, keepdim: bool) -> Tensor:
    """Differentiated with slope 0 at 0, where the square root alone would give NaN."""
    la = self._read()
    axes = dim_indices(dim, len(la.shape))
    wide = la.cast(accumulator(la.dtype))
    total = wide.binary(Op.MUL, wide).reduce(Op.SUM, axes)
    zero = total.like(0.0)
    nothing = total.binary(Op.EQ, zero)
    out = nothing.where(zero, nothing.where(total.like(1.0), total).unary(Op.SQRT))
    return record_unary(_NORM, out.reshape(without(la.shape, axes, keepdim)).cast(la.dtype), self, la)


# --- running


_CUMSUM, _CUMPROD = kind("CumsumBackward0"), kind("CumprodBackward0", "both")


def _running(self: Tensor, dim: int, dtype: DType | None, op: str, node: type[Node]) -> Tensor:
    la = self._read()
    axis = dim_index(dim, len(la.shape))
    x = la.cast(dtype if dtype is not None else la.dtype if la.dtype.kind == "f" else int64)
    if not x.shape:
        return record_unary(node, x.contiguous(), self, la)
    return record_unary(node, x.cast(accumulator(x.dtype)).scan(op, axis).cast(x.dtype), self, la)


@both("cumsum")
def cumsum(self: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """The running sum along ``dim``.

    >>> import minigrad
    >>> minigrad.tensor([1, 2, 3]).cumsum(0)
    tensor([1, 3, 6])
    """
    return _running(self, dim, dtype, Op.SUM, _CUMSUM)


@both("cumprod")
def cumprod(self: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """The running product along ``dim``."""
    return _running(self, dim, dtype, Op.PROD, _CUMPROD)


def _running_extreme(self: Tensor, dim: int, op: str, result: type[return_types.ReturnType]) -> Any:
    """The running extremum, and the last index at which it was reached."""
    la = self._read()
    axis = dim_index(dim, len(la.shape))
    if not la.shape:
        return result(self.clone(), make(LazyBuffer.const(0, int64, (), la.device)))
    values = la.scan(op, axis)
    index = LazyBuffer.index(la.shape, axis, la.device)
    reached = la.binary(Op.EQ, values)
    if la.dtype.kind == "f":
        reached = reached.binary(Op.OR, la.binary(Op.EQ, la).unary(Op.NOT))
    indices = make(reached.where(index, index.like(0)).scan(Op.MAX, axis))
    return result(self.gather(axis, indices), indices)


@both("cummax")
def cummax(self: Tensor, dim: int) -> return_types.ReturnType:
    """``(values, indices)`` of the running maximum along ``dim``."""
    return _running_extreme(self, dim, Op.MAX, return_types.cummax)


@both("cummin")
def cummin(self: Tensor, dim: int) -> return_types.ReturnType:
    """``(values, indices)`` of the running minimum along ``dim``."""
    return _running_extreme(self, dim, Op.MIN, return_types.cummin)


@both("logcumsumexp")
def logcumsumexp(self: Tensor, dim: int) -> Tensor:
    """log of the running sum of exp(self) along ``dim``."""
    top = self.detach().amax(dim, keepdim=True)
    return (self - top).exp().cumsum(dim).log() + top


