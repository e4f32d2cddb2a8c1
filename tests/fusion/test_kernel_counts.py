"""How many kernels programs take: the scheduler's promise, held for hand-written and re-associated variants at random
shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.engine import plans
from minigrad.nn import functional as F
from minigrad.vision.models import resnet18


def _random(rng: np.random.Generator, *shape: int) -> Any:
    return mg.tensor(rng.standard_normal(shape).astype(np.float32))


def _launches(program: Callable[[], Any]) -> tuple[int, Any]:
    with mg.inspect() as seen:
        result = program()
        mg.realize(*(result if isinstance(result, tuple) else (result,)))
    return seen.launches, result


def _shape(rng: np.random.Generator, small: bool) -> tuple[int, int]:
    """Small work may always be one kernel; large work shows what the scheduler really fuses."""
    m, n = rng.integers(3, 40, 2) if small else rng.integers(300, 700, 2)
    return int(m), int(n)


SIZES = pytest.mark.parametrize("small", [True, False], ids=["small", "large"])


@SIZES
@pytest.mark.parametrize("variant", [
    lambda x: x.relu() * 2 + 1,
    lambda x: 1 + 2 * x.clamp(min=0),
    lambda x: mg.where(x > 0, x, 0.0) + mg.where(x > 0, x, 0.0) + 1,
    lambda x: (x.relu() * 2 + 1).sigmoid() * x - 0.5,
])
def test_elementwise_chain_is_one_kernel(rng: np.random.Generator, small: bool, variant: Callable[[Any], Any]) -> None:
    x = _random(rng, *_shape(rng, small))
    assert _launches(lambda: variant(x))[0] == 1


@SIZES
@pytest.mark.parametrize("variant", [
    lambda a, b, c: (a @ b + c).relu(),
    lambda a, b, c: (c + a.matmul(b)).clamp(min=0),
    lambda a, b, c: ((a.unsqueeze(2) * b.unsqueeze(0)).sum(1) + c).relu(),
    lambda a, b, c: F.linear(a, b.T, c).relu(),
])
def test_linear_layer_is_one_kernel(rng: np.random.Generator, small: bool, variant: Callable[..., Any]) -> None:
    m, k = _shape(rng, small)
    n = int(rng.integers(3, 90))
    a, b, c = _random(rng, m, k), _random(rng, k, n), _random(rng, n)
    count, result = _launches(lambda: variant(a, b, c))
    assert count == 1
    expected = np.maximum(a.numpy().astype(np.float64) @ b.numpy() + c.numpy(), 0)
    np.testing.assert_allclose(result.numpy(), expected, rtol=2e-4, atol=2e-4)


def _hand_softmax(x: Any, dim: int) -> Any:
    e = (x - x.max(dim, keepdim=True).values).exp()
    return e / e.sum(dim, keepdim=True)


def _hand_softmax_reassociated(x: Any, dim: int) -> Any:
    shifted = x - x.amax(dim, keepdim=True)
    return shifted.exp() * (1 / shifted.exp().sum(dim).unsqueeze(dim))


@SIZES
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("variant", [
    lambda x, dim: x.softmax(dim), lambda x, dim: x.log_softmax(dim), _hand_softmax, _hand_softmax_reassociated,
    lambda x, dim: x - x.logsumexp(dim, keepdim=True),
])
def test_softmax_is_one_kernel(rng: np.random.Generator, small: bool, dim: int, variant: Callable[..., Any]) -> None:
    x = _random(rng, *_shape(rng, small))
    assert _launches(lambda: variant(x, dim))[0] == 1


def _hand_layer_norm(x: Any) -> Any:
    mean = x.mean(1, keepdim=True)
    variance = ((x - mean) ** 2).mean(1, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


def _hand_layer_norm_moments(x: Any) -> Any:
    mean = x.sum(1, keepdim=True) / x.shape[1]
    square = (x * x).sum(1, keepdim=True) / x.shape[1]
    return (x - mean) * (square - mean * mean + 1e-5).rsqrt()


def test_what_only_a_scan_reads_is_computed_in_its_kernel(rng: np.random.Generator) -> None:
    """A long function of what is summed; rows that are reduced before. What others read, or is asked for, is stored,
    and in place nothing is overwritten that is still to be read."""
    x = mg.tensor(rng.standard_normal((3, 40_000)).astype("f"))
    y = x.numpy().astype(np.float64)
    wanted = np.cumsum(1 / (1 + np.exp(-y)), 1)
    with mg.inspect() as seen:
        got = x.sigmoid().cumsum(1).realize()
    assert seen.launches == 1 and np.allclose(got.numpy(), wanted, 1e-5)
    rows = _random(rng, 100, 400)
    with mg.inspect() as seen:
        got = (rows.softmax(1) * 2).cumsum(1).realize()
    e = np.exp(rows.numpy())
    assert seen.launches == 1 and np.allclose(got.numpy(), np.cumsum(2 * e / e.sum(1, keepdims=True), 1), 1e-4)
    s = x.sigmoid()
    c, t = s.cumsum(1), s.sqrt()
    (c + t).sum().item()
    s.realize()
    assert np.allclose(c.numpy(), wanted, 1e-5) and np.allclose(t.numpy(), 1 / np.sqrt(1 + np.exp(-y)), 1e-5)
    for dim in (0, 1):
        z = x.clone()
        z.sigmoid_().cumsum_(dim)
        assert np.allclose(z.numpy(), np.cumsum(1 / (1 + np.exp(-y)), dim), 1e-5)



@SIZES
@pytest.mark.parametrize("variant", [
    lambda x: F.layer_norm(x, x.shape[1:]), _hand_layer_norm, _hand_layer_norm_moments,
    lambda x: (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True, correction=0),
])
def test_layer_norm_is_one_kernel(rng: np.random.Generator, small: bool, variant: Callable[..., Any]) -> None:
    x = _random(rng, *_shape(rng, small))
    count, result = _launches(lambda: variant(x))
    assert count == 1
    a = x.numpy().astype(np.float64)
    expected = (a - a.mean(1, keepdims=True)) / np.sqrt(a.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-3, atol=1e-3)


@SIZES
def test_cross_entropy_is_at_most_two_kernels(rng: np.random.Generator, small: bool) -> None:
    n, c = _shape(rng, small)
    x, t = _random(rng, n, c), mg.tensor(rng.integers(0, c, n))
    assert _launches(lambda: F.cross_entropy(x, t))[0] <= 2
    picked = mg.arange(c).unsqueeze(0) == t.unsqueeze(1)
    assert _launches(lambda: -(x.log_softmax(1) * picked).sum() / n)[0] <= 2


def _mlp(inputs: int = 64, hidden: int = 128) -> Any:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 10))


@pytest.mark.parametrize("optimizer", [optim.Adam, optim.AdamW])
def test_adam_step_is_at_most_two_launches(rng: np.random.Generator, optimizer: Any) -> None:
    model = _mlp()
    step = optimizer(model.parameters(), lr=1e-3)
    x, t = _random(rng, 32, 64), mg.tensor(rng.integers(0, 10, 32))
    for _ in range(2):
        step.zero_grad()
        F.cross_entropy(model(x), t).backward()
        with mg.inspect() as seen:
            step.step()
        assert 1 <= seen.launches <= 2
    assert seen.compiled == 0


def test_xor_step_is_at_most_eight_launches_and_then_cached() -> None:
    mg.manual_seed(0)
    x = mg.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    y = mg.tensor([[0.0], [1], [1], [0]])
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    step = optim.SGD(model.parameters(), lr=0.1)
    for i in range(4):
        with mg.inspect() as seen:
            step.zero_grad()
            loss = nn.MSELoss()(model(x), y)
            loss.backward()
            step.step()
        assert 1 <= seen.launches <= 8
        if i:
            assert seen.compiled == 0 and seen.plan_misses == 0 and seen.plan_hits + seen.replayed >= 1
        with mg.inspect() as seen:
            loss.item()
        assert seen.launches == 0


def test_training_loop_compiles_nothing_after_its_first_step(rng: np.random.Generator) -> None:
    plans.clear()
    model = _mlp()
    step = optim.Adam(model.parameters(), lr=1e-3)
    data, target = _random(rng, 96, 64), mg.tensor(rng.integers(0, 10, 96))
    compiled = []
    for i in range(0, 96, 32):
        with mg.inspect() as seen:
            for group in step.param_groups:
                group["lr"] = 1e-3 / (1 + i)
            step.zero_grad()
            loss = F.cross_entropy(model(data[i:i + 32]), target[i:i + 32])
            loss.backward()
            step.step()
            loss.item()
        compiled.append(seen.compiled)
    assert compiled[0] > 0 and compiled[1:] == [0, 0]


def _attention(x: Any, mask: Any, weights: list[Any]) -> Any:
    """A block with four heads of 16, and what is added to it."""
    q, k, v = [(x @ w).reshape(8, 64, 4, 16).transpose(1, 2) for w in weights[:3]]
    seen = ((q @ k.transpose(-1, -2)) * 0.25 + mask).softmax(-1) @ v
    return x + seen.transpose(1, 2).reshape(8, 64, 64) @ weights[3]


def test_what_became_a_leaf_in_the_first_step_compiles_nothing_in_the_second(rng: np.random.Generator) -> None:
    """The mask is made when the first step runs; from then on it is memory, and the graph another one."""
    plans.clear()
    layers = [[(_random(rng, 64, 64) * 0.1).detach().requires_grad_() for _ in range(4)] for _ in range(3)]
    step = optim.AdamW([w for layer in layers for w in layer], lr=1e-3)
    x, mask = _random(rng, 8, 64, 64), (1 - mg.tril(mg.ones(64, 64))) * -1e9
    found = []
    for _ in range(3):
        with mg.inspect() as seen:
            step.zero_grad()
            h = x
            for layer in layers:
                h = _attention(h, mask, layer)
            (h * h).mean().backward()
            step.step()
        found.append((seen.compiled, seen.plan_misses))
    assert found[0][0] > 0 and found[1][0] == 0 and found[1][1] >= 1 and found[2] == (0, 0)


def test_adding_to_gradients_compiles_only_the_kernels_that_add(rng: np.random.Generator) -> None:
    """The layers' own kernels are those of the first backward: but each form of addition is new once."""
    plans.clear()
    model = nn.Sequential(*[layer for _ in range(8) for layer in (nn.Linear(96, 96), nn.ReLU())])
    x, compiled = _random(rng, 64, 96), []
    for _ in range(3):
        with mg.inspect() as seen:
            model(x).sum().backward()
        compiled.append(seen.compiled)
    assert seen.launches > 16 and compiled[1] <= 4 and compiled[2] == 0


