"""Stage: tests. In: a function of Tensors. Out: whether forward mode gives the slopes that finite differences give,
and whether rows computed together, by ``vmap``, are those computed one by one. ``gradcheck`` asks for it.
Next: ``functional.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minigrad.autograd.backward import grad
from minigrad.autograd.forward_ad import dual_level, make_dual, unpack_dual
from minigrad.func import vmap
from minigrad.tensor import Tensor, randn_like, stack, zeros_like

Function = Callable[..., Any]


def outputs_of(values: Any) -> list[Tensor]:
    """The Tensors among the outputs that have derivatives."""
    found = values if isinstance(values, tuple | list) else (values,)
    return [v for v in found if isinstance(v, Tensor) and (v.is_floating_point() or v.is_complex())]


def product(func: Function, inputs: Sequence[Any], tangents: dict[int, Tensor]) -> list[Tensor]:
    """The Jacobian times tangents of the inputs at these positions."""
    with dual_level():
        given = [make_dual(x.detach(), tangents[i]) if i in tangents else x.detach() if isinstance(x, Tensor) else x
                 for i, x in enumerate(inputs)]
        found = [unpack_dual(o) for o in outputs_of(func(*given))]
        return [zeros_like(primal).detach() if change is None else change for primal, change in found]


def columns(func: Function, inputs: Sequence[Any], position: int) -> list[Tensor]:
    """For each output the matrix of slopes by one input, in forward mode; a row for each element of the input."""
    x = inputs[position]
    rows = []
    for i in range(x.numel()):
        direction = zeros_like(x).detach().reshape(-1)
        direction[i] = 1
        rows.append([t.reshape(-1) for t in product(func, inputs, {position: direction.reshape(x.shape)})])
    return [stack(list(r)) for r in zip(*rows, strict=True)]


def undefined_is_zero(func: Function, inputs: Sequence[Any], wanted: Sequence[int]) -> int | None:
    """Whether no tangent of an input counts as zeros. The number of an output where it does not."""
    tangents = {i: randn_like(inputs[i]).detach() for i in wanted}
    for i in wanted:
        missing = product(func, inputs, {k: t for k, t in tangents.items() if k != i})
        for number, (a, b) in enumerate(zip(missing, product(func, inputs, {**tangents, i: zeros_like(
                inputs[i]).detach()}), strict=True)):
            if not a.allclose(b):
                return number
    return None


def forward_rows(func: Function, inputs: Sequence[Any], position: int) -> list[tuple[Tensor, Tensor]]:
    """Products with two random tangents of one input: computed together, and one by one. For each output."""
    pair = [randn_like(inputs[position]).detach() for _ in range(2)]
    each = [product(func, inputs, {position: t}) for t in pair]
    together = vmap(lambda t: tuple(product(func, inputs, {position: t})))(stack(pair))
    return [(rows, stack([a, b])) for rows, a, b in zip(together, *each, strict=True)]


def backward_rows(output: Tensor, inputs: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Gradients from two random starts, together and one by one. For each input."""
    pair = [randn_like(output).detach() for _ in range(2)]

    def gradients(start: Tensor) -> tuple[Tensor, ...]:
        found = grad(output, inputs, start, retain_graph=True, allow_unused=True)
        return tuple([zeros_like(x).detach() if g is None else g for g, x in zip(found, inputs, strict=True)])

    each = [gradients(s) for s in pair]
    return [(rows, stack([a, b])) for rows, a, b in zip(vmap(gradients)(stack(pair)), *each, strict=True)]
