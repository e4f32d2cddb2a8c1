"""Stage: realise, tier 0. In: the calls of a graph. Out: a program that runs them, the same to its caller as a compiled
plan.
Next: ``schedule/``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.dtype import DType, bfloat16
from minigrad.engine.execute import WORK_PER_THREAD, index_error
from minigrad.engine.real import real
from minigrad.engine.tier0.builder import LEAVES, MOST_MEMORIES, SHIFT, Declined
from minigrad.engine.tier0.library import Generic, library
from minigrad.engine.tier0.nodes import NodeBuilder
from minigrad.engine.walk import Pending
from minigrad.graph.lazy import LazyBuffer
from minigrad.runtime.allocator import size_class
from minigrad.runtime.buffer import Buffer
from minigrad.runtime.calls import CallTable, Columns
from minigrad.runtime.device import get_device, memory_error

if TYPE_CHECKING:
    from minigrad.lower.lower import Lowered

SMALL_ARENA = 8 << 20
"""Bytes up to which no memory is used twice: finding out where it could be would cost more than it saves."""

MOST_ARENA = 1 << 30
"""Bytes of intermediate values with which a graph is declined."""


@dataclass(eq=False)
class DirectKernel:
    """A generic kernel in a program: how often it is called, and what those calls compute and move."""

    generic: Generic
    calls: int
    flops: int
    bytes: int

    @property
    def name(self) -> str:
        """The generic kernel's name as an identifier."""
        return self.generic.title

    @property
    def source(self) -> str:
        """Its source as C."""
        return self.generic.source

    @cached_property
    def lowered(self) -> Lowered:
        """Its loop nest."""
        return replace(self.generic.nest, strategies=(f"tier 0: {self.calls} calls",), flops=self.flops,
                       work=self.flops, iterations=self.calls)


def build(pending: Pending) -> DirectProgram:
    """The program for a graph. Raises ``Declined`` for one that only the compiler can do."""
    pending = real(pending)
    builder = NodeBuilder(pending)
    builder.watch(pending.order, pending.results)
    at = builder.sources()
    builder.run(pending.order, at)
    results: dict[int, None] = {}
    for node in pending.results:
        results[_stored(builder, node, at, results)] = None
    return DirectProgram(builder, list(results))


def _stored(b: NodeBuilder, node: LazyBuffer, at: dict[LazyBuffer, Any], taken: dict[int, None]) -> int:
    """The memory that a result becomes: its own, whole, and no other result's, which may be written."""
    ref, nbytes = b.plain(node, at), node.size * node.dtype.size
    memory = ref >> SHIFT
    if nbytes and memory >= LEAVES + len(b.pending.leaves) and not ref & ((1 << SHIFT) - 1) \
            and b.nbytes[memory] == nbytes and memory not in taken:
        return memory
    out = b.new(nbytes)
    if nbytes:
        b.copy(out, None, ref, (1,), (node.size,), node.dtype.size)
    return out >> SHIFT


