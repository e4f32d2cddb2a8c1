"""Stage: lower, strategy ``contraction``. In: a body that sums the products of two operands. Out: loops around a
register tile: rows of one operand, broadcast, times vectors of the other. This file classes the axes and chooses the
sizes; the loops are written in ``tile.py``. After BLIS (Van Zee and van de Geijn, 2015) and TBLIS (Matthews, 2018).
Next: ``guards.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from math import prod

from minigrad.errors import ScheduleError
from minigrad.kernel.ir import Apply, Load, Value
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body, Traffic, traffic
from minigrad.lower.cost import lanes_for
from minigrad.lower.guards import divide_conditions, reguarded, under_conditions
from minigrad.lower.reductions import Domain
from minigrad.lower.steps import Space, Step, Steps, Strategy
from minigrad.lower.values import Reduction
from minigrad.lower.windows import Window, find_windows
from minigrad.ops import Op
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

SHORT = 3
"""Neighbouring results that are no reason to have them in a vector's lanes."""

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

    def loads(self, body: Body) -> list[Sym]:
        """Where it reads memory."""
        return [body.index(x.index) for x in self.work.loads]


@dataclass(eq=False)
class Product:
    """A sum of products: the factors, the axes ``k`` that are summed over, and ``outer``, those that both factors or
    neither depends on. ``b`` is the factor along whose axes results are contiguous, if there is one. The products
    count only under ``conditions``; where one of ``lacking`` fails, one factor is 0 but not the other."""

    reduction: Reduction
    a: Operand
    b: Operand
    k: list[Axis]
    outer: list[Axis]
    conditions: Sequence[Sym] = ()
    lacking: Sequence[Sym] = ()


