"""Learning rate schedulers and averaged models beside PyTorch's own: trajectories, state, warnings and error texts."""

import copy
import pickle
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402

EPOCHS = 40


class Falling:
    """A callable object with a state."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, epoch):
        return self.rate**epoch


SCHEDULERS = {
    "lambda": lambda s, o: s.LambdaLR(o, lambda e: 0.9**e),
    "lambdas": lambda s, o: s.LambdaLR(o, [Falling(0.9), lambda e: 1 / (e + 1)]),
    "multiplicative": lambda s, o: s.MultiplicativeLR(o, lambda e: 0.95),
    "multiplicatives": lambda s, o: s.MultiplicativeLR(o, [lambda e: 0.95, Falling(0.99)]),
    "step": lambda s, o: s.StepLR(o, 7, gamma=0.3),
    "multistep": lambda s, o: s.MultiStepLR(o, [5, 9, 9, 30], gamma=0.3),
    "constant": lambda s, o: s.ConstantLR(o, factor=0.3, total_iters=6),
    "linear": lambda s, o: s.LinearLR(o, start_factor=0.2, end_factor=0.9, total_iters=11),
    "exponential": lambda s, o: s.ExponentialLR(o, gamma=0.93),
    "polynomial": lambda s, o: s.PolynomialLR(o, total_iters=17, power=1.7),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, T_max=9, eta_min=0.01),
    "restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 5, T_mult=2, eta_min=0.01),
    "restarts equal": lambda s, o: s.CosineAnnealingWarmRestarts(o, 6),
    "cyclic": lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=4, step_size_down=7),
    "cyclic 2": lambda s, o: s.CyclicLR(o, [0.01, 0.02], [0.1, 0.5], step_size_up=4, mode="triangular2"),
    "cyclic exp": lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=4, mode="exp_range", gamma=0.9,
                                          base_momentum=[0.7, 0.6], max_momentum=0.8),
    "cyclic custom": lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=4, scale_fn=lambda x: 0.9**x,
                                             scale_mode="iterations", cycle_momentum=False),
    "cyclic object": lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=4, scale_fn=Falling(0.5)),
    "one cycle": lambda s, o: s.OneCycleLR(o, 0.3, total_steps=EPOCHS + 1),
    "one cycle three": lambda s, o: s.OneCycleLR(o, [0.3, 0.5], epochs=9, steps_per_epoch=5, three_phase=True,
                                                 anneal_strategy="linear", pct_start=0.25, div_factor=10.0,
                                                 final_div_factor=100.0, base_momentum=0.7),
    "chained": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 3), s.ExponentialLR(o, 0.9)], optimizer=o),
    "sequential": lambda s, o: s.SequentialLR(o, [
        s.LinearLR(o, 0.1, total_iters=5), s.CosineAnnealingLR(o, T_max=12), s.ExponentialLR(o, 0.9)], [5, 17]),
    "nested": lambda s, o: s.SequentialLR(o, [
        s.SequentialLR(o, [s.ConstantLR(o, 0.5, 2), s.StepLR(o, 3)], [4]), s.MultiStepLR(o, [2, 5])], [11]),
    "several": lambda s, o: [s.ExponentialLR(o, 0.95), s.StepLR(o, 7), s.CosineAnnealingLR(o, 20)],
    "swa": lambda s, o: s.SWALR(o, 0.01, anneal_epochs=8),
    "swa linear": lambda s, o: s.SWALR(o, [0.01, 0.5], anneal_epochs=8, anneal_strategy="linear"),
    "swa at once": lambda s, o: s.SWALR(o, 0.01, anneal_epochs=0),
    "swa later": lambda s, o: [s.ExponentialLR(o, 0.95), s.SWALR(o, 0.01, anneal_epochs=5)],
}


class Names:
    """The schedulers of a library by name."""

    def __init__(self, lib):
        self.lib = lib

    def __getattr__(self, name):
        optim = self.lib.optim
        return getattr(optim.swa_utils if name == "SWALR" else optim.lr_scheduler, name)


def optimizer_of(lib, kind="SGD", tensor=False):
    params = [lib.nn.Parameter(lib.ones(2)), lib.nn.Parameter(lib.ones(3))]
    rates = [lib.tensor(0.2, dtype=lib.float64) if tensor else 0.2, 0.4]
    options = {"momentum": 0.9} if kind == "SGD" else {}
    return getattr(lib.optim, kind)([{"params": params[:1]}, {"params": params[1:], "lr": rates[1]}], lr=rates[0],
                                    **options)


def plain(value):
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return float(value) if hasattr(value, "detach") else value


def numbers(optimizer, schedulers):
    groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    return plain([groups, [s.get_last_lr() for s in schedulers], [getattr(s, "last_epoch", None) for s in schedulers]])


def listed(made):
    return made if isinstance(made, list) else [made]


def states(schedulers):
    found = []
    for scheduler in schedulers:
        state = plain(scheduler.state_dict())
        found.append(state)
    return found


def run(lib, name, kind="SGD", tensor=False):
    optimizer = optimizer_of(lib, kind, tensor)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        schedulers = listed(SCHEDULERS[name](Names(lib), optimizer))
        seen = [numbers(optimizer, schedulers)]
        for _ in range(EPOCHS):
            optimizer.step()
            for scheduler in schedulers:
                scheduler.step()
            seen.append(numbers(optimizer, schedulers))
    return seen, states(schedulers), [str(w.message) for w in caught]


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_rates_are_equal(name, kind):
    ours, mine, caught = run(minigrad, name, kind)
    theirs, peers, expected = run(torch, name, kind)
    assert ours == theirs
    assert caught == expected
    for a, b in zip(mine, peers, strict=True):
        assert list(a) == [key for key in b if key != "anneal_func"]
        assert a == b


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name != "lambdas"])
def test_a_tensor_keeps_the_rate(name):
    ours, _, _ = run(minigrad, name, tensor=True)
    theirs, _, _ = run(torch, name, tensor=True)

    def flat(value):
        if isinstance(value, dict):
            return [x for entry in value.values() for x in flat(entry)]
        if isinstance(value, list):
            return [x for entry in value for x in flat(entry)]
        return [0.0 if value is None else float(value)]

    np.testing.assert_allclose(flat(ours), flat(theirs), rtol=1e-12, atol=1e-15)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("name", SCHEDULERS)
def test_resumed(name):
    """A saved scheduler goes on as if it had not been stopped, in PyTorch's form too."""
    seen = []
    for stop in (True, False):
        optimizer = optimizer_of(minigrad)
        schedulers = listed(SCHEDULERS[name](Names(minigrad), optimizer))
        for epoch in range(EPOCHS):
            if stop and epoch == 13:
                saved = copy.deepcopy([optimizer.state_dict(), [s.state_dict() for s in schedulers]])
                optimizer = optimizer_of(minigrad)
                schedulers = listed(SCHEDULERS[name](Names(minigrad), optimizer))
                optimizer.load_state_dict(saved[0])
                for scheduler, state in zip(schedulers, saved[1], strict=True):
                    scheduler.load_state_dict(state)
            optimizer.step()
            for scheduler in schedulers:
                scheduler.step()
        seen.append(numbers(optimizer, schedulers))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("options", [
    {"factor": 0.5, "patience": 2}, {"mode": "max", "patience": 1, "cooldown": 2, "min_lr": [0.05, 0.1]},
    {"threshold": 0.3, "threshold_mode": "abs", "patience": 0, "eps": 0.05},
    {"threshold": 0.3, "threshold_mode": "abs", "patience": 0, "mode": "max"}])
