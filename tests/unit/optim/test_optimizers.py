"""Optimizers: update formulas against plain NumPy, groups, state, saving and errors."""

import math

import numpy as np
import pytest

import minigrad
from minigrad import nn, optim


def parameter(*values):
    return nn.Parameter(minigrad.tensor(list(values)))


def numbers(tensor):
    return tensor.detach().numpy().astype("float64")


def drive(optimizer, params, grads):
    """The parameters' values after each step with the given gradients (None leaves one out)."""
    history = []
    for step in grads:
        for param, grad in zip(params, step, strict=True):
            param.grad = None if grad is None else minigrad.tensor(grad)
        optimizer.step()
        history.append([numbers(param) for param in params])
    return history


GRADS = [[[1.0, -2.0]], [[0.5, 0.25]], [[-3.0, 0.0]]]


@pytest.mark.parametrize("options", [
    {}, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.5}, {"momentum": 0.9, "nesterov": True},
    {"weight_decay": 0.1}, {"momentum": 0.5, "weight_decay": 0.1, "maximize": True},
])
def test_sgd_formula(options):
    param = parameter(1.0, 2.0)
    history = drive(optim.SGD([param], lr=0.1, **options), [param], GRADS)
    p, b, momentum = np.array([1.0, 2.0]), None, options.get("momentum", 0)
    for (grad,), (got,) in zip(GRADS, history, strict=True):
        g = np.array(grad) * (-1 if options.get("maximize") else 1) + options.get("weight_decay", 0) * p
        b = g if b is None else momentum * b + (1 - options.get("dampening", 0)) * g
        p = p - 0.1 * (g + momentum * b if options.get("nesterov") else b if momentum else g)
        np.testing.assert_allclose(got, p, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW])
@pytest.mark.parametrize("options", [
    {}, {"betas": (0.5, 0.7), "eps": 0.1}, {"weight_decay": 0.2}, {"amsgrad": True}, {"maximize": True},
])
def test_adam_formula(kind, options):
    param = parameter(1.0, 2.0)
    history = drive(kind([param], lr=0.1, **options), [param], GRADS)
    (beta1, beta2), eps = options.get("betas", (0.9, 0.999)), options.get("eps", 1e-8)
    decay = options.get("weight_decay", 0.01 if kind is optim.AdamW else 0)
    p, m, v, peak = np.array([1.0, 2.0]), 0.0, 0.0, 0.0
    for t, ((grad,), (got,)) in enumerate(zip(GRADS, history, strict=True), 1):
        g = np.array(grad) * (-1 if options.get("maximize") else 1)
        if kind is optim.AdamW:
            p = p * (1 - 0.1 * decay)
        else:
            g = g + decay * p
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        peak = np.maximum(peak, v)
        root = np.sqrt((peak if options.get("amsgrad") else v) / (1 - beta2**t))
        p = p - 0.1 * (m / (1 - beta1**t)) / (root + eps)
        np.testing.assert_allclose(got, p, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [
    lambda params: optim.SGD(params, lr=0.1, momentum=0.9), lambda params: optim.Adam(params, lr=0.1),
])
def test_a_parameter_without_gradient_stays(make):
    first, second = parameter(1.0), parameter(1.0)
    optimizer = make([first, second])
    history = drive(optimizer, [first, second], [[[1.0], None], [[1.0], None], [[1.0], [1.0]]])
    assert history[1][1] == 1.0
    alone = parameter(1.0)
    np.testing.assert_allclose(history[2][1], drive(make([alone]), [alone], [[[1.0]]])[0][0], rtol=1e-6)
    optimizer.zero_grad()
    assert optimizer.step() is None


@pytest.mark.parametrize("kind,make", [
    (optim.SGD, lambda params: optim.SGD(params, lr=0.1, momentum=0.9)),
    (optim.Adam, lambda params: optim.AdamW(params, lr=0.1)),
])
def test_one_composite_call_a_step(kind, make, monkeypatch):
    calls = []
    real = kind._update
    monkeypatch.setattr(kind, "_update", staticmethod(
        lambda *args, **options: calls.append(len(args[0])) or real(*args, **options)))
    params = [parameter(1.0), parameter(1.0, 2.0), parameter(3.0)]
    drive(make(params), params, [[[1.0], [1.0, 1.0], [1.0]]] * 3)
    assert calls == [3, 3, 3]


def test_lr_of_a_group_may_change():
    param = parameter(1.0)
    optimizer = optim.SGD([param], lr=0.1)
    drive(optimizer, [param], [[[1.0]]])
    optimizer.param_groups[0]["lr"] = 0.4
    assert drive(optimizer, [param], [[[1.0]]])[0][0] == pytest.approx(0.5)


def test_groups_have_their_own_numbers():
    first, second, third = parameter(1.0), parameter(1.0), parameter(1.0)
    optimizer = optim.SGD([{"params": first, "lr": 0.5}, {"params": [second]}], lr=0.25)
    optimizer.add_param_group({"params": [third], "lr": 1.0})
    assert [float(x[0]) for x in drive(optimizer, [first, second, third], [[[1.0]] * 3])[0]] == [0.5, 0.75, 0.0]
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.25, 1.0]


def test_identity_and_aliases_are_kept():
    param = parameter(1.0, 2.0)
    alias = param.detach()
    drive(optim.SGD([param], lr=1.0), [param], [[[1.0, 1.0]]])
    assert alias.numpy().tolist() == [0.0, 1.0]
    assert param.requires_grad
    assert param.is_leaf


