"""Stage: front. In: an object, with Tensors in it. Out: the same object in another process. The bytes of Tensors and
arrays are in memory that the sender hands over: the receiver maps it, and nothing is copied. The memory has no name, so
nothing is left behind when either side is killed.
Next: ``reductions.py``."""

from __future__ import annotations

import io
import os
import pickle
import socket
import struct
import threading
from contextlib import suppress
from multiprocessing import connection
from multiprocessing.reduction import ForkingPickler
from typing import Any
from weakref import WeakSet

import numpy as np

from minigrad.dtype import DType
from minigrad.engine import leaf_from_numpy
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.strides import contiguous_strides
from minigrad.multiprocessing.reductions import SharedStorages, check_sendable
from minigrad.runtime.shared import CAN_SHARE, SharedBuffer
from minigrad.tensor import Tensor
from minigrad.tensor.batch import host_memory, stacked
from minigrad.tensor.protocol import rebuild
from minigrad.tensor.storage import Storage

INLINE = 16 << 10
"""Bytes up to which data goes through the socket. Making and mapping a piece of shared memory costs more than copying
so few (20 against 10 microseconds)."""

MOST_FILES = 200  # descriptors in one message; the system takes 253
_HEAD = struct.Struct("<QI?")  # bytes of the message, descriptors, whether the message itself is in the last of them
_CLOSED = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


def lent_memory(nbytes: int) -> Any:
    """Memory for data that will be sent: a channel hands it over without a copy."""
    return SharedBuffer(nbytes) if CAN_SHARE else host_memory(nbytes)


class _Received(threading.local):
    """The memory that came with the message that this thread is reading."""

    memory: list[SharedBuffer] | None = None


_received = _Received()


def _mapped(at: int, shape: tuple[int, ...], dtype: DType, both: bool) -> Storage:
    """A Storage on memory that came with the message."""
    memory = _received.memory
    if memory is None:
        raise RuntimeError("this pickle belongs to a message between processes and can't be read by itself")
    buffer = memory[at]
    if both:
        return SharedStorages.storage(buffer, shape, dtype)
    return Storage(LazyBuffer.from_buffer(buffer, shape, dtype, "CPU"))


def _inline(data: bytes, shape: tuple[int, ...], dtype: DType) -> Storage:
    """A Storage with these bytes."""
    return Storage(leaf_from_numpy(np.frombuffer(data, np.uint8).view(dtype.numpy).reshape(shape), dtype, "CPU"))


def _is_common(storage: Storage) -> bool:
    """Whether the memory is one that several processes use at the same time (``share_memory_()``)."""
    buffer = storage.lazy.buffer
    return isinstance(buffer, SharedBuffer) and bool(buffer.exports)


class _Packer(ForkingPickler):
    """Pickles an object, and puts the bytes of large data into ``memory``."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, 5, True, self._keep_buffer)
        self.memory: list[SharedBuffer] = []
        self.arrays: list[int] = []
        self.dispatch_table |= {Storage: self._storage, Tensor: self._tensor}

    def _has_room(self, nbytes: int) -> bool:
        return CAN_SHARE and nbytes > INLINE and len(self.memory) < MOST_FILES

    def _add(self, buffer: SharedBuffer) -> int:
        self.memory.append(buffer)
        return len(self.memory) - 1

    def _keep_buffer(self, data: pickle.PickleBuffer) -> bool:
        """Whether a NumPy array's bytes stay in the pickle."""
        raw = data.raw()
        if not self._has_room(raw.nbytes):
            return True
        buffer = SharedBuffer(raw.nbytes)
        buffer.view()[:] = raw.cast("B")
        self.arrays.append(self._add(buffer))
        return False

    def _tensor(self, tensor: Tensor) -> Any:
        """A view of a part of its memory goes without the rest, unless both processes share the memory."""
        check_sendable(tensor)
        storage = tensor._storage
        small = tensor.nbytes < storage.lazy.size * storage.lazy.dtype.size
        if small and not tensor.__dict__ and not _is_common(storage):
            part, shape = stacked([tensor.detach()]), tensor._shape()
            if part is not None:
                return rebuild, (Tensor, part._storage, tensor.dtype, shape, contiguous_strides(shape), 0,
                                 tensor.requires_grad)
        return tensor.__reduce_ex__(5)

    def _storage(self, storage: Storage) -> Any:
        array, lazy = storage.array(), storage.lazy
        if lazy.device != "CPU":
            return storage.__reduce__()
        if _is_common(storage):
            if len(self.memory) >= MOST_FILES:
                return SharedStorages.reduce(storage)
        elif not self._has_room(array.nbytes):
            return _inline, (np.ascontiguousarray(array).tobytes(), lazy.shape, lazy.dtype)
        buffer = lazy.buffer
        if not isinstance(buffer, SharedBuffer) or buffer.file < 0 or buffer.nbytes != array.nbytes:
            buffer = SharedBuffer(array.nbytes)
            buffer.as_numpy(lazy.dtype, lazy.shape)[...] = array
        return _mapped, (self._add(buffer), lazy.shape, lazy.dtype, _is_common(storage))


