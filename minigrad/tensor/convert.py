"""Stage: front. In: a Tensor. Out: it in another dtype or on another device, as NumPy array, Python number or list;
its autograd attributes: ``grad``, ``requires_grad``, ``grad_fn``, ``detach``, ``backward``.
Next: ``protocol.py``."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from minigrad import dtype as dtypes
from minigrad.autograd.backward import run as run_backward
from minigrad.autograd.node import RemovableHandle
from minigrad.dtype import DType
from minigrad.engine import leaf_from_numpy, realise, to_numpy
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.ops import cast as cast_array
from minigrad.runtime.device import get_device as device_of
from minigrad.tensor import points
from minigrad.tensor.base import LeafHooks, Tensor, alias, awaken, function, make, method
from minigrad.tensor.function import Function
from minigrad.tensor.movement import shape_argument
from minigrad.tensor.operands import dim_index, result_dtype
from minigrad.tensor.promotion import type_name
from minigrad.tensor.size import resolve
from minigrad.tensor.storage import Storage, Writes, apply_to_array, tracing
from minigrad.tensor.unfold import is_filled

_TO_COPY = Function("to", lambda x, dtype, device: x.cast(dtype).copy_to(device), "ToCopyBackward0")


def _property(name: str, get: Any, set: Any = None, delete: Any = None, *, doc: str) -> None:
    setattr(Tensor, name, property(get, set, delete, doc))


# --- dtype and device


@method("to")
def to(self: Tensor, *args: Any, dtype: DType | None = None, device: Any = None, non_blocking: bool = False,
       copy: bool = False, memory_format: Any = None) -> Tensor:
    """In another dtype, on another device, or both (``to(other)`` takes those of a Tensor); self if nothing changes.

    >>> import minigrad
    >>> minigrad.tensor([1.5, 2.5]).to(minigrad.int64)
    tensor([1, 2])
    """
    for arg in args:
        if isinstance(arg, DType):
            dtype = arg
        elif isinstance(arg, Tensor):
            dtype, device = arg.dtype, arg.device
        elif isinstance(arg, bool):
            pass  # non_blocking by position
        elif arg is not None:
            device = arg
    lazy = self._storage.lazy
    target = lazy.device if device is None else resolve(device)
    dtype = lazy.dtype if dtype is None else dtype
    if dtype is lazy.dtype and target == lazy.device:
        return self.clone() if copy else self
    if lazy.op in (Op.CONST, Op.SCALAR) and target != lazy.device:
        return make(_number_elsewhere(lazy, target)).to(dtype)  # what the program itself holds needs no copy
    return _TO_COPY((self,), (dtype, target))


def _number_elsewhere(lazy: LazyBuffer, device: str) -> LazyBuffer:
    if lazy.op == Op.CONST:
        return LazyBuffer.const(lazy.arg, lazy.dtype, lazy.shape, device)
    return LazyBuffer.scalar(lazy.value, lazy.dtype, device)


@method("type")
def type_(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """In another dtype; without one, the name of self's type, ``"minigrad.FloatTensor"``."""
    if dtype is None:
        return f"minigrad.{type_name(self.dtype)}Tensor"
    if isinstance(dtype, str):
        dtype = next(d for d in dtypes.ALL if dtype.rpartition(".")[2] in (d.name, f"{type_name(d)}Tensor"))
    return self.to(dtype)


@method("type_as")
def type_as(self: Tensor, other: Tensor) -> Tensor:
    """In the dtype and on the device of ``other``."""
    return self.to(other)


def _conversion(name: str, dtype: DType) -> None:
    def convert(self: Tensor, memory_format: Any = None) -> Tensor:
        return self.to(dtype)

    convert.__doc__ = f"``to(minigrad.{dtype.name})``."
    method(name)(convert)


for _name, _dtype in (
    ("float", dtypes.float32), ("double", dtypes.float64), ("half", dtypes.float16), ("bfloat16", dtypes.bfloat16),
    ("long", dtypes.int64), ("int", dtypes.int32), ("short", dtypes.int16), ("char", dtypes.int8),
    ("byte", dtypes.uint8), ("bool", dtypes.bool_),
):
    _conversion(_name, _dtype)


@method("cpu")
def cpu(self: Tensor, memory_format: Any = None) -> Tensor:
    """On the device CPU."""
    return self.to(device="cpu")


