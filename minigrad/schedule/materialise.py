"""Stage: schedule, step 2. In: a simplified graph. Out: which of its nodes get memory. All others are computed where
they are read, again for each reader.
Next: ``held.py``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from minigrad.dtype import bool_
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.graph.origins import follow
from minigrad.ops import ELEMENTWISE, MOVEMENT, REDUCE, SCALAR_OPS, SOURCES, Op
from minigrad.schedule.access import Access, access
from minigrad.schedule.held import HELD_COST, held_in_rows
from minigrad.schedule.streaming import Walk
from minigrad.target import Target

MEMORY_COST = 24
"""Scalar operations that a store and a load of one element are worth (measured: a vector of either costs about as much
as ten vector operations once it leaves the first cache)."""

RANDOM_COST = 90
"""Scalar operations of RANDOM_BITS."""

CONTRACTION_READS = 4
"""How often a contraction evaluates an element of an operand: it packs tiles, so once for each block, not for each
product."""

LONG_ENOUGH = 8192
"""Elements that reductions take for as many results in a row as read one value: beside so much work the value costs
nothing to compute again for each row. The scale of a batch norm after a convolution is one."""

MAX_OPERATIONS = 400
MAX_LEAVES = 40
"""A kernel's slice is cut beyond these."""

REGION = 64
"""Nodes, at most, between a reduction and the place where all that reads it has come together."""

_OWN_MEMORY = frozenset((Op.CONTIGUOUS, Op.SCATTER, Op.ASSIGN, Op.SCAN, Op.OUTPUT))
_KEEPS_ELEMENTS = ELEMENTWISE | {Op.RESHAPE, Op.PERMUTE, Op.FLIP}


@dataclass
class Materialised:
    """``outputs``: as asked for, sources wrapped; ``stored``: the nodes with memory, in topological order;
    ``initial``: for each SCATTER and ASSIGN the node whose memory it writes on; ``why``: a word on each, for
    DEBUG=3; ``accesses``: of those of which it was found on the way, what they read; ``walks``: the reductions that
    one kernel each is to compute; ``held``: of those that a kernel is expected to hold for a row their numbers."""

    outputs: list[LazyBuffer]
    stored: list[LazyBuffer]
    initial: dict[LazyBuffer, LazyBuffer] = field(default_factory=dict)
    why: dict[LazyBuffer, str] = field(default_factory=dict)
    accesses: dict[LazyBuffer, Access] = field(default_factory=dict)
    walks: list[Walk] = field(default_factory=list)
    held: dict[LazyBuffer, int] = field(default_factory=dict)

    def access(self, node: LazyBuffer) -> Access:
        """What a stored node reads."""
        return self.accesses.get(node) or access(node, self.why)

    def first_writer(self, node: LazyBuffer) -> LazyBuffer:
        """The node that is first to write the memory of this one: below SCATTERs and ASSIGNs the copy of their base."""
        while node in self.initial:
            node = self.initial[node]
        return node


def materialise(outputs: Sequence[LazyBuffer], walks: Sequence[Walk] = (), target: Target | None = None,
                apart: Container[int] = ()) -> Materialised:
    """Decide what is stored: outputs and what ops write on (HOST and COPY nodes were run before); reductions, each
    where the elementwise nodes that it feeds have come together; then what would cost more to compute again for each
    reader. What a kernel of the ``target`` can hold for a row costs less, but for those ``apart``, by their numbers:
    of them it is known that no kernel does."""
    outputs, initial, at = _wrap_sources(outputs)
    walks = [walk.moved(at) for walk in walks]
    order = toposort(outputs)
    consumers = _consumers(order)
    why: dict[LazyBuffer, str] = dict.fromkeys(outputs, "output")
    gathers: set[LazyBuffer] = set()  # and all that depends on one
    for node in order:
        if node.op in _OWN_MEMORY:
            why.setdefault(node, f"{node.op} makes memory")
        if node.op in (Op.SCATTER, Op.ASSIGN):
            why.setdefault(node.srcs[0], f"{node.op} writes on it")
        if node.op == Op.LOOP:
            for s in node.srcs:
                if s.op != Op.BUFFER:
                    why.setdefault(s, "LOOP reads it at every step")
        if node.op == Op.GATHER or not gathers.isdisjoint(node.srcs):
            gathers.add(node)
        if node.op == Op.SCATTER:
            for s in gathers.intersection(node.srcs[1:]):
                why.setdefault(s, "SCATTER looks up only its own indices")
    for walk in walks:
        for node in walk.kept:
            why.setdefault(node, "another large product joins it")
    walk_of = {sink: walk for walk in walks for sink in walk.sinks}
    lengths = _place_reductions(order, consumers, why, walk_of)
    walked = {node for walk in walks for node in walk.nodes}
    masks = _masks(order, walked)
    rows = set() if target is None or target.workgroup else held_in_rows(order, consumers, target) - walked
    held = {n: i for i, n in enumerate(order) if n in rows and i not in apart and n not in why}
    for factor, transitive in ((1, False), (3, True)):
        reads = _reads(order, consumers, why, lengths, transitive)
        _store_repeated(order, reads, why, MEMORY_COST * factor, masks, walked, held)
    roles = {sink: (walk, walk.kind(sink)) for sink, walk in walk_of.items()}
    accesses = _separate_domains(order, why, roles)
    return Materialised(outputs, [n for n in order if n in why], initial, why, accesses, walks,
                        {n: i for n, i in held.items() if n in why})


