"""Stage: lower, strategy ``winograd``, which setting ``WINOGRAD`` or steps ask for. In: a convolution by windows of
3 × 3, as a sum of products. Out: its loops by F(2×2, 3×3): 2 × 2 results at a time from the 4 × 4 places that they
depend on, by 16 products a channel, where the sum has 36. After Winograd (1980), Lavin and Gray (2016).
Next: ``winograd_sizes.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from minigrad.dtype import float32, int64
from minigrad.graph.lazy import contiguous_strides
from minigrad.kernel.ir import Alloc, Array, Const, Index, LetIndex, Load, Local, Statement, Value
from minigrad.lower.ahead import fetches
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body, Output
from minigrad.lower.contraction import find_tiling
from minigrad.lower.map import map_stage
from minigrad.lower.nest import Lowering, bind_axes, dealt, loop, loops, unflatten, when
from minigrad.lower.packed import dot
from minigrad.lower.reductions import Domain, simplify_axes
from minigrad.lower.steps import Space, Steps
from minigrad.lower.tile import contraction_stage
from minigrad.lower.values import Reduction
from minigrad.lower.winograd_sizes import (
    OUT,
    SIDE,
    TAPS,
    Convolution,
    Sizes,
    choose_sizes,
    find_convolution,
    given_sizes,
)
from minigrad.symbolic import Sym, as_sym, both, minimum, num
from minigrad.target import Target

Square = Sequence[Sequence[Value]]


def transform_image(d: Sequence[Value]) -> list[Value]:
    """Bᵀ d: 4 places as sums and differences of two each."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def transform_filter(g: Sequence[Value]) -> list[Value]:
    """G g: the 4 factors of 3 taps."""
    ends = g[0] + g[2]
    return [g[0], (ends + g[1]) * 0.5, (ends - g[1]) * 0.5, g[2]]


def transform_result(m: Sequence[Value]) -> list[Value]:
    """Aᵀ m: 2 results of 4 products."""
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def on_both_axes(transform: Callable[[Sequence[Value]], list[Value]], square: Square) -> list[Value]:
    """The transform of the columns of a square and then of its rows; row by row."""
    columns = [transform(column) for column in zip(*square, strict=True)]
    return [v for row in zip(*columns, strict=True) for v in transform(row)]


def winograd_stage(body: Body, kept: list[Axis], domains: Sequence[Domain], space: Space, target: Target, divide: bool,
                   steps: Steps | None = None) -> Lowering | None:
    """Lower a convolution by the given steps, or those that are chosen; None for what is none, or too small to gain."""
    c = find_convolution(body, kept, domains, target)
    sizes = choose_sizes(c, target) if steps is None else given_sizes(c, steps, space, target)
    return None if c is None or sizes is None else _Writer(body, c, sizes, target).lower(space, divide)


