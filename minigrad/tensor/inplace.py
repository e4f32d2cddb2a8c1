"""Stage: front. In: a Tensor to change. Out: the same Tensor with another value: ``add_``, ``+=``, ``fill_``,
``copy_`` … An in-place op computes as its plain twin does and then puts the result in the Tensor's place, through
views if need be.
Next: ``convert.py``."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor import (  # noqa: F401  their methods get in-place twins
    comparison,
    creation,
    elementwise,
    exponential,
    functions,
    gathering,
    linalg,
)
from minigrad.tensor.base import Tensor, _new, check_in_place, make, method
from minigrad.tensor.function import Function
from minigrad.tensor.movement import shape_argument
from minigrad.tensor.operands import fit, is_number, one_device
from minigrad.tensor.promotion import can_cast, number, type_name
from minigrad.tensor.storage import Storage


def adopt(self: Tensor, result: Tensor) -> Tensor:
    """Put the result of an op into ``self``: same shape, and a dtype that may be stored in self's."""
    lazy = self._storage.lazy
    if result._shape() != self._shape():
        raise RuntimeError(f"output with shape {list(self._shape())} doesn't match the broadcast shape "
                           f"{list(result._shape())}")
    if result._storage.lazy.device != lazy.device:
        one_device((lazy, result._storage.lazy))
    dtype = result.dtype
    if dtype is not lazy.dtype:
        if not can_cast(dtype, lazy.dtype):
            raise RuntimeError(f"result type {type_name(dtype)} can't be cast to the desired output type "
                               f"{type_name(lazy.dtype)}")
        result = result.to(lazy.dtype)
    return self._adopt(result)


