"""Views alias their base, in-place ops work through them, and the tape follows."""

from __future__ import annotations

from typing import Any

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
    "diagonal": lambda x: x.diagonal(), "lower diagonal": lambda x: x.t().diagonal(1, 1, 0),
    "strided": lambda x: x[1:].as_strided((2, 2), (5, 2), 1), "repeats nothing": lambda x: x.expand(1, 3, 4),
    "one of many": lambda x: x[:1].expand(5, 4)[2],
    "other type": lambda x: x.view(minigrad.int32).view(minigrad.float32)[0],
}


def numpy_view(name: str, a: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.as_strided(a, (3, 2, 2), (16, 8, 4))
    return {"row": a[1], "column": a[:, 2], "box": a[1:, ::2], "transpose": a.T, "flat": a.reshape(-1),
            "part of flat": a.reshape(-1)[3:9:2], "unsqueeze": a[None, :, 1:3], "deep": a.T[1:].T[::2],
            "element": a[2:3, 3:], "squeeze": a[0], "split": a[:, 2:], "window": windows, "narrow": a[:, 1:3],
            "unbind": a[:, 3], "unflatten": a[:, 2:], "detach": a[0], "permute": a.reshape(3, 2, 2).transpose(2, 0, 1),
            "data": a[:, 0], "all": a, "diagonal": a.reshape(-1)[::5], "lower diagonal": a.reshape(-1)[1:12:5],
            "strided": np.lib.stride_tricks.as_strided(a.reshape(-1)[1:], (2, 2), (20, 8)), "repeats nothing": a,
            "one of many": a[0], "other type": a[0]}[name]


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
        minigrad.zeros(4).unfold(0, 2, 1).mul_(1)
    assert x.expand(3, 4)[0].sum().item() == 0
    for view in (minigrad.zeros(5).as_strided((2, 3), (2, 1)), minigrad.zeros(24).as_strided((2, 3, 2), (4, 3, 2)),
                 minigrad.zeros(3).expand(2, 3).view(minigrad.int32), minigrad.zeros(2, 3).unfold(1, 2, 1)[0]):
        with pytest.raises(RuntimeError, match="more than one element"):
            view.copy_(view)
    y = minigrad.zeros(10).as_strided((2, 3), (3, 2))  # neither axis lies inside the other, but no place is met twice
    assert y.add_(1)._base.tolist() == [1, 0, 1, 1, 1, 1, 0, 1, 0, 0]


# --- other types, windows


def test_a_view_of_another_type_is_the_same_memory() -> None:
    x = minigrad.tensor([[1.0, 2.0], [3.0, 4.0]])
    bits, halves, pair = x.view(minigrad.int32), x.view(dtype=minigrad.int16), x.view(minigrad.int64)
    assert bits.tolist()[0] == [0x3F800000, 0x40000000] and halves.shape == (2, 4) and pair.stride() == (1, 1)
    assert bits.data_ptr() == x.data_ptr() and np.shares_memory(halves.numpy(), x.numpy())
    version = x._version
    bits[0, 0] = 0x40A00000
    halves[1, 3] = 0x40E0
    assert x.tolist() == [[5, 2], [3, 7]] and x._version == version + 2
    pair[1:].fill_(0)
    assert x.tolist() == [[5, 2], [0, 0]] and halves[1].tolist() == [0] * 4
    x[0] = -1.0
    wide = minigrad.arange(16, dtype=minigrad.int8)
    wide[8:].view(minigrad.int64).fill_(1)
    assert wide.tolist() == [*range(8), 1, *[0] * 7]
    assert halves.t()[1].tolist() == [-0x4080, 0] and pair.tolist() == [[-0x407FFFFF40800000], [0]]


def test_a_view_of_another_type_stands_outside_autograd() -> None:
    x = minigrad.ones(2, requires_grad=True)
    y = x * 2
    v = y.view(minigrad.float64)
    assert not v.requires_grad and v._base is None and x.view(minigrad.float32).is_leaf
    y.view(minigrad.int32)[0] = 0
    y.sum().backward()
    assert y.tolist() == [0, 2] and x.grad.tolist() == [2, 2]


def test_bools_as_bytes() -> None:
    flags = minigrad.tensor([True, False, True, False])
    as_bytes = flags.view(minigrad.uint8)
    as_bytes[1] = 7
    assert flags.tolist() == [True, True, True, False] and flags.view(minigrad.int32).tolist() == [0x10101]
    numbers = minigrad.tensor([0, 1, 2, 255], dtype=minigrad.uint8)
    assert numbers.view(minigrad.bool).tolist() == [False, True, True, True]
    numbers.view(minigrad.bool)[0] = True
    assert numbers.tolist() == [1, 1, 2, 255] and (numbers.view(minigrad.bool) & True).sum().item() == 4
    wide = minigrad.tensor([0x02000000], dtype=minigrad.int32)
    wide.view(minigrad.bool)[0] = True
    assert wide.item() == 0x02000001
    array = np.array([0, 2, 1], np.uint8)
    shared = minigrad.from_numpy(array).view(minigrad.bool)
    assert shared.tolist() == [False, True, True] and (shared & shared[1]).tolist() == [False, True, True]
    assert shared.sum().item() == 2 and shared.long().tolist() == [0, 1, 1]
    with minigrad.device("numpy"):
        shared = minigrad.from_numpy(array).view(minigrad.bool)
        assert (shared & minigrad.tensor([True, True, True])).tolist() == [False, True, True]


def test_strided_memory_of_numpy() -> None:
    array = np.arange(12.0).reshape(3, 4)
    x = minigrad.from_numpy(array.T[1:])
    assert x.stride() == (1, 4) and not x.is_contiguous() and x._base is None and x.is_leaf
    x[0] = -1
    x.mul_(2)
    assert array.tolist() == [[0, -2, 4, 6], [4, -2, 12, 14], [8, -2, 20, 22]] and x._version == 2
    array[:] = 1
    assert x.sum().item() == 9 and x.as_strided((2,), (4,), 1).tolist() == [1, 1]
    repeated = minigrad.from_numpy(np.lib.stride_tricks.as_strided(np.zeros(3), (2, 3), (0, 8)))
    with pytest.raises(RuntimeError, match="more than one element"):
        repeated.add_(1)


def test_writing_a_part_of_memory_that_numpy_sees_touches_only_that() -> None:
    array = np.zeros(1 << 20, np.float32)
    x = minigrad.from_numpy(array)
    with minigrad.inspect() as seen:
        x[3] = 5
        x.as_strided((2,), (7,), 7).fill_(2)
    assert array[[3, 7, 14]].tolist() == [5, 2, 2] and array.sum() == 9
    assert sum(kernel.bytes for kernel in seen.kernels) < 1 << 12


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
    x.mul_(x.clone())
    v.sum().backward()
    assert a.grad.tolist() == [0, 16]


@pytest.mark.parametrize("name", ["mul_", "div_", "pow_", "hypot_", "add_", "sub_"])
def test_an_operand_twice_is_changed_in_place(name: str) -> None:
    """The first is kept as it was; the other is read by backward, and so must not have changed."""
    a = minigrad.tensor([1.0, 2.0], requires_grad=True)
    x = a * 2
    getattr(x, name)(x.contiguous())
    if name in ("add_", "sub_"):
        x.sum().backward()
        assert a.grad.tolist() == [4.0, 4.0] if name == "add_" else [0.0, 0.0]
    else:
        with pytest.raises(RuntimeError, match="which is output 0 of .*, is at version 1; expected version 0"):
            x.sum().backward()


@pytest.mark.parametrize("made", [lambda x: x.chunk(2)[0], lambda x: x.unbind(0)[0], lambda x: x.split([1, 2])[1],
                                  lambda x: next(iter(x))])
@pytest.mark.parametrize("change", [lambda x, v: x.sub_(1), lambda x, v: x.detach().sub_(1), lambda x, v: v.mul_(2)])
def test_one_of_several_views_is_not_tracked_any_more_once_its_memory_was_changed(made: Any, change: Any) -> None:
    x = minigrad.tensor([1.0, 2.0, 3.0], requires_grad=True)
    v = made(x)
    x.data.add_(1)  # unseen
    assert (v + 1).requires_grad and v[...].requires_grad and v.grad_fn is not None
    with minigrad.no_grad():
        change(x, v)
    before = v.tolist()
    for use in (lambda: v + 1, lambda: v.sum(), lambda: v[...], lambda: v.grad_fn, lambda: v.is_leaf):
        with pytest.raises(RuntimeError, match="is a view and its base or another view of its base has been modified"):
            use()
    assert v.requires_grad and v.detach().tolist() == before
    with minigrad.no_grad():
        assert (v + 1).shape == v.shape


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
    part = x[1:]
    x.requires_grad_(False)  # its view still requires a gradient
    for change in (lambda: part.mul_(2), lambda: part[:1].copy_(x[:1])):
        with pytest.raises(RuntimeError, match="^a view of a leaf Variable that requires grad is being used"):
            change()
    x.requires_grad_()
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


def test_values_saved_for_backward_may_not_be_changed() -> None:
    x = minigrad.tensor([2.0], requires_grad=True)
    w = minigrad.tensor([3.0])
    y = x * w
    w.fill_(100)
    with pytest.raises(RuntimeError, match=r"an inplace operation: \[\S*FloatTensor \[1\]\] is at version 1"):
        y.backward()


def test_changes_through_data_are_not_seen_by_the_tape() -> None:
    x = minigrad.tensor([2.0], requires_grad=True)
    w = minigrad.tensor([3.0])
    y = x * w
    w.data.fill_(100)
    y.backward()
    assert x.grad.tolist() == [100]
    z = (x * 1).exp()
    z.data.mul_(0).add_(2)
    part = z.view(1, 1) * 5
    z.data[0] = 7  # in the memory of a view
    part.backward()
    assert x.grad.tolist() == [135]


def test_view_in_no_grad_is_not_tracked() -> None:
    x = minigrad.ones(2, requires_grad=True)
    with minigrad.no_grad():
        v = x[0]
    assert not v.requires_grad
    with minigrad.no_grad():
        rows = x.view(1, 2)
    part = rows[0]
    assert not rows.requires_grad and not part.requires_grad and part.grad_fn is None
    u = x[0]
    assert u.requires_grad and u.grad_fn.name() == "SelectBackward0" and u._base is x


def test_a_view_made_where_nothing_is_recorded_is_one() -> None:
    x = minigrad.ones(3, requires_grad=True)
    with minigrad.no_grad():
        part, cut, words = x[1:], x.detach(), x.view(minigrad.int32)
    with minigrad.inference_mode():
        of_inference = x[1:]
    assert part._base is x and of_inference._base is x and not cut._is_view() and not words._is_view()


def test_gradients_of_windows() -> None:
    x = minigrad.arange(6.0).requires_grad_()
    (x.as_strided((3, 3), (1, 1)) * minigrad.arange(9.0).reshape(3, 3)).sum().backward()
    assert x.grad.tolist() == [0, 4, 12, 12, 8, 0]
    x.grad = None
    y = (x * 2).reshape(2, 3)
    d = y.diagonal(1)
    d.mul_(5)
    assert (y.grad_fn.name(), d.stride(), d.storage_offset()) == ("ViewBackward0", (4,), 1)
    y.t().unfold(0, 2, 1).sum().backward()
    assert x.grad.tolist() == [2, 20, 2, 2, 4, 10]
    with pytest.raises(RuntimeError, match="a view of a leaf"):
        x.as_strided((2,), (1,)).zero_()


def test_the_gradient_of_a_window_goes_through_the_view_that_it_was_asked_of() -> None:
    x = minigrad.arange(6.0).requires_grad_()
    for view, seen in (((x * 1)[2:], [1, 2, 1, 0]), ((x * 1).reshape(2, 3).T, [[0, 2], [0, 1], [1, 0]])):
        window = view.as_strided((2, 2), (1, 1), 2)
        assert minigrad.autograd.grad(window.sum(), view)[0].tolist() == seen
    assert minigrad.func.jacrev(lambda t: t.as_strided((6,), (1,)))(x).tolist() == minigrad.eye(6).tolist()


def test_a_window_of_a_view_is_one_of_the_memory_and_as_tracked_as_the_view() -> None:
    x = minigrad.arange(6.0).requires_grad_()
    part = (x * 1)[2:4]
    window = part.as_strided((2, 2), (1, 1))
    assert window.storage_offset() == 2 and window.grad_fn.name() == "AsStridedBackward0"
    window.sum().backward()
    assert x.grad.tolist() == [0, 0, 1, 2, 1, 0]
    assert not part.detach().as_strided((2,), (1,)).requires_grad and x.as_strided((2,), (1,))._base is x
    with minigrad.no_grad():
        silent = x[1:]
    assert not silent.as_strided((2,), (1,)).requires_grad
    flat = minigrad.arange(4.0)
    flat.as_strided_((2, 2), (1, 2))
    assert flat.tolist() == [[0, 2], [1, 3]]
    later = minigrad.arange(4.0)[1:]
    later.as_strided_((2,), (1,), 0)
    assert (later + 0).tolist() == later.tolist() == [0, 1] and later.storage_offset() == 0


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
    y = x * x
    x.data = minigrad.full((3,), 7.0)
    y.sum().backward()
    assert x.grad.tolist() == [14, 14, 14]


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


def test_a_number_s_only_dimension_is_moved() -> None:
    x = minigrad.tensor(3.0, requires_grad=True)
    for source, destination in ((0, -1), (-1, 0), (0, 0)):
        moved = x.movedim(source, destination)
        assert moved.shape == ()
        assert minigrad.autograd.grad(moved, x)[0].item() == 1.0


def _square() -> minigrad.Tensor:
    return minigrad.arange(9.0).reshape(3, 3)


FIRST = minigrad.tensor([0, 1])
PARTLY = {
    "add_": lambda x: x[1:].add_(x[:-1]), "+=": lambda x: x[1:].__iadd__(x[:-1]), "copy_": lambda x: x.copy_(x.t()),
    "setitem": lambda x: x.__setitem__(slice(1, None), x[:-1]), "addcmul_": lambda x: x[1:].addcmul_(x[1:], x[:-1]),
    "add out": lambda x: minigrad.add(x[1:], 1, out=x[:-1]),
    "where out": lambda x: minigrad.where(x > 1, x, x.t(), out=x),
    "index_put_": lambda x: x.index_put_((FIRST,), x[1:]), "index_copy_": lambda x: x[:2].index_copy_(0, FIRST, x[:2]),
    "gather out": lambda x: minigrad.gather(x, 0, minigrad.zeros(3, 3, dtype=minigrad.int64), out=x),
    "cat out": lambda x: minigrad.cat([x[:1], x[1:2]], out=x[:2]), "pending": lambda x: (x := x * 2)[1:].mul_(x[:-1]),
}
NOT = {
    "itself": lambda x: x.add_(x), "alias": lambda x: x.mul_(x.detach()), "apart": lambda x: x[:1].add_(x[1:2]),
    "gaps": lambda x: x[:, 1:].copy_(x[:, :-1]), "product": lambda x: x.addmm_(x, x.t()),
    "nothing": lambda x: x[3:].add_(x[:0]), "out": lambda x: minigrad.exp(x, out=x),
    "copy": lambda x: x[1:].add_(x[:-1].clone()),
}


@pytest.mark.parametrize("name", [*PARTLY, *NOT])
def test_operands_may_not_cover_a_part_of_what_is_written(name: str) -> None:
    if name in NOT:
        NOT[name](_square())
        return
    with pytest.raises(RuntimeError, match="some elements of the input tensor and the written-to tensor refer to"):
        PARTLY[name](_square())


def test_what_is_expanded_can_be_filled_and_not_written() -> None:
    x = minigrad.zeros(3, 1)
    assert x.expand(3, 2).fill_(2).tolist() == [[2, 2]] * 3
    assert x.tolist() == [[2]] * 3
    for write in (lambda y: y.add_(1), lambda y: minigrad.add(minigrad.ones(3, 2), 1, out=y), lambda y: y.copy_(
            minigrad.ones(3, 2))):
        with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
            write(x.expand(3, 2))
    nothing = minigrad.zeros(0).expand(3, 0)
    assert minigrad.add(nothing, 1, out=nothing).shape == (3, 0)


def test_transposes_of_what_is_no_matrix() -> None:
    number, vector, batch = minigrad.tensor(5.0), minigrad.ones(2), minigrad.ones(2, 3, 4)
    assert number.T.item() == number.H.item() == number.mT.item() == number.mH.item() == number.adjoint().item() == 5
    assert batch.mT.shape == batch.mH.shape == batch.adjoint().shape == (2, 4, 3) and batch.T.shape == (4, 3, 2)
    for name in ("H", "mT", "mH", "adjoint"):
        with pytest.raises(RuntimeError, match=rf"tensor\.{name}\S* is only supported on matrices"):
            found = getattr(vector, name)
            found()
    with pytest.raises(RuntimeError, match="Got 3-D tensor. For batches of matrices, consider using tensor.mH"):
        _ = batch.H


@pytest.mark.parametrize("change", ["t_", "unsqueeze_", "squeeze_", "swapaxes_"])
def test_views_stay_when_their_parent_turns_into_a_view(change: str) -> None:
    arguments = {"unsqueeze_": (0,), "swapaxes_": (0, 1)}.get(change, ())
    x = base()[:1] if change == "squeeze_" else base()
    for parent in (x, x[:, 1:]):
        child, expected = parent[:], parent.numpy().copy()
        getattr(parent, change)(*arguments)
        assert (child * 1).tolist() == expected.tolist()
        child.mul_(2)
        np.testing.assert_array_equal(getattr(child, change.rstrip("_"))(*arguments).numpy(), parent.numpy())


def test_gradient_of_a_view_whose_parent_turned_into_a_view() -> None:
    x = base().requires_grad_()
    parent = x * 1
    child = parent[1:]
    parent.t_()
    parent.mul_(3)  # the child sees it, and has a new history
    (child[0] * minigrad.arange(4)).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[0] * 4, [0, 3, 6, 9], [0] * 4]


