"""Stage: realise. In: a pending graph. Out: the graph that is compiled for it: the same, or, where there are complex
values, one that has their real and imaginary parts instead.
Next: ``tiers.py``."""

from __future__ import annotations

from typing import Any

from minigrad.engine.walk import Pending
from minigrad.graph.function import has_complex
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.lazily import importing
from minigrad.ops import Op


def real(pending: Pending) -> Pending:
    """A graph of real values with the same leaves, numbers and results in the same order. Memory stays as it is: that
    of n complex numbers is that of (n, 2) parts."""
    if not has_complex(pending.order):
        return pending
    with importing():  # a part of the compiler
        from minigrad.schedule.complex_parts import Pair, leaf_of, split

    at: dict[LazyBuffer, LazyBuffer | Pair] = {}
    for leaf in pending.leaves:
        at[leaf] = Pair(whole=leaf_of(leaf)) if leaf.dtype.kind == "c" else _copy(leaf)
    for source in (*pending.constants, *pending.scalars):
        at[source] = _copy(source)
    results = [r.whole if isinstance(r, Pair) else r for r in split(pending.results, at)]
    made = Pending()
    made.order, made.results = toposort(results), results
    made.leaves, made.constants, made.scalars = [
        [_memory(at[node]) for node in nodes] for nodes in (pending.leaves, pending.constants, pending.scalars)]
    made.numbers, made.device, made.dead, made.key, made.host = (
        pending.numbers, pending.device, pending.dead, pending.key, pending.host)
    return made


def _memory(value: Any) -> LazyBuffer:
    return getattr(value, "whole", value)


def _copy(source: LazyBuffer) -> LazyBuffer:
    """A leaf of its own: the graph that is made here must not count as a reader of the user's values."""
    copy = LazyBuffer(source.op, (), source.arg, source.shape, source.dtype, source.device)
    if source.op == Op.SCALAR:
        copy.value = source.value
    return copy