class _Writer:
    """The loops. An iteration of the parallel loop transforms a block of filters, once: ``u`` is U[place][filter]
    [channel]. Then it goes from panel to panel: V[place][channel][tile] of the image, for each strip of filters the
    products M[place][filter][tile], and of each filter the results, by row and column in a tile. Planes of the 16
    places are a cache line longer than they need be: what is stored at once lies in different sets of the cache."""

    def __init__(self, body: Body, c: Convolution, sizes: Sizes, target: Target) -> None:
        self.body, self.names, self.c, self.sizes, self.target = body, body.names, c, sizes, target
        lanes, line = target.lanes(float32.size), target.line // float32.size
        self.channels = contiguous_strides([k.size for k in c.channels])
        self.tiles = sizes.images * sizes.rows * c.wide
        self.pitch = -(-self.tiles // lanes) * lanes
        # filters that are neighbours in memory, as in the gradient of an image, are so in U; how far channels are
        self.across = sizes.filters + line if c.neighbours(body) else 0
        self.strip = self.names.axis("f", sizes.filters // sizes.strip)
        self.u = self._planes("u", c.deep * (self.across or sizes.filters), line)
        self.v = self._planes("v", c.deep * self.pitch, line)
        self.m = self._planes("m", sizes.strip * self.pitch, line)
        self.results = self._scratch("y", OUT * OUT * self.tiles)
        self.place = self.names.axis("x", SIDE * SIDE)
        # of a panel: a block of filters, the first image and the first row of tiles
        self.block = self.names.axis("q", -(-c.filters.size // sizes.filters))
        self.image = self.names.axis("n", -(-c.image.size // sizes.images))
        self.row = self.names.axis("h", -(-c.high // sizes.rows))

    def _scratch(self, stem: str, size: int) -> Array:
        return Array(self.names.fresh(stem), float32, size, "scratch", 1, True)

    def _planes(self, stem: str, size: int, line: int) -> Array:
        return self._scratch(stem, SIDE * SIDE * (-(-size // line) * line + line))

    def _map(self, axes: Sequence[Axis], outputs: Sequence[Output]) -> list[Statement]:
        inner = Body(self.names, tuple([(a.var, a.size) for a in axes if a.size != 1]), tuple(outputs), (), (), None)
        return map_stage(inner, self.target, divide=False).statements

    def _each(self, planes: Array, at: Sym, values: Sequence[Value]) -> list[Output]:
        """The values, one in each plane."""
        return [Output(planes, at + i * (planes.size // len(values)), v) for i, v in enumerate(values)]

    def _flat(self, channels: Sequence[Axis]) -> Sym:
        return dot([k.var for k in channels], self.channels)

    def lower(self, space: Space, divide: bool) -> Lowering:
        c, sizes = self.c, self.sizes
        panels = [*c.others, self.image, self.row]
        total = c.panels(sizes)
        panel, group = self.names.axis("p", total), self.names.axis("g", -(-total // sizes.panels))
        start = group.var * sizes.panels
        inside = [*bind_axes(panel.var, panels), *self._image(), *loops([self.strip], [
            *self._products(self._ahead(panel, panels)), *self._results()])]
        clear = Const(0.0, float32) if self.pitch > self.tiles else None  # they are multiplied, in vain
        body = [Alloc(self.u), Alloc(self.v, clear), Alloc(self.m), Alloc(self.results), *self._filters(),
                loop(panel, inside, start=start, stop=minimum(start + sizes.panels, num(total)))]
        made, head = dealt(self.names, [*c.outer, self.block, group], body, divide)
        note = space.note("winograd", sizes.steps(c, space))
        return Lowering(made, note if head is None else f"{note}; {head.extent} iterations", c.work, head)

    def _filters(self) -> list[Statement]:
        """U = G g Gᵀ of a block of filters: along the axis of neighbours in memory, whose taps are first copied so that
        those of a column lie in planes."""
        c, names = self.c, self.names
        m, channels = names.axis("m", self.sizes.filters), [names.axis("k", k.size) for k in c.channels]
        y, x = names.axis("t", TAPS), names.axis("t", TAPS)
        at: dict[Sym, Sym] = {c.filters.var: self.block.var * m.size + m.var}
        at.update({k.var: own.var for k, own in zip(c.channels, channels, strict=True)})
        for window, t in ((c.y, y), (c.x, x)):
            tap, factor = window.taps[0]
            at[tap.var] = t.var if factor > 0 else TAPS - 1 - t.var
        inside = at[c.filters.var] < c.filters.size
        copy = self.body.instance(at, guard=None if inside.lo == 1 else inside)
        outer, inner, n, along = [m], channels, c.deep, self._flat(channels)
        if self.across:
            outer, inner, n, along = channels, [m], m.size, m.var
        turned = self._scratch("w", TAPS * TAPS * n)
        made = self._map([*inner, y, x], [Output(turned, (x.var * n + along) * TAPS + y.var, copy.value(c.filter))])
        each = names.axis("k", n)
        taps = [[Load(turned, each.var * TAPS + (j * n * TAPS + i)) for j in range(TAPS)] for i in range(TAPS)]
        place = self._filter_at(each.var, self._flat(channels)) if self.across else self._filter_at(m.var, each.var)
        made += self._map([each], self._each(self.u, place, on_both_axes(transform_filter, taps)))
        return [Alloc(turned), *loops(outer, made)]

    def _filter_at(self, m: Sym, k: Sym) -> Sym:
        """Where a channel's factor of a filter is in a plane."""
        return m + k * self.across if self.across else m * self.c.deep + k

    def _image(self) -> list[Statement]:
        """V = Bᵀ d B of the places that a panel depends on. They are copied first, channel by channel: even rows and
        odd ones apart, once from the first column and once from the third, so that for the tiles of all rows, one
        after the other, each place of the 16 is two further on."""
        c, names, sizes = self.c, self.names, self.sizes
        n, channels = names.axis("n", sizes.images), [names.axis("k", k.size) for k in c.channels]
        later, odd, h, w = (names.axis(s, size) for s, size in (
            ("s", 2), ("o", 2), ("h", sizes.rows + 1), ("w", OUT * c.wide)))
        at: dict[Sym, Sym] = {k.var: own.var for k, own in zip(c.channels, channels, strict=True)}
        at[c.image.var] = self.image.var * sizes.images + n.var
        inside = [at[c.image.var] < c.image.size]
        first = self.row.var * (sizes.rows * OUT)
        for window, place in ((c.y, first + h.var * OUT + odd.var), (c.x, w.var + later.var * OUT)):
            at.update({v: as_sym(e) for v, e in window.plain(place).items()})
            inside.append(place < window.axis.size + window.extra)
        guard = both(*inside)
        copy = self.body.instance(at, guard=None if guard.lo == 1 else guard)
        plane = h.size * w.size
        places = self._scratch("d", 4 * plane)
        made = self._map([later, odd, h, w], [Output(
            places, (later.var * 2 + odd.var) * plane + h.var * w.size + w.var, copy.value(c.places))])
        t = names.axis("t", sizes.rows * c.wide)
        square = [[Load(places, t.var * OUT + (j // 2 * 2 + i % 2) * plane + i // 2 * w.size + j % 2)
                   for j in range(SIDE)] for i in range(SIDE)]
        made += self._map([t], self._each(self.v, self._flat(channels) * self.pitch + n.var * t.size + t.var,
                                          on_both_axes(transform_image, square)))
        return [Alloc(places), *loops([*channels, n], made)]

    def _ahead(self, panel: Axis, panels: Sequence[Axis]) -> list[Statement]:
        """Fetch a share of the places that the next panel depends on: as many for each matrix product."""
        c, names, sizes = self.c, self.names, self.sizes
        k = names.axis("k", -(-c.deep // (self.strip.size * self.place.size)))
        n, h, x = (names.axis(s, size) for s, size in (
            ("n", sizes.images), ("h", SIDE + OUT * (sizes.rows - 1)), ("x", c.x.axis.size)))
        at = unflatten(minimum(panel.var + 1, num(panel.size - 1)), panels)
        at[c.image.var] = at.pop(self.image.var) * sizes.images + n.var
        channel = (self.strip.var * self.place.size + self.place.var) * k.size
        at.update(unflatten(channel + k.var, c.channels))
        first = at.pop(self.row.var) * (sizes.rows * OUT)
        for window, place in ((c.y, first + h.var), (c.x, x.var + 1)):  # the middle of the window is in the image
            at.update({v: as_sym(e) for v, e in window.plain(place).items()})
        made = fetches([self.body.instance(at).value(c.places)], [n, k, h, x], names, self.target)
        return when(channel < c.deep, made)

    def _products(self, ahead: list[Statement]) -> list[Statement]:
        """M = U V: a matrix product for each of the 16 places."""
        names, sizes, deep = self.names, self.sizes, self.c.deep
        place = self.place
        m, t, k = (names.axis(s, size) for s, size in (("m", sizes.strip), ("t", self.pitch), ("r", deep)))
        u, v, made = (place.var * (planes.size // place.size) for planes in (self.u, self.v, self.m))
        value = Load(self.u, u + self._filter_at(self.strip.var * sizes.strip + m.var, k.var)) * Load(
            self.v, v + k.var * self.pitch + t.var)
        total = Local(names.fresh("sum"), float32)
        body = Body(names, tuple([(a.var, a.size) for a in (m, t)]),
                    (Output(self.m, made + m.var * self.pitch + t.var, total),),
                    (Reduction(self.c.reduction.node, (k.var,), (deep,), value, total),), (), None)
        kept, domains = simplify_axes(body)
        space = Space(kept, domains[0].axes)
        tiling = find_tiling(body, kept, domains, space, self.target)
        assert tiling is not None, "a product with as many rows and columns has register tiles"
        return loops([place], [*ahead, *contraction_stage(tiling, space, divide=False).statements])

    def _results(self) -> list[Statement]:
        """Y = Aᵀ M A, and what the body makes of it: filter by filter, then row by row."""
        c, names, sizes = self.c, self.names, self.sizes
        m, t = names.axis("m", sizes.strip), names.axis("t", self.tiles)
        plane = self.m.size // SIDE ** 2
        square = [[Load(self.m, m.var * self.pitch + t.var + (i * SIDE + j) * plane) for j in range(SIDE)]
                  for i in range(SIDE)]
        made = self._map([t], self._each(self.results, t.var, on_both_axes(transform_result, square)))
        n, h, i = (names.axis(s, size) for s, size in (("n", sizes.images), ("h", sizes.rows), ("i", OUT)))
        size = c.x.axis.size
        numbers = [(c.filters, self.block.var * sizes.filters + self.strip.var * m.size + m.var),
                   (c.image, self.image.var * n.size + n.var),
                   (c.y.axis, (self.row.var * h.size + h.var) * OUT + i.var)]
        at = {axis.var: names.var("o", axis.size) for axis, _ in numbers}
        with_filter, with_image, with_row = (partial(_where_there, at[axis.var], e, axis) for axis, e in numbers)
        tile = (n.var * sizes.rows + h.var) * c.wide
        stores: list[Statement] = []
        for begin, count in ((0, size - size % OUT), (size - size % OUT, size % OUT)):
            if count:
                x = names.axis("x", count)
                value = Load(self.results, (i.var * OUT + x.var % OUT) * self.tiles + tile + (x.var + begin) // OUT)
                copy = self.body.instance({**at, c.x.axis.var: x.var + begin}, {c.reduction.local.name: value})
                stores += self._map([x], [Output(o.array, copy.index(o.index), copy.value(o.value))
                                          for o in self.body.outputs])
        made.append(loop(n, with_image([loop(h, [loop(i, with_row(stores))])])))
        return [loop(m, with_filter(made))]


def _where_there(v: Sym, number: Sym, axis: Axis, body: Sequence[Statement]) -> list[Statement]:
    """The body if the axis has such a number, for which ``v`` stands in it: one that is known to be there."""
    return when(number < axis.size, [LetIndex(v, Index(number, int64)), *body])
