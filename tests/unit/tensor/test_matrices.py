"""The inverse and the exponential of matrices: values, gradients of both orders, errors. Sums of products by names."""

import numpy as np
import pytest

import minigrad

A32 = minigrad.ones(2, 2)
A = np.array([[[0.5, -1.0], [2.0, 0.25]], [[3.0, 0.5], [-0.5, 1.0]]])


@pytest.mark.parametrize("name", ["inverse", "matrix_exp"])
def test_gradients(name):
    """Against central differences, the second order as those of the first."""

    def value(array):
        return float((getattr(minigrad.tensor(array), name)() ** 2).sum())

    def gradient(array):
        x = minigrad.tensor(array, requires_grad=True)
        return minigrad.autograd.grad((getattr(x, name)() ** 2).sum(), x, create_graph=True)[0], x

    first, x = gradient(A)
    (first ** 2).sum().backward()
    for i in np.ndindex(A.shape):
        step = np.zeros_like(A)
        step[i] = 1e-6
        slope = (value(A + step) - value(A - step)) / 2e-6
        assert first.detach().numpy()[i] == pytest.approx(slope, rel=1e-6, abs=1e-5)
        lengths = [float((gradient(A + s)[0] ** 2).sum()) for s in (step, -step)]
        assert x.grad.numpy()[i] == pytest.approx((lengths[0] - lengths[1]) / 2e-6, rel=1e-5, abs=1e-3)


def test_values():
    inverse = minigrad.inverse(minigrad.tensor(A)).numpy()
    np.testing.assert_allclose(inverse @ A, np.eye(2) + np.zeros_like(A), atol=1e-12)
    turn = minigrad.tensor([[0.0, -20.0], [20.0, 0.0]])
    cosine, sine = np.cos(20), np.sin(20)
    np.testing.assert_allclose(minigrad.matrix_exp(turn).numpy(), [[cosine, -sine], [sine, cosine]], atol=1e-6)
    assert minigrad.matrix_exp(turn * 0).tolist() == [[1, 0], [0, 1]]
    assert minigrad.zeros(0, 3, 3).matrix_exp().shape == (0, 3, 3)


def test_errors():
    for call, text in ((lambda: minigrad.ones(2).inverse(), "must have at least 2 dimensions"),
                       (lambda: minigrad.ones(2, 3).inverse(), "linalg.inv: A must be batches of square matrices"),
                       (lambda: minigrad.ones(2, 2, dtype=minigrad.int64).matrix_exp(), "Expected a floating point"),
                       (lambda: minigrad.ones(2, 2).inverse().tolist(), "the input matrix is singular"),
                       (lambda: minigrad.ones(2).cov(aweights=minigrad.zeros(2)), "weights sum to zero"),
                       (lambda: minigrad.trapezoid(minigrad.ones(2) > 0), "received a bool input for `y`"),
                       (lambda: minigrad.addmm(A32, A32.double(), A32), "mat1 and mat2 must have the same dtype, but "
                                                                        "got Double and Float"),
                       (lambda: minigrad.addr(A32, A32[0], A32[0], beta=True), "Boolean beta only supported"),
                       (lambda: minigrad.diff(A32, prepend=A32[0]), "to be the same dimension as input"),
                       (lambda: minigrad.diff(A32, append=minigrad.ones(3, 2)), r"input.size\(0\) = 2, but got"),
                       (lambda: minigrad.ones(2).histogramdd(2), "should have at least 2 dimensions$"),
                       (lambda: minigrad.ones(2).quantile(1.5), r"in the range \[0, 1\] but got 1.5")):
        with pytest.raises(RuntimeError, match=text):
            call()


@pytest.mark.parametrize("beta", [0, 0.0, -0.0, False, minigrad.tensor(0.0)], ids=repr)
@pytest.mark.parametrize(("name", "shapes"), [
    ("addmm", ((2, 2), (2, 2))), ("addmv", ((2, 2), (2,))), ("addr", ((2,), (2,))),
    ("baddbmm", ((1, 2, 2), (1, 2, 2))), ("addbmm", ((1, 2, 2), (1, 2, 2)))])
def test_what_beta_0_leaves_out(name, shapes, beta):
    """Whatever kind of number the 0 is."""
    if name == "addr" and beta is False:
        return  # for bools
    product = getattr(minigrad, name)(minigrad.tensor(np.nan), *[minigrad.ones(s) for s in shapes], beta=beta)
    assert (product == (1 if name == "addr" else 2)).all()


def test_a_gradient_that_is_missing_is_refused_where_it_is_computed():
    upper = minigrad.linalg.qr(minigrad.tensor(A, requires_grad=True), "r").R
    assert upper.requires_grad
    with pytest.raises(NotImplementedError, match="derivative of linalg.qr depends on Q"):
        upper.sum().backward()


