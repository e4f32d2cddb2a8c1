"""Stage: front. In: compressed indices, plain indices and values. Out: ``CompressedTensor``: the layouts
``sparse_csr`` and ``sparse_csc``, and those of blocks, ``sparse_bsr`` and ``sparse_bsc``.
Next: ``creation.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minigrad.dtype import int64
from minigrad.sparse.base import SparseTensor
from minigrad.sparse.coordinates import MAKERS, CoordinateTensor, _rebuild_sparse_tensor, from_dense, make_coo
from minigrad.tensor import Tensor, arange, cat, zeros
from minigrad.tensor.layouts import WORDS

NAMES = {"sparse_csr": "SparseCsr", "sparse_csc": "SparseCsc", "sparse_bsr": "SparseBsr", "sparse_bsc": "SparseBsc"}
"""What PyTorch's messages call the layouts."""


def make_compressed(compressed: Tensor, plain: Tensor, values: Tensor, size: Sequence[int],
                    layout: str) -> CompressedTensor:
    """A tensor of a compressed layout from its parts, unchecked."""
    made: CompressedTensor = CompressedTensor._blank(values, size)
    made._compressed, made._plain, made._kind = compressed, plain, layout
    return made


def _on_values(name: str) -> Callable[..., Any]:
    def method(self: CompressedTensor, *args: Any, **named: Any) -> Any:
        return self._with_values(getattr(self._stored, name)(*args, **named))

    method.__name__ = name
    method.__doc__ = f"``{name}`` of each stored element."
    return method


def expanded(compressed: Tensor) -> Tensor:
    """For each stored element the row (or column) it is in: row i holds ``compressed[i] …``."""
    counts = (compressed[1:] - compressed[:-1]).to(int64)
    return arange(counts.shape[0], device=compressed.device).repeat_interleave(counts)


def compress(rows: Tensor, count: int) -> Tensor:
    """Where each of ``count`` rows begins, and the last ends, from the sorted rows of the elements."""
    found = zeros(count + 1, dtype=int64, device=rows.device)
    return found.index_add(0, rows + 1, rows.new_ones(rows.shape)).cumsum(0)


