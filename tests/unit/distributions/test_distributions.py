"""Distributions without PyTorch: densities that integrate to 1, cdf and icdf, gradients through samples, divergences
against their definition, transforms against finite differences, special functions against known constants."""

import math

import numpy as np
import pytest

import minigrad
from minigrad import distributions as D


def t(*values):
    return minigrad.tensor(values[0] if len(values) == 1 else list(values), dtype=minigrad.float64)


@pytest.mark.parametrize(("d", "low", "high"), [
    (D.Normal(t(0.5), t(1.5)), -30, 30), (D.Gamma(t(2.5), t(1.5)), 1e-9, 60), (D.Beta(t(2.5), t(1.5)), 1e-9, 1 - 1e-9),
    (D.StudentT(t(5.0)), -300, 300), (D.VonMises(t(0.5), t(2.0)), -math.pi, math.pi),
    (D.Laplace(t(0.0), t(1.0)), -40, 40),
], ids=lambda v: type(v).__name__)
def test_densities_integrate_to_one(d, low, high):
    x = np.linspace(low, high, 40001)
    density = d.log_prob(minigrad.tensor(x)).exp().numpy()
    assert np.trapezoid(density, x) == pytest.approx(1.0, abs=1e-5)


def test_cdf_and_icdf_are_inverse():
    share = t(0.1, 0.5, 0.9)
    for d in (D.Normal(t(1.0), t(2.0)), D.Cauchy(t(0.0), t(1.0)), D.HalfNormal(t(2.0)), D.Gumbel(t(0.5), t(2.0))):
        np.testing.assert_allclose(d.cdf(d.icdf(share)).numpy(), share.numpy(), atol=1e-12)


def test_gamma_samples_have_moments_and_gradients():
    minigrad.manual_seed(0)
    a = minigrad.tensor(3.0, dtype=minigrad.float64, requires_grad=True)
    x = D.Gamma(a, t(2.0)).rsample((20000,))
    assert x.mean().item() == pytest.approx(1.5, abs=0.03) and x.var().item() == pytest.approx(0.75, abs=0.05)
    x.mean().backward()  # the mean is a / rate
    assert a.grad.item() == pytest.approx(0.5, abs=0.02)


def test_seeded_samples():
    minigrad.manual_seed(42)
    assert D.Normal(0.0, 1.0).sample((2,)).tolist() == pytest.approx([0.33669036626815796, 0.12880940735340118])
    assert D.Bernoulli(t(0.5)).sample((3,)).shape == (3,)
    assert set(D.Categorical(t(0.0, 1.0, 0.0)).sample((5,)).tolist()) == {1}


@pytest.mark.parametrize(("p", "q"), [
    (D.Normal(t(0.5), t(1.5)), D.Normal(t(-0.5), t(2.0))), (D.Normal(t(0.5), t(0.7)), D.Laplace(t(-0.5), t(2.0))),
    (D.Normal(t(0.5), t(0.7)), D.Gumbel(t(-0.5), t(2.0))), (D.Laplace(t(0.5), t(0.7)), D.Normal(t(-0.5), t(2.0))),
    (D.Uniform(t(0.5), t(2.0)), D.Gamma(t(1.5), t(2.0)))], ids=lambda v: type(v).__name__)
def test_divergences_are_what_they_are_defined_as(p, q):
    x = np.linspace(0.5, 2.0 - 1e-9, 40001) if isinstance(p, D.Uniform) else np.linspace(-15, 15, 40001)
    ours, theirs = p.log_prob(minigrad.tensor(x)), q.log_prob(minigrad.tensor(x))
    expected = np.trapezoid((ours.exp() * (ours - theirs)).numpy(), x)
    assert D.kl_divergence(p, q).item() == pytest.approx(expected, abs=1e-6)


def test_multivariate_normal_is_normal_if_diagonal():
    x, scale = t([0.3, -0.2]), t([0.5, 2.0])
    joint = D.MultivariateNormal(t([0.0, 1.0]), scale_tril=scale.diag())
    each = D.Independent(D.Normal(t([0.0, 1.0]), scale), 1)
    assert joint.log_prob(x).item() == pytest.approx(each.log_prob(x).item())
    assert joint.entropy().item() == pytest.approx(each.entropy().item())
    low_rank = D.LowRankMultivariateNormal(t([0.0, 1.0]), minigrad.zeros(2, 1, dtype=minigrad.float64), scale * scale)
    assert low_rank.log_prob(x).item() == pytest.approx(each.log_prob(x).item())


@pytest.mark.parametrize("transform", [D.ExpTransform(), D.SigmoidTransform(), D.TanhTransform(), D.SoftplusTransform(),
                                       D.AffineTransform(1.0, -2.0), D.ComposeTransform([
                                           D.ExpTransform(), D.PowerTransform(0.5)])], ids=repr)
