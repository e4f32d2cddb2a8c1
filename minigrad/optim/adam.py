"""Stage: front. In: Parameters and gradients. Out: Adam and AdamW.
Next: ``precision.py``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from math import sqrt
from typing import Any

from minigrad.dtype import float64
from minigrad.optim.optimizer import ASKED_ANEW, Optimizer, check_not_negative
from minigrad.optim.precision import narrow, widen
from minigrad.tensor import Tensor, composite, counted, maximum


@composite
def adam(params: list[Tensor], grads: list[Tensor], averages: list[Tensor], squares: list[Tensor],
         peaks: list[Tensor] | None, step_size: Tensor, root_correction: Tensor, share1: Tensor, beta2: Tensor,
         share2: Tensor, eps: Tensor, decay: Tensor | None, *, decoupled: bool,
         maximize: bool) -> tuple[Tensor, ...]:
    """New parameters, moments and (for amsgrad) peaks of the second moment; see ``Adam`` for the formula.

    ``decay`` is 1 - lr * weight_decay when ``decoupled``, else weight_decay.
    """
    new: tuple[list[Tensor], ...] = ([], [], [], [])
    for number, (old_param, old_grad) in enumerate(zip(params, grads, strict=True)):
        param, grad = widen(old_param), widen(old_grad)
        average, square = widen(averages[number]), widen(squares[number])
        if maximize:
            grad = -grad
        if decay is not None:
            param, grad = (param * decay, grad) if decoupled else (param, grad + decay * param)
        average = average + share1 * (grad - average)
        square = square * beta2 + share2 * grad * grad
        peak = square
        if peaks is not None:
            peak = maximum(widen(peaks[number]), square)
            new[3].append(narrow(peak, peaks[number]))
        param = param - step_size * average / (peak.sqrt() / root_correction + eps)
        for results, value, old in zip(new, (param, average, square),
                                       (old_param, averages[number], squares[number]), strict=False):
            results.append(narrow(value, old))
    return (*new[0], *new[1], *new[2], *new[3])


class Adam(Optimizer):
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

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None,
                 maximize: bool = False, capturable: bool = False, differentiable: bool = False,
                 fused: bool | None = None, decoupled_weight_decay: bool = False) -> None:
        check_not_negative("learning rate", lr)
        check_not_negative("epsilon value", eps)
        for index, beta in enumerate((betas[0], betas[1])):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {index}: {beta}")
        check_not_negative("weight_decay value", weight_decay)
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad,
                                      maximize=maximize, foreach=foreach, capturable=capturable,
                                      differentiable=differentiable, fused=fused,
                                      decoupled_weight_decay=decoupled_weight_decay))

    def _record(self, group: dict[str, Any], targets: list[Tensor], values: list[Tensor]) -> None:
        amsgrad = group["amsgrad"]
        batches: dict[tuple[str, bool, float], tuple[list[Any], ...]] = {}
        stepped: list[dict[str, Any]] = []
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            state = self.state[param]
            if not state:
                state["step"] = 0.0
                state["exp_avg"], state["exp_avg_sq"] = self._zero_state(param), self._zero_state(param)
                if amsgrad:
                    state["max_exp_avg_sq"] = self._zero_state(param)
            stepped.append(state)
            key = (param.device.name, param.dtype is float64, state["step"])
            batch = batches.get(key)
            if batch is None:
                batch = batches[key] = ([], [], [], [], [], [])
            batch[0].append(param)
            batch[1].append(grad)
            batch[2].append(state["exp_avg"])
            batch[3].append(state["exp_avg_sq"])
            if amsgrad:
                batch[4].append(state["max_exp_avg_sq"])
            batch[5].append(state)
        self._settle_state()
        for (device, wide, _), (params, grads, averages, squares, peaks, states) in batches.items():
            targets += params
            targets += averages
            targets += squares
            targets += peaks
            numbers = partial(_numbers, group, states)
            values += adam(params, grads, averages, squares, peaks or None,
                           *self._arguments(numbers, wide, device, new=2),
                           decoupled=group["decoupled_weight_decay"], maximize=group["maximize"])
        counted(partial(_count, stepped))


def _count(states: list[dict[str, Any]]) -> None:
    for state in states:
        state["step"] += 1


def _numbers(group: dict[str, Any], states: list[dict[str, Any]]) -> tuple[Any, ...]:
    """The run-time arguments of ``adam`` for the step after these states, computed in float64. None at all for states
    that have taken different numbers of steps: then a program that took them together does not hold."""
    steps = {state["step"] for state in states}
    if len(steps) > 1:
        return ()
    (beta1, beta2), step = group["betas"], steps.pop() + 1
    lr, weight_decay = group["lr"], group["weight_decay"]
    decay = None
    if weight_decay != 0:
        decay = 1 - lr * weight_decay if group["decoupled_weight_decay"] else weight_decay
    return (lr / (1 - beta1**step), sqrt(1 - beta2**step), 1 - beta1, beta2, 1 - beta2, group["eps"], decay)


class AdamW(Adam):
    """Adam with decoupled weight decay: p <- p * (1 - lr * weight_decay) in place of adding it to the gradient.

    (Loshchilov, Hutter 2019; https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html)

    >>> from minigrad import nn, ones
    >>> AdamW([nn.Parameter(ones(1))]).param_groups[0]["weight_decay"]
    0.01
    """

    __jit_free__ = ASKED_ANEW | {"betas", "eps"}

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False,
                 foreach: bool | None = None, capturable: bool = False, differentiable: bool = False,
                 fused: bool | None = None) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
                         capturable=capturable, differentiable=differentiable, fused=fused,
                         decoupled_weight_decay=True)
