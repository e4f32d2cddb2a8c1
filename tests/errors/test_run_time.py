"""Errors that only a run can find: an index tensor out of range that is not known before. Nothing changes by them."""

from __future__ import annotations

import pytest

import minigrad


def test_pending_index_out_of_range() -> None:
    x = minigrad.arange(5).float().clone()
    index = minigrad.tensor([1, 2]) + 3
    y = x[index] * 2
    with pytest.raises(IndexError):
        y.realize()
    with pytest.raises(IndexError):
        y.tolist()
    assert x[minigrad.tensor([1, 2]) + 1].tolist() == [2, 3] and x.tolist() == [0, 1, 2, 3, 4]


def test_a_wrong_index_is_forgotten_by_the_next_run() -> None:
    """The words that say so are kept between runs of the same program, and are 0 again."""
    x = minigrad.arange(5).float().clone()
    for shift in (1, 3, 2, 9, -1, 0):
        y = x[minigrad.tensor([0, 1]) + minigrad.tensor([shift])]
        if 0 <= shift <= 3:
            assert y.tolist() == [shift, shift + 1]
        elif shift == -1:
            assert y.tolist() == [4, 0]
        else:
            with pytest.raises(IndexError):
                y.realize()


def test_pending_index_out_of_range_of_a_write() -> None:
    x = minigrad.zeros(3).realize()
    before = x.clone()
    with pytest.raises(IndexError):
        x[minigrad.tensor([1]) + 2] = 5.0
        x.realize()
    assert before.tolist() == [0, 0, 0]


def test_error_in_backward_leaves_gradients_alone() -> None:
    w = minigrad.ones(3, requires_grad=True)
    (w * 2).sum().backward()
    loss = w[minigrad.tensor([1]) + 2].sum()
    with pytest.raises(IndexError):
        loss.backward()
    assert w.grad.tolist() == [2, 2, 2]
    (w * 2).sum().backward()
    assert w.grad.tolist() == [4, 4, 4]
