"""Stage: front. In: ``x[...]`` with integers, slices, None, ``...``, index tensors, lists and masks. Out: views and
copies, and writes to them. Integers and slices give views; index tensors gather; masks are turned into index tensors,
which runs what they depend on.
Next: ``elements.py``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from operator import index as position
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.dtype import bool_, int32, int64, uint8
from minigrad.engine import leaf_from_numpy
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.strides import Steps
from minigrad.ops import Op
from minigrad.tensor.aliases import make_view
from minigrad.tensor.base import AnyTensor, check_in_place, make
from minigrad.tensor.changes import check_distinct, check_overlap, is_itself
from minigrad.tensor.elements import bounds, check_range, concrete
from minigrad.tensor.function import Function, watched
from minigrad.tensor.layout import offset_of, strides_of
from minigrad.tensor.operands import broadcast_shapes, dim_index, fit, is_number, one_device
from minigrad.tensor.promotion import assigned, stored, type_name
from minigrad.tensor.slicing import Basic, is_all, select_part

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


# --- taking an index apart


def _is_integer(item: Any) -> bool:
    """Whether the item selects one position: a number, or a 0-d integer tensor whose value can be had now."""
    if isinstance(item, AnyTensor):  # one of uint8 is a mask
        return item.ndim == 0 and item.dtype.is_int and item.dtype is not uint8 and item._storage.lazy.op != Op.PARAM
    return isinstance(item, int | np.integer) and not isinstance(item, bool)


def _as_tensor(item: Any, device: str) -> Tensor:
    """Lists, ranges, arrays and bools as index tensors."""
    if isinstance(item, AnyTensor):
        return item
    try:
        array = np.asarray([int(i) if isinstance(i, AnyTensor) and i.ndim == 0 else i for i in item]
                           if isinstance(item, tuple | list) else item)
    except ValueError:
        raise IndexError(f"an index should be even in all its rows, got {item}") from None
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(np.int64)
    if array.dtype.kind not in "iub":
        if array.dtype.kind == "O":
            raise TypeError(f"only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
                            f"indices (got {type(item).__name__})")
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    dtype = bool_ if array.dtype.kind == "b" else int64
    return make(leaf_from_numpy(array.astype(dtype.numpy), dtype, device))


def _check_kind(item: Any) -> None:
    if isinstance(item, float | str | dict | set) or (isinstance(item, np.generic) and item.dtype.kind not in "iub"):
        error = TypeError if isinstance(item, str) else IndexError
        raise error("only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
                    f"(got {type(item).__name__})")


LONGEST_TUPLE = 32
"""A list of so many items or more is one index tensor, whatever is in it."""


def _stands_for_tuple(index: Any) -> bool:
    """Whether an index has its items side by side, one for each dimension: a tuple, or, as in old NumPy, a short list
    in which there are lists, tensors, slices, None or ``...``."""
    if isinstance(index, tuple) or not isinstance(index, Sequence) or len(index) >= LONGEST_TUPLE:
        return isinstance(index, tuple)
    return any([i is None or i is Ellipsis or isinstance(i, AnyTensor | Sequence | np.ndarray | slice) for i in index])


def _checked(index: Any, ndim: int, device: str) -> tuple[list[Any], int]:
    """The items of an index, arrays and lists among them as tensors, and how many dimensions they use up. Raises if one
    is not an index, or if they use more than the ``ndim`` there are."""
    items = list(index) if _stands_for_tuple(index) else [index]
    used = 0
    for place, item in enumerate(items):
        if item is None or item is Ellipsis or isinstance(item, slice | int):
            used += not (item is None or item is Ellipsis or isinstance(item, bool))
            continue
        _check_kind(item)
        if not _is_integer(item):
            item = items[place] = _as_tensor(item, device)
            if item.dtype in (bool_, uint8):
                used += item.ndim
                continue
        used += 1
    if used > ndim:
        if not ndim:
            raise IndexError("invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in "
                             "C++ to convert a 0-dim tensor to a number")
        raise IndexError(f"too many indices for tensor of dimension {ndim}")
    return items, used


_views: dict[Any, tuple[tuple[Steps, tuple[int, ...], tuple[int, ...], int, str], tuple[int, ...], bool]] = {}
"""The views of indexes used before, by index, shape and strides: the arguments of ``make_view``, their offset counted
from the tensor's own; the dimensions that index tensors are for; whether the view is the tensor itself."""

