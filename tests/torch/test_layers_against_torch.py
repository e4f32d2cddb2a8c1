"""Activations, embeddings, distances, bilinear layers and adaptive softmax beside PyTorch's: values, gradients,
gradients of gradients, half types, in-place forms, random numbers, printed forms, signatures and errors."""

import inspect
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402
from tests.torch.beside import (  # noqa: E402
    LIBRARIES,
    call_errors,
    compare,
    floats,
    ints,
    near,
    same_error,
    signature,
    zeros,
)

KINKS = [-np.inf, -200.0, -50.0, -6.0, -3.0, -2.0, -1.0, -0.5, -1e-3, -0.0, 0.0, 1e-3, 0.5, 1.0, 2.0, 3.0, 6.0, 10.0,
         10.5,
         50.0, 200.0, np.inf, np.nan]
X, Y = floats(4, 5), floats(4, 5, seed=1)


# ---- activations

ACTIVATIONS = {
    "relu": [{}], "relu6": [{}], "elu": [{}, {"alpha": 0.7}, {"alpha": -0.3}], "selu": [{}], "celu": [{},
                                                                                                      {"alpha": 2.0}],
    "hardshrink": [{}, {"lambd": 2}], "softshrink": [{}, {"lambd": 0}], "hardsigmoid": [{}], "hardswish": [{}],
    "hardtanh": [{}, {"min_val": -2, "max_val": 0.5}], "leaky_relu": [{}, {"negative_slope": -0.5}],
    "logsigmoid": [{}], "rrelu": [{}, {"lower": 0.5, "upper": 1}], "gelu": [{}, {"approximate": "tanh"}],
    "sigmoid": [{}], "silu": [{}], "mish": [{}], "softplus": [{}, {"beta": 2.0}, {"beta": 3, "threshold": 1.5}],
    "softsign": [{}], "tanh": [{}], "tanhshrink": [{}], "threshold": [{"threshold": 0.5, "value": 3}],
}
CASES = [(name, options) for name, several in ACTIVATIONS.items() for options in several]


@pytest.mark.sample(12)
@pytest.mark.parametrize("name,options", CASES)
def test_activation(name, options):
    compare(name, floats(3, 4), order=1 if name in ("hardsigmoid", "hardswish") else 2,
            **options)  # PyTorch has no more
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


IN_PLACE = ["relu", "relu6", "elu", "selu", "celu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "rrelu",
            "silu",
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
    lambda m: m.nn.functional.gumbel_softmax(m.zeros(2).long()), lambda m: m.nn.functional.gumbel_softmax(m.zeros(2),
                                                                                                          dim=4),
    lambda m: m.nn.Softmax2d()(m.zeros(2, 3)), lambda m: m.nn.Hardtanh(2, 1), lambda m: m.nn.Hardtanh(1, 1),
    lambda m: m.nn.Threshold(1), lambda m: m.nn.ELU(1, 2, 3), lambda m: m.nn.GELU(1)(m.zeros(2)),
]


@pytest.mark.parametrize("number", range(len(ACTIVATION_ERRORS)))
def test_activation_errors(number):
    same_error(ACTIVATION_ERRORS[number])


# ---- distances and bilinear layers

def test_distances():
    for p in (0.5, 1, 2, 3, 4.5, np.inf):
        compare("pairwise_distance", X, Y, p=p, order=1 if p == np.inf else 2)
        compare("pdist", X, p=p, order=1)
    compare("pairwise_distance", X, Y, p=0, order=0)
    compare("pairwise_distance", X, Y[0], keepdim=True)
    compare("pairwise_distance", X, X, eps=0.0, order=1, dtypes=("float64",))
    compare("pdist", np.concatenate([X, X]), order=1)
    compare("cosine_similarity", X, Y)
    compare("cosine_similarity", X, Y[0], dim=0)
    compare("cosine_similarity", floats(2, 1, 3), floats(4, 3), dim=-1)
    compare("cosine_similarity", np.zeros((2, 3)), floats(2, 3), order=1)
    compare("pairwise_distance", X, Y, order=1, dtypes=("float16", "bfloat16"))
    compare("cosine_similarity", X, Y, order=1, dtypes=("float16", "bfloat16"))
    near(*[library.nn.functional.pdist(library.zeros(1, 4)) for library in LIBRARIES])


