"""Stage: serialization. In: a Tensor, or the pieces that a checkpoint has of one. Out: the other: which of PyTorch's
functions make it again, and with which arguments. They have PyTorch's names and argument orders.
Next: ``archive.py``."""

from __future__ import annotations

import copyreg
import warnings
from collections import OrderedDict
from typing import Any

from minigrad.autograd import no_grad
from minigrad.dtype import DType
from minigrad.lazily import importing
from minigrad.nn.parameter import Parameter
from minigrad.tensor import Tensor
from minigrad.tensor.layout import offset_of, strides_of
from minigrad.tensor.layouts import WORDS, layout
from minigrad.tensor.storages import UntypedStorage
from minigrad.tensor.typed_storages import LEGACY, TypedStorage

# --- taking apart


def reduced(tensor: Tensor) -> tuple[Any, ...]:
    """A function and its arguments that make the Tensor again, as PyTorch's pickler writes them. Its history and its
    hooks are left out."""
    state = _state_of(tensor)
    if Parameter in type(tensor).__mro__:
        # as in PyTorch: an alias, and no class but Parameter
        arguments: tuple[Any, ...] = (tensor.detach(), tensor.requires_grad, OrderedDict())
        return (_rebuild_parameter_with_state, (*arguments, state)) if state else (_rebuild_parameter, arguments)
    hooks = tensor._hooks
    if hooks is not None and tensor._edge is None:
        for hook in hooks.before.values():
            warnings.warn(f"backward hook {hook!r} on tensor will not be serialized.  If this is expected, you can "
                          "decorate the function with @torch.utils.hooks.unserializable_hook to suppress this warning",
                          UserWarning, stacklevel=2)
    function, pieces = _plain(tensor)
    if type(tensor) is Tensor and not state:
        return function, pieces
    return _rebuild_from_type_v2, (function, type(tensor), pieces, state)


def _state_of(tensor: Tensor) -> Any:
    """Attributes that were set on it, those in slots of a subclass too; None or {} if there are none."""
    state: Any = dict(tensor.__dict__)
    slots = {name: getattr(tensor, name) for name in _own_slots(type(tensor)) if hasattr(tensor, name)}
    return (state, slots) if slots else state


def _own_slots(kind: type) -> list[str]:
    """The names in ``__slots__`` of classes that are not ours."""
    names = []
    for base in kind.__mro__:
        slots = () if base.__module__.startswith("minigrad.") else base.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    return [name for name in names if name not in ("__dict__", "__weakref__")]


def _plain(tensor: Tensor) -> tuple[Any, tuple[Any, ...]]:
    dtype, bytes_ = tensor.dtype, UntypedStorage.of(tensor._storage)
    # tuples of its own: pickle remembers objects, and PyTorch's files have none of these in common
    shape, strides = tuple(list(tensor._shape())), tuple(list(strides_of(tensor)))
    window: tuple[Any, ...] = (offset_of(tensor), shape, strides, tensor.requires_grad, OrderedDict())
    if dtype in LEGACY:
        return _rebuild_tensor_v2, (TypedStorage(wrap_storage=bytes_, dtype=dtype, _internal=True), *window)
    return _rebuild_tensor_v3, (bytes_, *window, dtype)


# --- putting together


def _made(storage: Any, dtype: DType, offset: Any, size: Any, stride: Any, requires_grad: Any) -> Tensor:
    if not isinstance(storage, UntypedStorage):
        raise TypeError(f"a tensor is made on a storage, got {type(storage).__name__}")
    tensor = storage.tensor(dtype, tuple(size), tuple(stride), offset)
    if requires_grad:
        if not dtype.is_inexact:
            raise RuntimeError("only Tensors of floating point and complex dtype can require gradients")
        tensor._requires_grad = True
    return tensor


def _rebuild_tensor(storage: TypedStorage, storage_offset: int, size: Any, stride: Any) -> Tensor:
    """The Tensor of a window of elements."""
    return _made(storage._untyped_storage, storage.dtype, storage_offset, size, stride, False)


def _rebuild_tensor_v2(storage: TypedStorage, storage_offset: int, size: Any, stride: Any, requires_grad: bool,
                       backward_hooks: Any, metadata: Any = None) -> Tensor:
    """The same with ``requires_grad``. ``metadata`` is for complex numbers."""
    if metadata:
        raise NotImplementedError(f"tensors with the bits {metadata}: complex tensors")
    return _made(storage._untyped_storage, storage.dtype, storage_offset, size, stride, requires_grad)


