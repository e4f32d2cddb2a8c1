"""Stage: tests of ``jit/``. In: optimizers whose steps have become programs. Out: each step does what it does in the
ordinary way, to the bit, whatever happens between two of them. Next: ``test_trees.py``."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.config import FREE_THREADED
from minigrad.jit.update import MOST_FAILURES
from minigrad.optim import composite as optimizers

LONG = optimizers.FIRST_STEPS + 6

MAKERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, dampening=0.1),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, maximize=True),
    "adam": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1, amsgrad=True),
    "nadam": lambda p: optim.NAdam(p, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True),
    "adamw": lambda p: optim.AdamW([{"params": p[:1], "lr": 0.1}, {"params": p[1:], "betas": (0.8, 0.9)}]),
}


class Training:
    """Two parameters, and an optimizer for them."""

    def __init__(self, maker: Callable[[Any], Any]) -> None:
        rng = np.random.default_rng(0)
        self.w = nn.Parameter(mg.tensor(rng.standard_normal((3, 4)).astype("f")))
        self.b = nn.Parameter(mg.tensor(rng.standard_normal(4).astype("f")))
        self.x = mg.tensor(rng.standard_normal((5, 3)).astype("f"))
        self.optimizer = maker([self.w, self.b])
        self.held: list[Any] = []

    def backward(self, bias: bool = True) -> None:
        self.optimizer.zero_grad()
        h = self.x @ self.w
        (h + self.b if bias else h).sin().square().sum().backward()

    def step(self, bias: bool = True) -> None:
        self.backward(bias)
        self.optimizer.step()

    def everything(self) -> list[bytes]:
        """All that a step changes."""
        values = [self.w, self.b, *[v for s in self.optimizer.state.values() for v in s.values()]]
        return [v.detach().cpu().numpy().tobytes() if isinstance(v, mg.Tensor) else repr(v).encode() for v in values]


def _set(name: str, value: Any) -> Callable[[Training], None]:
    def act(t: Training) -> None:
        for group in t.optimizer.param_groups:
            if name in group:
                group[name] = value

    return act


def _clip(t: Training) -> None:
    t.backward()
    for p in (t.w, t.b):
        p.grad.clamp_(-0.1, 0.1)
    t.optimizer.step()


def _accumulate(t: Training) -> None:
    t.backward()
    (t.x @ t.w).sum().backward()
    t.optimizer.step()


def _hold(t: Training) -> None:
    t.held.append(t.w.detach().clone())
    t.held.append((t.b.detach() * 2, t.b.detach().tolist()))


def _numpy(t: Training) -> None:
    if str(t.w.device) == "cpu":
        t.held.append(t.w.detach().numpy())


def _write(t: Training) -> None:
    with mg.no_grad():
        t.w[0].zero_()
        t.b.mul_(0.5)


def _reload(t: Training) -> None:
    t.optimizer.load_state_dict(copy.deepcopy(t.optimizer.state_dict()))


def _grad_view(t: Training) -> None:
    t.b.grad = mg.arange(8.0, device=t.b.device)[::2]
    t.optimizer.step()


def _freeze(t: Training) -> None:
    t.b.requires_grad_(not t.b.requires_grad)


EVENTS: dict[str, Callable[[Training], None]] = {
    "lr": _set("lr", 0.02), "decay off": _set("weight_decay", 0), "decay": _set("weight_decay", 0.2),
    "momentum": _set("momentum", 0.5), "betas": _set("betas", (0.7, 0.8)), "eps": _set("eps", 1e-3),
    "maximize": _set("maximize", True), "no bias": lambda t: t.step(False), "clip": _clip, "accumulate": _accumulate,
    "hold": _hold, "numpy": _numpy, "write": _write, "reload": _reload, "view": _grad_view, "freeze": _freeze,
    "data": lambda t: setattr(t.w, "data", t.w.detach() * 2),
    "device": lambda t: _move(t, "CC" if str(t.w.device) == "cpu" else "CPU"),
    "copy": lambda t: setattr(t, "optimizer", _copied(t)),
    "pending grad": lambda t: (t.backward(), setattr(t.w, "grad", t.w.grad * 2), t.optimizer.step())[0],
    "looked at": lambda t: (t.backward(), t.w.grad.tolist(), t.optimizer.step())[0],
}


def _move(t: Training, device: str) -> None:
    for p in (t.w, t.b):
        p.data = p.detach().to(device)
    t.x = t.x.to(device)
    t.optimizer.zero_grad()


def _copied(t: Training) -> Any:
    """A copy of the optimizer, for the same parameters."""
    return copy.deepcopy(t.optimizer, {id(t.w): t.w, id(t.b): t.b})


def _trained(maker: Callable[[Any], Any], names: list[str]) -> list[list[bytes]]:
    t, seen = Training(maker), []
    for _ in range(LONG):
        t.step()
    for name in names:
        EVENTS[name](t)
        for _ in range(2):
            t.step()
            seen.append(t.everything())
    seen.append([pickle.dumps([v[1] if isinstance(v, tuple) else np.asarray(v).tolist()]) for v in t.held])
    return seen


@pytest.mark.sample(3)
@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_steps_are_the_same_to_the_bit(maker: Callable[[Any], Any], rng: np.random.Generator) -> None:
    names = [*EVENTS, *rng.choice(list(EVENTS), 30).tolist()]
    with mg.config(REPLAY=0):
        want = _trained(maker, names)
    got = _trained(maker, names)
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        assert a == b, f"after {names[:i // 2 + 1][-3:]}"


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_numbers_may_change_at_each_step(maker: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedulers change learning rates, momentum and betas: one program serves them all."""
    t = Training(maker)
    for _ in range(LONG):
        t.step()
    made = t.optimizer._program._variants
    assert len(made) == 1
    for i in range(5):
        for group in t.optimizer.param_groups:
            group["lr"] *= 0.9
            if "betas" in group:
                group["betas"] = (0.9 - i / 100, 0.99)
            elif group["momentum"]:
                group["momentum"] = 0.5 + i / 100
        with mg.inspect() as seen:
            t.step()
        assert seen.replayed == 2 and seen.native_calls == 2 and not seen.recorded
    assert t.optimizer._program._variants == made


