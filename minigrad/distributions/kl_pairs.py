"""Stage: front. In: two distributions of different kinds. Out: the Kullback-Leibler divergence of one from the other.
Next: ``minigrad/utils/``."""

from __future__ import annotations

import math
from typing import Any

from minigrad.distributions.bernoulli import Bernoulli
from minigrad.distributions.beta import Beta
from minigrad.distributions.binomial import Binomial
from minigrad.distributions.continuous_bernoulli import ContinuousBernoulli
from minigrad.distributions.exponential import Exponential
from minigrad.distributions.gamma import Gamma
from minigrad.distributions.gumbel import Gumbel
from minigrad.distributions.kl import register_kl
from minigrad.distributions.laplace import Laplace
from minigrad.distributions.normal import Normal
from minigrad.distributions.pareto import Pareto
from minigrad.distributions.poisson import Poisson
from minigrad.distributions.uniform import Uniform
from minigrad.distributions.utils import euler_constant
from minigrad.tensor import Tensor, full_like, where

__all__: list[str] = []


# --- p is possible where q is not

_NEVER: tuple[tuple[type, str, tuple[type, ...]], ...] = (
    (Beta, "concentration1", (Pareto,)),
    (ContinuousBernoulli, "probs", (Pareto,)),
    (Exponential, "rate", (Beta, ContinuousBernoulli, Pareto, Uniform)),
    (Gamma, "concentration", (Beta, ContinuousBernoulli, Pareto, Uniform)),
    (Gumbel, "loc", (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)),
    (Laplace, "loc", (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)),
    (Normal, "loc", (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)),
    (Pareto, "scale", (Beta, ContinuousBernoulli, Uniform)),
    (Poisson, "rate", (Bernoulli, Binomial)),
)


def _infinite(name: str) -> Any:
    return lambda p, q: full_like(getattr(p, name), math.inf)


for _p, _name, _others in _NEVER:
    for _q in _others:
        register_kl(_p, _q)(_infinite(_name))


def _gamma_normalizer(q: Gamma) -> Tensor:
    """log Γ(a) - a log rate"""
    return q.concentration.lgamma() - q.concentration * q.rate.log()


def _x_log_x(x: Tensor) -> Tensor:
    return x.xlogy(x)


def _mean_log(p: Uniform) -> Tensor:
    """The expected value of log x."""
    width = p.high - p.low
    return (_x_log_x(p.high) - _x_log_x(p.low) - width) / width


# --- p is Bernoulli or beta


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Bernoulli, q: Poisson) -> Tensor:
    return q.rate - p.entropy() - p.probs * q.rate.log()


@register_kl(Beta, ContinuousBernoulli)
@register_kl(Uniform, ContinuousBernoulli)
def _against_continuous_bernoulli(p: Any, q: ContinuousBernoulli) -> Tensor:
    kl = -p.entropy() - p.mean * q.logits - (-q.probs).log1p() - q._cont_bern_log_norm()
    return where((p.high >= 1.0) | (p.low <= 0.0), math.inf, kl) if isinstance(p, Uniform) else kl


@register_kl(Beta, Exponential)
@register_kl(ContinuousBernoulli, Exponential)
@register_kl(Gamma, Exponential)
def _against_exponential(p: Any, q: Exponential) -> Tensor:
    return q.rate * p.mean - p.entropy() - q.rate.log()


@register_kl(Beta, Gamma)
def _beta_gamma(p: Beta, q: Gamma) -> Tensor:
    mean_log = p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma()
    return _gamma_normalizer(q) - p.entropy() - (q.concentration - 1) * mean_log + q.rate * p.mean


@register_kl(Beta, Normal)
@register_kl(ContinuousBernoulli, Normal)
def _against_normal(p: Any, q: Normal) -> Tensor:
    square = q.scale.pow(2)
    away = p.variance + p.mean.pow(2) - 2.0 * q.loc * p.mean + q.loc.pow(2)
    return 0.5 * (2 * math.pi * square).log() - p.entropy() + away / (2.0 * square)


