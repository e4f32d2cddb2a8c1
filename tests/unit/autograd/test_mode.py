"""no_grad and its relatives, as contexts and decorators."""

from __future__ import annotations

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
