"""Activations, losses, embeddings, distances and bilinear layers beside PyTorch's: values, gradients, gradients of
gradients, half types, in-place forms, random numbers, printed forms, signatures and errors."""

import inspect
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402

LIBRARIES = (minigrad, torch)
KINKS = [-np.inf, -200.0, -50.0, -6.0, -3.0, -2.0, -1.0, -0.5, -1e-3, -0.0, 0.0, 1e-3, 0.5, 1.0, 2.0, 3.0, 6.0, 10.0, 10.5,
         50.0, 200.0, np.inf, np.nan]


def rng(seed=0):
    return np.random.default_rng(seed)


def floats(*shape, seed=0, dtype="float64"):
    return rng(seed).standard_normal(shape).astype(dtype)


def near(ours, theirs, rtol=1e-5, atol=1e-7):
    assert (ours is None) == (theirs is None)
    if theirs is None:
        return
    assert str(ours.dtype).rpartition(".")[2] == str(theirs.dtype).rpartition(".")[2]
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(ours.detach().double().numpy(), theirs.detach().double().numpy(), rtol=rtol, atol=atol)


def made(library, value, dtype=None):
    """Arrays become tensors; floating ones of the dtype, with a gradient wanted unless they are marked."""
    if isinstance(value, Fixed):
        array = np.asarray(value.value)
        return library.tensor(array).to(getattr(library, dtype)) if dtype and array.dtype.kind == "f" else (
            library.tensor(array))
    if not isinstance(value, np.ndarray):
        return value(library) if callable(value) else value
    tensor = library.tensor(value)
    if value.dtype.kind != "f":
        return tensor
    return (tensor.to(getattr(library, dtype)) if dtype else tensor).requires_grad_()


class Fixed:
    """An array that no gradient is asked for."""

    def __init__(self, value):
        self.value = value


def run(library, function, args, options, dtype, order):
    inputs = [made(library, a, dtype) for a in args]
    out = function(library)(*inputs, **{k: made(library, v, dtype) for k, v in options.items()})
    found = [out]
    wanted = [x for x in inputs if isinstance(x, library.Tensor) and x.requires_grad]
    if order and wanted:
        factor = library.tensor(floats(*out.shape, seed=7)).to(out.dtype)
        first = library.autograd.grad((out * factor).sum(), wanted, create_graph=order > 1, allow_unused=True)
        found += first
        if order > 1:
            mixed = [(g * library.tensor(floats(*g.shape, seed=8 + i)).to(g.dtype)).sum()
                     for i, g in enumerate(first) if g is not None and g.requires_grad]
            if mixed:
                found += library.autograd.grad(sum(mixed), wanted, allow_unused=True)
    return found


def compare(name, *args, order=2, dtypes=("float64", "float32"), rtol=1e-6, atol=1e-8, **options):
    """The function of this name in nn.functional: values and derivatives up to the ``order`` agree."""
    function = name if callable(name) else lambda library: getattr(library.nn.functional, name)
    scale = {"float64": 1, "float32": 20, "float16": 2e4, "bfloat16": 2e5, None: 1}
    for dtype in dtypes:
        ours, theirs = [run(library, function, args, options, dtype, min(order, 1) if dtype in (
            "float16", "bfloat16") else order) for library in LIBRARIES]
        for mine, peer in zip(ours, theirs, strict=True):
            near(mine, peer, rtol * scale[dtype], atol * scale[dtype])
    return ours, theirs


def message(call):
    with pytest.raises(Exception) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call()
    return type(caught.value).__name__, str(caught.value).replace("minigrad.", "torch.")


def same_error(call):
    assert message(lambda: call(minigrad)) == message(lambda: call(torch))


# ---- activations

ACTIVATIONS = {
    "relu": [{}], "relu6": [{}], "elu": [{}, {"alpha": 0.7}, {"alpha": -0.3}], "selu": [{}], "celu": [{}, {"alpha": 2.0}],
    "hardshrink": [{}, {"lambd": 2}], "softshrink": [{}, {"lambd": 0}], "hardsigmoid": [{}], "hardswish": [{}],
    "hardtanh": [{}, {"min_val": -2, "max_val": 0.5}], "leaky_relu": [{}, {"negative_slope": -0.5}],
    "logsigmoid": [{}], "rrelu": [{}, {"lower": 0.5, "upper": 1}], "gelu": [{}, {"approximate": "tanh"}],
    "sigmoid": [{}], "silu": [{}], "mish": [{}], "softplus": [{}, {"beta": 2.0}, {"beta": 3, "threshold": 1.5}],
    "softsign": [{}], "tanh": [{}], "tanhshrink": [{}], "threshold": [{"threshold": 0.5, "value": 3}],
}
CASES = [(name, options) for name, several in ACTIVATIONS.items() for options in several]


@pytest.mark.parametrize("name,options", CASES)
def test_activation(name, options):
    compare(name, floats(3, 4), order=1 if name in ("hardsigmoid", "hardswish") else 2, **options)  # PyTorch has no more
    compare(name, floats(0, 4), order=1, **options)
    finite = np.array([v for v in KINKS if np.isfinite(v)])
    compare(name, finite, order=1, rtol=1e-6, atol=1e-7, **options)
    loose = name == "gelu"  # PyTorch's formula loses digits far from 0, and it gives NaN at infinity
    compare(name, np.array(KINKS[:-2] if loose else KINKS), order=0, dtypes=("float32",), rtol=1e-5 if loose else 1e-6,
            **options)
    compare(name, floats(3, 4), order=1, dtypes=("float16", "bfloat16"), atol=2e-8 if name == "tanhshrink" else 1e-8,
            **options)


