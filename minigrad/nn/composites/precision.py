"""Stage: front. In: Tensors that may have half types. Out: the types in which a formula computes them.
Next: ``normalization.py``."""

from __future__ import annotations

from functools import reduce
from typing import Any

from minigrad.dtype import DType, accumulator, promote
from minigrad.tensor import Tensor


def wide(*tensors: Tensor | None) -> tuple[Any, DType]:
    """The tensors with half types widened to float32, for formulas that would lose digits if each step were rounded;
    and the dtype that the result has."""
    given = [t for t in tensors if t is not None]
    return [None if t is None else t.to(accumulator(t.dtype)) for t in tensors], reduce(
        promote, [t.dtype for t in given])


def narrow(result: Tensor, dtype: DType) -> Tensor:
    """What a formula over ``wide`` tensors gave, in the half type that they had; of others as it is: integers may have
    become floats, and complex numbers real ones."""
    return result.to(dtype) if dtype.kind == "f" and dtype.size == 2 else result
