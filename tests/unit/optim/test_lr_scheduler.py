"""Schedulers and averaged models: rates that PyTorch gave, order of steps, saved states, and what a step costs."""

import copy

import numpy as np
import pytest

import minigrad
from minigrad import nn, optim
from minigrad.optim import lr_scheduler as schedulers
from minigrad.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn, update_bn


def made(kind=optim.SGD, **options):
    return kind([nn.Parameter(minigrad.ones(2))], lr=0.2, **options)


def rates(optimizer, scheduler, steps):
    seen = [scheduler.get_last_lr()[0]]
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        seen.append(scheduler.get_last_lr()[0])
    return seen


# The first rates, those of PyTorch to the bit.
RATES = [
    (lambda o: schedulers.LambdaLR(o, lambda e: 0.5**e), [0.2, 0.1, 0.05, 0.025, 0.0125, 0.00625]),
    (lambda o: schedulers.MultiplicativeLR(o, lambda e: 0.9), [
        0.2, 0.18000000000000002, 0.16200000000000003, 0.14580000000000004, 0.13122000000000003, 0.11809800000000004]),
    (lambda o: schedulers.StepLR(o, 2, 0.3), [0.2, 0.2, 0.06, 0.06, 0.018, 0.018]),
    (lambda o: schedulers.MultiStepLR(o, [1, 4, 4], 0.3), [0.2, 0.06, 0.06, 0.06, 0.0054, 0.0054]),
    (lambda o: schedulers.PolynomialLR(o, 4, 2.0), [0.2, 0.11250000000000002, 0.05, 0.0125, 0.0, 0.0]),
    (lambda o: schedulers.CosineAnnealingLR(o, 3), [
        0.2, 0.15000000000000002, 0.05, 0.0, 0.04999999999999999, 0.14999999999999994]),
    (lambda o: SWALR(o, 0.1, anneal_epochs=3), [
        0.2, 0.17500000000000002, 0.125, 0.1, 0.1, 0.1]),
]


@pytest.mark.parametrize(("make", "expected"), RATES)
def test_rates(make, expected):
    optimizer = made()
    np.testing.assert_allclose(rates(optimizer, make(optimizer), 5), expected, rtol=1e-12, atol=1e-17)


def test_momentum_goes_the_other_way():
    optimizer = made(momentum=0.9)
    scheduler = schedulers.OneCycleLR(optimizer, 1.0, total_steps=10, anneal_strategy="linear")
    seen = []
    for _ in range(9):
        seen.append((round(scheduler.get_last_lr()[0], 4), round(optimizer.param_groups[0]["momentum"], 4)))
        optimizer.step()
        scheduler.step()
    assert seen == [(0.04, 0.95), (0.52, 0.9), (1.0, 0.85), (0.8571, 0.8643), (0.7143, 0.8786), (0.5714, 0.8929),
                    (0.4286, 0.9071), (0.2857, 0.9214), (0.1429, 0.9357)]
    adam = made(optim.Adam)
    schedulers.CyclicLR(adam, 0.1, 0.2)
    assert adam.param_groups[0]["betas"] == (0.9, 0.999)


def test_one_after_another_and_together():
    optimizer = made()
    parts = [schedulers.LinearLR(optimizer, 0.5, total_iters=2), schedulers.ExponentialLR(optimizer, 0.5)]
    seen = rates(optimizer, schedulers.SequentialLR(optimizer, parts, [3]), 5)
    np.testing.assert_allclose(seen, [0.1, 0.15, 0.2, 0.2, 0.1, 0.05])
    optimizer = made()
    parts = [schedulers.ConstantLR(optimizer, 0.5, 2), schedulers.ExponentialLR(optimizer, 0.5)]
    seen = rates(optimizer, schedulers.ChainedScheduler(parts), 3)
    np.testing.assert_allclose(seen, [0.1, 0.05, 0.05, 0.025])


def test_plateau():
    optimizer = made()
    scheduler = schedulers.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=1, min_lr=0.06)
    seen = []
    for loss in (3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0):
        scheduler.step(minigrad.tensor(loss))
        seen.append(scheduler.get_last_lr()[0])
    assert seen == [0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.06, 0.06, 0.06]


def test_warns_of_the_wrong_order():
    scheduler = schedulers.StepLR(made(), 3)
    with pytest.warns(UserWarning, match=r"Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`"):
        scheduler.step()
    scheduler = schedulers.StepLR(made(), 3)
    scheduler.optimizer.step = lambda: None
    with pytest.warns(UserWarning, match=r"Seems like `optimizer.step\(\)` has been overridden"):
        scheduler.step()
    with pytest.warns(UserWarning, match=r"please use `get_last_lr\(\)`"):
        scheduler.get_lr()
    with pytest.warns(UserWarning, match="The epoch parameter in `scheduler.step"):
        scheduler.step(3)
    with pytest.raises(TypeError, match="int is not an Optimizer"):
        schedulers.StepLR(3, 3)
    with pytest.raises(KeyError, match="param 'initial_lr' is not specified"):
        schedulers.StepLR(made(), 3, last_epoch=3)


def test_saved_state_goes_on():
    def make(optimizer):
        return schedulers.SequentialLR(optimizer, [
            schedulers.CosineAnnealingLR(optimizer, 4), schedulers.StepLR(optimizer, 2)], [6])

    optimizer = made()
    scheduler = make(optimizer)
    rates(optimizer, scheduler, 4)
    saved = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
    expected = rates(optimizer, scheduler, 6)
    optimizer = made()
    scheduler = make(optimizer)
    optimizer.load_state_dict(saved[0])
    scheduler.load_state_dict(saved[1])
    assert rates(optimizer, scheduler, 6) == expected


@pytest.mark.parametrize("rate", [0.1, minigrad.tensor(0.1)])
def test_a_new_rate_at_each_step_compiles_and_records_nothing(rate):
    p = nn.Parameter(minigrad.ones(3))
    optimizer = optim.Adam([p], lr=rate)
    scheduler = schedulers.CosineAnnealingLR(optimizer, 100)
    for i in range(40):
        with minigrad.inspect() as seen:
            optimizer.zero_grad()
            (p * p).sum().backward()
            optimizer.step()
        scheduler.step()
        if i >= 20:
            assert (seen.compiled, seen.plan_misses, seen.recorded, seen.replayed) == (0, 0, [], 2)
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.1 * (1 + np.cos(np.pi * 0.4)) / 2)


def test_averages():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    averaged, moving = AveragedModel(model), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.75))
    for value in (1.0, 2.0, 6.0):
        with minigrad.no_grad():
            model[0].weight.fill_(value)
        averaged.update_parameters(model)
        moving.update_parameters(model)
    assert (averaged.module[0].weight.item(), moving.module[0].weight.item()) == (3.0, 2.4375)
    assert averaged.n_averaged.item() == 3
    update_bn([[minigrad.tensor([[1.0], [3.0]])], [minigrad.tensor([[5.0], [7.0]])]], averaged)
    assert averaged.module[1].running_mean.item() == 12.0
    assert averaged.module[1].momentum == 0.1
    with pytest.raises(AssertionError, match="Only one of avg_fn and multi_avg_fn should be provided"):
        AveragedModel(model, avg_fn=lambda *a: None, multi_avg_fn=lambda *a: None)
    with pytest.raises(ValueError, match=r"Invalid decay value 1.5 provided. Please provide a value in \[0,1\] range"):
        get_ema_multi_avg_fn(1.5)
