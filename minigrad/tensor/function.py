"""Stage: front. In: the Tensors, numbers and static arguments of a call. Out: the Tensors it makes, recorded: this is
the one way in which an op enters the graph and the tape.
Next: ``duals.py``."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from minigrad.autograd.keeps import Keeps
from minigrad.autograd.mode import mode, no_grad
from minigrad.autograd.node import Node, kind
from minigrad.autograd.protocol import Front
from minigrad.autograd.refusals import refusing_some
from minigrad.dtype import DType
from minigrad.graph.function import Subgraph, apply
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.lines import Call, Line, Place, remember, user_line
from minigrad.runtime.locks import record_lock
from minigrad.tensor.autocast import casted, rule_of
from minigrad.tensor.base import AnyTensor, made
from minigrad.tensor.body import Body, ByType
from minigrad.tensor.entry import Entry
from minigrad.tensor.replay import FOLLOW, MOST_NOTED, OFF, Trace, several, thread
from minigrad.tensor.storage import Writes, _unsettled, begin_step, settle, tracing

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

Number = tuple[Any, DType]
F = TypeVar("F", bound="Function")


class Function:
    """A user op. ``name`` is its name in kernels, ``node`` that of its entry on the tape: ``"MulBackward0"``.

    ``compute`` takes the values of the Tensors, then those of the numbers as 0-d values, then the static arguments; its
    gradient follows from the table unless it is given; ``differentiable``: from how many of the outputs, the first;
    ``keeps``, ``again``: what PyTorch's backward, and that of its backward, read where that is not what its ops of this
    name do (see ``keeps.py`` and ``again.py``).
    ``ahead``: forward mode follows from ``compute``, not from ``gradient``. See ``Body``. Inside ``autocast`` the
    operands are cast first, as the tables say for ``name``.

    >>> import minigrad
    >>> twice = Function("twice", lambda x: x.binary("ADD", x), "TwiceBackward0")
    >>> twice((minigrad.tensor([1.0, 2.0]),))
    tensor([2., 4.])
    """

    __slots__ = ("_kind", "_node", "body", "casts")

    def __init__(self, name: str, compute: Callable[..., Any], node: str,
                 gradient: Callable[..., Any] | ByType | None = None, differentiable: int | None = None,
                 keeps: Keeps | str = "by name", ahead: bool = False, again: tuple[str, ...] | None = None) -> None:
        self.body = Body(name, compute, gradient, differentiable, ahead)
        self._node: type[Node] | None = None
        self._kind = partial(kind, node, keeps=keeps, again=again)
        self.casts = rule_of(name)

    @property
    def node(self) -> type[Node]:
        """The class of its entries on the tape, which is made when it is first asked for: an import makes 300 ops."""
        if self._node is None:
            self._node = self._kind()
        return self._node

    @node.setter
    def node(self, node: type[Node]) -> None:
        self._node = node

    def __repr__(self) -> str:
        return f"<Function {self.body.name}>"

    def __str__(self) -> str:
        return self.body.name

    def first(self, tensors: Sequence[Tensor], static: tuple[Hashable, ...] = (),
              numbers: Sequence[Number] = ()) -> Tensor:
        """The first output of a call. The same as the call itself, which costs more. ``TypeError`` if an operand is no
        Tensor."""
        if self.casts is not None and mode.autocast is not None:
            tensors = casted(self.casts, tensors)
        trace = thread.trace
        if trace.state == FOLLOW and not several:
            try:
                known = trace.quick(trace, self, static, mode.enabled, tensors, numbers)
                return known[0] if known is not None else self._call(tensors, static, numbers, False)[0]
            except AttributeError:
                _require(self, tensors)
                raise
        return self.all(tensors, static, numbers)[0]

    __call__ = first

    def all(self, tensors: Sequence[Tensor], static: tuple[Hashable, ...] = (),
            numbers: Sequence[Number] = ()) -> list[Tensor]:
        """All outputs of a call."""
        if self.casts is not None and mode.autocast is not None:
            tensors = casted(self.casts, tensors)
        try:
            if several:
                with record_lock:
                    return self._call(tensors, static, numbers)
            return self._call(tensors, static, numbers)
        except AttributeError:
            _require(self, tensors)
            raise

    def _call(self, tensors: Sequence[Tensor], static: tuple[Hashable, ...], numbers: Sequence[Number],
              quickly: bool = True, how: Any = None) -> list[Tensor]:
        """``all``. Not ``quickly`` if that has been tried. ``how``: see ``Trace.follow``."""
        trace = thread.trace
        if trace.state:
            known = None
            if quickly and trace.state == FOLLOW:
                known = trace.quick(trace, self, static, mode.enabled, tensors, numbers)
            if known is None:
                known = trace.follow(self, static, tensors, numbers, how)
            if known is not None:
                return known
            trace = thread.trace
            key = trace.asked
        elif trace.stopped and mode.enabled and Writes.any():
            begin_step(tensors)
            if trace is not thread.trace:
                return self._call(tensors, static, numbers)
        values = []
        for t in tensors:
            values.append(t._read())
        for value, dtype in numbers:
            values.append(LazyBuffer.const(value, dtype, (), values[0].device))
        body = self.body.at(values, static)
        results = recorded(self.node, body, tensors, values)
        line = user_line() if body.indexed else None
        if line is not None and type(self) is Function:
            self.__class__ = Indexing
            if trace.state != OFF and key[2] is mode.enabled:
                key[2] = from_here(trace)
        if trace.state == OFF:
            trace.hold(results)
            if line is None and (thread.noted < MOST_NOTED or body.large or body.outputs[0].device != "CPU"
                                 or trace.capture is not None or mode.anomaly):
                thread.noted += 1
                line = user_line()
        else:
            entry = trace.note(key, Entry(body, self.node), results, values[len(tensors):])
            if entry is not None and (line is not None or entry.line is None):
                entry.line = line = line or user_line()
        if line is not None:
            made_at(results, (line, body))
        return results


class _Made(Place):
    """Where a call was made, and what its key has in the place of whether the tape is on: that, and the line."""

    __slots__ = ("how",)
    how: tuple[bool | None, Line | None]


_hows: dict[tuple[bool | None, Line | None], tuple[bool | None, Line | None]] = {}
"""The one of each, so that they can be told apart as objects."""


class Indexing(Function):
    """A Function whose body reads or writes where index tensors say. Its calls from two lines are two calls, though
    they compute the same: so the error of a run that is replayed names the right one. A Function becomes one when it
    is first seen to index."""

    __slots__ = ()

    def first(self, tensors: Sequence[Tensor], static: tuple[Hashable, ...] = (),
              numbers: Sequence[Number] = ()) -> Tensor:
        """The first output of a call."""
        return self.all(tensors, static, numbers)[0]

    __call__ = first

    def _call(self, tensors: Sequence[Tensor], static: tuple[Hashable, ...], numbers: Sequence[Number],
              quickly: bool = True, how: Any = None) -> list[Tensor]:
        trace = thread.trace
        if trace.state == OFF:
            return super()._call(tensors, static, numbers)
        how = from_here(trace)
        known = trace.quick(trace, self, static, how, tensors, numbers) if trace.state == FOLLOW else None
        return super()._call(tensors, static, numbers, False, how) if known is None else known


def from_here(trace: Trace) -> Any:
    """Whether the tape is on, and the line of the call that is made: mostly that of the call which came here last."""
    entry = trace.entry
    last: Any = entry.place
    if last is None or last.how[0] is not mode.enabled or not last.is_here():
        entry.place = last = _Made.here()
        how = mode.enabled, last.line
        last.how = _hows.setdefault(how, how)
    return last.how


@cache
def refusing(function: F, refusals: tuple[tuple[int, str], ...], error: Any = RuntimeError) -> F:
    """The Function, whose backward raises an error if it comes to one of some operands: ``refusals`` has their numbers
    and the words."""
    made = copy(function)
    made.node = kind(function.node.__name__, refusing_some(refusals, error), function.node.keeps)
    return made


def watched(result: Tensor, *tensors: Tensor | None) -> Tensor:
    """The result, whose entry on the tape also watches those of these that are Tensors: backward reads them in PyTorch,
    though what is computed here has others in their place. Not in a round that is replayed: that goes as one went in
    which they were watched."""
    source = result._source() if result._spec is None else None
    if isinstance(source, tuple):
        source[0].watch([t for t in tensors if t is not None])
    return result


def _require(function: Function, tensors: Sequence[Any]) -> None:
    """``TypeError`` unless all operands are Tensors."""
    for t in tensors:
        if not isinstance(t, AnyTensor):
            raise TypeError(f"{function}(): expected Tensors as operands, not {type(t).__name__}") from None


def made_at(results: Sequence[Tensor], call: Call) -> None:
    """Note in which call these Tensors were made, for errors of runs, also of those of their gradients."""
    for r in results:
        if r._view is None:
            remember(r._storage.lazy, call)
        if type(r._edge) is tuple:
            r._edge[0].call = call


def recorded(node: type[Node], body: Subgraph, tensors: Sequence[Tensor], values: Sequence[LazyBuffer]) -> list[Tensor]:
    """The outputs of ``body`` at ``values``, which were read from ``tensors`` (those beyond them are numbers), and the
    call's entry on the tape."""
    outputs = apply(body, values)
    entry = None
    if mode.enabled and True in body.flows:
        for t in tensors:
            if t._requires_grad and (t._storage.edits >= 0 or any([o._storage.edits >= 0 for o in tensors])):
                entry = _taped(node, body, tensors, values, outputs)  # before the op may run: what it saves is kept
                break
    if _unsettled:
        outputs = settle(outputs)
    results = []
    for o in outputs:
        results.append(made(o))
    if entry is not None:
        for i, result in enumerate(results):
            if body.flows[i]:
                result._edge = (entry, i)
                result._requires_grad = True
        if entry.keeps:
            entry.keep(tensors, results)
        if mode.packing:
            entry.pack([*tensors, *results], len(values))
    if mode.duals:
        Front.forward(node, entry, body, [*tensors, *[made(v) for v in values[len(tensors):]]], results)
    return results


