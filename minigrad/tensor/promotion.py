"""Stage: front. In: Tensors and Python numbers of different types. Out: the dtype they are computed in, as in
PyTorch. Tensors with dimensions come before 0-d tensors, these before Python numbers: a later one decides only if its
category (bool, integer, float, complex) is higher. Source:
https://docs.pytorch.org/docs/stable/tensor_attributes.html#torch-dtype
Next: ``storage.py``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.dtype import (
    DType,
    bfloat16,
    bool_,
    complex128,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    promote,
    uint8,
)

# PyTorch's names of the types, for its messages.
SCALAR_TYPES = {"bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long",
                "uint16": "UInt16", "uint32": "UInt32", "uint64": "UInt64", "float16": "Half",
                "bfloat16": "BFloat16", "float32": "Float", "float64": "Double", "complex32": "ComplexHalf",
                "complex64": "ComplexFloat", "complex128": "ComplexDouble"}
WITH_CLASSES = (float64, float32, float16, bfloat16, int64, int32, int16, int8, uint8, bool_)
"""The types that PyTorch has classes for, ``FloatTensor`` and ``FloatStorage``; later types have none."""
# What C++ calls them, for messages that say it so.
C_TYPES = {"float32": "float", "float64": "double", "float16": "c10::Half", "bfloat16": "c10::BFloat16",
           "complex64": "c10::complex<float>",
           "complex128": "c10::complex<double>", "int64": "long int", "int32": "int", "int16": "short int",
           "int8": "signed char", "uint8": "unsigned char", "uint16": "short unsigned int", "uint32": "unsigned int",
           "uint64": "long unsigned int"}
# And what it calls them where a number does not fit.
_STORED_TYPES = {"float32": "float", "float64": "double", "float16": "c10::Half", "bfloat16": "c10::BFloat16",
                 "int32": "int", "bool": "bool", "complex64": "c10::complex<float>",
                 "complex128": "c10::complex<double>"}
_default_dtype = float32


def get_default_dtype() -> DType:
    """The type of tensors made of Python floats.

    >>> get_default_dtype()
    minigrad.float32
    """
    return _default_dtype


def set_default_dtype(dtype: DType) -> None:
    """Make ``dtype``, a floating type, that of tensors made of Python floats."""
    global _default_dtype
    if not isinstance(dtype, DType) or not dtype.is_float:
        raise TypeError(f"only floating-point types are supported as the default type, got {dtype}")
    _default_dtype = dtype


def default_complex_dtype() -> DType:
    """The type of tensors made of Python's complex numbers: its parts have the default type.

    >>> default_complex_dtype()
    minigrad.complex64
    """
    return _default_dtype.complex


PYTHON_TYPES: dict[Any, DType] = {bool: bool_, int: int64, float: float64, complex: complex128}
"""What Python's types of numbers mean as a ``dtype``."""


def dtype_argument(name: str, given: Any) -> DType:
    """The dtype that a function of this name is given as ``float``, say. ``TypeError`` for what is none."""
    found = PYTHON_TYPES.get(given) if isinstance(given, type) else None
    if found is None:
        raise TypeError(f"{name}(): argument 'dtype' must be torch.dtype, not {type(given).__name__}")
    return found


def check_dtype(name: str, kwargs: dict[str, Any]) -> None:
    """Have the keywords of a call of the function of this name say a dtype where they say ``float``, say; see
    ``dtype_argument``."""
    if isinstance(kwargs.get("dtype"), type | str):
        kwargs["dtype"] = dtype_argument(name, kwargs["dtype"])


def c_name(dtype: DType) -> str:
    """What C++ calls the type.

    >>> c_name(int64)
    'long int'
    """
    return C_TYPES.get(dtype.name, dtype.name)


def category(dtype: DType) -> int:
    """0 for bool, 1 for integers, 2 for floats, 3 for complex numbers."""
    return _CATEGORIES[dtype.kind]


_CATEGORIES = {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}


