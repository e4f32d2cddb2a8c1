"""Stage: front. In: a Tensor. Out: the special functions of its elements, recorded: the gamma function's logarithm and
its derivatives, inverse error function, normal distribution function, Bessel functions.
They are sums of Chebyshev series and asymptotic series with the dtype's digits; the derivatives are formulas.
Next: ``special_pairs.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minigrad.graph.lazy import LazyBuffer
from minigrad.tensor import series
from minigrad.tensor.definition import both, in_place
from minigrad.tensor.formula import Value, called, chebyshev, choose, elementwise, in_double, polynomial, sine_of_pi
from minigrad.tensor.function import Function
from minigrad.tensor.functions import slope
from minigrad.tensor.operands import whole_number
from minigrad.tensor.promotion import floating
from minigrad.tensor.ranges import arange

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

# Bernoulli's numbers B₂, B₄, …
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
_ROOT_PI = math.sqrt(math.pi)


# --- gamma


def _lgamma_above(x: Value) -> Value:
    """log Γ(x), x >= 0: near 1 and 2 a series times the distance, which keeps all digits at the zeros; other small
    x are moved there by Γ(x + 1) = x Γ(x); from 7.5 on Stirling's series."""
    near = x.floor() + choose(x - x.floor() < 0.5, 0.0, 1.0)  # the whole number at most 0.5 away
    tiny = x < 0.5
    shift = choose(tiny, -2.0, choose(near < 1.5, -1.0, near - 2.0))
    inside = choose(x < 7.5, x - 2.0 - shift, 0.0)
    product = choose(tiny, x * (x + 1.0), 1.0)
    for k in range(1, 6):
        product = product * choose(shift > k - 0.5, x - float(k), 1.0)
    middle = chebyshev(series.LGAMMA, inside, -0.5, 0.5) * inside
    log = product.log()
    small = choose(shift < 0.0, middle - log, middle + log)
    small = choose(shift.equals(-1.0), chebyshev(series.LGAMMA_ONE, inside, -0.5, 0.5) * inside, small)
    large = choose(x < 7.5, 7.5, x)
    inverse = 1.0 / (large * large)
    stirling = polynomial([b / (2 * k * (2 * k - 1)) for k, b in enumerate(BERNOULLI, 1)], inverse) / large
    far = (large - 0.5) * (large.log() - 1.0) + (stirling + (0.5 * math.log(2 * math.pi) - 0.5))
    return choose(x < 7.5, small, far)


def _lgamma(x: Value) -> Value:
    """Below 0 by Γ(x) Γ(1 - x) = π / sin(πx)."""
    size = x.abs()
    below = x < 0.0
    above = _lgamma_above(choose(below, 1.0 + size, size))
    sine, _ = sine_of_pi(size)
    reflected = choose(above.equals(math.inf), math.inf, -(sine / math.pi).log() - above)
    return choose(x.equals(x), choose(below, reflected, above) + 0.0, x)


def _digamma(x: Value) -> Value:
    """ψ(x) = ψ(x + 1) - 1/x up to 8, then the asymptotic series; below 0 by ψ(x) = ψ(1 - x) - π / tan(πx)."""
    below = x < 0.0
    y = choose(below, 1.0 - x, x)
    moved = y
    total: Any = y * 0.0
    for _ in range(8):
        more = moved < 8.0
        total = total + choose(more, 1.0 / choose(more, moved, 1.0), 0.0)
        moved = choose(more, moved + 1.0, moved)
    inverse = 1.0 / (moved * moved)
    tail = polynomial([b / (2 * k) for k, b in enumerate(BERNOULLI, 1)], inverse) * inverse
    value = moved.log() - 0.5 / moved - tail - total
    value = choose(y.equals(math.inf), math.inf, value)
    _, cotangent = sine_of_pi(x)
    pole = below & x.equals(x.floor())
    return choose(pole, math.nan, choose(x.equals(0.0), -1.0 / x, choose(below, value - cotangent * math.pi, value)))


def _hurwitz_above(s: Any, q: Value) -> Value:
    """The sum over k of (q + k)^-s, s > 1, q > 0: ten terms, and Euler and Maclaurin's formula for the others. NaN
    where q is infinite, as in PyTorch."""
    total: Any = 0.0
    for k in range(10):
        total = (q + float(k)) ** -s + total
    a = q + 10.0
    power = a ** -s
    inverse = 1.0 / (a * a)
    term, terms = s, []
    for k, b in enumerate(BERNOULLI, 1):
        terms.append(term * (b / math.factorial(2 * k)))
        term = term * ((s + (2.0 * k - 1)) * (s + 2.0 * k))
    return total + power * (a / (s - 1.0) + 0.5 + polynomial(terms, inverse) / a)


