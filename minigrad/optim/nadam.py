"""Stage: front. In: Parameters and gradients. Out: NAdam.
Next: ``radam.py``."""

from __future__ import annotations

from typing import Any

from minigrad.dtype import DType
from minigrad.optim.composite import (
    ASKED_ANEW,
    CompositeOptimizer,
    check_betas,
    check_lr,
    check_not_negative,
    for_each,
    rounded,
)
from minigrad.optim.optimizer import ParamsT
from minigrad.tensor import Tensor, known


@for_each(states=2)
def nadam(param: Tensor, grad: Tensor, average: Tensor, square: Tensor, grad_size: Tensor, average_size: Tensor,
          correction2: Tensor, share1: Tensor, beta2: Tensor, share2: Tensor, eps: Tensor, decay: Tensor | None, *,
          decoupled: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The new parameter and moments; see ``NAdam`` for the formula. ``decay`` is as in ``adam``."""
    if decay is not None:
        param, grad = (param * decay, grad) if decoupled else (param, grad + decay * param)
    average = average + share1 * (grad - average)
    square = square * beta2 + share2 * grad * grad
    root = (square / correction2).sqrt() + eps
    return param - grad_size * grad / root - average_size * average / root, average, square


class NAdam(CompositeOptimizer):
    """NAdam: Adam with Nesterov's momentum.

    g <- gradient + weight_decay * p;  m <- m + (1 - beta1) (g - m);  v <- beta2 v + (1 - beta2) g^2;
    mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2);  M_t = mu_1 ... mu_t;
    p <- p - lr ((1 - mu_t) / (1 - M_t) g + mu_(t+1) / (1 - M_(t+1)) m) / (sqrt(v / (1 - beta2^t)) + eps).
    (Dozat 2016; https://docs.pytorch.org/docs/stable/generated/torch.optim.NAdam.html)

    >>> from minigrad import nn, ones
    >>> p = nn.Parameter(ones(2))
    >>> p.grad = ones(2)
    >>> NAdam([p], lr=0.25).step()
    >>> p.detach()
    tensor([0.7359, 0.7359])
    """

    __jit_free__ = ASKED_ANEW | {"betas", "eps", "momentum_decay", "mu_product"}
    _added_options = ("maximize", "foreach", "capturable", "differentiable", "decoupled_weight_decay")
    _update = nadam
    _scalars = ("step", "mu_product")
    _changing = 3

    def __init__(self, params: ParamsT, lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, momentum_decay: float = 4e-3,
                 decoupled_weight_decay: bool = False, *, foreach: bool | None = None, maximize: bool = False,
                 capturable: bool = False, differentiable: bool = False) -> None:
        check_lr(lr)
        check_not_negative("epsilon value", eps)
        check_betas(betas)
        check_not_negative("weight_decay value", weight_decay)
        check_not_negative("momentum_decay value", momentum_decay)
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay,
                                      momentum_decay=momentum_decay, decoupled_weight_decay=decoupled_weight_decay,
                                      maximize=maximize, foreach=foreach, capturable=capturable,
                                      differentiable=differentiable))

    def _slots(self, group: dict[str, Any], param: Tensor) -> tuple[str | None, ...]:
        return "exp_avg", "exp_avg_sq"

    @staticmethod
    def _first_numbers(group: dict[str, Any]) -> tuple[float, ...]:
        return 0.0, 1.0

    @staticmethod
    def _next_numbers(group: dict[str, Any], *numbers: float) -> tuple[float, ...]:
        step, product = numbers
        return step + 1, rounded(product) * rounded(_momentum(group, step + 1))

    def _static(self, group: dict[str, Any], dtype: DType) -> dict[str, Any]:
        return {"decoupled": group["decoupled_weight_decay"], "maximize": group["maximize"]}

    @staticmethod
    def _numbers(group: dict[str, Any], first: bool, *numbers: float) -> tuple[float | None, ...]:
        step, product = NAdam._next_numbers(group, *numbers)
        product = rounded(product)
        mu, mu_next = _momentum(group, step), _momentum(group, step + 1)
        lr, (beta1, beta2), weight_decay = known(group["lr"]), group["betas"], group["weight_decay"]
        decay = None
        if weight_decay != 0:
            decay = 1 - lr * weight_decay if group["decoupled_weight_decay"] else weight_decay
        return (lr * (1 - mu) / (1 - product), lr * mu_next / (1 - product * mu_next), 1 - beta2**step, 1 - beta1,
                beta2, 1 - beta2, group["eps"], decay)


def _momentum(group: dict[str, Any], step: float) -> float:
    """The momentum of a step: mu_t."""
    return float(group["betas"][0] * (1.0 - 0.5 * (0.96 ** (step * group["momentum_decay"]))))
