"""Linear algebra beside PyTorch's: values, gradients and second gradients of real and complex matrices, singular ones,
empty ones and batches; errors; ``out=``; how named results print. Of factors whose signs or phases are free, products
in which these cancel are compared."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402

DTYPES = ("float64", "complex128") if hasattr(minigrad, "complex128") else ("float64",)


def matrix(*shape, seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    real = rng.standard_normal(shape)
    return real + 1j * rng.standard_normal(shape) if dtype == "complex128" else real


def adjoint(a):
    return a.swapaxes(-1, -2).conj()


def positive(*shape, dtype="float64"):
    a = matrix(*shape, dtype=dtype)
    return a @ adjoint(a) + np.eye(shape[-1])


def hermitian(*shape, dtype="float64"):
    a = matrix(*shape, dtype=dtype)
    return a + adjoint(a)


def low(*shape, dtype="float64"):
    """Of rank 1 less than the smaller size."""
    a = matrix(*shape, dtype=dtype)
    a[..., -1, :] = a[..., 0, :]
    return a


def with_spectrum(m, u, middle, vh):
    """u diag(1, 2, …) vh: signs and phases cancel."""
    n = middle.shape[-1]
    return (u[..., :n] * (1 + m.arange(n)).to(u.dtype)) @ vh[..., :n, :]


def eigh(m, A, uplo="L"):
    values, v = m.linalg.eigh(A + A.mH, uplo)
    return [values, with_spectrum(m, v, values, v.mH)]


def eig(m, A):
    values, v = m.linalg.eig(A)
    return [values.abs().sum(), (values * values).sum(), (v.abs() ** 4).sum()]


def svd(m, A, full=False):
    u, s, vh = m.linalg.svd(A, full)
    return [s, with_spectrum(m, u, s, vh)]


def householder(m, A, tau):
    return [m.linalg.householder_product(A, tau)]


def singular_det(m, A):
    """PyTorch's gradient is 0 where its determinant is exactly 0, which depends on how a processor's kernels round:
    beside ours stands the rule of Sarrus."""
    return [m.linalg.det(A) if m is minigrad else (A[0] * m.linalg.cross(A[1], A[2])).sum()]


def lu(m, A):
    return list(m.linalg.lu(A))


def lu_factor(m, A):
    return [m.linalg.lu_factor_ex(A)[0]]


def lu_solve(m, A, B, **options):
    return [m.linalg.lu_solve(*m.linalg.lu_factor(A), B, **options)]


S, M, N = (3, 3), (4, 3), (2, 3, 4)
# name: the function, what makes its arguments, their shapes, options
CASES = {
    "cholesky": (lambda m, A: [m.linalg.cholesky(A @ A.mH + m.eye(3))], matrix, [S]),
    "cholesky batch upper": (lambda m, A: [m.linalg.cholesky(A @ A.mH + m.eye(3), upper=True)], matrix, [(2, 3, 3)]),
    "cholesky of one triangle": (lambda m, A: [m.linalg.cholesky(A)], positive, [S]),
    "cholesky_inverse": (lambda m, A: [m.cholesky_inverse(A)], positive, [S]),
    "cholesky_solve": (lambda m, B, A: [m.cholesky_solve(B, A, upper=True)], positive, [S, S]),
    "inv": (lambda m, A: [m.linalg.inv(A)], matrix, [(2, 3, 3)]),
    "solve": (lambda m, A, B: [m.linalg.solve(A, B)], matrix, [S, (3, 2)]),
    "solve batches": (lambda m, A, B: [m.linalg.solve(A, B)], matrix, [(2, 1, 3, 3), (4, 3, 2)]),
    "solve vector": (lambda m, A, B: [m.linalg.solve(A, B)], matrix, [(2, 3, 3), (2, 3)]),
    "solve from the right": (lambda m, A, B: [m.linalg.solve(A, B, left=False)], matrix, [S, (2, 3)]),
    "solve_triangular": (lambda m, A, B: [m.linalg.solve_triangular(A, B, upper=True)], positive, [S, S]),
    "solve_triangular unit right": (lambda m, A, B: [m.linalg.solve_triangular(
        A, B, upper=False, left=False, unitriangular=True)], matrix, [(2, 3, 3), (4, 3)]),
    "triangular_solve": (lambda m, B, A: [m.triangular_solve(B, A, transpose=True)[0]], positive, [S, S]),
    "lu": (lu, matrix, [S]), "lu tall": (lu, matrix, [M]), "lu wide": (lu, matrix, [N]),
    "lu_factor": (lu_factor, matrix, [(2, 3, 3)]), "lu_factor tall": (lu_factor, matrix, [M]),
    "lu_factor wide": (lu_factor, matrix, [N]),
    "lu_solve": (lu_solve, matrix, [S, (3, 2)]),
    "lu_solve adjoint": (lambda m, A, B: lu_solve(m, A, B, adjoint=True), matrix, [(2, 3, 3), (3, 2)]),
    "lu_solve right": (lambda m, A, B: lu_solve(m, A, B, left=False), matrix, [S, (2, 3)]),
    "qr": (lambda m, A: list(m.linalg.qr(A)), matrix, [S]),
    "qr tall": (lambda m, A: list(m.linalg.qr(A)), matrix, [(2, 4, 3)]),
    "qr wide": (lambda m, A: list(m.linalg.qr(A)), matrix, [N]),
    "qr complete": (lambda m, A: list(m.linalg.qr(A, "complete")), matrix, [(3, 4)]),
    "eigh": (eigh, matrix, [S]), "eigh upper batch": (lambda m, A: eigh(m, A, "U"), matrix, [(2, 3, 3)]),
    "eigvalsh": (lambda m, A: [m.linalg.eigvalsh(A)], hermitian, [(2, 3, 3)]),
    "svd": (svd, matrix, [S]), "svd tall": (svd, matrix, [(2, 4, 3)]), "svd wide": (svd, matrix, [(3, 4)]),
    "svd full": (lambda m, A: svd(m, A, True), matrix, [(3, 4)]),
    "svdvals": (lambda m, A: [m.linalg.svdvals(A)], matrix, [N]),
    "pinv": (lambda m, A: [m.linalg.pinv(A)], matrix, [N]), "pinv of low rank": (
        lambda m, A: [m.linalg.pinv(A @ A.mH[..., :1] @ A[..., :1, :])], matrix, [S]),
    "pinv hermitian": (lambda m, A: [m.linalg.pinv(A + A.mH, hermitian=True)], matrix, [S]),
    "det": (lambda m, A: [m.linalg.det(A)], matrix, [(2, 3, 3)]),
    "slogdet": (lambda m, A: list(m.linalg.slogdet(A)), matrix, [(2, 3, 3)]),
    "logdet": (lambda m, A: [m.logdet(A)], positive, [S]),
    "matrix_exp": (lambda m, A: [m.linalg.matrix_exp(A)], matrix, [(2, 3, 3)]),
    "matrix_power": (lambda m, A: [m.linalg.matrix_power(A, 3), m.linalg.matrix_power(A, -2)], matrix, [S]),
    "householder_product": (householder, matrix, [(2, 4, 3), (2, 3)]),
    "householder_product of fewer": (householder, matrix, [(4, 3), (2,)]),
    "ormqr": (lambda m, A, t, C: [m.ormqr(A, t, C)], matrix, [(4, 3), (3,), (4, 2)]),
    "ormqr right": (lambda m, A, t, C: [m.ormqr(A, t, C, left=False, transpose=True)], matrix, [M, (3,), (2, 4)]),
    "lstsq": (lambda m, A, B: [m.linalg.lstsq(A, B).solution], matrix, [M, (4, 2)]),
    "lstsq wide": (lambda m, A, B: [m.linalg.lstsq(A, B, driver="gelsd").solution], matrix, [N, (2, 3, 2)]),
    "tensorinv": (lambda m, A: [m.linalg.tensorinv(A, 1)], matrix, [(6, 2, 3)]),
    "tensorsolve": (lambda m, A, B: [m.linalg.tensorsolve(A, B, (0,))], matrix, [(6, 2, 3), (2, 3)]),
    "multi_dot": (lambda m, *t: [m.linalg.multi_dot(t)], matrix, [(2, 5), (5, 3), (3, 4), (4,)]),
    "cross": (lambda m, a, b: [m.linalg.cross(a, b, dim=0)], matrix, [(3, 2), (3, 1)]),
    "vecdot": (lambda m, a, b: [m.linalg.vecdot(a, b, dim=0)], matrix, [(3, 2), (3, 1)]),
    "vander": (lambda m, a: [m.linalg.vander(a, N=4)], matrix, [(2, 3)]),
    "cond": (lambda m, A: [m.linalg.cond(A), m.linalg.cond(A, -2), m.linalg.cond(A.detach(), "fro")], matrix, [S]),
    "matrix norms": (lambda m, A: [m.linalg.matrix_norm(A, o) for o in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)],
                     matrix, [N]),
    "vector norms": (lambda m, A: [m.linalg.vector_norm(A, o, dim=1) for o in (0, 1, 2, 3, 0.5, 1.5, -1, np.inf,
                                                                                -np.inf)], matrix, [N]),
    "norms": (lambda m, A: [m.norm(A), m.norm(A, "nuc"), m.norm(A, 3, dim=0), m.linalg.norm(A, 1)], matrix, [(3, 4)]),
    "det of a singular matrix": (singular_det, low, [S]),
}
ONLY_FIRST = {"det of a singular matrix"}
if len(DTYPES) > 1:
    CASES["eig"] = (eig, matrix, [S])
REAL_ONLY = {"cond"}


def run(m, name, dtype, order):
    function, make, shapes = CASES[name]
    inputs = [m.tensor(make(*s, dtype=dtype) if len(s) > 1 else matrix(*s, seed=i, dtype=dtype)).requires_grad_()
              for i, s in enumerate(shapes)]
    outputs = function(m, *inputs)
    found = list(outputs)
    loss = weighed(m, outputs)
    first = m.autograd.grad(loss, inputs, create_graph=order > 1)
    found += first
    if order > 1 and any(g.requires_grad for g in first):
        found += m.autograd.grad(weighed(m, [g for g in first if g.requires_grad]), inputs, allow_unused=True)
    return found


def weighed(m, values):
    total = 0
    for i, v in enumerate(values):
        if not v.requires_grad:
            continue
        dtype = str(v.dtype).rpartition(".")[2]
        product = v * m.tensor(matrix(*v.shape, seed=20 + i, dtype=dtype))
        total = total + (product.real if dtype == "complex128" else product).sum()
    return total


def same(ours, theirs, tolerance=1e-8):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        if a is None or b is None:
            assert a is b is None or not any(x.detach().numpy().any() for x in (a, b) if x is not None)
            continue
        assert str(a.dtype).rpartition(".")[2] == str(b.dtype).rpartition(".")[2]
        a, b = a.detach().resolve_conj().numpy() if hasattr(a, "resolve_conj") else a.detach().numpy(), b.detach(
            ).resolve_conj().numpy()
        assert a.shape == b.shape
        scale = max(1.0, np.abs(b[np.isfinite(b)]).max(initial=0))
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=tolerance * scale)


@pytest.mark.sample(40)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name, dtype):
    if dtype == "complex128" and name in REAL_ONLY:
        pytest.skip("for real matrices")
    order = 1 if name in ONLY_FIRST else 2
    with minigrad.config(TIERS=2), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(run(minigrad, name, dtype, order), run(torch, name, dtype, order))


@pytest.mark.parametrize("ord", [0.5, 1, 1.5, 2, 2.5, 3, np.inf, -np.inf, -1, -2.5])
def test_slopes_of_norms_at_zero(ord):
    """Both orders, of a row of zeros and of one that has a zero."""
    found = []
    for m in (minigrad, torch):
        x = m.tensor([[0.0, 0.0], [0.0, 4.0], [3.0, 4.0]], dtype=m.float64).requires_grad_()
        first = m.autograd.grad(m.linalg.vector_norm(x, ord, 1).sum(), x, create_graph=True)[0]
        found.append([first] + ([m.autograd.grad(first.sum(), x)[0]] if first.requires_grad else []))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), (theirs.detach() + 0).numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("call", [
    *[lambda m, p=p, s=s: m.linalg.matrix_norm(m.zeros(*s), p) for p in (1, 2, np.inf, "nuc", "fro")
      for s in ((3, 0), (0, 3), (2, 0, 0))],
    lambda m: m.linalg.vecdot(m.tensor(2.0), m.tensor(3.0)), lambda m: m.linalg.cond(m.zeros(0, 3), 1),
    lambda m: m.linalg.lu_factor(m.tensor([[np.nan, 1.0], [1.0, 2.0]]))[1]])
def test_corners(call):
    ours, theirs = call(minigrad), call(torch)
    assert (tuple(ours.shape), ours.tolist()) == (tuple(theirs.shape), theirs.tolist())


def test_errors():
    """Shapes, types and singular matrices are refused in PyTorch's words."""
    calls = [lambda m, f=f, a=a: getattr(m.linalg, f)(ARGUMENTS[a](m)) for f in ONE_MATRIX for a in ARGUMENTS]
    for call in calls + ERRORS:
        theirs = outcome(call, torch)
        assert outcome(call, minigrad) == theirs or not theirs, call


