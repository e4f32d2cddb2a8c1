"""Stage: lower, strategy ``winograd``. In: a sum of products. Out: the convolution that it is, if its windows are 3 × 3
neighbours, and the sizes of its blocks: the tiles and the filters that lie in scratch at a time.
Next: ``scan.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from minigrad.dtype import float32
from minigrad.errors import ScheduleError
from minigrad.kernel.ir import Value
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body, traffic
from minigrad.lower.contraction import find_product
from minigrad.lower.reductions import Domain
from minigrad.lower.steps import Space, Step, Steps, Strategy
from minigrad.lower.tiling import register_tile
from minigrad.lower.values import Reduction
from minigrad.lower.windows import Window, find_windows
from minigrad.symbolic import coefficient
from minigrad.target import Target

TAPS, OUT = 3, 2
"""Places of a window, and results of a tile, along each axis."""

SIDE = OUT + TAPS - 1
"""Places along each axis that a tile depends on."""

FILTERS, IMAGE = 2 << 20, 2 << 20
"""Bytes of transformed filters, and of transformed places of an image, that lie in scratch at once, at most: it is on a
thread's stack. Smaller panels read the filters more often."""

STRIP = 32
"""Filters whose products lie in scratch at once."""

READ, FILTER, PLACES, FAR, RESULTS, PLAIN = 8, 16, 14, 8, 11, 1.3
"""Costs, in products of vectors: to read the 16 factors of a filter's channel for another panel, from the second cache
or the third; to make them; of a tile, to transform the places in a channel, more if what they come to does not fit half
of the second cache, and the results of a filter; and of a product in the plain sum, with what it loads and copies.
Measured on AVX-512 with the shapes of a ResNet-18 (``python -m tools.bench convolutions``)."""

MOST = 1024
"""Tiles of a panel, at most: reading the filters costs nothing beside so many."""

ALONE = 1 << 17
"""Products of vectors from which on another thread is worth its while."""

STEPS = Strategy("winograd", ("winograd", "split", "parallel"))