MOST_VIEWS = 4096
"""Indexes remembered; beyond that all are forgotten."""


_PLAIN = (int, type(None))


def _plain_key(index: Any) -> tuple[tuple[Any, ...], list[Tensor]] | None:
    """An index of integers, slices, None, ``...`` and index tensors as a key, and these; None for another."""
    parts: list[Any] = []
    tensors: list[Tensor] = []
    for item in index if type(index) is tuple else (index,):
        kind = type(item)
        if kind is slice:
            start, stop, step = part = item.start, item.stop, item.step
            if not (type(start) in _PLAIN and type(stop) in _PLAIN and type(step) in _PLAIN):
                return None
            parts.append(part)
        elif kind is int or item is None or item is Ellipsis:
            parts.append(item)
        elif isinstance(item, AnyTensor) and item.dtype in (int64, int32) and item._shape():
            parts.append(AnyTensor)
            tensors.append(item)
        else:
            return None
    return tuple(parts), tensors


def take_apart(self: Tensor, index: Any) -> tuple[Tensor, Sequence[Tensor | None]]:
    """The view that the integers and slices of an index make, and for each of its dimensions its index tensor, or
    None; nothing if it has none."""
    shape = self._shape()
    if type(index) is int and shape:  # each may be another: nothing to remember
        return select_part(self, 0, index), ()
    strides = strides_of(self)
    plain = _plain_key(index)
    if plain is None:
        basic, advanced = _taken_apart(self, index, shape, strides)
        if _nothing_happens(basic, shape) and any(a is not None for a in advanced):
            return self, advanced
        return basic.view(), advanced if any(a is not None for a in advanced) else ()
    known, offset = (plain[0], shape, strides), offset_of(self)
    found = _views.get(known)
    if found is None:
        basic, advanced = _taken_apart(self, index, shape, strides)
        basic.offset -= offset
        if len(_views) >= MOST_VIEWS:
            _views.clear()
        dims = tuple([d for d, a in enumerate(advanced) if a is not None])
        found = _views[known] = basic.arguments(), dims, bool(dims) and _nothing_happens(basic, shape)
    (steps, new_shape, new_strides, begin, node), dims, same = found
    view = self if same else make_view(self, steps, new_shape, new_strides, offset + begin, node)
    if not dims:
        return view, ()
    given: list[Tensor | None] = [None] * len(new_shape)
    for d, tensor in zip(dims, plain[1], strict=True):
        given[d] = tensor
    return view, given


def _taken_apart(self: Tensor, index: Any, shape: tuple[int, ...], strides: tuple[int, ...],
                 ) -> tuple[Basic, list[Tensor | None]]:
    device = self._pending().device
    items, used = _checked(index, len(shape), device)
    basic, dim = Basic(self), 0
    advanced: list[Tensor | None] = []
    gap = len(shape) - used
    for item in items:
        if item is None:
            basic.new_axis(dim)
            advanced.append(None)
        elif item is Ellipsis:
            for _ in range(gap):
                basic.whole(shape[dim], strides[dim])
                advanced.append(None)
                dim += 1
            gap = 0
        elif isinstance(item, slice):
            basic.slice(item, shape[dim], strides[dim])
            advanced.append(None)
            dim += 1
        elif isinstance(item, bool):
            basic.new_axis(dim)
            advanced.append(_as_tensor(item, device))
        elif _is_integer(item):
            basic.integer(position(item), shape[dim], strides[dim], dim)
            dim += 1
        else:
            covered = item.ndim if item.dtype in (bool_, uint8) else 1
            if not covered:  # a 0-d mask chooses all or nothing of a new axis
                basic.new_axis(dim)
                advanced.append(item)
            for _ in range(covered):
                basic.whole(shape[dim], strides[dim])
                dim += 1
                advanced.append(item)
                item = None
    while dim < len(shape):
        basic.whole(shape[dim], strides[dim])
        advanced.append(None)
        dim += 1
    return basic, advanced


