"""Stage: explaining. In: the memory that runs give, by its ids, with the lines that it comes from. Out: how much of it
is held for each line, from run to run.
Next: ``comparing.py``."""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.explain.sites import Site


class Holdings:
    """Bytes by owner, and in all (``total``). Memory that is written again belongs to who wrote it last, and to nobody
    when it is let go of.

    >>> holdings = Holdings()
    >>> line = Site("f.py", 3, "exp", ()).owner("value")
    >>> holdings.add([1, 2], [8, 100], [line, line])
    >>> holdings.changes()
    [(Site(file='f.py', number=3, call='value', modules=(), phase='forward'), 108)]
    >>> holdings.let_go_of(2)
    >>> [held for _, held in holdings.changes()], holdings.changes(), holdings.freed(), holdings.total
    ([8], [], 100, 8)
    """

    def __init__(self) -> None:
        self.total = 0
        self._held: dict[Site, int] = {}
        self._known: dict[int, tuple[Site, int]] = {}
        self._told: dict[Site, int] = {}
        self._changed: dict[Site, None] = {}
        self._freed = 0

    def add(self, ids: Sequence[int], sizes: Sequence[int], owners: Sequence[Site]) -> None:
        """Note the results of a run."""
        known = self._known
        for key, nbytes, owner in zip(ids, sizes, owners, strict=True):
            before = known.get(key)
            if before is not None:
                if before[0] is owner:
                    continue
                self._count(before[0], -before[1])
            known[key] = owner, nbytes
            self._count(owner, nbytes)

    def find(self, key: int, nbytes: int, owner: Site) -> None:
        """Note memory that no run has made, unless it has an owner."""
        if key not in self._known:
            self.add([key], [nbytes], [owner])

    def changes(self) -> list[tuple[Site, int]]:
        """The owners that hold another number of bytes than when this was last asked, and how many."""
        told, held, changed = self._told, self._held, self._changed
        found = [(owner, held[owner]) for owner in changed if told.get(owner, 0) != held[owner]]
        told.update(found)
        changed.clear()
        return found

    def by_owner(self) -> dict[Site, int]:
        """How many bytes each owner holds."""
        return dict(self._held)

    def freed(self) -> int:
        """Bytes of results that were let go of since this was last asked."""
        freed, self._freed = self._freed, 0
        return freed

    def let_go_of(self, key: int) -> None:
        """Note that memory is nobody's any more."""
        owner, nbytes = self._known.pop(key)
        self._count(owner, -nbytes)
        self._freed += nbytes

    def _count(self, owner: Site, nbytes: int) -> None:
        self.total += nbytes
        self._held[owner] = self._held.get(owner, 0) + nbytes
        self._changed[owner] = None