@dataclass(eq=False)
class Convolution:
    """A sum over ``channels`` and windows of 3 × 3 of products of ``filter`` and of ``places``, an image that is read
    through the windows ``y`` and ``x``. The other axes: ``filters``; ``image``, and those that count images around it
    (``others``); ``outer``, along which nothing is shared."""

    reduction: Reduction
    filter: Value
    places: Value
    y: Window
    x: Window
    channels: list[Axis]
    filters: Axis
    image: Axis
    others: list[Axis]
    outer: list[Axis]

    @property
    def deep(self) -> int:
        return prod(k.size for k in self.channels)

    @property
    def high(self) -> int:
        """Rows of tiles."""
        return -(-self.y.axis.size // OUT)

    @property
    def wide(self) -> int:
        """Tiles of a row."""
        return -(-self.x.axis.size // OUT)

    def panels(self, sizes: Sizes) -> int:
        """The panels that all images make."""
        return prod(a.size for a in self.others) * -(-self.image.size // sizes.images) * -(-self.high // sizes.rows)

    def neighbours(self, body: Body) -> bool:
        """Whether filters lie closer together in memory than channels."""
        places = [body.index(load.index) for load in traffic((self.filter,)).loads]
        m, k = (min([abs(coefficient(e, axis.var) or 1 << 40) for e in places], default=0)
                for axis in (self.filters, self.channels[-1]))
        return m < k

    @property
    def work(self) -> int:
        """Scalar operations."""
        images = prod(a.size for a in (*self.outer, *self.others, self.image))
        return 2 * images * self.filters.size * self.deep * SIDE ** 2 * self.high * self.wide


@dataclass(frozen=True, slots=True)
class Sizes:
    """A panel has ``rows`` rows of tiles of each of ``images``; ``filters`` are transformed at a time, and multiplied
    strip by ``strip``; an iteration of the parallel loop takes so many ``panels``."""

    images: int
    rows: int
    filters: int
    strip: int
    panels: int

    def steps(self, c: Convolution, space: Space) -> Steps:
        """The same in steps."""
        y = space.name(c.y.axis)
        found = [Step("winograd", (y, space.name(c.x.axis)))]
        if self.filters < c.filters.size:
            found.append(Step("split", (space.name(c.filters), self.filters)))
        if self.rows < c.high:
            found.append(Step("split", (y, self.rows * OUT)))
        elif c.image.size > 1 and self.images < c.image.size:
            found.append(Step("split", (space.name(c.image), self.images)))
        return Steps((*found, Step("parallel", (y, self.panels))))


def find_convolution(body: Body, kept: Sequence[Axis], domains: Sequence[Domain], target: Target) -> Convolution | None:
    """The convolution that a body computes in float32, if its windows are 3 × 3 neighbours, and if there are channels
    and filters enough for register tiles."""
    product = find_product(body, kept, domains, guarded=True)
    if product is None or body.gathers or product.reduction.value.dtype is not float32:
        return None
    for a, b in ((product.a, product.b), (product.b, product.a)):
        windows = [w for w in find_windows(body, b.work, b.own, product.k)
                   if len(w.taps) == 1 and w.taps[0][0].size == TAPS and abs(w.taps[0][1]) == 1]
        if len(windows) < 2:
            continue
        y, x = windows[-2:]
        filters = max(a.own, key=lambda axis: axis.size)
        *others, image = [axis for axis in b.own if axis not in (y.axis, x.axis)] or [body.names.axis("n", 1)]
        c = Convolution(product.reduction, a.value, b.value, y, x,
                        [k for k in product.k if k not in (y.taps[0][0], x.taps[0][0])], filters, image, others,
                        [*product.outer, *[axis for axis in a.own if axis is not filters]])
        return c if c.deep >= 4 and filters.size > 1 and target.lanes(float32.size) > 1 else None
    return None


def _filters_at_once(c: Convolution) -> list[tuple[int, int]]:
    """How many filters can be transformed at a time, whole strips, and how many make a strip."""
    most = max(1, FILTERS // (SIDE ** 2 * float32.size * c.deep))
    found = []
    for blocks in (1, 2, 4, 8):
        block = -(-c.filters.size // max(blocks, -(-c.filters.size // most)))
        strips = -(-block // STRIP)
        strip = -(-block // strips)
        found.append((strips * strip, strip))
    return list(dict.fromkeys(found))


def _panels_of(c: Convolution) -> list[tuple[int, int]]:
    """Images and rows of tiles that can make a panel: rows of one image, or whole images."""
    room = min(MOST, IMAGE // (SIDE ** 2 * float32.size * c.deep)) // c.wide
    rows, images = min(c.high, room), min(c.image.size, room // c.high)
    return [*((1, n) for n in range(1, rows + 1)), *((n, c.high) for n in range(2, images + 1))]


def _cost(c: Convolution, sizes: Sizes, target: Target) -> float:
    """Products of vectors that one panel is worth, for a block of filters."""
    lanes, tiles = target.lanes(float32.size), sizes.images * sizes.rows * c.wide
    steps = register_tile(sizes.strip, -(-tiles // lanes), target.vector_registers)[0]
    products = SIDE ** 2 * c.deep * steps * (sizes.filters // sizes.strip)
    far = FAR * (SIDE ** 2 * float32.size * c.deep * tiles > target.l2 // 2)
    return products + READ * c.deep * sizes.filters + ((PLACES + far) * c.deep + RESULTS * sizes.filters) * tiles


def _in_all(c: Convolution, sizes: Sizes, target: Target) -> float:
    """Products of vectors that all is worth: the mean of machines of 1, 2, 4 and 8 threads, in turn, some of which may
    have nothing to do."""
    groups = -(-c.panels(sizes) // sizes.panels)
    iterations = groups * -(-c.filters.size // sizes.filters) * prod(a.size for a in c.outer)
    each = sizes.panels * _cost(c, sizes, target) + FILTER * c.deep * sizes.filters
    threads = [n for n in (1, 2, 4, 8) if n == 1 or iterations * each >= n * ALONE]
    return each * sum(-(-iterations // n) * n for n in threads) / len(threads)


def choose_sizes(c: Convolution | None, target: Target) -> Sizes | None:
    """The sizes that cost least; None if the sum itself costs less."""
    if c is None:
        return None
    plans = []
    for filters, strip in _filters_at_once(c):
        for images, rows in _panels_of(c):
            one = Sizes(images, rows, filters, strip, 1)
            plans += [replace(one, panels=-(-c.panels(one) // groups)) for groups in (1, 2, 4, 8)]
    cost, best = min([(_in_all(c, sizes, target), i) for i, sizes in enumerate(plans)], default=(0.0, 0))
    results = c.filters.size * c.y.axis.size * c.x.axis.size * prod(a.size for a in (*c.outer, *c.others, c.image))
    plain = PLAIN * TAPS ** 2 * c.deep * results / target.lanes(float32.size)
    return plans[best] if plans and cost < plain else None


def given_sizes(c: Convolution | None, steps: Steps, space: Space, target: Target) -> Sizes:
    """The sizes that steps give."""
    space.check(steps, STEPS)
    mark = steps.named("winograd")[0]
    if c is None or mark.args != (space.name(c.y.axis), space.name(c.x.axis)):
        raise ScheduleError(f"{mark}: this stage is no convolution in float32 by windows of 3 × 3 neighbours that are "
                            "moved along these axes, with four channels and two filters or more")
    known = {space.name(a): a for a in (c.filters, c.y.axis, c.image) if a.size > 1}
    given = {str(step.args[0]): int(step.args[1]) for step in steps.named("split")}
    if not set(given) <= set(known):
        raise ScheduleError(f"{steps}: split() is of filters, rows of results, or images: {', '.join(known)}")
    filters, strip = _filters_at_once(c)[0]
    wanted = given.get(space.name(c.filters), filters)
    if wanted != filters:
        strip = max(n for n in range(1, min(wanted, STRIP) + 1) if wanted % n == 0)
    rows = min(c.high, -(-given.get(space.name(c.y.axis), OUT * c.high) // OUT))
    images = 1 if c.image.size == 1 or rows < c.high else min(c.image.size, given.get(space.name(c.image), 1))
    most = 3 * FILTERS // 2 // (SIDE ** 2 * float32.size * c.deep)
    if max(wanted, images * rows * c.wide) > most:
        raise ScheduleError(f"{steps}: of {c.deep} channels, {most} filters and tiles fit a thread's stack")
    return Sizes(images, rows, wanted, strip, steps.count("parallel", space.name(c.y.axis)))
