"""Stage: lower, strategy ``contraction``. In: a body that sums the products of two operands. Out: loops around a
register tile: rows of one operand, broadcast, times vectors of the other. This file classes the axes; ``tiling.py``
chooses the sizes, ``tile.py`` writes the loops. After BLIS (Van Zee and van de Geijn, 2015) and TBLIS (Matthews, 2018).
Next: ``guards.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod

from minigrad.errors import ScheduleError
from minigrad.kernel.ir import Apply, Load
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body, traffic
from minigrad.lower.guards import divide_conditions, reguarded, under_conditions
from minigrad.lower.reductions import FOLD, Domain
from minigrad.lower.scalar import unconverted
from minigrad.lower.steps import Space, Step, Steps, Strategy
from minigrad.lower.tiling import (
    COPY,
    Operand,
    Tiling,
    best_tile,
    choose_blocks,
    choose_depth,
    contiguous,
    fits_windows,
    is_contiguous,
    widen,
    windowed,
    word_of,
)
from minigrad.lower.values import Reduction
from minigrad.lower.windows import find_windows
from minigrad.ops import Op
from minigrad.symbolic import Sym, coefficient, variables
from minigrad.target import SPACED, Target

SHORT = 3
"""Neighbouring results that are no reason to have them in a vector's lanes."""


IN_TILE, JOIN, SINGLE = 1.3, 6.0, 2.0
"""Costs in products of vectors: one in a tile whose lanes run along the sum, with its loads; to join the lanes of a
result; to copy an element that is read by itself."""

FEW = 16
"""Products for an element that is copied as a part of a word, at least: 8 rows of bfloat16, 4 of int8. Products of 1024
columns by as many, with 2 to 16 rows, were about as fast either way at this (AVX-512)."""

ROWS = 128
"""Rows that an iteration of the parallel loop takes, at least, where each copies a factor."""


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


    def across(self, body: Body) -> Product:
        """The same for vectors along the sum: ``b`` is the factor that does not lie along it, if only one does."""
        last = self.k[-1]
        turned = is_contiguous(self.b.loads(body), last) and not is_contiguous(self.a.loads(body), last)
        return replace(self, a=self.b, b=self.a) if turned else self


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
    stores = body.stored_at
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


STEPS = Strategy("contraction", ("multiply", "lanes", "parallel", "split", "join", "keep", "word"),
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
    stores = body.stored_at
    n = max(b.own, key=lambda x: (is_contiguous(stores, x), is_contiguous(b.loads(body), x), x.size))
    m = max(a.own, key=lambda x: x.size)
    made = _begun(body, kept, product, m, n, target)
    lanes, depth, word = made.lanes, prod(x.size for x in made.k), word_of(made)
    of_sums = target.lanes(word.dtype.size) if word else lanes  # those of words are wider than narrow results
    if depth < 4 or m.size < 2 or prod(x.size for x in b.own) < max(2, of_sums // 4 + 1) or lanes == 1:
        return None
    b.packed = not _is_plain(b, body) or not is_contiguous(b.loads(body), n) or (
        m.size >= 256 and _collides(b, body, made.k[-1], depth, 4096)) or _wastes_lanes(n, b.own, m, lanes)
    a.packed = not _is_plain(a, body) or _collides(a, body, made.k[-1], min(prod(x.size for x in b.own), depth))
    if gathers_along(body, b.own):
        return None
    other = windowed(made, stores)
    if other is None and word and m.size * word.count >= FEW and (
            made.k[-1].size % word.count == 0 or made.k[-1].size >= 8):
        made.word, made.lanes = word, target.lanes(word.dtype.size)
        a.packed = b.packed = True
    if b.packed and n.size < 4 * lanes:
        widen(made, stores)
    if other is not None and other.cost() < made.cost():
        made, b.packed = other, True
    if b.packed and not made.windows and made.word is None and (m.size < 8 or _sums_of_products(made)):
        return None
    while made.lanes // 2 >= made.extent:
        made.lanes //= 2
    _, made.rows, made.vectors = best_tile(made)
    choose_depth(made)
    choose_blocks(made)
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
                  target.lanes(reduction.value.dtype.size), skips,
                  reduction.value.dtype.is_float and any(c not in skips for c in product.lacking),
                  conditional=bool(product.conditions))


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
    if steps.named("word"):
        made.word = word_of(made)
        if made.word is None or made.windows or not (made.a.packed and made.b.packed) or (
                steps.named("word")[0].args[0] != space.name(made.k[-1])):
            raise ScheduleError(f"{steps}: word() is of the last axis of the sum, where both factors are "
                                f"{' or '.join(made.target.dots) or 'of no type here'}, and kept in scratch")
    if not fits_windows(made):
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


def _is_plain(operand: Operand, body: Body) -> bool:
    """Whether the operand is a load, perhaps converted: nothing that is worth keeping once computed."""
    value = unconverted(operand.value if operand.unguarded is None else operand.unguarded)
    gathers = {g.var for g in body.gathers}
    return isinstance(value, Load) and value.guard is None and not any(v in gathers for v in variables(value.index))


def _sums_of_products(tiling: Tiling) -> bool:
    """Whether copying a factor costs more than to join the lanes of each result, that run along the sum: both lie along
    it in memory, and it is long."""
    k = [x.var for x in tiling.k]
    along = all(coefficient(e, k[-1]) == 1 for o in (tiling.a, tiling.b) for e in o.loads(tiling.body))
    return along and _is_plain(tiling.a, tiling.body) and _is_plain(tiling.b, tiling.body) and (
        tiling.k[-1].size * COPY > 2 * FOLD * tiling.lanes * tiling.m.size)


def less_along_sum(tiling: Tiling) -> bool:
    """Whether it takes less to run the lanes along the sum and to join them for each result, as ``rows`` does: vectors
    along few columns are not full. Counted in products of vectors; ``rows`` copies a factor that lies across the sum.
    Sums of 16 to 1000 products, with 5 to 20 columns, took what this says within a tenth (AVX-512)."""
    product = Product(tiling.reduction, tiling.a, tiling.b, tiling.k, []).across(tiling.body)
    a, b, last = product.a, product.b, tiling.k[-1]
    if tiling.conditional or tiling.word or not is_contiguous(a.loads(tiling.body), last) or (
            len(a.own) > 1 or len(b.own) > 1 or len(tiling.k) > 1):  # windows, which a copy of them serves better
        return False
    depth, columns, rows = last.size, prod(x.size for x in b.own), prod(x.size for x in a.own)
    lanes = tiling.target.lanes(tiling.reduction.value.dtype.size)  # those of the tiling may be fewer
    vectors = -(-depth // lanes)
    cost = rows * columns * (vectors * IN_TILE + JOIN) + rows * vectors * a.arithmetic * -(-columns // 8)
    if is_apart(b, tiling.body, last):
        cost += (SINGLE + b.arithmetic / lanes) * depth * columns * -(-rows // ROWS)
    return cost < 0.8 * tiling.cost()


def is_apart(operand: Operand, body: Body, k: Axis) -> bool:
    """Whether a copy makes vectors along the sum cheaper: of what lies far apart along it, or is computed."""
    return operand.arithmetic > 0 or any(coefficient(e, k.var) not in (1, *SPACED) for e in operand.loads(body))


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
