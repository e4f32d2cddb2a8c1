"""Stage: front. In: a Tensor. Out: the formulas of the activations that ``Tensor`` has no method for.
Each is written so that its slope is PyTorch's also where two pieces meet, and so that NaN stays NaN.
Next: ``precision.py``."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from minigrad.autograd.keeps import OWN
from minigrad.dtype import accumulator
from minigrad.tensor import Tensor, composite, type_name, where, zeros_like


def require_float(input: Tensor, kernel: str) -> None:
    """``NotImplementedError`` for integers and bools, in PyTorch's words, which name its ``kernel``."""
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{type_name(input.dtype)}'")


def _activation(kernel: str, node: str = "") -> Callable[[Callable[..., Tensor]], Any]:
    """A composite of a floating-point Tensor: half types are computed in float32 and rounded at the end."""

    def decorate(formula: Callable[..., Tensor]) -> Any:
        @wraps(formula)
        def body(input: Tensor, *others: Tensor, **options: Any) -> Tensor:
            require_float(input, kernel)
            wide = accumulator(input.dtype)
            return formula(input.to(wide), *[other.to(wide) for other in others], **options).to(input.dtype)

        return composite(node=node)(body)

    return decorate


def _slope(activation: Any) -> Callable[[Callable[..., Tensor]], None]:
    """Let ``formula(g, x, **options)`` be the gradient of a composite of one Tensor, computed as in ``_activation``."""

    def decorate(formula: Callable[..., Tensor]) -> None:
        def by_hand(outputs: Any, grads: Any, x: Tensor, **options: Any) -> tuple[Tensor]:
            wide = accumulator(x.dtype)
            return (formula(grads[0].to(wide), x.to(wide), **options).to(x.dtype),)

        activation.gradient(by_hand)

    return decorate


@_activation("elu_cpu")
def elu(x: Tensor, *, alpha: float, scale: float = 1.0, input_scale: float = 1.0) -> Tensor:
    """scale * x above 0, else scale * alpha * (exp(input_scale * x) - 1)."""
    above = x > 0
    curve = (where(above, 0.0, x) * input_scale).expm1() * (alpha * scale)
    return where(above, x * scale, curve)


def _elu_slope(g: Tensor, x: Tensor, factor: float, input_scale: float, above: float) -> Tensor:
    """At 0 the slope of the curve, at NaN that of the line; its own slope at 0 is 0."""
    curve = (where(x < 0, x, 0.0) * input_scale).exp() * factor
    return where(x <= 0, g * curve, g * above)


@_slope(elu)
def _(g: Tensor, x: Tensor, *, alpha: float, scale: float = 1.0, input_scale: float = 1.0) -> Tensor:
    return _elu_slope(g, x, alpha * scale * input_scale, input_scale, scale)


@_activation("elu_cpu")
def celu(x: Tensor, *, alpha: float) -> Tensor:
    """x above 0, else alpha * (exp(x / alpha) - 1)."""
    above = x > 0
    return where(above, x, (where(above, 0.0, x) * (1.0 / alpha)).expm1() * alpha)


@_slope(celu)
def _(g: Tensor, x: Tensor, *, alpha: float) -> Tensor:
    return _elu_slope(g, x, 1.0, 1.0 / alpha, 1.0)


@_activation("hardshrink_cpu")
def hardshrink(x: Tensor, *, lambd: float) -> Tensor:
    """0 from -lambd to lambd, elsewhere x."""
    return where((x >= -lambd) & (x <= lambd), 0.0, x)


@_activation("softshrink_check")
def softshrink(x: Tensor, *, lambd: float) -> Tensor:
    """x - lambd above lambd, x + lambd below -lambd, between them 0."""
    return where(x > lambd, x - lambd, where(x < -lambd, x + lambd, where(x == x, 0.0, x)))


@_activation("hardsigmoid_cpu")
def hardsigmoid(x: Tensor) -> Tensor:
    """x / 6 + 1/2, cut off at 0 and 1."""
    return where(x <= -3, 0.0, where(x >= 3, 1.0, (x + 3) / 6))


