"""Stage: realise. In: compiled kernels. Out: the same kernels for whoever needs one of the same structure, be it
another layer of a network or part of another plan.
Next: ``recipe.py``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock

from minigrad.records import Record
from minigrad.runtime.device import CompiledKernel

CAPACITY = 4096
"""Kernels remembered; the one not used for longest goes first."""


class Code(Record):
    """A compiled kernel and what a launch must know of it. ``flops``, ``work`` and ``iterations`` are those of
    ``Lowered``; ``structure``: the digest of that; ``written``: the positions of the arrays it writes."""

    program: CompiledKernel
    structure: bytes
    flops: int
    work: int
    iterations: int
    written: frozenset[int]


class KernelCache:
    """Least recently used kernels, by what their code depends on.

    >>> cache = KernelCache(capacity=1)
    >>> for number in (1, 2):
    ...     cache.keep(number, Code(CompiledKernel(f"kernel{number}"), b"", 0, 0, 1, frozenset()))
    >>> cache.find(1), cache.find(2).program.name
    (None, 'kernel2')
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.codes: OrderedDict[Hashable, Code] = OrderedDict()
        self.capacity = capacity
        self.lock = Lock()

    def find(self, key: Hashable) -> Code | None:
        """The kernel, if it is known."""
        with self.lock:
            code = self.codes.get(key)
            if code is not None:
                self.codes.move_to_end(key)
            return code

    def keep(self, key: Hashable, code: Code) -> None:
        """Remember a kernel."""
        with self.lock:
            self.codes[key] = code
            if len(self.codes) > self.capacity:
                self.codes.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self.codes.clear()


kernels = KernelCache()
