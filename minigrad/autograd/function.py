"""Stage: recording. In: a user's class with ``forward`` and ``backward``. Out: ``Function.apply``, which records it
as one op. The user's backward runs on Tensors; with ``create_graph`` it is recorded in its turn.
Next: ``graph/``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, wraps
from typing import Any

from minigrad.autograd.mode import enable_grad, mode, no_grad
from minigrad.autograd.node import RELEASED, Node, modified, next_sequence
from minigrad.autograd.protocol import Front
from minigrad.graph.lazy import LazyBuffer


class FunctionNode(Node):
    """The tape entry of a custom Function, and the ``ctx`` that its forward and backward receive."""

    __slots__ = ("__dict__", "_kept", "_needs", "function", "shapes", "specs")
    runs = True
    function: Any

    def __init__(self) -> None:
        self.edges = ()
        self.saved = ()
        self.kept = ()
        self.extra = None
        self.sequence = next_sequence()
        self._kept: tuple[Any, ...] | None = ()
        self._needs: tuple[bool, ...] = ()
        self.shapes: tuple[tuple[int, ...] | None, ...] = ()  # of the arguments; None for one that is no Tensor
        self.specs: list[Any] = []

    @property
    def count(self) -> int:
        return len(self.specs)

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep Tensors (or None) for ``backward``, which finds them in ``saved_tensors``."""
        self._kept = tuple([None if t is None else _Kept(t) for t in tensors])

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What ``save_for_backward`` kept; ``RuntimeError`` after a backward has freed it."""
        if self._kept is None:
            raise RuntimeError(RELEASED)
        return tuple([None if s is None else s.tensor(self) for s in self._kept])

    saved_variables = saved_tensors

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        """For each argument of ``forward``, whether its gradient is asked for."""
        return self._needs

    def mark_dirty(self, *tensors: Any) -> None:
        """Say that ``forward`` changed these inputs in place."""
        self.__dict__["dirty"] = {id(t) for t in tensors}

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Say that these outputs have no gradient."""
        self.__dict__["fixed"] = {id(t) for t in tensors}

    def set_materialize_grads(self, value: bool) -> None:
        """With False, ``backward`` gets None for an output that received no gradient; the default is zeros."""
        self.__dict__["materialize"] = value

    def vjp(self, grads: Sequence[LazyBuffer | None], needs: Sequence[bool]) -> list[LazyBuffer | None]:
        with no_grad():
            results = self._call([None if g is None else Front.wrap(g, None) for g in grads])
        return [None if r is None else r._read() for r in results]

    def vjp_recorded(self, grads: Sequence[Any], needs: Sequence[bool]) -> list[Any]:
        with enable_grad():
            return self._call(list(grads))

    def _call(self, grads: list[Any]) -> list[Any]:
        if self.__dict__.get("materialize", True):
            grads = [Front.wrap(LazyBuffer.const(0, dtype, shape, device), None) if g is None else g
                     for g, (shape, dtype, device) in zip(grads, self.specs, strict=True)]
        by_hand = self.function.vjp if self.function.vjp is not Function.vjp else self.function.backward
        results = by_hand(self, *grads)
        results = results if isinstance(results, tuple) else (results,)
        expected = len(self.edges)
        if len(results) > expected and all(r is None for r in results[expected:]):
            results = results[:expected]
        if len(results) != expected:
            raise RuntimeError(f"function {type(self).__name__} returned an incorrect number of gradients (expected "
                               f"{expected}, got {len(results)})")
        return [self._checked(i, r) for i, r in enumerate(results)]

    def _checked(self, position: int, gradient: Any) -> Any:
        expected = self.shapes[position]
        if gradient is None or expected is None:
            return None
        if gradient._shape() != expected:
            if not all(a in (1, b) for a, b in zip(expected[::-1], gradient._shape()[::-1], strict=False)):
                raise RuntimeError(f"Function {type(self).__name__} returned an invalid gradient at index {position} - "
                                   f"got {list(gradient._shape())} but expected shape compatible with {list(expected)}")
            gradient = gradient.sum_to_size(expected)
        return gradient

    def release(self, entirely: bool = False) -> None:
        super().release(entirely)
        self._kept = None if self._kept or entirely else self._kept


class _Kept:
    """A Tensor kept for backward. What may become an output is kept as an alias without an edge back to the node
    (that would be a cycle); ``number`` then says which output it is."""

    __slots__ = ("_tensor", "edits", "number", "original")

    def __init__(self, tensor: Any) -> None:
        self.original = id(tensor)
        self.number: int | None = None
        self.edits: int | None = None
        self._tensor = tensor if tensor._source() is not None else tensor.detach()

    def tensor(self, node: FunctionNode) -> Any:
        """The Tensor as ``backward`` sees it. ``RuntimeError`` if it was changed in place since ``forward``."""
        edits = self._tensor._storage.edits
        if self.edits not in (None, edits):
            made_by = f", which is output {self.number} of {type(node).__name__}," if self.number is not None else ""
            raise modified(f"[{self._tensor.type()} {list(self._tensor._shape())}]{made_by}", edits, self.edits)
        if self.number is None:
            return self._tensor
        result = self._tensor.detach()
        result._set_edge((node, self.number))
        return result


