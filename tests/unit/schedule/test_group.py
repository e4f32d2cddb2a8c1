"""Stage: tests of schedule, steps 3 and 4. In: graphs. Out: which values share a kernel, as stages, side by side or
stacked, which do not, and why. Next: ``test_plan.py``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from minigrad.conformance.contractions import matmul
from minigrad.conformance.programs import layer_norm, mean, softmax, variance
from minigrad.dtype import float32
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.schedule.plan import Plan
from minigrad.schedule.spec import KernelSpec, StackedSpec
from minigrad.target import AVX512, CUDA, GPU, Target
from tests.unit.schedule.planning import buffer, parts, plan, why_apart

WIDE = replace(AVX512, small_work=0)
"""Nothing counts as small work: only the other merges can join anything."""


def _stages(made: Plan) -> list[int]:
    """The number of stages of each kernel."""
    return [len(p.stages) for launch in made.launches for p in parts(launch)]


def _only(made: Plan) -> KernelSpec:
    assert len(made.launches) == 1, why_apart(made)
    (spec,) = parts(made.launches[0])
    return spec


def test_a_producer_read_in_rows_is_an_earlier_stage() -> None:
    spec = _only(plan(softmax(buffer((400, 500), float32), (1,)), target=WIDE))
    assert spec.outer == (400,) and len(spec.stages) >= 2
    scratch = [m for m in spec.memory.values() if m.scope == "scratch"]
    assert all(m.axes == (1,) for m in scratch), "a row's values are scratch, held for one outer point"


@pytest.mark.parametrize("shape, axes, outer", [((30, 20, 50), (1,), (30, 50)), ((30, 20, 50), (0, 2), (20,)),
                                                ((500, 400), (0,), (400,))])
def test_any_axes_can_be_the_common_ones(shape: tuple[int, ...], axes: tuple[int, ...], outer: tuple[int, ...]) -> None:
    spec = _only(plan(softmax(buffer(shape, float32), axes), target=WIDE))
    assert tuple(s for s in spec.outer) == outer or set(spec.outer) <= set(outer)


def test_rows_that_do_not_fit_the_cache_stay_apart() -> None:
    """The dear values of a row are kept for the stages that read them again, if there is room."""
    y = softmax(buffer((400, 3000), float32).unary(Op.TANH).unary(Op.ERF), (1,))
    spec = _only(plan(y, target=WIDE))
    assert any(m.scope == "scratch" and m.shape == (400, 3000) for m in spec.memory.values())
    made = plan(y, target=replace(WIDE, l2=8 << 10))
    assert "its row does not fit the cache" in why_apart(made) and len(made.launches) > 1


def test_too_few_rows_stay_apart_and_say_so() -> None:
    made = plan(softmax(buffer((3, 50_000), float32), (1,)), target=WIDE)
    assert len(made.launches) > 1
    assert "only 3 common outer points" in why_apart(made)


def test_sums_of_parts_of_the_rows_stay_apart_from_what_joins_them() -> None:
    """In one kernel, they would be divided by columns alone, and read in narrow pieces."""
    made = plan(buffer((5000, 1000), float32).reduce(Op.SUM, (0,)).unary(Op.SQRT))
    first, second = [p for launch in made.launches for p in parts(launch)]
    assert first.outer == (25, 1000) and second.outer == (1000,)
    assert "long columns are summed in wide pieces by themselves" in why_apart(made)
    assert _only(plan(softmax(buffer((4096, 2000), float32), (0,)))).outer == (2000,), "here they are in the cache"
    x = buffer((16, 64, 3136), float32)
    total = x.reduce(Op.SUM, (0, 2)).expand(x.shape).binary(Op.MUL, x).reduce(Op.SUM, (2,))
    assert _only(plan(total)).outer == (64,), "these are rows"


def test_stages_with_little_at_each_outer_point_have_rows_of_points() -> None:
    """As windows of a pooling, and the places of their maxima: else no vector is filled. Threads of a GPU need none."""
    x = buffer((8, 16, 14, 2, 14, 2), float32)
    top = x.reduce(Op.MAX, (3, 5))
    found = x.binary(Op.EQ, top.expand(x.shape)).cast(float32).reduce(Op.SUM, (3, 5))
    assert _only(plan(top, found)).outer == (8, 16)
    assert _only(plan(top, found, target=GPU)).outer == (8, 16, 14, 14)
    rows = buffer((8, 16, 14, 6), float32)
    assert _only(plan(softmax(rows, (3,)))).outer == (8, 16, 14), "lanes along six elements of a sum are worth it"


def test_a_consumer_of_part_of_the_rows_does_not_take_the_producer_in() -> None:
    x = buffer((50, 400), float32)
    total = x.reduce(Op.MAX, (1,)).unary(Op.EXP)
    made = plan(total, total.shrink(((0, 20), (0, 1))).expand((20, 400)).binary(Op.MUL, buffer((20, 400), float32)),
                target=WIDE)
    assert made.launches


def test_a_large_contraction_keeps_its_own_kernel() -> None:
    a, b = buffer((300, 400), float32), buffer((400, 500), float32)
    made = plan(softmax(matmul(a, b), (1,)))
    assert len(made.launches) == 2
    assert "a large contraction keeps its own kernel" in why_apart(made)
    assert _stages(plan(matmul(a, b).binary(Op.ADD, buffer((500,), float32).expand((300, 500))))) == [1]


def _attention(lead: tuple[int, ...], queries: int, keys: int, width: int) -> LazyBuffer:
    q, k, v = (buffer((*lead, n, width), float32) for n in (queries, keys, keys))
    scores = matmul(q, k.permute((*range(len(lead)), len(lead) + 1, len(lead))))
    return matmul(softmax(scores.binary(Op.MUL, scores.like(width**-0.5)), (len(lead) + 1,)), v)


@pytest.mark.parametrize("target", [GPU, CUDA])
def test_attention_is_one_kernel_on_a_gpu(target: Target) -> None:
    """Its scores and what softmax makes of them are one array in shared memory."""
    spec = _only(plan(_attention((2, 4), 128, 128, 64), target=target))
    assert spec.outer == (2, 4, 128) and len(spec.stages) == 5
    scratch = [m for m in spec.memory.values() if m.scope == "scratch"]
    assert sorted(m.shape[-1] for m in scratch) == [1, 1, 128, 128]
    assert len({m.name for m in scratch}) == 3
    assert _stages(plan(_attention((2, 4), 128, 128, 64))) == [1, 4, 1], "a CPU has three kernels"


def test_contractions_stay_apart_where_blocks_of_rows_would_not_pay() -> None:
    """Too few rows fit beside the tiles; or the other operand is long, and each block would read all of it."""
    made = plan(_attention((8,), 2048, 2048, 64), target=GPU)
    assert len(made.launches) == 3 and "a large contraction keeps its own kernel" in why_apart(made)
    a, b = buffer((300, 400), float32), buffer((400, 500), float32)
    assert len(plan(softmax(matmul(a, b), (1,)), target=GPU).launches) == 2
    x, w = buffer((256, 512), float32), buffer((512, 1024), float32)
    assert len(plan(matmul(layer_norm(x, (1,)), w), target=GPU).launches) == 2


def test_statistics_of_one_input_are_side_by_side() -> None:
    x = buffer((400, 500), float32)
    spec = _only(plan(x.reduce(Op.SUM, (1,)), x.reduce(Op.MAX, (1,)), x.binary(Op.MUL, x).reduce(Op.SUM, (1,)),
                      target=WIDE))
    assert [len(s.stores) for s in spec.stages] == [3]


def test_maps_of_one_input_are_one_stage() -> None:
    x = buffer((400, 500), float32)
    spec = _only(plan(x.unary(Op.EXP), x.unary(Op.NEG), x.unary(Op.EXP).binary(Op.ADD, x), target=WIDE))
    assert len(spec.stages) == 1 and len(spec.stages[0].stores) == 3


def test_independent_maps_are_stacked_in_one_launch() -> None:
    made = plan(*[buffer(shape, float32).unary(Op.EXP) for shape in ((400, 500), (300,), (20, 30))], target=WIDE)
    (launch,) = made.launches
    assert isinstance(launch.spec, StackedSpec) and len(launch.spec.parts) == 3


def test_small_work_is_one_kernel() -> None:
    x = buffer((6, 7), float32)
    y = variance(x, (0,)).expand((6, 7)).binary(Op.ADD, mean(x, (1,)).expand((6, 7))).reduce(Op.MAX, (0, 1))
    assert len(plan(y, buffer((5,), float32).scan(Op.SUM, 0)).launches) == 1


def test_dependent_work_over_another_space_is_a_later_launch() -> None:
    x = buffer((400, 500), float32)
    columns = softmax(softmax(x, (1,)), (0,))
    made = plan(columns, target=WIDE)
    assert len(made.launches) == 2, why_apart(made)


def test_merging_makes_no_cycle() -> None:
    """c reads a by way of b: a and c may not share a kernel that b stands between."""
    x, y = buffer((400, 500), float32), buffer((500, 300), float32)
    a = x.unary(Op.EXP)
    b = matmul(a, y).reduce(Op.MAX, (1,))
    c = a.binary(Op.ADD, b.expand(a.shape))
    made = plan(a, b, c, target=WIDE)
    assert len(made.launches) >= 2


def test_a_scan_runs_along_its_axis_only() -> None:
    spec = _only(plan(buffer((400, 500), float32).scan(Op.SUM, 1), target=WIDE))
    assert spec.outer == (400,)


def test_a_value_read_at_other_rows_comes_from_an_earlier_launch() -> None:
    x = buffer((400, 500), float32)
    made = plan(x.reduce(Op.SUM, (1,)).expand((400, 500)).flip((0,)).binary(Op.MUL, x), target=WIDE)
    assert len(made.launches) == 2, why_apart(made)


@pytest.mark.parametrize("look", [0, 1, 3])
def test_merges_keep_the_order_however_far_they_look(look: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that gives up may only keep kernels apart: what reads a value never comes before it. The plans are
    replayed."""
    monkeypatch.setattr("minigrad.schedule.group.LOOK", look)
    for target in (AVX512, WIDE):
        x = buffer((64, 64), float32)
        numbers: list[LazyBuffer] = []
        for i in range(12):
            total = x.reduce(Op.SUM, (i % 2,))
            numbers += [total.unary(Op.LOG), x.reduce(Op.MAX, (0, 1))]
            x = matmul(x, buffer((64, 64), float32)).binary(Op.DIV, total.expand((64, 64))).unary(Op.TANH)
        plan(x, *numbers, *[n.unary(Op.EXP) for n in numbers], target=target)