@pytest.mark.parametrize("view", [".diagonal()", "[:]", "[0][1:]"])
def test_a_leaf_that_turned_into_a_view_takes_the_gradients_of_views_of_what_it_was(view: str) -> None:
    x, expected = base().clone().requires_grad_(), minigrad.zeros(3, 4)
    child = eval(f"x{view}", {"x": x})
    eval(f"x{view}.fill_(1)", {"x": expected})
    with minigrad.no_grad():
        x.unsqueeze_(0)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
        child.mul_(2)
    child.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [expected.tolist()] and x.is_leaf


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_gradient_has_the_shape_that_its_leaf_has_by_now(create_graph: bool) -> None:
    x = base().clone().requires_grad_()
    y = x * 2
    with minigrad.no_grad():
        x.unsqueeze_(0)
    y.sum().backward(create_graph=create_graph)
    assert x.grad is not None and x.grad.tolist() == [[[2.0] * 4] * 3]
    y, x.grad = x * 2, None
    with minigrad.no_grad():
        x.transpose_(1, 2)
    with pytest.raises(RuntimeError, match=r"The size of tensor a \(3\) must match the size of tensor b \(4\)"):
        y.sum().backward(create_graph=create_graph)
    assert x.grad is None


def test_results_are_no_views() -> None:
    x = base()
    for pair in (x.median(0), x.kthvalue(1, 0), x.mode(0), x.nanmedian(0), x.topk(1), x.sort(0), x.max(0)):
        assert not pair[0]._is_view() and not pair[1]._is_view()