def number_dtype(value: Any) -> DType:
    """The type a Python number has by itself."""
    if isinstance(value, bool | np.bool_):
        return bool_
    if isinstance(value, int | np.integer):
        return int64
    return default_complex_dtype() if isinstance(value, complex | np.complexfloating) else _default_dtype


def with_number(dtype: DType, value: Any) -> DType:
    """The type of a tensor of ``dtype`` combined with a Python number.

    >>> from minigrad.dtype import int8, float16
    >>> with_number(int8, 3), with_number(int8, 3.0), with_number(float16, 3.0)
    (minigrad.int8, minigrad.float32, minigrad.float16)
    """
    number = number_dtype(value)
    if category(dtype) >= category(number):
        return dtype
    return dtype.complex if dtype.kind == "f" else number


def combined(a: DType, a_dims: int, b: DType, b_dims: int) -> DType:
    """The type of two tensors combined; ``dims`` are their numbers of dimensions.

    >>> from minigrad.dtype import int32, float16
    >>> combined(float16, 2, float32, 0), combined(int32, 2, float32, 0), combined(float16, 1, float32, 1)
    (minigrad.float16, minigrad.float32, minigrad.float32)
    """
    if a is b:
        return a
    if (a_dims == 0) == (b_dims == 0):
        return promote(a, b)
    high, low = (a, b) if a_dims else (b, a)
    if category(high) >= category(low):
        return high
    return high.complex if high.kind == "f" else promote(high, low)


def floating(dtype: DType) -> DType:
    """``dtype`` if it is floating or complex, else the default type: what ``exp`` or ``/`` make of integers."""
    return dtype if dtype.kind in "fc" else _default_dtype


def can_cast(from_: DType, to: DType) -> bool:
    """Whether a result of type ``from_`` may be stored in ``to``: not from a higher category to a lower.

    >>> from minigrad.dtype import float64
    >>> can_cast(float64, float32), can_cast(float32, int64)
    (True, False)
    """
    return category(from_) <= category(to)


def number(value: Any, dtype: DType) -> Any:
    """A Python number as an element of ``dtype``: integers wrap, floats become integers towards zero."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, complex) and dtype.kind != "c":
        if value.imag and dtype.kind != "b":
            raise RuntimeError(f"value cannot be converted to type {c_name(dtype)} without overflow")
        value = value.real if dtype.kind != "b" else value
    if type(value) is int and not -1 << 63 <= value < 1 << 64:
        raise OverflowError("int too big to convert" if value > 0 else "can't convert negative int to unsigned")
    if dtype.kind == "f":
        return float(value)
    if dtype.kind == "c":
        return complex(value)
    if dtype.kind == "b":
        return bool(value)
    if type(value) is not int:
        try:
            value = int(value)
        except (OverflowError, ValueError):
            raise RuntimeError(
                f"value cannot be converted to type {dtype.name} without overflow: {value}") from None
    if dtype.min <= value <= dtype.max:
        return value
    value &= (1 << dtype.bits) - 1
    return value - (1 << dtype.bits) if value > dtype.max else value


def stored(value: Any, dtype: DType, halves: bool = True) -> Any:
    """A Python number as an element of ``dtype``, where PyTorch insists that it fits; ``RuntimeError`` if it does not.
    Floats become integers towards zero, and negative integers wrap into unsigned types. Without ``halves``, numbers
    that are too large for a half type become infinite. ``OverflowError`` for integers of more than 64 bits,
    ``TypeError`` for what is no number.

    >>> from minigrad.dtype import int8, uint8
    >>> stored(2.7, int8), stored(-1, uint8)
    (2, 255)
    """
    if isinstance(value, np.generic):
        value = value.item()
    imaginary = isinstance(value, complex) and value.imag
    try:
        real = value.real
    except AttributeError:
        raise TypeError(f"value must be a number, not {type(value).__name__}") from None
    if type(real) is int and not -1 << 63 <= real < 1 << 64:
        raise OverflowError("int too big to convert" if real > 0 else "can't convert negative int to unsigned")
    half = dtype.size == 2 and dtype.kind == "f" and not halves
    too_large = dtype.kind == "c" and not (_fits(real, dtype.part) and _fits(value.imag, dtype.part))
    if too_large or (dtype.kind not in "bc" and (imaginary or not _fits(real, dtype))):
        if half and not imaginary:
            return rounded(real, dtype)
        name = "double" if half else _STORED_TYPES.get(dtype.name, f"{dtype.name}_t")
        raise RuntimeError(f"value cannot be converted to type {name} without overflow")
    return number(value, dtype)


def filled(value: Any, dtype: DType, shape: tuple[int, ...]) -> Any:
    """``stored`` where a Tensor of this shape gets it everywhere: PyTorch writes a single element as ``x[...] = value``
    does, and what is too large for a half type becomes infinite."""
    return stored(value, dtype, halves=math.prod(shape) != 1)


def assigned(value: Any, dtype: DType) -> Any:
    """A Python number that is written at an index: ``stored``, and ``ValueError`` for integers that int64 does not
    hold."""
    if type(value) is int and not -1 << 63 <= value < 1 << 63:
        raise ValueError("Overflow when unpacking long long")
    return stored(value, dtype, halves=False)


def rounded(value: Any, dtype: DType) -> Any:
    """A number; if it is too large for a floating type, the type's largest or an infinity, whichever is nearer."""
    if not abs(value) > dtype.max:
        return value
    return math.copysign(math.inf if abs(value) >= _ROUNDS_UP.get(dtype.name, math.inf) else dtype.max, value)


