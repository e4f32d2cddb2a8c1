"""Stage: front. In: Tensors and numbers. Out: bool Tensors (< == isnan …), logic and bit operations.
Next: ``choices.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.dtype import DType, bool_, complex32, complex64, float16, float32
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.base import AnyTensor
from minigrad.tensor.body import refusal
from minigrad.tensor.definition import augmented, both, in_place, untracked_in_place
from minigrad.tensor.function import Function
from minigrad.tensor.operands import (
    MixedFunction,
    all_fitted,
    checked,
    is_number,
    require_tensor,
    result_dtype,
)
from minigrad.tensor.operators import with_number_first
from minigrad.tensor.promotion import type_name, with_number

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

Formula = Callable[[LazyBuffer, LazyBuffer], LazyBuffer]


def _row(name: str, formula: Formula) -> MixedFunction:
    return MixedFunction(name, all_fitted(formula), "NotDifferentiable")


def _less(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
    return x.binary(Op.LT, y)


def _equal(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
    return x.binary(Op.EQ, y)


def _less_equal(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
    if x.dtype.kind != "f":
        return _less(y, x).unary(Op.NOT)
    return _less(x, y).binary(Op.OR, _equal(x, y))


_LT, _GT = _row("lt", _less), _row("gt", lambda x, y: _less(y, x))
_LE, _GE = _row("le", _less_equal), _row("ge", lambda x, y: _less_equal(y, x))
_EQ, _NE = _row("eq", _equal), _row("ne", lambda x, y: _equal(x, y).unary(Op.NOT))


def _compared(function: MixedFunction, a: Tensor, b: Any) -> Any:
    """What an operator gives; NotImplemented unless b is a Tensor or a number."""
    if not isinstance(b, AnyTensor) and not is_number(b):
        return NotImplemented
    dtype = result_dtype((a, b))
    if dtype is complex32 and function in (_EQ, _NE):
        return function.mixed((_rounded(a), _rounded(b)), complex64)
    return function.mixed((a, b), dtype)


def _rounded(x: Any) -> Any:
    """A Tensor or a number, whose parts become half numbers if it is complex: nothing is computed in ``complex32``, but
    its elements can be compared."""
    if isinstance(x, complex):
        with np.errstate(over="ignore"):
            return complex(np.float16(x.real), np.float16(x.imag))
    return _HALVED((x,)) if isinstance(x, AnyTensor) and x.dtype.kind == "c" else x


def _halved(x: LazyBuffer) -> LazyBuffer:
    real, imag = [part.cast(float16).cast(float32) for part in (x.real(), x.imag())]
    return real.with_imag(imag)


_HALVED = Function("halved", _halved, "NotDifferentiable")


def _compare(function: MixedFunction, a: Tensor, b: Any) -> Tensor:
    """What a method gives; ``TypeError`` unless b is a Tensor or a number."""
    return checked(_compared(function, a, b), function.body.name, b)


# --- logic and bits


def truth(lazy: LazyBuffer) -> LazyBuffer:
    """Each element as a bool: whether it is not 0."""
    return lazy.cast(bool_)


_LOGICAL_AND = _row("logical_and", lambda x, y: x.binary(Op.AND, y))
_LOGICAL_OR = _row("logical_or", lambda x, y: x.binary(Op.OR, y))
_LOGICAL_XOR = _row("logical_xor", lambda x, y: x.binary(Op.XOR, y))
_LOGICAL_NOT = Function("logical_not", lambda x: truth(x).unary(Op.NOT), "NotDifferentiable")


def _logical(function: MixedFunction, a: Tensor, b: Tensor) -> Tensor:
    require_tensor(b, function.body.name, "other", 2)
    return function.mixed((a, b), bool_)


_AND = _row("bitwise_and", lambda x, y: x.binary(Op.AND, y))
_OR = _row("bitwise_or", lambda x, y: x.binary(Op.OR, y))
_XOR = _row("bitwise_xor", lambda x, y: x.binary(Op.XOR, y))
_SHL = _row("bitwise_left_shift", lambda x, y: x.binary(Op.SHL, y))
_SHR = _row("bitwise_right_shift", lambda x, y: x.binary(Op.SHR, y))
_NOT = Function("bitwise_not", lambda x: x.unary(Op.NOT), "NotDifferentiable")


def _bits(function: MixedFunction, a: Tensor, b: Any) -> Any:
    """``a op b``; NotImplemented unless b is a Tensor or a number."""
    if not isinstance(b, AnyTensor) and not is_number(b):
        return NotImplemented
    dtype = result_dtype((a, b))
    if dtype.kind in "fc" or (dtype is bool_ and function in (_SHL, _SHR)):
        raise _no_bits(function, dtype)
    return function.mixed((a, b), dtype)


def _bits_of(function: MixedFunction, a: Tensor, b: Any) -> Tensor:
    """What a method gives; ``TypeError`` unless b is a Tensor or a number."""
    return checked(_bits(function, a, b), function.body.name, b)


def _reflected(function: MixedFunction, b: Any, a: Tensor) -> Any:
    """``b op a`` for a number b, or a Tensor; NotImplemented for anything else."""
    if isinstance(b, AnyTensor):
        return _bits(function, b, require_tensor(a, function.body.name, "self", 1))
    if not is_number(b):
        return NotImplemented
    dtype = with_number(a.dtype, b)
    if dtype.kind in "fc" or (dtype is bool_ and function in (_SHL, _SHR)):
        raise _no_bits(function, dtype)
    return function.mixed((b, a), dtype)


def _no_bits(function: MixedFunction, dtype: DType) -> Exception:
    return refusal(function.body.name, dtype)


# --- questions about numbers


def _question(name: str, of_float: Callable[[LazyBuffer], LazyBuffer], of_others: bool) -> Function:
    """A question to each element whose answer for all numbers but floats is known."""

    def compute(x: LazyBuffer) -> LazyBuffer:
        if x.dtype.kind == "c":  # of both parts for finite, of one for the others
            return of_float(x.real()).binary(Op.AND if of_others else Op.OR, of_float(x.imag()))
        return of_float(x) if x.dtype.kind == "f" else x.cast(bool_).like(of_others)

    return Function(name, compute, "NotDifferentiable")


_ISNAN = _question("isnan", lambda x: x.binary(Op.EQ, x).unary(Op.NOT), False)
_ISINF = _question("isinf", lambda x: x.unary(Op.ABS).binary(Op.EQ, x.like(math.inf)), False)
_ISFINITE = _question("isfinite", lambda x: x.unary(Op.ABS).binary(Op.LT, x.like(math.inf)), True)


class Comparison:
    """Comparisons, logic and bit operations."""

    __slots__ = ()

    @both("lt", "less")
    def lt(self: Tensor, other: Any) -> Tensor:
        """self < other, broadcast; False where either is NaN."""
        return _compare(_LT, self, other)

    less = lt
    lt_ = in_place(lt)
    less_ = lt_

    def __lt__(self: Tensor, other: Any) -> Tensor:
        """self < other, broadcast; False where either is NaN."""
        return _compared(_LT, self, other)

    @both("gt", "greater")
    def gt(self: Tensor, other: Any) -> Tensor:
        """self > other, broadcast."""
        return _compare(_GT, self, other)

    greater = gt
    gt_ = in_place(gt)
    greater_ = gt_

    def __gt__(self: Tensor, other: Any) -> Tensor:
        """self > other, broadcast."""
        return _compared(_GT, self, other)

    @both("le", "less_equal")
    def le(self: Tensor, other: Any) -> Tensor:
        """self <= other, broadcast."""
        return _compare(_LE, self, other)

    less_equal = le
    le_ = in_place(le)
    less_equal_ = le_

    def __le__(self: Tensor, other: Any) -> Tensor:
        """self <= other, broadcast."""
        return _compared(_LE, self, other)

    @both("ge", "greater_equal")
    def ge(self: Tensor, other: Any) -> Tensor:
        """self >= other, broadcast."""
        return _compare(_GE, self, other)

    greater_equal = ge
    ge_ = in_place(ge)
    greater_equal_ = ge_

    def __ge__(self: Tensor, other: Any) -> Tensor:
        """self >= other, broadcast."""
        return _compared(_GE, self, other)

    @both("eq")
    def eq(self: Tensor, other: Any) -> Tensor:
        """self == other, broadcast; NaN equals nothing."""
        return _compare(_EQ, self, other)

    eq_ = in_place(eq)

    def __eq__(self: Tensor, other: Any) -> Tensor:  # type: ignore[override]
        """self == other, broadcast; NaN equals nothing."""
        return _compared(_EQ, self, other)

    @both("ne", "not_equal")
    def ne(self: Tensor, other: Any) -> Tensor:
        """self != other, broadcast."""
        return _compare(_NE, self, other)

    not_equal = ne
    ne_ = in_place(ne)
    not_equal_ = ne_

    def __ne__(self: Tensor, other: Any) -> Tensor:  # type: ignore[override]
        """self != other, broadcast."""
        return _compared(_NE, self, other)

    __hash__ = object.__hash__

    # --- logic and bits

    @both("logical_and")
    def logical_and(self: Tensor, other: Tensor) -> Tensor:
        """Whether both elements are not 0."""
        return _logical(_LOGICAL_AND, self, other)

    logical_and_ = untracked_in_place(logical_and)

    @both("logical_or")
    def logical_or(self: Tensor, other: Tensor) -> Tensor:
        """Whether one of the elements is not 0."""
        return _logical(_LOGICAL_OR, self, other)

    logical_or_ = untracked_in_place(logical_or)

    @both("logical_xor")
    def logical_xor(self: Tensor, other: Tensor) -> Tensor:
        """Whether exactly one of the elements is not 0."""
        return _logical(_LOGICAL_XOR, self, other)

    logical_xor_ = untracked_in_place(logical_xor)

    @both("logical_not")
    def logical_not(self: Tensor) -> Tensor:
        """Whether each element is 0."""
        return _LOGICAL_NOT((self,))

    logical_not_ = untracked_in_place(logical_not)

    @both("bitwise_and")
    def bitwise_and(self: Tensor, other: Any) -> Tensor:
        """self & other, on integers or bools."""
        return _bits_of(_AND, self, other)

    bitwise_and_ = in_place(bitwise_and)

    def __and__(self: Tensor, other: Any) -> Any:
        """self & other, on integers or bools."""
        return _bits(_AND, self, other)

    __iand__ = augmented(__and__)

    def __rand__(self: Tensor, other: Any) -> Any:
        return _reflected(_AND, other, self)

    @both("bitwise_or")
    def bitwise_or(self: Tensor, other: Any) -> Tensor:
        """self | other, on integers or bools."""
        return _bits_of(_OR, self, other)

    bitwise_or_ = in_place(bitwise_or)

    def __or__(self: Tensor, other: Any) -> Any:
        """self | other, on integers or bools."""
        return _bits(_OR, self, other)

    __ior__ = augmented(__or__)

    def __ror__(self: Tensor, other: Any) -> Any:
        return _reflected(_OR, other, self)

    @both("bitwise_xor")
    def bitwise_xor(self: Tensor, other: Any) -> Tensor:
        """self ^ other, on integers or bools."""
        return _bits_of(_XOR, self, other)

    bitwise_xor_ = in_place(bitwise_xor)

    def __xor__(self: Tensor, other: Any) -> Any:
        """self ^ other, on integers or bools."""
        return _bits(_XOR, self, other)

    __ixor__ = augmented(__xor__)

    def __rxor__(self: Tensor, other: Any) -> Any:
        return _reflected(_XOR, other, self)

    @both("bitwise_left_shift")
    def bitwise_left_shift(self: Tensor, other: Any) -> Tensor:
        """self << other, on integers."""
        return _bits_of(_SHL, self, other)

    bitwise_left_shift_ = in_place(bitwise_left_shift)

    def __lshift__(self: Tensor, other: Any) -> Any:
        """self << other, on integers."""
        return _bits(_SHL, self, other)

    __ilshift__ = augmented(__lshift__)

    def __rlshift__(self: Tensor, other: Any) -> Any:
        return _reflected(_SHL, other, self)

    @both("bitwise_right_shift")
    def bitwise_right_shift(self: Tensor, other: Any) -> Tensor:
        """self >> other, on integers; keeps the sign."""
        return _bits_of(_SHR, self, other)

    bitwise_right_shift_ = in_place(bitwise_right_shift)

    def __rshift__(self: Tensor, other: Any) -> Any:
        """self >> other, on integers; keeps the sign."""
        return _bits(_SHR, self, other)

    __irshift__ = augmented(__rshift__)

    def __rrshift__(self: Tensor, other: Any) -> Any:
        return _reflected(_SHR, other, self)

    @both("bitwise_not")
    def bitwise_not(self: Tensor) -> Tensor:
        """~self, on integers; on bools "not"."""
        if self.dtype.kind in "fc":
            raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
        return _NOT((self,))

    __invert__ = bitwise_not
    bitwise_not_ = in_place(bitwise_not)

    # --- questions about numbers

    @both("isnan")
    def isnan(self: Tensor) -> Tensor:
        """Whether each element is NaN."""
        return _ISNAN((self,))

    @both("isinf")
    def isinf(self: Tensor) -> Tensor:
        """Whether each element is an infinity."""
        return _ISINF((self,))

    @both("isfinite")
    def isfinite(self: Tensor) -> Tensor:
        """Whether each element is neither NaN nor an infinity."""
        return _ISFINITE((self,))

    @both("isclose")
    def isclose(self: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08,
                equal_nan: bool = False) -> Tensor:
        """Whether |self - other| <= atol + rtol * |other|; equal infinities are close, NaNs only with ``equal_nan``."""
        require_tensor(other, "isclose", "other", 2)
        if self.dtype is not other.dtype:
            raise RuntimeError(f"{type_name(self.dtype)} did not match {type_name(other.dtype)}")
        for name, tolerance in (("rtol", rtol), ("atol", atol)):
            if tolerance < 0:
                raise RuntimeError(f"{name} must be greater than or equal to zero, but got {tolerance}")
        close = self == other
        if self.dtype.kind in "fc":
            near = (self - other).abs() <= other.abs() * rtol + atol
            close = close | (near & self.isfinite() & other.isfinite())
            if equal_nan:
                close = close | (self.isnan() & other.isnan())
        elif self.dtype is not bool_:
            close = close | ((self - other).abs() <= other.abs() * rtol + atol)
        return close

    @both("allclose")
    def allclose(self: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08,
                 equal_nan: bool = False) -> bool:
        """Whether ``isclose`` holds for all elements."""
        return bool(self.isclose(other, rtol, atol, equal_nan).all().item())

    @both("equal")
    def equal(self: Tensor, other: Tensor) -> bool:
        """Whether both have the same shape and the same elements."""
        require_tensor(other, "equal", "other", 2)
        return self.shape == other.shape and bool((self == other).all().item())


with_number_first("bitwise_and", lambda a, b: a & b)
with_number_first("bitwise_or", lambda a, b: a | b)
with_number_first("bitwise_xor", lambda a, b: a ^ b)
with_number_first("bitwise_left_shift", lambda a, b: a << b)
with_number_first("bitwise_right_shift", lambda a, b: a >> b)
