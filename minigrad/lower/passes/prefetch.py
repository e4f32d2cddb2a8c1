"""Stage: lower, a pass, the last. In: a kernel. Out: loops that go over a row of memory several times also fetch the
rows that come next. Requires: nothing. Guarantees: it computes what it did.
Next: ``legalise.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from minigrad.dtype import int64
from minigrad.kernel.ir import Apply, Array, For, If, Index, Kernel, LetIndex, Load, Prefetch, Statement
from minigrad.kernel.walk import bodies_of, names_bound, statements, values, values_of
from minigrad.symbolic import Sym, coefficient, linear, minimum, num, var, variables
from minigrad.target import Target

ZERO = num(0)

ROWS = (1 / 4, 4)
"""Rows that are fetched are so many times as long as what is fetched ahead, at least and at most. A machine looks far
enough ahead to overlap the walks over shorter ones (a layer norm of rows of 2 KB took 1.1 times as long with fetches);
longer ones took as long with them as without."""

BUSY = 128
"""Operations for each element of a row from which arithmetic, not memory, is waited for."""


TINY = 64
"""A walk that does less than this part of a loop's work fetches nothing: the rest of a row, which fills no vectors."""


def prefetch(kernel: Kernel, target: Target) -> Kernel:
    """Memory is fetched while a row is worked on.

    A loop that reads a row twice, such as that of a softmax, asks memory for nothing while it goes over the row again:
    that is in the cache. So each of its walks fetches a share of a row that comes later, the larger the more it
    computes. On one core of an AMD EPYC two walks over 4096 rows of 4096 float32 took 1.8 ms with that, without 3.1 ms,
    and one walk 1.7 ms; a softmax 5.2 ms instead of 6.8 ms. ``python -m tools.bench --only "softmax|norm|var"``
    measures it, also for another ``Target.fetched``.
    """
    if not target.fetched or not any(a.size * a.dtype.size > target.l2 for a in kernel.arrays):
        return kernel
    worker = _Fetcher(kernel, target)
    loop = worker.loop(kernel.loop)
    return kernel if loop is kernel.loop else replace(kernel, loop=loop)


@dataclass
class _Walk:
    """A statement of a loop: the serial loops of it that are one in the other, what they count and how far, and
    operations of all its iterations."""

    statement: Statement
    work: int
    inner: For | None = None
    position: Sym = ZERO
    iterations: int = 1
    fetches: list[Statement] = field(default_factory=list)


@dataclass
class _Row:
    """What an iteration of a loop reads of an array: elements ``first`` to ``last`` from ``step`` times its variable
    plus ``base`` on."""

    array: Array
    step: int
    base: Sym
    first: int
    last: int

    @property
    def size(self) -> int:
        return self.last + 1 - self.first

    @property
    def nbytes(self) -> int:
        return self.size * self.array.dtype.size


