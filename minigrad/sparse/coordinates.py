"""Stage: front. In: the coordinates of stored elements and their values. Out: ``CoordinateTensor``, the layout
``sparse_coo``: its parts, coalescing, conversion, movement, and what is done to each value.
Next: ``compressed.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from minigrad.sparse.base import SparseTensor, recorded, unsupported
from minigrad.tensor import Tensor, arange, cat, zeros
from minigrad.tensor.function import Function
from minigrad.tensor.layouts import WORDS
from minigrad.tensor.operands import dim_index, require_tensor

MAKERS: dict[str, Callable[..., Any]] = {}
"""What makes compressed layouts, of coordinates or of their parts; ``compressed.py`` fills it in."""

OF_PARTS = Function("sparse_coo_tensor", lambda x: x, "SparseCooTensorWithDimsAndTensorsBackward0")


def make_coo(indices: Tensor, values: Tensor, size: Sequence[int], coalesced: bool = False) -> CoordinateTensor:
    """A tensor of the layout ``sparse_coo`` from its parts, unchecked."""
    made: CoordinateTensor = CoordinateTensor._blank(values, size)
    made._coordinates, made._sorted = indices, coalesced
    return made


def of_rows(parts: Sequence[tuple[Tensor, Tensor]], shape: Sequence[int]) -> CoordinateTensor:
    """A tensor with one sparse dimension, of the rows at these positions."""
    at = cat([p.reshape(1, -1) for p, _ in parts], 1) if len(parts) > 1 else parts[0][0].reshape(1, -1)
    values = cat([v for _, v in parts]) if len(parts) > 1 else parts[0][1]
    return make_coo(at, values, shape, at.shape[1] < 2)


def positions(indices: Tensor, sizes: Sequence[int]) -> Tensor:
    """Coordinates, a row for each dimension, as positions in row-major order."""
    if not sizes:
        return indices.new_zeros(indices.shape[1])
    at = indices[0]
    for row, size in zip(indices[1:], sizes[1:], strict=True):
        at = at * size + row
    return at


def coordinates(at: Tensor, sizes: Sequence[int]) -> Tensor:
    """Positions in row-major order as coordinates, a row for each dimension."""
    rows: list[Tensor] = []
    for size in reversed(sizes):
        rows.insert(0, at % max(1, size))
        at = at // max(1, size)
    return cat([r.reshape(1, -1) for r in rows]) if rows else at.new_zeros((0, at.shape[0]))


def _rebuild_sparse_tensor(layout: Any, data: Any) -> Any:
    """What a pickle calls; PyTorch's function of this name takes the same arguments."""
    if layout.name != "sparse_coo":
        return MAKERS["parts"](*data, layout.name)
    indices, values, size, *rest = data
    return make_coo(indices, values, size, bool(rest and rest[0]))


def _on_values(name: str, keeps_sum: bool = False) -> Callable[..., Any]:
    """A function of each element that is 0 at 0. Values of one place are added up first, unless that makes no
    difference."""

    def method(self: CoordinateTensor, *args: Any, **named: Any) -> Any:
        x = self if keeps_sum else self.coalesce()
        made = getattr(x._stored, name)(*args, **named)
        return x if made is x._stored else x._with_values(made)

    method.__name__ = name
    method.__doc__ = f"``{name}`` of each stored element."
    return method


def _in_place(name: str) -> Callable[..., Any]:
    def method(self: CoordinateTensor, *args: Any, **named: Any) -> Any:
        return self._take(getattr(self, name)(*args, **named))

    method.__name__ = f"{name}_"
    method.__doc__ = f"``{name}`` in place; returns self."
    return method


