"""Stage: the interpreter's threads. In: statements of a kernel in the GPU form. Out: their effect on memory, all
threads of a workgroup in step, and an error where another order of the threads could give another result.
Next: ``render/``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from minigrad.dtype import float32
from minigrad.errors import RaceError
from minigrad.kernel.compute import apply, constant, round_to_tf32
from minigrad.kernel.ir import (
    MATRIX_LANES,
    Alloc,
    Array,
    Barrier,
    Commit,
    Copy,
    Fold,
    For,
    If,
    Index,
    Kernel,
    LetIndex,
    Load,
    Multiply,
    Store,
    Tile,
    Wait,
)
from minigrad.kernel.machine import Machine, Memory
from minigrad.symbolic import Sym, children, evaluate, variables
from minigrad.symbolic.kinds import AND, EQUAL, FLOORDIV, LESS, MAX, MIN, MOD, PRODUCT, SUM, VAR

Many = Any  # an int that is the same for all threads, or an array of one int a thread


class Workgroup(Machine):
    """Runs the GPU form: one workgroup after another, its threads in step, as if each statement were one instruction.

    A value is an array of one element (the same for all threads) or of one element a thread; ``active`` are the
    threads that run the current statement. Threads that are not active have values too, which mean nothing. As no
    element is touched by one thread and written by another between two barriers, every order gives the same.
    """

    def __init__(self, kernel: Kernel):
        super().__init__(kernel)
        self.size = kernel.workgroup
        self.all = np.arange(self.size)
        self.active = self.all
        self.group = 0
        self.interval = 0  # counts barriers and workgroups
        self.watches: dict[tuple[int, int], list[_Watch]] = {}  # of what the kernel writes, by name or by another one
        self.begun: list[_Begun] = []
        self.products: list[_Product] = []
        self.committed = np.zeros(self.size, np.int64)  # groups of copies of each thread

    def iteration(self, at: int) -> None:
        if not self.watches:
            self.watches = self.watch_written()
        self.group = at
        self.interval += 1
        super().iteration(at)
        if self.begun or self.products:
            what = f"copies to {self.begun[0].array.name}" if self.begun else "products"
            raise RaceError(f"kernel {self.kernel.name}, workgroup {self.group}: it ends while {what} are under way")

    # --- statements --------------------------------------------------------------------------------------------

    def do_for(self, s: For) -> None:
        if s.kind == "block":
            self.indices[str(s.var)] = self.all
            self.block(s.body)
            return
        start, stop = self.index(s.start), self.index(s.stop)
        if isinstance(start, int) and isinstance(stop, int):
            for at in range(start, stop, s.step):
                self.indices[str(s.var)] = at
                self.block(s.body)
            return
        before = self.active
        ats = np.zeros(self.size, np.int64) + start
        while True:
            self.active = self.active[(ats < stop)[self.active]]
            if not len(self.active):
                break
            self.indices[str(s.var)] = ats
            self.block(s.body)
            ats = ats + s.step
        self.active = before

    def do_if(self, s: If) -> None:
        before = self.active
        yes = np.broadcast_to(self.value(s.condition), self.size)[before]
        for self.active, body in ((before[yes], s.then), (before[~yes], s.otherwise)):
            if len(self.active):
                self.block(body)
        self.active = before

    def do_letindex(self, s: LetIndex) -> None:
        value = self.value(s.value)
        self.indices[str(s.var)] = int(value[0]) if value.size == 1 else value
        value = np.broadcast_to(value, self.size)[self.active]
        bad = np.flatnonzero((value < s.var.lo) | (value > s.var.hi))
        if len(bad):
            raise IndexError(f"index {s.var} is {value[bad[0]]}, outside its promised range {s.var.lo}..{s.var.hi}"
                             f"{self.who(self.active[bad[0]])}")

    def do_store(self, s: Store) -> None:
        value = self.value(s.value)
        memory = self.memory[id(s.array)]
        threads, at = self.access(s.array, s.index, s.guard)
        if not len(threads):
            return
        new = np.broadcast_to(value, self.size)[threads]
        if memory.elements.ndim == 2:
            memory.elements[threads, at] = new
            if memory.known is not None:
                memory.known[threads, at] = True
            return
        self.not_multiplied(s.array, threads, at)
        self.note(s.array, threads, at, _bits(memory.elements[at]) == _bits(new))
        memory.elements[at] = new
        lost = np.flatnonzero(_bits(memory.elements[at]) != _bits(new))
        if len(lost):
            one = lost[0]
            other = np.flatnonzero((at == at[one]) & (_bits(new) != _bits(new)[one]))[0]
            self.race("thread", s.array, at[one], threads[one], "writes", threads[other], "writes another value")
        if memory.known is not None:
            memory.known[at] = True

    def do_alloc(self, s: Alloc) -> None:
        shape = s.array.size if s.array.scope == "shared" else (self.size, s.array.size)
        elements = np.zeros(shape, s.array.dtype.numpy)
        if s.init is not None:
            elements[:] = constant(s.init)
        self.memory[id(s.array)] = Memory(s.array, elements, np.zeros(shape, bool) if s.init is None else None)
        if s.array.scope == "shared":
            self.watches[_place(elements)] = [_Watch(s.array.size, "thread")]

    def do_fold(self, s: Fold) -> None:
        memory = self.memory[id(s.array)]
        if memory.known is not None and not memory.known[self.active].all():
            raise ValueError(f"Fold reads elements of {s.array.name} that were never set")
        x = memory.elements.T
        while len(x) > 1:
            half = len(x) // 2
            x = apply(s.op, (x[:half], x[half:]), s.array.dtype)
        self.locals[s.name] = x[0].copy()

    def do_barrier(self, s: Barrier) -> None:
        if len(self.active) != self.size:
            missing = np.setdiff1d(self.all, self.active)[0]
            raise RaceError(f"kernel {self.kernel.name}, workgroup {self.group}: thread {self.active[0]} waits at a "
                            f"barrier that thread {missing} does not come to")
        self.interval += 1

    def do_copy(self, s: Copy) -> None:
        """What is read is what is there when the copy ends. Until then the elements are not set."""
        threads = self.active
        offsets = np.arange(s.size)
        at = np.broadcast_to(self.index(s.at), self.size)[threads][:, None] + offsets
        first = np.broadcast_to(self.index(s.first), self.size)[threads][:, None] + offsets
        inside = np.broadcast_to(1 if s.inside is None else self.index(s.inside), self.size)[threads] != 0
        who = np.repeat(threads, s.size)
        for array, where, read in ((s.to, at, threads), (s.source, first[inside], threads[inside])):
            bad = np.flatnonzero(((where < 0) | (where >= array.size)).any(1))
            if len(bad):
                raise IndexError(f"{array.name}[{where[bad[0]][0]}] and on is outside the array's 0..{array.size - 1}"
                                 f"{self.who(read[bad[0]])}")
        self.note(s.source, np.repeat(threads[inside], s.size), first[inside].reshape(-1), None)
        self.not_multiplied(s.to, who, at.reshape(-1))
        self.note(s.to, who, at.reshape(-1), np.zeros(at.size, bool))
        memory = self.memory[id(s.to)]
        assert memory.known is not None
        memory.known[at] = False
        self.begun.append(_Begun(s.to, s.source, threads, self.committed[threads], at, first, inside))

    def not_multiplied(self, array: Array, threads: np.ndarray, at: np.ndarray) -> None:
        """Raise if a product that is under way reads what threads write."""
        for p in self.products:
            for tile, places in ((p.statement.a, p.a), (p.statement.b, p.b)):
                bad = np.flatnonzero(np.isin(at, places)) if tile.array is array else at[:0]
                if len(bad):
                    raise RaceError(f"kernel {self.kernel.name}, workgroup {self.group}: thread {threads[bad[0]]} "
                                    f"writes {array.name}[{at[bad[0]]}], which products that are under way read")

    def do_commit(self, s: Commit) -> None:
        self.committed[self.active] += 1

    def do_wait(self, s: Wait) -> None:
        if s.products:
            self.all_come("waits for products")
            done = len(self.products) - s.groups
            for product in self.products[:max(0, done)]:
                self.multiply(product)
            self.products = self.products[max(0, done):]
            return
        waits = np.isin(self.all, self.active)
        left = []
        for b in self.begun:
            done = waits[b.threads] & (b.group < self.committed[b.threads] - s.groups)
            self.end(b.some(done))
            if not done.all():
                left.append(b.some(~done))
        self.begun = left

    def end(self, b: _Begun) -> None:
        """The copies are done."""
        memory, source = self.memory[id(b.array)], self.memory[id(b.source)].elements
        assert memory.known is not None
        read = np.where(b.inside[:, None], b.first, 0)
        elements = np.where(b.inside[:, None], source[read], 0) if len(source) else np.zeros(b.at.shape)
        self.note(b.array, np.repeat(b.threads, b.at.shape[1]), b.at.reshape(-1), np.zeros(b.at.size, bool))
        memory.elements[b.at] = elements.astype(source.dtype).view(memory.elements.dtype)
        memory.known[b.at] = True

    def all_come(self, does: str) -> None:
        """Raise unless all threads are here."""
        if len(self.active) != self.size:
            missing = np.setdiff1d(self.all, self.active)[0]
            raise RaceError(f"kernel {self.kernel.name}, workgroup {self.group}: thread {self.active[0]} {does}, "
                            f"thread {missing} does not come to it")

    def do_multiply(self, s: Multiply) -> None:
        self.all_come("multiplies tiles")
        product = _Product(s, self.places(s.a, s.rows, s), self.places(s.b, s.columns, s))
        if s.together == 1:
            self.multiply(product)
            return
        for tile, places in ((s.a, product.a), (s.b, product.b)):
            self.elements(tile, places, s)  # they must be there now, and when it ends
        self.products.append(product)

    def multiply(self, product: _Product) -> None:
        """Add the products of two tiles to the sums."""
        s = product.statement
        a = self.elements(s.a, product.a, s).reshape(-1, s.rows, s.depth)
        b = self.elements(s.b, product.b, s).reshape(-1, s.columns, s.depth)
        row, column, held = _held(s)
        memory = self.memory[id(s.sums)]
        if memory.known is not None and not memory.known.all():
            raise ValueError(f"Multiply adds to elements of {s.sums.name} that were never set")
        total = np.empty((len(a), s.rows, s.columns), np.float32)
        sums = memory.elements.reshape(len(a), MATRIX_LANES * s.together, -1)
        total[:, row, column] = sums[:, :, held]
        for k in range(s.depth):
            factors = np.broadcast_arrays(a[:, :, None, k], b[:, None, :, k])
            total = apply("FMA", (*factors, total), float32)
        sums[:, :, held] = total[:, row, column]

    def places(self, tile: Tile, rows: int, s: Multiply) -> np.ndarray:
        """Where the elements of a tile are, a row for those who multiply it."""
        first = np.broadcast_to(self.index(tile.index), self.size).reshape(-1, MATRIX_LANES * s.together)
        if (first != first[:, :1]).any():
            raise RaceError(f"kernel {self.kernel.name}, workgroup {self.group}: threads of a subgroup multiply "
                            f"different tiles of {tile.array.name}")
        return first[:, :1] + tile.at(np.arange(rows)[:, None], np.arange(s.depth)).reshape(1, -1)

    def elements(self, tile: Tile, places: np.ndarray, s: Multiply) -> np.ndarray:
        """Elements of a tile, as float32. All lanes read them; two are enough to see a race."""
        at = places.reshape(-1)
        lane = np.repeat(self.all[::MATRIX_LANES * s.together], places.shape[1])
        memory = self.memory[id(tile.array)]
        bad = np.flatnonzero((at < 0) | (at >= tile.array.size))
        if len(bad):
            raise IndexError(f"{tile.array.name}[{at[bad[0]]}] is outside the array's 0..{tile.array.size - 1}"
                             f"{self.who(lane[bad[0]])}")
        if memory.known is not None and not memory.known[at].all():
            bad = np.flatnonzero(~memory.known[at])[0]
            raise self.unset(tile.array, at[bad], lane[bad])
        for reader in (lane, lane + 1):
            self.note(tile.array, reader, at, None)
        found = memory.elements[at]
        return round_to_tf32(found) if s.dtype is float32 else found.view(s.dtype.numpy).astype(np.float32)

    # --- values ------------------------------------------------------------------------------------------------

    def index(self, e: Sym) -> Many:
        return _evaluate(e, self.indices)

    def index_value(self, v: Index) -> np.ndarray:
        return np.atleast_1d(self.index(v.index)).astype(v.dtype.numpy)

    def load(self, v: Load) -> np.ndarray:
        memory = self.memory[id(v.array)]
        out = np.zeros(self.size, v.array.dtype.numpy)
        threads, at = self.access(v.array, v.index, v.guard)
        if not len(threads):
            return out
        where = (threads, at) if memory.elements.ndim == 2 else at
        if memory.known is not None and not memory.known[where].all():
            bad = np.flatnonzero(~memory.known[where])[0]
            raise self.unset(v.array, at[bad], threads[bad])
        if memory.elements.ndim == 1:
            self.note(v.array, threads, at, None)
        out[threads] = memory.elements[where]
        return out

    def access(self, array: Array, index: Sym, guard: Sym | None) -> tuple[np.ndarray, np.ndarray]:
        """The threads that make an access, and where."""
        threads = self.active
        if guard is not None:
            threads = threads[np.broadcast_to(self.index(guard), self.size)[threads] != 0]
        at = np.broadcast_to(self.index(index), self.size)[threads]
        bad = np.flatnonzero((at < 0) | (at >= array.size))
        if len(bad):
            raise IndexError(f"{array.name}[{at[bad[0]]}] is outside the array's 0..{array.size - 1}"
                             f"{self.who(threads[bad[0]])}")
        return threads, at

    def unset(self, array: Array, at: int, thread: int) -> Exception:
        """The error of a thread that reads an element which is not set, or not yet."""
        for b in self.begun:
            found = np.argwhere(b.at == at)
            if b.array is array and len(found):
                other = b.threads[found[0][0]]
                return RaceError(f"kernel {self.kernel.name}, workgroup {self.group}: thread {thread} reads "
                                 f"{array.name}[{at}], and the copy of thread {other} to it is under way")
        return ValueError(f"{array.name}[{at}] is read but was never set{self.who(thread)}")

    # --- races -------------------------------------------------------------------------------------------------

    def who(self, thread: int) -> str:
        return f" (workgroup {self.group}, thread {thread})"

    def watch_written(self) -> dict[tuple[int, int], list[_Watch]]:
        """Watches over the global memory that the kernel writes, as large as the largest array that begins there."""
        sizes: dict[tuple[int, int], int] = {}
        for array in self.kernel.arrays:
            memory = self.memory[id(array)].elements
            sizes[_place(memory)] = max(memory.size, sizes.get(_place(memory), 0))
        written = {_place(self.memory[id(a)].elements) for a in self.kernel.arrays if a.written}
        return {place: [_Watch(sizes[place], "thread"), _Watch(sizes[place], "workgroup")] for place in written}

    def note(self, array: Array, threads: np.ndarray, at: np.ndarray, same: np.ndarray | None) -> None:
        """Note a load, or a store (``same``: whether it leaves each element as it is), and raise if it races."""
        for watch in self.watches.get(_place(self.memory[id(array)].elements), ()):
            if watch.kind == "thread":
                begin = self.interval * self.size
                who = begin + threads
            else:
                begin, who = 0, np.full(len(threads), self.group)
            for does, other_does, other in watch.conflicts(at, who, begin, same):
                bad = np.flatnonzero(other >= 0)
                if len(bad):
                    self.race(watch.kind, array, at[bad[0]], who[bad[0]] - begin, does, other[bad[0]] - begin,
                              other_does)
            watch.add(at, who, begin, same)

    def race(self, kind: str, array: Array, at: int, one: int, does: str, other: int, other_does: str) -> None:
        where = f", workgroup {self.group}" if kind == "thread" else ""
        why = "no barrier is between" if kind == "thread" else "nothing orders workgroups"
        raise RaceError(f"kernel {self.kernel.name}{where}: {kind} {one} {does} {array.name}[{at}], {kind} {other} "
                        f"{other_does}, and {why}")


@dataclass
class _Product:
    """A ``Multiply`` that is under way, and where its tiles are."""

    statement: Multiply
    a: np.ndarray
    b: np.ndarray


@dataclass
class _Begun:
    """Copies that threads have begun: a row of ``at`` and ``first`` each."""

    array: Array
    source: Array
    threads: np.ndarray
    group: np.ndarray
    at: np.ndarray
    first: np.ndarray
    inside: np.ndarray

    def some(self, which: np.ndarray) -> _Begun:
        """Those of some threads."""
        return _Begun(self.array, self.source, self.threads[which], self.group[which], self.at[which],
                      self.first[which], self.inside[which])


class _Marks:
    """The first and the second to touch each element, as numbers that grow from interval to interval: those below
    ``begin`` belong to an interval that is over."""

    def __init__(self, size: int):
        self.first = np.full(size, -1, np.int64)
        self.second = np.full(size, -1, np.int64)

    def other(self, at: np.ndarray, who: np.ndarray, begin: int) -> np.ndarray:
        """Somebody else who touched each element, or -1."""
        first, second = self.first[at], self.second[at]
        other = np.where((first >= begin) & (first != who), first, second)
        return np.where(other >= begin, other, -1)

    def add(self, at: np.ndarray, who: np.ndarray, begin: int) -> None:
        new = self.first[at] < begin
        self.first[at[new]] = who[new]
        more = self.first[at] != who
        self.second[at[more]] = who[more]


class _Watch:
    """Who read and who wrote each element of an array: which threads since the last barrier, or which workgroups."""

    def __init__(self, size: int, kind: str):
        self.kind = kind
        self.readers, self.writers = _Marks(size), _Marks(size)
        self.changed = np.full(size, -1, np.int64)  # the interval in which one writer stored two values

    def conflicts(self, at: np.ndarray, who: np.ndarray, begin: int,
                  same: np.ndarray | None) -> list[tuple[str, str, np.ndarray]]:
        """What each access does, what another did that it must not meet, and who that was (or -1)."""
        written = self.writers.other(at, who, begin)
        if same is None:
            return [("reads", "writes it", written)]
        differs = ~same | (self.changed[at] >= begin)
        return [("writes", "reads it", self.readers.other(at, who, begin)),
                ("writes", "writes another value", np.where(differs, written, -1))]

    def add(self, at: np.ndarray, who: np.ndarray, begin: int, same: np.ndarray | None) -> None:
        if same is None:
            self.readers.add(at, who, begin)
            return
        again = (self.writers.first[at] >= begin) & ~same
        self.changed[at[again]] = begin
        self.writers.add(at, who, begin)


def _held(s: Multiply) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each lane and each of its sums of a ``Multiply``: row, column and number of the sum."""
    thread = np.arange(MATRIX_LANES * s.together)[:, None]
    n = np.arange(s.rows * s.columns // (MATRIX_LANES * s.together))
    lane, j, e = thread % MATRIX_LANES, n // 4, n % 4
    row = j // (s.columns // 8) * 16 * s.together + thread // MATRIX_LANES * 16 + e // 2 * 8 + lane // 4
    column = j % (s.columns // 8) * 8 + lane % 4 * 2 + e % 2
    return row, column, n


def _bits(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).view(f"u{x.itemsize}")


def _place(memory: np.ndarray) -> tuple[int, int]:
    """Where an array's memory begins, and the size of its elements."""
    return memory.__array_interface__["data"][0], memory.itemsize


def _evaluate(e: Sym, values: Mapping[str, Many]) -> Many:
    """``symbolic.evaluate`` where variables have one value, or one a thread."""
    if not any(isinstance(values.get(str(v)), np.ndarray) for v in variables(e)):
        return evaluate(e, values)
    if e.kind == VAR:
        return values[str(e)]
    if e.kind == SUM:
        terms, constant = e.args
        return sum([c * _evaluate(t, values) for t, c in terms], constant)
    return _MEANING[e.kind](*[_evaluate(x, values) for x in children(e)])


def _truth(condition: Many) -> Many:
    return np.asarray(condition, np.int64)


_MEANING: dict[str, Callable[..., Many]] = {
    PRODUCT: lambda *factors: reduce(lambda a, b: a * b, factors),
    FLOORDIV: lambda a, b: a // b,
    MOD: lambda a, b: a % b,
    LESS: lambda a, b: _truth(a < b),
    EQUAL: lambda a, b: _truth(a == b),
    AND: lambda *parts: _truth(reduce(lambda a, b: (a != 0) & (b != 0), parts)),
    MIN: lambda *parts: reduce(np.minimum, parts),
    MAX: lambda *parts: reduce(np.maximum, parts),
}
