"""Stage: front. In: LazyBuffers. Out: ``TensorBase``, the core of the user's handle on them: what it holds, how it is
read and how it takes another value. The methods stand in mixins, one topic and one file each; ``tensor_class.py`` makes
``Tensor`` of them.
Next: ``aliases.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from minigrad import lazily
from minigrad.autograd.mode import mode
from minigrad.autograd.node import Edge
from minigrad.autograd.protocol import Front
from minigrad.dtype import DType
from minigrad.graph.function import param
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.runtime.locks import record_lock
from minigrad.tensor.changes import check_in_place, check_made, check_view, is_seen_once, may_stand, move_retained
from minigrad.tensor.entry import PUT, Entry
from minigrad.tensor.history import COPY_IN_PART, COPY_SLICES, FILL, view_edge
from minigrad.tensor.looks import Spec
from minigrad.tensor.replay import FOLLOW, OFF, RECORD, Trace, thread
from minigrad.tensor.size import Size, device, shown_device, size_of
from minigrad.tensor.storage import INFERENCE, Storage, _unsettled, moved, settle, snapshot, tracing
from minigrad.tensor.view import View

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


class Duals:
    """What in-place changes need of ``duals.py``, which fills it in: ``adopted(self, value)`` gives self the tangents
    of the value that it takes."""

    adopted: ClassVar[Callable[[Tensor, Tensor], None]]


class TensorBase:
    """What a Tensor holds, and how it is read and changed. See ``Tensor``, which adds the methods."""

    __slots__ = ("__dict__", "__weakref__", "_apart", "_edge", "_grad", "_hooks", "_look", "_owner", "_parent",
                 "_requires_grad", "_slot", "_spec", "_storage", "_tag", "_view")

    # of what ``.data`` gives, how often it was changed
    _apart: list[int]
    # its place in the trace of this tag; what it looked like as a leaf, with the value for which that holds
    _tag: int
    _slot: int
    _look: tuple[LazyBuffer, int] | None
    # a shell has a spec, the trace it belongs to and, only if it is a view and no alias, its parent
    _spec: Spec | None
    _owner: Trace | None
    _parent: Tensor | None
    # what a shell has only when it was asked for
    _storage: Storage
    _view: View | None
    _edge: Edge
    _grad: Tensor | None
    _requires_grad: bool
    _hooks: LeafHooks | None

    # --- what it is

    if not TYPE_CHECKING:  # which would believe that there is every attribute

        def __getattr__(self, name):
            """A part that a shell has not: it is made now."""
            if name not in _OF_SHELLS:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return wake(self, name)

    def _shape(self) -> tuple[int, ...]:
        spec = self._spec
        if spec is not None:
            return spec.shape
        view = self._view
        return self._storage.lazy.shape if view is None else view.shape

    @property
    def shape(self) -> Size:
        """The sizes of all dimensions."""
        return size_of(self._shape())

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self._shape())

    @property
    def dtype(self) -> DType:
        """The type of the elements."""
        spec = self._spec
        if spec is not None:
            return spec.dtype
        view = self._view
        return self._storage.lazy.dtype if view is None else view.dtype

    @property
    def device(self) -> device:
        """Where the elements are."""
        spec = self._spec
        return shown_device(self._storage.lazy.device if spec is None else spec.device)

    # --- reading and recording

    def _read(self) -> LazyBuffer:
        """The current value. Brings the edge of a view up to date."""
        view = self._view
        if view is None:
            lazy = self._storage.lazy
            buffer = lazy.buffer
            if buffer is None or not buffer.exported:
                return lazy
            return snapshot(self._storage)
        if view.differentiable:
            self._tracked()
        return view.read(self._storage)

    def _refresh(self: Tensor, view: View) -> None:
        """Make the edges of this view and of the views it was made from, where in-place ops changed what is behind."""
        history = self._storage.history
        if view.history == history and (self._edge is not None or not self._requires_grad or view.leaf):
            if not self._requires_grad and view.base._requires_grad and view.base._edge is None and view.is_recorded():
                view.leaf, self._requires_grad, self._look = True, True, None  # as its base, which was no leaf before
            return
        stale: list[Tensor] = [self]
        while True:
            parent = stale[-1]._view.find_parent()  # type: ignore[union-attr]
            above = parent._view
            if above is None or not above.differentiable or (
                    above.history == history and (
                        parent._edge is not None or not parent._requires_grad or above.leaf)):
                break
            stale.append(parent)
        for tensor in reversed(stale):
            view = tensor._view  # type: ignore[assignment]
            parent = view.find_parent()
            source, former = parent._edge, getattr(self._storage, "former", None)
            if view.leaf and tensor._requires_grad and source is None and not parent._requires_grad:
                view.history = history  # it was asked for a gradient itself, and what has changed was no part of it
                continue
            if former is not None and former[0]() is parent and view.history <= former[1] and tensor._requires_grad:
                source = former[2]
            elif mode.enabled and parent._requires_grad and view.history != history:
                check_view(tensor, "its base or another view of its base has been modified inplace")
            unchanged = tensor._requires_grad and view.history == history  # even if its leaf no longer requires one
            needed = source is not None or parent._requires_grad or unchanged
            edge = view_edge(view, parent, source) if needed else None
            if tensor._edge is not None and edge is not None:
                move_retained(tensor, tensor._edge, edge)
            tensor._requires_grad, tensor._edge = needed, edge
            view.history, view.leaf = history, False

    def _pending(self) -> LazyBuffer:
        """A value of this dtype on this device, to look at: the Storage's, or a placeholder."""
        spec = self._spec
        if spec is not None:
            return spec.placeholder()
        view, lazy = self._view, self._storage.lazy
        return lazy if view is None or view.dtype is lazy.dtype else param(0, view.shape, view.dtype, lazy.device)

    def _whole(self) -> LazyBuffer:
        """The value of the whole Storage, which is what is computed when this Tensor is asked for."""
        return self._storage.lazy

    def _source(self) -> Edge:
        """Where this tensor's gradient goes: its edge, itself if it is a leaf, None if it needs none."""
        view = self._view
        if view is not None and view.differentiable:
            self._refresh(view)
            if view.edits >= 0:
                self._check_several(view)
        if not self._requires_grad:
            return None
        return self if self._edge is None else self._edge

    def _check_several(self: Tensor, view: View) -> None:
        """``RuntimeError`` if this is one of several views made by one call, and their memory was changed since."""
        if view.edits != self._storage.edits and mode.enabled and self._requires_grad:
            check_view(self, "its base or another view of its base has been modified inplace")

    def _tracked(self) -> bool:
        """Whether it requires a gradient."""
        view = self._view
        if view is not None and view.differentiable:
            try:
                self._refresh(view)
            except RuntimeError:  # one of several views, whose memory was changed: its values may still be read
                return True
        return self._requires_grad

    def _as_gradient(self, found: Any) -> Any:
        """Its gradient, from the one that arrived at its source: the same."""
        return found

    def _set_edge(self: Tensor, edge: Edge) -> None:
        if self._spec is not None:
            awaken(self)
        self._tag, self._look = 0, None
        if self._edge is not None:
            move_retained(self, self._edge, edge)
        self._edge = edge
        self._requires_grad = edge is not None

    def _replace(self, lazy: LazyBuffer, counts: bool = True) -> None:
        """Put a new value of the same shape and dtype into the Storage, outside autograd, which ``counts`` it."""
        with record_lock:
            view = self._view
            if view is not None:
                view.check_writable()
            self._storage.write(lazy, view)
            if counts:
                self._count_edit()

    def _count_edit(self) -> None:
        """Remember that the memory was changed in place: what ``.data`` gives does so for itself."""
        counter = apart_of(self)
        if counter is None:
            self._storage.changed()
        else:
            counter[0] += 1

    def _adopt(self: Tensor, value: Tensor) -> Tensor:
        """Become ``value``, a fresh result of the same shape and dtype: the last step of every in-place op."""
        trace = thread.trace
        if trace.state == OFF or self._tag != trace.tag or not may_stand(trace, self, value):
            return self._put(value)
        slot, now, known = self._slot, value._slot, None
        if trace.state == FOLLOW:
            known = trace.quick(trace, PUT, None, mode.enabled, (self, value), ())
        if known is None:
            known = trace.follow(PUT, None, (self, value))
        if known is not None:
            self._spec = value._spec
            trace.stands(self, slot, now)
        elif trace.state != RECORD or trace is not thread.trace or not is_seen_once(trace, slot):
            self._put(value)
        else:
            before, trace.busy = trace.busy, True
            self._put(value)
            trace.busy = before
            trace.stands(self, slot, now)
            trace.note(trace.asked, Entry(view=PUT), [])
        return self

    def _put(self: Tensor, value: Tensor) -> Tensor:
        """``_adopt`` in the ordinary way, which ends a trace."""
        if mode.duals:
            Duals.adopted(self, value)
        lazy = value._read()
        if not mode.enabled or not (self._requires_grad or value._requires_grad or self._stale()):
            self._replace(lazy)
            return self
        view = self._view
        if view is not None and value._requires_grad:
            check_made(view)
        if view is None or not view.differentiable:
            self._replace(lazy)
            if value._requires_grad:
                self._took(value)
                self._set_edge(value._source())
            else:  # nothing flows to what it was, but it still counts as computed
                self._set_edge((FILL((lazy,), (self._source(),)), 0))
            self._storage.history += 1
            return self
        view.check_writable()
        check_view(self, "is being modified inplace")
        storage, source = self._storage, value._source()  # its base may have another by now, by ``.data``
        old = storage.lazy
        storage.write(lazy, view)
        self._count_edit()
        self._took(value)
        self._copied_slices(view, old, lazy, source)
        return self

    def _took(self, value: Tensor) -> None:
        edge = value._edge
        if type(edge) is tuple and (edge[0].kept or edge[0].at_once):
            edge[0].changed_in_place(self._storage, value, self)

    def _copied_slices(self: Tensor, view: View, old: LazyBuffer, lazy: LazyBuffer, source: Edge) -> None:
        """Give what this is a view of another history: what the view sees of the memory was replaced by ``lazy``, whose
        gradient goes to ``source``."""
        root, window = view.find_root(), (view.dtype, (view.shape, view.strides, view.offset))
        if root._view is None:
            node = COPY_SLICES((old, lazy), (root._source(), source), window)
        else:
            steps = root._view.chain()
            node = COPY_IN_PART((moved(old, steps), lazy), (root._source(), source), (
                *window, (old.shape, old.dtype), steps))
        root._set_edge((node, 0))
        self._storage.history += 1

    def _rebase(self: Tensor, edge: Edge) -> None:
        """Have another history from now on: it was changed in place by the node of ``edge``."""
        check_in_place(self)
        view = self._view
        if view is not None and view.differentiable:
            self._copied_slices(view, self._storage.lazy, self._read(), edge)
        else:
            self._set_edge(edge)
            self._storage.history += 1

    def _stale(self) -> bool:
        return self._view is not None and self._source() is not None


