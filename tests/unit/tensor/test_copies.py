"""Stage: tests. In: the view ops of ``copies.py``. Out: their twins copy what the view shows, and keep its gradient.
Next: ``test_creation.py``."""

import numpy as np
import pytest

import minigrad
from minigrad.tensor import copies

ARGUMENTS = {
    "as_strided": ((2, 2), (1, 3)), "diagonal": (1,), "expand": ((2, 3, 4),), "permute": ((1, 0),), "select": (1, 2),
    "split": (2,), "split_with_sizes": ([1, 2],), "transpose": (0, 1), "unfold": (1, 2, 1), "unsqueeze": (1,),
    "view": ((4, 3),), "slice": (1, 1, 4, 2),
}
PLAIN = ("alias", "detach", "squeeze", "t", "unbind")


@pytest.mark.parametrize("name", [*ARGUMENTS, *PLAIN])
def test_a_copy_shows_what_the_view_shows_and_shares_no_memory(name):
    x = minigrad.arange(12.0).reshape(3, 4)
    arguments = ARGUMENTS.get(name, ())
    shown, copied = copies.SHOWN[name](x, *arguments), getattr(minigrad, f"{name}_copy")(x, *arguments)
    if not isinstance(shown, tuple):
        shown, copied = (shown,), (copied,)
    expected = [part.numpy().copy() for part in shown]
    x.zero_()
    for part, copy, values in zip(shown, copied, expected, strict=True):
        assert not part.numpy().any()
        np.testing.assert_array_equal(copy.numpy(), values)


def test_a_copy_takes_its_gradient_and_out():
    x = minigrad.arange(6.0).requires_grad_()
    minigrad.view_copy(x, (2, 3)).square().sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2 * np.arange(6.0))
    out = minigrad.empty(0)
    assert minigrad.t_copy(minigrad.ones(2, 3), out=out) is out
    assert out.shape == (3, 2)


def test_parts_are_copied() -> None:
    x = minigrad.tensor([1 + 2j])
    minigrad.view_as_real_copy(x).mul_(2)
    pair = minigrad.tensor([[3.0, 4.0]])
    minigrad.view_as_complex_copy(pair).mul_(2)
    assert x.tolist() == [1 + 2j] and pair.tolist() == [[3.0, 4.0]]
    assert minigrad.view_as_real_copy(x).tolist() == [[1.0, 2.0]]
    assert minigrad.view_as_complex_copy(pair).tolist() == [3 + 4j]
