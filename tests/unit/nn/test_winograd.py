"""Setting WINOGRAD: convolutions by F(2×2, 3×3) against float64, their gradients against finite differences, and that
nothing that was made by another value of the setting is used again."""

from functools import partial

import numpy as np
import pytest

import minigrad
from minigrad import nn
from minigrad.nn import functional as F

DEVICES = [d.name for d in minigrad.devices() if not d.reason and d.name in ("CPU", "CC", "OPENCL")]


def operands(rng, n=4, channels=32, size=(24, 24), filters=32):
    return (minigrad.tensor(rng.standard_normal((n, channels, *size)).astype("f")).realize(),
            minigrad.tensor(rng.standard_normal((filters, channels, 3, 3)).astype("f")).realize())


def strategies(program):
    """What makes the kernels of a program whose graph is new, and its result."""
    with minigrad.config(TIERS=0, REPLAY=0), minigrad.inspect() as seen:
        result = program()
    return [stage.split(" ")[0] for kernel in seen.kernels for stage in kernel.stages], result


def close(got, want, bound=2e-6):
    """Within ``bound`` of the largest result."""
    got, want = got.detach().numpy(), want.detach().numpy()
    assert np.abs(got - want).max() <= bound * np.abs(want).max()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("n", "size", "padding"), [(4, (24, 24), 1), (4, (35, 37), 0), (2, (47, 30), (2, 1))])
def test_values_and_gradients(device, n, size, padding, rng):
    x, w = (t.to(device) for t in operands(rng, n, 40, size, 36))
    bias = minigrad.tensor(rng.standard_normal(36).astype("f"), device=device)
    exact = [t.double().requires_grad_() for t in (x, w, bias)]
    y = F.conv2d(*exact, padding=padding)
    g = minigrad.tensor(rng.standard_normal(y.shape), device=device)
    y.backward(g)
    given = [t.requires_grad_() for t in (x, w, bias)]

    def program():
        made = F.conv2d(*given, padding=padding)
        made.backward(g.float())
        return made

    with minigrad.config(WINOGRAD=1):
        kernels, made = strategies(program)
    assert kernels.count("winograd") == 2 and "contraction" in kernels, "forward, and the input's gradient"
    close(made, y)
    for got, want in zip(given, exact, strict=True):
        close(got.grad, want.grad, 4e-6)


def test_finite_differences(rng):
    """A convolution is linear in its input: the difference quotient is exact but for rounding."""
    x, w = operands(rng)
    g, step = (minigrad.tensor(rng.standard_normal(x.shape).astype("f")) for _ in range(2))
    with minigrad.config(WINOGRAD=1):
        x.requires_grad_()
        (F.conv2d(x, w, padding=1) * g).sum().backward()
        along = float((x.grad.double() * step.double()).sum())
        with minigrad.no_grad():
            ahead, behind = (float((F.conv2d(x + s * step, w, padding=1).double() * g.double()).sum())
                             for s in (0.5, -0.5))
    assert abs(ahead - behind - along) <= 1e-5 * float((x.grad.abs() * step.abs()).sum())


def test_what_follows_is_computed_beside_it(rng):
    x, w = operands(rng)
    scale = minigrad.tensor(rng.standard_normal((1, 32, 1, 1)).astype("f"))
    program = partial(lambda: (F.conv2d(x.relu(), w, padding=1) * scale + x).relu().realize())
    with minigrad.config(WINOGRAD=1):
        kernels, got = strategies(program)
    assert kernels[-1] == "winograd" and len(kernels) <= 2
    close(got, (F.conv2d(x.double().relu(), w.double(), padding=1) * scale.double() + x.double()).relu())


