"""Stage: tests of the front. In: loops that look at results of a step after its ``backward()``, or hold aliases of what
is gone. Out: they are replayed, and results and tape are those of recording every call. Next: ``test_pending.py``."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

import minigrad as mg
from minigrad.nn import functional as F
from minigrad.tensor.replay import Trace
from tests.unit.tensor.loops import Loop, learned, rounds

pytestmark = pytest.mark.usefixtures("fresh")


def accuracy(s: Loop, i: int) -> None:
    o = s.out()
    s.learn(F.cross_entropy(o, s.y))
    s.seen.append((o.argmax(1) == s.y).float().mean().item())


def through_an_op_on_the_tape(s: Loop, i: int) -> None:
    s.seen.append((F.sigmoid(learned(s)) > 0.5).float().mean().item())


def through_views(s: Loop, i: int) -> None:
    o = learned(s)
    s.seen += [(o.view(-1)[3:] > 0).float().mean().item(), o[1].max().item(), o.t().unsqueeze(0).argmax().item()]


def what_was_a_view(s: Loop, i: int) -> None:
    a, b = s.out().split(2, 1)
    s.learn((a * b).mean())
    s.seen += [(a > b).float().sum().item(), a.t().argmax().item()]


def without_the_tape(s: Loop, i: int) -> None:
    o = learned(s)
    with mg.no_grad():
        s.seen += [o.softmax(1).max().item(), (o[:2] + o.t()[:2, :2].sum()).sum().item()]


def largest_of_each_row(s: Loop, i: int) -> None:
    """The first result lies on the tape, and is held until the next round."""
    s.kept, predicted = learned(s).max(1)
    s.seen.append((predicted == s.y).float().mean().item())


def less_than_before(s: Loop, i: int) -> None:
    loss = s.out().square().mean()
    s.learn(loss)
    if s.kept is not None:
        s.seen.append(bool(loss < s.kept))
    s.kept = loss


def held_with_its_tape(s: Loop, i: int) -> None:
    s.kept = (learned(s) * 2).tanh()
    s.seen.append(s.kept.sum().item())
    product = s.kept.grad_fn.next_functions[0][0]
    s.seen += [s.kept.grad_fn.name(), product.name(), product.next_functions[0][0].name()]


def numpy_writes(s: Loop, i: int) -> None:
    o = learned(s)
    array = o.detach().numpy()
    positive = (o > 0).float()
    array[:] = 1
    s.seen.append((positive.sum() + (o > 0).sum()).item())


def losses_are_kept(s: Loop, i: int) -> None:
    s.kept = [*(s.kept or []), s.out().square().mean().detach()]
    s.learn((s.w - s.u).square().mean())
    s.seen.append([kept.item() for kept in s.kept])


def a_target_is_detached(s: Loop, i: int) -> None:
    target = s.out().detach()
    s.learn(F.mse_loss(s.out() * 0.9, target))
    s.seen.append(target.tolist())


def parts_are_detached(s: Loop, i: int) -> None:
    o = s.out()
    last, turned = o[:, -1].detach(), o.t().detach()[1:]
    del o
    s.learn((s.out().sum(1) - last).square().mean() + turned.sum() * s.u.sum())
    s.seen += [last.tolist(), turned.tolist(), turned.stride(), turned.is_contiguous()]


def aliases_share_memory(s: Loop, i: int) -> None:
    o = s.out()
    a, b, part = o.detach(), o.detach().detach(), o[1].data
    del o
    s.learn((s.out() - b).square().mean() + (a + 1).sum() * s.u.sum())
    a.mul_(2)
    part.add_(1)
    s.seen += [a.tolist(), b.tolist(), part.tolist(), a._version, b._version]


REPLAYED = {
    losses_are_kept: 2, a_target_is_detached: 2, parts_are_detached: 2, aliases_share_memory: 2,
    accuracy: 3, through_an_op_on_the_tape: 3, through_views: 4, what_was_a_view: 4, without_the_tape: 4,
    largest_of_each_row: 3, less_than_before: 3, held_with_its_tape: 3, numpy_writes: 3,
}


def differentiated_again(s: Loop, i: int) -> None:
    """What was used up can't be; the part that was not can."""
    o = learned(s)
    value, place = o.max(1)
    s.seen.append(place.sum().item())
    gradient, = mg.autograd.grad(value.sum(), o, retain_graph=True)
    s.seen.append(gradient.tolist())
    with pytest.raises(RuntimeError, match="a second time"):
        value.sum().backward()


def retained(s: Loop, i: int) -> None:
    o = s.out()
    s.learn(o.square().mean(), retain_graph=True)
    F.sigmoid(o).sum().backward()


def another_tape_is_open(s: Loop, i: int) -> None:
    """The gradient that flows through ``y`` is another in each third round."""
    y = s.w * (2 if i % 3 else 3)
    (s.w * s.u).sum().backward()
    if i % 2:
        s.seen.append((y > 0).float().sum().item())
    (y * s.w).sum().backward()


