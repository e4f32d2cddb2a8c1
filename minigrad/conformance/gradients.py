"""Stage: conformance. In: the gradient table. Out: cases for the vector-Jacobian product of each rule, computed on the
device. That the rules are right is another test's matter; here a device runs the graphs they make.
Next: ``training.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from minigrad.conformance.case import Case, Program
from minigrad.conformance.contractions import matmul
from minigrad.conformance.programs import layer_norm, log_softmax, softmax
from minigrad.conformance.sources import Shape, Source, indexes
from minigrad.dtype import DType, float32, float64
from minigrad.grad import FLAT, RULES, vjp
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import RESULT_TYPES, SCALAR_OPS, Op

Build = Callable[[list[LazyBuffer]], LazyBuffer]
SHAPE = (5, 17)


def _at(x: LazyBuffer, *values: int) -> LazyBuffer:
    return indexes(np.array(values), x.device)


OTHERS: dict[str, tuple[tuple[Shape, ...], Build]] = {
    Op.WHERE: ((SHAPE, SHAPE), lambda x: x[0].binary(Op.LT, x[1]).where(x[0].unary(Op.EXP), x[1])),
    Op.CAST: ((SHAPE,), lambda x: x[0].cast(float64).unary(Op.SIN).cast(x[0].dtype)),
    Op.SUM: (((3, 4, 17),), lambda x: x[0].reduce(Op.SUM, (0, 2))),
    Op.PROD: ((SHAPE,), lambda x: x[0].reduce(Op.PROD, (0,))),
    Op.MAX: ((SHAPE,), lambda x: x[0].reduce(Op.MAX, (1,))),
    Op.MIN: ((SHAPE,), lambda x: x[0].reduce(Op.MIN, (0,))),
    Op.RESHAPE: ((SHAPE,), lambda x: x[0].reshape((17, 5))),
    Op.PERMUTE: (((3, 4, 17),), lambda x: x[0].permute((2, 0, 1))),
    Op.EXPAND: (((5, 1),), lambda x: x[0].expand((2, 5, 17))),
    Op.PAD: ((SHAPE,), lambda x: x[0].pad(((1, 2, 0), (0, 3, 2)))),
    Op.SHRINK: ((SHAPE,), lambda x: x[0].reshape((17, 5)).shrink(((1, 9), (0, 2)))),
    Op.FLIP: ((SHAPE,), lambda x: x[0].flip((1,))),
    Op.STRIDE: ((SHAPE,), lambda x: x[0].reshape((17, 5)).stride((2, 3))),
    Op.WINDOW: (((2, 9, 11),), lambda x: x[0].window(((1, 3, 2, 1), (2, 2, 1, 3)))),
    Op.CONTIGUOUS: ((SHAPE,), lambda x: x[0].permute((1, 0)).contiguous()),
    Op.COPY: ((SHAPE,), lambda x: x[0].copy_to("NUMPY").copy_to(x[0].device)),
    Op.GATHER: (((9, 3),), lambda x: x[0].gather([_at(x[0], 2, 0, 2, 8, 2)])),
    Op.SCATTER: (((9, 3), (4, 3)), lambda x: x[0].scatter(x[1], [_at(x[0], 2, 0, 8, 5)], "set")),
    Op.ASSIGN: (((5, 4), (2, 4)), lambda x: x[0].assign(x[1], ((Op.SHRINK, ((1, 4), (0, 4))), (Op.STRIDE, (2, 1))))),
    Op.SCAN: ((SHAPE,), lambda x: x[0].scan(Op.SUM, 1)),
    "matmul": (((9, 17), (17, 20)), lambda x: matmul(x[0], x[1])),
    "softmax": ((SHAPE,), lambda x: softmax(x[0], (1,))),
    "log-softmax": ((SHAPE,), lambda x: log_softmax(x[0], (0,))),
    "layer-norm": (((40, 33),), lambda x: layer_norm(x[0], (1,))),
    "scatter-add": (((9, 3), (4, 3)), lambda x: x[0].scatter(x[1], [_at(x[0], 2, 0, 2, 5)], "add")),
    "linear-relu": (((9, 17), (17, 20), (20,)), lambda x: _linear_relu(*x)),
}


def _linear_relu(x: LazyBuffer, w: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
    y = matmul(x, w).binary(Op.ADD, b.expand((9, 20)))
    return y.binary(Op.MAXIMUM, y.like(0.0))


def _node(op: str, operands: list[LazyBuffer]) -> LazyBuffer:
    first = operands[0]
    return LazyBuffer(op, tuple(operands), None, SHAPE, RESULT_TYPES.get(op, lambda d: d)(first.dtype), first.device)


def gradients() -> Iterator[Case]:
    """Each rule through which something flows, then programs of several ops; float32 and float64."""
    names = [*(n for n in RULES if n not in FLAT), *(n for n in OTHERS if n not in RULES)]
    for name in names:
        for dtype in (float32, float64):
            yield Case("gradient", name, dtype, partial(_gradient, name, dtype))


def _gradient(name: str, dtype: DType, device: str) -> Program:
    if name in OTHERS:
        shapes, build = OTHERS[name]
    else:
        row = SCALAR_OPS[name]
        shapes, build = (SHAPE,) * row.arity, partial(_node, name)
        if row.kinds == "c":
            dtype = dtype.complex
    source = Source(device, dtype, "positive", "gradient", name)
    inputs = [source.leaf(shape) for shape in shapes]
    if name == "linear-relu":
        inputs[0] = inputs[0].binary(Op.SUB, inputs[0].like(1.0))
    output = build(inputs)
    upstream = Source(device, output.dtype, "positive", "gradient of", name).leaf(output.shape)
    found = vjp([output], [upstream], inputs, [True] * len(inputs))
    outputs = [f.binary(Op.ADD, f.like(0.0)) for f in found if f is not None]
    scales = [LazyBuffer.const(8.0, float64, o.shape, device) for o in outputs]
    return Program(outputs, None, scales, 64.0, 16.0)
