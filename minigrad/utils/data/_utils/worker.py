"""Stage: front. In: tasks from the main process. Out: batches, sent back. This is what a worker process of a
``DataLoader`` does from its start to its end.
Next: ``iterators.py``."""

from __future__ import annotations

import os
import random
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import config
from minigrad.multiprocessing.channel import Channel
from minigrad.tensor import default_generator
from minigrad.utils.data._utils.fetch import _BaseDatasetFetcher, _IterableDatasetFetcher, _MapDatasetFetcher
from minigrad.utils.data._utils.memory import enter_worker

MP_STATUS_CHECK_INTERVAL = 5.0
"""Seconds after which a process that waits for another looks whether that one is still there."""


class _DatasetKind:
    """Whether a data set is asked for indices, or is a stream."""

    Map = 0
    Iterable = 1

    @staticmethod
    def create_fetcher(kind: int, dataset: Any, auto_collation: bool, collate_fn: Callable[[Any], Any],
                       drop_last: bool) -> _BaseDatasetFetcher:
        """What fetches from a data set of this kind."""
        fetcher = _MapDatasetFetcher if kind == _DatasetKind.Map else _IterableDatasetFetcher
        return fetcher(dataset, auto_collation, collate_fn, drop_last)


# --- errors


class KeyErrorMessage(str):
    """A text that prints as it is in a ``KeyError``."""

    def __repr__(self) -> str:
        return str(self)


class ExceptionWrapper:
    """The exception that is being handled, to be raised again in another process."""

    def __init__(self, exc_info: Any = None, where: str = "in background") -> None:
        kind, error, trace = sys.exc_info() if exc_info is None else exc_info
        self.exc_type: Any = kind
        self.exc_msg = "".join(traceback.format_exception(kind, error, trace))
        self.where = where

    def reraise(self) -> None:
        """Raise an exception of the same type that tells the original one. ``RuntimeError`` if it can't be made from a
        text."""
        text = f"Caught {self.exc_type.__name__} {self.where}.\nOriginal {self.exc_msg}"
        if self.exc_type is KeyError:
            raise KeyError(KeyErrorMessage(text))
        if getattr(self.exc_type, "message", None):
            raise self.exc_type(message=text)
        try:
            error = self.exc_type(text)
        except Exception:
            raise RuntimeError(text) from None
        raise error


# --- messages to and from a worker


@dataclass(frozen=True)
class _IterableDatasetStopIteration:
    """From a worker: its stream has ended."""

    worker_id: int


@dataclass(frozen=True)
class _ResumeIteration:
    """To a worker, and back from it: begin again."""

    seed: int | None = None


# --- what the program may know of its worker


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """Which of ``num_workers`` workers this is, the ``seed`` of its random numbers and its copy of the data set."""

    id: int
    num_workers: int
    seed: int
    dataset: Any
    rng: Any = None
    worker_method: str | None = "multiprocessing"


_worker_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """What a worker process of a ``DataLoader`` knows of itself; None in the main process.

    (https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.get_worker_info)

    >>> get_worker_info() is None
    True
    """
    return _worker_info


# --- the life of a worker


@dataclass
class Job:
    """What a worker is started with."""

    kind: int
    dataset: Any
    auto_collation: bool
    collate_fn: Callable[[Any], Any]
    drop_last: bool
    base_seed: int
    init_fn: Callable[[int], Any] | None
    worker_id: int
    num_workers: int

    def fetcher(self) -> _BaseDatasetFetcher:
        """What fetches from the data set, from its beginning."""
        return _DatasetKind.create_fetcher(self.kind, self.dataset, self.auto_collation, self.collate_fn,
                                           self.drop_last)

    def begin(self) -> None:
        """Make this process the worker: one thread, random numbers of its own, the program's ``worker_init_fn``."""
        global _worker_info
        config.assign(THREADS=1)
        enter_worker()
        seed = self.base_seed + self.worker_id
        random.seed(seed)
        default_generator.manual_seed(seed)
        np.random.seed(numpy_seed(self.base_seed, self.worker_id))
        _worker_info = WorkerInfo(id=self.worker_id, num_workers=self.num_workers, seed=seed, dataset=self.dataset)
        if self.init_fn is not None:
            self.init_fn(self.worker_id)

    def error(self) -> ExceptionWrapper:
        """The exception that is being handled."""
        return ExceptionWrapper(where=f"in DataLoader worker process {self.worker_id}")


def numpy_seed(base_seed: int, worker_id: int) -> Any:
    """NumPy's seed in a worker, PyTorch's: from the same numbers by another method, so that ``random`` and
    ``numpy.random`` don't give the same stream."""
    return np.random.SeedSequence([worker_id, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]).generate_state(4)


def _next_task(channel: Channel, parent: int) -> Any:
    """The next task. ``EOFError`` if the main process needs no more, or is gone."""
    while not channel.ready(MP_STATUS_CHECK_INTERVAL):
        if os.getppid() != parent:
            raise EOFError
    return channel.receive()


def worker_loop(job: Job, channel: Channel) -> None:
    """Do tasks until the main process closes the channel. An exception is sent as the result of its task."""
    try:
        _serve(job, channel, os.getppid())
    except (KeyboardInterrupt, EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the main process is interrupted too, or needs no more
    finally:
        channel.close()


def _serve(job: Job, channel: Channel, parent: int) -> None:
    failed: ExceptionWrapper | None = None
    fetcher: _BaseDatasetFetcher | None = None
    try:
        job.begin()
        fetcher = job.fetcher()
    except Exception:
        failed = job.error()
    ended = False  # the stream: tasks that are still to come get no answer
    while True:
        task = _next_task(channel, parent)
        if isinstance(task, _ResumeIteration):
            channel.send((task, None))
            ended = False
            try:
                fetcher = job.fetcher()
            except Exception:
                failed = job.error()
            continue
        if ended:
            continue
        number, indices = task
        result: Any
        if failed is not None:
            result, failed = failed, None
        else:
            result = _fetched(job, fetcher, indices)
        ended = isinstance(result, _IterableDatasetStopIteration)
        try:
            channel.send((number, result))
        except (BrokenPipeError, ConnectionResetError):
            raise
        except Exception:  # something in it can't be sent
            channel.send((number, job.error()))
        del result, task


def _fetched(job: Job, fetcher: _BaseDatasetFetcher | None, indices: Any) -> Any:
    try:
        return fetcher.fetch(indices)  # type: ignore[union-attr]  # it failed to start: PyTorch says so as well
    except Exception as error:
        if isinstance(error, StopIteration) and job.kind == _DatasetKind.Iterable:
            return _IterableDatasetStopIteration(job.worker_id)
        return job.error()