def test_whoever_looks_at_graphs_sees_them() -> None:
    t = Training(MAKERS["sgd"])
    for _ in range(LONG):
        t.step()
    with mg.config(DEBUG=3), mg.inspect() as seen:
        t.step()
    assert not seen.replayed and all([k.source for k in seen.kernels])
    with mg.inspect(device="CUDA", run=False) as seen:
        t.step()
    assert len(seen.kernels) >= 2 and not seen.replayed


def test_an_optimizer_is_gone_when_nobody_holds_it() -> None:
    """Without the help of Python's garbage collector, which may come late, unless it alone frees functions."""
    t = Training(MAKERS["adamw"])
    for _ in range(LONG):
        t.step()
    gone = [weakref.ref(t.optimizer), weakref.ref(t.w), weakref.ref(t.optimizer.state[t.w]["exp_avg"])]
    mg.ones(1).tolist()  # the trace of the last step holds its leaves
    gc.disable()
    try:
        del t
        (mg.ones(1) + 1).tolist()
        if FREE_THREADED:
            gc.collect()
        assert [r() for r in gone] == [None, None, None]
    finally:
        gc.enable()


def test_gradients_that_come_and_go_at_random_are_no_burden() -> None:
    """Programs that never fit are given up."""
    rng = np.random.default_rng(1)
    t = Training(MAKERS["momentum"])
    weights = [nn.Parameter(mg.ones(2)) for _ in range(8)]
    t.optimizer.add_param_group({"params": weights})
    for _ in range(LONG + 60):
        t.backward()
        for p in weights:
            p.grad = mg.ones(2) if rng.random() < 0.5 else None
        t.optimizer.step()
    program = t.optimizer._program
    assert program._failed <= MOST_FAILURES + program._done + 1 and len(program._variants) <= 4


def test_a_class_made_of_an_optimizer_keeps_to_its_own_step() -> None:
    class Halved(optim.SGD):
        rate = 1.0

        def _record(self, group: dict[str, Any], targets: list[Any], values: list[Any]) -> Any:
            first = len(values)
            counts = super()._record(group, targets, values)
            for i in range(first, len(values)):
                values[i] = values[i] * self.rate
            return counts

    p = nn.Parameter(mg.ones(2))
    optimizer = Halved([p], lr=0.0)
    for i in range(LONG + 2):
        optimizer.rate = 0.5 if i >= LONG else 1.0
        p.grad = mg.ones(2)
        optimizer.step()
    assert optimizer._program is None and p.tolist() == [0.25, 0.25]


def test_many_threads_with_an_optimizer_each() -> None:
    want, results = Training(MAKERS["adam"]), []
    for _ in range(LONG):
        want.step()

    def work() -> None:
        t = Training(MAKERS["adam"])
        for _ in range(LONG):
            t.step()
        results.append(t.everything())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [want.everything()] * 4


def test_a_failing_step_leaves_the_next_one_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    t = Training(MAKERS["sgd"])
    for _ in range(LONG):
        t.step()
    before = t.everything()
    t.backward()
    t.optimizer.param_groups[0]["lr"] = "fast"
    with pytest.raises(ValueError, match="could not convert string to float"):
        t.optimizer.step()
    assert t.everything() == before
    t.optimizer.param_groups[0]["lr"] = 0.0
    t.optimizer.step()
    assert t.everything() == before
