"""Stage: front. In: degrees of freedom and a covariance, a precision or Cholesky's factor.
Out: the Wishart distribution.
Next: ``lkj_cholesky.py``."""

from __future__ import annotations

import math
import warnings
from typing import Any

from minigrad.distributions import constraints
from minigrad.distributions.chi2 import Chi2
from minigrad.distributions.exp_family import ExponentialFamily
from minigrad.distributions.multivariate_normal import factor_of, half_log_det, one_matrix
from minigrad.distributions.utils import lazy_property, standard_normal, vec_to_tril_matrix
from minigrad.linalg import cholesky
from minigrad.tensor import Tensor, arange, as_tensor, finfo, where
from minigrad.tensor.operands import broadcast_shapes, is_number

__all__ = ["Wishart"]


def _digamma_of_order(x: Tensor, p: int) -> Tensor:
    """The sum of ψ(x - i / 2) over i = 0 … p - 1."""
    steps = arange(p, dtype=x.dtype, device=x.device) / 2
    return (x.unsqueeze(-1) - steps).digamma().sum(-1)


class Wishart(ExponentialFamily):
    """The distribution of the sum of ``df`` products x xᵀ of normal vectors x of mean 0; ``df`` is above n - 1 and need
    not be whole. Samples are made as M. Bartlett (1933) did: a triangular factor of normal and chi-squared numbers.

    >>> import minigrad
    >>> Wishart(minigrad.tensor(3.0), minigrad.eye(2)).mean
    tensor([[3., 0.],
            [0., 3.]])
    """

    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, df: Any, covariance_matrix: Tensor | None = None, precision_matrix: Tensor | None = None,
                 scale_tril: Tensor | None = None, validate_args: bool | None = None) -> None:
        name, given = one_matrix(AssertionError, covariance_matrix=covariance_matrix,
                                 precision_matrix=precision_matrix, scale_tril=scale_tril)
        if given.dim() < 2:
            raise ValueError("scale_tril must be at least two-dimensional, with optional leading batch dimensions")
        event, batch = given.size()[-2:], tuple(given.shape[:-2])
        if is_number(df):
            self.df = as_tensor(df, dtype=given.dtype, device=given.device)
        else:
            batch = broadcast_shapes(batch, tuple(df.shape))
            self.df = df.expand(batch)
        n = event[-1]
        if bool((self.df <= n - 1).any()):
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {n - 1}.")
        setattr(self, name, given.expand((*batch, -1, -1)))
        if bool((self.df < n).any()):
            warnings.warn("Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < "
                          "ndim.", stacklevel=2)
        super().__init__(batch, event, validate_args=validate_args)
        self._unbroadcasted_scale_tril = factor_of(name, given)
        self._set_chi2()

    def _set_chi2(self) -> None:
        n = self._event_shape[-1]
        steps = arange(n, dtype=self.df.dtype, device=self.df.device)
        self._dist_chi2 = Chi2((self.df.unsqueeze(-1) - steps).expand((*self._batch_shape, n)))

    @property
    def arg_constraints(self) -> Any:
        return {"covariance_matrix": constraints.positive_definite, "precision_matrix": constraints.positive_definite,
                "scale_tril": constraints.lower_cholesky, "df": constraints.greater_than(self.event_shape[-1] - 1)}

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._expanded(Wishart, batch_shape, _instance, {
            "_unbroadcasted_scale_tril": 2, "df": 0, "covariance_matrix": 2, "scale_tril": 2, "precision_matrix": 2})
        new._set_chi2()
        return new

    def _whole(self, matrix: Tensor) -> Tensor:
        return matrix.expand((*self._batch_shape, *self._event_shape))

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

    def _times(self, factor: Tensor, matrix: Tensor) -> Tensor:
        return factor.expand(self._batch_shape).reshape((*self._batch_shape, 1, 1)) * matrix

    @property
    def mean(self) -> Tensor:
        return self._times(self.df, self.covariance_matrix)

    @property
    def mode(self) -> Tensor:
        factor = self.df - self.covariance_matrix.shape[-1] - 1
        return self._times(factor.masked_fill(factor <= 0, math.nan), self.covariance_matrix)

    @property
    def variance(self) -> Tensor:
        v = self.covariance_matrix
        diagonal = v.diagonal(dim1=-2, dim2=-1)
        return self._times(self.df, v.pow(2) + diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2))

    def rsample(self, sample_shape: Any = (), max_try_correction: int | None = None) -> Tensor:
        """Matrices drawn at random. Those that rounding makes singular are drawn again, 10 times at most."""
        sample = self._bartlett_sampling(sample_shape)
        for attempt in range(10 if max_try_correction is None else max_try_correction):
            singular = ~self.support.check(sample)
            if not bool(singular.any()):
                break
            if attempt == 0:
                warnings.warn("Singular sample detected.", stacklevel=2)
            sample = where(singular[..., None, None], self._bartlett_sampling(sample_shape), sample)
        return sample

    def _bartlett_sampling(self, sample_shape: Any) -> Tensor:
        n = self._event_shape[-1]
        roots = self._dist_chi2.rsample(sample_shape).sqrt()
        diagonal = roots.clamp(min=finfo(roots.dtype).eps).diag_embed()
        below = standard_normal((*sample_shape, *self._batch_shape, n * (n - 1) // 2), diagonal)
        factor = self._unbroadcasted_scale_tril @ (diagonal + vec_to_tril_matrix(below, -1) if n > 1 else diagonal)
        return factor @ factor.mT

    def log_prob(self, value: Any) -> Tensor:
        nu, n, factor = self.df, self._event_shape[-1], self._unbroadcasted_scale_tril
        value = self._checked(value)
        log_det = 2 * half_log_det(cholesky(value))
        trace = value.cholesky_solve(factor).diagonal(dim1=-2, dim2=-1).sum(-1)
        return -nu * (n * math.log(2) / 2 + half_log_det(factor)) - (nu / 2).mvlgamma(n) + (
            nu - n - 1) / 2 * log_det - trace / 2

    def entropy(self) -> Tensor:
        nu, n = self.df, self._event_shape[-1]
        return (n + 1) * (n * math.log(2) / 2 + half_log_det(self._unbroadcasted_scale_tril)) + (
            nu / 2).mvlgamma(n) - (nu - n - 1) / 2 * _digamma_of_order(nu / 2, n) + nu * n / 2

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return -self.precision_matrix / 2, (self.df - self._event_shape[-1] - 1) / 2

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        x, y = natural_params
        n = self._event_shape[-1]
        above = y + (n + 1) / 2
        return above * (math.log(2) * n - 2 * half_log_det(cholesky(-2 * x))) + above.mvlgamma(n)
