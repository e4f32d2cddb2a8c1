"""Stage: explaining. In: the outputs of a graph. Out: it as it was recorded and simplified, with the lines that its
nodes come from, and each rewrite between the two.
Next: ``neighbours.py``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from minigrad.explain.model import Part, Plan, Rewrite, Text
from minigrad.explain.sites import NOWHERE, Site
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.graph.origins import Origins
from minigrad.graph.show import argument
from minigrad.graph.show import show as show_graph
from minigrad.ops import SOURCES
from minigrad.schedule.simplify import simplify

MOST_REWRITES = 3000
"""Of one graph that are listed; later ones are counted."""

DEPTH = 3
"""So many nodes deep an expression is written; what is below it is a name."""


def graphs(plan: Plan, results: Sequence[LazyBuffer], origins: Origins, place: Callable[[Site], tuple[int, int]],
           ) -> None:
    """Fill in the graph of a plan. ``place``: the numbers of a site's file and line."""
    found: list[tuple[str, str, str, str, Site]] = []

    def told(rule: str, why: str, before: LazyBuffer, after: LazyBuffer) -> None:
        plan.rewritten += 1
        if len(found) < MOST_REWRITES:
            found.append((rule, why, expression(before), expression(after), origins.of(before) or NOWHERE))

    simplified, _ = simplify(results, told=told)
    work: Counter[Site] = Counter()
    orders = []
    for title, outputs in (("as recorded", results), ("simplified", simplified)):
        order = toposort(outputs)
        at = {node: i for i, node in enumerate(order)}
        sites = [origins.of(node) or NOWHERE for node in order]
        plan.graphs.append(Text(title, show_graph(outputs), sources=[[at[s] for s in node.srcs] for node in order]))
        orders.append(sites)
        work.update(sites)
    count = max(1, work.total())
    work.update({site: 0 for *_, site in found})
    number = {site: i for i, site in enumerate(work)}
    plan.parts = [Part(*place(site), site.phase, n / count, [site.call], list(site.modules))
                  for site, n in work.items()]
    for text, sites in zip(plan.graphs, orders, strict=True):
        text.nodes = [[number[site]] for site in sites]
    plan.rewrites = [Rewrite(rule, why, before, after, number[site]) for rule, why, before, after, site in found]


def expression(node: LazyBuffer, depth: int = DEPTH) -> str:
    """A node and what it is computed from, as an expression, with the shape and dtype of the node.

    >>> from minigrad.dtype import float32
    >>> x = LazyBuffer.const(2.0, float32, (3,), "CPU")
    >>> expression(x.unary("EXP").reshape((1, 3)))
    'RESHAPE(EXP(CONST[2.0]()))  float32 (1, 3)'
    """
    return f"{_written(node, depth)}  {node.dtype.name} {node.shape}"


def _written(node: LazyBuffer, depth: int) -> str:
    if depth == 0 and node.op not in SOURCES:
        return "…"
    return f"{node.op}{argument(node)}({', '.join([_written(s, depth - 1) for s in node.srcs])})"
