"""Stage: tests of tensor. In: subclasses of Tensor, and other classes with ``__torch_function__``. Out: calls ask them,
and by default the results are of the subclass.
Next: ``test_views.py``."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import Tensor, nn, overrides
from minigrad.nn import functional as F
from minigrad.tensor import overrides as core


class Kept(Tensor):
    """A subclass without a handler of its own."""


class Foreign:
    """Not a Tensor at all: it answers every call with what was called."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func.__name__, len(args), kwargs, [t.__name__ for t in types]


@pytest.fixture
def kept() -> Any:
    core.arm()  # as defining the class did, for the first test only
    return minigrad.tensor([1.0, 2.0, 3.0]).as_subclass(Kept)


def test_ops_on_a_subclass_keep_it(kept: Any) -> None:
    plain = minigrad.ones(3)
    kept = kept.clone()
    for result in (kept + 1, 1 - kept, plain + kept, plain.add(kept), kept[0], kept.sum(), kept.T, -kept, plain @ kept,
                   minigrad.add(plain, kept), minigrad.cat([plain, kept]), minigrad.stack((kept, kept)),
                   minigrad.where(kept > 1, kept, plain), F.relu(kept), F.linear(plain, minigrad.ones(2, 3) * kept),
                   nn.Linear(3, 2)(kept), minigrad.zeros_like(kept), kept.to(minigrad.float64), kept.detach(),
                   minigrad.einsum("i,i", plain, kept), kept.data, kept == 1, kept.max(0).values, kept.split(1)[0],
                   copy.copy(kept), pickle.loads(pickle.dumps(kept)), kept.requires_grad_()):
        assert type(result) is Kept
    assert type(kept.max(0)) is minigrad.return_types.max
    assert type(kept.shape) is minigrad.Size and type(kept.tolist()) is list and float(kept[0]) == 1.0


def test_values_and_gradients_are_those_of_tensors(kept: Any) -> None:
    x = minigrad.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = (x.as_subclass(Kept) * 2).exp().sum()
    assert type(y) is Kept and y.grad_fn.name() == "AliasBackward0"
    y.backward()
    want = 2 * minigrad.exp(2 * x.detach())
    assert (x.grad - want).abs().max().item() < 1e-3 and type(x.grad) is Tensor


def test_memory_is_shared(kept: Any) -> None:
    base = minigrad.zeros(2)
    alias = base.as_subclass(Kept)
    alias.add_(1)
    assert base.tolist() == [1.0, 1.0] and type(alias) is Kept
    leaf = Tensor._make_subclass(Kept, base, True)
    assert type(leaf) is Kept and leaf.is_leaf and leaf.requires_grad and leaf.grad_fn is None
    with pytest.raises(TypeError, match="Creating a Tensor subclass from a class that does not inherit from Tensor"):
        base.as_subclass(int)
    with pytest.raises(TypeError, match=r"_make_subclass\(\): argument 'data' \(position 2\) must be Tensor, not list"):
        Tensor._make_subclass(Kept, [1.0])


