"""Stage: tests. In: every op that has a batching rule. Out: what it gives for all rows at once is what the reference
gives row by row, and a total over the rows is their sum.
Next: ``tests/unit/graph/``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from minigrad.dtype import DType, bool_, complex64, float32, int32, int64, uint32, uint64
from minigrad.grad.batching import RULES, Batch, batched_of
from minigrad.graph.function import Subgraph, call, param, without_functions
from minigrad.graph.host import register_host
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.loop import Loop, loop_outputs
from minigrad.graph.reference import evaluate
from minigrad.graph.verify import verify
from minigrad.ops import ELEMENTWISE, REDUCE, RESULT_TYPES, SCALAR_OPS, Op

ROWS = 3
Values = list[LazyBuffer]

CASES: dict[str, Callable[[Values], LazyBuffer]] = {
    **{op: lambda v, op=op: v[0].reduce(op, (0, 2)) for op in REDUCE},  # type: ignore[misc]
    Op.RESHAPE: lambda v: v[0].reshape((6, 4)),
    Op.PERMUTE: lambda v: v[0].permute((2, 0, 1)),
    Op.EXPAND: lambda v: v[0].reduce(Op.SUM, (1,)).expand((5, 2, 3, 4)),
    Op.PAD: lambda v: v[0].pad(((1, 0, 0), (0, 2, 1), (0, 0, 0))),
    Op.SHRINK: lambda v: v[0].shrink(((0, 1), (1, 3), (0, 4))),
    Op.FLIP: lambda v: v[0].flip((0, 2)),
    Op.STRIDE: lambda v: v[0].stride((1, 2, 3)),
    Op.WINDOW: lambda v: v[0].window(((2, 2, 1, 2), (1, 2, 1, 1))),
    Op.CONTIGUOUS: lambda v: v[0].flip((0,)).contiguous(),
    Op.GATHER: lambda v: v[0].gather([v[2]]),
    Op.SCATTER: lambda v: v[0].scatter(v[0].gather([v[2]]), [v[2]], "add"),
    Op.ASSIGN: lambda v: v[0].assign(v[1].shrink(((0, 1), (0, 3), (0, 4))), ((Op.FLIP, (2,)), (
        Op.SHRINK, ((1, 2), (0, 3), (0, 4))))),
    Op.SCAN: lambda v: v[0].scan(Op.SUM, 1),
    Op.COPY: lambda v: v[0].copy_to("NUMPY").copy_to("CPU"),
}


def _elementwise(op: str, v: Values) -> LazyBuffer:
    row = SCALAR_OPS[op]
    kinds = {"f": float32, "i": int32, "u": int32, "b": bool_, "c": complex64}
    dtype = float32 if "f" in row.kinds else kinds[row.kinds[0]]
    operands = [x.cast(dtype) for x in (v[0], v[1], v[1].binary(Op.MUL, v[0]))[:row.arity]]
    if op == Op.WHERE:
        operands[0] = operands[0].cast(bool_)
    if op in (Op.CAST, Op.BITCAST):
        return operands[0].cast(int32) if op == Op.CAST else operands[0].bitcast(int32)
    result = RESULT_TYPES.get(op, lambda dtype: dtype)(operands[-1].dtype)
    return LazyBuffer(op, tuple(operands), None, operands[0].shape, result, "CPU")


@pytest.mark.parametrize("op", sorted(set(RULES) - {Op.RANDOM_BITS}))
def test_rows_at_once_are_the_rows_one_by_one(op: str, rng: np.random.Generator) -> None:
    shapes: list[tuple[tuple[int, ...], DType]] = [((2, 3, 4), float32), ((2, 3, 4), float32), ((5,), int64)]
    one = [param(i, shape, dtype, "CPU") for i, (shape, dtype) in enumerate(shapes)]
    every = [param(i, (ROWS, *shape), dtype, "CPU") for i, (shape, dtype) in enumerate(shapes)]
    values = [rng.integers(1, 5, (ROWS, 2, 3, 4)).astype(np.float32), rng.integers(1, 5, (ROWS, 2, 3, 4)).astype(
        np.float32), rng.integers(0, 2, (ROWS, 5))]
    wanted = _elementwise(op, one) if op in ELEMENTWISE else CASES[op](one)
    batch = Batch(ROWS, {one[0]: every[0], one[2]: every[2]}, {one[1]: one[1]})
    found = batch.of(wanted)
    verify([found])
    given = dict(zip(every, values, strict=True)) | {one[1]: values[1][0]}
    rows = [evaluate([wanted], dict(zip(one, [values[0][t], values[1][0], values[2][t]], strict=True)).__getitem__)[0]
            for t in range(ROWS)]
    np.testing.assert_array_equal(evaluate([found], given.__getitem__)[0], np.stack(rows))
    if wanted.dtype is float32 and op not in (Op.DIV, Op.POW, Op.EXP, Op.LOG, Op.SIN, Op.COS, Op.TANH, Op.ERF, Op.SQRT):
        total = batch.total(wanted)
        verify([total])
        np.testing.assert_array_equal(evaluate([total], given.__getitem__)[0], np.stack(rows).sum(0))


def _rows_of(body: Subgraph, values: list[np.ndarray], differs: tuple[bool, ...]) -> None:
    """The body on all rows gives what it gives on each, one by one."""
    batched, flags = batched_of(body, ROWS, differs)
    verify(list(batched.outputs))
    at = dict(zip(batched.params, values, strict=True))
    found = evaluate(without_functions(batched.outputs), at.__getitem__)
    for i, (output, flag) in enumerate(zip(body.outputs, flags, strict=True)):
        for t in range(ROWS):
            row = {p: v[t] if d else v for p, v, d in zip(body.params, values, differs, strict=True)}
            expected = evaluate(without_functions([output]), row.__getitem__)[0]
            np.testing.assert_allclose(found[i][t] if flag else found[i], expected)


@pytest.mark.parametrize("differs", [(True, False), (False, True), (True, True)])
def test_functions_loops_and_numpy(differs: tuple[bool, bool], rng: np.random.Generator) -> None:
    x, w = param(0, (4, 3), float32, "CPU"), param(1, (3,), float32, "CPU")
    values = [rng.random((ROWS, *p.shape) if d else p.shape).astype(np.float32)
              for p, d in zip((x, w), differs, strict=True)]
    a, b = (param(i, s, float32, "CPU") for i, s in enumerate(((4, 3), (3,))))
    inner = Subgraph("inner", [a, b], [a.binary(Op.MUL, b.reshape((1, 3)).expand((4, 3))), b.unary(Op.EXP)])
    first, second = call(inner, [x, w])
    total, row, factor = (param(i, (3,), float32, "CPU") for i in range(3))
    step = Subgraph("step", [total, row, factor], [total.binary(Op.MUL, factor).binary(Op.ADD, row), row])
    loop = loop_outputs(Loop(step, 1, 1, 4), [w, x, w])
    order = LazyBuffer(Op.HOST, (x,), ("argsort", (1, False)), (4, 3), int64, "CPU")
    sums = LazyBuffer(Op.HOST, (x, w), ("test_sum", ()), (4,), float32, "CPU")
    register_host("test_sum", lambda arrays: (arrays[0] * arrays[1]).sum(-1))
    _rows_of(Subgraph("f", [x, w], [first, second, *loop]), values, differs)
    _rows_of(Subgraph("g", [x, w], [order, sums]), values, differs)


def test_rows_have_random_bits_of_their_own() -> None:
    key = param(0, (), uint64, "CPU")
    bits = LazyBuffer(Op.RANDOM_BITS, (key,), None, (3,), uint32, "CPU")
    body, _ = batched_of(Subgraph("bits", [key], [bits]), ROWS, (True,))
    found = evaluate(body.outputs, lambda leaf: np.full(ROWS, 7, np.uint64))[0]
    assert len(set(found.reshape(-1).tolist())) == ROWS * 3


def test_an_op_without_a_rule_says_so() -> None:
    key = param(0, (), int64, "CPU")
    bits = LazyBuffer(Op.RANDOM_BITS, (key,), None, (3,), int64, "CPU")
    with pytest.raises(NotImplementedError, match="RANDOM_BITS can't be computed for several rows at once"):
        Batch(2, {key: param(0, (2,), int64, "CPU")}, {}).of(bits)


def test_a_gradient_written_by_hand_is_that_of_all_rows(rng: np.random.Generator) -> None:
    """Of x w and w w, with slopes that do not follow from the body: 2 w and 3 x of the first, 5 w of the second."""
    x, w = param(0, (4,), float32, "CPU"), param(1, (4,), float32, "CPU")

    def slopes(inputs: Values, outputs: Values, grads: list[LazyBuffer | None]) -> list[LazyBuffer | None]:
        of_x, of_w = None, None
        if grads[0] is not None:
            of_x = grads[0].binary(Op.MUL, inputs[1]).binary(Op.MUL, inputs[1].like(2.0))
            of_w = grads[0].binary(Op.MUL, inputs[0]).binary(Op.MUL, inputs[1].like(3.0))
        if grads[1] is not None:
            more = grads[1].binary(Op.MUL, inputs[1]).binary(Op.MUL, inputs[1].like(5.0))
            of_w = more if of_w is None else of_w.binary(Op.ADD, more)
        return [of_x, of_w]

    body = Subgraph("f", [x, w], [x.binary(Op.MUL, w), w.binary(Op.MUL, w)], slopes)
    batched, flags = batched_of(body, ROWS, (True, False))
    assert flags == (True, False) and batched.gradient is not None
    shapes = [(ROWS, 4), (4,), (ROWS, 4), (4,), (ROWS, 4), (4,)]
    a, b, _, _, g, h = arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    given = [param(i, shape, float32, "CPU") for i, shape in enumerate(shapes)]
    values = dict(zip(given, arrays, strict=True))
    of_g, of_h = (3 * g * a).sum(0), 5 * h * b
    for grads, want in (((g, h), of_g + of_h), ((g, None), of_g), ((None, h), of_h)):
        passed = [None if v is None else p for v, p in zip(grads, given[4:], strict=True)]
        of_x, of_w = batched.gradient(given[:2], given[2:4], passed)
        assert (of_x is None) == (grads[0] is None) and of_w is not None
        found = evaluate([of_w] if of_x is None else [of_w, of_x], values.__getitem__)
        np.testing.assert_allclose(found[0], want, rtol=1e-5)
        if of_x is not None:
            np.testing.assert_allclose(found[1], 2 * g * b, rtol=1e-6)
