"""Stage: front. In: a Tensor and dimensions. Out: its largest and smallest elements and where they stand, recorded.
NaN counts as the extremum, the first of several places is the answer.
Next: ``exponential.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minigrad.dtype import accumulator, bool_, int64, uint8
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor import return_types
from minigrad.tensor.arguments import no_overload, only_beside
from minigrad.tensor.base import AnyTensor
from minigrad.tensor.body import refusal
from minigrad.tensor.definition import both
from minigrad.tensor.function import Function
from minigrad.tensor.gathering import picked
from minigrad.tensor.operands import dim_index, dim_indices, not_for_complex
from minigrad.tensor.reduce import reduce, without

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _check_not_empty(shape: tuple[int, ...], axes: tuple[int, ...], name: str, all_dims: bool) -> None:
    """PyTorch's errors for a reduction that has no answer over no elements."""
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


def _along(x: LazyBuffer, op: str, axis: int, keepdim: bool) -> tuple[LazyBuffer, LazyBuffer]:
    """The extremum along an axis, and where it stands."""
    if not x.shape:
        return x.contiguous(), LazyBuffer.const(0, int64, (), x.device)
    out = x.reduce(op, (axis,))
    shape = without(x.shape, (axis,), keepdim)
    return out.reshape(shape), extreme_index(x, out, axis).reshape(shape)


def _along_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer | None],
                    op: str, axis: int, keepdim: bool) -> tuple[LazyBuffer | None]:
    """The gradient goes to the elements at the indices."""
    x, index, g = inputs[0], outputs[1], grads[0]
    if g is None or not x.shape:
        return (g,)
    kept = without(x.shape, (axis,), True)
    chosen = LazyBuffer.index(x.shape, axis, x.device).binary(Op.EQ, index.reshape(kept).expand(x.shape))
    return (chosen.where(g.reshape(kept).expand(x.shape), x.like(0.0)),)


def _over(x: LazyBuffer, op: str, axes: tuple[int, ...], keepdim: bool) -> LazyBuffer:
    if x.dtype.kind == "c":
        raise refusal("max_all" if op == Op.MAX else "min_all", x.dtype)
    return reduce(x, op, axes, keepdim) if axes else x.contiguous()


def _over_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer | None],
                   op: str, axes: tuple[int, ...], keepdim: bool, nan: bool = False) -> tuple[LazyBuffer | None]:
    """In equal parts to the elements that equal the result. With ``nan``, to those that are NaN if the result is, and
    the others get 0 even if g is infinite; without, they get g·0, and 0 / 0 if none equals the result, as in PyTorch.
    The result of a half type has been rounded, as have the elements."""
    x, out, g = inputs[0], outputs[0], grads[0]
    if g is None:
        return (g,)
    kept = without(x.shape, axes, True)
    mask = x.binary(Op.EQ, out.reshape(kept).expand(x.shape))
    if nan:
        known = out.binary(Op.EQ, out).reshape(kept).expand(x.shape)
        mask = known.where(mask, x.binary(Op.EQ, x).unary(Op.NOT))
    wide = accumulator(x.dtype)
    part = mask.cast(wide)
    number = part.reduce(Op.SUM, axes).expand(x.shape) if axes else part
    g = g.cast(wide).reshape(kept).expand(x.shape)
    found = mask.where(g.binary(Op.DIV, number), g.like(0.0)) if nan else part.binary(Op.MUL, g).binary(Op.DIV, number)
    return (found.cast(x.dtype),)


def _largest_size(x: LazyBuffer, nan: bool) -> LazyBuffer:
    size = x.unary(Op.ABS)
    size = size if nan else x.binary(Op.EQ, x).where(size, x.like(0.0))
    return _over(size, Op.MAX, (len(x.shape) - 1,), False)


def _largest_size_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                           grads: Sequence[LazyBuffer | None], nan: bool) -> tuple[LazyBuffer | None]:
    """The sign of each element that has the size, 0 for the others, and NaN where the two do not compare: where one is
    NaN, or both are infinite."""
    x, g = inputs[0], grads[0]
    if g is None:
        return (None,)
    out, g = [v.reshape((*v.shape, 1)).expand(x.shape) for v in (outputs[0], g)]
    size, zero = x.unary(Op.ABS), x.like(0.0)
    less = size.binary(Op.SUB, out)
    signed = x.binary(Op.LT, zero).where(g.unary(Op.NEG), x.binary(Op.EQ, zero).where(zero, g))
    return (less.binary(Op.EQ, zero).where(signed, less.binary(Op.EQ, less).where(zero, x.like(math.nan))),)


