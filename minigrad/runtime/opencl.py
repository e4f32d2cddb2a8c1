"""Stage: runtime. In: loop nests. Out: programs of an OpenCL driver and runs of them, by way of pyopencl. A processor
takes the CPU form of kernels and works on the host's own memory; anything else takes the GPU form and has memory of its
own.
Next: ``cuda.py``."""

from __future__ import annotations

import ctypes
import os
import re
import threading
import warnings
import weakref
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import config
from minigrad.errors import CompileError, DeviceUnavailable, OutOfMemoryError
from minigrad.render.opencl import render_opencl
from minigrad.runtime import llvm
from minigrad.runtime.allocator import LINE
from minigrad.runtime.allocator import memory as host
from minigrad.runtime.buffer import Buffer, DeviceBuffer, DeviceMemory
from minigrad.runtime.device import CompiledKernel, Device, compile_error
from minigrad.runtime.launches import Launches, argument, blame
from minigrad.target import AVX2, GPU, Target

if TYPE_CHECKING:
    from minigrad.kernel.ir import Array, Kernel
    from minigrad.runtime.native import Step

SHARED = 32 << 10
"""Bytes of local memory that a workgroup takes at most: with more, fewer workgroups run side by side."""

_ADDRESSES = 1 << 14  # remembered places of host addresses
_REFUSALS = ("OUT_OF_RESOURCES", "OUT_OF_HOST_MEMORY", "MEM_OBJECT_ALLOCATION_FAILURE", "INVALID_BUFFER_SIZE")


@cache
def _opencl() -> Any:
    import pyopencl

    return pyopencl


@cache
def _devices() -> tuple[list[Any], list[str]]:
    """All OpenCL devices that can compile, GPUs and accelerators before processors, else as the platforms come; and why
    others cannot."""
    cl = _opencl()
    found, refused = [], []
    for platform in cl.get_platforms():
        try:
            devices = [d for d in platform.get_devices() if d.available and d.compiler_available]
        except cl.Error:  # one driver without a device leaves the others
            continue
        for d in devices:
            try:
                _build(cl.Program(cl.Context([d]), "__kernel void nothing(void) {}"))
                found.append(d)
            except Exception as error:  # PoCL 3.0 does not know processors that came after it
                words = [line for line in str(error).splitlines() if "error:" in line] or [type(error).__name__]
                refused.append(f"{d.name} cannot compile ({words[0].strip()})")
    return sorted(found, key=lambda d: bool(d.type & cl.device_type.CPU)), refused


