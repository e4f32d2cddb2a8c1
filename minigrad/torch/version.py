"""Stage: PyTorch programs. In: nothing. Out: ``torch.version``, and the version that programs compare.
Next: ``compiler.py``."""

from __future__ import annotations

import re
from typing import Any

PYTORCH = "2.13.0"
"""The PyTorch whose behaviour minigrad follows."""


class TorchVersion(str):
    """A version that compares with others, written as text or as numbers, as ``torch.__version__`` does.

    >>> TorchVersion("2.13.0+minigrad") >= "2.9", TorchVersion("2.13.0+minigrad") < (3,)
    (True, True)
    """

    __slots__ = ()

    @staticmethod
    def _numbers(version: Any) -> tuple[int, ...]:
        if isinstance(version, str):
            version = re.findall(r"\d+", version.partition("+")[0])
        return tuple([int(part) for part in version])

    def _pair(self, other: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        ours, theirs = self._numbers(self), self._numbers(other)
        length = max(len(ours), len(theirs))
        return ours + (0,) * (length - len(ours)), theirs + (0,) * (length - len(theirs))

    def __lt__(self, other: Any) -> bool:
        a, b = self._pair(other)
        return a < b

    def __le__(self, other: Any) -> bool:
        a, b = self._pair(other)
        return a <= b

    def __gt__(self, other: Any) -> bool:
        return not self <= other

    def __ge__(self, other: Any) -> bool:
        return not self < other

    def __eq__(self, other: Any) -> bool:
        if isinstance(other, str):
            return str.__eq__(self, other)
        a, b = self._pair(other)
        return a == b

    def __ne__(self, other: Any) -> bool:
        return not self == other

    __hash__ = str.__hash__


__version__ = TorchVersion(f"{PYTORCH}+minigrad")
git_version = "minigrad"
debug = False
cuda: str | None = None
hip: str | None = None
xpu: str | None = None
