"""Stage: runtime. In: a key and the bytes that a compiler made. Out: the same bytes in the next process.
An entry is trusted only if folder and file are private to the user and it is signed with a secret that lies beside it,
which only the user can read; whatever is wrong with the disk, the worst is that a kernel is compiled again.
Next: ``pool.py``."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from minigrad import config
from minigrad.runtime.folder import Entry, Folder, NotPrivate, private

HEAD = b"minigrad object "
MAGIC = HEAD + b"2\n"
FOLDER = "objects"
SECRET = "secret"
LARGEST = 256 << 20  # bytes of an entry that is read
ENTRIES = 1 << 15  # files that may: a plan is one of a kilobyte
_PARTS = 64  # of what may stay: so often the folder is looked at while it fills
_KEY = re.compile("[0-9a-f]{64}")


def sha256(data: bytes = b"") -> Any:
    """``hashlib.sha256``; Python's module takes milliseconds to load, and a process without compilations needs none."""
    import hashlib

    return hashlib.sha256(data)


def key_of(*parts: str) -> str:
    """A key for what a compiler makes of ``parts``. Every input of the compilation must be among them; minigrad's
    own source is always."""
    digest = sha256(source_state().encode())
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


@cache
def source_state() -> str:
    """Changes whenever a source file of minigrad does (names, sizes and times; reading them all would cost more than
    some compilations)."""
    digest = sha256()
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
        with private(str(cache_root()), FOLDER, create=False) as folder:
            secret = _secret(folder, create=False)
            found = folder.read(key, LARGEST) if secret else None
            payload = _unpack(secret, key, found[0]) if secret and found else None
            if payload is None or found is None:
                folder.remove(key)
            elif abs(time.time() - found[1]) > 86400:  # or a clock was wrong
                folder.touch(key)  # the least recently used go first when the folder is full
            return payload
    except NotPrivate as error:
        _say_once(str(error))
        return None
    except (OSError, ValueError):
        return None


def store(key: str, payload: bytes) -> None:
    """Keep ``payload`` under ``key``. Never raises."""
    if not config.get("CACHE"):
        return
    try:
        with private(str(cache_root()), FOLDER, create=True) as folder:
            secret = _secret(folder, create=True)
            if secret is None:
                return
            folder.write(key, _pack(secret, key, payload))
            if _is_due(key, len(payload)):
                prune(folder, limit())
    except NotPrivate as error:
        _say_once(str(error))
    except (OSError, ValueError):
        return


def _is_due(key: str, nbytes: int) -> bool:
    """Whether the folder is looked at now: to list a full one takes 150 ms. By its key, a store is chosen as likely as
    it fills the next of ``_PARTS``: so nobody counts, and a process that stores little rarely looks."""
    return int(key[:8], 16) < (1 << 32) * _PARTS * (nbytes / max(1, limit()) + 1 / ENTRIES)


def limit() -> int:
    """Bytes that the entries may take."""
    return config.get("CACHE_LIMIT") << 20


def contents() -> list[Entry]:
    """The entries on disk, those used longest ago first. Raises ``NotPrivate`` for a folder that is not used because
    others may write in it."""
    try:
        with private(str(cache_root()), FOLDER, create=False) as folder:
            return folder.entries(_KEY)
    except FileNotFoundError:
        return []


def shrink(size: int) -> None:
    """Remove what was used longest ago until the folder holds three quarters of ``size`` bytes, if it holds more than
    ``size``; 0 removes all. Raises what ``contents`` does."""
    with contextlib.suppress(FileNotFoundError), private(str(cache_root()), FOLDER, create=False) as folder:
        prune(folder, size)


def prune(folder: Folder, limit: int, entries: int = ENTRIES) -> None:
    """Remove the entries used longest ago until ``folder`` holds three quarters of ``limit`` bytes and of as many
    ``entries``, if it holds more of either; and what crashed writers left. Files that are not entries by name and
    first bytes are neither counted nor removed."""
    folder.remove_unfinished()
    files = folder.entries(_KEY)
    total, count = sum(file.size for file in files), len(files)
    if total <= limit and count <= entries:
        return
    for file in files:
        if total <= limit * 3 // 4 and count <= entries * 3 // 4:
            return
        if folder.starts_with(file.name, HEAD):
            folder.remove(file.name)
            total, count = total - file.size, count - 1


def _secret(folder: Folder, create: bool) -> bytes | None:
    """32 bytes that only this user can read: what is not signed with them was not written by this user's minigrad."""
    try:
        found = folder.read(SECRET, 32)
        if found and len(found[0]) == 32:
            return found[0]
        if not create:
            return None
        folder.remove(SECRET)
    except FileNotFoundError:
        if not create:
            return None
    with contextlib.suppress(FileExistsError):  # another process was first
        folder.write(SECRET, os.urandom(32), replace=False)
    found = folder.read(SECRET, 32)
    return found[0] if found else None


def _pack(secret: bytes, key: str, payload: bytes) -> bytes:
    import hashlib

    signature = hashlib.blake2b(key.encode() + payload, key=secret, digest_size=32)
    return MAGIC + signature.digest() + payload


def _unpack(secret: bytes, key: str, data: bytes) -> bytes | None:
    """The payload, if the signature over it and the key holds: then it is whole, ours and not another key's."""
    payload = data[len(MAGIC) + 32:]
    return payload if data == _pack(secret, key, payload) else None


_said: set[str] = set()


def _say_once(reason: str) -> None:
    """Warn that nothing is kept, for each reason once; where warnings are errors it is not said."""
    if reason not in _said:
        _said.add(reason)
        with contextlib.suppress(Warning):
            warnings.warn(f"compiled kernels are not kept on disk: {reason}; set MINIGRAD_CACHE_DIR to a private "
                          "folder, or MINIGRAD_CACHE=0", RuntimeWarning, stacklevel=2)


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
