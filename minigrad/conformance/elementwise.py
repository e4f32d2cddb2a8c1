"""Stage: conformance. In: the table of scalar ops. Out: cases for each op and each dtype it takes, on all shapes and
behind all views.
Next: ``complex_numbers.py``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from minigrad.conformance.case import Case, Program
from minigrad.conformance.sources import SHAPES, VIEWS, Shape, Source, edge_values, rng_of
from minigrad.dtype import ALL, DType, bool_, float64
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import RESULT_TYPES, SCALAR_OPS, Op, ScalarOp

TRANSCENDENTAL: dict[str, float] = {Op.EXP: 2, Op.LOG: 2, Op.SIN: 2, Op.COS: 2, Op.TANH: 3, Op.ERF: 4, Op.POW: 4}
"""How many units in the last place each may be off (in float64 NumPy's own error is part of that)."""


def elementwise() -> Iterator[Case]:
    """Each op × dtype on each shape, the views going round so that together all pairs of shape and view occur."""
    turn = 0
    for row in SCALAR_OPS.values():
        if row.name in (Op.CAST, Op.BITCAST, Op.COMPLEX):  # below; ``complex_numbers.py``
            continue
        for dtype in ALL:
            if dtype.kind in row.kinds:
                for shape in SHAPES:
                    yield _case(row, dtype, shape, turn)
                    turn += 1
                yield Case("elementwise", f"{row.name}-of-constants", dtype, partial(_of_constants, row, dtype))
    yield from _conversions()


def _case(row: ScalarOp, dtype: DType, shape: Shape, turn: int) -> Case:
    names = list(VIEWS)
    views = tuple(names[(turn + k * (1 + turn // len(names) % len(names))) % len(names)] for k in range(row.arity))
    name = f"{row.name}-{_text(shape)}-{'-'.join(views)}"
    return Case("elementwise", name, dtype, partial(_apply, row, dtype, shape, views))


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _apply(row: ScalarOp, dtype: DType, shape: Shape, views: tuple[str, ...], device: str) -> Program:
    source = Source(device, dtype, "edge", row.name, shape, views)
    operands = [source.view(v, shape) for v in views]
    if row.name == Op.WHERE:
        operands[0] = Source(device, bool_, "edge", shape).view(views[0], shape)
    return _program(row, dtype, operands)


def _of_constants(row: ScalarOp, dtype: DType, device: str) -> Program:
    """Constants all, of which a scheduler may know the result: each of the edge values with others."""
    rng, values = rng_of("constants", row.name, dtype.name), edge_values(dtype)
    operands = [[LazyBuffer.const(v.item(), dtype, (2,), device) for v in chosen]
                for chosen in (values, *(rng.permutation(values) for _ in range(row.arity - 1)))]
    zeros = [LazyBuffer.const(0, dtype, (2,), device)] * row.arity
    several = [list(chosen) for chosen in zip(*operands, strict=True)] + [zeros]
    if row.name == Op.WHERE:
        for chosen in several:
            chosen[0] = LazyBuffer.const(bool(rng.integers(2)), bool_, (2,), device)
    made = [_program(row, dtype, chosen) for chosen in several]
    first = made[0]
    return Program([p.outputs[0] for p in made], [(p.expected or p.outputs)[0] for p in made],
                   None if first.scales is None else [s for p in made for s in p.scales or ()], first.ulps,
                   first.scale_ulps)


def _program(row: ScalarOp, dtype: DType, operands: list[LazyBuffer]) -> Program:
    """The op on its operands, and how exact it must be."""
    output = _node(row.name, operands)
    if row.name == Op.FMA:
        # one rounding in place of two: off by half an ulp of the product or of the sum
        product = operands[0].binary(Op.MUL, operands[1])
        scale = product.unary(Op.ABS).binary(Op.ADD, operands[2].unary(Op.ABS))
        return Program([output], [_exact_fma(operands)], [scale], 1.0, 1.0)
    if row.name in TRANSCENDENTAL and dtype.is_float:
        wide = _node(row.name, [o.cast(float64) for o in operands]).cast(dtype)
        return Program([output], [wide], None, TRANSCENDENTAL[row.name])
    return Program([output])


def _exact_fma(operands: list[LazyBuffer]) -> LazyBuffer:
    a, b, c = (o.cast(float64) for o in operands)
    return a.binary(Op.MUL, b).binary(Op.ADD, c).cast(operands[0].dtype)


def _node(op: str, operands: list[LazyBuffer]) -> LazyBuffer:
    last = operands[-1]
    dtype = RESULT_TYPES.get(op, lambda dtype: dtype)(last.dtype)
    return LazyBuffer(op, tuple(operands), None, last.shape, dtype, last.device)


def _conversions() -> Iterator[Case]:
    names = list(VIEWS)
    turn = 0
    for source in ALL:
        for target in ALL:
            for op in (Op.CAST, Op.BITCAST):
                if source is target or (op == Op.BITCAST and (source.size != target.size or bool_ in (source, target))):
                    continue
                for shape in ((), (33,), (3, 37, 129)):
                    view = names[turn % len(names)]
                    turn += 1
                    name = f"{op}-{source.name}-{_text(shape)}-{view}"
                    yield Case("elementwise", name, target, partial(_convert, op, source, target, shape, view))


def _convert(op: str, source: DType, target: DType, shape: Shape, view: str, device: str) -> Program:
    value = Source(device, source, "edge", op, target.name, shape).view(view, shape)
    output = value.cast(target) if op == Op.CAST else value.bitcast(target)
    if op == Op.BITCAST and target.is_float:
        # which NaN a device keeps when it moves a float is its own affair: compare the bits of numbers only
        quiet = output.binary(Op.EQ, output).where(output, output.like(1.0))
        return Program([quiet])
    return Program([output])
