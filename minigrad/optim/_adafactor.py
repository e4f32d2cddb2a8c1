"""Stage: front. In: Parameters and gradients. Out: Adafactor.
Next: ``rmsprop.py``."""

from __future__ import annotations

from typing import Any

from minigrad.dtype import DType
from minigrad.optim.composite import ASKED_ANEW, CompositeOptimizer, for_each
from minigrad.optim.optimizer import ParamsT
from minigrad.tensor import Tensor, finfo, known, maximum


@for_each(states=3)
def adafactor(param: Tensor, grad: Tensor, rows: Tensor | None, columns: Tensor | None, variance: Tensor | None,
              share: Tensor, step_size: Tensor, least: Tensor, threshold: Tensor, eps: Tensor | None,
              decay: Tensor | None, *, smallest: float) -> tuple[Tensor | None, ...]:
    """The new parameter and factors of the variance; see ``Adafactor`` for the formula. ``smallest`` takes the place of
    a missing ``eps``."""
    floor: Any = smallest if eps is None else eps
    step = maximum(least, (param * param).mean().sqrt()) * step_size
    if decay is not None:
        param = param * decay
    squares = grad * grad
    if rows is not None and columns is not None:
        rows = rows + share * (squares.mean(-1, keepdim=True) - rows)
        columns = columns + share * (squares.mean(-2, keepdim=True) - columns)
        estimate = rows * columns / rows.mean(-2, keepdim=True).clamp(min=floor)
    else:
        assert variance is not None
        estimate = variance = variance + share * (squares - variance)
    change = grad * estimate.clamp(min=floor * floor).rsqrt()
    clipped = ((change * change).mean().sqrt() / threshold).clamp(min=1.0)
    return param - step / clipped * change, rows, columns, variance


class Adafactor(CompositeOptimizer):
    """Adafactor: Adam's second moment of a matrix as a product of a row and a column, and clipped steps.

    b = t^beta2_decay;  a = max(eps2, RMS(p)) min(lr, 1 / sqrt(t));  p <- p - lr weight_decay p;
    R <- R + b (mean of g^2 over columns - R), C <- C + b (mean of g^2 over rows - C), V = R C / max(mean R, eps1), or
    for vectors V <- V + b (g^2 - V);  U = g / max(sqrt(V), eps1);  p <- p - a U / max(1, RMS(U) / d).
    Without ``eps1`` it is the smallest relative difference of the parameter's dtype.
    (Shazeer, Stern 2018; https://docs.pytorch.org/docs/stable/generated/torch.optim.Adafactor.html)

    >>> from minigrad import nn, ones
    >>> p = nn.Parameter(ones(2, 2))
    >>> p.grad = ones(2, 2)
    >>> Adafactor([p], lr=0.25).step()
    >>> p.detach()
    tensor([[0.7500, 0.7500],
            [0.7500, 0.7500]])
    """

    __jit_free__ = ASKED_ANEW | {"beta2_decay", "eps", "d"}
    _added_options = ("foreach",)
    _update = adafactor
    _changing = 2

    def __init__(self, params: ParamsT, lr: float | Tensor = 1e-2, beta2_decay: float = -0.8,
                 eps: tuple[float | None, float] = (None, 1e-3), d: float = 1.0, weight_decay: float = 0.0, *,
                 foreach: bool | None = None, maximize: bool = False) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        for name, value, right, should in (
                ("Learning rate", lr, lr >= 0.0, ">= 0"), ("beta2_decay", beta2_decay, beta2_decay <= 0.0, "<= 0"),
                ("epsilon1", eps[0], eps[0] is None or eps[0] >= 0.0, ">= 0"),
                ("epsilon2", eps[1], eps[1] >= 0.0, ">= 0"), ("Clipping threshold d", d, d >= 1.0, ">= 1"),
                ("weight_decay", weight_decay, weight_decay >= 0.0, ">= 0")):
            if not right:
                raise ValueError(f"{name} should be {should} but is: {value}")
        super().__init__(params, dict(lr=lr, beta2_decay=beta2_decay, eps=eps, d=d, weight_decay=weight_decay,
                                      foreach=foreach, maximize=maximize))

    def _slots(self, group: dict[str, Any], param: Tensor) -> tuple[str | None, ...]:
        return ("row_var", "col_var", None) if param.ndim > 1 else (None, None, "variance")

    def _initial(self, name: str, param: Tensor, group: dict[str, Any]) -> Tensor:
        shape = list(param.shape)
        if name == "row_var":
            shape[-1] = 1
        elif name == "col_var":
            shape[-2] = 1
        return param.detach().new_zeros(shape)

    def _static(self, group: dict[str, Any], dtype: DType) -> dict[str, Any]:
        return {"smallest": finfo(dtype).eps, "maximize": group["maximize"]}

    @staticmethod
    def _numbers(group: dict[str, Any], first: bool, *numbers: float) -> tuple[float | None, ...]:
        step, lr, weight_decay = numbers[0] + 1, known(group["lr"]), group["weight_decay"]
        eps1, eps2 = group["eps"]
        return (step ** group["beta2_decay"], min(lr, 1 / step**0.5), eps2, group["d"], eps1,
                1 - lr * weight_decay if weight_decay != 0 else None)


Adafactor.__module__ = "minigrad.optim"
