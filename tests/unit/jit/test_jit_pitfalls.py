"""Stage: tests of ``jit/``. In: what goes wrong silently elsewhere: TinyJit, torch.compile and jax.jit freeze values,
read stale ones or recompile for ever. Out: the right result at every call; where there can be none, an error that says
why.
Next: ``test_jit_shapes.py``."""

from __future__ import annotations

import functools
import itertools
import random
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import nn, optim

SCALE = 2.0
TABLE = {"scale": 2.0, "steps": [1, 2]}
WEIGHT = minigrad.ones(2)


def ones(n: int = 2) -> Any:
    return minigrad.ones(n)


def warm(jitted: Any, *args: Any) -> None:
    """Call it until it is replayed."""
    for _ in range(4):
        jitted(*args)
    assert jitted.variants


# --- what is around a function changes


def change_global() -> None:
    global SCALE
    SCALE = 3.0


def change_table() -> None:
    TABLE["scale"] = 3.0


def change_list() -> None:
    TABLE["steps"].append(3)  # type: ignore[attr-defined]


def replace_weight() -> None:
    global WEIGHT
    WEIGHT = minigrad.full((2,), 3.0)


def write_weight() -> None:
    WEIGHT.mul_(2)


def write_weight_through_numpy() -> None:
    WEIGHT.numpy()[:] = 5.0


def set_weight_data() -> None:
    WEIGHT.data = minigrad.full((2,), 4.0)


@pytest.mark.parametrize("change", [change_global, change_table, change_list, replace_weight, write_weight,
                                    write_weight_through_numpy, set_weight_data])
def test_globals(change: Callable[[], None]) -> None:
    def f(x: Any) -> Any:
        return x * SCALE * TABLE["scale"] * sum(TABLE["steps"]) * WEIGHT  # type: ignore[call-overload]

    jitted = minigrad.jit(f)
    warm(jitted, ones())
    for _ in range(4):
        assert jitted(ones()).tolist() == f(ones()).tolist()
    change()
    for _ in range(4):
        assert jitted(ones()).tolist() == f(ones()).tolist()


def test_closures_defaults_and_attributes() -> None:
    class Config:
        rate = 1.0

        def __init__(self) -> None:
            self.power = 1

        @property
        def factor(self) -> float:
            return self.rate * 2

    settings, offset = Config(), 1.0

    def helper(x: Any) -> Any:
        return x ** settings.power * settings.factor

    def f(x: Any, *, bias: float = 0.5) -> Any:
        return helper(x) + offset + bias

    jitted = minigrad.jit(f)

    def check() -> None:
        for _ in range(4):
            assert jitted(ones() * 3).tolist() == f(ones() * 3).tolist()
        assert jitted.variants

    check()
    settings.power = 2
    check()
    Config.rate = 5.0
    check()
    offset = 7.0
    check()
    f.__kwdefaults__["bias"] = 2.5  # type: ignore[index]
    check()
    settings = Config()
    check()


def test_mode_of_a_module() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, x: Any) -> Any:
            return self.linear(x) * (2 if self.training else 1)

    net = Net()
    jitted = minigrad.jit(minigrad.no_grad()(net.forward))
    for _ in range(4):
        for _ in range(3):
            np.testing.assert_allclose(jitted(ones()).tolist(), net(ones()).tolist(), rtol=1e-6)
        net.train(not net.training)
    assert len(jitted.variants) == 2, "a program for each mode is kept"
    net.linear = nn.Linear(2, 2)
    np.testing.assert_allclose(jitted(ones()).tolist(), net(ones()).tolist(), rtol=1e-6)
    net.load_state_dict({k: v * 0 for k, v in net.state_dict().items()})
    for _ in range(4):
        assert jitted(ones()).tolist() == [0.0, 0.0]


