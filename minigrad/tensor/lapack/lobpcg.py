"""Stage: front. In: a large symmetric matrix, perhaps sparse. Out: a few of its eigenpairs, by products alone.
Next: ``minigrad/tensor/fourier.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.tensor.definition import FUNCTIONS
from minigrad.tensor.joining import cat, stack
from minigrad.tensor.lapack.spectra import eigh
from minigrad.tensor.lapack.triangles import cholesky, solved
from minigrad.tensor.promotion import finfo

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

Product = Callable[["Tensor"], "Tensor"]


def lobpcg(A: Tensor, k: int | None = None, B: Tensor | None = None, X: Tensor | None = None, n: int | None = None,
           iK: Tensor | None = None, niter: int | None = None, tol: float | None = None, largest: bool | None = None,
           method: str | None = None, tracker: Any = None, ortho_iparams: Any = None, ortho_fparams: Any = None,
           ortho_bparams: Any = None) -> tuple[Tensor, Tensor]:
    """The k largest eigenvalues of A x = λ B x (the smallest, if not ``largest``), and their vectors: A is (*, m, m),
    symmetric, B positive-definite, the unit matrix by default. ``X``, (*, m, n), is where to begin, by default n
    random vectors; ``iK`` approximates A's inverse; ``niter`` and ``tol`` say when to stop. If A requires a gradient
    all eigenvectors are computed.

    The locally optimal block preconditioned conjugate gradient method (A. Knyazev 2001). ``ValueError`` if A has fewer
    than 3 n rows. Source: https://docs.pytorch.org/docs/stable/generated/torch.lobpcg.html

    >>> import minigrad
    >>> A = minigrad.tensor([5.0, 4.0, 3.0, 2.0, 1.0]).diag()
    >>> E, _ = minigrad.lobpcg(A, k=1)
    >>> abs(E.item() - 5) < 1e-3
    True
    """
    m = A.shape[-1]
    if A.shape[-2] != m:
        raise RuntimeError(f"torch.lobpcg: expected a square matrix, got shape {list(A.shape)}")
    block = (X.shape[-1] if X is not None else 1 if k is None else k) if n is None else n
    wanted = block if k is None else k
    if m < 3 * block:
        raise ValueError(f"LOBPCG algorithm is not applicable when the number of A rows (={m}) is smaller than 3 x the "
                         f"number of requested eigenpairs (={block})")
    high = True if largest is None else largest
    if A.requires_grad or (B is not None and B.requires_grad):
        return _all_pairs(A, B, wanted, high)
    start = FUNCTIONS["randn"](*A.shape[:-2], m, block, dtype=A.dtype, device=A.device) if X is None else X
    bound = finfo(A.dtype.part).eps**0.5 if tol is None else tol
    if A.ndim == 2:
        return _search(A, B, start, iK, wanted, 1000 if niter is None else niter, bound, high)
    found = [lobpcg(A[i], k, None if B is None else B[i], start[i], n, None if iK is None else iK[i], niter, tol,
                    largest) for i in range(A.shape[0])]
    return stack([e for e, _ in found]), stack([x for _, x in found])


def _all_pairs(A: Tensor, B: Tensor | None, k: int, largest: bool) -> tuple[Tensor, Tensor]:
    """By ``eigh``: with B = L Lᴴ the values are those of L⁻¹ A L⁻ᴴ."""
    if B is None:
        values, vectors = eigh(A)
    else:
        factor = cholesky(B)
        inner = solved(factor, solved(factor, A, False).mH, False)
        values, vectors = eigh((inner + inner.mH) * 0.5)
        vectors = solved(factor.mH, vectors, True)
    if largest:
        values, vectors = values.flip(-1), vectors.flip(-1)
    return values[..., :k], vectors[..., :k]


def _search(A: Tensor, B: Tensor | None, X: Tensor, iK: Tensor | None, k: int, niter: int, tol: float,
            largest: bool) -> tuple[Tensor, Tensor]:
    def with_b(x: Tensor) -> Tensor:
        return x if B is None else B @ x

    n = X.shape[-1]
    X = _orthonormal(X, with_b)
    values, X = _best(A, X, n, largest)
    P: Tensor | None = None
    for _ in range(niter):
        rest = A @ X - with_b(X) * values
        sizes = rest.detach().norm(dim=0).numpy()
        scale = np.abs(values.detach().numpy()) * X.detach().norm(dim=0).numpy()
        if (sizes[:k] <= tol * np.maximum(scale[:k], 1e-30)).all():
            break
        W = rest if iK is None else iK @ rest
        parts = [X, W] if P is None else [X, W, P]
        basis = _orthonormal(cat([p / p.norm(dim=0).clamp(min=1e-30) for p in parts], -1), with_b)
        values, new = _best(A, basis, n, largest)
        P = new - X @ (X.mH @ with_b(new))
        X = new
    return values[:k], X[:, :k]


def _orthonormal(S: Tensor, with_b: Product) -> Tensor:
    """Columns that span what those of S span, orthonormal with respect to B; directions that rounding alone tells
    apart are left out. Twice, since once loses digits. (A. Stathopoulos, K. Wu 2002)"""
    for _ in range(2):
        gram = S.mH @ with_b(S)
        values, vectors = eigh((gram + gram.mH) * 0.5)
        spread = values.detach().numpy()
        kept = int((spread > spread.max() * finfo(S.dtype.part).eps * len(spread)).sum())
        S = S @ (vectors[:, -kept:] / values[-kept:].sqrt())
    return S


def _best(A: Tensor, S: Tensor, n: int, largest: bool) -> tuple[Tensor, Tensor]:
    """The n extreme eigenpairs of A within the span of S. (W. Ritz)"""
    inner = S.mH @ (A @ S)
    values, vectors = eigh((inner + inner.mH) * 0.5)
    if largest:
        values, vectors = values.flip(-1), vectors.flip(-1)
    return values[:n], S @ vectors[:, :n]