def hurwitz(s: Value, q: Value) -> Value:
    """Below 0, where s must be whole, the terms with a negative base are those of f, f + 1 … |q|, f the fraction of
    |q|, with the sign (-1)^s: ζ(s, q) = (-1)^s (ζ(s, f) - ζ(s, |q| + 1)) + ζ(s, 1 - f)."""
    below, pole = q < 0.0, (q < 0.0) & q.equals(q.floor()) | q.equals(0.0)
    size = choose(below & ~pole, -q, 0.5)
    f = size - size.floor()
    safe = choose(s > 1.0, s, 2.0)
    even = choose((safe * 0.5).equals((safe * 0.5).floor()), 1.0, -1.0)
    left = even * (_hurwitz_above(safe, f) - _hurwitz_above(safe, size + 1.0)) + _hurwitz_above(safe, 1.0 - f)
    left = choose(safe.equals(safe.floor()), left, math.nan)
    value = choose(below, left, _hurwitz_above(safe, choose(below | pole, 1.0, q)))
    return choose(s > 1.0, choose(pole, math.inf, value), choose(s.equals(1.0), math.inf, math.nan))


def _trigamma(x: Value) -> Value:
    """ψ′; below 1/2 by ψ′(x) = π² / sin²(πx) - ψ′(1 - x)."""
    below = x < 0.5
    y = choose(below, 1.0 - x, x)
    value = choose(y.equals(math.inf), 0.0, _hurwitz_above(2.0, y))
    sine, _ = sine_of_pi(x)
    return choose(below, (math.pi / sine) * (math.pi / sine) - value, value)


def _polygamma(x: Value, n: int) -> Value:
    if n == 0:
        return called(_DIGAMMA, x)
    if n == 1:
        return _trigamma(x)
    factorial = float(math.factorial(n)) if n <= 170 else math.inf  # as in PyTorch: the product is infinite, or NaN
    return hurwitz(Value(x.lazy.like(n + 1.0), None, x.digits), x) * (factorial if n % 2 else -factorial)


def _polygamma_slope(inputs: Any, outputs: Any, grads: Any, n: int) -> tuple[LazyBuffer | None]:
    found: tuple[LazyBuffer | None] = slope(
        lambda g, x, out: (Value(g) * called(_POLYGAMMA, Value(x), n + 1)).lazy)(inputs, outputs, grads)  # type: ignore[assignment]
    return found


_POLYGAMMA: Function = Function("polygamma", in_double(_polygamma, exactly=True), "PolygammaBackward0",
                                 _polygamma_slope)
_DIGAMMA: Function = elementwise("digamma", _digamma, lambda x, out: called(_POLYGAMMA, x, 1), exactly=True)
_LGAMMA = elementwise("lgamma", _lgamma, lambda x, out: called(_DIGAMMA, x), exactly=True)


# --- the normal distribution


def _scaled_tail(x: Value) -> Value:
    """exp(x²) erfc(x), x >= 0."""
    infinite = x.equals(math.inf)
    return choose(infinite, 0.0, _finite_tail(choose(infinite, 0.0, x)))


def _finite_tail(x: Value) -> Value:
    """exp(x²) erfc(x), x >= 0 and finite; with one division if there are digits to spare."""
    if x.has_digits_to_spare():
        a, b = x + 3.75, x + 0.5
        inverse = 1.0 / (a * b)
        return chebyshev(series.ERFCX, (x - 3.75) * b * inverse, -1.0, 1.0) * 0.5 * a * inverse
    return chebyshev(series.ERFCX, (x - 3.75) / (x + 3.75), -1.0, 1.0) * 0.5 / (0.5 + x)


def _square_exp(x: Value, sign: float) -> Value:
    """exp(sign x²) with x² in two parts, so that its rounding does not count."""
    if x.has_digits_to_spare():
        return (x * x * sign).exp()
    high = (x * 16.0).floor() / 16.0
    low = (x - high) * (x + high)
    return (high * high * sign).exp() * (low * sign).exp()


def _erfc(x: Value) -> Value:
    """A tail without cancellation, or 2 minus it; near 0 by erf, unless there are digits to spare."""
    size = x.abs()
    inside = choose(size < 30.0, size, 30.0)
    tail = _square_exp(inside, -1.0) * _finite_tail(inside)
    outer = choose(x < 0.0, 2.0 - tail, tail)
    if x.has_digits_to_spare():
        return choose(x.equals(x), outer, x)
    return choose(size < 0.5, 1.0 - x.erf(), choose(x.equals(x), outer, x))


