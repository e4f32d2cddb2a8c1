"""Stage: array API. In: dtypes, arrays. Out: casts, what may be cast, limits, kinds of dtypes.
Source: https://data-apis.org/array-api/latest/API_specification/data_type_functions.html
Next: ``info.py``."""

from __future__ import annotations

from typing import Any, NamedTuple

from minigrad.array_api.promotion import common
from minigrad.dtype import BY_NAME, DType, promote
from minigrad.tensor import FUNCTIONS, Tensor
from minigrad.tensor import finfo as _finfo
from minigrad.tensor import iinfo as _iinfo

_NAMES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64",
          "complex64", "complex128")
DTYPES = tuple([BY_NAME[name] for name in _NAMES if name in BY_NAME])
"""The dtypes of the standard."""


def astype(x: Tensor, dtype: DType, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """x in another dtype; a copy, unless ``copy`` is False and nothing changes."""
    if x.dtype.is_complex and not dtype.is_complex and dtype.kind != "b":
        raise TypeError(f"cannot cast {x.dtype} to {dtype}: use real()")
    return x.to(dtype=dtype, device=device, copy=copy)


def can_cast(from_: Any, to: DType, /) -> bool:
    """Whether each value of the first dtype, or array, has a place in the second by the standard's promotion."""
    dtype = from_.dtype if isinstance(from_, Tensor) else from_
    return promotes(dtype, to) and promote(dtype, to) is to


def promotes(a: DType, b: DType) -> bool:
    """Whether the standard has a common dtype of the two: of one kind, or both integers, or both floats."""
    kinds = {_category(a), _category(b)}
    if {a.kind, b.kind} == {"u", "i"} and max(a.size if a.kind == "u" else 0, b.size if b.kind == "u" else 0) == 8:
        return False
    return len(kinds) == 1


def _category(dtype: DType) -> str:
    return {"b": "bool", "u": "integer", "i": "integer"}.get(dtype.kind, "floating")


class FloatInfo(NamedTuple):
    """What ``finfo`` gives."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


class IntegerInfo(NamedTuple):
    """What ``iinfo`` gives."""

    bits: int
    max: int
    min: int
    dtype: DType


def finfo(type: Any, /) -> FloatInfo:
    """Limits of a floating dtype, or of the parts of a complex one; ``TypeError`` for others."""
    found = _finfo(type.dtype if isinstance(type, Tensor) else type)
    dtype = BY_NAME[found.dtype]
    return FloatInfo(found.bits, found.eps, found.max, found.min, found.smallest_normal, dtype)


def iinfo(type: Any, /) -> IntegerInfo:
    """Limits of an integer dtype; ``TypeError`` for others."""
    found = _iinfo(type.dtype if isinstance(type, Tensor) else type)
    return IntegerInfo(found.bits, found.max, found.min, BY_NAME[found.dtype])


_KINDS = {
    "bool": lambda d: d.kind == "b",
    "signed integer": lambda d: d.kind == "i",
    "unsigned integer": lambda d: d.kind == "u",
    "integral": lambda d: d.kind in "iu",
    "real floating": lambda d: d.is_floating_point,
    "complex floating": lambda d: d.is_complex,
    "numeric": lambda d: d.kind != "b",
}


def isdtype(dtype: DType, kind: Any) -> bool:
    """Whether a dtype is of a kind: another dtype, a word such as ``"real floating"``, or a tuple of them.

    >>> from minigrad import array_api, int8
    >>> array_api.isdtype(int8, "integral"), array_api.isdtype(int8, ("bool", array_api.float32))
    (True, False)
    """
    if isinstance(kind, tuple):
        return any([isdtype(dtype, k) for k in kind])
    if isinstance(kind, str):
        if kind not in _KINDS:
            raise ValueError(f"Unrecognized data type kind: {kind!r}")
        return bool(_KINDS[kind](dtype))
    if isinstance(kind, DType):
        return dtype is kind
    raise TypeError(f"kind must be a dtype, a str or a tuple of them, got {type(kind).__name__}")


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype of arrays, dtypes and Python numbers combined."""
    given = [a.dtype if isinstance(a, Tensor) else a for a in arrays_and_dtypes]
    dtypes = [g for g in given if isinstance(g, DType)]
    if not dtypes:
        raise ValueError("result_type needs at least one array or dtype")
    found = common(dtypes)
    for number in given:
        if not isinstance(number, DType):
            found = FUNCTIONS["result_type"](FUNCTIONS["zeros"](1, dtype=found), number)
    return found