def test_frozen_parameters_and_gradient_modes() -> None:
    w, v = minigrad.ones(2, requires_grad=True), minigrad.ones(2, requires_grad=True)

    @minigrad.jit
    def step(x: Any) -> None:
        (w * v * x).sum().backward()

    warm(step, ones())
    v.requires_grad_(False)
    w.grad = v.grad = None
    for i in range(4):
        step(ones())
        assert v.grad is None and w.grad.tolist() == [i + 1.0] * 2
    w.grad = None
    step(ones())
    assert w.grad.tolist() == [1.0] * 2


@pytest.mark.parametrize("kind", [optim.SGD, optim.AdamW])
def test_changed_hyperparameters(kind: Any) -> None:
    """Numbers may be others at each call. Which of them there are (no decay, no momentum) is part of the program."""

    def build() -> tuple[Any, optim.Optimizer, Any]:
        w = minigrad.ones(2, requires_grad=True)
        opt = kind([w], lr=0.5, **({"momentum": 0.9} if kind is optim.SGD else {"eps": 1e-4}))

        def step(x: Any) -> None:
            opt.zero_grad()
            (w * w * x).sum().backward()
            opt.step()

        return w, opt, step

    (w, opt, step), (v, other, plain) = build(), build()
    jitted = minigrad.jit(step)
    for i in range(40):
        for o in (opt, other):
            group = o.param_groups[0]
            group["lr"] = 0.1 / (i + 1)
            if kind is optim.SGD:
                group["momentum"] = 0.0 if 20 <= i < 24 else 0.8 + i / 200
            else:
                group["betas"] = (0.5 + i / 100, 0.9)
            if i in (10, 30):
                group["weight_decay"] = 0.1 if i == 10 else 0
            if i == 16:
                o.load_state_dict(o.state_dict())
        jitted(ones())
        plain(ones())
        np.testing.assert_allclose(w.tolist(), v.tolist(), rtol=1e-6)
    assert jitted.given_up is None


def test_parameters_that_have_not_taken_as_many_steps() -> None:
    """Adam's numbers depend on the count of steps. Those that come to differ are not updated together."""

    def build() -> tuple[Any, Any]:
        w, v = (minigrad.ones(2, requires_grad=True) for _ in range(2))
        opt = optim.Adam([w, v], lr=0.1)

        def step(x: Any, both: bool) -> None:
            opt.zero_grad()
            ((w * v if both else w) * x).square().sum().backward()
            opt.step()

        return (w, v), step

    (got, step), (want, plain) = build(), build()
    jitted = minigrad.jit(step)
    for i in range(24):
        for f in (jitted, plain):
            f(ones(), i not in (8, 9, 15))
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a.tolist(), b.tolist(), rtol=1e-6)


# --- arguments


def test_numbers_that_are_no_tensors() -> None:
    jitted = minigrad.jit(lambda x, n, name="a": x * n + len(name))
    for n in (1, 2, 1.5, True, 0.0, -0.0, 1, 1.5):
        for name in ("a", "bb"):
            for _ in range(3):
                assert jitted(ones(), n, name=name).tolist() == [n + len(name)] * 2
    product = minigrad.jit(lambda x, n: x * n)
    for n in (0.0, -0.0, 0.0, -0.0):
        assert str(product(ones(), n).tolist()) == str([n, n])


def test_numbers_that_never_repeat() -> None:
    jitted = minigrad.jit(lambda x, n: x * n)
    with pytest.warns(UserWarning, match="17 kinds of arguments one after another"):
        for i in range(40):
            assert jitted(ones(), i / 8).tolist() == [i / 8] * 2
    for _ in range(4):
        for i in range(35, 40):  # what comes again is recorded
            assert jitted(ones(), i / 8).tolist() == [i / 8] * 2
    assert len(jitted.variants) == 5


def test_surroundings_that_never_rest() -> None:
    scale = 0.0
    jitted = minigrad.jit(lambda x: x * scale)
    with pytest.warns(UserWarning, match="17 calls one after another had to be recorded; the last, because scale has"):
        for i in range(40):
            scale = i / 8
            assert jitted(ones()).tolist() == [scale] * 2


