"""Stage: front. In: the calls that were recorded. Out: ``Entry``, a call in the tree of those that are known, and which
calls may follow it.
Next: ``looks.py``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from minigrad.graph.function import Subgraph
from minigrad.graph.lines import Line, Place
from minigrad.tensor.looks import Spec

WRITE = "a write"
"""The call that changes Tensors in place. It has no results."""
PUT = "a change in place"
"""The call by which a result stands for a later one from then on: an op has changed it in place. It has no results."""

MOST_OTHERS = 63
"""Calls known to follow one call, but for the first; programs in which more do are not worth remembering."""

TURN = 16
"""Of so many calls that are found after the first, one becomes the first. So that of a loop which goes on becomes so at
once, and where calls take turns it costs next to nothing."""

_found = count()

NOTHING: list[Any] = []
"""What there is at first. It is never changed."""


def operands_of(parts: Sequence[int], leaf: int) -> tuple[int, ...]:
    """The slots of operands, of which a key has the slot or, where it is seen first, the look: below 0."""
    slots = []
    for part in parts:
        if part < 0:
            slots.append(leaf)
            leaf += 1
        else:
            slots.append(part)
    return tuple(slots)


class Entry:
    """A call in the tree: what it computes (``body``, with the kind of its tape entry, ``node``; None for a view, whose
    arguments are ``view``), the slots of its ``operands``, how many numbers it takes, whether the tape was on, and what
    its results look like, from slot ``first`` on. One way leads to an entry, so that the slots are always the same.
    ``good`` and ``bad`` count how often a trace through here was replayed, and had to be recorded after all; ``unpaid``
    are good ones that ended here, and are not counted yet. ``hopeless``: following this call has not paid. ``line``:
    where in the user's program the call was first recorded, or, if it indexes, last; ``place``: where one that indexes
    was last made after this call. ``through``: the leaves, up to here, through which a gradient would go on to what
    they were made from."""

    __slots__ = ("bad", "body", "enabled", "first", "good", "hopeless", "key", "line", "next", "node",
                 "numbers", "operands", "others", "place", "points", "specs", "through", "unpaid", "view")

    def __init__(self, body: Subgraph | None = None, node: Any = None, view: Any = None) -> None:
        self.body, self.node, self.view = body, node, view
        # The calls that may follow. There is mostly one: that needs no dictionary, of which there would be thousands.
        self.key = NOTHING
        self.next: Entry | None = None
        self.others: dict[Any, Entry] | None = None
        self.points: Sequence[tuple[Any, Any]] = ()  # a place, and the ``Point`` that ran there
        self.good = self.bad = self.unpaid = 0
        self.hopeless = False
        self.line: Line | None = None
        self.place: Place | None = None
        self.numbers = self.first = 0
        self.enabled: bool | None = True
        self.operands: tuple[int, ...] = ()
        self.specs: tuple[Spec, ...] = ()
        self.through: tuple[int, ...] = ()

    def after(self, key: list[Any]) -> Entry | None:
        """The entry of a call that is known to follow."""
        if self.key == key:
            return self.next
        if self.others is None:
            return None
        found = self.others.get(tuple(key))
        if found is not None and not next(_found) % TURN:
            self._put_first(key, found)
        return found

    def _put_first(self, key: list[Any], entry: Entry) -> None:
        """``entry`` changes places with the first. Only the first is found in no time."""
        others: Any = self.others
        del others[tuple(key)]
        others[tuple(self.key)] = self.next
        self.key, self.next = list(key), entry

    def add(self, key: list[Any], entry: Entry) -> bool:
        """Remember that this call may follow; False if too many do: then those remembered before make room."""
        if self.next is None:
            self.key, self.next = key, entry
            return True
        if self.others is None:
            self.others = {}
        if len(self.others) >= MOST_OTHERS:
            self.others = None
            return False
        self.others[tuple(key)] = entry
        return True

    def judge(self, good: int, bad: int) -> None:
        """Count traces through here."""
        self.good += good
        self.bad += bad
        self.hopeless = self.bad > 2 * self.good + 2
