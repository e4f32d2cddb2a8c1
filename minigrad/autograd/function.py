"""Stage: recording. In: a user's class with ``forward`` and ``backward``. Out: ``Function.apply``, which records it
as one op. The user's backward runs on Tensors; with ``create_graph`` it is recorded in its turn.
Next: ``graph/``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache, wraps
from typing import Any

from minigrad.autograd.backward import grad
from minigrad.autograd.handles import next_sequence
from minigrad.autograd.keeps import modified
from minigrad.autograd.mode import mode, no_grad, recording
from minigrad.autograd.node import RELEASED, Node
from minigrad.autograd.protocol import Front
from minigrad.autograd.watching import INFERENCE
from minigrad.graph.lazy import LazyBuffer
from minigrad.runtime.locks import users_code


class FunctionNode(Node):
    """The tape entry of a custom Function, and the ``ctx`` that its forward and backward receive."""

    __slots__ = ("__dict__", "_ahead", "_kept", "_needs", "function", "shapes", "specs")
    runs = True
    function: Any

    def __init__(self) -> None:
        self.edges = ()
        self.saved = ()
        self.kept = ()
        self.extra = self.call = None
        self.sequence = next_sequence()
        self._kept: tuple[Any, ...] | None = ()
        self._ahead: tuple[Any, ...] | None = None  # what ``save_for_forward`` kept, until ``jvp`` was called
        self._needs: tuple[bool, ...] = ()
        self.shapes: tuple[tuple[int, ...] | None, ...] = ()  # of the arguments; None for one that is no Tensor
        self.specs: list[Any] = []
        if mode.anomaly:
            self.say_where()

    @property
    def count(self) -> int:
        return len(self.specs)

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep Tensors (or None) for ``backward``, which finds them in ``saved_tensors``."""
        self._kept = tuple([None if t is None else _Kept(t) for t in tensors])

    def save_for_forward(self, *tensors: Any) -> None:
        """Keep Tensors (or None) for ``jvp``, which finds them in ``saved_tensors``."""
        self._ahead = tensors

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What ``save_for_backward`` kept, or in ``jvp`` ``save_for_forward``; ``RuntimeError`` after a backward has
        freed it."""
        if self._ahead is not None:
            return self._ahead
        if self._kept is None:
            raise RuntimeError(RELEASED)
        return tuple([None if s is None else s.tensor(self) for s in self._kept])

    @property
    def saved_variables(self) -> tuple[Any, ...]:
        """``saved_tensors`` by their old name, with a warning."""
        warnings.warn("'saved_variables' is deprecated; use 'saved_tensors'", DeprecationWarning, stacklevel=2)
        return self.saved_tensors

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
        return self._call(list(grads))

    def _call(self, grads: list[Any]) -> list[Any]:
        if self.__dict__.get("materialize", True):
            grads = [g if g is not None or spec is None else _zero_of(*spec)
                     for g, spec in zip(grads, self.specs, strict=True)]
        if self.function.vjp is not Function.vjp and self.function.backward is not Function.backward:
            raise RuntimeError("Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You "
                               "should only implement one of them.")
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


def _zero_of(shape: tuple[int, ...], dtype: Any, device: str) -> Any:
    return Front.wrap(LazyBuffer.const(0, dtype, shape, device), None)


class _Kept:
    """A Tensor kept for backward. What may become an output is kept as an alias without an edge back to the node
    (that would be a cycle); ``number`` then says which output it is."""

    __slots__ = ("_tensor", "changes", "edits", "number", "original", "packed")

    def __init__(self, tensor: Any) -> None:
        self.packed: Any = None
        if mode.packing:
            pack, unpack = mode.packing[-1]
            with users_code:
                self.packed = (pack(tensor), unpack)
        self.original = id(tensor)
        self.number: int | None = None
        self.edits: int | None = None
        self._tensor = tensor if tensor._source() is not None else tensor.detach()
        self.changes: dict[int, Any] = {}

    def tensor(self, node: FunctionNode) -> Any:
        """The Tensor as ``backward`` sees it. ``RuntimeError`` if it was changed in place since ``forward``."""
        edits = self._tensor._storage.edits
        if self.edits not in (None, edits):
            made_by = f", which is output {self.number} of {type(node).__name__}," if self.number is not None else ""
            raise modified(f"[{self._tensor.type()} {list(self._tensor._shape())}]{made_by}", edits, self.edits)
        if self.packed is not None:
            packed, unpack = self.packed
            with users_code:
                return Front.wrap(unpack(packed)._read(), self._tensor._source() if self.number is None else
                                  (node, self.number))
        if self.number is None and not self.changes:
            return self._tensor
        edge = self._tensor._source() if self.number is None else (node, self.number)
        result = Front.wrap(self._tensor._read(), edge)
        Front.dual(result, self.changes)
        return result


@cache
def _node_class(name: str) -> type[FunctionNode]:
    return type(f"{name}Backward", (FunctionNode,), {"__slots__": (), "__module__": "minigrad.autograd"})


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

    _backward_cls: type[FunctionNode]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._backward_cls = _node_class(cls.__name__)

    @staticmethod
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        """The value; ``ctx`` keeps what ``backward`` needs. Subclasses define it."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any, **kwargs: Any) -> Any:
        """The gradient of each argument of ``forward``, None where there is none. Subclasses define it; there are no
        ``kwargs``, but with them type checkers take a subclass's parameters, whatever their names."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD.")

    vjp = backward
    """Another name of ``backward``: a subclass defines one of them."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Where a subclass defines it, ``forward`` gets no ``ctx``, and this keeps what ``backward`` needs."""
        raise NotImplementedError("setup_context is not implemented.")

    generate_vmap_rule = False
    """Whether ``vmap`` may call ``forward`` and ``backward`` on placeholders for one row."""

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any, **kwargs: Any) -> Any:
        """Forward mode: the tangent of each output, from those of the arguments (None where there is none). Subclasses
        define it."""
        raise NotImplementedError("You must implement the jvp function for custom autograd.Function to use it with "
                                  "forward mode AD.")

    @staticmethod
    def vmap(info: Any, in_dims: Any, *args: Any, **kwargs: Any) -> Any:
        """The function on all rows at once: ``in_dims`` has for each argument the axis of rows, or None;
        ``info.batch_size`` is their number and ``info.randomness`` that of ``vmap``. It returns the outputs and the
        axis of rows of each."""
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
        changes = _changes(args) if mode.duals else []
        levels = mode.duals
        if changes:
            mode.duals = ()
        try:
            with no_grad():
                in_rows = None if Front.rows is None else Front.rows(cls, args)
                if cls.setup_context is not Function.setup_context:
                    results = cls.forward(*args, **kwargs) if in_rows is None else in_rows()
                    cls.setup_context(node, _with_defaults(cls.forward, args, kwargs), results)
                else:
                    results = cls.forward(node, *args, **kwargs)
            outputs = results if isinstance(results, tuple) else (results,)
            if mode.enabled and any(node._needs):
                node.edges = tuple(sources)
                node.shapes = tuple([a._shape() if hasattr(a, "_source") else None for a in args])
                outputs = _record(node, args, outputs)
        finally:
            mode.duals = levels
        known = {id(a): Front.tangents(a) for a in args if hasattr(a, "_source")} if changes else {}
        for saved in node._kept or () if changes else ():
            if saved is not None:
                saved.changes = dict(known.get(saved.original, {}))
        if changes and not node.specs:
            node.specs = [(o._shape(), o.dtype, o._pending().device) for o in outputs if hasattr(o, "_source")]
        for i, level, tangents in changes:
            mode.duals = levels[:i]
            try:
                found = _forward(node, args, outputs, tangents)
            finally:
                mode.duals = levels
            for output, tangent in zip(outputs, found, strict=True):
                if tangent is not None:
                    Front.dual(output, {level: tangent})
            for saved in node._kept or ():
                for number, output in enumerate(outputs):
                    if saved is not None and (saved.number == number or saved.original == id(output)):
                        saved.changes = Front.tangents(output)
        node._ahead = None
        return outputs if isinstance(results, tuple) else outputs[0]


