"""Stage: front. In: a Tensor. Out: the same elements in another shape or order. Most are views: they alias the
Tensor, and in-place ops on either show in both.
Next: ``joining.py``."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from operator import index
from typing import TYPE_CHECKING, Any

from minigrad.dtype import DType, shown
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.strides import view_strides
from minigrad.ops import Op
from minigrad.tensor.aliases import make_view
from minigrad.tensor.arguments import no_overload
from minigrad.tensor.definition import also, both, view_in_place
from minigrad.tensor.function import Function
from minigrad.tensor.layout import offset_of, strides_of, view_as_type
from minigrad.tensor.operands import dim_index, require_tensor, whole_number
from minigrad.tensor.promotion import type_name

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def shape_argument(sizes: Sequence[Any], name: str = "", argument: str = "size") -> tuple[int, ...]:
    """``f(2, 3)`` and ``f((2, 3))`` alike, as a tuple of ints. ``name`` is the function's, for its error."""
    if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
        sizes = sizes[0]
    try:
        return tuple([s if type(s) is int else index(s) for s in sizes])
    except TypeError:
        at = next(i for i, s in enumerate(sizes) if not _is_index(s))
    kind = type(sizes[at]).__name__
    if not name:
        raise TypeError(f"a shape must be a tuple of ints, not {kind}")
    if at:
        raise TypeError(f"{name}(): argument '{argument}' failed to unpack the object at pos {at + 1} with error "
                        f'"type must be tuple of ints,but got {kind}"')
    raise TypeError(f"{name}(): argument '{argument}' (position 1) must be tuple of ints, not {kind}")


def size_argument(name: str, size: Any, position: int) -> tuple[int, ...]:
    """The sizes of a function that takes them in one tuple, at this position."""
    if not isinstance(size, tuple | list):
        raise TypeError(f"{name}(): argument 'size' (position {position}) must be tuple of ints, not "
                        f"{type(size).__name__}")
    return shape_argument((size,), name)


def _is_index(size: Any) -> bool:
    try:
        index(size)
    except TypeError:
        return False
    return True