class CompressedTensor(SparseTensor):
    """A matrix whose elements are sorted by row (``sparse_csr``, ``sparse_bsr``) or by column: ``crow_indices`` say
    where the elements of each row begin, ``col_indices`` in which column each is. With blocks, ``values`` has two more
    dimensions."""

    __slots__ = ("_compressed", "_kind", "_plain")

    _compressed: Tensor
    _plain: Tensor
    _kind: str

    @property
    def _layout_name(self) -> str:  # type: ignore[override]
        return self._kind

    @property
    def layout(self) -> Any:
        return WORDS[self._kind]

    @property
    def is_sparse_csr(self) -> bool:
        return self._kind == "sparse_csr"

    @property
    def _by_row(self) -> bool:
        return self._kind.endswith("r")

    @property
    def _blocks(self) -> bool:
        return self._kind[-3] == "b"

    def _indexes(self) -> tuple[tuple[str, Tensor], ...]:
        names = ("crow_indices", "col_indices") if self._by_row else ("ccol_indices", "row_indices")
        return (names[0], self._compressed), (names[1], self._plain)

    def _with_values(self, values: Tensor) -> CompressedTensor:
        return make_compressed(self._compressed, self._plain, values, self._size, self._kind)

    def _take(self, other: Any) -> Any:
        self._compressed, self._plain, self._kind = other._compressed, other._plain, other._kind
        return super()._take(other)

    def _write(self, other: Any) -> Any:
        """Become another: if it stores as many values and none has a gradient, in the same memory, as in PyTorch."""
        mine, its = self._stored, other._stored
        if mine._shape() != its._shape() or mine.dtype is not its.dtype or mine.requires_grad or its.requires_grad:
            return self._take(other)
        mine.copy_(its)
        self._take(other)
        self._stored = mine
        return self

    def _on(self, device: Any) -> Any:
        self._compressed, self._plain = self._compressed.to(device), self._plain.to(device)
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _rebuild_sparse_tensor, (self.layout, (self._compressed, self._plain, self._stored.detach(),
                                                      self.shape))

    # --- parts

    def _nnz(self) -> int:
        return self._plain._shape()[-1]

    def sparse_dim(self) -> int:
        """2: rows and columns."""
        return 2

    def dense_dim(self) -> int:
        """How many dimensions are stored whole."""
        return self._stored.ndim - self._plain.ndim - 2 * self._blocks

    def values(self) -> Tensor:
        """The stored elements."""
        return self._stored

    def crow_indices(self) -> Tensor:
        """Where the elements of each row begin, and where the last row ends."""
        return self._of_rows("crow_indices", True, self._compressed)

    def col_indices(self) -> Tensor:
        """The column of each element."""
        return self._of_rows("col_indices", True, self._plain)

    def ccol_indices(self) -> Tensor:
        """Where the elements of each column begin, and where the last column ends."""
        return self._of_rows("ccol_indices", False, self._compressed)

    def row_indices(self) -> Tensor:
        """The row of each element."""
        return self._of_rows("row_indices", False, self._plain)

    def _of_rows(self, name: str, by_row: bool, found: Tensor) -> Tensor:
        if self._by_row is not by_row:
            raise RuntimeError(f"{name} expected sparse {'row' if by_row else 'column'} compressed tensor layout but "
                               f"got {NAMES[self._kind]}")
        return found

    def _coordinate_error(self, name: str) -> RuntimeError:
        return RuntimeError(f"{name} expected sparse coordinate tensor layout but got {NAMES[self._kind]}")

    def indices(self) -> Tensor:
        """``RuntimeError``: it has no coordinates."""
        raise self._coordinate_error("indices")

    def coalesce(self) -> Any:
        """``RuntimeError``: it has no coordinates."""
        raise self._coordinate_error("coalesce")

    def is_coalesced(self) -> Any:
        """``RuntimeError``: it has no coordinates."""
        raise self._coordinate_error("is_coalesced")

    # --- conversions

    def _coo(self) -> CoordinateTensor:
        if self._blocks:
            return from_dense(self.to_dense())
        if self._plain.ndim > 1:
            raise NotImplementedError("batches of compressed sparse tensors are not converted")
        lines, plain = expanded(self._compressed), self._plain.to(int64)
        pair = (lines, plain) if self._by_row else (plain, lines)
        made = make_coo(cat([p.reshape(1, -1) for p in pair]), self._stored, self._size, self._by_row)
        return made if self._by_row else made.coalesce()

    def to_sparse(self, sparse_dim: int | None = None, *, layout: Any = None, blocksize: Any = None,
                  dense_dim: int | None = None) -> Any:
        """As coordinates and values, or in another layout."""
        if layout is self.layout:
            return self
        return self._coo() if layout is None else self._coo().to_sparse(layout=layout, blocksize=blocksize)

    def to_sparse_coo(self) -> CoordinateTensor:
        """As coordinates and values."""
        return self._coo()

    def to_sparse_csr(self, dense_dim: int | None = None) -> Any:
        """In the layout ``sparse_csr``."""
        return self.to_sparse(layout=WORDS["sparse_csr"])

    def to_sparse_csc(self, dense_dim: int | None = None) -> Any:
        """In the layout ``sparse_csc``."""
        return self.to_sparse(layout=WORDS["sparse_csc"])

    def to_dense(self, dtype: Any = None, *, masked_grad: Any = None) -> Tensor:
        """All elements."""
        if self._plain.ndim > 1:
            raise NotImplementedError("to_dense() of batches of compressed sparse tensors is not there")
        if not self._blocks:
            return self._coo().to_dense()
        height, width = self._stored.shape[1:3]
        lines, plain = expanded(self._compressed), self._plain.to(int64)
        rows, columns = (lines, plain) if self._by_row else (plain, lines)
        down, across = self._size[0] // height, self._size[1] // width
        base = zeros((down * across, height, width), dtype=self.dtype, device=self.device)
        whole = base.index_add(0, rows * across + columns, self._stored).reshape(down, across, height, width)
        return whole.permute(0, 2, 1, 3).reshape(self._size)

    # --- movement

    def transpose(self, dim0: int, dim1: int) -> Any:
        """With rows and columns exchanged: the same parts, read the other way."""
        if dim0 % self.ndim == dim1 % self.ndim:
            return self
        kind = self._kind[:-1] + ("c" if self._by_row else "r")
        values = self._stored.transpose(-2, -1) if self._blocks else self._stored
        return make_compressed(self._compressed, self._plain, values, self._size[::-1], kind)

    def t(self) -> Any:
        """With rows and columns exchanged."""
        return self.transpose(0, 1)

    @property
    def T(self) -> Any:
        """With rows and columns exchanged."""
        return self.transpose(0, 1)

    mT = T

    def select(self, dim: int, index: int) -> Any:
        """A row or a column."""
        return self._coo().select(dim, index)

    def __getitem__(self, key: Any) -> Any:
        return self._coo()[key]

    # --- of each element

    neg = __neg__ = _on_values("neg")
    abs = __abs__ = _on_values("abs")
    sqrt, square, sin, tan = _on_values("sqrt"), _on_values("square"), _on_values("sin"), _on_values("tan")
    asin, atan, sinh, tanh = _on_values("asin"), _on_values("atan"), _on_values("sinh"), _on_values("tanh")
    asinh, atanh, expm1, log1p = _on_values("asinh"), _on_values("atanh"), _on_values("expm1"), _on_values("log1p")
    erf, erfinv, relu, sign = _on_values("erf"), _on_values("erfinv"), _on_values("relu"), _on_values("sign")
    floor, ceil, round, trunc = _on_values("floor"), _on_values("ceil"), _on_values("round"), _on_values("trunc")
    isnan, isinf, signbit, frac = _on_values("isnan"), _on_values("isinf"), _on_values("signbit"), _on_values("frac")
    float, double, half, bfloat16 = (_on_values("float"), _on_values("double"), _on_values("half"),
                                     _on_values("bfloat16"))
    long, int, bool = _on_values("long"), _on_values("int"), _on_values("bool")