@method("cuda")
def cuda(self: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
    """On the device CUDA; ``RuntimeError`` if there is none."""
    return self.to(device="cuda" if device is None else device)


# --- values


@method("_array")
def _array(self: Tensor) -> np.ndarray:
    """The elements as a NumPy array on the Tensor's memory, computed if they were pending. Not for keeping."""
    array = self._storage.array()
    view = self._view
    return array if view is None else apply_to_array(array, view.chain())


@method("numpy")
def numpy(self: Tensor, *, force: bool = False) -> np.ndarray:
    """A NumPy array on the same memory: changes of either show in both.

    ``RuntimeError`` for a Tensor that requires a gradient and ``TypeError`` for one in a device's own memory, unless
    ``force``, which copies the latter.

    >>> import minigrad
    >>> t = minigrad.ones(2)
    >>> a = t.numpy()
    >>> _ = t.add_(1)
    >>> a.tolist()
    [2.0, 2.0]
    """
    if not force and self.requires_grad:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
    storage = self._storage
    if storage.lazy.device != "CPU" and not device_of(storage.lazy.device).host_memory:
        if force:
            return self.detach().cpu().numpy()
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor "
                        "to host memory first.")
    storage.array()
    storage.make_private()
    array = to_numpy(storage.lazy)
    return array if self._view is None else apply_to_array(array, self._view.chain())


@method("__array__")
def as_array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    """NumPy's protocol: the memory itself, or a converted copy."""
    array = self.numpy()
    if dtype is not None and array.dtype != dtype:
        if copy is False:
            raise ValueError("Unable to avoid copy while creating an array as requested.")
        return array.astype(dtype)
    return array.copy() if copy else array


@method("item")
def item(self: Tensor) -> Any:
    """The only element as a Python number; ``RuntimeError`` if there are more or none."""
    n = prod(self._shape())
    if n != 1:
        raise RuntimeError(f"a Tensor with {n} elements cannot be converted to Scalar")
    array = _array(self)
    return float(array.reshape(())) if self.dtype.kind == "f" else array.item()


@method("tolist")
def tolist(self: Tensor) -> Any:
    """The elements as nested lists of Python numbers; one number for a 0-d tensor."""
    array = _array(self)
    return (array.astype(np.float32) if self.dtype is dtypes.bfloat16 else array).tolist()


def realize(*tensors: Any) -> None:
    """Compute these Tensors now, in one run.

    >>> import minigrad
    >>> x = minigrad.ones(2) + 1
    >>> realize(x)
    """
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], tuple | list) else tensors
    if not tracing:
        shells = [t for t in given if t._spec is not None and not is_filled(t)]
        if shells:
            points.value(shells)
        pending = [t._storage.lazy for t in given]
        written = Writes.take()
        if not written and len({t._storage for t in given}) == len(given):
            points.compute([v for v in pending if v.buffer is None])
        else:
            realise(pending + written)


@method("realize")
def realize_method(self: Tensor) -> Tensor:
    """Compute self now, and return it."""
    realize(self)
    return self


# --- sizes


@method("size")
def size(self: Tensor, dim: int | None = None) -> Any:
    """The shape, or the size of one dimension."""
    return self.shape if dim is None else self._shape()[dim_index(dim, self.ndim)] if self.ndim else _no_dim(dim)


def _no_dim(dim: int) -> int:
    raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")


@method("dim", "ndimension")
def dim(self: Tensor) -> int:
    """The number of dimensions."""
    return len(self._shape())


@method("numel", "nelement")
def numel(self: Tensor) -> int:
    """The number of elements."""
    return prod(self._shape())


function("numel")(lambda input: input.numel())


@method("element_size")
def element_size(self: Tensor) -> int:
    """Bytes of one element."""
    return self.dtype.size


@method("data_ptr")
def data_ptr(self: Tensor) -> int:
    """The address of the first element: the host's, or a number that its device understands."""
    realize(self)
    lazy = self._storage.lazy
    if lazy.buffer.on_host:
        return int(_array(self).__array_interface__["data"][0])
    skipped = 0 if self._view is None else self._view.offset * lazy.dtype.size
    return lazy.buffer.address + lazy.offset + skipped


@method("is_floating_point")
def is_floating_point(self: Tensor) -> bool:
    """Whether the dtype is floating."""
    return self.dtype.kind == "f"


