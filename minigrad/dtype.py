"""Stage: everywhere. In: nothing. Out: the element types, what they promote to, and their NumPy twins.
Next: ``config.py``."""

from __future__ import annotations

from functools import cache

import numpy as np

_package = "minigrad"


def shown(name: str) -> str:
    """A name as it prints: ``minigrad.float32``, or ``torch.float32`` in programs that say ``import torch``."""
    return f"{_package}.{name}"


def show_as(package: str) -> None:
    """From now on names print as those of this package."""
    global _package
    _package = package


NAME_ONLY = "complex32 is a name only: there are no tensors of it; use complex64"


class DType:
    """An element type. Compared by identity; there is one object for each type. It is no dataclass: ``asdict`` of a
    user's dataclass that holds one would take it apart.

    ``kind`` is ``"b"`` bool, ``"u"`` unsigned, ``"i"`` signed, ``"f"`` floating, ``"c"`` complex; ``size`` is in bytes.

    >>> float32.size, float32.is_float, int64.kind
    (4, True, 'i')
    """

    __slots__ = ("kind", "name", "order", "size")

    name: str
    kind: str
    size: int
    order: int

    def __init__(self, name: str, kind: str, size: int, order: int) -> None:
        for slot, value in (("name", name), ("kind", kind), ("size", size), ("order", order)):
            object.__setattr__(self, slot, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{self!r} cannot be changed")

    def __repr__(self) -> str:
        return shown(self.name)

    def __reduce__(self) -> str:
        return self.name

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def is_int(self) -> bool:
        return self.kind in "iu"

    @property
    def is_floating_point(self) -> bool:
        """PyTorch's name for ``is_float``."""
        return self.kind == "f"

    @property
    def is_complex(self) -> bool:
        """Whether the numbers have an imaginary part."""
        return self.kind == "c"

    @property
    def is_inexact(self) -> bool:
        """Whether the type is floating or complex: what has gradients."""
        return self.kind in "fc"

    @property
    def is_signed(self) -> bool:
        return self.kind in "ifc"

    @property
    def part(self) -> DType:
        """The type of the real and the imaginary part of a complex type; of any other, the type itself.

        >>> complex64.part, int8.part
        (minigrad.float32, minigrad.int8)
        """
        if self is complex32:
            raise NotImplementedError(NAME_ONLY)
        return _PARTS.get(self.name, self)

    @property
    def complex(self) -> DType:
        """The complex type whose parts have this type; bfloat16's are float32.

        >>> float64.complex, complex64.complex
        (minigrad.complex128, minigrad.complex64)
        """
        return self if self.kind == "c" else _COMPLEX[self.name]

    def to_real(self) -> DType:
        """``part``, of floating and complex types."""
        return self.part

    def to_complex(self) -> DType:
        """``complex``, of floating and complex types; bfloat16 becomes complex64."""
        return self.complex

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self.size

    @property
    def bits(self) -> int:
        return self.size * 8

    @property
    def numpy(self) -> np.dtype:
        """The NumPy dtype; bfloat16 comes from ``ml_dtypes``."""
        return _numpy_dtype(self.name)

    @property
    def min(self) -> int | float:
        """The smallest finite value (``-inf`` has no place here)."""
        if self.kind == "b":
            return 0
        if self.kind == "f":
            return -self.max
        return -(1 << (self.bits - 1)) if self.kind == "i" else 0

    @property
    def max(self) -> int | float:
        """The largest finite value."""
        if self.kind == "b":
            return 1
        if self.kind == "f":
            return {"float16": 65504.0, "bfloat16": 3.3895313892515355e38}.get(
                self.name) or float(np.finfo(self.name).max)
        return (1 << (self.bits - (self.kind == "i"))) - 1


# What users see: ``minigrad.dtype``, or ``torch.dtype``.
DType.__name__ = DType.__qualname__ = "dtype"
DType.__module__ = "minigrad"

bool_ = DType("bool", "b", 1, 0)
uint8 = DType("uint8", "u", 1, 1)
int8 = DType("int8", "i", 1, 2)
int16 = DType("int16", "i", 2, 3)
int32 = DType("int32", "i", 4, 4)
int64 = DType("int64", "i", 8, 5)
uint16 = DType("uint16", "u", 2, 6)
uint32 = DType("uint32", "u", 4, 7)
uint64 = DType("uint64", "u", 8, 8)
float16 = DType("float16", "f", 2, 9)
bfloat16 = DType("bfloat16", "f", 2, 10)
float32 = DType("float32", "f", 4, 11)
float64 = DType("float64", "f", 8, 12)
complex32 = DType("complex32", "c", 4, 13)
complex64 = DType("complex64", "c", 8, 14)
complex128 = DType("complex128", "c", 16, 15)

ALL = (bool_, uint8, int8, int16, int32, int64, uint16, uint32, uint64, float16, bfloat16, float32, float64)
FLOATS = (float16, bfloat16, float32, float64)
HALVES = (float16, bfloat16)
"""The floating types of 16 bits. Kernels compute in float32 and convert."""
COMPLEX = (complex64, complex128)
"""The complex types that ops compute in. ``complex32`` is a name only: PyTorch, too, has hardly an op for it."""
BY_NAME = {d.name: d for d in (*ALL, complex32, *COMPLEX)}
_PARTS = {"complex32": float16, "complex64": float32, "complex128": float64}
_COMPLEX = {"float16": complex32, "bfloat16": complex64, "float32": complex64, "float64": complex128}
# ``copy`` and ``pickle`` find the object by this name.
globals()["bool"] = bool_


@cache
def _numpy_dtype(name: str) -> np.dtype:
    if name == "bfloat16":
        import ml_dtypes  # optional until someone uses the type: it costs import time

        return np.dtype(ml_dtypes.bfloat16)
    if name == "complex32":
        raise NotImplementedError(NAME_ONLY)
    return np.dtype(name)


@cache
def _from_numpy_name(name: str) -> DType:
    if name not in BY_NAME:
        raise TypeError(
            f"can't convert np.ndarray of type {name}. The only supported types are: "
            f"{', '.join(d.name for d in (*ALL, *COMPLEX))}.")
    return BY_NAME[name]


@cache
def from_numpy(dtype: np.dtype) -> DType:
    """The minigrad type of a NumPy dtype; ``TypeError`` when there is none.

    >>> from_numpy(np.dtype("int16"))
    minigrad.int16
    """
    return _from_numpy_name(dtype.name)


@cache
def promote(a: DType, b: DType) -> DType:
    """The smallest type both fit, as PyTorch's ``promote_types`` (the category decides first, then size).

    >>> promote(int64, float16), promote(uint8, int8), promote(float16, bfloat16)
    (minigrad.float16, minigrad.int16, minigrad.float32)
    """
    if a is b:
        return a
    if a.order > b.order:
        a, b = b, a
    if b.kind == "c":
        wide, part = [_PARTS.get(d.name, d) for d in (a if a.kind in "fc" else b, b)]
        return b if wide.size < part.size or wide is part else wide.complex
    if b.kind == "f":
        return float32 if (a, b) == (float16, bfloat16) else b
    if a.kind == "b":
        return b
    if a.kind == b.kind:
        return b if b.size >= a.size else a
    unsigned, signed = (a, b) if a.kind == "u" else (b, a)
    if signed.size > unsigned.size:
        return signed
    return {1: int16, 2: int32, 4: int64, 8: float32}[unsigned.size]


def accumulator(dtype: DType) -> DType:
    """The type a sum of ``dtype`` runs in inside a kernel: the half types accumulate in float32.

    >>> accumulator(bfloat16), accumulator(float64)
    (minigrad.float32, minigrad.float64)
    """
    return float32 if dtype in HALVES else dtype