def apart_of(tensor: TensorBase) -> list[int] | None:
    """How many changes there were through this Tensor and its aliases, if it came from ``.data``: they go unseen by the
    tape, but for ops that read one of them."""
    if Front.apart is None:
        return None
    while (spec := tensor._spec) is not None and type(spec.view) is tuple:
        tensor = tensor._parent  # type: ignore[assignment]
    return getattr(_memory_of(tensor), "_apart", None)


def set_apart(tensor: TensorBase, name: str, parent: TensorBase) -> None:
    """Have changes through an alias of this ``name`` go unseen by the tape, if those of its parent do or it is
    ``data``."""
    counter = [0] if name == "data" else apart_of(parent)
    if counter is not None:
        count_apart(tensor, counter)


def count_apart(tensor: TensorBase, counter: list[int]) -> None:
    """Have changes through a Tensor and its aliases count here, not for the memory."""
    _memory_of(tensor)._apart = counter
    Front.apart = staticmethod(apart_of)


def _memory_of(tensor: TensorBase) -> TensorBase:
    """What stands for the memory that an alias shows: its base. That of a shell is not there yet: it is marked itself,
    and its base where it is made."""
    view = tensor._view if tensor._spec is None else None
    return tensor if view is None else view.base


class LeafHooks:
    """Hooks on a leaf: ``before`` see the gradient, ``after`` the tensor once its ``.grad`` has changed; ``pre`` and
    ``post`` are those of its ``AccumulateGrad``."""

    __slots__ = ("after", "before", "metadata", "post", "pre")

    def __init__(self) -> None:
        self.before: dict[int, Callable[..., Any]] = {}
        self.after: dict[int, Callable[..., Any]] = {}
        self.pre: dict[int, Callable[..., Any]] = {}
        self.post: dict[int, Callable[..., Any]] = {}
        self.metadata: dict[str, Any] = {}

    def __bool__(self) -> bool:
        """Whether there are any left."""
        return bool(self.before or self.after or self.pre or self.post)