def test_closure():
    param = parameter(2.0)
    optimizer = optim.SGD([param], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = (param * param).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert numbers(param) == 1.0


@pytest.mark.parametrize("dtype,tolerance", [("float64", 1e-7), ("float16", 2e-3)])
def test_other_precisions(dtype, tolerance):
    param = nn.Parameter(minigrad.ones(2, dtype=getattr(minigrad, dtype)))
    optimizer = optim.Adam([param], lr=0.1)
    for _ in range(3):
        param.grad = minigrad.ones(2, dtype=param.dtype)
        optimizer.step()
    assert param.dtype == getattr(minigrad, dtype)
    assert optimizer.state[param]["exp_avg"].dtype == param.dtype
    np.testing.assert_allclose(numbers(param), 0.7, rtol=tolerance)


@pytest.mark.parametrize("make", [
    lambda params: optim.SGD(params, lr=0.1, momentum=0.9), lambda params: optim.Adam(params, lr=0.1, amsgrad=True),
])
def test_saved_state_resumes_exactly(make):
    straight, resumed = parameter(1.0, 2.0), parameter(1.0, 2.0)
    drive(make([straight]), [straight], GRADS * 2)
    before = make([resumed])
    drive(before, [resumed], GRADS)
    saved = before.state_dict()
    assert saved["param_groups"][0]["params"] == [0]
    after = make([resumed])
    after.load_state_dict(saved)
    before.state[resumed].clear()
    drive(after, [resumed], GRADS)
    np.testing.assert_array_equal(numbers(straight), numbers(resumed))


def test_saved_step_is_a_tensor():
    param = parameter(1.0)
    optimizer = optim.Adam([param])
    drive(optimizer, [param], [[[1.0]], [[1.0]]])
    step = optimizer.state_dict()["state"][0]["step"]
    assert isinstance(step, minigrad.Tensor)
    assert float(step) == 2.0


def test_zero_grad():
    param = parameter(1.0)
    optimizer = optim.SGD([param])
    param.grad = minigrad.ones(1)
    optimizer.zero_grad(set_to_none=False)
    assert param.grad.numpy().tolist() == [0.0]
    optimizer.zero_grad()
    assert param.grad is None


def test_printed_form():
    assert str(optim.SGD([parameter(1.0)], lr=0.1)) == (
        "SGD (\nParameter Group 0\n    dampening: 0\n    differentiable: False\n    foreach: None\n    fused: None\n"
        "    lr: 0.1\n    maximize: False\n    momentum: 0\n    nesterov: False\n    weight_decay: 0\n)")


def test_named_parameters():
    optimizer = optim.SGD(nn.Linear(2, 1).named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ValueError, match="cannot add param group without names to the optimizer"):
        optimizer.add_param_group({"params": [parameter(1.0)]})


@pytest.mark.parametrize("kind,text,make", [
    (ValueError, "optimizer got an empty parameter list", lambda p: optim.SGD([])),
    (TypeError, "should be an iterable of Tensors or dicts", lambda p: optim.SGD(p)),
    (TypeError, "optimizer can only optimize Tensors, but one of the params is int", lambda p: optim.SGD([3])),
    (ValueError, "can't optimize a non-leaf Tensor", lambda p: optim.SGD([p * 2])),
    (ValueError, "Invalid learning rate: -1", lambda p: optim.SGD([p], lr=-1)),
    (ValueError, "Invalid learning rate: nan", lambda p: optim.Adam([p], lr=math.nan)),
    (ValueError, "Invalid momentum value: -1", lambda p: optim.SGD([p], momentum=-1)),
    (ValueError, "Invalid weight_decay value: -1", lambda p: optim.SGD([p], weight_decay=-1)),
    (ValueError, "Nesterov momentum requires a momentum and zero dampening", lambda p: optim.SGD([p], nesterov=True)),
    (ValueError, "some parameters appear in more than one", lambda p: optim.SGD([{"params": [p]}, {"params": [p]}])),
    (TypeError, "need to be organized in ordered collections", lambda p: optim.SGD([{"params": {p}}])),
    (ValueError, "Invalid epsilon value: -1", lambda p: optim.Adam([p], eps=-1)),
    (ValueError, "Invalid beta parameter at index 0: 1", lambda p: optim.Adam([p], betas=(1, 0.9))),
    (ValueError, "Invalid beta parameter at index 1: -0.5", lambda p: optim.AdamW([p], betas=(0.9, -0.5))),
    (TypeError, "param_group must be a dict", lambda p: optim.SGD([p]).add_param_group([p])),
    (ValueError, "Some param names are missing", lambda p: optim.SGD([("a", p), p])),
    (ValueError, "didn't specify a value of required optimization parameter lr",
     lambda p: optim.Optimizer([p], {"lr": optim.optimizer.required})),
    (NotImplementedError, "SGD: differentiable=True is not there", lambda p: optim.SGD([p], differentiable=True)),
    (RuntimeError, "`fused` and `foreach` cannot be `True` together", lambda p: optim.Adam([p], fused=True,
                                                                                          foreach=True)),
    (ValueError, "different number of parameter groups",
     lambda p: optim.SGD([p]).load_state_dict({"state": {}, "param_groups": []})),
    (ValueError, "doesn't match the size of optimizer's group",
     lambda p: optim.SGD([p]).load_state_dict({"state": {}, "param_groups": [{"params": [0, 1]}]})),
])
def test_errors(kind, text, make):
    with pytest.raises(kind) as caught:
        make(parameter(1.0))
    assert text in str(caught.value)


def test_warns_of_duplicates():
    param = parameter(1.0)
    with pytest.warns(UserWarning, match="parameter group with duplicate parameters"):
        optim.SGD([param, param])
    with pytest.raises(NotImplementedError):
        param.grad = minigrad.ones(1)
        optim.Optimizer([param], {}).step()
