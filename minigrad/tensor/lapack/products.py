"""Stage: front. In: vectors, matrices, lists of matrices. Out: products of several, powers of a vector, an
approximation of low rank, a few eigenvalues of a large matrix.
Next: ``lobpcg.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minigrad.tensor.definition import FUNCTIONS
from minigrad.tensor.function import tensor_function
from minigrad.tensor.joining import cat
from minigrad.tensor.operands import broadcast_shapes, dim_index
from minigrad.tensor.promotion import type_name

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Σ conj(x) y over ``dim``, for floating or complex x and y of one dtype and of shapes that can be broadcast: their
    common shape without ``dim``.

    ``RuntimeError`` for integers and different dtypes. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.vecdot.html

    >>> import minigrad
    >>> minigrad.linalg.vecdot(minigrad.tensor([1.0, 2.0]), minigrad.tensor([3.0, 4.0]))
    tensor(11.)
    """
    if x.dtype.kind not in "fc":
        raise RuntimeError("linalg.vecdot: Expected a floating point or complex tensor as input. Got "
                           f"{type_name(x.dtype)}")
    if x.ndim == 1 and y.ndim == 1:
        return x.vdot(y)
    if x.dtype is not y.dtype and x.dtype.kind == y.dtype.kind:
        raise RuntimeError(f"linalg.vecdot: Expected vectors of same dtype, but found {x.dtype} and {y.dtype}")
    if not x.ndim and not y.ndim:
        return x.conj() * y
    x, y = x.movedim(dim, -1), y.movedim(dim, -1)
    if x.shape[-1] != y.shape[-1] and 1 in (x.shape[-1], y.shape[-1]):
        x, y = [t.expand(*t.shape[:-1], max(x.shape[-1], y.shape[-1])) for t in (x, y)]
    return (x.conj().unsqueeze(-2) @ y.unsqueeze(-1)).squeeze(-1).squeeze(-1)


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The vector product (a₂b₃ - a₃b₂, a₃b₁ - a₁b₃, a₁b₂ - a₂b₁) along a dimension of size 3 of two Tensors of one
    dtype; the other dimensions are broadcast.

    ``RuntimeError`` for other sizes of ``dim``, different numbers of dimensions and different dtypes. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.cross.html

    >>> import minigrad
    >>> minigrad.linalg.cross(minigrad.tensor([1.0, 0.0, 0.0]), minigrad.tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    if input.ndim != other.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    at = dim_index(dim, input.ndim)
    if input.shape[at] != 3 or other.shape[at] != 3:
        raise RuntimeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.shape[at]} and "
                           f"{other.shape[at]}")
    shape = broadcast_shapes(tuple(input.shape), tuple(other.shape))
    if input.dtype is not other.dtype:
        raise RuntimeError(f"expected scalar type {type_name(input.dtype)} but found {type_name(other.dtype)}")
    return _CROSS((input, other), (shape, at))


def _cross(a: Tensor, b: Tensor, shape: tuple[int, ...], at: int) -> Tensor:
    a, b = a.expand(shape), b.expand(shape)
    return a.roll(-1, at) * b.roll(-2, at) - a.roll(-2, at) * b.roll(-1, at)


_CROSS = tensor_function("cross", "LinalgCrossBackward0", _cross)


def vander(x: Tensor, N: int | None = None) -> Tensor:
    """The powers 0 … N - 1 of each element of x, (*, n), integers, float32, float64, complex64 or
    complex128: (*, n, N); N is n by default.

    ``RuntimeError`` for N below 2 and other dtypes. Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.vander.html

    >>> import minigrad
    >>> minigrad.linalg.vander(minigrad.tensor([2, 3]), 3)
    tensor([[1, 2, 4],
            [1, 3, 9]])
    """
    if x.dtype.kind == "b" or (x.dtype.kind == "f" and x.dtype.size < 4):
        raise RuntimeError("linalg.vander supports floating point, complex, and integer tensors, but got "
                           f"{type_name(x.dtype)}")
    x = x.unsqueeze(0) if x.ndim == 0 else x
    size = x.shape[-1] if N is None else N
    if size <= 1:
        raise RuntimeError("N must be greater than 1.")
    if size == 2:
        rest = x.unsqueeze(-1)
    else:
        rest = x.unsqueeze(-1).expand(*x.shape, size - 1).cumprod(-1)
    ones = x.new_ones((*x.shape, 1)).to(rest.dtype)
    return cat([ones, rest], -1)


