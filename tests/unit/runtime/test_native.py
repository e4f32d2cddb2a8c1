import platform
import threading

import numpy as np
import pytest

from minigrad import config
from minigrad.runtime import pool
from minigrad.runtime.native import Step


@pytest.fixture
def add(cpu, add_text):
    return cpu.compile_text(add_text(), ["add"])[0]


def address(array):
    return array.ctypes.data


def test_steps_run_in_order_on_the_slots_they_name(cpu, add):
    x, y, z = np.arange(5.0), np.zeros(5), np.zeros(5)
    program = cpu.native([Step(add, (0, 1), (0,), 5), Step(add, (1, 2), (1,), 5)], 3, "dd")
    program.run([address(x), address(y), address(z)], [1.0, 10.0])
    assert z.tolist() == [11, 12, 13, 14, 15]
    program.run([address(x), address(y), address(x)], [1, 2])
    assert x.tolist() == [3, 4, 5, 6, 7]


def test_a_slot_may_have_an_offset_in_bytes(cpu, add):
    x = np.arange(8.0)
    cpu.native([Step(add, ((0, 16), (0, 48)), (0,), 2)], 1, "d").run([address(x)], [0.5])
    assert x.tolist() == [0, 1, 2, 3, 4, 5, 2.5, 3.5]


def test_scalars_are_int64_uint64_or_float64(cpu):
    text = """
define void @copy3(ptr %arrays, ptr %scalars, i64 %b, i64 %e) {
  %p = load ptr, ptr %arrays
  %v = load <3 x i64>, ptr %scalars, align 8
  store <3 x i64> %v, ptr %p, align 8
  ret void
}"""
    program = cpu.native([Step(cpu.compile_text(text, ["copy3"])[0], (0,), (2, 0, 1))], 1, "qQd")
    out = np.zeros(4, np.int64)
    program.run([address(out)], [-5, 2**64 - 1, 0.5])
    assert out[:1].view(np.float64)[0] == 0.5 and out[1] == -5 and out[2:3].view(np.uint64)[0] == 2**64 - 1


def test_iterations_can_change_between_runs(cpu, add):
    x, y = np.arange(100.0), np.zeros(100)
    program = cpu.native([Step(add, (0, 1), (0,), 0, grain=1)], 2, "d")
    for n in (0, 3, 100):
        program.set_iterations(0, n)
        y[:] = -1
        program.run([address(x), address(y)], [0.0])
        assert np.array_equal(y[:n], x[:n]) and np.all(y[n:] == -1)


def test_no_steps(cpu):
    cpu.native([], 0).run([])


def test_a_wrong_slot_is_refused(cpu, add):
    with pytest.raises(ValueError, match="not among 1 slots, 1 scalars"):
        cpu.native([Step(add, (0, 2), (0,), 5)], 1, "d")


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("iterations", [1, 2, 7, 8, 9, 1000])
@pytest.mark.parametrize("grain", [0, 1, 3, 5000])
def test_any_number_of_threads_gives_the_same(cpu, add, threads, iterations, grain):
    rng = np.random.default_rng(0)
    x, y = rng.random(iterations), np.full(iterations + 2, -1.0)
    with config.config(THREADS=threads):
        cpu.native([Step(add, (0, 1), (0,), iterations, grain)], 2, "d").run([address(x), address(y) + 8], [0.1])
    assert np.array_equal(y[1:-1], x + 0.1) and y[0] == y[-1] == -1


def test_every_iteration_is_run_exactly_once(cpu):
    """The kernel counts, so that a chunk that ran twice or never shows."""
    text = """
define void @count(ptr %arrays, ptr %scalars, i64 %begin, i64 %end) {
entry:
  %a = load ptr, ptr %arrays
  br label %head
head:
  %i = phi i64 [ %begin, %entry ], [ %i.next, %body ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %exit
body:
  %p = getelementptr i64, ptr %a, i64 %i
  %old = atomicrmw add ptr %p, i64 1 monotonic
  %i.next = add i64 %i, 1
  br label %head
exit:
  ret void
}"""
    kernel, = cpu.compile_text(text, ["count"])
    counts = np.zeros(1001, np.int64)
    with config.config(THREADS=4):
        program = cpu.native([Step(kernel, (0,), (), n, 1) for n in (1001, 17, 2, 400)] * 25, 1)
        for _ in range(40):
            program.run([address(counts)])
    expected = np.zeros(1001, np.int64)
    for n in (1001, 17, 2, 400):
        expected[:n] += 1000
    assert np.array_equal(counts, expected)


def test_run_timed_does_the_same_and_gives_seconds(cpu, add):
    x, y, z = np.arange(50.0), np.zeros(50), np.zeros(50)
    program = cpu.native([Step(add, (0, 1), (0,), 50, 1), Step(add, (1, 2), (0,), 50)], 3, "d")
    addresses = [address(x), address(y), address(z)]
    seconds = program.run_timed(addresses, [1.0])
    assert len(seconds) == 2 and all(0 < s < 1 for s in seconds) and np.array_equal(z, x + 2)
    z[:] = 0
    program.run(addresses, [2.0])
    assert np.array_equal(z, x + 4)