def _rebuild_tensor_v3(storage: Any, storage_offset: int, size: Any, stride: Any, requires_grad: bool,
                       backward_hooks: Any, dtype: DType, metadata: Any = None) -> Tensor:
    """The same of a dtype that the storage doesn't say."""
    if metadata:
        raise NotImplementedError(f"tensors with the bits {metadata}: complex tensors")
    if not isinstance(dtype, DType):
        raise TypeError(f"dtype must be a torch.dtype, not {type(dtype).__name__}")
    return _made(storage.untyped(), dtype, storage_offset, size, stride, requires_grad)


def _rebuild_parameter(data: Tensor, requires_grad: bool, backward_hooks: Any) -> Parameter:
    """A Parameter on the memory of ``data``."""
    return Parameter(data, requires_grad)


def _rebuild_parameter_with_state(data: Tensor, requires_grad: bool, backward_hooks: Any, state: Any) -> Parameter:
    """A Parameter with attributes."""
    parameter = Parameter(data, requires_grad)
    set_state(parameter, state)
    return parameter


def _rebuild_from_type_v2(func: Any, new_type: Any, args: Any, state: Any) -> Tensor:
    """A Tensor of a subclass, or with attributes. ``func`` is another function of this file."""
    if getattr(func, "__module__", None) != __name__ or func is _rebuild_from_type_v2:
        raise TypeError(f"no function that makes a tensor: {func!r}")
    made = func(*args)
    if type(made) is not new_type:
        if not (isinstance(new_type, type) and issubclass(new_type, Tensor)):
            raise TypeError(f"a tensor can't become a {new_type!r}")
        made.__class__ = new_type
    if type(made).__setstate__ is Tensor.__setstate__:
        set_state(made, state)
    else:
        made.__setstate__(state)
    return made


def set_state(obj: Any, state: Any) -> None:
    """Give an object the attributes that were saved: a dictionary, or one and another for slots."""
    slots = None
    if isinstance(state, tuple) and len(state) == 2:
        state, slots = state
    if state:
        obj.__dict__.update(state)
    for name, value in (slots or {}).items():
        if isinstance(obj, Tensor) and name not in _own_slots(type(obj)):
            raise TypeError(f"{type(obj).__name__} has no slot {name!r}")
        setattr(obj, name, value)


def _rebuild_device_tensor_from_cpu_tensor(data: Tensor, dtype: DType, device: str, requires_grad: bool) -> Tensor:
    """A Tensor of a device without storages, which comes to the default device."""
    with no_grad():
        return data.to(dtype=dtype).detach().requires_grad_(requires_grad)


def _get_layout(name: str) -> layout:
    """The layout of this name."""
    found = WORDS.get(name.removeprefix("torch."))
    if not isinstance(found, layout):
        raise NotImplementedError(f"tensors of layout {name}")
    return found


def _reduced(word: layout) -> Any:
    """How a layout is pickled: as PyTorch does it."""
    return _get_layout, (f"torch.{word.name}",)


copyreg.pickle(layout, _reduced)


def _rebuild_sparse_tensor(layout: Any, data: Any) -> Tensor:
    """A sparse tensor of its parts."""
    with importing():
        from minigrad.sparse import coordinates  # few checkpoints have one

    rebuilt: Tensor = coordinates._rebuild_sparse_tensor(layout, data)
    return rebuilt


def _missing(name: str, what: str) -> Any:
    """A function for what minigrad has not."""

    def refuse(*args: Any) -> Any:
        raise NotImplementedError(f"the checkpoint has {what}, which minigrad has not (torch._utils.{name})")

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__module__ = __name__
    return refuse


_rebuild_meta_tensor_no_storage = _missing("_rebuild_meta_tensor_no_storage", "tensors of the device meta")
_rebuild_nested_tensor = _missing("_rebuild_nested_tensor", "nested tensors")
_rebuild_qtensor = _missing("_rebuild_qtensor", "quantized tensors")
_rebuild_wrapper_subclass = _missing("_rebuild_wrapper_subclass", "tensors of a wrapper subclass")
_rebuild_device_tensor_from_numpy = _missing("_rebuild_device_tensor_from_numpy", "tensors made of NumPy arrays")

