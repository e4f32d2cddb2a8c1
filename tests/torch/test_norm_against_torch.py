"""Normalisation and dropout beside PyTorch's: values, gradients, running statistics, states, printed forms, errors and
the masks that a seed gives."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402
from minigrad import nn  # noqa: E402
from minigrad.nn import functional as F  # noqa: E402

T = torch.nn.functional


def floats(*shape: int, seed: int = 0, dtype: str = "float32") -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def same(ours: Any, theirs: Any, rtol: float = 3e-5, atol: float = 5e-6) -> None:
    assert tuple(ours.shape) == tuple(theirs.shape) and str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]
    np.testing.assert_allclose(ours.detach().double().numpy(), theirs.detach().double().numpy(), rtol=rtol, atol=atol)


def check(ours: Any, theirs: Any, *arrays: Any, atol: float = 5e-6) -> None:
    """Two functions of the arrays agree in value and gradients, also second ones."""
    a = [minigrad.tensor(x, requires_grad=True) for x in arrays]
    b = [torch.tensor(x, requires_grad=True) for x in arrays]
    mine, peer = ours(*a), theirs(*b)
    same(mine, peer, atol=atol)
    factor = floats(*peer.shape, seed=9, dtype=arrays[0].dtype.name)
    first = minigrad.autograd.grad((mine * minigrad.tensor(factor)).sum(), a, create_graph=True)
    expected = torch.autograd.grad((peer * torch.tensor(factor)).sum(), b, create_graph=True)
    for g, e in zip(first, expected, strict=True):
        same(g, e, atol=10 * atol)
    for gradients in (first, expected):
        if any(g.requires_grad for g in gradients):  # a linear function's do not depend on anything
            sum((g * g).sum() for g in gradients).backward()
    for x, y in zip(a, b, strict=True):
        if x.grad is not None and y.grad is not None:
            same(x.grad, y.grad, rtol=1e-3, atol=1e-3)


LAYERS = [
    ("BatchNorm1d", (3,), {}, [(5, 3), (4, 3, 6)]),
    ("BatchNorm1d", (3,), {"affine": False}, [(5, 3)]),
    ("BatchNorm1d", (3,), {"momentum": None}, [(5, 3)]),
    ("BatchNorm2d", (3,), {"eps": 1e-3, "momentum": 0.3}, [(4, 3, 5, 6), (1, 3, 2, 2)]),
    ("BatchNorm2d", (3,), {"track_running_stats": False}, [(4, 3, 5, 6)]),
    ("BatchNorm2d", (3,), {"bias": False}, [(4, 3, 5, 6)]),
    ("BatchNorm3d", (2,), {}, [(3, 2, 2, 3, 4)]),
    ("SyncBatchNorm", (3,), {}, [(5, 3), (4, 3, 5, 6)]),
    ("InstanceNorm1d", (3,), {}, [(4, 3, 6), (3, 6)]),
    ("InstanceNorm1d", (3,), {"affine": True, "track_running_stats": True}, [(4, 3, 6), (3, 6)]),
    ("InstanceNorm2d", (3,), {"affine": True, "bias": False}, [(4, 3, 5, 6), (3, 5, 6)]),
    ("InstanceNorm3d", (2,), {"track_running_stats": True, "momentum": 0.2}, [(3, 2, 2, 3, 4)]),
    ("GroupNorm", (2, 4), {}, [(3, 4), (3, 4, 5), (3, 4, 5, 6)]),
    ("GroupNorm", (2, 4), {"affine": False, "eps": 1e-2}, [(3, 4, 5)]),
    ("GroupNorm", (2, 4), {"bias": False}, [(3, 4, 5)]),
    ("LayerNorm", (6,), {}, [(4, 6)]),
    ("LayerNorm", ((5, 6),), {"bias": False}, [(4, 5, 6)]),
    ("RMSNorm", (6,), {}, [(4, 6)]),
    ("RMSNorm", ((5, 6),), {"eps": 1e-3, "elementwise_affine": False}, [(4, 5, 6)]),
    ("LocalResponseNorm", (3,), {"alpha": 0.5, "beta": 0.6, "k": 2.0}, [(2, 5, 4), (2, 5, 4, 3), (2, 5, 2, 3, 2)]),
    ("LocalResponseNorm", (4,), {"alpha": 0.5}, [(2, 5, 4)]),
    ("Dropout", (0.3,), {"inplace": True}, []),
    ("Dropout1d", (), {}, []), ("Dropout2d", (), {}, []), ("Dropout3d", (), {}, []),
    ("AlphaDropout", (), {}, []), ("FeatureAlphaDropout", (0.2,), {}, []),
]


def pair(name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, Any]:
    """A layer and PyTorch's, with the same weights, which are not 0 and 1."""
    ours, theirs = getattr(nn, name)(*arguments, **options), getattr(torch.nn, name)(*arguments, **options)
    for seed, (mine, peer) in enumerate(zip(ours.parameters(), theirs.parameters(), strict=True)):
        values = floats(*peer.shape, seed=50 + seed)
        with minigrad.no_grad(), torch.no_grad():
            mine.copy_(minigrad.tensor(values))
            peer.copy_(torch.tensor(values))
    return ours, theirs


