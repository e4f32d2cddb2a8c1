"""Stage: front. In: a Python function over Tensors. Out: the same function, recorded as one node of the graph.
The body runs once for each combination of shapes, dtypes and other arguments; later calls make one FUNCTION node.
Next: ``nn/``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any, TypeVar

from minigrad.autograd.mode import no_grad
from minigrad.autograd.node import Node, kind
from minigrad.graph.function import Subgraph, call, param
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.base import Tensor, make, read_all, record, record_one
from minigrad.tensor.promotion import get_default_dtype
from minigrad.tensor.storage import tracing

F = TypeVar("F", bound=Callable[..., Any])


class Traced:
    """One trace: the subgraph, whether the function returned a tuple, and whether it can be one node: what HOST and
    COPY nodes give must be there before kernels read it, so a body that has some is recorded op by op."""

    __slots__ = ("is_one_node", "is_tuple", "subgraph")

    def __init__(self, subgraph: Subgraph, is_tuple: bool) -> None:
        self.subgraph = subgraph
        self.is_tuple = is_tuple
        self.is_one_node = not any(node.op in (Op.HOST, Op.COPY) for node in subgraph.order)


def _holds_tensors(arg: Any) -> bool:
    return isinstance(arg, list | tuple) and len(arg) > 0 and isinstance(arg[0], Tensor)


class Composite:
    """A function that is recorded as one node; see ``composite``."""

    def __init__(self, function: Callable[..., Any]) -> None:
        update_wrapper(self, function)
        self.function = function
        self.name = function.__name__
        self.node: type[Node] = kind("".join(p.capitalize() for p in self.name.split("_")) + "Backward0", "inputs")
        self.traces: dict[Any, Traced] = {}

    def __repr__(self) -> str:
        return f"<composite {self.name}>"

    def __call__(self, *args: Any, **static: Any) -> Any:
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
        lazies = read_all(tensors)
        key = (*parts, *[(v.shape, v.dtype, v.device) for v in lazies], get_default_dtype(),
               *[(k, type(v), v) for k, v in static.items()])
        traced = self.traces.get(key)
        if traced is None:
            traced = self.traces[key] = self._trace(args, static, lazies)
        if not traced.is_one_node:
            return self.function(*args, **static)
        outputs = call(traced.subgraph, lazies)
        if traced.is_tuple:
            return tuple(record(self.node, outputs, tensors, lazies))
        return record_one(self.node, outputs[0], tensors, outputs[0].srcs)

    def _trace(self, args: Sequence[Any], static: dict[str, Any], lazies: Sequence[LazyBuffer]) -> Traced:
        params = [param(i, v.shape, v.dtype, v.device) for i, v in enumerate(lazies)]
        tracing.append(self.name)
        try:
            given = iter([make(p) for p in params])
            placed = [next(given) if isinstance(a, Tensor) else
                      type(a)([next(given) for _ in a]) if _holds_tensors(a) else a for a in args]
            with no_grad():
                result = self.function(*placed, **static)
        finally:
            tracing.pop()
        results = result if isinstance(result, tuple) else (result,)
        outputs = [r._read() for r in results]
        return Traced(Subgraph(self.name, params, outputs), isinstance(result, tuple))


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
