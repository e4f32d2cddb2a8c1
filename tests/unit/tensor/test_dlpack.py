"""Stage: tests of the front. In: Tensors and NumPy arrays, handed over as DLPack capsules. Out: both sides see one
memory, which lives exactly as long as somebody uses it.
Next: ``tests/torch/test_dlpack_against_torch.py`` for PyTorch and JAX."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

import minigrad
from minigrad.tensor import capsules as room
from minigrad.utils.dlpack import DLDeviceType, to_dlpack

ROOT = Path(__file__).resolve().parents[3]


class Producer:
    """An array of some library: gives what it was told, and counts how often."""

    def __init__(self, array: np.ndarray, kind: tuple[int, int] = (1, 0), old: bool = False) -> None:
        self.array, self.kind, self.old = array, kind, old
        self.asked: list[dict] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind

    def __dlpack__(self, **options):
        self.asked.append(dict(options))
        if self.old and options:
            raise TypeError("an old library: no options")
        options.pop("stream", None)
        return self.array.__dlpack__(**options)


# --- minigrad's memory for others


def test_both_sides_see_one_memory() -> None:
    t = minigrad.arange(6.0).reshape(2, 3)
    a = np.from_dlpack(t)
    a[0, 0] = 10
    assert t[0, 0].item() == 10
    t.mul_(2)
    assert a.tolist() == [[20, 2, 4], [6, 8, 10]]
    assert t.data_ptr() == a.ctypes.data


def test_a_view_exports_its_place_and_strides() -> None:
    t = minigrad.arange(24.0).reshape(4, 6)
    v = t[1:, 1::2].T
    a = np.from_dlpack(v)
    assert a.shape == (3, 3) and tuple(s // 4 for s in a.strides) == v.stride() == (2, 6)
    assert a.ctypes.data == np.from_dlpack(t).ctypes.data + 4 * v.storage_offset()
    a[:] = -1
    assert (t == -1).sum().item() == 9
    wide = minigrad.ones(2, 1).expand(2, 3)
    assert np.from_dlpack(wide).strides == (4, 0)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64",
                                   "float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (3,), (0, 2), (2, 2)])
def test_there_and_back(dtype: str, shape: tuple[int, ...]) -> None:
    t = minigrad.ones(shape, dtype=getattr(minigrad, dtype))
    back = minigrad.from_dlpack(t)
    assert back.dtype is t.dtype and back.shape == t.shape and minigrad.equal(t, back)
    if t.numel():
        assert back.data_ptr() == t.data_ptr()
        back.zero_()
        assert not t.any().item()


def test_pending_values_are_computed_and_readers_keep_theirs() -> None:
    x = minigrad.ones(3)
    y = x + 1
    late = y * 2  # reads y, and runs after it was changed
    a = np.from_dlpack(y)
    assert a.tolist() == [2, 2, 2]
    a[:] = 0
    assert late.tolist() == [4, 4, 4] and y.tolist() == [0, 0, 0] and x.tolist() == [1, 1, 1]


def test_what_cannot_be_exported() -> None:
    with pytest.raises(BufferError, match=r"Can't export tensors that require gradient, use tensor.detach\(\)"):
        np.from_dlpack(minigrad.ones(2, requires_grad=True))
    with pytest.raises(TypeError, match="stream must be ``int`` or ``none``"):
        minigrad.ones(2).__dlpack__(stream="1")
    with pytest.raises(ValueError, match="tensor from cpu to cuda:0 without copying"):
        minigrad.ones(2).__dlpack__(dl_device=(2, 0), copy=False)
    with pytest.raises(RuntimeError, match="DLPack memory of metal:0 can't be shared"):
        minigrad.ones(2).__dlpack__(dl_device=(8, 0))

    @minigrad.composite
    def exporting(x):
        np.from_dlpack(x)
        return x

    with pytest.raises(RuntimeError, match="needs the values of a tensor"):
        exporting(minigrad.ones(2))


def test_read_only_memory_stays_read_only() -> None:
    array = np.ones(3, np.float32)
    array.flags.writeable = False
    t = minigrad.from_numpy(array)
    assert not np.from_dlpack(t).flags.writeable
    with pytest.raises(BufferError, match="readonly"):
        t.__dlpack__()  # the old form can't say so
    back = minigrad.from_dlpack(t)
    with pytest.raises(RuntimeError, match="read-only"):
        back.add_(1)
    assert array.tolist() == [1, 1, 1]


def test_copies_on_request() -> None:
    t = minigrad.ones(2)
    a = np.from_dlpack(t, copy=True)
    a[:] = 5
    assert t.tolist() == [1, 1]
    capsule = t.__dlpack__(max_version=(1, 0), copy=True)
    tensor, head = room._opened(capsule)
    assert head is not None and head.flags & room._IS_COPIED and tensor.ndim == 1
    assert np.shares_memory(np.from_dlpack(t, copy=False), t.numpy())
    elsewhere = t.__dlpack__(dl_device=(1, 0), max_version=(1, 0))
    assert room._opened(elsewhere)[1].flags == 0


def test_device_of_host_memory() -> None:
    assert minigrad.ones(2).__dlpack_device__() == (DLDeviceType.kDLCPU, 0)
    t = minigrad.ones(2, device="numpy")
    a = np.from_dlpack(t)
    a[0] = 7
    assert t.__dlpack_device__() == (1, 0) and t.tolist() == [7, 1]


# --- others' memory for minigrad


def test_an_import_shares_memory() -> None:
    a = np.zeros((2, 3), np.float32)
    t = minigrad.from_dlpack(a)
    a[0, 0] = 3
    y = t + 1
    a[0, 0] = 100
    assert y[0, 0].item() == 4
    t[:, 1].fill_(8)
    assert a.tolist() == [[100, 8, 0], [0, 8, 0]]
    t.add_(1)
    assert a[0].tolist() == [101, 9, 1]


def test_an_import_with_strides() -> None:
    a = np.arange(12, dtype=np.int64).reshape(3, 4)
    t = minigrad.from_dlpack(a[::2, 1:3].T)
    assert t.tolist() == [[1, 9], [2, 10]]
    t.mul_(-1)
    assert a.tolist() == [[0, -1, -2, 3], [4, 5, 6, 7], [8, -9, -10, 11]]


def test_complex_numbers() -> None:
    a = np.array([1 + 2j, 3j], np.complex64)
    t = minigrad.from_dlpack(a)
    t.imag.fill_(5)
    assert a.tolist() == [1 + 5j, 5j]
    assert np.from_dlpack(t).tolist() == [1 + 5j, 5j]


def test_complex_numbers_are_shared() -> None:
    a = np.array([1 + 2j, 3], np.complex64)
    t = minigrad.from_dlpack(a)
    t.mul_(2)
    assert a.tolist() == [2 + 4j, 6]
    assert np.from_dlpack(t).dtype == np.complex64


def test_what_cannot_be_imported() -> None:
    with pytest.raises(ValueError, match="At least one stride .* is negative"):
        minigrad.from_dlpack(np.ones(3)[::-1])
    with pytest.raises(TypeError, match=r"an object with __dlpack__\(\) or a DLPack capsule, got list"):
        minigrad.from_dlpack([1, 2])
    with pytest.raises(RuntimeError, match="DLPack memory of opencl:0 can't be shared"):
        minigrad.from_dlpack(Producer(np.ones(3), (4, 0)))
    with pytest.raises(AssertionError, match="device and copy kwargs not supported"):
        minigrad.from_dlpack(to_dlpack(minigrad.ones(2)), copy=True)


@pytest.mark.skipif(any(d.name == "CUDA" and d.available for d in minigrad.devices()), reason="this machine has CUDA")
def test_cuda_memory_without_cuda() -> None:
    producer = Producer(np.ones(3), (2, 1))
    with pytest.raises(RuntimeError, match="in the memory of CUDA device 1: device CUDA:1 is not available"):
        minigrad.from_dlpack(producer)
    assert producer.asked == []  # no capsule was made that nobody can use


def test_a_capsule_is_taken_once() -> None:
    capsule = to_dlpack(minigrad.ones(2))
    assert 'capsule object "dltensor"' in repr(capsule)
    assert minigrad.from_dlpack(capsule).tolist() == [1, 1]
    assert "used_dltensor" in repr(capsule)
    with pytest.raises(RuntimeError, match="can be consumed only once"):
        minigrad.from_dlpack(capsule)
    assert '"dltensor_versioned"' in repr(minigrad.ones(2).__dlpack__(max_version=(1, 1)))


def test_old_and_new_libraries_are_asked() -> None:
    a = np.zeros(2, np.float32)
    new = Producer(a)
    minigrad.from_dlpack(new).add_(1)
    assert "max_version" in new.asked[0] and len(new.asked) == 1
    old = Producer(a, old=True)
    minigrad.from_dlpack(old, copy=False).add_(1)
    assert old.asked[-1] == {} and a.tolist() == [2, 2]
    assert minigrad.from_dlpack(a, copy=True).add_(1).tolist() == [3, 3] and a.tolist() == [2, 2]


def test_import_to_another_device() -> None:
    a = np.zeros(2, np.float32)
    t = minigrad.from_dlpack(a, device="numpy")  # its memory is the host's: nothing is copied
    t.add_(1)
    assert str(t.device) == "numpy" and a.tolist() == [1, 1]


def test_the_makers_description_is_left_as_it_was() -> None:
    """Whoever frees the memory finds the type it wrote."""
    capsule = minigrad.ones(2, dtype=minigrad.bfloat16).__dlpack__()
    tensor, _ = room._opened(capsule)
    t = minigrad.from_dlpack(capsule)
    assert (tensor.code, tensor.bits, tensor.lanes) == (room._BFLOAT, 16, 1) and t.dtype is minigrad.bfloat16


# --- memory of a device, with a stand-in for a GPU


def test_device_memory_both_ways(hidden_device) -> None:
    hidden_device("CUDA")
    t = minigrad.arange(6.0, device="cuda:1").reshape(2, 3)[:, 1:]
    assert t.__dlpack_device__() == (DLDeviceType.kDLCUDA, 1)
    capsule = t.__dlpack__(stream=1, max_version=(1, 0))
    tensor, _ = room._opened(capsule)
    assert (tensor.device_type, tensor.device_id, tensor.data) == (2, 1, t.data_ptr())
    back = minigrad.from_dlpack(capsule)
    assert str(back.device) == "cuda:1" and back.data_ptr() == t.data_ptr() and back.tolist() == [[1, 2], [4, 5]]
    later = back * 2
    t.mul_(-1)  # its memory is shown to others: written at once
    assert back.tolist() == [[-1, -2], [-4, -5]] and later.tolist() == [[2, 4], [8, 10]]
    back.add_(1)  # only its part of the memory
    assert t.tolist() == [[0, -1], [-3, -4]] and t._base.tolist() == [0, 0, -1, 3, -3, -4]
    back.sub_(1)
    whole = minigrad.from_dlpack(t.contiguous())
    half = whole[1]
    whole.add_(1)
    half.mul_(10)
    assert whole.tolist() == [[0, -1], [-30, -40]] and (whole.cpu() + 1).sum().item() == -67


def test_moving_by_dlpack(hidden_device) -> None:
    hidden_device("CUDA")
    t = minigrad.ones(2, device="cuda")
    assert np.from_dlpack(t, device="cpu").tolist() == [1, 1]
    with pytest.raises(ValueError, match="tensor from cuda:0 to cpu without copying"):
        np.from_dlpack(t, device="cpu", copy=False)
    a = np.zeros(2, np.float32)
    there = minigrad.from_dlpack(a, device="cuda:1")
    there.add_(1)
    assert str(there.device) == "cuda:1" and there.tolist() == [1, 1] and a.tolist() == [0, 0]
    hidden_device("BOX")
    assert minigrad.from_dlpack(t, device="box").device.type == "box"
    with pytest.raises(ValueError, match="cannot move DLPack tensor from cpu to cuda:1 without copying"):
        minigrad.from_dlpack(a, device="cuda:1", copy=False)
    assert minigrad.from_dlpack(t.__dlpack__(dl_device=(1, 0))).device.type == "cpu"
    streamed = Streamed(t)
    minigrad.from_dlpack(streamed)
    assert streamed.streams == [1]


class Streamed:
    """A producer on a GPU: it is told on which stream its memory will be used."""

    def __init__(self, tensor: minigrad.Tensor) -> None:
        self.tensor = tensor
        self.streams: list[int] = []

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, *, stream, max_version):
        self.streams.append(stream)
        return self.tensor.__dlpack__(max_version=max_version)


def test_lifetime_of_device_memory(hidden_device) -> None:
    hidden_device("CUDA")
    t = (minigrad.arange(100.0, device="cuda") + 0).realize()
    alive = weakref.ref(buffer_of(t))
    back = minigrad.from_dlpack(t)[50:]
    del t
    gc.collect()
    assert alive() is not None and back[0].item() == 50
    del back
    gc.collect()
    assert alive() is None


# --- lifetimes


def buffer_of(tensor: minigrad.Tensor):
    return tensor._storage.lazy.buffer


def test_the_consumer_keeps_the_memory() -> None:
    t = minigrad.arange(1000.0) + 0
    a = np.from_dlpack(t)[10:]
    buffer = buffer_of(t)
    alive = weakref.ref(buffer)
    assert buffer.exported
    del t, buffer
    gc.collect()
    others = [minigrad.full((1000,), -1.0) + 0 for _ in range(5)]  # would take the block if it were free
    minigrad.realize(*others)
    assert a[0] == 10 and a[-1] == 999
    del a
    assert alive() is None


def test_minigrad_keeps_the_producers_memory() -> None:
    class Owner(np.ndarray):
        pass

    a = np.arange(1000.0).view(Owner)
    alive = weakref.ref(a)
    t = minigrad.from_dlpack(a)[5:]
    del a
    gc.collect()
    assert alive() is not None and t[0].item() == 5
    del t
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("version", [None, (1, 0)])
def test_a_capsule_nobody_takes_is_freed(version) -> None:
    t = minigrad.ones(4)
    capsule = t.__dlpack__(max_version=version)
    assert buffer_of(t).exported
    del capsule
    assert not buffer_of(t).exported
    capsule = t.__dlpack__(max_version=version)
    taken = np.from_dlpack(Taken(capsule))
    del capsule
    assert buffer_of(t).exported and taken.tolist() == [1] * 4
    del taken
    assert not buffer_of(t).exported


class Taken:
    def __init__(self, capsule) -> None:
        self.capsule = capsule

    def __dlpack__(self, **options):
        return self.capsule

    def __dlpack_device__(self):
        return 1, 0


def test_when_the_consumer_is_gone_the_memory_is_private_again() -> None:
    t = minigrad.ones(4)
    a = np.from_dlpack(t)
    t.add_(1)
    assert a[0] == 2
    del a
    assert not buffer_of(t).exported
    t.add_(1)
    assert buffer_of(t) is None and t.tolist() == [3] * 4  # waits again until somebody asks


def test_a_thousand_round_trips_leave_nothing_behind() -> None:
    a = np.ones(16, np.float32)
    t = minigrad.ones(16)

    def trip() -> None:
        minigrad.from_dlpack(a).add_(1)
        np.from_dlpack(t)[0] = 1
        minigrad.from_dlpack(t)
        t.__dlpack__()

    def counts() -> tuple[int, ...]:
        gc.collect()
        return sys.getrefcount(a), sys.getrefcount(t), sys.getrefcount(buffer_of(t)), len(gc.get_objects())

    for _ in range(10):
        trip()
    before = counts()
    for _ in range(1000):
        trip()
    after = counts()
    assert after[:3] == before[:3] and after[3] - before[3] < 200
    assert a[0] == 1011 and not buffer_of(t).exported


def test_deleters_run_on_any_thread() -> None:
    """Each thread takes capsules and drops them while others make theirs."""
    t = minigrad.ones(64)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(200):
                a = np.from_dlpack(t)
                b = minigrad.from_dlpack(a)
                assert b.data_ptr() == a.ctypes.data
                del a, b
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and buffer_of(t).exports == []


def test_a_deleter_called_without_the_interpreter_lock() -> None:
    """As a C++ consumer's last reference goes on a thread of its own."""
    t = minigrad.ones(4)
    capsule = t.__dlpack__()
    address = room._pointer(capsule, b"dltensor")
    rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_SetName", ctypes.pythonapi))
    name = b"used_dltensor"
    rename(capsule, name)
    # DLManagedTensor: the tensor (48 bytes), the context, the deleter; a CFUNCTYPE is called without the lock
    deleter = ctypes.c_void_p.from_address(address + 56).value
    del t
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(deleter)(address)
    del capsule


def test_the_interpreter_ends_with_capsules_alive() -> None:
    program = ("import minigrad, numpy as np\n"
               "t = minigrad.ones(3); a = np.from_dlpack(t); b = minigrad.from_dlpack(np.ones(2))\n"
               "c = t.__dlpack__(); d = minigrad.ones(3).__dlpack__(max_version=(1, 0))\n"
               "cycle = [a, b, c, d]; cycle.append(cycle); print('end')")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "end" and not done.stderr
