"""Stage: front. In: matrices, batches of them. Out: their determinants, factors, inverses, norms and what follows from
these: the names that ``torch`` and ``torch.Tensor`` have had since before ``torch.linalg``. The formulas are in
``lapack/``, which is imported when one of them is first called.
Next: ``minigrad/tensor/lapack/``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigrad.tensor import return_types
from minigrad.tensor.autocast import operands_of
from minigrad.tensor.definition import both, function
from minigrad.tensor.linalg import lapack
from minigrad.tensor.outputs import into

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


class Matrices:
    """Determinants, factors, inverses of matrices, and solutions of systems."""

    __slots__ = ()

    # --- determinants, inverses, powers

    @both("det", keywords={"A": "input"})
    def det(self: Tensor) -> Tensor:
        """The determinant of a square matrix, or of each of a batch, (*, n, n), float32, float64, complex64 or
        complex128: of shape (*).

        ``RuntimeError`` for a matrix that is not square. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.det.html

        >>> import minigrad
        >>> minigrad.tensor([[2.0, 0.0], [0.0, 4.0]]).det()
        tensor(8.)
        """
        return lapack("inverses").det(self)

    @both("slogdet", keywords={"A": "input"})
    def slogdet(self: Tensor) -> return_types.ReturnType:
        """The named tuple ``(sign, logabsdet)`` of square matrices, (*, n, n), float32, float64, complex64 or
        complex128: the determinant is sign * exp(logabsdet). Both have shape (*), logabsdet is real.

        ``RuntimeError`` for a matrix that is not square. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.slogdet.html

        >>> import minigrad
        >>> minigrad.tensor([[2.0, 0.0], [0.0, 4.0]]).slogdet().sign
        tensor(1.)
        """
        return return_types.slogdet(*lapack("inverses").slogdet(self))

    @both("logdet")
    def logdet(self: Tensor) -> Tensor:
        """The logarithm of the determinant of square matrices, (*, n, n), float32, float64, complex64 or complex128:
        (*). It is -inf if the determinant is 0, NaN if it is negative.

        ``RuntimeError`` for a matrix that is not square. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.logdet.html

        >>> import minigrad
        >>> minigrad.eye(2).logdet()
        tensor(0.)
        """
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
        """The pseudo-inverse (Moore, Penrose) of (*, m, n), float32, float64, complex64 or complex128: (*, n, m).
        Singular values up to ``rcond`` times the largest count as 0.

        ``RuntimeError`` for fewer than two dimensions. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.pinverse.html

        >>> import minigrad
        >>> minigrad.tensor([[2.0, 0.0], [0.0, 4.0]]).pinverse()
        tensor([[0.5000, 0.0000],
                [0.0000, 0.2500]])
        """
        return lapack("ranks").pinv(self, rcond)

    @both("matrix_power", keywords={"A": "input"})
    def matrix_power(self: Tensor, n: int) -> Tensor:
        """``linalg.matrix_power``: the product of n copies of a square matrix, or of each of a batch, (*, m, m), of any
        dtype that can be multiplied; of its inverse if n is negative.

        ``RuntimeError`` for a matrix that is not square, ``LinAlgError`` for the negative power of a singular one.
        Source: https://docs.pytorch.org/docs/stable/generated/torch.matrix_power.html

        >>> import minigrad
        >>> minigrad.tensor([[2.0, 0.0], [0.0, 4.0]]).matrix_power(2)
        tensor([[ 4.,  0.],
                [ 0., 16.]])
        """
        return lapack("inverses").matrix_power(self, n)

    @both("matrix_exp", keywords={"A": "input"})
    def matrix_exp(self: Tensor) -> Tensor:
        """``linalg.matrix_exp``: the sum over n of selfⁿ / n!, of a square matrix or of each of a batch, (*, n, n), of
        a floating or complex dtype.

        ``RuntimeError`` for integers and for a matrix that is not square. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.matrix_exp.html

        >>> import minigrad
        >>> minigrad.zeros(2, 2).matrix_exp()
        tensor([[1., 0.],
                [0., 1.]])
        """
        return lapack("inverses").matrix_exp(self)

    # --- factors

    @both("cholesky")
    def cholesky(self: Tensor, upper: bool = False) -> Tensor:
        """``linalg.cholesky``: the lower triangular L with self = L Lᴴ, of a positive-definite matrix or of each of a
        batch, (*, n, n), float32, float64, complex64 or complex128; with ``upper`` Lᴴ.

        ``LinAlgError`` for a matrix that is not positive-definite, ``RuntimeError`` for one that is not square. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.cholesky.html

        >>> import minigrad
        >>> minigrad.tensor([[2.0, 0.0], [0.0, 4.0]]).cholesky()
        tensor([[1.4142, 0.0000],
                [0.0000, 2.0000]])
        """
        self, = operands_of("cholesky", self)
        return lapack("triangles").old_cholesky(self, upper)

    @both("cholesky_inverse", keywords={"L": "input"})
    def cholesky_inverse(self: Tensor, upper: bool = False) -> Tensor:
        """The inverse of A, where A = L Lᴴ with L = self, (*, n, n), float32, float64, complex64 or complex128, or Lᴴ L
        if ``upper``.

        ``RuntimeError`` for a matrix that is not square. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.cholesky_inverse.html

        >>> import minigrad
        >>> minigrad.tensor([[2.0, 0.0], [0.0, 4.0]]).cholesky_inverse()
        tensor([[0.2500, 0.0000],
                [0.0000, 0.0625]])
        """
        self, = operands_of("cholesky_inverse", self)
        return lapack("triangles").cholesky_inverse(self, upper)

    @both("cholesky_solve", keywords={"B": "input", "L": "input2"})
    def cholesky_solve(self: Tensor, input2: Tensor, upper: bool = False) -> Tensor:
        """X with A X = self, where A = L Lᴴ with L = input2, or Lᴴ L if ``upper``; self is (*, n, k), input2 (*, n, n),
        both float32, float64, complex64 or complex128.

        ``RuntimeError`` for shapes that do not fit and different dtypes. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.cholesky_solve.html

        >>> import minigrad
        >>> minigrad.ones(2, 2).cholesky_solve(minigrad.tensor([[2.0, 0.0], [0.0, 4.0]]))
        tensor([[0.2500, 0.2500],
                [0.0625, 0.0625]])
        """
        self, input2 = operands_of("cholesky_solve", self, input2)
        return lapack("triangles").cholesky_solve(self, input2, upper)

    @both("lu", keywords={"A": "input"})
    def lu(self: Tensor, pivot: bool = True, get_infos: bool = False) -> tuple[Tensor, ...]:
        """``(LU, pivots)`` of ``linalg.lu_factor_ex``, with ``get_infos`` the named tuple ``(LU, pivots, info)``, of
        (*, m, n), float32, float64, complex64 or complex128.

        ``RuntimeError`` for fewer than two dimensions and for ``pivot=False``. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.Tensor.lu.html

        >>> import minigrad
        >>> minigrad.tensor([[2.0, 0.0], [0.0, 4.0]]).lu()[1]
        tensor([1, 2], dtype=minigrad.int32)
        """
        return lapack("factors").old_lu(self, pivot, get_infos)

    @both("lu_solve", keywords={"b": "input"})
    def lu_solve(self: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
        """X with A X = self, given ``LU_data, LU_pivots = A.lu()``; self is (*, n, k), A (*, n, n), both float32,
        float64, complex64 or complex128.

        ``RuntimeError`` for shapes that do not fit and different dtypes. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.lu_solve.html

        >>> import minigrad
        >>> minigrad.ones(2, 2).lu_solve(*minigrad.tensor([[2.0, 0.0], [0.0, 4.0]]).lu())
        tensor([[0.5000, 0.5000],
                [0.2500, 0.2500]])
        """
        self, LU_data = operands_of("lu_solve", self, LU_data)
        return lapack("factors").old_lu_solve(self, LU_data, LU_pivots)

    @both("qr")
    def qr(self: Tensor, some: bool = True) -> return_types.ReturnType:
        """The named tuple ``(Q, R)`` with self = Q R, for (*, m, n), float32, float64, complex64 or complex128: the
        columns of Q are orthonormal and R is upper triangular. ``some``: Q has as many columns as self, (*, m, min(m,
        n)); else it is square. There is no gradient for square Q of a tall matrix.

        ``RuntimeError`` for fewer than two dimensions. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.qr.html

        >>> import minigrad
        >>> q, r = minigrad.ones(3, 2).qr()
        >>> bool(((q @ r - 1).abs() < 1e-6).all())
        True
        """
        self, = operands_of("qr", self)
        return return_types.qr(*lapack("factors").qr(self, "reduced" if some else "complete"))

    @both("geqrf", real=True)
    def geqrf(self: Tensor) -> return_types.ReturnType:
        """The named tuple ``(a, tau)`` of (*, m, n), float32, float64, complex64 or complex128: R in the upper triangle
        of a, below it the vectors v of the reflections 1 - tau v vᴴ whose product is Q, as LAPACK has them; tau is (*,
        min(m, n)). There is no gradient, as in PyTorch.

        ``RuntimeError`` for fewer than two dimensions. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.geqrf.html

        >>> import minigrad
        >>> minigrad.tensor([[2.0, 0.0], [0.0, 4.0]]).geqrf().tau.shape
        minigrad.Size([2])
        """
        return lapack("factors").geqrf(self)

    @both("orgqr", keywords={"tau": "input2"})
    def orgqr(self: Tensor, input2: Tensor) -> Tensor:
        """``linalg.householder_product``: the first columns of the product of the reflections of ``geqrf``, of self (*,
        m, n) and input2 (*, k), float32, float64, complex64 or complex128: (*, m, n).

        ``RuntimeError`` unless m ≥ n ≥ k, and for different dtypes. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.orgqr.html

        >>> import minigrad
        >>> minigrad.tensor([[1.0], [1.0]]).orgqr(minigrad.tensor([1.0]))
        tensor([[ 0.],
                [-1.]])
        """
        return lapack("factors").householder_product(self, input2)

    @both("ormqr", keywords={"tau": "input2", "other": "input3"})
    def ormqr(self: Tensor, input2: Tensor, input3: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
        """Q input3, or input3 Q if not ``left``, Qᴴ in Q's place with ``transpose``: Q is the square product of the
        reflections of ``geqrf``, self (*, m, n) and input2 (*, k), and is not formed. All are float32, float64,
        complex64 or complex128.

        ``RuntimeError`` for shapes that do not fit and different dtypes. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.ormqr.html

        >>> import minigrad
        >>> minigrad.tensor([[1.0], [1.0]]).ormqr(minigrad.tensor([1.0]), minigrad.eye(2))
        tensor([[ 0., -1.],
                [-1.,  0.]])
        """
        return lapack("factors").ormqr(self, input2, input3, left, transpose)

    @both("svd")
    def svd(self: Tensor, some: bool = True, compute_uv: bool = True) -> return_types.ReturnType:
        """The named tuple ``(U, S, V)`` with self = U diag(S) Vᴴ, of (*, m, n), float32, float64, complex64 or
        complex128: S is real and descending, (*, min(m, n)). Not ``some``: U and V are square; without ``compute_uv``
        they are 0. The gradient through U and V needs singular values that differ.

        ``RuntimeError`` for fewer than two dimensions, ``LinAlgError`` if LAPACK does not converge. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.svd.html

        >>> import minigrad
        >>> minigrad.tensor([[2.0, 0.0], [0.0, 4.0]]).svd().S
        tensor([4., 2.])
        """
        self, = operands_of("svd", self)
        return lapack("spectra").old_svd(self, some, compute_uv)

    # --- systems

    @both("triangular_solve", keywords={"b": "input"})
    def triangular_solve(self: Tensor, A: Tensor, upper: bool = True, transpose: bool = False,
                         unitriangular: bool = False) -> return_types.ReturnType:
        """The named tuple ``(solution, cloned_coefficient)`` with A solution = self, or Aᵀ solution = self if
        ``transpose``, for a triangular A, (*, n, n), and self (*, n, k), both float32, float64, complex64 or
        complex128. A's diagonal counts as 1 if ``unitriangular``.

        ``RuntimeError`` for shapes that do not fit and different dtypes. Source:
        https://docs.pytorch.org/docs/stable/generated/torch.triangular_solve.html

        >>> import minigrad
        >>> minigrad.ones(2, 2).triangular_solve(minigrad.tensor([[2.0, 0.0], [0.0, 4.0]])).solution
        tensor([[0.5000, 0.5000],
                [0.2500, 0.2500]])
        """
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
        """The signal whose ``stft`` is nearest to self, (n_fft / 2 + 1, frames) or a batch of that, complex64 or
        complex128: the signals of the frames, times the window, are added up and divided by the sum of the windows'
        squares. The other arguments are those of ``stft``; ``length`` cuts it off or fills it up with zeros.

        ``RuntimeError`` for a real self, another number of frequencies, and a window whose overlapping squares add up
        to 0. Source: https://docs.pytorch.org/docs/stable/generated/torch.istft.html

        >>> import minigrad
        >>> window = minigrad.ones(4)
        >>> minigrad.ones(8).stft(4, window=window, return_complex=True).istft(4, window=window).shape
        minigrad.Size([8])
        """
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
    """The named tuple ``(P, L, U)`` of what ``lu`` or ``linalg.lu_factor`` gives, LU_data (*, m, n), float32, float64,
    complex64 or complex128, and LU_pivots (*, min(m, n)), int32. Without ``unpack_data`` L and U are empty, without
    ``unpack_pivots`` P.

    ``RuntimeError`` for pivots of another dtype. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.lu_unpack.html

    >>> import minigrad
    >>> minigrad.lu_unpack(*minigrad.tensor([[2.0, 0.0], [0.0, 4.0]]).lu()).U
    tensor([[2., 0.],
            [0., 4.]])
    """
    return into(out, lapack("factors").lu_unpack(LU_data, LU_pivots, unpack_data, unpack_pivots))


@function("chain_matmul")
def chain_matmul(*matrices: Any, out: Any = None) -> Tensor:
    """``linalg.multi_dot`` of its arguments, matrices of one dtype; of one matrix, that matrix.

    ``RuntimeError`` for other than matrices and shapes that cannot be multiplied. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.chain_matmul.html

    >>> import minigrad
    >>> minigrad.chain_matmul(minigrad.ones(2, 3), minigrad.ones(3, 1), minigrad.ones(1, 2))
    tensor([[3., 3.],
            [3., 3.]])
    """
    given = lapack("products").tensor_list(matrices)
    if not given:
        raise RuntimeError("chain_matmul(): Expected one or more matrices")
    for t in given:
        if t.ndim != 2:
            raise RuntimeError(f"Tensor dimension is {t.ndim}, expected 2 instead.")
    if len(given) == 1:
        return into(out, given[0], "chain_matmul")
    return into(out, lapack("products").multi_dot(given), "linalg_multi_dot")


@function("svd_lowrank")
def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2,
                M: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """``(U, S, V)`` of about rank q of A, (*, m, n), float32, float64, complex64 or complex128, by random projections
    refined ``niter`` times: (*, m, q), (*, q) and (*, n, q); with ``M`` that of A - M. (N. Halko, P. Martinsson, J.
    Tropp 2011)

    ``RuntimeError`` for fewer than two dimensions. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.svd_lowrank.html

    >>> import minigrad
    >>> minigrad.svd_lowrank(minigrad.ones(4, 3), 1)[1].round(decimals=3)
    tensor([3.4640])
    """
    return lapack("products").svd_lowrank(A, q, niter, M)


@function("pca_lowrank")
def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True,
                niter: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """``svd_lowrank`` of A, (*, m, n), by default with the mean of each column taken off: its principal components. q
    is by default the smallest of 6, m and n.

    ``ValueError`` for a q that is negative or larger than m or n. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.pca_lowrank.html

    >>> import minigrad
    >>> minigrad.pca_lowrank(minigrad.ones(4, 3), 1)[2].shape
    minigrad.Size([3, 1])
    """
    return lapack("products").pca_lowrank(A, q, center, niter)


@function("lobpcg")
def lobpcg(A: Tensor, k: int | None = None, B: Tensor | None = None, X: Tensor | None = None, n: int | None = None,
           iK: Tensor | None = None, niter: int | None = None, tol: float | None = None, largest: bool | None = None,
           method: str | None = None, tracker: Any = None, ortho_iparams: Any = None, ortho_fparams: Any = None,
           ortho_bparams: Any = None) -> tuple[Tensor, Tensor]:
    """``(values, vectors)``: the k largest eigenvalues of A x = λ B x, A and B (n, n), symmetric, float32 or float64,
    or the smallest if not ``largest``, and their vectors, (k,) and (n, k). ``X`` are first guesses of the vectors,
    ``iK`` an inverse of A, nearly. (A. Knyazev 2001)

    ``ValueError`` for an A with fewer than 3 k rows. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.lobpcg.html

    >>> import minigrad
    >>> minigrad.lobpcg(minigrad.eye(6) * 2, 1)[0].round(decimals=3)
    tensor([2.])
    """
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
