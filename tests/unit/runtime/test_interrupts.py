"""Signals that come in the middle of native code. A kernel here spins until its flag is set, or for ever; where that is
not enough, it also counts."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from minigrad import config
from minigrad.runtime import pool
from minigrad.runtime.native import Step

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")

SPIN = """
define void @spin(ptr %arrays, ptr %scalars, i64 %begin, i64 %end) {
entry:
  %a = load ptr, ptr %arrays
  %started = getelementptr i64, ptr %a, i64 1
  store atomic i64 1, ptr %started seq_cst, align 8
  %most = load i64, ptr %scalars
  br label %wait
wait:
  %i = phi i64 [ 0, %entry ], [ %i.next, %wait ]
  %i.next = add i64 %i, 1
  %flag = load atomic i64, ptr %a seq_cst, align 8
  %set = icmp ne i64 %flag, 0
  %late = icmp eq i64 %i, %most
  %leave = or i1 %set, %late
  br i1 %leave, label %exit, label %wait
exit:
  ret void
}"""
FOR_EVER = 1 << 62


class Rang(Exception):
    pass


@pytest.fixture
def alarm():
    """Have a handler called soon after the kernel with this flag has started."""
    before = signal.getsignal(signal.SIGALRM)

    def ring(handler, flag):
        def called(*_):
            if flag[1]:
                handler()
            else:
                signal.setitimer(signal.ITIMER_REAL, 0.01)

        flag[1] = 0
        signal.signal(signal.SIGALRM, called)
        signal.setitimer(signal.ITIMER_REAL, 0.02)

    yield ring
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    pool.held.clear()


def raises(*_):
    raise Rang


@pytest.fixture
def spin(cpu):
    return cpu.compile_text(SPIN, ["spin"])[0]


@pytest.fixture
def a_while(cpu, spin):
    """How often it turns in a quarter of a second, on this processor; other processes may take some of the time."""
    flag, turns, taken = np.zeros(2, np.int64), 1_000_000, []
    for _ in range(9):
        start = time.perf_counter()
        cpu.native([Step(spin, (0,), (0,))], 1, "q").run([address(flag)], [turns])
        taken.append(time.perf_counter() - start)
    return int(turns * 0.25 / min(taken))


@pytest.fixture
def add(cpu, add_text):
    return cpu.compile_text(add_text(), ["add"])[0]


def address(array):
    return array.ctypes.data


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("grain", [0, 1])
def test_a_kernel_that_does_not_end_is_left(cpu, spin, add, alarm, threads, grain):
    flag, x, y = np.zeros(2, np.int64), np.arange(100.0), np.zeros(100)
    with config.config(THREADS=threads):
        program = cpu.native([Step(spin, (0,), (0,), 20, grain)], 1, "q")
        after = cpu.native([Step(add, (0, 1), (0,), 100, 1)] * 3, 2, "d")
        for turn in range(3):
            alarm(raises, flag)
            start = time.perf_counter()
            with pytest.raises(Rang):
                program.run([address(flag)], [FOR_EVER])
            assert flag[1] == 1 and time.perf_counter() - start < 10 and not pool.held
            after.run([address(x), address(y)], [turn])
            assert np.array_equal(y, x + turn)
        flag[0] = 1
        program.run([address(flag)], [FOR_EVER])


def test_a_handler_that_does_not_raise_is_called_in_the_middle(cpu, spin, add, alarm):
    flag, x, y = np.zeros(2, np.int64), np.arange(100.0), np.zeros(100)
    seen = []

    def handler(*_):
        seen.append((int(flag[1]), float(y[99])))
        flag[0] = 1

    alarm(handler, flag)
    program = cpu.native([Step(spin, (0,), (0,)), Step(add, (1, 2), (1,), 100, 1)], 3, "qd")
    program.run([address(flag), address(x), address(y)], [FOR_EVER, 5.0])
    assert seen == [(1, 0.0)] and np.array_equal(y, x + 5)


def test_a_thread_that_is_not_the_main_one_goes_on(cpu, spin, add, alarm):
    flag, x, y = np.zeros(2, np.int64), np.arange(100.0), np.zeros(100)
    program = cpu.native([Step(spin, (0,), (0,)), Step(add, (1, 2), (1,), 100, 1)], 3, "qd")
    thread = threading.Thread(target=program.run, args=([address(flag), address(x), address(y)], [FOR_EVER, 5.0]))
    with pytest.raises(Rang):
        alarm(raises, flag)
        thread.start()
        time.sleep(30)
    assert thread.is_alive() and not y.any()
    flag[0] = 1
    thread.join(30)
    assert np.array_equal(y, x + 5)


def test_a_run_that_has_begun_to_overwrite_is_finished(cpu, spin, add, alarm, a_while):
    """The second step is firm. What the handler raised is kept for whoever has put the results in their places."""
    flag, x, y = np.zeros(2, np.int64), np.arange(100.0), np.zeros(100)
    program = cpu.native([Step(add, (1, 1), (1,), 100, 1), Step(spin, (0,), (0,)), Step(add, (1, 2), (1,), 100, 1)],
                         3, "qd")
    program.firm, program.complete = 1, False
    alarm(raises, flag)
    program.run([address(flag), address(x), address(y)], [a_while, 5.0])
    assert program.complete and np.array_equal(y, np.arange(100.0) + 10)
    assert [type(error) for error in pool.held] == [Rang]
    with pytest.raises(Rang):
        pool.raise_held()
    assert not pool.held
    program.firm, program.complete = 2, False
    alarm(raises, flag)
    with pytest.raises(Rang):
        program.run([address(flag), address(x), address(y)], [FOR_EVER, 5.0])
    assert not program.complete


def test_a_handler_may_run_programs(cpu, spin, add, alarm, a_while):
    """They wait for what it interrupted. The same program has one place for its numbers, which are used by then."""
    flag, x, y, z = np.zeros(2, np.int64), np.arange(100.0), np.zeros(100), np.zeros(100)
    program = cpu.native([Step(spin, (0,), (0,)), Step(add, (1, 2), (1,), 100, 1)], 3, "qd")
    program.firm = 1
    found = []

    def handler(*_):
        program.run([address(flag), address(x), address(z)], [5, 7.0])
        found.append(y.copy())
        found.append(z.copy())

    alarm(handler, flag)
    program.run([address(flag), address(x), address(y)], [a_while, 5.0])
    assert np.array_equal(found[0], x + 5) and np.array_equal(found[1], x + 7) and np.array_equal(y, x + 5)
    if pool._pool is not None:  # nothing is under way
        pool.settle()


def test_the_signal_that_is_sent_to_threads_keeps_its_handler(cpu, spin, alarm):
    came, flag = [], np.zeros(2, np.int64)
    before = signal.signal(signal.SIGURG, lambda *_: came.append(1))
    try:
        alarm(raises, flag)
        with pytest.raises(Rang):
            cpu.native([Step(spin, (0,), (0,), 20, 1)], 1, "q").run([address(flag)], [FOR_EVER])
        assert not came
        os.kill(os.getpid(), signal.SIGURG)
        assert came
    finally:
        signal.signal(signal.SIGURG, before)


def test_a_table_of_calls_is_left(cpu, spin, alarm):
    from minigrad.runtime.calls import CallTable, Columns

    flag = np.zeros(2, np.int64)
    one = np.ones(1, np.int64)
    done = []
    table = CallTable(Columns(spin.address * one, one, 0 * one, 0 * one, 0 * one, 0 * one, 0 * one, FOR_EVER * one), 1,
                      1 << 40)
    alarm(raises, flag)
    with pytest.raises(Rang):
        table.run([address(flag)], lambda: None, lambda: done.append(1))
    assert not done
    flag[0] = 1
    table.run([address(flag)], lambda: None, lambda: done.append(1))
    assert done


def test_without_a_leader_a_run_ends_first(cpu, spin, alarm, a_while, monkeypatch):
    monkeypatch.setattr(pool.Pool, "lead", lambda self: False)
    flag = np.zeros(2, np.int64)
    alarm(raises, flag)
    with pytest.raises(Rang):
        cpu.native([Step(spin, (0,), (0,))], 1, "q").run([address(flag)], [a_while])
        time.sleep(5)