def test_cdist():
    def cdist(library):
        return library.cdist
    for p in (0.5, 1, 2, 3, np.inf):
        compare(cdist, floats(2, 3, 4), floats(5, 4, seed=1), p=p, order=1)
    compare(cdist, floats(30, 4), floats(7, 4, seed=1), order=1)
    compare(cdist, floats(3, 4), floats(7, 4, seed=1), order=1, compute_mode="use_mm_for_euclid_dist")
    compare(cdist, X, X, order=1, compute_mode="donot_use_mm_for_euclid_dist")
    for call in (lambda f, m: f(m.zeros(3), m.zeros(2, 3)), lambda f, m: f(m.zeros(3, 4), m.zeros(2, 3)),
                 lambda f, m: f(m.zeros(3, 4), m.zeros(2, 4), p=-1), lambda f, m: f(m.zeros(3, 4), m.zeros(2, 4), 2,
                                                                                    "x"),
                 lambda f, m: f(m.zeros(5, 3, 4), m.zeros(6, 2, 4)), lambda f, m: f(m.zeros(3, 4), m.zeros(2,
                                                                                                           4).double())):
        same_error(lambda m, call=call: call(cdist(m), m))


def test_bilinear():
    compare("bilinear", floats(2, 3), floats(2, 4), floats(5, 3, 4), floats(5))
    compare("bilinear", floats(2, 6, 3), floats(2, 6, 4), floats(5, 3, 4))
    compare("bilinear", floats(3), floats(4), floats(5, 3, 4))


@pytest.mark.parametrize("build", [
    lambda n: n.Bilinear(3, 4, 5), lambda n: n.Bilinear(3, 4, 5, bias=False), lambda n: n.Embedding(7, 3),
    lambda n: n.Embedding(7, 3, padding_idx=-1, max_norm=1.0, norm_type=3.0, scale_grad_by_freq=True, sparse=True),
    lambda n: n.EmbeddingBag(7, 3), lambda n: n.EmbeddingBag(7, 3, 1.5, 1.0, True, "sum", True, None, True, 2),
    lambda n: n.CosineSimilarity(0, 1e-3), lambda n: n.PairwiseDistance(1.0, 1e-3, True),
    lambda n: n.modules.linear.NonDynamicallyQuantizableLinear(3, 4),
    lambda n: n.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10], 2.0, True),
])
def test_starting_numbers_and_printed_forms(build):
    layers = []
    for library in LIBRARIES:
        library.manual_seed(11)
        layers.append(build(library.nn))
    ours, theirs = layers
    assert repr(ours) == repr(theirs)
    assert signature(type(ours).__init__) == signature(type(theirs).__init__)
    assert type(ours).__module__.replace("minigrad", "torch") == type(theirs).__module__
    assert getattr(ours, "__constants__", []) == getattr(theirs, "__constants__", [])
    mine, peers = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(peers)
    for name, peer in peers.items():
        near(mine[name], peer, rtol=1e-6, atol=1e-6)
    for attribute in getattr(theirs, "__constants__", []):
        assert getattr(ours, attribute) == getattr(theirs, attribute)


# ---- embeddings

TABLE = floats(6, 3)
PLACES = np.array([[1, 5, 1, 0], [2, 1, 5, 5]])


@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}, {"padding_idx": -1}, {"scale_grad_by_freq": True},
                                     {"scale_grad_by_freq": True, "padding_idx": 5}])
def test_embedding(options):
    for index in (PLACES, PLACES[0].astype("int32"), np.array(3), np.zeros((2, 0), int)):
        def look(library, index=index):
            return lambda weight: library.nn.functional.embedding(library.tensor(index), weight, **options)
        compare(look, TABLE, order=1)
    compare(look, TABLE, order=1, dtypes=("float16", "bfloat16"))
    layers = [library.nn.Embedding.from_pretrained(library.tensor(TABLE), freeze=False,
                                                   **options) for library in LIBRARIES]
    for layer, library in zip(layers, LIBRARIES, strict=True):
        (layer(library.tensor(PLACES)) ** 2).sum().backward()
    near(layers[0].weight.grad, layers[1].weight.grad)
    assert repr(layers[0]) == repr(layers[1])


@pytest.mark.parametrize("norm", [1.0, 2.0, 3.0])
def test_max_norm_changes_the_table(norm):
    found = []
    for library in LIBRARIES:
        weight = library.nn.Parameter(library.tensor(3 * TABLE))
        view = weight.detach()
        out = library.nn.functional.embedding(library.tensor(PLACES), weight, max_norm=1.5, norm_type=norm)
        (out ** 2).sum().backward()
        bag = library.nn.EmbeddingBag.from_pretrained(library.tensor(2 * TABLE), freeze=False, max_norm=0.5,
                                                      norm_type=norm)
        found.append((out, weight, view, weight.grad, bag(library.tensor(PLACES)), bag.weight))
    for mine, peer in zip(*found, strict=True):
        near(mine, peer)


