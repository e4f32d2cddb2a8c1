"""Stage: front. In: a dense Tensor. Out: a sparse one, and what PyTorch says where a dense tensor is asked for the
parts of a sparse one. Sparse tensors themselves stand in ``minigrad.sparse``, which few programs need.
Next: ``gradient.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from minigrad import lazily
from minigrad.dtype import DType
from minigrad.tensor.layouts import WORDS
from minigrad.tensor.layouts import layout as Layout

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _sparse() -> Any:
    return lazily.module("minigrad.sparse")


def _refuse(name: str, layout: str) -> NoReturn:
    raise RuntimeError(f"{name} expected sparse {layout}tensor layout but got Strided")


class Sparsity:
    """Conversions between dense and sparse tensors."""

    __slots__ = ()

    def to_sparse(self: Tensor, sparse_dim: int | None = None, *, layout: Layout | None = None, blocksize: Any = None,
                  dense_dim: int | None = None) -> Any:
        """The elements that are not 0, with their coordinates along the first ``sparse_dim`` dimensions; or another
        sparse ``layout``.

        >>> import minigrad
        >>> minigrad.tensor([0.0, 5.0, 0.0]).to_sparse()
        tensor(indices=tensor([[1]]),
               values=tensor([5.]),
               size=(3,), nnz=1, layout=minigrad.sparse_coo)
        """
        return _sparse().to_layout(self, sparse_dim, layout, blocksize, dense_dim)

    def to_sparse_coo(self: Tensor) -> Any:
        """The elements that are not 0, with their coordinates."""
        return _sparse().to_layout(self)

    def to_sparse_csr(self: Tensor, dense_dim: int | None = None) -> Any:
        """A matrix as compressed rows."""
        return _sparse().to_layout(self, layout=WORDS["sparse_csr"])

    def to_sparse_csc(self: Tensor, dense_dim: int | None = None) -> Any:
        """A matrix as compressed columns."""
        return _sparse().to_layout(self, layout=WORDS["sparse_csc"])

    def to_sparse_bsr(self: Tensor, blocksize: Any, dense_dim: int | None = None) -> Any:
        """A matrix as compressed rows of blocks."""
        return _sparse().to_layout(self, layout=WORDS["sparse_bsr"], blocksize=blocksize)

    def to_sparse_bsc(self: Tensor, blocksize: Any, dense_dim: int | None = None) -> Any:
        """A matrix as compressed columns of blocks."""
        return _sparse().to_layout(self, layout=WORDS["sparse_bsc"], blocksize=blocksize)

    def to_dense(self: Tensor, dtype: DType | None = None, *, masked_grad: bool | None = None) -> Tensor:
        """Itself."""
        return self if dtype is None else self.to(dtype)

    def sparse_mask(self: Tensor, mask: Any) -> Any:
        """The elements at the places of a sparse tensor of the same shape."""
        return _sparse().masked_by(self, mask)

    @property
    def is_sparse_csr(self: Tensor) -> bool:
        """False: it is dense."""
        return False

    def sparse_dim(self: Tensor) -> int:
        """0: no dimension has coordinates."""
        return 0

    def dense_dim(self: Tensor) -> int:
        """All dimensions."""
        return len(self._shape())

    # --- parts that a dense tensor has not

    def _nnz(self: Tensor) -> int:
        """``NotImplementedError``: it is dense."""
        raise NotImplementedError("Could not run 'aten::_nnz' with arguments from the 'CPU' backend.")

    def coalesce(self: Tensor) -> Any:
        """``RuntimeError``: it is dense."""
        _refuse("coalesce", "coordinate ")

    def is_coalesced(self: Tensor) -> bool:
        """``RuntimeError``: it is dense."""
        _refuse("is_coalesced", "coordinate ")

    def indices(self: Tensor) -> Tensor:
        """``RuntimeError``: it is dense."""
        _refuse("indices", "coordinate ")

    def values(self: Tensor) -> Tensor:
        """``RuntimeError``: it is dense."""
        _refuse("values", "")

    def crow_indices(self: Tensor) -> Tensor:
        """``RuntimeError``: it is dense."""
        _refuse("crow_indices", "row compressed ")

    def col_indices(self: Tensor) -> Tensor:
        """``RuntimeError``: it is dense."""
        _refuse("col_indices", "row compressed ")

    def ccol_indices(self: Tensor) -> Tensor:
        """``RuntimeError``: it is dense."""
        _refuse("ccol_indices", "column compressed ")

    def row_indices(self: Tensor) -> Tensor:
        """``RuntimeError``: it is dense."""
        _refuse("row_indices", "column compressed ")
