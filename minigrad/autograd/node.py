"""Stage: recording. In: a user's op. Out: ``Node``, its entry on the tape: the traced body of the op, where the
gradient of each input goes, and the values that backward reads.
Next: ``refusals.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from minigrad.autograd.again import AGAIN, OWN_FORMULA, watch_again
from minigrad.autograd.handles import AccumulateGrad, Extra, Packed, RemovableHandle, next_sequence
from minigrad.autograd.keeps import FLOWS, KEEPS, OWN, ZERO, Keeps, Zero, reads
from minigrad.autograd.mode import mode
from minigrad.autograd.protocol import Differentiable, Front
from minigrad.autograd.watching import Kept, Watching
from minigrad.graph.function import Subgraph, apply, param
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.lines import Call, user_stack, warn_user
from minigrad.lazily import importing
from minigrad.runtime.locks import users_code

if TYPE_CHECKING:
    from minigrad.grad import Backward

# An edge says where a gradient goes: ``(node, i)``, output i of a node, or a leaf Tensor itself, or None.
Edge = Any

RELEASED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
    "been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). "
    "Specify retain_graph=True if you need to backward through the graph a second time or if you need to access "
    "saved tensors after calling backward.")


class Node(Watching):
    """One op on the tape: ``grad_fn``. Each kind of op has a subclass, made by ``kind``.

    ``body`` is what the op computed, ``edges`` says where the gradient of each input goes; inputs beyond the edges are
    constants. ``saved`` are the residuals: the values of inputs and outputs that the backward of ``body`` reads (None
    once they were released). The node asks the engine to keep them. ``whole`` is that backward, from all outputs to all
    inputs that have an edge. ``call``: where the op was called, if it was recorded for the first time.
    """

    __slots__ = ("__weakref__", "call", "extra", "sequence")

    keeps: ClassVar[Keeps | None] = None
    """For each input, what its gradient reads in PyTorch; see ``keeps.py``. None if that is not known."""

    flows: ClassVar[Keeps | None] = None
    """As ``keeps``, where the gradient of the gradient flows to less."""

    at_once: ClassVar[bool] = False
    """Whether its backward raises as soon as it has all its gradients, before that of others."""

    once: ClassVar[bool] = False
    """Whether it can be differentiated once only, as in PyTorch, even if minigrad's own backward reads nothing."""

    into_part: ClassVar[bool] = False
    """Whether it wrote its second input into a part of its first."""

    over_all: ClassVar[bool] = False
    """Whether it wrote its second input over all of its first, to which no gradient goes."""

    runs: ClassVar[bool] = False
    """Whether its backward is code that may compute values while the pass is under way."""

    def __init__(self, body: Subgraph, edges: tuple[Edge, ...], values: Sequence[LazyBuffer]) -> None:
        """``values`` are those of the inputs, then of the outputs."""
        self.body = body
        self.edges = edges
        self.kept: tuple[Kept, ...] = ()
        self.extra: Extra | None = None
        self.call: Call | None = None
        self.sequence = next_sequence()
        pattern = []
        for e in edges:  # here and below: a loop costs less than a list comprehension
            pattern.append(e is not None)
        needs = tuple(pattern)
        whole = body.whole.get(needs)
        if whole is None:
            whole = body.whole[needs] = _whole(body, needs)
        self.whole: Backward = whole
        saved = []
        for i in whole.residuals:
            value = values[i]
            value.owners += 1
            saved.append(value)
        self.saved: tuple[LazyBuffer, ...] | None = tuple(saved)
        if mode.anomaly:
            self.say_where()

    def __del__(self) -> None:
        try:
            saved = self.saved or ()
        except AttributeError:  # its making has failed
            return
        for lazy in saved:
            lazy.owners -= 1

    def __repr__(self) -> str:
        return f"<{type(self).__name__} object at {id(self):#x}>"

    def name(self) -> str:
        """PyTorch's name of the op: ``"MulBackward0"``."""
        return type(self).__name__

    @property
    def count(self) -> int:
        """The number of outputs, but for those at the end that no gradient comes from."""
        return self.body.count

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """Where the gradients go on: ``(node, output number)`` for each input, also for numbers that PyTorch makes
        Tensors of; a leaf ends in ``AccumulateGrad``."""
        inputs = 0 if self.keeps is None else len(self.body.params)
        numbers = inputs - len(self.edges) if self.keeps is not None and len(self.keeps) == inputs else 0
        return tuple([(None, 0) if e is None else e if type(e) is tuple else (AccumulateGrad(e), 0)
                      for e in (*self.edges, *[None] * numbers)])

    @property
    def metadata(self) -> dict[str, Any]:
        """A dictionary for notes of the user's own."""
        return self.more().metadata

    def say_where(self) -> None:
        """Keep which calls of the program led to this op: as in PyTorch, in ``metadata["traceback_"]``."""
        self.metadata["traceback_"] = user_stack()

    def blame(self) -> None:
        """Warn that the backward of this node has failed, inside ``detect_anomaly``, and say where the op was called.
        """
        calls = self.metadata.get("traceback_")
        where = "Traceback of forward call that caused the error:\n" + "".join(calls).rstrip() if calls else (
            "No forward pass information available. Enable detect anomaly during forward pass for more information.")
        warn_user(f"Error detected in {self.name()}. {where}")

    def more(self) -> Extra:
        """Hooks and retained gradients of this node."""
        if self.extra is None:
            self.extra = Extra()
        return self.extra

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """After this node's backward, ``hook(grad_inputs, grad_outputs)`` may return other ``grad_inputs``."""
        return RemovableHandle.add(self.more().post, hook)

    def register_prehook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Before this node's backward, ``hook(grad_outputs)`` may return other ``grad_outputs``."""
        return RemovableHandle.add(self.more().pre, hook)

    def __call__(self, *grads: Any) -> Any:
        """The gradients of the inputs for these of the outputs, as Tensors; a tuple unless there is one input."""
        if len(grads) != self.count:
            raise TypeError(f"expected {self.count} arguments, got {len(grads)} instead")
        found = self.vjp_recorded(grads, [e is not None for e in self.edges])
        found = [Front.wrap(f.zeros, None) if isinstance(f, Zero) else f for f in found]
        return found[0] if len(found) == 1 else tuple(found)

    def vjp(self, grads: Sequence[LazyBuffer | None], needs: Sequence[bool]) -> list[LazyBuffer | None]:
        """The gradients of the inputs that are needed, given those of the outputs."""
        self.check()
        assert self.saved is not None
        whole = self.whole
        if len(whole.which) == len(needs) and False not in needs and None not in grads:  # the common case
            return whole.apply(self.saved, grads)  # type: ignore[arg-type,return-value]
        given = tuple([i for i, g in enumerate(grads) if g is not None])
        back, residuals = self._backward(given, needs)
        found = back.apply(residuals, [grads[i] for i in given])  # type: ignore[misc]
        results: list[LazyBuffer | None] = [None] * len(self.edges)
        for position, gradient in zip(back.which, found, strict=True):
            results[position] = gradient
        return [self._nothing(i) if r is None and needed else r
                for i, (r, needed) in enumerate(zip(results, needs, strict=True))]

    def _backward(self, given: tuple[int, ...], needs: Sequence[bool]) -> tuple[Backward, Sequence[LazyBuffer]]:
        """The backward of the body for these outputs and inputs, and the residuals that it reads."""
        assert self.saved is not None
        whole = self.whole
        back = _gradients().backward_of(self.body, _filled(needs, self.body), given)
        if back is whole:
            return whole, self.saved
        at = dict(zip(whole.residuals, self.saved, strict=True))
        return back, [at[i] for i in back.residuals]

    def zeros(self, i: int) -> LazyBuffer:
        """A gradient of an input that is 0."""
        p = self.body.params[i]
        return LazyBuffer.const(0.0, p.dtype, p.shape, p.device)

    def _nothing(self, i: int) -> Any:
        """The gradient of an input to which no slope leads."""
        zeros = self.zeros(i)
        return Zero(zeros) if self.name() in ZERO and zeros.dtype.kind != "c" else zeros

    def check(self) -> None:
        """``RuntimeError`` if the saved values are not there any more, or not those that backward reads in PyTorch."""
        if self.saved is None:
            raise RuntimeError(RELEASED)
        if self.kept:
            self.check_kept()

    def vjp_recorded(self, grads: Sequence[Any], needs: Sequence[bool]) -> list[Any]:
        """As ``vjp``, on Tensors, and itself recorded: for gradients of gradients."""
        self.check()
        given = tuple([i for i, g in enumerate(grads) if g is not None])
        back, residuals = self._backward(given, needs)
        body, inputs = back.body, len(self.body.params)
        tensors = [Front.wrap(r, self._edge_of(i, inputs) if i < inputs or (body and _leads_on(body, at)) else None)
                   for at, (i, r) in enumerate(zip(back.residuals, residuals, strict=True))]
        if mode.duals and self.extra is not None:
            for i, t in zip(back.residuals, tensors, strict=True):
                Front.dual(t, self.extra.tangents.get(i, {}))
        results: list[Any] = [None] * len(self.edges)
        if body is not None:
            of_kind = kind(self.name(), Once if reads(type(self), self.edges) else None, None)
            operands = [*tensors, *[grads[i] for i in given]]
            outputs = record_call(of_kind, body, operands)
            sources = tuple([t._source() is not None for t in operands])
            known = self.keeps is not None and mode.enabled and True not in sources[len(tensors):]
            for number, (position, gradient) in enumerate(zip(back.which, outputs, strict=True)):
                results[position] = gradient if not known else self._linked(
                    position, gradient, partial(_depends, body, sources, number))
            watch_again(self, back, operands, outputs, results)
        found = [self._nothing(i) if r is None and needed else r
                 for i, (r, needed) in enumerate(zip(results, needs, strict=True))]
        return [Front.wrap(f, None) if isinstance(f, LazyBuffer) else f for f in found]

    def _linked(self, position: int, gradient: Any, depends: Callable[[], bool]) -> Any:
        """The gradient of an input with the history that it has in PyTorch: that of what it reads there, though the
        slope be 0, and none if it reads nothing but in comparisons. ``gradient`` has that of all that minigrad's own
        backward reads; ``depends`` says whether it has a slope there."""
        rows: Keeps = (self.keeps if self.flows is None else self.flows) if self.keeps else ()
        row = rows[position] if position < len(rows) else ()
        inputs, values = len(self.body.params), (*self.body.params, *self.body.outputs)
        places = [p if p >= 0 else inputs - 1 - p for p in row if p < inputs]
        linked = [(values[p], e) for p in places if p < len(values) and (e := self._edge_of(p, inputs)) is not None]
        if gradient._source() is not None:
            alone = not linked and OWN not in row and not depends()
            return Front.wrap(gradient._read(), None) if alone else gradient
        if not linked:
            return gradient
        zeros = [Front.wrap(LazyBuffer.const(0, v.dtype, v.shape, v.device), e) for v, e in linked]
        body = _constant(gradient._read(), [z._read() for z in zeros])
        return record_call(kind(self.name(), Once, None), body, [gradient, *zeros])[0]

    def _edge_of(self, residual: int, inputs: int) -> Edge:
        """Where the gradient of a residual goes: an input's own edge, or back into this node for an output."""
        if residual >= inputs:
            return (self, residual - inputs) if self.body.flows[residual - inputs] else None
        return self.edges[residual] if residual < len(self.edges) else None

    def pack(self, tensors: Sequence[Any], inputs: int) -> None:
        """Let the innermost hooks keep what this node saves, the values of some of ``tensors``, the inputs and then the
        results. ``inputs``: how many inputs there are with those that are numbers, which are kept as they are."""
        if not self.saved:
            return
        pack, unpack = mode.packing[-1]
        numbers = inputs + len(self.body.outputs) - len(tensors)
        kept: list[Any] = []
        for position, lazy in zip(self.whole.residuals, self.saved, strict=True):
            at = position if position < inputs - numbers else position - numbers
            if inputs - numbers <= position < inputs:
                kept.append(lazy)
            else:
                with users_code:
                    kept.append(Packed(pack(tensors[at])))
        self.more().packed = kept, unpack
        for lazy in self.saved:
            lazy.owners -= 1
        self.saved = ()

    def unpack(self) -> None:
        """Have ``saved`` again, from what the hooks kept."""
        assert self.extra is not None and self.extra.packed is not None
        kept, unpack = self.extra.packed
        saved = []
        for item in kept:
            if isinstance(item, Packed):
                with users_code:
                    item = unpack(item.value)
                if not hasattr(item, "_read"):
                    raise TypeError("Output of saved tensor unpack_hook expected to be a Tensor but got result of type "
                                    f"{type(item).__name__}")
                item = item._read()
            item.owners += 1
            saved.append(item)
        self.saved = tuple(saved)

    def repack(self) -> None:
        """Let go of what ``unpack`` gave; the hooks have it still."""
        for lazy in self.saved or ():
            lazy.owners -= 1
        if self.saved is not None:
            self.saved = ()

    def release(self, entirely: bool = False) -> None:
        """Let go of the saved values. An op of which PyTorch saves no Tensor can still be differentiated again, unless
        it is to be released ``entirely``; one of which it saves one can not, whatever minigrad's backward reads."""
        unknown = entirely or self.keeps is None
        if self.saved is not None and (self.once or (unknown and self.saved) or (
                self.keeps is not None and self._frees())):
            for lazy in self.saved:
                lazy.owners -= 1
            self.saved, self.kept = None, ()
        if self.extra is not None and self.extra.packed is not None:
            self.extra.packed = self.saved = None

    def _frees(self) -> bool:
        found = reads(type(self), self.edges)
        return bool(found) if self.saved else any([at < len(self.edges) or at >= OWN for at in found])


