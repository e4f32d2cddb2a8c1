"""Stage: gradients and the front read it. In: values that belong to windows, one for each position and each place in
the window. Out: their sums, element by element of what the windows look at: the adjoint of WINDOW.
Next: ``function.py``."""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.graph.lazy import LazyBuffer
from minigrad.records import Record


class Overlap(Record):
    """Values of windows along one axis. Axis ``positions`` counts windows, ``places`` what lies in them: place k of
    window o belongs to element ``o*stride + k*dilation - start`` of ``length``."""

    positions: int
    places: int
    stride: int
    dilation: int
    start: int
    length: int


def overlapped(g: LazyBuffer, overlaps: Sequence[Overlap]) -> tuple[LazyBuffer, tuple[int, ...]]:
    """Each element's share of every window, and 0 where a window does not reach it: a guarded gather, no sum yet.

    An axis of ``positions`` becomes the axis of elements: a few more than ``length`` where that is no multiple of the
    stride. Gives the value, and the axes to sum over. An axis with a stride is taken apart into elements
    ``q*stride + r``, and its places likewise: window q - j reaches r with place ``j*stride + r``, so that no window is
    looked at in vain.
    """
    rank, sizes = len(g.shape), g.shape
    residues: list[int] = []
    for overlap in overlaps:
        g = _by_residue(g, overlap)
        residues.append(len(g.shape) - 1)
    windows = []
    for overlap in overlaps:
        split, steps, low, length = _plan(overlap, sizes[overlap.places])
        high = length + steps * (g.shape[overlap.places] - 1) - low
        spread = (g.shape[overlap.positions] - 1) * split + 1
        g = _padded(g, overlap.positions, low, high - spread, split - 1)
        windows.append((overlap.positions, g.shape[overlap.places], 1, steps))
    first = len(g.shape)
    g = g.window(tuple(windows)).flip(tuple(range(first, first + len(windows))))
    for i, overlap in enumerate(overlaps):
        g = _diagonal(g, overlap.places, first + i)
    # q and r side by side
    order: list[int] = []
    for axis in range(rank):
        order.append(axis)
        order += [r for r, o in zip(residues, overlaps, strict=True) if o.positions == axis]
    g = g.permute((*order, *range(first, len(g.shape))))
    shape: list[int] = []
    for axis in range(rank):
        at = order.index(axis)
        joined = any(o.positions == axis for o in overlaps)
        shape.append(g.shape[at] * g.shape[at + 1] if joined else g.shape[at])
    return g.reshape(tuple(shape)), tuple([o.places for o in overlaps])


def _is_split(overlap: Overlap) -> bool:
    return overlap.stride > 1 and overlap.dilation == 1


def _plan(overlap: Overlap, size: int) -> tuple[int, int, int, int]:
    """For windows of ``size`` places: how far apart positions are spread, how far apart the places are then, how many
    zeros come first, and how many elements there are."""
    _, _, stride, dilation, start, length = overlap
    if not _is_split(overlap):
        return stride, dilation, dilation * (size - 1) - start, length
    shift = -start % stride
    count = -(-(size + shift) // stride)
    return 1, 1, count - 1 - (start + shift) // stride, -(-length // stride)


def _by_residue(g: LazyBuffer, overlap: Overlap) -> LazyBuffer:
    """Places taken apart into j and, as a last axis, r; moved so that r counts elements from a multiple of the
    stride."""
    axis, stride = overlap.places, overlap.stride
    if not _is_split(overlap):
        return g.reshape((*g.shape, 1))
    shift = -overlap.start % stride
    count = -(-(g.shape[axis] + shift) // stride)
    g = _padded(g, axis, shift, count * stride - shift - g.shape[axis], 0)
    shape = g.shape
    g = g.reshape((*shape[:axis], count, stride, *shape[axis + 1:]))
    rest = [a for a in range(len(g.shape)) if a != axis + 1]
    return g.permute((*rest, axis + 1))


def _padded(g: LazyBuffer, axis: int, low: int, high: int, interior: int) -> LazyBuffer:
    """Zeros before, after and between the elements of one axis; negative counts cut off."""
    none = [(0, 0, 0)] * len(g.shape)
    none[axis] = (max(low, 0), max(high, 0), interior)
    g = g.pad(tuple(none))
    box = [(0, s) for s in g.shape]
    box[axis] = (max(-low, 0), g.shape[axis] - max(-high, 0))
    return g.shrink(tuple(box))


def _diagonal(g: LazyBuffer, a: int, b: int) -> LazyBuffer:
    """The elements where axes ``a`` and ``b``, of one size, have the same index, along ``a``; ``b`` has size 1 then."""
    size = g.shape[a]
    rest = [x for x in range(len(g.shape)) if x not in (a, b)]
    g = g.permute((*rest, a, b))
    shape = g.shape[:-2]
    g = _padded(g.reshape((*shape, size * size)), len(shape), 0, size, 0)
    g = g.reshape((*shape, size, size + 1)).shrink((*[(0, s) for s in shape], (0, size), (0, 1)))
    order = [0] * (len(rest) + 2)
    for position, axis in enumerate([*rest, a, b]):
        order[axis] = position
    return g.permute(tuple(order))
