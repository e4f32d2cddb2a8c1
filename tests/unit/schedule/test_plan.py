"""Stage: tests of schedule. In: graphs of every kind. Out: their plans hold: each kernel finds what it reads, whatever
was merged, stacked, given away or put in one arena. Next: ``test_materialise.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad
from minigrad.conformance import cases
from minigrad.conformance.programs import layer_norm, log_softmax, softmax
from minigrad.conformance.random_graphs import random_graphs
from minigrad.dtype import float32, int64
from minigrad.errors import VerifyError
from minigrad.graph.function import has_complex
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.ops import MEMORY, Op
from minigrad.schedule.plan import schedule
from minigrad.target import AVX2, AVX512, NEON, SCALAR, Target
from tests.unit.schedule.planning import buffer, parts, plan, replay, why_apart


def _plan_of_case(outputs: list[LazyBuffer], all_dead: bool, target: Target) -> None:
    order = toposort(outputs)
    if any(n.op in (Op.HOST, Op.COPY) for n in order):
        return  # these run before there is a plan
    stand_ins = {n: buffer(n.shape, n.dtype, n.arg) for n in order if n.op == Op.BUFFER}
    leaves = list(stand_ins.values())
    dead = set(leaves) if all_dead else set()
    replay(schedule(outputs, leaves, dead, target, stand_ins), outputs, dead)


@pytest.mark.parametrize("target", [SCALAR, AVX512], ids=lambda t: t.name)
@pytest.mark.parametrize("dead", [False, True], ids=["alive", "dead"])
def test_plans_of_the_conformance_suite(target: Target, dead: bool) -> None:
    for case in cases(2, seed=1):
        outputs = list(case.build("CPU").outputs)
        if has_complex(toposort(outputs)):  # the engine splits these before
            continue
        if not any(node.op == Op.LOOP for node in toposort(outputs)):  # the replay knows one value for each place
            _plan_of_case(outputs, dead, target)


@settings(max_examples=40)
@given(st.integers(0, 100_000), st.sampled_from([SCALAR, AVX2, AVX512, NEON]), st.booleans(), st.integers(0, 1 << 16))
def test_plans_of_random_graphs(seed: int, target: Target, dead: bool, small_work: int) -> None:
    """Several graphs in one plan; with little work counted as small the merges by rows and side by side must stand
    alone."""
    target = Target(target.name, target.vector_bytes, target.vector_registers, small_work=small_work,
                    stops=bool(small_work & 1))
    outputs = [o for case in random_graphs(seed, 3) for o in case.build("CPU").outputs]
    _plan_of_case(outputs, dead, target)


def test_a_plan_holds_no_memory_but_its_leaves() -> None:
    x = buffer((40, 50), float32)
    stand_in = buffer((40, 50), float32)
    y = softmax(x, (1,))
    made = schedule([y], [stand_in], set(), AVX512, {x: stand_in})
    nodes = {n for launch in made.launches for part in parts(launch) for n in part.memory}
    assert stand_in in nodes and x not in {n for node in nodes for n in toposort([node])}


@pytest.mark.parametrize("shape, axes", [((700, 900), (1,)), ((700, 900), (0,)), ((50, 30, 200), (1,)),
                                         ((64, 40, 100), (0, 2)),
                                         ((5, 17), (1,)), ((4096, 1000), (1,))], ids=str)
@pytest.mark.parametrize("program", [softmax, log_softmax, layer_norm])
def test_normalisations_are_one_kernel(program: Callable[..., LazyBuffer], shape: tuple[int, ...],
                                       axes: tuple[int, ...]) -> None:
    made = plan(program(buffer(shape, float32), axes))
    assert len(made.launches) == 1, why_apart(made)
    assert made.arena_bytes == 0


def test_updates_of_four_parameters_are_one_launch() -> None:
    outputs, dead = [], []
    for shape in ((784, 256), (256,), (256, 10), (10,)):
        w, g, m, v = (buffer(shape, float32) for _ in range(4))
        m2 = m.binary(Op.MUL, m.like(0.9)).binary(Op.ADD, g.binary(Op.MUL, g.like(0.1)))
        v2 = v.binary(Op.MUL, v.like(0.99)).binary(Op.ADD, g.binary(Op.MUL, g).binary(Op.MUL, g.like(0.01)))
        step = m2.binary(Op.DIV, v2.unary(Op.SQRT).binary(Op.ADD, v.like(1e-8)))
        outputs += [m2, v2, w.binary(Op.SUB, step)]
        dead += [w, m, v]
    made = plan(*outputs, dead=dead)
    assert len(made.launches) == 1, why_apart(made)
    assert made.donated == 12 and made.output_bytes == []
    assert plan(*outputs).donated == 0


def test_a_dead_leaf_is_written_over_only_in_place() -> None:
    x = buffer((100, 100), float32)
    assert plan(x.unary(Op.NEG), dead=[x]).donated == 1
    assert plan(x.flip((0,)).unary(Op.NEG), dead=[x]).donated == 0
    assert plan(x.binary(Op.ADD, x.permute((1, 0))), dead=[x]).donated == 0
    assert plan(x.unary(Op.NEG), x.flip((0,)), dead=[x]).donated == 0
    assert plan(x.cast(int64), dead=[x]).donated == 0
    assert plan(x.unary(Op.NEG)).donated == 0


def test_a_dead_base_is_written_where_it_lies() -> None:
    x, value = buffer((100, 100), float32), buffer((1, 100), float32)
    chain = ((Op.SHRINK, ((3, 4), (0, 100))),)
    made = plan(x.assign(value, chain), dead=[x])
    assert (len(made.launches), made.donated) == (1, 1), "only the row is stored"
    made = plan(x.assign(value, chain))
    assert (len(made.launches), made.donated) == (2, 0), "first the copy, then the row"
    # the value is made of the base at other places: it must be read before it is overwritten
    shifted = x.shrink(((4, 5), (0, 100)))
    assert plan(LazyBuffer(Op.ASSIGN, (x, shifted), chain, x.shape, float32, "CPU"), dead=[x]).launches


def test_a_plan_that_checks_indexes_gives_nothing_away() -> None:
    x, at = buffer((100, 100), float32), buffer((7,), int64)
    made = plan(x.gather([at]), x.unary(Op.NEG), dead=[x])
    assert made.donated == 0 and [n.op for n in made.checks] == [Op.GATHER]


def test_equal_results_are_two_pieces_of_memory() -> None:
    x = buffer((10,), float32)
    made = plan(x.unary(Op.EXP), x.unary(Op.EXP), x.binary(Op.MUL, x.like(1.0)), x.like(2.0))
    assert sorted(made.output_bytes) == [40] * 4


def test_a_long_chain_is_planned_without_recursion() -> None:
    x = y = buffer((300,), float32)
    for _ in range(3_000):
        y = y.binary(Op.ADD, x)
    made = plan(y)
    assert made.launches and {n.op for launch in made.launches for p in parts(launch) for n in p.memory} - MEMORY


def test_the_replay_catches_values_that_share_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    x = buffer((2000, 300), float32)
    program = [layer_norm(softmax(x, (1,)), (0,)).binary(Op.MUL, softmax(x, (0,))).scan(Op.SUM, 0).scan(Op.MAX, 1)]
    assert plan(*program).arena_bytes
    monkeypatch.setattr("minigrad.schedule.plan.place", lambda lifetimes, sizes: (dict.fromkeys(lifetimes, 0), 1 << 40))
    with pytest.raises(AssertionError):
        plan(*program)


def test_a_broken_graph_is_refused_with_verify() -> None:
    x = buffer((10,), float32)
    broken = LazyBuffer(Op.ADD, (x, buffer((11,), float32)), None, (10,), float32, "CPU")
    with minigrad.config(VERIFY=1), pytest.raises(VerifyError, match="operands have one shape"):
        plan(broken)


LARGE = replace(AVX512, l3=1 << 20)


def _around(*outputs: LazyBuffer, dead: Sequence[LazyBuffer] = (), target: Target = LARGE) -> list[bool]:
    """Of all that the kernels write, whether it goes around the caches."""
    return [m.nontemporal for launch in plan(*outputs, dead=dead, target=target).launches for part in parts(launch)
            for m in part.memory.values() if m.written]


def test_what_is_as_large_as_the_caches_is_written_around_them() -> None:
    large, small = buffer((512, 512), float32), buffer((512, 511), float32)
    assert _around(large.unary(Op.EXP)) == [True]
    assert _around(small.unary(Op.EXP)) == [False]
    assert _around(large.unary(Op.EXP), target=AVX512) == [False], "nothing is known of its caches"
    assert _around(large.unary(Op.EXP), dead=[large]) == [False], "a leaf's memory may begin anywhere"


def test_what_a_kernel_reads_again_stays_in_the_caches() -> None:
    x = buffer((512, 512), float32)
    y = x.unary(Op.EXP)
    total = y.reduce(Op.SUM, (1,)).reshape((512, 1)).expand((512, 512))
    made = plan(y, y.binary(Op.DIV, total), target=LARGE)
    assert len(made.launches) == 1, why_apart(made)
    (spec,) = parts(made.launches[0])
    assert [m.nontemporal for m in spec.memory.values() if m.written and m.scope == "global"] == [False, True]
