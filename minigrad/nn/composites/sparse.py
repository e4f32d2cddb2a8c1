"""Stage: front. In: a table of vectors and indices into it. Out: the formulas of embeddings.
Next: ``loss.py``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from minigrad.autograd.rows import table_node
from minigrad.dtype import accumulator, int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.nn.composites.distance import length
from minigrad.nn.composites.precision import wide
from minigrad.ops import Op
from minigrad.tensor import Tensor, composite, ones_like, where, zeros
from minigrad.tensor.function import Function

# --- rows of a table


def _rows(weight: LazyBuffer, index: LazyBuffer, padding: int | None, by_frequency: bool) -> LazyBuffer:
    flat = index.cast(int64).reshape((index.size,))
    return weight.gather((flat,)).reshape((*index.shape, *weight.shape[1:]))


def _rows_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer | None],
                   padding: int | None, by_frequency: bool) -> tuple[LazyBuffer | None, None]:
    """The gradients of the rows added to zeros: none for the padding, and each divided by how often its index comes if
    asked for ``by_frequency``."""
    weight, index = inputs
    if grads[0] is None:
        return None, None
    kind = accumulator(weight.dtype)
    flat = index.cast(int64).reshape((index.size,))
    g = grads[0].cast(kind).reshape((index.size, *weight.shape[1:]))
    column = (index.size, *[1] * (len(weight.shape) - 1))
    if by_frequency:
        counts = LazyBuffer.const(0.0, kind, weight.shape[:1], weight.device)
        counts = counts.scatter(LazyBuffer.const(1.0, kind, flat.shape, flat.device), (flat,), "add")
        g = g.binary(Op.DIV, counts.gather((flat,)).reshape(column).expand(g.shape))
    if padding is not None:
        g = flat.binary(Op.EQ, flat.like(padding)).reshape(column).expand(g.shape).where(g.like(0.0), g)
    return weight.cast(kind).like(0.0).scatter(g, (flat,), "add").cast(weight.dtype), None


EMBEDDING = Function("embedding", _rows, "EmbeddingBackward0", _rows_gradient)


@cache
def sparse_embedding(padding: int | None, by_frequency: bool) -> Function:
    """As ``EMBEDDING``, but the gradient of a table that is a leaf is sparse: the rows that were used."""
    made = Function("embedding", _rows, "EmbeddingBackward0", _rows_gradient)
    made.node = table_node("EmbeddingBackward0", padding, by_frequency)
    return made


@composite
def shortened(weight: Tensor, index: Tensor, *, max_norm: float, norm_type: float) -> Tensor:
    """The rows at ``index``, those with a norm above ``max_norm`` scaled down to it."""
    rows = weight[index]
    norm = length(rows, -1, norm_type, True)
    return where(norm > max_norm, rows * (max_norm / (norm + 1e-7)), rows)


# --- bags of rows


def _largest(rows: LazyBuffer, bag: LazyBuffer, bags: int) -> LazyBuffer:
    """The largest of the rows of each bag; -inf for an empty one."""
    lowest = LazyBuffer.const(rows.dtype.min, rows.dtype, (bags, rows.shape[1]), rows.device)
    return lowest.scatter(rows, (bag,), "max")


def _largest_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                      grads: Sequence[LazyBuffer | None], bags: int) -> tuple[LazyBuffer | None, None]:
    """To the first of the rows that are as large as the bag's."""
    rows, bag = inputs
    if grads[0] is None:
        return None, None
    count = rows.shape[0]
    from_behind = LazyBuffer.index(rows.shape, 0, rows.device).unary(Op.NEG)
    from_behind = from_behind.binary(Op.ADD, from_behind.like(count))  # count … 1, so that 0 means none
    candidates = rows.binary(Op.EQ, outputs[0].gather((bag,))).where(from_behind, from_behind.like(0))
    best = outputs[0].cast(int64).like(0).scatter(candidates, (bag,), "max").gather((bag,))
    g = grads[0].gather((bag,))
    return candidates.binary(Op.EQ, best).where(g, g.like(0.0)), None


_LARGEST = Function("largest", _largest, "LargestBackward0", _largest_gradient)


@composite
def embedding_bag(weight: Tensor, index: Tensor, offsets: Tensor | None, factors: Tensor | None, *, mode: str,
                  padding: int | None, by_frequency: bool, last_offset: bool) -> Tensor:
    """Sums, means or maxima of rows: of each row of indices (B, L), or of the indices (N) from one offset to the next.

    The padding index does not count; an empty bag gives 0.
    """
    (table, factors), _ = wide(weight, factors)
    rows = EMBEDDING((table, index), (padding, by_frequency))
    return _bags(rows, index, offsets, factors, mode, padding, last_offset).to(weight.dtype)


@composite
def bags(rows: Tensor, index: Tensor, offsets: Tensor | None, factors: Tensor | None, *, mode: str,
         padding: int | None, last_offset: bool) -> Tensor:
    """As ``embedding_bag``, of rows that were looked up."""
    (table, factors), dtype = wide(rows, factors)
    return _bags(table, index, offsets, factors, mode, padding, last_offset).to(dtype)


def _bags(table: Tensor, index: Tensor, offsets: Tensor | None, factors: Tensor | None, mode: str,
          padding: int | None, last_offset: bool) -> Tensor:
    rows = table
    counts = ones_like(index, dtype=table.dtype) if padding is None else (index != padding).to(table.dtype)
    if factors is not None:
        rows = rows * factors.unsqueeze(-1)
    if mode == "max":
        rows = where(counts.unsqueeze(-1) > 0, rows, table.dtype.min)
    elif padding is not None:
        rows = where(counts.unsqueeze(-1) > 0, rows, 0.0)
    if offsets is None:
        found = rows.amax(1) if mode == "max" else rows.sum(1)
        total = counts.sum(1)
    else:
        found, total = _by_offset(rows, counts, offsets, mode, last_offset)
    total = total.unsqueeze(-1)
    if mode == "max":
        found = where(total > 0, found, 0.0)
    return found / total.clamp(min=1) if mode == "mean" else found


def _by_offset(rows: Tensor, counts: Tensor, offsets: Tensor, mode: str, last_offset: bool) -> tuple[Tensor, Tensor]:
    """What the bags between offsets hold, and how many rows that is. The number of offsets up to a place, found as a
    running sum, says in which bag it is."""
    bags, places = offsets.shape[0], rows.shape[0]
    starts = zeros(places + 1, dtype=int64, device=rows.device)
    starts = starts.scatter_add(0, offsets.to(int64), ones_like(offsets, dtype=int64))
    bag = starts.cumsum(0)[:places] - 1
    total = zeros(bags, dtype=rows.dtype, device=rows.device).scatter_add(0, bag, counts)
    if mode == "max":
        found = _LARGEST((rows, bag), (bags,))
    else:
        found = zeros((bags, rows.shape[1]), dtype=rows.dtype, device=rows.device).index_add(0, bag, rows)
    kept = bags - 1 if last_offset else bags
    return found[:kept], total[:kept]
