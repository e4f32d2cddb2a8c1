"""Stage: front. In: a Tensor to change. Out: the same Tensor with another value: ``fill_``, ``copy_``, ``resize_`` …
The in-place twins of other methods, ``add_`` and ``+=``, stand beside those, made by ``definition.py``.
Next: ``protocol.py``."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any

from minigrad.autograd.mode import mode
from minigrad.dtype import DType, bool_, complex128, float64, int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.strides import contiguous_strides, overlaps, without_overlap
from minigrad.ops import Op
from minigrad.tensor.aliases import strided_alias
from minigrad.tensor.base import AnyTensor, check_in_place, make
from minigrad.tensor.changes import check_overlap, is_inference
from minigrad.tensor.function import Function
from minigrad.tensor.movement import shape_argument
from minigrad.tensor.operands import broadcast_shapes, converted, fit, is_number, require_tensor
from minigrad.tensor.promotion import filled, number, number_dtype, type_name
from minigrad.tensor.storage import compute
from minigrad.tensor.view import REPEATED

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


# --- new contents


def _copied(*args: Any) -> LazyBuffer:
    """What is copied comes last: whoever is overwritten counts as an input that no gradient flows to. It is cast last,
    so that gradients are summed in its own type."""
    *_, source, shape, dtype, device = args
    return converted(fit(source.copy_to(device), source.dtype, shape), dtype)


_COPY = Function("copy", _copied, "CopyBackwards")


_WIDEST = {"f": float64, "c": complex128, "b": bool_}
"""What a number is before it is cast to the dtype of what it is copied to."""


def check_expands(shape: tuple[int, ...], target: tuple[int, ...]) -> None:
    """``RuntimeError`` if a Tensor of this shape does not broadcast to the target, in the words of ``expand``."""
    if len(shape) > len(target):
        raise RuntimeError(f"expand(size={list(target)}): the number of sizes provided ({len(target)}) must be greater "
                           f"or equal to the number of dimensions in the tensor ({len(shape)})")
    added = len(target) - len(shape)
    for i, size in enumerate(shape):
        if size not in (1, target[i + added]):
            raise RuntimeError(f"The expanded size of the tensor ({target[i + added]}) must match the existing size "
                               f"({size}) at non-singleton dimension {i + added}.  Target sizes: {list(target)}.  "
                               f"Tensor sizes: {list(shape)}")


class InPlace:
    """New contents or another shape for this very tensor. The in-place twins of other methods stand beside those."""

    __slots__ = ()

    # --- new contents

    def fill_(self: Tensor, value: Any) -> Tensor:
        """Every element becomes ``value``, a number or a 0-d tensor. As in PyTorch a tensor does not fill what is
        expanded, whose elements are one in memory: ``RuntimeError``.

        >>> import minigrad
        >>> minigrad.zeros(2).fill_(3)
        tensor([3., 3.])
        """
        if isinstance(value, AnyTensor) and value.ndim:
            raise RuntimeError("fill_ only supports 0-dimension value tensor but got tensor with "
                               f"{value.ndim} dimensions.")
        check_in_place(self)
        known = self._view if (spec := self._spec) is None else spec
        strides = None if known is None else known.strides
        once = without_overlap(self._shape(), strides) if strides and overlaps(self._shape(), strides) else None
        if once is not None:
            assert strides is not None
            if isinstance(value, AnyTensor) and any([
                    n > 1 and not step for n, step in zip(self._shape(), strides, strict=True)]):
                raise RuntimeError(REPEATED)
            self.as_strided(*once).fill_(value)
            return self
        if isinstance(value, AnyTensor):
            return self._overwrite(value)
        dtype, shape = self.dtype, self._shape()
        return self._adopt(make(LazyBuffer.const(filled(value, dtype, shape), dtype, shape, self._pending().device)))

    def zero_(self: Tensor) -> Tensor:
        """Every element becomes 0."""
        return self.fill_(0)

    def copy_(self: Tensor, other: Any, non_blocking: bool = False) -> Tensor:
        """The elements of ``other``, broadcast, cast to self's dtype and brought to its device."""
        check_in_place(self)
        if is_number(other):
            wide = _WIDEST.get(number_dtype(other).kind, int64)
            other = make(LazyBuffer.const(number(other, wide), wide, (), self._pending().device))
        require_tensor(other, "copy_", "other", 1)
        shape = self._shape()
        if broadcast_shapes(shape, other._shape()) != shape:
            raise RuntimeError(f"output with shape {list(shape)} doesn't match the broadcast shape "
                               f"{list(broadcast_shapes(shape, other._shape()))}")
        check_overlap(self, (other,))
        return self._overwrite(other)

    def _overwrite(self: Tensor, other: Tensor) -> Tensor:
        """``copy_`` of a Tensor, wherever that lies."""
        check_expands(other._shape(), self._shape())
        static = (self._shape(), self.dtype, self._pending().device)
        return self._adopt(_COPY((self, other) if self.requires_grad else (other,), static))

    def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
        """Elements [i, i, …] become ``fill_value``. With ``wrap`` the diagonal of a tall matrix begins again after
        each square part and a row that has none.

        >>> import minigrad
        >>> minigrad.zeros(5, 2, dtype=minigrad.int64).fill_diagonal_(1, wrap=True).T
        tensor([[1, 0, 0, 1, 0],
                [0, 1, 0, 0, 1]])
        """
        check_in_place(self)
        la = self._read()
        if len(la.shape) < 2:
            raise RuntimeError("dimensions must larger than 1")
        if len(la.shape) > 2 and len(set(la.shape)) > 1:
            raise RuntimeError("all dimensions of input must be of equal length")
        first = LazyBuffer.index(la.shape, 0, la.device)
        if wrap and len(la.shape) == 2:
            first = first.binary(Op.MOD, first.like(la.shape[1] + 1))
        where = first.binary(Op.EQ, LazyBuffer.index(la.shape, 1, la.device))
        for axis in range(2, len(la.shape)):
            where = where.binary(Op.AND, first.binary(Op.EQ, LazyBuffer.index(la.shape, axis, la.device)))
        return self.masked_fill_(make(where), fill_value)

    # --- another shape

    def resize_(self: Tensor, *sizes: Any, size: Any = None, memory_format: Any = None) -> Tensor:
        """Another shape, in row-major order from the first element on. Where that reaches over the end of the memory,
        self gets larger memory of its own, now, in which new elements are 0.

        ``RuntimeError`` if there is not enough; self then stays as it was. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.Tensor.resize_.html

        >>> import minigrad
        >>> x = minigrad.arange(4)
        >>> x[1:2].resize_(2)
        tensor([1, 2])
        """
        shape = shape_argument(sizes if size is None else (size,))
        count = prod(shape)
        if min(shape, default=0) < 0 or count >= 2**63:
            raise RuntimeError("numel: integer multiplication overflow")
        if count * self.dtype.size >= 2**63:
            raise RuntimeError(f"Storage size calculation overflowed with sizes={list(shape)}")
        if mode.enabled is not None and is_inference(self):
            check_in_place(self)
        if self.requires_grad:
            raise RuntimeError("cannot resize variables that require grad")
        if shape == self._shape():
            return self
        view, storage = self._view, self._storage
        offset = 0 if view is None else view.offset
        there = storage.lazy.size * storage.lazy.dtype.size // self.dtype.size
        if offset + count <= there:
            self._become(strided_alias(storage, self.dtype, shape, contiguous_strides(shape), offset))
            storage.changed()
            return self
        flat = self._read().reshape((prod(self._shape()),))
        flat = flat.pad(((0, count - flat.size, 0),))
        compute(flat, "resize_")
        self._become(make(flat.reshape(shape)))
        self._storage.edits = storage.edits + 1
        return self

    def resize_as_(self: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
        """The shape of ``the_template``, as ``resize_`` does it."""
        return self.resize_(the_template._shape(), memory_format=memory_format)

    # --- a function of Python, element by element

    def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
        """Every element becomes ``callable(element)``. It is called in Python for each, which is slow; only on the CPU.

        >>> import minigrad
        >>> minigrad.tensor([1, 2]).apply_(lambda v: v * 10)
        tensor([10, 20])
        """
        return self.map_(self, lambda value, _: callable(value))

    def map_(self: Tensor, other: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
        """Every element becomes ``callable(element, element of other)``, broadcast; slow, as ``apply_``."""
        check_in_place(self)
        if self._pending().device != "CPU":
            raise TypeError("apply_ is only implemented on CPU tensors")
        if self._requires_grad:
            raise RuntimeError("Can't call apply_() on Variable that requires grad. Use var.detach().apply_() instead.")
        mine = self.detach()
        given = [mine.flatten().tolist(), other.detach().expand(self._shape()).flatten().tolist()]
        return self.copy_(mine.new_tensor(list(map(callable, *given))).reshape(self._shape()))

    def set_(self: Tensor, source: Any = None, storage_offset: int = 0, size: Any = None,
             stride: Any = None) -> Tensor:
        """Become an alias of ``source``, a Tensor, or a window of a storage: ``size``, ``stride`` and
        ``storage_offset`` count elements of self's dtype; without them, all of it. Without a source, become empty.

        >>> import minigrad
        >>> minigrad.zeros(0).set_(minigrad.arange(4.0).untyped_storage(), 1, (2,), (2,))
        tensor([1., 3.])
        """
        dtype = self.dtype
        if source is None:
            other = make(LazyBuffer.const(0, dtype, (0,), self._pending().device))
        elif isinstance(source, AnyTensor):
            if source.dtype is not dtype:
                raise RuntimeError(f"Could not set tensor of type {_spoken(source.dtype)} to a tensor of type "
                                   f"{_spoken(dtype)}")
            other = source.detach() if size is None else source.untyped_storage().tensor(
                dtype, *_window(size, stride), storage_offset)
        elif not hasattr(source, "untyped"):
            raise TypeError("set_(): argument 'source' (position 1) must be Tensor or torch.Storage, not "
                            f"{type(source).__name__}")
        else:
            bytes_ = source.untyped()
            shape = (bytes_.nbytes() // dtype.size,) if size is None else size
            other = bytes_.tensor(dtype, *_window(shape, stride), storage_offset)
        self._become(other)
        return self

    def _become(self: Tensor, other: Tensor) -> None:
        """Show what ``other`` shows, of any dtype and shape."""
        self._storage, self._view, self._tag, self._look = other._storage, other._view, 0, None


def _spoken(dtype: DType) -> str:
    return type_name(dtype).lower()


def _window(size: Any, stride: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shape = tuple(size)
    return shape, contiguous_strides(shape) if stride is None else tuple(stride)
