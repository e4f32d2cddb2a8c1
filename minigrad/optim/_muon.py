"""Stage: front. In: matrices and their gradients. Out: Muon.
Next: ``lbfgs.py``."""

from __future__ import annotations

from math import sqrt
from typing import Any

from minigrad.dtype import DType, bfloat16, float32
from minigrad.optim.composite import ASKED_ANEW, CompositeOptimizer, for_each
from minigrad.optim.optimizer import ParamsT
from minigrad.tensor import Tensor, known, maximum


@for_each(states=1)
def muon(param: Tensor, grad: Tensor, buffer: Tensor, lr: Tensor, shrink: Tensor, share: Tensor, momentum: Tensor,
         eps: Tensor, a: Tensor, b: Tensor, c: Tensor, *, nesterov: bool, steps: int,
         adjust: str | None) -> tuple[Tensor, Tensor]:
    """The new parameter and momentum buffer; see ``Muon`` for the formula. ``shrink`` is 1 - lr * weight_decay."""
    buffer = buffer + share * (grad - buffer)
    update = orthogonal(grad + momentum * (buffer - grad) if nesterov else buffer, eps, a, b, c, steps)
    rows, columns = param.shape
    if adjust is None or adjust == "original":
        ratio = sqrt(max(1, rows / columns))
    else:
        ratio = 0.2 * sqrt(max(rows, columns))
    return param * shrink - lr * ratio * update.to(param.dtype), buffer


def orthogonal(matrix: Tensor, eps: Tensor, a: Tensor, b: Tensor, c: Tensor, steps: int) -> Tensor:
    """About U V^T for a matrix U S V^T, by Newton's and Schulz's iteration X <- a X + (b X X^T + c (X X^T)^2) X. Each
    product is computed in float32 and rounded to bfloat16."""
    eps, a, b, c = [t.to(float32) for t in (eps, a, b, c)]
    tall = matrix.shape[0] > matrix.shape[1]
    x = _rounded(matrix.to(float32))
    x = x.T if tall else x
    x = _rounded(x / maximum(_rounded((x * x).sum().sqrt()), _rounded(eps)))
    for _ in range(steps):
        gram = _rounded(x @ x.T)
        x = _rounded(a * x + _rounded(b * gram + c * (gram @ gram)) @ x)
    return x.T if tall else x


def _rounded(x: Tensor) -> Tensor:
    """The nearest numbers that bfloat16 has, in float32."""
    return x.to(bfloat16).to(float32)


class Muon(CompositeOptimizer):
    """Muon: momentum whose steps are made orthogonal, for matrices.

    b <- b + (1 - momentum) (g - b);  u = g + momentum (b - g) with ``nesterov``, else b;
    p <- (1 - lr weight_decay) p - lr' NewtonSchulz(u), where lr' is lr sqrt(max(1, rows / columns)), or with
    ``adjust_lr_fn="match_rms_adamw"`` 0.2 lr sqrt(max(rows, columns)). ``ValueError`` for what is no matrix.
    (Jordan et al. 2024; https://docs.pytorch.org/docs/stable/generated/torch.optim.Muon.html)

    >>> from minigrad import eye, nn
    >>> p = nn.Parameter(eye(2))
    >>> p.grad = eye(2)
    >>> Muon([p], lr=0.0, weight_decay=0.5).step()
    >>> p.detach()
    tensor([[1., 0.],
            [0., 1.]])
    """

    __jit_free__ = ASKED_ANEW | {"momentum", "ns_coefficients", "eps"}
    _update = muon
    _scalars = ()

    def __init__(self, params: ParamsT, lr: float = 1e-3, weight_decay: float = 0.1, momentum: float = 0.95,
                 nesterov: bool = True, ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
                 eps: float = 1e-7, ns_steps: int = 5, adjust_lr_fn: str | None = None) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        for name, value in (("Learning rate", lr), ("momentum", momentum), ("weight decay", weight_decay)):
            if not value >= 0.0:
                raise ValueError(f"{name} should be >= 0 but is: {value}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        super().__init__(params, dict(lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov,
                                      ns_coefficients=ns_coefficients, eps=eps, ns_steps=ns_steps,
                                      adjust_lr_fn=adjust_lr_fn))
        for group in self.param_groups:
            for param in group["params"]:
                if param.ndim != 2:
                    raise ValueError("Muon only supports 2D parameters whereas we found a parameter with size: "
                                     f"{param.size()}")

    def _slots(self, group: dict[str, Any], param: Tensor) -> tuple[str | None, ...]:
        if param.ndim != 2:
            raise ValueError("Param gradient must be a 2D matrix")
        return ("momentum_buffer",)

    def _static(self, group: dict[str, Any], dtype: DType) -> dict[str, Any]:
        if group["ns_steps"] >= 100:
            raise ValueError("Number of steps must be less than 100 for computational efficiency")
        if len(group["ns_coefficients"]) != 3:
            raise ValueError("Coefficients must be a tuple of exactly 3 values")
        return {"nesterov": group["nesterov"], "steps": group["ns_steps"], "adjust": group["adjust_lr_fn"],
                "maximize": False}

    @staticmethod
    def _numbers(group: dict[str, Any], first: bool, *numbers: float) -> tuple[float | None, ...]:
        lr, momentum = known(group["lr"]), group["momentum"]
        return (lr, 1 - lr * group["weight_decay"], 1 - momentum, momentum, group["eps"], *group["ns_coefficients"])


Muon.__module__ = "minigrad.optim"
