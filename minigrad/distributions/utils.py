"""Stage: front. In: parameters of distributions: numbers, probabilities, logits. Out: Tensors of one shape and dtype.
Next: ``constraints.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any

from minigrad.autograd import enable_grad
from minigrad.tensor import (
    Size,
    Tensor,
    as_tensor,
    composite,
    empty,
    finfo,
    full,
    get_default_dtype,
    randn,
    tril_indices,
)
from minigrad.tensor.operands import broadcast_shapes, is_number

__all__ = ["broadcast_all", "clamp_probs", "euler_constant", "lazy_property", "logits_to_probs", "probs_to_logits",
           "tril_matrix_to_vec", "vec_to_tril_matrix"]

euler_constant = 0.57721566490153286060



def broadcast_all(*values: Any) -> list[Tensor]:
    """The values as Tensors of one shape. Numbers take dtype and device of the first Tensor, or the default dtype if
    there is none. ``ValueError`` for anything else.

    >>> import minigrad
    >>> broadcast_all(1.0, minigrad.tensor([2.0, 3.0]))
    [tensor([1., 1.]), tensor([2., 3.])]
    """
    if not all(isinstance(v, Tensor) or is_number(v) for v in values):
        raise ValueError("Input arguments must all be instances of Number, torch.Tensor or objects implementing "
                         "__torch_function__.")
    first = next((v for v in values if isinstance(v, Tensor)), None)
    options: dict[str, Any] = {"dtype": get_default_dtype()} if first is None else {
        "dtype": first.dtype, "device": first.device}
    tensors = [v if isinstance(v, Tensor) else as_tensor(v, **options) for v in values]
    shape = broadcast_shapes(*[tuple(t.shape) for t in tensors])
    return [t if tuple(t.shape) == shape else t.expand(shape) for t in tensors]


def all_numbers(*values: Any) -> bool:
    """Whether no Tensor is among the values, so that the batch shape is ()."""
    return all(is_number(v) for v in values)


def standard_normal(shape: Sequence[int], like: Tensor) -> Tensor:
    """Standard normal numbers in the dtype of ``like``."""
    return randn(tuple(shape), dtype=like.dtype, device=like.device)


def uniform(shape: Sequence[int], like: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Numbers uniform in [low, high) in the dtype of ``like``."""
    return empty(tuple(shape), dtype=like.dtype, device=like.device).uniform_(low, high)


def filled(value: float, shape: Sequence[int], like: Tensor) -> Tensor:
    """The value in this shape, in the dtype of ``like``."""
    return full(tuple(shape), value, dtype=like.dtype, device=like.device)


def sum_rightmost(value: Tensor, dims: int) -> Tensor:
    """The sum over the last ``dims`` dimensions."""
    return value.sum(tuple(range(-dims, 0))) if dims else value


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """sigmoid(logits) if binary, else softmax over the last dimension."""
    return logits.sigmoid() if is_binary else logits.softmax(-1)


@composite
def _clamped(probs: Tensor, *, eps: float) -> Tensor:
    return probs.clamp(eps, 1 - eps)


@composite
def _log_odds(probs: Tensor, *, eps: float, is_binary: bool) -> Tensor:
    inside = probs.clamp(eps, 1 - eps)
    return inside.log() - (-inside).log1p() if is_binary else inside.log()


def clamp_probs(probs: Tensor) -> Tensor:
    """The probabilities, kept one step of the dtype away from 0 and 1."""
    return _clamped(probs, eps=finfo(probs.dtype).eps)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """log(p / (1 - p)) if binary, else log(p), of the clamped probabilities."""
    return _log_odds(probs, eps=finfo(probs.dtype).eps, is_binary=is_binary)


class lazy_property:
    """A property that is computed when first asked for, and then kept as an attribute."""

    def __init__(self, wrapped: Callable[[Any], Any]) -> None:
        self.wrapped = wrapped
        update_wrapper(self, wrapped)  # type: ignore[arg-type]

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return _Unbound(self.wrapped)
        with enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


class _Unbound(lazy_property, property):
    """What the class itself gives for a lazy property: documentation tools know it as a property."""

    def __init__(self, wrapped: Callable[[Any], Any]) -> None:
        property.__init__(self, wrapped)


def _triangle(n: int, diag: int) -> tuple[Tensor, Tensor]:
    rows, columns = tril_indices(n, n, diag)
    return rows, columns


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The elements of a square matrix on and below the diagonal ``diag``, row by row.

    >>> import minigrad
    >>> tril_matrix_to_vec(minigrad.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 3., 4.])
    """
    n = mat.shape[-1]
    if diag < -n or diag >= n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    rows, columns = _triangle(n, diag)
    flat = mat.reshape((*mat.shape[:-2], n * n))
    return flat.index_select(-1, rows * n + columns)


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """The square matrix whose elements on and below the diagonal ``diag`` are ``vec``, row by row; 0 elsewhere.

    >>> import minigrad
    >>> vec_to_tril_matrix(minigrad.tensor([1.0, 2.0, 3.0]))
    tensor([[1., 0.],
            [2., 3.]])
    """
    size = vec.shape[-1]
    bend = 1 + 2 * diag
    order = (-bend + (bend**2 + 8 * size + 4 * abs(diag) * (diag + 1)) ** 0.5) / 2
    n = round(order)
    if n - order > finfo(vec.dtype).eps:
        raise ValueError(f"The size of last dimension is {size} which cannot be expressed as the lower triangular part "
                         "of a square D x D matrix.")
    rows, columns = _triangle(n, diag)
    flat = vec.new_zeros((*vec.shape[:-1], n * n)).index_copy(-1, rows * n + columns, vec)
    return flat.reshape((*vec.shape[:-1], n, n))


def as_size(shape: Any) -> Size:
    """A sample shape as a Size."""
    return shape if isinstance(shape, Size) else Size(shape)
