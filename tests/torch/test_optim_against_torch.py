"""Optimizers beside PyTorch's own: trajectories over 200 steps, state, groups, printed forms and error texts."""

import copy
import inspect
import itertools
import pickle
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402
from minigrad import nn, optim  # noqa: E402

STEPS = 200

OPTIONS = {
    "SGD": [{"lr": 0.05}, {"momentum": 0.9, "lr": 0.02}, {"momentum": 0.9, "dampening": 0.3, "lr": 0.02},
            {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1, "lr": 0.02}, {"maximize": True, "lr": 0.001},
            {"foreach": True, "lr": 0.05}, {"fused": True, "lr": 0.05, "momentum": 0.9}],
    "Adam": [{"lr": 0.01}, {"lr": 0.01, "betas": (0.5, 0.7), "eps": 0.1}, {"weight_decay": 0.2, "lr": 0.01},
             {"amsgrad": True, "lr": 0.01}, {"maximize": True}, {"foreach": True}, {"fused": True},
             {"decoupled_weight_decay": True, "weight_decay": 0.1}],
    "AdamW": [{"lr": 0.01}, {"amsgrad": True, "weight_decay": 0.3}, {"maximize": True, "foreach": True}],
    "Adamax": [{"lr": 0.01}, {"lr": 0.01, "betas": (0.5, 0.7), "eps": 0.1, "weight_decay": 0.1}, {"maximize": True}],
    "NAdam": [{"lr": 0.01}, {"betas": (0.7, 0.9), "weight_decay": 0.1, "momentum_decay": 0.1}, {"maximize": True},
              {"weight_decay": 0.1, "decoupled_weight_decay": True}],
    "RAdam": [{"lr": 0.01}, {"betas": (0.7, 0.9), "weight_decay": 0.1}, {"maximize": True}, {"betas": (0.9, 0.5)},
              {"weight_decay": 0.1, "decoupled_weight_decay": True}],
    "Adadelta": [{}, {"lr": 0.5, "rho": 0.5, "eps": 1e-3, "weight_decay": 0.1}, {"maximize": True}],
    "Adagrad": [{"lr": 0.05}, {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3},
                {"maximize": True}, {"fused": True}],
    "Adafactor": [{}, {"lr": 0.1, "beta2_decay": -0.5, "eps": (1e-4, 1e-2), "d": 2.0, "weight_decay": 0.1},
                  {"maximize": True}],
    "RMSprop": [{"lr": 0.005}, {"lr": 0.005, "momentum": 0.5, "centered": True},
                {"alpha": 0.7, "eps": 1e-2, "weight_decay": 0.1, "momentum": 0.5}, {"centered": True, "maximize": True,
                                                                                   "alpha": 0.5}],
    "Rprop": [{}, {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (1e-3, 0.5)}, {"maximize": True}],
    "ASGD": [{"lr": 0.02}, {"lr": 0.02, "lambd": 0.1, "alpha": 0.5, "t0": 20, "weight_decay": 0.1},
             {"maximize": True, "lr": 0.001}],
}
CASES = [pytest.param(name, options, id=f"{name}-{number}")
         for name, cases in OPTIONS.items() for number, options in enumerate(cases)]


class Problem:
    """A quadratic with a bowl of different slopes, over a vector, a matrix and a number. ``lib``: torch or minigrad."""

    def __init__(self, lib, dtype="float64", seed=0):
        rng = np.random.default_rng(seed)
        self.lib = lib
        dtype = getattr(lib, dtype)
        made = [rng.standard_normal(shape) for shape in ((5,), (4, 3), ())]
        self.params = [lib.nn.Parameter(lib.tensor(array, dtype=dtype)) for array in made]
        self.goals = [lib.tensor(rng.standard_normal(array.shape), dtype=dtype) for array in made]
        self.slopes = [lib.tensor(rng.uniform(0.3, 2.0, array.shape), dtype=dtype) for array in made]

    def loss(self):
        terms = [(slope * (param - goal) ** 2).sum() + 0.3 * ((param - goal).sum()) ** 2
                 for param, goal, slope in zip(self.params, self.goals, self.slopes, strict=True)]
        return terms[0] + terms[1] + terms[2]

    def closure(self, optimizer):
        def closure():
            optimizer.zero_grad()
            loss = self.loss()
            loss.backward()
            return loss

        return closure

    def values(self):
        return [param.detach().double().numpy().copy() for param in self.params]


def trained(lib, name, options, steps=STEPS, dtype="float64"):
    problem = Problem(lib, dtype)
    optimizer = getattr(lib.optim, name)(problem.params, **options)
    seen = []
    for _ in range(steps):
        optimizer.zero_grad()
        problem.loss().backward()
        optimizer.step()
        seen.append(problem.values())
    return optimizer, seen


def close(ours, theirs, rtol, atol):
    for step, (mine, peers) in enumerate(zip(ours, theirs, strict=True)):
        for a, b in zip(mine, peers, strict=True):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=f"step {step}")


def plain(value):
    """A state_dict as numbers and containers, with the dtypes of its tensors."""
    if hasattr(value, "detach"):
        return str(value.dtype).replace("minigrad.", "torch."), tuple(value.shape), value.detach().double().numpy()
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(entry) for entry in value)
    return value


def same(ours, theirs, rtol=1e-6, path=""):
    assert type(ours) is type(theirs), path
    if isinstance(ours, dict):
        assert list(ours) == list(theirs), path
        for key in ours:
            same(ours[key], theirs[key], rtol, f"{path}.{key}")
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs), path
        for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            same(a, b, rtol, f"{path}[{number}]")
    elif isinstance(ours, np.ndarray):
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=1e-7, err_msg=path)
    else:
        assert ours == theirs, path


@pytest.mark.parametrize(("name", "options"), CASES)
def test_trajectories(name, options):
    ours, mine = trained(minigrad, name, options)
    theirs, peers = trained(torch, name, options)
    close(mine, peers, 1e-9, 1e-11)
    same(plain(ours.state_dict()), plain(theirs.state_dict()))
    assert repr(ours) == repr(theirs)
    assert ours.defaults == theirs.defaults
    if name == "Rprop":
        return  # the sign of a gradient near 0 decides
    _, mine = trained(minigrad, name, options, dtype="float32")
    _, peers = trained(torch, name, options, dtype="float32")
    close(mine, peers, 2e-4, 2e-5)