def test_transforms_have_the_derivative_they_say(transform):
    x = t(-0.5, 0.2, 1.0)
    y = transform(x)
    np.testing.assert_allclose(transform.inv(y).numpy(), x.numpy(), atol=1e-12)
    slope = (transform(x + 1e-6) - transform(x - 1e-6)) / 2e-6
    np.testing.assert_allclose(transform.log_abs_det_jacobian(x, y).numpy(), slope.abs().log().numpy(), atol=1e-7)


def test_errors_name_the_parameter_and_what_it_must_be():
    with pytest.raises(ValueError, match=r"Expected parameter scale .* to satisfy the constraint GreaterThan"):
        D.Normal(0.0, -1.0)
    with pytest.raises(ValueError, match="to be within the support"):
        D.Exponential(1.0).log_prob(t(-1.0))
    with pytest.raises(NotImplementedError, match=r"No KL\(p \|\| q\) is implemented"):
        D.kl_divergence(D.Cauchy(0.0, 1.0), D.Normal(0.0, 1.0))
    with pytest.raises(ValueError, match="Either `probs` or `logits`"):
        D.Bernoulli()


def test_log_prob_is_recorded_as_one_call():
    x = minigrad.tensor([0.5], requires_grad=True)
    out = D.Normal(0.0, 1.0, validate_args=False).log_prob(x)
    assert out.grad_fn.next_functions[0][0].name().startswith("AccumulateGrad")
    with minigrad.inspect() as seen:
        out.realize()
    assert len(seen.kernels) == 1


CONSTANTS = {  # by mpmath, 17 digits
    "lgamma": (0.3, 1.0957979948180756), "digamma": (0.3, -3.5025242222001332), "erfinv": (0.9, 1.1630871536766741),
    "erfc": (5.0, 1.5374597944280349e-12), "i0": (3.0, 4.8807925858650245), "atan": (2.0, 1.1071487177940905),
    "asin": (0.7, 0.77539749661075306), "acosh": (2.0, 1.3169578969248167),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_special_functions(name):
    x, expected = CONSTANTS[name]
    assert getattr(t(x), name)().item() == pytest.approx(expected, rel=1e-14)


def test_special_functions_at_their_poles():
    assert t(0.0, -1.0, -2.0).lgamma().tolist() == [math.inf] * 3
    assert t(-1.7976931348623157e308, -math.inf).lgamma().tolist() == [math.inf] * 2
    assert math.isnan(t(-1.0).digamma().item()) and t(0.0).digamma().item() == -math.inf
    assert t(1.0, -1.0).erfinv().tolist() == [math.inf, -math.inf] and math.isnan(t(1.1).erfinv().item())
    assert minigrad.xlogy(t(0.0), t(0.0)).item() == 0.0
    assert t(-math.inf).logaddexp(t(-math.inf)).item() == -math.inf


def test_incomplete_gamma_is_a_share():
    a, x = t(0.5, 3.0, 40.0), t(0.2, 3.5, 45.0)
    total = a.igamma(x) + a.igammac(x)
    np.testing.assert_allclose(total.numpy(), 1.0, rtol=1e-14)
    assert t(1.0).igamma(t(2.0)).item() == pytest.approx(1 - math.exp(-2.0), rel=1e-13)


def test_cholesky_and_triangular_systems():
    a = t([[4.0, 2.0], [2.0, 3.0]])
    factor = minigrad.linalg.cholesky(a)
    np.testing.assert_allclose((factor @ factor.mT).numpy(), a.numpy(), rtol=1e-15)
    x = minigrad.linalg.solve_triangular(factor, t([[1.0], [2.0]]), upper=False)
    np.testing.assert_allclose((factor @ x).numpy(), [[1.0], [2.0]], rtol=1e-15)
    with pytest.raises(RuntimeError, match="the leading minor of order 2 is not positive-definite"):
        minigrad.linalg.cholesky(t([[1.0, 2.0], [2.0, 1.0]])).numpy()
    assert minigrad.linalg.cholesky_ex(t([[1.0, 2.0], [2.0, 1.0]])).info.item() == 2


def test_lgamma_on_both_sides():
    x = np.concatenate([np.linspace(-5.3, 12.1, 60), [1 + 1e-9, 2 - 1e-9, 100.0, 1e10]])
    np.testing.assert_allclose(minigrad.tensor(x).lgamma().numpy(), [math.lgamma(v) for v in x], rtol=1e-13, atol=1e-15)


def test_densities_at_a_point():
    for d, x, density in ((D.Cauchy(t(0.0), t(1.0)), 1.0, 1 / (2 * math.pi)), (D.Uniform(t(0.0), t(4.0)), 1.0, 0.25),
                          (D.Poisson(t(2.0)), 3.0, 4 / 3 * math.exp(-2)), (D.Binomial(4, t(0.5)), 2.0, 0.375),
                          (D.Geometric(t(0.25)), 2.0, 0.140625), (D.Pareto(t(1.0), t(2.0)), 2.0, 0.25),
                          (D.Weibull(t(1.0), t(2.0)), 1.0, 2 * math.exp(-1)), (D.Exponential(t(2.0)), 0.5, 2 / math.e)):
        assert d.log_prob(t(x)).exp().item() == pytest.approx(density, rel=1e-12), d