_OF_SHELLS = frozenset(("_edge", "_grad", "_hooks", "_requires_grad", "_storage", "_view"))


def wake(shell: Tensor, part: str) -> Any:
    """Give a shell what it lacks: its value if that can be had as last time, else all that recording would make."""
    with record_lock:
        return _wake(shell, part)


def _wake(shell: Tensor, part: str) -> Any:
    if part != "_storage" or not Trace.valued((shell,)):
        awaken(shell)
    return object.__getattribute__(shell, part)


def awaken(shell: Tensor) -> None:
    """Turn a shell into an ordinary Tensor."""
    with record_lock:
        owner = shell._owner
        if owner is None:  # another thread was faster
            return
        if owner.state == FOLLOW and not owner.released:
            owner.diverge("the graph or the tape behind a result was looked at")
        else:
            owner.unfold()


# --- making Tensors

AnyTensor: type[Tensor] = TensorBase  # type: ignore[assignment]
"""What ``isinstance`` asks for in this room. At run time it is the base class, because the mixins that ask are made
before the whole class is; for a type checker it is the whole class."""

_new = object.__new__
_tensor_class: type[Tensor]


def register(tensor_class: type[Tensor]) -> None:
    """Say which class the Tensors made here are of. ``tensor_class.py`` does, once."""
    global _tensor_class
    _tensor_class = Trace.tensor_class = tensor_class


