"""Stage: front. In: two Tensors or numbers. Out: special functions of their elements, broadcast and recorded: x log y,
the logarithm of a sum of exponentials, the angle of a point, the incomplete gamma function.
Next: ``bessel.py``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from minigrad.dtype import bool_, float64
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor import series
from minigrad.tensor.base import AnyTensor
from minigrad.tensor.body import ForComplex
from minigrad.tensor.circular import _ATAN
from minigrad.tensor.definition import both, function, in_place
from minigrad.tensor.formula import Formula, Value, called, chebyshev, choose, polynomial, widened
from minigrad.tensor.function import refusing
from minigrad.tensor.functions import double
from minigrad.tensor.operands import (
    BOOL_NEGATION,
    BOOL_SUBTRACTION,
    MixedFunction,
    all_fitted,
    fitted_gradient,
    not_for,
    require_tensor,
    result_dtype,
)
from minigrad.tensor.promotion import floating
from minigrad.tensor.special import _DIGAMMA, _LGAMMA, BERNOULLI

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _not_of_bools(function: Any, a: Any, b: Any, words: Sequence[str]) -> Any:
    """The Function of two operands, whose backward raises in these words if the first, or the second, is a bool."""
    for place, (given, said) in enumerate(zip((a, b), words, strict=True)):
        if said and isinstance(given, AnyTensor) and given.dtype is bool_ and isinstance((b, a)[place], AnyTensor):
            return refusing(function, ((1 - place, said),))
    return function


def _pair(name: str, formula: Formula, gradients: Any = None,
          of_complex: Callable[[LazyBuffer, LazyBuffer], LazyBuffer] | None = None, refused: str = "",
          of_bools: Sequence[str] = ("", "")) -> Callable[[Any, Any], Tensor]:
    """A function of two operands in their common floating type; half types are computed in float32.
    ``gradients(g, a, b)`` gives both, if they do not follow from the formula. ``of_complex``: the formula for complex
    ones; ``refused``: the kinds of dtypes that PyTorch has no kernel for; ``of_bools``: what PyTorch's formula of the
    gradient by the other says of a bool in the first and in the second place."""

    def computed(a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
        return formula(*widened(a, b)).lazy.cast(a.dtype)

    node = name.title().replace("_", "") + "Backward0"
    recorded = MixedFunction(name, all_fitted(computed), node)
    if gradients is not None:
        recorded.body.gradient = _in_double(gradients)
    of_parts = recorded if of_complex is None else MixedFunction(name, all_fitted(of_complex), node)

    def call(a: Any, b: Any) -> Tensor:
        common = result_dtype((a, b))
        not_for(refused, common, f"{name}_cpu")
        dtype = floating(common)
        chosen = of_parts if dtype.kind == "c" else recorded
        return _not_of_bools(chosen, a, b, of_bools).mixed((a, b), dtype)

    return call


def _xlogy_value(x: Value, y: Value) -> Value:
    nothing = x.equals(0.0) & ~((y > 0.0) & (y < math.inf))
    return choose(y.equals(y), choose(nothing, 0.0, x * choose(nothing, 1.0, y).log()), y)


def _xlog1py_value(x: Value, y: Value) -> Value:
    nothing = x.equals(0.0) & ~((y > -1.0) & (y < math.inf))
    return choose(y.equals(y), choose(nothing, 0.0, x * choose(nothing, 0.0, y).log1p()), y)


def _log_sum(a: Value, b: Value) -> Value:
    """max + log(1 + exp(-|a - b|)); two equal infinities stay what they are."""
    equal = a.equals(b)
    larger = Value(a.lazy.binary(Op.MAXIMUM, b.lazy))
    apart = choose(equal, 0.0, a - b).abs()
    value = larger + (-apart).exp().log1p()
    return choose(equal & a.abs().equals(math.inf), a, value)


def _log2_sum(a: Value, b: Value) -> Value:
    natural = math.log(2.0)
    equal = a.equals(b)
    larger = Value(a.lazy.binary(Op.MAXIMUM, b.lazy))
    apart = choose(equal, 0.0, a - b).abs() * natural
    value = larger + (-apart).exp().log1p() * (1.0 / natural)
    return choose(equal & a.abs().equals(math.inf), a, value)


def _signed(x: Value) -> Value:
    """Whether the sign is minus, of 0 too."""
    return (x < 0.0) | (x.equals(0.0) & (1.0 / x < 0.0))


def angle_value(y: Value, x: Value) -> Value:
    """atan of the smaller by the larger of |y| and |x|, put into its quadrant."""
    steep = y.abs() > x.abs()
    nowhere = y.equals(0.0) & x.equals(0.0)
    both_infinite = y.abs().equals(math.inf) & x.abs().equals(math.inf)
    above, below = choose(steep, x.abs(), y.abs()), choose(steep, y.abs(), x.abs())
    ratio = choose(both_infinite, 1.0, above / choose(nowhere, 1.0, below))
    angle = called(_ATAN, ratio)
    angle = choose(steep, math.pi / 2 - angle, angle)
    angle = choose(nowhere, 0.0, angle)
    angle = choose(_signed(x), math.pi - angle, angle)
    return choose(_signed(y), -angle, angle)


def _angle_slopes(y: Value, x: Value) -> tuple[Value, Value]:
    square = y * y + x * x
    nowhere = square.equals(0.0)
    return choose(nowhere, 0.0, x / square), choose(nowhere, 0.0, -y / square)


def _xlogy_gradients(g: Value, x: Value, y: Value) -> tuple[Value, Value]:
    """Where g is 0 the first is 0, and where x is 0 and the logarithm no number."""
    return choose(x.equals(0.0) & ~(y > 0.0) & y.equals(y), 0.0, _xlogy_value(g, y)), g * x / y


def _xlog1py_gradients(g: Value, x: Value, y: Value) -> tuple[Value, Value]:
    return choose(x.equals(0.0) & ~(y > -1.0) & y.equals(y), 0.0, _xlog1py_value(g, y)), g * x / (y + 1.0)


def _log_sum_slopes(a: Value, b: Value) -> tuple[Value, Value]:
    return 1.0 / ((b - a).exp() + 1.0), 1.0 / ((a - b).exp() + 1.0)


def _log2_sum_slopes(a: Value, b: Value) -> tuple[Value, Value]:
    natural = math.log(2.0)
    return 1.0 / (((b - a) * natural).exp() + 1.0), 1.0 / (((a - b) * natural).exp() + 1.0)


def _by_slopes(slopes: Any) -> Any:
    """The gradient g times each of ``slopes(a, b)``, computed in float64."""
    return lambda g, a, b: tuple([g * by for by in slopes(a, b)])


def _in_double(gradients: Any) -> Any:
    """``gradients(g, a, b)``, computed in float64."""

    def of_lazies(g: LazyBuffer, a: LazyBuffer, b: LazyBuffer) -> tuple[LazyBuffer, ...]:
        return tuple([found.lazy for found in gradients(Value(g), Value(a), Value(b))])

    return fitted_gradient(of_lazies, double)


xlogy_of = _pair("xlogy", _xlogy_value, _xlogy_gradients)
xlog1py_of = _pair("special_xlog1py", _xlog1py_value, _xlog1py_gradients)
_logaddexp = _pair("logaddexp", _log_sum, _by_slopes(_log_sum_slopes),
                   of_complex=lambda a, b: ForComplex.formulas().logaddexp(a, b), refused="biu",
                   of_bools=(BOOL_SUBTRACTION, BOOL_SUBTRACTION))
_logaddexp2 = _pair("logaddexp2", _log2_sum, _by_slopes(_log2_sum_slopes), refused="biu",
                    of_bools=(BOOL_SUBTRACTION, BOOL_SUBTRACTION))
_atan2 = _pair("atan2", angle_value, _by_slopes(_angle_slopes), of_bools=(BOOL_NEGATION, ""))


# --- the incomplete gamma function

_NODES, _FIRST, _STEP = 128, -4.5, 0.075


def _bend_of_exp(v: Value) -> Value:
    """exp(-v) - 1 + v, near 0 by Taylor's series."""
    near = v.abs() < 0.35
    small = choose(near, v, 0.0)
    terms = [(-1.0) ** k / math.factorial(k + 2) for k in range(14)]
    return choose(near, polynomial(terms, small) * small * small, (-v).expm1() + v)


