"""Stage: front. In: concentrations. Out: the Dirichlet distribution.
Next: ``beta.py``."""

from __future__ import annotations

from typing import Any, ClassVar

from minigrad.distributions import constraints
from minigrad.distributions.exp_family import ExponentialFamily
from minigrad.dtype import float64
from minigrad.nn import functional as F
from minigrad.tensor import Tensor, composite, finfo, where
from minigrad.tensor.samplers import standard_gamma

__all__ = ["Dirichlet"]


@composite
def _log_density(value: Tensor, a: Tensor) -> Tensor:
    return (a - 1.0).xlogy(value).sum(-1) + a.sum(-1).lgamma() - a.lgamma().sum(-1)


@composite
def _information(a: Tensor) -> Tensor:
    total = a.sum(-1)
    return a.lgamma().sum(-1) - total.lgamma() - (a.shape[-1] - total) * total.digamma() - (
        (a - 1.0) * a.digamma()).sum(-1)


class Dirichlet(ExponentialFamily):
    """The density proportional to the product of x_i^(a_i - 1) over the simplex. Samples are gamma numbers divided by
    their sum, and have their gradients.

    >>> import minigrad
    >>> Dirichlet(minigrad.tensor([1.0, 1.0])).log_prob(minigrad.tensor([0.5, 0.5]))
    tensor(0.)
    """

    arg_constraints: ClassVar[Any] = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.dim() < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        shape = concentration.size()
        super().__init__(shape[:-1], shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expanded(Dirichlet, batch_shape, _instance, {"concentration": 1})

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        dtype = self.concentration.dtype
        parts = standard_gamma(self.concentration.to(float64).expand(self._extended_shape(sample_shape)))
        return (parts / parts.sum(-1, True)).to(dtype).clamp(min=finfo(dtype).tiny)

    def log_prob(self, value: Any) -> Tensor:
        return _log_density(self._checked(value), self.concentration)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self) -> Tensor:
        """(a_i - 1) / (Σ a - K), not below 0; a corner of the simplex where all a are below 1."""
        above = (self.concentration - 1).clamp(min=0.0)
        inside = above / above.sum(-1, True)
        corner = F.one_hot(inside.argmax(-1), above.shape[-1]).to(above.dtype)
        return where((self.concentration < 1).all(-1, True), corner, inside)

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total.pow(2) * (total + 1))

    def entropy(self) -> Tensor:
        return _information(self.concentration)

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.concentration,)

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        x = natural_params[0]
        return x.lgamma().sum(-1) - x.sum(-1).lgamma()
