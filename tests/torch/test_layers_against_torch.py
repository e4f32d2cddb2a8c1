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
