"""Stage: backward. In: gradients of some rows of a table, and which rows they are. Out: ``RowsGradient``, which stands
for the gradient of the whole table until somebody needs that.
Next: ``walk.py``."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import numpy as np

from minigrad.autograd.node import Node, kind
from minigrad.dtype import int64
from minigrad.engine import leaf_from_numpy, realise, to_numpy
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op

Rows = tuple[LazyBuffer, LazyBuffer]
"""Positions (n,), int64, and values (n, …)."""


class RowsGradient:
    """The gradient of a table of this ``shape``: 0 but for ``parts``. A row may come several times: then its values
    count as their sum."""

    __slots__ = ("parts", "shape")

    def __init__(self, parts: tuple[Rows, ...], shape: tuple[int, ...]) -> None:
        self.parts, self.shape = parts, shape

    def values(self) -> list[LazyBuffer]:
        """All that is to be computed."""
        return [v for part in self.parts for v in part]

    def dense(self) -> LazyBuffer:
        """The gradient of the whole table."""
        values = self.parts[0][1]
        total = LazyBuffer.const(0.0, values.dtype, self.shape, values.device)
        for at, rows in self.parts:
            total = total.scatter(rows, (at,), "add")
        return total


def added(a: Any, b: Any) -> Any:
    """The sum of two gradients, either of which may be one of rows."""
    if a.__class__ is RowsGradient and b.__class__ is RowsGradient:
        return RowsGradient((*a.parts, *b.parts), a.shape)
    a, b = [g.dense() if g.__class__ is RowsGradient else g for g in (a, b)]
    return a.binary(Op.ADD, b)


class TableNode(Node):
    """The entry of a look-up of rows of a table whose gradient is one of rows. ``padding``: a row that gets none."""

    __slots__ = ()
    padding: ClassVar[int | None] = None
    by_frequency: ClassVar[bool] = False

    def vjp(self, grads: Any, needs: Any) -> list[Any]:
        """Row ``index[j]`` of the table gets gradient j."""
        if grads[0] is None or not needs[0] or self.saved is None:
            return super().vjp(grads, needs)
        if self.by_frequency:
            raise RuntimeError("embedding_backward: scale_grad_by_freq not supported with sparse gradients")
        back, residuals = self._backward((0,), needs)
        index = residuals[back.residuals.index(1)]
        shape = self.body.params[0].shape
        at = index.reshape((index.size,)).cast(int64)
        rows = grads[0].reshape((index.size, *shape[1:]))
        if self.padding is not None:
            at = at.contiguous()
            realise([at])
            places = to_numpy(at)
            kept = np.flatnonzero(places != self.padding)
            if len(kept) < len(places):
                at = leaf_from_numpy(places[kept], at.dtype, at.device)
                rows = rows.gather((leaf_from_numpy(kept.astype(np.int64), at.dtype, at.device),))
        return [RowsGradient(((at, rows),), shape), *[None] * (len(needs) - 1)]


@cache
def table_node(name: str, padding: int | None, by_frequency: bool) -> type[Node]:
    """The class of such entries."""
    return type(kind(name).__name__, (TableNode,), {
        "__slots__": (), "__module__": "minigrad.autograd", "padding": padding, "by_frequency": by_frequency,
        "runs": padding is not None})
