"""Stage: front. In: a Module with a weight. Out: the same with the weight kept orthogonal, or of a given length, or
with its largest singular value at 1.
Next: ``stateless.py``."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from minigrad.autograd import no_grad
from minigrad.nn.composites import reparametrization
from minigrad.nn.modules.module import Module
from minigrad.nn.utils import orthogonal_maps
from minigrad.nn.utils.parametrize import register_parametrization
from minigrad.nn.utils.spectral_norm import rows_of
from minigrad.tensor import Tensor, cat, finfo, from_numpy, randn, update_, zeros_like

T = TypeVar("T", bound=Module)


def _tensor_of(module: Module, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


# --- weight norm


class _WeightNorm(Module):
    """g * v / |v|, with |v| over all dimensions but ``dim``."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return reparametrization.weight_norm(weight_v, weight_g, dim=self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return reparametrization.norm_except_dim(weight, dim=self.dim), weight


def weight_norm(module: T, name: str = "weight", dim: int | None = 0) -> T:
    """Learns the length and the direction of ``module.name`` apart: weight = g * v / |v|.

    |v| is over all dimensions but ``dim``, or over all with ``dim=None``; g is ``original0``, v ``original1``. State
    dictionaries of the older ``nn.utils.weight_norm`` are read. (Salimans, Kingma 2016;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.weight_norm.html)

    >>> from minigrad import nn
    >>> layer = weight_norm(nn.Linear(2, 3))
    >>> [(name, tuple(p.shape)) for name, p in layer.parametrizations.named_parameters()]
    [('weight.original0', (3, 1)), ('weight.original1', (3, 2))]
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        old = f"{prefix}{name}_g", f"{prefix}{name}_v"
        if all(key in state_dict for key in old):
            for number, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{number}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(rename)
    return module


# --- spectral norm


class _SpectralNorm(Module):
    """weight / sigma, its largest singular value; a vector is divided by its length."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        ndim = weight.ndim
        if dim >= ndim or dim < -ndim:
            raise IndexError(f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but got {dim})")
        if n_power_iterations <= 0:
            raise ValueError("Expected n_power_iterations to be positive, but got "
                             f"n_power_iterations={n_power_iterations}")
        self.dim = dim if dim >= 0 else dim + ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            height, width = reparametrization.as_matrix(weight.detach(), self.dim).shape
            u, v = (weight.detach().new_empty(size).normal_(0, 1) for size in (height, width))
            self.register_buffer("_u", reparametrization.normalized(u, eps=eps))
            self.register_buffer("_v", reparametrization.normalized(v, eps=eps))
            self._power_method(weight, 15)
            self._u.realize()

    def _power_method(self, weight: Tensor, n_power_iterations: int) -> tuple[Tensor, Tensor]:
        """Some steps, whose results become ``_u`` and ``_v``."""
        with no_grad():
            u, v = reparametrization.power_iteration(weight.detach(), self._u, self._v, dim=self.dim,
                                                     steps=n_power_iterations, eps=self.eps, u_first=True)
            update_([self._u, self._v], [u, v])
        return u, v

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return reparametrization.normalized(weight, eps=self.eps)
        u, v = self._power_method(weight, self.n_power_iterations) if self.training else (self._u, self._v)
        return reparametrization.spectral_norm(weight, u, v, dim=self.dim)

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(module: T, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12,
                  dim: int | None = None) -> T:
    """Divides ``module.name`` by its largest singular value, whenever it is read.

    The value is estimated by the power method, ``n_power_iterations`` steps whenever the weight is read in training.
    ``dim`` is the dimension of the outputs. (Miyato et al. 2018;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.spectral_norm.html)

    >>> import numpy as np
    >>> from minigrad import nn
    >>> layer = spectral_norm(nn.Linear(4, 5))
    >>> bool(abs(np.linalg.norm(layer.weight.detach().numpy(), 2) - 1) < 0.05)
    True
    """
    weight = _tensor_of(module, name)
    kind = _SpectralNorm(weight, n_power_iterations, rows_of(module) if dim is None else dim, eps)
    register_parametrization(module, name, kind)
    return module


