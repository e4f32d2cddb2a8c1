"""no_grad and its relatives, as contexts and decorators."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest

import minigrad


def test_nested_contexts() -> None:
    x = minigrad.ones(1, requires_grad=True)
    with minigrad.no_grad():
        assert not (x * 2).requires_grad
        with minigrad.enable_grad():
            assert (x * 2).requires_grad
        assert not minigrad.is_grad_enabled()
    assert (x * 2).requires_grad
    with pytest.raises(ValueError), minigrad.no_grad():
        raise ValueError
    assert minigrad.is_grad_enabled()


@pytest.mark.parametrize("switch", [minigrad.no_grad(), minigrad.no_grad, minigrad.inference_mode(),
                                    minigrad.set_grad_enabled])
def test_decorators(switch) -> None:
    if switch is minigrad.set_grad_enabled:
        switch = minigrad.set_grad_enabled(False)

    @switch
    def f(again: bool = True) -> bool:
        return minigrad.is_grad_enabled() or (f(False) if again else False)

    assert minigrad.is_grad_enabled()
    assert f() is False and f.__name__ == "f"
    assert minigrad.is_grad_enabled()


def test_generator_function() -> None:
    @minigrad.no_grad()
    def steps():
        for _ in range(2):
            yield minigrad.is_grad_enabled()

    for inside in steps():
        assert not inside and minigrad.is_grad_enabled()


def test_set_grad_enabled_acts_at_once() -> None:
    minigrad.set_grad_enabled(False)
    try:
        assert not minigrad.is_grad_enabled()
    finally:
        minigrad.set_grad_enabled(True)
    with minigrad.set_grad_enabled(False):
        assert not minigrad.is_grad_enabled()
    assert minigrad.is_grad_enabled()


def test_inference_mode() -> None:
    with minigrad.inference_mode():
        assert minigrad.is_inference_mode_enabled() and not minigrad.is_grad_enabled()
    with minigrad.inference_mode(False):
        assert minigrad.is_grad_enabled()


def test_tensors_of_inference_mode_stay_outside_the_tape() -> None:
    plain, leaf = minigrad.ones(3), minigrad.ones(3, requires_grad=True)
    with minigrad.inference_mode():
        made, view, of_leaf = minigrad.ones(3), plain[1:], leaf[1:]
        with minigrad.no_grad():
            part = (made * 2)[1:]
        assert made.is_inference() and part.is_inference() and (plain + 1).is_inference()
        assert not view.is_inference() and not plain.add_(1).is_inference()
        made.add_(1)
    assert made.is_inference() and made[1:].is_inference() and made.detach().is_inference() and part.is_inference()
    assert not any(t.is_inference() for t in (made.clone(), made * 2, minigrad.zeros_like(made), copy.deepcopy(made)))
    assert plain._version == 1 and view.add_(1).tolist() == [3, 3]
    for change in (made.add_, made[1:].mul_, part.copy_, made.fill_, lambda x: minigrad.add(plain, x, out=made),
                   lambda x: made.resize_(2), lambda x: made.unsqueeze_(0)):
        with minigrad.no_grad(), pytest.raises(RuntimeError, match="Inplace update to inference tensor outside Infer"):
            change(minigrad.tensor(1.0))
    assert (made + leaf).tolist() == [3, 3, 3]
    for use in (made.mul, made.dot, lambda x: minigrad.outer(made, x)):
        with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
            use(leaf)
    with pytest.raises(RuntimeError, match="do not track version counter"):
        _ = made._version
    with pytest.raises(RuntimeError, match="Setting requires_grad=True on inference tensor outside InferenceMode"):
        made.requires_grad_()
    with pytest.raises(RuntimeError, match="A view was created in inference mode and is being modified inplace in"):
        of_leaf.mul_(2)


def test_nothing_is_recorded_in_inference_mode_whatever_is_wanted() -> None:
    leaf = minigrad.ones(3, requires_grad=True)

    @minigrad.enable_grad()
    def wanted() -> tuple[bool, bool, bool]:
        result = leaf * 2
        return minigrad.is_grad_enabled(), result.requires_grad, result.is_inference()

    with minigrad.inference_mode():
        assert wanted() == (True, False, True) and not minigrad.is_grad_enabled()
        with minigrad.set_grad_enabled(True), minigrad.inference_mode():
            assert not minigrad.is_grad_enabled()
        minigrad.set_grad_enabled(True)
        assert minigrad.is_grad_enabled() and not (leaf * 2).requires_grad
        with minigrad.inference_mode(False):
            assert (leaf * 2).requires_grad
    assert wanted() == (True, True, False) and minigrad.is_grad_enabled()


def test_a_leaf_of_inference_mode_takes_gradients_of_what_saves_nothing() -> None:
    with minigrad.inference_mode():
        leaf = minigrad.ones(3, requires_grad=True)
    assert not (leaf * leaf).requires_grad and not leaf.view(-1).requires_grad and not leaf.view(-1)._is_view()
    (leaf + minigrad.ones(3)).sum().backward()
    assert leaf.grad.tolist() == [1, 1, 1]
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place"):
        leaf.add_(1)


def test_replayed_calls_of_inference_mode() -> None:
    x = minigrad.ones(3)
    for inference in (True, False) * 4:
        with minigrad.inference_mode(inference):
            y = x * 2 + 1
            z = y[1:]
        assert y.is_inference() == z.is_inference() == inference
        assert y.tolist() == [3, 3, 3]
        assert y.is_inference() == z.is_inference() == y[:1].is_inference() == inference


def test_replayed_calls_see_what_was_made_in_inference_mode() -> None:
    leaf = minigrad.ones(3, requires_grad=True)
    with minigrad.inference_mode():
        made = minigrad.ones(3)
        constant = minigrad.ones(3).add_(1)
    for n in range(9):
        if n % 4 == 3:
            for other in (made, constant):
                with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
                    (leaf * other).sum().backward()
        (leaf * minigrad.ones(3)).sum().backward()
    assert leaf.grad.tolist() == [9, 9, 9]


def test_mode_is_per_thread() -> None:
    seen = []
    with minigrad.no_grad():
        thread = threading.Thread(target=lambda: seen.append(minigrad.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_a_generator_that_is_thrown_into_and_closed() -> None:
    seen = []

    @minigrad.no_grad()
    def steps() -> Any:
        try:
            got = yield minigrad.is_grad_enabled()
            seen.append(got)
            try:
                yield 2
            except ValueError:
                yield minigrad.is_grad_enabled()
            yield 4
        finally:
            seen.append(minigrad.is_grad_enabled())
        return 5

    generator = steps()
    assert next(generator) is False and minigrad.is_grad_enabled()
    assert generator.send("sent") == 2 and generator.throw(ValueError()) is False and minigrad.is_grad_enabled()
    generator.close()
    assert seen == ["sent", False] and minigrad.is_grad_enabled()
    last = steps()
    assert [next(last), last.send(None), next(last)] == [False, 2, 4]
    with pytest.raises(StopIteration) as end:
        next(last)
    assert end.value.value == 5
