"""Stage: front. In: what a weight is computed from. Out: the formulas of weight norm and spectral norm.
Next: ``recurrent.py``."""

from __future__ import annotations

from minigrad.nn.composites.precision import wide
from minigrad.tensor import Tensor, composite


def _length(v: Tensor, dim: int) -> Tensor:
    """The 2-norm over all dimensions but ``dim``, which stays; over all, a single number, if ``dim`` is -1."""
    if dim == -1:
        return v.norm()
    over = tuple(axis for axis in range(v.ndim) if axis != dim)
    return v.norm(2, over, keepdim=True) if over else v.abs()


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """``weight`` with ``dim`` as its rows and all other dimensions as its columns."""
    if dim:
        weight = weight.permute(dim, *[axis for axis in range(weight.ndim) if axis != dim])
    return weight.reshape(weight.shape[0], -1)


@composite
def norm_except_dim(v: Tensor, *, dim: int) -> Tensor:
    """The length of each slice of ``v`` along ``dim``."""
    (x,), dtype = wide(v)
    return _length(x, dim).to(dtype)


@composite
def weight_norm(v: Tensor, g: Tensor, *, dim: int) -> Tensor:
    """v * g / |v|, |v| over all dimensions but ``dim``."""
    (x, length), dtype = wide(v, g)
    return (x * (length / _length(x, dim))).to(dtype)


def _unit(x: Tensor, eps: float) -> Tensor:
    """x / max(|x|, eps)."""
    return x / x.norm().clamp(min=eps)


@composite
def normalized(x: Tensor, *, eps: float) -> Tensor:
    """A vector of length 1, x / max(|x|, eps)."""
    (wider,), dtype = wide(x)
    return _unit(wider, eps).to(dtype)


@composite
def power_iteration(weight: Tensor, u: Tensor, v: Tensor, *, dim: int, steps: int, eps: float,
                    u_first: bool) -> tuple[Tensor, Tensor]:
    """Better estimates of the left and right singular vectors of the largest singular value, u and v.

    A step is u = W v / |W v|, then v = Wᵀ u / |Wᵀ u|, or the other way round.
    """
    (w, u, v), dtype = wide(as_matrix(weight, dim), u, v)
    for _ in range(steps):
        if u_first:
            u = _unit(w @ v, eps)
            v = _unit(w.T @ u, eps)
        else:
            v = _unit(w.T @ u, eps)
            u = _unit(w @ v, eps)
    return u.to(dtype), v.to(dtype)


@composite
def spectral_norm(weight: Tensor, u: Tensor, v: Tensor, *, dim: int) -> Tensor:
    """weight / (uᵀ W v), W its matrix."""
    (x, u, v), dtype = wide(weight, u, v)
    return (x / u.dot(as_matrix(x, dim) @ v)).to(dtype)
