"""Stage: front. In: log-probabilities of labels over time, and label sequences. Out: the CTC loss.
Next: ``attention.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.dtype import float32, float64, int64
from minigrad.nn.composites import ctc as formulas
from minigrad.nn.functional.arguments import one_reduction
from minigrad.tensor import Tensor, type_name
from minigrad.tensor import tensor as from_array
from minigrad.tensor.elements import concrete

_CHECKING = " (while checking arguments for ctc_loss_allocate_outputs)"


def ctc_loss(log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0,
             reduction: str = "mean", zero_infinity: bool = False) -> Tensor:
    """-log of the probability that log-probabilities (T, N, C), or (T, C), spell the targets: (N, S), or all behind one
    another in one dimension. Labels may be repeated and ``blank`` may stand between them. (Graves et al. 2006)

    Lengths are Tensors or sequences of integers. ``"mean"`` divides by the target lengths, then averages. An impossible
    target has an infinite loss, or 0 with ``zero_infinity``. The gradient is PyTorch's: that of the scores before the
    log_softmax. ``RuntimeError`` for lengths that do not fit.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.ctc_loss.html)

    >>> import minigrad
    >>> even = minigrad.zeros(2, 1, 2).log_softmax(-1)
    >>> ctc_loss(even, minigrad.tensor([[1]]), (2,), (1,))  # 3 of 4 paths spell it
    tensor(0.2877)
    """
    reduction = one_reduction(None, None, reduction)
    single = log_probs.ndim == 2
    x = log_probs.unsqueeze(1) if single else log_probs
    if x.ndim != 3:
        raise RuntimeError(f"Expected 3-dimensional tensor, but got {max(2, x.ndim)}-dimensional tensor for argument "
                           f"#1 'log_probs'{_CHECKING}")
    if x.dtype not in (float32, float64):
        raise NotImplementedError(f"\"ctc_loss_cpu\" not implemented for '{type_name(x.dtype)}'")
    (times, rows, labels) = x.shape
    inputs, long = _lengths(input_lengths, "input_lengths")
    lengths, wanted = _lengths(target_lengths, "target_lengths")
    if not 0 <= blank < labels:
        raise RuntimeError("blank must be in label range")
    for name, values in (("input_lengths", inputs), ("target_lengths", lengths)):
        if values.size != rows:
            raise RuntimeError(f"{name} must be of size batch_size")
    targets = targets if targets.dtype is int64 else targets.to(int64)
    table = _padded(targets.unsqueeze(0) if single and targets.ndim == 1 else targets, lengths)
    if rows and inputs.max() > times:
        raise RuntimeError(f"Expected input_lengths to have value at most {times}, but got value {inputs.max()}"
                           f"{_CHECKING}")
    loss = formulas.ctc_loss(x, table, long.reshape(-1), wanted.reshape(-1), blank=int(blank), reduction=reduction,
                             zero_infinity=bool(zero_infinity))
    return loss.squeeze(0) if single and reduction == "none" else loss


def _lengths(given: Any, name: str) -> tuple[np.ndarray, Tensor]:
    """Lengths, as an array and as a tensor."""
    if not isinstance(given, Tensor):
        values = np.asarray(list(given), np.int64)
        return values, from_array(values)
    if not given.dtype.is_int:
        raise RuntimeError(f"{name} must be integral")
    return concrete(given, "ctc_loss").reshape(-1), given.to(int64)


def _padded(targets: Tensor, lengths: np.ndarray) -> Tensor:
    """Targets as a table with a row for each sample."""
    if lengths.size and lengths.min() < 0:
        raise RuntimeError(f"Expected target_lengths to have value at least 0, but got value {lengths.min()}"
                           f"{_CHECKING}")
    longest = int(lengths.max()) if lengths.size else 0
    if targets.ndim == 2:
        if targets.shape[0] != lengths.size:
            raise RuntimeError(f"Expected tensor to have size {lengths.size} at dimension 0, but got size "
                               f"{targets.shape[0]} for argument #2 'targets'{_CHECKING}")
        if targets.shape[1] < longest:
            raise RuntimeError(f"Expected tensor to have size at least {longest} at dimension 1, but got size "
                               f"{targets.shape[1]} for argument #2 'targets'{_CHECKING}")
        return targets
    if targets.shape[0] != lengths.sum():
        raise RuntimeError(f"Expected tensor to have size {lengths.sum()} at dimension 0, but got size "
                           f"{targets.shape[0]} for argument #2 'targets'{_CHECKING}")
    places = (np.cumsum(lengths) - lengths)[:, None] + np.arange(longest)
    return targets[from_array(np.minimum(places, max(0, targets.shape[0] - 1)))]
