"""Stage: tests of the CUDA emulation. In: kernels as a person writes them. Out: right ones give right results, wrong
ones errors, not wrong results and not a program that hangs. Next: ``tests/conformance/test_cuda_emulation.py``."""

from __future__ import annotations

import re

import numpy as np
import pytest

import minigrad
from minigrad.errors import CompileError, DeviceUnavailable, LaunchError
from minigrad.runtime.device import get_device
from tests.cuda_emulation import device as emulation
from tests.cuda_emulation import samples

pytestmark = pytest.mark.skipif(emulation.compiler() is None, reason="no C++ compiler")


@pytest.fixture(scope="module")
def device() -> emulation.CudaEmulationDevice:
    found = get_device("cuda_emulation")
    assert isinstance(found, emulation.CudaEmulationDevice)
    return found


@pytest.fixture(scope="module")
def programs(device):
    """All samples, in one translation unit."""
    texts = samples.RIGHT | samples.WRONG
    return dict(zip(texts, device.compile_text("".join(texts.values()), list(texts)), strict=True))


def run(device, program, arrays, numbers=(), groups=1):
    device.launch(program, [a.ctypes.data for a in arrays], list(numbers), groups)


def fails(device, program, message):
    x = np.zeros(64, np.float32)
    with pytest.raises(LaunchError, match=message) as caught:
        run(device, program, [x])
    return str(caught.value)


def test_a_map_takes_addresses_and_numbers(device, programs, rng):
    x = rng.standard_normal(1000).astype(np.float32)
    y = np.full(1001, 7, np.float32)
    run(device, programs["scale"], [y, x], [1000, 2.5], 16)
    assert np.array_equal(y[:1000], x * np.float32(2.5)) and y[1000] == 7
    run(device, programs["scale"], [y, x], [1000, 0.0], 0)
    assert np.array_equal(y[:1000], x * np.float32(2.5)), "no blocks: nothing runs"


@pytest.mark.parametrize("columns", [1, 127, 1000])
def test_threads_meet_at_barriers(device, programs, rng, columns):
    x = rng.integers(-50, 50, (9, columns)).astype(np.float32)
    sums = np.zeros(9, np.float32)
    run(device, programs["row_sums"], [sums, x], [columns], 9)
    assert np.array_equal(sums, x.sum(1))


def test_shared_tiles(device, programs, rng):
    a, b = rng.integers(-9, 9, (2, 32, 32)).astype(np.float32)
    c = np.zeros((32, 32), np.float32)
    run(device, programs["matmul"], [c, a, b], [32], 16)
    assert np.array_equal(c, a @ b)


def test_warps_shuffle(device, programs, rng):
    x = rng.integers(-99, 99, 192).astype(np.int32)
    sums = np.zeros(6, np.int32)
    run(device, programs["warp_sums"], [sums, x], (), 2)
    assert np.array_equal(sums, x.reshape(6, 32).sum(1))
    y = np.zeros(64, np.int32)
    run(device, programs["butterfly"], [y, x])
    assert np.array_equal(y, x[:64].sum() + x[[5] * 32 + [37] * 32])


def test_shuffles_at_the_edge_of_a_warp(device, programs):
    """The second warp has 8 threads. A lane that asks for one that is not there keeps its own value."""
    down, up, around = np.zeros((3, 40), np.int32)
    run(device, programs["edges"], [down, up, around])
    assert down.tolist() == [*range(3, 32), 29, 30, 31, *range(35, 40), 37, 38, 39]
    assert up.tolist() == [0, 1, 2, *range(29), 32, 33, 34, *range(32, 37)]
    assert around.tolist() == [5] * 32 + [37] * 8


def test_warps_multiply_matrices(device, programs, rng):
    a, b = rng.integers(-9, 9, (2, 16, 16)).astype(np.float32), rng.integers(-9, 9, (2, 16, 8)).astype(np.float32)
    c = np.zeros((2, 16, 8), np.float32)
    run(device, programs["matrix"], [c, a, b])
    assert np.array_equal(c, a @ b)


def test_shared_memory_begins_as_nan_in_every_block(device, programs):
    x = np.zeros(8, np.float32)
    run(device, programs["unset"], [x], [1], 2)
    assert x[:4].tolist() == [1.0] * 4 and np.isnan(x[4:]).all()
    run(device, programs["unset"], [x], [0], 2)
    assert np.isnan(x).all()


