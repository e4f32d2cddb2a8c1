"""Stage: tests of schedule. In: graphs with a product that is larger than its operands. Out: kernels that walk along
it, so that it is never whole in memory; what is needed whole, and what would not gain by it, is stored.
Next: ``test_plan.py``."""

from __future__ import annotations

from dataclasses import replace

from minigrad.conformance.contractions import matmul
from minigrad.conformance.programs import softmax
from minigrad.dtype import bfloat16, float32, uint32, uint64
from minigrad.grad import vjp
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.ops import Op
from minigrad.schedule.plan import Plan
from minigrad.target import AVX512, GPU, Target
from tests.unit.schedule.planning import buffer, parts, plan, why_apart

SMALL = replace(AVX512, l2=16 << 10, small_work=0)
"""A cache so small that 300 × 300 scores do not fit it."""

L, D = 300, 8


def heads(count: int = 4, length: int = L, width: int = D) -> list[LazyBuffer]:
    return [buffer((2, length, width), float32) for _ in range(count)]


def attention(q: LazyBuffer, k: LazyBuffer, v: LazyBuffer) -> tuple[LazyBuffer, LazyBuffer]:
    """softmax(q @ k.T) @ v, and the weights."""
    weights = softmax(matmul(q, k.permute((0, 2, 1))), (2,))
    return matmul(weights, v), weights


def walks(made: Plan) -> list[tuple[str, ...]]:
    """What the stages of each kernel that walks do."""
    return [p.walk.kinds for launch in made.launches for p in parts(launch) if p.walk is not None]


def large(made: Plan, size: int = 2 * L * L) -> list[LazyBuffer]:
    """Values of that size in memory."""
    return [n for launch in made.launches for p in parts(launch) for n, m in p.memory.items()
            if m.scope == "global" and n.size >= size]


def backward(target: Target, length: int = L) -> Plan:
    q, k, v, g = heads(length=length)
    out = attention(q, k, v)[0]
    return plan(out, *vjp([out], [g], [q, k, v], [True] * 3), target=target)  # type: ignore[arg-type]


def test_attention_is_one_kernel_without_its_scores() -> None:
    made = plan(attention(*heads(3))[0], target=SMALL)
    assert len(made.launches) == 1, why_apart(made)
    (kinds,) = walks(made)
    assert kinds.count("along") == 2 and kinds.count("top") == 1 and kinds.count("relative") == 2
    assert not large(made)
    assert any("walks along an axis of 300" in note for launch in made.launches for note in launch.notes)


def test_its_gradients_compute_the_scores_again_by_rows_and_by_columns() -> None:
    made = backward(SMALL)
    assert not large(made)
    first, *others = walks(made)
    assert "top" in first and all("top" not in kinds for kinds in others), "the largest of a row is found once"
    assert [kinds.count("sum") for kinds in others][-1] == 2, "keys and values together"


def test_short_rows_are_not_computed_again() -> None:
    """The products cost more than the memory: 60 is not four times 2 · 8."""
    made = backward(replace(SMALL, l2=4 << 10), 60)
    assert not walks(made) and large(made, 2 * 60 * 60)


def test_what_fits_the_cache_or_runs_on_a_gpu_is_stored() -> None:
    for target in (replace(SMALL, l2=1 << 20), GPU):
        assert not walks(plan(attention(*heads(3))[0], target=target))


def test_scores_that_somebody_wants_are_stored() -> None:
    out, weights = attention(*heads(3))
    made = plan(out, weights, target=SMALL)
    assert not walks(made) and large(made)


def test_a_sum_over_two_axes_needs_them_whole() -> None:
    q, k, v = heads(3, length=120)
    powers = matmul(q, k.permute((0, 2, 1))).unary(Op.EXP)
    made = plan(matmul(powers, v), powers.reduce(Op.SUM, (1, 2)), target=SMALL)
    assert not walks(made) and large(made, 2 * 120 * 120)


def test_a_product_of_deep_sums_is_stored() -> None:
    x, w = buffer((400, 300), float32), buffer((300, 1300), float32)
    made = plan(matmul(matmul(x, w).unary(Op.EXP), buffer((1300, 8), float32)), target=SMALL)
    assert not walks(made), "its operands are not half as large"


