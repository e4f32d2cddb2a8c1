"""Stage: tests of errors. In: programs whose runs fail: no memory, a device that cannot compile, or cannot launch. Out:
errors that name the line that recorded what failed, not only the one that asked for values.
Next: ``test_planted_faults.py``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

import minigrad
from minigrad.errors import CompileError, LaunchError, OutOfMemoryError
from minigrad.runtime import device as registry
from minigrad.runtime.buffer import Buffer
from minigrad.runtime.cpu import CpuDevice
from minigrad.tensor.replay import MOST_NOTED, thread


def lines_in(error: BaseException) -> list[int]:
    """The numbers of the lines of this file that a message names."""
    return [int(n) for n in re.findall(rf'{re.escape(__file__)}", line (\d+)', str(error))]


def here(below: int = 0) -> int:
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return frame.f_back.f_lineno + below


class Small(CpuDevice):
    """Has no room for what is as large as ``refused``, or, if that is -2, for more than 160,000 bytes; cannot compile
    or launch what has this in its name."""

    name = "SMALL"
    refused = -1
    not_compiled = not_launched = "nothing"

    def allocate(self, nbytes: int) -> Buffer:
        if nbytes == Small.refused or (Small.refused == -2 and nbytes > 200 * 200 * 4):
            raise OutOfMemoryError(f"no room for {nbytes} bytes")
        return super().allocate(nbytes)

    def compile(self, kernels: Any) -> Any:
        for kernel in kernels:
            if Small.not_compiled in kernel.name:
                raise ValueError(f"too hard: {kernel.name}")
        return super().compile(kernels)

    def native(self, steps: Any, slots: int, scalars: str = "") -> Any:
        for step in steps:
            if Small.not_launched in step.program.name:
                raise LaunchError(f"device SMALL cannot launch kernel {step.program.name}: no power")
        return super().native(steps, slots, scalars)


class Loose(CpuDevice):
    """Runs kernels, but may refuse the launch of each that has ``refused`` in its name."""

    name = "LOOSE"
    refused = "nothing"

    def native(self, steps: Any, slots: int, scalars: str = "") -> Any:
        return Launcher(super().native(steps, slots, scalars), [step.program.name for step in steps])


class Launcher:
    """What a device may refuse to do, unlike a ``NativeProgram``."""

    def __init__(self, native: Any, names: list[str]) -> None:
        self.native, self.names = native, names

    def run(self, *given: Any) -> None:
        self.run_timed(*given)

    def run_timed(self, *given: Any) -> list[float]:
        for name in self.names:
            if Loose.refused in name:
                raise LaunchError(f"device LOOSE cannot launch kernel {name}: the cable came off")
        return self.native.run_timed(*given)


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for kind in (Small, Loose):
        monkeypatch.setitem(registry._registry, kind.name, registry._Entry(kind, ""))
    monkeypatch.setattr(Loose, "refused", "nothing")
    for name, value in (("refused", -1), ("not_compiled", "nothing"), ("not_launched", "nothing")):
        monkeypatch.setattr(Small, name, value)
    yield
    for kind in (Small, Loose):
        registry._devices.pop(kind.name, None)
    registry._names.clear()


@pytest.mark.parametrize("tiers", [0, 2])
def test_no_room_for_a_result_names_the_line_that_made_it(tiers: int) -> None:
    x = minigrad.ones(10, 1, device="small")
    with minigrad.config(TIERS=tiers):
        small = x * 3
        large = small + minigrad.ones(1, 30, device="small")
        line = here(-1)
        small_again = small - 1
        Small.refused = 10 * 30 * 4
        with pytest.raises(OutOfMemoryError, match="no room for 1200 bytes, first recorded at File") as raised:
            (large.sum() + small_again.sum()).item()
        assert lines_in(raised.value) == [line]
        Small.refused = -1
        assert large.sum().item() == 1200


def test_no_room_for_values_on_the_way_names_the_line_of_the_largest() -> None:
    x, y = minigrad.rand(64, 64, device="small"), minigrad.rand(200, 200, device="small").realize()
    with minigrad.config(TIERS=0):
        square = (x @ x).exp()
        larger = (y @ y).exp()
        line = here(-1)
        total = (square @ x).sum() + (larger @ y).sum()
        Small.refused = -2
        with pytest.raises(OutOfMemoryError) as raised:
            total.item()
        assert line in lines_in(raised.value) and line - 1 not in lines_in(raised.value)


def test_no_room_in_backward_names_the_line_of_the_forward() -> None:
    w = minigrad.rand(12, 7, device="small", requires_grad=True)
    loss = (w.exp() * 2).sum()
    line = here(-1)
    loss = loss + 1
    Small.refused = 12 * 7 * 4
    with pytest.raises(OutOfMemoryError) as raised:
        loss.backward()
    assert lines_in(raised.value) == [line]
    assert w.grad is None


@pytest.mark.parametrize("rounds", [0, 3, 40])
@pytest.mark.parametrize("tiers", [0, 1])
def test_no_room_in_a_step_that_is_replayed(rounds: int, tiers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the step after it has room again."""
    cpu = registry.get_device("CPU")
    allocate = cpu.allocate

    def refusing(nbytes: int) -> Buffer:
        if nbytes == Small.refused:
            raise OutOfMemoryError(f"no room for {nbytes} bytes")
        return allocate(nbytes)

    monkeypatch.setattr(cpu, "allocate", refusing)
    w = minigrad.ones(1200, 700, requires_grad=True)
    optimizer = minigrad.optim.SGD([w], lr=0.0)
    with minigrad.config(TIERS=tiers):
        for k in range(rounds + 2):
            with minigrad.inspect() as seen:
                kept = w * 2
                line = here(-1)
                loss = kept.sum() + 1
                optimizer.zero_grad()
                if k == rounds:
                    Small.refused = 1200 * 700 * 4
                    with pytest.raises(OutOfMemoryError) as raised:
                        loss.backward()
                    assert lines_in(raised.value) == [line]
                    Small.refused = -1
                else:
                    loss.backward()
                    optimizer.step()
            assert seen.replayed or k in (0, rounds, rounds + 1)
        assert w.grad is not None and w.grad.sum().item() == 2 * 1200 * 700