def _wrap_sources(outputs: Sequence[LazyBuffer],
                  ) -> tuple[list[LazyBuffer], dict[LazyBuffer, LazyBuffer], dict[LazyBuffer, LazyBuffer]]:
    """Give memory of their own to sources that need some, and to the base that a SCATTER or ASSIGN writes on: the
    outputs, the bases, and what took the place of each node."""
    at: dict[LazyBuffer, LazyBuffer] = {}
    initial: dict[LazyBuffer, LazyBuffer] = {}

    def own(node: LazyBuffer) -> LazyBuffer:
        return LazyBuffer(Op.CONTIGUOUS, (node,), None, node.shape, node.dtype, node.device)

    order = toposort(outputs)
    readers = Counter(s for node in order for s in node.srcs)
    readers.update(outputs)
    for node in order:
        follow(node)
        srcs = [at[s] for s in node.srcs]
        if node.op in (Op.SCATTER, Op.ASSIGN):
            only_reader = node.srcs[0].op in (Op.SCATTER, Op.ASSIGN) and readers[node.srcs[0]] == 1
            base = srcs[0] if only_reader else own(srcs[0])
            srcs[0] = base
        if node.op == Op.LOOP:
            srcs = [own(s) if s.op in SOURCES and (s.op != Op.BUFFER or s.arg is not None) else s for s in srcs]
        new = node
        if tuple(srcs) != node.srcs:
            new = LazyBuffer(node.op, tuple(srcs), node.arg, node.shape, node.dtype, node.device)
        if node.op in (Op.SCATTER, Op.ASSIGN):
            initial[new] = srcs[0]
        at[node] = new
    distinct: dict[LazyBuffer, None] = {}
    for output in outputs:
        new = at[output]
        # two outputs that turn out equal are still two pieces of memory: each may be written later
        distinct[own(new) if new.op in SOURCES or new in distinct else new] = None
    return list(distinct), initial, at


def _consumers(order: Sequence[LazyBuffer]) -> dict[LazyBuffer, list[LazyBuffer]]:
    consumers: dict[LazyBuffer, list[LazyBuffer]] = {n: [] for n in order}
    for node in order:
        for s in dict.fromkeys(node.srcs):
            consumers[s].append(node)
    return consumers


