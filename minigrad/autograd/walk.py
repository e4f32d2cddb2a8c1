"""Stage: backward. In: root values with their gradients. Out: the gradients of leaves and of values asked for, still
lazy. Nodes are visited in the order opposite to their creation, so each after all that used its outputs.
Next: ``backward.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from heapq import heapify, heappop, heappush
from math import prod
from typing import Any

from minigrad.autograd.keeps import ZERO_COMPUTED, ZERO_STAYS, Zero
from minigrad.autograd.mode import mode
from minigrad.autograd.node import Edge, Node, Refusing
from minigrad.autograd.protocol import Front
from minigrad.autograd.rows import RowsGradient, added
from minigrad.dtype import int32
from minigrad.engine import kept, realise, to_numpy
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.lines import remember
from minigrad.ops import Op
from minigrad.runtime.locks import users_code

# A gradient is a LazyBuffer, for a leaf perhaps one of rows; in a recorded walk (``create_graph``) a Tensor.
Gradient = Any


class Walk:
    """One backward pass. ``leaves`` maps each leaf reached to its gradient, ``captured`` each edge asked for.
    ``recorded``: gradients are Tensors, because the pass is on the tape itself (``taped``) or has tangents."""

    def __init__(self, taped: bool, targets: Sequence[Edge] | None = None, accumulates: bool = False) -> None:
        """``accumulates``: the gradients asked for go to ``.grad``."""
        self.taped, self.accumulates = taped, accumulates
        self.recorded = taped or bool(mode.duals)
        self.leaves: dict[Any, Gradient] = {}
        self.captured: dict[Edge, Gradient] = {}
        self.visited: list[Node] = []
        self._pending: dict[int, tuple[Node, list[Gradient]]] = {}
        self._heap: list[int] = []
        self._zeros = False  # whether a gradient may be one that is 0 without being computed
        self._refusing: list[Node] = []
        self._targets = None if targets is None else set(targets)
        self._useful: set[Any] | None = None
        self.found: list[tuple[Node, int, Gradient]] | None = [] if mode.anomaly and mode.check_nan else None

    def run(self, roots: Sequence[tuple[Edge, Gradient]]) -> None:
        """Send each root's gradient backward."""
        if self._targets is not None:
            self._useful = _leading_to(self._targets, [edge for edge, _ in roots])
        for edge, gradient in roots:
            self._send(edge, gradient)
        heap = self._heap
        while heap:
            self._pass(self._pending.pop(-heappop(heap)))

    def _pass(self, entry: tuple[Node, list[Gradient]], rest: Sequence[Edge | None] = ()) -> None:
        """Visit a node and send on what it gives. ``rest``: edges that another node has still to go."""
        node = entry[0]
        try:
            results = self._visit(*entry)
        except Exception:
            if mode.anomaly:
                node.blame()
            waiting = [*node.edges, *[edge for other, _ in self._pending.values() for edge in other.edges]]
            self._keep_complete([*waiting, *rest])
            raise
        for position, (edge, result) in enumerate(zip(node.edges, results, strict=True)):
            if result is not None:
                self._send(edge, result)
                if self._refusing:
                    self._refuse([*node.edges[position + 1:], *rest])
            elif type(edge) is tuple:
                self._refuse_nothing(edge, [*node.edges[position + 1:], *rest])

    def _refuse(self, rest: Sequence[Edge | None]) -> None:
        """Pass a node that only raises as soon as it has all its gradients, before others, as PyTorch does."""
        for node in [n for n in self._refusing if n.sequence in self._pending]:
            others = [edge for other, _ in self._pending.values() if other is not node for edge in other.edges]
            if node not in _reached([*rest, *others]):
                self._heap.remove(-node.sequence)
                heapify(self._heap)
                self._pass(self._pending.pop(node.sequence), rest)

    def _refuse_nothing(self, edge: Edge, rest: Sequence[Edge | None]) -> None:
        """Have a node raise that only raises, though no gradient comes to it, as PyTorch does: it goes on without one,
        but not to what was written into a view."""
        seen, edges = set(), [edge]
        while edges:
            below = edges.pop()
            if type(below) is not tuple or below[0] in seen or not (
                    self._useful is None or below[0] in self._useful):
                continue
            node = below[0]
            seen.add(node)
            if isinstance(node, Refusing):
                waiting = [e for other, _ in self._pending.values() for e in other.edges]
                self._keep_complete([edge, *waiting, *rest])
                node.vjp((), ())
            edges += node.edges[:1] if node.into_part else node.edges

    def _keep_complete(self, edges: Sequence[Edge | None]) -> None:
        """The walk stops before it has gone these edges: of the leaves only those stay to which they do not lead."""
        for reached in _reached(edges):
            self.leaves.pop(reached, None)

    def _send(self, edge: Edge, gradient: Gradient) -> None:
        if gradient.__class__ is Zero:
            if self._takes_zero(edge):
                self._zeros = True
            else:
                gradient = self._computed(gradient)
        if type(edge) is not tuple:
            leaves = self.leaves
            leaves[edge] = self._add(leaves[edge], gradient) if edge in leaves else gradient
            return
        if gradient.__class__ is RowsGradient:
            gradient = gradient.dense()
        node, number = edge
        entry = self._pending.get(node.sequence)
        if entry is None:
            gradients = [None] * node.count
            self._pending[node.sequence] = (node, gradients)
            heappush(self._heap, -node.sequence)
            if node.at_once:
                self._refusing.append(node)
        else:
            gradients = entry[1]
        before = gradients[number]
        gradients[number] = gradient if before is None else self._add(before, gradient)

    def _takes_zero(self, edge: Edge) -> bool:
        """Whether a gradient may arrive that is 0 without being computed: nobody else sees it there."""
        return type(edge) is tuple and edge[0].name() in ZERO_STAYS and edge[0].extra is None and (
            self._targets is None or edge not in self._targets)

    def _computed(self, gradient: Gradient) -> Gradient:
        """The gradient as numbers."""
        if gradient.__class__ is not Zero:
            return gradient
        return Front.wrap(gradient.zeros, None) if self.recorded else gradient.zeros

    def _nothing_of(self, node: Node, results: list[Gradient]) -> list[Gradient]:
        """What goes on from a node to which only gradients came that are 0 without being computed; ``results`` is what
        they give as numbers. A sum over axes that were broadcast is computed."""
        where, size = ZERO_STAYS[node.name()], prod(node.body.outputs[0].shape)
        computed = ZERO_COMPUTED.get(node.name(), ())
        joins = node.name() in ("CatBackward0", "StackBackward0")
        found: list[Gradient] = []
        for i, result in enumerate(results):
            nothing = None if result is None else Zero(node.zeros(i))
            if i in computed:
                found.append(self._computed(nothing))
            elif where is not None and i not in where:
                found.append(result)
            elif joins or prod(node.body.params[i].shape) >= size:
                found.append(nothing)
            else:
                found.append(self._computed(nothing))
        return found

    def _add(self, a: Gradient, b: Gradient) -> Gradient:
        if a.__class__ is Zero or b.__class__ is Zero:
            return a if b.__class__ is Zero else b
        if a.__class__ is RowsGradient or b.__class__ is RowsGradient:
            return added(a, b)
        return a + b if self.recorded else a.binary(Op.ADD, b)

    def _visit(self, node: Node, gradients: list[Gradient]) -> list[Gradient]:
        """For each edge the gradient that goes on along it, or None."""
        extra = node.extra
        if extra is not None:
            self._seen(node, gradients)
        edges = node.edges
        if self._useful is not None:
            for number, gradient in enumerate(gradients):
                if gradient is not None and (node, number) in self._targets:  # type: ignore[operator]
                    self.captured[node, number] = gradient
            useful = self._useful
            needs = [e is not None and (e[0] if type(e) is tuple else e) in useful for e in edges]
            if not any(needs):
                if extra is not None and self.accumulates:
                    self._before(node, gradients)
                return [None] * len(edges)
        else:
            needs = [e is not None for e in edges]
        if extra is not None:
            self._before(node, gradients)
        if extra is not None and extra.packed is not None:
            node.unpack()
        nothing = False
        if self._zeros and any([g.__class__ is Zero for g in gradients]):
            nothing = all([g is None or g.__class__ is Zero for g in gradients])
            gradients = [self._computed(g) for g in gradients]
        if node.runs:
            with self._holding():
                results = (node.vjp_recorded if self.recorded else node.vjp)(gradients, needs)
        else:
            results = (node.vjp_recorded if self.recorded else node.vjp)(gradients, needs)
        if node.call is not None and not self.recorded:
            for result in results:
                if result.__class__ is LazyBuffer:
                    remember(result, node.call)
        if nothing:
            results = self._nothing_of(node, results)
        self.visited.append(node)
        if extra is not None and extra.packed is not None:
            node.repack()
        if extra is not None and extra.post:
            results = self._after(node, results, gradients)
        if self.found is not None:
            self.found += [(node, i, r) for i, r in enumerate(results) if r is not None]
        return [result if needed else None for needed, result in zip(needs, results, strict=True)]

    @contextmanager
    def _holding(self) -> Iterator[None]:
        """A block in which values may be computed: the gradients that wait here are owned meanwhile, so that a run
        stores those that it comes to and writes into no memory of theirs."""
        held = [] if self.recorded else [
            part for g in (*self.leaves.values(), *self.captured.values(),
                           *[g for _, gradients in self._pending.values() for g in gradients])
            if g is not None and g.__class__ is not Zero
            for part in (g.values() if g.__class__ is RowsGradient else (g,))]
        for gradient in held:
            gradient.owners += 1
        try:
            yield
        finally:
            for gradient in held:
                gradient.owners -= 1

    def tensor(self, gradient: Gradient) -> Any:
        """The gradient as a Tensor."""
        if gradient.__class__ is RowsGradient:
            return Front.sparse(gradient.parts, gradient.shape)
        return gradient if self.recorded or gradient is None else Front.wrap(gradient, None)

    def gradient(self, tensor: Any) -> Gradient:
        """A Tensor as a gradient of this walk."""
        if tensor is not None and tensor.is_sparse and not self.recorded:
            return RowsGradient(((tensor._indices()[0]._read(), tensor._values()._read()),), tuple(tensor.shape))
        return tensor if self.recorded or tensor is None else tensor._read()

    def _seen(self, node: Node, gradients: list[Gradient]) -> None:
        """Show the gradients of a node's outputs to the Tensors' hooks, and to those that retain theirs."""
        extra = node.more()
        for number, hooks in extra.tensor.items():
            with self._holding():
                gradients[number] = self.hooked(hooks, gradients[number])
        for number, reference in extra.retained.items():
            tensor = reference()
            if tensor is not None and gradients[number] is not None:
                gradient = self.tensor(gradients[number])
                tensor._grad = gradient if tensor._grad is None else tensor._grad + gradient

    def _before(self, node: Node, gradients: list[Gradient]) -> None:
        for hook in tuple(node.more().pre.values()):
            given = tuple([self.tensor(g) for g in gradients])
            with users_code, self._holding():
                changed = hook(given)
            gradients[:] = [self.gradient(g) for g in replaced(hook, given, changed)]

    def _after(self, node: Node, results: list[Gradient], gradients: list[Gradient]) -> list[Gradient]:
        given = tuple([self.tensor(g) for g in gradients])
        for hook in tuple(node.more().post.values()):
            found = tuple([self.tensor(r) for r in results])
            with users_code, self._holding():
                changed = hook(found, given)
            results = [self.gradient(g) for g in replaced(hook, found, changed)]
        return results

    def hooked(self, hooks: dict[int, Any], gradient: Gradient) -> Gradient:
        """The gradient after a tensor's hooks."""
        if gradient is None:
            return None
        for hook in tuple(hooks.values()):
            seen = self.tensor(gradient)
            with users_code:
                changed = hook(seen)
            if changed is not None:
                _check_replacement(hook, seen, changed)
                seen = changed
            gradient = self.gradient(seen)  # the hook may have changed it in place, too
        return gradient

    def check(self) -> None:
        """``RuntimeError`` for the first node whose backward gave NaN, inside ``detect_anomaly``. All are computed
        together."""
        found = [(node, i, g if isinstance(g, LazyBuffer) else g._read()) for node, i, g in self.found or ()]
        found = [(node, i, g) for node, i, g in found if g.dtype.is_inexact]
        flags = [g.binary(Op.EQ, g).unary(Op.NOT).cast(int32).reduce(Op.MAX, tuple(range(len(g.shape)))).reshape(())
                 for _, _, g in found if prod(g.shape)]
        with kept([g for _, _, g in found]):  # gradients of leaves follow from them
            realise(flags)
        values = iter(flags)
        for node, i, g in found:
            if prod(g.shape) and to_numpy(next(values)):
                node.blame()
                raise RuntimeError(f"Function '{node.name()}' returned nan values in its {i}th output.")

    def release(self) -> None:
        """Free what the visited nodes saved."""
        for node in self.visited:
            node.release()


