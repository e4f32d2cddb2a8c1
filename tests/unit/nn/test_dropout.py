"""Stage: tests of the front. In: dropout with fixed seeds. Out: as many elements dropped as asked for, others at each
call, the same ones backward and with the same seed. Next: ``test_containers.py``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.nn import functional as F


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_as_many_are_dropped_as_asked_for(p: float) -> None:
    mg.manual_seed(5)
    kept = F.dropout(mg.ones(200, 300), p).numpy() != 0
    deviation = np.sqrt(p * (1 - p) / kept.size)
    assert abs(kept.mean() - (1 - p)) < 4 * deviation
    assert abs(kept.mean(0) - (1 - p)).max() < 5 * np.sqrt(p * (1 - p) / 200)  # in each column
    for shift in (1, 2, 300):  # neighbours have nothing to do with each other
        flat = kept.reshape(-1) - (1 - p)
        assert abs(np.mean(flat[shift:] * flat[:-shift])) < 5 * p * (1 - p) / np.sqrt(kept.size)


def test_what_is_kept_is_scaled() -> None:
    mg.manual_seed(5)
    assert set(F.dropout(mg.ones(1000), 0.2).tolist()) == {0.0, 1.25}
    assert F.dropout(mg.ones(3), 0.0).tolist() == [1.0] * 3 and F.dropout(mg.ones(3), 1.0).tolist() == [0.0] * 3


def test_each_call_has_its_own_mask_and_a_seed_gives_them_again() -> None:
    def masks() -> Any:
        mg.manual_seed(7)
        layer = nn.Dropout()
        return [layer(mg.ones(64)).tolist() for _ in range(5)]

    first = masks()
    assert masks() == first and len({str(mask) for mask in first}) == 5
    state = mg.get_rng_state()
    again = F.dropout(mg.ones(64)).tolist()
    mg.set_rng_state(state)
    assert F.dropout(mg.ones(64)).tolist() == again  # as a checkpoint computes it again


@pytest.mark.parametrize("function", [F.dropout, F.alpha_dropout, F.feature_alpha_dropout, F.dropout1d])
@pytest.mark.parametrize("realised", [False, True])
def test_backward_drops_the_same(function: Any, realised: bool) -> None:
    mg.manual_seed(3)
    x = mg.ones(8, 16, requires_grad=True)
    y = function(x.unsqueeze(-1), 0.4, True)
    if realised:
        y.realize()
    y.sum().backward()
    values = np.unique(y.detach().numpy())
    assert len(values) == 2
    kept = (y.detach().numpy() == values[1]).reshape(8, 16)
    assert ((x.grad.numpy() != 0) == kept).all()


@pytest.mark.parametrize("function,dims", [(F.dropout1d, 3), (F.dropout2d, 4), (F.dropout3d, 5),
                                           (F.feature_alpha_dropout, 4)])
def test_whole_channels(function: Any, dims: int) -> None:
    mg.manual_seed(3)
    result = function(mg.ones(16, 32, *[3] * (dims - 2)), 0.5, True).numpy().reshape(16 * 32, -1)
    assert (result == result[:, :1]).all() and 0.4 < (result[:, 0] > 0).mean() < 0.6


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    mg.manual_seed(3)
    x = mg.randn(400, 500)
    y = nn.AlphaDropout(0.3)(x)
    assert abs(y.mean().item()) < 0.01 and abs(y.std().item() - 1) < 0.01


@pytest.mark.parametrize("function", [F.dropout, F.alpha_dropout, F.dropout1d])
def test_in_place(function: Any) -> None:
    mg.manual_seed(3)
    x = mg.ones(4, 6)
    mg.manual_seed(4)
    expected = function(x, 0.5, True).tolist()
    mg.manual_seed(4)
    assert function(x, 0.5, True, True).tolist() == expected == x.tolist()
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        function(mg.ones(4, 6, requires_grad=True), 0.5, True, True)


def test_evaluation_is_the_identity() -> None:
    x = mg.ones(3, 4)
    for layer in (nn.Dropout(), nn.Dropout1d(), nn.AlphaDropout()):
        assert layer.eval()(x).tolist() == x.tolist()
    assert F.dropout(x, training=False) is x


def test_a_loop_with_dropout_is_replayed_with_a_mask_for_each_step() -> None:
    x = mg.ones(8, 16, requires_grad=True)
    for replay in (1, 0):
        with mg.config(REPLAY=replay):
            mg.manual_seed(9)
            masks = []
            for _ in range(6):
                x.grad = None
                with mg.inspect() as seen:
                    F.dropout(x, 0.5).sum().backward()
                masks.append(x.grad.tolist())
            assert len({str(mask) for mask in masks}) == 6
            if replay:
                assert seen.replayed == 1
                first = masks
    assert masks == first


def test_under_jit_each_call_has_its_own_mask() -> None:
    dropped = mg.jit(lambda x: F.dropout(x, 0.5))
    mg.manual_seed(2)
    compiled = [dropped(mg.ones(64)).tolist() for _ in range(6)]
    mg.manual_seed(2)
    assert compiled == [F.dropout(mg.ones(64), 0.5).tolist() for _ in range(6)]
    assert len({str(mask) for mask in compiled}) == 6


def test_pytorchs_masks() -> None:
    """As PyTorch 2.13 drops with seed 0."""
    with mg.config(TORCH_RNG=1):
        mg.manual_seed(0)
        assert (F.dropout(mg.ones(12)) != 0).tolist() == EXPECTED


EXPECTED = [bool(int(c)) for c in "001000110111"]


@pytest.mark.parametrize("call,error,message", [
    (lambda: nn.Dropout(1.5), ValueError, "dropout probability has to be between 0 and 1, but got 1.5"),
    (lambda: F.dropout(mg.ones(2), -0.1), ValueError, "dropout probability has to be between 0 and 1, but got -0.1"),
    (lambda: F.dropout(mg.arange(3)), RuntimeError, "result type Float can't be cast to the desired output type Long"),
    (lambda: F.dropout1d(mg.ones(2)), RuntimeError, "dropout1d: Expected 2D or 3D input, but received a 1D input"),
    (lambda: F.feature_alpha_dropout(mg.ones(2), 0.5, True), RuntimeError, "requires at least 2 dimensions"),
])
def test_errors(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_other_dimensions_warn() -> None:
    with pytest.warns(UserWarning, match="dropout2d: Received a 2-D input"):
        F.dropout2d(mg.ones(2, 2))
    with pytest.warns(UserWarning, match="assuming that channel-wise 1D dropout"):
        F.dropout2d(mg.ones(2, 2, 2))
    with pytest.warns(UserWarning, match="dropout3d: Received a 2-D input"):
        F.dropout3d(mg.ones(2, 2))
