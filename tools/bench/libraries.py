"""Stage: beside the house. In: a library's name. Out: the few things the benchmark must know about that library:
how it takes an array from NumPy, compiles a function, waits until a result is there, and gives it back.
Next: ``workloads.py``, whose functions are written against these."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np


class Library:
    """NumPy, and the base of the others. ``style`` says which of a workload's functions the library runs."""

    name = "numpy"
    module_name = "numpy"
    needs = ""  # another package without which it can't run
    style = "numpy"
    gpu = False  # whether it may see the machine's GPUs

    def __init__(self, threads: int = 2) -> None:
        self.threads = threads
        self.module: Any = importlib.import_module(self.module_name)
        self.note = ""

    def version(self) -> str:
        """The installed version, or ``checkout`` for a package that is only a folder on the path."""
        try:
            return metadata.version(self.module_name)
        except metadata.PackageNotFoundError:
            return str(getattr(self.module, "__version__", "checkout"))

    def array(self, value: np.ndarray, dtype: str = "") -> Any:
        """``value`` as this library's own array, in memory and ready; floating-point numbers as ``dtype`` (NumPy, which
        has no short ones, keeps them)."""
        return value

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function as this library would run it at its best: as it stands, for an eager one."""
        return function

    def compiled_loss(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A model with its loss, inside a training step, where this library compiles that much of the step."""
        return function

    def compiled_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """A training step, where this library compiles all of it."""
        return step

    def finish(self, result: Any) -> Any:
        """Return ``result`` once it is computed."""
        return result

    def to_numpy(self, result: Any) -> np.ndarray:
        """``result`` as a NumPy array."""
        return np.asarray(result)

    def allow_tf32(self, allow: bool) -> None:
        """Let float32 matrices be multiplied as tf32, where this library and its device can."""


class Minigrad(Library):
    """minigrad as a person writes it: plain loops, nothing minigrad-specific but ``realize()``."""

    name = "minigrad"
    module_name = "minigrad"
    style = "pytorch"
    device = ""

    def __init__(self, threads: int = 2) -> None:
        if self.device:
            os.environ["MINIGRAD_DEVICE"] = self.device
        super().__init__(threads)
        if not hasattr(self.module, "tensor"):
            raise ImportError("minigrad has no 'tensor': it is not built here yet")

    def array(self, value: np.ndarray, dtype: str = "") -> Any:
        tensor = self.module.tensor(value)
        return self.finish(tensor.to(getattr(self.module, dtype)) if dtype and tensor.is_floating_point() else tensor)

    def finish(self, result: Any) -> Any:
        return result.realize()

    def to_numpy(self, result: Any) -> np.ndarray:
        result = result.detach().cpu()
        return np.asarray((result.float() if result.dtype == self.module.bfloat16 else result).numpy())

    def allow_tf32(self, allow: bool) -> None:
        self.module.backends.cuda.matmul.allow_tf32 = allow


class MinigradJit(Minigrad):
    """minigrad through ``minigrad.jit``."""

    name = "minigrad-jit"

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        compiled: Callable[..., Any] = self.module.jit(function)
        return compiled

    def compiled_step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        return self.compiled(step)


class MinigradBeam(Minigrad):
    """minigrad with ``BEAM=8``: of each kernel the fastest loops that a search finds, before anything is timed."""

    name = "minigrad-beam"

    def __init__(self, threads: int = 2) -> None:
        os.environ["BEAM"] = "8"
        super().__init__(threads)


class MinigradOpenCL(Minigrad):
    """minigrad on its OPENCL device."""

    name = "minigrad-opencl"
    needs = "pyopencl"
    device = "OPENCL"


class MinigradCuda(Minigrad):
    """minigrad on its CUDA device."""

    name = "minigrad-cuda"
    needs = "cuda"
    device = "CUDA"
    gpu = True

    def finish(self, result: Any) -> Any:
        result.realize()
        self.module.cuda.synchronize()
        return result


class MinigradEmulation(Minigrad):
    """minigrad's CUDA kernels, run by this machine's processor: to try what is to run on a card, not to time it."""

    name = "minigrad-emulation"
    device = "CUDA_EMULATION"

    def __init__(self, threads: int = 2) -> None:
        super().__init__(threads)
        importlib.import_module("tests.cuda_emulation.device")  # registers the device


