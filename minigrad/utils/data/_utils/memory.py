"""Stage: front. In: nothing. Out: where the memory of a batch comes from: in a worker process it is shared with the
main process, so that the batch need not be copied once more.
Next: ``pin_memory.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigrad.multiprocessing.channel import INLINE, lent_memory
from minigrad.tensor.batch import host_memory

_in_worker: list[bool] = []


def enter_worker() -> None:
    """This process is a worker from now on."""
    _in_worker.append(True)


def batch_memory() -> Callable[[int], Any]:
    """What gives memory for a batch in this process."""
    return _worker_memory if _in_worker else host_memory


def _worker_memory(nbytes: int) -> Any:
    return host_memory(nbytes) if nbytes <= INLINE else lent_memory(nbytes)
