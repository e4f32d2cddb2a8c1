"""Stage: tests of schedule. In: graphs with complex values. Out: that they become equal graphs without such."""

from __future__ import annotations

import numpy as np

from minigrad.dtype import complex64, float32
from minigrad.graph.function import Subgraph, call, has_complex, param
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.graph.loop import Loop, loop_outputs
from minigrad.graph.reference import evaluate
from minigrad.graph.verify import verify
from minigrad.ops import Op
from minigrad.schedule.complex_parts import Pair, leaf_of, split


def _split(program: object, array: np.ndarray) -> None:
    leaf = LazyBuffer(Op.BUFFER, (), None, array.shape, complex64, "CPU")
    outputs = list(program(leaf))  # type: ignore[operator]
    verify(outputs)
    wanted = evaluate(outputs, lambda node: array)
    memory = leaf_of(leaf)
    made = [o.whole if isinstance(o, Pair) else o for o in split(outputs, {leaf: Pair(whole=memory)})]
    assert not has_complex(toposort(made))
    verify(made)
    found = evaluate(made, lambda node: array.view(np.float32).reshape((*array.shape, 2)))
    for want, got in zip(wanted, found, strict=True):
        want = np.ascontiguousarray(want).reshape(want.shape)
        parts = want[..., None].view(np.float32) if want.dtype.kind == "c" else want
        np.testing.assert_allclose(got, parts, rtol=1e-5)


def test_a_graph_in_parts(rng: np.random.Generator) -> None:
    array = (rng.standard_normal((3, 4)) + 1j * rng.standard_normal((3, 4))).astype(np.complex64)
    _split(lambda z: [z.binary(Op.MUL, z).reduce(Op.SUM, (1,)), z.permute((1, 0)), z.real(), z.reduce(Op.PROD, (0, 1)),
                      z.scan(Op.PROD, 1), z.bitcast(float32), z.binary(Op.EQ, z), z.conj().contiguous()], array)


def test_functions_have_two_params_for_a_complex_one(rng: np.random.Generator) -> None:
    array = (rng.standard_normal(5) + 1j * rng.standard_normal(5)).astype(np.complex64)
    p, q = param(0, (5,), complex64, "CPU"), param(1, (5,), float32, "CPU")
    body = Subgraph("body", [p, q], [p.binary(Op.DIV, q.cast(complex64)), p.imag()])
    _split(lambda z: call(body, [z, z.real()]), array)


def test_memory_is_read_as_it_lies() -> None:
    """What only moves complex numbers moves both parts together."""
    leaf = LazyBuffer(Op.BUFFER, (), (8, 2), (3, 4), complex64, "CPU")
    memory = leaf_of(leaf)
    assert (memory.shape, memory.arg, memory.dtype) == ((3, 4, 2), (16, 4, 1), float32)
    moved, = split([leaf.flip((0,)).permute((1, 0))], {leaf: Pair(whole=memory)})
    assert isinstance(moved, Pair) and [n.op for n in toposort([moved.whole])] == [Op.BUFFER, Op.FLIP, Op.PERMUTE]


def test_loops_have_two_states_for_a_complex_one(rng: np.random.Generator) -> None:
    array = (rng.standard_normal((4, 3)) + 1j * rng.standard_normal((4, 3))).astype(np.complex64)
    state, row = param(0, (3,), complex64, "CPU"), param(1, (3,), complex64, "CPU")
    step = Subgraph("step", [state, row], [state.binary(Op.MUL, row), row.imag()])
    _split(lambda z: loop_outputs(Loop(step, 1, 1, 4), [z.reduce(Op.SUM, (0,)).reshape((3,)), z]), array)
