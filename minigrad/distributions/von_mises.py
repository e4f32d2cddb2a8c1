"""Stage: front. In: loc and concentration. Out: the von Mises distribution.
Next: ``multivariate_normal.py``."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from minigrad.autograd import no_grad
from minigrad.distributions import constraints
from minigrad.distributions.distribution import Distribution
from minigrad.distributions.utils import broadcast_all, lazy_property
from minigrad.dtype import float64
from minigrad.special import i0e, i1e
from minigrad.tensor import Tensor, composite, rand, where, zeros

__all__ = ["VonMises"]


@composite
def _log_density(value: Tensor, loc: Tensor, k: Tensor) -> Tensor:
    """k cos(x - loc) - log(2π I₀(k)), with log I₀(k) = k + log(exp(-k) I₀(k))."""
    return k * (value - loc).cos() - math.log(2 * math.pi) - (i0e(k).log() + k)


@composite
def _accepted(u: Tensor, k: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    first, second, third = u.unbind()
    z = (math.pi * first).cos()
    f = (1 + r * z) / (r + z)
    c = k * (r - f)
    good = (c * (2 - c) - second > 0) | ((c / second).log() + 1 - c >= 0)
    return good, (third - 0.5).sign() * f.acos()


class VonMises(Distribution):
    """The density exp(k cos(x - loc)) / (2π I₀(k)) of an angle x, k the concentration. Samples are drawn by rejection
    (D. Best, N. Fisher 1979), in float64, with PyTorch's numbers.

    >>> import minigrad
    >>> VonMises(0.0, 1.0).log_prob(minigrad.tensor(0.0))
    tensor(-1.0738)
    """

    arg_constraints: ClassVar[Any] = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real
    has_rsample = False

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        validate = self.__dict__.get("_validate_args")
        return type(self)(self.loc.expand(batch_shape), self.concentration.expand(batch_shape), validate_args=validate)

    def log_prob(self, value: Any) -> Tensor:
        return _log_density(self._checked(value), self.loc, self.concentration)

    @lazy_property
    def _proposal_r(self) -> Tensor:
        k = self.concentration.to(float64)
        tau = 1 + (1 + 4 * k**2).sqrt()
        rho = (tau - (2 * tau).sqrt()) / (2 * k)
        return where(k < 1e-5, 1 / k + k, (1 + rho**2) / (2 * rho))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = tuple(self._extended_shape(sample_shape))
        with no_grad():
            loc, k, r = self.loc.to(float64), self.concentration.to(float64), self._proposal_r
            x = zeros(shape, dtype=float64, device=loc.device)
            done = x != x
            while not bool(done.all()):
                good, angle = _accepted(rand((3, *shape), dtype=float64, device=loc.device), k, r)
                x, done = where(good, angle, x), done | good
            return ((x + math.pi + loc) % (2 * math.pi) - math.pi).to(self.loc.dtype)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @lazy_property
    def variance(self) -> Tensor:
        """The circular variance 1 - I₁(k) / I₀(k)."""
        return 1 - i1e(self.concentration) / i0e(self.concentration)
