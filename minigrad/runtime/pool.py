"""Stage: runtime. In: the setting THREADS. Out: worker threads that live in native code, and the function that runs
plans on them. ``pool.ll`` is the native half and explains how work is shared; here threads are started and stopped.
Next: ``native.py``."""

from __future__ import annotations

import atexit
import ctypes
import os
import platform
import struct
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from time import perf_counter

from minigrad import config
from minigrad.runtime.buffer import Buffer
from minigrad.runtime.locks import run_lock

SPIN_SECONDS = 50e-6
MOST_THREADS = 1024  # chunk numbers have 16 bits
STACK = 16 << 20  # bytes; kernels keep scratch there

_X86 = """
declare void @llvm.x86.sse2.pause()
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define internal void @pause() {
  call void @llvm.x86.sse2.pause()
  ret void
}
define internal void @get_mode(ptr %at) {
  call void @llvm.x86.sse.stmxcsr(ptr %at)
  ret void
}
define internal void @set_mode(ptr %at) {
  call void @llvm.x86.sse.ldmxcsr(ptr %at)
  ret void
}
"""
_ARM = """
declare void @llvm.aarch64.hint(i32)
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)
define internal void @pause() {                                  ; 1: yield
  call void @llvm.aarch64.hint(i32 1)
  ret void
}
define internal void @get_mode(ptr %at) {
  %mode = call i64 @llvm.aarch64.get.fpcr()
  store i64 %mode, ptr %at
  ret void
}
define internal void @set_mode(ptr %at) {
  %mode = load i64, ptr %at
  call void @llvm.aarch64.set.fpcr(i64 %mode)
  ret void
}
"""
_OTHER = """
define internal void @pause() {
  ret void
}
define internal void @get_mode(ptr %at) {
  ret void
}
define internal void @set_mode(ptr %at) {
  ret void
}
"""
_PROCESSORS = {"x86_64": _X86, "amd64": _X86, "arm64": _ARM, "aarch64": _ARM}
_FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98}
_LINUX = """
declare i64 @syscall(i64, ...)
declare i32 @sched_yield()
define internal void @yield() {{
  %ignored = call i32 @sched_yield()
  ret void
}}
define internal void @wait(ptr %word, i32 %seen) {{                ; FUTEX_WAIT_PRIVATE
  %ignored = call i64 (i64, ...) @syscall(i64 {futex}, ptr %word, i64 128, i32 %seen, i64 0, i64 0, i64 0)
  ret void
}}
@slice = internal constant [2 x i64] [i64 0, i64 50000000]         ; 50 ms
define internal void @wait_briefly(ptr %word, i32 %seen) {{
  %ignored = call i64 (i64, ...) @syscall(i64 {futex}, ptr %word, i64 128, i32 %seen, ptr @slice, i64 0, i64 0)
  ret void
}}
define internal void @wake(ptr %word) {{                           ; FUTEX_WAKE_PRIVATE, all of them
  %ignored = call i64 (i64, ...) @syscall(i64 {futex}, ptr %word, i64 129, i64 2147483647, i64 0, i64 0, i64 0)
  ret void
}}
"""
# Elsewhere sleeping workers look again every millisecond. The caller does not wait for them.
_POSIX = """
declare i32 @sched_yield()
@slice = internal constant [2 x i64] [i64 0, i64 1000000]
define internal void @yield() {{
  %ignored = call i32 @sched_yield()
  ret void
}}
define internal void @wait(ptr %word, i32 %seen) {{
  %ignored = call i32 @nanosleep(ptr @slice, ptr null)
  ret void
}}
define internal void @wait_briefly(ptr %word, i32 %seen) {{
  %ignored = call i32 @nanosleep(ptr @slice, ptr null)
  ret void
}}
define internal void @wake(ptr %word) {{
  ret void
}}
"""
# Nanoseconds since some moment, as ``time.perf_counter`` counts them.
_CLOCK = """
declare i32 @clock_gettime(i32, ptr)
define internal i64 @now() {{
  %time = alloca [2 x i64]
  %ignored = call i32 @clock_gettime(i32 {number}, ptr %time)
  %seconds = load i64, ptr %time
  %rest.at = getelementptr i64, ptr %time, i64 1
  %rest = load i64, ptr %rest.at
  %most = mul i64 %seconds, 1000000000
  %all = add i64 %most, %rest
  ret i64 %all
}}
"""
_WINDOWS_CLOCK = """
declare void @GetSystemTimePreciseAsFileTime(ptr)
define internal i64 @now() {
  %time = alloca i64
  call void @GetSystemTimePreciseAsFileTime(ptr %time)
  %tenths = load i64, ptr %time
  %all = mul i64 %tenths, 100
  ret i64 %all
}
"""
# How a thread is made to leave the kernel it is in. SIGURG, as systems ignore it where nobody wants it: should it come
# late, it does nothing. The handler that was there before comes back, whatever it was.
_JUMPS = """
declare i64 @pthread_self()
declare i32 @pthread_kill(i64, i32)
declare i32 @{setjmp}(ptr, i32) returns_twice
declare void @siglongjmp(ptr, i32)
declare ptr @signal(i32, ptr)
declare i32 @sigaction(i32, ptr, ptr)
declare i32 @nanosleep(ptr, ptr)
@moment = internal constant [2 x i64] [i64 0, i64 200000]
define internal i64 @this_thread() {{
  %thread = call i64 @pthread_self()
  ret i64 %thread
}}
define internal void @nap() {{
  %ignored = call i32 @nanosleep(ptr @moment, ptr null)
  ret void
}}
define internal void @interrupt(i64 %thread) {{
  %ignored = call i32 @pthread_kill(i64 %thread, i32 {number})
  ret void
}}
define internal void @jump(ptr %place) {{
  call void @siglongjmp(ptr %place, i32 1)
  ret void
}}
define internal void @begin_interrupting(ptr %pool, ptr %old) {{
  %at = ptrtoint ptr %pool to i64
  store atomic i64 %at, ptr @interrupted seq_cst, align 8
  %asked = call i32 @sigaction(i32 {number}, ptr null, ptr %old)
  %before = call ptr @signal(i32 {number}, ptr @leave_kernel)
  ret void
}}
define internal void @end_interrupting(ptr %old) {{
  %ignored = call i32 @sigaction(i32 {number}, ptr %old, ptr null)
  ret void
}}
"""
# Where threads have no signals, a kernel is left between two chunks.
_NO_JUMPS = """
define internal i64 @this_thread() {
  ret i64 0
}
define internal void @nap() {
  call void @Sleep(i32 1)
  ret void
}
define internal i32 @nowhere(ptr %place, i32 %mask) {
  ret i32 0
}
define internal void @interrupt(i64 %thread) {
  ret void
}
define internal void @jump(ptr %place) {
  ret void
}
define internal void @begin_interrupting(ptr %pool, ptr %old) {
  ret void
}
define internal void @end_interrupting(ptr %old) {
  ret void
}
"""
_WINDOWS = """
declare void @Sleep(i32)
define internal void @yield() {{
  call void @Sleep(i32 0)
  ret void
}}
define internal void @wait(ptr %word, i32 %seen) {{
  call void @Sleep(i32 1)
  ret void
}}
define internal void @wait_briefly(ptr %word, i32 %seen) {{
  call void @Sleep(i32 1)
  ret void
}}
define internal void @wake(ptr %word) {{
  ret void
}}
"""