def infer_shape(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """``shape`` with its -1 replaced, checked against the number of elements.

    >>> infer_shape((2, -1), 6)
    (2, 3)
    """
    if -1 not in shape and prod(shape) == size and (not shape or min(shape) >= 0):
        return shape
    if shape.count(-1) > 1:
        raise RuntimeError("only one dimension can be inferred")
    for i, s in enumerate(shape):
        if s < -1:
            raise RuntimeError(f"invalid shape dimension {s} at index {i} of shape {list(shape)}")
    known = prod([s for s in shape if s != -1])
    if -1 not in shape or (known and size % known) or (not known and size):
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {size}")
    if not known:
        raise RuntimeError(f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified "
                           "dimension size -1 can be any value and is ambiguous")
    return tuple([size // known if s == -1 else s for s in shape])


_UNSAFE_VIEW = Function("reshape", LazyBuffer.reshape, "UnsafeViewBackward0")


def _as_view(self: Tensor, shape: tuple[int, ...], node: str) -> Tensor | None:
    """A view of this shape, if strides can express it."""
    strides = view_strides(self._shape(), strides_of(self), shape)
    if strides is None:
        return None
    return make_view(self, ((Op.RESHAPE, shape),), shape, strides, offset_of(self), node)


# --- order of dimensions


def _permuted(self: Tensor, axes: tuple[int, ...], node: str) -> Tensor:
    shape, strides = self._shape(), strides_of(self)
    return make_view(self, ((Op.PERMUTE, axes),), tuple([shape[a] for a in axes]), tuple([strides[a] for a in axes]),
                     offset_of(self), node)


def _matrix_transpose(self: Tensor, name: str) -> Tensor:
    """The last two dimensions swapped; a number stays as it is."""
    if self.ndim == 1:
        raise RuntimeError(f"tensor.{name} is only supported on matrices or batches of matrices. Got 1-D tensor.")
    return self.transpose(-2, -1) if self.ndim else self


# --- repetition


def type_text(self: Tensor) -> str:
    """PyTorch's name of a tensor type: ``torch.FloatTensor`` without the module."""
    return shown(f"{type_name(self.dtype)}Tensor")


def repeat_values(x: LazyBuffer, times: tuple[int, ...]) -> LazyBuffer:
    """Copies of x side by side."""
    shape = (1,) * (len(times) - len(x.shape)) + x.shape
    x = x.reshape(tuple([n for s in shape for n in (1, s)]))
    x = x.expand(tuple([n for s, r in zip(shape, times, strict=True) for n in (r, s)]))
    return x.reshape(tuple([s * r for s, r in zip(shape, times, strict=True)]))


_REPEAT = Function("repeat", repeat_values, "RepeatBackward0")


# --- reversal, parts

_FLIP = Function("flip", lambda x, axes: x.flip(axes) if x.shape else x, "FlipBackward0")
_CLONE = Function("clone", lambda x: x, "CloneBackward0")


def part(self: Tensor, axis: int, begin: int, end: int, node: str) -> Tensor:
    """Elements begin … end-1 along an axis; a view."""
    shape, strides = self._shape(), strides_of(self)
    box = tuple([(begin, end) if i == axis else (0, s) for i, s in enumerate(shape)])
    return make_view(self, ((Op.SHRINK, box),), (*shape[:axis], end - begin, *shape[axis + 1:]), strides,
                     offset_of(self) + begin * strides[axis], node)


class Movement:
    """The same elements in another shape or order; most results are views."""

    __slots__ = ()

    @both("reshape")
    def reshape(self: Tensor, *sizes: Any, shape: Any = None) -> Tensor:
        """The elements in row-major order in another shape; one size may be -1. A view where possible, else a copy.

        >>> import minigrad
        >>> minigrad.arange(6).reshape(2, -1)
        tensor([[0, 1, 2],
                [3, 4, 5]])
        """
        old = self._shape()
        new = infer_shape(shape_argument(sizes if shape is None else (shape,), "reshape", "shape"), prod(old))
        view = _as_view(self, new, "ViewBackward0")
        if view is not None:
            return view
        return _UNSAFE_VIEW((self,), (new,))

    def view(self: Tensor, *shape: Any, size: Any = None, dtype: DType | None = None) -> Tensor:
        """As ``reshape``, but never a copy: ``RuntimeError`` where strides can't express it.

        With a dtype: the same bytes read as that type, outside autograd. One of another size changes the last
        dimension, which must then have no gaps; ``RuntimeError`` unless it, the strides and the offset divide.

        >>> import minigrad
        >>> x = minigrad.zeros(2, 3)
        >>> x.view(6)[0] = 7
        >>> x
        tensor([[7., 0., 0.],
                [0., 0., 0.]])
        """
        if dtype is not None or (len(shape) == 1 and isinstance(shape[0], DType)):
            return view_as_type(self, shape[0] if dtype is None else dtype)
        new = infer_shape(shape_argument(shape if size is None else (size,)), prod(self._shape()))
        result = _as_view(self, new, "ViewBackward0")
        if result is None:
            raise RuntimeError("view size is not compatible with input tensor's size and stride (at least one "
                               "dimension spans across two contiguous subspaces). Use .reshape(...) instead.")
        return result

    def view_as(self: Tensor, other: Tensor) -> Tensor:
        """``self.view(other.shape)``."""
        require_tensor(other, "view_as", "other", 1)
        return self.view(other._shape())

    def reshape_as(self: Tensor, other: Tensor) -> Tensor:
        """``self.reshape(other.shape)``."""
        require_tensor(other, "reshape_as", "other", 1)
        return self.reshape(other._shape())

    @both("ravel")
    def ravel(self: Tensor) -> Tensor:
        """All elements in one dimension."""
        return self.reshape(-1)

    @both("flatten")
    def flatten(self: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Dimensions ``start_dim`` to ``end_dim`` merged into one."""
        shape = self._shape()
        start, end = dim_index(start_dim, len(shape)), dim_index(end_dim, len(shape))
        if start > end:
            raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
        if not shape:
            return self.reshape(1)
        if start == end:
            return self
        return self.reshape((*shape[:start], prod(shape[start:end + 1]), *shape[end + 1:]))

    @both("unflatten")
    def unflatten(self: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
        """Dimension ``dim`` split into ``sizes``, one of which may be -1."""
        shape = self._shape()
        axis = dim_index(dim, len(shape))
        parts = shape_argument((tuple(sizes),))
        if not parts:
            raise RuntimeError("unflatten: sizes must be non-empty")
        known = -prod(parts)
        if parts.count(-1) == 1 and (shape[axis] % known if known else shape[axis]):
            raise RuntimeError(f"unflatten: Provided sizes {list(parts)} don't multiply up to the size of dim {axis} "
                               f"({shape[axis]}) in the input tensor")
        if -1 not in parts and prod(parts) != shape[axis]:
            raise RuntimeError(f"unflatten: Provided sizes {list(parts)} don't multiply up to the size of dim {axis} "
                               f"({shape[axis]}) in the input tensor")
        return self.reshape((*shape[:axis], *infer_shape(parts, shape[axis]), *shape[axis + 1:]))

    # --- order of dimensions

    @both("permute")
    def permute(self: Tensor, *order: Any, dims: Any = None) -> Tensor:
        """Dimension i of the result is dimension dims[i] of self; a view."""
        shape = self._shape()
        given = shape_argument(order if dims is None else (dims,))
        if len(given) != len(shape):
            raise RuntimeError("permute(sparse_coo): number of dimensions in the tensor input does not match the "
                               f"length of the desired ordering of dimensions i.e. input.dim() = {len(shape)} is not "
                               f"equal to len(dims) = {len(given)}")
        axes = tuple([dim_index(d, len(shape)) for d in given])
        if len(set(axes)) < len(axes):
            raise RuntimeError("permute(): duplicate dims are not allowed.")
        return _permuted(self, axes, "PermuteBackward0")

    @both("transpose", "swapaxes", "swapdims")
    @also(axis0="dim0", axis1="dim1")
    def transpose(self: Tensor, dim0: int, dim1: int) -> Tensor:
        """Two dimensions swapped; a view."""
        dims = len(self._shape())
        axes = list(range(dims))
        a, b = dim_index(dim0, dims), dim_index(dim1, dims)
        if dims:
            axes[a], axes[b] = axes[b], axes[a]
        return _permuted(self, tuple(axes), "TransposeBackward0")

    swapaxes = transpose
    swapdims = transpose
    transpose_ = view_in_place(transpose)
    swapaxes_ = transpose_
    swapdims_ = transpose_

    @both("t")
    def t(self: Tensor) -> Tensor:
        """The transpose of a matrix; vectors and numbers stay as they are."""
        dims = len(self._shape())
        if dims > 2:
            raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {dims}D")
        return _permuted(self, tuple(reversed(range(dims))), "TBackward0")

    t_ = view_in_place(t)

    @property
    def T(self: Tensor) -> Tensor:
        """All dimensions in reverse order; a view."""
        return _permuted(self, tuple(reversed(range(self.ndim))), "PermuteBackward0")

    @property
    def H(self: Tensor) -> Tensor:
        """The conjugate transpose of a matrix."""
        if self.ndim not in (0, 2):
            advice = " For batches of matrices, consider using tensor.mH" if self.ndim > 2 else ""
            raise RuntimeError("tensor.H is only supported on matrices (2-D tensors). Got "
                               f"{self.ndim}-D tensor.{advice}")
        return self.mH

    @property
    def mT(self: Tensor) -> Tensor:
        """The last two dimensions swapped; a view."""
        return _matrix_transpose(self, "mT")

    @property
    def mH(self: Tensor) -> Tensor:
        """The last two dimensions swapped, a view; conjugated if complex."""
        return _matrix_transpose(self, "mH").conj()

    @both("movedim", "moveaxis")
    def movedim(self: Tensor, source: Any, destination: Any) -> Tensor:
        """Dimensions ``source`` at the places ``destination``, the others in their order; a view."""
        dims = self.ndim
        names = [given if isinstance(given, tuple | list) else (given,) for given in (source, destination)]
        if len(names[0]) != len(names[1]):
            raise RuntimeError(f"movedim: Invalid source or destination dims: source ({list(names[0])} dims) should "
                               f"contain the same number of dims as destination ({list(names[1])} dims)")
        sources, targets = [[dim_index(d, dims) for d in given] for given in names]
        for found, given, which in ((sources, names[0], "source"), (targets, names[1], "destination")):
            if len(set(found)) < len(found):
                raise RuntimeError(f"movedim: repeated dim in `{which}` ({list(given)})")
        if not dims:
            return self.view(())
        axes = [d for d in range(dims) if d not in sources]
        for target, axis in sorted(zip(targets, sources, strict=True)):
            axes.insert(target, axis)
        return _permuted(self, tuple(axes), "PermuteBackward0")

    moveaxis = movedim

    @both("adjoint")
    def adjoint(self: Tensor) -> Tensor:
        """The last two dimensions swapped; conjugated if complex."""
        return _matrix_transpose(self, "adjoint()").conj()

    # --- dimensions of size 1

    @both("squeeze")
    def squeeze(self: Tensor, *dims: Any, dim: Any = None) -> Tensor:
        """Without dimensions of size 1: all of them, or of those named (one, several, or a tuple) the ones of size 1;
        a view.

        ``IndexError`` for a dimension that is not there, ``RuntimeError`` for one named twice, ``TypeError`` for
        dimensions given by position and by name. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.squeeze.html

        >>> import minigrad
        >>> x = minigrad.ones(1, 2, 1)
        >>> x.squeeze().shape, x.squeeze(0).shape, x.squeeze(0, 1).shape
        (minigrad.Size([2]), minigrad.Size([2, 1]), minigrad.Size([2, 1]))
        """
        shape, strides = self._shape(), strides_of(self)
        if dims and dim is not None:
            raise no_overload("squeeze", *dims, dim=dim)
        if dims:
            dim = dims[0] if len(dims) == 1 else dims
        axes = range(len(shape)) if dim is None else [
            dim_index(d, len(shape)) for d in (dim if isinstance(dim, tuple | list) else (dim,))]
        for axis in axes:
            if dim is not None and axes.count(axis) > 1:
                raise RuntimeError(f"dim {axis} appears multiple times in the list of dims")
        kept = [i for i, s in enumerate(shape) if s != 1 or i not in axes]
        new = tuple([shape[i] for i in kept])
        return make_view(self, ((Op.RESHAPE, new),), new, tuple([strides[i] for i in kept]), offset_of(self),
                         "SqueezeBackward0" if dim is None else "SqueezeBackward1")

    squeeze_ = view_in_place(squeeze)

    @both("unsqueeze")
    def unsqueeze(self: Tensor, dim: int) -> Tensor:
        """With a dimension of size 1 at ``dim``; a view."""
        shape, strides = self._shape(), strides_of(self)
        axis = dim_index(dim, len(shape) + 1)
        new = (*shape[:axis], 1, *shape[axis:])
        step = shape[axis] * strides[axis] if axis < len(shape) else 1
        return make_view(self, ((Op.RESHAPE, new),), new, (*strides[:axis], step, *strides[axis:]), offset_of(self),
                         "UnsqueezeBackward0")

    unsqueeze_ = view_in_place(unsqueeze)

    # --- repetition

    def expand(self: Tensor, *sizes: Any, size: Any = None, implicit: bool = False) -> Tensor:
        """Dimensions of size 1 repeated, and new ones in front; -1 keeps a size. A view in which many elements are one:
        writing to one that repeats something raises."""
        old, strides = self._shape(), strides_of(self)
        given = shape_argument(sizes if size is None else (size,), "expand")
        added = len(given) - len(old)
        if added < 0:
            raise RuntimeError(f"expand({type_text(self)}{{{list(old)}}}, size={list(given)}): the number of sizes "
                               f"provided ({len(given)}) must be greater or equal to the number of dimensions in the "
                               f"tensor ({len(old)})")
        new, steps = [], []
        for i, size in enumerate(given):
            before = old[i - added] if i >= added else 1
            if size == -1:
                if i < added:
                    raise RuntimeError(f"The expanded size of the tensor (-1) isn't allowed in a leading, non-existing "
                                       f"dimension {i}")
                size = before
            elif size != before and before != 1:
                raise RuntimeError(f"The expanded size of the tensor ({size}) must match the existing size ({before}) "
                                   f"at non-singleton dimension {i}.  Target sizes: {list(given)}.  Tensor sizes: "
                                   f"{list(old)}")
            elif size < 0:
                raise RuntimeError(f"invalid shape dimension {size}")
            new.append(size)
            steps.append(strides[i - added] if i >= added and size == before else 0)
        for i in range(added - 1 if old else -1, -1, -1):
            if new[i] == 1:
                steps[i] = new[i + 1] * steps[i + 1]
        return make_view(self, ((Op.EXPAND, tuple(new)),), tuple(new), tuple(steps), offset_of(self), "ExpandBackward0")

    def expand_as(self: Tensor, other: Tensor) -> Tensor:
        """``self.expand(other.shape)``."""
        require_tensor(other, "expand_as", "other", 1)
        return self.expand(other._shape())

    @both("broadcast_to")
    def broadcast_to(self: Tensor, *sizes: Any, size: Any = None) -> Tensor:
        """``self.expand(size)``."""
        return self.expand(shape_argument(sizes if size is None else (size,)))

    def repeat(self: Tensor, *sizes: Any, repeats: Any = None) -> Tensor:
        """Copies side by side, ``sizes[i]`` along dimension i; more sizes than dimensions add dimensions in front."""
        times = shape_argument(sizes if repeats is None else (repeats,))
        if min(times, default=0) < 0:
            given = (1,) * (len(times) - len(self._shape())) + self._shape()
            new = [n * r for n, r in zip(given, times, strict=False)]
            raise RuntimeError(f"Trying to create tensor with negative dimension {min(new)}: {new}")
        if len(times) < len(self._shape()):
            raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of "
                               "tensor")
        return _REPEAT((self,), (times,))

    @both("tile")
    def tile(self: Tensor, *times: Any, dims: Any = None) -> Tensor:
        """As ``repeat``, but fewer sizes than dimensions mean 1 in front."""
        times = shape_argument(times if dims is None else (dims,))
        return self.repeat((1,) * (self.ndim - len(times)) + times)

    # --- reversal, parts

    @both("flip")
    def flip(self: Tensor, *given: Any, dims: Any = None) -> Tensor:
        """The dimensions ``dims`` in reverse; a copy."""
        if not given and dims is None:
            raise TypeError('flip() missing 1 required positional arguments: "dims"')
        axes = tuple(sorted([dim_index(d, len(self._shape())) for d in shape_argument(given or (dims,))]))
        for axis in axes:
            if axes.count(axis) > 1:
                raise RuntimeError(f"dim {axis} appears multiple times in the list of dims")
        return _FLIP((self,), (axes,))

    @both("fliplr")
    def fliplr(self: Tensor) -> Tensor:
        """Dimension 1 in reverse."""
        if self.ndim < 2:
            raise RuntimeError("Input must be >= 2-d.")
        return self.flip(1)

    @both("flipud")
    def flipud(self: Tensor) -> Tensor:
        """Dimension 0 in reverse."""
        if not self.ndim:
            raise RuntimeError("Input must be >= 1-d.")
        return self.flip(0)

    @both("rot90")
    def rot90(self: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
        """Turned by k times 90 degrees from dims[0] towards dims[1]."""
        if len(dims) != 2:
            raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
        a, b = dims
        if self.ndim < 2:
            raise RuntimeError(f"expected total dims >= 2, but got total dims = {self.ndim}")
        if dim_index(a, self.ndim) == dim_index(b, self.ndim):
            raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {a} and dim1 = {b}")
        turns = whole_number("rot90", "k", k) % 4
        if turns == 0:
            return self.clone()
        if turns == 2:
            return self.flip(a, b)
        return self.transpose(a, b).flip(a) if turns == 1 else self.flip(a).transpose(a, b)

    @both("narrow")
    def narrow(self: Tensor, dim: int, start: Any, length: int) -> Tensor:
        """Elements start … start+length-1 along ``dim``; a view."""
        shape = self._shape()
        if not shape:
            raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
        axis = dim_index(dim, len(shape))
        if hasattr(start, "_shape") and (start._shape() or not start.dtype.is_int):
            raise RuntimeError("start must be an 0-dim integral Tensor.")
        start = index(start)
        size = shape[axis]
        if not -size <= start <= size:
            raise IndexError(f"start out of range (expected to be in range of [-{size}, {size}], but got {start})")
        start += size if start < 0 else 0
        if length < 0:
            raise RuntimeError("narrow(): length must be non-negative.")
        if start + length > size:
            raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({size}).")
        return part(self, axis, start, start + length, "SliceBackward0")

    # --- copies

    @both("clone")
    def clone(self: Tensor, *, memory_format: Any = None) -> Tensor:
        """A copy; gradients pass through."""
        return _CLONE((self,))
