"""Stage: schedule, below step 3. In: items in an order. Out: ``LinkedOrder``, the same order, in which taking an item
out, putting it elsewhere and asking which of two comes first cost the same however long it is.
Next: ``group.py``."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import pairwise
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)

SPACING = 1 << 32
"""Between the labels of neighbours, at first: so many items fit between them before all get new labels."""


class LinkedOrder(Generic[Item]):
    """Items in an order. ``label`` is larger the later an item stands; labels change when items are put between others.

    >>> letters = LinkedOrder("abc")
    >>> letters.put_after("a", "xy"); letters.remove("b"); list(letters)
    ['a', 'x', 'y', 'c']
    >>> letters.label["x"] < letters.label["c"], "b" in letters
    (True, False)
    """

    def __init__(self, items: Iterable[Item]) -> None:
        order: list[Item | None] = [None, *items, None]  # None stands before the first and after the last
        self.label: dict[Item, int] = {}
        self.following: dict[Item | None, Item | None] = dict(pairwise(order))
        self.preceding: dict[Item | None, Item | None] = {b: a for a, b in pairwise(order)}
        self._label_all()

    def __contains__(self, item: Item) -> bool:
        return item in self.label

    def __iter__(self) -> Iterator[Item]:
        item = self.following[None]
        while item is not None:
            yield item
            item = self.following[item]

    def remove(self, item: Item) -> None:
        """Take an item out."""
        before, after = self.preceding.pop(item), self.following.pop(item)
        self.following[before], self.preceding[after] = after, before
        del self.label[item]

    def put_after(self, place: Item | None, items: Iterable[Item]) -> None:
        """Put new items behind ``place``, in their order; None puts them in front of all."""
        items = list(items)
        after = self.following[place]
        low = self.label[place] if place is not None else self.label[after] - SPACING if after is not None else 0
        high = self.label[after] if after is not None else low + SPACING
        step = (high - low) // (len(items) + 1)
        here = place
        for number, item in enumerate(items, 1):
            self.following[here], self.preceding[item] = item, here
            self.label[item] = low + number * step
            here = item
        self.following[here], self.preceding[after] = after, here
        if not step:
            self._label_all()

    def _label_all(self) -> None:
        for number, item in enumerate(self):
            self.label[item] = number * SPACING