def test_the_weights_may_be_multiplied_before_they_are_summed() -> None:
    """As dropout does. What they are divided by is taken out of the sum."""
    q, k, v = heads(3)
    weights = softmax(matmul(q, k.permute((0, 2, 1))), (2,))
    kept = buffer(weights.shape, float32)
    made = plan(matmul(weights.binary(Op.MUL, kept), v), target=SMALL)
    (kinds,) = walks(made)
    assert kinds.count("relative") == 2 and large(made) == [kept]


def test_what_the_weights_are_multiplied_by_is_computed_along_with_them() -> None:
    """However dear it is: an exponential of distances, read by a product, would be stored."""
    q, k, v, g = heads()
    weights = softmax(matmul(q, k.permute((0, 2, 1))), (2,))
    distance = LazyBuffer.index(weights.shape, 2, "CPU").cast(float32)
    slope = buffer((2, L, 1), float32).expand(weights.shape)
    out = matmul(weights.binary(Op.MUL, distance.binary(Op.MUL, slope).unary(Op.EXP)), v)
    made = plan(out, *vjp([out], [g], [q, k, v], [True] * 3), target=SMALL)  # type: ignore[arg-type]
    assert len(walks(made)) > 2 and not large(made)


def test_a_mask_of_indices_is_computed_for_each_batch() -> None:
    """Stored, it would not tell which blocks it hides."""
    q, k, v = (buffer((100, 60, 3), float32) for _ in range(3))
    scores = matmul(q, k.permute((0, 2, 1)))
    row, column = (LazyBuffer.index((60, 60), axis, "CPU") for axis in (0, 1))
    seen = row.binary(Op.LT, column.binary(Op.MUL, column.like(2)).binary(Op.ADD, row.like(3)))
    mask = seen.reshape((1, 60, 60)).expand(scores.shape)
    made = plan(matmul(softmax(mask.where(scores, scores.like(-1.0)), (2,)), v), target=SMALL)
    assert len(made.launches) == len(walks(made)) == 1


def test_weights_that_are_not_only_multiplied_wait_for_the_maximum() -> None:
    """exp(x - max) + 1 is not relative to the maximum: it takes a walk of its own."""
    q, k, v = heads(3)
    x = matmul(q, k.permute((0, 2, 1)))
    powers = x.binary(Op.SUB, x.reduce(Op.MAX, (2,)).expand(x.shape)).unary(Op.EXP)
    made = plan(matmul(powers.binary(Op.ADD, powers.like(1.0)), v), target=SMALL)
    first, second = walks(made)
    assert "top" not in second and "relative" not in second and not large(made)
    assert "relative" not in first


def test_weights_of_a_half_type_are_rounded_one_by_one() -> None:
    """Relative to another maximum they would be rounded otherwise: three walks, in which each is what it is alone."""
    q, k, v = (buffer((2, L, D), bfloat16) for _ in range(3))
    made = plan(attention(q, k, v)[0], target=SMALL)
    assert len(walks(made)) == 3 and not large(made)
    assert all("relative" not in kinds for kinds in walks(made))


def test_which_weights_dropout_keeps_is_drawn_once_for_a_block() -> None:
    """Keys and values both need it: in the walk by columns it is a stage beside the weights and their gradients."""
    q, k, v, g = heads()
    weights = softmax(matmul(q, k.permute((0, 2, 1))), (2,))
    bits = LazyBuffer(Op.RANDOM_BITS, (buffer((), uint64),), None, weights.shape, uint32, "CPU")
    kept = bits.binary(Op.LT, bits.like(1 << 31)).where(weights.like(2.0), weights.like(0.0))
    out = matmul(weights.binary(Op.MUL, kept), v)
    made = plan(out, *vjp([out], [g], [q, k, v], [True] * 3), target=SMALL)  # type: ignore[arg-type]
    last = next(p for launch in reversed(made.launches) for p in parts(launch) if p.walk is not None)
    assert last.walk is not None and last.walk.kinds.count("sum") == 2 and not large(made)
    drawing = [kind for stage, kind in zip(last.stages, last.walk.kinds, strict=True)
               if any(n.op == Op.RANDOM_BITS for s in stage.stores for n in toposort([s], last.memory.keys() - {s}))]
    assert drawing == ["along"]
