"""Stage: front. In: indices and values, as a program gives them. Out: sparse tensors, and PyTorch's errors for parts
that do not fit together.
Next: ``elementwise.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from minigrad.dtype import bool_, int32, int64
from minigrad.sparse.base import SparseTensor, handles, recorded
from minigrad.sparse.compressed import NAMES, CompressedTensor, blocks_of, make_compressed
from minigrad.sparse.coordinates import OF_PARTS, CoordinateTensor, from_dense, make_coo
from minigrad.tensor import Tensor, tensor, zeros
from minigrad.tensor.definition import also
from minigrad.tensor.layouts import WORDS
from minigrad.tensor.operands import require_real
from minigrad.tensor.promotion import WITH_CLASSES, type_name


class check_sparse_tensor_invariants:
    """Whether the parts of new sparse tensors are checked: ``enable()``, ``disable()`` and ``is_enabled()``, or for a
    ``with`` block, or a decorated function. They are not at first.
    (https://docs.pytorch.org/docs/stable/generated/torch.sparse.check_sparse_tensor_invariants.html)

    >>> import minigrad
    >>> with check_sparse_tensor_invariants():
    ...     minigrad.sparse_coo_tensor([[3]], [1.0], (2,))
    Traceback (most recent call last):
    RuntimeError: size is inconsistent with indices: for dim 0, size is 2 but found index 3
    """

    __module__ = "minigrad.sparse"
    _enabled = False

    def __init__(self, enable: bool = True) -> None:
        self.state = enable
        self.before: bool | None = None

    @staticmethod
    def is_enabled() -> bool:
        """Whether they are checked."""
        return check_sparse_tensor_invariants._enabled

    @staticmethod
    def enable() -> None:
        """Check them."""
        check_sparse_tensor_invariants._enabled = True

    @staticmethod
    def disable() -> None:
        """Don't check them."""
        check_sparse_tensor_invariants._enabled = False

    def __enter__(self) -> None:
        if self.before is not None:
            raise RuntimeError("This context manager instance is already activated. Use a different context manager "
                               "instance for context nesting.")
        self.before = self.is_enabled()
        check_sparse_tensor_invariants._enabled = self.state

    def __exit__(self, *exception: object) -> None:
        assert self.before is not None
        check_sparse_tensor_invariants._enabled, self.before = self.before, None

    def __call__(self, mth: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(mth)
        def checked(*args: Any, **named: Any) -> Any:
            with type(self)(self.state):
                return mth(*args, **named)

        return checked


def _given(data: Any, dtype: Any, device: Any) -> Tensor:
    if isinstance(data, Tensor):
        return data.to(device or data.device, dtype or data.dtype)
    return tensor(data, dtype=dtype, device=device)


def _index(data: Any, device: Any) -> Tensor:
    found = data if isinstance(data, Tensor) else tensor(data, device=device)
    if found.dtype.is_float and found.numel() == 0:
        found = found.to(int64)
    if found.dtype is bool_:
        raise TypeError(f"indices must be an int64 tensor, but got {found.type()}")
    return found.detach().to(device or found.device, int64)


def sparse_coo_tensor(indices: Any = None, values: Any = None, size: Any = None, *, dtype: Any = None,
                      device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
                      check_invariants: bool | None = None, is_coalesced: bool | None = None) -> CoordinateTensor:
    """A tensor of coordinates ``indices`` (a row for each sparse dimension) and ``values``; the size, if not given, is
    the least that fits. With a size alone it is all 0.

    ``RuntimeError`` for parts that do not fit together.
    (https://docs.pytorch.org/docs/stable/generated/torch.sparse_coo_tensor.html)

    >>> import minigrad
    >>> minigrad.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], [3.0, 4.0, 5.0], (2, 3))
    tensor(indices=tensor([[0, 1, 1],
                           [2, 0, 2]]),
           values=tensor([3., 4., 5.]),
           size=(2, 3), nnz=3, layout=minigrad.sparse_coo)
    """
    if values is None:
        size = indices if size is None else size
        rows = zeros((len(size), 0), dtype=int64, device=device)
        made = make_coo(rows, zeros(0, dtype=dtype, device=device), tuple(size), True)
        return made.requires_grad_() if requires_grad else made
    values = _given(values, dtype, device)
    indices = _index(indices, device or values.device)
    if indices.ndim != 2:
        raise RuntimeError(f"indices must be sparse_dim x nnz, but got: {list(indices.shape)}")
    if not values.ndim:
        values = values.reshape(1)
    if indices.shape[1] != values.shape[0]:
        raise RuntimeError("indices and values must have same nnz, but got nnz from indices: "
                           f"{indices.shape[1]}, nnz from values: {values.shape[0]}")
    if size is None:
        size = _least(indices, values)
    size = tuple([int(s) for s in size])
    count, dense = indices.shape[0], values.ndim - 1
    if len(size) != count + dense:
        raise RuntimeError(f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(size)}, "
                           f"sparse_dim = {count}, dense_dim = {dense}")
    if any(n != m for n, m in zip(size[count:], values.shape[1:], strict=True)):
        raise RuntimeError(f"values has incorrect size, expected {[values.shape[0], *size[count:]]}, got "
                           f"{list(values.shape)}")
    if check_sparse_tensor_invariants.is_enabled() if check_invariants is None else check_invariants:
        _check_coordinates(indices, size)
    coalesced = bool(is_coalesced) or (is_coalesced is None and values.shape[0] < 2)
    values = values.detach() if requires_grad else recorded(values, OF_PARTS)
    made = make_coo(indices, values, size, coalesced)
    return made.requires_grad_() if requires_grad else made


def _least(indices: Tensor, values: Tensor) -> tuple[int, ...]:
    if not indices.shape[0]:
        return tuple(values.shape[1:])
    if not indices.shape[1]:
        return (*[0] * indices.shape[0], *values.shape[1:])
    if bool((indices < 0).any()):
        least = indices.amin(1).tolist()
        dim = next(d for d, n in enumerate(least) if n < 0)
        raise RuntimeError(f"found negative index {least[dim]} for dim {dim}")
    return (*[n + 1 for n in indices.amax(1).tolist()], *values.shape[1:])


def _check_coordinates(indices: Tensor, size: Sequence[int]) -> None:
    if not indices.numel():
        return
    for dim, (low, high) in enumerate(zip(indices.amin(1).tolist(), indices.amax(1).tolist(), strict=True)):
        if low < 0:
            raise RuntimeError(f"found negative index {low} for dim {dim}")
        if high >= size[dim]:
            raise RuntimeError(f"size is inconsistent with indices: for dim {dim}, size is {size[dim]} but found index "
                               f"{high}")


# --- compressed rows and columns


def sparse_compressed_tensor(compressed_indices: Any, plain_indices: Any, values: Any, size: Any = None, *,
                             dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
                             requires_grad: bool = False, check_invariants: bool | None = None) -> CompressedTensor:
    """A tensor of a compressed ``layout`` from its parts.
    (https://docs.pytorch.org/docs/stable/generated/torch.sparse_compressed_tensor.html)
    """
    kind = getattr(layout, "name", None)
    if kind not in NAMES:
        raise RuntimeError("expected sparse compressed tensor layout but got "
                           + ("Sparse" if kind == "sparse_coo" else "Strided"))
    values = _given(values, dtype, device)
    compressed, plain = [
        (t if isinstance(t, Tensor) else tensor(t, dtype=int64)).to(device or values.device)
        for t in (compressed_indices, plain_indices)]
    for t in (compressed, plain):
        if t.dtype is not int64 and t.dtype is not int32:
            raise RuntimeError(f"compressed_indices and plain_indices must be int32 or int64, but got {t.dtype}")
    names = ("crow_indices", "col_indices") if kind.endswith("r") else ("ccol_indices", "row_indices")
    block = values.shape[-2:] if kind[-3] == "b" else (1, 1)
    if size is None:
        lines = compressed.shape[-1] - 1
        across = int(plain.max()) + 1 if plain.numel() else 0
        size = (lines * block[0], across * block[1]) if kind.endswith("r") else (across * block[0], lines * block[1])
        size = (*compressed.shape[:-1], *size)
    size = tuple([int(s) for s in size])
    if check_sparse_tensor_invariants.is_enabled() if check_invariants is None else check_invariants:
        _check_compressed(compressed, plain, values, size, kind, names)
    values = values.detach() if requires_grad else recorded(values, _COMPRESSED)
    made = make_compressed(compressed, plain, values, size, kind)
    return made.requires_grad_() if requires_grad else made


_COMPRESSED = type(OF_PARTS)("sparse_compressed_tensor", lambda x: x, "SparseCompressedTensorBackward0")


def _check_compressed(compressed: Tensor, plain: Tensor, values: Tensor, size: Sequence[int], kind: str,
                      names: Sequence[str]) -> None:
    block = values.shape[-2:] if kind[-3] == "b" else (1, 1)
    rows, columns = size[-2] // block[0], size[-1] // block[1]
    lines, across = (rows, columns) if kind.endswith("r") else (columns, rows)
    counted = ("nrows", "ncols") if kind.endswith("r") else ("ncols", "nrows")
    count = plain.shape[-1]
    if values.shape[plain.ndim - 1] != count:
        raise RuntimeError(f"number of dimensions of indices and values must agree: {names[1]} has {count} elements, "
                           f"values {values.shape[plain.ndim - 1]}")
    if compressed.shape[-1] != lines + 1:
        raise RuntimeError(f"{names[0]}.shape[-1] must be equal to the number of "
                           f"{'rows' if kind.endswith('r') else 'columns'} + 1, but got {compressed.shape[-1]}")
    for fails, words in (
            ((compressed[..., 0] != 0).any(), f"`{names[0]}[..., 0] == 0`"),
            ((compressed[..., -1] != count).any(), f"`{names[0]}[..., -1] == nnz`"),
            (((compressed[..., 1:] < compressed[..., :-1]) | (compressed[..., 1:] - compressed[..., :-1] > across)
              ).any(), f"`0 <= {names[0]}[..., 1:] - {names[0]}[..., :-1] <= {counted[1]}`"),
            (((plain < 0) | (plain >= across)).any(), f"`0 <= {names[1]} < {counted[1]}`")):
        if bool(fails):
            raise RuntimeError(f"{words} is not satisfied.")


def _of_layout(kind: str, compressed: str, plain: str) -> Callable[..., CompressedTensor]:
    @also(**{compressed: "compressed_indices", plain: "plain_indices"})
    def make(compressed_indices: Any, plain_indices: Any, values: Any, size: Any = None, **named: Any) -> Any:
        return sparse_compressed_tensor(compressed_indices, plain_indices, values, size, layout=WORDS[kind], **named)

    make.__name__ = make.__qualname__ = f"{kind}_tensor"
    make.__doc__ = f"``sparse_compressed_tensor`` of the layout ``{kind}``."
    return make


sparse_csr_tensor, sparse_csc_tensor = [
    _of_layout(f"sparse_{kind}", *names) for kind, *names in (
        ("csr", "crow_indices", "col_indices"), ("csc", "ccol_indices", "row_indices"))]
sparse_bsr_tensor, sparse_bsc_tensor = [
    _of_layout(f"sparse_{kind}", *names) for kind, *names in (
        ("bsr", "crow_indices", "col_indices"), ("bsc", "ccol_indices", "row_indices"))]


# --- of dense tensors


def to_layout(x: Tensor, sparse_dim: Any = None, layout: Any = None, blocksize: Any = None,
              dense_dim: int | None = None) -> Any:
    """``Tensor.to_sparse``: a dense tensor in a sparse layout.

    >>> import minigrad
    >>> minigrad.tensor([[0.0, 1.0], [2.0, 0.0]]).to_sparse_csr()
    tensor(crow_indices=tensor([0, 1, 2]),
           col_indices=tensor([1, 0]),
           values=tensor([1., 2.]), size=(2, 2), nnz=2, layout=minigrad.sparse_csr)
    """
    kind = "sparse_coo" if layout is None else layout.name
    require_real(x, "_to_sparse" + kind.removeprefix("sparse").removesuffix("_coo"))
    if kind == "sparse_coo":
        return from_dense(x, sparse_dim)
    if kind == "strided":
        return x
    if x.ndim != 2:
        raise NotImplementedError(f"to_sparse(layout={layout!r}) of a tensor of {x.ndim} dimensions: only matrices")
    if kind in ("sparse_bsr", "sparse_bsc"):
        return blocks_of(x, kind, blocksize)
    return from_dense(x).to_sparse(layout=layout)


def masked_by(x: Tensor, mask: Any) -> Any:
    """``Tensor.sparse_mask``: the elements of a dense tensor at the places of a sparse one.

    >>> import minigrad
    >>> mask = minigrad.sparse_coo_tensor([[1]], [1.0], (3,))
    >>> minigrad.tensor([5.0, 6.0, 7.0]).sparse_mask(mask)
    tensor(indices=tensor([[1]]),
           values=tensor([6.]),
           size=(3,), nnz=1, layout=minigrad.sparse_coo)
    """
    if not isinstance(mask, SparseTensor):
        raise RuntimeError("sparse_mask(): expected mask to be sparse")
    if x._shape() != mask._shape():
        raise RuntimeError("sparse_mask(): operands have incompatible sizes; self has size "
                           f"{list(x._shape())} but mask has size {list(mask._shape())}")
    if isinstance(mask, CompressedTensor):
        rows = mask._coo()
        if mask._kind != "sparse_csr":
            return from_pattern(x, rows).to_sparse(layout=mask.layout)
        return mask._with_values(from_pattern(x, rows)._values())
    assert isinstance(mask, CoordinateTensor)
    return from_pattern(x, mask)


def from_pattern(x: Tensor, pattern: CoordinateTensor) -> CoordinateTensor:
    """The elements of a dense tensor at the coordinates of a sparse one."""
    found = x[tuple(pattern._indices().unbind(0))]
    return make_coo(pattern._indices(), found, x._shape(), pattern.is_coalesced())


@handles("sparse_mask")
def _sparse_mask(x: Tensor, mask: Any) -> Any:
    return x.sparse_mask(mask) if isinstance(x, SparseTensor) else masked_by(x, mask)


@handles("zeros_like", "empty_like")
def _zeros_like(input: Any, **named: Any) -> Any:
    if isinstance(input, CompressedTensor):
        rows = input._compressed.new_zeros(input._compressed.shape)
        return make_compressed(rows, input._plain[..., :0], input._stored.detach()[:0], input._size, input._kind)
    made = input.detach().clone()
    if named.get("dtype") is not None:
        made = made.to(named["dtype"])
    return made.zero_()


class _TypeOf(type):
    """``isinstance(x, torch.sparse.FloatTensor)`` asks for the dtype."""

    dtype: Any

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, CoordinateTensor) and x.dtype is cls.dtype

    def __call__(cls, *args: Any, **named: Any) -> Any:
        """From indices, values and perhaps a size; from a size; or empty."""
        if not args or isinstance(args[0], int):
            return sparse_coo_tensor(args or (0,), dtype=cls.dtype)
        if len(args) == 1:
            return sparse_coo_tensor(tuple(args[0]), dtype=cls.dtype)
        indices, values, *size = args
        if values.dtype is not cls.dtype:
            raise TypeError(f"expected {cls.__name__} values, but got {values.type()}")
        return sparse_coo_tensor(indices, values, *size, **named)


TYPES: dict[str, Any] = {name: _TypeOf(name, (), {"dtype": dtype, "__module__": "minigrad.sparse"})
                         for dtype in WITH_CLASSES if (name := f"{type_name(dtype)}Tensor") != "BoolTensor"}
"""PyTorch's old constructors, ``torch.sparse.FloatTensor`` and so on."""
