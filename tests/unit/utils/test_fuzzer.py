"""Stage: tests of measuring. In: parameters and Tensors to be drawn. Out: what is drawn keeps to what was said of it.
Next: ``test_benchmark.py``."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad.utils.benchmark import FuzzedParameter, FuzzedTensor, Fuzzer, ParameterAlias, Timer


def drawn(*of: Any, count: int = 2000) -> Counter[Any]:
    parameter, state = FuzzedParameter("a", *of), np.random.RandomState(0)
    return Counter([parameter.sample(state) for _ in range(count)])


def test_distributions() -> None:
    even = drawn(1, 4, "uniform")
    assert set(even) == {1, 2, 3, 4} and all(abs(n - 500) < 80 for n in even.values())
    logarithmic = drawn(1, 99, "loguniform")
    assert abs(sum(n for value, n in logarithmic.items() if value < 10) - 1000) < 120
    assert min(logarithmic) == 1 and max(logarithmic) == 99
    assert all(isinstance(value, float) and 0.5 <= value <= 2 for value in drawn(0.5, 2, "uniform", count=50))
    assert all(isinstance(value, float) and 0.5 <= value <= 2 for value in drawn(0.5, 2, "loguniform", count=50))
    chosen = drawn(None, None, {"x": 0.75, "y": 0.25, "z": 0})
    assert set(chosen) == {"x", "y"} and abs(chosen["x"] - 1500) < 120


@pytest.mark.parametrize(("make", "message"), [
    (lambda: FuzzedParameter("a", 1, 2), "Unknown distribution: None"),
    (lambda: FuzzedParameter("a", 1, 2, "normal"), "Unknown distribution: normal"),
    (lambda: FuzzedParameter("a", distribution="uniform"), "needs minval and maxval"),
    (lambda: FuzzedParameter("a", 3, 2, "uniform"), "minval 3 is above maxval 2"),
    (lambda: FuzzedParameter("a", 0, 2, "loguniform"), "above 0"),
    (lambda: FuzzedParameter("a", 1, 2, {1: 1.0}), "no minval"),
    (lambda: FuzzedParameter("a", distribution={1: -0.5, 2: 1.5}), "Probabilities cannot be negative"),
    (lambda: FuzzedParameter("a", distribution={1: 0.5}), "sum to 0.5, not to 1"),
    (lambda: FuzzedTensor("x", ("a",), steps=(1, 2)), "1 sizes, but 2 steps"),
    (lambda: Fuzzer([FuzzedParameter("x", 1, 2, "uniform")], [FuzzedTensor("x", (3,))]), "Duplicate names"),
    (lambda: list(Fuzzer([], [FuzzedTensor("x", ("a",))]).take(1)), "no parameter 'a'"),
    (lambda: list(Fuzzer([], [FuzzedTensor("x", (3,), min_elements=4)]).take(1)), "Failed to generate a set of valid"),
    (lambda: list(Fuzzer([FuzzedParameter("a", distribution={ParameterAlias("b"): 1.0}),
                          FuzzedParameter("b", distribution={ParameterAlias("a"): 1.0})], []).take(1)),
     "cycle detected: a -> b -> a")])
def test_what_cannot_be_says_so(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_other_mistakes() -> None:
    with pytest.raises(TypeError, match="expected FuzzedParameters, or lists of them, not int"):
        Fuzzer([3], [])  # type: ignore[list-item]
    with pytest.raises(KeyError, match="no parameter 'z'"):
        list(Fuzzer([FuzzedParameter("a", distribution={ParameterAlias("z"): 1.0})], []).take(1))


def test_tensors_are_as_said() -> None:
    sides = [FuzzedParameter(name, 1, 12, "uniform") for name in ("i", "j", "k")]
    dims = FuzzedParameter("dims", distribution={1: 0.3, 2: 0.3, 3: 0.4}, strict=True)
    x = FuzzedTensor("x", ("i", "j", "k"), steps=(1, 2, "i"), probability_contiguous=0.3, min_elements=4,
                     max_elements=200, max_allocation_bytes=8000, dim_parameter="dims")
    y = FuzzedTensor("y", ("k", 2), probability_contiguous=1.0, dtype=minigrad.int64)
    orders, seen_dims = set(), Counter[int]()
    for tensors, said, sizes in Fuzzer([sides, dims], [[x], y], [lambda p: p["i"] != 5], seed=1).take(200):
        made, about = tensors["x"], said["x"]
        wanted = (sizes["i"], sizes["j"], sizes["k"])[:sizes["dims"]]
        assert tuple(made.shape) == wanted and 4 <= made.numel() == about["numel"] <= 200
        assert about["is_contiguous"] == made.is_contiguous() and about["dtype"] == "minigrad.float32"
        assert about["steps"] == (1, 2, sizes["i"])[:sizes["dims"]]
        if made.dim() == 3:
            orders.add(tuple(about["order"].tolist()))
            larger = tuple(n * step for n, step in zip(wanted, about["steps"], strict=True))
            plain = minigrad.empty(larger).permute(about["order"].tolist()).contiguous()
            strides = plain.permute(np.argsort(about["order"]).tolist())[::1, ::2, ::sizes["i"]].stride()
            assert made.stride() == strides
        assert sizes["i"] != 5 and tensors["y"].shape == (sizes["k"], 2) and tensors["y"].is_contiguous()
        assert tensors["y"].dtype is minigrad.int64
        seen_dims[sizes["dims"]] += 1
    assert len(orders) == 6 and min(seen_dims.values()) > 40  # none is rarer for being strict


def test_the_same_from_a_seed_on() -> None:
    def made(seed: int) -> list[Any]:
        fuzzer = Fuzzer([FuzzedParameter("n", 1, 9, "uniform")], [FuzzedTensor("x", ("n", 3))], seed=seed)
        first = [(sizes, tensors["x"].tolist()) for tensors, _, sizes in fuzzer.take(5)]
        assert first == [(sizes, tensors["x"].tolist()) for tensors, _, sizes in fuzzer.take(5)]
        return first

    assert made(3) == made(3) != made(4)


def test_rejections_are_counted() -> None:
    fuzzer = Fuzzer([FuzzedParameter("n", 1, 4, "uniform")], [], [lambda p: p["n"] == 1], seed=0)
    assert fuzzer.rejection_rate == 0
    list(fuzzer.take(200))
    assert 0.6 < fuzzer.rejection_rate < 0.9


def test_a_constructor_of_ones_own() -> None:
    given: list[Any] = []

    def ones(size: Any, dtype: Any, **params: Any) -> minigrad.Tensor:
        given.append((size, dtype, params))
        return minigrad.ones(size, dtype=dtype)

    x = FuzzedTensor("x", ("n",), steps=(3,), tensor_constructor=ones, dtype=minigrad.float64)
    (tensors, _, _), = Fuzzer([FuzzedParameter("n", 2, 2, "uniform")], [x]).take(1)
    assert tensors["x"].tolist() == [1, 1] and given == [((6,), minigrad.float64, {"n": 2})]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float16", "complex64"])
def test_dtypes(dtype: str) -> None:
    x = FuzzedTensor.default_tensor_constructor((40,), getattr(minigrad, dtype))
    assert x.dtype is getattr(minigrad, dtype) and len(set(x.tolist())) > 1


def test_a_timer_of_what_is_drawn() -> None:
    fuzzer = Fuzzer([FuzzedParameter("n", 2, 9, "uniform")], [FuzzedTensor("x", ("n", "n")), FuzzedTensor("y", ("n",))])
    for tensors, _, sizes in fuzzer.take(2):
        assert Timer("x @ y", globals=tensors, sub_label=str(sizes)).timeit(3).median > 0