def largest_size(x: Tensor, nan: bool) -> Tensor:
    """The largest |x| along the last dimension. Elements of that size have the whole gradient each, not equal parts.
    Without ``nan`` NaN does not count."""
    return _LARGEST_SIZE((x,), (nan,))


def _evenly(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer | None], *given: Any
            ) -> tuple[LazyBuffer | None]:
    return _over_gradient(inputs, outputs, grads, *given, nan=True)


def shared(name: str, x: Tensor, value: Tensor) -> Tensor:
    """``value``, one of the elements of x, from which the gradient goes in equal parts to all that equal it."""
    return _SHARED[name]((x, value.detach()))


def _shared_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                     grads: Sequence[LazyBuffer | None]) -> tuple[LazyBuffer | None, None]:
    return _evenly(inputs, outputs, grads, Op.MAX, tuple(range(len(inputs[0].shape))), False)[0], None


_SHARED = {name: Function(name, lambda x, value: value.contiguous(), f"{name.capitalize()}Backward0", _shared_gradient)
           for name in ("median", "nanmedian")}
_LARGEST_SIZE = Function("largest_size", _largest_size, "AmaxBackward0", _largest_size_gradient)
_OVER_ALL = {Op.MAX: Function("max", _over, "MaxBackward1", _evenly),
             Op.MIN: Function("min", _over, "MinBackward1", _evenly)}
_ALONG = {Op.MAX: Function("max", _along, "MaxBackward0", _along_gradient),
          Op.MIN: Function("min", _along, "MinBackward0", _along_gradient)}
_AMAX, _AMIN = [Function(name, _over, f"{name.capitalize()}Backward0", _over_gradient, ahead=True)
                for name in ("amax", "amin")]


def _ends(x: LazyBuffer, axes: tuple[int, ...], keepdim: bool) -> tuple[LazyBuffer, LazyBuffer]:
    return _over(x, Op.MIN, axes, keepdim), _over(x, Op.MAX, axes, keepdim)


def _ends_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer | None],
                   *given: Any) -> tuple[LazyBuffer | None]:
    """The sum of what comes from both."""
    found = [_over_gradient(inputs, (out,), (g,), Op.MIN, *given)[0] for out, g in zip(outputs, grads, strict=True)]
    parts = [f for f in found if f is not None]
    return (parts[0] if len(parts) == 1 else parts[0].binary(Op.ADD, parts[1]) if parts else None,)


_AMINMAX = Function("aminmax", _ends, "AminmaxBackward0", _ends_gradient)


def _extreme_along(self: Tensor, dim: int, keepdim: bool, op: str,
                   result: type[return_types.ReturnType]) -> return_types.ReturnType:
    """Values and indices."""
    axis = dim_index(dim, len(self._shape()))
    if self._shape():
        _check_not_empty(self._shape(), (axis,), result.__name__, False)
    not_for_complex(self, result.__name__)
    return result(*_ALONG[op].all((self,), (op, axis, keepdim)))


def _extreme(self: Tensor, dim: Any, keepdim: bool, other: Any, name: str) -> Any:
    op = Op.MAX if name == "max" else Op.MIN
    if isinstance(dim, AnyTensor) or other is not None:
        if keepdim or (dim is not None and other is not None):
            raise no_overload(name, dim, keepdim=keepdim, **({} if other is None else {"other": other}))
        pair = dim if other is None else other
        return self.maximum(pair) if name == "max" else self.minimum(pair)
    if dim is not None:
        return _extreme_along(self, dim, keepdim, op, getattr(return_types, name))
    axes = tuple(range(len(self._shape())))
    _check_not_empty(self._shape(), axes, name, True)
    return _OVER_ALL[op]((self,), (op, axes, False))


