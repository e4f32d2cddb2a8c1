"""Stage: front. In: Tensors. Out: others on the same memory: views of a part, and aliases of all of it, outside
autograd. While a trace is recorded or followed, making one is a call of the trace.
Next: ``autocast.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigrad.autograd.handles import next_sequence
from minigrad.autograd.mode import mode
from minigrad.dtype import DType
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.strides import Steps, Window, composed, contiguous_strides
from minigrad.runtime.locks import holds_lock, record_lock
from minigrad.tensor.base import awaken, made, make, set_apart
from minigrad.tensor.changes import is_filled
from minigrad.tensor.entry import Entry
from minigrad.tensor.replay import FOLLOW, RECORD, Trace, several, thread
from minigrad.tensor.storage import Storage, moved
from minigrad.tensor.view import View, window_steps

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

_new = object.__new__


def alias(tensor: Tensor, name: str = "detach") -> Tensor:
    """Another Tensor on the same Storage, through the same view, outside autograd: ``detach``, or ``data``, through
    which changes go unseen by the tape."""
    if several and not holds_lock():
        with record_lock:
            return alias(tensor, name)
    trace = thread.trace
    if trace.state and tensor._tag == trace.tag and trace.specs[tensor._slot] is not None and (
            not trace.writes or trace.holders[tensor._slot]() is tensor):  # else it was changed in place: a leaf
        return _traced(tensor, name)
    return plain_alias(tensor, name)


def as_subclass(tensor: Tensor, cls: type) -> Any:
    """A view of all of a Tensor, of another class: what is done with either shows in both, gradients flow through."""
    shape, known = tensor._shape(), tensor._view if (spec := tensor._spec) is None else spec
    strides = None if known is None else known.strides
    offset = 0 if known is None else known.offset
    result = make_view(tensor, (), shape, contiguous_strides(shape) if strides is None else strides, offset,
                       "AliasBackward0")
    result.__class__ = cls
    return result


def plain_alias(tensor: Tensor, name: str = "detach") -> Tensor:
    """``alias`` outside any trace."""
    result = _new(Trace.tensor_class)
    result._storage = tensor._storage
    result._edge = result._grad = result._hooks = result._spec = result._look = None
    result._tag = 0
    result._requires_grad = False
    view = tensor._view
    if view is None:
        result._view = None
    else:
        base = view.base
        while base._view is not None:  # it has turned into a view of what it was, as by t_()
            base = base._view.base
        result._view = View(plain_alias(base), view.chain(), view.shape, view.strides, view.offset, view.kind,
                            view.dtype, False)
        result._view.cut = True
    set_apart(result, name, tensor)
    return result


def strided_alias(storage: Storage, dtype: DType, shape: tuple[int, ...], strides: tuple[int, ...],
                  offset: int) -> Tensor:
    """A Tensor on a part of the Storage, in elements of ``dtype``, outside autograd."""
    lazy = storage.lazy
    whole = made(lazy)
    whole._storage = storage
    if (dtype, shape, strides, offset) == (lazy.dtype, lazy.shape, contiguous_strides(shape), 0):
        return whole
    window: Window = (shape, strides, offset)
    result = plain_view(whole, window_steps(lazy, dtype, window), *window, "AsStridedBackward0", dtype)
    seen = result._view
    assert seen is not None
    seen.differentiable, seen.alone = False, True
    return result


def from_memory(lazy: LazyBuffer) -> Tensor:
    """A Tensor on memory that others see: all of it, as its strides show it."""
    if lazy.arg is None:
        return make(lazy)
    span = lazy.buffer.nbytes // lazy.dtype.size
    flat = LazyBuffer.from_buffer(lazy.buffer, (span,), lazy.dtype, lazy.device, lazy.offset)
    return strided_alias(Storage(flat), lazy.dtype, lazy.shape, lazy.arg, 0)


ViewArguments = tuple[Steps, tuple[int, ...], tuple[int, ...], int, str, DType | None]


def make_view(parent: Tensor, steps: Steps, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, kind: str,
              dtype: DType | None = None) -> Tensor:
    """An alias of a part of ``parent``; with a ``dtype``, in elements of that, outside autograd. See ``View``. Its tape
    node is made when somebody asks for it."""
    arguments = (steps, shape, strides, offset, kind, dtype)
    if several and not holds_lock():
        with record_lock:
            return make_view(parent, *arguments)
    trace = thread.trace
    if trace.state:
        if parent._tag == trace.tag:
            if trace.writes and trace.specs[parent._slot] is not None and trace.holders[parent._slot]() is not parent:
                return plain_view(parent, *arguments)  # it was changed in place: its memory is not that of the result
            return _traced(parent, arguments)
        if _may_be_leaf(parent):
            return _traced(parent, arguments)
    return plain_view(parent, *arguments)


def _may_be_leaf(parent: Tensor) -> bool:
    """Whether a view of a Tensor that this trace does not know is a call: a leaf, or what lies on the tape and is in
    memory, which may have to show its tape if its view is made."""
    if parent._spec is None:
        if not parent._requires_grad:
            return False
        if parent._edge is None and parent._view is None:
            return True
    elif not is_filled(parent):
        return False
    buffer = parent._storage.lazy.buffer
    return buffer is not None and not buffer.exports


def plain_view(parent: Tensor, steps: Steps, shape: tuple[int, ...], strides: tuple[int, ...], offset: int, kind: str,
               dtype: DType | None = None) -> Tensor:
    """``make_view`` outside any trace."""
    tensor = _new(Trace.tensor_class)
    tensor._storage = parent._storage
    tensor._edge = tensor._grad = tensor._hooks = tensor._spec = tensor._look = None
    tensor._tag = 0
    above = parent._view
    if above is not None and above.differentiable:
        parent._refresh(above)
        if above.edits >= 0:
            parent._check_several(above)
    enabled = mode.enabled if parent._storage.edits >= 0 else None
    view = View(parent, steps, shape, strides, offset, kind, dtype, bool(enabled))
    view.enabled = enabled
    tensor._view = view
    if view.differentiable and parent._requires_grad:
        tensor._requires_grad, view.sequence = True, next_sequence()
    else:
        tensor._requires_grad = False
    return tensor


def arguments_of(view: View) -> ViewArguments:
    """The arguments of ``plain_view`` that see the same from the base."""
    dtype = None if view.dtype is view.base.dtype else view.dtype
    return view.chain(), view.shape, view.strides, view.offset, view.kind, dtype


def aliased(tensor: Tensor, arguments: ViewArguments) -> Tensor:
    """An alias of a Tensor, outside autograd, by ``arguments`` that were recorded for one in row-major order. If that
    is no view of this one's memory, it is a copy."""
    view, parent = tensor._view, plain_alias(tensor)
    if view is None:
        return plain_view(parent, *arguments)
    steps, shape, strides, offset, kind, dtype = arguments
    found = composed((shape, strides, offset), view.shape, view.strides) if dtype is None else None
    if found is None:
        return made(moved(tensor._read(), steps).contiguous())
    shape, strides, offset = found
    return plain_view(parent, steps, shape, strides, view.offset + offset, kind)