def _nothing_happens(basic: Basic, shape: tuple[int, ...]) -> bool:
    return tuple(basic.shape) == shape and all(s == 1 for s in basic.steps)


# --- index tensors


def mask_coordinates(mask: Tensor) -> list[Tensor]:
    """The coordinates at which a mask holds, one int64 vector for each of its dimensions. Runs the mask."""
    array = concrete(mask, "indexing with a mask")
    device = mask._pending().device
    return [make(leaf_from_numpy(c.astype(np.int64), int64, device)) for c in np.nonzero(array)]


def _wrap(index: LazyBuffer, size: int) -> LazyBuffer:
    index = index.cast(int64)
    return index.binary(Op.LT, index.like(0)).where(index.binary(Op.ADD, index.like(size)), index)


_WRAP = Function("wrap_index", _wrap, "NotDifferentiable")


def wrapped(index: Tensor, size: int) -> Tensor:
    """int64 positions, negative ones counted from the end. Known indices are looked at now."""
    found = bounds(index)
    if found is not None and found[0] >= 0:
        return index if index.dtype is int64 else index.to(int64)
    return _WRAP((index,), (size,))


class Advanced:
    """Index tensors for some dimensions of a view: what GATHER and SCATTER need.

    ``order`` puts the indexed dimensions first; the result's index dimensions, of ``shape``, stand at ``position``:
    where the first of them was if they are neighbours, else in front.
    """

    __slots__ = ("indexes", "order", "position", "shape")

    def __init__(self, view: Tensor, given: Sequence[Tensor | None]) -> None:
        indexes, dims = _expand_masks(view, given)
        shape = view._shape()
        taken = 0 not in [n for d, n in enumerate(shape) if d not in dims]  # else no index is used
        for index, dim in zip(indexes, dims, strict=True):
            if taken or not shape[dim]:
                check_range(index, shape[dim], dim)
        self.shape, self.order, self.position = _arranged(
            tuple([i._shape() for i in indexes]), tuple(dims), len(shape))
        self.indexes = [wrapped(i, shape[d]) for i, d in zip(indexes, dims, strict=True)]


@lru_cache(maxsize=MOST_VIEWS)
def _arranged(shapes: Sequence[tuple[int, ...]], dims: tuple[int, ...], rank: int,
              ) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """The ``shape``, ``order`` and ``position`` of ``Advanced`` for indexes of these shapes, for some of so many
    dimensions."""
    try:
        shape = broadcast_shapes(*shapes)
    except RuntimeError:
        texts = ", ".join(str(list(s)) for s in shapes)
        raise IndexError("shape mismatch: indexing tensors could not be broadcast together with shapes "
                         + texts) from None
    adjacent = dims == tuple(range(dims[0], dims[0] + len(dims)))
    return shape, (*dims, *[d for d in range(rank) if d not in dims]), dims[0] if adjacent else 0


def _gathered(*args: Any) -> LazyBuffer:
    """The value, the indexes, then ``order``, ``position`` and ``shape`` of ``Advanced``."""
    x, *indexes, order, at, shape = args
    found = x.permute(order).gather([fit(i, int64, shape) for i in indexes])
    count, rest = len(shape), len(found.shape) - len(shape)
    return found.permute((*range(count, count + at), *range(count), *range(count + at, count + rest)))


