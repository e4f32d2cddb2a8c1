"""Stage: lower, strategy ``contraction``. In: an operand that is read at sums of axes of its own and axes that are
summed over, as a convolution reads its image. Out: its windows: the coordinates that it is a function of. A copy that
has each of them once is smaller than one for each pair, and a step along a window is a step in the copy.
Next: ``words.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minigrad.lower.axes import Axis
from minigrad.lower.body import Body, Traffic
from minigrad.symbolic import Sym, coefficient, substitute, variables


@dataclass(frozen=True, eq=False, slots=True)
class Window:
    """A coordinate ``axis`` + Σ factor · tap that an operand is read at. ``taps`` are the axes that are summed over,
    with their factors."""

    axis: Axis
    taps: tuple[tuple[Axis, int], ...]

    @property
    def low(self) -> int:
        """The least value of what the taps add."""
        return sum(min(0, factor * (k.size - 1)) for k, factor in self.taps)

    @property
    def extra(self) -> int:
        """How many more values the coordinate has than the axis."""
        return sum(abs(factor) * (k.size - 1) for k, factor in self.taps)

    def plain(self, coordinate: Sym) -> dict[Sym, Sym | int]:
        """The axis and the taps at a value of the coordinate, counted from 0."""
        return {self.axis.var: coordinate + self.low, **{k.var: 0 for k, _ in self.taps}}


def find_windows(body: Body, work: Traffic, own: Sequence[Axis], k: Sequence[Axis]) -> list[Window]:
    """The windows of an operand that reads ``work``, whose own axes are ``own``, along the axes ``k`` of the sum. No
    window where the operand depends on an axis in another way, too, or where neighbouring windows do not overlap."""
    indices = [body.index(e) for e in work.indices()]
    loads = body.read_at(work)
    if not loads or any(v in {g.var for g in body.gathers} for e in indices for v in variables(e)):
        return []
    found: dict[int, list[tuple[Axis, int]]] = {}
    for tap in k:
        step = coefficient(loads[0], tap.var)
        best: tuple[int, int] | None = None
        for i, axis in enumerate(own):
            along = coefficient(loads[0], axis.var)
            if step and along and step % along == 0:
                factor = step // along
                if abs(factor) * (tap.size - 1) < axis.size and (best is None or abs(factor) < abs(best[1])) and (
                        _one_sum(indices, axis, tap, factor)):
                    best = i, factor
        if best is not None:
            found.setdefault(best[0], []).append((tap, best[1]))
    return [Window(own[i], tuple(taps)) for i, taps in sorted(found.items())]


def _one_sum(indices: Sequence[Sym], axis: Axis, tap: Axis, factor: int) -> bool:
    """Whether the expressions depend on the two axes only through axis + factor · tap."""
    moved = {axis.var: axis.var - tap.var * factor}
    return all(tap.var not in variables(substitute(e, moved)) for e in indices)
