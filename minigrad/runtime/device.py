"""Stage: runtime. In: a device's name. Out: the device: it allocates, compiles kernels and makes native programs.
The registry below loads a device when it is first asked for; packages add theirs as entry points of the group
``minigrad.devices``.
Next: ``buffer.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad import lazily
from minigrad.errors import CompileError, DeviceUnavailable, OutOfMemoryError, with_source
from minigrad.records import Record
from minigrad.runtime.buffer import Buffer

if TYPE_CHECKING:
    from minigrad.kernel.ir import Kernel
    from minigrad.runtime.launches import Launches
    from minigrad.runtime.native import NativeProgram, Step
    from minigrad.target import Target


class CompiledKernel:
    """A compiled kernel. ``source`` is the text its compiler got, which may hold other kernels too, ``owner`` whatever
    keeps the code or stands for it. ``address``: on devices whose ``native`` is a ``NativeProgram``, that of a function
    with the CPU form's signature (``kernel/ir.py``). ``kernel`` is filled in by ``Device.compile``."""

    __slots__ = ("address", "kernel", "name", "owner", "source")

    def __init__(self, name: str, address: int = 0, source: str = "", kernel: Kernel | None = None,
                 owner: Any = None) -> None:
        self.name, self.address, self.source, self.kernel, self.owner = name, address, source, kernel, owner


class Device:
    """What minigrad asks of a device that runs kernels. Subclass it and register it; ``cc.py`` is a model for compilers
    of the host's processor, ``opencl.py`` for devices with memory and queues of their own.

    ``name`` is upper-case, and ends in ``:1`` … for all but the first of several; ``host_memory``: whether buffers are
    memory that NumPy can see; ``language``: what its source is written in; ``compiles``: what its compiler is given, if
    that is something else.
    """

    name = "DEVICE"
    host_memory = True
    language = "C"
    compiles = ""

    def __init__(self, index: int = 0) -> None:
        self.index = index
        if index:
            self.name = f"{type(self).name}:{index}"

    @property
    def target(self) -> Target:
        """What scheduling and lowering may assume of the machine; here, what every processor can do."""
        from minigrad.target import SCALAR

        return SCALAR

    @classmethod
    def unavailable(cls) -> str | None:
        """Why the device can't be used on this machine, or None. Must be cheap and must not raise."""
        return None

    @classmethod
    def count(cls) -> int:
        """How many there are; only asked of an available one."""
        return 1

    @classmethod
    def offline(cls) -> Device:
        """One that plans and renders kernels but runs none, for machines that have no such device. Override it where
        ``target`` is read from the hardware."""
        device = cls.__new__(cls)
        device.index = 0
        return device

    def allocate(self, nbytes: int) -> Buffer:
        """``nbytes`` bytes of undefined contents. Raises ``OutOfMemoryError``."""
        return Buffer(self.name, nbytes)

    def compile(self, kernels: Sequence[Kernel]) -> list[CompiledKernel]:
        """Programs for ``kernels``, in their order; their names differ. Raises ``CompileError``."""
        programs = self.compile_text(self.source(kernels), [kernel.name for kernel in kernels])
        if len(programs) != len(kernels):
            raise CompileError(f"compile_text() gives {len(programs)} programs for {len(kernels)} kernels")
        for program, kernel in zip(programs, kernels, strict=True):
            program.kernel = kernel
        return programs

    def source(self, kernels: Sequence[Kernel]) -> str:
        """The text of ``kernels`` that the compiler gets."""
        raise NotImplementedError(f"device {self.name} renders no kernels")

    def readable(self, kernel: Kernel) -> str:
        """The text of one kernel for people to read (DEBUG=4), in ``language``."""
        return self.source([kernel])

    def compile_text(self, text: str, names: Sequence[str]) -> list[CompiledKernel]:
        """Programs for the functions ``names`` that ``text`` defines, in this order. Raises ``CompileError`` with what
        the compiler said; who realises adds device, kernel and source."""
        raise NotImplementedError(f"device {self.name} compiles no kernels")

    def identity(self) -> str:
        """What code found by ``restore`` depends on beside the device's class and target: the same only on machines,
        and with compilers, for which the code would be the same. Empty: nothing is restored."""
        return ""

    def restore(self, key: str, names: Sequence[str]) -> list[CompiledKernel] | None:
        """The functions ``names`` of the object code that an earlier process kept under ``key`` (``owner.key`` of its
        programs), in this order, or None if it is gone."""
        return None

    def assembly(self, text: str) -> str:
        """The machine code of a program's source, to read (DEBUG=7); empty if the device can't show it."""
        return ""

    def launch(self, program: CompiledKernel, addresses: Sequence[int], scalars: Sequence[float],
               iterations: int) -> None:
        """Queue one run of a program: ``iterations`` of its parallel loop, or workgroups of its grid. Runs happen in
        the order in which they were queued."""
        raise NotImplementedError(f"device {self.name} runs no kernels")

    def launch_timed(self, program: CompiledKernel, addresses: Sequence[int], scalars: Sequence[float],
                     iterations: int) -> float:
        """As ``launch``, but wait for it; the seconds it took."""
        self.synchronize()
        start = perf_counter()
        self.launch(program, addresses, scalars, iterations)
        self.synchronize()
        return perf_counter() - start

    def synchronize(self) -> None:
        """Wait for all that was queued."""

    def tell_later(self, words: Buffer, told: Callable[[np.ndarray], None]) -> bool:
        """Have ``told`` called with the int64 words of a small buffer when they are on the host; then what it raises
        comes out of a later call. False: the device doesn't, and who asks has to wait."""
        return False

    def settle(self) -> None:
        """Call those that words have come for since."""

    def native(self, steps: Sequence[Step], slots: int, scalars: str = "") -> NativeProgram | Launches:
        """What runs ``steps`` in order; see ``NativeProgram``. Unless the device has something better: launches."""
        from minigrad.runtime.launches import Launches

        return Launches(self, steps)


