"""Stage: front. In: index tensors and values. Out: ``SparseTensor``, what all layouts of sparse tensors have in common:
attributes, gradients of the values, printing, and which calls reach which method.
Next: ``coordinates.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from minigrad.autograd.mode import mode
from minigrad.dtype import DType, bool_, int64, shown
from minigrad.tensor import Tensor, get_default_dtype, get_printoptions, realize
from minigrad.tensor.arguments import explained
from minigrad.tensor.layouts import layout as layout_type
from minigrad.tensor.operands import dim_index
from minigrad.tensor.outputs import into
from minigrad.tensor.overrides import arm, armed, disabled
from minigrad.tensor.printing import elements_text, with_suffixes
from minigrad.tensor.promotion import type_name
from minigrad.tensor.size import Size, default_device

Handler = Callable[..., Any]

HANDLERS: dict[str, Handler] = {}
"""Functions for calls in which a sparse tensor need not be the first argument, by the name of the call."""


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Make the function what calls of these names reach if one of their arguments is sparse."""

    def attach(made: Handler) -> Handler:
        for name in names:
            HANDLERS[name] = explained(made)
        return made

    return attach


def unsupported(name: str, x: Any) -> NotImplementedError:
    """PyTorch's error for an op that this layout has not."""
    kind = "SparseCPU" if x.is_sparse else "SparseCsrCPU"
    return NotImplementedError(f"Could not run 'aten::{name.strip('_')}' with arguments from the '{kind}' backend: "
                               f"sparse tensors of layout {x.layout!r} have no such op here; use to_dense() first.")


def _operator(name: str) -> Callable[..., Any]:
    def operator(self: Any, *others: Any, **named: Any) -> Any:
        with disabled():
            return HANDLERS[name](self, *others, **named)

    operator.__name__ = name
    operator.__doc__ = f"What ``{name}`` gives with sparse tensors; see ``elementwise.py`` and ``products.py``."
    return operator


