"""Stage: front. In: scores, distances or embeddings, and what they should be. Out: losses that ask for a margin.
Next: ``ctc.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigrad.dtype import bool_, int64
from minigrad.nn.composites import loss as formulas
from minigrad.nn.composites.activation import require_float
from minigrad.nn.functional.arguments import at_hand, check_castable, one_reduction, refuse_gradients
from minigrad.nn.functional.distance import pairwise_distance
from minigrad.tensor import Tensor, check_index_range, type_name
from minigrad.tensor.autocast import operands_of
from minigrad.tensor.operands import BOOL_NEGATION


def margin_ranking_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0,
                        size_average: bool | None = None, reduce: bool | None = None,
                        reduction: str = "mean") -> Tensor:
    """max(0, margin - t (x1 - x2)): t is 1 where x1 should be the larger, -1 where x2 should.

    >>> import minigrad
    >>> margin_ranking_loss(minigrad.tensor([3.0]), minigrad.tensor([1.0]), minigrad.tensor([-1.0]))
    tensor(2.)
    """
    reduction = one_reduction(size_average, reduce, reduction)
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError("margin_ranking_loss : All input tensors should have same dimension but got sizes: "
                           f"input1: {input1.shape}, input2: {input2.shape}, target: {target.shape} ")
    return formulas.margin_ranking_loss(input1, input2, target, reduction=reduction, margin=float(margin))


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, size_average: bool | None = None,
                         reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1.

    >>> import minigrad
    >>> hinge_embedding_loss(minigrad.tensor([0.5, 0.2]), minigrad.tensor([1.0, -1.0]), reduction="none")
    tensor([0.5000, 0.8000])
    """
    reduction = one_reduction(size_average, reduce, reduction)
    return formulas.hinge_embedding_loss(input, target, reduction=reduction, margin=float(margin))


def soft_margin_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
                     reduction: str = "mean") -> Tensor:
    """log(1 + exp(-t x)) for targets 1 and -1.

    The result has the dtype of the input. ``RuntimeError`` where the common dtype of input and target cannot be cast to
    that, and for a target that requires gradients.

    >>> import minigrad
    >>> soft_margin_loss(minigrad.zeros(1), minigrad.ones(1))
    tensor(0.6931)
    """
    reduction = one_reduction(size_average, reduce, reduction)
    refuse_gradients("soft_margin_loss", target=target)
    input, target = operands_of("soft_margin_loss", input, target)
    if input.dtype is bool_:
        raise RuntimeError(BOOL_NEGATION)
    check_castable(input, target, input.dtype)
    if not (input.dtype.is_floating_point or input.dtype.is_complex):
        raise RuntimeError(f"result type Float can't be cast to the desired output type {type_name(input.dtype)}")
    return formulas.soft_margin_loss(input, target, reduction=reduction).to(input.dtype)


def multilabel_soft_margin_loss(input: Tensor, target: Tensor, weight: Tensor | None = None,
                                size_average: bool | None = None, reduce: bool | None = None,
                                reduction: str = "mean") -> Tensor:
    """-(t log sigmoid(x) + (1 - t) log sigmoid(-x)), times weight, averaged over the classes in the last dimension.

    >>> import minigrad
    >>> multilabel_soft_margin_loss(minigrad.zeros(1, 2), minigrad.ones(1, 2))
    tensor(0.6931)
    """
    if size_average is not None or reduce is not None:
        reduction = one_reduction(size_average, reduce, reduction)
    if not input.ndim:
        raise IndexError("Dimension specified as -1 but tensor has no dimensions")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not valid")
    return formulas.multilabel_soft_margin_loss(input, target, weight, reduction=reduction)


def cosine_embedding_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0,
                          size_average: bool | None = None, reduce: bool | None = None,
                          reduction: str = "mean") -> Tensor:
    """1 - cos(x1, x2) where the target is 1, max(0, cos(x1, x2) - margin) where it is -1, for x (N, D) and targets (N),
    or (D) and (). ``RuntimeError`` for other shapes.

    >>> import minigrad
    >>> x = minigrad.tensor([[1.0, 0.0]])
    >>> cosine_embedding_loss(x, x, minigrad.tensor([-1.0]), margin=0.25)
    tensor(0.7500)
    """
    reduction = one_reduction(size_average, reduce, reduction)
    dims = target.ndim
    if dims > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if input1.ndim != dims + 1 or input2.ndim != dims + 1:
        raise RuntimeError(f"{dims}D target tensor expects {dims + 1}D input tensors, but found inputs with sizes "
                           f"{list(input1.shape)} and {list(input2.shape)}.")
    return formulas.cosine_embedding_loss(input1, input2, target, reduction=reduction, margin=float(margin))


# --- of classes


def _check_matrix(input: Tensor) -> None:
    if input.ndim > 2 or (input.ndim and not input.shape[-1]):
        raise RuntimeError("Expected non-empty vector or matrix with optional 0-dim batch size, but got: "
                           f"{list(input.shape)}")


def _check_long(target: Tensor) -> None:
    if target.dtype is not int64:
        raise RuntimeError(f"expected scalar type Long but found {type_name(target.dtype)}")


