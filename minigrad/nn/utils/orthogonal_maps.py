"""Stage: front. In: any matrix with at least as many rows as columns. Out: one with orthonormal columns.
Next: ``parametrizations.py``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minigrad.tensor import Tensor, cat, eye, zeros


def _skew(X: Tensor) -> Tensor:
    """A square skew matrix of the elements on and below the diagonal; columns that X lacks are 0."""
    lower = X.tril()
    rows, columns = X.shape[-2:]
    if rows != columns:
        lower = cat([lower, zeros(*X.shape[:-2], rows, rows - columns, dtype=X.dtype, device=X.device)], -1)
    return lower - lower.mT


def _unit(X: Tensor) -> Tensor:
    return eye(X.shape[-1], dtype=X.dtype, device=X.device)


def matrix_exp(X: Tensor) -> Tensor:
    """exp(A) of the skew matrix A."""
    return _skew(X).matrix_exp()[..., :X.shape[-1]]


def cayley(X: Tensor) -> Tensor:
    """(1 - A/2)⁻¹ (1 + A/2) of the skew matrix A."""
    half = _skew(X) * 0.5
    unit = _unit(half)
    return ((unit - half).inverse() @ (unit + half))[..., :X.shape[-1]]


def householder(X: Tensor) -> Tensor:
    """The first columns of the product of the reflections 1 - tau v vᵀ, one for each column of X.

    v is 0, then 1 on the diagonal, then what X has below it; tau = 2 / |v|². The product of all is 1 - V T Vᵀ, where
    T⁻¹ is the upper part of VᵀV with 1/tau on the diagonal (Joffrain et al. 2006). The integers of X's diagonal are the
    signs of the columns.
    """
    rows, columns = X.shape[-2:]
    V = X.tril(-1) + eye(rows, columns, dtype=X.dtype, device=X.device)
    products = V.mT @ V
    T = (products.triu(1) + _unit(products) * products * 0.5).inverse()
    Q = eye(rows, columns, dtype=X.dtype, device=X.device) - V @ (T @ V[..., :columns, :].mT)
    signs = X.detach().diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)
    return Q * signs


def reflections(matrix: np.ndarray) -> np.ndarray:
    """For ``householder``: the vectors below the diagonal whose reflections give the orthogonal ``matrix``, with signs
    on it. On the host, when a weight is assigned."""
    turned, tau = np.linalg.qr(matrix, mode="raw")
    found = np.array(turned.swapaxes(-1, -2))
    at = np.arange(found.shape[-1])
    signs = np.sign(found[..., at, at])
    found[..., at, at] = np.where(tau == 0, -signs, signs)
    return found


MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "matrix_exp": matrix_exp, "cayley": cayley, "householder": householder}
