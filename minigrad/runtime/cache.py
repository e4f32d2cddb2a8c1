"""Stage: runtime. In: a key and the bytes that a compiler made. Out: the same bytes in the next process.
An entry is trusted only if folder and file are private to the user and its checksum holds; whatever is wrong with the
disk, the worst that happens is that a kernel is compiled again.
Next: ``pool.py``."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

from minigrad import config

MAGIC = b"minigrad object 1\n"
LIMIT = 256 << 20  # bytes that may stay on disk
ENTRIES = 1 << 15  # files that may: a plan is one of a kilobyte
_PRUNE_EVERY = 64
_OLD_TEMPORARY = 3600.0  # seconds
_stores = 0


def key_of(*parts: str) -> str:
    """A key for what a compiler makes of ``parts``. Every input of the compilation must be among them; minigrad's
    own source is always."""
    digest = hashlib.sha256(source_state().encode())
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


@cache
def source_state() -> str:
    """Changes whenever a source file of minigrad does (names, sizes and times; reading them all would cost more than
    some compilations)."""
    digest = hashlib.sha256()
    folders = [str(Path(__file__).parents[1])]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.name.endswith((".py", ".ll")):
                    stat = entry.stat()
                    digest.update(os.fsencode(f"{entry.path} {stat.st_size} {stat.st_mtime_ns}\n"))
    return digest.hexdigest()


def load(key: str) -> bytes | None:
    """The bytes stored under ``key``, or None. A damaged entry is removed. Never raises."""
    if not config.get("CACHE"):
        return None
    try:
        folder = _folder(create=False)
        if folder is None:
            return None
        path = os.path.join(folder, key)
        with open(path, "rb") as file:
            data = file.read()
            age = time.time() - os.fstat(file.fileno()).st_mtime
        payload = _unpack(key, data)
        if payload is None:
            os.unlink(path)
        elif age > 86400:
            os.utime(path)  # the least recently used go first when the folder is full
        return payload
    except (OSError, ValueError):
        return None


def store(key: str, payload: bytes) -> None:
    """Keep ``payload`` under ``key``: written aside and moved into place, so that nobody reads half of it.
    Never raises."""
    global _stores
    if not config.get("CACHE"):
        return
    try:
        folder = _folder(create=True)
        if folder is None:
            return
        handle, temporary = tempfile.mkstemp(prefix=".new-", dir=folder)  # mode 0600
        try:
            with open(handle, "wb") as file:
                file.write(_pack(key, payload))
            os.replace(temporary, os.path.join(folder, key))
        except BaseException:
            os.unlink(temporary)
            raise
        if _stores % _PRUNE_EVERY == 0:
            prune(folder, LIMIT)
        _stores += 1
    except (OSError, ValueError):
        return


def prune(folder: str, limit: int, entries: int = ENTRIES) -> None:
    """Remove the entries used longest ago until ``folder`` holds three quarters of ``limit`` bytes and of as many
    ``entries``, if it holds more of either; and what crashed writers left."""
    now = time.time()
    files: list[tuple[float, int, str]] = []
    with os.scandir(folder) as found:
        for entry in found:
            stat = entry.stat(follow_symlinks=False)
            if not entry.name.startswith("."):
                files.append((stat.st_mtime, stat.st_size, entry.path))
            elif now - stat.st_mtime > _OLD_TEMPORARY:
                os.unlink(entry.path)
    total, count = sum(size for _, size, _ in files), len(files)
    if total <= limit and count <= entries:
        return
    for _, size, path in sorted(files):
        if total <= limit * 3 // 4 and count <= entries * 3 // 4:
            return
        os.unlink(path)
        total, count = total - size, count - 1


def _pack(key: str, payload: bytes) -> bytes:
    return MAGIC + hashlib.sha256(key.encode() + payload).digest() + payload


def _unpack(key: str, data: bytes) -> bytes | None:
    """The payload, if the checksum over it and the key holds: then it is whole and not another key's."""
    start = len(MAGIC) + 32
    payload = data[start:]
    return payload if data[:start] == _pack(key, payload)[:start] else None


def cache_root() -> Path:
    """The folder in use: setting CACHE_DIR, else ``minigrad`` in the user's cache folder."""
    chosen = config.get("CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(base)) / "minigrad"


def _folder(create: bool) -> str | None:
    """Our folder under the root; None if others could have written there."""
    folder = os.path.join(cache_root(), "objects")
    if create:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    if hasattr(os, "geteuid"):
        stat = os.stat(folder)
        if stat.st_uid != os.geteuid() or stat.st_mode & 0o022:
            return None
    return folder