def _erfcx(x: Value) -> Value:
    size = x.abs()
    tail = _scaled_tail(size)
    inside = choose(size < 27.0, size, 27.0)
    low = 2.0 * _square_exp(inside, 1.0) - tail
    return choose(x.equals(x), choose(x < 0.0, choose(x < -26.8, math.inf, low), tail), x)


def _erfinv(y: Value) -> Value:
    """Series in w = -log(1 - y²), in three ranges. (M. Giles 2010, with series of our own)"""
    inside = y.abs() < 1.0
    safe = choose(inside, y, 0.0)
    w = -((1.0 - safe) * (1.0 + safe)).log()
    root = choose(w < 6.25, 2.5, w).sqrt()
    middle = chebyshev(series.ERFINV_MIDDLE, choose(w < 6.25, w, 0.0), 0.0, 6.25)
    outer = chebyshev(series.ERFINV_OUTER, choose(root < 4.0, root, 4.0), 2.5, 4.0)
    tail = chebyshev(series.ERFINV_TAIL, choose(root < 4.0, 4.0, root), 4.0, 6.25)
    value = safe * choose(w < 6.25, middle, choose(root < 4.0, outer, tail))
    edge = choose(y.equals(1.0), math.inf, choose(y.equals(-1.0), -math.inf, math.nan))
    return choose(inside, value, edge + y * 0.0)


def ndtr_value(x: Value) -> Value:
    """The normal distribution function: below 0 a tail without cancellation, above 1 minus it; near 0 by erf, unless
    there are digits to spare."""
    size = x.abs()
    inside = choose(size < 40.0, size, 40.0)
    tail = _square_exp(inside, -0.5) * _finite_tail(inside * math.sqrt(0.5)) * 0.5
    outer = choose(x < 0.0, tail, 1.0 - tail)
    if x.has_digits_to_spare():
        return choose(x.equals(x), outer, x)
    return choose(size < 0.5, (x * math.sqrt(0.5)).erf() * 0.5 + 0.5, choose(x.equals(x), outer, x))


def _log_ndtr(x: Value) -> Value:
    scaled = x * math.sqrt(0.5)
    low = (_scaled_tail(choose(x < -1.0, -scaled, 1.0)) * 0.5).log() - choose(x < -1.0, scaled, 0.0) * scaled
    high = (-ndtr_value(-x)).log1p()
    return choose(x < -1.0, choose(x.equals(-math.inf), -math.inf, low), high)


def _ndtri(p: Value) -> Value:
    """In the middle by erfinv, near 0 and 1 series in sqrt(-2 log p)."""
    upper = p > 0.5
    near = choose(upper, 1.0 - p, p)
    least = math.exp(-2.0)
    middle = called(_ERFINV, choose(near < least, 0.0, 2.0 * p - 1.0)) * math.sqrt(2.0)
    root = (choose(near > 0.0, choose(near < least, near, least), least).log() * -2.0).sqrt()
    inverse = 1.0 / root
    short = chebyshev(series.NDTRI_NEAR, choose(root < 6.0, inverse, 0.25), 1 / 6, 0.5)
    far = chebyshev(series.NDTRI_FAR, choose(root < 6.0, 0.1, inverse), 1 / 39, 1 / 6)
    tail = root * choose(root < 6.0, short, far)
    value = choose(near < least, choose(upper, tail, -tail), middle)
    edge = choose(p.equals(0.0), -math.inf, choose(p.equals(1.0), math.inf, math.nan))
    return choose((p > 0.0) & (p < 1.0), value, edge + p * 0.0)


def _log_ndtr_slope(x: Value, out: Value) -> Value:
    """The density divided by ndtr, which below 0 is written with erfcx."""
    below, above = choose(x > 0.0, 0.0, x), choose(x > 0.0, x, 0.0)
    low = math.sqrt(2 / math.pi) / called(_ERFCX, below * -math.sqrt(0.5))
    high = (above * above * -0.5).exp() * (1 / math.sqrt(2 * math.pi)) / called(_NDTR, above)
    return choose(x > 0.0, high, low)


_ERFC = elementwise("erfc", _erfc, lambda x, out: (-(x * x)).exp() * (-2 / _ROOT_PI))
_ERFCX: Function = elementwise("erfcx", _erfcx, lambda x, out: x * 2.0 * out - 2 / _ROOT_PI, "SpecialErfcx")
_ERFINV = elementwise("erfinv", _erfinv, lambda x, out: (out * out).exp() * (_ROOT_PI / 2))
_NDTR: Function = elementwise("special_ndtr", ndtr_value,
                              lambda x, out: (x * x * -0.5).exp() * (1 / math.sqrt(2 * math.pi)))
