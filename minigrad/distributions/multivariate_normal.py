"""Stage: front. In: loc and a covariance, a precision or Cholesky's factor. Out: the multivariate normal distribution.
Next: ``lowrank_multivariate_normal.py``."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from minigrad.distributions import constraints
from minigrad.distributions.distribution import Distribution
from minigrad.distributions.utils import lazy_property, standard_normal
from minigrad.linalg import cholesky, solve_triangular
from minigrad.tensor import Tensor, eye
from minigrad.tensor.operands import broadcast_shapes

__all__ = ["MultivariateNormal"]

_LOG_TWO_PI = math.log(2 * math.pi)


def times_vector(matrix: Tensor, vector: Tensor) -> Tensor:
    """The product of each matrix with its vector."""
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def half_log_det(factor: Tensor) -> Tensor:
    """The sum of the logarithms of the diagonal: log det of a triangular matrix."""
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def mahalanobis(factor: Tensor, x: Tensor) -> Tensor:
    """|L⁻¹ x|² for triangular L. The samples of one matrix are the columns of one system."""
    batch, n = tuple(factor.shape[:-2]), x.shape[-1]
    ahead = x.dim() - 1 - len(batch)
    if ahead > 0 and tuple(x.shape[ahead:-1]) == batch:
        rows = x.reshape((-1, *batch, n))
        columns = rows.permute((*range(1, rows.dim()), 0))
        return solve_triangular(factor, columns, upper=False).pow(2).sum(-2).movedim(-1, 0).reshape(x.shape[:-1])
    return solve_triangular(factor, x.unsqueeze(-1), upper=False).pow(2).sum((-2, -1))


def factor_of_precision(precision: Tensor) -> Tensor:
    """Cholesky's factor of the inverse of a matrix: the matrix is factored from its last row on."""
    backwards = cholesky(precision.flip((-2, -1)))
    n = precision.shape[-1]
    unit = eye(n, dtype=precision.dtype, device=precision.device)
    return solve_triangular(backwards.flip((-2, -1)).mT, unit.expand(precision.shape), upper=False)


class MultivariateNormal(Distribution):
    """The density exp(-(x - μ)ᵀ Σ⁻¹ (x - μ) / 2) / sqrt((2π)ⁿ det Σ), given by exactly one of Σ, Σ⁻¹ and the lower
    triangular L with Σ = L Lᵀ.

    >>> import minigrad
    >>> MultivariateNormal(minigrad.zeros(2), minigrad.eye(2)).log_prob(minigrad.zeros(2))
    tensor(-1.8379)
    """

    arg_constraints: ClassVar[Any] = {
        "loc": constraints.real_vector, "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite, "scale_tril": constraints.lower_cholesky}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, covariance_matrix: Tensor | None = None, precision_matrix: Tensor | None = None,
                 scale_tril: Tensor | None = None, validate_args: bool | None = None) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        name, given = one_matrix(ValueError, covariance_matrix=covariance_matrix, precision_matrix=precision_matrix,
                                 scale_tril=scale_tril)
        if given.dim() < 2:
            words = "scale_tril matrix" if name == "scale_tril" else name
            raise ValueError(f"{words} must be at least two-dimensional, with optional leading batch dimensions")
        batch = broadcast_shapes(tuple(given.shape[:-2]), tuple(loc.shape[:-1]))
        setattr(self, name, given.expand((*batch, -1, -1)))
        self.loc = loc.expand((*batch, -1))
        super().__init__(batch, self.loc.shape[-1:], validate_args=validate_args)
        self._unbroadcasted_scale_tril = factor_of(name, given)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expanded(MultivariateNormal, batch_shape, _instance, {
            "loc": 1, "covariance_matrix": 2, "scale_tril": 2, "precision_matrix": 2}, ("_unbroadcasted_scale_tril",))

    def _whole(self, matrix: Tensor) -> Tensor:
        return matrix.expand((*self._batch_shape, *self._event_shape, *self._event_shape))

    @lazy_property
    def scale_tril(self) -> Tensor:
        """L, with Σ = L Lᵀ."""
        return self._whole(self._unbroadcasted_scale_tril)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """Σ"""
        factor = self._unbroadcasted_scale_tril
        return self._whole(factor @ factor.mT)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """Σ⁻¹"""
        return self._whole(self._unbroadcasted_scale_tril.cholesky_inverse())

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        squares = self._unbroadcasted_scale_tril.pow(2).sum(-1)
        return squares.expand((*self._batch_shape, *self._event_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        noise = standard_normal(self._extended_shape(sample_shape), self.loc)
        return self.loc + times_vector(self._unbroadcasted_scale_tril, noise)

    def log_prob(self, value: Any) -> Tensor:
        distance = mahalanobis(self._unbroadcasted_scale_tril, self._checked(value) - self.loc)
        return -0.5 * (self._event_shape[0] * _LOG_TWO_PI + distance) - half_log_det(self._unbroadcasted_scale_tril)

    def entropy(self) -> Tensor:
        half = 0.5 * self._event_shape[0] * (1.0 + _LOG_TWO_PI) + half_log_det(self._unbroadcasted_scale_tril)
        return half.expand(self._batch_shape)


def one_matrix(error: type[Exception], **matrices: Tensor | None) -> tuple[str, Tensor]:
    """The one that is given, and its name."""
    given = [(name, matrix) for name, matrix in matrices.items() if matrix is not None]
    if len(given) != 1:
        raise error("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
    return given[0]


def factor_of(name: str, matrix: Tensor) -> Tensor:
    """Cholesky's factor of the covariance, from the matrix of this name."""
    if name == "scale_tril":
        return matrix
    return cholesky(matrix) if name == "covariance_matrix" else factor_of_precision(matrix)
