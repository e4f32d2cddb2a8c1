"""Stage: tests of utils. In: loaders with worker processes, and what goes wrong there. Out: batches come in order and
whole, errors are told, and nothing is left behind.
Next: ``tests/unit/multiprocessing/test_sharing.py``."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import minigrad
from minigrad.runtime.pool import thread_count
from minigrad.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info


class Samples(Dataset):
    """n samples, made by a function of the index."""

    def __init__(self, n, make):
        self.n, self.make = n, make

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return self.make(i)


def is_alive(pid):
    """Whether the process is there and not only its number, until its parent asks for that."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pids, seconds=5.0):
    """Whether all these processes end within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(is_alive(pid) for pid in pids):
            return True
        time.sleep(0.01)
    return False


def pids_of(iterator):
    return [worker.process.pid for worker in iterator._workers]


def test_batches_are_those_of_one_process():
    x = minigrad.arange(3 * 8000).reshape(12, 2000)  # a batch of it is sent by shared memory
    dataset = TensorDataset(x, minigrad.arange(12))
    seen = []
    for workers in (0, 2):
        minigrad.manual_seed(1)
        loader = DataLoader(dataset, batch_size=4, shuffle=True, num_workers=workers)
        seen.append([[t.tolist() for t in batch] for batch in loader] + [minigrad.rand(1).item()])
    assert seen[0] == seen[1]


def test_a_worker_has_one_thread_and_knows_itself():
    def make(i):
        return thread_count(), get_worker_info().id, float((minigrad.ones(300, 300) @ minigrad.ones(300, 300)).sum())

    (minigrad.ones(300, 300) @ minigrad.ones(300, 300)).realize()  # threads run when the worker is forked
    threads, _, total = next(iter(DataLoader(Samples(2, make), batch_size=2, num_workers=1)))
    assert threads.tolist() == [1, 1] and total.tolist() == [300.0**3] * 2
    assert get_worker_info() is None


def test_a_spawned_worker():
    dataset = TensorDataset(minigrad.arange(20000).reshape(2, 10000))
    loader = DataLoader(dataset, batch_size=2, num_workers=1, multiprocessing_context="spawn")
    assert next(iter(loader))[0].sum().item() == 20000 * 19999 // 2


def test_what_can_be_sent():
    def make(i):
        return {"array": np.full(5000, i), "text": "x" * 100_000, "part": minigrad.arange(10000)[i:i + 2],
                "none": None, "half": minigrad.ones(20000, dtype=minigrad.bfloat16) * i, "empty": minigrad.ones(0, 3)}

    first, second = DataLoader(Samples(2, make), batch_size=None, num_workers=1, collate_fn=lambda sample: sample)
    assert first["array"].sum() == 0 and second["array"].sum() == 5000
    assert first["text"] == "x" * 100_000 and second["none"] is None
    assert first["part"].tolist() == [0, 1] and second["part"].tolist() == [1, 2]
    assert second["half"].dtype is minigrad.bfloat16 and second["half"].float().sum().item() == 20000
    assert second["empty"].shape == (0, 3)
    second["array"][0] = 7  # the memory is this process's own
    second["half"].add_(1)


def test_more_tasks_than_a_channel_holds():
    loader = DataLoader(Samples(1500, lambda i: i), num_workers=1, prefetch_factor=1500, collate_fn=lambda batch: batch)
    assert [batch[0] for batch in loader] == list(range(1500))


def test_large_indices_and_results():
    indices = [list(range(i, 100_000 + i)) for i in range(3)]
    loader = DataLoader(Samples(200_000, lambda i: i), batch_sampler=indices, num_workers=1)
    assert [batch[0].item() for batch in loader] == [0, 1, 2]


def test_out_of_order():
    another_came = multiprocessing.get_context("fork").Event()

    def make(i):
        if i == 0:
            another_came.wait(5)  # until the time is over, where batches come in order
        return i

    batches = iter(DataLoader(Samples(6, make), batch_size=1, num_workers=2, in_order=False))
    first = int(next(batches))
    another_came.set()
    assert first != 0 and sorted([first, *map(int, batches)]) == list(range(6))


def test_persistent_workers_stay():
    loader = DataLoader(Samples(4, lambda i: os.getpid()), num_workers=1, persistent_workers=True)
    first, again, third = {int(b) for b in loader}, iter(loader), None
    next(again)  # a round that is given up
    third = {int(b) for b in loader}
    assert first == third == set(pids_of(again))
    del loader, again
    gc.collect()
    assert gone(first)


class Short(IterableDataset):
    """A stream that ends earlier in one worker than in the other."""

    def __iter__(self):
        return iter(range(1 + 3 * get_worker_info().id))


@pytest.mark.parametrize("persistent", [False, True])
def test_streams_that_end_at_different_times(persistent):
    loader = DataLoader(Short(), batch_size=2, num_workers=2, persistent_workers=persistent)
    for _ in range(2):
        assert [batch.tolist() for batch in loader] == [[0], [0, 1], [2, 3]]


# --- what goes wrong


def test_exception_in_a_worker():
    def make(i):
        if i == 1:
            raise ValueError("no such sample")
        return i

    iterator = iter(DataLoader(Samples(3, make), num_workers=1))
    assert next(iterator).tolist() == [0]
    with pytest.raises(ValueError, match=r"(?s)Caught ValueError in DataLoader worker process 0\.\n"
                                         r"Original Traceback .*in make.*ValueError: no such sample"):
        next(iterator)
    assert next(iterator).tolist() == [2]  # the worker goes on


def test_exception_while_a_worker_starts():
    def init(worker_id):
        raise RuntimeError("not today")

    with pytest.raises(RuntimeError, match=r"(?s)Caught RuntimeError in DataLoader worker process 0\..*not today"):
        list(DataLoader(Samples(3, int), num_workers=1, worker_init_fn=init))


def test_a_batch_that_cannot_be_sent():
    loader = DataLoader(Samples(1, lambda i: lambda: i), num_workers=1, collate_fn=lambda batch: batch)
    with pytest.raises(Exception, match="in DataLoader worker process 0"):
        list(loader)
    taped = DataLoader(Samples(1, lambda i: minigrad.ones(1, requires_grad=True) * 2), num_workers=1,
                       collate_fn=lambda batch: batch)
    with pytest.raises(RuntimeError, match="Cowardly refusing to serialize non-leaf tensor"):
        list(taped)


def test_ragged_batch():
    with pytest.raises(RuntimeError, match=r"stack expects each tensor to be equal size, but got \[3\] at entry 0 and "
                                           r"\[2\] at entry 1"):
        list(DataLoader(Samples(2, lambda i: minigrad.ones(3 - i)), batch_size=2, num_workers=1))


@pytest.mark.parametrize("how", ["killed", "exit"])
def test_a_worker_that_dies(how):
    def make(i):
        if i == 2:
            os.kill(os.getpid(), signal.SIGKILL) if how == "killed" else os._exit(3)
        return i

    iterator = iter(DataLoader(Samples(6, make), num_workers=2))
    pids = pids_of(iterator)
    with pytest.raises(RuntimeError, match=rf"DataLoader worker \(pid\(s\) {pids[0]}\) exited unexpectedly") as caught:
        list(iterator)
    cause = "is killed by signal: Killed" if how == "killed" else "with exit code 3"
    assert cause in str(caught.value.__cause__)
    del iterator, caught
    gc.collect()
    assert gone(pids)


def test_timeout():
    loader = DataLoader(Samples(1, lambda i: time.sleep(30)), num_workers=1, timeout=0.2)
    iterator = iter(loader)
    with pytest.raises(RuntimeError, match="DataLoader timed out after 0.2 seconds"):
        next(iterator)
    for worker in iterator._workers:
        worker.process.kill()


def test_arguments_that_cannot_be_pickled():
    loader = DataLoader(Samples(1, lambda i: i), num_workers=1, multiprocessing_context="spawn")
    with pytest.warns(UserWarning, match="Got pickle error when attempting to start a worker Process"), \
            pytest.raises((AttributeError, TypeError, pickle.PicklingError)):  # the last since Python 3.14
        iter(loader)


# --- nothing is left behind


def open_files():
    return len(os.listdir("/proc/self/fd"))


def shared_memory():
    """How many pieces of it this process has."""
    return Path("/proc/self/maps").read_text().count("minigrad (deleted)")


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts files by /proc")
def test_no_process_file_or_memory_stays():
    dataset = TensorDataset(minigrad.ones(8, 20000))
    pids = []

    def round_and_a_half():
        loader = DataLoader(dataset, batch_size=2, num_workers=1)
        pids.extend(pids_of(iter(loader)))  # dropped at once
        iterator = iter(loader)
        pids.extend(pids_of(iterator))
        kept = next(iterator)[0]
        del iterator
        return kept

    round_and_a_half()
    gc.collect()
    before = open_files()
    kept = [round_and_a_half() for _ in range(3)]
    gc.collect()
    assert gone(pids)
    assert open_files() <= before
    assert [float(k.sum()) for k in kept] == [40000.0] * 3
    mapped = shared_memory()
    assert mapped >= 3
    del kept
    gc.collect()
    assert shared_memory() <= mapped - 3
    assert multiprocessing.active_children() == []


PROGRAM = """
import os, sys, time
import minigrad
from minigrad.utils.data import DataLoader, Dataset