def outcome(call, m):
    try:
        call(m)
    except Exception as error:
        return type(error).__name__.lstrip("_"), str(error).replace("minigrad.", "torch.")
    return None


ONE_MATRIX = ("inv", "inv_ex", "cholesky", "cholesky_ex", "det", "slogdet", "eigh", "eigvalsh", "svd", "svdvals", "qr",
              "lu", "lu_factor", "lu_factor_ex", "ldl_factor_ex", "pinv", "matrix_rank", "matrix_exp", "cond")
ARGUMENTS = {
    "singular": lambda m: m.zeros(2, 2), "half": lambda m: m.ones(2, 2).half(),
    "integer": lambda m: m.ones(2, 2).long(), "wide": lambda m: m.ones(2, 3), "vector": lambda m: m.ones(3),
    "second singular": lambda m: m.stack([m.eye(2), m.zeros(2, 2)])}
ERRORS = [
    lambda m: m.linalg.solve(m.zeros(2, 2), m.ones(2)), lambda m: m.linalg.solve(m.eye(2), m.ones(3, 1)),
    lambda m: m.linalg.solve(m.eye(2), m.ones(2).double()), lambda m: m.linalg.solve_triangular(
        m.eye(2), m.ones(2), upper=True), lambda m: m.linalg.solve_triangular(m.eye(2), m.ones(3, 2), upper=True),
    lambda m: m.linalg.lu_solve(m.eye(2), m.ones(2), m.eye(2)), lambda m: m.linalg.lstsq(m.eye(2), m.ones(3)),
    lambda m: m.linalg.lstsq(m.eye(2), m.eye(2), driver="x"), lambda m: m.linalg.lstsq(m.ones(2), m.ones(2)),
    lambda m: m.linalg.householder_product(m.ones(2, 3), m.ones(3)), lambda m: m.ormqr(
        m.ones(3, 2), m.ones(2), m.ones(4, 4)), lambda m: m.geqrf(m.ones(2)), lambda m: m.cholesky(m.zeros(2, 2)),
    lambda m: m.cholesky_solve(m.ones(2), m.eye(2)), lambda m: m.lu(m.eye(2), pivot=False),
    lambda m: m.lu_unpack(m.eye(2), m.ones(2)), lambda m: m.linalg.svd(m.eye(2), driver="gesvd"),
    lambda m: m.linalg.qr(m.eye(2), mode="x"), lambda m: m.linalg.eigh(m.eye(2), UPLO="X"),
    lambda m: m.linalg.multi_dot([m.eye(2)]), lambda m: m.linalg.multi_dot([m.eye(2), m.ones(2), m.eye(2)]),
    lambda m: m.linalg.multi_dot([m.eye(2), m.ones(3, 3)]), lambda m: m.linalg.matrix_power(m.zeros(2, 2), -1),
    lambda m: m.linalg.matrix_norm(m.ones(2)), lambda m: m.linalg.matrix_norm(m.eye(2), ord=3),
    lambda m: m.linalg.matrix_norm(m.eye(2), dim=(0, 0)), lambda m: m.linalg.norm(m.eye(2), ord="nuc", dim=0),
    lambda m: m.linalg.vector_norm(m.ones(0), ord=-1), lambda m: m.linalg.vector_norm(m.ones(2), dtype=m.int64),
    lambda m: m.linalg.vander(m.ones(2), N=1), lambda m: m.linalg.cross(m.ones(3), m.ones(2)),
    lambda m: m.linalg.tensorinv(m.ones(2, 3)), lambda m: m.linalg.cond(m.eye(2), p="x"),
    lambda m: m.linalg.inv(m.eye(2), out=m.zeros(2, 2).double()), lambda m: m.linalg.svd(m.eye(2), out=(m.zeros(2),)),
    lambda m: m.linalg.cholesky(m.full((2, 2), float("nan"))),
    lambda m: m.cholesky_inverse(m.tensor([[1.0, 0], [1, 0]])), lambda m: m.linalg.cond(m.eye(2).long(), 1),
    lambda m: m.linalg.cond(m.ones(2, 3), "nuc"),
    lambda m: m.linalg.vander(m.eye(2).half()), lambda m: m.linalg.tensorinv(m.zeros(2, 2), 1),
    lambda m: m.tensordot(m.ones(2), m.ones(2), 2), lambda m: m.logdet(m.eye(2).half()),
    lambda m: m.linalg.solve(m.eye(2).half(), m.eye(2).half()), lambda m: m.linalg.norm(m.eye(2).half(), "nuc"),
    lambda m: m.linalg.matrix_power(m.eye(2).long(), -1)]
