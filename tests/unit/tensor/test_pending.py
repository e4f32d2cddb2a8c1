"""Stage: tests of the front. In: training steps that change Tensors in place (running statistics), and what others do
to those Tensors meanwhile. Out: the steps are replayed, and whatever anybody sees is what recording every call gives.
Next: ``test_quick.py``."""

from __future__ import annotations

import copy
import gc
import random
import threading
from collections.abc import Callable
from typing import Any
from weakref import ref

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.nn import functional as F
from minigrad.optim import composite as optimizers
from minigrad.tensor import pending, update_
from minigrad.tensor.replay import thread

pytestmark = pytest.mark.usefixtures("fresh")


class Loop:
    """A small model with running statistics and its optimizer. ``seen``: what was looked at."""

    def __init__(self) -> None:
        mg.manual_seed(1)
        self.norm = nn.BatchNorm1d(4)
        self.model = nn.Sequential(nn.Linear(3, 4), self.norm, nn.ReLU(), nn.Dropout(0.25), nn.Linear(4, 2))
        self.optimizer = optim.SGD(self.model.parameters(), lr=0.1)
        self.seen: list[Any] = []
        self.kept: list[Any] = []

    def batch(self, i: int) -> Any:
        x = np.random.default_rng(i).standard_normal((6, 3)).astype(np.float32)
        return mg.tensor(x)

    def loss(self, i: int) -> Any:
        x = self.batch(i)
        return F.mse_loss(self.model(x), x[:, :2])

    def learn(self, loss: Any) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def look(self, *tensors: Any) -> None:
        self.seen += [t.detach().tolist() for t in tensors]

    def statistics(self) -> tuple[Any, ...]:
        return self.norm.running_mean, self.norm.running_var, self.norm.num_batches_tracked


def plainly(s: Loop, i: int) -> None:
    s.learn(s.loss(i))


def looked_at_before_backward(s: Loop, i: int) -> None:
    loss = s.loss(i)
    if i % 3 == 2:
        s.look(*s.statistics())
    s.learn(loss)


def printed(s: Loop, i: int) -> None:
    loss = s.loss(i)
    s.seen.append(str(s.norm.running_mean) if i % 2 else repr(s.norm.state_dict()["num_batches_tracked"]))
    s.learn(loss)


def loss_first(s: Loop, i: int) -> None:
    loss = s.loss(i)
    s.look(loss)
    s.look(*s.statistics()[:i % 3])
    s.learn(loss)


def two_batches(s: Loop, i: int) -> None:
    first, second = s.loss(i), s.loss(i + 100)
    s.learn(first + second)


def accumulated(s: Loop, i: int) -> None:
    s.loss(i).backward()
    s.learn(s.loss(i + 100))


def a_state_that_is_held(s: Loop, i: int) -> None:
    if i == 2:
        s.kept = [s.model.state_dict()]
    loss = s.loss(i)
    if i == 5:
        s.kept.append(s.model.state_dict())
    s.learn(loss)
    for state in s.kept:
        s.look(*state.values())


def a_state_that_is_loaded(s: Loop, i: int) -> None:
    loss = s.loss(i)
    if i == 3:
        s.kept = [{key: value.clone() for key, value in s.model.state_dict().items()}]
    s.learn(loss)
    if i == 6:
        s.model.load_state_dict(s.kept[0])


def numpy_looks_on(s: Loop, i: int) -> None:
    if i == 4:
        s.kept = [s.norm.running_mean.numpy()]
    loss = s.loss(i)
    if i == 6:
        s.kept.append(s.norm.running_var.numpy())
    s.seen += [array.tolist() for array in s.kept]
    s.learn(loss)
    s.seen += [array.tolist() for array in s.kept]


def numpy_writes(s: Loop, i: int) -> None:
    if i in (3, 5):
        array = s.norm.running_mean.numpy()
        array[:] = i
    s.learn(s.loss(i))
    s.look(*s.statistics())


def a_view_that_is_held(s: Loop, i: int) -> None:
    if i == 3:
        s.kept = [s.norm.running_mean[1:3]]
    loss = s.loss(i)
    if i == 5:
        s.kept.append(s.norm.running_var[::2])
    s.look(*s.kept)
    s.learn(loss)
    s.look(*s.kept)


