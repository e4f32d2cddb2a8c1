"""Stage: front. In: Parameters and gradients. Out: SparseAdam.
Next: ``adadelta.py``."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

from minigrad.optim.composite import CompositeOptimizer, check_betas
from minigrad.optim.optimizer import ParamsT
from minigrad.tensor import Tensor, known


class SparseAdam(CompositeOptimizer):
    """SparseAdam: Adam that changes only those rows of a parameter, and of its moments, that have a gradient.

    For the rows that a sparse gradient has: m <- m + (1 - beta1) (g - m);  v <- v + (1 - beta2) (g^2 - v);
    p <- p - lr sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + eps). ``RuntimeError`` for dense gradients.
    (https://docs.pytorch.org/docs/stable/generated/torch.optim.SparseAdam.html)

    >>> from minigrad import nn, ones, sparse_coo_tensor
    >>> p = nn.Parameter(ones(2))
    >>> p.grad = sparse_coo_tensor([[1]], [1.0], (2,))
    >>> SparseAdam([p], lr=0.25).step()
    >>> p.detach()
    tensor([1.0000, 0.7500])
    """

    _scalars = ("step",)

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

    def _record(self, group: dict[str, Any], targets: list[Tensor], values: list[Tensor]) -> list[Callable[[], None]]:
        for param in group["params"]:
            if param.grad is not None and not param.grad.is_sparse:
                raise RuntimeError("SparseAdam does not support dense gradients, please consider Adam instead")
        return super()._record(group, targets, values)

    def _sparse_step(self, group: dict[str, Any], param: Tensor, grad: Any) -> None:
        state, step = self._sparse_state(group, param)
        (beta1, beta2), rows = group["betas"], (-grad if group["maximize"] else grad).coalesce()
        if not rows._nnz():
            return
        g, average, square = rows.values(), state["exp_avg"], state["exp_avg_sq"]
        old_average, old_square = average.sparse_mask(rows).values(), square.sparse_mask(rows).values()
        more_average, more_square = (g - old_average) * (1 - beta1), (g * g - old_square) * (1 - beta2)
        average.add_(rows._with_values(more_average))
        square.add_(rows._with_values(more_square))
        size = known(group["lr"]) * sqrt(1 - beta2**step) / (1 - beta1**step)
        change = (old_average + more_average) / ((old_square + more_square).sqrt() + group["eps"])
        param.add_(rows._with_values(change * -size))
