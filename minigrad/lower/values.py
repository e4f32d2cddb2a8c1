"""Stage: lower. In: a node and a coordinate of it. Out: its value as an expression of loads: the coordinate is pushed
from the store down through elementwise and movement nodes, and movement disappears on the way.
Next: ``scalar.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from minigrad.dtype import accumulator, bool_, int64
from minigrad.errors import VerifyError
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.movement import Coordinate, flatten, source_index
from minigrad.kernel.ir import Array, Index, Load, Local, Scalar, Value
from minigrad.lower.axes import Names
from minigrad.lower.scalar import bitcast, constant, convert, fold, random_bits, rounded, unconverted
from minigrad.ops import MOVEMENT, REDUCE, SCALAR_OPS, Op
from minigrad.symbolic import Sym, both, num

ZERO = num(0)
Key = tuple[LazyBuffer, Coordinate, "Sym | None"]


@dataclass(frozen=True, eq=False, slots=True)
class Place:
    """Where a node's value lies: element ``c`` is ``array[sum(c[i]*strides[i]) - origin]``."""

    array: Array
    strides: tuple[int, ...]
    origin: Sym = ZERO

    def at(self, index: Coordinate) -> Sym:
        """The position of a coordinate."""
        position = num(0)
        for i, stride in zip(index, self.strides, strict=True):
            if stride:
                position = position + i * stride
        return position - self.origin


@dataclass(frozen=True, eq=False, slots=True)
class Reduction:
    """A reduction read at one coordinate: ``value`` over ``vars`` (of ``sizes``) combined by ``combine``; where it is
    used, ``local`` stands for it."""

    node: LazyBuffer
    vars: tuple[Sym, ...]
    sizes: tuple[int, ...]
    value: Value
    local: Local


@dataclass(frozen=True, eq=False, slots=True)
class Gathered:
    """An index that comes from memory: ``var`` is ``value`` clamped to 0 … size-1; out of range, ``status[check]`` is
    set to ``position``."""

    var: Sym
    value: Value
    size: int
    check: int | None
    position: int
    guard: Sym | None


