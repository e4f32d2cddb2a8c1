"""Stage: tests of the front. In: several threads that read, record, change and differentiate the same Tensors, switched
every microsecond. Out: nothing is lost and nothing is read that was written over. Next: ``test_protocol.py``."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn, optim
from minigrad.runtime.locks import computing, engine_lock, others_record, record_lock


@pytest.fixture(autouse=True)
def switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What ``work(0)``, ``work(1)`` … give, each on a thread; what one of them raises is raised here."""
    errors: list[BaseException] = []
    results: list[Any] = []
    ready = threading.Barrier(count)

    def run(i: int) -> None:
        try:
            ready.wait()
            results.append(work(i))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


IMPORTS = """
import sys, threading
import minigrad
sys.setswitchinterval(1e-6)
names, errors, ready = ["nn", "optim", "serialization", "jit"], [], threading.Barrier(4)

def gradient(x):
    (x * x).sum().backward()

def products(x):
    x.cumprod(0).sum().backward()

def tangent(x):
    minigrad.func.jvp(minigrad.sin, (x.detach(),), (x.detach(),))[1].tolist()

def values(x):
    minigrad.linalg.svd(minigrad.diag(x.detach())).S.tolist()

def work(first):
    ready.wait()
    try:
        for use in ([gradient, products, tangent, values] * 2)[first:first + 4]:
            use(minigrad.ones(3, requires_grad=True))
        for name in (names * 2)[first:first + 4]:
            getattr(minigrad, name)
    except BaseException as error:
        errors.append(error)

threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if errors:
    raise errors[0]
"""

FORK = """
import os, threading, time, warnings
import minigrad
from minigrad import lazily
warnings.simplefilter("ignore")  # of a fork beside threads
holds = threading.Event()

def hold():
    with lazily.importing():
        holds.set()
        time.sleep(60)

threading.Thread(target=hold, daemon=True).start()
holds.wait()
child = os.fork()
if not child:
    minigrad.signal
    os._exit(0)
deadline = time.monotonic() + 20
while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
    time.sleep(0.01)
if ended == (0, 0):
    os.kill(child, 9)
os._exit(ended != (child, 0))
"""


@pytest.mark.parametrize("program", [IMPORTS, pytest.param(FORK, marks=pytest.mark.skipif(
    not hasattr(os, "fork"), reason="no fork here"))], ids=["import", "fork"])
