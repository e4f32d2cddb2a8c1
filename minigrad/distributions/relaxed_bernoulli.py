"""Stage: front. In: a temperature and probs or logits. Out: numbers in (0, 1) that come near Bernoulli's.
Next: ``categorical.py``."""

from __future__ import annotations

from typing import Any, ClassVar

from minigrad.distributions import constraints
from minigrad.distributions.choices import BinaryChoice
from minigrad.distributions.transformed_distribution import TransformedDistribution
from minigrad.distributions.transforms import SigmoidTransform
from minigrad.distributions.utils import broadcast_all, clamp_probs, uniform
from minigrad.tensor import Tensor, composite

__all__ = ["LogitRelaxedBernoulli", "RelaxedBernoulli"]


@composite
def _log_density(value: Tensor, logits: Tensor, temperature: Tensor) -> Tensor:
    away = logits - value * temperature
    return temperature.log() + away - 2 * away.exp().log1p()


@composite
def _relaxed(u: Tensor, probs: Tensor, temperature: Tensor) -> Tensor:
    return (u.log() - (-u).log1p() + probs.log() - (-probs).log1p()) / temperature


class LogitRelaxedBernoulli(BinaryChoice):
    """The logits of ``RelaxedBernoulli``'s numbers.
    (C. Maddison, A. Mnih, Y. Teh 2017; E. Jang, S. Gu, B. Poole 2017)"""

    arg_constraints: ClassVar[Any] = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.real

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None,
                 validate_args: bool | None = None) -> None:
        self.temperature = temperature
        self._choose(probs, logits)
        super().__init__(self._param.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expanded(LogitRelaxedBernoulli, batch_shape, _instance, {"probs": 0, "logits": 0},
                              ("temperature",))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        probs = clamp_probs(self.probs.expand(shape))
        return _relaxed(clamp_probs(uniform(shape, probs)), probs, self.temperature)

    def log_prob(self, value: Any) -> Tensor:
        logits, value = broadcast_all(self.logits, self._checked(value))
        return _log_density(value, logits, self.temperature)


class RelaxedBernoulli(TransformedDistribution):
    """Numbers in (0, 1) with a gradient in ``probs`` or ``logits``; the lower the temperature, the nearer to 0 and 1.

    >>> import minigrad
    >>> RelaxedBernoulli(minigrad.tensor(1.0), probs=minigrad.tensor(0.5)).log_prob(minigrad.tensor(0.5))
    tensor(0.)
    """

    arg_constraints: ClassVar[Any] = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None,
                 validate_args: bool | None = None) -> None:
        super().__init__(LogitRelaxedBernoulli(temperature, probs, logits), SigmoidTransform(),
                         validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return super().expand(batch_shape, self._get_checked_instance(RelaxedBernoulli, _instance))

    @property
    def temperature(self) -> Any:
        """The temperature."""
        return self.base_dist.temperature

    @property
    def logits(self) -> Tensor:
        """log(probs / (1 - probs))"""
        return self.base_dist.logits

    @property
    def probs(self) -> Tensor:
        """The probability of a number near 1."""
        return self.base_dist.probs
