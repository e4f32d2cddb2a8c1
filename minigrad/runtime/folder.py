"""Stage: runtime. In: a path. Out: a folder whose files nobody else can have written, with no way out of it by a link.
The folder is opened once for each use and its files by way of its descriptor: a link that takes its place meanwhile
changes nothing. A file counts if it is regular, the user's own and closed to others; anything else in its place is as
good as missing.
Next: ``cache.py``."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

with suppress(ImportError):  # Windows has no such locks
    import fcntl

OLD_TEMPORARY = 3600.0  # seconds after which a file that was never finished is what a killed process left
_TEMPORARY = re.compile(r"\.new-[0-9a-f]{16}")
_SCRATCH = "minigrad-cc-"
_HAS_DESCRIPTORS = os.open in os.supports_dir_fd and os.scandir in os.supports_fd
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class NotPrivate(OSError):
    """Others may write where nobody but the user should; the message says where."""


@dataclass(frozen=True)
class Entry:
    """A file of the folder: its name, when it was last used (seconds), its size in bytes."""

    used: float
    size: int
    name: str


class Folder:
    """An open folder. Every method raises ``OSError`` where the system does."""

    def __init__(self, path: str, descriptor: int | None) -> None:
        self.path = path
        self._where: dict[str, Any] = {} if descriptor is None else {"dir_fd": descriptor}

    def _name(self, name: str) -> str:
        return name if self._where else os.path.join(self.path, name)

    def _open(self, name: str, flags: int) -> int:
        return os.open(self._name(name), flags | _FLAGS, 0o600, **self._where)

    def read(self, name: str, limit: int) -> tuple[bytes, float] | None:
        """The contents of a file and when it was last used; None if it is not a private file of at most ``limit``
        bytes. A pipe is not waited for."""
        handle = self._open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(handle, "rb") as file:
            state = os.fstat(handle)
            if not _is_private(state) or not stat.S_ISREG(state.st_mode) or state.st_size > limit:
                return None
            return file.read(state.st_size), state.st_mtime

    def starts_with(self, name: str, head: bytes) -> bool:
        """Whether a file begins with these bytes."""
        handle = self._open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(handle, "rb") as file:
            return file.read(len(head)) == head

    def write(self, name: str, data: bytes, replace: bool = True) -> None:
        """Write a file aside and move it into place, so that nobody reads half of it. Without ``replace`` a file that
        is there already stays, and ``FileExistsError`` says so."""
        temporary = f".new-{os.urandom(8).hex()}"
        handle = self._open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            with open(handle, "wb") as file:
                file.write(data)
            both = {f"{side}_dir_fd": handle for side in ("src", "dst") for handle in self._where.values()}
            if replace:
                os.replace(self._name(temporary), self._name(name), **both)
            else:
                os.link(self._name(temporary), self._name(name), **both)
                self.remove(temporary)
        except BaseException:
            self.remove(temporary)
            raise

    def remove(self, name: str) -> None:
        """Remove a file, or the link or pipe in its place."""
        os.unlink(self._name(name), **self._where)

    def touch(self, name: str) -> None:
        """Mark a file as used now."""
        os.utime(self._name(name), **self._where)

    def entries(self, pattern: re.Pattern[str]) -> list[Entry]:
        """The private files whose whole name fits, those used longest ago first."""
        found = []
        with os.scandir(self._where.get("dir_fd", self.path)) as listing:
            for entry in listing:
                if pattern.fullmatch(entry.name):
                    state = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(state.st_mode) and _is_private(state):
                        found.append(Entry(state.st_mtime, state.st_size, entry.name))
        return sorted(found, key=lambda e: (e.used, e.name))

    def remove_unfinished(self) -> None:
        """Remove what writers left that were killed an hour ago or earlier."""
        for entry in self.entries(_TEMPORARY):
            if time.time() - entry.used > OLD_TEMPORARY:
                self.remove(entry.name)


@contextmanager
def private(root: str, name: str, create: bool) -> Iterator[Folder]:
    """The folder ``name`` in ``root``. ``root`` may be reached through links, ``name`` must not be one.

    Raises ``FileNotFoundError`` if it is not there and not to be created, ``NotPrivate`` if anybody else may write in
    it or put another folder in its place.
    """
    path = os.path.join(root, name)
    if create:
        os.makedirs(root, mode=0o700, exist_ok=True)
        if not os.path.lexists(path):
            os.makedirs(path, mode=0o700, exist_ok=True)
    if not _HAS_DESCRIPTORS:  # Windows: folders of the user's profile are private
        yield Folder(path, None)
        return
    _check_way(os.path.realpath(root))
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
    try:
        if not _is_private(os.fstat(descriptor)):
            raise NotPrivate(f"{path} belongs to somebody else or others may write in it")
        yield Folder(path, descriptor)
    finally:
        os.close(descriptor)


def _is_private(state: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or (state.st_uid == os.geteuid() and not state.st_mode & 0o022)


def _check_way(path: str) -> None:
    """Nobody but root and the user may rename a folder on the way: each belongs to one of them, and where others may
    write the sticky bit is set. A group of the user's own number is the user (many systems give each user one)."""
    while True:
        state = os.stat(path)
        group = 0o020 if state.st_gid != os.getegid() or state.st_gid != os.geteuid() else 0
        if state.st_uid not in (0, os.geteuid()) or (
                state.st_mode & (0o002 | group) and not state.st_mode & stat.S_ISVTX):
            raise NotPrivate(f"others may rename what is in {path}")
        above = os.path.dirname(path)
        if above == path:
            return
        path = above


@contextmanager
def scratch() -> Iterator[str]:
    """A folder for a compiler's files, removed at the end. What a process left that was killed is removed by the next
    one: a folder is in use as long as its lock is held."""
    _remove_left()
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, ignore_cleanup_errors=True) as path:
        lock = _lock(path)
        try:
            yield path
        finally:
            if lock is not None:
                os.close(lock)


def _lock(path: str) -> int | None:
    """A descriptor that holds the folder's lock; None if somebody else does, or the system has none."""
    if os.name != "posix":
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
    try:
        if not _is_private(os.fstat(descriptor)):
            raise NotPrivate(path)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


_looked = False


def _remove_left() -> None:
    """Once in a process: remove scratch folders that nobody holds any more."""
    global _looked
    if _looked or os.name != "posix":
        return
    _looked = True
    try:
        with os.scandir(tempfile.gettempdir()) as listing:
            left = [e.path for e in listing if e.name.startswith(_SCRATCH) and e.is_dir(follow_symlinks=False)
                    and time.time() - e.stat(follow_symlinks=False).st_mtime > 60]  # a newer one may be about to lock
    except OSError:
        return
    for path in left:
        try:
            lock = _lock(path)
        except OSError:
            continue
        if lock is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)
