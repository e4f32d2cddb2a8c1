"""Stage: front. In: Parameters and gradients. Out: Adamax.
Next: ``nadam.py``."""

from __future__ import annotations

from typing import Any

from minigrad.optim.composite import (
    ASKED_ANEW,
    CompositeOptimizer,
    check_betas,
    check_lr,
    check_not_negative,
    for_each,
)
from minigrad.optim.optimizer import ParamsT
from minigrad.tensor import Tensor, known, maximum


@for_each(states=2)
def adamax(param: Tensor, grad: Tensor, average: Tensor, norm: Tensor, step_size: Tensor, share1: Tensor,
           beta2: Tensor, eps: Tensor, decay: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The new parameter, average and norm; see ``Adamax`` for the formula."""
    if decay is not None:
        grad = grad + decay * param
    average = average + share1 * (grad - average)
    norm = maximum(norm * beta2, grad.abs() + eps)
    return param - step_size * average / norm, average, norm


class Adamax(CompositeOptimizer):
    """Adamax: Adam with the largest gradient so far, decayed, in place of the root of the second moment.

    g <- gradient + weight_decay * p;  m <- m + (1 - beta1) (g - m);  u <- max(beta2 u, |g| + eps);
    p <- p - lr / (1 - beta1^t) * m / u.
    (Kingma, Ba 2015; https://docs.pytorch.org/docs/stable/generated/torch.optim.Adamax.html)

    >>> from minigrad import nn, ones
    >>> p = nn.Parameter(ones(2))
    >>> p.grad = ones(2)
    >>> Adamax([p], lr=0.25).step()
    >>> p.detach()
    tensor([0.7500, 0.7500])
    """

    __jit_free__ = ASKED_ANEW | {"betas", "eps"}
    _added_options = ("foreach", "maximize", "differentiable", "capturable")
    _update = adamax
    _changing = 1

    def __init__(self, params: ParamsT, lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, foreach: bool | None = None, *, maximize: bool = False,
                 differentiable: bool = False, capturable: bool = False) -> None:
        check_lr(lr)
        check_not_negative("epsilon value", eps)
        check_betas(betas)
        check_not_negative("weight_decay value", weight_decay)
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, foreach=foreach,
                                      maximize=maximize, differentiable=differentiable, capturable=capturable))

    def _slots(self, group: dict[str, Any], param: Tensor) -> tuple[str | None, ...]:
        return "exp_avg", "exp_inf"

    @staticmethod
    def _numbers(group: dict[str, Any], first: bool, *numbers: float) -> tuple[float | None, ...]:
        (beta1, beta2), weight_decay = group["betas"], group["weight_decay"]
        return (known(group["lr"]) / (1 - beta1 ** (numbers[0] + 1)), 1 - beta1, beta2, group["eps"],
                weight_decay if weight_decay != 0 else None)
