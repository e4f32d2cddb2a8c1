"""Stage: golden tests. In: nothing. Out: the programs, each as a recorded graph: outputs and what the graph reads.
``graph`` programs are written in LazyBuffer ops; ``front`` programs in Tensors, as a user would, and caught where they
would run. Next: ``test_golden.py``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from minigrad.dtype import DType, float32, int64
from minigrad.engine.walk import Pending
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.runtime.buffer import Buffer


@dataclass
class Program:
    """A graph that is about to be realised. ``dead``: the leaves whose memory may be written over."""

    outputs: list[LazyBuffer]
    leaves: list[LazyBuffer]
    dead: set[LazyBuffer] = field(default_factory=set)


# --- programs in LazyBuffer ops ----------------------------------------------------------------------------------


def leaf(*shape: int, dtype: DType = float32) -> LazyBuffer:
    """Memory of this shape. Nothing is ever run, so there is none behind it."""
    return LazyBuffer(Op.BUFFER, (), None, shape, dtype, "CPU")


def chain() -> Program:
    """x.relu()*2+1"""
    x = leaf(64, 100)
    y = x.binary(Op.MAXIMUM, x.like(0.0)).binary(Op.MUL, x.like(2.0)).binary(Op.ADD, x.like(1.0))
    return Program([y], [x])


def softmax() -> Program:
    """Over the rows of a matrix too large for one thread."""
    x = leaf(512, 300)
    shifted = x.binary(Op.SUB, x.reduce(Op.MAX, (1,)).expand(x.shape))
    e = shifted.unary(Op.EXP)
    return Program([e.binary(Op.DIV, e.reduce(Op.SUM, (1,)).expand(x.shape))], [x])


def layer_norm() -> Program:
    """(x - mean) / sqrt(variance + eps) * weight + bias over rows."""
    x, weight, bias = leaf(512, 300), leaf(300), leaf(300)
    mean = x.reduce(Op.SUM, (1,))
    mean = mean.binary(Op.DIV, mean.like(300.0))
    centred = x.binary(Op.SUB, mean.expand(x.shape))
    variance = centred.binary(Op.MUL, centred).reduce(Op.SUM, (1,))
    variance = variance.binary(Op.DIV, variance.like(300.0))
    deviation = variance.binary(Op.ADD, variance.like(1e-5)).unary(Op.SQRT)
    y = centred.binary(Op.DIV, deviation.expand(x.shape))
    y = y.binary(Op.MUL, weight.reshape((1, 300)).expand(x.shape))
    return Program([y.binary(Op.ADD, bias.reshape((1, 300)).expand(x.shape))], [x, weight, bias])


def transpose_copy() -> Program:
    """x.permute(2, 0, 1).contiguous()"""
    x = leaf(24, 20, 12)
    return Program([x.permute((2, 0, 1)).contiguous()], [x])


def slice_pad() -> Program:
    """Every second column of rows 2 to 14, in reverse, with a frame of zeros around."""
    x = leaf(16, 30)
    y = x.shrink(((2, 15), (0, 30))).stride((1, 2)).flip((1,)).unary(Op.NEG)
    return Program([y.pad(((1, 1, 0), (2, 3, 0)))], [x])


def cumsum() -> Program:
    """Running sums along rows and along columns."""
    x = leaf(40, 60)
    return Program([x.scan(Op.SUM, 1), x.scan(Op.SUM, 0), x.reshape((2400,)).scan(Op.SUM, 0)], [x])


def gather() -> Program:
    """Rows of a table: table[index] * 2"""
    table, index = leaf(50, 24), leaf(7, dtype=int64)
    rows = table.gather([index])
    return Program([rows.binary(Op.MUL, rows.like(2.0))], [table, index])


def scatter_add() -> Program:
    """Rows added to zeros where an index says: the gradient of ``gather``."""
    g, index = leaf(7, 24), leaf(7, dtype=int64)
    zeros = LazyBuffer.const(0.0, float32, (50, 24), "CPU")
    return Program([zeros.scatter(g.binary(Op.MUL, g.like(2.0)), [index], "add")], [g, index])


def convolution() -> Program:
    """8 images of 3 channels, 16 filters of 5 × 5 with stride 2: windows times filters, summed."""
    x, w = leaf(8, 3, 33, 33), leaf(16, 3, 5, 5)
    windows = x.window(((2, 5, 2, 1), (3, 5, 2, 1)))
    space = (8, 16, 3, 15, 15, 5, 5)
    product = windows.reshape((8, 1, 3, 15, 15, 5, 5)).expand(space).binary(
        Op.MUL, w.reshape((1, 16, 3, 1, 1, 5, 5)).expand(space))
    return Program([product.reduce(Op.SUM, (2, 5, 6)).reshape((8, 16, 15, 15))], [x, w])


# --- programs in Tensors -----------------------------------------------------------------------------------------


def memory(mg: Any, *shape: int) -> Any:
    """A tensor of this shape that lies in memory."""
    return mg.tensor(np.zeros(shape, np.float32))


def linear(mg: Any) -> None:
    """(a @ b + c).relu().sum(), the program of docs/tour.md."""
    a, b, c = memory(mg, 8, 16), memory(mg, 16, 32), memory(mg, 32)
    (a @ b + c).relu().sum().realize()


def linear_backward(mg: Any) -> None:
    """The same with its backward."""
    a, b, c = (memory(mg, *shape).requires_grad_() for shape in ((8, 16), (16, 32), (32,)))
    (a @ b + c).relu().sum().backward()


def cross_entropy(mg: Any) -> None:
    """The loss of 512 rows of 300 classes."""
    scores, classes = memory(mg, 512, 300), mg.tensor([0] * 512)
    mg.nn.functional.cross_entropy(scores, classes).realize()


def adam(mg: Any) -> None:
    """The second step of Adam for two parameters."""
    parameters = [mg.nn.Parameter(memory(mg, *shape)) for shape in ((20, 30), (30,))]
    optimizer = mg.optim.Adam(parameters, lr=1e-3)
    for _ in range(2):
        for p in parameters:
            p.grad = memory(mg, *p.shape)
        optimizer.step()


def catch(program: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch) -> Program:
    """The last graph that a program in Tensors would run. Nothing is computed: results are memory as it comes."""
    mg = importlib.import_module("minigrad")
    caught: list[Program] = []

    def run(pending: Pending) -> None:
        caught.append(_copy(pending))
        for node in pending.results:
            node.realised(Buffer(pending.device, node.size * node.dtype.size))

    # the module: its name in the package is the function's
    monkeypatch.setattr(importlib.import_module("minigrad.engine.realise"), "_run", run)
    monkeypatch.setenv("DEVICE", "CPU")
    program(mg)
    return caught[-1]


def _copy(pending: Pending) -> Program:
    """The graph in nodes of its own, since running it turns nodes into memory."""
    at: dict[LazyBuffer, LazyBuffer] = {}
    for node in pending.order:
        srcs = tuple([at[s] for s in node.srcs])
        at[node] = LazyBuffer(node.op, srcs, node.arg, node.shape, node.dtype, node.device)
    dead = {at[leaf] for leaf, unread in zip(pending.leaves, pending.dead, strict=False) if unread}
    return Program([at[node] for node in pending.results], [at[node] for node in pending.leaves], dead)


def dense() -> Program:
    """(a @ b + bias).relu() of 256 × 512 and 512 × 128."""
    a, b, bias = leaf(256, 512), leaf(512, 128), leaf(128)
    space = (256, 128, 512)
    left = a.reshape((256, 1, 512)).expand(space)
    right = b.permute((1, 0)).reshape((1, 128, 512)).expand(space)
    y = left.binary(Op.MUL, right).reduce(Op.SUM, (2,)).reshape((256, 128))
    y = y.binary(Op.ADD, bias.reshape((1, 128)).expand(y.shape))
    return Program([y.binary(Op.MAXIMUM, y.like(0.0))], [a, b, bias])


def attention() -> Program:
    """softmax(q kᵀ / 8) v: 2 × 4 heads, 128 queries and keys of 64."""
    q, k, v = leaf(2, 4, 128, 64), leaf(2, 4, 128, 64), leaf(2, 4, 128, 64)

    def product(a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
        """a @ b, written out."""
        batch, (m, n, depth) = a.shape[:-2], (a.shape[-2], b.shape[-1], a.shape[-1])
        space = (*batch, m, n, depth)
        left = a.reshape((*batch, m, 1, depth)).expand(space)
        right = b.permute((0, 1, 3, 2)).reshape((*batch, 1, n, depth)).expand(space)
        return left.binary(Op.MUL, right).reduce(Op.SUM, (4,)).reshape((*batch, m, n))

    scores = product(q, k.permute((0, 1, 3, 2)))
    scores = scores.binary(Op.MUL, scores.like(0.125))
    e = scores.binary(Op.SUB, scores.reduce(Op.MAX, (3,)).expand(scores.shape)).unary(Op.EXP)
    return Program([product(e.binary(Op.DIV, e.reduce(Op.SUM, (3,)).expand(e.shape)), v)], [q, k, v])


GRAPHS: dict[str, Callable[[], Program]] = {
    p.__name__: p for p in (chain, softmax, layer_norm, transpose_copy, slice_pad, cumsum, gather, scatter_add,
                            convolution, dense, attention)
}
FRONTS: dict[str, Callable[[Any], None]] = {p.__name__: p for p in (linear, linear_backward, cross_entropy, adam)}