@register_kl(Beta, Uniform)
def _beta_uniform(p: Beta, q: Uniform) -> Tensor:
    return where((q.low > 0.0) | (q.high < 1.0), math.inf, (q.high - q.low).log() - p.entropy())


@register_kl(ContinuousBernoulli, Uniform)
def _continuous_bernoulli_uniform(p: ContinuousBernoulli, q: Uniform) -> Tensor:
    return where((q.low >= 0.0) | (q.high <= 1.0), math.inf, (q.high - q.low).log() - p.entropy())


# --- p is exponential or gamma


@register_kl(Exponential, Gamma)
def _exponential_gamma(p: Exponential, q: Gamma) -> Tensor:
    ratio, a = q.rate / p.rate, q.concentration
    return ratio - a * ratio.log() + a.lgamma() + a * euler_constant - (1 + euler_constant)


@register_kl(Exponential, Gumbel)
def _exponential_gumbel(p: Exponential, q: Gumbel) -> Tensor:
    product, place = p.rate * q.scale, q.loc / q.scale
    return product.log() - 1 - place + place.exp() * product / (product + 1) + product.reciprocal()


@register_kl(Exponential, Normal)
def _exponential_normal(p: Exponential, q: Normal) -> Tensor:
    square, rates = q.scale.pow(2), p.rate.pow(2)
    away = rates.reciprocal() - q.loc / p.rate + q.loc.pow(2) * 0.5
    return 0.5 * (rates * square * 2 * math.pi).log() - 1 + away / square


@register_kl(Gamma, Gumbel)
def _gamma_gumbel(p: Gamma, q: Gumbel) -> Tensor:
    product, place, a = p.rate * q.scale, q.loc / q.scale, p.concentration
    own = (a - 1) * a.digamma() - a.lgamma() - a
    return own + product.log() + a / product + place.exp() * (1 + product.reciprocal()).pow(-a) - place


@register_kl(Gamma, Normal)
def _gamma_normal(p: Gamma, q: Normal) -> Tensor:
    square, rates, a = q.scale.pow(2), p.rate.pow(2), p.concentration
    own = 0.5 * (rates * square * 2 * math.pi).log() - a - a.lgamma() + (a - 1) * a.digamma()
    return own + (0.5 * (a.pow(2) + a) / rates - q.loc * a / p.rate + 0.5 * q.loc.pow(2)) / square


# --- p is Gumbel, Laplace or normal


@register_kl(Gumbel, Normal)
def _gumbel_normal(p: Gumbel, q: Normal) -> Tensor:
    ratio = p.scale / q.scale
    away = ((p.loc + p.scale * euler_constant - q.loc) / q.scale).pow(2) * 0.5
    return (math.pi * ratio * 0.5).pow(2) / 3 - (ratio / math.sqrt(2 * math.pi)).log() + away - (euler_constant + 1)


@register_kl(Laplace, Normal)
def _laplace_normal(p: Laplace, q: Normal) -> Tensor:
    square = q.scale.pow(2)
    ratio = p.scale.pow(2) / square
    return ratio - 0.5 * (2 * ratio / math.pi).log() + 0.5 * (p.loc - q.loc).pow(2) / square - 1


@register_kl(Normal, Gumbel)
def _normal_gumbel(p: Normal, q: Gumbel) -> Tensor:
    apart, ratio = (p.loc - q.loc) / q.scale, (p.scale / q.scale).pow(2)
    return apart - 0.5 * ratio.log() + (0.5 * ratio - apart).exp() - 0.5 * (1 + math.log(2 * math.pi))


