"""Stage: lower, strategy ``contraction``. In: a product, its axes classed. Out: sizes: the register tile, blocks of
columns, rows and K, and which of them an iteration of the parallel loop takes.
Next: ``contraction.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import prod

from minigrad.kernel.ir import Value
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body, Traffic
from minigrad.lower.scalar import convert
from minigrad.lower.steps import Space, Step, Steps
from minigrad.lower.values import Reduction
from minigrad.lower.windows import Window, find_windows
from minigrad.lower.words import Word, find_word
from minigrad.symbolic import Sym, coefficient, variables
from minigrad.target import BLOCK_K, Target, k_block

COPY = 8
"""Products that copying an element of a packed operand costs: measured with a 3 × 3 convolution of 64 channels of
26 × 26; ``python -m tools.bench --only cnn_step`` has such rows."""

AMORTISED = 48
"""Rows that a packed tile of the other operand is used for, at least: copying an element costs about as much as four
products of it."""

SINGLY = 4
"""How many times dearer an element is to copy that is no part of a vector."""

TASKS = 24
"""Iterations of the parallel loop that are enough for any machine of a desk."""

WIDE_ENOUGH = 1 << 19
"""Products that one iteration of the parallel loop is worth."""


STEP = 3.0
"""What a step of K costs beside its products, counted in them: fetching the tile of an operand from the second cache.
Measured with products of 1024 and 2048 on AVX-512: tiles of 4 × 64 reach 0.76 of the peak, those of 6 × 64 and 12 × 32
0.88; ``python -m tools.bench --only matmul``."""

@dataclass(eq=False)
class Operand:
    """One factor: its value, what it reads, the axes that only it depends on, and whether tiles of it are copied to
    scratch before they are used; ``unguarded``: its value where nothing is skipped, if that needs fewer guards."""

    value: Value
    work: Traffic
    own: list[Axis] = field(default_factory=list)
    packed: bool = False
    unguarded: Value | None = None

    def indices(self, body: Body) -> list[Sym]:
        """Its index expressions over the body's merged axes."""
        return [body.index(e) for e in self.work.indices()]

    @property
    def arithmetic(self) -> int:
        """Scalar operations of an element beside its loads."""
        return self.work.cost - len(self.work.loads)

    def loads(self, body: Body) -> list[Sym]:
        """Where it reads memory."""
        return body.read_at(self.work)


