"""Stage: front. In: a Python function over Tensors. Out: the same function, recorded as one node of the graph.
The body runs once for each combination of shapes, dtypes and other arguments; later calls make one FUNCTION node.
Next: ``autograd/``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any, TypeVar

from minigrad.autograd.mode import mode, no_grad
from minigrad.autograd.node import Node, kind
from minigrad.graph.function import Subgraph, param
from minigrad.graph.lazy import LazyBuffer
from minigrad.runtime.locks import record_lock
from minigrad.tensor.base import make
from minigrad.tensor.body import remember
from minigrad.tensor.function import recorded
from minigrad.tensor.promotion import get_default_dtype
from minigrad.tensor.replay import FOLLOW, OFF, RECORD, Entry, several, thread
from minigrad.tensor.storage import Writes, begin_step, tracing
from minigrad.tensor.tensor_class import Tensor

F = TypeVar("F", bound=Callable[..., Any])


def _holds_tensors(arg: Any) -> bool:
    return isinstance(arg, list | tuple) and len(arg) > 0 and isinstance(arg[0], Tensor)


class Composite:
    """A function that is recorded as one node; see ``composite``."""

    def __init__(self, function: Callable[..., Any]) -> None:
        update_wrapper(self, function)
        self.function = function
        self.name = function.__name__
        self.node: type[Node] = kind("".join(p.capitalize() for p in self.name.split("_")) + "Backward0")
        self.traces: dict[Any, tuple[Subgraph, bool]] = {}

    def __repr__(self) -> str:
        return f"<composite {self.name}>"

    def __call__(self, *args: Any, **static: Any) -> Any:
        if several:
            with record_lock:
                return self._call(args, static)
        return self._call(args, static)

    def _call(self, args: Sequence[Any], static: dict[str, Any]) -> Any:
        tensors: list[Tensor] = []
        parts: list[Any] = []
        for arg in args:
            if isinstance(arg, Tensor):
                tensors.append(arg)
                parts.append(Tensor)
            elif _holds_tensors(arg):
                tensors += arg
                parts.append((type(arg), len(arg)))
            else:
                parts.append((type(arg), arg))
        parts += [get_default_dtype(), *[(k, type(v), v) for k, v in static.items()]]
        trace = thread.trace
        if trace.stopped and mode.enabled and Writes.any() and not tracing.names:
            begin_step(tensors)
            trace = thread.trace
        known_call = None
        if trace.state and not tracing.names:
            known_call = trace.key(self, tuple(parts), tensors)
            if known_call is not None and trace.state == FOLLOW:
                known = trace.advance(known_call, self.name)
                if known is not None:
                    shells = trace.shells(known)
                    return tuple(shells) if known.is_tuple else shells[0]
        values = [t._read() for t in tensors]
        key = (*parts, *[(v.shape, v.dtype, v.device) for v in values])
        found = self.traces.get(key)
        body, is_tuple = remember(self.traces, key, self._trace(args, static, values)) if found is None else found
        results = recorded(self.node, body, tensors, values)
        if trace.state == OFF:
            if not tracing.names:
                trace.hold(results)
        elif known_call is not None and trace.state == RECORD:
            trace.note(known_call, Entry(body, self.node, is_tuple=is_tuple), results)
        return tuple(results) if is_tuple else results[0]

    def _trace(self, args: Sequence[Any], static: dict[str, Any],
               values: Sequence[LazyBuffer]) -> tuple[Subgraph, bool]:
        """The traced body, and whether the function returned a tuple."""
        params = [param(i, v.shape, v.dtype, v.device) for i, v in enumerate(values)]
        tracing.names.append(self.name)
        try:
            given = iter([make(p) for p in params])
            placed = [next(given) if isinstance(a, Tensor) else
                      type(a)([next(given) for _ in a]) if _holds_tensors(a) else a for a in args]
            with no_grad():
                result = self.function(*placed, **static)
        finally:
            tracing.names.pop()
        results = result if isinstance(result, tuple) else (result,)
        return Subgraph(self.name, params, [r._read() for r in results]), isinstance(result, tuple)


def composite(function: F) -> F:
    """Record calls of ``function`` as one node of the graph and one entry of the tape.

    Positional arguments that are Tensors, or non-empty lists or tuples of Tensors, are inputs; everything else is
    static: hashable, and traced anew for each value. The result is a Tensor or a tuple of Tensors. The body sees
    placeholders: shapes and dtypes are known, values are not.

    >>> import minigrad
    >>> @composite
    ... def scaled(x, *, by):
    ...     return x * by
    >>> scaled(minigrad.tensor([1.0, 2.0]), by=3.0)
    tensor([3., 6.])
    """
    return Composite(function)  # type: ignore[return-value]