def a_view_of_what_was_read(s: Loop, i: int) -> None:
    before = s.norm.running_mean * 2
    view = s.norm.running_mean[1:]
    loss = s.loss(i)
    if i % 3 == 2:
        s.look(*s.statistics())
    after = view * 2
    s.learn(loss + 0 * (before.sum() + after.sum()))
    s.look(before, after, view)


def a_view_afterwards(s: Loop, i: int) -> None:
    loss = s.loss(i)
    view, alias = s.norm.running_mean[1:], s.norm.running_var.detach()
    doubled = view * 2 if i % 2 else s.norm.running_mean[1:]
    if i % 3 == 2:
        s.look(*s.statistics())
    s.learn(loss)
    s.look(alias)
    s.look(doubled, view)
    s.loss(i).backward()
    s.look(view, alias)


def an_alias_as_operand(s: Loop, i: int) -> None:
    alias = s.norm.running_mean.detach()
    before = alias * 2
    loss = s.loss(i)
    after = alias * 2
    s.learn(loss + 0 * before.sum())
    s.look(before, after)


def _beside(s: Loop, i: int, aliases: bool, make: Callable[[Any], Any]) -> None:
    """The same calls on a Tensor that has memory of its own, or sees that of the statistics."""
    own = (mg.zeros(4) + 1).realize()
    other = make(s.norm.running_mean if aliases else own)
    before = other + 1
    loss = s.loss(i)
    after = other + 1
    s.learn(loss)
    s.look(before, after)


def an_alias_later(s: Loop, i: int) -> None:
    _beside(s, i, i >= 5, lambda t: t.detach())


def an_alias_first(s: Loop, i: int) -> None:
    _beside(s, i, i < 5, lambda t: t.detach())


def a_view_later(s: Loop, i: int) -> None:
    _beside(s, i, i >= 5, lambda t: t.view(4))


def a_view_first(s: Loop, i: int) -> None:
    _beside(s, i, i < 5, lambda t: t.view(4))


def numpy_in_the_middle(s: Loop, i: int) -> None:
    before = s.norm.running_mean * 2
    if i >= 5:
        s.kept = [s.norm.running_mean.numpy()]
    loss = s.loss(i)
    s.seen += [array.tolist() for array in s.kept]
    s.learn(loss + 0 * before.sum())


def a_result_is_changed(s: Loop, i: int) -> None:
    x = s.batch(i)
    hidden = x * 2
    update_([hidden], [x + 1])
    loss = (hidden * 3).sum() * 0 + s.loss(i)
    if i % 3 == 2:
        s.look(s.norm.running_mean)
    s.learn(loss)
    s.look(hidden)


def one_buffer_of_two_layers(s: Loop, i: int) -> None:
    if not s.kept:
        other = nn.BatchNorm1d(2)
        other.running_mean, other.running_var = s.norm.running_mean[:2], s.norm.running_var.detach()[:2]
        s.kept = [other]
    x = s.batch(i)
    hidden = s.model(x)
    s.learn(F.mse_loss(s.kept[0](hidden), x[:, :2]))
    s.look(*s.kept[0].buffers())


def the_same_buffers(s: Loop, i: int) -> None:
    if not s.kept:
        s.kept = [nn.BatchNorm1d(4), nn.BatchNorm1d(4)]
        s.kept[0].running_mean = s.norm.running_mean
        s.kept[1].running_var = s.norm.running_var.detach()
    x = s.batch(i)
    hidden = s.model[1](s.model[0](x))
    s.learn((s.kept[1](s.kept[0](hidden)) - 1).abs().mean() * (x.sum() + 1))


def changed_by_hand(s: Loop, i: int) -> None:
    loss = s.loss(i)
    if i % 4 == 3:  # unseen: backward reads them in PyTorch
        s.norm.running_mean.data.mul_(0.5)
        s.norm.running_var.data += 1
    s.learn(loss)
    if i == 5:
        s.norm.reset_running_stats()
    if i == 6:
        s.norm.running_mean[0] = 7


def another_buffer(s: Loop, i: int) -> None:
    loss = s.loss(i)
    if i % 3 == 1:
        s.kept = [s.norm.running_mean]
        s.norm.running_mean = mg.zeros(4)
    s.learn(loss)
    s.look(*s.kept)


def evaluated(s: Loop, i: int) -> None:
    s.learn(s.loss(i))
    s.model.eval()
    with mg.no_grad():
        s.look(s.loss(i))
    s.model.train()


