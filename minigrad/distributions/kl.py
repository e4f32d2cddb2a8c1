"""Stage: front. In: two distributions. Out: the Kullback-Leibler divergence of one from the other, by a table of pairs:
here how it is looked up, and the pairs of one kind. ``kl_pairs.py`` has those of two kinds.
Next: ``kl_pairs.py``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import total_ordering
from typing import Any

from minigrad import autograd
from minigrad.distributions.bernoulli import Bernoulli
from minigrad.distributions.beta import Beta
from minigrad.distributions.binomial import Binomial
from minigrad.distributions.categorical import Categorical
from minigrad.distributions.cauchy import Cauchy
from minigrad.distributions.continuous_bernoulli import ContinuousBernoulli
from minigrad.distributions.dirichlet import Dirichlet
from minigrad.distributions.distribution import Distribution
from minigrad.distributions.exp_family import ExponentialFamily
from minigrad.distributions.exponential import Exponential
from minigrad.distributions.gamma import Gamma
from minigrad.distributions.geometric import Geometric
from minigrad.distributions.gumbel import Gumbel
from minigrad.distributions.half_normal import HalfNormal
from minigrad.distributions.independent import Independent
from minigrad.distributions.laplace import Laplace
from minigrad.distributions.lowrank_multivariate_normal import (
    LowRankMultivariateNormal,
    low_rank_mahalanobis,
)
from minigrad.distributions.multivariate_normal import MultivariateNormal, half_log_det, mahalanobis
from minigrad.distributions.normal import Normal
from minigrad.distributions.one_hot_categorical import OneHotCategorical
from minigrad.distributions.pareto import Pareto
from minigrad.distributions.poisson import Poisson
from minigrad.distributions.transformed_distribution import TransformedDistribution
from minigrad.distributions.uniform import Uniform
from minigrad.distributions.utils import euler_constant, sum_rightmost
from minigrad.linalg import solve_triangular
from minigrad.nn import functional as F
from minigrad.tensor import Tensor, cat, composite, where

__all__ = ["kl_divergence", "register_kl"]

Divergence = Callable[[Any, Any], Any]

_REGISTRY: dict[tuple[type, type], Divergence] = {}
_FOUND: dict[tuple[type, type], Any] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Divergence], Divergence]:
    """A decorator: the function gives KL(p || q) for p and q of these classes and their subclasses."""
    for name, kind in (("type_p", type_p), ("type_q", type_q)):
        if not (isinstance(kind, type) and issubclass(kind, Distribution)):
            raise TypeError(f"Expected {name} to be a Distribution subclass but got {kind}")

    def attach(divergence: Divergence) -> Divergence:
        _REGISTRY[type_p, type_q] = divergence
        _FOUND.clear()
        return divergence

    return attach


@total_ordering
class _Match:
    """Pairs of classes, ordered: the more special first, the first class before the second."""

    def __init__(self, *types: type) -> None:
        self.types = types

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Match) and self.types == other.types

    def __le__(self, other: _Match) -> bool:
        for x, y in zip(self.types, other.types, strict=True):
            if not issubclass(x, y):
                return False
            if x is not y:
                break
        return True


def _look_up(p: type, q: type) -> Any:
    """The function for the nearest classes. If it is not clear which are nearest, a warning says so."""
    pairs = [pair for pair in _REGISTRY if issubclass(p, pair[0]) and issubclass(q, pair[1])]
    if not pairs:
        return NotImplemented
    left_p, left_q = min(_Match(*pair) for pair in pairs).types
    right_q, right_p = min(_Match(*reversed(pair)) for pair in pairs).types
    found = _REGISTRY[left_p, left_q]
    if found is not _REGISTRY[right_p, right_q]:
        warnings.warn(f"Ambiguous kl_divergence({p.__name__}, {q.__name__}). Please register_kl({left_p.__name__}, "
                      f"{right_q.__name__})", RuntimeWarning, stacklevel=3)
    return found


def kl_divergence(p: Any, q: Any) -> Tensor:
    """KL(p || q), the expected value under p of log p(x) - log q(x), of the batch's shape. ``NotImplementedError`` if
    no function is registered for the two.

    >>> kl_divergence(Normal(1.0, 1.0), Normal(0.0, 1.0))
    tensor(0.5000)
    """
    kinds = (type(p), type(q))
    if kinds not in _FOUND:
        _FOUND[kinds] = _look_up(*kinds)
    divergence = _FOUND[kinds]
    if divergence is NotImplemented:
        raise NotImplementedError(f"No KL(p || q) is implemented for p type {p.__class__.__name__} and q type "
                                  f"{q.__class__.__name__}")
    return divergence(p, q)


# --- numbers


@composite
def _normals(m: Tensor, s: Tensor, n: Tensor, t: Tensor) -> Tensor:
    ratio = (s / t).pow(2)
    return 0.5 * (ratio + ((m - n) / t).pow(2) - 1 - ratio.log())


@register_kl(Normal, Normal)
def _normal_normal(p: Normal, q: Normal) -> Tensor:
    return _normals(p.loc, p.scale, q.loc, q.scale)


@register_kl(HalfNormal, HalfNormal)
def _half_normal_half_normal(p: HalfNormal, q: HalfNormal) -> Tensor:
    return _normal_normal(p.base_dist, q.base_dist)


@composite
def _bernoullis(p: Tensor, x: Tensor, q: Tensor, y: Tensor) -> Tensor:
    """p, q: probabilities; x, y: their logits."""
    one = p * (F.softplus(-y) - F.softplus(-x))
    one = where(p == 0, 0.0, where(q == 0, math.inf, one))
    other = (1 - p) * (F.softplus(y) - F.softplus(x))
    return one + where(p == 1, 0.0, where(q == 1, math.inf, other))


@register_kl(Bernoulli, Bernoulli)
def _bernoulli_bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    return _bernoullis(p.probs, p.logits, q.probs, q.logits)


@composite
def _betas(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    p, q = a + b, c + d
    return c.lgamma() + d.lgamma() + p.lgamma() - a.lgamma() - b.lgamma() - q.lgamma() + (
        a - c) * a.digamma() + (b - d) * b.digamma() + (q - p) * p.digamma()


@register_kl(Beta, Beta)
def _beta_beta(p: Beta, q: Beta) -> Tensor:
    return _betas(p.concentration1, p.concentration0, q.concentration1, q.concentration0)


@register_kl(Binomial, Binomial)
def _binomial_binomial(p: Binomial, q: Binomial) -> Tensor:
    if bool((p.total_count < q.total_count).any()):
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    kl = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return where(p.total_count > q.total_count, math.inf, kl)


@composite
def _categories(p: Tensor, x: Tensor, q: Tensor, y: Tensor) -> Tensor:
    return where(p == 0, 0.0, where(q == 0, math.inf, p * (x - y))).sum(-1)


@register_kl(Categorical, Categorical)
def _categorical_categorical(p: Any, q: Any) -> Tensor:
    return _categories(p.probs, p.logits, q.probs, q.logits)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot_one_hot(p: OneHotCategorical, q: OneHotCategorical) -> Tensor:
    return _categorical_categorical(p._categorical, q._categorical)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_continuous(p: ContinuousBernoulli, q: ContinuousBernoulli) -> Tensor:
    return p.mean * (p.logits - q.logits) + p._cont_bern_log_norm() + (-p.probs).log1p() - (
        q._cont_bern_log_norm() + (-q.probs).log1p())


@composite
def _dirichlets(a: Tensor, b: Tensor) -> Tensor:
    total = a.sum(-1)
    slopes = a.digamma() - total.digamma().unsqueeze(-1)
    return total.lgamma() - b.sum(-1).lgamma() - (a.lgamma() - b.lgamma()).sum(-1) + ((a - b) * slopes).sum(-1)


@register_kl(Dirichlet, Dirichlet)
def _dirichlet_dirichlet(p: Dirichlet, q: Dirichlet) -> Tensor:
    return _dirichlets(p.concentration, q.concentration)


@register_kl(Exponential, Exponential)
def _exponential_exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - 1 - ratio.log()


@composite
def _gammas(a: Tensor, r: Tensor, b: Tensor, s: Tensor) -> Tensor:
    return b * (r / s).log() + b.lgamma() - a.lgamma() + (a - b) * a.digamma() + (s - r) * (a / r)


@register_kl(Gamma, Gamma)
def _gamma_gamma(p: Gamma, q: Gamma) -> Tensor:
    return _gammas(p.concentration, p.rate, q.concentration, q.rate)


@composite
def _gumbels(m: Tensor, s: Tensor, n: Tensor, t: Tensor) -> Tensor:
    ratio, apart = s / t, (n - m) / t
    return ratio * euler_constant - ratio.log() - apart + (apart + (1 + ratio).lgamma()).exp() - (1 + euler_constant)


@register_kl(Gumbel, Gumbel)
def _gumbel_gumbel(p: Gumbel, q: Gumbel) -> Tensor:
    return _gumbels(p.loc, p.scale, q.loc, q.scale)


@register_kl(Geometric, Geometric)
def _geometric_geometric(p: Geometric, q: Geometric) -> Tensor:
    return -p.entropy() - (-q.probs).log1p() / p.probs - q.logits


@composite
def _laplaces(m: Tensor, s: Tensor, n: Tensor, t: Tensor) -> Tensor:
    ratio, apart = s / t, (m - n).abs()
    return apart / t + ratio * (-apart / s).exp() - ratio.log() - 1


@register_kl(Laplace, Laplace)
def _laplace_laplace(p: Laplace, q: Laplace) -> Tensor:
    return _laplaces(p.loc, p.scale, q.loc, q.scale)


@register_kl(Cauchy, Cauchy)
def _cauchy_cauchy(p: Cauchy, q: Cauchy) -> Tensor:
    return ((p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)).log() - (4 * p.scale * q.scale).log()


@register_kl(Pareto, Pareto)
def _pareto_pareto(p: Pareto, q: Pareto) -> Tensor:
    ratio = q.alpha / p.alpha
    kl = q.alpha * (p.scale / q.scale).log() - ratio.log() + ratio - 1
    return where(p.scale < q.scale, math.inf, kl)


@register_kl(Poisson, Poisson)
def _poisson_poisson(p: Poisson, q: Poisson) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Uniform, Uniform)
def _uniform_uniform(p: Uniform, q: Uniform) -> Tensor:
    kl = ((q.high - q.low) / (p.high - p.low)).log()
    return where((q.low > p.low) | (q.high < p.high), math.inf, kl)


# --- families and wrappers


@register_kl(ExponentialFamily, ExponentialFamily)
def _family_family(p: Any, q: Any) -> Tensor:
    """The Bregman divergence of the log-normalisers."""
    if type(p) is not type(q):
        raise NotImplementedError("The cross KL-divergence between different exponential families cannot be computed "
                                  "using Bregman divergences")
    ours = [n.detach().requires_grad_() for n in p._natural_params]
    theirs = q._natural_params
    normalizer = p._log_normalizer(*ours)
    gradients = autograd.grad(normalizer.sum(), ours, create_graph=True)
    result = q._log_normalizer(*theirs) - normalizer
    for a, b, gradient in zip(ours, theirs, gradients, strict=True):
        assert gradient is not None
        result = result - sum_rightmost((b - a) * gradient, len(q.event_shape))
    return result


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed_transformed(p: TransformedDistribution, q: TransformedDistribution) -> Tensor:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Independent, Independent)
def _independent_independent(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


# --- multivariate normal


def _same_events(p: Any, q: Any, name: str) -> int:
    if p.event_shape != q.event_shape:
        raise ValueError(f"KL-divergence between two {name} Normals with different event shapes cannot be computed")
    return int(p.event_shape[0])


def _squares(matrix: Tensor) -> Tensor:
    """The trace of M Mᵀ."""
    return matrix.pow(2).sum((-2, -1))


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate_multivariate(p: MultivariateNormal, q: MultivariateNormal) -> Tensor:
    n = _same_events(p, q, "Multivariate")
    ours, theirs = p._unbroadcasted_scale_tril, q._unbroadcasted_scale_tril
    trace = _squares(solve_triangular(theirs, ours, upper=False))
    return half_log_det(theirs) - half_log_det(ours) + 0.5 * (trace + mahalanobis(theirs, q.loc - p.loc) - n)


def _against_low_rank(q: LowRankMultivariateNormal, root: Tensor) -> Tensor:
    """The trace of Σ_q⁻¹ R Rᵀ, by Woodbury's formula."""
    d = q._unbroadcasted_cov_diag
    inner = solve_triangular(q._capacitance_tril, q._unbroadcasted_cov_factor.mT / d.unsqueeze(-2), upper=False)
    return _squares(root * d.rsqrt().unsqueeze(-1)) - _squares(inner @ root)