def _place_reductions(order: Sequence[LazyBuffer], consumers: dict[LazyBuffer, list[LazyBuffer]],
                      why: dict[LazyBuffer, str], walk_of: Mapping[LazyBuffer, Walk]) -> dict[LazyBuffer, int]:
    """Follow each reduction to where all that reads it has come together again, while its elements are kept on every
    way: the last elementwise node there is stored in its place. Gives for each such node how many elements its longest
    reduction takes for a result."""
    lengths: dict[LazyBuffer, int] = {}
    meeting = _meeting_points(order, consumers, why)
    ends: dict[LazyBuffer, LazyBuffer] = {}  # of nodes that were passed: ways that come together go on as one
    for node in order:
        if node.op not in REDUCE:
            continue
        end = here = node
        passed: list[LazyBuffer] = []
        while here not in why:
            if here in ends:
                end = ends[here]
                break
            after = meeting[here]
            if after is None or not _keeps_elements(here, after, consumers, why, node.size):
                break
            if node in walk_of and after not in walk_of[node].ends:
                break
            here = after
            if here.op in ELEMENTWISE or here in why:
                end = here  # movement alone is no reason to go on: the reader does it
                passed.append(here)
        ends.update(dict.fromkeys(passed, end))
        why.setdefault(end, "end of a reduction")
        lengths[end] = max(lengths.get(end, 0), node.srcs[0].size // max(1, node.size))
    return lengths


def _meeting_points(order: Sequence[LazyBuffer], consumers: dict[LazyBuffer, list[LazyBuffer]],
                    why: dict[LazyBuffer, str]) -> dict[LazyBuffer, LazyBuffer | None]:
    """For each node the first node that every way from it to a result passes (its immediate post-dominator), or None;
    also None where more than ``REGION`` nodes lie before it."""
    meeting: dict[LazyBuffer, LazyBuffer | None] = {}
    depth: dict[LazyBuffer, int] = {}
    for node in reversed(order):
        after = consumers[node]
        point: LazyBuffer | None = after[0] if after and node not in why else None
        for other in after[1:]:
            if point is None:
                break
            at: LazyBuffer | None = other
            hops = 0
            while point is not at and point is not None and at is not None:
                hops += 1
                if hops > REGION:
                    at = None
                elif depth[point] >= depth[at]:
                    point = meeting[point]
                else:
                    at = meeting[at]
            point = point if point is at else None
        meeting[node] = point
        depth[node] = 1 + depth[point] if point is not None else 0
    return meeting


def _keeps_elements(start: LazyBuffer, end: LazyBuffer, consumers: dict[LazyBuffer, list[LazyBuffer]],
                    why: dict[LazyBuffer, str], size: int) -> bool:
    """Whether every node after ``start`` up to ``end`` is elementwise, or moves whole, and nothing between is
    stored."""
    seen: set[LazyBuffer] = set()
    stack = list(consumers[start])
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.op not in _KEEPS_ELEMENTS or node.size != size or len(seen) > REGION:
            return False
        if node is not end:
            if node in why:
                return False
            stack += consumers[node]
    return True


def _reads(order: Sequence[LazyBuffer], consumers: dict[LazyBuffer, list[LazyBuffer]], why: dict[LazyBuffer, str],
           lengths: dict[LazyBuffer, int], transitive: bool) -> dict[LazyBuffer, float]:
    """How often an element of each node is computed if the node is not stored. Not transitive: as if every elementwise
    reader were computed once for each of its elements."""
    reads: dict[LazyBuffer, float] = {}
    for node in reversed(order):
        total = 0.0
        for c in consumers[node]:
            ratio = 1.0 if c.op in REDUCE else c.size / max(1, node.size)
            if c.op in (Op.SCATTER, Op.ASSIGN, Op.GATHER) and node is not c.srcs[0]:
                ratio = 2.0 if c.op == Op.SCATTER else 1.0  # each owner of a part looks at every entry
            elif c.op in (Op.EXPAND, Op.WINDOW) and _feeds_contraction(c, consumers):
                ratio = min(ratio, CONTRACTION_READS)
            elif c.op == Op.EXPAND and _inner_repeats(c) * _length(c, consumers, why, lengths) >= LONG_ENOUGH:
                ratio = 1.0
            if c in why or c.op in REDUCE or (c.op in ELEMENTWISE and not transitive):
                total += ratio
            else:
                total += ratio * reads[c]
        reads[node] = total
    return reads


def _length(node: LazyBuffer, consumers: dict[LazyBuffer, list[LazyBuffer]], why: dict[LazyBuffer, str],
            lengths: dict[LazyBuffer, int]) -> int:
    """Elements that are reduced for each result of the stored node that the node's only readers lead to; 0 if it ends
    no reduction."""
    while len(consumers[node]) == 1 and node not in why:
        node = consumers[node][0]
        if node.op not in _KEEPS_ELEMENTS:
            return 0
    return lengths.get(node, 0)


def _inner_repeats(node: LazyBuffer) -> int:
    """How often an EXPAND repeats each element in a row: inner loops over these axes leave the element to the loop
    around them, which computes it once."""
    source = (1,) * (len(node.shape) - len(node.srcs[0].shape)) + node.srcs[0].shape
    repeats = 1
    for size, given in zip(reversed(node.shape), reversed(source), strict=True):
        if given != 1:
            break
        repeats *= size
    return repeats


def _feeds_contraction(node: LazyBuffer, consumers: dict[LazyBuffer, list[LazyBuffer]]) -> bool:
    """Whether the node is, but for movement and casts, an operand of a product that is summed."""
    seen_product = False
    while len(consumers[node]) == 1:
        node = consumers[node][0]
        if node.op == Op.MUL and not seen_product:
            seen_product = True
        elif node.op == Op.SUM:
            return seen_product
        elif node.op not in MOVEMENT and node.op != Op.CAST:
            return False
    return False


def _masks(order: Sequence[LazyBuffer], walked: set[LazyBuffer]) -> set[LazyBuffer]:
    """Bools that a walk reads: what follows from indices alone tells it which blocks to leave out."""
    found: set[LazyBuffer] = set()
    for node in reversed(order) if walked else ():
        if node in walked or node in found:
            found.update(s for s in node.srcs if s.dtype is bool_ or s.op == Op.INDEX or node in found)
    return found


def _store_repeated(order: Sequence[LazyBuffer], reads: dict[LazyBuffer, float], why: dict[LazyBuffer, str],
                    worth: int, masks: Container[LazyBuffer], walked: Container[LazyBuffer],
                    held: Container[LazyBuffer]) -> None:
    """Store what is dearer to compute for every read than to keep (what is ``held`` for a row costs less), but for
    ``masks``, and cut slices that grow too large. Random bits are never stored for themselves, but in nodes that are
    ``walked`` what is made of them may be: there it stays in scratch memory."""
    cost: dict[LazyBuffer, float] = {}
    count: dict[LazyBuffer, int] = {}
    leaves: dict[LazyBuffer, frozenset[LazyBuffer]] = {}
    for node in order:
        if node.op in SOURCES or node.op == Op.LOOP:
            drawn = node.op == Op.RANDOM_BITS and node in walked
            cost[node], count[node] = RANDOM_COST if drawn else 0.0, 0
            leaves[node] = frozenset((node,)) if node.op == Op.BUFFER or drawn else frozenset()
            continue
        scalar = SCALAR_OPS.get(node.op)
        below = node.srcs if node.op not in REDUCE or node not in why else ()
        cost[node] = sum([cost[s] for s in below]) + (scalar.cost if scalar else 0)
        count[node] = sum([count[s] for s in below]) + (1 if scalar else 0)
        leaves[node] = frozenset().union(*[leaves[s] for s in below]) if len(below) != 1 else leaves[below[0]]
        if node.op in REDUCE:
            cost[node] *= max(1, node.srcs[0].size // max(1, node.size))
        if node not in why and node.op not in MOVEMENT:
            # arithmetic on indices alone stays in registers: it costs no load to repeat it
            limit = HELD_COST if node in held else worth if leaves[node] else 8 * worth
            if (reads[node] - 1) * cost[node] > limit and not (node in masks and not leaves[node]):
                why[node] = f"read {reads[node]:.0f} times, {cost[node]:.0f} operations each"
            elif count[node] > MAX_OPERATIONS or len(leaves[node]) > MAX_LEAVES:
                why[node] = "the kernel would grow too large"
        if node in why:
            cost[node] = cost[node] if node in held else 1.0  # who reads it outside that kernel computes it again
            count[node], leaves[node] = 1, frozenset((node,))


def _separate_domains(order: Sequence[LazyBuffer], why: dict[LazyBuffer, str],
                      roles: Mapping[LazyBuffer, object]) -> dict[LazyBuffer, Access]:
    """Reductions computed for one store must run over one domain, and play one role in one walk: store those that do
    not, until it holds everywhere. What each store reads then."""
    found: dict[LazyBuffer, Access] = {}
    pending = [n for n in order if n in why and n.op not in _OWN_MEMORY]
    while pending:
        node = pending.pop()
        found[node] = access(node, why)
        reduces = found[node].reduces
        if not reduces:
            continue
        first = next(iter(reduces))
        domain = (first.srcs[0].shape, first.arg)
        for reduction, coordinates in reduces.items():
            if reduction is node:
                continue
            nested = any(r is not reduction and r in reduces for r in access(reduction, why).reduces)
            same = (reduction.srcs[0].shape, reduction.arg) == domain and len(coordinates) == 1 and (
                coordinates == reduces[first]) and roles.get(reduction) == roles.get(first)
            if nested or not same or reduction.size != node.size:
                why[reduction] = "another domain"
                pending += [reduction, node]
                break
    # a reduction that was stored for one store may have been computed for another
    return {n: a for n, a in found.items() if all(r is n or r not in why for r in a.reduces)}