def test_parts_that_are_imported_when_first_needed(program: str) -> None:
    """Several threads need them at once, and a child is forked while one is imported."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def _item(tensor: mg.Tensor, i: int) -> Any:
    return tensor.item()


def test_reading_one_tensor() -> None:
    c = mg.zeros(4).realize()
    for turn in range(40):
        c.add_(1)
        assert together(4, lambda i: c[0].item()) == [turn + 1.0] * 4


def test_reading_what_was_computed_from_memory_that_nobody_holds() -> None:
    for _ in range(60):
        x = mg.zeros(1000).realize()
        part = (x + 1)[5]
        del x
        assert together(4, partial(_item, part)) == [1.0] * 4


def test_reading_one_pending_result_and_what_hangs_on_it() -> None:
    """A result of a trace that is followed has no graph yet. Whoever looks first gives it one, in another thread than
    the one that made it."""
    def make(start: int) -> tuple[mg.Tensor, mg.Tensor]:
        x = mg.arange(64, dtype=mg.float32).reshape(8, 8) + start
        return x, (x * 2).tanh() @ x

    def look(y: mg.Tensor, i: int) -> Any:
        return y[i].tolist(), y.stride(), (y + i).sum(0).tolist(), y.T[i].exp().tolist()

    for turn in range(40):
        y = make(turn)[1]
        seen = together(4, lambda i, y=y: (i, look(y, i)))
        again = make(turn)[1].realize()
        assert sorted(seen) == [(i, look(again, i)) for i in range(4)]


def test_clones_that_come_and_go_do_not_lose_the_memory() -> None:
    x = mg.ones(1000).realize()
    together(4, lambda i: [x.clone() for _ in range(10_000)] and None)
    for _ in range(3):
        assert (x + 1).realize()[0].item() == 2.0
    assert x.tolist() == [1.0] * 1000


def test_views_of_one_pending_change() -> None:
    """Each thread reads a view anew after a change: the value that it had read before loses one reader, not four."""
    x = mg.zeros(8, 4)
    part = x[2]
    for turn in range(60):
        x.add_(1)
        assert together(4, lambda i: part.tolist()) == [[turn + 1.0] * 4] * 4


def test_gradients_add_up_in_one_leaf() -> None:
    w = mg.zeros(5, requires_grad=True)
    together(6, lambda i: [(w * 1.0).sum().backward() for _ in range(40)])
    assert w.grad.tolist() == [240.0] * 5


@pytest.mark.parametrize("change", [lambda s, i: s[i].add_(1), lambda s, i: s.__setitem__(i, s[i] + 1)])
def test_disjoint_rows_are_changed(change: Callable[[mg.Tensor, int], object]) -> None:
    s = mg.zeros(6)
    together(6, lambda i: [change(s, i) for _ in range(25)])
    assert s.tolist() == [25.0] * 6


def test_one_tensor_is_changed() -> None:
    s = mg.zeros(())
    together(6, lambda i: [s.add_(1) for _ in range(40)])
    assert s.item() == 240


def test_models_of_their_own_are_trained_to_the_same_bits() -> None:
    def train(i: int) -> bytes:
        numbers = np.random.default_rng(3)
        model = nn.Linear(4, 2)
        with mg.no_grad():
            model.weight.copy_(mg.tensor(numbers.standard_normal((2, 4)).astype(np.float32)))
            model.bias.zero_()
        optimizer = optim.Adam(model.parameters(), lr=0.1)
        x = mg.tensor(numbers.standard_normal((8, 4)).astype(np.float32))
        for _ in range(15):
            optimizer.zero_grad()
            (model(x) ** 2).mean().backward()
            optimizer.step()
        return model.weight.detach().numpy().tobytes()

    weights = together(8, train)
    assert len(weights) == 8 and len(set(weights)) == 1


def test_a_composite_that_one_thread_traces_is_nothing_to_the_others() -> None:
    inside, seen = threading.Event(), threading.Event()

    @mg.composite
    def slow(x: Any) -> Any:
        inside.set()
        seen.wait(0.5)  # to compute something, the other thread has to wait for this one
        return x * 2

    pending, x = mg.ones(3) + 1, mg.ones(2)
    tracer = threading.Thread(target=lambda: slow(x))
    tracer.start()
    inside.wait()
    drawn = mg.zeros(4).uniform_(1, 2)
    pending.realize()
    computed = pending._storage.lazy.buffer is not None
    seen.set()
    tracer.join()
    assert computed and pending.tolist() == [2.0] * 3
    assert all(1 <= number < 2 for number in drawn.tolist())


def test_a_long_kernel_does_not_keep_others_from_recording() -> None:
    a = mg.ones(1500, 1500).realize()
    (a @ a).realize()
    done, recorded = threading.Event(), []

    def multiply() -> None:
        while not done.is_set():
            (a @ a).realize()

    thread = threading.Thread(target=multiply)
    thread.start()
    for _ in range(50):
        time.sleep(0.005)
        begin = time.perf_counter()
        _ = mg.ones(3) + 1
        recorded.append(time.perf_counter() - begin)
    done.set()
    thread.join()
    assert np.median(recorded) < 0.01  # a product takes much longer


def _may_record(_: int) -> bool:
    if free := record_lock.acquire(timeout=0.2):
        record_lock.release()
    return free


def test_native_code_runs_without_the_lock_for_recording() -> None:
    with computing:
        assert together(1, _may_record) == [False]
        with others_record:
            assert together(1, _may_record) == [True]
        assert together(1, _may_record) == [False]


def test_whoever_waits_to_compute_lets_others_record() -> None:
    recording = threading.Event()

    def work() -> None:
        with record_lock:
            recording.set()
            with computing:
                pass

    waiting = threading.Thread(target=work)
    with engine_lock:
        waiting.start()
        recording.wait()
        free = record_lock.acquire(timeout=5)
        if free:
            record_lock.release()
    waiting.join()
    assert free


def _while_written(write: Callable[[int], Any], look: Callable[[], Any], turns: int) -> None:
    """``write(0)``, ``write(1)`` … on one thread, while two others ``look``."""
    done = threading.Event()

    def work(i: int) -> None:
        if i:
            while not done.is_set():
                look()
            return
        try:
            for n in range(turns):
                write(n)
        finally:
            done.set()

    together(3, work)


@pytest.mark.parametrize("look", [lambda t: t.item(), lambda t: t.tolist(), lambda t: float(str(t)[7:-1])],
                         ids=["item", "tolist", "str"])
def test_looking_at_a_clone_while_the_other_is_written(look: Callable[[Any], float]) -> None:
    """A clone shares memory until one of the two changes. That somebody reads it is no reason to change it along."""
    total = mg.zeros(())

    def look_at_a_copy() -> None:
        copy = total.clone()
        copy.realize()
        seen = [look(copy) for _ in range(4)]
        assert len(set(seen)) == 1, seen

    _while_written(lambda n: total.add_(1).realize(), look_at_a_copy, 300)


def test_a_pending_reader_of_what_another_thread_looks_at() -> None:
    """What was recorded before a write has the value from before, whoever reads the tensor meanwhile."""
    x = mg.zeros(64).realize()

    def write(n: int) -> None:
        before = x + 0.5
        x.add_(1)
        assert before[0].item() == n + 0.5 and x[3].item() == n + 1

    _while_written(write, x.tolist, 150)
