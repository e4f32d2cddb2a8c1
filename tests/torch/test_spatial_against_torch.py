"""Padding, pooling, resampling and shuffling beside PyTorch's: values, gradients of both orders, printed forms and error
texts."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402
from minigrad import nn  # noqa: E402
from minigrad.nn import functional as F  # noqa: E402

T = torch.nn.functional


def floats(*shape, seed=0, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def few(*shape, seed=0, dtype="float32"):
    """Numbers of which many are equal."""
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(dtype)


def same(ours, theirs, rtol=2e-5, atol=2e-6):
    if isinstance(theirs, tuple):
        assert isinstance(ours, tuple)
        assert len(ours) == len(theirs)
        for mine, peers in zip(ours, theirs, strict=True):
            same(mine, peers, rtol, atol)
        return
    assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]
    ours, theirs = ours.detach(), theirs.detach()
    if theirs.dtype in (torch.float16, torch.bfloat16):
        ours, theirs = ours.float(), theirs.float()
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=rtol, atol=atol)


def check(function, peer, array, *args, second=False, **options):
    """The results agree, the gradients too and, with ``second``, the gradients of a function of the gradient."""
    x = minigrad.tensor(array).requires_grad_()
    y = torch.tensor(array).requires_grad_()
    ours, theirs = function(x, *args, **options), peer(y, *args, **options)
    same(ours, theirs)
    if isinstance(ours, tuple):
        ours, theirs = ours[0], theirs[0]
    factor = floats(*theirs.shape, seed=9, dtype=array.dtype)
    mine = (ours * ours * minigrad.tensor(factor)).sum()
    peers = (theirs * theirs * torch.tensor(factor)).sum()
    if not second:
        mine.backward()
        peers.backward()
        same(x.grad, y.grad, rtol=1e-4, atol=1e-5)
        return
    (mine,), (peers,) = minigrad.autograd.grad(mine, x, create_graph=True), torch.autograd.grad(peers, y, create_graph=True)
    same(mine, peers, rtol=1e-4, atol=1e-5)
    (mine * mine * mine).sum().backward()
    (peers * peers * peers).sum().backward()
    same(x.grad, y.grad, rtol=1e-3, atol=1e-4)


def fails_alike(ours, theirs):
    """Both raise the same exception with the same words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            theirs()
        except Exception as error:
            expected = error
        else:
            raise AssertionError("PyTorch takes it")
        with pytest.raises(type(expected)) as found:
            ours()
    assert str(found.value) == str(expected)


# --- padding

PADS = [((5,), (2, 1)), ((2, 5), (2, 1)), ((2, 3, 4), (1, 0)), ((2, 3, 4), (-1, 2)), ((2, 3, 4), (-1, -2)),
        ((2, 3, 4), (2, -2)), ((2, 3, 4), (0, 0)), ((3, 4, 5), (1, 2, 3, 1)), ((2, 3, 4, 5), (1, 2, 3, 1)),
        ((2, 3, 4, 5), (-1, 2, 3, -1)), ((2, 3, 4, 5), (0, 0, 1, 1)), ((2, 3, 4, 5), (-2, -2, -1, -2)),
        ((2, 2, 3, 4), (1, 2, 1, 0, 1, 1)), ((1, 2, 3, 4, 3), (1, 2, 1, 3, 2, 1)), ((1, 2, 3, 4, 3), (-1, 2, 1, -2, 2, 1)),
        ((0, 3, 4), (1, 1)), ((), ()), ((2, 3, 4), (1, 1, 1, 1, 1, 1)), ((2, 3), (1, 1, 1, 1))]


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(("shape", "pad"), PADS)
def test_pad(mode, shape, pad):
    array = floats(*shape)
    try:
        T.pad(torch.tensor(array), pad, mode)
    except Exception:
        fails_alike(lambda: F.pad(minigrad.tensor(array), pad, mode), lambda: T.pad(torch.tensor(array), pad, mode))
        return
    check(F.pad, T.pad, array, pad, mode)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_pad_second_order(mode):
    check(F.pad, T.pad, floats(2, 3, 4, 5, dtype="float64"), (1, 2, 3, 1), mode, second=True)


