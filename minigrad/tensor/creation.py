"""Stage: front. In: data, shapes. Out: new Tensors. Constants are expressions: they take no memory until something
needs it, and fuse with what reads them.
Next: ``ranges.py``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from numbers import Complex, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import lazily
from minigrad.dtype import DType, int64, promote
from minigrad.dtype import from_numpy as dtype_of_array
from minigrad.engine import leaf_from_numpy, wrap_numpy
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.lines import remember_constant, warn_user
from minigrad.ops import Op
from minigrad.ops import cast as cast_array
from minigrad.runtime.device import get_device
from minigrad.tensor.aliases import from_memory
from minigrad.tensor.base import AnyTensor, make
from minigrad.tensor.definition import FUNCTIONS, function
from minigrad.tensor.function import Function
from minigrad.tensor.joining import stack
from minigrad.tensor.movement import shape_argument, size_argument
from minigrad.tensor.operands import converted, is_number, whole_number
from minigrad.tensor.promotion import (
    WITH_CLASSES,
    dtype_argument,
    filled,
    get_default_dtype,
    number_dtype,
    stored,
    type_name,
)
from minigrad.tensor.size import host_device, resolve

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


# --- from data


def _types(data: Any) -> set[type] | None:
    """The types in nested lists that hold nothing but Python's numbers, all equally deep; None for other data. It looks
    at a level at a time, since a list may have millions of numbers."""
    level = [data]
    while True:
        types = set(map(type, level))
        if not types <= _SEQUENCES:
            return types if types <= _NUMBERS else None
        if not types:
            return types
        level = list(chain.from_iterable(level))


_SEQUENCES, _NUMBERS = {list, tuple}, {bool, int, float, complex}


def _plain(data: Any) -> Any:
    """Nested sequences with the Tensors in them as Python numbers."""
    if isinstance(data, AnyTensor):
        return data.tolist()
    if isinstance(data, np.ndarray | np.generic | int | float | complex | str | bytes | dict):
        return data
    if hasattr(data, "__array__"):  # of another library
        return np.asarray(data)
    if hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        return [_plain(d) for d in data]
    return data


def _inferred(data: Any) -> DType:
    """The type of nested Python data: bool, int64 or the default floating type, by the highest category in it."""
    stack, found = [data], None
    while stack:
        item = stack.pop()
        if isinstance(item, list | tuple):
            stack += item
            continue
        if isinstance(item, np.ndarray | np.generic):
            kind_of = dtype_of_array(item.dtype)
        elif isinstance(item, int | float | complex):
            kind_of = number_dtype(item)
        elif isinstance(item, str | bytes):
            first = data
            while isinstance(first, list | tuple) and first:
                first = first[0]
            if first is not data and isinstance(first, str | bytes):  # text is a row of letters, too
                raise ValueError(f"too many dimensions '{type(first).__name__}'")
            raise TypeError(f"new(): invalid data type '{type(item).__name__}'")
        else:
            raise RuntimeError(f"Could not infer dtype of {type(item).__name__}")
        found = kind_of if found is None else promote(found, kind_of)
    return get_default_dtype() if found is None else found


def _check_even(data: Any, dtype: DType) -> None:
    """Raise in PyTorch's words: ``ValueError`` if rows differ in length, ``TypeError`` for what is no number or row."""
    shape, level = [], data
    while isinstance(level, list | tuple):
        shape.append(len(level))
        if not level:
            break
        level = level[0]

    def check(part: Any, dim: int) -> None:
        if dim == len(shape):
            kind_of = Complex if dtype.kind in "bc" else Real
            if not isinstance(part, kind_of | np.bool_ | np.ndarray):
                name = type(part).__name__
                raise TypeError(f"must be real number, not {name}" if dtype.kind == "f" else
                                f"'{name}' object cannot be interpreted as an integer")
            return
        if not isinstance(part, list | tuple):
            raise TypeError("not a sequence")
        if len(part) != shape[dim]:
            raise ValueError(f"expected sequence of length {shape[dim]} at dim {dim} (got {len(part)})")
        for p in part:
            check(p, dim + 1)

    check(data, 0)


