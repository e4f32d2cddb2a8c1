"""Stage: schedule. In: a node and the set of nodes that have memory. Out: what computing the node reads, and at which
coordinates: the facts that materialising and grouping decide on.
Next: ``materialise.py``."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.movement import Coordinate, source_index
from minigrad.ops import MOVEMENT, REDUCE, SCALAR_OPS, Op
from minigrad.symbolic import Sym, num, var


@dataclass
class Access:
    """What one store reads. ``coordinate``: its own variables, c0, c1, …; ``reads``: for each node with memory the
    coordinates it is read at; ``reduces``: for each reduction computed on the way the coordinates of its result;
    ``gathers``: for each GATHER on the way the coordinates of its index; ``scalars``: the SCALAR nodes; ``operations``:
    what its elementwise nodes are worth."""

    node: LazyBuffer
    coordinate: Coordinate
    reads: dict[LazyBuffer, list[Coordinate]] = field(default_factory=dict)
    reduces: dict[LazyBuffer, list[Coordinate]] = field(default_factory=dict)
    gathers: dict[LazyBuffer, list[Coordinate]] = field(default_factory=dict)
    scalars: list[LazyBuffer] = field(default_factory=list)
    operations: int = 0

    @property
    def code_length(self) -> int:
        """Instructions of its code, roughly: a loop over whole vectors and one over what is left; where it reduces,
        vectors side by side in both, and they are joined at the end."""
        return self.operations * (6 if self.reduces else 2) + 40 * len(self.reduces) + 10


def space_coordinate(shape: tuple[int, ...], prefix: str = "c") -> Coordinate:
    """One variable for each axis (axes of size 1 are always at 0)."""
    return tuple(num(0) if size == 1 else var(f"{prefix}{axis}", 0, max(0, size - 1))
                 for axis, size in enumerate(shape))


def access(root: LazyBuffer, stored: Container[LazyBuffer]) -> Access:
    """Follow index maps from each element of ``root`` to the memory it depends on.

    Nodes in ``stored`` (but for the root itself) and BUFFERs are memory. No recursion: a slice may be long.
    """
    result = Access(root, space_coordinate(root.shape))
    seen: set[tuple[LazyBuffer, Coordinate]] = set()
    stack: list[tuple[LazyBuffer, Coordinate]] = [(root, result.coordinate)]
    fresh = 0
    while stack:
        item = stack.pop()
        if item in seen:
            continue
        seen.add(item)
        node, index = item
        if node.op == Op.BUFFER or (node is not root and node in stored):
            result.reads.setdefault(node, []).append(index)
        elif node.op in MOVEMENT:
            source = node.srcs[0]
            stack.append((source, source_index(node.op, node.arg, source.shape, index)[0]))
        elif node.op in REDUCE:
            result.reduces.setdefault(node, []).append(index)
            stack.append((node.srcs[0], _reduce_coordinate(node, index)))
        elif node.op == Op.GATHER:
            k = node.arg
            rank = len(node.srcs[1].shape)
            result.gathers.setdefault(node, []).append(index[:rank])
            names = tuple(var(f"g{fresh + i}", 0, max(0, node.srcs[0].shape[i] - 1)) for i in range(k))
            fresh += k
            stack += [(i, index[:rank]) for i in node.srcs[1:]]
            stack.append((node.srcs[0], names + index[rank:]))
        elif node.op == Op.SCAN:
            stack.append((node.srcs[0], scanned(result)))
        elif node.op in (Op.SCATTER, Op.ASSIGN, Op.HOST, Op.COPY, Op.LOOP, Op.OUTPUT):
            for source in node.srcs:
                whole = space_coordinate(source.shape, f"w{fresh}_")
                fresh += 1
                stack.append((source, whole))
        elif node.op == Op.SCALAR:
            if node not in result.scalars:
                result.scalars.append(node)
        else:
            result.operations += _weight(node.op)
            stack += [(s, index if s.shape else ()) for s in node.srcs]
    return result


def _weight(op: str) -> int:
    """Operations that a node is worth, in time and in code: transcendental ops are polynomials in the end."""
    row = SCALAR_OPS.get(op)
    return row.cost if row is not None and row.cost > 8 else 1


def _reduce_coordinate(node: LazyBuffer, index: Coordinate) -> Coordinate:
    """The result's coordinate on the kept axes, a variable r0, r1, … on each reduced one."""
    shape = node.srcs[0].shape
    return tuple(var(f"r{axis}", 0, max(0, shape[axis] - 1)) if axis in node.arg and shape[axis] > 1 else i
                 for axis, i in enumerate(index))


def scanned(a: Access) -> Coordinate:
    """The coordinate at which a SCAN reads: all along its axis, at its own place on the others. That of any other
    node is its own."""
    if a.node.op != Op.SCAN:
        return a.coordinate
    return tuple(var(f"w{i}", x.lo, x.hi) if i == a.node.arg[1] and is_variable(x) else x
                 for i, x in enumerate(a.coordinate))


def is_variable(expression: Sym) -> bool:
    """Whether the expression is a plain variable."""
    return expression.kind == "var"