def base_of(tensor: Tensor) -> Tensor:
    """The Tensor whose value is all of the memory: what a view is of. It is tracked only if the view is."""
    if several and not holds_lock():
        with record_lock:
            return base_of(tensor)
    base, cut = tensor, False
    while (spec := base._spec) is not None and type(spec.view) is tuple:
        base = base._parent  # type: ignore[assignment]
    if base._spec is not None and base._spec.view is not None:  # an alias, which does not hold what it shows
        trace: Any = base._owner
        whole = trace.result(trace.root_of(base._slot))
        if whole is None:
            awaken(base)
        else:
            base, cut = whole, True
    if base._spec is None and base._view is not None:
        base = base._view.base
    return alias(base) if base is not tensor and (cut or _tracked(base) != _tracked(tensor)) else base


def _tracked(tensor: Tensor) -> bool:
    return tensor._source() is not None if (spec := tensor._spec) is None else spec.requires_grad


def _traced(parent: Tensor, view: ViewArguments | str) -> Tensor:
    """A view or alias as a call of the trace."""
    trace = thread.trace
    known = None
    if trace.state == FOLLOW:
        known = trace.quick(trace, "a view", view, mode.enabled, (parent,), ())
    if known is None:
        known = trace.follow("a view", view, (parent,))
    if known is not None:
        if isinstance(view, str):
            set_apart(known[0], view, parent)
        else:
            known[0]._parent = parent
        return known[0]
    result = plain_alias(parent, view) if isinstance(view, str) else plain_view(parent, *view)
    trace = thread.trace
    if trace.state == RECORD:
        trace.note(trace.asked, Entry(view=view), [result])
    return result
