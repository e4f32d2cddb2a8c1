"""Stage: runtime. In: loop nests. Out: kernels on an NVIDIA GPU: compiled by NVRTC for its architecture, launched one
by one, or, from a plan's second run on the same memory, as a CUDA graph: one launch for the whole plan.
Next: ``nvrtc.py``."""

from __future__ import annotations

import os
import re
import struct
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import config, target
from minigrad.dtype import DType
from minigrad.errors import CompileError, LaunchError, with_source
from minigrad.kernel.shared import SharedLayout
from minigrad.render.cuda import render_cuda
from minigrad.runtime import cache, nvrtc
from minigrad.runtime.buffer import Buffer
from minigrad.runtime.cuda_driver import CudaError, Driver, GridLaunch, Properties, library_missing
from minigrad.runtime.cuda_memory import CudaBuffer, CudaMemory, Owned, Queue
from minigrad.runtime.device import CompiledKernel, Device, compile_error
from minigrad.runtime.launches import Launches, argument, blame
from minigrad.runtime.locks import run_lock
from minigrad.target import Target

if TYPE_CHECKING:
    from minigrad.kernel.ir import Kernel
    from minigrad.runtime.native import Step

GRAPHS = 4
"""Graphs that a plan keeps: one for each set of addresses it runs on. A training step has one or two."""

PART = 16
"""Kernels that are compiled together."""

# Errors after which the driver refuses all further work of the process.
_FATAL = ("ILLEGAL_ADDRESS", "LAUNCH_FAILED", "LAUNCH_TIMEOUT", "ILLEGAL_INSTRUCTION", "MISALIGNED_ADDRESS",
          "INVALID_ADDRESS_SPACE", "INVALID_PC", "HARDWARE_STACK_ERROR", "ASSERT", "ECC_UNCORRECTABLE")

_driver: Driver | None = None


def driver() -> Driver:
    """The driver library, initialised at the first call."""
    global _driver
    if _driver is None:
        _driver = Driver()
    return _driver


