"""Stage: tests of ``jit/``. In: random functions over random state, called with random arguments, and random changes of
the state between the calls. Out: jitted and plain, the same results and the same state after every call.
Next: ``test_surroundings.py``."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad

N = 4
Line = Callable[["World", list[Any]], None]


class World:
    """State that functions read and change: parameters, buffers, Python numbers, and memory that NumPy sees."""

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        self.parameters = [self._new(draw).requires_grad_() for _ in range(2)]
        self.buffers = [self._new(draw) for _ in range(3)]
        self.buffers.append(self.buffers[0][1:])  # an alias
        self.numbers = [1.0, 2.0, 3]
        self.arrays = [self.buffers[1].numpy()]
        self.held: list[Any] = []

    @staticmethod
    def _new(draw: np.random.Generator) -> Any:
        return minigrad.tensor(draw.uniform(0.5, 1.5, (N, N)).astype(np.float32))

    def contents(self) -> list[Any]:
        grads = [None if p.grad is None else p.grad.tolist() for p in self.parameters]
        return [*[p.tolist() for p in self.parameters], *grads, *[b.tolist() for b in self.buffers],
                *[a.tolist() for a in self.arrays], *[h.tolist() for h in self.held], *self.numbers]


def lines(choose: random.Random) -> list[Line]:
    """The body of a function: each line works on a list of values, the arguments first."""

    def value(world: World, values: list[Any], i: int) -> Any:
        pool = [*values, *world.parameters, *[b for b in world.buffers if b.shape == (N, N)]]
        return pool[i % len(pool)]

    def one() -> Line:
        i, j, k = (choose.randrange(100) for _ in range(3))
        kind = choose.randrange(14)

        def line(world: World, values: list[Any]) -> None:
            x, y = value(world, values, i), value(world, values, j)
            buffer = world.buffers[k % len(world.buffers)]
            if kind <= 2:
                values.append([x + y, x * y, (x - y).tanh()][kind])
            elif kind == 3:
                values.append((x @ y) * 0.25)
            elif kind == 4:
                values.append(x.T.contiguous() if k % 2 else x.flip(0))
            elif kind == 5:
                values.append(x * world.numbers[k % 3])
            elif kind == 6:
                values.append(x.sum(0, keepdim=True).expand(N, N) * 0.25)
            elif kind == 7:
                with minigrad.no_grad():
                    buffer.mul_(0.5).add_(x[:buffer.shape[0]])
            elif kind == 8:
                with minigrad.no_grad():
                    buffer[0] = y[1]
            elif kind == 9:
                values.append(minigrad.randn(N, N) * 0.1 + x)
            elif kind == 10 and not values[0].requires_grad:
                values[0].mul_(0.9)
            elif kind == 11:
                (x * x).mean().backward() if x.requires_grad else None
            elif kind == 12:
                with minigrad.no_grad():
                    for p in world.parameters:
                        if p.grad is not None:
                            p -= 0.1 * p.grad
                            if k % 2:
                                p.grad = None
            else:
                values.append(minigrad.tensor([[0.5] * N] * N) * x)

        return line

    return [one() for _ in range(choose.randrange(2, 9))]


def result(world: World, values: list[Any], i: int, kind: int) -> Any:
    """What a function returns: new values, state as it is, copies and aliases of it."""
    found = [*values, *world.parameters]
    x, buffer, p = found[i % len(found)], world.buffers[i % 3], world.parameters[i % 2]
    return [x, x, buffer, buffer.clone(), buffer.detach()[1:], x.detach().view(-1), p.detach().clone(),
            p if p.grad is None else p.grad][kind]


def change(world: World, choice: int, i: int) -> None:
    """Something that happens between two calls."""
    buffer = world.buffers[i % len(world.buffers)]
    if choice == 0:
        buffer.add_(0.25)
    elif choice == 1:
        world.numbers[i % 3] = float(i % 5)
    elif choice == 2:
        world.parameters[i % 2].grad = None
    elif choice == 3:
        world.held.append(buffer.detach()[:2])
    elif choice == 4:
        world.held.append(buffer.clone())
    elif choice == 5:
        world.arrays[0][0] = i
    elif choice == 6:
        world.held.append(world.parameters[i % 2].detach() * 2)
    elif choice == 7:
        world.parameters[i % 2].requires_grad_(i % 3 > 0)
    elif choice == 8:
        world.buffers[2] = buffer[:1].expand(N, N).clone()
    elif choice == 9:
        world.arrays.append(world.parameters[i % 2].detach().numpy())
    elif choice == 10 and world.held:
        world.held[i % len(world.held)].mul_(0.5)
    elif choice == 11:
        (world.parameters[0] * 2).sum().backward() if world.parameters[0].requires_grad else None


def run(seed: int, jitted: bool) -> list[Any]:
    choose = random.Random(seed)
    body, world = lines(choose), World(seed)
    returned = [(choose.randrange(100), choose.randrange(8)) for _ in range(3)]

    def function(*arguments: Any) -> Any:
        values = list(arguments)
        for line in body:
            line(world, values)
        return [result(world, values, i, kind) for i, kind in returned]

    call = minigrad.jit(function) if jitted else function
    minigrad.manual_seed(seed)
    draw = np.random.default_rng(seed)
    seen = []
    source = minigrad.tensor(draw.uniform(0.5, 1.5, (24, N)).astype(np.float32))
    for step in range(14):
        kind = choose.randrange(6)
        x = [source[step:step + N], source[step:step + N].clone(), source[step + 1:step + 1 + N] * 1][kind % 3]
        y = x if kind == 5 else minigrad.tensor(draw.uniform(0.5, 1.5, (N, N)).astype(np.float32))
        with minigrad.no_grad() if choose.random() < 0.2 else minigrad.enable_grad():
            results = call(x, y)
        seen.append([r.tolist() for r in results])
        world.held.append(results[0].detach() if step % 3 else results[1].detach().clone())
        seen.append([source.tolist(), *world.contents()])
        if choose.random() < 0.25:
            change(world, choose.randrange(12), choose.randrange(100))
    return seen


def flat(value: Any) -> list[Any]:
    return [x for v in value for x in flat(v)] if isinstance(value, list) else [value]


@pytest.mark.sample(14)
@pytest.mark.filterwarnings("ignore:minigrad.jit")
@pytest.mark.parametrize("seed", range(40))
def test_random_functions(seed: int) -> None:
    try:
        plain = flat(run(seed, False))
    except RuntimeError as error:
        with pytest.raises(RuntimeError) as caught:
            run(seed, True)
        assert str(caught.value) == str(error)
        return
    got = flat(run(seed, True))
    assert [v is None for v in got] == [v is None for v in plain]
    np.testing.assert_allclose([v for v in got if v is not None], [v for v in plain if v is not None], 1e-4, 1e-5)