def is_plain(tensor: TensorBase) -> bool:
    """Whether it is a Tensor itself, not one of a subclass."""
    return type(tensor) is _tensor_class


def blank() -> Tensor:
    """A Tensor whose slots are still to be filled."""
    return _new(_tensor_class)


def make(lazy: LazyBuffer) -> Tensor:
    """A Tensor that owns the value and requires no gradient. An op on shared memory runs now."""
    return made(settle([lazy])[0] if _unsettled else lazy)


def made(lazy: LazyBuffer) -> Tensor:
    """A Tensor that owns the value and requires no gradient."""
    tensor = _new(_tensor_class)
    tensor._storage = Storage(lazy)
    if mode.enabled is None:
        tensor._storage.edits = INFERENCE
    if mode.watched and tracing.level is not None:
        tracing.level.born(tensor._storage)
    tensor._view = tensor._edge = tensor._grad = tensor._hooks = tensor._spec = tensor._look = None
    tensor._requires_grad = False
    tensor._tag = 0
    return tensor


def made_of(buffer: Any, shape: tuple[int, ...], dtype: DType, device: str) -> Tensor:
    """``made`` of a contiguous value in ``buffer``: what a program returns at every call, so its parts are put together
    here, without the calls that make them elsewhere."""
    tensor = _new(_tensor_class)
    tensor._edge = tensor._spec = None
    put_memory(tensor, buffer, shape, dtype, device)
    tensor._requires_grad = False
    tensor._tag = 0
    return tensor


def put_memory(tensor: Tensor, buffer: Any, shape: tuple[int, ...], dtype: DType, device: str) -> None:
    """Give a new Tensor, or a shell, a contiguous value in ``buffer``."""
    lazy = _new(LazyBuffer)
    lazy.op, lazy.srcs, lazy.arg, lazy.shape, lazy.dtype, lazy.device = Op.BUFFER, (), None, shape, dtype, device
    lazy.buffer, lazy.offset, lazy.owners, lazy.readers = buffer, 0, 1, 0
    storage = _new(Storage)
    storage.lazy, storage.version, storage.history, storage.edits, storage.counter = lazy, 0, 0, 0, None
    if (mode if tensor._spec is None else tensor._spec).enabled is None:
        storage.edits = INFERENCE
    tensor._storage = storage
    tensor._view = tensor._grad = tensor._hooks = tensor._look = None


def wrap(lazy: LazyBuffer, edge: Edge) -> Tensor:
    """A Tensor with a given edge: what the tape makes of gradients."""
    tensor = make(lazy)
    if edge is not None:
        tensor._set_edge(edge)
    return tensor


def wrap_rows(parts: Any, shape: tuple[int, ...]) -> Any:
    """A sparse tensor of rows: what the tape makes of the gradient of a table."""
    coordinates = lazily.module("minigrad.sparse.coordinates")
    if thread.trace.state != OFF:
        thread.trace.stop("a gradient is sparse")  # what is added to it belongs to no trace that ends here
    return coordinates.of_rows([(made(at), made(values)) for at, values in parts], shape)


Front.wrap = wrap
Front.sparse = wrap_rows