def test_shapes_dtypes_and_views() -> None:
    jitted = minigrad.jit(lambda x: (x * 2).sum(-1))
    whole = minigrad.arange(120, dtype=minigrad.float32).reshape(10, 12)
    whole.realize()
    for _ in range(3):
        for x in (whole, whole[2:5], whole[3:6], whole[:, 1:4], whole.T, whole[::2], whole.to(minigrad.float64),
                  whole[0].expand(4, 12), minigrad.from_numpy(np.arange(12, dtype=np.int32)), whole[:0]):
            np.testing.assert_allclose(jitted(x).numpy(), (x.numpy() * 2).sum(-1))


def test_batches_of_one_tensor_need_one_program() -> None:
    """The usual loop over slices of the data; the second of each is no reason to record again."""
    data, labels = minigrad.arange(64, dtype=minigrad.float32).reshape(32, 2), minigrad.arange(32)
    jitted = minigrad.jit(lambda x, y: (x.sum() + y.sum(), x * 2))
    for i in range(0, 32, 4):
        total, doubled = jitted(data[i:i + 4], labels[i:i + 4])
        assert total.item() == data[i:i + 4].sum().item() + labels[i:i + 4].sum().item()
        assert doubled.tolist() == (data[i:i + 4] * 2).tolist()
    assert len(jitted.variants) == 1


def test_aliased_arguments() -> None:
    def f(x: Any, y: Any) -> Any:
        x.add_(1)
        return y * 1

    jitted = minigrad.jit(f)
    warm(jitted, ones(), ones())
    x = ones()
    assert jitted(x, x).tolist() == [2.0, 2.0] and x.tolist() == [2.0, 2.0]
    assert jitted(x, x[:1]).tolist() == [3.0] and x.tolist() == [3.0, 3.0]
    assert jitted(x, x.detach()).tolist() == [4.0, 4.0]
    for i in range(4):
        assert jitted(x, x).tolist() == [5.0 + i] * 2
    base = minigrad.zeros(4)
    for i in range(4):
        assert jitted(base[:2], base[1:3]).tolist() == [i + 1.0, 0.0]  # overlapping views of one memory
    assert base.tolist() == [4.0, 4.0, 0.0, 0.0]


def test_an_argument_that_is_also_around() -> None:
    w = ones()
    jitted = minigrad.jit(lambda x: (x.mul_(2), w * 1)[1])
    warm(jitted, ones())
    for i in range(4):
        assert jitted(w).tolist() == [2.0 ** (i + 1)] * 2


def test_arguments_changed_in_place() -> None:
    """Views, memory that NumPy sees, and pending values are changed as they are without jit."""
    jitted = minigrad.jit(lambda x: x.mul_(2).sum())
    warm(jitted, ones())
    array = np.ones(2, np.float32)
    for i in range(4):
        assert jitted(minigrad.from_numpy(array)).item() == 2.0 ** (i + 2)
        assert array.tolist() == [2.0 ** (i + 1)] * 2
    base = minigrad.ones(3, 2)
    row = base[1]
    for _ in range(4):
        jitted(row)
    assert base.tolist() == [[1.0, 1.0], [16.0, 16.0], [1.0, 1.0]]
    pending = ones() + 1
    assert jitted(pending).item() == 8.0 and pending.tolist() == [4.0, 4.0]


def test_memory_that_numpy_sees() -> None:
    """A parameter whose array somebody keeps: it is read as it is now, and updated in that very memory."""
    w = ones()
    array = w.numpy()
    jitted = minigrad.jit(lambda x: (w.add_(x), w.sum())[1])
    for i in range(6):
        assert jitted(ones()).item() == 2 * (i + 2) and array.tolist() == [i + 2.0] * 2
    array[:] = 0
    assert jitted(ones()).item() == 2.0 and array.tolist() == [1.0, 1.0]


