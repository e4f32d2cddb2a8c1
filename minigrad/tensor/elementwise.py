"""Stage: front. In: Tensors and numbers. Out: arithmetic on them, recorded; the operators + - * / // % ** -x and
abs(). Integers become floats where the mathematics needs it; bool + bool is "or", bool * bool is "and".
Next: ``functions.py``."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from minigrad.autograd.node import Node, kind
from minigrad.dtype import bool_
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.base import FUNCTIONS, Tensor, both, method, record_binary, record_unary
from minigrad.tensor.operands import constant_like, fit_number, fit_two, is_number
from minigrad.tensor.promotion import floating, type_name

# What an arithmetic op is on bools, where it has a meaning.
_ON_BOOLS = {Op.ADD: Op.OR, Op.MUL: Op.AND, Op.MAXIMUM: Op.OR, Op.MINIMUM: Op.AND}


def binary(a: Tensor, b: Any, op: str, node: type[Node], with_constant: type[Node]) -> Tensor:
    """``a op b`` for a Tensor a and a Tensor or number b; ``with_constant`` is the tape node if b is a number."""
    la = a._read()
    if isinstance(b, Tensor):
        lb = xb = b._read()
        xa = la
        dtype = la.dtype
        if lb.dtype is not dtype or lb.shape != la.shape or la.device != lb.device or (la is lb and a is not b):
            la, lb, xa, xb = fit_two(a, la, b, lb)
            dtype = xa.dtype
        if dtype is bool_:
            op = _ON_BOOLS.get(op, op)
        return record_binary(node, LazyBuffer(op, (xa, xb), None, xa.shape, dtype, xa.device), a, b, la, lb)
    if type(b) is float and la.dtype.kind == "f":
        xa, xb = la, LazyBuffer(Op.CONST, (), b, la.shape, la.dtype, la.device)
    elif is_number(b):
        xa, xb = fit_number(la, b)
        if xa.dtype is bool_:
            op = _ON_BOOLS.get(op, op)
    else:
        return NotImplemented
    return record_unary(with_constant, LazyBuffer(op, (xa, xb), None, xa.shape, xa.dtype, xa.device), a, la)


def reflected(b: Any, a: Tensor, op: str, node: type[Node]) -> Tensor:
    """``b op a`` for a number b."""
    la = a._read()
    if not is_number(b):
        return NotImplemented
    xa, xb = fit_number(la, b)
    if op == Op.DIV and xa.dtype.kind != "f":
        dtype = floating(xa.dtype)
        xa = xa.cast(dtype)
        xb = constant_like(xa, b)
    return record_unary(node, LazyBuffer(op, (xb, xa), None, xa.shape, xa.dtype, xa.device), a, la)


def checked(result: Any, name: str, other: Any) -> Tensor:
    """The result of a named op, where NotImplemented means a wrong argument."""
    if result is NotImplemented:
        raise TypeError(f"{name}(): argument 'other' (position 2) must be Tensor or Number, not "
                        f"{type(other).__name__}")
    return result


_ADD, _SUB, _RSUB = kind("AddBackward0"), kind("SubBackward0"), kind("RsubBackward1")
_MUL, _MUL_NUMBER = kind("MulBackward0", "inputs"), kind("MulBackward0", "something")
_DIV, _DIV_NUMBER = kind("DivBackward0", "inputs"), kind("DivBackward0", "something")
_RDIV = kind("MulBackward0", "inputs")


# --- + - *


@method("__add__", "__radd__")
def _add(self: Tensor, other: Any) -> Tensor:
    return binary(self, other, Op.ADD, _ADD, _ADD)


@both("add")
def add(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """self + alpha * other, broadcast.

    >>> import minigrad
    >>> minigrad.tensor([1, 2]).add(minigrad.tensor([10, 20]), alpha=2)
    tensor([21, 42])
    """
    return checked(binary(self, _times_alpha(self, other, alpha), Op.ADD, _ADD, _ADD), "add", other)


def _times_alpha(self: Tensor, other: Any, alpha: Any) -> Any:
    if alpha == 1:
        return other
    if isinstance(alpha, float):
        dtype = other.dtype if isinstance(other, Tensor) else self.dtype
        if dtype.kind != "f":
            raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    return other * alpha


def _check_bools(a: Tensor, b: Any) -> None:
    if a.dtype is bool_ and (b.dtype is bool_ if isinstance(b, Tensor) else isinstance(b, bool)):
        raise RuntimeError("Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
                           "`logical_xor()` operator instead.")


@method("__sub__")
def _sub(self: Tensor, other: Any) -> Tensor:
    _check_bools(self, other)
    return binary(self, other, Op.SUB, _SUB, _SUB)


@both("sub", "subtract")
def sub(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """self - alpha * other, broadcast. ``RuntimeError`` for two bool tensors."""
    return checked(_sub(self, _times_alpha(self, other, alpha)), "sub", other)


@method("__rsub__")
def _rsub(self: Tensor, other: Any) -> Tensor:
    _check_bools(self, other)
    return reflected(other, self, Op.SUB, _RSUB)


@both("rsub")
def rsub(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """other - alpha * self, broadcast."""
    mine = _times_alpha(self, self, alpha)
    return other - mine


@method("__mul__", "__rmul__")
def _mul(self: Tensor, other: Any) -> Tensor:
    return binary(self, other, Op.MUL, _MUL, _MUL_NUMBER)


@both("mul", "multiply")
def mul(self: Tensor, other: Any) -> Tensor:
    """self * other, broadcast."""
    return checked(binary(self, other, Op.MUL, _MUL, _MUL_NUMBER), "mul", other)


# --- division


@method("__truediv__")
def _div(self: Tensor, other: Any) -> Tensor:
    la = self._read()
    if la.dtype.kind == "f":
        if type(other) is float or not isinstance(other, Tensor) or other.dtype.kind == "f":
            return binary(self, other, Op.DIV, _DIV, _DIV_NUMBER)
        lb = other._read()
        la, lb, xa, xb = fit_two(self, la, other, lb)
        return record_binary(_DIV, xa.binary(Op.DIV, xb), self, other, la, lb)
    if isinstance(other, Tensor):
        la, lb, xa, xb = fit_two(self, la, other, other._read())
        dtype = floating(xa.dtype)
        return record_binary(_DIV, xa.cast(dtype).binary(Op.DIV, xb.cast(dtype)), self, other, la, lb)
    if not is_number(other):
        return NotImplemented
    xa = la.cast(floating(la.dtype))
    return record_unary(_DIV_NUMBER, xa.binary(Op.DIV, constant_like(xa, other)), self, la)


@method("__rtruediv__")
def _rdiv(self: Tensor, other: Any) -> Tensor:
    return reflected(other, self, Op.DIV, _RDIV)


@both("div", "divide", "true_divide")
def div(self: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """self / other, broadcast; integers give floats unless ``rounding_mode`` is ``"floor"`` or ``"trunc"``."""
    if rounding_mode is None:
        return checked(_div(self, other), "div", other)
    if rounding_mode == "floor":
        return floor_divide(self, other)
    if rounding_mode != "trunc":
        raise RuntimeError("div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
                           f"'{rounding_mode}'")
    if self.dtype.kind == "f" or (other.dtype.kind == "f" if isinstance(other, Tensor) else isinstance(other, float)):
        return _div(self, other).trunc()
    quotient = floor_divide(self.abs(), abs(other))
    return (((self < 0) != (other < 0)).to(quotient.dtype) * -2 + 1) * quotient


_FLOORDIV = kind("NotImplemented", "something")


@method("__floordiv__")
def _floordiv(self: Tensor, other: Any) -> Tensor:
    _check_divisor(self, other)
    return binary(self, other, Op.FLOORDIV, _FLOORDIV, _FLOORDIV)


def _check_divisor(self: Tensor, other: Any) -> None:
    if is_number(other) and other == 0 and not isinstance(other, float) and self.dtype.kind != "f":
        raise RuntimeError("ZeroDivisionError")


@method("__rfloordiv__")
def _rfloordiv(self: Tensor, other: Any) -> Tensor:
    return reflected(other, self, Op.FLOORDIV, _FLOORDIV)


@both("floor_divide")
def floor_divide(self: Tensor, other: Any) -> Tensor:
    """floor(self / other), broadcast; an integer divided by an integer tensor's 0 gives 0."""
    return checked(_floordiv(self, other), "floor_divide", other)


