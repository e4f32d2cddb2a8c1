"""Stage: training. In: a part of a model and its input. Out: its output, without what backward would have kept of the
part: that is computed again from the input when backward comes to it. It costs time and saves memory.
Next: ``model_zoo.py``.

Chen and others 2016, "Training Deep Nets with Sublinear Memory Cost".
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from minigrad.autograd.handles import next_sequence
from minigrad.autograd.mode import enable_grad, mode, no_grad
from minigrad.autograd.node import RELEASED, Edge, Node
from minigrad.autograd.walk import Gradient, Walk
from minigrad.engine import realise
from minigrad.graph.lazy import LazyBuffer
from minigrad.jit.trees import fill, flatten
from minigrad.nn import Sequential
from minigrad.tensor import Tensor, get_rng_state, realize, set_rng_state
from minigrad.tensor.capture import capturing
from minigrad.tensor.replay import FOLLOW, thread


class CheckpointError(RuntimeError):
    """A part of a model computes something else the second time."""


def noop_context_fn() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Two contexts that do nothing."""
    return nullcontext(), nullcontext()


def checkpoint(function: Callable[..., Any], *args: Any, use_reentrant: bool | None = None,
               context_fn: Callable[[], Any] = noop_context_fn, determinism_check: str = "default",
               debug: bool = False, early_stop: bool = True, **kwargs: Any) -> Any:
    """``function(*args, **kwargs)``, of which nothing is kept for backward but the inputs: backward calls ``function``
    again, with the random generator, the grad mode and autocast as they were (``preserve_rng_state=False``: with the
    generator as it is then), so that dropout drops the same. The outputs are computed at once.

    With ``use_reentrant=True`` an output requires a gradient only if one of ``args`` does, as in PyTorch; both variants
    allow ``autograd.grad`` here. ``context_fn`` gives two contexts, for the first and the second call.
    ``CheckpointError`` if the second call gives other shapes or dtypes (unless ``determinism_check="none"``).
    ``debug`` and ``early_stop`` change nothing: the second call is one computation with backward, in which what is not
    needed is not computed. Source: https://docs.pytorch.org/docs/stable/checkpoint.html

    >>> import minigrad
    >>> x = minigrad.tensor([1.0, 2.0], requires_grad=True)
    >>> checkpoint(lambda x: x.exp().sin(), x, use_reentrant=False).sum().backward()
    >>> bool(x.grad.allclose(x.exp().cos() * x.exp()))
    True
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. Starting in PyTorch 2.9, "
            "calling checkpoint without use_reentrant will raise an exception. use_reentrant=False is recommended, but "
            "if you need to preserve the current default behavior, you can pass use_reentrant=True. Refer to docs for "
            "more details on the differences between the two variants.", stacklevel=2)
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug:
            raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
        check_backward_validity(args)
        if not any([isinstance(a, Tensor) and a.requires_grad for a in args]):
            with no_grad():
                return function(*args)
    first, second = context_fn()
    part = _Part(function, args, kwargs, preserve, second, determinism_check != "none")
    if not mode.enabled or capturing() is not None:
        with first:
            return function(*args, **kwargs)
    return part.begin(first)


@contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Accepted: like the argument ``early_stop`` of ``checkpoint`` it changes nothing."""
    yield


def checkpoint_sequential(functions: Any, segments: int, input: Any, use_reentrant: bool | None = None,
                          **kwargs: Any) -> Any:
    """The functions, or the modules of a ``Sequential``, one after another, in ``segments`` parts, each but the last of
    which is a ``checkpoint``.

    >>> import minigrad
    >>> x = minigrad.ones(2, requires_grad=True)
    >>> checkpoint_sequential([minigrad.exp, minigrad.sin, minigrad.cos], 3, x, use_reentrant=False).shape
    minigrad.Size([2])
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint.checkpoint_sequential: the use_reentrant parameter should be passed explicitly. "
            "In version 2.9 we will raise an exception if use_reentrant is not passed. use_reentrant=False is "
            "recommended, but if you need to preserve the current default behavior, you can pass use_reentrant=True. "
            "Refer to docs for more details on the differences between the two variants.", stacklevel=2)
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    steps = list(functions.children()) if isinstance(functions, Sequential) else list(functions)
    size = len(steps) // segments
    for start in range(0, size * (segments - 1), size):
        input = checkpoint(_in_turn(steps[start:start + size]), input, use_reentrant=use_reentrant,
                           preserve_rng_state=preserve)
    return _in_turn(steps[size * (segments - 1):])(input)


def _in_turn(steps: Sequence[Callable[..., Any]]) -> Callable[[Any], Any]:
    def forward(input: Any) -> Any:
        for step in steps:
            input = step(input)
        return input

    return forward


def check_backward_validity(inputs: Iterable[Any]) -> None:
    """Warns if no input requires a gradient."""
    if not any([t.requires_grad for t in inputs if isinstance(t, Tensor)]):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=3)


def detach_variable(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs, Tensors as new leaves that require a gradient where they did."""
    if not isinstance(inputs, tuple):
        raise RuntimeError(f"Only tuple of tensors is supported. Got Unsupported input type: {type(inputs).__name__}")
    return tuple([t.detach().requires_grad_(t.requires_grad) if isinstance(t, Tensor) else t for t in inputs])


