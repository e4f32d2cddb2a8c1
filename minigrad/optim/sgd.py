"""Stage: front. In: Parameters and gradients. Out: stochastic gradient descent.
Next: ``adam.py``."""

from __future__ import annotations

from typing import Any

from minigrad.optim.composite import (
    ASKED_ANEW,
    CompositeOptimizer,
    check_fused,
    for_each,
)
from minigrad.optim.optimizer import ParamsT
from minigrad.tensor import Tensor, known


@for_each(states=1)
def sgd(param: Tensor, grad: Tensor, buffer: Tensor | None, lr: Tensor, weight_decay: Tensor | None,
        momentum: Tensor | None, share: Tensor | None, *, nesterov: bool) -> tuple[Tensor, Tensor | None]:
    """The new parameter and momentum buffer; see ``SGD`` for the formula."""
    if weight_decay is not None:
        grad = grad + weight_decay * param
    if buffer is not None:
        buffer = buffer * momentum + (grad if share is None else grad * share)
        grad = grad + momentum * buffer if nesterov else buffer
    return param - lr * grad, buffer


class SGD(CompositeOptimizer):
    """Stochastic gradient descent.

    g <- gradient + weight_decay * p;  b <- momentum * b + (1 - dampening) * g (at the first step b <- g);
    p <- p - lr * b, or with ``nesterov`` p - lr * (g + momentum * b), or without momentum p - lr * g.
    Hyperparameters are run-time arguments: changing them in ``param_groups`` compiles nothing.
    (https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html)

    >>> from minigrad import nn, ones
    >>> p = nn.Parameter(ones(2))
    >>> p.grad = ones(2)
    >>> SGD([p], lr=0.25).step()
    >>> p.detach()
    tensor([0.7500, 0.7500])
    """

    __jit_free__ = ASKED_ANEW | {"momentum", "dampening"}
    _added_options = ("nesterov", "maximize", "foreach", "differentiable", "fused")
    _update = sgd
    _scalars = ()

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-3, momentum: float = 0, dampening: float = 0,
                 weight_decay: float | Tensor = 0, nesterov: bool = False, *, maximize: bool = False,
                 foreach: bool | None = None, differentiable: bool = False, fused: bool | None = None) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        for name, value in (("learning rate", lr), ("momentum value", momentum), ("weight_decay value", weight_decay)):
            if value < 0.0:
                raise ValueError(f"Invalid {name}: {value}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        check_fused(fused, foreach, differentiable)
        super().__init__(params, dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay,
                                      nesterov=nesterov, maximize=maximize, foreach=foreach,
                                      differentiable=differentiable, fused=fused))

    def _slots(self, group: dict[str, Any], param: Tensor) -> tuple[str | None, ...]:
        return (None,) if group["momentum"] == 0 else ("momentum_buffer",)

    def _static(self, group: dict[str, Any], dtype: Any) -> dict[str, Any]:
        return {"nesterov": group["nesterov"], "maximize": group["maximize"]}

    def _sparse_step(self, group: dict[str, Any], param: Tensor, grad: Any) -> None:
        """The formula on sparse tensors; the momentum buffer is sparse, too."""
        momentum, decay = group["momentum"], known(group["weight_decay"])
        grad = -grad if group["maximize"] else grad
        if decay != 0:
            grad = grad.add(param, alpha=decay)
        if momentum != 0:
            state = self.state[param]
            buffer = state.get("momentum_buffer")
            if buffer is None:
                buffer = grad.detach().clone()
            else:
                buffer = buffer.mul(momentum).add(grad, alpha=1 - group["dampening"]).coalesce()
            state["momentum_buffer"] = buffer
            grad = grad.add(buffer, alpha=momentum) if group["nesterov"] else buffer
        param.add_(grad, alpha=-known(group["lr"]))

    @staticmethod
    def _numbers(group: dict[str, Any], first: bool, *numbers: float) -> tuple[float | None, ...]:
        momentum, dampening, decay = group["momentum"], group["dampening"], known(group["weight_decay"])
        return (known(group["lr"]), decay if decay != 0 else None, momentum if momentum != 0 else None,
                (1.0 if first else 1 - dampening) if dampening != 0 else None)
