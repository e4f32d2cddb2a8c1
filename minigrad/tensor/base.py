"""Stage: front. In: LazyBuffers. Out: ``Tensor``, the user's handle on them, and how an op is recorded with its tape
node. The methods are added by the other files of this folder, each of which holds one topic.
Next: ``elementwise.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from minigrad.autograd.mode import mode
from minigrad.autograd.node import Edge, Front, Node, kind, made, stand_in
from minigrad.dtype import DType
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.size import Size, device, shown_device
from minigrad.tensor.storage import Storage, View, _unsettled, settle, snapshot

F = TypeVar("F", bound=Callable[..., Any])
FUNCTIONS: dict[str, Any] = {}
"""The functions of the ``minigrad`` namespace, by name."""


class Tensor:
    """A multi-dimensional array of one dtype that records what is done with it.

    ``Tensor([1, 2])`` makes float32 numbers of data and ``Tensor(2, 3)`` an uninitialised tensor of that shape; use
    ``minigrad.tensor`` and ``minigrad.empty``.

    >>> import minigrad
    >>> x = minigrad.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> (x @ x).sum().backward()
    >>> x.grad
    tensor([[ 7., 11.],
            [ 9., 13.]])
    """

    __slots__ = ("__dict__", "__weakref__", "_edge", "_grad", "_hooks", "_requires_grad", "_storage", "_view")

    _storage: Storage
    _view: View | None
    _edge: Edge
    _grad: Tensor | None
    _requires_grad: bool
    _hooks: LeafHooks | None

    if TYPE_CHECKING:
        # The topical files add the methods; a type checker can't follow that.
        grad: Any
        data: Any

        def __getattr__(self, name: str) -> Any: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __pos__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __eq__(self, other: Any) -> Any: ...
        def __ne__(self, other: Any) -> Any: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __len__(self) -> int: ...
        def __iter__(self) -> Iterator[Tensor]: ...
        def __bool__(self) -> bool: ...
        def __int__(self) -> int: ...
        def __float__(self) -> float: ...
        def __index__(self) -> int: ...

    # --- what it is

    def _shape(self) -> tuple[int, ...]:
        view = self._view
        return self._storage.lazy.shape if view is None else view.shape

    @property
    def shape(self) -> Size:
        """The sizes of all dimensions."""
        view = self._view
        return Size(self._storage.lazy.shape if view is None else view.shape)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self._shape())

    @property
    def dtype(self) -> DType:
        """The type of the elements."""
        return self._storage.lazy.dtype

    @property
    def device(self) -> device:
        """Where the elements are."""
        return shown_device(self._storage.lazy.device)

    # --- reading and recording

    def _read(self) -> LazyBuffer:
        """The current value. Brings the edge of a view up to date."""
        view = self._view
        if view is None:
            lazy = self._storage.lazy
            buffer = lazy.buffer
            if buffer is None or not buffer.exported:
                return lazy
            return snapshot(self._storage, ())
        if view.differentiable:
            self._refresh(view)
        return view.read(self._storage)

    def _refresh(self, view: View) -> None:
        """Make the edges of this view and of the views it was made from, where in-place ops changed what is behind."""
        history = self._storage.history
        if view.history == history and (self._edge is not None or not self._requires_grad):
            return
        stale: list[Tensor] = [self]
        while True:
            parent = stale[-1]._view.parent  # type: ignore[union-attr]
            above = parent._view
            if above is None or not above.differentiable or (
                    above.history == history and (parent._edge is not None or not parent._requires_grad)):
                break
            stale.append(parent)
        for tensor in reversed(stale):
            view = tensor._view  # type: ignore[assignment]
            parent = view.parent
            tensor._requires_grad = parent._requires_grad
            tensor._edge = _view_edge(view, parent) if parent._requires_grad else None
            view.history = history

    def _source(self) -> Edge:
        """Where this tensor's gradient goes: its edge, itself if it is a leaf, None if it needs none."""
        view = self._view
        if view is not None and view.differentiable:
            self._refresh(view)
        if not self._requires_grad:
            return None
        return self if self._edge is None else self._edge

    def _set_edge(self, edge: Edge) -> None:
        self._edge = edge
        self._requires_grad = edge is not None

    def _replace(self, lazy: LazyBuffer) -> None:
        """Put a new value of the same shape and dtype into the Storage, outside autograd."""
        view = self._view
        if view is None:
            self._storage.write(lazy)
        else:
            chain = view.chain()
            _check_writable(view)
            self._storage.write(self._storage.lazy.assign(lazy, chain))

    def _adopt(self, value: Tensor) -> Tensor:
        """Become ``value``, a fresh result of the same shape and dtype: the last step of every in-place op."""
        lazy = value._read()
        if not mode.enabled or not (self._requires_grad or value._requires_grad or self._stale()):
            self._replace(lazy)
            return self
        view = self._view
        if view is None or not view.differentiable:
            self._replace(lazy)
            if value._requires_grad:
                self._set_edge(value._source())
            else:  # nothing flows to what it was, but it still counts as computed
                self._set_edge((_FILL((self._source(),), (stand_in(lazy.shape, lazy.dtype, lazy.device),),
                                      (stand_in(lazy.shape, lazy.dtype, lazy.device),), {}, ()), 0))
            self._storage.history += 1
            return self
        _check_writable(view)
        base, chain = view.base, view.chain()
        old = base._storage.lazy
        ghost, ghost_value = stand_in(old.shape, old.dtype, old.device), stand_in(lazy.shape, lazy.dtype, lazy.device)
        edges = (base._source(), value._source())
        base._storage.write(old.assign(lazy, chain))
        node = _COPY_SLICES(edges, (ghost, ghost_value), (ghost.assign(ghost_value, chain),), {}, ())
        base._set_edge((node, 0))
        base._storage.history += 1
        return self

    def _stale(self) -> bool:
        return self._view is not None and self._source() is not None