@method("is_complex")
def is_complex(self: Tensor) -> bool:
    """False: there are no complex types."""
    return False


@method("is_signed")
def is_signed(self: Tensor) -> bool:
    """Whether the dtype has negative numbers."""
    return self.dtype.is_signed


@method("get_device")
def get_device(self: Tensor) -> int:
    """The index of the device; -1 on the host."""
    index = self.device.index
    return -1 if index is None else index


@function("is_tensor")
def is_tensor(obj: Any) -> bool:
    """Whether ``obj`` is a Tensor."""
    return isinstance(obj, Tensor)


function("is_floating_point")(lambda input: input.is_floating_point())
function("result_type")(lambda a, b: result_dtype((a, b)))


for _name, _value in (
    ("nbytes", lambda self: self.numel() * self.dtype.size), ("itemsize", lambda self: self.dtype.size),
    ("is_cuda", lambda self: self.device.type == "cuda"), ("is_xpu", lambda self: False),
    ("is_mps", lambda self: False), ("is_sparse", lambda self: False), ("is_quantized", lambda self: False),
    ("is_meta", lambda self: False), ("_version", lambda self: self._storage.version),
    ("_base", lambda self: None if self._view is None or not self._view.differentiable else self._view.base),
    ("output_nr", lambda self: 0 if self._source() is None or self._edge is None else self._edge[1]),
):
    setattr(Tensor, _name, property(_value))


# --- autograd


def _requires_grad(self: Tensor) -> bool:
    spec = self._spec
    return self._source() is not None if spec is None else spec.requires_grad


def _set_requires_grad(self: Tensor, value: bool) -> None:
    self.requires_grad_(value)


_property("requires_grad", _requires_grad, _set_requires_grad, doc="Whether gradients are computed for it.")


@method("requires_grad_")
def requires_grad_(self: Tensor, requires_grad: bool = True) -> Tensor:
    """Say whether gradients are computed for this leaf. Its value is computed now if it was pending, so that a training
    loop has the same plan from its first step on.

    ``RuntimeError`` for dtypes without gradients and for Tensors that are not leaves.
    """
    if self._spec is not None:
        awaken(self)
    if self._source() is not None and self._edge is not None:
        if not requires_grad:
            raise RuntimeError("you can only change requires_grad flags of leaf variables. If you want to use a "
                               "computed variable in a subgraph that doesn't require differentiation use var_no_grad "
                               "= var.detach().")
        return self
    if requires_grad and self.dtype.kind != "f":
        raise RuntimeError("only Tensors of floating point dtype can require gradients")
    view = self._view
    if view is not None and view.differentiable:
        view.differentiable = False
    if requires_grad and self._storage.lazy.buffer is None and self._storage.lazy.op != Op.PARAM:
        born(self._storage)
    self._requires_grad, self._tag = bool(requires_grad), 0
    return self


def born(storage: Storage) -> None:
    """Make a pending value real; a constant is filled in without a kernel."""
    lazy = storage.lazy
    if lazy.op != Op.CONST:
        realise([lazy])
        return
    array = np.full(lazy.shape, cast_array(np.asarray(lazy.arg), lazy.dtype), lazy.dtype.numpy)
    storage.write(leaf_from_numpy(array, lazy.dtype, lazy.device))
    storage.version -= 1


def _grad_fn(self: Tensor) -> Any:
    return None if self._source() is None or self._edge is None else self._edge[0]


_property("grad_fn", _grad_fn, doc="The tape node that made this Tensor; None for a leaf.")
_property("is_leaf", lambda self: _grad_fn(self) is None, doc="Whether no recorded op made this Tensor.")


def _get_grad(self: Tensor) -> Tensor | None:
    return self._grad


def _set_grad(self: Tensor, value: Tensor | None) -> None:
    if value is not None:
        if not isinstance(value, Tensor):
            raise TypeError(f"assigned grad expected to be a Tensor or None but got grad of type "
                            f"'{type(value).__name__}'")
        if value is self:
            raise RuntimeError("can't assign Variable as its own grad")
        if value._shape() != self._shape():
            raise RuntimeError(f"attempting to assign a gradient of size '{list(value._shape())}' to a tensor of size "
                               f"'{list(self._shape())}'. Please ensure that the gradient and the tensor are the same "
                               "size")
        if value._storage.lazy.device != self._storage.lazy.device:
            raise RuntimeError(f"attempting to assign a gradient with device type '{value.device}' to a tensor with "
                               f"device type '{self.device}'. Please ensure that the gradient and the tensor are on "
                               "the same device")
        if value.dtype is not self.dtype:
            word = {"float64": "double", "float32": "float", "float16": "c10::Half", "bfloat16": "c10::BFloat16"}
            raise RuntimeError("attempting to assign a gradient with dtype "
                               f"'{word.get(value.dtype.name, value.dtype.name)}' to a tensor with grad_dtype "
                               f"'{type_name(self.dtype)}'. The gradient must match the tensor's dtype")
    self._grad = value


