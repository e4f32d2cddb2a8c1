"""Convolutions, plain and transposed, unfold and fold beside PyTorch's: values, gradients, second order, layers,
messages."""

import random
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402
from minigrad import nn  # noqa: E402, F401 in the texts
from minigrad.nn import functional as F  # noqa: E402

T = torch.nn.functional


def floats(rng, *shape):
    return rng.standard_normal(shape)


def both(array, dtype="float64", grad=True):
    theirs = torch.tensor(array).to(getattr(torch, dtype))
    ours = minigrad.tensor(array).to(getattr(minigrad, dtype))
    return ours.detach().requires_grad_(grad), theirs.requires_grad_(grad)


def same(ours, theirs, rtol, atol):
    assert str(ours.dtype).rpartition(".")[2] == str(theirs.dtype).rpartition(".")[2]
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(ours.detach().to(minigrad.float64).numpy(), theirs.detach().double().numpy(), rtol, atol)


def draw(generator, dims, transposed):
    """A random convolution: shapes of input, weight and bias, and options."""
    pick = generator.choice
    groups = pick([1, 1, 2, 3])
    channels, filters = groups * pick([1, 2, 3]), groups * pick([1, 2, 4])
    kernel = [pick([1, 2, 3]) if dims > 1 else pick([1, 2, 3, 5]) for _ in range(dims)]
    stride, dilation = [pick([1, 1, 2, 3]) for _ in range(dims)], [pick([1, 1, 2]) for _ in range(dims)]
    padding = [pick([0, 1, 2]) for _ in range(dims)]
    size = [d * (k - 1) + 1 + pick([0, 1, 3, 4]) for k, d in zip(kernel, dilation, strict=True)]
    options = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
    weight = (filters, channels // groups, *kernel)
    if transposed:
        weight = (channels, filters // groups, *kernel)
        options["padding"] = [min(p, (d * (k - 1)) // 2) for p, k, d in zip(padding, kernel, dilation, strict=True)]
        options["output_padding"] = [pick(range(max(s, d))) for s, d in zip(stride, dilation, strict=True)]
    batch = pick([(), (1,), (3,)])
    return (*batch, channels, *size), weight, pick([None, (filters,)]), options


@pytest.mark.sample(2)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_random_convolutions(dims, transposed):
    generator, rng = random.Random(dims + 10 * transposed), np.random.default_rng(dims)
    name = f"conv_transpose{dims}d" if transposed else f"conv{dims}d"
    for case in range((14, 12, 6)[dims - 1]):
        x, w, b, options = draw(generator, dims, transposed)
        pairs = [both(floats(rng, *shape)) for shape in (x, w, b) if shape is not None]
        ours, theirs = [p[0] for p in pairs], [p[1] for p in pairs]
        y, z = getattr(F, name)(*ours, **options), getattr(T, name)(*theirs, **options)
        same(y, z, 1e-9, 1e-9)
        q = floats(rng, *z.shape)
        order_two = case % 3 == 0
        g = minigrad.autograd.grad((y * minigrad.tensor(q)).sum(), ours, create_graph=order_two)
        h = torch.autograd.grad((z * torch.tensor(q)).sum(), theirs, create_graph=order_two)
        for a, e in zip(g, h, strict=True):
            same(a, e, 1e-9, 1e-9)
        if order_two:
            g = minigrad.autograd.grad(sum((a * a * a).sum() for a in g), ours[:2])
            h = torch.autograd.grad(sum((e * e * e).sum() for e in h), theirs[:2])
            for a, e in zip(g, h, strict=True):
                same(a, e, 1e-8, 1e-8)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-5), ("float16", 4e-3), ("bfloat16", 3e-2)])
def test_types(dtype, tolerance, transposed):
    rng = np.random.default_rng(1)
    function, peer = (F.conv_transpose2d, T.conv_transpose2d) if transposed else (F.conv2d, T.conv2d)
    (x, p), (w, q), (b, r) = [both(floats(rng, *s), dtype) for s in ((2, 4, 9, 17), (4, 4, 3, 3), (4,))]
    y, z = function(x, w, b, stride=2, padding=1), peer(p, q, r, stride=2, padding=1)
    same(y, z, tolerance, tolerance * 4)
    y.sum().backward()
    z.sum().backward()
    for a, e in ((x, p), (w, q), (b, r)):
        same(a.grad, e.grad, tolerance, tolerance * 40)


@pytest.mark.parametrize("x, w, options", [
    ((8, 16, 20, 20), (32, 16, 3, 3), dict(padding=1)), ((2, 16, 28, 28), (32, 16, 3, 3), dict(padding=1, stride=2)),
    ((2, 3, 40, 40), (16, 3, 7, 7), dict(padding=3, stride=2)), ((2, 32, 14, 14), (64, 32, 1, 1), dict(stride=2)),
    ((2, 32, 14, 14), (64, 32, 1, 1), {}), ((2, 32, 14, 14), (32, 1, 3, 3), dict(padding=1, groups=32)),
    ((2, 32, 15, 15), (32, 8, 3, 3), dict(padding=2, dilation=2, groups=4)), ((2, 8, 300), (16, 8, 5), dict(padding=2)),
])
def test_sizes_of_real_layers(x, w, options):
    """Large enough for register tiles, packed operands and blocks of K."""
    rng = np.random.default_rng(2)
    name = f"conv{len(w) - 2}d"
    pairs = [both(floats(rng, *s), "float32") for s in (x, w, w[:1])]
    y, z = getattr(F, name)(*[p[0] for p in pairs], **options), getattr(T, name)(*[p[1] for p in pairs], **options)
    same(y, z, 1e-4, 1e-4)
    q = floats(rng, *z.shape).astype("float32")
    (y * minigrad.tensor(q)).sum().backward()
    (z * torch.tensor(q)).sum().backward()
    for a, e in pairs:
        same(a.grad, e.grad, 1e-3, 2e-3)


def test_what_is_not_finite():
    """A gradient meets only windows that are there: an infinite weight makes no NaN beside the image's edge."""
    for stride, channels, size in ((1, 2, 5), (2, 2, 5), (1, 16, 19), (2, 16, 20), (1, 48, 8)):
        w = np.ones((channels, channels, 3, 3))
        w[0, 0, 0, 0], w[1, 0, 2, 1], w[-1, -1, 0, 2] = np.inf, np.nan, -np.inf
        (x, p), (v, q) = both(np.ones((1, channels, size, size))), both(w)
        for function, peer in ((F.conv2d, T.conv2d), (F.conv_transpose2d, T.conv_transpose2d)):
            y, z = function(x, v, stride=stride, padding=1), peer(p, q, stride=stride, padding=1)
            g, = minigrad.autograd.grad(y.sum(), [x])
            h, = torch.autograd.grad(z.sum(), [p])
            if peer is T.conv_transpose2d:
                same(y, z, 1e-9, 1e-9)
            else:
                same(g, h, 1e-9, 1e-9)


def test_unfold_and_fold():
    rng, generator = np.random.default_rng(3), random.Random(3)
    for _ in range(12):
        kernel, dilation = [generator.choice([1, 2, 3]) for _ in "hw"], [generator.choice([1, 2]) for _ in "hw"]
        options = dict(kernel_size=kernel, dilation=dilation, padding=[generator.choice([0, 1, 2]) for _ in "hw"],
                       stride=[generator.choice([1, 2, 3]) for _ in "hw"])
        size = [d * (k - 1) + 1 + generator.choice([0, 2, 3]) for k, d in zip(kernel, dilation, strict=True)]
        x, p = both(floats(rng, *generator.choice([(), (2,)]), 3, *size))
        y, z = F.unfold(x, **options), T.unfold(p, **options)
        same(y, z, 0, 0)
        u, v = F.fold(y * y, size, **options), T.fold(z * z, size, **options)
        same(u, v, 1e-12, 1e-12)
        g, = minigrad.autograd.grad((u * u).sum(), [x])
        h, = torch.autograd.grad((v * v).sum(), [p])
        same(g, h, 1e-10, 1e-10)


LAYERS = [
    "Conv1d(4, 6, 3)", "Conv2d(4, 6, 3, padding='same')", "Conv3d(4, 6, (1, 2, 3), bias=False, padding=1)",
    "Conv2d(4, 6, (3, 5), stride=2, padding=(1, 2), dilation=2, groups=2)", "ConvTranspose1d(4, 6, 3, stride=2)",
    "ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, dilation=2, groups=2, bias=False)",
    "ConvTranspose3d(4, 6, 2)", "Fold((4, 5), 2, padding=(0, 1))", "Unfold(2, stride=2)",
    "Conv2d(4, 6, 3, padding=1, padding_mode='circular')", "Conv1d(4, 6, 3, padding=2, padding_mode='reflect')",
    "Conv2d(4, 6, 3, padding='same', padding_mode='replicate')",
]
SHAPES = {"1d": (2, 4, 9), "2d": (2, 4, 9, 10), "3d": (1, 4, 3, 5, 4), "Un": (2, 4, 5, 6), "Fo": (2, 12, 18)}


@pytest.mark.parametrize("text", LAYERS)
def test_layers(text):
    """One seed, the same weights; the same printed form, state and results."""
    minigrad.manual_seed(3)
    torch.manual_seed(3)
    ours, theirs = eval(f"nn.{text}"), eval(f"torch.nn.{text}")
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[name].numpy(), value.numpy())
    name = text[:2] if "old(" in text else text.partition("(")[0][-2:]
    x, p = both(floats(np.random.default_rng(5), *SHAPES[name]), "float32")
    same(ours(x), theirs(p), 1e-4, 1e-5)


