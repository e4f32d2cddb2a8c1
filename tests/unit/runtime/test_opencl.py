"""Stage: tests. In: the OPENCL device, on whatever driver there is. Out: that it chooses devices, compiles, launches,
waits and fails as it says. Next: ``test_cuda_device.py``."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest

import minigrad
from minigrad.dtype import float32
from minigrad.errors import CompileError, LaunchError, OutOfMemoryError
from minigrad.kernel.ir import Apply, Array, For, Kernel, Load, Scalar, Store
from minigrad.runtime import opencl
from minigrad.runtime.allocator import memory
from minigrad.runtime.buffer import Buffer
from minigrad.runtime.device import get_device
from minigrad.runtime.native import Step
from minigrad.symbolic import num, var

REASON = opencl.OpenCLDevice.unavailable()
needs_driver = pytest.mark.skipif(REASON is not None, reason=f"no OpenCL: {REASON}")


@pytest.fixture
def device():
    return get_device("OPENCL")


@pytest.fixture(scope="module")
def gpu():
    """The first device, with the GPU form of kernels and memory of its own."""

    class Own(opencl.OpenCLDevice):
        form = "gpu"

    return Own(0)


def shift(form: str, size: int = 1000) -> Kernel:
    """y[i] = x[i] + s"""
    x, y, s = Array("x", float32, size), Array("y", float32, size, written=True), Scalar("s", float32, 0)
    p, t = var("p", 0, size - 1), var("t", 0, 3)
    at = p if form == "cpu" else p * 4 + t
    body = (Store(y, at, Apply("ADD", (Load(x, at), s), float32)),)
    if form == "cpu":
        return Kernel("shift", (x, y), (s,), For(p, num(0), num(size), 1, "parallel", body))
    return Kernel("shift", (x, y), (s,), For(var("p", 0, size // 4 - 1), num(0), num(size // 4), 1, "grid", (
        For(t, num(0), num(4), 1, "block", body),)))


# --- which device ----------------------------------------------------------------------------------------------------


class Failure(Exception):
    """What the fake driver raises."""


def fake(*platforms):
    """A pyopencl with these platforms: lists of (name, is a CPU), or None for a broken one."""

    def devices(found):
        if found is None:
            raise Failure("DEVICE_NOT_FOUND")
        return [SimpleNamespace(name=name, type=2 if cpu else 4, available=name != "off", compiler_available=True)
                for name, cpu in found]

    def build(device):
        if device.name == "new":
            raise Failure("BUILD_PROGRAM_FAILURE\nerror: unknown processor")

    return SimpleNamespace(
        Error=Failure, Context=lambda devices: devices[0],
        Program=lambda device, text: SimpleNamespace(build=lambda: build(device)), device_type=SimpleNamespace(CPU=2),
        get_platforms=lambda: [SimpleNamespace(get_devices=lambda found=found: devices(found)) for found in platforms])


def test_gpus_come_first_whatever_the_platform(monkeypatch):
    driver = fake([("slow", True)], None, [("off", False), ("fast", False)], [("other", True)])
    monkeypatch.setattr(opencl, "_opencl", lambda: driver)
    assert [d.name for d in opencl._devices.__wrapped__()[0]] == ["fast", "slow", "other"]


def test_a_device_that_its_driver_cannot_compile_for_is_left_out(monkeypatch):
    driver = fake([("new", True), ("fast", False)])
    monkeypatch.setattr(opencl, "_opencl", lambda: driver)
    devices, refused = opencl._devices.__wrapped__()
    assert [d.name for d in devices] == ["fast"]
    assert refused == ["new cannot compile (error: unknown processor)"]


@pytest.mark.parametrize(("outcome", "reason"), [
    (ImportError("no"), "pyopencl is not installed; pip install 'minigrad\\[opencl\\]'"),
    (Failure("PLATFORM_NOT_FOUND_KHR"), "no OpenCL driver works \\(PLATFORM_NOT_FOUND_KHR\\); pip install pocl"),
    (([], []), "no device here$"),
    (([], ["old cannot compile (error)"]), "no device here; old cannot compile \\(error\\); another driver"),
])
def test_it_says_what_is_missing(monkeypatch, outcome, reason):
    def devices():
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(opencl, "_devices", devices)
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(opencl.OpenCLDevice.unavailable())


@needs_driver
def test_a_device_that_is_not_there():
    with pytest.raises(RuntimeError, match="invalid device ordinal in 'opencl:99'"):
        minigrad.ones(3, device="opencl:99")


@pytest.mark.parametrize("form", ["cpu", "gpu"])
def test_without_a_driver_it_still_renders(monkeypatch, form):
    monkeypatch.setenv("MINIGRAD_OPENCL_FORM", form)
    offline = opencl.OpenCLDevice.offline()
    assert bool(offline.target.workgroup) == (form == "gpu")
    assert "__kernel" in offline.source([shift(form)])


def test_vectors_of_processors_have_256_bits_at_most(monkeypatch):
    monkeypatch.setenv("MINIGRAD_OPENCL_FORM", "cpu")
    assert opencl.OpenCLDevice.offline().target.vector_bytes <= 32


# --- compiling -------------------------------------------------------------------------------------------------------

FINE = "__kernel void fine(__global float *a) {\n  a[0] = 1;\n}\n"
BROKEN = "__kernel void broken(__global float *a) {\n  a[0] = nonsense;\n}\n"


@needs_driver
def test_an_error_names_device_kernel_build_log_and_source(device):
    with pytest.raises(CompileError) as caught:
        device.compile_text(FINE + BROKEN, ["fine", "broken"])
    message = str(caught.value)
    assert message.startswith("device OPENCL cannot compile kernel broken: ")
    assert "undeclared identifier 'nonsense'" in message and "a[0] = nonsense" in message
    assert len(device.compile_text(FINE, ["fine"])) == 1


@needs_driver
def test_a_kernel_that_is_not_in_the_text(device):
    with pytest.raises(CompileError, match="device OPENCL cannot compile kernel missing: "):
        device.compile_text(FINE, ["missing"])


@needs_driver
def test_without_float64_it_says_so(device, monkeypatch):
    monkeypatch.setattr(device, "float64", False)
    with pytest.raises(CompileError, match=r"device OPENCL \(.+\) has no float64; use float32"):
        device.compile_text(FINE.replace("float", "double"), ["fine"])


# --- running on host memory ------------------------------------------------------------------------------------------


@needs_driver
def test_it_works_on_the_memory_of_numpy(device):
    """At any place in it, and it is done when ``run`` returns."""
    if not device.host_memory:
        pytest.skip("the first device has memory of its own")
    program, = device.compile([shift("cpu")])
    run = device.native([Step(program, (0, 1), (0,), 1000, 10), Step(program, (1, 2), (0,), 1000, 10)], 3, "d")
    numbers = np.zeros(3 * 1000 + 7, np.float32)
    x, y, z = (numbers[start:start + 1000] for start in (1, 1003, 2007))
    x[:] = np.arange(1000)
    run.run([x.ctypes.data, y.ctypes.data, z.ctypes.data], [0.5])
    assert np.array_equal(y, x + 0.5) and np.array_equal(z, x + 1.0)
    seconds = run.run_timed([x.ctypes.data, y.ctypes.data, z.ctypes.data], [1.5])
    assert np.array_equal(z, x + 3.0) and len(seconds) == 2 and all(0 < s < 10 for s in seconds)


@needs_driver
def test_buffers_are_found_again_though_their_memory_was_another_s(device):
    """An address that the allocator gave back and got again is a new memory object."""
    if not device.host_memory:
        pytest.skip("the first device has memory of its own")
    program, = device.compile([shift("cpu", 1 << 20)])
    run = device.native([Step(program, (0, 1), (0,), 1 << 20, 10)], 2, "d")
    for number in range(4):
        a, b = Buffer("OPENCL", 4 << 20), Buffer("OPENCL", 4 << 20)
        a.copyin(np.full(1 << 20, number, np.float32))
        run.run([a.address, b.address], [1.0])
        assert b.as_numpy(float32, (1 << 20,))[-1] == number + 1
        del a, b
        memory.release()


@needs_driver
def test_threads_may_compute_at_once(device):
    x = minigrad.arange(4096, dtype=minigrad.float32, device="opencl").realize()
    found = []

    def work(number: int) -> None:
        for _ in range(5):
            found.append((number, (x * number + 1).sum().item()))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20 and all(total == 4096 + number * 4095 * 2048 for number, total in found)


@needs_driver
def test_a_forked_child_is_told(device, monkeypatch):
    monkeypatch.setattr(device, "process", -1)
    for call in (device.synchronize, lambda: device.compile_text(FINE, ["fine"])):
        with pytest.raises(RuntimeError, match="Cannot use device OPENCL in a forked subprocess"):
            call()


@needs_driver
def test_a_launch_that_fails_names_kernel_device_and_source(device, monkeypatch):
    program, = device.compile([shift("cpu")])
    run = device.native([Step(program, (0, 1), (0,), 1000, 10)], 2, "d")
    x = np.zeros(1000, np.float32)

    def refuse(error):
        def enqueue(*arguments):
            raise opencl._opencl().Error(error)
        return enqueue

    cl = opencl._opencl()
    monkeypatch.setattr(cl, "enqueue_nd_range_kernel", refuse("clEnqueueNDRangeKernel failed: INVALID_KERNEL_ARGS"))
    with pytest.raises(LaunchError, match="device OPENCL cannot launch kernel shift: .*INVALID_KERNEL_ARGS") as caught:
        run.run([x.ctypes.data] * 2, [1.0])
    assert "void shift(" in str(caught.value)
    monkeypatch.setattr(cl, "enqueue_nd_range_kernel", refuse("clEnqueueNDRangeKernel failed: OUT_OF_RESOURCES"))
    with pytest.raises(MemoryError, match="device OPENCL has no memory to run shift"):
        run.run([x.ctypes.data] * 2, [1.0])


# --- running on memory of its own ------------------------------------------------------------------------------------


@needs_driver
def test_the_gpu_form_has_memory_of_its_own(gpu):
    program, = gpu.compile([shift("gpu", 500)])
    x, y = gpu.allocate(8000), gpu.allocate(8000)
    x.copyin(np.arange(2000, dtype=np.float32))
    assert not gpu.host_memory
    gpu.native([Step(program, ((0, 400), (1, 4000)), (0,), 125, 10)], 2, "d").run([x.address, y.address], [0.5])
    assert np.array_equal(y.as_numpy(float32, (500,), None, 4000), np.arange(100, 600) + np.float32(0.5))


@needs_driver
def test_copies_between_buffers_and_the_host(gpu):
    a, b, host = gpu.allocate(4000), gpu.allocate(4000), Buffer("CPU", 4000)
    numbers = np.arange(1000, dtype=np.float32)
    a.copyin(numbers)
    b.copy_from(a, 2000, 2000, 400)
    host.copy_from(b, 2000, 0, 2000)
    assert np.array_equal(host.as_numpy(float32, (500,)), numbers[100:600])
    a.copy_from(host, 400, 0, 0)
    view = a.as_numpy(float32, (50, 2), (2, 1), 0)
    assert np.array_equal(view, numbers[100:200].reshape(50, 2)) and not view.flags.writeable
    with pytest.raises(ValueError, match="outside a buffer"):
        a.copyin(numbers, 4)


@needs_driver
def test_memory_is_used_again(gpu):
    size = 12345
    address = gpu.allocate(size).address
    again, other = gpu.allocate(size), gpu.allocate(size)
    assert again.address == address != other.address
    addresses, objects = {again.address, other.address}, len(gpu.memory.objects)
    del again, other
    third, fourth = gpu.allocate(size), gpu.allocate(size)
    assert {third.address, fourth.address} == addresses and len(gpu.memory.objects) == objects


@needs_driver
def test_too_much_memory_is_a_memory_error(gpu):
    with pytest.raises(OutOfMemoryError, match="is out of memory: tried to allocate 1152921504606846976 bytes"):
        gpu.allocate(1 << 60)
    assert issubclass(OutOfMemoryError, MemoryError)