def _del_grad(self: Tensor) -> None:
    self._grad = None


_property("grad", _get_grad, _set_grad, _del_grad, doc="The gradient that ``backward`` added up, or None.")


@method("detach")
def detach(self: Tensor) -> Tensor:
    """The same memory outside autograd."""
    return alias(self)


function("detach")(detach)


@method("detach_")
def detach_(self: Tensor) -> Tensor:
    """Forget how self was computed."""
    if self._view is not None and self._view.differentiable:
        raise RuntimeError("Can't detach views in-place. Use detach() instead. If you are using "
                           "DistributedDataParallel (DDP) for training, and gradient_as_bucket_view is set as True, "
                           "gradients are views of DDP buckets, and hence detach_() cannot be called on these "
                           "gradients.")
    self._edge, self._requires_grad, self._tag, self._spec = None, False, 0, None
    return self


def _set_data(self: Tensor, value: Tensor) -> None:
    other = alias(value)
    self._storage, self._view, self._tag = other._storage, other._view, 0


_property("data", alias, _set_data, doc="The same memory outside autograd; assigning replaces it.")


@method("backward")
def backward(self: Tensor, gradient: Tensor | None = None, retain_graph: bool | None = None,
             create_graph: bool = False, inputs: Any = None) -> None:
    """Add the gradient of self (one element, or with the ``gradient`` to start from) to the ``.grad`` of its leaves.

    >>> import minigrad
    >>> x = minigrad.tensor(3.0, requires_grad=True)
    >>> (x * x).backward()
    >>> x.grad
    tensor(6.)
    """
    if gradient is None and retain_graph is None and not create_graph and inputs is None:
        points.backward(self)
    else:
        run_backward((self,), (gradient,), retain_graph, create_graph, inputs)


@method("retain_grad")
def retain_grad(self: Tensor) -> None:
    """Keep the gradient of a Tensor that is no leaf in its ``.grad``, too."""
    source = self._source()
    if source is None:
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    if self._edge is not None:
        node, number = self._edge
        node.more().retained[number] = weakref.ref(self)


def _retains_grad(self: Tensor) -> bool:
    if self._source() is None or self._edge is None:
        return False
    node, number = self._edge
    return node.extra is not None and number in node.extra.retained


_property("retains_grad", _retains_grad, doc="Whether ``retain_grad`` was asked for.")


@method("register_hook")
def register_hook(self: Tensor, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    """``hook(grad)`` sees the gradient of self in each backward and may return another. The handle removes it."""
    if self._source() is None:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if self._edge is not None:
        node, number = self._edge
        return RemovableHandle.add(node.more().tensor.setdefault(number, {}), hook)
    return RemovableHandle.add(_leaf_hooks(self).before, hook)


@method("register_post_accumulate_grad_hook")
def register_post_accumulate_grad_hook(self: Tensor, hook: Callable[[Tensor], None]) -> RemovableHandle:
    """``hook(self)`` is called after a backward has changed this leaf's ``.grad``."""
    if self._edge is not None:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    return RemovableHandle.add(_leaf_hooks(self).after, hook)


def _leaf_hooks(self: Tensor) -> LeafHooks:
    if self._hooks is None:
        self._hooks = LeafHooks()
    return self._hooks


@method("sum_to_size")
def sum_to_size(self: Tensor, *shape: Any) -> Tensor:
    """Summed over the dimensions that ``shape`` would be broadcast along."""
    target = shape_argument(shape)
    result = self
    added = self.ndim - len(target)
    if added > 0:
        result = result.sum(tuple(range(added)))
    axes = tuple([i for i, (m, n) in enumerate(zip(result._shape(), target, strict=True)) if m != n])
    return result.sum(axes, keepdim=True) if axes else result

