"""Stage: front. In: Parameters and gradients. Out: Adam.
Next: ``adamw.py``."""

from __future__ import annotations

from math import sqrt
from typing import Any

from minigrad.dtype import DType
from minigrad.optim.composite import (
    ASKED_ANEW,
    CompositeOptimizer,
    check_betas,
    check_fused,
    check_lr,
    check_not_negative,
    for_each,
)
from minigrad.optim.optimizer import ParamsT
from minigrad.tensor import Tensor, known, maximum


@for_each(states=3)
def adam(param: Tensor, grad: Tensor, average: Tensor, square: Tensor, peak: Tensor | None, step_size: Tensor,
         root_correction: Tensor, share1: Tensor, beta2: Tensor, share2: Tensor, eps: Tensor, decay: Tensor | None, *,
         decoupled: bool) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The new parameter, moments and (for amsgrad) peak of the second moment; see ``Adam`` for the formula.

    ``decay`` is 1 - lr * weight_decay when ``decoupled``, else weight_decay.
    """
    if decay is not None:
        param, grad = (param * decay, grad) if decoupled else (param, grad + decay * param)
    average = average + share1 * (grad - average)
    square = square * beta2 + share2 * grad * grad
    if peak is not None:
        peak = maximum(peak, square)
    root = (square if peak is None else peak).sqrt()
    return param - step_size * average / (root / root_correction + eps), average, square, peak


class Adam(CompositeOptimizer):
    """Adam: steps scaled by running averages of the gradient and of its square.

    g <- gradient + weight_decay * p;  m <- m + (1 - beta1) (g - m);  v <- beta2 v + (1 - beta2) g^2;
    p <- p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps). With ``amsgrad`` the largest v so far takes
    v's place. All numbers, the step t included, are run-time arguments: a changing lr compiles nothing.
    (Kingma, Ba 2015; https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html)

    >>> from minigrad import nn, ones
    >>> p = nn.Parameter(ones(2))
    >>> p.grad = ones(2)
    >>> Adam([p], lr=0.25).step()
    >>> p.detach()
    tensor([0.7500, 0.7500])
    """

    __jit_free__ = ASKED_ANEW | {"betas", "eps"}
    _added_options = ("amsgrad", "maximize", "foreach", "capturable",
                      "differentiable", "decoupled_weight_decay", "fused")
    _update = adam
    _changing = 2

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-3,
                 betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None,
                 maximize: bool = False, capturable: bool = False, differentiable: bool = False,
                 fused: bool | None = None, decoupled_weight_decay: bool = False) -> None:
        if isinstance(lr, Tensor) and foreach and not capturable:
            raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
        check_lr(lr)
        check_not_negative("epsilon value", eps)
        check_betas(betas)
        check_not_negative("weight_decay value", weight_decay)
        betas = _checked_types(betas, bool(foreach and not capturable))
        check_fused(fused, foreach, differentiable)
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad,
                                      maximize=maximize, foreach=foreach, capturable=capturable,
                                      differentiable=differentiable, fused=fused,
                                      decoupled_weight_decay=decoupled_weight_decay))

    def _slots(self, group: dict[str, Any], param: Tensor) -> tuple[str | None, ...]:
        return "exp_avg", "exp_avg_sq", "max_exp_avg_sq" if group["amsgrad"] else None

    def _static(self, group: dict[str, Any], dtype: DType) -> dict[str, Any]:
        return {"decoupled": group["decoupled_weight_decay"], "maximize": group["maximize"]}

    @staticmethod
    def _numbers(group: dict[str, Any], first: bool, *numbers: float) -> tuple[float | None, ...]:
        step, lr, weight_decay = numbers[0] + 1, known(group["lr"]), known(group["weight_decay"])
        beta1, beta2 = map(known, group["betas"])
        decay = None
        if weight_decay != 0:
            decay = 1 - lr * weight_decay if group["decoupled_weight_decay"] else weight_decay
        return (lr / (1 - beta1**step), sqrt(1 - beta2**step), 1 - beta1, beta2, 1 - beta2, group["eps"], decay)


def _checked_types(betas: Any, plain: bool) -> tuple[Any, Any]:
    """Both betas, Tensors of one element as 0-d ones. ``ValueError`` for mixed types, and for Tensors where they have
    to be ``plain``."""
    kinds = {Tensor if isinstance(beta, Tensor) else type(beta) for beta in betas[:2]}
    if kinds != {Tensor} and not all(isinstance(beta, float) for beta in betas[:2]):
        raise ValueError("betas must be either both floats or both Tensors")
    for index, beta in enumerate(betas[:2]):
        if isinstance(beta, Tensor):
            if plain:
                raise ValueError(f"betas[{index}] as a Tensor is not supported for capturable=False and foreach=True")
            if beta.numel() != 1:
                raise ValueError(f"Tensor betas[{index}] must be 1-element")
    beta1, beta2 = [beta.squeeze() if isinstance(beta, Tensor) else beta for beta in betas]
    return beta1, beta2
