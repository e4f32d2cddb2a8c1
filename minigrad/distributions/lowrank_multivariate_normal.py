"""Stage: front. In: loc, a factor and a diagonal.
Out: the normal distribution with a covariance of low rank plus a diagonal.
Next: ``wishart.py``."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from minigrad.distributions import constraints
from minigrad.distributions.distribution import Distribution
from minigrad.distributions.multivariate_normal import half_log_det, mahalanobis, times_vector
from minigrad.distributions.utils import lazy_property, standard_normal
from minigrad.linalg import cholesky, solve_triangular
from minigrad.tensor import Tensor, eye
from minigrad.tensor.operands import broadcast_shapes

__all__ = ["LowRankMultivariateNormal"]


def capacitance_factor(w: Tensor, d: Tensor) -> Tensor:
    """Cholesky's factor of 1 + Wᵀ D⁻¹ W."""
    m = w.shape[-1]
    inner = (w.mT / d.unsqueeze(-2)) @ w
    return cholesky(inner + eye(m, dtype=w.dtype, device=w.device))


def log_det(d: Tensor, factor: Tensor) -> Tensor:
    """log det(W Wᵀ + D), by the determinant of the capacitance."""
    return 2 * half_log_det(factor) + d.log().sum(-1)


def low_rank_mahalanobis(w: Tensor, d: Tensor, x: Tensor, factor: Tensor) -> Tensor:
    """xᵀ (W Wᵀ + D)⁻¹ x, by Woodbury's formula."""
    inner = times_vector(w.mT / d.unsqueeze(-2), x)
    return (x.pow(2) / d).sum(-1) - mahalanobis(factor, inner)


class LowRankMultivariateNormal(Distribution):
    """``MultivariateNormal`` with Σ = W Wᵀ + diag(D), W = ``cov_factor`` (n × m), D = ``cov_diag``: the cost grows with
    n m², not n³.

    >>> import minigrad
    >>> LowRankMultivariateNormal(minigrad.zeros(2), minigrad.zeros(2, 1), minigrad.ones(2)).log_prob(minigrad.zeros(2))
    tensor(-1.8379)
    """

    arg_constraints: ClassVar[Any] = {
        "loc": constraints.real_vector, "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1)}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor, validate_args: bool | None = None) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        event = loc.size()[-1:]
        if cov_factor.dim() < 2:
            raise ValueError("cov_factor must be at least two-dimensional, with optional leading batch dimensions")
        if cov_factor.size()[-2:-1] != event:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {event[0]} x m")
        if cov_diag.size()[-1:] != event:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {event}")
        try:
            batch = broadcast_shapes(tuple(loc.shape[:-1]), tuple(cov_factor.shape[:-2]), tuple(cov_diag.shape[:-1]))
        except RuntimeError as error:
            raise ValueError(f"Incompatible batch shapes: loc {loc.shape}, cov_factor {cov_factor.shape}, "
                             f"cov_diag {cov_diag.shape}") from error
        self.loc, self.cov_diag = loc.expand((*batch, -1)), cov_diag.expand((*batch, -1))
        self.cov_factor = cov_factor.expand((*batch, -1, -1))
        self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag = cov_factor, cov_diag
        self._capacitance_tril = capacitance_factor(cov_factor, cov_diag)
        super().__init__(batch, event, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expanded(LowRankMultivariateNormal, batch_shape, _instance, {
            "loc": 1, "cov_diag": 1, "cov_factor": 2}, (
            "_unbroadcasted_cov_factor", "_unbroadcasted_cov_diag", "_capacitance_tril"))

    def _whole(self, matrix: Tensor) -> Tensor:
        return matrix.expand((*self._batch_shape, *self._event_shape, *self._event_shape))

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @lazy_property
    def variance(self) -> Tensor:
        total = self._unbroadcasted_cov_factor.pow(2).sum(-1) + self._unbroadcasted_cov_diag
        return total.expand((*self._batch_shape, *self._event_shape))

    @lazy_property
    def scale_tril(self) -> Tensor:
        """Cholesky's factor of Σ."""
        root = self._unbroadcasted_cov_diag.sqrt().unsqueeze(-1)
        w = self._unbroadcasted_cov_factor / root
        unit = eye(self._event_shape[0], dtype=w.dtype, device=w.device)
        return self._whole(root * cholesky(w @ w.mT + unit))

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """Σ"""
        w = self._unbroadcasted_cov_factor
        return self._whole(w @ w.mT + self._unbroadcasted_cov_diag.diag_embed())

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """Σ⁻¹"""
        d = self._unbroadcasted_cov_diag
        a = solve_triangular(self._capacitance_tril, self._unbroadcasted_cov_factor.mT / d.unsqueeze(-2), upper=False)
        return self._whole(d.reciprocal().diag_embed() - a.mT @ a)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        inner = standard_normal((*shape[:-1], self.cov_factor.shape[-1]), self.loc)
        outer = standard_normal(shape, self.loc)
        return self.loc + times_vector(self._unbroadcasted_cov_factor, inner) + (
            self._unbroadcasted_cov_diag.sqrt() * outer)

    def _log_det(self) -> Tensor:
        return log_det(self._unbroadcasted_cov_diag, self._capacitance_tril)

    def log_prob(self, value: Any) -> Tensor:
        distance = low_rank_mahalanobis(self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag,
                                        self._checked(value) - self.loc, self._capacitance_tril)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + self._log_det() + distance)

    def entropy(self) -> Tensor:
        half = 0.5 * (self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._log_det())
        return half.expand(self._batch_shape)