class NumpyDevice(Device):
    """The reference. Its graphs are executed by ``graph/reference.py``; here it only owns memory."""

    name = "NUMPY"


class DeviceInfo(Record):
    """One line of ``devices()``: ``reason`` says why a device is not available, else it is empty."""

    name: str
    available: bool
    reason: str
    description: str

    def __str__(self) -> str:
        state = "available" if self.available else f"not available: {self.reason}"
        return f"{self.name:<8}{self.description} ({state})"


class DeviceList(tuple[DeviceInfo, ...]):
    """A tuple of ``DeviceInfo`` that prints a line for each."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n".join(map(str, self))


class _Entry(Record):
    """Where a device's class is: ``"module:Class"``, an entry point, or the class itself."""

    where: Any
    description: str

    def load(self) -> type[Device]:
        if isinstance(self.where, str):
            module, _, attribute = self.where.partition(":")
            return getattr(lazily.module(module), attribute)
        return self.where if isinstance(self.where, type) else self.where.load()


_registry: dict[str, _Entry] = {}
_devices: dict[str, Device] = {}
_names: dict[str, str] = {}
_plugins_read = False


def register_device(name: str, where: str | type[Device], description: str = "") -> None:
    """Make a device known under ``name``: its class, or ``"module:Class"`` to be imported at first use. Whoever had the
    name gives it up, and the plans made for it.

    Raises ``ValueError`` for a name that no device string can hold.

    >>> register_device("NUMPY", NumpyDevice, "the reference: every op run by NumPy")
    >>> get_device("numpy").name
    'NUMPY'
    """
    name = name.upper()
    if not name or ":" in name:
        raise ValueError(f"a device's name has no colon, which is for its number, and is not empty; got {name!r}")
    _registry[name] = _Entry(where, description)
    for known in [n for n in _devices if n.partition(":")[0] == name]:
        del _devices[known]
    _names.clear()


register_device("CPU", "minigrad.runtime.cpu:CpuDevice", "this machine's processor, compiled by LLVM")
register_device("CC", "minigrad.runtime.cc:CcDevice", "this machine's processor, compiled by the system's C compiler")
register_device("OPENCL", "minigrad.runtime.opencl:OpenCLDevice", "processors and GPUs with an OpenCL driver")
register_device("CUDA", "minigrad.runtime.cuda:CudaDevice", "NVIDIA GPUs, compiled by NVRTC")
register_device("NUMPY", NumpyDevice, "the reference: every op run by NumPy")