def check_in_place(self: Tensor) -> None:
    """``RuntimeError`` for a leaf that requires a gradient, or a view of one, while the tape records."""
    if not mode.enabled or self._source() is None:
        return
    if self._edge is None:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    view = self._view
    if view is not None and view.differentiable and view.base._edge is None and view.base._requires_grad:
        raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")


class LeafHooks:
    """Hooks on a leaf: ``before`` see the gradient, ``after`` the tensor once its ``.grad`` has changed."""

    __slots__ = ("after", "before")

    def __init__(self) -> None:
        self.before: dict[int, Callable[..., Any]] = {}
        self.after: dict[int, Callable[..., Any]] = {}


_FILL = kind("FillBackward0")
_COPY_SLICES = kind("CopySlices")


def _view_edge(view: View, parent: Tensor) -> Edge:
    """A node of its own for the view. Only shapes matter to it, so it holds no values."""
    whole = parent._storage.lazy
    ghost = stand_in(parent._shape(), whole.dtype, whole.device)
    lazy = ghost
    for op, arg in view.steps:
        lazy = lazy.move(op, arg)
    source = parent if parent._edge is None else parent._edge
    return (view.kind((source,), (ghost,), (lazy,), {}, ()), 0)


def _check_writable(view: View) -> None:
    for op, arg in view.chain():
        if op == Op.EXPAND or (op == Op.WINDOW and any(size > 1 and stride < dilation * (size - 1) + 1
                                                      for _, size, stride, dilation in arg)):
            raise RuntimeError("unsupported operation: more than one element of the written-to tensor refers to a "
                               "single memory location. Please clone() the tensor before performing the operation.")


# --- making Tensors

_new = object.__new__


def make(lazy: LazyBuffer) -> Tensor:
    """A Tensor that owns the value and requires no gradient."""
    if _unsettled:
        lazy = settle([lazy])[0]
    tensor = _new(Tensor)
    tensor._storage = Storage(lazy)
    tensor._view = tensor._edge = tensor._grad = tensor._hooks = None
    tensor._requires_grad = False
    return tensor


