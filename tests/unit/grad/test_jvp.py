"""Forward mode follows from a gradient by hand where there is one, never from the body beside it."""

from __future__ import annotations

import pytest

from minigrad.dtype import float32
from minigrad.grad.jvp import forward_of
from minigrad.graph.function import Subgraph, param
from minigrad.ops import Op


def test_a_gradient_by_hand_without_a_derivative_is_refused() -> None:
    x = param(0, (3,), float32, "CPU")
    body = Subgraph("f", [x], [x.unary(Op.EXP)], lambda inputs, outputs, grads: [grads[0].scan(Op.MAX, 0)])
    with pytest.raises(NotImplementedError, match="running MAX"):
        forward_of(body, (True,))