# --- orthogonal


class _Orthogonal(Module):
    """A matrix with orthonormal columns (rows, if they are fewer), computed from any matrix by ``orthogonal_map``.

    With ``use_trivialization`` the result is ``base`` times that, where ``base`` is the matrix last assigned.
    """

    base: Tensor | None

    def __init__(self, weight: Tensor, orthogonal_map: str, *, use_trivialization: bool = True) -> None:
        super().__init__()
        self.shape, self.orthogonal_map = weight.shape, orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        turned = X.shape[-2] < X.shape[-1]
        if turned:
            X = X.mT
        Q = orthogonal_maps.MAPS[self.orthogonal_map](X)
        if hasattr(self, "base"):
            assert self.base is not None
            Q = self.base @ Q
        return Q.mT if turned else Q

    def right_inverse(self, Q: Tensor) -> Tensor:
        if Q.shape != self.shape:
            raise ValueError(f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape "
                             f"{Q.shape}.")
        with no_grad():
            turned = Q.shape[-2] < Q.shape[-1]
            upright = Q.mT if turned else Q
            rows, columns = upright.shape[-2:]
            if not hasattr(self, "base"):
                if self.orthogonal_map != "householder":
                    raise NotImplementedError("It is not possible to assign to the matrix exponential or the Cayley "
                                              "parametrizations when use_trivialization=False.")
                found = from_numpy(orthogonal_maps.reflections(upright.detach().numpy()))
                return found.mT if turned else found
            if rows == columns:
                base = upright.clone() if _is_orthogonal(upright) else _made_orthogonal(upright)
            else:
                more = randn(*upright.shape[:-2], rows, rows - columns, dtype=Q.dtype, device=Q.device)
                base = _made_orthogonal(cat([upright, more], -1))
            self.base = base.realize()
            negative = zeros_like(Q)
            diagonal = np.arange(min(rows, columns))
            negative[..., diagonal, diagonal] = -1.0
            return negative


def _is_orthogonal(Q: Tensor) -> bool:
    array = Q.detach().numpy()
    unit = np.eye(array.shape[-1], dtype=array.dtype)
    return bool(np.allclose(array.swapaxes(-1, -2) @ array, unit, atol=10.0 * array.shape[-2] * finfo(Q.dtype).eps))


def _made_orthogonal(A: Tensor) -> Tensor:
    """Q of the QR decomposition of A, with signs that make R's diagonal positive; on the host, as for ``nn.init``."""
    q, r = np.linalg.qr(A.detach().numpy())
    return from_numpy(q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]).to(device=A.device)


def orthogonal(module: T, name: str = "weight", orthogonal_map: str | None = None, *,
               use_trivialization: bool = True) -> T:
    """Keeps ``module.name``, a matrix or a batch of them, orthogonal: QᵀQ = 1, or QQᵀ = 1 if it is wide.

    ``orthogonal_map`` is "matrix_exp" (exp of a skew matrix A, the default for square ones), "cayley"
    ((1 - A/2)⁻¹(1 + A/2)) or "householder" (a product of reflections, the default for others). ``ValueError`` for
    another, for what is no tensor, and for a vector. (Lezcano-Casado 2019;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.orthogonal.html)

    >>> import minigrad
    >>> w = orthogonal(minigrad.nn.Linear(3, 5)).weight
    >>> bool((w.T @ w - minigrad.eye(3)).abs().max() < 1e-5)
    True
    """
    weight = _tensor_of(module, name)
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder"
    if orthogonal_map not in orthogonal_maps.MAPS:
        raise ValueError('orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: '
                         f"{orthogonal_map}")
    kind = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    register_parametrization(module, name, kind, unsafe=True)
    return module
