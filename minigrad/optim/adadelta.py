"""Stage: front. In: Parameters and gradients. Out: Adadelta.
Next: ``adagrad.py``."""

from __future__ import annotations

from typing import Any

from minigrad.optim.composite import ASKED_ANEW, CompositeOptimizer, check_lr, check_not_negative, for_each
from minigrad.optim.optimizer import ParamsT
from minigrad.tensor import Tensor, known


@for_each(states=2)
def adadelta(param: Tensor, grad: Tensor, square: Tensor, moved: Tensor, lr: Tensor, rho: Tensor, share: Tensor,
             eps: Tensor, decay: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The new parameter and averages; see ``Adadelta`` for the formula."""
    if decay is not None:
        grad = grad + decay * param
    square = square * rho + share * grad * grad
    delta = (moved + eps).sqrt() / (square + eps).sqrt() * grad
    return param - lr * delta, square, moved * rho + share * delta * delta


class Adadelta(CompositeOptimizer):
    """Adadelta: steps as large as the past ones, for gradients as large as the past ones.

    g <- gradient + weight_decay * p;  v <- rho v + (1 - rho) g^2;  d <- sqrt(u + eps) / sqrt(v + eps) * g;
    u <- rho u + (1 - rho) d^2;  p <- p - lr * d.
    (Zeiler 2012; https://docs.pytorch.org/docs/stable/generated/torch.optim.Adadelta.html)

    >>> from minigrad import nn, ones
    >>> p = nn.Parameter(ones(2))
    >>> p.grad = ones(2)
    >>> Adadelta([p], eps=0.1).step()
    >>> p.detach()
    tensor([0.2929, 0.2929])
    """

    __jit_free__ = ASKED_ANEW | {"rho", "eps"}
    _added_options = ("foreach", "maximize", "differentiable", "capturable")
    _update = adadelta

    def __init__(self, params: ParamsT, lr: float | Tensor = 1.0, rho: float = 0.9, eps: float = 1e-6,
                 weight_decay: float = 0, foreach: bool | None = None, *, capturable: bool = False,
                 maximize: bool = False, differentiable: bool = False) -> None:
        check_lr(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_not_negative("epsilon value", eps)
        check_not_negative("weight_decay value", weight_decay)
        super().__init__(params, dict(lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize,
                                      capturable=capturable, foreach=foreach, differentiable=differentiable))

    def _slots(self, group: dict[str, Any], param: Tensor) -> tuple[str | None, ...]:
        return "square_avg", "acc_delta"

    @staticmethod
    def _numbers(group: dict[str, Any], first: bool, *numbers: float) -> tuple[float | None, ...]:
        rho, weight_decay = group["rho"], group["weight_decay"]
        return known(group["lr"]), rho, 1 - rho, group["eps"], weight_decay if weight_decay != 0 else None
