"""Stage: array API. In: arrays. Out: the same elements in other shapes and orders, parts of them, joined ones.
Source: https://data-apis.org/array-api/latest/API_specification/manipulation_functions.html
Next: ``reductions.py``."""

from __future__ import annotations

from operator import index
from typing import Any

from minigrad.array_api.promotion import common
from minigrad.dtype import int64
from minigrad.tensor import FUNCTIONS, Tensor

_of = FUNCTIONS


def broadcast_arrays(*arrays: Tensor) -> tuple[Tensor, ...]:
    """The arrays stretched to one shape."""
    return tuple(_of["broadcast_tensors"](*arrays))


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The shape that all shapes stretch to; ``ValueError`` if there is none.

    >>> from minigrad import array_api
    >>> array_api.broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    try:
        return tuple(_of["broadcast_shapes"](*shapes))
    except RuntimeError as error:
        raise ValueError(str(error)) from None


def broadcast_to(x: Tensor, /, shape: Any) -> Tensor:
    """x stretched to a shape."""
    return _of["broadcast_to"](x, tuple(shape))


def concat(arrays: Any, /, *, axis: int | None = 0) -> Tensor:
    """Arrays one after another along an axis; None: all their elements in one row."""
    dtype = common([a.dtype for a in arrays])
    arrays = [a.to(dtype) for a in arrays]
    if axis is None:
        return _of["cat"]([a.reshape(-1) for a in arrays])
    return _of["cat"](arrays, axis)


def expand_dims(x: Tensor, /, axis: Any) -> Tensor:
    """New axes of size 1 at these places of the result; ``IndexError`` for a place that it has not."""
    axes = (axis,) if not isinstance(axis, tuple | list) else tuple(axis)
    dims = x.ndim + len(axes)
    if any([not -dims <= a < dims for a in axes]):
        raise IndexError(f"axis {axis} is out of range for {dims} dimensions")
    places = {a % dims for a in axes}
    if len(places) != len(axes):
        raise ValueError(f"axis {axis} names a dimension twice")
    sizes = iter(x.shape)
    return x.reshape(tuple([1 if i in places else next(sizes) for i in range(dims)])) if x.numel() or x.ndim else (
        x.reshape((1,) * dims))


def flip(x: Tensor, /, *, axis: Any = None) -> Tensor:
    """The order of elements reversed along axes; None: all."""
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    return _of["flip"](x, axes) if axes else x.clone()


def moveaxis(x: Tensor, source: Any, destination: Any, /) -> Tensor:
    """Axes moved to other places."""
    return _of["moveaxis"](x, source, destination)


def permute_dims(x: Tensor, /, axes: Any) -> Tensor:
    """The axes in another order."""
    return _of["permute"](x, tuple(axes))


def repeat(x: Tensor, repeats: Any, /, *, axis: int | None = None) -> Tensor:
    """Each element so many times in a row."""
    x, axis = (x.reshape(-1), 0) if axis is None else (x, axis)
    if isinstance(repeats, Tensor):
        repeats = repeats.to(int64).reshape(repeats.shape or (1,))
    return _of["repeat_interleave"](x, repeats, axis)


def reshape(x: Tensor, /, shape: Any, *, copy: bool | None = None) -> Tensor:
    """Another shape; ``copy`` False raises ``ValueError`` where elements would have to move."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if copy:
        return x.clone().reshape(shape)
    if copy is False:
        try:
            return x.view(shape)
        except RuntimeError as error:
            raise ValueError(str(error)) from None
    return x.reshape(shape)


def roll(x: Tensor, /, shift: Any, *, axis: Any = None) -> Tensor:
    """Elements moved along axes, those that leave come in at the other end."""
    return _of["roll"](x, shift, axis)


def squeeze(x: Tensor, /, axis: Any) -> Tensor:
    """Without these axes, of size 1; ``ValueError`` if one is larger."""
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    for a in axes:
        if not -x.ndim <= a < x.ndim:
            raise IndexError(f"axis {a} is out of range for {x.ndim} dimensions")
        if x.shape[a] != 1:
            raise ValueError(f"axis {a} has size {x.shape[a]}, not 1")
    gone = {a % x.ndim for a in axes}
    return x.reshape(tuple([n for i, n in enumerate(x.shape) if i not in gone]))


def stack(arrays: Any, /, *, axis: int = 0) -> Tensor:
    """Arrays of one shape along a new axis."""
    dtype = common([a.dtype for a in arrays])
    return _of["stack"]([a.to(dtype) for a in arrays], axis)


def tile(x: Tensor, repetitions: Any, /) -> Tensor:
    """All of x so many times along each axis."""
    return _of["tile"](x, tuple(repetitions)) if len(repetitions) else x.clone()


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The parts along an axis."""
    if not -x.ndim <= axis < x.ndim:
        raise IndexError(f"axis {axis} is out of range for {x.ndim} dimensions")
    return tuple(_of["unbind"](x, axis))


def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """The parts at these indices along an axis; it may be left out of a vector only."""
    if axis is None:
        if x.ndim != 1:
            raise ValueError("axis must be given for an array that is no vector")
        axis = 0
    shape = indices.shape
    found = _of["index_select"](x, axis, _counted(indices.reshape(-1), x.shape[axis]))
    axis %= x.ndim
    return found.reshape((*x.shape[:axis], *shape, *x.shape[axis + 1:]))


def _counted(indices: Tensor, size: int) -> Tensor:
    """Indices from the start: those below 0 count from the end."""
    indices = indices.to(_of["arange"](1).dtype)
    return _of["where"](indices < 0, indices + size, indices)


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """For each place the element at its index along an axis; the other axes broadcast."""
    axis = index(axis) % x.ndim
    others = _of["broadcast_shapes"]((*x.shape[:axis], 1, *x.shape[axis + 1:]),
                                     (*indices.shape[:axis], 1, *indices.shape[axis + 1:]))
    x = x.expand((*others[:axis], x.shape[axis], *others[axis + 1:]))
    indices = indices.expand((*others[:axis], indices.shape[axis], *others[axis + 1:]))
    return _of["gather"](x, axis, _counted(indices, x.shape[axis]))
