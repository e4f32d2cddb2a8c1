"""Stage: front. In: Tensors of parameters. Out: Tensors of random numbers whose samplers reject some of what they draw:
gamma, Poisson, binomial. NumPy draws them on the host from the generator's stream; with one seed they repeat, but they
are not PyTorch's numbers. Gamma numbers have a gradient in the parameter.
Next: ``gamma.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minigrad import lazily
from minigrad.tensor.definition import function
from minigrad.tensor.elements import concrete
from minigrad.tensor.generator import Generator
from minigrad.tensor.operands import broadcast_shapes
from minigrad.tensor.promotion import type_name
from minigrad.tensor.random import drawn_like, of_parameters

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


@function("_standard_gamma")
def standard_gamma(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Numbers of the gamma distribution with the shapes ``input`` and rate 1.

    >>> import minigrad
    >>> standard_gamma(minigrad.tensor([1e8])).shape
    minigrad.Size([1])
    """
    return lazily.module("minigrad.tensor.gamma").StandardGamma.apply(input, generator)


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