def multi_margin_loss(input: Tensor, target: Tensor, p: int = 1, margin: float = 1.0, weight: Tensor | None = None,
                      size_average: bool | None = None, reduce: bool | None = None,
                      reduction: str = "mean") -> Tensor:
    """The mean over classes j other than t of weight[t] max(0, margin - x[t] + x[j])^p, for scores (N, C) or (C).

    ``ValueError`` unless p is 1 or 2; ``RuntimeError`` for a target that is no class.

    >>> import minigrad
    >>> multi_margin_loss(minigrad.tensor([[0.1, 0.2, 0.4, 0.8]]), minigrad.tensor([3]))
    tensor(0.3250)
    """
    reduction = one_reduction(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.ndim != 1:
        raise ValueError("weight must be one-dimensional")
    refuse_gradients("multi_margin_loss", weight=weight)
    _check_matrix(input)
    batch = [input.shape[0]] if input.ndim > 1 else [1]
    if target.ndim > 1 or target.numel() != batch[0]:
        raise RuntimeError("multi_margin_loss: target tensor should be 1-D with size equal to the number of input "
                           f"samples (batch size). Expected target size {batch}, but got {list(target.shape)}. Input "
                           f"has shape {list(input.shape)}.")
    classes = input.shape[-1] if input.ndim else 1
    if weight is not None and weight.numel() != classes:
        raise RuntimeError(f"inconsistent weight size, expected {classes} but got {list(weight.shape)}")
    require_float(input, "multi_margin_loss_cpu_kernel")
    _check_long(target)
    if weight is not None and weight.dtype is not input.dtype:
        raise RuntimeError(f"expected scalar type {type_name(input.dtype)} but found {type_name(weight.dtype)}")
    checked = check_index_range(target, classes, message="target out of range", error=RuntimeError)
    return formulas.multi_margin_loss(input if input.ndim else input.reshape(1), target, weight, reduction=reduction,
                                      p=int(p), margin=float(margin), checked=checked)


def multilabel_margin_loss(input: Tensor, target: Tensor, size_average: bool | None = None,
                           reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """The sum over targets t and classes j that are none of max(0, 1 - x[t] + x[j]) / C, for scores (N, C) or (C) and
    targets of the same shape, which end in each row before its first -1. ``RuntimeError`` for a target that is no
    class.

    >>> import minigrad
    >>> multilabel_margin_loss(minigrad.tensor([[0.1, 0.2, 0.4, 0.8]]), minigrad.tensor([[3, 0, -1, 1]]))
    tensor(0.8500)
    """
    reduction = one_reduction(size_average, reduce, reduction)
    _check_matrix(input)
    if target.shape != input.shape:
        raise RuntimeError(f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}")
    require_float(input, "multilabel_margin_loss_forward_out_frame")
    _check_long(target)
    classes = input.shape[-1] if input.ndim else 1
    values = at_hand(target)
    if values is not None and values.size and (values.min() < -1 or values.max() >= classes):
        raise RuntimeError("argument #2 'target' is out of range")
    if not input.ndim:
        input, target = input.reshape(1), target.reshape(1)
    return formulas.multilabel_margin_loss(input, target, reduction=reduction, checked=values is not None)


# --- of three


def triplet_margin_loss(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2,
                        eps: float = 1e-6, swap: bool = False, size_average: bool | None = None,
                        reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """max(0, margin + |anchor - positive| - |anchor - negative|), with ``pairwise_distance(p, eps)``. With ``swap`` the
    distance of positive and negative counts instead of the last one if it is smaller. (Balntas et al. 2016)

    >>> import minigrad
    >>> a, far = minigrad.zeros(1, 2), minigrad.full((1, 2), 0.25)
    >>> triplet_margin_loss(a, a, far, p=1)
    tensor(0.5000)
    """
    reduction = one_reduction(size_average, reduce, reduction)
    return triplet_margin_with_distance_loss(
        *operands_of("triplet_margin_loss", anchor, positive, negative), margin=margin, swap=swap, reduction=reduction,
        distance_function=lambda a, b: pairwise_distance(a, b, p, eps))


def triplet_margin_with_distance_loss(anchor: Tensor, positive: Tensor, negative: Tensor, *,
                                      distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
                                      margin: float = 1.0, swap: bool = False, reduction: str = "mean") -> Tensor:
    """``triplet_margin_loss`` with any distance; by default ``pairwise_distance``.

    >>> import minigrad
    >>> a, far = minigrad.zeros(1, 2), minigrad.full((1, 2), 0.5)
    >>> triplet_margin_with_distance_loss(a, a, far, distance_function=lambda x, y: (x - y).abs().amax(-1))
    tensor(0.5000)
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError("The anchor, positive, and negative tensors are expected to have the same number of "
                           f"dimensions, but got: anchor {anchor.ndim}D, positive {positive.ndim}D, and negative "
                           f"{negative.ndim}D inputs")
    distance: Any = pairwise_distance if distance_function is None else distance_function
    swapped = distance(positive, negative) if swap else None
    return formulas.triplet_loss(distance(anchor, positive), distance(anchor, negative), swapped, reduction=reduction,
                                 margin=float(margin))
