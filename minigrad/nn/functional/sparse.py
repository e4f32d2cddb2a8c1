"""Stage: front. In: a table of vectors and indices into it. Out: rows of the table, or sums, means and maxima of rows.
Next: ``loss.py``."""

from __future__ import annotations

import warnings

from minigrad.autograd import is_grad_enabled, no_grad
from minigrad.dtype import int64
from minigrad.nn.composites import sparse as formulas
from minigrad.nn.functional.arguments import at_hand, check_indices
from minigrad.tensor import Tensor, check_index_range, type_name
from minigrad.tensor.function import watched
from minigrad.tensor.leaving import stop_trace
from minigrad.tensor.operands import require_real, require_tensor


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
              norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    """weight[input]: rows of a table (V, D) at int64 or int32 indices of any shape, to (..., D).

    The row ``padding_idx`` gets no gradient. ``max_norm`` first scales the rows that are used, in the table itself, to
    a ``norm_type``-norm of at most that. ``scale_grad_by_freq`` divides a row's gradient by how often it is used.
    With ``sparse`` the gradient of a table that is a leaf is a sparse tensor of the rows that were used. ``IndexError``
    for an index out of range.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.embedding.html)

    >>> import minigrad
    >>> embedding(minigrad.tensor([2, 0]), minigrad.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
    tensor([[4., 5.],
            [0., 1.]])
    """
    if padding_idx is not None:
        padding_idx = _padding(padding_idx, weight, "Padding_idx must be within num_embeddings", AssertionError)
    if max_norm is not None:
        _shorten(weight, input, max_norm, norm_type)
    require_tensor(input, "embedding", "indices", 2)
    if weight.ndim != 2:
        raise RuntimeError("'weight' must be 2-D")
    check_indices(input, "embedding")
    check_index_range(input, weight.shape[0], message="index out of range in self")
    return _look_up(weight, input, padding_idx, bool(scale_grad_by_freq), sparse)


def _look_up(weight: Tensor, index: Tensor, padding: int | None, by_frequency: bool, sparse: bool) -> Tensor:
    if not (sparse and weight.is_leaf and weight.requires_grad and is_grad_enabled()):
        return require_real(formulas.EMBEDDING((weight, index), (padding, by_frequency)), "embedding")
    rows = formulas.sparse_embedding(padding, by_frequency)((weight, index), (padding, by_frequency))
    stop_trace("a gradient is sparse")  # afterwards: the call may have begun a trace
    return require_real(rows, "embedding")


def _padding(index: int, weight: Tensor, message: str, error: type[Exception]) -> int:
    size = weight.shape[0]
    if not -size <= index < size:
        raise error(message)
    return index + size if index < 0 else index


