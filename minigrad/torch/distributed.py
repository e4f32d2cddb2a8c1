"""Stage: PyTorch programs. In: nothing. Out: that there is one process: programs ask before they start others.
Next: ``types.py``."""

from __future__ import annotations

from typing import Any, NoReturn


def is_available() -> bool:
    """False: minigrad trains in one process.

    >>> is_available()
    False
    """
    return False


def is_initialized() -> bool:
    """False: there is no group of processes.

    >>> is_initialized()
    False
    """
    return False


def is_torchelastic_launched() -> bool:
    """False: processes are not started by torchrun."""
    return False


def get_world_size(group: Any = None) -> int:
    """1: there is this process.

    >>> get_world_size()
    1
    """
    return 1


def get_rank(group: Any = None) -> int:
    """0: there is this process.

    >>> get_rank()
    0
    """
    return 0


def init_process_group(*args: Any, **options: Any) -> NoReturn:
    """``NotImplementedError``."""
    raise NotImplementedError("torch.distributed.init_process_group is not implemented: minigrad trains in one process")