class SparseTensor(Tensor):
    """A tensor that stores some of its elements, the others being 0: index tensors and ``values``. It has no storage of
    its own: gradients flow to the values."""

    __slots__ = ("_gradient", "_leaf", "_size", "_stored")

    _size: tuple[int, ...]
    _stored: Tensor
    _leaf: bool
    _gradient: Tensor | None
    _layout_name: ClassVar[str] = ""

    @classmethod
    def _blank(cls, values: Tensor, size: Sequence[int]) -> Any:
        if not armed:
            arm()
        made = object.__new__(cls)
        made._tag, made._spec, made._look, made._view, made._edge = 0, None, None, None, None
        made._hooks = None
        made._size, made._stored, made._leaf, made._gradient = tuple(size), values, False, None
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, named = str(getattr(func, "__name__", "")), dict(kwargs or {})
        out = named.pop("out", None)
        with disabled():
            if name in ("__get__", "__set__"):  # an attribute, of it or set to it
                return func(*args)
            return put_into(out, cls._called(name, args, named, out))

    @classmethod
    def _called(cls, name: str, args: Any, named: dict[str, Any], out: Any) -> Any:
        if name in HANDLERS:
            found = HANDLERS[name](*args, **named)
            if found is not NotImplemented:
                return found
        args = args or (named.pop("input", None),)
        first = args[0]
        if isinstance(first, SparseTensor):
            for kind in type(first).__mro__:
                if kind is Tensor:
                    break
                if name in vars(kind):
                    return getattr(first, name)(*args[1:], **named)
        for given in (*args, *named.values()):
            if isinstance(given, SparseTensor):
                raise unsupported(name, given)
        raise unsupported(f"{name}.out", out)

    # --- what it is

    def _shape(self) -> tuple[int, ...]:
        return self._size

    @property
    def shape(self) -> Size:
        """The sizes of all dimensions, sparse and dense."""
        return Size(self._size)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self._size)

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self._size)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension; ``IndexError`` for one that is not there."""
        return self.shape if dim is None else self._size[dim_index(dim, self.ndim)]

    def numel(self) -> int:
        """The number of elements, stored or not."""
        n = 1
        for s in self._size:
            n *= s
        return n

    @property
    def dtype(self) -> DType:
        """The dtype of the values."""
        return self._stored.dtype

    @property
    def device(self) -> Any:
        """Where the values are."""
        return self._stored.device

    @property
    def layout(self) -> layout_type:
        """How it is stored."""
        raise NotImplementedError

    @property
    def is_sparse(self) -> bool:
        """Whether it is stored as coordinates and values."""
        return False

    @property
    def is_sparse_csr(self) -> bool:
        """Whether it is stored as compressed rows."""
        return False

    def _nnz(self) -> int:
        """How many elements are stored."""
        raise NotImplementedError

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """False: it has no memory in the order of its dimensions."""
        return False

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """The name of its type, or itself with another dtype."""
        if dtype is None:
            return f"torch.sparse.{type_name(self.dtype)}Tensor"
        return self._with_values(self._stored.type(dtype))

    def _pending(self) -> Any:
        return self._stored._pending()

    def _whole(self) -> Any:
        return self._stored._whole()

    def _source(self) -> Any:
        return self._stored._source()

    def _read(self) -> Any:
        raise unsupported("", self)

    @property
    def _storage(self) -> Any:  # type: ignore[override]
        return self._stored._storage  # whose versions and edits are those of the whole

    # --- parts

    def _indexes(self) -> tuple[tuple[str, Tensor], ...]:
        """The index tensors with their names."""
        raise NotImplementedError

    def _with_values(self, values: Tensor) -> Any:
        """Other values at the same places."""
        raise NotImplementedError

    def _take(self, other: SparseTensor) -> Any:
        """Take another sparse tensor's parts."""
        for name in ("_size", "_stored", "_leaf"):
            setattr(self, name, getattr(other, name))
        return self

    def _write(self, other: SparseTensor) -> Any:
        """Become another sparse tensor, in place."""
        return self._take(other)

    def _values(self) -> Tensor:
        """The stored elements."""
        return self._stored

    # --- gradients

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to the values; settable on a leaf."""
        return self._stored.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Make it a leaf whose gradient is computed, or not; returns self."""
        if requires_grad and not self._stored.requires_grad:
            self._stored, self._leaf = self._stored.detach().requires_grad_(), True
        elif not requires_grad:
            self._stored, self._leaf = self._stored.detach(), False
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether it is where gradients end: made by the user, or requiring none."""
        return self._leaf or not self._stored.requires_grad

    @property
    def grad_fn(self) -> Any:
        """The entry on the tape that made the values; None for a leaf."""
        return None if self.is_leaf else self._stored.grad_fn

    @property
    def grad(self) -> Any:
        """The gradient that ``backward`` has added up: a sparse tensor with the same places; None before."""
        if self._leaf and self._stored.grad is not None:
            return self._as_gradient(self._stored.grad)
        return self._gradient

    @grad.setter
    def grad(self, value: Any) -> None:
        if self._leaf:
            self._stored.grad = value._values() if isinstance(value, SparseTensor) else value
        else:
            self._gradient = value

    def _as_gradient(self, found: Any) -> Any:
        """The gradient of the tensor from that of its values."""
        return self._with_values(found)

    def retain_grad(self) -> None:
        """Not there: ask the values for their gradient."""
        raise unsupported("retain_grad", self)

    def backward(self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
                 inputs: Any = None) -> None:
        """Add the gradients of the leaves, from a sparse ``gradient`` of the same pattern."""
        if isinstance(gradient, SparseTensor):
            gradient = gradient._values()
        self._stored.backward(gradient, retain_graph, create_graph, inputs)

    def detach(self) -> Any:
        """The same places and values, outside autograd."""
        return self._with_values(self._stored.detach())

    def detach_(self) -> Any:
        """Leave autograd; returns self."""
        self._stored, self._leaf = self._stored.detach(), False
        return self

    @property
    def data(self) -> Any:
        """The same places and values, outside autograd; what it is set to is taken over."""
        return self.detach()

    @data.setter
    def data(self, value: Any) -> None:
        self._take(value)

    # --- conversions

    def clone(self, memory_format: Any = None) -> Any:
        """A copy."""
        return self._with_values(self._stored.clone())

    def contiguous(self, memory_format: Any = None) -> Any:
        """Itself, with values in row-major order."""
        return self._with_values(self._stored.contiguous())

    def to(self, *args: Any, **named: Any) -> Any:
        """With another dtype, or on another device; itself if that changes nothing."""
        args = tuple([a._values() if isinstance(a, SparseTensor) else a for a in args])
        values = self._stored.to(*args, **named)
        return self if values is self._stored else self._with_values(values)._on(values.device)

    def _on(self, device: Any) -> Any:
        """Its index tensors on a device too."""
        return self

    def realize(self) -> Any:
        """Compute the values now; returns self."""
        realize(self._stored)
        return self

    def cpu(self, *args: Any, **named: Any) -> Any:
        """On the CPU."""
        return self.to("cpu")

    def cuda(self, *args: Any, **named: Any) -> Any:
        """On a GPU."""
        values = self._stored.cuda(*args, **named)
        return self._with_values(values)._on(values.device)

    def type_as(self, other: Tensor) -> Any:
        """With the dtype of another sparse tensor; ``RuntimeError`` for one of another layout."""
        if other.layout is not self.layout:
            raise RuntimeError("to(options) doesn't support converting to a different layout, but got self.layout "
                               f"being {self.layout!r} and options.layout set as {other.layout!r}")
        return self.to(other.dtype)

    def to_dense(self, dtype: Any = None, *, masked_grad: Any = None) -> Tensor:
        """All elements."""
        raise NotImplementedError

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copy = self._with_values(self._stored.detach().clone())
        return copy.requires_grad_() if self._leaf else copy

    def numpy(self, *, force: bool = False) -> Any:
        """``TypeError``: NumPy has no sparse arrays."""
        kind = "Sparse" if self.is_sparse else "".join([w.capitalize() for w in self._layout_name.split("_")])
        raise TypeError(f"can't convert {kind} layout tensor to numpy. Use Tensor.to_dense() first.")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        """``RuntimeError``: ask ``to_dense()`` for its elements."""
        raise RuntimeError("Cannot access data pointer of Tensor that doesn't have storage")

    def item(self) -> Any:
        """The only element; ``RuntimeError`` if there are more or none."""
        if self.numel() != 1:
            raise RuntimeError(f"a Tensor with {self.numel()} elements cannot be converted to Scalar")
        return self.to_dense().item()

    def reshape(self, *sizes: Any, **named: Any) -> Any:
        """``RuntimeError``: it can't."""
        raise RuntimeError("reshape is not implemented for sparse tensors")

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Any:
        """``RuntimeError``: it can't."""
        raise RuntimeError("reshape is not implemented for sparse tensors")

    def expand(self, *sizes: Any, **named: Any) -> Any:
        """``RuntimeError``: it can't."""
        raise RuntimeError("expand is unsupported for Sparse tensors")

    def stride(self, dim: int | None = None) -> Any:
        """0 in every dimension."""
        return (0,) * len(self._size) if dim is None else 0

    def element_size(self) -> int:
        """Bytes of one element."""
        return self._stored.element_size()

    def __len__(self) -> int:
        if not self._size:
            raise TypeError("len() of a 0-d tensor")
        return self._size[0]

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        return bool(self.to_dense())

    def __hash__(self) -> int:
        return id(self)

    def is_same_size(self, other: Tensor) -> bool:
        """Whether both have one shape."""
        return self._size == other._shape()

    # --- arithmetic

    add = _operator("add")
    sub = _operator("sub")
    mul = _operator("mul")
    div = _operator("div")
    pow = _operator("pow")
    matmul = _operator("matmul")
    mm = _operator("mm")
    mv = _operator("mv")
    addmm = _operator("addmm")
    sum = _operator("sum")
    floor_divide = _operator("floor_divide")
    add_ = _operator("add_")
    sub_ = _operator("sub_")
    mul_ = _operator("mul_")
    div_ = _operator("div_")
    norm = _operator("norm")
    any = _operator("any")
    smm = _operator("smm")
    sspaddmm = _operator("sspaddmm")
    bmm = _operator("bmm")
    __add__, __sub__, __mul__, __truediv__, __pow__ = add, sub, mul, div, pow
    __iadd__, __isub__, __imul__, __itruediv__ = add_, sub_, mul_, div_
    __matmul__, __floordiv__ = matmul, floor_divide

    def __radd__(self, other: Any) -> Any:
        return HANDLERS["add"](other, self)

    def __rsub__(self, other: Any) -> Any:
        return HANDLERS["sub"](other, self)

    def __rmatmul__(self, other: Any) -> Any:
        return HANDLERS["matmul"](other, self)

    def __rmul__(self, other: Any) -> Any:
        return HANDLERS["mul"](self, other)

    # --- printing

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        indent = len("tensor(")
        parts = [*self._indexes(), ("values", self._values())]
        lines = [f"{name}=tensor({elements_text(t.detach()._array(), indent + len(name) + len('=tensor('))})"
                 for name, t in parts]
        text = "tensor(" + (",\n" + " " * indent).join(lines)
        suffixes = [] if self._pending().device == default_device() else [f"device='{self.device}'"]
        suffixes += [f"size={self._size}", f"nnz={self._nnz()}"]
        if self.dtype not in (get_default_dtype(), int64, bool_):
            suffixes.append(f"dtype={self.dtype!r}")
        suffixes.append(f"layout={shown(self._layout_name)}")
        node = self.grad_fn
        if node is not None:
            suffixes.append(f"grad_fn=<{node.name()}>")
        elif self.requires_grad:
            suffixes.append("requires_grad=True")
        return with_suffixes(text, suffixes, indent, get_printoptions().linewidth, self.is_sparse)

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return object.__format__(self, spec)


def put_into(out: Any, result: Any) -> Any:
    """What ``out=`` asks for: a sparse tensor takes over the parts of a sparse result, in its own dtype."""
    if isinstance(out, SparseTensor) and isinstance(result, SparseTensor):
        return out._write(result.to(out.dtype))
    return into(out, result)


def recorded(values: Tensor, kind: Any) -> Tensor:
    """The values of a sparse tensor that is made of them: on the tape, the tensor has an entry of its own."""
    return kind((values,)) if values.requires_grad and mode.enabled else values.detach()