BAGS = [
    (PLACES, None, {}), (PLACES, None, {"padding_idx": 1}), (PLACES, None, {"padding_idx": -1}),
    (PLACES.ravel(), np.array([0, 3, 3, 4]), {}), (PLACES.ravel(), np.array([0, 0, 8]), {}),
    (PLACES.ravel(), np.array([0, 3, 5, 8]), {"include_last_offset": True}),
    (PLACES.ravel(), np.array([0, 2, 6], "int32"), {"padding_idx": 1}),
    (PLACES.ravel()[:0], np.array([0, 0]), {}), (np.full((2, 2), 1), None, {"padding_idx": 1}),
]


@pytest.mark.parametrize("number", range(len(BAGS)))
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bag(number, mode):
    index, offsets, options = BAGS[number]

    def look(library, **more):
        def call(weight, *factors):
            return library.nn.functional.embedding_bag(
                library.tensor(index), weight, None if offsets is None else library.tensor(offsets), mode=mode,
                per_sample_weights=factors[0] if factors else None, **options, **more)
        return call

    compare(look, TABLE, order=1)
    if mode == "sum" and index.size:
        compare(look, TABLE, floats(*index.shape, seed=4), order=1)
    compare(look, TABLE, order=1, dtypes=("bfloat16",))
    ties = np.array([[1.0, 2.0], [1.0, 3.0], [0.0, 3.0], [1.0, 1.0], [1.0, 3.0], [1.0, 3.0]])
    if offsets is not None:
        compare(look, ties, order=1, dtypes=("float64",))


def test_frequencies_in_bags():
    """PyTorch's own bag divides by the frequencies of other rows; its embedding does what the page says."""
    def look(library):
        def call(weight):
            if library is minigrad:
                return library.nn.functional.embedding_bag(library.tensor(PLACES), weight, mode="sum",
                                                           scale_grad_by_freq=True)
            return library.nn.functional.embedding(library.tensor(PLACES), weight, scale_grad_by_freq=True).sum(1)
        return call
    compare(look, TABLE, order=1)


# ---- adaptive softmax

@pytest.mark.parametrize("options", [{"div_value": 1.5}, {"head_bias": True, "div_value": 2.0}])
def test_adaptive_log_softmax(options):
    found = []
    for library in LIBRARIES:
        library.manual_seed(2)
        layer = library.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10], **options)
        x = library.tensor(floats(6, 8, dtype="float32")).requires_grad_()
        out, loss = layer(x, library.tensor([1, 19, 4, 9, 10, 0]))
        loss.backward()
        single = layer(x[0], library.tensor(7))
        found.append([out, loss, x.grad, *[p.grad for p in layer.parameters()], layer.log_prob(x), layer.predict(x),
                      *single])
    for mine, peer in zip(*found, strict=True):
        near(mine, peer, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wrong", [
    lambda m: m.nn.AdaptiveLogSoftmaxWithLoss(8, 20, []), lambda m: m.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 3]),
    lambda m: m.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 20]), lambda m: m.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 5]),
    lambda m: m.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5])(m.zeros(3, 8), m.tensor([0, 1])),
    lambda m: m.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5])(m.zeros(3, 8), m.tensor([0, 1, 20])),
    lambda m: m.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5])(m.zeros(3, 8, 1), m.tensor([0, 1, 2])),
    lambda m: m.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5])(m.zeros(3, 8), m.tensor(1)),
    lambda m: m.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5])(m.zeros(3, 8), m.tensor([[1]])),
    lambda m: m.nn.Bilinear(0, 3, 2), lambda m: m.nn.Embedding(3, 2, padding_idx=3),
    lambda m: m.nn.EmbeddingBag(3, 2, padding_idx=-4), lambda m: m.nn.Embedding(3, 2, _weight=m.zeros(2, 2)),
    lambda m: m.nn.Embedding.from_pretrained(m.zeros(2)), lambda m: m.nn.EmbeddingBag.from_pretrained(m.zeros(2)),
    lambda m: m.nn.Embedding(3), lambda m: m.nn.HuberLoss(delta="a"), lambda m: m.nn.MultiMarginLoss(p=3),
    lambda m: m.nn.MultiMarginLoss(weight=m.zeros(2, 2)), lambda m: m.nn.TripletMarginLoss(margin=0),
    lambda m: m.nn.TripletMarginWithDistanceLoss(margin=-1), lambda m: m.nn.LinearCrossEntropyLoss(3, 2,
                                                                                                   weight=m.zeros(3)),
    lambda m: m.nn.LinearCrossEntropyLoss(3, 2, label_smoothing=2),
    lambda m: m.nn.LinearCrossEntropyOptions(acc_policy="x"),
    lambda m: m.nn.LinearCrossEntropyOptions(batch_chunk_size=0),
    lambda m: m.nn.LinearCrossEntropyOptions(chunking_method="x"),
])
def test_module_errors(wrong):
    same_error(wrong)


