"""Stage: the tape. In: Tensors. Out: their places on the tape, and hooks on several of them.
Next: ``grad_mode.py``.

https://docs.pytorch.org/docs/stable/autograd.html#module-torch.autograd.graph
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from threading import get_ident
from typing import Any, NamedTuple

from minigrad.autograd.handles import RemovableHandle
from minigrad.autograd.mode import mode
from minigrad.autograd.node import Node
from minigrad.tensor import Tensor
from minigrad.tensor.replay import thread

__all__ = [
    "GradientEdge", "Node", "allow_mutation_on_saved_tensors", "disable_saved_tensors_hooks", "get_gradient_edge",
    "increment_version", "register_multi_grad_hook", "save_on_cpu", "saved_tensors_hooks",
]


class GradientEdge(NamedTuple):
    """Where a gradient goes: output ``output_nr`` of ``node``."""

    node: Any
    output_nr: int


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Where the gradient of a Tensor goes; ``RuntimeError`` if it requires none.

    >>> import minigrad
    >>> x = minigrad.ones(2, requires_grad=True)
    >>> get_gradient_edge(x * 2).node.name()
    'MulBackward0'
    """
    if not tensor.requires_grad:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    if tensor.grad_fn is None:
        return GradientEdge(tensor.view_as(tensor).grad_fn.next_functions[0][0], 0)
    return GradientEdge(tensor.grad_fn, tensor.output_nr)


def increment_version(tensor: Any) -> None:
    """Count a change of a Tensor, or of several, that was made outside of minigrad.

    >>> import minigrad
    >>> x = minigrad.ones(2)
    >>> increment_version(x)
    >>> x._version
    1
    """
    for t in (tensor,) if isinstance(tensor, Tensor) else tensor:
        t._storage.changed()


class saved_tensors_hooks:
    """A block in which what backward reads is kept by hooks: ``pack_hook(tensor)`` gets each such Tensor when it is
    saved and returns anything, of which ``unpack_hook`` makes the Tensor again in each backward. Of blocks inside each
    other the innermost counts. Which Tensors an op saves follows from its gradient, and may differ from PyTorch's
    choice: of ``x.exp()`` it is the result.

    >>> import minigrad
    >>> x = minigrad.tensor([2.0, 3.0], requires_grad=True)
    >>> with saved_tensors_hooks(lambda t: t.half(), lambda h: h.float()):
    ...     y = x * x
    >>> y.sum().backward()
    >>> x.grad
    tensor([4., 6.])
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def __enter__(self) -> None:
        if mode.unpacked is not None:
            raise RuntimeError(mode.unpacked)
        thread.watch()
        mode.packing = (*mode.packing, (self._pack, self.unpack_hook))

    def __exit__(self, *exception: object) -> None:
        mode.packing = mode.packing[:-1]
        mode.watched -= 1

    def _pack(self, tensor: Tensor) -> Any:
        """The hook's own ops save nothing by hooks."""
        before, mode.packing = mode.packing, ()
        try:
            return self.pack_hook(tensor)
        finally:
            mode.packing = before


class save_on_cpu(saved_tensors_hooks):
    """A block in which what backward reads is kept in the host's memory, and comes back to its device in backward."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda t: (t.device, t.detach().cpu()), lambda packed: packed[1].to(packed[0]))


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """A block in which ``saved_tensors_hooks`` raise ``RuntimeError`` with this message.

    >>> with disable_saved_tensors_hooks("not here"), saved_tensors_hooks(lambda t: t, lambda t: t):
    ...     pass
    Traceback (most recent call last):
    RuntimeError: not here
    """
    before, mode.unpacked = mode.unpacked, error_message
    try:
        yield
    finally:
        mode.unpacked = before


@contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[None]:
    """Inside, a Tensor that backward reads may be changed in place: what backward reads is the value from before.

    >>> import minigrad
    >>> x = minigrad.ones(1, requires_grad=True)
    >>> with allow_mutation_on_saved_tensors():
    ...     y = x.exp()
    ...     z = y + 1
    ...     _ = y.zero_()
    ...     z.backward()
    >>> x.grad
    tensor([2.7183])
    """
    if mode.mutation:
        raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
    mode.mutation = True
    try:
        yield
    finally:
        mode.mutation = False


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable[..., Any], *,
                             mode: str = "all") -> RemovableHandle:
    """A hook on several Tensors: ``fn(gradients)`` when all of them have got theirs (one that gets none never lets it
    run), or with ``mode="any"`` ``fn(gradient)`` for the first in each backward.

    >>> import minigrad
    >>> a, b = minigrad.ones(1, requires_grad=True), minigrad.ones(1, requires_grad=True)
    >>> _ = register_multi_grad_hook((a, b), lambda grads: print([g.item() for g in grads]))
    >>> (2 * a * b).sum().backward()
    [2.0, 2.0]
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    given = [t for t in tensors if t.requires_grad]
    threads: dict[int, dict[int, Any]] = {}

    def took(number: int, gradient: Any) -> None:
        found = threads.setdefault(get_ident(), {})
        first = not found
        found[number] = gradient
        if mode == "any" and first:
            fn(gradient)
        if len(found) == len(given):
            grads = [found[i] for i in range(len(given))]
            found.clear()
            if mode == "all":
                fn(grads)

    handles = [t.register_hook(partial(took, i)) for i, t in enumerate(given)]
    return _Handles(handles)


class _Handles(RemovableHandle):
    """Takes several hooks away."""

    def __init__(self, handles: Sequence[RemovableHandle]) -> None:
        super().__init__({})
        self.handles = handles

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()
