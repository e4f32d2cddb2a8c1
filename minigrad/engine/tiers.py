"""Stage: realise. In: a pending graph without a plan. Out: whether it is compiled (tier 1) or run at once by generic
kernels (tier 0), by the cost model below. It counts nodes and elements, never time, and knows nothing of disk caches: a
program takes the same path, and gives the same bits, each time it runs.
Next: ``plans.py``.

Costs are in nanoseconds of the machine this was measured on (2 cores, AVX-512, one run of 2026-11-29, on one thread;
``python tools/tiers.py`` measures them again):

    compile   COMPILE + COMPILE_NODE * new nodes + COMPILE_KERNEL * reductions, scans and writes among these, each of
              which is the middle of a kernel of its own. New are nodes once for each composite: the same layer on the
              same shapes becomes the same kernels, and an optimizer's update of many tensors one. Within a third of
              what a training step of a CNN, an LSTM, a ResNet-18 or a GPT of 2 or 12 blocks takes, most of it in LLVM
    run       RUN + RUN_NODE * nodes + RUN_ELEMENT * elements that those nodes compute, a reduction or a write those
              that it reads, and once more those that it must put in order first + RUN_WINDOWED * elements of windows:
              a matrix product takes a copy of them, in rows of as few as a window is wide + RUN_PRODUCT * products
              of expanded operands, which a matrix product sums: what one takes longer than when it is compiled
    rent      the same with PRODUCT in place of RUN_PRODUCT, all that a product takes: if it comes again and again,
              it is compiled after some twenty runs

- A graph of few new nodes, which take no longer than ``SOON``, is compiled at once: people look at its kernel, and it
  is likely to come again. Unless graphs of the same structure came with another size before: then sizes vary, and
  this one need not come again either. Nor need one that has the same kinds of nodes as ``LENGTHS`` others, but more or
  fewer of them: a list that grows, of which the sum is taken at each step, or expressions that differ in length only.
- A graph with products of matrices that are much larger than these, as attention's scores are, is compiled: tier 0
  keeps every value, and a kernel that walks along them keeps a block.
- Any other graph is run at once, if that costs less than compiling it.
- Whatever was run at once is compiled when its runs so far would have paid for compiling: so no program spends more
  than twice what it would have, had it known how often each graph comes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import prod
from typing import TypeVar

from minigrad import config, lazily
from minigrad.engine.walk import Pending
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import MOVEMENT, REDUCE_OPS, Op
from minigrad.records import Record

COMPILE, COMPILE_NODE, COMPILE_KERNEL = 20_000_000, 350_000, 17_000_000
RUN, RUN_NODE, RUN_ELEMENT, RUN_WINDOWED, RUN_PRODUCT, PRODUCT = 15_000, 50.0, 0.5, 3.5, 0.0005, 0.005
MANY = 256
"""New nodes of a graph that is not compiled at once."""
SOON = 450_000_000
"""Nanoseconds: what takes longer is not compiled at once."""
LARGE = 1 << 22
"""Elements of a product of matrices that is larger than these, beyond which it is not kept whole: 16 MiB in float32."""
LENGTHS = 4
"""So many numbers of nodes of the same kinds are compiled; what comes with another is not expected to come again."""
CAPACITY = 4096
"""Structures remembered, and sets of kinds of nodes."""

_OF_A_KERNEL = frozenset((*REDUCE_OPS, Op.SCAN, Op.SCATTER, Op.ASSIGN))

T = TypeVar("T")


class Cost(Record):
    """What a graph's nodes, those of composites included, are expected to cost. ``grown``: elements of the largest
    product that is larger than its operands; ``new``: the nodes, but of each composite once; ``kernels``: of the new
    ones those that reduce, scan or write."""

    nodes: int
    elements: int
    products: int
    windowed: int = 0
    grown: int = 0
    new: int = 0
    kernels: int = 0

    @property
    def compile(self) -> float:
        """Nanoseconds to compile it."""
        return COMPILE + COMPILE_NODE * self.new + COMPILE_KERNEL * self.kernels

    @property
    def run(self) -> float:
        """Nanoseconds of one run by tier 0."""
        return (RUN + RUN_NODE * self.nodes + RUN_ELEMENT * self.elements + RUN_WINDOWED * self.windowed
                + RUN_PRODUCT * self.products)

    @property
    def rent(self) -> float:
        """Nanoseconds that one run by tier 0 pays towards compiling."""
        return self.run + (PRODUCT - RUN_PRODUCT) * self.products


def cost_of(order: Sequence[LazyBuffer], bodies: dict[int, Cost] | None = None) -> Cost:
    """The cost of a graph. ``bodies``: the costs of composites that were met before, and which are not new.

    >>> from minigrad.dtype import float32
    >>> a = LazyBuffer.const(2.0, float32, (3,), "CPU")
    >>> cost_of([a, a.unary("NEG")])
    Cost(nodes=1, elements=3, products=0, windowed=0, grown=0, new=1, kernels=0)
    """
    nodes = elements = products = windowed = grown = new = kernels = 0
    bodies = {} if bodies is None else bodies
    unsummed: dict[LazyBuffer, int] = {}
    for node in order:
        op = node.op
        if op == Op.FUNCTION:
            inside = bodies.get(id(node.arg))
            if inside is None:
                inside = bodies[id(node.arg)] = cost_of(node.arg.order, bodies)
                new += inside.new
                kernels += inside.kernels
            nodes += inside.nodes
            elements += inside.elements
            products += inside.products
            windowed += inside.windowed
            grown = max(grown, inside.grown)
        elif op == Op.WINDOW:
            windowed += prod(node.shape)
        elif node.srcs and op not in MOVEMENT and op != Op.OUTPUT:
            nodes += 1
            new += 1
            kernels += op in _OF_A_KERNEL
            n = prod(node.shape)
            elements += n
            source = node.srcs[0]
            if op == Op.MUL and source.op == Op.EXPAND == node.srcs[1].op:
                unsummed[node] = n
            elif op == Op.SUM and source in unsummed:  # the product itself is never in memory
                n = unsummed.pop(source)
                elements -= n
                products += n
                if lazily.module("minigrad.schedule.limits").has_grown(node):
                    grown = max(grown, prod(node.shape))
            elif op in REDUCE_OPS:
                elements += prod(source.shape) * (1 if _is_by_rows(source.shape, node.arg) else 2)
            elif op in (Op.SCATTER, Op.ASSIGN):
                elements += prod(node.srcs[1].shape)
    return Cost(nodes, elements, products, windowed, grown, new, kernels)


def _is_by_rows(shape: Sequence[int], axes: Sequence[int]) -> bool:
    """Whether what is reduced to one number lies together."""
    kept = [a for a, n in enumerate(shape) if n > 1 and a not in axes]
    return not kept or all(a > kept[-1] for a in axes if shape[a] > 1)


class Sightings:
    """The structures seen, each with the size it came with first, and the kinds of nodes that graphs were made of, each
    with the first numbers of nodes."""

    def __init__(self) -> None:
        self.sizes: OrderedDict[int, int] = OrderedDict()
        self.lengths: OrderedDict[int, set[int]] = OrderedDict()

    def clear(self) -> None:
        """Forget them."""
        self.sizes.clear()
        self.lengths.clear()

    def vary(self, pending: Pending) -> bool:
        """Whether a graph of this structure came with another size before, or graphs of these kinds of nodes in
        ``LENGTHS`` other numbers. Remembers this one."""
        structure, sizes, kinds = _structure(pending)
        lengths, length = _kept(self.lengths, kinds, set()), len(pending.order)
        if len(lengths) < LENGTHS:
            lengths.add(length)
        return _kept(self.sizes, structure, sizes) != sizes or length not in lengths


def _kept(seen: OrderedDict[int, T], key: int, new: T) -> T:
    """What is remembered of a key, or else ``new``, from now on."""
    value = seen.setdefault(key, new)
    seen.move_to_end(key)
    if len(seen) > CAPACITY:
        seen.popitem(last=False)
    return value


def _structure(pending: Pending) -> tuple[int, int, int]:
    """Numbers for the ops and how they are connected, for the shapes, and for the kinds of nodes: each is an op with
    the ops that it reads, however often."""
    number: dict[LazyBuffer, int] = {}
    kind: dict[LazyBuffer, tuple[str, str, int]] = {}
    parts: list[object] = []
    kinds: set[object] = set()
    for node in pending.order:
        name = node.arg.name if node.op == Op.FUNCTION else node.op
        kind[node] = name, node.dtype.name, len(node.shape)
        parts.append((*kind[node], *[number[s] for s in node.srcs]))
        kinds.add((kind[node], frozenset([kind[s] for s in node.srcs])))
        number[node] = len(number)
    return hash(tuple(parts)), hash(tuple([node.shape for node in pending.order])), hash(frozenset(kinds))


def choose(pending: Pending, cost: Cost, sightings: Sightings) -> int:
    """The tier for a graph seen for the first time."""
    setting = config.get("TIERS")
    if config.get("STEPS") or config.get("BEAM"):
        return 1
    if setting != 1 or pending.device != "CPU":
        return 0 if setting == 2 and pending.device == "CPU" else 1
    few = cost.new < MANY and cost.compile <= SOON
    if cost.grown > LARGE or (few and not sightings.vary(pending)):
        return 1
    return 0 if cost.run < cost.compile else 1
