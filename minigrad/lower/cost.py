"""Stage: lower, below the strategies. In: what a body reads and writes, and an axis. Out: what an element costs when
that axis becomes the lanes of a vector loop. Rough figures that rank choices, not times.
Next: ``map.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from minigrad.lower.axes import Axis
from minigrad.lower.body import Body, Traffic
from minigrad.symbolic import Sym, coefficient
from minigrad.target import SPACED, Target

LONG = 16
"""Scalar operations of an element from which its chain is long: several vectors stand side by side then."""

STRIDED, APART = 1.0, 1.75
"""An element of a vector that is gathered from, or scattered to, memory: of neighbours that share a line of the cache,
and of those that lie ``LINE`` elements or more apart. Pooling 2x2 takes a third of the time with lanes along 14 or 10
results of a row, instead of across rows, and a little more with lanes along 7 or 6."""

LINE = 16


def access_cost(loads: Iterable[Sym], stores: Iterable[Sym], axis: Axis) -> tuple[float, float]:
    """(per vector, per element) cost of accesses when ``axis`` is the vector axis."""
    vector = element = 0.0
    for e, is_load in (*((e, True) for e in loads), *((e, False) for e in stores)):
        c = coefficient(e, axis.var)
        if c == 0:
            vector += 0.25
        elif c == 1:
            vector += 1.0
        elif is_load and c in SPACED:
            vector += 1.75 * c
        elif c is None:
            element += 2 * STRIDED
        else:
            element += APART if abs(c) >= LINE else STRIDED
    return vector, element


def steps(extent: int, lanes: int, masked: bool = False) -> int:
    """Vector steps that an extent takes: whole vectors, then narrower ones or one masked, then single elements."""
    full, rest = divmod(extent, lanes)
    if masked:
        return full + (rest > 0)
    half = lanes // 2
    while half >= 4:
        full += rest // half
        rest %= half
        half //= 2
    return full + rest


def axis_cost(body: Body, work: Traffic, stores: Sequence[Sym], axis: Axis, lanes: int, masked: bool = False) -> float:
    """Cost of one element of the body with ``axis`` as vector axis."""
    vector, element = access_cost(body.read_at(work), stores, axis)
    if masked and axis.size % lanes:
        vector += 1 + len(work.loads)  # a select, and loads that stop at the end
    vector += work.cost + sum(0.5 for e in work.others if coefficient(body.index(e), axis.var) != 0)
    return vector * steps(axis.size, lanes, masked) / axis.size + element


def per_vector(body: Body, work: Traffic, axis: Axis, lanes: int) -> int:
    """Instructions that a vector takes, roughly; elements that lie apart are loaded one by one."""
    apart = sum(coefficient(body.index(load.index), axis.var) not in (0, 1) for load in work.loads)
    return work.cost + 2 * lanes * apart


def abreast(target: Target, cost: int, vectors: int) -> int:
    """How many of so many vectors, of which an element costs so much, stand side by side: 1, 2, 4 …"""
    count = 1 << max(1, min(target.abreast, 2 * target.ahead // max(1, cost))).bit_length() - 1
    return count if cost >= LONG and vectors >= 4 * count else 1
