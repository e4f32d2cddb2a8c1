"""Stage: front. In: matrices, vectors. Out: triangles of matrices, matrices with a vector on a diagonal, recorded.
Next: ``generator.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.dtype import DType
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.creation import tensor
from minigrad.tensor.definition import both, function, in_place
from minigrad.tensor.function import Function
from minigrad.tensor.operands import dim_index, whole_number

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _triangle(x: LazyBuffer, diagonal: int, lower: bool) -> LazyBuffer:
    dims = len(x.shape)
    row, column = [LazyBuffer.index(x.shape, a, x.device) for a in (dims - 2, dims - 1)]
    above = row.binary(Op.ADD, row.like(diagonal + (0 if lower else -1))).binary(Op.LT, column)
    zero = x.like(0)
    return above.where(zero, x) if lower else above.where(x, zero)


def _diagonal_of(x: LazyBuffer, offset: int) -> LazyBuffer:
    *batch, n = x.shape
    size = n + abs(offset)
    shape = (*batch, size, size)
    dims = len(shape)
    row, column = [LazyBuffer.index(shape, a, x.device) for a in (dims - 2, dims - 1)]
    on = row.binary(Op.ADD, row.like(offset)).binary(Op.EQ, column)
    low = max(0, offset)
    padded = x.pad((*[(0, 0, 0)] * (dims - 2), (low, size - n - low, 0)))
    wide = padded.reshape((*batch, 1, size)).expand(shape)
    return on.where(wide, wide.like(0))


_TRIL = Function("tril", lambda x, diagonal: _triangle(x, diagonal, True), "TrilBackward0")
_TRIU = Function("triu", lambda x, diagonal: _triangle(x, diagonal, False), "TriuBackward0")
_DIAG = Function("diag_embed", _diagonal_of, "DiagEmbedBackward0")


def _check_matrix(self: Tensor, name: str) -> None:
    if self.ndim < 2:
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")


def _triangle_indices(name: str, lower: bool) -> None:
    def indices(row: int, col: int, offset: int = 0, *, dtype: DType | None = None, device: Any = None,
                layout: Any = None, pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
        row, col, offset = [whole_number(name, argument, value, place) for place, (argument, value) in enumerate(
            (("row", row), ("col", col), ("offset", offset)), 1)]
        found = np.tril_indices(row, offset, col) if lower else np.triu_indices(row, offset, col)
        return tensor(np.stack(found).astype(np.int64), dtype=dtype, device=device)

    indices.__doc__ = f"The coordinates of the elements that ``{name[:4]}`` keeps, a row for each dimension."
    function(name)(indices)


_triangle_indices("tril_indices", True)
_triangle_indices("triu_indices", False)


class Triangular:
    """Triangles and diagonals of matrices."""

    __slots__ = ()

    @both("tril")
    def tril(self: Tensor, diagonal: int = 0) -> Tensor:
        """Elements on and below a diagonal of the last two dimensions, 0 above.

        >>> import minigrad
        >>> minigrad.full((2, 2), 1.0).tril()
        tensor([[1., 0.],
                [1., 1.]])
        """
        _check_matrix(self, "tril")
        return _TRIL((self,), (whole_number("tril", "diagonal", diagonal),))

    tril_ = in_place(tril)

    @both("triu")
    def triu(self: Tensor, diagonal: int = 0) -> Tensor:
        """Elements on and above a diagonal of the last two dimensions, 0 below."""
        _check_matrix(self, "triu")
        return _TRIU((self,), (whole_number("triu", "diagonal", diagonal),))

    triu_ = in_place(triu)

    @both("diag_embed")
    def diag_embed(self: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
        """Matrices with the last dimension on a diagonal, 0 elsewhere; ``dim1`` and ``dim2`` say where their rows and
        columns are in the result."""
        offset = whole_number("diag_embed", "offset", offset)
        first, second = [dim_index(d, self.ndim + 1) for d in (dim1, dim2)]
        if first == second:
            raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
        if first > second:
            first, second, offset = second, first, -offset
        return _DIAG((self,), (offset,)).movedim((-2, -1), (first, second))

    @both("diag")
    def diag(self: Tensor, diagonal: int = 0) -> Tensor:
        """A matrix with a vector on its diagonal, or the diagonal of a matrix."""
        if self.ndim not in (1, 2):
            raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {self.ndim}D")
        diagonal = whole_number("diag", "diagonal", diagonal)
        return self.diag_embed(diagonal) if self.ndim == 1 else self.diagonal(diagonal).clone()
