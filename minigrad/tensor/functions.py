"""Stage: front. In: a Tensor. Out: a function of each of its elements, recorded: exp, log, sin, floor …
Formulas are written so that neither they nor their derivatives overflow or lose digits.
Next: ``bounds.py``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from minigrad.dtype import DType, accumulator, bool_, complex64, complex128, float32, float64, int64
from minigrad.graph.function import Gradient, apply
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.runtime.device import get_device
from minigrad.tensor.body import ByType, ForComplex, refusal
from minigrad.tensor.definition import both, in_place
from minigrad.tensor.function import Function, tensor_function
from minigrad.tensor.operands import not_for, not_for_complex
from minigrad.tensor.promotion import floating, type_name

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

Formula = Callable[..., LazyBuffer]


def of_floats(formula: Formula) -> Formula:
    """The formula, for integers too: they are taken in the default floating type."""
    return lambda x: formula(x.cast(floating(x.dtype)))


def rounded_once(formula: Formula) -> Formula:
    """The formula of several steps, for all dtypes: a half type is computed in float32, and rounded at the end."""

    def wide(x: LazyBuffer, *static: Any) -> LazyBuffer:
        dtype = floating(x.dtype)
        return formula(x.cast(dtype).cast(accumulator(dtype)), *static).cast(dtype)

    return wide


def double(x: LazyBuffer) -> DType:
    """The widest type of floats, or of complex numbers, that the device of x has."""
    wide = get_device(x.device).target.float64
    if x.dtype.kind == "c":
        return complex128 if wide else complex64
    return float64 if wide else float32


def in_double(formula: Formula) -> Formula:
    """The formula, for all dtypes: it is computed in float64, and rounded at the end."""

    def wide(x: LazyBuffer) -> LazyBuffer:
        dtype = floating(x.dtype)
        return formula(x.cast(dtype).cast(double(x))).cast(dtype)

    return wide


def slope(formula: Callable[[LazyBuffer, LazyBuffer, LazyBuffer], LazyBuffer]) -> Gradient:
    """The gradient ``formula(g, x, out)`` of a function of one operand, computed as in ``rounded_once``. Of complex
    operands x and out are the conjugates, so that a formula g·f'(x) is right for both."""

    def gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                 grads: Sequence[LazyBuffer | None]) -> tuple[LazyBuffer | None]:
        g, x, out = grads[0], inputs[0], outputs[0]
        if g is None:
            return (None,)
        wide = accumulator(out.dtype)
        found = formula(g.cast(wide), x.cast(out.dtype).cast(wide).conj(), out.cast(wide).conj())
        return (found.cast(out.dtype).cast(x.dtype),)

    return gradient


def by_type(name: str, formula: Formula, gradient: Any = None) -> tuple[Formula, Any]:
    """A formula and its gradient, with those of the same name in ``complex_formulas.py`` for complex operands."""

    def compute(x: LazyBuffer) -> LazyBuffer:
        found = ForComplex.formulas().FUNCTIONS.get(name) if x.dtype.kind == "c" else None
        return formula(x) if found is None else found[0](x)

    def choose(dtype: DType) -> Any:
        found = ForComplex.formulas().FUNCTIONS.get(name) if dtype.kind == "c" else None
        return gradient if found is None else slope(lambda g, z, out: g.binary(Op.MUL, found[1](z, out)))

    return compute, ByType(choose)


def elementary(name: str, x: LazyBuffer) -> LazyBuffer:
    """exp or log of real or complex values, in a formula. Of complex ones a call, which has its own gradient: that of
    the steps in its body, some of which are of bits, is another."""
    if x.dtype.kind == "c":
        return apply({"exp": _EXP, "log": _LOG}[name].body.at([x]), [x])[0]
    return x.unary({"exp": Op.EXP, "log": Op.LOG}[name])


def row(name: str, formula: Formula, node: str = "", gradient: Any = None) -> Function:
    """A function of each element; ``node`` if its name on the tape is another."""
    compute, gradient = by_type(name, formula, gradient)
    return Function(name, compute, f"{node or name.capitalize()}Backward0", gradient)


def _primitive(name: str, op: str) -> Function:
    return row(name, of_floats(lambda x: x.unary(op)))


_EXP, _LOG, _SQRT = _primitive("exp", Op.EXP), _primitive("log", Op.LOG), _primitive("sqrt", Op.SQRT)
_SIN, _COS = _primitive("sin", Op.SIN), _primitive("cos", Op.COS)
_TANH, _ERF = _primitive("tanh", Op.TANH), _primitive("erf", Op.ERF)


# --- rounding


def _rounding(name: str, op: str) -> Function:
    """A function that leaves integers as they are."""
    return row(name, lambda x: x.unary(op) if x.dtype.kind in "fc" else x.contiguous())