def array_of(data: Any, dtype: DType | None) -> tuple[np.ndarray, DType]:
    """Data as a NumPy array of the dtype given or inferred."""
    dtype = dtype_argument("tensor", dtype) if isinstance(dtype, type | str) else dtype
    if isinstance(data, AnyTensor):
        array = data._array()
        dtype = dtype or data.dtype
    elif isinstance(data, np.ndarray | np.generic):
        array = np.asarray(data)
        dtype = dtype or dtype_of_array(array.dtype)
    else:
        types = _types(data)
        if types is None:
            data = _plain(data)
        if hasattr(data, "__array__") and not isinstance(data, list):
            return array_of(np.asarray(data), dtype)
        if dtype is None or isinstance(data, str | bytes):  # PyTorch takes no text, whatever the dtype
            dtype = _inferred(data if types is None else [kind() for kind in types])
        try:
            array = np.array(data)
        except ValueError:
            _check_even(data, dtype)
            raise
        kinds = "biufc" if dtype.kind in "bc" else "biuf"
        if array.dtype.kind not in kinds or (array.dtype.kind == "u" and dtype.is_int):
            _check_even(data, dtype)
            if dtype.is_int:
                raise ValueError("Overflow when unpacking long long")
            array = array.astype(np.float64)
        _check_fits(array, dtype)
    if array.dtype != dtype.numpy:
        array = converted_array(array, dtype)
    return array, dtype


def _check_fits(array: np.ndarray, dtype: DType) -> None:
    """``RuntimeError`` if a Python number does not fit an integer type. Negative integers wrap into unsigned types."""
    if not dtype.is_int or array.dtype.kind == "b" or (dtype is int64 and array.dtype.kind != "f") or not array.size:
        return
    low = -dtype.max if dtype.kind == "u" and array.dtype.kind != "f" else dtype.min
    if not (array.min() >= low and array.max() <= dtype.max):
        raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")


def converted_array(array: np.ndarray, dtype: DType) -> np.ndarray:
    """The array in another dtype, as ``operands.converted`` does it: with the results of x86 processors."""
    source = dtype_of_array(array.dtype)
    if source.kind != "f" or not dtype.is_int:
        return cast_array(array, dtype)
    param = LazyBuffer(Op.PARAM, (), 0, array.shape, source, "NUMPY")
    return lazily.module("minigrad.graph.reference").evaluate([converted(param, dtype)], lambda _: array)[0]


@function("tensor")
def tensor(data: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
           pin_memory: bool = False) -> Tensor:
    """A Tensor with a copy of ``data``: numbers, nested sequences, NumPy arrays, Tensors.

    Python floats give the default type (float32), ints int64, bools bool; arrays keep their type. Of a Tensor it warns:
    ``clone().detach()`` is what copies one.

    >>> tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    """
    if isinstance(data, AnyTensor):
        warn_user("To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
                  "sourceTensor.detach().clone().requires_grad_(True), rather than tensor(sourceTensor).")
        device = data.device if device is None else device
    array, dtype = array_of(data, dtype)
    result = make(leaf_from_numpy(array, dtype, resolve(device)))
    return result.requires_grad_() if requires_grad else result


@function("as_tensor")
def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """``data`` itself if it is a Tensor of that dtype and device, memory shared with a NumPy array, else a copy."""
    if isinstance(data, AnyTensor):
        return data.to(device=device, dtype=dtype)
    if isinstance(data, np.ndarray) and (dtype is None or dtype_of_array(data.dtype) is dtype):
        return from_memory(_wrapped(data, resolve(device)))
    return tensor(data, dtype=dtype, device=device)


@function("asarray")
def asarray(obj: Any, *, dtype: DType | None = None, device: Any = None, copy: bool | None = None,
            requires_grad: bool = False) -> Tensor:
    """``as_tensor``; with ``copy`` always a copy, with ``copy=False`` never one: ``ValueError`` where it needs one."""
    result = tensor(obj, dtype=dtype, device=device) if copy else as_tensor(obj, dtype, device)
    if copy is False and result is not obj and not (isinstance(obj, np.ndarray) and result.dtype.numpy == obj.dtype):
        raise ValueError("can't alias tensor with the given dtype or device: a copy is needed")
    return result.requires_grad_() if requires_grad else result


