"""What the tests of padding, pooling and resampling share: a function of minigrad and its peer of PyTorch get the same
numbers."""

import warnings

import numpy as np
import pytest

import minigrad


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
    if str(theirs.dtype) in ("torch.float16", "torch.bfloat16"):
        ours, theirs = ours.float(), theirs.float()
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=rtol, atol=atol)


def check(function, peer, array, *args, second=False, **options):
    """The results agree, the gradients too and, with ``second``, the gradients of a function of the gradient."""
    torch = pytest.importorskip("torch")
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
    (mine,) = minigrad.autograd.grad(mine, x, create_graph=True)
    (peers,) = torch.autograd.grad(peers, y, create_graph=True)
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
    assert str(found.value).replace("minigrad.", "torch.") == str(expected)


def refused_alike(function, peer, shape, *args, **options):
    """Both refuse zeros of this shape with the same exception and words."""
    torch = pytest.importorskip("torch")
    fails_alike(lambda: function(minigrad.zeros(shape), *args, **options),
                lambda: peer(torch.zeros(shape), *args, **options))
