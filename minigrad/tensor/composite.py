"""Stage: front. In: a Python function over Tensors. Out: the same function, recorded as one node of the graph.
The body runs once for each combination of shapes, dtypes and other arguments; later calls make one FUNCTION node.
Next: ``batch.py``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from functools import partial, update_wrapper
from typing import Any, TypeVar, overload

from minigrad.autograd.keeps import Keeps
from minigrad.graph.lazy import LazyBuffer
from minigrad.tensor.base import made
from minigrad.tensor.function import Function, refusing, tracing_body
from minigrad.tensor.operands import require_tensor
from minigrad.tensor.promotion import get_default_dtype
from minigrad.tensor.tensor_class import Tensor

F = TypeVar("F", bound=Callable[..., Any])


_SEQUENCES = (list, tuple)


class Composite:
    """A function that is recorded as one node; see ``composite``. It is a ``Function`` whose body is written with
    Tensors. ``one_tuples``: the static arguments with which it returns a tuple of a single Tensor."""

    def __init__(self, function: Callable[..., Any], node: str = "", differentiable: int | None = None,
                 keeps: Keeps | str = "by name") -> None:
        update_wrapper(self, function)
        self.function = function
        self.name = function.__name__
        node = node or "".join(p.capitalize() for p in self.name.split("_")) + "Backward0"
        self.recorded = Function(self.name, self._compute, node, differentiable=differentiable, keeps=keeps)
        self.one_tuples: set[Any] = set()
        self.by_hand: Callable[..., Any] | None = None

    def __repr__(self) -> str:
        return f"<composite {self.name}>"

    def __call__(self, *args: Any, **named: Any) -> Any:
        tensors: list[Tensor] = []
        layout: list[Any] = []
        for arg in (*args, *named.values()) if named else args:
            if isinstance(arg, Tensor):
                tensors.append(arg)
                layout.append(Tensor)
            elif isinstance(arg, _SEQUENCES) and len(arg) > 0 and isinstance(arg[0], Tensor):
                tensors += arg
                layout.append((type(arg), len(arg)))
            else:
                layout.append((type(arg), arg))
        static = (tuple(layout), tuple(named), get_default_dtype())
        try:
            results = self.recorded.all(tuple(tensors), static)
        except (AttributeError, TypeError):
            self._require_tensors(args, named)
            raise
        if len(results) > 1 or (self.one_tuples and static in self.one_tuples):
            return tuple(results)
        return results[0]

    def _require_tensors(self, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        """``TypeError`` for an argument that is no Tensor where the body's annotation says so: that is why it failed,
        or why the static arguments, among which it was, have no hash."""
        given = inspect.signature(self.function).bind(*args, **named)
        for position, (name, value) in enumerate(given.arguments.items(), 1):
            if given.signature.parameters[name].annotation in ("Tensor", Tensor):
                require_tensor(value, self.name, name, position)

    def refusing(self, refusals: tuple[tuple[int, str], ...]) -> Composite:
        """The composite, whose backward refuses the gradients of some operands: see ``function.refusing``."""
        made = copy(self)
        made.recorded = refusing(self.recorded, refusals)
        return made

    def gradient(self, by_hand: Callable[..., Any]) -> Callable[..., Any]:
        """Let ``by_hand(outputs, grads, *arguments)`` give the gradients, in place of what follows from the body: one
        for each Tensor among the arguments, or None. ``grads`` has None for an output from which nothing comes. What it
        does not read is not kept. Written with Tensors, as the body is, it has derivatives of its own."""
        self.by_hand = by_hand
        self.recorded.body.gradient = self._gradient
        return by_hand

    def _compute(self, *traced: Any) -> tuple[LazyBuffer, ...]:
        """What the function makes of placeholders and the static arguments."""
        *params, layout, names, default = traced
        result = self._traced(self.function, (), params, layout, names)
        if not isinstance(result, tuple):
            return (result._read(),)
        if len(result) == 1:
            self.one_tuples.add((layout, names, default))
        return tuple([r._read() for r in result])

    def _gradient(self, inputs: Any, outputs: Any, grads: Any, *static: Any) -> list[LazyBuffer | None]:
        """What the gradient by hand makes of placeholders."""
        layout, names, _ = static
        before = [made(o) for o in outputs], [None if g is None else made(g) for g in grads]
        found = self._traced(self.by_hand, before, inputs, layout, names)
        return [None if f is None else f._read() for f in found]

    def _traced(self, function: Any, before: tuple[Any, ...], params: Any, layout: Any, names: Any) -> Any:
        given = iter([made(p) for p in params])
        placed = [next(given) if part is Tensor else part[1] if not _is_sequence(part) else
                  part[0]([next(given) for _ in range(part[1])]) for part in layout]
        first_named = len(placed) - len(names)
        with tracing_body(self.name):
            return function(*before, *placed[:first_named], **dict(zip(names, placed[first_named:], strict=True)))


def _is_sequence(part: tuple[type, Any]) -> bool:
    """Whether a part of the layout stands for several Tensors. A static list or tuple has itself as its second item."""
    return issubclass(part[0], list | tuple) and isinstance(part[1], int)


@overload
def composite(function: F) -> F:
    """As a decorator without arguments."""


@overload
def composite(*, node: str = "", differentiable: int | None = None,
              keeps: Keeps | str = "by name") -> Callable[[F], F]:
    """As a decorator with arguments."""


def composite(function: Any = None, *, node: str = "", differentiable: int | None = None,
              keeps: Keeps | str = "by name") -> Any:
    """Record calls of ``function`` as one node of the graph and one entry of the tape. The entry is called ``node``, or
    by the function's name if none is given. ``keeps``: see ``Function``.

    Arguments that are Tensors, or non-empty lists or tuples of Tensors, are inputs, given by position or by name.
    Everything else is static: hashable, and traced anew for each value. The result is a Tensor or a tuple of Tensors.
    The body sees placeholders: shapes and dtypes are known, values are not. ``RuntimeError`` if it reads memory that is
    no input: a Tensor from outside would be frozen as it was at the first call.

    ``@composite(differentiable=n)``: gradients come from the first n results only; the others require none. The
    decorator ``@f.gradient`` of a composite f makes a function its gradient; see ``Composite.gradient``.

    >>> import minigrad
    >>> @composite
    ... def scaled(x, *, by):
    ...     return x * by
    >>> scaled(minigrad.tensor([1.0, 2.0]), by=3.0)
    tensor([3., 6.])
    """
    if function is not None and not hasattr(function, "__name__"):
        raise TypeError(f"composite() decorates a function, not {type(function).__name__}")
    make = partial(Composite, node=node, differentiable=differentiable, keeps=keeps)
    return make if function is None else make(function)
