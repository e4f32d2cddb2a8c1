"""The CUDA device, but for the GPU: its driver is ``fake_cuda.py``'s, its compiler a stand-in that signs the text."""

from __future__ import annotations

import gc
import os
from dataclasses import replace

import numpy as np
import pytest

import minigrad
from minigrad.dtype import ALL, float16, float32, float64, int32, int64
from minigrad.errors import CompileError, DeviceUnavailable, LaunchError, OutOfMemoryError
from minigrad.kernel.ir import Alloc, Apply, Array, For, Kernel, Load, Scalar, Store
from minigrad.runtime import cuda, cuda_checks, cuda_memory, device, nvrtc
from minigrad.runtime.cuda_driver import CudaError
from minigrad.runtime.native import Step
from minigrad.symbolic import num, var
from tests.unit.runtime.fake_cuda import A100, GIB, FakeDriver

N, THREADS = 64, 16


def shift(name: str = "shift", dtype=float32, op: str = "ADD") -> Kernel:
    """``y = x + s`` over 64 elements, 16 threads a block."""
    x, y, s = Array("x", dtype, N), Array("y", dtype, N, written=True), Scalar("s", dtype, 0)
    p, t = var("p", 0, N // THREADS - 1), var("t", 0, THREADS - 1)
    body = (Store(y, THREADS * p + t, Apply(op, (Load(x, THREADS * p + t), s), dtype)),)
    block = For(t, num(0), num(THREADS), 1, "block", body)
    return Kernel(name, (x, y), (s,), For(p, num(0), num(N // THREADS), 1, "grid", (block,)))


def copy(name: str = "copy") -> Kernel:
    """``y = x``: takes no number."""
    x, y = Array("x", float32, N), Array("y", float32, N, written=True)
    t = var("t", 0, N - 1)
    block = For(t, num(0), num(N), 1, "block", (Store(y, t, Load(x, t)),))
    return Kernel(name, (x, y), (), For(var("p", 0, 0), num(0), num(1), 1, "grid", (block,)))


def forget() -> None:
    """Let the registry make CUDA devices anew."""
    device.register_device("CUDA", "minigrad.runtime.cuda:CudaDevice", device._registry["CUDA"].description)


@pytest.fixture
def driver(monkeypatch, cache_dir):
    """Two GPUs."""
    fake = FakeDriver(count=2)
    monkeypatch.setattr(cuda, "_driver", fake)
    monkeypatch.setattr(cuda, "library_missing", lambda: None)
    monkeypatch.setattr(cuda_memory, "CHUNK", 1 << 10)
    for name, value in (("missing", None), ("version", "13.0"), ("architectures", (75, 80, 90))):
        monkeypatch.setattr(nvrtc, name, lambda value=value: value)

    def compile_text(text, architecture):
        fake.note("compile")
        return f"\x7fELF for {architecture}\n{text}".encode("latin-1"), ""

    monkeypatch.setattr(nvrtc, "compile_text", compile_text)
    forget()
    yield fake
    forget()


@pytest.fixture
def gpu(driver):
    found = device.get_device("cuda")

    def compile_kernels(*kernels):
        driver.kernels.update({k.name: k for k in kernels})
        return found.compile(kernels)

    found.made = compile_kernels
    yield found
    driver.fail.clear()
    found.synchronize()


def on_gpu(gpu, array):
    buffer = gpu.allocate(array.nbytes)
    buffer.copyin(array)
    return buffer


def from_gpu(buffer, dtype=np.float32):
    array = np.empty(buffer.nbytes // np.dtype(dtype).itemsize, dtype)
    buffer.copyout(array)
    return array


# --- what is missing


def test_a_machine_without_gpu_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(cuda, "library_missing", lambda: "there is no NVIDIA driver, libcuda.so.1 is not found")
    monkeypatch.setattr(nvrtc, "missing", lambda: None)
    forget()
    with pytest.raises(DeviceUnavailable, match="device CUDA is not available on this machine: there is no NVIDIA "
                                                "driver.*inspect\\(device=\"CUDA\", run=False\\) shows"):
        device.get_device("CUDA")
    monkeypatch.setattr(nvrtc, "missing", lambda: "the bindings are not installed")
    assert "libcuda.so.1 is not found; the bindings are not installed (" in cuda.CudaDevice.unavailable()
    assert minigrad.cuda.is_available() is False and minigrad.cuda.device_count() == 0
    assert minigrad.cuda.memory_allocated() == minigrad.cuda.max_memory_reserved() == 0
    assert minigrad.cuda.is_bf16_supported() is False
    minigrad.cuda.empty_cache()
    minigrad.cuda.reset_peak_memory_stats()
    with pytest.raises(DeviceUnavailable, match="no NVIDIA driver"):
        minigrad.cuda.get_device_name()


@pytest.mark.parametrize(("attribute", "value", "message"), [
    ("gpus", 0, "the NVIDIA driver finds no GPU"),
    ("fail", {"count": "CUDA_ERROR_NO_DEVICE"}, "finds no GPU: CUDA error: it is broken (CUDA_ERROR_NO_DEVICE)"),
])
def test_a_driver_without_gpu(driver, attribute, value, message):
    setattr(driver, attribute, value)
    assert message in cuda.CudaDevice.unavailable()


def test_missing_bindings_and_compiler(monkeypatch):
    nvrtc.missing.cache_clear()
    monkeypatch.setattr(nvrtc.importlib.util, "find_spec", lambda name: None)
    assert "bindings are not installed, pip install 'minigrad[cuda]' brings them" in nvrtc.missing()
    nvrtc.missing.cache_clear()
    monkeypatch.setattr(nvrtc.importlib.util, "find_spec", lambda name: object())

    def broken():
        raise OSError("libnvrtc.so.13: cannot open\nmore")

    monkeypatch.setattr(nvrtc, "version", broken)
    assert "NVRTC cannot be loaded (libnvrtc.so.13: cannot open), pip" in nvrtc.missing()
    nvrtc.missing.cache_clear()


def test_importing_it_loads_no_bindings(python):
    source = "import sys, minigrad.cuda, minigrad.runtime.cuda; print([m for m in sys.modules if m.startswith('cuda')])"
    assert python(source).strip() == "[]"


def test_offline_it_still_renders():
    offline = cuda.CudaDevice.offline()
    assert "__global__ void __launch_bounds__(16) shift(" in offline.source([shift()])
    assert offline.target.workgroup and offline.target.native


# --- the GPU


def test_the_target_follows_the_gpu(gpu):
    assert gpu.target.name == "sm_80" and gpu.target.matrix == ("float16", "bfloat16")
    assert gpu.target.l2 == A100.l2_cache_size and gpu.target.parallel_min == 108
    small = cuda.target_of(cuda.replace(A100, major=7, minor=5, shared_memory=16 << 10, max_threads=128))
    assert (small.matrix, small.shared, small.workgroup) == ((), 16 << 10, 128)
    assert cuda.target_of(cuda.replace(A100, major=6)).matrix == ()
    assert gpu.target.pipeline == 3 and gpu.target.shared_at_launch == 163 << 10 and gpu.target.together == ()
    assert small.pipeline == 0
    hopper = cuda.target_of(cuda.replace(A100, major=9, shared_at_launch=227 << 10))
    assert hopper.together == ("float16", "bfloat16") and hopper.pipeline == 4


def test_tf32_is_a_matter_of_choice(gpu):
    with minigrad.config(ALLOW_TF32=0):
        assert minigrad.backends.cuda.matmul.allow_tf32 is False
        minigrad.backends.cuda.matmul.allow_tf32 = True
        assert gpu.target.matrix == ("float16", "bfloat16", "float32") and gpu.target.name == "sm_80-tf32"
    assert gpu.target.matrix == ("float16", "bfloat16")
    with minigrad.config(ALLOW_TF32=0):
        with minigrad.config(DEBUG=0):
            minigrad.backends.cuda.matmul.allow_tf32 = True
        assert minigrad.backends.cuda.matmul.allow_tf32  # a block puts back what it changed, and nothing else
    with pytest.raises(TypeError, match="allow_tf32 should be a bool, got 1"):
        minigrad.backends.cuda.matmul.allow_tf32 = 1
    with pytest.raises(AttributeError, match="has no setting 'allow_tf23'"):
        minigrad.backends.cuda.matmul.allow_tf23 = True


def test_the_second_gpu(driver):
    second = device.get_device("cuda:1")
    assert second.name == "CUDA:1" and second.allocate(8).device == "CUDA:1" and driver.current == 1
    with pytest.raises(RuntimeError, match="invalid device ordinal in 'cuda:2'"):
        device.get_device("cuda:2")


# --- compiling and launching


def test_a_kernel_runs(gpu, rng):
    x = rng.standard_normal(N).astype(np.float32)
    source, target = on_gpu(gpu, x), gpu.allocate(x.nbytes)
    program, = gpu.made(shift())
    gpu.launch(program, [source.address, target.address], [0.1], 4)
    assert np.array_equal(from_gpu(target), x + np.float32(0.1))


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_numbers_are_passed_as_the_kernel_reads_them(gpu, dtype):
    """Rounded or wrapped to the parameter's type, in the bytes where it is read."""
    x = np.zeros(N, dtype.numpy)
    source, target = on_gpu(gpu, x), gpu.allocate(x.nbytes)
    program, = gpu.made(shift(f"shift_{dtype.name}", dtype, "OR" if dtype.kind == "b" else "ADD"))
    number = 0.1 if dtype.is_float else 1 if dtype.kind == "b" else -3 if dtype.kind == "i" else 200
    gpu.launch(program, [source.address, target.address], [number], 4)
    assert from_gpu(target, dtype.numpy).tolist() == [np.array(number).astype(dtype.numpy)] * N
    if dtype is int32:
        gpu.launch(program, [source.address, target.address], [(1 << 32) + 7], 4)
        assert from_gpu(target, np.int32)[0] == 7
    if dtype.is_float:
        gpu.launch(program, [source.address, target.address], [1e39], 4)
        assert from_gpu(target, dtype.numpy)[0] == (1e39 if dtype is float64 else np.inf)


def test_a_launch_gives_the_shared_memory_that_no_text_may_declare(gpu, driver, rng):
    kernel = copy("large")
    tile = Array("tile", float32, 20_000, "shared")
    block = kernel.loop.body[0]
    (store,) = block.body
    turned = (Store(tile, store.index, store.value), Store(store.array, store.index, Load(tile, store.index)))
    kernel = replace(kernel, loop=replace(kernel.loop, body=(Alloc(tile), replace(block, body=turned))))
    (program,) = gpu.made(kernel)
    assert driver.allowed == {cuda.loaded(program).function: 80_000}
    x = rng.standard_normal(N).astype("f4")
    source, y = on_gpu(gpu, x), on_gpu(gpu, np.zeros(N, "f4"))
    gpu.launch(program, [source.address, y.address], [], 1)
    assert np.array_equal(from_gpu(y), x)


def test_nothing_is_launched_for_an_empty_grid(gpu, driver):
    program, = gpu.made(copy())
    driver.calls()
    gpu.launch(program, [0, 0], [], 0)
    assert not driver.calls()["launch"]


def test_machine_code_is_kept_on_disk(gpu, driver):
    kernel = shift()
    driver.calls()
    gpu.made(kernel)
    assert driver.calls()["compile"] == 1
    program, = gpu.made(kernel)
    calls = driver.calls()
    assert calls["compile"] == 0 and calls["load"] == 1
    del program
    gc.collect()
    assert driver.calls()["unload"] == 1  # a module goes with its last program
    other = cuda.CudaDevice(1)
    other.architecture = "sm_90"
    with pytest.raises(AssertionError, match="ELF for sm_90"):  # the driver's, of another GPU
        other.compile([kernel])
    assert driver.calls()["compile"] == 1


def test_many_kernels_are_compiled_in_parts(gpu, driver):
    kernels = [copy(f"copy_{n}") for n in range(2 * cuda.PART + 1)]
    driver.calls()
    programs = gpu.made(*kernels)
    assert driver.calls()["compile"] == 3
    assert [p.name for p in programs] == [k.name for k in kernels] == [p.kernel.name for p in programs]
    assert all(f" {p.name}(" in p.source for p in programs)
    assert gpu.compile([]) == []


def test_an_error_of_the_compiler_names_kernel_and_source(gpu, monkeypatch):
    def refuse(text, architecture):
        line = text.split("\n").index(next(x for x in text.split("\n") if "y[" in x)) + 1
        raise nvrtc.NvrtcError(f"kernels.cu({line}): error: this is not a kernel\n1 error detected")

    monkeypatch.setattr(nvrtc, "compile_text", refuse)
    with pytest.raises(CompileError, match="(?s)^device CUDA cannot compile kernel copy: kernels.cu.*this is not a "
                                           "kernel.*__global__ void __launch_bounds__\\(64\\) copy"):
        gpu.made(copy(), shift())
    with pytest.raises(CompileError, match="cannot compile kernel nothing: CUDA error: named symbol not found"):
        monkeypatch.setattr(nvrtc, "compile_text", lambda text, a: (b"\x7fELF for sm_80\n", ""))
        gpu.compile_text("", ["nothing"])


def test_a_launch_that_fails_names_the_kernel_and_leaves_the_device_usable(gpu, driver, rng):
    x = rng.standard_normal(N).astype(np.float32)
    source, target = on_gpu(gpu, x), gpu.allocate(x.nbytes)
    program, = gpu.made(copy())
    driver.fail["launch"] = "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"
    with pytest.raises(LaunchError, match="(?s)^CUDA error: it is broken \\(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES\\) in "
                                          "kernel copy on device CUDA\n\n.*__global__"):
        gpu.launch(program, [source.address, target.address], [], 1)
    driver.fail.clear()
    gpu.launch(program, [source.address, target.address], [], 1)
    assert np.array_equal(from_gpu(target), x)


def test_an_error_inside_a_kernel_shows_when_something_waits(gpu, driver):
    a, b = gpu.allocate(4 * N), gpu.allocate(4 * N)
    for program in gpu.made(copy(), shift()):
        gpu.launch(program, [a.address, b.address], [0.0][:len(program.kernel.scalars)], 1)
    driver.settle()
    driver.fail["synchronize"] = "CUDA_ERROR_ILLEGAL_ADDRESS"
    with pytest.raises(LaunchError, match="in one of the kernels copy, shift \\(DEBUG=2 .* on device CUDA. The GPU's "
                                          "memory is lost to this process; the other devices still work"):
        gpu.synchronize()


def test_assembly_is_ptx(gpu):
    assert gpu.assembly("text").endswith("for compute_80\ntext")


@pytest.mark.parametrize(("capability", "expected"), [
    ((8, 0), "sm_80"), ((8, 6), "sm_80"), ((9, 0), "sm_90a"), ((9, 3), "sm_90"), ((12, 0), "compute_90"),
    ((7, 5), "sm_75")])
def test_the_architecture_is_one_that_the_compiler_knows(driver, capability, expected):
    assert nvrtc.architecture(*capability) == expected


def test_a_gpu_that_is_too_old(driver):
    with pytest.raises(CompileError, match="compiles for no GPU as old as compute capability 6.1"):
        nvrtc.architecture(6, 1)


# --- memory


@pytest.mark.parametrize("count", [0, 1, 100, 256, 257, 700, 1500])
def test_copies_of_any_size(gpu, rng, count):
    """Through pinned blocks of 1 KiB here, with one copy in the way of the next."""
    x = rng.integers(0, 1 << 30, count).astype(np.int32)
    given = x.copy()
    a, b, c = (gpu.allocate(x.nbytes) for _ in range(3))
    a.copyin(given)
    given[:] = -1  # the device has its own copy, though nothing may have happened yet
    b.copyin(given)
    c.copy_from(a, x.nbytes)
    assert np.array_equal(from_gpu(c, np.int32), x) and np.array_equal(from_gpu(a, np.int32), x)
    assert (from_gpu(b, np.int32) == -1).all()
    host = minigrad.runtime.buffer.Buffer("CPU", x.nbytes)
    host.copy_from(a, x.nbytes)
    assert np.array_equal(host.as_numpy(int32, (count,)), x)


def test_many_small_copies_share_a_block(gpu, driver):
    buffers = [gpu.allocate(8) for _ in range(50)]
    for n, buffer in enumerate(buffers):
        buffer.copyin(np.int64([n]))
    assert driver.calls()["wait"] == 50 // 16 + 1  # 16 of 64 bytes fit a block of 1 KiB
    assert [from_gpu(b, np.int64)[0] for b in buffers] == list(range(50))


def test_a_copy_inside_a_copy(gpu, driver, monkeypatch):
    """What a finaliser does while its thread copies."""
    first, second = gpu.allocate(4000), gpu.allocate(4000)
    x, y = np.arange(1000, dtype=np.int32), np.arange(1000, dtype=np.int32) + 7
    plain, nested = driver.copy_in, []

    def copy_in(address, source, nbytes, stream):
        if not nested:
            nested.append(True)
            second.copyin(y)
        plain(address, source, nbytes, stream)

    monkeypatch.setattr(driver, "copy_in", copy_in)
    monkeypatch.setattr(driver, "is_pinned", lambda address, nbytes: True)  # the driver copies other memory too
    first.copyin(x)
    assert np.array_equal(from_gpu(first, np.int32), x) and np.array_equal(from_gpu(second, np.int32), y)


def test_memory_is_used_again(gpu, driver):
    address = gpu.allocate(5 << 20).address
    driver.calls()
    assert gpu.allocate(5 << 20).address == address and not driver.calls()["allocate"]


def test_memory_statistics(gpu):
    start = minigrad.cuda.memory_allocated()
    minigrad.cuda.reset_peak_memory_stats()
    a, b = gpu.allocate(2 << 20), gpu.allocate(3 << 20)
    assert minigrad.cuda.memory_allocated() - start == 5 << 20
    del a
    assert minigrad.cuda.memory_allocated() - start == 3 << 20
    assert minigrad.cuda.max_memory_allocated() - start == 5 << 20
    assert minigrad.cuda.memory_reserved() >= 5 << 20
    del b
    minigrad.cuda.reset_peak_memory_stats()
    assert minigrad.cuda.max_memory_allocated() == start
    before = minigrad.cuda.memory_reserved()
    minigrad.cuda.empty_cache()
    assert before - minigrad.cuda.memory_reserved() == 5 << 20
    assert minigrad.cuda.max_memory_reserved() == before


def test_memory_goes_back_when_what_uses_it_is_done(gpu, driver):
    program, = gpu.made(copy())
    a, b = gpu.allocate(3 << 20), gpu.allocate(3 << 20)
    used = driver.used()
    a.copyin(np.ones(N, np.float32))
    gpu.launch(program, [a.address, b.address], [], 1)
    assert driver.waiting
    del a, b
    minigrad.cuda.empty_cache()
    assert used - driver.used() == 6 << 20 and not driver.waiting


def test_what_is_cached_goes_back_before_an_allocation_fails(gpu, driver):
    for size in (20, 25):
        gpu.allocate(size << 20)  # cached from here on
    big = gpu.allocate(50 << 20)
    assert driver.used() <= 64 << 20
    with pytest.raises(OutOfMemoryError, match="^CUDA out of memory. Tried to allocate 40.00 MiB. GPU 0 has a total "
                                               "capacity of 64.00 MiB of which 8.00 MiB is free. .*56.00 MiB is in "):
        gpu.allocate(40 << 20)
    del big
    gpu.allocate(40 << 20)
    with pytest.raises(RuntimeError):
        gpu.allocate(4 * GIB)
    with pytest.raises(MemoryError, match="Tried to allocate 4.00 GiB"):
        gpu.allocate(4 * GIB)


def test_a_forked_child_is_told(gpu, monkeypatch):
    buffer = gpu.allocate(3 << 20)
    monkeypatch.setattr(gpu.queue, "process", -1)
    with pytest.raises(RuntimeError, match="Cannot re-initialize CUDA in forked subprocess"):
        gpu.allocate(9 << 20)
    with pytest.raises(RuntimeError, match="'spawn' start method"):
        gpu.synchronize()
    del buffer
    gpu.queue.driver.calls()
    gpu.memory.release()  # the driver is not asked: it does not work there
    assert not gpu.queue.driver.calls()
    monkeypatch.setattr(gpu.queue, "process", os.getpid())


# --- plans


@pytest.fixture
def plan(gpu, rng):
    """``c = x + s; d = c; e = d + r`` as one program of three steps, with its buffers."""
    programs = gpu.made(shift("first"), copy("second"), shift("third"))
    steps = [Step(programs[0], (0, 1), (0,), 4), Step(programs[1], (1, (2, 256)), (), 1),
             Step(programs[2], ((2, 256), 3), (1,), 4)]
    made = gpu.native(steps, 4, "dd")
    made.x = rng.standard_normal(N).astype(np.float32)
    made.buffers = [on_gpu(gpu, made.x), gpu.allocate(256), gpu.allocate(512), gpu.allocate(256)]
    made.addresses = [b.address for b in made.buffers]
    gpu.synchronize()
    gpu.queue.driver.calls()
    return made


def result(plan, *numbers):
    plan.run(plan.addresses, numbers)
    assert np.array_equal(from_gpu(plan.buffers[3]), plan.x + np.float32(numbers[0]) + np.float32(numbers[1]))
    return {k: v for k, v in plan.device.queue.driver.calls().items() if k in (
        "launch", "graph", "set_node", "launch_graph", "drop_graph")}


def test_a_plan_becomes_one_launch(plan):
    assert result(plan, 1.0, 2.0) == {"launch": 3}
    assert result(plan, 1.0, 2.0) == {"graph": 1, "launch_graph": 1}
    assert result(plan, 1.0, 2.0) == {"launch_graph": 1}


def test_other_numbers_are_set_where_they_are_taken(plan):
    for _ in range(2):
        result(plan, 1.0, 2.0)
    assert result(plan, 4.0, 2.0) == {"set_node": 2, "launch_graph": 1}
    assert result(plan, 4.0, 2.0) == {"launch_graph": 1}


def test_numbers_are_set_again_after_an_error_half_way(plan):
    driver = plan.device.queue.driver
    for _ in range(2):
        result(plan, 1.0, 2.0)
    plain, calls = driver.set_node, []

    def fail_second(graph, node, launch):
        calls.append(node)
        if len(calls) == 2:
            raise CudaError("CUDA_ERROR_INVALID_VALUE", "invalid argument")
        plain(graph, node, launch)

    driver.set_node = fail_second
    with pytest.raises(LaunchError, match="invalid argument .*in one of the kernels .*first"):
        plan.run(plan.addresses, (5.0, 6.0))
    driver.set_node = plain
    driver.calls()
    assert result(plan, 1.0, 2.0) == {"set_node": 2, "launch_graph": 1}


def test_other_addresses_are_another_graph(plan):
    for _ in range(2):
        result(plan, 1.0, 2.0)
    kept = []
    for n in range(cuda.GRAPHS + 1):
        kept.append(plan.buffers[3])
        plan.buffers[3] = plan.device.allocate(256)
        plan.addresses[3] = plan.buffers[3].address
        assert result(plan, 1.0, 2.0) == {"launch": 3}
        calls = result(plan, 3.0, 2.0)
        assert calls.pop("drop_graph", 0) == (n >= cuda.GRAPHS - 1) and calls == {"graph": 1, "launch_graph": 1}
    assert len(plan.graphs) == cuda.GRAPHS
    plan.buffers[3], plan.addresses[3] = kept[2], kept[2].address  # used again: another one is the oldest now
    assert result(plan, 1.0, 2.0) == {"set_node": 2, "launch_graph": 1}
    plan.addresses[3], plan.buffers[3] = kept[0].address, kept[0]
    assert "graph" in result(plan, 1.0, 2.0) and tuple([*plan.addresses[:3], kept[2].address]) in plan.graphs


def test_without_graphs_kernels_are_launched(plan):
    plan.device.queue.driver.fail["graph"] = "CUDA_ERROR_NOT_SUPPORTED"
    for n in range(3):
        calls = result(plan, 1.0, 2.0)
        assert calls.pop("graph", 0) == (n == 1) and calls == {"launch": 3}


def test_one_kernel_is_no_graph(gpu):
    program, = gpu.made(copy())
    a, b = gpu.allocate(256), gpu.allocate(256)
    single = gpu.native([Step(program, (0, 1), (), 1)], 2)
    for _ in range(3):
        a.copyin(np.ones(N, np.float32))
        single.run([a.address, b.address])
    assert not gpu.queue.driver.calls()["graph"] and (from_gpu(b) == 1).all()


def test_times_are_the_gpus(plan):
    assert plan.run_timed(plan.addresses, (1.0, 2.0)) == [0.25] * 3
    assert np.array_equal(from_gpu(plan.buffers[3]), plan.x + np.float32(1) + np.float32(2))


def test_graphs_and_modules_go_with_the_plan(plan, gpu, driver):
    for _ in range(2):
        result(plan, 1.0, 2.0)
    assert len(driver.graphs) == 1
    plan.graphs.clear()
    gc.collect()
    assert not driver.graphs


# --- from above


def test_questions_about_the_gpu(gpu):
    assert minigrad.cuda.is_available() and minigrad.cuda.device_count() == 2 and minigrad.cuda.current_device() == 0
    assert minigrad.cuda.get_device_name() == "NVIDIA A100-SXM4-40GB" and minigrad.cuda.is_bf16_supported()
    assert minigrad.cuda.get_device_capability("cuda:1") == (8, 0)
    assert minigrad.cuda.get_device_properties(1).multi_processor_count == 108
    assert minigrad.cuda.mem_get_info(minigrad.device("cuda"))[1] == 64 << 20
    minigrad.cuda.synchronize()
    minigrad.cuda.manual_seed(3)
    minigrad.cuda.manual_seed_all(3)
    with pytest.raises(ValueError, match="Expected a cuda device, but got: cpu"):
        minigrad.cuda.get_device_name("cpu")


@pytest.fixture
def whole(driver, monkeypatch):
    """The device with its kernels made known to the driver."""
    plain = cuda.CudaDevice.source

    def source(self, kernels):
        driver.kernels.update({k.name: k for k in kernels})
        return plain(self, kernels)

    monkeypatch.setattr(cuda.CudaDevice, "source", source)
    return device.get_device("cuda")


def test_a_wrong_index_shows_when_something_is_read_and_no_run_waits(whole, driver):
    x = minigrad.tensor([1.0, 2.0, 3.0], device="cuda")
    good, bad = (minigrad.tensor(i, device="cuda", dtype=int64) for i in ([2, 0], [1, 7]))
    x[good].realize()  # warm
    driver.calls()
    y, z = x[good].realize(), x[bad].realize()
    waited = driver.calls()
    assert not waited["synchronize"] and not waited["wait"] and driver.waiting
    with pytest.raises(IndexError, match=r"dimension 0 is not in 0 … 2.*in a run before this one.*DEBUG=2 waits"):
        z.tolist()
    assert y.tolist() == [3.0, 1.0], "it is told once, and nothing else is lost"


def test_a_wrong_index_shows_at_a_later_run(whole, driver):
    x = minigrad.tensor([1.0, 2.0, 3.0], device="cuda")
    x[minigrad.tensor([5, 1], device="cuda", dtype=int64)].realize()
    driver.settle()  # the GPU is done
    with pytest.raises(IndexError, match="in a run before this one"):
        (x + 1).realize()
    assert (x + 1).tolist() == [2.0, 3.0, 4.0]
    x[minigrad.tensor([5, 1], device="cuda", dtype=int64)].realize()
    with pytest.raises(IndexError, match="in a run before this one"):
        whole.synchronize()
    with minigrad.config(DEBUG=2), pytest.raises(IndexError, match="index out of range") as caught:
        x[minigrad.tensor([5, 1], device="cuda", dtype=int64)].realize()
    assert "before this one" not in str(caught.value)


def test_no_more_than_some_words_wait(whole, driver, monkeypatch):
    monkeypatch.setattr(cuda_checks, "MOST", 2)
    x, at = minigrad.tensor([1.0, 2.0], device="cuda"), minigrad.tensor([1, 0], device="cuda", dtype=int64)
    for _ in range(9):
        y = x[at].realize()
        assert len(whole.memory.late.waiting) <= 2
    assert y.tolist() == [2.0, 1.0] and not whole.memory.late.waiting


def test_tensors_live_there(whole):
    x = minigrad.tensor([[1.0, 2.0], [3.0, 4.0]], device="cuda", requires_grad=True)
    y = (x * 2 + 1).relu().sum()
    y.backward()
    assert y.item() == 24.0 and x.grad.tolist() == [[2.0, 2.0], [2.0, 2.0]] and x.grad.device.type == "cuda"
    assert minigrad.tensor([1, 2, 3], device="cuda", dtype=int64).cpu().tolist() == [1, 2, 3]
    half = minigrad.tensor([0.1, 0.2], device="cuda", dtype=float16) * 3
    assert half.tolist() == (np.float16([0.1, 0.2]) * np.float16(3)).tolist()