def test_plateau(options):
    values = np.random.default_rng(0).uniform(1, 2, 40).cumsum()[::-1].round(1) % 7
    seen = []
    for lib in (minigrad, torch):
        optimizer = optimizer_of(lib)
        scheduler = lib.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        rates = []
        for i, value in enumerate(values):
            scheduler.step(lib.tensor(float(value)) if i % 2 else float(value))
            rates.append([*scheduler.get_last_lr(), scheduler.num_bad_epochs, scheduler.in_cooldown])
        seen.append((rates, list(scheduler.state_dict().items()), numbers(optimizer, [scheduler])))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("name", ["step", "multistep", "constant", "linear", "exponential", "polynomial", "cosine",
                                  "lambda", "restarts"])
def test_epoch_by_number(name):
    """The closed form, where there is one."""
    seen = []
    for lib in (minigrad, torch):
        optimizer = optimizer_of(lib)
        scheduler = SCHEDULERS[name](Names(lib), optimizer)
        optimizer.step()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rates = []
            for epoch in (0, 3, 9, 5, 20):
                scheduler.step(epoch)
                rates.append(scheduler.get_last_lr())
            scheduler.get_lr()
        seen.append((rates, [(w.category, str(w.message)) for w in caught]))
    assert seen[0] == seen[1]


def test_fractions_of_an_epoch():
    seen = []
    for lib in (minigrad, torch):
        optimizer = optimizer_of(lib)
        scheduler = lib.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2, T_mult=2)
        rates = []
        for i in range(40):
            scheduler.step(i / 4)
            rates.append(scheduler.get_last_lr())
        seen.append((rates, scheduler.state_dict()))
    assert seen[0] == seen[1]


