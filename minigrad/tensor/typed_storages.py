"""Stage: front. In: bytes, and a dtype. Out: ``TypedStorage``, the bytes seen as elements, and a class of that name for
each dtype, ``FloatStorage``: what PyTorch's checkpoints are made of.
Next: ``sparsity.py``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from minigrad.dtype import COMPLEX, DType, float32
from minigrad.engine import leaf_from_numpy
from minigrad.tensor.promotion import WITH_CLASSES, type_name
from minigrad.tensor.size import device, resolve
from minigrad.tensor.storage import Storage
from minigrad.tensor.storages import UntypedStorage, listed, place_in

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

_warned = [False]


def warn_typed() -> None:
    """Say, once a process, that ``TypedStorage`` is deprecated."""
    if not _warned[0]:
        _warned[0] = True
        warnings.warn("TypedStorage is deprecated. It will be removed in the future and UntypedStorage will be the "
                      "only storage class. This should only matter to you if you are using storages directly.  To "
                      "access UntypedStorage directly, use tensor.untyped_storage() instead of tensor.storage()",
                      UserWarning, stacklevel=3)


class TypedStorage:
    """An ``UntypedStorage`` as elements of ``dtype``. PyTorch keeps it for old programs, and so it stands here.

    >>> TypedStorage(wrap_storage=UntypedStorage([0, 0, 128, 63]), dtype=float32, _internal=True).tolist()
    [1.0]
    """

    is_sparse = False
    _dtype: ClassVar[DType | None] = None

    def __init__(self, *args: Any, wrap_storage: UntypedStorage | None = None, dtype: DType | None = None,
                 device: Any = None, _internal: bool = False) -> None:
        if not _internal:
            warn_typed()
        self.dtype = type(self)._dtype or dtype or float32
        if wrap_storage is not None:
            if not isinstance(wrap_storage, UntypedStorage):
                raise TypeError(f"Argument 'wrap_storage' must be UntypedStorage, but got {type(wrap_storage)}")
            self._untyped_storage = wrap_storage
            return
        if len(args) > 1:
            raise RuntimeError(f"Too many positional arguments given, {len(args)}: at most one, a size or elements")
        given = args[0] if args else 0
        data = np.zeros(given, self.dtype.numpy) if isinstance(given, int) else np.array(list(given), self.dtype.numpy)
        self._untyped_storage = UntypedStorage.of(Storage(leaf_from_numpy(data, self.dtype, resolve(device))))

    @classmethod
    def from_buffer(cls, buffer: Any, byte_order: str | None = None, count: int = -1, offset: int = 0, *,
                    dtype: DType | None = None, device: Any = None) -> TypedStorage:
        """A copy of the bytes of an object with the buffer protocol; ``count`` counts elements."""
        kind = cls._dtype or dtype or float32
        made = UntypedStorage.from_buffer(buffer, byte_order, count, offset, dtype=kind)
        return cls(wrap_storage=made, dtype=kind, _internal=True)

    # --- what it is

    def size(self) -> int:
        """The number of elements."""
        return self._untyped_storage.nbytes() // self.dtype.size

    __len__ = _size = size

    def nbytes(self) -> int:
        """The number of bytes."""
        return self._untyped_storage.nbytes()

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.dtype.size

    def data_ptr(self) -> int:
        """The address of the first element; 0 if there is none."""
        return self._untyped_storage.data_ptr()

    _data_ptr = data_ptr

    @property
    def device(self) -> device:
        """Where the elements are."""
        return self._untyped_storage.device

    @property
    def is_cuda(self) -> bool:
        """Whether the elements are in the memory of an NVIDIA GPU."""
        return self._untyped_storage.is_cuda

    @property
    def _cdata(self) -> int:
        return self._untyped_storage._cdata

    def untyped(self) -> UntypedStorage:
        """The same without a dtype."""
        return self._untyped_storage

    def pickle_storage_type(self) -> str:
        """The name of the class that stands for its dtype in a checkpoint, ``"FloatStorage"``.

        Raises ``KeyError`` for a dtype that has none.
        """
        return LEGACY[self.dtype].__name__

    _pickle_storage_type = pickle_storage_type

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """The name of its type, ``"torch.FloatStorage"``."""
        return f"torch.{self.pickle_storage_type()}"

    # --- its elements

    def _elements(self) -> Tensor:
        return self._untyped_storage.elements(self.dtype)

    def tolist(self) -> list[Any]:
        """The elements as Python numbers."""
        return self._elements().tolist()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            raise RuntimeError("slices are only supported in UntypedStorage.__getitem__")
        return self._elements()[place_in(at, self.size())].item()

    def __setitem__(self, at: Any, value: Any) -> None:
        self._elements()[at if isinstance(at, slice) else place_in(at, self.size())] = value

    def fill_(self, value: Any) -> TypedStorage:
        """Every element becomes ``value``."""
        self._elements().fill_(value)
        return self

    def copy_(self, source: Any, non_blocking: bool | None = None) -> TypedStorage:
        """The elements of another storage of this size, cast."""
        self._elements().copy_(source._elements() if isinstance(source, TypedStorage) else source.elements(self.dtype))
        return self

    def resize_(self, size: int) -> TypedStorage:
        """Another number of elements."""
        self._untyped_storage.resize_(size * self.dtype.size)
        return self

    # --- copies

    def _with(self, storage: UntypedStorage) -> TypedStorage:
        return type(self)(wrap_storage=storage, dtype=self.dtype, _internal=True)

    def clone(self) -> TypedStorage:
        """A copy."""
        return self._with(self._untyped_storage.clone())

    def cpu(self) -> TypedStorage:
        """On the device CPU; on the same memory if it is there."""
        return self._with(self._untyped_storage.cpu())

    def to(self, *, device: Any, non_blocking: bool = False) -> TypedStorage:
        """On another device; on the same memory if it is there."""
        return self._with(self._untyped_storage.to(device=device))

    def cuda(self, device: Any = None, non_blocking: bool = False) -> TypedStorage:
        """On the device CUDA."""
        return self._with(self._untyped_storage.cuda(device))

    def __copy__(self) -> TypedStorage:
        return self.clone()

    def __deepcopy__(self, memo: dict[int, Any]) -> TypedStorage:
        return self._with(self._untyped_storage.__deepcopy__(memo))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypedStorage) and self._cdata == other._cdata and self.dtype is other.dtype

    def __hash__(self) -> int:
        return hash((self._cdata, self.dtype))

    def __repr__(self) -> str:
        last = f"[torch.storage.TypedStorage(dtype=torch.{self.dtype.name}, device={self.device}) of size {len(self)}]"
        return listed(self.tolist(), last)


class _OfOneType(type):
    """``isinstance(x, FloatStorage)`` holds for every TypedStorage of that dtype."""

    def __instancecheck__(cls, instance: Any) -> bool:
        if cls._dtype is None:  # type: ignore[attr-defined]
            return super().__instancecheck__(instance)
        return isinstance(instance, TypedStorage) and instance.dtype is cls._dtype  # type: ignore[attr-defined]


LEGACY: dict[DType, type[TypedStorage]] = {
    dtype: _OfOneType(f"{type_name(dtype)}Storage", (TypedStorage,), {
        "_dtype": dtype, "__module__": __name__, "__doc__": f"A TypedStorage of {dtype.name} elements."})
    for dtype in (*WITH_CLASSES, *COMPLEX)
}
"""The classes that stand for dtypes in checkpoints. Dtypes that came later (uint16 …) have none."""

globals().update({made.__name__: made for made in LEGACY.values()})


def is_storage(obj: Any) -> bool:
    """Whether ``obj`` is a storage."""
    return isinstance(obj, UntypedStorage | TypedStorage)
