"""Stage: front. In: Parameters and gradients. Out: Adagrad.
Next: ``_adafactor.py``."""

from __future__ import annotations

from typing import Any

from minigrad.optim.composite import (
    ASKED_ANEW,
    CompositeOptimizer,
    check_fused,
    check_lr,
    check_not_negative,
    for_each,
)
from minigrad.optim.optimizer import ParamsT
from minigrad.tensor import Tensor, full_like, known


@for_each(states=1)
def adagrad(param: Tensor, grad: Tensor, total: Tensor, step_size: Tensor, eps: Tensor,
            decay: Tensor | None) -> tuple[Tensor, Tensor]:
    """The new parameter and sum of squares; see ``Adagrad`` for the formula."""
    if decay is not None:
        grad = grad + decay * param
    total = total + grad * grad
    return param - step_size * grad / (total.sqrt() + eps), total


class Adagrad(CompositeOptimizer):
    """Adagrad: steps divided by the root of the sum of all squared gradients so far.

    g <- gradient + weight_decay * p;  s <- s + g^2;  p <- p - lr / (1 + (t - 1) lr_decay) * g / (sqrt(s) + eps).
    (Duchi, Hazan, Singer 2011; https://docs.pytorch.org/docs/stable/generated/torch.optim.Adagrad.html)

    >>> from minigrad import nn, ones
    >>> p = nn.Parameter(ones(2))
    >>> p.grad = ones(2)
    >>> Adagrad([p], lr=0.25).step()
    >>> p.detach()
    tensor([0.7500, 0.7500])
    """

    __jit_free__ = ASKED_ANEW | {"lr_decay", "eps"}
    _added_options = ("foreach", "maximize", "differentiable", "fused")
    _update = adagrad
    _changing = 1

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
                 initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: bool | None = None, *,
                 maximize: bool = False, differentiable: bool = False, fused: bool | None = None) -> None:
        check_lr(lr)
        check_not_negative("lr_decay value", lr_decay)
        check_not_negative("weight_decay value", weight_decay)
        check_not_negative("initial_accumulator_value value", initial_accumulator_value)
        check_not_negative("epsilon value", eps)
        check_fused(fused, foreach, differentiable)
        super().__init__(params, dict(lr=lr, lr_decay=lr_decay, eps=eps, weight_decay=weight_decay,
                                      initial_accumulator_value=initial_accumulator_value, foreach=foreach,
                                      maximize=maximize, differentiable=differentiable, fused=fused))
        for group in self.param_groups:
            for param in group["params"]:
                self._complete(self.state[param], param, group, ("sum",))
        self._settle_state()

    def share_memory(self) -> None:
        """Moves the sums to memory that other processes see."""
        for entries in self.state.values():
            entries["sum"].share_memory_()

    def _slots(self, group: dict[str, Any], param: Tensor) -> tuple[str | None, ...]:
        return ("sum",)

    def _initial(self, name: str, param: Tensor, group: dict[str, Any]) -> Tensor:
        return full_like(param, self.defaults["initial_accumulator_value"])

    def _sparse_step(self, group: dict[str, Any], param: Tensor, grad: Any) -> None:
        """The formula for the rows that have a gradient."""
        if group["weight_decay"] != 0:
            raise RuntimeError("weight_decay option is not compatible with sparse gradients")
        state, step = self._sparse_state(group, param)
        grad = (-grad if group["maximize"] else grad).coalesce()
        rows = grad.values()
        state["sum"].add_(grad.mul(grad))
        root = state["sum"].sparse_mask(grad).values().sqrt() + group["eps"]
        size = known(group["lr"]) / (1 + (step - 1) * group["lr_decay"])
        param.add_(grad._with_values(rows / root), alpha=-size)

    @staticmethod
    def _numbers(group: dict[str, Any], first: bool, *numbers: float) -> tuple[float | None, ...]:
        weight_decay = group["weight_decay"]
        return (known(group["lr"]) / (1 + numbers[0] * group["lr_decay"]), group["eps"],
                weight_decay if weight_decay != 0 else None)