@dataclass
class Values:
    """The values of nodes at coordinates. The same node at the same coordinate is the same object. ``walked``: an axis
    that reductions reduce, of which they take a block only: it, where the block begins, and how long it is."""

    names: Names
    places: Mapping[LazyBuffer, Place]
    scalars: Mapping[LazyBuffer, Scalar]
    checks: Mapping[LazyBuffer, int]
    computed: frozenset[LazyBuffer] = frozenset()
    walked: tuple[int, Sym, int] | None = None
    memo: dict[Key, Value] = field(default_factory=dict)
    domains: dict[tuple[int, ...], tuple[Sym, ...]] = field(default_factory=dict)
    reductions: dict[Key, Reduction] = field(default_factory=dict)
    gathers: dict[Key, tuple[Gathered, ...]] = field(default_factory=dict)

    def value(self, node: LazyBuffer, index: Coordinate, guard: Sym | None = None) -> Value:
        """The value of ``node`` at ``index``; where ``guard`` is 0 nothing is read and the value does not matter.

        The half types are computed in float32 and rounded at each op: a value's dtype is ``accumulator(node.dtype)``.
        """
        memo = self.memo
        root = self._settle(node, index, guard)
        stack: list[tuple[Key, tuple[Key, ...] | None]] = [(root, None)]
        while stack:
            key, sources = stack[-1]
            if key in memo:
                stack.pop()
                continue
            if sources is None:
                sources = self._sources(key)
                missing = [s for s in sources if s not in memo]
                if missing:
                    stack[-1] = (key, sources)
                    stack += [(s, None) for s in reversed(missing)]
                    continue
            memo[key] = self._build(key, [memo[s] for s in sources])
            stack.pop()
        return memo[root]

    def in_memory(self, node: LazyBuffer) -> bool:
        """Whether the node is loaded, not computed."""
        return node in self.places and node not in self.computed

    def _settle(self, node: LazyBuffer, index: Coordinate, guard: Sym | None) -> Key:
        """Follow movement nodes that need no guard of their own."""
        while not self.in_memory(node):
            if node.op in MOVEMENT and node.op != Op.PAD:
                source = node.srcs[0]
                index, _ = source_index(node.op, node.arg, source.shape, index)
                node = source
            elif node.op == Op.CONTIGUOUS:
                node = node.srcs[0]
            else:
                if not node.shape:
                    index = ()
                break
        return node, index, guard

    def _sources(self, key: Key) -> tuple[Key, ...]:
        node, index, guard = key
        if self.in_memory(node) or not node.srcs:
            return ()
        if node.op == Op.PAD:
            source = node.srcs[0]
            at, inside = source_index(Op.PAD, node.arg, source.shape, index)
            if inside is None:
                return (self._settle(source, at, guard),)
            inside = inside if guard is None else both(guard, inside)
            return () if inside.hi == 0 else (self._settle(source, at, inside),)
        if node.op in REDUCE:
            return (self._settle(node.srcs[0], self._domain(node, index), guard),)
        if node.op == Op.GATHER:
            found = self._gather(key)
            if any(g.size == 0 for g in found):
                return ()
            return (self._settle(node.srcs[0], tuple(g.var for g in found) + index[len(node.srcs[1].shape):], guard),)
        if node.op == Op.RANDOM_BITS:
            return (self._settle(node.srcs[0], (), guard),)
        return tuple([self._settle(s, index, guard) for s in node.srcs])

    def _build(self, key: Key, srcs: Sequence[Value]) -> Value:
        node, index, guard = key
        op, dtype = node.op, accumulator(node.dtype)
        if self.in_memory(node):
            place = self.places[node]
            return convert(Load(place.array, place.at(index), guard), dtype)
        if op == Op.BITCAST:
            return bitcast(srcs[0], node.srcs[0].dtype, node.dtype)
        if op in SCALAR_OPS:
            return fold(op, tuple(srcs), node.dtype)
        if op == Op.CONST:
            return constant(node.arg, node.dtype)
        if op == Op.SCALAR:
            # a run-time number arrives in full precision: round it to a half as a constant is
            return convert(convert(self.scalars[node], node.dtype), dtype)
        if op == Op.INDEX:
            return Index(index[node.arg], int64)
        if op == Op.RANDOM_BITS:
            return random_bits(srcs[0], flatten(index, node.shape), node.size)
        if op == Op.PAD:
            return self._padded(node, index, srcs, guard)
        if op in REDUCE:
            sizes, variables = self._axes(node)
            local = Local(self.names.fresh(op.lower()), dtype)
            self.reductions[key] = Reduction(node, variables, sizes, srcs[0], local)
            return rounded(local, node.dtype)
        if op == Op.GATHER:
            return srcs[0] if srcs else constant(0, node.dtype)
        raise VerifyError(f"{op} of shape {node.shape} has no memory in this kernel, and only memory can hold its "
                          "value")

    def _padded(self, node: LazyBuffer, index: Coordinate, srcs: Sequence[Value], guard: Sym | None) -> Value:
        zero = constant(False if node.dtype is bool_ else 0, node.dtype)
        if not srcs:
            return zero
        inside = source_index(Op.PAD, node.arg, node.srcs[0].shape, index)[1]
        value = srcs[0]
        load = unconverted(value)
        if inside is None or (isinstance(load, Load) and load.guard is not None):  # then it is 0 outside already
            return value
        return fold(Op.WHERE, (Index(inside, bool_), value, zero), node.dtype)

    # --- reductions

    def _axes(self, node: LazyBuffer) -> tuple[tuple[int, ...], tuple[Sym, ...]]:
        """The sizes of the reduced axes longer than 1, and a variable for each; the same for reductions over one
        domain."""
        shape = node.srcs[0].shape
        block = None if self.walked is None else self.walked[0]
        sizes = tuple([self.walked[2] if self.walked and a == block else shape[a] for a in node.arg if shape[a] != 1])
        if sizes not in self.domains:
            self.domains[sizes] = tuple([self.names.var("r", s) for s in sizes])
        return sizes, self.domains[sizes]

    def _domain(self, node: LazyBuffer, index: Coordinate) -> Coordinate:
        variables = iter(self._axes(node)[1])
        at = list(index)
        for a in node.arg:
            at[a] = next(variables) if node.srcs[0].shape[a] != 1 else num(0)
            if self.walked is not None and a == self.walked[0]:
                at[a] = at[a] + self.walked[1]
        return tuple(at)

    # --- gathers

    def _gather(self, key: Key) -> tuple[Gathered, ...]:
        if key in self.gathers:
            return self.gathers[key]
        node, index, guard = key
        at = index[:len(node.srcs[1].shape)]
        found = []
        for position, source in enumerate(node.srcs[1:], 1):
            size = node.srcs[0].shape[position - 1]
            name = self.names.var("g", size)
            value = self.value(source, at, guard)
            found.append(Gathered(name, value, size, self.checks.get(node), position, guard))
        self.gathers[key] = tuple(found)
        return self.gathers[key]
