"""Stage: front. In: Parameters and gradients. Out: averaged stochastic gradient descent.
Next: ``_muon.py``."""

from __future__ import annotations

from typing import Any

from minigrad.optim.composite import ASKED_ANEW, CompositeOptimizer, check_lr, check_not_negative, for_each
from minigrad.optim.optimizer import ParamsT
from minigrad.tensor import Tensor, known, where


@for_each(states=1)
def asgd(param: Tensor, grad: Tensor, average: Tensor, eta: Tensor, shrink: Tensor, mu: Tensor,
         decay: Tensor | None) -> tuple[Tensor, Tensor]:
    """The new parameter and its average; see ``ASGD`` for the formula. ``shrink`` is 1 - lambd * eta."""
    if decay is not None:
        grad = grad + decay * param
    param = param * shrink - eta * grad
    return param, where(mu == 1, param, average + (param - average) * mu)


class ASGD(CompositeOptimizer):
    """Averaged stochastic gradient descent: the state "ax" is the average of the parameter from step ``t0`` on.

    g <- gradient + weight_decay * p;  p <- (1 - lambd eta) p - eta g;  ax <- ax + mu (p - ax);
    eta <- lr / (1 + lambd lr t)^alpha;  mu <- 1 / max(1, t - t0).
    (Polyak, Juditsky 1992; https://docs.pytorch.org/docs/stable/generated/torch.optim.ASGD.html)

    >>> from minigrad import nn, ones
    >>> p = nn.Parameter(ones(2))
    >>> p.grad = ones(2)
    >>> ASGD([p], lr=0.25, lambd=0).step()
    >>> p.detach()
    tensor([0.7500, 0.7500])
    """

    __jit_free__ = ASKED_ANEW | {"lambd", "alpha", "t0", "eta", "mu"}
    _added_options = ("foreach", "maximize", "differentiable", "capturable")
    _update = asgd
    _scalars = ("step", "eta", "mu")
    _changing = 2

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, lambd: float = 1e-4, alpha: float = 0.75,
                 t0: float = 1e6, weight_decay: float = 0, foreach: bool | None = None, maximize: bool = False,
                 differentiable: bool = False, capturable: bool = False) -> None:
        check_lr(lr)
        check_not_negative("weight_decay value", weight_decay)
        super().__init__(params, dict(lr=lr, lambd=lambd, alpha=alpha, t0=t0, weight_decay=weight_decay,
                                      foreach=foreach, maximize=maximize, differentiable=differentiable,
                                      capturable=capturable))

    def _slots(self, group: dict[str, Any], param: Tensor) -> tuple[str | None, ...]:
        return ("ax",)

    @staticmethod
    def _first_numbers(group: dict[str, Any]) -> tuple[float, ...]:
        return 0.0, known(group["lr"]), 1.0

    @staticmethod
    def _next_numbers(group: dict[str, Any], *numbers: float) -> tuple[float, ...]:
        step, lr = numbers[0] + 1, known(group["lr"])
        return step, lr / ((1 + group["lambd"] * lr * step) ** group["alpha"]), 1 / max(1, step - group["t0"])

    @staticmethod
    def _numbers(group: dict[str, Any], first: bool, *numbers: float) -> tuple[float | None, ...]:
        _, eta, mu = numbers
        weight_decay = group["weight_decay"]
        return eta, 1 - group["lambd"] * eta, mu, weight_decay if weight_decay != 0 else None
