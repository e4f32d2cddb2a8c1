"""Stage: conformance. In: the sources and the memory ops. Out: cases for CONST, SCALAR, INDEX, RANDOM_BITS, CONTIGUOUS,
COPY, GATHER, SCATTER, ASSIGN and HOST, for composites, and for indexes that are out of range.
Next: ``contractions.py``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from minigrad.conformance.case import Case, Program
from minigrad.conformance.reductions import magnitude
from minigrad.conformance.sources import SHAPES, VIEWS, Shape, Source, edge_values, indexes, key, rng_of
from minigrad.dtype import ALL, DType, float32, float64, int64, uint32
from minigrad.graph.function import Subgraph, call, param
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import SCATTER_MODES, Op

SPACES: tuple[tuple[Shape, int, Shape], ...] = (
    ((7,), 1, (5,)), ((7,), 1, ()), ((7,), 1, (0,)), ((7, 5), 1, (4,)), ((7, 5), 2, (3, 4)), ((4, 3, 17), 2, (6,)),
    ((300, 33), 1, (70,)), ((5, 0), 1, (3,)), ((2, 3, 4), 3, (2, 2)), ((1,), 1, (17,)), ((50,), 1, (4_000,)))
"""Shape of what is indexed, how many axes, shape of the index."""


def sources() -> Iterator[Case]:
    """Constants, run-time numbers, coordinates and random bits."""
    for dtype in ALL:
        yield Case("source", "CONST", dtype, partial(_consts, dtype))
        yield Case("source", "SCALAR", dtype, partial(_scalars, dtype))
    for shape in SHAPES:
        if shape:
            yield Case("source", f"INDEX-{_text(shape)}", int64, partial(_index, shape))
        for seed in (0, 2**63 + 12345):
            yield Case("source", f"RANDOM_BITS-{_text(shape)}-{seed}", uint32, partial(_random, shape, seed))


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _consts(dtype: DType, device: str) -> Program:
    return Program([LazyBuffer.const(v.item(), dtype, (3,), device) for v in edge_values(dtype)])


def _scalars(dtype: DType, device: str) -> Program:
    return Program([LazyBuffer.scalar(v.item(), dtype, device).reshape((1,)).expand((3,)) for v in edge_values(dtype)])


def _index(shape: Shape, device: str) -> Program:
    return Program([LazyBuffer.index(shape, axis, device) for axis in range(len(shape))])


def _random(shape: Shape, seed: int, device: str) -> Program:
    return Program([LazyBuffer(Op.RANDOM_BITS, (key(seed, device),), None, shape, uint32, device)])


def memory() -> Iterator[Case]:
    """CONTIGUOUS, COPY, GATHER, SCATTER, ASSIGN, HOST."""
    names = list(VIEWS)
    for dtype in ALL:
        for turn, (shape, k, at) in enumerate(SPACES):
            view = names[(turn + ALL.index(dtype)) % len(names)]
            yield Case("gather", f"{_text(shape)}-{k}-at-{_text(at)}-{view}", dtype,
                       partial(_gather, dtype, shape, k, at, view))
            for mode in SCATTER_MODES:
                yield Case("scatter", f"{mode}-{_text(shape)}-{k}-at-{_text(at)}-{view}", dtype,
                           partial(_scatter, mode, dtype, shape, k, at, view))
        for view in names:
            yield Case("memory", f"CONTIGUOUS-{view}", dtype, partial(_contiguous, dtype, view))
        yield Case("memory", "COPY", dtype, partial(_copy, dtype))
        for name in CHAINS:
            yield Case("assign", name, dtype, partial(_assign, dtype, name, False))
            yield Case("assign", f"{name}-into-dead-memory", dtype, partial(_assign, dtype, name, True), alone=True)
        yield Case("scatter", "into-dead-memory", dtype, partial(_scatter_dead, dtype), alone=True)
        for axis in (0, 1):
            for mode in SCATTER_MODES:
                yield Case("scatter", f"{mode}-along-{axis}", dtype, partial(_scatter_along, mode, dtype, axis))
        for mode in ("add", "min"):
            yield Case("scatter", f"{mode}-of-many-to-few", dtype, partial(_scatter_many, mode, dtype))
        yield Case("memory", f"HOST-argsort-{dtype.name}", int64, partial(_argsort, dtype))
    for name in COMPOSITES:
        yield Case("composite", name, float32, partial(_composite, name))
    yield from _out_of_range()


def _at(shape: Shape, k: int, at: Shape, rng: np.random.Generator, device: str) -> list[LazyBuffer]:
    """Indexes into the first k axes, with repetitions."""
    return [indexes(rng.integers(0, n, at) if n else np.zeros(at, int), device) for n in shape[:k]]


def _gather(dtype: DType, shape: Shape, k: int, at: Shape, view: str, device: str) -> Program:
    rng = rng_of("gather", shape, k, at)
    x = Source(device, dtype, "edge", "gather", shape).view(view, shape)
    return Program([x.gather(_at(shape, k, at, rng, device))])


def _scatter(mode: str, dtype: DType, shape: Shape, k: int, at: Shape, view: str, device: str) -> Program:
    rng = rng_of("scatter", shape, k, at)
    source = Source(device, dtype, "plain" if mode in ("add", "mul") else "edge", "scatter", shape, mode)
    base, places = source.view("plain", shape), _at(shape, k, at, rng, device)
    return _joined(base, source.view(view, at + shape[k:]), places, mode)


def _joined(base: LazyBuffer, value: LazyBuffer, places: list[LazyBuffer], mode: str) -> Program:
    output = base.scatter(value, places, mode)
    if mode not in ("add", "mul") or not base.dtype.is_float:
        return Program([output], signed_zero=False)
    wide = base.cast(float64).scatter(value.cast(float64), places, mode).cast(base.dtype)
    scale = magnitude(base).scatter(magnitude(value), places, mode)
    return Program([output], [wide], [scale], 1.0, 4 + np.sqrt(places[0].size))


def _scatter_along(mode: str, dtype: DType, axis: int, device: str) -> Program:
    """One index is the coordinate of the entry, as in ``scatter_add`` along the other axis."""
    shape = (70, 66)
    rng = rng_of("scatter along", axis)
    source = Source(device, dtype, "plain", "scatter along", mode)
    at = indexes(rng.integers(0, shape[axis], shape), device)
    places = [at if i == axis else LazyBuffer.index(shape, i, device) for i in range(2)]
    return _joined(source.leaf(shape), source.leaf(shape), places, mode)


def _scatter_many(mode: str, dtype: DType, device: str) -> Program:
    """So many entries that parts of them get a destination of their own, and a rest."""
    rng = rng_of("scatter many", mode)
    source = Source(device, dtype, "plain", "scatter many", mode)
    at = indexes(rng.integers(0, 40, (3, 6001)), device)
    return _joined(source.leaf((40,)), source.leaf((3, 6001)), [at], mode)


def _scatter_dead(dtype: DType, device: str) -> Program:
    source = Source(device, dtype, "plain", "dead scatter")
    base, value = source.leaf((9, 5)), source.leaf((4, 5))
    return Program([base.scatter(value, [indexes(np.array([3, 8, 3, 0]), device)], "set")])


def _contiguous(dtype: DType, view: str, device: str) -> Program:
    x = Source(device, dtype, "edge", "contiguous").view(view, (5, 17))
    return Program([LazyBuffer(Op.CONTIGUOUS, (x,), None, x.shape, dtype, device).flip((0,))])


def _copy(dtype: DType, device: str) -> Program:
    """To the reference and back, with something computed at each end."""
    x = Source(device, dtype, "edge", "copy").leaf((5, 17)).flip((1,))
    return Program([x.copy_to("NUMPY").permute((1, 0)).copy_to(device).flip((0,))], signed_zero=False)


CHAINS: dict[str, tuple[tuple[str, Any], ...]] = {
    "row": ((Op.SHRINK, ((2, 3), (0, 17))),),
    "columns": ((Op.SHRINK, ((0, 6), (3, 16))), (Op.STRIDE, (1, 4))),
    "backwards": ((Op.FLIP, (0, 1)), (Op.SHRINK, ((1, 5), (2, 9)))),
    "transposed": ((Op.PERMUTE, (1, 0)), (Op.STRIDE, (3, 2))),
    "reshaped": ((Op.RESHAPE, (102,)), (Op.SHRINK, ((5, 98),)), (Op.STRIDE, (7,))),
    "nothing": ((Op.SHRINK, ((2, 2), (0, 17))),),
    "everything": ((Op.FLIP, (1,)),),
}


def _assign(dtype: DType, name: str, dead: bool, device: str) -> Program:
    source = Source(device, dtype, "edge", "assign", name)
    base = source.leaf((6, 17))
    view = base
    for op, arg in CHAINS[name]:
        view = LazyBuffer(Op.RESHAPE, (view,), view.shape, view.shape, dtype, device).move(op, arg)
    value = source.leaf(view.shape)
    outputs = [base.assign(value, CHAINS[name])]
    if not dead:
        outputs += [base.assign(view, CHAINS[name]), base.flip((0,))]
    return Program(outputs)


def _argsort(dtype: DType, device: str) -> Program:
    x = Source(device, dtype, "plain", "argsort").leaf((7, 9)).flip((0,))
    order = LazyBuffer(Op.HOST, (x,), ("argsort", (1, True)), x.shape, int64, device)
    return Program([order.binary(Op.MUL, order.like(2))])


def _composite(name: str, device: str) -> Program:
    return Program(COMPOSITES[name](device), ulps=16)


def _body() -> Subgraph:
    """Two outputs: x·y and max(x) over rows."""
    x, y = (param(i, (5, 17), float32, "") for i in range(2))
    return Subgraph("pair", [x, y], [x.binary(Op.MUL, y), x.reduce(Op.MAX, (1,))])


def _on(body: Subgraph, device: str) -> Subgraph:
    """The body on a device: nodes know theirs."""
    for node in body.order:
        node.device = device
    return body


def _call_both(device: str) -> list[LazyBuffer]:
    s = Source(device, float32, "plain", "composite")
    first, second = call(_on(_body(), device), [s.leaf((5, 17)), s.leaf((5, 17))])
    return [first.binary(Op.SUB, second.expand((5, 17)))]


def _call_one(device: str) -> list[LazyBuffer]:
    s = Source(device, float32, "plain", "composite")
    return [call(_on(_body(), device), [s.leaf((5, 17)), s.leaf((5, 17))])[1]]


def _call_nested(device: str) -> list[LazyBuffer]:
    s = Source(device, float32, "plain", "composite")
    inner = _on(_body(), device)
    x, y = (param(i, (5, 17), float32, device) for i in range(2))
    a, b = call(inner, [x, y])
    outer = Subgraph("outer", [x, y], [a.binary(Op.ADD, b.expand(a.shape))])
    p, q = s.leaf((5, 17)), s.leaf((5, 17))
    return [call(outer, [p, q])[0].binary(Op.ADD, call(outer, [q, p])[0])]


COMPOSITES = {"two-outputs": _call_both, "one-of-two-outputs": _call_one, "nested": _call_nested}


def _out_of_range() -> Iterator[Case]:
    for bad in (-1, 7, -(2**62), 2**62):
        for op in ("gather", "scatter", "gather-constant", "gather-sum"):
            yield Case("out-of-range", f"{op}-{bad}", float32, partial(_bad, op, bad), raises=IndexError, alone=True)


def _bad(op: str, bad: int, device: str) -> Program:
    source = Source(device, float32, "plain", op)
    x = source.leaf((7, 3))
    places = [indexes(np.array([0, 3, bad, 6]), device)]
    if op == "scatter":
        return Program([x.scatter(source.leaf((4, 3)), places, "set").unary(Op.NEG)])
    output = (x.like(0.0) if op == "gather-constant" else x).gather(places).unary(Op.NEG)
    return Program([output.reduce(Op.SUM, (0,)) if op == "gather-sum" else output])