def compressed_of(x: CoordinateTensor, layout: Any, blocksize: Any) -> Any:
    """Coordinates and values in a compressed layout."""
    kind = layout.name
    if kind in ("sparse_bsr", "sparse_bsc"):
        return blocks_of(x.to_dense(), kind, blocksize)
    if x.sparse_dim() != 2:
        raise RuntimeError(f"Cannot convert COO tensor with {x.sparse_dim()} sparse dimensions to {NAMES[kind]}: only "
                           "matrices are compressed")
    if kind == "sparse_csr":
        x = x.coalesce()
        rows, columns = x._indices()
        return make_compressed(compress(rows, x._size[0]), columns, x._values(), x._size, kind)
    x = x.t().coalesce()
    columns, rows = x._indices()
    return make_compressed(compress(columns, x._size[0]), rows, x._values(), x._size[::-1], kind)


def blocks_of(x: Tensor, kind: str, blocksize: Any) -> CompressedTensor:
    """A dense matrix as the blocks that are not all 0."""
    if blocksize is None or len(blocksize) != 2:
        raise RuntimeError("to_sparse for dense to sparse block conversion requires blocksize to be a pair")
    height, width = blocksize
    if x.shape[0] % height or x.shape[1] % width:
        raise RuntimeError(f"tensor sparse size ({x.shape[0]},{x.shape[1]}) must be divisible by given blocksize "
                           f"({height},{width})")
    tiles = x.reshape(x.shape[0] // height, height, x.shape[1] // width, width).permute(0, 2, 1, 3)
    if kind == "sparse_bsc":
        tiles = tiles.permute(1, 0, 2, 3)
    lines, plain = (tiles.detach() != 0).flatten(2).any(2).nonzero(as_tuple=True)
    return make_compressed(compress(lines, tiles.shape[0]), plain, tiles[lines, plain], x.shape, kind)


MAKERS.update(convert=compressed_of, parts=make_compressed)
