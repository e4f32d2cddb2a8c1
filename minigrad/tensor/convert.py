"""Stage: front. In: a Tensor. Out: it in another dtype or on another device.
Next: ``casts.py``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from minigrad.dtype import ALL, DType
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.base import AnyTensor, make
from minigrad.tensor.function import Function
from minigrad.tensor.movement import type_text
from minigrad.tensor.operands import converted
from minigrad.tensor.promotion import PYTHON_TYPES, dtype_argument, get_default_dtype, type_name
from minigrad.tensor.size import resolve

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

_TO_COPY = Function("to", lambda x, dtype, device: converted(x, dtype).copy_to(device), "ToCopyBackward0")


def _number_elsewhere(lazy: LazyBuffer, device: str) -> LazyBuffer:
    if lazy.op == Op.CONST:
        return LazyBuffer.const(lazy.arg, lazy.dtype, lazy.shape, device)
    return LazyBuffer.scalar(lazy.value, lazy.dtype, device)


class Convert:
    """Another dtype, another device, or both."""

    __slots__ = ()

    def to(self: Tensor, *args: Any, other: Any = None, dtype: DType | None = None, device: Any = None,
           non_blocking: bool = False, copy: bool = False, memory_format: Any = None) -> Tensor:
        """In another dtype, on another device, or both (``to(other)`` takes those of a Tensor); self if nothing
        changes.

        >>> import minigrad
        >>> minigrad.tensor([1.5, 2.5]).to(minigrad.int64)
        tensor([1, 2])
        """
        for arg in args if other is None else (other, *args):
            if isinstance(arg, DType):
                dtype = arg
            elif isinstance(arg, type) and arg in PYTHON_TYPES:
                dtype = PYTHON_TYPES[arg]
            elif isinstance(arg, AnyTensor):
                dtype, device = arg.dtype, arg.device
            elif isinstance(arg, bool):
                pass  # non_blocking by position
            elif arg is not None:
                device = arg
        if isinstance(dtype, type | str):
            dtype = dtype_argument("to", dtype)
        lazy = self._pending()
        target = lazy.device if device is None else resolve(device)
        dtype = lazy.dtype if dtype is None else dtype
        if dtype is lazy.dtype and target == lazy.device:
            return self.clone() if copy else self
        if lazy.dtype.kind == "c" and dtype.kind not in "cb":
            warnings.warn("Casting complex values to real discards the imaginary part", stacklevel=2)
        if lazy.op in (Op.CONST, Op.SCALAR) and target != lazy.device:
            return make(_number_elsewhere(lazy, target)).to(dtype)  # what the program itself holds needs no copy
        return _TO_COPY((self,), (dtype, target))

    def type(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
        """In another dtype, given as one, by its name or as a type such as ``minigrad.FloatTensor``; without one, the
        name of self's type, ``"minigrad.FloatTensor"``. ``ValueError`` for a name that is none, ``TypeError`` for
        other things."""
        if dtype is None:
            return type_text(self)
        if isinstance(dtype, str):
            named = [d for d in ALL if dtype.rpartition(".")[2] in (d.name, f"{type_name(d)}Tensor")]
            if not named:
                raise ValueError(f"invalid type: {dtype!r}")
            return self.to(named[0])
        if isinstance(dtype, type):  # FloatTensor has the dtype, Tensor itself is what new Tensors are
            found = get_default_dtype() if issubclass(dtype, AnyTensor) else getattr(dtype, "dtype", None)
            if not isinstance(found, DType):
                raise ValueError(f"invalid type: {dtype.__name__!r}")
            return self.to(found, device="cpu")
        if not isinstance(dtype, DType):
            raise TypeError("dtype must be a type, str, or dtype object")
        return self.to(dtype)

    def type_as(self: Tensor, other: Tensor) -> Tensor:
        """In the dtype and on the device of ``other``."""
        return self.to(other)

    def cpu(self: Tensor, memory_format: Any = None) -> Tensor:
        """On the device CPU."""
        return self.to(device="cpu")

    def cuda(self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Tensor:
        """On the device CUDA; ``RuntimeError`` if there is none."""
        return self.to(device="cuda" if device is None else device)
