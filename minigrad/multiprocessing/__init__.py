"""Stage: front. In: what ``multiprocessing`` has. Out: the same names, with Tensors that processes share: a Tensor put
into a queue or pipe is moved to shared memory and not copied. ``spawn`` starts processes and reports their errors.
Next: ``channel.py``.

(https://docs.pytorch.org/docs/stable/multiprocessing.html)

>>> import minigrad.multiprocessing as mp
>>> mp.get_sharing_strategy()
'file_descriptor'
"""

from __future__ import annotations

import multiprocessing
from typing import Any

from minigrad.multiprocessing.reductions import init_reductions
from minigrad.multiprocessing.spawn import (
    ProcessContext,
    ProcessException,
    ProcessExitedException,
    ProcessRaisedException,
    SpawnContext,
    spawn,
    start_processes,
)

_strategies = {"file_descriptor", "file_system"}
_strategy = "file_descriptor"


def set_sharing_strategy(new_strategy: str) -> None:
    """Choose how memory goes to other processes; ``AssertionError`` for an unknown name. PyTorch's ``"file_system"``
    makes named files, for systems that allow few open files. Here both names mean memory without a name, which can't be
    left behind; its file is open only while the memory is shared."""
    global _strategy
    if new_strategy not in _strategies:
        raise AssertionError(f"invalid sharing strategy {new_strategy!r}, expected one of {_strategies}")
    _strategy = new_strategy


def get_sharing_strategy() -> str:
    """The strategy chosen."""
    return _strategy


def get_all_sharing_strategies() -> set[str]:
    """The names that ``set_sharing_strategy`` takes."""
    return _strategies


globals().update({name: getattr(multiprocessing, name) for name in multiprocessing.__all__})

__all__ = [
    "ProcessContext", "ProcessException", "ProcessExitedException", "ProcessRaisedException", "SpawnContext",
    "get_all_sharing_strategies", "get_sharing_strategy", "set_sharing_strategy", "spawn", "start_processes",
    *multiprocessing.__all__,
]


def __getattr__(name: str) -> Any:
    """Submodules and what else ``multiprocessing`` has."""
    return getattr(multiprocessing, name)


init_reductions()