def source(system: str = sys.platform, machine: str = "") -> str:
    """The IR of the pool for an operating system (as ``sys.platform``) and a processor (as ``platform.machine()``)."""
    machine = (machine or platform.machine()).lower()
    if system == "linux" and machine in _FUTEX:
        waiting = _LINUX.format(futex=_FUTEX[machine])
    else:
        waiting = (_WINDOWS if system == "win32" else _POSIX).format()
    text = (Path(__file__).parent / "pool.ll").read_text(encoding="utf-8")
    jumping, setjmp, clock = _NO_JUMPS, "nowhere", _WINDOWS_CLOCK
    if system != "win32":
        import signal

        setjmp = "sigsetjmp" if system == "darwin" or "bsd" in system else "__sigsetjmp"
        jumping = _JUMPS.format(setjmp=setjmp, number=int(getattr(signal, "SIGURG", 16)))
        clock = _CLOCK.format(number=int(getattr(time, "CLOCK_MONOTONIC", 1)))
    from minigrad.runtime import llvm

    text = text.replace("CONTENTS", str(llvm.CONTENTS)).replace("SETJMP", setjmp)
    return text + _PROCESSORS.get(machine, _OTHER) + waiting + jumping + clock


class Native:
    """The functions of ``pool.ll``. Calling one releases the interpreter lock, unless ``entry`` says otherwise."""

    def __init__(self, text: str) -> None:
        from minigrad.runtime import llvm  # the pool is asked at every run, compiled at the first

        self._function = llvm.python_function
        names = ("mg_call", "mg_copy", "mg_worker", "mg_leader", "mg_start", "mg_settle", "mg_stop", "mg_spin")
        # Level 0: the atomic operations take the time, not the code around them, and it compiles four times as fast.
        self.module = llvm.compile_text(text, names, level=0)
        pointer, integer = ctypes.c_void_p, ctypes.c_int64

        def function(name: str, *arguments: type) -> Callable[..., None]:
            return ctypes.CFUNCTYPE(None, *arguments)(self.module.addresses[name])

        self.worker = function("mg_worker", pointer, integer)
        self.leader = function("mg_leader", pointer)
        self.start = function("mg_start", pointer, integer, pointer)
        self.settle = function("mg_settle", pointer)
        self.stop = function("mg_stop", pointer)
        self.spin = function("mg_spin", integer)
        self.spins = self._spins()
        self.copy = llvm.python_function(self.module.addresses["mg_copy"], struct.pack("q", id(None)))

    def entry(self, run: int, slots: int, kinds: str, short: bool) -> Callable[..., BaseException | None]:
        """A function that takes a number for each slot, from address ``slots`` on, and starts the run at address
        ``run``. ``kinds`` has a letter for each slot: "Q" and "q" integers, "d" float64. A ``short`` run keeps the
        interpreter lock: nothing happens between its numbers and its end, and it is over sooner than the lock would be
        given back. Raises ``TypeError`` for what is no number, or too many or few of them, and what the handler of a
        signal raises; returns that if the run was finished nevertheless."""
        contents = struct.pack("5q", run, slots, len(kinds), not short, id(None))
        return self._function(self.module.addresses["mg_call"], contents + bytes([kind == "d" for kind in kinds]))

    def _spins(self) -> int:
        """How many spins take ``SPIN_SECONDS``: a pause takes 10 to 200 cycles, by processor."""
        best = 1.0
        for _ in range(3):
            start = perf_counter()
            self.spin(200)
            best = min(best, (perf_counter() - start) / 200)
        return max(10, min(100_000, int(SPIN_SECONDS / best)))


