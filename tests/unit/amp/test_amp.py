"""Stage: tests. In: programs inside ``autocast``, plain, jitted and replayed, and gradients that overflow. Out: the
types that the tables say; steps that are left out.
Next: ``tests/unit/func/test_func.py``."""

from __future__ import annotations

import threading
import warnings

import pytest

import minigrad
from minigrad import nn
from minigrad.amp import GradScaler, autocast
from minigrad.amp.autocast_mode import get_autocast_dtype, is_autocast_enabled, set_autocast_enabled
from minigrad.tensor.autocast import CPU, CUDA, rule_of


def test_products_are_computed_in_a_half_type_and_losses_in_float32() -> None:
    x, w = minigrad.ones(2, 3), minigrad.ones(4, 3, requires_grad=True)
    with autocast("cpu"):
        y = nn.functional.linear(x, w)
        loss = nn.functional.mse_loss(y, minigrad.zeros(2, 4))
        assert nn.functional.huber_loss(y, y).dtype is minigrad.float32
        assert (y.dtype, loss.dtype, (y + x.sum()).dtype) == (minigrad.bfloat16, minigrad.float32, minigrad.bfloat16)
    loss.backward()
    assert w.grad is not None
    assert w.grad.dtype is minigrad.float32
    assert w.grad.tolist() == [[1.5] * 3] * 4
    assert nn.functional.linear(x, w).dtype is minigrad.float32


def test_float64_integers_and_other_ops_are_left_alone() -> None:
    with autocast("cpu", dtype=minigrad.float16):
        a = minigrad.ones(2, 2)
        assert (a.double() @ a.double()).dtype is minigrad.float64
        assert (a.int() @ a.int()).dtype is minigrad.int32
        assert (a @ a).dtype is minigrad.float16
        assert a.exp().dtype is a.softmax(0).dtype is minigrad.float32
        assert (a @ a).softmax(0).dtype is minigrad.float16


def test_rules_by_device() -> None:
    assert rule_of("softmax") == (None, "float32")
    assert rule_of("mm") == ("lower", "lower")
    assert rule_of("relu") is None
    assert (rule_of("prod") or "")[CPU] == (rule_of("prod") or "")[CUDA] == "float32"


def test_the_state_is_put_back_and_belongs_to_the_thread() -> None:
    seen = []
    with pytest.raises(ZeroDivisionError), autocast("cpu", dtype=minigrad.float16):
        assert get_autocast_dtype("cpu") is minigrad.float16
        thread = threading.Thread(target=lambda: seen.append(is_autocast_enabled("cpu")))
        thread.start()
        thread.join()
        with autocast("cpu", enabled=False):
            assert not is_autocast_enabled("cpu")
        1 / 0  # noqa: B018
    assert seen == [False]
    assert not is_autocast_enabled("cpu")
    assert get_autocast_dtype("cpu") is minigrad.bfloat16
    set_autocast_enabled("cpu", True)
    try:
        assert (minigrad.ones(1, 1) @ minigrad.ones(1, 1)).dtype is minigrad.bfloat16
    finally:
        set_autocast_enabled("cpu", False)


def test_a_jitted_function_is_recorded_for_each_state() -> None:
    product = minigrad.jit(lambda a: a @ a)
    a = minigrad.ones(2, 2)
    for _ in range(3):
        assert product(a).dtype is minigrad.float32
        with autocast("cpu"):
            assert product(a).dtype is minigrad.bfloat16


def test_a_training_loop_is_replayed() -> None:
    layer = nn.Linear(3, 2)
    sgd = minigrad.optim.SGD(layer.parameters(), lr=0.1)
    x, losses = minigrad.ones(4, 3), []
    for _ in range(8):
        sgd.zero_grad()
        with minigrad.inspect() as seen:
            with autocast("cpu"):
                loss = layer(x).square().mean()
            loss.backward()
            sgd.step()
        losses.append(loss.item())
    assert seen.recorded == []
    assert losses == sorted(losses, reverse=True)


def test_a_wrong_device_or_type() -> None:
    with pytest.raises(RuntimeError, match="unsupported autocast device_type 'abacus'"):
        autocast("abacus")
    with pytest.warns(UserWarning, match="target dtype is not supported"):
        assert not autocast("cpu", dtype=minigrad.float64)._enabled


def test_a_step_that_overflows_is_left_out() -> None:
    w = nn.Parameter(minigrad.ones(2))
    sgd, scaler = minigrad.optim.SGD([w], lr=0.5), GradScaler("cpu", init_scale=8.0, growth_interval=2)
    for overflow, expected, scale in ((True, 1.0, 4.0), (False, 0.5, 4.0), (False, 0.0, 8.0)):
        sgd.zero_grad()
        scaler.scale(w.sum()).backward()
        assert w.grad is not None
        if overflow:
            w.grad[1] = float("inf")
        scaler.step(sgd)
        scaler.update()
        assert w.tolist() == [expected] * 2
        assert scaler.get_scale() == scale


def test_unscaling_is_one_run_for_all_parameters() -> None:
    ws = [nn.Parameter(minigrad.ones(n)) for n in (2, 3, 4)]
    sgd, scaler = minigrad.optim.SGD(ws, lr=0.5), GradScaler("cpu", init_scale=8.0)
    scaler.scale(sum([w.sum() for w in ws])).backward()
    with minigrad.inspect() as seen:
        scaler.unscale_(sgd)
    assert seen.native_calls + seen.tier0 <= 2
    assert [w.grad.tolist() for w in ws if w.grad is not None] == [[1.0] * 2, [1.0] * 3, [1.0] * 4]


def test_without_cuda_the_scaler_is_off() -> None:
    if minigrad.cuda.is_available():
        pytest.skip("there is CUDA")
    with pytest.warns(UserWarning, match="CUDA is not available"):
        scaler = GradScaler()
    assert not scaler.is_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert not minigrad.cuda.amp.GradScaler().is_enabled()


def test_sums_of_products_and_copies_take_one_type() -> None:
    a, one = minigrad.ones(2, 2), minigrad.ones(1, 2, dtype=minigrad.bfloat16)
    image, grid = minigrad.ones(1, 1, 2, 2, dtype=minigrad.bfloat16), minigrad.zeros(1, 2, 2, 2)
    with minigrad.amp.autocast("cpu", minigrad.bfloat16):
        assert minigrad.addmm(minigrad.ones(2), a, a).dtype is minigrad.bfloat16
        assert minigrad.baddbmm(minigrad.ones(2), a[None], a[None]).dtype is minigrad.bfloat16
        assert minigrad.addbmm(minigrad.ones(2), a[None], a[None]).dtype is minigrad.bfloat16
        assert a.index_copy(0, minigrad.tensor([0]), one).dtype is minigrad.float32
        assert nn.functional.grid_sample(image, grid, align_corners=False).dtype is minigrad.float32