def _build(program: Any, **options: Any) -> None:
    """Compile. Some drivers always have something to say, of which pyopencl warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program.build(**options)


class OpenCLDevice(Device):
    """An OpenCL device. ``form`` is ``"cpu"`` or ``"gpu"``: which kernels it takes (setting OPENCL_FORM overrides what
    it is)."""

    name = "OPENCL"
    language = "OpenCL C"
    form = ""

    @classmethod
    def unavailable(cls) -> str | None:
        try:
            found, refused = _devices()
            if not found:
                other = ["another driver may: docs/devices.md says which"] if refused else []
                return "; ".join(["the OpenCL drivers that are installed have no device here", *refused, *other])
        except ImportError:
            return "pyopencl is not installed; pip install 'minigrad[opencl]' brings it and a driver for processors"
        except Exception as error:  # no driver at all, or a broken one
            return f"no OpenCL driver works ({error}); pip install pocl-binary-distribution brings one for processors"
        return None

    @classmethod
    def count(cls) -> int:
        return len(_devices()[0])

    @classmethod
    def offline(cls) -> OpenCLDevice:
        """A GPU, as far as kernels go, or with OPENCL_FORM=cpu this machine's processor."""
        device = cls.__new__(cls)
        device.index, device.form = 0, cls.form or config.get("OPENCL_FORM") or "gpu"
        if device.form == "gpu":
            device.target = GPU
        return device

    def __init__(self, index: int = 0) -> None:
        super().__init__(index)
        cl = _opencl()
        self.device = _devices()[0][index]
        is_cpu = bool(self.device.type & cl.device_type.CPU)
        self.form = self.form or config.get("OPENCL_FORM") or ("cpu" if is_cpu else "gpu")
        if self.form not in ("cpu", "gpu"):
            raise ValueError(f"setting OPENCL_FORM should be cpu or gpu, got {self.form!r}")
        self.context = cl.Context([self.device])
        self.queue = cl.CommandQueue(self.context, properties=cl.command_queue_properties.PROFILING_ENABLE)
        self.host_memory = is_cpu and self.form == "cpu" and self._works_in_place()
        self.process = os.getpid()
        self.places: dict[int, tuple[Any, int, weakref.ref[Any]]] = {}
        self.float64 = "cl_khr_fp64" in self.device.extensions
        options = ["-cl-std=CL1.2", "-w"]
        if self.device.single_fp_config & cl.device_fp_config.CORRECTLY_ROUNDED_DIVIDE_SQRT:
            options.append("-cl-fp32-correctly-rounded-divide-sqrt")
        if self.form == "gpu" and self.device.platform.name == "Portable Computing Language":
            options.append("-cl-opt-disable")  # PoCL 3.0 optimises barriers inside an If wrongly
        self.options = options

    @cached_property
    def target(self) -> Target:
        """A processor's, but 256 bits a vector, as drivers may compile for an older one."""
        if self.form == "cpu":
            host = llvm.host_target()
            if host.name == "avx512":
                host = replace(host, vector_bytes=AVX2.vector_bytes, vector_registers=AVX2.vector_registers)
            return replace(host, name="opencl-cpu", stops=False)
        d = self.device
        workgroup = 1 << (min(GPU.workgroup, d.max_work_group_size).bit_length() - 1)
        return replace(GPU, name="opencl", parallel_min=max(GPU.parallel_min, 4 * d.max_compute_units),
                       workgroup=workgroup, shared=min(SHARED, d.local_mem_size), float64=self.float64)

    @cached_property
    def memory(self) -> OpenCLMemory:
        """Its own memory, when it does not work on the host's."""
        return OpenCLMemory(self)

    def allocate(self, nbytes: int) -> Buffer:
        return Buffer(self.name, nbytes) if self.host_memory else DeviceBuffer(self.name, nbytes, self.memory)

    # --- compiling

    def source(self, kernels: Sequence[Kernel]) -> str:
        return render_opencl(kernels)

    def compile_text(self, text: str, names: Sequence[str]) -> list[CompiledKernel]:
        """Programs for the kernels ``names`` that OpenCL C ``text`` defines. The driver keeps what it compiled."""
        cl = _opencl()
        self.check_process()
        if not self.float64 and "double" in text:
            raise CompileError(f"device {self.name} ({self.device.name.strip()}) has no float64; use float32, or "
                               f"another device for {', '.join(names)}")
        program = cl.Program(self.context, text)
        try:
            _build(program, options=self.options, cache_dir=False)
        except cl.Error as error:
            log = str(error)
            clang_like = re.sub(r"error: (\S+?:\d+:\d+)", r"\1: error", log)
            raise compile_error(self.name, blame(clang_like, text, names), log, text) from None
        try:
            return [CompiledKernel(name, 0, text, None, cl.Kernel(program, name)) for name in names]
        except cl.Error as error:
            raise compile_error(self.name, ", ".join(names), str(error), text) from None

    # --- running

    def native(self, steps: Sequence[Step], slots: int, scalars: str = "") -> Launches:
        return LaunchesInPlace(self, steps) if self.host_memory else Launches(self, steps)

    def launch(self, program: CompiledKernel, addresses: Sequence[int], scalars: Sequence[float],
               iterations: int) -> None:
        self._enqueue(program, addresses, scalars, iterations)

    def launch_timed(self, program: CompiledKernel, addresses: Sequence[int], scalars: Sequence[float],
                     iterations: int) -> float:
        event = self._enqueue(program, addresses, scalars, iterations)
        event.wait()
        return (event.profile.end - event.profile.start) * 1e-9

    def synchronize(self) -> None:
        self.check_process()
        self.queue.finish()

    def _enqueue(self, program: CompiledKernel, addresses: Sequence[int], scalars: Sequence[float],
                 iterations: int) -> Any:
        cl = _opencl()
        self.check_process()
        kernel = program.kernel
        assert kernel is not None
        numbers = [argument(s.dtype, n) for s, n in zip(kernel.scalars, scalars, strict=True)]
        size = kernel.workgroup or 1
        try:
            places = [self._place(address, array) for address, array in zip(addresses, kernel.arrays, strict=True)]
            starts = [np.int64(at // array.dtype.size) for (_, at), array in zip(places, kernel.arrays, strict=True)]
            program.owner.set_args(*(m for m, _ in places), *numbers, *starts)
            return cl.enqueue_nd_range_kernel(self.queue, program.owner, (iterations * size,), (size,))
        except cl.Error as error:
            if any(word in str(error) for word in _REFUSALS):
                raise OutOfMemoryError(f"device {self.name} has no memory to run {program.name}: {error}") from None
            raise

    def _place(self, address: int, array: Array) -> tuple[Any, int]:
        """The memory object in which an address lies, and how far from its start."""
        if not self.host_memory:
            return self.memory.place(address)
        found = self.places.get(address)
        if found is not None and found[2]() is not None:
            return found[0], found[1]
        try:
            start, size, owner = host.block(address)
        except ValueError:  # a user's own memory
            return self._wrap(address, max(1, array.size) * array.dtype.size), 0
        memory, _, alive = self.places.get(start, (None, 0, _nobody))
        if alive() is not owner:
            memory = self._wrap(start, size)
        if len(self.places) >= _ADDRESSES:
            self.places.clear()
        self.places[start] = memory, 0, weakref.ref(owner)
        self.places[address] = memory, address - start, weakref.ref(owner)
        return memory, address - start

    def _works_in_place(self) -> bool:
        """Whether the driver works on host memory wherever it lies, and keeps no copy of it."""
        cl = _opencl()
        source, target = (np.zeros(256, np.uint8)[LINE - 8:-8] for _ in range(2))
        try:
            wrapped = [self._wrap(a.ctypes.data, a.nbytes) for a in (source, target)]
            for number in (1, 2):
                source[:] = number
                cl.enqueue_copy(self.queue, wrapped[1], wrapped[0])
                self.queue.finish()
                if not np.array_equal(source, target):
                    return False
        except cl.Error:  # it wants the memory to begin at another place
            return False
        return True

    def _wrap(self, address: int, nbytes: int) -> Any:
        """A memory object on host memory."""
        flags = _opencl().mem_flags
        view = (ctypes.c_char * nbytes).from_address(address)
        return _opencl().Buffer(self.context, flags.READ_WRITE | flags.USE_HOST_PTR, hostbuf=view)

    def check_process(self) -> None:
        """Raises ``DeviceUnavailable`` in a child that was forked off the process that opened the device."""
        if os.getpid() != self.process:
            raise DeviceUnavailable(f"Cannot use device {self.name} in a forked subprocess: OpenCL drivers do not "
                                    "survive a fork. Start the process by the method 'spawn'")


class LaunchesInPlace(Launches):
    """Launches on host memory, which may be read, freed or used again as soon as ``run`` returns: it waits, once."""

    def run(self, addresses: Sequence[int], scalars: Sequence[float] = ()) -> None:
        try:
            super().run(addresses, scalars)
        finally:
            self.device.synchronize()


class OpenCLMemory(DeviceMemory):
    """Memory objects as if they lay one behind the other: address = start of the object + byte in it."""

    def __init__(self, device: OpenCLDevice) -> None:
        total = device.device.global_mem_size
        super().__init__(total // 4, total)
        self.device = device
        self.lock = threading.RLock()
        self.starts: tuple[int, ...] = ()  # ascending; one that is gone may stay in it, which finds nothing
        self.objects: dict[int, Any] = {}
        self.next = 1 << 20

    def obtain(self, size: int) -> tuple[int, Any]:
        cl, device = _opencl(), self.device
        if size > device.device.max_mem_alloc_size:
            raise MemoryError(f"{size} bytes are more than the device gives at once")
        try:
            made = cl.Buffer(device.context, cl.mem_flags.READ_WRITE, size)
            cl.enqueue_migrate_mem_objects(device.queue, [made], cl.mem_migration_flags.CONTENT_UNDEFINED)
        except cl.Error as error:
            raise MemoryError(str(error)) from None
        with self.lock:
            start = self.next
            self.next += (size + LINE) & -LINE  # never used again
            self.objects[start] = made
            self.starts = (*self.starts, start)
        return start, _Owner(self, start)

    def forget(self, start: int) -> None:
        """Give an object back. The garbage collector may call it at any time, in any thread."""
        with self.lock:
            del self.objects[start]
            self.starts = tuple(s for s in self.starts if s != start)

    def place(self, address: int) -> tuple[Any, int]:
        """The object an address lies in, and the byte in it."""
        self.device.check_process()
        starts = self.starts
        start = starts[bisect_right(starts, address) - 1]
        return self.objects[start], address - start

    def out_of_memory(self, nbytes: int) -> str:
        return f"device {self.device.name} is out of memory: tried to allocate {nbytes} bytes"

    def copy_in(self, address: int, source: int, nbytes: int) -> None:
        if nbytes:
            memory, at = self.place(address)
            _opencl().enqueue_copy(self.device.queue, memory, _host_bytes(source, nbytes), dst_offset=at)

    def copy_out(self, target: int, address: int, nbytes: int) -> None:
        if nbytes:
            memory, at = self.place(address)
            _opencl().enqueue_copy(self.device.queue, _host_bytes(target, nbytes), memory, src_offset=at)

    def copy_within(self, target: int, source: int, nbytes: int) -> None:
        if nbytes:
            (to, at), (of, start) = self.place(target), self.place(source)
            _opencl().enqueue_copy(self.device.queue, to, of, byte_count=nbytes, src_offset=start, dst_offset=at)


class _Owner:
    """Keeps a memory object of OpenCLMemory; when it goes, so does that."""

    def __init__(self, memory: OpenCLMemory, start: int) -> None:
        self.memory, self.start = memory, start

    def __del__(self) -> None:
        self.memory.forget(self.start)


def _nobody() -> None:
    """A reference to nothing."""


def _host_bytes(address: int, nbytes: int) -> Any:
    return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))