def alias(tensor: Tensor) -> Tensor:
    """Another Tensor on the same Storage, through the same view, outside autograd: ``detach``."""
    result = _new(Tensor)
    result._storage = tensor._storage
    result._edge = result._grad = result._hooks = None
    result._requires_grad = False
    view = tensor._view
    if view is None:
        result._view = None
    else:
        base = alias(view.base)
        result._view = View(base, view.chain(), view.shape, view.strides, view.offset, view.kind, False)
    return result


def make_view(parent: Tensor, steps: tuple[tuple[str, Any], ...], shape: tuple[int, ...], strides: tuple[int, ...],
              offset: int, kind: type[Node]) -> Tensor:
    """An alias of a part of ``parent``. Its tape node is made when somebody asks for it."""
    tensor = _new(Tensor)
    tensor._storage = parent._storage
    tensor._edge = tensor._grad = tensor._hooks = None
    above = parent._view
    if above is not None and above.differentiable:
        parent._refresh(above)
    enabled = mode.enabled
    tensor._requires_grad = enabled and parent._requires_grad
    tensor._view = View(parent, steps, shape, strides, offset, kind, enabled)
    return tensor


def wrap(lazy: LazyBuffer, edge: Edge) -> Tensor:
    """A Tensor with a given edge: what the tape makes of gradients."""
    tensor = make(lazy)
    if edge is not None:
        tensor._set_edge(edge)
    return tensor


Front.wrap = wrap


# --- recording ops: what the tape keeps of an op is noted before ``make``, which may have to run it


def record_unary(kind: type[Node], out: LazyBuffer, a: Tensor, la: LazyBuffer) -> Tensor:
    """The Tensor of ``out``, computed from ``a`` whose value was read as ``la``."""
    if not a._requires_grad or not mode.enabled:
        return make(out)
    structure = {out: (out.op, out.srcs, out.arg)} if out.device == la.device and out is not la else made((out,), (la,))
    tensor = make(out)
    owned = (la,) if kind.saves_inputs else (out,) if kind.saves_output else ()
    tensor._edge = (kind((a if a._edge is None else a._edge,), (la,), (out,), structure, owned), 0)
    tensor._requires_grad = True
    return tensor


def record_binary(kind: type[Node], out: LazyBuffer, a: Tensor, b: Tensor, la: LazyBuffer, lb: LazyBuffer) -> Tensor:
    """The Tensor of ``out``, computed from ``a`` and ``b``, read as ``la`` and ``lb``."""
    needs_a, needs_b = a._requires_grad, b._requires_grad
    if not (needs_a or needs_b) or not mode.enabled:
        return make(out)
    structure = {out: (out.op, out.srcs, out.arg)} if la.device == lb.device else made((out,), (la, lb))
    tensor = make(out)
    owned: tuple[LazyBuffer, ...] = ()
    if kind.saves_inputs:
        owned = (la, lb) if needs_a and needs_b else (lb,) if needs_a else (la,)
    node = kind((None if not needs_a else a if a._edge is None else a._edge,
                 None if not needs_b else b if b._edge is None else b._edge), (la, lb), (out,), structure, owned)
    tensor._edge = (node, 0)
    tensor._requires_grad = True
    return tensor


def record_one(kind: type[Node], out: LazyBuffer, tensors: Sequence[Tensor],
               inputs: tuple[LazyBuffer, ...]) -> Tensor:
    """The Tensor of ``out``, computed from several ``tensors``: ``record`` in its commonest case."""
    how = out.op, out.srcs, out.arg
    tensor = make(out)
    if mode.enabled and out.dtype.kind == "f":
        tracked = False
        edges: list[Edge] = []
        for t in tensors:
            if t._requires_grad:
                tracked = True
                edges.append(t if t._edge is None else t._edge)
            else:
                edges.append(None)
        if tracked:
            owned = inputs if kind.saves_inputs else ()
            tensor._edge = (kind(tuple(edges), inputs, (out,), {out: how}, owned), 0)
            tensor._requires_grad = True
    return tensor


