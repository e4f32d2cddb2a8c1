"""Activations, losses, embeddings and distances give the numbers that were computed beforehand; slopes are right where
pieces meet; a loop of them replays; cross entropy keeps little; errors say what PyTorch's say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import Tensor, nn
from minigrad.nn import functional as F

POINTS = [-3.0, -1.0, 0.0, 0.5, 3.0]

# value and slope at POINTS, by PyTorch 2.13
ACTIVATIONS: dict[str, tuple[dict[str, Any], list[float], list[float]]] = {
    "relu6": ({}, [0.0, 0.0, 0.0, 0.5, 3.0],
        [0.0, 0.0, 0.0, 1.0, 1.0]),
    "elu": ({}, [-0.9502129, -0.6321206, 0.0, 0.5, 3.0],
        [0.0497871, 0.3678794, 1.0, 1.0, 1.0]),
    "selu": ({}, [-1.6705687, -1.1113307, 0.0, 0.5253505, 3.152103],
        [0.0875306, 0.6467686, 1.7580993, 1.050701, 1.050701]),
    "celu": ({}, [-0.9502129, -0.6321206, 0.0, 0.5, 3.0],
        [0.0497871, 0.3678794, 1.0, 1.0, 1.0]),
    "hardshrink": ({}, [-3.0, -1.0, 0.0, 0.0, 3.0],
        [1.0, 1.0, 0.0, 0.0, 1.0]),
    "softshrink": ({}, [-2.5, -0.5, 0.0, 0.0, 2.5],
        [1.0, 1.0, 0.0, 0.0, 1.0]),
    "hardsigmoid": ({}, [0.0, 0.3333333, 0.5, 0.5833333, 1.0],
        [0.0, 0.1666667, 0.1666667, 0.1666667, 0.0]),
    "hardswish": ({}, [-0.0, -0.3333333, 0.0, 0.2916667, 3.0],
        [0.0, 0.1666667, 0.5, 0.6666667, 1.0]),
    "hardtanh": ({}, [-1.0, -1.0, 0.0, 0.5, 1.0],
        [0.0, 0.0, 1.0, 1.0, 0.0]),
    "leaky_relu": ({}, [-0.03, -0.01, 0.0, 0.5, 3.0],
        [0.01, 0.01, 0.01, 1.0, 1.0]),
    "logsigmoid": ({}, [-3.0485874, -1.3132617, -0.6931472, -0.474077, -0.0485874],
        [0.9525741, 0.7310586, 0.5, 0.3775407, 0.0474259]),
    "rrelu": ({"lower": 0.1, "upper": 0.3}, [-0.6, -0.2, 0.0, 0.5, 3.0],
        [0.2, 0.2, 0.2, 1.0, 1.0]),
    "gelu": ({}, [-0.0040497, -0.1586553, 0.0, 0.3457312, 2.9959503],
        [-0.0119456, -0.0833155, 0.5, 0.8674951, 1.0119456]),
    "silu": ({}, [-0.1422776, -0.2689414, 0.0, 0.3112297, 2.8577224],
        [-0.0881041, 0.0723295, 0.5, 0.7399612, 1.0881041]),
    "mish": ({}, [-0.1456475, -0.3034015, 0.0, 0.3752452, 2.986535],
        [-0.0933931, 0.0592168, 0.6, 0.8864244, 1.0211069]),
    "softplus": ({"beta": 2.0, "threshold": 5.0}, [0.0012378, 0.063464, 0.3465736, 0.6566308, 3.0],
        [0.0024726, 0.1192029, 0.5, 0.7310586, 1.0]),
    "softsign": ({}, [-0.75, -0.5, 0.0, 0.3333333, 0.75],
        [0.0625, 0.25, 1.0, 0.4444444, 0.0625]),
    "tanhshrink": ({}, [-2.0049452, -0.2384058, 0.0, 0.0378828, 2.0049452],
        [0.990134, 0.5800257, 0.0, 0.2135523, 0.990134]),
    "threshold": ({"threshold": 0.5, "value": 7.0}, [7.0, 7.0, 7.0, 7.0, 3.0],
        [0.0, 0.0, 0.0, 0.0, 1.0]),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values_and_slopes(name: str) -> None:
    options, values, slopes = ACTIVATIONS[name]
    x = minigrad.tensor(POINTS, requires_grad=True)
    y = getattr(F, name)(x, **options)
    y.sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), values, rtol=2e-5, atol=2e-6)
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), slopes, rtol=2e-5, atol=2e-6)


def test_slopes_in_place() -> None:
    for name in ("elu", "leaky_relu", "hardswish", "mish"):
        x = minigrad.tensor(POINTS, requires_grad=True)
        hidden = x * 1.0
        assert getattr(F, name)(hidden, inplace=True) is hidden
        hidden.sum().backward()
        assert x.grad is not None
        np.testing.assert_allclose(x.grad.numpy(), ACTIVATIONS[name][2], rtol=2e-5, atol=2e-6)


LOSSES: dict[str, tuple[tuple[Any, ...], dict[str, Any], float]] = {
    "smooth_l1_loss": (([0.2, 3.0], [0.0, 0.0]), {"beta": 0.5}, 1.3950000),
    "huber_loss": (([0.2, 3.0], [0.0, 0.0]), {"delta": 0.5}, 0.6975000),
    "poisson_nll_loss": (([0.2, 1.0], [3.0, 1.0]), {"full": True}, 2.0518831),
    "gaussian_nll_loss": (([0.2, 1.0], [3.0, 1.0], [0.5, 2.0]), {"full": True}, 4.8389385),
    "kl_div": (([-0.2, -1.0], [0.3, 0.0]), {"reduction": "batchmean"}, -0.1505959),
    "margin_ranking_loss": (([0.2, 1.0], [0.3, 0.5], [1.0, -1.0]), {"margin": 0.5}, 0.8000000),
    "hinge_embedding_loss": (([0.2, 0.4], [1.0, -1.0]), {}, 0.4000000),
    "soft_margin_loss": (([0.2, -4.0], [1.0, -1.0]), {}, 0.3081444),
    "multilabel_soft_margin_loss": (([[0.2, -4.0]], [[1.0, 0.0]]), {}, 0.3081444),
    "cosine_embedding_loss": (([[1.0, 0.0], [1.0, 1.0]], [[1.0, 1.0], [0.0, 1.0]], [1.0, -1.0]),
        {"margin": 0.1}, 0.4500000),
    "multi_margin_loss": (([[0.1, 0.2, 0.4]], [2]), {"p": 2}, 0.3766667),
    "multilabel_margin_loss": (([[0.1, 0.2, 0.4, 0.8]], [[3, 0, -1, 1]]), {}, 0.8500000),
    "triplet_margin_loss": (([[1.0, 0.0]], [[1.0, 1.0]], [[0.0, 0.3]]), {"swap": True}, 0.9559677),
    "cross_entropy": (([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], [1, 2]), {"label_smoothing": 0.1}, 0.4234597),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    arguments, options, value = LOSSES[name]
    found = getattr(F, name)(*[minigrad.tensor(a) for a in arguments], **options)
    assert found.item() == pytest.approx(value, rel=2e-5, abs=1e-6)


def test_a_loop_of_layers_replays() -> None:
    layers = [nn.ELU(), nn.Softplus(), nn.GLU(), nn.Hardtanh(), nn.PReLU()]
    embedding, loss = nn.Embedding(5, 8), nn.SmoothL1Loss()
    indices, target = minigrad.tensor([0, 3, 3]), minigrad.zeros(3, 4).realize()
    parameters = [*embedding.parameters(), *layers[-1].parameters()]
    runs = []
    for _ in range(4):
        for p in parameters:
            p.grad = None
        with minigrad.inspect() as seen:
            x: Tensor = embedding(indices)
            for layer in layers:
                x = layer(x)
            loss(x, target).backward()
        runs.append(seen)
    assert runs[-1].replayed == 1 and not runs[-1].recorded


def test_cross_entropy_reads_the_scores_and_writes_their_gradient_in_one_kernel() -> None:
    x = minigrad.randn(64, 3000).realize().requires_grad_()
    target = minigrad.randint(0, 3000, (64,))
    with minigrad.config(TIERS=0), minigrad.inspect() as seen:
        F.cross_entropy(x, target).backward()
    assert len(seen.kernels) <= 3, seen.kernels
    expected = (x.detach().softmax(1) - F.one_hot(target, 3000)) / 64
    assert x.grad is not None and (x.grad - expected).abs().max() < 1e-7


def test_a_sequence_in_ctc_is_one_loop() -> None:
    x = minigrad.randn(30, 2, 4).realize().requires_grad_()
    with minigrad.config(TIERS=0), minigrad.inspect() as seen:
        F.ctc_loss(x.log_softmax(-1), minigrad.tensor([[1, 2], [3, 3]]), (30, 20), (2, 2)).backward()
    steps = [k.name for k in seen.kernels if "_step" in k.name]
    assert len(steps) >= 30 and len(set(steps)) <= 3


def test_embeddings() -> None:
    table = minigrad.tensor([[3.0, 4.0], [0.0, 0.5], [1.0, 1.0]])
    weight = nn.Parameter(table.clone())
    out = F.embedding(minigrad.tensor([0, 1, 0]), weight, padding_idx=1, max_norm=1.0, scale_grad_by_freq=True)
    np.testing.assert_allclose(out.detach().numpy(), [[0.6, 0.8], [0.0, 0.5], [0.6, 0.8]], rtol=1e-5)
    np.testing.assert_allclose(weight.detach().numpy(), [[0.6, 0.8], [0.0, 0.5], [1.0, 1.0]], rtol=1e-5)
    out.sum().backward()
    assert weight.grad is not None
    np.testing.assert_allclose(weight.grad.numpy(), [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    index, offsets = minigrad.tensor([0, 1, 2, 2]), minigrad.tensor([0, 3, 3])
    for mode, wanted in (("sum", [[4.0, 5.5], [0.0, 0.0], [1.0, 1.0]]), ("max", [[3.0, 4.0], [0.0, 0.0], [1.0, 1.0]]),
                         ("mean", [[4 / 3, 5.5 / 3], [0.0, 0.0], [1.0, 1.0]])):
        found = F.embedding_bag(index, table, offsets, mode=mode)
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)
    with pytest.raises(IndexError, match="index out of range in self"):
        F.embedding(minigrad.tensor([3]), table)


def test_products_of_groups() -> None:
    a = minigrad.arange(10.0).reshape(5, 2).requires_grad_()
    b = (minigrad.arange(12.0).reshape(2, 2, 3) - 4).requires_grad_()
    ends = minigrad.tensor([1, 4], dtype=minigrad.int32)
    found = F.grouped_mm(a, b, offs=ends)
    assert found.tolist() == minigrad.cat([a[:1] @ b[0], a[1:4] @ b[1], minigrad.zeros(1, 3)]).tolist()
    found.sum().backward()
    assert a.grad[4].tolist() == [0, 0] and b.grad[0].tolist() == [[0] * 3, [1] * 3]
    of_columns = F.grouped_mm(b.transpose(1, 2), a.T, offs=ends)
    assert of_columns.tolist() == found.T.tolist()
    both = F.grouped_mm(a.T, a, offs=ends)
    assert both.tolist() == minigrad.stack([a[:1].T @ a[:1], a[1:4].T @ a[1:4]]).tolist()
    assert F.grouped_mm(b, b.transpose(1, 2)).tolist() == (b @ b.transpose(1, 2)).tolist()


@pytest.mark.parametrize(("a", "b", "options", "words"), [
    ((4,), (2, 2, 2), {"offs": [1, 2]}, "mat_a has to be 2 or 3d"),
    ((4, 2), (4,), {"offs": [1, 2]}, "mat_b has to be 2 or 3d"),
    ((4, 2), (2, 2, 2), {}, "Have to provide offsets if there is a 2d matrix, or no offset if both matrices are 3d"),
    ((2, 2, 2), (2, 2, 2), {"offs": [1, 2]}, "Have to provide offsets"),
    ((4, 3), (2, 2, 2), {"offs": [1, 2]}, "contraction dimension of mat_a and mat_b must match"),
    ((3, 2, 2), (2, 2, 2), {}, "batched dimension has to match"),
    ((4, 2), (2, 2, 2), {"offs": [[1, 2]]}, "offs has to be 1D"),
    ((4, 2), (2, 2, 2), {"offs": [1.0, 2.0]}, "Offsets have to be int32"),
    ((4, 2), (2, 2, 2), {"offs": [1]}, "matrix batch sizes have to match"),
    ((4, 2), (2, 2, 2), {"offs": [1, 2], "bias": 1}, "Bias not supported yet"),
    ((4, 2), (2, 2, 2), {"offs": [1, 2], "out_dtype": minigrad.float16}, "output dtype must match `mat_a` dtype"),
])
def test_groups_that_do_not_fit(a: Any, b: Any, options: Any, words: str) -> None:
    offs = options.get("offs")
    if offs is not None:
        made = minigrad.tensor(offs)
        options = {**options, "offs": made if made.is_floating_point() else made.int()}
    with pytest.raises(RuntimeError, match=words):
        F.grouped_mm(minigrad.ones(a), minigrad.ones(b), **options)
    with pytest.raises(RuntimeError, match="Expected mat_b to be Float32, BFloat16 or Float16 matrix, got Double"):
        F.grouped_mm(minigrad.ones(2, 2), minigrad.ones(2, 2).double())


def test_distances() -> None:
    a, b = minigrad.tensor([[0.0, 0.0], [3.0, 4.0]]), minigrad.tensor([[3.0, 4.0], [3.0, 4.0]])
    assert F.pairwise_distance(a, b, eps=0.0).tolist() == [5.0, 0.0]
    assert F.cosine_similarity(a, b).tolist() == pytest.approx([0.0, 1.0])
    assert F.pdist(a, p=1).tolist() == [7.0]
    same = a.clone().requires_grad_()
    minigrad.cdist(same, a).sum().backward()
    assert same.grad is not None and same.grad.isfinite().all()


def test_random_slopes_take_numbers_for_negative_elements_only() -> None:
    minigrad.manual_seed(7)
    y = F.rrelu(minigrad.tensor([1.0, -1.0, 2.0, -1.0]), 0.25, 0.75, training=True)
    after = minigrad.rand(1)
    minigrad.manual_seed(7)
    slopes = minigrad.rand(2, dtype=minigrad.float64) / 2 + 0.25
    assert y.tolist() == pytest.approx([1.0, -slopes[0].item(), 2.0, -slopes[1].item()])
    assert after.item() == minigrad.rand(1).item()


@pytest.mark.parametrize("wrong,error,words", [
    (lambda: F.elu(minigrad.tensor([1])), NotImplementedError, "\"elu_cpu\" not implemented for 'Long'"),
    (lambda: F.glu(minigrad.zeros(3)), RuntimeError, "Halving dimension must be even, but dimension 0 is size 3"),
    (lambda: F.prelu(minigrad.zeros(2, 3), minigrad.zeros(2)), RuntimeError, "Found parameter numbers = 2 and channel"),
    (lambda: F.softshrink(minigrad.zeros(2), -1), RuntimeError, "lambda must be in range"),
    (lambda: F.kl_div(minigrad.zeros(2), minigrad.tensor([1, 2]), reduction="sum"), RuntimeError, "Integral inputs"),
    (lambda: F.huber_loss(minigrad.zeros(2), minigrad.zeros(2), delta=0), RuntimeError, "non-positive values"),
    (lambda: F.ctc_loss(minigrad.zeros(5, 2, 3), minigrad.zeros(2, 2), (6, 5), (2, 2)), RuntimeError, "at most 5, but"),
    (lambda: F.embedding_bag(minigrad.tensor([0]), minigrad.zeros(2, 2)), ValueError, "offsets has to be a 1D Tensor"),
    (lambda: F.bilinear(minigrad.zeros(2, 3), minigrad.zeros(3, 4), minigrad.zeros(5, 3, 4)), RuntimeError,
     "got 2 and 3"),
    (lambda: F.linear_cross_entropy(minigrad.zeros(2, 3), minigrad.zeros(4, 2), minigrad.tensor([0, 1])), RuntimeError,
     "got 3 and 2, respectively"),
    (lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 20, []), ValueError, "length larger than 0"),
    (lambda: nn.Hardtanh(2, 1), AssertionError, "must be greater than min_val"),
])
def test_errors(wrong: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        wrong()


@pytest.mark.parametrize(("name", "right"), [("mse_loss", 2.0), ("smooth_l1_loss", 0.75), ("huber_loss", 0.75)])
def test_a_target_of_bools(name, right):
    x, target = minigrad.tensor([1.0, 3.0]), minigrad.tensor([True, True])
    assert getattr(F, name)(x, target).item() == right


def test_a_huber_loss_has_the_dtype_of_its_input():
    wide, half = minigrad.ones(2, dtype=minigrad.float64), minigrad.zeros(2, dtype=minigrad.float16)
    assert F.huber_loss(half, wide).dtype is minigrad.float16
    with pytest.raises(RuntimeError, match="result type Double can't be cast to the desired output type Long"):
        F.huber_loss(half.long(), wide)


def test_losses_keep_pytorchs_dtypes_and_refuse_gradients_of_weights():
    half, single, double = [minigrad.ones(2, dtype=d) for d in (minigrad.float16, minigrad.float32, minigrad.float64)]
    functional, learnt = minigrad.nn.functional, minigrad.ones(2, requires_grad=True)
    assert functional.soft_margin_loss(half, double).dtype is minigrad.float16
    assert functional.hinge_embedding_loss(half, double).dtype is minigrad.float16
    assert functional.poisson_nll_loss(single.long(), half).dtype is minigrad.float32
    assert functional.cross_entropy(single, double).dtype is minigrad.float64
    for name, options in (("soft_margin_loss", {"target": learnt}), ("binary_cross_entropy", {"weight": learnt}),
                          ("binary_cross_entropy_with_logits", {"pos_weight": learnt})):
        with pytest.raises(RuntimeError, match=f"'{name}' is not differentiable with respect to argument"):
            getattr(functional, name)(single, **{"target": single, **options})
    assert not functional.hinge_embedding_loss(single, learnt).requires_grad


@pytest.mark.parametrize(("loss", "target", "words"), [
    ("huber_loss", minigrad.float64, "Found dtype Double but expected Float"),
    ("huber_loss", minigrad.int64, "Found dtype Long but expected Float"),
    ("soft_margin_loss", minigrad.bool, "Negation, the `-` operator, on a bool tensor is not supported")])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_gradients_that_pytorchs_kernels_refuse(loss: str, target: Any, words: str, reduction: str) -> None:
    x = minigrad.tensor([1.0, 3.0], requires_grad=True)
    value = getattr(F, loss)(x, minigrad.tensor([1.0, 0.0]).to(target), reduction=reduction).sum()
    assert value.isfinite()
    with pytest.raises(RuntimeError, match=words):
        value.backward()
    y = minigrad.tensor([1.0, 0.0], dtype=minigrad.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="Found dtype Float but expected Double"):
        F.huber_loss(x.detach(), y).backward()
