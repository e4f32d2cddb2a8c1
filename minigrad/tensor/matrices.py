"""Stage: front. In: matrices, batches of them. Out: their determinants, factors, inverses, norms and what follows from
these: the names that ``torch`` and ``torch.Tensor`` have had since before ``torch.linalg``. The formulas are in
``lapack/``, which is imported when one of them is first called.
Next: ``minigrad/tensor/lapack/``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigrad.tensor import return_types
from minigrad.tensor.autocast import operands_of
from minigrad.tensor.definition import both, function, into
from minigrad.tensor.linalg import lapack

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


class Matrices:
    """Determinants, factors, inverses of matrices, and solutions of systems."""

    __slots__ = ()

    # --- determinants, inverses, powers

    @both("det", keywords={"A": "input"})
    def det(self: Tensor) -> Tensor:
        """``linalg.det``: the determinant of a square matrix, or of each of a batch.

        >>> import minigrad
        >>> minigrad.tensor([[2.0, 0.0], [0.0, 4.0]]).det()
        tensor(8.)
        """
        return lapack("inverses").det(self)

    @both("slogdet", keywords={"A": "input"})
    def slogdet(self: Tensor) -> return_types.ReturnType:
        """The named tuple ``(sign, logabsdet)``: the sign of the determinant and the logarithm of its absolute
        value."""
        return return_types.slogdet(*lapack("inverses").slogdet(self))

    @both("logdet")
    def logdet(self: Tensor) -> Tensor:
        """The logarithm of the determinant: -inf if that is 0, NaN if it is negative."""
        return lapack("inverses").logdet(self)

    @both("inverse", keywords={"A": "input"})
    def inverse(self: Tensor) -> Tensor:
        """``linalg.inv``: the inverse of a square matrix, or of each of a batch. ``LinAlgError`` for a singular one.

        >>> import minigrad
        >>> minigrad.tensor([[2.0, 0.0], [0.0, 4.0]]).inverse()
        tensor([[0.5000, 0.0000],
                [0.0000, 0.2500]])
        """
        self, = operands_of("inverse", self)
        return lapack("inverses").inv(self)

    @both("pinverse")
    def pinverse(self: Tensor, rcond: float = 1e-15) -> Tensor:
        """The pseudo-inverse (Moore, Penrose): singular values up to ``rcond`` times the largest count as 0."""
        return lapack("ranks").pinv(self, rcond)

    @both("matrix_power", keywords={"A": "input"})
    def matrix_power(self: Tensor, n: int) -> Tensor:
        """``linalg.matrix_power``: the product of n copies of a square matrix, or of each of a batch; of its inverse
        if n is negative."""
        return lapack("inverses").matrix_power(self, n)

    @both("matrix_exp", keywords={"A": "input"})
    def matrix_exp(self: Tensor) -> Tensor:
        """``linalg.matrix_exp``: the sum over n of A^n / n!, of a square matrix or of each of a batch.

        >>> import minigrad
        >>> minigrad.zeros(2, 2).matrix_exp()
        tensor([[1., 0.],
                [0., 1.]])
        """
        return lapack("inverses").matrix_exp(self)

    # --- factors

    @both("cholesky")
    def cholesky(self: Tensor, upper: bool = False) -> Tensor:
        """``linalg.cholesky``: the lower triangular L with self = L Lᵀ; with ``upper`` Lᵀ."""
        self, = operands_of("cholesky", self)
        return lapack("triangles").old_cholesky(self, upper)

    @both("cholesky_inverse", keywords={"L": "input"})
    def cholesky_inverse(self: Tensor, upper: bool = False) -> Tensor:
        """The inverse of A, where A = L Lᵀ with L = self, or Lᵀ L if ``upper``."""
        self, = operands_of("cholesky_inverse", self)
        return lapack("triangles").cholesky_inverse(self, upper)

    @both("cholesky_solve", keywords={"B": "input", "L": "input2"})
    def cholesky_solve(self: Tensor, input2: Tensor, upper: bool = False) -> Tensor:
        """X with A X = self, where A = L Lᵀ with L = input2, or Lᵀ L if ``upper``."""
        self, input2 = operands_of("cholesky_solve", self, input2)
        return lapack("triangles").cholesky_solve(self, input2, upper)

    @both("lu", keywords={"A": "input"})
    def lu(self: Tensor, pivot: bool = True, get_infos: bool = False) -> tuple[Tensor, ...]:
        """``(LU, pivots)`` of ``linalg.lu_factor_ex``, with ``get_infos`` the named tuple ``(LU, pivots, info)``."""
        return lapack("factors").old_lu(self, pivot, get_infos)

    @both("lu_solve", keywords={"b": "input"})
    def lu_solve(self: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
        """X with A X = self, given ``LU_data, LU_pivots = A.lu()``."""
        self, LU_data = operands_of("lu_solve", self, LU_data)
        return lapack("factors").old_lu_solve(self, LU_data, LU_pivots)

    @both("qr")
    def qr(self: Tensor, some: bool = True) -> return_types.ReturnType:
        """The named tuple ``(Q, R)`` with self = Q R, the columns of Q orthonormal and R upper triangular; not
        ``some``: Q is square, and there is no gradient for more rows than columns.

        >>> import minigrad
        >>> q, r = minigrad.tensor([[3.0, 1.0], [4.0, 2.0]]).qr()
        >>> bool(((q @ r - minigrad.tensor([[3.0, 1.0], [4.0, 2.0]])).abs() < 1e-5).all())
        True
        """
        self, = operands_of("qr", self)
        return return_types.qr(*lapack("factors").qr(self, "reduced" if some else "complete"))

    @both("geqrf")
    def geqrf(self: Tensor) -> return_types.ReturnType:
        """The named tuple ``(a, tau)``: R and the reflections whose product is Q, as LAPACK has them."""
        return lapack("factors").geqrf(self)

    @both("orgqr", keywords={"tau": "input2"})
    def orgqr(self: Tensor, input2: Tensor) -> Tensor:
        """``linalg.householder_product``: the first columns of the product of the reflections of ``geqrf``."""
        return lapack("factors").householder_product(self, input2)

    @both("ormqr", keywords={"tau": "input2", "other": "input3"})
    def ormqr(self: Tensor, input2: Tensor, input3: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
        """Q input3, or input3 Q if not ``left``, Qᵀ for Q with ``transpose``: Q is the product of the reflections of
        ``geqrf``, self and input2."""
        return lapack("factors").ormqr(self, input2, input3, left, transpose)

    @both("svd")
    def svd(self: Tensor, some: bool = True, compute_uv: bool = True) -> return_types.ReturnType:
        """The named tuple ``(U, S, V)`` with self = U diag(S) Vᵀ, S falling; not ``some``: U and V are square; without
        ``compute_uv`` they are 0. The gradient through U and V needs singular values that differ."""
        self, = operands_of("svd", self)
        return lapack("spectra").old_svd(self, some, compute_uv)

    # --- systems

    @both("triangular_solve", keywords={"b": "input"})
    def triangular_solve(self: Tensor, A: Tensor, upper: bool = True, transpose: bool = False,
                         unitriangular: bool = False) -> return_types.ReturnType:
        """The named tuple ``(solution, cloned_coefficient)`` with A solution = self, or Aᵀ solution = self if
        ``transpose``, for a triangular A."""
        self, A = operands_of("triangular_solve", self, A)
        return lapack("triangles").triangular_solve(self, A, upper, transpose, unitriangular)

    # --- short-time Fourier transforms

    @both("stft")
    def stft(self: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
             window: Tensor | None = None, center: bool = True, pad_mode: str = "reflect", normalized: bool = False,
             onesided: bool | None = None, return_complex: bool | None = None,
             align_to_window: bool | None = None) -> Tensor:
        """The spectra of frames of ``n_fft`` samples, ``hop_length`` apart (n_fft // 4 by default), each times
        ``window``, of a signal (*, samples): (*, frequencies, frames), complex. Frame t is centred at t * hop_length
        if ``center``, the signal being extended at both ends by ``pad_mode``. ``onesided``: only frequencies up to
        half the rate, the default for real signals. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.stft.html

        >>> import minigrad
        >>> minigrad.ones(8).stft(4, window=minigrad.ones(4), return_complex=True).shape
        minigrad.Size([3, 9])
        """
        return lapack("fourier").stft(self, n_fft, hop_length, win_length, window, center, pad_mode, normalized,
                                      onesided, return_complex, align_to_window)

    @both("istft")
    def istft(self: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
              window: Tensor | None = None, center: bool = True, normalized: bool = False, onesided: bool | None = None,
              length: int | None = None, return_complex: bool = False) -> Tensor:
        """The signal whose ``stft`` is nearest to self. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.istft.html"""
        return lapack("fourier").istft(self, n_fft, hop_length, win_length, window, center, normalized, onesided,
                                       length, return_complex)

    # --- removed by PyTorch

    def eig(self: Tensor, eigenvectors: bool = False) -> Tensor:
        """PyTorch has removed it."""
        raise RuntimeError(_REMOVED + "`torch.linalg.eig` returns complex tensors of dtype `cfloat` or `cdouble` "
                                      "rather than real tensors mimicking complex tensors.")

    def symeig(self: Tensor, eigenvectors: bool = False, upper: bool = True) -> Tensor:
        """PyTorch has removed it."""
        raise RuntimeError(_REMOVED + "The default behavior has changed from using the upper triangular portion of the "
                                      "matrix by default to using the lower triangular portion. Please use "
                                      "torch.linalg.eigh or eigvalsh.")

    def lstsq(self: Tensor, A: Tensor) -> Tensor:
        """PyTorch has removed it."""
        raise RuntimeError(_REMOVED + "`torch.lstsq` is deprecated in favor of `torch.linalg.lstsq`.")

    def solve(self: Tensor, A: Tensor) -> Tensor:
        """PyTorch has removed it."""
        raise RuntimeError(_REMOVED + "`torch.solve` is deprecated in favor of `torch.linalg.solve`. "
                                      "`torch.linalg.solve` has "
                           "its arguments reversed and does not return the LU factorization.")


_REMOVED = "This function was deprecated since version 1.9 and is now removed. "


@function("lu_unpack")
def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True, *,
              out: Any = None) -> return_types.ReturnType:
    """The named tuple ``(P, L, U)`` of what ``lu`` or ``linalg.lu_factor`` gives. Without ``unpack_data`` L and U are
    empty, without ``unpack_pivots`` P."""
    return into(out, lapack("factors").lu_unpack(LU_data, LU_pivots, unpack_data, unpack_pivots))


@function("chain_matmul")
def chain_matmul(*matrices: Any, out: Any = None) -> Tensor:
    """``linalg.multi_dot`` of its arguments; of one matrix, that matrix."""
    given = lapack("products").tensor_list(matrices)
    if not given:
        raise RuntimeError("chain_matmul(): Expected one or more matrices")
    for t in given:
        if t.ndim != 2:
            raise RuntimeError(f"Tensor dimension is {t.ndim}, expected 2 instead.")
    return into(out, given[0] if len(given) == 1 else lapack("products").multi_dot(given))


@function("svd_lowrank")
def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2,
                M: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """``(U, S, V)`` of about rank q, by random projections; with ``M`` that of A - M."""
    return lapack("products").svd_lowrank(A, q, niter, M)


@function("pca_lowrank")
def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True,
                niter: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """``svd_lowrank`` of A, by default with the mean of each column taken off: its principal components."""
    return lapack("products").pca_lowrank(A, q, center, niter)


@function("lobpcg")
def lobpcg(A: Tensor, k: int | None = None, B: Tensor | None = None, X: Tensor | None = None, n: int | None = None,
           iK: Tensor | None = None, niter: int | None = None, tol: float | None = None, largest: bool | None = None,
           method: str | None = None, tracker: Any = None, ortho_iparams: Any = None, ortho_fparams: Any = None,
           ortho_bparams: Any = None) -> tuple[Tensor, Tensor]:
    """``(values, vectors)``: the k largest eigenvalues of A x = λ B x, or the smallest if not ``largest``, and their
    vectors."""
    return lapack("lobpcg").lobpcg(A, k, B, X, n, iK, niter, tol, largest)


def _removed(name: str, hint: str) -> None:
    def gone(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(_REMOVED + hint)

    gone.__doc__ = "PyTorch has removed it."
    function(name)(gone)


_removed("eig", "`torch.linalg.eig` returns complex tensors of dtype `cfloat` or `cdouble` rather than real tensors "
                "mimicking complex tensors.")
_removed("symeig", "The default behavior has changed from using the upper triangular portion of the matrix by default "
                   "to using the lower triangular portion.")
_removed("lstsq", "`torch.lstsq` is deprecated in favor of `torch.linalg.lstsq`.")
_removed("solve", "`torch.solve` is deprecated in favor of `torch.linalg.solve`.")
_removed("matrix_rank", "Please use the `torch.linalg.matrix_rank` function instead. The parameter 'symmetric' was "
                        "renamed in `torch.linalg.matrix_rank()` to 'hermitian'.")
