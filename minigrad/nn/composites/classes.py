"""Stage: front. In: scores of classes, and the classes that are right. Out: the formulas of cross entropy. Of the
forward pass the gradient needs the scores and the log-sum-exp of each row, and nothing else of the scores' size.
Next: ``ctc.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad.autograd.keeps import OWN, Keeps
from minigrad.dtype import accumulator
from minigrad.graph.lazy import LazyBuffer
from minigrad.nn.composites.loss import one_hot, reduced
from minigrad.nn.composites.precision import wide
from minigrad.ops import Op
from minigrad.tensor import Tensor, composite, where
from minigrad.tensor.function import Function

# --- the sum over classes c of q[c] (log sum exp x - x[c])


def _entropy(x: LazyBuffer, q: LazyBuffer, total: LazyBuffer, axis: int) -> tuple[LazyBuffer, ...]:
    """The loss of each row, and its log-sum-exp in two parts, the maximum and the rest, so that no digits are lost
    where the scores are large."""
    peak = x.reduce(Op.MAX, (axis,))
    shifted = x.binary(Op.SUB, peak.expand(x.shape))
    rest = shifted.unary(Op.EXP).reduce(Op.SUM, (axis,)).unary(Op.LOG)
    zero = x.like(0.0)
    chosen = q.binary(Op.EQ, zero).where(zero, q.binary(Op.MUL, shifted)).reduce(Op.SUM, (axis,))
    loss = total.reshape(rest.shape).binary(Op.MUL, rest).binary(Op.SUB, chosen)
    return loss.reshape(total.shape), peak, rest


def _entropy_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                      grads: Sequence[LazyBuffer | None], axis: int) -> tuple[LazyBuffer | None, ...]:
    """With total = sum q and p = softmax x: g (total p - q) for x, and g times log-sum-exp - x for q.

    ``total`` gets the rest of the log-sum-exp, ``q`` its maximum. What reads both parts reads their sum, so that the
    gradients of both are equal: the one of the rest stands for both.
    """
    x, q, total = inputs
    _, peak, rest = outputs
    shifted = x.binary(Op.SUB, peak.expand(x.shape))
    share = shifted.binary(Op.SUB, rest.expand(x.shape)).unary(Op.EXP)
    gx = gq = gt = None
    if grads[0] is not None:
        g = grads[0].reshape(rest.shape)
        wanted = total.reshape(rest.shape).expand(x.shape).binary(Op.MUL, share).binary(Op.SUB, q)
        gx = g.expand(x.shape).binary(Op.MUL, wanted)
        gq = g.expand(x.shape).binary(Op.MUL, shifted.unary(Op.NEG))
        gt = g.binary(Op.MUL, rest).reshape(total.shape)
    if grads[2] is not None:
        more = grads[2].expand(x.shape).binary(Op.MUL, share)
        gx = more if gx is None else gx.binary(Op.ADD, more)
    return gx, gq, gt


_ENTROPY = Function("cross_entropy", _entropy, "CrossEntropyBackward0", _entropy_gradient)


# --- classes


def _along(values: Tensor, ndim: int, axis: int) -> Tensor:
    """A vector laid along ``axis`` of an ``ndim``-dimensional space."""
    return values.reshape(tuple(-1 if i == axis else 1 for i in range(ndim)))


def _class_loss(scores: Tensor, target: Tensor, weight: Tensor | None, *, axis: int, ignore_index: int, reduction: str,
                label_smoothing: float, checked: bool) -> Tensor:
    """-weight[t] log softmax(scores)[t], mixed with the mean of -weight[c] log softmax(scores)[c] over all classes; the
    mean divides by the sum of the weights of the targets that are not ignored."""
    (scores, weight), dtype = wide(scores, weight)
    kept = target != ignore_index
    hot = one_hot(target if checked else where(kept, target, 0), scores.shape[axis], scores, checked, axis)
    each: Any = 1.0
    share, q = kept.to(scores.dtype), hot.to(scores.dtype)
    if weight is not None:
        each = _along(weight, scores.ndim, axis)
        q = where(hot, each, 0.0)
        share = share * q.sum(axis)
    total = share
    if label_smoothing > 0:
        part = label_smoothing / scores.shape[axis]
        q = q * (1 - label_smoothing) + each * part
        spread = label_smoothing if weight is None else weight.sum() * part
        total = share * (1 - label_smoothing) + spread
    loss = where(kept, _ENTROPY((scores, q, total), (axis,)), 0.0)
    return (loss.sum() / share.sum() if reduction == "mean" else reduced(loss, reduction)).to(dtype)


def _soft_loss(scores: Tensor, target: Tensor, weight: Tensor | None, *, axis: int, reduction: str,
               label_smoothing: float) -> Tensor:
    """-sum over classes of weight * t * log softmax(scores), for a target of probabilities; the mean is over everything
    else."""
    (scores, target, weight), dtype = wide(scores, target, weight)
    scores = scores.to(accumulator(dtype))
    q = target.to(scores.dtype)
    if label_smoothing > 0:
        q = q * (1 - label_smoothing) + label_smoothing / scores.shape[axis]
    if weight is not None:
        q = q * _along(weight.to(scores.dtype), scores.ndim, axis)
    return reduced(_ENTROPY((scores, q, q.sum(axis)), (axis,)), reduction).to(dtype)


def _nll(log_probability: Tensor, target: Tensor, weight: Tensor | None, *, axis: int, ignore_index: int,
         reduction: str, checked: bool) -> Tensor:
    """-weight[t] log p[t]; the mean divides by the sum of the weights of the targets that are not ignored.

    A comparison with the class coordinate picks the class, so that nothing of the size of a one-hot is stored.
    """
    (log_probability, weight), dtype = wide(log_probability, weight)
    kept = target != ignore_index
    classes = log_probability.shape[axis]
    hot = one_hot(target if checked else where(kept, target, 0), classes, log_probability, checked, axis)
    loss = -where(hot, log_probability, 0.0).sum(axis)
    share = kept.to(log_probability.dtype)
    if weight is not None:
        share = share * where(hot, _along(weight, log_probability.ndim, axis), 0.0).sum(axis)
        loss = loss * share
    loss = where(kept, loss, 0.0)
    return (loss.sum() / share.sum() if reduction == "mean" else reduced(loss, reduction)).to(dtype)


def _named(function: Any, name: str, keeps: Keeps, *nodes: str) -> dict[str, Any]:
    """The composite of a function under several names for the tape."""
    function.__name__ = name
    return {node: composite(node=node, keeps=keeps)(function) for node in nodes}


_CLASSES = _named(_class_loss, "cross_entropy", ((OWN, 1, 2),), "NllLossBackward0", "NllLoss2DBackward0",
                  "AddBackward0")
_SOFT = _named(_soft_loss, "cross_entropy", ((OWN, 1, 2), (OWN, 2), (OWN, 1)), "DivBackward1", "NegBackward0")
_NLL = _named(_nll, "nll_loss", ((0, 1, 2),), "NllLossBackward0", "NllLoss2DBackward0")


def cross_entropy(scores: Tensor, target: Tensor, weight: Tensor | None, *, label_smoothing: float,
                  **static: Any) -> Tensor:
    """``_class_loss``, under PyTorch's name on the tape."""
    node = "AddBackward0" if label_smoothing > 0 else _node(scores)
    return _CLASSES[node](scores, target, weight, label_smoothing=label_smoothing, **static)


def soft_cross_entropy(scores: Tensor, target: Tensor, weight: Tensor | None, *, reduction: str,
                       **static: Any) -> Tensor:
    """``_soft_loss``, under PyTorch's name on the tape."""
    node = "DivBackward1" if reduction == "mean" else "NegBackward0"
    return _SOFT[node](scores, target, weight, reduction=reduction, **static)


def nll_loss(log_probability: Tensor, target: Tensor, weight: Tensor | None, **static: Any) -> Tensor:
    """``_nll``, under PyTorch's name on the tape."""
    return _NLL[_node(log_probability)](log_probability, target, weight, **static)


def _node(scores: Tensor) -> str:
    return "NllLoss2DBackward0" if scores.ndim > 2 else "NllLossBackward0"
