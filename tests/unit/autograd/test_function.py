"""Custom autograd.Function."""

from __future__ import annotations

import gc
import weakref

import pytest

import minigrad
from minigrad.autograd import Function, grad


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return 3 * x * x * g


class Exp(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        y, = ctx.saved_tensors
        return g * y


class Both(Function):
    @staticmethod
    def forward(ctx, a, b, factor):
        ctx.factor = factor
        ctx.save_for_backward(a, b)
        return a * b, a + b

    @staticmethod
    def backward(ctx, g, h):
        _, b = ctx.saved_tensors
        assert ctx.needs_input_grad == (True, False, False)
        return ctx.factor * (g * b + h), None, None


def test_values_gradients_and_names() -> None:
    x = minigrad.tensor(2.0, requires_grad=True)
    y = Cube.apply(x)
    assert y.item() == 8 and y.grad_fn.name() == "CubeBackward"
    y.backward()
    assert x.grad.item() == 12
    with pytest.raises(RuntimeError, match="a second time"):
        y.backward()


@pytest.mark.parametrize("function, values", [(Cube, [12, 12, 6]), (Exp, [7.389056] * 3)])
def test_higher_orders(function, values) -> None:
    x = minigrad.tensor(2.0, requires_grad=True)
    y = function.apply(x)
    for value in values:
        y, = grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(value)


def test_several_outputs_and_static_arguments() -> None:
    a, b = minigrad.ones(2, requires_grad=True), minigrad.full((2,), 3.0)
    p, q = Both.apply(a, b, 2)
    assert p.tolist() == [3, 3] and q.tolist() == [4, 4]
    p.sum().backward(retain_graph=True)
    assert a.grad.tolist() == [6, 6]
    q.sum().backward()
    assert a.grad.tolist() == [8, 8]


def test_without_gradients_nothing_is_recorded() -> None:
    assert not Cube.apply(minigrad.ones(1)).requires_grad
    with minigrad.no_grad():
        assert not Cube.apply(minigrad.ones(1, requires_grad=True)).requires_grad


def test_wrong_number_of_gradients() -> None:
    class Wrong(Function):
        @staticmethod
        def forward(ctx, a, b):
            return a + b

        @staticmethod
        def backward(ctx, g):
            return g

    x = minigrad.ones(1, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"returned an incorrect number of gradients \(expected 2, got 1\)"):
        Wrong.apply(x, x).backward()


def test_saved_output_makes_no_cycle() -> None:
    x = minigrad.ones(1, requires_grad=True)
    gc.disable()
    try:
        y = Exp.apply(x)
        gone = weakref.ref(y.grad_fn)
        del y
        assert gone() is None
    finally:
        gc.enable()


def test_missing_methods() -> None:
    class Empty(Function):
        pass

    with pytest.raises(NotImplementedError, match="You must implement the forward function"):
        Empty.apply(minigrad.ones(1))
