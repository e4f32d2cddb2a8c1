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


def of(name: str) -> minigrad.Tensor:
    return minigrad.zeros(2, dtype=getattr(minigrad, name))


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda: minigrad.normal(of("float32"), minigrad.tensor([1.0, -1.0])), RuntimeError, "all elements of std >= 0.0"),
    (lambda: minigrad.normal(of("float32"), -1.0), RuntimeError, "normal expects std >= 0.0, but found std -1"),
    (lambda: minigrad.normal(1.0, of("complex64")), RuntimeError, "standard deviation to be non-complex"),
    (lambda: minigrad.normal(of("int64"), 1.0), NotImplementedError, "normal_kernel_cpu.*'Long'"),
    (lambda: minigrad.normal(0.0, 1.0), TypeError, "invalid combination of arguments - got .float, float."),
    (lambda: of("float32").uniform_(0, float("inf")), RuntimeError, "to is out of bounds for float"),
    (lambda: of("float16").uniform_(-1e5, 0), RuntimeError, "from is out of bounds for c10::Half"),
    (lambda: of("float32").uniform_(-3e38, 3e38), RuntimeError, "to-from to exceed the limit"),
    (lambda: of("int64").exponential_(), RuntimeError, "Exponential distribution.*you specified Long"),
    (lambda: of("int8").cauchy_(), RuntimeError, "Cauchy distribution.*you specified signed char"),
    (lambda: of("int32").log_normal_(), NotImplementedError, "log_normal_cpu.*'Int'"),
    (lambda: of("bool").geometric_(0.5), NotImplementedError, "geometric_cpu.*'Bool'"),
    (lambda: minigrad.poisson(of("int64")), NotImplementedError, "poisson_cpu.*'Long'"),
    (lambda: minigrad.binomial(of("int64"), of("float32")), ValueError, "floating-point dtypes for count, got: Long"),
    (lambda: minigrad.binomial(of("float32"), of("float64")), RuntimeError, "Found dtype Double but expected Float"),
    (lambda: minigrad.randint(0, 257, (2,), dtype=minigrad.uint8), RuntimeError, "to - 1 is out of bounds for unsig"),
    (lambda: of("int8").random_(-129, 5), RuntimeError, "from is out of bounds for signed char"),
    (lambda: minigrad.randint(3, (2,), dtype=minigrad.complex64), RuntimeError, "handles only integral"),
    (lambda: of("float32").random_(0), RuntimeError, "random_ expects 'from' to be less than 'to'"),
    (lambda: minigrad.randperm(129, dtype=minigrad.int8), RuntimeError, "to type int8_t without overflow"),
    (lambda: minigrad.randperm(2**11 + 2, dtype=minigrad.float16), RuntimeError, "cannot be greater than 2049 for"),
    (lambda: minigrad.randperm(3, dtype=minigrad.bool), NotImplementedError, "randperm.*'Bool'"),
])
def test_what_a_type_cannot_hold_is_not_drawn(call, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def test_types_and_shapes_of_parameters() -> None:
    assert minigrad.normal(of("float16"), of("float32") + 1).dtype is minigrad.float16
    assert minigrad.normal(of("complex64"), 1.0).dtype is minigrad.complex64
    assert minigrad.randint(0, 256, (2,), dtype=minigrad.uint8).dtype is minigrad.uint8
    drawn = minigrad.binomial(minigrad.tensor([[3.0], [-1.0]]), minigrad.tensor([2.0, -1.0]))
    assert drawn.tolist() == [[3, 0], [0, 0]]
    assert minigrad.randperm(256, dtype=minigrad.uint8).sort().values.tolist() == list(range(256))
