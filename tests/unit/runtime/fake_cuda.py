"""A GPU's driver for tests: the methods of ``Driver``, on host memory, with kernels run by the interpreter.

What is queued happens as late as the driver may let it: when something waits. So whoever forgets to wait, or reuses
memory that a queued copy still reads, gets wrong bytes here.
"""

from __future__ import annotations

import ctypes
from collections import Counter

import numpy as np

from minigrad.kernel.interpret import interpret
from minigrad.kernel.shared import SharedLayout
from minigrad.runtime.cuda_driver import CudaError, GridLaunch, Properties

GIB = 1 << 30
A100 = Properties("NVIDIA A100-SXM4-40GB", 8, 0, 40 * GIB, 108, 48 << 10, 1024, 32, 40 << 20, 163 << 10)


class FakeDriver:
    """``log`` has the name of each call that reached the driver; ``limit`` is the GPU's memory in bytes."""

    def __init__(self, count: int = 1, limit: int = 64 << 20) -> None:
        self.gpus, self.limit = count, limit
        self.log: list[str] = []
        self.blocks: dict[int, ctypes.Array] = {}
        self.pinned: dict[int, ctypes.Array] = {}
        self.current: int | None = None
        self.waiting: list = []  # what was queued and has not happened
        self.done = 0
        self.events: dict[int, int] = {}  # event: how much had been queued when it was recorded
        self.kernels: dict = {}  # by name: a Kernel
        self.modules: set[int] = set()
        self.allowed: dict[object, int] = {}
        self.graphs: dict[int, list[GridLaunch]] = {}
        self.fail: dict[str, str] = {}  # method: name of the error it raises, until taken out
        self.handles = 100

    def calls(self) -> Counter:
        """How often each method was called since the last time."""
        found, self.log = Counter(self.log), []
        return found

    def note(self, method: str) -> None:
        self.log.append(method)
        if method in self.fail:
            raise CudaError(self.fail[method], "it is broken")

    def handle(self) -> int:
        self.handles += 1
        return self.handles

    def push(self, action) -> None:
        self.waiting.append(action)

    def settle(self, until: int | None = None) -> None:
        while self.waiting and (until is None or self.done < until):
            self.done += 1
            self.waiting.pop(0)()

    # --- the methods of Driver

    def count(self):
        self.note("count")
        return self.gpus

    def properties(self, index):
        return A100

    def open(self, index):
        self.note("open")
        return index

    def use(self, context):
        self.current = context

    def memory(self):
        return self.limit - self.used(), self.limit

    def used(self) -> int:
        return sum(map(len, self.blocks.values()))

    def allocate(self, nbytes):
        self.note("allocate")
        if self.used() + nbytes > self.limit:
            raise MemoryError
        block = (ctypes.c_char * nbytes)(*b"\xaa" * min(nbytes, 1))
        self.blocks[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def free(self, address):
        self.note("free")
        assert not self.waiting, "memory is given back while work is queued"
        del self.blocks[address]

    def allocate_pinned(self, nbytes):
        self.note("allocate_pinned")
        block = (ctypes.c_char * nbytes)()
        self.pinned[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def free_pinned(self, address):
        del self.pinned[address]

    def is_pinned(self, address: int, nbytes: int) -> bool:
        return any(start <= address and address + nbytes <= start + len(b) for start, b in self.pinned.items())

    def is_device(self, address: int, nbytes: int) -> bool:
        return any(start <= address and address + nbytes <= start + len(b) for start, b in self.blocks.items())

    def copy_in(self, address, source, nbytes, stream):
        self.note("copy_in")
        assert self.is_device(address, nbytes) and self.is_pinned(source, nbytes)
        self.push(lambda: ctypes.memmove(address, source, nbytes))

    def copy_out(self, target, address, nbytes, stream):
        self.note("copy_out")
        assert self.is_device(address, nbytes) and self.is_pinned(target, nbytes)
        self.push(lambda: ctypes.memmove(target, address, nbytes))

    def copy_within(self, target, source, nbytes, stream):
        self.note("copy_within")
        assert self.is_device(target, nbytes) and self.is_device(source, nbytes)
        self.push(lambda: ctypes.memmove(target, source, nbytes))

    def stream(self):
        return self.handle()

    def synchronize(self, stream):
        self.note("synchronize")
        self.settle()

    def event(self, timing=False):
        event = self.handle()
        self.events[event] = 0
        return event

    def record(self, event, stream):
        self.events[event] = self.done + len(self.waiting)

    def wait(self, event):
        self.note("wait")
        self.settle(self.events[event])

    def is_done(self, event):
        return self.events[event] <= self.done

    def seconds(self, start, end):
        return 0.25 * (self.events[end] - self.events[start])  # a quarter of a second a launch

    def drop_event(self, event):
        del self.events[event]

    def load(self, code):
        self.note("load")
        assert code.startswith(b"\x7fELF for sm_80\n"), code[:40]
        module = self.handle()
        self.modules.add(module)
        return module, code.decode("latin-1")

    def unload(self, module):
        self.note("unload")
        self.modules.remove(module[0])

    def function(self, module, name):
        if f" {name}(" not in module[1]:
            raise CudaError("CUDA_ERROR_NOT_FOUND", "named symbol not found")
        return module[0], name

    def allow_shared(self, function, nbytes):
        self.allowed[function] = nbytes

    def launch(self, grid, stream):
        self.note("launch")
        self.push(self.bound(grid))

    def bound(self, grid: GridLaunch):
        """The run of a kernel with the values that its parameters have now."""
        module, name = grid.function
        kernel = self.kernels[name]
        assert grid.threads == (kernel.workgroup or 1) and grid.blocks > 0
        assert grid.shared == SharedLayout(kernel).launched <= max(48 << 10, self.allowed.get(grid.function, 0))
        table = (ctypes.c_uint64 * (len(kernel.arrays) + len(kernel.scalars))).from_address(grid.parameters)
        arrays = []
        for array, place in zip(kernel.arrays, table):
            address = ctypes.c_uint64.from_address(place).value
            nbytes = array.size * array.dtype.size
            assert self.is_device(address, nbytes), f"{name}: {array.name}"
            memory = (ctypes.c_char * nbytes).from_address(address)
            arrays.append(np.frombuffer(memory, array.dtype.numpy))
        numbers = []
        for scalar, place in zip(kernel.scalars, list(table)[len(arrays):]):
            held = np.dtype("float32") if scalar.dtype.name in ("float16", "bfloat16") else scalar.dtype.numpy
            raw = ctypes.string_at(place, held.itemsize)
            numbers.append(np.frombuffer(raw, held)[0].item())

        def run():
            assert module in self.modules, f"{name}: its module is unloaded"
            with np.errstate(all="ignore"):
                interpret(kernel, arrays, numbers, 0, grid.blocks)

        return run

    def graph(self, launches):
        self.note("graph")
        handle = self.handle()
        self.graphs[handle] = [self.bound(launch) for launch in launches]
        return handle, list(range(len(launches)))

    def set_node(self, graph, node, launch):
        self.note("set_node")
        self.graphs[graph][node] = self.bound(launch)

    def launch_graph(self, graph, stream):
        self.note("launch_graph")
        for run in self.graphs[graph]:
            self.push(run)

    def drop_graph(self, graph):
        self.note("drop_graph")
        del self.graphs[graph]