def test_python_threads_may_run_at_once(cpu, add):
    failures = []
    shared = cpu.native([Step(add, (0, 1), (0,), 1000, 10)] * 3, 2, "d")

    def work(seed):
        own = cpu.native([Step(add, (0, 1), (0,), 1000, 10)], 2, "d")
        x, y = np.full(1000, float(seed)), np.zeros(1000)
        for i in range(200):
            (own if i % 2 else shared).run([address(x), address(y)], [float(i)])
            if not np.all(y == seed + i):
                failures.append((seed, i))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    with config.config(THREADS=2):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not failures and not any(thread.is_alive() for thread in threads)


def test_a_run_refuses_what_is_no_number_and_goes_on_afterwards(cpu, add):
    x, y = np.arange(5.0), np.zeros(5)
    for work in (10, 1 << 40):  # a short one and one that releases the interpreter lock, where there is one
        program = cpu.native([Step(add, (0, 1), (0,), 5, 0, work)], 2, "d")
        assert program.short == (work == 10 and not config.FREE_THREADED)
        for addresses, numbers in (([address(x), "y"], [1.0]), ([address(x), address(y)], ["1"]),
                                   ([address(x)], [1.0]), ([address(x), address(y)], [1.0, 2.0])):
            with pytest.raises(TypeError):
                program.run(addresses, numbers)
        for number in (-1, -1.0, 2, np.float64(0.5)):
            program.run([address(x), address(y)], [number])
            assert np.array_equal(y, x + number)
            y[:] = 0
        assert len(program.run_timed([address(x), address(y)], [3.0])) == 1 and np.array_equal(y, x + 3)


def test_threads_are_read_when_a_run_happens(cpu, add):
    x, y = np.arange(100.0), np.zeros(100)
    program = cpu.native([Step(add, (0, 1), (0,), 100, 1)], 2, "d")
    for threads in (1, 3, 1, 2):
        with config.config(THREADS=threads):
            program.run([address(x), address(y)], [1.0])
            assert program._run[3] == threads
    assert len(pool._pool.workers) >= 2


def test_workers_take_part(cpu):
    """Two iterations that wait for each other: on one thread the first would wait in vain."""
    text = """
define void @meet(ptr %arrays, ptr %scalars, i64 %begin, i64 %end) {
entry:
  %a = load ptr, ptr %arrays
  %here = atomicrmw add ptr %a, i64 1 seq_cst
  br label %wait
wait:
  %i = phi i64 [ 0, %entry ], [ %i.next, %wait ]
  %count = load atomic i64, ptr %a seq_cst, align 8
  %i.next = add i64 %i, 1
  %met = icmp eq i64 %count, 2
  %late = icmp eq i64 %i, 3000000000
  %leave = or i1 %met, %late
  br i1 %leave, label %exit, label %wait
exit:
  %n = zext i1 %met to i64
  %place = add i64 %begin, 1
  %result = getelementptr i64, ptr %a, i64 %place
  store i64 %n, ptr %result
  ret void
}"""
    kernel, = cpu.compile_text(text, ["meet"])
    seen = np.zeros(3, np.int64)
    with config.config(THREADS=2):
        program = cpu.native([Step(kernel, (0,), (), 2, 1)], 1)
        for _ in range(20):
            seen[:] = 0
            program.run([address(seen)])
            assert seen.tolist() == [2, 1, 1]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="sets the mode of x86")
def test_workers_round_and_flush_as_the_caller_does(cpu, add):
    text = """
declare void @llvm.x86.sse.ldmxcsr(ptr)
define void @mode(ptr %arrays, ptr %scalars, i64 %begin, i64 %end) {
  call void @llvm.x86.sse.ldmxcsr(ptr %scalars)
  ret void
}"""
    mode, = cpu.compile_text(text, ["mode"])
    usual, flushing = 0x1F80, 0x9FC0
    n = 1_000_000
    x, y = np.full(n, 5e-324), np.full(n, -1.0)
    with config.config(THREADS=2):
        plain = Step(add, (0, 1), (0,), n, 1000)
        flushed = cpu.native([Step(mode, (), (1,)), plain, Step(mode, (), (2,))], 2, "dqq")
        kept = cpu.native([plain], 2, "d")
        for _ in range(3):
            flushed.run([address(x), address(y)], [0.0, flushing, usual])
            assert np.all(y == 0)
            kept.run([address(x), address(y)], [0.0])
            assert np.all(y == x)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("timed", [False, True])
def test_a_run_stops_before_a_step_if_a_word_is_not_0(cpu, add, threads, timed):
    x, y, z, words = np.arange(5000.0), np.zeros(5000), np.zeros(5000), np.zeros(3, np.int64)
    program = cpu.native([Step(add, (0, 1), (0,), 5000, 64), Step(add, (1, 2), (0,), 5000, 64)], 4, "d")
    program.stop_before(1, 3, 3)
    given = [address(x), address(y), address(z), address(words)], [1.0]
    run = program.run_timed if timed else program.run
    with config(THREADS=threads):
        for word in (0, 2):
            words[word] = 7
            run(*given)
            assert y[2] == 3 and not z.any()
            words[:] = y[:] = 0
        run(*given)
    assert z[2] == 4
