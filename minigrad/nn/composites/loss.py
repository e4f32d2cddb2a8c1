"""Stage: front. In: predictions and targets. Out: the formulas of losses.
Next: ``clip.py``."""

from __future__ import annotations

from minigrad.nn.composites.precision import wide
from minigrad.tensor import Tensor, arange, composite, minimum, where, zeros_like

# The least normal float32: below it log() counts as PyTorch's clamped -100.
TINY = 1.1754943508222875e-38


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """The losses of all elements put together: ``"mean"``, ``"sum"`` or ``"none"``."""
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss


@composite
def mse_loss(input: Tensor, target: Tensor, weight: Tensor | None, *, reduction: str) -> Tensor:
    """(input - target)^2, reduced; a weighted mean divides by the sum of the weights."""
    difference = input - target
    return _weighted(difference * difference, weight, reduction)


@composite
def l1_loss(input: Tensor, target: Tensor, weight: Tensor | None, *, reduction: str) -> Tensor:
    """|input - target|, reduced; a weighted mean divides by the sum of the weights."""
    return _weighted((input - target).abs(), weight, reduction)


def _weighted(loss: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    if weight is None:
        return reduced(loss, reduction)
    loss = loss * weight
    return loss.sum() / weight.sum() if reduction == "mean" else reduced(loss, reduction)


def _clamped_log(x: Tensor) -> Tensor:
    """log(x), or -100 where x is 0, without an infinite slope there."""
    positive = x > TINY
    return where(positive, where(positive, x, 1.0).log(), -100.0)


@composite
def binary_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None, *, reduction: str) -> Tensor:
    """-(t log p + (1 - t) log(1 - p)) with logarithms of at least -100, times weight, reduced."""
    loss = -(target * _clamped_log(input) + (1 - target) * _clamped_log(1 - input))
    return reduced(loss if weight is None else loss * weight, reduction)


@composite
def binary_cross_entropy_with_logits(input: Tensor, target: Tensor, weight: Tensor | None,
                                     pos_weight: Tensor | None, *, reduction: str) -> Tensor:
    """(1 - t) x - (1 + (pos_weight - 1) t) log sigmoid(x), times weight, reduced; halves are rounded at the end."""
    (input, target, weight, pos_weight), dtype = wide(input, target, weight, pos_weight)
    log_sigmoid = minimum(input, zeros_like(input)) - (1 + (-input.abs()).exp()).log()
    positive = log_sigmoid if pos_weight is None else (1 + (pos_weight - 1) * target) * log_sigmoid
    loss = (1 - target) * input - positive
    return reduced(loss if weight is None else loss * weight, reduction).to(dtype)


def _along(values: Tensor, ndim: int, axis: int) -> Tensor:
    """A vector laid along ``axis`` of an ``ndim``-dimensional space."""
    return values.reshape(tuple(-1 if i == axis else 1 for i in range(ndim)))


@composite
def nll_loss(log_probability: Tensor, target: Tensor, weight: Tensor | None, *, axis: int, ignore_index: int,
             reduction: str, label_smoothing: float, checked: bool) -> Tensor:
    """-weight[t] log p[t]; the mean divides by the sum of the weights of the targets that are not ignored.

    A comparison with the class coordinate picks the class, so that nothing of the size of a one-hot is stored.
    Targets that are not ``checked`` yet are looked up among the classes, which fails for one out of range.
    """
    ndim, classes = log_probability.ndim, log_probability.shape[axis]
    kept = target != ignore_index
    if not checked:
        target = arange(classes, device=log_probability.device)[where(kept, target, 0)]
    chosen = _along(arange(classes, device=log_probability.device), ndim, axis) == target.unsqueeze(axis)
    loss = -where(chosen, log_probability, 0.0).sum(axis)
    class_weight = None if weight is None else _along(weight, ndim, axis)
    if class_weight is None:
        share = kept.to(log_probability.dtype)
    else:
        share = where(kept, where(chosen, class_weight, 0.0).sum(axis), 0.0)
        loss = loss * share
    if label_smoothing > 0:
        every = log_probability if class_weight is None else log_probability * class_weight
        loss = loss * (1 - label_smoothing) - every.sum(axis) * (label_smoothing / classes)
    loss = where(kept, loss, 0.0)
    return loss.sum() / share.sum() if reduction == "mean" else reduced(loss, reduction)


@composite
def soft_nll_loss(log_probability: Tensor, target: Tensor, weight: Tensor | None, *, axis: int, reduction: str,
                  label_smoothing: float) -> Tensor:
    """-sum over classes of weight * t * log p, for a target of probabilities; the mean is over everything else."""
    if label_smoothing > 0:
        target = target * (1 - label_smoothing) + label_smoothing / log_probability.shape[axis]
    loss = log_probability * target
    if weight is not None:
        loss = loss * _along(weight, log_probability.ndim, axis)
    return reduced(-loss.sum(axis), reduction)