def _bend_of_log(z: Value) -> Value:
    """z - log(1 + z), near 0 by a series."""
    near = (z > -0.4) & (z < 0.6)
    small = choose(near, z, 0.0)
    return choose(near, -chebyshev(series.LOG1P_WIDE, small, -0.4, 0.6) * small * small, z - z.log1p())


def _integrals(a: Value, x: Value, ahead: Value, lower: Value) -> tuple[Value, Value]:
    """With t = x e^(-s) the integral of t^(a-1) e^-t from 0 to x is x^a e^-x times the integral over s > 0 of
    exp(-as - x(e^-s - 1)); with t = x e^s the one from x on likewise, with the other signs. It is summed over
    s = c exp(u - e^-u) for equally spaced u, which converges doubly exponentially. (Takahasi, Mori 1974) The exponent
    is written as -(a - x)s - x(e^-s - 1 + s), of which nothing cancels; ``ahead`` is a - x.

    Returns the integral, and the same with another factor s."""
    shape = x.lazy.shape
    scale = 1.0 / ((x - a).abs() + x.sqrt())

    def spread(v: Value) -> Value:
        return Value(v.lazy.reshape((*shape, 1)).expand((*shape, _NODES)))

    def total(v: Value) -> Value:
        return Value(v.lazy.reduce(Op.SUM, (len(shape),)).reshape(shape))

    index = LazyBuffer.index((*shape, _NODES), len(shape), x.lazy.device).cast(x.lazy.dtype)
    u = Value(index) * _STEP + _FIRST
    fall = (-u).exp()
    s = spread(scale) * (u - fall).exp()
    down = spread(choose(lower, 1.0, -1.0))
    moved = down * s
    value = (-(moved * spread(ahead)) - _bend_of_exp(moved) * spread(x)).exp() * s * (1.0 + fall) * _STEP
    value = choose(value.equals(value), value, 0.0)
    return total(value), total(choose(value.equals(0.0), 0.0, value * s))