_REMAINDER, _REMAINDER_NUMBER = kind("RemainderBackward1", "inputs"), kind("RemainderBackward0")


@method("__mod__")
def _mod(self: Tensor, other: Any) -> Tensor:
    _check_divisor(self, other)
    return binary(self, other, Op.MOD, _REMAINDER, _REMAINDER_NUMBER)


@method("__rmod__")
def _rmod(self: Tensor, other: Any) -> Tensor:
    return reflected(other, self, Op.MOD, _REMAINDER)


@both("remainder")
def remainder(self: Tensor, other: Any) -> Tensor:
    """self - other * floor(self / other): the sign of the divisor, as Python's ``%``."""
    return checked(_mod(self, other), "remainder", other)


@both("fmod")
def fmod(self: Tensor, other: Any) -> Tensor:
    """self - other * trunc(self / other): the sign of the dividend, as C's ``fmod``."""
    _check_divisor(self, other)
    magnitude = remainder(self.abs(), abs(other))
    return magnitude.where(self >= 0, -magnitude)


# --- powers


_POW_NUMBER, _POW = kind("PowBackward0", "inputs"), kind("PowBackward1", "both")
_NUMBER_POW = kind("PowBackward2", "output")


@method("__pow__")
def _pow(self: Tensor, other: Any) -> Tensor:
    if isinstance(other, Tensor):
        if self.dtype is bool_ and other.dtype is bool_:
            raise NotImplementedError('"pow" not implemented for \'Bool\'')
        return binary(self, other, Op.POW, _POW, _POW_NUMBER)
    if not is_number(other):
        return NotImplemented
    la = self._read()
    xa, xb = fit_number(la, other)
    if xa.dtype is bool_:
        raise NotImplementedError('"pow" not implemented for \'Bool\'')
    if xa.dtype.kind != "f" and other < 0:
        raise RuntimeError("Integers to negative integer powers are not allowed.")
    return record_unary(_POW_NUMBER, _power(xa, other, xb), self, la)