def test_old_values_are_kept_for_who_holds_them() -> None:
    w = minigrad.zeros(1000)
    jitted = minigrad.jit(lambda: w.add_(1))
    for _ in range(4):
        jitted()
    pending, copied, detached = w * 10, w.clone(), w.detach()
    before = w[:3].clone()
    jitted()
    assert pending[0].item() == 40.0 and copied[0].item() == 4.0 and before.tolist() == [4.0] * 3
    assert detached[0].item() == 5.0
    x = (w * 1).realize()
    jitted()
    assert x[0].item() == 5.0 and w[0].item() == 6.0


# --- values


@pytest.mark.parametrize("look", [
    lambda x: x.sum().item(), lambda x: bool(x.sum() > 0), lambda x: print(x), lambda x: x.tolist(),
    lambda x: x.numpy(), lambda x: x[x > 0], lambda x: x.nonzero(), lambda x: float(x.sum()), lambda x: x.bernoulli(),
    lambda x: f"{x}", lambda x: x.long().bincount(), lambda x: [1, 2, 3][x.sum().long()], lambda x: x.data_ptr(),
    lambda x: W.item(), lambda x: np.asarray(x), lambda x: x.__dlpack__()])
def test_values_are_refused(look: Callable[[Any], Any]) -> None:
    """Before the function has returned there are none; a value of an earlier call would be wrong."""
    w = minigrad.ones(2, requires_grad=True)

    @minigrad.jit
    def step(x: Any) -> Any:
        with minigrad.no_grad():
            w.add_(1)
        w.grad = x * 2
        return look(x)

    for _ in range(3):
        with pytest.raises(RuntimeError, match=r"step\(\): .* needs the value of a tensor, and there are no values"):
            step(ones())
        assert w.tolist() == [1.0, 1.0] and w.grad is None, "what it did before the error is undone"
    assert (ones() + 1).sum().item() == 4.0


W = minigrad.ones(())


@pytest.mark.parametrize("transform", [minigrad.vmap, minigrad.func.jacfwd], ids=["vmap", "jacfwd"])
@pytest.mark.parametrize("look", [
    lambda x: x.sum().item(), lambda x: bool(x.sum() > 0), lambda x: x[x > 0].sum(), lambda x: x.long().bincount(),
    lambda x: minigrad.searchsorted(x, x).sum(), lambda x: x.masked_select(x > 0)])
def test_values_that_all_rows_share_are_refused(look: Callable[[Any], Any], transform: Callable[..., Any]) -> None:
    @minigrad.jit
    def step(x: Any) -> Any:
        return transform(lambda t: t * look(x * 1))(x)

    with pytest.raises(RuntimeError, match=r"step\(\): .* needs the value of a tensor, and there are no values"):
        step(ones())


def test_an_error_inside_leaves_all_as_it_was() -> None:
    w = minigrad.ones(2, requires_grad=True)

    @minigrad.jit
    def step(x: Any, fail: bool) -> Any:
        (w * x).sum().backward()
        with minigrad.no_grad():
            w.sub_(w.grad)
        if fail:
            raise ValueError("no")
        return w.sum()

    for i in range(6):
        with pytest.raises(ValueError, match="no"):
            step(ones(), True)
        assert w.tolist() == [1.0 - sum(range(1, i + 1))] * 2
        step(ones(), False)


def test_an_index_out_of_range_changes_nothing() -> None:
    table = minigrad.arange(4, dtype=minigrad.float32)

    @minigrad.jit
    def step(i: Any) -> Any:
        table.add_(1)
        return table[i]

    good, bad = minigrad.tensor([1, 2]), minigrad.tensor([1, 9])
    for i in range(5):
        with pytest.raises(IndexError):
            step(bad)
        assert table.tolist() == [i, i + 1.0, i + 2.0, i + 3.0]
        assert step(good).tolist() == [i + 2.0, i + 3.0]


