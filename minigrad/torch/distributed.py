"""Stage: PyTorch programs. In: nothing. Out: that there is one process: programs ask before they start others.
Next: ``_C.py``."""

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


def _refused(name: str) -> Any:
    """A function that says that there is one process."""
    def function(*args: Any, **options: Any) -> NoReturn:
        raise NotImplementedError(f"torch.distributed.{name} is not implemented: minigrad trains in one process")

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "``NotImplementedError``: minigrad trains in one process."
    return function


init_process_group = _refused("init_process_group")
destroy_process_group = _refused("destroy_process_group")
new_group = _refused("new_group")
barrier = _refused("barrier")
broadcast = _refused("broadcast")
broadcast_object_list = _refused("broadcast_object_list")
reduce = _refused("reduce")
all_reduce = _refused("all_reduce")
all_gather = _refused("all_gather")
all_gather_object = _refused("all_gather_object")
all_gather_into_tensor = _refused("all_gather_into_tensor")
all_to_all = _refused("all_to_all")
gather = _refused("gather")
scatter = _refused("scatter")
reduce_scatter = _refused("reduce_scatter")
send = _refused("send")
recv = _refused("recv")
isend = _refused("isend")
irecv = _refused("irecv")
