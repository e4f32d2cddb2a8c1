"""Stage: tests of realise. In: graphs of many and of few nodes. Out: which tier runs them, the same in every run of a
program; and what is shown of it. Next: ``test_tier0.py``."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator

import numpy as np
import pytest

import minigrad
from minigrad.conformance.sources import leaf
from minigrad.dtype import float32
from minigrad.engine import inspect, plans, realise, tiers, to_numpy
from minigrad.engine.plans import PlanCache
from minigrad.engine.tier0 import DirectProgram
from minigrad.engine.walk import walk
from minigrad.graph.function import Subgraph, call, param
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from tools import tiers as tools


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    plans.clear()
    yield
    plans.clear()


def _leaf(n: int = 4) -> LazyBuffer:
    return leaf(np.arange(n, dtype=np.float32), float32, "CPU")


def _long(x: LazyBuffer, length: int = tiers.MANY) -> LazyBuffer:
    for _ in range(length):
        x = x.unary(Op.NEG).unary(Op.ABS)
    return x


def _tier(cache: PlanCache, *outputs: LazyBuffer) -> tuple[int, bool]:
    found, hit = cache.find(walk(outputs))
    return found.tier, hit


def test_few_nodes_are_compiled_and_many_are_run_at_once() -> None:
    cache = PlanCache()
    x = _leaf()
    assert _tier(cache, x.unary(Op.NEG)) == (1, False)
    assert _tier(cache, _long(x)) == (0, False)
    assert _tier(cache, _long(x)) == (0, True)
    with minigrad.config(TIERS=0):
        assert _tier(PlanCache(), _long(x, 130)) == (1, False)
        assert _tier(cache, _long(x, 130)) == (1, False)
    with minigrad.config(TIERS=2):
        assert _tier(PlanCache(), x.unary(Op.NEG)) == (0, False)


def test_sizes_that_vary_are_run_at_once_from_the_second_on() -> None:
    cache = PlanCache()
    assert [_tier(cache, _leaf(n).unary(Op.NEG)) for n in (1, 1, 2, 1, 3, 2)] == [
        (1, False), (1, True), (0, False), (1, True), (0, False), (0, True)]
    assert _tier(cache, _leaf(5).unary(Op.ABS)) == (1, False), "another structure"


def test_graphs_that_differ_in_length_only_are_run_at_once_from_the_fifth_on() -> None:
    cache = PlanCache()
    parts = [_leaf() for _ in range(8)]

    def tier(length: int) -> int:
        total = parts[0].unary(Op.NEG)
        for part in parts[:length]:
            total = total.binary(Op.ADD, part)
        return _tier(cache, total)[0]

    assert [tier(n) for n in (2, 3, 4, 5, 3, 6, 7, 6, 5)] == [1, 1, 1, 1, 1, 0, 0, 0, 1]
    assert _tier(cache, parts[0].unary(Op.NEG).binary(Op.MUL, parts[1])) == (1, False), "another kind of node"


def test_large_work_is_compiled_at_once() -> None:
    pending = walk([_long(_leaf(1 << 22))])
    cost = tiers.cost_of(pending.order)
    assert cost.run > cost.compile and tiers.choose(pending, cost, tiers.Sightings()) == 1


def test_what_comes_often_is_compiled() -> None:
    """When the runs so far would have paid for it; counted, not timed."""
    cache = PlanCache()
    x = _leaf(1 << 16)
    cost = tiers.cost_of(walk([_long(x, 130)]).order)
    runs = -(-cost.compile // cost.run)
    found = [_tier(cache, _long(x, 130))[0] for _ in range(int(runs) + 2)]
    assert found == [0] * int(runs) + [1, 1]
    assert not cache.programs and not cache.calls, "the program of tier 0 is forgotten"


def test_what_is_replayed_often_is_compiled() -> None:
    """Replayed runs are paid for as those with a graph are: ``account`` says when nothing is left."""
    cache = PlanCache()
    pending = walk([_long(_leaf(1 << 16), 130)])
    cost = tiers.cost_of(pending.order)
    program, _ = cache.find(pending)
    assert isinstance(program, DirectProgram) and program.account is not None
    runs = 1
    while runs < 10_000 and program.account():
        runs += 1
    assert runs == -(-cost.compile // cost.run) - 1
    assert _tier(cache, _long(_leaf(1 << 16), 130)) == (1, False)


def test_composites_count_with_what_is_in_them() -> None:
    x = param(0, (3,), float32, "CPU")
    body = Subgraph("twice", [x], [x.unary(Op.NEG).binary(Op.ADD, x)])
    y = call(body, call(body, [_leaf(3)]))
    assert tiers.cost_of(walk(y).order) == tiers.Cost(4, 12, 0, new=2), "the same kernel is compiled once"


def test_layers_that_are_the_same_are_compiled_once_and_what_reduces_costs_most() -> None:
    """So an optimizer's update of many tensors is compiled at once, and a network of many layers soon."""
    x = param(0, (3,), float32, "CPU")
    body = Subgraph("twice", [x], [x.unary(Op.NEG).binary(Op.ADD, x)])
    many = walk([y for _ in range(tiers.MANY) for y in call(body, [_leaf(3)])])
    cost = tiers.cost_of(many.order)
    assert (cost.nodes, cost.new) == (2 * tiers.MANY, 2) and tiers.choose(many, cost, tiers.Sightings()) == 1
    sums = walk([_leaf(n).reduce(Op.SUM, (0,)) for n in range(2, 2 + tiers.MANY // 2)])
    cost = tiers.cost_of(sums.order)
    assert cost.new < tiers.MANY and cost.compile > tiers.SOON and tiers.choose(sums, cost, tiers.Sightings()) == 0


def test_the_model_has_the_magnitude_of_what_is_measured() -> None:
    """No kind of op counts for a fifth, or five times, of what tier 0 takes for it, when all together are right: one
    processor is faster than another."""
    taken = {kind: tools.compared(make) for kind, make in tools.kinds().items()}
    ratios = {kind: modelled / measured for kind, (modelled, measured) in taken.items()}
    middle = statistics.geometric_mean(ratios.values())
    assert all(0.2 < ratio / middle < 5 for ratio in ratios.values()), ratios


def test_constants_are_numbers_that_a_program_is_given() -> None:
    cache, x = PlanCache(), _leaf()
    x.owners += 1  # as if a Tensor held it

    def graph(label: float) -> LazyBuffer:
        return _long(x).binary(Op.MUL, x.like(label))

    assert _tier(cache, graph(1.0)) == (0, False)
    assert _tier(cache, graph(-1.0)) == (0, True)
    for label in (3.0, -3.0):
        y = graph(label)
        realise([y])
        np.testing.assert_array_equal(to_numpy(y), np.arange(4) * np.float32(label))


def test_an_exponent_that_has_a_form_of_its_own_is_part_of_the_program() -> None:
    for exponent in (2.0, 3.0, 2.5, 2.0, 1.7):
        x = leaf(np.float32([0.5, 3.0, 1.1]), float32, "CPU")
        x.owners += 1  # as if a Tensor held it
        wanted = x.binary(Op.POW, x.like(exponent))
        with minigrad.config(TIERS=0):
            realise([wanted])
        got = x.binary(Op.POW, x.like(exponent))
        with minigrad.config(TIERS=2), inspect() as seen:
            plans.clear()
            realise([got])
        assert seen.tier0 == 1
        assert to_numpy(got).tobytes() == to_numpy(wanted).tobytes()


def test_programs_and_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules[PlanCache.__module__]
    monkeypatch.setattr(module, "MOST_CALLS", 5000)
    monkeypatch.setattr(module, "MOST_NODES", 12_000)
    cache = PlanCache()
    for length in range(300, 320):
        assert _tier(cache, _long(_leaf(), length)) == (0, False)
        assert cache.calls == sum(len(f.direct) for f in cache.programs.values() if f.direct) <= 5000
        assert cache.nodes == sum(f.nodes for f in cache.families.values()) <= 12_000
    assert 2 < len(cache.programs) < len(cache.families) < 20
    kept = next(iter(cache.programs.values()))
    length = kept.nodes // 2
    assert _tier(cache, _long(_leaf(), length)) == (0, True) and next(iter(cache.programs.values())) is not kept


def test_inspect_and_debug_say_the_tier(capsys: pytest.CaptureFixture[str]) -> None:
    y = _long(_leaf(), 150)
    with minigrad.config(DEBUG=4), inspect() as seen:
        realise([y])
    shown = capsys.readouterr().out
    assert (seen.tier0, seen.launches, seen.native_calls, len(seen.kernels)) == (1, 300, 1, 2)
    assert {k.name for k in seen.kernels} == {"map_neg_float32_float32_0", "map_abs_float32_float32_0"}
    assert all(k.flops and k.bytes and k.seconds is not None and "150 calls" in k.stages[0] for k in seen.kernels)
    assert "tier 0: 300 calls of 2 generic kernels (made in" in shown
    assert "void map_neg_float32_float32_0(void **arrays" in shown and "] = -in0[" in shown
    with minigrad.config(DEBUG=7):
        realise([_long(_leaf(), 150)])
    shown = capsys.readouterr().out
    assert "(cached calls)" in shown and "--- assembly" in shown and "define void @map_neg" in shown
    with inspect() as seen:
        realise([_leaf().unary(Op.NEG)])
    assert seen.tier0 == 0 and seen.launches == 1
