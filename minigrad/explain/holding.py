"""Stage: explaining. In: the memory that runs give, with the lines that it comes from. Out: how much of it is held for
each line, from run to run.
Next: ``comparing.py``."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import ref

from minigrad.explain.sites import Site
from minigrad.runtime.buffer import Buffer


class _Held(ref[Buffer]):
    """A reference to memory, with its owner and size."""

    __slots__ = ("key", "nbytes", "owner")

    key: int
    nbytes: int
    owner: Site


class Holdings:
    """Bytes by owner. Memory that is written again belongs to who wrote it last, and to nobody when it is let go of.

    >>> from minigrad.runtime.device import get_device
    >>> holdings = Holdings()
    >>> a, b = get_device("CPU").allocate(8), get_device("CPU").allocate(100)
    >>> line = Site("f.py", 3, "exp", ()).owner("value")
    >>> holdings.add([a, b], [line, line])
    >>> holdings.changes()
    [(Site(file='f.py', number=3, call='value', modules=(), phase='forward'), 108)]
    >>> del b
    >>> [held for _, held in holdings.changes()], holdings.changes()
    ([8], [])
    """

    def __init__(self) -> None:
        self.held: dict[Site, int] = {}
        self._buffers: dict[int, _Held] = {}
        self._told: dict[Site, int] = {}
        self._changed: set[Site] = set()
        self._freed = 0

    def add(self, buffers: Sequence[Buffer], owners: Sequence[Site]) -> None:
        """Note the results of a run."""
        held, known, gone, changed = self.held, self._buffers, self._gone, self._changed
        for buffer, owner in zip(buffers, owners, strict=True):
            key = id(buffer)
            before = known.get(key)
            if before is not None:
                if before.owner is owner:
                    continue
                held[before.owner] -= before.nbytes
                changed.add(before.owner)
            known[key] = found = _Held(buffer, gone)
            found.key, found.owner, found.nbytes = key, owner, buffer.nbytes
            held[owner] = held.get(owner, 0) + buffer.nbytes
            changed.add(owner)

    def find(self, buffer: Buffer, owner: Site) -> None:
        """Note memory that no run has made, unless it has an owner."""
        if id(buffer) not in self._buffers:
            self.add([buffer], [owner])

    def changes(self) -> list[tuple[Site, int]]:
        """The owners that hold another number of bytes than when this was last asked, and how many."""
        told, held = self._told, self.held
        found = []
        while self._changed:  # what is let go of meanwhile may add one
            owner = self._changed.pop()
            if told.get(owner, 0) != held[owner]:
                told[owner] = held[owner]
                found.append((owner, held[owner]))
        return found

    def let_go(self) -> int:
        """Bytes of results that were let go of since this was last asked."""
        freed, self._freed = self._freed, 0
        return freed

    def _gone(self, reference: ref[Buffer]) -> None:
        assert isinstance(reference, _Held)
        if self._buffers.get(reference.key) is reference:
            del self._buffers[reference.key]
            self.held[reference.owner] -= reference.nbytes
            self._changed.add(reference.owner)
            self._freed += reference.nbytes
