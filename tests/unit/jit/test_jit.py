"""Stage: tests of ``jit/``. In: training steps and functions. Out: jitted, they do at every call what they do plain.
Next: ``test_jit_pitfalls.py``."""

from __future__ import annotations

import collections
import copy
import dataclasses
import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import nn, optim
from minigrad.autograd.node import Node
from minigrad.graph.lazy import LazyBuffer
from minigrad.runtime.buffer import Buffer

Step = Callable[..., Any]


def same(a: Any, b: Any) -> None:
    """Sums may be grouped another way in one run than in two, so their last bits may differ."""
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=2e-5, atol=1e-6)


def data(seed: int, *shapes: tuple[int, ...]) -> list[minigrad.Tensor]:
    random = np.random.default_rng(seed)
    return [minigrad.tensor(random.standard_normal(s, dtype=np.float32)) for s in shapes]


OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.05),
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "dampening": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.1),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adamw-amsgrad": lambda p: optim.AdamW(p, lr=0.01, amsgrad=True),
}


def network(optimizer: str) -> tuple[nn.Module, optim.Optimizer, Step]:
    minigrad.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2))
    opt = OPTIMIZERS[optimizer](model.parameters())
    criterion = nn.MSELoss()

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        opt.step()
        return loss

    return model, opt, step


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training(name: str) -> None:
    """Parameters, gradients, the optimizer's state and losses are those of the plain loop."""
    plain_model, plain_opt, plain = network(name)
    model, opt, step = network(name)
    jitted = minigrad.jit(step)
    for i in range(12):
        x, y = data(i, (6, 5), (6, 2))
        if i == 8:
            opt.param_groups[0]["lr"] = plain_opt.param_groups[0]["lr"] = 0.003  # as a scheduler does
        same(plain(x, y), jitted(x, y))
        for a, b in zip(plain_model.parameters(), model.parameters(), strict=True):
            same(a, b)
            same(a.grad, b.grad)
    assert jitted.reason == "the recording before is compared with this one"
    for a, b in zip(plain_opt.state_dict()["state"].values(), opt.state_dict()["state"].values(), strict=True):
        for key in a:
            np.testing.assert_allclose(a[key].tolist(), b[key].tolist(), rtol=1e-4, atol=1e-6)


def test_a_replayed_call_runs_no_python_and_makes_no_graph() -> None:
    _, _, step = network("adam")
    jitted = minigrad.jit(step)
    x, y = data(0, (6, 5), (6, 2))
    for _ in range(4):
        jitted(x, y)
    with minigrad.inspect() as seen:
        jitted(x, y)
    assert (seen.replayed, seen.plan_hits, seen.plan_misses, seen.compiled) == (1, 0, 0, 0)
    assert seen.native_calls == 1 and not seen.recorded


def test_one_run_does_the_whole_step() -> None:
    """Forward, backward and update in one call, where a plain loop makes two."""
    _, _, step = network("sgd")
    x, y = data(0, (6, 5), (6, 2))
    for _ in range(4):
        step(x, y)
    with minigrad.inspect() as plain:
        step(x, y)
    jitted = minigrad.jit(step)
    for _ in range(4):
        jitted(x, y)
    with minigrad.inspect() as seen:
        jitted(x, y)
    assert plain.native_calls == 2 and seen.native_calls == 1
    assert seen.launches <= plain.launches


def test_gradients_that_are_kept_are_added_to() -> None:
    w, v = minigrad.ones(3, requires_grad=True), minigrad.ones(3, requires_grad=True)

    def step(w: Any, x: Any) -> None:
        (w * w * x).sum().backward()

    jitted = minigrad.jit(lambda x: step(w, x))
    for i in range(7):
        x, = data(i, (3,))
        jitted(x)
        step(v, x)
        same(w.grad, v.grad)


