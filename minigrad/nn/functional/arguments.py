"""Stage: front. In: arguments as PyTorch takes them. Out: the same in one spelling, or PyTorch's error.
Next: ``linear.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from numbers import Real
from operator import index
from typing import Any

import numpy as np

from minigrad.autograd.mode import mode
from minigrad.dtype import DType, int32, int64
from minigrad.graph.lines import warn_user
from minigrad.tensor import Tensor, type_name
from minigrad.tensor.elements import known
from minigrad.tensor.operands import result_dtype
from minigrad.tensor.promotion import can_cast


def legacy_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """``reduction``, unless one of the two old arguments says otherwise.

    >>> legacy_reduction(None, None, "sum")
    'sum'
    """
    if size_average is None and reduce is None:
        return reduction
    average, reduces = size_average is None or bool(size_average), reduce is None or bool(reduce)
    reduction = "none" if not reduces else "mean" if average else "sum"
    warn_user(f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.")
    return reduction


def one_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """``reduction``, with the old arguments taken in; ``ValueError`` if there is none of that name."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def check_castable(input: Tensor, target: Tensor, dtype: DType) -> None:
    """``RuntimeError`` unless what is computed of both may be stored as ``dtype``."""
    common = result_dtype((input, target))
    if not can_cast(common, dtype):
        raise RuntimeError(f"result type {type_name(common)} can't be cast to the desired output type "
                           f"{type_name(dtype)}")


def refuse_gradients(function: str, **operands: Tensor | None) -> None:
    """``RuntimeError`` for an operand that requires a gradient, of those for which PyTorch's ``function`` has none.

    >>> import minigrad
    >>> refuse_gradients("nll_loss_forward", weight=minigrad.ones(3))
    """
    for name, operand in operands.items():
        if operand is not None and operand.requires_grad and mode.enabled:
            raise RuntimeError(f"The function '{function}' is not differentiable with respect to argument '{name}'. "
                               "This input cannot have requires_grad True.")


def one_per_dimension(n: int, name: str = "parse") -> Callable[[Any], tuple[Any, ...]]:
    """A function that repeats what is no sequence n times, and makes a tuple of what is one.

    >>> one_per_dimension(2)(3), one_per_dimension(2)([3, 4])
    ((3, 3), (3, 4))
    """

    def parse(x: Any) -> tuple[Any, ...]:
        return tuple(x) if isinstance(x, Iterable) else tuple(repeat(x, n))

    parse.__name__ = name
    return parse


def list_with_default(out_size: Sequence[int | None], defaults: Sequence[int]) -> Any:
    """``out_size`` with the last of the ``defaults`` where it says None, as a list; a number stays as it is.

    >>> list_with_default([None, 5], [1, 2, 3])
    [2, 5]
    """
    if isinstance(out_size, int):
        return out_size
    if len(defaults) <= len(out_size):
        raise ValueError(f"Input dimension should be at least {len(out_size) + 1}")
    return [default if size is None else size
            for size, default in zip(out_size, defaults[-len(out_size):], strict=False)]  # none of ()


def whole_numbers(function: str, argument: str, position: int, value: Any) -> tuple[int, ...] | int:
    """An integer as it is, a sequence of integers as a tuple; ``TypeError`` in PyTorch's words for anything else."""
    if type(value) is int:
        return value
    if type(value) is tuple or (isinstance(value, Sequence) and not isinstance(value, str)):
        found = []
        for at, item in enumerate(value):
            try:
                found.append(index(item))
            except TypeError:
                raise TypeError(f"{function}(): argument '{argument}' (position {position}) must be tuple of ints, but "
                                f"found element of type {type(item).__name__} at pos {at}") from None
        return tuple(found)
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"{function}(): argument '{argument}' (position {position}) must be tuple of ints, not "
                        f"{type(value).__name__}") from None
def number(value: Any, function: str, argument: str, position: int) -> float:
    """A number as a float; ``TypeError`` in PyTorch's words for anything else.

    >>> number(2, "elu", "alpha", 2)
    2.0
    """
    if type(value) is float:
        return value
    if isinstance(value, int | float | Real) or (isinstance(value, Tensor) and value.ndim == 0):
        return float(value)
    raise TypeError(f"{function}(): argument '{argument}' (position {position}) must be Number, not "
                    f"{type(value).__name__}")


def at_hand(tensor: Tensor) -> np.ndarray | None:
    """The elements of a tensor that is in memory; None for one that is computed later, or may be.

    >>> import minigrad
    >>> at_hand(minigrad.tensor([1, 2]))
    array([1, 2])
    """
    return None if tensor._spec is not None else known(tensor)


def check_indices(index: Tensor, name: str) -> None:
    """``RuntimeError`` in PyTorch's words unless the tensor holds int64 or int32."""
    if index.dtype in (int64, int32):
        return
    kind = type_name(index.dtype)
    got = f"CPU{kind}Type" if kind == "Bool" else f"torch.{kind}Tensor"
    raise RuntimeError("Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, "
                       f"Int; but got {got} instead (while checking arguments for {name})")
