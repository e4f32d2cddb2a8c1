"""Stage: front. In: loc and scale. Out: the normal distribution.
Next: ``half_normal.py``."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from minigrad.autograd import no_grad
from minigrad.distributions import constraints
from minigrad.distributions.exp_family import ExponentialFamily
from minigrad.distributions.utils import broadcast_all, standard_normal
from minigrad.tensor import Tensor, composite, normal

__all__ = ["Normal"]

_HALF_LOG = 0.5 * math.log(2 * math.pi)


@composite
def _log_density(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    z = (value - loc) / scale
    return -0.5 * z * z - scale.log() - _HALF_LOG


@composite
def _below(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    return 0.5 * (1 + ((value - loc) / scale * math.sqrt(0.5)).erf())


@composite
def _quantile(share: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    return loc + scale * (2 * share - 1).erfinv() * math.sqrt(2)


class Normal(ExponentialFamily):
    """The density exp(-((x - loc) / scale)² / 2) / (scale sqrt(2π)).

    >>> import minigrad
    >>> Normal(0.0, 1.0).log_prob(minigrad.tensor(0.0))
    tensor(-0.9189)
    """

    arg_constraints: ClassVar[Any] = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expanded(Normal, batch_shape, _instance, {"loc": 0, "scale": 0})

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def stddev(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        return self.scale.pow(2)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return normal(self.loc.expand(shape), self.scale.expand(shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc + standard_normal(self._extended_shape(sample_shape), self.loc) * self.scale

    def log_prob(self, value: Any) -> Tensor:
        return _log_density(self._checked(value), self.loc, self.scale)

    def cdf(self, value: Any) -> Tensor:
        return _below(self._checked(value), self.loc, self.scale)

    def icdf(self, value: Any) -> Tensor:
        return _quantile(value, self.loc, self.scale)

    def entropy(self) -> Tensor:
        return 0.5 + _HALF_LOG + self.scale.log()

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return self.loc / self.scale.pow(2), -0.5 * self.scale.pow(2).reciprocal()

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        x, y = natural_params
        return -0.25 * x.pow(2) / y + 0.5 * (-math.pi / y).log()
