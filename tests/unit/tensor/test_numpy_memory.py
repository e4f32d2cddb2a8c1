"""Memory that NumPy can see: shared both ways, and nothing that was read before a write changes after it."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad
import minigrad.nn.functional as F
from minigrad import nn, optim
from minigrad.tensor import storage
from minigrad.tensor.replay import thread

SIZES = [(4,), (600, 700)]  # below and above what a read copies


@pytest.mark.parametrize("shape", SIZES)
def test_from_numpy_shares_both_ways(shape) -> None:
    a = np.ones(shape, np.float32)
    t = minigrad.from_numpy(a)
    a[0] = 5
    assert t[0].sum().item() == a[0].sum()
    t.mul_(2)
    assert (a[0] == 10).all() and (a[1:] == 2).all()
    t[0] = 0
    assert (a[0] == 0).all()
    assert np.shares_memory(t.numpy(), a)


@pytest.mark.parametrize("shape", SIZES)
def test_a_pending_read_keeps_the_old_value(shape) -> None:
    a = np.ones(shape, np.float32)
    y = minigrad.from_numpy(a) + 1
    z = minigrad.from_numpy(a).clone()
    v = minigrad.from_numpy(a)[1:].t() if len(shape) > 1 else minigrad.from_numpy(a)[1:]
    w = v * 3
    a[:] = 0
    assert y.min().item() == 2 and z.min().item() == 1 and w.min().item() == 3 and v.max().item() == 0


@pytest.mark.parametrize("shape", SIZES)
def test_numpy_shares_both_ways(shape) -> None:
    t = minigrad.ones(shape)
    before = t + 1
    r = t.numpy()
    after = t + 1
    r[:] = 7
    assert t.min().item() == 7 and before.max().item() == 2 and after.max().item() == 2
    t.add_(1)
    assert (r == 8).all()
    t[0] = 0
    assert (r[0] == 0).all() and (r[1:] == 8).all()
    assert np.shares_memory(r, t.numpy())
    del r
    t.add_(1)
    assert t.max().item() == 9


def test_views_of_exported_memory() -> None:
    t = minigrad.zeros(3, 4)
    r = t[1].numpy()
    r[:] = 1
    assert t.sum().item() == 4
    t[:, 0] = 5
    assert r[0] == 5
    t.t()[1] += 1
    assert r[1] == 2


def test_export_of_a_value_that_others_still_read() -> None:
    t = minigrad.rand(3).requires_grad_()
    saved = t * t
    old = t.detach().clone()
    r = t.detach().numpy()
    r[:] = 100
    saved.sum().backward()
    assert np.allclose(t.grad.numpy(), 2 * old.numpy()) and t.tolist() == [100] * 3


def test_read_only_arrays() -> None:
    a = np.ones(3, np.float32)
    a.flags.writeable = False
    t = minigrad.from_numpy(a)
    assert t.sum().item() == 3
    with pytest.raises(RuntimeError, match="read-only"):
        t.add_(1)


def test_strided_arrays() -> None:
    a = np.arange(12, dtype=np.int64).reshape(3, 4)
    t = minigrad.from_numpy(a.T)
    assert t.shape == (4, 3) and t.tolist() == a.T.tolist()
    t[0, 0] = 99
    assert a[0, 0] == 99
    with pytest.raises(ValueError, match="stride"):
        minigrad.from_numpy(a[::-1])


def test_tensor_copies() -> None:
    a = np.ones(2)
    t = minigrad.tensor(a)
    a[0] = 5
    assert t.tolist() == [1, 1] and t.dtype is minigrad.float64


def test_errors_of_conversion() -> None:
    x = minigrad.ones(1, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"Can't call numpy\(\) on Tensor that requires grad. Use tensor.detach"):
        x.numpy()
    assert x.numpy(force=True).tolist() == [1]
    with pytest.raises(TypeError, match=r"expected np.ndarray \(got list\)"):
        minigrad.from_numpy([1])
    with pytest.raises(TypeError, match="can't convert np.ndarray of type"):
        minigrad.from_numpy(np.zeros(1, "datetime64[s]"))


def test_array_protocol() -> None:
    t = minigrad.tensor([1.0, 2.0])
    assert np.asarray(t).dtype == np.float32 and np.array(t, dtype=np.float64).dtype == np.float64
    assert np.shares_memory(np.asarray(t), t.numpy()) and not np.shares_memory(np.array(t, copy=True), t.numpy())
    assert isinstance(np.float32(2) * t, minigrad.Tensor) and (np.float32(2) * t).dtype is minigrad.float32
    assert (t + np.finfo(np.float32).eps.item()).dtype is minigrad.float32


def test_training_data_in_shared_memory_is_read_in_slices() -> None:
    a = np.arange(8.0, dtype=np.float32).reshape(4, 2)
    x = minigrad.from_numpy(a)
    part = x[1:3]
    total = (part * 2).sum()
    a[:] = 0
    assert total.item() == 2 * (2 + 3 + 4 + 5)
    assert storage._unsettled == []


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("program", [
    lambda x: x * 2, lambda x: x * x, lambda x: x.exp(), lambda x: x.log1p(), lambda x: x.max(1)[0], lambda x: x.mT,
    lambda x: x.to(minigrad.float64), lambda x: minigrad.cat([x, x]), lambda x: minigrad.where(x > 0, x, -x),
    lambda x: F.linear(x, x), lambda x: F.layer_norm(x, x.shape[1:]), lambda x: x.clone().mul_(x)[1:],
])
def test_gradients_of_what_numpy_sees(program, shape) -> None:
    """An op that reads much shared memory runs at once; the tape must know it all the same."""
    shape = (1, *shape)[-2:]
    a = np.linspace(0.5, 1.5, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    shared, plain = minigrad.from_numpy(a).requires_grad_(), minigrad.tensor(a, requires_grad=True)
    for x in (shared, plain):
        (program(x) ** 2).sum().backward()
    assert np.array_equal(shared.grad.numpy(), plain.grad.numpy()) and storage._unsettled == []


def test_training_while_numpy_sees_the_weights() -> None:
    layer = nn.Linear(700, 600)
    seen = layer.weight.detach().numpy()
    before = seen.copy()
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        layer(minigrad.ones(2, 700)).sum().backward()
        optimizer.step()
    assert np.allclose(before - seen, 0.4, atol=1e-5)


@pytest.mark.parametrize("replay", [0, 1])
def test_a_view_that_was_read_before_numpy_saw_its_memory(replay: int) -> None:
    with minigrad.config(REPLAY=replay):
        thread.begin()
        _read_and_show()


def _read_and_show() -> None:
    x = minigrad.arange(6.0).reshape(2, 3).clone().realize()
    row = x[1]
    for step in range(4):
        assert (row + 1).tolist() == [4 + step, 5 + step, 6 + step]
        array = x.numpy()
        array += 1
        if step % 2:
            del array
    assert row.tolist() == [7, 8, 9]


def test_a_view_that_was_stored_and_then_changed_by_numpy() -> None:
    x = minigrad.ones(2, 3)
    wide = x.expand(2, -1, -1)
    kept = wide.contiguous()
    wide.numpy()[:1] += 1  # the array is gone after that
    assert (wide * 1).sum().item() == 24 and wide.repeat_interleave(2, 0).sum().item() == 48
    assert kept.sum().item() == 12