# --- chains of products


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of several matrices of one dtype in the order that takes the fewest multiplications; the first and
    the last may be vectors, whose dimension the result does not have.

    ``RuntimeError`` for fewer than two, for shapes that cannot be multiplied, and for different dtypes. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.multi_dot.html

    >>> import minigrad
    >>> minigrad.linalg.multi_dot([minigrad.ones(2, 3), minigrad.ones(3, 1), minigrad.ones(1, 2)])
    tensor([[3., 3.],
            [3., 3.]])
    """
    count = len(tensors)
    if count < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {count}")
    ends = _check_chain(tensors)
    chain = list(tensors)
    if chain[0].ndim == 1:
        chain[0] = chain[0].unsqueeze(0)
    if chain[-1].ndim == 1:
        chain[-1] = chain[-1].unsqueeze(-1)
    for i in range(1, count):
        a, b = chain[i - 1].shape, chain[i].shape
        if a[1] != b[0]:
            raise RuntimeError(f"multi_dot(): tensors {i - 1} and {i} with shapes [{a[0]}, {a[1]}] and [{b[0]}, "
                               f"{b[1]}] cannot be multiplied")
    return _product(chain, _splits([t.shape[0] for t in chain] + [chain[-1].shape[1]]), 0, count - 1).reshape(ends)


def _check_chain(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    first, last = tensors[0], tensors[-1]
    for i, t in ((0, first), (len(tensors) - 1, last)):
        if t.ndim not in (1, 2):
            which = "first" if i == 0 else "last"
            raise RuntimeError(f"multi_dot(): the {which} tensor must be 1D or 2D but got {t.ndim}D")
    for i, t in enumerate(tensors):
        if 0 < i < len(tensors) - 1 and t.ndim != 2:
            raise RuntimeError(f"multi_dot(): tensor {i} must be 2D but got {t.ndim}D")
        if t.dtype is not first.dtype:
            raise RuntimeError(f"multi_dot(): all tensors must have be the same dtype but tensor 0 is {first.dtype} "
                               f"and tensor {i} {t.dtype}")
    return (*([first.shape[0]] if first.ndim == 2 else []), *([last.shape[1]] if last.ndim == 2 else []))


def _splits(sizes: Sequence[int]) -> dict[tuple[int, int], int]:
    """Where to split the product of matrices i … j: the classical dynamic program over all i and j.
    (T. Cormen et al.: Introduction to Algorithms, 14.2)"""
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    split = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            cost[i, j], split[i, j] = min([
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)])
    return split


def _product(chain: Sequence[Tensor], split: dict[tuple[int, int], int], i: int, j: int) -> Tensor:
    if i == j:
        return chain[i]
    k = split[i, j]
    return _product(chain, split, i, k) @ _product(chain, split, k + 1, j)


# --- low rank


def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2,
                M: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """``(U, S, V)`` of about rank q: A is projected on the range of A (AᴴA)^niter times random vectors; with ``M`` that
    of A - M. (N. Halko, P. Martinsson, J. Tropp 2011, algorithms 4.4 and 5.1)"""
    x = A if M is None else A - M.expand(A.shape)
    rank, rounds = 6 if q is None else q, 2 if niter is None else niter
    tall = x.shape[-2] >= x.shape[-1]
    x = x if tall else x.mH
    found = _normal(x, rank)
    basis = (x @ found).qr()[0]
    for _ in range(rounds):
        basis = (x @ (x.mH @ basis).qr()[0]).qr()[0]
    u, s, v = (basis.mH @ x).svd()
    u = basis @ u
    return (u, s, v) if tall else (v, s, u)


def _normal(x: Tensor, columns: int) -> Tensor:
    """Normal numbers in as many rows as x has columns; both parts of complex ones have half the variance."""
    parts = (2,) if x.dtype.kind == "c" else ()
    found = FUNCTIONS["randn"](x.shape[-1], columns, *parts, dtype=x.dtype.part, device=x.device)
    return FUNCTIONS["view_as_complex"](found * 0.5**0.5) if parts else found


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True,
                niter: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """``svd_lowrank`` of A, by default with the mean of each column taken off: its principal components."""
    m, n = A.shape[-2:]
    rank = min(6, m, n) if q is None else q
    if not 0 <= rank <= min(m, n):
        raise ValueError(f"q(={rank}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, rank, niter)


def tensor_list(arguments: Any) -> list[Tensor]:
    """The tensors of a call ``f(a, b, c)`` or ``f([a, b, c])``."""
    given = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], list | tuple) else arguments
    return list(given)