@_activation("hardswish_cpu")
def hardswish(x: Tensor) -> Tensor:
    """x * hardsigmoid(x)."""
    return x * where(x <= -3, 0.0, where(x >= 3, 6.0, x + 3)) / 6


@_slope(hardswish)
def _(g: Tensor, x: Tensor) -> Tensor:
    """g at NaN."""
    return where(x <= -3, 0.0, where(x < 3, g * (x.clamp(-3.0, 3.0) / 3 + 0.5), g))


@composite
def hardtanh(x: Tensor, *, low: Any, high: Any) -> Tensor:
    """x, cut off at ``low`` and ``high``."""
    return where(x <= low, low, where(x >= high, high, x))


@composite
def threshold(x: Tensor, *, threshold: Any, value: Any) -> Tensor:
    """x above the threshold, else ``value``."""
    return where(x <= threshold, value, x)


@composite
def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """x above 0, else weight * x, with a weight for all or one for each of x's channels (its dimension 1)."""
    if weight.ndim == 1:
        weight = weight.reshape([-1 if axis == 1 else 1 for axis in range(x.ndim)] if x.ndim > 1 else (-1,) * x.ndim)
    return where(x > 0, x, x * weight)


@composite(node="RreluWithNoiseBackward0")
def rrelu(x: Tensor, noise: Tensor) -> Tensor:
    """x * noise: the noise is 1 where x is above 0, and a random slope elsewhere."""
    return x * noise


@_activation("leaky_relu_cpu", "RreluWithNoiseBackward0")
def mean_rrelu(x: Tensor, *, slope: float) -> Tensor:
    """x above 0, else slope * x."""
    return where(x > 0, x, x * slope)


@_activation("mish_cpu")
def mish(x: Tensor) -> Tensor:
    """x * tanh(log(1 + exp(x))), which is x * w / (w + 2) with w = e * (e + 2) and e = exp(x); in float64, in which e
    has all its digits where x is a small float32."""
    wide = x.double()
    e = where(wide > 30, 30.0, wide).exp()
    w = e * (e + 2)
    return where(x > 30, x, (wide * (w / (w + 2))).to(x.dtype))


@_slope(mish)
def _(g: Tensor, x: Tensor) -> Tensor:
    """g (t + x s (1 - t²)) with t = tanh(softplus(x)) and s = sigmoid(x)."""
    t = x.softplus().tanh()
    return g * (t + x * x.sigmoid() * (1 - t * t))


@_activation("glu_cpu")
def glu(x: Tensor, *, dim: int) -> Tensor:
    """The first half along ``dim`` times the sigmoid of the second."""
    half = x.shape[dim] // 2
    return x.narrow(dim, 0, half) * x.narrow(dim, half, half).sigmoid()


@composite(node="DivBackward0", keeps=((0, OWN),))
def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return x / (x.abs() + 1)


@composite(node="SubBackward0", keeps=((OWN,),))
def tanhshrink(x: Tensor) -> Tensor:
    """x - tanh(x)."""
    return x - x.tanh()


@composite(node="SoftmaxBackward0")
def softmin(x: Tensor, *, dim: int, dtype: Any) -> Tensor:
    """softmax(-x) along ``dim``."""
    return (-x).softmax(dim, dtype)


@composite(node="SoftmaxBackward0")
def gumbel_softmax(logits: Tensor, exponential: Tensor, tau: Tensor, *, dim: int) -> Tensor:
    """softmax((logits + gumbel) / tau), with gumbel = -log of exponentially distributed numbers."""
    return ((logits - exponential.log()) / tau).softmax(dim)


@composite
def to_one_hot(soft: Tensor, *, dim: int) -> Tensor:
    """What to add to ``soft`` so that it is 1 at its largest element along ``dim`` and 0 elsewhere."""
    return zeros_like(soft).scatter(dim, soft.argmax(dim, keepdim=True), value=1.0) - soft
