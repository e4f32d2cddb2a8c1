"""Values, gradients, updates, printed forms and error texts of nn and optim beside PyTorch's own."""

import inspect
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402
from minigrad import nn  # noqa: E402
from minigrad.nn import functional as F  # noqa: E402

T = torch.nn.functional


def both(array, grad=False):
    """The same numbers as a minigrad tensor and a PyTorch tensor."""
    array = np.asarray(array)
    ours, theirs = minigrad.tensor(array), torch.tensor(array)
    if grad:
        ours.requires_grad_()
        theirs.requires_grad_()
    return ours, theirs


def floats(*shape, seed=0, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def same(ours, theirs, rtol=2e-5, atol=2e-6):
    theirs = theirs.detach().numpy()
    ours = ours.detach().numpy()
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


def check(function, peer, *arrays, others=(), **options):
    """Forward values and the gradients of all floating-point ``arrays`` agree; ``others`` get no gradient."""
    pairs = [both(array, grad=np.asarray(array).dtype.kind == "f") for array in arrays]
    fixed = [both(array) for array in others]
    ours = function(*(pair[0] for pair in pairs + fixed), **options)
    theirs = peer(*(pair[1] for pair in pairs + fixed), **options)
    same(ours, theirs)
    factor = floats(*theirs.shape, seed=9, dtype=theirs.detach().numpy().dtype)
    (ours * minigrad.tensor(factor)).sum().backward()
    (theirs * torch.tensor(factor)).sum().backward()
    for mine, peers in pairs:
        if peers.requires_grad:
            same(mine.grad, peers.grad)


@pytest.mark.parametrize("lead", [(), (4,), (2, 4), (0,)])
def test_linear(lead):
    check(F.linear, T.linear, floats(*lead, 3), floats(2, 3, seed=1), floats(2, seed=2))
    check(F.linear, T.linear, floats(*lead, 3), floats(2, 3, seed=1))


@pytest.mark.parametrize("shape,axes", [((4, 3), (3,)), ((2, 3, 4), (3, 4)), ((2, 5), (5,))])
def test_layer_norm(shape, axes):
    check(F.layer_norm, T.layer_norm, floats(*shape), normalized_shape=axes)
    check(lambda x, w, b: F.layer_norm(x, axes, w, b, 1e-3), lambda x, w, b: T.layer_norm(x, axes, w, b, 1e-3),
          floats(*shape), floats(*axes, seed=1), floats(*axes, seed=2))


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "leaky_relu"])
def test_activations(name):
    check(getattr(F, name), getattr(T, name), floats(3, 5))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax(name, dim):
    check(getattr(F, name), getattr(T, name), floats(3, 5), dim=dim)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss"])
def test_distances(name, reduction):
    ours, theirs = getattr(F, name), getattr(T, name)
    check(ours, theirs, floats(4, 3), floats(4, 3, seed=1), reduction=reduction)
    weight = np.abs(floats(4, 3, seed=2))
    check(lambda x, y, w: ours(x, y, weight=w, reduction=reduction),
          lambda x, y, w: theirs(x, y, weight=w, reduction=reduction), floats(4, 3), floats(4, 3, seed=1),
          others=[weight])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_cross_entropy(reduction, weighted):
    probability = 1 / (1 + np.exp(-floats(4, 3)))
    target = np.abs(np.sin(floats(4, 3, seed=1)))
    weight = [np.abs(floats(4, 3, seed=2))] if weighted else []
    check(F.binary_cross_entropy, T.binary_cross_entropy, probability, others=[target, *weight], reduction=reduction)
    check(F.binary_cross_entropy_with_logits, T.binary_cross_entropy_with_logits, 5 * floats(4, 3), target,
          others=weight, reduction=reduction)
    positive = np.abs(floats(3, seed=5))
    check(lambda x, t, p: F.binary_cross_entropy_with_logits(x, t, pos_weight=p, reduction=reduction),
          lambda x, t, p: T.binary_cross_entropy_with_logits(x, t, pos_weight=p, reduction=reduction),
          5 * floats(4, 3), others=[target, positive])


