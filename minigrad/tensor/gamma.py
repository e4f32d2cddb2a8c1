"""Stage: front, on the host. In: the shapes of gamma distributions. Out: numbers of them, with their gradient.
Next: ``convert.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.autograd.function import Transposed as TapeFunction
from minigrad.dtype import float64
from minigrad.graph.lazy import LazyBuffer
from minigrad.tensor.elements import concrete
from minigrad.tensor.formula import Value, choose
from minigrad.tensor.generator import Generator
from minigrad.tensor.operands import MixedFunction, all_fitted
from minigrad.tensor.random import drawn_like
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
