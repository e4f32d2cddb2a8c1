"""Stage: recording. In: an attribute that holds a number. Out: the same where threads run at once, and ``x.n += 1`` in
two of them must count twice: where Python has a lock of its own, nobody comes in between.
Next: ``strides.py``."""

from __future__ import annotations

from typing import Any


class Count:
    """A number that is counted up and down by 1: as many items as a list has, whose ``append`` and ``pop`` no thread
    interrupts.

    >>> count = Count(1)
    >>> count += 1
    >>> count == 2, count > 2, bool(count)
    (True, False, True)
    """

    __slots__ = ("_items",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, number: int) -> None:
        self._items = [None] * number

    def __iadd__(self, one: int) -> Count:
        self._items.append(None)
        return self

    def __isub__(self, one: int) -> Count:
        self._items.pop()
        return self

    def __index__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return bool(self._items)

    def __eq__(self, other: object) -> bool:
        return len(self._items) == other

    def __gt__(self, other: int) -> bool:
        return len(self._items) > other

    def __repr__(self) -> str:
        return repr(len(self._items))


class Counted:
    """What stands in a class in the place of a slot: a number that is stored there becomes a ``Count``."""

    def __init__(self, slot: Any) -> None:
        self._read, self._write = slot.__get__, slot.__set__

    def __get__(self, node: Any, kind: Any = None) -> Any:
        return self._read(node, kind)

    def __set__(self, node: Any, number: Any) -> None:
        if number.__class__ is not Count:  # else it was counted up or down where it is
            self._write(node, Count(number))
