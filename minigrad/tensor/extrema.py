"""Stage: front. In: a Tensor and dimensions. Out: its largest and smallest elements and where they stand, recorded.
NaN counts as the extremum, the first of several places is the answer.
Next: ``exponential.py``."""

from __future__ import annotations

import math
from typing import Any

from minigrad.autograd.node import Node, kind
from minigrad.dtype import bool_, int64, uint8
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor import return_types
from minigrad.tensor.base import Tensor, both, make, record, record_unary, twin
from minigrad.tensor.operands import dim_index, dim_indices
from minigrad.tensor.reduce import named, reduce, without

_MAX, _MIN = named("Max", "both"), named("Min", "both")
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