@register_kl(Normal, Laplace)
def _normal_laplace(p: Normal, q: Laplace) -> Tensor:
    apart = p.loc - q.loc
    z = apart / p.scale
    mean = math.sqrt(2 / math.pi) * p.scale * (-0.5 * z.pow(2)).exp() + apart * (math.sqrt(0.5) * z).erf()
    return mean / q.scale - (p.scale / q.scale).log() - 0.5 * (1 + math.log(0.5 * math.pi))


# --- p is Pareto


@register_kl(Pareto, Exponential)
def _pareto_exponential(p: Pareto, q: Exponential) -> Tensor:
    product = p.scale * q.rate
    kl = (p.alpha / product).log() - p.alpha.reciprocal() + p.alpha * product / (p.alpha - 1) - 1
    return where(p.alpha <= 1, math.inf, kl)


@register_kl(Pareto, Gamma)
def _pareto_gamma(p: Pareto, q: Gamma) -> Tensor:
    mean_log = p.scale.log() + p.alpha.reciprocal()
    kl = p.alpha.log() - mean_log + _gamma_normalizer(q) + (1 - q.concentration) * mean_log + (
        q.rate * p.alpha * p.scale / (p.alpha - 1)) - 1
    return where(p.alpha <= 1, math.inf, kl)


@register_kl(Pareto, Normal)
def _pareto_normal(p: Pareto, q: Normal) -> Tensor:
    part = p.scale / (p.alpha - 1)
    away = p.alpha * part.pow(2) / (p.alpha - 2) + (p.alpha * part - q.loc).pow(2)
    kl = (math.sqrt(2 * math.pi) * q.scale * p.alpha / p.scale).log() - p.alpha.reciprocal() + (
        away / (2 * q.scale.pow(2))) - 1
    return where(p.alpha <= 2, math.inf, kl)


# --- p is uniform


@register_kl(Uniform, Beta)
def _uniform_beta(p: Uniform, q: Beta) -> Tensor:
    width, a, b = p.high - p.low, q.concentration1, q.concentration0
    other = (_x_log_x(1 - p.high) - _x_log_x(1 - p.low) + width) / width
    kl = (b - 1) * other + a.lgamma() + b.lgamma() - (a + b).lgamma() - width.log() - (a - 1) * _mean_log(p)
    return where((p.high > 1.0) | (p.low < 0.0), math.inf, kl)


@register_kl(Uniform, Exponential)
def _uniform_exponential(p: Uniform, q: Exponential) -> Tensor:
    kl = q.rate * (p.high + p.low) / 2 - ((p.high - p.low) * q.rate).log()
    return where(p.low < 0.0, math.inf, kl)


@register_kl(Uniform, Gamma)
def _uniform_gamma(p: Uniform, q: Gamma) -> Tensor:
    kl = _gamma_normalizer(q) - (p.high - p.low).log() + (1 - q.concentration) * _mean_log(p) + (
        q.rate * (p.high + p.low) / 2)
    return where(p.low < 0.0, math.inf, kl)


@register_kl(Uniform, Gumbel)
def _uniform_gumbel(p: Uniform, q: Gumbel) -> Tensor:
    share, high, low = q.scale / (p.high - p.low), (p.high - q.loc) / q.scale, (p.low - q.loc) / q.scale
    return share.log() + 0.5 * (high + low) - share * ((-high).exp() - (-low).exp())


@register_kl(Uniform, Normal)
def _uniform_normal(p: Uniform, q: Normal) -> Tensor:
    width = p.high - p.low
    away = width.pow(2) / 12 + ((p.high + p.low - 2 * q.loc) / 2).pow(2)
    return (math.sqrt(math.pi * 2) * q.scale / width).log() + 0.5 * away / q.scale.pow(2)


@register_kl(Uniform, Pareto)
def _uniform_pareto(p: Uniform, q: Pareto) -> Tensor:
    kl = _mean_log(p) * (q.alpha + 1) - (q.alpha * q.scale.pow(q.alpha) * (p.high - p.low)).log()
    return where(p.low < q.scale, math.inf, kl)
