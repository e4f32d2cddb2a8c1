"""Stage: tests of the array API. In: the standard's names. Out: they are all there, and give what PyTorch's
functions of these names do not: other results, other arguments, the standard's dtypes.
Next: ``tests/unit/array_api/test_libraries.py``."""

from __future__ import annotations

import array
import inspect
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import array_api as xp

X = xp.asarray([[3.0, 1.0, 2.0], [0.0, -0.0, float("nan")]])


def test_the_namespace_of_a_tensor() -> None:
    assert X.__array_namespace__() is xp and X.__array_namespace__(api_version="2025.12") is xp
    assert xp.__array_api_version__ == "2025.12"
    with pytest.raises(ValueError, match="Unsupported array API version: 2019.01"):
        X.__array_namespace__(api_version="2019.01")
    for name in xp.__all__:
        assert hasattr(xp, name), name


def test_signatures_are_the_standard_s() -> None:
    for function, text in (
            (xp.sum, "(x, /, *, axis=None, dtype=None, keepdims=False)"), (xp.add, "(x1, x2, /)"), (xp.exp, "(x, /)"),
            (xp.std, "(x, /, *, axis=None, correction=0.0, keepdims=False)"),
            (xp.sort, "(x, /, *, axis=-1, descending=False, stable=True)"),
            (xp.linspace, "(start, stop, /, num, *, dtype=None, device=None, endpoint=True)"),
            (xp.take_along_axis, "(x, indices, /, *, axis=-1)"), (xp.isin, "(x1, x2, /, *, invert=False)")):
        plain = inspect.signature(function)
        parameters = [p.replace(annotation=inspect.Parameter.empty) for p in plain.parameters.values()]
        assert str(inspect.Signature(parameters)) == text


def test_reductions_over_several_axes() -> None:
    x = xp.reshape(xp.arange(24, dtype=xp.int8), (2, 3, 4))
    array_ = x.numpy()
    for name in ("sum", "prod", "max", "min", "any", "all", "count_nonzero"):
        for axis in (None, 1, (0, 2), (-1, 0)):
            for keepdims in (False, True):
                found = getattr(xp, name)(x, axis=axis, keepdims=keepdims)
                want = getattr(np, name)(array_, axis=axis, keepdims=keepdims)
                np.testing.assert_array_equal(found.numpy(), want)
    assert xp.sum(x).dtype is xp.int64 and xp.sum(xp.astype(x, xp.uint8)).dtype is xp.uint64
    assert xp.sum(x, axis=()).tolist() == x.tolist() and xp.std(xp.asarray([1.0, 3.0])).item() == 1.0
    assert xp.cumulative_sum(xp.asarray([1, 2]), include_initial=True).tolist() == [0, 1, 3]


def test_sorting_and_sets() -> None:
    assert xp.sort(X[0, :], descending=True).tolist() == [3.0, 2.0, 1.0]
    assert xp.argsort(X[0, :]).tolist() == [1, 2, 0]
    found = xp.unique_all(xp.asarray([[2, 1], [2, 3]]))
    assert [part.tolist() for part in found] == [[1, 2, 3], [1, 0, 3], [[1, 0], [1, 2]], [1, 2, 1]]
    assert xp.unique_values(xp.asarray([float("nan"), 1.0, float("nan")])).shape == (3,)  # each NaN is another
    assert xp.isin(xp.asarray([1, 2]), xp.asarray([2]), invert=True).tolist() == [True, False]
    assert xp.searchsorted(xp.asarray([3, 1, 2]), xp.asarray([2]), sorter=xp.asarray([1, 2, 0])).tolist() == [1]
    assert [i.tolist() for i in xp.nonzero(xp.asarray([[0, 1], [1, 0]]))] == [[0, 1], [1, 0]]


def test_shapes() -> None:
    x = xp.zeros((1, 2, 1))
    assert xp.squeeze(x, (0, 2)).shape == (2,) and xp.expand_dims(x, (0, -1)).shape == (1, 1, 2, 1, 1)
    assert xp.permute_dims(x, (2, 1, 0)).shape == (1, 2, 1) and xp.concat([x, x], axis=None).shape == (4,)
    assert [g.shape for g in xp.meshgrid(xp.arange(2), xp.arange(3))] == [(3, 2), (3, 2)]
    assert xp.take(xp.arange(3), xp.asarray([-1, 0])).tolist() == [2, 0]
    assert xp.broadcast_shapes((2, 1), (3,)) == (2, 3)
    for call in (lambda: xp.squeeze(x, 1), lambda: xp.broadcast_shapes((2,), (3,)),
                 lambda: xp.reshape(xp.permute_dims(xp.zeros((2, 3)), (1, 0)), (6,), copy=False)):
        with pytest.raises(ValueError):
            call()