@pytest.mark.sample(8)
@pytest.mark.parametrize("name,arguments,options,shapes", LAYERS, ids=lambda x: x if isinstance(x, str) else "")
def test_layers(name: str, arguments: tuple[Any, ...], options: dict[str, Any], shapes: list[Any]) -> None:
    ours, theirs = pair(name, arguments, options)
    assert repr(ours) == repr(theirs)
    mine, peers = inspect.signature(type(ours)), inspect.signature(type(theirs))
    assert [(p.name, p.kind, p.default) for p in mine.parameters.values()] == [
        (p.name, p.kind, p.default) for p in peers.parameters.values()]
    for seed, shape in enumerate(shapes * 2):  # the second time the running statistics are others
        x = floats(*shape, seed=seed) * 2 + 1
        a, b = minigrad.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, z = ours(a), theirs(b)
        same(y, z)
        factor = floats(*shape, seed=9)
        ours.zero_grad()
        theirs.zero_grad()
        (y * minigrad.tensor(factor)).sum().backward()
        (z * torch.tensor(factor)).sum().backward()
        same(a.grad, b.grad, atol=2e-5)
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            same(p.grad, q.grad, atol=5e-5)
        for p, q in zip(ours.buffers(), theirs.buffers(), strict=True):
            same(p, q)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        same(ours.state_dict()[key], value)
    ours.eval()
    theirs.eval()
    for shape in shapes:
        x = floats(*shape, seed=7)
        check(ours, theirs, x)
        for p, q in zip(ours.buffers(), theirs.buffers(), strict=True):
            same(p, q)


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (4, 3, 5, 6)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(shape: tuple[int, ...], training: bool) -> None:
    x, w, b = floats(*shape, dtype="float64"), floats(3, seed=1, dtype="float64"), floats(3, seed=2, dtype="float64")
    mean, variance = floats(3, seed=3, dtype="float64"), floats(3, seed=4, dtype="float64") ** 2

    def run(library: Any, function: Any) -> Any:
        statistics = library.tensor(mean), library.tensor(variance)
        return lambda x, w, b: function(x, *statistics, w, b, training, 0.2, 1e-3)

    check(run(minigrad, F.batch_norm), run(torch, T.batch_norm), x, w, b)


