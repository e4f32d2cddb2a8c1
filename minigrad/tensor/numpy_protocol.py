"""Stage: front. In: a call of NumPy with Tensors among its arguments: ``np.add(t, a)``, ``t + array``, ``np.exp(t)``,
``np.sum(t)``. Out: Tensors, as from PyTorch. Operators return NotImplemented for arrays, so that these calls come here.
Source: https://numpy.org/doc/stable/user/basics.interoperability.html
Next: ``dlpack.py``."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import lazily
from minigrad.dtype import BY_NAME, bfloat16, uint8
from minigrad.tensor.base import AnyTensor
from minigrad.tensor.creation import from_numpy, tensor

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", "2025.12")

_COMPARISONS = {np.equal: "eq", np.not_equal: "ne", np.less: "lt", np.less_equal: "le", np.greater: "gt",
                np.greater_equal: "ge"}

_SAME: dict[Any, str] = {
    np.add: "add", np.subtract: "sub", np.multiply: "mul", np.divide: "div", np.negative: "neg", np.absolute: "abs",
    np.sqrt: "sqrt", np.floor: "floor", np.ceil: "ceil", np.trunc: "trunc", np.maximum: "maximum",
    np.minimum: "minimum", np.bitwise_and: "bitwise_and", np.bitwise_or: "bitwise_or", np.bitwise_xor: "bitwise_xor",
    np.invert: "bitwise_not", **_COMPARISONS}
"""NumPy's functions that a method of Tensor computes to the same bits. The others are computed by NumPy."""

_OPERATORS: dict[Any, Any] = {
    np.add: operator.add, np.subtract: operator.sub, np.multiply: operator.mul, np.divide: operator.truediv,
    np.floor_divide: operator.floordiv, np.remainder: operator.mod, np.power: operator.pow,
    np.bitwise_and: operator.and_, np.bitwise_or: operator.or_, np.bitwise_xor: operator.xor,
    np.left_shift: operator.lshift, np.right_shift: operator.rshift,
    **{ufunc: getattr(operator, name) for ufunc, name in _COMPARISONS.items()}}
"""What NumPy calls for an operator between a number of its own and a Tensor."""

_REDUCTIONS: dict[Any, tuple[str, dict[str, str], dict[str, Any]]] = {
    np.sum: ("sum", {}, {}), np.mean: ("mean", {}, {}), np.prod: ("prod", {}, {}), np.any: ("any", {}, {}),
    np.all: ("all", {}, {}), np.max: ("amax", {}, {}), np.min: ("amin", {}, {}), np.amax: ("amax", {}, {}),
    np.amin: ("amin", {}, {}), np.std: ("std", {"ddof": "correction"}, {"correction": 0}),
    np.var: ("var", {"ddof": "correction"}, {"correction": 0}), np.size: ("numel", {}, {})}
"""Reductions: the method, what NumPy calls its arguments, and NumPy's defaults where they differ."""


def _ours(ufunc: Any, inputs: tuple[Any, ...]) -> Tensor | None:
    """The call as one of ours, in the dtypes that NumPy would take; None if it has to be NumPy's."""
    name = _SAME.get(ufunc)
    if name is None:
        return None
    kinds: list[Any] = []
    for x in inputs:
        if isinstance(x, AnyTensor):
            if x.dtype is bfloat16:
                return None
            kinds.append(x.dtype.numpy)
        elif isinstance(x, np.ndarray):
            if x.dtype.name not in BY_NAME or not x.dtype.isnative or min(x.strides, default=0) < 0:
                return None
            kinds.append(x.dtype)
        else:
            kinds.append(type(x) if isinstance(x, bool | int | float) else None)
    if bool in kinds or None in kinds:
        return None
    try:
        *wanted, result = ufunc.resolve_dtypes((*kinds, None))
    except TypeError:  # NumPy says which dtypes do not fit
        return None
    found = [BY_NAME.get(w.name) for w in wanted]
    if None in found or result.name not in BY_NAME:
        return None
    first, *rest = [_operand(x, kind) for x, kind in zip(inputs, found, strict=True)]
    return getattr(first, name)(*rest)


def _operand(x: Any, dtype: Any) -> Tensor:
    if isinstance(x, AnyTensor):
        return x.detach().to(dtype)
    if isinstance(x, np.ndarray):
        return (from_numpy(x) if x.flags.writeable else tensor(x)).to(dtype)
    return tensor(x, dtype=dtype)