@pytest.mark.parametrize("name,options", CASES)
def test_tape_name_and_integers(name, options):
    ours, theirs = [getattr(library.nn.functional, name)(library.ones(3, requires_grad=True), **options)
                    for library in LIBRARIES]
    assert ours.grad_fn.name() == theirs.grad_fn.name()
    for dtype in ("int64", "uint8", "bool"):
        def call(library, dtype=dtype):
            return getattr(library.nn.functional, name)(library.tensor([0, 1]).to(getattr(library, dtype)), **options)
        try:
            theirs = call(torch)
        except Exception:
            same_error(call)
        else:
            near(call(minigrad), theirs)


IN_PLACE = ["relu", "relu6", "elu", "selu", "celu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "rrelu", "silu",
            "mish", "threshold"]


@pytest.mark.parametrize("name", IN_PLACE)
@pytest.mark.parametrize("underscore", [False, True])
def test_in_place(name, underscore):
    if underscore and not hasattr(torch.nn.functional, name + "_"):
        pytest.skip("there is no such function")
    options = {"threshold": 0.3, "value": 0.7} if name == "threshold" else {}
    results = []
    for library in LIBRARIES:
        x = library.tensor(floats(4, 5)).requires_grad_()
        hidden = x * 3
        if underscore:
            out = getattr(library.nn.functional, name + "_")(hidden, **options)
        else:
            out = getattr(library.nn.functional, name)(hidden, inplace=True, **options)
        assert out is hidden
        (out * out).sum().backward()
        results.append((hidden, x.grad))
        leaf = library.ones(2, requires_grad=True)
        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place"):
            getattr(library.nn.functional, name)(leaf, inplace=True, **options)
    for mine, peer in zip(*results, strict=True):
        near(mine, peer)


def test_prelu():
    for x, weight in (((3, 4), 1), ((3, 4), 4), ((2, 3, 5), 3), ((5,), 1), ((2, 3, 2, 2), 3)):
        compare("prelu", floats(*x), floats(weight, seed=1))
    compare("prelu", np.array([-1.0, -0.0, 0.0, 2.0]), np.array([0.25]), order=1)
    compare("prelu", floats(3, 4), np.array(0.3))
    compare("prelu", floats(3, 4), floats(4, seed=1), order=1, dtypes=("float16", "bfloat16"))


def test_random_slopes():
    values = []
    for library in LIBRARIES:
        library.manual_seed(3)
        x = library.tensor(floats(5, 7, dtype="float32")).requires_grad_()
        y = library.nn.functional.rrelu(x, 0.1, 0.9, training=True)
        y.sum().backward()
        inner = library.nn.RReLU()
        z = inner(library.tensor(floats(4, dtype="float32")))
        after = library.rand(3)
        values.append((y, x.grad, z, inner.eval()(x), after))
    for mine, peer in zip(*values, strict=True):
        near(mine, peer, rtol=1e-6)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_softmax_forms(name):
    for dim in (0, 1, -1):
        compare(name, floats(3, 5), dim=dim)
    compare(name, floats(3, 5), dim=1, dtypes=("float16", "bfloat16"))
    for shape in ((4,), (2, 3), (2, 3, 4), (2, 3, 4, 5)):
        texts = []
        for library in LIBRARIES:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                result = getattr(library.nn.functional, name)(library.tensor(floats(*shape)))
                module = {"softmax": "Softmax", "log_softmax": "LogSoftmax", "softmin": "Softmin"}[name]
                getattr(library.nn, module)()(library.tensor(floats(*shape)))
            texts.append((result, [(w.category, str(w.message), w.filename == __file__) for w in caught]))
        near(texts[0][0], texts[1][0])
        assert texts[0][1][0] == texts[1][1][0]
        assert [t[:2] for t in texts[0][1]] == [t[:2] for t in texts[1][1]]
    single = [getattr(library.nn.functional, name)(library.tensor(floats(2, 3)).to(library.float16), dim=1,
                                                   dtype=library.float32) for library in LIBRARIES]
    near(*single)


def test_glu():
    compare("glu", floats(3, 6))
    compare("glu", floats(4, 3), dim=0)
    compare("glu", floats(3, 6), order=1, dtypes=("float16", "bfloat16"))


@pytest.mark.parametrize("hard", [False, True])
def test_gumbel_softmax(hard):
    values = []
    for library in LIBRARIES:
        library.manual_seed(5)
        x = library.tensor(floats(4, 6, dtype="float32")).requires_grad_()
        y = library.nn.functional.gumbel_softmax(x, tau=0.7, hard=hard)
        (y * library.tensor(floats(4, 6, seed=2, dtype="float32"))).sum().backward()
        values.append((y, x.grad, library.nn.functional.gumbel_softmax(x, dim=0), library.rand(2)))
    for mine, peer in zip(*values, strict=True):
        near(mine, peer, rtol=1e-4, atol=1e-6)