def test_a_handler_is_called_with_the_method_and_the_classes() -> None:
    seen = []

    class Seeing(Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append((func.__name__, types, kwargs))
            return super().__torch_function__(func, types, args, kwargs or {})

    x = minigrad.ones(2).as_subclass(Seeing)
    for call, name in ((lambda: x + 1, "add"), (lambda: 1 - x, "__rsub__"), (lambda: x % 2, "remainder"),
                       (lambda: x < 1, "lt"), (lambda: abs(x), "abs"), (lambda: x.cumsum(0), "cumsum"),
                       (lambda: minigrad.cat([x]), "cat"), (lambda: x.shape, "__get__"), (lambda: x[0], "__getitem__"),
                       (lambda: F.gelu(x), "gelu"), (lambda: Tensor.add(minigrad.ones(2), x), "add")):
        seen.clear()
        call()
        assert seen[0][0] == name and seen[0][1] == (Seeing,), name
    seen.clear()
    minigrad.add(x, 1, alpha=2)
    assert seen[0][2] == {"alpha": 2}
    with core.disabled():
        assert type(x + 1) is Tensor


def test_a_foreign_class_is_asked() -> None:
    a, p = Foreign(), minigrad.ones(2)
    assert minigrad.mean(a) == ("mean", 1, None, ["Foreign"])
    assert minigrad.add(p, a, alpha=2) == ("add", 2, {"alpha": 2}, ["Foreign"])
    assert minigrad.cat([p, a])[0] == "cat" and p + a == ("add", 2, None, ["Foreign"])
    assert p.mul(a)[0] == "mul" and F.relu(a)[0] == "relu" and minigrad.split(a, 2)[0] == "split"
    assert overrides.has_torch_function((p, a)) and not overrides.has_torch_function((p,))
    assert overrides.is_tensor_like(a) and not overrides.is_tensor_like(3)


def test_a_handler_sees_the_public_function_and_can_name_it(kept: Any) -> None:
    seen = []

    class Seeing(overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func)
            return func(*args, **(kwargs or {}))

    x = minigrad.ones(2)
    with Seeing():
        minigrad.div(x, other=x)
        F.relu(x)
        _ = x.T
    assert seen[0] is minigrad.div
    assert [overrides.resolve_name(f) for f in seen] == [
        "torch.div", "torch.nn.functional.relu", "torch.Tensor.T.__get__"]
    assert overrides.resolve_name(len) is None
    assert [type(part) for part in kept] == [Kept] * 3


def _always(x: Any) -> Any:
    """A function that asks without looking whether anybody is to be asked."""
    return overrides.handle_torch_function(_always, (x,), x)


def test_who_is_asked_first_and_who_declines() -> None:
    class First(Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return cls.__name__

    class Second(First):
        pass

    class Declines(Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return NotImplemented

    first, second, declines = [minigrad.ones(1).as_subclass(c) for c in (First, Second, Declines)]
    assert minigrad.add(first, second) == "Second" and minigrad.add(declines, first) == "First"
    with pytest.raises(TypeError, match="Multiple dispatch failed for 'torch.add'; all __torch_function__ handlers"):
        minigrad.add(declines, 1)
    with pytest.raises(TypeError, match=r"no implementation found for '[\w.]*always' on types that implement"):
        _always(minigrad.ones(1).as_subclass(Kept))  # the default handler calls it, and it asks again
    with pytest.raises(TypeError, match="unsupported operand"):
        declines + 1


def test_parameters_take_no_part() -> None:
    class Off(Tensor):
        __torch_function__ = core.not_asked

    nn.Linear(2, 2)
    assert not core.armed
    weight = nn.Parameter(minigrad.ones(2))
    assert type(weight + 1) is Tensor and type(minigrad.ones(1).as_subclass(Off) + 1) is Tensor


def test_modes_see_all_calls() -> None:
    names = []

    class Names(overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            names.append(func.__name__)
            return func(*args, **(kwargs or {}))

    with Names():
        (minigrad.ones(2) + 1).exp()
    minigrad.ones(2)
    assert names == ["ones", "add", "exp"]


def test_the_checks_are_taken_out_again() -> None:
    before = Tensor.add, F.relu, Tensor.shape
    core.arm()
    assert Tensor.add is not before[0] and F.relu is not before[1]
    core.disarm()
    assert (Tensor.add, F.relu, Tensor.shape) == before and "add" not in vars(Tensor)


def test_a_handler_that_hands_the_call_back_is_asked_once() -> None:
    """As tensors of another library do, which call the function again."""
    class Returned:
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}))

    x, other = minigrad.ones(2), Returned()
    for call in (lambda: minigrad.maximum(x, other), lambda: x.dot(other), lambda: minigrad.cat([x, other]),
                 lambda: x.copy_(other), lambda: F.linear(x, other)):
        with pytest.raises(TypeError, match="all __torch_function__ handlers returned NotImplemented"):
            call()
    assert x.tolist() == [1, 1]


def test_data_of_another_library_is_copied() -> None:
    class Array:
        """An array that can be walked, whose elements are arrays."""

        def __init__(self, array: Any) -> None:
            self.array = np.asarray(array)

        def __len__(self) -> int:
            return len(self.array)

        def __getitem__(self, at: Any) -> Array:
            return Array(self.array[at])

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.array(self.array, dtype)

    x = Array(np.arange(6, dtype=np.int16).reshape(2, 3))
    assert minigrad.tensor(x).dtype == minigrad.int16 and minigrad.as_tensor(x).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert minigrad.tensor([x[0], x[1]]).tolist() == [[0, 1, 2], [3, 4, 5]]