@pytest.mark.parametrize("value", [0, 1.5, -7, float("inf"), float("nan"), True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int8", "bool", "float16"])
def test_pad_value(value, dtype):
    array = few(2, 3, dtype=dtype)
    if (dtype.startswith("int") and value != value) or (dtype.startswith("int") and value == float("inf")):
        return
    same(F.pad(minigrad.tensor(array), (1, -1, 2, 1), value=value),
         T.pad(torch.tensor(array), (1, -1, 2, 1), value=value))
    check(F.pad, T.pad, floats(2, 3), (1, 2), "constant", 0.5)


WRONG_PADS = [((2, 3, 4, 5), (1, 2, 3)), ((2, 3), (1,) * 6), ((2, 3, 4), 3), ((2, 3, 4), (1.5, 1)), ((2, 3, 4), (4, 1)),
              ((2, 3, 4), (1, 5)), ((2, 3, 4, 5), (1, 1, 4, 1)), ((2, 3, 4, 5), (1, 1)), ((2, 3, 4, 5), (1,) * 8),
              ((2, 0, 4), (1, 1)), ((2, 3, 0), (1, 1)), ((2, 3, 4), (-3, -2)), ((2, 3, 4), (-2, -2)), ((2, 3, 4), "ab"),
              ((2, 3, 4, 5), (-3, -3, -3, -3)), ((2, 3, 4, 5, 2), (-3, -3, -3, -3, -3, -3)), ((5,), (1, 1)),
              ((2, 3, 0, 5), (1, 1, 1, 1)), ((0, 4, 5), (1, 1, 1, 1)), ((2, 3, 4), (9, 1))]


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular", "mirror"])
def test_pad_errors(mode):
    failed = 0
    for shape, pad in WRONG_PADS:
        try:
            T.pad(torch.zeros(shape), pad, mode)
        except Exception as error:
            if "(H: " in str(error):
                continue  # PyTorch writes a stray space in one of the modes
            fails_alike(lambda: F.pad(minigrad.zeros(shape), pad, mode), lambda: T.pad(torch.zeros(shape), pad, mode))
            failed += 1
    assert failed > 5
    if mode not in ("constant", "mirror"):
        fails_alike(lambda: F.pad(minigrad.zeros(2, 3), (1, 1), mode, 2.0),
                    lambda: T.pad(torch.zeros(2, 3), (1, 1), mode, 2.0))
    if mode in ("reflect", "replicate"):
        for shape, pad in (((2, 3), (1, 1)), ((2, 3, 4), (1,) * 4)):
            fails_alike(lambda: F.pad(minigrad.zeros(shape, dtype=minigrad.bool), pad, mode),
                        lambda: T.pad(torch.zeros(shape, dtype=torch.bool), pad, mode))


@pytest.mark.parametrize("kind", ["Zero", "Constant", "Reflection", "Replication", "Circular"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_padding_modules(kind, dims):
    name = f"{kind}Pad{dims}d"
    value = (2.5,) if kind == "Constant" else ()
    for padding in (1, tuple(range(2 * dims)) if dims == 1 else (1, 0, 2, 1, 1, 1)[:2 * dims]):
        ours, theirs = getattr(nn, name)(padding, *value), getattr(torch.nn, name)(padding, *value)
        assert repr(ours) == repr(theirs)
        assert ours.padding == theirs.padding
        check(ours, theirs, floats(2, 3, *(4, 5, 3)[:dims]))
        check(ours, theirs, floats(3, *(4, 5, 3)[:dims]))
    if kind not in ("Zero", "Constant") or dims > 1:
        fails_alike(lambda: ours(minigrad.zeros(3)), lambda: theirs(torch.zeros(3)))
    many = (1,) * (dims + 3)
    if kind not in ("Zero", "Constant"):
        fails_alike(lambda: ours(minigrad.zeros(many)), lambda: theirs(torch.zeros(many)))