@function("from_numpy")
def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A Tensor on the memory of a NumPy array: changes of either show in both.

    Raises ``TypeError`` for other things than arrays and for element types minigrad has not, and ``ValueError`` for
    negative strides.

    >>> a = np.zeros(2, np.float32)
    >>> t = from_numpy(a)
    >>> a[0] = 5
    >>> t
    tensor([5., 0.])
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    return from_memory(_wrapped(ndarray, host_device()))


def _wrapped(array: np.ndarray, device: str) -> LazyBuffer:
    """A value on the array's memory, or on a copy where a device has its own."""
    dtype = dtype_of_array(array.dtype)
    make_leaf = wrap_numpy if device == "CPU" or get_device(device).host_memory else leaf_from_numpy
    return make_leaf(array, dtype, device)


@function("scalar_tensor")
def scalar_tensor(s: Any, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
                  layout: Any = None, pin_memory: bool = False) -> Tensor:
    """A 0-d tensor of the default floating type."""
    dtype = dtype or get_default_dtype()
    value = stored(s, dtype, halves=False) if is_number(s) else s
    return tensor(value, dtype=dtype, device=device, requires_grad=requires_grad)


# --- constants


def _constant(value: Any, shape: tuple[int, ...], dtype: DType, device: str, requires_grad: bool) -> Tensor:
    for s in shape:
        if s < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {s}: {list(shape)}")
    lazy = LazyBuffer.const(filled(value, dtype, shape), dtype, shape, device)
    remember_constant(lazy)
    result = make(lazy)
    return result.requires_grad_() if requires_grad else result


def _new_constant(like: Tensor, value: Any, sizes: tuple[Any, ...], size: Any, dtype: DType | None, device: Any,
                  requires_grad: bool) -> Tensor:
    """A constant with the dtype and device of a Tensor, unless others are asked for."""
    dtype = dtype_argument("new_zeros", dtype) if isinstance(dtype, type | str) else dtype
    return _constant(value, shape_argument(sizes if size is None else (size,)), dtype or like.dtype,
                     like._pending().device if device is None else resolve(device), requires_grad)


def _constant_function(name: str, value: Any, doc: str) -> None:
    def create(*sizes: Any, size: Any = None, dtype: DType | None = None, device: Any = None,
               requires_grad: bool = False, layout: Any = None, pin_memory: bool = False,
               memory_format: Any = None) -> Tensor:
        shape = shape_argument(sizes if size is None else (size,), name)
        return _constant(value, shape, dtype or get_default_dtype(), resolve(device), requires_grad)

    def create_like(input: Tensor, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
                    layout: Any = None, pin_memory: bool = False, memory_format: Any = None) -> Tensor:
        place = input._pending().device if device is None else resolve(device)
        return _constant(value, input._shape(), dtype or input.dtype, place, requires_grad)

    create.__doc__ = doc
    create_like.__doc__ = f"``{name}`` with the shape, dtype and device of ``input``."
    function(name)(create)
    function(f"{name}_like")(create_like)


_constant_function("zeros", 0, "A Tensor of zeros.")
_constant_function("ones", 1, "A Tensor of ones.")
_constant_function("empty", 0, "A Tensor whose elements are to be written; they are 0 until then.")


@function("full")
def full(size: Sequence[int], fill_value: Any, *, dtype: DType | None = None, device: Any = None,
         requires_grad: bool = False, layout: Any = None, pin_memory: bool = False) -> Tensor:
    """A Tensor with one value everywhere, of the value's type. ``TypeError`` for a size that is no tuple.

    >>> full((2,), 7)
    tensor([7, 7])
    """
    if isinstance(fill_value, AnyTensor):
        dtype, fill_value = dtype or fill_value.dtype, fill_value.item()
    shape = size_argument("full", size, 1)
    return _constant(fill_value, shape, dtype or number_dtype(fill_value), resolve(device), requires_grad)