_FLOOR, _CEIL, _TRUNC = _rounding("floor", Op.FLOOR), _rounding("ceil", Op.CEIL), _rounding("trunc", Op.TRUNC)
_ROUND = _rounding("round", Op.ROUND)


def _rounded(function: Function, x: Tensor) -> Tensor:
    not_for("b", x.dtype, f"{function.body.name}_vml_cpu")
    return function((x,))


# --- from the primitives


def _over(x: LazyBuffer, divisor: LazyBuffer) -> LazyBuffer:
    return x.like(1.0).binary(Op.DIV, divisor)


def _sign(x: LazyBuffer) -> LazyBuffer:
    if x.dtype.kind == "c":
        raise refusal("sign", x.dtype)
    if x.dtype is bool_:
        return x.contiguous()
    zero, one = x.like(0), x.like(1)
    minus = one.unary(Op.NEG) if x.dtype.kind != "u" else zero
    return zero.binary(Op.LT, x).where(one, x.binary(Op.LT, zero).where(minus, zero))


def _squared(x: LazyBuffer) -> LazyBuffer:
    x = x if x.dtype is not bool_ else x.cast(int64)
    return x.binary(Op.MUL, x)


_RECIPROCAL = row("reciprocal", of_floats(lambda x: _over(x, x)), "", slope(
    lambda g, x, out: g.unary(Op.NEG).binary(Op.MUL, out.binary(Op.MUL, out))))
_RSQRT = row("rsqrt", rounded_once(lambda x: _over(x, x.unary(Op.SQRT))), "", slope(
    lambda g, x, out: g.binary(Op.MUL, x.like(-0.5)).binary(Op.MUL, out.binary(Op.MUL, out).binary(Op.MUL, out))))
_SQUARE = row("square", _squared, "Pow")
_SIGN = row("sign", _sign)
SGN = row("sign", _sign, "Sgn")
_FRAC = row("frac", lambda x: x.binary(Op.SUB, x.unary(Op.TRUNC)))
_EXP2 = row("exp2", of_floats(lambda x: x.like(2.0).binary(Op.POW, x)))


def _round_to(x: Tensor, decimals: int) -> Tensor:
    scale = 10.0**abs(decimals)
    return (x * scale).round() / scale if decimals > 0 else (x / scale).round() * scale


_ROUND_TO = tensor_function("round", "RoundBackward1", _round_to)


def log1p_value(x: LazyBuffer) -> LazyBuffer:
    """log(u) + c / u where u is 1 + x rounded, and c what the rounding took away. (W. Kahan; O. Møller 1965)"""
    one = x.like(1.0)
    u = one.binary(Op.ADD, x)
    added = u.binary(Op.SUB, x)
    lost = x.binary(Op.SUB, u.binary(Op.SUB, added)).binary(Op.ADD, one.binary(Op.SUB, added))
    log = u.unary(Op.LOG)
    finite = log.unary(Op.ABS).binary(Op.LT, x.like(math.inf))
    repaired = finite.where(log.binary(Op.ADD, lost.binary(Op.DIV, u)), log)
    return u.binary(Op.EQ, one).where(x, repaired)


def _expm1(x: LazyBuffer) -> LazyBuffer:
    return (_expm1_in_full if x.dtype is double(x) else in_double(expm1_of_single))(x)


def _expm1_in_full(x: LazyBuffer) -> LazyBuffer:
    """With u = exp(x) rounded, (u - 1) * x / log(u) repairs what the rounding lost (W. Kahan)."""
    one = x.like(1.0)
    u = x.unary(Op.EXP)
    less = u.binary(Op.SUB, one)
    repaired = less.binary(Op.MUL, x.binary(Op.DIV, u.unary(Op.LOG)))
    near = x.unary(Op.ABS).binary(Op.LT, one)
    return u.binary(Op.EQ, one).where(x, near.where(repaired, less))


def expm1_of_single(x: LazyBuffer) -> LazyBuffer:
    """In float64, to the digits of float32: exp(x) - 1, and near 0, where digits cancel, x + x²/2 + x³/6 + x⁴/24."""
    near = x.unary(Op.ABS).binary(Op.LT, x.like(2.0**-7))
    total = x.like(1 / 24)
    for c in (1 / 6, 1 / 2, 1.0):
        total = total.binary(Op.MUL, x).binary(Op.ADD, x.like(c))
    return near.where(total.binary(Op.MUL, x), x.unary(Op.EXP).binary(Op.SUB, x.like(1.0)))


def _plus_one(x: LazyBuffer) -> LazyBuffer:
    return x.binary(Op.ADD, x.like(1.0))