def parts(a: Value, x: Value) -> tuple[Value, Value, Value]:
    """Of two shares, of t below x and of t above, the one that is computed: whether it is the lower one; and the share
    and its derivative by a, both divided by x^a e^-x / Γ(a + 1) if it is the lower one, by x^a e^-x / Γ(a) if it is the
    upper one. The lower one is P(a, x) = P(a + 1, x) + x^a e^-x / Γ(a + 1)."""
    lower = x < choose(a < 1.0, 0.3 + 1.7 * a, a + 1.0)
    shifted = choose(lower, a + 1.0, a)
    part, moment = _integrals(shifted, x, (a - x) + choose(lower, 1.0, 0.0), lower)
    growth = x.log() - called(_DIGAMMA, shifted)
    share = choose(lower, 1.0 + x * part, part)
    return lower, share, growth * share + choose(lower, -(x * moment), moment)


def _factor(a: Value, x: Value, lower: Value) -> Value:
    """What ``parts`` divides by; for large a by Stirling's series, in which the large terms have cancelled:
    x^a e^-x / Γ(a) = sqrt(a / 2π) exp(-a (z - log(1 + z)) - δ(a)) with z = (x - a) / a."""
    large = a > 20.0
    b = choose(large, a, 20.0)
    rest = polynomial([c / (2 * k * (2 * k - 1)) for k, c in enumerate(BERNOULLI, 1)], 1.0 / (b * b)) / b
    far = (-(b * _bend_of_log((choose(large, x, 20.0) - b) / b)) - rest).exp() * (b * (1 / (2 * math.pi))).sqrt()
    near = choose(large, 1.0, a)
    value = (near * x.log() - x - called(_LGAMMA, choose(lower, near + 1.0, near))).exp()
    return choose(large, choose(lower, far / b, far), value)