@function("full_like")
def full_like(input: Tensor, fill_value: Any, *, dtype: DType | None = None, device: Any = None,
              requires_grad: bool = False, layout: Any = None, pin_memory: bool = False,
              memory_format: Any = None) -> Tensor:
    """One value everywhere, with the shape, dtype and device of ``input``."""
    return full(input._shape(), fill_value, dtype=dtype or input.dtype, device=device or input.device,
                requires_grad=requires_grad)


# --- a matrix


@function("eye")
def eye(n: int, m: int | None = None, *, dtype: DType | None = None, device: Any = None, requires_grad: bool = False,
        layout: Any = None, pin_memory: bool = False) -> Tensor:
    """1 on the diagonal, 0 elsewhere.

    >>> eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    shape = whole_number("eye", "n", n, 1), whole_number("eye", "m", n if m is None else m, 2)
    for name, size in zip("nm", shape, strict=True):
        if size < 0:
            raise RuntimeError(f"{name} must be greater or equal to 0, got {size}")
    result = _EYE((), (shape, dtype or get_default_dtype(), resolve(device)))
    return result.requires_grad_() if requires_grad else result


def _eye(shape: tuple[int, int], dtype: DType, device: str) -> LazyBuffer:
    return LazyBuffer.index(shape, 0, device).binary(Op.EQ, LazyBuffer.index(shape, 1, device)).cast(dtype)


_EYE = Function("eye", _eye, "EyeBackward0")


# --- grids


@function("meshgrid")
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Vectors as grids of coordinates; with ``indexing="xy"`` the first two dimensions are swapped.

    >>> import minigrad
    >>> minigrad.meshgrid(minigrad.arange(3), minigrad.arange(2), indexing="xy")[0]
    tensor([[0, 1, 2],
            [0, 1, 2]])
    """
    given = list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], tuple | list) else list(tensors)
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    if not given:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for t in given:
        if t.ndim > 1:
            raise RuntimeError(f"Expected 0D or 1D tensor in the tensor list but got: {t}")
        if t.dtype is not given[0].dtype:
            raise RuntimeError("meshgrid expects all tensors to have the same dtype")
        if t.device != given[0].device:
            raise RuntimeError("meshgrid expects all tensors to have the same device")
    swap = indexing == "xy" and len(given) > 1
    if swap:
        given[:2] = given[1::-1]
    shape = [t.numel() for t in given]
    grids = [t.reshape([-1 if i == j else 1 for j in range(len(given))]).expand(shape) for i, t in enumerate(given)]
    if swap:
        grids[:2] = grids[1::-1]
    return tuple(grids)