class CudaDevice(Device):
    """An NVIDIA GPU. Making one of these touches no GPU; using it does."""

    name = "CUDA"
    host_memory = False
    language = "CUDA C++"

    @classmethod
    def unavailable(cls) -> str | None:
        reasons = [reason for reason in (library_missing(), nvrtc.missing()) if reason]
        if not reasons:
            try:
                if driver().count() == 0:
                    reasons.append("the NVIDIA driver finds no GPU")
            except Exception as error:  # whatever a broken installation raises
                reasons.append(f"the NVIDIA driver finds no GPU: {error}")
        if not reasons:
            return None
        return f'{"; ".join(reasons)} (minigrad.inspect(device="CUDA", run=False) shows the source of kernels anyway)'

    @classmethod
    def count(cls) -> int:
        return driver().count()

    # --- the GPU -------------------------------------------------------------------------------------------------

    @cached_property
    def queue(self) -> Queue:
        return Queue(driver(), self.index)

    @cached_property
    def properties(self) -> Properties:
        return driver().properties(self.index)

    @property
    def target(self) -> Target:
        """This GPU's; an A100's where there is none, so that the source can be read."""
        return with_settings(self._target)

    @cached_property
    def _target(self) -> Target:
        return target.CUDA if type(self).unavailable() else target_of(self.properties)

    @cached_property
    def architecture(self) -> str:
        return nvrtc.architecture(self.properties.major, self.properties.minor)

    @cached_property
    def memory(self) -> CudaMemory:
        return CudaMemory(self.queue, self.properties.total_memory)

    def allocate(self, nbytes: int) -> Buffer:
        return CudaBuffer(self.name, nbytes, self.memory)

    # --- code ----------------------------------------------------------------------------------------------------

    def source(self, kernels: Sequence[Kernel]) -> str:
        return render_cuda(kernels)

    def compile(self, kernels: Sequence[Kernel]) -> list[CompiledKernel]:
        """Programs for ``kernels``. Many are compiled in parts, side by side: NVRTC takes a twentieth of a second for
        each."""
        parts = [kernels[i:i + PART] for i in range(0, len(kernels), PART)]
        texts = [self.source(part) for part in parts]
        names = [[kernel.name for kernel in part] for part in parts]
        if len(parts) > 1:
            with ThreadPoolExecutor(min(len(parts), os.cpu_count() or 1)) as pool:
                codes = list(pool.map(self.machine_code, texts, names))
        else:
            codes = [self.machine_code(text, part) for text, part in zip(texts, names, strict=True)]
        programs = [p for part in zip(codes, texts, names, strict=True) for p in self.load(*part)]
        for program, kernel in zip(programs, kernels, strict=True):
            program.kernel = kernel
            self.allow(program)
        return programs

    def allow(self, program: CompiledKernel) -> None:
        """Let launches of the kernel give it the shared memory that it asks for."""
        made = loaded(program)
        if made.shared:
            try:
                self.queue.use().allow_shared(made.function, made.shared)
            except CudaError as error:
                raise compile_error(self.name, program.name, f"{made.shared} bytes of shared memory: {error}",
                                    program.source) from None

    def compile_text(self, text: str, names: Sequence[str]) -> list[CompiledKernel]:
        """Programs for the kernels ``names`` that CUDA C++ ``text`` defines."""
        return self.load(self.machine_code(text, names), text, names)

    def machine_code(self, text: str, names: Sequence[str]) -> bytes:
        """What NVRTC makes of ``text``, now or in an earlier process."""
        key = cache.key_of("cuda", text, self.architecture, nvrtc.version(), *nvrtc.FLAGS)
        code = cache.load(key)
        if code is None:
            try:
                code = nvrtc.compile_text(text, self.architecture)[0]
            except CompileError as error:
                log = re.sub(r"\((\d+)\): ", r":\1:1: ", str(error))  # as other compilers say where
                raise compile_error(self.name, blame(log, text, names), str(error), text) from None
            cache.store(key, code)
        return code

    def load(self, code: bytes, text: str, names: Sequence[str]) -> list[CompiledKernel]:
        """The kernels ``names`` of machine code, on the GPU."""
        driver = self.queue.use()
        try:
            module = Owned(self.queue, "unload", driver.load(code))
            return [CompiledKernel(name, 0, text, None, (module, driver.function(module.handle, name)))
                    for name in names]
        except CudaError as error:
            raise compile_error(self.name, ", ".join(names), str(error), text) from None

    def assembly(self, text: str) -> str:
        """The PTX of CUDA C++ ``text``, to read."""
        return nvrtc.compile_text(text, self.architecture.replace("sm_", "compute_"))[0].decode()

    # --- running -------------------------------------------------------------------------------------------------

    def native(self, steps: Sequence[Step], slots: int, scalars: str = "") -> CudaPlan:
        return CudaPlan(self, steps)

    def launch(self, program: CompiledKernel, addresses: Sequence[int], scalars: Sequence[float],
               iterations: int) -> None:
        if not iterations:
            return  # the driver refuses an empty grid
        driver = self.queue.use()
        self.queued.append(program.name)
        try:
            driver.launch(loaded(program).fill(addresses, scalars, iterations), self.queue.stream)
        except CudaError as error:
            problem = f"{error} in kernel {program.name} on device {self.name}{_consequence(error)}"
            raise LaunchError(with_source(problem, program.source)) from None

    def launch_timed(self, program: CompiledKernel, addresses: Sequence[int], scalars: Sequence[float],
                     iterations: int) -> float:
        """As ``launch``, but wait for it; the seconds it took by the GPU's clock."""
        driver, stream = self.queue.use(), self.queue.stream
        start, end = (Owned(self.queue, "drop_event", driver.event(timing=True)) for _ in range(2))
        self.synchronize()
        driver.record(start.handle, stream)
        self.launch(program, addresses, scalars, iterations)
        driver.record(end.handle, stream)
        self.synchronize()
        return driver.seconds(start.handle, end.handle)

    def synchronize(self) -> None:
        """Wait for all that was queued. Raises ``LaunchError`` when a kernel failed since the last time."""
        try:
            self.queue.use().synchronize(self.queue.stream)
        except CudaError as error:
            raise self.failed(error) from None
        self.queued.clear()
        self.memory.late.settle(wait=True)

    def tell_later(self, words: Buffer, told: Callable[[np.ndarray], None]) -> bool:
        self.memory.late.begin(words.address, words.nbytes, told)
        return True

    def settle(self) -> None:
        self.memory.late.settle()

    @cached_property
    def queued(self) -> deque[str]:
        """Names of the kernels launched last: an error inside one shows when something waits for it."""
        return deque(maxlen=8)

    def failed(self, error: CudaError) -> LaunchError:
        """The error of a kernel that was queued a while ago."""
        names = ", ".join(dict.fromkeys(self.queued))
        where = f" in one of the kernels {names} (DEBUG=2 waits for each, and so names it)" if names else ""
        return LaunchError(f"{error}{where} on device {self.name}{_consequence(error)}")