class _Fetcher:
    def __init__(self, kernel: Kernel, target: Target) -> None:
        self.target = target
        self.names = {*names_bound(kernel), *(a.name for a in kernel.arrays), *(s.name for s in kernel.scalars)}

    def block(self, block: tuple[Statement, ...]) -> tuple[Statement, ...]:
        made = [self.statement(s) for s in block]
        return block if all(a is b for a, b in zip(made, block, strict=True)) else tuple(made)

    def statement(self, s: Statement) -> Statement:
        if isinstance(s, For) and s.kind == "serial":
            return self.loop(s)
        if isinstance(s, If):
            then, otherwise = self.block(s.then), self.block(s.otherwise)
            same = then is s.then and otherwise is s.otherwise
            return s if same else replace(s, then=then, otherwise=otherwise)
        return s

    def loop(self, s: For) -> For:
        """The loop, and those in it; rows are those of the innermost loop that has some. A loop whose strategy fetches
        what it reads stays as it is."""
        if any(isinstance(x, Prefetch) for x in statements((s,))):
            return s
        body = self.block(s.body)
        if body is not s.body:
            return replace(s, body=body)
        walks = [walk for x in s.body if (walk := _walk(x)) is not None]
        total = sum(w.work for w in walks)
        walks = [w for w in walks if TINY * w.work >= total]
        rows = [] if len(walks) < 2 else _rows(s, self.target.l2)
        nbytes, elements = sum(r.nbytes for r in rows), sum(r.size for r in rows)
        shortest, longest = [n * self.target.fetched for n in ROWS]
        if not shortest <= nbytes <= longest or total > BUSY * elements:
            return s
        ahead = -(-self.target.fetched // nbytes)
        if s.var.hi - s.var.lo < 2 * ahead:
            return s
        return self.fetching(s, walks, rows, total, ahead)

    def fetching(self, s: For, walks: Sequence[_Walk], rows: Sequence[_Row], total: int, ahead: int) -> For:
        """The loop with a share of the rows, ``ahead`` iterations later, fetched in each of its walks."""
        name = next(n for i in range(len(self.names) + 1) if (n := f"next{i}_") not in self.names)
        self.names.add(name)
        shares = [_deal(row.size, walks, total) for row in rows]
        beyond = any(sum(n * w.iterations for n, w in zip(runs, walks, strict=True)) > row.size
                     for runs, row in zip(shares, rows, strict=True))
        later = minimum(s.var + ahead, s.var.hi - beyond)
        at = var(name, later.lo, later.hi)
        for row, runs in zip(rows, shares, strict=True):
            _fetch(row, at, walks, runs, self.target.line // row.array.dtype.size)
        body: list[Statement] = [LetIndex(at, Index(later, int64))]
        of = {id(w.statement): w for w in walks}
        for x in s.body:
            walk = of.get(id(x))
            if walk is None:
                body.append(x)
            elif walk.inner is None:
                body += [*walk.fetches, x]
            else:
                body.append(_inside(x, walk.inner, walk.fetches))
        return replace(s, body=tuple(body))


def _deal(size: int, walks: Sequence[_Walk], total: int) -> list[int]:
    """How many elements of a row an iteration of each walk fetches: as they have work, and the last what is left."""
    runs: list[int] = []
    left = size
    for walk in walks[:-1]:
        runs.append(min(round(size * walk.work / total), left) // walk.iterations)
        left -= runs[-1] * walk.iterations
    return [*runs, -(-left // walks[-1].iterations)]


def _fetch(row: _Row, at: Sym, walks: Sequence[_Walk], runs: Sequence[int], line: int) -> None:
    """Fetch a row, a run of it in each iteration of the walks."""
    place = at * row.step + row.base + row.first
    for walk, run in zip(walks, runs, strict=True):
        walk.fetches += [Prefetch(row.array, place + walk.position * run + n) for n in range(0, run, line)]
        place = place + run * walk.iterations


def _inside(s: Statement, inner: For, fetches: Sequence[Statement]) -> Statement:
    """A statement with fetches at the begin of loop ``inner`` in it."""
    if s is inner:
        return replace(s, body=(*fetches, *inner.body))
    assert isinstance(s, For)
    return replace(s, body=tuple([_inside(x, inner, fetches) if isinstance(x, For) and _holds(x, inner) else x
                                  for x in s.body]))


def _holds(s: For, inner: For) -> bool:
    return any(x is inner for x in statements((s,)))


def _walk(s: Statement) -> _Walk | None:
    """What a loop of serial loops, or one that is written out, does; None of another statement."""
    if not isinstance(s, For):
        return None
    walk = _Walk(s, _work((s,)))
    inside: For | None = s
    while inside is not None:
        if inside.kind == "serial":
            walk.position = walk.position * _extent(inside) + (inside.var - inside.start)
            walk.inner, walk.iterations = inside, walk.position.hi + 1
        loops = [x for x in inside.body if isinstance(x, For) and x.kind == "serial"]
        inside = max(loops, key=lambda x: _work((x,)), default=None)
    return walk


def _extent(s: For) -> int:
    """Iterations of a loop, at most."""
    stops = s.stop.args if s.stop.kind == "min" else (s.stop,)
    return max(1, min((stop - s.start).hi for stop in stops))


def _work(block: Iterable[Statement]) -> int:
    """Operations and loads of a block, those of its loops as often as they are done."""
    total = 0
    for s in block:
        total += sum(isinstance(v, (Apply, Load)) for v in values(values_of(s)))
        inside = sum(_work(body) for body in bodies_of(s))
        total += inside * _extent(s) if isinstance(s, For) else inside
    return total


def _rows(s: For, cached: int) -> list[_Row]:
    """What an iteration of a loop reads in one piece of arrays of more than ``cached`` bytes, no part of which the one
    before reads."""
    found: dict[tuple[int, int, Sym], _Row] = {}
    for x in s.body:
        bound = {f.var for f in statements((x,)) if isinstance(f, For)}
        for v in values([v for f in statements((x,)) for v in values_of(f)]):
            if not isinstance(v, Load) or v.guard is not None or v.array.scope != "global" or (
                    v.array.size * v.array.dtype.size <= cached):
                continue
            step = coefficient(v.index, s.var)
            if step is None or step <= 0:
                continue
            terms, first = linear(v.index - s.var * step)
            base, inside = num(0), num(0)
            for term, count in terms.items():
                if bound.isdisjoint(variables(term)):
                    base = base + term * count
                else:
                    inside = inside + term * count
            row = _Row(v.array, step, base, inside.lo + first, inside.hi + first)
            known = found.setdefault((id(v.array), step, base), row)
            known.first, known.last = min(known.first, row.first), max(known.last, row.last)
    return [r for r in found.values() if r.size <= r.step]
