"""What Python asks of a Tensor, and the small objects around it."""

from __future__ import annotations

import copy
import pickle
from collections import deque

import numpy as np
import pytest

import minigrad
from minigrad import Size, Tensor
from minigrad.tensor import scalar, update_


def test_format() -> None:
    t = minigrad.tensor(2.5)
    assert f"{t:.3f}" == "2.500" and f"{t}" == "2.5" and f"{minigrad.tensor([1.0])}" == "tensor([1.])"
    assert "%d" % minigrad.tensor(3) == "3" and "%.2f%%" % (100 * t.mean()) == "250.00%"  # noqa: UP031
    assert "{:+.1f}".format(minigrad.tensor(1.0, requires_grad=True)) == "+1.0"  # noqa: UP032
    with pytest.raises(TypeError, match="unsupported format string"):
        f"{minigrad.ones(2):.2f}"


def test_numbers_and_truth() -> None:
    t = minigrad.tensor(3)
    assert int(t) == 3 and float(t) == 3.0 and bool(t) and [10, 20, 30, 40][t] == 40 and list(range(t)) == [0, 1, 2]
    assert max(minigrad.tensor(2.0), minigrad.tensor(5.0)).item() == 5
    assert minigrad.tensor(0.5) < 1 and not minigrad.tensor([0.0])
    assert sum([minigrad.ones(2), minigrad.ones(2)]).tolist() == [2, 2]
    assert np.arange(10)[minigrad.tensor(2):minigrad.tensor(4)].tolist() == [2, 3]


def test_iteration_and_membership() -> None:
    t = minigrad.arange(6).reshape(2, 3)
    assert [r.tolist() for r in t] == [[0, 1, 2], [3, 4, 5]] and len(t) == 2
    assert 5 in t and 6 not in t
    a, b = t
    assert b.tolist() == [3, 4, 5] and a.shape == (3,)
    assert [r.tolist() for r in reversed(t)] == [[3, 4, 5], [0, 1, 2]]


def test_hash_and_attributes() -> None:
    t = minigrad.ones(2)
    assert {t: 1}[t] == 1 and t in [t]
    t.note = "mine"
    assert t.note == "mine"
    assert not t.is_cuda and not t.is_sparse and t.element_size() == 4 and t.nbytes == 8 and t.itemsize == 4


def test_size() -> None:
    s = minigrad.zeros(2, 3, 4).shape
    assert isinstance(s, tuple) and s == (2, 3, 4) and repr(s) == "minigrad.Size([2, 3, 4])" and s.numel() == 24
    assert repr(s[::-1]) == "minigrad.Size([4, 3, 2])" and s[0] == 2
    assert repr(s[:1] + (5,)) == "minigrad.Size([2, 5])" and isinstance((1,) + s, Size)
    b, t, c = minigrad.zeros(2, 3, 4).size()
    assert (b, t, c) == s and minigrad.zeros(s).size(-1) == 4 and pickle.loads(pickle.dumps(s)) == s


def test_device() -> None:
    d = minigrad.device("cpu")
    assert repr(d) == "device(type='cpu')" and str(d) == "cpu" and d.type == "cpu" and d.index is None
    assert d == minigrad.device("CPU") and d == minigrad.device("cpu", 0) and d != "cpu"
    assert hash(d) == hash(minigrad.device(d))
    assert minigrad.ones(1, device="NUMPY").device.type == "numpy"
    with minigrad.device("numpy"):
        assert minigrad.ones(1).device == minigrad.device("numpy")
    with minigrad.config(DEVICE="NUMPY"):
        assert minigrad.ones(1).device.type == "numpy"
    assert copy.deepcopy(d) == d