@pytest.mark.parametrize("settings", [{}, {"DEBUG": 2}, {"THREADS": 1}], ids=str)
@pytest.mark.parametrize("rows", [700, 120_000])  # the second run is long: a signal may come in the middle of it
def test_a_step_that_writes_over_weights_stops_at_a_wrong_index(
        settings: dict[str, int], rows: int, capsys: pytest.CaptureFixture[str]) -> None:
    """What comes after all checks overwrites its leaves; if an index is wrong, it does not run."""
    table, weight = minigrad.ones(50, 80), minigrad.ones(rows, 80)

    @minigrad.jit
    def step(i: Any) -> Any:
        total = table[i].sum()
        weight.add_(total)
        return total

    good, bad = minigrad.tensor([1, 2]), minigrad.tensor([1, 50])
    for _ in range(4):
        step(good)
    assert [v.program.executable.overwrites for v in step.variants] == [True]
    with minigrad.config(**settings):
        for k in range(3):
            with pytest.raises(IndexError, match=r"not in 0 … 49"):
                step(bad)
            assert minigrad.equal(weight, minigrad.full((rows, 80), 1.0 + 160 * (4 + k)))
            assert step(good).item() == 160
    assert minigrad.equal(weight, minigrad.full((rows, 80), 1.0 + 160 * 7))


def test_an_index_that_a_step_changes_in_place_is_looked_at_again() -> None:
    """What is known of its elements, that none is negative, ends with them."""
    index, x = minigrad.tensor([5, 6]), minigrad.arange(10)

    @minigrad.jit
    def step() -> Any:
        index.sub_(1)
        return index.sum()

    for i in range(10):
        assert x[index].tolist() == [(5 - i) % 10, (6 - i) % 10]
        step()
    assert any(v.program.executable.overwrites for v in step.variants)


# --- what can't be a program


def plain_after(jitted: Any, match: str, *args: Any) -> list[Any]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = [jitted(*args) for _ in range(8)]
    assert [w for w in caught if match in str(w.message)], [str(w.message) for w in caught]
    assert len(caught) == 1, "it is said once"
    return results


def test_a_counter() -> None:
    count = 0

    def step(x: Any) -> Any:
        nonlocal count
        count += 1
        return x * count

    results = plain_after(minigrad.jit(step), "changes count at each call", ones())
    assert [r[0].item() for r in results] == list(range(1, 9)) and count == 8


def test_a_list_of_losses() -> None:
    losses: list[Any] = []

    def step(x: Any) -> None:
        losses.append(x.sum())

    plain_after(minigrad.jit(step), "changes losses at each call", ones())
    assert [loss.item() for loss in losses] == [2.0] * 8


def test_numbers_from_elsewhere() -> None:
    generator = np.random.default_rng(0)
    jitted = minigrad.jit(lambda x: x + minigrad.tensor(generator.standard_normal(2)))
    results = plain_after(jitted, "different things at each call", ones())
    assert len({tuple(r.tolist()) for r in results}) == 8
    results = plain_after(minigrad.jit(lambda x: x * random.random()), "different things", ones())
    assert len({tuple(r.tolist()) for r in results}) == 8
    results = plain_after(minigrad.jit(lambda x: x * (time.perf_counter() % 1e-3)), "different things", ones())
    assert len({tuple(r.tolist()) for r in results}) == 8


def test_a_tensor_that_cannot_be_found() -> None:
    hidden = iter([minigrad.full((2,), float(i)) for i in range(8)])
    results = plain_after(minigrad.jit(lambda x: x + next(hidden)), "", ones())
    assert [r[0].item() for r in results] == [i + 1.0 for i in range(8)]
    box = functools.lru_cache(lambda: WEIGHTS[0])
    box()
    jitted = minigrad.jit(lambda x: (box().add_(1), box() * x)[1])
    results = plain_after(jitted, "can't find from the function", ones())
    assert [r[0].item() for r in results] == [i + 2.0 for i in range(8)]


WEIGHTS = [minigrad.ones(2)]


def test_numpy_arrays_around() -> None:
    array = np.ones(2, np.float32)
    jitted = minigrad.jit(lambda x: x + minigrad.from_numpy(array))
    warm(jitted, ones())
    array[0] = 5.0
    for _ in range(4):
        assert jitted(ones()).tolist() == [6.0, 2.0]
    large = np.zeros(1 << 20, np.float32)
    jitted = minigrad.jit(lambda x: x + minigrad.from_numpy(large[:2]))
    for i, result in enumerate(plain_after(jitted, "a NumPy array of", ones())):
        assert result.tolist() == [1.0, 1.0], i


