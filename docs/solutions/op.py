"""New ops: one with a formula (its gradient follows), and one with a gradient of its own."""

from __future__ import annotations

import math
from typing import Any

import minigrad
from minigrad import Tensor, composite
from minigrad.autograd import Function, gradcheck


@composite
def log_cosh(x: Tensor) -> Tensor:
    """log(cosh(x)), a smooth |x|: no overflow, as log(cosh(100)) would have."""
    size = x.abs()
    return size + (-2 * size).exp().log1p() - math.log(2)


class RoundThrough(Function):
    """Rounds, and lets the gradient through as if it did not (the straight-through estimator)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def main() -> None:
    x = minigrad.tensor([-3.0, -0.5, 0.25, 100.0], dtype=minigrad.float64, requires_grad=True)
    assert gradcheck(log_cosh, (x,))
    with minigrad.inspect() as seen:
        y = log_cosh(x).realize()
    assert seen.launches == 1 and y[3].item() == 100 - math.log(2)
    y.sum().backward()
    assert (x.grad - x.tanh()).abs().max().item() < 1e-12  # the derivative is tanh(x)

    z = minigrad.tensor([0.2, 1.7], requires_grad=True)
    rounded = RoundThrough.apply(z)
    (rounded * rounded).sum().backward()
    print(y, rounded, z.grad)
    assert rounded.tolist() == [0.0, 2.0] and z.grad.tolist() == [0.0, 4.0]


if __name__ == "__main__":
    main()
