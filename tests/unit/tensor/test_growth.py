"""Stage: tests of the front. In: loops of twenty kinds, whatever they ask for or leave pending. Out: no step leaves
more behind than the step before: no nodes, no tape, no memory. Next: ``test_threads.py``."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.autograd import grad
from minigrad.autograd.node import Node
from minigrad.graph.lazy import LazyBuffer
from minigrad.nn import functional as F
from minigrad.runtime.buffer import Buffer
from minigrad.runtime.locks import computing
from minigrad.tensor.replay import thread

Step = Callable[[], Any]
LOOPS: list[Callable[[], Step]] = []


def loop(made: Callable[[], Step]) -> Callable[[], Step]:
    """One kind of loop: makes what lives across steps and returns the step."""
    LOOPS.append(made)
    return made


def _net(optimizer: Callable[..., Any] = optim.SGD, **options: Any) -> tuple[Any, Any, Any, Any]:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    return model, optimizer(model.parameters(), lr=0.01, **options), mg.randn(5, 3), mg.randn(5, 2)


def _training(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
    optimizer.zero_grad()
    loss = F.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


@loop
def plain_training() -> Step:
    net = _net()
    return lambda: _training(*net)


@loop
def momentum() -> Step:
    net = _net(momentum=0.9)
    return lambda: _training(*net)


@loop
def adam_with_the_loss_read() -> Step:
    net = _net(optim.Adam)
    return lambda: _training(*net).item()


@loop
def running_statistics() -> Step:
    net, mean = _net(), mg.zeros(2)

    def step() -> None:
        model, optimizer, x, y = net
        optimizer.zero_grad()
        out = model(x)
        with mg.no_grad():
            mean.mul_(0.9).add_(0.1 * out.mean(0))
        F.mse_loss(out, y).backward()
        optimizer.step()

    return step


@loop
def a_running_sum_that_is_rebound() -> Step:
    net, kept = _net(), [mg.zeros(())]

    def step() -> None:
        kept[0] = kept[0] + _training(*net).detach()

    return step


@loop
def a_running_sum_in_place() -> Step:
    net, total = _net(), mg.zeros(())

    def step() -> None:
        nonlocal total
        total += _training(*net).detach()

    return step


@loop
def updates_by_hand() -> Step:
    w, x = mg.randn(3, 2, requires_grad=True), mg.randn(4, 3)

    def step() -> None:
        (x @ w).square().mean().backward()
        with mg.no_grad():
            w.sub_(0.1 * w.grad)
        w.grad = None

    return step


@loop
def gradients_zeroed_in_place() -> Step:
    w, x = mg.randn(3, 2, requires_grad=True), mg.randn(4, 3)

    def step() -> None:
        (x @ w).square().mean().backward()
        w.data -= 0.1 * w.grad
        w.grad.zero_()

    return step


@loop
def gradients_that_add_up() -> Step:
    model, _, x, y = _net()
    return lambda: F.mse_loss(model(x), y).backward()


@loop
def gradients_asked_for() -> Step:
    w = mg.randn(3, requires_grad=True)
    return lambda: grad((w * w).sum(), w)[0].tolist()


@loop
def gradients_of_gradients() -> Step:
    w = mg.randn(3, requires_grad=True)

    def step() -> None:
        first, = grad((w ** 3).sum(), w, create_graph=True)
        first.sum().backward()
        w.grad = None

    return step


@loop
def a_graph_that_is_kept_and_dropped() -> Step:
    w = mg.randn(3, requires_grad=True)

    def step() -> None:
        loss = (w * w).sum()
        loss.backward(retain_graph=True)
        loss.backward()
        w.grad = None

    return step


@loop
def evaluation() -> Step:
    model, _, x, _ = _net()

    def step() -> None:
        with mg.no_grad():
            model(x).argmax(1).tolist()

    return step


@loop
def nothing_is_ever_computed() -> Step:
    w, x = mg.randn(3, 2, requires_grad=True), mg.randn(4, 3)
    return lambda: (x @ w).tanh()


@loop
def hooks() -> Step:
    w = mg.randn(3, requires_grad=True)

    def step() -> None:
        h = w * 2
        h.register_hook(lambda g: g * 3)
        h.sum().backward()
        w.grad = None

    return step


@loop
def views_that_are_written() -> Step:
    table = mg.zeros(4, 3)

    def step() -> None:
        table[1:3, 0] += 1
        table.t()[0].mul_(0.5)
        table.realize()

    return step


@loop
def memory_that_numpy_sees() -> Step:
    net, shown = _net(), mg.zeros(2)
    array = shown.numpy()

    def step() -> None:
        _training(*net)
        array[:] = array + 1
        shown.add_(net[0](net[2]).detach().mean(0))

    return step


@loop
def new_sizes() -> Step:
    w, size = mg.randn(3, 2, requires_grad=True), iter(range(2, 1000))

    def step() -> None:
        (mg.ones(next(size) % 7 + 1, 3) @ w).sum().backward()
        w.grad = None

    return step


@loop
def errors() -> Step:
    w = mg.randn(3, requires_grad=True)

    def step() -> None:
        h = w * 2
        with pytest.raises(RuntimeError, match="must match"):
            h + mg.ones(4)
        h.sum().backward()
        w.grad = None

    return step


@loop
def random_numbers() -> Step:
    w = mg.randn(3, requires_grad=True)

    def step() -> None:
        (w * mg.rand(3) + mg.randn(3)).sum().backward()
        w.grad = None

    return step


@pytest.fixture
def no_collection() -> Iterator[None]:
    """What is left behind is not taken away by chance between two counts. What was there before is not counted."""
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()


def _living() -> dict[str, int]:
    gc.collect()
    counted = {kind.__name__: 0 for kind in (mg.Tensor, LazyBuffer, Node, Buffer)}
    for thing in gc.get_objects():
        for kind in (mg.Tensor, LazyBuffer, Node, Buffer):
            if issubclass(type(thing), kind):  # ``isinstance`` would ask the thing, and lazy modules warn
                counted[kind.__name__] += 1
    return counted


@pytest.mark.sample(16)
@pytest.mark.parametrize("made", LOOPS, ids=lambda made: made.__name__)
@pytest.mark.parametrize("replay", [0, 1], ids=["recorded", "replayed"])
def test_no_step_leaves_more_behind_than_the_step_before(made: Callable[[], Step], replay: int,
                                                         no_collection: None) -> None:
    with mg.config(REPLAY=replay):
        thread.forget()
        step = made()
        for _ in range(140):  # a trace in which nobody holds anything begins anew every 128 calls
            step()
        counts = []
        for _ in range(4):  # a program that is written down, or dropped, in between counts once
            thread.begin()
            step()
            counts.append(_living())
            for _ in range(12):
                step()
        grown = [kind for kind, count in counts[-1].items() if count > max(c[kind] for c in counts[:-1])]
        assert not grown, counts


def test_there_are_twenty_kinds_of_loops() -> None:
    assert len(LOOPS) == 20


def test_parts_of_memory_that_are_gone_are_forgotten() -> None:
    x = mg.randn(8, 3).realize()
    for i in range(1000):
        x[i % 8].sum().item()
    assert len(x._storage.lazy.buffer.views) < 100


def test_pythons_garbage_collector_waits_while_values_are_computed() -> None:
    """And is as it was afterwards, also after an error, and if it was off."""
    seen = []
    x = mg.ones(3, requires_grad=True)
    with computing:
        assert not gc.isenabled()
        with computing:
            pass
        assert not gc.isenabled()
    hook = x.register_hook(lambda g: seen.append(gc.isenabled()))  # the user's code, which may do what it likes
    (x * 2).sum().backward()
    hook.remove()
    assert seen == [True] and gc.isenabled()
    hook = x.register_hook(lambda g: gc.disable())
    (x * 2).sum().backward()
    hook.remove()
    assert not gc.isenabled()
    gc.enable()
    with pytest.raises(IndexError):
        mg.ones(3)[mg.tensor([5])].tolist()
    assert gc.isenabled()
    gc.disable()
    try:
        (x * 2).sum().backward()
        assert not gc.isenabled()
    finally:
        gc.enable()
