"""Stage: schedule, between steps 1 and 2, after ``split.py``. In: a simplified graph. Out: the same values by another
graph, and walks: reductions over a large product, such as the scores of attention, that one kernel computes block by
block, so that the product is never whole in memory. Where several kernels need it, each computes it again.
Next: ``limits.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.graph.movement import Coordinate, source_index
from minigrad.graph.origins import follow
from minigrad.ops import ELEMENTWISE, MOVEMENT, REDUCE, Op
from minigrad.schedule.limits import has_grown, operand_size
from minigrad.schedule.relative import Anchor, Terms, anchor_of, degree, reduced_coordinate
from minigrad.target import Target

GROWTH_AGAIN = 4
"""The same, if several kernels compute it. Attention's gradients of heads of 64 take as long this way as by way of
memory at a length of 512, half as long with a causal mask; between two layers of a network nothing is so large."""

FIELD = ELEMENTWISE | {Op.RESHAPE, Op.PERMUTE, Op.EXPAND, Op.RANDOM_BITS}
"""What of the size of a large product is computed along with it, such as which weights dropout keeps."""

MADE = ELEMENTWISE | MOVEMENT
"""What may be made of sums in the kernel that sums them."""

PASSED = ELEMENTWISE | {Op.RESHAPE, Op.PERMUTE, Op.EXPAND}
"""What may stand between a large product and the reductions that take it."""


@dataclass(eq=False)
class Walk:
    """Reductions, ``sinks``, that one kernel computes while it walks along an axis of large products; ``nodes``: what
    it computes on the way for itself alone. ``top`` is the maximum that the sums of ``relative`` are relative to;
    ``kept``: of the nodes those that have to be stored before the next product is made; ``ends``: what is made of sinks
    and needs nothing that needs this walk."""

    sinks: dict[LazyBuffer, None] = field(default_factory=dict)
    nodes: set[LazyBuffer] = field(default_factory=set)
    top: LazyBuffer | None = None
    relative: set[LazyBuffer] = field(default_factory=set)
    kept: dict[LazyBuffer, None] = field(default_factory=dict)
    ends: set[LazyBuffer] = field(default_factory=set)

    def kind(self, sink: LazyBuffer) -> str:
        """What a sink's stage does on the walk."""
        return "top" if sink is self.top else "relative" if sink in self.relative else "sum"

    def moved(self, at: Mapping[LazyBuffer, LazyBuffer]) -> Walk:
        """The same of nodes that took the place of others."""
        return Walk({at[n]: None for n in self.sinks}, {at[n] for n in self.nodes if n in at},
                    None if self.top is None else at[self.top], {at[n] for n in self.relative},
                    {at[n]: None for n in self.kept if n in at}, {at[n] for n in self.ends if n in at})


def find_walks(outputs: Sequence[LazyBuffer], target: Target,
               names: dict[LazyBuffer, str]) -> tuple[list[LazyBuffer], list[Walk]]:
    """The graph with the sinks of each walk computed by nodes of its own. ``names`` gets the names of new nodes."""
    if target.workgroup:
        return list(outputs), []
    order = toposort(outputs)
    products = [n for n in order if _is_large(n, target)]
    if not products:
        return list(outputs), []
    return _Finder(outputs, order, products, names).run()


def _is_large(node: LazyBuffer, target: Target) -> bool:
    """Whether the node is a sum of products that is larger than its operands and the cache."""
    return node.op == Op.SUM and node.dtype.is_float and node.size * node.dtype.size > target.l2 and has_grown(node)


@dataclass(eq=False)
class _Part:
    """A walk in the making, over nodes of the old graph: ``bits`` of its sinks; ``axes``: for each product the axis
    that is walked; ``at``: the new nodes."""

    walk: Walk
    axes: dict[LazyBuffer, int]
    bits: int = 0
    anchor: Anchor | None = None
    at: dict[LazyBuffer, LazyBuffer] = field(default_factory=dict)


