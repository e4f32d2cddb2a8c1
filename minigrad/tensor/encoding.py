"""Stage: front. In: a Tensor. Out: what the encoding of its numbers says: sign, exponent, infinities; degrees and
radians; and what PyTorch asks of complex numbers, of real ones.
Next: ``complex_numbers.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from minigrad.dtype import bool_, float64, int32, int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor import return_types
from minigrad.tensor.body import refusal
from minigrad.tensor.definition import both, in_place
from minigrad.tensor.function import Function
from minigrad.tensor.functions import rounded_once, row
from minigrad.tensor.pairs import wide_of
from minigrad.tensor.quotients import sign_bit

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _scaled(name: str, factor: float) -> Function:

    def compute(x: LazyBuffer) -> LazyBuffer:
        if x.dtype.kind == "c":
            raise refusal(name, x.dtype)
        return x.binary(Op.MUL, x.like(factor))

    return row(name, rounded_once(compute), name.title())


_DEG2RAD, _RAD2DEG = _scaled("deg2rad", math.pi / 180), _scaled("rad2deg", 180 / math.pi)
_SIGNBIT = Function("signbit", sign_bit, "NotDifferentiable")


def _equals(name: str, value: float) -> Function:
    """Whether an element is this value; no integer is infinite."""

    def compute(x: LazyBuffer) -> LazyBuffer:
        if x.dtype.kind == "c":
            raise refusal(name, x.dtype)
        return x.binary(Op.EQ, x.like(value)) if x.dtype.kind == "f" else x.cast(bool_).like(False)

    return Function(name, compute, "NotDifferentiable")


_ISPOSINF, _ISNEGINF = _equals("isposinf", math.inf), _equals("isneginf", -math.inf)


def _has_no_exponent(x: LazyBuffer) -> LazyBuffer:
    """Whether it is 0, infinite or NaN."""
    return x.binary(Op.EQ, x.like(0.0)).binary(Op.OR, x.unary(Op.ABS).binary(Op.LT, x.like(math.inf)).unary(Op.NOT))


def _frexp(given: LazyBuffer) -> tuple[LazyBuffer, LazyBuffer]:
    """The exponent is in the bits. Numbers below the normal ones are made larger first, which is exact."""
    x = given.cast(wide_of(given.dtype))
    integer, digits, bias = (int64, 52, 1023) if x.dtype is float64 else (int32, 23, 127)
    shift = digits + 2
    small = x.unary(Op.ABS).binary(Op.LT, x.like(2.0 ** (1 - bias)))
    bits = small.where(x.binary(Op.MUL, x.like(2.0**shift)), x).bitcast(integer)
    mask = 2 * bias + 1
    raised = bits.binary(Op.SHR, bits.like(digits)).binary(Op.AND, bits.like(mask))
    exponent = raised.binary(Op.SUB, small.where(bits.like(bias - 1 + shift), bits.like(bias - 1)))
    fraction = bits.binary(Op.AND, bits.like(~(mask << digits))).binary(Op.OR, bits.like((bias - 1) << digits))
    plain = _has_no_exponent(x)
    mantissa = plain.where(x, fraction.bitcast(x.dtype))
    return mantissa.cast(given.dtype), plain.where(exponent.like(0), exponent).cast(int32)


def _frexp_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                    grads: Sequence[LazyBuffer | None]) -> tuple[LazyBuffer | None]:
    """g / 2^exponent. The power is exactly x / mantissa, in float32 of a half, whose 2^16 is infinite: a constant
    between powers of 2, so no gradient flows through its bits."""
    if grads[0] is None:
        return (None,)
    dtype = inputs[0].dtype
    g, x, mantissa = [v.cast(wide_of(dtype)) for v in (grads[0], inputs[0], outputs[0])]
    one, plain = x.like(1.0), _has_no_exponent(x)
    power = plain.where(one, x).binary(Op.DIV, plain.where(one, mantissa))
    power = power.bitcast({8: int64, 4: int32}[x.dtype.size]).bitcast(x.dtype)
    return (g.binary(Op.DIV, power).cast(dtype),)


_FREXP = Function("frexp", _frexp, "FrexpBackward0", _frexp_gradient, differentiable=1)


class Encoding:
    """Signs, exponents, infinities, degrees."""

    __slots__ = ()

    @both("signbit")
    def signbit(self: Tensor) -> Tensor:
        """Whether the sign is minus, also of -0.0 and NaN.

        >>> import minigrad
        >>> minigrad.tensor([1.0, -0.0, -2.0]).signbit()
        tensor([False,  True,  True])
        """
        return _SIGNBIT((self,))

    @both("frexp")
    def frexp(self: Tensor) -> return_types.ReturnType:
        """The named tuple ``(mantissa, exponent)`` with self = mantissa * 2^exponent and 0.5 <= |mantissa| < 1.

        >>> import minigrad
        >>> minigrad.tensor([3.0]).frexp().mantissa, minigrad.tensor([3.0]).frexp().exponent
        (tensor([0.7500]), tensor([2], dtype=minigrad.int32))
        """
        if self.dtype.kind != "f":
            raise RuntimeError("torch.frexp() only supports floating-point dtypes")
        return return_types.frexp(*_FREXP.all((self,)))

    @both("isposinf")
    def isposinf(self: Tensor) -> Tensor:
        """Whether each element is +infinity."""
        return _ISPOSINF((self,))

    @both("isneginf")
    def isneginf(self: Tensor) -> Tensor:
        """Whether each element is -infinity."""
        return _ISNEGINF((self,))

    # --- degrees and radians

    @both("deg2rad")
    def deg2rad(self: Tensor) -> Tensor:
        """Degrees as radians: self * pi / 180."""
        return _DEG2RAD((self,))

    deg2rad_ = in_place(deg2rad)

    @both("rad2deg")
    def rad2deg(self: Tensor) -> Tensor:
        """Radians as degrees: self * 180 / pi."""
        return _RAD2DEG((self,))

    rad2deg_ = in_place(rad2deg)

    @both("dequantize", keywords={"tensor": "input", "tensors": "input"})
    def dequantize(self: Tensor) -> Tensor:
        """self in float32: nothing is quantized here."""
        return self.float()