def _wrapped(result: Any, as_bool: bool = False) -> Any:
    """What NumPy has computed, as a Tensor; bools as uint8, as PyTorch does it, unless they answer a comparison."""
    if isinstance(result, tuple):
        return tuple([_wrapped(r) for r in result])
    if not isinstance(result, np.ndarray | np.generic) or result.dtype.name not in BY_NAME:
        return result
    array = np.asarray(result)
    made = from_numpy(array) if array.base is None and array.ndim else tensor(array)
    return made.to(uint8) if array.dtype == bool and not as_bool else made


def _is_foreign(x: Any) -> bool:
    """Whether it has an answer of its own to NumPy's calls."""
    return not isinstance(x, AnyTensor | np.ndarray | np.generic) and hasattr(type(x), "__array_ufunc__")


class NumPyProtocol:
    """What NumPy asks of an object that is no array."""

    __slots__ = ()
    __array_priority__ = 1000  # above matrices and other subclasses of arrays

    def __array__(self: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """NumPy's protocol: the memory itself, or a converted copy."""
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError("Unable to avoid copy while creating an array as requested.")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __buffer__(self: Tensor, flags: int) -> memoryview:
        """Python's buffer protocol, from Python 3.12 on (PEP 688): ``memoryview(t)`` is on the memory of ``t``.

        ``BufferError`` for a Tensor that requires a gradient, and for elements or memory that Python can't see.
        """
        try:
            return memoryview(self.numpy())  # type: ignore[arg-type]
        except (RuntimeError, TypeError, ValueError) as error:
            raise BufferError(str(error)) from None

    def __array_wrap__(self: Tensor, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Tensor:
        """A result of NumPy's as a Tensor."""
        return _wrapped(array)

    def __array_ufunc__(self: Tensor, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        """``np.exp(t)``, ``np.add(t, a)``, ``a + t``: a Tensor, in the dtype that NumPy gives. With an array as
        ``out``, that array. ``RuntimeError`` if a Tensor requires a gradient, which would be lost.

        >>> import minigrad
        >>> minigrad.tensor([1.0, 2.0]) + np.array([1.0, 2.0])
        tensor([2., 4.], dtype=minigrad.float64)
        """
        if any([_is_foreign(x) for x in inputs]) or not all([isinstance(o, np.ndarray) for o in out or ()]):
            return NotImplemented
        if method == "__call__" and ufunc in _OPERATORS and isinstance(inputs[0], np.generic) and not options:
            return _OPERATORS[ufunc](inputs[0].item(), inputs[1])  # it counts as a number of Python's, as in PyTorch
        for x in inputs:
            if isinstance(x, AnyTensor) and x.requires_grad:
                x.numpy()  # raises, while gradients are recorded
        if method == "__call__" and out is None and not options:
            found = _ours(ufunc, inputs)
            if found is not None:
                return found
        arrays = [x.numpy() if isinstance(x, AnyTensor) else x for x in inputs]
        if out is not None:
            options["out"] = out
        result = getattr(ufunc, method)(*arrays, **options)
        return result if out is not None or method == "outer" else _wrapped(result, ufunc in _COMPARISONS)

    def __array_function__(self: Tensor, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """NumPy's other functions: reductions of a Tensor give a Tensor, the others what they give of its array.

        >>> import minigrad
        >>> np.sum(minigrad.ones(2, 3), axis=1), np.concatenate([minigrad.ones(1), minigrad.zeros(1)])
        (tensor([3., 3.]), array([1., 0.], dtype=float32))
        """
        if func in _REDUCTIONS and args and isinstance(args[0], AnyTensor):
            name, renamed, defaults = _REDUCTIONS[func]
            given = {renamed.get(k, k): v for k, v in kwargs.items() if v is not None and v is not np._NoValue}
            return getattr(args[0], name)(*args[1:], **{**defaults, **given})
        return func._implementation(*args, **kwargs)

    def __array_namespace__(self: Tensor, /, *, api_version: str | None = None) -> Any:
        """The functions of the array API standard for Tensors: ``minigrad.array_api``. ``ValueError`` for a version of
        the standard that it does not have. (https://data-apis.org/array-api/latest/)"""
        if api_version is not None and api_version not in _VERSIONS:
            raise ValueError(f"Unsupported array API version: {api_version}")
        return lazily.module("minigrad.array_api")

    def to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
        """``to(device)``, by the standard's name."""
        if stream is not None:
            raise ValueError("the stream argument is not supported")
        return self.to(device)
