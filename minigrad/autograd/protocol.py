"""Stage: the tape. In: Tensors, which stand below this room in the house. Out: the few things the tape asks of them.
Next: ``keeps.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from minigrad.graph.lazy import LazyBuffer


class Differentiable(Protocol):
    """What the tape needs of a Tensor."""

    _grad: Any
    _hooks: Any

    def _read(self) -> LazyBuffer:
        """The current value."""
        ...

    def _source(self) -> Any:
        """Where its gradient goes: ``(node, i)``, itself if it is a leaf, None if it needs none."""
        ...

    def _as_gradient(self, found: Any) -> Any:
        """Its gradient, from the one that arrived at its source: that of the values, for a sparse one."""
        ...

    def _shape(self) -> tuple[int, ...]:
        """The sizes of all dimensions."""
        ...

    def _replace(self, lazy: LazyBuffer) -> None:
        """Take another value of the same shape and dtype, outside autograd."""
        ...

    def _rebase(self, edge: Any) -> None:
        """Have another history from now on: it was changed in place by the node of ``edge``."""
        ...

    def _pending(self) -> LazyBuffer:
        """A value of its dtype on its device, to look at."""
        ...

    def _whole(self) -> LazyBuffer:
        """The value to compute when the Tensor is asked for: that of all its memory, for a view."""
        ...


class Front:
    """What the tape needs of the room ``tensor/``, which fills it in.

    ``wrap(lazy, edge)`` makes a Tensor, ``sparse(parts, shape)`` a sparse one of rows. In forward mode, ``forward(kind,
    node, body, tensors, results)`` gives results their tangents; ``tangents(tensor)`` are those of a Tensor, by level,
    and ``dual(tensor, tangents)`` gives it some.
    ``rows(function, arguments)`` is how a custom Function with a rule of its own is called on placeholders of ``vmap``,
    None on others; the room ``func/`` fills it in.
    ``apart(tensor)`` says how often what ``.data`` gave was changed, None of others; it is None itself as long as there
    are only others.
    ``gradients(outputs, inputs)`` are those that a program may have asked for here before, in the plain way; else None.
    ``watch()`` begins a block in which every call is recorded, none replayed: it ends with ``mode.watched -= 1``."""

    wrap: ClassVar[Callable[[LazyBuffer, Any], Any]]
    sparse: ClassVar[Callable[[Any, tuple[int, ...]], Any]]
    forward: ClassVar[Callable[..., None]]
    tangents: ClassVar[Callable[[Any], dict[int, Any]]]
    dual: ClassVar[Callable[[Any, dict[int, Any]], None]]
    apart: ClassVar[Callable[[Any], list[int] | None] | None] = None
    watch: ClassVar[Callable[[], None]]
    gradients: ClassVar[Callable[[Any, Any], Any]]
    rows: ClassVar[Callable[[Any, tuple[Any, ...]], Any] | None] = None
