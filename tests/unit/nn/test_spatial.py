"""Padding, pooling, resampling and shuffling: numbers computed beforehand, gradients against finite differences, counts
of kernels, and what is refused. ``tests/torch`` compares them with PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import Tensor, nn
from minigrad.nn import functional as F

NAN = float("nan")


def counted(*shape: int, dtype: str = "float32") -> Tensor:
    """0, 1, 2, …"""
    return minigrad.tensor(np.arange(np.prod(shape)).reshape(shape).astype(dtype))


def rows(tensor: Any) -> Any:
    return tensor.detach().flatten().tolist()


def test_pad() -> None:
    x = counted(1, 2, 3)
    assert rows(F.pad(x, (1, 0), value=9)) == [9, 0, 1, 2, 9, 3, 4, 5]
    assert rows(F.pad(x, (-1, 1))) == [1, 2, 0, 4, 5, 0]
    assert rows(F.pad(x, (2, 1), "reflect")) == [2, 1, 0, 1, 2, 1, 5, 4, 3, 4, 5, 4]
    assert rows(F.pad(x, (0, 2), "replicate")) == [0, 1, 2, 2, 2, 3, 4, 5, 5, 5]
    assert rows(F.pad(x, (1, 1), "circular")) == [2, 0, 1, 2, 0, 5, 3, 4, 5, 3]
    assert rows(F.pad(x, (0, 1, 1, 0), "reflect")) == [3, 4, 5, 4, 0, 1, 2, 1, 3, 4, 5, 4]


def test_max_pool_takes_the_first_maximum_and_the_last_nan() -> None:
    values, places = F.max_pool1d(minigrad.tensor([[1.0, 3.0, 3.0, 2.0, NAN, 1.0, NAN, 5.0]]), 4, return_indices=True)
    assert rows(places) == [1, 6]
    assert rows(values)[0] == 3
    below = minigrad.full((1, 1, 3, 3), -float("inf"))
    assert rows(F.max_pool2d(below, 2, 2, 1, return_indices=True)[1]) == [0, 1, 3, 4]


def test_gradient_of_equal_maxima_goes_to_the_first() -> None:
    x = minigrad.ones(1, 1, 4, requires_grad=True)
    F.max_pool1d(x, 3, 1).sum().backward()
    assert rows(x.grad) == [1, 1, 0, 0]


def test_average_pool_counts() -> None:
    x = minigrad.ones(1, 1, 3, 3)
    assert rows(F.avg_pool2d(x, 2, 2, 1)) == [0.25, 0.5, 0.5, 1.0]
    assert rows(F.avg_pool2d(x, 2, 2, 1, count_include_pad=False)) == [1, 1, 1, 1]
    assert rows(F.avg_pool2d(x, 2, ceil_mode=True)) == [1, 1, 1, 1]
    assert rows(F.avg_pool2d(x, 3, divisor_override=2)) == [4.5]
    out = minigrad.empty(0)
    assert F.avg_pool2d(x, 3, divisor_override=2, out=out) is out and rows(out) == [4.5]


def test_adaptive_pools() -> None:
    x = counted(1, 1, 5)
    assert rows(F.adaptive_avg_pool1d(x, 3)) == [0.5, 2.0, 3.5]
    values, places = F.adaptive_max_pool1d(x, 3, return_indices=True)
    assert rows(values) == rows(places) == [1, 3, 4]
    for pool in (F.adaptive_avg_pool2d, F.adaptive_max_pool2d):
        with pytest.raises(ValueError, match="Input dimension should be at least 3"):
            pool(x[0], (2, 2))
        with pytest.raises(RuntimeError, match="Expected 3D or 4D tensor"):
            pool(x[0], 2)
        with pytest.raises(RuntimeError, match="must be 2"):
            pool(x, ())


def test_fractional_pool_draws_as_pytorch_does() -> None:
    minigrad.manual_seed(0)
    pooled = F.fractional_max_pool2d(counted(1, 1, 7, 7), 2, 3)
    assert rows(pooled) == FRACTIONAL


FRACTIONAL = [8.0, 10.0, 13.0, 29.0, 31.0, 34.0, 43.0, 45.0, 48.0]  # PyTorch's


def test_unpool() -> None:
    x = counted(1, 1, 4, 4)
    pooled, places = F.max_pool2d(x, 2, return_indices=True)
    assert rows(F.max_unpool2d(pooled, places, 2)) == [0, 0, 0, 0, 0, 5, 0, 7, 0, 0, 0, 0, 0, 13, 0, 15]


def test_interpolate() -> None:
    x = counted(1, 1, 2, 2)
    assert rows(F.interpolate(x, scale_factor=2)[0, 0, 1]) == [0, 0, 1, 1]
    assert rows(F.interpolate(x, (1, 3), mode="bilinear")) == [1, 1.5, 2]
    assert rows(F.interpolate(x, (3, 2), mode="bilinear", align_corners=True)) == [0, 1, 1, 2, 2, 3]
    wide = counted(1, 1, 1, 8)
    assert rows(F.interpolate(wide, (1, 2), mode="bilinear", antialias=True)) == pytest.approx(ANTIALIASED)
    assert rows(F.interpolate(wide, (1, 3), mode="bicubic")) == pytest.approx(BICUBIC)


ANTIALIASED = [1.892857, 5.107143]  # PyTorch's
BICUBIC = [0.769676, 3.5, 6.230323]


def test_grid_sample_of_the_identity() -> None:
    x = counted(1, 2, 3, 4)
    grid = F.affine_grid(minigrad.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (1, 2, 3, 4), align_corners=False)
    assert rows(F.grid_sample(x, grid, align_corners=False)) == pytest.approx(rows(x), abs=1e-5)
    assert rows(F.grid_sample(x, -grid, "nearest", align_corners=False)) == rows(x.flip(2, 3))


def test_shuffles_are_undone() -> None:
    x = counted(2, 8, 2, 3)
    assert rows(F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2)) == rows(x)
    assert rows(F.channel_shuffle(F.channel_shuffle(x, 2), 4)) == rows(x)


GRADIENTS: dict[str, Callable[[Tensor], Tensor]] = {
    "pad": lambda x: F.pad(x, (1, 2, -1, 1), "reflect"),
    "max_pool": lambda x: F.max_pool2d(x, 3, 2, 1),
    "avg_pool": lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
    "bicubic": lambda x: F.interpolate(x, (7, 3), mode="bicubic"),
    "antialias": lambda x: F.interpolate(x, (3, 2), mode="bilinear", antialias=True),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str) -> None:
    function, step = GRADIENTS[name], 1e-4
    array = np.random.default_rng(1).standard_normal((1, 1, 5, 6))
    x = minigrad.tensor(array).requires_grad_()
    factor = minigrad.tensor(np.random.default_rng(2).standard_normal(tuple(function(x).shape)))
    (function(x) * factor).sum().backward()
    moved = array + step * np.eye(30).reshape(30, 5, 6)[:, None]
    back = array - step * np.eye(30).reshape(30, 5, 6)[:, None]
    more, less = [(function(minigrad.tensor(a)) * factor).sum((1, 2, 3)).numpy() for a in (moved, back)]
    np.testing.assert_allclose(x.grad.numpy().reshape(30), (more - less) / (2 * step), atol=1e-6)


def kernels(call: Callable[[], Any]) -> int:
    with minigrad.config(TIERS=0), minigrad.inspect() as seen:
        call()
    return len(seen.kernels)


def test_kernel_counts() -> None:
    """Pooling is one kernel, with a relu before it and with its backward after it, whose loss is another."""
    x = counted(2, 2, 8, 8)
    assert kernels(lambda: F.max_pool2d(x.relu(), 3, 2, 1).realize()) == 1
    assert kernels(lambda: F.avg_pool2d(x, 2).realize()) == 1
    assert kernels(lambda: F.adaptive_avg_pool2d(x, 3).realize()) == 1
    assert kernels(lambda: F.pad(x, (1, 1, 1, 1), "reflect").realize()) == 1
    leaf = counted(4, 8, 16, 16).requires_grad_()
    assert kernels(lambda: (F.max_pool2d((leaf * 2).relu(), 3, 2, 1) ** 2).sum().backward()) <= 2


def test_a_step_with_pooling_is_replayed() -> None:
    weight = minigrad.ones(3, requires_grad=True)
    layer = nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(2), nn.Upsample(scale_factor=2), nn.AdaptiveAvgPool2d(1))
    x = counted(1, 3, 5, 5)
    for _ in range(4):
        with minigrad.inspect() as seen:
            weight.grad = None
            layer(x * weight.reshape(1, 3, 1, 1)).sum().backward()
    assert seen.replayed


ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: F.pad(minigrad.zeros(2, 3), (1,)), RuntimeError, "Padding length must be divisible by 2"),
    (lambda: F.pad(minigrad.zeros(2, 3), (3, 0), "reflect"), RuntimeError, "Padding size should be less than"),
    (lambda: F.pad(minigrad.zeros(2, 3), (4, 0), "circular"), RuntimeError, "wrapping around more than once"),
    (lambda: F.max_pool2d(minigrad.zeros(3, 4, 4), 2, 2, 2), RuntimeError, "at most half of effective kernel size"),
    (lambda: F.max_pool2d(minigrad.zeros(3, 1, 1), 2), RuntimeError, "Output size is too small"),
    (lambda: F.avg_pool2d(minigrad.zeros(3, 4, 4).bool(), 2), NotImplementedError, "not implemented for 'Bool'"),
    (lambda: F.max_unpool2d(minigrad.ones(1, 1, 1), minigrad.tensor([[[9]]]), 2), RuntimeError, "invalid max index: 9"),
    (lambda: F.interpolate(minigrad.zeros(2, 3, 4)), ValueError, "either size or scale_factor should be defined"),
    (lambda: F.interpolate(minigrad.zeros(2, 3, 4), 2, mode="bilinear"), NotImplementedError, "needs 4D input"),
    (lambda: F.grid_sample(minigrad.zeros(1, 1, 2, 2), minigrad.zeros(2, 1, 1, 2)), RuntimeError, "same batch size"),
    (lambda: F.pixel_shuffle(minigrad.zeros(3, 2, 2), 2), RuntimeError, "divisible by the square of upscale_factor"),
    (lambda: nn.FractionalMaxPool2d(2), ValueError, "requires specifying either an output size, or a pooling ratio"),
]


@pytest.mark.filterwarnings("ignore:Default grid_sample")
@pytest.mark.parametrize(("call", "error", "words"), ERRORS)
def test_refused(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
