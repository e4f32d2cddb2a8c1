"""Stage: lower, strategy ``rows``. In: a sum of products, of which one factor is the same for many rows and does not
lie along the sum in memory. Out: the same sum, with that factor read from a copy in scratch, where it does: the vectors
along the sum read it whole then.
Next: ``windows.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from minigrad.graph.lazy import contiguous_strides
from minigrad.kernel.ir import Alloc, Apply, Array, Load, Statement
from minigrad.lower.axes import Axis, Names
from minigrad.lower.body import Body, Output, traffic
from minigrad.lower.contraction import Product, find_product, is_apart
from minigrad.lower.map import map_stage
from minigrad.lower.nest import ZERO
from minigrad.lower.reductions import Domain
from minigrad.lower.steps import Space, Steps
from minigrad.symbolic import variables
from minigrad.target import Target


@dataclass(eq=False)
class Factor:
    """The factor ``b`` of a stage's sum of products, which a copy may hold."""

    body: Body
    domain: Domain
    product: Product

    @property
    def rows(self) -> int:
        """How many results read the same of it."""
        return prod(x.size for x in self.product.a.own)

    @property
    def is_apart(self) -> bool:
        """Whether vectors along the sum should not read it as it is."""
        return is_apart(self.product.b, self.body, self.product.k[-1])

    def is_worth_copying(self, steps: Steps, space: Space, target: Target) -> bool:
        """Whether these steps, for the sum with a copy, use it for many rows, the copy fits the cache, and the factor
        does not lie along the sum as it is, or is computed."""
        product, b = self.product, self.product.b
        tiles = [space.axes[str(step.args[0])] for step in steps.named("unroll")]
        lanes = [space.axes[str(step.args[0])] for step in steps.named("lanes")]
        size = prod(x.size for x in (*b.own, *product.k)) * b.value.dtype.size
        return (lanes == product.k[-1:] and self.is_apart and size <= target.l2 // 2
                and any(x in product.a.own and x.size >= y.size for x in tiles for y in b.own))

    def copy(self, held: Sequence[Axis], names: Names) -> Copy:
        """A copy of it for all places along the ``held`` axes, at one place of all others."""
        body, product, reduction = self.body, self.product, self.product.reduction
        read = {v for e in product.b.indices(body) for v in variables(e)}
        axes = [x for x in held if x.var in read] + product.k
        strides = contiguous_strides([x.size for x in axes])
        array = Array(names.fresh("b"), product.b.value.dtype, prod(x.size for x in axes), "scratch", 1, True)
        at = sum([x.var * n for x, n in zip(axes, strides, strict=True)], ZERO)
        assert isinstance(reduction.value, Apply)
        factors = tuple([Load(array, at) if v is product.b.value else v for v in reduction.value.srcs])
        made = replace(reduction, value=replace(reduction.value, srcs=factors))
        return Copy(replace(body, reductions=(made,)), Domain([made], self.domain.axes, traffic([made.value])), array,
                    self._filled(array, axes, strides, names))

    def _filled(self, array: Array, axes: Sequence[Axis], strides: Sequence[int], names: Names) -> Body:
        """What fills the copy, over axes of its own."""
        own = [names.axis("k", x.size) for x in axes]
        copy = self.body.instance({x.var: y.var for x, y in zip(axes, own, strict=True)})
        index = sum([x.var * n for x, n in zip(own, strides, strict=True)], ZERO)
        return Body(names, tuple([(x.var, x.size) for x in own if x.size != 1]),
                    (Output(array, index, copy.value(self.product.b.value)),), (), (), None)


@dataclass(eq=False)
class Copy:
    """A stage that reads the copy, the copy's memory, and what fills it."""

    body: Body
    domain: Domain
    array: Array
    source: Body

    def statements(self, target: Target) -> list[Statement]:
        """The loops that fill it."""
        return [Alloc(self.array), *map_stage(self.source, target, divide=False).statements]


def find_factor(body: Body, kept: Sequence[Axis], domains: Sequence[Domain]) -> Factor | None:
    """The factor of a sum of products that each row reads again; None if the stage sums none."""
    product = None if body.gathers else find_product(body, kept, domains)
    return None if product is None or not product.k else Factor(body, domains[0], product.across(body))
