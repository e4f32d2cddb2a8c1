"""Stage: front. In: what Python asks of an object: print, len, iterate, compare with ``in``, format, copy, pickle.
Out: a Tensor's answer, as PyTorch gives it.
Next: ``printing.py``."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.autograd.mode import mode
from minigrad.autograd.protocol import Front
from minigrad.dtype import DType
from minigrad.ops import Op
from minigrad.tensor.aliases import strided_alias
from minigrad.tensor.base import AnyTensor, is_plain
from minigrad.tensor.layout import offset_of, strides_of
from minigrad.tensor.printing import format_tensor
from minigrad.tensor.size import default_device
from minigrad.tensor.storage import Storage, tracing

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _only(self: Tensor) -> Any:
    if prod(self._shape()) != 1:
        raise ValueError("only one element tensors can be converted to Python scalars")
    return self.item()


def _real(value: Any, target: str) -> Any:
    """A number that is to become one of C++'s type ``target``. ``RuntimeError`` for one with an imaginary part."""
    if not isinstance(value, complex):
        return value
    if value.imag:
        raise RuntimeError(f"value cannot be converted to type {target} without overflow")
    return value.real


# --- copies


def rebuild(cls: type[Tensor], storage: Storage, dtype: DType, shape: tuple[int, ...], strides: tuple[int, ...],
            offset: int, requires_grad: bool) -> Tensor:
    """What ``copy`` and ``pickle`` call to make a Tensor on a Storage."""
    result = strided_alias(storage, dtype, shape, strides, offset)
    result.__class__ = cls
    result._requires_grad = requires_grad
    return result


def _tangent(self: Tensor) -> str | None:
    """The tangent of the innermost level of forward mode, printed."""
    found = Front.tangents(self)
    return repr(found[max(found)]) if found else None


class PythonProtocol:
    """What Python asks of an object: print, len, iterate, compare with ``in``, format, copy, pickle."""

    __slots__ = ()

    def __repr__(self: Tensor, *, tensor_contents: Any = None) -> str:
        """The elements, and what else is worth knowing, as PyTorch prints it."""
        lazy = self._storage.lazy
        level = tracing.level
        if level is not None and level.is_unknown(lazy):
            return level.shown(self)
        if lazy.op == Op.PARAM:
            return f"<Tensor of shape {tuple(self._shape())}, {lazy.dtype}, in a composite that is being traced>"
        try:
            node = None if self.grad_fn is None else self.grad_fn.name()
        except RuntimeError:  # of one of several views, whose memory was changed
            node = "Invalid"
        device = lazy.device
        suffix = "" if device == default_device() else f"device='{self.device}'"
        kind = type(self)
        return format_tensor(self._array(), requires_grad=self.requires_grad,
                             name="tensor" if is_plain(self) else getattr(kind, "_shown", kind.__name__),
                             grad_fn_name=node, device_suffix=suffix,
                             tangent=_tangent(self) if mode.duals else None)

    def __str__(self: Tensor) -> str:
        """``repr(self)``."""
        return repr(self)

    def __format__(self: Tensor, spec: str) -> str:
        """A 0-d tensor is formatted as its number; others take no format."""
        if self.ndim == 0 and is_plain(self):
            return format(self.item(), spec)
        return object.__format__(self, spec)

    def __bool__(self: Tensor) -> bool:
        """The truth of the only element; ``RuntimeError`` if there are more or none."""
        n = prod(self._shape())
        if n != 1:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous" if n == 0 else
                               "Boolean value of Tensor with more than one value is ambiguous")
        level = tracing.level
        if level is not None and level.is_unknown(self._read()):
            level.refuse("bool")
        return bool(self.item())

    def __int__(self: Tensor) -> int:
        """The only element as an int."""
        return int(_real(_only(self), "int64_t"))

    def __float__(self: Tensor) -> float:
        """The only element as a float."""
        return float(_real(_only(self), "double"))

    def __complex__(self: Tensor) -> complex:
        """The only element as a complex number."""
        return complex(self.item())

    def __index__(self: Tensor) -> int:
        """The only element of an integer Tensor, as an index."""
        if self.dtype.kind in "fc" or prod(self._shape()) != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __len__(self: Tensor) -> int:
        """The size of the first dimension."""
        shape = self._shape()
        if not shape:
            raise TypeError("len() of a 0-d tensor")
        return shape[0]

    def __iter__(self: Tensor) -> Iterator[Tensor]:
        """The parts along the first dimension."""
        if not self._shape():
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __reversed__(self: Tensor) -> Tensor:
        """The first dimension in reverse."""
        return self.flip(0) if self.ndim else self

    def __contains__(self: Tensor, element: Any) -> bool:
        """Whether an element equals ``element``."""
        if not isinstance(element, AnyTensor | int | float | complex | np.generic):
            raise RuntimeError("Tensor.__contains__ only supports Tensor or scalar, but you passed in a "
                               f"{type(element)}.")
        return bool((self == element).any().item())

    # --- copies

    def __deepcopy__(self: Tensor, memo: dict[int, Any]) -> Tensor:
        """A copy of a leaf with its gradient. Tensors that share memory share it in the copies too."""
        if not self.is_leaf:
            raise RuntimeError("Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                               "protocol at the moment.  If you were attempting to deepcopy a module, this may be "
                               "because of a torch.nn.utils.weight_norm usage, see https://github.com/pytorch/pytorch/pull/103001")
        if id(self) in memo:
            return memo[id(self)]
        make, (cls, storage, *window), *_ = self.__reduce_ex__(4)
        result = make(cls, copy.deepcopy(storage, memo), *window)
        memo[id(self)] = result
        if self._grad is not None:
            result._grad = copy.deepcopy(self._grad, memo)
        result.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return result

    def __reduce_ex__(self: Tensor, protocol: Any) -> tuple[Any, ...]:
        """For ``copy`` and ``pickle``: the memory, how it is seen, whether it requires a gradient, and attributes. What
        they make is a leaf; ``copy.copy`` shares the memory, and what is pickled together shares it afterwards."""
        state = dict(self.__dict__)
        arguments = (type(self), self._storage, self.dtype, self._shape(), strides_of(self), offset_of(self),
                     self._source() is not None)
        return (rebuild, arguments, state) if state else (rebuild, arguments)

    def __setstate__(self: Tensor, state: dict[str, Any]) -> None:
        """For ``pickle``: the attributes."""
        self.__dict__.update(state)

    def __dir__(self: Tensor) -> list[str]:
        """Methods and attributes."""
        return sorted({*dir(type(self)), *self.__dict__})