class _Finder:
    def __init__(self, outputs: Sequence[LazyBuffer], order: Sequence[LazyBuffer], products: Sequence[LazyBuffer],
                 names: dict[LazyBuffer, str]) -> None:
        self.outputs, self.order, self.names = outputs, order, names
        self.wide: dict[LazyBuffer, int] = {}  # bits of the products that a node is computed from, nothing summed
        self.narrow: set[LazyBuffer] = set()  # nodes that are computed from none
        self.reach: dict[LazyBuffer, int] = {}  # bits of the sinks that a node depends on
        self.sinks: dict[LazyBuffer, int] = {}
        self.number: dict[LazyBuffer, int] = {}
        self.parts: list[_Part] = []
        self.part_of: dict[LazyBuffer, _Part] = {}
        self.new: dict[LazyBuffer, LazyBuffer] = {}
        self._scan(set(products))

    def _scan(self, products: set[LazyBuffer]) -> None:
        """Which nodes are made of products, which reductions take them, and which products are needed whole."""
        self.refused = 0
        joined: list[int] = []
        for node in self.order:
            below = 0
            for s in node.srcs:
                below |= self.wide[s]
            self.wide[node] = 0
            reached = 0
            for s in node.srcs:
                reached |= self.reach[s]
            if below and node.op in PASSED:
                self.wide[node] = below
            elif below and node.op in REDUCE:
                self.sinks[node] = 1 << len(self.sinks)
                reached |= self.sinks[node]
            elif below:
                self.refused |= below
            elif node in products:
                self.number[node] = len(self.number)
                self.wide[node] = 1 << self.number[node]
            self.reach[node] = reached
            if not self.wide[node]:
                self.narrow.add(node)
            joined.append(below)
        for node in self.outputs:
            self.refused |= self.wide[node]
        self.families = _families(joined, len(self.number))
        self.field = self._fields()
        self.exponentials = [n for n in self.order if n.op == Op.EXP and self.wide[n]]

    def _fields(self) -> dict[LazyBuffer, int]:
        """Values as large as the products that are only read along with them, and the bits of these."""
        sizes = {n.size for n in self.number}
        read: dict[LazyBuffer, int] = {}
        whole = set(self.outputs)
        for node in reversed(self.order):
            if node.op not in FIELD or node.size not in sizes or node in whole or self.wide[node]:
                read.pop(node, None)
            bits = 0 if node in self.number else self.wide[node] or read.get(node, 0)
            for s in node.srcs:
                if bits:
                    read[s] = read.get(s, 0) | bits
                else:
                    whole.add(s)
        return {n: bits for n, bits in read.items() if n not in whole and n.op in FIELD and n.size in sizes
                and not self.wide[n]}

    def family(self, bits: int) -> int:
        """The products that are joined with these."""
        return next(f for f in self.families if f & bits)

    # --- which walk each sink belongs to

    def run(self) -> tuple[list[LazyBuffer], list[Walk]]:
        """Assign the sinks to walks, refuse what can't be walked along or isn't worth it, and make the new graph."""
        for sink, bit in self.sinks.items():
            bits = self.wide[sink.srcs[0]]
            if not bits & self.refused and not self._assign(sink, bit):
                self.refused |= self.family(bits)
        for family in self.families:
            parts = [p for p in self.parts if self._bits(p) & family]
            often = [sum(n in p.axes for p in parts) for n in self.number if 1 << self.number[n] & family]
            if len(parts) > 1 and any(
                    n.size < GROWTH_AGAIN * operand_size(n) for n in self.number if 1 << self.number[n] & family) and (
                    max(often) > 1):
                self.refused |= family
            if family & self.refused:
                self.refused |= family
        self.parts = [p for p in self.parts if not self._bits(p) & self.refused]
        self.part_of = {n: p for n, p in self.part_of.items() if p in self.parts}
        return self._rebuild() if self.parts else (list(self.outputs), [])

    def _bits(self, part: _Part) -> int:
        return sum(1 << self.number[n] for n in part.axes)

    def _assign(self, sink: LazyBuffer, bit: int) -> bool:
        """Whether a walk was found or made that can compute the sink."""
        axes = self._walked(sink)
        if axes is None:
            return False
        for part in self.parts:
            shared = [n for n in axes if n in part.axes]
            if not shared or any(part.axes[n] != axes[n] for n in shared):
                continue
            anchor = part.anchor
            if anchor is not None and (degree(sink.srcs[0], anchor, self.narrow) != 1
                                       or not self._terms(sink, anchor).complete):
                anchor = None
            if not self._needs(sink, anchor) & part.bits:
                break
        else:
            part, anchor = _Part(Walk(), {}), None
            self.parts.append(part)
        part.bits |= bit
        part.axes.update(axes)
        self.part_of[sink] = part
        if anchor is not None:
            part.walk.relative.add(sink)
        elif sink.op == Op.MAX and part.anchor is None:
            anchor = anchor_of(sink, self.exponentials, self.reach, bit, self._mates(sink))
            part.anchor = anchor if anchor.powers else None
        return True

    def _mates(self, sink: LazyBuffer) -> int:
        """The bits of all sinks of the same products."""
        family = self.family(self.wide[sink.srcs[0]])
        return sum(b for s, b in self.sinks.items() if self.wide[s.srcs[0]] & family)

    def _terms(self, sink: LazyBuffer, anchor: Anchor | None) -> Terms:
        return Terms(sink, anchor, self.narrow, self.reach, self._mates(sink))

    def _walked(self, sink: LazyBuffer) -> dict[LazyBuffer, int] | None:
        """For each product that the sink takes the axis it is summed over; None if not all of them are read once, at
        the place of the result."""
        source = sink.srcs[0]
        reduced = [a for a in sink.arg if source.shape[a] > 1]
        if len(reduced) != 1:
            return None
        axes: dict[LazyBuffer, int] = {}
        for product, index in self._coordinates(source, reduced_coordinate(sink)):
            if product in axes:
                return None
            along = [a for a, i in enumerate(index) if i.kind != "num"]
            if any(index[a].kind != "var" for a in along) or len({index[a] for a in along}) < len(along):
                return None
            if len(along) != sum(s > 1 for s in product.shape):
                return None
            walked = [a for a in along if str(index[a]) == f"r{reduced[0]}"]
            if len(walked) != 1:
                return None
            axes[product] = walked[0]
        return axes

    def _coordinates(self, source: LazyBuffer, index: Coordinate) -> list[tuple[LazyBuffer, Coordinate]]:
        """Where the products below a node are read."""
        found: list[tuple[LazyBuffer, Coordinate]] = []
        seen: set[tuple[LazyBuffer, Coordinate]] = set()
        stack = [(source, index)]
        while stack:
            item = stack.pop()
            if item in seen or not self.wide[item[0]]:
                continue
            seen.add(item)
            node, index = item
            if node in self.number:
                found.append(item)
            elif node.op in MOVEMENT:
                stack.append((node.srcs[0], source_index(node.op, node.arg, node.srcs[0].shape, index)[0]))
            else:
                stack += [(s, index if s.shape else ()) for s in node.srcs]
        return found

    def _needs(self, sink: LazyBuffer, anchor: Anchor | None) -> int:
        """The sinks that have to be whole before this one begins. What a sum is divided by is none of them, nor is a
        running maximum that it is relative to."""
        needs = 0
        for node in toposort([self._terms(sink, anchor).source], self.narrow):
            for s in node.srcs:
                if s in self.narrow and not (anchor is not None and node in anchor.differences):
                    needs |= self.reach[s]
        return needs

    # --- the new graph

    def _rebuild(self) -> tuple[list[LazyBuffer], list[Walk]]:
        known = {part: part.bits for part in self.parts}
        for sink, part in self.part_of.items():
            known[part] |= self.reach[sink]
        for node in self.order:
            if node in self.part_of:
                self.new[node] = self._sink(node, self.part_of[node])
            elif (bits := self.wide[node] or self.field.get(node, 0)) == 0 or bits & self.refused:
                self.new[node] = self._same(node, [self.new[s] for s in node.srcs])
                for one, bits in known.items() if self.reach[node] and node.op in MADE else ():
                    if not self.reach[node] & ~bits and all(
                            self.new[s] in one.walk.ends for s in node.srcs if self.reach[s] & one.bits):
                        one.walk.ends.add(self.new[node])
        return [self.new[o] for o in self.outputs], [p.walk for p in self.parts]

    def _same(self, node: LazyBuffer, srcs: Sequence[LazyBuffer]) -> LazyBuffer:
        return node if tuple(srcs) == node.srcs else self._made(node, srcs)

    def _made(self, node: LazyBuffer, srcs: Sequence[LazyBuffer]) -> LazyBuffer:
        follow(node)
        made = LazyBuffer(node.op, tuple(srcs), node.arg, node.shape, node.dtype, node.device)
        if node in self.names:
            self.names[made] = self.names[node]
        return made

    def _sink(self, sink: LazyBuffer, part: _Part) -> LazyBuffer:
        """A sink over nodes of its walk, times what was taken out of the sum."""
        anchor = part.anchor if sink in part.walk.relative else None
        part.walk.relative.discard(sink)
        terms = self._terms(sink, anchor)
        made = self._made(sink, [self._copy(terms.source, part)])
        part.walk.sinks[made] = None
        if anchor is not None:
            part.walk.relative.add(made)
        elif part.anchor is not None and part.anchor.top is sink:
            part.walk.top = made
            part.walk.nodes.add(part.anchor.place(made))
        result = made
        for factor in terms.factors:
            result = result.binary(factor.op, factor.beside(sink, self.new, anchor))
            part.walk.ends.add(result)
        part.walk.ends.add(result)
        return result

    def _copy(self, root: LazyBuffer, part: _Part) -> LazyBuffer:
        """What a sum is taken of, by nodes of this walk alone."""
        for node in toposort([root], self.new):
            if node in part.at:
                continue
            follow(node)
            if node not in self.wide:  # a sum without some of its factors
                self.wide[node] = 0
                for s in node.srcs:
                    self.wide[node] |= self.wide[s]
            if part.walk.top is not None and part.anchor is not None and node in part.anchor.powers:
                made = part.anchor.power(part.at[node.srcs[0].srcs[0]])
            else:
                made = self._made(node, [part.at.get(s) or self.new[s] for s in node.srcs])
            part.at[node] = made
            part.walk.nodes.add(made)
            products = [s for s in node.srcs if self.wide[s]]
            if node.op in ELEMENTWISE and len({self.wide[s] for s in products}) > 1:
                for s in products[:-1]:  # a stage computes one product, and reads the others
                    part.walk.kept[_below_movement(part.at[s])] = None
        return part.at[root]


def _below_movement(node: LazyBuffer) -> LazyBuffer:
    while node.op in MOVEMENT:
        node = node.srcs[0]
    return node


def _families(joined: Sequence[int], count: int) -> list[int]:
    """Sets of products, as bits, that nothing joins with another one."""
    families = [1 << i for i in range(count)]
    for bits in set(joined):
        if bits & (bits - 1):
            touched = [f for f in families if f & bits]
            families = [f for f in families if not f & bits] + [sum(touched)]
    return families