@pytest.mark.parametrize("turn", ["t_", "unsqueeze_(0)", "transpose_(0, 1).t_", "swapaxes_(0, -1)"])
@pytest.mark.parametrize("view", ["[:, :1]", ".unfold(-2, 1, 1)", ".t()", "[1]", ".diagonal()", ".reshape(3, 2)", "[:]",
                                  ".as_strided((2, 2), (1, 2), 1)", ".t()[1:]", ".expand(2, 2, 3)"])
def test_what_a_view_s_base_turns_into_does_not_change_the_view(view: str, turn: str) -> None:
    def made() -> tuple[minigrad.Tensor, minigrad.Tensor]:
        base = minigrad.arange(6.0).reshape(2, 3).clone()
        return base, eval(f"base{view}", {"base": base})

    _, still = made()
    base, turned = made()
    eval(f"base.{turn}" + ("" if turn.endswith(")") else "()"), {"base": base})
    passed_on = minigrad.func.vjp(lambda t: t * 1, turned)[0]
    for again in (turned, turned.detach(), turned.data, turned.view_as(turned), passed_on):
        assert again.shape == still.shape and (again * 2).shape == still.shape
        assert (again * 2).tolist() == (still * 2).tolist()
        assert (again.detach().requires_grad_() * 2).tolist() == (still * 2).tolist()
    base.mul_(3)
    assert turned.detach().tolist() == (still * 3).tolist()


