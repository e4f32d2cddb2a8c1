"""Stage: tests run kernels with it. In: a kernel and NumPy arrays. Out: the arrays, changed in place: what every
renderer's text must compute, bit by bit (NaNs are all alike). It is slow and checks every access.
Next: ``lower/``, or ``render/`` for the fast way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from minigrad.dtype import DType, float32, float64
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
    Scalar,
    Statement,
    Store,
    Value,
)
from minigrad.kernel.walk import values
from minigrad.ops import SCALAR_OPS, Op, cast
from minigrad.symbolic import Sym, evaluate

_FLOAT32_END = 2**128 - 2**103  # from here on, the nearest float32 is infinite


def interpret(kernel: Kernel, arrays: Mapping[str, np.ndarray] | Sequence[np.ndarray],
              scalars: Sequence[int | float] = (), begin: int = 0, end: int | None = None) -> None:
    """Run iterations ``begin`` to ``end`` (default: all) of the kernel on ``arrays``, by name or in order.

    ``IndexError`` for an access outside an array (or a run-time index outside its promised range),
    ``ValueError`` for arrays that don't fit the kernel or a read of memory that was never set.

    >>> from minigrad.symbolic import num, var
    >>> i, a = var("i", 0, 3), Array("a", float32, 4, written=True)
    >>> body = (Store(a, i, Apply("MUL", (Load(a, i), Const(2.0, float32)), float32)),)
    >>> memory = np.arange(4, dtype="float32")
    >>> interpret(Kernel("double", (a,), (), For(i, num(0), num(4), 1, "parallel", body)), [memory])
    >>> memory.tolist()
    [0.0, 2.0, 4.0, 6.0]
    """
    given = [arrays[a.name] for a in kernel.arrays] if isinstance(arrays, Mapping) else list(arrays)
    if len(given) != len(kernel.arrays) or len(scalars) != len(kernel.scalars):
        raise ValueError(f"kernel {kernel.name} takes {len(kernel.arrays)} arrays and {len(kernel.scalars)} scalars, "
                         f"got {len(given)} and {len(scalars)}")
    machine = _Machine(kernel)
    for array, memory in zip(kernel.arrays, given):
        if memory.dtype != array.dtype.numpy or memory.size < array.size or not memory.flags.c_contiguous:
            raise ValueError(f"kernel {kernel.name}: array {array.name} should be {array.size} contiguous "
                             f"{array.dtype.name}, got {memory.dtype} {memory.shape}")
        machine.memory[id(array)] = _Memory(array, memory.reshape(-1), None)
    for scalar, number in zip(kernel.scalars, scalars):
        machine.scalars[scalar.position] = scalar_value(scalar, number)
        if scalar.dtype.is_int:
            machine.indices[scalar.name] = int(number)
    loop = kernel.loop
    for at in range(begin, evaluate(loop.stop, machine.indices) if end is None else end):
        machine.indices[str(loop.var)] = at
        machine.block(loop.body)


def scalar_value(scalar: Scalar, number: int | float) -> np.ndarray:
    """What a kernel sees of a run-time number: 8 bytes, an int64 or a float64, cast to the scalar's dtype."""
    wide = np.array([number], np.float64 if scalar.dtype.is_float else np.int64)
    return cast(wide, scalar.dtype)


def apply(op: str, operands: Sequence[np.ndarray], dtype: DType) -> np.ndarray:
    """One scalar op on arrays of equal dtype, as a kernel computes it: the half types compute in float32 and
    round once at the end, FMA rounds once, MAXIMUM and MINIMUM of equal numbers give the first.

    >>> float(apply("FMA", [np.float32([1 + 2**-12])] * 2 + [np.float32([-1])], float32)[0]) == 2**-11 + 2**-24
    True
    """
    if op == Op.CAST:
        return cast(operands[0], dtype)
    if op == Op.BITCAST:
        return np.ascontiguousarray(operands[0]).view(dtype.numpy)
    if op == Op.WHERE:
        return np.where(*operands)
    source = operands[-1].dtype
    if (dtype.is_float and dtype.size == 2) or (source.itemsize == 2 and source.kind not in "iu"):
        wide = apply(op, [o.astype(np.float32) for o in operands], float32 if dtype.is_float else dtype)
        return cast(wide, dtype)
    if op == Op.FMA:
        return _fma(*operands)
    if op in (Op.MAXIMUM, Op.MINIMUM) and dtype.is_float:
        a, b = operands
        with np.errstate(invalid="ignore"):
            second = (b > a if op == Op.MAXIMUM else b < a) | (b != b)
        return np.where(second, b, a)
    return np.asarray(SCALAR_OPS[op].numpy(*operands)).astype(dtype.numpy, copy=False)


