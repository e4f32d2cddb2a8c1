"""Views alias their base, in-place ops work through them, and the tape follows."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad


def base() -> minigrad.Tensor:
    return minigrad.arange(12).reshape(3, 4).float().clone()


VIEWS = {
    "row": lambda x: x[1], "column": lambda x: x[:, 2], "box": lambda x: x[1:, ::2], "transpose": lambda x: x.t(),
    "flat": lambda x: x.view(-1), "part of flat": lambda x: x.view(-1)[3:9:2], "unsqueeze": lambda x: x[None, :, 1:3],
    "deep": lambda x: x.t()[1:].t()[::2].view(2, 3), "element": lambda x: x[2, 3],
    "squeeze": lambda x: x[:1].squeeze(0),
    "split": lambda x: x.split(2, 1)[1], "window": lambda x: x.unfold(1, 2, 2), "narrow": lambda x: x.narrow(1, 1, 2),
    "unbind": lambda x: x.unbind(1)[3], "unflatten": lambda x: x.unflatten(1, (2, 2))[:, 1],
    "detach": lambda x: x.detach()[0],
    "permute": lambda x: x.view(3, 2, 2).permute(2, 0, 1), "data": lambda x: x.data[:, 0], "all": lambda x: x[:],
}


def numpy_view(name: str, a: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.as_strided(a, (3, 2, 2), (16, 8, 4))
    return {"row": a[1], "column": a[:, 2], "box": a[1:, ::2], "transpose": a.T, "flat": a.reshape(-1),
            "part of flat": a.reshape(-1)[3:9:2], "unsqueeze": a[None, :, 1:3], "deep": a.T[1:].T[::2],
            "element": a[2:3, 3:], "squeeze": a[0], "split": a[:, 2:], "window": windows, "narrow": a[:, 1:3],
            "unbind": a[:, 3], "unflatten": a[:, 2:], "detach": a[0], "permute": a.reshape(3, 2, 2).transpose(2, 0, 1),
            "data": a[:, 0], "all": a}[name]


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("realised", [False, True])
def test_writes_show_both_ways(name: str, realised: bool) -> None:
    x, a = base(), np.arange(12, dtype=np.float32).reshape(3, 4).copy()
    if realised:
        x.realize()
    v, w = VIEWS[name](x), numpy_view(name, a)
    v.mul_(10).add_(1)
    w *= 10
    w += 1
    assert x.tolist() == a.tolist()
    x += 5
    a += 5
    assert v.reshape(-1).tolist() == w.reshape(-1).tolist()
    assert np.shares_memory(v.numpy(), x.numpy())


def test_views_of_views_see_each_other() -> None:
    x = base()
    first, second = x[1:], x.t()
    first[0, 0] = 100
    assert second[0, 1].item() == 100 and x[1, 0].item() == 100
    second[3].zero_()
    assert x[:, 3].tolist() == [0, 0, 0] and first[:, 3].tolist() == [0, 0]


def test_clone_and_reshape_copies_are_independent() -> None:
    x = base()
    copy, flat = x.clone(), x.t().reshape(-1)
    x.zero_()
    assert copy.sum().item() == 66 and flat.sum().item() == 66


def test_augmented_slice_assignment() -> None:
    x = base()
    x[:, :2] *= 0.0
    assert x.sum().item() == 2 + 3 + 6 + 7 + 10 + 11


def test_expanded_views_are_read_only() -> None:
    x = minigrad.zeros(3, 1)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor refers to a single memory"):
        x.expand(3, 4).add_(1)
    with pytest.raises(RuntimeError, match="more than one element"):
        minigrad.zeros(4).unfold(0, 2, 1).fill_(1)
    assert x.expand(3, 4)[0].sum().item() == 0


def test_strides() -> None:
    x = base()
    assert x.t().stride() == (1, 4) and x[:, ::2].stride() == (4, 2) and x[1:, 2].storage_offset() == 6
    assert not x.t().is_contiguous() and x.t().contiguous().is_contiguous() and x[1:].is_contiguous()
    assert x.contiguous() is x
    with pytest.raises(RuntimeError, match=r"view size is not compatible .* Use .reshape\(...\) instead"):
        x.t().view(-1)
    assert x.transpose(0, 1).contiguous().view(-1).tolist() == x.t().reshape(-1).tolist()


# --- the tape


def test_in_place_on_a_view_rebases_the_base() -> None:
    a = minigrad.ones(2, 2, requires_grad=True)
    b = minigrad.tensor([5.0, 7.0], requires_grad=True)
    x = a * 3
    x[0].mul_(b)
    assert x.grad_fn.name() == "CopySlices"
    x.sum().backward()
    assert a.grad.tolist() == [[15, 21], [3, 3]] and b.grad.tolist() == [3, 3]


def test_a_view_made_before_an_in_place_op_on_its_base() -> None:
    a = minigrad.tensor([1.0, 2.0], requires_grad=True)
    x = a * 2
    v = x[1:]
    x.mul_(x)
    v.sum().backward()
    assert a.grad.tolist() == [0, 16]


def test_an_untracked_base_becomes_tracked() -> None:
    a = minigrad.tensor([3.0], requires_grad=True)
    x = minigrad.zeros(3)
    v, other = x[:1], x[1:]
    assert not v.requires_grad
    v.copy_(a)
    assert x.requires_grad and v.requires_grad and not x.is_leaf and x._version == 1
    (x * minigrad.tensor([10.0, 1, 1])).sum().backward()
    assert a.grad.tolist() == [10] and other.requires_grad


def test_permuted_view_of_a_graph_tensor() -> None:
    a = minigrad.rand(2, 3, 4).requires_grad_()
    y = a * 2
    out = y.permute(2, 0, 1)
    out[1:, 0] *= 0
    y.sum().backward()
    expected = np.full((2, 3, 4), 2.0)
    expected[0, :, 1:] = 0
    assert a.grad.tolist() == expected.tolist()


def test_non_leaf_in_place_and_relu() -> None:
    a = minigrad.tensor([-1.0, 2.0], requires_grad=True)
    out = a * 1
    out += a
    out.relu_()
    out.sum().backward()
    assert a.grad.tolist() == [0, 2]


def test_leaves_are_protected() -> None:
    x = minigrad.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="^a leaf Variable that requires grad is being used in an in-place"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="^a view of a leaf Variable that requires grad is being used"):
        x[0] = 1
    for change in (lambda: x.__setitem__(minigrad.tensor([0]), 1.0), lambda: x.uniform_(), lambda: x.zero_(),
                   lambda: x.copy_(x), lambda: x.fill_(1)):
        with pytest.raises(RuntimeError, match="requires grad is being used in an in-place operation"):
            change()
    with minigrad.no_grad():
        x.add_(1)
        x[0] = 7
    x.data.sub_(1)
    x.data[1] = 5
    assert x.tolist() == [6, 5] and x.is_leaf and x.requires_grad


def test_detach_cuts_and_shares() -> None:
    x = minigrad.ones(2, requires_grad=True)
    y = (x * 2).detach()
    assert not y.requires_grad and y.is_leaf
    with pytest.raises(RuntimeError, match="does not require grad"):
        y.sum().backward()
    d = x.detach()
    d[0] = 9
    assert x.tolist() == [9, 1]


def test_values_saved_for_backward_do_not_change() -> None:
    x = minigrad.tensor([2.0], requires_grad=True)
    w = minigrad.tensor([3.0])
    y = x * w
    w.fill_(100)
    y.backward()
    assert x.grad.tolist() == [3]


def test_view_in_no_grad_is_not_tracked() -> None:
    x = minigrad.ones(2, requires_grad=True)
    with minigrad.no_grad():
        v = x[0]
    assert not v.requires_grad
    u = x[0]
    assert u.requires_grad and u.grad_fn.name() == "SelectBackward0" and u._base is x


def test_requires_grad_after_a_view_was_made() -> None:
    x = minigrad.ones(2)
    v = x[:1]
    x.requires_grad_()
    assert not v.requires_grad and x[:1].requires_grad


def test_gradient_of_an_intermediate_view() -> None:
    x = minigrad.arange(4.0).requires_grad_()
    h = (x * 1).view(2, 2)
    h.retain_grad()
    h.t()[0].sum().backward()
    assert h.grad.tolist() == [[1, 0], [1, 0]]


def test_data_assignment_and_set() -> None:
    x = minigrad.ones(2, requires_grad=True)
    other = minigrad.zeros(3)
    x.data = other
    assert x.shape == (3,) and x.requires_grad
    x.data.add_(1)
    assert other.tolist() == [1, 1, 1]


def test_shape_changes_in_place() -> None:
    x = base()
    x.unsqueeze_(0)
    assert x.shape == (1, 3, 4)
    x.squeeze_().t_()
    assert x.shape == (4, 3) and x[1, 0].item() == 1
    y = minigrad.ones(2, requires_grad=True) * 2
    y.unsqueeze_(1)
    y.sum().backward()
    with pytest.raises(RuntimeError):
        minigrad.ones(2, requires_grad=True).unsqueeze_(0)


def test_in_place_dtype_and_shape_errors() -> None:
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Char"):
        minigrad.zeros(2, dtype=minigrad.int8).add_(1.0)
    x = minigrad.zeros(2, dtype=minigrad.int64)
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        x += 0.5
    with pytest.raises(RuntimeError, match=r"output with shape \[2\] doesn't match the broadcast shape \[3, 2\]"):
        x.add_(minigrad.zeros(3, 2, dtype=minigrad.int64))
    assert x.tolist() == [0, 0]
    y = minigrad.zeros(2)
    y += minigrad.ones(2, dtype=minigrad.float64)
    assert y.dtype is minigrad.float32
