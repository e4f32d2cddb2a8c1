import gc

import numpy as np
import pytest

from minigrad.dtype import ALL, bfloat16, float32, float64, int32, int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.runtime.buffer import Buffer


@pytest.mark.parametrize("kind", ALL, ids=lambda d: d.name)
def test_as_numpy_shares_memory(kind):
    if kind is bfloat16:
        pytest.importorskip("ml_dtypes")
    buffer = Buffer("CPU", 6 * kind.size)
    a = buffer.as_numpy(kind, (2, 3))
    a[:] = 1
    b = buffer.as_numpy(kind, (3, 2))
    assert a.dtype == b.dtype == kind.numpy and np.all(b == 1)
    b[0, 0] = 0
    assert a[0, 0] == 0


def test_strides_count_elements_and_offset_counts_bytes():
    buffer = Buffer("CPU", 48)
    buffer.as_numpy(float32, (12,))[:] = range(12)
    assert buffer.as_numpy(float32, (2, 3), (1, 4), offset=8).tolist() == [[2, 6, 10], [3, 7, 11]]
    assert buffer.as_numpy(float32, (2, 2), (0, 1)).tolist() == [[0, 1], [0, 1]]
    assert buffer.as_numpy(float32, (), offset=4) == 1
    assert buffer.as_numpy(float32, (0, 3)).shape == (0, 3)


def test_an_array_can_be_read_only():
    array = Buffer("CPU", 4).as_numpy(int32, (1,), writable=False)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_an_exported_array_keeps_the_memory():
    array = Buffer("CPU", 400).as_numpy(float32, (100,))
    array[:] = 3
    gc.collect()
    for _ in range(20):
        Buffer("CPU", 400).as_numpy(float32, (100,))[:] = 4
    assert np.all(array == 3)


def test_exported_is_true_while_an_array_or_a_view_of_it_is_alive():
    buffer = Buffer("CPU", 400)
    assert not buffer.exported
    array = buffer.as_numpy(float32, (10, 10), shown=True)
    view = array[1:, ::2].T
    other = buffer.as_numpy(float32, (100,), shown=True)
    del array, other
    assert buffer.exported
    del view
    assert not buffer.exported


def test_a_look_does_not_count_as_an_export():
    buffer = Buffer("CPU", 400)
    look = buffer.as_numpy(float32, (10, 10))
    assert not buffer.exported and look.base.buffer is buffer


def test_wrap_shares_and_keeps_the_users_memory():
    array = np.arange(6.0)
    buffer = Buffer.wrap(array)
    assert buffer.address == array.ctypes.data and buffer.nbytes == 48 and buffer.writable
    array[0] = 9
    assert buffer.as_numpy(float64, (6,))[0] == 9
    del array
    gc.collect()
    assert buffer.as_numpy(float64, (6,)).tolist() == [9, 1, 2, 3, 4, 5]


def test_a_wrapped_buffer_is_always_exported():
    """Who else holds an array, or what it is a view of, can't be known."""
    assert Buffer.wrap(np.arange(6.0)[2:]).exported
    assert Buffer.wrap(np.frombuffer(bytearray(16))).exported


def test_a_buffer_is_shared_while_a_value_is_a_part_of_it():
    buffer = Buffer("CPU", 32)
    whole = LazyBuffer.from_buffer(buffer, (8,), float32, "CPU")
    assert not buffer.is_shared
    parts = [whole.shrink(((0, 4),)), whole.stride((2,))]
    assert buffer.is_shared
    del parts[0]
    assert buffer.is_shared
    del parts[0]
    assert not buffer.is_shared


def test_wrap_counts_the_bytes_from_first_to_last_element():
    array = np.zeros((4, 5), np.float32)
    assert Buffer.wrap(array[1:3, 1:3]).nbytes == 28
    assert Buffer.wrap(array[:0]).nbytes == 0
    assert Buffer.wrap(np.array(2, np.float32)).nbytes == 4


def test_wrap_refuses_what_kernels_cannot_use():
    with pytest.raises(ValueError, match="At least one stride in the given numpy array is negative"):
        Buffer.wrap(np.arange(3)[::-1])
    for array in (np.arange(3, dtype=">i4"), np.frombuffer(bytearray(9), np.float32, 2, offset=1),
                  np.zeros(3, "i4,i2")["f0"]):
        with pytest.raises(ValueError, match="byte order, alignment or strides"):
            Buffer.wrap(array)


def test_a_wrapped_read_only_array_stays_read_only():
    array = np.arange(3)
    array.flags.writeable = False
    buffer = Buffer.wrap(array)
    assert not buffer.writable and not buffer.as_numpy(int64, (3,)).flags.writeable


def test_copyin_and_copyout():
    buffer = Buffer("CPU", 48)
    buffer.copyin(np.arange(12, dtype=np.float32).reshape(3, 4).T)
    out = np.empty((4, 3), np.float32)
    buffer.copyout(out)
    assert out.tolist() == np.arange(12).reshape(3, 4).T.tolist()
    other = Buffer("CPU", 8)
    other.copy_from(buffer, 8, other_offset=4)
    assert other.as_numpy(float32, (2,)).tolist() == [4, 8]
    with pytest.raises(ValueError, match="bytes 44 to 52 are outside a buffer of 48 bytes"):
        buffer.copyin(np.zeros(2, np.float32), offset=44)
    with pytest.raises(ValueError, match="contiguous"):
        buffer.copyout(out.T)


def test_what_is_known_of_contents_is_forgotten_when_others_see_them() -> None:
    b = Buffer("CPU", 16)
    Buffer.noted[b] = "all 0"
    b.as_numpy(float32, (4,))
    assert Buffer.noted.get(b) == "all 0"
    b.as_numpy(float32, (4,), shown=True)
    assert b not in Buffer.noted