MODULES = [
    ("ELU", (0.5, True)), ("Hardshrink", (0.3,)), ("Hardsigmoid", (True,)), ("Hardtanh", (-2.0, 1.0, True)),
    ("Hardswish", (True,)), ("LeakyReLU", (0.2, True)), ("LogSigmoid", ()), ("PReLU", (4, 0.1)), ("ReLU", (True,)),
    ("ReLU6", (True,)), ("RReLU", (0.1, 0.3, True)), ("SELU", (True,)), ("CELU", (2.0, True)), ("GELU", ("tanh",)),
    ("Sigmoid", ()), ("SiLU", (True,)), ("Mish", (True,)), ("Softplus", (2.0, 10.0)), ("Softshrink", (0.3,)),
    ("Softsign", ()), ("Tanh", ()), ("Tanhshrink", ()), ("Threshold", (0.1, 20.0, True)), ("GLU", (1,)),
    ("Softmin", (1,)), ("Softmax", (-1,)), ("LogSoftmax", (0,)), ("Softmax2d", ()),
]


@pytest.mark.parametrize("name,args", MODULES)
def test_activation_module(name, args):
    ours, theirs = getattr(minigrad.nn, name), getattr(torch.nn, name)
    required = (0.1, 20) if name == "Threshold" else ()
    assert repr(ours(*required)) == repr(theirs(*required))
    assert repr(ours(*args)) == repr(theirs(*args))
    assert getattr(ours, "__constants__", []) == getattr(theirs, "__constants__", [])
    assert ours.__module__.replace("minigrad", "torch") == theirs.__module__
    mine, peer = ours(*args).eval(), theirs(*args).eval()
    assert list(mine.state_dict()) == list(peer.state_dict())
    for attribute in getattr(theirs, "__constants__", []):
        assert getattr(mine, attribute) == getattr(peer, attribute)
    x = floats(2, 4, 3, 2, dtype="float32")
    near(mine(minigrad.tensor(x)), peer(torch.tensor(x)), rtol=1e-5, atol=1e-6)