class _Part:
    """One call of ``checkpoint``: the function, its arguments, and the state in which it was called."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], preserve: bool,
                 second: AbstractContextManager[Any], check: bool) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.second, self.check = second, check
        self.autocast = mode.autocast
        self.random = get_rng_state() if preserve else None
        self.versions = [(t, t._version) for t in (*args, *kwargs.values()) if isinstance(t, Tensor)]

    def begin(self, first: AbstractContextManager[Any]) -> Any:
        """The first call: its results, computed, with a tape of one node."""
        start = _tape_begins()
        tensors: list[Tensor] = []
        with first:
            structure = flatten(self.function(*self.args, **self.kwargs), tensors)
        edges = _edges_into(start, [t._source() for t in tensors])
        inner = [_is_inner(t._source(), start) for t in tensors]
        outputs = [t.detach() if inside else t for t, inside in zip(tensors, inner, strict=True)]
        tensors.clear()  # with them goes the tape, and what it would have kept
        made = [o for o, inside in zip(outputs, inner, strict=True) if inside]
        if made:
            realize(*made)
            node = CheckpointFunctionBackward(self, tuple(edges), [(o._shape(), o.dtype) for o in made], inner)
            for number, output in enumerate(made):
                output._set_edge((node, number))
        return fill(structure, iter(outputs))

    @contextmanager
    def _as_before(self) -> Iterator[None]:
        random, autocast = get_rng_state() if self.random is not None else None, mode.autocast
        mode.autocast = self.autocast
        if self.random is not None:
            set_rng_state(self.random)
        try:
            yield
        finally:
            mode.autocast = autocast
            if random is not None:
                set_rng_state(random)

    def again(self) -> tuple[int, list[Tensor]]:
        """The second call: where its tape begins, and its results."""
        for tensor, version in self.versions:
            if tensor._version != version:
                raise RuntimeError("one of the variables needed for gradient computation has been modified by an "
                                   "inplace operation: an argument of a function that checkpoint() calls again")
        start, tensors = _tape_begins(), list[Tensor]()
        with self._as_before(), enable_grad(), self.second:
            flatten(self.function(*self.args, **self.kwargs), tensors)
        return start, tensors


def _tape_begins() -> int:
    """A number between those of the nodes so far and those made from now on. Calls that were only followed so far, as
    part of a trace, get theirs."""
    if thread.trace.state == FOLLOW:
        thread.trace.diverge("a checkpoint begins")
    return next_sequence()


def _is_inner(edge: Edge, start: int) -> bool:
    """Whether an edge leads to a node made since."""
    return type(edge) is tuple and edge[0].sequence > start


def _edges_into(start: int, roots: Sequence[Edge]) -> list[Edge]:
    """Where the gradients of nodes made since ``start`` go on to."""
    found: dict[Edge, None] = {}
    seen: set[Node] = set()
    stack = [e[0] for e in roots if _is_inner(e, start)]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        for edge in node.edges:
            if _is_inner(edge, start):
                stack.append(edge[0])
            elif edge is not None:
                found[edge] = None
    return list(found)


class _PartWalk(Walk):
    """A backward pass through the nodes made since ``start``. What comes out is in ``given``, by edge."""

    def __init__(self, recorded: bool, start: int) -> None:
        super().__init__(recorded)
        self.start = start
        self.given = self.captured

    def _send(self, edge: Edge, gradient: Gradient) -> None:
        if _is_inner(edge, self.start):
            super()._send(edge, gradient)
        else:
            self.given[edge] = self._add(self.given[edge], gradient) if edge in self.given else gradient


class CheckpointFunctionBackward(Node):
    """The tape entry of a checkpoint: it calls the function again."""

    __slots__ = ("expected", "inner", "part")
    runs = True

    def __init__(self, part: _Part, edges: tuple[Edge, ...], expected: list[Any], inner: list[bool]) -> None:
        self.edges, self.saved, self.kept, self.sequence = edges, (), (), next_sequence()
        self.extra = self.call = None
        self.part: _Part | None = part
        self.expected, self.inner = expected, inner

    @property
    def count(self) -> int:
        """The number of outputs that gradients come from."""
        return len(self.expected)

    def vjp(self, grads: Sequence[LazyBuffer | None], needs: Sequence[bool]) -> list[LazyBuffer | None]:
        found = self._walked(False, grads)
        realise([f for f in found if f is not None])  # now, so that what was computed again is let go
        return found

    def vjp_recorded(self, grads: Sequence[Any], needs: Sequence[bool]) -> list[Any]:
        return self._walked(True, grads)

    def _walked(self, recorded: bool, grads: Sequence[Gradient]) -> list[Gradient]:
        if self.part is None:
            raise RuntimeError(RELEASED)
        start, tensors = self.part.again()
        outputs = [t for t, inside in zip(tensors, self.inner, strict=False) if inside]
        found = [(t._shape(), t.dtype) for t in outputs]
        if found != self.expected and (self.part.check or len(found) != len(self.expected)):
            raise CheckpointError("torch.utils.checkpoint: Recomputed values for the following tensors have different "
                                  f"metadata than during the forward pass.\nsaved metadata: {self.expected}\n"
                                  f"recomputed metadata: {found}")
        walk = _PartWalk(recorded, start)
        roots = [(t._source(), g) for t, g in zip(outputs, grads, strict=True) if g is not None]
        before, mode.enabled = mode.enabled, recorded
        try:
            walk.run(roots)
        finally:
            mode.enabled = before
        if not recorded:
            walk.release()
        return [walk.given.get(e) for e in self.edges]

    def release(self, entirely: bool = False) -> None:
        self.part = None
        self.saved = None