def test_last_epoch():
    """A scheduler made for a run that goes on."""
    for name in ("StepLR", "ExponentialLR", "CosineAnnealingLR", "LinearLR", "PolynomialLR", "MultiStepLR"):
        options = {"StepLR": (4,), "ExponentialLR": (0.9,), "CosineAnnealingLR": (10,), "MultiStepLR": ([4, 7],)}
        seen = []
        for lib in (minigrad, torch):
            optimizer = optimizer_of(lib)
            kind = getattr(lib.optim.lr_scheduler, name)
            first = kind(optimizer, *options.get(name, ()))
            for _ in range(3):
                optimizer.step()
                first.step()
            second = kind(optimizer, *options.get(name, ()), last_epoch=2)
            rates = [second.get_last_lr()]
            for _ in range(6):
                optimizer.step()
                second.step()
                rates.append(second.get_last_lr())
            seen.append(rates)
        assert seen[0] == seen[1]


def caught_by(lib, act):
    """Errors and warnings of an action, by type name and text."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            act(Names(lib), optimizer_of(lib), lib)
        except Exception as error:
            caught.append(error)
    return [(type(c).__name__, str(c)) if isinstance(c, Exception) else (c.category.__name__, str(c.message))
            for c in caught]


def _overridden(s, o, lib):
    scheduler = s.StepLR(o, 3)
    o.step = lambda: None
    scheduler.step()


def _wrapped_before(s, o, lib):
    step = type(o).step
    o.step = (lambda self: step(self)).__get__(o)
    scheduler = s.StepLR(o, 3)
    o.step()
    scheduler.step()
    scheduler.step()


def _more_groups(s, o, lib):
    scheduler = s.ReduceLROnPlateau(o, min_lr=[0.1, 0.2], patience=0)
    o.add_param_group({"params": lib.nn.Parameter(lib.ones(1))})
    for _ in range(3):
        scheduler.step(1.0)


def _own_step(s, o, lib):
    class Own(lib.optim.Optimizer):
        def step(self, closure=None):
            return 3

    optimizer = Own([lib.nn.Parameter(lib.ones(1))], {"lr": 0.1})
    scheduler = s.StepLR(optimizer, 3)
    assert optimizer.step() == 3
    scheduler.step()


def _too_often(s, o, lib):
    scheduler = s.OneCycleLR(o, 0.1, total_steps=2)
    for _ in range(4):
        o.step()
        scheduler.step()


@pytest.mark.parametrize("act", [
    lambda s, o, lib: s.StepLR(3, 3), lambda s, o, lib: s.CyclicLR(3, 0.1, 0.2),
    lambda s, o, lib: s.OneCycleLR("a", 0.1), lambda s, o, lib: s.ReduceLROnPlateau(None),
    lambda s, o, lib: s.StepLR(o, 3, last_epoch=4), lambda s, o, lib: s.StepLR(o, 3).step(),
    lambda s, o, lib: s.LambdaLR(o, [lambda e: 1]), lambda s, o, lib: s.MultiplicativeLR(o, [3, 4]),
    lambda s, o, lib: s.ConstantLR(o, factor=2.0), lambda s, o, lib: s.LinearLR(o, start_factor=0.0),
    lambda s, o, lib: s.LinearLR(o, end_factor=2.0), lambda s, o, lib: s.SequentialLR(o, [], []),
    lambda s, o, lib: s.SequentialLR(o, [s.StepLR(o, 3)], [3]), lambda s, o, lib: s.SequentialLR(o, [3], []),
    lambda s, o, lib: s.SequentialLR(o, [s.ReduceLROnPlateau(o)], []), lambda s, o, lib: s.ChainedScheduler([]),
    lambda s, o, lib: s.ChainedScheduler([s.ReduceLROnPlateau(o)]),
    lambda s, o, lib: s.ChainedScheduler([s.StepLR(o, 3), s.StepLR(optimizer_of(lib), 3)]),
    lambda s, o, lib: s.CosineAnnealingWarmRestarts(o, 0), lambda s, o, lib: s.CosineAnnealingWarmRestarts(o, 1, 0),
    lambda s, o, lib: s.CosineAnnealingWarmRestarts(o, 1, eta_min="a"),
    lambda s, o, lib: s.CosineAnnealingWarmRestarts(o, 1).step(-1),
    lambda s, o, lib: s.CyclicLR(o, 0.1, 0.2, mode="square"), lambda s, o, lib: s.CyclicLR(o, [0.1], 0.2),
    lambda s, o, lib: s.CyclicLR(lib.optim.Adagrad([lib.nn.Parameter(lib.ones(1))]), 0.1, 0.2),
    lambda s, o, lib: s.OneCycleLR(lib.optim.Adagrad([lib.nn.Parameter(lib.ones(1))]), 0.1, 3),
    lambda s, o, lib: s.OneCycleLR(o, 0.1), lambda s, o, lib: s.OneCycleLR(o, 0.1, total_steps=0),
    lambda s, o, lib: s.OneCycleLR(o, 0.1, epochs=0, steps_per_epoch=3),
    lambda s, o, lib: s.OneCycleLR(o, 0.1, epochs=3, steps_per_epoch=1.5),
    lambda s, o, lib: s.OneCycleLR(o, 0.1, 3, pct_start=2.0), lambda s, o, lib: s.OneCycleLR(o, 0.1, 3, pct_start=1),
    lambda s, o, lib: s.OneCycleLR(o, 0.1, 3, anneal_strategy="up"),
    lambda s, o, lib: s.ReduceLROnPlateau(o, factor=1.0), lambda s, o, lib: s.ReduceLROnPlateau(o, mode="mean"),
    lambda s, o, lib: s.ReduceLROnPlateau(o, threshold_mode="mean"),
    lambda s, o, lib: s.ReduceLROnPlateau(o, min_lr=[1]), lambda s, o, lib: s.ReduceLROnPlateau(o).step(1.0, epoch=3),
    lambda s, o, lib: s.SWALR(o, 0.1, anneal_strategy="up"), lambda s, o, lib: s.SWALR(o, 0.1, anneal_epochs=-1),
    lambda s, o, lib: s.SWALR(o, [0.1]), lambda s, o, lib: s.LRScheduler(o), _overridden, _wrapped_before, _more_groups,
    _own_step, _too_often])
def test_errors_and_warnings(act):
    ours, theirs = caught_by(minigrad, act), caught_by(torch, act)
    assert ours == theirs


def test_copies_and_pickles():
    optimizer = optimizer_of(minigrad)
    scheduler = minigrad.optim.lr_scheduler.StepLR(optimizer, 2)
    for made in (copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        assert made.state_dict() == scheduler.state_dict()
        made.optimizer.step()
        made.step()
        assert made.last_epoch == 1
    assert scheduler.last_epoch == 0


@pytest.mark.parametrize("make", [
    lambda swa: {}, lambda swa: {"avg_fn": swa.get_swa_avg_fn()}, lambda swa: {"avg_fn": swa.get_ema_avg_fn(0.7)},
    lambda swa: {"multi_avg_fn": swa.get_ema_multi_avg_fn(0.7), "use_buffers": True},
    lambda swa: {"multi_avg_fn": swa.get_swa_multi_avg_fn()}])
def test_averaged_model(make):
    seen = []
    for lib in (minigrad, torch):
        rng = np.random.default_rng(0)
        model = lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.BatchNorm1d(4), lib.nn.Linear(4, 2))
        swa = lib.optim.swa_utils
        averaged = swa.AveragedModel(model, **make(swa))
        for _ in range(4):
            with lib.no_grad():
                for p in model.parameters():
                    p.copy_(lib.tensor(rng.standard_normal(tuple(p.shape)).astype("f")))
            model(lib.tensor(rng.standard_normal((5, 3)).astype("f")))
            averaged.update_parameters(model)
        data = [lib.tensor(rng.standard_normal((5, 3)).astype("f")) for _ in range(3)]
        values = [t.detach().numpy().copy() for t in averaged.state_dict().values()]
        swa.update_bn([(x, 0) for x in data], averaged)
        after = [t.detach().numpy().copy() for t in averaged.state_dict().values()]
        seen.append((list(averaged.state_dict()), values + after + [averaged.eval()(data[0]).detach().numpy()]))
    assert seen[0][0] == seen[1][0]
    for a, b in zip(seen[0][1], seen[1][1], strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_averaging_errors():
    for lib in (minigrad, torch):
        swa = lib.optim.swa_utils
        for make in (swa.get_ema_avg_fn, swa.get_ema_multi_avg_fn):
            with pytest.raises(ValueError, match="Invalid decay value 1.5 provided"):
                make(1.5)
        with pytest.raises(AssertionError, match="Only one of avg_fn and multi_avg_fn should be provided"):
            swa.AveragedModel(lib.nn.Linear(1, 1), avg_fn=swa.get_swa_avg_fn(), multi_avg_fn=swa.get_swa_multi_avg_fn())
