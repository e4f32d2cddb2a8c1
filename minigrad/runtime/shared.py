"""Stage: runtime. In: a number of bytes, or a file descriptor from another process. Out: ``SharedBuffer``, memory that
several processes can map. It has no name in the file system: when the last process that has it ends, however it ends,
the system frees it.
Next: ``locks.py``."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

from minigrad.dtype import uint8
from minigrad.runtime.buffer import Buffer

CAN_SHARE = os.name == "posix"
"""Whether processes can hand file descriptors to each other."""

_FLAGS = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0) if CAN_SHARE else 0


def _new_file(nbytes: int) -> int:
    """A file descriptor of memory without a name, with room for so many bytes."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("minigrad", os.MFD_CLOEXEC)
    else:
        import tempfile

        with tempfile.TemporaryFile(buffering=0) as unnamed:
            file = os.dup(unnamed.fileno())
    try:
        os.ftruncate(file, nbytes)
    except OSError as error:
        os.close(file)
        raise MemoryError(f"can't get {nbytes} bytes of shared memory: {error.strerror}") from None
    return file


@cache
def _system() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The system's ``mmap`` and ``munmap``. Python's own mapping would keep a file open for as long as it lives."""
    library = ctypes.CDLL(None, use_errno=True)
    size, integer = ctypes.c_size_t, ctypes.c_int
    library.mmap.argtypes = (ctypes.c_void_p, size, integer, integer, integer, ctypes.c_int64)
    library.mmap.restype = ctypes.c_void_p
    library.munmap.argtypes = (ctypes.c_void_p, size)
    return library.mmap, library.munmap


class SharedBuffer(Buffer):
    """A buffer of the CPU device whose memory is that of ``file``, a descriptor that it owns; without one it is new.

    ``both``: several processes use it at the same time, so it counts as seen by others (``exported``). ``MemoryError``
    if there is no room.

    >>> buffer = SharedBuffer(8)
    >>> again = SharedBuffer(8, os.dup(buffer.file))
    >>> from minigrad.dtype import int64
    >>> buffer.as_numpy(int64, ())[...] = 7
    >>> int(again.as_numpy(int64, ()))
    7
    """

    __slots__ = ("_mapped", "file")

    def __init__(self, nbytes: int, file: int | None = None, both: bool = False) -> None:
        self._free, self._mapped = None, 0
        self.device, self.nbytes, self.writable = "CPU", nbytes, True
        self._wrapped: np.ndarray | None = None
        self.exports, self.views = [None] if both else [], []
        self.file = _new_file(max(nbytes, 1)) if file is None else file
        address = _system()[0](None, max(nbytes, 1), mmap.PROT_READ | mmap.PROT_WRITE, _FLAGS, self.file, 0)
        if address is None or address == ctypes.c_void_p(-1).value:
            raise MemoryError(f"can't map {nbytes} bytes of shared memory: {os.strerror(ctypes.get_errno())}")
        self.address, self._mapped = address, max(nbytes, 1)

    def view(self) -> memoryview:
        """The bytes; they stay as long as it does."""
        return memoryview(self.as_numpy(uint8, (self.nbytes,)))  # type: ignore[arg-type]

    def use_together(self) -> None:
        """From now on several processes use it at the same time."""
        if not self.exports:
            self.exports.append(None)

    def close_file(self) -> None:
        """Give the descriptor back; the memory stays until the buffer goes."""
        file, self.file = self.file, -1
        if file >= 0:
            os.close(file)

    def __del__(self) -> None:
        with suppress(AttributeError, OSError):
            self.close_file()
        if self._mapped:
            _system()[1](self.address, self._mapped)
