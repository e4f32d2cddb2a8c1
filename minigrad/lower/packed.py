"""Stage: lower, strategy ``contraction``. In: a block of an operand that was copied to scratch. Out: where its elements
are.
Next: ``tile.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minigrad.kernel.ir import Array, Load
from minigrad.lower.nest import ZERO
from minigrad.symbolic import Sym


def dot(at: Sequence[Sym], strides: Sequence[int]) -> Sym:
    """The place of a point."""
    return sum([v * n for v, n in zip(at, strides, strict=True)], ZERO)


@dataclass(frozen=True, slots=True)
class Packed:
    """A block of an operand in scratch: elements between neighbouring rows or columns, and between steps of each axis
    of K from the cut on; the row or column of the operand that it begins with; where the first element is."""

    array: Array
    across: int
    along: Sequence[int]
    origin: Sym
    offset: int = 0

    def at(self, position: Sym, k: Sequence[Sym]) -> Load:
        """The element of a row or column at a step of K."""
        return Load(self.array, position * self.across + dot(k, self.along) + self.offset)
