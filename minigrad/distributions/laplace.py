"""Stage: front. In: loc and scale. Out: the Laplace distribution.
Next: ``uniform.py``."""

from __future__ import annotations

from typing import Any, ClassVar

from minigrad.distributions import constraints
from minigrad.distributions.distribution import Distribution
from minigrad.distributions.utils import broadcast_all, uniform
from minigrad.tensor import Tensor, composite, finfo

__all__ = ["Laplace"]


@composite
def _log_density(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    return -(2 * scale).log() - (value - loc).abs() / scale


@composite
def _below(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    away = value - loc
    return 0.5 - 0.5 * away.sign() * (-away.abs() / scale).expm1()


@composite
def _quantile(share: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    away = share - 0.5
    return loc - scale * away.sign() * (-2 * away.abs()).log1p()


class Laplace(Distribution):
    """The density exp(-|x - loc| / scale) / (2 scale).

    >>> import minigrad
    >>> Laplace(0.0, 1.0).log_prob(minigrad.tensor(1.0))
    tensor(-1.6931)
    """

    arg_constraints: ClassVar[Any] = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expanded(Laplace, batch_shape, _instance, {"loc": 0, "scale": 0})

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return 2 * self.scale.pow(2)

    @property
    def stddev(self) -> Tensor:
        return 2**0.5 * self.scale

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        u = uniform(self._extended_shape(sample_shape), self.loc, finfo(self.loc.dtype).eps - 1, 1)
        return self.loc - self.scale * u.sign() * (-u.abs()).log1p()

    def log_prob(self, value: Any) -> Tensor:
        return _log_density(self._checked(value), self.loc, self.scale)

    def cdf(self, value: Any) -> Tensor:
        return _below(self._checked(value), self.loc, self.scale)

    def icdf(self, value: Any) -> Tensor:
        return _quantile(value, self.loc, self.scale)

    def entropy(self) -> Tensor:
        return 1 + (2 * self.scale).log()
