"""Stage: front. In: Tensors and numbers. Out: bool Tensors (< == isnan …), logic and bit operations, choices
(``where``).
Next: ``reduce.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from minigrad.dtype import bool_, promote
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.base import Tensor, both, function, method
from minigrad.tensor.function import Function
from minigrad.tensor.operands import (
    MixedFunction,
    all_fitted,
    broadcast_shapes,
    fit,
    is_number,
    on_one_device,
    require_tensor,
    result_dtype,
)
from minigrad.tensor.promotion import can_cast, number, number_dtype, type_name, with_number

Formula = Callable[[LazyBuffer, LazyBuffer], LazyBuffer]


def _comparison(names: tuple[str, ...], operator: str, formula: Formula, doc: str) -> None:
    compare = MixedFunction(names[0], all_fitted(formula), "NotDifferentiable")

    def compared(self: Tensor, other: Any) -> Any:
        if not isinstance(other, Tensor) and not is_number(other):
            return NotImplemented
        return compare.mixed((self, other))

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
    combine = MixedFunction(name, all_fitted(lambda x, y: x.binary(op, y)), "NotDifferentiable")

    def logical(self: Tensor, other: Tensor) -> Tensor:
        require_tensor(other, name, "other", 2)
        return combine.mixed((self, other), bool_)

    logical.__doc__ = doc
    both(name)(logical)


_logical("logical_and", Op.AND, "Whether both elements are not 0.")
_logical("logical_or", Op.OR, "Whether one of the elements is not 0.")
_logical("logical_xor", Op.XOR, "Whether exactly one of the elements is not 0.")


@both("logical_not")
def logical_not(self: Tensor) -> Tensor:
    """Whether each element is 0."""
    return _LOGICAL_NOT((self,))


_LOGICAL_NOT = Function("logical_not", lambda x: truth(x).unary(Op.NOT), "NotDifferentiable")


def _bitwise(name: str, op: str, operators: tuple[str, ...], doc: str) -> None:
    combine = MixedFunction(name, all_fitted(lambda x, y: x.binary(op, y)), "NotDifferentiable")

    def operated(self: Tensor, other: Any) -> Any:
        if not isinstance(other, Tensor) and not is_number(other):
            return NotImplemented
        dtype = result_dtype((self, other))
        if dtype.kind == "f" or (dtype is bool_ and op in (Op.SHL, Op.SHR)):
            raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{type_name(dtype)}'")
        return combine.mixed((self, other), dtype)

    def reflected(self: Tensor, other: Any) -> Any:
        dtype = with_number(self.dtype, other)
        if dtype.kind == "f":
            raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{type_name(dtype)}'")
        return combine.mixed((other, self), dtype)

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
    return _NOT((self,))


_NOT = Function("bitwise_not", lambda x: x.unary(Op.NOT), "NotDifferentiable")


# --- questions about numbers


def _question(name: str, of_float: Callable[[LazyBuffer], LazyBuffer], of_others: bool, doc: str) -> None:
    """A question to each element whose answer for all numbers but floats is known."""
    ask = Function(name, lambda x: of_float(x) if x.dtype.kind == "f" else x.cast(bool_).like(of_others),
                   "NotDifferentiable")

    def answer(self: Tensor) -> Tensor:
        return ask((self,))

    answer.__doc__ = doc
    both(name)(answer)


_question("isnan", lambda x: x.binary(Op.EQ, x).unary(Op.NOT), False, "Whether each element is NaN.")
_question("isinf", lambda x: x.unary(Op.ABS).binary(Op.EQ, x.like(math.inf)), False,
          "Whether each element is an infinity.")
_question("isfinite", lambda x: x.unary(Op.ABS).binary(Op.LT, x.like(math.inf)), True,
          "Whether each element is neither NaN nor an infinity.")


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


def _where(*args: Any) -> LazyBuffer:
    """The condition, then the Tensors and numbers to choose from."""
    condition, *values, dtype, order = args
    shape = broadcast_shapes(condition.shape, *[v.shape for v in values])
    x, y = [fit(values[i - 1], dtype, shape) for i in order[1:]]
    return fit(condition, bool_, shape).where(x, y)


_WHERE = MixedFunction("where", _where, "WhereBackward0")


def choose(condition: Tensor, a: Any, b: Any) -> Tensor:
    """a where the condition holds, else b."""
    if condition.dtype is not bool_:
        raise RuntimeError(f"where expected condition to be a boolean tensor, but got a tensor with dtype "
                           f"{type_name(condition.dtype)}")
    some = isinstance(a, Tensor) or isinstance(b, Tensor)
    return _WHERE.mixed((condition, a, b), result_dtype((a, b)) if some else promote(number_dtype(a), number_dtype(b)))


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


def _masked_fill(x: LazyBuffer, mask: LazyBuffer, value: LazyBuffer) -> LazyBuffer:
    shape = broadcast_shapes(x.shape, mask.shape)
    return fit(mask, bool_, shape).where(fit(value, x.dtype, shape), fit(x, x.dtype, shape))


_MASKED_FILL = Function("masked_fill", _masked_fill, "MaskedFillBackward0")


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
    if isinstance(value, Tensor):
        return _MASKED_FILL(on_one_device(self, mask, value))
    return _MASKED_FILL(on_one_device(self, mask), (), ((number(value, self.dtype), self.dtype),))