def test_parameters_as_arguments() -> None:
    """Gradients of arguments, and updates of arguments in place."""

    def step(w: Any, b: Any, x: Any) -> Any:
        loss = ((x @ w + b) ** 2).mean()
        loss.backward()
        with minigrad.no_grad():
            for p in (w, b):
                p -= 0.1 * p.grad
                p.grad = None
        return loss

    jitted = minigrad.jit(step)
    one = [t.requires_grad_() for t in data(1, (4, 2), (2,))]
    two = [t.requires_grad_() for t in data(1, (4, 2), (2,))]
    other = [t.requires_grad_() for t in data(2, (4, 2), (2,))]
    third = [t.requires_grad_() for t in data(2, (4, 2), (2,))]
    for i in range(6):
        x, = data(i, (3, 4))
        same(step(*one, x), jitted(*two, x))
        same(step(*other, x), jitted(*third, x))  # other Tensors of the same looks are no reason to record
        for a, b in zip(one + other, two + third, strict=True):
            same(a, b)
    assert len(jitted.variants) == 1


def test_running_statistics() -> None:
    class Norm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", minigrad.zeros(4))
            self.register_buffer("count", minigrad.zeros((), dtype=minigrad.int64))

        def forward(self, x: Any) -> Any:
            if self.training:
                with minigrad.no_grad():
                    self.mean.mul_(0.9).add_(0.1 * x.mean(0))
                    self.count += 1
            return x - self.mean

    one, two = Norm(), Norm()
    jitted = minigrad.jit(two)
    for i in range(8):
        x, = data(i, (5, 4))
        if i == 5:
            one.eval()
            two.eval()
        same(one(x), jitted(x))
        same(one.mean, two.mean)
        assert one.count.item() == two.count.item()
    assert two.count.item() == 5 and len(list(jitted.buffers())) == 2


def test_trees() -> None:
    Pair = collections.namedtuple("Pair", "left right")

    @dataclasses.dataclass
    class State:
        h: Any
        steps: int

    @minigrad.jit
    def step(state: Any, batch: dict[str, Any], scale: float = 1.0, *, flip: bool = False) -> Any:
        h = state.h * scale + batch["x"][0]
        return State(-h if flip else h, state.steps + 1), Pair([h.sum()], {"n": None, "y": batch["x"][1]})

    for i in range(5):
        a, b, c = data(i, (2,), (2,), (2,))
        state, pair = step(State(a, 4), {"x": (b, c)}, 2.0, flip=True)
        assert isinstance(state, State) and state.steps == 5 and isinstance(pair, Pair) and pair.right["n"] is None
        same(state.h, -(a * 2.0 + b))
        same(pair.left[0], (a * 2.0 + b).sum())
        assert pair.right["y"] is c
    same(step(State(a, 4), {"x": (b, c)})[0].h, a + b)


def test_outputs_are_fresh() -> None:
    """What a call returned is not touched by the next."""
    total = minigrad.zeros(3)

    @minigrad.jit
    def add(x: Any) -> Any:
        total.add_(x)
        return total * 1, total.clone(), x + 1

    results = [add(minigrad.full((3,), float(i))) for i in range(6)]
    for i, (scaled, cloned, plus) in enumerate(results):
        assert scaled.tolist() == cloned.tolist() == [i * (i + 1) / 2] * 3
        assert plus.tolist() == [i + 1.0] * 3
    results[-1][1].zero_()
    assert add(minigrad.zeros(3))[0].tolist() == [15.0] * 3


def test_what_is_returned_as_it_is() -> None:
    w = minigrad.ones(4, requires_grad=True)

    @minigrad.jit
    def same_tensors(x: Any) -> Any:
        (w * x).sum().backward()
        result = w, w.grad, x, w.detach()[1:]
        return result

    for _ in range(5):
        x = minigrad.ones(4)
        p, g, y, view = same_tensors(x)
        assert p is w and g is w.grad and y is x
    with minigrad.no_grad():
        w[1] = 9.0
    assert view.tolist() == [9.0, 1.0, 1.0]
    assert g.tolist() == [5.0] * 4


def test_aliases_among_the_results() -> None:
    @minigrad.jit
    def halves(x: Any) -> Any:
        y = x * 2
        return y, y[:2], y.view(2, 2)

    for _ in range(4):
        y, head, square = halves(minigrad.ones(4))
    y[0] = 7.0
    assert head.tolist() == [7.0, 2.0] and square.tolist() == [[7.0, 2.0], [2.0, 2.0]]


