"""Stage: front. In: Parameters and gradients. Out: AdamW.
Next: ``adamax.py``."""

from __future__ import annotations

from typing import Any

from minigrad.optim.adam import Adam
from minigrad.optim.composite import ASKED_ANEW
from minigrad.optim.optimizer import ParamsT
from minigrad.tensor import Tensor


class AdamW(Adam):
    """Adam with decoupled weight decay: p <- p * (1 - lr * weight_decay) in place of adding it to the gradient.

    (Loshchilov, Hutter 2019; https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html)

    >>> from minigrad import nn, ones
    >>> AdamW([nn.Parameter(ones(1))]).param_groups[0]["weight_decay"]
    0.01
    """

    __jit_free__ = ASKED_ANEW | {"betas", "eps"}

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-3,
                 betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False,
                 foreach: bool | None = None, capturable: bool = False, differentiable: bool = False,
                 fused: bool | None = None) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
                         capturable=capturable, differentiable=differentiable, fused=fused,
                         decoupled_weight_decay=True)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