FUNCTION_ERRORS = [
    ("pairwise_distance", zeros(2, 3), zeros(2, 4)), ("pairwise_distance", zeros(2, 3), zeros(2, 3), {"p": "a"}),
    ("pairwise_distance", zeros(2, 3), zeros(3, 3)),
    ("cosine_similarity", zeros(2, 3), zeros(2, 4)), ("cosine_similarity", zeros(2, 3), zeros(2, 3), {"dim": 2}),
    ("cosine_similarity", ints(2, 3), ints(2, 3)), ("pdist", zeros(3)), ("pdist", ints(3, 4)), ("pdist", zeros(3, 4),
                                                                                                {"p": -1}),
    ("bilinear", zeros(2, 3), zeros(3, 4), zeros(5, 3, 4)), ("bilinear", zeros(2, 3), zeros(2, 4), zeros(5, 3, 3)),
    ("bilinear", zeros(2, 3), zeros(2, 4), zeros(5, 2, 4)), ("bilinear", zeros(2, 3), zeros(2, 4), zeros(5, 3)),
    ("bilinear", zeros(2, 3), zeros(2, 4), zeros(5, 3, 4), zeros(4)), ("bilinear", zeros(2, 7, 3), zeros(2, 4), zeros(5,
                                                                                                                      3,
                                                                                                                      4)),
    ("embedding", zeros(2), zeros(3, 4)), ("embedding", ints(2, fill=3), zeros(3, 4)), ("embedding", ints(2, fill=-1),
                                                                                        zeros(3, 4)),
    ("embedding", ints(2), zeros(3, 4), {"padding_idx": 3}), ("embedding", ints(2), zeros(3, 4), {"padding_idx": -4}),
    ("embedding", ints(2), zeros(3)), ("embedding", lambda m: m.tensor([True]), zeros(3, 4)), ("embedding", [1],
                                                                                               zeros(3, 4)),
    ("embedding", ints(2), zeros(3, 4, 5), {"max_norm": 1.0}), ("embedding_bag", ints(2), zeros(3, 4)),
    ("embedding_bag", ints(2), zeros(3, 4), ints(1, 1)),
    ("embedding_bag", ints(2, 2, 2), zeros(3, 4)), ("embedding_bag", ints(2, 2), zeros(3, 4, 5)),
    ("embedding_bag", ints(2, 2), zeros(3, 4), {"mode": "x"}),
    ("embedding_bag", ints(2, 2), zeros(3, 4), {"mode": "max", "scale_grad_by_freq": True}),
    ("embedding_bag", ints(2, 2), zeros(3, 4), {"mode": "max", "sparse": True}),
    ("embedding_bag", ints(2, 2), zeros(3, 4), {"mode": "sum", "per_sample_weights": zeros(2, 3)}),
    ("embedding_bag", ints(2, 2), zeros(3, 4), {"mode": "mean", "per_sample_weights": zeros(2, 2)}),
    ("embedding_bag", ints(2, 2), zeros(3, 4), {"mode": "sum", "per_sample_weights": zeros(2, 2, like="float64")}),
    ("embedding_bag", zeros(2, 2), zeros(3, 4)),
    ("embedding_bag", ints(3), zeros(3, 4), lambda m: m.tensor([0, 4])), ("embedding_bag", ints(3), zeros(3, 4),
                                                                          zeros(2)),
    ("embedding_bag", ints(2, 2), zeros(3, 4), {"padding_idx": 3}), ("embedding_bag", ints(2, 2), zeros(3, 4),
                                                                     {"padding_idx": -4}),
]


@pytest.mark.parametrize("number", range(len(FUNCTION_ERRORS)))
def test_function_errors(number):
    call_errors(FUNCTION_ERRORS, number)
