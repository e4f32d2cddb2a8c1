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
    """The value of a leaf, and a number for what matters of it; None if it can't be one. A third item says that NumPy
    may change it: then it is read anew each time, as another leaf."""
    value = t._storage.lazy  # first: this gives a shell of an earlier trace all that it lacks
    known, buffer = t._look, value.buffer
    shown = buffer is not None and buffer.exports
    if known is not None and known[0] is value:
        return (t._read(), known[1], True) if shown else known
    found = _look(t)
    if found is None:
        return None
    if t._view is None and value.arg is None:
        t._look = value, found[1]
    return (*found, True) if shown else found


def look_of_memory(shape: tuple[int, ...], dtype: DType) -> int:
    """The number of a leaf in memory of its own that requires no gradient, and was not made in inference mode."""
    return _number_of((shape, dtype, None, False, False))


_looks: dict[Any, int] = {}
_next_look = count(1).__next__


def _number_of(look: Any) -> int:
    """A number for each look of a leaf: a key of numbers is compared faster. Below 0, since slots are not."""
    known = _looks.get(look)
    return _looks.setdefault(look, -_next_look()) if known is None else known  # whichever thread is first


def _look(t: Tensor) -> tuple[LazyBuffer, int] | None:
    """The value of a leaf and a number for what matters of it; None if it is pending, or on the tape already, or memory
    that NumPy sees and that is too large to be copied at each call."""
    try:
        source = t._source()
    except RuntimeError:  # one of several views, whose memory was changed
        return None
    if source is not None and source is not t:
        return None
    value = None if t._view is None else t._view.in_memory(t._storage)
    if value is None:
        value = t._read()
    if value.buffer is not None and value.device == "CPU" and not value.buffer.exports:
        look: Any = (value.shape, value.dtype, value.arg, source is not None, t._storage.edits < 0)
    elif value.op == Op.CONST:
        look = (value.shape, value.dtype, value.device, source is not None, t._storage.edits < 0)
    elif value.op == Op.SCALAR:
        look = (value.dtype, value.device)
    else:
        return None
    return value, _number_of(look)
