"""Stage: schedule, step 1. In: the pending graph as recorded. Out: an equal graph of fewer nodes, without FUNCTIONs:
composites inlined, constants folded, equal nodes shared, movement merged.
Next: ``split.py``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.dtype import accumulator, bool_
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.graph.origins import follow
from minigrad.graph.reference import compute, number
from minigrad.ops import APPROXIMATE, ELEMENTWISE, MOVEMENT, REDUCE, REDUCE_OPS, Op


@dataclass(frozen=True)
class Rule:
    """One rewrite: ``ops`` are the node ops it looks at; ``apply`` gives the replacement or None. ``before`` and
    ``after`` are an example over x (float32, shape (4, 6)), i (int32), b (bool), h (float16) of the same shape and r
    (int64, (4,), row numbers), which is its test."""

    name: str
    ops: tuple[str, ...]
    why: str
    before: str
    after: str
    apply: Callable[[LazyBuffer, Builder], LazyBuffer | None]


Told = Callable[[str, str, LazyBuffer, LazyBuffer], None]
"""Somebody who wants to see the rewrites."""


class Builder:
    """Makes nodes: each is rewritten by the rules until none applies, and equal nodes are one object. ``told`` is given
    the name of each rule that applies and why it holds, the node before, and the one that takes its place; what rules
    do to that one comes first."""

    def __init__(self, told: Told | None = None) -> None:
        self.nodes: dict[Any, LazyBuffer] = {}
        self.names: dict[LazyBuffer, str] = {}
        self.told = told

    def make(self, op: str, srcs: tuple[LazyBuffer, ...], arg: Any, like: LazyBuffer) -> LazyBuffer:
        """The simplified node for ``op(srcs, arg)`` with the shape, dtype and device of ``like``."""
        key = (op, srcs, _constant_key(arg) if op == Op.CONST else arg, like.shape, like.dtype, like.device)
        node = self.nodes.get(key)
        if node is None:
            node = LazyBuffer(op, srcs, arg, like.shape, like.dtype, like.device)
            for rule in RULES_OF.get(op, ()):
                replacement = rule.apply(node, self)
                if replacement is not None:
                    if self.told is not None:
                        self.told(rule.name, rule.why, node, replacement)
                    node = replacement
                    break
            self.nodes[key] = node
        return node

    def again(self, node: LazyBuffer) -> LazyBuffer:
        """The simplified form of a node just made from simplified sources; leaves stand for themselves already."""
        assert node.op not in (Op.BUFFER, Op.SCALAR), "a leaf would be another one"
        return self.make(node.op, node.srcs, node.arg, node)


def _constant_key(value: Any) -> Any:
    """Equal only for the same number of the same kind: 1, 1.0 and True differ, and so do 0.0 and -0.0; NaN equals
    itself."""
    return (type(value).__name__, math.copysign(1.0, value), value) if value == value else "nan"


def simplify(outputs: Sequence[LazyBuffer], leaves: dict[LazyBuffer, LazyBuffer] | None = None, name: str = "",
             told: Told | None = None) -> tuple[list[LazyBuffer], dict[LazyBuffer, str]]:
    """Simplified outputs, and the names of the composites that nodes came from. ``leaves`` maps leaf nodes (BUFFER,
    SCALAR) to those that stand for them in the result; without it they stand for themselves. ``name`` is that of the
    composite in whose body they stand. ``told``: see ``Builder``."""
    builder = Builder(told)
    at = _import(toposort(outputs), builder, dict(leaves or {}), name)
    return [_value(at, o) for o in outputs], builder.names


def _import(order: Sequence[LazyBuffer], builder: Builder, at: dict[LazyBuffer, Any], name: str,
            ) -> dict[LazyBuffer, Any]:
    """Rebuild nodes in order; ``at`` maps each to its simplified form (a FUNCTION to the list of its outputs)."""
    for node in order:
        if node in at:
            continue
        if not name:  # else all of it is one call
            follow(node)
        if node.op == Op.FUNCTION:
            body = node.arg
            inside = dict(zip(body.params, [_value(at, s) for s in node.srcs], strict=True))
            outermost = name or body.name
            inside = _import(body.order, builder, inside, outermost)
            results = [_value(inside, o) for o in body.outputs]
            for result in results:
                builder.names.setdefault(result, outermost)
            at[node] = results
            if builder.told is not None:
                builder.told("inline", "a composite is its body", node, results[0])
        elif node.op == Op.OUTPUT and node.srcs[0].op == Op.FUNCTION:
            at[node] = at[node.srcs[0]][node.arg]
        elif node.op in (Op.BUFFER, Op.SCALAR):
            at[node] = node
        else:
            new = builder.make(node.op, tuple([_value(at, s) for s in node.srcs]), node.arg, node)
            if name and new.op in REDUCE:
                builder.names.setdefault(new, name)
            at[node] = new
    return at


def _value(at: dict[LazyBuffer, Any], node: LazyBuffer) -> LazyBuffer:
    found = at[node]
    return found[0] if isinstance(found, list) else found


# --- the rules ---------------------------------------------------------------------------------------------------


def _is_const(node: LazyBuffer, value: float) -> bool:
    return node.op == Op.CONST and node.arg == value and math.copysign(1.0, node.arg) == math.copysign(1.0, value)


def _fold(node: LazyBuffer, builder: Builder) -> LazyBuffer | None:
    """What the reference makes of it, where that is what every kernel makes of it."""
    if not all(s.op == Op.CONST for s in node.srcs) or node.op == Op.FMA or node.dtype.kind == "c":
        return None  # no constant is complex
    if node.op in APPROXIMATE and node.dtype.is_float:
        return None
    operands = [number(s.arg, s.dtype, (1,)) for s in node.srcs]
    result = np.asarray(compute(node, operands)).astype(node.dtype.numpy)[0].item()
    return builder.make(Op.CONST, (), result, node)


def _move_const(node: LazyBuffer, builder: Builder) -> LazyBuffer | None:
    return builder.make(Op.CONST, (), node.srcs[0].arg, node) if node.srcs[0].op == Op.CONST else None


def _same(node: LazyBuffer, builder: Builder) -> LazyBuffer | None:
    src = node.srcs[0]
    if node.op in (Op.RESHAPE, Op.EXPAND, Op.SHRINK, Op.STRIDE) and src.shape == node.shape:
        return src
    if node.op == Op.PERMUTE and node.arg == tuple(range(len(node.arg))):
        return src
    if node.op == Op.CAST and src.dtype is node.dtype:
        return src
    return src if node.op == Op.CONTIGUOUS and src.op == Op.BUFFER and src.arg is None else None


def _merge_movement(node: LazyBuffer, builder: Builder) -> LazyBuffer | None:
    src = node.srcs[0]
    if src.op != node.op:
        return None
    below = src.srcs[0]
    if node.op == Op.RESHAPE:
        return builder.make(Op.RESHAPE, (below,), node.arg, node)
    if node.op == Op.PERMUTE:
        return builder.make(Op.PERMUTE, (below,), tuple(src.arg[a] for a in node.arg), node)
    if node.op == Op.EXPAND:
        return builder.make(Op.EXPAND, (below,), node.arg, node)
    if node.op == Op.SHRINK:
        box = tuple((b0 + b1, b0 + e1) for (b0, _), (b1, e1) in zip(src.arg, node.arg, strict=True))
        return builder.make(Op.SHRINK, (below,), box, node)
    return None


def _neutral_right(node: LazyBuffer, builder: Builder) -> LazyBuffer | None:
    a, b = node.srcs
    if node.op in (Op.MUL, Op.DIV) and b.op == Op.CONST and b.arg == 1:
        return a
    if node.op == Op.SUB and _is_const(b, 0.0):
        return a
    return a if node.op == Op.ADD and ((_is_const(b, 0) and node.dtype.is_int) or _is_const(b, -0.0)) else None


def _neutral_left(node: LazyBuffer, builder: Builder) -> LazyBuffer | None:
    a, b = node.srcs
    if node.op == Op.MUL and a.op == Op.CONST and a.arg == 1:
        return b
    return b if node.op == Op.ADD and ((_is_const(a, 0) and node.dtype.is_int) or _is_const(a, -0.0)) else None


def _double(node: LazyBuffer, builder: Builder) -> LazyBuffer | None:
    return node.srcs[0].srcs[0] if node.srcs[0].op == node.op else None


def _subtract(node: LazyBuffer, builder: Builder) -> LazyBuffer | None:
    a, b = node.srcs
    if b.op != Op.NEG:
        return None
    return builder.make(Op.SUB if node.op == Op.ADD else Op.ADD, (a, b.srcs[0]), None, node)


def _reciprocal(node: LazyBuffer, builder: Builder) -> LazyBuffer | None:
    a, b = node.srcs
    if b.op != Op.CONST or b.arg == 0 or not math.isfinite(b.arg):
        return None
    mantissa, exponent = math.frexp(b.arg)
    if abs(mantissa) != 0.5 or abs(exponent) > 14:
        return None
    return builder.make(Op.MUL, (a, builder.make(Op.CONST, (), 1.0 / b.arg, b)), None, node)


def _choose(node: LazyBuffer, builder: Builder) -> LazyBuffer | None:
    condition, a, b = node.srcs
    if condition.op == Op.CONST:
        return a if condition.arg else b
    if node.dtype is bool_ and a.op == b.op == Op.CONST and a.arg != b.arg:
        return condition if a.arg else builder.make(Op.NOT, (condition,), None, node)
    return a if a is b else None


def _one_element(node: LazyBuffer, builder: Builder) -> LazyBuffer | None:
    return node.srcs[0] if node.shape == node.srcs[0].shape else None


def _reduce_repeated(node: LazyBuffer, builder: Builder) -> LazyBuffer | None:
    source = node.srcs[0]
    parts = source.srcs if source.op in ELEMENTWISE else (source,)
    expands = [p for p in parts if p.op == Op.EXPAND]
    if not expands or any(p.op not in (Op.EXPAND, Op.CONST) for p in parts) or any(
            len(p.srcs[0].shape) != len(source.shape) for p in expands):
        return None
    shape = tuple([1 if a not in node.arg and all(p.srcs[0].shape[a] == 1 for p in expands) else n
                   for a, n in enumerate(source.shape)])
    if shape == source.shape:
        return None
    small = []
    for p in parts:
        below = p.srcs[0] if p.op == Op.EXPAND else p
        small.append(below if below.shape == shape else builder.again(below.expand(shape)) if p.op == Op.EXPAND else
                     builder.again(LazyBuffer(Op.CONST, (), p.arg, shape, p.dtype, p.device)))
    inside = small[0] if parts == (source,) else builder.again(
        LazyBuffer(source.op, tuple(small), source.arg, shape, source.dtype, source.device))
    return builder.again(builder.again(inside.reduce(node.op, node.arg)).expand(node.shape))


def _zero(node: LazyBuffer, builder: Builder) -> LazyBuffer | None:
    for s in node.srcs:
        if s.op == Op.CONST and s.arg == 0 and not node.dtype.is_float:
            return builder.make(Op.CONST, (), 0, node)
    return None


def _empty(node: LazyBuffer, builder: Builder) -> LazyBuffer | None:
    return builder.make(Op.CONST, (), False if node.dtype is bool_ else 0, node) if 0 in node.shape else None


def _reduce_nothing(node: LazyBuffer, builder: Builder) -> LazyBuffer | None:
    if 0 not in node.srcs[0].shape:
        return None
    return builder.make(Op.CONST, (), REDUCE_OPS[node.op].identity(node.dtype), node)


def _write_nothing(node: LazyBuffer, builder: Builder) -> LazyBuffer | None:
    return node.srcs[0] if 0 in node.srcs[1].shape else None


def _wide_sum(node: LazyBuffer, builder: Builder) -> LazyBuffer | None:
    wide = accumulator(node.dtype)
    if wide is node.dtype or node.arg[1] not in ("add", "mul"):
        return None
    base, value = (builder.again(s.cast(wide)) for s in node.srcs[:2])
    return builder.again(builder.again(base.scatter(value, node.srcs[2:], node.arg[1])).cast(node.dtype))


RULES: tuple[Rule, ...] = (
    Rule("empty", tuple(sorted(ELEMENTWISE | MOVEMENT | REDUCE
                               | {Op.CONTIGUOUS, Op.GATHER, Op.SCATTER, Op.ASSIGN, Op.SCAN})),
         "it has no elements: there is nothing to compute", "x.shrink(((0, 0), (0, 6))).unary('EXP')",
         "LazyBuffer.const(0, x.dtype, (0, 6), x.device)", _empty),
    Rule("reduce-nothing", tuple(sorted(REDUCE)), "the identity of the op",
         "x.shrink(((0, 0), (0, 6))).reduce('MAX', (0,))", "LazyBuffer.const(-math.inf, x.dtype, (1, 6), x.device)",
         _reduce_nothing),
    Rule("write-nothing", (Op.SCATTER, Op.ASSIGN), "no element is replaced",
         "x.assign(x.shrink(((0, 0), (0, 6))), (('SHRINK', ((2, 2), (0, 6))),))", "x", _write_nothing),
    Rule("wide-sum", (Op.SCATTER,), "halves are summed and multiplied in float32 and rounded once",
         "h.scatter(h, [r], 'add')", "h.cast(float32).scatter(h.cast(float32), [r], 'add').cast(h.dtype)", _wide_sum),
    Rule("fold-constants", tuple(sorted(ELEMENTWISE)),
         "known before the program runs, to the bit: exp and its like differ from device to device, an FMA rounds once",
         "x.like(2.0).binary('ADD', x.like(3.0))",
         "x.like(5.0)", _fold),
    Rule("move-constant", (Op.RESHAPE, Op.PERMUTE, Op.EXPAND, Op.SHRINK, Op.FLIP, Op.STRIDE, Op.WINDOW),
         "every element is the same", "x.like(2.0).reshape((24,))",
         "LazyBuffer.const(2.0, x.dtype, (24,), x.device)", _move_const),
    Rule("no-op", (Op.RESHAPE, Op.PERMUTE, Op.EXPAND, Op.SHRINK, Op.STRIDE, Op.CAST, Op.CONTIGUOUS), "nothing changes",
         "LazyBuffer('RESHAPE', (x,), (4, 6), (4, 6), x.dtype, x.device)", "x", _same),
    Rule("merge-movement", (Op.RESHAPE, Op.PERMUTE, Op.EXPAND, Op.SHRINK), "one index map in place of two",
         "x.reshape((2, 12)).reshape((24,))", "x.reshape((24,))", _merge_movement),
    Rule("neutral-right", (Op.MUL, Op.DIV, Op.SUB, Op.ADD),
         "exact for NaN, infinity and -0.0 (x + 0.0 is not: it turns -0.0 into 0.0)",
         "x.binary('MUL', x.like(1.0))", "x", _neutral_right),
    Rule("neutral-left", (Op.MUL, Op.ADD), "as neutral-right", "i.like(0).binary('ADD', i)", "i", _neutral_left),
    Rule("double", (Op.NEG, Op.NOT), "its own inverse", "x.unary('NEG').unary('NEG')", "x", _double),
    Rule("subtract", (Op.ADD, Op.SUB), "IEEE subtraction is addition of the negative",
         "x.binary('ADD', x.unary('ABS').unary('NEG'))", "x.binary('SUB', x.unary('ABS'))", _subtract),
    Rule("reciprocal", (Op.DIV,), "dividing by a power of two is exact, and so is its reciprocal",
         "x.binary('DIV', x.like(4.0))", "x.binary('MUL', x.like(0.25))", _reciprocal),
    Rule("choose", (Op.WHERE,), "the choice is known, makes no difference, or is the value",
         "b.where(b.like(False), b.like(True)).where(x, x.like(2.0).binary('ADD', x.like(3.0)))",
         "b.unary('NOT').where(x, x.like(5.0))", _choose),
    Rule("one-element", tuple(sorted(REDUCE)), "a reduction over axes of size 1",
         "x.reshape((4, 6, 1)).reduce('SUM', (2,))", "x.reshape((4, 6, 1))", _one_element),
    Rule("reduce-repeated", tuple(sorted(REDUCE)), "what is repeated along an axis that stays is reduced once",
         "x.reshape((1, 4, 6)).expand((3, 4, 6)).reduce('SUM', (2,))",
         "x.reshape((1, 4, 6)).reduce('SUM', (2,)).expand((3, 4, 1))", _reduce_repeated),
    Rule("zero", (Op.MUL, Op.AND), "integers and bools only: 0 * NaN is NaN",
         "i.binary('MUL', i.like(0))", "i.like(0)", _zero),
)

RULES_OF: dict[str, list[Rule]] = {op: [r for r in RULES if op in r.ops] for op in {op for r in RULES for op in r.ops}}
"""The rules that look at nodes of an op. One that is added here at run time takes part, too."""
