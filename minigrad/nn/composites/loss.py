"""Stage: front. In: predictions and targets. Out: the formulas of losses.
Next: ``classes.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

from minigrad.autograd.keeps import COMPARED, OWN, Keeps
from minigrad.dtype import bool_
from minigrad.nn.composites.precision import wide
from minigrad.tensor import Tensor, arange, composite, minimum, type_name, where
from minigrad.tensor.operands import BOOL_NEGATION, result_dtype


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """The losses of all elements put together: ``"mean"``, ``"sum"`` or ``"none"``."""
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss


Refusals = tuple[tuple[int, str], ...]
"""Numbers of operands whose gradient PyTorch refuses, with its words."""


def losses(node: str, keeps: Keeps | str = "by name", *, fused: bool = False, kernel: str = "",
           compared: int | None = None, refused: Callable[..., Refusals] | None = None,
           ) -> Callable[[Callable[..., Tensor]], Any]:
    """Make of a formula for each element a function with an argument ``reduction``, each of which is one composite.
    Half types are computed in float32 and rounded at the end to the dtype that the formula gives without that. With a
    ``kernel``, integers raise PyTorch's error. The operand ``compared`` is only compared with numbers: it has no
    gradient. ``refused``: which gradients of these operands are refused.

    The entry on the tape is called ``node``, and if PyTorch's loss is not one op (``fused``), the mean and the sum are
    called as it calls those, and ``keeps`` says what its ops read.
    """
    nodes = {"none": node, "mean": node if fused else "MeanBackward0", "sum": node if fused else "SumBackward0"}

    def decorate(formula: Callable[..., Tensor]) -> Any:
        def made(reduction: str) -> Any:
            @wraps(formula)
            def body(*tensors: Tensor, **static: Any) -> Tensor:
                inputs, dtype = wide(*tensors)
                if kernel and not dtype.is_floating_point:
                    raise NotImplementedError(f"\"{kernel}\" not implemented for '{type_name(dtype)}'")
                result = reduced(formula(*inputs, **static), reduction)
                halves = any(t is not wider for t, wider in zip(tensors, inputs, strict=True))
                return result.to(formula(*tensors, **static).dtype) if halves else result

            return composite(node=nodes[reduction], keeps=keeps)(body)

        bodies = {reduction: made(reduction) for reduction in nodes}

        @wraps(formula)
        def loss(*tensors: Tensor, reduction: str, **static: Any) -> Tensor:
            if compared is not None and tensors[compared].requires_grad:
                tensors = (*tensors[:compared], tensors[compared].detach(), *tensors[compared + 1:])
            refusals = refused(*tensors) if refused is not None else ()
            body = bodies[reduction]
            return (body.refusing(refusals) if refusals else body)(*tensors, **static)

        return loss

    return decorate


def loss(node: str, kernel: str = "", refused: Callable[..., Refusals] | None = None,
         ) -> Callable[[Callable[..., Tensor]], Any]:
    """``losses`` of an op that PyTorch has as one: its entry has one name, whatever the reduction."""
    return losses(node, fused=True, kernel=kernel, refused=refused)


# --- distances


def _difference(input: Tensor, target: Tensor) -> Tensor:
    """input - target, both in their common type first, so that one of them may be of bools."""
    dtype = result_dtype((input, target))
    return input.to(dtype) - target.to(dtype)


@loss("MseLossBackward0", "mse_cpu")
def mse_loss(input: Tensor, target: Tensor) -> Tensor:
    """(input - target)^2."""
    difference = _difference(input, target)
    return difference * difference


@losses("AbsBackward0", ((OWN,),) * 2)
def l1_loss(input: Tensor, target: Tensor) -> Tensor:
    """|input - target|."""
    return (input - target).abs()


@composite
def smooth(d: Tensor, *, beta: float) -> Tensor:
    """The smooth L1 loss of a difference."""
    size = d.abs()
    return where(size < beta, 0.5 * size * size / beta, size - 0.5 * beta)


@smooth.gradient  # type: ignore[attr-defined]
def _(outputs: Any, grads: Any, d: Tensor, *, beta: float) -> tuple[Tensor]:
    """-g, g d / beta and g in its three pieces."""
    g = grads[0]
    return (where(d <= -beta, -g, where(d >= beta, g, g * d / beta)),)


@composite
def huber(d: Tensor, *, delta: float) -> Tensor:
    """Huber's loss of a difference."""
    size = d.abs()
    return where(size <= delta, 0.5 * size * size, delta * (size - 0.5 * delta))


@huber.gradient  # type: ignore[attr-defined]
def _(outputs: Any, grads: Any, d: Tensor, *, delta: float) -> tuple[Tensor]:
    g = grads[0]
    return (where(d <= -delta, g * -delta, where(d >= delta, g * delta, g * d)),)


@loss("SmoothL1LossBackward0", "smooth_l1_cpu")
def smooth_l1_loss(input: Tensor, target: Tensor, *, beta: float) -> Tensor:
    """d^2 / (2 beta) where d = |input - target| is below beta, else d - beta / 2."""
    return smooth(_difference(input, target), beta=beta)


