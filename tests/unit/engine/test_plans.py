"""Stage: tests of realise. In: graphs that come again, with the same numbers or others. Out: what is compiled, and what
is found. Next: ``test_realise.py``."""

from __future__ import annotations

import gc
import math
import sys
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from minigrad import config
from minigrad.conformance.contractions import matmul
from minigrad.conformance.programs import softmax
from minigrad.conformance.sources import leaf
from minigrad.dtype import DType, bool_, float16, float32, int32, int64, uint8, uint32, uint64
from minigrad.engine import inspect, plans, realise, to_numpy
from minigrad.engine.plans import PlanCache
from minigrad.engine.walk import walk
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.reference import evaluate
from minigrad.kernel.ir import For, Kernel
from minigrad.ops import Op
from minigrad.runtime.device import get_device
from minigrad.schedule.plan import Plan
from minigrad.schedule.spec import KernelSpec


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


def _layers(count: int, last: str) -> LazyBuffer:
    """A network of equal layers on weights that differ; ``last`` is done to the result."""
    rng = np.random.default_rng(3)
    x = leaf(rng.standard_normal((128, 128)).astype(np.float32), float32, "CPU")
    for _ in range(count):
        w = leaf((rng.standard_normal((128, 128)) / 16).astype(np.float32), float32, "CPU")
        x = matmul(x, w).binary(Op.MAXIMUM, x.like(0.0))
    return x.reduce(last, (1,))


def test_equal_layers_are_compiled_once_and_for_later_plans_too() -> None:
    def run(count: int, last: str) -> tuple[int, int, int]:
        y = _layers(count, last)
        (want,) = evaluate([y], to_numpy)
        with inspect() as seen:
            realise([y])
        np.testing.assert_allclose(to_numpy(y), want, rtol=1e-4)
        return seen.launches, seen.compiled, seen.plan_misses

    launches, compiled, missed = run(12, Op.SUM)
    assert launches >= 12 and compiled <= 3 and missed == 1
    assert run(9, Op.SUM)[1:] == (0, 1), "a plan of kernels that are known compiles none"
    assert run(12, Op.MAX)[1] <= 2


def test_names_and_sources_of_kernels_that_share_code() -> None:
    y = _layers(4, Op.SUM)
    with inspect() as seen:
        realise([y])
    first, second = seen.kernels[:2]
    assert first.name == second.name and first.source == second.source and f"void {first.name}(" in first.source


def _kept(kinds: tuple[type, ...]) -> int:
    gc.collect()
    return sum(type(thing) in kinds for thing in gc.get_objects())


def test_a_plan_that_is_kept_holds_no_graph_and_no_loops() -> None:
    """What inspect and DEBUG show is made again; a run needs numbers and addresses."""
    kinds = (LazyBuffer, Kernel, For, KernelSpec, Plan)

    def run(rows: int) -> None:
        x = leaf(np.ones((rows, 70), np.float32), float32, "CPU")
        realise([x.unary(Op.EXP).reduce(Op.SUM, (1,)).unary(Op.LOG)])

    run(40)
    before = _kept(kinds)
    for rows in range(41, 47):
        run(rows)
    assert len(plans.families) == 7 and _kept(kinds) <= before


def test_a_kept_plan_is_small() -> None:
    """Beside its code: a recipe and a key, far less than 50 KB."""
    def run(rows: int) -> None:
        realise([softmax(leaf(np.ones((rows, 70), np.float32), float32, "CPU"), (1,))])

    for rows in range(300, 310):
        run(rows)  # the caches of index expressions are full of these
    plans.clear()
    gc.collect()
    tracemalloc.start()
    for rows in range(300, 310):
        run(rows)
    gc.collect()
    kept, held = len(plans.families), tracemalloc.get_traced_memory()[0]
    plans.clear()
    gc.collect()
    size = held - tracemalloc.get_traced_memory()[0]  # what the plans kept; caches that others share may have grown
    tracemalloc.stop()
    assert kept == 10 and 10_000 < size < 10 * 50_000