class DirectProgram:
    """Runs a graph by generic kernels. ``fixed``: the numbers of those constants that it depends on, by position.
    ``account`` pays for a run and says whether another may follow before the graph is compiled."""

    tier = 0
    overwrites = short = False
    direct = None
    account: Callable[[], bool] | None = None

    def __init__(self, b: NodeBuilder, results: list[int]) -> None:
        pending = b.pending
        self.device = get_device(pending.device)
        if len(b.nbytes) >= MOST_MEMORIES:
            raise Declined(f"{len(b.nbytes)} values")
        self.fixed = {i: pending.numbers[i] for i in b.exponents}
        self.leaves = len(pending.leaves)
        self.check_shapes = [n.srcs[0].shape for n in b.checks]
        cells = np.array(b.cells, np.int64)
        self._number_groups(b, pending)
        self.iota = np.arange(b.iota)
        self.status = np.zeros(max(1, len(b.checks)), np.int64)
        used = sorted(set(b.kernels))
        self.compiled = library().compile(used)
        known = library().kernels
        traits = np.zeros((4, used[-1] + 1 if used else 0), np.int64)
        traits[:, used] = np.array([(known[i].address, known[i].arity, known[i].cost, known[i].pointwise)
                                     for i in used], np.int64).T
        flat: list[int] = []
        rows = []
        for numbers, iterations, elements_each in b.numbers:
            rows.append((len(flat), iterations, elements_each))
            flat += numbers
        kernels = np.array(b.kernels, np.int64)
        number, iterations, elements_each = np.array(rows, np.int64).reshape(-1, 3)[np.array(b.records, np.int64)].T
        address, arity, cost, pointwise = traits[:, kernels]
        first = arity.cumsum() - arity
        each = cost * elements_each
        work = each * iterations
        parallel = (iterations > 1) & (work >= 2 * WORK_PER_THREAD)
        grain = -(-WORK_PER_THREAD // np.maximum(each, 1)) * parallel
        sources, offsets = self._place(b, results, cells, arity, pointwise)
        self.table = CallTable(Columns(address, iterations, grain, first, sources, offsets, number,
                                       np.array(flat, np.int64)), LEAVES + self.leaves + len(self.output_bytes) + 1,
                               int(work.sum()))
        self._counted = used, np.bincount(kernels), np.bincount(kernels, iterations * elements_each)

    @cached_property
    def kernels(self) -> list[DirectKernel]:
        """Its generic kernels."""
        known = library().kernels
        used, counts, elements = self._counted
        return [DirectKernel(known[i], int(counts[i]), int(elements[i]) * known[i].cost,
                             int(elements[i]) * 4 * known[i].arity) for i in used]

    def __len__(self) -> int:
        return len(self.table)

    @property
    def launches(self) -> int:
        """Kernels that a run launches."""
        return len(self.table)

    @property
    def results(self) -> int:
        """Values that a run gives."""
        return len(self.output_numbers)

    def results_in(self, output: int) -> list[int]:
        """Which values lie in an output."""
        return [i for i, number in enumerate(self.output_numbers) if number == output]

    @property
    def native_calls(self) -> int:
        """Calls into native code that a run makes."""
        return 1

    # --- preparation

    def _number_groups(self, b: NodeBuilder, pending: Pending) -> None:
        """Which constants and run-time numbers go where, by dtype."""
        constants, scalars = pending.constants, pending.scalars
        self.pool = np.zeros(max(1, len(constants) + len(scalars) + len(b.fixed_numbers)), np.uint64)
        groups: dict[DType, list[int]] = {}
        for i, node in enumerate((*constants, *scalars)):
            groups.setdefault(node.dtype, []).append(i)
        self.filled = ""  # the numbers that the pool holds
        self.groups = [(dtype, chosen, np.array(chosen, np.int64)) for dtype, chosen in groups.items()]
        start = len(constants) + len(scalars)
        for i, (value, dtype) in enumerate(b.fixed_numbers):
            self.pool[start + i] = _bits(repr(value), value, dtype)

    def _place(self, b: NodeBuilder, results: list[int], cells: np.ndarray, arity: np.ndarray,
               pointwise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The slot and offset of each cell. The slots: numbers, iota, status, leaves, outputs, and last the arena,
        which holds all other memories."""
        sizes = np.array(b.nbytes, np.int64)
        outputs = list(dict.fromkeys(results))
        number = {memory: i for i, memory in enumerate(outputs)}
        self.output_bytes = [b.nbytes[m] for m in outputs]
        self.output_numbers = [number[m] for m in results]
        slots = np.full(len(sizes), LEAVES + self.leaves + len(outputs))
        slots[:LEAVES + self.leaves] = np.arange(LEAVES + self.leaves)
        slots[outputs] = LEAVES + self.leaves + np.arange(len(outputs))
        own = slots == LEAVES + self.leaves + len(outputs)
        small = sizes < 64
        padded = (sizes + np.where(small, 7, 63) & np.where(small, -8, -64)) * own
        ends = padded.cumsum()
        places, self.arena_bytes = ends - padded, int(ends[-1])
        memories = cells >> SHIFT
        if self.arena_bytes > SMALL_ARENA:
            calls = np.repeat(np.arange(len(arity)), arity)
            overwritable = _overwritable(cells, sizes, arity, pointwise, calls)
            places, self.arena_bytes = _reused(own, padded, memories, calls, overwritable)
        places *= own
        if self.arena_bytes > MOST_ARENA:
            raise Declined(f"{self.arena_bytes} bytes of intermediate values")
        return slots[memories], places[memories] + (cells & ((1 << SHIFT) - 1))

    # --- running

    def fits(self, numbers: tuple[Any, ...]) -> bool:
        """Whether this program serves a graph with these constants."""
        return all([numbers[i] == value for i, value in self.fixed.items()])

    def run(self, pending: Pending, timed: bool) -> tuple[list[Buffer], list[float]]:
        """The result buffers, in the order of ``pending.results``, and, if ``timed``, seconds: those of the whole
        run, shared out among the kernels by what their calls compute. Raises ``IndexError`` if an index tensor is out
        of range; then nothing has been overwritten."""
        return self.run_at([x.buffer for x in pending.leaves],
                           [x.buffer.address + x.offset for x in pending.leaves],
                           [*[c.arg for c in pending.constants], *[s.value for s in pending.scalars]], timed)

    def run_at(self, leaves: Sequence[Buffer], leaf_addresses: list[int], numbers: Sequence[Any],
               timed: bool = False) -> tuple[list[Buffer], list[float]]:
        """As ``run``, without the graph: where the leaves begin, and the constants and run-time numbers."""
        allocate = self.device.allocate
        outputs: list[Buffer] = []
        try:
            for nbytes in self.output_bytes:
                outputs.append(allocate(nbytes))
            arena = allocate(self.arena_bytes)  # its smallest block costs nothing
        except Exception as error:
            nbytes = sum(self.output_bytes) + self.arena_bytes
            raise memory_error(self.device.name, nbytes, error, len(outputs)) from None
        addresses = [_address(self.pool), _address(self.iota), _address(self.status)]
        addresses += leaf_addresses
        addresses += [x.address for x in outputs]
        addresses.append(arena.address)
        found: list[np.ndarray] = []

        def check() -> None:
            if self.check_shapes:
                found.append(self.status.copy())

        start = perf_counter()
        self.table.run(addresses, lambda: self._fill(numbers), check)
        seconds = perf_counter() - start
        if found and found[0].any():
            raise index_error(self.check_shapes, found[0])
        buffers = [outputs[i] for i in self.output_numbers]
        if not timed:
            return buffers, []
        total = sum([k.flops for k in self.kernels]) or 1
        return buffers, [seconds * k.flops / total for k in self.kernels]

    def _fill(self, numbers: Sequence[Any]) -> None:
        """The numbers of this run, and no index out of range so far."""
        if self.check_shapes:
            self.status[:] = 0
        given = repr(numbers)  # in which 0.0 and -0.0 differ, and NaN equals itself
        if given == self.filled:
            return
        for dtype, chosen, positions in self.groups:
            _write(self.pool, positions, [numbers[i] for i in chosen], dtype)
        self.filled = given


def _overwritable(cells: np.ndarray, sizes: np.ndarray, arity: np.ndarray, pointwise: np.ndarray,
                  calls: np.ndarray) -> np.ndarray:
    """Whether a call may write its result over what it reads by a cell: it needs that element by element, and it is the
    whole of its memory."""
    memories = cells >> SHIFT
    start = arity.cumsum() - arity
    position = np.arange(len(cells)) - start[calls]
    whole = sizes[memories] == sizes[memories[start[calls]]]
    return whole & (position > 0) & (pointwise[calls] >> np.maximum(position - 1, 0) & 1 > 0)


def _reused(own: np.ndarray, padded: np.ndarray, memories: np.ndarray, calls: np.ndarray,
            overwritable: np.ndarray) -> tuple[np.ndarray, int]:
    """Places in an arena where the memory of a value that no later call reads goes to later values, or to the result of
    the call that reads it last; and the bytes of the arena. ``memories``, ``calls``: which call touches which memory,
    in order."""
    birth, death = np.full(len(own), len(calls), np.int64), np.zeros(len(own), np.int64)
    death[memories] = calls  # the last one stays
    birth[memories[::-1]] = calls[::-1]
    last = calls == death[memories]
    over = np.zeros(len(own), bool)
    over[memories[last & overwritable]] = True
    over[memories[last & ~overwritable]] = False
    death -= over
    wanted = np.flatnonzero(own)
    by_birth = wanted[np.argsort(birth[wanted], kind="stable")].tolist()
    by_death = wanted[np.argsort(death[wanted], kind="stable")].tolist()
    births, deaths, sizes = birth.tolist(), death.tolist(), [size_class(n) for n in padded.tolist()]
    free: dict[int, list[int]] = {}
    places = [0] * len(own)
    end = gone = 0
    for memory in by_birth:
        now = births[memory]
        while deaths[by_death[gone]] < now:
            dead = by_death[gone]
            free.setdefault(sizes[dead], []).append(places[dead])
            gone += 1
        blocks = free.get(sizes[memory])
        if blocks:
            places[memory] = blocks.pop()
        else:
            places[memory] = end
            end += sizes[memory]
    return np.array(places, np.int64), end


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


@lru_cache(1 << 10)
def _bits(_: str, value: Any, dtype: DType) -> int:
    """A number as the 8 bytes of a slot. With its text, in which 0.0 and -0.0 differ."""
    pool = np.zeros(1, np.uint64)
    _write(pool, np.zeros(1, np.int64), [value], dtype)
    return int(pool[0])


def _write(pool: np.ndarray, positions: np.ndarray, values: list[Any], dtype: DType) -> None:
    """Put numbers into 8-byte slots as ``dtype``, rounded as constants of a kernel are."""
    size = dtype.size
    with np.errstate(all="ignore"):
        if dtype.kind == "f":
            wide = np.array(values, np.float64)
            made = (wide.astype(np.float32) if dtype is bfloat16 else wide).astype(dtype.numpy)
        elif dtype.kind == "b":
            made = np.array(values, bool)
        else:
            mask = (1 << dtype.bits) - 1
            made = np.array([int(v) & mask for v in values], f"u{size}")
    pool.view(f"u{size}")[positions * (8 // size)] = made.view(f"u{size}")
