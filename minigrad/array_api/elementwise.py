"""Stage: array API. In: arrays and numbers. Out: functions of each element, by the standard's names. They are PyTorch's
with operands of one dtype and arguments by position.
Source: https://data-apis.org/array-api/latest/API_specification/elementwise_functions.html
Next: ``manipulation.py``."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from minigrad.array_api.promotion import same_dtype
from minigrad.dtype import bool_
from minigrad.tensor import FUNCTIONS, Tensor

_of = FUNCTIONS


def _unary(name: str, ours: str = "", of_integers: bool = True) -> Callable[[Tensor], Tensor]:
    """``of_integers`` False: what it leaves as they are."""

    def function(x: Tensor, /) -> Tensor:
        if not of_integers and x.dtype.kind in "biu":
            return x.clone()
        return _of[ours or name](x)

    return _named(function, name, ours)


def _binary(name: str, ours: str = "") -> Callable[[Any, Any], Tensor]:
    def function(x1: Any, x2: Any, /) -> Tensor:
        return _of[ours or name](*same_dtype(x1, x2))

    return _named(function, name, ours)


def _named(function: Any, name: str, ours: str) -> Any:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"``minigrad.{ours or name}``, of each element."
    return function


acos, acosh, asin, asinh, atan, atanh = [_unary(n) for n in ("acos", "acosh", "asin", "asinh", "atan", "atanh")]
cos, cosh, sin, sinh, tan, tanh = [_unary(n) for n in ("cos", "cosh", "sin", "sinh", "tan", "tanh")]
exp, expm1, log, log1p, log2, log10 = [_unary(n) for n in ("exp", "expm1", "log", "log1p", "log2", "log10")]
sqrt, square, reciprocal, negative = [_unary(n) for n in ("sqrt", "square", "reciprocal", "negative")]
ceil, floor, trunc, round = [_unary(n, of_integers=False) for n in ("ceil", "floor", "trunc", "round")]
isfinite, isinf, isnan, signbit = [_unary(n) for n in ("isfinite", "isinf", "isnan", "signbit")]
abs, logical_not, bitwise_invert = _unary("abs"), _unary("logical_not"), _unary("bitwise_invert", "bitwise_not")

atan2, copysign, hypot, logaddexp, nextafter = [
    _binary(n) for n in ("atan2", "copysign", "hypot", "logaddexp", "nextafter")]
add, subtract, multiply, divide = _binary("add"), _binary("subtract", "sub"), _binary("multiply", "mul"), _binary(
    "divide", "div")
pow = _binary("pow")
maximum, minimum = _binary("maximum"), _binary("minimum")
equal, not_equal = _binary("equal", "eq"), _binary("not_equal", "ne")
less, less_equal, greater, greater_equal = _binary("less", "lt"), _binary("less_equal", "le"), _binary(
    "greater", "gt"), _binary("greater_equal", "ge")
logical_and, logical_or, logical_xor = _binary("logical_and"), _binary("logical_or"), _binary("logical_xor")
bitwise_and, bitwise_or, bitwise_xor = _binary("bitwise_and"), _binary("bitwise_or"), _binary("bitwise_xor")
bitwise_left_shift, bitwise_right_shift = _binary("bitwise_left_shift"), _binary("bitwise_right_shift")


def floor_divide(x1: Any, x2: Any, /) -> Tensor:
    """x1 / x2, rounded down; with an infinity what division and ``floor`` give, where PyTorch's has NaN."""
    x1, x2 = same_dtype(x1, x2)
    found = _of["floor_divide"](x1, x2)
    if not x1.dtype.is_floating_point:
        return found
    infinite = _of["isinf"](x1) | _of["isinf"](x2)
    # a finite number by an infinity is 0 with the sign of the quotient, or -1
    return _of["where"](infinite, _of["where"](_of["isinf"](x1), x1 / x2, _of["floor"](x1 / x2)), found)


def remainder(x1: Any, x2: Any, /) -> Tensor:
    """x1 - x2 * floor(x1 / x2), with the sign of x2, also where it is 0: PyTorch's 0 has the sign of x1."""
    x1, x2 = same_dtype(x1, x2)
    found = _of["remainder"](x1, x2)
    return _of["where"](found == 0, _of["copysign"](found, x2), found) if x1.dtype.is_floating_point else found


def positive(x: Tensor, /) -> Tensor:
    """x, as a new array."""
    return x.clone()


def sign(x: Tensor, /) -> Tensor:
    """-1, 0 or 1 by the sign of each element, NaN of NaN; of complex numbers x / abs(x), and 0 at 0."""
    if x.dtype.is_complex:
        return _of["where"](x == 0, _of["zeros_like"](x), _of["sgn"](x))
    found = _of["sign"](x)
    return _of["where"](_of["isnan"](x), x, found) if x.dtype.is_floating_point else found


def clip(x: Tensor, /, min: Any = None, max: Any = None) -> Tensor:
    """Elements below ``min`` become min, those above ``max`` max, in the dtype of x. NaN in a bound gives NaN."""
    found = x
    for bound, choose in ((min, "maximum"), (max, "minimum")):
        if bound is not None:
            if isinstance(bound, Tensor):
                given = bound.to(x.dtype)
            else:
                given = _of["full"]((), _within(bound, x), dtype=x.dtype, device=x.device)
            found = _of[choose](found, given)
    return found.clone() if found is x else found


def _within(bound: Any, x: Tensor) -> Any:
    """A bound that is a number, moved into the range of an integer dtype."""
    if x.dtype.is_floating_point or isinstance(bound, bool):
        return bound
    return builtins.max(x.dtype.min, builtins.min(bound, x.dtype.max))


def conj(x: Tensor, /) -> Tensor:
    """The complex conjugate."""
    return _of["conj"](x) if x.dtype.is_complex else x.clone()


def real(x: Tensor, /) -> Tensor:
    """The real part."""
    return _of["real"](x) if x.dtype.is_complex else x.clone()


def imag(x: Tensor, /) -> Tensor:
    """The imaginary part."""
    return _of["imag"](x) if x.dtype.is_complex else _of["zeros_like"](x)


def where(condition: Tensor, x1: Any, x2: Any, /) -> Tensor:
    """Elements of x1 where the condition holds, else of x2."""
    return _of["where"](condition.to(bool_), *same_dtype(x1, x2))