def _power(x: LazyBuffer, exponent: Any, constant: LazyBuffer) -> LazyBuffer:
    """x to a known exponent: multiplications and roots where these are exact, else POW."""
    if exponent == 2:
        return x.binary(Op.MUL, x)
    if exponent == 3:
        return x.binary(Op.MUL, x).binary(Op.MUL, x)
    if exponent == 1:
        return x.binary(Op.MUL, x.like(number_one(x)))
    if exponent == 4:
        square = x.binary(Op.MUL, x)
        return square.binary(Op.MUL, square)
    if exponent == 0.5:
        return x.unary(Op.SQRT)
    if exponent == -1:
        return x.like(1.0).binary(Op.DIV, x)
    if exponent == -0.5:
        return x.like(1.0).binary(Op.DIV, x.unary(Op.SQRT))
    if exponent == -2:
        return x.like(1.0).binary(Op.DIV, x.binary(Op.MUL, x))
    return x.binary(Op.POW, constant)


def number_one(x: LazyBuffer) -> Any:
    """1 as an element of x."""
    return 1.0 if x.dtype.kind == "f" else 1


@method("__rpow__")
def _rpow(self: Tensor, other: Any) -> Tensor:
    return reflected(other, self, Op.POW, _NUMBER_POW)


@both("pow")
def pow_(self: Tensor, exponent: Any) -> Tensor:
    """self to the power ``exponent``, broadcast. Integers to a negative integer raise ``RuntimeError``."""
    return checked(_pow(self, exponent), "pow", exponent)


def _with_number_first(name: str, operator: Callable[[Any, Any], Tensor]) -> None:
    """``minigrad.pow(2, x)``: of these the first operand may be a number."""
    plain = FUNCTIONS[name]

    @wraps(plain)
    def either(input: Any, *args: Any, **kwargs: Any) -> Tensor:
        if is_number(input) and len(args) == 1 and isinstance(args[0], Tensor):
            return operator(input, args[0])
        return plain(input, *args, **kwargs)

    FUNCTIONS[name] = either


_with_number_first("pow", lambda a, b: a**b)
_with_number_first("remainder", lambda a, b: a % b)


# --- max, min


_MAXIMUM, _MINIMUM = kind("MaximumBackward0", "inputs"), kind("MinimumBackward0", "inputs")


@both("maximum")
def maximum(self: Tensor, other: Any) -> Tensor:
    """The larger of each pair, broadcast; NaN if either is. Where they are equal each gets half the gradient."""
    return checked(binary(self, other, Op.MAXIMUM, _MAXIMUM, _MAXIMUM), "maximum", other)


@both("minimum")
def minimum(self: Tensor, other: Any) -> Tensor:
    """The smaller of each pair, broadcast; NaN if either is."""
    return checked(binary(self, other, Op.MINIMUM, _MINIMUM, _MINIMUM), "minimum", other)


# --- of one operand


_NEG, _ABS = kind("NegBackward0"), kind("AbsBackward0", "inputs")


@method("__neg__")
@both("neg", "negative")
def neg(self: Tensor) -> Tensor:
    """-self."""
    la = self._read()
    if la.dtype is bool_:
        raise RuntimeError("Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert "
                           "a mask, use the `~` or `logical_not()` operator instead.")
    return record_unary(_NEG, la.unary(Op.NEG), self, la)


@method("__pos__")
@both("positive")
def positive(self: Tensor) -> Tensor:
    """self."""
    if self.dtype is bool_:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return self


@method("__abs__")
@both("abs", "absolute")
def abs_(self: Tensor) -> Tensor:
    """The absolute value; its slope at 0 counts as 0."""
    la = self._read()
    if la.dtype.kind in "bu":
        return record_unary(_ABS, la, self, la)
    return record_unary(_ABS, la.unary(Op.ABS), self, la)


# --- combinations


@both("addcmul")
def addcmul(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """self + value * tensor1 * tensor2."""
    return self + (tensor1 * tensor2 if value == 1 else value * tensor1 * tensor2)


@both("addcdiv")
def addcdiv(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """self + value * tensor1 / tensor2."""
    if tensor1.dtype.kind != "f" and tensor2.dtype.kind != "f":
        raise RuntimeError("Integer division with addcdiv is no longer supported, and in a future release addcdiv will "
                           "perform a true division of tensor1 and tensor2.")
    return self + (tensor1 / tensor2 if value == 1 else value * tensor1 / tensor2)


@both("lerp")
def lerp(self: Tensor, end: Tensor, weight: Any) -> Tensor:
    """self + weight * (end - self)."""
    if self.dtype is not end.dtype:
        raise RuntimeError(f"expected dtype {type_name(self.dtype).lower()} for `end` but got dtype "
                           f"{type_name(end.dtype).lower()}")
    return self + weight * (end - self)


