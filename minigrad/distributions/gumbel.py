"""Stage: front. In: loc and scale. Out: the Gumbel distribution.
Next: ``weibull.py``."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from minigrad.distributions import constraints
from minigrad.distributions.transformed_distribution import TransformedDistribution
from minigrad.distributions.transforms import AffineTransform, ExpTransform
from minigrad.distributions.uniform import Uniform
from minigrad.distributions.utils import broadcast_all, euler_constant
from minigrad.tensor import Tensor, composite, finfo, full_like, ones_like

__all__ = ["Gumbel"]


@composite
def _log_density(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    y = (loc - value) / scale
    return y - y.exp() - scale.log()


class Gumbel(TransformedDistribution):
    """loc - scale log(-log U) for a uniform U: the distribution of the maximum of many numbers.

    >>> import minigrad
    >>> Gumbel(0.0, 1.0).log_prob(minigrad.tensor(0.0))
    tensor(-1.)
    """

    arg_constraints: ClassVar[Any] = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        limits = finfo(self.loc.dtype)
        base = Uniform(full_like(self.loc, limits.tiny), full_like(self.loc, 1 - limits.eps),
                       validate_args=validate_args)
        log = ExpTransform().inv
        super().__init__(base, [log, AffineTransform(0, -ones_like(self.scale)), log,
                                AffineTransform(loc, -self.scale)], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(Gumbel, _instance)
        new.loc, new.scale = self.loc.expand(tuple(batch_shape)), self.scale.expand(tuple(batch_shape))
        return super().expand(batch_shape, new)

    def log_prob(self, value: Any) -> Tensor:
        return _log_density(self._checked(value), self.loc, self.scale)

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * euler_constant

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def stddev(self) -> Tensor:
        return math.pi / math.sqrt(6) * self.scale

    @property
    def variance(self) -> Tensor:
        return self.stddev.pow(2)

    def entropy(self) -> Tensor:
        return self.scale.log() + (1 + euler_constant)
