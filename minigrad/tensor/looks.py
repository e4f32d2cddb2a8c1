"""Stage: front. In: the operands and results of calls. Out: what they look like: a number for each look of a leaf, and
a ``Spec`` for what is known of a result before it is computed.
Next: ``quick.py``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from minigrad.autograd.mode import mode
from minigrad.dtype import DType
from minigrad.graph.function import param
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

# --- results


class Spec:
    """What is known of a result without computing it; results that look alike have one Spec. ``strides`` None: those of
    a contiguous value. ``view``: of a view its arguments, as in its ``Entry``; ``enabled``: whether the tape was on."""

    __slots__ = ("_placeholder", "device", "dtype", "enabled", "offset", "requires_grad", "shape", "strides", "view")

    def __init__(self, view: Any, enabled: bool | None, requires_grad: bool, dtype: DType, device: str,
                 shape: tuple[int, ...], strides: tuple[int, ...] | None, offset: int) -> None:
        self.view, self.enabled, self.requires_grad = view, enabled, requires_grad
        self.dtype, self.device = dtype, device
        self.shape, self.strides, self.offset = shape, strides, offset
        self._placeholder: LazyBuffer | None = None

    def placeholder(self) -> LazyBuffer:
        """A value like the result, for those who look at its type only."""
        if self._placeholder is None:
            self._placeholder = param(0, self.shape, self.dtype, self.device)
        return self._placeholder


_specs: dict[Any, tuple[Spec]] = {}

MOST_SPECS = 4096
"""Kinds of results that are known at a time."""


def specs_of(view: Any, results: Sequence[Tensor]) -> tuple[Spec, ...]:
    """The Specs of a call's results."""
    if len(results) != 1:
        return tuple([specs_of(view, (t,))[0] for t in results])
    t = results[0]
    lazy, seen = t._storage.lazy, t._view
    if seen is None:
        look: Any = (view, mode.enabled, t._requires_grad, lazy.dtype, lazy.device, lazy.shape, None, 0)
    else:
        look = (view, mode.enabled, t._source() is not None, seen.dtype, lazy.device, seen.shape, seen.strides,
                seen.offset)
    found = _specs.get(look)
    if found is None:
        if len(_specs) >= MOST_SPECS:
            _specs.clear()
        found = _specs[look] = (Spec(*look),)
    return found


# --- leaves


def look_at(t: Tensor) -> tuple[Any, ...] | None:
    """The value of a leaf, and a number for what matters of it; None if it can't be one. A third item says that it is
    read anew each time, as another leaf: NumPy may change it, or it is the result of an earlier trace, which goes on
    having its place there."""
    value = t._storage.lazy  # first: this gives a shell of an earlier trace all that it lacks
    known, buffer = t._look, value.buffer
    shown = buffer is not None and buffer.exports
    if known is not None and known[0] is value:
        return (t._read(), known[1], True) if shown else known
    flow = _flow_of(t)
    found = None if flow is None else _look(t, flow)
    if found is None:
        return None
    if flow == THROUGH:
        return (*found, True)
    if t._view is None and value.arg is None:
        t._look = value, found[1]
    return (*found, True) if shown else found


def look_of_memory(shape: tuple[int, ...], dtype: DType) -> int:
    """The number of a leaf in memory of its own that requires no gradient, and was not made in inference mode."""
    return _number_of((shape, dtype, None, False), NOWHERE)


_looks: dict[Any, int] = {}
_next_look = count(1).__next__


NOWHERE, LEAF, THROUGH = 0, 1, 2
"""Where the gradient of a leaf goes: there is none; it is the leaf's own; it goes on to what the leaf was made from."""


def _number_of(look: Any, flow: int) -> int:
    """A number for each look of a leaf: a key of numbers is compared faster. Below 0, since slots are not; odd if the
    leaf has a gradient of its own, which ``Trace.enter`` and ``follow.ll`` ask."""
    look = (flow, *look)
    known = _looks.get(look)
    if known is None:
        known = _looks.setdefault(look, (flow == LEAF) - 2 * _next_look())  # whichever thread is first
    return known


def _flow_of(t: Tensor) -> int | None:
    """Where the gradient of a leaf goes; None if it is one of several views, whose memory was changed."""
    if t._spec is not None:  # a result of an earlier trace that has its memory, but not its tape yet
        view = t._view
        return THROUGH if view is None or view.edits in (-1, t._storage.edits) else None
    try:
        source = t._source()
    except RuntimeError:
        return None
    return NOWHERE if source is None else LEAF if source is t else THROUGH


def _look(t: Tensor, flow: int) -> tuple[LazyBuffer, int] | None:
    """The value of a leaf and a number for what matters of it; None if it is pending, or memory that NumPy sees and
    that is too large to be copied at each call."""
    view, storage = t._view, t._storage
    value = None if view is None else view.in_memory(storage)
    if value is None:
        value = t._read() if view is None or t._spec is None else view.read(storage)
    if value.buffer is not None and value.device == "CPU" and not value.buffer.exports:
        look: Any = (value.shape, value.dtype, value.arg, storage.edits < 0)
    elif value.op == Op.CONST:
        look = (value.shape, value.dtype, value.device, storage.edits < 0)
    elif value.op == Op.SCALAR:
        look = (value.dtype, value.device)
    else:
        return None
    return value, _number_of(look, flow)