def test_output_size():
    for size in ((9, 9), (10, 10), (2, 6, 9, 10), (8, 8), (11, 11), (9,)):
        results = []
        for library in (minigrad, torch):
            layer = library.nn.ConvTranspose2d(4, 6, 3, stride=2)
            try:
                results.append(tuple(layer(library.ones(2, 4, 4, 4), output_size=size).shape))
            except ValueError as error:
                results.append(str(error).replace("minigrad.Size", "torch.Size"))
        assert results[0] == results[1]


MESSAGES = """
F.conv2d(r(1,3,5,5), r(4,2,3,3))
F.conv2d(r(5,5), r(4,3,3,3))
F.conv2d(r(1,1,3,5,5), r(4,3,3,3))
F.conv1d(r(5), r(4,3,3))
F.conv2d(r(1,3,5,5), r(4,3,3))
F.conv2d(r(1,3,2,2), r(4,3,3,3), padding=0, dilation=2)
F.conv2d(r(1,3,5,5), r(4,3,3,3), r(3))
F.conv2d(r(1,3,5,5), r(4,3,3,3), r(4,1))
F.conv2d(r(1,3,5,5), r(4,3,3,3), stride=0)
F.conv2d(r(1,3,5,5), r(4,3,3,3), padding=-1)
F.conv2d(r(1,3,5,5), r(4,3,3,3), dilation=0)
F.conv2d(r(1,3,5,5), r(4,3,3,3), dilation=-1)
F.conv2d(r(1,3,5,5), r(4,3,3,3), groups=0)
F.conv2d(r(1,4,5,5), r(3,2,3,3), groups=2)
F.conv2d(r(1,4,5,5), r(4,3,3,3), groups=2)
F.conv2d(r(1,4,5,5), r(1,2,3,3), groups=2)
F.conv2d(r(1,3,5,5), r(4,3,3,3), stride=(1,2,3))
F.conv2d(r(1,3,5,5), r(4,3,3,3), padding=(1,2,3))
F.conv2d(r(1,3,5,5), r(4,3,3,3), padding='same', stride=2)
F.conv2d(r(1,3,5,5), r(4,3,3,3), padding='full')
F.conv2d(r(1,3,5,5), r(4,3,3,3).double())
F.conv2d(r(1,3,5,5).long(), r(4,3,3,3))
F.conv2d(r(1,3,5,5) > 0, r(4,3,3,3) > 0)
F.conv2d(r(1,3,5,5), r(4,3,3,3), r(4).double())
F.conv2d(r(1,3,5,5), None)
F.conv2d([1], r(4,3,3,3))
F.conv2d(r(1,3,5,5), r(4,3,3,3), stride=1.5)
F.conv2d(r(1,3,0,5), r(4,3,3,3), padding=2)
F.conv2d(r(1,3,5,5), r(4,3,0,3))
F.conv2d(r(1,3,5,5), r(4,3))
F.conv2d(r(1,3,5,5), r(4,3,3), padding='same')
F.conv2d(r(1,3,5,5), r(4,3,3))
F.conv2d(r(1,3,5,5), r(4,3,3,3), padding='same', stride=(1,1,1))
F.conv2d(r(1,3,5,5), r(4,3,3,3), padding='same', dilation=(1,1,1))
F.conv_transpose2d(r(1,3,5,5), r(4,2,3,3))
F.conv_transpose2d(r(1,3,5,5), r(3,2,3,3), r(3))
F.conv_transpose2d(r(1,3,5,5), r(3,2,3,3), output_padding=1)
F.conv_transpose1d(r(1,3,5), r(3,2,3), output_padding=1)
F.conv_transpose3d(r(1,3,5,5,5), r(3,4,3,3,3), output_padding=1)
F.conv_transpose2d(r(1,3,5,5), r(3,2,3,3), stride=2, output_padding=-1)
F.conv_transpose2d(r(1,3,2,2), r(3,2,1,1), padding=2)
F.conv_transpose2d(r(1,4,5,5), r(4,2,3,3), groups=3)
F.conv_transpose1d(r(1,3,5,5), r(3,2,3))
F.conv_transpose2d(r(1,3,5,5), r(3,2,3,3), padding='same')
F.conv_transpose2d(r(1,3,5,5), r(3,2,3,3), stride=0)
F.conv_transpose2d(r(1,3,5,5), r(3,4,3,3), dilation=0)
F.conv_transpose2d(r(1,3,5,5), None)
F.conv_transpose2d(r(1,3,5,5), r(3,4,3,3), bias=1)
F.conv_transpose2d(r(1,3,5,5).double(), r(3,4,3,3))
nn.Conv2d(3,4,3,groups=2)
nn.Conv2d(4,3,3,groups=2)
nn.Conv2d(4,4,3,groups=0)
nn.Conv2d(4,4,3,padding='same',stride=2)
nn.ConvTranspose2d(4,4,3,padding_mode='reflect')
nn.ConvTranspose2d(4,4,3,stride=2)(r(2,4,5,5), output_size=(12,))
nn.Conv2d(4,4,3)(r(4,5))
nn.Conv2d(4,4,3)(r(2,4,5,5).double())
F.unfold(r(3,5),3)
F.unfold(r(1,3,2,2),3)
F.unfold(r(1,3,5,5),(3,3,3))
F.unfold(r(1,3,5,5),3,stride=0)
F.unfold(r(1,3,5,5),0)
F.unfold(r(1,3,5,5),3,dilation=0)
F.unfold(r(1,3,5,5),3,padding=-1)
F.unfold(r(1,3,5,5).long(),3)
F.unfold(r(1,0,5,5),3)
F.unfold([1],3)
F.unfold(r(5,5,5),'a')
F.fold(r(1,27,8),(5,5),3)
F.fold(r(1,26,9),(5,5),3)
F.fold(r(27),(5,5),3)
F.fold(r(1,27,9),(2,2),3)
F.fold(r(1,27,9),(5,5,5),3)
F.fold(r(1,27,9).long(),(5,5),3)
""".strip().splitlines()


@pytest.mark.parametrize("text", MESSAGES)
def test_messages(text):
    results = []
    for library in (minigrad, torch):
        with pytest.raises(Exception) as caught, warnings.catch_warnings():
            eval(text, {"F": library.nn.functional, "nn": library.nn, "r": library.randn})
        results.append((caught.type.__name__, str(caught.value)))
    assert results[0] == results[1]