def test_dtypes() -> None:
    assert xp.isdtype(xp.uint16, ("signed integer", "unsigned integer")) and not xp.isdtype(xp.bool, "numeric")
    assert xp.result_type(xp.int8, xp.uint8) is xp.int16 and xp.can_cast(xp.int8, xp.int16)
    assert not xp.can_cast(xp.int16, xp.int8) and not xp.can_cast(xp.int8, xp.float32)
    assert xp.add(xp.asarray(1, dtype=xp.uint16), xp.asarray(1, dtype=xp.int16)).dtype is xp.int32
    assert xp.add(xp.asarray([1], dtype=xp.uint8), 1).dtype is xp.uint8
    assert xp.finfo(xp.float32).dtype is xp.float32 and xp.iinfo(xp.asarray([1])).bits == 64
    info = xp.__array_namespace_info__()
    assert info.default_dtypes()["integral"] is xp.int64 and info.capabilities()["boolean indexing"]
    assert set(info.dtypes(kind="real floating")) == {"float32", "float64"}
    assert xp.floor_divide(xp.asarray([float("inf")]), 2.0).item() == float("inf")
    zeros = xp.remainder(xp.asarray([0.0, -0.0, 4.0]), xp.asarray([-2.0, 2.0, -2.0]))
    assert zeros.tolist() == [0.0] * 3 and xp.signbit(zeros).tolist() == [True, False, True]


def test_distinct_complex_numbers() -> None:
    found = xp.unique_all(xp.asarray([2j, 1.0, 1 + 1j, 2j, 1.0]))
    assert found.values.tolist() == [2j, 1, 1 + 1j] and found.counts.tolist() == [2, 2, 1]
    assert found.indices.tolist() == [0, 1, 2] and found.inverse_indices.tolist() == [0, 1, 2, 0, 1]


def test_products_of_small_integers() -> None:
    x1, x2 = xp.asarray([[3]], dtype=xp.uint8), xp.asarray([[1, 2], [4, 200]], dtype=xp.uint8)
    found = xp.tensordot(x1, x2, axes=1)  # the axis of size 1 stands for both elements
    assert found.dtype is xp.uint8 and found.tolist() == [[15, (3 * 202) % 256]]
    assert xp.repeat(x2, xp.asarray(2, dtype=xp.uint8), axis=0).tolist() == [[1, 2], [1, 2], [4, 200], [4, 200]]
    assert xp.eye(2, k=-2**70).tolist() == [[0, 0], [0, 0]]


def test_data_from_outside() -> None:
    buffer = array.array("f", [1.0, 2.0])
    shared = xp.asarray(buffer)
    buffer[0] = 5.0
    assert shared.tolist() == [5.0, 2.0] and shared.dtype is xp.float32
    assert xp.asarray(memoryview(b"ab")).tolist() == [97, 98]
    taken = np.zeros(2)
    assert xp.from_dlpack(taken, copy=True).add_(1).tolist() == [1.0, 1.0] and taken[0] == 0
    with pytest.raises(ValueError, match="copy=False"):
        xp.asarray([1], copy=False)
    x = xp.asarray([1.0])
    assert xp.asarray(x, copy=False) is x and xp.asarray(x, copy=True) is not x
    assert type(x.__dlpack__(max_version=(1, 1), copy=True)).__name__ == "PyCapsule"
    assert x.to_device("cpu").tolist() == [1.0]


def test_values_of_special_numbers() -> None:
    assert np.isnan(xp.sign(X)[1, 2].item()) and xp.clip(xp.asarray([-5, 300]), 0, 1000).tolist() == [0, 300]
    assert xp.clip(xp.asarray([-5, 100], dtype=xp.int8), -1000, 1000).tolist() == [-5, 100]
    odd: Any = xp.linspace(0, 1, 4, endpoint=False)
    assert odd.tolist() == [0.0, 0.25, 0.5, 0.75] and minigrad.zeros(1).__array_namespace__() is xp
