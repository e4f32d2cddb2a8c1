"""Stage: front. In: pairs of vectors. Out: how far apart they are.
Next: ``sparse.py``."""

from __future__ import annotations

from minigrad.nn.composites import distance as formulas
from minigrad.tensor import Tensor, triu_indices, type_name
from minigrad.tensor.operands import broadcast_shapes, dim_index
from minigrad.tensor.promotion import combined


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last dimension, broadcast.

    >>> import minigrad
    >>> pairwise_distance(minigrad.tensor([[3.0, 0.0]]), minigrad.tensor([[0.0, 4.0]]), eps=0.0)
    tensor([5.])
    """
    if not isinstance(p, int | float):
        raise TypeError(f"pairwise_distance(): argument 'p' must be float, not {type(p).__name__}")
    if p == 0:
        return formulas.count_of_differences(x1, x2, eps=float(eps), keepdim=bool(keepdim))
    return formulas.pairwise_distance(x1, x2, p=float(p), eps=float(eps), keepdim=bool(keepdim))


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along ``dim``, broadcast. ``RuntimeError`` for integers.

    >>> import minigrad
    >>> cosine_similarity(minigrad.tensor([[3.0, 4.0]]), minigrad.tensor([[1.0, 0.0]]))
    tensor([0.6000])
    """
    dtype = combined(x1.dtype, x1.ndim, x2.dtype, x2.ndim)
    if not dtype.is_floating_point:
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {type_name(dtype)}")
    shape = broadcast_shapes(x1.shape, x2.shape)
    axis = dim_index(dim, len(shape))
    x1, x2 = [x.to(dtype) if x.shape == shape else x.to(dtype).expand(shape) for x in (x1, x2)]
    return formulas.cosine_similarity(x1, x2, dim=axis, eps=float(eps))


def _check_kernel(name: str, x: Tensor) -> None:
    """``NotImplementedError`` for the half types."""
    if x.dtype.itemsize < 4 and x.shape[-1]:
        raise NotImplementedError(f"\"{name}\" not implemented for '{type_name(x.dtype)}'")


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norms of the differences of all N (N - 1) / 2 pairs of rows of (N, M), in the order (0, 1), (0, 2) …
    ``NotImplementedError`` for the half types.

    >>> import minigrad
    >>> pdist(minigrad.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]))
    tensor([5.0000, 1.0000, 4.2426])
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if not input.dtype.is_floating_point:
        raise RuntimeError("pdist only supports floating-point dtypes")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    if input.shape[0] < 2:
        return input.new_empty(0)
    _check_kernel("pdist", input)
    first, second = triu_indices(input.shape[0], input.shape[0], 1)
    return formulas.pdist(input, first, second, p=float(p))


_PRODUCT = {"use_mm_for_euclid_dist_if_necessary": None, "use_mm_for_euclid_dist": True,
            "donot_use_mm_for_euclid_dist": False}


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0,
          compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """The p-norms of the differences of every row of x1 (..., P, M) and every row of x2 (..., R, M): (..., P, R).

    For p = 2 and more than 25 rows it is a matrix product, unless ``compute_mode`` says otherwise: faster, and with
    fewer digits for near points. ``NotImplementedError`` for other sums of the half types.

    >>> import minigrad
    >>> cdist(minigrad.zeros(1, 2), minigrad.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[5., 1.]])
    """
    for number, x in ((1, x1), (2, x2)):
        if x.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, X{number} got: {x.ndim}D")
        if not x.dtype.is_floating_point:
            raise RuntimeError(f"cdist only supports floating-point dtypes, X{number} got: {type_name(x.dtype)}")
    if compute_mode not in _PRODUCT:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    if x1.dtype is not x2.dtype:
        raise RuntimeError(f"expected scalar type {type_name(x1.dtype)} but found {type_name(x2.dtype)}")
    broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
    by_product = _PRODUCT[compute_mode]
    if by_product is None:
        by_product = x1.shape[-2] > 25 or x2.shape[-2] > 25
    by_product = by_product and p == 2 and bool(x1.numel() and x2.numel())
    if not by_product and x1.shape[-2] and x2.shape[-2]:
        _check_kernel("cdist", x1)
    return formulas.cdist(x1, x2, p=float(p), by_product=by_product)