@pytest.mark.parametrize("rounds", [0, 1, 6])
def test_no_room_under_jit(rounds: int) -> None:
    @minigrad.jit
    def both(x: Any) -> Any:
        small = x * 2
        large = small + minigrad.ones(1, 30, device="small")
        return small, large

    line, x = both.function.__code__.co_firstlineno + 3, minigrad.ones(10, 1, device="small")
    for k in range(rounds + 2):
        Small.refused = 1200 if k == rounds else -1
        if k == rounds:
            with pytest.raises(OutOfMemoryError) as raised:
                both(x)[1].realize()
            assert lines_in(raised.value) == [line]
        else:
            assert both(x)[1].sum().item() == 900


def test_no_room_under_jit_for_values_on_the_way() -> None:
    @minigrad.jit
    def sums(x: Any, y: Any) -> Any:
        square = (x @ x).exp()
        larger = (y @ y).exp()
        return (square @ x).sum() + (larger @ y).sum()

    line = sums.function.__code__.co_firstlineno + 3
    x, y = minigrad.rand(64, 64, device="small"), minigrad.rand(200, 200, device="small").realize()
    with minigrad.config(TIERS=0):
        for _ in range(5):
            sums(x, y)
        Small.refused = -2
        with pytest.raises(OutOfMemoryError) as raised:
            sums(x, y)
        Small.refused = -1
        assert line in lines_in(raised.value) and line - 1 not in lines_in(raised.value)
        assert sums(x, y).item() > 0


ROUNDS = [0, 3, 20, 40]
"""Recorded; replayed; written as a function; so as well, more than once."""


@pytest.mark.parametrize("rounds", [0, 3, 20])
def test_a_launch_refused_in_a_loop(rounds: int) -> None:
    """Also in ``backward()``; and the step after it has right values."""
    w = minigrad.ones(12, 7, device="loose").realize().requires_grad_()
    for k in range(rounds + 3):
        loss = (w.exp() * 2).sum()
        line, w.grad = here(-1), None
        if k == rounds:
            Loose.refused = ""
            with pytest.raises(LaunchError, match="the cable came off") as raised:
                loss.backward()
            assert lines_in(raised.value) == [line]
            Loose.refused = "nothing"
        else:
            loss.backward()
            assert w.grad.tolist() == [pytest.approx([2 * minigrad.e] * 7)] * 12


def test_a_launch_refused_in_a_step() -> None:
    """The line that is being run is that of the step."""
    w = minigrad.ones(12, 7, device="loose", requires_grad=True)
    optimizer = minigrad.optim.Adam([w], lr=0.1)
    for k in range(24):
        optimizer.zero_grad()
        (w * 2).sum().backward()
        if k == 22:
            Loose.refused = ""
            with pytest.raises(LaunchError, match="the cable came off"):
                optimizer.step()
            Loose.refused = "nothing"
        else:
            optimizer.step()
    assert w.grad is not None and w.grad.tolist() == [[2.0] * 7] * 12


