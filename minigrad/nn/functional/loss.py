"""Stage: front. In: predictions and targets of the same shape. Out: losses.
Next: ``classes.py``."""

from __future__ import annotations

import warnings
from typing import Any

from minigrad.dtype import bool_
from minigrad.nn.composites import loss as formulas
from minigrad.nn.composites.activation import require_float
from minigrad.nn.functional.arguments import at_hand, check_castable, one_reduction, refuse_gradients
from minigrad.tensor import Tensor, ones_like, type_name
from minigrad.tensor.autocast import operands_of
from minigrad.tensor.operands import broadcast_shapes, require_tensor


def _checked(input: Tensor, target: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Input and target. They are broadcast before their dtypes are combined: one without dimensions counts in full."""
    if target.shape != input.shape:
        warnings.warn(f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). "
                      "This will likely lead to incorrect results due to broadcasting. "
                      "Please ensure they have the same size.", stacklevel=4)
        broadcast_shapes(input.shape, target.shape)
        input, target = [x if x.ndim else x.reshape(1) for x in (input, target)]
    if weight is not None and weight.shape != input.shape:
        raise ValueError("Weights and input must have the same size.")
    return input, target


def _distance(formula: Any, input: Tensor, target: Tensor, weight: Tensor | None, reduction: str,
              **static: Any) -> Tensor:
    input, target = _checked(input, target, weight)
    if weight is None:
        return formula(input, target, reduction=reduction, **static)
    return formulas.weighted(formula, input, target, weight, reduction=reduction, **static)


def mse_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
             reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """(input - target)^2 averaged, summed or (``"none"``) as it is. Different shapes warn and broadcast.

    >>> import minigrad
    >>> mse_loss(minigrad.tensor([1.0, 2.0]), minigrad.tensor([1.0, 4.0]))
    tensor(2.)
    """
    return _distance(formulas.mse_loss, input, target, weight, one_reduction(size_average, reduce, reduction))


def l1_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
            reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """|input - target| averaged, summed or (``"none"``) as it is. Different shapes warn and broadcast.

    >>> import minigrad
    >>> l1_loss(minigrad.tensor([1.0, 2.0]), minigrad.tensor([1.0, 4.0]))
    tensor(1.)
    """
    return _distance(formulas.l1_loss, input, target, weight, one_reduction(size_average, reduce, reduction))


def smooth_l1_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
                   reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """d^2 / (2 beta) where d = |input - target| is below beta, else d - beta / 2. (Girshick 2015)

    ``RuntimeError`` for a negative beta; with beta 0 it is ``l1_loss``.

    >>> import minigrad
    >>> smooth_l1_loss(minigrad.tensor([1.0, 3.0]), minigrad.zeros(2), reduction="none")
    tensor([0.5000, 2.5000])
    """
    reduction = one_reduction(size_average, reduce, reduction)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return _distance(formulas.l1_loss, input, target, None, reduction)
    return _distance(formulas.smooth_l1_loss, input, target, None, reduction, beta=float(beta))


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0,
               weight: Tensor | None = None) -> Tensor:
    """d^2 / 2 where d = |input - target| is at most delta, else delta (d - delta / 2). (Huber 1964)

    The result has the dtype of the input. ``RuntimeError`` where the common dtype of input and target cannot be cast to
    that, and unless delta is positive. The mean of a weighted loss divides by the number of elements.

    >>> import minigrad
    >>> huber_loss(minigrad.tensor([1.0, 3.0]), minigrad.zeros(2), reduction="none", delta=2.0)
    tensor([0.5000, 4.0000])
    """
    input, target = _checked(input, target, weight)
    if weight is None:
        one_reduction(None, None, reduction)
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    input, target = operands_of("huber_loss", input, target)
    check_castable(input, target, input.dtype)
    each = formulas.huber_loss(input, target, reduction=reduction if weight is None else "none", delta=float(delta))
    each = each.to(input.dtype)
    if weight is None:
        return each
    loss = each * weight
    if reduction == "none":
        return loss
    if reduction not in ("mean", "sum"):
        raise ValueError(f"Invalid reduction mode: {reduction}. Expected one of 'none', 'mean', 'sum'.")
    return loss.mean() if reduction == "mean" else loss.sum()


# --- distributions


def poisson_nll_loss(input: Tensor, target: Tensor, log_input: bool = True, full: bool = False,
                     size_average: bool | None = None, eps: float = 1e-8, reduce: bool | None = None,
                     reduction: str = "mean") -> Tensor:
    """exp(input) - target * input: -log of the probability that a Poisson variable of rate exp(input) is ``target``,
    without log(target!). With ``log_input`` False the rate is the input; ``full`` adds log(target!) by Stirling's
    formula.

    >>> import minigrad
    >>> poisson_nll_loss(minigrad.zeros(1), minigrad.ones(1))
    tensor(1.)
    """
    reduction = one_reduction(size_average, reduce, reduction)
    return formulas.poisson_nll_loss(input, target, reduction=reduction, log_input=bool(log_input), full=bool(full),
                                     eps=float(eps))


def gaussian_nll_loss(input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6,
                      reduction: str = "mean") -> Tensor:
    """(log v + (input - target)^2 / v) / 2 with v = max(var, eps), plus log(2 pi) / 2 if ``full``. (Nix, Weigend 1994)

    ``ValueError`` for a variance of another shape (it may lack the last dimension, or have size 1 in one), or with
    negative elements. A variance that is not computed yet is not looked at: its loss is NaN there.

    >>> import minigrad
    >>> gaussian_nll_loss(minigrad.zeros(1), minigrad.ones(1), 1.0)
    tensor(0.5000)
    """
    var = _variance(input, var)
    if var.shape != input.shape:
        if input.shape[:-1] == var.shape:
            var = var.unsqueeze(-1)
        elif input.ndim != var.ndim or sum(v for i, v in zip(input.shape, var.shape, strict=True) if i != v) != 1:
            raise ValueError("var is of incorrect size")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not valid")
    if not isinstance(eps, int) and not (var.dtype.is_floating_point or var.dtype.is_complex):
        raise RuntimeError(f"result type Float can't be cast to the desired output type {type_name(var.dtype)}")
    return formulas.gaussian_nll_loss(input, target, var, var.detach(), reduction=reduction, full=bool(full),
                                      eps=float(eps))


def _variance(input: Tensor, var: Tensor | float) -> Tensor:
    """The variance as a tensor; ``ValueError`` if it is known to be negative."""
    if isinstance(var, float):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        return var * ones_like(input)
    values = at_hand(require_tensor(var, "any", "input", 1))
    if values is not None and (values < 0).any():
        raise ValueError("var has negative entry/entries")
    return var


def kl_div(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
           reduction: str = "mean", log_target: bool = False) -> Tensor:
    """target * (log target - input), for an input of log-probabilities: the Kullback-Leibler divergence. With
    ``log_target`` the target holds logarithms, too. ``"batchmean"`` divides the sum by the first size.

    ``RuntimeError`` for integers. ``"mean"`` divides by the number of elements, and warns that this is no divergence.

    >>> import minigrad
    >>> kl_div(minigrad.tensor([-1.0]), minigrad.ones(1), reduction="sum")
    tensor(1.)
    """
    batch = False
    if size_average is not None or reduce is not None:
        kind = one_reduction(size_average, reduce, reduction)
    else:
        if reduction == "mean":
            warnings.warn("reduction: 'mean' divides the total loss by both the batch size and the support size."
                          "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
                          "'mean' will be changed to behave the same as 'batchmean' in the next major release.",
                          stacklevel=2)
        batch = reduction == "batchmean"
        kind = "sum" if batch else one_reduction(None, None, reduction)
    loss = divergence(input, target, kind, log_target)
    return loss / input.shape[0] if batch and input.ndim else loss


def divergence(input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """``kl_div``, without a warning about the mean."""
    if not (input.dtype.is_floating_point and target.dtype.is_floating_point):
        raise RuntimeError("kl_div: Integral inputs not supported.")
    return (formulas.kl_div_of_logs if log_target else formulas.kl_div)(input, target, reduction=reduction)


# --- two classes


def binary_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None,
                         size_average: bool | None = None, reduce: bool | None = None,
                         reduction: str = "mean") -> Tensor:
    """-(t log p + (1 - t) log(1 - p)) of probabilities p, logarithms clamped at -100.

    At p exactly 0 or 1 the slope is 0. ``ValueError`` when the shapes differ, ``RuntimeError`` for a weight that
    requires gradients, and for numbers that are no probabilities, unless they are computed later.

    >>> import minigrad
    >>> binary_cross_entropy(minigrad.tensor([0.5]), minigrad.tensor([1.0]))
    tensor(0.6931)
    """
    reduction = one_reduction(size_average, reduce, reduction)
    if target.shape != input.shape:
        raise ValueError(f"Using a target size ({target.shape}) that is different to the input size "
                         f"({input.shape}) is deprecated. Please ensure they have the same size.")
    refuse_gradients("binary_cross_entropy", weight=weight)
    input, target, weight = operands_of("binary_cross_entropy", input, target, weight)
    if target.dtype != input.dtype:
        raise RuntimeError(f"Found dtype {type_name(target.dtype)} but expected {type_name(input.dtype)}")
    require_float(input, "binary_cross_entropy")
    values = at_hand(input)
    if values is not None and not ((values >= 0) & (values <= 1)).all():
        raise RuntimeError("all elements of input should be between 0 and 1")
    return formulas.binary_cross_entropy(input, target, weight, reduction=reduction).to(input.dtype)


def binary_cross_entropy_with_logits(input: Tensor, target: Tensor, weight: Tensor | None = None,
                                     size_average: bool | None = None, reduce: bool | None = None,
                                     reduction: str = "mean", pos_weight: Tensor | None = None) -> Tensor:
    """Binary cross entropy of sigmoid(input); ``pos_weight`` multiplies the part where the target is 1.

    The result has the dtype of the target. ``RuntimeError`` where the common dtype of both cannot be cast to that:
    targets are floating-point numbers. ``RuntimeError`` for weights that require gradients.

    >>> import minigrad
    >>> binary_cross_entropy_with_logits(minigrad.tensor([0.0]), minigrad.tensor([1.0]))
    tensor(0.6931)
    """
    reduction = one_reduction(size_average, reduce, reduction)
    if target.shape != input.shape:
        raise ValueError(f"Target size ({target.shape}) must be the same as input size ({input.shape})")
    refuse_gradients("binary_cross_entropy_with_logits", weight=weight, pos_weight=pos_weight)
    input, target, weight, pos_weight = operands_of("binary_cross_entropy_with_logits", input, target, weight,
                                                    pos_weight)
    require_float(input, "log_sigmoid_cpu")
    if target.dtype is bool_:
        raise RuntimeError("Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
                           "`logical_xor()` operator instead.")
    if target.dtype is not input.dtype:
        check_castable(input, target, target.dtype)
    return formulas.binary_cross_entropy_with_logits(input, target, weight, pos_weight, reduction=reduction).to(
        target.dtype)
