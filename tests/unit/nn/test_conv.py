"""Convolutions against their definition, written with NumPy; numbers that PyTorch gave for one seed."""

import numpy as np
import pytest

import minigrad
from minigrad import nn
from minigrad.nn import functional as F

BIAS = [0.094421, 0.387856]
WEIGHT = [-0.495736, -0.394430, -0.214157, -0.473045, -0.028385, -0.439883, 0.271865, 0.243699]


def convolved(x, w, stride, padding, dilation, groups):
    """The definition of a 2D convolution, in loops over the places of a window."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    reach = [dilation * (k - 1) + 1 for k in w.shape[2:]]
    out = [(n - r) // stride + 1 for n, r in zip(x.shape[2:], reach, strict=True)]
    y = np.zeros((len(x), len(w), *out))
    per, made = w.shape[1], len(w) // groups
    for i in range(w.shape[2]):
        for j in range(w.shape[3]):
            seen = x[:, :, i * dilation::stride, j * dilation::stride][:, :, :out[0], :out[1]]
            for g in range(groups):
                y[:, g * made:(g + 1) * made] += np.einsum(
                    "ncyx,oc->noyx", seen[:, g * per:(g + 1) * per], w[g * made:(g + 1) * made, :, i, j])
    return y


@pytest.mark.parametrize("stride, padding, dilation, groups", [(1, 1, 1, 1), (2, 1, 1, 2), (1, 2, 2, 1), (3, 0, 1, 1)])
def test_values_and_gradients(stride, padding, dilation, groups):
    """A convolution is linear in both operands: <g, conv(x, w)> gives both gradients."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 4, 7, 8)), rng.standard_normal((6, 4 // groups, 3, 2))
    expected = convolved(x, w, stride, padding, dilation, groups)
    a, b = minigrad.tensor(x, requires_grad=True), minigrad.tensor(w, requires_grad=True)
    y = F.conv2d(a, b, None, stride, padding, dilation, groups)
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-12, atol=1e-12)
    g = rng.standard_normal(expected.shape)
    (y * minigrad.tensor(g)).sum().backward()
    for tensor, moved in ((a, (1, 0)), (b, (0, 1))):
        step = rng.standard_normal(tuple(tensor.shape))
        change = convolved(x + step * moved[0] if moved[0] else x, w + step * moved[1] if moved[1] else w,
                           stride, padding, dilation, groups) - expected
        assert np.isclose((tensor.grad.numpy() * step).sum(), (change * g).sum())


def test_transposed_is_the_adjoint():
    rng = np.random.default_rng(1)
    for stride, padding, dilation in ((1, 1, 1), (2, 0, 1), (3, 2, 1), (2, 1, 2)):
        x, w = minigrad.tensor(rng.standard_normal((2, 4, 9, 8))), minigrad.tensor(rng.standard_normal((6, 2, 3, 3)))
        y = F.conv2d(x, w, None, stride, padding, dilation, 2)
        g = minigrad.tensor(rng.standard_normal(tuple(y.shape)))
        rest = [n - ((m - 1) * stride - 2 * padding + dilation * 2 + 1) for n, m in zip((9, 8), y.shape[2:],
                                                                                         strict=True)]
        back = F.conv_transpose2d(g, w, None, stride, padding, rest, 2, dilation)
        assert np.isclose(float((y * g).sum()), float((x * back).sum()))


def test_infinite_weights_stay_where_they_reach():
    """The adjoint of a window is guarded: nothing is multiplied by a zero that is not there."""
    w = minigrad.ones(1, 1, 3, 3)
    w[0, 0, 0, 0] = float("inf")
    y = F.conv_transpose2d(minigrad.ones(1, 1, 3, 3), w, stride=2)[0, 0]
    assert y[1].tolist() == [1, 1, 2, 1, 2, 1, 1]
    assert y[0].tolist() == [np.inf, 1, np.inf, 1, np.inf, 1, 1]


def test_infinite_weights_stay_where_they_reach_in_register_tiles() -> None:
    """The same where the sums are those of tiles: a product with a zero that is not there is taken out again."""
    for stride in (1, 2):
        x, w = minigrad.ones(1, 16, 12, 12), minigrad.ones(16, 24, 3, 3)
        plain = F.conv_transpose2d(x, w, stride=stride)
        w[0, 0, 2, 2] = float("inf")
        minigrad.realize(x, w)  # a product with a constant 1 would be none
        with minigrad.config(TIERS=0):
            y = F.conv_transpose2d(x, w, stride=stride).realize()
        reached = F.conv_transpose2d(x, minigrad.isinf(w).to(x.dtype), stride=stride) > 0
        assert minigrad.equal(y, minigrad.where(reached, float("inf"), plain))


def test_fold_adds_what_unfold_copies():
    x = minigrad.arange(32.0).reshape(1, 2, 4, 4)
    columns = F.unfold(x, 3, padding=1)
    assert tuple(columns.shape) == (1, 18, 16)
    count = F.fold(F.unfold(minigrad.ones(1, 2, 4, 4), 3, padding=1), (4, 4), 3, padding=1)
    assert minigrad.equal(F.fold(columns, (4, 4), 3, padding=1), x * count)
    whole = F.fold(F.unfold(minigrad.complex(x, 1 - x), 3, padding=1), (4, 4), 3, padding=1)
    assert minigrad.equal(whole, minigrad.complex(x * count, (1 - x) * count))


def test_a_layer_starts_as_pytorchs():
    minigrad.manual_seed(3)
    layer = nn.Conv2d(1, 2, 2)
    assert layer.bias.tolist() == pytest.approx(BIAS, abs=1e-5)
    assert layer.weight.flatten().tolist() == pytest.approx(WEIGHT, abs=1e-5)
    assert repr(layer) == "Conv2d(1, 2, kernel_size=(2, 2), stride=(1, 1))"


def test_messages():
    with pytest.raises(RuntimeError, match=r"for 3-dimensional weight\[1, 2, 2\], but got 4-dimensional input"):
        F.conv2d(minigrad.ones(1, 1, 4, 3), minigrad.ones(1, 2, 2), padding="same")
    with pytest.raises(RuntimeError, match="stride cannot broadcast to 2 dimensions"):
        F.conv2d(minigrad.ones(1, 1, 4, 3), minigrad.ones(1, 1, 2, 2), padding="same", stride=(1, 1, 1))
    with pytest.raises(RuntimeError, match=r"expected input\[1, 3, 5, 5\] to have 2 channels, but got 3 channels"):
        F.conv2d(minigrad.ones(1, 3, 5, 5), minigrad.ones(4, 2, 3, 3))
    with pytest.raises(RuntimeError, match=r"Kernel size: \(3 x 3\). Kernel size can't be greater than actual"):
        F.conv2d(minigrad.ones(1, 3, 2, 2), minigrad.ones(4, 3, 3, 3))
    with pytest.raises(ValueError, match="requested an output size of"):
        nn.ConvTranspose2d(1, 1, 3)(minigrad.ones(1, 1, 3, 3), output_size=(9, 9))


def test_without_channels_there_are_no_filters() -> None:
    """As in PyTorch; so it is whatever the weight says."""
    x, weight = minigrad.zeros(2, 0, 5, requires_grad=True), minigrad.zeros(3, 0, 2)
    y = minigrad.nn.functional.conv1d(x, weight, minigrad.ones(3))
    assert y.shape == (2, 0, 4)
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert minigrad.nn.functional.conv1d(x, weight[..., :0]).shape == (2, 0, 6)