def test_a_barrier_that_some_threads_miss_is_an_error(device, programs):
    message = fails(device, programs["returned"], "device CUDA_EMULATION cannot run kernel returned: block 0: thread 0 "
                    r"waits at __syncthreads\(\) in line \d+, but thread 7 has returned")
    line = re.search(r"line (\d+)", message)[1]
    assert f"{line:>4}   __syncthreads();" in message
    fails(device, programs["apart"], "thread 0 waits at .* in line .*, but thread 2 in line")
    fails(device, programs["lane"], "thread 0 waits at a warp operation in line .*, but thread 7 has returned")


def test_the_device_works_after_an_error(device, programs, rng):
    fails(device, programs["returned"], "has returned")
    test_threads_meet_at_barriers(device, programs, rng, 300)


def test_misused_memory_is_an_error(device, programs):
    fails(device, programs["outside"], "block 0: something is written outside of shared array narrow")
    fails(device, programs["too_much"], "65536 bytes of shared memory, a block has 49152")
    fails(device, programs["deep"], "needs more than 131072 bytes of stack")
    fails(device, programs["many"], "2048 threads, a block has 1 to 1024")


@pytest.mark.parametrize("name", ["ahead", "behind"])
def test_a_missing_barrier_shows(device, programs, name):
    """In one of the two orders that threads run in, each comes before the neighbour that it reads from."""
    x = np.zeros(32, np.int32)
    run(device, programs[name], [x], (), 2)
    assert (x == 0).any()
    run(device, programs["mended"], [x], (), 2)
    assert (x == 1).all()


def test_a_copy_shows_when_it_is_waited_for(device, programs, rng):
    x = rng.standard_normal(64).astype(np.float32)
    got = x.copy()
    run(device, programs["copied"], [got])
    assert np.array_equal(got[:16], np.roll(x[:32:2] + x[32::2], -1))
    got = x.copy()
    run(device, programs["early"], [got])
    assert np.isnan(got[:16]).any()
    fails(device, programs["forgotten"], "thread 0 ends before a copy that it has begun")


def test_tf32_is_a_matter_of_choice(rng):
    """A graph that was realised with other settings has another plan."""
    x, y = (rng.standard_normal((512, 16)).astype(np.float32) for _ in range(2))
    a, b = (minigrad.tensor(n).to(emulation.NAME) for n in (x, y))
    errors = []
    for allow in (0, 1, 0):
        with minigrad.config(ALLOW_TF32=allow), minigrad.inspect() as seen:
            got = (a @ b.T).realize()
        assert ("tf32_multiply<" in seen.kernels[-1].source) == bool(allow)
        errors.append(np.abs(got.cpu().numpy() - x.astype("f8") @ y.astype("f8").T).max())
    assert errors[0] == errors[2] < 1e-5 < 1e-4 < errors[1] < 1e-1


def test_kernels_are_compiled_once(device, monkeypatch):
    device.compile_text(samples.SCALE, ["scale"])
    monkeypatch.setattr(device, "_compile", None)
    device.compile_text(samples.SCALE, ["scale"])


def test_compile_errors_name_device_kernel_and_source(device, monkeypatch):
    broken = samples.ROW_SUMS.replace("sum += x", "sum += z")
    with pytest.raises(CompileError, match="device CUDA_EMULATION cannot compile kernel row_sums: (?s:.*)sum \\+= z"):
        device.compile_text(samples.SCALE + broken + samples.MATMUL, ["scale", "row_sums", "matmul"])
    with pytest.raises(CompileError, match="kernel other: the source does not define it"):
        device.compile_text(samples.SCALE, ["other"])
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(DeviceUnavailable, match=r"no C\+\+ compiler"):
        device.compile_text(samples.SCALE, ["scale"])


def test_a_kernel_may_have_the_name_of_a_library_function(device):
    y, x = np.zeros(64, np.float32), np.ones(64, np.float32)
    program, = device.compile_text(samples.SCALE.replace("scale(", "div("), ["div"])
    run(device, program, [y, x], [64, 3.0])
    assert (y == 3).all()