def _place(x: LazyBuffer, op: str, axis: int | None, keepdim: bool) -> LazyBuffer:
    """Where the extremum along an axis stands; None: in the flattened tensor."""
    x = x.cast(uint8) if x.dtype is bool_ else x
    if axis is None:
        flat = x.reshape((math.prod(x.shape),))
        return extreme_index(flat, flat.reduce(op, (0,)), 0).reshape((1,) * len(x.shape) if keepdim else ())
    if not x.shape:
        return LazyBuffer.const(0, int64, (), x.device)
    return extreme_index(x, x.reduce(op, (axis,)), axis).reshape(without(x.shape, (axis,), keepdim))


_ARGUMENT = {Op.MAX: Function("argmax", _place, "NotDifferentiable"),
             Op.MIN: Function("argmin", _place, "NotDifferentiable")}


def _argument(self: Tensor, dim: Any, keepdim: bool, op: str, name: str) -> Tensor:
    shape = self._shape()
    axis = None if dim is None else dim_index(dim, len(shape))
    if axis is None:
        if 0 in shape:
            raise IndexError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0.")
    elif shape:
        _check_not_empty(shape, (axis,), name, False)
    not_for_complex(self, name)
    if self.dtype is bool_:
        raise RuntimeError(f"{name}(): does not support bool input")
    return _ARGUMENT[op]((self,), (op, axis, keepdim))


def _running_extreme(self: Tensor, dim: int, op: str, result: type[return_types.ReturnType]) -> Any:
    """The running extremum, and the last index at which it was reached."""
    axis = dim_index(dim, len(self._shape()))
    indices = _RUNNING_PLACE[op]((self,), (op, axis))
    return result(*picked(self, axis, indices, f"{result.__name__.title()}Backward0"))


def _running_place(x: LazyBuffer, op: str, axis: int) -> LazyBuffer:
    if not x.shape:
        return LazyBuffer.const(0, int64, (), x.device)
    index = LazyBuffer.index(x.shape, axis, x.device)
    reached = x.binary(Op.EQ, x.scan(op, axis))
    if x.dtype.kind == "f":
        reached = reached.binary(Op.OR, x.binary(Op.EQ, x).unary(Op.NOT))
    return reached.where(index, index.like(0)).scan(Op.MAX, axis)


_RUNNING_PLACE = {op: Function(name, _running_place, "NotDifferentiable")
                  for op, name in ((Op.MAX, "cummax"), (Op.MIN, "cummin"))}


class Extrema:
    """The largest and smallest elements over dimensions, and where they stand."""

    __slots__ = ()

    @both("max")
    @only_beside(("dim",), "keepdim")
    def max(self: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
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
    @only_beside(("dim",), "keepdim")
    def min(self: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
        """The smallest element, NaN if there is one; with ``dim`` the named tuple ``(values, indices)`` along it."""
        return _extreme(self, dim, keepdim, other, "min")

    @both("amax")
    def amax(self: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
        """The largest element over ``dim``; equal ones share the gradient."""
        axes = dim_indices(dim, len(self._shape()))
        _check_not_empty(self._shape(), axes, "amax", dim == ())
        return _AMAX((self,), (Op.MAX, axes, keepdim))

    @both("amin")
    def amin(self: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
        """The smallest element over ``dim``; equal ones share the gradient."""
        axes = dim_indices(dim, len(self._shape()))
        _check_not_empty(self._shape(), axes, "amin", dim == ())
        return _AMIN((self,), (Op.MIN, axes, keepdim))

    @both("aminmax")
    def aminmax(self: Tensor, *, dim: int | None = None, keepdim: bool = False) -> return_types.ReturnType:
        """``(min, max)`` over ``dim``."""
        over = () if dim is None else dim
        if dim is None and 0 in self._shape():
            raise RuntimeError("aminmax(): cannot compute aminmax over an empty dimension as the operation has no "
                               "identity.")
        axes = dim_indices(over, len(self._shape()))
        _check_not_empty(self._shape(), axes, "aminmax", dim is None)
        return return_types.aminmax(*_AMINMAX.all((self,), (axes, keepdim)))

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

    @both("cummax", real=True)
    def cummax(self: Tensor, dim: int) -> return_types.ReturnType:
        """``(values, indices)`` of the running maximum along ``dim``."""
        return _running_extreme(self, dim, Op.MAX, return_types.cummax)

    @both("cummin", real=True)
    def cummin(self: Tensor, dim: int) -> return_types.ReturnType:
        """``(values, indices)`` of the running minimum along ``dim``."""
        return _running_extreme(self, dim, Op.MIN, return_types.cummin)
