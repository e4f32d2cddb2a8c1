"""Stage: front. In: Tensors in the host's memory. Out: a batch of them as a new Tensor: some rows of one, or several
stacked. Data comes into a program here, so nothing is recorded: the bytes are copied now, once, as ``tensor([...])``
copies a list. Where that would not be what ``stack`` gives (gradients, other devices), the answer is None.
Next: ``matrices.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.autograd.mode import mode
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
    buffer = memory(dtype.size * len(indices) * int(np.prod(shape[1:], dtype=np.int64)))
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
    pending = []
    for t in tensors:
        if not _is_data(t) or t._shape() != shape or t.dtype is not dtype:
            return None
        if t._storage.lazy.buffer is None:
            pending.append(t)
    if pending:
        realize(pending)
    strides, size = contiguous_strides(shape), dtype.size
    for n in shape:
        size *= n
    buffer = memory(size * len(tensors))
    if not size:
        return make(LazyBuffer.from_buffer(buffer, (len(tensors), *shape), dtype, "CPU"))
    to, copy = buffer.address, Buffer.move
    for t in tensors:
        value, view = t._storage.lazy, t._view
        source = value.buffer  # held until its bytes are copied
        if value.arg is None and (view is None or (view.strides == strides and view.dtype is value.dtype)):
            offset = value.offset if view is None else value.offset + view.offset * dtype.size
            copy(to, source.address + offset, size)
        else:
            buffer.as_numpy(dtype, shape, None, to - buffer.address)[...] = t._array()
        to += size
    return make(LazyBuffer.from_buffer(buffer, (len(tensors), *shape), dtype, "CPU"))