@cache
def _gradients() -> ModuleType:
    """The tables of gradients, loaded when the first is asked for."""
    with importing():
        from minigrad import grad

    return grad


def _whole(body: Subgraph, needs: tuple[bool, ...]) -> Backward:
    """The backward of a body from all outputs that have gradients."""
    given = tuple([i for i, flows in enumerate(body.flows) if flows])
    return _gradients().backward_of(body, _filled(needs, body), given)


def _filled(needs: Sequence[bool], body: Subgraph) -> tuple[bool, ...]:
    """For each input of the body whether its gradient goes anywhere: no edges are kept for those at the end that are
    numbers."""
    return (*needs, *(False,) * (len(body.params) - len(needs)))


def _constant(value: LazyBuffer, others: Sequence[LazyBuffer]) -> Subgraph:
    """A function of the value and the others that is the value, and whose slopes by the others are 0."""
    params = [param(i, v.shape, v.dtype, v.device) for i, v in enumerate((value, *others))]
    return Subgraph("constant", params, [params[0].contiguous()], lambda inputs, _, grads: [
        grads[0], *[x.like(0) for x in inputs[1:]]])


def _leads_on(body: Subgraph, position: int) -> bool:
    """Whether a gradient flows to this input; else there are no zeros either, which infinite slopes would make NaN."""
    try:
        return _depends(body, tuple([i == position for i in range(len(body.params))]), *range(len(body.outputs)))
    except NotImplementedError:  # raised where that gradient is asked for
        return True


