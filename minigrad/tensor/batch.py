"""Stage: front. In: Tensors in the host's memory. Out: a batch of them as a new Tensor: some rows of one, or several
stacked. Data comes into a program here, so nothing is recorded: the bytes are copied now, once, as ``tensor([...])``
copies a list. Where that would not be what ``stack`` gives (gradients, other devices), the answer is None.
Next: ``matrices.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from minigrad.autograd.mode import mode
from minigrad.dtype import DType
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.strides import contiguous_strides
from minigrad.runtime.buffer import Buffer
from minigrad.tensor.base import is_plain, make
from minigrad.tensor.capture import capturing
from minigrad.tensor.storage import tracing
from minigrad.tensor.tensor_class import Tensor
from minigrad.tensor.values import realize

Memory = Callable[[int], Buffer]
"""Gives memory of so many bytes."""


def host_memory(nbytes: int) -> Buffer:
    """Memory of the CPU device."""
    return Buffer("CPU", nbytes)


def _is_data(tensor: Tensor) -> bool:
    """Whether the Tensor is a plain one on the CPU through which no gradient flows."""
    return (is_plain(tensor) and tensor._pending().device == "CPU"
            and not (mode.enabled and tensor._source() is not None))


def rows(tensor: Tensor, indices: Sequence[int], memory: Memory = host_memory) -> Tensor | None:
    """``stack([tensor[i] for i in indices])``; None for what has to be done in that way, for example to raise the error
    about an index that is out of range.

    >>> from minigrad.tensor import arange
    >>> rows(arange(6).reshape(3, 2), [2, 0])
    tensor([[4, 5],
            [0, 1]])
    """
    if tracing.names or capturing() is not None or not _is_data(tensor):
        return None
    shape, dtype = tensor._shape(), tensor.dtype
    if not shape or not indices or max(indices) >= shape[0] or min(indices) < -shape[0]:
        return None
    array, at = tensor._array(), np.array(indices)
    if min(indices) < 0:
        at[at < 0] += shape[0]
    shape = (len(indices), *shape[1:])
    buffer = memory(dtype.size * len(indices) * prod(shape[1:]))
    if buffer.nbytes:
        array.take(at, axis=0, out=buffer.as_numpy(dtype, shape), mode="clip")
    return make(LazyBuffer.from_buffer(buffer, shape, dtype, "CPU"))


def stacked(tensors: Sequence[Any], memory: Memory = host_memory) -> Tensor | None:
    """``stack(tensors)`` of Tensors of one shape and dtype; None for others. Those that are pending are computed, in
    one run.

    >>> from minigrad.tensor import arange
    >>> stacked([arange(2), arange(2) + 5])
    tensor([[0, 1],
            [5, 6]])
    """
    if tracing.names or capturing() is not None or not tensors or not is_plain(tensors[0]):
        return None
    shape, dtype = tensors[0]._shape(), tensors[0].dtype
    found = _sources(tensors, shape, dtype)
    if found is None:
        return None
    size = dtype.size * prod(shape)
    buffer = memory(size * len(tensors))
    to, copy = buffer.address, Buffer.move
    for tensor, source, address in zip(tensors, *found, strict=True):
        if source is None:
            buffer.as_numpy(dtype, shape, None, to - buffer.address)[...] = tensor._array()
        elif size:
            copy(to, address, size)
        to += size
    return make(LazyBuffer.from_buffer(buffer, (len(tensors), *shape), dtype, "CPU"))


def _sources(tensors: Sequence[Tensor], shape: tuple[int, ...], dtype: DType) -> tuple[list[Any], list[int]] | None:
    """The buffer of each and the address of its first element, if its elements lie in row-major order, else None and 0.
    The buffers are to be held until the bytes are copied. None if one is another kind of Tensor."""
    strides, size, kind, taped = contiguous_strides(shape), dtype.size, type(tensors[0]), mode.enabled
    buffers: list[Any] = []
    addresses: list[int] = []
    pending = False
    for t in tensors:
        if type(t) is not kind:
            return None
        storage, view = t._storage, t._view
        value = storage.lazy
        seen: Any = value if view is None else view
        if seen.shape != shape or seen.dtype is not dtype or value.device != "CPU":
            return None
        if taped and (t._requires_grad or (view is not None and view.history != storage.history)
                      ) and t._source() is not None:
            return None
        buffer, address = value.buffer, 0
        if buffer is None:
            pending = True
        elif value.arg is not None:
            buffer = None
        elif view is None:
            address = buffer.address + value.offset
        elif view.strides == strides and view.dtype is value.dtype:
            address = buffer.address + value.offset + view.offset * size
        else:
            buffer = None
        buffers.append(buffer)
        addresses.append(address)
    if pending:
        realize(list(tensors))
        return _sources(tensors, shape, dtype)
    return buffers, addresses
