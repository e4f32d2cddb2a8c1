"""Stage: front. In: Tensors of parameters. Out: Tensors of random numbers whose samplers reject some of what they draw:
gamma, Poisson, binomial. NumPy draws them on the host from the generator's stream; with one seed they repeat, but they
are not PyTorch's numbers. Gamma numbers have a gradient in the parameter.
Next: ``convert.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.autograd.function import Transposed as TapeFunction
from minigrad.dtype import float64
from minigrad.graph.lazy import LazyBuffer
from minigrad.tensor.definition import function
from minigrad.tensor.elements import concrete
from minigrad.tensor.formula import Value, choose
from minigrad.tensor.generator import Generator
from minigrad.tensor.operands import MixedFunction, all_fitted, broadcast_shapes
from minigrad.tensor.promotion import type_name
from minigrad.tensor.random import drawn_like, of_parameters
from minigrad.tensor.special_pairs import parts

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _gamma_slope_value(a: LazyBuffer, x: LazyBuffer) -> LazyBuffer:
    """∂x/∂a = -(∂P(a, x)/∂a) / (∂P(a, x)/∂x), in which the powers and exponentials cancel."""
    shape, order = Value(a.cast(float64)), Value(x.cast(float64))
    lower, _, growth = parts(shape, order)
    return (order * choose(lower, -growth / shape, growth)).lazy.cast(a.dtype)


_GAMMA_SLOPE = MixedFunction("standard_gamma_grad", all_fitted(_gamma_slope_value), "NotDifferentiable")


class StandardGamma(TapeFunction):
    """Numbers x of the gamma distribution of shape a and rate 1. With the share P(a, x) of smaller numbers kept, x
    moves by ∂x/∂a as a does. (M. Figurnov, S. Mohamed, A. Mnih 2018)"""

    @staticmethod
    def forward(ctx: Any, a: Tensor, generator: Generator | None) -> Tensor:
        values = concrete(a, "_standard_gamma")
        x = drawn_like(a, lambda g: g.sampled(lambda numpy: numpy.standard_gamma(values.astype(np.float64))), generator)
        x = x.clamp(min=_tiny(a))
        ctx.save_for_backward(a, x)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        a, x = ctx.saved_tensors
        return grads[0] * _GAMMA_SLOPE.mixed((a.detach(), x.detach())), None


def _tiny(a: Tensor) -> float:
    """The smallest normal number of the dtype."""
    return {8: 2.0**-1022, 4: 2.0**-126}.get(a.dtype.size, 2.0**-14 if a.dtype.name == "float16" else 2.0**-126)


@function("_standard_gamma")
def standard_gamma(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Numbers of the gamma distribution with the shapes ``input`` and rate 1.

    >>> import minigrad
    >>> standard_gamma(minigrad.tensor([1e8])).shape
    minigrad.Size([1])
    """
    return StandardGamma.apply(input, generator)


@function("poisson")
def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Counts of Poisson's distribution with the rates ``input``, in its dtype. ``RuntimeError`` for a negative rate."""
    if input.dtype.kind != "f":
        raise NotImplementedError(f"\"poisson_cpu\" not implemented for '{type_name(input.dtype)}'")
    rates = concrete(input, "poisson").astype(np.float64)
    if not (rates >= 0).all():
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    drawn = drawn_like(input, lambda g: g.sampled(lambda numpy: numpy.poisson(rates)), generator)
    return of_parameters("Poisson", drawn, [input])


@function("binomial")
def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """How many of ``count`` trials succeed, each with probability ``prob``, in their dtype; the shapes broadcast.
    Counts below 0 are 0, probabilities are taken into [0, 1]. ``ValueError`` for other than floating types."""
    for name, given in (("count", count), ("prob", prob)):
        if given.dtype.kind != "f":
            raise ValueError(f"binomial only supports floating-point dtypes for {name}, got: {type_name(given.dtype)}")
    if count.dtype is not prob.dtype:
        raise RuntimeError(f"Found dtype {type_name(prob.dtype)} but expected {type_name(count.dtype)}")
    like = prob.detach().expand(broadcast_shapes(count._shape(), prob._shape()))
    whole = np.maximum(concrete(count, "binomial"), 0).astype(np.int64)
    chances = concrete(prob, "binomial").astype(np.float64).clip(0, 1)
    drawn = drawn_like(like, lambda g: g.sampled(lambda numpy: numpy.binomial(whole, chances)), generator)
    return of_parameters("Binomial", drawn, [count, prob])
