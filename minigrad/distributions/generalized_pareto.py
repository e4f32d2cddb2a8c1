"""Stage: front. In: loc, scale and concentration. Out: the generalised Pareto distribution.
Next: ``gamma.py``."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from minigrad.distributions import constraints
from minigrad.distributions.distribution import Distribution
from minigrad.distributions.utils import broadcast_all, uniform
from minigrad.tensor import Tensor, composite, where

__all__ = ["GeneralizedPareto"]


def _shape(concentration: Tensor) -> tuple[Tensor, Tensor]:
    """Whether the concentration counts as 0, and one that is not 0."""
    flat = concentration.abs() <= 1e-8
    return flat, where(flat, 1.0, concentration)


@composite
def _log_density(value: Tensor, loc: Tensor, scale: Tensor, concentration: Tensor) -> Tensor:
    z = (value - loc) / scale
    flat, c = _shape(concentration)
    power = 1 / c + 1
    return -scale.log() - where(flat, z, where(power == 0, power, power * (c * z).log1p()))


@composite
def _log_above(value: Tensor, loc: Tensor, scale: Tensor, concentration: Tensor) -> Tensor:
    z = (value - loc) / scale
    flat, c = _shape(concentration)
    return where(flat, -z, -(c * z).log1p() / c)


@composite
def _quantile(share: Tensor, loc: Tensor, scale: Tensor, concentration: Tensor) -> Tensor:
    flat, c = _shape(concentration)
    log = (-share).log1p()
    return where(flat, loc - scale * log, loc + scale / c * (-c * log).expm1())


class GeneralizedPareto(Distribution):
    """The density (1 + c z)^(-1 / c - 1) / scale, z = (x - loc) / scale, c the concentration; exp(-z) / scale
    for c = 0.

    >>> import minigrad
    >>> GeneralizedPareto(0.0, 1.0, 0.0).log_prob(minigrad.tensor(1.0))
    tensor(-1.)
    """

    arg_constraints: ClassVar[Any] = {
        "loc": constraints.real, "scale": constraints.positive, "concentration": constraints.real}
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expanded(GeneralizedPareto, batch_shape, _instance, {"loc": 0, "scale": 0, "concentration": 0})

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        c = self.concentration
        return constraints.interval(self.loc, where(c < 0, self.loc - self.scale / where(c < 0, c, -1.0), math.inf))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(uniform(self._extended_shape(sample_shape), self.loc))

    def log_prob(self, value: Any) -> Tensor:
        return _log_density(self._checked(value), self.loc, self.scale, self.concentration)

    def log_survival_function(self, value: Any) -> Tensor:
        """The logarithm of the probability of more than ``value``."""
        return _log_above(self._checked(value), self.loc, self.scale, self.concentration)

    def log_cdf(self, value: Any) -> Tensor:
        """log(cdf(value))"""
        return (-self.log_survival_function(value).exp()).log1p()

    def cdf(self, value: Any) -> Tensor:
        return self.log_cdf(value).exp()

    def icdf(self, value: Any) -> Tensor:
        return _quantile(value, self.loc, self.scale, self.concentration)

    @property
    def mean(self) -> Tensor:
        finite = self.concentration < 1
        return where(finite, self.loc + self.scale / (1 - where(finite, self.concentration, 0.5)), math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        finite = self.concentration < 0.5
        c = where(finite, self.concentration, 0.25)
        return where(finite, self.scale**2 / ((1 - c) ** 2 * (1 - 2 * c)), math.nan)

    def entropy(self) -> Tensor:
        return self.scale.log() + self.concentration + 1
