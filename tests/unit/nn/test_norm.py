"""Stage: tests of the front. In: normalisation layers. Out: the statistics that they should have, exactly known, and
running statistics that everybody sees at once. Next: ``test_dropout.py``."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F


def _batch(*shape: int) -> Any:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32) * 3 + 5


@pytest.mark.parametrize("layer,shape,axes", [
    (lambda: nn.BatchNorm1d(4), (6, 4), (0,)), (lambda: nn.BatchNorm2d(3), (4, 3, 2, 5), (0, 2, 3)),
    (lambda: nn.InstanceNorm1d(3), (4, 3, 7), (2,)), (lambda: nn.LayerNorm(7), (4, 7), (1,)),
    (lambda: nn.GroupNorm(1, 3), (4, 3, 5), (1, 2)),
])
def test_the_result_has_mean_0_and_variance_1(layer: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    result = layer()(mg.tensor(_batch(*shape))).detach().numpy()
    np.testing.assert_allclose(result.mean(axes), 0, atol=1e-5)
    np.testing.assert_allclose(result.var(axes), 1, rtol=1e-3)


def test_running_statistics() -> None:
    layer, x = nn.BatchNorm1d(4, momentum=0.25), _batch(6, 4)
    layer(mg.tensor(x))
    np.testing.assert_allclose(layer.running_mean.numpy(), 0.25 * x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.running_var.numpy(), 0.75 + 0.25 * x.var(0, ddof=1), rtol=1e-5)
    assert layer.num_batches_tracked.item() == 1 and layer.num_batches_tracked.dtype is mg.int64
    layer.eval()
    before = {key: value.tolist() for key, value in layer.state_dict().items()}
    result = layer(mg.tensor(x))
    expected = (x - layer.running_mean.numpy()) / np.sqrt(layer.running_var.numpy() + 1e-5)
    np.testing.assert_allclose(result.detach().numpy(), expected, rtol=1e-5, atol=1e-5)
    assert {key: value.tolist() for key, value in layer.state_dict().items()} == before


def test_a_batch_of_nothing_leaves_the_statistics_alone() -> None:
    layer = nn.BatchNorm1d(3)
    assert layer(mg.ones(0, 3)).shape == (0, 3)
    assert layer.running_mean.tolist() == [0] * 3 and layer.num_batches_tracked.item() == 1
    assert F.batch_norm(mg.ones(0), mg.ones(0), mg.ones(0), training=True).shape == (0,)


def test_without_a_momentum_they_are_the_mean_of_all_batches() -> None:
    layer, x = nn.BatchNorm1d(4, momentum=None), _batch(3, 6, 4)
    for part in x:
        layer(mg.tensor(part))
    np.testing.assert_allclose(layer.running_mean.numpy(), x.mean(1).mean(0), rtol=1e-5)


def test_local_responses_of_integers_are_taken_of_whole_means() -> None:
    x = mg.arange(6).reshape(1, 3, 2) + 1
    found = F.local_response_norm(x, 2, alpha=1.0, beta=1.0, k=1.0)
    assert found.dtype is mg.float32
    means = [[0, 2], [5, 10], [17, 26]]  # of x² and the channel's before
    np.testing.assert_allclose(found[0].numpy(), x[0].numpy() / (1.0 + np.array(means)), rtol=1e-6)


def test_running_statistics_require_no_gradient() -> None:
    layer = nn.BatchNorm1d(2)
    layer(mg.tensor(_batch(5, 2), requires_grad=True))
    assert not layer.running_mean.requires_grad and layer.running_mean.grad_fn is None


def test_pending_statistics_are_copied_and_pickled() -> None:
    layer = nn.BatchNorm1d(2)
    state = layer.state_dict()
    layer(mg.tensor(_batch(5, 2)))
    twin, other = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer.running_mean))
    layer(mg.tensor(_batch(5, 2)))
    assert twin.num_batches_tracked.item() == 1 and state["num_batches_tracked"].item() == 2
    assert twin.running_mean.tolist() == other.tolist() != layer.running_mean.tolist()


def test_a_large_mean_costs_no_digits() -> None:
    x = (1e4 + np.random.default_rng(0).standard_normal((512, 2)) * 0.5).astype(np.float32)
    layer = nn.BatchNorm1d(2, momentum=1.0)
    layer(mg.tensor(x))
    np.testing.assert_allclose(layer.running_var.numpy(), x.astype(np.float64).var(0, ddof=1), rtol=1e-4)


def test_gradients() -> None:
    """Finite differences of batch norm in training."""
    rng = np.random.default_rng(1)
    x, w, b, c = [rng.standard_normal(shape) for shape in ((5, 3), (3,), (3,), (5, 3))]

    def value(x: Any, w: Any, b: Any) -> float:
        y = F.batch_norm(mg.tensor(x), None, None, mg.tensor(w), mg.tensor(b), training=True)
        return float((y * mg.tensor(c)).sum())

    leaves = [mg.tensor(a, requires_grad=True) for a in (x, w, b)]
    (F.batch_norm(leaves[0], None, None, leaves[1], leaves[2], training=True) * mg.tensor(c)).sum().backward()
    for number, (array, leaf) in enumerate(zip((x, w, b), leaves, strict=True)):
        for place in list(np.ndindex(array.shape))[::4]:
            ends = []
            for step in (1e-5, -1e-5):
                moved = [a.copy() for a in (x, w, b)]
                moved[number][place] += step
                ends.append(value(*moved))
            assert abs(leaf.grad[place].item() - (ends[0] - ends[1]) / 2e-5) < 1e-6


@pytest.mark.parametrize("call,error,message", [
    (lambda: nn.BatchNorm2d(3)(mg.ones(2, 3, 4)), ValueError, r"expected 4D input \(got 3D input\)"),
    (lambda: nn.BatchNorm1d(3)(mg.ones(2)), ValueError, r"expected 2D or 3D input \(got 1D input\)"),
    (lambda: nn.BatchNorm1d(3)(mg.ones(1, 3)), ValueError, "Expected more than 1 value per channel when training"),
    (lambda: nn.BatchNorm1d(3)(mg.ones(2, 4)), RuntimeError, "running_mean should contain 4 elements not 3"),
    (lambda: F.batch_norm(mg.ones(3), mg.ones(0), mg.ones(0)), IndexError, "Dimension out of range"),
    (lambda: F.batch_norm(mg.ones(2, 3), None, None), RuntimeError, "running_mean must be defined in evaluation mode"),
    (lambda: F.batch_norm(mg.ones(2, 3), mg.ones(3), None, training=True), ValueError, "must either both be None"),
    (lambda: F.batch_norm(mg.ones(2, 3), None, None, training=True, eps=0), ValueError, "eps must be positive"),
    (lambda: F.batch_norm(mg.ones(2, 3), None, None, eps=-1), ValueError, "eps must be non-negative"),
    (lambda: F.instance_norm(mg.ones(2, 3, 1)), ValueError, "Expected more than 1 spatial element"),
    (lambda: F.instance_norm(mg.ones(2, 3, 4), use_input_stats=False), RuntimeError, "to be defined when use_input"),
    (lambda: nn.InstanceNorm1d(3, affine=True)(mg.ones(2, 4, 5)), ValueError, "size at dim=1 to match"),
    (lambda: nn.InstanceNorm2d(3)(mg.ones(2, 3)), ValueError, r"expected 3D or 4D input \(got 2D input\)"),
    (lambda: nn.SyncBatchNorm(3)(mg.ones(2)), ValueError, "expected at least 2D input"),
    (lambda: nn.SyncBatchNorm(3)(mg.ones(2, 0)), ValueError, "number of input channels should be non-zero"),
    (lambda: nn.GroupNorm(2, 5), ValueError, r"num_channels \(5\) must be divisible by num_groups \(2\)"),
    (lambda: F.group_norm(mg.ones(2), 1), RuntimeError, "Expected at least 2 dimensions"),
    (lambda: F.group_norm(mg.ones(4, 5), 2), RuntimeError, "to be divisible by num_groups"),
    (lambda: F.group_norm(mg.ones(4, 5), 0), (RuntimeError, ZeroDivisionError), "num groups|zero"),
    (lambda: F.group_norm(mg.ones(4, 4), 2, mg.ones(3)), RuntimeError, "Expected weight to be a vector of size"),
    (lambda: F.rms_norm(mg.ones(2, 4), [3]), RuntimeError, r"expected input with shape \[\*3\]"),
    (lambda: F.local_response_norm(mg.ones(2, 4), 2), ValueError, "Expected 3D or higher dimensionality"),
    (lambda: nn.CrossMapLRN2d(2)(mg.ones(2, 4)), ValueError, "Expected input to be 4D, got 2D instead"),
    (lambda: F.normalize(mg.arange(3), dim=0), RuntimeError, "Expected a floating point or complex tensor"),
    (lambda: nn.InstanceNorm1d(2).load_state_dict({"running_mean": mg.zeros(2)}), RuntimeError, "before 0.4.0"),
])
def test_errors(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_channels_that_are_not_used_warn() -> None:
    with pytest.warns(UserWarning, match="does not match num_features"):
        nn.InstanceNorm1d(3)(mg.ones(2, 4, 5))
