"""Stage: front. In: Tensors and numbers. Out: bool Tensors (< == isnan …), logic and bit operations, choices
(``where``).
Next: ``reduce.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from minigrad.autograd.node import kind
from minigrad.dtype import bool_, promote
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.base import Tensor, both, function, make, method, read_all, record
from minigrad.tensor.operands import (
    broadcast_shapes,
    fit,
    fit_all,
    is_number,
    require_tensor,
    result_dtype,
    same_device,
)
from minigrad.tensor.promotion import can_cast, number, number_dtype, type_name, with_number

Formula = Callable[[LazyBuffer, LazyBuffer], LazyBuffer]


def _comparison(names: tuple[str, ...], operator: str, formula: Formula, doc: str) -> None:
    def compared(self: Tensor, other: Any) -> Any:
        if not isinstance(other, Tensor) and not is_number(other):
            return NotImplemented
        _, _, (x, y) = fit_all((self, other))
        return make(formula(x, y))

    def named(self: Tensor, other: Any) -> Tensor:
        result = compared(self, other)
        if result is NotImplemented:
            raise TypeError(f"{names[0]}(): argument 'other' (position 2) must be Tensor or Number, not "
                            f"{type(other).__name__}")
        return result

    named.__doc__ = compared.__doc__ = doc
    both(*names)(named)
    method(operator)(compared)


def _less(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
    return x.binary(Op.LT, y)


def _equal(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
    return x.binary(Op.EQ, y)


def _less_equal(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
    if x.dtype.kind != "f":
        return _less(y, x).unary(Op.NOT)
    return _less(x, y).binary(Op.OR, _equal(x, y))


_comparison(("lt", "less"), "__lt__", _less, "self < other, broadcast; False where either is NaN.")
_comparison(("gt", "greater"), "__gt__", lambda x, y: _less(y, x), "self > other, broadcast.")
_comparison(("le", "less_equal"), "__le__", _less_equal, "self <= other, broadcast.")
_comparison(("ge", "greater_equal"), "__ge__", lambda x, y: _less_equal(y, x), "self >= other, broadcast.")
_comparison(("eq",), "__eq__", _equal, "self == other, broadcast; NaN equals nothing.")
_comparison(("ne", "not_equal"), "__ne__", lambda x, y: _equal(x, y).unary(Op.NOT), "self != other, broadcast.")
Tensor.__hash__ = object.__hash__  # type: ignore[method-assign]


def truth(lazy: LazyBuffer) -> LazyBuffer:
    """Each element as a bool: whether it is not 0."""
    return lazy.cast(bool_)


def _logical(name: str, op: str, doc: str) -> None:
    def logical(self: Tensor, other: Tensor) -> Tensor:
        require_tensor(other, name, "other", 2)
        x, y = same_device(read_all((self, other)))
        shape = broadcast_shapes(x.shape, y.shape)
        return make(fit(truth(x), bool_, shape).binary(op, fit(truth(y), bool_, shape)))

    logical.__doc__ = doc
    both(name)(logical)


_logical("logical_and", Op.AND, "Whether both elements are not 0.")
_logical("logical_or", Op.OR, "Whether one of the elements is not 0.")
_logical("logical_xor", Op.XOR, "Whether exactly one of the elements is not 0.")


@both("logical_not")
def logical_not(self: Tensor) -> Tensor:
    """Whether each element is 0."""
    return make(truth(self._read()).unary(Op.NOT))


def _bitwise(name: str, op: str, operators: tuple[str, ...], doc: str) -> None:
    def operated(self: Tensor, other: Any) -> Any:
        if not isinstance(other, Tensor) and not is_number(other):
            return NotImplemented
        dtype = result_dtype((self, other))
        if dtype.kind == "f" or (dtype is bool_ and op in (Op.SHL, Op.SHR)):
            raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{type_name(dtype)}'")
        _, _, (x, y) = fit_all((self, other), dtype)
        return make(x.binary(op, y))

    def reflected(self: Tensor, other: Any) -> Any:
        dtype = with_number(self.dtype, other)
        if dtype.kind == "f":
            raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{type_name(dtype)}'")
        _, _, (x, y) = fit_all((other, self), dtype)
        return make(x.binary(op, y))

    operated.__doc__ = doc
    both(name)(operated)
    method(operators[0])(operated)
    method(operators[1])(reflected)


_bitwise("bitwise_and", Op.AND, ("__and__", "__rand__"), "self & other, on integers or bools.")
_bitwise("bitwise_or", Op.OR, ("__or__", "__ror__"), "self | other, on integers or bools.")
_bitwise("bitwise_xor", Op.XOR, ("__xor__", "__rxor__"), "self ^ other, on integers or bools.")
_bitwise("bitwise_left_shift", Op.SHL, ("__lshift__", "__rlshift__"), "self << other, on integers.")
_bitwise("bitwise_right_shift", Op.SHR, ("__rshift__", "__rrshift__"), "self >> other, on integers; keeps the sign.")


@method("__invert__")
@both("bitwise_not")
def bitwise_not(self: Tensor) -> Tensor:
    """~self, on integers; on bools "not"."""
    if self.dtype.kind == "f":
        raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
    return make(self._read().unary(Op.NOT))


# --- questions about numbers


@both("isnan")
def isnan(self: Tensor) -> Tensor:
    """Whether each element is NaN."""
    x = self._read()
    return make(x.binary(Op.EQ, x).unary(Op.NOT))


@both("isinf")
def isinf(self: Tensor) -> Tensor:
    """Whether each element is an infinity."""
    x = self._read()
    if x.dtype.kind != "f":
        return make(x.cast(bool_).like(False))
    return make(x.unary(Op.ABS).binary(Op.EQ, x.like(math.inf)))


@both("isfinite")
def isfinite(self: Tensor) -> Tensor:
    """Whether each element is neither NaN nor an infinity."""
    x = self._read()
    if x.dtype.kind != "f":
        return make(x.cast(bool_).like(True))
    return make(x.unary(Op.ABS).binary(Op.LT, x.like(math.inf)))


@both("isclose")
def isclose(self: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Whether |self - other| <= atol + rtol * |other|; equal infinities are close, NaNs only with ``equal_nan``."""
    if self.dtype is not other.dtype:
        raise RuntimeError(f"{type_name(self.dtype)} did not match {type_name(other.dtype)}")
    close = self == other
    if self.dtype.kind == "f":
        near = (self - other).abs() <= other.abs() * rtol + atol
        close = close | (near & self.isfinite() & other.isfinite())
        if equal_nan:
            close = close | (self.isnan() & other.isnan())
    else:
        close = close | ((self - other).abs() <= other.abs() * rtol + atol)
    return close