def test_host_ops() -> None:
    jitted = minigrad.jit(lambda x: x.sort().values)
    results = plain_after(jitted, "no kernel computes", minigrad.tensor([3.0, 1.0, 2.0]))
    assert results[-1].tolist() == [1.0, 2.0, 3.0]


def test_misuse() -> None:
    with pytest.raises(TypeError, match="expects a function"):
        minigrad.jit(3)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        minigrad.jit(lambda x: x)()


def test_constants_made_inside_are_not_overwritten() -> None:
    """A table made in the function is made once; what the caller does to a result must not reach it."""
    jitted = minigrad.jit(lambda: (minigrad.tensor([1.0, 2.0]), minigrad.tensor([1.0, 2.0]) * 3, minigrad.zeros(2)))
    for _ in range(5):
        table, tripled, zeros = jitted()
        assert (table.tolist(), tripled.tolist(), zeros.tolist()) == ([1.0, 2.0], [3.0, 6.0], [0.0, 0.0])
        table.mul_(100)
        zeros.add_(1)
        minigrad.realize(table, zeros)


def test_debug_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    scale = 1.0
    jitted = minigrad.jit(lambda x: x * scale)
    with minigrad.config(DEBUG=1):
        warm(jitted, ones())
        scale = 2.0
        jitted(ones())
        jitted(ones(3))
    text = capsys.readouterr().out
    assert "<lambda> is recorded: it was not called before" in text and "scale has changed" in text
    assert "it was not called with such arguments before" in text
    with minigrad.inspect() as seen:
        scale = 3.0
        jitted(ones())
    assert seen.recorded == ["<lambda>: scale has changed"]


@pytest.mark.filterwarnings("ignore:minigrad.jit")
@pytest.mark.parametrize("inside", [False, True])
def test_hooks_of_tensors_around(inside: bool) -> None:
    def gradients(jit: bool) -> list[float]:
        weight = minigrad.tensor(0.5, requires_grad=True)

        def step(add: bool) -> None:
            if add and inside:
                weight.register_hook(lambda g: g * 2)
            weight.reciprocal().backward()

        function = minigrad.jit(step) if jit else step
        found = []
        for i in range(9):
            if i % 3 == 1 and not inside:
                handle = weight.register_hook(lambda g: g * 2)
            if i == 8 and not inside:
                handle.remove()
            function(i % 3 == 1)
            found.append(weight.grad.item())
        return found

    assert gradients(True) == gradients(False)


def test_an_argument_that_is_made_to_require_a_gradient() -> None:
    """As an attack on a model does: the caller's tensor gets the flag and the gradient."""

    def slope(x: Any) -> Any:
        x.requires_grad_()
        (x * x).sum().backward()
        return x.grad

    jitted = minigrad.jit(slope)
    x = ones()
    with pytest.warns(UserWarning, match="makes an argument require a gradient"):
        assert jitted(x).tolist() == [2.0, 2.0] and x.requires_grad and x.grad.tolist() == [2.0, 2.0]
    inside = minigrad.jit(lambda x: slope(x.clone()))
    for _ in range(5):
        assert inside(ones()).tolist() == [2.0, 2.0]
    assert inside.variants


def test_the_gradient_of_what_requires_none_any_more() -> None:
    w = minigrad.ones(2, requires_grad=True)
    (w * 3).sum().backward()
    w.requires_grad_(False)
    jitted = minigrad.jit(lambda: w.sub_(w.grad))
    for i in range(5):
        jitted()
        assert w.tolist() == [1 - 3.0 * (i + 1)] * 2
    w.grad = minigrad.ones(2)
    jitted()
    assert w.tolist() == [-15.0] * 2
    assert jitted.variants


