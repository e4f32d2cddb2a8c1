"""Stage: tests of the front. In: loops that call ``autograd.grad`` in the plain way, and less plainly. Out: the plain
ones are replayed, and all see what recording every call gives. Next: ``test_pending.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import minigrad as mg
from minigrad.autograd import grad
from tests.unit.tensor.loops import Loop, rounds

pytestmark = pytest.mark.usefixtures("fresh")


def changed_by_hand(s: Loop, i: int) -> None:
    g, = grad(s.out().square().mean(), [s.w])
    with mg.no_grad():
        s.w.sub_(g * 0.1)
    s.seen.append(g.tolist())


def several_inputs(s: Loop, i: int) -> None:
    loss = s.out().square().mean() + (s.w * s.u).sum()
    by_u, by_w = grad(loss, [s.u, s.w])
    s.seen += [loss.item(), by_u.tolist(), by_w.tolist()]
    assert not by_u.requires_grad and loss.requires_grad


def named_inputs(s: Loop, i: int) -> None:
    loss = s.out().square().mean()
    s.seen += [grad(loss, {"w": s.w})["w"].tolist(), loss.item()]


def others_are_held(s: Loop, i: int) -> None:
    alias, k = s.out().detach(), s.out().tanh()
    s.kept = [alias, k, *grad(k.sum(), s.w)]
    s.seen += [[t.tolist(), t.requires_grad] for t in s.kept]


REPLAYED = {changed_by_hand: 1, several_inputs: 1, named_inputs: 1, others_are_held: 1}


def _fails(s: Loop, call: Callable[[], Any]) -> None:
    with pytest.raises(RuntimeError) as error:
        call()
    s.seen.append(str(error.value))


def used_up(s: Loop, i: int) -> None:
    loss = s.out().square().sum()
    g, = grad(loss, s.w)
    _fails(s, lambda: grad(loss, s.w))
    _fails(s, loss.backward)
    s.seen.append(g.tolist())


def of_one_value(s: Loop, i: int) -> None:
    a, b = grad((s.w + s.u).sum() * 2, [s.u, s.w])
    a.add_(1)
    s.seen += [a.tolist(), b.tolist(), grad(s.w.sum(), s.w)[0].tolist()]


def unused(s: Loop, i: int) -> None:
    _fails(s, lambda: grad((s.w * s.w).sum(), [s.u, s.w]))
    by_u, by_w = grad((s.w * s.w).sum(), [s.u, s.w], allow_unused=True)
    s.seen += [by_u, by_w.tolist()]


def another_part_stays_open(s: Loop, i: int) -> None:
    z = s.w.exp()
    g, = grad((z * s.u).sum(), s.u)
    z.sum().backward()
    s.seen.append(g.tolist())


def hooks_come_and_go(s: Loop, i: int) -> None:
    hook = s.w.register_hook(lambda g: g * 10) if i % 3 == 1 else None
    s.seen.append(grad(s.out().square().sum(), s.w)[0].tolist())
    if hook is not None:
        hook.remove()


def backward_follows(s: Loop, i: int) -> None:
    loss = s.out().square().sum()
    g, = grad(loss, s.w, retain_graph=True)
    s.learn(loss)
    s.seen.append(g.tolist())


def with_respect_to_a_result(s: Loop, i: int) -> None:
    h = s.out()
    s.seen.append(grad(h.square().sum(), h)[0].tolist())


def of_several_elements(s: Loop, i: int) -> None:
    _fails(s, lambda: grad(s.out(), s.w))
    s.seen.append(grad(s.out(), s.w, mg.ones(6, 4))[0].tolist())


def changed_since(s: Loop, i: int) -> None:
    h = s.out()
    z = h * h
    h.relu_()
    _fails(s, lambda: grad(z.sum(), s.w))


OTHERS = [used_up, of_one_value, unused, another_part_stays_open, hooks_come_and_go, backward_follows,
          with_respect_to_a_result, of_several_elements, changed_since]


@pytest.mark.parametrize("step", [*REPLAYED, *OTHERS], ids=lambda step: step.__name__)
def test_gradients_that_are_asked_for_are_what_recording_gives(step: Callable[[Loop, int], None]) -> None:
    got, seen = rounds(step)
    with mg.config(REPLAY=0):
        want, _ = rounds(step)
    assert got == want
    assert step not in REPLAYED or (seen.replayed, seen.recorded) == (REPLAYED[step], [])
