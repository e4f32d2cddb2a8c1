"""Indexing against NumPy on random indices, where both agree; PyTorch's own rules by example."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad
from minigrad import tensor
from minigrad.tensor import indexing

SHAPE = (4, 3, 5)


@st.composite
def slices(draw, n: int) -> slice:
    ends = st.one_of(st.none(), st.integers(-n - 2, n + 2))
    return slice(draw(ends), draw(ends), draw(st.one_of(st.none(), st.integers(1, 3))))


@st.composite
def basic_indexes(draw) -> tuple:
    items = [draw(st.one_of(slices(n), st.integers(-n, n - 1))) for n in SHAPE[:draw(st.integers(0, 3))]]
    if draw(st.booleans()):
        items.insert(draw(st.integers(0, len(items))), Ellipsis)
        at = items.index(Ellipsis)
        items[at + 1:] = [draw(st.one_of(slices(n), st.integers(-n, n - 1))) for n in SHAPE[3 - len(items[at + 1:]):]]
    for _ in range(draw(st.integers(0, 2))):
        items.insert(draw(st.integers(0, len(items))), None)
    return tuple(items)


@st.composite
def advanced_indexes(draw) -> tuple:
    """Slices and index arrays; no integers, which NumPy and PyTorch place differently beside arrays."""
    shape = draw(st.sampled_from([(2,), (2, 2), (1,), (0,)]))
    items = []
    for n in SHAPE[:draw(st.integers(1, 3))]:
        if draw(st.booleans()):
            flat = draw(st.lists(st.integers(-n, n - 1), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
            items.append(np.array(flat, np.int64).reshape(shape))
        else:
            items.append(draw(slices(n)))
    return tuple(items)


def array() -> np.ndarray:
    return np.arange(60.0, dtype=np.float32).reshape(SHAPE)


@given(basic_indexes())
def test_basic_read_and_write(index) -> None:
    a = array()
    t = minigrad.tensor(a, device="numpy")
    assert t[index].tolist() == a[index].tolist() and t[index].shape == a[index].shape
    a[index] = -1
    t[index] = -1
    assert t.tolist() == a.tolist()


@given(advanced_indexes())
def test_advanced_read_and_write(index) -> None:
    a = array()
    t = minigrad.tensor(a, device="numpy", requires_grad=True)
    got = t[index]
    assert got.shape == a[index].shape and got.tolist() == a[index].tolist()
    got.sum().backward()
    counts = np.zeros_like(a)
    np.add.at(counts, index, 1)
    assert t.grad.tolist() == counts.tolist()
    t = t.detach()
    a[index] = 7
    t[index] = 7
    assert t.tolist() == a.tolist()


@given(st.integers(0, 2**12 - 1), st.booleans())
def test_masks(bits: int, column: bool) -> None:
    a = np.arange(12.0, dtype=np.float32).reshape(4, 3)
    mask = np.array([bits >> i & 1 for i in range(12)], bool).reshape(4, 3)
    mask = mask[:, 0] if column else mask
    t, m = minigrad.tensor(a, device="numpy"), minigrad.tensor(mask, device="numpy")
    assert t[m].tolist() == a[mask].tolist()
    values = np.arange(a[mask].size, dtype=np.float32).reshape(a[mask].shape) * 10
    t[m] = minigrad.tensor(values, device="numpy")
    a[mask] = values
    assert t.tolist() == a.tolist()
    t[~m] = 1
    a[~mask] = 1
    assert t.tolist() == a.tolist()


def test_integers_beside_index_tensors_are_taken_first() -> None:
    t = minigrad.arange(60).reshape(SHAPE)
    assert t[0, :, [1, 2]].shape == (3, 2) and t[:, 0, [1, 2]].shape == (4, 2) and t[[0, 1], :, [1, 2]].shape == (2, 3)


def test_mask_from_a_broadcasted_comparison() -> None:
    logits = minigrad.tensor([[1.0, 5.0, 3.0], [9.0, 8.0, 7.0]])
    v, _ = logits.topk(2)
    logits[logits < v[:, [-1]]] = -float("inf")
    assert logits.tolist() == [[-np.inf, 5, 3], [9, 8, -np.inf]]


def test_range_and_tensor_assignment() -> None:
    x = minigrad.zeros(3, 4)
    x[range(3), minigrad.tensor([1, 0, 3])] = minigrad.tensor(5.0)
    assert x.tolist() == [[0, 5, 0, 0], [5, 0, 0, 0], [0, 0, 0, 5]]


def test_zero_dimensional_masks() -> None:
    x = minigrad.arange(3)
    assert x[True].shape == (1, 3) and x[False].shape == (0, 3)
    assert minigrad.tensor(5)[minigrad.tensor(True)].tolist() == [5]


def test_last_write_wins_and_accumulate_adds() -> None:
    x = minigrad.zeros(2)
    x[minigrad.tensor([0, 0, 0])] = minigrad.tensor([1.0, 2.0, 3.0])
    assert x.tolist() == [3, 0]
    x.index_put_((minigrad.tensor([1, 1]),), minigrad.tensor([4.0, 5.0]), accumulate=True)
    assert x.tolist() == [3, 9]


def test_element_writes_in_a_loop_and_in_int64() -> None:
    losses = minigrad.zeros(5)
    for k in range(5):
        losses[k] = minigrad.tensor(float(k)).item()
    assert losses.mean().item() == 2
    y = minigrad.arange(4)
    y[:2] = -1
    assert y.tolist() == [-1, -1, 2, 3] and y.dtype is minigrad.int64


@pytest.mark.parametrize("value", [[1, 2, 3], np.array([1.0, 2.0, 3.0]), "a"])
def test_values_are_tensors_or_numbers(value) -> None:
    x = minigrad.zeros(2, 3)
    with pytest.raises(TypeError, match="can't assign a .* to a torch.FloatTensor"):
        x[0] = value


@pytest.mark.parametrize("index", [slice(None, None, -1), (slice(None, None, -2), None)])
def test_negative_steps(index) -> None:
    with pytest.raises(ValueError, match="step must be greater than zero"):
        minigrad.ones(3)[index]


def test_an_augmented_write_is_one_write() -> None:
    """``x[index] += y`` is ``x[index] = x[index].__iadd__(y)``: the second write, of memory over itself, is none."""
    x = minigrad.zeros(4)
    x[1:3] += 2
    version = x._storage.version
    x[1:3] += 2
    assert x._storage.version == version + 1 and x.tolist() == [0, 4, 4, 0]


@pytest.mark.parametrize("write,slope", [
    (lambda u, y: u.__setitem__(slice(1, 3), u[1:3]), [2, 2, 2, 2]),
    (lambda u, y: u.__setitem__(slice(1, 3), u[1:3].detach()), [2, 0, 0, 2]),
    (lambda u, y: u.__setitem__(slice(1, 3), u.detach()[1:3]), [2, 0, 0, 2]),
    (lambda u, y: u.__setitem__(slice(1, 3), _untracked(u)), [2, 0, 0, 2]),
    (lambda u, y: u.__setitem__(slice(0, 2), u[1:3].clone()), [0, 2, 4, 2]),
    (lambda u, y: u.__setitem__(slice(1, 3), u[1:3].mul_(y)), [2, 20, 40, 2]),
])
def test_gradients_of_memory_written_over_itself(write, slope) -> None:
    w = minigrad.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    u = w * 2
    write(u, minigrad.tensor([10.0, 20.0]))
    u.sum().backward()
    assert w.grad.tolist() == slope
    with pytest.raises(RuntimeError, match="a view of a leaf Variable"):
        w[1:3] = w[1:3]


def _untracked(u):
    with minigrad.no_grad():
        return u[1:3]


def test_the_same_index_of_tensors_that_lie_otherwise() -> None:
    """What is remembered of an index holds for one shape and its strides, wherever the tensor begins."""
    array = np.arange(24.0, dtype=np.float32).reshape(4, 6)
    x = minigrad.tensor(array)
    for view, numbers in ((x, array), (x.t(), array.T), (x[1:, 1:], array[1:, 1:]), (x[2:], array[2:]),
                            (x[:, ::2], array[:, ::2]), (x[1:, 1:].t(), array[1:, 1:].T)):
        for index in ((slice(1, 3), 1), (Ellipsis, slice(None, None, 2)), (None, slice(1, 2)), 1, (1, True), (1, 1)):
            for _ in range(2):
                got = view[index]
                assert got.numpy().tobytes() == numbers[index].tobytes() and got.shape == numbers[index].shape


def test_two_ellipses() -> None:
    """The first stands for all dimensions that are left, the second for none."""
    x = minigrad.arange(24).reshape(2, 3, 4)
    assert x[0, ..., ...].tolist() == x[0].tolist()
    assert x[..., None, ...].shape == (2, 3, 4, 1)


def test_remembered_indexes_are_bounded() -> None:
    x = minigrad.zeros(100, 100)
    for i in range(100):
        for j in range(45):
            x[i, j:]
    assert 0 < len(indexing._views) <= indexing.MOST_VIEWS


@pytest.mark.parametrize("dtype", [minigrad.float64, minigrad.int64, minigrad.bool])
@pytest.mark.parametrize("index", [
    (slice(None), tensor([True, False])), (..., tensor([True, False])), (None, slice(None), tensor([True, False])),
    tensor([True, False, True]), (slice(None, None, 2), tensor([True, True])),
    minigrad.zeros(3, 2, dtype=minigrad.bool)])
def test_one_element_of_any_dtype_is_written_where_a_mask_holds(index, dtype):
    places = tuple(i.numpy() if isinstance(i, minigrad.Tensor) else i for i in index) if isinstance(
        index, tuple) else index.numpy()
    for value in (tensor(7), tensor([1.0]), tensor([[1]]), 3):
        x, expected = minigrad.zeros(3, 2, dtype=dtype), np.zeros((3, 2), dtype.numpy)
        x[index] = value
        expected[places] = value.item() if isinstance(value, minigrad.Tensor) else value
        np.testing.assert_array_equal(x.numpy(), expected)
    x = minigrad.zeros(3, 2).index_put_((tensor([True, False, True]),), tensor(4))
    assert x.tolist() == [[4, 4], [0, 0], [4, 4]]


def test_masks_without_elements():
    for shape, index in (((0,), (None, minigrad.zeros(0, dtype=minigrad.bool))),
                         ((2, 0), (slice(None), minigrad.zeros(0, dtype=minigrad.bool))),
                         ((0, 2), minigrad.zeros(0, 2, dtype=minigrad.bool))):
        x = minigrad.zeros(shape)
        x[index] = 3
        x[index] = tensor(3)
        assert x.shape == shape


def test_what_is_written_where_no_mask_holds_makes_it_require_a_gradient():
    x, value = minigrad.zeros(3), tensor(1.0, requires_grad=True)
    x[tensor([False] * 3)] = value
    x.sum().backward()
    assert x.requires_grad and value.grad.item() == 0


@pytest.mark.parametrize(("program", "error", "words"), [
    ("x.__setitem__((slice(None), t([True])), t(1))", IndexError, r"mask \[1\] at index 0 .* \[3, 2\] at index 1"),
    ("x.__setitem__((slice(None), t([True, False])), t([1, 1]))", RuntimeError, "shape mismatch"),
    ("x.__setitem__((slice(None), t([True, True])), t([1, 1]))", RuntimeError, "source and destination dtypes"),
    ("m.hstack([])", RuntimeError, "hstack expects a non-empty TensorList"),
    ("m.vstack([])", RuntimeError, "vstack expects a non-empty TensorList"),
    ("m.dstack([])", RuntimeError, "dstack expects a non-empty TensorList"),
    ("m.column_stack([])", RuntimeError, "column_stack expects a non-empty TensorList"),
    ("x.roll(())", RuntimeError, "`shifts` required"), ("x.narrow_copy(2, 0, 1)", RuntimeError, "Expected dim < "),
    ("x[0].vsplit(2)", RuntimeError, "torch.vsplit requires a tensor with at least 2 dimension, but")])
def test_parts_that_are_not_there(program, error, words):
    with pytest.raises(error, match=words):
        eval(program, {"x": minigrad.zeros(3, 2), "t": tensor, "m": minigrad})


def test_numbers_are_copied_as_tensors_are_cast():
    assert tensor([6, 7], dtype=minigrad.uint8).copy_(300).tolist() == [44, 44]
    assert tensor([6.0], dtype=minigrad.float16).copy_(1e10).item() == np.inf
    assert tensor([6], dtype=minigrad.int32).copy_(1e10).item() == tensor(1e10, dtype=minigrad.float64).int().item()


MASK = tensor([True, False])


@pytest.mark.parametrize("write", [lambda x, v: x.__setitem__(MASK, v), lambda x, v: x.masked_fill_(MASK, v),
                                   lambda x, v: x.masked_fill(MASK, v)])
def test_a_value_for_a_mask_must_fit(write):
    for dtype, value, name in (("float32", 1 + 2j, "float"), ("int8", 1 + 2j, "int8_t"), ("int8", 300, "int8_t"),
                               ("float16", 1e10, "c10::Half"), ("uint8", math.nan, "uint8_t")):
        x = minigrad.zeros(2, dtype=getattr(minigrad, dtype))
        with pytest.raises(RuntimeError, match=f"value cannot be converted to type {name} without overflow"):
            write(x, tensor(value))
        assert x.tolist() == [0, 0]
    x = minigrad.zeros(2)
    x[MASK] = tensor([complex(2, 0)])
    assert x.tolist() == [2, 0]


def test_what_is_written_at_index_tensors_is_no_other_name_of_the_same_memory():
    x = minigrad.ones(2)
    for other in (x, x.detach(), x[:], x.view(2)):
        with pytest.raises(RuntimeError, match="some elements of the input tensor and the written-to tensor refer"):
            x[tensor([0, 1])] = other


def test_indexes_that_choose_nothing_are_not_looked_at():
    x, at = minigrad.ones(1, 0), minigrad.tensor([1, 2])
    assert x[at].shape == (2, 0) and x.index_put((at,), minigrad.tensor(2.0)).shape == (1, 0)
    x[at] = 1
    for wrong in (lambda: x[:, at], lambda: minigrad.ones(1, 1)[at], lambda: x[:0][at]):
        with pytest.raises(IndexError, match="is out of bounds for dimension"):
            wrong()


def test_a_value_with_more_dimensions_is_another_tensor_than_what_is_written():
    x = minigrad.tensor([[1 + 1j, 2 + 2j]]).real  # has gaps, so that PyTorch does not look where its elements are
    x[tensor([-1])] = x
    assert x.tolist() == [[1, 2]]
    x[0][x[0] > 1] = tensor([[[7.0]]])
    assert x.tolist() == [[1, 7]]


@pytest.mark.parametrize("change", [
    lambda i: i.add_(5), lambda i: i.copy_(minigrad.tensor([7, 1])), lambda i: i.__setitem__(0, 9),
    lambda i: i.set_(minigrad.tensor([0, 8])), lambda i: i[1:].fill_(6), lambda i: i.numpy().__setitem__(1, 12),
    lambda i: i.numpy().fill(-7), lambda i: i[1:].numpy().fill(11), lambda i: np.from_dlpack(i).fill(-9),
    lambda i: np.asarray(i).fill(4), lambda i: i.untyped_storage().copy_(minigrad.tensor([8, 8]).untyped_storage())])
@pytest.mark.parametrize("computed", [False, True])
def test_indexes_are_looked_at_again_after_each_change(change, computed):
    """Their bounds are remembered, not those of what has another value now, be it by way of NumPy."""
    x, i = minigrad.arange(4) * 10, minigrad.tensor([-1, 2])
    for _ in range(3):
        assert x[i].tolist() == [30, 20]
        assert x.gather(0, minigrad.tensor([1, 0])).tolist() == [10, 0]
    change(i)
    if computed:
        i.realize()
    wrong = next(n for n in i.tolist() if not -4 <= n < 4)
    with pytest.raises(IndexError, match=str(wrong)):
        x[i].realize()
    with pytest.raises(RuntimeError, match="out of bounds"):
        x.gather(0, i)
    i.copy_(minigrad.tensor([0, -4]))
    assert x[i].tolist() == [0, 0]


def test_memory_that_numpy_sees_is_looked_at_each_time():
    x, a = minigrad.arange(4) * 10, np.array([0, 1])
    i = minigrad.from_numpy(a)
    assert x[i].tolist() == [0, 10]
    a[:] = -1, 3
    assert x[i].tolist() == [30, 30]
    a[0] = 4
    with pytest.raises(IndexError, match="index 4 is out of bounds"):
        x[i]
