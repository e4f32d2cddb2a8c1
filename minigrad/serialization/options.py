"""Stage: serialization. In: what users set. Out: the settings of ``save`` and ``load``: byte order of old files, how
files are mapped, checksums, whether bytes are left out.
Next: ``locations.py``."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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
class Loading:
    """How files are read. ``mmap``: map them unless the call says otherwise."""

    mmap: bool = False
    endianness: LoadEndianness | None = None
    mmap_flags: int = MAP_PRIVATE
    calculate_storage_offsets: bool = False  # the directory of the archive is read in any case


@dataclass
class Saving:
    """How files are written. ``storage_alignment``: the bytes of each storage begin at a multiple of so many."""

    compute_crc32: bool = True
    use_pinned_memory_for_d2h: bool = False  # there is no pinned memory
    storage_alignment: int = 64


class Config:
    """The settings of the process, ``torch.utils.serialization.config``.

    >>> with config.patch("save.storage_alignment", 4096):
    ...     config.save.storage_alignment
    4096
    """

    def __init__(self) -> None:
        self.load = Loading()
        self.save = Saving()

    @contextmanager
    def patch(self, name: str | dict[str, Any], value: Any = None) -> Iterator[None]:
        """Change one setting, or several by a dictionary, for a ``with`` block. ``AttributeError`` for another name."""
        changes = name if isinstance(name, dict) else {name: value}
        before = {key: self._found(key) for key in changes}
        try:
            for key, new in changes.items():
                setattr(getattr(self, key.partition(".")[0]), key.partition(".")[2], new)
            yield
        finally:
            for key, old in before.items():
                setattr(getattr(self, key.partition(".")[0]), key.partition(".")[2], old)

    def _found(self, key: str) -> Any:
        part, _, name = key.partition(".")
        if part not in ("load", "save") or not hasattr(getattr(self, part), name):
            raise AttributeError(f"{key} does not exist in torch.utils.serialization.config")
        return getattr(getattr(self, part), name)


config = Config()


class _OfThread(threading.local):
    """The settings of a thread."""

    skip_data = False


of_thread = _OfThread()


def get_default_load_endianness() -> LoadEndianness | None:
    """The byte order of files that do not say theirs; None means little."""
    return config.load.endianness


def set_default_load_endianness(endianness: LoadEndianness | None) -> None:
    """Set the byte order of files that do not say theirs. ``TypeError`` for anything but a ``LoadEndianness`` or None.

    >>> set_default_load_endianness("big")
    Traceback (most recent call last):
    TypeError: Invalid argument type in function set_default_load_endianness
    """
    if not isinstance(endianness, LoadEndianness) and endianness is not None:
        raise TypeError("Invalid argument type in function set_default_load_endianness")
    config.load.endianness = endianness


def get_crc32_options() -> bool:
    """Whether ``save`` computes the CRC-32 of each record."""
    return config.save.compute_crc32


def set_crc32_options(compute_crc32: bool) -> None:
    """Set whether ``save`` computes the CRC-32 of each record. Without, it is faster, ``load`` opens the file all the
    same, but other programs that unzip it complain."""
    config.save.compute_crc32 = bool(compute_crc32)


def get_default_mmap_options() -> int:
    """How ``load(mmap=True)`` maps the file: ``mmap.MAP_PRIVATE`` or ``mmap.MAP_SHARED``."""
    return config.load.mmap_flags


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
        self.prev = config.load.mmap_flags
        config.load.mmap_flags = flags

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: Any) -> None:
        config.load.mmap_flags = self.prev


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