def device_name(name: str) -> str:
    """The registered name for what a user wrote: any case, with or without index.

    Raises ``RuntimeError`` in PyTorch's words for a device that nobody registered.

    >>> device_name("cpu"), device_name("cpu:0")
    ('CPU', 'CPU')
    """
    found = _names.get(name)
    if found is None:
        kind, _, index = str(name).partition(":")
        found = kind.upper()
        if found not in _registry:
            _read_plugins()
        if found not in _registry and not kind.replace("_", "").isalpha():
            raise RuntimeError(f"Invalid device string: '{name}'")
        if found not in _registry:
            expected = ", ".join(known.lower() for known in _registry)
            raise RuntimeError(f"Expected one of {expected} device type at start of device string: {name}")
        if index and not index.isdecimal():
            raise RuntimeError(f"Invalid device string: '{name}'")
        if index and int(index):
            kind_class, reason = _probe(found)
            if kind_class is not None and not reason and int(index) >= kind_class.count():
                raise RuntimeError(f"invalid device ordinal in '{name}': the last device of this kind is "
                                   f"{kind}:{kind_class.count() - 1}")
            found = f"{found}:{int(index)}"
        _names[name] = found
    return found


def get_device(name: str) -> Device:
    """The device of that name, loaded at the first call.

    Raises ``RuntimeError`` for an unknown name and ``DeviceUnavailable`` when it can't be used here.

    >>> get_device("cpu").name
    'CPU'
    """
    device = _devices.get(name)
    if device is None:
        name = device_name(name)
        device = _devices.get(name)
    if device is None:
        family, _, index = name.partition(":")
        kind, reason = _probe(family)
        if kind is None or reason:
            raise DeviceUnavailable(f"device {name} is not available on this machine: {reason}")
        try:
            device = _devices.setdefault(name, kind(int(index or 0)))
        except Exception as error:  # like _probe: whatever another package raises, this says which device it was
            raise DeviceUnavailable(f"device {name} does not start: {type(error).__name__}: {error}") from error
    return device


def device_class(name: str) -> type[Device]:
    """The class of a device, be it available or not: its ``target`` and ``source`` need no machine.

    Raises ``DeviceUnavailable`` if it can't even be loaded.
    """
    kind, reason = _probe(device_name(name).partition(":")[0])
    if kind is None:
        raise DeviceUnavailable(f"device {name} cannot be loaded: {reason}")
    return kind


def devices() -> DeviceList:
    """Every known device, whether it can be used here, and if not, why.

    >>> [d.name for d in devices() if d.name in ("CPU", "NUMPY") and d.available]
    ['CPU', 'NUMPY']
    """
    _read_plugins()
    found = []
    for name, entry in _registry.items():
        reason = _probe(name)[1]
        found.append(DeviceInfo(name, not reason, reason, entry.description))
    return DeviceList(found)


def _probe(name: str) -> tuple[type[Device] | None, str]:
    """The device's class, and why it is unavailable ("" if it is not)."""
    try:
        kind = _registry[name].load()
        return kind, kind.unavailable() or ""
    except Exception as error:  # somebody else's package may fail in any way; it must not take ours down
        return None, f"{type(error).__name__}: {error}"


def _read_plugins() -> None:
    global _plugins_read
    if _plugins_read:
        return
    _plugins_read = True
    from importlib.metadata import entry_points  # costs import time, and most programs never need it

    for point in entry_points(group="minigrad.devices"):
        _registry.setdefault(point.name.upper(), _Entry(point, f"from {point.value.partition(':')[0]}"))
    _names.clear()


def memory_error(device: str, nbytes: int, error: Exception, output: int | None = None) -> OutOfMemoryError:
    """What to raise when a device's ``allocate`` raised ``error``: its own ``OutOfMemoryError`` says enough.
    ``output``: see there."""
    if not isinstance(error, OutOfMemoryError):
        error = OutOfMemoryError(f"device {device} cannot allocate {nbytes} bytes: {type(error).__name__}: {error}")
    error.output = output
    return error


@contextmanager
def in_host_memory() -> Iterator[None]:
    """A block that makes NumPy arrays for tensors: if there is no room, ``OutOfMemoryError``."""
    try:
        yield
    except OutOfMemoryError:
        raise
    except MemoryError as error:  # NumPy's says how much
        raise OutOfMemoryError(f"DefaultCPUAllocator: can't allocate memory: {error}") from None


def compile_error(device: str, kernel: str, problem: str, source: str) -> CompileError:
    """The error that says which device refused which kernel, why, and what it was given."""
    return CompileError(with_source(f"device {device} cannot compile kernel {kernel}: {problem.strip()}", source))