def _consequence(error: CudaError) -> str:
    fatal = error.name.removeprefix("CUDA_ERROR_") in _FATAL
    return ". The GPU's memory is lost to this process; the other devices still work" if fatal else ""


def with_settings(found: Target) -> Target:
    """The target with what setting ALLOW_TF32 allows. Plans don't outlive a change: it is part of their key."""
    if config.get("ALLOW_TF32") and "bfloat16" in found.matrix:
        return replace(found, name=f"{found.name}-tf32", matrix=(*found.matrix, "float32"))
    return found


def target_of(properties: Properties) -> Target:
    """What scheduling and lowering may assume of a GPU."""
    new = properties.major >= 8
    found = target.SM_90A if (properties.major, properties.minor) == (9, 0) else target.CUDA
    matrix = ("float16", "bfloat16") if new else ()  # earlier ones multiply smaller tiles
    return replace(target.CUDA, name=f"sm_{properties.major}{properties.minor}", matrix=matrix,
                   pipeline=found.pipeline if new else 0, together=found.together,
                   shared_at_launch=properties.shared_at_launch,
                   shared=min(properties.shared_memory, target.CUDA.shared),
                   workgroup=min(properties.max_threads, target.CUDA.workgroup),
                   subgroup=properties.warp_size, l2=properties.l2_cache_size,
                   parallel_min=max(target.CUDA.parallel_min, properties.multi_processor_count))


class Loaded:
    """A kernel that can be launched: its function, and room for the values of its parameters, which the driver copies
    when it is asked to launch."""

    def __init__(self, program: CompiledKernel) -> None:
        self.module, self.function = program.owner
        self.threads, self.shared = 1, 0
        arrays, dtypes = 0, list[DType]()
        if program.kernel is not None:
            self.threads = program.kernel.workgroup or 1
            self.shared = SharedLayout(program.kernel).launched
            arrays, dtypes = len(program.kernel.arrays), [s.dtype for s in program.kernel.scalars]
        self.dtypes = dtypes
        self.halves = any(dtype.is_float and dtype.size == 2 for dtype in dtypes)
        self.pack = struct.Struct("<" + "Q" * arrays + "".join(_FORM[d.name] for d in dtypes)).pack_into
        count = arrays + len(dtypes)
        self.values: Any = np.zeros(max(1, count), np.uint64)
        start = self.values.__array_interface__["data"][0]
        self.table = np.array([start + 8 * n for n in range(max(1, count))], np.uint64)
        self.parameters = self.table.__array_interface__["data"][0]

    def fill(self, addresses: Sequence[int], scalars: Sequence[Any], blocks: int) -> GridLaunch:
        """Put these values where a launch reads them."""
        if self.halves:
            self.pack(self.values, 0, *addresses, *self.converted(scalars))
        else:
            try:
                self.pack(self.values, 0, *addresses, *scalars)
            except (struct.error, OverflowError):  # a number that is to wrap, or to become infinite
                self.pack(self.values, 0, *addresses, *self.converted(scalars))
        return GridLaunch(self.function, blocks, self.threads, self.parameters, self.shared)

    def converted(self, scalars: Sequence[Any]) -> list[float]:
        """The numbers as the kernel's types hold them."""
        with np.errstate(over="ignore"):
            numbers = [argument(dtype, x) for dtype, x in zip(self.dtypes, scalars, strict=True)]
        return [float(x) if dtype.is_float else int(x) for dtype, x in zip(self.dtypes, numbers, strict=True)]


