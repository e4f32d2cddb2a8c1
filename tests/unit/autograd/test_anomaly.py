"""Stage: tests of backward. In: programs inside ``detect_anomaly`` whose backward fails. Out: a warning that names the
line of the program that called the op, and the switches as they were before.
Next: ``tests/unit/autograd/test_function.py``."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import minigrad
from minigrad.autograd import (
    Function,
    detect_anomaly,
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    set_detect_anomaly,
)
from minigrad.autograd.mode import mode


def root(x: minigrad.Tensor) -> minigrad.Tensor:
    return x.sqrt()


ROOT = inspect.getsourcelines(root)[1] + 1


class Failing(Function):
    @staticmethod
    def forward(ctx: Any, x: minigrad.Tensor) -> minigrad.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: minigrad.Tensor) -> minigrad.Tensor:
        raise ValueError("no gradient today")


@pytest.fixture(autouse=True)
def switches() -> Any:
    before = mode.watched
    yield
    assert (mode.watched, is_anomaly_enabled(), is_anomaly_check_nan_enabled()) == (before, False, True)


def test_the_line_of_the_forward_call_is_named() -> None:
    x = minigrad.tensor([0.0, 1.0], requires_grad=True)
    for _ in range(3):  # the next round would be replayed
        (root(x) * 0).sum().backward()
    wanted = f'Error detected in SqrtBackward0(.|\n)*{__file__}", line {ROOT}, in root\n    return x'
    with set_detect_anomaly(True), pytest.raises(RuntimeError, match="'SqrtBackward0' returned nan"), pytest.warns(
            UserWarning, match=wanted) as found:
        (root(x) * 0).sum().backward()
    assert "minigrad/tensor" not in str(found[0].message) and found[0].filename == __file__


def test_an_error_of_a_function_of_ones_own() -> None:
    x = minigrad.tensor([1.0], requires_grad=True)
    with set_detect_anomaly(True), pytest.raises(ValueError, match="no gradient today"), pytest.warns(
            UserWarning, match="Error detected in FailingBackward. Traceback of forward call"):
        Failing.apply(x).sum().backward()


def test_what_was_called_before_is_not_known() -> None:
    y = minigrad.tensor([0.0], requires_grad=True).sqrt() * 0
    with pytest.warns(UserWarning) as found, detect_anomaly(), pytest.raises(RuntimeError, match="returned nan"):
        y.sum().backward()
    assert "No forward pass information available" in str(found[1].message)


def test_the_traceback_is_in_the_metadata() -> None:
    x = minigrad.tensor([1.0], requires_grad=True)
    assert "traceback_" not in root(x).grad_fn.metadata
    with set_detect_anomaly(True, check_nan=False):
        assert is_anomaly_enabled() and not is_anomaly_check_nan_enabled()
        assert f"line {ROOT}, in root" in root(x).grad_fn.metadata["traceback_"][-1]


def test_blocks_and_switches_end_as_they_began() -> None:
    set_detect_anomaly(True)
    with set_detect_anomaly(False):
        assert not is_anomaly_enabled()
    assert is_anomaly_enabled()
    with pytest.warns(UserWarning), detect_anomaly(check_nan=False):
        assert not is_anomaly_check_nan_enabled()
    set_detect_anomaly(False)
