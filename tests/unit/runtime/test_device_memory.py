"""A device whose memory the host can't reach: here the host's own, under addresses that mean nothing to the host.
Kernels are the CPU device's, called with the addresses put right."""

from __future__ import annotations

import ctypes
import gc

import numpy as np
import pytest

import minigrad
from minigrad.errors import LaunchError, OutOfMemoryError
from minigrad.runtime.buffer import DeviceBuffer, DeviceMemory
from minigrad.runtime.cpu import CpuDevice
from minigrad.runtime.device import Device, get_device
from minigrad.runtime.launches import argument

FAR = 1 << 52
LIMIT = 256 << 20


class FarMemory(DeviceMemory):
    def obtain(self, size):
        if self._mapped + size > LIMIT:
            raise MemoryError
        owner = np.empty(size + 64, np.uint8)
        address = (owner.ctypes.data + 63) & -64
        return address + FAR, owner

    def out_of_memory(self, nbytes):
        return f"the far memory is full: {nbytes} bytes"

    def copy_in(self, address, source, nbytes):
        ctypes.memmove(address - FAR, source, nbytes)

    def copy_out(self, target, address, nbytes):
        ctypes.memmove(target, address - FAR, nbytes)

    def copy_within(self, target, source, nbytes):
        ctypes.memmove(target - FAR, source - FAR, nbytes)


class FarDevice(CpuDevice):
    name = "FAR"
    host_memory = False
    broken = False

    def __init__(self, index=0):
        super().__init__(index)
        self.memory = FarMemory(32 << 20, LIMIT)
        self.runs = []

    @classmethod
    def count(cls):
        return 2

    def allocate(self, nbytes):
        return DeviceBuffer(self.name, nbytes, self.memory)

    def launch(self, program, addresses, scalars, iterations):
        if self.broken:
            raise OSError("the cable came off")
        self.runs.append(program.name)
        arrays = (ctypes.c_void_p * max(1, len(addresses)))(*[a - FAR for a in addresses])
        bits = [np.float64(n).view(np.int64) if s.dtype.is_float else np.int64(n)
                for s, n in zip(program.kernel.scalars, scalars, strict=True)]
        numbers = np.array([*bits, 0], np.int64)
        function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(
            program.address)
        function(arrays, numbers.ctypes.data, 0, iterations)

    native = Device.native


minigrad.register_device("FAR", FarDevice, "a device for tests")


@pytest.fixture(autouse=True)
def device():
    found = get_device("FAR")
    found.runs.clear()
    yield found
    found.broken = False


def test_values_go_there_and_come_back():
    x = minigrad.tensor([[1.0, -2.0], [3.0, -4.0]], device="far")
    y = (x.relu() @ x + 1).sum(1)
    assert y.tolist() == [np.float64(1 - 2 + 2).item(), np.float64(3 - 6 + 2).item()]
    assert str(y.device) == "far:0" and y.cpu().device.type == "cpu"
    np.testing.assert_array_equal(y.cpu().numpy(), np.float32([1, -1]))


def test_numpy_says_that_it_cannot_reach_the_memory():
    with pytest.raises(TypeError, match="can't convert far:0 device type tensor to numpy. Use Tensor.cpu()"):
        minigrad.ones(3, device="far").numpy()


def test_views_with_offsets_and_strides():
    x = minigrad.arange(24, device="far").reshape(4, 6).realize()
    assert x[1:3, ::2].tolist() == [[6, 8, 10], [12, 14, 16]]
    assert x.T[2].tolist() == [2, 8, 14, 20]
    x[1:3, 4] = 7
    assert x[:, 4].tolist() == [4, 7, 7, 22]
    assert x[2:, 1:].contiguous().cpu().numpy().tolist() == [[13, 14, 15, 7, 17], [19, 20, 21, 22, 23]]


def test_a_wrong_index_is_found_and_nothing_is_lost():
    x = minigrad.arange(5.0, device="far").realize()
    index = (minigrad.tensor([1, 7], device="far") + 0)
    with pytest.raises(IndexError):
        x[index].tolist()
    assert x.tolist() == [0, 1, 2, 3, 4]


def test_training_there():
    minigrad.manual_seed(0)
    model = minigrad.nn.Sequential(minigrad.nn.Linear(2, 8), minigrad.nn.Tanh(), minigrad.nn.Linear(8, 1)).to("far")
    optimizer = minigrad.optim.Adam(model.parameters(), lr=0.05)
    x = minigrad.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]).to("far")
    y = minigrad.tensor([[0.0], [1], [1], [0]], device="far")
    for _ in range(150):
        loss = ((model(x) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert all(p.device.type == "far" and p.grad.device.type == "far" for p in model.parameters())


def test_memory_is_used_again_and_runs_out(device):
    held = minigrad.zeros(1 << 20, device="far").realize()
    address = held._storage.lazy.buffer.address
    del held
    gc.collect()
    again = minigrad.zeros(1 << 20, device="far").realize()
    assert again._storage.lazy.buffer.address == address
    kept = again + 1
    with pytest.raises(OutOfMemoryError, match="the far memory is full") as error:
        minigrad.zeros(1 << 27, device="far").realize()
    assert isinstance(error.value, MemoryError) and isinstance(error.value, RuntimeError)
    assert kept.sum().item() == 1 << 20


def test_a_failing_launch_names_kernel_device_and_source(device):
    x = minigrad.ones(5, device="far").realize()
    y = x * 3 + 2
    device.broken = True
    message = r"(?s)device FAR cannot launch kernel \w+: OSError: the cable came off.*define"
    with pytest.raises(LaunchError, match=message):
        y.realize()
    device.broken = False
    assert y.tolist() == [5.0] * 5
    assert (minigrad.ones(2) + 1).tolist() == [2, 2]


def test_a_second_device_of_its_kind():
    x = minigrad.ones(2, device="far:1")
    assert x.device.index == 1 and (x + 1).tolist() == [2, 2]
    assert get_device("FAR:1") is not get_device("FAR")
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        minigrad.ones(2, device="far:2")
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        x + minigrad.ones(2, device="far")


def test_copies_between_devices():
    x = minigrad.arange(6.0, device="far")
    there = x.to("far:1")
    assert there.tolist() == x.cpu().tolist() == [0, 1, 2, 3, 4, 5]
    buffer, other = get_device("FAR").allocate(8), get_device("FAR:1").allocate(8)
    buffer.copyin(np.arange(8, dtype=np.uint8))
    other.copy_from(buffer, 8)
    host = get_device("CPU").allocate(8)
    host.copy_from(other, 4, 4, 2)
    out = np.empty(8, np.uint8)
    other.copyout(out)
    assert out.tolist() == list(range(8)) and host.as_numpy(minigrad.uint8, (8,))[4:].tolist() == [2, 3, 4, 5]


def test_run_time_numbers():
    assert argument(minigrad.int8, 200) == -56 and argument(minigrad.float16, 1.0).dtype == np.float16
    x = minigrad.ones(3, device="far").realize()
    assert [(x * k).sum().item() for k in (1.5, 2.5, 3.5)] == [4.5, 7.5, 10.5]