class Function:
    """A differentiable function of one's own: subclass it with static ``forward(ctx, ...)`` and ``backward(ctx, ...)``.

    Source: https://docs.pytorch.org/docs/stable/autograd.html#torch.autograd.Function

    >>> import minigrad
    >>> class Square(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         x, = ctx.saved_tensors
    ...         return 2 * x * g
    >>> x = minigrad.tensor(3.0, requires_grad=True)
    >>> Square.apply(x).backward()
    >>> x.grad
    tensor(6.)
    """

    @staticmethod
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        """The value; ``ctx`` keeps what ``backward`` needs. Subclasses define it."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradient of each argument of ``forward``, None where there is none. Subclasses define it."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD.")

    vjp = backward
    """Another name of ``backward``: a subclass defines one of them."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Where a subclass defines it, ``forward`` gets no ``ctx``, and this keeps what ``backward`` needs."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """Forward mode, which minigrad does not have for user functions."""
        raise NotImplementedError("You must implement the jvp function for custom autograd.Function to use it with "
                                  "forward mode AD.")

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any) -> Any:
        """A rule for ``vmap``, which minigrad does not have for user functions."""
        raise NotImplementedError("To use autograd.Function with vmap, you must either override the vmap staticmethod "
                                  "or set generate_vmap_rule=True.")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Functions are not called: ``apply`` is."""
        raise RuntimeError("Legacy autograd function with non-static forward method is deprecated. Please use "
                           "new-style autograd function with static forward method. "
                           "(Example: https://pytorch.org/docs/stable/autograd.html#torch.autograd.Function)")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Call ``forward`` and record it."""
        node = _node_class(cls.__name__)()
        node.function = cls
        sources = [a._source() if hasattr(a, "_source") else None for a in args]
        node._needs = tuple([s is not None for s in sources])
        with no_grad():
            if cls.setup_context is not Function.setup_context:
                results = cls.forward(*args, **kwargs)
                cls.setup_context(node, args, results)
            else:
                results = cls.forward(node, *args, **kwargs)
        if not mode.enabled or not any(node._needs):
            return results
        outputs = results if isinstance(results, tuple) else (results,)
        node.edges = tuple(sources)
        node.shapes = tuple([a._shape() if hasattr(a, "_source") else None for a in args])
        recorded = _record(node, args, outputs)
        return recorded if isinstance(results, tuple) else recorded[0]


def _record(node: FunctionNode, args: Sequence[Any], outputs: Sequence[Any]) -> tuple[Any, ...]:
    """The outputs as Tensors whose ``grad_fn`` is the node. An input returned unchanged becomes an alias of it."""
    for kept in node._kept or ():
        if kept is not None:
            kept.edits = kept._tensor._storage.edits
    given = {id(a) for a in args}
    dirty, fixed = node.__dict__.get("dirty", set()), node.__dict__.get("fixed", set())
    result = []
    for output in outputs:
        if not hasattr(output, "_source"):
            result.append(output)
            continue
        number = len(node.specs)
        node.specs.append((output._shape(), output.dtype, output._pending().device))
        if id(output) in given and id(output) not in dirty:
            output = output.detach()
        for saved in node._kept or ():
            if saved is not None and saved.original == id(output) and id(output) not in given:
                saved.number = number
        if id(output) not in fixed and output.dtype.is_float:
            if id(output) in dirty:
                output._rebase((node, number))
            else:
                output._set_edge((node, number))
        result.append(output)
    return tuple(result)


@cache
def _node_class(name: str) -> type[FunctionNode]:
    return type(f"{name}Backward", (FunctionNode,), {"__slots__": (), "__module__": "minigrad.autograd"})


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator for a ``backward`` that has no derivative: differentiating its results raises ``RuntimeError``.

    Source: https://docs.pytorch.org/docs/stable/notes/extending.html
    """
    @wraps(fn)
    def wrapper(ctx: Any, *args: Any) -> Any:
        with no_grad():
            results = fn(ctx, *args)
        if not mode.enabled or not any([getattr(a, "_source", lambda: None)() is not None for a in args]):
            return results
        outputs = results if isinstance(results, tuple) else (results,)
        known = [o for o in outputs if hasattr(o, "_source")]
        marked = iter(_Once.apply(next(a for a in args if getattr(a, "_source", lambda: None)() is not None), *known))
        outputs = tuple([next(marked) if hasattr(o, "_source") else o for o in outputs])
        return outputs if isinstance(results, tuple) else outputs[0]

    return wrapper


class _Once(Function):
    """The results of a backward that can't be differentiated; ``cause`` makes them require a gradient."""

    @staticmethod
    def forward(ctx: Any, cause: Any, *results: Any) -> Any:
        return tuple([r.detach() for r in results])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")


FunctionCtx = FunctionNode
"""What ``forward`` and ``backward`` get as ``ctx``."""

InplaceFunction = Function
"""The old base of functions that change their arguments: ``mark_dirty`` says so now."""
