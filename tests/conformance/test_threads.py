"""Stage: tests of devices. In: cases large enough for several threads. Out: the same bits for any number of threads.
Next: ``test_sanitizers.py``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import minigrad
from minigrad.conformance import Case, cases
from minigrad.conformance.case import Program
from minigrad.conformance.contractions import product
from minigrad.conformance.programs import layer_norm, softmax
from minigrad.conformance.sources import Source, indexes
from minigrad.dtype import float32
from minigrad.engine import inspect, realise, to_numpy
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from tools.sanitize.record import same_bits


def _rows(device: str) -> list[LazyBuffer]:
    x = Source(device, float32, "plain", 1).leaf((301, 407))
    return [softmax(x, (1,)), layer_norm(x, (0,)), x.reduce(Op.SUM, (0, 1)), x.scan(Op.SUM, 0)]


def _matmul(device: str) -> list[LazyBuffer]:
    s = Source(device, float32, "plain", 2)
    return list(product(s.leaf((203, 305)), s.leaf((305, 207))).outputs)


def _long_sum(device: str) -> list[LazyBuffer]:
    x = Source(device, float32, "plain", 3).leaf((1_000_003,))
    return [x.reduce(Op.SUM, (0,)), x.binary(Op.MUL, x).reduce(Op.SUM, (0,))]


def _scans(device: str) -> list[LazyBuffer]:
    """Parts of a few long rows side by side; columns across memory, a step of many at a time."""
    s = Source(device, float32, "plain", 6)
    tall = s.leaf((300, 2_000))
    return [s.leaf((3, 90_001)).unary(Op.SIN).scan(Op.SUM, 1), tall.scan(Op.SUM, 0),
            s.leaf((70, 60, 90)).scan(Op.SUM, 1)]


def _scatter(device: str) -> list[LazyBuffer]:
    s = Source(device, float32, "plain", 4)
    at = indexes(np.random.default_rng(0).integers(0, 50, 4_000), device)
    return [s.leaf((50, 64)).scatter(s.leaf((4_000, 64)), [at], "add")]


def _collisions(device: str) -> list[LazyBuffer]:
    """Many entries to one place each, divided by their own coordinates, by columns, by rows, and into copies."""
    s, rng = Source(device, float32, "plain", 5), np.random.default_rng(1)

    def added(rows: int, entries: int, columns: int) -> LazyBuffer:
        at = indexes(rng.integers(0, rows, entries), device)
        return s.leaf((rows, columns)).scatter(s.leaf((entries, columns)), [at], "add")

    along = indexes(rng.integers(0, 3, (400, 300)), device)
    own = [along, LazyBuffer.index((400, 300), 1, device)]
    return [s.leaf((400, 300)).scatter(s.leaf((400, 300)), own, "add"), added(5, 3_000, 700), added(300, 9_000, 40),
            added(7, 60_001, 1), added(3, 40_000, 9)]


@pytest.mark.parametrize("build", [_rows, _matmul, _long_sum, _scans, _scatter, _collisions])
def test_large_programs(build) -> None:
    found = []
    for threads in (1, 2, 3, 5):
        with minigrad.config(THREADS=threads), inspect() as seen:
            outputs = build("CPU")
            realise(outputs)
        found.append([to_numpy(o).tobytes() for o in outputs])
        assert seen.launches >= 1
    assert all(f == found[0] for f in found)


def _large(count: int) -> Iterator[Case]:
    for case in cases(count, 7):
        if case.family in ("elementwise", "reduce", "contraction", "program", "scan", "random") and case.raises is None:
            yield case


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_sample_of_the_suite(count: int) -> None:
    chosen = list(_large(count))
    results = []
    for threads in (1, 4):
        with minigrad.config(THREADS=threads):
            programs: list[Program] = [c.build("CPU") for c in chosen]
            outputs = [list(p.outputs) for p in programs]
            for group in outputs:
                realise(group)
        results.append(outputs)
    for case, one, other in zip(chosen, *results, strict=True):
        assert all(same_bits(to_numpy(a), to_numpy(b), a.dtype) for a, b in zip(one, other, strict=True)), case
