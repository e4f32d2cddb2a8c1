"""Stage: front. In: Parameters and gradients. Out: resilient backpropagation.
Next: ``asgd.py``."""

from __future__ import annotations

from typing import Any

from minigrad.optim.composite import ASKED_ANEW, CompositeOptimizer, check_lr, for_each
from minigrad.optim.optimizer import ParamsT
from minigrad.tensor import Tensor, full_like, known, where


@for_each(states=2)
def rprop(param: Tensor, grad: Tensor, before: Tensor, size: Tensor, less: Tensor, more: Tensor, least: Tensor,
          most: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The new parameter, gradient to compare with and step size; see ``Rprop`` for the formula."""
    turned = grad * before
    factor = where(turned > 0, more, where(turned < 0, less, where(turned == 0, 1.0, turned)))  # NaN stays NaN
    size = (size * factor).clamp(min=least, max=most)
    grad = where(turned < 0, 0.0, grad)
    return param - grad.sign() * size, grad, size


class Rprop(CompositeOptimizer):
    """Resilient backpropagation: only the signs of the gradient count, and each element has a step size of its own.

    s <- s * etas[1] where the gradient has the sign that it had before, s * etas[0] where it has turned, between
    ``step_sizes``; where it has turned, g <- 0;  p <- p - s sign(g). At first s is ``lr``.
    (Riedmiller, Braun 1993; https://docs.pytorch.org/docs/stable/generated/torch.optim.Rprop.html)

    >>> from minigrad import nn, ones
    >>> p = nn.Parameter(ones(2))
    >>> p.grad = ones(2) * 5
    >>> Rprop([p], lr=0.25).step()
    >>> p.detach()
    tensor([0.7500, 0.7500])
    """

    __jit_free__ = ASKED_ANEW | {"etas", "step_sizes"}
    _added_options = ("foreach", "maximize", "differentiable", "capturable")
    _update = rprop

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
                 step_sizes: tuple[float, float] = (1e-6, 50), *, capturable: bool = False,
                 foreach: bool | None = None, maximize: bool = False, differentiable: bool = False) -> None:
        check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(params, dict(lr=lr, etas=etas, step_sizes=step_sizes, foreach=foreach, maximize=maximize,
                                      differentiable=differentiable, capturable=capturable))

    def _slots(self, group: dict[str, Any], param: Tensor) -> tuple[str | None, ...]:
        return "prev", "step_size"

    def _initial(self, name: str, param: Tensor, group: dict[str, Any]) -> Tensor:
        return full_like(param, known(group["lr"]) if name == "step_size" else 0)

    @staticmethod
    def _numbers(group: dict[str, Any], first: bool, *numbers: float) -> tuple[float | None, ...]:
        return (*group["etas"], *group["step_sizes"])
