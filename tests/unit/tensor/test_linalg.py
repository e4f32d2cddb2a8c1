"""Linear algebra and Fourier transforms without PyTorch: what factors multiply to, the kernels that NumPy does not
have, gradients of both orders against central differences, errors at the call, several results of one HOST node."""

import gc
from types import SimpleNamespace

import numpy as np
import pytest

import minigrad
from minigrad import Tensor, composite
from minigrad.dtype import float64
from minigrad.engine import inspect
from minigrad.graph.host import host_output, host_outputs
from minigrad.tensor.base import made
from minigrad.tensor.lapack import arrays, kernels, library

RNG = np.random.default_rng(0)
A = RNG.standard_normal((3, 3))
PAIR = RNG.standard_normal((2, 4, 3))


def t(array, grad=False):
    return minigrad.tensor(array, requires_grad=grad)


def close(x, y, atol=1e-10):
    np.testing.assert_allclose(np.asarray(x), np.asarray(y), atol=atol)


# --- factors


@pytest.mark.parametrize("shape", [(5, 5), (2, 6, 4), (2, 4, 6), (70, 70), (130, 66), (0, 3, 3), (3, 0, 0), (2, 0, 3)])
@pytest.mark.parametrize("imaginary", [0, 1j])
def test_lu(shape, imaginary):
    a = RNG.standard_normal(shape) + imaginary * RNG.standard_normal(shape)
    p, lower, upper = [x.numpy() for x in minigrad.linalg.lu(t(a))]
    close(p @ lower @ upper, a)
    k = min(shape[-2:])
    close(np.triu(lower, 1), 0 * lower)
    close(np.diagonal(lower, axis1=-2, axis2=-1), np.ones((*shape[:-2], k)))
    assert np.abs(lower).max(initial=0) <= 1.5  # pivots are the largest, by |re| + |im|


def test_lu_of_a_singular_matrix_says_where():
    a = np.array([[[1.0, 2.0], [2.0, 4.0]], [[1.0, 0.0], [0.0, 1.0]]])
    assert minigrad.linalg.lu_factor_ex(t(a)).info.tolist() == [2, 0]
    with pytest.raises(RuntimeError, match=r"\(Batch element 0\): U\[2,2\] is zero"):
        minigrad.linalg.lu_factor(t(a))


needs_library = pytest.mark.skipif(library.library() is None, reason="NumPy has no LAPACK whose routines are found")


@needs_library
@pytest.mark.parametrize("dtype", library.LETTERS)
def test_lapack_called_for_each_matrix_gives_what_the_loops_give(dtype, monkeypatch):
    def results():
        return [*kernels.lu(high), *kernels.lu(wide), *kernels.lu(odd), kernels.substituted(square, wide, True, False),
                kernels.substituted(square[0], wide, False, True), kernels.substituted(square, wide[0], False, False)]

    rng = np.random.default_rng(1)
    values = rng.standard_normal((2, 24, 30)) * (1 + 1j if dtype[0] == "c" else 1)
    wide = values.astype(dtype)
    high, square = wide.swapaxes(1, 2), wide[..., :24] + 20 * np.eye(24, dtype=dtype)
    odd = wide.copy()
    odd[0, 5, 7], odd[1, :, 3] = np.nan, 0
    called, loops = [], library.offered
    monkeypatch.setattr(library, "offered", lambda *a: called.append(loops(*a)) or called[-1])
    found = results()
    assert len(called) >= 6 and all(called)
    monkeypatch.setattr(library, "offered", lambda *_: None)
    rtol = 1e-3 if dtype in ("float32", "complex64") else 1e-10
    for x, y in zip(found, results(), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol / 10)


@needs_library
def test_only_a_library_that_solves_two_equations_is_called(monkeypatch):
    made = library.library()
    assert not library._is_right(made._replace(integer=np.int32 if made.integer is np.int64 else np.int64))
    monkeypatch.setattr(library, "solve_triangular", lambda *_: None)
    assert not library._is_right(made)