def test_groups_three_axes_and_no_batch(rng):
    x, w = operands(rng, 4, 64, (32, 32), 64)
    with minigrad.config(WINOGRAD=1):
        kernels, y = strategies(lambda: F.conv2d(x, w[:, :32], padding=1, groups=2).realize())
        alone, z = strategies(lambda: F.conv2d(x[0, :32], w[:, :32], padding=1).realize())
        deep, v = strategies(lambda: F.conv3d(x.reshape(2, 32, 4, 32, 32), w.reshape(16, 32, 8, 3, 3)[:, :, :3],
                                              padding=1).realize())
    assert kernels == alone == deep == ["winograd"]
    x, w = x.double(), w.double()
    close(y, F.conv2d(x, w[:, :32], padding=1, groups=2))
    close(z, F.conv2d(x[0, :32], w[:, :32], padding=1))
    close(v, F.conv3d(x.reshape(2, 32, 4, 32, 32), w.reshape(16, 32, 8, 3, 3)[:, :, :3], padding=1))


@pytest.mark.parametrize("options", [{"stride": 2}, {"dilation": 2}, {"groups": 32}, {"dtype": minigrad.float64}])
def test_others_are_as_they_were(options, rng):
    """To the bit."""
    dtype = options.pop("dtype", minigrad.float32)
    x, w = operands(rng)
    x, w = x.to(dtype).realize(), w[:, :32 // options.get("groups", 1)].to(dtype).contiguous().realize()
    program = partial(lambda: F.conv2d(x, w, padding=1, **options).realize())
    _, before = strategies(program)
    with minigrad.config(WINOGRAD=1):
        kernels, after = strategies(program)
    assert "winograd" not in kernels and bool((before == after).all())


def test_the_setting_decides_when_values_are_computed(rng):
    """Replay, the cache of plans, and jit: each way gives its own bits, whatever ran before."""
    x, w = operands(rng)
    jitted = minigrad.jit(lambda x: F.conv2d(x, w, padding=1))
    ways = (lambda: F.conv2d(x, w, padding=1), lambda: jitted(x))
    with minigrad.config(TIERS=0):
        plain = ways[0]().numpy()
        with minigrad.config(WINOGRAD=1):
            other = ways[0]().numpy()
        assert (plain != other).any()
        for way in ways:
            for _ in range(3):
                for _ in range(20):  # more than it takes until a replay is compiled code
                    assert (way().numpy() == plain).all()
                with minigrad.config(WINOGRAD=1):
                    for _ in range(20):
                        assert (way().numpy() == other).all()
        recorded = ways[0]()
        with minigrad.config(WINOGRAD=1):
            assert (recorded.numpy() == other).all()
        assert (ways[0]().numpy() == plain).all()


def test_training_is_replayed_under_the_setting(rng):
    x, w = operands(rng)
    w.requires_grad_()
    with minigrad.config(TIERS=0, WINOGRAD=1):
        for step in range(4):
            w.grad = None
            with minigrad.inspect() as seen:
                F.conv2d(x, w, padding=1).square().mean().backward()
            assert not seen.recorded and (step < 2 or seen.replayed)


def test_an_image_that_is_not_finite(rng):
    """It reaches the results that it reaches in the sum."""
    x, w = operands(rng)
    at = x.numpy().copy()
    at[1, 5, 9, 14] = np.inf
    with minigrad.config(TIERS=0, WINOGRAD=1):
        clean, got = (F.conv2d(minigrad.tensor(v), w, padding=1).numpy() for v in (x.numpy(), at))
    reached = np.zeros(got.shape, bool)
    reached[1, :, 8:11, 13:16] = True
    assert not np.isfinite(got[reached]).any() and (got[~reached] == clean[~reached]).all()


def test_a_network(rng):
    """A residual block, trained for a step: parameters as by the plain sums."""
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = (nn.Conv2d(32, 32, 3, padding=1, bias=False) for _ in range(2))
            self.norm = nn.BatchNorm2d(32)

        def forward(self, x):
            return (self.two(self.norm(self.one(x)).relu()) + x).relu()

    def step(way):
        minigrad.manual_seed(0)
        block = Block()
        with minigrad.config(TIERS=0, WINOGRAD=way):
            block(minigrad.randn(4, 32, 20, 20)).square().mean().backward()
        return [p.grad for p in block.parameters()]

    for got, want in zip(step(1), step(0), strict=True):
        close(got, want, 2e-5)