def _depends(body: Subgraph, needs: tuple[bool, ...], *outputs: int) -> bool:
    """Whether a gradient comes from these outputs to one of these inputs."""
    return bool(_gradients().backward_of(body, needs, outputs).which)


def record_call(kind_of: type[Node], body: Subgraph, tensors: Sequence[Differentiable]) -> list[Any]:
    """The Tensors that a call of ``body`` makes, with its entry on the tape."""
    values = [t._read() for t in tensors]
    outputs = apply(body, values)
    edges = tuple([t._source() for t in tensors]) if mode.enabled and True in body.flows else ()
    if not any([e is not None for e in edges]):
        results, node = [Front.wrap(o, None) for o in outputs], None
    else:
        node = kind_of(body, edges, (*values, *outputs))
        results = [Front.wrap(o, (node, i) if body.flows[i] else None) for i, o in enumerate(outputs)]
    if mode.duals:
        Front.forward(kind_of, node, body, tensors, results)
    return results


def kind(name: str, base: type[Node] | None = None, keeps: Keeps | str | None = "by name",
         flows: Keeps | None = None, again: tuple[str, ...] | None = None) -> type[Node]:
    """The subclass of Node, or of another ``base``, for the ops of this name; what they keep stands in ``KEEPS`` unless
    it is given. None: it is not known, as of an op's derivative, whose entry has its name. ``flows``: as ``FLOWS``.
    ``again``: as ``AGAIN``.

    >>> kind("MulBackward0").__name__
    'MulBackward0'
    """
    chosen: Any = base or (Refusing if name == NOT_IMPLEMENTED else Node)
    usual = AGAIN.get(name, OWN_FORMULA) if isinstance(keeps, str) or keeps is KEEPS.get(name) else OWN_FORMULA
    return _kind(name, chosen, KEEPS.get(name) if isinstance(keeps, str) else keeps,
                 FLOWS.get(name) if flows is None else flows, usual if again is None else again)


