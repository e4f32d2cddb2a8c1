"""A new rule of the simplifier: abs(-x) is abs(x). It holds to the bit, for NaN and -0.0, too: both only set signs."""

from __future__ import annotations

import minigrad
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.show import show
from minigrad.schedule.simplify import RULES_OF, Builder, Rule, simplify


def without_sign(node: LazyBuffer, builder: Builder) -> LazyBuffer | None:
    """The same without the inner node, or None where the rule does not apply."""
    (below,) = node.srcs
    return builder.make(node.op, below.srcs, None, node) if below.op == "NEG" else None


RULE = Rule("without-sign", ("ABS",), "a sign that is dropped need not be turned",
            "x.unary('NEG').unary('ABS')", "x.unary('ABS')", without_sign)


def kernel(x: minigrad.Tensor) -> str:
    """The C of the kernel for abs(-x), planned anew."""
    with minigrad.config(CACHE=0, REPLAY=0, TIERS=0), minigrad.inspect() as seen:
        y = (-x).abs()
        (root,), _ = simplify([y._whole()])
        print(show([root]), end="\n\n")
        y.realize()
    assert y[:3].tolist() == [2.0, 0.0, 0.0] and y[3].isnan()
    return seen.kernels[0].source


def main() -> None:
    assert "-in0" in kernel(minigrad.tensor([-2.0, 0.0, -0.0, float("nan")]))
    RULES_OF.setdefault("ABS", []).append(RULE)
    try:
        assert "-in0" not in kernel(minigrad.tensor([-2.0, 0.0, -0.0, float("nan"), 1.0]))  # another shape: a new plan
    finally:
        RULES_OF["ABS"].remove(RULE)


if __name__ == "__main__":
    main()
