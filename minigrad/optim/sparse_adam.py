"""Stage: front. In: Parameters and gradients. Out: SparseAdam.
Next: ``adadelta.py``."""

from __future__ import annotations

from math import sqrt
from typing import Any

from minigrad.optim.composite import ASKED_ANEW, CompositeOptimizer, check_betas, for_each
from minigrad.optim.optimizer import ParamsT
from minigrad.tensor import Tensor, known, where


@for_each(states=2)
def sparse_adam(param: Tensor, grad: Tensor, average: Tensor, square: Tensor, step_size: Tensor, share1: Tensor,
                share2: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The new parameter and moments; see ``SparseAdam`` for the formula."""
    there = grad != 0
    if grad.ndim > 1:
        there = there.flatten(1).any(1).reshape(-1, *[1] * (grad.ndim - 1))
    new_average = average + share1 * (grad - average)
    new_square = square + share2 * (grad * grad - square)
    new_param = param - step_size * new_average / (new_square.sqrt() + eps)
    return tuple([where(there, new, old) for new, old in (
        (new_param, param), (new_average, average), (new_square, square))])


class SparseAdam(CompositeOptimizer):
    """SparseAdam: Adam that changes only those rows of a parameter, and of its moments, that have a gradient.

    There are no sparse gradients here: a row whose gradient is 0 everywhere counts as one that has none. For these rows
    all stays as it is; for the others m <- m + (1 - beta1) (g - m);  v <- v + (1 - beta2) (g^2 - v);
    p <- p - lr sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + eps).
    (https://docs.pytorch.org/docs/stable/generated/torch.optim.SparseAdam.html)

    >>> from minigrad import nn, ones, tensor
    >>> p = nn.Parameter(ones(2))
    >>> p.grad = tensor([0.0, 1.0])
    >>> SparseAdam([p], lr=0.25).step()
    >>> p.detach()
    tensor([1.0000, 0.7500])
    """

    __jit_free__ = ASKED_ANEW | {"betas", "eps"}
    _update = sparse_adam
    _scalars = ("step",)
    _changing = 1

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, maximize: bool = False) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr > 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not eps > 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_betas(betas)
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, maximize=maximize))

    def _slots(self, group: dict[str, Any], param: Tensor) -> tuple[str | None, ...]:
        return "exp_avg", "exp_avg_sq"

    @staticmethod
    def _numbers(group: dict[str, Any], first: bool, *numbers: float) -> tuple[float | None, ...]:
        step, (beta1, beta2) = numbers[0] + 1, group["betas"]
        size = known(group["lr"]) * sqrt(1 - beta2**step) / (1 - beta1**step)
        return size, 1 - beta1, 1 - beta2, group["eps"]
