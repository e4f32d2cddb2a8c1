"""Stage: schedule, below ``streaming.py``. In: a sum along an axis. Out: what can be taken out of it, and whether it is
relative to a maximum along that axis, so that it can be summed while the maximum is still growing: online softmax
(Milakov and Gimelshein, 2018).
Next: ``access.py``."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from minigrad.dtype import accumulator
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.graph.movement import Coordinate, source_index
from minigrad.ops import MOVEMENT, Op
from minigrad.schedule.access import space_coordinate
from minigrad.symbolic import Sym, num, var


@dataclass(eq=False)
class Anchor:
    """A maximum ``top`` along an axis, and the exponentials exp(x - h) of what it is the maximum of, ``powers``, each
    with its h, a function of the maximum. A walk computes exp(x - level) in their place, where level is the maximum so
    far, or 0 while that is -inf."""

    top: LazyBuffer
    powers: dict[LazyBuffer, LazyBuffer] = field(default_factory=dict)
    level: LazyBuffer | None = None

    @property
    def differences(self) -> set[LazyBuffer]:
        """x - h, of all powers."""
        return {node.srcs[0] for node in self.powers}

    def place(self, top: LazyBuffer) -> LazyBuffer:
        """Make the level of the new maximum."""
        nothing = top.like(-math.inf)
        self.level = top.binary(Op.EQ, nothing).where(top.like(0.0), top)
        return self.level

    def power(self, x: LazyBuffer) -> LazyBuffer:
        """exp(x - level)."""
        assert self.level is not None
        return x.binary(Op.SUB, self.level.expand(x.shape)).unary(Op.EXP)

    def is_level(self, h: LazyBuffer) -> bool:
        """Whether h is the level already, but for its name."""
        return (h.op == Op.WHERE and h.srcs[0].op == Op.EQ and h.srcs[0].srcs[0] is self.top and h.srcs[2] is self.top
                and _is_constant(h.srcs[0].srcs[1], -math.inf) and _is_constant(h.srcs[1], 0.0))


def _is_constant(node: LazyBuffer, value: float) -> bool:
    while node.op in MOVEMENT:
        node = node.srcs[0]
    return node.op == Op.CONST and node.arg == value


def anchor_of(top: LazyBuffer, exponentials: Sequence[LazyBuffer], reach: Mapping[LazyBuffer, int], own: int,
              mates: int) -> Anchor:
    """The exponentials that are relative to a maximum: ``own`` is its bit among the sinks, ``mates`` are those of all
    sinks of its products. None of a half type: each is rounded by itself."""
    anchor = Anchor(top)
    for node in exponentials if accumulator(top.dtype) is top.dtype else ():
        difference = node.srcs[0]
        if difference.op == Op.SUB and difference.srcs[0] is top.srcs[0] and difference.srcs[1].op == Op.EXPAND:
            h = difference.srcs[1].srcs[0]
            if h.shape == top.shape and reach[h] & mates == own:
                anchor.powers[node] = h
    return anchor


def degree(root: LazyBuffer, anchor: Anchor, narrow: Container[LazyBuffer]) -> int | None:
    """How many exponentials of the anchor each term of the value is multiplied by; None if terms differ, or if they are
    not multiplied. ``narrow``: nodes that no exponential is in."""
    found: dict[LazyBuffer, int | None] = {}
    for node in toposort([root], narrow):
        of = [found.get(s, 0) for s in node.srcs]
        made: int | None = None
        if node in anchor.powers:
            made = 1
        elif None not in of:
            numbers = [n for n in of if n is not None]
            if node.op == Op.MUL:
                made = sum(numbers)
            elif node.op == Op.DIV:
                made = numbers[0] if numbers[1] == 0 else None
            elif node.op in MOVEMENT or node.op in (Op.NEG, Op.CAST):
                made = numbers[0]
            elif node.op in (Op.ADD, Op.SUB):
                made = numbers[0] if numbers[0] == numbers[1] else None
            elif node.op == Op.WHERE and numbers[0] == 0:
                terms = {n for n, s in zip(numbers[1:], node.srcs[1:], strict=True) if not _is_constant(s, 0.0)}
                made = terms.pop() if len(terms) == 1 else 0 if not terms else None
            elif not any(numbers):
                made = 0
        found[node] = made
    return found.get(root, 0)


@dataclass(eq=False)
class Factor:
    """What a sum is multiplied or divided by (``op``) afterwards: ``node``, where sink's axis ``axes[i]`` is axis i of
    the node (None: it has size 1); ``power``: exp(level - node) is meant."""

    op: str
    node: LazyBuffer
    axes: tuple[int | None, ...]
    power: bool = False

    def beside(self, sink: LazyBuffer, new: Mapping[LazyBuffer, LazyBuffer], anchor: Anchor | None) -> LazyBuffer:
        """The factor in the shape of the sink."""
        value = new[self.node]
        if self.power:
            assert anchor is not None and anchor.level is not None
            value = anchor.level.binary(Op.SUB, value).unary(Op.EXP)
        order = sorted((a, i) for i, a in enumerate(self.axes) if a is not None)
        ones = [i for i, a in enumerate(self.axes) if a is None]
        value = value.permute(tuple([i for _, i in order] + ones))
        shape = [1] * len(sink.shape)
        for a, _ in order:
            shape[a] = sink.shape[a]
        return value.reshape(tuple(shape)).expand(sink.shape)


def reduced_coordinate(sink: LazyBuffer) -> Coordinate:
    """Of a sink's source: c0, c1, … on the axes that stay, r0, r1, … on those that it reduces."""
    shape = sink.srcs[0].shape
    index: list[Sym] = list(space_coordinate(shape))
    for a in sink.arg:
        index[a] = num(0) if shape[a] == 1 else var(f"r{a}", 0, shape[a] - 1)
    return tuple(index)