def loaded(program: CompiledKernel) -> Loaded:
    """The program's, made when it is first asked for."""
    if not isinstance(program.owner, Loaded):
        program.owner = Loaded(program)
    return program.owner


# A number of each dtype in 8 bytes, for ``struct``. Half types are passed as float.
_FORM = {"bool": "?7x", "uint8": "B7x", "int8": "b7x", "int16": "h6x", "uint16": "H6x", "int32": "i4x", "uint32": "I4x",
         "int64": "q", "uint64": "Q", "float16": "f4x", "bfloat16": "f4x", "float32": "f4x", "float64": "d"}


class CudaPlan(Launches):
    """Steps that run one after another.

    The first run on a set of addresses launches kernel by kernel. When the same addresses come again, the launches
    become a graph, and from then on a run is one launch; where numbers differ from the graph's, the launches that
    take them are given the new ones first.
    """

    device: CudaDevice

    def __init__(self, device: CudaDevice, steps: Sequence[Step]) -> None:
        super().__init__(device, steps)
        self.graphs: OrderedDict[tuple[int, ...], PlanGraph] = OrderedDict()
        self.seen: deque[tuple[int, ...]] = deque(maxlen=2 * GRAPHS)
        self.as_graph = sum(step.iterations > 0 for step in self.steps) > 1

    def run(self, addresses: Sequence[int], scalars: Sequence[float] = ()) -> None:
        """Queue all steps on these addresses, one a slot, and these numbers. Raises ``LaunchError`` naming the kernel
        that can't be launched; errors inside kernels show when something waits for them."""
        with run_lock:
            graph = self.graph(tuple(addresses), scalars) if self.as_graph else None
            if graph is not None:
                graph.launch(scalars)
            else:
                super().run(addresses, scalars)

    def fill(self, n: int, addresses: Sequence[int], scalars: Sequence[float]) -> GridLaunch:
        """Step ``n`` with its values in place."""
        step = self.steps[n]
        arrays = [addresses[a] if isinstance(a, int) else addresses[a[0]] + a[1] for a in step.arrays]
        return loaded(step.program).fill(arrays, [scalars[i] for i in step.scalars], step.iterations)

    def graph(self, key: tuple[int, ...], scalars: Sequence[float]) -> PlanGraph | None:
        """The graph for these addresses, made when they come the second time."""
        found = self.graphs.get(key)
        if found is not None:
            self.graphs.move_to_end(key)
        elif key in self.seen:
            try:
                found = self.graphs[key] = PlanGraph(self, key, scalars)
            except CudaError:  # a driver that can't: launches do
                self.as_graph = False
                return None
            if len(self.graphs) > GRAPHS:
                self.graphs.popitem(last=False)
        else:
            self.seen.append(key)
        return found


class PlanGraph:
    """The launches of a plan on one set of addresses, as a CUDA graph."""

    def __init__(self, plan: CudaPlan, key: tuple[int, ...], scalars: Sequence[float]) -> None:
        self.plan, self.key = plan, key
        self.scalars: tuple[float, ...] | None = tuple(scalars)
        self.device = plan.device
        filled = [(n, plan.fill(n, key, scalars)) for n, step in enumerate(plan.steps) if step.iterations]
        driver = self.device.queue.use()
        handle, nodes = driver.graph([launch for _, launch in filled])
        self.owned = Owned(self.device.queue, "drop_graph", handle)
        self.nodes = [(n, node) for (n, _), node in zip(filled, nodes, strict=True) if plan.steps[n].scalars]
        self.names = tuple(step.program.name for step in plan.steps)

    def launch(self, scalars: Sequence[float]) -> None:
        driver = self.device.queue.use()
        self.device.queued.extend(self.names)
        try:
            if self.scalars != tuple(scalars):
                self.scalars = None  # until all nodes have the new ones
                for n, node in self.nodes:
                    driver.set_node(self.owned.handle, node, self.plan.fill(n, self.key, scalars))
                self.scalars = tuple(scalars)
            driver.launch_graph(self.owned.handle, self.device.queue.stream)
        except CudaError as error:
            raise self.device.failed(error) from None