def _changes(args: Sequence[Any]) -> list[tuple[int, int, list[Any]]]:
    """The levels of forward mode at which an argument has a tangent, their places, and all tangents there."""
    known = [Front.tangents(a) if hasattr(a, "_source") else {} for a in args]
    return [(i, level, [k.get(level) for k in known]) for i, level in enumerate(mode.duals)
            if any([level in k for k in known])]


def _forward(node: FunctionNode, args: Sequence[Any], outputs: Sequence[Any], tangents: list[Any]) -> tuple[Any, ...]:
    """The tangents of the outputs, by the user's ``jvp``; zeros where an argument has none."""
    if node.__dict__.get("materialize", True):
        tangents = [Front.wrap(a._read().like(0), None) if t is None and hasattr(a, "_source") else t
                    for a, t in zip(args, tangents, strict=True)]
    found = node.function.jvp(node, *tangents)
    found = found if isinstance(found, tuple) else (found,)
    if len(found) != len(outputs):
        raise RuntimeError(f"Function's jvp returned an invalid number of forward gradients (expected {len(outputs)} "
                           f"but got {len(found)})")
    for output, tangent in zip(outputs, found, strict=True):
        if tangent is not None and tangent._shape() != output._shape():
            raise RuntimeError("Trying to set a forward gradient that has a different size than that of the original "
                               f"Tensor, this is not supported. Tensor is of size {list(output._shape())} while the "
                               f"given forward gradient is of size {list(tangent._shape())}.")
    return found


