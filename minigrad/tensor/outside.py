"""Stage: front. In: memory of other objects, files, sizes with strides. Out: Tensors on that memory.
Next: ``copies.py``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.dtype import DType, uint8
from minigrad.engine import wrap_numpy
from minigrad.graph.strides import reach
from minigrad.tensor.aliases import from_memory
from minigrad.tensor.creation import full
from minigrad.tensor.definition import function
from minigrad.tensor.promotion import get_default_dtype

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _on(array: np.ndarray, dtype: DType) -> Tensor:
    """A Tensor on an array's memory, which may have another type of elements."""
    bytes_ = from_memory(wrap_numpy(array.view(np.uint8), uint8, "CPU"))
    return bytes_ if dtype is uint8 else bytes_.view(dtype)


@function("frombuffer")
def frombuffer(buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A vector on the memory of ``buffer``, an object with Python's buffer protocol: ``count`` elements (-1: all)
    after ``offset`` bytes. Changes of either show in both.

    ``ValueError`` for sizes that do not fit. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.frombuffer.html

    >>> import minigrad
    >>> minigrad.frombuffer(bytearray([1, 0, 2, 0]), dtype=minigrad.int16)
    tensor([1, 2], dtype=minigrad.int16)
    """
    view = memoryview(buffer)
    size, item = view.nbytes, dtype.size
    if size == 0 or count == 0:
        raise ValueError(f"both buffer length ({size}) and count ({count}) must not be 0")
    if not 0 <= offset < size:
        raise ValueError(f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({size} "
                         "bytes) minus 1")
    if count < 0:
        if (size - offset) % item:
            raise ValueError(f"buffer length ({size - offset} bytes) after offset ({offset} bytes) must be a multiple "
                             f"of element size ({item})")
        count = (size - offset) // item
    elif count * item > size - offset:
        raise ValueError(f"requested buffer length ({count} * {item} bytes) after offset ({offset} bytes) must not be "
                         f"greater than actual buffer length ({size} bytes)")
    array = np.frombuffer(view, np.uint8, count * item, offset)
    result = _on(array, dtype)
    return result.requires_grad_() if requires_grad else result


def mapped_file(filename: str, shared: bool, nbytes: int) -> np.ndarray:
    """The first bytes of a file as memory. If ``shared``, changes are written to the file, which is made, or made
    longer, if it is too short; else they are not, and a file that is too short is a ``RuntimeError``."""
    have = os.path.getsize(filename) if os.path.exists(filename) else -1
    if not nbytes:
        return np.zeros(0, np.uint8)
    if have < nbytes and shared:
        with open(filename, "ab") as file:
            file.truncate(nbytes)
    elif have < 0:
        raise RuntimeError(f"unable to open file <{filename}> in read-only mode: No such file or directory (2)")
    elif have < nbytes:
        raise RuntimeError(f"file <{filename}> size <{have}> is smaller than the required mapping size <{nbytes}>")
    return np.memmap(filename, np.uint8, "r+" if shared else "c", shape=(nbytes,)).view(np.ndarray)


@function("from_file")
def from_file(filename: str, shared: bool | None = None, size: int = 0, *, dtype: DType | None = None,
              layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """A vector of ``size`` elements on the memory of a file. If ``shared``, changes are written to the file, which is
    made, or made longer, if it is too short; else they are not.

    Raises ``RuntimeError`` for a file that is missing or too short and not ``shared``.

    >>> import tempfile, minigrad
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     minigrad.from_file(file.name, shared=True, size=2).fill_(3)
    tensor([3., 3.])
    """
    kind = dtype or get_default_dtype()
    array = mapped_file(filename, bool(shared), size * kind.size)
    return _on(array, kind) if size else full((0,), 0, dtype=kind)


@function("empty_strided")
def empty_strided(size: Sequence[int], stride: Sequence[int], *, dtype: DType | None = None, layout: Any = None,
                  device: Any = None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """A Tensor of this size and these strides, counted in elements; its elements are 0 until they are written.

    >>> import minigrad
    >>> minigrad.empty_strided((2, 3), (1, 2)).stride()
    (1, 2)
    """
    if len(size) != len(stride):
        raise RuntimeError(f"dimensionality of sizes ({len(size)}) must match dimensionality of strides "
                           f"({len(stride)})")
    window = tuple(size), tuple(stride)
    memory = full((reach(*window) if prod(size) else 0,), 0, dtype=dtype or get_default_dtype(), device=device)
    result = memory.as_strided(*window)
    return result.detach().requires_grad_() if requires_grad else result
