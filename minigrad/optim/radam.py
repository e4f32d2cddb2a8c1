"""Stage: front. In: Parameters and gradients. Out: RAdam.
Next: ``sparse_adam.py``."""

from __future__ import annotations

from math import sqrt
from typing import Any

from minigrad.dtype import DType
from minigrad.optim.composite import (
    ASKED_ANEW,
    CompositeOptimizer,
    check_betas,
    check_lr,
    check_not_negative,
    for_each,
)
from minigrad.optim.optimizer import ParamsT
from minigrad.tensor import Tensor, known


@for_each(states=2)
def radam(param: Tensor, grad: Tensor, average: Tensor, square: Tensor, step_size: Tensor, share1: Tensor,
          beta2: Tensor, share2: Tensor, eps: Tensor, rectified: Tensor | None, decay: Tensor | None, *,
          decoupled: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The new parameter and moments; see ``RAdam`` for the formula. ``rectified`` is r_t sqrt(1 - beta2^t), None as
    long as the variance is not known well enough; ``decay`` is as in ``adam``."""
    if decay is not None:
        param, grad = (param * decay, grad) if decoupled else (param, grad + decay * param)
    average = average + share1 * (grad - average)
    square = square * beta2 + share2 * grad * grad
    step = step_size * average
    if rectified is not None:
        step = step * (rectified / (square.sqrt() + eps))
    return param - step, average, square


class RAdam(CompositeOptimizer):
    """RAdam: Adam that begins as momentum, until enough steps say how much the gradients vary.

    g <- gradient + weight_decay * p;  m <- m + (1 - beta1) (g - m);  v <- beta2 v + (1 - beta2) g^2;
    rho = 2 / (1 - beta2) - 1;  rho_t = rho - 2 t beta2^t / (1 - beta2^t);
    p <- p - lr / (1 - beta1^t) * m * s, where s is sqrt(1 - beta2^t) / (sqrt(v) + eps)
    * sqrt((rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t)) if rho_t > 5, else 1.
    (Liu et al. 2020; https://docs.pytorch.org/docs/stable/generated/torch.optim.RAdam.html)

    >>> from minigrad import nn, ones
    >>> p = nn.Parameter(ones(2))
    >>> p.grad = ones(2)
    >>> RAdam([p], lr=0.25).step()
    >>> p.detach()
    tensor([0.7500, 0.7500])
    """

    __jit_free__ = ASKED_ANEW | {"betas", "eps"}
    _added_options = ("foreach", "maximize", "differentiable", "decoupled_weight_decay", "capturable")
    _update = radam
    _changing = 1

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, decoupled_weight_decay: bool = False, *,
                 foreach: bool | None = None, maximize: bool = False, capturable: bool = False,
                 differentiable: bool = False) -> None:
        check_lr(lr)
        check_not_negative("epsilon value", eps)
        check_betas(betas)
        check_not_negative("weight_decay value", weight_decay)
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize,
                                      foreach=foreach, capturable=capturable,
                                      decoupled_weight_decay=decoupled_weight_decay, differentiable=differentiable))

    def _slots(self, group: dict[str, Any], param: Tensor) -> tuple[str | None, ...]:
        return "exp_avg", "exp_avg_sq"

    def _static(self, group: dict[str, Any], dtype: DType) -> dict[str, Any]:
        return {"decoupled": group["decoupled_weight_decay"], "maximize": group["maximize"]}

    @staticmethod
    def _numbers(group: dict[str, Any], first: bool, *numbers: float) -> tuple[float | None, ...]:
        step, lr, (beta1, beta2) = numbers[0] + 1, known(group["lr"]), group["betas"]
        weight_decay, correction2 = group["weight_decay"], 1 - beta2**step
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * step * beta2**step / correction2
        rectified = decay = None
        if length > 5.0:
            rectified = sqrt(correction2) * sqrt(
                (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
        if weight_decay != 0:
            decay = 1 - lr * weight_decay if group["decoupled_weight_decay"] else weight_decay
        return (lr / (1 - beta1**step), 1 - beta1, beta2, 1 - beta2, group["eps"], rectified, decay)
