"""Stage: tests of render. In: kernels and arrays. Out: the arrays after running: by the interpreter, as LLVM IR in this
process, as C by gcc. Next: ``test_samples.py``."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np

from minigrad.kernel.ir import Kernel
from minigrad.render import render_c, render_llvm
from minigrad.target import AVX2, AVX512, SCALAR, Target

Run = Callable[[Sequence[np.ndarray], Sequence[float], int, int], None]
FLAGS = ("-std=c11", "-O2", "-Wall", "-Werror", "-fPIC", "-shared", "-ffp-contract=off", "-fno-strict-aliasing")
SANITIZE = ("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")
GCC = shutil.which("gcc")
HOST = llvm.get_host_cpu_features()
CPUS = {"scalar": "x86-64", "avx2": "haswell"} if HOST.get("sse2") else {}
NEEDS = {SCALAR: None, AVX2: "avx2", AVX512: "avx512f"}
TARGETS = [target for target, feature in NEEDS.items() if feature is None or HOST.get(feature)]
_engines = []  # alive as long as the functions they hold
_maps = []


def run_of(address: int, kernel: Kernel) -> Run:
    """The function at ``address`` as one that takes arrays and scalars."""
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(address)

    def run(arrays: Sequence[np.ndarray], scalars: Sequence[float], begin: int, end: int) -> None:
        pointers = (ctypes.c_void_p * max(1, len(arrays)))(*[a.ctypes.data if a.size else None for a in arrays])
        numbers = np.array([np.float64(x).view(np.int64) if s.dtype.is_float else x
                            for s, x in zip(kernel.scalars, scalars)], np.int64)
        function(ctypes.cast(pointers, ctypes.c_void_p), numbers.ctypes.data, begin, end)

    return run


def compile_llvm(kernels: Sequence[Kernel], target: Target) -> list[Run]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    host = llvm.Target.from_default_triple()
    cpu = CPUS.get(target.name)  # a machine that has no more than the target
    more = "+avxvnni" if "int8" in target.dots else ""
    machine = host.create_target_machine(cpu=cpu, features=more, opt=2) if cpu else host.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=HOST.flatten(), opt=2)
    module = llvm.parse_assembly(render_llvm(kernels, target))
    module.data_layout = str(machine.target_data)
    module.verify()
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    _engines.append(engine)
    return [run_of(engine.get_function_address(k.name), k) for k in kernels]


def compile_c(kernels: Sequence[Kernel], folder: Path) -> list[Run]:
    source, library = folder / "kernels.c", folder / "kernels.so"
    source.write_text(render_c(kernels))
    done = subprocess.run([GCC, *FLAGS, str(source), "-o", str(library), "-lm"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:4000] + "\n" + source.read_text()[:20000]
    loaded = ctypes.CDLL(str(library))
    return [run_of(ctypes.cast(getattr(loaded, k.name), ctypes.c_void_p).value, k) for k in kernels]


def bits(array: np.ndarray) -> np.ndarray:
    """The bits of the elements, with one NaN for all."""
    if array.dtype.kind in "biu":
        return array
    return np.where(array != array, np.array(np.nan, array.dtype), array).view(f"u{array.dtype.itemsize}")


def assert_same(got: Sequence[np.ndarray], want: Sequence[np.ndarray], what: str) -> None:
    for number, (a, b) in enumerate(zip(got, want)):
        differ = np.nonzero(bits(a) != bits(b))[0]
        assert not differ.size, f"{what}: array {number} differs at {differ[:9]}: {a[differ[:9]]}, not {b[differ[:9]]}"


def fenced(array: np.ndarray, at_end: bool) -> np.ndarray:
    """A copy that touches memory nobody may read: right after its last byte, or right before its first."""
    page = mmap.PAGESIZE
    size = -(-max(1, array.nbytes) // page) * page
    memory = mmap.mmap(-1, size + 2 * page)
    _maps.append(memory)
    whole = np.frombuffer(memory, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    for start in (0, page + size):
        assert libc.mprotect(ctypes.c_void_p(whole.ctypes.data + start), ctypes.c_size_t(page), 0) == 0
    start = page + (size - array.nbytes if at_end else 0)
    copy = whole[start:start + array.nbytes].view(array.dtype)
    copy[:] = array
    return copy


def survives(function: Callable[[], None]) -> bool:
    """Whether a child process can run ``function`` to its end."""
    child = os.fork()
    if child == 0:
        try:
            function()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] == 0
