"""Stage: front. In: Parameters and gradients. Out: RMSprop.
Next: ``rprop.py``."""

from __future__ import annotations

from typing import Any

from minigrad.optim.composite import ASKED_ANEW, CompositeOptimizer, check_lr, check_not_negative, for_each
from minigrad.optim.optimizer import ParamsT
from minigrad.tensor import Tensor, known


@for_each(states=3)
def rmsprop(param: Tensor, grad: Tensor, square: Tensor, buffer: Tensor | None, average: Tensor | None, lr: Tensor,
            alpha: Tensor, share: Tensor, eps: Tensor, momentum: Tensor | None,
            decay: Tensor | None) -> tuple[Tensor | None, ...]:
    """The new parameter, average of squares, momentum buffer and average; see ``RMSprop`` for the formula."""
    if decay is not None:
        grad = grad + decay * param
    square = square * alpha + share * grad * grad
    variance = square
    if average is not None:
        average = average + share * (grad - average)
        variance = square - average * average
    step = grad / (variance.sqrt() + eps)
    if buffer is not None:
        buffer = step = buffer * momentum + step
    return param - lr * step, square, buffer, average


class RMSprop(CompositeOptimizer):
    """RMSprop: steps divided by the root of a running average of the squared gradient.

    g <- gradient + weight_decay * p;  v <- alpha v + (1 - alpha) g^2;  ``centered``: a <- a + (1 - alpha) (g - a) and
    V = v - a^2, else V = v;  d = g / (sqrt(V) + eps);  with momentum b <- momentum b + d and d = b;  p <- p - lr d.
    (Hinton, Tieleman 2012; https://docs.pytorch.org/docs/stable/generated/torch.optim.RMSprop.html)

    >>> from minigrad import nn, ones
    >>> p = nn.Parameter(ones(2))
    >>> p.grad = ones(2)
    >>> RMSprop([p], lr=0.25, alpha=0.75).step()
    >>> p.detach()
    tensor([0.5000, 0.5000])
    """

    __jit_free__ = ASKED_ANEW | {"alpha", "eps", "momentum"}
    _added_options = ("momentum", "centered", "foreach", "maximize", "differentiable", "capturable")
    _update = rmsprop

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
                 weight_decay: float = 0, momentum: float = 0, centered: bool = False, capturable: bool = False,
                 foreach: bool | None = None, maximize: bool = False, differentiable: bool = False) -> None:
        check_lr(lr)
        check_not_negative("epsilon value", eps)
        check_not_negative("momentum value", momentum)
        check_not_negative("weight_decay value", weight_decay)
        check_not_negative("alpha value", alpha)
        super().__init__(params, dict(lr=lr, momentum=momentum, alpha=alpha, eps=eps, centered=centered,
                                      weight_decay=weight_decay, capturable=capturable, foreach=foreach,
                                      maximize=maximize, differentiable=differentiable))

    def _slots(self, group: dict[str, Any], param: Tensor) -> tuple[str | None, ...]:
        return ("square_avg", "momentum_buffer" if group["momentum"] > 0 else None,
                "grad_avg" if group["centered"] else None)

    @staticmethod
    def _numbers(group: dict[str, Any], first: bool, *numbers: float) -> tuple[float | None, ...]:
        alpha, momentum, weight_decay = group["alpha"], group["momentum"], group["weight_decay"]
        return (known(group["lr"]), alpha, 1 - alpha, group["eps"], momentum if momentum > 0 else None,
                weight_decay if weight_decay != 0 else None)
