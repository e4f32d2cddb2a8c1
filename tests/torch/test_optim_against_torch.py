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
    "Adafactor": [{}, {"lr": 0.005, "beta2_decay": -0.7, "eps": (1e-2, 0.1), "d": 1.5, "weight_decay": 0.1},
                  {"maximize": True}],
    "RMSprop": [{"lr": 0.005}, {"lr": 0.005, "momentum": 0.5, "centered": True},
                {"alpha": 0.7, "eps": 0.1, "weight_decay": 0.1, "momentum": 0.5, "lr": 0.003}, {"centered": True, "maximize": True,
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


def far(ours, theirs):
    """The largest difference up to each step."""
    each = [max(np.abs(a - b).max() for a, b in zip(mine, peers, strict=True))
            for mine, peers in zip(ours, theirs, strict=True)]
    return np.maximum.accumulate(each)


def close(ours, theirs, error, least):
    """Two trajectories differ by no more than a rounding ``error`` that grows from step to step."""
    assert np.isfinite(theirs[-1][0]).all()
    over = far(ours, theirs) - (error + least)
    assert (over <= 0).all(), f"step {np.argmax(over > 0)}: {over.max()}"


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
    """The differences are those that rounding makes: as large as between PyTorch's own in float32 and float64."""
    ours, mine = trained(minigrad, name, options)
    theirs, peers = trained(torch, name, options)
    _, mine32 = trained(minigrad, name, options, dtype="float32")
    _, peers32 = trained(torch, name, options, dtype="float32")
    rounding = far(peers32, peers)
    close(mine32, peers32, 4 * rounding, 1e-6)
    close(mine, peers, 64 * rounding * 2.0**-29, 1e-12)
    same(plain(ours.state_dict()), plain(theirs.state_dict()))
    assert repr(ours) == repr(theirs)
    assert ours.defaults == theirs.defaults


class Network:
    """A small network on fixed data. ``lib``: torch or minigrad."""

    def __init__(self, lib, dtype):
        rng = np.random.default_rng(1)
        dtype = getattr(lib, dtype)
        self.lib = lib
        self.model = lib.nn.Sequential(lib.nn.Linear(3, 8), lib.nn.Tanh(), lib.nn.Linear(8, 2)).to(dtype)
        with lib.no_grad():
            for p in self.model.parameters():
                p.copy_(lib.tensor(rng.standard_normal(tuple(p.shape)) * 0.5, dtype=dtype))
        self.x, self.y = [lib.tensor(rng.standard_normal(shape), dtype=dtype) for shape in ((20, 3), (20, 2))]
        self.params = list(self.model.parameters())

    def loss(self):
        return ((self.model(self.x) - self.y) ** 2).mean()

    closure, values = Problem.closure, Problem.values


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True")
@pytest.mark.parametrize("problem", [Problem, Network])
@pytest.mark.parametrize("options", [{}, {"lr": 0.3, "max_iter": 4, "history_size": 3},
                                     {"line_search_fn": "strong_wolfe"},
                                     {"line_search_fn": "strong_wolfe", "history_size": 2, "max_iter": 5}])
def test_lbfgs(problem, options):
    if problem is Network and not options:
        options = {"lr": 0.1}
    seen = {}
    for lib, dtype in ((minigrad, "float64"), (torch, "float64"), (minigrad, "float32"), (torch, "float32")):
        p = problem(lib, dtype)
        optimizer = lib.optim.LBFGS(p.params, **options)
        values, losses = [], []
        for _ in range(5):
            losses.append(optimizer.step(p.closure(optimizer)).item())
            values.append(p.values())
        seen[lib.__name__, dtype] = values, losses, optimizer
    (mine, losses, ours), (peers, peer_losses, theirs) = [seen[lib, "float64"] for lib in ("minigrad", "torch")]
    for a, b in zip(mine, peers, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(losses, peer_losses, rtol=1e-6, atol=1e-12)
    a, b = [o.state_dict() for o in (ours, theirs)]
    assert a["param_groups"] == b["param_groups"]
    assert list(a["state"][0]) == list(b["state"][0])
    for name in ("func_evals", "n_iter"):
        assert a["state"][0][name] == b["state"][0][name]
    assert [len(a["state"][0][name]) for name in ("old_dirs", "old_stps", "ro", "al")] == [
        len(b["state"][0][name]) for name in ("old_dirs", "old_stps", "ro", "al")]
    rounding = far(seen["torch", "float32"][0], peers)
    close(seen["minigrad", "float32"][0], seen["torch", "float32"][0], 4 * rounding, 1e-4)


def test_muon():
    """Newton's and Schulz's products are rounded to bfloat16: a difference in the last place counts that much."""
    for options in ({}, {"nesterov": False, "weight_decay": 0.0}, {"adjust_lr_fn": "match_rms_adamw", "ns_steps": 3},
                    {"adjust_lr_fn": "original", "momentum": 0.5, "ns_coefficients": (2.0, -1.5, 0.5)}):
        rng = np.random.default_rng(0)
        made = [rng.standard_normal(shape).astype("f") for shape in ((6, 4), (3, 8))]
        grads = [[rng.standard_normal(array.shape).astype("f") for array in made] for _ in range(20)]
        seen = []
        for lib in (minigrad, torch):
            params = [lib.nn.Parameter(lib.tensor(array)) for array in made]
            optimizer = lib.optim.Muon(params, lr=0.05, **options)
            for step in grads:
                for p, g in zip(params, step, strict=True):
                    p.grad = lib.tensor(g)
                optimizer.step()
            seen.append(([p.detach().numpy() for p in params], optimizer))
        for a, b in zip(seen[0][0], seen[1][0], strict=True):
            np.testing.assert_allclose(a, b, atol=0.01)
        same(plain(seen[0][1].state_dict()), plain(seen[1][1].state_dict()))
        assert repr(seen[0][1]) == repr(seen[1][1])


def test_sparse_adam():
    """What has sparse gradients in PyTorch has rows of zeros here."""
    for options in ({}, {"lr": 0.1, "betas": (0.5, 0.7), "eps": 1e-3, "maximize": True}):
        rng = np.random.default_rng(0)
        made = [rng.standard_normal(shape) for shape in ((6, 4), (5,))]
        seen = []
        for lib in (minigrad, torch):
            params = [lib.nn.Parameter(lib.tensor(array)) for array in made]
            optimizer = lib.optim.SparseAdam(params, **options)
            rng = np.random.default_rng(1)
            for _ in range(STEPS):
                for p in params:
                    grad = rng.standard_normal(tuple(p.shape)) * (rng.random((len(p), *[1] * (p.ndim - 1))) < 0.5)
                    p.grad = lib.tensor(grad) if lib is minigrad else torch.tensor(grad).to_sparse(1)
                optimizer.step()
            seen.append(([p.detach().numpy() for p in params], optimizer))
        for a, b in zip(seen[0][0], seen[1][0], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
        assert repr(seen[0][1]) == repr(seen[1][1])
