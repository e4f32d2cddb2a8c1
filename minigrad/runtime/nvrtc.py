"""Stage: runtime. In: CUDA C++ and a GPU's architecture. Out: its machine code, made by NVRTC, NVIDIA's compiler as a
library; no GPU is needed for that. ``compile_check`` also knows nvcc.
Next: ``cuda_driver.py``, which loads code."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
from functools import cache
from typing import Any

from minigrad.errors import CompileError
from minigrad.runtime.folder import scratch

# Nothing contracts behind the loop nest's back: where one rounding is meant, it says fmaf.
FLAGS = ("--std=c++17", "--fmad=false")
OWN = (90,)
"""Compute capabilities with instructions that no later one has: code that may use them is for these alone."""

INSTALL = "pip install 'minigrad[cuda]'"


class NvrtcError(CompileError):
    """The compiler refused a text; the message is its log."""


@cache
def _bindings() -> Any:
    return importlib.import_module("cuda.bindings.nvrtc")


@cache
def missing() -> str | None:
    """Why NVRTC can't be used here, or None."""
    try:
        if importlib.util.find_spec("cuda.bindings") is None:
            raise ModuleNotFoundError
    except ModuleNotFoundError:
        return f"NVIDIA's Python bindings are not installed, {INSTALL} brings them"
    try:
        version()
    except Exception as error:  # whatever a broken installation raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"NVIDIA's compiler library NVRTC cannot be loaded ({reason}), {INSTALL} brings it"
    return None


@cache
def version() -> str:
    """NVRTC's version, as ``"13.0"``."""
    major, minor = _call("nvrtcVersion")
    return f"{major}.{minor}"


@cache
def architectures() -> tuple[int, ...]:
    """The compute capabilities that NVRTC compiles for, as ``80`` for 8.0."""
    return tuple(_call("nvrtcGetSupportedArchs")[0])


def architecture(major: int, minor: int) -> str:
    """What to compile for on a GPU of this compute capability: its own machine code; PTX of the newest architecture
    that NVRTC knows, for a GPU that is newer than NVRTC."""
    known = architectures()
    wanted = 10 * major + minor
    if wanted in known:
        return f"sm_{wanted}" + ("a" if wanted in OWN else "")
    same_major = [n for n in known if n // 10 == major and n <= wanted]
    if same_major:
        return f"sm_{max(same_major)}"  # machine code runs on later minor versions
    older = [n for n in known if n < wanted]
    if not older:
        raise CompileError(f"NVRTC {version()} compiles for no GPU as old as compute capability {major}.{minor}")
    return f"compute_{max(older)}"


def compile_text(text: str, target: str) -> tuple[bytes, str]:
    """Machine code for ``target`` (``"sm_80"``; PTX for ``"compute_80"``), and the compiler's log. Raises
    ``NvrtcError``."""
    program, = _call("nvrtcCreateProgram", text.encode(), b"kernels.cu", 0, [], [])
    try:
        options = [f"--gpu-architecture={target}".encode(), *(flag.encode() for flag in FLAGS)]
        result = _bindings().nvrtcCompileProgram(program, len(options), options)[0]
        log = _bytes(program, "ProgramLog").decode(errors="replace").strip()
        if int(result):
            raise NvrtcError(log or f"NVRTC says {result.name}")
        return _bytes(program, "CUBIN" if target.startswith("sm_") else "PTX"), log
    finally:
        _bindings().nvrtcDestroyProgram(program)


def compile_check(text: str, target: str = "sm_80", compiler: str = "nvrtc") -> str:
    """The log of a compilation that nobody will run: warnings, usually none. ``compiler``: ``"nvrtc"`` or ``"nvcc"``.
    Raises ``CompileError`` with the log when the text does not compile."""
    if compiler == "nvrtc":
        return compile_text(text, target)[1]
    with scratch() as folder:
        source, output = os.path.join(folder, "kernels.cu"), os.path.join(folder, "kernels.cubin")
        with open(source, "w", encoding="utf-8") as file:
            file.write(text)
        command = [compiler, "-cubin", f"-arch={target}", *FLAGS, source, "-o", output]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
        if done.returncode:
            raise CompileError(done.stderr)
        return done.stderr.strip()


def compilers() -> tuple[str, ...]:
    """Those of ``"nvrtc"`` and ``"nvcc"`` that are installed."""
    return (*(("nvrtc",) if missing() is None else ()), *(("nvcc",) if shutil.which("nvcc") else ()))


def _bytes(program: Any, what: str) -> bytes:
    size, = _call(f"nvrtcGet{what}Size", program)
    data = bytearray(size)
    _call(f"nvrtcGet{what}", program, data)
    return bytes(data).rstrip(b"\0") if what != "CUBIN" else bytes(data)


def _call(function: str, *arguments: Any) -> tuple[Any, ...]:
    """What a function of the library gives beside its status, which is checked."""
    status, *results = getattr(_bindings(), function)(*arguments)
    if int(status):
        raise CompileError(f"{function}: {_bindings().nvrtcGetErrorString(status)[1].decode()}")
    return tuple(results)