@needs_library
def test_many_small_matrices_are_not_called_one_by_one():
    single = np.dtype("float32")
    assert library.offered("getrf", 4, 1, single) and not library.offered("getrf", 4, 1000, single)
    assert library.offered("trsm", 128, 4, single) and not library.offered("trsm", 4, 0, single)
    assert not library.offered("getrf", 4, 1, np.dtype("int32"))


def test_lu_of_many_small_matrices_is_that_of_each():
    a = RNG.standard_normal((50, 3, 4))
    a[:5, 1, 0] = np.nan  # in a row that is not chosen, unless it comes first
    a[5:10, 0, 0] = np.nan
    a[10:15, :, 1] = 0
    together, alone = kernels.lu(a), [kernels.lu(x) for x in a]
    for i, results in enumerate(zip(*alone, strict=True)):
        np.testing.assert_array_equal(together[i], np.stack(results))
    assert (together[1][:5, 0] != 2).all() and (together[1][5:10, 0] == 1).all()
    assert (together[2] == [0] * 10 + [2] * 5 + [0] * 35).all()


@pytest.mark.parametrize("hermitian", [False, True])
@pytest.mark.parametrize("zeros", [False, True])
def test_ldl(hermitian, zeros):
    """A diagonal of zeros needs blocks of order 2; the blocks of several matrices begin at different columns."""
    a = RNG.standard_normal((9, 7, 7)) + 1j * RNG.standard_normal((9, 7, 7))
    a = a + (a.conj() if hermitian else a).swapaxes(-1, -2)
    a = a * (1 - np.eye(7)) if zeros else a
    factor, pivots = minigrad.linalg.ldl_factor(t(a), hermitian=hermitian)
    assert not zeros or (pivots.numpy() < 0).any()
    b = RNG.standard_normal((9, 7, 2)) + 0j
    x = minigrad.linalg.ldl_solve(factor, pivots, t(b), hermitian=hermitian)
    close(a @ x.numpy(), b)


@pytest.mark.parametrize("size", [1, 5, 64, 65, 130])
def test_substitution_in_blocks(size):
    a = RNG.standard_normal((size, size)) + size * np.eye(size)
    b = RNG.standard_normal((2, size, 3))
    for upper in (False, True):
        triangle = np.triu(a) if upper else np.tril(a)
        close(triangle @ kernels.substituted(a, b, upper, False), b)
        small = a / size**2
        solution = kernels.substituted(small, b, upper, True)
        close((np.triu(small, 1) if upper else np.tril(small, -1)) @ solution + solution, b)


def test_reflections():
    """geqrf, householder_product and ormqr belong together."""
    a = RNG.standard_normal((2, 5, 3))
    v, tau = minigrad.geqrf(t(a))
    q = minigrad.orgqr(v, tau).numpy()
    close(q @ np.triu(v.numpy()[..., :3, :]), a)
    c = RNG.standard_normal((2, 5, 2))
    close(minigrad.ormqr(v, tau, t(c), transpose=True).numpy()[:, :3], q.swapaxes(-1, -2) @ c)


# --- gradients


def spectrum(u, s, vh):
    """u diag(1, 2, 3) vh, in which the signs of vectors cancel."""
    return (u * minigrad.arange(1.0, 4.0)) @ vh


def turned(x):
    values, vectors = minigrad.linalg.eigh(x)
    return vectors, values, vectors.mT


