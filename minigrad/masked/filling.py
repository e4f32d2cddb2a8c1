"""Stage: PyTorch-shaped top. In: a Tensor, a mask and the name of an operation. Out: the Tensor with the operation's
identity where the mask is False.
Next: ``normalisations.py``."""

from __future__ import annotations

from typing import Any

import minigrad
from minigrad import Tensor
from minigrad.dtype import DType

Dims = int | tuple[int, ...] | list[int] | None

IDENTITIES = {
    "sum": 0, "cumsum": 0, "norm": 0, "prod": 1, "cumprod": 1, "amax": "lowest", "argmax": "lowest",
    "logaddexp": "lowest", "logsumexp": "lowest", "amin": "highest", "argmin": "highest", "median": float("nan"),
}
"""What does not change an operation's result; ``lowest`` and ``highest`` are -∞ and ∞, or an integer dtype's limits."""


def identity(operation: str, dtype: DType) -> Any:
    """The number that changes nothing.

    >>> identity("amax", minigrad.float32), identity("amax", minigrad.int8), identity("prod", minigrad.float32)
    (-inf, -128, 1)
    """
    value = IDENTITIES[operation]
    if not isinstance(value, str):
        return value
    if dtype.is_complex and operation == "logsumexp":
        return float("-inf")
    if dtype.is_complex or dtype is minigrad.bool:
        raise NotImplementedError(f"identity of {operation} on {dtype} input")
    if dtype.is_floating_point:
        return float("inf") if value == "highest" else float("-inf")
    limits = minigrad.iinfo(dtype)
    return limits.max if value == "highest" else limits.min


def filled(input: Tensor, mask: Tensor | None, number: Any) -> Tensor:
    """``input`` where the mask is True, elsewhere the number; without a mask ``input`` as it is.

    >>> filled(minigrad.tensor([1., 2.]), minigrad.tensor([True, False]), 0)
    tensor([1., 0.])
    """
    if mask is None:
        return input
    return minigrad.where(broadcast(mask, input), input, input.new_full((), number))


def broadcast(mask: Tensor, input: Tensor) -> Tensor:
    """The mask in the shape of ``input``, of dtype bool. IndexError if it has more dimensions.

    >>> broadcast(minigrad.tensor([1, 0]), minigrad.zeros(2, 2))
    tensor([[ True, False],
            [ True, False]])
    """
    if mask.ndim > input.ndim:
        raise IndexError("_input_mask expected broadcastable mask (got mask dimensionality higher than of the input)")
    return mask.to(minigrad.bool).expand(input.shape)


def dimensions(dim: Dims, ndim: int) -> tuple[int, ...]:
    """All dimensions that are meant, sorted; ``None`` and ``()`` mean all.

    >>> dimensions(-1, 3), dimensions(None, 2)
    ((2,), (0, 1))
    """
    if dim is None or dim == ():
        return tuple(range(ndim))
    found: list[int] = []
    limit = max(ndim, 1)
    for d in (dim,) if isinstance(dim, int) else dim:
        if d in found:
            raise RuntimeError(f"dim={d} appears multiple times in the list of dims")
        if not -limit <= d < limit:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got {d})")
        found.append(d % limit)
    return tuple(sorted(found))
