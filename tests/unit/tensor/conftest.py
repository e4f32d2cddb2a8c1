"""Stage: tests of the front. In: a name, or nothing. Out: a device of that name whose memory the host can't reach, on
any machine; a thread to which all calls are new.
Next: ``test_devices.py``, ``test_dlpack.py``, ``test_replay.py``."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from minigrad.optim import composite as optimizers
from minigrad.runtime import device as registry
from minigrad.runtime.buffer import Buffer, DeviceBuffer, DeviceMemory
from minigrad.runtime.cc import CcDevice
from minigrad.runtime.native import NativeProgram
from minigrad.tensor import points
from minigrad.tensor.quick import quick_function
from minigrad.tensor.replay import Trace, thread


class HiddenMemory(DeviceMemory):
    """Host memory under addresses that are ``shift`` too high, so that whoever takes them for the host's crashes."""

    shift = 1 << 52

    def obtain(self, size: int) -> tuple[int, Any]:
        address, owner = super().obtain(size)
        return address + self.shift, owner

    def copy_in(self, address: int, source: int, nbytes: int) -> None:
        ctypes.memmove(address - self.shift, source, nbytes)

    def copy_out(self, target: int, address: int, nbytes: int) -> None:
        ctypes.memmove(target, address - self.shift, nbytes)

    def copy_within(self, target: int, source: int, nbytes: int) -> None:
        ctypes.memmove(target - self.shift, source - self.shift, nbytes)


class Unshifted:
    """A native program that gets the true addresses."""

    def __init__(self, program: NativeProgram) -> None:
        self.program = program

    def run(self, addresses: list[int], *rest: Any) -> Any:
        shift = HiddenMemory.shift
        return self.program.run([a - shift if a >= shift else a for a in addresses], *rest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.program, name)


class HiddenDevice(CcDevice):
    """The CC device with such memory. There are two of them."""

    host_memory = False

    def __init__(self, index: int = 0) -> None:
        super().__init__(index)
        self.memory = HiddenMemory()

    @classmethod
    def count(cls) -> int:
        return 2

    def allocate(self, nbytes: int) -> Buffer:
        return DeviceBuffer(self.name, nbytes, self.memory)

    def native(self, steps: Any, slots: int, scalars: str = "") -> Any:
        return Unshifted(super().native(steps, slots, scalars))


@pytest.fixture
def hidden_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], type[HiddenDevice]]]:
    """``hidden_device(name)`` registers one until the test ends, in place of the one that has the name, if any."""
    if CcDevice.unavailable() is not None:
        pytest.skip("no C compiler")
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    monkeypatch.setattr(registry, "_devices", dict(registry._devices))

    def make(name: str) -> type[HiddenDevice]:
        kind = type("HiddenDevice", (HiddenDevice,), {"name": name})
        registry.register_device(name, kind, "memory of its own")
        return kind

    yield make
    registry._names.clear()


@pytest.fixture(params=["compiled", "Python", "written"])
def fresh(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A tree in which no call is known; calls are followed by compiled code, if it can be had, or by Python. "written":
    points become functions, and steps programs, at once."""
    monkeypatch.setattr(Trace, "quickened", True)
    function = None if request.param == "Python" else quick_function()
    if request.param == "written":
        monkeypatch.setattr(points, "ENOUGH_RUNS", 1)
        monkeypatch.setattr(optimizers, "FIRST_STEPS", 5)
    monkeypatch.setattr(Trace, "quick", function or (lambda *call: None))
    thread.forget()
    return str(request.param)
