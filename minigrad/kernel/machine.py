"""Stage: the interpreter's one thread. In: statements of a kernel. Out: their effect on memory; every access is
checked.
Next: ``workgroup.py``, where many threads run side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.kernel.compute import apply, constant
from minigrad.kernel.ir import (
    Alloc,
    Apply,
    Array,
    Barrier,
    Const,
    Fold,
    For,
    If,
    Index,
    Kernel,
    Let,
    LetIndex,
    Load,
    Local,
    Prefetch,
    Statement,
    Store,
    Value,
)
from minigrad.kernel.walk import values
from minigrad.symbolic import Sym, evaluate


@dataclass(slots=True)
class Memory:
    """The elements of one array and, if they start unset, which are set. The own arrays of a workgroup's threads are
    two-dimensional: a row a thread."""

    array: Array
    elements: np.ndarray
    known: np.ndarray | None

    def check(self, at: int) -> None:
        if not 0 <= at < self.array.size:
            raise IndexError(f"{self.array.name}[{at}] is outside the array's 0..{self.array.size - 1}")


class Machine:
    """Runs the CPU form: one iteration of the parallel loop after another. Values are arrays of one element."""

    def __init__(self, kernel: Kernel):
        self.kernel = kernel
        self.memory: dict[int, Memory] = {}
        self.scalars: dict[int, np.ndarray] = {}
        self.locals: dict[str, np.ndarray] = {}
        self.indices: dict[str, Any] = {}
        self.orders: dict[int, list[Value]] = {}

    def iteration(self, at: int) -> None:
        """Run one iteration of the kernel's outermost loop."""
        self.indices[str(self.kernel.loop.var)] = at
        self.block(self.kernel.loop.body)

    def block(self, block: Sequence[Statement]) -> None:
        for s in block:
            getattr(self, "do_" + type(s).__name__.lower())(s)

    def do_for(self, s: For) -> None:
        for at in range(self.index(s.start), self.index(s.stop), s.step):
            self.indices[str(s.var)] = at
            self.block(s.body)

    def do_if(self, s: If) -> None:
        self.block(s.then if self.value(s.condition)[0] else s.otherwise)

    def do_let(self, s: Let) -> None:
        self.locals[s.name] = self.value(s.value)

    def do_letindex(self, s: LetIndex) -> None:
        at = int(self.value(s.value)[0])
        if not s.var.lo <= at <= s.var.hi:
            raise IndexError(f"index {s.var} is {at}, outside its promised range {s.var.lo}..{s.var.hi}")
        self.indices[str(s.var)] = at

    def do_store(self, s: Store) -> None:
        if s.guard is not None and not self.index(s.guard):
            return
        memory, at = self.memory[id(s.array)], self.index(s.index)
        memory.check(at)
        memory.elements[at:at + 1] = self.value(s.value)
        if memory.known is not None:
            memory.known[at] = True

    def do_alloc(self, s: Alloc) -> None:
        elements = np.zeros(s.array.size, s.array.dtype.numpy)
        if s.init is not None:
            elements[:] = constant(s.init)
        known = np.zeros(s.array.size, bool) if s.init is None else None
        self.memory[id(s.array)] = Memory(s.array, elements, known)

    def do_fold(self, s: Fold) -> None:
        memory = self.memory[id(s.array)]
        x = memory.elements.copy()
        if memory.known is not None and not memory.known.all():
            raise ValueError(f"Fold reads elements of {s.array.name} that were never set")
        while len(x) > 1:
            half = len(x) // 2
            x = apply(s.op, (x[:half], x[half:]), s.array.dtype)
        self.locals[s.name] = x

    def do_prefetch(self, s: Prefetch) -> None:
        self.memory[id(s.array)].check(self.index(s.index))

    def do_barrier(self, s: Barrier) -> None:
        raise ValueError(f"kernel {self.kernel.name} has a barrier, but no workgroup whose threads meet there")

    def index(self, e: Sym) -> Any:
        return evaluate(e, self.indices)

    def index_value(self, v: Index) -> np.ndarray:
        return np.array([self.index(v.index)], v.dtype.numpy)

    def value(self, root: Value) -> np.ndarray:
        order = self.orders.get(id(root))
        if order is None:
            order = self.orders[id(root)] = values([root])
        done: dict[int, np.ndarray] = {}
        for v in order:
            if isinstance(v, Apply):
                done[id(v)] = apply(v.op, [done[id(s)] for s in v.srcs], v.dtype)
            elif isinstance(v, Load):
                done[id(v)] = self.load(v)
            elif isinstance(v, Const):
                done[id(v)] = constant(v)
            elif isinstance(v, Local):
                done[id(v)] = self.locals[v.name]
            elif isinstance(v, Index):
                done[id(v)] = self.index_value(v)
            else:
                done[id(v)] = self.scalars[v.position]
        return done[id(root)]

    def load(self, v: Load) -> np.ndarray:
        if v.guard is not None and not self.index(v.guard):
            return np.zeros(1, v.array.dtype.numpy)
        memory, at = self.memory[id(v.array)], self.index(v.index)
        memory.check(at)
        if memory.known is not None and not memory.known[at]:
            raise ValueError(f"{v.array.name}[{at}] is read but was never set")
        return memory.elements[at:at + 1].copy()
