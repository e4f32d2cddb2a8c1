"""Stage: PyTorch-shaped top. In: a Tensor, dimensions and a mask. Out: the reduction of what the mask leaves.
Next: ``filling.py``.

All functions take ``mask``, a Tensor that broadcasts to ``input`` and is False where an element is left out
(IndexError if it has more dimensions than ``input``); ``dim``, one or several dimensions, all if it is None;
``keepdim``; and ``dtype``, that of the result. Source of all: https://docs.pytorch.org/docs/2.13/masked.html
"""

from __future__ import annotations

import minigrad
from minigrad import Tensor
from minigrad.dtype import DType
from minigrad.masked.filling import Dims, broadcast, dimensions, filled, identity


def _wide(input: Tensor, dtype: DType | None) -> DType:
    """The dtype of a sum: int64 for integers and bool, where none is given."""
    if dtype is not None:
        return dtype
    return input.dtype if input.is_floating_point() or input.is_complex() else minigrad.int64


def sum(input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: DType | None = None,
        mask: Tensor | None = None) -> Tensor:
    """∑ of the elements; 0 where all are left out.

    >>> minigrad.masked.sum(minigrad.tensor([[-3, -2, -1], [0, 1, 2]]), 1,
    ...                     mask=minigrad.tensor([[True, False, True], [False, False, False]]))
    tensor([-4,  0])
    """
    at = dimensions(dim, input.ndim)
    return filled(input, mask, 0).sum(at, bool(keepdim), dtype=_wide(input, dtype))


def prod(input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: DType | None = None,
         mask: Tensor | None = None) -> Tensor:
    """∏ of the elements; 1 where all are left out.

    >>> minigrad.masked.prod(minigrad.tensor([2., 3., 4.]), mask=minigrad.tensor([True, False, True]))
    tensor(8.)
    """
    dtype = _wide(input, dtype)
    found = filled(input, mask, 1).to(dtype)
    for d in reversed(dimensions(dim, input.ndim)):
        found = found.prod(d, bool(keepdim))
    return found


def _extreme(name: str, input: Tensor, dim: Dims, keepdim: bool, dtype: DType | None, mask: Tensor | None) -> Tensor:
    number = identity(name, input.dtype) if mask is not None else None
    found = getattr(filled(input, mask, number), name)(dimensions(dim, input.ndim), bool(keepdim))
    return found.to(input.dtype if dtype is None else dtype)


def amax(input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: DType | None = None,
         mask: Tensor | None = None) -> Tensor:
    """The largest element; -∞, or the dtype's least integer, where all are left out.

    >>> minigrad.masked.amax(minigrad.tensor([1., 5., 3.]), mask=minigrad.tensor([True, False, True]))
    tensor(3.)
    """
    return _extreme("amax", input, dim, keepdim, dtype, mask)


def amin(input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: DType | None = None,
         mask: Tensor | None = None) -> Tensor:
    """The least element; ∞, or the dtype's largest integer, where all are left out.

    >>> minigrad.masked.amin(minigrad.tensor([1., 5., 3.]), mask=minigrad.tensor([False, True, True]))
    tensor(3.)
    """
    return _extreme("amin", input, dim, keepdim, dtype, mask)


def _place(name: str, input: Tensor, dim: int | None, keepdim: bool, dtype: DType | None,
           mask: Tensor | None) -> Tensor:
    number = identity(name, input.dtype) if mask is not None else None
    found = getattr(filled(input, mask, number), name)(dim, bool(keepdim))
    return found.to(input.dtype if dtype is None else dtype)


def argmax(input: Tensor, dim: int | None = None, *, keepdim: bool = False, dtype: DType | None = None,
           mask: Tensor | None = None) -> Tensor:
    """The index of the largest element, in the dtype of ``input`` unless ``dtype`` says otherwise.

    >>> minigrad.masked.argmax(minigrad.tensor([1, 5, 3]), mask=minigrad.tensor([True, False, True]))
    tensor(2)
    """
    return _place("argmax", input, dim, keepdim, dtype, mask)


def argmin(input: Tensor, dim: int | None = None, *, keepdim: bool = False, dtype: DType | None = None,
           mask: Tensor | None = None) -> Tensor:
    """The index of the least element, in the dtype of ``input`` unless ``dtype`` says otherwise.

    >>> minigrad.masked.argmin(minigrad.tensor([1, 5, 3]), mask=minigrad.tensor([False, True, True]))
    tensor(2)
    """
    return _place("argmin", input, dim, keepdim, dtype, mask)


def _count(input: Tensor, dim: Dims, keepdim: bool, mask: Tensor | None) -> Tensor:
    """How many elements are left, as int64."""
    every = minigrad.ones(input.shape, dtype=minigrad.bool, device=input.device) if mask is None else (
        broadcast(mask, input))
    return every.sum(dimensions(dim, input.ndim), bool(keepdim))


