"""Stage: tests of the front. In: loops that change results in place in the middle of a step. Out: they are replayed,
and values, tape and errors are those of recording every call. Next: ``test_pending.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import minigrad as mg
from minigrad.nn import functional as F
from tests.unit.tensor.loops import Loop, rounds

pytestmark = pytest.mark.usefixtures("fresh")


def _look(s: Loop, *tensors: Any) -> None:
    for t in tensors:
        s.seen += [t._version, t.tolist(), t.requires_grad, None if t.grad_fn is None else t.grad_fn.name()]


def relu_in_place(s: Loop, i: int) -> None:
    h = F.relu(s.out(), inplace=True)
    s.learn(h.square().mean())
    _look(s, h)


def several_changes(s: Loop, i: int) -> None:
    h = s.out()
    same = h
    h += 1
    h *= s.x[:, :1]
    h.tanh_()
    s.learn((h * same).mean())
    _look(s, h)
    s.seen.append(same is h)


def a_residual(s: Loop, i: int) -> None:
    h = s.out().tanh()
    o = h @ s.w.t() @ s.u
    o += h
    loss = F.relu(o, inplace=True).square().mean()
    s.seen.append(loss.item())
    s.learn(loss)


def nobody_holds_it(s: Loop, i: int) -> None:
    loss = s.out().add_(1).square_().mean()
    s.learn(loss)
    s.seen.append(loss.item())


def without_a_gradient(s: Loop, i: int) -> None:
    x = s.x * 2
    x.sub_(1).div_(3)
    s.learn((x @ s.w).square().mean())
    _look(s, x)


def a_gradient_comes_in(s: Loop, i: int) -> None:
    x = s.x @ s.x.t()
    x.mul_(s.out().sum())
    s.learn(x.sum())
    _look(s, x)


def copied_over(s: Loop, i: int) -> None:
    h = s.out() * 1
    h.copy_(s.x[:, :1] * s.w.sum())
    s.learn(h.square().mean())
    _look(s, h)


def held_for_long(s: Loop, i: int) -> None:
    h = s.out().relu_()
    s.kept = [h, *(s.kept or [])[:2]]
    s.learn(h.square().mean())
    s.seen += [t.tolist() for t in s.kept]


def seen_by_views_afterwards(s: Loop, i: int) -> None:
    h = s.out()
    h.relu_()
    part, alias = h[1:], h.detach()
    s.learn(part.square().sum())
    _look(s, part, alias)
    h.data.mul_(2)
    _look(s, part, alias)


REPLAYED = {
    relu_in_place: 2, several_changes: 2, a_residual: 3, nobody_holds_it: 2, without_a_gradient: 2,
    a_gradient_comes_in: 2, copied_over: 2, held_for_long: 2, seen_by_views_afterwards: 2,
}


def _fails(s: Loop, loss: Any) -> None:
    with pytest.raises(RuntimeError, match="modified by an inplace operation") as error:
        loss.backward()
    s.seen.append(str(error.value))


def saved_before(s: Loop, i: int) -> None:
    h = s.out()
    z = h * h
    h.relu_()
    _fails(s, z.sum())


def saved_before_and_computed(s: Loop, i: int) -> None:
    h = s.out()
    z = h * h
    h.relu_()
    s.seen.append(h.sum().item())
    _fails(s, z.sum())


def saved_result(s: Loop, i: int) -> None:
    h = s.out().exp()
    h.add_(1)
    _fails(s, h.sum())


def saved_afterwards(s: Loop, i: int) -> None:
    h = s.out().relu_()
    z = h * h
    s.seen.append(z.sum().item())
    h.add_(1)
    _fails(s, z.sum())


def allowed_in_some_rounds(s: Loop, i: int) -> None:
    with mg.autograd.graph.allow_mutation_on_saved_tensors():
        h = s.out()
        z = h * h
        h.relu_()
        z.sum().backward()
    saved_before(s, i)


def seen_by_views_before(s: Loop, i: int) -> None:
    h = s.out()
    part, alias = h[1:], h.detach()
    h.relu_()
    s.learn(part.square().sum())
    _look(s, part, alias, h)


def without_the_tape(s: Loop, i: int) -> None:
    h = s.out()
    with mg.no_grad():
        h.mul_(2)
    s.learn(h.square().mean())
    _look(s, h)


def one_round_differs(s: Loop, i: int) -> None:
    h = s.out()
    h.add_(1)
    h.relu_()
    if i % 3 == 2:
        s.seen.append(h.tolist())
    if i % 7 == 6:
        s.seen.append(h.grad_fn.next_functions[0][0].name())
    s.learn((h * 2 if i % 5 == 4 else h).square().mean())
    _look(s, h)
    with pytest.raises(RuntimeError, match="a second time"):
        h.sum().backward()


def of_another_type(s: Loop, i: int) -> None:
    h = s.out()
    h.mul_(s.y[:, None].double())
    s.learn(h.square().mean())
    _look(s, h)


def its_gradient_is_retained(s: Loop, i: int) -> None:
    h = s.out().relu_()
    h.retain_grad()
    s.learn(h.square().mean())
    s.seen.append(h.grad.tolist())


def numpy_sees_it(s: Loop, i: int) -> None:
    h = s.out().detach() * 1
    array = h.numpy() if i % 4 == 3 else None
    h.add_(1).mul_(2)
    s.seen += [h.tolist(), None if array is None else array.tolist()]


def its_tape_stays_open(s: Loop, i: int) -> None:
    h = s.out().relu_()
    (s.w * s.u).sum().backward()
    h.sum().backward()
    _look(s, h)


OTHERS = [
    saved_before, saved_before_and_computed, saved_result, saved_afterwards, allowed_in_some_rounds,
    seen_by_views_before, without_the_tape, one_round_differs, of_another_type, its_gradient_is_retained, numpy_sees_it,
    its_tape_stays_open,
]


@pytest.mark.parametrize("step", [*REPLAYED, *OTHERS], ids=lambda step: step.__name__)
def test_what_is_changed_in_place_shows_what_recording_gives(step: Callable[[Loop, int], None]) -> None:
    got, seen = rounds(step)
    with mg.config(REPLAY=0):
        want, _ = rounds(step)
    assert got == want
    assert step not in REPLAYED or (seen.replayed, seen.recorded) == (REPLAYED[step], [])
