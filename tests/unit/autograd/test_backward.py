"""Backward: accumulation, graphs that are freed or kept, hooks, gradients of gradients, long chains."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import Tensor
from minigrad.autograd import grad


def leaf(*values: float) -> Tensor:
    return minigrad.tensor(values, requires_grad=True)


def test_gradients_accumulate() -> None:
    x = minigrad.tensor(3.0, requires_grad=True)
    assert x.grad is None
    (x * x).backward()
    assert x.grad.item() == 6
    kept = x.grad
    (x * x).backward()
    assert x.grad.item() == 12 and x.grad is kept
    x.grad.zero_()
    assert kept.item() == 0
    x.grad = None
    (2 * x).backward()
    assert x.grad.item() == 2


def test_shared_operand() -> None:
    x = leaf(1.0, 2.0)
    (x + x).sum().backward()
    assert x.grad.tolist() == [2, 2]
    x.grad = None
    (x * x.detach()).sum().backward()
    assert x.grad.tolist() == [1, 2]
    x.grad = None
    y = x.view(2)
    (x * y).sum().backward()
    assert x.grad.tolist() == [2, 4]


@pytest.mark.parametrize("program", [lambda x: (x * 2).sum(), lambda x: x.exp().sum(), lambda x: x.relu().sum(),
                                     lambda x: (x @ x)])
def test_second_backward_raises_where_something_was_saved(program) -> None:
    x = leaf(1.0, 2.0)
    y = program(x)
    y.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()


@pytest.mark.parametrize("program", [lambda x: (x + 1).sum(), lambda x: x.mean(), lambda x: (-x).reshape(1, 2).sum()])
def test_second_backward_works_where_nothing_was_saved(program) -> None:
    x = leaf(1.0, 2.0)
    y = program(x)
    y.backward()
    first = x.grad.tolist()
    y.backward()
    assert x.grad.tolist() == [2 * g for g in first]


def test_second_backward_of_large_values_keeps_shapes_only() -> None:
    x = minigrad.rand(200, 200).requires_grad_()
    y = x + 1
    minigrad.realize(y)
    z = y.sum()
    z.backward()
    z.backward()
    assert x.grad[0, 0].item() == 2


def test_retain_graph() -> None:
    x = minigrad.tensor(3.0, requires_grad=True)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 12


def test_roots() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        (x * 2).backward()
    (x * 2).backward(minigrad.tensor([1.0, 10.0]))
    assert x.grad.tolist() == [2, 20]
    (x[:1].reshape(1, 1) * 3).backward()
    assert x.grad.tolist() == [5, 20]
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        (x * 2).backward(minigrad.ones(3))
    with pytest.raises(RuntimeError, match="element 0 of tensors does not require grad and does not have a grad_fn"):
        minigrad.ones(1).backward()
    with minigrad.no_grad():
        y = x.sum()
    with pytest.raises(RuntimeError, match="does not require grad"):
        y.backward()


def test_grad_function() -> None:
    x, y = minigrad.tensor(2.0, requires_grad=True), minigrad.tensor(3.0, requires_grad=True)
    z = x * x * y
    gx, gy = grad(z, (x, y))
    assert (gx.item(), gy.item()) == (12, 4) and x.grad is None
    h = x * 2
    w = h * h
    gh, = grad(w, h)
    assert gh.item() == 8
    with pytest.raises(RuntimeError, match="appears to not have been used in the graph"):
        grad(x * 2, y)
    assert grad(x * 2, (x, y), allow_unused=True)[1] is None
    assert grad(x * 2, (x, y), materialize_grads=True)[1].item() == 0
    with pytest.raises(RuntimeError, match="One of the differentiated Tensors does not require grad"):
        grad(x * 2, minigrad.ones(1))


@pytest.mark.parametrize("function, derivatives", [
    (lambda x: x**3, [lambda x: 3 * x**2, lambda x: 6 * x, lambda x: 6 + 0 * x]),
    (lambda x: x.exp(), [np.exp, np.exp, np.exp]),
    (lambda x: x.sin(), [np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)]),
    (lambda x: x.tanh(), [lambda x: 1 - np.tanh(x)**2, lambda x: -2 * np.tanh(x) * (1 - np.tanh(x)**2)]),
    (lambda x: 1 / x, [lambda x: -1 / x**2, lambda x: 2 / x**3]),
    (lambda x: x.sigmoid(), [lambda x: 1 / (1 + np.exp(-x)) * (1 - 1 / (1 + np.exp(-x)))]),
    (lambda x: x.log(), [lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3]),
    (lambda x: x.log1p(), [lambda x: 1 / (1 + x), lambda x: -1 / (1 + x)**2]),
    (lambda x: x.sqrt(), [lambda x: 0.5 / x**0.5, lambda x: -0.25 / x**1.5]),
    (lambda x: x * x * x.exp(), [lambda x: (2 * x + x * x) * np.exp(x), lambda x: (2 + 4 * x + x * x) * np.exp(x)]),
])
@pytest.mark.parametrize("realise_first", [False, True])
def test_higher_derivatives(function, derivatives, realise_first) -> None:
    x = minigrad.tensor([0.5, 1.25], dtype=minigrad.float64, requires_grad=True)
    y = function(x)
    for derivative in derivatives:
        if realise_first:
            y.realize()
        y, = grad(y.sum(), x, create_graph=True)
        np.testing.assert_allclose(y.detach().numpy(), derivative(np.array([0.5, 1.25])), rtol=1e-9)


def test_second_order_through_matmul_and_softmax() -> None:
    x = minigrad.tensor([[0.1, 0.2], [0.3, -0.4]], dtype=minigrad.float64, requires_grad=True)
    w = minigrad.tensor([[1.0, 2.0], [-1.0, 0.5]], dtype=minigrad.float64, requires_grad=True)

    def gradient(x: Tensor, create: bool = True) -> Tensor:
        y = (x @ w).softmax(1)[:, 0].sum()
        return grad(y, x, create_graph=create)[0]

    direction = minigrad.tensor([[1.0, -2.0], [0.5, 1.5]], dtype=minigrad.float64)
    product, = grad((gradient(x) * direction).sum(), x)
    step = 1e-6
    plus = gradient((x + step * direction).detach().requires_grad_(), False)
    minus = gradient((x - step * direction).detach().requires_grad_(), False)
    np.testing.assert_allclose(product.numpy(), ((plus - minus) / (2 * step)).numpy(), rtol=1e-6, atol=1e-9)


def test_gradient_penalty() -> None:
    w = leaf(1.0, 2.0)
    x = leaf(3.0, 4.0)
    gx, = grad((w * x * x).sum(), x, create_graph=True)
    (gx ** 2).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), 8 * np.array([1.0, 2.0]) * np.array([9.0, 16.0]), rtol=1e-6)


def test_backward_with_create_graph() -> None:
    x = minigrad.tensor(2.0, requires_grad=True)
    (x**3).backward(create_graph=True)
    assert x.grad.item() == 12 and x.grad.requires_grad
    g, = grad(x.grad, x)
    assert g.item() == 12


def test_hooks() -> None:
    x = leaf(1.0, 2.0)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    handle = y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    y.retain_grad()
    after = []
    x.register_post_accumulate_grad_hook(lambda t: after.append(t.grad.tolist()))
    y.sum().backward()
    assert seen == [[1, 1]] and y.grad.tolist() == [10, 10] and x.grad.tolist() == [21, 21] and after == [[21, 21]]
    handle.remove()
    x.grad = None
    (x * 2).sum().backward()
    assert x.grad.tolist() == [3, 3]


def test_node_hooks() -> None:
    x = leaf(1.0, 2.0)
    y = x * 2
    calls = []
    y.grad_fn.register_hook(lambda inputs, outputs: calls.append((len(inputs), outputs[0].tolist())))
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 3,))
    y.sum().backward()
    assert calls == [(1, [3, 3])] and x.grad.tolist() == [6, 6]


def test_grad_fn_and_next_functions() -> None:
    x = leaf(1.0, 2.0)
    y = x * 2
    z = (y + x).sum()
    assert x.grad_fn is None and x.is_leaf and not y.is_leaf
    assert z.grad_fn.name() == "SumBackward0" and repr(z.grad_fn).startswith("<SumBackward0 object at 0x")
    (add, number), = z.grad_fn.next_functions
    assert add.name() == "AddBackward0" and number == 0
    assert add.next_functions[0][0] is y.grad_fn
    assert repr(add.next_functions[1][0]).startswith("<AccumulateGrad object at")
    assert add.next_functions[1][0].variable is x


def test_inputs_argument() -> None:
    x, w = leaf(1.0), leaf(2.0)
    (x * w).backward(inputs=[x])
    assert x.grad.tolist() == [2] and w.grad is None


def test_two_losses_before_a_step() -> None:
    w = leaf(2.0)
    first, second = (w * 3).sum(), (w * w).sum()
    first.backward()
    second.backward()
    assert w.grad.tolist() == [7] and (first + second).item() == 10


@pytest.mark.parametrize("length", [40_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_long_chain_forward_backward_and_release(length: int) -> None:
    x = minigrad.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(10_000):
        y = y + 1
    y.backward()
    assert x.grad.item() == 1
    y = x
    for _ in range(length):
        y = y * 1.0
    del y
    gc.collect()
    v = minigrad.zeros(2)
    for _ in range(length):
        v = v.view(2)
    del v


def test_tape_lets_go_of_owned_values() -> None:
    x = leaf(1.0, 2.0)
    h = x.exp()
    lazy = h._storage.lazy
    assert lazy.owners == 2  # the Tensor and the node
    y = h.sum()
    y.backward()
    assert lazy.owners == 1
    del h
    assert lazy.owners == 0
    h = x.exp()
    lazy = h._storage.lazy
    del h
    assert lazy.owners == 0


def test_error_in_backward_changes_no_gradient() -> None:
    x = leaf(1.0, 2.0)
    x.sum().backward()

    class Broken(minigrad.autograd.Function):
        @staticmethod
        def forward(ctx, a):
            return a * 1

        @staticmethod
        def backward(ctx, g):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        (Broken.apply(x) + x).sum().backward()
    assert x.grad.tolist() == [1, 1]
    x.sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_a_hook_sees_no_gradient_of_an_input_that_nobody_asked_for() -> None:
    a, b = (minigrad.tensor([2.0], requires_grad=True) for _ in range(2))
    product, seen = a * b, []
    product.grad_fn.register_hook(lambda inputs, outputs: seen.append([g is None for g in inputs]))
    minigrad.autograd.grad(product.sum(), [b])
    assert seen == [[True, False]]


def test_what_is_differentiated_may_be_any_iterable() -> None:
    model = minigrad.nn.Linear(2, 1)
    x = minigrad.tensor([[1.0, 2.0]])
    named = dict(model.named_parameters())
    for inputs in (list(model.parameters()), model.parameters(), named.values()):
        weight, bias = grad(iter([model(x).sum()]), inputs)
        assert weight.tolist() == [[1, 2]] and bias.tolist() == [1]
    minigrad.autograd.backward(iter([model(x).sum()]), iter([minigrad.tensor(2.0)]), inputs=model.parameters())
    model(x).sum().backward(inputs=named.values())
    assert model.weight.grad.tolist() == [[3, 6]]
    with pytest.raises(TypeError, match="expected Tensors or GradientEdges, got int"):
        grad(model(x).sum(), iter([3]))


def test_grad_takes_only_inputs_and_dictionaries() -> None:
    x, y = (minigrad.tensor(v, requires_grad=True) for v in (2.0, 3.0))
    found = minigrad.autograd.grad(x * x * y, {"x": x, "y": y})
    assert {name: g.item() for name, g in found.items()} == {"x": 12.0, "y": 4.0}
    z = minigrad.tensor(1.0, requires_grad=True)
    assert minigrad.autograd.grad(x * y, (x, z), None, None, False, True, True)[1] is None  # PyTorch's order
    with pytest.warns(FutureWarning, match="only_inputs argument is deprecated"):
        assert minigrad.autograd.grad(x * y, x, only_inputs=False)[0].item() == 3.0


@pytest.mark.parametrize("change", [lambda v: v[0].add_(1), lambda v: v[:1].zero_(), lambda v: v[0].copy_(v[1] * 2)])
def test_what_was_changed_through_a_view_is_differentiated_once(change: Any) -> None:
    x = minigrad.ones(2, 2, requires_grad=True)
    v = x.roll(1, 0)
    change(v)
    v.sum().backward()
    with pytest.raises(RuntimeError, match="a second time"):
        v.sum().backward()


def test_an_op_of_which_pytorch_saves_something_is_differentiated_once() -> None:
    x = minigrad.tensor([1.75, 3.5], requires_grad=True)
    slope = minigrad.autograd.grad(x.sum().abs(), x, create_graph=True)[0]
    slope.sum().backward()
    with pytest.raises(RuntimeError, match="a second time"):
        slope.sum().backward()
    y = minigrad.cartesian_prod(minigrad.ones(2), x)
    y.sum().backward()
    y.sum().backward()


@pytest.mark.parametrize("times", [1, 20])
@pytest.mark.parametrize("first, second, words", [
    ((2, 3), (3, 2), r"The size of tensor a \(2\) must match the size of tensor b \(3\)"),
    ((2,), (1,), r"output with shape \[1\] doesn't match the broadcast shape \[2\]")])
def test_a_gradient_of_another_shape_is_added_as_in_place(first: Any, second: Any, words: str, times: int) -> None:
    """Also by what is replayed, which must not take the memory for that of another shape."""
    x = minigrad.ones(first).requires_grad_()

    def step() -> None:
        (x * x).sum().backward()

    for shape in (first, second):
        x.data, x.grad = minigrad.ones(shape), None
        for _ in range(times):
            step()
    x.data = minigrad.ones(first)
    with pytest.raises(RuntimeError, match=words):
        step()
    assert x.grad.tolist() == minigrad.full(second, 2.0 * times).tolist()
    x.data = minigrad.ones(1, *second)[0]
    step()
    assert x.grad.tolist() == minigrad.full(second, 2.0 * times + 2).tolist()


@pytest.mark.parametrize("times", [1, 20])
def test_a_gradient_of_another_dtype_is_added_as_in_place(times: int) -> None:
    x = minigrad.ones(2, dtype=minigrad.float64).requires_grad_()
    for dtype in (minigrad.float64, minigrad.float32):
        x.data, x.grad = minigrad.ones(2, dtype=dtype), None
        for _ in range(times):
            (x * x).sum().backward()
    x.data = minigrad.ones(2, dtype=minigrad.float64)
    (x * x).sum().backward()
    assert x.grad.dtype is minigrad.float32 and x.grad.tolist() == [2.0 * times + 2] * 2
    x.data = minigrad.ones(2, dtype=minigrad.complex64)
    with pytest.raises(RuntimeError, match="result type ComplexFloat can't be cast to the desired output type Float"):
        (x * x).sum().abs().backward()
