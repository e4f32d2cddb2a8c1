"""Stage: tests. In: a function of Tensors, and them. Out: whether its forward mode agrees with its backward mode, and
``vmap`` of it with a loop over rows; or in either library its first and second derivatives.
Next: ``finite.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import minigrad
from tools.operators.calls import leaves, seeded
from tools.operators.compare import difference
from tools.operators.facade import tensor, theirs

Function = Callable[..., list[Any]]


def orders(library: Any, function: Callable[..., Any], arguments: list[Any], options: dict[str, Any],
                 finish: Callable[[Any], Any], second: bool) -> list[list[Any]]:
    """The gradients of the results' product with fixed numbers, and those of the gradients'."""
    inputs = [t for t in leaves([arguments, options], library) if t.requires_grad]
    results = [t for t in leaves(finish(seeded(library, function, arguments, options)), library) if t.requires_grad]
    if not inputs or not results:
        return []
    results = [t.to_dense() if t.is_sparse or t.is_sparse_csr else t for t in results]
    weights = [_exact(library, t, 1) for t in results]
    for weight in weights:
        weight.requires_grad_(second)
    gradients = library.autograd.grad(results, inputs, weights, create_graph=second, allow_unused=True)
    found = [list(gradients)]
    if second:
        again = [g for g in gradients if g is not None and g.requires_grad]
        found.append(list(library.autograd.grad(again, [*inputs, *weights], [_exact(library, g, 2) for g in again],
                                                allow_unused=True)) if again else [])
    return found


def _exact(library: Any, like: Any, seed: int) -> Any:
    """Fixed numbers of the shape and dtype, the same in both libraries and exact in bfloat16."""
    generator = torch.Generator().manual_seed(seed)
    dtype = getattr(torch, str(like.dtype).rpartition(".")[2])
    made = torch.randint(64, 192, tuple(like.shape), generator=generator).div(128).to(dtype)
    if dtype.is_complex:
        made = made + 1j * made.flip(-1 if made.ndim else ())
    return made if library is torch else tensor(made)


def forward(function: Function, at: list[Any]) -> str | None:
    """v · (J u) by ``jvp`` and (vᵀ J) · u by ``vjp``, with fixed u and v. None if no output has a derivative."""
    with_gradient = [t.detach().requires_grad_() for t in at]
    outputs = [o for o in function(*with_gradient) if o.requires_grad]
    if not outputs:
        return None
    numbers = [i for i, o in enumerate(function(*with_gradient)) if o.requires_grad]
    along, ahead = [_numbers(t, 1) for t in at], [_numbers(o, 2) for o in outputs]
    found = minigrad.autograd.grad(outputs, with_gradient, ahead, allow_unused=True)
    backwards = sum([(g * u).sum() for g, u in zip(found, along, strict=True) if g is not None], minigrad.zeros(
        (), dtype=minigrad.float64))
    changes = minigrad.func.jvp(lambda *x: tuple(function(*x)), tuple(at), tuple(along))[1]
    forwards = sum([(changes[i] * v).sum() for i, v in zip(numbers, ahead, strict=True)])
    return difference(forwards, theirs(backwards))


def batched(function: Function, at: list[Any]) -> str | None:
    """``vmap`` over two rows of all inputs, which lie along dimension 0 or 1, beside the function of each. None if it
    can't be called for one row."""
    rows = [[t, t * 0.75] for t in at]
    try:
        expected = [function(*row) for row in zip(*rows, strict=True)]
    except Exception:  # the other row is not in the function's domain
        return None
    if not expected[0] or any(a.shape != b.shape for a, b in zip(*expected, strict=True)):
        return None
    for dim in (0, 1):
        dims = tuple([min(dim, t.ndim) for t in at])
        given = [minigrad.stack(pair, d) for pair, d in zip(rows, dims, strict=True)]
        found = minigrad.vmap(lambda *x: tuple(function(*x)), dims)(*given)
        for i, output in enumerate(found):
            problem = difference(output, torch.stack([theirs(row[i]) for row in expected]))
            if problem:
                return f"in_dims {dim}, output {i}: {problem}"
    return ""


def _numbers(like: Any, seed: int) -> Any:
    """Fixed numbers of a Tensor's shape."""
    generator = torch.Generator().manual_seed(seed)
    return tensor(torch.rand(tuple(like.shape), generator=generator, dtype=torch.float64) + 0.5)