def _low_rank_distance(q: LowRankMultivariateNormal, x: Tensor) -> Tensor:
    return low_rank_mahalanobis(q._unbroadcasted_cov_factor, q._unbroadcasted_cov_diag, x, q._capacitance_tril)


@register_kl(MultivariateNormal, LowRankMultivariateNormal)
def _multivariate_low_rank(p: MultivariateNormal, q: LowRankMultivariateNormal) -> Tensor:
    n = _same_events(p, q, "(Low Rank) Multivariate")
    ours = p._unbroadcasted_scale_tril
    return 0.5 * (q._log_det() - 2 * half_log_det(ours) + _against_low_rank(q, ours) + _low_rank_distance(
        q, q.loc - p.loc) - n)


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
def _low_rank_low_rank(p: LowRankMultivariateNormal, q: LowRankMultivariateNormal) -> Tensor:
    n = _same_events(p, q, "Low Rank Multivariate")
    diagonal = p._unbroadcasted_cov_diag.sqrt().diag_embed()
    trace = _against_low_rank(q, diagonal) + _against_low_rank(q, p._unbroadcasted_cov_factor)
    return 0.5 * (q._log_det() - p._log_det() + trace + _low_rank_distance(q, q.loc - p.loc) - n)


@register_kl(LowRankMultivariateNormal, MultivariateNormal)
def _low_rank_multivariate(p: LowRankMultivariateNormal, q: MultivariateNormal) -> Tensor:
    n = _same_events(p, q, "(Low Rank) Multivariate")
    theirs = q._unbroadcasted_scale_tril
    both = cat([p.cov_factor, p.cov_diag.sqrt().diag_embed()], -1)
    trace = _squares(solve_triangular(theirs, both, upper=False))
    return 0.5 * (2 * half_log_det(theirs) - p._log_det() + trace + mahalanobis(theirs, q.loc - p.loc) - n)
