"""Stage: lower, a pass. In: a kernel. Out: the kernel with EXP, LOG, SIN, COS, TANH, ERF and POW written in the other ops, so
that every renderer gives the same bits. Requires: no half types in them. Guarantees: none of them is left.
Next: ``polynomials.py`` for the coefficients, ``bind.py`` for the pass that names what is used twice."""

from __future__ import annotations

from collections.abc import Callable

from minigrad.dtype import float32, int32, int64
from minigrad.kernel.ir import Apply, Const, Kernel, Value
from minigrad.kernel.walk import all_values, rebuild
from minigrad.lower.passes import polynomials as table
from minigrad.lower.passes.expressions import (
    FORMATS, INFINITY, NAN, Format, absolute, add, bitcast, both, cast, div, equal, fma, horner, left, less, maximum, minimum,
    mul, negate, right, sub, where, with_sign,
)
from minigrad.ops import Op

LOG2_E = 1.4426950408889634
# log(2) as the sum of a number of the dtype and a rest
LN2 = {"float32": (0.693147182464599609375, -1.904654299957767e-09),
       "float64": (0.69314718055994530942, 2.3190468138462996e-17)}

SIGNED = {"float32": int32, "float64": int64}
ROOT_HALF = {"float32": 0x3F3504F3, "float64": 0x3FE6A09E667F3BCD}  # the bits of sqrt(1/2)


def expand_transcendental(kernel: Kernel) -> Kernel:
    """Write every transcendental op in terms of the others.

    >>> from minigrad.kernel.ir import Array, For, Load, Store
    >>> from minigrad.symbolic import num, var
    >>> a, i = Array("a", float32, 4, written=True), var("i", 0, 3)
    >>> body = (Store(a, i, Apply("EXP", (Load(a, i),), float32)),)
    >>> kernel = Kernel("k", (a,), (), For(i, num(0), num(4), 1, "parallel", body))
    >>> expanded = expand_transcendental(kernel)
    >>> sum(isinstance(v, Apply) and v.op == "FMA" for v in all_values(expanded))
    9
    >>> expand_transcendental(expanded) is expanded
    True
    """
    if not any(v.__class__ is Apply and v.op in EXPANSIONS for v in all_values(kernel)):  # type: ignore[union-attr]
        return kernel
    return rebuild(kernel, value=_Expander().value)


class _Expander:
    """Ops on the same operands are expanded once."""

    def __init__(self) -> None:
        self.done: dict[tuple[object, ...], tuple[Value, Value]] = {}

    def value(self, v: Value) -> Value:
        if v.__class__ is not Apply or v.op not in EXPANSIONS:  # type: ignore[union-attr]
            return v
        key = (v.op, *map(id, v.srcs))  # type: ignore[union-attr]
        if key not in self.done:
            self.done[key] = v, EXPANSIONS[v.op](*v.srcs)  # type: ignore[union-attr]
        return self.done[key][1]


def _halves_of_power(form: Format, shifted: Value) -> tuple[Value, Value]:
    """Two powers of 2 whose product is 2^n, for n + ``form.shifter + form.bias``: each is in range where the product is not."""
    whole = bitcast(shifted, form.bits)
    half = right(whole, 1)
    return (bitcast(left(half, form.fraction), form.dtype),
            bitcast(left(sub(whole, half), form.fraction), form.dtype))


def _reduced(form: Format, x: Value, shifter: float) -> tuple[Value, Value]:
    """``n + shifter`` and r with x = n·log(2) + r, n an integer and |r| <= log(2)/2."""
    high, low = LN2[form.dtype.name]
    shifted = fma(x, LOG2_E, shifter)
    n = sub(shifted, shifter)
    return shifted, fma(n, -low, fma(n, -high, x))


def exp(x: Value) -> Value:
    """2^n·exp(r), the multiplication by 2^n in two steps: the first is exact, the second rounds to a subnormal or to inf."""
    form = FORMATS[x.dtype]
    low, high = (-104.0, 89.0) if form.dtype is float32 else (-746.0, 710.0)
    shifted, r = _reduced(form, maximum(minimum(x, high), low), form.shifter + form.bias)
    p = fma(r, fma(r, horner(table.EXP_32 if form.dtype is float32 else table.EXP_64, r), 1.0), 1.0)
    first, second = _halves_of_power(form, shifted)
    return mul(mul(p, first), second)


def split(form: Format, x: Value) -> tuple[Value, Value]:
    """A float e and f with x = 2^e·(1+f), sqrt(1/2) <= 1+f < sqrt(2), for positive finite x."""
    tiny = less(x, form.least_normal)
    scale = form.fraction + 1
    u = bitcast(where(tiny, mul(x, 2.0**scale), x), form.bits)
    least = ROOT_HALF[form.dtype.name]
    moved = sub(u, least)
    exponent = cast(right(bitcast(moved, SIGNED[form.dtype.name]), form.fraction), form.dtype)
    m = bitcast(add(both(moved, (1 << form.fraction) - 1), least), form.dtype)
    return add(exponent, where(tiny, -float(scale), Const(0.0, form.dtype))), sub(m, 1.0)


def log(x: Value) -> Value:
    """e·log(2) + log(1+f)."""
    form = FORMATS[x.dtype]
    e, f = split(form, x)
    high, low = LN2[form.dtype.name]
    square = mul(f, f)
    tail = fma(mul(square, f), horner(table.LOG_32, f), fma(e, low, mul(square, -0.5)))
    result = fma(e, high, add(f, tail))
    plain = less(sub(bitcast(x, form.bits), 1), form.infinity - 1)  # unsigned: neither 0, negative, inf nor NaN
    special = where(equal(x, 0.0), -INFINITY, where(less(x, 0.0), NAN, x))
    return where(plain, result, special)


def tanh(x: Value) -> Value:
    """-d/(1+e) with e = exp(-2|x|) and d = e - 1 = 2^n·(exp(r)-1) + (2^n-1), in which nothing cancels near 0, where n is 0;
    and 1 - 2e/(1+e) where that is more than a half: there the error of d would count twice."""
    form = FORMATS[x.dtype]
    z = maximum(mul(absolute(x), -2.0), -20.0 if form.dtype is float32 else -40.0)
    shifted, r = _reduced(form, z, form.shifter)
    q = fma(mul(r, r), horner(table.EXP_32 if form.dtype is float32 else table.EXP_64, r), r)
    power = bitcast(left(bitcast(shifted, form.bits), form.fraction), form.dtype)
    e = fma(power, q, power)
    d = fma(power, q, sub(power, 1.0))
    large = less(z, -1.1)
    quotient = div(where(large, add(e, e), d), add(e, 1.0))
    return with_sign(sub(where(large, 1.0, Const(0.0, form.dtype)), quotient), x)


EXPANSIONS: dict[str, Callable[..., Value]] = {Op.EXP: exp, Op.LOG: log, Op.TANH: tanh}