CASES = {
    "inv": lambda x: minigrad.linalg.inv(x), "det": lambda x: x.det(), "slogdet": lambda x: x.slogdet()[1],
    "cholesky": lambda x: minigrad.linalg.cholesky(x @ x.mT + minigrad.eye(3)), "svdvals": minigrad.linalg.svdvals,
    "eigvalsh": lambda x: minigrad.linalg.eigvalsh(x + x.mT), "lu": lambda x: minigrad.linalg.lu(x)[2],
    "qr": lambda x: minigrad.linalg.qr(x)[1], "solve": lambda x: minigrad.linalg.solve(x, x @ x + 1),
    "matrix_exp": lambda x: x.matrix_exp(), "pinv": lambda x: minigrad.linalg.pinv(x[:2]),
    "lstsq": lambda x: minigrad.linalg.lstsq(x[:, :2], x[:, 2:]).solution, "nuc": lambda x: x.norm("nuc"),
    "svd": lambda x: spectrum(*minigrad.linalg.svd(x)), "eigh": lambda x: spectrum(*turned(x + x.mT)),
    "rfft": lambda x: minigrad.fft.rfft(x).abs(), "eig": lambda x: minigrad.linalg.eig(x)[1].abs(),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    """In one direction, against central differences; the second order as those of the first."""
    function = CASES[name]
    way = RNG.standard_normal((3, 3))

    def first(array):
        x = t(array, True)
        y = function(x)
        slope, = minigrad.autograd.grad((y * minigrad.arange(1.0, y.numel() + 1).reshape(y.shape)).sum(), x,
                                        create_graph=True)
        return y, slope, x

    def value(array):
        y = function(t(array)).numpy()
        return float((y * np.arange(1.0, y.size + 1).reshape(y.shape)).sum())

    with minigrad.config(TIERS=2):
        _, slope, x = first(A)
        assert (slope.detach().numpy() * way).sum() == pytest.approx(
            (value(A + 1e-6 * way) - value(A - 1e-6 * way)) / 2e-6, rel=1e-5, abs=1e-6)
        second, = minigrad.autograd.grad((slope * slope).sum(), x)
        lengths = [float((first(A + s * way)[1] ** 2).sum()) for s in (1e-6, -1e-6)]
        assert (second.numpy() * way).sum() == pytest.approx((lengths[0] - lengths[1]) / 2e-6, rel=1e-4, abs=1e-4)


def test_the_gradient_of_a_singular_determinant():
    """The cofactors, which need no inverse."""
    x = t([[1.0, 2.0], [2.0, 4.0]], True)
    x.det().backward()
    close(x.grad.numpy(), [[4, -2], [-2, 1]])


def test_gradients_of_values_alone_do_not_read_the_vectors():
    """Equal singular values have no vectors of their own; the gradient of the values is finite."""
    x = t(np.eye(3), True)
    minigrad.linalg.svd(x)[1].sum().backward()
    close(x.grad.numpy(), np.eye(3))


def test_the_gradient_of_all_complex_factors():
    """Their product is the matrix itself."""
    x, weights = t(A + 1j * A[::-1], True), A - 1j * A.T
    u, s, vh = minigrad.linalg.svd(x)
    ((u * s) @ vh * t(weights.conj())).real.sum().backward()
    close(x.grad.resolve_conj().numpy(), weights)


def test_a_singular_matrix_has_an_infinite_condition():
    assert minigrad.linalg.cond(minigrad.zeros(2, 2), 1).item() == np.inf


def test_eigenvalues_of_what_is_not_finite():
    found = minigrad.linalg.eigvals(t(np.stack([np.eye(2), np.full((2, 2), np.inf)]))).numpy()
    assert (found[0] == 1).all() and np.isnan(found[1]).all()


def test_in_a_composite():
    """A body that calls a HOST function has that function's gradient."""
    @composite
    def volume(x: Tensor) -> Tensor:
        return (x @ x.mT).det() + minigrad.linalg.svd(x)[1].sum()

    x, y = t(A, True), t(A, True)
    volume(x).backward()
    (y @ y.mT).det().backward()
    minigrad.linalg.svdvals(y).sum().backward()
    close(x.grad.numpy(), y.grad.numpy())


# --- errors


def test_errors_are_raised_at_the_call():
    for call, text in (
            (lambda: minigrad.linalg.inv(minigrad.zeros(2, 2)), "linalg.inv: The diagonal element 1 is zero, the "
                                                                "inversion"),
            (lambda: minigrad.linalg.cholesky(-minigrad.eye(2)), "the leading minor of order 1 is not "
                                                                 "positive-definite"),
            (lambda: minigrad.linalg.solve(minigrad.zeros(1, 2, 2), minigrad.ones(2, 1)), "Batch element 0"),
            (lambda: minigrad.linalg.svd(minigrad.tensor([[np.nan]])), "linalg.svd: The algorithm failed to converge"),
            (lambda: minigrad.linalg.pinv(minigrad.tensor([[np.nan]])), "linalg.svd: The algorithm failed to")):
        with pytest.raises(minigrad.linalg.LinAlgError, match=text):
            call()
    with pytest.raises(RuntimeError, match="A must be batches of square matrices, but they are 2 by 3 matrices"):
        minigrad.linalg.inv(minigrad.ones(2, 3))


@pytest.mark.parametrize("inside", [composite, minigrad.jit, minigrad.func.vmap])
def test_errors_of_the_run_where_there_are_no_values(inside):
    inverse = inside(lambda x: minigrad.linalg.inv(x))
    pair = t(np.stack([np.eye(2), np.eye(2) * 2]), True)
    inverse(pair).sum().backward()
    close(pair.grad.numpy(), [-np.ones((2, 2)), -np.ones((2, 2)) / 4])
    bad = t(np.stack([np.eye(2), np.zeros((2, 2))]))
    with pytest.raises(minigrad.linalg.LinAlgError, match=r"inv: \(Batch element 1\): The diagonal element 1 is"):
        inverse(bad).tolist()


def test_one_bad_matrix_leaves_the_others():
    found = minigrad.linalg.inv_ex(t(np.stack([np.eye(2), np.zeros((2, 2))])))
    assert found.info.tolist() == [0, 1]
    close(found.inverse.numpy()[0], np.eye(2))


def test_what_stands_in_the_place_of_bad_matrices():
    """As PyTorch has it: divisions by 0 in the elimination, and the rows of a factor before it breaks off."""
    a = np.array([[[1.0, 2.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]], [[2.0, 0.0], [0.0, 4.0]]])
    found = minigrad.linalg.inv_ex(t(a))
    assert found.info.tolist() == [2, 1, 0]
    inf, nan = np.inf, np.nan
    np.testing.assert_array_equal(found.inverse.numpy(), [
        [[-inf, inf], [inf, -inf]], [[nan, nan], [nan, inf]], [[0.5, 0], [0, 0.25]]])
    for columns in (0, 1):
        with pytest.raises(minigrad.linalg.LinAlgError, match=r"solve: \(Batch element 0\): The solver failed"):
            minigrad.linalg.solve(t(a), t(np.ones((3, 2, columns))))
    assert minigrad.linalg.solve_ex(t(a[2]), t(np.ones((5, 2, 0)))).result.shape == (5, 2, 0)
    factor, info = minigrad.linalg.cholesky_ex(t(np.array([[4.0, 2, 2], [2, 5, 3], [2, 3, -1]])))
    assert factor.tolist() == [[2, 0, 0], [1, 2, 0], [1, 1, -3]] and info.item() == 3
    unknown = [[[nan, 0], [0, 1]], [[1, 0], [0, nan]], [[1, 0], [0, 4]]]
    assert minigrad.linalg.cholesky_ex(t(np.array(unknown))).info.tolist() == [1, 2, 0]


def test_lapack_and_the_elimination_may_round_differently(monkeypatch):
    """A result of NaNs says that LAPACK found a singular matrix, unless the matrix is not finite."""
    results = np.array([[[np.nan] * 2] * 2, [[np.nan] * 2] * 2, [[np.nan, 1], [1, 1]]])
    monkeypatch.setattr(arrays, "_lapack", SimpleNamespace(inv=lambda a: results.copy()))
    inverse, info = arrays.inverse([np.stack([np.eye(2), np.diag([np.inf, 1]), np.eye(2)])])
    assert info.tolist() == [2, 0, 0]
    np.testing.assert_array_equal(inverse, [np.eye(2), results[1], results[2]])


@pytest.mark.filterwarnings("error")
def test_determinants_beyond_the_range():
    assert minigrad.linalg.det(minigrad.eye(3) * 1e30).item() == np.inf
    for kind, sign in ((0, 0), (0j, complex(np.nan, np.nan))):
        found = minigrad.linalg.slogdet(t(np.array([[np.nan + kind]])))
        np.testing.assert_array_equal(found.sign.item(), sign)
        assert np.isnan(found.logabsdet.item())


def test_arguments_of_all():
    assert minigrad.linalg.inv(input=minigrad.eye(1)).tolist() == [[1]]
    wide = minigrad.zeros(2, 2, dtype=float64)
    assert minigrad.linalg.pinv(minigrad.eye(2), out=wide) is wide and wide.tolist() == [[1, 0], [0, 1]]
    with pytest.raises(RuntimeError, match="linalg.pinv: Expected result to be safely castable from Float"):
        minigrad.linalg.pinv(minigrad.eye(2), out=wide.long())


# --- several results of one node


def test_results_are_computed_once(monkeypatch):
    calls = []
    plain = np.linalg.svd
    monkeypatch.setattr(np.linalg, "svd", lambda *a, **k: calls.append(1) or plain(*a, **k))
    u, s, vh = minigrad.linalg.svd(t(PAIR), False)
    s.numpy()  # one at a time
    u.numpy()
    close((u * s.unsqueeze(-2) @ vh).numpy(), PAIR)
    assert len(calls) == 1


def test_results_outlive_each_other():
    q, r = minigrad.linalg.qr(t(PAIR) * 1)
    r.numpy()
    del r
    gc.collect()
    close((q.mT @ q).numpy(), np.broadcast_to(np.eye(3), (2, 3, 3)))
    q.mul_(2)
    close((q.mT @ q).numpy(), np.broadcast_to(4 * np.eye(3), (2, 3, 3)))


def test_two_nodes_of_one_result():
    """Who changes one in place leaves the other as it was."""
    q, r = host_outputs("linalg_qr", ("reduced",), [t(PAIR)._read()], [((2, 4, 3), float64), ((2, 3, 3), float64)])
    first, second = made(r), made(host_output(q, 1))
    before = first.numpy().copy()
    del r
    first.mul_(3)
    first.realize()
    close(second.numpy(), before)
    close(first.numpy(), before * 3)


def test_a_loop_of_steps():
    """Steps that are replayed give what the first one gives."""
    x = t(A, True)
    seen = []
    for _ in range(6):
        loss = (x @ x.mT + minigrad.eye(3)).slogdet()[1] + minigrad.linalg.svd(x)[1].sum()
        x.grad = None
        loss.backward()
        seen.append((loss.item(), x.grad.numpy().copy()))
    for loss, slope in seen[1:]:
        assert loss == pytest.approx(seen[0][0], rel=1e-12)
        close(slope, seen[0][1])


def test_no_kernel_is_compiled_for_a_factorisation():
    a = t(PAIR).realize()
    with inspect() as seen:
        minigrad.linalg.svd(a)[1].realize()
    assert not seen.kernels


def test_devices():
    for device in ("NUMPY", "CPU"):
        u, s, vh = minigrad.linalg.svd(minigrad.tensor(PAIR, device=device), False)
        close(((u * s.unsqueeze(-2)) @ vh).cpu().numpy(), PAIR)


# --- Fourier transforms


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_transforms_are_numpys(name):
    for n, norm in ((None, None), (7, "ortho"), (2, "forward")):
        close(getattr(minigrad.fft, name)(t(PAIR), n, 1, norm).resolve_conj().numpy(),
              getattr(np.fft, name)(PAIR, n, 1, norm))


@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_gradients_of_transforms_are_their_adjoints(name):
    transform = getattr(minigrad.fft, name)
    x = t(PAIR + (0 if name in ("rfft", "ihfft") else 1j * PAIR[::-1]), True)
    weights = transform(x.detach()).resolve_conj().numpy() + 0.5
    (transform(x) * t(weights.conj())).real.sum().backward()
    step = x.detach().numpy()[:, ::-1].copy()
    close((x.grad.resolve_conj().numpy().conj() * step).real.sum(),
          (transform(t(step)).resolve_conj().numpy() * weights.conj()).real.sum())


def test_shifts_of_odd_sizes():
    x = np.arange(15).reshape(3, 5)
    for dim in (None, 1, (0,)):
        np.testing.assert_array_equal(minigrad.fft.fftshift(t(x), dim).numpy(), np.fft.fftshift(x, dim))
        np.testing.assert_array_equal(minigrad.fft.ifftshift(t(x), dim).numpy(), np.fft.ifftshift(x, dim))
    close(minigrad.fft.fftfreq(5, dtype=float64).numpy(), np.fft.fftfreq(5))


def test_there_and_back():
    x = t(RNG.standard_normal((2, 40)))
    window = minigrad.hann_window(8, dtype=minigrad.float64)
    spectra = x.stft(8, 2, window=window, return_complex=True)
    assert spectra.shape == (2, 5, 21)
    close(spectra.istft(8, 2, window=window, length=40).numpy(), x.numpy())
    close(minigrad.fft.irfftn(minigrad.fft.rfftn(t(PAIR)), PAIR.shape).numpy(), PAIR)


def test_lobpcg():
    a = np.diag(np.arange(1.0, 31)) + 0.01 * np.ones((30, 30))
    exact = np.linalg.eigvalsh(a)
    for largest in (True, False):
        with minigrad.config(TIERS=2):
            values, vectors = minigrad.lobpcg(t(a), 2, largest=largest, tol=1e-6)
        close(values.numpy(), exact[::-1][:2] if largest else exact[:2], 1e-6)
        close(a @ vectors.numpy(), vectors.numpy() * values.numpy(), 1e-4)


def test_a_norm_is_no_view() -> None:
    for order in (0, 0.5, 1, 2, 3, float("inf")):
        x = minigrad.tensor([[3.0, -4.0], [0.0, 5.0]], requires_grad=True)
        kept = minigrad.linalg.vector_norm(x, order, 1, keepdim=True)
        norm = minigrad.linalg.vector_norm(x, order, 1)
        assert not norm._is_view() and norm.tolist() == kept.flatten().tolist()
        g = minigrad.tensor([1.0, 2.0])
        slopes = [minigrad.autograd.grad(y, x, v, allow_unused=True)[0] for y, v in ((norm, g), (kept, g[:, None]))]
        if order == 0:
            assert slopes == [None, None]
        else:
            assert slopes[0].tolist() == slopes[1].tolist()


@pytest.mark.parametrize("before", [lambda x: x, lambda x: x.exp() * 2, lambda x: x.chunk(2, 1)[0],
                                    lambda x: x.to(minigrad.complex64)])
def test_no_gradient_comes_from_a_number_of_elements(before) -> None:
    for _ in range(3):
        x = minigrad.tensor([[3.0, -4.0], [0.0, 5.0]], requires_grad=True)
        y = before(x).norm(p=0, dim=1)
        (y.sum() + x.sum()).backward()
        assert x.grad.tolist() == [[1.0, 1.0]] * 2
        x.grad = None
        y = minigrad.linalg.vector_norm(before(x), 0)
        y.backward()
        assert y.requires_grad and x.grad is None
        with pytest.raises(RuntimeError, match="a second time"):
            y.backward()
