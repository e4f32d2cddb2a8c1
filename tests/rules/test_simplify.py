"""Stage: tests of schedule, step 1. In: the table of rewrite rules, and graphs that hypothesis makes. Out: each rule
does what its example says, and no rule changes a value: not for 0, -0.0, NaN, infinity, the extremes of integers, or no
elements at all. Next: ``test_split.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from minigrad.conformance.movements import move_at_random
from minigrad.conformance.sources import Source, edge_values, indexes, plain_zero
from minigrad.dtype import DType, bfloat16, bool_, float16, float32, float64, int8, int32, int64, uint8
from minigrad.engine import to_numpy
from minigrad.graph.function import Subgraph, call, param
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.graph.reference import evaluate
from minigrad.graph.show import show
from minigrad.graph.verify import verify
from minigrad.ops import ELEMENTWISE, KERNEL_OPS, MOVEMENT, REDUCE, Op
from minigrad.schedule.simplify import RULES, Builder, Rule, simplify
from tests.examples import examples

SHAPES = ((), (0,), (1,), (3,), (2, 3), (0, 4), (1, 5), (2, 1, 3))
DTYPES = (float32, float32, float64, float16, bfloat16, int32, int64, int8, uint8, bool_)


def _names() -> dict[str, Any]:
    """What the examples of the rules may name."""
    x, i, b, h = (Source("NUMPY", d, "edge", d.name).leaf((4, 6)) for d in (float32, int32, bool_, float16))
    return {"x": x, "i": i, "b": b, "h": h, "r": indexes(np.array([3, 0, 3, 1]), "NUMPY"), "LazyBuffer": LazyBuffer,
            "math": math, "float32": float32}


def equal_bits(a: np.ndarray, b: np.ndarray, signed_zero: bool = True) -> bool:
    """Equal, with NaN equal to NaN and, if asked for, 0 unequal to -0."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    same = a == b
    if a.dtype.kind not in "biu":
        same = (same & (np.signbit(a) == np.signbit(b) if signed_zero else True)) | (np.isnan(a) & np.isnan(b))
    return bool(np.all(same))


def check_same_values(outputs: list[LazyBuffer]) -> list[LazyBuffer]:
    """The simplified outputs, once it is certain that they mean the same."""
    verify(outputs)
    simple, _ = simplify(outputs)
    verify(simple)
    for old, new, before, after in zip(outputs, simple, evaluate(outputs, to_numpy), evaluate(simple, to_numpy),
                                       strict=True):
        assert (old.shape, old.dtype, old.device) == (new.shape, new.dtype, new.device)
        free = old.op in (Op.MAXIMUM, Op.MINIMUM) or old.op in REDUCE  # these may give either zero
        assert equal_bits(before, after, not free), f"{before} became {after}:\n{show([old])}\n→\n{show([new])}"
    return simple


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_example_of_rule(rule: Rule) -> None:
    names = _names()
    before, after = eval(rule.before, names), eval(rule.after, names)
    (simple,) = check_same_values([before])
    assert show([simple]) == show([_shared(after)])
    assert rule.why