def _name_of(hook: Any) -> str:
    return str(getattr(hook, "__name__", "<unknown>"))


def _check_replacement(hook: Any, before: Any, after: Any) -> None:
    """``TypeError`` or ``RuntimeError`` unless a gradient that a hook returned can stand for the one that it got."""
    if after is None:
        return
    if before is None:
        raise RuntimeError("can't replace a None gradient with a non-None value")
    if not hasattr(after, "_pending"):
        raise TypeError(f"expected Variable, but hook returned '{type(after).__name__}'")
    if after.dtype is not before.dtype or after._pending().device != before._pending().device:
        raise RuntimeError(f"hook '{_name_of(hook)}' has changed the type of value (was {before.type()} got "
                           f"{after.type()})")
    if after._shape() != before._shape():
        raise RuntimeError(f"hook '{_name_of(hook)}' has changed the size of value")


def replaced(hook: Any, given: tuple[Any, ...], changed: Any) -> tuple[Any, ...]:
    """What a node's hook has made of the gradients given to it."""
    if changed is None:
        return given
    if len(given) == 1 and not isinstance(changed, tuple):
        changed = (changed,)
    if not isinstance(changed, tuple):
        raise TypeError(f"expected tuple, but hook returned '{type(changed).__name__}'")
    if len(changed) != len(given):
        raise RuntimeError(f"hook '{_name_of(hook)}' has returned an incorrect number of values (got {len(changed)}, "
                           f"but expected {len(given)})")
    for before, after in zip(given, changed, strict=True):
        _check_replacement(hook, before, after)
    return changed


def _reached(edges: Sequence[Edge | None]) -> set[Any]:
    """The nodes and leaves at these edges and behind them, but for what was overwritten by a copy: no gradient goes
    there."""
    found: set[Any] = set()
    edges = list(edges)
    while edges:
        edge = edges.pop()
        end = edge[0] if type(edge) is tuple else edge
        if end is not None and end not in found:
            found.add(end)
            if type(edge) is tuple:
                edges += edge[0].edges[edge[0].over_all:]
    return found


def _leading_to(targets: set[Edge], roots: Sequence[Edge]) -> set[Any]:
    """The nodes and leaves from which a target can be reached, targets themselves included."""
    useful: set[Any] = {t for t in targets if type(t) is not tuple}
    useful |= {t[0] for t in targets if type(t) is tuple}
    done: set[Node] = set()
    stack = [e[0] for e in roots if type(e) is tuple]
    while stack:
        node = stack[-1]
        if node in done:
            stack.pop()
            continue
        following = [e[0] for e in node.edges if type(e) is tuple and e[0] not in done]
        if following:
            stack.extend(following)
            continue
        stack.pop()
        done.add(node)
        if any(e is not None and (e[0] if type(e) is tuple else e) in useful for e in node.edges):
            useful.add(node)
    return useful