def _fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    out = np.empty_like(a)
    with np.errstate(all="ignore"):
        for at, (x, y, z) in enumerate(zip(a.tolist(), b.tolist(), c.tolist())):
            if np.isinf(z) and np.isfinite((x, y)).all():
                out[at] = z  # x*y may overflow on the way, but does not count
            elif np.isfinite((x, y, z)).all() and x and y:
                exact = Fraction(x) * Fraction(y) + Fraction(z)
                out[at] = _round(exact, a.dtype) if exact else 0.0
            else:
                out[at] = np.float64(x) * y + z
    return out


def _round(exact: Fraction, dtype: np.dtype) -> Any:
    """The nearest float32 or float64 (ties to even); ±inf beyond the largest."""
    try:
        near = float(exact)
    except OverflowError:
        return np.inf if exact > 0 else -np.inf
    if dtype == np.float64:
        return near
    single = np.float32(near)
    if near == exact:
        return single
    if not np.isfinite(single):
        return single if abs(exact) >= _FLOAT32_END else np.copysign(np.finfo(np.float32).max, single)
    # float64 rounded first: where that made a tie between two float32, step to the side the exact value is on
    toward = np.inf if exact > Fraction(near) else -np.inf
    other = np.nextafter(single, np.float32(toward))
    if np.isfinite(other) and Fraction(float(single)) + Fraction(float(other)) == 2 * Fraction(near):
        return max(single, other) if toward > 0 else min(single, other)
    return single


@dataclass(slots=True)
class _Memory:
    """The elements of one array and, if they start unset, which are set."""

    array: Array
    elements: np.ndarray
    known: np.ndarray | None

    def check(self, at: int) -> None:
        if not 0 <= at < self.array.size:
            raise IndexError(f"{self.array.name}[{at}] is outside the array's 0..{self.array.size - 1}")


class _Machine:
    def __init__(self, kernel: Kernel):
        self.kernel = kernel
        self.memory: dict[int, _Memory] = {}
        self.scalars: dict[int, np.ndarray] = {}
        self.locals: dict[str, np.ndarray] = {}
        self.indices: dict[str, int] = {}
        self.orders: dict[int, list[Value]] = {}

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
        self.memory[id(s.array)] = _Memory(s.array, elements, known)

    def do_fold(self, s: Fold) -> None:
        memory = self.memory[id(s.array)]
        x = memory.elements.copy()
        if memory.known is not None and not memory.known.all():
            raise ValueError(f"Fold reads elements of {s.array.name} that were never set")
        while len(x) > 1:
            half = len(x) // 2
            x = apply(s.op, (x[:half], x[half:]), s.array.dtype)
        self.locals[s.name] = x

    def do_barrier(self, s: Barrier) -> None:
        raise ValueError(f"kernel {self.kernel.name} has a barrier; the interpreter runs one thread at a time")

    def index(self, e: Sym) -> int:
        return evaluate(e, self.indices)

    def value(self, root: Value) -> np.ndarray:
        """An array of one element."""
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
                done[id(v)] = np.array([self.index(v.index)], v.dtype.numpy)
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


def constant(v: Const) -> np.ndarray:
    """A constant as an array of one element."""
    if v.dtype.is_float and v.dtype is not float64:
        return cast(np.array([v.value], np.float64), v.dtype)
    return np.array([v.value], v.dtype.numpy)