def _shared(node: LazyBuffer) -> LazyBuffer:
    """The same graph with equal nodes made one."""
    builder, at = Builder(), {}
    for n in toposort([node]):
        key = (n.op, tuple(at[s] for s in n.srcs), n.arg, n.shape, n.dtype)
        at[n] = builder.nodes.setdefault(key, n if not n.srcs else LazyBuffer(n.op, key[1], n.arg, n.shape, n.dtype,
                                                                              n.device))
    return at[node]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_example_needs_its_rule(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rule its example stays as it is (or goes another way): no rule is dead."""
    names = _names()
    before, after = eval(rule.before, names), eval(rule.after, names)
    rest = {op: [r for r in RULES if op in r.ops and r is not rule] for op in {op for r in RULES for op in r.ops}}
    monkeypatch.setattr("minigrad.schedule.simplify.RULES_OF", rest)
    assert show(simplify([before])[0]) != show([after])


def test_rules_name_ops_that_exist() -> None:
    known = ELEMENTWISE | MOVEMENT | REDUCE | {Op.CONTIGUOUS, Op.GATHER, Op.SCATTER, Op.ASSIGN, Op.SCAN}
    assert all(set(rule.ops) <= known for rule in RULES)
    assert len({rule.name for rule in RULES}) == len(RULES)


def _constants(dtype: DType) -> list[Any]:
    if dtype is bool_:
        return [False, True]
    if dtype.is_float:
        return [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.0, 16384.0, 32768.0, float(dtype.max), math.nan, math.inf, -math.inf,
                1e-7]
    return [0, 1, 2, 3, dtype.bits, dtype.min, dtype.max] + [-1] * dtype.is_signed


@st.composite
def graphs(draw: Callable[..., Any]) -> list[LazyBuffer]:
    """Small graphs, rich in constants that rules look for."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(st.sampled_from(SHAPES))
    seed = draw(st.integers(0, 1000))
    pool = [Source("NUMPY", dtype, "edge", seed, k).leaf(shape) for k in range(2)]
    for _ in range(draw(st.integers(1, 8))):
        x = draw(st.sampled_from(pool))
        kind = draw(st.sampled_from(("unary", "binary", "binary", "where", "cast", "move", "move", "reduce")))
        pool.append(_STEPS[kind](draw, x, pool))
    return [pool[-1], draw(st.sampled_from(pool))]


def _other(draw: Callable[..., Any], x: LazyBuffer, pool: list[LazyBuffer]) -> LazyBuffer:
    """A node of the same shape and dtype, or a constant."""
    fitting = [n for n in pool if n.shape == x.shape and n.dtype is x.dtype]
    if draw(st.booleans()):
        return draw(st.sampled_from(fitting))
    return x.like(draw(st.sampled_from(_constants(x.dtype))))


_UNARY = tuple(n for n, r in KERNEL_OPS.items() if r.arity == 1 and n not in (Op.CAST, Op.BITCAST))
_BINARY = tuple(n for n, r in KERNEL_OPS.items() if r.arity == 2)


def _unary(draw: Callable[..., Any], x: LazyBuffer, pool: list[LazyBuffer]) -> LazyBuffer:
    return x.unary(draw(st.sampled_from([n for n in _UNARY if x.dtype.kind in KERNEL_OPS[n].kinds])))


def _binary(draw: Callable[..., Any], x: LazyBuffer, pool: list[LazyBuffer]) -> LazyBuffer:
    op = draw(st.sampled_from([n for n in _BINARY if x.dtype.kind in KERNEL_OPS[n].kinds]))
    operands = [x, _other(draw, x, pool)]
    if draw(st.booleans()):
        operands.reverse()
    result = operands[0].binary(op, operands[1])
    return plain_zero(result) if op in (Op.MAXIMUM, Op.MINIMUM) else result


def _where(draw: Callable[..., Any], x: LazyBuffer, pool: list[LazyBuffer]) -> LazyBuffer:
    constant = LazyBuffer.const(draw(st.booleans()), bool_, x.shape, x.device)
    condition = draw(st.sampled_from([constant, x.binary(Op.EQ, _other(draw, x, pool))]))
    return condition.where(x, _other(draw, x, pool))


def _cast(draw: Callable[..., Any], x: LazyBuffer, pool: list[LazyBuffer]) -> LazyBuffer:
    dtype = draw(st.sampled_from(DTYPES))
    if dtype.size == x.dtype.size and bool_ not in (dtype, x.dtype) and draw(st.booleans()):
        return x.bitcast(dtype)
    return x.cast(dtype)


def _move(draw: Callable[..., Any], x: LazyBuffer, pool: list[LazyBuffer]) -> LazyBuffer:
    return move_at_random(x, np.random.default_rng(draw(st.integers(0, 10_000)))) if x.size < 500 else x


def _reduce(draw: Callable[..., Any], x: LazyBuffer, pool: list[LazyBuffer]) -> LazyBuffer:
    ops = [Op.MAX, Op.MIN] if x.dtype is bool_ else [Op.SUM, Op.PROD, Op.MAX, Op.MIN]
    axes = [a for a in range(len(x.shape)) if draw(st.booleans())]
    return plain_zero(x.reduce(draw(st.sampled_from(ops)), axes)) if x.dtype is not bool_ else x.reduce(Op.MAX, axes)


_STEPS = {"unary": _unary, "binary": _binary, "where": _where, "cast": _cast, "move": _move, "reduce": _reduce}


@examples(250, 2500, graphs())
def test_values_are_kept(outputs: list[LazyBuffer]) -> None:
    simple = check_same_values(outputs)
    again, _ = simplify(simple)
    assert show(again) == show(simple), "simplifying twice does more than simplifying once"
    assert len(toposort(simple)) <= 2 * len(toposort(outputs))


@pytest.mark.parametrize("dtype", [float32, float16, bfloat16, int8, uint8, bool_], ids=lambda d: d.name)
def test_every_op_on_every_pair_of_special_constants(dtype: DType) -> None:
    """Constant folding and the algebraic rules, with a constant on the left, on the right and on both sides."""
    values = edge_values(dtype)
    specials = _constants(dtype)
    x = Source("NUMPY", dtype, "edge", "pairs").leaf(values.shape)
    outputs = []
    for op, row in KERNEL_OPS.items():
        if dtype.kind not in row.kinds or op in (Op.CAST, Op.BITCAST, Op.FMA, Op.WHERE):
            continue
        for a in specials:
            if row.arity == 1:
                outputs.append(x.like(a).unary(op))
                continue
            outputs += [x.binary(op, x.like(a)), x.like(a).binary(op, x)]
            outputs += [x.like(a).binary(op, x.like(b)) for b in specials]
    check_same_values(outputs)


def test_equal_nodes_are_one_object() -> None:
    x = Source("NUMPY", float32, "plain", 0).leaf((3,))
    same = [x.unary(Op.EXP), x.unary(Op.EXP), x.binary(Op.ADD, x.like(2.0)), x.binary(Op.ADD, x.like(2.0))]
    simple, _ = simplify(same)
    assert simple[0] is simple[1] and simple[2] is simple[3] and simple[0] is not simple[2]


@pytest.mark.parametrize("op", sorted(REDUCE))
@pytest.mark.parametrize("axes", [(0,), (2,), (0, 2), (1,), (0, 1, 2)])
def test_what_is_repeated_is_reduced_once_and_leaves_stay(op: str, axes: tuple[int, ...]) -> None:
    x = Source("NUMPY", float32, "plain", 0).leaf((5, 1, 6))
    y = Source("NUMPY", float32, "plain", 1).leaf((1, 1, 6))
    wide = x.expand((5, 4, 6))
    both = wide.binary(Op.MUL, y.expand((5, 4, 6)))
    outputs = [wide.reduce(op, axes), wide.binary(Op.MUL, wide.like(0.25)).reduce(op, axes), both.reduce(op, axes)]
    simple = check_same_values(outputs)
    assert {n for n in toposort(simple) if n.op == Op.BUFFER} == {x, y}
    assert [max(n.size for n in toposort([s])) for s in simple] == [30 if 1 not in axes else 120] * 3


@pytest.mark.parametrize("a, b", [(0.0, -0.0), (1.0, True), (2, 2.0)])
def test_constants_that_python_holds_equal_stay_apart(a: Any, b: Any) -> None:
    builder = Builder()
    x = Source("NUMPY", float32, "plain", 0).leaf((3,))
    assert builder.make(Op.CONST, (), a, x) is not builder.make(Op.CONST, (), b, x)
    assert builder.make(Op.CONST, (), math.nan, x) is builder.make(Op.CONST, (), -math.nan, x)


def test_composites_are_inlined_and_give_their_names() -> None:
    x, y = (param(i, (4,), float32, "NUMPY") for i in range(2))
    body = Subgraph("scaled_sum", [x, y], [x.binary(Op.MUL, y).reduce(Op.SUM, (0,)), y.unary(Op.NEG)])
    a, b = (Source("NUMPY", float32, "plain", k).leaf((4,)) for k in range(2))
    outputs = [*call(body, [a, b]), *call(body, [b, a])]
    simple, names = simplify(outputs)
    assert not {n.op for n in toposort(simple)} & {Op.FUNCTION, Op.OUTPUT, Op.PARAM}
    assert {names[s] for s in simple[::2]} == {"scaled_sum"}
    check_same_values(outputs)


def test_leaves_are_replaced_by_stand_ins() -> None:
    x = Source("NUMPY", float32, "plain", 0).leaf((4,))
    stand_in = LazyBuffer(Op.BUFFER, (), None, (4,), float32, "NUMPY")
    simple, _ = simplify([x.unary(Op.EXP), x], {x: stand_in})
    assert simple[0].srcs == (stand_in,) and simple[1] is stand_in


def test_a_long_chain_is_simplified_without_recursion() -> None:
    x = y = Source("NUMPY", float32, "plain", 0).leaf((4,))
    for _ in range(10_000):
        y = y.binary(Op.MUL, y.like(1.0)).binary(Op.ADD, x)
    simple, _ = simplify([y])
    assert len(toposort(simple)) == 10_001