def _of_two_types(input: Tensor, target: Tensor) -> Refusals:
    """PyTorch's kernel of the gradient takes operands of one dtype only."""
    own, other = type_name(input.dtype), type_name(target.dtype)
    return () if own == other else ((0, f"Found dtype {other} but expected {own}"),
                                    (1, f"Found dtype {own} but expected {other}"))


@loss("HuberLossBackward0", "huber_cpu", _of_two_types)
def huber_loss(input: Tensor, target: Tensor, *, delta: float) -> Tensor:
    """d^2 / 2 where d = |input - target| is at most delta, else delta (d - delta / 2)."""
    return huber(_difference(input, target), delta=delta)


def weighted(each: Callable[..., Any], input: Tensor, target: Tensor, weight: Tensor, *, reduction: str,
             **static: Any) -> Tensor:
    """The loss of each element times its weight, reduced; the mean divides by the sum of the weights.

    >>> import minigrad
    >>> x, w = minigrad.tensor([1.0, 3.0]), minigrad.tensor([3.0, 1.0])
    >>> weighted(l1_loss, x, minigrad.zeros(2), w, reduction="mean")
    tensor(1.5000)
    """
    return _WEIGHTED[reduction](each(input, target, reduction="none", **static), weight)


def _total(reduction: str) -> Callable[[Tensor, Tensor], Tensor]:
    def weigh(loss: Tensor, weight: Tensor) -> Tensor:
        loss = loss * weight
        return loss.sum() / weight.sum() if reduction == "mean" else reduced(loss, reduction)

    return weigh


_WEIGHTED = {reduction: composite(node=node, keeps=((1, OWN), (0, OWN)))(_total(reduction)) for reduction, node in {
    "mean": "DivBackward0", "sum": "SumBackward0", "none": "MulBackward0"}.items()}


# --- distributions


@losses("SubBackward0", ((1, OWN), (0, 1)))
def poisson_nll_loss(input: Tensor, target: Tensor, *, log_input: bool, full: bool, eps: float) -> Tensor:
    """exp(input) - target * input, or with ``log_input`` False input - target * log(input + eps); ``full`` adds
    Stirling's formula for log(target!) where the target is above 1."""
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        many = target > 1
        t = where(many, target, target.new_full((), 2))
        loss = loss + where(many, t * t.log() - t + 0.5 * (2 * math.pi * t).log(), 0.0).to(loss.dtype)
    return loss


@losses("MulBackward0", ((OWN,),) * 3)
def gaussian_nll_loss(input: Tensor, target: Tensor, var: Tensor, fixed: Tensor, *, full: bool, eps: float) -> Tensor:
    """(log v + (input - target)^2 / v) / 2 with v = max(var, eps), plus log(2 pi) / 2 if ``full``. ``fixed`` is var
    without its history: the bound changes the value, and lets the gradient through."""
    v = where(fixed < eps, var - fixed + eps, var)
    difference = input - target
    loss = 0.5 * (v.log() + difference * difference / v)
    return loss + 0.5 * math.log(2 * math.pi) if full else loss


@losses("SubBackward0", ((1,), (0, 1)))
def kl_div(input: Tensor, target: Tensor) -> Tensor:
    """target * (log target - input), 0 log 0 being 0."""
    return target.xlogy(target) - target * input


@losses("MulBackward0", ((OWN,),) * 2)
def kl_div_of_logs(input: Tensor, target: Tensor) -> Tensor:
    """exp(target) * (target - input)."""
    return target.exp() * (target - input)


# --- two classes


@composite
def probability_loss(p: Tensor, t: Tensor) -> Tensor:
    """-(t log p + (1 - t) log(1 - p)) with logarithms of at least -100."""
    return -(t * p.log().clamp(min=-100.0) + (1 - t) * (-p).log1p().clamp(min=-100.0))


