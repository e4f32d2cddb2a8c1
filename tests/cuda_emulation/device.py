"""Stage: tests of devices. In: loop nests in the GPU form. Out: the CUDA that they render to, run by this machine's
processor: ``emulation.h`` says how. Importing this registers the device CUDA_EMULATION. Next: ``__main__.py``."""

from __future__ import annotations

import atexit
import ctypes
import os
import re
import shlex
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cached_property, lru_cache
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING

import minigrad
from minigrad.errors import DeviceUnavailable, LaunchError
from minigrad.kernel.shared import SharedLayout
from minigrad.render.cuda import render_cuda
from minigrad.runtime import cache, cc
from minigrad.runtime.cuda import with_settings
from minigrad.runtime.device import CompiledKernel, Device, compile_error
from minigrad.runtime.launches import blame
from minigrad.runtime.locks import run_lock
from minigrad.target import CUDA, Target

if TYPE_CHECKING:
    from minigrad.kernel.ir import Kernel

NAME = "CUDA_EMULATION"
HEADER = Path(__file__).with_name("emulation.h")
FLAGS = ("-std=c++17", "-Og", "-shared", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing", "-w",
         "-fno-threadsafe-statics", "-U_FORTIFY_SOURCE")
SANITIZE = ("-g1", "-fsanitize=undefined,float-cast-overflow", "-fno-sanitize=vptr")
"""Further flags, with EMULATION_SANITIZE in the environment: what C++ leaves undefined is reported on stderr."""

STACKS = (1 + 1024) * (128 << 10)
"""Bytes of the stacks of a block's threads, as ``emulation.h`` has them, and a spare one below, so that the lowest
may overflow. Pages nobody touches cost nothing."""

_SHARED = re.compile(r"__shared__\s+(?:alignas\(\d+\)\s+)?([\w ]+?)\s+(\w+)((?:\[[^\]]*\])+)\s*;")
_HEAD = re.compile(r"(__global__\s+void\s+__launch_bounds__\s*\(\s*(\d+)[^)]*\)\s*)(\w+)\s*\(")
_AT_LAUNCH = re.compile(r"extern __shared__ __align__\(\d+\) unsigned char (\w+)\[\];")
_RUN = ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64,
                        ctypes.c_void_p, ctypes.c_size_t)


def compiler() -> str | None:
    """The path of the system's C++ compiler: setting CXX of the environment, else c++, g++ or clang++; or None."""
    names = shlex.split(os.environ.get("CXX", ""))[:1] or ["c++", "g++", "clang++"]
    return next((path for name in names if (path := shutil.which(name))), None)


def _flags() -> list[str]:
    return [*FLAGS, *(SANITIZE if os.environ.get("EMULATION_SANITIZE") else ())]