def signature(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


FUNCTIONS = [name for name in (*ACTIVATIONS, "softmax", "log_softmax", "softmin", "glu", "gumbel_softmax")
             if inspect.isfunction(getattr(torch.nn.functional, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_signature(name):
    assert signature(getattr(minigrad.nn.functional, name)) == signature(getattr(torch.nn.functional, name))


@pytest.mark.parametrize("name", [name for name, _ in MODULES])
def test_module_signature(name):
    ours, theirs = getattr(minigrad.nn, name), getattr(torch.nn, name)
    if "__init__" in vars(theirs):
        assert signature(ours) == signature(theirs)


ACTIVATION_ERRORS = [
    *[lambda m, n=name: getattr(m.nn.functional, n)([1.0]) for name in ACTIVATIONS
      if name not in ("sigmoid", "tanh", "softsign", "tanhshrink", "threshold", "relu6", "logsigmoid")],
    lambda m: m.nn.functional.threshold([1.0], 1, 2),
    lambda m: m.nn.functional.elu(m.zeros(2), "a"), lambda m: m.nn.functional.celu(m.zeros(2), 0),
    lambda m: m.nn.functional.celu(m.zeros(2), "a"), lambda m: m.nn.functional.softplus(m.zeros(2), "a"),
    lambda m: m.nn.functional.threshold(m.zeros(2), "a", 2), lambda m: m.nn.functional.threshold(m.zeros(2), 1, "a"),
    lambda m: m.nn.functional.hardtanh(m.zeros(2), 3, 2), lambda m: m.nn.functional.hardtanh(m.zeros(2), "a", 2),
    lambda m: m.nn.functional.hardtanh(m.zeros(2).to(m.uint8)), lambda m: m.nn.functional.softshrink(m.zeros(2), -1),
    lambda m: m.nn.functional.softshrink(m.zeros(2).to(m.float16), -1.5),
    lambda m: m.nn.functional.hardshrink(m.zeros(2), "a"), lambda m: m.nn.functional.leaky_relu(m.zeros(2), "a"),
    lambda m: m.nn.functional.rrelu(m.zeros(2), 1, 0.5), lambda m: m.nn.functional.rrelu(m.zeros(2), "a"),
    lambda m: m.nn.functional.gelu(m.zeros(2), approximate="x"),
    lambda m: m.nn.functional.prelu(m.zeros(2, 3), m.zeros(2)), lambda m: m.nn.functional.prelu(m.zeros(2, 3), 0.5),
    lambda m: m.nn.functional.prelu(m.zeros(2, 3), m.zeros(1, 3)),
    lambda m: m.nn.functional.prelu(m.zeros(()), m.zeros(3)), lambda m: m.nn.functional.prelu(m.zeros(4), m.zeros(4)),
    lambda m: m.nn.functional.prelu(m.zeros(2, 3), m.zeros(3).double()),
    lambda m: m.nn.functional.prelu(m.zeros(2, 3).long(), m.zeros(3).long()),
    lambda m: m.nn.functional.glu(m.zeros(3)), lambda m: m.nn.functional.glu(m.zeros(())),
    lambda m: m.nn.functional.glu(m.zeros(4), 3), lambda m: m.nn.functional.softmax(m.zeros(2), 3),
    lambda m: m.nn.functional.softmin(m.zeros(2), 3), lambda m: m.nn.functional.log_softmax(m.zeros(2).long(), 0),
    lambda m: m.nn.functional.gumbel_softmax(m.zeros(2).long()), lambda m: m.nn.functional.gumbel_softmax(m.zeros(2), dim=4),
    lambda m: m.nn.Softmax2d()(m.zeros(2, 3)), lambda m: m.nn.Hardtanh(2, 1), lambda m: m.nn.Hardtanh(1, 1),
    lambda m: m.nn.Threshold(1), lambda m: m.nn.ELU(1, 2, 3), lambda m: m.nn.GELU(1)(m.zeros(2)),
]


@pytest.mark.parametrize("number", range(len(ACTIVATION_ERRORS)))
def test_activation_errors(number):
    same_error(ACTIVATION_ERRORS[number])


# ---- losses

X, Y = floats(4, 5), floats(4, 5, seed=1)
P, Q = 1 / (1 + np.exp(-X)), 1 / (1 + np.exp(-Y))
SIGNS = np.sign(floats(4, 5, seed=2))
LOSSES = {
    "l1_loss": [(X, Y, {})], "mse_loss": [(X, Y, {})], "smooth_l1_loss": [(X, Y, {}), (X, Y, {"beta": 0.3}), (X, Y, {"beta": 0})],
    "huber_loss": [(X, Y, {}), (X, Y, {"delta": 0.4}), (X, Y, {"weight": Fixed(P)})],
    "poisson_nll_loss": [(X, Y, {}), (P, 5 * Q, {"log_input": False, "full": True})],
    "gaussian_nll_loss": [(X, Y, P, {}), (X, Y, P[:, :1], {"full": True}), (X, Y, P[:, 0], {"eps": 0.5}), (X, Y, {"var": 0.7})],
    "kl_div": [(X, Q, {}), (X, Y, {"log_target": True})],
    "binary_cross_entropy": [(P, Q, {}), (P, Fixed(Q), {"weight": Fixed(Q)})],
    "binary_cross_entropy_with_logits": [(X, Q, {}), (X, Fixed(Q), {"pos_weight": Fixed(P[0]), "weight": Fixed(Q)})],
    "margin_ranking_loss": [(X, Y, Fixed(SIGNS), {"margin": 0.3}), (X, Y, Fixed(SIGNS[:, :1]), {})],
    "hinge_embedding_loss": [(X, Fixed(SIGNS), {}), (X, Fixed(SIGNS), {"margin": 0.2})],
    "soft_margin_loss": [(X, Fixed(SIGNS), {})],
    "multilabel_soft_margin_loss": [(X, Fixed(P > 0.5), {}), (X, Q, {"weight": Fixed(P[0])})],
    "cosine_embedding_loss": [(X, Y, Fixed(SIGNS[:, 0]), {}), (X, Y, Fixed(SIGNS[:, 1]), {"margin": 0.1}),
                              (X[0], Y[0], Fixed(np.array(1.0)), {})],
    "multi_margin_loss": [(X, Fixed(np.array([0, 4, 2, 1])), {}), (X, Fixed(np.array([0, 4, 2, 1])), {
        "p": 2, "margin": 0.5, "weight": Fixed(P[0])}), (X[0], Fixed(np.array(3)), {}), (X[0], Fixed(np.array([3])), {})],
    "multilabel_margin_loss": [(X, Fixed(np.array([[0, 3, -1, 2, 1], [-1, 0, 0, 0, 0], [4, 3, 2, 1, 0], [1, 1, 2, -1, -1]])), {}),
                               (X[0], Fixed(np.array([2, 1, -1, 0, 0])), {})],
    "triplet_margin_loss": [(X, Y, P, {}), (X, Y, P, {"p": 1, "swap": True}), (X, Y, P, {"p": 3.0, "margin": 0.5}),
                            (X[0], Y[0], P[0], {})],
    "triplet_margin_with_distance_loss": [(X, Y, P, {}), (X, Y, P, {"swap": True})],
}
LOSS_CASES = [(name, case) for name, cases in LOSSES.items() for case in cases]
FIRST_ORDER = ("multi_margin_loss", "multilabel_margin_loss")  # PyTorch has no second


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
@pytest.mark.parametrize("number", range(len(LOSS_CASES)))
def test_loss(number):
    name, (*args, options) = LOSS_CASES[number]
    wrong_name = name == "smooth_l1_loss" and options.get("beta") == 0
    for reduction in ("mean", "sum", "none"):
        ours, theirs = compare(name, *args, order=1 if name in FIRST_ORDER else 2, rtol=1e-6, atol=1e-7, reduction=reduction,
                               **options)
        if not wrong_name:
            assert ours[0].grad_fn.name() == theirs[0].grad_fn.name() or options
    if name not in (*FIRST_ORDER, "soft_margin_loss", "cosine_embedding_loss", "margin_ranking_loss"):
        compare(name, *args, order=1, dtypes=("float16", "bfloat16"), **options)


def test_kinks_of_losses():
    edge = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
    for name, options in (("l1_loss", {}), ("smooth_l1_loss", {}), ("huber_loss", {}), ("smooth_l1_loss", {"beta": 0.5})):
        compare(name, edge, np.zeros(7), order=1, reduction="none", **options)
    for sign in (1.0, -1.0, 0.5):
        compare("hinge_embedding_loss", edge, Fixed(np.full(7, sign)), order=1, reduction="none")
        compare("margin_ranking_loss", edge, np.zeros(7), Fixed(np.full(7, sign)), order=1, reduction="none", margin=0.5)
    compare("multi_margin_loss", np.array([[1.0, 0.0, 2.0]]), Fixed(np.array([0])), order=1)
    compare("multilabel_margin_loss", np.array([[1.0, 0.0, 2.0]]), Fixed(np.array([[0, -1, 0]])), order=1)
    compare("soft_margin_loss", np.array([-30.0, 0.0, 30.0]), Fixed(np.ones(3)), order=1)
    compare("gaussian_nll_loss", edge, edge, np.array([0.0, 1e-9, 1e-6, 1.0, 2.0, 0.0, 1.0]), order=1, reduction="none")


def test_batchmean_and_old_reductions():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compare("kl_div", X, Q, reduction="batchmean")
        compare("kl_div", np.array(0.3), np.array(0.2), reduction="batchmean")
        for name, (*args, options) in LOSS_CASES:
            if "size_average" not in inspect.signature(getattr(torch.nn.functional, name)).parameters:
                continue
            for old in ({"size_average": False}, {"reduce": False}, {"size_average": True}, {"reduce": True}):
                compare(name, *args, order=0, dtypes=("float64",), **options, **old)
    for call in (lambda m: m.nn.functional.kl_div(m.ones(2), m.ones(2)),
                 lambda m: m.nn.functional.huber_loss(m.ones(2), m.ones(2, 1)),
                 lambda m: m.nn.functional.smooth_l1_loss(m.ones(2), m.ones(2, 1)),
                 lambda m: m.nn.NLLLoss2d(), lambda m: m.nn.SoftMarginLoss(size_average=False),
                 lambda m: m.nn.Hardtanh(min_value=-2, max_value=3)):
        texts = []
        for library in LIBRARIES:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                call(library)
            texts.append([(w.category, str(w.message).replace("minigrad.", "torch."), w.filename == __file__) for w in caught])
        assert texts[0] == texts[1]


def test_cross_entropy_again():
    for shape, target in (((4, 5), [0, 4, 2, 1]), ((2, 3, 4), [[0, 1, 2, 2], [1, 1, 0, 0]])):
        for options in ({}, {"label_smoothing": 0.2}, {"weight": Fixed(np.abs(floats(shape[1], seed=3)))},
                        {"ignore_index": 1}, {"label_smoothing": 0.1, "weight": Fixed(np.abs(floats(shape[1], seed=3)))}):
            for reduction in ("mean", "sum", "none"):
                compare("cross_entropy", floats(*shape), Fixed(np.array(target)), reduction=reduction, **options)
    compare("cross_entropy", X, P, order=2)
    compare("cross_entropy", X, P, order=2, label_smoothing=0.3, weight=Fixed(P[1]))
    masked = np.where(floats(4, 5, seed=5) > 0.8, -np.inf, X)
    masked[:, 0] = 1
    compare("cross_entropy", masked, Fixed(np.zeros(4, int)), order=1)
    compare("cross_entropy", X, Fixed(np.array([0, 4, 2, 1])), order=1, dtypes=("float16", "bfloat16"))
    compare("nll_loss", X, Fixed(np.array([0, 4, 2, 1])))


def test_linear_cross_entropy():
    target = Fixed(np.array([0, 2, 1, 1]))
    compare("linear_cross_entropy", X, floats(3, 5), target)
    compare("linear_cross_entropy", X, floats(3, 5), target, linear_bias=floats(3), label_smoothing=0.1, reduction="sum",
            weight=Fixed(np.array([0.5, 1, 2])))
    compare("linear_cross_entropy", X, floats(3, 2, 5), Fixed(np.array([[0, 1], [2, 1], [1, 1], [0, 0]])), ignore_index=1)
    compare("linear_cross_entropy", X[0], floats(3, 5), Fixed(np.array(2)), reduction="none")
    compare("linear_cross_entropy", X, floats(3, 5), np.abs(floats(4, 3)))
    for options in ({}, {"bias": True, "out_features": (2,), "label_smoothing": 0.1}):
        losses = []
        for library in LIBRARIES:
            library.manual_seed(1)
            layer = library.nn.LinearCrossEntropyLoss(5, 3, **options)
            target = library.tensor([[0, 1]] * 4 if options else [0, 1, 2, 0])
            losses.append((layer(library.tensor(X).float(), target), layer))
        near(losses[0][0], losses[1][0])
        assert repr(losses[0][1]) == repr(losses[1][1])
        assert list(losses[0][1].state_dict()) == list(losses[1][1].state_dict())


LENGTHS = [((6, 6, 6), (3, 2, 1)), ((6, 4, 5), (3, 0, 2)), ((6, 2, 3), (3, 2, 0))]


@pytest.mark.parametrize("inputs,wanted", LENGTHS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ctc_loss(inputs, wanted, reduction):
    scores = floats(6, 3, 4)
    table = np.array([[1, 1, 2], [3, 2, 1], [2, 2, 3]])
    long = np.concatenate([row[:n] for row, n in zip(table, wanted, strict=True)])
    for zero in (False, True):
        if inputs[1] < wanted[1] or inputs[0] < 4:
            zero = True  # an infinite loss has no gradient
        for targets in (table, long, table.astype("int32")):
            for blank in (0, 3):
                if blank and (targets == blank).any():
                    continue
                def lossy(library, targets=targets, zero=zero, blank=blank):
                    function = library.nn.functional
                    return lambda x: function.ctc_loss(x.log_softmax(-1), library.tensor(targets), inputs, wanted, blank,
                                                       reduction, zero)
                compare(lossy, scores, order=1, rtol=1e-6, atol=1e-7)
        raw = lambda library: lambda x: library.nn.functional.ctc_loss(  # noqa: E731
            x, library.tensor(table), library.tensor(inputs), library.tensor(wanted), 0, reduction, True)
        compare(raw, np.log(P.mean()) + 0.1 * scores, order=1, dtypes=("float64",))


def test_ctc_loss_of_one_and_of_impossible_targets():
    def one(library):
        return lambda x: library.nn.functional.ctc_loss(x.log_softmax(-1), library.tensor([1, 2]), (5,), (2,), reduction="none")
    compare(one, floats(5, 3), order=1)
    results = [library.nn.CTCLoss(reduction="none")(library.tensor(floats(2, 2, 3)).log_softmax(-1),
                                                    library.tensor([[1, 1], [1, 2]]), (2, 2), (2, 2))
               for library in LIBRARIES]
    near(*results)
    assert np.isinf(results[0].numpy()[0])


LOSS_MODULES = {
    "L1Loss": {}, "MSELoss": {}, "NLLLoss": {}, "PoissonNLLLoss": {"full": True}, "GaussianNLLLoss": {"eps": 0.1},
    "KLDivLoss": {"log_target": True, "reduction": "sum"}, "BCELoss": {}, "BCEWithLogitsLoss": {}, "HingeEmbeddingLoss": {"margin": 2},
    "MultiLabelMarginLoss": {}, "SmoothL1Loss": {"beta": 0.5}, "HuberLoss": {"delta": 0.5}, "SoftMarginLoss": {},
    "CrossEntropyLoss": {"label_smoothing": 0.1}, "MultiLabelSoftMarginLoss": {}, "CosineEmbeddingLoss": {"margin": 0.1},
    "MarginRankingLoss": {"margin": 0.1}, "MultiMarginLoss": {"p": 2}, "TripletMarginLoss": {"swap": True},
    "TripletMarginWithDistanceLoss": {"margin": 0.5}, "CTCLoss": {"blank": 1}, "NLLLoss2d": {},
}


@pytest.mark.filterwarnings("ignore:.*NLLLoss2d.*:FutureWarning")
@pytest.mark.parametrize("name", LOSS_MODULES)
def test_loss_module(name):
    ours, theirs = getattr(minigrad.nn, name), getattr(torch.nn, name)
    assert signature(ours.__init__) == signature(theirs.__init__)
    assert ours.__module__.replace("minigrad", "torch") == theirs.__module__
    assert getattr(ours, "__constants__", []) == getattr(theirs, "__constants__", [])
    mine, peer = ours(**LOSS_MODULES[name]), theirs(**LOSS_MODULES[name])
    assert repr(mine) == repr(peer) and repr(ours()) == repr(theirs())
    assert list(mine.state_dict()) == list(peer.state_dict())
    for attribute in [*getattr(theirs, "__constants__", []), *LOSS_MODULES[name]]:
        assert getattr(mine, attribute) == getattr(peer, attribute)
    integers = np.array([0, 4, 2, 1])
    arguments = {"NLLLoss": (X, integers), "CrossEntropyLoss": (X, integers), "MultiMarginLoss": (X, integers),
                 "GaussianNLLLoss": (X, Y, P), "BCELoss": (P, Q), "BCEWithLogitsLoss": (X, Q),
                 "MultiLabelMarginLoss": (X, np.zeros((4, 5), int)), "CosineEmbeddingLoss": (X, Y, SIGNS[:, 0]),
                 "MarginRankingLoss": (X, Y, SIGNS), "TripletMarginLoss": (X, Y, P),
                 "TripletMarginWithDistanceLoss": (X, Y, P), "NLLLoss2d": (X[:, :, None, None], integers[:, None, None]),
                 "CTCLoss": (floats(5, 2, 3), np.array([[0, 2], [2, 2]]), np.array([5, 5]), np.array([2, 2])),
                 }.get(name, (X, SIGNS if "Margin" in name or "Hinge" in name else Y))
    near(mine(*map(minigrad.tensor, arguments)), peer(*map(torch.tensor, arguments)))


@pytest.mark.parametrize("name", [*LOSSES, "cross_entropy", "nll_loss", "ctc_loss", "linear_cross_entropy", "embedding",
                                  "embedding_bag"])
def test_loss_signature(name):
    assert signature(getattr(minigrad.nn.functional, name)) == signature(getattr(torch.nn.functional, name))


def zeros(*shape, like=""):
    return lambda m: m.zeros(shape, dtype=getattr(m, like) if like else None)


def ints(*shape, fill=0):
    return lambda m: m.full(shape, fill)


LOSS_ERRORS = [
    ("poisson_nll_loss", zeros(2), zeros(2), {"reduction": "x"}), ("poisson_nll_loss", zeros(2), zeros(3)),
    ("gaussian_nll_loss", zeros(2), zeros(2), -1.0), ("gaussian_nll_loss", zeros(2), zeros(2), zeros(3)),
    ("gaussian_nll_loss", zeros(2), zeros(2), zeros(2), {"reduction": "x"}),
    ("gaussian_nll_loss", zeros(2), zeros(2), lambda m: -m.ones(2).realize() if m is minigrad else -m.ones(2)),
    ("kl_div", zeros(2), zeros(3)), ("kl_div", zeros(2), zeros(2), {"reduction": "x"}), ("kl_div", zeros(2), ints(2)),
    ("smooth_l1_loss", zeros(2), zeros(2), {"beta": -1}), ("smooth_l1_loss", zeros(2), zeros(2), {"reduction": "x"}),
    ("smooth_l1_loss", zeros(2), zeros(3)), ("smooth_l1_loss", ints(2), ints(2)), ("huber_loss", zeros(2), zeros(2), {"delta": 0}),
    ("huber_loss", zeros(2), zeros(2), {"reduction": "x"}), ("huber_loss", zeros(2), zeros(2), {"weight": zeros(3)}),
    ("huber_loss", zeros(2), zeros(2), {"weight": zeros(2), "reduction": "x"}), ("huber_loss", ints(2), ints(2)),
    ("margin_ranking_loss", zeros(2), zeros(2), zeros()), ("margin_ranking_loss", zeros(2), zeros(2), zeros(2), {"reduction": "x"}),
    ("margin_ranking_loss", zeros(2), zeros(3), zeros(2)),
    ("hinge_embedding_loss", zeros(2), zeros(2), {"reduction": "x"}), ("hinge_embedding_loss", ints(2), ints(2)),
    ("multilabel_margin_loss", zeros(2, 3), zeros(2, 3)), ("multilabel_margin_loss", zeros(2, 3), ints(2, 2)),
    ("multilabel_margin_loss", zeros(2, 3, 4), ints(2, 3, 4)), ("multilabel_margin_loss", zeros(2, 3), ints(2, 3, fill=5)),
    ("multilabel_margin_loss", zeros(2, 3), ints(2, 3, fill=-5)), ("soft_margin_loss", zeros(2), zeros(2), {"reduction": "x"}),
    ("soft_margin_loss", zeros(2), zeros(3)), ("multilabel_soft_margin_loss", zeros(2), zeros(2), {"reduction": "x"}),
    ("multilabel_soft_margin_loss", zeros(()), zeros(())), ("cosine_embedding_loss", zeros(2, 3), zeros(2, 3), zeros()),
    ("cosine_embedding_loss", zeros(2, 3), zeros(2, 4), zeros(2)), ("cosine_embedding_loss", zeros(3), zeros(3), zeros(1)),
    ("cosine_embedding_loss", zeros(2, 3), zeros(2, 3), zeros(2), {"reduction": "x"}),
    ("cosine_embedding_loss", zeros(2, 3), zeros(2, 3), zeros(2, 1)), ("multi_margin_loss", zeros(2, 3), ints(2), {"p": 3}),
    ("multi_margin_loss", zeros(2, 3), ints(2), {"weight": zeros(2, 3)}), ("multi_margin_loss", zeros(2, 3), ints(2), {"weight": zeros(2)}),
    ("multi_margin_loss", zeros(2, 3), ints(3)), ("multi_margin_loss", zeros(2, 3), zeros(2)),
    ("multi_margin_loss", zeros(2, 3), ints(2, fill=3)), ("multi_margin_loss", zeros(2, 3, 4), ints(2)),
    ("triplet_margin_loss", zeros(2, 3), zeros(2, 3), zeros(2, 3), {"margin": -1}),
    ("triplet_margin_loss", zeros(2, 3), zeros(2, 3), zeros(3)), ("triplet_margin_loss", zeros(2, 3), zeros(2, 4), zeros(2, 3)),
    ("triplet_margin_with_distance_loss", zeros(2, 3), zeros(2, 3), zeros(2, 3), {"margin": -1}),
    ("triplet_margin_with_distance_loss", zeros(2, 3), zeros(2, 3), zeros(2, 3), {"reduction": "x"}),
    ("ctc_loss", zeros(5, 2, 3), ints(2, 2), (5, 5), (2,)), ("ctc_loss", zeros(5, 2, 3), ints(2, 2), (5,), (2, 2)),
    ("ctc_loss", zeros(5, 2, 3), ints(2, 2), (6, 5), (2, 2)), ("ctc_loss", zeros(5, 2, 3), ints(2, 2), (5, 5), (3, 2)),
    ("ctc_loss", zeros(5, 2, 3), ints(2, 2), (5, 5), (2, -1)), ("ctc_loss", zeros(5, 2, 3), ints(3), (5, 5), (2, 2)),
    ("ctc_loss", zeros(5, 2, 3), ints(2, 2), (5, 5), (2, 2), {"blank": 3}), ("ctc_loss", ints(5, 2, 3), ints(2, 2), (5, 5), (2, 2)),
    ("ctc_loss", zeros(5, 2, 3), ints(2, 2), zeros(2), ints(2)), ("ctc_loss", zeros(5, 2, 3), ints(2, 2), (5, 5), (2, 2), {"reduction": "x"}),
    ("ctc_loss", zeros(3), ints(2), (5,), (2,)), ("ctc_loss", zeros(5, 2, 3, like="float16"), ints(2, 2), (5, 5), (2, 2)),
    ("linear_cross_entropy", zeros(2, 3), zeros(4, 2), ints(2)), ("linear_cross_entropy", zeros(2, 3), zeros(4), ints(2)),
    ("linear_cross_entropy", zeros(2, 3, 4), zeros(4), ints(2)), ("linear_cross_entropy", zeros(2, 3), zeros(4, 3), ints(2), {"linear_bias": zeros(3)}),
    ("linear_cross_entropy", zeros(3), zeros(4, 5, 3), ints(2)),
    ("linear_cross_entropy", zeros(2, 3), zeros(4, 3), zeros(2, 4), {"ignore_index": 2}),
    ("binary_cross_entropy", lambda m: m.tensor([2.0, 0.5]), zeros(2)), ("mse_loss", zeros(2), zeros(2), {"reduction": "x"}),
    ("l1_loss", zeros(2), zeros(3)), ("mse_loss", ints(2), ints(2)), ("binary_cross_entropy", ints(2), ints(2)),
    ("soft_margin_loss", ints(2), ints(2)),
    ("pairwise_distance", zeros(2, 3), zeros(2, 4)), ("pairwise_distance", zeros(2, 3), zeros(2, 3), {"p": "a"}),
    ("pairwise_distance", zeros(2, 3), zeros(3, 3)),
    ("cosine_similarity", zeros(2, 3), zeros(2, 4)), ("cosine_similarity", zeros(2, 3), zeros(2, 3), {"dim": 2}),
    ("cosine_similarity", ints(2, 3), ints(2, 3)), ("pdist", zeros(3)), ("pdist", ints(3, 4)), ("pdist", zeros(3, 4), {"p": -1}),
    ("bilinear", zeros(2, 3), zeros(3, 4), zeros(5, 3, 4)), ("bilinear", zeros(2, 3), zeros(2, 4), zeros(5, 3, 3)),
    ("bilinear", zeros(2, 3), zeros(2, 4), zeros(5, 2, 4)), ("bilinear", zeros(2, 3), zeros(2, 4), zeros(5, 3)),
    ("bilinear", zeros(2, 3), zeros(2, 4), zeros(5, 3, 4), zeros(4)), ("bilinear", zeros(2, 7, 3), zeros(2, 4), zeros(5, 3, 4)),
    ("embedding", zeros(2), zeros(3, 4)), ("embedding", ints(2, fill=3), zeros(3, 4)), ("embedding", ints(2, fill=-1), zeros(3, 4)),
    ("embedding", ints(2), zeros(3, 4), {"padding_idx": 3}), ("embedding", ints(2), zeros(3, 4), {"padding_idx": -4}),
    ("embedding", ints(2), zeros(3)), ("embedding", lambda m: m.tensor([True]), zeros(3, 4)), ("embedding", [1], zeros(3, 4)),
    ("embedding", ints(2), zeros(3, 4, 5), {"max_norm": 1.0}), ("embedding_bag", ints(2), zeros(3, 4)),
    ("embedding_bag", ints(2), zeros(3, 4), ints(1, 1)), ("embedding_bag", ints(2, 2), zeros(3, 4), ints(1)),
    ("embedding_bag", ints(2, 2, 2), zeros(3, 4)), ("embedding_bag", ints(2, 2), zeros(3, 4, 5)),
    ("embedding_bag", ints(2, 2), zeros(3, 4), {"mode": "x"}),
    ("embedding_bag", ints(2, 2), zeros(3, 4), {"mode": "max", "scale_grad_by_freq": True}),
    ("embedding_bag", ints(2, 2), zeros(3, 4), {"mode": "max", "sparse": True}),
    ("embedding_bag", ints(2, 2), zeros(3, 4), {"mode": "sum", "per_sample_weights": zeros(2, 3)}),
    ("embedding_bag", ints(2, 2), zeros(3, 4), {"mode": "mean", "per_sample_weights": zeros(2, 2)}),
    ("embedding_bag", ints(2, 2), zeros(3, 4), {"mode": "sum", "per_sample_weights": zeros(2, 2, like="float64")}),
    ("embedding_bag", ints(2, 2, fill=-1), zeros(3, 4)), ("embedding_bag", zeros(2, 2), zeros(3, 4)),
    ("embedding_bag", ints(3), zeros(3, 4), lambda m: m.tensor([0, 4])), ("embedding_bag", ints(3), zeros(3, 4), zeros(2)),
    ("embedding_bag", ints(2, 2), zeros(3, 4), {"padding_idx": 3}), ("embedding_bag", ints(2, 2), zeros(3, 4), {"padding_idx": -4}),
]


@pytest.mark.parametrize("number", range(len(LOSS_ERRORS)))
def test_functional_errors(number):
    name, *arguments = LOSS_ERRORS[number]

    def call(library):
        build = lambda v: v(library) if callable(v) else v  # noqa: E731
        options = {k: build(v) for k, v in arguments[-1].items()} if isinstance(arguments[-1], dict) else {}
        return getattr(library.nn.functional, name)(*[build(v) for v in arguments if not isinstance(v, dict)], **options)

    same_error(call)
