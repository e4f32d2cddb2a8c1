"""Stage: front. In: vectors and matrices in the dimensions of a tensor. Out: their norms, compiled; those of singular
values by LAPACK.
Next: ``ranks.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minigrad.autograd.node import Ending, kind
from minigrad.dtype import DType, accumulator
from minigrad.tensor.function import tensor_function
from minigrad.tensor.lapack.host import Gradients, is_complex
from minigrad.tensor.lapack.spectra import svdvals
from minigrad.tensor.operands import dim_index, dim_indices, is_number
from minigrad.tensor.promotion import can_cast, type_name

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

# --- of vectors


def _norm(x: Tensor, ord: float, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """The norm along ``dims``, which stay with size 1 or go; half types are computed in float32. That of one number is
    its size, though a power of it may overflow."""
    dtype = x.dtype
    size = x.to(accumulator(dtype)).abs()
    if all([x.shape[d] == 1 for d in dims]):
        result = size
    elif ord == 1:
        result = size.sum(dims, True)
    elif ord == 2:
        result = (size * size).sum(dims, True).sqrt()
    elif math.isinf(ord):
        result = size.amax(dims, True) if ord > 0 else size.amin(dims, True)
    else:
        result = size.pow(ord).sum(dims, True).pow(1.0 / ord)
    return _reduced(result.to(dtype), dims, keepdim)


def _reduced(result: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    return result if keepdim else result.reshape([s for i, s in enumerate(result.shape) if i not in dims])


def _count(x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """The norm of order 0, which is a number of elements."""
    wide = (x != 0).to(accumulator(x.dtype))
    return _reduced((wide.sum(dims, True) if dims else wide).to(x.dtype), dims, keepdim)


def _norm_gradient(inputs: Any, outputs: Any, grads: Any, ord: float, dims: tuple[int, ...],
                   keepdim: bool) -> Gradients:
    """sgn(x) (|x| / norm)^(ord - 1) G; 0 where the norm is 0. Infinite orders share G among the elements that attain
    the norm."""
    kind = inputs[0].dtype
    wide = accumulator(kind)
    kept = [1 if i in dims else s for i, s in enumerate(inputs[0].shape)]
    out = outputs[0].reshape(kept)
    x, norm, g = inputs[0].to(wide), out.to(wide), grads[0].reshape(kept).to(wide)
    if ord == 1:
        return ((x.sign() * g).to(kind),)
    if math.isinf(ord):
        attained = (inputs[0].abs() == out) | (norm.isnan() & x.isnan())
        share = g / attained.to(wide).sum(dims, True)
        return ((x.sign() * attained.to(wide) * share).to(kind),)
    if ord == 2:
        return ((g * (x / norm).masked_fill(norm == 0, 0)).to(kind),)
    size = x * x.sign()  # |x|; but its slope at 0 is 0 times what comes, NaN for an infinite one, as PyTorch's
    if ord < 1:
        power = (x.sign() * size.pow(ord - 1)).masked_fill(x == 0, 0)
        return ((power * g * norm.pow(1 - ord)).to(kind),)
    power = x.sign() * size.pow(ord - 1) if ord < 2 else x * size.pow(ord - 2)
    return ((power * (g / norm.pow(ord - 1)).masked_fill(norm == 0, 0)).to(kind),)


_NORM = tensor_function("linalg_vector_norm", "LinalgVectorNormBackward0", _norm, _norm_gradient)
_COUNT = tensor_function("linalg_vector_norm", "LinalgVectorNormBackward0", _count)
_COUNT.node = kind("LinalgVectorNormBackward0", Ending)  # PyTorch gives no gradient, not one of zeros


def _converted(x: Tensor, dtype: DType | None, name: str) -> Tensor:
    if x.dtype.kind not in "fc":
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {type_name(x.dtype)}")
    if dtype is None:
        return x
    if dtype.kind not in "fc":
        raise RuntimeError(f"{name}: dtype should be floating point or complex, but got {type_name(dtype)}")
    if is_complex(x) != (dtype.kind == "c"):
        kind = "complex" if is_complex(x) else "real"
        raise RuntimeError(f"{name}: dtype should be {kind} for {kind} inputs, but got {type_name(dtype)}")
    if not can_cast(x.dtype, dtype) or dtype.part.size < x.dtype.part.size:
        raise RuntimeError(f"{name}: the dtype of the input ({type_name(x.dtype)}) should be convertible without "
                           f"narrowing to the specified dtype ({type_name(dtype)})")
    return x.to(dtype)


def vector_norm(x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *,
                dtype: DType | None = None) -> Tensor:
    """(Σ |x|^ord)^(1/ord) over ``dim``, all of them by default, real, of any floating or complex ``x``, computed in
    ``dtype`` if one is given. ``ord`` inf is the largest |x|, -inf the smallest, 0 the number of elements that are
    not 0. The slope at 0 is 0.

    ``RuntimeError`` for integers, and for orders below 0 and inf of nothing. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.vector_norm.html

    >>> import minigrad
    >>> minigrad.linalg.vector_norm(minigrad.tensor([3.0, 4.0]))
    tensor(5.)
    """
    name = "linalg.vector_norm"
    x = _converted(x, dtype, name)
    order = float(ord)
    dims = dim_indices(() if dim is None else dim, x.ndim) or tuple(range(x.ndim))
    if order < 0 or order == math.inf:
        _check_identity(x, order, dims, dim, name)
    if is_complex(x):
        x = x.abs()
    if order == 0:
        return _COUNT((x,), (dims, bool(keepdim)))
    return _NORM((x,), (order, dims, bool(keepdim)))


def _check_identity(x: Tensor, order: float, dims: tuple[int, ...], dim: Any, name: str) -> None:
    shown = "inf" if order == math.inf else "-inf" if order == -math.inf else f"{order:g}"
    if dim is None or dim == () or dim == []:
        if x.numel() == 0:
            raise RuntimeError(f"{name} cannot compute the {shown} norm on an empty tensor because the operation does "
                               "not have an identity")
        return
    for d in dims:
        if x.shape[d] == 0:
            raise RuntimeError(f"{name} cannot compute the {shown} norm on the dimension {d} because this dimension is "
                               "empty and the operation does not have an identity")


# --- of matrices


def matrix_norm(A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *,
                dtype: DType | None = None) -> Tensor:
    """A norm of the matrices in two dimensions: ``"fro"`` the root of the sum of squares, ``"nuc"`` the sum of the
    singular values, 2 and -2 the largest and the smallest of them, 1 and -1 the largest and smallest sum of a
    column's |A|, inf and -inf of a row's. A is (*, m, n), floating or complex, the result real, (*), computed in
    ``dtype`` if one is given.

    ``RuntimeError`` for another ``ord``, fewer than two dimensions, and ``dim`` other than two that differ. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.matrix_norm.html

    >>> import minigrad
    >>> minigrad.linalg.matrix_norm(minigrad.tensor([[1.0, -2.0], [0.0, 4.0]]), 1)
    tensor(6.)
    """
    name = "linalg.matrix_norm"
    A = _converted(A, None, name)
    if A.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")
    if isinstance(dim, int) or len(dim) != 2:
        shown = dim if isinstance(dim, int) else " ".join(map(str, dim))
        raise RuntimeError(f"{name}: dim must be a 2-tuple. Got {shown}")
    first, second = [dim_index(d, A.ndim) for d in dim]
    if first == second:
        raise RuntimeError(f"{name}: dims must be different. Got ({first}, {second})")
    if ord not in (("fro", "nuc") if isinstance(ord, str) else (1, -1, 2, -2, math.inf, -math.inf)):
        raise RuntimeError(f"{name}: Order {ord if isinstance(ord, str) else f'{ord:g}'} not supported.")
    if ord == "fro":
        return vector_norm(A, 2, (first, second), keepdim, dtype=dtype)
    A = _converted(A, dtype, name)
    if ord == "nuc" or abs(ord) == 2:
        if A.dtype.size < 4:
            raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {type_name(A.dtype)}")
        sizes = svdvals(A.movedim((first, second), (-2, -1)))
        nothing = ord != "nuc" and ord > 0 and not sizes.shape[-1]
        result = sizes.sum(-1) if ord == "nuc" or nothing else sizes.amax(-1) if ord > 0 else sizes.amin(-1)
    else:
        along, across = (first, second) if abs(ord) == 1 else (second, first)
        sums = vector_norm(A, 1, along, True)
        largest = sums.amax if A.shape[across] else sums.sum  # of nothing it is 0
        result = (largest if ord > 0 else sums.amin)((along, across))
    if not keepdim:
        return result
    for d in sorted((first, second)):
        result = result.unsqueeze(d)
    return result


def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """``vector_norm`` or ``matrix_norm``: of two ``dim``, or of a matrix whose ``ord`` is given, that of matrices; else
    of vectors, by default of order 2 of all elements. A is floating or complex, the result real.

    ``RuntimeError`` for what these refuse, and for an ``ord`` without ``dim`` of a Tensor that is no vector or matrix.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.norm.html

    >>> import minigrad
    >>> minigrad.linalg.norm(minigrad.tensor([[3.0, 0.0], [0.0, 4.0]]), "nuc")
    tensor(7.)
    """
    if isinstance(ord, str):
        if dim is None and A.ndim != 2:
            raise RuntimeError(f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got "
                               f"{A.ndim}D."
                               if A.ndim > 2 else "linalg.matrix_norm: The input tensor A must have at least 2 "
                                                  "dimensions.")
        return matrix_norm(A, ord, (0, 1) if dim is None else dim, keepdim, dtype=dtype)
    if dim is not None and not isinstance(dim, int) and len(dim) not in (1, 2) and ord is not None:
        raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got "
                           f"[{', '.join(map(str, dim))}]")
    if dim is None and ord is not None and A.ndim not in (1, 2):
        raise RuntimeError("linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got "
                           f"{A.ndim}D.")
    two = A.ndim == 2 if dim is None else not isinstance(dim, int) and len(dim) == 2
    if ord is not None and two:
        return matrix_norm(A, ord, (0, 1) if dim is None else dim, keepdim, dtype=dtype)
    return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype)


def old_norm(input: Tensor, p: Any, dim: Any, keepdim: bool, dtype: DType | None) -> Tensor:
    """``torch.norm``: a number is the order of a vector norm, in whatever dimensions; ``"nuc"`` is for matrices."""
    if isinstance(p, str) and (p != "fro" or (isinstance(dim, Sequence) and len(dim) > 2)):
        return matrix_norm(input, p, tuple(range(input.ndim)) if dim is None else dim, keepdim, dtype=dtype)
    if not is_number(p) and p is not None and p != "fro":
        p = p.item()
    return vector_norm(input, 2 if p is None or p == "fro" else p, dim, keepdim, dtype=dtype)
