"""Stage: PyTorch-shaped top. In: a Tensor, a dimension and a mask. Out: a Tensor of the same shape, computed from what
the mask leaves.
Next: ``minigrad/signal/``: this is the end of ``minigrad/masked``."""

from __future__ import annotations

from minigrad import Tensor
from minigrad.dtype import DType
from minigrad.masked.filling import dimensions, filled
from minigrad.masked.reductions import norm
from minigrad.nn import functional


def _dtype(input: Tensor, dtype: DType | None) -> DType:
    return input.dtype if dtype is None else dtype


def softmax(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """exp(x) / ∑ exp(x) along ``dim``; 0 where an element is left out.

    >>> import minigrad
    >>> minigrad.masked.softmax(minigrad.tensor([1., 9., 1.]), 0, mask=minigrad.tensor([True, False, True]))
    tensor([0.5000, 0.0000, 0.5000])
    """
    (at,) = dimensions(dim, input.ndim)
    return functional.softmax(filled(input, mask, float("-inf")), at, dtype=_dtype(input, dtype))


def log_softmax(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """x - log ∑ exp(x) along ``dim``; -∞ where an element is left out.

    >>> import minigrad
    >>> minigrad.masked.log_softmax(minigrad.tensor([1., 9., 1.]), 0, mask=minigrad.tensor([True, False, True]))
    tensor([-0.6931,    -inf, -0.6931])
    """
    (at,) = dimensions(dim, input.ndim)
    return functional.log_softmax(filled(input, mask, float("-inf")), at, dtype=_dtype(input, dtype))


def softmin(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """exp(-x) / ∑ exp(-x) along ``dim``; 0 where an element is left out.

    >>> import minigrad
    >>> minigrad.masked.softmin(minigrad.tensor([1., 0., 1.]), 0, mask=minigrad.tensor([True, False, True]))
    tensor([0.5000, 0.0000, 0.5000])
    """
    (at,) = dimensions(dim, input.ndim)
    return functional.softmin(filled(input, mask, float("inf")), at, dtype=_dtype(input, dtype))


def normalize(input: Tensor, ord: float, dim: int, *, eps: float = 1e-12, dtype: DType | None = None,
              mask: Tensor | None = None) -> Tensor:
    """x / max(‖x‖, eps) along ``dim``; 0 where an element is left out.

    >>> import minigrad
    >>> minigrad.masked.normalize(minigrad.tensor([3., 9., 4.]), 2.0, 0, mask=minigrad.tensor([True, False, True]))
    tensor([0.6000, 0.0000, 0.8000])
    """
    (at,) = dimensions(dim, input.ndim)
    length = norm(input, ord, at, keepdim=True, dtype=dtype, mask=mask)
    shown = filled(input, mask, 0)
    return shown.to(_dtype(input, dtype)) / length.maximum(length.new_full((), eps))


def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """The sums of the elements up to each place along ``dim``.

    >>> import minigrad
    >>> minigrad.masked.cumsum(minigrad.tensor([1., 9., 3.]), 0, mask=minigrad.tensor([True, False, True]))
    tensor([1., 1., 4.])
    """
    (at,) = dimensions(dim, input.ndim)
    return filled(input, mask, 0).cumsum(at, dtype=_dtype(input, dtype))


def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """The products of the elements up to each place along ``dim``.

    >>> import minigrad
    >>> minigrad.masked.cumprod(minigrad.tensor([2., 9., 3.]), 0, mask=minigrad.tensor([True, False, True]))
    tensor([2., 2., 6.])
    """
    (at,) = dimensions(dim, input.ndim)
    return filled(input, mask, 1).cumprod(at, dtype=_dtype(input, dtype))
