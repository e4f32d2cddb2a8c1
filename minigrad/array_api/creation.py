"""Stage: array API. In: data, shapes, ranges. Out: new arrays, by the standard's names.
Source: https://data-apis.org/array-api/latest/API_specification/creation_functions.html
Next: ``data_types.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.dtype import DType, int64
from minigrad.tensor import FUNCTIONS, Tensor, get_default_dtype
from minigrad.tensor import device as as_device

_new = FUNCTIONS


def asarray(obj: Any, /, *, dtype: DType | None = None, device: Any = None, copy: bool | None = None) -> Tensor:
    """An array of ``obj``: an array, numbers, nested sequences, an object with the buffer protocol. ``copy`` False
    raises ``ValueError`` where it needs a copy.

    >>> from minigrad import array_api
    >>> array_api.asarray(bytearray(b"ab"))
    tensor([97, 98], dtype=minigrad.uint8)
    """
    if isinstance(obj, Tensor):
        changes = (dtype is not None and dtype is not obj.dtype) or (
            device is not None and as_device(device) != obj.device)
        if copy is False and changes:
            raise ValueError("a copy is needed, and copy=False")
        if changes:
            return obj.to(device=device, dtype=dtype)
        return obj.clone() if copy else obj
    if not isinstance(obj, np.ndarray | np.generic | str) and _is_buffer(obj):
        obj = np.asarray(memoryview(obj))
    if isinstance(obj, np.ndarray):
        return _new["asarray"](obj, dtype=dtype, device=device, copy=copy)
    if copy is False:
        raise ValueError("numbers and sequences are copied, and copy=False")
    return _new["tensor"](obj, dtype=dtype, device=device)


def _is_buffer(obj: Any) -> bool:
    try:
        memoryview(obj)
    except TypeError:
        return False
    return True


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """An array on the memory of another library's array."""
    return _new["from_dlpack"](x, device=device, copy=copy)


def _shape(shape: Any) -> tuple[int, ...]:
    return tuple(shape) if isinstance(shape, tuple | list) else (shape,)


def zeros(shape: Any, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """An array of zeros."""
    return _new["zeros"](_shape(shape), dtype=dtype, device=device)


def ones(shape: Any, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """An array of ones."""
    return _new["ones"](_shape(shape), dtype=dtype, device=device)


def empty(shape: Any, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """An array whose elements are to be written."""
    return _new["empty"](_shape(shape), dtype=dtype, device=device)


def full(shape: Any, fill_value: Any, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """An array of one value."""
    return _new["full"](_shape(shape), fill_value, dtype=dtype, device=device)


def zeros_like(x: Tensor, /, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Zeros in the shape of x."""
    return _new["zeros_like"](x, dtype=dtype, device=device)


def ones_like(x: Tensor, /, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """Ones in the shape of x."""
    return _new["ones_like"](x, dtype=dtype, device=device)


def empty_like(x: Tensor, /, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """An array in the shape of x whose elements are to be written."""
    return _new["empty_like"](x, dtype=dtype, device=device)


def full_like(x: Tensor, /, fill_value: Any, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """One value in the shape of x."""
    return _new["full_like"](x, fill_value, dtype=dtype, device=device)


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: DType | None = None, device: Any = None) -> Tensor:
    """start, start + step, … below ``stop``; one argument is the stop. Empty if there are none."""
    if stop is None:
        start, stop = 0, start
    if (step > 0) != (stop > start):
        kind = int64 if all(isinstance(v, int) for v in (start, stop, step)) else get_default_dtype()
        return empty(0, dtype=dtype or kind, device=device)
    return _new["arange"](start, stop, step, dtype=dtype, device=device)


def linspace(start: Any, stop: Any, /, num: int, *, dtype: DType | None = None, device: Any = None,
             endpoint: bool = True) -> Tensor:
    """``num`` numbers from start to stop, which is left out if ``endpoint`` is False.

    >>> from minigrad import array_api
    >>> array_api.linspace(0, 1, 2, endpoint=False)
    tensor([0.0000, 0.5000])
    """
    if endpoint:
        return _new["linspace"](start, stop, num, dtype=dtype, device=device)
    return _new["linspace"](start, stop, num + 1, dtype=dtype, device=device)[:-1]


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: DType | None = None,
        device: Any = None) -> Tensor:
    """1 on the diagonal ``k`` above the main one, 0 elsewhere."""
    n_cols = n_rows if n_cols is None else n_cols
    rows = _new["arange"](n_rows, device=device).reshape(n_rows, 1)
    shifted = rows + min(max(k, -n_rows), n_cols)
    return (shifted == _new["arange"](n_cols, device=device)).to(dtype or get_default_dtype())


def meshgrid(*arrays: Tensor, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Vectors as grids of coordinates; with ``"xy"`` the first two axes are swapped."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"indexing must be 'xy' or 'ij', got {indexing!r}")
    if not arrays:
        return ()
    grids = _new["meshgrid"](*arrays, indexing="ij")
    return tuple([g.transpose(0, 1) if indexing == "xy" and len(arrays) > 1 else g for g in grids])


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """x below the diagonal ``k`` above the main one, 0 elsewhere."""
    return _new["tril"](x, k)


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """x above the diagonal ``k`` above the main one, 0 elsewhere."""
    return _new["triu"](x, k)