def root_of_another_tape(s: Loop, i: int) -> None:
    y = (s.w * (2 if i % 3 else 3)).sum()
    (s.w * s.u).sum().backward()
    s.seen += [(y > 0).item(), (s.w * 2).sum().item()]
    (y > 0).float()
    y.backward()


def changed_in_place(s: Loop, i: int) -> None:
    o = learned(s)
    positive = (o > 0).float()
    with mg.no_grad():
        o.mul_(2)
    s.seen += [(positive.sum() + o.sum()).item(), o.tolist()]


def changed_through_an_alias(s: Loop, i: int) -> None:
    o = learned(s)
    positive = (o[1:] > 0).float()
    o.detach().mul_(2)
    s.seen += [(positive.sum() + o.sum()).item(), o.tolist()]


def detached_in_place(s: Loop, i: int) -> None:
    o = learned(s)
    before = F.sigmoid(o)
    o.detach_()
    after = F.sigmoid(o)
    s.seen += [before.requires_grad, after.requires_grad, before.grad_fn is None, (before + after).tolist()]


def used_in_the_next_round(s: Loop, i: int) -> None:
    o = s.out()
    loss = o.square().mean() + (0 if s.kept is None else (s.kept > 0).float().mean() * o.mean())
    s.learn(loss)
    s.kept = o
    s.seen.append(loss.item())


def overlapping(s: Loop, i: int) -> None:
    o = learned(s)
    part = o[1:]
    with mg.no_grad(), pytest.raises(RuntimeError, match="single memory location"):
        o[:-1].add_(part)
    s.seen.append(o.tolist())


def what_was_detached_is_used(s: Loop, i: int) -> None:
    """In some rounds somebody holds what an alias was made of, and differentiates it."""
    o = s.out()
    target = o.detach()
    if not i % 3:
        del o
    s.learn((s.out() - target - 1).square().mean())
    if i % 3:
        o.sum().backward()
    s.seen.append(target.tolist())


def an_alias_has_memory_before_others(s: Loop, i: int) -> None:
    o, loss = s.out(), (s.w - s.u).square().sum()
    a, other = o.detach(), o.detach()
    del o
    s.seen.append(a.sum().item())
    b = other.detach()
    del other
    c = b + 1
    a.mul_(2)
    s.seen += [b.tolist(), c.tolist()]
    s.learn(loss)


def written_unseen(s: Loop, i: int) -> None:
    """``.data`` of a part, which has memory by then: backward takes what is there."""
    y = s.w.exp()
    part = y[0].data
    s.seen += [part.tolist(), (y * 2).sum().item()]
    part.mul_(2)
    y.sum().backward()


def seen_behind_an_alias(s: Loop, i: int) -> None:
    o = s.out()
    part = o[1].detach()
    if i % 3:
        del o
    s.seen.append(part.as_strided((2, 2), (4, 1), 1).tolist())


def an_alias_overlaps(s: Loop, i: int) -> None:
    o = s.out()
    with mg.no_grad(), pytest.raises(RuntimeError, match="single memory location"):
        o.detach()[1:].add_(o[:-1])
    s.seen.append(o.tolist())


def in_inference_mode(s: Loop, i: int) -> None:
    with mg.inference_mode():
        a = (s.out() * 2).detach()
        b = s.out()[0].detach()
        s.seen += [a.sum().item(), b.sum().item()]
    s.seen += [a.is_inference(), b.is_inference(), a.tolist(), b.tolist()]


OTHERS = [
    what_was_detached_is_used, an_alias_has_memory_before_others, written_unseen, seen_behind_an_alias,
    an_alias_overlaps, in_inference_mode, differentiated_again, retained, another_tape_is_open, root_of_another_tape,
    changed_in_place, changed_through_an_alias, detached_in_place, used_in_the_next_round, overlapping,
]


@pytest.mark.parametrize("step", [*REPLAYED, *OTHERS], ids=lambda step: step.__name__)
def test_a_result_of_an_earlier_trace_shows_what_recording_gives(step: Callable[[Loop, int], None]) -> None:
    got, seen = rounds(step)
    with mg.config(REPLAY=0):
        want, _ = rounds(step)
    assert got == want
    assert step not in REPLAYED or (seen.replayed, seen.recorded) == (REPLAYED[step], [])


def compared_before_backward(s: Loop, i: int) -> None:
    loss = s.out().square().mean()
    smaller = None if s.kept is None else loss < s.kept
    s.learn(loss)
    s.seen.append(smaller is not None and smaller.item())
    s.kept = loss


def test_a_comparison_with_a_result_of_an_earlier_trace_does_not_keep_that_trace() -> None:
    s = Loop()
    counts = []
    for i in range(36):
        with mg.inspect() as seen:
            compared_before_backward(s, i)
        if not i % 12:
            gc.collect()
            counts.append(len([1 for x in gc.get_objects() if type(x) is Trace]))
    assert counts[2] <= counts[1] + 2 and seen.replayed == 2 and not seen.recorded