def record(kind: type[Node], outputs: Sequence[LazyBuffer], tensors: Sequence[Tensor], inputs: Sequence[LazyBuffer],
           stops: tuple[LazyBuffer, ...] = (), structure: dict[LazyBuffer, Any] | None = None,
           differentiable: int | None = None) -> list[Tensor]:
    """The Tensors of ``outputs``, computed from ``tensors`` whose values were read as ``inputs``.

    No gradient flows into ``stops``. ``structure`` may give another expression of the same value to differentiate.
    Only the first ``differentiable`` outputs (None: all that are floating) get a gradient.
    """
    count = len(outputs) if differentiable is None else differentiable
    tracked = tuple([o for o in outputs[:count] if o.dtype.kind == "f"])
    if not tracked or not mode.enabled or not any([t._requires_grad for t in tensors]):
        return _tensors(outputs)
    kept = made(tracked, inputs)
    if structure is not None:
        kept.update(structure)
    results = _tensors(outputs)
    owned = (*(inputs if kind.saves_inputs else ()), *(tracked if kind.saves_output else ()))
    edges = tuple([None if not t._requires_grad else t if t._edge is None else t._edge for t in tensors])
    node = kind(edges, (*inputs, *stops), tracked, kept, owned)
    number = 0
    for result in results[:count]:
        if result._storage.lazy.dtype.kind == "f":
            result._edge = (node, number)
            result._requires_grad = True
            number += 1
    return results


def _tensors(outputs: Sequence[LazyBuffer]) -> list[Tensor]:
    return [make(o) for o in (settle(list(outputs)) if _unsettled else outputs)]


def read_all(tensors: Sequence[Tensor]) -> list[LazyBuffer]:
    """The values of several operands of one op. Different Tensors with one value get different nodes, so that their
    gradients stay apart (``x * x.detach()``)."""
    lazies = [t._read() for t in tensors]
    if len(lazies) > 1 and len(set(lazies)) < len(lazies):
        seen: dict[LazyBuffer, Tensor] = {}
        for i, (tensor, lazy) in enumerate(zip(tensors, lazies, strict=True)):
            if seen.setdefault(lazy, tensor) is not tensor:
                lazies[i] = twin(lazy)
    return lazies


def twin(lazy: LazyBuffer) -> LazyBuffer:
    """The same value as a node of its own."""
    return LazyBuffer(Op.RESHAPE, (lazy,), lazy.shape, lazy.shape, lazy.dtype, lazy.device)


# --- one definition, two spellings: x.exp() and minigrad.exp(x)


def method(*names: str) -> Callable[[F], F]:
    """Make the function a method of Tensor under these names."""

    def attach(function: F) -> F:
        _name(function, names[0], "Tensor.")
        for name in names:
            setattr(Tensor, name, function)
        return function

    return attach


def function(*names: str) -> Callable[[F], F]:
    """Make the function one of the ``minigrad`` namespace under these names."""

    def attach(made: F) -> F:
        _name(made, names[0], "")
        for name in names:
            FUNCTIONS[name] = made
        return made

    return attach


def both(*names: str) -> Callable[[F], F]:
    """Make the function a method of Tensor and one of the ``minigrad`` namespace."""

    def attach(made: F) -> F:
        method(*names)(made)
        name = names[0]

        @wraps(made)
        def function(input: Any, *args: Any, **kwargs: Any) -> Any:
            if not isinstance(input, Tensor):
                raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
            if "out" in kwargs:
                return _into(kwargs.pop("out"), made(input, *args, **kwargs))
            return made(input, *args, **kwargs)

        for spelling in names:
            FUNCTIONS[spelling] = function
        return made

    return attach


def _name(function: Callable[..., Any], name: str, prefix: str) -> None:
    if not name.startswith("__"):
        function.__name__, function.__qualname__ = name, prefix + name


def _into(out: Any, result: Any) -> Any:
    """What ``out=`` asks for: the result copied into a given tensor, which takes its shape."""
    if out is None:
        return result
    if isinstance(result, tuple):
        return type(result)(*[_into(o, r) for o, r in zip(out, result, strict=True)])
    with_shape = out if out._shape() == result._shape() else out.resize_(result._shape())
    return with_shape.copy_(result)
