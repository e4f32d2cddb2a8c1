"""Stage: front. In: a Tensor. Out: it in another dtype, by the names of Python's and C's types.
Next: ``values.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigrad.dtype import (
    bfloat16,
    bool_,
    complex32,
    complex64,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
)

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


class Casts:
    """``x.float()``, ``x.long()`` … A class of their own, for in it ``float``, ``int`` and ``bool`` are methods."""

    __slots__ = ()

    def float(self: Tensor, memory_format: Any = None) -> Tensor:
        """``to(minigrad.float32)``."""
        return self.to(float32)

    def double(self: Tensor, memory_format: Any = None) -> Tensor:
        """``to(minigrad.float64)``."""
        return self.to(float64)

    def half(self: Tensor, memory_format: Any = None) -> Tensor:
        """``to(minigrad.float16)``."""
        return self.to(float16)

    def bfloat16(self: Tensor, memory_format: Any = None) -> Tensor:
        """``to(minigrad.bfloat16)``."""
        return self.to(bfloat16)

    def long(self: Tensor, memory_format: Any = None) -> Tensor:
        """``to(minigrad.int64)``."""
        return self.to(int64)

    def int(self: Tensor, memory_format: Any = None) -> Tensor:
        """``to(minigrad.int32)``."""
        return self.to(int32)

    def short(self: Tensor, memory_format: Any = None) -> Tensor:
        """``to(minigrad.int16)``."""
        return self.to(int16)

    def char(self: Tensor, memory_format: Any = None) -> Tensor:
        """``to(minigrad.int8)``."""
        return self.to(int8)

    def byte(self: Tensor, memory_format: Any = None) -> Tensor:
        """``to(minigrad.uint8)``."""
        return self.to(uint8)

    def bool(self: Tensor, memory_format: Any = None) -> Tensor:
        """``to(minigrad.bool)``."""
        return self.to(bool_)

    def cfloat(self: Tensor, memory_format: Any = None) -> Tensor:
        """``to(minigrad.complex64)``."""
        return self.to(complex64)

    def cdouble(self: Tensor, memory_format: Any = None) -> Tensor:
        """``to(minigrad.complex128)``."""
        return self.to(complex128)

    def chalf(self: Tensor, *, memory_format: Any = None) -> Tensor:
        """``to(minigrad.complex32)``, which nothing can be computed in."""
        return self.to(complex32)