@both("allclose")
def allclose(self: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether ``isclose`` holds for all elements."""
    return bool(self.isclose(other, rtol, atol, equal_nan).all().item())


@both("equal")
def equal(self: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape and the same elements."""
    return self.shape == other.shape and bool((self == other).all().item())


# --- choices


_WHERE = kind("WhereBackward0", "something")


def choose(condition: Tensor, a: Any, b: Any) -> Tensor:
    """a where the condition holds, else b."""
    if condition.dtype is not bool_:
        raise RuntimeError(f"where expected condition to be a boolean tensor, but got a tensor with dtype "
                           f"{type_name(condition.dtype)}")
    values = [v for v in (a, b) if isinstance(v, Tensor)]
    dtype = result_dtype((a, b)) if values else promote(number_dtype(a), number_dtype(b))
    tensors = (condition, *values)
    lazies = read_all(tensors)
    placed = same_device(lazies)
    shape = broadcast_shapes(*[v.shape for v in placed])
    given = iter(placed[1:])
    x, y = [fit(next(given), dtype, shape) if isinstance(v, Tensor)
            else LazyBuffer.const(number(v, dtype), dtype, shape, placed[0].device) for v in (a, b)]
    return record(_WHERE, (fit(placed[0], bool_, shape).where(x, y),), tensors, lazies)[0]


@function("where")
def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """``input`` where the condition holds, else ``other``; Tensors or numbers, broadcast.

    With the condition alone: the coordinates where it holds, as ``nonzero(as_tuple=True)``.

    >>> import minigrad
    >>> x = minigrad.tensor([-1.0, 2.0])
    >>> minigrad.where(x > 0, x, 0.0)
    tensor([0., 2.])
    """
    require_tensor(condition, "where", "condition", 1)
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    return choose(condition, input, other)


@method("where")
def where_method(self: Tensor, condition: Tensor, other: Any = None) -> Tensor:
    """self where the condition holds, else ``other``."""
    return choose(condition, self, other)


_MASKED_FILL = kind("MaskedFillBackward0", "something")


@both("masked_fill")
def masked_fill(self: Tensor, mask: Tensor, value: Any) -> Tensor:
    """self with ``value``, a number or a 0-d tensor, where the mask holds.

    >>> import minigrad
    >>> minigrad.tensor([1.0, 2.0]).masked_fill(minigrad.tensor([True, False]), -1)
    tensor([-1.,  2.])
    """
    if mask.dtype is not bool_:
        raise RuntimeError(f"masked_fill_ only supports boolean masks, but got mask with dtype {mask.dtype}")
    if isinstance(value, Tensor) and value.ndim:
        raise RuntimeError("masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                           f"{value.ndim} dimension(s).")
    if not isinstance(value, Tensor) and not can_cast(number_dtype(value), self.dtype):
        raise RuntimeError(f"value cannot be converted to type {self.dtype.name} without overflow")
    given = [value] if isinstance(value, Tensor) else []
    tensors = (self, mask, *given)
    lazies = read_all(tensors)
    placed = same_device(lazies)
    dtype = self.dtype
    shape = broadcast_shapes(placed[0].shape, placed[1].shape)
    new = fit(placed[2], dtype, shape) if given else LazyBuffer.const(number(value, dtype), dtype, shape,
                                                                        placed[0].device)
    out = fit(placed[1], bool_, shape).where(new, fit(placed[0], dtype, shape))
    return record(_MASKED_FILL, (out,), tensors, lazies)[0]
