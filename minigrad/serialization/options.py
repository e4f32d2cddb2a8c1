"""Stage: serialization. In: what users set. Out: the settings of ``save`` and ``load``: byte order of old files, how
files are mapped, checksums, whether bytes are left out.
Next: ``locations.py``."""

from __future__ import annotations

import mmap
import threading
from dataclasses import dataclass
from enum import Enum
from typing import Any

MAP_PRIVATE: int = getattr(mmap, "MAP_PRIVATE", 2)
MAP_SHARED: int = getattr(mmap, "MAP_SHARED", 1)


class LoadEndianness(Enum):
    """A byte order."""

    NATIVE = 1
    LITTLE = 2
    BIG = 3


@dataclass
class _Settings:
    """The settings of the process."""

    endianness: LoadEndianness | None = None
    mmap_flags: int = MAP_PRIVATE
    crc32: bool = True


settings = _Settings()


class _OfThread(threading.local):
    """The settings of a thread."""

    skip_data = False


of_thread = _OfThread()


def get_default_load_endianness() -> LoadEndianness | None:
    """The byte order of files that do not say theirs; None means little."""
    return settings.endianness


def set_default_load_endianness(endianness: LoadEndianness | None) -> None:
    """Set the byte order of files that do not say theirs. ``TypeError`` for anything but a ``LoadEndianness`` or None.

    >>> set_default_load_endianness("big")
    Traceback (most recent call last):
    TypeError: Invalid argument type in function set_default_load_endianness
    """
    if not isinstance(endianness, LoadEndianness) and endianness is not None:
        raise TypeError("Invalid argument type in function set_default_load_endianness")
    settings.endianness = endianness


def get_crc32_options() -> bool:
    """Whether ``save`` computes the CRC-32 of each record."""
    return settings.crc32


def set_crc32_options(compute_crc32: bool) -> None:
    """Set whether ``save`` computes the CRC-32 of each record. Without, it is faster, ``load`` opens the file all the
    same, but other programs that unzip it complain."""
    settings.crc32 = bool(compute_crc32)


def get_default_mmap_options() -> int:
    """How ``load(mmap=True)`` maps the file: ``mmap.MAP_PRIVATE`` or ``mmap.MAP_SHARED``."""
    return settings.mmap_flags


class set_default_mmap_options:
    """Set how ``load(mmap=True)`` maps the file, from now on or for a ``with`` block. ``mmap.MAP_PRIVATE``: changes of
    a tensor stay in memory; ``mmap.MAP_SHARED``: they go into the file.

    >>> with set_default_mmap_options(MAP_SHARED):
    ...     get_default_mmap_options() == MAP_SHARED
    True
    """

    def __init__(self, flags: int) -> None:
        if flags not in (MAP_PRIVATE, MAP_SHARED):
            raise ValueError("Invalid argument in function set_default_mmap_options, expected mmap.MAP_PRIVATE or "
                             f"mmap.MAP_SHARED, but got {flags}")
        self.prev = settings.mmap_flags
        settings.mmap_flags = flags

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: Any) -> None:
        settings.mmap_flags = self.prev


class skip_data:
    """A ``with`` block in which ``save`` leaves room for the bytes of storages, but does not write them, and ``load``
    does not read them: loaded tensors hold zeros. Whoever saves so fills the room in afterwards.
    (https://docs.pytorch.org/docs/stable/notes/serialization.html)
    """

    def __init__(self, materialize_fake_tensors: bool = False) -> None:
        self.materialize_fake_tensors = materialize_fake_tensors

    def __enter__(self) -> None:
        self._before = of_thread.skip_data
        of_thread.skip_data = True

    def __exit__(self, *exception: Any) -> None:
        of_thread.skip_data = self._before
