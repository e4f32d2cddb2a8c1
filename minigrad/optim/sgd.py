"""Stage: front. In: Parameters and gradients. Out: stochastic gradient descent.
Next: ``adam.py``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from minigrad.dtype import float64
from minigrad.optim.optimizer import ASKED_ANEW, Optimizer, check_not_negative
from minigrad.optim.precision import narrow, widen
from minigrad.tensor import Tensor, composite


@composite
def sgd(params: list[Tensor], grads: list[Tensor], buffers: list[Tensor] | None, lr: Tensor,
        weight_decay: Tensor | None, momentum: Tensor | None, share: Tensor | None, *, nesterov: bool,
        maximize: bool) -> tuple[Tensor, ...]:
    """New parameters, then new momentum buffers; see ``SGD`` for the formula."""
    new_params, new_buffers = [], []
    for number, (old_param, old_grad) in enumerate(zip(params, grads, strict=True)):
        param, grad = widen(old_param), widen(old_grad)
        if maximize:
            grad = -grad
        if weight_decay is not None:
            grad = grad + weight_decay * param
        if buffers is not None:
            buffer = widen(buffers[number]) * momentum + (grad if share is None else grad * share)
            new_buffers.append(narrow(buffer, buffers[number]))
            grad = grad + momentum * buffer if nesterov else buffer
        new_params.append(narrow(param - lr * grad, old_param))
    return (*new_params, *new_buffers)


class SGD(Optimizer):
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

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0, dampening: float = 0,
                 weight_decay: float = 0, nesterov: bool = False, *, maximize: bool = False,
                 foreach: bool | None = None, differentiable: bool = False, fused: bool | None = None) -> None:
        check_not_negative("learning rate", lr)
        check_not_negative("momentum value", momentum)
        check_not_negative("weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, dict(lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay,
                                      nesterov=nesterov, maximize=maximize, foreach=foreach,
                                      differentiable=differentiable, fused=fused))

    def _record(self, group: dict[str, Any], targets: list[Tensor], values: list[Tensor]) -> None:
        momentum, dampening = group["momentum"], group["dampening"]
        batches: dict[tuple[str, bool, bool], tuple[list[Tensor], list[Tensor], list[Tensor]]] = {}
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            first, buffer = False, None
            if momentum != 0:
                state = self.state[param]
                buffer = state.get("momentum_buffer")
                if buffer is None:
                    first = dampening != 0
                    buffer = state["momentum_buffer"] = self._zero_state(param)
            key = (param.device.name, param.dtype is float64, first)
            batch = batches.get(key)
            if batch is None:
                batch = batches[key] = ([], [], [])
            batch[0].append(param)
            batch[1].append(grad)
            if buffer is not None:
                batch[2].append(buffer)
        self._settle_state()
        for (device, wide, first), (params, grads, buffers) in batches.items():
            targets += params
            targets += buffers
            values += sgd(params, grads, buffers or None,
                          *self._arguments(partial(_numbers, group, first), wide, device),
                          nesterov=group["nesterov"], maximize=group["maximize"])


def _numbers(group: dict[str, Any], first: bool) -> tuple[Any, ...]:
    """The run-time arguments of ``sgd``: learning rate, weight decay, momentum, the share of the gradient in it."""
    momentum, dampening, decay = group["momentum"], group["dampening"], group["weight_decay"]
    return (group["lr"], decay if decay != 0 else None, momentum if momentum != 0 else None,
            (1.0 if first else 1 - dampening) if dampening != 0 else None)
