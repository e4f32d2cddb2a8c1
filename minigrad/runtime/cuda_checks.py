"""Stage: runtime. In: words that kernels on a GPU write, such as what is wrong with an index. Out: who asked is told
when they are on the host, so that a run need not wait for them: at a later run, or when something is read.
Next: ``limits.py``."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from minigrad.runtime.cuda_memory import Queue

MOST = 64
"""Words of so many runs may be on their way; then the first are waited for."""

Told = Callable[[np.ndarray], None]


class _Waiting(NamedTuple):
    block: tuple[int, Any]
    nbytes: int
    told: Told


class LateWords:
    """Words on their way to the host, each to a pinned block of its own; blocks are used again."""

    def __init__(self, queue: Queue, owned: Callable[[Queue, str, Any], Any]) -> None:
        self.queue, self.owned = queue, owned
        self.waiting: deque[_Waiting] = deque()
        self.spare: dict[int, list[tuple[int, Any]]] = {}  # blocks, each with the event behind its copy, by size
        self.keep: list[Any] = []

    def begin(self, address: int, nbytes: int, told: Told) -> None:
        """Queue a copy of the words; ``told`` gets them as int64, and may raise."""
        driver, stream = self.queue.use(), self.queue.stream
        spare = self.spare.setdefault(nbytes, [])
        if not spare:
            spare.append((driver.allocate_pinned(nbytes), driver.event()))
            self.keep += [self.owned(self.queue, "free_pinned", spare[0][0]),
                          self.owned(self.queue, "drop_event", spare[0][1])]
        block = spare.pop()
        driver.copy_out(block[0], address, nbytes, stream)
        driver.record(block[1], stream)
        self.waiting.append(_Waiting(block, nbytes, told))
        if len(self.waiting) > MOST:
            driver.wait(self.waiting[0].block[1])
            self.settle()

    def settle(self, wait: bool = False) -> None:
        """Tell whoever waits for words that are there; with ``wait``, for all."""
        while self.waiting:
            first, driver = self.waiting[0], self.queue.use()
            if wait:
                driver.wait(first.block[1])
            elif not driver.is_done(first.block[1]):
                return
            self.waiting.popleft()
            words = np.empty(first.nbytes // 8, np.int64)
            np.copyto(words, np.ctypeslib.as_array((ctypes.c_int64 * len(words)).from_address(first.block[0])))
            self.spare[first.nbytes].append(first.block)
            first.told(words)