@cache
def _kind(name: str, base: Any, keeps: Keeps | None, flows: Keeps | None, again: tuple[str, ...]) -> type[Node]:
    return type(name, (base,), {"__slots__": (), "__module__": "minigrad.autograd", "keeps": keeps, "flows": flows,
                                "again": again, "into_part": name == "CopySlices", "over_all": name == "CopyBackwards",
                                "once": base.once or name == "CopySlices", "at_once": name == NOT_IMPLEMENTED})


NOT_IMPLEMENTED = "NotImplemented"
"""PyTorch's name of ops that it does not differentiate."""


class Once(Node):
    """The gradient of an op that keeps something: PyTorch's products of it keep their operands."""

    __slots__ = ()
    once = True


class Refusing(Node):
    """An op of a result that requires a gradient, but that PyTorch does not differentiate. ``in_place``: whether the
    result was put in the place of an operand."""

    __slots__ = ("in_place",)

    def __init__(self, body: Subgraph, edges: tuple[Edge, ...], values: Sequence[LazyBuffer]) -> None:
        super().__init__(body, edges, values)
        self.in_place = False

    def vjp(self, grads: Sequence[Any], needs: Sequence[bool]) -> list[Any]:
        """``RuntimeError``."""
        raise RuntimeError(f"derivative for aten::{self.body.name}{'_' * self.in_place} is not implemented")

    vjp_recorded = vjp

    def changed_in_place(self, before: Any, result: Any, after: Any) -> None:
        """The result was put into ``after``."""
        self.in_place = True


class Ending(Node):
    """An op that gives its operands no gradient, not even one of zeros."""

    __slots__ = ()
    once = True

    def vjp(self, grads: Sequence[Any], needs: Sequence[bool]) -> list[Any]:
        """Nothing. ``RuntimeError`` if the node was released."""
        self.check()
        return [None] * len(needs)

    vjp_recorded = vjp


def is_open(edge: Edge) -> bool:
    """Whether a gradient may still flow along an edge: the tape behind it was not used up, or in parts only, so that it
    comes to an op that has its values yet."""
    if not isinstance(edge, tuple):
        return False
    seen, stack, used = {edge[0]}, [edge[0]], False
    while stack:
        node = stack.pop()
        if node.saved:
            return True
        if node.saved is None:
            used = True
            continue
        for below in node.edges:
            if isinstance(below, tuple) and below[0] not in seen:
                seen.add(below[0])
                stack.append(below[0])
    return not used