class Torch(Library):
    """PyTorch, eager."""

    name = "torch"
    module_name = "torch"
    style = "pytorch"

    def __init__(self, threads: int = 2) -> None:
        super().__init__(threads)
        self.module.set_num_threads(threads)

    def array(self, value: np.ndarray, dtype: str = "") -> Any:
        tensor = self.module.tensor(value)
        return tensor.to(getattr(self.module, dtype)) if dtype and tensor.is_floating_point() else tensor

    def to_numpy(self, result: Any) -> np.ndarray:
        result = result.detach().cpu()
        return np.asarray((result.float() if result.dtype == self.module.bfloat16 else result).numpy())

    def allow_tf32(self, allow: bool) -> None:
        self.module.backends.cuda.matmul.allow_tf32 = allow


class TorchCuda(Torch):
    """PyTorch, eager, on an NVIDIA GPU."""

    name = "torch-cuda"
    gpu = True

    def __init__(self, threads: int = 2) -> None:
        super().__init__(threads)
        if not self.module.cuda.is_available():
            raise ImportError("PyTorch finds no CUDA device")
        self.module.set_default_device("cuda")

    def finish(self, result: Any) -> Any:
        self.module.cuda.synchronize()
        return result


class TorchCompile(Torch):
    """PyTorch through ``torch.compile``."""

    name = "torch.compile"

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        compiled: Callable[..., Any] = self.module.compile(function)
        return compiled

    def compiled_loss(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return self.compiled(function)


class Jax(Library):
    """JAX through ``jax.jit``."""

    name = "jax"
    module_name = "jax"
    style = "jax"

    def array(self, value: np.ndarray, dtype: str = "") -> Any:
        array = self.module.numpy.asarray(value)
        return self.finish(array.astype(dtype) if dtype and value.dtype.kind == "f" else array)

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        compiled: Callable[..., Any] = self.module.jit(function)
        return compiled

    def finish(self, result: Any) -> Any:
        return self.module.block_until_ready(result)


class Tinygrad(Library):
    """tinygrad through ``TinyJit``, on its CPU device (which needs ``clang`` on the PATH)."""

    name = "tinygrad"
    module_name = "tinygrad"
    style = "tinygrad"

    def __init__(self, threads: int = 2) -> None:
        os.environ.setdefault("DEV", "CPU")
        super().__init__(threads)
        self.device: Any = None

    def array(self, value: np.ndarray, dtype: str = "") -> Any:
        tensor = self.module.Tensor(value)
        return (tensor.cast(dtype) if dtype and value.dtype.kind == "f" else tensor).contiguous().realize()

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def realised(*arrays: Any) -> Any:
            return function(*arrays).realize()

        jit: Callable[..., Any] = self.module.TinyJit(realised)
        return jit

    def finish(self, result: Any) -> Any:
        if self.device is None:
            self.device = self.module.Device[self.module.Device.DEFAULT]
        result.realize()
        self.device.synchronize()
        return result

    def to_numpy(self, result: Any) -> np.ndarray:
        return np.asarray(result.numpy())


class Micrograd(Library):
    """micrograd, whose values are single numbers in plain Python: a peer in rows about single numbers only."""

    name = "micrograd"
    module_name = "micrograd"
    style = "micrograd"

    def __init__(self, threads: int = 2) -> None:
        super().__init__(threads)
        importlib.import_module("micrograd.engine")


LIBRARIES: dict[str, type[Library]] = {
    library.name: library for library in (
        Minigrad, MinigradJit, MinigradBeam, MinigradOpenCL, MinigradCuda, MinigradEmulation, Library, Torch, TorchCuda,
        TorchCompile, Jax, Tinygrad, Micrograd)
}
ON_REQUEST: tuple[str, ...] = (
    "minigrad-beam", "minigrad-opencl", "minigrad-cuda", "minigrad-emulation", "torch-cuda")
"""Other devices, and a search: measured where ``--peers`` names them, in every row."""

PEERS: tuple[str, ...] = tuple(name for name, library in LIBRARIES.items()
                               if name not in ("minigrad", "minigrad-jit", *ON_REQUEST) and library is not Micrograd)
"""The libraries that can do every row."""


def is_installed(name: str) -> bool:
    """Whether the library's package can be found, without importing it.

    >>> is_installed("numpy")
    True
    """
    library = LIBRARIES[name]
    try:
        return all(importlib.util.find_spec(n) is not None for n in (library.module_name, library.needs) if n)
    except (ImportError, ValueError):
        return False
