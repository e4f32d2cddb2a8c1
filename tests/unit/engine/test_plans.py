"""Stage: tests of realise. In: graphs that come again, with the same numbers or others. Out: what is compiled, and what
is found. Next: ``test_realise.py``."""

from __future__ import annotations

import gc
import math
import sys
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from minigrad import config
from minigrad.conformance.sources import leaf
from minigrad.dtype import DType, bool_, float16, float32, int32, int64, uint8, uint32, uint64
from minigrad.engine import inspect, plans, realise, to_numpy
from minigrad.engine.plans import PlanCache
from minigrad.engine.walk import walk
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.reference import evaluate
from minigrad.ops import Op
from minigrad.runtime.device import get_device


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    plans.clear()
    with config.config(TIERS=0):  # what is counted here is compiled plans; test_tiers.py has the others
        yield
    plans.clear()


def _compiled(output: LazyBuffer) -> tuple[int, np.ndarray]:
    """Kernels compiled to realise the output, and its value."""
    want = np.array(evaluate([output], to_numpy)[0])
    with inspect() as seen:
        realise([output])
    np.testing.assert_array_equal(to_numpy(output), want)
    assert seen.plan_hits + seen.plan_misses == 1 and bool(seen.compiled) == bool(seen.plan_misses)
    return seen.compiled, to_numpy(output)


X = np.arange(12.0, dtype=np.float32)


def _scaled(value: float, dtype: DType = float32) -> LazyBuffer:
    x = leaf(X.astype(dtype.numpy), dtype, "CPU")
    scaled = x.binary(Op.MUL, x.like(value))
    # of halves one op only: the reference rounds after each, a kernel where it stores
    return scaled.binary(Op.ADD, x.like(2)) if dtype is not float16 else scaled


def test_a_constant_becomes_an_argument_the_second_time() -> None:
    assert [_compiled(_scaled(v))[0] for v in (3.0, 3.0, 5.0, 5.0, 7.0, -7.5, 3.0)] == [1, 0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("dtype, values", [(float32, (0.0, -0.0, math.nan, math.inf, 1e-40)),
                                           (float16, (0.1, 0.3, 1e-7, 70000.0)),
                                           (int32, (1, 2, -(2**31), 2**31 - 1)), (int64, (1, -(2**63), 2**63 - 1)),
                                           (uint64, (1, 2**64 - 1, 2**63)), (uint8, (1, 255, 0))],
                         ids=lambda v: getattr(v, "name", ""))
def test_arguments_have_the_values_constants_had(dtype: DType, values: tuple[float, ...]) -> None:
    counts = [_compiled(_scaled(v, dtype))[0] for v in (3, *values)]
    assert counts[:2] == [1, 1] and sum(counts) <= 3, "a constant equal to 1 or 0 may be simplified away once"


def test_two_constants_that_vary_at_different_times() -> None:
    def program(a: float, b: float) -> LazyBuffer:
        x = leaf(X, float32, "CPU")
        return x.binary(Op.MUL, x.like(a)).binary(Op.SUB, x.like(b))

    counts = [_compiled(program(a, b))[0] for a, b in ((3, 4), (5, 4), (6, 4), (6, 9), (7, 8), (2, 30))]
    assert counts == [1, 1, 0, 1, 0, 0]


def test_shapes_are_part_of_a_plan() -> None:
    counts = [_compiled(leaf(np.ones(n, np.float32), float32, "CPU").unary(Op.NEG))[0] for n in (5, 6, 5, 6)]
    assert counts == [1, 1, 0, 0]


def test_bools_stay_constants() -> None:
    def program(value: bool) -> LazyBuffer:
        x = leaf(np.array([True, False]), bool_, "CPU")
        return x.binary(Op.XOR, x.like(value))

    assert [_compiled(program(v))[0] for v in (True, False, True, False)] == [1, 1, 0, 0]


def test_run_time_numbers_never_compile_again() -> None:
    def program(rate: float, dtype: DType) -> LazyBuffer:
        x = leaf(X.astype(dtype.numpy), dtype, "CPU")
        return x.binary(Op.MUL, LazyBuffer.scalar(rate, dtype, "CPU").reshape((1,)).expand(x.shape))

    for dtype, values in ((float32, (0.1, 0.2, math.nan, -0.0)), (float16, (0.1, 0.3)), (int64, (3, -(2**63))),
                          (uint64, (2**64 - 1, 5))):
        assert [_compiled(program(v, dtype))[0] for v in values] == [1] + [0] * (len(values) - 1)


def test_random_bits_of_another_shape_are_another_plan() -> None:
    for tiers in (0, 2):
        plans.clear()
        with config.config(TIERS=tiers):
            for n in (3, 1, 7):
                bits = LazyBuffer(Op.RANDOM_BITS, (LazyBuffer.const(5, uint64, (), "CPU"),), None, (n,), uint32, "CPU")
                want = np.array(evaluate([bits], to_numpy)[0])
                realise([bits])
                np.testing.assert_array_equal(to_numpy(bits), want)


def test_the_least_recently_used_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[object] = []

    def build(pending: object, free: object) -> object:
        built.append(pending)
        return SimpleNamespace(device=get_device("CPU"))

    monkeypatch.setattr(sys.modules[PlanCache.__module__], "compiler", lambda: SimpleNamespace(build=build))
    cache = PlanCache(capacity=2)

    def find(size: int) -> bool:
        return cache.find(walk([leaf(np.ones(size, np.float32), float32, "CPU").unary(Op.NEG)]))[1]

    assert [find(n) for n in (1, 2, 1, 3, 1, 2)] == [False, False, True, False, True, False]
    assert (cache.hits, cache.misses, len(cache.families), len(built)) == (2, 4, 2, 4)
    cache.clear()
    assert not find(1)


def test_a_plan_keeps_no_memory_alive() -> None:
    x = leaf(np.ones(1000, np.float32), float32, "CPU")
    gone: Callable[[], object] = weakref.ref(x.buffer)
    y = x.unary(Op.EXP)
    realise([y])
    del x, y
    gc.collect()
    assert gone() is None and plans.families