LOG1P = row("log1p", rounded_once(log1p_value), "Log1P", slope(lambda g, x, out: g.binary(Op.DIV, _plus_one(x))))
EXPM1 = row("expm1", of_floats(_expm1), gradient=slope(lambda g, x, out: g.binary(Op.MUL, _plus_one(out))))


class Functions:
    """Functions of each element: exp, log, sin, floor …"""

    __slots__ = ()

    @both("exp")
    def exp(self: Tensor) -> Tensor:
        """e to the power of each element."""
        return _EXP((self,))

    exp_ = in_place(exp)

    @both("log")
    def log(self: Tensor) -> Tensor:
        """The natural logarithm; -inf at 0, NaN below."""
        return _LOG((self,))

    log_ = in_place(log)

    @both("sqrt")
    def sqrt(self: Tensor) -> Tensor:
        """The square root; NaN below 0."""
        return _SQRT((self,))

    sqrt_ = in_place(sqrt)

    @both("sin")
    def sin(self: Tensor) -> Tensor:
        """The sine of an angle in radians."""
        return _SIN((self,))

    sin_ = in_place(sin)

    @both("cos")
    def cos(self: Tensor) -> Tensor:
        """The cosine of an angle in radians."""
        return _COS((self,))

    cos_ = in_place(cos)

    @both("tanh")
    def tanh(self: Tensor) -> Tensor:
        """The hyperbolic tangent."""
        return _TANH((self,))

    tanh_ = in_place(tanh)

    @both("erf")
    def erf(self: Tensor) -> Tensor:
        """The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
        return _ERF((self,))

    erf_ = in_place(erf)

    # --- rounding

    @both("floor")
    def floor(self: Tensor) -> Tensor:
        """The largest integer not above each element."""
        return _rounded(_FLOOR, self)

    floor_ = in_place(floor)

    @both("ceil")
    def ceil(self: Tensor) -> Tensor:
        """The smallest integer not below each element."""
        return _rounded(_CEIL, self)

    ceil_ = in_place(ceil)

    @both("trunc", "fix")
    def trunc(self: Tensor) -> Tensor:
        """Each element without its fraction."""
        return _rounded(_TRUNC, self)

    fix = trunc
    trunc_ = in_place(trunc)
    fix_ = trunc_

    @both("round")
    def round(self: Tensor, *, decimals: int = 0) -> Tensor:
        """The nearest number with that many decimals, ties to even.

        >>> import minigrad
        >>> minigrad.tensor([0.5, 1.5, 2.5]).round()
        tensor([0., 2., 2.])
        """
        if decimals and self.dtype.kind == "f":
            return _ROUND_TO((self,), (decimals,))
        if decimals:
            raise NotImplementedError(f"\"round_cpu\" not implemented for '{type_name(self.dtype)}'")
        not_for("b", self.dtype, "round_vml_cpu")
        return _ROUND((self,))

    round_ = in_place(round)

    @both("frac")
    def frac(self: Tensor) -> Tensor:
        """self - trunc(self)."""
        not_for_complex(self, "frac")
        not_for("biu", self.dtype, "frac_cpu")
        return _FRAC((self,))

    frac_ = in_place(frac)

    # --- from the primitives

    @both("reciprocal")
    def reciprocal(self: Tensor) -> Tensor:
        """1 / self."""
        return _RECIPROCAL((self,))

    reciprocal_ = in_place(reciprocal)

    @both("rsqrt")
    def rsqrt(self: Tensor) -> Tensor:
        """1 / sqrt(self)."""
        return _RSQRT((self,))

    rsqrt_ = in_place(rsqrt)

    @both("square")
    def square(self: Tensor) -> Tensor:
        """self * self."""
        return _SQUARE((self,))

    square_ = in_place(square)

    @both("sign")
    def sign(self: Tensor) -> Tensor:
        """-1, 0 or 1 by the sign of each element; its slope is 0."""
        return _SIGN((self,))

    sign_ = in_place(sign)

    @both("exp2")
    def exp2(self: Tensor) -> Tensor:
        """2 to the power of each element."""
        return _EXP2((self,))

    exp2_ = in_place(exp2)

    @both("log1p")
    def log1p(self: Tensor) -> Tensor:
        """log(1 + self), exact to the last digits also near 0.

        >>> import minigrad
        >>> minigrad.tensor([1e-10]).log1p()
        tensor([1.0000e-10])
        """
        return LOG1P((self,))

    log1p_ = in_place(log1p)

    @both("expm1", "special_expm1")
    def expm1(self: Tensor) -> Tensor:
        """exp(self) - 1, exact to the last digits also near 0.

        >>> import minigrad
        >>> minigrad.tensor([1e-10]).expm1()
        tensor([1.0000e-10])
        """
        return EXPM1((self,))

    special_expm1 = expm1
    expm1_ = in_place(expm1)