def test_copies_and_pickles() -> None:
    t = minigrad.tensor([1.0, 2.0], requires_grad=True)
    (t * t).sum().backward()
    twin = copy.deepcopy(t)
    assert twin.requires_grad and twin.grad.tolist() == [2, 4] and twin.tolist() == [1, 2]
    with minigrad.no_grad():
        twin.zero_()
    assert t.tolist() == [1, 2]
    pair = copy.deepcopy([t, t])
    assert pair[0] is pair[1]
    for value in (t, minigrad.tensor(3), minigrad.ones(2, 2).t()[0], minigrad.tensor([1.5], dtype=minigrad.bfloat16)):
        back = pickle.loads(pickle.dumps(value))
        assert back.dtype is value.dtype and back.tolist() == value.tolist()
        assert back.requires_grad == value.requires_grad and back.device == value.device
    assert pickle.loads(pickle.dumps(minigrad.float32)) is minigrad.float32
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(t * 2)
    loaded = pickle.loads(pickle.dumps(t * 2))
    assert loaded.is_leaf and loaded.requires_grad and loaded.tolist() == [2, 4]


def test_a_shallow_copy_shares_the_memory() -> None:
    x = minigrad.arange(6.0).reshape(2, 3)
    x.note = ["kept"]
    for original in (x, x.t()[1:], x.view(minigrad.int32), minigrad.nn.Parameter(x)):
        twin = copy.copy(original)
        assert type(twin) is type(original) and twin.stride() == original.stride() and twin._base is None
        assert twin.data_ptr() == original.data_ptr() and twin.requires_grad == original.requires_grad
    assert copy.copy(x).note is x.note
    copy.copy(x.t()[1:]).mul_(-1)
    assert x.tolist() == [[0, -1, -2], [3, -4, -5]]
    leaf = minigrad.ones(2, requires_grad=True)
    (leaf * 3).sum().backward()
    twin = copy.copy(leaf)
    assert twin.is_leaf and twin.requires_grad and twin.grad is None and copy.copy(leaf * 2).is_leaf


@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("state", ["realised", "pending", "numpy"])
def test_what_shares_memory_shares_it_in_the_copies(again, state: str) -> None:
    x = minigrad.from_numpy(np.arange(6, dtype=np.float32)).reshape(2, 3) if state == "numpy" else (
        minigrad.arange(6.0).reshape(2, 3) * 1)
    if state == "realised":
        x.realize()
    given = [x, x[:1], x.diagonal(1), x.view(minigrad.int32), {"same": x}, x.detach()]
    twins = again(given)
    first, row, diagonal, bits, inside, detached = twins
    assert inside["same"] is first and row.stride() == (3, 1) and diagonal.storage_offset() == 1
    row.add_(10)
    diagonal.mul_(2)
    bits[1, 0] = 0
    assert first.tolist() == [[10, 22, 12], [0, 4, 10]] and detached.tolist() == first.tolist()
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]] and given[1].tolist() == [[0, 1, 2]]
    x.zero_()
    assert first[0, 0].item() == 10


def test_copies_of_parameters_keep_what_they_share_when_pickled() -> None:
    weight = minigrad.nn.Parameter(minigrad.ones(3))
    tied, data = pickle.loads(pickle.dumps([weight, weight.data]))
    assert type(tied) is minigrad.nn.Parameter and tied.requires_grad and not data.requires_grad
    data.add_(1)
    assert tied.tolist() == [2, 2, 2] and weight.tolist() == [1, 1, 1]
    half = minigrad.ones(2, dtype=minigrad.bfloat16)
    assert pickle.loads(pickle.dumps([half, half[:1]]))[1].tolist() == [1]


def test_subclasses() -> None:
    class Mine(Tensor):
        pass

    m = Mine([1, 2])
    assert isinstance(m, Tensor) and m.tolist() == [1, 2] and type(m + 1) is Mine and repr(m) == "Mine([1., 2.])"
    assert type(copy.deepcopy(m)) is Mine


