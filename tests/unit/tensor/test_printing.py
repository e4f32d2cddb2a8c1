"""Stage: tests of tensor. In: ``minigrad.tensor.printing``. Out: golden texts hold, options do what they say.
The texts are PyTorch 2.13's, with ``minigrad.`` for ``torch.``;
``tests/torch/test_printing_against_torch.py`` compares many more where PyTorch is there.
Next: the other rooms' tests."""

from collections.abc import Iterator

import numpy as np
import pytest

from minigrad.dtype import bfloat16
from minigrad.tensor import printing
from minigrad.tensor.printing import PrintOptions, format_return_type, format_tensor, set_printoptions


@pytest.fixture(autouse=True)
def default_options() -> Iterator[None]:
    set_printoptions(profile="default")
    yield
    set_printoptions(profile="default")


def f32(values: object) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize(("array", "text"), [
    (f32([1, 2, 3]), "tensor([1., 2., 3.])"),
    (f32([[6, 8], [10, 12]]), "tensor([[ 6.,  8.],\n        [10., 12.]])"),
    (f32(2.5), "tensor(2.5000)"),
    (f32(7), "tensor(7.)"),
    (f32(0), "tensor(0.)"),
    (f32([1, -2.5]), "tensor([ 1.0000, -2.5000])"),
    (f32([1000, 0.5]), "tensor([1.0000e+03, 5.0000e-01])"),
    (f32([500, 0.5]), "tensor([500.0000,   0.5000])"),
    (f32([1e-5, 1e-5]), "tensor([1.0000e-05, 1.0000e-05])"),
    (f32([1, 1001]), "tensor([1.0000e+00, 1.0010e+03])"),
    (f32([1, 1000]), "tensor([   1., 1000.])"),
    (np.array([1e-4, 0.05]), "tensor([0.0001, 0.0500], dtype=minigrad.float64)"),
    (np.array([9e-5, 0.05]), "tensor([9.0000e-05, 5.0000e-02], dtype=minigrad.float64)"),
    (f32([2e8]), "tensor([2.0000e+08])"),
    (f32([1e8]), "tensor([100000000.])"),
    (f32([np.nan, 1, np.inf, -np.inf]), "tensor([nan, 1., inf, -inf])"),
    (f32([np.nan, 1.5, -np.inf]), "tensor([   nan, 1.5000,   -inf])"),
    (f32([np.nan, 0, -0.0]), "tensor([nan, 0., -0.])"),
    (np.array([1, -20, 300]), "tensor([  1, -20, 300])"),
    (np.array([True, False]), "tensor([ True, False])"),
    (np.array(True), "tensor(True)"),
    (np.array(-3), "tensor(-3)"),
    (np.array([1, 2], np.int32), "tensor([1, 2], dtype=minigrad.int32)"),
    (np.array([255], np.uint8), "tensor([255], dtype=minigrad.uint8)"),
    (np.array(999.0), "tensor(999., dtype=minigrad.float64)"),
    (np.array([1.5], np.float16), "tensor([1.5000], dtype=minigrad.float16)"),
    (np.array([0.1], bfloat16.numpy), "tensor([0.1001], dtype=minigrad.bfloat16)"),
    (np.array([]).astype(np.float32), "tensor([])"),
    (np.zeros((0, 3), np.float32), "tensor([], size=(0, 3))"),
    (np.zeros(0, np.int64), "tensor([], dtype=minigrad.int64)"),
    (np.zeros((2, 0), bool), "tensor([], size=(2, 0), dtype=minigrad.bool)"),
    (np.eye(2, dtype=np.float32)[None], "tensor([[[1., 0.],\n         [0., 1.]]])"),
    (np.arange(4).reshape(2, 1, 2), "tensor([[[0, 1]],\n\n        [[2, 3]]])"),
    (np.arange(30), "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n"
                    "        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29])"),
    (np.full((1, 1, 12), 100, np.float32),
     "tensor([[[100., 100., 100., 100., 100., 100., 100., 100., 100., 100., 100.,\n          100.]]])"),
    (np.zeros(1001, np.float32), "tensor([0., 0., 0.,  ..., 0., 0., 0.])"),
    (np.zeros((7, 200), np.float32), "tensor([[0., 0., 0.,  ..., 0., 0., 0.],\n"
                                     "        [0., 0., 0.,  ..., 0., 0., 0.],\n"
                                     "        [0., 0., 0.,  ..., 0., 0., 0.],\n"
                                     "        ...,\n"
                                     "        [0., 0., 0.,  ..., 0., 0., 0.],\n"
                                     "        [0., 0., 0.,  ..., 0., 0., 0.],\n"
                                     "        [0., 0., 0.,  ..., 0., 0., 0.]])"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_texts(array: np.ndarray, text: str) -> None:
    assert format_tensor(array) == text


def test_hidden_elements_have_no_say_in_the_format() -> None:
    array = np.zeros(2000, np.float32)
    array[1000] = 1e-7
    assert format_tensor(array) == "tensor([0., 0., 0.,  ..., 0., 0., 0.])"


def test_suffixes() -> None:
    x = f32([1])
    assert format_tensor(x, requires_grad=True) == "tensor([1.], requires_grad=True)"
    assert format_tensor(x, requires_grad=True, grad_fn_name="MulBackward0") == "tensor([1.], grad_fn=<MulBackward0>)"
    assert format_tensor(x, device_suffix="device='cc'") == "tensor([1.], device='cc')"
    assert format_tensor(np.ones(1), device_suffix="device='cc'", requires_grad=True) == (
        "tensor([1.], device='cc', dtype=minigrad.float64, requires_grad=True)")
    assert format_tensor(np.ones(1), dtype_suffix="") == "tensor([1.])"


def test_a_suffix_that_does_not_fit_starts_a_line() -> None:
    x = np.full(8, 0.5)
    assert format_tensor(x, grad_fn_name="MulBackward0") == (
        "tensor([0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000],\n"
        "       dtype=minigrad.float64, grad_fn=<MulBackward0>)")
    fits, breaks = (format_tensor(f32([1]), requires_grad=True, options=PrintOptions(linewidth=w)) for w in (33, 32))
    assert (fits, breaks) == ("tensor([1.], requires_grad=True)", "tensor([1.],\n       requires_grad=True)")
    for width in range(20, 60):
        for line in format_tensor(x[:1], requires_grad=True, options=PrintOptions(linewidth=width)).splitlines():
            assert len(line) <= max(width, len("       dtype=minigrad.float64,"))


def test_printoptions() -> None:
    x = f32([0.123456, 2])
    set_printoptions(precision=2)
    assert format_tensor(x) == "tensor([0.12, 2.00])"
    set_printoptions(sci_mode=True)
    assert format_tensor(x) == "tensor([1.23e-01, 2.00e+00])"
    set_printoptions()  # sci_mode is not kept, precision is
    assert format_tensor(x) == "tensor([0.12, 2.00])"
    set_printoptions(profile="default", sci_mode=False)
    assert format_tensor(f32([1e-6, 1])) == "tensor([0.0000, 1.0000])"
    set_printoptions(profile="short")
    assert format_tensor(np.arange(2000)) == "tensor([   0,    1,  ..., 1998, 1999])"
    set_printoptions(profile="full")
    assert "..." not in format_tensor(np.arange(2000))
    set_printoptions(profile="default", threshold=2, edgeitems=1, linewidth=20)
    assert printing.get_printoptions() == PrintOptions(threshold=2, edgeitems=1, linewidth=20)
    assert format_tensor(np.arange(9)) == "tensor([0,  ..., 8])"
    set_printoptions(edgeitems=0)
    assert format_tensor(np.arange(9)) == "tensor([...],\n       size=(9,))"


def test_unknown_profile() -> None:
    with pytest.raises(ValueError, match="unknown print profile 'wide'; the profiles are default, short, full"):
        set_printoptions(profile="wide")


def test_return_types() -> None:
    fields = [("values", format_tensor(f32([[1, 2], [3, 4]]))), ("indices", format_tensor(np.array([0, 1])))]
    assert format_return_type("max", fields) == (
        "minigrad.return_types.max(\nvalues=tensor([[1., 2.],\n        [3., 4.]]),\nindices=tensor([0, 1]))")


def test_arrays_of_any_layout() -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert format_tensor(x.T) == format_tensor(x.T.copy())
    assert format_tensor(np.broadcast_to(f32(2.0), (2, 2))) == "tensor([[2., 2.],\n        [2., 2.]])"


def test_many_dimensions() -> None:
    x = np.zeros((1,) * 12, np.float32)
    assert format_tensor(x) == "tensor(" + "[" * 12 + "0." + "]" * 12 + ")"
