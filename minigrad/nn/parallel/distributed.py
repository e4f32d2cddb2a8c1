"""Stage: front. In: a Module. Out: an error: there are no groups of processes.
Next: ``minigrad/nn/init.py``."""

from __future__ import annotations

from typing import Any

from minigrad.nn.modules.module import Module


class DistributedDataParallel(Module):
    """The name that PyTorch's programs ask for. It can't be made, for that takes a process group: ``ValueError``.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.parallel.DistributedDataParallel.html)

    >>> from minigrad import nn
    >>> isinstance(nn.ReLU(), DistributedDataParallel)
    False
    """

    def __init__(self, module: Module, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        raise ValueError("Default process group has not been initialized, please make sure to call init_process_group. "
                         "minigrad has no process groups: run the program in one process, without "
                         "DistributedDataParallel")