def test_named_results() -> None:
    result = minigrad.tensor([[1.0, 3.0], [4.0, 2.0]]).max(1)
    values, indices = result
    assert values.tolist() == [3, 4] and result[1] is indices is result.indices and result.values is values
    assert repr(result) == "minigrad.return_types.max(\nvalues=tensor([3., 4.]),\nindices=tensor([1, 0]))"
    assert isinstance(result, tuple) and pickle.loads(pickle.dumps(result)).values.tolist() == [3, 4]


def test_printing_shows_the_tape() -> None:
    x = minigrad.tensor([1.0, 2.0], requires_grad=True)
    assert repr(x) == "tensor([1., 2.], requires_grad=True)"
    assert repr(x * 2) == "tensor([2., 4.], grad_fn=<MulBackward0>)"
    assert repr(x.detach()) == "tensor([1., 2.])"
    assert repr(minigrad.ones(1, device="numpy")) in ("tensor([1.], device='numpy')", "tensor([1.])")


@pytest.mark.parametrize("data, dtype, shape", [
    ([1, 2], "int64", (2,)), ([1.0, 2], "float32", (2,)), ([True, False], "bool", (2,)), ([[1], [2]], "int64", (2, 1)),
    ([], "float32", (0,)), ([[], []], "float32", (2, 0)), (3, "int64", ()), (2.5, "float32", ()), (True, "bool", ()),
    (np.arange(3), "int64", (3,)), (np.float32(1), "float32", ()), (deque([1.0, 2.0]), "float32", (2,)),
    (range(3), "int64", (3,)), ((1, (2)), "int64", (2,)), ([np.float64(1.5)], "float64", (1,)),
    ([np.arange(2), np.arange(2)], "int64", (2, 2)),
])
def test_tensor_of_data(data, dtype: str, shape) -> None:
    t = minigrad.tensor(data)
    assert t.dtype.name == dtype and t.shape == shape


def test_tensors_inside_data() -> None:
    r = minigrad.tensor(2.0)
    assert minigrad.tensor([r]).tolist() == [2] and minigrad.tensor([[r, 1], [3, r]]).tolist() == [[2, 1], [3, 2]]
    assert minigrad.Tensor([[minigrad.tensor(1)]]).dtype is minigrad.float32


def test_legacy_constructors() -> None:
    assert minigrad.Tensor(2, 3).shape == (2, 3) and minigrad.LongTensor(4).dtype is minigrad.int64
    assert minigrad.FloatTensor(np.array([1, 2], np.int32)).tolist() == [1, 2]
    assert minigrad.Tensor().shape == (0,) and minigrad.Tensor(Size([2])).shape == (2,)


def test_default_dtype() -> None:
    minigrad.set_default_dtype(minigrad.float64)
    try:
        assert minigrad.tensor([1.0]).dtype is minigrad.float64 and minigrad.zeros(1).dtype is minigrad.float64
        assert (minigrad.arange(2) / 2).dtype is minigrad.float64
    finally:
        minigrad.set_default_dtype(minigrad.float32)


@pytest.mark.parametrize("dtype", [minigrad.float16, minigrad.bfloat16])
def test_half_types(dtype) -> None:
    x = minigrad.full((4, 600), 1.5, dtype=dtype).requires_grad_()
    total = x.sum(1)
    assert total.dtype is dtype and total.tolist() == [900] * 4
    (x @ x.T).sum().backward()
    assert x.grad.dtype is dtype
    assert (x.detach() + 1).mean().item() == 2.5 and (x.detach() * 2.0).dtype is dtype


def test_update_and_scalar() -> None:
    p, q = minigrad.zeros(2).requires_grad_(), minigrad.zeros(3)
    rate = scalar(0.5)
    update_([p, q[1:]], [p.detach() + rate, minigrad.ones(2) * rate])
    assert p.tolist() == [0.5, 0.5] and q.tolist() == [0, 0.5, 0.5] and p.is_leaf and p.requires_grad
    with pytest.raises(RuntimeError, match="shape"):
        update_([p], [q])
