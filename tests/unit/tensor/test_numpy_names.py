"""Stage: tests. In: calls with NumPy's names of parameters, ``axis`` and ``keepdims``. Out: what the names ``dim`` and
``keepdim`` give, in methods and functions; the same of Python's types as dtypes.
Next: ``test_printing.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import minigrad
from minigrad import Tensor

X = minigrad.tensor([[3.0, 1.0, 2.0], [4.0, 6.0, 5.0]])

SAME: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "sum": (lambda: X.sum(axis=1, keepdims=True), lambda: X.sum(dim=1, keepdim=True)),
    "mean": (lambda: minigrad.mean(X, axis=0, keepdims=True), lambda: minigrad.mean(X, 0, True)),
    "amax": (lambda: X.amax(axis=1, keepdims=True), lambda: X.amax(1, True)),
    "argmax": (lambda: minigrad.argmax(X, axis=1), lambda: X.argmax(1)),
    "max": (lambda: X.max(axis=1, keepdims=True), lambda: X.max(1, True)),
    "softmax": (lambda: X.softmax(axis=-1), lambda: X.softmax(-1)),
    "cumsum": (lambda: minigrad.cumsum(X, axis=1), lambda: X.cumsum(1)),
    "sort": (lambda: X.sort(axis=1), lambda: X.sort(1)),
    "std": (lambda: X.std(axis=0, keepdims=True), lambda: X.std(0, keepdim=True)),
    "stack": (lambda: minigrad.stack([X, X], axis=1), lambda: minigrad.stack([X, X], 1)),
    "cat": (lambda: minigrad.cat([X, X], axis=1), lambda: minigrad.cat([X, X], 1)),
    "unsqueeze": (lambda: X.unsqueeze(axis=1), lambda: X.unsqueeze(1)),
    "chunk": (lambda: X.chunk(3, axis=1), lambda: X.chunk(3, 1)),
}


def listed(value: object) -> object:
    """Tensors as lists."""
    return value.tolist() if isinstance(value, Tensor) else [listed(v) for v in value]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", SAME)
def test_numpy_names_mean_the_same(name: str) -> None:
    theirs, ours = SAME[name]
    assert listed(theirs()) == listed(ours())


def test_other_names_are_errors() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'axes'"):
        X.amax(axes=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="multiple values for argument 'dim'"):
        X.amax(0, axis=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("make", [
    lambda dtype: minigrad.zeros(2, dtype=dtype), lambda dtype: minigrad.arange(2, dtype=dtype),
    lambda dtype: minigrad.tensor([1, 0], dtype=dtype), lambda dtype: minigrad.asarray([1, 0], dtype=dtype),
    lambda dtype: minigrad.ones(2).to(dtype), lambda dtype: minigrad.ones(2).to(dtype=dtype),
    lambda dtype: minigrad.ones(2).sum(dtype=dtype), lambda dtype: minigrad.ones(2).cumsum(0, dtype=dtype),
    lambda dtype: minigrad.ones(2).new_full((2,), 1, dtype=dtype),
    lambda dtype: minigrad.ones_like(minigrad.ones(2), dtype=dtype), lambda dtype: minigrad.prod(minigrad.ones(
        2), dtype=dtype)])
def test_types_of_python_are_dtypes(make: Any) -> None:
    assert make(float).dtype is minigrad.float64
    assert make(int).dtype is minigrad.int64
    with pytest.raises(TypeError):
        make(str)


@pytest.mark.parametrize("call", [
    lambda dtype: minigrad.ones(2, dtype=dtype), lambda dtype: minigrad.zeros_like(X, dtype=dtype),
    lambda dtype: minigrad.tensor([1], dtype=dtype), lambda dtype: X.sum(dtype=dtype),
    lambda dtype: minigrad.mean(X, dtype=dtype), lambda dtype: X.new_zeros(2, dtype=dtype),
    lambda dtype: minigrad.arange(3, dtype=dtype), lambda dtype: minigrad.cumsum(X, 0, dtype=dtype),
])
def test_pythons_types_stand_for_dtypes(call: Any) -> None:
    assert call(float).dtype is minigrad.float64
    for none in ("float32", str):
        with pytest.raises(TypeError, match=f"argument 'dtype' must be torch.dtype, not {type(none).__name__}"):
            call(none)