def _shorten(weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows that are used, in place and outside autograd."""
    if weight.ndim != 2:
        raise RuntimeError(f"Expected 2-dimensional tensor, but got {weight.ndim}-dimensional tensor for argument #1 "
                           "'self' (while checking arguments for embedding_renorm_)")
    check_indices(index, "embedding_renorm_")
    check_index_range(index, weight.shape[0], message="index out of range in self")
    with no_grad():
        table, flat = weight.detach(), index.reshape(-1)
        rows = formulas.shortened(table, flat, max_norm=float(max_norm), norm_type=float(norm_type))
        table.index_copy_(0, flat, rows)


def embedding_bag(input: Tensor, weight: Tensor, offsets: Tensor | None = None, max_norm: float | None = None,
                  norm_type: float = 2, scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
                  per_sample_weights: Tensor | None = None, include_last_offset: bool = False,
                  padding_idx: int | None = None) -> Tensor:
    """The ``mode`` ("sum", "mean", "max") of rows of a table (V, D): of those at each row of indices (B, L), or at the
    indices (N) from one of ``offsets`` (B) to the next, to (B, D). An empty bag gives 0.

    ``per_sample_weights`` multiply the rows of a sum; ``include_last_offset`` says that the last offset ends the last
    bag; the index ``padding_idx`` does not count. The other options are those of ``embedding``.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.embedding_bag.html)

    >>> import minigrad
    >>> table = minigrad.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    >>> embedding_bag(minigrad.tensor([0, 1, 2]), table, minigrad.tensor([0, 2]))
    tensor([[1., 2.],
            [4., 5.]])
    """
    if weight.dtype is int64 and input.dtype.is_floating_point:
        warnings.warn("Argument order of nn.functional.embedding_bag was changed. Usage `embedding_bag(weight, input, "
                      "...)` is deprecated, and should now be `embedding_bag(input, weight, ...)`.", stacklevel=2)
        weight, input = input, weight
    _check_bag_shapes(input, weight, offsets, per_sample_weights)
    _check_mode(mode, scale_grad_by_freq, sparse)
    if max_norm is not None:
        _shorten(weight, input, max_norm, norm_type)
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError("embedding_bag: per_sample_weights was not None. per_sample_weights is only "
                                  f"supported for mode='sum' (got mode='{mode}'). Please open a feature request on "
                                  "GitHub.")
    check_indices(input, "embedding_bag")
    size = weight.shape[0]
    if padding_idx is not None:
        padding_idx = _padding(padding_idx, weight, "padding_idx must be within the number of embeddings, "
                               f"-{size} through {size - 1}, but got {padding_idx}", RuntimeError)
    if offsets is not None:
        _check_offsets(offsets, input.shape[0])
    if per_sample_weights is not None and per_sample_weights.dtype is not weight.dtype:
        kinds = [f"torch.{type_name(t.dtype)}Tensor" for t in (weight, per_sample_weights)]
        raise RuntimeError("Expected tensor for argument #1 'weight' to have the same type as tensor for argument #1 "
                           f"'per_sample_weights'; but type {kinds[0]} does not equal {kinds[1]} (while checking "
                           "arguments for embedding_bag)")
    values = at_hand(input)
    if values is not None and values.size and (values.min() < 0 or values.max() >= size):
        place = int(((values < 0) | (values >= size)).ravel().argmax())
        raise RuntimeError(f"Index {place} of input takes value {values.ravel()[place]} which is not in the valid "
                           f"range [0, {size})")
    if sparse:
        rows = _look_up(weight, input, padding_idx, bool(scale_grad_by_freq), True)
        return formulas.bags(rows, input, offsets, per_sample_weights, mode=mode, padding=padding_idx,
                             last_offset=bool(include_last_offset))
    found = formulas.embedding_bag(weight, input, offsets, per_sample_weights, mode=mode, padding=padding_idx,
                                   by_frequency=bool(scale_grad_by_freq), last_offset=bool(include_last_offset))
    tracked = per_sample_weights is not None and per_sample_weights.requires_grad
    return watched(found, weight, per_sample_weights) if tracked else found  # backward reads the rows looked up


def _check_bag_shapes(input: Tensor, weight: Tensor, offsets: Tensor | None, factors: Tensor | None) -> None:
    if factors is not None and input.shape != factors.shape:
        raise ValueError(f"embedding_bag: If per_sample_weights ({factors.shape}) is not None, then it must have the "
                         f"same shape as the input ({input.shape})")
    if weight.ndim != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.ndim}")
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError("if input is 2D, then offsets has to be None, as input is treated is a mini-batch of "
                             f"fixed length sequences. However, found offsets of type {type(offsets)}")
    elif input.ndim == 1:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        if offsets.ndim != 1:
            raise ValueError("offsets has to be a 1D Tensor")
    else:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}")


def _check_mode(mode: str, by_frequency: bool, sparse: bool) -> None:
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if mode == "max" and by_frequency:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if mode == "max" and sparse:
        raise ValueError("max mode does not support sparse weights")


def _check_offsets(offsets: Tensor, places: int) -> None:
    check_indices(offsets, "embedding_bag")
    values = at_hand(offsets)
    if values is None or not values.size:
        return
    if values[0] != 0:
        raise RuntimeError("offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from "
                           f"position 0. However, got {values[0]}")
    if values[-1] > places:
        raise RuntimeError(f"offsets[-1] can not be greater than input's length {places} but got offsets[-1] of "
                           f"{values[-1]}")