_LOG_NDTR = elementwise("special_log_ndtr", _log_ndtr, _log_ndtr_slope)
_NDTRI = elementwise("special_ndtri", _ndtri, lambda x, out: (out * out * 0.5).exp() * math.sqrt(2 * math.pi))


# --- Bessel


def _scaled_bessel(order: int) -> Callable[[Value], Value]:
    """exp(-|x|) I₀(x), or exp(-|x|) I₁(x) / x times x."""
    small_series, large_series = ((series.I0E_SMALL, series.I0E_LARGE), (series.I1E_SMALL, series.I1E_LARGE))[order]

    def formula(x: Value) -> Value:
        size = x.abs()
        near = size < 8.0
        small = chebyshev(small_series, choose(near, size, 0.0), 0.0, 8.0)
        far = choose(near, 8.0, size)
        large = chebyshev(large_series, 1.0 / far, 0.0, 0.125) / far.sqrt()
        if order == 0:
            return choose(x.equals(x), choose(near, small, large), x)
        return choose(x.equals(x), choose(near, small * x, choose(x < 0.0, -large, large)), x)

    return formula


_i0e, _i1e = _scaled_bessel(0), _scaled_bessel(1)


def i0_value(x: Value) -> Value:
    """I₀(x)."""
    return _grown(_i0e(x), x, x.abs())


def i1_value(x: Value) -> Value:
    """I₁(x)."""
    return _grown(_i1e(x), x, x)


def _grown(scaled: Value, x: Value, at_infinity: Value) -> Value:
    """exp(|x|) times the value, in two steps, since exp(|x|) overflows before the product does."""
    half = (x.abs() * 0.5).exp()
    return choose(x.abs().equals(math.inf), at_infinity, half * scaled * half)


def _sign(x: Value) -> Value:
    return choose(x < 0.0, -1.0, choose(x > 0.0, 1.0, choose(x.equals(x), 0.0, x)))


def _i1_over_x(x: Value, value: Value, scaled: bool = False) -> Value:
    """Near 0 by its series, whose derivative has all digits too."""
    near = x.abs() < 0.03
    small = choose(near, x, 0.0)
    sum_ = polynomial([0.5, 1 / 16, 1 / 384, 1 / 18432], small * small)
    return choose(near, sum_ * (-(small * _sign(small))).exp() if scaled else sum_, value / choose(near, 1.0, x))


_I0E: Function = elementwise("special_i0e", _i0e, lambda x, out: called(_I1E, x) - _sign(x) * out)
_I1E: Function = elementwise("special_i1e", _i1e, lambda x, out: (
    called(_I0E, x) - out * _sign(x) - _i1_over_x(x, out, True)))
_I0 = elementwise("i0", i0_value, lambda x, out: called(_I1, x))
_I1: Function = elementwise("special_i1", i1_value, lambda x, out: called(_I0, x) - _i1_over_x(x, out))


# --- entropy, sinc


def _entr(x: Value) -> Value:
    inside = x > 0.0
    return choose(inside, -x * choose(inside, x, 1.0).log(), choose(x.equals(0.0), 0.0, choose(
        x.equals(x), -math.inf, x)))


def _logit(x: Value, eps: float | None) -> Value:
    """log(x / (1 - x)), near 1/2 as log(1 + (2x - 1) / (1 - x))."""
    if eps is not None:
        x = choose(x < eps, eps, choose(x > 1.0 - eps, 1.0 - eps, x))
    near = (x > 0.25) & (x < 0.75)
    middle = ((2.0 * choose(near, x, 0.5) - 1.0) / (1.0 - choose(near, x, 0.5))).log1p()
    return choose(near, middle, (x / (1.0 - x)).log())


def _logit_slope(inputs: Any, outputs: Any, grads: Any, eps: float | None) -> Any:
    low, high, outside = (0.0, 1.0, math.nan) if eps is None else (eps, 1.0 - eps, 0.0)

    def known(g: LazyBuffer, x: LazyBuffer, out: LazyBuffer) -> LazyBuffer:
        v = Value(x) + 0.0  # at -0.0 the slope is that at 0
        return choose(~(v < low) & ~(v > high) & v.equals(v), Value(g) / (v * (1.0 - v)), outside).lazy

    return slope(known)(inputs, outputs, grads)


