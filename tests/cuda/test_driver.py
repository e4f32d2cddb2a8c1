"""Stage: tests of the CUDA device. In: NVIDIA's Python bindings, and ``libcuda.c`` in the place of the driver. Out:
that each call of ``runtime/cuda_driver.py`` is one the bindings take. Next: ``tests/unit/runtime``."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from minigrad.runtime import nvrtc
from minigrad.runtime.cc import compiler
from minigrad.runtime.cuda_driver import library_missing

PROGRAM = r"""
import gc
import numpy as np
import minigrad
from minigrad.dtype import float32
from minigrad.errors import CompileError, LaunchError, OutOfMemoryError
from minigrad.kernel.ir import Alloc, Apply, Array, For, Kernel, Load, Scalar, Store
from minigrad.runtime import nvrtc
from minigrad.runtime.cuda_driver import CudaError
from minigrad.runtime.device import get_device
from minigrad.runtime.native import Step
from minigrad.symbolic import num, var

def shift(name="shift", shared=0):
    x, y, s = Array("x", float32, 64), Array("y", float32, 64, written=True), Scalar("s", float32, 0)
    p, t = var("p", 0, 3), var("t", 0, 15)
    body = (Store(y, 16 * p + t, Apply("ADD", (Load(x, 16 * p + t), s), float32)),)
    block = For(t, num(0), num(16), 1, "block", body)
    tiles = [Alloc(Array("tile", float32, shared, "shared"))] if shared else []
    return Kernel(name, (x, y), (s,), For(p, num(0), num(4), 1, "grid", (*tiles, block)))

def message(kind, function):
    try:
        function()
    except kind as error:
        return str(error).splitlines()[0]

nvrtc.compile_text = lambda text, architecture: (b"\x7fELF", "")  # NVRTC looks into the driver, and this one is hollow
gpu = get_device("cuda")
print(minigrad.cuda.get_device_name(), minigrad.cuda.get_device_capability(), gpu.target.l2, gpu.target.shared)
program, = gpu.compile([shift()])
plan = gpu.native([Step(program, (0, 1), (0,), 4), Step(program, (1, 2), (1,), 4)], 3, "dd")
a, b, c, d = (gpu.allocate(256) for _ in range(4))
x, y = np.arange(64, dtype=np.float32), np.empty(64, np.float32)
a.copyin(x)
for numbers in ((1, 2), (1, 2), (1, 2), (10, 20)):
    plan.run([a.address, b.address, c.address], numbers)
    d.copy_from(c, 256)
    d.copyout(y)
    print(np.array_equal(y, x + sum(numbers)), len(plan.graphs))
print(plan.run_timed([a.address, b.address, c.address], (1, 2)))
wide, = gpu.compile([shift("shift_wide", 20000)])
gpu.launch(wide, [a.address, b.address], [7.0], 4)
plan = gpu.native([Step(wide, (0, 1), (0,), 4), Step(wide, (1, 2), (1,), 4)], 3, "dd")
for numbers in ((1, 2), (1, 2), (1, 2)):
    plan.run([a.address, b.address, c.address], numbers)
c.copyout(y)
print(np.array_equal(y, x + 3), message(CompileError, lambda: gpu.compile([shift("shift_over", 50000)]))[:96])
told = []
words = gpu.allocate(8)
words.copyin(np.array([5]))
print(gpu.tell_later(words, lambda found: told.append(found.tolist())))
for _ in range(2):
    gpu.settle()
    print(told)
large = np.arange(3 << 20, dtype=np.int32)
buffer = gpu.allocate(large.nbytes)
buffer.copyin(large)
back = np.empty_like(large)
buffer.copyout(back)
print(np.array_equal(large, back), minigrad.cuda.mem_get_info()[1] >> 20)
bad, = gpu.compile([shift("unknown")])
print(message(LaunchError, lambda: gpu.launch(bad, [a.address, b.address], [1.0], 4)))
print(message(CompileError, lambda: gpu.compile([shift("lost")])).replace(bad.source, ""))
print(message(OutOfMemoryError, lambda: gpu.allocate(1 << 30))[:59])
print(message(CudaError, lambda: gpu.queue.driver.properties(3)))
del plan, program, bad, wide, words, buffer, a, b, c, d
gc.collect()
minigrad.cuda.empty_cache()
minigrad.cuda.synchronize()
print(minigrad.cuda.memory_allocated())
"""

OUTPUT = """\
Pretender 0 (8, 0) 4194304 49152
True 0
True 1
True 1
True 1
[0.0015, 0.0015]
True device CUDA cannot compile kernel shift_over: 200000 bytes of shared memory: CUDA error: invalid
True
[]
[[5]]
True 64
CUDA error: invalid argument (CUDA_ERROR_INVALID_VALUE) in kernel unknown on device CUDA
device CUDA cannot compile kernel lost: CUDA error: named symbol not found (CUDA_ERROR_NOT_FOUND)
CUDA out of memory. Tried to allocate 1.00 GiB. GPU 0 has a
CUDA error: invalid argument (CUDA_ERROR_INVALID_VALUE)
0
"""


def missing() -> str | None:
    """Why there is nothing to test here."""
    if library_missing() is None:
        return "there is a real driver"
    if compiler() is None:
        return "there is no C compiler"
    return nvrtc.missing()


def test_the_bindings_are_called_as_they_want(tmp_path: Path, sampled: Callable[[str], None]) -> None:
    reason = missing()
    if reason or sys.platform != "linux":
        sampled(f"CUDA driver calls: skipped, {reason or 'a Linux library stands in for the driver'}")
        pytest.skip(reason or "not Linux")
    source = Path(__file__).with_name("libcuda.c")
    command = [*(compiler() or []), "-std=c11", "-O1", "-w", "-shared", "-fPIC", "-D_GNU_SOURCE", str(source), "-o",
               str(tmp_path / "libcuda.so.1")]
    subprocess.run(command, check=True)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "MINIGRAD_CACHE": "0"}
    done = subprocess.run([sys.executable, "-W", "error", "-c", PROGRAM], capture_output=True, text=True,
                          env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == OUTPUT
    assert done.stderr == ""


def test_every_call_has_a_stand_in() -> None:
    """``libcuda.c`` knows each driver function that minigrad names."""
    driver = importlib.util.find_spec("minigrad.runtime.cuda_driver")
    assert driver is not None and driver.origin is not None
    text, library = Path(driver.origin).read_text(), Path(__file__).with_name("libcuda.c").read_text()
    names = {word for word in text.replace('"', " ").replace("(", " ").replace(".", " ").split()
             if word.startswith("cu") and word[2:3].isupper()}
    assert len(names) > 30
    assert [name for name in sorted(names) if f"F({name})" not in library] == []