def test_binary_cross_entropy_at_the_ends():
    x, t = np.array([0, 0, 1, 1], "float32"), np.array([0, 1, 0, 1], "float32")
    same(F.binary_cross_entropy(both(x)[0], both(t)[0], reduction="none"),
         T.binary_cross_entropy(both(x)[1], both(t)[1], reduction="none"))
    logits = np.array([-200, -1, 0, 0, 1, 200], "float32")
    check(F.binary_cross_entropy_with_logits, T.binary_cross_entropy_with_logits, logits,
          others=[np.array([0, 1, 0, 1, 0, 1], "float32")], reduction="none")


CLASSES = [((4, 3), [0, 2, 1, 1]), ((3,), 2), ((2, 3, 2), [[0, 2], [1, 1]]),
           ((1, 3, 2, 2), [[[0, 2], [1, 1]]]), ((1, 3, 1, 2, 1), [[[[0], [2]]]])]


@pytest.mark.sample(15)
@pytest.mark.parametrize("shape,target", CLASSES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cross_entropy_of_classes(shape, target, reduction, weighted, smoothing):
    weight = [np.array([0.5, 2.0, 1.5], "float32")] if weighted else []
    for ignore in (-100, 1):
        check(F.cross_entropy, T.cross_entropy, floats(*shape), others=[np.array(target), *weight],
              reduction=reduction, label_smoothing=smoothing, ignore_index=ignore)
        check(F.nll_loss, T.nll_loss, floats(*shape), others=[np.array(target), *weight], reduction=reduction,
              ignore_index=ignore)


def test_cross_entropy_corners():
    check(F.cross_entropy, T.cross_entropy, floats(4, 3), others=[np.array([0, 2, 1, 1], "uint8")])
    check(F.cross_entropy, T.cross_entropy, floats(4, 3, dtype="float64"), others=[np.array([0, 2, 1, 1])])
    check(F.cross_entropy, T.cross_entropy, floats(4, 3), others=[np.array([0, -1, 1, -1])], ignore_index=-1)
    check(F.cross_entropy, T.cross_entropy, floats(2, 3), others=[np.array([-100, -100])])
    check(F.cross_entropy, T.cross_entropy, 1e4 * floats(4, 3), others=[np.array([0, 2, 1, 1])])
    check(F.cross_entropy, T.cross_entropy, floats(0, 3), others=[np.zeros(0, "int64")])
    scores, target = both(floats(3)), both(np.array([1]))  # PyTorch's own backward fails for this one
    same(F.cross_entropy(scores[0], target[0]), T.cross_entropy(scores[1], target[1]))


@pytest.mark.parametrize("shape", [(4, 3), (3,), (2, 3, 5)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cross_entropy_of_probabilities(shape, reduction, weighted, smoothing):
    weight = [np.array([0.5, 2.0, 1.5], "float32")] if weighted else []
    check(F.cross_entropy, T.cross_entropy, floats(*shape), np.abs(floats(*shape, seed=1)), others=weight,
          reduction=reduction, label_smoothing=smoothing)


def f32(*shape):
    return lambda m: m.zeros(shape)


def i64(*shape, fill=0):
    return lambda m: m.tensor(np.full(shape, fill))


CALLS = {
    "float target": ("cross_entropy", f32(4, 3), f32(4)),
    "int32 target": ("cross_entropy", f32(4, 3), lambda m: m.zeros(4, dtype=m.int32)),
    "bool target": ("nll_loss", f32(4, 3), lambda m: m.zeros(4, dtype=m.bool)),
    "batch size": ("cross_entropy", f32(4, 3), i64(3)),
    "class 7": ("cross_entropy", f32(4, 3), i64(4, fill=7)),
    "class -1": ("cross_entropy", f32(4, 3), i64(4, fill=-1)),
    "class 7, one sample": ("cross_entropy", f32(3), i64(fill=7)),
    "nll class 3": ("nll_loss", f32(4, 3), i64(4, fill=3)),
    "1d sizes": ("cross_entropy", f32(3), i64(2)),
    "0d": ("nll_loss", f32(), i64()),
    "integer probabilities": ("cross_entropy", f32(4, 3), i64(4, 3)),
    "multi-target": ("cross_entropy", f32(4, 3), i64(4, 1)),
    "3d": ("cross_entropy", f32(4, 3, 5), i64(4, 6)),
    "4d": ("cross_entropy", f32(4, 3, 5, 2), i64(4, 5, 3)),
    "4d, 2d target": ("cross_entropy", f32(4, 3, 5, 2), i64(4, 5)),
    "5d": ("cross_entropy", f32(4, 3, 5, 2, 2), i64(4, 5, 2, 3)),
    "class weight": ("cross_entropy", f32(4, 3), i64(4), f32(2)),
    "class weight dtype": ("cross_entropy", f32(4, 3), i64(4), lambda m: m.zeros(3, dtype=m.float64)),
    "class weight, probabilities": ("cross_entropy", f32(4, 3), f32(4, 3), f32(2)),
    "reduction": ("cross_entropy", f32(4, 3), i64(4), {"reduction": "median"}),
    "smoothing": ("cross_entropy", f32(4, 3), i64(4), {"label_smoothing": 2}),
    "ignored probability": ("cross_entropy", f32(4, 3), f32(4, 3), {"ignore_index": 2}),
    "mse reduction": ("mse_loss", f32(4), f32(4), {"reduction": "median"}),
    "mse weight": ("mse_loss", f32(4), f32(4), {"weight": f32(1)}),
    "bce size": ("binary_cross_entropy", f32(4), f32(4, 1)),
    "bce dtype": ("binary_cross_entropy", f32(4), i64(4)),
    "bce logits size": ("binary_cross_entropy_with_logits", f32(4), f32(4, 1)),
    "linear": ("linear", f32(4, 3), f32(2, 4)),
    "linear batched": ("linear", f32(2, 4, 3), f32(2, 4)),
    "linear 1d": ("linear", f32(3), f32(2, 4)),
    "linear 0d": ("linear", f32(), f32(2, 4)),
    "layer norm": ("layer_norm", f32(4, 3), (4,)),
    "layer norm 2": ("layer_norm", f32(4, 3), (4, 3, 2)),
    "layer norm empty": ("layer_norm", f32(4, 3), ()),
    "layer norm weight": ("layer_norm", f32(4, 3), (3,), f32(2)),
    "layer norm bias": ("layer_norm", f32(4, 3), (3,), f32(3), f32(2)),
    "one hot large": ("one_hot", i64(2, fill=2), 2),
    "one hot negative": ("one_hot", i64(2, fill=-2), 2),
    "one hot dtype": ("one_hot", f32(2), 2),
    "one hot empty": ("one_hot", i64(0)),
}


def message(call):
    with pytest.raises(Exception) as caught:
        call()
    return type(caught.value).__name__, str(caught.value).replace("minigrad.", "torch.")


@pytest.mark.parametrize("name", CALLS)
def test_functional_errors(name):
    function, *arguments = CALLS[name]

    def call(functional, library):
        build = lambda value: value(library) if callable(value) else value  # noqa: E731
        options = {key: build(value) for key, value in arguments[-1].items()} if isinstance(arguments[-1], dict) else {}
        positional = [build(value) for value in arguments if not isinstance(value, dict)]
        return getattr(functional, function)(*positional, **options)

    assert message(lambda: call(F, minigrad)) == message(lambda: call(T, torch))


@pytest.mark.parametrize("call", [
    lambda f, m: f.mse_loss(m.zeros(2), m.zeros(2, 1)),
    lambda f, m: f.l1_loss(m.zeros(2), m.zeros(2, 1)),
    lambda f, m: f.softmax(m.zeros(2, 3)),
    lambda f, m: f.log_softmax(m.zeros(2, 3, 1)),
    lambda f, m: f.mse_loss(m.zeros(2), m.zeros(2), size_average=False),
])
def test_functional_warnings(call):
    texts = []
    for functional, library in ((F, minigrad), (T, torch)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call(functional, library)
        texts.append([(warning.category, str(warning.message).replace("minigrad.", "torch.")) for warning in caught])
    assert texts[0] == texts[1]
    assert texts[0]


LAYERS = [
    lambda n: n.Identity(3), lambda n: n.Flatten(), lambda n: n.Flatten(0, 1), lambda n: n.ReLU(),
    lambda n: n.ReLU(True), lambda n: n.Tanh(), lambda n: n.Sigmoid(), lambda n: n.LeakyReLU(),
    lambda n: n.LeakyReLU(0.2, True), lambda n: n.Softmax(1), lambda n: n.LogSoftmax(-1), lambda n: n.LayerNorm(3),
    lambda n: n.LayerNorm((3, 4), elementwise_affine=False), lambda n: n.LayerNorm(3, bias=False),
    lambda n: n.MSELoss(), lambda n: n.L1Loss(), lambda n: n.NLLLoss(), lambda n: n.BCELoss(),
    lambda n: n.BCEWithLogitsLoss(), lambda n: n.CrossEntropyLoss(), lambda n: n.Linear(2, 3),
    lambda n: n.Linear(2, 3, bias=False), lambda n: n.Sequential(), lambda n: n.ModuleList(),
    lambda n: n.ModuleDict(), lambda n: n.ParameterList(),
    lambda n: n.Sequential(n.Linear(2, 3), n.Sequential(n.ReLU(), n.Linear(3, 3)), n.Tanh()),
    lambda n: n.Sequential(n.ReLU(), n.ReLU())[0:1], lambda n: n.Sequential(n.ReLU()) + n.Sequential(n.Tanh()),
    lambda n: n.Sequential(n.ReLU(), n.Tanh()) * 2,
    lambda n: n.ModuleList([n.Linear(2, 2), n.Linear(2, 2), n.ReLU(), n.Linear(2, 2)]),
    lambda n: n.ModuleList([n.Sequential(n.Linear(2, 2)), n.Sequential(n.Linear(2, 2))]),
    lambda n: n.ModuleDict({"a": n.ReLU(), "b": n.ModuleList([n.Tanh()] * 2)}),
]


@pytest.mark.parametrize("build", LAYERS)
def test_printed_forms(build):
    assert repr(build(nn)) == repr(build(torch.nn))
    assert list(build(nn).state_dict()) == list(build(torch.nn).state_dict())


def test_linear_starts_with_pytorchs_numbers():
    sizes = ((3, 5), (1, 1), (64, 10))
    minigrad.manual_seed(42)
    ours = [nn.Linear(*pair) for pair in sizes]
    torch.manual_seed(42)
    theirs = [torch.nn.Linear(*pair) for pair in sizes]
    for our, their in zip(ours, theirs, strict=True):
        for mine, peers in zip(our.parameters(), their.parameters(), strict=True):
            same(mine, peers, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_"])
def test_initialisers(name):
    for shape in ((5, 4), (4, 3, 3, 3)):
        ours, theirs = minigrad.zeros(shape), torch.zeros(shape)
        options = {"mode": "fan_out", "nonlinearity": "relu"} if "kaiming" in name else {"gain": 2.0}
        minigrad.manual_seed(7)
        assert getattr(nn.init, name)(ours, **options) is ours
        torch.manual_seed(7)
        getattr(torch.nn.init, name)(theirs, **options)
        same(ours, theirs, rtol=2e-6, atol=1e-7)


def test_gains_and_fans():
    for name in ("linear", "conv2d", "conv_transpose3d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert nn.init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


@pytest.mark.parametrize("wrong", [
    lambda m: m.nn.init.calculate_gain("foo"), lambda m: m.nn.init.calculate_gain("leaky_relu", "a"),
    lambda m: m.nn.init.xavier_uniform_(m.zeros(2)), lambda m: m.nn.init.kaiming_normal_(m.zeros(2, 2), mode="x"),
])
def test_initialiser_errors(wrong):
    assert message(lambda: wrong(minigrad)) == message(lambda: wrong(torch))


def net(n):
    return n.Sequential(n.Linear(2, 2), n.ReLU(), n.Linear(2, 1))


def test_load_errors():
    def load(library, n):
        module = net(n)
        state = dict(module.state_dict())
        state["zz"] = state.pop("0.bias")
        state["2.weight"] = library.ones(3, 3)
        state["0.extra"] = state["2.bias"]
        state["2.bias"] = 3
        module.load_state_dict(state)

    assert message(lambda: load(minigrad, nn)) == message(lambda: load(torch, torch.nn))
    for library in (nn, torch.nn):
        module = net(library)
        state = dict(module.state_dict())
        state["zz"] = state.pop("0.bias")
        assert str(module.load_state_dict(state, strict=False)) == (
            "_IncompatibleKeys(missing_keys=['0.bias'], unexpected_keys=['zz'])")
        assert str(module.load_state_dict(module.state_dict())) == "<All keys matched successfully>"
    assert message(lambda: net(nn).load_state_dict([])) == message(lambda: net(torch.nn).load_state_dict([]))


@pytest.mark.parametrize("activation", [lambda n: n.ReLU(True), lambda n: n.LeakyReLU(0.2, inplace=True)])
def test_activations_in_place(activation):
    weight = floats(3, 2, seed=4)

    def run(functional, library):
        x = library.tensor(floats(5, 2)).requires_grad_()
        hidden = functional.linear(x, library.tensor(weight))
        out = activation(library.nn)(hidden)
        assert out is hidden
        (out * out).sum().backward()
        return out, x.grad

    for ours, theirs in zip(run(F, minigrad), run(T, torch), strict=True):
        same(ours, theirs)


def test_second_order():
    def run(functional, library):
        weight = library.tensor(floats(3, 2, seed=4)).requires_grad_()
        out = functional.linear(library.tensor(floats(5, 2)), weight).tanh()
        loss = functional.mse_loss(out, library.zeros(5, 3)) + functional.cross_entropy(
            functional.layer_norm(out, (3,)), library.tensor([0, 1, 2, 1, 0]), label_smoothing=0.1)
        first, = library.autograd.grad(loss, weight, create_graph=True)
        return first, library.autograd.grad((first ** 2).sum(), weight)[0]

    for ours, theirs in zip(run(F, minigrad), run(T, torch), strict=True):
        same(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_precisions(dtype):
    def run(library):
        model = library.nn.Sequential(library.nn.Linear(4, 8), library.nn.ReLU(), library.nn.Linear(8, 3))
        for number, parameter in enumerate(model.parameters()):
            parameter.data.copy_(library.tensor(floats(*parameter.shape, seed=number)))
        model.to(getattr(library, dtype))
        optimizer = library.optim.SGD(model.parameters(), lr=0.1)
        x = library.tensor(floats(6, 4, seed=9)).to(getattr(library, dtype))
        for _ in range(3):
            optimizer.zero_grad()
            library.nn.functional.cross_entropy(model(x), library.tensor([0, 1, 2, 0, 1, 2])).backward()
            optimizer.step()
        return [parameter.detach().double() for parameter in model.parameters()]

    tolerance = {"float64": 1e-12, "float16": 4e-3, "bfloat16": 4e-2}[dtype]
    for ours, theirs in zip(run(minigrad), run(torch), strict=True):
        same(ours, theirs, rtol=tolerance, atol=tolerance)


def test_names_on_the_tape():
    for name, calls in {"cross_entropy": CALLS["class 7"], "mse_loss": CALLS["mse reduction"]}.items():
        scores, target = calls[1], i64(4) if name == "cross_entropy" else f32(4)
        texts = [str(getattr(library.nn.functional, name)(scores(library).requires_grad_(), target(library)))
                 for library in (minigrad, torch)]
        assert texts[0] == texts[1]


# ---- optimizers

OPTIMIZERS = [
    ("SGD", dict(lr=0.1)), ("SGD", dict(lr=0.1, weight_decay=0.05)), ("SGD", dict(lr=0.1, momentum=0.9)),
    ("SGD", dict(lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.1)),
    ("SGD", dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)),
    ("SGD", dict(lr=0.01, momentum=0.5, maximize=True)),
    ("Adam", dict(lr=0.05)), ("Adam", dict(lr=0.05, betas=(0.5, 0.9), eps=1e-4, weight_decay=0.1)),
    ("Adam", dict(lr=0.05, amsgrad=True)), ("Adam", dict(lr=0.05, maximize=True)),
    ("Adam", dict(lr=0.05, weight_decay=0.1, decoupled_weight_decay=True)),
    ("AdamW", dict(lr=0.05)), ("AdamW", dict(lr=0.05, weight_decay=0.3, amsgrad=True)),
    ("AdamW", dict(lr=0.05, maximize=True)),
]


def run_steps(library, name, options, dtype, steps=20):
    """Parameters after ``steps`` steps on a small problem, with a changing lr and a gradient that is often None."""
    values = [floats(4, 3, seed=1, dtype=dtype), floats(3, seed=2, dtype=dtype), floats(seed=3, dtype=dtype)]
    params = [library.nn.Parameter(library.tensor(np.asarray(value))) for value in values]
    x, y = (library.tensor(floats(8, n, seed=n, dtype=dtype)) for n in (4, 3))
    optimizer = getattr(library.optim, name)(params, **options)
    for step in range(steps):
        optimizer.zero_grad()
        loss = ((x @ params[0] + params[1] - y) ** 2).mean()
        if step % 3 == 0:
            loss = loss + (params[2] - 1) ** 2
        loss.backward()
        optimizer.step()
        optimizer.param_groups[0]["lr"] *= 0.97
    return params, optimizer


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name,options", OPTIMIZERS)
def test_twenty_steps(name, options, dtype):
    ours, mine = run_steps(minigrad, name, options, dtype)
    theirs, peer = run_steps(torch, name, options, dtype)
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    for a, b in zip(ours, theirs, strict=True):
        same(a, b, rtol=tolerance, atol=tolerance / 10)
    saved, wanted = mine.state_dict(), peer.state_dict()
    assert saved["param_groups"] == wanted["param_groups"]
    assert saved["state"].keys() == wanted["state"].keys()
    for number, entries in wanted["state"].items():
        assert list(saved["state"][number]) == list(entries)
        for key, value in entries.items():
            same(saved["state"][number][key], value, rtol=10 * tolerance, atol=tolerance / 10)
    assert str(mine) == str(peer)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_signatures(name):
    ours, theirs = (inspect.signature(getattr(library.optim, name)) for library in (minigrad, torch))
    assert [(p.name, p.default, p.kind) for p in ours.parameters.values()] == [
        (p.name, p.default, p.kind) for p in theirs.parameters.values()]


P = lambda m: m.nn.Parameter(m.ones(2))  # noqa: E731
OPTIMIZER_ERRORS = [
    lambda m: m.optim.SGD([]), lambda m: m.optim.SGD([3]), lambda m: m.optim.SGD([P(m) * 2]),
    lambda m: m.optim.SGD([P(m)], lr=-1), lambda m: m.optim.SGD([P(m)], momentum=-1),
    lambda m: m.optim.SGD([P(m)], weight_decay=-1), lambda m: m.optim.SGD([P(m)], nesterov=True),
    lambda m: m.optim.SGD([{"params": [p := P(m)]}, {"params": [p]}]), lambda m: m.optim.SGD([{"params": {P(m)}}]),
    lambda m: m.optim.SGD([{"lr": 0.1}]), lambda m: m.optim.SGD(3), lambda m: m.optim.SGD({"params": [P(m)]}),
    lambda m: m.optim.SGD([("a", P(m)), P(m)]), lambda m: m.optim.Adam([P(m)], lr=-1),
    lambda m: m.optim.Adam([P(m)], eps=-1), lambda m: m.optim.Adam([P(m)], betas=(1, 0.9)),
    lambda m: m.optim.AdamW([P(m)], betas=(0.9, 1)), lambda m: m.optim.AdamW([P(m)], weight_decay=-1),
    lambda m: m.optim.SGD([P(m)]).add_param_group([P(m)]), lambda m: m.optim.Optimizer([P(m)], {}).add_param_group(3),
    lambda m: m.optim.SGD([P(m)]).load_state_dict(m.optim.SGD([P(m), P(m)]).state_dict()),
    lambda m: m.optim.SGD([P(m)]).load_state_dict(m.optim.SGD([{"params": P(m)}, {"params": P(m)}]).state_dict()),
]


@pytest.mark.parametrize("number", range(len(OPTIMIZER_ERRORS)))
def test_optimizer_errors(number):
    assert message(lambda: OPTIMIZER_ERRORS[number](minigrad)) == message(lambda: OPTIMIZER_ERRORS[number](torch))
