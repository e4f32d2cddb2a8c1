"""Stage: array API. In: the operands of a call: Tensors and Python numbers. Out: Tensors of one dtype, as the
standard's table has it.
Source: https://data-apis.org/array-api/latest/API_specification/type_promotion.html
Next: ``creation.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad.dtype import DType, int64, promote, uint64
from minigrad.tensor import FUNCTIONS, Tensor

tensor = FUNCTIONS["tensor"]


def common(dtypes: Sequence[DType]) -> DType:
    """The dtype of all of these combined."""
    found = dtypes[0]
    for dtype in dtypes[1:]:
        found = promote(found, dtype)
    return found


def same_dtype(*operands: Any) -> list[Any]:
    """The operands, Tensors of one dtype; a Python number takes that of the Tensors. ``TypeError`` without a Tensor."""
    found = {o.dtype for o in operands if isinstance(o, Tensor)}
    if not found:
        raise TypeError("at least one operand must be an array")
    dtype = found.pop() if len(found) == 1 else common([o.dtype for o in operands if isinstance(o, Tensor)])
    device = next(o.device for o in operands if isinstance(o, Tensor))
    return [_as(o, dtype, device) for o in operands]


def _as(operand: Any, dtype: DType, device: Any) -> Tensor:
    if isinstance(operand, Tensor):
        return operand if operand.dtype is dtype else operand.to(dtype)
    if isinstance(operand, complex) and not dtype.is_complex:
        return tensor(operand, device=device)
    if isinstance(operand, float) and not (dtype.is_floating_point or dtype.is_complex):
        return tensor(operand, device=device)
    return tensor(operand, dtype=dtype, device=device)


def to_sum(x: Tensor, dtype: DType | None) -> DType:
    """The dtype of a sum or product: that of x, but at least as wide as the default integers."""
    if dtype is not None:
        return dtype
    if x.dtype.kind == "u":
        return uint64
    return x.dtype if x.dtype.is_floating_point or x.dtype.is_complex else int64