def test_what_is_not_finite():
    x = minigrad.tensor([[np.nan, 1.0], [1.0, 1.0]])
    assert minigrad.slogdet(x).sign.item() == 0
    assert minigrad.matrix_exp(x).isnan().all()


def test_bins_narrower_than_steps_of_a_half_type():
    x = minigrad.tensor([7.03125, 7.0625]).bfloat16()
    assert x.histc(100, 7, 7.1).nonzero().flatten().tolist() == [31, 62]


def test_bins_of_equal_numbers():
    hist, edges = minigrad.tensor([3.0, 3.0]).histogram(2)
    assert (hist.tolist(), edges.tolist()) == ([0, 2], [2.5, 3, 3.5])


def test_covariances_of_weighed_observations():
    weights = np.array([0.5, 2.0])
    np.testing.assert_allclose(minigrad.tensor(A[0]).cov(aweights=minigrad.tensor(weights)).numpy(),
                               np.cov(A[0], aweights=weights), rtol=1e-12)


def _equation(seed):
    """An equation and operands for it, of which some dimensions have the size 1 and are broadcast."""
    rng = np.random.default_rng(seed)
    sizes = dict(zip("abcd", rng.choice([0, 1, 2, 3, 3], 4), strict=True))
    terms, operands = [], []
    for _ in range(rng.integers(1, 4)):
        names = list(rng.choice(list("abcd"), rng.integers(0, 4)))
        stretched = {n: 1 if rng.random() < 0.3 else sizes[n] for n in names}
        shape = [stretched[n] for n in names]
        if rng.random() < 0.3:
            at, more = rng.integers(0, len(names) + 1), list(rng.choice([1, 2, 2], rng.integers(0, 3)))
            names.insert(at, "...")
            shape[at:at] = more
        terms.append("".join(names))
        operands.append(rng.integers(-2, 3, shape))
    used = sorted({n for n in "".join(terms) if n != "."})
    output = [n for n in rng.permutation(used) if rng.random() < 0.5] if used else []
    if any("..." in term for term in terms):
        output.insert(rng.integers(0, len(output) + 1), "...")
    return f"{','.join(terms)}->{''.join(output)}", operands


def _check_einsum(seed):
    equation, operands = _equation(seed)
    try:
        expected = np.einsum(equation, *operands)
    except ValueError:  # sizes under the dots that do not fit
        with pytest.raises(RuntimeError, match="broadcast"):
            minigrad.einsum(equation, *[minigrad.tensor(a, device="numpy") for a in operands])
        return
    found = minigrad.einsum(equation, *[minigrad.tensor(a, device="numpy") for a in operands]).numpy()
    assert found.shape == expected.shape, (equation, [a.shape for a in operands])
    assert (found == expected).all(), (equation, [a.shape for a in operands])


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_einsum_is_that_of_numpy(count):
    for seed in range(count):
        _check_einsum(seed)


def test_einsum_without_a_sum_promotes():
    a, b = minigrad.tensor([1, 2]), minigrad.tensor([0.5, 1.0])
    assert minigrad.einsum("i,j->ji", a, b).tolist() == [[0.5, 1.0], [1.0, 2.0]]
    assert minigrad.einsum("i,j", a.bool(), a.bool()).dtype is minigrad.bool
    assert minigrad.einsum("i,j->i", a.to(minigrad.int8), a).dtype is minigrad.int64


@pytest.mark.parametrize(("a", "b", "dims"), [
    ((1, 3), (2, 1), ([0], [1])), ((2, 3), (1, 3), ([0], [0])), ((2, 1, 3), (2, 3), ([1, 2], [0, 1])),
    ((3, 2), (1, 1), 1), ((2, 3), (3, 2, 4), ([-1, 0], [0, 1])), ((0, 2), (1, 3), ([0], [0]))], ids=str)
def test_tensordot_broadcasts_size_1(a, b, dims):
    rng = np.random.default_rng(0)
    x, y = rng.integers(-3, 4, a), rng.integers(-3, 4, b)
    pairs = dims if isinstance(dims, tuple) else (list(range(-dims, 0)), list(range(dims)))
    wide_x, wide_y = list(a), list(b)
    for d, e in zip(*pairs, strict=True):
        wide_x[d] = wide_y[e] = b[e] if a[d] == 1 else a[d]
    expected = np.tensordot(np.broadcast_to(x, wide_x), np.broadcast_to(y, wide_y), pairs)
    operands = [minigrad.tensor(v.astype(np.int8), device="numpy") for v in (x, y)]
    found = minigrad.tensordot(*operands, dims)
    assert found.dtype is minigrad.int8
    np.testing.assert_array_equal(found.numpy(), expected)