def evaluated_before_backward(s: Loop, i: int) -> None:
    loss = s.loss(i)
    s.model.eval()
    with mg.no_grad():
        s.look(s.loss(i))
    s.model.train()
    s.learn(loss)


def copied(s: Loop, i: int) -> None:
    loss = s.loss(i)
    if i % 3 == 0:
        s.kept = [copy.deepcopy(s.norm)]
    s.learn(loss)
    if s.kept:
        s.kept[0](s.batch(i)[:, :1] * mg.ones(4)).sum()
        s.look(*s.kept[0].buffers())


def only_forward(s: Loop, i: int) -> None:
    with mg.no_grad():
        for j in range(5):
            s.loss(10 * i + j)


def only_forward_with_the_tape(s: Loop, i: int) -> None:
    for j in range(20):
        s.loss(10 * i + j)


def by_autograd_grad(s: Loop, i: int) -> None:
    loss = s.loss(i)
    s.look(*mg.autograd.grad(loss, list(s.model.parameters())))


def second_order(s: Loop, i: int) -> None:
    loss = s.loss(i)
    g, = mg.autograd.grad(loss, [s.model[0].weight], create_graph=True)
    s.learn(loss + (g * g).sum())


def with_a_hook(s: Loop, i: int) -> None:
    if i == 3:
        s.kept = [s.model[0].weight.register_hook(lambda g: g * 2)]
    if i == 6:
        s.kept[0].remove()
    s.learn(s.loss(i))


def other_sizes(s: Loop, i: int) -> None:
    x = s.batch(i)[:4 + i % 2]
    s.learn(F.mse_loss(s.model(x), x[:, :2]))


def cumulative(s: Loop, i: int) -> None:
    s.norm.momentum = None
    s.learn(s.loss(i))


def a_step_that_fails(s: Loop, i: int) -> None:
    """An index out of range is found out when the step runs: the statistics stay as they were."""
    x = s.batch(i)
    rows = mg.tensor([0, 1, 2, 3, 4, 5 if i % 3 != 2 else 60])
    order = rows + 0
    loss = F.mse_loss(s.model(x[order]), x[:, :2])
    try:
        s.learn(loss)
    except IndexError:
        s.seen.append("failed")


def other_values(s: Loop, i: int) -> None:
    """Several Tensors trade places; one becomes what another Tensor is."""
    if not s.kept:
        s.kept = [mg.zeros(4) + 1, mg.zeros(4) + 2]
    a, b = s.kept
    x, y = a * 2 + b, b + 1
    update_([a, b], [y, x])
    s.learn(s.loss(i) + 0 * (a.sum() + b.sum()))
    if i % 3 == 2:
        s.look(a, b)
    update_([a], [b])
    s.look(a)


STEPS = [plainly, looked_at_before_backward, printed, loss_first, two_batches, accumulated, a_state_that_is_held,
         a_state_that_is_loaded, numpy_looks_on, numpy_writes, a_view_that_is_held, a_view_of_what_was_read,
         a_view_afterwards, an_alias_as_operand, an_alias_later, an_alias_first, a_view_later, a_view_first,
         numpy_in_the_middle, a_result_is_changed, one_buffer_of_two_layers, the_same_buffers,
         changed_by_hand, another_buffer, evaluated, evaluated_before_backward, copied, only_forward,
         only_forward_with_the_tape, by_autograd_grad, second_order, with_a_hook, other_sizes, cumulative,
         a_step_that_fails, other_values]


def outcome(step: Callable[[Loop, int], None], replay: int, count: int = 9) -> list[Any]:
    with mg.config(REPLAY=replay):
        thread.begin()
        s = Loop()
        for i in range(count):
            step(s, i)
        s.look(*s.model.state_dict().values())
        thread.begin()
    return s.seen


def same(ours: Any, expected: Any) -> None:
    assert len(ours) == len(expected)
    for a, b in zip(ours, expected, strict=True):
        if isinstance(b, str):
            assert a == b
        else:
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


BY_PYTHON = (plainly, two_batches, a_view_of_what_was_read, an_alias_later, only_forward, a_step_that_fails)


@pytest.mark.sample(36)
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_what_anybody_sees_is_what_recording_gives(step: Callable[[Loop, int], None], fresh: str) -> None:
    if fresh != "Python" or step in BY_PYTHON:
        same(outcome(step, 1), outcome(step, 0))


