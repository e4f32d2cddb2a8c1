import gc
import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.dtype import uint8
from minigrad.runtime import allocator
from minigrad.runtime.allocator import Allocator, size_class
from minigrad.runtime.buffer import Buffer


@given(st.integers(0, 1 << 45))
def test_size_class_holds_the_bytes_and_wastes_at_most_a_fifth(nbytes):
    size = size_class(nbytes)
    assert size >= nbytes and size % 64 == 0 and size_class(size) == size
    assert nbytes < 256 or size - nbytes <= size / 5


@pytest.mark.parametrize("nbytes", [0, 1, 64, 1000, 70_000, 1 << 20, 3 << 20])
def test_blocks_are_aligned_writable_and_used_again(nbytes):
    buffer = Buffer("CPU", nbytes)
    address = buffer.address
    assert address % 64 == 0
    buffer.as_numpy(uint8, (nbytes,))[:] = 255
    del buffer
    assert Buffer("CPU", nbytes).address == address


def test_blocks_do_not_overlap():
    buffers = [Buffer("CPU", n) for n in (1, 63, 65, 300, 5000, 70_000, 900_000, 1 << 20) * 20]
    spans = sorted((b.address, b.address + b.nbytes) for b in buffers)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def take(memory, nbytes):
    free = memory.free_list(nbytes)
    try:
        return free.pop(), free
    except IndexError:
        return memory.fresh(free, nbytes)


def test_stats_add_up_through_slab_changes():
    memory = Allocator()
    blocks = [take(memory, n) for n in (100, 700_000, 900_000, 1_000_000, 64, 2 << 20) * 5]
    for address, free in blocks[::2]:
        free.append(address)
    stats = memory.stats()
    assert stats.mapped == stats.in_use + stats.cached + stats.uncarved == stats.peak
    assert stats.in_use >= sum((100, 700_000, 900_000, 1_000_000, 64, 2 << 20)) * 5 // 2 - (1 << 20)


def test_cached_bytes_are_bounded_and_the_oldest_leave_first():
    memory = Allocator(cache_limit=5 << 20)
    blocks = [take(memory, 2 << 20) for _ in range(4)]
    for address, free in blocks:
        free.append(address)
    assert memory.cached_bytes == 4 << 20
    assert list(memory.cached_large) == [address for address, _ in blocks[2:]]
    assert memory.stats().mapped - memory.stats().uncarved == 4 << 20


def test_a_larger_cached_block_serves_before_fresh_pages():
    memory = Allocator()
    address, free = take(memory, 5 << 20)
    free.append(address)
    assert take(memory, 4 << 20)[0] == address


def test_out_of_memory_is_pytorchs_error_and_everything_still_works():
    for nbytes in (1 << 50, 1 << 70):
        with pytest.raises(RuntimeError, match=f"can't allocate memory: you tried to allocate {nbytes} bytes"):
            Buffer("CPU", nbytes)
    assert Buffer("CPU", 10).address


def test_a_refused_mapping_is_tried_again_after_giving_back_the_cache(monkeypatch):
    memory = Allocator()
    address, free = take(memory, 8 << 20)
    free.append(address)
    real, calls = allocator._anonymous, []

    def refuse_once(size):
        calls.append(size)
        if len(calls) == 1:
            raise OSError(12, "Cannot allocate memory")
        return real(size)

    monkeypatch.setattr(allocator, "_anonymous", refuse_once)
    take(memory, 100 << 20)
    assert len(calls) == 2 and memory.cached_bytes == 0


def test_threads_get_different_blocks():
    failures = []

    def work(seed):
        for i in range(300):
            a, b = Buffer("CPU", 4096), Buffer("CPU", 1 << 20)
            x, y = a.as_numpy(uint8, (4096,)), b.as_numpy(uint8, (100,))
            x[:], y[:] = seed, seed
            if not (np.all(x == seed) and np.all(y == seed)):
                failures.append(i)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert not failures
    stats = allocator.memory_stats()
    assert stats.mapped == stats.in_use + stats.cached + stats.uncarved


def test_threads_count_what_is_cached():
    memory = Allocator()
    lists = [memory.free_list(size << 20) for size in (1, 2)]
    for free in lists:
        for address in range(8):
            free.append(address << 24 | free.size)

    def work():
        for turn in range(20_000):
            free = lists[turn % 2]
            free.append(free.pop())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memory.cached_bytes == sum(len(free) * free.size for free in lists) == 24 << 20


def test_memory_is_private_to_a_forked_child(python):
    assert python("""
import os
from minigrad.dtype import uint8
from minigrad.runtime.buffer import Buffer
for n in (100, 4 << 20):
    x = Buffer("CPU", n).as_numpy(uint8, (n,))
    x[:] = 1
    child = os.fork()
    if child == 0:
        x[:] = 2
        os._exit(0)
    os.waitpid(child, 0)
    print(x.max())
""") == "1\n1\n"