def test_aliases_of_arguments() -> None:
    """A view of an argument is one when it comes back, whatever the argument is a view of."""
    jitted = minigrad.jit(lambda x: (x[1:], x.T.detach(), x.reshape(-1)))
    for i in range(5):
        base = minigrad.arange(24, dtype=minigrad.float32).reshape(4, 6)
        x = (base, base[1:], base[:, 1:4], base.T, base[::2])[i]
        for _ in range(4):
            rows, turned, flat = jitted(x)
            np.testing.assert_array_equal(flat.numpy(), x.numpy().reshape(-1))
            rows[0, 0] += 100.0
            assert x[1, 0].item() == turned[0, 1].item() and x[1, 0].item() >= 100.0
            turned[1, 1] = -1.0
            assert x[1, 1].item() == rows[0, 1].item() == -1.0
            assert rows.stride() == x[1:].stride() and turned.stride() == x.T.stride()


def test_random_numbers_are_drawn_anew() -> None:
    """The same stream as without jit, also through other generators and seeds."""
    generator = minigrad.Generator(7)

    def noisy(x: Any) -> Any:
        return x + minigrad.randn(3), minigrad.rand(2, generator=generator), minigrad.randperm(5), x.clone().uniform_()

    minigrad.manual_seed(5)
    plain = [[t.tolist() for t in noisy(minigrad.zeros(3))] for _ in range(6)]
    minigrad.manual_seed(5)
    generator.manual_seed(7)
    jitted = minigrad.jit(noisy)
    assert [[t.tolist() for t in jitted(minigrad.zeros(3))] for _ in range(6)] == plain
    assert len(jitted.variants) == 1


def test_a_seed_set_inside_is_set_at_each_call() -> None:
    @minigrad.jit
    def first() -> Any:
        minigrad.manual_seed(3)
        return minigrad.rand(2)

    assert len({tuple(first().tolist()) for _ in range(5)}) == 1


def test_gradients_flow_through() -> None:
    """A jitted function that is a part of a larger graph, with its parameters and its arguments on the tape."""
    minigrad.manual_seed(0)
    layer = nn.Linear(3, 3)
    jitted = minigrad.jit(layer)
    for i in range(5):
        x, = data(i, (2, 3))
        x.requires_grad_()
        layer.zero_grad()
        (jitted(x * 2) ** 2).sum().backward()
        got = x.grad, layer.weight.grad
        x.grad = None
        layer.zero_grad()
        (layer(x * 2) ** 2).sum().backward()
        same(got[0], x.grad)
        same(got[1], layer.weight.grad)
        with minigrad.no_grad():
            same(jitted(x), layer(x))
    assert len(jitted.variants) == 1  # the one without the tape


def test_gradients_inside_by_grad_and_with_hooks() -> None:
    seen = []
    w = minigrad.ones(3, requires_grad=True)
    w.register_hook(lambda g: g * 2)

    @minigrad.jit
    def step(x: Any) -> Any:
        y = (w * w * x).sum()
        g, = minigrad.autograd.grad(y, w, create_graph=True)
        (g * g).sum().backward()
        result, w.grad = w.grad, None
        return g.detach(), result

    for i in range(5):
        x, = data(i, (3,))
        g, second = step(x)
        np.testing.assert_allclose(g.tolist(), (2 * 2 * x).tolist(), rtol=1e-6)
        seen.append(second.tolist())
    assert len(step.variants) == 1 and len(set(map(tuple, seen))) == 5


def test_methods() -> None:
    class Counter:
        def __init__(self, start: float) -> None:
            self.total = minigrad.full((2,), start)

        @minigrad.jit
        def add(self, x: Any) -> Any:
            self.total += x
            return self.total.sum()

    one, two = Counter(0.0), Counter(10.0)
    for i in range(6):
        assert one.add(minigrad.ones(2)).item() == 2 * (i + 1)
        assert two.add(minigrad.ones(2)).item() == 20 + 2 * (i + 1)
    copied = copy.deepcopy(two)
    assert copied.add(minigrad.ones(2)).item() == two.add(minigrad.ones(2)).item() == 34.0
    assert copied.add(minigrad.ones(2)).item() == 36.0 and two.total.sum().item() == 34.0
    reference = weakref.ref(one)
    del one
    gc.collect()
    assert reference() is None, "a jitted method keeps its object alive"


