"""Stage: runtime. In: calls in plain words. Out: the calls of NVIDIA's driver library that the CUDA device needs, with
their status checked: all of it that minigrad knows. Tests put an object with the same methods in its place.
Next: ``cuda_memory.py``."""

from __future__ import annotations

import ctypes
import importlib
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

# Of the driver's enumerations (cuda.h).
_MAJOR, _MINOR = "COMPUTE_CAPABILITY_MAJOR", "COMPUTE_CAPABILITY_MINOR"
_NON_BLOCKING = 1  # a stream that does not wait for the legacy default stream
_NO_TIMING, _TIMING = 2, 0


class CudaError(RuntimeError):
    """A call of the driver failed. ``name`` is the driver's for it, such as ``"CUDA_ERROR_ILLEGAL_ADDRESS"``."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"CUDA error: {message} ({name})")
        self.name = name


@dataclass(frozen=True)
class Properties:
    """What a GPU is. Sizes are in bytes; ``shared_memory`` is what a block may have, ``shared_at_launch`` if it asks
    for it when it is launched."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    shared_memory: int
    max_threads: int
    warp_size: int
    l2_cache_size: int
    shared_at_launch: int = 0


class GridLaunch(NamedTuple):
    """One launch: ``parameters`` is the address of a table with the addresses of the kernel's parameters, ``shared``
    the bytes of shared memory that it gives beside what the kernel declares."""

    function: Any
    blocks: int
    threads: int
    parameters: int
    shared: int = 0


