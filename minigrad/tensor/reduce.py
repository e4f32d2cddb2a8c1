"""Stage: front. In: a Tensor and dimensions. Out: sums, products, means, variances over them, recorded. No
dimension means all. The half types accumulate in float32.
Next: ``return_types.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from minigrad.autograd.keeps import COMPARED
from minigrad.autograd.node import kind
from minigrad.dtype import DType, accumulator, bool_, int64, uint8
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.arguments import no_overload, only_beside
from minigrad.tensor.autocast import operands_of
from minigrad.tensor.definition import both
from minigrad.tensor.function import Function
from minigrad.tensor.functions import double
from minigrad.tensor.movement import shape_argument
from minigrad.tensor.operands import converted, dim_index, dim_indices, not_for, not_for_complex, require_tracked
from minigrad.tensor.promotion import dtype_argument, type_name

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


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


def named(name: str, compute: Callable[..., Any], title: str = "") -> tuple[Function, Function]:
    """A Function over all dimensions and one over those named, which PyTorch tells apart on the tape."""
    title = title or name.capitalize()
    return Function(name, compute, f"{title}Backward0"), Function(name, compute, f"{title}Backward1")


def _sum(x: LazyBuffer, dtype: DType, axes: tuple[int, ...], keepdim: bool) -> LazyBuffer:
    out = sum_values(converted(x, dtype), axes)
    return out if keepdim else out.reshape(without(x.shape, axes, False))


def _nansum(x: LazyBuffer, dtype: DType, axes: tuple[int, ...], keepdim: bool) -> LazyBuffer:
    return _sum(x.binary(Op.EQ, x).where(x, x.like(0.0)), dtype, axes, keepdim)


def _nansum_gradient(inputs: Any, outputs: Any, grads: Any, dtype: DType, axes: tuple[int, ...],
                     keepdim: bool) -> tuple[LazyBuffer]:
    """g, and g·0 where x is NaN."""
    x, g = inputs[0], grads[0].cast(inputs[0].dtype).reshape(without(inputs[0].shape, axes, True))
    return (g.expand(x.shape).binary(Op.MUL, x.binary(Op.EQ, x).cast(x.dtype)),)


def _prod(x: LazyBuffer, dtype: DType, axes: tuple[int, ...], keepdim: bool) -> LazyBuffer:
    return reduce(converted(x, dtype).cast(accumulator(dtype)), Op.PROD, axes, keepdim).cast(dtype)


def _mean(x: LazyBuffer, dtype: DType, axes: tuple[int, ...], keepdim: bool) -> LazyBuffer:
    out = mean_values(converted(x, dtype), axes)
    return out if keepdim else out.reshape(without(x.shape, axes, False))


_SUM, _MEAN, _PROD = named("sum", _sum), named("mean", _mean), named("prod", _prod)
_NANSUM = Function("nansum", _nansum, "NansumBackward0", _nansum_gradient)


def _check_mean(name: str, given: str, dtype: DType) -> None:
    """``RuntimeError`` for a mean in a dtype that has no fractions; ``given`` is what names that dtype."""
    if dtype.kind not in "fc":
        raise RuntimeError(f"{name}(): could not infer output dtype. {given} dtype must be either a floating point "
                           f"or complex dtype. Got: {type_name(dtype)}")


def _summed(self: Tensor, dtype: DType | None) -> DType:
    """The type in which elements are summed or multiplied: integers and bools in int64."""
    if isinstance(dtype, type | str):
        dtype = dtype_argument("sum", dtype)
    if dtype is None:
        return self.dtype if self.dtype.kind in "fc" else int64
    require_tracked(self, dtype)
    return dtype


def mean_values(x: LazyBuffer, axes: tuple[int, ...]) -> LazyBuffer:
    """The mean, with ``axes`` of size 1."""
    wide = x.cast(accumulator(x.dtype))
    return _shared(wide.reduce(Op.SUM, axes), count(x.shape, axes)).cast(x.dtype)


def _shared(total: LazyBuffer, n: int) -> LazyBuffer:
    """total / n, of complex numbers part by part: that is exact where it can be."""
    if total.dtype.kind == "c":
        return _shared(total.real(), n).with_imag(_shared(total.imag(), n))
    return total.binary(Op.DIV, total.like(float(n)))


# --- variance


def squared(x: LazyBuffer) -> LazyBuffer:
    """|x|², which is real."""
    if x.dtype.kind != "c":
        return x.binary(Op.MUL, x)
    a, b = x.real(), x.imag()
    return a.binary(Op.MUL, a).binary(Op.ADD, b.binary(Op.MUL, b))


def _variance(x: LazyBuffer, root: bool, axes: tuple[int, ...], correction: float, keepdim: bool,
              whole: bool) -> tuple[LazyBuffer, LazyBuffer]:
    """The variance, or its square root, and the mean, in two passes and in float64: its squares do not overflow, and
    what distances from a large mean have in digits is not lost. Of complex numbers the variance is real: the sum of
    that of the real parts and that of the imaginary parts. It is NaN if one of them is 0 / 0."""
    wide = x.cast(double(x))
    n = count(x.shape, axes)
    middle = _shared(wide.reduce(Op.SUM, axes), n)
    centred = wide.binary(Op.SUB, middle.expand(x.shape))
    freedom = float(max(0.0, n - correction))
    parts = [centred.real(), centred.imag()] if x.dtype.kind == "c" and not freedom else [centred]
    shares = [total.binary(Op.DIV, total.like(freedom)) for total in [squared(p).reduce(Op.SUM, axes) for p in parts]]
    variance = shares[0] if len(shares) == 1 else shares[0].binary(Op.ADD, shares[1])
    shape = without(x.shape, axes, keepdim)
    spread = (variance.unary(Op.SQRT) if root else variance).reshape(shape)
    return spread.cast(x.dtype.part), middle.reshape(shape).cast(x.dtype)


def _variance_gradient(root: bool, inputs: Any, outputs: Any, grads: Any, axes: tuple[int, ...], correction: float,
                       keepdim: bool, whole: bool) -> tuple[LazyBuffer | None]:
    """Of the variance 2 g (x - mean) / (n - correction); of its root that for g / (2 root), and 0 where that is 0.
    If no dimensions were given and no degrees of freedom are left, it is, as in PyTorch, NaN where an element is the
    mean, else g ∞."""
    x, kept = inputs[0], without(inputs[0].shape, axes, True)
    wide, n = double(x), count(inputs[0].shape, axes)
    found = None
    if grads[0] is not None:
        g, spread = [v.cast(wide.part).reshape(kept) for v in (grads[0], outputs[0])]
        if root:
            nothing = spread.binary(Op.EQ, spread.like(0.0))
            half = g.binary(Op.DIV, nothing.where(spread.like(1.0), spread).binary(Op.MUL, spread.like(2.0)))
            g = nothing.where(g.like(0.0), half)
        values = x.cast(wide)
        middle = _shared(values.reduce(Op.SUM, axes), n).expand(x.shape)
        freedom = n - correction
        if freedom > 0 or not whole:
            factor = g.binary(Op.MUL, g.like(2.0 / freedom if freedom else math.inf)).cast(wide)
            found = factor.expand(x.shape).binary(Op.MUL, values.binary(Op.SUB, middle))
        else:
            end = LazyBuffer.const(math.inf, wide.part, x.shape, x.device)
            end = values.binary(Op.EQ, middle).where(end.like(math.nan), end)
            found = g.expand(x.shape).binary(Op.MUL, end).cast(wide)
    if len(grads) > 1 and grads[1] is not None:
        g = grads[1].cast(wide).reshape(kept)
        share = g.binary(Op.DIV, g.like(float(max(n, 1)))).expand(x.shape)
        found = share if found is None else found.binary(Op.ADD, share)
    return (None if found is None else found.cast(x.dtype),)


_VAR = Function("var", lambda x, *given: _variance(x, False, *given)[0], "VarBackward0",
                partial(_variance_gradient, False))
_VAR_OF_FEW = copy(_VAR)  # its gradient compares elements with the mean, and so has no gradient
_VAR_OF_FEW.node = kind("VarBackward0", flows=((COMPARED,),))
_STD = Function("std", lambda x, *given: _variance(x, True, *given)[0], "StdBackward0",
                partial(_variance_gradient, True))
_VAR_MEAN = Function("var_mean", lambda x, *given: _variance(x, False, *given), "VarMeanBackward0",
                     partial(_variance_gradient, False))
_STD_MEAN = Function("std_mean", lambda x, *given: _variance(x, True, *given), "StdMeanBackward0",
                     partial(_variance_gradient, True))


def _spread(self: Tensor, dim: Any, unbiased: Any, keepdim: bool, correction: Any, name: str) -> tuple[Any, ...]:
    """The static arguments of a variance; the last says whether it is that of all elements, and no dimension named."""
    ways = (unbiased is not None) + (correction is not None)
    if ways > 1 or (isinstance(dim, bool) and (ways or keepdim)):
        raise no_overload(name, dim, unbiased=unbiased, keepdim=keepdim, correction=correction)
    dim, unbiased = _split_unbiased(dim, unbiased)
    if self.dtype.kind not in "fc":
        raise RuntimeError(f"{'std and var' if name in ('std', 'var') else name} only support floating point and "
                           "complex dtypes")
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    return dim_indices(dim, len(self._shape())), correction, keepdim, dim is None or not self._shape()


def _split_unbiased(dim: Any, unbiased: Any) -> tuple[Any, Any]:
    """``x.var(False)`` means unbiased=False, as in PyTorch."""
    return (None, dim) if isinstance(dim, bool) else (dim, unbiased)


# --- questions


def _quantifier(name: str, op: str) -> Function:
    return Function(name, lambda x, axes, keepdim: reduce(x.cast(bool_), op, axes, keepdim).cast(
        uint8 if x.dtype is uint8 else bool_), "NotDifferentiable")


_ANY, _ALL = _quantifier("any", Op.MAX), _quantifier("all", Op.MIN)


class Reduce:
    """Sums, products, means, variances and quantifiers over dimensions; no dimension means all."""

    __slots__ = ()

    @both("sum")
    @only_beside(("dim", "axis"), "keepdim", "keepdims")
    def sum(self: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None,
            axis: Any = None, keepdims: bool = False) -> Tensor:
        """The sum over ``dim``. Integers and bools add up in int64.

        >>> import minigrad
        >>> minigrad.tensor([[1, 2], [3, 4]]).sum(), minigrad.tensor([[1, 2], [3, 4]]).sum(1)
        (tensor(10), tensor([3, 7]))
        """
        dim = axis if dim is None else dim
        axes = dim_indices(dim, len(self._shape()))
        self, = operands_of("sum", self)
        return _SUM[dim is not None]((self,), (_summed(self, dtype), axes, keepdim or keepdims))

    def sum_to_size(self: Tensor, *shape: Any, size: Any = None) -> Tensor:
        """Summed over the dimensions that ``shape`` would be broadcast along."""
        target = shape_argument(shape if size is None else (size,))
        given = self._shape()
        if len(target) > len(given) or any([n not in (1, m) for m, n in zip(given[::-1], target[::-1], strict=False)]):
            raise RuntimeError(f"size {{{list(target)}}} is not expandable to size {{{list(given)}}}.")
        result = self
        added = self.ndim - len(target)
        if added > 0 or not given:
            result = result.sum(tuple(range(added)))
        axes = tuple([i for i, (m, n) in enumerate(zip(result._shape(), target, strict=True)) if m != n])
        return result.sum(axes, keepdim=True) if axes else result

    @both("nansum")
    def nansum(self: Tensor, dim: Any = None, keepdim: bool = False, *,
               dtype: DType | None = None) -> Tensor:
        """The sum over ``dim`` with NaN as 0."""
        not_for_complex(self, "nansum")
        if self.dtype.kind != "f":
            return self.sum(dim, keepdim, dtype=dtype)
        if dtype is not None:
            not_for("c", dtype, "nansum_cpu")
            require_tracked(self, dtype)
        return _NANSUM((self,), (dtype or self.dtype, dim_indices(dim, len(self._shape())), keepdim))

    @both("mean")
    @only_beside(("dim", "axis"), "keepdim", "keepdims")
    def mean(self: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None,
             axis: Any = None, keepdims: bool = False) -> Tensor:
        """The sum over ``dim`` divided by the number of elements; only of floats."""
        dtype = dtype_argument("mean", dtype) if isinstance(dtype, type | str) else dtype
        _check_mean("mean", "Input" if dtype is None else "Optional", dtype or self.dtype)
        dim = axis if dim is None else dim
        axes = dim_indices(dim, len(self._shape()))
        return _MEAN[dim is not None]((self,), (dtype or self.dtype, axes, keepdim or keepdims))

    @both("nanmean")
    def nanmean(self: Tensor, dim: Any = None, keepdim: bool = False, *,
                dtype: DType | None = None) -> Tensor:
        """The mean over ``dim`` of what is not NaN; only of floats."""
        if self.dtype.kind not in "fc":
            raise RuntimeError("nanmean(): expected input to have floating point or complex dtype but got "
                               f"{type_name(self.dtype)}")
        _check_mean("nanmean", "Optional", dtype or self.dtype)
        return self.nansum(dim, keepdim, dtype=dtype) / (~self.isnan()).sum(dim, keepdim)

    @both("prod")
    @only_beside(("dim",), "keepdim")
    def prod(self: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
        """The product over one dimension, or of all elements."""
        dims = len(self._shape())
        axes = dim_indices(None, dims) if dim is None else (dim_index(dim, dims),)[:dims]
        self, = operands_of("prod", self)
        return _PROD[dim is not None]((self,), (_summed(self, dtype), axes, keepdim))

    # --- variance

    @both("var")
    def var(self: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
            correction: float | None = None) -> Tensor:
        """The mean squared distance from the mean, divided by n - correction instead of n; correction is 1 by default.

        >>> import minigrad
        >>> minigrad.tensor([1.0, 3.0]).var(), minigrad.tensor([1.0, 3.0]).var(correction=0)
        (tensor(2.), tensor(1.))
        """
        static = _spread(self, dim, unbiased, keepdim, correction, "var")
        _, left, _, whole = static
        return (_VAR_OF_FEW if whole and self.numel() <= left else _VAR)((self,), static)

    @both("std")
    def std(self: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
            correction: float | None = None) -> Tensor:
        """The square root of ``var``."""
        return _STD((self,), _spread(self, dim, unbiased, keepdim, correction, "std"))

    @both("var_mean")
    def var_mean(self: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
                 correction: float | None = None) -> tuple[Tensor, Tensor]:
        """``var`` and ``mean``."""
        first, second = _VAR_MEAN.all((self,), _spread(self, dim, unbiased, keepdim, correction, "var_mean"))
        return first, second

    @both("std_mean")
    def std_mean(self: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
                 correction: float | None = None) -> tuple[Tensor, Tensor]:
        """``std`` and ``mean``."""
        first, second = _STD_MEAN.all((self,), _spread(self, dim, unbiased, keepdim, correction, "std_mean"))
        return first, second

    # --- questions

    @both("any")
    def any(self: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
        """Whether an element over ``dim`` is not 0."""
        return _ANY((self,), (dim_indices(dim, len(self._shape())), keepdim))

    @both("all")
    def all(self: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
        """Whether no element over ``dim`` is 0."""
        return _ALL((self,), (dim_indices(dim, len(self._shape())), keepdim))

    @both("count_nonzero")
    def count_nonzero(self: Tensor, dim: Any = None) -> Tensor:
        """How many elements over ``dim`` are not 0."""
        return self.ne(0).sum(dim)