def mean(input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: DType | None = None,
         mask: Tensor | None = None) -> Tensor:
    """∑ of the elements, divided by their number; NaN where all are left out. ValueError for an integer dtype.

    >>> minigrad.masked.mean(minigrad.tensor([1., 5., 3.]), mask=minigrad.tensor([True, False, True]))
    tensor(2.)
    """
    source, dtype = ("Input", input.dtype) if dtype is None else ("Optional", dtype)
    if not (dtype.is_floating_point or dtype.is_complex):
        raise ValueError(f"mean(): Could not infer output dtype. {source} dtype must be either a floating point or "
                         f"complex dtype. Got: {dtype}")
    total = sum(input, dim, keepdim=keepdim, dtype=dtype, mask=mask)
    return total / _count(input, dim, keepdim, mask)


def median(input: Tensor, dim: int = -1, *, keepdim: bool = False, dtype: DType | None = None,
           mask: Tensor | None = None) -> Tensor:
    """The middle element along ``dim``, the lower one of two; NaN where all are left out, for integers a ValueError.

    >>> minigrad.masked.median(minigrad.tensor([1., 5., 3., 4.]), mask=minigrad.tensor([True, False, True, True]))
    tensor(3.)
    """
    (at,) = dimensions(dim, input.ndim)
    floats = input if input.is_floating_point() else input.to(minigrad.float32)
    found = filled(floats, mask, float("nan")).nanmedian(at, bool(keepdim))[0]
    if input.is_floating_point():
        return found
    if found.isnan().any():
        raise ValueError("masked median expects no fully masked out rows if dtype is not floating point")
    return found.to(input.dtype if dtype is None else dtype)


def norm(input: Tensor, ord: float | None = 2.0, dim: Dims = None, *, keepdim: bool = False,
         dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """(∑ |x|^ord)^(1/ord) of the elements.

    >>> minigrad.masked.norm(minigrad.tensor([3., 7., 4.]), 2.0, mask=minigrad.tensor([True, False, True]))
    tensor(5.)
    """
    number = float("inf") if ord == float("-inf") else 0
    found = filled(input, mask, number)
    return minigrad.linalg.vector_norm(found, 2.0 if ord is None else ord, dimensions(dim, input.ndim), bool(keepdim),
                                       dtype=input.dtype if dtype is None else dtype)


def logsumexp(input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: DType | None = None,
              mask: Tensor | None = None) -> Tensor:
    """log ∑ exp(x) of the elements; -∞ where all are left out.

    >>> minigrad.masked.logsumexp(minigrad.tensor([0., 9., 0.]), mask=minigrad.tensor([True, False, True]))
    tensor(0.6931)
    """
    number = identity("logsumexp", input.dtype) if mask is not None else None
    found = minigrad.logsumexp(filled(input, mask, number), dimensions(dim, input.ndim), keepdim)
    return found.to(input.dtype if dtype is None else dtype)


def logaddexp(input: Tensor, other: Tensor, *, dtype: DType | None = None, input_mask: Tensor | None = None,
              other_mask: Tensor | None = None) -> Tensor:
    """log(exp(input) + exp(other)), where -∞ takes the place of what is left out.

    >>> minigrad.masked.logaddexp(minigrad.tensor([1.]), minigrad.tensor([9.]), other_mask=minigrad.tensor([False]))
    tensor([1.])
    """
    a = filled(input, input_mask, float("-inf"))
    b = filled(other, other_mask, float("-inf"))
    return minigrad.logaddexp(a, b).to(input.dtype if dtype is None else dtype)


def _spread(input: Tensor, dim: Dims, unbiased: bool | None, correction: float | None, keepdim: bool,
            dtype: DType | None, mask: Tensor | None, name: str) -> tuple[Tensor, DType]:
    if unbiased is not None and correction is not None:
        raise RuntimeError("Only one argument between 'unbiased' and 'correction' can be specified")
    dtype = input.dtype if dtype is None else dtype
    if not (dtype.is_floating_point or dtype.is_complex):
        dtype = minigrad.float32
    computed = dtype
    less = correction if correction is not None else (0.0 if unbiased is False else 1.0)
    count = _count(input, dim, True, mask)
    centred = input - sum(input, dim, keepdim=True, dtype=computed, mask=mask) / count
    squares = centred * centred.conj() if computed.is_complex else centred * centred
    total = sum(squares, dim, keepdim=keepdim, dtype=computed, mask=mask)
    if not keepdim:
        count = count.reshape(total.shape)
    return (total / (count - less).clamp(min=0)).to(computed), dtype


def var(input: Tensor, dim: Dims = None, unbiased: bool | None = None, *, correction: float | None = None,
        keepdim: bool = False, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """∑ (x - mean)² / (n - correction) over the n elements; the correction is 1 unless ``unbiased`` is False.

    >>> minigrad.masked.var(minigrad.tensor([1., 9., 3.]), mask=minigrad.tensor([True, False, True]))
    tensor(2.)
    """
    found, dtype = _spread(input, dim, unbiased, correction, keepdim, dtype, mask, "var")
    return found.to(dtype)


def std(input: Tensor, dim: Dims = None, unbiased: bool | None = None, *, correction: float | None = None,
        keepdim: bool = False, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """The square root of ``var``.

    >>> minigrad.masked.std(minigrad.tensor([1., 9., 3.]), mask=minigrad.tensor([True, False, True]))
    tensor(1.4142)
    """
    found, dtype = _spread(input, dim, unbiased, correction, keepdim, dtype, mask, "std")
    return found.sqrt().to(dtype)
