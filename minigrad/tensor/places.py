"""Stage: front. In: an index along one dimension, and what is to be written there. Out: ``Places``: what the SCATTER
writes on, what it writes, and where. There are two ways to say it, by element and by row.
Next: ``scattering.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from minigrad.dtype import int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.records import Record
from minigrad.tensor.gathering import coordinates, in_front
from minigrad.tensor.indexing import inverse

Way = Callable[[LazyBuffer], LazyBuffer]


class Places(Record):
    """What an op along an axis writes on (``front``), what it writes there (``value``), and the ``indexes`` of the
    SCATTER. ``forth`` goes from the tensor's shape to that of ``front``, ``back`` the other way; ``back_value`` goes
    from the shape of ``value`` to that of what was given."""

    front: LazyBuffer
    value: LazyBuffer
    indexes: Sequence[LazyBuffer]
    forth: Way
    back: Way
    back_value: Way


Make = Callable[[LazyBuffer, LazyBuffer, LazyBuffer, int], Places]
"""From the tensor, what is given, the index and the axis."""


def by_element(x: LazyBuffer, given: LazyBuffer, index: LazyBuffer, axis: int) -> Places:
    """``scatter``: each element has a position of its own along the axis. What is given without dimensions is written
    everywhere; of other shapes the part of the index's size is."""
    index = index.cast(int64).reshape(index.shape or (1,))
    source = given.reshape(given.shape or (1,)) if given.shape or not x.shape else given
    whole = source.shape
    value = source.shrink(tuple([(0, n) for n in index.shape])) if whole else source.expand(index.shape)

    def forth(v: LazyBuffer) -> LazyBuffer:
        return v.reshape(x.shape or (1,))

    def back_value(v: LazyBuffer) -> LazyBuffer:
        padding = tuple([(0, n - m, 0) for n, m in zip(whole, index.shape, strict=True)])
        return v.pad(padding).reshape(given.shape)

    return Places(forth(x), value, coordinates(index, axis), forth, lambda v: v.reshape(x.shape), back_value)


def by_row(x: LazyBuffer, given: LazyBuffer, index: LazyBuffer, axis: int) -> Places:
    """``index_add``: whole parts of the tensor have a position along the axis. What is given without dimensions is
    written everywhere."""
    order = in_front(axis, max(1, len(x.shape)))
    index = index.cast(int64).reshape((index.size,))

    def forth(v: LazyBuffer) -> LazyBuffer:
        return v.reshape(x.shape or (1,)).permute(order)

    front, source = forth(x), given.cast(x.dtype)
    if source.shape or not x.shape:
        value = source.reshape(source.shape or (1,)).permute(order)
    else:
        value = source.expand((index.size, *front.shape[1:]))
    return Places(front, value, (index,), forth, lambda v: v.permute(inverse(order)).reshape(x.shape),
                  lambda v: v.permute(inverse(order)).reshape(given.shape))
