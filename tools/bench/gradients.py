"""Stage: beside the house. In: a library and arrays. Out: rows' functions that compute gradients outside of a model: of
attention, of a cross entropy, and an optimizer's step over many small tensors.
Next: ``workloads.py`` and ``large.py``, the tables that they stand in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tools.bench.layers import Arrays
from tools.bench.libraries import Library, MinigradJit
from tools.bench.models import cross_entropy
from tools.bench.training import BETA1, BETA2, EPSILON, Step

Loss = Callable[..., Any]  # of a library's module, the arrays to differentiate, and the others


def pytorch_gradient(loss: Loss, count: int, library: Library, arrays: Arrays) -> Step:
    """The gradients of a loss to its first ``count`` arrays, stacked, in minigrad and PyTorch."""
    lib = library.module
    operands = [library.array(a) for a in arrays]
    wanted = [operand.requires_grad_() for operand in operands[:count]]
    compute = library.compiled_loss(lambda *operands: loss(lib, *operands))

    def step() -> Any:
        for operand in wanted:
            operand.grad = None
        compute(*operands).backward()
        return library.finish(wanted[0].grad if count == 1 else lib.stack([operand.grad for operand in wanted]))

    return library.compiled_step(step)


def jax_gradient(loss: Loss, count: int, library: Library, arrays: Arrays) -> Step:
    """The same in JAX."""
    jax = library.module
    operands = [library.array(a) for a in arrays]

    def gradient(*operands: Any) -> Any:
        found = jax.grad(lambda *operands: loss(jax, *operands), tuple(range(count)))(*operands)
        return found[0] if count == 1 else jax.numpy.stack(found)

    compiled = library.compiled(gradient)
    return lambda: library.finish(compiled(*operands))


def gradient_functions(pytorch: Loss, jax: Loss, numpy: Callable[..., Any], count: int
                       ) -> dict[str, Callable[..., Any]]:
    """The functions of a row of kind "made": ``numpy(*arrays)`` gives the gradients themselves."""
    return {"pytorch": partial(pytorch_gradient, pytorch, count), "jax": partial(jax_gradient, jax, count),
            "numpy": lambda library, arrays: lambda: numpy(*arrays)}


def cross_entropy_functions() -> dict[str, Callable[..., Any]]:
    """The gradient of the scores in a mean cross entropy."""
    return gradient_functions(
        lambda lib, x, y: lib.nn.functional.cross_entropy(x, y),
        lambda jax, x, y: -jax.numpy.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1).mean(),
        lambda x, y: cross_entropy(x, y)[1], 1)


def jax_causal_attention(jax: Any, q: Any, k: Any, v: Any, g: Any) -> Any:
    """The sum of g times causal attention."""
    scores = q @ k.swapaxes(-1, -2) * q.shape[-1]**-0.5
    seen = jax.numpy.where(jax.numpy.tri(q.shape[-2], dtype=bool), scores, -np.inf)
    return (jax.nn.softmax(seen, -1) @ v * g).sum()


def numpy_causal_attention(*operands: np.ndarray) -> np.ndarray:
    """The gradients of queries, keys and values, a head at a time."""
    q, k, v, g = (a.reshape(-1, *a.shape[-2:]) for a in operands)
    hidden = ~np.tri(q.shape[1], dtype=bool)
    scale = q.shape[-1]**-0.5
    result = np.empty((3, *q.shape), q.dtype)
    for head in range(len(q)):
        p = q[head] @ k[head].T * scale
        p[hidden] = -np.inf
        p = np.exp(p - p.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        d = g[head] @ v[head].T
        d = p * (d - (p * d).sum(-1, keepdims=True)) * scale
        result[:, head] = d @ k[head], d.T @ q[head], p.T @ g[head]
    return result.reshape(3, *operands[0].shape)


def causal_attention_functions() -> dict[str, Callable[..., Any]]:
    """Causal attention, forward and backward: the gradients of queries, keys and values, stacked."""
    return gradient_functions(
        lambda lib, q, k, v, g: (lib.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True) * g).sum(),
        jax_causal_attention, numpy_causal_attention, 3)


# --- Adam over many small tensors: the step's "loss" is the mean of the last one ------------------------------------

RATE = 1e-2


def small_tensors() -> list[np.ndarray]:
    """200 tensors of 1 to 4096 numbers, then their gradients."""
    generator = np.random.default_rng(3)
    sizes = generator.integers(1, 4097, 200)
    return [generator.standard_normal(size, dtype=np.float32) for size in [*sizes, *sizes]]


def halves(values: list[Any]) -> tuple[list[Any], list[Any]]:
    """The first half and the second."""
    return values[: len(values) // 2], values[len(values) // 2:]


def pytorch_adam(library: Library, arrays: Arrays) -> Step:
    """An optimizer's step whose gradients stay."""
    lib = library.module
    weights, gradients = halves([library.array(a) for a in arrays])
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.requires_grad_()
        weight.grad = gradient
    optimizer = lib.optim.Adam(weights, lr=RATE)

    def step() -> Any:
        optimizer.step()
        return library.finish(weights[-1].detach().mean())

    return library.compiled_step(step)


def adam(xp: Any, state: Any, gradients: list[Any]) -> Any:
    """Adam's step from (count, weights, first moments, second moments) to the next."""
    count, weights, first, second = state
    count = count + 1
    first = [BETA1 * m + (1 - BETA1) * g for m, g in zip(first, gradients, strict=True)]
    second = [BETA2 * v + (1 - BETA2) * g * g for v, g in zip(second, gradients, strict=True)]
    scale1, scale2 = 1 / (1 - BETA1**count), 1 / (1 - BETA2**count)
    weights = [w - RATE * (m * scale1) / (xp.sqrt(v * scale2) + EPSILON)
               for w, m, v in zip(weights, first, second, strict=True)]
    return count, weights, first, second


def array_adam(library: Library, arrays: Arrays) -> Step:
    """The step in JAX, compiled and its memory donated, and in NumPy."""
    weights, gradients = halves([library.array(a) for a in arrays])
    jax = library.module if library.name == "jax" else None
    xp = jax.numpy if jax else np
    state = (xp.zeros((), np.float32), weights, [xp.zeros_like(w) for w in weights],
             [xp.zeros_like(w) for w in weights])
    update = jax.jit(partial(adam, xp), donate_argnums=(0,)) if jax else partial(adam, np)

    def step() -> Any:
        nonlocal state
        state = library.finish(update(state, gradients))
        return state[1][-1].mean()

    return step


def adam_functions(jit: bool) -> dict[str, Callable[..., Any]]:
    """The step of each library; ``jit``: in a row of compilers."""
    return {"pytorch": pytorch_adam, "numpy": array_adam, "jax": array_adam,
            **({"minigrad": lambda library, arrays: pytorch_adam(MinigradJit(library.threads), arrays)} if jit else {})}
