"""Exceptions that signals' handlers raise around runs that write over leaves, and in the middle of long ones."""

import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad.engine import execute
from minigrad.graph import host
from minigrad.runtime import pool
from minigrad.runtime.native import NativeProgram


def _pending_update(n: int) -> Any:
    """A value whose plan writes over what it is computed from."""
    x = minigrad.ones(n).contiguous()
    x.realize()
    x.add_(1)
    return x.mul_(3)


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_a_run_that_raises_is_done_or_not_but_not_twice(monkeypatch: pytest.MonkeyPatch, late: bool,
                                                            copies: bool) -> None:
    """The exception comes before the native call, or after it: between any two instructions of Python."""
    if copies:
        monkeypatch.setattr(execute, "WORK_FIRM", -1)
        monkeypatch.setattr(execute, "WORK_PER_COPIED_BYTE", 0)
    run = NativeProgram.run

    def raising(self: NativeProgram, *arguments: Any) -> None:
        if late:
            run(self, *arguments)
        raise KeyboardInterrupt

    for length in (50, 100_000):
        y = _pending_update(length)
        with monkeypatch.context() as patch, minigrad.config(TIERS=0):
            patch.setattr(NativeProgram, "run", raising)
            with pytest.raises(KeyboardInterrupt):
                y.realize()
        assert (y.numpy() == 6).all()


def test_what_was_held_is_raised_when_the_results_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    run = NativeProgram.run

    def holding(self: NativeProgram, *arguments: Any) -> None:
        run(self, *arguments)
        pool.held.append(KeyboardInterrupt())

    y = _pending_update(100)
    with monkeypatch.context() as patch:
        patch.setattr(NativeProgram, "run", holding)
        with pytest.raises(KeyboardInterrupt):
            y.realize()
    assert not pool.held
    assert (y.numpy() == 6).all()


def test_a_host_function_runs_aside_and_raises_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "LONG", 0)
    names: list[str] = []

    def fails(arrays: Any) -> np.ndarray:
        names.append(threading.current_thread().name)
        return np.linalg.inv(arrays[0])

    monkeypatch.setitem(host.HOST_FUNCTIONS, "fails", fails)
    assert host.run_host(("fails", ()), [np.eye(2)])[0].tolist() == [[1, 0], [0, 1]]
    with pytest.raises(np.linalg.LinAlgError):
        host.run_host(("fails", ()), [np.zeros((2, 2))])
    assert names == ["minigrad-host"] * 2


PROGRAM = """
import os, signal, sys, threading, time
import numpy as np
import minigrad

def interrupted(f, handler=signal.default_int_handler):
    signal.signal(signal.SIGINT, handler)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    start = time.perf_counter()
    try:
        f()
        time.sleep(0.5)
        return None
    except KeyboardInterrupt:
        return time.perf_counter() - start - 0.3
"""

WORK = {
    "product": ("x = minigrad.ones(6000, 6000).contiguous().realize()", "x @ x",
                "bool((minigrad.ones(300, 300) @ minigrad.ones(300, 300) == 300).all())"),
    "scan": ("x = minigrad.ones(200_000_000).contiguous().realize()", "x.cumsum(0) + x.cumprod(0).lgamma()",
             "x[:1000].cumsum(0)[-1].item() == 1000"),
    "sort": ("x = minigrad.arange(40_000_000, dtype=minigrad.float32).flip(0).contiguous().realize()", "x.sort()[0]",
             "x[-3:].sort()[0].tolist() == [0, 1, 2]"),
    "reduction": ("x = minigrad.ones(200_000_000).contiguous().realize()", "x.lgamma().erfinv().digamma().sum()",
                  "x[:1000].sum().item() == 1000"),
}


def _python(text: str, **environment: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM + text], capture_output=True, text=True, timeout=300,
                          env={**os.environ, **environment}, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize("tiers", ["0", "2"])
@pytest.mark.parametrize("work", WORK)
def test_a_long_kernel_is_interrupted(work: str, tiers: str) -> None:
    """Each takes seconds. A second try takes as long, so it is interrupted too; then something small of the kind."""
    make, long, check = WORK[work]
    late, later, right = _python(f"""
{make}
print(interrupted(lambda: ({long}).realize()))
y = {long}
print(interrupted(lambda: y.realize()))
print({check})
""", TIERS=tiers)
    assert right == "True" and float(late) < 1 and float(later) < 1, (late, later)


@pytest.mark.slow
def test_a_handler_that_does_not_raise_lets_it_finish() -> None:
    assert _python("""
x = minigrad.ones(3500, 3500).contiguous().realize()
came = []
print(interrupted(lambda: print(bool((x @ x == 3500).all())), lambda *_: came.append(1)), came)
""") == ["True", "None", "[1]"]


@pytest.mark.slow
def test_another_thread_finishes() -> None:
    assert _python("""
x = minigrad.ones(3500, 3500).contiguous().realize()
thread = threading.Thread(target=lambda: print(bool((x @ x == 3500).all())))
thread.start()
print(interrupted(lambda: time.sleep(20)) < 1)
thread.join()
""") == ["True", "True"]


@pytest.mark.slow
def test_a_replay_changes_all_or_nothing() -> None:
    """The state is written over; the interrupt comes before that, or it is over already."""
    assert _python("""
state = minigrad.zeros(1000)
x = minigrad.ones(3000, 3000).contiguous().realize()

@minigrad.jit
def step(a):
    y = a @ a
    state.add_(y[0, :1000])
    return y

for _ in range(3):
    step(x).realize()
before = state.numpy().copy()
print(interrupted(lambda: [step(x).realize() for _ in range(8)]) < 1)
after = state.numpy()
print(bool((after == after[0]).all()), bool((after - before)[0] % 3000 == 0), bool(step(x)[0, 0] == 3000))
""") == ["True"] * 4


