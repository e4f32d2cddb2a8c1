"""Stage: tests beside PyTorch. In: ``minigrad.tensor.printing`` and ``torch``. Out: the same texts for random
tensors of every kind. Skipped where PyTorch is not installed.
Lines may break elsewhere where ``minigrad.`` is longer than ``torch.``; so the text with PyTorch's own dtype
name must be equal, and the text with ours equal up to line breaks.
Next: ``tests/unit/tensor/test_printing.py`` for the texts one by one."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from minigrad.dtype import BY_NAME
from minigrad.tensor.printing import PrintOptions, format_return_type, format_tensor

torch = pytest.importorskip("torch")

SMALL = [(), (1,), (2,), (5,), (40,), (0,), (2, 3), (8, 1), (7, 12), (12, 40), (0, 3), (3, 0), (2, 3, 4), (3, 1, 9),
         (2, 0, 2), (2, 1, 3, 2), (1, 2, 1, 2, 2)]
LARGE = [(1001,), (2000,), (40, 30), (7, 200), (3, 400), (11, 10, 10), (5, 5, 7, 9), (1000,), (6, 167), (1, 1, 1, 1200),
         (4, 7, 8, 9), (2000, 1), (1100, 0)]
TYPES = ["float32"] * 5 + ["float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0]


@pytest.fixture(autouse=True)
def default_options() -> Iterator[None]:
    torch.set_printoptions(profile="default")
    yield
    torch.set_printoptions(profile="default")


def random_array(choose: random.Random, numbers: np.random.Generator) -> np.ndarray:
    shape = choose.choice(SMALL if choose.random() < 0.8 else LARGE)
    name = choose.choice(TYPES)
    dtype = BY_NAME[name]
    if name == "bool":
        return np.asarray(numbers.random(shape) > 0.5)
    if dtype.is_int:
        low = max(int(dtype.min), -(10 ** choose.randint(0, 18)))
        high = min(int(dtype.max), 10 ** choose.randint(0, 18))
        return numbers.integers(low, high, shape, endpoint=True).astype(dtype.numpy)
    array = np.asarray(numbers.normal(size=shape) * 10.0 ** choose.choice([0, 0, 0, -1, -3, -4, -5, 2, 3, 5, 8, 9]))
    if choose.random() < 0.3:
        array = np.round(array)
    if choose.random() < 0.1:
        array = array**5
    if choose.random() < 0.25:
        array = np.where(numbers.random(shape) < choose.choice([0.2, 1]), choose.choice(SPECIAL), array)
    with np.errstate(all="ignore"):
        return np.asarray(array).astype(dtype.numpy)


def random_options(choose: random.Random) -> dict[str, Any]:
    if choose.random() < 0.6:
        return {}
    return {"precision": choose.choice([0, 2, 4, 7]), "threshold": choose.choice([0, 10, 1000]),
            "edgeitems": choose.choice([0, 1, 3, 5]), "linewidth": choose.choice([20, 50, 80, 200]),
            "sci_mode": choose.choice([None, True, False])}


def to_torch(array: np.ndarray):
    if array.dtype.name == "bfloat16":
        return torch.tensor(array.astype(np.float32)).bfloat16()
    return torch.tensor(array)


@pytest.mark.parametrize("seed", range(20))
def test_random_tensors(seed: int) -> None:
    choose, numbers = random.Random(seed), np.random.default_rng(seed)
    for _ in range(60):
        array, options = random_array(choose, numbers), random_options(choose)
        tensor, extras = to_torch(array), {}
        if tensor.dtype.is_floating_point and choose.random() < 0.4:
            tensor.requires_grad_()
            extras = {"requires_grad": True}
            if choose.random() < 0.5:
                tensor = tensor * 1
                extras["grad_fn_name"] = type(tensor.grad_fn).__name__
                with np.errstate(all="ignore"):
                    array = tensor.detach().double().numpy().astype(array.dtype)
        torch.set_printoptions(profile="default")
        torch.set_printoptions(**options)
        theirs = repr(tensor)
        suffix = f"dtype={tensor.dtype}" if "dtype=" in theirs else ""
        described = f"{array.dtype.name} {array.shape} {options}"
        assert format_tensor(array, dtype_suffix=suffix, options=PrintOptions(**options), **extras) == theirs, described
        ours = format_tensor(array, options=PrintOptions(**options), **extras)
        assert ours.split() == theirs.replace("torch.", "minigrad.").split(), described


@pytest.mark.parametrize("call", [lambda x: x.max(1), lambda x: x.min(0), lambda x: x.sort(), lambda x: x.topk(2)])
def test_return_types(call) -> None:
    result = call(torch.tensor([[3.0, 1.5, 2.0], [0.0, -4.0, 9.0]]))
    fields = [(name, format_tensor(getattr(result, name).numpy())) for name in ("values", "indices")]
    name = type(result).__name__
    assert format_return_type(name, fields) == repr(result).replace("torch.", "minigrad.")
