"""Optimizers beside PyTorch's own: trajectories over 200 steps, state, groups, printed forms and error texts."""

import copy
import inspect
import pickle
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402

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
                {"alpha": 0.7, "eps": 0.1, "weight_decay": 0.1, "momentum": 0.5, "lr": 0.003},
                {"centered": True, "maximize": True, "alpha": 0.5}],
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


@pytest.mark.sample(15)
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


@pytest.mark.sample(3)
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True")
@pytest.mark.parametrize("problem", [Problem, Network])
@pytest.mark.parametrize("options", [{}, {"lr": 0.3, "max_iter": 4, "history_size": 3},
                                     {"line_search_fn": "strong_wolfe"},
                                     {"line_search_fn": "strong_wolfe", "history_size": 2, "max_iter": 5}])
def test_lbfgs(problem, options):
    if problem is Network and not options:
        options = {"lr": 0.1}
    seen = {}
    for lib, dtype in ((minigrad, "float64"), (torch, "float64"), (torch, "beside"), (minigrad, "float32"),
                       (torch, "float32")):
        p = problem(lib, "float64" if dtype == "beside" else dtype)
        if dtype == "beside":  # one unit in the last place away: line searches make it a hundred times more each step
            with torch.no_grad():
                for param in p.params:
                    param.copy_(torch.nextafter(param, torch.full_like(param, 9.0)))
        optimizer = lib.optim.LBFGS(p.params, **options)
        values, losses = [], []
        for _ in range(5):
            losses.append(optimizer.step(p.closure(optimizer)).item())
            values.append(p.values())
        seen[lib.__name__, dtype] = values, losses, optimizer
    (mine, losses, ours), (peers, peer_losses, theirs) = [seen[lib, "float64"] for lib in ("minigrad", "torch")]
    for a, b, noise in zip(mine, peers, far(seen["torch", "beside"][0], peers), strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-8 + 4 * noise)
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
    """With gradients of which about every second row is there."""
    for options in ({}, {"lr": 0.1, "betas": (0.5, 0.7), "eps": 1e-3, "maximize": True}):
        rng = np.random.default_rng(0)
        made = [rng.standard_normal(shape) for shape in ((6, 4), (5,))]
        seen = []
        for lib in (minigrad, torch):
            params = [lib.nn.Parameter(lib.tensor(array)) for array in made]
            optimizer = lib.optim.SparseAdam(params, **options)
            rng = np.random.default_rng(1)
            for _ in range(40):
                for p in params:
                    grad = rng.standard_normal(tuple(p.shape)) * (rng.random((len(p), *[1] * (p.ndim - 1))) < 0.5)
                    p.grad = lib.tensor(grad).to_sparse(1)
                optimizer.step()
            seen.append(([p.detach().numpy() for p in params], optimizer))
        for a, b in zip(seen[0][0], seen[1][0], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
        assert repr(seen[0][1]) == repr(seen[1][1])


OPTIMIZERS = ["Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "ASGD", "LBFGS", "Muon", "NAdam", "RAdam",
              "RMSprop", "Rprop", "SGD", "SparseAdam"]
ELEMENTWISE = [name for name in OPTIMIZERS if name not in ("LBFGS", "Muon", "SparseAdam")]


def test_names_and_signatures():
    assert set(torch.optim.__all__) <= set(minigrad.optim.__all__)
    for module in ("lr_scheduler", "swa_utils"):
        theirs, ours = getattr(torch.optim, module), getattr(minigrad.optim, module)
        for name in theirs.__all__:
            same_signature(getattr(ours, name), getattr(theirs, name))
    for name in OPTIMIZERS:
        same_signature(getattr(minigrad.optim, name), getattr(torch.optim, name))
    for name, member in vars(torch.optim.Optimizer).items():
        if not name.startswith("_") and inspect.isfunction(member) and name != "profile_hook_step":
            same_signature(getattr(minigrad.optim.Optimizer, name), member)


def same_signature(ours, theirs):
    mine, peers = [[(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]
                   for f in (ours, theirs)]
    assert mine == peers, theirs


def converted(value, lib):
    """A state_dict with the other library's tensors."""
    if hasattr(value, "detach"):
        array = value.detach().cpu().numpy().copy()
        return lib.tensor(array)
    if isinstance(value, dict):
        return {key: converted(entry, lib) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(converted(entry, lib) for entry in value)
    return value


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True")
@pytest.mark.parametrize("there", [minigrad, torch], ids=["ours", "theirs"])
@pytest.mark.parametrize("name", [*ELEMENTWISE, "LBFGS"])
def test_a_saved_state_goes_on_in_the_other_library(name, there):
    """Five steps in one library, five in the other, against ten in PyTorch."""
    here = torch if there is minigrad else minigrad
    options = OPTIONS[name][1] if name != "LBFGS" else {"line_search_fn": "strong_wolfe", "max_iter": 3}
    first, second, straight = Problem(here), Problem(there), Problem(torch)

    def step(problem, optimizer):
        optimizer.step(problem.closure(optimizer))

    begun, whole = [getattr(lib.optim, name)(p.params, **options) for lib, p in ((here, first), (torch, straight))]
    for _ in range(5):
        step(first, begun)
    for _ in range(10):
        step(straight, whole)
    with there.no_grad():
        for new, old in zip(second.params, first.params, strict=True):
            new.copy_(there.tensor(old.detach().numpy()))
    going = getattr(there.optim, name)(second.params)
    going.load_state_dict(converted(begun.state_dict(), there))
    for _ in range(5):
        step(second, going)
    rounded = name in ("NAdam", "ASGD") and there is torch  # it gives all numbers the parameter's dtype
    for a, b in zip(second.values(), straight.values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6 if rounded else 1e-8, atol=1e-8 if rounded else 1e-10)
    ours, theirs = plain(going.state_dict()), plain(whole.state_dict())
    assert ours["param_groups"] == theirs["param_groups"]
    if name != "LBFGS" and not rounded:
        same(ours["state"], theirs["state"])


@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if name != "Rprop"])
def test_a_learning_rate_may_be_a_tensor(name):
    seen = []
    for lib in (minigrad, torch):
        problem = Problem(lib)
        rate = lib.tensor(0.01, dtype=lib.float64)
        optimizer = getattr(lib.optim, name)(problem.params, lr=rate, **({"foreach": False} if lib is torch else {}))
        values = []
        for number in range(20):
            optimizer.zero_grad()
            problem.loss().backward()
            optimizer.step()
            if number == 9:
                optimizer.param_groups[0]["lr"].fill_(0.02)
            values.append(problem.values())
        seen.append(values)
    for mine, peers in zip(*seen, strict=True):
        for a, b in zip(mine, peers, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)


def test_betas_may_be_tensors():
    seen = []
    for lib in (minigrad, torch):
        problem = Problem(lib)
        optimizer = lib.optim.Adam(problem.params, lr=0.01, betas=(lib.tensor(0.5), lib.tensor([0.75])))
        for _ in range(20):
            optimizer.step(problem.closure(optimizer))
        seen.append((problem.values(), optimizer.param_groups[0]["betas"][1].shape))
    assert tuple(seen[0][1]) == tuple(seen[1][1]) == ()
    for a, b in zip(seen[0][0], seen[1][0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def outcome(lib, act):
    """What an action gives, warns of or raises, without the names of the libraries."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = act(lib.optim, lib.nn.Parameter(lib.ones(2, 2)), lib)
        except Exception as error:
            found = type(error).__name__, str(error)
    if hasattr(found, "detach"):
        found = plain(found)
    return found, [str(w.message) for w in caught if "foreach" not in str(w.message)]


def _hooks(o, p, lib):
    """The order of all hooks, and what they may change."""
    seen = []

    class Own(o.SGD):
        def step(self, closure=None):
            seen.append("step")
            return None if closure is None else closure()

    from importlib import import_module
    module = import_module(f"{lib.__name__}.optim.optimizer")
    optimizer = Own([p], lr=0.5)

    def note(name, result=None):
        def hook(optimizer, *rest):
            seen.append((name, [type(x).__name__ for x in rest]))
            return result
        return hook

    def closure():
        seen.append("closure")
        return lib.tensor(3.0)

    handles = [module.register_optimizer_step_pre_hook(note("all before")),
               module.register_optimizer_step_post_hook(note("all after")),
               optimizer.register_step_pre_hook(note("before")),
               optimizer.register_step_pre_hook(note("changes", ((optimizer, closure), {}))),
               optimizer.register_step_post_hook(note("after")),
               optimizer.register_state_dict_pre_hook(note("state before")),
               optimizer.register_state_dict_pre_hook(note("state first"), prepend=True),
               optimizer.register_state_dict_post_hook(note("state after")),
               optimizer.register_state_dict_post_hook(lambda o, d: {**d, "more": 1}, prepend=True),
               optimizer.register_load_state_dict_pre_hook(note("load before")),
               optimizer.register_load_state_dict_pre_hook(note("load first"), prepend=True),
               optimizer.register_load_state_dict_post_hook(note("load after"))]
    seen.append(float(optimizer.step()))
    saved = optimizer.state_dict()
    seen.append(list(saved))
    optimizer.load_state_dict(saved)
    for handle in handles:
        handle.remove()
    p.grad = lib.ones(2, 2)
    seen.append(optimizer.step())
    optimizer.register_step_pre_hook(lambda *args: 3)
    try:
        optimizer.step()
    except RuntimeError as error:
        seen.append(str(error).split("> ")[1])
    return seen


def _named(o, p, lib):
    optimizer = o.SGD([("weight", p)], lr=0.5)
    optimizer.add_param_group({"params": [("other", lib.nn.Parameter(lib.ones(1)))], "lr": 0.1})
    saved = optimizer.state_dict()
    del saved["param_groups"][0]["param_names"]
    optimizer.load_state_dict(saved)
    return [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]


def _old_pickle(o, p, lib):
    """A dictionary of a release that had fewer options, and numbers of steps that were no tensors."""
    optimizer = o.Adam([p], amsgrad=True)
    p.grad = lib.ones(2, 2)
    optimizer.step()
    saved = optimizer.state_dict()
    saved["param_groups"] = [{k: saved["param_groups"][0][k] for k in ("lr", "betas", "eps", "weight_decay", "params")}]
    saved["state"][0]["step"] = 1
    optimizer.load_state_dict(saved)
    optimizer.step()
    return [plain({k: v for k, v in optimizer.param_groups[0].items() if k != "params"}),
            str(optimizer.state[p]["step"])]


def _shared(o, p, lib):
    """Two optimizers on one state: it is not copied."""
    a, b = o.Adam([p]), o.Adam([p])
    p.grad = lib.ones(2, 2)
    a.step()
    b.load_state_dict(a.state_dict())
    a.step()
    return [float(b.state[p]["step"]), b.state[p]["exp_avg"].sum().item().__round__(4)]


def _zeroed(o, p, lib):
    optimizer = o.SGD([p])
    p.grad = lib.ones(2, 2)
    kept = p.grad
    optimizer.zero_grad(set_to_none=False)
    first = kept.sum().item(), p.grad is kept
    optimizer.zero_grad()
    return first, p.grad


def _adamw_state(o, p, lib):
    saved = o.Adam([p]).state_dict()
    optimizer = o.AdamW([p])
    optimizer.load_state_dict(saved)
    return optimizer.param_groups[0]["decoupled_weight_decay"]


@pytest.mark.parametrize("act", [
    lambda o, p, lib: o.SGD([]), lambda o, p, lib: o.SGD(p), lambda o, p, lib: o.SGD([3]),
    lambda o, p, lib: o.SGD(["a"]), lambda o, p, lib: o.SGD([p * 2]), lambda o, p, lib: o.SGD([p], lr=-1),
    lambda o, p, lib: repr(o.SGD([p], lr=float("nan"))), lambda o, p, lib: o.SGD([p], momentum=-1),
    lambda o, p, lib: o.SGD([p], weight_decay=-1), lambda o, p, lib: o.SGD([p], nesterov=True),
    lambda o, p, lib: o.SGD([p], foreach=True, fused=True), lambda o, p, lib: o.SGD([p], lr=lib.ones(2)),
    lambda o, p, lib: o.SGD([p], fused=True, differentiable=True),
    lambda o, p, lib: repr(o.SGD([p, p])), lambda o, p, lib: o.SGD([{"params": p}, {"params": [p]}]),
    lambda o, p, lib: o.SGD([{"params": {p}}]), lambda o, p, lib: o.SGD([p]).add_param_group([p]),
    lambda o, p, lib: o.SGD([("a", p), p]), lambda o, p, lib: o.SGD([("a", p)]).add_param_group(
        {"params": lib.nn.Parameter(lib.ones(1))}),
    lambda o, p, lib: o.SGD([p]).add_param_group({"params": [("a", lib.nn.Parameter(lib.ones(1)))]}),
    lambda o, p, lib: o.Optimizer([p], {"lr": __import__(f"{lib.__name__}.optim.optimizer").optim.SGD and 3}).step(),
    lambda o, p, lib: o.SGD([p]).load_state_dict({"state": {}, "param_groups": []}),
    lambda o, p, lib: o.SGD([p]).load_state_dict({"state": {}, "param_groups": [{"params": [0, 1]}]}),
    lambda o, p, lib: o.Adam([p], lr=lib.ones(()), foreach=True), lambda o, p, lib: o.Adam([p], lr=-1),
    lambda o, p, lib: o.Adam([p], eps=-1), lambda o, p, lib: o.Adam([p], betas=(1, 0.9)),
    lambda o, p, lib: o.Adam([p], betas=(0.9, -0.5)), lambda o, p, lib: o.Adam([p], weight_decay=-1),
    lambda o, p, lib: o.Adam([p], betas=(0, 0.9)), lambda o, p, lib: o.Adam([p], betas=(0.9, lib.tensor(0.5))),
    lambda o, p, lib: o.Adam([p], betas=(lib.tensor(0.9), lib.tensor(0.5)), foreach=True),
    lambda o, p, lib: o.Adam([p], foreach=True, fused=True), lambda o, p, lib: o.AdamW([p], lr=-1),
    lambda o, p, lib: o.Adam([p], betas=(lib.tensor([0.9, 0.9]).max().reshape(1), lib.tensor(0.5)), lr=lib.ones(2)),
    lambda o, p, lib: o.Adamax([p], eps=-1), lambda o, p, lib: o.Adamax([p], betas=(0.5, 1.0)),
    lambda o, p, lib: o.Adamax([p], weight_decay=-1), lambda o, p, lib: o.NAdam([p], lr=-1),
    lambda o, p, lib: o.NAdam([p], momentum_decay=-1), lambda o, p, lib: o.NAdam([p], betas=(-1, 0.5)),
    lambda o, p, lib: o.RAdam([p], lr=-1), lambda o, p, lib: o.RAdam([p], eps=-1),
    lambda o, p, lib: o.RAdam([p], weight_decay=-1), lambda o, p, lib: o.Adadelta([p], lr=-1),
    lambda o, p, lib: o.Adadelta([p], rho=1.5), lambda o, p, lib: o.Adadelta([p], eps=-1),
    lambda o, p, lib: o.Adagrad([p], lr_decay=-1), lambda o, p, lib: o.Adagrad([p], initial_accumulator_value=-1),
    lambda o, p, lib: o.Adagrad([p], foreach=True, fused=True), lambda o, p, lib: o.Adafactor([p], lr=-1),
    lambda o, p, lib: o.Adafactor([p], beta2_decay=1), lambda o, p, lib: o.Adafactor([p], eps=(-1, 0)),
    lambda o, p, lib: o.Adafactor([p], eps=(None, -1)), lambda o, p, lib: o.Adafactor([p], d=0.5),
    lambda o, p, lib: o.Adafactor([p], weight_decay=-1), lambda o, p, lib: o.RMSprop([p], alpha=-1),
    lambda o, p, lib: o.RMSprop([p], momentum=-1), lambda o, p, lib: o.RMSprop([p], eps=-1),
    lambda o, p, lib: o.Rprop([p], etas=(1.5, 1.2)), lambda o, p, lib: o.Rprop([p], lr=-1),
    lambda o, p, lib: o.ASGD([p], lr=-1), lambda o, p, lib: o.ASGD([p], weight_decay=-1),
    lambda o, p, lib: o.LBFGS([p], lr=-1), lambda o, p, lib: o.LBFGS([{"params": p}, {"params": lib.nn.Parameter(
        lib.ones(1))}]), lambda o, p, lib: o.LBFGS([p]).step(), lambda o, p, lib: o.Muon([p], lr=-1),
    lambda o, p, lib: o.Muon([p], momentum=-1), lambda o, p, lib: o.Muon([p], weight_decay=-1),
    lambda o, p, lib: o.Muon([p], adjust_lr_fn="up"), lambda o, p, lib: o.Muon([lib.nn.Parameter(lib.ones(2))]),
    lambda o, p, lib: o.SparseAdam([p], lr=0.0), lambda o, p, lib: o.SparseAdam([p], eps=0.0),
    lambda o, p, lib: o.SparseAdam([p], betas=(1.0, 0.5)),
    _hooks, _named, _old_pickle, _shared, _zeroed, _adamw_state])
def test_behaviour_and_errors(act):
    ours, theirs = outcome(minigrad, act), outcome(torch, act)
    assert str(ours).replace("minigrad", "torch") == str(theirs)


def _wrong_line_search(o, p, lib):
    optimizer = o.LBFGS([p], line_search_fn="golden")

    def closure():
        loss = (p * p).sum()
        loss.backward()
        return loss

    return optimizer.step(closure)


def _extra_group(o, p, lib):
    optimizer = o.LBFGS([p])
    optimizer.add_param_group({"params": lib.nn.Parameter(lib.ones(1))})
    return optimizer.step(lambda: None)


def _swap(o, p, lib):
    optimizer, q = o.Adagrad([p]), lib.nn.Parameter(lib.ones(2, 2))
    saved = copy.deepcopy(optimizer.state_dict())
    q.grad = lib.ones(2, 2)
    swap = o.swap_in_optimizer_params_and_state
    with swap(optimizer, {"q": q}, saved):
        optimizer.step()
        inside = optimizer.param_groups[0]["params"][0] is q
    seen = [inside, optimizer.param_groups[0]["params"][0] is p, plain(saved["state"][0]["sum"])[2].tolist(),
            plain(optimizer.state[p]["sum"])[2].tolist(), p.sum().item(), round(q.sum().item(), 4)]
    bad = {"state": {0: 3}}, {"state": {7: {}}}, {"state": 3}, {"param_groups": 3}, {"param_groups": []}, {
        "param_groups": [{"params": [0]}]}, {"param_groups": [{"params": ["a"]}]}, {"param_groups": [3]}
    for change in bad:
        try:
            with swap(optimizer, {"q": q}, {**saved, **change}):
                pass
        except RuntimeError as error:
            seen.append(str(error))
    for params, state in (({}, saved), ({"q": q}, 3)):
        try:
            with swap(optimizer, params, state):
                pass
        except RuntimeError as error:
            seen.append(str(error))
    return seen


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True")
@pytest.mark.parametrize("act", [_wrong_line_search, _extra_group, _swap])
def test_more_errors(act):
    ours, theirs = outcome(minigrad, act), outcome(torch, act)
    assert str(ours).replace("minigrad", "torch") == str(theirs)


def test_an_optimizer_that_a_user_wrote():
    """With Tensors of its own in the state, as public programs have it."""

    def make(lib):
        class Lion(lib.optim.Optimizer):
            def __init__(self, params, lr=1e-2, betas=(0.9, 0.99), weight_decay=0.0):
                super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

            @lib.no_grad()
            def step(self, closure=None):
                loss = None
                if closure is not None:
                    with lib.enable_grad():
                        loss = closure()
                for group in self.param_groups:
                    for p in group["params"]:
                        if p.grad is None:
                            continue
                        state = self.state[p]
                        if len(state) == 0:
                            state["step"] = 0
                            state["exp_avg"] = lib.zeros_like(p)
                        state["step"] += 1
                        p.mul_(1 - group["lr"] * group["weight_decay"])
                        beta1, beta2 = group["betas"]
                        update = state["exp_avg"].clone().mul_(beta1).add(p.grad, alpha=1 - beta1).sign_()
                        p.add_(update, alpha=-group["lr"])
                        state["exp_avg"].mul_(beta2).add_(p.grad, alpha=1 - beta2)
                return loss

        return Lion

    seen = []
    for lib in (minigrad, torch):
        problem = Problem(lib)
        optimizer = make(lib)(problem.params, weight_decay=0.1)
        scheduler = lib.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30)
        for _ in range(30):
            loss = optimizer.step(problem.closure(optimizer))
            scheduler.step()
        again = pickle.loads(pickle.dumps(optimizer.state_dict()))
        seen.append((problem.values(), plain(again), loss.item()))
    for a, b in zip(seen[0][0], seen[1][0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    same(seen[0][1], seen[1][1])
