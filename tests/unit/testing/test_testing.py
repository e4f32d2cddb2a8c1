"""Stage: tests. In: values that differ, and gradients that are wrong. Out: errors that say by how much.
Next: ``tests/unit/utils/test_checkpoint.py``."""

from __future__ import annotations

from typing import Any

import pytest

import minigrad
from minigrad import tensor
from minigrad.autograd import detect_anomaly, gradcheck, gradgradcheck
from minigrad.testing import assert_close, make_tensor


def test_close() -> None:
    assert_close(tensor([1.0]), tensor([1.000001]))
    with pytest.raises(AssertionError, match=r"Mismatched elements: 1 / 2 \(50.0%\)\nGreatest absolute difference: 1.0 "
                                             r"at index \(1,\) \(up to 1e-05 allowed\)"):
        assert_close([tensor([1.0, 2.0])], [tensor([1.0, 3.0])])
    with pytest.raises(AssertionError, match="for item \\['a'\\]"):
        assert_close({"a": 1.0}, {"a": 2.0})
    with pytest.raises(AssertionError, match="attribute 'dtype' do not match"):
        assert_close(tensor([1.0]), tensor([1.0], dtype=minigrad.float64))
    with pytest.raises(AssertionError, match="are not equal!"):
        assert_close(tensor([True]), tensor([False]))


def test_made_tensors() -> None:
    t = make_tensor(50, dtype=minigrad.int8, device="cpu", low=0, high=3, exclude_zero=True)
    assert set(t.tolist()) <= {1, 2}
    assert not make_tensor(3, 4, dtype=minigrad.float32, device="cpu", noncontiguous=True).is_contiguous()


class Wrong(minigrad.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * 3 * ctx.saved_tensors[0]


def test_gradients() -> None:
    x = tensor([0.5, 1.5], dtype=minigrad.float64, requires_grad=True)
    assert gradcheck(lambda x: x.sin() * x, (x,))
    assert gradgradcheck(lambda x: x.sin() * x, (x,))
    for fast in (False, True):
        with pytest.raises(RuntimeError, match="Jacobian mismatch for output 0 with respect to input 0"):
            gradcheck(Wrong.apply, (x,), fast_mode=fast)
    assert x.tolist() == [0.5, 1.5]


def test_no_gradient_from_any_output() -> None:
    """Rules written by hand are not asked then."""
    x, y = (tensor(v, dtype=minigrad.float64, requires_grad=True) for v in ([[2.0, 1.0], [1.0, 3.0]], [[1.0], [2.0]]))
    for function in (lambda x, y: minigrad.cat([x, y], 1), lambda x, y: x.softmax(0) @ y, lambda x, y: minigrad.stack([
            x, y.expand(2, 2)]), lambda x, y: minigrad.linalg.matrix_exp(x) * y, minigrad.block_diag):
        assert gradcheck(function, (x, y), fast_mode=True)


def test_nan_in_a_gradient() -> None:
    x = tensor([-1.0], requires_grad=True)
    for _ in range(3):  # the third would be replayed
        (x.sqrt() * 2).sum().backward()
    with pytest.warns(UserWarning), detect_anomaly(), pytest.raises(
            RuntimeError, match="Function 'SqrtBackward0' returned nan values in its 0th output"):
        (x.sqrt() * 2).sum().backward()


def test_without_nan_the_gradients_are_as_ever() -> None:
    """Each node's gradient is looked at, and those of the leaves still follow from them."""
    x = tensor([1.0, 4.0], requires_grad=True)
    with pytest.warns(UserWarning), detect_anomaly():
        (x.sqrt() * 2).sum().backward()
        (x.sqrt() * x).sum().backward(retain_graph=True)
    assert x.grad is not None and x.grad.tolist() == [2.5, 3.5]


def test_gradcheck_finds_two_backward_passes_to_be_the_same() -> None:
    """Fused with what is pending, a pass would be rounded otherwise than the next one."""
    minigrad.manual_seed(1)
    x = make_tensor(5, 5, dtype=minigrad.float64, device="cpu", requires_grad=True)
    assert gradcheck(lambda t: (t.softmax(1),), (x,), fast_mode=True, nondet_tol=0.0)