@probability_loss.gradient  # type: ignore[attr-defined]
def _(outputs: Any, grads: Any, p: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """By p (p - t) / (p (1 - p)), the divisor at least 1e-12; by t log(1 - p) - log p."""
    g = grads[0]
    return g * (p - t) / ((1 - p) * p).clamp(min=1e-12), g * ((1 - p).log() - p.log())


@loss("BinaryCrossEntropyBackward0", "binary_cross_entropy")
def binary_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """-(t log p + (1 - t) log(1 - p)) with logarithms of at least -100, times weight."""
    loss = probability_loss(input, target)
    return loss if weight is None else loss * weight


@loss("BinaryCrossEntropyWithLogitsBackward0")
def binary_cross_entropy_with_logits(input: Tensor, target: Tensor, weight: Tensor | None,
                                     pos_weight: Tensor | None) -> Tensor:
    """(1 - t) x - (1 + (pos_weight - 1) t) log sigmoid(x), times weight: with 1 as the only factor of the logarithm,
    its slope does not depend on t, and the slope in t is -x, NaN or not."""
    logarithm = input.logsigmoid()
    loss = (1 - target) * input - (logarithm if pos_weight is None else ((pos_weight - 1) * target + 1) * logarithm)
    return loss if weight is None else loss * weight


def _of_bools(input: Tensor, target: Tensor) -> Refusals:
    """PyTorch's formula of the gradient negates the target."""
    return () if target.dtype is not bool_ else ((0, BOOL_NEGATION),)


@loss("SoftMarginLossBackward0", refused=_of_bools)
def soft_margin_loss(input: Tensor, target: Tensor) -> Tensor:
    """log(1 + exp(-t x))."""
    return (-(input * target)).softplus(threshold=math.inf)


@losses("DivBackward0", ((0, 1, 2), (OWN,), (OWN,)))
def multilabel_soft_margin_loss(input: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """-(t log sigmoid(x) + (1 - t) log sigmoid(-x)), times weight, averaged over the last dimension."""
    loss = -(target * input.logsigmoid() + (1 - target) * (-input).logsigmoid())
    loss = loss if weight is None else loss * weight
    return loss.sum(-1) / input.shape[-1]


# --- margins


@losses("ClampMinBackward0", ((COMPARED,),) * 3)
def margin_ranking_loss(input1: Tensor, input2: Tensor, target: Tensor, *, margin: float) -> Tensor:
    """max(0, margin - t (x1 - x2))."""
    difference = input1 - input2
    return (-target * difference + margin).clamp(min=0)


@losses("AddBackward0", ((OWN,),), compared=1)
def hinge_embedding_loss(input: Tensor, target: Tensor, *, margin: float) -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1."""
    apart = where(target != 1, (input.new_full(input.shape, margin) - input).clamp(min=0), 0)
    return apart + where(target != -1, input, 0)


@losses("AddBackward0", ((0, 1, OWN),) * 2, compared=2)
def cosine_embedding_loss(input1: Tensor, input2: Tensor, target: Tensor, *, margin: float) -> Tensor:
    """1 - cos(x1, x2) where the target is 1, max(0, cos(x1, x2) - margin) where it is -1."""
    axis, tiny = target.ndim, 1e-12
    product = (input1 * input2).sum(axis)
    lengths = ((input1 * input1).sum(axis) + tiny) * ((input2 * input2).sum(axis) + tiny)
    cosine = product / lengths.sqrt()
    return where(target == 1, 1 - cosine, 0.0) + where(target == -1, (cosine - margin).clamp(min=0), 0.0)


@losses("ClampMinBackward0", ((OWN,),) * 3)
def triplet_loss(positive: Tensor, negative: Tensor, swapped: Tensor | None, *, margin: float) -> Tensor:
    """max(0, margin + the distance to the positive - the smaller of the distances to the negative)."""
    if swapped is not None:
        negative = minimum(negative, swapped)
    return (margin + positive - negative).clamp(min=0)


@loss("MultiMarginLossBackward0")
def multi_margin_loss(input: Tensor, target: Tensor, weight: Tensor | None, *, p: int, margin: float,
                      checked: bool) -> Tensor:
    """The mean over classes j other than t of weight[t] max(0, margin - x[t] + x[j])^p."""
    own = one_hot(target, input.shape[-1], input, checked)
    gap = margin - where(own, input, 0.0).sum(-1, keepdim=True) + input
    loss = where(own | (gap <= 0), 0.0, gap if p == 1 else gap * gap)
    if weight is not None:
        loss = loss * where(own, weight, 0.0).sum(-1, keepdim=True)
    return loss.sum(-1) / input.shape[-1]


@loss("MultilabelMarginLossBackward0")
def multilabel_margin_loss(input: Tensor, target: Tensor, *, checked: bool) -> Tensor:
    """The sum over targets t and classes j that are none of max(0, 1 - x[t] + x[j]), divided by the number of classes.
    The targets of a row end before its first negative number."""
    classes = input.shape[-1]
    listed = (target < 0).to(target.dtype).cumsum(-1) == 0
    own = one_hot(where(listed, target, 0), classes, input, checked) & listed.unsqueeze(-1)  # (..., targets, classes)
    chosen = where(own, input.unsqueeze(-2), 0.0).sum(-1, keepdim=True)
    gap = 1 - chosen + input.unsqueeze(-2)
    counts = listed.unsqueeze(-1) & ~own.any(-2, keepdim=True) & (gap > 0)
    return where(counts, gap, 0.0).sum((-2, -1)) / classes


def one_hot(target: Tensor, classes: int, like: Tensor, checked: bool, axis: int = -1) -> Tensor:
    """Where the class, along a new ``axis``, is the target, on the device of ``like``. Targets that are not ``checked``
    yet are looked up among the classes, which fails for one out of range.

    >>> import minigrad
    >>> one_hot(minigrad.tensor([1, 0]), 3, minigrad.zeros(1), True)
    tensor([[False,  True, False],
            [ True, False, False]])
    """
    numbers = arange(classes, device=like.device)
    if not checked:
        target = numbers[target]
    dims = target.ndim + 1
    return numbers.reshape([-1 if i == axis % dims else 1 for i in range(dims)]) == target.unsqueeze(axis)