def _in_place(name: str, *operators: str) -> None:
    """``name_`` and the augmented operators, from the method ``name``."""
    plain: Callable[..., Any] = getattr(Tensor, name)

    def changed(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_in_place(self)
        return adopt(self, plain(self, *args, **kwargs))

    changed.__doc__ = f"``{name}`` in place; returns self."
    method(f"{name}_")(changed)
    for operator in operators:
        unary: Callable[..., Any] = getattr(Tensor, operator.replace("__i", "__", 1))
        _augmented(operator, unary)


def _augmented(operator: str, plain: Callable[..., Any]) -> None:
    def changed(self: Tensor, other: Any) -> Any:
        check_in_place(self)
        result = plain(self, other)
        return result if result is NotImplemented else adopt(self, result)

    method(operator)(changed)


for _name, *_operators in (
    ("add", "__iadd__"), ("sub", "__isub__"), ("mul", "__imul__"), ("div", "__itruediv__"),
    ("floor_divide", "__ifloordiv__"), ("remainder", "__imod__"), ("pow", "__ipow__"),
    ("bitwise_and", "__iand__"), ("bitwise_or", "__ior__"), ("bitwise_xor", "__ixor__"),
    ("bitwise_left_shift", "__ilshift__"), ("bitwise_right_shift", "__irshift__"),
    ("subtract",), ("multiply",), ("divide",), ("true_divide",), ("fmod",), ("neg",), ("negative",), ("abs",),
    ("exp",), ("exp2",), ("expm1",), ("log",), ("log2",), ("log10",), ("log1p",), ("sqrt",), ("rsqrt",),
    ("reciprocal",), ("square",), ("sin",), ("cos",), ("tan",), ("sinh",), ("cosh",), ("tanh",), ("erf",), ("erfc",),
    ("floor",), ("ceil",), ("trunc",), ("round",), ("frac",), ("sign",), ("sigmoid",), ("relu",), ("leaky_relu",),
    ("silu",), ("clamp",), ("clip",), ("clamp_min",), ("clamp_max",), ("nan_to_num",), ("lerp",), ("addcmul",),
    ("addcdiv",), ("logical_and",), ("logical_or",), ("logical_xor",), ("logical_not",), ("bitwise_not",), ("eq",),
    ("ne",), ("lt",), ("le",), ("gt",), ("ge",), ("masked_fill",), ("scatter",), ("scatter_add",),
    ("scatter_reduce",), ("index_add",), ("index_copy",), ("index_fill",), ("cumsum",), ("cumprod",), ("tril",),
    ("triu",), ("logit",), ("addmm",), ("addmv",), ("baddbmm",), ("softplus",),
):
    _in_place(_name, *_operators)


# --- new contents


@method("fill_")
def fill_(self: Tensor, value: Any) -> Tensor:
    """Every element becomes ``value``, a number or a 0-d tensor.

    >>> import minigrad
    >>> minigrad.zeros(2).fill_(3)
    tensor([3., 3.])
    """
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError("fill_ only supports 0-dimension value tensor but got tensor with "
                               f"{value.ndim} dimensions.")
        return self.copy_(value)
    check_in_place(self)
    lazy = self._storage.lazy
    return self._adopt(make(LazyBuffer.const(number(value, lazy.dtype), lazy.dtype, self._shape(), lazy.device)))


@method("zero_")
def zero_(self: Tensor) -> Tensor:
    """Every element becomes 0."""
    return self.fill_(0)


def _copied(*args: Any) -> LazyBuffer:
    """What is copied comes last: whoever is overwritten counts as an input that no gradient flows to."""
    *_, source, shape, dtype, device = args
    return fit(source.copy_to(device), dtype, shape)


_COPY = Function("copy", _copied, "CopyBackwards")


@method("copy_")
def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """The elements of ``src``, broadcast, cast to self's dtype and brought to its device."""
    check_in_place(self)
    if not isinstance(src, Tensor):
        if is_number(src):
            return self.fill_(src)
        raise TypeError(f"copy_(): argument 'other' (position 1) must be Tensor, not {type(src).__name__}")
    _check_expands(src._shape(), self._shape())
    static = (self._shape(), self.dtype, self._pending().device)
    return self._adopt(_COPY((self, src) if self._requires_grad else (src,), static))


def _check_expands(shape: tuple[int, ...], target: tuple[int, ...]) -> None:
    if len(shape) > len(target):
        raise RuntimeError(f"expand(size={list(target)}): the number of sizes provided ({len(target)}) must be greater "
                           f"or equal to the number of dimensions in the tensor ({len(shape)})")
    added = len(target) - len(shape)
    for i, size in enumerate(shape):
        if size not in (1, target[i + added]):
            raise RuntimeError(f"The expanded size of the tensor ({target[i + added]}) must match the existing size "
                               f"({size}) at non-singleton dimension {i + added}.  Target sizes: {list(target)}.  "
                               f"Tensor sizes: {list(shape)}")


@method("fill_diagonal_")
def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Elements [i, i, …] become ``fill_value``."""
    check_in_place(self)
    la = self._read()
    if len(la.shape) < 2:
        raise RuntimeError("dimensions must larger than 1")
    first = LazyBuffer.index(la.shape, 0, la.device)
    where = first.binary(Op.EQ, LazyBuffer.index(la.shape, 1, la.device))
    for axis in range(2, len(la.shape)):
        where = where.binary(Op.AND, first.binary(Op.EQ, LazyBuffer.index(la.shape, axis, la.device)))
    return self.masked_fill_(make(where), fill_value)


# --- another shape


def _become(self: Tensor, view: Tensor) -> Tensor:
    """self turns into a view of what it was."""
    before = _new(Tensor)
    before._tag, before._spec = 0, None
    before._storage, before._view, before._edge = self._storage, self._view, self._edge
    before._requires_grad, before._grad, before._hooks = self._requires_grad, None, None
    new = view._view
    assert new is not None
    new.parent = before
    if new.base is self:
        new.base = before
    self._view, self._edge, self._tag = new, None, 0
    return self


def _in_place_movement(name: str) -> None:
    plain: Callable[..., Any] = getattr(Tensor, name)

    def changed(self: Tensor, *args: Any) -> Tensor:
        check_in_place(self)
        return _become(self, plain(self, *args))

    changed.__doc__ = f"``{name}`` in place; returns self."
    method(f"{name}_")(changed)


for _name in ("squeeze", "unsqueeze", "transpose", "t", "swapaxes"):
    _in_place_movement(_name)


@method("resize_")
def resize_(self: Tensor, *sizes: Any) -> Tensor:
    """Another shape; elements that fit are kept in order, new ones are 0."""
    shape = shape_argument(sizes)
    old = self._read()
    flat = old.reshape((prod(old.shape),))
    size, had = prod(shape), prod(old.shape)
    flat = flat.shrink(((0, size),)) if size <= had else flat.pad(((0, size - had, 0),))
    self._storage, self._view, self._tag = Storage(flat.reshape(shape)), None, 0
    return self


@method("set_")
def set_(self: Tensor, source: Tensor) -> Tensor:
    """Become an alias of ``source``."""
    twin_of = source.detach()
    self._storage, self._view, self._tag = twin_of._storage, twin_of._view, 0
    return self