class Transposed(Function):
    """A Function of minigrad's own whose forward mode follows from its ``backward``: that is linear in the gradients u
    of the outputs, so its gradient by u, started from the tangents, is the Jacobian times them."""

    generate_vmap_rule = True

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any, **kwargs: Any) -> Any:
        taped = bool(mode.enabled)
        with recording():
            starts = [Front.wrap(LazyBuffer.const(0, dtype, shape, device), None) for shape, dtype, device in ctx.specs]
            starts = [s.requires_grad_() if dtype.is_inexact else None for s, (_, dtype, _) in zip(
                starts, ctx.specs, strict=True)]
            found = ctx.function.backward(ctx, *starts)
        found = found if isinstance(found, tuple) else (found,)
        pairs = [(b, t) for b, t in zip(found, grad_inputs, strict=False) if b is not None and t is not None
                 and b._source() is not None]
        chosen = [s for s in starts if s is not None]
        if not pairs:
            return (None,) * len(starts)
        each = iter(grad([b for b, _ in pairs], chosen, [t for _, t in pairs], create_graph=taped, allow_unused=True))
        return tuple([None if s is None else next(each) for s in starts])


def _with_defaults(forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments of a call, with those that were left out."""
    import inspect

    bound = inspect.signature(forward).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.args


def _record(node: FunctionNode, args: Sequence[Any], outputs: Sequence[Any]) -> tuple[Any, ...]:
    """The outputs as Tensors whose ``grad_fn`` is the node. An input returned unchanged becomes an alias of it."""
    for kept in node._kept or ():
        if kept is not None:
            kept.edits = kept._tensor._storage.edits
            if kept.edits < 0 and not mode.transforms:
                raise RuntimeError(INFERENCE)
    given = {id(a) for a in args}
    dirty, fixed = node.__dict__.get("dirty", set()), node.__dict__.get("fixed", set())
    result = []
    for output in outputs:
        number = len(node.specs)
        if not hasattr(output, "_source"):
            node.specs.append(None)
            result.append(output)
            continue
        node.specs.append((output._shape(), output.dtype, output._pending().device))
        if id(output) in given and id(output) not in dirty:
            output = output.detach()
        for saved in node._kept or ():
            if saved is not None and saved.original == id(output) and id(output) not in given:
                saved.number = number
        if id(output) in fixed and not node.__dict__.get("_materialize_non_diff_grads", True):
            node.specs[number] = None
        if id(output) not in fixed and output.dtype.is_inexact:
            if id(output) in dirty:
                output._rebase((node, number))
            else:
                output._set_edge((node, number))
        result.append(output)
    return tuple(result)


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
