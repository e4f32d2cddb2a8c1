"""Indexing against NumPy on random indices, where both agree; PyTorch's own rules by example."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad

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


def test_lists_of_numbers_as_values() -> None:
    x = minigrad.zeros(2, 3)
    x[0] = [1, 2, 3]
    x[:, 1] = np.array([7, 8])
    assert x.tolist() == [[1, 7, 3], [0, 8, 0]]


@pytest.mark.parametrize("index", [slice(None, None, -1), slice(None, None, 0)])
def test_negative_steps(index) -> None:
    with pytest.raises(ValueError, match="step must be greater than zero"):
        minigrad.ones(3)[index]
