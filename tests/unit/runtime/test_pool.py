import sys
import threading

import pytest

from minigrad import config
from minigrad.runtime import llvm, pool

PROGRAM = """
import os, sys, time, threading
import numpy as np
from minigrad.runtime import pool
from minigrad.runtime.device import get_device
from minigrad.runtime.native import Step
cpu = get_device("CPU")
kernel, = cpu.compile_text(os.environ["TEXT"], ["add"])
x, y = np.arange(1000.0), np.zeros(1000)
program = cpu.native([Step(kernel, (0, 1), (0,), 1000, 10)] * 20, 2, "d")
def run(s):
    y[:] = 0
    program.run([x.ctypes.data, y.ctypes.data], [s])
    return bool(np.array_equal(y, x + s))
"""


@pytest.fixture
def script(python, add_text):
    return lambda rest, **environment: python(PROGRAM + rest, TEXT=add_text(), THREADS="3", **environment).split()


def test_a_forked_child_runs_kernels(script):
    """Before the fork the pool was used, so that the child inherits a pool without threads."""
    assert script("""
print(run(1.0))
for i in range(3):
    child = os.fork()
    if child == 0:
        ok = run(2.0) and run(3.0) and [t.is_alive() for t in pool._pool.workers] == [True] * 2
        os._exit(7 if ok else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), run(4.0))
""") == ["True", *["7", "True"] * 3]


def test_a_fork_while_another_thread_runs(script):
    assert script("""
stop, results = False, []
def work():
    a, b = np.arange(1000.0), np.zeros(1000)
    own = cpu.native([Step(kernel, (0, 1), (0,), 1000, 10)] * 20, 2, "d")
    while not stop:
        own.run([a.ctypes.data, b.ctypes.data], [1.0])
        results.append(bool(np.array_equal(b, a + 1.0)))
thread = threading.Thread(target=work)
thread.start()
for i in range(10):
    child = os.fork()
    if child == 0:
        from minigrad.runtime.buffer import Buffer
        Buffer("CPU", 3 << 20)
        cpu.compile_text(os.environ["TEXT"].replace("@add", f"@add{i}"), [f"add{i}"])
        os._exit(7 if run(2.0) else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop = True
thread.join()
print(all(results))
""") == ["7"] * 10 + ["True"]


def test_multiprocessing_by_fork(script):
    assert script("""
import multiprocessing
run(1.0)
with multiprocessing.get_context("fork").Pool(2) as processes:
    print(*processes.map(run, [1.0, 2.0, 3.0]))
""") == ["True"] * 3


def test_idle_workers_sleep(script):
    """A second of idling takes less than a tenth of a second of processor time."""
    used, = script("""
run(1.0)
time.sleep(0.1)
before = time.process_time()
time.sleep(1.0)
print(time.process_time() - before)
""")
    assert float(used) < 0.1


def test_workers_wake_after_sleeping(script):
    assert script("""
for pause in (0.0, 1e-5, 5e-5, 1e-4, 1e-3, 1e-2) * 5:
    time.sleep(pause)
    assert run(pause)
print("ok")
""") == ["ok"]


def test_the_interpreter_exits_with_workers_asleep_or_spinning(script):
    assert script("""
run(1.0)
print("spinning", flush=True)
""") == ["spinning"]
    assert script("""
run(1.0)
time.sleep(0.05)
import atexit
atexit.register(lambda: print(run(2.0)))
atexit._run_exitfuncs()
print(run(3.0), flush=True)
""") == ["True", "True"]


def test_without_new_threads_the_caller_does_all(script):
    assert script("""
def refuse(self):
    raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
print(run(1.0), len(pool._pool.workers))
""") == ["True", "0"]


@pytest.mark.skipif(sys.platform != "linux", reason="compares Linux with the way of other systems")
def test_waiting_without_futexes(cpu, add_text, monkeypatch):
    import numpy as np

    from minigrad.runtime.native import NativeProgram, Step

    functions = pool.Native(pool.source(system="other"))
    monkeypatch.setattr(pool, "native", lambda: functions)
    slow = pool.Pool(functions)
    slow.grow(2)
    kernel, = cpu.compile_text(add_text(), ["add"])
    x, y = np.arange(1000.0), np.zeros(1000)
    program = NativeProgram([Step(kernel, (0, 1), (0,), 1000, 10)] * 20, 2, "d")
    program._parallel = program._guarded = False
    program._run[2:4] = slow.address, 3
    assert slow.lead()
    for s in range(50):
        program._run[8] = slow.phase if s % 2 else 0
        program.run([x.ctypes.data, y.ctypes.data], [float(s)])
        assert np.array_equal(y, x + s)
    slow.close()
    assert slow.workers == [] and slow.leader is None


@pytest.mark.parametrize("system, machine", [("linux", "x86_64"), ("linux", "aarch64"), ("linux", "armv7l"),
                                             ("darwin", "arm64"), ("win32", "AMD64")])
def test_the_source_for_other_systems_is_valid(system, machine):
    binding = llvm.host().binding
    module = binding.parse_assembly(pool.source(system, machine))
    module.verify()
    declared = {f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")}
    assert declared <= llvm.ALLOWED


def test_spinning_is_short():
    assert 10 <= pool.native().spins <= 100_000


def test_a_closed_pool_has_no_threads(cpu):
    mine = pool.Pool(pool.native())
    mine.grow(2)
    threads = list(mine.workers)
    assert all(thread.daemon for thread in threads)
    mine.close()
    assert not any(thread.is_alive() for thread in threads)


def test_growing_leaves_the_stack_size_of_other_threads():
    before = threading.stack_size()
    mine = pool.Pool(pool.native())
    mine.grow(1)
    mine.close()
    assert threading.stack_size() == before


def test_thread_count_is_bounded():
    with config.config(THREADS=10**6):
        assert pool.thread_count() == pool.MOST_THREADS
    with config.config(THREADS=0):
        assert pool.thread_count() >= 1