@dataclass(eq=False)
class Tiling:
    """The sizes of a contraction. ``rows`` × ``vectors`` registers make a tile; ``columns`` are the axes that the
    vectors run along, flattened, of which the first is cut into blocks of ``panel``. With ``windows``, the copy of the
    second operand has each place that they cover once, and the columns run through the places past an axis's end, too,
    in vain. The K axes before ``cut`` are outer loops, that axis is cut into blocks of ``depth``. A parallel iteration
    takes ``row_tiles`` × ``column_tiles`` tiles. A step of K does nothing for a whole tile where one of ``skips``
    fails. ``partial``: where another condition fails, one factor is 0 but not the other: a product with what is not
    finite is NaN and has to be left out afterwards."""

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

    def cost(self) -> float:
        """Vector products for all columns, and what copying costs, counted in them."""
        often = prod(x.size for x in self.b.own if x not in self.columns)
        if self.panel:
            often *= -(-self.columns[0].size // self.panel)
        return often * (prod(a.size for a in self.k) * _tile(self)[0] + COPY * self.copied / self.lanes)

    @property
    def inner(self) -> int:
        """Steps of K inside one step of the cut axis."""
        return prod(a.size for a in self.k[self.cut + 1:])

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
        found += [Step("keep", ("a", "scratch"))] * self.a.packed
        found += [Step("keep", ("b", "window" if self.windows else "scratch"))] * self.b.packed
        return Steps(tuple(found))

    def parallel(self, space: Space) -> list[Step]:
        """The steps that say how tiles are divided."""
        return [Step("parallel", (space.name(self.m), self.row_tiles)),
                Step("parallel", (space.name(self.n), self.column_tiles))]


def find_product(body: Body, kept: Sequence[Axis], domains: Sequence[Domain],
                 guarded: bool = False) -> Product | None:
    """The sum of products that a body makes, each factor with axes of its own; None if it makes none. ``guarded``:
    also if the products count only under a condition."""
    if len(domains) != 1 or len(body.reductions) != 1:
        return None
    reduction = body.reductions[0]
    value, conditions = under_conditions(reduction.value)
    if reduction.node.op != Op.SUM or not isinstance(value, Apply) or value.op != Op.MUL:
        return None
    if body.unread({x.var for x in domains[0].axes}) or (conditions and not guarded):
        return None  # tiles look up only what they read
    factors, lacking = divide_conditions(body, kept, value.srcs, conditions)
    if not factors:
        return None
    a, b = (Operand(v, traffic((v,))) for v in factors)
    outer: list[Axis] = []
    for axis in kept:
        in_a, in_b = (_depends(o.indices(body), axis.var, body) for o in (a, b))
        (outer if in_a == in_b else a.own if in_a else b.own).append(axis)
    if not a.own or not b.own:
        return None
    if _belongs_in_lanes(a, b, body):
        a, b = b, a
    return Product(reduction, a, b, list(domains[0].axes), outer, conditions, lacking)


def _belongs_in_lanes(a: Operand, b: Operand, body: Body) -> bool:
    """Whether the axes of ``a`` are better in the lanes of vectors than those of ``b``: if results are contiguous along
    one of them, or else what is read; or else if fewer elements have to be copied to make them so, where each row of
    the other operand's outer axes copies them again."""
    stores = [body.index(o.index) for o in body.outputs]
    long_a, long_b = ([x for x in o.own if x.size > SHORT] for o in (a, b))
    for indices_a, indices_b in ((stores, stores), (a.loads(body), b.loads(body))):
        if contiguous(indices_a, long_a) != contiguous(indices_b, long_b):
            return contiguous(indices_a, long_a)
        if contiguous(indices_a, long_a):
            return False
    copied_a, copied_b = (prod(x.size for x in (*one.own, *other.own)) // max(x.size for x in other.own)
                          for one, other in ((a, b), (b, a)))
    if copied_a != copied_b:
        return copied_a < copied_b
    return contiguous(stores, a.own)


STEPS = Strategy("contraction", ("multiply", "lanes", "parallel", "split", "join", "keep"),
                 (("a", "scratch"), ("b", "scratch"), ("b", "window")))


def find_tiling(body: Body, kept: list[Axis], domains: Sequence[Domain], space: Space, target: Target,
                steps: Steps | None = None) -> Tiling | None:
    """The sizes, given by steps or chosen. None if there is no contraction in the body, or, without steps, none that a
    register tile is good for."""
    product = find_product(body, kept, domains, guarded=True)
    if steps is not None:
        space.check(steps, STEPS)
        product, m, n = given_product(product, steps.named("multiply")[0], space)
        return _given(_begun(body, kept, product, m, n, target), steps, space)
    if product is None:
        return None
    a, b = product.a, product.b
    stores = [body.index(o.index) for o in body.outputs]
    n = max(b.own, key=lambda x: (_is_contiguous(stores, x), _is_contiguous(b.loads(body), x), x.size))
    m = max(a.own, key=lambda x: x.size)
    made = _begun(body, kept, product, m, n, target)
    lanes, depth = made.lanes, prod(x.size for x in made.k)
    if depth < 4 or m.size < 2 or prod(x.size for x in b.own) < max(2, lanes // 2) or lanes == 1:
        return None
    b.packed = not _is_plain(b, body) or not _is_contiguous(b.loads(body), n) or (
        m.size >= 256 and _collides(b, body, made.k[-1], depth, 4096)) or _wastes_lanes(n, b.own, m, lanes)
    a.packed = not _is_plain(a, body) or _collides(a, body, made.k[-1], min(prod(x.size for x in b.own), depth))
    if gathers_along(body, b.own):
        return None
    windowed = _windowed(made, stores)
    if b.packed and n.size < 4 * lanes:
        _widen(made, stores)
    if windowed is not None and windowed.cost() < made.cost():
        made, b.packed = windowed, True
    if b.packed and m.size < 8:
        return None
    while made.lanes // 2 >= made.extent:
        made.lanes //= 2
    _, made.rows, made.vectors = _tile(made)
    _choose_depth(made)
    _choose_blocks(made)
    return made


def given_product(product: Product | None, step: Step, space: Space) -> tuple[Product, Axis, Axis]:
    """The product with its factors as a step wants them that names an axis of rows and one of columns; and these."""
    if product is None:
        raise ScheduleError(f"{step}: this stage is no sum of products of two factors with axes of their own")
    m, n = (space.axes[str(step.args[i])] for i in (0, 2))
    if m in product.b.own and n in product.a.own:
        product.a, product.b = product.b, product.a
    if m not in product.a.own or n not in product.b.own:
        raise ScheduleError(f"{step}: rows are an axis that one factor has alone, columns one of the other's")
    return product, m, n


def _begun(body: Body, kept: Sequence[Axis], product: Product, m: Axis, n: Axis, target: Target) -> Tiling:
    """What does not depend on sizes: which axis is what, and what a tile may skip."""
    reduction = product.reduction
    inside = {m.var, *(x.var for x in product.b.own)}
    skips = [c for c in product.conditions if inside.isdisjoint(variables(body.index(c)))]
    for operand in (product.a, product.b):
        operand.unguarded = reguarded(operand.value, skips, ()) if skips else None
    outer = [x for x in kept if x is not n and x is not m]
    return Tiling(body, target, reduction, product.a, product.b, m, [n], outer, list(product.k),
                  lanes_for(target, reduction.value.dtype.size), skips,
                  reduction.value.dtype.is_float and any(c not in skips for c in product.lacking))


def _given(made: Tiling, steps: Steps, space: Space) -> Tiling:
    """The sizes that steps give."""
    _, made.rows, n, width = steps.named("multiply")[0].args  # type: ignore[assignment]
    made.lanes = steps.count("lanes", str(n))
    if int(width) % made.lanes or made.rows > made.m.size:
        raise ScheduleError(f"{steps.named('multiply')[0]}: {made.rows} of {made.m.size} rows, and {width} columns in "
                            f"vectors of {made.lanes}")
    made.vectors = int(width) // made.lanes
    if gathers_along(made.body, made.b.own):
        raise ScheduleError(f"{steps}: an index is looked up for each element of a row of results")
    for step in steps.named("join"):
        made.columns = [space.axes[str(name)] for name in step.args]
        if made.columns[-1] is not space.axes[str(n)] or any(x not in made.b.own for x in made.columns):
            raise ScheduleError(f"{step}: columns are axes of one factor, the last that of multiply()")
        made.outer = [x for x in made.outer if x not in made.columns]
        size = made.columns[0].size
        made.panel = min([size, *(int(cut.args[1]) for cut in steps.named("split") if cut.args[0] == step.args[0])])
    for operand, name in ((made.a, "a"), (made.b, "b")):
        operand.packed = steps.keeps(name)
    if Step("keep", ("b", "window")) in steps.all:
        made.windows = find_windows(made.body, made.b.work, made.b.own, made.k)
        if not made.windows or not made.panel or any(w.axis not in made.columns for w in made.windows):
            raise ScheduleError(f"{steps}: keep(b, window) wants a factor that is read at sums of its own axes and of "
                                "axes of the sum, its own among those that join() joins")
    for step in steps.named("split"):
        axis = space.axes[str(step.args[0])]
        if axis in made.k:
            made.cut, made.depth = made.k.index(axis), min(axis.size, int(step.args[1]))
        elif made.panel == 0 or axis is not made.columns[0]:
            raise ScheduleError(f"{step}: the axes of the sum can be cut, and the first of the axes that join() joins")
    if not any(space.axes[str(step.args[0])] in made.k for step in steps.named("split")):
        made.depth = made.k[0].size
    if not _fits_windows(made):
        raise ScheduleError(f"{steps}: an axis that windows are moved along is cut")
    made.row_tiles = steps.count("parallel", space.name(made.m))
    made.column_tiles = steps.count("parallel", space.name(made.n))
    row_tiles, column_tiles = max(1, made.m.size // made.rows), max(1, made.extent // made.width)
    if not steps.named("parallel"):
        made.row_tiles, made.column_tiles = row_tiles, column_tiles
    made.row_tiles = min(made.row_tiles, row_tiles)
    made.column_tiles = column_tiles if made.panel else min(made.column_tiles, column_tiles)
    return made


def _depends(indices: Iterable[Sym], v: Sym, body: Body) -> bool:
    """Whether an operand depends on a variable, be it by way of a gathered index."""
    gathers = {g.var: g for g in body.gathers}
    return any(x is v or (x in gathers and v in body.depends(gathers[x])) for e in indices for x in variables(e))


def gathers_along(body: Body, axes: Sequence[Axis]) -> bool:
    """Whether what follows the sum looks up an index along one of the axes: its results can't be stored by the
    vector."""
    epilogue = [body.index(e) for e in traffic([o.value for o in body.outputs]).indices()]
    gathers = {g.var for g in body.gathers}
    looked_up = [v for e in epilogue for v in variables(e) if v in gathers]
    return any(_depends(looked_up, x.var, body) for x in axes)


def _is_contiguous(indices: Sequence[Sym], axis: Axis) -> bool:
    """Whether every access steps by one along the axis."""
    return bool(indices) and all(coefficient(e, axis.var) == 1 for e in indices)


def contiguous(indices: Sequence[Sym], axes: Iterable[Axis]) -> bool:
    """Whether every access steps by one along one of the axes."""
    return any(_is_contiguous(indices, x) for x in axes)


def _is_plain(operand: Operand, body: Body) -> bool:
    """Whether the operand is a load, perhaps converted: nothing that is worth keeping once computed."""
    value = operand.value if operand.unguarded is None else operand.unguarded
    while isinstance(value, Apply) and value.op == Op.CAST:
        value = value.srcs[0]
    gathers = {g.var for g in body.gathers}
    return isinstance(value, Load) and value.guard is None and not any(v in gathers for v in variables(value.index))


def _collides(operand: Operand, body: Body, k: Axis, use: int, apart: int = 1024) -> bool:
    """Whether steps of K are a multiple of ``apart`` bytes apart, so that they take each other's place in the cache."""
    steps = [coefficient(e, k.var) for e in operand.loads(body)]
    size = operand.work.loads[0].dtype.size
    return use >= 64 and any(c is None or (c > 1 and c * size % apart == 0) for c in steps)


def _wastes_lanes(n: Axis, own: Sequence[Axis], m: Axis, lanes: int) -> bool:
    """Whether more products fall on lanes that are not there than copying would cost, which fills the vectors with
    several short rows."""
    others = prod(x.size for x in own) // n.size
    empty = -n.size % lanes / n.size  # products in vain for one that counts
    return n.size < 4 * lanes and others > 1 and m.size >= 8 and empty > COPY / m.size


def _widen(tiling: Tiling, stores: Sequence[Sym]) -> None:
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


def _windowed(tiling: Tiling, stores: Sequence[Sym]) -> Tiling | None:
    """The same with a copy of what the windows of the second factor cover; None if there are none."""
    windows = find_windows(tiling.body, tiling.b.work, tiling.b.own, tiling.k)
    columns = [w.axis for w in windows if w.axis is not tiling.n]
    if not columns and windows:
        columns = [x for x in tiling.b.own if x is not tiling.n][-1:]
    if not columns:
        return None
    columns.sort(key=lambda x: -min([abs(coefficient(e, x.var) or 1 << 40) for e in stores]))
    made = replace(tiling, columns=[*columns, tiling.n], outer=[x for x in tiling.outer if x not in columns],
                   windows=windows, panel=1)
    _choose_depth(made)
    if not _fits_windows(made):
        return None
    wanted = min(TASKS, _products(made) // WIDE_ENOUGH)
    outer, size = prod(x.size for x in made.outer), columns[0].size
    plans = [replace(made, panel=rows) for rows in {-(-size // n): None for n in range(1, size + 1)}]
    good = [x for x in plans if x.scratch <= made.target.l2 // 2 and outer * -(-size // x.panel) >= wanted]
    return min(good or plans[-1:], key=lambda x: (x.cost(), -x.panel))


def _fits_windows(tiling: Tiling) -> bool:
    """Whether no axis that windows are moved along is cut."""
    taps = [k for w in tiling.windows for k, _ in w.taps]
    return not any(k in taps for k in tiling.k[:tiling.cut + (tiling.depths > 1)])


def _panel(tiling: Tiling, size: int, width: int, most: int) -> int:
    """How many rows of ``width`` columns make a panel of up to ``most`` columns: those whose register tiles take the
    fewest steps, whole panels."""
    def cost(rows: int) -> tuple[float, int]:
        return _tile(tiling, rows * width)[0] * -(-size // rows), -rows
    least = min(size, -(-4 * tiling.lanes // width))
    return min(range(least, max(least, min(size, most // width)) + 1), key=cost)


def _products(tiling: Tiling) -> int:
    """All products of a contraction."""
    return prod(x.size for x in (tiling.m, *tiling.columns, *tiling.k, *tiling.outer))


def _tile(tiling: Tiling, extent: int = 0) -> tuple[float, int, int]:
    """Steps that all tiles of the columns take, or of so many, with the tile that takes the fewest: its rows and
    vectors."""
    return _best_tile(tiling.m.size, -(-(extent or tiling.extent) // tiling.lanes), tiling.target.vector_registers)


@cache
def _best_tile(size: int, count: int, registers: int) -> tuple[float, int, int]:
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
            steps *= 1 + 0.02 * (size % rows > 0) + 0.02 * (count % vectors > 0)  # more code for the rest
            best = min(best, (steps, rows, vectors), key=lambda found: found[0])
    return best


def _choose_depth(tiling: Tiling) -> None:
    """Cut K so that about ``BLOCK_K`` products run in registers, blocks of one size."""
    inside = 1
    tiling.cut = 0
    for position in range(len(tiling.k) - 1, -1, -1):
        tiling.cut = position
        if inside * tiling.k[position].size > 2 * BLOCK_K:
            break
        inside *= tiling.k[position].size
    tiling.depth = k_block(tiling.k[tiling.cut].size, prod(x.size for x in tiling.k[tiling.cut + 1:]))


def _choose_blocks(tiling: Tiling) -> None:
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
    wanted = min(TASKS, _products(tiling) // WIDE_ENOUGH)
    loads = tiling.b.loads(tiling.body)
    one_by_one = tiling.n.size < tiling.lanes // 2 or not _is_contiguous(loads, tiling.n)
    amortised = SINGLY * AMORTISED if one_by_one else AMORTISED

    def tasks() -> int:
        across = 1 if tiling.panel else -(-column_tiles // tiling.column_tiles)
        return -(-row_tiles // tiling.row_tiles) * across * outer

    while tasks() < wanted:
        columns_first = not tiling.panel and tiling.column_tiles > 1 and (
            tiling.b.packed or tiling.column_tiles * tiling.width >= tiling.row_tiles * tiling.rows)
        if columns_first:
            tiling.column_tiles = -(-tiling.column_tiles // 2)
        elif tiling.row_tiles * tiling.rows >= (2 * amortised if tiling.b.packed else 2 * tiling.rows):
            tiling.row_tiles = -(-tiling.row_tiles // 2)
        elif not tiling.panel and tiling.column_tiles > 1:
            tiling.column_tiles = -(-tiling.column_tiles // 2)
        else:
            break
