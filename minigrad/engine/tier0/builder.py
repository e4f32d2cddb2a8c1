"""Stage: realise, tier 0. In: a pending graph. Out: its calls of generic kernels, one a node, in order. This runs once
for a graph, about a microsecond or two a node: elementwise ops on plain memory, which are nearly all nodes of a long
graph, are handled in the loop itself.
Next: ``composite.py``.

A value is a *reference*, an int: the number of a memory times 2^40 plus a byte offset, for elements in row-major order
without gaps; or a ``View`` of a reference: with strides, or with one element that stands for all (``strides`` None);
or a ``Product`` that no memory holds yet. Memory 0 holds constants and run-time numbers, 8 bytes each; 1 the numbers
0, 1, 2 …; 2 the status words; then come the leaves, then what the calls make."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np

from minigrad.dtype import DType, accumulator
from minigrad.engine.tier0.library import library
from minigrad.engine.tier0.names import BLOCK, Name, tile_of
from minigrad.engine.tier0.views import Strides, merged, simplest
from minigrad.engine.walk import Pending
from minigrad.graph.lazy import LazyBuffer, contiguous_strides
from minigrad.ops import KERNEL_OPS, MOVEMENT, Op, cast
from minigrad.runtime.allocator import LINE
from minigrad.runtime.device import get_device

SHIFT = 40
NUMBERS, IOTA, STATUS, LEAVES = 0, 1, 2, 3
MOST_AXES = 8
MOST_MEMORIES = 1 << (63 - SHIFT)


class Declined(Exception):
    """Tier 0 has no way to run this graph; tier 1 has."""


class View(NamedTuple):
    """Elements ``strides`` apart, from a reference on; ``strides`` None: one element, for any shape."""

    ref: int
    strides: Strides | None


class Product(NamedTuple):
    """``a * b`` of two views, for a sum that needs no memory for it."""

    a: View
    b: View


Value = int | View | Product
_ELEMENTWISE = {name: row.arity for name, row in KERNEL_OPS.items() if name not in (Op.CAST, Op.BITCAST, Op.POW)}
FOREVER = 1 << 60
"""The last use of what is never to be overwritten."""
EXPONENTS = frozenset((0.0, 1.0, -1.0, 2.0, 3.0, 4.0, 0.5, -0.5))
"""Constant exponents of floats for which a power is a product, quotient or root (``lower/passes/power.py``)."""


class Builder:
    """The calls made so far: ``kernels[i]`` is the number of call i's generic kernel, ``records[i]`` says which
    run-time numbers it takes; its arrays are the next of ``cells``, as references. ``handlers``: what to do for each
    op that is not simply elementwise."""

    handlers: ClassVar[dict[str, Any]] = {}

    def __init__(self, pending: Pending) -> None:
        self.pending = pending
        self.kernels: list[int] = []
        self.records: list[int] = []
        self.cells: list[int] = []
        self.nbytes: list[int] = [0] * (LEAVES + len(pending.leaves))
        self.numbers: dict[tuple[tuple[int, ...], int, int], int] = {}
        self.of_size: dict[int, int] = {}
        self.map_of: dict[Any, int] = {}
        self.copies: dict[Any, int] = {}
        self.ways: dict[Any, list[tuple[int, int, int, int]]] = {}
        self.rows: dict[Any, tuple[int, int]] = {}
        self.fixed: dict[Any, int] = {}
        self.fixed_numbers: list[tuple[Any, DType]] = []
        self.exponents: set[int] = set()
        self.iota = 0
        self.checks: list[LazyBuffer] = []
        self.constant_at = {c: i for i, c in enumerate(pending.constants)}
        self.depth = 0
        self.watching = False
        self.last_use: dict[LazyBuffer, int] = {}
        self.place: dict[LazyBuffer, int] = {}
        self.alive: dict[int, int] = {}
        self.outputs: dict[LazyBuffer, list[Any]] = {}
        self.templates: dict[Any, Any] = {}

    def sources(self) -> dict[LazyBuffer, Any]:
        """The values of the graph's constants, run-time numbers and leaves."""
        pending = self.pending
        sizes: dict[tuple[int, ...], int] = {}
        at: dict[LazyBuffer, Any] = {}
        for i, node in enumerate(pending.constants):
            n = sizes.get(node.shape)
            if n is None:
                n = sizes[node.shape] = node.size
            at[node] = constant(8 * i, n)
        for i, node in enumerate(pending.scalars, len(pending.constants)):
            at[node] = 8 * i
        for i, node in enumerate(pending.leaves, LEAVES):
            at[node] = i << SHIFT if node.arg is None else as_value(i << SHIFT, node.arg, node.shape)
            if not node.size:
                at[node] = 0
        return at

    # --- the loop

    def run(self, order: Sequence[LazyBuffer], at: dict[LazyBuffer, Any]) -> None:
        """Give every node of ``order`` a value, in ``at``."""
        arity, map_of, of_size = _ELEMENTWISE, self.map_of, self.of_size
        kernels, records, cells, nbytes = self.kernels.append, self.records.append, self.cells, self.nbytes
        keep, sizes = self.keep, dict[tuple[int, ...], int]()
        handlers, watching, last_use, alive = self.handlers, self.watching, self.last_use, self.alive
        for node in order:
            operands = arity.get(node.op)
            if operands is None:
                if node not in at:
                    handlers[node.op](self, node, at)
                    if watching:
                        keep(node, at[node])
                continue
            shape = node.shape
            n = sizes.get(shape)
            if n is None:
                n = sizes[shape] = math.prod(shape)
            if not n:
                at[node] = 0
                continue
            srcs = node.srcs
            s = srcs[-1]
            same = 0
            refs: Sequence[int] | None = None
            if operands == 2:
                a, b = at[srcs[0]], at[s]
                if a.__class__ is int:
                    if b.__class__ is int:
                        refs = a, b
                    elif b.__class__ is View and b.strides is None:
                        same, refs = 2, (a, b.ref)
            elif operands == 1:
                a = at[s]
                if a.__class__ is int:
                    refs = (a,)
            else:
                a, b, c = at[srcs[0]], at[srcs[1]], at[s]
                if a.__class__ is int and b.__class__ is int and c.__class__ is int:
                    refs = a, b, c
            if refs is None:
                made = self.spread(node, at)
                if made is None:
                    continue
                same, refs = made
            key = (node.op, s.dtype, same)
            kernel = map_of.get(key)
            if kernel is None:
                kernel = map_of[key] = self.number(_map_name(node, same))
            record = of_size.get(n)
            if record is None:
                record = of_size[n] = self.blocks(n)
            out = len(nbytes) << SHIFT
            nbytes.append(n * node.dtype.size)
            kernels(kernel)
            records(record)
            cells.append(out)
            cells += refs
            at[node] = out
            if watching:
                alive[out >> SHIFT] = FOREVER if self.depth else last_use.get(node, FOREVER)

    def spread(self, node: LazyBuffer, at: dict[LazyBuffer, Any]) -> tuple[int, Sequence[int]] | None:
        """Operands of an elementwise op that are not all plain memory: those that are one element for all, as bits, and
        the references. None: the node has its value already: all of its operands are one element, or it is a product
        that a sum may take, or it was computed by rows."""
        srcs = node.srcs
        refs: list[int] = []
        same = views = 0
        for i, s in enumerate(srcs):
            value = at[s]
            if value.__class__ is int:
                refs.append(value)
            elif value.__class__ is View and value.strides is None:
                refs.append(value.ref)
                same |= 1 << i
            else:
                refs.append(-1)
                views += 1
        if not views and same == (1 << len(srcs)) - 1:
            out = self.new(node.dtype.size)
            self.elementwise(_map_name(node, 0), 1, [out, *refs])
            at[node] = View(out, None)
        elif views == 2 and node.op == Op.MUL and all([_repeats(at[s], node.shape) for s in srcs]):
            at[node] = Product(at[srcs[0]], at[srcs[1]])
        elif not views or not self._by_rows(node, at):
            if views:
                refs = [self.plain(s, at) if ref < 0 else ref for s, ref in zip(srcs, refs, strict=True)]
            return same, refs
        if self.watching:
            self.keep(node, at[node])
        return None

    def _by_rows(self, node: LazyBuffer, at: dict[LazyBuffer, Any]) -> bool:
        """Compute an elementwise op on views that have at most two axes, so that none need be copied: rows whose
        elements are neighbours or one element. False if they have more."""
        refs: list[int] = []
        key: list[Any] = [node.op, node.srcs[-1].dtype, node.shape]
        for s in node.srcs:
            value = at[s]
            if value.__class__ is Product:
                value = self.plain(s, at)
            if value.__class__ is int:
                refs.append(value)
                key.append(())
            else:
                refs.append(value.ref)
                key.append(value.strides)
        form = tuple(key)
        how = self.rows.get(form)
        if how is None:
            how = self.rows[form] = self._rows(node, key[3:])
        if how[0] < 0:
            return False
        at[node] = self.new(node.size * node.dtype.size)
        self.kernels.append(how[0])
        self.records.append(how[1])
        self.cells += (at[node], *refs)
        return True

    def _rows(self, node: LazyBuffer, operands: Sequence[Strides | None]) -> tuple[int, int]:
        """The kernel and the record of an elementwise op by rows; -1 if it cannot be done so. Of the operands, their
        strides; (): in row-major order."""
        whole = contiguous_strides(node.shape)
        axes, (_, *steps) = merged(node.shape, [whole, *[(0,) * len(whole) if x is None else x or whole
                                                         for x in operands]])
        if len(axes) > 2 or any([s[-1] not in (0, 1) for s in steps]):
            return -1, 0
        same = sum([1 << i for i, s in enumerate(steps) if not s[-1]])
        rows, starts = (axes[0], [s[0] for s in steps]) if len(axes) > 1 else (1, [0] * len(steps))
        _, op, dtypes, to, _, _ = _map_name(node, 0)
        return self.number(("rows", op, dtypes, to, same)), self.record((axes[-1], *starts), rows, axes[-1])

    # --- calls

    def number(self, name: Name) -> int:
        """The number of a generic kernel."""
        return library().number(name)

    def record(self, numbers: tuple[int, ...], iterations: int, each: int) -> int:
        """Run-time numbers of a call, its iterations, and the elements of one."""
        key = (numbers, iterations, each)
        found = self.numbers.get(key)
        if found is None:
            found = self.numbers[key] = len(self.numbers)
        return found

    def new(self, nbytes: int) -> int:
        """Memory for a result."""
        self.nbytes.append(nbytes)
        return (len(self.nbytes) - 1) << SHIFT

    def call(self, name: Name, numbers: tuple[int, ...], iterations: int, each: int, refs: Sequence[int]) -> None:
        """One call of a generic kernel."""
        self.kernels.append(self.number(name))
        self.records.append(self.record(numbers, iterations, each))
        self.cells += refs

    def blocks(self, n: int) -> int:
        """The record of a call of an elementwise kernel on ``n`` elements."""
        return self.record((n,), -(-n // BLOCK), min(n, BLOCK))

    def elementwise(self, name: Name, n: int, refs: Sequence[int]) -> None:
        """One call of a generic kernel that takes ``n`` elements in blocks."""
        self.kernels.append(self.number(name))
        self.records.append(self.blocks(n))
        self.cells += refs

    def constant(self, value: Any, dtype: DType) -> int:
        """A number that is the same in every run."""
        key = (repr(value), dtype)
        found = self.fixed.get(key)
        if found is None:
            self.fixed_numbers.append((value, dtype))
            found = self.fixed[key] = 8 * (
                len(self.pending.constants) + len(self.pending.scalars) + len(self.fixed_numbers) - 1)
        return found

    # --- memory

    def plain(self, node: LazyBuffer, at: dict[LazyBuffer, Any]) -> int:
        """The node's value in row-major order without gaps: where it lies already, or copied there."""
        value = at[node]
        if value.__class__ is int:
            return value
        if value.__class__ is Product:
            ref = self.multiplied(value, node)
        else:
            ref = self.copied(value, node.shape, node.dtype.size)
        at[node] = ref
        if self.watching:
            self.keep(node, ref)
        return ref

    def multiplied(self, value: Product, node: LazyBuffer) -> int:
        """A product in memory after all. ``node`` may be the FUNCTION that the product is the result of."""
        refs = [self.copied(v, node.shape, node.dtype.size) for v in value]
        out = self.new(node.size * node.dtype.size)
        name = node.dtype.name
        self.elementwise(("map", Op.MUL, (name, name), name, 0, None), node.size, [out, *refs])
        return out

    def view(self, node: LazyBuffer, at: dict[LazyBuffer, Any]) -> tuple[int, Strides]:
        """The node's value as a reference and strides."""
        value = at[node]
        if value.__class__ is Product:
            value = self.plain(node, at)
        if value.__class__ is int:
            return value, contiguous_strides(node.shape)
        return value.ref, (0,) * len(node.shape) if value.strides is None else value.strides

    def copied(self, value: View, shape: tuple[int, ...], size: int, to: Strides | None = None) -> int:
        """A view's elements in row-major order, or ``to`` apart. A copy serves all who need the same one, unless memory
        may change."""
        if to == contiguous_strides(shape):
            to = None
        key = (value.ref, shape, value.strides, size, to)
        found = None if self.watching else self.copies.get(key)
        if found is None:
            where = None
            if to is not None:
                where = self.new(size * (1 + sum([(n - 1) * step for n, step in zip(shape, to, strict=True)])))
            found = self.copies[key] = self.copy(where, to, value.ref, value.strides, shape, size)
        return found

    def copy(self, to: int | None, to_strides: Strides | None, source: int, strides: Strides | None,
             shape: tuple[int, ...], size: int) -> int:
        """A call that copies elements of ``size`` bytes from a view to a view. To None: new memory, which is returned.
        Strides None: in row-major order where it writes, one element for all where it reads."""
        key = (to_strides, strides, shape, size)
        how = self.ways.get(key)
        if how is None:
            how = self.ways[key] = self._way(
                contiguous_strides(shape) if to_strides is None else to_strides,
                (0,) * len(shape) if strides is None else strides, shape, size)
        if to is None:
            to = self.new(math.prod(shape) * size)
        for kernel, record, to_offset, offset in how:
            self.kernels.append(kernel)
            self.records.append(record)
            self.cells += (to + to_offset, source + offset)
        return to

    def _way(self, to_strides: Strides, strides: Strides, shape: tuple[int, ...],
             size: int) -> list[tuple[int, int, int, int]]:
        """The calls of a copy: the kernel, the record, and where they begin to write and to read, in bytes."""
        axes, (steps, from_steps) = merged(shape, (to_strides, strides))
        if not axes:
            axes, steps, from_steps = [1], [1], [1]
        line = LINE // size
        if len(axes) < 2 or axes[-1] < 2 * line or (steps[-1], from_steps[-1] == 1, from_steps[-2]) != (1, False, 1):
            return [self._copy(axes, steps, from_steps, size, 0)]
        # It swaps axes. Cache line by cache line of the result, so that the lines it reads are used up while they are
        # in the cache.
        count, rest = divmod(axes[-1], line)

        def cut(of: list[int], width: int) -> list[int]:
            return [*of[:-2], width * of[-1], *of[-2:]]

        made = [self._copy([*axes[:-2], count, axes[-2], line], cut(steps, line), cut(from_steps, line), size, 0)]
        if rest:
            made.append(self._copy([*axes[:-1], rest], steps, from_steps, size, count * line))
        return made

    def _copy(self, axes: list[int], steps: list[int], from_steps: list[int], size: int,
              start: int) -> tuple[int, int, int, int]:
        """One call, from position ``start`` of the last axis on."""
        dense = steps[-1] == 1, from_steps[-1] == 1
        if dense[0] and len(axes) == 1:
            axes, steps, from_steps = [1, *axes], [0, *steps], [0, *from_steps]
        if len(axes) > MOST_AXES:
            raise Declined(f"a copy over {len(axes)} axes")
        return (self.number(("copy", size, len(axes), *dense)),
                self.record((*axes[1:], *steps, *from_steps), axes[0], math.prod(axes[1:])),
                start * steps[-1] * size, start * from_steps[-1] * size)

    def fill(self, to: int, value: int, count: int, size: int) -> None:
        """A call that writes the element at ``value`` ``count`` times."""
        dtype = f"uint{8 * size}"
        self.elementwise(("map", Op.CONTIGUOUS, (dtype,), dtype, 1, None), count, [to, value])

    # --- who still reads what: only graphs that write into memory (ASSIGN, SCATTER) need to know

    def watch(self, order: Sequence[LazyBuffer], results: Sequence[LazyBuffer]) -> None:
        """Find out where each node is used last, if any node could write into the memory of another."""
        if not any([node.op in (Op.ASSIGN, Op.SCATTER) for node in order]):
            return
        last: dict[LazyBuffer, int] = {}
        for i, node in enumerate(order):
            for s in node.srcs:
                last[s] = i
        last.update(dict.fromkeys(results, FOREVER))
        self.watching, self.last_use = True, last
        self.place = {node: i for i, node in enumerate(order)}

    def keep(self, node: LazyBuffer, value: Any) -> None:
        """The memory of ``value`` is read until ``node`` has been used."""
        if value.__class__ is int:
            memory = value >> SHIFT
        elif value.__class__ is View:
            memory = value.ref >> SHIFT
        else:
            self.keep(node, value.a)
            self.keep(node, value.b)
            return
        until = FOREVER if self.depth else self.last_use.get(node, FOREVER)
        if until > self.alive.get(memory, 0):
            self.alive[memory] = until

    def writable(self, value: Any, node: LazyBuffer, base: LazyBuffer) -> bool:
        """Whether ``node`` may write into the memory of its source ``base``: nobody reads it later, and it is our own,
        whole and plain."""
        if self.depth or value.__class__ is not int or value & ((1 << SHIFT) - 1):
            return False
        memory = value >> SHIFT
        return (memory >= LEAVES + len(self.pending.leaves) and self.nbytes[memory] == base.size * base.dtype.size
                and self.alive.get(memory, FOREVER) <= self.place[node])

    def exponent(self, node: LazyBuffer) -> float | None:
        """The number that a constant exponent is, if the compiler has another form for it; None for others."""
        casts: list[DType] = []
        while node.op in MOVEMENT - {Op.PAD} or node.op == Op.CAST:
            if node.op == Op.CAST:
                casts.append(node.dtype)
            node = node.srcs[0]
        if node.op != Op.CONST:
            return None
        if node in self.constant_at:
            self.exponents.add(self.constant_at[node])
        number = np.asarray(node.arg).astype(node.dtype.numpy)
        for dtype in reversed(casts):
            number = cast(number, dtype)
        return number.item() if number.item() in EXPONENTS else None


@lru_cache(64)
def tile(device: str, dtype: DType) -> tuple[int, int]:
    """Rows and columns of the tile of a matrix product."""
    target = get_device(device).target
    height, vectors = tile_of(target)
    return height, vectors * target.lanes(accumulator(dtype).size)


def as_value(ref: int, strides: Strides, shape: tuple[int, ...]) -> Any:
    """A view in its simplest form."""
    steps, plain = simplest(strides, shape)
    return ref if plain else View(ref, steps)


def constant(ref: int, n: int) -> Value:
    """The value of ``n`` elements that are one number."""
    return ref if n == 1 else View(ref, None) if n else 0


def _map_name(node: LazyBuffer, same: int) -> Name:
    """The generic kernel of an elementwise node; bit i of ``same``: operand i is one element for all."""
    return "map", node.op, tuple([s.dtype.name for s in node.srcs]), node.dtype.name, same, None


def _repeats(value: Any, shape: tuple[int, ...]) -> bool:
    """Whether a value is a view that repeats elements along some axis."""
    return value.__class__ is View and value.strides is not None and 0 in [
        step for size, step in zip(shape, value.strides, strict=True) if size > 1]
