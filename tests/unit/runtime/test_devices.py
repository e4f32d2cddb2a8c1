import pytest

import minigrad
from minigrad import config
from minigrad.errors import DeviceUnavailable
from minigrad.runtime import device
from minigrad.runtime.buffer import DeviceBuffer, DeviceMemory
from minigrad.runtime.cpu import CpuDevice
from minigrad.runtime.device import Device, device_name, devices, get_device, register_device


@pytest.fixture
def registry(monkeypatch):
    """Devices that a test registers are gone after it."""
    monkeypatch.setattr(device, "_registry", dict(device._registry))
    monkeypatch.setattr(device, "_devices", dict(device._devices))
    monkeypatch.setattr(device, "_names", {})


def test_names_are_found_in_any_case_and_with_index_0():
    assert get_device("cpu") is get_device("CPU") is get_device("cpu:0")
    assert device_name("numpy") == "NUMPY"


def test_an_unknown_device_is_pytorchs_error():
    with pytest.raises(RuntimeError, match=r"^Expected one of cpu, cc, opencl, cuda, numpy.* device type at start of "
                                           r"device string: foo$"):
        get_device("foo")
    with pytest.raises(RuntimeError, match="Invalid device string: 'cpu:x'"):
        get_device("cpu:x")
    with pytest.raises(RuntimeError, match="invalid device ordinal in 'cpu:1': the last device of this kind is cpu:0"):
        get_device("cpu:1")


def test_devices_lists_what_can_be_used_and_why_not(registry, monkeypatch):
    monkeypatch.setenv("MINIGRAD_CC", "no-such-compiler")

    class Broken(Device):
        @classmethod
        def unavailable(cls):
            raise OSError("no driver")

    register_device("BROKEN", Broken, "a device whose library fails")
    register_device("ABSENT", "no_such_module:Device", "a device that is not installed")
    found = {info.name: info for info in devices()}
    assert found["CPU"].available and found["NUMPY"].available
    assert not found["CC"].available and "'no-such-compiler'" in found["CC"].reason
    assert found["BROKEN"].reason == "OSError: no driver"
    assert "no_such_module" in found["ABSENT"].reason
    assert "BROKEN  a device whose library fails (not available: OSError: no driver)" in repr(devices())
    with pytest.raises(DeviceUnavailable, match="device BROKEN is not available on this machine: OSError: no driver"):
        get_device("broken")


def test_without_a_c_compiler_cc_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with config.config(CC=""):
        assert [i.reason for i in devices() if i.name == "CC"] == [
            "no C compiler: cc, gcc and clang are not on the PATH"]


def test_a_registered_class_is_used(registry):
    class Mine(Device):
        name = "MINE"

    register_device("mine", Mine, "a test's own")
    assert type(get_device("mine")) is Mine
    assert get_device("MINE").allocate(5).nbytes == 5
    with pytest.raises(NotImplementedError, match="device MINE renders no kernels"):
        get_device("MINE").compile([])


def test_entry_points_are_devices(registry, monkeypatch):
    import importlib.metadata

    point = importlib.metadata.EntryPoint("PLUGGED", "minigrad.runtime.device:NumpyDevice", "minigrad.devices")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] if "minigrad" in group else [])
    monkeypatch.setattr(device, "_plugins_read", False)
    assert get_device("plugged").name == "NUMPY"
    assert "PLUGGED" in [info.name for info in devices()]


def test_listing_devices_needs_no_compiler(python):
    assert python("""
import sys
from minigrad.runtime.device import devices
assert devices()[0].available
print("llvmlite" in sys.modules)
""") == "False\n"


def test_a_device_registered_anew_has_new_plans(registry):
    compiled = []
    for number in range(2):
        class Mine(CpuDevice):
            name = "MINE"
            tag = number

            def compile(self, kernels):
                compiled.append(self.tag)
                return super().compile(kernels)

        register_device("mine", Mine)
        x = minigrad.ones(3, device="mine")
        for _ in range(2):
            assert x.exp().sin().tolist() == pytest.approx([0.41078129] * 3)
    assert compiled == [0, 1]


@pytest.mark.parametrize("name", ["", "mine:1"])
def test_names_that_no_device_string_holds(name):
    with pytest.raises(ValueError, match="a device's name has no colon"):
        register_device(name, Device)


def test_data_ptr_of_hidden_memory_copies_nothing(registry):
    class Far(CpuDevice):
        name = "FAR"

        def allocate(self, nbytes):
            return DeviceBuffer(self.name, nbytes, Unreadable())

    class Unreadable(DeviceMemory):
        def copy_in(self, address, source, nbytes):
            pass

    register_device("far", Far)
    x = minigrad.tensor([1.0, 2.0], device="far")
    assert x[1:].data_ptr() - x.data_ptr() == 4
