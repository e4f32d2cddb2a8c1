"""Stage: front. In: a ``DataLoader``. Out: one round through its data: in this process, or by worker processes.

Each worker has a channel of its own: tasks (a number, and indices) go to it, batches come back in the same order. The
channel's end is what both sides notice when the other is gone: a worker stops when the main process closes it or dies,
and the main process knows at once when a worker dies. When the iterator goes, ``_stop`` ends its workers.
Next: ``minigrad/multiprocessing/``."""

from __future__ import annotations

import multiprocessing
import os
import signal
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import cycle
from multiprocessing import connection
from pickle import PicklingError
from typing import Any, NoReturn
from weakref import finalize

from minigrad.multiprocessing.channel import Channel, channels
from minigrad.utils.data._utils.worker import (
    MP_STATUS_CHECK_INTERVAL,
    ExceptionWrapper,
    Job,
    _DatasetKind,
    _IterableDatasetStopIteration,
    _ResumeIteration,
    worker_loop,
)
from minigrad.utils.data.sampler import random_seed

MOST_IN_FLIGHT = 64
"""Tasks that a worker is sent before it has answered. More wait here, so that neither side fills the channel while the
other does, too."""


class _BaseDataLoaderIter:
    """One round. It draws PyTorch's random numbers: first the sampler's iterator is made, then the base seed drawn."""

    def __init__(self, loader: Any) -> None:
        self._dataset = loader.dataset
        self._dataset_kind = loader._dataset_kind
        self._IterableDataset_len_called = loader._IterableDataset_len_called
        self._auto_collation = loader._auto_collation
        self._drop_last = loader.drop_last
        self._index_sampler = loader._index_sampler
        self._num_workers = loader.num_workers
        self._timeout = loader.timeout
        self._collate_fn = loader.collate_fn
        if loader.pin_memory:
            _warn_of_pinning(loader.pin_memory_device)
        self._sampler_iter = iter(self._index_sampler)
        self._base_seed = random_seed(loader.generator)
        self._persistent_workers = loader.persistent_workers
        self._num_yielded = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def _reset(self, loader: Any, first_iter: bool = False) -> None:
        self._sampler_iter = iter(self._index_sampler)
        self._num_yielded = 0
        self._IterableDataset_len_called = loader._IterableDataset_len_called

    def _next_index(self) -> Any:
        return next(self._sampler_iter)

    def _next_data(self) -> Any:
        raise NotImplementedError

    def __next__(self) -> Any:
        data = self._next_data()
        self._num_yielded += 1
        promised = self._IterableDataset_len_called
        if self._dataset_kind == _DatasetKind.Iterable and promised is not None and self._num_yielded > promised:
            self._warn_of_length(promised)
        return data

    def _warn_of_length(self, promised: int) -> None:
        text = (f"Length of IterableDataset {self._dataset} was reported to be {promised}(when accessing "
                f"len(dataloader)), but {self._num_yielded} samples have been fetched. ")
        if self._num_workers > 0:
            text += ("For multiprocessing data-loading, this could be caused by not properly configuring the "
                     "IterableDataset replica at each worker. Please see https://pytorch.org/docs/stable/data.html"
                     "#torch.utils.data.IterableDataset for examples.")
        warnings.warn(text, stacklevel=3)

    def __len__(self) -> int:
        return len(self._index_sampler)

    def __getstate__(self) -> Any:
        raise NotImplementedError("{} cannot be pickled", self.__class__.__name__)


def _warn_of_pinning(device: str) -> None:
    """Pinned memory would let a GPU read batches while it computes; here batches stay as they are."""
    if device:
        warnings.warn("pin_memory_device is deprecated, the current accelerator will be used as the device,ignore "
                      f"pin_memory_device='{device}'.", stacklevel=5)
    warnings.warn("'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't "
                  "be used.", stacklevel=5)


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    """One round in this process."""

    def __init__(self, loader: Any) -> None:
        super().__init__(loader)
        if self._timeout != 0:
            raise AssertionError("_SingleProcessDataLoaderIter requires timeout == 0")
        if self._num_workers != 0:
            raise AssertionError("_SingleProcessDataLoaderIter requires num_workers == 0")
        self._dataset_fetcher = _DatasetKind.create_fetcher(self._dataset_kind, self._dataset, self._auto_collation,
                                                            self._collate_fn, self._drop_last)

    def _next_data(self) -> Any:
        return self._dataset_fetcher.fetch(self._next_index())