@pytest.mark.parametrize("mode", [minigrad.no_grad, minigrad.enable_grad])
@pytest.mark.parametrize("view", [".reshape(-1)", "[1:]", "[:, 0]", ".T"])
def test_a_view_whose_data_is_replaced_keeps_its_history(view: str, mode: Any) -> None:
    """In the rounds of a loop in which calls are followed, too."""
    kept = None
    for round_ in range(6):
        x = minigrad.tensor([[-1.5, 2.0], [3.0, 1.0]]).requires_grad_()
        part = eval(f"(x * 1){view}", {"x": x})
        if round_ % 2:  # asking for it finds the edge, if it is not found yet
            kept = part.grad_fn
        with mode():
            part.data = part.data * 2
        assert part.grad_fn is not None and part.requires_grad and not part.is_leaf
        assert round_ % 2 == 0 or part.grad_fn is kept
        part.sum().backward()
        assert x.grad is not None and x.grad.sum().item() == part.numel()


@pytest.mark.parametrize("index", ["...", ":"])
def test_what_is_written_to_itself_counts_as_written(index: str) -> None:
    for _ in range(4):
        x = minigrad.ones(3, requires_grad=True)
        part = x.sqrt()[:]
        exec(f"part[{index}] = part", {"part": part})
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            part.sum().backward()