def library_missing() -> str | None:
    """Why the driver library can't be loaded, or None."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(name)
    except OSError:
        return f"there is no NVIDIA driver, {name} is not found"
    return None


class Driver:
    """The driver, initialised. Raises ``CudaError`` when a call fails, ``MemoryError`` when no memory is left.

    Addresses and sizes are ints; contexts, streams, events, modules, functions and graphs whatever it gives.
    """

    def __init__(self) -> None:
        self.cuda = importlib.import_module("cuda.bindings.driver")
        self.call("cuInit", 0)

    def call(self, function: str, *arguments: Any) -> Any:
        """What a driver function gives beside its status: nothing, a value or a tuple."""
        status, *results = getattr(self.cuda, function)(*arguments)
        if status:
            self.fail(status)
        return results[0] if len(results) == 1 else tuple(results)

    def fail(self, status: Any) -> None:
        text = self.cuda.cuGetErrorString(status)[1]
        raise CudaError(status.name, text.decode() if text else "unknown error")

    # --- devices -------------------------------------------------------------------------------------------------

    def count(self) -> int:
        return self.call("cuDeviceGetCount")

    def properties(self, index: int) -> Properties:
        device = self.call("cuDeviceGet", index)

        def attribute(name: str) -> int:
            return self.call("cuDeviceGetAttribute",
                             getattr(self.cuda.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}"), device)

        name = self.call("cuDeviceGetName", 256, device).split(b"\0")[0].decode()
        return Properties(name, attribute(_MAJOR), attribute(_MINOR), self.call("cuDeviceTotalMem", device),
                          attribute("MULTIPROCESSOR_COUNT"), attribute("MAX_SHARED_MEMORY_PER_BLOCK"),
                          attribute("MAX_THREADS_PER_BLOCK"), attribute("WARP_SIZE"), attribute("L2_CACHE_SIZE"),
                          attribute("MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"))

    def open(self, index: int) -> Any:
        """The device's primary context, which PyTorch and others use too."""
        return self.call("cuDevicePrimaryCtxRetain", self.call("cuDeviceGet", index))

    def use(self, context: Any) -> None:
        """Make the context this thread's."""
        status, = self.cuda.cuCtxSetCurrent(context)
        if status:
            self.fail(status)

    def memory(self) -> tuple[int, int]:
        """Free and total bytes of the current device."""
        return self.call("cuMemGetInfo")

    # --- memory --------------------------------------------------------------------------------------------------

    def allocate(self, nbytes: int) -> int:
        return self.room("cuMemAlloc", nbytes)

    def room(self, function: str, *arguments: int) -> int:
        """The address that an allocating function gives."""
        try:
            return int(self.call(function, *arguments))
        except CudaError as error:
            if error.name == "CUDA_ERROR_OUT_OF_MEMORY":
                raise MemoryError(str(error)) from None
            raise

    def free(self, address: int) -> None:
        self.call("cuMemFree", address)

    def allocate_pinned(self, nbytes: int) -> int:
        """Host memory that the GPU copies from and to by itself."""
        return self.room("cuMemHostAlloc", nbytes, 0)

    def free_pinned(self, address: int) -> None:
        self.call("cuMemFreeHost", address)

    def copy_in(self, address: int, source: int, nbytes: int, stream: Any) -> None:
        """Queue a copy from pinned memory."""
        self.call("cuMemcpyHtoDAsync", address, source, nbytes, stream)

    def copy_out(self, target: int, address: int, nbytes: int, stream: Any) -> None:
        """Queue a copy to pinned memory."""
        self.call("cuMemcpyDtoHAsync", target, address, nbytes, stream)

    def copy_within(self, target: int, source: int, nbytes: int, stream: Any) -> None:
        self.call("cuMemcpyDtoDAsync", target, source, nbytes, stream)

    # --- streams and events --------------------------------------------------------------------------------------

    def stream(self) -> Any:
        return self.call("cuStreamCreate", _NON_BLOCKING)

    def synchronize(self, stream: Any) -> None:
        self.call("cuStreamSynchronize", stream)

    def event(self, timing: bool = False) -> Any:
        return self.call("cuEventCreate", _TIMING if timing else _NO_TIMING)

    def record(self, event: Any, stream: Any) -> None:
        self.call("cuEventRecord", event, stream)

    def wait(self, event: Any) -> None:
        """Let this thread wait until what was queued before the event is done."""
        self.call("cuEventSynchronize", event)

    def is_done(self, event: Any) -> bool:
        """Whether what was queued before the event is done."""
        status, = self.cuda.cuEventQuery(event)
        if status and status.name != "CUDA_ERROR_NOT_READY":
            self.fail(status)
        return not status

    def seconds(self, start: Any, end: Any) -> float:
        return self.call("cuEventElapsedTime", start, end) * 1e-3

    def drop_event(self, event: Any) -> None:
        self.call("cuEventDestroy", event)

    # --- code ----------------------------------------------------------------------------------------------------

    def load(self, code: bytes) -> Any:
        """A module of machine code (cubin) or PTX."""
        return self.call("cuModuleLoadData", code if code[:4] == b"\x7fELF" else code + b"\0")

    def unload(self, module: Any) -> None:
        self.call("cuModuleUnload", module)

    def function(self, module: Any, name: str) -> Any:
        return self.call("cuModuleGetFunction", module, name.encode())

    def allow_shared(self, function: Any, nbytes: int) -> None:
        """Let launches of a function give so many bytes of shared memory."""
        self.call("cuFuncSetAttribute", function,
                  self.cuda.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, nbytes)

    def launch(self, grid: GridLaunch, stream: Any) -> None:
        status, = self.cuda.cuLaunchKernel(grid.function, grid.blocks, 1, 1, grid.threads, 1, 1, grid.shared, stream,
                                           grid.parameters, 0)
        if status:
            self.fail(status)

    # --- graphs --------------------------------------------------------------------------------------------------

    def graph(self, launches: Sequence[GridLaunch]) -> tuple[Any, list[Any]]:
        """Launches that run one after another as one: what ``launch_graph`` takes, and a handle for each. The values of
        their parameters are copied."""
        graph = self.call("cuGraphCreate", 0)
        nodes: list[Any] = []
        try:
            for launch in launches:
                nodes.append(self.call("cuGraphAddKernelNode", graph, nodes[-1:], len(nodes[-1:]),
                                       self._node(launch)))
            return (graph, self.call("cuGraphInstantiate", graph, 0)), nodes
        except BaseException:
            self.call("cuGraphDestroy", graph)
            raise

    def set_node(self, graph: Any, node: Any, launch: GridLaunch) -> None:
        """Give a launch of a graph other parameters, from the next run on."""
        self.call("cuGraphExecKernelNodeSetParams", graph[1], node, self._node(launch))

    def launch_graph(self, graph: Any, stream: Any) -> None:
        status, = self.cuda.cuGraphLaunch(graph[1], stream)
        if status:
            self.fail(status)

    def drop_graph(self, graph: Any) -> None:
        with suppress(CudaError):
            self.call("cuGraphExecDestroy", graph[1])
            self.call("cuGraphDestroy", graph[0])

    def _node(self, launch: GridLaunch) -> Any:
        node = self.cuda.CUDA_KERNEL_NODE_PARAMS()
        node.func = launch.function
        node.gridDimX, node.blockDimX = launch.blocks, launch.threads
        node.gridDimY = node.gridDimZ = node.blockDimY = node.blockDimZ = 1
        node.sharedMemBytes = launch.shared
        node.kernelParams = launch.parameters
        return node
