"""Stage: tests of tensor. In: NumPy's functions and arrays beside Tensors. Out: Tensors, in NumPy's dtypes.
Next: ``test_numpy_names.py``."""

from __future__ import annotations

import operator
import sys
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import Tensor

T = minigrad.tensor([1.0, 2.0])
A = np.array([3.0, 4.0])


@pytest.mark.parametrize("op", [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv,
                                operator.mod, operator.pow, operator.matmul, operator.eq, operator.ne, operator.lt,
                                operator.ge])
def test_operators_with_arrays_give_tensors_on_both_sides(op: Any) -> None:
    for first, second in ((T, A), (A, T), (T, A.astype(np.float32)), (A[::-1], T)):
        found = op(first, second)
        want = op(np.asarray(first), np.asarray(second))
        assert type(found) is Tensor and found.dtype.numpy == want.dtype
        np.testing.assert_array_equal(found.numpy(), want)


def test_integers_and_bits() -> None:
    t, a = minigrad.tensor([1, 2]), np.array([3, 1], np.uint16)
    for op in (operator.and_, operator.or_, operator.xor, operator.lshift, operator.add):
        for found, want in ((op(t, a), op(t.numpy(), a)), (op(a, t), op(a, t.numpy()))):
            assert found.dtype is minigrad.int64
            np.testing.assert_array_equal(found.numpy(), want)
    assert (t + np.float32(0.5)).dtype is minigrad.float32
    assert (np.float64(2) / t).dtype is minigrad.float32 and (np.float64(2) - T).dtype is minigrad.float32
    assert (t + np.ones(2, np.float32)).dtype is minigrad.float64  # as NumPy has it


def test_functions_of_numpy() -> None:
    assert type(np.exp(T)) is Tensor and np.exp(T).tolist() == np.exp(T.numpy()).tolist()
    assert np.isnan(T).dtype is minigrad.uint8  # as PyTorch has it
    assert np.add(T, A).dtype is minigrad.float64 and np.add(T, 1).dtype is minigrad.float32
    assert [type(part) for part in np.modf(T)] == [Tensor, Tensor]
    assert np.multiply.reduce(T).item() == 2.0
    out = np.zeros(2)
    assert np.sin(T, out=out) is out and out[0] == np.sin(1.0, dtype=np.float32)
    assert type(np.concatenate([T, A])) is np.ndarray
    assert np.sum(T).item() == 3.0 and np.mean(T).item() == 1.5 and np.std(T).item() == 0.5
    assert np.max(minigrad.ones(2, 3), axis=1, keepdims=True).shape == (2, 1) and np.size(T) == 2
    with pytest.raises(TypeError):
        np.add(A, A, out=T)
    with pytest.raises(TypeError):
        T + np.array([None, 1.0])


def test_an_array_that_changes_later_does_not_change_the_result() -> None:
    a = np.array([1.0, 2.0])
    found = T + a
    a[:] = 100.0
    assert found.tolist() == [2.0, 4.0]


def test_what_requires_a_gradient_is_not_given_away() -> None:
    x = minigrad.ones(2, requires_grad=True)
    for call in (lambda: x + A, lambda: A * x, lambda: np.exp(x), lambda: x.numpy(), lambda: np.asarray(x)):
        with pytest.raises(RuntimeError, match="Can't call numpy"):
            call()
    assert (np.float64(2.0) * x).requires_grad
    with minigrad.no_grad():
        assert x.numpy().tolist() == [1.0, 1.0] and (A + x).tolist() == [4.0, 5.0]


def test_reflected_methods() -> None:
    t, i = T, minigrad.tensor([1, 2])
    for name in ("__radd__", "__rsub__", "__rmul__", "__rmod__", "__rpow__", "__rmatmul__", "__rfloordiv__"):
        assert getattr(t, name)(A) is NotImplemented
    for name in ("__rand__", "__ror__", "__rxor__", "__rlshift__", "__rrshift__"):
        assert getattr(i, name)(np.array([1, 2])) is NotImplemented
    assert t.__rdiv__(A).tolist() == [3.0, 2.0] and t.__rdiv__(3).tolist() == [3.0, 1.5]
    assert t.__rsub__(3).tolist() == [2.0, 1.0] and t.__rsub__(T + 1).tolist() == [1.0, 1.0]
    assert t.__rmod__(3).tolist() == [0.0, 1.0] and t.__rpow__(3).tolist() == [3.0, 9.0]
    assert t.__rmatmul__(t).item() == 5.0 and i.__rand__(3).tolist() == [1, 2] and i.__rlshift__(3).tolist() == [6, 12]


def test_the_buffer_protocol_shows_the_memory() -> None:
    t = minigrad.arange(6.0).reshape(2, 3)
    view = memoryview(t) if sys.version_info >= (3, 12) else t.__buffer__(0)  # Python asks from 3.12 on
    view[0, 0] = 7
    t.add_(1)
    assert view.format == "f" and view.tolist() == t.tolist() == [[8, 2, 3], [4, 5, 6]]
    assert t.t().__buffer__(0).strides == (4, 12)
    with pytest.raises(BufferError, match="requires grad"):
        minigrad.ones(2, requires_grad=True).__buffer__(0)