def test_what_may_not_be_detached() -> None:
    """Views, wherever they were made; not what was transposed in place."""
    x = minigrad.ones(2, 3)
    with minigrad.no_grad():
        views = [x[0], x.T, (x * 1j).real]
    for view in views:
        assert view._is_view()
        with pytest.raises(RuntimeError, match="Can't detach views in-place"):
            view.detach_()
    y = minigrad.ones(2, 3, requires_grad=True) * 2
    y.t_()
    before = y[0]
    assert not y._is_view() and not y.detach_().requires_grad and before.requires_grad
    y.mul_(3)
    assert before.tolist() == [6, 6]


def test_repeated_elements_take_one_value() -> None:
    x = minigrad.zeros(12)
    x[2:7].unfold(0, 3, 1).fill_(2)
    x[8:].reshape(2, 2).T.unfold(0, 2, 1).fill_(minigrad.tensor(3.0))
    assert x.tolist() == [0, 0, 2, 2, 2, 2, 2, 0, 3, 3, 3, 3]
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        x.unfold(0, 3, 1).add_(1)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        x[:1].expand(2).T.fill_(minigrad.tensor(3))
    x[:1].expand(1).fill_(minigrad.tensor(4))
    assert x.tolist() == [4, 0, 2, 2, 2, 2, 2, 0, 3, 3, 3, 3]


