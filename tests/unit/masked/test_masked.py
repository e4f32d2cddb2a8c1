"""Stage: tests. In: Tensors and masks. Out: what the mask leaves out has no influence, whatever stands there.
Next: ``tests/unit/signal/test_windows.py``."""

import numpy as np
import pytest

import minigrad
from minigrad import masked

RNG = np.random.default_rng(0)
MASK = RNG.random((4, 5)) < 0.6
MASK[0] = True
MASK[:, :2] = True
VALUES = RNG.standard_normal((4, 5))


def _left(function, axis=1):
    return [function(row[keep]) for row, keep in zip(VALUES, MASK, strict=True)]


REDUCTIONS = {
    "sum": np.sum, "prod": np.prod, "amax": lambda r: r.max(initial=-np.inf), "amin": lambda r: r.min(initial=np.inf),
    "mean": np.mean, "var": lambda r: np.var(r, ddof=1), "std": lambda r: np.std(r, ddof=1),
    "logsumexp": lambda r: np.log(np.exp(r).sum()), "norm": lambda r: np.sqrt((r * r).sum()),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_see_only_what_the_mask_leaves(name):
    x, mask = minigrad.tensor(VALUES), minigrad.tensor(MASK)
    options = {"dim": 1, "mask": mask}
    result = getattr(masked, name)(x, **options)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(result.numpy(), _left(REDUCTIONS[name]), rtol=1e-12)
    poisoned = minigrad.tensor(np.where(MASK, VALUES, 1e30))
    np.testing.assert_array_equal(getattr(masked, name)(poisoned, **options).numpy(), result.numpy())


@pytest.mark.parametrize("name", ["softmax", "softmin", "log_softmax"])
def test_normalisations_are_those_of_the_rest(name):
    x = minigrad.tensor(VALUES)
    result = getattr(masked, name)(x, 1, mask=minigrad.tensor(MASK)).numpy()
    for row, keep, found in zip(VALUES, MASK, result, strict=True):
        expected = getattr(minigrad.nn.functional, name)(minigrad.tensor(row[keep]), 0).numpy()
        np.testing.assert_allclose(found[keep], expected, rtol=1e-12)
        assert (found[~keep] == (-np.inf if name == "log_softmax" else 0)).all()


def test_gradients_are_0_where_nothing_is_left():
    x = minigrad.tensor(VALUES).requires_grad_()
    masked.sum(x, mask=minigrad.tensor(MASK)).backward()
    np.testing.assert_array_equal(x.grad.numpy(), MASK)


def test_errors():
    with pytest.raises(IndexError, match="mask dimensionality higher"):
        masked.sum(minigrad.ones(2), mask=minigrad.ones(2, 2, dtype=minigrad.bool))
    with pytest.raises(ValueError, match="Could not infer output dtype"):
        masked.mean(minigrad.ones(2, dtype=minigrad.int64))
    with pytest.raises(RuntimeError, match="appears multiple times"):
        masked.sum(minigrad.ones(2, 2), (0, 0))
    with pytest.raises(ValueError, match="no fully masked out rows"):
        masked.median(minigrad.tensor([[1, 2]]), mask=minigrad.tensor([[False, False]]))