def _written(*args: Any) -> LazyBuffer:
    """The value, what is written, the indexes, then ``order``, ``position``, ``shape`` and the mode."""
    x, new, *indexes, order, at, shape, mode = args
    front = x.permute(order)
    rest, count = front.shape[len(indexes):], len(shape)
    new = fit(new, x.dtype, (*rest[:at], *shape, *rest[at:]))
    new = new.permute((*range(at, at + count), *range(at), *range(at + count, len(new.shape))))
    out = front.scatter(new, [fit(i, int64, shape) for i in indexes], mode)
    return out.permute(inverse(order))


def inverse(order: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes ``order``."""
    result = [0] * len(order)
    for i, axis in enumerate(order):
        result[axis] = i
    return tuple(result)


_INDEX = Function("index", _gathered, "IndexBackward0")
_INDEX_PUT = Function("index_put", _written, "IndexPutBackward0")


def check_index_device(view: Tensor, index: Tensor) -> None:
    """``RuntimeError`` for an index that is neither on the CPU nor where the indexed tensor is."""
    if index._pending().device not in ("CPU", view._pending().device):
        raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor "
                           f"({view.device})")


def _expand_masks(view: Tensor, given: Sequence[Tensor | None]) -> tuple[list[Tensor], list[int]]:
    shape = view._shape()
    found: list[Tensor] = []
    dims: list[int] = []
    home = view._pending().device
    for dim, index in enumerate(given):
        if index is None:
            continue
        check_index_device(view, index)
        if index.dtype in (bool_, uint8):
            if index.dtype is uint8:
                warnings.warn("indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool "
                              "instead.", stacklevel=4)
            _check_mask(index, shape, dim)
            coordinates = mask_coordinates(index if index.ndim else index.reshape(1))
            found += coordinates
            dims += range(dim, dim + len(coordinates))
        elif index.dtype in (int32, int64):
            found.append(index)
            dims.append(dim)
        else:
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    return [i if i._pending().device == home else i.to(device=view.device) for i in found], dims


# --- writing


def _described(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")


def _without_leading_ones(value: Tensor) -> Tensor:
    shape = value._shape()
    while shape and shape[0] == 1:
        shape = shape[1:]
    return value if shape == value._shape() else value.reshape(shape)


def _only_mask(view: Tensor, given: Sequence[Tensor | None]) -> Tensor | None:
    """The mask, if it is the only index, with a dimension of size 1 for each of the view's dimensions after it."""
    (dim, mask), *others = [(d, g) for d, g in enumerate(given) if g is not None]
    if others or mask.dtype is not bool_:
        return None
    check_index_device(view, mask)
    _check_mask(mask, view._shape(), dim)
    mask = mask.to(device=view.device)
    return mask.reshape((*mask._shape(), *[1] * (view.ndim - dim - mask.ndim)))  # a 0-d one has an axis of its own


def _check_mask(mask: Tensor, shape: tuple[int, ...], dim: int) -> None:
    """``IndexError`` unless the mask has the sizes of the dimensions from ``dim`` on."""
    for offset, size in enumerate(mask._shape()):
        if size != shape[dim + offset]:
            raise IndexError(f"The shape of the mask {list(mask._shape())} at index {offset} does not match the shape "
                             f"of the indexed tensor {list(shape)} at index {dim + offset}")


def put(view: Tensor, given: Sequence[Tensor | None], value: Any, mode: str) -> Tensor:
    """Write (or add) a value at index tensors, in place. What has one element is written where a mask holds, of
    whatever dtype but where the mask is 0-d, without looking for the places."""
    check_in_place(view)
    check_overlap(view, given, True)
    single = isinstance(value, AnyTensor) and value.numel() == 1
    of_type = is_number(value) or (single and (value.dtype is view.dtype or all([g is None or g.ndim for g in given])))
    mask = _only_mask(view, given) if mode == "set" and of_type else None
    if mask is None:
        check_overlap(view, (value,), True)
    else:
        return view.masked_fill_(mask, value.to(view.device).reshape(()) if single else value)
    advanced = Advanced(view, given)
    static = (advanced.order, advanced.position, advanced.shape, mode)
    rest, at = [view._shape()[d] for d in advanced.order[len(advanced.indexes):]], advanced.position
    shape = (*rest[:at], *advanced.shape, *rest[at:])
    if isinstance(value, AnyTensor):
        if value._shape():
            one_device((view._pending(), value._pending()))
        value = value.to(device=view.device)
        if len(value._shape()) > len(shape) or any(
                m not in (1, n) for m, n in zip(reversed(value._shape()), reversed(shape), strict=False)):
            raise RuntimeError(f"shape mismatch: value tensor of shape {list(value._shape())} cannot be broadcast to "
                               f"indexing result of shape {list(shape)}")
        if value.dtype is not view.dtype:
            raise RuntimeError(f"Index put requires the source and destination dtypes match, got "
                               f"{type_name(view.dtype)} for the destination and {type_name(value.dtype)} for the "
                               "source.")
    else:
        value = make(LazyBuffer.const(stored(value, view.dtype, halves=False), view.dtype, (), view._pending().device))
    return view._adopt(watched(_INDEX_PUT((view, value, *advanced.indexes), static), *given))


class Indexing:
    """``x[...]`` and ``x[...] = value``."""

    __slots__ = ()

    # --- integers, slices, None, ...

    def select(self: Tensor, dim: int, index: Any) -> Tensor:
        """The part at ``index`` of ``dim``, without it; a view."""
        shape = self._shape()
        if not shape:
            raise IndexError("select() cannot be applied to a 0-dim tensor.")
        axis = dim_index(dim, len(shape))
        at = position(index)
        if not -shape[axis] <= at < shape[axis]:
            raise IndexError(f"select(): index {at} out of range for tensor of size {list(shape)} at dimension {axis}")
        return select_part(self, axis, at)

    # --- index tensors

    def __getitem__(self: Tensor, index: Any) -> Tensor:
        """``x[index]`` as in PyTorch.

        >>> import minigrad
        >>> x = minigrad.arange(6).reshape(2, 3)
        >>> x[1], x[:, -1], x[x > 3], x[[0, 0], [1, 2]]
        (tensor([3, 4, 5]), tensor([2, 5]), tensor([4, 5]), tensor([1, 2]))
        """
        if type(index) is int and self._shape():
            return select_part(self, 0, index)
        view, given = take_apart(self, index)
        if not given:
            return view
        advanced = Advanced(view, given)
        return _INDEX((view, *advanced.indexes), (advanced.order, advanced.position, advanced.shape))

    def __delitem__(self: Tensor, index: Any) -> None:
        raise TypeError("Tensor does not support deleting items")

    # --- writing

    def __setitem__(self: Tensor, index: Any, value: Any) -> None:
        """``x[index] = value`` as in PyTorch; the value is broadcast and cast to x's dtype.

        >>> import minigrad
        >>> x = minigrad.zeros(3)
        >>> x[x == 0] = 1
        >>> x[-1] = 5
        >>> x
        tensor([1., 1., 5.])
        """
        if is_number(value):
            value = assigned(value, self.dtype)
        elif not isinstance(value, AnyTensor):
            raise TypeError(f"can't assign a {_described(value)} to a torch.{type_name(self.dtype)}Tensor")
        if index is False:  # nothing is written, whatever the value's shape
            return
        index = None if index is True else index
        view, given = take_apart(self, index)
        if not given:
            if not is_number(value) and value is not self and is_itself(view, value):  # x[index] += y has written
                check_in_place(view)
                view._count_edit()
                return
            if view._shape() == self._shape() and is_all(index):
                view = self
            if is_number(value) or (not value._shape() and view._shape()):
                check_distinct(view)
                view.fill_(value)
                return
            check_in_place(view)
            if value._shape() != view._shape():
                value = _without_leading_ones(value)
            check_overlap(view, (value,), expanded=True)
            view._overwrite(value)
            return
        put(view, given, value if is_number(value) else _without_leading_ones(value), "set")
