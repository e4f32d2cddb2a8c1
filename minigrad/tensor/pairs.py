"""Stage: front. In: two Tensors, or a Tensor and a number. Out: functions of each pair of elements, recorded: copysign,
hypot, fmax, gcd, nextafter …
Next: ``encoding.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minigrad.dtype import DType, bool_, complex128, float32, float64, int32, uint8, uint16, uint32, uint64
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.base import AnyTensor
from minigrad.tensor.definition import both, function, in_place
from minigrad.tensor.function import tensor_function
from minigrad.tensor.functions import double
from minigrad.tensor.operands import (
    MixedFunction,
    all_fitted,
    checked,
    fitted_gradient,
    is_number,
    not_for,
    require_tensor,
    result_dtype,
)
from minigrad.tensor.outputs import into
from minigrad.tensor.promotion import floating, number, type_name
from minigrad.tensor.quotients import INTEGER_OF_SIZE, sign_bit

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

UNSIGNED_OF_SIZE = {1: uint8, 2: uint16, 4: uint32, 8: uint64}

_STEPS = {1: 12, 2: 24, 4: 47, 8: 93}
"""How many divisions Euclid's algorithm needs at most for integers of so many bytes: those of two Fibonacci numbers."""


def _is_nan(x: LazyBuffer) -> LazyBuffer:
    return x.binary(Op.EQ, x).unary(Op.NOT) if x.dtype.kind == "f" else x.cast(bool_).like(False)