def test_two_tensors_around_with_one_value() -> None:
    """A clone shares its value's memory until one of the two changes."""
    a = minigrad.ones(2)
    b = a.clone()
    jitted = minigrad.jit(lambda: a * 10 + b)
    for i in range(6):
        assert jitted().tolist() == [11.0 + i] * 2
        b.add_(1)
    assert jitted.variants


def test_lists_and_dictionaries_that_it_is_given() -> None:
    def step(state: dict[str, Any], log: list[Any], x: Any) -> None:
        state["h"] = state["h"] * 2 + x
        state["inner"]["n"] = x
        log.append(state["h"].sum())

    jitted = minigrad.jit(step)
    state: dict[str, Any] = {"h": ones(), "inner": {"n": None}}
    inner, log, x = state["inner"], [], ones()
    with pytest.warns(UserWarning, match="changes a list or dictionary that it is given"):
        jitted(state, log, x)
    assert state["h"].tolist() == [3.0, 3.0] and state["inner"] is inner and inner["n"] is x
    jitted(state, log, x)
    assert state["h"].tolist() == [7.0, 7.0] and [t.item() for t in log] == [6.0, 14.0]


def test_objects_that_are_returned() -> None:
    class Output:
        def __init__(self, loss: Any) -> None:
            self.loss = loss

    settings = Output(None)
    jitted = minigrad.jit(lambda x: Output(x * 2))
    with pytest.warns(UserWarning, match="returns a Output, of which there is only the one that was recorded"):
        results = [jitted(ones() * i) for i in range(5)]
    assert [r.loss.tolist() for r in results] == [[2.0 * i] * 2 for i in range(5)]
    known = minigrad.jit(lambda x: (settings, x * 2))
    for i in range(5):
        found, doubled = known(ones() * i)
        assert found is settings and doubled.tolist() == [2.0 * i] * 2
    with pytest.warns(UserWarning, match="returns a generator"):
        assert list(minigrad.jit(lambda x: (x[i] for i in range(2)))(ones()))[1].item() == 1.0


def test_a_leaf_and_a_result_as_the_same_argument() -> None:
    """A program that was recorded for a leaf sets its ``.grad``; through a computed argument the gradient flows on."""

    def f(x: Any) -> Any:
        return (x * x).sum()

    def step(x: Any) -> None:
        f(x).backward()

    jitted = minigrad.jit(step)
    for _ in range(4):
        leaf = ones().requires_grad_()
        jitted(leaf)
        assert leaf.grad.tolist() == [2.0, 2.0]
    source = ones().requires_grad_()
    jitted(source * 3)
    assert source.grad.tolist() == [18.0, 18.0]
    row = minigrad.ones(3, 2, requires_grad=True)
    jitted(row[1])
    assert row.grad.tolist() == [[0.0, 0.0], [2.0, 2.0], [0.0, 0.0]]


@pytest.mark.parametrize("tiers", [0, 2])
def test_constants_that_are_no_finite_numbers(tiers: int) -> None:
    """Also NumPy's numbers, which print in another way."""
    with minigrad.config(TIERS=tiers):
        jitted = minigrad.jit(lambda x: x.masked_fill(x > 1, float("-inf")).clamp(max=float("inf")) * np.float64(2.5))
        scale = minigrad.jit(lambda x, n: x * n)
        for _ in range(5):
            assert jitted(minigrad.tensor([1.0, 2.0])).tolist() == [2.5, float("-inf")]
            for n in (float("inf"), float("-inf"), np.float32(1.5), 2.0):
                assert scale(ones(), n).tolist() == [float(n)] * 2
            assert np.isnan(scale(ones(), float("nan")).tolist()).all()


