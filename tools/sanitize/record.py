"""Stage: tests. In: programs that compute on the device RECORDING. Out: every launch of theirs: the loop nest, the
memory it was given, and what the CPU device's code made of it.
Next: ``replay.py``."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minigrad.dtype import DType
from minigrad.kernel.ir import Kernel
from minigrad.render import render_c
from minigrad.runtime.cpu import CpuDevice
from minigrad.runtime.device import CompiledKernel, register_device
from minigrad.runtime.launches import Launches
from minigrad.runtime.native import Step

NAME = "RECORDING"
LINE = 64
"""Buffers begin on such a boundary; where arrays begin in one is kept."""

_RUN = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64)


@dataclass(frozen=True)
class Block:
    """Memory of a launch that one array lies in, or several that overlap: how far behind a multiple of ``LINE`` it
    begins, and its bytes before and after."""

    shift: int
    before: bytes
    after: bytes


@dataclass(frozen=True)
class Launch:
    """A launch. ``kernel``: any with this text, its arrays may have other sizes. ``arrays``: for each its block (-1 if
    it has no elements), how far behind the block's beginning it begins, and its bytes; ``scalars``: 8 bytes each;
    ``source``: who launched it."""

    kernel: Kernel
    iterations: int
    blocks: tuple[Block, ...]
    arrays: tuple[tuple[int, int, int], ...]
    scalars: tuple[bytes, ...]
    source: str

    def written(self) -> Iterator[tuple[int, int, int, DType]]:
        """Block, beginning, bytes and dtype of each array that it writes."""
        for array, place in zip(self.kernel.arrays, self.arrays, strict=True):
            if array.written and place[2]:
                yield *place, array.dtype


class Recording:
    """Launches, each once. A kernel is known by its text: the same one of several plans is one object. ``source``:
    whoever launches says here who it is. ``size``: characters of new kernels and bytes of memory since the last
    ``take``; ``launched``: of all launches, ``distinct`` of them not for a second time."""

    def __init__(self) -> None:
        self.source = ""
        self.size = self.launched = self.distinct = 0
        self._launches: list[Launch] = []
        self._kernels: dict[tuple[Any, ...], Kernel] = {}
        self._texts: dict[Kernel, Kernel] = {}
        self._seen: set[int] = set()

    @property
    def kernels(self) -> int:
        """How many differ."""
        return len(self._kernels)

    def add(self, launch: Launch) -> None:
        """Keep a launch, unless there was one of the same kernel on the same bytes."""
        self.launched += 1
        key = hash((launch.kernel, launch.iterations, launch.blocks, launch.arrays, launch.scalars))
        if key not in self._seen:
            self._seen.add(key)
            self._launches.append(launch)
            self.distinct += 1
            self.size += sum(len(block.before) for block in launch.blocks)

    def kernel(self, kernel: Kernel) -> Kernel:
        """The first kernel with this text and such arrays, whatever it is called."""
        known = self._texts.get(kernel)
        if known is None:
            text = render_c([replace(kernel, name="any_name")])
            key = (text, *[(array.dtype, array.written) for array in kernel.arrays])  # some may not be in the text
            self.size += len(text) if key not in self._kernels else 0
            known = self._texts[kernel] = self._kernels.setdefault(key, kernel)
        return known

    def take(self) -> list[Launch]:
        """The launches since the last call."""
        taken, self._launches, self.size = self._launches, [], 0
        return taken


_recordings: list[Recording] = []


@contextmanager
def recording() -> Iterator[Recording]:
    """All launches on the device while it is open."""
    made = Recording()
    _recordings.append(made)
    try:
        yield made
    finally:
        _recordings.remove(made)


class RecordingDevice(CpuDevice):
    """The CPU device, one launch at a time, each noted down."""

    name = NAME

    def identity(self) -> str:
        return ""  # code that is found on disk has no loop nest

    def native(self, steps: Sequence[Step], slots: int, scalars: str = "") -> Any:
        return Launches(self, steps)

    def launch(self, program: CompiledKernel, addresses: Sequence[int], scalars: Sequence[float],
               iterations: int) -> None:
        kernel = program.kernel
        assert kernel is not None
        numbers = tuple(packed(s.dtype, value) for s, value in zip(kernel.scalars, scalars, strict=True))
        sizes = [a.size * a.dtype.size for a in kernel.arrays]
        spans = _spans(list(zip(addresses, sizes, strict=True)))
        before = [_bytes(*span) for span in spans]
        pointers = struct.pack(f"={len(addresses)}Q", *addresses)
        _RUN(program.address)(pointers, b"".join(numbers), 0, iterations)
        blocks = tuple(Block(start % LINE, old, _bytes(start, size))
                       for (start, size), old in zip(spans, before, strict=True))
        arrays = tuple(_place(spans, address, size) for address, size in zip(addresses, sizes, strict=True))
        for made in _recordings:
            made.add(Launch(made.kernel(kernel), iterations, blocks, arrays, numbers, made.source))


register_device(NAME, RecordingDevice, "the CPU device, whose launches are recorded")


def packed(dtype: DType, number: float) -> bytes:
    """A run-time number as kernels get it."""
    return struct.pack("=d" if dtype.is_float else "=Q" if dtype.kind == "u" else "=q", number)


def _spans(arrays: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Addresses and sizes of the blocks that arrays (an address and a size each) lie in: those that overlap share one.

    >>> _spans([(100, 8), (300, 4), (104, 8), (108, 0)])
    [(100, 12), (300, 4)]
    """
    found: list[tuple[int, int]] = []
    for start, size in sorted({(start, size) for start, size in arrays if size}):
        if found and start < sum(found[-1]):
            first, before = found[-1]
            found[-1] = first, max(before, start + size - first)
        else:
            found.append((start, size))
    return found


def _place(spans: list[tuple[int, int]], address: int, size: int) -> tuple[int, int, int]:
    """As in ``Launch.arrays``."""
    for i, (start, length) in enumerate(spans):
        if size and start <= address < start + length:
            return i, address - start, size
    return -1, 0, 0


def _bytes(address: int, size: int) -> bytes:
    return ctypes.string_at(address, size)


def same_bits(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], dtype: DType) -> bool:
    """Equal to the bit; one NaN is as good as another."""
    if dtype.is_float:
        nan_a, nan_b = np.isnan(a.astype(np.float64)), np.isnan(b.astype(np.float64))
        if not np.array_equal(nan_a, nan_b):
            return False
        a, b = np.where(nan_a, 0, a), np.where(nan_b, 0, b)
    return np.ascontiguousarray(a, dtype.numpy).tobytes() == np.ascontiguousarray(b, dtype.numpy).tobytes()
