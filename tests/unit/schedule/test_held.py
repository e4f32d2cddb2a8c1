"""Stage: tests of schedule, beside step 2. In: graphs that sum along rows and read again what they summed. Out: when a
kernel holds it for a row. Next: ``test_group.py``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from minigrad.conformance.contractions import matmul
from minigrad.conformance.programs import layer_norm, softmax
from minigrad.dtype import float32
from minigrad.ops import REDUCE, Op
from minigrad.schedule.plan import Plan
from minigrad.target import AVX512, GPU
from tests.unit.schedule.planning import buffer, parts, plan, why_apart


def _held(made: Plan) -> list[str]:
    """The ops of what kernels hold rows of."""
    specs = [p for launch in made.launches for p in parts(launch)]
    return [n.op for s in specs for n, m in s.memory.items()
            if m.scope == "scratch" and n.op not in REDUCE and n.shape[-1] > 1]


def _kernels(made: Plan) -> int:
    return sum(len(parts(launch)) for launch in made.launches)


@pytest.mark.parametrize("shape", [(400, 500), (16, 30), (20, 20, 1000)])
def test_the_powers_of_a_softmax_are_held(shape: tuple[int, ...]) -> None:
    made = plan(softmax(buffer(shape, float32), (len(shape) - 1,)))
    assert _held(made) == [Op.EXP] and _kernels(made) == 1, why_apart(made)
    assert made.arena_bytes == 0


def test_what_costs_little_is_computed_again() -> None:
    assert _held(plan(layer_norm(buffer((400, 500), float32), (1,)))) == []


def test_what_is_between_the_value_and_its_sum_does_not_matter() -> None:
    x = buffer((400, 500), float32)
    power = x.unary(Op.EXP)
    total = power.binary(Op.MUL, x).unary(Op.NEG).reduce(Op.SUM, (1,)).unary(Op.SQRT)
    assert _held(plan(power.binary(Op.ADD, x).binary(Op.DIV, total.expand(x.shape)))) == [Op.EXP]


def test_two_sums_of_one_walk_need_no_memory() -> None:
    x = buffer((400, 500), float32)
    power = x.unary(Op.EXP)
    sums = [power.reduce(Op.SUM, (1,)), power.binary(Op.MUL, x).reduce(Op.SUM, (1,))]
    assert _held(plan(*sums)) == [] and _held(plan(sums[0].binary(Op.DIV, sums[1]))) == []


def test_where_no_kernel_holds_a_row_it_is_computed_again() -> None:
    """Rows across memory, too few, or too long; and one for which there is no room beside its sums, which only shows
    when the kernels are made."""
    assert _held(plan(softmax(buffer((500, 400), float32), (0,)))) == []
    few = plan(softmax(buffer((3, 50_000), float32), (1,)))
    assert _held(few) == [] and few.arena_bytes < 50_000
    for l2 in (2000, 2404):
        made = plan(softmax(buffer((2000, 300), float32), (1,)), target=replace(AVX512, l2=l2))
        assert _held(made) == [] and made.arena_bytes < 300 * 2000, why_apart(made)
    assert _held(plan(softmax(buffer((2000, 300), float32), (1,)), target=replace(AVX512, l2=2500))) == [Op.EXP]
    assert _held(plan(softmax(buffer((400, 500), float32), (1,)), target=GPU)) == []


def test_scores_of_a_large_product_are_held_too() -> None:
    scores = matmul(buffer((300, 400), float32), buffer((400, 500), float32))
    made = plan(softmax(scores, (1,)))
    assert _held(made) == [Op.EXP] and _kernels(made) == 2


def test_what_is_asked_for_is_no_scratch() -> None:
    power = buffer((400, 500), float32).unary(Op.EXP)
    share = power.binary(Op.DIV, power.reduce(Op.SUM, (1,)).expand(power.shape))
    made = plan(share, power)
    assert _held(made) == [] and len(made.output_bytes) == 2