def _taped(node: type[Node], body: Subgraph, tensors: Sequence[Tensor], values: Sequence[LazyBuffer],
           outputs: Sequence[LazyBuffer]) -> Node | None:
    """The entry on the tape; None if no output is differentiable."""
    if True not in body.flows:
        return None
    edges = []
    for t in tensors:
        view = t._view
        if view is not None and view.edits >= 0:
            t._check_several(view)
        edges.append(None if not t._requires_grad else t if t._edge is None else t._edge)
    return node(body, tuple(edges), (*values, *outputs))


@contextmanager
def tracing_body(name: str) -> Iterator[None]:
    """A block in which the body of ``name`` is written with Tensors on placeholders: no tape, no trace, no casts."""
    tracing.names.append(name)
    autocast, mode.autocast = mode.autocast, None  # the operands are cast already
    level, tracing.level = tracing.level, None
    duals, mode.duals = mode.duals, ()
    try:
        with no_grad(), thread.aside():
            yield
    finally:
        mode.autocast, mode.duals, tracing.level = autocast, duals, level
        tracing.names.pop()


def with_tensors(name: str, gradient: Callable[..., Sequence[Tensor | None]]) -> Callable[..., Any]:
    """The gradient ``gradient(inputs, outputs, grads, *static)`` of the op ``name``, written with Tensors, as a
    Function takes it."""

    def written(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer | None],
                *static: Any) -> list[LazyBuffer | None]:
        given = [[None if v is None else made(v) for v in values] for values in (inputs, outputs, grads)]
        with tracing_body(name):
            return [None if f is None else f._read() for f in gradient(*given, *static)]

    return written


def tensor_function(name: str, node: str, body: Callable[..., Tensor],
                    gradient: Callable[..., Sequence[Tensor | None]] | None = None) -> Function:
    """A Function of one result whose body is written with Tensors, and its gradient if that is by hand. It is what a
    composite is, for ops that ``Tensor`` itself is made of."""

    def value(*given: Any) -> LazyBuffer:
        with tracing_body(name):
            return body(*[made(g) if isinstance(g, LazyBuffer) else g for g in given])._read()

    return Function(name, value, node, None if gradient is None else with_tensors(f"{name}_backward", gradient))
