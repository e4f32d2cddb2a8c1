"""Stage: front. In: a temperature and probs or logits of each category. Out: points of the simplex near its corners.
Next: ``mixture_same_family.py``."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from minigrad.distributions import constraints
from minigrad.distributions.categorical import Categorical
from minigrad.distributions.distribution import Distribution
from minigrad.distributions.transformed_distribution import TransformedDistribution
from minigrad.distributions.transforms import ExpTransform
from minigrad.distributions.utils import broadcast_all, clamp_probs, uniform
from minigrad.tensor import Size, Tensor, composite

__all__ = ["ExpRelaxedCategorical", "RelaxedOneHotCategorical"]


@composite
def _log_density(value: Tensor, logits: Tensor, temperature: Tensor) -> Tensor:
    k = logits.shape[-1]
    score = logits - value * temperature
    score = (score - score.logsumexp(-1, True)).sum(-1)
    return score + math.lgamma(k) + temperature.log() * (k - 1)


@composite
def _relaxed(u: Tensor, logits: Tensor, temperature: Tensor) -> Tensor:
    scores = (logits - (-u.log()).log()) / temperature
    return scores - scores.logsumexp(-1, True)


class ExpRelaxedCategorical(Distribution):
    """The logarithms of ``RelaxedOneHotCategorical``'s points. (C. Maddison, A. Mnih, Y. Teh 2017)"""

    arg_constraints: ClassVar[Any] = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None,
                 validate_args: bool | None = None) -> None:
        self._categorical = Categorical(probs, logits)
        self.temperature = temperature
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(ExpRelaxedCategorical, _instance)
        new.temperature = self.temperature
        new._categorical = self._categorical.expand(batch_shape)
        return self._finished(ExpRelaxedCategorical, new, batch_shape)

    @property
    def param_shape(self) -> Size:
        """The shape of the parameter that was given."""
        return self._categorical.param_shape

    @property
    def logits(self) -> Tensor:
        """log(probs)"""
        return self._categorical.logits

    @property
    def probs(self) -> Tensor:
        """The probability of each category."""
        return self._categorical.probs

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        u = clamp_probs(uniform(self._extended_shape(sample_shape), self.logits))
        return _relaxed(u, self.logits, self.temperature)

    def log_prob(self, value: Any) -> Tensor:
        logits, value = broadcast_all(self.logits, self._checked(value))
        return _log_density(value, logits, self.temperature)


class RelaxedOneHotCategorical(TransformedDistribution):
    """Points of the simplex with a gradient in ``probs`` or ``logits``; the lower the temperature, the nearer to its
    corners.

    >>> import minigrad
    >>> RelaxedOneHotCategorical(minigrad.tensor(1.0), probs=minigrad.ones(3)).event_shape
    minigrad.Size([3])
    """

    arg_constraints: ClassVar[Any] = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None,
                 validate_args: bool | None = None) -> None:
        super().__init__(ExpRelaxedCategorical(temperature, probs, logits, validate_args=validate_args), ExpTransform(),
                         validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return super().expand(batch_shape, self._get_checked_instance(RelaxedOneHotCategorical, _instance))

    @property
    def temperature(self) -> Any:
        """The temperature."""
        return self.base_dist.temperature

    @property
    def logits(self) -> Tensor:
        """log(probs)"""
        return self.base_dist.logits

    @property
    def probs(self) -> Tensor:
        """The probability of each category."""
        return self.base_dist.probs