@pytest.mark.parametrize("seed", range(3))
def test_steps_of_all_kinds_by_turns(seed: int) -> None:
    """The same calls, with now and then something else between them."""
    steps = [step for step in STEPS if step not in (one_buffer_of_two_layers, the_same_buffers, other_values, copied)]
    choose = random.Random(seed)
    usual = choose.choice(steps[:6])
    turns = [choose.choice(steps) if choose.random() < 0.3 else usual for _ in range(16)]

    def step(s: Loop, i: int) -> None:
        s.kept = []
        s.norm.momentum = 0.1
        turns[i](s, i)

    same(outcome(step, 1, 16), outcome(step, 0, 16))


def test_a_step_with_running_statistics_is_replayed() -> None:
    s = Loop()
    for i in range(8):
        with mg.inspect() as seen:
            plainly(s, i)
        if i >= 3 and i != optimizers.FIRST_STEPS:  # then the optimizer makes a program of its update
            assert not seen.recorded and seen.plan_hits == seen.plan_misses == 0, i
    assert s.norm.num_batches_tracked.item() == 8


def test_two_batches_before_a_backward_are_replayed() -> None:
    s = Loop()
    for i in range(8):
        with mg.inspect() as seen:
            two_batches(s, i)
        if i >= 3 and i != optimizers.FIRST_STEPS:
            assert not seen.recorded and seen.plan_hits == seen.plan_misses == 0, i
    assert s.norm.num_batches_tracked.item() == 16


@pytest.mark.parametrize("replay", [0, 1])
def test_what_a_step_has_read_is_let_go(replay: int) -> None:
    """Neither the batch nor the old statistics outlive the step."""
    gc.disable()
    try:
        with mg.config(REPLAY=replay):
            thread.begin()
            s = Loop()
            for i in range(6):
                x, old = s.batch(i), s.norm.running_mean._storage.lazy
                gone = ref(x), ref(old)
                s.learn(F.mse_loss(s.model(x), x[:, :2]))
                del x, old
            s.batch(7).sum().item()
            assert not any(r() is not None for r in gone)
    finally:
        gc.enable()


@pytest.mark.parametrize("tape", [False, True])
@pytest.mark.parametrize("replay", [0, 1])
def test_what_nobody_asks_for_does_not_pile_up(replay: int, tape: bool) -> None:
    """A model that is only called keeps neither a graph nor its inputs."""
    with mg.config(REPLAY=replay):
        thread.begin()
        s = Loop()
        runs = []
        for i in range(60):
            with mg.inspect() as seen, mg.set_grad_enabled(tape):
                s.loss(i)
            runs.append(seen.launches > 0)
            assert len(thread.trace.path) <= 14 * pending.MOST_WRITES
        assert 60 // (pending.MOST_WRITES + 2) <= sum(runs) <= 60 // (pending.MOST_WRITES - 2)
        assert s.norm.num_batches_tracked.item() == 60


def _step_of(s: Loop) -> Callable[[Any], None]:
    def step(x: Any) -> None:
        s.learn(F.mse_loss(s.model(x), x[:, :2]))

    return step


def test_jit_and_plain_steps_by_turns() -> None:
    """A compiled step reads what a plain one has left pending, and the other way round."""
    losses = []
    for compiled in (False, True):
        s = Loop()
        step = mg.jit(_step_of(s))
        for i in range(12):
            if compiled and i % 3:
                step(s.batch(i))
            else:
                plainly(s, i)
            if i % 4 == 0:
                s.loss(i + 50)  # nobody asks for it
        s.look(*s.model.state_dict().values())
        losses.append(s.seen)
    same(*losses)


def test_another_thread_looks_on() -> None:
    """It sees whole values: mean and count of one step or another."""
    s, stop, problems = Loop(), threading.Event(), []

    def watch() -> None:
        while not stop.is_set():
            try:
                count, values = s.norm.num_batches_tracked.item(), s.norm.running_mean.tolist()
                if not 0 <= count <= 40 or not np.isfinite(values).all():
                    problems.append((count, values))
            except Exception as error:
                problems.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for i in range(40):
        plainly(s, i)
    stop.set()
    watcher.join()
    assert not problems and s.norm.num_batches_tracked.item() == 40
    other = Loop()
    for i in range(40):
        plainly(other, i)
    s.look(*s.statistics())
    other.look(*other.statistics())
    same(s.seen, other.seen)