def test_a_tensor_is_written_to_itself() -> None:
    x = minigrad.arange(6.0).reshape(2, 3)
    x[None] = x
    x[:1] = x[0]
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    x[0] = x[1, 1]
    assert x.tolist() == [[4, 4, 4], [3, 4, 5]]
    y = minigrad.ones(2, 2)
    one, corner = minigrad.ones(1), minigrad.ones(1, 1, 1)
    for value in (corner[0], corner[0, 0]):  # in their places
        corner[0, 0] = value[..., 0, 0] if value.ndim == 2 else value
    for write in (lambda: y.__setitem__(None, y.T), lambda: one.__setitem__(None, one),
                  lambda: corner.__setitem__((..., 0), corner), lambda: corner.__setitem__((0, 0), corner[..., 0]),
                  lambda: one.expand(2).__setitem__(slice(None), 5)):
        with pytest.raises(RuntimeError, match="single memory location"):
            write()
    one.expand(2).fill_(5)
    assert one.tolist() == [5.0]


def test_coordinates_stand_together_in_memory() -> None:
    rows = minigrad.tensor([[1, 0, 2], [0, 3, 0]]).nonzero()
    assert rows.stride() == (1, 3) and not rows._is_view()
    columns = minigrad.where(minigrad.tensor([[1, 0, 2], [0, 3, 0]]) > 0)
    assert [c.tolist() for c in columns] == [[0, 0, 1], [0, 2, 1]] and columns[0].is_contiguous()
    assert minigrad.zeros(2, 3, 0).permute(2, 0, 1).is_contiguous()


