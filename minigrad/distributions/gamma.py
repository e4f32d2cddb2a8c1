"""Stage: front. In: concentration and rate. Out: the gamma distribution.
Next: ``chi2.py``."""

from __future__ import annotations

from typing import Any, ClassVar

from minigrad.distributions import constraints
from minigrad.distributions.exp_family import ExponentialFamily
from minigrad.distributions.utils import broadcast_all
from minigrad.tensor import Tensor, as_tensor, composite, finfo
from minigrad.tensor.samplers import standard_gamma

__all__ = ["Gamma"]


@composite
def _log_density(value: Tensor, a: Tensor, rate: Tensor) -> Tensor:
    return a.xlogy(rate) + (a - 1).xlogy(value) - rate * value - a.lgamma()


@composite
def _information(a: Tensor, rate: Tensor) -> Tensor:
    return a - rate.log() + a.lgamma() + (1.0 - a) * a.digamma()


class Gamma(ExponentialFamily):
    """The density rate^a x^(a - 1) exp(-rate x) / Γ(a), a the concentration. Samples have implicit gradients.

    >>> import minigrad
    >>> Gamma(2.0, 1.0).log_prob(minigrad.tensor(1.0))
    tensor(-1.)
    """

    arg_constraints: ClassVar[Any] = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expanded(Gamma, batch_shape, _instance, {"concentration": 0, "rate": 0})

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate.pow(2)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        value = standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape)
        return value.clamp(min=finfo(value.dtype).tiny)

    def log_prob(self, value: Any) -> Tensor:
        value = as_tensor(value, dtype=self.rate.dtype, device=self.rate.device)
        return _log_density(self._checked(value), self.concentration, self.rate)

    def cdf(self, value: Any) -> Tensor:
        return self.concentration.igamma(self.rate * self._checked(value))

    def entropy(self) -> Tensor:
        return _information(self.concentration, self.rate)

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return self.concentration - 1, -self.rate

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        x, y = natural_params
        return (x + 1).lgamma() + (x + 1) * (-y.reciprocal()).log()