class Terms:
    """A sum, taken apart: ``source``: what is left to be summed, ``factors``: what was taken out. ``complete``: it is
    known what to multiply by if its exponentials are relative to another level."""

    def __init__(self, sink: LazyBuffer, anchor: Anchor | None, narrow: Container[LazyBuffer],
                 reach: Mapping[LazyBuffer, int], mates: int) -> None:
        self.anchor, self.narrow, self.reach, self.mates = anchor, narrow, reach, mates
        self.factors: list[Factor] = []
        self.source = sink.srcs[0]
        self.complete = anchor is None or all(anchor.is_level(h) for h in anchor.powers.values())
        if sink.op == Op.SUM:
            self.source = self._left(sink.srcs[0], reduced_coordinate(sink))

    def _left(self, node: LazyBuffer, index: Coordinate) -> LazyBuffer:
        """The node without the factors that are the same along the sum."""
        chain: list[tuple[LazyBuffer, int]] = []  # nodes that were passed, and which source leads on
        others: list[LazyBuffer | None] = []
        while True:
            way = self._way(node, index)
            if way is None:
                break
            at, other = way
            chain.append((node, at))
            others.append(other)
            below = node.srcs[at]
            if node.op in MOVEMENT:
                index = source_index(node.op, node.arg, below.shape, index)[0]
            node = below
        anchor = self.anchor
        if anchor is not None and node in anchor.powers and not anchor.is_level(anchor.powers[node]):
            self.complete = True
            self.factors.append(Factor(Op.MUL, anchor.powers[node], self._held(node, index), True))
        made = node
        for (above, at), taken in zip(reversed(chain), reversed(others), strict=True):
            if taken is not None:
                continue
            srcs = tuple([made if i == at else s for i, s in enumerate(above.srcs)])
            made = above if srcs == above.srcs else LazyBuffer(above.op, srcs, above.arg, above.shape, above.dtype,
                                                               above.device)
        return made

    def _held(self, power: LazyBuffer, index: Coordinate) -> tuple[int | None, ...]:
        """The sink's axes of the maximum that an exponential is relative to."""
        e = power.srcs[0].srcs[1]
        at = source_index(e.op, e.arg, e.srcs[0].shape, index)[0]
        return tuple([None if i.kind == "num" else int(str(i)[1:]) for i in at])

    def _way(self, node: LazyBuffer, index: Coordinate) -> tuple[int, LazyBuffer | None] | None:
        """Which source of a node to go on with, and the other one if it is taken out; None to stop here."""
        if node in self.narrow or (self.anchor is not None and node in self.anchor.powers):
            return None
        if node.op in MOVEMENT or node.op == Op.NEG:
            return 0, None
        if node.op not in (Op.MUL, Op.DIV):
            return None
        for at, other in ((0, node.srcs[1]), (1, node.srcs[0])):
            if other in self.narrow and node.srcs[at] not in self.narrow and (at == 0 or node.op == Op.MUL):
                base, axes = _base(other, index)
                if axes is None or not self.reach[other] & self.mates or accumulator(node.dtype) is not node.dtype:
                    return at, None
                self.factors.append(Factor(node.op, base, axes))
                return at, other
        wide = [at for at in (0, 1) if node.srcs[at] not in self.narrow]
        if node.op == Op.MUL and len(wide) == 2:
            # of two large factors one may hold something that can be taken out
            for at in wide:
                if self._divides(node.srcs[at]):
                    return at, None
        return None

    def _divides(self, node: LazyBuffer) -> bool:
        while node.op in MOVEMENT or node.op == Op.NEG:
            node = node.srcs[0]
        return node.op in (Op.DIV, Op.MUL) or (self.anchor is not None and node in self.anchor.powers)


def _base(node: LazyBuffer, index: Coordinate) -> tuple[LazyBuffer, tuple[int | None, ...] | None]:
    """What a node moves, and which axes of the sink its axes are; None if it is not one value along the sum, or if its
    axes are no axes of the sink."""
    while node.op in MOVEMENT:
        index = source_index(node.op, node.arg, node.srcs[0].shape, index)[0]
        node = node.srcs[0]
    axes: list[int | None] = []
    for i in index:
        if i.kind == "num":
            axes.append(None)
        elif i.kind == "var" and str(i).startswith("c"):
            axes.append(int(str(i)[1:]))
        else:
            return node, None
    return node, tuple(axes)