def test_a_script() -> None:
    """As a program has it: all is global, and the function's name is that of a method it calls."""
    program = """
import minigrad
from minigrad import nn, optim
model = nn.Linear(2, 1)
optimizer = optim.SGD(model.parameters(), lr=0.1)
@minigrad.jit
def step(x, y):
    optimizer.zero_grad()
    loss = ((model(x) - y) ** 2).mean()
    loss.backward()
    optimizer.step()
    return loss
losses = [step(minigrad.ones(4, 2), minigrad.ones(4, 1)).item() for _ in range(6)]
"""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(program, "script.py", "exec"), space)
    assert len(space["step"].variants) == 1 and space["losses"][-1] < space["losses"][0]


def test_nested() -> None:
    inner = minigrad.jit(lambda x: x * 2)
    outer = minigrad.jit(lambda x: inner(x) + 1)
    for i in range(5):
        assert outer(minigrad.tensor([float(i)])).item() == 2 * i + 1
    assert outer.variants and not inner.variants


def test_donated_memory_is_used_again() -> None:
    step = minigrad.jit(lambda state, x: state * 0.5 + x, donate=0)
    state = minigrad.zeros(100_000)
    addresses = set()
    for i in range(8):
        given, state = state, step(state, minigrad.ones(100_000))
        if i >= 3:
            addresses.add(state.data_ptr())
    assert len(addresses) == 1
    with pytest.raises(RuntimeError, match="was donated to a jitted function"):
        given.sum().item()
    with pytest.raises(RuntimeError, match="was donated to a jitted function"):
        step(given, minigrad.ones(100_000))
    np.testing.assert_allclose(state.numpy(), 2 - 0.5 ** 7)


@pytest.mark.parametrize("device", ["CPU", "CC", "OPENCL", "NUMPY"])
def test_devices(device: str) -> None:
    if device not in {d.name for d in minigrad.devices() if d.available}:
        pytest.skip(f"no {device} here")
    w = minigrad.ones(3, device=device, requires_grad=True)

    @minigrad.jit
    def step(x: Any) -> Any:
        loss = (w * x).sum()
        loss.backward()
        with minigrad.no_grad():
            w.sub_(w.grad)
        w.grad = None
        return loss

    with pytest.warns(UserWarning, match="NUMPY device") if device == "NUMPY" else _nothing():
        losses = [step(minigrad.ones(3, device=device)).item() for _ in range(5)]
    assert losses == [3.0, 0.0, -3.0, -6.0, -9.0]


@pytest.mark.filterwarnings("ignore:minigrad.jit.*kinds of arguments")
@pytest.mark.parametrize("name", ["adam", pytest.param("momentum", marks=pytest.mark.slow)])
def test_nothing_grows(name: str) -> None:
    """Call after call leaves nothing behind: no nodes, no tape, no buffers."""
    _, _, step = network(name)
    jitted = minigrad.jit(step)

    def count() -> dict[str, int]:
        gc.collect()
        kinds = minigrad.Tensor, LazyBuffer, Buffer, Node
        return {k.__name__: sum(issubclass(type(o), k) for o in gc.get_objects()) for k in kinds}

    for i in range(6):
        jitted(*data(i, (6, 5), (6, 2)))
    before = count()
    for i in range(100):
        jitted(*data(i, (6, 5), (6, 2)))
    assert count() == before
    counts = []
    for _ in range(3):  # recorded again and again: programs that are not used any more go
        for i in range(16):
            jitted(*data(i, (6 + i % 8, 5), (6 + i % 8, 2)))
        jitted.forget()
        counts.append(count())
    assert counts[1] == counts[2]


class _nothing:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass
