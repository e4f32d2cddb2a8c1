"""Stage: serialization. In: a file. Out: storages that are parts of it: the system reads a page when it is looked at.
Next: ``load.py``."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

from minigrad.dtype import uint8
from minigrad.engine import wrap_numpy
from minigrad.runtime.buffer import Buffer
from minigrad.serialization.options import MAP_SHARED, config
from minigrad.tensor.storage import Storage
from minigrad.tensor.storages import UntypedStorage


class Pages:
    """A file as memory. Changes stay in memory, or go into the file with ``set_default_mmap_options(MAP_SHARED)``."""

    def __init__(self, path: Any) -> None:
        self.shared = config.load.mmap_flags == MAP_SHARED
        with open(path, "r+b" if self.shared else "rb") as file:
            access = mmap.ACCESS_WRITE if self.shared else mmap.ACCESS_COPY
            self._bytes = np.frombuffer(mmap.mmap(file.fileno(), 0, access=access), np.uint8)

    def storage(self, offset: int, nbytes: int, alignment: int) -> UntypedStorage | None:
        """The storage that the file has there; None if it does not lie at a multiple of ``alignment`` bytes."""
        part = self._bytes[offset:offset + nbytes]
        if len(part) != nbytes or part.__array_interface__["data"][0] % alignment:
            return None
        if self.shared:  # a change must happen in this very memory
            return UntypedStorage.of(Storage(wrap_numpy(part, uint8, "CPU")))
        buffer = Buffer.wrap(part, "CPU")
        buffer.exports = []  # nobody else sees these pages
        return UntypedStorage.loaded(buffer, nbytes, "CPU")
