"""Stage: lower, after ``body.py``. In: coordinate variables and the index expressions over them. Out: fewer, longer
loops that walk the same points: axes that lie one behind the other in all memory become one, an axis that is taken
apart by division becomes two.
Next: ``steps.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from minigrad.symbolic import Sym, coefficient, inside, linear, substitute, var, variables


@dataclass(frozen=True, eq=False, slots=True)
class Axis:
    """A loop variable that counts 0 … size-1."""

    var: Sym
    size: int


class Names:
    """Fresh names, unique in a kernel, and loop variables that bear them."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.count: dict[str, int] = {}
        self.taken = frozenset(taken)

    def fresh(self, stem: str) -> str:
        """``stem0``, ``stem1``, …

        >>> names = Names()
        >>> names.fresh("i"), names.fresh("i"), names.fresh("acc")
        ('i0', 'i1', 'acc0')
        """
        while True:
            n = self.count.get(stem, 0)
            self.count[stem] = n + 1
            name = f"{stem}{n}"
            if name not in self.taken:
                return name

    def var(self, stem: str, size: int) -> Sym:
        """A variable that counts 0 … size-1."""
        return var(self.fresh(stem), 0, max(0, size - 1))

    def axis(self, stem: str, size: int) -> Axis:
        """A loop variable for an axis of its own."""
        return Axis(self.var(stem, size), size)


class Axes:
    """Axes in loop order, outermost first, and what the original variables are in terms of them."""

    def __init__(self, names: Names, axes: Sequence[tuple[Sym, int]], indices: Sequence[Sym]) -> None:
        self.names = names
        self.list = [Axis(v, size) for v, size in axes if size != 1]
        self.mapping: dict[Sym, Sym] = {}
        self.indices = list(dict.fromkeys(indices))

    def split(self) -> None:
        """Take axes apart where index expressions divide them: with ``x = 8*y + z``, ``x//8`` is y and ``x % 8`` is
        z."""
        for _ in range(8):
            if not any(c.kind in ("floordiv", "mod") for c in inside(self.indices)):
                return
            found = self._divided()
            if found is None:
                return
            position, size = found
            axis = self.list[position]
            high = Axis(self.names.var("x", axis.size // size), axis.size // size)
            low = Axis(self.names.var("x", size), size)
            self.list[position:position + 1] = [high, low]
            self._replace({axis.var: high.var * size + low.var})

    def _divided(self) -> tuple[int, int] | None:
        for position, axis in enumerate(self.list):
            best = 0
            for e in self.indices:
                if axis.var in variables(e):
                    best = max(best, _divisor(e, axis))
            if best:
                return position, best
        return None

    def merge(self, count: int | None = None, start: int = 0) -> None:
        """Join neighbours among axes ``start`` … that every index expression walks as one."""
        position = start
        while position + 1 < (len(self.list) if count is None else start + count):
            a, b = self.list[position], self.list[position + 1]
            if all(_joins(e, a.var, b.var, b.size) for e in self.indices):
                joined = Axis(self.names.var("x", a.size * b.size), a.size * b.size)
                self.list[position:position + 2] = [joined]
                self._replace({a.var: joined.var // b.size, b.var: joined.var % b.size})
                if count is not None:
                    count -= 1
                position = max(start, position - 1)
            else:
                position += 1

    def order(self, weights: Sequence[Sym]) -> None:
        """Sort by the largest stride in ``weights``, largest first; stable, so equal axes stay."""
        def stride(axis: Axis) -> int:
            return max([abs(coefficient(e, axis.var) or 0) for e in weights], default=0)
        self.list.sort(key=lambda a: -stride(a))

    def _replace(self, changed: dict[Sym, Sym]) -> None:
        self.mapping = {v: substitute(e, changed) for v, e in self.mapping.items()}
        for v, e in changed.items():
            self.mapping.setdefault(v, e)
        self.indices = list(dict.fromkeys([substitute(e, changed) for e in self.indices]))


def _divisor(e: Sym, axis: Axis) -> int:
    """The largest size of a lower part by which a division or remainder in ``e`` takes the axis apart evenly, or 0."""
    best = 0
    for x in inside([e]):
        if x.kind in ("floordiv", "mod") and x.args[1].kind == "num":
            c = linear(x.args[0])[0].get(axis.var, 0)
            d = x.args[1].args[0]
            if c > 0 and d % c == 0 and 1 < d // c < axis.size and axis.size % (d // c) == 0:
                best = max(best, d // c)
    return best


def _joins(e: Sym, outer: Sym, inner: Sym, size: int) -> bool:
    low = coefficient(e, inner)
    return low is not None and coefficient(e, outer) == low * size
