"""Stage: tests of ``jit/``. In: functions and tensors around them, whose shape or memory changes in place. Out: the
same values and shapes as without ``jit``.
Next: ``test_surroundings.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import minigrad

RESHAPED: dict[str, Callable[[Any], Any]] = {
    "transpose_": lambda t: t.transpose_(0, 1),
    "unsqueeze_": lambda t: t.unsqueeze_(1),
    "resize_": lambda t: t.resize_(2, 2),
    "larger": lambda t: t.resize_(5, 2),
    "set_": lambda t: t.set_(minigrad.tensor([5.0, 6.0])),
    "data": lambda t: setattr(t, "data", t.data.t() * 2),
    "view of data": lambda t: setattr(t, "data", t.data.t()),
}


def square() -> Any:
    return minigrad.tensor([[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize(("how", "view"), [  # resize_() would show memory beside a view, which its copy has not
    (how, view) for how in RESHAPED for view in (False, True) if not view or how not in ("resize_", "larger")])
def test_an_argument_becomes_what_its_copy_becomes(how: str, view: bool) -> None:
    def one_round(x: Any) -> Any:
        before = x.detach()
        x.add_(1)
        RESHAPED[how](x)
        x.mul_(2)
        return before, x, x + 1

    jitted = minigrad.jit(one_round)
    for _ in range(4):
        sides = []
        with pytest.warns(UserWarning) if jitted.given_up is None else minigrad.no_grad():
            for call in (one_round, jitted):
                whole = minigrad.arange(12.0).reshape(3, 4)
                x = whole[:, 1:3].t() if view else whole.clone()
                returned = call(x)
                assert returned[1] is x
                sides.append([t.tolist() for t in (whole, x, *returned)])
        assert sides[0] == sides[1]
    assert "another shape or other memory" in str(jitted.given_up)


def test_one_argument_becomes_an_alias_of_another() -> None:
    def one_round(x: Any, y: Any) -> None:
        x.data = y
        x.add_(1)

    jitted = minigrad.jit(one_round)
    for _ in range(3):
        x, y = square(), square()
        with pytest.warns(UserWarning) if jitted.given_up is None else minigrad.no_grad():
            jitted(x, y)
        assert x.tolist() == y.tolist() == [[2.0, 3.0], [4.0, 5.0]]


def test_a_tensor_around_that_turns_into_a_view() -> None:
    weight = square()
    jitted = minigrad.jit(lambda x: x + weight)
    for i in range(12):
        if i % 5 == 4:
            weight.transpose_(0, 1)
        expected = weight.tolist()
        assert jitted(minigrad.zeros(2, 2)).tolist() == expected
    assert jitted.variants


def test_a_tensor_around_that_the_function_turns_into_a_view() -> None:
    flat, leaf = minigrad.tensor([[1.0, 2.0, 3.0]]), minigrad.tensor([0.75], requires_grad=True)

    def one_round(turn: bool) -> None:
        if turn:
            flat.transpose_(0, 1)
            (leaf * 2).sum().backward()

    jitted = minigrad.jit(one_round)
    shapes = []
    with pytest.warns(UserWarning, match="it changes flat at each call"):
        for i in range(12):
            jitted(i % 3 == 1)
            shapes.append(tuple(flat.shape))
    assert shapes == [((1, 3), (3, 1))[(i + 2) // 3 % 2] for i in range(12)]
    assert leaf.grad is not None and leaf.grad.item() == 8
