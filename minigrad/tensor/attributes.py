"""Stage: front. In: a Tensor. Out: what it is: sizes, number of elements, kind of dtype, device, address.
Next: ``storages.py``."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, overload

from minigrad.dtype import DType, float64, int64, promote, uint64
from minigrad.tensor.base import AnyTensor, apart_of
from minigrad.tensor.changes import is_inference
from minigrad.tensor.definition import also, both, function
from minigrad.tensor.joining import cat
from minigrad.tensor.layouts import layout as layout_type
from minigrad.tensor.layouts import strided
from minigrad.tensor.operands import dim_index, dim_indices, result_dtype
from minigrad.tensor.promotion import can_cast as may_store
from minigrad.tensor.promotion import type_name
from minigrad.tensor.storage import look
from minigrad.tensor.values import realize

if TYPE_CHECKING:
    from minigrad.tensor.size import Size
    from minigrad.tensor.storages import UntypedStorage
    from minigrad.tensor.tensor_class import Tensor
    from minigrad.tensor.typed_storages import TypedStorage


def _no_dim(dim: int) -> int:
    raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")


@function("is_tensor")
def is_tensor(obj: Any) -> bool:
    """Whether ``obj`` is a Tensor."""
    return isinstance(obj, AnyTensor)


@function("typename")
def typename(obj: Any) -> str:
    """The full name of an object's type, in the words of PyTorch's messages: what is ours is called ``torch``.
    (https://docs.pytorch.org/docs/stable/generated/torch.typename.html)

    >>> import minigrad
    >>> typename(minigrad.tensor([1])), typename(3), typename(minigrad.nn.ReLU())
    ('torch.LongTensor', 'int', 'torch.nn.modules.activation.ReLU')
    """
    if isinstance(obj, AnyTensor):
        return f"torch.{type_name(obj.dtype)}Tensor"
    named = obj if hasattr(obj, "__qualname__") else type(obj)
    module = getattr(named, "__module__", None) or ""
    if module in ("", "builtins"):
        return str(named.__qualname__)
    first, dot, rest = module.partition(".")
    return f"{'torch' if first == 'minigrad' else first}{dot}{rest}.{named.__qualname__}"


@function("result_type")
@also(tensor="tensor1", scalar="tensor1", scalar1="tensor1", other="tensor2", scalar2="tensor2")
def result_type(tensor1: Any, tensor2: Any) -> DType:
    """The dtype of an elementwise op on two Tensors or numbers.

    >>> import minigrad
    >>> result_type(minigrad.tensor([1, 2]), 1.0)
    minigrad.float32
    """
    return result_dtype((tensor1, tensor2))


@function("promote_types")
def promote_types(type1: DType, type2: DType) -> DType:
    """The smallest dtype that holds both. (https://docs.pytorch.org/docs/stable/generated/torch.promote_types.html)

    >>> import minigrad
    >>> promote_types(minigrad.uint8, minigrad.int8), promote_types(minigrad.int64, minigrad.float16)
    (minigrad.int16, minigrad.float16)
    """
    return promote(type1, type2)


@function("can_cast")
def can_cast(from_: DType, to: DType) -> bool:
    """Whether a result of type ``from_`` may be stored in type ``to``: not from a higher category to a lower.

    >>> import minigrad
    >>> can_cast(minigrad.float64, minigrad.float32), can_cast(minigrad.float32, minigrad.int32)
    (True, False)
    """
    return may_store(from_, to)


class Attributes:
    """Sizes, number of elements, kind of dtype, device, address."""

    __slots__ = ()

    @overload
    def size(self: Tensor, dim: None = None) -> Size: ...

    @overload
    def size(self: Tensor, dim: int) -> int: ...

    def size(self: Tensor, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        return self.shape if dim is None else self._shape()[dim_index(dim, self.ndim)] if self.ndim else _no_dim(dim)

    def dim(self: Tensor) -> int:
        """The number of dimensions."""
        return len(self._shape())

    ndimension = dim

    @both("numel")
    def numel(self: Tensor) -> int:
        """The number of elements."""
        return prod(self._shape())

    nelement = numel

    def element_size(self: Tensor) -> int:
        """Bytes of one element."""
        return self.dtype.size

    def data_ptr(self: Tensor) -> int:
        """The address of the first element: the host's, or a number that its device understands."""
        look("data_ptr()")
        realize(self)
        storage, view = self._storage, self._view
        if view is not None:
            storage.make_contiguous()
        lazy = storage.lazy
        return lazy.buffer.address + lazy.offset + (0 if view is None else view.offset * view.dtype.size)

    def untyped_storage(self: Tensor) -> UntypedStorage:
        """The bytes of the memory behind self: one object for all Tensors that share it."""
        from minigrad.tensor.storages import UntypedStorage  # few programs need it

        look("untyped_storage()")
        return UntypedStorage.of(self._storage)

    def storage(self: Tensor) -> TypedStorage:
        """The memory behind self as elements of its dtype."""
        from minigrad.tensor.typed_storages import TypedStorage, warn_typed

        warn_typed()
        return TypedStorage(wrap_storage=self.untyped_storage(), dtype=self.dtype, _internal=True)

    @both("is_floating_point")
    def is_floating_point(self: Tensor) -> bool:
        """Whether the dtype is floating."""
        return self.dtype.kind == "f"

    @both("is_complex")
    def is_complex(self: Tensor) -> bool:
        """Whether the dtype is complex."""
        return self.dtype.kind == "c"

    def is_signed(self: Tensor) -> bool:
        """Whether the dtype has negative numbers."""
        return self.dtype.is_signed

    def get_device(self: Tensor) -> int:
        """The index of the device; -1 on the host."""
        index = self.device.index
        return -1 if index is None else index

    # --- as properties

    @property
    def nbytes(self: Tensor) -> int:
        """Bytes of all elements."""
        return self.numel() * self.dtype.size

    @property
    def itemsize(self: Tensor) -> int:
        """Bytes of one element."""
        return self.dtype.size

    @property
    def layout(self: Tensor) -> layout_type:
        """How the elements are stored: ``minigrad.strided``."""
        return strided

    @property
    def is_cuda(self: Tensor) -> bool:
        """Whether the elements are in the memory of an NVIDIA GPU."""
        return self.device.type == "cuda"

    @property
    def is_xpu(self: Tensor) -> bool:
        """False: there is no such device."""
        return False

    @property
    def is_mps(self: Tensor) -> bool:
        """False: there is no such device."""
        return False

    @property
    def is_sparse(self: Tensor) -> bool:
        """False: sparse Tensors are ``minigrad.sparse.SparseTensor``s."""
        return False

    @property
    def is_quantized(self: Tensor) -> bool:
        """False: there are no quantized types."""
        return False

    @property
    def is_meta(self: Tensor) -> bool:
        """False: there is no such device."""
        return False

    @property
    def is_cpu(self: Tensor) -> bool:
        """Whether the elements are in the memory of the processor."""
        return self.device.type == "cpu"

    @property
    def is_nested(self: Tensor) -> bool:
        """False: there are no nested tensors."""
        return False

    @property
    def is_mkldnn(self: Tensor) -> bool:
        """False: dimensions lie in memory in their order."""
        return False

    @both("is_inference")
    def is_inference(self: Tensor) -> bool:
        """Whether the memory behind self was made in ``inference_mode``: outside it may not be changed in place, and
        can't be saved for a gradient.

        >>> import minigrad
        >>> with minigrad.inference_mode():
        ...     x = minigrad.ones(2)
        >>> x.is_inference(), x.clone().is_inference()
        (True, False)
        """
        return is_inference(self)

    @both("is_nonzero")
    def is_nonzero(self: Tensor) -> bool:
        """Whether the one element is not 0; ``RuntimeError`` for more or none."""
        return bool(self)

    @both("is_same_size")
    def is_same_size(self: Tensor, other: Tensor) -> bool:
        """Whether both have one shape."""
        return self._shape() == other._shape()

    def is_set_to(self: Tensor, tensor: Tensor) -> bool:
        """Whether both see the same memory in the same shape, with the same strides."""
        mine, theirs = [(t._storage, t._shape(), t.stride(), t.storage_offset()) for t in (self, tensor)]
        return mine[0] is theirs[0] and mine[1:] == theirs[1:]

    @both("hash_tensor")
    def hash_tensor(self: Tensor, dim: Any = (), *, keepdim: bool = False, mode: int = 0) -> Tensor:
        """The exclusive or of the elements' 64-bit patterns along dimensions, all of them by default, as uint64; floats
        are taken as float64. ``RuntimeError`` for a ``mode`` but 0.
        (https://docs.pytorch.org/docs/stable/generated/torch.hash_tensor.html)

        >>> import minigrad
        >>> minigrad.tensor([1, 2, 7]).hash_tensor()
        tensor(4, dtype=minigrad.uint64)
        """
        if mode:
            raise RuntimeError(f"Unknown hash_tensor mode: {mode}")
        if self.dtype.is_complex:
            raise NotImplementedError(f"\"xor_sum_cpu\" not implemented for '{type_name(self.dtype)}'")
        shape, axes = self._shape(), dim_indices(dim, self.ndim)
        if dim in (None, (), []) and 0 in shape:
            raise RuntimeError("hash_tensor: Expected reduction dim to be specified for input.numel() == 0. Specify "
                               "the reduction dim with the 'dim' argument.")
        for axis in axes if shape else ():
            if not shape[axis]:
                raise IndexError(f"hash_tensor: Expected reduction dim {axis} to have non-zero size.")
        bits = self.detach().to(float64).view(int64) if self.dtype.is_float else self.to(int64)
        for axis in axes if shape else ():
            while (size := bits._shape()[axis]) > 1:  # one half on the other
                half = size // 2
                folded = bits.narrow(axis, 0, half) ^ bits.narrow(axis, half, half)
                bits = cat([folded, bits.narrow(axis, size - 1, 1)], axis) if size % 2 else folded
        result = bits.view(uint64)
        return result if keepdim else result.reshape(tuple([n for i, n in enumerate(shape) if i not in axes]))

    @property
    def _version(self: Tensor) -> int:
        """How often the memory behind self was changed in place; ``RuntimeError`` if it was made in inference mode."""
        if is_inference(self):
            raise RuntimeError("Inference tensors do not track version counter.")
        counter = apart_of(self)
        return self._storage.edits if counter is None else counter[0]

    def _is_view(self: Tensor) -> bool:
        """Whether self is a view of another Tensor for autograd, too."""
        return self._base is not None

    @property
    def _base(self: Tensor) -> Tensor | None:
        """The Tensor that self is a view of, or None."""
        view = self._view
        if view is None or view.alone:
            return None
        unseen = not view.enabled and self._storage.edits >= 0 and view.dtype.part is view.base.dtype.part
        return view.base if view.differentiable or unseen else None
