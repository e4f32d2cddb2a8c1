"""Stage: front. In: degrees of freedom, loc and scale. Out: Student's t-distribution.
Next: ``fishersnedecor.py``."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from minigrad.distributions import constraints
from minigrad.distributions.chi2 import Chi2
from minigrad.distributions.distribution import Distribution
from minigrad.distributions.utils import broadcast_all, standard_normal
from minigrad.tensor import Tensor, composite, where

__all__ = ["StudentT"]


@composite
def _log_density(value: Tensor, df: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    y = (value - loc) / scale
    normalizer = scale.log() + 0.5 * df.log() + 0.5 * math.log(math.pi) + (0.5 * df).lgamma() - (
        0.5 * (df + 1.0)).lgamma()
    return -0.5 * (df + 1.0) * (y * y / df).log1p() - normalizer


class StudentT(Distribution):
    """The density proportional to (1 + y² / df)^(-(df + 1) / 2), y = (x - loc) / scale.

    >>> import minigrad
    >>> StudentT(minigrad.tensor([1.0])).log_prob(minigrad.tensor(0.0))
    tensor([-1.1447])
    """

    arg_constraints: ClassVar[Any] = {
        "df": constraints.positive, "loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None) -> None:
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        self._chi2 = Chi2(self.df)
        super().__init__(self.df.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(StudentT, _instance)
        new._chi2 = self._chi2.expand(batch_shape)
        return self._expanded(StudentT, batch_shape, new, {"df": 0, "loc": 0, "scale": 0})

    @property
    def mean(self) -> Tensor:
        return self.loc.masked_fill(self.df <= 1, math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        enough = self.df > 2
        df = where(enough, self.df, 3.0)
        low = where(self.df > 1, math.inf, where(self.df <= 1, math.nan, self.df))
        return where(enough, self.scale.pow(2) * df / (df - 2), low)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        noise = standard_normal(self._extended_shape(sample_shape), self.df)
        squares = self._chi2.rsample(sample_shape)
        return self.loc + self.scale * (noise * (squares / self.df).rsqrt())

    def log_prob(self, value: Any) -> Tensor:
        return _log_density(self._checked(value), self.df, self.loc, self.scale)

    def entropy(self) -> Tensor:
        half, more = 0.5 * self.df, 0.5 * (self.df + 1)
        beta = half.lgamma() + math.lgamma(0.5) - more.lgamma()
        return self.scale.log() + more * (more.digamma() - half.digamma()) + 0.5 * self.df.log() + beta
