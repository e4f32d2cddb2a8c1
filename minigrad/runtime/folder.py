"""Stage: runtime. In: a path. Out: a folder whose files nobody else can have written, with no way out of it by a link.
The folder is opened once for each use and its files by way of its descriptor: a link that takes its place meanwhile
changes nothing. A file counts if it is regular, the user's own and closed to others; anything else in its place is as
good as missing. And new folders, which the next process removes if this one is killed.
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
from typing import Any

from minigrad.records import Record

with suppress(ImportError):  # Windows has no such locks
    import fcntl

OLD_TEMPORARY = 3600.0  # seconds after which a file that was never finished is what a killed process left
_TEMPORARY = re.compile(r"\.new-[0-9a-f]{16}")
_SCRATCH = "minigrad-cc-"
_HAS_DESCRIPTORS = os.open in os.supports_dir_fd and os.scandir in os.supports_fd
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class NotPrivate(OSError):
    """Others may write where nobody but the user should; the message says where."""


class Entry(Record):
    """A file of the folder: its name, when it was last used (seconds; 0.0: nobody knows), its size in bytes."""

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
        """The private files whose whole name fits, those used longest ago first. A time that is still to come says
        nothing: such files count as used longest ago."""
        found, latest = [], time.time() + OLD_TEMPORARY  # other machines' clocks may be somewhat ahead
        with os.scandir(self._where.get("dir_fd", self.path)) as listing:
            for entry in listing:
                if pattern.fullmatch(entry.name):
                    state = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(state.st_mode) and _is_private(state):
                        used = state.st_mtime if state.st_mtime <= latest else 0.0
                        found.append(Entry(used, state.st_size, entry.name))
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


_looked = False


@contextmanager
def scratch() -> Iterator[str]:
    """A folder for a compiler's files, removed at the end. What killed processes left goes at the first call."""
    global _looked
    where = tempfile.gettempdir()
    if not _looked:
        _looked = True
        remove_left(where, _SCRATCH)
    with new_folder(where, _SCRATCH) as path:
        yield path


@contextmanager
def new_folder(where: str, prefix: str, suffix: str = "") -> Iterator[str]:
    """A new folder in ``where``, removed at the end with what is in it. It is in use as long as its lock is held: if
    this process is killed, ``remove_left`` finds that nobody holds it."""
    path, lock = _made(where, prefix, suffix)
    try:
        yield path
    finally:
        if lock is not None:
            os.close(lock)
        try:  # no file need be opened for an empty folder, and one for another: there may be no more
            os.rmdir(path)
        except OSError:
            with suppress(OSError):
                for name in os.listdir(path):
                    os.unlink(os.path.join(path, name))
            shutil.rmtree(path, ignore_errors=True)


def _made(where: str, prefix: str, suffix: str) -> tuple[str, int | None]:
    """A new folder's path and the descriptor that holds its lock."""
    while True:
        path, lock = tempfile.mkdtemp(suffix, prefix, where), None
        try:
            lock = _lock(path)
            os.stat(path)
            return path, lock
        except (BlockingIOError, FileNotFoundError):  # another process took it for one that was left
            if lock is not None:
                os.close(lock)


def _lock(path: str) -> int | None:
    """A descriptor that holds the folder's lock; None if it can't be locked. ``BlockingIOError`` if somebody else holds
    it, ``FileNotFoundError`` if it is gone."""
    if os.name != "posix":
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
    except FileNotFoundError:
        raise
    except OSError:
        return None
    try:
        if not _is_private(os.fstat(descriptor)):
            raise NotPrivate(path)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return descriptor


def remove_left(where: str, prefix: str, suffix: str = "") -> None:
    """Remove the folders that ``new_folder`` may have named so and that nobody holds any more, with the files in them:
    others whose names only begin and end alike are not ours. Never raises."""
    ours = re.compile(re.escape(prefix) + "[a-z0-9_]{8}" + re.escape(suffix))  # as tempfile fills it in
    try:
        with os.scandir(where) as listing:
            left = [entry.path for entry in listing
                    if ours.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for path in left:
        with suppress(OSError):
            lock = _lock(path)
            if lock is not None:
                _remove(path, lock)


def _remove(path: str, descriptor: int) -> None:
    """Remove an open folder: of what has taken its place meanwhile nothing goes, unless that is empty."""
    try:
        for name in os.listdir(descriptor):
            os.unlink(name, dir_fd=descriptor)
        os.rmdir(path)
    finally:
        os.close(descriptor)
