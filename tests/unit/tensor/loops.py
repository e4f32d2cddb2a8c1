"""Stage: tests of the front. In: what a program does in a round. Out: what it sees in many rounds, and how the
last went. Next: ``test_earlier.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minigrad as mg
from minigrad import optim
from minigrad.tensor.replay import thread


class Loop:
    """Weights, a batch, an optimizer. ``seen``: what was looked at."""

    def __init__(self) -> None:
        mg.manual_seed(1)
        self.w, self.u = mg.randn(3, 4).requires_grad_(), mg.randn(3, 4).requires_grad_()
        self.x, self.y = mg.randn(6, 3), mg.randint(0, 4, (6,))
        self.optimizer = optim.SGD([self.w], lr=0.1)
        self.seen: list[Any] = []
        self.kept: Any = None

    def out(self) -> Any:
        return self.x @ self.w

    def learn(self, loss: Any, retain_graph: bool = False) -> None:
        self.optimizer.zero_grad()
        loss.backward(retain_graph=retain_graph)
        self.optimizer.step()


def learned(s: Loop) -> Any:
    """The outputs of a round that has learned from them."""
    o = s.out()
    s.learn(o.square().mean())
    return o


def rounds(step: Callable[[Loop, int], None]) -> tuple[list[Any], Any]:
    """What is seen in 24 rounds, and the record of the last."""
    thread.forget()
    s = Loop()
    for i in range(24):
        with mg.inspect() as seen:
            step(s, i)
        s.seen.append([None if t.grad is None else t.grad.tolist() for t in (s.w, s.u)])
        if not i % 4:
            s.w.grad = s.u.grad = None
    return [*s.seen, s.w.tolist()], seen