_ROUNDS_UP = {"float16": 65520.0, "bfloat16": 2.0**128 - 2.0**119, "float32": 2.0**128 - 2.0**103}
"""From here on a number is infinite in the type."""


def _fits(value: Any, dtype: DType) -> bool:
    if dtype.kind == "f":
        return not abs(value) > dtype.max or math.isinf(value)
    if dtype.kind == "u" and isinstance(value, int):
        return bool(-dtype.max <= value <= dtype.max)
    return bool(dtype.min <= value <= dtype.max)


def type_name(dtype: DType) -> str:
    """PyTorch's name of the type, as in its messages: ``Float``, ``Long``."""
    return SCALAR_TYPES[dtype.name]


def _given(dtype: Any, name: str) -> DType:
    if not isinstance(dtype, DType):
        raise TypeError(f"{name}(): argument 'type' (position 1) must be torch.dtype, not {type(dtype).__name__}")
    return dtype


class finfo:
    """The limits of a floating dtype (by default that of new tensors).

    >>> from minigrad.dtype import float16
    >>> finfo(float16).max, finfo(float16).eps
    (65504.0, 0.0009765625)
    """

    def __init__(self, type: DType | None = None) -> None:
        dtype = (_default_dtype if type is None else _given(type, "finfo")).part
        if not dtype.is_float:
            raise TypeError("torch.finfo() requires a floating point input type. Use torch.iinfo to handle "
                            "'torch.finfo'")
        digits, exponent = {"float16": (10, -14), "bfloat16": (7, -126), "float32": (23, -126),
                            "float64": (52, -1022)}[dtype.name]
        self.dtype, self.bits = dtype.name, dtype.bits
        self.min, self.max = float(dtype.min), float(dtype.max)
        self.eps, self.tiny = 2.0**-digits, 2.0**exponent
        self.smallest_normal, self.resolution = self.tiny, 10.0 ** -int(digits * 0.30103)

    def __repr__(self) -> str:
        return (f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
                f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})")


class iinfo:
    """The limits of an integer dtype.

    >>> from minigrad.dtype import int8
    >>> iinfo(int8)
    iinfo(min=-128, max=127, dtype=int8)
    """

    def __init__(self, type: DType) -> None:
        dtype = _given(type, "iinfo")
        if not dtype.is_int:
            raise TypeError("torch.iinfo() requires an integer input type. Use torch.finfo to handle 'torch.iinfo'")
        self.dtype, self.bits, self.min, self.max = dtype.name, dtype.bits, int(dtype.min), int(dtype.max)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
