"""Stage: the tape. In: a hook. Out: ``RemovableHandle``, which takes it away again; ``AccumulateGrad``, the end of the
tape at a leaf, which can have some; ``Extra``, those of an op.
Next: ``watching.py``."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

next_sequence = count(1).__next__


class AccumulateGrad:
    """Where the tape ends: adds the gradient to ``variable.grad``. Made when someone asks to see it."""

    __slots__ = ("variable",)
    next_functions: tuple[Any, ...] = ()

    def __init__(self, variable: Any) -> None:
        self.variable = variable

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self):#x}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and other.variable is self.variable

    def __hash__(self) -> int:
        return id(self.variable)

    def name(self) -> str:
        return "AccumulateGrad"

    def register_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """``hook((), (gradient,))`` is called after the gradient was accumulated."""
        return RemovableHandle.add(self.variable._leaf_hooks().post, hook)

    @property
    def metadata(self) -> dict[str, Any]:
        """A dictionary for notes of the user's own."""
        found: dict[str, Any] = self.variable._leaf_hooks().metadata
        return found

    def register_prehook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Before the gradient is accumulated, ``hook((gradient,))`` may return another."""
        return RemovableHandle.add(self.variable._leaf_hooks().pre, hook)


class RemovableHandle:
    """Takes a hook away again: ``handle.remove()``, or at the end of a ``with`` block.

    The hook stands in ``hooks_dict`` under ``handle.id``; whoever makes the handle puts it there. ``extra_dict``, a
    dictionary or several, has notes about it under the same key.
    """

    def __init__(self, hooks_dict: dict[int, Any], *, extra_dict: Any = None) -> None:
        extra = () if extra_dict is None else (extra_dict,) if isinstance(extra_dict, dict) else tuple(extra_dict)
        self._tables = (hooks_dict, *extra)
        self.id = next_sequence()

    @staticmethod
    def add(hooks: dict[int, Callable[..., Any]], hook: Callable[..., Any]) -> RemovableHandle:
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        return handle

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        for table in self._tables:
            table.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class Extra:
    """Rarely used parts of a Node: its hooks, the tensors that ``retain_grad`` named, and in forward mode the tangents
    of its residuals, by level; ``packed``, what hooks keep of its residuals, and how to get it back."""

    __slots__ = ("metadata", "packed", "post", "pre", "retained", "tangents", "tensor")

    def __init__(self) -> None:
        self.pre: dict[int, Callable[..., Any]] = {}
        self.post: dict[int, Callable[..., Any]] = {}
        self.tensor: dict[int, dict[int, Callable[..., Any]]] = {}
        self.retained: dict[int, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.tangents: dict[int, dict[int, Any]] = {}
        self.packed: tuple[list[Any], Callable[..., Any]] | None = None


class Packed:
    """What a hook returned for a Tensor that the tape saves."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value