@lru_cache
def _header(command: str) -> str:
    """A folder with ``emulation.h`` as the compiler keeps it when it has read it: half of the time of a small kernel.
    It is there until the process ends."""
    folder = tempfile.mkdtemp(prefix="minigrad-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = shutil.copy(HEADER, folder)
    subprocess.run([command, *_flags(), "-x", "c++-header", copy, "-o", f"{copy}.gch"], capture_output=True,
                   check=False)  # without it, or with another's flags, the text is read
    return folder


class CudaEmulationDevice(Device):
    """Runs CUDA kernels without a GPU, exactly and slowly."""

    name = NAME
    language = "CUDA C++"

    @property
    def target(self) -> Target:  # type: ignore[override]
        return with_settings(CUDA)

    @classmethod
    def unavailable(cls) -> str | None:
        return None if compiler() else "no C++ compiler: c++, g++ and clang++ are not on the PATH"

    def source(self, kernels: Sequence[Kernel]) -> str:
        return render_cuda(kernels)

    def compile_text(self, text: str, names: Sequence[str]) -> list[CompiledKernel]:
        """Programs for the kernels ``names`` that CUDA ``text`` defines."""
        threads = {name: int(bound) for _, bound, name in _HEAD.findall(text)}
        for name in names:
            if name not in threads:
                raise compile_error(self.name, name, "the source does not define it", text)
        unit = translation_unit(text, {name: threads[name] for name in names})
        library = self._library(unit, text, names)
        addresses = [ctypes.cast(getattr(library, f"emulate_{name}"), ctypes.c_void_p).value or 0 for name in names]
        return [CompiledKernel(name, at, text, None, library) for name, at in zip(names, addresses, strict=True)]

    def _library(self, unit: str, text: str, names: Sequence[str]) -> ctypes.CDLL:
        command = compiler()
        if command is None:
            raise DeviceUnavailable(f"device {self.name} is not available on this machine: {self.unavailable()}")
        flags = _flags()
        key = cache.key_of("cuda emulation", HEADER.read_text(), unit, *cc._identity([command]), *flags)
        with tempfile.TemporaryDirectory(prefix="minigrad-") as folder:
            code = cache.load(key)
            library = cc._load(folder, code) if code is not None else None
            if library is None:
                code = self._compile(folder, [command, *flags, f"-I{_header(command)}"], unit, text, names)
                cache.store(key, code)
                library = cc._load(folder, code)
            if library is None:
                raise compile_error(self.name, ", ".join(names), f"the system can't load libraries from {folder}", text)
        return library

    def _compile(self, folder: str, command: list[str], unit: str, text: str, names: Sequence[str]) -> bytes:
        source, output = os.path.join(folder, "kernels.cpp"), os.path.join(folder, "kernels.so")
        Path(source).write_text(unit, encoding="utf-8")
        done = subprocess.run([*command, source, "-o", output], capture_output=True, text=True, errors="replace",
                              stdin=subprocess.DEVNULL)
        if done.returncode:
            raise compile_error(self.name, blame(done.stderr, text, names), done.stderr, text)
        return Path(output).read_bytes()

    @cached_property
    def _stacks(self) -> tuple[mmap, int]:
        memory = mmap(-1, STACKS)
        return memory, ctypes.addressof(ctypes.c_char.from_buffer(memory))

    def launch(self, program: CompiledKernel, addresses: Sequence[int], scalars: Sequence[float],
               iterations: int) -> None:
        """Run ``iterations`` blocks. Raises ``LaunchError`` if threads diverge at a barrier or misuse shared memory."""
        if not iterations:
            return
        arrays = struct.pack(f"={len(addresses)}Q", *addresses)
        letters = "".join(_letter(program, i, number) for i, number in enumerate(scalars))
        at_launch = SharedLayout(program.kernel).launched if program.kernel is not None else 0
        with run_lock:
            numbers = struct.pack(f"={letters}", *scalars)
            problem = _RUN(program.address)(arrays, numbers, 0, iterations, self._stacks[1], at_launch)
        if problem is not None:
            raise LaunchError(f"device {self.name} cannot run kernel {program.name}: {problem.decode()}\n\n"
                              f"{_numbered(program.source)}")


def _letter(program: CompiledKernel, position: int, number: float) -> str:
    """How a run-time number is packed: by the kernel's type, or, of a kernel that is only text, its own."""
    if program.kernel is None:
        return "d" if isinstance(number, float) else "q"
    dtype = program.kernel.scalars[position].dtype
    return "d" if dtype.is_float else "Q" if dtype.kind == "u" else "q"


def translation_unit(text: str, threads: dict[str, int]) -> str:
    """C++ for ``text`` whose functions ``emulate_NAME`` run the kernels, by name, of so many threads a block.

    >>> kernel = 'extern "C" __global__ void __launch_bounds__(8) k(float *a) {\\n  __shared__ float b[8];\\n}\\n'
    >>> "  SHARED(float, b, [8]);" in translation_unit(kernel, {"k": 8})
    True
    """
    body = _AT_LAUNCH.sub(r"SHARED_AT_LAUNCH(\1);", text)
    body = _SHARED.sub(r"SHARED(\1, \2, \3);", body)
    body = _HEAD.sub(r"\1kernel_\3(", body)  # a kernel may have the name of a function of the C library
    entries = "".join(f"""
static emulation::SharedMemory *shared_{name};
extern "C" const char *emulate_{name}(void **arrays, const int64_t *scalars, int64_t begin, int64_t end,
                                      char *stacks, size_t at_launch) {{
  return emulation::launch("{name}", kernel_{name}, shared_{name}, {count}, arrays, scalars, begin, end, stacks,
                           at_launch);
}}
""" for name, count in threads.items())
    return f'#include "{HEADER.name}"\n#line 1 "kernels.cu"\n{body}\n{entries}'


def _numbered(text: str) -> str:
    return "\n".join(f"{number:4} {line}" for number, line in enumerate(text.splitlines(), 1))


minigrad.register_device(NAME, CudaEmulationDevice, "CUDA kernels run by this machine's processor, for tests")
