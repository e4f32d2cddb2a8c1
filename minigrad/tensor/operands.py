"""Stage: front. In: operands of different shapes, dtypes and devices. Out: LazyBuffers that fit, or PyTorch's error.
Next: ``elementwise.py``."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from operator import index
from typing import Any, NoReturn

import numpy as np

from minigrad.dtype import DType
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.base import Tensor, read_all, twin
from minigrad.tensor.promotion import combined, number, number_dtype, with_number
from minigrad.tensor.size import shown_device

NUMBERS = (int, float, np.generic, numbers.Number)


def is_number(value: Any) -> bool:
    """Whether ``value`` is a Python or NumPy number."""
    return isinstance(value, NUMBERS)


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that all shapes stretch to: sizes of 1 repeat, missing leading sizes count as 1.

    Raises ``RuntimeError`` in PyTorch's words.

    >>> broadcast_shapes((2, 1), (3,))
    (2, 3)
    """
    result = tuple(shapes[0])
    for shape in shapes[1:]:
        if shape != result:
            result = _broadcast_two(result, tuple(shape))
    return result


def _broadcast_two(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    dims = max(len(a), len(b))
    long_a, long_b = (1,) * (dims - len(a)) + a, (1,) * (dims - len(b)) + b
    result = []
    for dim, (m, n) in reversed(list(enumerate(zip(long_a, long_b, strict=True)))):
        if m != n and m != 1 and n != 1:
            raise RuntimeError(f"The size of tensor a ({m}) must match the size of tensor b ({n}) at non-singleton "
                               f"dimension {dim}")
        result.append(n if m == 1 else m)
    return tuple(reversed(result))


def fit(lazy: LazyBuffer, dtype: DType, shape: tuple[int, ...]) -> LazyBuffer:
    """The value in this type, repeated to this shape."""
    if lazy.dtype is not dtype:
        lazy = lazy.cast(dtype)
    return lazy if lazy.shape == shape else lazy.expand(shape)


def same_device(lazies: Sequence[LazyBuffer]) -> list[LazyBuffer]:
    """The operands of an elementwise op on one device: 0-d ones of the CPU move to where the others are, all else that
    differs raises ``RuntimeError``."""
    device = next((v.device for v in lazies if v.device != "CPU"), "CPU")
    for v in lazies:
        if v.device != device and (v.shape or v.device != "CPU"):
            _different(device, v.device)
    return [v if v.device == device else _moved(v, device) for v in lazies]


def one_device(lazies: Sequence[LazyBuffer]) -> None:
    """``RuntimeError`` unless all values, 0-d ones too, are on one device."""
    first = lazies[0].device
    for v in lazies:
        if v.device != first:
            _different(first, v.device)


def _different(first: str, second: str) -> NoReturn:
    raise RuntimeError("Expected all tensors to be on the same device, but found at least two devices, "
                       f"{shown_device(first)} and {shown_device(second)}!")


def _moved(lazy: LazyBuffer, device: str) -> LazyBuffer:
    """A 0-d value elsewhere. Numbers that the program itself holds need no copy; they have no gradient."""
    if lazy.op == Op.CONST:
        return LazyBuffer.const(lazy.arg, lazy.dtype, lazy.shape, device)
    if lazy.op == Op.SCALAR:
        return LazyBuffer.scalar(lazy.value, lazy.dtype, device)
    return lazy.copy_to(device)


Operands = tuple[LazyBuffer, LazyBuffer, LazyBuffer, LazyBuffer]


def fit_two(a: Tensor, la: LazyBuffer, b: Tensor, lb: LazyBuffer) -> Operands:
    """``(la, lb, xa, xb)``: the values as they were read, then as operands of one dtype, shape and device."""
    if la is lb and a is not b:
        lb = twin(lb)
    xa, xb = la, lb
    if xa.device != xb.device:
        xa, xb = same_device((xa, xb))
    dtype = combined(xa.dtype, len(xa.shape), xb.dtype, len(xb.shape))
    shape = xa.shape if xa.shape == xb.shape else _broadcast_two(xa.shape, xb.shape)
    return la, lb, fit(xa, dtype, shape), fit(xb, dtype, shape)


def constant_like(lazy: LazyBuffer, value: Any) -> LazyBuffer:
    """The number as an operand beside ``lazy``, of its shape and dtype."""
    return lazy.like(number(value, lazy.dtype))


def fit_number(la: LazyBuffer, value: Any) -> tuple[LazyBuffer, LazyBuffer]:
    """A tensor's value and a Python number as operands of one dtype."""
    dtype = with_number(la.dtype, value)
    xa = la if la.dtype is dtype else la.cast(dtype)
    return xa, constant_like(xa, value)


def fit_all(operands: Sequence[Any], dtype: DType | None = None) -> tuple[list[Tensor], list[LazyBuffer],
                                                                          list[LazyBuffer]]:
    """Tensors and numbers as operands of one op: the Tensors, their values as read, and all operands fitted.

    ``dtype`` None promotes as PyTorch does.
    """
    tensors = [o for o in operands if isinstance(o, Tensor)]
    for o in operands:
        if not isinstance(o, Tensor) and not is_number(o):
            raise TypeError(f"expected Tensors and numbers, got {type(o).__name__}")
    lazies = read_all(tensors)
    placed = same_device(lazies)
    if dtype is None:
        dtype = result_dtype(operands)
    shape = broadcast_shapes(*[v.shape for v in placed])
    values = iter(placed)
    device = placed[0].device
    fitted = [fit(next(values), dtype, shape) if isinstance(o, Tensor)
              else LazyBuffer.const(number(o, dtype), dtype, shape, device) for o in operands]
    return tensors, lazies, fitted


def result_dtype(operands: Sequence[Any]) -> DType:
    """The type of Tensors and numbers combined."""
    dtype, dims = None, 0
    for o in operands:
        if isinstance(o, Tensor):
            if dtype is None:
                dtype, dims = o.dtype, o.ndim
            else:
                dtype, dims = combined(dtype, dims, o.dtype, o.ndim), max(dims, o.ndim)
    for o in operands:
        if not isinstance(o, Tensor):
            dtype = number_dtype(o) if dtype is None else with_number(dtype, o)
    assert dtype is not None
    return dtype


def dim_index(dim: Any, dims: int) -> int:
    """A dimension as 0 … dims-1; ``IndexError`` in PyTorch's words. A 0-d tensor counts as having one.

    >>> dim_index(-1, 3)
    2
    """
    if not isinstance(dim, int):
        dim = index(dim)
    size = dims if dims > 0 else 1
    if not -size <= dim < size:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-size}, {size - 1}], but got {dim})")
    return dim + size if dim < 0 else dim


def dim_indices(dim: Any, dims: int) -> tuple[int, ...]:
    """Some dimensions, sorted; None and () mean all. A dimension named twice raises ``RuntimeError``."""
    if dim is None or dim == () or dim == []:
        return tuple(range(dims))
    if not isinstance(dim, tuple | list):
        return (dim_index(dim, dims),) if dims else _no_dims(dim)
    found = [dim_index(d, dims) for d in dim]
    for d in found:
        if found.count(d) > 1:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return tuple(sorted(found)) if dims else ()


def _no_dims(dim: Any) -> tuple[int, ...]:
    dim_index(dim, 0)
    return ()


def require_tensor(value: Any, name: str, argument: str, position: int) -> Tensor:
    """``value`` if it is a Tensor, else ``TypeError`` in PyTorch's words."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}(): argument '{argument}' (position {position}) must be Tensor, not "
                        f"{type(value).__name__}")
    return value