class _Worker:
    """A worker process as the main process sees it: its channel, the tasks that it has not answered, and those that it
    was not sent yet. ``active``: it has data left in this round."""

    def __init__(self, process: Any, channel: Channel) -> None:
        self.process = process
        self.channel = channel
        self.pending: deque[int] = deque()
        self.unsent: deque[Any] = deque()
        self.active = True

    def put(self, task: Any) -> None:
        """Give it a task."""
        self.pending.append(task[0])
        if len(self.pending) > MOST_IN_FLIGHT:
            self.unsent.append(task)
        else:
            self._send(task)

    def _send(self, message: Any) -> None:
        try:
            self.channel.send(message)
        except (BrokenPipeError, ConnectionResetError):
            _fail([self])

    def receive(self) -> Any:
        """Its next answer: the task's number and the data."""
        try:
            number, data = self.channel.receive()
        except EOFError:
            _fail([self])
        if not isinstance(number, _ResumeIteration):
            self.pending.popleft()
            if self.unsent:
                self._send(self.unsent.popleft())
        return number, data

    def resume(self) -> None:
        """Begin a new round; answers of the last one are still to come before the worker's own ``_ResumeIteration``."""
        self.unsent.clear()
        self.active = True
        self._send(_ResumeIteration())

    def finish(self) -> None:
        """Let the process end: it has no data left."""
        self.active = False
        self.channel.close()


def _fail(workers: Sequence[_Worker]) -> NoReturn:
    """Raise that processes have ended without being told to."""
    details = []
    for worker in workers:
        worker.process.join(1.0)
        code = worker.process.exitcode
        if code is not None and code < 0:
            names = {s.value: signal.strsignal(s) for s in signal.Signals}
            details.append(f"DataLoader worker (pid {worker.process.pid}) is killed by signal: "
                           f"{names.get(-code, -code)}. ")
        else:
            details.append(f"DataLoader worker (pid {worker.process.pid}) exited unexpectedly with exit code {code}. "
                           "Details are lost due to multiprocessing. Rerunning with num_workers=0 may give better "
                           "error trace.")
    pids = ", ".join([str(worker.process.pid) for worker in workers])
    raise RuntimeError(f"DataLoader worker (pid(s) {pids}) exited unexpectedly") from RuntimeError(" ".join(details))


