"""Where formulas have seams: every differentiable function of one operand at 0, -0, ±1, infinities and NaN, pairs,
losses and reductions with ties, zeros, infinities and NaN, beside PyTorch's: values, first and second derivatives."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402
from minigrad.tensor.definition import FUNCTIONS  # noqa: E402

INF, NAN = np.inf, np.nan
POINTS = np.array([0.0, -0.0, 1, -1, 0.5, -0.5, 2, -2, 3, -3, 6, -6, 20, -20, 1e-30, 100, -100, INF, -INF, NAN])
LIBRARIES = (minigrad, torch)


def functions():
    """The names of all functions, of the package, of nn.functional and of special."""
    plain = {n for n in (*FUNCTIONS, *vars(minigrad.nn.functional)) if not n.startswith("_") and not n.endswith("_")}
    return sorted(plain | {f"special.{n}" for n in minigrad.special.__all__})


def found(library, name):
    if name.startswith("special."):
        return getattr(library.special, name[8:], None)
    return getattr(library.nn.functional, name, None) or getattr(library, name, None)


def derivatives(library, function, arguments, orders):
    """The value, first and (of two orders) second derivatives with fixed weights; None if it has no gradient."""
    inputs = [library.tensor(a, requires_grad=True) for a in arguments]
    out = function(library, *inputs)
    out = out[0] if isinstance(out, tuple) else out
    if not out.requires_grad:
        return None
    weights = library.tensor(np.cos(np.arange(out.numel()).reshape(tuple(out.shape)) + 1.0))
    first = library.autograd.grad((out * weights).sum(), inputs, create_graph=orders > 1, allow_unused=True)
    if orders < 2:
        return [out, *first]
    mixed = [(g * library.tensor(np.sin(np.arange(g.numel()).reshape(tuple(g.shape)) + 1.0 + i))).sum()
             for i, g in enumerate(first) if g is not None and g.requires_grad]
    second = library.autograd.grad(sum(mixed), inputs, allow_unused=True) if mixed else [None] * len(inputs)
    return [out, *first, *second]


def compare(function, arguments, orders=2, skip=None):
    """``skip``: the places at which derivatives are not compared. Returns whether PyTorch differentiates it."""
    with warnings.catch_warnings(), minigrad.config(TIERS=2):
        warnings.simplefilter("ignore")
        try:
            theirs = derivatives(torch, function, arguments, orders)
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError, AttributeError):
            return False
        if theirs is None:
            return False
        ours = derivatives(minigrad, function, arguments, orders)
    assert ours is not None, "no gradient"
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if (i - 1) // len(arguments) + 1 > orders:
            break
        shape = tuple(theirs[0].shape) if i == 0 else arguments[(i - 1) % len(arguments)].shape
        x, y = [np.zeros(shape) if v is None else v.detach().numpy(force=True) for v in (a, b)]
        assert x.shape == y.shape
        keep = np.ones(x.shape, bool) if skip is None or skip.shape != x.shape else ~skip
        np.testing.assert_allclose(x[keep], y[keep], rtol=1e-7, atol=1e-9, err_msg=f"result {i}")
    return True


# --- of one operand

RANDOM = {"alpha_dropout", "bernoulli", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout",
          "feature_dropout", "gumbel_softmax", "multinomial", "native_dropout", "normal", "poisson", "rrelu",
          "rand_like", "randn_like", "empty_like", "empty"}
POLES = [-1, -2, -3, -6, -20, -100]
# Points at which PyTorch's derivative is not one to follow: at the poles of the gamma function, where it has sin(πx)
# rounded, where a cancellation gives NaN or noise, and where the number of elements decides (logit at -0.0).
ELSEWHERE = {
    "digamma": [*POLES, INF], "psi": [*POLES, INF], "lgamma": POLES, "gammaln": POLES, "i0": [INF, NAN],
    "i1": [NAN, INF, 1e-30], "i1e": [NAN, 1e-30], "i0e": [NAN], "sinc": [0.0, 1e-30], "log_ndtr": [-INF],
    "angle": [NAN], "frexp": [INF, NAN], "logit": [0.0],
}
# Of these an element's place matters, and 0 and -0 are equal; or PyTorch's order of operations shows in infinities.
OTHERS = {"mode", "msort", "sort", "gradient", "nanmedian", "amax", "amin", "aminmax", "DoubleTensor",
          "from_dlpack"}


def left_out(name):
    """The points of ``ELSEWHERE``."""
    skip = np.zeros(POINTS.shape, bool)
    for point in ELSEWHERE.get(name.rpartition(".")[2], ()):
        skip |= np.isnan(POINTS) if point != point else np.abs(POINTS) == np.abs(point)
    return skip


@pytest.mark.parametrize("name", [n for n in functions() if n not in RANDOM | OTHERS])
def test_functions_of_one_operand(name):
    if found(torch, name) is None:
        return
    skip = left_out(name)
    value = name.rpartition(".")[2] in ("i0", "i1")  # PyTorch's is NaN at infinity
    compare(lambda library, x: found(library, name)(x), [POINTS[~np.isinf(POINTS)] if value else POINTS],
            skip=skip[~np.isinf(POINTS)] if value else skip)


def test_how_many_functions_are_compared():
    """The list is not empty by mistake."""
    names = [n for n in functions() if found(torch, n) is not None]
    assert len(names) > 300


def of(name, *arguments, **options):
    return lambda library, *tensors: found(library, name)(*tensors, *arguments, **options)


WITH_OPTIONS = {
    "celu": of("celu", alpha=0.5), "clamp-min": of("clamp", min=0.0), "clamp-nan": of("clamp", min=NAN),
    "clamp": of("clamp", 0.0, 1.0), "elu": of("elu", alpha=0.5), "gelu-tanh": of("gelu", approximate="tanh"),
    "logit-eps": of("logit", eps=0.1), "nan_to_num": of("nan_to_num"), "logit": of("special.logit"),
    "softplus": of("softplus", beta=2.0, threshold=4.0), "softplus-far": of("softplus", threshold=6.0),
    "pow-0": of("pow", 0), "pow-2": of("pow", 2), "pow-3": of("pow", 3), "pow--1": of("pow", -1),
    "remainder": of("remainder", 2.0), "reciprocal": lambda library, x: 1 / x, "power-of-2": lambda library, x: 2**x,
    "threshold": of("threshold", threshold=0.0, value=1.0),
    "where": lambda library, x: library.where(x > 0, x, library.zeros_like(x)),
}


@pytest.mark.parametrize("name", WITH_OPTIONS)
def test_functions_with_options(name):
    assert compare(WITH_OPTIONS[name], [POINTS], skip=left_out(name))


@pytest.mark.parametrize("n", range(4))
def test_polygamma(n):
    """At its poles PyTorch has sin(πx) rounded."""
    skip = np.isin(POINTS, POLES)
    compare(lambda library, x: library.polygamma(n, x), [POINTS[~skip]])


def test_nextafter():
    assert compare(of("nextafter"), PAIR, orders=1)


def test_where_lets_no_nan_through_from_the_branch_not_taken():
    x = np.array([-1.0, 0.0, 4.0])
    compare(lambda library, x: library.where(x > 0, x.where(x > 0, library.ones_like(x)).sqrt(), x * 2), [x])


# --- of two

PLACES = np.array([0.0, -0.0, 1, -1, 0.5, -2, INF, -INF, NAN])
PAIR = [v.ravel() for v in np.meshgrid(PLACES, PLACES, indexing="ij")]
FINITE = [v.ravel() for v in np.meshgrid(PLACES[:6], PLACES[:6], indexing="ij")]
PAIRS = ["add", "sub", "mul", "div", "atan2", "maximum", "minimum", "fmax", "fmin", "hypot", "xlogy", "logaddexp",
         "logaddexp2", "special.xlog1py", "dist", "rsub", "remainder"]
LOSSES = ["mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy_with_logits", "kl_div",
          "poisson_nll_loss", "hinge_embedding_loss"]


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name):
    assert compare(of(name), PAIR)


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0, 2.0])
def test_lerp(weight):
    assert compare(of("lerp", weight=weight), PAIR)


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    assert compare(of(name, reduction="none"), FINITE)


def test_losses_of_nan_and_infinite_inputs():
    x, t = [v.ravel() for v in np.meshgrid([INF, -INF, NAN, 3.0], [0.0, 1.0, 0.5], indexing="ij")]
    for name in ("smooth_l1_loss", "huber_loss", "mse_loss"):
        assert compare(of(name, reduction="none"), [x, t], orders=1)
    assert compare(of("binary_cross_entropy_with_logits", reduction="none"), [x[6:], t[6:]], orders=1)


def test_binary_cross_entropy_at_its_ends():
    p, t = [v.ravel() for v in np.meshgrid([0.0, 1.0, 0.5, 1e-45, 1e-300], [0.0, 1.0, 0.5, 0.3])]
    assert compare(of("binary_cross_entropy", reduction="none"), [p, t])
    for outside in (1.5, -0.1):
        messages = []
        for library in LIBRARIES:
            with pytest.raises(RuntimeError) as caught:
                library.nn.functional.binary_cross_entropy(library.tensor([outside]), library.tensor([1.0]))
            messages.append(str(caught.value))
        assert messages[0] == messages[1]


def test_bounds_that_are_tensors():
    low, high = [v.ravel() for v in np.meshgrid(PLACES, PLACES)]
    x = np.resize([0.3, -5.0, NAN, 1.0], low.shape)
    assert compare(lambda library, x, a, b: library.clamp(x, a, b), [x, low, high])
    assert compare(lambda library, x, a: library.clamp(x, min=a), [x, low])
    assert compare(lambda library, x, a: library.clamp(x, max=a), [x, low])


# --- reductions

TABLES = {
    "ties": np.array([[1.0, 1, 0, 0], [2, 2, 2, 2], [0, 0, 0, 0], [3.0, 3, 1, -1]]),
    "zeros": np.array([[1.0, 32, 0, 0], [2, 0, 3, 4], [0, 0, 0, 0], [3.0, 3, 1, -1]]),
    "infinities": np.array([[INF, 1, 3, 0], [-INF, -INF, -INF, -INF], [INF, -INF, 2, 1], [INF, INF, 1, 2]]),
    "nan": np.array([[NAN, 1, 2, 3], [1, 2, 3, 4.0], [5, NAN, INF, 1]]),
    "plain": np.array([[0.3, -1.2, 2, 0.7], [1, 2, -3, 0.1]]),
    "alone": np.array([[2.0], [0.0]]),
    "empty": np.zeros((0, 3)),
}
NUMBERS = {"nan": np.array(NAN), "zero": np.array(0.0), "infinity": np.array(INF)}
ALL = ["sum", "mean", "prod", "var", "std", "amax", "amin", "max", "min", "median", "nansum", "norm"]
ALONG = ["sum", "mean", "prod", "var", "std", "amax", "amin", "max", "min", "logsumexp", "cumsum", "cumprod",
         "logcumsumexp", "cummax", "cummin", "softmax", "log_softmax", "nansum"]
# A square root's second derivative at 0 is NaN in PyTorch, as are some in which infinities are multiplied.
NOT_COMPARED = {("median", "empty")}
FIRST_ONLY = {("norm", "ties"), ("norm", "zeros"), ("norm", "alone"), ("amax", "nan"), ("amin", "nan"),
              ("var", "alone"), ("std", "alone"), ("norm", "infinities"), ("prod", "infinities"),
              ("cumprod", "infinities")}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", ALL)
def test_reductions_of_all(name, table):
    if (name, table) not in NOT_COMPARED:
        compare(of(name), [TABLES[table]], 1 if (name, table) in FIRST_ONLY else 2)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("name", ALL)
def test_reductions_of_a_number(name, number):
    compare(of(name), [NUMBERS[number]], 1 if name in ("norm", "var", "std", "amax", "amin") else 2)


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize("correction", [2, 3, 7])
@pytest.mark.parametrize("name", ["var", "std"])
def test_no_degrees_of_freedom(name, correction):
    numbers = np.array([1.0, 2, 1.5][:max(2, correction)])
    for options in ({}, {"dim": 0}):
        assert compare(of(name, correction=correction, **options), [numbers], 1)
        for parts in (numbers, numbers + 0j, numbers * (1 + 1j)):
            ours, theirs = [getattr(lib.tensor(parts), name)(correction=correction, **options) for lib in LIBRARIES]
            assert str(ours.item()) == str(theirs.item())


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", ALONG)
def test_reductions_along_a_dimension(name, table):
    if (name, table) not in NOT_COMPARED:
        compare(of(name, 1), [TABLES[table]], 1 if (name, table) in FIRST_ONLY else 2)


ROWS = [[2.0, 3, 4], [0.0, 3, 4], [0.0, 0, 4], [INF, 3, 4], [INF, -INF, 2], [INF, 0, 2], [INF, 0, 0], [-INF, INF, 0],
        [NAN, 1, 2], [NAN, INF, -2], [NAN, 0, INF], [NAN, NAN, 3], [NAN, 0, 3], [-INF, -INF, -INF], [0, 0, NAN]]


@pytest.mark.parametrize("other", [0.0, 1.0])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_slopes_of_products_beside_zeros_infinities_and_nan(row, other):
    """A 0 anywhere, in another row, say, has PyTorch multiply instead of divide."""
    x = np.array([row, [1.0, 2.0, other]])
    assert compare(of("prod", 1), [x], 1)
    assert compare(lambda library, t: t.T.prod(0), [x], 1)
    assert compare(of("cumprod", 1), [x], 1)
    assert compare(lambda library, t: t.T.cumprod(0), [x], 1)


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("weights", [[1.0, 1, 1], [0, 0, 1.0], [1.0, 0, 0], [-1.0, 0, 1]], ids=str)
def test_slopes_of_running_logarithms_at_infinities(row, weights):
    for dims in ([0], [0, 1]):
        for start in (row, row[::-1]):
            x = np.array(start) if len(dims) == 1 else np.array([start, [1.0, 2, 3]])
            assert compare(lambda library, t: (t.logcumsumexp(-1) * library.tensor(weights)).nan_to_num(0.0, 0.0, 0.0)
                           + t.logcumsumexp(-1), [x], 1)


@pytest.mark.parametrize("name", ["prod", "cumprod"])
def test_a_half_gradient_reads_the_rounded_result(name):
    """It is infinite where the wider product inside is not."""
    slopes = []
    for library in LIBRARIES:
        x = library.tensor([300.0, 300.0, 2.0, -0.5], dtype=library.float16, requires_grad=True)
        library.autograd.backward(getattr(x, name)(0).sum())
        slopes.append(x.grad.float().numpy())
    np.testing.assert_array_equal(*slopes)
    assert not np.isfinite(slopes[0]).all()


def test_half_extrema_of_what_is_not_stored():
    """The gradient of an extremum is that of elements rounded as the result is."""
    x = np.linspace(-2, 2, 33)
    for dtype in ("float16", "bfloat16"):
        for name in ("amax", "amin", "max", "min"):
            slopes = []
            for library in LIBRARIES:
                v = library.tensor(x).to(getattr(library, dtype)).requires_grad_()
                (slope,) = library.autograd.grad(getattr((v * 1.7).exp() * 3.3, name)(), v)
                slopes.append(slope.double().numpy())
            np.testing.assert_allclose(*slopes, rtol=2e-2)


def test_mean_of_nothing():
    """The second derivative by the weight of the mean."""
    assert compare(lambda library, x, w: library.var_mean(x)[1] * w, [np.zeros(0), np.array(2.0)])


@pytest.mark.parametrize("mode", ["trunc", "floor"])
def test_quotients_without_a_fraction(mode):
    assert compare(of("div", rounding_mode=mode), PAIR, 1)


def test_copysign():
    assert compare(of("copysign"), PAIR, 1)


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, INF])
def test_distances_at_ties_infinities_and_nan(p):
    """PyTorch's slopes have infinities divided by infinities."""
    a, b = np.array([[1.0, 1], [2, 3], [0, 0]]), np.array([[0.0, 0], [0, 5], [1, 3], [2, 2]])
    assert compare(of("cdist", p=p), [a, b], 1)
    assert compare(of("pdist", p=p), [b], 1)
    far = np.array([[INF, 1.0], [2, NAN], [-INF, 0], [NAN, NAN]])
    assert compare(of("cdist", p=p), [far, a[:, :2]], 0)


def test_absolute_value_of_an_infinite_slope():
    """0 times infinity, as PyTorch multiplies by the sign."""
    assert compare(lambda library, x: x.abs().sqrt() + x.abs().log(), [POINTS], 1)