def copysign_value(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
    """The magnitude of x with the sign of y, both of one type and shape; a zero or NaN has a sign, too."""
    return x.unary(Op.ABS).binary(Op.MUL, sign_bit(y).where(x.like(-1.0), x.like(1.0)))


def _copysign_gradient(g: LazyBuffer, x: LazyBuffer, y: LazyBuffer, out: LazyBuffer) -> tuple[LazyBuffer, None]:
    """g times the result divided by x; 0 at 0, and, as in PyTorch, NaN where x is infinite or NaN."""
    nothing = x.binary(Op.EQ, x.like(0.0))
    slope = nothing.where(x.like(0.0), out.binary(Op.DIV, nothing.where(x.like(1.0), x)))
    return g.binary(Op.MUL, slope), None


def _hypot(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
    """The larger leg times sqrt(1 + ratio²), which overflows only where the result does."""
    x, y = x.unary(Op.ABS), y.unary(Op.ABS)
    long, short = x.binary(Op.MAXIMUM, y), x.binary(Op.MINIMUM, y)
    edge = long.binary(Op.EQ, long.like(0.0)).binary(Op.OR, long.binary(Op.EQ, long.like(float("inf"))))
    infinite = x.binary(Op.EQ, x.like(float("inf"))).binary(Op.OR, y.binary(Op.EQ, y.like(float("inf"))))
    ratio = short.binary(Op.DIV, edge.where(long.like(1.0), long))
    inside = long.binary(Op.MUL, ratio.like(1.0).binary(Op.ADD, ratio.binary(Op.MUL, ratio)).unary(Op.SQRT))
    return infinite.where(x.like(float("inf")), edge.where(long, inside))


def _hypot_gradient(g: LazyBuffer, x: LazyBuffer, y: LazyBuffer, out: LazyBuffer) -> tuple[LazyBuffer, LazyBuffer]:
    """g times x and y divided by the result; NaN at 0 and 0."""
    return g.binary(Op.MUL, x.binary(Op.DIV, out)), g.binary(Op.MUL, y.binary(Op.DIV, out))


def _first_if(x: LazyBuffer, y: LazyBuffer, below: LazyBuffer) -> LazyBuffer:
    """x where y is below it (or above, for the minimum) or NaN, else y."""
    first = below.binary(Op.OR, x.binary(Op.EQ, y)).binary(Op.OR, _is_nan(y))
    return first.where(x, y)


def _gcd(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
    """Euclid's algorithm, with as many steps as the longest pair of the type needs. Magnitudes are unsigned: that of
    the smallest integer has no other form."""
    dtype = x.dtype
    if dtype.kind != "u":
        x, y = [v.unary(Op.ABS).cast(UNSIGNED_OF_SIZE[dtype.size]) for v in (x, y)]
    for _ in range(_STEPS[x.dtype.size]):
        done = y.binary(Op.EQ, y.like(0))
        x, y = done.where(x, y), done.where(y, x.binary(Op.MOD, y))
    return x.cast(dtype)


def _lcm(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
    """Small types are computed in int32 and cut, as in C."""
    divisor, dtype = _gcd(x, y), x.dtype
    if dtype.size < 4:
        x, y, divisor = [v.cast(int32) for v in (x, y, divisor)]
    result = x.binary(Op.FLOORDIV, divisor).binary(Op.MUL, y)
    return (result if dtype.kind == "u" else result.unary(Op.ABS)).cast(dtype)


def _nextafter(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
    """Neighbours of one sign have neighbouring bits; the neighbours of 0 are the smallest numbers."""
    integer = INTEGER_OF_SIZE[x.dtype.size]
    bits, zero = x.bitcast(integer), x.like(0.0)
    grows = x.binary(Op.LT, y).binary(Op.EQ, zero.binary(Op.LT, x))
    moved = bits.binary(Op.ADD, grows.where(bits.like(1), bits.like(-1))).bitcast(x.dtype)
    least = bits.like(1).bitcast(x.dtype)
    from_zero = zero.binary(Op.LT, y).where(least, least.unary(Op.NEG))
    moved = x.binary(Op.EQ, zero).where(from_zero, moved)
    moved = x.binary(Op.EQ, y).where(y, moved)
    return _is_nan(x).binary(Op.OR, _is_nan(y)).where(x.binary(Op.ADD, y), moved)


def _heaviside(x: LazyBuffer, values: LazyBuffer) -> LazyBuffer:
    positive = x.like(0).binary(Op.LT, x).where(x.like(1), x.like(0))
    return x.binary(Op.EQ, x.like(0)).where(values, positive)


def _row(name: str, formula: Any, node: str = "NotDifferentiable") -> MixedFunction:
    return MixedFunction(name, all_fitted(formula), node)


def _wide(formula: Any) -> Any:
    """The formula, with a half type computed in float32 and rounded at the end."""
    return lambda x, y: formula(x.cast(wide_of(x.dtype)), y.cast(wide_of(x.dtype))).cast(x.dtype)


def wide_of(dtype: DType) -> DType:
    """The type in which formulas of several steps are computed."""
    from_half: DType = floating(int32)
    return dtype if dtype.size != 2 else from_half


_COPYSIGN = _row("copysign", copysign_value, "CopysignBackward0")
_COPYSIGN.body.gradient = fitted_gradient(_copysign_gradient, result=True)
_HYPOT = _row("hypot", _wide(_hypot), "HypotBackward0")
_HYPOT.body.gradient = fitted_gradient(_hypot_gradient, double, result=True)
_FMAX = _row("fmax", lambda x, y: _first_if(x, y, y.binary(Op.LT, x)), "FmaxBackward0")
_FMIN = _row("fmin", lambda x, y: _first_if(x, y, x.binary(Op.LT, y)), "FminBackward0")
_GCD, _LCM = _row("gcd", _gcd), _row("lcm", _lcm)
_NEXTAFTER = _row("nextafter", _nextafter, "NextafterBackward0")
_NEXTAFTER.body.gradient = fitted_gradient(lambda g, x, y: (x.binary(Op.EQ, y).where(g.like(0.0), g), None))
_HEAVISIDE = _row("heaviside", _heaviside, "NotImplemented")


def _checked(recorded: MixedFunction, a: Tensor, b: Any, kinds: str) -> Tensor:
    name = recorded.body.name
    require_tensor(b, name, "other", 2)
    dtype = result_dtype((a, b))
    if dtype.kind not in kinds:
        raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{type_name(dtype)}'")
    return recorded.mixed((a, b))


@function("float_power")
def float_power(input: Any, exponent: Any, *, out: Tensor | None = None) -> Tensor:
    """``input`` to the power ``exponent``, both taken in float64, or complex128 if one is complex.

    >>> import minigrad
    >>> minigrad.float_power(minigrad.tensor([4]), 0.5)
    tensor([2.], dtype=minigrad.float64)
    """
    if not isinstance(exponent, AnyTensor):
        require_tensor(input, "float_power", "input", 1)
    dtype = complex128 if result_dtype((input, exponent)).kind == "c" else float64
    wide = [v.to(dtype) if isinstance(v, AnyTensor) else number(v, dtype) for v in (input, exponent)]
    result = wide[0] ** wide[1]
    return into(out, result, "float_power")


def _ldexp(x: Tensor, other: Tensor) -> Tensor:
    if x.dtype.kind != "f" or other.dtype.kind in "fc":
        base = x.new_full((), 2.0) if x.dtype.is_inexact and x.dtype is not float32 else 2.0
        return x * base**other  # PyTorch's power has a dtype of both, but for float32
    wide = double(x._pending())
    half = (other // 2).to(wide)  # 2^other may be too large where the result is not
    return (x.to(wide) * 2.0**half * 2.0**(other.to(wide) - half)).to(x.dtype)


def _ldexp_gradient(inputs: Sequence[Tensor], outputs: Sequence[Tensor], grads: Sequence[Tensor],
                    ) -> Sequence[Tensor | None]:
    """g 2^other, whose power has the dtype of ``other``, as in PyTorch; and g out log 2."""
    (x, other), (out,), (g,) = inputs, outputs, grads
    by_power = g * out.conj() * math.log(2.0) if other.dtype.is_inexact else None
    return tuple([None if found is None else (found.real if found.dtype.kind == "c" != t.dtype.kind else found)
                  .sum_to_size(t.shape).to(t.dtype) for found, t in ((g * (2.0**other).conj(), x), (by_power, other))])


_LDEXP = tensor_function("ldexp", "LdexpBackward0", _ldexp, _ldexp_gradient)


class Pairs:
    """Functions of pairs of elements."""

    __slots__ = ()

    @both("copysign")
    def copysign(self: Tensor, other: Any) -> Tensor:
        """The magnitude of self with the sign of ``other``, a Tensor or number, broadcast; -0.0 has the sign -.

        Integers become floats. Source: https://docs.pytorch.org/docs/stable/generated/torch.copysign.html

        >>> import minigrad
        >>> minigrad.tensor([1.5, -2.0]).copysign(minigrad.tensor([-0.0, 1.0]))
        tensor([-1.5000,  2.0000])
        """
        if not isinstance(other, AnyTensor) and not is_number(other):
            checked(NotImplemented, "copysign", other)
        return _COPYSIGN.mixed((self, other), floating(result_dtype((self, other))))

    copysign_ = in_place(copysign)

    @both("hypot")
    def hypot(self: Tensor, other: Tensor) -> Tensor:
        """sqrt(self² + other²), broadcast, without overflow on the way; only of floats.

        >>> import minigrad
        >>> minigrad.tensor([3.0]).hypot(minigrad.tensor([4.0]))
        tensor([5.])
        """
        return _checked(_HYPOT, self, other, "f")

    hypot_ = in_place(hypot)

    @both("fmax")
    def fmax(self: Tensor, other: Tensor) -> Tensor:
        """The larger of each pair, broadcast; if one is NaN, the other."""
        require_tensor(other, "fmax", "other", 2)
        return _FMAX.mixed((self, other))

    @both("fmin")
    def fmin(self: Tensor, other: Tensor) -> Tensor:
        """The smaller of each pair, broadcast; if one is NaN, the other."""
        require_tensor(other, "fmin", "other", 2)
        return _FMIN.mixed((self, other))

    def float_power(self: Tensor, exponent: Any) -> Tensor:
        """self to the power ``exponent``, both taken in float64."""
        return float_power(self, exponent)

    def float_power_(self: Tensor, exponent: Any) -> Tensor:
        """``float_power`` in place; self must be float64."""
        if self.dtype is not float64:
            raise RuntimeError(f"the base given to float_power_ has dtype {type_name(self.dtype)} but the operation's "
                               "result requires dtype Double")
        return self.pow_(exponent)

    @both("ldexp")
    def ldexp(self: Tensor, other: Tensor) -> Tensor:
        """self * 2^other, broadcast; of floats and integers in the floats' dtype, whatever 2^other is.

        >>> import minigrad
        >>> minigrad.tensor([1.5]).ldexp(minigrad.tensor([3]))
        tensor([12.])
        """
        require_tensor(other, "ldexp", "other", 2)
        if self.dtype.kind == "f" and other.dtype.kind not in "fc":
            not_for("b", other.dtype, "ldexp_cpu_exp")
        return _LDEXP((self, other))

    ldexp_ = in_place(ldexp)

    @both("gcd")
    def gcd(self: Tensor, other: Tensor) -> Tensor:
        """The greatest common divisor of integers, broadcast; gcd(0, 0) is 0.

        >>> import minigrad
        >>> minigrad.tensor([12, 0]).gcd(minigrad.tensor([18, 5]))
        tensor([6, 5])
        """
        return _checked(_GCD, self, other, "iu")

    gcd_ = in_place(gcd)

    @both("lcm")
    def lcm(self: Tensor, other: Tensor) -> Tensor:
        """The least common multiple of integers, broadcast; 0 if one of them is 0."""
        return _checked(_LCM, self, other, "iu")

    lcm_ = in_place(lcm)

    @both("nextafter")
    def nextafter(self: Tensor, other: Tensor) -> Tensor:
        """The next number of the type after self in the direction of ``other``, broadcast."""
        return _checked(_NEXTAFTER, self, other, "f")

    nextafter_ = in_place(nextafter)

    @both("heaviside")
    def heaviside(self: Tensor, values: Tensor) -> Tensor:
        """0 below 0, 1 above, and ``values`` at 0, broadcast. Both must have one dtype.

        >>> import minigrad
        >>> minigrad.tensor([-1.0, 0.0, 2.0]).heaviside(minigrad.tensor(0.5))
        tensor([0.0000, 0.5000, 1.0000])
        """
        require_tensor(values, "heaviside", "values", 2)
        if values.dtype is not self.dtype:
            raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
        return _HEAVISIDE.mixed((self, values))

    heaviside_ = in_place(heaviside)