@dataclass(eq=False)
class Tiling:
    """The sizes of a contraction. ``rows`` × ``vectors`` registers make a tile; ``columns`` are the axes that the
    vectors run along, flattened, of which the first is cut into blocks of ``panel``. With ``windows``, the copy of the
    second operand has each place that they cover once, and the columns run through the places past an axis's end, too,
    in vain. The K axes before ``cut`` are outer loops, that axis is cut into blocks of ``depth``. A parallel iteration
    takes ``row_tiles`` × ``column_tiles`` tiles. A step of K does nothing for a whole tile where one of ``skips``
    fails. ``partial``: where another condition fails, one factor is 0 but not the other: a product with what is not
    finite is NaN and has to be left out afterwards. With a ``word``, neighbours along the last axis of K are one word
    of a packed operand, and their products are added by one instruction. ``conditional``: not all products count."""

    body: Body
    target: Target
    reduction: Reduction
    a: Operand
    b: Operand
    m: Axis
    columns: list[Axis]
    outer: list[Axis]
    k: list[Axis]
    lanes: int
    skips: Sequence[Sym] = ()
    partial: bool = False
    rows: int = 1
    vectors: int = 1
    panel: int = 0
    cut: int = 0
    depth: int = 1
    row_tiles: int = 1
    column_tiles: int = 1
    windows: Sequence[Window] = ()
    word: Word | None = None
    conditional: bool = False

    @property
    def n(self) -> Axis:
        """The axis whose neighbours lie in the lanes."""
        return self.columns[-1]

    @property
    def width(self) -> int:
        """Columns of a tile."""
        return self.vectors * self.lanes

    @property
    def pitches(self) -> list[int]:
        """How many columns neighbours along each of the axes of the columns are apart."""
        found = [1]
        for axis in reversed(self.columns[1:]):
            found.insert(0, found[0] * (axis.size + self.extra(axis)))
        return found

    def extra(self, axis: Axis) -> int:
        """Places of an axis that windows cover beyond its own."""
        return sum(w.extra for w in self.windows if w.axis is axis)

    @property
    def extent(self) -> int:
        """Columns in all, or in a panel."""
        if not self.panel:
            return self.n.size
        sizes = [self.panel, *(a.size for a in self.columns[1:])]
        return sum((size - 1) * pitch for size, pitch in zip(sizes, self.pitches, strict=True)) + 1

    @property
    def copied(self) -> int:
        """Elements of the packed operand for the columns of a panel, or all, and all of K."""
        if not self.windows:
            return self.extent * prod(a.size for a in self.k) if self.b.packed else 0
        taps = [k for w in self.windows for k, _ in w.taps]
        places = (self.panel + self.extra(self.columns[0])) * self.pitches[0]
        return places * prod(a.size for a in self.k if a not in taps)

    @property
    def scratch(self) -> int:
        """Bytes that the sums of a panel and what its windows cover take, at a time."""
        elements = self.copied // -(-self.k[self.cut].size // self.depth) + min(self.m.size, 64) * self.extent
        return elements * self.reduction.value.dtype.size

    @property
    def k_sizes(self) -> list[int]:
        """Elements of packed operands along each axis of K, from the cut on."""
        sizes = [self.depth, *(a.size for a in self.k[self.cut + 1:])]
        return [*sizes[:-1], -(-sizes[-1] // self.word.count)] if self.word else sizes

    def summed(self, total: Value) -> dict[str, Value]:
        """The sum that the body is given, which has been added up in ``total``."""
        return {self.reduction.local.name: convert(total, self.reduction.value.dtype)}

    def cost(self) -> float:
        """Vector products for all columns, and what copying costs, counted in them."""
        often = prod(x.size for x in self.b.own if x not in self.columns)
        if self.panel:
            often *= -(-self.columns[0].size // self.panel)
        return often * (prod(a.size for a in self.k) * best_tile(self)[0] + COPY * self.copied / self.lanes)

    @property
    def depths(self) -> int:
        """Blocks of the cut axis."""
        return -(-self.k[self.cut].size // self.depth)

    def steps(self, space: Space) -> Steps:
        """The same in steps, but for how tiles are divided among parallel iterations."""
        n = space.name(self.n)
        found = [Step("multiply", (space.name(self.m), self.rows, n, self.width)), Step("lanes", (n, self.lanes))]
        if len(self.columns) > 1:
            found.append(Step("join", tuple([space.name(x) for x in self.columns])))
            if self.panel < self.columns[0].size:
                found.append(Step("split", (space.name(self.columns[0]), self.panel)))
        if self.cut or self.depths > 1:
            found.append(Step("split", (space.name(self.k[self.cut]), self.depth)))
        found += [Step("word", (space.name(self.k[-1]),))] * (self.word is not None)
        found += [Step("keep", ("a", "scratch"))] * self.a.packed
        found += [Step("keep", ("b", "window" if self.windows else "scratch"))] * self.b.packed
        return Steps(tuple(found))

    def parallel(self, space: Space) -> list[Step]:
        """The steps that say how tiles are divided."""
        return [Step("parallel", (space.name(self.m), self.row_tiles)),
                Step("parallel", (space.name(self.n), self.column_tiles))]


def is_contiguous(indices: Sequence[Sym], axis: Axis) -> bool:
    """Whether every access steps by one along the axis."""
    return bool(indices) and all(coefficient(e, axis.var) == 1 for e in indices)


def contiguous(indices: Sequence[Sym], axes: Iterable[Axis]) -> bool:
    """Whether every access steps by one along one of the axes."""
    return any(is_contiguous(indices, x) for x in axes)


def widen(tiling: Tiling, stores: Sequence[Sym]) -> None:
    """Let the columns of a packed operand run over several axes, so that short rows fill whole vectors."""
    others = sorted([x for x in tiling.b.own if x is not tiling.n],
                    key=lambda x: min([abs(coefficient(e, x.var) or 1 << 40) for e in stores]))
    width = tiling.n.size
    wanted = min(TASKS, _products(tiling) // WIDE_ENOUGH)
    for axis in others:
        if width >= 4 * tiling.lanes:
            break
        tiling.columns.insert(0, axis)
        tiling.outer.remove(axis)
        tiling.panel = axis.size
        most = 32 * tiling.lanes
        while most > 4 * tiling.lanes and width * axis.size // most * prod(x.size for x in tiling.outer) < wanted:
            most //= 2
        if width * axis.size > most:
            tiling.panel = _panel(tiling, axis.size, width, most)
        width *= tiling.panel
    if len(tiling.columns) > 1 and tiling.panel == 0:
        tiling.panel = tiling.columns[0].size


def windowed(tiling: Tiling, stores: Sequence[Sym]) -> Tiling | None:
    """The same with a copy of what the windows of the second factor cover; None if there are none, or if not even the
    windows of one row fit the cache."""
    windows = find_windows(tiling.body, tiling.b.work, tiling.b.own, tiling.k)
    columns = [w.axis for w in windows if w.axis is not tiling.n]
    if not columns and windows:
        columns = [x for x in tiling.b.own if x is not tiling.n][-1:]
    if not columns:
        return None
    columns.sort(key=lambda x: -min([abs(coefficient(e, x.var) or 1 << 40) for e in stores]))
    made = replace(tiling, columns=[*columns, tiling.n], outer=[x for x in tiling.outer if x not in columns],
                   windows=windows, panel=1)
    choose_depth(made)
    if not fits_windows(made):
        return None
    wanted = min(TASKS, _products(made) // WIDE_ENOUGH)
    outer, size = prod(x.size for x in made.outer), columns[0].size
    plans = [replace(made, panel=rows) for rows in {-(-size // n): None for n in range(1, size + 1)}]
    fitting = [x for x in plans if x.scratch <= made.target.l2 // 2]
    enough = [x for x in fitting if outer * -(-size // x.panel) >= wanted] or fitting[-1:]
    return min(enough, key=lambda x: (x.cost(), -x.panel), default=None)


def word_of(tiling: Tiling) -> Word | None:
    """The words of both factors, if there are any; nothing of them is looked up or left out."""
    gathers = {g.var for g in tiling.body.gathers}
    read = [v for o in (tiling.a, tiling.b) for e in o.indices(tiling.body) for v in variables(e)]
    if tiling.conditional or not gathers.isdisjoint(read):
        return None
    return find_word(tiling.a.value, tiling.b.value, tiling.reduction.value.dtype, tiling.target)


def fits_windows(tiling: Tiling) -> bool:
    """Whether no axis that windows are moved along is cut."""
    taps = [k for w in tiling.windows for k, _ in w.taps]
    return not any(k in taps for k in tiling.k[:tiling.cut + (tiling.depths > 1)])


def _panel(tiling: Tiling, size: int, width: int, most: int) -> int:
    """How many rows of ``width`` columns make a panel of up to ``most`` columns: those whose register tiles take the
    fewest steps, whole panels."""
    def cost(rows: int) -> tuple[float, int]:
        return best_tile(tiling, rows * width)[0] * -(-size // rows), -rows
    least = min(size, -(-4 * tiling.lanes // width))
    return min(range(least, max(least, min(size, most // width)) + 1), key=cost)


def _products(tiling: Tiling) -> int:
    """All products of a contraction."""
    return prod(x.size for x in (tiling.m, *tiling.columns, *tiling.k, *tiling.outer))


def best_tile(tiling: Tiling, extent: int = 0) -> tuple[float, int, int]:
    """Steps that all tiles of the columns take, or of so many, with the tile that takes the fewest: its rows and
    vectors."""
    return register_tile(tiling.m.size, -(-(extent or tiling.extent) // tiling.lanes), tiling.target.vector_registers)


@cache
def register_tile(size: int, count: int, registers: int) -> tuple[float, int, int]:
    """The register tile that takes the fewest steps for so many rows and vectors, remainders included: what all take,
    its rows and vectors."""
    budget = registers * 3 // 4
    best = float("inf"), 1, 1
    for vectors in range(1, min(4 if registers >= 32 else 3, count) + 1):
        for rows in range(1, min(size, budget // vectors, 12) + 1):
            if rows * vectors + vectors + 1 > registers:
                continue
            steps = 0.0
            for height, many in ((rows, size // rows), (size % rows, 1)):
                for wide, often in ((vectors, count // vectors), (count % vectors, 1)):
                    if height and wide:
                        products = max(height * wide, 4 + wide)  # a chain of additions waits for each before it
                        steps += many * often * (products + STEP + 0.1 * (height + wide))
            for whole, left in ((size // rows, size % rows), (count // vectors, count % vectors)):
                steps *= 1 + (left > 0) * (0.02 + 0.1 / max(1, whole))  # code for the rest, which little uses
            best = min(best, (steps, rows, vectors), key=lambda found: found[0])
    return best


def choose_depth(tiling: Tiling) -> None:
    """Cut K so that about ``BLOCK_K`` products run in registers, blocks of one size; of integers, whose sums have no
    order, as many words."""
    inside, count = 1, tiling.word.count if tiling.word and tiling.word.dtype.is_int else 1
    sizes = [*(x.size for x in tiling.k[:-1]), -(-tiling.k[-1].size // count)]
    tiling.cut = 0
    for position in range(len(tiling.k) - 1, -1, -1):
        tiling.cut = position
        if inside * sizes[position] > 2 * BLOCK_K:
            break
        inside *= sizes[position]
    tiling.depth = k_block(sizes[tiling.cut], prod(sizes[tiling.cut + 1:]))
    if tiling.cut == len(tiling.k) - 1:
        tiling.depth = min(tiling.k[-1].size, tiling.depth * count)


def choose_blocks(tiling: Tiling) -> None:
    """How many tiles one parallel iteration takes."""
    row_tiles = tiling.m.size // tiling.rows
    column_tiles = max(1, tiling.extent // tiling.width)
    outer = prod(x.size for x in tiling.outer)
    if tiling.panel:
        outer *= -(-tiling.columns[0].size // tiling.panel)
    rows = 256 if tiling.b.packed else 64
    columns = 512 if tiling.a.packed else 128 if tiling.b.packed else 256
    tiling.row_tiles = min(row_tiles, max(1, rows // tiling.rows))
    tiling.column_tiles = column_tiles if tiling.panel else min(column_tiles, max(1, columns // tiling.width))
    twice = tiling.a.packed and tiling.b.packed  # each operand is copied for each block of the other
    wanted = min(TASKS // 2 if twice else TASKS, _products(tiling) // WIDE_ENOUGH)
    loads = tiling.b.loads(tiling.body)
    one_by_one = tiling.n.size < tiling.lanes // 2 or not is_contiguous(loads, tiling.n)
    amortised = SINGLY * AMORTISED if one_by_one else AMORTISED

    def tasks() -> int:
        across = 1 if tiling.panel else -(-column_tiles // tiling.column_tiles)
        return -(-row_tiles // tiling.row_tiles) * across * outer

    while tasks() < wanted:
        columns_first = not tiling.panel and tiling.column_tiles > 1 and (
            (tiling.b.packed and not twice) or tiling.column_tiles * tiling.width >= tiling.row_tiles * tiling.rows)
        if columns_first:
            tiling.column_tiles = -(-tiling.column_tiles // 2)
        elif tiling.row_tiles * tiling.rows >= (2 * amortised if tiling.b.packed else 2 * tiling.rows):
            tiling.row_tiles = -(-tiling.row_tiles // 2)
        elif not tiling.panel and tiling.column_tiles > 1:
            tiling.column_tiles = -(-tiling.column_tiles // 2)
        else:
            break
