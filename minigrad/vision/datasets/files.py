"""Stage: vision. In: paths. Out: whether the files are there and whole.
Next: ``mnist.py``."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from typing import NoReturn


def whole(path: str, md5: str | None = None) -> bool:
    """Whether the file is there and has this MD5 sum, if one is given."""
    if not os.path.isfile(path):
        return False
    if md5 is None:
        return True
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == md5


def missing(what: str, folder: str, urls: Iterable[str]) -> NoReturn:
    """``RuntimeError`` that says which files are wanted where."""
    raise RuntimeError(f"{what} is not in {folder}, and minigrad downloads nothing: fetch {' '.join(urls)} by other "
                       "means and unpack it there")
