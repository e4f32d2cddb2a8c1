"""The random functions of the namespace draw PyTorch's numbers (``test_generator.py`` tests the generator itself)."""

from __future__ import annotations

import pytest

import minigrad


def test_printed_numbers_of_pytorch() -> None:
    minigrad.manual_seed(42)
    assert [round(v, 4) for v in minigrad.rand(3).tolist()] == [0.8823, 0.9150, 0.3829]
    minigrad.manual_seed(42)
    assert [round(v, 4) for v in minigrad.randn(2).tolist()] == [0.3367, 0.1288]
    minigrad.manual_seed(42)
    assert minigrad.randint(0, 10, (5,)).tolist() == [2, 7, 6, 4, 6]
    minigrad.manual_seed(42)
    assert minigrad.empty(3).uniform_().tolist() == minigrad.tensor([0.8822692632675171, 0.9150039553642273,
                                                                     0.38286375999450684]).tolist()


def test_the_same_on_every_device() -> None:
    for draw in (lambda d: minigrad.rand(5, device=d), lambda d: minigrad.randn(20, device=d),
                 lambda d: minigrad.randperm(6, device=d), lambda d: minigrad.zeros(4, device=d).bernoulli_(0.5)):
        minigrad.manual_seed(1)
        first = draw("cpu").tolist()
        minigrad.manual_seed(1)
        assert draw("numpy").tolist() == first


def test_shapes_types_and_likes() -> None:
    x = minigrad.zeros(2, 3, dtype=minigrad.float64)
    assert minigrad.rand_like(x).dtype is minigrad.float64 and minigrad.randn_like(x).shape == (2, 3)
    assert minigrad.rand(()).shape == () and minigrad.rand(2, 3).shape == (2, 3) and minigrad.rand((2,)).shape == (2,)
    assert minigrad.randn(2, dtype=minigrad.float16).dtype is minigrad.float16
    assert minigrad.randint_like(x, 5).dtype is minigrad.float64 and minigrad.randint(3, (2,)).max().item() < 3
    assert minigrad.rand(2, requires_grad=True).requires_grad
    assert minigrad.normal(0.0, 1.0, (3,)).shape == (3,)
    assert minigrad.normal(minigrad.zeros(2), minigrad.ones(2)).shape == (2,)
    assert minigrad.multinomial(minigrad.tensor([0.0, 1.0]), 1).tolist() == [1]
    assert minigrad.bernoulli(minigrad.tensor([0.0, 1.0])).tolist() == [0, 1]


def test_fillers() -> None:
    x = minigrad.empty(1000)
    assert x.uniform_(2, 3).min().item() >= 2 and x.max().item() <= 3
    assert abs(x.normal_(5, 0.1).mean().item() - 5) < 0.05
    assert set(x.random_(0, 3).tolist()) == {0, 1, 2} and x.exponential_().min().item() >= 0
    assert minigrad.zeros(4, dtype=minigrad.int64).random_(5).dtype is minigrad.int64
    assert set(x.bernoulli_(minigrad.full((1000,), 0.5)).tolist()) == {0, 1}


def test_numbers_drawn_with_parameters_have_the_gradient_0() -> None:
    rate = minigrad.tensor([0.5, 1.0, 1.0], requires_grad=True)
    draws = {"NormalBackward0": lambda: minigrad.normal(rate, 1.0), "BernoulliBackward0": rate.bernoulli,
             "PoissonBackward0": lambda: minigrad.poisson(rate),
             "BinomialBackward0": lambda: minigrad.binomial(minigrad.ones(3), rate)}
    for name, draw in draws.items():
        drawn = draw()
        assert drawn.requires_grad and drawn.grad_fn.name() == name
        (slope,) = minigrad.autograd.grad(drawn.sum(), rate)
        assert slope.tolist() == [0, 0, 0]
    assert not minigrad.normal(rate.detach(), 1.0).requires_grad


def test_generators_and_states() -> None:
    g = minigrad.Generator().manual_seed(3)
    first = minigrad.rand(3, generator=g)
    assert minigrad.rand(3, generator=minigrad.Generator().manual_seed(3)).tolist() == first.tolist()
    state = minigrad.get_rng_state()
    a = minigrad.rand(2)
    minigrad.set_rng_state(state)
    assert minigrad.rand(2).tolist() == a.tolist()
    minigrad.manual_seed(9)
    assert minigrad.initial_seed() == 9


def test_views_can_be_filled() -> None:
    x = minigrad.zeros(2, 3)
    x[1].uniform_(1, 2)
    assert x[0].tolist() == [0] * 3 and x[1].min().item() >= 1
    with pytest.raises(RuntimeError, match="leaf Variable"):
        minigrad.zeros(2, requires_grad=True).normal_()