@cache
def native() -> Native:
    """The native functions, compiled or loaded at the first call. From then on buffers are copied by one of them."""
    made = Native(source())
    Buffer.move = staticmethod(made.copy)
    return made


class Pool:
    """Worker threads around one pool structure (``address``; its layout is in ``pool.ll``). ``leader``: the thread that
    does guarded runs; ``phase``: where the phase of one is."""

    SIZE, RECORD, PHASE = 512, 1088, 388  # bytes: of the pool and of a thread's record, from its start to the phase

    def __init__(self, functions: Native) -> None:
        self.functions = functions
        # mostly pages that nobody touches
        self._memory = ctypes.create_string_buffer(self.SIZE + (MOST_THREADS + 1) * self.RECORD + 64)
        self.address = (ctypes.addressof(self._memory) + 63) & -64
        self.phase = self.address + self.PHASE
        functions.start(self.address, functions.spins, self.address + self.SIZE)
        self.workers: list[threading.Thread] = []
        self.leader: threading.Thread | None = None

    def grow(self, workers: int) -> None:
        """Have at least so many workers, if the system lets us; with fewer, the others do their share."""
        while len(self.workers) < workers:
            index = len(self.workers)
            thread = self._start(f"minigrad-worker-{index}", self.functions.worker, self.address, index)
            if thread is None:
                return
            self.workers.append(thread)

    def lead(self) -> bool:
        """Have a leader, if the system lets us; whether there is one."""
        if self.leader is None:
            self.leader = self._start("minigrad-leader", self.functions.leader, self.address)
        return self.leader is not None

    def _start(self, name: str, life: Callable[..., None], *arguments: int) -> threading.Thread | None:
        """A new thread."""
        stack = threading.stack_size(STACK)
        try:
            thread = threading.Thread(target=self._live, args=(life, *arguments), daemon=True, name=name)
            thread.start()
            return thread
        except RuntimeError:
            return None
        finally:
            threading.stack_size(stack)

    def _live(self, life: Callable[..., None], *arguments: int) -> None:
        """A thread's life. It holds this pool, and so the memory that the native loop looks at."""
        import signal

        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGURG})
        life(*arguments)

    def close(self) -> None:
        """Tell the threads to leave and wait for them, a second at most."""
        self.functions.stop(self.address)
        for thread in (*self.workers, self.leader):
            if thread is not None:
                thread.join(timeout=1.0)
        self.workers, self.leader = [], None


def settle() -> None:
    """Wait for the guarded run under way, if a signal's handler calls this in the middle of one."""
    if _pool is not None:
        _pool.functions.settle(_pool.address)


held: list[BaseException] = []
"""What handlers of signals have raised in the middle of runs that were finished. It is raised when what those have
computed is where it belongs."""


def raise_held() -> None:
    """Raise what is held."""
    if held:
        raise held.pop(0)


_pool: Pool | None = None


def current(threads: int) -> Pool:
    """The pool, with workers for ``threads`` threads including the caller's. Call it with the run lock held."""
    global _pool
    if _pool is None:
        _pool = Pool(native())
    if len(_pool.workers) < threads - 1:
        _pool.grow(threads - 1)
    return _pool


def thread_count() -> int:
    """The threads that a run uses now: setting THREADS, or one for each core this process may use.

    >>> with config.config(THREADS=3):
    ...     thread_count()
    3
    """
    return min(config.get("THREADS") or _cores(), MOST_THREADS)


@cache
def _cores() -> int:
    """Cores this process may use, as it started: the affinity mask, and the container's share of time."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
            count = min(count, max(1, -(-int(quota) // int(period))))
    except (OSError, ValueError):
        pass
    return count


def _after_fork() -> None:
    """In the child only the forking thread exists: forget the workers, so that the next run starts its own."""
    global _pool
    _pool = None


@atexit.register
def _shut_down() -> None:
    global _pool
    if _pool is not None and run_lock.acquire(timeout=1.0):
        try:
            pool, _pool = _pool, None
            pool.close()
        finally:
            run_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
