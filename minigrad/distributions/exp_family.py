"""Stage: front. In: natural parameters and a log-normaliser. Out: ``ExponentialFamily``, whose entropy
follows from them.
Next: ``choices.py``."""

from __future__ import annotations

from typing import Any

from minigrad import autograd
from minigrad.distributions.distribution import Distribution
from minigrad.tensor import Tensor

__all__ = ["ExponentialFamily"]


class ExponentialFamily(Distribution):
    """Densities of the form exp(<t(x), θ> - F(θ) + k(x)), with natural parameters θ, log-normaliser F and carrier k."""

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        raise NotImplementedError

    @property
    def _mean_carrier_measure(self) -> Any:
        """The expected value of k(x)."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """F(θ) - <θ, ∇F(θ)> - E[k(x)]. (F. Nielsen, R. Nock 2010)"""
        carrier = self._mean_carrier_measure
        natural = [p.detach().requires_grad_() for p in self._natural_params]
        normalizer = self._log_normalizer(*natural)
        gradients = autograd.grad(normalizer.sum(), natural, create_graph=True)
        result = normalizer - carrier
        for parameter, gradient in zip(natural, gradients, strict=True):
            assert gradient is not None
            result = result - (parameter * gradient).reshape((*self._batch_shape, -1)).sum(-1)
        return result
