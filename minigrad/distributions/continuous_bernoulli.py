"""Stage: front. In: probs or logits. Out: the continuous Bernoulli distribution.
Next: ``relaxed_bernoulli.py``."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from minigrad.distributions import constraints
from minigrad.distributions.choices import BinaryChoice
from minigrad.distributions.exp_family import ExponentialFamily
from minigrad.distributions.utils import broadcast_all, clamp_probs, lazy_property, logits_to_probs, uniform
from minigrad.nn import functional as F
from minigrad.tensor import Tensor, composite, where

__all__ = ["ContinuousBernoulli"]


@composite
def _log_norm(probs: Tensor, *, lims: tuple[float, float]) -> Tensor:
    """log of 2 atanh(1 - 2p) / (1 - 2p), and a Taylor series near 1/2, where that is 0 / 0."""
    outside, cut = _cut(probs, lims)
    below, above = cut.clamp(max=0.5), cut.clamp(min=0.5)
    below, above = where(cut <= 0.5, below, 0.0), where(cut >= 0.5, above, 1.0)
    norm = ((-cut).log1p() - cut.log()).abs().log() - where(
        cut <= 0.5, (-2.0 * below).log1p(), (2.0 * above - 1.0).log())
    x = (probs - 0.5).pow(2)
    return where(outside, norm, math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x)


def _cut(probs: Tensor, lims: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Whether the probabilities lie outside the unstable region, and the probabilities kept outside."""
    outside = (probs <= lims[0]) | (probs > lims[1])
    return outside, where(outside, probs, lims[0])


@composite
def _expected(probs: Tensor, *, lims: tuple[float, float]) -> Tensor:
    outside, cut = _cut(probs, lims)
    x = probs - 0.5
    mean = cut / (2.0 * cut - 1.0) + 1.0 / ((-cut).log1p() - cut.log())
    return where(outside, mean, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x.pow(2)) * x)


@composite
def _spread(probs: Tensor, *, lims: tuple[float, float]) -> Tensor:
    outside, cut = _cut(probs, lims)
    x = (probs - 0.5).pow(2)
    variance = cut * (cut - 1.0) / (1.0 - 2.0 * cut).pow(2) + 1.0 / ((-cut).log1p() - cut.log()).pow(2)
    return where(outside, variance, 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x)


@composite
def _below(value: Tensor, probs: Tensor, *, lims: tuple[float, float]) -> Tensor:
    outside, cut = _cut(probs, lims)
    share = (cut.pow(value) * (1.0 - cut).pow(1.0 - value) + cut - 1.0) / (2.0 * cut - 1.0)
    return where(value <= 0.0, 0.0, where(value >= 1.0, 1.0, where(outside, share, value)))


@composite
def _quantile(share: Tensor, probs: Tensor, *, lims: tuple[float, float]) -> Tensor:
    outside, cut = _cut(probs, lims)
    value = ((-cut + share * (2.0 * cut - 1.0)).log1p() - (-cut).log1p()) / (cut.log() - (-cut).log1p())
    return where(outside, value, share)


class ContinuousBernoulli(BinaryChoice, ExponentialFamily):
    """The density p^x (1 - p)^(1 - x) on [0, 1], with the constant that makes it one. Between ``lims`` Taylor series
    stand for formulas that are 0 / 0 at p = 1/2. (G. Loaiza-Ganem, J. Cunningham 2019)

    >>> import minigrad
    >>> ContinuousBernoulli(probs=0.5).log_prob(minigrad.tensor(0.3))
    tensor(0.)
    """

    arg_constraints: ClassVar[Any] = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, probs: Any = None, logits: Any = None, lims: tuple[float, float] = (0.499, 0.501),
                 validate_args: bool | None = None) -> None:
        self._choose(probs, logits)
        if probs is not None:
            if validate_args is not None and not bool(self.arg_constraints["probs"].check(self.probs).all()):
                raise ValueError("The parameter probs has invalid values")
            self.probs = self._param = clamp_probs(self.probs)
        self._lims = lims
        super().__init__(self._param.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expanded(ContinuousBernoulli, batch_shape, _instance, {"probs": 0, "logits": 0}, ("_lims",))

    @lazy_property
    def probs(self) -> Tensor:
        return clamp_probs(logits_to_probs(self.logits, is_binary=True))

    def _cont_bern_log_norm(self) -> Tensor:
        return _log_norm(self.probs, lims=self._lims)

    @property
    def mean(self) -> Tensor:
        return _expected(self.probs, lims=self._lims)

    @property
    def variance(self) -> Tensor:
        return _spread(self.probs, lims=self._lims)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(uniform(self._extended_shape(sample_shape), self.probs))

    def log_prob(self, value: Any) -> Tensor:
        logits, value = broadcast_all(self.logits, self._checked(value))
        return self._cont_bern_log_norm() - F.binary_cross_entropy_with_logits(logits, value, reduction="none")

    def cdf(self, value: Any) -> Tensor:
        return _below(self._checked(value), self.probs, lims=self._lims)

    def icdf(self, value: Any) -> Tensor:
        return _quantile(value, self.probs, lims=self._lims)

    def entropy(self) -> Tensor:
        nothing = (-self.probs).log1p()
        return self.mean * (nothing - self.probs.log()) - self._cont_bern_log_norm() - nothing

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.logits,)

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        x = natural_params[0]
        low, high = self._lims
        outside = (x <= low - 0.5) | (x > high - 0.5)
        cut = where(outside, x, low - 0.5)
        norm = cut.expm1().abs().log() - cut.abs().log()
        return where(outside, norm, 0.5 * x + x.pow(2) / 24.0 - x.pow(4) / 2880.0)
