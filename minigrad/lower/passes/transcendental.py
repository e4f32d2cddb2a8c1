"""Stage: lower, a pass. In: a kernel. Out: the kernel with EXP, LOG, SIN, COS, TANH, ERF and POW written in the other
ops, so that every renderer gives the same bits. Requires: nothing. Guarantees: only what is native of them is left.
Next: ``polynomials.py``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from minigrad.dtype import float32
from minigrad.kernel.ir import Apply, Kernel, Value
from minigrad.kernel.walk import all_values, rebuild
from minigrad.lower.passes import polynomials as table
from minigrad.lower.passes.expressions import (
    FORMATS,
    INFINITY,
    LN2,
    NAN,
    absolute,
    bitcast,
    equal,
    fma,
    halves_of_power,
    horner,
    maximum,
    minimum,
    reduced,
    split,
    where,
    with_sign,
)
from minigrad.lower.passes.power import power, short_power
from minigrad.lower.passes.trigonometry import cosine, sine
from minigrad.ops import Op


def expand_transcendental(kernel: Kernel, native: Collection[str] = ()) -> Kernel:
    """Write every transcendental op that is not ``native`` in terms of the others, without branches, within 2 ulp for
    all operands. Even of a native POW only those stay that are of floats and no product, quotient or root.

    exp, log, tanh and erf are a reduction and a minimax polynomial each; sin and cos reduce their operand exactly
    (float32 in float64 arithmetic, float64 in integers); pow has IEEE 754's special cases, integer POW those of
    ``ops.py``. Greatest errors seen, in ulp of float32 and of float64: exp 0.9 and 0.9, log 0.9 and 0.9, sin and cos
    1.61 and 0.9, tanh 1.5 and 1.5, erf 1.72 and 1, pow 0.51 and 1.1; pow with an exponent of 3, 4 or -0.5 1.9.

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
    expansions: dict[str, Callable[..., Value | None]] = {op: f for op, f in EXPANSIONS.items() if op not in native}
    expansions.setdefault(Op.POW, short_power)
    if not any(v.__class__ is Apply and v.op in expansions for v in all_values(kernel)):
        return kernel
    return rebuild(kernel, value=_Expander(expansions).value)


class _Expander:
    """Ops on the same operands are expanded once. An expansion of None leaves the op as it is."""

    def __init__(self, expansions: Mapping[str, Callable[..., Value | None]]) -> None:
        self.expansions = expansions
        self.done: dict[tuple[object, ...], tuple[Value, Value]] = {}

    def value(self, v: Value) -> Value:
        if v.__class__ is not Apply or v.op not in self.expansions:
            return v
        key = (v.op, *map(id, v.srcs))
        if key not in self.done:
            expanded = self.expansions[v.op](*v.srcs)
            self.done[key] = v, v if expanded is None else expanded
        return self.done[key][1]


def exp(x: Value) -> Value:
    """2^n·exp(r), multiplied by 2^n in two steps: the first is exact, the second rounds to a subnormal or to inf."""
    form = FORMATS[x.dtype]
    low, high = (-104.0, 89.0) if form.dtype is float32 else (-746.0, 710.0)
    shifted, r = reduced(form, maximum(minimum(x, high), low), form.shifter + form.bias)
    p = fma(r, fma(r, horner(table.EXP_32 if form.dtype is float32 else table.EXP_64, r), 1.0), 1.0)
    first, second = halves_of_power(form, shifted)
    return p * first * second


def log(x: Value) -> Value:
    """e·log(2) + log(1+f). In float64 log(1+f) = f - (f²/2 - s·(f²/2 + R)) with s = f/(2+f), R of the order of f⁴."""
    form = FORMATS[x.dtype]
    e, f = split(form, x)
    high, low = LN2[form.dtype.name]
    square = f * f
    if form.dtype is float32:
        tail = fma(square * f, horner(table.LOG_32, f), fma(e, low, square * -0.5))
    else:
        s = f / (f + 2.0)
        z = s * s
        tail = fma(s, fma(z, horner(table.LOG_64, z), square * 0.5), fma(e, low, square * -0.5))
    result = fma(e, high, f + tail)
    plain = (bitcast(x, form.bits) - 1) < form.infinity - 1  # unsigned: neither 0, negative, inf nor NaN
    special = where(equal(x, 0.0), -INFINITY, where(x < 0.0, NAN, x))
    return where(plain, result, special)


def tanh(x: Value) -> Value:
    """1 - 2e/(1+e) with e = exp(-2|x|); x plus a polynomial where that is below a half."""
    form = FORMATS[x.dtype]
    single = form.dtype is float32
    size = absolute(x)
    shifted, r = reduced(form, maximum(size * -2.0, -20.0 if single else -40.0), form.shifter)
    p = fma(r, fma(r, horner(table.EXP_32 if single else table.EXP_64, r), 1.0), 1.0)
    e = p * bitcast(bitcast(shifted, form.bits) << form.fraction, form.dtype)
    large = 1.0 - (e + e) / (e + 1.0)
    u = size * size
    small = fma(size * u, horner(table.TANH_32 if single else table.TANH_64, u), size)
    return with_sign(where(size < 0.55, small, large), x)


def erf(x: Value) -> Value:
    """x plus a polynomial below 1.25, 1 - erfc(x) above, with erfc a polynomial up to where it no longer counts."""
    single = x.dtype is float32
    size = absolute(x)
    u = size * size
    small = fma(size, horner(table.ERF_32 if single else table.ERF_64, u), size)
    t = minimum(size, 4.0) - 2.625 if single else minimum(size, 6.0) - 3.625
    large = 1.0 - horner(table.ERFC_32 if single else table.ERFC_64, t)
    return with_sign(where(size < 1.25, small, large), x)


EXPANSIONS: dict[str, Callable[..., Value]] = {
    Op.EXP: exp, Op.LOG: log, Op.SIN: sine, Op.COS: cosine, Op.TANH: tanh, Op.ERF: erf, Op.POW: power}
