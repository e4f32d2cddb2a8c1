"""Stage: front. In: a dimension and a concentration.
Out: a distribution over Cholesky's factors of correlation matrices.
Next: ``kl.py``."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from minigrad.autograd import no_grad
from minigrad.distributions import constraints
from minigrad.distributions.beta import Beta
from minigrad.distributions.distribution import Distribution
from minigrad.distributions.utils import broadcast_all, standard_normal
from minigrad.nn import functional as F
from minigrad.tensor import Tensor, arange, finfo, where

__all__ = ["LKJCholesky"]


class LKJCholesky(Distribution):
    """Lower triangular L with rows of length 1, such that det(L Lᵀ)^(concentration - 1) is proportional to the density
    of L Lᵀ. Samples are made by the onion method. (D. Lewandowski, D. Kurowicka, H. Joe 2009)

    >>> import minigrad
    >>> LKJCholesky(2, 1.0).log_prob(minigrad.eye(2))
    tensor(-0.6931)
    """

    arg_constraints: ClassVar[Any] = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None) -> None:
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        like = {"dtype": self.concentration.dtype, "device": self.concentration.device}
        offset = F.pad(arange(dim - 1, **like), [1, 0])
        marginal = self.concentration + 0.5 * (dim - 2)
        self._beta = Beta(offset + 0.5, marginal.unsqueeze(-1) - 0.5 * offset)
        super().__init__(self.concentration.size(), (dim, dim), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(LKJCholesky, _instance)
        new._beta = self._beta.expand((*batch_shape, self.dim))
        return self._expanded(LKJCholesky, batch_shape, new, {"concentration": 0}, ("dim",))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            length = self._beta.sample(sample_shape).unsqueeze(-1)
            noise = standard_normal(self._extended_shape(sample_shape), length).tril(-1)
            directions = noise / noise.norm(dim=-1, keepdim=True)
            first = arange(self.dim, device=noise.device).reshape((self.dim, 1)) == 0
            below = length.sqrt() * where(first, 0.0, directions)
            left = (1 - (below * below).sum(-1)).clamp(min=finfo(below.dtype).tiny)
            return below + left.sqrt().diag_embed()

    def log_prob(self, value: Any) -> Tensor:
        value, n, a = self._checked(value), self.dim - 1, self.concentration
        order = arange(2, self.dim + 1, dtype=a.dtype, device=a.device)
        order = 2 * (a - 1).unsqueeze(-1) + self.dim - order
        unnormalized = (order * value.diagonal(dim1=-1, dim2=-2)[..., 1:].log()).sum(-1)
        alpha = a + 0.5 * n
        return unnormalized - (0.5 * n * math.log(math.pi) + (alpha - 0.5).mvlgamma(n) - alpha.lgamma() * n)