class Slow(Dataset):
    def __len__(self):
        return 1000
    def __getitem__(self, i):
        time.sleep(0.02)
        return minigrad.ones(10000)

if __name__ == "__main__":
    iterator = iter(DataLoader(Slow(), batch_size=2, num_workers=2, multiprocessing_context="fork"))
    next(iterator)
    print(*[worker.process.pid for worker in iterator._workers], flush=True)
    {rest}
"""


def start(rest):
    """The program in a process group of its own, as a terminal starts it, and the numbers of its workers."""
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(PROGRAM).format(rest=rest)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    return process, [int(pid) for pid in process.stdout.readline().split()]


@pytest.mark.parametrize("whom", ["everybody", "the program"])
def test_ctrl_c(whom):
    process, pids = start("for batch in iterator: pass")
    if whom == "everybody":
        os.killpg(process.pid, signal.SIGINT)
    else:
        os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert errors.count("Traceback (most recent call last)") == 1 and errors.rstrip().endswith("KeyboardInterrupt")
    assert len(pids) == 2 and gone(pids)


@pytest.mark.parametrize("rest", ["sys.exit(5)", "os.kill(os.getpid(), 9)"])
def test_a_program_that_ends_in_the_middle(rest):
    process, pids = start(rest)
    _, errors = process.communicate(timeout=20)
    assert errors == "" and process.returncode == (-9 if "kill" in rest else 5)
    assert len(pids) == 2 and gone(pids)
