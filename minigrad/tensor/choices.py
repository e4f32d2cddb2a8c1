"""Stage: front. In: conditions, Tensors and numbers. Out: from each the element that a condition chooses (``where``).
Next: ``pairs.py``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from minigrad.dtype import bool_, promote, uint8
from minigrad.graph.lazy import LazyBuffer
from minigrad.tensor.base import AnyTensor
from minigrad.tensor.definition import both, function, in_place
from minigrad.tensor.function import Function
from minigrad.tensor.operands import (
    MixedFunction,
    broadcast_shapes,
    fit,
    on_one_device,
    operand_at,
    require_tensor,
    result_dtype,
)
from minigrad.tensor.operators import fitting
from minigrad.tensor.promotion import number_dtype, stored, type_name

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _where(*args: Any) -> LazyBuffer:
    """The condition, then the Tensors and numbers to choose from."""
    *operands, dtype, order = args
    condition, *values = on_one_device(operands)
    shape = broadcast_shapes(condition.shape, *[v.shape for v in values])
    x, y = [fit(operand_at(values, _after(i)), dtype, shape) for i in order[1:]]
    return fit(condition, bool_, shape).where(x, y)


def _after(position: Any) -> Any:
    """The position of an operand among those after the condition."""
    return tuple([i - 1 for i in position]) if isinstance(position, tuple) else position - 1


_WHERE = MixedFunction("where", _where, "WhereBackward0")


def choose(condition: Tensor, a: Any, b: Any) -> Tensor:
    """a where the condition holds, else b."""
    if condition.dtype is uint8:
        warnings.warn("where received a uint8 condition tensor. This behavior is deprecated and will be removed in a "
                      "future version of PyTorch. Use a boolean condition instead.", stacklevel=3)
        condition = condition.to(bool_)
    if condition.dtype is not bool_:
        raise RuntimeError(f"where expected condition to be a boolean tensor, but got a tensor with dtype "
                           f"{type_name(condition.dtype)}")
    some = isinstance(a, AnyTensor) or isinstance(b, AnyTensor)
    dtype = result_dtype((a, b)) if some else promote(number_dtype(a), number_dtype(b))
    return _WHERE.mixed((condition, *[v if isinstance(v, AnyTensor) else stored(v, dtype, halves=False)
                                      for v in (a, b)]), dtype)


@function("where")
def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """``input`` where the condition holds, else ``other``; Tensors or numbers, broadcast.

    With the condition alone: the coordinates where it holds, as ``nonzero(as_tuple=True)``.

    >>> import minigrad
    >>> x = minigrad.tensor([-1.0, 2.0])
    >>> minigrad.where(x > 0, x, 0.0)
    tensor([0., 2.])
    """
    require_tensor(condition, "where", "condition", 1)
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    return choose(condition, input, other)


def _masked_fill(x: LazyBuffer, mask: LazyBuffer, value: LazyBuffer) -> LazyBuffer:
    x, mask, value = on_one_device((x, mask, value))
    shape = broadcast_shapes(x.shape, mask.shape)
    return fit(mask, bool_, shape).where(fit(value, x.dtype, shape), fit(x, x.dtype, shape))


_MASKED_FILL = Function("masked_fill", _masked_fill, "MaskedFillBackward0")


class Choices:
    """Elements of one Tensor or another."""

    __slots__ = ()

    def where(self: Tensor, condition: Tensor, other: Any = None) -> Tensor:
        """self where the condition holds, else ``other``."""
        return choose(condition, self, other)

    @both("masked_fill")
    def masked_fill(self: Tensor, mask: Tensor, value: Any) -> Tensor:
        """self with ``value``, a number or a 0-d tensor, where the mask holds.

        >>> import minigrad
        >>> minigrad.tensor([1.0, 2.0]).masked_fill(minigrad.tensor([True, False]), -1)
        tensor([-1.,  2.])
        """
        if mask.dtype is not bool_:
            raise RuntimeError(f"masked_fill_ only supports boolean masks, but got mask with dtype {mask.dtype}")
        if isinstance(value, AnyTensor) and value.ndim:
            raise RuntimeError("masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                               f"{value.ndim} dimension(s).")
        value = fitting(value, self.dtype)
        if isinstance(value, AnyTensor):
            return _MASKED_FILL((self, mask, value))
        if self.dtype.kind == "c":
            return _MASKED_FILL((self, mask, self.new_full((), value)))
        return _MASKED_FILL((self, mask), (), ((stored(value, self.dtype), self.dtype),))

    masked_fill_ = in_place(masked_fill)