def _sinc(x: Value) -> Value:
    """Exactly 0 at whole numbers; NaN where πx overflows in float64, as in PyTorch."""
    n, turned = x.round(), x * math.pi
    odd = n - (n * 0.5).floor() * 2.0
    sine = ((x - n) * math.pi).sin()
    value = choose(odd.equals(0.0), sine, -sine) / choose(x.equals(0.0), 1.0, turned) + 0.0
    return choose(x.equals(0.0), 1.0, choose(turned.abs().equals(math.inf), math.nan, value))


def _sinc_slope(x: Value, out: Value) -> Value:
    """(cos πx - sinc x) / x, near 0 its series."""
    near = x.abs() < 0.05
    small, there = choose(near, x, 0.0), choose(near, 1.0, x)
    terms = [(-1.0) ** k * math.pi ** (2 * k) / math.factorial(2 * k + 1) * 2 * k for k in range(1, 6)]
    return choose(near, polynomial(terms, small * small) * small, ((there * math.pi).cos() - out) / there)


_ENTR = elementwise("special_entr", _entr, lambda x, out: -x.log() - 1.0)
_LOGIT = Function("logit", in_double(_logit), "LogitBackward0", _logit_slope)
_SINC = elementwise("sinc", _sinc, _sinc_slope)


class Special:
    """Special functions of each element."""

    __slots__ = ()

    @both("lgamma")
    def lgamma(self: Tensor) -> Tensor:
        """log |Γ(self)|; inf at 0, -1, -2 …

        >>> import minigrad
        >>> minigrad.tensor([0.5, 1.0, 5.0]).lgamma()
        tensor([0.5724, 0.0000, 3.1781])
        """
        return _LGAMMA((self,))

    lgamma_ = in_place(lgamma)

    @both("digamma")
    def digamma(self: Tensor) -> Tensor:
        """The derivative of lgamma; NaN at -1, -2 …, and an infinity at 0."""
        return _DIGAMMA((self,))

    digamma_ = in_place(digamma)

    def polygamma(self: Tensor, n: int) -> Tensor:
        """The n-th derivative of digamma. ``RuntimeError`` if n is negative."""
        if whole_number("polygamma", "n", n) < 0:
            raise RuntimeError("polygamma(n, x) does not support negative n.")
        return _POLYGAMMA((self,), (int(n),))

    polygamma_ = in_place(polygamma)

    @both("mvlgamma")
    def mvlgamma(self: Tensor, p: int) -> Tensor:
        """The logarithm of the multivariate gamma function of dimension p, where self is above (p - 1) / 2."""
        if whole_number("mvlgamma", "p", p) < 1:
            raise RuntimeError("p has to be greater than or equal to 1")
        halves = arange(p, dtype=floating(self.dtype), device=self.device) / 2
        return (self.unsqueeze(-1) - halves).lgamma().sum(-1) + p * (p - 1) / 4 * math.log(math.pi)

    mvlgamma_ = in_place(mvlgamma)

    @both("erfc")
    def erfc(self: Tensor) -> Tensor:
        """1 - erf(self), with all digits also where that is small."""
        return _ERFC((self,))

    erfc_ = in_place(erfc)

    @both("erfinv")
    def erfinv(self: Tensor) -> Tensor:
        """The inverse of erf on [-1, 1].

        >>> import minigrad
        >>> minigrad.tensor([0.0, 0.5, 1.0]).erfinv()
        tensor([0.0000, 0.4769,    inf])
        """
        return _ERFINV((self,))

    erfinv_ = in_place(erfinv)

    @both("i0")
    def i0(self: Tensor) -> Tensor:
        """The modified Bessel function of the first kind and order 0."""
        return _I0((self,))

    i0_ = in_place(i0)

    @both("logit")
    def logit(self: Tensor, eps: float | None = None) -> Tensor:
        """log(self / (1 - self)), self clamped to [eps, 1 - eps] first if ``eps`` is given."""
        return _LOGIT((self,), (None if eps is None else float(eps),))

    logit_ = in_place(logit)

    @both("sinc")
    def sinc(self: Tensor) -> Tensor:
        """sin(π self) / (π self), and 1 at 0."""
        return _SINC((self,))

    sinc_ = in_place(sinc)


OF_ONE = {"erfcx": _ERFCX, "ndtr": _NDTR, "log_ndtr": _LOG_NDTR, "ndtri": _NDTRI, "entr": _ENTR, "i0e": _I0E,
          "i1": _I1, "i1e": _I1E}
"""Functions that PyTorch has in ``torch.special`` only."""
