"""Stage: inside the LLVM renderer. In: an unrolled loop around a vector loop, in which accesses step by one from copy
to copy and by more from lane to lane. Out: those accesses as whole vectors, turned by shuffles. What as many copies as
lanes touch is a square of elements; where the lanes are as far apart as there are copies, it lies in one piece.
Next: ``llvm_words.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from minigrad.kernel.ir import For, Let, Load, Store
from minigrad.kernel.walk import statements, values, values_of
from minigrad.render.llvm_index import NO_LANE
from minigrad.render.llvm_memory import MemoryWriter
from minigrad.render.llvm_text import Operand, Writer
from minigrad.symbolic import coefficient, num, substitute

Access = TypeVar("Access", Load, Store)

COPIES = range(2, 9)
"""Copies that are turned in one piece: more take more shuffles than the accesses that they save."""


def turned_loads(s: For) -> list[Load]:
    """The loads in an unrolled loop of vectors that read across the lanes what lies along the copies: none if the loop
    stores into what it loads.

    >>> from minigrad.dtype import float32
    >>> from minigrad.kernel.ir import Array
    >>> from minigrad.symbolic import var
    >>> a, b, u, l = Array("a", float32, 64), Array("b", float32, 64), var("u", 0, 7), var("l", 0, 7)
    >>> inner = For(l, num(0), num(8), 1, "vector", (Store(b, 8*u + l, Load(a, 8*l + u)),))
    >>> [x.index for x in turned_loads(For(u, num(0), num(8), 1, "unroll", (inner,)))]
    [8*l + u]
    """
    stored = {id(x.array) for x in statements(s.body) if isinstance(x, Store)}
    return [v for v in _across(s, _loads(s)) if id(v.array) not in stored and (_is_square(s) or v.guard is None)]


def turned_stores(s: For) -> list[Store]:
    """The stores that write across the lanes what lies along the copies, likewise. They are made after all copies: an
    iteration reads nothing that another one writes.

    >>> from minigrad.dtype import float32
    >>> from minigrad.kernel.ir import Array
    >>> from minigrad.symbolic import var
    >>> a, b, u, l = Array("a", float32, 24), Array("b", float32, 24), var("u", 0, 2), var("l", 0, 7)
    >>> inner = For(l, num(0), num(8), 1, "vector", (Store(b, 3*l + u, Load(a, 8*u + l)),))
    >>> [x.index for x in turned_stores(For(u, num(0), num(3), 1, "unroll", (inner,)))]
    [3*l + u]
    """
    loaded = {id(v.array) for v in _loads(s)}
    stores = [x for x in statements(s.body) if isinstance(x, Store)]
    return [x for x in _across(s, stores) if id(x.array) not in loaded and x.guard is None]


def _loads(s: For) -> list[Load]:
    return [v for v in values([v for x in statements(s.body) for v in values_of(x)]) if isinstance(v, Load)]


def _across(s: For, accesses: Sequence[Access]) -> Iterator[Access]:
    """Those of memory that step by one from copy to copy, and from lane to lane as turning wants it."""
    *before, inner = s.body
    if not isinstance(inner, For) or inner.kind != "vector" or s.step != 1 or not all(
            isinstance(x, Let) for x in before) or any(isinstance(x, For) for x in inner.body):
        return
    copies = int(s.stop) - int(s.start)
    for x in accesses:
        step = coefficient(x.index, inner.var)
        if x.array.scope != "register" and coefficient(x.index, s.var) == 1 and int(inner.stop) >= 4 and (
                step not in (None, -1, 0, 1) if _is_square(s) else step == copies and copies in COPIES):
            yield x


def _is_square(s: For) -> bool:
    inner = s.body[-1]
    return isinstance(inner, For) and int(s.stop) - int(s.start) == int(inner.stop)


def load_turned(w: Writer, memory: MemoryWriter, v: Load, s: For) -> list[Operand]:
    """What the load gives in each copy of the loop."""
    inner = s.body[-1]
    assert isinstance(inner, For)
    index, lanes, copies = memory.index, int(inner.stop), int(s.stop) - int(s.start)
    rows: list[Operand] = []
    if not _is_square(s):
        first = substitute(v.index, {inner.var: num(0), s.var: s.start})
        rows = [memory.load_at(v.array, memory.address(v.array, index.fix(first + n * lanes)), lanes)
                for n in range(copies)]
        joined = w.joined(rows)
        return [w.shuffle(joined, [n * copies + copy for n in range(lanes)]) for copy in range(copies)]
    index.lane, index.lanes = s.var, lanes
    for n in range(lanes):
        at = {inner.var: num(n)}
        guard = None if v.guard is None else substitute(v.guard, at)
        rows.append(w.widen(memory.load(Load(v.array, substitute(v.index, at), guard)), lanes))
    index.lane, index.lanes = NO_LANE, 1
    return transpose(w, rows)


def store_turned(w: Writer, memory: MemoryWriter, x: Store, s: For, made: list[Operand]) -> None:
    """Store what the copies of the loop made, each a vector of what memory holds."""
    inner = s.body[-1]
    assert isinstance(inner, For)
    lanes, copies = int(inner.stop), len(made)
    places = [{inner.var: num(n), s.var: s.start} for n in range(lanes)]
    if _is_square(s):
        for place, row in zip(places, transpose(w, made), strict=True):
            memory.store_from(x.array, memory.index.fix(substitute(x.index, place)), row)
        return
    joined, first = w.joined(made), substitute(x.index, places[0])
    for start in range(0, copies * lanes, lanes):
        part = w.shuffle(joined, [n % copies * lanes + n // copies for n in range(start, start + lanes)])
        memory.store_from(x.array, memory.index.fix(first + start), part)


def transpose(w: Writer, rows: list[Operand]) -> list[Operand]:
    """A square of vectors with rows and columns exchanged: in each step, blocks across the diagonal change places."""
    n = len(rows)
    distance = n // 2
    while distance:
        for i in range(n):
            if not i & distance:
                a, b = rows[i], rows[i + distance]
                low = [k if not k & distance else n + k - distance for k in range(n)]
                high = [k + distance if not k & distance else n + k for k in range(n)]
                rows[i], rows[i + distance] = w.picked(a, b, low), w.picked(a, b, high)
        distance //= 2
    return rows
