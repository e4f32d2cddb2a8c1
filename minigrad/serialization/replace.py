"""Stage: serialization. In: a path. Out: a file to write that takes the path's place when it is whole. Whatever
interrupts the writing, the old file stays as it was; what a killed process has written goes at the next one's start.
Next: ``pickler.py``."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import IO

from minigrad.runtime.folder import new_folder, remove_left


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file object for the ``with`` block. At its end the bytes are on the disk under the name ``path``, with the mode
    of the file that was there; a link is followed. If the block raises, nothing has changed.

    What is no file (a pipe, ``/dev/stdout``) is written directly, and so is a file in a folder where no other can be
    made. Raises what ``open(path, "wb")`` would raise, and ``RuntimeError`` for a folder that does not exist.
    """
    with beside(path) as place, open(place, "wb") as file:
        yield file


@contextlib.contextmanager
def beside(path: str | os.PathLike[str]) -> Iterator[str]:
    """The same, as a path to write to: of a new file in a new folder beside."""
    target = os.path.realpath(os.fspath(path))
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise RuntimeError(f"Parent directory {folder} does not exist.")
    known = os.stat(target) if os.path.exists(target) else None
    if known is not None and stat.S_ISDIR(known.st_mode):
        raise RuntimeError(f"open file failed with strerror: Is a directory: {os.fspath(path)!r}")
    if known is not None and not stat.S_ISREG(known.st_mode):
        yield target
        return
    if known is not None:
        os.close(os.open(target, os.O_WRONLY))  # whoever may not write it may not replace it
    named, suffix = f".{os.fsdecode(os.fsencode(os.path.basename(target))[:200])}.", ".tmp"
    remove_left(folder, named, suffix)
    with contextlib.ExitStack() as held:
        try:
            inside = held.enter_context(new_folder(folder, named, suffix))
        except PermissionError:
            yield target
            return
        new = os.path.join(inside, "new")
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        if known is not None:
            _like(new, known)
        yield new
        if known is not None:
            _like(new, known)  # whoever wrote it may have made it anew
        _to_disk(new)
        os.replace(new, target)
    _to_disk(folder)


def _like(path: str, known: os.stat_result) -> None:
    """Mode and owner of the file that is replaced, as far as we may set them."""
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):
            os.chown(path, known.st_uid, known.st_gid)
    with contextlib.suppress(OSError):
        os.chmod(path, stat.S_IMODE(known.st_mode))


def _to_disk(path: str) -> None:
    """Make a file, or the names in a folder, last over a power failure. Not every system can for a folder."""
    is_folder = os.path.isdir(path)
    with contextlib.suppress(OSError) if is_folder else contextlib.nullcontext():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