def _share(a: Value, x: Value, below: bool) -> Value:
    inside = (x > 0.0) & (a > 0.0) & (x < math.inf) & (a < math.inf)
    a_safe, x_safe = choose(inside, a, 1.0), choose(inside, x, 1.0)
    lower, part, _ = parts(a_safe, x_safe)
    part = part * _factor(a_safe, x_safe, lower)
    value = choose(lower, part, 1.0 - part) if below else choose(lower, 1.0 - part, part)
    nothing, everything = (0.0, 1.0) if below else (1.0, 0.0)
    zeros, infinities = a.equals(0.0) & x.equals(0.0), a.equals(math.inf) & x.equals(math.inf)
    wrong = (a < 0.0) | (x < 0.0) | zeros | infinities | ~a.equals(a) | ~x.equals(x)
    edge = choose(a.equals(0.0) | x.equals(math.inf), everything, nothing)
    return choose(inside, value, choose(wrong, math.nan, edge))


def _share_slopes(a: Value, x: Value, below: bool) -> tuple[Value, Value]:
    """The derivatives of the share by a and by x."""
    lower, _, by_a = parts(a, x)
    by_a = by_a * _factor(a, x, lower)
    by_a, by_x = choose(lower, by_a, -by_a), ((a - 1.0) * x.log() - x - called(_LGAMMA, a)).exp()
    return (by_a, by_x) if below else (-by_a, -by_x)


def _gamma_function(name: str, below: bool) -> Callable[[Any, Any], Tensor]:
    def computed(a: LazyBuffer, x: LazyBuffer) -> LazyBuffer:
        return _share(Value(a.cast(float64)), Value(x.cast(float64)), below).lazy.cast(a.dtype)

    title = name.title().replace("_", "")
    recorded = MixedFunction(name, all_fitted(computed), f"{title}Backward0")
    recorded.body.gradient = _in_double(_by_slopes(partial(_share_slopes, below=below)))

    def function(a: Any, x: Any) -> Tensor:
        dtype = result_dtype((a, x))
        not_for("biuc", dtype, f"{name}_cpu")
        return _not_of_bools(recorded, a, x, (BOOL_SUBTRACTION, "")).mixed((a, x), dtype)

    return function


gammainc_of, gammaincc_of = _gamma_function("igamma", True), _gamma_function("igammac", False)


class SpecialPairs:
    """Special functions of two operands."""

    __slots__ = ()

    def xlogy(self: Tensor, other: Any) -> Tensor:
        """self * log(other), and 0 where self is 0, whatever other is but NaN."""
        return xlogy_of(self, other)

    xlogy_ = in_place(xlogy)

    @both("logaddexp")
    def logaddexp(self: Tensor, other: Tensor) -> Tensor:
        """log(exp(self) + exp(other)), without overflow."""
        return _logaddexp(self, require_tensor(other, "logaddexp", "other", 2))

    @both("logaddexp2")
    def logaddexp2(self: Tensor, other: Tensor) -> Tensor:
        """log2(2^self + 2^other), without overflow."""
        return _logaddexp2(self, require_tensor(other, "logaddexp2", "other", 2))

    @both("atan2", "arctan2")
    def atan2(self: Tensor, other: Tensor) -> Tensor:
        """The angle of the point (other, self), in [-π, π]."""
        return _atan2(self, require_tensor(other, "atan2", "other", 2))

    arctan2 = atan2
    atan2_ = in_place(atan2)
    arctan2_ = atan2_

    @both("igamma")
    def igamma(self: Tensor, other: Tensor) -> Tensor:
        """The lower regularised incomplete gamma function P(self, other): the share of the integral of t^(a-1) e^-t
        that lies below other. It has a gradient in both.

        >>> import minigrad
        >>> minigrad.tensor([1.0]).igamma(minigrad.tensor([2.0]))
        tensor([0.8647])
        """
        return gammainc_of(self, require_tensor(other, "igamma", "other", 2))

    igamma_ = in_place(igamma)

    @both("igammac")
    def igammac(self: Tensor, other: Tensor) -> Tensor:
        """1 - igamma(self, other), with all digits where that is small."""
        return gammaincc_of(self, require_tensor(other, "igammac", "other", 2))

    igammac_ = in_place(igammac)


@function("polygamma", "special_polygamma")
def polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of digamma.

    >>> import minigrad
    >>> polygamma(1, minigrad.tensor([1.0]))
    tensor([1.6449])
    """
    return input.polygamma(n)


@function("xlogy", "special_xlogy")
def xlogy(input: Any, other: Any) -> Tensor:
    """input * log(other), and 0 where input is 0; one of the two is a Tensor."""
    return xlogy_of(input, other)