def test_what_is_donated_and_what_is_not() -> None:
    step = minigrad.jit(lambda state, x: state * 2 + x, donate=0)
    for _ in range(4):
        step(ones(), ones())
    whole = minigrad.ones(3, 2)
    assert step(whole[1], ones()).tolist() == [3.0, 3.0]
    assert whole.tolist() == [[1.0, 1.0]] * 3, "a view's memory is not only its own"
    same = minigrad.jit(lambda state, x: (state, state.view(2, 1), x + 1), donate=0)
    for _ in range(4):
        state = ones()
        found, column, _ = same(state, ones())
        assert found is state and found.tolist() == [1.0, 1.0] and column.tolist() == [[1.0], [1.0]]


def test_an_error_leaves_views_as_they_were() -> None:
    """Which remember what they saw of a value that was taken back."""
    w = minigrad.zeros(2, 2)
    row = w[0]

    @minigrad.jit
    def step(fail: bool) -> Any:
        w.add_(100 if fail else 1)
        total = row.sum()
        if fail:
            raise ValueError("no")
        return total

    for i in range(4):
        with pytest.raises(ValueError, match="no"):
            step(True)
        assert step(False).item() == 2.0 * (i + 1)
        assert w.tolist() == [[i + 1.0] * 2] * 2


def test_an_optimizer_of_ones_own() -> None:
    """What a class says of the numbers that it asks for at each call does not hold for what is made of it."""

    class Mine(optim.Optimizer):
        def __init__(self, params: Any, lr: float) -> None:
            super().__init__(params, {"lr": lr})

        def step(self, closure: Any = None) -> None:
            with minigrad.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        p.sub_(p.grad * group["lr"])

    class Halved(optim.SGD):
        def step(self, closure: Any = None) -> None:
            with minigrad.no_grad():
                for p in self.param_groups[0]["params"]:
                    p.sub_(p.grad * (self.param_groups[0]["lr"] / 2))

    for kind, share in ((Mine, 1.0), (Halved, 0.5)):
        w = minigrad.zeros(2, requires_grad=True)
        opt = kind([w], lr=1.0)

        @minigrad.jit
        def step() -> None:
            opt.zero_grad()  # noqa: B023
            w.sum().backward()  # noqa: B023
            opt.step()  # noqa: B023

        expected = 0.0
        for i in range(8):
            opt.param_groups[0]["lr"] = 1.0 if i < 5 else 10.0
            expected -= share * opt.param_groups[0]["lr"]
            step()
            assert w.tolist() == [expected] * 2


def test_calls_from_several_threads() -> None:
    """One state and one function: no update is lost, and none is done twice."""
    total = minigrad.zeros(())
    jitted = minigrad.jit(lambda x: total.add_(x).clone())
    warm(jitted, minigrad.ones(()))
    start, seen = total.item(), []

    def work() -> None:
        for _ in range(100):
            seen.append(jitted(minigrad.ones(())).item())

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        workers = [threading.Thread(target=work) for _ in range(4)]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
    finally:
        sys.setswitchinterval(interval)
    assert total.item() == start + 400 and sorted(seen) == [start + i + 1 for i in range(400)]


def test_what_is_called_as_it_is_keeps_no_other_thread_waiting() -> None:
    """A function whose results need the tape may wait for another thread, which computes meanwhile."""
    w, calls = minigrad.ones(2, requires_grad=True), itertools.count()

    def forward(x: Any) -> Any:
        if next(calls) > 1:  # the first two may be recorded, and one recording is made at a time
            other = threading.Thread(target=lambda: (ones() * 3).sum().item())
            other.start()
            other.join(20)
            assert not other.is_alive()
        return w * x

    threading.Thread(target=lambda: ones() * 3).start()
    jitted = minigrad.jit(forward)
    for _ in range(4):
        assert jitted(ones()).tolist() == [1.0, 1.0]
    assert next(calls) == 4


def test_each_function_that_is_given_up_warns_at_the_line_that_calls_it() -> None:
    """Also the second one of a name, with Python's filter, which shows a text once for each line."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        for _ in range(2):
            function = minigrad.jit(lambda x: x * random.random())
            for _ in range(6):
                function(ones())
    assert [warning.filename for warning in said] == [__file__] * 2
    assert all("<lambda>() is called in the ordinary way" in str(warning.message) for warning in said)