def test_printing_the_loss_first_does_not_run_the_forward_twice(rng: np.random.Generator) -> None:
    model = _mlp(256, 512)
    x, t = _random(rng, 128, 256), mg.tensor(rng.integers(0, 10, 128))

    def products(print_first: bool) -> int:
        model.zero_grad()
        with mg.inspect() as seen:
            loss = F.cross_entropy(model(x), t)
            if print_first:
                str(loss)
            loss.backward()
        return sum("matmul" in k.name or "linear" in k.name for k in seen.kernels)

    assert products(True) <= products(False)


def test_a_scalar_that_changes_is_compiled_at_most_twice(rng: np.random.Generator) -> None:
    x = _random(rng, 300)
    compiled = []
    for value in (0.5, 0.25, 0.125, 3.0):
        with mg.inspect() as seen:
            (x * value + 1).realize()
        compiled.append(seen.compiled)
    assert compiled[2:] == [0, 0]


@pytest.mark.parametrize("shape, options", [
    ((2, 16, 20, 20), {"padding": 1}), ((2, 16, 20, 20), {"padding": 1, "stride": 2}),
    ((2, 16, 20, 20), {"padding": 2, "dilation": 2, "groups": 4})])
def test_convolution_batch_norm_and_relu_are_one_kernel(shape: tuple[int, ...], options: dict[str, int]) -> None:
    """In evaluation batch norm is a factor and a term for each channel."""
    groups = options.get("groups", 1)
    x, w, b = mg.randn(*shape), mg.randn(32, 16 // groups, 3, 3), mg.randn(32)
    mean, variance, scale, shift = (mg.rand(32).reshape(1, 32, 1, 1) + 0.5 for _ in range(4))
    mg.realize(x, w, b, mean, variance, scale, shift)
    with mg.inspect() as seen:
        normal = (mg.conv2d(x, w, b, **options) - mean) / (variance + 1e-5).sqrt()
        y = (normal * scale + shift).relu()
        del normal
        y.realize()
    assert [k.name.split("_")[0] for k in seen.kernels] == ["convolution"]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("options", [{"padding": 1}, {"padding": 1, "stride": 2}, {"padding": 2, "dilation": 2},
                                     {"groups": 2}])
def test_gradients_of_convolutions_are_one_kernel_each(transposed: bool, options: dict[str, int]) -> None:
    """Without a column buffer, and each a contraction: the kernel's loops multiply vectors, its memory is that of
    operands and results."""
    groups = options.get("groups", 1)
    x = mg.randn(2, 16, 20, 20).requires_grad_()
    w = mg.randn(*((16, 32 // groups) if transposed else (32, 16 // groups)), 3, 3).requires_grad_()
    mg.realize(x, w)
    convolve = mg.conv_transpose2d if transposed else mg.conv2d
    y = convolve(x, w, **options)
    g = mg.randn(*y.shape).realize()
    y.realize()
    for of in (x, w):
        with mg.inspect() as seen:
            mg.autograd.grad(y, [of], g, retain_graph=True)[0].realize()
        assert len(seen.kernels) == 1, [k.name for k in seen.kernels]
        assert "contraction" in seen.kernels[0].stages[0]


def test_equal_convolutions_are_compiled_once() -> None:
    """Five layers of one shape: a kernel each, one piece of code for the three in the middle, forward and backward."""
    layers = nn.Sequential(*[part for _ in range(5) for part in (nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())])
    x = mg.randn(4, 16, 12, 12)
    mg.realize(x, *layers.parameters())
    with mg.inspect() as seen:
        layers(x).realize()
    assert seen.launches == 5 and seen.compiled == 1
    with mg.inspect() as seen:
        layers(x).sum().backward()
    assert seen.compiled <= seen.launches // 2


def test_small_cnn_step_is_at_most_fourteen_launches() -> None:
    """Two convolutions, pooling and a linear layer, cross entropy, Adam."""
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.Flatten(),
                          nn.Linear(16 * 64, 10))
    optimizer = optim.Adam(model.parameters())
    x, y = mg.randn(32, 1, 12, 12), mg.arange(32) % 10
    mg.realize(x, y, *model.parameters())
    with mg.inspect() as seen:
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert seen.launches <= 14, [k.name for k in seen.kernels]

@SIZES
@pytest.mark.parametrize("spatial", [False, True])
def test_batch_norm_in_training_is_at_most_two_kernels(rng: np.random.Generator, small: bool, spatial: bool) -> None:
    """Statistics, normalisation and relu; the count of batches is computed beside them."""
    shape = (*_shape(rng, small), *((6, 5) if spatial and small else (3, 4) if spatial else ()))
    layer, x = (nn.BatchNorm2d if spatial else nn.BatchNorm1d)(shape[1]), _random(rng, *shape)
    for _ in range(2):
        with mg.inspect() as seen:
            result = layer(x).relu()
            mg.realize(result, *layer.buffers())
        assert seen.launches <= 2, [kernel.name for kernel in seen.kernels]
    axes = (0, 2, 3)[:len(shape) - 1]
    values = x.numpy().astype(np.float64)
    expected = (values - values.mean(axes, keepdims=True)) / np.sqrt(values.var(axes, keepdims=True) + 1e-5)
    np.testing.assert_allclose(result.detach().numpy(), np.maximum(expected, 0), rtol=1e-3, atol=1e-4)


def test_running_statistics_cost_no_run_of_their_own(rng: np.random.Generator) -> None:
    """A step with batch norm is one run for backward and one for the update, as without."""
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))
    optimizer, x = optim.SGD(model.parameters(), lr=0.1), _random(rng, 5, 6)
    for _ in range(4):
        with mg.inspect() as seen:
            optimizer.zero_grad()
            model(x).sum().backward()
            optimizer.step()
    assert seen.replayed == 2 and seen.plan_hits == seen.plan_misses == 0
    assert model[1].running_mean._storage.lazy.buffer is not None


@SIZES
@pytest.mark.parametrize("function", [F.dropout, F.alpha_dropout])
def test_dropout_fuses_and_stores_no_mask(rng: np.random.Generator, small: bool, function: Callable[..., Any]) -> None:
    """One kernel with what comes before and after it; and backward another, which computes the mask again."""
    x = mg.tensor(rng.standard_normal(_shape(rng, small)).astype(np.float32), requires_grad=True)
    count, result = _launches(lambda: function(x.relu() + 1, 0.3, True).tanh())
    assert count == 1
    with mg.inspect() as seen:
        result.backward(mg.full(result.shape, 0.5))
    assert seen.launches == 1, [kernel.name for kernel in seen.kernels]


@SIZES
@pytest.mark.parametrize("norm", [lambda c: nn.GroupNorm(1, c), lambda c: nn.InstanceNorm1d(c), lambda c: nn.RMSNorm(8),
                                  lambda c: nn.LocalResponseNorm(3)])
def test_other_norms_are_one_kernel(rng: np.random.Generator, small: bool, norm: Callable[[int], Any]) -> None:
    m, n = _shape(rng, small)
    layer, x = norm(n), _random(rng, m, n, 8)
    assert _launches(lambda: layer(x).relu())[0] == 1


@pytest.mark.parametrize("layer", [lambda: nn.Conv2d(16, 32, 3, padding=1), lambda: nn.Conv2d(16, 32, 1, bias=False)])
def test_batch_norm_in_evaluation_fuses_with_the_convolution_before_it(layer: Callable[[], Any]) -> None:
    model = nn.Sequential(layer(), nn.BatchNorm2d(32), nn.ReLU()).eval()
    x = mg.randn(2, 16, 20, 20).realize()
    with mg.no_grad():
        assert _launches(lambda: model(x))[0] == 1


class _Block(nn.Module):
    """A block of a GPT: causal attention with four heads, then two dense layers, each behind a layer norm."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.norm1, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm2, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Any) -> Any:
        n, length, width = x.shape
        q, k, v = (part.view(n, length, 4, -1).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(n, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


def test_a_gpt_block_is_nine_kernels_forward_and_at_most_thirty_four_in_training(rng: np.random.Generator) -> None:
    block, x = _Block(), _random(rng, 4, 64, 64)
    with mg.no_grad():
        assert _launches(lambda: block(x))[0] <= 9
    x.requires_grad_()
    with mg.inspect() as seen:
        block(x).square().mean().backward()
    assert seen.launches <= 34


def test_a_training_step_of_resnet_18_is_at_most_a_hundred_and_twenty_five_launches(rng: np.random.Generator) -> None:
    model = resnet18(num_classes=10)
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    x, y = _random(rng, 2, 3, 32, 32), mg.tensor([3, 7])
    for _ in range(3):
        with mg.config(TIERS=0), mg.inspect() as seen:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        assert seen.launches <= 125
    assert seen.compiled == 0
