"""Stage: runtime. In: a number of bytes, or a file descriptor from another process. Out: ``SharedBuffer``, memory that
several processes can map. It has no name in the file system: when the last process that has it ends, however it ends,
the system frees it.
Next: ``locks.py``."""

from __future__ import annotations

import ctypes
import mmap
import os
from contextlib import suppress

import numpy as np

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
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, nbytes)  # else a full system would show as a fatal signal at the first write
        else:
            os.ftruncate(file, nbytes)
    except OSError as error:
        os.close(file)
        raise MemoryError(f"can't get {nbytes} bytes of shared memory: {error.strerror}") from None
    return file


class SharedBuffer(Buffer):
    """A buffer of the CPU device whose memory is that of ``file``, a descriptor that it owns; without one it is new.

    ``both``: several processes use it at the same time, so it counts as seen by others (``exported``).

    >>> buffer = SharedBuffer(8)
    >>> again = SharedBuffer(8, os.dup(buffer.file))
    >>> from minigrad.dtype import int64
    >>> buffer.as_numpy(int64, ())[...] = 7
    >>> int(again.as_numpy(int64, ()))
    7
    """

    __slots__ = ("_mapping", "file")

    def __init__(self, nbytes: int, file: int | None = None, both: bool = False) -> None:
        self._free = None
        self.file = _new_file(max(nbytes, 1)) if file is None else file
        self._mapping = mmap.mmap(self.file, max(nbytes, 1), _FLAGS)
        self.device, self.nbytes, self.writable = "CPU", nbytes, True
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._mapping))
        self._wrapped: np.ndarray | None = None
        self.exports, self.views = [None] if both else [], []

    def view(self) -> memoryview:
        """The bytes; it keeps the memory mapped."""
        return memoryview(self._mapping)[:self.nbytes]

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
