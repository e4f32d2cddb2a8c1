"""Stage: tests. In: functions with known derivatives. Out: those derivatives, nested ones too.
Next: ``tests/unit/profiler/test_profiler.py``."""

from __future__ import annotations

import pytest

import minigrad
from minigrad import func
from minigrad.autograd import functional


@pytest.fixture
def X() -> minigrad.Tensor:
    return minigrad.tensor([1.0, 2.0])


def test_gradients_nest_and_keep_no_tape(X: minigrad.Tensor) -> None:
    g = func.grad(lambda y: func.grad(lambda x: (x * x * y).sum())(X).sum())(X)
    assert g.tolist() == [2.0, 4.0]
    assert not g.requires_grad
    assert not X.requires_grad


def test_what_is_differentiated_outside_keeps_its_tape(X: minigrad.Tensor) -> None:
    w = minigrad.tensor([3.0, 4.0], requires_grad=True)
    g = func.grad(lambda x: (x * w).sum())(X)
    g.sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [1.0, 1.0]


def test_products_with_vectors(X: minigrad.Tensor) -> None:
    y, back = func.vjp(lambda x: {"a": x * x, "b": [x.sum()]}, X)
    assert y["a"].tolist() == [1.0, 4.0]
    assert back({"a": minigrad.ones(2), "b": [minigrad.tensor(10.0)]})[0].tolist() == [12.0, 14.0]
    assert func.jvp(lambda x: x * x, (X,), (minigrad.ones(2),))[1].tolist() == [2.0, 4.0]


def test_matrices(X: minigrad.Tensor) -> None:
    assert func.jacrev(lambda x: x * x)(X).tolist() == functional.jacobian(lambda x: x * x, X).tolist() == [
        [2.0, 0.0], [0.0, 4.0]]
    assert func.hessian(lambda x: (x**3).sum())(X).tolist() == [[6.0, 0.0], [0.0, 12.0]]


def test_what_is_not_there() -> None:
    with pytest.raises(NotImplementedError, match="vmap is not there"):
        func.vmap(lambda x: x)
    with pytest.raises(NotImplementedError, match="dual_level is not there"):
        minigrad.autograd.forward_ad.dual_level()
    with pytest.raises(NotImplementedError, match="saved_tensors_hooks is not there"):
        minigrad.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x)