def test_functions() -> None:
    x, w, b = floats(3, 4, 5), floats(4, seed=1), floats(4, seed=2)
    check(lambda x, w, b: F.instance_norm(x, weight=w, bias=b), lambda x, w, b: T.instance_norm(x, weight=w, bias=b),
          x, w, b)
    check(lambda x, w, b: F.group_norm(x, 2, w, b), lambda x, w, b: T.group_norm(x, 2, w, b), x, w, b)
    check(lambda x, w: F.rms_norm(x, (5,), w), lambda x, w: T.rms_norm(x, (5,), w), x, floats(5, seed=1))
    check(lambda x: F.local_response_norm(x, 2, 0.3, 0.5), lambda x: T.local_response_norm(x, 2, 0.3, 0.5), x)
    for p in (1.0, 2.0, 3.0, float("inf")):
        for dim in (0, 1, -1, (0, 2)):
            check(lambda x, p=p, dim=dim: F.normalize(x, p, dim), lambda x, p=p, dim=dim: T.normalize(x, p, dim), x)
    zeros = np.zeros((2, 3), np.float32)
    a, b = minigrad.tensor(zeros, requires_grad=True), torch.tensor(zeros, requires_grad=True)
    F.normalize(a).sum().backward()
    T.normalize(b).sum().backward()
    same(a.grad, b.grad)
    out = minigrad.empty(3, 4, 5)
    assert F.normalize(minigrad.tensor(x), out=out) is out
    same(out, T.normalize(torch.tensor(x)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves(dtype: str) -> None:
    x = floats(4, 6, 5) * 3 + 2
    ours, theirs = minigrad.tensor(x).to(getattr(minigrad, dtype)), torch.tensor(x).to(getattr(torch, dtype))
    tight: dict[str, float] = {"rtol": 8e-3, "atol": 8e-3}
    for function, peer in (
            (lambda x: F.batch_norm(x, None, None, training=True),
             lambda x: T.batch_norm(x, None, None, training=True)),
            (lambda x: F.group_norm(x, 2), lambda x: T.group_norm(x, 2)),
            (lambda x: F.layer_norm(x, (5,)), lambda x: T.layer_norm(x, (5,))),
            (lambda x: F.rms_norm(x, (5,)), lambda x: T.rms_norm(x, (5,))),
            (lambda x: F.instance_norm(x), lambda x: T.instance_norm(x))):
        same(function(ours), peer(theirs), **tight)
    layer, peer = nn.BatchNorm1d(6), torch.nn.BatchNorm1d(6)  # parameters of float32
    same(layer(ours), peer(theirs), **tight)
    same(layer.running_var, peer.running_var, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_an_eps_that_is_nothing_in_a_half_type(dtype: str) -> None:
    """float16 has no 1e-12, so that zeros are divided by 0."""
    found = []
    for library in (minigrad, torch):
        x = library.tensor([[0.0, 0.0, 1e-7], [0.0, 2.0, 3.0]]).to(getattr(library, dtype))
        functional = library.nn.functional
        results = [functional.normalize(x, dim=0), functional.normalize(x, dim=1, p=1.0),
                   functional.cosine_similarity(x, x * 0, dim=0), functional.cosine_similarity(x, x + 1, dim=1)]
        found.append([r.float().numpy() for r in results])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-2)
    assert np.isnan(found[0][0]).any() == (dtype == "float16")


def test_cross_map_lrn() -> None:
    """The values; PyTorch's gradient is not that of its formula."""
    for options in ({"size": 3, "alpha": 0.5, "k": 2}, {"size": 4, "alpha": 0.5}, {"size": 5}):
        ours, theirs = nn.CrossMapLRN2d(**options), torch.nn.CrossMapLRN2d(**options)
        assert repr(ours) == repr(theirs)
        x = floats(2, 7, 4, 3)
        same(ours(minigrad.tensor(x)), theirs(torch.tensor(x)))


def test_a_large_mean() -> None:
    """The variance is not lost beside the square of the mean."""
    x = (1e4 + floats(64, 4, 8) * 0.1).astype(np.float32)
    exact = x.astype(np.float64)
    exact = (exact - exact.mean((0, 2), keepdims=True)) / np.sqrt(exact.var((0, 2), keepdims=True) + 1e-5)
    layer = nn.BatchNorm1d(4)
    np.testing.assert_allclose(layer(minigrad.tensor(x)).detach().numpy(), exact, atol=2e-2)
    variance = x.astype(np.float64).var((0, 2), ddof=1)
    np.testing.assert_allclose(layer.running_var.numpy(), 0.9 + 0.1 * variance, rtol=1e-4)


def test_states() -> None:
    """A state of before there were counts, one with running statistics too many, and one that is assigned."""
    ours, theirs = nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    for layer, library in ((ours, minigrad), (theirs, torch)):
        layer(library.ones(3, 2))
        state = {key: value for key, value in layer.state_dict().items() if key != "num_batches_tracked"}
        layer.load_state_dict(state)
        layer.load_state_dict({**state, "num_batches_tracked": library.tensor(7)}, assign=True)
        assert layer.num_batches_tracked.item() == 7
    texts = []
    for library, layer in ((minigrad, nn.InstanceNorm1d(2)), (torch, torch.nn.InstanceNorm1d(2))):
        with pytest.raises(RuntimeError) as caught:
            layer.load_state_dict({"running_mean": library.zeros(2), "running_var": library.ones(2)})
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_convert_sync_batchnorm() -> None:
    def convert(nn: Any) -> Any:
        inner = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU())
        model = nn.Sequential(nn.Linear(2, 3), inner, nn.BatchNorm2d(4, affine=False))
        return model, nn.SyncBatchNorm.convert_sync_batchnorm(model)

    (model, made), (_, peer) = convert(nn), convert(torch.nn)
    assert repr(made) == repr(peer) and made is model
    assert list(made.state_dict()) == list(peer.state_dict())


ERRORS = [
    (lambda m, n, F: F.batch_norm(m.ones(1, 3), None, None, training=True)),
    (lambda m, n, F: F.batch_norm(m.ones(2, 3), None, None)),
    (lambda m, n, F: F.batch_norm(m.ones(2, 3), m.ones(4), m.ones(4))),
    (lambda m, n, F: F.batch_norm(m.ones(2, 3), m.ones(3), m.ones(3), weight=m.ones(2))),
    (lambda m, n, F: F.batch_norm(m.ones(2, 3), None, None, training=True, eps=0.0)),
    (lambda m, n, F: F.batch_norm(m.ones(2, 3), m.ones(3), m.ones(3), eps=-1.0)),
    (lambda m, n, F: n.BatchNorm1d(3)(m.ones(2))),
    (lambda m, n, F: n.BatchNorm1d(3)(m.ones(1, 3))),
    (lambda m, n, F: n.BatchNorm1d(3)(m.ones(2, 4))),
    (lambda m, n, F: n.BatchNorm2d(3)(m.ones(2, 3, 4))),
    (lambda m, n, F: n.BatchNorm3d(3)(m.ones(2, 3, 4))),
    (lambda m, n, F: n.SyncBatchNorm(3)(m.ones(2))),
    (lambda m, n, F: n.InstanceNorm1d(3)(m.ones(2))),
    (lambda m, n, F: n.InstanceNorm1d(3)(m.ones(2, 3, 1))),
    (lambda m, n, F: n.InstanceNorm2d(3, affine=True)(m.ones(2, 4, 2, 2))),
    (lambda m, n, F: n.InstanceNorm3d(3)(m.ones(2, 4, 2))),
    (lambda m, n, F: F.instance_norm(m.ones(2, 3, 4), use_input_stats=False)),
    (lambda m, n, F: F.batch_norm(m.ones(2, 3), m.ones(3), None)),
    (lambda m, n, F: F.batch_norm(m.ones(2, 3), m.ones(3), None, training=True)),
    (lambda m, n, F: F.instance_norm(m.ones(2, 3, 4), m.ones(3), None)),
    (lambda m, n, F: F.instance_norm(m.ones(2, 3, 4), m.ones(4), m.ones(4))),
    (lambda m, n, F: n.GroupNorm(2, 5)),
    (lambda m, n, F: n.GroupNorm(2, 4)(m.ones(2, 6, 3))),
    (lambda m, n, F: F.group_norm(m.ones(2), 1)),
    (lambda m, n, F: F.group_norm(m.ones(2, 5, 3), 2)),
    (lambda m, n, F: F.group_norm(m.ones(1, 2), 2)),
    (lambda m, n, F: n.LayerNorm(3)(m.ones(2, 4))),
    (lambda m, n, F: n.RMSNorm(3)(m.ones(2, 4))),
    (lambda m, n, F: F.rms_norm(m.ones(2, 4), [])),
    (lambda m, n, F: F.rms_norm(m.ones(2, 4), [4], m.ones(3))),
    (lambda m, n, F: F.local_response_norm(m.ones(2, 4), 2)),
    (lambda m, n, F: n.LocalResponseNorm(2)(m.ones(2, 4))),
    (lambda m, n, F: n.CrossMapLRN2d(2)(m.ones(2, 4, 3))),
    (lambda m, n, F: F.normalize(m.arange(3), dim=0)),
    (lambda m, n, F: n.Dropout(1.5)),
    (lambda m, n, F: F.dropout(m.ones(2), -0.1)),
    (lambda m, n, F: F.dropout(m.arange(3))),
    (lambda m, n, F: F.dropout1d(m.ones(2))),
    (lambda m, n, F: F.alpha_dropout(m.ones(2), 2.0)),
    (lambda m, n, F: F.feature_alpha_dropout(m.ones(2), 0.5, True)),
    (lambda m, n, F: F.dropout(m.ones(2, requires_grad=True), inplace=True)),
]


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_errors(number: int) -> None:
    call = ERRORS[number]
    with pytest.raises(Exception) as theirs:
        call(torch, torch.nn, T)
    with pytest.raises(Exception) as ours:
        call(minigrad, nn, F)
    assert type(ours.value) is type(theirs.value), theirs.value
    assert str(ours.value).replace("minigrad.Size", "torch.Size") == str(theirs.value)


@pytest.mark.parametrize("name", ["dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
                                  "feature_alpha_dropout"])
@pytest.mark.parametrize("inplace", [False, True])
def test_pytorchs_masks(name: str, inplace: bool) -> None:
    """With TORCH_RNG=1 one seed gives PyTorch's numbers, forward and backward."""
    shapes = {"dropout1d": [(3, 4), (2, 3, 4)], "dropout2d": [(2, 3, 4), (2, 3, 4, 5)],
              "dropout3d": [(2, 3, 4, 5), (2, 3, 4, 2, 2)]}.get(name, [(4, 5), (2, 3, 4)])
    results = []
    for library, function in ((minigrad, getattr(F, name)), (torch, getattr(T, name))):
        library.manual_seed(3)
        found = []
        with minigrad.config(TORCH_RNG=1), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for shape in shapes:
                for p in (0.0, 0.2, 0.5, 0.9, 1.0):
                    x = library.tensor(floats(*shape), requires_grad=True)
                    hidden = x * 2
                    y = function(hidden, p, True, inplace)
                    if inplace:
                        assert name.endswith("d") or y is hidden
                        np.testing.assert_array_equal(y.detach().numpy(), hidden.detach().numpy())
                    (y * y).sum().backward()
                    found += [y.detach().numpy(), x.grad.numpy()]
        found.append(library.rand(4).numpy())  # as many numbers were drawn
        results.append(found)
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_warnings_of_dropout() -> None:
    for call in (lambda m, F: F.dropout2d(m.ones(2, 2)), lambda m, F: F.dropout2d(m.ones(2, 2, 2)),
                 lambda m, F: F.dropout3d(m.ones(2, 2))):
        texts = []
        for library, functions in ((minigrad, F), (torch, T)):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                call(library, functions)
            texts.append([str(w.message) for w in caught])
        assert texts[0] == texts[1] != []
