"""Stage: tests of schedule. In: graphs with indexes. Out: each index is checked once in a plan, and what comes after
all checks may be written over a leaf. Next: ``test_structure.py``."""

from __future__ import annotations

from dataclasses import replace

import pytest

from minigrad.conformance.contractions import product
from minigrad.dtype import float32, int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.target import AVX512
from tests.unit.schedule.planning import buffer, plan

HOST = replace(AVX512, stops=True)


def _looked_up(table: LazyBuffer, at: LazyBuffer) -> LazyBuffer:
    return table.gather([at]).unary(Op.EXP).contiguous()


def test_an_index_is_checked_by_the_first_kernel_that_reads_all_of_it() -> None:
    table, other, at = buffer((50, 8), float32), buffer((50, 8), float32), buffer((4, 16), int64)
    first = _looked_up(table, at.reshape((64,)))
    added = buffer((50, 8), float32).scatter(first, [at.reshape((64,))], "add")
    made = plan(first, added, _looked_up(other, at))
    assert len(made.launches) > 1
    assert [node.op for node in made.checks] == [Op.GATHER]


def test_another_size_or_index_is_checked_by_itself() -> None:
    at, behind = buffer((6,), int64), buffer((6,), int64)
    tables = [buffer((n, 8), float32) for n in (5, 5, 7)]
    indexes = at, behind, at
    made = plan(*[_looked_up(table, index) for table, index in zip(tables, indexes, strict=True)])
    assert len(made.checks) == 3


def test_a_part_of_an_index_speaks_for_no_more() -> None:
    """What reads rows 0 … 3 by the index first does not know its other entries."""
    table, at = buffer((50, 8), float32), buffer((6,), int64)
    part = table.gather([at]).shrink(((0, 4), (0, 8))).reduce(Op.SUM, (0, 1)).contiguous()
    rest = table.gather([at]).binary(Op.MUL, part.reshape((1, 1)).expand((6, 8)))
    made = plan(part, rest.contiguous())
    whole = [node for node in made.checks if node.srcs[1].shape == (6,)]
    assert whole, "all six are checked by some kernel"


def test_an_empty_result_checks_nothing() -> None:
    table, at = buffer((50, 0), float32), buffer((6,), int64)
    other = buffer((50, 3), float32)
    made = plan(_looked_up(table, at), _looked_up(other, at))
    assert [node.shape for node in made.checks if 0 not in node.shape] == [(6, 3)]


def _step(target=HOST):
    """A weight that is updated by what is looked up in a table: the plan, and the leaf that is not needed any more."""
    table, at, weight = buffer((50, 80), float32), buffer((4000,), int64), buffer((700, 80), float32)
    gradient = table.gather([at]).reduce(Op.SUM, (0, 1)).reshape((1, 1)).contiguous()
    made = plan(gradient, weight.binary(Op.SUB, gradient.expand((700, 80))), dead=[weight], target=target)
    assert len(made.launches) > 1
    return made


def test_a_leaf_is_overwritten_after_all_checks_where_a_run_can_stop() -> None:
    assert _step().donated == 1
    assert _step(AVX512).donated == 0


def test_a_leaf_is_not_overwritten_before_a_check() -> None:
    table, at, weight = buffer((50, 80), float32), buffer((4000,), int64), buffer((700, 80), float32)
    updated = weight.unary(Op.NEG)
    total = updated.contiguous().reduce(Op.SUM, (0, 1)).reshape((1, 1)).contiguous()
    looked = table.gather([at]).binary(Op.MUL, total.expand((4000, 80)))
    made = plan(updated, looked, dead=[weight], target=HOST)
    checking = [n for n, launch in enumerate(made.launches) for place in launch.places if place.kind == "status"]
    assert checking == [len(made.launches) - 1] and checking != [0] and made.donated == 0


def test_a_moment_takes_its_own_memory_and_leaves_the_weight_its_own() -> None:
    weight, moment, gradient = (buffer((300,), float32) for _ in range(3))
    half = LazyBuffer.const(0.5, float32, (300,), "CPU")
    moved = moment.binary(Op.MUL, half).binary(Op.ADD, gradient)
    updated = weight.binary(Op.SUB, moved)
    made = plan(gradient.unary(Op.NEG), updated, moved, dead=[weight, moment], target=HOST)
    assert [(place.kind, place.at) for place in made.outputs[1:]] == [
        ("leaf", made.leaves.index(weight)), ("leaf", made.leaves.index(moment))]


def test_launches_that_overwrite_a_leaf_come_last() -> None:
    """An update of what is known early waits for the sums that are computed after it."""
    weight, gradient, x = buffer((700, 80), float32), buffer((700, 80), float32), buffer((700, 80), float32)
    total = x.reduce(Op.SUM, (0, 1)).reshape((1, 1)).contiguous()
    more = total.expand((300, 300)).binary(Op.MUL, buffer((300, 300), float32)).reduce(Op.SUM, (0, 1))
    made = plan(weight.binary(Op.SUB, gradient), more, dead=[weight], target=HOST)
    writing = {n for n, launch in enumerate(made.launches) if made.outputs[0] in launch.places}
    assert made.donated == 1 and writing == {len(made.launches) - 1} and len(made.launches) > 2


@pytest.mark.parametrize(("columns", "donated"), [(64, 1), (100_000, 0)])
def test_an_update_beside_a_sum_has_memory_of_its_own_if_much_comes_after_it(columns: int, donated: int) -> None:
    weight = buffer((700, 80), float32)
    sums = buffer((700, 300), float32).reduce(Op.SUM, (1,)).reshape((700, 1))
    updated = weight.binary(Op.SUB, sums.expand((700, 80)))
    after, = product(updated, buffer((80, columns), float32)).outputs
    assert plan(updated, after, dead=[weight], target=HOST).donated == donated


def test_an_update_that_reads_what_a_sum_overwrites_comes_before_it() -> None:
    """The update of ``weight`` reads ``rows``, which a later launch, with a sum in it, writes over."""
    weight, rows, x = (buffer((700, 80), float32) for _ in range(3))
    total = x.reduce(Op.SUM, (0, 1)).reshape((1, 1)).contiguous().expand((700, 80))
    sums = x.binary(Op.MUL, total).reduce(Op.SUM, (1,)).reshape((700, 1)).expand((700, 80))
    made = plan(weight.binary(Op.SUB, rows), rows.binary(Op.SUB, sums), dead=[weight, rows], target=HOST)
    assert made.donated == 2  # and the replay of the plan has found what each kernel reads
