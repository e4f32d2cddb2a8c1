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
from collections.abc import Callable
from functools import cache
from pathlib import Path
from time import perf_counter

from minigrad import config
from minigrad.runtime import llvm
from minigrad.runtime.buffer import Buffer
from minigrad.runtime.llvm import python_function
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
define internal void @wake(ptr %word) {{                           ; FUTEX_WAKE_PRIVATE, all of them
  %ignored = call i64 (i64, ...) @syscall(i64 {futex}, ptr %word, i64 129, i64 2147483647, i64 0, i64 0, i64 0)
  ret void
}}
"""
# Elsewhere sleeping workers look again every millisecond. The caller does not wait for them.
_POSIX = """
declare i32 @nanosleep(ptr, ptr)
declare i32 @sched_yield()
@nap = internal constant [2 x i64] [i64 0, i64 1000000]
define internal void @yield() {{
  %ignored = call i32 @sched_yield()
  ret void
}}
define internal void @wait(ptr %word, i32 %seen) {{
  %ignored = call i32 @nanosleep(ptr @nap, ptr null)
  ret void
}}
define internal void @wake(ptr %word) {{
  ret void
}}
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
    text = text.replace("CONTENTS", str(llvm.CONTENTS))
    return text + _PROCESSORS.get(machine, _OTHER) + waiting


class Native:
    """The functions of ``pool.ll``. Calling one releases the interpreter lock, unless ``entry`` says otherwise."""

    def __init__(self, text: str) -> None:
        names = ("mg_call", "mg_copy", "mg_worker", "mg_start", "mg_stop", "mg_spin")
        # Level 0: the atomic operations take the time, not the code around them, and it compiles four times as fast.
        self.module = llvm.compile_text(text, names, level=0)
        pointer, integer = ctypes.c_void_p, ctypes.c_int64

        def function(name: str, *arguments: type) -> Callable[..., None]:
            return ctypes.CFUNCTYPE(None, *arguments)(self.module.addresses[name])

        self.worker = function("mg_worker", pointer, integer)
        self.start = function("mg_start", pointer, integer)
        self.stop = function("mg_stop", pointer)
        self.spin = function("mg_spin", integer)
        self.spins = self._spins()
        self.copy = python_function(self.module.addresses["mg_copy"], struct.pack("q", id(None)))

    def entry(self, run: int, slots: int, kinds: str, short: bool) -> Callable[..., None]:
        """A function that takes a number for each slot, from address ``slots`` on, and starts the run at address
        ``run``. ``kinds`` has a letter for each slot: "Q" and "q" integers, "d" float64. A ``short`` run keeps the
        interpreter lock: nothing happens between its numbers and its end, and it is over sooner than the lock would be
        given back. Raises ``TypeError`` for what is no number, or too many or few of them."""
        contents = struct.pack("5q", run, slots, len(kinds), not short, id(None))
        return python_function(self.module.addresses["mg_call"], contents + bytes([kind == "d" for kind in kinds]))

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
    """Worker threads around one pool structure (``address``; its layout is in ``pool.ll``)."""

    SIZE = 256

    def __init__(self, functions: Native) -> None:
        self.functions = functions
        self._memory = ctypes.create_string_buffer(self.SIZE + 64)
        self.address = (ctypes.addressof(self._memory) + 63) & -64
        functions.start(self.address, functions.spins)
        self.workers: list[threading.Thread] = []

    def grow(self, workers: int) -> None:
        """Have at least so many workers, if the system lets us; with fewer, the others do their share."""
        stack = threading.stack_size(STACK)
        try:
            while len(self.workers) < workers:
                index = len(self.workers)
                thread = threading.Thread(target=self._live, args=(index,), daemon=True,
                                          name=f"minigrad-worker-{index}")
                thread.start()
                self.workers.append(thread)
        except RuntimeError:
            pass
        finally:
            threading.stack_size(stack)

    def _live(self, index: int) -> None:
        """A worker's life. Its thread holds this pool, and so the memory that the native loop looks at."""
        self.functions.worker(self.address, index)

    def close(self) -> None:
        """Tell the workers to leave and wait for them, a second at most."""
        self.functions.stop(self.address)
        for thread in self.workers:
            thread.join(timeout=1.0)
        self.workers = []


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
