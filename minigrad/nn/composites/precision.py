"""Stage: front. In: Tensors that may have half types. Out: the types in which a formula computes them.
Next: ``normalization.py``."""

from __future__ import annotations

from functools import reduce
from typing import Any

from minigrad.dtype import DType, accumulator, promote
from minigrad.tensor import Tensor


def wide(*tensors: Tensor | None) -> tuple[Any, DType]:
    """The tensors with half types widened to float32, for formulas that would lose digits if each step were rounded;
    and the dtype that the result has. Integers beside a half type are rounded to it first."""
    dtype = reduce(promote, [t.dtype for t in tensors if t is not None])
    if _is_half(dtype):
        tensors = tuple([t if t is None or t.dtype.is_inexact else t.to(dtype) for t in tensors])
    return [None if t is None else t.to(accumulator(t.dtype)) for t in tensors], dtype


def _is_half(dtype: DType) -> bool:
    return dtype.kind == "f" and dtype.size == 2


def narrow(result: Tensor, dtype: DType) -> Tensor:
    """What a formula over ``wide`` tensors gave, in the half type that they had; of others as it is: integers may have
    become floats, and complex numbers real ones."""
    return result.to(dtype) if _is_half(dtype) else result
