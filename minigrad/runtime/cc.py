"""Stage: runtime. In: loop nests. Out: their machine code, made by the system's C compiler from the C that DEBUG=4
prints. Programs run as the CPU device's do; only who compiles differs, so each device checks the other.
Next: ``opencl.py``."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from minigrad import config
from minigrad.errors import DeviceUnavailable
from minigrad.render.c import render_c
from minigrad.runtime import cache, llvm
from minigrad.runtime.device import CompiledKernel, Device, compile_error
from minigrad.runtime.folder import scratch
from minigrad.runtime.launches import blame
from minigrad.runtime.native import NativeProgram, Step
from minigrad.target import Target

if TYPE_CHECKING:
    from minigrad.kernel.ir import Kernel

# Without contraction a*b+c rounds twice, as the loop nest says; where one rounding is meant it says fma. Buffers are
# used again for other types.
FLAGS = ("-O2", "-shared", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing")


def compiler() -> list[str] | None:
    """The compiler's command: setting CC, else the first of cc, gcc and clang on the PATH; None if there is none."""
    chosen = shlex.split(config.get("CC"))
    if chosen:
        return chosen if shutil.which(chosen[0]) else None
    return next(([path] for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)


class CcDevice(Device):
    """Runs kernels that the system's C compiler compiled."""

    name = "CC"

    @classmethod
    def unavailable(cls) -> str | None:
        if compiler() is None:
            chosen = config.get("CC")
            return f"setting CC names {chosen!r}, which is not on the PATH" if chosen else (
                "no C compiler: cc, gcc and clang are not on the PATH")
        return llvm.missing()

    @cached_property
    def target(self) -> Target:
        """The CPU device's, so that both compile the same loop nests, but for instructions that C has no word for."""
        return replace(llvm.host_target(), dots=())

    def source(self, kernels: Sequence[Kernel]) -> str:
        return render_c(kernels)

    def compile_text(self, text: str, names: Sequence[str]) -> list[CompiledKernel]:
        """Programs for the functions ``names`` that C ``text`` defines."""
        command = compiler()
        if command is None:
            raise DeviceUnavailable(f"device CC is not available on this machine: {self.unavailable()}")
        flags = [*FLAGS, *shlex.split(config.get("CFLAGS"))]
        key = cache.key_of("cc", text, *_identity(command), *flags)
        with scratch() as folder:
            code = cache.load(key)
            library = _load(folder, code) if code is not None else None
            if library is None:
                code = _compile(folder, command, flags, text, names)
                library = _load(folder, code)
                if library is None:
                    raise compile_error(self.name, ", ".join(names), f"the system can't load libraries from {folder}; "
                                        "set TMPDIR to a folder where programs may be", text)
                cache.store(key, code)
        programs = []
        for name in names:
            try:
                address = ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
            except AttributeError:
                raise compile_error(self.name, name, "the source does not define it", text) from None
            programs.append(CompiledKernel(name, address, text, None, library))
        return programs

    def native(self, steps: Sequence[Step], slots: int, scalars: str = "") -> NativeProgram:
        return NativeProgram(steps, slots, scalars)


def _compile(folder: str, command: list[str], flags: list[str], text: str, names: Sequence[str]) -> bytes:
    source, output = os.path.join(folder, "kernels.c"), os.path.join(folder, "new.so")
    with open(source, "w", encoding="utf-8") as file:
        file.write(text)
    try:
        done = subprocess.run([*command, *flags, source, "-o", output, "-lm"], capture_output=True, text=True,
                              errors="replace", stdin=subprocess.DEVNULL)
    except OSError as error:
        raise compile_error("CC", ", ".join(names), f"{command[0]} does not start: {error}", text) from None
    if done.returncode:
        raise compile_error("CC", blame(done.stderr, text, names), done.stderr, text)
    with open(output, "rb") as binary:
        return binary.read()


def _load(folder: str, code: bytes) -> ctypes.CDLL | None:
    """Load the library from a private copy: what was checked is what is loaded. It stays loaded."""
    handle, path = tempfile.mkstemp(suffix=".so", dir=folder)
    with open(handle, "wb") as file:
        file.write(code)
    try:
        return ctypes.CDLL(path)
    except OSError:
        return None


def _identity(command: list[str]) -> list[str]:
    """Changes when the compiler does."""
    path = os.path.realpath(shutil.which(command[0]) or command[0])
    try:
        stat = os.stat(path)
        return [*command, path, str(stat.st_size), str(stat.st_mtime_ns)]
    except OSError:
        return [*command, path]