@pytest.mark.parametrize("index", [minigrad.zeros(2, dtype=minigrad.int64), minigrad.tensor([0, 0])])
def test_nothing_to_choose_from(index: minigrad.Tensor) -> None:
    x = minigrad.zeros(0, 3)
    with pytest.raises(IndexError):
        x[index]
    with pytest.raises(IndexError):
        x.index_select(0, index)
    with pytest.raises(RuntimeError, match="index 0 is out of bounds for dimension 0 with size 0"):
        x.gather(0, index[:, None])
    assert x.index_select(0, index[:0]).shape == (0, 3)


def test_a_window_of_a_leaf_that_shows_a_part_of_the_memory_has_its_gradient():
    x = minigrad.arange(6.0)[2:5].detach().requires_grad_()
    y = x.as_strided((2, 2), (1, 1), 2)
    (y * y).sum().backward()
    assert x.grad.tolist() == [4.0, 12.0, 8.0]
    with minigrad.no_grad():
        x.add_(1)
    assert y.tolist() == [[3.0, 4.0], [4.0, 5.0]]


def test_results_that_are_laid_out_anew_are_no_views() -> None:
    x = minigrad.ones(2, 2)
    for made in (minigrad.kron(x, x), minigrad.roll(x, 1)):
        assert not made._is_view()
        made.detach_()


def test_one_of_several_views_may_be_read_after_a_change_where_no_gradient_flows() -> None:
    x = minigrad.tensor([3.0, -2.0], requires_grad=True)
    doubled = x * 2
    first, _ = doubled.chunk(2)
    doubled.abs_()
    assert first.requires_grad
    assert ((first != 6).tolist(), first.isnan().tolist(), first.argmax().item()) == ([False], [False], 0)
    assert first.to(minigrad.int64).tolist() == [6] and repr(first) == "tensor([6.], grad_fn=<Invalid>)"
    for use in (lambda: first * 2, lambda: first.grad_fn, lambda: first.view(1, 1)):
        with pytest.raises(RuntimeError, match="Output 0 of Split is a view and its base or another view"):
            use()


@pytest.mark.parametrize("index", [..., (), slice(None), (slice(0, 2), ...), (..., slice(None)), slice(0, 9)])
def test_what_is_written_everywhere_is_written_to_the_tensor_itself(index: Any) -> None:
    x = minigrad.ones(2, 3, requires_grad=True)
    y = x * 2
    y[index] = minigrad.zeros(3)
    assert y.grad_fn.name() == "CopyBackwards"
    slope, = minigrad.autograd.grad(y.sum(), x, create_graph=True)
    assert slope.tolist() == [[0.0] * 3] * 2 and not slope.requires_grad
    with pytest.raises(RuntimeError, match="^a leaf Variable that requires grad"):
        x[index] = 1
    for part in (slice(None, None, 2), slice(-2, None), (None, ...)):
        z = x * 2
        z[part] = minigrad.zeros(3)
        assert z.grad_fn.name() == "CopySlices"


def test_squeeze_of_several_dimensions() -> None:
    """By position, in a tuple, by name, in place; those of other sizes stay."""
    x = minigrad.arange(6).reshape(1, 2, 1, 3, 1)
    for y in (x.squeeze(0, 1, -1), x.squeeze((0, 1, -1)), x.squeeze(dim=(0, 4)), x.clone().squeeze_(0, 4)):
        assert y.shape == (2, 1, 3) and y.flatten().tolist() == list(range(6))
    assert x.squeeze(()).shape == x.shape and x.squeeze().shape == (2, 3)
    x.squeeze(0, 2)[1, 2, 0] = 9
    assert x[0, 1, 0, 2, 0] == 9
