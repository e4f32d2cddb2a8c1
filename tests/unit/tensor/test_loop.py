"""Stage: tests. In: loops along sequences. Out: they give what the same steps give one by one, and so do their
gradients; a step is compiled once, however many there are.
Next: ``tests/unit/grad/test_batching.py``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import Tensor
from minigrad.autograd import grad
from minigrad.dtype import float32
from minigrad.engine.stored import digest
from minigrad.graph.function import Subgraph, param
from minigrad.graph.loop import Loop
from minigrad.tensor import composite, loop, stack


def _step(states: list[Tensor], rows: list[Tensor], constants: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """A recurrent step with two states, one of them of another shape, that gives what no later step needs."""
    (h, total), (x, y), (w, b) = states, rows, constants
    h = (x + h @ w.T + b).tanh() * y.sigmoid()
    return [h, total + h.sum(-1)], [h.exp().sum(-1), x * h]


@composite
def looped(x: Tensor, y: Tensor, h: Tensor, total: Tensor, w: Tensor, b: Tensor, *, backwards: bool) -> Any:
    states, given = loop(_step, [h, total], [x, y], [w, b], backwards=backwards)
    return (*states, *given)


def unrolled(x: Tensor, y: Tensor, h: Tensor, total: Tensor, w: Tensor, b: Tensor, *, backwards: bool) -> Any:
    rows: dict[int, list[Tensor]] = {}
    for t in reversed(range(len(x))) if backwards else range(len(x)):
        (h, total), given = _step([h, total], [x[t], y[t]], [w, b])
        rows[t] = [h, total, *given]
    return tuple(stack(list(column)) for column in zip(*[rows[t] for t in range(len(x))], strict=True))


def _arguments(rng: np.random.Generator, steps: int) -> list[Tensor]:
    shapes = (steps, 3, 4), (steps, 3, 4), (3, 4), (3,), (4, 4), (4,)
    return [minigrad.tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]


def _close(a: Tensor, b: Tensor) -> None:
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_loop_is_its_steps_one_after_another(rng: np.random.Generator, steps: int, backwards: bool) -> None:
    arguments = _arguments(rng, steps)
    for a, b in zip(looped(*arguments, backwards=backwards), unrolled(*arguments, backwards=backwards), strict=True):
        _close(a, b)


@pytest.mark.sample(4)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (3,), (0, 1, 2, 3)])
def test_gradients_of_first_and_second_order(rng: np.random.Generator, wanted: tuple[int, ...],
                                             backwards: bool) -> None:
    arguments = _arguments(rng, 4)
    found = []
    for run in (looped, unrolled):
        outputs = run(*arguments, backwards=backwards)
        loss = sum((outputs[i] * outputs[i]).sum() for i in wanted)
        first = grad(loss, arguments, create_graph=True, allow_unused=True)
        used = [g for g in first if g is not None]
        second = grad(sum((g * g).sum() for g in used), arguments, allow_unused=True)
        found.append((first, second))
    for ours, theirs in zip(*found, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            if a is None or b is None:
                zero = a if b is None else b
                assert zero is None or not zero.any()
            else:
                _close(a, b)


def test_a_step_is_compiled_once_and_each_kernel_runs_as_often_as_there_are_steps(rng: np.random.Generator) -> None:
    x = [a.detach() for a in _arguments(rng, 20)]
    with minigrad.inspect() as seen:
        looped(*x, backwards=False)[0].realize()
    names = [kernel.name for kernel in seen.kernels]
    assert names.count("looped_step_3") == 20
    assert len(names) < 24 and seen.compiled <= len(set(names))


def test_what_a_weight_gets_is_one_product_after_the_loop(rng: np.random.Generator) -> None:
    arguments = _arguments(rng, 20)
    with minigrad.inspect() as seen:
        looped(*arguments, backwards=False)[0].sum().backward()
    apart = [kernel.name for kernel in seen.kernels if "_step" not in kernel.name]
    assert len(seen.kernels) == 40 + len(apart) and len(apart) <= 4, apart  # 20 steps forward, 20 back


@composite
def _no_rows(x: Tensor) -> Tensor:
    return loop(lambda s, r, c: (s, []), [x], [x.reshape(()), x])[0][0]


@composite
def _grows(x: Tensor) -> Tensor:
    return loop(lambda s, r, c: ([s[0].double()], []), [x[0]], [x])[0][0]


def test_errors() -> None:
    x = minigrad.ones(1)
    with pytest.raises(RuntimeError, match="is for the bodies of composites"):
        loop(lambda s, r, c: (s, []), [x], [x])
    with pytest.raises(ValueError, match="the same number of rows"):
        _no_rows(x)
    with pytest.raises(ValueError, match=r"states like those it got, \['float32 \[\]'\], got \['float64 \[\]'\]"):
        _grows(x)

    @composite
    def reads_outside(y: Tensor) -> Tensor:
        return loop(lambda s, r, c: ([s[0] + y[0]], []), [y[0]], [y])[0][0]

    with pytest.raises(RuntimeError, match="pass it among the constants"):
        reads_outside(x)


def test_loops_that_differ_have_other_keys_on_disk() -> None:
    state, row = (param(i, (2,), float32, "CPU") for i in range(2))
    body = Subgraph("running", [state, row], [state.binary("ADD", row)])
    keys = {digest(Loop(body, 1, 1, steps, backwards)) for steps in (3, 4) for backwards in (False, True)}
    assert len(keys) == 4
    assert digest(Loop(body, 1, 1, 3)) in keys


@composite
def pair(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return x + x, y * 3


@pair.gradient
def _(outputs: Any, grads: Any, x: Tensor, y: Tensor) -> Any:
    return 2 * grads[0], 3 * grads[1]


@composite
def product(x: Tensor, y: Tensor) -> Tensor:
    return x * y


@product.gradient
def _(outputs: Any, grads: Any, x: Tensor, y: Tensor) -> Any:
    return pair(grads[0] * y, grads[0] * x)  # of which the states of the loop need one


@composite
def products(x: Tensor, h: Tensor) -> Tensor:
    return loop(lambda s, r, c: ([product(s[0], r[0])], []), [h], [x])[0][0]


def test_a_function_of_several_results_in_the_gradient_of_a_loop(rng: np.random.Generator) -> None:
    x, h = [minigrad.tensor(rng.random(shape), requires_grad=True) for shape in ((4, 2), (2,))]
    found = grad(products(x, h)[-1].sum(), [x, h])
    state = h
    for row in x:
        state = product(state, row)
    for a, b in zip(found, grad(state.sum(), [x, h]), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy())


def test_steps_of_loops_of_one_name_are_kernels_of_their_own_names(rng: np.random.Generator) -> None:
    def named(step: Any) -> Any:
        def same(x: Tensor, h: Tensor) -> Tensor:
            return loop(lambda s, r, c: ([step(s[0], r[0])], []), [h], [x])[0][0]

        return composite(same)

    x, h = [minigrad.tensor(rng.random(shape)) for shape in ((4, 3), (3,))]
    with minigrad.config(TIERS=0, CACHE=0):
        twice, squares = named(lambda h, r: h * 2 + r)(x, h), named(lambda h, r: h * h + r)(x, h)
        minigrad.realize(twice, squares)
    a = b = h.numpy()
    for row in x.numpy():
        a, b = a * 2 + row, b * b + row
    np.testing.assert_allclose(twice[-1].numpy(), a)
    np.testing.assert_allclose(squares[-1].numpy(), b)
