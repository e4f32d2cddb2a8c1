"""Stage: tests of schedule, step 2. In: graphs. Out: what gets memory, and the reason that is given for it.
Next: ``test_memory.py``."""

from __future__ import annotations

import pytest

from minigrad.conformance.contractions import matmul
from minigrad.conformance.programs import softmax
from minigrad.dtype import float32, int64
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.ops import Op
from minigrad.schedule.materialise import MAX_LEAVES, MAX_OPERATIONS, Materialised, materialise
from minigrad.schedule.simplify import simplify
from tests.unit.schedule.planning import buffer, plan


def _materialised(*outputs: LazyBuffer) -> Materialised:
    return materialise(simplify(outputs)[0])


def _stored(*outputs: LazyBuffer) -> list[tuple[str, str]]:
    """Op and reason of each node with memory."""
    graph = _materialised(*outputs)
    return [(n.op, graph.why[n]) for n in graph.stored]


X = buffer((50, 60), float32)


def test_a_chain_of_elementwise_ops_is_stored_once() -> None:
    y = X.unary(Op.EXP).binary(Op.ADD, X).unary(Op.TANH)
    assert _stored(y) == [("TANH", "output")]


def test_a_reduction_is_stored_at_the_end_of_what_it_alone_feeds() -> None:
    total = X.reduce(Op.SUM, (1,))
    mean = total.binary(Op.DIV, total.like(60.0)).unary(Op.SQRT)
    assert _stored(X.binary(Op.SUB, mean.expand(X.shape))) == [("SQRT", "end of a reduction"), ("SUB", "output")]


def test_a_reduction_that_is_read_apart_is_stored_itself() -> None:
    total = X.reduce(Op.SUM, (1,))
    outputs = [total.unary(Op.EXP), total.expand(X.shape).binary(Op.MUL, X)]
    assert ("SUM", "end of a reduction") in _stored(*outputs)


def test_sources_that_are_asked_for_get_memory_of_their_own() -> None:
    graph = _materialised(X.like(2.0), X.binary(Op.MUL, X.like(1.0)), LazyBuffer.index((5,), 0, "CPU"))
    assert [n.op for n in graph.outputs] == ["CONTIGUOUS"] * 3
    same = _materialised(X.unary(Op.EXP), X.unary(Op.EXP))
    assert same.outputs[0] is not same.outputs[1]


def test_what_is_dear_and_read_often_is_stored() -> None:
    dear = buffer((50, 1), float32).unary(Op.EXP).unary(Op.SIN)
    stored = _stored(dear.expand((50, 60)).binary(Op.MUL, X))
    assert stored[0] == ("SIN", "read 60 times, 34 operations each")
    cheap = buffer((50, 1), float32).unary(Op.NEG)
    assert [op for op, _ in _stored(cheap.expand((50, 1)).binary(Op.MUL, buffer((50, 1), float32)))] == ["MUL"]


def test_arithmetic_on_coordinates_is_repeated_rather_than_stored() -> None:
    at = LazyBuffer.index((50, 1), 0, "CPU")
    at = at.binary(Op.MUL, at.like(7)).expand((50, 60))
    assert [op for op, _ in _stored(at.binary(Op.ADD, LazyBuffer.index((50, 60), 1, "CPU")))] == ["ADD"]


def test_overlapping_reads_do_not_double_at_every_step() -> None:
    """x[1:] + x[:-1] thirty times over: without stores 2^30 loads an element."""
    x = buffer((200,), float32)
    for _ in range(30):
        n = x.shape[0]
        x = x.shrink(((1, n),)).unary(Op.TANH).binary(Op.ADD, x.shrink(((0, n - 1),)))
    graph = _materialised(x)
    assert len(graph.stored) >= 10
    reads: dict[LazyBuffer, float] = {}
    for node in toposort(graph.outputs):  # how many loads computing one element takes
        below = [1.0 if s in graph.why or s.op == Op.BUFFER else reads[s] for s in node.srcs]
        reads[node] = sum(below)
    assert max(reads.values()) < 100


@pytest.mark.parametrize("leaves", [False, True])
def test_slices_are_cut_before_they_grow_too_large(leaves: bool) -> None:
    x = y = buffer((300,), float32)
    count = MAX_LEAVES * 3 if leaves else MAX_OPERATIONS * 3
    for _ in range(count):
        y = y.binary(Op.ADD, buffer((300,), float32) if leaves else x)
    stored = _stored(y)
    assert 3 <= len(stored) <= 6 and {why for _, why in stored} == {"the kernel would grow too large", "output"}


def test_scatter_writes_on_a_copy_of_its_base() -> None:
    at = buffer((7,), int64)
    value = buffer((7, 60), float32).unary(Op.EXP)
    graph = _materialised(X.unary(Op.NEG).scatter(value, [at], "add"))
    scatter = graph.outputs[0]
    base = graph.initial[scatter]
    assert base.op == Op.CONTIGUOUS and base.srcs[0].op == Op.NEG and base in graph.why
    assert graph.first_writer(scatter) is base


def test_chained_writes_share_one_memory() -> None:
    rows = [((Op.SHRINK, ((i, i + 1), (0, 60))),) for i in range(3)]
    y = X
    for chain in rows:
        y = y.assign(buffer((1, 60), float32), chain)
    made = plan(y, dead=[X])
    assert made.donated == 1 and made.arena_bytes == 0 and made.output_bytes == []
    first = X.assign(buffer((1, 60), float32), rows[0])
    kept = plan(first.unary(Op.NEG), first.assign(buffer((1, 60), float32), rows[1]))
    assert kept.output_bytes == [12_000, 12_000], "what is read before the next write keeps its value"


def test_a_product_stays_inside_its_sum() -> None:
    a, b = buffer((300, 400), float32), buffer((400, 500), float32)
    assert [op for op, _ in _stored(matmul(a.unary(Op.TANH), b).binary(Op.ADD,
                                                                       buffer((300, 500), float32)))][-1] == "ADD"
    assert ("MUL", "output") not in _stored(matmul(a, b))
    assert len(_stored(matmul(a, b))) == 1


def test_reductions_over_different_domains_are_kept_apart() -> None:
    y = X.reduce(Op.SUM, (1,)).reshape((50,)).binary(Op.MUL,
                                                     buffer((50, 70), float32).reduce(Op.SUM, (1,)).reshape((50,)))
    assert sorted(why for _, why in _stored(y))[0] in ("another domain", "end of a reduction")
    assert plan(y).launches


def test_every_stage_of_a_softmax_reads_memory_or_one_domain() -> None:
    assert [op for op, _ in _stored(softmax(X, (1,)))] in (["MAX", "SUM", "DIV"], ["MAX", "EXP", "SUM", "DIV"])