class Channel:
    """One end of a connection between two processes, made by ``channels()``."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end

    def __reduce__(self) -> Any:
        return Channel, (self._socket,)

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._socket.fileno()

    def ready(self, timeout: float | None) -> bool:
        """Whether a message (or the end) is there within so many seconds."""
        return bool(connection.wait([self._socket], timeout))

    def send(self, thing: Any) -> None:
        """Send an object. ``BrokenPipeError`` if the other end is closed; what can't be pickled raises as there."""
        file = io.BytesIO()
        packer = _Packer(file)
        packer.dump(thing)
        message = pickle.dumps(packer.arrays) + file.getvalue() if packer.arrays else b"N." + file.getvalue()
        memory, inside = packer.memory, CAN_SHARE and len(message) > 4 * INLINE
        if inside:  # messages are short, so that neither side has to wait for the other to read
            buffer = SharedBuffer(len(message))
            buffer.view()[:] = message
            memory.append(buffer)
        head = _HEAD.pack(len(message), len(memory), inside)
        whole = head if inside else head + message
        if memory:
            sent = socket.send_fds(self._socket, [whole], [buffer.file for buffer in memory])
            if sent < len(whole):
                self._socket.sendall(whole[sent:])
        else:
            self._socket.sendall(whole)

    def receive(self) -> Any:
        """The next object; waits for it. ``EOFError`` if the other end is closed."""
        files: list[int] = []
        try:
            if CAN_SHARE:
                head, files, _, _ = socket.recv_fds(self._socket, _HEAD.size, MOST_FILES + 1, _CLOSED)
            else:
                head = self._socket.recv(_HEAD.size)
            if not head:
                raise EOFError
            head += self._exactly(_HEAD.size - len(head))
            length, count, inside = _HEAD.unpack(head)
            message: Any = b"" if inside else self._exactly(length)
        except ConnectionResetError:
            raise EOFError from None
        memory = [SharedBuffer(os.fstat(file).st_size, file) for file in files]
        if len(memory) < count:
            raise OSError("too many open files to take over the memory of a message")
        if inside:
            message = memory.pop().view()
        return _unpacked(message, memory)

    def _exactly(self, count: int) -> bytes:
        parts = []
        while count:
            part = self._socket.recv(count)
            if not part:
                raise EOFError
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Close this end: the other one reads what was sent, then gets ``EOFError``."""
        with suppress(OSError):
            self._socket.close()

    def __del__(self) -> None:
        self.close()


def _unpacked(message: Any, memory: list[SharedBuffer]) -> Any:
    stream = io.BytesIO(message)
    before, _received.memory = _received.memory, memory
    try:
        arrays = pickle.load(stream) or ()
        thing = pickle.load(stream, buffers=[memory[at].view() for at in arrays])
    finally:
        _received.memory = before
    for buffer in memory:
        if not buffer.exports:
            buffer.close_file()
    return thing


_ours: WeakSet[Channel] = WeakSet()


def _after_fork() -> None:
    """A forked process closes the ends that are not its own, so that each is closed when its owner ends."""
    for channel in list(_ours):
        channel.close()
    _ours.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def channels() -> tuple[Channel, Channel]:
    """Both ends of a new connection: one for this process, one to give to another process when that starts.

    >>> here, there = channels()
    >>> here.send({"x": 1})
    >>> there.receive()
    {'x': 1}
    """
    ends = socket.socketpair()
    here, there = Channel(ends[0]), Channel(ends[1])
    _ours.add(here)
    return here, there