@pytest.mark.parametrize("rounds", [0, 3, 20])
def test_a_launch_refused_under_jit(rounds: int) -> None:
    """Nothing is computed a second time to find the line: the counter counts once."""
    counter = minigrad.zeros(3, device="loose").realize()

    @minigrad.jit
    def both(x: Any) -> Any:
        counter.add_(1)
        return (x.exp() * 2).sum(1)

    line, x = both.function.__code__.co_firstlineno + 3, minigrad.ones(10, 4, device="loose").realize()
    with minigrad.config(TIERS=0):
        for k in range(rounds + 3):
            Loose.refused = "" if k == rounds else "nothing"
            if k == rounds:
                with pytest.raises(LaunchError) as raised:
                    both(x)
                assert lines_in(raised.value)[0] == line
            else:
                assert both(x).tolist() == pytest.approx([8 * minigrad.e] * 10)
        assert counter.tolist() == [rounds + 2] * 3


@pytest.mark.parametrize("where", ["cpu", "small"])
def test_what_is_large_or_on_a_device_has_its_line_after_any_number_of_calls(
        where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many calls that are not followed, only the first have their lines noted, but for these."""
    def refuse(nbytes: int) -> Buffer:
        raise OutOfMemoryError(f"no room for {nbytes} bytes")

    with minigrad.config(REPLAY=0):
        monkeypatch.setattr(thread, "noted", MOST_NOTED)
        x = minigrad.rand(300 if where == "cpu" else 3, 300).to(where).realize()
        assert x.sum().item() > 0
        y = x.exp()
        line = here(-1)
        monkeypatch.setattr(registry.get_device(where.upper()), "allocate", refuse)
        with pytest.raises(OutOfMemoryError) as raised:
            y.realize()
    assert lines_in(raised.value) == [line]


@pytest.mark.parametrize("make", [
    lambda: minigrad.zeros(300, 300), lambda: minigrad.full((300, 300), 2.0), lambda: minigrad.arange(90_000.0),
    lambda: minigrad.eye(300), lambda: minigrad.linspace(0, 1, 90_000), lambda: minigrad.ones(300, 300).tril()])
def test_no_room_for_what_was_created_names_the_line_that_did(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(nbytes: int) -> Buffer:
        raise OutOfMemoryError(f"no room for {nbytes} bytes")

    x, line = make(), make.__code__.co_firstlineno
    monkeypatch.setattr(registry.get_device("CPU"), "allocate", refuse)
    with pytest.raises(OutOfMemoryError) as raised:
        x.tolist()
    assert lines_in(raised.value) == [line]


def test_no_room_on_the_numpy_device() -> None:
    x = minigrad.ones(1 << 24, 1, device="numpy")
    large = x + minigrad.ones(1, 1 << 24, device="numpy")
    line = here(-1)
    with pytest.raises(OutOfMemoryError) as raised:
        (large.sum() * 2).item()
    assert lines_in(raised.value) == [line]


@pytest.mark.parametrize(("fault", "error", "words"), [
    ("not_compiled", CompileError, "too hard"), ("not_launched", LaunchError, "no power")])
def test_a_kernel_that_fails_names_its_lines(fault: str, error: type[Exception], words: str) -> None:
    setattr(Small, fault, "sum")
    with minigrad.config(TIERS=0):
        x = minigrad.rand(40, 30, device="small")
        y = x.exp().contiguous()
        total = y.sum(1)
        line = here(-1)
        with pytest.raises(error, match=words) as raised:
            print(y, total)
    assert lines_in(raised.value) == [line]


def test_a_program_that_is_recorded_anew_each_time_names_it_too() -> None:
    """Its calls were met before, and are not followed."""
    x = minigrad.ones(10, 1, device="small")
    for k in range(5):
        large = x + minigrad.ones(1, 30, device="small")
        line = here(-1)
        for _ in range(k):
            large = large * 1.5
        if k == 4:
            Small.refused = 1200
            with pytest.raises(OutOfMemoryError) as raised:
                large.realize()
            assert lines_in(raised.value) in ([line], [line + 3])
        else:
            large.realize()


def test_an_explained_program_keeps_its_lines() -> None:
    """The block goes on after the error."""
    x = minigrad.ones(10, 1, device="small")
    with minigrad.explain() as explained:
        large = x + minigrad.ones(1, 30, device="small")
        line = here(-1)
        Small.refused = 1200
        with pytest.raises(OutOfMemoryError) as raised:
            large.realize()
        Small.refused = -1
        large.realize()
    assert lines_in(raised.value) == [line]
    assert [part.number for part in explained.report.kernels[0].parts] == [line]