@function("cartesian_prod")
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of elements of the vectors, a row each."""
    if len(tensors) == 1:
        return tensors[0]
    return stack([g.reshape(-1) for g in meshgrid(*tensors)], 1)


# --- Tensor(…) itself


def _legacy(*args: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """``Tensor(2, 3)`` is uninitialised, ``Tensor(data)`` float32 data."""
    dtype = get_default_dtype() if dtype is None else dtype
    if not isinstance(dtype, DType):
        raise TypeError(f"Tensor(): argument 'dtype' must be torch.dtype, not {type(dtype).__name__}")
    if len(args) == 1 and (isinstance(args[0], bool) or not isinstance(args[0], int | np.integer)):
        data = args[0]
        if data is None or isinstance(data, bool | float | complex | dict):
            raise TypeError(f"new(): data must be a sequence (got {type(data).__name__})")
        if isinstance(data, tuple) and type(data) is not tuple and hasattr(data, "numel"):
            return _constant(0, tuple(data), dtype, resolve(device), False)
        if isinstance(data, AnyTensor):
            return data.to(dtype).detach()
        return tensor(data, dtype=dtype, device=device)
    shape = shape_argument(args) if args else (0,)
    return _constant(0, shape, dtype, resolve(device), False)


class TensorType(type):
    """The class of ``FloatTensor`` and its like, PyTorch's types of Tensors of one dtype on the CPU: calling one makes
    such a Tensor, ``isinstance`` tells whether a Tensor is one, ``x.type(FloatTensor)`` casts to it.

    >>> import minigrad
    >>> isinstance(minigrad.LongTensor([1, 2]), minigrad.LongTensor), isinstance(minigrad.ones(2), minigrad.LongTensor)
    (True, False)
    """

    dtype: DType

    def __call__(cls, *args: Any, device: Any = None) -> Any:
        return _legacy(*args, dtype=cls.dtype, device=device)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, AnyTensor) and instance.dtype is cls.dtype and instance._pending().device == "CPU"


for _dtype in WITH_CLASSES:
    _name = f"{type_name(_dtype)}Tensor"
    FUNCTIONS[_name] = TensorType(_name, (), {"dtype": _dtype, "__module__": "minigrad",
                                              "__doc__": f"``Tensor(…)`` with dtype {_dtype.name}."})


class Creation:
    """New tensors like this one; ``Tensor(…)`` itself."""

    __slots__ = ()

    # --- Tensor(…) itself

    def __new__(cls: type[Tensor], *args: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
        """``Tensor(2, 3)`` is uninitialised, ``Tensor(data)`` float32 data."""
        result = _legacy(*args, dtype=dtype, device=device)
        if type(result) is not cls:
            result.__class__ = cls
        return result

    # --- constants

    def new_zeros(self: Tensor, *sizes: Any, size: Any = None, dtype: DType | None = None, device: Any = None,
                  requires_grad: bool = False, layout: Any = None, pin_memory: bool = False) -> Tensor:
        """``zeros`` with the dtype and device of self."""
        return _new_constant(self, 0, sizes, size, dtype, device, requires_grad)

    def new_ones(self: Tensor, *sizes: Any, size: Any = None, dtype: DType | None = None, device: Any = None,
                 requires_grad: bool = False, layout: Any = None, pin_memory: bool = False) -> Tensor:
        """``ones`` with the dtype and device of self."""
        return _new_constant(self, 1, sizes, size, dtype, device, requires_grad)

    def new_empty(self: Tensor, *sizes: Any, size: Any = None, dtype: DType | None = None, device: Any = None,
                  requires_grad: bool = False, layout: Any = None, pin_memory: bool = False,
                  memory_format: Any = None) -> Tensor:
        """``empty`` with the dtype and device of self."""
        return _new_constant(self, 0, sizes, size, dtype, device, requires_grad)

    def new_empty_strided(self: Tensor, size: Sequence[int], stride: Sequence[int], *, dtype: DType | None = None,
                          layout: Any = None, device: Any = None, pin_memory: bool = False,
                          requires_grad: bool = False) -> Tensor:
        """``empty_strided`` with the dtype and device of self: of this size and these strides, counted in elements; its
        elements are 0 until they are written. ``RuntimeError`` for unequal numbers of sizes and strides. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.Tensor.new_empty_strided.html

        >>> import minigrad
        >>> minigrad.zeros(1).new_empty_strided((2, 3), (1, 2)).stride()
        (1, 2)
        """
        return FUNCTIONS["empty_strided"](size, stride, dtype=dtype or self.dtype, device=device or self.device,
                                          requires_grad=requires_grad)

    def new_full(self: Tensor, size: Sequence[int], fill_value: Any, *, dtype: DType | None = None, device: Any = None,
                 requires_grad: bool = False, layout: Any = None, pin_memory: bool = False) -> Tensor:
        """One value everywhere, with the dtype and device of self."""
        return full(size, fill_value, dtype=dtype or self.dtype, device=device or self.device,
                    requires_grad=requires_grad)

    def new(self: Tensor, *args: Any, device: Any = None) -> Tensor:
        """``Tensor(…)`` with the dtype of self: sizes, or data."""
        return _legacy(*args, dtype=self.dtype, device=device or self.device)

    def new_tensor(self: Tensor, data: Any, *, dtype: DType | None = None, device: Any = None,
                   requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
        """``tensor(data)`` with the dtype and device of self."""
        return tensor(data, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)