class CoordinateTensor(SparseTensor):
    """The layout ``sparse_coo``: ``indices`` (sparse_dim, nnz), int64, and ``values`` (nnz, and the sizes of the dense
    dimensions). Values at the same place count as their sum; ``coalesce`` adds them up."""

    __slots__ = ("_coordinates", "_sorted")

    _coordinates: Tensor
    _sorted: bool
    _layout_name = "sparse_coo"

    @property
    def layout(self) -> Any:
        return WORDS["sparse_coo"]

    @property
    def is_sparse(self) -> bool:
        return True

    def _indexes(self) -> tuple[tuple[str, Tensor], ...]:
        return (("indices", self._coordinates),)

    def _with_values(self, values: Tensor) -> CoordinateTensor:
        dense = values._shape()[1:]
        return make_coo(self._coordinates, values, (*self._size[:self.sparse_dim()], *dense), self._sorted)

    def _as_gradient(self, found: Any) -> Any:
        if self._sorted or self._nnz() < 2:
            return self._with_values(found)
        places, number = self._flat().unique(return_inverse=True)  # those of one place have one gradient
        only = zeros((places.shape[0], *found.shape[1:]), dtype=found.dtype, device=found.device)
        return make_coo(coordinates(places, self._sizes()), only.index_copy(0, number, found), self._size, True)

    def _take(self, other: Any) -> Any:
        self._coordinates, self._sorted = other._coordinates, other._sorted
        return super()._take(other)

    def _on(self, device: Any) -> Any:
        self._coordinates = self._coordinates.to(device)
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        values = self._stored.detach()
        return _rebuild_sparse_tensor, (self.layout, (self._coordinates, values, self.shape, self._sorted))

    # --- parts

    def sparse_dim(self) -> int:
        """How many dimensions have coordinates."""
        return self._coordinates._shape()[0]

    def dense_dim(self) -> int:
        """How many dimensions are stored whole."""
        return self._stored.ndim - 1

    def _nnz(self) -> int:
        return self._coordinates._shape()[1]

    def _indices(self) -> Tensor:
        """The coordinates as they are stored."""
        return self._coordinates

    def is_coalesced(self) -> bool:
        """Whether the coordinates are sorted and differ."""
        return self._sorted

    def _coalesced_(self, coalesced: bool) -> CoordinateTensor:
        """Say whether the coordinates are sorted and differ; returns self."""
        self._sorted = coalesced
        return self

    def indices(self) -> Tensor:
        """The coordinates of a coalesced tensor; ``RuntimeError`` for another."""
        if not self._sorted:
            raise RuntimeError("Cannot get indices on an uncoalesced tensor, please call .coalesce() first")
        return self._coordinates

    def values(self) -> Tensor:
        """The values of a coalesced tensor; ``RuntimeError`` for another."""
        if not self._sorted:
            raise RuntimeError("Cannot get values on an uncoalesced tensor, please call .coalesce() first")
        return self._stored

    def crow_indices(self) -> Tensor:
        """``RuntimeError``: it has none."""
        raise RuntimeError("crow_indices expected sparse row compressed tensor layout but got Sparse")

    def col_indices(self) -> Tensor:
        """``RuntimeError``: it has none."""
        raise RuntimeError("col_indices expected sparse row compressed tensor layout but got Sparse")

    def ccol_indices(self) -> Tensor:
        """``RuntimeError``: it has none."""
        raise RuntimeError("ccol_indices expected sparse column compressed tensor layout but got Sparse")

    def row_indices(self) -> Tensor:
        """``RuntimeError``: it has none."""
        raise RuntimeError("row_indices expected sparse column compressed tensor layout but got Sparse")

    def _sizes(self) -> tuple[int, ...]:
        """Those of the dimensions that have coordinates."""
        return self._size[:self.sparse_dim()]

    def _flat(self) -> Tensor:
        return positions(self._coordinates, self._sizes())

    def coalesce(self) -> CoordinateTensor:
        """With sorted coordinates that differ: values at one place are added up.

        >>> import minigrad
        >>> x = minigrad.sparse_coo_tensor([[1, 0, 1]], [3.0, 4.0, 5.0], (3,))
        >>> x.coalesce()
        tensor(indices=tensor([[0, 1]]),
               values=tensor([4., 8.]),
               size=(3,), nnz=2, layout=minigrad.sparse_coo)
        """
        if self._sorted:
            return self
        if self._nnz() < 2:
            return make_coo(self._coordinates, self._stored, self._size, True)
        places, number = self._flat().unique(return_inverse=True)
        values = zeros((places.shape[0], *self._stored.shape[1:]), dtype=self.dtype, device=self.device)
        values = values.index_add(0, number, self._stored)
        return make_coo(coordinates(places, self._sizes()), values, self._size, True)

    # --- conversions

    def to_dense(self, dtype: Any = None, *, masked_grad: Any = None) -> Tensor:
        """All elements.

        >>> import minigrad
        >>> minigrad.sparse_coo_tensor([[0, 0], [0, 2]], [1.0, 2.0], (2, 3)).to_dense()
        tensor([[1., 0., 2.],
                [0., 0., 0.]])
        """
        if dtype is not None:
            raise RuntimeError("dtype argument is not supported by sparse_to_dense")
        sizes, dense = self._sizes(), self._stored.shape[1:]
        if not sizes:
            return self._stored.sum(0)
        base = zeros((prod(sizes), *dense), dtype=self.dtype, device=self.device)
        return base.index_add(0, self._flat(), self._stored).reshape(self._size)

    def to_sparse(self, sparse_dim: int | None = None, *, layout: Any = None, blocksize: Any = None,
                  dense_dim: int | None = None) -> Any:
        """Itself, or in another layout."""
        if layout is None or layout is self.layout:
            if sparse_dim is not None and sparse_dim != self.sparse_dim():
                return self.to_dense().to_sparse(sparse_dim)
            return self
        return MAKERS["convert"](self, layout, blocksize)

    to_sparse_coo = to_sparse

    def to_sparse_csr(self, dense_dim: int | None = None) -> Any:
        """In the layout ``sparse_csr``."""
        return MAKERS["convert"](self, WORDS["sparse_csr"], None)

    def to_sparse_csc(self, dense_dim: int | None = None) -> Any:
        """In the layout ``sparse_csc``."""
        return MAKERS["convert"](self, WORDS["sparse_csc"], None)

    def to_sparse_bsr(self, blocksize: Any, dense_dim: int | None = None) -> Any:
        """In the layout ``sparse_bsr``."""
        return self.to_dense().to_sparse_bsr(blocksize)

    def to_sparse_bsc(self, blocksize: Any, dense_dim: int | None = None) -> Any:
        """In the layout ``sparse_bsc``."""
        return self.to_dense().to_sparse_bsc(blocksize)

    def _to_dtype(self, dtype: Any) -> CoordinateTensor:
        return self.to(dtype)

    # --- movement

    def transpose(self, dim0: int, dim1: int) -> CoordinateTensor:
        """With two dimensions exchanged, both sparse or both dense."""
        a, b = [dim_index(d, self.ndim) for d in (dim0, dim1)]
        order = list(range(self.ndim))
        order[a], order[b] = b, a
        return self.permute(order)

    def permute(self, *order: Any, dims: Any = None) -> CoordinateTensor:
        """With the dimensions in another order; sparse ones stay before dense ones."""
        given = order if dims is None else dims
        if len(given) == 1 and isinstance(given[0], tuple | list):
            given = given[0]
        turned = [dim_index(d, self.ndim) for d in given]
        count = self.sparse_dim()
        if sorted(turned) != list(range(self.ndim)):
            raise RuntimeError("permute(sparse_coo): number of dimensions in the tensor input does not match the "
                               f"length of the desired ordering of dimensions i.e. input.dim() = {self.ndim} is not "
                               f"equal to len(dims) = {len(turned)}")
        if any(d >= count for d in turned[:count]):
            raise RuntimeError("transpose(): can't exchange sparse and dense dimensions of a sparse tensor")
        if turned == list(range(self.ndim)):
            return self
        rows = cat([self._coordinates[d].reshape(1, -1) for d in turned[:count]])
        values = self._stored.permute(0, *[d - count + 1 for d in turned[count:]])
        same = turned[:count] == list(range(count))
        return make_coo(rows, values, [self._size[d] for d in turned], self._sorted and same)

    def t(self) -> CoordinateTensor:
        """With the two dimensions exchanged."""
        if self.ndim > 2:
            raise RuntimeError(f"t() expects a tensor with <= 2 sparse and 0 dense dimensions, but got {self.ndim} "
                               "dimensions")
        return self if self.ndim < 2 else self.transpose(0, 1)

    @property
    def T(self) -> CoordinateTensor:
        """With the dimensions in reverse order."""
        return self.permute(list(range(self.ndim))[::-1])

    mT = T

    def t_(self) -> Any:
        """``t`` in place."""
        return self._take(self.t())

    def unsqueeze(self, dim: int) -> CoordinateTensor:
        """With a new dimension of size 1."""
        at, count = dim_index(dim, self.ndim + 1), self.sparse_dim()
        size = [*self._size[:at], 1, *self._size[at:]]
        if at > count:
            return make_coo(self._coordinates, self._stored.unsqueeze(at - count + 1), size, self._sorted)
        row = self._coordinates.new_zeros((1, self._nnz()))
        rows = cat([self._coordinates[:at], row, self._coordinates[at:]])
        return make_coo(rows, self._stored, size, self._sorted)

    def index_select(self, dim: int, index: Tensor) -> CoordinateTensor:
        """The parts of ``dim`` at the positions ``index``, a vector."""
        axis, count = dim_index(dim, self.ndim), self.sparse_dim()
        if axis >= count:
            return self._with_values(self._stored.index_select(axis - count + 1, index))
        if index.ndim != 1:
            raise IndexError("index_select(): Index is supposed to be a vector, but got dim: "
                             f"{index.ndim} with type: Long and size: {list(index.shape)}")
        n = self._size[axis]
        if index.numel() and bool(((index < -n) | (index >= n)).any()):
            raise IndexError(f"index_select(): index contains {int(index.max())} that is out of range for tensor of "
                             f"size {list(self._size)} at dimension {axis}")
        index = index.where(index >= 0, index + n)
        chosen = self._coordinates[axis]
        new, old = (index.reshape(-1, 1) == chosen.reshape(1, -1)).nonzero(as_tuple=True)
        order = (old * max(1, index.numel()) + new).argsort() if self._sorted and axis else None
        if order is not None:
            new, old = new[order], old[order]
        rows = self._coordinates[:, old]
        rows = cat([rows[:axis], new.reshape(1, -1), rows[axis + 1:]])
        size = [*self._size[:axis], index.numel(), *self._size[axis + 1:]]
        return make_coo(rows, self._stored[old], size, self._sorted and axis == 0)

    def narrow(self, dim: int, start: int, length: int) -> CoordinateTensor:
        """The positions start … start + length - 1 of ``dim``."""
        axis, count = dim_index(dim, self.ndim), self.sparse_dim()
        if not 0 <= start <= self._size[axis] - length:
            raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({self._size[axis]}).")
        size = [*self._size[:axis], length, *self._size[axis + 1:]]
        if axis >= count:
            return make_coo(self._coordinates, self._stored.narrow(axis - count + 1, start, length), size, self._sorted)
        at = self._coordinates[axis]
        kept, = ((at >= start) & (at < start + length)).nonzero(as_tuple=True)
        rows = self._coordinates[:, kept]
        rows = cat([rows[:axis], rows[axis:axis + 1] - start, rows[axis + 1:]])
        return make_coo(rows, self._stored[kept], size, self._sorted)

    narrow_copy = narrow

    def select(self, dim: int, index: int) -> Any:
        """The part at ``index`` of ``dim``, without it: dense if it has no sparse dimension left."""
        axis, count = dim_index(dim, self.ndim), self.sparse_dim()
        n = self._size[axis]
        if not -n <= index < n:
            raise IndexError(f"select(): index {index} out of range for tensor of size {list(self._size)} at dimension "
                             f"{axis}")
        index = index + n if index < 0 else index
        size = [*self._size[:axis], *self._size[axis + 1:]]
        if axis >= count:
            return make_coo(self._coordinates, self._stored.select(axis - count + 1, index), size, self._sorted)
        kept, = (self._coordinates[axis] == index).nonzero(as_tuple=True)
        values = self._stored[kept]
        if count == 1:
            return values.sum(0)
        rows = self._coordinates[:, kept]
        return make_coo(cat([rows[:axis], rows[axis + 1:]]), values, size, self._sorted)

    def __getitem__(self, key: Any) -> Any:
        result: Any = self
        for k in key if isinstance(key, tuple) else (key,):
            if isinstance(k, bool) or not isinstance(k, int | Tensor) or (isinstance(k, Tensor) and k.ndim):
                raise unsupported("index.Tensor", self)
            result = result.select(0, int(k)) if isinstance(result, SparseTensor) else result[int(k)]
        return result

    def __iter__(self) -> Any:
        return iter([self.select(0, i) for i in range(len(self))])

    def sparse_mask(self, mask: Any) -> Any:
        """Its elements at the places of another sparse tensor."""
        return self.to_dense().sparse_mask(mask)

    # --- other sizes

    def sparse_resize_(self, size: Sequence[int], sparse_dim: int, dense_dim: int) -> Any:
        """Another size; the places stay. ``RuntimeError`` if one is outside then."""
        if isinstance(size, int):
            raise TypeError("sparse_resize_(): argument 'size' (position 1) must be tuple of ints, not int")
        size = tuple(size)
        if sparse_dim + dense_dim != len(size):
            raise RuntimeError(f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(size)}, "
                               f"sparse_dim = {sparse_dim}, dense_dim = {dense_dim}")
        count = self.sparse_dim()
        if self._nnz():
            if sparse_dim != count:
                raise RuntimeError(f"changing the number of sparse dimensions (from {count} to {sparse_dim}) on a "
                                   "non-empty sparse tensor is not supported.")
            if dense_dim != self.dense_dim():
                raise RuntimeError(f"changing the number of dense dimensions (from {self.dense_dim()} to {dense_dim}) "
                                   "on a non-empty sparse tensor is not supported.")
            if any(n < m for n, m in zip(size[:count], self._size[:count], strict=True)):
                raise RuntimeError("shrinking the size of sparse dimensions (from "
                                   f"{list(self._size[:count])} to {list(size[:count])}) on a non-empty sparse tensor "
                                   "is not supported.")
            self._size = size
            return self
        return self.sparse_resize_and_clear_(size, sparse_dim, dense_dim)

    def sparse_resize_and_clear_(self, size: Sequence[int], sparse_dim: int, dense_dim: int) -> Any:
        """Another size and no places."""
        size = tuple(size)
        rows = self._coordinates.new_zeros((sparse_dim, 0))
        values = self._stored.detach().new_zeros((0, *size[sparse_dim:]))
        return self._take(make_coo(rows, values, size, True))

    def resize_as_(self, other: Any, memory_format: Any = None) -> Any:
        """The size of another sparse tensor."""
        if not isinstance(other, CoordinateTensor):
            raise TypeError("resize_as_(): argument 'the_template' (position 1) must be a sparse COO Tensor, not "
                            f"{type(other).__name__}")
        if self._size == other._size:
            return self
        return self.sparse_resize_(other._size, other.sparse_dim(), other.dense_dim())

    def zero_(self) -> Any:
        """No places any more; returns self."""
        return self.sparse_resize_and_clear_(self._size, self.sparse_dim(), self.dense_dim())

    def copy_(self, src: Any, non_blocking: bool = False) -> Any:
        """Take the places and values of another sparse tensor."""
        if not isinstance(src, CoordinateTensor):
            require_tensor(src, "copy_", "src", 1)
            raise RuntimeError("copy_() between dense and sparse Tensors is not implemented! Found self type = "
                               f"torch.sparse.FloatTensor and src type = {src.type()}")
        other = make_coo(src._coordinates.clone(), src._stored.to(self.dtype).clone(), src._size, src._sorted)
        return self._take(other)

    # --- of each element

    neg = __neg__ = _on_values("neg", True)
    positive = __pos__ = _on_values("positive", True)
    abs = __abs__ = absolute = _on_values("abs")
    sqrt, square = _on_values("sqrt"), _on_values("square")
    sin, tan, asin, atan = _on_values("sin"), _on_values("tan"), _on_values("asin"), _on_values("atan")
    sinh, tanh, asinh, atanh = _on_values("sinh"), _on_values("tanh"), _on_values("asinh"), _on_values("atanh")
    arcsin, arctan, arcsinh, arctanh = asin, atan, asinh, atanh
    expm1, log1p, erf, erfinv = _on_values("expm1"), _on_values("log1p"), _on_values("erf"), _on_values("erfinv")
    relu, sign, sgn = _on_values("relu"), _on_values("sign"), _on_values("sgn")
    floor, ceil, round, trunc = _on_values("floor"), _on_values("ceil"), _on_values("round"), _on_values("trunc")
    frac, deg2rad, rad2deg = _on_values("frac"), _on_values("deg2rad"), _on_values("rad2deg")
    isnan, isinf, isposinf, isneginf = (_on_values("isnan"), _on_values("isinf"), _on_values("isposinf"),
                                        _on_values("isneginf"))
    signbit, nan_to_num = _on_values("signbit"), _on_values("nan_to_num")
    float, double, half = _on_values("float", True), _on_values("double", True), _on_values("half", True)
    bfloat16, long, int = _on_values("bfloat16", True), _on_values("long", True), _on_values("int", True)
    short, char, byte, bool = (_on_values("short", True), _on_values("char", True), _on_values("byte", True),
                               _on_values("bool"))
    neg_, abs_, sqrt_, sin_ = _in_place("neg"), _in_place("abs"), _in_place("sqrt"), _in_place("sin")
    square_, tanh_, relu_, log1p_ = _in_place("square"), _in_place("tanh"), _in_place("relu"), _in_place("log1p")
    floor_, ceil_, round_, trunc_ = _in_place("floor"), _in_place("ceil"), _in_place("round"), _in_place("trunc")
    expm1_, sign_, asin_, atan_ = _in_place("expm1"), _in_place("sign"), _in_place("asin"), _in_place("atan")


def from_dense(x: Tensor, sparse_dim: int | None = None) -> CoordinateTensor:
    """The elements, or rows over the trailing dimensions, that are not 0."""
    count = x.ndim if sparse_dim is None else sparse_dim
    if not 0 <= count <= x.ndim or (count == 0 and x.ndim):
        raise RuntimeError(f"sparse_dim argument must be in >0 range when self dims is {x.ndim}" if count <= 0 else
                           f"sparse_dim argument must be in <={x.ndim} range when self dims is {x.ndim}")
    if not x.ndim:
        there = arange(1)[:int(x.detach() != 0)]
        return make_coo(there.new_zeros((0, there.shape[0])), recorded(x.reshape(1)[:there.shape[0]], TO_SPARSE), (),
                        True)
    kept = x.detach() != 0
    if count < x.ndim:
        kept = kept.flatten(count).any(count)
    found = kept.nonzero()
    values = x[tuple(found.unbind(1))] if found.shape[0] else x.new_zeros((0, *x.shape[count:]))
    return make_coo(found.t().contiguous(), recorded(values, TO_SPARSE), x.shape, True)


TO_SPARSE = Function("to_sparse", lambda x: x, "ToSparseBackward0")