def _stop(workers: list[_Worker], pid: int) -> None:
    """End the workers: they notice that their channel is closed. One that does not within seconds is killed."""
    if os.getpid() != pid:
        return  # a forked copy of the iterator
    for worker in workers:
        worker.channel.close()
    for worker in workers:
        process = worker.process
        process.join(MP_STATUS_CHECK_INTERVAL)
        if process.exitcode is None:
            process.terminate()
            process.join(MP_STATUS_CHECK_INTERVAL)
        if process.exitcode is None:
            process.kill()
            process.join()
    workers.clear()


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    """One round by worker processes, or with persistent ones round after round.

    Tasks are numbered from 0 on. ``_owner`` says which worker has each of those not returned yet; the workers take
    turns. With ``in_order`` only the worker whose task comes next is read, so nothing is ever kept here."""

    def __init__(self, loader: Any) -> None:
        super().__init__(loader)
        self._prefetch_factor = loader.prefetch_factor
        self._in_order = loader.in_order
        if self._prefetch_factor <= 0:
            raise AssertionError("prefetch_factor must be greater than 0 for MultiProcessingDataLoaderIter")
        self._workers: list[_Worker] = []
        self._finalizer = finalize(self, _stop, self._workers, os.getpid())
        context = loader.multiprocessing_context or multiprocessing
        for i in range(self._num_workers):
            self._start(context, Job(self._dataset_kind, self._dataset, self._auto_collation, self._collate_fn,
                                     self._drop_last, self._base_seed, loader.worker_init_fn, i, self._num_workers))
        self._begin(loader)

    def _start(self, context: Any, job: Job) -> None:
        here, there = channels()
        process: Any = context.Process(target=worker_loop, args=(job, there), daemon=True)
        try:
            process.start()
        except (TypeError, AttributeError, PicklingError):
            here.close()
            warnings.warn(
                "Got pickle error when attempting to start a worker Process. This might be because the worker Process "
                "arguments are not picklable. Python 3.14+ changed the multiprocessing start method in non-Mac POSIX "
                "platforms to 'forkserver', which requires the worker Process arguments to be picklable. You can also "
                "try multiprocessing.set_start_method('fork').", stacklevel=5)
            raise
        finally:
            there.close()
        self._workers.append(_Worker(process, here))

    # --- rounds

    def _begin(self, loader: Any) -> None:
        super()._reset(loader)
        self._send_idx = 0  # the number of the next task
        self._rcvd_idx = 0  # the number of the next batch to return
        self._owner: dict[int, _Worker] = {}
        self._turns = cycle(range(len(self._workers)))
        for _ in range(self._prefetch_factor * self._num_workers):
            self._try_put_index()

    def _reset(self, loader: Any, first_iter: bool = False) -> None:
        """Begin a new round with the same workers."""
        for worker in self._workers:
            worker.resume()
        for worker in self._workers:
            while not isinstance(self._receive([worker])[1], _ResumeIteration):
                pass
            worker.pending.clear()
        self._begin(loader)

    def _try_put_index(self) -> None:
        """Give the next task to the next worker that has data left, and room for it."""
        try:
            index = self._next_index()
        except StopIteration:
            return
        active = [worker for worker in self._workers if worker.active]
        room = self._prefetch_factor * self._num_workers // max(len(active), 1)
        for _ in self._workers:
            worker = self._workers[next(self._turns)]
            if worker.active and (self._in_order or len(worker.pending) < room):
                self._owner[self._send_idx] = worker
                self._send_idx += 1
                worker.put((self._send_idx - 1, index))
                return

    # --- batches

    def _receive(self, wanted: Sequence[_Worker]) -> tuple[_Worker, Any, Any]:
        """The next answer of one of these workers."""
        if len(wanted) == 1 and wanted[0].channel.ready(0):
            return (wanted[0], *wanted[0].receive())
        by_file = {worker.channel.fileno(): worker for worker in wanted}
        by_end = {worker.process.sentinel: worker for worker in self._workers if worker.active}
        found = connection.wait([*by_file, *by_end], self._timeout or None)
        for file in found:
            if file in by_file:
                worker = by_file[file]
                return (worker, *worker.receive())
        if not found:
            raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds")
        _fail([by_end[end] for end in found])

    def _next_data(self) -> Any:
        while True:
            while self._rcvd_idx < self._send_idx and not self._is_due(self._rcvd_idx):
                self._owner.pop(self._rcvd_idx, None)
                self._rcvd_idx += 1
            if self._rcvd_idx == self._send_idx:
                if not self._persistent_workers:
                    self._finalizer()
                raise StopIteration
            wanted = [self._owner[self._rcvd_idx]] if self._in_order else list(
                {id(w): w for w in self._owner.values() if w.active}.values())
            worker, number, data = self._receive(wanted)
            if isinstance(data, _IterableDatasetStopIteration):
                if self._persistent_workers:
                    worker.active = False
                else:
                    worker.finish()
                self._try_put_index()
                continue
            del self._owner[number]
            self._try_put_index()
            if isinstance(data, ExceptionWrapper):
                data.reraise()
            return data

    def _is_due(self, number: int) -> bool:
        """Whether a batch is still to come for this task: its worker has not come to its end before."""
        worker = self._owner.get(number)
        return worker is not None and worker.active

    def _shutdown_workers(self) -> None:
        """End the workers now."""
        self._finalizer()
